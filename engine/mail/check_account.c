/*
 * check_account.c - the rows of one account, in slices (mail_check.h says how that proves anything)
 *
 * A slice walks mailboxes, held messages and names in this order and compares the sums at its end; ranges
 * and held messages that are as an earlier slice read them are taken from there.
 */
#include <stdlib.h>

#include <mailshelf/mem.h>

#include "carry.h"
#include "mail_check.h"

int64_t check_slice_ms = 500;

enum {
	AGAIN_MAX = 16, /* parts read again before the writers have to wait */
	AGAIN_DOOR = 64, /* and before this is given up */
	RANGE_LAST = UINT32_MAX >> INDEX_RANGE_SHIFT,
};

bool
check_time_is_up(const struct check_walk *w)
{
	return w->moved && shelf_mono_ms() >= w->until_ms;
}

/* ---- One mailbox ------------------------------------------------------------------------------------------ */

/* The first key of a mailbox in TABLE whose second number is at least FROM: 1 found. */
static int
first_number(struct check_walk *w, enum kv_table table, uint32_t mailbox, uint32_t from,
	     uint32_t *number)
{
	struct mail_key prefix = mail_key1(mailbox), key = mail_key2(mailbox, from);
	struct shelf_span k, v;
	struct kv_scan scan;
	int rc = kv_scan_open(w->view, table, mail_key_span(&prefix), mail_key_span(&key), &scan);

	if (rc != 0)
		return rc;
	if ((rc = kv_scan_next(&scan, &k, &v)) == 1) {
		if (k.len < 8)
			rc = SHELF_ECORRUPT;
		else
			*number = base_get_be32(k.data + 4);
	}
	kv_scan_close(&scan);
	return rc;
}

/* The next range that has anything, from R->range on, and its first message row: 1 found. */
static int
next_range(struct check_walk *w, struct check_range *r)
{
	static const struct {
		enum kv_table table;
		unsigned shift;
	} tables[] = {
	    {KV_MSG, INDEX_RANGE_SHIFT},
	    {KV_FPAGE, INDEX_RANGE_SHIFT - INDEX_PAGE_SHIFT},
	    {KV_FSUM, 0},
	};
	size_t n = w->going || w->sums_only ? 1 : 3;
	uint32_t from = r->range, number = 0;
	bool found = false;

	r->first_uid = 0;
	for (size_t i = 0; i < n; i++) {
		unsigned shift = tables[i].shift;
		int rc = first_number(w, tables[i].table, r->mailbox, from << shift, &number);

		if (rc < 0)
			return rc;
		if (rc == 0 || number >> shift > RANGE_LAST)
			continue;
		if (tables[i].table == KV_MSG)
			r->first_uid = number;
		if (!found || number >> shift < r->range)
			r->range = number >> shift;
		found = true;
	}
	if (r->first_uid >> INDEX_RANGE_SHIFT != r->range)
		r->first_uid = 0;
	return found;
}

static int
compare_ranges(const void *a, const void *b)
{
	const struct check_range *x = a, *y = b;

	if (x->mailbox != y->mailbox)
		return x->mailbox < y->mailbox ? -1 : 1;
	return x->range < y->range ? -1 : x->range > y->range;
}

