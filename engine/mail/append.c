/*
 * append.c - messages enter mailboxes: APPEND, REPLACE, delivery, import
 *
 * All end in the same closure; they differ in how the mailbox is named, whether an item that has a mark
 * is passed over, and whether another message leaves in the same change. Bodies are compressed and large
 * ones written ahead before it (blob_draft_prepare), so the closure only puts bytes.
 */
#include <pthread.h>
#include <stdlib.h>

#include <mailshelf/guard.h>
#include <mailshelf/import.h>
#include <mailshelf/mem.h>

#include "draft.h"
#include "mail.h"

struct appending {
	struct shelf_store *store;
	uint32_t account;
	uint32_t mailbox; /* id, or 0: NAME, made when it is not there */
	struct shelf_span name;
	bool existing; /* NAME when it is there, else INBOX */
	const struct shelf_append *items;
	const uint8_t (*item_ids)[16]; /* NULL: not an import */
	size_t n;
	uint8_t *stored; /* import only */
	uint32_t from, leaving; /* the message that goes, its mailbox and uid; 0: none does */
	uint64_t leaving_bytes;
	uint64_t over; /* struct shelf_delivery */
	uint64_t ahead, ahead_bytes; /* of a probe */
	unsigned warning; /* it is the one of this level (warning.h); 0: it is none */
	struct mail_need need;
	bool fired; /* the guard, by it */
	struct mail_guard_event event;
	struct shelf_append_result result;
	struct deliver_batch *batch;
};

static int
set_flags(struct mail_change *c, struct mail_open *o, const struct shelf_append *item, uint32_t uid,
	  uint64_t size)
{
	unsigned n = uid % INDEX_PAGE_UIDS;

	for (unsigned f = 0; f < 5; f++)
		if ((item->flags >> f & 1) != 0)
			index_page_set(o->page, f, n, true);
	if ((item->flags & SHELF_DELETED) != 0)
		o->row.deleted_bytes += size;
	for (size_t k = 0; k < item->nkeywords; k++) {
		uint32_t number;
		int rc = mail_keyword_number(c, o, item->keywords[k], &number);

		if (rc != 0)
			return rc;
		index_page_set(o->page, INDEX_FLAG_KEYWORD + number, n, true);
	}
	return 0;
}

/* The message that leaves makes room. */
static int
quota_room(const struct mail_acct *acct, const struct appending *a, uint64_t bytes, uint64_t count)
{
	struct mail_acct after = *acct;
	struct shelf_quota *q = &after.quota;

	if (a->over == UINT64_MAX)
		return 0;
	if (acct->largest != 0 && count == 1 && bytes > acct->largest)
		return SHELF_ETOOBIG;
	if (q->limit_bytes != 0 && q->used_bytes < q->limit_bytes)
		q->limit_bytes += a->over < UINT64_MAX - q->limit_bytes ? a->over : UINT64_MAX - q->limit_bytes;

	if (a->leaving != 0) {
		q->used_bytes -= a->leaving_bytes;
		q->used_messages--;
	}
	return mail_quota_room(&after, bytes, count);
}

static int
append_one(struct mail_change *c, struct mail_open *o, const struct appending *a,
	   const struct shelf_append *item, uint32_t *uid)
{
	struct blob_draft *blob = mail_draft_blob(item->draft);
	struct mail_msg msg = {
	    .internaldate_s = item->internaldate_s == INT64_MIN ? c->now_s : item->internaldate_s,
	    .zone_min = item->internaldate_s == INT64_MIN ? 0 : item->zone_min,
	    .savedate_s = c->now_s,
	    .size = blob_draft_size(blob),
	};
	int rc;

	if ((rc = quota_room(&c->acct, a, msg.size, 1)) != 0)
		return rc;
	memcpy(msg.email_id, blob_draft_hash(blob), sizeof(msg.email_id));
	if ((rc = blob_link(c->txn, blob, &msg.blob, &msg.cost)) != 0)
		return rc;
	msg.noted = msg.dated = true;
	msg.sent_s = mail_draft_sent(item->draft);
	if (item->uid > o->row.uidnext && item->uid <= SHELF_UID_KEPT_MAX)
		o->row.uidnext = item->uid;
	if ((rc = mail_insert(c, o, &msg, uid)) != 0)
		return rc;
	return set_flags(c, o, item, *uid, msg.size);
}

