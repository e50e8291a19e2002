/*
 * kv_lmdb.c - LMDB behind a dozen functions; the only file that includes lmdb.h
 *
 * What must stay true: no LMDB code or errno leaves this file untranslated; MDB_NOTLS, so that a read
 * transaction belongs to a view and not to a thread; default durability (no NOSYNC, NOMETASYNC or
 * WRITEMAP); data.mdb is never opened by anything else, because closing another descriptor of it
 * would drop this process's fcntl locks.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>
#include <lmdb.h>
#include <mailshelf/log.h>
#include <mailshelf/mem.h>
#include "kv_internal.h"

enum {
	MAX_READERS = 4096, /* fixed by whoever opens lock.mdb first: the same everywhere */
	LOCK_FILE_BYTES = (MAX_READERS + 64) * 64, /* a slot is a cache line; the head is a few */
	PATH_BYTES = 4096,
	MAX_TABLES = 40,
	OPEN_TRIES = 50,
	OPEN_PAUSE_US = 10000,
	/* Of LMDB's pages of 4,096 bytes: what rows can use, what a row has in front, how long one in
	 * a page can be (mdb.c, me_nodemax). They only decide how well pages are filled. */
	PAGE_ROOM_BYTES = 4080,
	NODE_HEAD_BYTES = 8,
	NODE_MAX_BYTES = 2038,
};

static void
sleep_us(long us)
{
	struct timespec ts = {0, us * 1000};

	nanosleep(&ts, NULL);
}

/* EIO from a commit is what LMDB makes of a short write, and a short write is what a disk gives
 * that has room for half of it: only the file system can tell a full disk from a broken one. */
static bool
disk_is_full(struct kv_file *file)
{
	struct statvfs fs;
	struct rlimit limit;
	struct stat st;
	int fd = kv_lmdb_fd(file);
	uint64_t margin = 1 << 20;

	if (fstat(fd, &st) == 0 && getrlimit(RLIMIT_FSIZE, &limit) == 0 &&
	    limit.rlim_cur != RLIM_INFINITY && (uint64_t)st.st_size + margin > limit.rlim_cur)
		return true;
	if (fstatvfs(fd, &fs) != 0)
		return false;
	return (geteuid() == 0 ? fs.f_bfree : fs.f_bavail) * (uint64_t)fs.f_frsize < margin;
}

static int
translate(struct kv_file *file, int mrc, const char *what)
{
	int rc = SHELF_EIO;

	switch (mrc) {
	case MDB_SUCCESS:
		return 0;
	case MDB_NOTFOUND:
		return SHELF_EMISSING;
	case MDB_MAP_FULL:
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return SHELF_EFULL;
	case MDB_READERS_FULL:
		return SHELF_EBUSY;
	case MDB_BAD_VALSIZE:
		rc = SHELF_EINVALID;
		break;
	case ENOMEM:
		rc = SHELF_ENOMEM;
		break;
	case ENOENT:
		rc = SHELF_EMISSING;
		break;
	case MDB_VERSION_MISMATCH:
		rc = SHELF_EVERSION;
		break;
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_INVALID:
	case MDB_CURSOR_FULL:
		rc = SHELF_ECORRUPT;
		break;
	case MDB_PANIC:
		atomic_store(&file->dead, true);
		break;
	case EIO:
		if (file->mdb != NULL && disk_is_full(file))
			return SHELF_EFULL;
		break;
	}
	shelf_log(SHELF_LOG_ERROR, "kv failed", "what", "%s", what, "shard", "%u", file->env->shard, "error",
	    "%s", mdb_strerror(mrc), NULL);
	return rc;
}

/* ---- Environments --------------------------------------------------------------------------- */

/*
 * LMDB writes the reader table through a mapping of lock.mdb, a sparse file: on a full disk the first
 * use of a slot would be a SIGBUS. So its blocks are allocated now. Closing a descriptor of lock.mdb
 * drops this process's locks on it, hence before LMDB opens it and never again.
 */
