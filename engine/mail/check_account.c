/* check_account.c - the catalog, and the rows of each account of a shard's snapshot */
#include <stdlib.h>

#include <mailshelf/mem.h>

#include "mail_check.h"

/* ---- Catalog --------------------------------------------------------------------------------------------- */

int
check_catalog(struct check *k)
{
	struct kv_view *view = NULL;
	struct shelf_span key, value, id;
	struct kv_scan scan;
	struct mail_user u;
	uint64_t users = 0, names = 0;
	int rc;

	if ((rc = kv_view_begin(k->store->kv, KV_CATALOG, &view)) != 0)
		return rc;
	if ((rc = kv_scan_open(view, KV_USER, shelf_span(NULL, 0), shelf_span(NULL, 0), &scan)) !=
	    0)
		goto out;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1) {
		k->account = key.len == 4 ? base_get_be32(key.data) : 0;
		users++;
		if ((rc = mail_user_get(view, k->account, &u)) != 0)
			check_found(k, 10, "account row cannot be read: %s", shelf_err_text(rc));
		else if (kv_get(view, KV_ADDR, u.name, &id) != 0 || id.len != 4 ||
			 base_get_be32(id.data) != k->account)
			check_found(k, 10, "the account's name does not lead to it");
	}
	kv_scan_close(&scan);
	k->account = 0;
	if (rc != 0 || (rc = kv_scan_open(view, KV_ADDR, shelf_span(NULL, 0), shelf_span(NULL, 0),
					  &scan)) != 0)
		goto out;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1)
		names++;
	kv_scan_close(&scan);
	if (rc == 0 && names != users)
		check_found(k, 10, "%llu account names, %llu accounts", (unsigned long long)names,
			    (unsigned long long)users);
out:
	kv_view_end(&view);
	return rc;
}

/* Every account ever placed; read after the shard's snapshot was taken, so none of its accounts is missed. */
static int
list_accounts(struct check *k)
{
	struct kv_view *view = NULL;
	struct shelf_span key, value, user;
	struct kv_scan scan;
	int rc;

	k->n = 0;
	if ((rc = kv_view_begin(k->store->kv, KV_CATALOG, &view)) != 0)
		return rc;
	rc = kv_scan_open(view, KV_PLACE, shelf_span(NULL, 0), shelf_span(NULL, 0), &scan);
	if (rc == 0) {
		while ((rc = kv_scan_next(&scan, &key, &value)) == 1) {
			struct check_account a = {.id = key.len == 4 ? base_get_be32(key.data) : 0};

			if (a.id == 0 || kv_shard_of(k->store->kv, a.id, &a.shard) != 0)
				continue;
			a.has_user = kv_get(view, KV_USER, key, &user) == 0;
			if (k->n == k->cap) {
				k->cap = k->cap == 0 ? 64 : k->cap * 2;
				k->list = shelf_realloc(k->list, k->cap * sizeof(*k->list));
			}
			k->list[k->n++] = a;
		}
		kv_scan_close(&scan);
	}
	kv_view_end(&view);
	return rc;
}

/* ---- One mailbox ------------------------------------------------------------------------------------------ */

struct sums {
	uint32_t exists, unseen, deleted, last_uid;
	uint64_t bytes, deleted_bytes, max_modseq;
	struct index_summary range; /* being summed */
};

static void
check_range(struct check *k, uint32_t mailbox, const struct sums *s)
{
	struct index_summary kept;

	if (index_summary_get(k->view, mailbox, s->range.range, &kept) != 0 ||
	    memcmp(&kept.counts, &s->range.counts, sizeof(kept.counts)) != 0 ||
	    kept.max_modseq < s->range.max_modseq)
		check_found(k, 1, "mailbox %u: summary of range %u differs from its pages", mailbox,
			    s->range.range);
}

