/*
 * imap_watch_others.c - the accounts that a session watches: its own, and those of others who share what is wanted
 *
 *   look: own changes --> subscriptions, sharers --> others to watch, too --> theirs that have news --> told in turn
 *
 * Whose mailboxes are wanted is known by their names: those in the command, and those subscribed. Of SUBTREE "Other
 * Users" it is asked with all news who shares anything. What an account does not share is watched, too, where it has
 * been named: rights may come and go (RFC 5465 5.9).
 *
 * What must stay true: first to listen, then to read; an account's news make its own watch stale, so those of one
 * account cost nothing for the others.
 * Sources   RFC 5465 5, 5.9, 6; RFC 4314 4.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf.h"
#include "imap_address.h"
#include "imap_watch.h"
#include "net.h"

enum { OTHERS_MAX = 100 };

void
imap_watch_free(struct imap_watch **watch)
{
	while (*watch != NULL) {
		struct imap_watch *next = (*watch)->next;

		imap_watch_free_one(watch);
		*watch = next;
	}
}

static struct imap_watch *
new_watch(struct imap_session *s, const struct imap_notify *notify, uint32_t account)
{
	struct imap_watch *w = SHELF_NEW(struct imap_watch);

	w->conn = s->conn;
	w->account = account;
	w->user = s->account_name;
	w->notify = notify;
	w->bytes_max = (size_t)s->server->conf->imap_notify_max_bytes;
	for (size_t i = 0; i < notify->ngroup; i++)
		w->wanted |= notify->group[i].events;
	return w;
}

static struct imap_watch *
find(struct imap_watch *first, uint32_t account)
{
	while (first != NULL && first->account != account)
		first = first->next;
	return first;
}

/* All accounts together stay within what one session may hold. */
static int
within_limit(const struct imap_watch *first)
{
	size_t bytes = 0, n = 0;

	for (const struct imap_watch *w = first; w != NULL; w = w->next, n++)
		bytes += w->bytes + w->notes.bytes;
	return bytes > first->bytes_max || n > OTHERS_MAX + 1 ? SHELF_ELIMIT : 0;
}

/* ---- Whose ------------------------------------------------------------------------------------------- */

/* On a thread of the engine. */
static void
news(void *arg)
{
	struct imap_watch *w = arg;

	atomic_store(&w->stale, true);
	net_conn_wake(w->conn);
}

static int
add(struct imap_session *s, struct imap_watch *own, uint32_t account)
{
	struct shelf_account a;
	struct imap_watch *w;
	size_t len;
	int rc;

	if (find(own, account) != NULL)
		return 0;
	if ((rc = shelf_account_get(s->store, account, &a)) != 0)
		return rc == SHELF_ENOACCOUNT ? 0 : rc;
	w = new_watch(s, own->notify, account);
	len = sizeof IMAP_OTHERS + strlen(a.name) + 1;
	w->top = shelf_span(shelf_alloc(len + 1), len);
	snprintf((char *)(uintptr_t)w->top.data, len + 1, IMAP_OTHERS "/%s/", a.name);
	rc = shelf_listen(s->store, account, news, w, &w->listener);
	if (rc == 0)
		rc = imap_watch_read(w, s->store);
	if (rc != 0) {
		imap_watch_free_one(&w);
		return rc == SHELF_ENOACCOUNT ? 0 : rc;
	}
	w->next = own->next;
	own->next = w;
	return within_limit(own);
}

/* Whoever is watched needs not be looked for with all news. */
static bool
is_watched(const struct imap_watch *own, struct shelf_span name)
{
	for (const struct imap_watch *w = own->next; w != NULL; w = w->next) {
		size_t account = w->top.len - 1; /* without the slash */

		if (name.len >= account && memcmp(name.data, w->top.data, account) == 0 &&
		    (name.len == account || name.data[account] == '/'))
			return true;
	}
	return false;
}

/* "Other Users/NAME", and what is below it. */
static int
add_named(struct imap_session *s, struct imap_watch *own, struct shelf_span name)
{
	struct shelf_span path;
	uint32_t account;
	int rc;

	if (is_watched(own, name))
		return 0;
	rc = imap_address_other(s, name, &account, &path);
	if (rc != 0)
		return rc == SHELF_EIO || rc == SHELF_ECORRUPT ? rc : 0;
	return add(s, own, account);
}

