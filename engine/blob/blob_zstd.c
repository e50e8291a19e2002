/*
 * blob_zstd.c - frames of zstd, with a dictionary or without
 *
 * A context costs some hundred KiB and a millisecond to make, so a few are kept in a list. What is in a
 * frame is not trusted: its content size must be there and within the caller's bound.
 */
#include <pthread.h>
#include <zstd.h>

#include "blob_internal.h"

enum { KEPT_MAX = 16 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static ZSTD_CCtx *packers[KEPT_MAX];
static ZSTD_DCtx *unpackers[KEPT_MAX];
static unsigned npackers, nunpackers;

static ZSTD_CCtx *
take_packer(void)
{
	ZSTD_CCtx *c = NULL;

	pthread_mutex_lock(&lock);
	if (npackers > 0)
		c = packers[--npackers];
	pthread_mutex_unlock(&lock);
	if (c == NULL && (c = ZSTD_createCCtx()) != NULL) {
		ZSTD_CCtx_setParameter(c, ZSTD_c_compressionLevel, BLOB_ZSTD_LEVEL);
		ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1);
		ZSTD_CCtx_setParameter(c, ZSTD_c_dictIDFlag, 0); /* the blob's row names it */
	}
	return c;
}

static void
give_packer(ZSTD_CCtx *c)
{
	pthread_mutex_lock(&lock);
	if (npackers < KEPT_MAX) {
		packers[npackers++] = c;
		c = NULL;
	}
	pthread_mutex_unlock(&lock);
	ZSTD_freeCCtx(c);
}

static ZSTD_DCtx *
take_unpacker(void)
{
	ZSTD_DCtx *d = NULL;

	pthread_mutex_lock(&lock);
	if (nunpackers > 0)
		d = unpackers[--nunpackers];
	pthread_mutex_unlock(&lock);
	return d != NULL ? d : ZSTD_createDCtx();
}

static void
give_unpacker(ZSTD_DCtx *d)
{
	pthread_mutex_lock(&lock);
	if (nunpackers < KEPT_MAX) {
		unpackers[nunpackers++] = d;
		d = NULL;
	}
	pthread_mutex_unlock(&lock);
	ZSTD_freeDCtx(d);
}

int
blob_zstd_pack(struct shelf_span raw, struct blob_zdict *dict, struct shelf_buf *out)
{
	size_t bound = ZSTD_compressBound(raw.len), n;
	const ZSTD_CDict *cdict = NULL;
	ZSTD_CCtx *c;

	if (dict != NULL && (cdict = blob_zdict_packing(dict)) == NULL)
		return SHELF_ENOMEM;
	if ((c = take_packer()) == NULL)
		return SHELF_ENOMEM;
	ZSTD_CCtx_refCDict(c, cdict);
	n = ZSTD_compress2(c, shelf_buf_reserve(out, bound), bound, raw.data, raw.len);
	ZSTD_CCtx_refCDict(c, NULL);
	give_packer(c);
	if (ZSTD_isError(n))
		return SHELF_ENOMEM;
	out->len += n;
	return 0;
}

int
blob_zstd_unpack(struct shelf_span packed, size_t size_max, struct blob_zdict *dict,
		 struct shelf_buf *out)
{
	unsigned long long size = ZSTD_getFrameContentSize(packed.data, packed.len);
	const ZSTD_DDict *ddict = NULL;
	ZSTD_DCtx *d;
	size_t n;

	if (size == ZSTD_CONTENTSIZE_UNKNOWN || size == ZSTD_CONTENTSIZE_ERROR || size > size_max)
		return SHELF_ECORRUPT;
	if (dict != NULL && (ddict = blob_zdict_unpacking(dict)) == NULL)
		return SHELF_ENOMEM;
	if ((d = take_unpacker()) == NULL)
		return SHELF_ENOMEM;
	n = ZSTD_decompress_usingDDict(d, shelf_buf_reserve(out, (size_t)size), (size_t)size,
				       packed.data, packed.len, ddict);
	give_unpacker(d);
	if (ZSTD_isError(n) || n != size)
		return SHELF_ECORRUPT;
	out->len += n;
	return 0;
}

size_t
blob_zstd_frame_len(struct shelf_span packed)
{
	size_t n = ZSTD_findFrameCompressedSize(packed.data, packed.len);

	return ZSTD_isError(n) ? 0 : n;
}
