/*
 * warn.c - the thread that warns
 *
 * What must stay true: it never holds up a delivery (it finds its work in the store afterwards), and a thing that fails
 * is said once a minute, not once a second.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "conf.h"
#include "warn.h"

enum { ROUND_MS = 1000, RUNNING_MS = 100, REST_MS = 60 * 1000 };

struct warner {
	struct shelf_store *store;
	_Atomic(const struct conf *) conf;
	struct warn_hooks *hooks;
	int lock;	  /* -1: another daemon warns */
	int64_t rest_ms;  /* after something failed: nothing until then */
	pthread_t thread;
	pthread_mutex_t mutex; /* stop */
	pthread_cond_t wake;
	bool stop;
};

static void
failed(struct warner *w, const char *what, const char *name, int rc)
{
	shelf_log(SHELF_LOG_WARN, "quota warning", "account", "%s", name, "failed", "%s", what, "error", "%s",
	    shelf_err_text(rc), NULL);
	w->rest_ms = shelf_mono_ms() + REST_MS;
}

/* ---- The message --------------------------------------------------------------------------------- */

/* False: it cannot be read. */
static bool
read_file(const char *path, struct shelf_buf *out)
{
	FILE *f = fopen(path, "re");
	uint8_t *at;
	size_t n;

	if (f == NULL)
		return false;
	shelf_buf_reserve(out, WARN_TEMPLATE_MAX_BYTES + 1);
	at = out->data;
	n = fread(at, 1, WARN_TEMPLATE_MAX_BYTES + 1, f);
	out->len = ferror(f) ? 0 : n;
	fclose(f);
	return out->len > 0 && out->len <= WARN_TEMPLATE_MAX_BYTES;
}

static void
make_text(struct warner *w, const struct shelf_warning *warning, struct shelf_buf *text)
{
	const struct conf *conf = atomic_load(&w->conf);
	const char *file = conf->quota_warning_template;
	struct shelf_buf template = {0};
	struct warn_left left;
	bool ok = false;

	if (warn_left_count(w->store, warning->account, (unsigned)conf->quota_warning_pop3_days, &left) != 0)
		left.messages = left.bytes = 0; /* the warning matters more */
	if (file != NULL && read_file(file, &template))
		ok = warn_text_make(warning, &left, shelf_buf_span(&template), conf->hostname, text);
	if (file != NULL && !ok)
		shelf_log(SHELF_LOG_ERROR, "quota_warning_template", "file", "%s", file, "effect", "%s",
		    "cannot be read, is too long, or has no Subject: the default text is sent", NULL);
	shelf_buf_free(&template);
	if (!ok) {
		shelf_buf_clear(text);
		SHELF_ASSERT(warn_text_make(warning, &left, shelf_span(NULL, 0), conf->hostname, text));
	}
}

static void
send_message(struct warner *w, const struct shelf_warning *warning)
{
	struct shelf_buf text = {0};
	struct shelf_draft *draft = NULL;
	int rc;

	make_text(w, warning, &text);
	if ((rc = shelf_draft_new(w->store, &draft)) == 0 &&
	    (rc = shelf_draft_write(draft, text.data, text.len)) == 0 && (rc = shelf_draft_finish(draft)) == 0)
		rc = shelf_warning_deliver(w->store, warning->account, warning->level, draft);
	shelf_draft_free(&draft);
	shelf_buf_free(&text);
	if (rc == 0)
		shelf_log(SHELF_LOG_INFO, "quota warning", "account", "%s", warning->name, "level", "%u",
		    warning->level, "percent", "%u", warning->percent, NULL);
	else if (rc != SHELF_EEXISTS && rc != SHELF_ENOACCOUNT)
		failed(w, "message", warning->name, rc);
}

/* ---- The hook ------------------------------------------------------------------------------------ */

static void
hook_told(void *arg, const struct shelf_warning *warning)
{
	struct warner *w = arg;
	int rc = shelf_warning_told(w->store, warning->account, SHELF_WARNING_HOOK, warning->level);

	if (rc != 0 && rc != SHELF_EEXISTS && rc != SHELF_ENOACCOUNT)
		failed(w, "hook", warning->name, rc);
}

