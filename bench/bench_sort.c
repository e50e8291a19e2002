/*
 * bench_sort.c - sorting, threading and searching the headers of a mailbox, as it grows tenfold
 *
 * Mail of lists: half of it answers one of the hundred messages before it, subjects and references accordingly.
 * Each figure is the median of a few runs in slices of 10 ms, in CPU time, as all of it is one thread's; the
 * longest slice and the memory taken are those of the worst run.
 */
#include <stdio.h>

#include "bench.h"

enum { ROUNDS = 3, BATCH = 1000, SLICE_MS = 10, ROWS = 7, NEAR = 100, CHAIN = 20,
	BIG = 100000 /* below, the allocator's own pages tell more than the messages */ };

static const char *const row_name[ROWS] = {"SORT by arrival", "SORT by date", "SORT by subject",
    "THREAD by subject", "THREAD by references", "SEARCH SUBJECT", "SEARCH BODY"};

struct box {
	uint32_t account, mailbox;
	unsigned size;
	double ms[ROWS][ROUNDS];
};

static double longest_ms, most_bytes, bytes_before;

/* ---- Mail -------------------------------------------------------------------------------------------- */

struct post {
	unsigned id, topic, refs;
	unsigned ref[CHAIN];
};
static struct post recent[NEAR];

static void
write_post(struct post *p, unsigned n, uint64_t *random, struct shelf_buf *out)
{
	bool answer = n > NEAR && bench_random(random) % 2 == 0;
	const struct post *to = &recent[bench_random(random) % NEAR];

	*p = (struct post){.id = n, .topic = n};
	if (answer) {
		p->topic = to->topic;
		for (unsigned i = to->refs == CHAIN; i < to->refs; i++)
			p->ref[p->refs++] = to->ref[i];
		p->ref[p->refs++] = to->id;
	}
	shelf_buf_clear(out);
	shelf_buf_printf(out, "From: \"Person %u\" <person%u@example.org>\r\nTo: list@example.org\r\n"
	    "Message-ID: <%u.%u@mail.example.org>\r\nSubject: %s[list] About the matter %u of %u\r\n"
	    "Date: %u Sep %u %02u:%02u:00 +0200\r\n", bench_random(random) % 1000, n % 777, n, n * 7919,
	    answer ? "Re: " : "", p->topic * 2654435761u % 1000000, p->topic,
	    1 + n / 1440 % 28, 1990 + n / 40320, n / 60 % 24, n % 60);
	for (unsigned i = 0; i < p->refs; i++)
		shelf_buf_printf(out, "%s<%u.%u@mail.example.org>%s", i == 0 ? "References: " : "\r\n ",
		    p->ref[i], p->ref[i] * 7919, i + 1 == p->refs ? "\r\n" : "");
	shelf_buf_add_str(out, "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
	    "A few words.\r\n");
}

static void
fill(struct bench *b, struct box *x)
{
	static struct shelf_append items[BATCH];
	struct shelf_append_result res;
	struct shelf_buf text = {0};
	uint64_t random = 5;

	bench_must(shelf_mailbox_create(b->store, x->account, shelf_span_str("list"), 0, &x->mailbox),
	    "create");
	for (unsigned n = 0; n < x->size; n += BATCH) {
		for (unsigned i = 0; i < BATCH; i++) {
			struct post p;

			write_post(&p, n + i, &random, &text);
			recent[(n + i) % NEAR] = p;
			items[i] = (struct shelf_append){.draft = bench_draft(b, shelf_buf_span(&text)),
			    .internaldate_s = 1000000000 + (int64_t)n * 60};
		}
		bench_must(shelf_append(b->store, x->account, x->mailbox, items, BATCH, &res), "append");
		for (unsigned i = 0; i < BATCH; i++)
			shelf_draft_free(&items[i].draft);
	}
	shelf_buf_free(&text);
}

/* ---- Runs --------------------------------------------------------------------------------------------- */

/* Memory that belongs to the process alone and is in use. */
static double
anonymous_bytes(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	unsigned long kib = 0;
	char line[200];

	while (f != NULL && fgets(line, sizeof line, f) != NULL)
		if (sscanf(line, "RssAnon: %lu", &kib) == 1)
			break;
	if (f != NULL)
		fclose(f);
	return (double)kib * 1024;
}

/* Runs an operation to its end; the milliseconds it took in all. */
static double
run(int (*slice)(void *object), void *object, unsigned size)
{
	double ms = 0;
	int rc = 1;

	while (rc == 1) {
		double cpu = bench_cpu_seconds(), bytes;

		rc = slice(object);
		/* Not by the clock: nothing here waits, and others use the machine, too. */
		cpu = (bench_cpu_seconds() - cpu) * 1e3;
		ms += cpu;
		if (cpu > longest_ms)
			longest_ms = cpu;
		bytes = (anonymous_bytes() - bytes_before) / size;
		if (size >= BIG && bytes > most_bytes)
			most_bytes = bytes;
	}
	bench_must(rc, "a slice");
	return ms;
}

