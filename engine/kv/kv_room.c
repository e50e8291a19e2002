/*
 * kv_room.c - who may still take room
 *
 * Two things run out, the map and the disk, and deleting needs a little of both (a changed page is
 * written elsewhere first). So updates with KV_ADDS stop while reserve_bytes are left of each:
 *
 *   map    pages behind the last one, plus the free list where that is not enough. The free list is
 *          only counted near the limit. What the last commit freed can be used after one more commit;
 *          when that would do, the committer makes one (KV_ROOM_TURN).
 *   disk   blocks behind the file's end are allocated ahead (fallocate), so that deletes find room on
 *          a disk that something else has filled. While that fails, the blocks there are and the free
 *          pages of the file are what adding may use, but for the reserve.
 *
 * Updates with KV_KEEPS, which remove and keep a trace that may be larger, stop at half of that.
 *
 * What must stay true: an update without either is never refused here, and never pays for counting.
 * Runs on the committer's thread, inside its write transaction: the numbers do not move meanwhile.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include "kv_internal.h"

enum {
	MARGIN_PAGES = 64,          /* inner pages of the trees, the free list itself */
	FAR_BYTES = 64 << 20,       /* further from the limit than any group goes: nothing is counted */
	GAIN_PAGES = 64,            /* freed by the last commit: worth a commit to have them */
	COMFORT_PAGES = 1024,       /* but not while there are so many others */
	STEP_MAX_BYTES = 16 << 20,
	STEP_MIN_BYTES = 256 << 10,
	ROWS_A_PAGE = 4,            /* of updates with KV_KEEPS */
};

uint64_t
kv_room_cost(const struct kv_file *file, size_t len)
{
	/* A leaf and a part of its path; a large value has a page of its own. */
	return 2 + (len > file->page_bytes / 2 - 64 ? 1 + len / file->page_bytes : 0);
}

uint64_t
kv_room_keep_pages(const struct kv_file *file)
{
	return file->env->reserve_bytes / file->page_bytes + MARGIN_PAGES;
}

static bool
disk_has(struct kv_file *file, uint64_t bytes)
{
	struct statvfs fs;

	if (fstatvfs(kv_lmdb_fd(file), &fs) != 0)
		return true; /* cannot know: a commit that fails is still handled */
	return (uint64_t)fs.f_bavail * fs.f_frsize >= bytes;
}

/* Allocates blocks up to byte END of the file without making it longer. That does not ask for the
 * process's file size limit, which writing would run into. */
static bool
allocate(struct kv_file *file, uint64_t from, uint64_t end)
{
	struct rlimit limit;
	int rc;

	if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && end > limit.rlim_cur)
		return false;
	do {
		rc = fallocate(kv_lmdb_fd(file), FALLOC_FL_KEEP_SIZE, (off_t)from, (off_t)(end - from));
	} while (rc != 0 && errno == EINTR);
	if (rc == 0)
		return true;
	if (errno != EOPNOTSUPP && errno != ENOSYS)
		return false;
	return disk_has(file, end - from);
}

/* Blocks that adding must leave behind the file's end. */
static uint64_t
disk_step(const struct kv_env *env)
{
	if (env->reserve_bytes > STEP_MAX_BYTES)
		return STEP_MAX_BYTES;
	return env->reserve_bytes < STEP_MIN_BYTES ? STEP_MIN_BYTES : env->reserve_bytes;
}

/* Allocates ahead of byte END, where this group's writing may end; the file ends at FROM now. False: the
 * disk is full, and kv_file.reserved_end says how far it was possible. */
