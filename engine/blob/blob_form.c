/*
 * blob_form.c - a message and its derived data as one shard stores them
 *
 * Made outside any transaction. The derived data begin with a byte: 0 they are plain, 1 a zstd frame follows.
 */
#include <stdlib.h>

#include "blob_internal.h"

/* The byte, then whichever is shorter. */
static int
pack_derived(struct shelf_span raw, struct blob_zdict *dict, struct blob_form *form)
{
	struct shelf_buf *out = &form->derived;
	int rc;

	shelf_buf_add_byte(out, BLOB_DERIVED_ZSTD);
	if ((rc = blob_zstd_pack(raw, dict, out)) != 0)
		return rc;
	if (out->len > raw.len) {
		shelf_buf_clear(out);
		shelf_buf_add_byte(out, BLOB_DERIVED_PLAIN);
		shelf_buf_add_span(out, raw);
		form->derived_dict = 0;
	}
	return 0;
}

int
blob_form_make(struct kv_view *view, const uint32_t dicts[BLOB_KINDS], const struct shelf_buf *raw,
	       struct shelf_span derived, struct blob_form *form)
{
	struct blob_zdict *dict = NULL;
	int rc = 0;

	if (raw != NULL) {
		form->dict = dicts[BLOB_BODY];
		if ((rc = blob_dict_open(view, form->dict, &dict)) == 0)
			rc = blob_zstd_pack(shelf_buf_span(raw), dict, &form->body);
		blob_zdict_give(&dict);
	}
	form->derived_dict = dicts[BLOB_DERIVED];
	if (rc == 0 && (rc = blob_dict_open(view, form->derived_dict, &dict)) == 0)
		rc = pack_derived(derived, dict, form);
	blob_zdict_give(&dict);
	return rc;
}

void
blob_form_free(struct blob_form **form)
{
	if (*form == NULL)
		return;
	shelf_buf_free(&(*form)->body);
	shelf_buf_free(&(*form)->derived);
	free(*form);
	*form = NULL;
}
