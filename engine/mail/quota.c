/* quota.c - limits, and counting everything again to see that the counters are right */
#include <mailshelf/policy.h>

#include "mail_check.h"

struct limits {
	struct shelf_store *store;
	uint64_t bytes, messages, mailboxes;
	struct shelf_policies rules;
};

static int
set_limits(struct kv_txn *txn, void *arg)
{
	struct limits *l = arg;
	struct mail_change c;
	int rc;

	if ((rc = mail_change_begin(&c, l->store, txn)) != 0)
		return rc;
	mail_rules_limit(&c.acct, MAIL_LIMIT_BYTES, l->bytes);
	mail_rules_limit(&c.acct, MAIL_LIMIT_MESSAGES, l->messages);
	mail_rules_limit(&c.acct, MAIL_LIMIT_MAILBOXES, l->mailboxes);
	mail_rules_take(&c.acct, &l->rules);
	c.dirty = true;
	return mail_change_end(&c);
}

int
shelf_quota_set(struct shelf_store *store, uint32_t id, uint64_t limit_bytes,
		uint64_t limit_messages, uint64_t limit_mailboxes)
{
	struct limits l = {.store = store, .bytes = limit_bytes, .messages = limit_messages,
			   .mailboxes = limit_mailboxes};
	struct shelf_account a;
	int rc = shelf_account_get(store, id, &a);

	if (rc == 0)
		rc = shelf_policy_get(store, shelf_span_str(a.name), &l.rules);
	return rc != 0 ? rc : kv_update(store->kv, id, 0, set_limits, &l);
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
