/* snapshot.c - struct shelf_rd: one account at one moment; messages and mailboxes read through it */
#include <stdlib.h>

#include <mailshelf/import.h>
#include <mailshelf/mem.h>

#include "mail.h"

enum { ROWS_AHEAD = 32 /* uids a scan steps over rather than begin anew */ };

int
shelf_rd_begin(struct shelf_store *store, uint32_t account, struct shelf_rd **out)
{
	struct shelf_rd *rd = SHELF_NEW(struct shelf_rd);
	int rc;

	*out = NULL;
	rd->store = store;
	rd->account = account;
	if (account == KV_CATALOG)
		rc = SHELF_ENOACCOUNT;
	else if ((rc = kv_view_begin(store->kv, account, &rd->view)) == 0)
		rc = mail_acct_get(rd->view, &rd->acct);
	if (rc != 0) {
		shelf_rd_end(&rd);
		return rc;
	}
	*out = rd;
	return 0;
}

void
shelf_rd_end(struct shelf_rd **rd)
{
	struct shelf_rd *r = *rd;

	if (r == NULL)
		return;
	*rd = NULL;
	if (r->rows_open)
		kv_scan_close(&r->rows);
	if (r->view != NULL)
		kv_view_end(&r->view);
	free(r->page);
	free(r);
}

uint64_t
shelf_rd_modseq(struct shelf_rd *rd)
{
	return rd->acct.modseq;
}

int
shelf_quota_get(struct shelf_rd *rd, struct shelf_quota *out)
{
	*out = rd->acct.quota;
	out->used_mailboxes = rd->acct.mailboxes;
	return 0;
}

/* ---- Mailboxes ---------------------------------------------------------------------------------------- */

void
mail_mailbox_out(const struct mail_mbox *row, bool subscribed, struct shelf_mailbox *out)
{
	*out = (struct shelf_mailbox){
	    .id = row->id,
	    .uidvalidity = row->uidvalidity,
	    .uidnext = row->uidnext,
	    .highestmodseq = row->highestmodseq,
	    .exists = row->exists,
	    .unseen = row->unseen,
	    .deleted = row->deleted,
	    .bytes = row->bytes,
	    .deleted_bytes = row->deleted_bytes,
	    .recent_from = row->recent_from,
	    .special_use = row->special_use,
	    .subscribed = subscribed,
	    .exists_now = true,
	    .name = row->name,
	};
}

/* A name's row, and its mailbox when there is one. */
static int
mailbox_of_name(struct shelf_rd *rd, const struct mail_name *n, struct shelf_mailbox *out)
{
	struct mail_mbox row;
	int rc;

	if (n->id == 0) {
		*out = (struct shelf_mailbox){.subscribed = n->subscribed, .name = n->name};
		return 0;
	}
	if ((rc = mail_mbox_get(rd->view, n->id, &row)) != 0)
		return rc == SHELF_ENOMAILBOX ? SHELF_ECORRUPT : rc;
	mail_mailbox_out(&row, n->subscribed, out);
	return 0;
}

int
shelf_mailbox_find(struct shelf_rd *rd, struct shelf_span name, struct shelf_mailbox *out)
{
	struct shelf_buf canonical = {0};
	struct mail_name n;
	int rc = shelf_mailbox_canonical(name, &canonical);

	if (rc == 0)
		rc = mail_name_get(rd->view, shelf_buf_span(&canonical), &n);
	shelf_buf_free(&canonical);
	if (rc == 0 && n.id == 0)
		rc = SHELF_ENOMAILBOX;
	return rc != 0 ? rc : mailbox_of_name(rd, &n, out);
}

int
shelf_mailbox_get(struct shelf_rd *rd, uint32_t id, struct shelf_mailbox *out)
{
	struct mail_mbox row;
	struct mail_name n;
	int rc = mail_mbox_get(rd->view, id, &row);

	if (rc != 0)
		return rc;
	if ((row.flags & MAIL_MBOX_DELETED) != 0)
		return SHELF_ENOMAILBOX;
	if ((rc = mail_name_get(rd->view, row.name, &n)) != 0)
		return rc == SHELF_ENOMAILBOX ? SHELF_ECORRUPT : rc;
	mail_mailbox_out(&row, n.subscribed, out);
	return 0;
}

