/*
 * kv_dir.c - a database as a directory
 *
 *   DIR/kv.conf      text: format, shards, map_bytes, reserve_bytes; written last by kv_create and
 *                    never again, so that its presence says that the rest is complete
 *   DIR/catalog/     data.mdb lock.mdb
 *   DIR/part-00/ ... the same, one per shard
 *
 * What must stay true: one process opens a database once. LMDB's locks belong to the process: a second
 * environment on the same file would drop those of the first when it closes. Hence the registry.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <mailshelf/log.h>
#include <mailshelf/mem.h>
#include "kv_internal.h"

enum {
	FORMAT = 1,
	CONF_MAX_BYTES = 1024,
	MAP_UNIT_BYTES = 4096,
	MAP_MIN_BYTES = 1 << 20,
};

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct kv_db *registry;

int
kv_system_error(const char *what, const char *path)
{
	int err = errno;

	shelf_log(SHELF_LOG_ERROR, "kv failed", "what", "%s", what, "path", "%s", path, "error", "%s",
	    strerror(err), NULL);
	return err == ENOSPC || err == EDQUOT || err == EFBIG ? SHELF_EFULL : SHELF_EIO;
}

static bool
params_valid(const struct kv_params *p)
{
	return p->shards >= 1 && p->shards <= KV_SHARDS_MAX && p->map_bytes >= MAP_MIN_BYTES &&
	    p->map_bytes % MAP_UNIT_BYTES == 0 && p->map_bytes <= SIZE_MAX / 2 &&
	    p->reserve_bytes <= p->map_bytes / 2;
}

/* ---- Environments -------------------------------------------------------------------------------- */

static void
env_init(struct kv_env *env, struct kv_db *db, uint32_t shard, const char *home)
{
	pthread_condattr_t attr;

	env->db = db;
	env->shard = shard;
	env->home = shelf_strdup(home);
	env->map_bytes = db->map_bytes;
	env->reserve_bytes = db->reserve_bytes;
	env->tail = &env->head;
	pthread_mutex_init(&env->lock, NULL);
	pthread_mutex_init(&env->file_lock, NULL);
	pthread_mutex_init(&env->move_lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&env->work, &attr);
	pthread_condattr_destroy(&attr);
}

static void
env_done(struct kv_env *env)
{
	SHELF_ASSERT(atomic_load(&env->views) == 0); /* a view outlived its database */
	if (env->file != NULL)
		kv_file_replace(env, NULL);
	pthread_mutex_destroy(&env->lock);
	pthread_mutex_destroy(&env->file_lock);
	pthread_mutex_destroy(&env->move_lock);
	pthread_cond_destroy(&env->work);
	free(env->home);
}

static struct kv_db *
db_new(const char *dir, const struct kv_params *params)
{
	struct kv_db *db = SHELF_NEW(struct kv_db);

	db->shards = params->shards;
	db->map_bytes = params->map_bytes;
	db->reserve_bytes = params->reserve_bytes;
	db->places = kv_places_new();
	pthread_rwlock_init(&db->listener_lock, NULL);
	env_init(&db->catalog, db, KV_SHARDS_MAX, dir);
	for (uint32_t i = 0; i < db->shards; i++)
		env_init(&db->shard[i], db, i, dir);
	return db;
}

static void
unregister_db(struct kv_db *db)
{
	pthread_mutex_lock(&registry_lock);
	for (struct kv_db **d = &registry; *d != NULL; d = &(*d)->next) {
		if (*d == db) {
			*d = db->next;
			break;
		}
	}
	pthread_mutex_unlock(&registry_lock);
}

static void
db_free(struct kv_db **db)
{
	for (uint32_t i = 0; i < (*db)->shards; i++)
		env_done(&(*db)->shard[i]);
	env_done(&(*db)->catalog);
	unregister_db(*db); /* only when closed: an open in between would share its locks */
	pthread_rwlock_destroy(&(*db)->listener_lock);
	kv_places_free(&(*db)->places);
	free(*db);
	*db = NULL;
}

/* ---- Create -------------------------------------------------------------------------------------- */

int
kv_sync_dir(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;

	if (fd < 0 || fsync(fd) != 0)
		rc = kv_system_error("fsync", path);
	if (fd >= 0)
		close(fd);
	return rc;
}

static int
create_env(struct kv_env *env)
{
	struct kv_file *file = kv_file_new(env, 1);
	char *path = kv_move_path(env, 1);
	int rc = 0;

	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		rc = kv_system_error("mkdir", path);
	if (rc == 0)
		rc = kv_lmdb_open(file, path, true);
	if (rc == 0)
		rc = kv_sync_dir(path);
	kv_file_free(&file);
	free(path);
	return rc;
}

static int
write_all(int fd, struct shelf_span s)
{
	while (s.len > 0) {
		ssize_t n = write(fd, s.data, s.len);

		if (n < 0 && errno != EINTR)
			return -1;
		if (n > 0) {
			s.data += n;
			s.len -= (size_t)n;
		}
	}
	return 0;
}

int
kv_write_text(const char *dir, const char *path, struct shelf_span text)
{
	struct shelf_buf temp = {0};
	int rc = 0, fd;

	shelf_buf_printf(&temp, "%s.new", path);
	fd = open(shelf_buf_cstr(&temp), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || write_all(fd, text) != 0 || fsync(fd) != 0)
		rc = kv_system_error("write", shelf_buf_cstr(&temp));
	if (fd >= 0 && close(fd) != 0 && rc == 0)
		rc = kv_system_error("close", shelf_buf_cstr(&temp));
	if (rc == 0 && rename(shelf_buf_cstr(&temp), path) != 0)
		rc = kv_system_error("rename", path);
	if (rc == 0)
		rc = kv_sync_dir(dir);
	shelf_buf_free(&temp);
	return rc;
}

