/*
 * warn_hook.c - runs a program for a warning
 *
 *   free --start--> running --ends--> said and told --> free
 *                     '--its time is up--> killed --^
 *
 * Each runs in a process group of its own, which is killed as a whole when its leader has ended, before that is waited
 * for: its number cannot be another one's then.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "warn.h"

enum { SLOTS = 64, OUTPUT_MAX_BYTES = 1000, ENV_MAX = 16, ENV_BYTES = 512 };

struct slot {
	pid_t pid; /* 0: free */
	int out;   /* what it says */
	int64_t started_ms, until_ms;
	bool killed;
	struct shelf_warning warning;
	struct shelf_buf said;
};

struct warn_hooks {
	struct slot slot[SLOTS];
};

struct warn_hooks *
warn_hooks_new(void)
{
	return SHELF_NEW(struct warn_hooks);
}

/* ---- Starting ---------------------------------------------------------------------------------- */

struct environment {
	char text[ENV_MAX][ENV_BYTES];
	char *list[ENV_MAX + 1];
	unsigned n;
};

static void __attribute__((format(printf, 2, 3)))
add_env(struct environment *e, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(e->text[e->n], ENV_BYTES, fmt, ap);
	va_end(ap);
	e->list[e->n] = e->text[e->n];
	e->n++;
}

static void
make_environment(struct environment *e, const struct shelf_warning *w, const char *store)
{
	const struct shelf_quota *q = &w->quota;

	add_env(e, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	add_env(e, "MAILSHELF_STORE=%s", store);
	add_env(e, "MAILSHELF_EVENT=quota-warning");
	add_env(e, "MAILSHELF_ACCOUNT=%s", w->name);
	add_env(e, "MAILSHELF_LEVEL=%u", w->level);
	add_env(e, "MAILSHELF_THRESHOLD=%u", w->threshold);
	add_env(e, "MAILSHELF_PERCENT=%u", w->percent);
	add_env(e, "MAILSHELF_USED_BYTES=%llu", (unsigned long long)q->used_bytes);
	add_env(e, "MAILSHELF_LIMIT_BYTES=%llu", (unsigned long long)q->limit_bytes);
	add_env(e, "MAILSHELF_USED_MESSAGES=%llu", (unsigned long long)q->used_messages);
	add_env(e, "MAILSHELF_LIMIT_MESSAGES=%llu", (unsigned long long)q->limit_messages);
}

/* An errno of posix_spawn. */
static int
spawn(const char *program, const struct shelf_warning *w, const char *store, int out, pid_t *pid)
{
	struct environment env = {.n = 0};
	char level[16], percent[16], name[sizeof(w->name)], path[4096];
	char *argv[] = {path, level, percent, name, NULL};
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int err;

	make_environment(&env, w, store);
	snprintf(path, sizeof(path), "%s", program);
	snprintf(level, sizeof(level), "%u", w->level);
	snprintf(percent, sizeof(percent), "%u", w->percent);
	memcpy(name, w->name, sizeof(name));
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&files);
	posix_spawnattr_init(&attr);
	if ((err = posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0)) == 0 &&
	    (err = posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO)) == 0 &&
	    (err = posix_spawn_file_actions_adddup2(&files, out, STDERR_FILENO)) == 0 &&
	    (err = posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1)) == 0 &&
	    (err = posix_spawnattr_setsigmask(&attr, &none)) == 0 &&
	    (err = posix_spawnattr_setsigdefault(&attr, &all)) == 0 &&
	    (err = posix_spawnattr_setpgroup(&attr, 0)) == 0 &&
	    (err = posix_spawnattr_setflags(&attr,
		 POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF)) == 0)
		err = posix_spawn(pid, program, &files, &attr, argv, env.list);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&files);
	return err;
}

