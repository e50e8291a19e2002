/*
 * blob_zstd.c - the only file of the engine that calls zstd
 *
 * A context costs some hundred KiB and a millisecond to make, so a few are kept in a list. What is in a
 * frame is not trusted: its content size must be there and within the caller's bound.
 */
#include <pthread.h>
#include <zstd.h>

#include "blob_internal.h"

enum { LEVEL = 3, KEPT_MAX = 16 };

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
		ZSTD_CCtx_setParameter(c, ZSTD_c_compressionLevel, LEVEL);
		ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1);
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
blob_zstd_pack(struct shelf_span raw, struct shelf_buf *out)
{
	size_t bound = ZSTD_compressBound(raw.len), n;
	ZSTD_CCtx *c = take_packer();

	if (c == NULL)
		return SHELF_ENOMEM;
	n = ZSTD_compress2(c, shelf_buf_reserve(out, bound), bound, raw.data, raw.len);
	give_packer(c);
	if (ZSTD_isError(n))
		return SHELF_ENOMEM;
	out->len += n;
	return 0;
}

int
blob_zstd_unpack(struct shelf_span packed, size_t size_max, struct shelf_buf *out)
{
	unsigned long long size = ZSTD_getFrameContentSize(packed.data, packed.len);
	ZSTD_DCtx *d;
	size_t n;

	if (size == ZSTD_CONTENTSIZE_UNKNOWN || size == ZSTD_CONTENTSIZE_ERROR || size > size_max)
		return SHELF_ECORRUPT;
	if ((d = take_unpacker()) == NULL)
		return SHELF_ENOMEM;
	n = ZSTD_decompressDCtx(d, shelf_buf_reserve(out, (size_t)size), (size_t)size, packed.data,
				packed.len);
	give_unpacker(d);
	if (ZSTD_isError(n) || n != size)
		return SHELF_ECORRUPT;
	out->len += n;
	return 0;
}
