/*
 * imap_condstore.c - mod-sequences on the wire
 *
 * What must stay true: no client is told a HIGHESTMODSEQ (nor left to take one from a MODSEQ) above the
 * mod-sequence of something that it has not been told: it would never ask for that again. Removals that
 * must wait (imap_sync.c) are the case to think of.
 * Sources   RFC 7162 3.1.2, 3.1.8, 3.2, 3.2.7, 6.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "imap_condstore.h"
#include "imap_sync.h"

enum { RUNS_AT_ONCE = 256 };

void
imap_condstore_enable(struct imap_session *s)
{
	if (s->condstore)
		return;
	s->condstore = true;
	if (s->view != NULL)
		imap_untagged(s, "OK [HIGHESTMODSEQ %" PRIu64 "] Mod-sequences from here on",
		    imap_sync_told_modseq(s));
}

bool
imap_condstore_number(struct imap_parser *p, uint64_t *out)
{
	return imap_parse_sp(p) && imap_parse_number64(p, out);
}

void
imap_condstore_print(struct imap_session *s, uint64_t modseq)
{
	s->modseq_shown = true;
	imap_outf(s, "MODSEQ (%" PRIu64 ")", modseq);
}

bool
imap_condstore_vanished(struct imap_session *s, const struct shelf_uidset *set, uint32_t *next,
    bool earlier)
{
	uint32_t first = 0, last = 0;
	unsigned n = 0;

	for (; n < RUNS_AT_ONCE && *next != 0 && shelf_uidset_run(set, *next, &first, &last); n++) {
		imap_out_str(s, n > 0 ? "," : earlier ? "* VANISHED (EARLIER) " : "* VANISHED ");
		imap_outf(s, first == last ? "%" PRIu32 : "%" PRIu32 ":%" PRIu32, first, last);
		*next = last == UINT32_MAX ? 0 : last + 1;
	}
	if (n > 0)
		imap_out_str(s, "\r\n");
	return n > 0;
}

const char *
imap_condstore_set(struct imap_cmd *c, const struct shelf_uidset *uids)
{
	struct shelf_uidset *numbers = NULL;
	struct shelf_buf text = {0};
	uint32_t first = 0, last = 0;
	const char *set;

	if (c->uid) {
		shelf_uidset_print(uids, &text);
	} else {
		numbers = shelf_uidset_new();
		for (uint32_t from = 1; from != 0 && shelf_uidset_run(uids, from, &first, &last);
		     from = last + 1) {
			uint32_t seq = shelf_view_seq(c->s->view, first);

			shelf_uidset_add_range(numbers, seq, seq + (last - first));
		}
		shelf_uidset_print(numbers, &text);
		shelf_uidset_free(&numbers);
	}
	set = shelf_arena_str(&c->arena, shelf_buf_span(&text));
	shelf_buf_free(&text);
	return set;
}

void
imap_changes_begin(struct imap_session *s, uint64_t since, struct imap_changes *ch)
{
	*ch = (struct imap_changes){
	    .store = s->store,
	    .account = s->owner,
	    .mailbox = s->mailbox,
	    .since = since,
	    .below = shelf_view_uidnext(s->view),
	    .changed = shelf_uidset_new(),
	    .vanished = shelf_uidset_new(),
	    .next = 1,
	};
}

void
imap_changes_run(void *arg)
{
	struct imap_changes *ch = arg;
	struct shelf_rd *rd = NULL;

	ch->rc = shelf_rd_begin(ch->store, ch->account, &rd);
	if (ch->rc == 0)
		ch->rc = shelf_msg_changes(rd, ch->mailbox, ch->since, ch->below, ch->changed,
		    ch->vanished);
	shelf_rd_end(&rd);
}

/* What was removed but is in the view still has a message number: its VANISHED comes with the next sync
 * that may renumber, and is none of EARLIER. */
void
imap_changes_take(struct imap_session *s, struct imap_changes *ch, const struct shelf_uidset *known)
{
	struct shelf_uidset *still = shelf_uidset_copy(ch->vanished);

	shelf_view_retain(s->view, still);
	shelf_uidset_andnot(ch->vanished, still);
	shelf_uidset_free(&still);
	shelf_view_retain(s->view, ch->changed);
	ch->rc = shelf_view_error(s->view);
	if (known == NULL)
		return;
	shelf_uidset_and(ch->changed, known);
	shelf_uidset_and(ch->vanished, known);
}

void
imap_changes_end(struct imap_changes *ch)
{
	shelf_uidset_free(&ch->changed);
	shelf_uidset_free(&ch->vanished);
}

enum imap_step
imap_condstore_removed(struct imap_cmd *c)
{
	struct imap_session *s = c->s;
	struct shelf_mailbox row = {0};
	struct shelf_rd *rd = NULL;
	char code[48];
	int rc = s->qresync ? shelf_rd_begin(s->store, s->owner, &rd) : SHELF_EMISSING;

	/* The reply is written behind a refresh from a later snapshot than this one. */
	if (rc == 0)
		rc = shelf_mailbox_get(rd, s->mailbox, &row);
	shelf_rd_end(&rd);
	if (rc != 0)
		return imap_completed(c);
	snprintf(code, sizeof code, "HIGHESTMODSEQ %" PRIu64, row.highestmodseq);
	return imap_ok_code(c, shelf_arena_str(&c->arena, shelf_span_str(code)), "%s completed", c->name);
}

void
imap_condstore_untold(struct imap_cmd *c)
{
	if (c->code != NULL && strncmp(c->code, "HIGHESTMODSEQ", strlen("HIGHESTMODSEQ")) == 0)
		c->code = NULL;
}
