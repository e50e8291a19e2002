/*
 * blob_draft.c - a message on its way in: hashed and compressed as it comes
 *
 * A message of up to BLOB_DICT_MAX bytes stays as it is until it is known where it goes: each shard has
 * its own dictionaries. Memory is bounded: one frame of raw bytes and MEMORY_MAX of compressed ones;
 * beyond, the compressed bytes go to a temporary file without a name. Nothing is visible to anybody
 * until blob_link.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <openssl/evp.h>

#include <mailshelf/mem.h>

#include "blob_internal.h"

enum { MEMORY_MAX = 256 * 1024 };

struct blob_draft *
blob_draft_new(struct kv_db *db, const char *dir)
{
	struct blob_draft *d = SHELF_NEW(struct blob_draft);

	d->db = db;
	d->dir = shelf_strdup(dir);
	d->fd = -1;
	d->sha = EVP_MD_CTX_new();
	SHELF_ASSERT(d->sha != NULL && EVP_DigestInit_ex(d->sha, EVP_sha256(), NULL) == 1);
	return d;
}

struct blob_draft *
blob_draft_headed(struct blob_draft *base, struct shelf_span head)
{
	struct blob_draft *d = blob_draft_new(base->db, base->dir);

	SHELF_ASSERT(base->base == NULL && head.len > 0 && head.len <= BLOB_HEAD_MAX);
	d->base = base;
	shelf_buf_add_span(&d->head, head);
	return d;
}

static int
from_errno(void)
{
	return errno == ENOSPC || errno == EDQUOT ? SHELF_EFULL : SHELF_EIO;
}

static int
spill(struct blob_draft *d)
{
	size_t done = 0;

	if (d->fd < 0) {
		d->fd = open(d->dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
		if (d->fd < 0)
			return from_errno();
	}
	while (done < d->packed.len) {
		ssize_t n = write(d->fd, d->packed.data + done, d->packed.len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return from_errno();
		done += (size_t)n;
	}
	shelf_buf_clear(&d->packed);
	return 0;
}

static int
end_frame(struct blob_draft *d)
{
	size_t before = d->packed.len;
	int rc;

	if (d->nframes == BLOB_FRAMES_MAX)
		return SHELF_ETOOBIG;
	if (d->frame_bytes == NULL)
		d->frame_bytes = shelf_alloc(BLOB_FRAMES_MAX * sizeof(*d->frame_bytes));
	if ((rc = blob_zstd_pack(shelf_buf_span(&d->raw), NULL, &d->packed)) != 0)
		return rc;
	d->frame_bytes[d->nframes++] = (uint32_t)(d->packed.len - before);
	d->stored += d->packed.len - before;
	shelf_buf_clear(&d->raw);
	return d->packed.len > MEMORY_MAX || d->fd >= 0 ? spill(d) : 0;
}

int
blob_draft_add(struct blob_draft *d, const void *data, size_t len)
{
	const uint8_t *p = data;
	int rc;

	if (EVP_DigestUpdate(d->sha, data, len) != 1)
		return SHELF_ENOMEM;
	if (d->base != NULL) {
		d->size += len;
		return d->size > (uint64_t)BLOB_FRAMES_MAX * BLOB_FRAME_BYTES ? SHELF_ETOOBIG : 0;
	}
	while (len > 0) {
		size_t room = BLOB_FRAME_BYTES - d->raw.len;
		size_t n = len < room ? len : room;

		shelf_buf_add(&d->raw, p, n);
		d->size += n;
		p += n;
		len -= n;
		if (d->raw.len == BLOB_FRAME_BYTES && (rc = end_frame(d)) != 0)
			return rc;
	}
	return 0;
}

int
blob_draft_end(struct blob_draft *d, struct shelf_span derived)
{
	uint8_t sha[EVP_MAX_MD_SIZE];
	int rc;

	if (d->size > BLOB_DICT_MAX && d->raw.len > 0 && (rc = end_frame(d)) != 0)
		return rc;
	if (EVP_DigestFinal_ex(d->sha, sha, NULL) != 1)
		return SHELF_ENOMEM;
	memcpy(d->hash, sha, BLOB_HASH_BYTES);
	if (d->size > BLOB_DICT_MAX)
		shelf_buf_free(&d->raw);
	shelf_buf_add_span(&d->derived, derived);
	return 0;
}

struct shelf_span
blob_draft_derived(const struct blob_draft *d)
{
	return shelf_buf_span(&d->derived);
}

uint64_t
blob_draft_size(const struct blob_draft *d)
{
	return d->size;
}

const uint8_t *
blob_draft_hash(const struct blob_draft *d)
{
	return d->hash;
}

int
blob_draft_read(const struct blob_draft *d, uint64_t offset, void *out, size_t len)
{
	uint8_t *p = out;

	if (d->fd < 0) {
		memcpy(out, d->packed.data + offset, len);
		return 0;
	}
	while (len > 0) {
		ssize_t n = pread(d->fd, p, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return SHELF_EIO;
		p += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* Frames that are compressed already. */
