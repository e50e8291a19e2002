/*
 * tool_search.c - the messages of a mailbox that options choose: --since, --from, --subject ...
 *
 * Texts are found as by IMAP SEARCH: decoded, whatever the case, anywhere in the field.
 */
#include <mailshelf/mem.h>
#include <mailshelf/query.h>

#include "tool_search.h"

enum { DAY_S = 86400, SLICE_MS = 100 };

static struct shelf_key *
add(struct tool_search *s, enum shelf_key_kind kind)
{
	struct shelf_key *k = &s->key[s->nkeys];

	k->kind = kind;
	k->next = s->nkeys > 0 ? &s->key[s->nkeys - 1] : NULL;
	s->nkeys++;
	return k;
}

static int
add_day(struct tool *t, struct tool_search *s, const char *option, const char *text, enum shelf_key_kind kind)
{
	int64_t at_s;

	if (text == NULL)
		return 0;
	if (!tool_since(text, &at_s) || at_s < 0)
		return tool_usage(t, "--%s %s: no time (2026-11-21, 30d)", option, text);
	add(s, kind)->number = (uint64_t)(at_s / DAY_S);
	return 0;
}

static void
add_field(struct tool_search *s, const char *name, const char *text)
{
	struct shelf_key *k;

	if (text == NULL)
		return;
	k = add(s, SHELF_KEY_HEADER);
	k->name = shelf_span_str(name);
	k->text = shelf_span_str(text);
}

static void
add_flag(struct tool_search *s, bool wanted, uint32_t flag, bool set)
{
	struct shelf_key *k;

	if (!wanted)
		return;
	k = add(s, SHELF_KEY_FLAG);
	k->flag = flag;
	if (!set) {
		k = add(s, SHELF_KEY_NOT);
		k->child = k->next;
		k->next = k->child->next;
		k->child->next = NULL;
	}
}

int
tool_search_ready(struct tool *t, struct tool_search *s)
{
	int rc;

	if ((rc = add_day(t, s, "since", s->since, SHELF_KEY_SINCE)) != 0 ||
	    (rc = add_day(t, s, "before", s->before, SHELF_KEY_BEFORE)) != 0)
		return rc;
	add_field(s, "From", s->from);
	add_field(s, "To", s->to);
	add_field(s, "Subject", s->subject);
	if (s->text != NULL)
		add(s, SHELF_KEY_TEXT)->text = shelf_span_str(s->text);
	add_flag(s, s->seen, SHELF_SEEN, true);
	add_flag(s, s->unseen, SHELF_SEEN, false);
	add_flag(s, s->flagged, SHELF_FLAGGED, true);
	s->all = (struct shelf_key){.kind = SHELF_KEY_AND, .child = s->nkeys > 0 ? &s->key[s->nkeys - 1] : NULL};
	return 0;
}

bool
tool_search_asks(const struct tool_search *s)
{
	return s->nkeys > 0;
}

int
tool_search_find(struct tool *t, const struct tool_search *s, uint32_t account, uint32_t mailbox,
    struct shelf_uidset **out)
{
	struct shelf_search *search = NULL;
	struct shelf_view *view = NULL;
	struct shelf_rd *rd = NULL;
	int rc = shelf_rd_begin(t->store, account, &rd);

	*out = NULL;
	if (rc == 0)
		rc = shelf_view_open(rd, mailbox, &view);
	shelf_rd_end(&rd);
	if (rc == 0)
		rc = shelf_search_new(t->store, account, view, &s->all, &search);
	while (rc == 0 && (rc = shelf_search_run(search, SLICE_MS)) == 1)
		rc = tool_interrupted() ? SHELF_ECANCELLED : 0;
	/* What is damaged and could not be asked is left out, as by SEARCH. */
	if (rc == 0 || rc == SHELF_ECORRUPT)
		*out = shelf_uidset_copy(shelf_search_found(search));
	shelf_search_free(&search);
	shelf_view_close(&view);
	return rc;
}
