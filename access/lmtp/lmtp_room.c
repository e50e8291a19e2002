/*
 * lmtp_room.c - is there room for one more message, beside those that are on their way?
 *
 * What MAIL SIZE= announced is kept for a recipient from RCPT to the end of the transaction or of
 * the connection: of deliveries side by side those that will not fit together are told at RCPT, not
 * when the message has been sent. What is stored is asked again in its commit (append.c): there usage
 * never passes the limit, whatever was announced.
 */
#include "lmtp.h"

#include <pthread.h>
#include <stdlib.h>

#include <mailshelf/mem.h>

#include "conf.h"

enum { BUCKETS = 256 };

struct kept {
	struct kept *next;
	uint32_t account;
	uint64_t bytes, messages;
};

struct lmtp_room {
	pthread_mutex_t lock;
	struct kept *bucket[BUCKETS];
};

struct lmtp_room *
lmtp_room_new(void)
{
	struct lmtp_room *room = SHELF_NEW(struct lmtp_room);

	pthread_mutex_init(&room->lock, NULL);
	return room;
}

void
lmtp_room_free(struct lmtp_room **room)
{
	for (size_t i = 0; i < BUCKETS; i++)
		SHELF_ASSERT((*room)->bucket[i] == NULL); /* every session gave back what it kept */
	pthread_mutex_destroy(&(*room)->lock);
	free(*room);
	*room = NULL;
}

static struct kept **
find(struct lmtp_room *room, uint32_t account)
{
	struct kept **at = &room->bucket[account % BUCKETS];

	while (*at != NULL && (*at)->account != account)
		at = &(*at)->next;
	return at;
}

/* Taken first and asked for then, so that two who ask at once cannot both be told yes for what one may have. */
static struct kept
add(struct lmtp_room *room, uint32_t account, uint64_t bytes)
{
	struct kept before, **at;

	pthread_mutex_lock(&room->lock);
	at = find(room, account);
	if (*at == NULL) {
		*at = SHELF_NEW(struct kept);
		(*at)->account = account;
	}
	before = **at;
	(*at)->bytes += bytes;
	(*at)->messages++;
	pthread_mutex_unlock(&room->lock);
	return before;
}

static void
leave(struct lmtp_room *room, uint32_t account, uint64_t bytes)
{
	struct kept **at;

	pthread_mutex_lock(&room->lock);
	at = find(room, account);
	SHELF_ASSERT(*at != NULL && (*at)->messages > 0);
	(*at)->bytes -= bytes;
	if (--(*at)->messages == 0) {
		struct kept *gone = *at;

		*at = gone->next;
		free(gone);
	}
	pthread_mutex_unlock(&room->lock);
}

/* A second address of this transaction for the same account: it gets one copy. */
static bool
has_already(const struct lmtp_session *s, uint32_t account)
{
	for (size_t i = 0; i < s->nrcpts; i++)
		for (size_t k = 0; k < s->rcpts[i].n; k++)
			if (s->rcpts[i].list[k].to.account == account && s->rcpts[i].list[k].refused == 0)
				return true;
	return false;
}

void
lmtp_room_give(struct lmtp_session *s, const struct lmtp_account *a)
{
	if (a->keeps)
		leave(s->server->room, a->to.account, a->kept);
}

int
lmtp_room_take(struct lmtp_session *s, struct lmtp_account *a)
{
	struct lmtp_room *room = s->server->room;
	struct kept before;
	int rc = route_rules(s->server->store, &a->to, &a->rules);

	if (rc != 0)
		return rc;
	a->kept = s->size == 0 || !s->server->conf->lmtp_add_fields ? s->size : s->size + ROUTE_FIELDS_BYTES;
	if (has_already(s, a->to.account))
		return 0;
	before = add(room, a->to.account, a->kept);
	rc = shelf_deliver_room(s->server->store, a->to.account, a->kept, a->rules.over, before.bytes, before.messages);
	a->keeps = rc == 0;
	if (rc != 0)
		leave(room, a->to.account, a->kept);
	return rc;
}