static bool
reserve_blocks(struct kv_file *file, uint64_t from, uint64_t end)
{
	uint64_t step = disk_step(file->env);
	uint64_t want = end + step < file->env->map_bytes ? end + step : file->env->map_bytes;
	uint64_t target = want + step / 4; /* so that not every group comes here */
	int64_t now_ms = kv_coarse_ms();

	if (file->reserved_end >= want || from >= file->env->map_bytes)
		return true;
	if (file->disk_full && now_ms < file->probe_ms)
		return false;
	file->probe_ms = now_ms + kv_retry_ms;
	if (target > file->env->map_bytes)
		target = file->env->map_bytes;
	file->disk_full = !allocate(file, from, target);
	if (!file->disk_full) {
		file->reserved_end = target;
		return true;
	}
	for (step /= 2; step >= file->page_bytes && file->reserved_end < from + step; step /= 2)
		if (allocate(file, from, from + step))
			file->reserved_end = from + step;
	return false;
}

/* LEFT: pages that can still be had behind the file's end; KEEP: how many of them adding must leave. */
static int
check_pages(struct kv_txn *txn, unsigned kind, uint64_t left, uint64_t keep)
{
	uint64_t usable, total, limit;
	bool room;
	int rc;

	if (left > keep + FAR_BYTES / txn->view.file->page_bytes) {
		txn->room_pages = txn->spare_pages = UINT64_MAX;
		return 0;
	}
	rc = kv_lmdb_free_pages(txn->view.file, &usable, &total);
	if (rc != 0)
		return rc;
	txn->room_pages = left + usable > keep ? left + usable - keep : 0;
	txn->spare_pages = left + usable > keep / 2 ? left + usable - keep / 2 : 0;
	limit = kind == KV_ADDS ? txn->room_pages : txn->spare_pages;
	room = txn->pages < limit;
	if (kind == KV_KEEPS)
		keep /= 2;
	if (txn->turned)
		return room ? 0 : SHELF_EFULL;
	if (total >= usable + GAIN_PAGES && limit < txn->pages + COMFORT_PAGES)
		return KV_ROOM_TURN;
	if (room)
		return 0;
	return left + total > keep + txn->pages ? KV_ROOM_TURN : SHELF_EFULL;
}

static int
check(struct kv_txn *txn, unsigned kind)
{
	struct kv_file *file = txn->view.file;
	struct kv_lmdb_info info;
	uint64_t all = file->env->map_bytes / file->page_bytes, left, ahead, end;
	uint64_t keep = kv_room_keep_pages(file);

	kv_lmdb_info(file, &info);
	left = all > info.pages ? all - info.pages : 0;
	end = info.pages * file->page_bytes;
	if (!reserve_blocks(file, end, end + txn->pages * file->page_bytes)) {
		/* A full disk is a map that ends where the blocks end. */
		ahead = file->reserved_end > end ? (file->reserved_end - end) / file->page_bytes : 0;
		if (ahead < left) {
			left = ahead;
			keep = disk_step(file->env) / file->page_bytes + MARGIN_PAGES;
		}
	}
	return check_pages(txn, kind, left, keep);
}

bool
kv_room_has(const struct kv_txn *txn, uint64_t cost)
{
	if ((txn->job->flags & KV_ADDS) != 0)
		return txn->pages + cost <= txn->room_pages;
	/* What removes and keeps goes from row to row, so that many share a page: the estimate of single
	 * writes would refuse it where there is room for ten times as much. */
	if ((txn->job->flags & KV_KEEPS) != 0)
		return txn->job_pages + txn->job_writes / ROWS_A_PAGE + cost <= txn->spare_pages;
	return true;
}

int
kv_room_check(struct kv_txn *txn, unsigned kind)
{
	int rc = 0;

	if ((txn->room_known & kind) == 0) {
		rc = check(txn, kind);
		txn->room_known |= rc == 0 ? kind : 0;
	} else if (txn->pages >= (kind == KV_ADDS ? txn->room_pages : txn->spare_pages)) {
		rc = SHELF_EFULL;
	}
	if (rc <= 0 && kind == KV_ADDS)
		atomic_store_explicit(&txn->env->full, rc == SHELF_EFULL, memory_order_relaxed);
	return rc;
}
