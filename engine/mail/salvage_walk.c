/*
 * salvage_walk.c - the messages of one partition, from whatever rows are left
 *
 *   accounts --> mailboxes --> pages of 256 uids and message rows side by side --> held rows
 *   then blobs that none of these named, then chunks that no blob row names
 *
 * Every key that exists in any of the tables concerned is visited: a mailbox without its row has no name, a
 * message without its page has no flags, a page's message without its row is lost. A body comes out only
 * when its size and checksum are right.
 *
 * A message row that no tree leads to may be an old copy of one that was removed since. It is believed when
 * its page says that the message exists, or when there is no page to ask.
 */
#include <stdlib.h>

#include <openssl/sha.h>

#include <mailshelf/mem.h>

#include "salvage.h"

/* A mailbox, and the message being looked at. */
struct box {
	struct salvage *s;
	struct shelf_salvaged out;
	struct shelf_buf name;
	struct shelf_buf keyword[SHELF_KEYWORDS_MAX];
	struct shelf_span keywords[SHELF_KEYWORDS_MAX];
	bool deleted;
	struct shelf_buf body;
};

/* ---- Keys ------------------------------------------------------------------------------------------------ */

/* The first number behind PREFIX in the keys of a table, from FROM on: 1 found. */
static int
next_number(struct salvage *s, uint32_t account, enum kv_table table, const struct mail_key *prefix,
	    uint32_t from, uint32_t *out)
{
	struct kv_view *view = kv_salvage_view(s->kv);
	struct mail_key key = *prefix;
	struct shelf_span k, v;
	struct kv_scan scan;
	int rc;

	base_put_be32(key.bytes + key.len, from);
	key.len += 4;
	if (account != 0)
		kv_view_account(view, account);
	rc = kv_scan_open(view, table, mail_key_span(prefix), mail_key_span(&key), &scan);
	if (rc == 0 && (rc = kv_scan_next(&scan, &k, &v)) == 1) {
		if (k.len < prefix->len + 4)
			rc = 0;
		else
			*out = base_get_be32(k.data + prefix->len);
	}
	kv_scan_close(&scan);
	kv_view_end(&view);
	return rc;
}

/* The lowest of what several tables have. */
static int
next_of(struct salvage *s, uint32_t account, const enum kv_table *tables, size_t n,
	const struct mail_key *prefix, uint32_t from, uint32_t *out)
{
	bool found = false;

	for (size_t i = 0; i < n; i++) {
		uint32_t number;
		int rc = next_number(s, account, tables[i], prefix, from, &number);

		if (rc < 0)
			return rc;
		if (rc == 1 && (!found || number < *out))
			*out = number;
		found |= rc == 1;
	}
	return found;
}

static int
next_account(struct salvage *s, uint32_t after, uint32_t *out)
{
	static const enum kv_table tables[] = {KV_MBOX, KV_MSG, KV_FPAGE, KV_GONE};
	struct kv_view *view = kv_salvage_view(s->kv);
	uint32_t best = 0, account;
	int rc = 0;

	for (size_t i = 0; i < 4 && rc >= 0; i++) {
		rc = kv_view_next_account(view, tables[i], after, &account);
		if (rc == 1 && (best == 0 || account < best))
			best = account;
	}
	kv_view_end(&view);
	*out = best;
	return rc < 0 ? rc : best != 0;
}

/* ---- Bodies ---------------------------------------------------------------------------------------------- */

static void
remember(struct salvage *s, uint64_t blob)
{
	if (s->nseen == s->seen_cap) {
		s->seen_cap = s->seen_cap == 0 ? 1024 : s->seen_cap * 2;
		s->seen = shelf_realloc(s->seen, s->seen_cap * sizeof(*s->seen));
	}
	s->seen[s->nseen++] = blob;
}

static bool
is_right(struct shelf_span body, uint64_t size, const uint8_t *hash)
{
	uint8_t digest[SHA256_DIGEST_LENGTH];

	if (body.len != size)
		return false;
	SHA256(body.data, body.len, digest);
	return memcmp(digest, hash, BLOB_HASH_BYTES) == 0;
}

