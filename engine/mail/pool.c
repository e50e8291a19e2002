/*
 * pool.c - the pool of a domain: what all its accounts may have together, exact over partitions
 *
 *   limit (POLICY of @domain)  >=  sum over partitions of  used (DOMAIN) + room (POOL)
 *
 * A change that brings mail takes from the room of its partition, in its own transaction; where that is short it fails,
 * and the caller fetches room (mail_pool_take) and runs it again. Mail that goes gives nothing to the room: it makes
 * the sum smaller, and with it there is room to be fetched.
 *
 * What must stay true
 *   - Room is made by who holds the lock alone (STORE/pools.lock, over processes), from a sum that it has seen twice.
 *     Accounts that move, and old ones that are counted now, change "used" and no room: seen twice unchanged,
 *     the sum is of one moment.
 *   - Every partition has a POOL row before the first account of the domain there can be reached.
 * Only what is exempt from all limits, and what was there before the limit, can be above it; then nothing else comes.
 * A row that cannot be read counts as no room. Decision 17.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include <mailshelf/mem.h>
#include <mailshelf/policy.h>

#include "mail.h"

enum { FORMAT = 1, OF_BYTES = 1, OF_MESSAGES = 2, LOOKS_MAX = 20, TAKES_MAX = 16 };

struct pool_room { /* a row of POOL */
	unsigned of; /* bits: what is limited */
	uint64_t bytes, messages;
};

static struct mail_key
key_of(const char *domain)
{
	struct mail_key k = {.len = strlen(domain) + 1};

	k.bytes[0] = '@';
	memcpy(k.bytes + 1, domain, k.len - 1);
	return k;
}

int
mail_pool_check(struct shelf_span value)
{
	return value.len == 18 && value.data[0] == FORMAT && (value.data[1] & ~(OF_BYTES | OF_MESSAGES)) == 0
		   ? 0
		   : value.len > 0 && value.data[0] > FORMAT ? SHELF_EVERSION : SHELF_ECORRUPT;
}

/* SHELF_EMISSING: the domain has no pool. */
static int
get_room(struct kv_view *view, const char *domain, struct pool_room *out)
{
	struct mail_key key = key_of(domain);
	struct shelf_span value;
	struct base_reader r;
	int rc = kv_get(view, KV_POOL, mail_key_span(&key), &value);

	*out = (struct pool_room){.of = OF_BYTES | OF_MESSAGES};
	if (rc != 0 || (rc = mail_pool_check(value)) != 0)
		return rc == SHELF_ECORRUPT ? 0 : rc;
	r = base_reader(value);
	base_get_le(&r, 1);
	out->of = (unsigned)base_get_le(&r, 1);
	out->bytes = base_get_le(&r, 8);
	out->messages = base_get_le(&r, 8);
	return 0;
}

static int
put_room(struct kv_txn *txn, const char *domain, const struct pool_room *room)
{
	struct mail_key key = key_of(domain);
	struct shelf_buf value = {0};
	int rc;

	base_add_le(&value, FORMAT, 1);
	base_add_le(&value, room->of, 1);
	base_add_le(&value, room->bytes, 8);
	base_add_le(&value, room->messages, 8);
	rc = kv_put(txn, KV_POOL, mail_key_span(&key), shelf_buf_span(&value));
	shelf_buf_free(&value);
	return rc;
}

/* ---- A change --------------------------------------------------------------------------------------------- */

static uint64_t
growth(uint64_t was, uint64_t is)
{
	return is > was ? is - was : 0;
}