int
shelf_mailbox_each(struct shelf_rd *rd, shelf_mailbox_fn *fn, void *arg)
{
	static const struct shelf_span inbox = {(const uint8_t *)"INBOX", 5};
	struct shelf_span key, value;
	struct shelf_mailbox m;
	struct mail_name n;
	struct kv_scan scan;
	int rc = mail_name_get(rd->view, inbox, &n);

	if (rc == 0) {
		if ((rc = mailbox_of_name(rd, &n, &m)) != 0 || (rc = fn(arg, &m)) != 0)
			return rc;
	} else if (rc != SHELF_ENOMAILBOX) {
		return rc;
	}
	rc = kv_scan_open(rd->view, KV_MNAME, shelf_span(NULL, 0), shelf_span(NULL, 0), &scan);
	if (rc != 0)
		return rc;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1) {
		if ((rc = mail_name_decode(value, &n)) != 0)
			break;
		if (shelf_span_eq(n.name, inbox))
			continue;
		if ((rc = mailbox_of_name(rd, &n, &m)) != 0 || (rc = fn(arg, &m)) != 0)
			break;
	}
	kv_scan_close(&scan);
	return rc;
}

int
shelf_mailbox_keywords(struct shelf_rd *rd, uint32_t id, struct shelf_keywords *out)
{
	struct mail_key prefix = mail_key1(id);
	struct shelf_span key, value;
	struct kv_scan scan;
	int rc;

	out->count = 0;
	rc = kv_scan_open(rd->view, KV_KEYWORD, mail_key_span(&prefix), shelf_span(NULL, 0), &scan);
	if (rc != 0)
		return rc;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1) {
		if (key.len != 8 || base_get_be32(key.data + 4) != out->count ||
		    out->count == SHELF_KEYWORDS_MAX) {
			rc = SHELF_ECORRUPT;
			break;
		}
		out->name[out->count++] = value;
	}
	kv_scan_close(&scan);
	return rc;
}

/* ---- Messages ----------------------------------------------------------------------------------------- */

int
mail_rd_page(struct shelf_rd *rd, uint32_t mailbox, uint32_t page, const struct index_page **out)
{
	int rc;

	if (rd->page == NULL || rd->page_mailbox != mailbox || rd->page->page != page) {
		if (rd->page == NULL)
			rd->page = shelf_alloc(sizeof(*rd->page));
		rd->page_mailbox = 0; /* nothing, should the read fail */
		if ((rc = index_page_get(rd->view, mailbox, page, rd->page)) != 0)
			return rc;
		rd->page_mailbox = mailbox;
	}
	*out = rd->page;
	return 0;
}

void
mail_flags_out(const struct index_page *p, uint32_t uid, struct shelf_msg *out)
{
	unsigned n = uid % INDEX_PAGE_UIDS;

	*out = (struct shelf_msg){.uid = uid, .modseq = p->modseq[n]};
	for (unsigned f = 0; f < 5; f++)
		out->flags |= index_page_has(p, f, n) ? 1u << f : 0;
	for (unsigned f = index_page_next_flag(p, INDEX_FLAG_KEYWORD); f < INDEX_FLAGS;
	     f = index_page_next_flag(p, f + 1)) {
		unsigned k = f - INDEX_FLAG_KEYWORD;

		if (index_page_has(p, f, n))
			out->keywords[k / 64] |= (uint64_t)1 << (k % 64);
	}
}

enum { HANDLE_SHARD_SHIFT = 56 }; /* blobs will not need more bits of their number */

uint64_t
mail_blob_handle(uint32_t shard, uint64_t blob)
{
	return (uint64_t)shard << HANDLE_SHARD_SHIFT | blob;
}

uint32_t
mail_handle_shard(uint64_t handle)
{
	return (uint32_t)(handle >> HANDLE_SHARD_SHIFT);
}

uint64_t
mail_handle_blob(uint64_t handle)
{
	return handle & (((uint64_t)1 << HANDLE_SHARD_SHIFT) - 1);
}

static void
set_handle(const struct shelf_rd *rd, struct shelf_msg *out)
{
	out->blob = mail_blob_handle(kv_view_shard(rd->view), out->blob);
}

void
mail_msg_fill(const struct mail_msg *row, struct shelf_msg *out)
{
	out->internaldate_s = row->internaldate_s;
	out->zone_min = row->zone_min;
	out->savedate_s = row->savedate_s;
	out->size = row->size;
	out->blob = row->blob;
	out->dated = row->dated;
	out->sent_s = row->sent_s;
	memcpy(out->email_id, row->email_id, sizeof(out->email_id));
}

