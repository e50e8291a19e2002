/*
 * imap_cold.c - who had to wait for the disk makes the store cold for a while
 *
 * Reading the store is reading memory, until that memory must come from the disk: then a loop stands still with
 * all its connections. The kernel counts such waits of a thread as its major faults; asking costs a system call.
 */
#include <stdatomic.h>
#include <sys/resource.h>

#include "imap.h"
#include "imap_cold.h"

enum { COLD_MS = 5000 }; /* for so long after the last wait for the disk */

static _Atomic int64_t cold_until_ms;

long
imap_cold_begin(void)
{
	struct rusage usage;

	return getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_majflt : 0;
}

void
imap_cold_end(long begun)
{
	if (imap_cold_begin() != begun)
		atomic_store(&cold_until_ms, shelf_mono_ms() + COLD_MS);
}

bool
imap_cold(void)
{
#ifdef SHELF_SLOW_CHECKS
	/* Tests have no cold stores: every other time somebody asks, it is one all the same. */
	static _Atomic unsigned asked;

	if (atomic_fetch_add(&asked, 1) % 2 == 1)
		return true;
#endif
	return shelf_mono_ms() < atomic_load(&cold_until_ms);
}
