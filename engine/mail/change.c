/*
 * change.c - one change of one account, inside a closure
 *
 *   mail_change_begin --> mail_open ... mail_open_page ... mail_open_flush --> mail_change_end
 *
 * What must stay true
 *   - A page is stored only by write_page, which moves the difference of its counts into the summary and
 *     the mailbox row: the counters are sums by construction.
 *   - Bytes, quota and sums move in mail_insert and mail_remove, with the message row; in what follows
 *     them below (sums) when a mailbox goes as a whole or a held row for good.
 *   - What POP3 keeps of a message (pop3.c, uidl.c) leaves with it in mail_remove.
 *   - Domain and partition move in mail_change_end, by what the account's row differs from mail_change_begin.
 *   - Every change that writes a row of the account changes its ACCT row, too: it takes one modseq, the account's
 *     next, or other numbers there move (limits, sums). Who copies an account in slices knows by it that
 *     nothing changed in between.
 */
#include <stdlib.h>

#include <mailshelf/mem.h>
#include <mailshelf/uidset.h>

#include "mail.h"

int
mail_change_begin(struct mail_change *c, struct shelf_store *store, struct kv_txn *txn)
{
	int rc;

	*c = (struct mail_change){.txn = txn, .store = store, .now_s = shelf_now_s()};
	if ((rc = mail_acct_get(kv_txn_view(txn), &c->acct)) == 0)
		mail_totals_of(&c->acct, &c->before);
	c->was = c->acct.quota;
	return rc;
}

uint64_t
mail_change_modseq(struct mail_change *c)
{
	if (c->modseq == 0) {
		c->modseq = ++c->acct.modseq;
		c->dirty = true;
	}
	return c->modseq;
}

int
mail_change_end(struct mail_change *c)
{
	struct shelf_totals now;
	int rc = mail_guard_end(c);

	if (rc != 0)
		return rc;
	if (!c->dirty && kv_txn_writes(c->txn) > 0)
		mail_change_modseq(c);
	if (!c->dirty)
		return 0;
	if ((rc = mail_warn_change(c)) != 0)
		return rc;
	mail_full_change(c);
	mail_totals_of(&c->acct, &now);
	if ((rc = mail_pool_change(c, &c->before, &now)) != 0)
		return rc;
	rc = mail_totals_change(c->txn, c->acct.domain, &c->before, &now);
	return rc != 0 ? rc : mail_acct_put(c->txn, &c->acct);
}

int
mail_change_version(struct kv_txn *txn)
{
	struct mail_acct a;
	int rc;

	if (kv_txn_writes(txn) == 0)
		return 0;
	if ((rc = mail_acct_get(kv_txn_view(txn), &a)) != 0)
		return rc;
	a.modseq++;
	return mail_acct_put(txn, &a);
}

int
mail_open(struct mail_change *c, uint32_t mailbox, struct mail_open *o)
{
	int rc;

	*o = (struct mail_open){0};
	if ((rc = mail_mbox_get(kv_txn_view(c->txn), mailbox, &o->row)) != 0)
		return rc;
	if ((o->row.flags & MAIL_MBOX_DELETED) != 0)
		return SHELF_ENOMAILBOX;
	shelf_buf_add_span(&o->name, o->row.name);
	o->row.name = shelf_buf_span(&o->name);
	return 0;
}

void
mail_close(struct mail_open *o)
{
	shelf_buf_free(&o->name);
	free(o->page);
	o->page = NULL;
	free(o->pop3);
	o->pop3 = NULL;
}

static int
write_summary(struct mail_change *c, struct mail_open *o)
{
	int rc = 0;

	if (o->range_dirty)
		rc = index_range_put(c->txn, o->row.id, &o->range);
	o->range_dirty = false;
	return rc;
}

/* Before any page of the range is stored: a row of an older format is summed up from them. */
static int
load_summary(struct mail_change *c, struct mail_open *o, uint32_t range)
{
	int rc;

	if (o->range_loaded && o->range.sum.range == range)
		return 0;
	if ((rc = write_summary(c, o)) != 0)
		return rc;
	o->range_loaded = true;
	return index_range_get(kv_txn_view(c->txn), o->row.id, range, &o->range);
}

static void
move_counts(struct index_counts *sum, const struct index_counts *before, const struct index_counts *now)
{
	sum->present += now->present - before->present;
	sum->unseen += now->unseen - before->unseen;
	sum->deleted += now->deleted - before->deleted;
}