/* Where R is or belongs in the list. */
static size_t
place_of(const struct check_walk *w, const struct check_range *r)
{
	size_t low = 0, high = w->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (compare_ranges(&w->range[mid], r) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* R as it is in this snapshot, read now or by an earlier slice. 1: time is up. */
static int
get_range(struct check_walk *w, const struct mail_mbox *m, struct check_range *r)
{
	size_t at = place_of(w, r);
	bool had = at < w->n && compare_ranges(&w->range[at], r) == 0;
	int rc = index_summary_get(w->view, m->id, r->range, &r->kept);

	if (check_is_damage(rc))
		check_found(w->k, 1, "mailbox %u: summary of range %u cannot be read", m->id,
			    r->range);
	else if (rc != 0)
		return rc;
	if (had && w->range[at].first_uid == r->first_uid &&
	    memcmp(&w->range[at].kept, &r->kept, sizeof(r->kept)) == 0 &&
	    (w->range[at].sums.noted == w->range[at].sums.rows ||
	     memcmp(&w->range[at].acct, &w->acct, sizeof(w->acct)) == 0)) {
		r->sums = w->range[at].sums;
		return 0;
	}
	if (check_time_is_up(w))
		return 1;
	if ((rc = check_range_read(w, m, r)) != 0)
		return rc;
	r->acct = w->acct;
	w->moved = true;
	w->again += had;
	if (!had) {
		if (w->n == w->cap) {
			w->cap = w->cap == 0 ? 16 : w->cap * 2;
			w->range = shelf_realloc(w->range, w->cap * sizeof(*w->range));
		}
		memmove(w->range + at + 1, w->range + at, (w->n - at) * sizeof(*w->range));
		w->n++;
	}
	w->range[at] = *r;
	return 0;
}

static void
add_sums(struct check_sums *to, const struct check_sums *s)
{
	to->exists += s->exists;
	to->unseen += s->unseen;
	to->deleted += s->deleted;
	to->rows += s->rows;
	to->missing += s->missing;
	to->stray += s->stray;
	to->row_bytes += s->row_bytes;
	to->noted += s->noted;
	to->noted_sums.stored += s->noted_sums.stored;
	to->noted_sums.shared += s->noted_sums.shared;
	to->bytes += s->bytes;
	to->deleted_bytes += s->deleted_bytes;
	to->last_uid = s->last_uid > to->last_uid ? s->last_uid : to->last_uid;
	to->max_modseq = s->max_modseq > to->max_modseq ? s->max_modseq : to->max_modseq;
}

static void
add_wrong(struct check_walk *w, const struct mail_mbox *m, const struct check_sums *s)
{
	if (w->wrongs == w->wrong_cap) {
		w->wrong_cap = w->wrong_cap == 0 ? 4 : w->wrong_cap * 2;
		w->wrong = shelf_realloc(w->wrong, w->wrong_cap * sizeof(*w->wrong));
	}
	w->wrong[w->wrongs++] = (struct check_wrong){*m, *s};
}

/* The mailbox's own row against the sums of its ranges (1, 3, 5, 12). */
static void
compare(struct check_walk *w, const struct mail_mbox *m, const struct check_sums *s)
{
	struct check *k = w->k;
	bool wrong = m->exists != s->exists || m->unseen != s->unseen || m->deleted != s->deleted ||
		     m->bytes != s->bytes || m->deleted_bytes != s->deleted_bytes;

	if (wrong)
		check_counter(k, 1,
			    "mailbox %u: counters %u/%u/%u/%llu/%llu, counted %u/%u/%u/%llu/%llu "
			    "(exists, unseen, deleted, bytes, deleted bytes)",
			    m->id, m->exists, m->unseen, m->deleted, (unsigned long long)m->bytes,
			    (unsigned long long)m->deleted_bytes, s->exists, s->unseen, s->deleted,
			    (unsigned long long)s->bytes, (unsigned long long)s->deleted_bytes);
	if (!check_mailbox_sums(k, m, &s->noted_sums) || wrong)
		add_wrong(w, m, s);
	if (s->missing != 0 || s->stray != 0)
		check_found(k, 3, "mailbox %u: %u messages without a row, %u rows without a message",
			    m->id, s->missing, s->stray);
	if (s->last_uid >= m->uidnext)
		check_found(k, 5, "mailbox %u: uid %u is not below UIDNEXT %u", m->id, s->last_uid,
			    m->uidnext);
	if (s->max_modseq > m->highestmodseq || m->highestmodseq > w->acct.modseq)
		check_found(k, 5, "mailbox %u: highest modseq out of order", m->id);
	if (!mail_changed_knows(&w->acct, m->id, m->highestmodseq))
		check_found(k, 17, "mailbox %u: missing among those that changed last", m->id);
	if (m->uidvalidity > w->acct.last_uidvalidity || m->id >= w->acct.next_mailbox)
		check_found(k, 5, "mailbox %u: id or UIDVALIDITY was never given", m->id);
}

/* 1: time is up. */
static int
check_mailbox(struct check_walk *w, const struct mail_mbox *m)
{
	struct check_range r = {.mailbox = m->id};
	struct check_sums sums = {0};
	struct mail_name n = {0};
	bool deleted = (m->flags & MAIL_MBOX_DELETED) != 0;
	struct shelf_quota *quota = &w->counted.quota;
	struct mail_sums *counted = deleted ? &w->counted.held : &w->counted.used;
	int rc;

	while ((rc = next_range(w, &r)) == 1) {
		if ((rc = get_range(w, m, &r)) != 0)
			return rc;
		add_sums(&sums, &r.sums);
		if (r.range++ == RANGE_LAST)
			break;
	}
	if (rc < 0)
		return rc;
	*(deleted ? &quota->held_bytes : &quota->used_bytes) += sums.row_bytes;
	*(deleted ? &quota->held_messages : &quota->used_messages) += sums.rows;
	counted->stored += sums.noted_sums.stored;
	counted->shared += sums.noted_sums.shared;
	w->counted.noted += sums.noted;
	/* Removal takes the rows first and leaves the counters as they were: when it has begun, pages and
	 * rows need not agree any more. */
	if (w->going || w->sums_only || (deleted && sums.rows < m->exists))
		return 0;
	compare(w, m, &sums);
	if (!deleted && (mail_name_get(w->view, m->name, &n) != 0 || n.id != m->id))
		check_found(w->k, 9, "mailbox %u: its name does not lead to it", m->id);
	return 0;
}

/* The first mailbox from FROM on that has a row in TABLE: 1 found. */
static int
next_owner(struct check_walk *w, enum kv_table table, uint32_t from, uint32_t *mailbox)
{
	struct mail_key at = mail_key1(from);
	struct shelf_span key, value;
	struct kv_scan scan;
	int rc = kv_scan_open(w->view, table, shelf_span(NULL, 0), mail_key_span(&at), &scan);

	if (rc != 0)
		return rc;
	if ((rc = kv_scan_next(&scan, &key, &value)) == 1)
		*mailbox = key.len >= 4 ? base_get_be32(key.data) : from;
	kv_scan_close(&scan);
	return rc;
}

/* Rows of a mailbox that has no row itself (3): removal takes that one last. */
static int
check_owners(struct check_walk *w, enum kv_table table)
{
	struct mail_mbox m;
	uint32_t mailbox = 0;
	int rc;

	while ((rc = next_owner(w, table, mailbox, &mailbox)) == 1) {
		rc = mail_mbox_get(w->view, mailbox, &m);
		if (rc == SHELF_ENOMAILBOX)
			check_found(w->k, 3, "mailbox %u has messages, but no row", mailbox);
		else if (rc != 0 && !check_is_damage(rc))
			return rc;
		if (mailbox++ == UINT32_MAX)
			return 0;
	}
	return rc;
}

/* 1: time is up. */
static int
check_mailboxes(struct check_walk *w)
{
	struct shelf_span key, value;
	struct kv_scan scan;
	struct mail_mbox m;
	int rc = kv_scan_open(w->view, KV_MBOX, shelf_span(NULL, 0), shelf_span(NULL, 0), &scan);

	if (rc != 0)
		return rc;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1) {
		if (key.len != 4 || mail_mbox_decode(value, &m) != 0) {
			check_found(w->k, 9, "a mailbox row cannot be read");
			continue;
		}
		m.id = base_get_be32(key.data);
		if ((rc = check_mailbox(w, &m)) != 0)
			break;
	}
	kv_scan_close(&scan);
	if (rc != 0 || w->going || w->sums_only)
		return rc;
	if ((rc = check_owners(w, KV_MSG)) == 0)
		rc = check_owners(w, KV_FPAGE);
	return rc;
}

/* ---- The account ------------------------------------------------------------------------------------------ */

static int
check_names(struct check_walk *w)
{
	struct shelf_span key, value;
	struct kv_scan scan;
	struct mail_name n;
	struct mail_mbox m;
	uint32_t count = 0, loose = 0;
	int rc = kv_scan_open(w->view, KV_MNAME, shelf_span(NULL, 0), shelf_span(NULL, 0), &scan);

	if (rc != 0)
		return rc;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1) {
		if (mail_name_decode(value, &n) != 0) {
			check_found(w->k, 9, "a mailbox name cannot be read");
			continue;
		}
		count += n.id != 0;
		loose += n.id == 0;
		if (n.id != 0 &&
		    (mail_mbox_get(w->view, n.id, &m) != 0 || (m.flags & MAIL_MBOX_DELETED) != 0 ||
		     !shelf_span_eq(m.name, n.name)))
			check_found(w->k, 9,
				    "a mailbox name leads to mailbox %u, which is not of that name",
				    n.id);
	}
	kv_scan_close(&scan);
	w->counted.mailboxes = count;
	w->counted.loose = loose;
	if (rc == 0 && (count != w->acct.mailboxes || loose != w->acct.loose))
		check_counter(w->k, 9,
			    "%u mailboxes and %u subscriptions without one kept, %u and %u counted",
			    w->acct.mailboxes, w->acct.loose, count, loose);
	return rc;
}

