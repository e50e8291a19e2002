/*
 * bench_deliver.c - durable deliveries by 1, 8 and 32 writers, and what several partitions give
 *
 * Rates are set against the flushes of the same disk in the same run. Parallel commits: changes of flags
 * (which are little but commit) in one partition and in four.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include "bench.h"

enum { RUN_MS = 2000, BODY_BYTES = 7300, WRITERS_MAX = 32, WRITERS = 8, PARTITIONS = 4, TEXTS = 256 };

static struct bench *bench;
static struct shelf_buf text[TEXTS];
static _Atomic bool stop;
static _Atomic unsigned done;
static uint32_t inbox; /* the same id in each account */

static void *
deliver_on(void *arg)
{
	unsigned n = (unsigned)(uintptr_t)arg * 7919;

	for (; !atomic_load(&stop); n++) {
		struct shelf_draft *d = bench_draft(bench, shelf_buf_span(&text[n % TEXTS]));
		struct shelf_delivery to = {.account = bench->account[n % BENCH_ACCOUNTS]};
		struct shelf_append_result res;

		shelf_deliver(bench->store, d, &to, 1, &res);
		bench_must(res.rc, "deliver");
		shelf_draft_free(&d);
		atomic_fetch_add(&done, 1);
	}
	return NULL;
}

static double
rate(unsigned writers, void *(*run)(void *))
{
	pthread_t thread[WRITERS_MAX];
	double start = bench_seconds();

	atomic_store(&stop, false);
	atomic_store(&done, 0);
	for (unsigned i = 0; i < writers; i++)
		if (pthread_create(&thread[i], NULL, run, (void *)(uintptr_t)(i + 1)) != 0)
			exit(EX_OSERR);
	usleep(RUN_MS * 1000);
	atomic_store(&stop, true);
	for (unsigned i = 0; i < writers; i++)
		pthread_join(thread[i], NULL);
	return atomic_load(&done) / (bench_seconds() - start);
}

static void
report_rate(struct bench *b, unsigned writers)
{
	struct shelf_store_stats before = bench_stats(b), after;
	double per_second = rate(writers, deliver_on);
	char name[64];

	after = bench_stats(b);
	snprintf(name, sizeof(name), "%u writers: messages", writers);
	bench_report_one(b, name, "1/s", per_second, BENCH_NO_PROMISE, 0);
	snprintf(name, sizeof(name), "%u writers: over the disk's flushes", writers);
	bench_report_one(b, name, "x", per_second / b->flushes_s, BENCH_NO_PROMISE, 0);
	snprintf(name, sizeof(name), "%u writers: flushes of each message", writers);
	bench_report_one(b, name, "", (double)(after.commits - before.commits) /
	    (double)(after.updates - before.updates), BENCH_NO_PROMISE, 0);
}

/* ---- Several partitions ------------------------------------------------------------------------------------ */

/* Sets and removes a flag of the only message of one account after the other: all commit, little else. */
static void *
flag_on(void *arg)
{
	struct shelf_uidset *uids = shelf_uidset_new();
	unsigned n = (unsigned)(uintptr_t)arg;

	shelf_uidset_add(uids, 1);
	for (; !atomic_load(&stop); n += WRITERS) {
		const struct shelf_flag_change change = {
		    .op = n / BENCH_ACCOUNTS % 2 ? SHELF_FLAGS_REMOVE : SHELF_FLAGS_ADD,
		    .flags = SHELF_FLAGGED,
		    .unchanged_since = UINT64_MAX};

		bench_must(shelf_msg_set_flags(bench->store, bench->account[n % BENCH_ACCOUNTS], inbox, uids,
			       &change, NULL, NULL), "flag");
		atomic_fetch_add(&done, 1);
	}
	shelf_uidset_free(&uids);
	return NULL;
}

static double
flag_rate(struct bench *b, uint32_t partitions)
{
	const struct shelf_store_params params = {.partitions = partitions};
	double per_second;

	bench_store_open(b, "parallel", &params);
	for (int i = 0; i < BENCH_ACCOUNTS; i++) {
		struct shelf_delivery to = {.account = b->account[i]};
		struct shelf_draft *d = bench_draft(b, shelf_buf_span(&text[0]));
		struct shelf_append_result res;

		shelf_deliver(b->store, d, &to, 1, &res);
		bench_must(res.rc, "deliver");
		inbox = res.mailbox;
		shelf_draft_free(&d);
	}
	per_second = rate(WRITERS, flag_on);
	bench_store_close(b, "parallel");
	return per_second;
}

void
bench_deliver(struct bench *b)
{
	double one, many;

	bench = b;
	for (unsigned n = 0; n < TEXTS; n++)
		bench_mail_plain(n, BODY_BYTES, &text[n]);
	bench_section(b, "durable deliveries of 7.3 KB", NULL, 0);
	bench_store_open(b, "deliver", NULL);
	report_rate(b, 1);
	report_rate(b, 8);
	report_rate(b, 32);
	bench_store_close(b, "deliver");
	one = flag_rate(b, 1);
	many = flag_rate(b, PARTITIONS);
	bench_report_one(b, "8 writers of flags, one partition", "1/s", one, BENCH_NO_PROMISE, 0);
	bench_report_one(b, "8 writers of flags, four over one", "x", many / one, BENCH_NO_PROMISE, 0);
	for (unsigned n = 0; n < TEXTS; n++)
		shelf_buf_free(&text[n]);
}
