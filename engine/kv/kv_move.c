/*
 * kv_move.c - generations: which file of an environment is the present one
 *
 *   HOME/part-00/             generation 1, as kv_create made it
 *   HOME/part-00.2/ ...       the later ones; a compaction makes each from the one before (kv_compact.c)
 *   HOME/part-00.generation   text "generation N": where to begin looking; not there: 1
 *   HOME/part-00.lock         empty; flock'ed by who makes or removes generations
 *   HOME/part-00.gone/        on its way out
 *
 * The truth stands in the files: the row "moved" of the table KV_OWN names the next generation, and it is
 * the last row ever written to a file. So a crash at any moment leaves exactly one file that is
 * reached and not left; whatever else lies there is removed by the next one who opens or compacts.
 *
 * What must stay true: the next generation is complete and on disk before "moved" is; "moved" is on disk
 * before anything is acknowledged that stands only in the next generation, before the text names that, and before
 * the left one is removed; the text never goes back. A directory is renamed before it is emptied: LMDB would
 * make a new, empty file in it for somebody who is just opening it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>
#include <mailshelf/log.h>
#include <mailshelf/mem.h>
#include "base.h"
#include "kv_internal.h"

enum { OPEN_TRIES = 16, NAME_BYTES = 32, TEXT_BYTES = 64, LOCK_TRIES = 50, LOCK_PAUSE_MS = 20 };

/* ---- Names ---------------------------------------------------------------------------------------- */

static void
env_name(const struct kv_env *env, char *name)
{
	if (env->shard == KV_SHARDS_MAX)
		snprintf(name, NAME_BYTES, "catalog");
	else
		snprintf(name, NAME_BYTES, "part-%02u", env->shard);
}

static char *
path_of(const struct kv_env *env, const char *suffix)
{
	struct shelf_buf b = {0};
	char name[NAME_BYTES];

	env_name(env, name);
	shelf_buf_printf(&b, "%s/%s%s", env->home, name, suffix);
	shelf_buf_cstr(&b);
	return (char *)b.data;
}

char *
kv_move_path(const struct kv_env *env, uint32_t generation)
{
	char suffix[NAME_BYTES] = "";

	if (generation > 1)
		snprintf(suffix, sizeof suffix, ".%u", generation);
	return path_of(env, suffix);
}

/* ---- The text ------------------------------------------------------------------------------------- */

static int
read_text(const struct kv_env *env, uint32_t *generation_out)
{
	char *path = path_of(env, ".generation"), text[TEXT_BYTES];
	uint64_t n = 0;
	int rc = kv_read_text(path, text, sizeof text);

	*generation_out = 1;
	if (rc == 0 && (!kv_text_number(text, "generation", &n) || n < 1 || n >= UINT32_MAX))
		rc = SHELF_ECORRUPT;
	if (rc == 0)
		*generation_out = (uint32_t)n;
	if (rc == SHELF_ECORRUPT)
		shelf_log(SHELF_LOG_ERROR, "kv generation unreadable", "file", "%s", path, NULL);
	free(path);
	return rc == SHELF_EMISSING ? 0 : rc;
}

static int
write_text(const struct kv_env *env, uint32_t generation)
{
	char *path = path_of(env, ".generation"), text[TEXT_BYTES];
	int rc;

	snprintf(text, sizeof text, "generation %u\n", generation);
	rc = kv_write_text(env->home, path, shelf_span_str(text));
	free(path);
	return rc;
}

/* ---- Following ------------------------------------------------------------------------------------ */

int
kv_move_left(struct kv_file *file, struct MDB_txn *txn, uint32_t *next_out)
{
	struct shelf_span value;
	int rc = kv_lmdb_get(file, txn, KV_OWN, shelf_span_str("moved"), &value);

	*next_out = 0;
	if (rc != 0)
		return rc == SHELF_EMISSING ? 0 : rc;
	if (value.len != 4)
		return SHELF_ECORRUPT;
	*next_out = base_get_be32(value.data);
	return *next_out > file->generation ? 1 : SHELF_ECORRUPT;
}

