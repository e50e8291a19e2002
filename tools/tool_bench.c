/*
 * tool_bench.c - `bench`: what this disk gives the store, with every message on disk before it counts
 *
 *   raw       append 4 KiB and flush, again and again: the limit of a lone writer
 *   deliver   1, 8, 32 writers, each with an account of its own, as LMTP delivers: a commit is shared by those who wait
 *   read      all bodies once more, decompressed and checked; they come out of the page cache
 *
 * Everything happens in a new store below DIR, which is removed again. A run where a flush is none (a file system in
 * memory, libeatmydata) is not called durable. Messages are of words, so that they compress as text does.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <mailshelf/mem.h>
#include <mailshelf/partition.h>

#include "tools.h"

enum {
	RAW_FLUSHES = 200,
	WRITERS_MAX = 32,
	LATENCIES_MAX = 1 << 20,
	TMPFS = 0x01021994,
	RAMFS = 0x858458f6,
	FLUSH_US_LEAST = 15, /* faster is no disk */
};

static const unsigned writers[] = {1, 8, WRITERS_MAX};
enum { RUNS = sizeof writers / sizeof *writers };

struct figures {
	unsigned writers;
	uint64_t messages, bytes, commits, written;
	double seconds;
	uint32_t p50_us, p99_us;
};

struct bench {
	struct tool *t;
	char dir[4200];
	struct shelf_store *store;
	uint64_t seconds, size;
	uint32_t account[WRITERS_MAX];
	const char *why_not; /* durable; NULL: it is */
	uint32_t raw_p50_us, raw_p99_us;
	struct figures run[RUNS];
	uint64_t read_bytes, stored_bytes;
	double read_seconds;
	/* Of the run at work. */
	int64_t until_ms;
	_Atomic uint64_t messages, bytes;
	_Atomic size_t nlatencies;
	uint32_t *latency_us;
	_Atomic int rc;
};

static int
by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void
percentiles(uint32_t *us, size_t n, uint32_t *p50, uint32_t *p99)
{
	*p50 = *p99 = 0;
	if (n == 0)
		return;
	qsort(us, n, sizeof *us, by_value);
	*p50 = us[n / 2];
	*p99 = us[n * 99 / 100];
}

/* Bytes that this process had written to disks so far; 0: the system does not say. */
static uint64_t
written_bytes(void)
{
	FILE *f = fopen("/proc/self/io", "re");
	char line[200];
	unsigned long long n = 0;

	while (f != NULL && fgets(line, sizeof line, f) != NULL)
		if (sscanf(line, "write_bytes: %llu", &n) == 1)
			break;
	if (f != NULL)
		fclose(f);
	return n;
}

/* ---- The disk ----------------------------------------------------------------------------------- */

static void
look_at_disk(struct bench *b)
{
	const char *preload = getenv("LD_PRELOAD");
	struct statfs s;

	if (statfs(b->dir, &s) == 0 && ((unsigned)s.f_type == TMPFS || (unsigned)s.f_type == RAMFS))
		b->why_not = "the file system is in memory";
	if (preload != NULL && strstr(preload, "eatmydata") != NULL)
		b->why_not = "libeatmydata swallows every flush";
}

static int
measure_raw(struct bench *b)
{
	static uint8_t page[4096];
	uint32_t us[RAW_FLUSHES];
	char path[4300];
	int fd, rc = 0;

	snprintf(path, sizeof path, "%s/raw", b->dir);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0) {
		tool_say(b->t, "%s: %s", path, strerror(errno));
		return EX_CANTCREAT;
	}
	for (unsigned i = 0; i < RAW_FLUSHES && rc == 0; i++) {
		int64_t begun = shelf_mono_us();

		page[0] = (uint8_t)i;
		if (write(fd, page, sizeof page) != (ssize_t)sizeof page || fdatasync(fd) != 0) {
			tool_say(b->t, "%s: %s", path, strerror(errno));
			rc = EX_IOERR;
		}
		us[i] = (uint32_t)(shelf_mono_us() - begun);
	}
	close(fd);
	unlink(path);
	percentiles(us, RAW_FLUSHES, &b->raw_p50_us, &b->raw_p99_us);
	if (rc == 0 && b->why_not == NULL && b->raw_p50_us < FLUSH_US_LEAST)
		b->why_not = "a flush takes less than any disk needs: something answers for it";
	return rc;
}

/* ---- Deliveries ------------------------------------------------------------------------------- */

