/*
 * imap_notify.c - who is told what, and when
 *
 *   commit --engine--> wake --> notice (or IDLE, or behind a command): the selected mailbox, then the others
 *
 * What must stay true: between commands only what NOTIFY asked for is written, in IDLE the same; news that
 * come while something is told are told before anybody waits again.
 * Sources   RFC 5465 3.1, 4, 5.8, 6.
 */
#include <stdlib.h>

#include "imap_command.h"
#include "imap_notify.h"
#include "imap_push.h"
#include "imap_sync.h"
#include "net.h"

/* On a thread of the engine. */
static void
news(void *arg)
{
	net_conn_wake(arg);
}

struct imap_notify *
imap_notify_new(void)
{
	return SHELF_NEW(struct imap_notify);
}

void
imap_notify_free(struct imap_notify **notify)
{
	struct imap_notify *n = *notify;

	*notify = NULL;
	if (n == NULL)
		return;
	shelf_unlisten(&n->listener);
	shelf_unlisten(&n->owner_listener);
	imap_watch_free(&n->watch);
	imap_push_free(&n->push);
	for (size_t i = 0; i < n->ngroup; i++)
		free(n->group[i].name);
	free(n->group);
	shelf_arena_free(&n->arena);
	free(n);
}

void
imap_notify_selected(struct imap_session *s)
{
	struct imap_notify *n = s->notify;

	if (n == NULL)
		return;
	shelf_unlisten(&n->owner_listener);
	if (n->selected == 0 || s->view == NULL || s->owner == s->account)
		return;
	/* Without it the mailbox is told of with the next command. */
	if (shelf_listen(s->store, s->owner, news, s->conn, &n->owner_listener) != 0)
		n->owner_listener = NULL;
}

int
imap_notify_listen(struct imap_session *s, struct imap_notify *notify)
{
	if (notify->selected == 0 && notify->ngroup == 0)
		return 0;
	return shelf_listen(s->store, s->account, news, s->conn, &notify->listener);
}

/* ---- What is wanted ------------------------------------------------------------------------------ */

static bool
group_has(const struct imap_notify_group *g, struct shelf_span name, bool personal, bool subscribed)
{
	if (g->filter == IMAP_FILTER_PERSONAL)
		return personal;
	if (g->filter == IMAP_FILTER_SUBSCRIBED)
		return subscribed;
	for (size_t i = 0; i < g->nname; i++) {
		struct shelf_span top = g->name[i];

		if (shelf_span_eq(name, top) ||
		    (g->filter == IMAP_FILTER_SUBTREE && name.len > top.len && name.data[top.len] == '/' &&
			memcmp(name.data, top.data, top.len) == 0))
			return true;
	}
	return false;
}

unsigned
imap_notify_events(const struct imap_notify *notify, struct shelf_span name, bool personal, bool subscribed)
{
	unsigned events = 0;

	for (size_t i = 0; i < notify->ngroup; i++)
		if (group_has(&notify->group[i], name, personal, subscribed))
			events |= notify->group[i].events;
	return events;
}

bool
imap_notify_wants(const struct imap_cmd *c, enum imap_event event)
{
	const struct imap_notify *n = c->s->notify;

	return n == NULL || (c->row->flags & IMAP_TELLS) != 0 || (n->selected & event) != 0;
}

/* ---- New messages -------------------------------------------------------------------------------- */

enum imap_step
imap_notify_fetch(struct imap_session *s, const struct shelf_uidset *uids)
{
	struct imap_notify *n = s->notify;
	enum imap_step step;

	if (n == NULL || !n->has_items)
		return IMAP_DONE;
	if (n->push == NULL)
		n->push = imap_push_new(s, &n->items, uids);
	step = imap_push_run(n->push);
	if (step == IMAP_DONE)
		imap_push_free(&n->push);
	return step;
}

/* ---- Telling ------------------------------------------------------------------------------------- */

void
imap_notify_overflow(struct imap_session *s)
{
	imap_untagged(s, "OK [NOTIFICATIONOVERFLOW] Too much happens; as behind NOTIFY NONE from here on");
	imap_notify_free(&s->notify);
	s->notify = imap_notify_new();
}

static enum imap_step
tell_once(struct imap_cmd *c, bool may_renumber)
{
	struct imap_session *s = c->s;
	enum imap_step step;
	int rc = 0;

	if (s->notify == NULL || !s->notify->looked) {
		step = imap_sync(c, may_renumber);
		if (step != IMAP_DONE || s->notify == NULL || s->notify->watch == NULL)
			return step;
		rc = imap_watch_look(s);
		if (rc == SHELF_ELIMIT) {
			imap_notify_overflow(s);
			return IMAP_DONE;
		}
		if (rc != 0) { /* the next one may see it */
			shelf_log(SHELF_LOG_WARN, "imap notify", "account", "%s", s->account_name, "error",
			    "%s", shelf_err_name(rc), NULL);
			return IMAP_DONE;
		}
		s->notify->looked = true;
	}
	step = imap_watch_print(s);
	if (step == IMAP_DONE)
		s->notify->looked = false;
	return step;
}

enum imap_step
imap_notify_tell(struct imap_cmd *c, bool may_renumber)
{
	struct imap_session *s = c->s;
	enum imap_step step;

	do {
		if (!imap_account_still(s))
			return IMAP_WANT_INPUT;
		step = tell_once(c, may_renumber);
		if (step != IMAP_DONE)
			return step;
		if (s->mailbox_gone) {
			imap_bye(s, "mailbox gone", "The selected mailbox was deleted or renamed");
			return IMAP_WANT_INPUT;
		}
		if (imap_out_full(s))
			return IMAP_WANT_OUTPUT;
	} while (c->news);
	return IMAP_DONE;
}

enum imap_step
imap_notify_notice(struct imap_cmd *c)
{
	return imap_notify_tell(c, c->s->notify == NULL || !c->s->notify->delayed);
}