static int
sort_slice(void *sort)
{
	return shelf_sort_run(sort, SLICE_MS);
}

static int
thread_slice(void *thread)
{
	return shelf_thread_run(thread, SLICE_MS);
}

static int
search_slice(void *search)
{
	return shelf_search_run(search, SLICE_MS);
}

static double
sort(struct bench *b, const struct box *x, const struct shelf_uidset *uids, enum shelf_sort_key key)
{
	const struct shelf_sort_criterion by = {key, true};
	struct shelf_sort *s;
	double ms;

	bytes_before = anonymous_bytes();
	bench_must(shelf_sort_new(b->store, x->account, x->mailbox, uids, &by, 1, &s), "sort");
	ms = run(sort_slice, s, x->size);
	if (shelf_sort_count(s) != x->size)
		bench_must(SHELF_ECORRUPT, "a sort lost messages");
	shelf_sort_free(&s);
	return ms;
}

static double
thread(struct bench *b, const struct box *x, const struct shelf_uidset *uids,
    enum shelf_thread_algorithm algorithm)
{
	struct shelf_thread *t;
	double ms;

	bytes_before = anonymous_bytes();
	bench_must(shelf_thread_new(b->store, x->account, x->mailbox, uids, algorithm, &t), "thread");
	ms = run(thread_slice, t, x->size);
	shelf_thread_free(&t);
	return ms;
}

static double
search(struct bench *b, const struct box *x, const struct shelf_view *view, enum shelf_key_kind kind)
{
	const struct shelf_key key = {.kind = kind, .name = shelf_span_str("Subject"),
	    .text = shelf_span_str("nowhere to be found")};
	struct shelf_search *s;
	double ms;

	bytes_before = anonymous_bytes();
	bench_must(shelf_search_new(b->store, x->account, view, &key, &s), "search");
	ms = run(search_slice, s, x->size);
	shelf_search_free(&s);
	return ms;
}

static void
measure(struct bench *b, struct box *x, unsigned round)
{
	struct shelf_uidset *uids = shelf_uidset_new();
	struct shelf_view *view;
	struct shelf_rd *rd;

	bench_must(shelf_rd_begin(b->store, x->account, &rd), "read");
	bench_must(shelf_view_open(rd, x->mailbox, &view), "view");
	shelf_rd_end(&rd);
	shelf_view_uids(view, uids);
	x->ms[0][round] = sort(b, x, uids, SHELF_SORT_ARRIVAL);
	x->ms[1][round] = sort(b, x, uids, SHELF_SORT_DATE);
	x->ms[2][round] = sort(b, x, uids, SHELF_SORT_SUBJECT);
	x->ms[3][round] = thread(b, x, uids, SHELF_THREAD_ORDEREDSUBJECT);
	x->ms[4][round] = thread(b, x, uids, SHELF_THREAD_REFERENCES);
	x->ms[5][round] = search(b, x, view, SHELF_KEY_HEADER);
	x->ms[6][round] = search(b, x, view, SHELF_KEY_BODY);
	shelf_view_close(&view);
	shelf_uidset_free(&uids);
}

void
bench_sort(struct bench *b)
{
	static struct box box[BENCH_SIZES_MAX];
	unsigned n = 0, sizes[BENCH_SIZES_MAX];

	bench_store_open(b, "sort", NULL);
	for (unsigned size = 10000; size <= b->largest && n < BENCH_SIZES_MAX; size *= 10, n++) {
		box[n] = (struct box){.account = b->account[n], .size = sizes[n] = size};
		fill(b, &box[n]);
	}
	bench_section(b, "order, threads, search in headers, messages in the mailbox:", sizes, n);
	for (unsigned round = 0; round < ROUNDS; round++)
		for (unsigned i = 0; i < n; i++)
			measure(b, &box[i], round);
	for (unsigned r = 0; r < ROWS; r++) {
		struct bench_figure f = {.name = row_name[r], .unit = "ms CPU", .n = n};

		for (unsigned i = 0; i < n; i++)
			f.value[i] = bench_median(box[i].ms[r], ROUNDS);
		bench_report(b, &f);
	}
	bench_report_one(b, "longest slice, CPU", "ms", longest_ms, BENCH_MOST, 20);
	bench_report_one(b, "memory for each message", "bytes", most_bytes, BENCH_MOST, 180);
	bench_store_close(b, "sort");
}
