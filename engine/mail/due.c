/*
 * due.c - when what was removed goes for good: keys and values of DUE
 *
 * key      time u32, mailbox u32, uid u32 (big-endian); uid 0: a deleted mailbox
 * value    1 | flags 1 (1: kept longer by the guard) | when it was removed 4; of rows of before: empty
 *
 * What must stay true: a date is moved by the guard only, and only to a later time. Who has read one looks
 * again in his closure whether it is still there.
 */
#include "mail.h"

enum { FORMAT = 1, GUARDED = 1 };

int
mail_due_decode(struct shelf_span key, struct shelf_span value, struct mail_due *d)
{
	struct base_reader r = base_reader(value);

	if (key.len != 12)
		return SHELF_ECORRUPT;
	*d = (struct mail_due){.at = base_get_be32(key.data),
			       .mailbox = base_get_be32(key.data + 4),
			       .uid = base_get_be32(key.data + 8)};
	if (value.len == 0)
		return 0;
	if (base_get_le(&r, 1) != FORMAT)
		return SHELF_EVERSION;
	d->guarded = (base_get_le(&r, 1) & GUARDED) != 0;
	d->gone_s = (uint32_t)base_get_le(&r, 4);
	return r.bad || base_left(&r) != 0 ? SHELF_ECORRUPT : 0;
}

int
mail_due_put(struct kv_txn *txn, const struct mail_due *d)
{
	struct mail_key key = mail_key3(d->at, d->mailbox, d->uid);
	uint8_t value[6] = {FORMAT, d->guarded ? GUARDED : 0};

	for (unsigned i = 0; i < 4; i++)
		value[2 + i] = (uint8_t)(d->gone_s >> (8 * i));
	return kv_put(txn, KV_DUE, mail_key_span(&key), shelf_span(value, sizeof(value)));
}

int
mail_due_del(struct kv_txn *txn, const struct mail_due *d)
{
	struct mail_key key = mail_key3(d->at, d->mailbox, d->uid);

	return kv_del(txn, KV_DUE, mail_key_span(&key));
}

bool
mail_due_is(struct kv_view *view, const struct mail_due *d, int *rc)
{
	struct mail_key key = mail_key3(d->at, d->mailbox, d->uid);
	struct shelf_span value;

	*rc = kv_get(view, KV_DUE, mail_key_span(&key), &value);
	if (*rc == 0)
		return true;
	*rc = *rc == SHELF_EMISSING ? 0 : *rc;
	return false;
}

int
mail_due_each(struct kv_view *view, struct mail_key *from, unsigned max, bool *more, mail_due_fn *fn,
	      void *arg)
{
	struct shelf_span key, value;
	struct kv_scan scan;
	struct mail_due due;
	unsigned rows = 0;
	int rc = kv_scan_open(view, KV_DUE, shelf_span(NULL, 0), mail_key_span(from), &scan);

	*more = false;
	if (rc != 0)
		return rc;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1) {
		if ((rc = mail_due_decode(key, value, &due)) != 0)
			break;
		memcpy(from->bytes, key.data, key.len);
		from->bytes[key.len] = 0;
		from->len = key.len + 1;
		if ((rc = fn(arg, view, &due)) != 0)
			break;
		if ((*more = ++rows == max))
			break;
	}
	kv_scan_close(&scan);
	return rc;
}

int
mail_due_new(struct mail_change *c, uint32_t mailbox, uint32_t uid)
{
	uint64_t hold = shelf_setting_get(c->store, SHELF_SETTING_HOLD), guard;
	struct mail_due due = {
	    .mailbox = mailbox,
	    .uid = uid,
	    .gone_s = (uint32_t)c->now_s,
	    .guarded = c->guard.over,
	};

	if (hold == UINT32_MAX) {
		hold = 0;
		due.guarded = false;
	}
	guard = due.guarded ? shelf_setting_get(c->store, SHELF_SETTING_GUARD_HOLD) : 0;
	hold = (uint64_t)c->now_s + (guard > hold ? guard : hold);
	due.at = hold < UINT32_MAX ? (uint32_t)hold : UINT32_MAX;
	return mail_due_put(c->txn, &due);
}
