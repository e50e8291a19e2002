/*
 * draft.c - a message being received
 *
 *   shelf_draft_new --> write ... write --> finish --> append, deliver, any number of times --> free
 *                          \___________________\____________________________________________/
 * One pass feeds the blob (hash, compression) and the MIME scan; nobody sees the bytes twice, and nothing is
 * visible in the store before an append.
 */
#include <stdlib.h>

#include <openssl/evp.h>

#include <mailshelf/mem.h>
#include <mailshelf/mime.h>

#include "draft.h"
#include "mail.h"

enum { HEADED_START_BYTES = 256 };

struct shelf_draft {
	struct blob_draft *blob;
	struct mime_scan *scan;
	struct shelf_arena arena; /* of the scan */
	bool finished;
	EVP_MD_CTX *sha; /* of what is sent again when it is; NULL: nobody asks */
	uint8_t identity[EVP_MAX_MD_SIZE];
	int64_t sent_s;
	int rc; /* of the first write that failed: the draft is good for nothing any more */
};

int
shelf_draft_new(struct shelf_store *store, struct shelf_draft **out)
{
	struct shelf_draft *d = SHELF_NEW(struct shelf_draft);

	d->blob = blob_draft_new(store->kv, store->tmp_dir);
	d->scan = mime_scan_new(&d->arena);
	*out = d;
	return 0;
}

void
shelf_draft_identify(struct shelf_draft *d, struct shelf_span envelope)
{
	SHELF_ASSERT(!d->finished && d->sha == NULL);
	d->sha = EVP_MD_CTX_new();
	SHELF_ASSERT(d->sha != NULL && EVP_DigestInit_ex(d->sha, EVP_sha256(), NULL) == 1 &&
		     EVP_DigestUpdate(d->sha, &envelope.len, sizeof(envelope.len)) == 1 &&
		     EVP_DigestUpdate(d->sha, envelope.data, envelope.len) == 1);
}

const uint8_t *
shelf_draft_identity(const struct shelf_draft *d)
{
	SHELF_ASSERT(d->finished);
	return d->sha == NULL ? NULL : d->identity;
}

int
shelf_draft_write(struct shelf_draft *d, const void *data, size_t len)
{
	SHELF_ASSERT(!d->finished);
	if (d->sha != NULL && EVP_DigestUpdate(d->sha, data, len) != 1)
		d->rc = SHELF_ENOMEM;
	if (d->rc == 0 && (d->rc = blob_draft_add(d->blob, data, len)) == 0)
		mime_scan_feed(d->scan, data, len);
	return d->rc;
}

int
shelf_draft_finish(struct shelf_draft *d)
{
	struct shelf_buf record = {0};
	struct mime_part *root;

	SHELF_ASSERT(!d->finished);
	if (d->rc != 0)
		return d->rc;
	if (d->sha != NULL && EVP_DigestFinal_ex(d->sha, d->identity, NULL) != 1)
		return d->rc = SHELF_ENOMEM;
	root = mime_scan_end(&d->scan);
	d->sent_s = root->envelope->sent_s;
	mime_record_encode(root, &record);
	shelf_arena_free(&d->arena);
	d->rc = blob_draft_end(d->blob, shelf_buf_span(&record));
	shelf_buf_free(&record);
	d->finished = d->rc == 0;
	return d->rc;
}

static int
take_piece(void *draft, const void *data, size_t len)
{
	return shelf_draft_write(draft, data, len);
}

static int
take_bytes(void *blob, const void *data, size_t len)
{
	return blob_draft_add(blob, data, len);
}

static int
note_start(void *start, const void *data, size_t len)
{
	shelf_buf_add(start, data, len < HEADED_START_BYTES ? len : HEADED_START_BYTES);
	return 1;
}

/* The record of the whole out of the base's, without looking at its bytes. False: they have to be scanned. */
static bool
record_of_headed(const struct shelf_draft *base, struct shelf_span head, struct shelf_buf *record)
{
	struct shelf_buf start = {0};
	bool made = blob_draft_each(base->blob, note_start, &start) == 1 &&
		    mime_record_headed(blob_draft_derived(base->blob), shelf_buf_span(&start), head, record);

	shelf_buf_free(&start);
	return made;
}

int
mail_draft_headed(struct shelf_draft *base, struct shelf_span head, struct shelf_draft **out)
{
	struct shelf_draft *d = SHELF_NEW(struct shelf_draft);
	struct shelf_buf record = {0};
	int rc;

	SHELF_ASSERT(base->finished);
	d->blob = blob_draft_headed(base->blob, head);
	if (record_of_headed(base, head, &record)) {
		if ((rc = blob_draft_each(d->blob, take_bytes, d->blob)) == 0)
			rc = blob_draft_end(d->blob, shelf_buf_span(&record));
		d->sent_s = base->sent_s;
		d->finished = rc == 0;
	} else {
		d->scan = mime_scan_new(&d->arena);
		if ((rc = blob_draft_each(d->blob, take_piece, d)) == 0)
			rc = shelf_draft_finish(d);
	}
	shelf_buf_free(&record);
	if (rc != 0)
		shelf_draft_free(&d);
	*out = d;
	return rc;
}

uint64_t
shelf_draft_size(const struct shelf_draft *d)
{
	return blob_draft_size(d->blob);
}

const uint8_t *
shelf_draft_email_id(const struct shelf_draft *d)
{
	return blob_draft_hash(d->blob);
}

struct blob_draft *
mail_draft_blob(const struct shelf_draft *d)
{
	SHELF_ASSERT(d->finished);
	return d->blob;
}

int64_t
mail_draft_sent(const struct shelf_draft *d)
{
	SHELF_ASSERT(d->finished);
	return d->sent_s;
}

void
shelf_draft_free(struct shelf_draft **draft)
{
	struct shelf_draft *d = *draft;

	if (d == NULL)
		return;
	*draft = NULL;
	EVP_MD_CTX_free(d->sha);
	mime_scan_free(&d->scan);
	shelf_arena_free(&d->arena);
	blob_draft_free(&d->blob);
	free(d);
}
