/*
 * backup_restore.c - out of a file: a whole store, an account
 *
 * A whole store is made in DIR/restoring, where nobody looks for one, and moved up when it is whole: "mailshelf",
 * without which no store can be opened, last. A run that died is gone on with: an account that has its name is
 * there already.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mailshelf/mem.h>

#include "backup_load.h"

struct restoring {
	struct shelf_backup *b;
	struct shelf_store *store;
	shelf_restore_progress_fn *progress;
	shelf_backup_problem_fn *problem;
	void *arg;
	struct shelf_restore_done done;
	struct backup_load *load;
};

static void
tell(struct restoring *rs, struct shelf_span name, const char *why)
{
	struct shelf_buf text = {0};

	if (rs->problem == NULL)
		return;
	shelf_buf_add_span(&text, name);
	shelf_buf_printf(&text, ": %s", why);
	rs->problem(rs->arg, shelf_buf_cstr(&text));
	shelf_buf_free(&text);
}

static int
step(void *arg, const struct backup_load *l)
{
	struct restoring *rs = arg;

	rs->done.messages = l->messages;
	rs->done.lost = l->notes_put;
	rs->done.bodies = l->bodies;
	rs->done.body_bytes = l->body_bytes;
	return rs->progress != NULL && rs->progress(rs->arg, &rs->done) != 0 ? SHELF_ECANCELLED : 0;
}

static struct backup_load *
load_new(struct restoring *rs)
{
	struct backup_load *l = SHELF_NEW(struct backup_load);

	l->b = rs->b;
	l->store = rs->store;
	l->step = step;
	l->arg = rs;
	return l;
}

/* Rows under ID, then the name NAME, then the job goes. */
static int
restore_as(struct restoring *rs, const struct backup_account *a, uint32_t id, struct shelf_span name)
{
	struct mail_user u;
	int rc = mail_user_decode(a->user, &u);

	if (rc != 0)
		return rc;
	u.name = name;
	if ((rc = backup_load_account(rs->load, a, id)) != 0 ||
	    (rc = mail_carry_enter(&rs->load->carry, &rs->load->acct, name)) != 0 ||
	    (rc = mail_shared_enter(rs->store, id, rs->load->shard)) != 0 ||
	    (rc = mail_account_publish(rs->store, id, &u)) != 0 ||
	    (rc = mail_carry_done(rs->store, id, rs->load->shard)) != 0)
		return rc;
	rs->done.accounts++;
	return step(rs, rs->load);
}

/* ---- One account into a store that is there --------------------------------------------------------------- */

int
shelf_backup_restore_account(struct shelf_backup *b, const char *account, struct shelf_store *store, const char *as,
			     shelf_restore_progress_fn *progress, void *arg, struct shelf_restore_done *done_out)
{
	struct restoring rs = {.b = b, .store = store, .progress = progress, .arg = arg};
	char name[SHELF_ACCOUNT_NAME_MAX + 1];
	struct shelf_account there;
	struct backup_found f;
	uint32_t id;
	int rc = backup_find_account(b, account, &f);

	rs.done.accounts_total = 1;
	rs.load = load_new(&rs);
	if (rc == 0)
		rc = mail_account_name(shelf_span_str(as == NULL ? account : as), name);
	if (rc == 0) {
		rc = shelf_account_find(store, shelf_span_str(name), &there);
		rc = rc == 0 ? SHELF_EEXISTS : rc == SHELF_ENOACCOUNT ? 0 : rc;
	}
	if (rc == 0 && (rc = mail_account_take_ids(store, 1, &id)) == 0)
		rc = restore_as(&rs, &f.account, id, shelf_span_str(name));
	backup_found_free(&f);
	backup_load_free(rs.load);
	free(rs.load);
	*done_out = rs.done;
	return rc;
}

/* ---- A whole store ------------------------------------------------------------------------------------------ */

/* One damaged account must not keep the others from coming back. */
static bool
may_go_on(int rc)
{
	return rc == SHELF_ENAME || rc == SHELF_EVERSION || shelf_err_class_of(rc) == SHELF_CLASS_CORRUPT;
}

static int
restore_one(void *arg, const struct backup_account *a)
{
	struct restoring *rs = arg;
	char name[SHELF_ACCOUNT_NAME_MAX + 1] = "an account";
	struct shelf_account there;
	struct mail_user u;
	int rc = mail_user_decode(a->user, &u);

	if (rc == 0 && mail_account_name(u.name, name) != 0)
		rc = SHELF_ECORRUPT;
	if (rc == 0) {
		rc = shelf_account_get(rs->store, a->id, &there);
		if (rc == 0) {
			rs->done.accounts++;
			return 0; /* restored by a run before this one */
		}
		rc = rc == SHELF_ENOACCOUNT ? restore_as(rs, a, a->id, shelf_span_str(name)) : rc;
	}
	if (!may_go_on(rc))
		return rc;
	rs->done.failed++;
	tell(rs, shelf_span_str(name), shelf_err_text(rc));
	return 0;
}