/* ---- Marks of imports: where a message was put ------------------------------------------------------------- */

struct mark {
	uint32_t mailbox, uid; /* uid 0: not noted (older release) */
};

/* SHELF_EMISSING: it was not stored yet. */
static int
mark_get(struct mail_change *c, const uint8_t *id, struct mark *out)
{
	struct shelf_span value;
	int rc = kv_get(kv_txn_view(c->txn), KV_IMPORT, shelf_span(id, 16), &value);

	*out = (struct mark){0};
	if (rc == 0 && value.len >= 4)
		out->mailbox = base_get_be32(value.data);
	if (rc == 0 && value.len == 8)
		out->uid = base_get_be32(value.data + 4);
	return rc;
}

static int
mark_put(struct mail_change *c, const uint8_t *id, uint32_t mailbox, uint32_t uid)
{
	uint8_t bytes[8];

	base_put_be32(bytes, mailbox);
	base_put_be32(bytes + 4, uid);
	return kv_put(c->txn, KV_IMPORT, shelf_span(id, 16), shelf_span(bytes, sizeof(bytes)));
}

/* The message is stored all the same when another one has its unique-id. */
static int
take_uidl(struct mail_change *c, struct mail_open *o, struct appending *a, size_t i, uint32_t uid)
{
	int rc = mail_uidl_set(c, o->row.id, uid, a->items[i].uidl);

	if (rc != SHELF_EEXISTS)
		return rc;
	a->stored[i] |= SHELF_IMPORT_UIDL_TAKEN;
	return 0;
}

/* An earlier import put it there without one: it gets it now, if it still is where it was put and has none. */
static int
give_uidl(struct mail_change *c, struct appending *a, size_t i, const struct mark *m)
{
	const struct mail_uidl ask = {.mailbox = m->mailbox, .uid = m->uid};
	struct kv_view *view = kv_txn_view(c->txn);
	struct mail_uidl has;
	struct mail_mbox box;
	struct mail_msg msg;
	int rc;

	if (a->items[i].uidl.len == 0 || m->uid == 0)
		return 0;
	if ((rc = mail_mbox_get(view, m->mailbox, &box)) != 0 || (box.flags & MAIL_MBOX_DELETED) != 0)
		return rc == SHELF_ENOMAILBOX ? 0 : rc;
	if ((rc = mail_msg_get(view, m->mailbox, m->uid, &msg)) != 0)
		return rc == SHELF_ENOMESSAGE ? 0 : rc;
	if ((rc = mail_uidl_get(view, &ask, &has)) != SHELF_EMISSING)
		return rc;
	if ((rc = mail_uidl_set(c, m->mailbox, m->uid, a->items[i].uidl)) == 0)
		a->stored[i] = SHELF_IMPORT_UIDL_GIVEN;
	else if (rc == SHELF_EEXISTS)
		a->stored[i] = SHELF_IMPORT_UIDL_TAKEN;
	return rc == SHELF_EEXISTS ? 0 : rc;
}

/* One that was not stored yet, or what is left to do for one that was. */
static int
append_marked(struct mail_change *c, struct mail_open *o, struct appending *a, size_t i, uint32_t *uid)
{
	struct mark m;
	int rc = mark_get(c, a->item_ids[i], &m);

	a->stored[i] = 0;
	*uid = 0;
	if (rc == 0 && a->items[i].also_id != NULL)
		rc = mark_put(c, a->items[i].also_id, m.mailbox, m.uid);
	if (rc == 0)
		return give_uidl(c, a, i, &m);
	if (rc != SHELF_EMISSING || (rc = append_one(c, o, a, &a->items[i], uid)) != 0 ||
	    (rc = mark_put(c, a->item_ids[i], o->row.id, *uid)) != 0)
		return rc;
	if (a->items[i].also_id != NULL && (rc = mark_put(c, a->items[i].also_id, o->row.id, *uid)) != 0)
		return rc;
	a->stored[i] = SHELF_IMPORT_STORED | (*uid == a->items[i].uid ? SHELF_IMPORT_UID_KEPT : 0);
	return a->items[i].uidl.len > 0 ? take_uidl(c, o, a, i, *uid) : 0;
}