/* One page: its messages have rows (3), its modseqs are in order (5). */
static int
check_page(struct check *k, uint32_t mailbox, uint32_t page, struct sums *s)
{
	struct index_page *p = k->page;
	struct index_counts c;
	int rc = index_page_get(k->view, mailbox, page, p);

	if (rc != 0) {
		check_found(k, 3, "mailbox %u: page %u cannot be read", mailbox, page);
		return rc == SHELF_ECORRUPT ? 0 : rc;
	}
	for (unsigned n = index_bits_next(&p->exists, 0); n < INDEX_PAGE_UIDS;
	     n = index_bits_next(&p->exists, n + 1)) {
		uint32_t uid = page << INDEX_PAGE_SHIFT | n;
		struct mail_msg m;

		s->last_uid = uid;
		if (p->modseq[n] > p->max_modseq || p->modseq[n] == 0)
			check_found(k, 5, "mailbox %u uid %u: modseq out of order", mailbox, uid);
		if (mail_msg_get(k->view, mailbox, uid, &m) != 0) {
			check_found(k, 3, "mailbox %u uid %u: message row missing", mailbox, uid);
			continue;
		}
		s->bytes += m.size;
		if (index_page_has(p, INDEX_FLAG_DELETED, n))
			s->deleted_bytes += m.size;
	}
	c = index_page_counts(p);
	s->exists += c.present;
	s->unseen += c.unseen;
	s->deleted += c.deleted;
	s->max_modseq = p->max_modseq > s->max_modseq ? p->max_modseq : s->max_modseq;
	if (page >> (INDEX_RANGE_SHIFT - INDEX_PAGE_SHIFT) != s->range.range) {
		check_range(k, mailbox, s);
		s->range =
		    (struct index_summary){.range = page >> (INDEX_RANGE_SHIFT - INDEX_PAGE_SHIFT)};
	}
	s->range.counts.present += c.present;
	s->range.counts.unseen += c.unseen;
	s->range.counts.deleted += c.deleted;
	s->range.max_modseq =
	    p->max_modseq > s->range.max_modseq ? p->max_modseq : s->range.max_modseq;
	return 0;
}

struct page_walk {
	struct check *k;
	uint32_t mailbox;
	struct sums *sums;
};

static int
each_page(void *arg, const struct index_head *head)
{
	struct page_walk *w = arg;

	return check_page(w->k, w->mailbox, head->page, w->sums);
}

/* Message rows of the mailbox: as many as bits, each with a blob. */
static int
count_rows(struct check *k, uint32_t mailbox, uint32_t *count)
{
	struct mail_key prefix = mail_key1(mailbox);
	struct shelf_span key, value;
	struct kv_scan scan;
	struct mail_msg m;
	struct blob_row blob;
	int rc = kv_scan_open(k->view, KV_MSG, mail_key_span(&prefix), shelf_span(NULL, 0), &scan);

	if (rc != 0)
		return rc;
	*count = 0;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1) {
		(*count)++;
		if (key.len != 8 || mail_msg_decode(value, &m) != 0) {
			check_found(k, 3, "mailbox %u: a message row cannot be read", mailbox);
			continue;
		}
		check_count_ref(k, m.blob);
		if (blob_get(k->view, m.blob, &blob) != 0)
			check_found(k, 4, "mailbox %u uid %u: blob %llu missing", mailbox,
				    base_get_be32(key.data + 4), (unsigned long long)m.blob);
		else if (blob.size != m.size ||
			 memcmp(blob.hash, m.email_id, sizeof(m.email_id)) != 0)
			check_found(k, 4, "mailbox %u uid %u: size or id differs from its blob's",
				    mailbox, base_get_be32(key.data + 4));
	}
	kv_scan_close(&scan);
	return rc;
}

