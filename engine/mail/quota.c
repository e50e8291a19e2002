/* quota.c - limits, and counting everything again to see that the counters are right */
#include <mailshelf/mem.h>

#include "mail.h"

struct limits {
	struct shelf_store *store;
	uint64_t bytes, messages;
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
	c.dirty = true;
	return mail_change_end(&c);
}

int
shelf_quota_set(struct shelf_store *store, uint32_t id, uint64_t limit_bytes,
		uint64_t limit_messages)
{
	struct limits l = {store, limit_bytes, limit_messages};

	return kv_update(store->kv, id, 0, set_limits, &l);
}

/* Rows of live mailboxes are used, rows of deleted ones and GONE rows are held. */
static int
count_mailbox(struct kv_view *view, uint32_t mailbox, bool deleted, struct shelf_quota *q)
{
	struct mail_key prefix = mail_key1(mailbox);
	struct shelf_span key, value;
	struct kv_scan scan;
	struct mail_msg m;
	int rc = kv_scan_open(view, KV_MSG, mail_key_span(&prefix), shelf_span(NULL, 0), &scan);

	if (rc != 0)
		return rc;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1) {
		if ((rc = mail_msg_decode(value, &m)) != 0)
			break;
		*(deleted ? &q->held_bytes : &q->used_bytes) += m.size;
		(*(deleted ? &q->held_messages : &q->used_messages))++;
	}
	kv_scan_close(&scan);
	return rc;
}

static int
count_gone(struct kv_view *view, struct shelf_quota *q)
{
	struct shelf_span key, value;
	struct kv_scan scan;
	struct mail_gone g;
	int rc = kv_scan_open(view, KV_GONE, shelf_span(NULL, 0), shelf_span(NULL, 0), &scan);

	if (rc != 0)
		return rc;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1) {
		if ((rc = mail_gone_decode(value, &g)) != 0)
			break;
		q->held_bytes += g.msg.size;
		q->held_messages++;
	}
	kv_scan_close(&scan);
	return rc;
}

int
mail_count_quota(struct kv_view *view, struct shelf_quota *q)
{
	struct shelf_span key, value;
	struct kv_scan scan;
	struct mail_mbox m;
	int rc = kv_scan_open(view, KV_MBOX, shelf_span(NULL, 0), shelf_span(NULL, 0), &scan);

	if (rc != 0)
		return rc;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1) {
		if (key.len != 4 || (rc = mail_mbox_decode(value, &m)) != 0) {
			rc = rc < 0 ? rc : SHELF_ECORRUPT;
			break;
		}
		rc = count_mailbox(view, base_get_be32(key.data),
				   (m.flags & MAIL_MBOX_DELETED) != 0, q);
		if (rc != 0)
			break;
	}
	kv_scan_close(&scan);
	return rc != 0 ? rc : count_gone(view, q);
}

int
shelf_quota_check(struct shelf_store *store, uint32_t id, struct shelf_quota *kept,
		  struct shelf_quota *counted)
{
	struct shelf_rd *rd = NULL;
	int rc = shelf_rd_begin(store, id, &rd);

	if (rc != 0)
		return rc;
	*kept = rd->acct.quota;
	*counted = (struct shelf_quota){.limit_bytes = kept->limit_bytes,
					.limit_messages = kept->limit_messages};
	rc = mail_count_quota(rd->view, counted);
	shelf_rd_end(&rd);
	if (rc != 0)
		return rc;
	return memcmp(kept, counted, sizeof(*kept)) != 0;
}