static int
allocate_lock_file(struct kv_file *file, const char *path)
{
	char name[PATH_BYTES];
	int fd, err = 0;

	if (snprintf(name, sizeof name, "%s/lock.mdb", path) >= (int)sizeof name)
		return SHELF_EINVALID;
	fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return errno == ENOENT ? SHELF_EMISSING : translate(file, errno, "open lock file");
	while (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, LOCK_FILE_BYTES) != 0) {
		if (errno == EINTR)
			continue;
		err = errno == EOPNOTSUPP || errno == ENOSYS ? 0 : errno;
		break;
	}
	close(fd);
	return translate(file, err, "allocate lock file");
}

static int
open_tables(struct kv_file *file, unsigned txn_flags, unsigned dbi_flags)
{
	MDB_txn *txn = NULL;
	int mrc = mdb_txn_begin(file->mdb, NULL, txn_flags, &txn);

	for (int t = 0; mrc == 0 && t < KV_TABLES; t++) {
		if (kv_lives_in(file->env, (enum kv_table)t))
			mrc = mdb_dbi_open(txn, kv_name_of[t], dbi_flags, &file->dbi[t]);
	}
	if (mrc == 0)
		mrc = mdb_dbi_open(txn, "kv", dbi_flags, &file->dbi[KV_OWN]);
	/* A handle opened in an aborted transaction is void, so even the reading one commits. */
	if (mrc == 0)
		return mdb_txn_commit(txn);
	if (txn != NULL)
		mdb_txn_abort(txn);
	return mrc;
}

static int
open_once(struct kv_file *file, const char *path, bool create)
{
	MDB_stat stat;
	int mrc = mdb_env_create(&file->mdb);

	if (mrc == 0)
		mrc = mdb_env_set_maxreaders(file->mdb, MAX_READERS);
	if (mrc == 0)
		mrc = mdb_env_set_maxdbs(file->mdb, MAX_TABLES);
	if (mrc == 0)
		mrc = mdb_env_set_mapsize(file->mdb, file->env->map_bytes);
	if (mrc == 0)
		mrc = mdb_env_open(file->mdb, path, MDB_NOTLS | MDB_NORDAHEAD, 0600);
	/* Reading first: a process that opens the store need not wait for another one's writing. */
	if (mrc == 0)
		mrc = open_tables(file, MDB_RDONLY, 0);
	if (mrc == MDB_NOTFOUND)
		mrc = open_tables(file, 0, MDB_CREATE);
	if (mrc == 0)
		mrc = mdb_env_stat(file->mdb, &stat);
	if (mrc == 0)
		file->page_bytes = stat.ms_psize;
	if (mrc != 0) {
		mdb_env_close(file->mdb);
		file->mdb = NULL;
	}
	return mrc;
}

int
kv_lmdb_open(struct kv_file *file, const char *path, bool create)
{
	char name[PATH_BYTES];
	struct stat st;
	int mrc = 0, rc;

	if (!create) {
		/* LMDB would make a new, empty environment where the old one was lost. */
		if (snprintf(name, sizeof name, "%s/data.mdb", path) >= (int)sizeof name)
			return SHELF_EINVALID;
		if (stat(name, &st) != 0 || st.st_size == 0)
			return SHELF_EMISSING;
	}
	rc = allocate_lock_file(file, path);
	if (rc != 0)
		return rc;
	/* Opening while another process opens or closes can fail for a moment. */
	for (int i = 0; i < OPEN_TRIES; i++) {
		mrc = open_once(file, path, create);
		if (mrc != EINVAL && mrc != EAGAIN)
			break;
		sleep_us(OPEN_PAUSE_US);
	}
	if (mrc == ENOENT)
		return SHELF_EMISSING; /* the caller knows whether that is an error */
	if (mrc != 0)
		return translate(file, mrc, "open");
	kv_lmdb_clear_readers(file);
	return 0;
}

void
kv_lmdb_close(struct kv_file *file)
{
	if (file->mdb != NULL)
		mdb_env_close(file->mdb);
	file->mdb = NULL;
}

/* ---- Transactions ------------------------------------------------------------------------------ */

int
kv_lmdb_read_begin(struct kv_file *file, MDB_txn **out)
{
	int mrc = mdb_txn_begin(file->mdb, NULL, MDB_RDONLY, out);

	if (mrc == MDB_READERS_FULL) {
		kv_lmdb_clear_readers(file);
		mrc = mdb_txn_begin(file->mdb, NULL, MDB_RDONLY, out);
	}
	return translate(file, mrc, "begin reading");
}