static void
compose(struct shelf_buf *out, uint64_t number, uint64_t size)
{
	static const char *const words[] = {"meeting", "the", "of", "report", "please", "and", "attached", "find",
		"to", "tomorrow", "we", "budget", "with", "kind", "regards", "project", "is", "a", "schedule",
		"question", "in", "customer", "on", "order", "for", "delivery", "thanks", "about", "be", "draft",
		"would", "review"};
	uint64_t dice = number * 0x9e3779b97f4a7c15u + 1;

	shelf_buf_clear(out);
	shelf_buf_printf(out, "From: Sender %llu <s%llu@example.org>\r\nTo: you@example.org\r\n"
	    "Subject: message %llu\r\nDate: Tue, 1 Dec 2026 10:00:00 +0000\r\n"
	    "Message-ID: <%llu@bench.example.org>\r\n\r\n",
	    (unsigned long long)number % 97, (unsigned long long)number % 97, (unsigned long long)number,
	    (unsigned long long)number);
	for (unsigned column = 0; out->len < size;) {
		dice = dice * 6364136223846793005u + 1442695040888963407u;
		shelf_buf_printf(out, "%s%llx%s", words[dice >> 59], (unsigned long long)(dice >> 40) & 0xf,
		    column > 60 ? "\r\n" : " ");
		column = column > 60 ? 0 : column + 8;
	}
}

static int
deliver_one(struct bench *b, uint32_t account, const struct shelf_buf *message)
{
	struct shelf_delivery to = {.account = account};
	struct shelf_append_result result = {.rc = 0};
	struct shelf_draft *draft = NULL;
	int rc = shelf_draft_new(b->store, &draft);

	if (rc == 0 && (rc = shelf_draft_write(draft, message->data, message->len)) == 0)
		rc = shelf_draft_finish(draft);
	if (rc == 0)
		shelf_deliver(b->store, draft, &to, 1, &result);
	shelf_draft_free(&draft);
	return rc != 0 ? rc : result.rc;
}

struct writer {
	struct bench *b;
	pthread_t thread;
	unsigned number;
};

static void *
write_mail(void *arg)
{
	const struct writer *w = arg;
	struct bench *b = w->b;
	struct shelf_buf message = {0};
	int rc = 0;

	for (uint64_t n = 0; rc == 0 && shelf_mono_ms() < b->until_ms && !tool_interrupted(); n++) {
		int64_t begun;
		size_t at;

		/* From a tenth of the size to about the double: no two messages are the same. */
		compose(&message, (uint64_t)w->number << 40 | n, b->size / 10 + n * 7919 % (b->size * 2 + 1));
		begun = shelf_mono_us();
		rc = deliver_one(b, b->account[w->number], &message);
		at = atomic_fetch_add(&b->nlatencies, 1);
		if (at < LATENCIES_MAX)
			b->latency_us[at] = (uint32_t)(shelf_mono_us() - begun);
		atomic_fetch_add(&b->messages, rc == 0);
		atomic_fetch_add(&b->bytes, rc == 0 ? message.len : 0);
	}
	if (rc != 0)
		atomic_store(&b->rc, rc);
	shelf_buf_free(&message);
	return NULL;
}

static int
add_commits(void *arg, const struct shelf_partition *p)
{
	*(uint64_t *)arg += p->commits;
	return 0;
}

static uint64_t
commits(struct bench *b)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; shelf_partition_get(b->store, i, add_commits, &sum) == 0; i++)
		;
	return sum;
}

static int
measure_deliveries(struct bench *b, struct figures *f)
{
	struct writer w[WRITERS_MAX];
	uint64_t commits_before = commits(b), written_before = written_bytes();
	int64_t begun = shelf_mono_us();
	unsigned started = 0;
	size_t n;

	atomic_store(&b->messages, 0);
	atomic_store(&b->bytes, 0);
	atomic_store(&b->nlatencies, 0);
	b->until_ms = shelf_mono_ms() + (int64_t)b->seconds * 1000;
	for (; started < f->writers; started++) {
		w[started] = (struct writer){.b = b, .number = started};
		if (pthread_create(&w[started].thread, NULL, write_mail, &w[started]) != 0)
			break;
	}
	for (unsigned i = 0; i < started; i++)
		pthread_join(w[i].thread, NULL);
	if (started < f->writers)
		return SHELF_ENOMEM;
	f->seconds = (double)(shelf_mono_us() - begun) / 1e6;
	f->messages = atomic_load(&b->messages);
	f->bytes = atomic_load(&b->bytes);
	f->commits = commits(b) - commits_before;
	f->written = written_bytes() - written_before;
	n = atomic_load(&b->nlatencies);
	percentiles(b->latency_us, n < LATENCIES_MAX ? n : LATENCIES_MAX, &f->p50_us, &f->p99_us);
	return atomic_load(&b->rc);
}

