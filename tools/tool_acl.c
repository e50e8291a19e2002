/*
 * tool_acl.c - access control lists of mailboxes: show, set, rm
 */
#include <mailshelf/acl.h>

#include "tools.h"

/* The account and mailbox of the first two arguments; the store is open. */
static int
find(struct tool *t, struct shelf_account *a, struct shelf_mailbox *m)
{
	struct shelf_rd *rd = NULL;
	int rc = tool_open(t);

	if (rc == 0)
		rc = tool_account(t, t->argv[0], a);
	if (rc != 0)
		return rc;
	rc = shelf_rd_begin(t->store, a->id, &rd);
	if (rc == 0)
		rc = shelf_mailbox_find(rd, shelf_span_str(t->argv[1]), m);
	shelf_rd_end(&rd);
	return rc == 0 ? 0 : tool_fail(t, t->argv[1], rc);
}

/* Printed when the snapshot has ended. */
struct listing {
	struct shelf_buf json;
	struct shelf_buf lines; /* each ends with a zero byte */
};

static int
add_entry(void *arg, struct shelf_span who, unsigned rights)
{
	char text[SHELF_RIGHTS_TEXT_BYTES];
	struct listing *l = arg;

	shelf_rights_text(rights, text);
	shelf_buf_printf(&l->lines, "%-14s %.*s", text, (int)who.len, (const char *)who.data);
	shelf_buf_add_byte(&l->lines, 0);
	if (l->json.len > 1)
		shelf_buf_add_byte(&l->json, ',');
	shelf_buf_add_byte(&l->json, '{');
	tool_json_str(&l->json, "identifier", who);
	tool_json_str(&l->json, "rights", shelf_span_str(text));
	shelf_buf_add_byte(&l->json, '}');
	return 0;
}

static int
print(struct tool *t, const struct shelf_account *a, uint32_t mailbox)
{
	struct listing l = {0};
	struct shelf_rd *rd = NULL;
	int rc = shelf_rd_begin(t->store, a->id, &rd);

	shelf_buf_add_byte(&l.json, '[');
	if (rc == 0)
		rc = shelf_acl_each(rd, mailbox, a->name, add_entry, &l);
	shelf_rd_end(&rd);
	shelf_buf_add_byte(&l.json, ']');
	if (rc == 0 && t->json)
		tool_print_buf(&l.json);
	for (size_t at = 0; rc == 0 && !t->json && at < l.lines.len;
	     at += strlen((char *)l.lines.data + at) + 1)
		tool_print("%s", (char *)l.lines.data + at);
	shelf_buf_free(&l.json);
	shelf_buf_free(&l.lines);
	return rc == 0 ? EX_OK : tool_fail(t, t->argv[1], rc);
}

int
tool_acl_show(struct tool *t)
{
	struct shelf_account a;
	struct shelf_mailbox m = {0};
	int rc = tool_args(t, NULL, 2, 2);

	if (rc == 0)
		rc = find(t, &a, &m);
	return rc != 0 ? rc : print(t, &a, m.id);
}

/* An identifier that is nobody's is most likely mistyped. */
static int
check_identifier(struct tool *t, const char *who)
{
	char name[SHELF_ACL_NAME_MAX + 1];
	struct shelf_account other;
	int rc = shelf_acl_identifier(shelf_span_str(who), name);

	if (rc != 0)
		return tool_usage(t, "%s: not an account, \"anyone\", or one of these behind \"-\"", who);
	if (strcmp(name + (name[0] == '-'), "anyone") == 0)
		return 0;
	return tool_account(t, name + (name[0] == '-'), &other);
}

static int
change(struct tool *t, enum shelf_acl_op op, unsigned rights)
{
	struct shelf_account a;
	struct shelf_mailbox m = {0};
	int rc = find(t, &a, &m);

	if (rc == 0 && rights != 0)
		rc = check_identifier(t, t->argv[2]);
	if (rc != 0)
		return rc;
	rc = shelf_acl_set(t->store, a.id, m.id, shelf_span_str(t->argv[2]), op, rights);
	return rc != 0 ? tool_fail(t, t->argv[2], rc) : print(t, &a, m.id);
}

int
tool_acl_set(struct tool *t)
{
	enum shelf_acl_op op = SHELF_ACL_SET;
	const char *text = NULL;
	unsigned rights = 0;
	int rc = tool_args(t, NULL, 4, 4);

	if (rc != 0)
		return rc;
	text = t->argv[3];
	if (*text == '+' || *text == '~')
		op = *text++ == '+' ? SHELF_ACL_ADD : SHELF_ACL_REMOVE;
	if (shelf_rights_parse(shelf_span_str(text), &rights) != 0)
		return tool_usage(t, "%s: rights are letters of lrswipkxtea (and c, d)", t->argv[3]);
	return change(t, op, rights);
}

int
tool_acl_rm(struct tool *t)
{
	int rc = tool_args(t, NULL, 3, 3);

	return rc != 0 ? rc : change(t, SHELF_ACL_SET, 0);
}
