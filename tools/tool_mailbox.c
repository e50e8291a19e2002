/*
 * tool_mailbox.c - mailboxes of an account: list, create, delete, rename
 */
#include <string.h>

#include "tools.h"

/* Printed when the snapshot has ended: a terminal or pipe may make it wait. */
struct listing {
	const struct tool *t;
	struct shelf_buf json;
	struct shelf_buf lines; /* each ends with a zero byte */
};

static int
list_one(void *arg, const struct shelf_mailbox *m)
{
	struct listing *l = arg;
	struct shelf_buf *b = &l->json;
	char use[96], size[32];

	if (!m->exists_now)
		return 0;
	tool_special_use_text(m->special_use, use, sizeof use);
	if (!l->t->json) {
		shelf_buf_printf(&l->lines, "%8u %8u unseen %10s  %.*s%s%s", m->exists, m->unseen,
		    shelf_size_text(m->bytes, size, sizeof size), (int)m->name.len,
		    (const char *)m->name.data, *use != '\0' ? "  " : "", use);
		shelf_buf_add_byte(&l->lines, 0);
		return 0;
	}
	if (b->len > 1)
		shelf_buf_add_byte(b, ',');
	shelf_buf_add_byte(b, '{');
	tool_json_str(b, "name", m->name);
	tool_json_u64(b, "id", m->id);
	tool_json_u64(b, "messages", m->exists);
	tool_json_u64(b, "unseen", m->unseen);
	tool_json_u64(b, "deleted", m->deleted);
	tool_json_u64(b, "bytes", m->bytes);
	tool_json_u64(b, "uidvalidity", m->uidvalidity);
	tool_json_u64(b, "uidnext", m->uidnext);
	tool_json_u64(b, "highestmodseq", m->highestmodseq);
	tool_json_bool(b, "subscribed", m->subscribed);
	tool_json_str(b, "use", shelf_span_str(use));
	shelf_buf_add_byte(b, '}');
	return 0;
}

int
tool_mailbox_list(struct tool *t)
{
	struct listing l = {.t = t};
	struct shelf_rd *rd = NULL;
	struct shelf_account a;
	int rc = tool_args(t, NULL, 1, 1);

	if (rc == 0)
		rc = tool_open_account(t, &a);
	if (rc != 0)
		return rc;
	shelf_buf_add_byte(&l.json, '[');
	rc = shelf_rd_begin(t->store, a.id, &rd);
	if (rc == 0)
		rc = shelf_mailbox_each(rd, list_one, &l);
	shelf_rd_end(&rd);
	for (size_t at = 0; rc == 0 && at < l.lines.len;
	     at += strlen((const char *)l.lines.data + at) + 1)
		tool_print("%s", (const char *)l.lines.data + at);
	if (rc == 0 && t->json) {
		shelf_buf_add_byte(&l.json, ']');
		tool_print_buf(&l.json);
	}
	shelf_buf_free(&l.lines);
	shelf_buf_free(&l.json);
	return rc == 0 ? EX_OK : tool_fail(t, t->argv[0], rc);
}

/* Arguments, store and account of a verb that changes. */
static int
begin(struct tool *t, const struct tool_option *options, int nargs, struct shelf_account *out)
{
	int rc = tool_args(t, options, nargs, nargs);

	return rc != 0 ? rc : tool_open_account(t, out);
}

int
tool_mailbox_create(struct tool *t)
{
	const char *use_text = NULL;
	const struct tool_option options[] = {{"use", TOOL_TEXT, &use_text}, {0}};
	struct shelf_buf b = {0};
	struct shelf_account a;
	unsigned use = 0;
	uint32_t id;
	int rc = begin(t, options, 2, &a);

	if (rc != 0)
		return rc;
	if (use_text != NULL && !tool_special_use(use_text, &use))
		return tool_usage(t, "--use %s: unknown special use", use_text);
	rc = shelf_mailbox_create(t->store, a.id, shelf_span_str(t->argv[1]), use, &id);
	if (rc == SHELF_EEXISTS && use != 0) {
		tool_say(t, "%s: there already, or another mailbox has that use", t->argv[1]);
		return EX_CANTCREAT;
	}
	if (rc != 0)
		return tool_fail(t, t->argv[1], rc);
	if (t->json) {
		shelf_buf_add_byte(&b, '{');
		tool_json_str(&b, "name", shelf_span_str(t->argv[1]));
		tool_json_u64(&b, "id", id);
		shelf_buf_add_byte(&b, '}');
		tool_print_buf(&b);
	}
	return EX_OK;
}

int
tool_mailbox_delete(struct tool *t)
{
	struct shelf_account a;
	int rc = begin(t, NULL, 2, &a);

	if (rc != 0)
		return rc;
	rc = shelf_mailbox_delete(t->store, a.id, shelf_span_str(t->argv[1]));
	return rc == 0 ? EX_OK : tool_fail(t, t->argv[1], rc);
}

int
tool_mailbox_rename(struct tool *t)
{
	struct shelf_account a;
	int rc = begin(t, NULL, 3, &a);

	if (rc != 0)
		return rc;
	rc = shelf_mailbox_rename(t->store, a.id, shelf_span_str(t->argv[1]),
	    shelf_span_str(t->argv[2]));
	return rc == 0 ? EX_OK
	               : tool_fail(t, t->argv[rc == SHELF_EEXISTS || rc == SHELF_ENAME ? 2 : 1], rc);
}