static int
read_base(struct kv_file *file, struct MDB_txn *txn)
{
	struct shelf_span value;
	int rc = kv_lmdb_get(file, txn, KV_OWN, shelf_span_str("base"), &value);

	if (rc == SHELF_EMISSING)
		return 0;
	if (rc == 0 && value.len != 8)
		rc = SHELF_ECORRUPT;
	if (rc == 0)
		file->base = base_get_be64(value.data);
	return rc;
}

/* Opens GENERATION; as kv_move_left. */
static int
open_one(struct kv_env *env, uint32_t generation, struct kv_file **out, uint32_t *next_out)
{
	struct kv_file *file = kv_file_new(env, generation);
	struct MDB_txn *txn = NULL;
	char *path = kv_move_path(env, generation);
	int rc = kv_lmdb_open(file, path, false);

	if (rc == 0)
		rc = kv_lmdb_read_begin(file, &txn);
	if (rc == 0)
		rc = read_base(file, txn);
	if (rc == 0)
		rc = kv_move_left(file, txn, next_out);
	if (txn != NULL)
		kv_lmdb_abort(txn);
	if (rc == 1) {
		/* Whoever wrote "moved" may have died before it was on disk. */
		int sync_rc = kv_lmdb_sync(file);

		rc = sync_rc != 0 ? sync_rc : 1;
	}
	if (rc != 0)
		kv_file_free(&file);
	free(path);
	*out = file;
	return rc;
}

/* The present file, looked for from generation FROM or where the text says. */
static int
open_present(struct kv_env *env, uint32_t from, struct kv_file **out)
{
	uint32_t generation, failed = 0;
	int rc = 1;

	*out = NULL;
	for (int i = 0; rc != 0 && i < OPEN_TRIES; i++) {
		if (read_text(env, &generation) != 0)
			return SHELF_ECORRUPT;
		if (generation < from)
			generation = from;
		if (generation == failed)
			break; /* not because another process removed it meanwhile */
		rc = open_one(env, generation, out, &from);
		if (rc < 0)
			failed = generation;
	}
	if (rc == SHELF_EMISSING) {
		char *path = kv_move_path(env, generation);

		shelf_log(SHELF_LOG_ERROR, "kv data missing", "directory", "%s", path, NULL);
		free(path);
	}
	return rc == 1 || rc == SHELF_EMISSING ? SHELF_ECORRUPT : rc;
}

int
kv_move_follow(struct kv_file *left, uint32_t next)
{
	struct kv_env *env = left->env;
	struct kv_file *file;
	int rc = 0;

	pthread_mutex_lock(&env->move_lock);
	if (env->file == left) {
		rc = kv_lmdb_sync(left); /* as in open_one */
		if (rc == 0)
			rc = open_present(env, next, &file);
		if (rc == 0)
			kv_file_replace(env, file);
	}
	pthread_mutex_unlock(&env->move_lock);
	return rc;
}

/* ---- Removing ------------------------------------------------------------------------------------- */

int
kv_move_lock(struct kv_env *env, int *fd_out)
{
	char *path = path_of(env, ".lock");
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600), rc = 0;

	if (fd < 0)
		rc = kv_system_error("open", path);
	else if (flock(fd, LOCK_EX | LOCK_NB) != 0)
		rc = errno == EWOULDBLOCK ? SHELF_EBUSY : kv_system_error("lock", path);
	if (rc != 0 && fd >= 0)
		close(fd);
	*fd_out = rc == 0 ? fd : -1;
	free(path);
	return rc;
}

int
kv_move_lock_patiently(struct kv_env *env, int *fd_out)
{
	int rc = SHELF_EBUSY;

	for (int i = 0; rc == SHELF_EBUSY && i < LOCK_TRIES; i++) {
		if (i > 0)
			nanosleep(&(struct timespec){0, LOCK_PAUSE_MS * 1000000L}, NULL);
		rc = kv_move_lock(env, fd_out);
	}
	return rc;
}