static void
compare(struct check *k, const struct mail_mbox *m, const struct sums *s, uint32_t rows,
	const struct mail_acct *a)
{
	if (m->exists != s->exists || m->unseen != s->unseen || m->deleted != s->deleted ||
	    m->bytes != s->bytes || m->deleted_bytes != s->deleted_bytes)
		check_found(k, 1,
			    "mailbox %u: counters %u/%u/%u/%llu/%llu, counted %u/%u/%u/%llu/%llu "
			    "(exists, unseen, deleted, bytes, deleted bytes)",
			    m->id, m->exists, m->unseen, m->deleted, (unsigned long long)m->bytes,
			    (unsigned long long)m->deleted_bytes, s->exists, s->unseen, s->deleted,
			    (unsigned long long)s->bytes, (unsigned long long)s->deleted_bytes);
	if (rows != s->exists)
		check_found(k, 3, "mailbox %u: %u message rows, %u messages in its pages", m->id,
			    rows, s->exists);
	if (s->last_uid >= m->uidnext)
		check_found(k, 5, "mailbox %u: uid %u is not below UIDNEXT %u", m->id, s->last_uid,
			    m->uidnext);
	if (s->max_modseq > m->highestmodseq || m->highestmodseq > a->modseq)
		check_found(k, 5, "mailbox %u: highest modseq out of order", m->id);
	if (m->uidvalidity > a->last_uidvalidity || m->id >= a->next_mailbox)
		check_found(k, 5, "mailbox %u: id or UIDVALIDITY was never given", m->id);
}

static int
check_mailbox(struct check *k, const struct mail_mbox *m, const struct mail_acct *a, bool going)
{
	struct sums s = {0};
	struct page_walk w = {k, m->id, &s};
	struct mail_name n = {0};
	uint32_t rows = 0;
	bool deleted = (m->flags & MAIL_MBOX_DELETED) != 0;
	int rc = count_rows(k, m->id, &rows);

	/* Removal takes the rows first and leaves the counters as they were: when it has begun, pages and
	 * rows need not agree any more. */
	if (rc != 0 || going || (deleted && rows < m->exists))
		return rc;
	if (k->page == NULL)
		k->page = shelf_alloc(sizeof(*k->page));
	if ((rc = index_page_each(k->view, m->id, 0, UINT32_MAX, each_page, &w)) != 0)
		return rc;
	if (s.exists > 0)
		check_range(k, m->id, &s);
	compare(k, m, &s, rows, a);
	if (!deleted && (mail_name_get(k->view, m->name, &n) != 0 || n.id != m->id))
		check_found(k, 9, "mailbox %u: its name does not lead to it", m->id);
	return 0;
}

/* ---- One account ------------------------------------------------------------------------------------------ */

static int
check_names(struct check *k, const struct mail_acct *a)
{
	struct shelf_span key, value;
	struct kv_scan scan;
	struct mail_name n;
	struct mail_mbox m;
	uint32_t count = 0, loose = 0;
	int rc = kv_scan_open(k->view, KV_MNAME, shelf_span(NULL, 0), shelf_span(NULL, 0), &scan);

	if (rc != 0)
		return rc;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1) {
		if (mail_name_decode(value, &n) != 0) {
			check_found(k, 9, "a mailbox name cannot be read");
			continue;
		}
		count += n.id != 0;
		loose += n.id == 0;
		if (n.id != 0 &&
		    (mail_mbox_get(k->view, n.id, &m) != 0 || (m.flags & MAIL_MBOX_DELETED) != 0 ||
		     !shelf_span_eq(m.name, n.name)))
			check_found(k, 9,
				    "a mailbox name leads to mailbox %u, which is not of that name",
				    n.id);
	}
	kv_scan_close(&scan);
	if (rc == 0 && (count != a->mailboxes || loose != a->loose))
		check_found(k, 9, "%u mailboxes and %u subscriptions without one kept, %u and %u counted",
		    a->mailboxes, a->loose, count, loose);
	return rc;
}

