/* blob_frame.c - the compression of this room for bytes that are no blob: sections of a backup file */
#include "blob_internal.h"

int
blob_frame_pack(struct shelf_span raw, struct shelf_buf *out)
{
	return blob_zstd_pack(raw, NULL, out);
}

int
blob_frame_unpack(struct shelf_span packed, size_t size_max, struct shelf_buf *out)
{
	return blob_zstd_unpack(packed, size_max, NULL, out);
}
