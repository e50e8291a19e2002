/*
 * tool_import_many.c - `import-many`: the mail of many accounts from other servers, some at a time
 *
 *   FILE   lines ACCOUNT,URL,PASSWORD; a value with a comma or a quote stands in quotes, a quote in it is doubled
 *          (RFC 4180); empty lines and lines that begin with "#" say nothing
 *
 * Each line is an `import` in a process of its own, which gets the password on stdin: an account whose server
 * hangs or lies does no harm to the others. What a child says is printed with its account in front. Safe to run
 * again, as import is: the report tells which accounts are not whole.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mailshelf/mem.h>

#include "tool_import.h"

enum { PARALLEL_MAX = 32, COLUMNS = 3, LINE_MAX_BYTES = 8192, SAID_MAX_BYTES = 256 * 1024 };
enum { OUT, ERR, STREAMS };

struct line {
	char *value[COLUMNS]; /* account, URL, password */
};

struct child {
	pid_t pid;	 /* 0: free */
	int fd[STREAMS]; /* what it says; -1: it has ended that */
	const struct line *line;
	struct shelf_buf said[STREAMS];
};

struct many {
	struct tool *t;
	struct line *lines;
	size_t n, next;
	char **options; /* passed on */
	size_t noptions;
	struct child child[PARALLEL_MAX];
	unsigned parallel, running;
	bool told_to_stop;
	uint64_t good, bad;
	struct shelf_buf json;
};

/* ---- The file ---------------------------------------------------------------------------------- */

/* One value from *AT on, which moves behind its comma. NULL: a quote without its other. */
static char *
value(const char **at)
{
	const char *p = *at;
	struct shelf_buf b = {0};
	char *out;

	shelf_buf_reserve(&b, LINE_MAX_BYTES); /* one piece, so that it can be wiped */
	if (*p != '"') {
		tool_password_wipe(&b);
		size_t len = strcspn(p, ",");

		*at = p + len + (p[len] == ',');
		return shelf_strndup(p, len);
	}
	for (p++; *p != '\0' && (*p != '"' || p[1] == '"'); p++) {
		p += *p == '"';
		shelf_buf_add_byte(&b, (uint8_t)*p);
	}
	out = *p == '"' && (p[1] == ',' || p[1] == '\0') ? shelf_strdup(shelf_buf_cstr(&b)) : NULL;
	*at = p + (*p == '"') + (*p == '"' && p[1] == ',');
	tool_password_wipe(&b);
	return out;
}

static bool
take_line(struct many *m, const char *text)
{
	struct line l = {{NULL}};
	struct remote_params ignored = {.host = NULL};
	struct shelf_arena arena = {0};
	bool good = true;

	for (unsigned i = 0; i < COLUMNS && good; i++)
		good = *text != '\0' && (l.value[i] = value(&text)) != NULL && *l.value[i] != '\0';
	/* A password in the URL would be an argument, for everybody to see. */
	good = good && *text == '\0' && source_remote_url(l.value[1], &ignored, &arena);
	shelf_arena_free(&arena);
	if (good) {
		m->lines = shelf_realloc(m->lines, (m->n + 1) * sizeof *m->lines);
		m->lines[m->n++] = l;
		return true;
	}
	for (unsigned i = 0; i < COLUMNS; i++) {
		if (l.value[i] != NULL)
			explicit_bzero(l.value[i], strlen(l.value[i]));
		free(l.value[i]);
	}
	return false;
}

/* All of it is read before anything is done: a bad line is told with its number, and nothing begins. */
static int
read_file(struct many *m, const char *path)
{
	char *text = shelf_alloc(LINE_MAX_BYTES);
	FILE *f = fopen(path, "re");
	unsigned long number = 0;
	int rc = 0;

	if (f == NULL) {
		tool_say(m->t, "%s: %s", path, strerror(errno));
		rc = EX_NOINPUT;
	}
	while (rc == 0 && fgets(text, LINE_MAX_BYTES, f) != NULL) {
		number++;
		if (strchr(text, '\n') == NULL && strlen(text) == LINE_MAX_BYTES - 1)
			rc = EX_DATAERR;
		text[strcspn(text, "\r\n")] = '\0';
		if (rc == 0 && *text != '\0' && *text != '#' && !take_line(m, text))
			rc = EX_DATAERR;
		if (rc != 0)
			tool_say(m->t, "%s:%lu: not ACCOUNT,URL,PASSWORD", path, number);
	}
	if (rc == 0 && ferror(f)) {
		tool_say(m->t, "%s: cannot be read", path);
		rc = EX_NOINPUT;
	}
	if (f != NULL)
		fclose(f);
	explicit_bzero(text, LINE_MAX_BYTES);
	free(text);
	return rc;
}