void
mail_gone_out(const struct mail_gone *gone, uint32_t uid, struct shelf_msg *out)
{
	*out = (struct shelf_msg){
	    .uid = uid, .gone = true, .flags = gone->flags, .modseq = gone->modseq};
	memcpy(out->keywords, gone->keywords, sizeof(out->keywords));
	mail_msg_fill(&gone->msg, out);
}

/* Keyword numbers of the mailbox FROM, bits, become those of TO; one that TO does not have is left out. */
static int
translate_keywords(struct kv_view *view, uint32_t from, uint32_t to, uint64_t bits[4])
{
	uint64_t there[4];
	struct mail_mbox m;
	int rc = mail_mbox_get(view, to, &m);

	if (from == to || rc == SHELF_ENOMAILBOX)
		return 0;
	memcpy(there, bits, sizeof(there));
	memset(bits, 0, sizeof(there));
	for (uint32_t k = 0; rc == 0 && k < SHELF_KEYWORDS_MAX; k++) {
		struct mail_key key = mail_key2(from, k);
		struct shelf_span name;
		uint32_t number;

		if ((there[k / 64] >> (k % 64) & 1) == 0)
			continue;
		rc = kv_get(view, KV_KEYWORD, mail_key_span(&key), &name);
		if (rc == 0 && (rc = mail_keyword_lookup(view, to, m.keywords, name, &number)) == 0)
			bits[number / 64] |= (uint64_t)1 << (number % 64);
		rc = rc == SHELF_EMISSING ? 0 : rc;
	}
	return rc;
}

/* A message that went to another mailbox or came back under another uid: as it is there, under its old uid. */
static int
get_moved(struct shelf_rd *rd, uint32_t mailbox, uint32_t uid, struct shelf_msg *out)
{
	const struct index_page *p;
	struct shelf_msg there;
	struct mail_moved at;
	struct mail_gone gone;
	int rc = mail_moved_find(rd->view, mailbox, uid, &gone, &at);

	if (rc != 1)
		return rc == 0 ? SHELF_ENOMESSAGE : rc;
	mail_gone_out(&gone, uid, out);
	if ((rc = mail_rd_page(rd, at.to, at.to_first >> INDEX_PAGE_SHIFT, &p)) != 0)
		return rc;
	if (index_bit(&p->exists, at.to_first % INDEX_PAGE_UIDS)) {
		mail_flags_out(p, at.to_first, &there);
		out->flags = there.flags;
		memcpy(out->keywords, there.keywords, sizeof(out->keywords));
	}
	return translate_keywords(rd->view, at.to, mailbox, out->keywords);
}

int
shelf_msg_get(struct shelf_rd *rd, uint32_t mailbox, uint32_t uid, struct shelf_msg *out)
{
	const struct index_page *p;
	struct mail_gone gone;
	struct mail_msg row;
	int rc = mail_rd_page(rd, mailbox, uid >> INDEX_PAGE_SHIFT, &p);

	if (rc != 0)
		return rc;
	if (index_bit(&p->exists, uid % INDEX_PAGE_UIDS)) {
		mail_flags_out(p, uid, out);
		if ((rc = mail_msg_get(rd->view, mailbox, uid, &row)) != 0)
			return rc == SHELF_ENOMESSAGE ? SHELF_ECORRUPT : rc;
		mail_msg_fill(&row, out);
		set_handle(rd, out);
		return 0;
	}
	if ((rc = mail_gone_get(rd->view, mailbox, uid, &gone)) != 0)
		return rc == SHELF_ENOMESSAGE ? get_moved(rd, mailbox, uid, out) : rc;
	mail_gone_out(&gone, uid, out);
	set_handle(rd, out);
	return 0;
}

/* The row of UID from the open scan, which stands before it. */
static int
next_row(struct shelf_rd *rd, uint32_t uid, struct mail_msg *out)
{
	struct shelf_span key, value;
	int rc;

	while ((rc = kv_scan_next(&rd->rows, &key, &value)) == 1) {
		if (key.len != 8)
			return SHELF_ECORRUPT;
		rd->rows_uid = base_get_be32(key.data + 4);
		if (rd->rows_uid >= uid)
			return rd->rows_uid == uid ? mail_msg_decode(value, out) : SHELF_ECORRUPT;
	}
	return rc == 0 ? SHELF_ECORRUPT : rc;
}

