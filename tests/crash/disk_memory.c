/*
 * disk_memory.c - allocation that fails when it is told to
 *
 * The linker sends malloc, calloc and realloc of this program, of LMDB and of zstd here (--wrap; both are
 * linked statically for that), and calls to __real_malloc to the allocator.
 *
 * ZSTD_createCDict of zstd 1.5.4 uses what it could not allocate, and so does ZSTD_createCDict_advanced, which
 * its trainer calls; each counts as one call, which fails as it says that it would.
 */
#define ZSTD_STATIC_LINKING_ONLY
#include <stdlib.h>
#include <zstd.h>

#include "disk_inside.h"

void *__real_ZSTD_createCDict(const void *dict, size_t len, int level);
void *__wrap_ZSTD_createCDict(const void *dict, size_t len, int level);
ZSTD_CDict *__real_ZSTD_createCDict_advanced(const void *dict, size_t len, ZSTD_dictLoadMethod_e how,
    ZSTD_dictContentType_e what, ZSTD_compressionParameters params, ZSTD_customMem memory);
ZSTD_CDict *__wrap_ZSTD_createCDict_advanced(const void *dict, size_t len, ZSTD_dictLoadMethod_e how,
    ZSTD_dictContentType_e what, ZSTD_compressionParameters params, ZSTD_customMem memory);
void *__real_malloc(size_t len);
void *__real_calloc(size_t count, size_t len);
void *__real_realloc(void *p, size_t len);
void *__wrap_malloc(size_t len);
void *__wrap_calloc(size_t count, size_t len);
void *__wrap_realloc(void *p, size_t len);

void *
__wrap_malloc(size_t len)
{
	return disk_fails(DISK_MEMORY) ? NULL : __real_malloc(len);
}

void *
__wrap_calloc(size_t count, size_t len)
{
	return disk_fails(DISK_MEMORY) ? NULL : __real_calloc(count, len);
}

void *
__wrap_realloc(void *p, size_t len)
{
	return disk_fails(DISK_MEMORY) ? NULL : __real_realloc(p, len);
}

void *
__wrap_ZSTD_createCDict(const void *dict, size_t len, int level)
{
	void *made;

	if (disk_fails(DISK_MEMORY))
		return NULL;
	disk_pause();
	made = __real_ZSTD_createCDict(dict, len, level);
	disk_resume();
	return made;
}

ZSTD_CDict *
__wrap_ZSTD_createCDict_advanced(const void *dict, size_t len, ZSTD_dictLoadMethod_e how,
    ZSTD_dictContentType_e what, ZSTD_compressionParameters params, ZSTD_customMem memory)
{
	ZSTD_CDict *made;

	if (disk_fails(DISK_MEMORY))
		return NULL;
	disk_pause();
	made = __real_ZSTD_createCDict_advanced(dict, len, how, what, params, memory);
	disk_resume();
	return made;
}
