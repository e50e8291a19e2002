/*
 * pop3_maildrop.c - the INBOX as this session sees it, and the update at QUIT
 *
 * What must stay true: the view, the sizes and the marks change through these functions only;
 * nothing is removed before QUIT, and QUIT removes all that is marked or nothing, in one
 * transaction. Messages that another session expunges stay readable for the hold time of the store,
 * so they stay in the listing: the maildrop is a snapshot without a lock (RFC 1939 4 asks for
 * either).
 */
#include "pop3.h"

#include <stdio.h>
#include <stdlib.h>

#include <mailshelf/log.h>
#include <mailshelf/mem.h>

#include "net.h"

int
pop3_maildrop_open(struct pop3_session *s, const struct shelf_account *account)
{
	struct shelf_mailbox inbox;
	struct shelf_rd *rd = NULL;
	int rc;

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
	}
	shelf_rd_end(&rd);
	return rc;
}

void
pop3_maildrop_close(struct pop3_session *s)
{
	shelf_view_close(&s->view);
	shelf_uidset_free(&s->deleted);
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

struct update {
	struct shelf_store *store;
	uint32_t account, mailbox;
	struct shelf_uidset *uids;
	int rc;
};

static void
run_update(void *arg)
{
	struct update *u = arg;

	u->rc = shelf_msg_expunge(u->store, u->account, u->mailbox, u->uids,
	    SHELF_EXPUNGE_ATOMIC | SHELF_EXPUNGE_POP3, NULL);
}

static void
update_done(void *session, void *arg)
{
	struct pop3_session *s = session;
	struct update *u = arg;
	unsigned count = shelf_uidset_count(u->uids);

	s->wait = POP3_WAIT_COMMAND;
	if (u->rc == 0)
		pop3_ok(s, "Bye, %u messages deleted", count);
	else if (u->rc == SHELF_EUNKNOWN)
		pop3_fail(s, u->rc, "The messages may or may not be deleted");
	else
		pop3_fail(s, u->rc, "No message was deleted");
	if (u->rc != 0)
		shelf_log(SHELF_LOG_ERROR, "pop3 update failed", "account", "%s", s->account_name,
		    "error", "%s", shelf_err_name(u->rc), "messages", "%u", count, NULL);
	net_conn_close(s->conn, "quit");
	shelf_uidset_free(&u->uids);
	free(u);
}

void
pop3_maildrop_update(struct pop3_session *s)
{
	struct update *u = SHELF_NEW(struct update);

	u->store = s->server->store;
	u->account = s->account;
	u->mailbox = s->mailbox;
	u->uids = shelf_uidset_copy(s->deleted);
	s->wait = POP3_WAIT_UPDATE;
	net_conn_work(s->conn, run_update, u, update_done);
}
