/*
 * pop3_update.c - QUIT: what is marked goes, what was retrieved is noted, as the account's policies say
 *
 *   pop3_delete   what becomes of the marked ones             in how many transactions
 *   delete        expunged                                    one (RFC 1939 6: all or nothing)
 *   trash         MOVE to the mailbox for trash               slices of some hundred; what is left stays as it was, and
 *   archive       MOVE to pop3_archive                        the client is told that not all went
 *   hide          IMAP sees them as before, POP3 no more      one
 *
 * Where the mailbox to move to is the one that POP3 serves, trash deletes, as IMAP clients do in Trash, and archive
 * hides: it must not lose anything. \Seen and the note of what was fetched come first, so that MOVE takes them along;
 * both are kindnesses: when they cannot be written, the log tells.
 */
#include "pop3.h"

#include <stdlib.h>

#include <mailshelf/log.h>
#include <mailshelf/mem.h>
#include <mailshelf/pop3.h>

#include "net.h"

struct update {
	struct shelf_store *store;
	uint32_t account, mailbox;
	struct shelf_uidset *uids;    /* marked */
	struct shelf_uidset *fetched;
	enum pop3_dele dele;
	char archive[SHELF_POLICY_TEXT_MAX + 1];
	bool seen;
	int64_t now_s;
	int rc, fetched_rc;
};

struct finding {
	uint32_t use, id;
};

static int
has_use(void *arg, const struct shelf_mailbox *m)
{
	struct finding *f = arg;

	if (!m->exists_now || (m->special_use & f->use) == 0)
		return 0;
	f->id = m->id;
	return 1;
}

/* The mailbox NAME, or the one of that use, else the one of the usual name; made when it is not there. */
static int
find_target(const struct update *u, uint32_t *id_out)
{
	bool trash = u->dele == POP3_DELE_TRASH, named = !trash && u->archive[0] != '\0';
	struct finding f = {.use = trash ? SHELF_USE_TRASH : SHELF_USE_ARCHIVE};
	struct shelf_span name = shelf_span_str(named ? u->archive : trash ? "Trash" : "Archive");
	struct shelf_mailbox m;
	struct shelf_rd *rd = NULL;
	int rc = shelf_rd_begin(u->store, u->account, &rd);

	if (rc == 0 && !named)
		rc = shelf_mailbox_each(rd, has_use, &f);
	if (rc == 0 && (rc = shelf_mailbox_find(rd, name, &m)) == 0)
		f.id = m.id;
	shelf_rd_end(&rd);
	if (rc == SHELF_ENOMAILBOX)
		rc = shelf_mailbox_create(u->store, u->account, name, named ? 0 : f.use, &f.id);
	*id_out = f.id;
	return rc < 0 ? rc : 0;
}

static int
move(const struct update *u, uint32_t to)
{
	struct shelf_copy_result moved = {.from_uids = shelf_uidset_new(), .to_uids = shelf_uidset_new()};
	int rc = shelf_msg_copy(u->store, u->account, u->mailbox, to, u->uids, true, &moved);

	shelf_uidset_free(&moved.from_uids);
	shelf_uidset_free(&moved.to_uids);
	return rc;
}

static void
note_fetched(struct update *u)
{
	const struct shelf_flag_change seen = {
	    .op = SHELF_FLAGS_ADD, .flags = SHELF_SEEN, .unchanged_since = UINT64_MAX};
	const struct shelf_pop3_note note = {.fetched = u->fetched, .fetched_s = u->now_s};

	/* Not of what goes for good. */
	if (u->dele == POP3_DELE_REMOVE)
		shelf_uidset_andnot(u->fetched, u->uids);
	if (shelf_uidset_count(u->fetched) == 0)
		return;
	u->fetched_rc = shelf_pop3_note(u->store, u->account, u->mailbox, &note);
	if (u->fetched_rc == 0 && u->seen)
		u->fetched_rc =
		    shelf_msg_set_flags(u->store, u->account, u->mailbox, u->fetched, &seen, NULL, NULL);
}

static void
run_update(void *arg)
{
	struct update *u = arg;
	const struct shelf_pop3_note hide = {.hide = u->uids};
	uint32_t to = 0;

	u->rc = 0;
	if (shelf_uidset_count(u->uids) > 0 && (u->dele == POP3_DELE_TRASH || u->dele == POP3_DELE_ARCHIVE) &&
	    (u->rc = find_target(u, &to)) == 0 && to == u->mailbox)
		u->dele = u->dele == POP3_DELE_TRASH ? POP3_DELE_REMOVE : POP3_DELE_HIDE;
	note_fetched(u);
	if (shelf_uidset_count(u->uids) == 0 || u->rc != 0)
		return;
	if (u->dele == POP3_DELE_REMOVE)
		u->rc = shelf_msg_expunge(u->store, u->account, u->mailbox, u->uids,
		    SHELF_EXPUNGE_ATOMIC | SHELF_EXPUNGE_POP3, NULL);
	else if (u->dele == POP3_DELE_HIDE)
		u->rc = shelf_pop3_note(u->store, u->account, u->mailbox, &hide);
	else
		u->rc = move(u, to);
}

static void
log_failure(const struct pop3_session *s, const char *what, int rc, unsigned count)
{
	shelf_log(SHELF_LOG_ERROR, what, "account", "%s", s->account_name, "error", "%s", shelf_err_name(rc),
	    "messages", "%u", count, NULL);
}

static const char *
failure(enum pop3_dele dele)
{
	switch (dele) {
	case POP3_DELE_TRASH:
		return "Not all messages went to the trash";
	case POP3_DELE_ARCHIVE:
		return "Not all messages went to the archive";
	case POP3_DELE_REMOVE:
	case POP3_DELE_HIDE:
		break;
	}
	return "No message was deleted";
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
		pop3_fail(s, u->rc, failure(u->dele));
	if (u->rc != 0)
		log_failure(s, "pop3 update failed", u->rc, count);
	if (u->fetched_rc != 0)
		log_failure(s, "pop3 retrieved not marked", u->fetched_rc, shelf_uidset_count(u->fetched));
	net_conn_close(s->conn, "quit");
	shelf_uidset_free(&u->uids);
	shelf_uidset_free(&u->fetched);
	free(u);
}

bool
pop3_update_needed(const struct pop3_session *s)
{
	return shelf_uidset_count(s->deleted) > 0 || shelf_uidset_count(s->fetched) > 0;
}

void
pop3_update(struct pop3_session *s)
{
	struct update *u = SHELF_NEW(struct update);

	u->store = s->server->store;
	u->account = s->account;
	u->mailbox = s->drop.mailbox;
	u->uids = shelf_uidset_copy(s->deleted);
	u->dele = s->drop.dele;
	memcpy(u->archive, s->drop.archive, sizeof(u->archive));
	u->seen = s->drop.seen;
	u->now_s = shelf_now_s();
	/* The session's own is empty from here on: it is noted once. */
	u->fetched = s->fetched;
	s->fetched = shelf_uidset_new();
	s->wait = POP3_WAIT_UPDATE;
	net_conn_work(s->conn, run_update, u, update_done);
}

void
pop3_update_broken(struct pop3_session *s)
{
	const struct shelf_pop3_note note = {.fetched = s->fetched, .fetched_s = shelf_now_s()};

	if (s->fetched != NULL)
		shelf_pop3_note_later(s->server->store, s->account, s->drop.mailbox, &note);
}
