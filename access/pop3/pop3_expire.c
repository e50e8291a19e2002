/*
 * pop3_expire.c - the capability EXPIRE: how long mail stays at least (RFC 2449 6.7)
 *
 * After login the value is that of the account: its rules of expiry that are about the mailbox POP3 serves, as of
 * login. Before, it is the smallest of all rules there are, with USER behind it. These may be many, so they are read
 * on a worker, once in READ_EVERY_MS at most, by the CAPA that finds them old. The setting pop3_expire_days is a
 * promise about rules that somebody else runs: the smaller one counts.
 */
#include "pop3.h"

#include <pthread.h>
#include <stdlib.h>

#include <mailshelf/expire.h>
#include <mailshelf/log.h>
#include <mailshelf/mem.h>

enum { READ_EVERY_MS = 1000, DAY_S = 86400 };

struct pop3_expire {
	struct shelf_store *store;
	pthread_mutex_t lock; /* over what follows */
	int64_t read_ms;
	uint32_t shortest_s; /* 0: there is no rule */
};

struct pop3_expire *
pop3_expire_new(struct shelf_store *store)
{
	struct pop3_expire *e = SHELF_NEW(struct pop3_expire);

	e->store = store;
	pthread_mutex_init(&e->lock, NULL);
	pop3_expire_read(e);
	return e;
}

void
pop3_expire_free(struct pop3_expire **expire)
{
	if (*expire == NULL)
		return;
	pthread_mutex_destroy(&(*expire)->lock);
	free(*expire);
	*expire = NULL;
}

bool
pop3_expire_stale(struct pop3_expire *e)
{
	int64_t now_ms = shelf_mono_ms();
	bool stale;

	pthread_mutex_lock(&e->lock);
	stale = now_ms - e->read_ms >= READ_EVERY_MS;
	if (stale)
		e->read_ms = now_ms;
	pthread_mutex_unlock(&e->lock);
	return stale;
}

void
pop3_expire_read(struct pop3_expire *e)
{
	uint32_t shortest_s;
	int rc = shelf_expire_shortest(e->store, NULL, NULL, &shortest_s);

	if (rc != 0) {
		shelf_log(SHELF_LOG_WARN, "pop3 expire", "error", "%s", shelf_err_text(rc), NULL);
		return;
	}
	pthread_mutex_lock(&e->lock);
	e->read_ms = shelf_mono_ms();
	e->shortest_s = shortest_s;
	pthread_mutex_unlock(&e->lock);
}

void
pop3_expire_capa(const struct pop3_session *s, uint64_t promised_days, struct shelf_buf *out)
{
	struct pop3_expire *e = s->server->expire;
	uint32_t rule_s = s->drop.expire_s;
	uint64_t days = promised_days;

	if (s->state == POP3_AUTHORIZATION) {
		pthread_mutex_lock(&e->lock);
		rule_s = e->shortest_s;
		pthread_mutex_unlock(&e->lock);
	}
	/* Less than a day is "0", mail may not be left here: a client that believes it takes all, and loses none. */
	if (rule_s != 0 && (days == 0 || rule_s / DAY_S < days))
		shelf_buf_printf(out, " %u", rule_s / DAY_S);
	else if (days != 0)
		shelf_buf_printf(out, " %llu", (unsigned long long)days);
	else
		shelf_buf_add_str(out, " NEVER");
	if (rule_s != 0 && s->state == POP3_AUTHORIZATION)
		shelf_buf_add_str(out, " USER");
}