static int
each_frame(const struct blob_draft *d, int (*fn)(void *arg, const void *data, size_t len), void *arg)
{
	struct shelf_buf packed = {0}, frame = {0};
	uint64_t offset = 0;
	int rc = 0;

	for (uint32_t n = 0; n < d->nframes && rc == 0; n++) {
		shelf_buf_clear(&packed);
		shelf_buf_clear(&frame);
		shelf_buf_reserve(&packed, d->frame_bytes[n]);
		rc = blob_draft_read(d, offset, packed.data, d->frame_bytes[n]);
		packed.len = d->frame_bytes[n];
		offset += packed.len;
		if (rc == 0 &&
		    (rc = blob_zstd_unpack(shelf_buf_span(&packed), BLOB_FRAME_BYTES, NULL, &frame)) == 0)
			rc = fn(arg, frame.data, frame.len);
	}
	shelf_buf_free(&packed);
	shelf_buf_free(&frame);
	return rc;
}

int
blob_draft_each(const struct blob_draft *d, int (*fn)(void *arg, const void *data, size_t len), void *arg)
{
	int rc;

	if (d->base != NULL)
		return (rc = fn(arg, d->head.data, d->head.len)) != 0 ? rc : blob_draft_each(d->base, fn, arg);
	if (d->nframes > 0)
		return each_frame(d, fn, arg);
	return d->raw.len > 0 ? fn(arg, d->raw.data, d->raw.len) : 0;
}

/* ---- Large drafts are written ahead of their link ----------------------------------------------- */

static int
put_chunk(struct kv_txn *txn, enum kv_table table, uint64_t id, uint32_t n, struct shelf_span bytes)
{
	struct blob_key key = blob_chunk_key(id, n);

	if (bytes.len == BLOB_CHUNK_BYTES)
		return kv_put(txn, table, blob_key_span(&key), bytes);
	key = blob_key(id);
	return kv_put_cut(txn, table, blob_key_span(&key), n, bytes);
}

int
blob_put_bytes(struct kv_txn *txn, enum kv_table table, uint64_t id, struct shelf_span bytes)
{
	int rc = 0;

	for (uint32_t n = 0; rc == 0 && bytes.len > 0; n++) {
		size_t len = bytes.len < BLOB_CHUNK_BYTES ? bytes.len : BLOB_CHUNK_BYTES;

		rc = put_chunk(txn, table, id, n, shelf_span(bytes.data, len));
		bytes = shelf_span(bytes.data + len, bytes.len - len);
	}
	return rc;
}

enum { STAGE_ABOVE_CHUNKS = 128, STAGE_SLICE_CHUNKS = 256 };

struct stage {
	struct blob_draft *draft;
	uint64_t id;
	uint32_t next, end;
};

/* Takes an id and leaves a job behind, so that a crash before the link costs no space for ever. */
static int
stage_begin(struct kv_txn *txn, void *arg)
{
	struct stage *s = arg;
	int rc = blob_new_id(txn, &s->id);

	return rc != 0 ? rc : blob_job_begin(txn, BLOB_JOB_STAGED, s->id, s->draft->stored);
}

int
blob_put_chunks(struct kv_txn *txn, const struct blob_draft *d, uint64_t id, uint32_t from,
		uint32_t to)
{
	uint8_t bytes[BLOB_CHUNK_BYTES];
	int rc;

	for (uint32_t n = from; n < to; n++) {
		uint64_t offset = (uint64_t)n * BLOB_CHUNK_BYTES;
		uint64_t left = d->stored - offset;
		size_t len = left < BLOB_CHUNK_BYTES ? (size_t)left : BLOB_CHUNK_BYTES;

		if ((rc = blob_draft_read(d, offset, bytes, len)) != 0 ||
		    (rc = put_chunk(txn, KV_CHUNK, id, n, shelf_span(bytes, len))) != 0)
			return rc;
	}
	return 0;
}

