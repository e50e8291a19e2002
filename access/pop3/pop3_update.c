/*
 * pop3_update.c - QUIT: what is marked goes, what was retrieved is \Seen, as the account's policies say
 *
 * What must stay true: "delete" removes all that is marked or nothing, in one transaction (RFC 1939
 * 6). Moving to the trash goes in slices of some hundred messages; when it fails in between, those that
 * are left are in the INBOX as before and the client is told that not all went. \Seen is a kindness:
 * when it cannot be set, the log tells.
 */
#include "pop3.h"

#include <stdlib.h>

#include <mailshelf/log.h>
#include <mailshelf/mem.h>

#include "net.h"

struct update {
	struct shelf_store *store;
	uint32_t account, mailbox;
	struct shelf_uidset *uids;    /* marked */
	struct shelf_uidset *fetched; /* to be \Seen; NULL: none */
	bool to_trash;
	int rc, seen_rc;
};

static int
is_trash(void *id_out, const struct shelf_mailbox *m)
{
	if (!m->exists_now || (m->special_use & SHELF_USE_TRASH) == 0)
		return 0;
	*(uint32_t *)id_out = m->id;
	return 1;
}

/* The mailbox of that use; else the one of that name, made when it is not there. */
static int
find_trash(const struct update *u, uint32_t *id_out)
{
	const struct shelf_span name = shelf_span_str("Trash");
	struct shelf_mailbox m;
	struct shelf_rd *rd = NULL;
	int rc = shelf_rd_begin(u->store, u->account, &rd);

	*id_out = 0;
	if (rc == 0 && (rc = shelf_mailbox_each(rd, is_trash, id_out)) == 0 &&
	    (rc = shelf_mailbox_find(rd, name, &m)) == 0)
		*id_out = m.id;
	shelf_rd_end(&rd);
	if (rc == SHELF_ENOMAILBOX)
		rc = shelf_mailbox_create(u->store, u->account, name, SHELF_USE_TRASH, id_out);
	return rc < 0 ? rc : 0;
}

static int
move_to_trash(const struct update *u)
{
	struct shelf_copy_result moved = {0};
	uint32_t trash;
	int rc = find_trash(u, &trash);

	if (rc != 0)
		return rc;
	moved.from_uids = shelf_uidset_new();
	moved.to_uids = shelf_uidset_new();
	rc = shelf_msg_copy(u->store, u->account, u->mailbox, trash, u->uids, true, &moved);
	shelf_uidset_free(&moved.from_uids);
	shelf_uidset_free(&moved.to_uids);
	return rc;
}

static void
run_update(void *arg)
{
	const struct shelf_flag_change seen = {
	    .op = SHELF_FLAGS_ADD, .flags = SHELF_SEEN, .unchanged_since = UINT64_MAX};
	struct update *u = arg;

	if (u->fetched != NULL)
		u->seen_rc = shelf_msg_set_flags(u->store, u->account, u->mailbox, u->fetched, &seen, NULL, NULL);
	if (shelf_uidset_count(u->uids) == 0)
		u->rc = 0;
	else if (u->to_trash)
		u->rc = move_to_trash(u);
	else
		u->rc = shelf_msg_expunge(u->store, u->account, u->mailbox, u->uids,
		    SHELF_EXPUNGE_ATOMIC | SHELF_EXPUNGE_POP3, NULL);
}

static void
log_failure(const struct pop3_session *s, const char *what, int rc, unsigned count)
{
	shelf_log(SHELF_LOG_ERROR, what, "account", "%s", s->account_name, "error", "%s", shelf_err_name(rc),
	    "messages", "%u", count, NULL);
}

static void
update_done(void *session, void *arg)
{
	struct pop3_session *s = session;
	struct update *u = arg;
	unsigned count = shelf_uidset_count(u->uids);

	s->wait = POP3_WAIT_COMMAND;
	if (u->rc == 0 && count == 0)
		pop3_ok(s, "Bye");
	else if (u->rc == 0)
		pop3_ok(s, "Bye, %u messages deleted", count);
	else if (u->rc == SHELF_EUNKNOWN)
		pop3_fail(s, u->rc, "The messages may or may not be deleted");
	else
		pop3_fail(s, u->rc, u->to_trash ? "Not all messages went to the trash" : "No message was deleted");
	if (u->rc != 0)
		log_failure(s, "pop3 update failed", u->rc, count);
	if (u->seen_rc != 0)
		log_failure(s, "pop3 retrieved not marked", u->seen_rc, shelf_uidset_count(u->fetched));
	net_conn_close(s->conn, "quit");
	shelf_uidset_free(&u->uids);
	shelf_uidset_free(&u->fetched);
	free(u);
}

bool
pop3_update_needed(const struct pop3_session *s)
{
	return shelf_uidset_count(s->deleted) > 0 || (s->fetched != NULL && shelf_uidset_count(s->fetched) > 0);
}

void
pop3_update(struct pop3_session *s)
{
	struct update *u = SHELF_NEW(struct update);

	u->store = s->server->store;
	u->account = s->account;
	u->mailbox = s->mailbox;
	u->uids = shelf_uidset_copy(s->deleted);
	u->to_trash = s->to_trash;
	if (s->fetched != NULL) {
		u->fetched = shelf_uidset_copy(s->fetched);
		if (!u->to_trash)
			shelf_uidset_andnot(u->fetched, u->uids);
	}
	s->wait = POP3_WAIT_UPDATE;
	net_conn_work(s->conn, run_update, u, update_done);
}
