/*
 * tool_pop3.c - what POP3 has left on an account's mail: pop3 list, pop3 unhide
 */
#include <stdlib.h>
#include <string.h>

#include <mailshelf/mem.h>
#include <mailshelf/pop3.h>

#include "tools.h"

struct box {
	uint32_t id;
	char *name;
	uint32_t hidden, fetched;
	uint64_t hidden_bytes;
};

struct boxes {
	struct box *list;
	size_t n;
};

static int
note_box(void *arg, const struct shelf_mailbox *m)
{
	struct boxes *b = arg;

	if (!m->exists_now)
		return 0;
	b->list = shelf_realloc(b->list, (b->n + 1) * sizeof *b->list);
	b->list[b->n++] = (struct box){.id = m->id, .name = shelf_strndup((const char *)m->name.data, m->name.len)};
	return 0;
}

static void
free_boxes(struct boxes *b)
{
	for (size_t i = 0; i < b->n; i++)
		free(b->list[i].name);
	free(b->list);
}

/* HIDDEN: which, or NULL. */
static int
count(struct shelf_rd *rd, struct box *box, struct shelf_uidset *hidden)
{
	struct shelf_uidset *found = shelf_uidset_new();
	int rc = shelf_pop3_hidden(rd, box->id, found, &box->hidden_bytes);

	box->hidden = shelf_uidset_count(found);
	if (hidden != NULL)
		shelf_uidset_or(hidden, found);
	shelf_uidset_clear(found);
	if (rc == 0)
		rc = shelf_pop3_fetched_before(rd, box->id, INT64_MAX, found);
	box->fetched = shelf_uidset_count(found);
	shelf_uidset_free(&found);
	return rc;
}

/* All mailboxes of the account, counted in one snapshot: rows for each 256 uids that POP3 has touched. */
static int
look(struct tool *t, uint32_t account, struct boxes *b)
{
	struct shelf_rd *rd = NULL;
	int rc = shelf_rd_begin(t->store, account, &rd);

	if (rc == 0)
		rc = shelf_mailbox_each(rd, note_box, b);
	for (size_t i = 0; i < b->n && rc == 0; i++)
		rc = count(rd, &b->list[i], NULL);
	shelf_rd_end(&rd);
	return rc;
}

static void
print_json(const struct boxes *b)
{
	struct shelf_buf json = {0};

	shelf_buf_add_byte(&json, '[');
	for (size_t i = 0; i < b->n; i++) {
		const struct box *box = &b->list[i];

		if (box->hidden == 0 && box->fetched == 0)
			continue;
		shelf_buf_add_str(&json, json.len > 1 ? ",{" : "{");
		tool_json_str(&json, "mailbox", shelf_span_str(box->name));
		tool_json_u64(&json, "hidden", box->hidden);
		tool_json_u64(&json, "hidden_bytes", box->hidden_bytes);
		tool_json_u64(&json, "fetched", box->fetched);
		shelf_buf_add_byte(&json, '}');
	}
	shelf_buf_add_byte(&json, ']');
	tool_print_buf(&json);
}

int
tool_pop3_list(struct tool *t)
{
	struct boxes b = {.n = 0};
	struct shelf_account a;
	char size[32];
	int rc = tool_args(t, NULL, 1, 1);

	if (rc == 0)
		rc = tool_open_account(t, &a);
	if (rc != 0)
		return rc;
	rc = look(t, a.id, &b);
	if (rc == 0 && t->json)
		print_json(&b);
	for (size_t i = 0; i < b.n && rc == 0 && !t->json; i++)
		if (b.list[i].hidden != 0 || b.list[i].fetched != 0)
			tool_print("%8u fetched %8u hidden %10s  %s", b.list[i].fetched, b.list[i].hidden,
			    shelf_size_text(b.list[i].hidden_bytes, size, sizeof size), b.list[i].name);
	free_boxes(&b);
	return rc == 0 ? EX_OK : tool_fail(t, t->argv[0], rc);
}

/* ---- unhide ---------------------------------------------------------------------------------- */

static int
find_hidden(struct tool *t, uint32_t account, const char *mailbox, struct box *box, struct shelf_uidset *hidden)
{
	struct shelf_rd *rd = NULL;
	struct shelf_mailbox m;
	int rc = shelf_rd_begin(t->store, account, &rd);

	if (rc == 0)
		rc = shelf_mailbox_find(rd, shelf_span_str(mailbox), &m);
	if (rc == 0) {
		box->id = m.id;
		rc = count(rd, box, hidden);
	}
	shelf_rd_end(&rd);
	return rc;
}

int
tool_pop3_unhide(struct tool *t)
{
	const char *mailbox = "INBOX";
	bool dry_run = false;
	const struct tool_option options[] = {{"mailbox", TOOL_TEXT, &mailbox}, {"dry-run", TOOL_FLAG, &dry_run}, {0}};
	struct shelf_uidset *hidden;
	struct shelf_account a;
	struct box box = {.id = 0};
	char size[32];
	int rc = tool_args(t, options, 1, 1);

	if (rc == 0)
		rc = tool_open_account(t, &a);
	if (rc != 0)
		return rc;
	hidden = shelf_uidset_new();
	rc = find_hidden(t, a.id, mailbox, &box, hidden);
	if (rc == 0 && !dry_run && box.hidden > 0)
		rc = shelf_pop3_note(t->store, a.id, box.id, &(struct shelf_pop3_note){.show = hidden});
	shelf_uidset_free(&hidden);
	if (rc != 0)
		return tool_fail(t, mailbox, rc);
	if (t->json)
		tool_print("{\"dry_run\":%s,\"messages\":%u,\"bytes\":%llu}", dry_run ? "true" : "false", box.hidden,
		    (unsigned long long)box.hidden_bytes);
	else
		tool_print("%s: %u messages, %s, %s", mailbox, box.hidden,
		    shelf_size_text(box.hidden_bytes, size, sizeof size),
		    dry_run ? "would be shown to POP3 again" : "are shown to POP3 again");
	return EX_OK;
}
