/*
 * tool_batch.c - `account add --batch`: thousands of accounts from stdin
 *
 * A password hash costs tens of milliseconds of CPU on purpose, so chunks of accounts go to as many
 * threads as there are cores. Lines are numbered where they are read; results are reported with
 * those numbers, in any order. A line that cannot be used does not stop the others.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools.h"

enum { CHUNK = 32, THREADS_MAX = 32, LINE_MAX_BYTES = 4096 };

struct chunk {
	struct shelf_account_new accounts[CHUNK];
	uint64_t line[CHUNK];
	char *text[CHUNK]; /* what the spans point into */
	size_t n;
};

struct batch {
	struct tool *t;
	pthread_mutex_t mutex; /* over everything below */
	struct tool_progress progress;
	uint64_t line, added, bad, there;
	bool eof;
	int fatal; /* an error of the store: the rest is not tried */
};

/* ---- Lines --------------------------------------------------------------------------------------- */

static void
bad_line(struct batch *b, uint64_t line, const char *name, const char *why)
{
	b->bad++;
	tool_progress_end(&b->progress);
	if (name == NULL)
		tool_say(b->t, "line %llu: %s", (unsigned long long)line, why);
	else
		tool_say(b->t, "line %llu: %s: %s", (unsigned long long)line, name, why);
}

/* A line of stdin without its end: 1, 0 at the end, -1 too long (passed over). */
static int
read_line(char *buf, size_t len, size_t *len_out)
{
	size_t n = 0;
	bool fits = true, any = false;
	int c;

	while ((c = getc_unlocked(stdin)) != EOF && c != '\n') {
		any = true;
		if (n + 1 < len)
			buf[n++] = (char)c;
		else
			fits = false;
	}
	buf[n] = '\0';
	*len_out = n;
	if (c == EOF && !any)
		return 0;
	return fits ? 1 : -1;
}

/* "name password quota" into OUT; NULL, or what is wrong. */
static const char *
parse_line(char *text, struct shelf_account_new *out)
{
	char *field[3] = {NULL}, *save = NULL, *p;
	size_t n = 0;

	for (p = strtok_r(text, " \t\r", &save); p != NULL; p = strtok_r(NULL, " \t\r", &save)) {
		if (n == 3)
			return "more than three fields (name password quota)";
		field[n++] = p;
	}
	if (n != 3)
		return "not three fields (name password quota)";
	*out = (struct shelf_account_new){.name = shelf_span_str(field[0]),
	    .password = shelf_span_str(field[1])};
	if (!tool_size(field[2], &out->limit_bytes))
		return "quota is not a size (500M, 1G, -)";
	return NULL;
}

/* Up to CHUNK good lines. Called with the mutex held. */
static void
next_chunk(struct batch *b, struct chunk *c)
{
	char line[LINE_MAX_BYTES];
	size_t len;

	c->n = 0;
	while (c->n < CHUNK && !b->eof && b->fatal == 0 && !tool_interrupted()) {
		int rc = read_line(line, sizeof line, &len);
		const char *why;
		char *text;

		if (rc == 0) {
			b->eof = true;
			break;
		}
		b->line++;
		if (rc < 0 || memchr(line, '\0', len) != NULL) {
			bad_line(b, b->line, NULL, rc < 0 ? "too long" : "holds a NUL byte");
			continue;
		}
		if (line[strspn(line, " \t\r")] == '\0' || line[0] == '#')
			continue;
		text = shelf_strdup(line);
		why = parse_line(text, &c->accounts[c->n]);
		if (why != NULL) {
			bad_line(b, b->line, NULL, why);
			free(text);
			continue;
		}
		c->line[c->n] = b->line;
		c->text[c->n++] = text;
	}
	explicit_bzero(line, sizeof line);
}

/* ---- Adding -------------------------------------------------------------------------------------- */