static int
read_row(struct kv_view *view, uint64_t blob, struct blob_row *row)
{
	struct shelf_span value;
	uint8_t key[8];
	int rc;

	base_put_be64(key, blob);
	rc = kv_get(view, KV_BLOB, shelf_span(key, sizeof(key)), &value);
	return rc != 0 ? rc : blob_row_decode(value, row);
}

static int
read_frames(struct kv_view *view, uint64_t blob, const struct blob_row *row, struct shelf_buf *out)
{
	struct shelf_buf frame = {0};
	int rc = 0;

	shelf_buf_clear(out);
	for (uint32_t n = 0; n < row->nframes && rc == 0; n++) {
		if ((rc = blob_read_frame(view, blob, row, n, &frame)) == 0)
			shelf_buf_add_span(out, shelf_buf_span(&frame));
	}
	shelf_buf_free(&frame);
	return rc;
}

/* What lies behind the head, by its frames: where its row says, or below its id if that is lost. */
static int
salvage_headed(struct kv_view *view, const struct blob_row *row, struct shelf_buf *out)
{
	struct shelf_buf base = {0};
	struct blob_row below;
	bool moved = read_row(view, row->base, &below) == 0 && below.where != 0;
	int rc = blob_salvage(view, moved ? below.where : row->base, &base);

	shelf_buf_clear(out);
	shelf_buf_add_span(out, row->head);
	shelf_buf_add_span(out, shelf_buf_span(&base));
	shelf_buf_free(&base);
	return rc;
}

/* The body of a message of SIZE and HASH. NULL: OUT has it, else why not. */
static const char *
read_body(struct salvage *s, uint64_t blob, uint64_t size, const uint8_t *hash, struct shelf_buf *out)
{
	struct kv_view *view = kv_salvage_view(s->kv);
	struct blob_row row = {.base = 0};
	const char *why = NULL;
	uint64_t where = blob;
	int rc = read_row(view, blob, &row);

	if (rc == 0 && row.where != 0)
		where = row.where;
	if (rc == 0)
		rc = read_frames(view, blob, &row, out);
	if (rc != 0 || !is_right(shelf_buf_span(out), size, hash)) {
		why = rc == 0 ? "the body's checksum differs" : "bytes of the body are lost";
		if (row.base != 0 ? salvage_headed(view, &row, out) == 0 : blob_salvage(view, where, out) == 0)
			why = is_right(shelf_buf_span(out), size, hash) ? NULL : why;
	}
	kv_view_end(&view);
	return why;
}

/* ---- Messages -------------------------------------------------------------------------------------------- */

static void
set_keywords(struct box *b)
{
	b->out.nkeywords = 0;
	for (uint32_t k = 0; k < SHELF_KEYWORDS_MAX; k++)
		if (shelf_msg_has_keyword(&b->out.msg, k) && b->keyword[k].len > 0)
			b->keywords[b->out.nkeywords++] = shelf_buf_span(&b->keyword[k]);
	b->out.keywords = b->keywords;
}

/* b->out.msg has flags, ROW the rest: NULL when the row is lost. */
static int
tell(struct box *b, const struct mail_msg *row)
{
	struct shelf_msg *m = &b->out.msg;
	const char *why = "its row is lost";

	set_keywords(b);
	if (row != NULL) {
		m->internaldate_s = row->internaldate_s;
		m->zone_min = row->zone_min;
		m->savedate_s = row->savedate_s;
		m->size = row->size;
		m->blob = row->blob;
		memcpy(m->email_id, row->email_id, sizeof(m->email_id));
		remember(b->s, row->blob);
		why = read_body(b->s, row->blob, row->size, row->email_id, &b->body);
	}
	if (why == NULL)
		return b->s->sink->message(b->s->sink->arg, &b->out, shelf_buf_span(&b->body));
	b->s->sink->lost(b->s->sink->arg, &b->out, why);
	return 0;
}