static int
append_all(struct mail_change *c, struct mail_open *o, struct appending *a)
{
	struct shelf_append_result *r = &a->result;
	uint32_t uid;
	int rc = 0;

	*r = (struct shelf_append_result){.mailbox = o->row.id, .uidvalidity = o->row.uidvalidity};
	for (size_t i = 0; i < a->n && rc == 0; i++) {
		rc = a->item_ids != NULL ? append_marked(c, o, a, i, &uid) : append_one(c, o, a, &a->items[i], &uid);
		if (rc == 0 && r->first_uid == 0)
			r->first_uid = uid;
	}
	r->modseq = c->modseq;
	return rc;
}

/* What the message that is to leave takes, if it is there. */
static int
find_leaving(struct kv_view *view, struct appending *a)
{
	struct mail_msg msg;
	int rc = a->leaving == 0 ? 0 : mail_msg_get(view, a->from, a->leaving, &msg);

	if (a->leaving != 0 && rc == 0)
		a->leaving_bytes = msg.size;
	return rc;
}

static int
take_out(struct mail_change *c, struct mail_open *from, uint32_t uid)
{
	struct shelf_uidset *gone = shelf_uidset_new();
	int rc = mail_open_page(c, from, uid);

	shelf_uidset_add(gone, uid);
	if (rc == 0 && (rc = mail_remove(c, from, uid, SHELF_GUARD_EXPUNGE)) == 0)
		rc = mail_log_vanished(c, from->row.id, gone);
	shelf_uidset_free(&gone);
	return rc;
}

/* Behind what came in, so that a body in both never counts zero references. O is the mailbox it came to. */
static int
leave(struct mail_change *c, struct mail_open *o, struct appending *a)
{
	struct mail_open other = {0};
	int rc = 0;

	if (a->leaving == 0)
		return 0;
	if (a->from == o->row.id)
		rc = take_out(c, o, a->leaving);
	else if ((rc = mail_open(c, a->from, &other)) == 0 &&
		 (rc = take_out(c, &other, a->leaving)) == 0)
		rc = mail_open_flush(c, &other);
	a->fired = c->guard.fired;
	a->event = c->guard.event;
	mail_close(&other);
	return rc;
}

static int
may(struct kv_txn *txn, uint32_t mailbox, const struct appending *a)
{
	int rc = a->n == 0 ? 0 : mail_may(txn, mailbox, a->items[0].asker);

	return rc != 0 || a->leaving == 0 ? rc : mail_may(txn, a->from, a->items[0].from_asker);
}

static int
append(struct kv_txn *txn, void *arg)
{
	struct appending *a = arg;
	struct mail_change c;
	struct mail_open o = {0};
	struct mail_name n = {0};
	uint32_t id = a->mailbox;
	int rc;

	if ((rc = mail_change_begin(&c, a->store, txn)) != 0 ||
	    (rc = find_leaving(kv_txn_view(txn), a)) != 0)
		return rc;
	c.need = &a->need;
	c.exempt = a->over == UINT64_MAX;
	if (a->warning != 0 && !mail_warn_tell(&c, SHELF_WARNING_MESSAGE, a->warning))
		return SHELF_EEXISTS;
	if (id == 0) {
		rc = mail_name_get(kv_txn_view(txn), a->name, &n);
		id = n.id;
		if (a->existing && (rc == SHELF_ENOMAILBOX || (rc == 0 && id == 0))) {
			rc = mail_name_get(kv_txn_view(txn), shelf_span_str("INBOX"), &n);
			id = n.id;
		}
		if (rc == SHELF_ENOMAILBOX || (rc == 0 && id == 0))
			rc = mail_create_mailbox(&c, a->name, 0, &id);
		if (rc != 0)
			return rc;
	}
	if ((rc = mail_open(&c, id, &o)) == 0 && (rc = may(txn, id, a)) == 0 && (rc = append_all(&c, &o, a)) == 0 &&
	    (rc = leave(&c, &o, a)) == 0 && (rc = mail_open_flush(&c, &o)) == 0)
		rc = mail_change_end(&c);
	mail_close(&o);
	return rc;
}