int
warn_hooks_start(struct warn_hooks *hooks, const char *program, const struct shelf_warning *w, const char *store,
    unsigned max, unsigned timeout_s)
{
	struct slot *free_slot = NULL;
	unsigned running = 0;
	int ends[2], err;

	for (unsigned i = 0; i < SLOTS; i++) {
		struct slot *s = &hooks->slot[i];

		if (s->pid != 0 && s->warning.account == w->account)
			return SHELF_EBUSY;
		running += s->pid != 0;
		if (s->pid == 0)
			free_slot = s;
	}
	if (free_slot == NULL || running >= max)
		return SHELF_EBUSY;
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
		return SHELF_EIO;
	/* The program's own end blocks: it may say more than a pipe holds. */
	fcntl(ends[1], F_SETFL, 0);
	err = spawn(program, w, store, ends[1], &free_slot->pid);
	close(ends[1]);
	if (err != 0) {
		free_slot->pid = 0;
		close(ends[0]);
		return err == ENOENT || err == EACCES || err == ENOEXEC || err == ENOTDIR ? SHELF_EMISSING : SHELF_EIO;
	}
	free_slot->out = ends[0];
	free_slot->warning = *w;
	free_slot->killed = false;
	free_slot->started_ms = shelf_mono_ms();
	free_slot->until_ms = free_slot->started_ms + (int64_t)timeout_s * 1000;
	shelf_buf_clear(&free_slot->said);
	return 0;
}

/* ---- Running ----------------------------------------------------------------------------------- */

/* All of it, so that it never waits for us; what is too much is let go. */
static void
listen_to(struct slot *s)
{
	char bytes[4096];
	ssize_t n;

	for (unsigned i = 0; i < 64 && (n = read(s->out, bytes, sizeof(bytes))) > 0; i++) {
		size_t room = OUTPUT_MAX_BYTES - s->said.len;

		shelf_buf_add_span(&s->said, shelf_span(bytes, (size_t)n < room ? (size_t)n : room));
	}
}

static void
end(struct slot *s, int status)
{
	listen_to(s);
	close(s->out);
	while (s->said.len > 0 && s->said.data[s->said.len - 1] == '\n')
		s->said.len--;
	shelf_log(s->killed || status != 0 ? SHELF_LOG_WARN : SHELF_LOG_INFO, "quota warning hook", "account", "%s",
	    s->warning.name, "level", "%u", s->warning.level, "result", "%s", s->killed ? "killed: time is up" :
	    WIFSIGNALED(status) ? "killed by a signal" : status == 0 ? "ok" : "failed", "status", "%d",
	    WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status), "ms", "%llu",
	    (unsigned long long)(shelf_mono_ms() - s->started_ms), "said", "%s", shelf_buf_cstr(&s->said), NULL);
	s->pid = 0;
}

/* Has it ended? */
static bool
look(struct slot *s, int *status)
{
	siginfo_t info = {.si_pid = 0};

	listen_to(s);
	if (!s->killed && shelf_mono_ms() >= s->until_ms) {
		s->killed = true;
		kill(-s->pid, SIGKILL);
	}
	if (waitid(P_PID, (id_t)s->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0)
		return false;
	kill(-s->pid, SIGKILL); /* what it has left behind */
	return waitpid(s->pid, status, 0) == s->pid;
}

unsigned
warn_hooks_look(struct warn_hooks *hooks, warn_ended_fn *ended, void *arg)
{
	unsigned running = 0;
	int status = 0;

	for (unsigned i = 0; i < SLOTS; i++) {
		struct slot *s = &hooks->slot[i];

		if (s->pid == 0)
			continue;
		if (look(s, &status)) {
			end(s, status);
			ended(arg, &s->warning);
		} else {
			running++;
		}
	}
	return running;
}

void
warn_hooks_free(struct warn_hooks **hooks)
{
	struct warn_hooks *h = *hooks;

	*hooks = NULL;
	if (h == NULL)
		return;
	for (unsigned i = 0; i < SLOTS; i++) {
		if (h->slot[i].pid != 0) {
			kill(-h->slot[i].pid, SIGKILL);
			waitpid(h->slot[i].pid, NULL, 0);
			close(h->slot[i].out);
		}
		shelf_buf_free(&h->slot[i].said);
	}
	free(h);
}