static int
write_page(struct mail_change *c, struct mail_open *o)
{
	struct index_block *block;
	struct index_counts now;
	int rc;

	if (o->page == NULL || !o->page_dirty)
		return 0;
	now = index_page_counts(o->page);
	if ((rc = load_summary(c, o, o->page->page / INDEX_RANGE_PAGES)) != 0)
		return rc;
	block = &o->range.block[o->page->page % INDEX_RANGE_PAGES / INDEX_BLOCK_PAGES];
	move_counts(&o->range.sum.counts, &o->before, &now);
	move_counts(&block->counts, &o->before, &now);
	o->range.sum.max_modseq = block->max_modseq = c->modseq;
	o->range_dirty = true;
	o->row.exists += now.present - o->before.present;
	o->row.unseen += now.unseen - o->before.unseen;
	o->row.deleted += now.deleted - o->before.deleted;
	o->before = now;
	o->page_dirty = false;
	return index_page_put(c->txn, o->row.id, o->page);
}

int
mail_open_page(struct mail_change *c, struct mail_open *o, uint32_t uid)
{
	uint32_t page = uid >> INDEX_PAGE_SHIFT;
	int rc;

	if (o->page != NULL && o->page->page == page)
		return 0;
	if ((rc = write_page(c, o)) != 0)
		return rc;
	if (o->page == NULL)
		o->page = shelf_alloc(sizeof(*o->page));
	if ((rc = index_page_get(kv_txn_view(c->txn), o->row.id, page, o->page)) != 0) {
		free(o->page);
		o->page = NULL;
		return rc;
	}
	o->before = index_page_counts(o->page);
	return 0;
}

void
mail_open_touch(struct mail_change *c, struct mail_open *o)
{
	o->page->max_modseq = mail_change_modseq(c);
	o->row.highestmodseq = c->modseq;
	o->page_dirty = true;
	o->dirty = true;
}

int
mail_open_flush(struct mail_change *c, struct mail_open *o)
{
	int rc;

	if ((rc = write_page(c, o)) != 0 || (rc = write_summary(c, o)) != 0 || (rc = mail_pop3_flush(c, o)) != 0)
		return rc;
	if (o->dirty && c->modseq != 0)
		mail_changed_note(c, o->row.id);
	if (o->dirty)
		rc = mail_mbox_put(c->txn, &o->row);
	o->dirty = false;
	return rc;
}

int
mail_quota_room(const struct mail_acct *a, uint64_t bytes, uint64_t count)
{
	const struct shelf_quota *q = &a->quota;

	if (q->limit_bytes != 0 &&
	    (bytes > q->limit_bytes || q->used_bytes > q->limit_bytes - bytes))
		return SHELF_EQUOTA;
	if (q->limit_messages != 0 &&
	    (count > q->limit_messages || q->used_messages > q->limit_messages - count))
		return SHELF_EQUOTA;
	return 0;
}

int
mail_mailbox_room(const struct mail_acct *a)
{
	if (a->mailboxes >= SHELF_MAILBOXES_MAX)
		return SHELF_ELIMIT;
	return a->quota.limit_mailboxes != 0 && a->mailboxes >= a->quota.limit_mailboxes ? SHELF_EQUOTA : 0;
}

/* ---- Sums ---------------------------------------------------------------------------------------------- */

void
mail_sums_add(struct mail_sums *account, struct mail_sums *mailbox, const struct mail_msg *msg)
{
	uint64_t stored = msg->noted ? msg->cost.bytes : 0;
	uint64_t shared = msg->cost.found ? stored : 0;

	account->stored += stored;
	account->shared += shared;
	if (mailbox == NULL)
		return;
	mailbox->stored += stored;
	mailbox->shared += shared;
}

void
mail_sums_sub(struct mail_sums *account, struct mail_sums *mailbox, const struct mail_msg *msg)
{
	uint64_t stored = msg->noted ? msg->cost.bytes : 0;
	uint64_t shared = msg->cost.found ? stored : 0;

	account->stored -= stored;
	account->shared -= shared;
	if (mailbox == NULL)
		return;
	mailbox->stored -= stored;
	mailbox->shared -= shared;
}

int
mail_note(struct mail_change *c, struct mail_msg *msg)
{
	int rc;

	if (msg->noted)
		return 0;
	if ((rc = blob_note(c->txn, msg->blob, &msg->cost)) != 0)
		return rc;
	msg->noted = true;
	return 0;
}

static void
move_sums(struct mail_sums *from, struct mail_sums *to, const struct mail_sums *by)
{
	from->stored -= by->stored;
	from->shared -= by->shared;
	to->stored += by->stored;
	to->shared += by->shared;
}

void
mail_hold_mailbox(struct mail_acct *a, const struct mail_mbox *m)
{
	a->quota.used_bytes -= m->bytes;
	a->quota.used_messages -= m->exists;
	a->quota.held_bytes += m->bytes;
	a->quota.held_messages += m->exists;
	move_sums(&a->used, &a->held, &m->sums);
}