static int
prepare_all(struct shelf_store *store, uint32_t account, const struct shelf_append *items, size_t n)
{
	uint32_t shard;
	int rc = kv_shard_of(store->kv, account, &shard);

	for (size_t i = 0; i < n && rc == 0; i++)
		rc = blob_draft_prepare(mail_draft_blob(items[i].draft), shard);
	return rc;
}

/* The closure, from the start: again when a dictionary went between compressing and linking. */
enum { TRIES = 3 };

static void
forget_prepared(struct appending *a)
{
	uint32_t shard;

	if (kv_shard_of(a->store->kv, a->account, &shard) != 0)
		return;
	for (size_t i = 0; i < a->n; i++)
		blob_draft_unprepare(mail_draft_blob(a->items[i].draft), shard);
}

static int
append_now(struct appending *a)
{
	int rc = 0;

	for (unsigned i = 0; i < TRIES; i++) {
		if ((rc = prepare_all(a->store, a->account, a->items, a->n)) != 0)
			return rc;
		rc = mail_update_growing(a->store, a->account, KV_ADDS, append, a, &a->need);
		if (rc != SHELF_EBUSY)
			return rc;
		forget_prepared(a);
	}
	return rc;
}

/* A refusal that can be known beforehand costs no staging. */
static int
probe(struct appending *a, uint64_t bytes, uint64_t count)
{
	struct kv_view *view = NULL;
	struct mail_acct acct;
	int rc;

	if ((rc = mail_disk_admit(a->store, a->account, SHELF_DISK_REFUSE)) != 0 ||
	    (rc = kv_view_begin(a->store->kv, a->account, &view)) != 0)
		return rc;
	if ((rc = mail_acct_get(view, &acct)) == 0 && (rc = find_leaving(view, a)) == 0) {
		acct.quota.used_bytes += a->ahead_bytes;
		acct.quota.used_messages += a->ahead;
		rc = quota_room(&acct, a, bytes, count);
	}
	kv_view_end(&view);
	if (rc == 0 && a->over != UINT64_MAX && acct.counted)
		rc = mail_pool_probe(a->store, acct.domain, mail_less(bytes + a->ahead_bytes, a->leaving_bytes),
				     a->leaving != 0 ? 0 : count + a->ahead);
	return rc;
}

int
shelf_deliver_probe(struct shelf_store *store, uint32_t account, uint64_t len)
{
	struct appending a = {.store = store, .account = account};

	return probe(&a, len, 1);
}

int
shelf_deliver_room(struct shelf_store *store, uint32_t account, uint64_t len, uint64_t over,
		   uint64_t ahead_bytes, uint64_t ahead)
{
	struct appending a = {.store = store, .account = account, .over = over,
			      .ahead = ahead, .ahead_bytes = ahead_bytes};

	return probe(&a, len, 1);
}

int
shelf_replace_probe(struct shelf_store *store, uint32_t account, uint32_t from, uint32_t uid,
		    uint64_t len)
{
	struct appending a = {.store = store, .account = account, .from = from, .leaving = uid};

	return probe(&a, len, 1);
}

int
shelf_append(struct shelf_store *store, uint32_t account, uint32_t mailbox,
	     const struct shelf_append *items, size_t n, struct shelf_append_result *result)
{
	struct appending a = {
	    .store = store, .account = account, .mailbox = mailbox, .items = items, .n = n};
	uint64_t bytes = 0;
	int rc;

	for (size_t i = 0; i < n; i++)
		bytes += shelf_draft_size(items[i].draft);
	if ((rc = probe(&a, bytes, n)) != 0)
		return rc;
	rc = append_now(&a);
	*result = a.result;
	result->rc = rc;
	return rc;
}