static int
stage_slice(struct kv_txn *txn, void *arg)
{
	struct stage *s = arg;

	return blob_put_chunks(txn, s->draft, s->id, s->next, s->end);
}

static int
stage(struct blob_draft *d, uint32_t shard)
{
	uint32_t chunks = (uint32_t)((d->stored + BLOB_CHUNK_BYTES - 1) / BLOB_CHUNK_BYTES);
	struct stage s = {.draft = d};
	int rc;

	if (chunks <= STAGE_ABOVE_CHUNKS || d->id[shard] != 0)
		return 0;
	if ((rc = kv_update_shard(d->db, shard, KV_ADDS | KV_QUIET, stage_begin, &s)) != 0)
		return rc;
	d->id[shard] = s.id;
	d->stage[shard] = BLOB_STAGING;
	while (s.next < chunks) {
		s.end = chunks - s.next > STAGE_SLICE_CHUNKS ? s.next + STAGE_SLICE_CHUNKS : chunks;
		if ((rc = kv_update_shard(d->db, shard, KV_ADDS | KV_QUIET, stage_slice, &s)) != 0)
			return rc;
		s.next = s.end;
	}
	d->stage[shard] = BLOB_STAGED;
	return 0;
}

/* ---- Compressed for a shard --------------------------------------------------------------------- */

int
blob_draft_prepare(struct blob_draft *d, uint32_t shard)
{
	struct kv_view *view = NULL;
	struct blob_form *form;
	struct blob_dicts dicts;
	int rc;

	if (d->base != NULL && (rc = blob_draft_prepare(d->base, shard)) != 0)
		return rc;
	if (d->form[shard] != NULL)
		return 0;
	if ((rc = stage(d, shard)) != 0 || (rc = kv_view_begin_shard(d->db, shard, &view)) != 0)
		return rc;
	form = SHELF_NEW(struct blob_form);
	if ((rc = blob_dicts_get(view, &dicts)) == 0)
		rc = blob_form_make(view, dicts.current, d->stored > 0 || d->base != NULL ? NULL : &d->raw,
				    shelf_buf_span(&d->derived), form);
	kv_view_end(&view);
	if (rc == 0)
		d->form[shard] = form;
	else
		blob_form_free(&form);
	return rc;
}

void
blob_draft_unprepare(struct blob_draft *d, uint32_t shard)
{
	struct blob_form *form = atomic_exchange(&d->form[shard], NULL);

	blob_form_free(&form);
	if (d->base != NULL)
		blob_draft_unprepare(d->base, shard);
}

void
blob_draft_expect(struct blob_draft *d, uint32_t shard, uint64_t blob)
{
	SHELF_ASSERT(d->form[shard] == NULL);
	d->id[shard] = blob;
}

uint64_t
blob_draft_id(const struct blob_draft *d, uint32_t shard)
{
	return d->id[shard];
}

/* A staged draft nobody linked becomes a blob to remove. */
static int
unstage(struct kv_txn *txn, void *arg)
{
	int rc = blob_give_up_staged(txn, *(uint64_t *)arg);

	return rc == SHELF_EMISSING ? 0 : rc; /* it was linked */
}

void
blob_draft_free(struct blob_draft **draft)
{
	struct blob_draft *d = *draft;

	if (d == NULL)
		return;
	*draft = NULL;
	/* A linked draft is freed without a commit: doors do it on their loops. */
	for (uint32_t shard = 0; shard < KV_SHARDS_MAX; shard++) {
		if (d->stage[shard] != BLOB_STAGING && d->stage[shard] != BLOB_STAGED)
			continue;
		if (kv_update_shard(d->db, shard, KV_QUIET, unstage, &d->id[shard]) != 0)
			continue; /* removed by age later */
	}
	d->base = NULL; /* it is its owner's */
	for (uint32_t shard = 0; shard < KV_SHARDS_MAX; shard++)
		blob_draft_unprepare(d, shard);
	free(d->frame_bytes);
	shelf_buf_free(&d->head);
	if (d->fd >= 0)
		close(d->fd);
	EVP_MD_CTX_free(d->sha);
	shelf_buf_free(&d->raw);
	shelf_buf_free(&d->packed);
	shelf_buf_free(&d->derived);
	free(d->dir);
	free(d);
}