void
mail_unhold_mailbox(struct mail_acct *a, const struct mail_mbox *m)
{
	a->quota.used_bytes += m->bytes;
	a->quota.used_messages += m->exists;
	a->quota.held_bytes -= m->bytes;
	a->quota.held_messages -= m->exists;
	move_sums(&a->held, &a->used, &m->sums);
}

void
mail_drop_held(struct mail_acct *a, const struct mail_msg *msg)
{
	a->quota.held_bytes -= msg->size;
	a->quota.held_messages--;
	mail_sums_sub(&a->held, NULL, msg);
	a->noted -= msg->noted;
}

/* ---- In and out ---------------------------------------------------------------------------------------- */

int
mail_insert(struct mail_change *c, struct mail_open *o, struct mail_msg *msg, uint32_t *uid_out)
{
	uint32_t uid = o->row.uidnext;
	int rc;

	/* The last uid stays free, so that UIDNEXT can always be told. */
	if (uid == UINT32_MAX)
		return SHELF_ELIMIT;
	if ((rc = mail_open_page(c, o, uid)) != 0 || (rc = mail_note(c, msg)) != 0)
		return rc;
	mail_open_touch(c, o);
	o->row.uidnext = uid + 1;
	o->row.bytes += msg->size;
	c->acct.quota.used_bytes += msg->size;
	c->acct.quota.used_messages++;
	mail_sums_add(&c->acct.used, &o->row.sums, msg);
	c->acct.noted++;
	index_bit_set(&o->page->exists, uid % INDEX_PAGE_UIDS, true);
	o->page->modseq[uid % INDEX_PAGE_UIDS] = c->modseq;
	*uid_out = uid;
	return mail_msg_put(c->txn, o->row.id, uid, msg);
}

static int
hold(struct mail_change *c, struct mail_open *o, uint32_t uid, const struct mail_msg *msg)
{
	struct mail_gone gone = {.gone_s = c->now_s, .modseq = c->modseq, .msg = *msg};
	unsigned n = uid % INDEX_PAGE_UIDS;
	int rc;

	for (unsigned f = 0; f < 5; f++)
		gone.flags |= index_page_has(o->page, f, n) ? 1u << f : 0;
	for (unsigned f = index_page_next_flag(o->page, INDEX_FLAG_KEYWORD); f < INDEX_FLAGS;
	     f = index_page_next_flag(o->page, f + 1)) {
		unsigned k = f - INDEX_FLAG_KEYWORD;

		if (index_page_has(o->page, f, n))
			gone.keywords[k / 64] |= (uint64_t)1 << (k % 64);
	}
	if ((rc = mail_note(c, &gone.msg)) != 0)
		return rc;
	c->acct.quota.held_bytes += msg->size;
	c->acct.quota.held_messages++;
	mail_sums_add(&c->acct.held, NULL, &gone.msg);
	c->acct.noted++;
	if ((rc = mail_gone_put(c->txn, o->row.id, uid, &gone)) != 0)
		return rc;
	return mail_due_new(c, o->row.id, uid);
}

int
mail_remove(struct mail_change *c, struct mail_open *o, uint32_t uid, unsigned how)
{
	unsigned n = uid % INDEX_PAGE_UIDS;
	struct mail_key key = mail_key2(o->row.id, uid);
	bool held = how != 0 && !c->let_go && shelf_setting_get(c->store, SHELF_SETTING_HOLD) != UINT32_MAX;
	struct mail_pop3_mark mark;
	struct mail_msg msg;
	int rc;

	if ((rc = mail_msg_get(kv_txn_view(c->txn), o->row.id, uid, &msg)) != 0)
		return rc == SHELF_ENOMESSAGE ? SHELF_ECORRUPT : rc;
	if ((rc = mail_pop3_take(c, o, uid, msg.size, &mark)) != 0 ||
	    (!held && (rc = mail_uidl_drop(c->txn, o->row.id, uid)) != 0))
		return rc;
	mail_open_touch(c, o);
	o->row.bytes -= msg.size;
	if (index_page_has(o->page, INDEX_FLAG_DELETED, n))
		o->row.deleted_bytes -= msg.size;
	c->acct.quota.used_bytes -= msg.size;
	c->acct.quota.used_messages--;
	mail_sums_sub(&c->acct.used, &o->row.sums, &msg);
	c->acct.noted -= msg.noted;
	if ((rc = kv_del(c->txn, KV_MSG, mail_key_span(&key))) != 0)
		return rc;
	if (how != 0 && (rc = mail_guard_count(c, 1, msg.size, how)) != 0)
		return rc;
	rc = held ? hold(c, o, uid, &msg) : blob_unref(c->txn, msg.blob);
	index_page_remove(o->page, n);
	return rc;
}