/* SHELF_EEXISTS: DIR holds something else than NAME. */
static int
only_holds(const char *dir, const char *name)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	int rc = d == NULL ? SHELF_EIO : 0;

	while (d != NULL && (e = readdir(d)) != NULL)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && strcmp(e->d_name, name) != 0)
			rc = SHELF_EEXISTS;
	if (d != NULL)
		closedir(d);
	return rc;
}

/* A run died while it moved a whole store up: DIR has some of it, but no settings, the rest is where it was. */
static bool
is_moving_up(const char *dir, const char *unfinished)
{
	struct shelf_buf path = {0};
	bool moving;

	shelf_buf_printf(&path, "%s/mailshelf", unfinished);
	moving = access(shelf_buf_cstr(&path), F_OK) == 0;
	shelf_buf_clear(&path);
	shelf_buf_printf(&path, "%s/tmp", dir);
	moving = moving && access(shelf_buf_cstr(&path), F_OK) == 0;
	shelf_buf_free(&path);
	return moving;
}

static int
remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	return remove(path);
}

/* A run that ended while it made the store has left no store, and nothing in it. */
static int
remove_begun(const char *unfinished)
{
	if (nftw(unfinished, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT)
		return SHELF_EIO;
	return 0;
}

/* DIR/restoring as a store: one that was begun, or a new one. DIR itself must be new, or empty but for that. */
static int
open_unfinished(const char *dir, const char *unfinished, const struct shelf_store_params *params,
		struct shelf_store **out)
{
	int rc;

	*out = NULL;
	if (mkdir(dir, 0700) != 0 && errno != EEXIST)
		return errno == ENOSPC ? SHELF_EFULL : errno == ENOENT ? SHELF_EMISSING : SHELF_EIO;
	if (only_holds(dir, "restoring") != 0)
		return SHELF_EEXISTS;
	rc = shelf_store_open(unfinished, 0, out);
	if (rc != SHELF_EMISSING)
		return rc;
	if ((rc = remove_begun(unfinished)) == 0)
		rc = shelf_store_create(unfinished, params);
	return rc != 0 ? rc : shelf_store_open(unfinished, 0, out);
}

/* Moves the finished store up; done again where a crash stopped it. */
static int
move_up(const char *dir, const char *unfinished)
{
	static const char *const names[] = {"tmp", "kv", "mailshelf"};
	struct shelf_buf from = {0}, to = {0};
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = fd < 0 ? SHELF_EIO : 0;

	for (size_t i = 0; i < sizeof(names) / sizeof(*names) && rc == 0; i++) {
		shelf_buf_clear(&from);
		shelf_buf_clear(&to);
		shelf_buf_printf(&from, "%s/%s", unfinished, names[i]);
		shelf_buf_printf(&to, "%s/%s", dir, names[i]);
		if (fsync(fd) != 0 || (rename(shelf_buf_cstr(&from), shelf_buf_cstr(&to)) != 0 && errno != ENOENT))
			rc = SHELF_EIO;
	}
	if (rc == 0 && ((rmdir(unfinished) != 0 && errno != ENOENT) || fsync(fd) != 0))
		rc = SHELF_EIO;
	if (fd >= 0)
		close(fd);
	shelf_buf_free(&from);
	shelf_buf_free(&to);
	return rc;
}

int
shelf_backup_restore_store(struct shelf_backup *b, const char *dir, shelf_restore_progress_fn *progress,
			   shelf_backup_problem_fn *problem, void *arg, struct shelf_restore_done *done_out)
{
	struct restoring rs = {.b = b, .progress = progress, .problem = problem, .arg = arg};
	const struct shelf_store_params params = {.partitions = b->generation.partitions,
						  .hold_s = b->generation.hold_s};
	struct shelf_buf unfinished = {0};
	int rc;

	shelf_buf_printf(&unfinished, "%s/restoring", dir);
	rs.done.accounts_total = b->generation.accounts;
	if (is_moving_up(dir, shelf_buf_cstr(&unfinished))) {
		rc = 0;
	} else if ((rc = open_unfinished(dir, shelf_buf_cstr(&unfinished), &params, &rs.store)) == 0) {
		rs.load = load_new(&rs);
		if ((rc = mail_account_reserve_ids(rs.store, b->generation.next_account)) == 0)
			rc = backup_each_account(b, restore_one, &rs);
		if (rc == 0)
			rc = backup_names_load(b, rs.store);
		backup_load_free(rs.load);
		free(rs.load);
		shelf_store_close(&rs.store);
	}
	if (rc == 0)
		rc = move_up(dir, shelf_buf_cstr(&unfinished));
	shelf_buf_free(&unfinished);
	*done_out = rs.done;
	return rc;
}