int
mail_pool_change(struct mail_change *c, const struct shelf_totals *was, const struct shelf_totals *is)
{
	uint64_t bytes = growth(was->message_bytes, is->message_bytes);
	uint64_t messages = growth(was->messages, is->messages);
	struct pool_room room;
	int rc;

	if (!c->acct.counted || c->acct.domain[0] == '\0' || (bytes == 0 && messages == 0))
		return 0;
	if ((rc = get_room(kv_txn_view(c->txn), c->acct.domain, &room)) != 0)
		return rc == SHELF_EMISSING ? 0 : rc;
	if (!c->exempt && (((room.of & OF_BYTES) != 0 && bytes > room.bytes) ||
			   ((room.of & OF_MESSAGES) != 0 && messages > room.messages))) {
		if (c->need == NULL)
			return SHELF_EQUOTA;
		*c->need = (struct mail_need){.asked = true, .bytes = bytes, .messages = messages};
		memcpy(c->need->domain, c->acct.domain, sizeof(c->need->domain));
		return SHELF_EBUSY;
	}
	room.bytes = mail_less(room.bytes, bytes);
	room.messages = mail_less(room.messages, messages);
	return put_room(c->txn, c->acct.domain, &room);
}

int
mail_update_growing(struct shelf_store *store, uint32_t account, unsigned flags, kv_update_fn *fn, void *arg,
		    struct mail_need *need)
{
	int rc = SHELF_EBUSY;

	for (unsigned i = 0; i < TAKES_MAX && rc == SHELF_EBUSY; i++) {
		need->asked = false;
		rc = kv_update(store->kv, account, flags, fn, arg);
		if (rc != SHELF_EBUSY || !need->asked)
			return rc;
		if ((rc = mail_pool_take(store, account, need)) == 0)
			rc = SHELF_EBUSY; /* somebody else may be faster to use it */
	}
	return rc;
}

/* ---- The lock, the sum ------------------------------------------------------------------------------------ */