/*
 * VANISH key: mailbox u32, modseq u64, part u16 (big-endian). Value: format 1, then ranges as varints:
 * distance from the end of the range before, length - 1.
 */
int
mail_log_vanished(struct mail_change *c, uint32_t mailbox, const struct shelf_uidset *uids)
{
	struct shelf_buf value = {0};
	uint32_t first, last, end = 0;
	uint16_t part = 0;
	uint8_t key[14];
	int rc = 0;

	base_put_be32(key, mailbox);
	base_put_be64(key + 4, mail_change_modseq(c));
	for (uint32_t from = 1; rc == 0 && shelf_uidset_run(uids, from, &first, &last);
	     from = last + 1) {
		if (value.len == 0)
			base_add_le(&value, 1, 1);
		base_add_varint(&value, first - end);
		base_add_varint(&value, last - first);
		end = last;
		if (value.len > KV_VALUE_MAX - 32) {
			key[12] = (uint8_t)(part >> 8);
			key[13] = (uint8_t)part++;
			rc = kv_put(c->txn, KV_VANISH, shelf_span(key, sizeof(key)),
				    shelf_buf_span(&value));
			shelf_buf_clear(&value);
			end = 0;
		}
		if (last == UINT32_MAX)
			break;
	}
	if (rc == 0 && value.len > 0) {
		key[12] = (uint8_t)(part >> 8);
		key[13] = (uint8_t)part;
		rc =
		    kv_put(c->txn, KV_VANISH, shelf_span(key, sizeof(key)), shelf_buf_span(&value));
	}
	shelf_buf_free(&value);
	return rc;
}

/* ---- Keywords ------------------------------------------------------------------------------------------ */

/* An atom as in RFC 9051 9 flag-keyword, bounded. */
bool
mail_keyword_valid(struct shelf_span name)
{
	if (name.len == 0 || name.len > SHELF_KEYWORD_NAME_MAX)
		return false;
	for (size_t i = 0; i < name.len; i++)
		if (name.data[i] <= ' ' || name.data[i] >= 0x7f ||
		    strchr("(){%*\"\\]", name.data[i]) != NULL)
			return false;
	return true;
}

int
mail_keyword_lookup(struct kv_view *view, uint32_t mailbox, uint32_t count, struct shelf_span name,
		    uint32_t *number_out)
{
	struct mail_key prefix = mail_key1(mailbox);
	struct shelf_span key, value;
	struct kv_scan scan;
	uint32_t n = 0;
	int rc = kv_scan_open(view, KV_KEYWORD, mail_key_span(&prefix), shelf_span(NULL, 0), &scan);

	if (rc != 0)
		return rc;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1) {
		if (n < count && shelf_span_ieq(value, name)) {
			*number_out = n;
			break;
		}
		n++;
	}
	kv_scan_close(&scan);
	return rc == 1 ? 0 : rc == 0 ? SHELF_EMISSING : rc;
}

int
mail_keyword_number(struct mail_change *c, struct mail_open *o, struct shelf_span name,
		    uint32_t *number_out)
{
	struct mail_key key;
	int rc =
	    mail_keyword_lookup(kv_txn_view(c->txn), o->row.id, o->row.keywords, name, number_out);

	if (rc != SHELF_EMISSING)
		return rc;
	if (!mail_keyword_valid(name))
		return SHELF_ESYNTAX;
	if (o->row.keywords == SHELF_KEYWORDS_MAX)
		return SHELF_ELIMIT;
	*number_out = o->row.keywords++;
	o->dirty = true;
	key = mail_key2(o->row.id, *number_out);
	return kv_put(c->txn, KV_KEYWORD, mail_key_span(&key), name);
}

int
mail_keyword_carry(struct mail_change *c, uint32_t from, uint32_t number, struct mail_open *to,
		   uint32_t *map, uint32_t *number_out)
{
	struct mail_key key = mail_key2(from, number);
	uint8_t name[SHELF_KEYWORD_NAME_MAX];
	struct shelf_span value;
	int rc;

	if (map[number] == UINT32_MAX) {
		if ((rc = kv_get(kv_txn_view(c->txn), KV_KEYWORD, mail_key_span(&key), &value)) !=
		    0)
			return rc;
		if (value.len > sizeof(name))
			return SHELF_ECORRUPT;
		memcpy(name, value.data, value.len);
		rc = mail_keyword_number(c, to, shelf_span(name, value.len), &map[number]);
		if (rc != 0)
			return rc;
	}
	*number_out = map[number];
	return 0;
}