static int
write_conf(const char *dir, const struct kv_params *params)
{
	struct shelf_buf text = {0}, path = {0};
	int rc;

	shelf_buf_printf(&path, "%s/kv.conf", dir);
	shelf_buf_printf(&text, "format %d\nshards %u\nmap_bytes %" PRIu64 "\nreserve_bytes %" PRIu64 "\n",
	    FORMAT, params->shards, params->map_bytes, params->reserve_bytes);
	rc = kv_write_text(dir, shelf_buf_cstr(&path), shelf_buf_span(&text));
	shelf_buf_free(&text);
	shelf_buf_free(&path);
	return rc;
}

int
kv_create(const char *dir, const struct kv_params *params)
{
	struct shelf_buf path = {0};
	struct kv_db *db;
	bool exists;
	int rc = 0;

	if (!params_valid(params))
		return SHELF_EINVALID;
	shelf_buf_printf(&path, "%s/kv.conf", dir);
	exists = access(shelf_buf_cstr(&path), F_OK) == 0;
	shelf_buf_free(&path);
	if (exists)
		return SHELF_EEXISTS;
	db = db_new(dir, params);
	rc = create_env(&db->catalog);
	for (uint32_t i = 0; rc == 0 && i < db->shards; i++)
		rc = create_env(&db->shard[i]);
	db_free(&db);
	return rc == 0 ? write_conf(dir, params) : rc;
}

/* ---- Open ---------------------------------------------------------------------------------------- */

bool
kv_text_number(const char *text, const char *name, uint64_t *out)
{
	size_t name_len = strlen(name);
	const char *line = text;

	while (line != NULL && *line != '\0') {
		const char *end = strchr(line, '\n');

		if (end == NULL)
			return false; /* every line ends: a cut file is not believed */
		if (strncmp(line, name, name_len) == 0 && line[name_len] == ' ')
			return shelf_span_u64(shelf_span(line + name_len + 1,
			    (size_t)(end - line) - name_len - 1), UINT64_MAX, out);
		line = end + 1;
	}
	return false;
}

int
kv_read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), rc = 0;
	ssize_t n;

	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? SHELF_EMISSING : kv_system_error("open", path);
	n = read(fd, text, size);
	if (n < 0)
		rc = kv_system_error("read", path);
	else if ((size_t)n == size)
		rc = SHELF_ECORRUPT;
	text[rc == 0 ? n : 0] = '\0';
	close(fd);
	return rc;
}

static int
read_conf(const char *dir, struct kv_params *out)
{
	struct shelf_buf path = {0};
	char text[CONF_MAX_BYTES + 1];
	uint64_t format = 0, shards = 0;
	int rc;

	shelf_buf_printf(&path, "%s/kv.conf", dir);
	rc = kv_read_text(shelf_buf_cstr(&path), text, sizeof text);
	shelf_buf_free(&path);
	if (rc != 0)
		return rc;
	if (!kv_text_number(text, "format", &format))
		return SHELF_ECORRUPT;
	if (format != FORMAT)
		return SHELF_EVERSION;
	if (!kv_text_number(text, "shards", &shards) || shards > KV_SHARDS_MAX ||
	    !kv_text_number(text, "map_bytes", &out->map_bytes) ||
	    !kv_text_number(text, "reserve_bytes", &out->reserve_bytes))
		return SHELF_ECORRUPT;
	out->shards = (uint32_t)shards;
	return params_valid(out) ? 0 : SHELF_ECORRUPT;
}

static int
register_db(struct kv_db *db, const char *dir)
{
	struct stat st;
	int rc = 0;

	if (stat(dir, &st) != 0)
		return kv_system_error("stat", dir);
	db->dev = st.st_dev;
	db->ino = st.st_ino;
	pthread_mutex_lock(&registry_lock);
	for (struct kv_db *d = registry; d != NULL; d = d->next)
		if (d->dev == db->dev && d->ino == db->ino)
			rc = SHELF_EBUSY;
	if (rc == 0) {
		db->next = registry;
		registry = db;
	}
	pthread_mutex_unlock(&registry_lock);
	return rc;
}

int
kv_open(const char *dir, struct kv_db **out)
{
	struct kv_params params;
	struct kv_db *db;
	int rc = read_conf(dir, &params);

	*out = NULL;
	if (rc != 0)
		return rc;
	db = db_new(dir, &params);
	rc = register_db(db, dir);
	if (rc != 0) {
		db_free(&db);
		return rc;
	}
	rc = kv_move_open(&db->catalog);
	for (uint32_t i = 0; rc == 0 && i < db->shards; i++)
		rc = kv_move_open(&db->shard[i]);
	if (rc != 0)
		kv_close(&db);
	*out = db;
	return rc;
}

void
kv_close(struct kv_db **db)
{
	if (*db == NULL)
		return;
	/* The catalog last: it also tells the outcome of submissions that named no known account. */
	for (uint32_t i = 0; i < (*db)->shards; i++)
		kv_committer_stop(&(*db)->shard[i]);
	kv_committer_stop(&(*db)->catalog);
	db_free(db);
}

uint32_t
kv_shards(const struct kv_db *db)
{
	return db->shards;
}