/* Threads and processes alike wait for it: each has a description of its own. */
static int
lock(struct shelf_store *store, int *fd_out)
{
	struct shelf_buf path = {0};
	int fd;

	shelf_buf_printf(&path, "%s/pools.lock", store->dir);
	fd = open(shelf_buf_cstr(&path), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	shelf_buf_free(&path);
	if (fd < 0)
		return mail_from_errno();
	while (flock(fd, LOCK_EX) != 0)
		if (errno != EINTR) {
			close(fd);
			return SHELF_EIO;
		}
	*fd_out = fd;
	return 0;
}

struct pool_sum {
	struct { /* of one partition: used and room */
		uint64_t bytes, messages;
	} part[KV_SHARDS_MAX];
	uint64_t used_bytes, used_messages, room_bytes, room_messages;
};

static int
add_up(struct shelf_store *store, const char *domain, struct pool_sum *sum)
{
	memset(sum, 0, sizeof(*sum));
	for (uint32_t shard = 0; shard < kv_shards(store->kv); shard++) {
		struct kv_view *view = NULL;
		struct shelf_totals t;
		struct pool_room room;
		int rc = kv_view_begin_shard(store->kv, shard, &view);

		if (rc != 0)
			return rc;
		if ((rc = mail_totals_get(view, domain, &t)) == SHELF_ECORRUPT)
			rc = 0; /* counts as nothing, as in totals.c */
		if (rc == 0 && (rc = get_room(view, domain, &room)) == SHELF_EMISSING)
			rc = 0;
		kv_view_end(&view);
		if (rc != 0)
			return rc;
		sum->part[shard].bytes = t.message_bytes + room.bytes;
		sum->part[shard].messages = t.messages + room.messages;
		sum->used_bytes += t.message_bytes;
		sum->used_messages += t.messages;
		sum->room_bytes += room.bytes;
		sum->room_messages += room.messages;
	}
	return 0;
}

/* Of one moment. */
static int
add_up_twice(struct shelf_store *store, const char *domain, struct pool_sum *sum)
{
	struct pool_sum before;
	int rc = kv_refresh(store->kv);

	if (rc == 0)
		rc = add_up(store, domain, sum);

	for (unsigned i = 0; i < LOOKS_MAX && rc == 0; i++) {
		before = *sum;
		if ((rc = add_up(store, domain, sum)) == 0 &&
		    memcmp(before.part, sum->part, sizeof(sum->part)) == 0)
			return 0;
	}
	return rc != 0 ? rc : SHELF_EBUSY;
}

static int
get_limits(struct shelf_store *store, const char *domain, uint64_t *bytes, uint64_t *messages)
{
	struct shelf_policies p;
	char scope[SHELF_ACCOUNT_NAME_MAX + 2];
	int rc;

	snprintf(scope, sizeof(scope), "@%s", domain);
	rc = shelf_policy_own(store, shelf_span_str(scope), &p);
	*bytes = rc == 0 ? p.value[SHELF_POLICY_POOL_BYTES] : 0;
	*messages = rc == 0 ? p.value[SHELF_POLICY_POOL_MESSAGES] : 0;
	return rc;
}

int
shelf_pool_get(struct shelf_store *store, struct shelf_span domain, struct shelf_pool *out)
{
	char name[SHELF_ACCOUNT_NAME_MAX + 1];
	struct pool_sum sum;
	int rc = mail_account_name(domain, name);

	*out = (struct shelf_pool){0};
	if (rc != 0 || (rc = get_limits(store, name, &out->limit_bytes, &out->limit_messages)) != 0)
		return rc;
	if (out->limit_bytes == 0 && out->limit_messages == 0)
		return SHELF_EMISSING;
	rc = add_up(store, name, &sum);
	out->used_bytes = sum.used_bytes;
	out->used_messages = sum.used_messages;
	return rc;
}

/* ---- Room ------------------------------------------------------------------------------------------------- */

struct giving {
	const char *domain;
	unsigned of;
	uint64_t bytes, messages;
	bool all_back; /* first takes back what is there */
	bool missing;  /* only where there is no row */
};

static int
give(struct kv_txn *txn, void *arg)
{
	const struct giving *g = arg;
	struct pool_room room;
	int rc = get_room(kv_txn_view(txn), g->domain, &room);

	if (rc != 0 && rc != SHELF_EMISSING)
		return rc;
	if (rc == 0 && g->missing)
		return 0;
	if (rc == SHELF_EMISSING || g->all_back)
		room.bytes = room.messages = 0;
	room.of = g->of;
	room.bytes += g->bytes;
	room.messages += g->messages;
	return put_room(txn, g->domain, &room);
}

static int
remove_row(struct kv_txn *txn, void *arg)
{
	struct mail_key key = key_of(arg);
	int rc = kv_del(txn, KV_POOL, mail_key_span(&key));

	return rc == SHELF_EMISSING ? 0 : rc;
}

/* Under the lock: no partition has room, and each has a row; or none, where nothing is limited. */
static int
take_all_back(struct shelf_store *store, const char *domain, unsigned of)
{
	struct giving g = {.domain = domain, .of = of, .all_back = true};
	int rc = kv_refresh(store->kv);

	for (uint32_t shard = 0; shard < kv_shards(store->kv) && rc == 0; shard++)
		rc = of == 0 ? kv_update_shard(store->kv, shard, KV_QUIET, remove_row, (void *)(uintptr_t)domain)
			     : kv_update_shard(store->kv, shard, KV_QUIET, give, &g);
	return rc;
}

static unsigned
what_is_limited(uint64_t bytes, uint64_t messages)
{
	return (bytes != 0 ? OF_BYTES : 0) | (messages != 0 ? OF_MESSAGES : 0);
}

int
mail_pool_settle(struct shelf_store *store, const char *domain)
{
	uint64_t bytes, messages;
	int fd, rc = lock(store, &fd);

	if (rc != 0)
		return rc;
	if ((rc = get_limits(store, domain, &bytes, &messages)) == 0)
		rc = take_all_back(store, domain, what_is_limited(bytes, messages));
	close(fd);
	return rc;
}

int
mail_pool_ready(struct shelf_store *store, struct shelf_span name, uint32_t shard)
{
	struct giving g = {.missing = true};
	char folded[SHELF_ACCOUNT_NAME_MAX + 1];
	struct pool_room room;
	struct kv_view *view = NULL;
	uint64_t bytes, messages;
	const char *at;
	int rc = mail_account_name(name, folded);

	if (rc != 0 || (at = strrchr(folded, '@')) == NULL || at[1] == '\0')
		return rc;
	g.domain = at + 1;
	if ((rc = get_limits(store, g.domain, &bytes, &messages)) != 0 ||
	    (g.of = what_is_limited(bytes, messages)) == 0 || (rc = kv_view_begin_shard(store->kv, shard, &view)) != 0)
		return rc;
	rc = get_room(view, g.domain, &room);
	kv_view_end(&view);
	return rc == SHELF_EMISSING ? kv_update_shard(store->kv, shard, KV_ADDS | KV_QUIET, give, &g) : rc;
}

/* What is short of NEED, and what is left over for the next ones. SHELF_EQUOTA: the pool has not so much. */
static int
share(uint64_t limit, uint64_t sum, uint64_t room, uint64_t need, uint32_t shards, uint64_t *give_out)
{
	uint64_t left = limit > sum ? limit - sum : 0, want = need > room ? need - room : 0;

	*give_out = 0;
	if (limit == 0 || want == 0)
		return 0;
	if (left < want)
		return SHELF_EQUOTA;
	*give_out = want + (left - want) / (4 * (uint64_t)shards);
	return 0;
}

/* Under the lock. SHELF_EQUOTA. */
static int
fetch(struct shelf_store *store, uint32_t shard, const struct mail_need *need, uint64_t limit_bytes,
      uint64_t limit_messages)
{
	struct giving g = {.domain = need->domain, .of = what_is_limited(limit_bytes, limit_messages)};
	uint32_t shards = kv_shards(store->kv);
	struct pool_room here;
	struct kv_view *view = NULL;
	struct pool_sum sum;
	int rc;

	if ((rc = kv_view_begin_shard(store->kv, shard, &view)) != 0)
		return rc;
	rc = get_room(view, need->domain, &here);
	kv_view_end(&view);
	if ((rc != 0 && rc != SHELF_EMISSING) || (rc = add_up_twice(store, need->domain, &sum)) != 0)
		return rc;
	rc = share(limit_bytes, sum.used_bytes + sum.room_bytes, here.bytes, need->bytes, shards, &g.bytes);
	if (rc == 0)
		rc = share(limit_messages, sum.used_messages + sum.room_messages, here.messages, need->messages,
			   shards, &g.messages);
	if (rc != 0)
		return rc;
	return kv_update_shard(store->kv, shard, KV_ADDS | KV_QUIET, give, &g);
}

int
mail_pool_take(struct shelf_store *store, uint32_t account, const struct mail_need *need)
{
	uint64_t bytes, messages;
	uint32_t shard;
	int fd, rc;

	/* A full pool is known without a lock. */
	if ((rc = mail_pool_probe(store, need->domain, need->bytes, need->messages)) != 0 ||
	    (rc = kv_shard_of(store->kv, account, &shard)) != 0 || (rc = lock(store, &fd)) != 0)
		return rc;
	rc = get_limits(store, need->domain, &bytes, &messages);
	if (rc == 0 && bytes == 0 && messages == 0)
		rc = take_all_back(store, need->domain, 0); /* left over: it has no limit any more */
	else if (rc == 0 && (rc = fetch(store, shard, need, bytes, messages)) == SHELF_EQUOTA &&
		 (rc = take_all_back(store, need->domain, what_is_limited(bytes, messages))) == 0)
		rc = fetch(store, shard, need, bytes, messages);
	close(fd);
	return rc;
}

int
mail_pool_probe(struct shelf_store *store, const char *domain, uint64_t bytes, uint64_t messages)
{
	uint64_t limit_bytes, limit_messages;
	struct pool_sum sum;
	int rc;

	if (domain[0] == '\0')
		return 0;
	if ((rc = get_limits(store, domain, &limit_bytes, &limit_messages)) != 0 ||
	    (limit_bytes == 0 && limit_messages == 0) || (rc = add_up(store, domain, &sum)) != 0)
		return rc;
	if (limit_bytes != 0 && (bytes > limit_bytes || sum.used_bytes > limit_bytes - bytes))
		return SHELF_EQUOTA;
	if (limit_messages != 0 && (messages > limit_messages || sum.used_messages > limit_messages - messages))
		return SHELF_EQUOTA;
	return 0;
}
