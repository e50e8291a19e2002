/*
 * aged.c - rows whose key begins with the time they are of, and which go when that is long ago
 *
 * The oldest come first in their table, so looking whether there is one reads a row, and dropping them reads the front.
 */
#include <mailshelf/mem.h>

#include "mail.h"

static const struct aged {
	enum kv_table table;
	uint32_t unit_s, kept; /* the key's number is seconds since 1970 / UNIT_S; rows of so many units stay */
} aged[] = {
    {KV_MOVED, MAIL_MOVED_UNIT_S, MAIL_MOVED_KEPT},
    {KV_ONCE, MAIL_ONCE_UNIT_S, MAIL_ONCE_KEPT},
};

/* The key of the first row whose time is over: 1 found. */
static int
first_old(struct kv_view *view, const struct aged *a, int64_t now_s, struct mail_key *key)
{
	uint32_t now = (uint32_t)(now_s / a->unit_s);
	struct shelf_span k, v;
	struct kv_scan scan;
	int rc = kv_scan_open(view, a->table, shelf_span(NULL, 0), shelf_span(NULL, 0), &scan);

	if (rc != 0)
		return rc;
	if ((rc = kv_scan_next(&scan, &k, &v)) == 1) {
		if (k.len < 4 || k.len > sizeof(key->bytes))
			rc = SHELF_ECORRUPT;
		else if (base_get_be32(k.data) + a->kept > now)
			rc = 0;
	}
	if (rc == 1) {
		memcpy(key->bytes, k.data, k.len);
		key->len = k.len;
	}
	kv_scan_close(&scan);
	return rc;
}

int
mail_aged_is(struct kv_view *view)
{
	struct mail_key key;
	int rc = 0;

	for (size_t i = 0; i < sizeof(aged) / sizeof(*aged) && rc == 0; i++)
		rc = first_old(view, &aged[i], shelf_now_s(), &key);
	return rc;
}

int
mail_aged_drop(struct mail_change *c, unsigned most, bool *more)
{
	struct mail_key key;
	int rc = 0;

	for (size_t i = 0; i < sizeof(aged) / sizeof(*aged) && rc == 0; i++) {
		while ((rc = first_old(kv_txn_view(c->txn), &aged[i], c->now_s, &key)) == 1) {
			if (most-- == 0) {
				*more = true;
				return 0;
			}
			if ((rc = kv_del(c->txn, aged[i].table, mail_key_span(&key))) != 0)
				return rc;
		}
	}
	return rc;
}