int
kv_lmdb_read_renew(struct kv_file *file, MDB_txn *txn)
{
	return translate(file, mdb_txn_renew(txn), "renew");
}

void
kv_lmdb_read_reset(MDB_txn *txn)
{
	mdb_txn_reset(txn);
}

int
kv_lmdb_write_begin(struct kv_file *file, MDB_txn **out)
{
	if (atomic_load(&file->dead))
		return SHELF_EIO;
	return translate(file, mdb_txn_begin(file->mdb, NULL, 0, out), "begin writing");
}

void
kv_lmdb_abort(MDB_txn *txn)
{
	mdb_txn_abort(txn);
}

/*
 * After an error from writing or syncing pages nothing has happened: the meta page still names the
 * old tree. Only an error from writing the meta page leaves it open what a reopened file will show;
 * LMDB then refuses every later transaction with MDB_PANIC, and that is how the two are told apart.
 */
int
kv_lmdb_commit(struct kv_file *file, MDB_txn *txn)
{
	MDB_txn *probe = NULL;
	int mrc = mdb_txn_commit(txn), probed, rc;

	if (mrc == 0)
		return 0;
	rc = translate(file, mrc, "commit");
	probed = mdb_txn_begin(file->mdb, NULL, 0, &probe);
	if (probed == 0) {
		mdb_txn_abort(probe);
	} else if (probed == MDB_PANIC) {
		translate(file, probed, "commit, its outcome is unknown");
		rc = SHELF_EUNKNOWN;
	}
	return rc;
}

/* The commit's number of the whole environment, over all the files it has had. */
uint64_t
kv_lmdb_number(struct kv_file *file, MDB_txn *txn)
{
	return file->base + mdb_txn_id(txn);
}

int
kv_lmdb_lazy(struct kv_file *file, bool on)
{
	return translate(file, mdb_env_set_flags(file->mdb, MDB_NOSYNC, on), "set flags");
}

int
kv_lmdb_sync(struct kv_file *file)
{
	return translate(file, mdb_env_sync(file->mdb, 1), "sync");
}

/* ---- Rows ----------------------------------------------------------------------------------------- */

static MDB_val
val_of(struct shelf_span s)
{
	return (MDB_val){s.len, (void *)(uintptr_t)s.data};
}

static struct shelf_span
span_of(const MDB_val *v)
{
	return shelf_span(v->mv_data, v->mv_size);
}

int
kv_lmdb_get(struct kv_file *file, MDB_txn *txn, unsigned table, struct shelf_span key,
    struct shelf_span *value_out)
{
	MDB_val k = val_of(key), v;
	int mrc = mdb_get(txn, file->dbi[table], &k, &v);

	if (mrc == 0)
		*value_out = span_of(&v);
	return translate(file, mrc, "get");
}

/* Blob ids only grow: appending leaves full leaf pages behind. */
static bool
appends(unsigned table)
{
	return table == KV_CHUNK || table == KV_DERIVED || table == KV_BLOB;
}

static size_t
leaf_pages(struct kv_file *file, MDB_txn *txn, unsigned table)
{
	MDB_stat st;

	return mdb_stat(txn, file->dbi[table], &st) == 0 ? st.ms_leaf_pages : 0;
}

/* Bytes of a leaf page that a row takes, with its place in the index. */
static uint32_t
node_bytes(size_t key_len, size_t value_len)
{
	size_t len = NODE_HEAD_BYTES + key_len + value_len;

	if (len > NODE_MAX_BYTES) /* the value has pages of its own and the row their number */
		len = NODE_HEAD_BYTES + key_len + sizeof(size_t);
	return (uint32_t)(((len + 1) & ~(size_t)1) + sizeof(uint16_t));
}

