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
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mailshelf/mem.h>

#include "tool_import.h"

enum { PARALLEL_MAX = 32, COLUMNS = 3, LINE_MAX_BYTES = 8192, SAID_MAX_BYTES = 1 << 20 };

struct line {
	char *value[COLUMNS]; /* account, URL, password */
};

struct child {
	pid_t pid; /* 0: free */
	int fd;	   /* what it says */
	const struct line *line;
	struct shelf_buf said;
};

struct many {
	struct tool *t;
	struct line *lines;
	size_t n, next;
	char **options; /* passed on */
	size_t noptions;
	struct child child[PARALLEL_MAX];
	unsigned parallel, running;
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

	if (*p != '"') {
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
	bool good = true;

	for (unsigned i = 0; i < COLUMNS && good; i++)
		good = *text != '\0' && (l.value[i] = value(&text)) != NULL && *l.value[i] != '\0';
	if (good && *text == '\0' && import_is_remote(l.value[1])) {
		m->lines = shelf_realloc(m->lines, (m->n + 1) * sizeof *m->lines);
		m->lines[m->n++] = l;
		return true;
	}
	for (unsigned i = 0; i < COLUMNS; i++)
		free(l.value[i]);
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
	if (f != NULL)
		fclose(f);
	explicit_bzero(text, LINE_MAX_BYTES);
	free(text);
	return rc;
}

/* ---- Children ---------------------------------------------------------------------------------- */

static void
run_child(const struct many *m, const struct line *l, int in, int out)
{
	char **argv = shelf_zalloc((m->noptions + 9) * sizeof *argv);
	size_t n = 0;

	argv[n++] = shelf_strdup("mailshelf");
	argv[n++] = shelf_strdup("-s");
	argv[n++] = shelf_strdup(m->t->store_dir);
	argv[n++] = shelf_strdup("import");
	argv[n++] = l->value[0];
	argv[n++] = l->value[1];
	argv[n++] = shelf_strdup("--password-stdin");
	argv[n++] = shelf_strdup("--json");
	for (size_t i = 0; i < m->noptions; i++)
		argv[n++] = m->options[i];
	if (dup2(in, STDIN_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0 && dup2(out, STDERR_FILENO) >= 0)
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
	int in[2], out[2];

	if (pipe2(in, O_CLOEXEC) != 0)
		return EX_OSERR;
	if (pipe2(out, O_CLOEXEC) != 0) {
		close(in[0]);
		close(in[1]);
		return EX_OSERR;
	}
	c->pid = fork();
	if (c->pid == 0)
		run_child(m, l, in[0], out[1]);
	close(in[0]);
	close(out[1]);
	c->fd = out[0];
	c->line = l;
	/* One that cannot be told ends by itself, and says so. */
	if (c->pid > 0 && !give_password(in[1], l->value[2]))
		tool_say(m->t, "%s: %s", l->value[0], strerror(errno));
	close(in[1]);
	if (c->pid < 0) {
		c->pid = 0;
		close(c->fd);
		return EX_OSERR;
	}
	m->next++;
	m->running++;
	return 0;
}

/* Its last line is the report; what stands in front of it was said on stderr. */
static void
report(struct many *m, struct child *c, int status)
{
	const char *text = shelf_buf_cstr(&c->said), *json = NULL;
	bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0;

	m->good += good;
	m->bad += !good;
	while (*text != '\0') {
		size_t len = strcspn(text, "\n");

		if (*text == '{' && (text[len] == '\0' || text[len + 1] == '\0')) {
			json = text;
			break;
		}
		tool_say(m->t, "%s: %.*s", c->line->value[0], (int)len, text);
		text += len + (text[len] == '\n');
	}
	shelf_buf_add_str(&m->json, m->json.len > 1 ? ",{" : "{");
	tool_json_str(&m->json, "account", shelf_span_str(c->line->value[0]));
	tool_json_u64(&m->json, "status", WIFEXITED(status) ? (uint64_t)WEXITSTATUS(status) : EX_SOFTWARE);
	if (json != NULL) {
		tool_json_key(&m->json, "report");
		shelf_buf_add(&m->json, json, strcspn(json, "\n"));
	}
	shelf_buf_add_byte(&m->json, '}');
	if (!m->t->json)
		tool_print("%s: %s", c->line->value[0], good ? "complete" : "not complete, run it again");
}

static void
end(struct many *m, struct child *c)
{
	int status = 0;

	close(c->fd);
	while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
		;
	report(m, c, status);
	shelf_buf_free(&c->said);
	*c = (struct child){.pid = 0};
	m->running--;
}

/* Reads what children say until one of them has ended, or for a moment. */
static void
listen_to(struct many *m)
{
	struct pollfd p[PARALLEL_MAX];
	char text[4096];

	for (unsigned i = 0; i < m->parallel; i++)
		p[i] = (struct pollfd){.fd = m->child[i].pid != 0 ? m->child[i].fd : -1, .events = POLLIN};
	if (poll(p, m->parallel, 500) <= 0)
		return;
	for (unsigned i = 0; i < m->parallel; i++) {
		ssize_t n;

		if (p[i].fd < 0 || p[i].revents == 0)
			continue;
		n = read(p[i].fd, text, sizeof text);
		if (n > 0 && m->child[i].said.len < SAID_MAX_BYTES)
			shelf_buf_add(&m->child[i].said, text, (size_t)n);
		else if (n == 0)
			end(m, &m->child[i]);
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
