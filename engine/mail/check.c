/*
 * check.c - proves the numbered invariants of docs/storage-format.md
 *
 * Metadata of a shard are walked in one snapshot, so that counts can be compared; bodies are read in slices
 * with a snapshot each. What is found is told, never mended here.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/evp.h>

#include <mailshelf/mem.h>
#include <mailshelf/mime.h>

#include "mail_check.h"

void
check_found(struct check *k, unsigned invariant, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	k->found(k->arg, invariant, k->account, text);
}

/* ---- References: blob id -> how many rows name it -------------------------------------------------------- */

static size_t
slot_of(const struct check *k, uint64_t blob)
{
	size_t i = (size_t)(blob * 0x9e3779b97f4a7c15u) & (k->refs_cap - 1);

	while (k->refs[i].count != 0 && k->refs[i].blob != blob)
		i = (i + 1) & (k->refs_cap - 1);
	return i;
}

void
check_count_ref(struct check *k, uint64_t blob)
{
	size_t i;

	if (k->refs_used * 2 >= k->refs_cap) {
		struct check_ref *old = k->refs;
		size_t n = k->refs_cap;

		k->refs_cap = n == 0 ? 1024 : n * 2;
		k->refs = shelf_zalloc(k->refs_cap * sizeof(*k->refs));
		for (size_t j = 0; j < n; j++)
			if (old[j].count != 0)
				k->refs[slot_of(k, old[j].blob)] = old[j];
		free(old);
	}
	i = slot_of(k, blob);
	k->refs_used += k->refs[i].count == 0;
	k->refs[i].blob = blob;
	k->refs[i].count++;
}

static uint32_t
refs_of(const struct check *k, uint64_t blob)
{
	return k->refs_cap == 0 ? 0 : k->refs[slot_of(k, blob)].count;
}

/* ---- The blobs of a shard against what was counted ------------------------------------------------------- */

static int
check_refs(struct check *k)
{
	struct shelf_span key, value;
	struct kv_scan scan;
	size_t seen = 0;
	int rc = kv_scan_open(k->view, KV_BLOB, shelf_span(NULL, 0), shelf_span(NULL, 0), &scan);

	if (rc != 0)
		return rc;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1) {
		struct blob_row row;
		uint64_t blob = key.len == 8 ? base_get_be64(key.data) : 0;
		uint32_t counted;

		if (blob == 0 || blob_row_decode(value, &row) != 0) {
			check_found(k, 4, "blob %llu: row cannot be read",
				    (unsigned long long)blob);
			continue;
		}
		counted = refs_of(k, blob);
		seen += counted > 0;
		k->blobs++;
		if (counted != row.refs)
			check_found(k, 4, "blob %llu: %u references kept, %u counted",
				    (unsigned long long)blob, row.refs, counted);
	}
	kv_scan_close(&scan);
	if (rc == 0 && seen != k->refs_used)
		check_found(k, 4, "%zu blobs that messages refer to are missing",
			    k->refs_used - seen);
	return rc;
}

/* ---- Bodies ------------------------------------------------------------------------------------------------ */

static int
check_body(struct check *k, struct kv_view *view, uint64_t blob, const struct blob_row *row)
{
	struct shelf_buf frame = {0}, stored = {0}, fresh = {0};
	struct shelf_arena arena = {0};
	struct mime_scan *scan = mime_scan_new(&arena);
	EVP_MD_CTX *sha = EVP_MD_CTX_new();
	uint8_t digest[EVP_MAX_MD_SIZE];
	int rc = 0;

	SHELF_ASSERT(sha != NULL && EVP_DigestInit_ex(sha, EVP_sha256(), NULL) == 1);
	for (uint32_t n = 0; n < row->nframes && rc == 0; n++) {
		if ((rc = blob_read_frame(view, blob, row, n, &frame)) != 0)
			break;
		EVP_DigestUpdate(sha, frame.data, frame.len);
		mime_scan_feed(scan, frame.data, frame.len);
	}
	if (rc != 0) {
		check_found(k, 6, "blob %llu: cannot be read: %s", (unsigned long long)blob,
			    shelf_err_text(rc));
		rc = rc == SHELF_ECORRUPT ? 0 : rc;
		goto out;
	}
	EVP_DigestFinal_ex(sha, digest, NULL);
	if (memcmp(digest, row->hash, BLOB_HASH_BYTES) != 0)
		check_found(k, 6, "blob %llu: checksum differs", (unsigned long long)blob);
	mime_record_encode(mime_scan_end(&scan), &fresh);
	rc = blob_derived(view, blob, &stored);
	if (rc != 0 || !shelf_span_eq(shelf_buf_span(&fresh), shelf_buf_span(&stored)))
		check_found(k, 8, "blob %llu: derived data differ from a fresh scan",
			    (unsigned long long)blob);
	rc = 0;
out:
	mime_scan_free(&scan);
	shelf_arena_free(&arena);
	EVP_MD_CTX_free(sha);
	shelf_buf_free(&frame);
	shelf_buf_free(&stored);
	shelf_buf_free(&fresh);
	return rc;
}

enum { BODIES_SLICE_MS = 500 };

/* Blobs behind *BLOB for about half a second in one snapshot. 1: there are more. */
static int
check_some_bodies(struct check *k, uint32_t shard, uint64_t *blob)
{
	int64_t until = shelf_mono_ms() + BODIES_SLICE_MS;
	struct kv_view *view = NULL;
	struct shelf_span key, value;
	struct kv_scan scan;
	uint8_t from[8];
	int rc;

	base_put_be64(from, *blob + 1);
	if ((rc = kv_view_begin_shard(k->store->kv, shard, &view)) != 0)
		return rc;
	if ((rc = kv_scan_open(view, KV_BLOB, shelf_span(NULL, 0), shelf_span(from, 8), &scan)) !=
	    0)
		goto out;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1 && shelf_mono_ms() < until) {
		struct blob_row row;

		*blob = key.len == 8 ? base_get_be64(key.data) : UINT64_MAX - 1;
		k->done++;
		if (blob_row_decode(value, &row) == 0 && row.refs > 0 &&
		    (rc = check_body(k, view, *blob, &row)) != 0)
			break;
		if (k->progress != NULL && k->done % 256 == 0)
			k->progress(k->arg, k->done, k->blobs);
	}
	kv_scan_close(&scan);
out:
	kv_view_end(&view);
	return rc;
}

/* ---- One shard after the other ------------------------------------------------------------------------------ */

static int
check_shard(struct check *k, uint32_t shard)
{
	uint64_t blob = 0;
	int rc;

	k->account = 0;
	k->refs_used = 0;
	free(k->refs);
	k->refs = NULL;
	k->refs_cap = 0;
	if ((rc = kv_view_begin_shard(k->store->kv, shard, &k->view)) != 0)
		return rc;
	rc = check_accounts(k, shard);
	k->account = 0;
	if (rc == 0)
		rc = check_refs(k);
	kv_view_end(&k->view);
	while (rc == 0 && (rc = check_some_bodies(k, shard, &blob)) == 1)
		rc = 0;
	return rc;
}

int
shelf_store_check(struct shelf_store *store, shelf_progress_fn *progress, shelf_finding_fn *found,
		  void *arg)
{
	struct check k = {.store = store, .progress = progress, .found = found, .arg = arg};
	int rc = check_catalog(&k);

	for (uint32_t shard = 0; shard < kv_shards(store->kv) && rc == 0; shard++)
		rc = check_shard(&k, shard);
	if (rc == 0 && progress != NULL)
		progress(arg, k.done, k.done);
	free(k.refs);
	free(k.list);
	free(k.page);
	return rc;
}
