/*
 * pop3_maildrop.c - the mailbox as this session sees it
 *
 * What must stay true: the view, the sizes and the marks change through these functions only;
 * nothing is removed before QUIT (pop3_update.c).
 * Messages that another session expunges stay readable for the hold time of the store,
 * so they stay in the listing: the maildrop is a snapshot without a lock (RFC 1939 4 asks for
 * either). With the policy pop3_lock it has one, too, against other sessions of POP3.
 */
#include "pop3.h"

#include <stdio.h>
#include <stdlib.h>

#include <mailshelf/expire.h>
#include <mailshelf/log.h>
#include <mailshelf/mem.h>
#include <mailshelf/pop3.h>

#include "net.h"

struct opening {
	struct shelf_store *store;
	uint32_t account;
	char name[SHELF_ACCOUNT_NAME_MAX + 1];
	bool recent;
	struct pop3_drop drop;
	int rc;
	void (*done)(struct pop3_session *s, int rc);
};

static void
take_policies(struct pop3_drop *drop, const struct shelf_policies *policy)
{
	drop->dele = (enum pop3_dele)policy->value[SHELF_POLICY_POP3_DELETE];
	drop->seen = policy->value[SHELF_POLICY_POP3_SEEN] == 1;
	snprintf(drop->archive, sizeof(drop->archive), "%s", policy->text[SHELF_POLICY_POP3_ARCHIVE]);
}

/* On a worker. */
static void
run_opening(void *arg)
{
	struct opening *o = arg;
	struct pop3_drop *drop = &o->drop;
	struct shelf_policies policy;
	struct shelf_mailbox box;
	struct shelf_rd *rd = NULL;
	const char *name;

	if ((o->rc = shelf_policy_get(o->store, shelf_span_str(o->name), &policy)) != 0)
		return;
	take_policies(drop, &policy);
	/* Before the snapshot: what the session before has removed is not in it. */
	if (policy.value[SHELF_POLICY_POP3_LOCK] == 1 &&
	    (o->rc = shelf_pop3_lock(o->store, o->account, &drop->lock)) != 0) {
		o->rc = o->rc == SHELF_EBUSY ? SHELF_EEXISTS : o->rc;
		return;
	}
	name = policy.text[SHELF_POLICY_POP3_MAILBOX];
	if (*name == '\0')
		name = "INBOX";
	if ((o->rc = shelf_expire_shortest(o->store, o->name, name, &drop->expire_s)) != 0)
		return;
	/* One snapshot for all, so that STAT and the view agree. */
	o->rc = shelf_rd_begin(o->store, o->account, &rd);
	if (o->rc == 0)
		o->rc = shelf_mailbox_find(rd, shelf_span_str(name), &box);
	if (o->rc == 0)
		o->rc = shelf_view_open(rd, box.id, &drop->view);
	if (o->rc == 0) {
		drop->mailbox = box.id;
		drop->uidvalidity = box.uidvalidity;
		drop->bytes = box.bytes;
		o->rc = pop3_window(drop, o->store, rd, o->account,
		    o->recent ? shelf_show(SHELF_SHOW_RECENT, 0) : policy.value[SHELF_POLICY_POP3_SHOW]);
	}
	shelf_rd_end(&rd);
}

static void
opened(void *session, void *arg)
{
	struct pop3_session *s = session;
	struct opening *o = arg;
	void (*done)(struct pop3_session *s, int rc) = o->done;
	int rc = o->rc;

	s->drop = o->drop;
	if (rc == 0) {
		s->deleted = shelf_uidset_new();
		s->deleted_bytes = 0;
		s->fetched = shelf_uidset_new();
	}
	free(o);
	if (!net_conn_closing(s->conn))
		done(s, rc);
}

void
pop3_maildrop_open(struct pop3_session *s, void (*done)(struct pop3_session *s, int rc))
{
	struct opening *o = SHELF_NEW(struct opening);

	o->store = s->server->store;
	o->account = s->account;
	snprintf(o->name, sizeof(o->name), "%s", s->account_name);
	o->recent = s->recent;
	o->done = done;
	net_conn_work(s->conn, run_opening, o, opened);
}

void
pop3_drop_free(struct pop3_drop *drop)
{
	shelf_view_close(&drop->view);
	shelf_uidset_free(&drop->shown);
	shelf_pop3_unlock(&drop->lock);
}

void
pop3_maildrop_close(struct pop3_session *s)
{
	pop3_drop_free(&s->drop);
	shelf_uidset_free(&s->deleted);
	shelf_uidset_free(&s->fetched);
}

uint32_t
pop3_drop_count(const struct pop3_drop *drop)
{
	return drop->shown != NULL ? shelf_uidset_count(drop->shown) : shelf_view_count(drop->view);
}

uint32_t
pop3_drop_uid(const struct pop3_drop *drop, uint32_t seq)
{
	return drop->shown != NULL ? shelf_uidset_nth(drop->shown, seq) : shelf_view_uid(drop->view, seq);
}

uint32_t
pop3_drop_next(const struct pop3_drop *drop, uint32_t seq, uint32_t uid)
{
	return drop->shown != NULL ? shelf_uidset_next(drop->shown, uid + 1) : shelf_view_uid(drop->view, seq + 1);
}

uint32_t
pop3_maildrop_count(const struct pop3_session *s)
{
	return pop3_drop_count(&s->drop) - shelf_uidset_count(s->deleted);
}

uint64_t
pop3_maildrop_bytes(const struct pop3_session *s)
{
	return s->drop.bytes > s->deleted_bytes ? s->drop.bytes - s->deleted_bytes : 0;
}

int
pop3_maildrop_msg(struct pop3_session *s, uint32_t seq, struct shelf_msg *out)
{
	uint32_t uid = pop3_drop_uid(&s->drop, seq);
	struct shelf_rd *rd = NULL;
	int rc;

	if (uid == 0 || shelf_uidset_has(s->deleted, uid))
		return SHELF_ENOMESSAGE;
	rc = shelf_rd_begin(s->server->store, s->account, &rd);
	if (rc == 0)
		rc = shelf_msg_get(rd, s->drop.mailbox, uid, out);
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
