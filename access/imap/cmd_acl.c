/*
 * cmd_acl.c - SETACL, DELETEACL, GETACL, LISTRIGHTS, MYRIGHTS
 *
 * Whoever may administrate a mailbox may do so with everybody's rights, his own and the owner's included, but the
 * owner keeps "l" and "a".
 * Sources   RFC 4314 2, 3, 4, 6.
 */
#include "imap_address.h"

struct change {
	struct shelf_store *store;
	uint32_t account, mailbox;
	struct shelf_span who;
	enum shelf_acl_op op;
	unsigned rights;
	const struct shelf_asker *asker;
	int rc;
};

static void
work(void *arg)
{
	struct change *w = arg;

	w->rc = shelf_acl_set_for(w->store, w->asker, w->account, w->mailbox, w->who, w->op, w->rights);
}

static enum imap_step
worked(struct imap_cmd *c)
{
	struct change *w = c->data;

	return w->rc != 0 ? imap_err(c, w->rc) : imap_completed(c);
}

/* An identifier that none can have: BAD (3). */
static bool
parse_identifier(struct imap_parser *p, struct shelf_span *out)
{
	char name[SHELF_ACL_NAME_MAX + 1];

	size_t sign;

	if (!imap_parse_astring(p, out))
		return false;
	sign = out->len > 0 && out->data[0] == '-';
	if (out->len > sign && (out->data[sign] == '$' || out->data[sign] == '#'))
		return imap_parse_fail(p, "groups cannot be given rights, name each user or anyone");
	return shelf_acl_identifier(*out, name) == 0 || imap_parse_fail(p, "not an identifier");
}

/* "lrs", "+lrs", "-lrs" */
static bool
parse_rights(struct imap_parser *p, struct change *w)
{
	struct shelf_span text = {0};

	if (!imap_parse_astring(p, &text))
		return false;
	w->op = SHELF_ACL_SET;
	if (text.len > 0 && (text.data[0] == '+' || text.data[0] == '-')) {
		w->op = text.data[0] == '+' ? SHELF_ACL_ADD : SHELF_ACL_REMOVE;
		text = shelf_span(text.data + 1, text.len - 1);
	}
	return shelf_rights_parse(text, &w->rights) == 0 || imap_parse_fail(p, "unknown right");
}

static enum imap_step
change(struct imap_cmd *c, bool deletes)
{
	struct change *w = SHELF_ARENA_NEW(&c->arena, struct change);
	struct shelf_span name = {0};
	struct imap_address at = {0};
	int rc = 0;

	if (!imap_parse_sp(&c->p) || !imap_parse_mailbox(&c->p, &name) || !imap_parse_sp(&c->p) ||
	    !parse_identifier(&c->p, &w->who) ||
	    (!deletes && (!imap_parse_sp(&c->p) || !parse_rights(&c->p, w))) || !imap_parse_end(&c->p))
		return imap_parse_failed(c);
	rc = imap_address_find(c->s, name, SHELF_RIGHT_ADMIN, &at);
	if (rc != 0)
		return imap_err(c, rc);
	w->store = c->s->store;
	w->account = at.place.account;
	w->mailbox = at.row.id;
	w->asker = imap_asker(c, SHELF_RIGHT_ADMIN);
	c->data = w;
	c->run = worked;
	return imap_work(c, work, w);
}

enum imap_step
imap_cmd_setacl(struct imap_cmd *c)
{
	return change(c, false);
}

/* Of the owner: what he always has is left. */
enum imap_step
imap_cmd_deleteacl(struct imap_cmd *c)
{
	return change(c, true);
}

/* ---- Asking -------------------------------------------------------------------------------------- */

static int
print_entry(void *arg, struct shelf_span who, unsigned rights)
{
	char text[SHELF_RIGHTS_TEXT_BYTES];
	struct imap_session *s = arg;

	imap_out_str(s, " ");
	imap_out_astring(s, who);
	imap_out_str(s, " ");
	imap_out_astring(s, shelf_span_str(shelf_rights_text(rights, text)));
	return 0;
}

enum imap_step
imap_cmd_getacl(struct imap_cmd *c)
{
	struct imap_session *s = c->s;
	struct shelf_span name = {0};
	struct imap_address at = {0};
	struct shelf_account owner = {0};
	struct shelf_rd *rd = NULL;
	int rc = 0;

	if (!imap_parse_sp(&c->p) || !imap_parse_mailbox(&c->p, &name) || !imap_parse_end(&c->p))
		return imap_parse_failed(c);
	rc = imap_address_open(s, name, SHELF_RIGHT_ADMIN, &at, &rd);
	if (rc == 0)
		rc = shelf_account_get(s->store, at.place.account, &owner);
	if (rc == 0) {
		imap_out_str(s, "* ACL ");
		imap_out_mailbox(s, name);
		s->mid_response = true;
		rc = shelf_acl_each(rd, at.row.id, owner.name, print_entry, s);
		imap_out_str(s, "\r\n");
		s->mid_response = false;
	}
	shelf_rd_end(&rd);
	return rc != 0 ? imap_err(c, rc) : imap_completed(c);
}

/* None are tied to others: each can be had alone (3.7). */
enum imap_step
imap_cmd_listrights(struct imap_cmd *c)
{
	struct imap_session *s = c->s;
	char folded[SHELF_ACL_NAME_MAX + 1];
	struct shelf_span name = {0}, who = {0};
	struct imap_address at = {0};
	struct shelf_account owner = {0};
	int rc = 0;

	if (!imap_parse_sp(&c->p) || !imap_parse_mailbox(&c->p, &name) || !imap_parse_sp(&c->p) ||
	    !parse_identifier(&c->p, &who) || !imap_parse_end(&c->p))
		return imap_parse_failed(c);
	rc = imap_address_find(s, name, SHELF_RIGHT_ADMIN, &at);
	if (rc == 0)
		rc = shelf_account_get(s->store, at.place.account, &owner);
	if (rc == 0)
		rc = shelf_acl_identifier(who, folded);
	if (rc != 0)
		return imap_err(c, rc);
	imap_out_str(s, "* LISTRIGHTS ");
	imap_out_mailbox(s, name);
	imap_out_str(s, " ");
	imap_out_astring(s, who);
	imap_out_str(s, strcmp(folded, owner.name) == 0 ? " la r s w i p k x t e c d\r\n" :
	    " \"\" l r s w i p k x t e a c d\r\n");
	return imap_completed(c);
}

void
imap_acl_print_mine(struct imap_session *s, struct shelf_span name, unsigned rights)
{
	char text[SHELF_RIGHTS_TEXT_BYTES];

	imap_out_str(s, "* MYRIGHTS ");
	imap_out_mailbox(s, name);
	imap_out_str(s, " ");
	imap_out_astring(s, shelf_span_str(shelf_rights_text(rights, text)));
	imap_out_str(s, "\r\n");
}

enum imap_step
imap_cmd_myrights(struct imap_cmd *c)
{
	struct shelf_span name = {0};
	struct imap_address at = {0};
	int rc = 0;

	if (!imap_parse_sp(&c->p) || !imap_parse_mailbox(&c->p, &name) || !imap_parse_end(&c->p))
		return imap_parse_failed(c);
	rc = imap_address_find(c->s, name, 0, &at);
	if (rc != 0)
		return imap_err(c, rc);
	imap_acl_print_mine(c->s, name, at.rights);
	return imap_completed(c);
}
