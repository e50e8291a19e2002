/* dialogue_damage.c - a bit flips of a stored body or of what is known of flags, as on a disk that rots */
#include <stdlib.h>

#include <mailshelf/mime.h>

#include "dialogue.h"
#include "mail.h"

struct victim {
	uint64_t where, at; /* the byte AT of what is stored below WHERE */
};

static int
put_flipped(struct kv_txn *txn, struct shelf_span key, struct shelf_span value, uint64_t at)
{
	struct shelf_buf copy = {0};
	uint8_t key_copy[12];
	int rc;

	memcpy(key_copy, key.data, sizeof key_copy);
	shelf_buf_add_span(&copy, value);
	copy.data[at] ^= 0x10;
	rc = kv_put(txn, KV_CHUNK, shelf_span(key_copy, sizeof key_copy), shelf_buf_span(&copy));
	shelf_buf_free(&copy);
	return rc;
}

static int
flip(struct kv_txn *txn, void *arg)
{
	const struct victim *v = arg;
	struct shelf_span key, value;
	struct kv_scan scan;
	uint64_t at = v->at;
	uint8_t prefix[8];
	int rc;

	base_put_be64(prefix, v->where);
	rc = kv_scan_open(kv_txn_view(txn), KV_CHUNK, shelf_span(prefix, sizeof prefix),
	    shelf_span(NULL, 0), &scan);
	while (rc == 0 && (rc = kv_scan_next(&scan, &key, &value)) == 1) {
		if (at < value.len)
			break;
		at -= value.len;
		rc = 0;
	}
	if (rc == 1)
		rc = key.len == 12 ? put_flipped(txn, key, value, at) : SHELF_ECORRUPT;
	else if (rc == 0)
		rc = SHELF_EMISSING;
	kv_scan_close(&scan);
	return rc;
}

/* The middle of a frame. */
static int
find_frame(const struct blob_row *row, uint32_t frame, uint64_t *at)
{
	struct base_reader r = base_reader(row->frames);
	uint64_t len = row->stored;

	*at = 0;
	if (frame >= row->nframes)
		return SHELF_EINVALID;
	for (uint32_t i = 0; row->nframes > 1 && i <= frame; i++) {
		len = base_get_le(&r, 4);
		*at += i < frame ? len : 0;
	}
	*at += len / 2;
	return 0;
}

int
dialogue_damage(struct shelf_store *store, uint32_t account, const char *mailbox, uint32_t uid,
    uint32_t frame)
{
	struct shelf_mailbox box;
	struct shelf_rd *rd = NULL;
	struct shelf_msg m;
	struct blob_row row;
	struct victim v = {0};
	uint32_t shard = 0;
	int rc = shelf_rd_begin(store, account, &rd);

	if (rc == 0)
		rc = shelf_mailbox_find(rd, shelf_span_str(mailbox), &box);
	if (rc == 0)
		rc = shelf_msg_get(rd, box.id, uid, &m);
	if (rc == 0)
		rc = blob_get(rd->view, m.blob, &row);
	if (rc == 0)
		rc = find_frame(&row, frame, &v.at);
	if (rc == 0) {
		v.where = row.where != 0 ? row.where : m.blob;
		shard = kv_view_shard(rd->view);
	}
	shelf_rd_end(&rd);
	return rc != 0 ? rc : kv_update_shard(store->kv, shard, KV_QUIET, flip, &v);
}

struct page {
	uint32_t mailbox, number;
};

/* The number of its parts becomes another one. */
static int
flip_page(struct kv_txn *txn, void *arg)
{
	const struct page *p = arg;
	struct shelf_buf copy = {0};
	struct shelf_span value;
	uint8_t key[9] = {0};
	int rc;

	base_put_be32(key, p->mailbox);
	base_put_be32(key + 4, p->number);
	if ((rc = kv_get(kv_txn_view(txn), KV_FPAGE, shelf_span(key, sizeof key), &value)) != 0)
		return rc;
	shelf_buf_add_span(&copy, value);
	copy.data[1] ^= 0x10;
	rc = kv_put(txn, KV_FPAGE, shelf_span(key, sizeof key), shelf_buf_span(&copy));
	shelf_buf_free(&copy);
	return rc;
}

int
dialogue_damage_flags(struct shelf_store *store, uint32_t account, const char *mailbox, uint32_t uid)
{
	struct shelf_mailbox box;
	struct shelf_rd *rd = NULL;
	struct page p = {0};
	int rc = shelf_rd_begin(store, account, &rd);

	if (rc == 0 && (rc = shelf_mailbox_find(rd, shelf_span_str(mailbox), &box)) == 0)
		p = (struct page){box.id, uid >> INDEX_PAGE_SHIFT};
	shelf_rd_end(&rd);
	return rc != 0 ? rc : kv_update(store->kv, account, KV_QUIET, flip_page, &p);
}

struct record {
	uint64_t where;
	struct shelf_buf plain; /* as in DERIVED */
};

static int
put_record(struct kv_txn *txn, void *arg)
{
	const struct record *r = arg;
	uint8_t key[12] = {0};

	base_put_be64(key, r->where);
	return kv_put(txn, KV_DERIVED, shelf_span(key, sizeof key), shelf_buf_span(&r->plain));
}

int
dialogue_forget_preview(struct shelf_store *store, uint32_t account, const char *mailbox, uint32_t uid)
{
	struct shelf_mailbox box;
	struct shelf_rd *rd = NULL;
	struct shelf_arena arena = {0};
	struct shelf_span derived;
	struct record r = {0};
	struct mime_part *root = NULL;
	struct shelf_msg m;
	struct blob_row row;
	uint32_t shard = 0;
	int rc = shelf_rd_begin(store, account, &rd);

	if (rc == 0 && (rc = shelf_mailbox_find(rd, shelf_span_str(mailbox), &box)) == 0 &&
	    (rc = shelf_msg_get(rd, box.id, uid, &m)) == 0 &&
	    (rc = shelf_msg_derived(rd, m.blob, &arena, &derived)) == 0 &&
	    (rc = mime_record_decode(derived, &arena, &root)) == 0 &&
	    (rc = blob_get(rd->view, m.blob, &row)) == 0) {
		root->preview = shelf_span(NULL, 0);
		shelf_buf_add_byte(&r.plain, 0); /* plain, docs/storage-format.md */
		mime_record_encode(root, &r.plain);
		r.where = row.where != 0 ? row.where : m.blob;
		shard = kv_view_shard(rd->view);
	}
	shelf_rd_end(&rd);
	if (rc == 0)
		rc = kv_update_shard(store->kv, shard, KV_QUIET, put_record, &r);
	mail_records_clear(store->records);
	shelf_buf_free(&r.plain);
	shelf_arena_free(&arena);
	return rc;
}