/* A page of uids as far as it can be read. */
struct side {
	struct index_page page;
	bool readable;
	bool reached; /* by a tree */
};

static void
flags_out(const struct side *side, uint32_t uid, struct shelf_msg *m)
{
	unsigned n = uid % INDEX_PAGE_UIDS;

	*m = (struct shelf_msg){.uid = uid};
	if (!side->readable || !index_bit(&side->page.exists, n))
		return;
	m->modseq = side->page.modseq[n];
	for (unsigned f = 0; f < 5; f++)
		m->flags |= index_page_has(&side->page, f, n) ? 1u << f : 0;
	for (unsigned k = 0; k < SHELF_KEYWORDS_MAX; k++)
		if (index_page_has(&side->page, INDEX_FLAG_KEYWORD + k, n))
			m->keywords[k / 64] |= (uint64_t)1 << (k % 64);
}

static int
walk_uid(struct box *b, struct kv_view *view, const struct side *side, uint32_t uid)
{
	bool on_page = side->readable && index_bit(&side->page.exists, uid % INDEX_PAGE_UIDS);
	struct mail_msg row;
	int rc = mail_msg_get(view, b->out.mailbox, uid, &row);
	bool reached = rc == 0 && kv_salvage_reached(view);

	if (rc != 0 && !on_page)
		return 0; /* there is none */
	/* Flags that an old copy of the page has are better than none, but say nothing of what exists. */
	if (rc == 0 && !reached && !on_page && side->readable && side->reached)
		return 0; /* removed since */
	if (rc != 0 && !side->reached)
		return 0; /* nobody knows whether there was one */
	flags_out(side, uid, &b->out.msg);
	b->out.flags_known = on_page;
	b->out.held = b->deleted;
	return tell(b, rc == 0 ? &row : NULL);
}

static int
walk_page(struct box *b, uint32_t number)
{
	struct kv_view *view = kv_salvage_view(b->s->kv);
	struct side *side = SHELF_NEW(struct side);
	int rc = 0;

	kv_view_account(view, b->out.account);
	if (index_page_get(view, b->out.mailbox, number, &side->page) == 0 &&
	    index_bits_any(&side->page.exists)) {
		side->readable = true;
		side->reached = kv_salvage_reached(view);
	}
	for (unsigned n = 0; n < INDEX_PAGE_UIDS && rc == 0; n++)
		if ((number << INDEX_PAGE_SHIFT | n) != 0)
			rc = walk_uid(b, view, side, number << INDEX_PAGE_SHIFT | n);
	free(side);
	kv_view_end(&view);
	return rc;
}

/* The next page that has a row or any message row, from *NUMBER on. */
static int
next_page(struct box *b, uint32_t *number)
{
	struct mail_key prefix = mail_key1(b->out.mailbox);
	uint32_t page = UINT32_MAX, uid;
	int rc = next_number(b->s, b->out.account, KV_FPAGE, &prefix, *number, &page), msg;

	if (rc < 0)
		return rc;
	msg = next_number(b->s, b->out.account, KV_MSG, &prefix, *number << INDEX_PAGE_SHIFT, &uid);
	if (msg == 1 && (rc == 0 || uid >> INDEX_PAGE_SHIFT < page))
		page = uid >> INDEX_PAGE_SHIFT;
	*number = page;
	return msg < 0 ? msg : (rc == 1 || msg == 1) && page <= UINT32_MAX >> INDEX_PAGE_SHIFT;
}

