/*
 * check_held.c - held messages: their blobs (invariant 4), their dates of removal (7), their sum (2); notes of
 * where messages went (16)
 *
 * GONE and DUE say nothing of changes themselves, so they are read in slices for as long as the account's
 * row stays as it is: what holds a message takes a modseq, what lets one go counts it there. The guard moves
 * dates without that, but only to later ones, which a walk in order of time still meets.
 */
#include <stdlib.h>

#include <mailshelf/mem.h>

#include "mail_check.h"

static void
begin(struct check_walk *w)
{
	struct check_held *h = &w->held;

	w->again += h->begun;
	h->begun = true;
	h->rows_done = h->dates_done = false;
	h->acct = w->acct;
	h->at.len = 0;
	h->messages = h->bytes = h->noted = 0;
	h->sums = (struct mail_sums){0};
}

static void
add_key(struct check_held *h, uint64_t key)
{
	if (h->messages == h->cap) {
		h->cap = h->cap == 0 ? 256 : h->cap * 2;
		h->key = shelf_realloc(h->key, h->cap * sizeof(*h->key));
		h->dated = shelf_realloc(h->dated, h->cap);
	}
	h->key[h->messages] = key;
	h->dated[h->messages++] = 0;
}

static void
take_gone(struct check_walk *w, struct shelf_span key, struct shelf_span value)
{
	uint32_t mailbox = key.len == 8 ? base_get_be32(key.data) : 0;
	uint32_t uid = key.len == 8 ? base_get_be32(key.data + 4) : 0;
	struct mail_gone g;

	add_key(&w->held, (uint64_t)mailbox << 32 | uid);
	if (key.len != 8 || mail_gone_decode(value, &g) != 0) {
		check_found(w->k, 7, "mailbox %u uid %u: row of a held message cannot be read",
			    mailbox, uid);
		return;
	}
	w->held.bytes += g.msg.size;
	w->held.noted += g.msg.noted;
	mail_sums_add(&w->held.sums, NULL, &g.msg);
	check_row_blob(w, mailbox, uid, &g.msg);
}