/* The row of a message that exists. Who asks for one after the other gets a scan, which costs a tenth. */
static int
read_row(struct shelf_rd *rd, uint32_t mailbox, uint32_t uid, struct mail_msg *out)
{
	bool near = rd->rows_mailbox == mailbox && uid > rd->rows_uid && uid - rd->rows_uid <= ROWS_AHEAD;
	struct mail_key prefix = mail_key1(mailbox), from = mail_key2(mailbox, uid);
	int rc;

	if (near && rd->rows_open)
		return next_row(rd, uid, out);
	if (rd->rows_open)
		kv_scan_close(&rd->rows);
	rd->rows_open = false;
	if (!near) {
		rd->rows_mailbox = mailbox;
		rd->rows_uid = uid;
		rc = mail_msg_get(rd->view, mailbox, uid, out);
		return rc == SHELF_ENOMESSAGE ? SHELF_ECORRUPT : rc;
	}
	rc = kv_scan_open(rd->view, KV_MSG, mail_key_span(&prefix), mail_key_span(&from), &rd->rows);
	if (rc != 0)
		return rc;
	rd->rows_open = true;
	return next_row(rd, uid, out);
}

/* The first page with a message at or behind the one wanted. */
static int
first_page(void *arg, const struct index_head *head)
{
	uint32_t *page = arg;

	*page = head->page;
	return 1;
}

int
shelf_msg_next(struct shelf_rd *rd, uint32_t mailbox, uint32_t uid, enum shelf_msg_what what,
	       struct shelf_msg *out)
{
	const struct index_page *p;
	uint32_t page = uid >> INDEX_PAGE_SHIFT;
	unsigned n = uid % INDEX_PAGE_UIDS;
	struct mail_msg row;
	int rc;

	for (;;) {
		if ((rc = mail_rd_page(rd, mailbox, page, &p)) != 0)
			return rc;
		if ((n = index_bits_next(&p->exists, n)) < INDEX_PAGE_UIDS)
			break;
		if (page == UINT32_MAX >> INDEX_PAGE_SHIFT)
			return SHELF_ENOMESSAGE;
		rc = index_page_each(rd->view, mailbox, page + 1, UINT32_MAX, first_page, &page);
		if (rc <= 0)
			return rc == 0 ? SHELF_ENOMESSAGE : rc;
		n = 0;
	}
	uid = page << INDEX_PAGE_SHIFT | n;
	mail_flags_out(p, uid, out);
	if (what == SHELF_MSG_FLAGS)
		return 0;
	if ((rc = read_row(rd, mailbox, uid, &row)) != 0)
		return rc;
	mail_msg_fill(&row, out);
	set_handle(rd, out);
	return 0;
}

int
shelf_msg_derived(struct shelf_rd *rd, uint64_t blob, struct shelf_arena *arena,
		  struct shelf_span *out)
{
	struct shelf_buf b = {0};
	struct kv_view *view = NULL;
	int rc = 0;

	if (mail_records_get(rd->store->records, blob, arena, out))
		return 0;
	/* Of a snapshot before this one, and the account has moved since? */
	if (mail_handle_shard(blob) != kv_view_shard(rd->view))
		rc = kv_view_begin_shard(rd->store->kv, mail_handle_shard(blob), &view);
	if (rc == 0)
		rc = blob_derived(view != NULL ? view : rd->view, mail_handle_blob(blob), &b);
	kv_view_end(&view);
	if (rc == 0) {
		*out = shelf_arena_dup(arena, shelf_buf_span(&b));
		mail_records_put(rd->store->records, blob, shelf_buf_span(&b));
	}
	shelf_buf_free(&b);
	return rc;
}

int
shelf_import_probe(struct shelf_rd *rd, const uint8_t (*item_ids)[16], size_t n,
		   uint8_t *would_store_out)
{
	struct shelf_span value;

	for (size_t i = 0; i < n; i++) {
		int rc = kv_get(rd->view, KV_IMPORT, shelf_span(item_ids[i], 16), &value);

		if (rc != 0 && rc != SHELF_EMISSING)
			return rc;
		would_store_out[i] = rc == SHELF_EMISSING;
	}
	return 0;
}