/* Held rows count their blobs; each has its date of removal (7), until its account is under removal. */
static int
check_held(struct check *k, bool going)
{
	struct shelf_span key, value, due_value;
	struct kv_scan scan;
	struct mail_gone g;
	uint64_t held = 0, due = 0;
	int rc = kv_scan_open(k->view, KV_GONE, shelf_span(NULL, 0), shelf_span(NULL, 0), &scan);

	if (rc != 0)
		return rc;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1) {
		held++;
		if (mail_gone_decode(value, &g) != 0)
			check_found(k, 7, "a held message's row cannot be read");
		else
			check_count_ref(k, g.msg.blob);
	}
	kv_scan_close(&scan);
	if (rc != 0 || going || (rc = kv_scan_open(k->view, KV_DUE, shelf_span(NULL, 0), shelf_span(NULL, 0),
					  &scan)) != 0)
		return rc;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1) {
		if (key.len != 12) {
			check_found(k, 7, "a date of removal cannot be read");
			continue;
		}
		if (base_get_be32(key.data + 8) == 0)
			continue; /* a deleted mailbox */
		due++;
		if (kv_get(k->view, KV_GONE, shelf_span(key.data + 4, 8), &due_value) != 0)
			check_found(k, 7,
				    "mailbox %u uid %u: a date of removal without a held message",
				    base_get_be32(key.data + 4), base_get_be32(key.data + 8));
	}
	kv_scan_close(&scan);
	if (rc == 0 && due < held)
		check_found(k, 7, "%llu held messages, %llu dates of removal",
			    (unsigned long long)held, (unsigned long long)due);
	return rc;
}

static int
check_quota(struct check *k, const struct mail_acct *a)
{
	struct shelf_quota counted = {.limit_bytes = a->quota.limit_bytes,
				      .limit_messages = a->quota.limit_messages};
	int rc = mail_count_quota(k->view, &counted);

	if (rc == 0 && memcmp(&counted, &a->quota, sizeof(counted)) != 0)
		check_found(k, 2,
			    "usage %llu bytes %llu messages, held %llu/%llu; counted %llu/%llu, "
			    "held %llu/%llu",
			    (unsigned long long)a->quota.used_bytes,
			    (unsigned long long)a->quota.used_messages,
			    (unsigned long long)a->quota.held_bytes,
			    (unsigned long long)a->quota.held_messages,
			    (unsigned long long)counted.used_bytes,
			    (unsigned long long)counted.used_messages,
			    (unsigned long long)counted.held_bytes,
			    (unsigned long long)counted.held_messages);
	return rc == SHELF_ECORRUPT ? 0 : rc;
}

static int
check_account(struct check *k, const struct check_account *account)
{
	struct shelf_span key, value;
	struct kv_scan scan;
	struct mail_acct a;
	struct mail_mbox m;
	bool going = !account->has_user; /* under removal, perhaps half done: it keeps no counters */
	int rc;

	k->account = account->id;
	kv_view_account(k->view, account->id);
	if ((rc = mail_acct_get(k->view, &a)) != 0) {
		/* Made after the snapshot, or removed; with a name it must be readable in a later one. */
		if (rc != SHELF_ENOACCOUNT)
			check_found(k, 10, "account row cannot be read: %s", shelf_err_text(rc));
		return rc == SHELF_ENOACCOUNT || rc == SHELF_ECORRUPT || rc == SHELF_EVERSION ? 0
											      : rc;
	}
	rc = kv_scan_open(k->view, KV_MBOX, shelf_span(NULL, 0), shelf_span(NULL, 0), &scan);
	if (rc != 0)
		return rc;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1) {
		if (key.len != 4 || mail_mbox_decode(value, &m) != 0) {
			check_found(k, 9, "a mailbox row cannot be read");
			continue;
		}
		m.id = base_get_be32(key.data);
		if ((rc = check_mailbox(k, &m, &a, going)) != 0)
			break;
	}
	kv_scan_close(&scan);
	if (rc != 0 || (rc = check_held(k, going)) != 0 || going)
		return rc;
	if ((rc = check_names(k, &a)) != 0)
		return rc;
	return check_quota(k, &a);
}

int
check_accounts(struct check *k, uint32_t shard)
{
	int rc = list_accounts(k);

	for (size_t i = 0; i < k->n && rc == 0; i++)
		if (k->list[i].shard == shard)
			rc = check_account(k, &k->list[i]);
	return rc;
}