static void
check_quota(struct check_walk *w)
{
	const struct shelf_quota *q = &w->acct.quota, *c = &w->counted.quota;

	if (memcmp(c, q, sizeof(*c)) != 0)
		check_counter(w->k, 2,
			    "usage %llu bytes %llu messages, held %llu/%llu; counted %llu/%llu, "
			    "held %llu/%llu",
			    (unsigned long long)q->used_bytes, (unsigned long long)q->used_messages,
			    (unsigned long long)q->held_bytes, (unsigned long long)q->held_messages,
			    (unsigned long long)c->used_bytes, (unsigned long long)c->used_messages,
			    (unsigned long long)c->held_bytes, (unsigned long long)c->held_messages);
}

/* An account without a name is under removal. Asked when the snapshot is there: who has a name now had one
 * then, and nothing of him had been removed. */
static int
is_going(struct check *k, bool *going)
{
	struct mail_key key = mail_key1(k->account);
	struct kv_view *view = NULL;
	struct shelf_span value;
	int rc = kv_view_begin(k->store->kv, KV_CATALOG, &view);

	if (rc != 0)
		return rc;
	rc = kv_get(view, KV_USER, mail_key_span(&key), &value);
	kv_view_end(&view);
	*going = rc == SHELF_EMISSING;
	return rc == SHELF_EMISSING ? 0 : rc;
}

