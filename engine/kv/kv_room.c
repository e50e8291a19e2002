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
 *          a disk that something else has filled.
 *
 * What must stay true: an update without KV_ADDS is never refused here, and never pays for counting.
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
	STEP_MAX_BYTES = 16 << 20,
	STEP_MIN_BYTES = 256 << 10,
	PROBE_MS = 1000,
};

uint64_t
kv_room_cost(const struct kv_env *env, size_t len)
{
	/* A leaf and a part of its path; a large value has a page of its own. */
	return 2 + (len > env->page_bytes / 2 - 64 ? 1 + len / env->page_bytes : 0);
}

static int
check_map(struct kv_txn *txn, const struct kv_lmdb_info *info)
{
	struct kv_env *env = txn->env;
	uint64_t all = env->map_bytes / env->page_bytes, usable, total;
	uint64_t keep = env->reserve_bytes / env->page_bytes + MARGIN_PAGES;
	uint64_t left = all > info->pages ? all - info->pages : 0;
	int rc;

	if (left > keep + FAR_BYTES / env->page_bytes) {
		txn->room_pages = UINT64_MAX;
		return 0;
	}
	rc = kv_lmdb_free_pages(env, &usable, &total);
	if (rc != 0)
		return rc;
	txn->room_pages = left + usable > keep ? left + usable - keep : 0;
	if (txn->pages < txn->room_pages)
		return 0;
	return left + total > keep + txn->pages ? KV_ROOM_TURN : SHELF_EFULL;
}

static bool
disk_has(struct kv_env *env, uint64_t bytes)
{
	struct statvfs fs;

	if (fstatvfs(kv_lmdb_fd(env), &fs) != 0)
		return true; /* cannot know: a commit that fails is still handled */
	return (uint64_t)fs.f_bavail * fs.f_frsize >= bytes;
}

/* Allocates blocks up to byte END of the file without making it longer. That does not ask for the
 * process's file size limit, which writing would run into. */
static bool
allocate(struct kv_env *env, uint64_t from, uint64_t end)
{
	struct rlimit limit;
	int rc;

	if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && end > limit.rlim_cur)
		return false;
	do {
		rc = fallocate(kv_lmdb_fd(env), FALLOC_FL_KEEP_SIZE, (off_t)from, (off_t)(end - from));
	} while (rc != 0 && errno == EINTR);
	if (rc == 0)
		return true;
	if (errno != EOPNOTSUPP && errno != ENOSYS)
		return false;
	env->no_fallocate = true;
	return disk_has(env, end - from);
}

static int
check_disk(struct kv_txn *txn, const struct kv_lmdb_info *info)
{
	struct kv_env *env = txn->env;
	uint64_t step = env->reserve_bytes, end, want, target;
	int64_t now_ms;

	if (step > STEP_MAX_BYTES)
		step = STEP_MAX_BYTES;
	if (step < STEP_MIN_BYTES)
		step = STEP_MIN_BYTES;
	end = (info->pages + txn->pages) * env->page_bytes;
	want = end + step < env->map_bytes ? end + step : env->map_bytes;
	if (env->reserved_end >= want)
		return 0;
	now_ms = kv_coarse_ms();
	if (env->disk_full && now_ms < env->probe_ms)
		return SHELF_EFULL;
	/* A little more, so that not every group comes here. */
	target = want + step / 4 < env->map_bytes ? want + step / 4 : env->map_bytes;
	if (env->no_fallocate) {
		env->disk_full = !disk_has(env, target - info->pages * env->page_bytes);
	} else {
		uint64_t from = info->pages * env->page_bytes;

		if (env->reserved_end > from)
			from = env->reserved_end;
		env->disk_full = !allocate(env, from, target);
		if (!env->disk_full)
			env->reserved_end = target;
	}
	env->probe_ms = now_ms + PROBE_MS;
	return env->disk_full ? SHELF_EFULL : 0;
}

int
kv_room_check(struct kv_txn *txn)
{
	struct kv_lmdb_info info;
	int rc = 0;

	if (!txn->room_known) {
		kv_lmdb_info(txn->env, &info);
		rc = check_map(txn, &info);
		if (rc == 0)
			rc = check_disk(txn, &info);
		txn->room_known = rc == 0;
	} else if (txn->pages >= txn->room_pages) {
		rc = SHELF_EFULL;
	}
	if (rc <= 0)
		atomic_store_explicit(&txn->env->full, rc == SHELF_EFULL, memory_order_relaxed);
	return rc;
}
