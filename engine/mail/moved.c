/*
 * moved.c - where messages went that are not in their mailbox any more, for sessions that still show them
 *
 * key      slot u32 (when, in hours since 1970), mailbox u32, last uid of a run u32 (big-endian)
 * value    1 | first uid 4 | mailbox they went to 4 | uid of the first there 4 | modseq of that change 8
 *
 * MOVE and undelete give a message another uid. A session that has not been told may not get an error for the
 * old one (RFC 9051 7.5.1), so it is read where it is now. A row is a note and no more: it has no reference
 * to a body, counts nowhere, and goes when the hour after its own is over: no session goes longer without a
 * command that tells it.
 *
 * What must stay true
 *   - A uid leaves its mailbox once, so runs do not overlap, and the first key at or behind a uid is its run's.
 *   - Rows of one hour lie together and the oldest come first: looking for one costs a step for each hour that
 *     is there, and dropping the old ones is reading the front of the table.
 */
#include <mailshelf/mem.h>

#include "mail.h"

enum { FORMAT = 1, VALUE_BYTES = 21, HOPS_MAX = 16 };

static uint32_t
slot_of(int64_t s)
{
	return (uint32_t)(s / MAIL_MOVED_UNIT_S);
}

int
mail_moved_put(struct mail_change *c, struct mail_moved *m)
{
	struct mail_key key = mail_key3(slot_of(c->now_s), m->mailbox, m->last);
	struct shelf_buf value = {0};
	int rc;

	if (m->first == 0)
		return 0;
	base_add_le(&value, FORMAT, 1);
	base_add_le(&value, m->first, 4);
	base_add_le(&value, m->to, 4);
	base_add_le(&value, m->to_first, 4);
	base_add_le(&value, mail_change_modseq(c), 8);
	rc = kv_put(c->txn, KV_MOVED, mail_key_span(&key), shelf_buf_span(&value));
	shelf_buf_free(&value);
	m->first = 0;
	return rc;
}

int
mail_moved_add(struct mail_change *c, struct mail_moved *m, uint32_t uid, uint32_t to_uid)
{
	int rc;

	if (m->first != 0 && uid == m->last + 1 && to_uid == m->to_first + (uid - m->first)) {
		m->last = uid;
		return 0;
	}
	if ((rc = mail_moved_put(c, m)) != 0)
		return rc;
	m->first = m->last = uid;
	m->to_first = to_uid;
	return 0;
}

int
mail_moved_decode(struct shelf_span key, struct shelf_span value, struct mail_moved *m)
{
	struct base_reader r = base_reader(value);

	if (key.len != 12)
		return SHELF_ECORRUPT;
	*m = (struct mail_moved){.mailbox = base_get_be32(key.data + 4), .last = base_get_be32(key.data + 8)};
	if (base_get_le(&r, 1) != FORMAT)
		return r.bad ? SHELF_ECORRUPT : SHELF_EVERSION;
	m->first = (uint32_t)base_get_le(&r, 4);
	m->to = (uint32_t)base_get_le(&r, 4);
	m->to_first = (uint32_t)base_get_le(&r, 4);
	m->modseq = base_get_le(&r, 8);
	if (r.bad || base_left(&r) != 0 || m->first == 0 || m->first > m->last || m->to_first == 0 ||
	    m->last - m->first > UINT32_MAX - m->to_first)
		return SHELF_ECORRUPT;
	return 0;
}

/* The first row from FROM on; its key into KEY: 1 found. */
static int
first_row(struct kv_view *view, const struct mail_key *from, struct mail_key *key, struct mail_moved *out)
{
	struct shelf_span k, v;
	struct kv_scan scan;
	int rc = kv_scan_open(view, KV_MOVED, shelf_span(NULL, 0), mail_key_span(from), &scan);

	if (rc != 0)
		return rc;
	if ((rc = kv_scan_next(&scan, &k, &v)) == 1) {
		int bad = mail_moved_decode(k, v, out);

		rc = bad != 0 ? bad : 1;
		if (bad == 0)
			*key = mail_key3(base_get_be32(k.data), out->mailbox, out->last);
	}
	kv_scan_close(&scan);
	return rc;
}

/* Where UID of MAILBOX went in one step: 1 found, as a run of one. */
static int
step(struct kv_view *view, uint32_t mailbox, uint32_t uid, struct mail_moved *out)
{
	struct mail_key from = {.len = 0}, key;
	uint32_t slot;
	int rc;

	while ((rc = first_row(view, &from, &key, out)) == 1) {
		slot = base_get_be32(key.bytes);
		from = mail_key3(slot, mailbox, uid);
		if ((rc = first_row(view, &from, &key, out)) != 1)
			return rc;
		if (base_get_be32(key.bytes) != slot) {
			/* None of that hour lies behind the one looked for: on with the next that is there. */
			from = mail_key1(base_get_be32(key.bytes));
			continue;
		}
		if (out->mailbox == mailbox && out->first <= uid) {
			out->to_first += uid - out->first;
			out->first = out->last = uid;
			return 1;
		}
		if (slot == UINT32_MAX)
			return 0;
		from = mail_key1(slot + 1);
	}
	return rc;
}

int
mail_moved_find(struct kv_view *view, uint32_t mailbox, uint32_t uid, struct mail_gone *out, struct mail_moved *at)
{
	uint64_t modseq = 0;
	int rc;

	for (unsigned hops = 0; hops < HOPS_MAX; hops++) {
		if ((rc = step(view, mailbox, uid, at)) != 1)
			return rc;
		/* Of the first step: when it left the mailbox it is asked for in. */
		modseq = modseq == 0 ? at->modseq : modseq;
		mailbox = at->to;
		uid = at->to_first;
		*out = (struct mail_gone){.modseq = modseq};
		if ((rc = mail_msg_get(view, mailbox, uid, &out->msg)) == 0)
			return 1;
		if (rc == SHELF_ENOMESSAGE && (rc = mail_gone_get(view, mailbox, uid, out)) == 0) {
			out->modseq = modseq;
			return 1;
		}
		if (rc != SHELF_ENOMESSAGE)
			return rc;
	}
	return 0;
}