static void
run_hook(struct warner *w, const struct shelf_warning *warning)
{
	const struct conf *conf = atomic_load(&w->conf);
	int rc;

	if (conf->quota_warning_hook == NULL || conf->quota_warning_hook[0] == '\0') {
		hook_told(w, warning);
		return;
	}
	rc = warn_hooks_start(w->hooks, conf->quota_warning_hook, warning, conf->store,
	    (unsigned)conf->quota_warning_hooks_max, (unsigned)conf->quota_warning_hook_s);
	if (rc != 0 && rc != SHELF_EBUSY)
		failed(w, conf->quota_warning_hook, warning->name, rc);
}

/* ---- Rounds -------------------------------------------------------------------------------------- */

static bool
stopping(struct warner *w)
{
	bool stop;

	pthread_mutex_lock(&w->mutex);
	stop = w->stop;
	pthread_mutex_unlock(&w->mutex);
	return stop;
}

/* One account. */
static int
warn(void *arg, const struct shelf_warning *warning)
{
	struct warner *w = arg;

	if (warning->due[SHELF_WARNING_MESSAGE])
		send_message(w, warning);
	if (warning->due[SHELF_WARNING_HOOK])
		run_hook(w, warning);
	return stopping(w) || shelf_mono_ms() < w->rest_ms;
}

static bool
is_ours(struct warner *w)
{
	struct shelf_buf path = {0};

	if (w->lock >= 0)
		return true;
	shelf_buf_printf(&path, "%s/warnings.lock", atomic_load(&w->conf)->store);
	w->lock = open(shelf_buf_cstr(&path), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (w->lock >= 0 && flock(w->lock, LOCK_EX | LOCK_NB) != 0) {
		close(w->lock);
		w->lock = -1;
	}
	shelf_buf_free(&path);
	return w->lock >= 0;
}

static void *
run(void *arg)
{
	struct warner *w = arg;
	int64_t next_ms = 0;
	bool stop = false;

	while (!stop) {
		unsigned running = warn_hooks_look(w->hooks, hook_told, w);
		int64_t now_ms = shelf_mono_ms();
		struct timespec until;
		int rc = 0;

		if (now_ms >= next_ms && now_ms >= w->rest_ms && is_ours(w)) {
			rc = shelf_warning_each(w->store, warn, w);
			next_ms = now_ms + ROUND_MS;
		}
		if (rc < 0)
			failed(w, "looking", "", rc);
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += (running > 0 ? RUNNING_MS : ROUND_MS) % 1000 * 1000000L;
		until.tv_sec += (running > 0 ? 0 : ROUND_MS / 1000) + until.tv_nsec / 1000000000L;
		until.tv_nsec %= 1000000000L;
		pthread_mutex_lock(&w->mutex);
		if (!w->stop)
			pthread_cond_clockwait(&w->wake, &w->mutex, CLOCK_MONOTONIC, &until);
		stop = w->stop;
		pthread_mutex_unlock(&w->mutex);
	}
	return NULL;
}

struct warner *
warner_new(struct shelf_store *store, const struct conf *conf)
{
	struct warner *w = SHELF_NEW(struct warner);

	w->store = store;
	w->lock = -1;
	atomic_store(&w->conf, conf);
	w->hooks = warn_hooks_new();
	pthread_mutex_init(&w->mutex, NULL);
	pthread_cond_init(&w->wake, NULL);
	if (pthread_create(&w->thread, NULL, run, w) != 0) {
		warn_hooks_free(&w->hooks);
		free(w);
		return NULL;
	}
	return w;
}

void
warner_set_conf(struct warner *w, const struct conf *conf)
{
	atomic_store(&w->conf, conf);
}

void
warner_free(struct warner **warner)
{
	struct warner *w = *warner;

	*warner = NULL;
	if (w == NULL)
		return;
	pthread_mutex_lock(&w->mutex);
	w->stop = true;
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->mutex);
	pthread_join(w->thread, NULL);
	warn_hooks_free(&w->hooks);
	if (w->lock >= 0)
		close(w->lock);
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->mutex);
	free(w);
}