/* LMDB does not say how full a page is, but it counts them: a row that made a page is alone on it. */
static void
note_appended(struct kv_file *file, MDB_txn *txn, unsigned table, size_t pages_before,
    uint32_t bytes)
{
	struct kv_leaf *leaf = &file->leaf[table];
	uint64_t id = mdb_txn_id(txn);

	if (leaf_pages(file, txn, table) != pages_before)
		leaf->used = bytes;
	else if (leaf->txn + 1 < id || leaf->used == 0)
		leaf->used = 0; /* others wrote in between: not known until the next page begins */
	else
		leaf->used += bytes;
	leaf->txn = id;
}

size_t
kv_lmdb_room(struct kv_file *file, MDB_txn *txn, unsigned table, size_t key_len)
{
	const struct kv_leaf *leaf = &file->leaf[table];
	uint32_t head = node_bytes(key_len, 0), room;

	if (leaf->used == 0 || leaf->txn + 1 < mdb_txn_id(txn))
		return SIZE_MAX;
	room = leaf->used < PAGE_ROOM_BYTES ? (PAGE_ROOM_BYTES - leaf->used) & ~1u : 0;
	return room > head ? room - head : 0;
}

size_t
kv_lmdb_inline_max(size_t key_len)
{
	return NODE_MAX_BYTES - NODE_HEAD_BYTES - key_len;
}

int
kv_lmdb_put(struct kv_file *file, MDB_txn *txn, unsigned table, struct shelf_span key,
    struct shelf_span value)
{
	MDB_val k = val_of(key), v = val_of(value);
	size_t pages = 0;
	int mrc = MDB_KEYEXIST;

	/* LMDB compares with the last key itself and answers MDB_KEYEXIST, having touched nothing, when
	 * this one is not behind it. */
	if (appends(table)) {
		pages = leaf_pages(file, txn, table);
		mrc = mdb_put(txn, file->dbi[table], &k, &v, MDB_APPEND);
		if (mrc == 0)
			note_appended(file, txn, table, pages, node_bytes(key.len, value.len));
	}
	if (mrc == MDB_KEYEXIST)
		mrc = mdb_put(txn, file->dbi[table], &k, &v, 0);
	return translate(file, mrc, "put");
}

int
kv_lmdb_del(struct kv_file *file, MDB_txn *txn, unsigned table, struct shelf_span key)
{
	MDB_val k = val_of(key);

	return translate(file, mdb_del(txn, file->dbi[table], &k, NULL), "del");
}

int
kv_lmdb_append(struct kv_file *file, MDB_txn *txn, unsigned table, struct shelf_span key,
    struct shelf_span value)
{
	MDB_val k = val_of(key), v = val_of(value);

	return translate(file, mdb_put(txn, file->dbi[table], &k, &v, MDB_APPEND), "append");
}

int
kv_lmdb_count(struct kv_file *file, MDB_txn *txn, unsigned table, uint64_t *out)
{
	MDB_stat stat;
	int mrc = mdb_stat(txn, file->dbi[table], &stat);

	*out = mrc == 0 ? stat.ms_entries : 0;
	return translate(file, mrc, "count");
}

int
kv_lmdb_cursor_open(struct kv_file *file, MDB_txn *txn, unsigned table, MDB_cursor **out)
{
	return translate(file, mdb_cursor_open(txn, file->dbi[table], out), "open cursor");
}

static int
cursor_get(struct kv_file *file, MDB_cursor *cursor, MDB_val *k, MDB_cursor_op op, struct shelf_span *key,
    struct shelf_span *value)
{
	MDB_val v;
	int mrc = mdb_cursor_get(cursor, k, &v, op);

	if (mrc == MDB_NOTFOUND)
		return 0;
	if (mrc != 0)
		return translate(file, mrc, "scan");
	*key = span_of(k);
	*value = span_of(&v);
	return 1;
}

int
kv_lmdb_cursor_seek(struct kv_file *file, MDB_cursor *cursor, struct shelf_span from,
    struct shelf_span *key, struct shelf_span *value)
{
	MDB_val k = val_of(from);

	if (from.len == 0)
		return cursor_get(file, cursor, &k, MDB_FIRST, key, value);
	return cursor_get(file, cursor, &k, MDB_SET_RANGE, key, value);
}

int
kv_lmdb_cursor_next(struct kv_file *file, MDB_cursor *cursor, struct shelf_span *key,
    struct shelf_span *value)
{
	MDB_val k;