int
shelf_msg_replace(struct shelf_store *store, uint32_t account, uint32_t from, uint32_t uid,
		  uint32_t mailbox, const struct shelf_append *item,
		  struct shelf_append_result *result)
{
	struct appending a = {.store = store, .account = account, .mailbox = mailbox, .items = item,
			      .n = 1, .from = from, .leaving = uid};
	int rc = probe(&a, shelf_draft_size(item->draft), 1);

	if (rc == 0 && (rc = append_now(&a)) == 0 && a.fired)
		mail_guard_tell(store, account, &a.event);
	*result = a.result;
	result->rc = rc;
	return rc;
}

int
shelf_import_append(struct shelf_store *store, uint32_t account, uint32_t mailbox,
		    const struct shelf_append *items, const uint8_t (*item_ids)[16], size_t n,
		    uint8_t *stored, struct shelf_append_result *result)
{
	struct appending a = {.store = store,
			      .account = account,
			      .mailbox = mailbox,
			      .items = items,
			      .item_ids = item_ids,
			      .n = n,
			      .stored = stored};
	int rc;

	if ((rc = mail_disk_admit(store, account, SHELF_DISK_REFUSE)) != 0)
		return rc;
	rc = append_now(&a);
	*result = a.result;
	result->rc = rc;
	return rc;
}

int
shelf_warning_deliver(struct shelf_store *store, uint32_t account, unsigned level, struct shelf_draft *draft)
{
	struct shelf_append item = {.draft = draft, .internaldate_s = INT64_MIN};
	struct appending a = {.store = store, .account = account, .name = shelf_span_str("INBOX"), .items = &item,
			      .n = 1, .over = UINT64_MAX, .warning = level};
	int rc = mail_disk_admit(store, account, SHELF_DISK_REFUSE);

	return rc != 0 ? rc : append_now(&a);
}

/* ---- Delivery to many --------------------------------------------------------------------------------- */

struct deliver_batch {
	pthread_mutex_t lock;
	pthread_cond_t done;
	size_t waiting;
};

static void
delivered(void *arg, int rc)
{
	struct appending *a = arg;

	pthread_mutex_lock(&a->batch->lock);
	a->result.rc = rc;
	if (--a->batch->waiting == 0)
		pthread_cond_signal(&a->batch->done);
	pthread_mutex_unlock(&a->batch->lock);
}

/* 1: it came before, and this is the same once more. */
static int
has_it(struct shelf_store *store, uint32_t account, const struct shelf_draft *draft)
{
	const uint8_t *id = shelf_draft_identity(draft);
	struct kv_view *view = NULL;
	int rc = id == NULL ? 0 : kv_view_begin(store->kv, account, &view);

	if (id == NULL || rc != 0)
		return rc;
	rc = mail_once_has(view, id, shelf_now_s());
	kv_view_end(&view);
	return rc;
}

/* The drafts of a message: itself, and one for each head in front of it, however many deliveries have the same. */
struct drafts {
	struct shelf_draft *plain;
	struct headed {
		struct shelf_span head;
		struct shelf_draft *draft;
	} *headed;
	size_t nheaded;
};

static int
draft_with(struct drafts *drafts, struct shelf_span head, struct shelf_draft **out)
{
	struct headed *h = drafts->headed;
	int rc;

	*out = drafts->plain;
	if (head.len == 0)
		return 0;
	while (h < drafts->headed + drafts->nheaded && (h->head.data != head.data || h->head.len != head.len))
		h++;
	if (h == drafts->headed + drafts->nheaded) {
		if ((rc = mail_draft_headed(drafts->plain, head, &h->draft)) != 0)
			return rc;
		h->head = head;
		drafts->nheaded++;
	}
	*out = h->draft;
	return 0;
}