/* Called with the mutex held. */
static void
take_results(struct batch *b, struct chunk *c, const int *rcs)
{
	for (size_t i = 0; i < c->n; i++) {
		if (rcs[i] == 0)
			b->added++;
		else if (rcs[i] == SHELF_EEXISTS)
			b->there++;
		if (rcs[i] != 0)
			bad_line(b, c->line[i], c->text[i], shelf_err_text(rcs[i]));
		explicit_bzero(c->text[i], strlen(c->text[i]));
		if (c->accounts[i].password.len > 0)
			explicit_bzero((void *)(uintptr_t)c->accounts[i].password.data,
			    c->accounts[i].password.len);
		free(c->text[i]);
	}
	tool_progress_step(&b->progress, 0, 0, "%llu accounts added, %llu/s",
	    (unsigned long long)b->added,
	    (unsigned long long)(b->added * 1000 /
	        (uint64_t)(shelf_mono_ms() - b->progress.start_ms + 1)));
}

static void *
work(void *arg)
{
	struct batch *b = arg;
	struct chunk *c = SHELF_NEW(struct chunk);
	int rcs[CHUNK], rc;

	pthread_mutex_lock(&b->mutex);
	for (;;) {
		next_chunk(b, c);
		if (c->n == 0)
			break;
		pthread_mutex_unlock(&b->mutex);
		memset(rcs, 0, sizeof rcs);
		rc = shelf_account_add(b->t->store, c->accounts, c->n, rcs, NULL);
		pthread_mutex_lock(&b->mutex);
		/* An error that is nobody's in particular: whatever has no result of its own failed. */
		if (rc != 0 && shelf_err_class_of(rc) >= SHELF_CLASS_BUSY && b->fatal == 0)
			b->fatal = rc;
		for (size_t i = 0; i < c->n && b->fatal != 0; i++)
			rcs[i] = rcs[i] == 0 ? rc : rcs[i];
		take_results(b, c, rcs);
	}
	pthread_mutex_unlock(&b->mutex);
	free(c);
	return NULL;
}

static int
report(struct batch *b)
{
	struct tool *t = b->t;
	struct shelf_buf json = {0};
	double seconds = (double)(shelf_mono_ms() - b->progress.start_ms) / 1000;

	if (t->json) {
		shelf_buf_add_byte(&json, '{');
		tool_json_u64(&json, "added", b->added);
		tool_json_u64(&json, "refused", b->bad);
		tool_json_u64(&json, "already_there", b->there);
		tool_json_key(&json, "seconds");
		shelf_buf_printf(&json, "%.3f}", seconds);
		tool_print_buf(&json);
	} else {
		tool_print("%llu accounts added, %llu lines refused (%llu already there), %.1f s",
		    (unsigned long long)b->added, (unsigned long long)b->bad,
		    (unsigned long long)b->there, seconds);
	}
	if (b->fatal != 0)
		return tool_fail(t, t->store_dir, b->fatal);
	if (tool_interrupted()) {
		tool_say(t, "interrupted behind line %llu; run it again, what is there stays",
		    (unsigned long long)b->line);
		return EX_TEMPFAIL;
	}
	return b->bad == 0 ? EX_OK : EX_DATAERR;
}

int
tool_account_batch(struct tool *t, bool progress)
{
	struct batch b = {.t = t, .mutex = PTHREAD_MUTEX_INITIALIZER};
	pthread_t threads[THREADS_MAX];
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	size_t n = 0, want = cores < 1 ? 1 : cores > THREADS_MAX ? THREADS_MAX : (size_t)cores;
	int rc;

	tool_catch_interrupts();
	tool_progress_begin(&b.progress, progress);
	while (n < want && pthread_create(&threads[n], NULL, work, &b) == 0)
		n++;
	if (n == 0)
		work(&b);
	for (size_t i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	tool_progress_end(&b.progress);
	rc = report(&b);
	pthread_mutex_destroy(&b.mutex);
	return rc;
}