	return cursor_get(file, cursor, &k, MDB_NEXT, key, value);
}

void
kv_lmdb_cursor_close(MDB_cursor *cursor)
{
	mdb_cursor_close(cursor);
}

/* ---- Numbers ---------------------------------------------------------------------------------------- */

void
kv_lmdb_info(struct kv_file *file, struct kv_lmdb_info *out)
{
	MDB_envinfo info = {0};

	mdb_env_info(file->mdb, &info);
	out->pages = info.me_last_pgno + 1;
	out->number = file->base + info.me_last_txnid;
	out->readers = info.me_numreaders;
}

/* Pages freed by the transactions FROM .. TO - 1. */
struct freed {
	uint64_t from, to, pages;
};

/* The free list is table 0: key the transaction that freed, value a count and that many pages. LMDB
 * lets only read transactions look at it. */
static int
sum_freed(struct kv_file *file, MDB_txn *txn, struct freed *sum, size_t n)
{
	MDB_cursor *cursor = NULL;
	MDB_val k, v;
	size_t freed_by, count;
	int mrc = mdb_cursor_open(txn, 0, &cursor);

	while (mrc == 0 && (mrc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) == 0) {
		if (k.mv_size != sizeof freed_by || v.mv_size < sizeof count) {
			mrc = MDB_CORRUPTED;
			break;
		}
		memcpy(&freed_by, k.mv_data, sizeof freed_by);
		memcpy(&count, v.mv_data, sizeof count);
		for (size_t i = 0; i < n; i++)
			if (freed_by >= sum[i].from && freed_by < sum[i].to)
				sum[i].pages += count;
	}
	if (cursor != NULL)
		mdb_cursor_close(cursor);
	return mrc == MDB_NOTFOUND ? 0 : translate(file, mrc, "free list");
}

/* What the last commit freed waits for one more commit. */
int
kv_lmdb_free_pages(struct kv_file *file, uint64_t *usable_out, uint64_t *total_out)
{
	struct freed sum[2] = {{.to = 0}, {.to = UINT64_MAX}};
	MDB_txn *txn = NULL;
	int rc = kv_lmdb_read_begin(file, &txn);

	if (rc == 0) {
		sum[0].to = mdb_txn_id(txn);
		rc = sum_freed(file, txn, sum, 2);
		mdb_txn_abort(txn);
	}
	*usable_out = sum[0].pages;
	*total_out = sum[1].pages;
	return rc;
}

/* "pid thread transaction", or "-" when it reads nothing just now. */
static int
read_reader(const char *line, void *arg)
{
	struct kv_lmdb_reader *oldest = arg;
	size_t thread, txnid;
	int pid;

	if (sscanf(line, "%d %zx %zu", &pid, &thread, &txnid) == 3 && txnid < oldest->txnid)
		*oldest = (struct kv_lmdb_reader){.pid = pid, .txnid = txnid};
	return 0;
}

int
kv_lmdb_oldest_reader(struct kv_file *file, struct kv_lmdb_reader *out)
{
	struct freed held = {0};
	MDB_txn *txn = NULL;
	int rc = kv_lmdb_read_begin(file, &txn);

	*out = (struct kv_lmdb_reader){.txnid = UINT64_MAX};
	if (rc != 0)
		return rc;
	mdb_reader_list(file->mdb, read_reader, out);
	held.from = out->txnid;
	held.to = mdb_txn_id(txn);
	if (held.from < held.to)
		rc = sum_freed(file, txn, &held, 1);
	out->behind = held.from < held.to ? held.to - held.from : 0;
	out->held_pages = held.pages;
	mdb_txn_abort(txn);
	return rc;
}

void
kv_lmdb_clear_readers(struct kv_file *file)
{
	int dead = 0;

	if (mdb_reader_check(file->mdb, &dead) == 0 && dead > 0)
		atomic_fetch_add(&file->env->stale_cleared, (unsigned)dead);
}

int
kv_lmdb_fd(struct kv_file *file)
{
	mdb_filehandle_t fd = -1;

	mdb_env_get_fd(file->mdb, &fd);
	return fd;
}