static int
add_sharers(struct imap_session *s, struct imap_watch *own)
{
	uint32_t *list = NULL;
	size_t n = 0;
	int rc = shelf_sharers(s->store, s->account_name, &list, &n);

	for (size_t i = 0; i < n && rc == 0; i++)
		rc = add(s, own, list[i]);
	free(list);
	return rc;
}

static int
add_subscribed(struct imap_session *s, struct imap_watch *own)
{
	int rc = 0;

	/* Those without a mailbox of the user's own stand in front. */
	for (size_t i = 0; i < own->n && own->box[i].id == 0 && rc == 0; i++)
		rc = add_named(s, own, own->box[i].name);
	return rc;
}

static int
add_others(struct imap_session *s, struct imap_watch *own)
{
	const struct imap_notify *n = own->notify;
	int rc = 0;

	for (size_t i = 0; i < n->ngroup && rc == 0; i++) {
		const struct imap_notify_group *g = &n->group[i];

		if (g->filter == IMAP_FILTER_SUBSCRIBED)
			rc = add_subscribed(s, own);
		for (size_t k = 0; k < g->nname && rc == 0; k++)
			rc = g->filter == IMAP_FILTER_SUBTREE && shelf_span_is(g->name[k], IMAP_OTHERS)
			    ? add_sharers(s, own) : add_named(s, own, g->name[k]);
	}
	return rc;
}

/* ---- All of them ------------------------------------------------------------------------------------- */

int
imap_watch_begin(struct imap_session *s, const struct imap_notify *notify, struct imap_watch **out)
{
	struct imap_watch *own = new_watch(s, notify, s->account);
	int rc = imap_watch_read(own, s->store);

	if (rc == 0)
		rc = add_others(s, own);
	if (rc != 0)
		imap_watch_free(&own);
	*out = own;
	return rc;
}

int
imap_watch_look(struct imap_session *s)
{
	struct imap_watch *own = s->notify->watch;
	int rc = imap_watch_compare(own, s->store);

	if (rc == 0)
		rc = add_others(s, own);
	for (struct imap_watch *w = own->next; w != NULL && rc == 0; w = w->next)
		if (atomic_exchange(&w->stale, false) && (rc = imap_watch_compare(w, s->store)) != 0)
			atomic_store(&w->stale, true); /* what could not be read is news still */
	s->notify->telling = own;
	return rc != 0 ? rc : within_limit(own);
}

/* A mailbox of the user's own that has such a name hides the other (imap_address.h). */
static bool
is_hidden(const struct imap_watch *own, struct shelf_span name)
{
	for (size_t i = own->n; i-- > 0 && own->box[i].id != 0;)
		if (shelf_span_eq(own->box[i].name, name))
			return true;
	return false;
}

unsigned
imap_watch_events(const struct imap_watch *w, struct shelf_span name, bool subscribed)
{
	const struct imap_watch *own = w->notify->watch;

	if (w->top.len == 0)
		return imap_notify_events(w->notify, name, true, subscribed);
	return is_hidden(own, name) ? 0 : imap_notify_events(w->notify, name, false, imap_watch_is_loose(own, name));
}

/* ---- Own changes ------------------------------------------------------------------------------------- */

struct imap_watch *
imap_watch_of(struct imap_session *s, uint32_t account)
{
	return s->notify == NULL ? NULL : find(s->notify->watch, account);
}

void
imap_watch_own(struct imap_session *s, uint32_t account, uint32_t mailbox, uint64_t modseq)
{
	struct imap_watch *w = imap_watch_of(s, account);

	if (w == NULL)
		return;
	w->own_mailbox = mailbox;
	w->own_modseq = modseq;
}

void
imap_watch_own_name(struct imap_session *s, uint32_t account, struct shelf_span name, enum imap_event event, bool there)
{
	struct imap_watch *w = imap_watch_of(s, account);

	if (w != NULL && w->nown < IMAP_OWN_MAX)
		w->own[w->nown++] = (struct imap_own_name){imap_watch_hash(name), event, there};
}
