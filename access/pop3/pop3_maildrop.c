/*
 * pop3_maildrop.c - the INBOX as this session sees it
 *
 * What must stay true: the view, the sizes and the marks change through these functions only;
 * nothing is removed before QUIT (pop3_update.c).
 * Messages that another session expunges stay readable for the hold time of the store,
 * so they stay in the listing: the maildrop is a snapshot without a lock (RFC 1939 4 asks for
 * either).
 */
#include "pop3.h"

#include <stdio.h>

#include <mailshelf/policy.h>

int
pop3_maildrop_open(struct pop3_session *s, const struct shelf_account *account)
{
	struct shelf_policies policy;
	struct shelf_mailbox inbox;
	struct shelf_rd *rd = NULL;
	int rc = shelf_policy_get(s->server->store, shelf_span_str(account->name), &policy);

	if (rc != 0)
		return rc;
	/* One snapshot for all three, so that STAT and the view agree. */
	rc = shelf_rd_begin(s->server->store, account->id, &rd);
	if (rc == 0)
		rc = shelf_mailbox_find(rd, shelf_span_str("INBOX"), &inbox);
	if (rc == 0)
		rc = shelf_view_open(rd, inbox.id, &s->view);
	if (rc == 0) {
		s->account = account->id;
		snprintf(s->account_name, sizeof(s->account_name), "%s", account->name);
		s->mailbox = inbox.id;
		s->uidvalidity = inbox.uidvalidity;
		s->bytes = inbox.bytes;
		s->deleted = shelf_uidset_new();
		s->deleted_bytes = 0;
		s->to_trash = policy.value[SHELF_POLICY_POP3_DELETE] == 1;
		if (policy.value[SHELF_POLICY_POP3_SEEN] == 1)
			s->fetched = shelf_uidset_new();
	}
	shelf_rd_end(&rd);
	return rc;
}

void
pop3_maildrop_close(struct pop3_session *s)
{
	shelf_view_close(&s->view);
	shelf_uidset_free(&s->deleted);
	shelf_uidset_free(&s->fetched);
}

uint32_t
pop3_maildrop_count(const struct pop3_session *s)
{
	return shelf_view_count(s->view) - shelf_uidset_count(s->deleted);
}

uint64_t
pop3_maildrop_bytes(const struct pop3_session *s)
{
	return s->bytes > s->deleted_bytes ? s->bytes - s->deleted_bytes : 0;
}

int
pop3_maildrop_msg(struct pop3_session *s, uint32_t seq, struct shelf_msg *out)
{
	uint32_t uid = shelf_view_uid(s->view, seq);
	struct shelf_rd *rd = NULL;
	int rc;

	if (uid == 0 || shelf_uidset_has(s->deleted, uid))
		return SHELF_ENOMESSAGE;
	rc = shelf_rd_begin(s->server->store, s->account, &rd);
	if (rc == 0)
		rc = shelf_msg_get(rd, s->mailbox, uid, out);
	shelf_rd_end(&rd);
	return rc;
}

int
pop3_maildrop_delete(struct pop3_session *s, uint32_t seq)
{
	struct shelf_msg m;
	int rc;

	/* The row is read for its size: STAT leaves out what is marked (RFC 1939 5). */
	rc = pop3_maildrop_msg(s, seq, &m);
	if (rc != 0)
		return rc;
	shelf_uidset_add(s->deleted, m.uid);
	s->deleted_bytes += m.size;
	return 0;
}

void
pop3_maildrop_reset(struct pop3_session *s)
{
	shelf_uidset_clear(s->deleted);
	s->deleted_bytes = 0;
}