static void
free_headed(struct drafts *drafts)
{
	for (size_t i = 0; i < drafts->nheaded; i++)
		shelf_draft_free(&drafts->headed[i].draft);
	free(drafts->headed);
}

/* What speaks against this recipient before anything is written; 1: nothing, but there is nothing to do. ITEM gets its
 * draft. */
static int
admit(struct shelf_store *store, struct drafts *drafts, const struct shelf_delivery *d, struct shelf_append *item,
      struct shelf_buf *name)
{
	struct shelf_account account;
	uint64_t size = shelf_draft_size(drafts->plain) + d->head.len;
	int rc;

	if ((rc = shelf_account_get(store, d->account, &account)) != 0)
		return rc;
	if (account.disabled || (account.services & SHELF_SERVICE_DELIVERY) == 0)
		return SHELF_EDISABLED;
	if ((rc = has_it(store, d->account, drafts->plain)) != 0 || (rc = d->refused) != 0)
		return rc;
	rc = shelf_mailbox_canonical(d->mailbox.len == 0 ? shelf_span_str("INBOX") : d->mailbox,
				     name);
	if (rc == SHELF_ENAME && d->existing)
		rc = shelf_mailbox_canonical(shelf_span_str("INBOX"), name);
	if (rc == 0)
		rc = shelf_deliver_room(store, d->account, size, d->over, 0, 0);
	if (rc == 0)
		rc = draft_with(drafts, d->head, &item->draft);
	return rc != 0 ? rc : prepare_all(store, d->account, item, 1);
}

void
shelf_deliver(struct shelf_store *store, struct shelf_draft *draft,
	      const struct shelf_delivery *list, size_t n, struct shelf_append_result *results)
{
	struct deliver_batch b = {.waiting = n};
	struct drafts drafts = {.plain = draft, .headed = shelf_zalloc(n * sizeof(*drafts.headed))};
	struct appending *a = shelf_zalloc(n * sizeof(*a));
	struct shelf_append *item = shelf_zalloc(n * sizeof(*item));
	struct shelf_buf *name = shelf_zalloc(n * sizeof(*name));
	struct kv_submission *submit = shelf_zalloc(n * sizeof(*submit));
	size_t nsubmit = 0;

	pthread_mutex_init(&b.lock, NULL);
	pthread_cond_init(&b.done, NULL);
	for (size_t i = 0; i < n; i++) {
		int rc;

		item[i] = (struct shelf_append){.flags = list[i].flags, .internaldate_s = INT64_MIN};
		a[i] = (struct appending){.store = store,
					  .account = list[i].account,
					  .existing = list[i].existing,
					  .over = list[i].over,
					  .items = &item[i],
					  .n = 1,
					  .batch = &b};
		SHELF_ASSERT(list[i].head.len <= SHELF_HEAD_MAX);
		if ((rc = admit(store, &drafts, &list[i], &item[i], &name[i])) != 0) {
			delivered(&a[i], rc == 1 ? 0 : rc);
			continue;
		}
		a[i].name = shelf_buf_span(&name[i]);
		submit[nsubmit++] = (struct kv_submission){list[i].account, &a[i]};
	}
	kv_submit_all(store->kv, KV_ADDS, append, delivered, submit, nsubmit);
	pthread_mutex_lock(&b.lock);
	while (b.waiting > 0)
		pthread_cond_wait(&b.done, &b.lock);
	pthread_mutex_unlock(&b.lock);
	for (size_t i = 0; i < n; i++) {
		/* None is under way any more, so the draft may be prepared again. */
		if (a[i].result.rc == SHELF_EBUSY && a[i].name.len > 0) {
			forget_prepared(&a[i]);
			a[i].result.rc = append_now(&a[i]);
		}
		results[i] = a[i].result;
		shelf_buf_free(&name[i]);
	}
	free_headed(&drafts);
	pthread_cond_destroy(&b.done);
	pthread_mutex_destroy(&b.lock);
	free(submit);
	free(name);
	free(item);
	free(a);
}