static int
walk_held(struct box *b)
{
	struct mail_key prefix = mail_key1(b->out.mailbox);
	uint32_t uid = 0;
	int rc;

	while ((rc = next_number(b->s, b->out.account, KV_GONE, &prefix, uid, &uid)) == 1) {
		struct kv_view *view = kv_salvage_view(b->s->kv);
		struct mail_gone g;

		kv_view_account(view, b->out.account);
		rc = mail_gone_get(view, b->out.mailbox, uid, &g);
		b->out.msg = (struct shelf_msg){.uid = uid};
		if (rc == 0)
			mail_gone_out(&g, uid, &b->out.msg);
		b->out.held = true;
		b->out.flags_known = rc == 0;
		/* An old copy of a row that nothing leads to was let go of, as likely as not. */
		rc = rc == 0 && !kv_salvage_reached(view) ? 0 : tell(b, rc == 0 ? &g.msg : NULL);
		kv_view_end(&view);
		if (rc != 0 || uid++ == UINT32_MAX)
			break;
	}
	return rc < 0 ? rc : rc == 1 ? 0 : rc;
}

/* ---- Mailboxes ------------------------------------------------------------------------------------------- */

static void
read_box(struct box *b)
{
	struct kv_view *view = kv_salvage_view(b->s->kv);
	struct mail_mbox m;
	struct shelf_span value;

	kv_view_account(view, b->out.account);
	shelf_buf_clear(&b->name);
	b->deleted = false;
	if (mail_mbox_get(view, b->out.mailbox, &m) == 0) {
		/* A damaged name must not be a path to somewhere else. */
		if (shelf_mailbox_canonical(m.name, &b->name) != 0)
			shelf_buf_clear(&b->name);
		b->deleted = (m.flags & MAIL_MBOX_DELETED) != 0;
	}
	b->out.mailbox_name = shelf_buf_span(&b->name);
	for (uint32_t k = 0; k < SHELF_KEYWORDS_MAX; k++) {
		struct mail_key key = mail_key2(b->out.mailbox, k);

		shelf_buf_clear(&b->keyword[k]);
		if (kv_get(view, KV_KEYWORD, mail_key_span(&key), &value) == 0 &&
		    mail_keyword_valid(value))
			shelf_buf_add_span(&b->keyword[k], value);
	}
	kv_view_end(&view);
}

static int
walk_box(struct box *b)
{
	uint32_t number = 0;
	int rc;

	read_box(b);
	while ((rc = next_page(b, &number)) == 1) {
		if ((rc = walk_page(b, number)) != 0)
			return rc;
		number++;
	}
	return rc != 0 ? rc : walk_held(b);
}

static int
walk_account(struct salvage *s, uint32_t account)
{
	static const enum kv_table tables[] = {KV_MBOX, KV_MSG, KV_FPAGE, KV_GONE};
	struct mail_key none = {.len = 0};
	const char *name = salvage_name_of(s, account);
	struct box *b = SHELF_NEW(struct box);
	uint32_t mailbox = 0;
	int rc;

	b->s = s;
	b->out.partition = s->partition;
	b->out.account = account;
	b->out.account_name = name == NULL ? shelf_span(NULL, 0) : shelf_span_str(name);
	while ((rc = next_of(s, account, tables, 4, &none, mailbox, &mailbox)) == 1) {
		b->out.mailbox = mailbox;
		if ((rc = walk_box(b)) != 0 || mailbox++ == UINT32_MAX)
			break;
	}
	for (uint32_t k = 0; k < SHELF_KEYWORDS_MAX; k++)
		shelf_buf_free(&b->keyword[k]);
	shelf_buf_free(&b->name);
	shelf_buf_free(&b->body);
	free(b);
	return rc;
}

/* ---- What nobody names ----------------------------------------------------------------------------------- */