/* ---- Children ---------------------------------------------------------------------------------- */

static void
run_child(const struct many *m, const struct line *l, int in, int out, int err)
{
	char **argv = shelf_zalloc((m->noptions + 10) * sizeof *argv);
	size_t n = 0;

	argv[n++] = shelf_strdup("mailshelf");
	argv[n++] = shelf_strdup("-s");
	argv[n++] = shelf_strdup(m->t->store_dir);
	argv[n++] = shelf_strdup("import");
	argv[n++] = shelf_strdup("--password-stdin");
	argv[n++] = shelf_strdup("--json");
	for (size_t i = 0; i < m->noptions; i++)
		argv[n++] = m->options[i];
	argv[n++] = shelf_strdup("--");
	argv[n++] = l->value[0];
	argv[n++] = l->value[1];
	if (dup2(in, STDIN_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0 && dup2(err, STDERR_FILENO) >= 0)
		execv("/proc/self/exe", argv);
	_exit(EX_OSERR);
}

/* The password fits a pipe: nobody waits. */
static bool
give_password(int fd, const char *password)
{
	size_t len = strlen(password);

	return write(fd, password, len) == (ssize_t)len && write(fd, "\n", 1) == 1;
}

static int
start(struct many *m, struct child *c)
{
	const struct line *l = &m->lines[m->next];
	int pipes[STREAMS + 1][2]; /* the last one is its stdin */
	unsigned made = 0;

	while (made < STREAMS + 1 && pipe2(pipes[made], O_CLOEXEC) == 0)
		made++;
	c->pid = made == STREAMS + 1 ? fork() : -1;
	if (c->pid == 0)
		run_child(m, l, pipes[STREAMS][0], pipes[OUT][1], pipes[ERR][1]);
	/* One that cannot be told ends by itself, and says so. */
	if (c->pid > 0 && !give_password(pipes[STREAMS][1], l->value[2]))
		tool_say(m->t, "%s: %s", l->value[0], strerror(errno));
	for (unsigned i = 0; i < made; i++) {
		bool ours = c->pid > 0 && i < STREAMS;

		if (ours)
			c->fd[i] = pipes[i][0];
		else
			close(pipes[i][0]);
		close(pipes[i][1]);
	}
	if (c->pid < 0) {
		c->pid = 0;
		return EX_OSERR;
	}
	c->line = l;
	m->next++;
	m->running++;
	return 0;
}

static void
report(struct many *m, struct child *c, int status)
{
	const char *text = shelf_buf_cstr(&c->said[ERR]), *json = shelf_buf_cstr(&c->said[OUT]);
	bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0;
	size_t json_len = strcspn(json, "\n");

	m->good += good;
	m->bad += !good;
	while (*text != '\0') {
		size_t len = strcspn(text, "\n");

		tool_say(m->t, "%s: %.*s", c->line->value[0], (int)len, text);
		text += len + (text[len] == '\n');
	}
	shelf_buf_add_str(&m->json, m->json.len > 1 ? ",{" : "{");
	tool_json_str(&m->json, "account", shelf_span_str(c->line->value[0]));
	tool_json_u64(&m->json, "status", WIFEXITED(status) ? (uint64_t)WEXITSTATUS(status) : EX_SOFTWARE);
	if (json_len > 1 && json[0] == '{' && json[json_len - 1] == '}') {
		tool_json_key(&m->json, "report");
		shelf_buf_add(&m->json, json, json_len);
	}
	shelf_buf_add_byte(&m->json, '}');
	if (!m->t->json)
		tool_print("%s: %s", c->line->value[0], good ? "complete" : "not complete, run it again");
}

static void
end(struct many *m, struct child *c)
{
	int status = 0;

	while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
		;
	report(m, c, status);
	shelf_buf_free(&c->said[OUT]);
	shelf_buf_free(&c->said[ERR]);
	*c = (struct child){.pid = 0};
	m->running--;
}

/* Reads what children say until one of them has ended, or for a moment. */
static void
listen_to(struct many *m)
{
	struct pollfd p[PARALLEL_MAX * STREAMS];
	char text[4096];

	for (unsigned i = 0; i < m->parallel * STREAMS; i++) {
		const struct child *c = &m->child[i / STREAMS];

		p[i] = (struct pollfd){.fd = c->pid != 0 ? c->fd[i % STREAMS] : -1, .events = POLLIN};
	}
	if (tool_interrupted() && !m->told_to_stop) {
		m->told_to_stop = true;
		for (unsigned i = 0; i < m->parallel; i++)
			if (m->child[i].pid != 0)
				kill(m->child[i].pid, SIGTERM);
	}
	if (poll(p, m->parallel * STREAMS, 500) <= 0)
		return;
	for (unsigned i = 0; i < m->parallel * STREAMS; i++) {
		struct child *c = &m->child[i / STREAMS];
		struct shelf_buf *said = &c->said[i % STREAMS];
		ssize_t n;

		if (p[i].fd < 0 || p[i].revents == 0)
			continue;
		n = read(p[i].fd, text, sizeof text);
		if (n > 0 && said->len < SAID_MAX_BYTES)
			shelf_buf_add(said, text, (size_t)n);
		if (n > 0 || (n < 0 && errno == EINTR))
			continue;
		close(c->fd[i % STREAMS]);
		c->fd[i % STREAMS] = -1;
		if (c->fd[OUT] < 0 && c->fd[ERR] < 0)
			end(m, c);
	}
}

static int
run_all(struct many *m)
{
	int rc = 0;

	while (rc == 0 && (m->running > 0 || (m->next < m->n && !tool_interrupted()))) {
		for (unsigned i = 0; i < m->parallel && rc == 0; i++)
			if (m->child[i].pid == 0 && m->next < m->n && !tool_interrupted())
				rc = start(m, &m->child[i]);
		listen_to(m);
	}
	if (rc != 0)
		tool_say(m->t, "no process can be started: %s", strerror(errno));
	while (m->running > 0)
		listen_to(m);
	return rc;
}

static void
free_many(struct many *m)
{
	for (size_t i = 0; i < m->n; i++) {
		explicit_bzero(m->lines[i].value[2], strlen(m->lines[i].value[2]));
		for (unsigned k = 0; k < COLUMNS; k++)
			free(m->lines[i].value[k]);
	}
	free(m->lines);
	shelf_buf_free(&m->json);
}

int
tool_import_many(struct tool *t)
{
	struct many m = {.t = t, .parallel = 4};
	struct tool_number parallel = {0};
	const struct tool_option options[] = {{"parallel", TOOL_COUNT, &parallel}, {0}};
	int rc = tool_args(t, options, 1, 64);

	if (rc == 0 && parallel.given && (parallel.value < 1 || parallel.value > PARALLEL_MAX))
		rc = tool_usage(t, "--parallel: 1 to %d", PARALLEL_MAX);
	if (rc == 0 && t->store_dir == NULL)
		rc = tool_open(t); /* says that there is none */
	if (rc != 0)
		return rc;
	if (parallel.given)
		m.parallel = (unsigned)parallel.value;
	m.options = t->argv + 1;
	m.noptions = (size_t)t->argc - 1;
	tool_catch_interrupts();
	shelf_buf_add_byte(&m.json, '[');
	if ((rc = read_file(&m, t->argv[0])) == 0)
		rc = run_all(&m);
	shelf_buf_add_byte(&m.json, ']');
	if (t->json)
		tool_print_buf(&m.json);
	else if (rc == 0)
		tool_print("%llu accounts complete, %llu not", (unsigned long long)m.good, (unsigned long long)m.bad);
	if (rc == 0 && (m.bad > 0 || m.next < m.n))
		rc = EX_TEMPFAIL;
	free_many(&m);
	return rc;
}