/* 1: time is up, another slice is needed. */
static int
slice(struct check_walk *w)
{
	bool coming;
	int rc;

	kv_view_account(w->view, w->k->account);
	w->counted = (struct mail_acct){0};
	w->wrongs = 0;
	if ((rc = mail_acct_get(w->view, &w->acct)) != 0 || (rc = is_going(w->k, &w->going)) != 0 ||
	    (rc = mail_carry_is_in(w->view, w->k->account, &coming, NULL)) != 0)
		return rc;
	if (coming && !w->sums_only)
		return SHELF_ENOACCOUNT; /* it is not complete before that job is gone */
	w->counted.quota.limit_bytes = w->acct.quota.limit_bytes;
	w->counted.quota.limit_messages = w->acct.quota.limit_messages;
	w->counted.quota.limit_mailboxes = w->acct.quota.limit_mailboxes;
	if ((rc = check_mailboxes(w)) != 0 || (rc = check_held_read(w)) != 0)
		return rc;
	if (w->going || w->sums_only)
		return 0;
	check_quota(w);
	check_account_sums(w->k, &w->acct, &w->counted);
	return check_names(w);
}

int
check_prove(struct check_walk *w, uint32_t shard)
{
	struct check *k = w->k;
	int rc = 1;

	while (rc == 1) {
		unsigned patience = check_impatient ? 0 : AGAIN_MAX + 4 * (unsigned)w->n;

		if (w->again >= patience + AGAIN_DOOR + 8 * w->n)
			return SHELF_EBUSY; /* it changes faster than it can be read, with the door closed */
		if (w->again >= patience && !k->door.used && (rc = check_door_close(k, shard)) != 0)
			break;
		w->moved = false;
		w->until_ms = shelf_mono_ms() + check_slice_ms;
		if ((rc = kv_view_begin_shard(k->store->kv, shard, &w->view)) != 0)
			break;
		rc = slice(w);
		kv_view_end(&w->view);
	}
	return rc;
}

int
check_account(struct check *k, uint32_t shard, bool sums_only, struct shelf_quota *kept,
	      struct shelf_quota *counted)
{
	struct check_walk w = {.k = k, .sums_only = sums_only};
	uint64_t findings = k->findings, counters = k->counters;
	int rc = check_prove(&w, shard);

	if (rc == 0 && k->repaired != NULL)
		rc = check_repair_account(&w, shard, findings, counters);
	check_door_open(k);
	if (kept != NULL)
		*kept = w.acct.quota;
	if (counted != NULL)
		*counted = w.counted.quota;
	free(w.range);
	free(w.wrong);
	free(w.held.key);
	free(w.held.dated);
	return rc;
}