/* ---- Reading ------------------------------------------------------------------------------------ */

static int
read_body(struct bench *b, uint32_t account, uint64_t blob)
{
	struct shelf_body *body = NULL;
	struct shelf_span piece = {NULL, 1};
	int rc = shelf_body_open(b->store, account, blob, &body);

	for (uint64_t at = 0; rc == 0 && piece.len > 0; at += piece.len) {
		rc = shelf_body_read(body, at, 256 * 1024, &piece);
		b->read_bytes += rc == 0 ? piece.len : 0;
	}
	shelf_body_close(&body);
	return rc;
}

static int
measure_reading(struct bench *b)
{
	int64_t begun = shelf_mono_us();
	int rc = 0;

	for (unsigned i = 0; i < WRITERS_MAX && rc == 0; i++) {
		struct shelf_msg m = {.uid = 0};

		while (rc == 0 && !tool_interrupted()) {
			struct shelf_rd *rd = NULL;

			/* INBOX is the first mailbox of an account. */
			if ((rc = shelf_rd_begin(b->store, b->account[i], &rd)) == 0)
				rc = shelf_msg_next(rd, 1, m.uid + 1, SHELF_MSG_ALL, &m);
			shelf_rd_end(&rd);
			if (rc == 0)
				rc = read_body(b, b->account[i], m.blob);
		}
		rc = rc == SHELF_ENOMESSAGE ? 0 : rc;
	}
	b->read_seconds = (double)(shelf_mono_us() - begun) / 1e6;
	return rc;
}

/* ---- The store ---------------------------------------------------------------------------------- */

static int
remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
	return remove(path);
}

static int
make_store(struct bench *b)
{
	struct shelf_account_new list[WRITERS_MAX];
	char name[WRITERS_MAX][16];
	char path[4300];
	int rc;

	snprintf(path, sizeof path, "%s/store", b->dir);
	if ((rc = shelf_store_create(path, NULL)) != 0 || (rc = shelf_store_open(path, 0, &b->store)) != 0)
		return rc;
	for (unsigned i = 0; i < WRITERS_MAX; i++) {
		snprintf(name[i], sizeof name[i], "writer%u", i);
		list[i] = (struct shelf_account_new){.name = shelf_span_str(name[i])};
	}
	return shelf_account_add(b->store, list, WRITERS_MAX, NULL, b->account);
}

static int
measure_all(struct bench *b)
{
	int rc = make_store(b);

	for (unsigned i = 0; i < RUNS && rc == 0 && !tool_interrupted(); i++) {
		b->run[i].writers = writers[i];
		rc = measure_deliveries(b, &b->run[i]);
	}
	if (rc == 0)
		rc = measure_reading(b);
	shelf_store_close(&b->store);
	return rc;
}

/* ---- The report --------------------------------------------------------------------------------- */

