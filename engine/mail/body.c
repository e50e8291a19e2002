/* body.c - reading a message's bytes by range, one frame in memory */
#include <stdlib.h>

#include <mailshelf/mem.h>

#include "mail.h"

struct shelf_body {
	struct shelf_store *store;
	uint32_t shard; /* where it was read from; what moves away stays there for a while */
	uint64_t blob, size;
	uint32_t frame; /* the one in BYTES; UINT32_MAX: none */
	struct shelf_buf bytes;
};

int
shelf_body_open(struct shelf_store *store, uint32_t account, uint64_t blob, struct shelf_body **out)
{
	struct kv_view *view = NULL;
	struct shelf_body *b;
	struct blob_row row;
	int rc;

	*out = NULL;
	if ((rc = kv_view_begin_shard(store->kv, mail_handle_shard(blob), &view)) != 0)
		return rc;
	rc = blob_get(view, mail_handle_blob(blob), &row);
	kv_view_end(&view);
	if (rc != 0)
		return rc == SHELF_EMISSING ? SHELF_ENOMESSAGE : rc;
	b = SHELF_NEW(struct shelf_body);
	*b = (struct shelf_body){store, mail_handle_shard(blob), mail_handle_blob(blob), row.size, UINT32_MAX, {0}};
	*out = b;
	return 0;
}

uint64_t
shelf_body_size(const struct shelf_body *b)
{
	return b->size;
}

static int
load(struct shelf_body *b, uint32_t frame)
{
	struct kv_view *view = NULL;
	struct blob_row row;
	int rc;

	b->frame = UINT32_MAX;
	if ((rc = kv_view_begin_shard(b->store->kv, b->shard, &view)) != 0)
		return rc;
	if ((rc = blob_get(view, b->blob, &row)) == 0)
		rc = blob_read_frame(view, b->blob, &row, frame, &b->bytes);
	kv_view_end(&view);
	if (rc == 0)
		b->frame = frame;
	return rc == SHELF_EMISSING ? SHELF_ENOMESSAGE : rc;
}

int
shelf_body_read(struct shelf_body *b, uint64_t offset, size_t max, struct shelf_span *out)
{
	uint32_t frame = (uint32_t)(offset / BLOB_FRAME_BYTES);
	size_t skip = offset % BLOB_FRAME_BYTES;
	int rc;

	*out = shelf_span(NULL, 0);
	if (offset >= b->size || max == 0)
		return 0;
	if (frame != b->frame && (rc = load(b, frame)) != 0)
		return rc;
	if (skip >= b->bytes.len)
		return SHELF_ECORRUPT;
	*out =
	    shelf_span(b->bytes.data + skip, b->bytes.len - skip < max ? b->bytes.len - skip : max);
	return 0;
}

void
shelf_body_close(struct shelf_body **body)
{
	struct shelf_body *b = *body;

	if (b == NULL)
		return;
	*body = NULL;
	shelf_buf_free(&b->bytes);
	free(b);
}