static int
compare_keys(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void
take_due(struct check_walk *w, struct shelf_span key, struct shelf_span value)
{
	struct check_held *h = &w->held;
	uint64_t wanted, *at;
	struct mail_due due;

	if (mail_due_decode(key, value, &due) != 0) {
		check_found(w->k, 7, "a date of removal cannot be read");
		return;
	}
	wanted = (uint64_t)due.mailbox << 32 | due.uid;
	if (due.uid == 0)
		return; /* a deleted mailbox */
	at = h->messages == 0 ? NULL
			      : bsearch(&wanted, h->key, h->messages, sizeof(*h->key), compare_keys);
	if (at == NULL)
		check_found(w->k, 7,
			    "mailbox %u uid %u: a date of removal without a held message",
			    (uint32_t)(wanted >> 32), (uint32_t)wanted);
	else
		h->dated[at - h->key] = 1;
}

/* The first message row of MAILBOX from FIRST on is not one up to LAST. */
static bool
none_between(struct check_walk *w, uint32_t mailbox, uint32_t first, uint32_t last)
{
	struct mail_key prefix = mail_key1(mailbox), from = mail_key2(mailbox, first);
	struct shelf_span key, value;
	struct kv_scan scan;
	bool none = true;

	if (kv_scan_open(w->view, KV_MSG, mail_key_span(&prefix), mail_key_span(&from), &scan) != 0)
		return true; /* damage that the mailbox's own check tells of */
	if (kv_scan_next(&scan, &key, &value) == 1 && key.len == 8)
		none = base_get_be32(key.data + 4) > last;
	kv_scan_close(&scan);
	return none;
}

/* Each row says something of this one snapshot, so it matters not what was when the one before was read. */
static void
take_moved(struct check_walk *w, struct shelf_span key, struct shelf_span value)
{
	struct mail_moved m;
	struct mail_mbox box;

	if (mail_moved_decode(key, value, &m) != 0) {
		check_found(w->k, 16, "a note of where messages went cannot be read");
		return;
	}
	/* Without a row or with a damaged one: others tell. */
	if (mail_mbox_get(w->view, m.mailbox, &box) == 0 && m.last >= box.uidnext)
		check_found(w->k, 16, "mailbox %u uid %u: went elsewhere, and was never given", m.mailbox, m.last);
	if (mail_mbox_get(w->view, m.to, &box) == 0 && m.to_first + (m.last - m.first) >= box.uidnext)
		check_found(w->k, 16, "mailbox %u uid %u: went to uids of mailbox %u that were never given", m.mailbox,
			    m.first, m.to);
	if (m.modseq > w->acct.modseq || !none_between(w, m.mailbox, m.first, m.last))
		check_found(w->k, 16, "mailbox %u uid %u: went elsewhere, and is there", m.mailbox, m.first);
}

typedef void take_fn(struct check_walk *w, struct shelf_span key, struct shelf_span value);

/* Goes on behind h->at. 1: time is up. */
static int
read_table(struct check_walk *w, enum kv_table table, take_fn *take)
{
	struct check_held *h = &w->held;
	struct shelf_span key, value;
	struct kv_scan scan;
	bool up = false;
	int rc;

	if (h->at.len > 0)
		h->at.bytes[h->at.len++] = 0; /* behind it */
	rc = kv_scan_open(w->view, table, shelf_span(NULL, 0), mail_key_span(&h->at), &scan);
	if (rc != 0)
		return rc;
	while (!up && (rc = kv_scan_next(&scan, &key, &value)) == 1) {
		take(w, key, value);
		w->moved = true;
		if ((up = check_time_is_up(w))) {
			h->at.len = key.len < sizeof(h->at.bytes) ? key.len : sizeof(h->at.bytes) - 1;
			memcpy(h->at.bytes, key.data, h->at.len);
		}
	}
	kv_scan_close(&scan);
	if (up)
		return 1;
	h->at.len = 0;
	if (check_is_damage(rc)) {
		check_found(w->k, table == KV_MOVED ? 16 : 7, "%s cannot be read",
			    table == KV_GONE  ? "rows of held messages"
			    : table == KV_DUE ? "dates of held messages"
					      : "notes of where messages went");
		rc = 0;
	}
	return rc;
}

static int
pass_event(void *arg, const struct mail_guard_event *e)
{
	return 0;
}

/* Few rows, of the slice's snapshot. */
static int
check_guard(struct check_walk *w)
{
	int rc = mail_guard_readable(w->view);

	if (rc == 0)
		rc = mail_guard_each(w->view, pass_event, NULL);
	if (check_is_damage(rc)) {
		check_found(w->k, 7, "what the guard counted cannot be read");
		rc = 0;
	}
	return rc;
}

int
check_held_read(struct check_walk *w)
{
	struct check_held *h = &w->held;
	int rc;

	if (!h->begun || memcmp(&h->acct, &w->acct, sizeof(h->acct)) != 0)
		begin(w);
	if (!h->rows_done) {
		if ((rc = read_table(w, KV_GONE, take_gone)) != 0)
			return rc;
		h->rows_done = true;
	}
	w->counted.quota.held_bytes += h->bytes;
	w->counted.quota.held_messages += h->messages;
	w->counted.held.stored += h->sums.stored;
	w->counted.held.shared += h->sums.shared;
	w->counted.noted += h->noted;
	if (w->going || w->sums_only)
		return 0;
	if (h->dates_done)
		return read_table(w, KV_MOVED, take_moved);
	if ((rc = read_table(w, KV_DUE, take_due)) != 0)
		return rc;
	h->dates_done = true;
	for (size_t i = 0; i < h->messages; i++)
		if (h->dated[i] == 0)
			check_found(w->k, 7, "mailbox %u uid %u: held without a date of removal",
				    (uint32_t)(h->key[i] >> 32), (uint32_t)h->key[i]);
	rc = check_guard(w);
	return rc != 0 ? rc : read_table(w, KV_MOVED, take_moved);
}