/* The first "model name" of /proc/cpuinfo. */
static void
cpu_name(char *out, size_t len)
{
	FILE *f = fopen("/proc/cpuinfo", "re");
	char line[300];
	const char *colon;

	snprintf(out, len, "unknown");
	while (f != NULL && fgets(line, sizeof line, f) != NULL)
		if (strncmp(line, "model name", 10) == 0 && (colon = strchr(line, ':')) != NULL) {
			snprintf(out, len, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
			break;
		}
	if (f != NULL)
		fclose(f);
}

static double
per(uint64_t a, uint64_t b)
{
	return b == 0 ? 0 : (double)a / (double)b;
}

static void
print_text(const struct bench *b, const char *cpu, const struct utsname *u)
{
	char size[32];

	tool_print("mailshelf %s, %s, %ld cores, %s %s", SHELF_VERSION, cpu, sysconf(_SC_NPROCESSORS_ONLN), u->sysname,
	    u->release);
	tool_print("messages of %s on average, %llu s each", shelf_size_text(b->size * 11 / 10, size, sizeof size),
	    (unsigned long long)b->seconds);
	if (b->why_not != NULL)
		tool_print("NOT DURABLE: %s", b->why_not);
	tool_print("4 KiB and a flush: p50 %.2f ms, p99 %.2f ms", b->raw_p50_us / 1e3, b->raw_p99_us / 1e3);
	tool_print("%7s %10s %8s %9s %9s %14s %14s", "writers", "msgs/s", "MB/s", "p50 ms", "p99 ms", "msgs/commit",
	    "written/byte");
	for (unsigned i = 0; i < RUNS; i++) {
		const struct figures *f = &b->run[i];

		tool_print("%7u %10.0f %8.1f %9.2f %9.2f %14.1f %14.1f", f->writers, (double)f->messages / f->seconds,
		    (double)f->bytes / 1e6 / f->seconds, f->p50_us / 1e3, f->p99_us / 1e3, per(f->messages, f->commits),
		    per(f->written, f->bytes));
	}
	tool_print("reading all of it from the page cache, one thread: %.0f MB/s",
	    (double)b->read_bytes / 1e6 / (b->read_seconds + 1e-9));
}

static void
print_json(const struct bench *b, const char *cpu, const struct utsname *u)
{
	struct shelf_buf j = {0};

	shelf_buf_add_byte(&j, '{');
	tool_json_str(&j, "version", shelf_span_str(SHELF_VERSION));
	tool_json_str(&j, "cpu", shelf_span_str(cpu));
	tool_json_u64(&j, "cores", (uint64_t)sysconf(_SC_NPROCESSORS_ONLN));
	tool_json_str(&j, "kernel", shelf_span_str(u->release));
	tool_json_bool(&j, "durable", b->why_not == NULL);
	if (b->why_not != NULL)
		tool_json_str(&j, "why_not", shelf_span_str(b->why_not));
	tool_json_u64(&j, "message_bytes", b->size * 11 / 10);
	tool_json_u64(&j, "flush_p50_us", b->raw_p50_us);
	tool_json_u64(&j, "flush_p99_us", b->raw_p99_us);
	tool_json_key(&j, "deliveries");
	for (unsigned i = 0; i < RUNS; i++) {
		const struct figures *f = &b->run[i];

		shelf_buf_add_str(&j, i == 0 ? "[{" : ",{");
		tool_json_u64(&j, "writers", f->writers);
		tool_json_u64(&j, "messages", f->messages);
		tool_json_u64(&j, "bytes", f->bytes);
		tool_json_u64(&j, "commits", f->commits);
		tool_json_u64(&j, "written_bytes", f->written);
		tool_json_u64(&j, "p50_us", f->p50_us);
		tool_json_u64(&j, "p99_us", f->p99_us);
		tool_json_key(&j, "seconds");
		shelf_buf_printf(&j, "%.3f,\"messages_per_second\":%.1f}", f->seconds,
		    (double)f->messages / f->seconds);
	}
	shelf_buf_add_byte(&j, ']');
	tool_json_u64(&j, "read_bytes", b->read_bytes);
	tool_json_key(&j, "read_seconds");
	shelf_buf_printf(&j, "%.3f}", b->read_seconds);
	tool_print_buf(&j);
}

static void
report(const struct bench *b)
{
	struct utsname u = {.sysname = ""};
	char cpu[200];

	cpu_name(cpu, sizeof cpu);
	uname(&u);
	if (b->t->json)
		print_json(b, cpu, &u);
	else
		print_text(b, cpu, &u);
}

int
tool_bench(struct tool *t)
{
	struct bench *b = SHELF_NEW(struct bench);
	struct tool_number seconds = {0}, size = {0};
	const struct tool_option options[] = {{"seconds", TOOL_COUNT, &seconds}, {"size", TOOL_SIZE, &size}, {0}};
	int rc = tool_args(t, options, 1, 1), error;

	b->t = t;
	b->seconds = seconds.given ? seconds.value : 5;
	b->size = size.given ? size.value : 8192;
	if (rc == 0 && (b->seconds < 1 || b->seconds > 3600 || b->size < 100 || b->size > 16 << 20))
		rc = tool_usage(t, "--seconds: 1 to 3600; --size: 100 to 16M");
	if (rc != 0)
		goto out;
	snprintf(b->dir, sizeof b->dir, "%s/mailshelf-bench-XXXXXX", t->argv[0]);
	if (mkdtemp(b->dir) == NULL) {
		tool_say(t, "%s: %s", t->argv[0], strerror(errno));
		rc = EX_CANTCREAT;
		goto out;
	}
	tool_catch_interrupts();
	b->latency_us = shelf_alloc(LATENCIES_MAX * sizeof *b->latency_us);
	look_at_disk(b);
	if ((rc = measure_raw(b)) == 0 && (error = measure_all(b)) != 0)
		rc = tool_fail(t, b->dir, error);
	if (rc == 0 && tool_interrupted())
		rc = EX_TEMPFAIL;
	if (rc == 0)
		report(b);
	if (nftw(b->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0)
		tool_say(t, "%s stays: %s", b->dir, strerror(errno));
out:
	free(b->latency_us);
	free(b);
	return rc;
}
