/*
 * check_body.c - every body's checksums, and its derived data against a fresh scan (invariants 6, 8)
 *
 * A blob's bytes never change while it lives, so each frame is read in a snapshot of its own: a body of 250
 * MiB keeps none for long. A blob that goes meanwhile is none of our business.
 */
#include <openssl/evp.h>

#include <mailshelf/mem.h>
#include <mailshelf/mime.h>

#include "mail_check.h"

/* One body on its way through the hash and the scan. */
struct body {
	struct check *k;
	uint32_t shard;
	uint64_t blob;
	EVP_MD_CTX *sha;
	struct mime_scan *scan;
	struct shelf_buf frame, stored;
	uint32_t nframes;
	uint8_t hash[BLOB_HASH_BYTES];
};

/* Frame N into b->frame, with the first one the derived data into b->stored. SHELF_EMISSING: the blob is gone. */
static int
read_frame(struct body *b, uint32_t n, int *derived_rc)
{
	struct kv_view *view = NULL;
	struct blob_row row;
	int rc = kv_view_begin_shard(b->k->store->kv, b->shard, &view);

	if (rc != 0)
		return rc;
	if ((rc = blob_get(view, b->blob, &row)) != 0)
		goto out;
	if (n == 0) {
		b->nframes = row.nframes;
		memcpy(b->hash, row.hash, sizeof(b->hash));
		*derived_rc = blob_derived(view, b->blob, &b->stored);
	}
	rc = n < row.nframes ? blob_read_frame(view, b->blob, &row, n, &b->frame) : SHELF_ECORRUPT;
	if (rc == SHELF_EMISSING)
		rc = SHELF_ECORRUPT; /* bytes of a blob that is there */
out:
	kv_view_end(&view);
	return rc;
}

/* 0 when the body is right, wrong and told, or gone. */
static int
check_body(struct body *b)
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	struct shelf_buf fresh = {0};
	struct mime_part *root = NULL;
	int derived_rc = 0, rc = 0;

	SHELF_ASSERT(EVP_DigestInit_ex(b->sha, EVP_sha256(), NULL) == 1);
	b->nframes = 1;
	for (uint32_t n = 0; n < b->nframes; n++) {
		if ((rc = read_frame(b, n, &derived_rc)) == SHELF_EMISSING)
			return 0;
		if (check_is_damage(rc))
			check_found(b->k, 6, "blob %llu: cannot be read: %s",
				    (unsigned long long)b->blob, shelf_err_text(rc));
		if (rc != 0)
			return check_is_damage(rc) ? 0 : rc;
		EVP_DigestUpdate(b->sha, b->frame.data, b->frame.len);
		mime_scan_feed(b->scan, b->frame.data, b->frame.len);
	}
	EVP_DigestFinal_ex(b->sha, digest, NULL);
	if (memcmp(digest, b->hash, BLOB_HASH_BYTES) != 0)
		check_found(b->k, 6, "blob %llu: checksum differs", (unsigned long long)b->blob);
	root = mime_scan_end(&b->scan);
	/* A record of a release without previews is right without one. */
	if (b->stored.len > 0 && b->stored.data[0] == MIME_RECORD_BARE)
		root->preview = shelf_span(NULL, 0);
	mime_record_encode(root, &fresh);
	if (derived_rc != 0 || !shelf_span_eq(shelf_buf_span(&fresh), shelf_buf_span(&b->stored)))
		check_found(b->k, 8, "blob %llu: derived data differ from a fresh scan",
			    (unsigned long long)b->blob);
	shelf_buf_free(&fresh);
	return 0;
}

/* The next blob behind *BLOB: 1 found. */
static int
next_blob(struct check *k, uint32_t shard, uint64_t *blob)
{
	struct kv_view *view = NULL;
	struct shelf_span key, value;
	struct kv_scan scan;
	uint8_t from[8];
	int rc;

	base_put_be64(from, *blob + 1);
	if ((rc = kv_view_begin_shard(k->store->kv, shard, &view)) != 0)
		return rc;
	if ((rc = kv_scan_open(view, KV_BLOB, shelf_span(NULL, 0), shelf_span(from, 8), &scan)) == 0) {
		if ((rc = kv_scan_next(&scan, &key, &value)) == 1)
			*blob = key.len == 8 ? base_get_be64(key.data) : *blob + 1;
		kv_scan_close(&scan);
	}
	kv_view_end(&view);
	return rc;
}

int
check_bodies(struct check *k, uint32_t shard)
{
	struct body b = {.k = k, .shard = shard, .sha = EVP_MD_CTX_new()};
	int rc = 0;

	SHELF_ASSERT(b.sha != NULL);
	while (b.blob != UINT64_MAX && (rc = next_blob(k, shard, &b.blob)) == 1) {
		struct shelf_arena arena = {0};

		b.scan = mime_scan_new(&arena);
		rc = check_body(&b);
		mime_scan_free(&b.scan);
		shelf_arena_free(&arena);
		if (rc != 0)
			break;
		if (k->progress != NULL && ++k->done % 256 == 0)
			k->progress(k->arg, k->done, k->blobs);
	}
	if (check_is_damage(rc)) {
		check_found(k, 6, "blobs of partition %u behind %llu cannot be read", shard,
			    (unsigned long long)b.blob);
		rc = 0;
	}
	EVP_MD_CTX_free(b.sha);
	shelf_buf_free(&b.frame);
	shelf_buf_free(&b.stored);
	return rc;
}