static int
empty_dir(const char *path)
{
	static const char *const names[] = {"data.mdb", "lock.mdb"};
	struct shelf_buf file = {0};

	for (size_t i = 0; i < 2; i++) {
		shelf_buf_clear(&file);
		shelf_buf_printf(&file, "%s/%s", path, names[i]);
		if (unlink(shelf_buf_cstr(&file)) != 0 && errno != ENOENT) {
			shelf_buf_free(&file);
			return kv_system_error("remove", path);
		}
	}
	shelf_buf_free(&file);
	return rmdir(path) == 0 || errno == ENOENT ? 0 : kv_system_error("remove", path);
}

static int
remove_dir(const struct kv_env *env, const char *path)
{
	char *gone = path_of(env, ".gone");
	int rc = empty_dir(gone);

	if (rc == 0 && strcmp(path, gone) != 0) {
		if (rename(path, gone) != 0)
			rc = kv_system_error("rename", path);
		else
			rc = empty_dir(gone);
	}
	free(gone);
	return rc;
}

/* Is NAME a directory of this environment, but not the one of GENERATION? */
static bool
is_other(const struct kv_env *env, const char *name, uint32_t generation)
{
	char own[NAME_BYTES];
	uint64_t number = 1;
	size_t len;

	env_name(env, own);
	len = strlen(own);
	if (strncmp(name, own, len) != 0)
		return false;
	if (strcmp(name + len, ".gone") == 0)
		return true;
	if (name[len] != '\0' && (name[len] != '.' ||
	    !shelf_span_u64(shelf_span_str(name + len + 1), UINT32_MAX, &number)))
		return false;
	return number != generation;
}

/* Counts the other generations, and removes them if asked to. */
static int
others(const struct kv_env *env, uint32_t generation, bool removing, unsigned *count_out)
{
	struct shelf_buf path = {0};
	DIR *dir = opendir(env->home);
	struct dirent *e;
	int rc = dir == NULL ? kv_system_error("read", env->home) : 0;

	*count_out = 0;
	while (rc == 0 && (e = readdir(dir)) != NULL) {
		if (!is_other(env, e->d_name, generation))
			continue;
		++*count_out;
		shelf_buf_clear(&path);
		shelf_buf_printf(&path, "%s/%s", env->home, e->d_name);
		if (removing)
			rc = remove_dir(env, shelf_buf_cstr(&path));
	}
	if (dir != NULL)
		closedir(dir);
	shelf_buf_free(&path);
	return rc;
}

int
kv_move_settle(struct kv_env *env, uint32_t generation)
{
	uint32_t written;
	unsigned count;
	int rc = read_text(env, &written);

	if (rc == 0 && written < generation)
		rc = write_text(env, generation);
	return rc != 0 ? rc : others(env, generation, true, &count);
}

/* What dead compactors left. Nothing depends on it, so that it may fail. */
static void
tidy(struct kv_env *env)
{
	struct kv_view *view = NULL;
	uint32_t written;
	unsigned count;
	int fd;

	if (read_text(env, &written) != 0 || others(env, env->file->generation, false, &count) != 0)
		return;
	if ((count == 0 && written == env->file->generation) || kv_move_lock(env, &fd) != 0)
		return;
	/* Under the lock nothing moves, but it may have until it was taken. */
	if (kv_file_view(env, &view) == 0) {
		if (kv_move_settle(env, view->file->generation) != 0)
			shelf_log(SHELF_LOG_WARN, "kv leftovers stay", "shard", "%u", env->shard, NULL);
		kv_file_view_end(view);
	}
	close(fd);
}

int
kv_move_open(struct kv_env *env)
{
	struct kv_file *file;
	int rc = open_present(env, 1, &file);

	if (rc != 0)
		return rc;
	kv_file_replace(env, file);
	tidy(env);
	return 0;
}

int
kv_move_file(const struct kv_env *env, struct shelf_buf *path_out)
{
	uint32_t generation = 1;
	int rc = read_text(env, &generation);
	char *path = kv_move_path(env, generation);

	shelf_buf_clear(path_out);
	shelf_buf_printf(path_out, "%s/data.mdb", path);
	if (rc == 0 && access(shelf_buf_cstr(path_out), F_OK) != 0)
		rc = SHELF_EMISSING;
	free(path);
	return rc;
}