static int
compare_blobs(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* The next blob id in TABLE from FROM on: 1 found. */
static int
next_blob(struct salvage *s, enum kv_table table, uint64_t from, uint64_t *out)
{
	struct kv_view *view = kv_salvage_view(s->kv);
	struct shelf_span key, value;
	struct kv_scan scan;
	uint8_t at[8];
	int rc;

	base_put_be64(at, from);
	rc = kv_scan_open(view, table, shelf_span(NULL, 0), shelf_span(at, sizeof(at)), &scan);
	if (rc == 0 && (rc = kv_scan_next(&scan, &key, &value)) == 1) {
		if (key.len < 8)
			rc = 0;
		else
			*out = base_get_be64(key.data);
	}
	kv_scan_close(&scan);
	kv_view_end(&view);
	return rc;
}

/* A body without a message, by its row or, without one, by its frames alone. */
static int
tell_orphan(struct salvage *s, uint64_t blob, struct shelf_buf *body)
{
	struct shelf_salvaged out = {.partition = s->partition, .msg = {.blob = blob}};
	struct kv_view *view = kv_salvage_view(s->kv);
	struct blob_row row;
	const char *why = NULL;
	int rc = read_row(view, blob, &row);
	bool reached = rc == 0 && kv_salvage_reached(view);
	bool whole = rc != 0 && blob_salvage(view, blob, body) == 0;

	kv_view_end(&view);
	if (reached && row.refs == 0)
		return 0; /* it waits for its removal */
	if (rc == 0) {
		out.msg.size = row.size;
		memcpy(out.msg.email_id, row.hash, sizeof(out.msg.email_id));
		why = read_body(s, blob, row.size, row.hash, body);
	} else {
		out.msg.size = body->len;
		why = whole ? NULL : "bytes of the body are lost";
	}
	if (why == NULL)
		return s->sink->message(s->sink->arg, &out, shelf_buf_span(body));
	/* Rows on pages that were freed lead to bytes that were overwritten since: that is no loss. */
	if (reached)
		s->sink->lost(s->sink->arg, &out, why);
	return 0;
}

/* A blob that has a row, and where its chunks are. */
static void
remember_row(struct salvage *s, uint64_t blob)
{
	struct kv_view *view = kv_salvage_view(s->kv);
	struct blob_row row;

	remember(s, blob);
	if (read_row(view, blob, &row) == 0 && row.where != 0)
		remember(s, row.where);
	kv_view_end(&view);
}

/* What lies behind a head comes out with that, or waits for the same removal. */
static void
remember_base(struct salvage *s, uint64_t blob)
{
	struct kv_view *view = kv_salvage_view(s->kv);
	struct blob_row row;

	if (read_row(view, blob, &row) == 0 && row.base != 0)
		remember(s, row.base);
	kv_view_end(&view);
}

static int
each_row(struct salvage *s, void (*fn)(struct salvage *s, uint64_t blob))
{
	uint64_t blob = 0;
	int rc;

	while ((rc = next_blob(s, KV_BLOB, blob, &blob)) == 1 && blob < UINT64_MAX)
		fn(s, blob++);
	return rc < 0 ? rc : 0;
}

/* Nothing may be remembered between the sort and the last search. */
static int
walk_orphans(struct salvage *s, enum kv_table table)
{
	struct shelf_buf body = {0};
	uint64_t blob = 0;
	int rc;

	if (s->nseen > 0)
		qsort(s->seen, s->nseen, sizeof(*s->seen), compare_blobs);
	while ((rc = next_blob(s, table, blob, &blob)) == 1) {
		if (s->nseen == 0 ||
		    bsearch(&blob, s->seen, s->nseen, sizeof(*s->seen), compare_blobs) == NULL) {
			if ((rc = tell_orphan(s, blob, &body)) != 0)
				break;
		}
		if (blob++ == UINT64_MAX)
			break;
	}
	shelf_buf_free(&body);
	return rc;
}

int
salvage_walk(struct salvage *s, bool damaged)
{
	uint32_t account = 0;
	int rc;

	while ((rc = next_account(s, account, &account)) == 1)
		if ((rc = walk_account(s, account)) != 0)
			return rc;
	if (rc != 0 || (rc = each_row(s, remember_base)) != 0 || (rc = walk_orphans(s, KV_BLOB)) != 0 || !damaged)
		return rc;
	rc = each_row(s, remember_row); /* told already */
	return rc != 0 ? rc : walk_orphans(s, KV_CHUNK);
}
