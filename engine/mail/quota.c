/* quota.c - limits, and counting everything again to see that the counters are right */
#include "mail_check.h"

struct limits {
	struct shelf_store *store;
	uint64_t bytes, messages, mailboxes;
};

static int
set_limits(struct kv_txn *txn, void *arg)
{
	struct limits *l = arg;
	struct mail_change c;
	int rc;

	if ((rc = mail_change_begin(&c, l->store, txn)) != 0)
		return rc;
	c.acct.quota.limit_bytes = l->bytes;
	c.acct.quota.limit_messages = l->messages;
	c.acct.quota.limit_mailboxes = l->mailboxes;
	c.dirty = true;
	return mail_change_end(&c);
}

int
shelf_quota_set(struct shelf_store *store, uint32_t id, uint64_t limit_bytes,
		uint64_t limit_messages, uint64_t limit_mailboxes)
{
	struct limits l = {store, limit_bytes, limit_messages, limit_mailboxes};

	return kv_update(store->kv, id, 0, set_limits, &l);
}

int
shelf_quota_check(struct shelf_store *store, uint32_t id, struct shelf_quota *kept,
		  struct shelf_quota *counted)
{
	struct check k = {.store = store, .account = id};
	uint32_t shard, now;
	int rc = kv_shard_of(store->kv, id, &shard);

	while (rc == 0) {
		rc = check_account(&k, shard, true, kept, counted);
		if (rc != SHELF_ENOACCOUNT || kv_shard_of(store->kv, id, &now) != 0 || now == shard)
			break;
		shard = now; /* it has moved meanwhile */
		rc = 0;
	}
	if (rc == 0 && k.findings > 0)
		rc = SHELF_ECORRUPT; /* rows that cannot be counted */
	check_free(&k);
	if (rc != 0)
		return rc;
	return memcmp(kept, counted, sizeof(*kept)) != 0;
}
