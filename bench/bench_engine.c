/*
 * bench_engine.c - what the store does per second, as ratios against the flushes of the same disk
 *
 * usage: bench_engine DIR [MESSAGES]     DIR is made and removed; MESSAGES: size of the largest mailbox
 *
 * Every change measured is durable (the engine has no other mode). The limit each rate is set against is
 * measured in the same run on the same file system: 4 KiB appended and fdatasync'ed, again and again, by one
 * thread. "growth" is the cost at the largest mailbox over the cost at the smallest.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include <mailshelf/mailshelf.h>

enum { RUN_MS = 2000, BODY_BYTES = 7300, THREADS_MAX = 64, ACCOUNTS = 256, BATCH = 1000 };

static const char *dir;
static struct shelf_store *store;
static uint32_t account[ACCOUNTS];

static void
must(int rc, const char *what)
{
	if (rc != 0) {
		fprintf(stderr, "bench_engine: %s: %s\n", what, shelf_err_text(rc));
		exit(EX_SOFTWARE);
	}
}

static double
seconds(void)
{
	return (double)shelf_now_us() / 1e6;
}

/* Text-like bytes, different each time: words with a number among them. */
static struct shelf_draft *
make_draft(unsigned n)
{
	static const char words[] =
	    "the letter about shelves and boxes was carried home by post on a ";
	struct shelf_buf b = {0};
	struct shelf_draft *d;
	unsigned r = n * 2654435761u;

	shelf_buf_printf(&b,
			 "From: sender%u@example.org\r\nTo: reader@example.net\r\n"
			 "Subject: message %u\r\nMessage-ID: <%u.%u@example.org>\r\n\r\n",
			 r % 97, n, n, r);
	while (b.len < BODY_BYTES) {
		r = r * 1664525u + 1013904223u;
		shelf_buf_printf(&b, "%.*s%u\r\n", (int)(20 + r % 44), words + r % 20, r >> 7);
	}
	must(shelf_draft_new(store, &d), "draft");
	must(shelf_draft_write(d, b.data, b.len), "draft");
	must(shelf_draft_finish(d), "draft");
	shelf_buf_free(&b);
	return d;
}

static double
flush_limit(void)
{
	char path[4200], page[4096];
	double start, now;
	unsigned n = 0;
	int fd;

	snprintf(path, sizeof(path), "%s.flush", dir);
	fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0) {
		fprintf(stderr, "bench_engine: %s: %s\n", path, strerror(errno));
		exit(EX_CANTCREAT);
	}
	memset(page, 'x', sizeof(page));
	for (start = now = seconds(); now - start < RUN_MS / 2000.0; now = seconds(), n++)
		if (write(fd, page, sizeof(page)) != (ssize_t)sizeof(page) || fdatasync(fd) != 0)
			exit(EX_IOERR);
	close(fd);
	unlink(path);
	return n / (now - start);
}

/* ---- Deliveries ------------------------------------------------------------------------------------------- */

static _Atomic bool stop;
static _Atomic unsigned delivered;

static void *
deliver_on(void *arg)
{
	unsigned n = (unsigned)(uintptr_t)arg * 1000000u;

	while (!atomic_load(&stop)) {
		struct shelf_draft *d = make_draft(n++);
		struct shelf_delivery to = {.account = account[n % ACCOUNTS]};
		struct shelf_append_result res;

		shelf_deliver(store, d, &to, 1, &res);
		must(res.rc, "deliver");
		shelf_draft_free(&d);
		atomic_fetch_add(&delivered, 1);
	}
	return NULL;
}

static double
deliver_rate(unsigned threads)
{
	pthread_t thread[THREADS_MAX];
	double start = seconds(), took;

	atomic_store(&stop, false);
	atomic_store(&delivered, 0);
	for (unsigned i = 0; i < threads; i++)
		if (pthread_create(&thread[i], NULL, deliver_on, (void *)(uintptr_t)(i + 1)) != 0)
			exit(EX_OSERR);
	usleep(RUN_MS * 1000);
	atomic_store(&stop, true);
	for (unsigned i = 0; i < threads; i++)
		pthread_join(thread[i], NULL);
	took = seconds() - start;
	return atomic_load(&delivered) / took;
}

static void
report_delivery(double limit)
{
	static const unsigned threads[] = {1, 8, 32};

	printf("\ndelivery of %d bytes, durable\n%8s %12s %10s %14s %14s\n", BODY_BYTES, "writers",
	       "messages/s", "MB/s", "of the limit", "updates/flush");
	for (size_t i = 0; i < sizeof(threads) / sizeof(*threads); i++) {
		struct shelf_store_stats before, after;
		double rate;

		must(shelf_store_stats(store, &before), "stats");
		rate = deliver_rate(threads[i]);
		must(shelf_store_stats(store, &after), "stats");
		printf("%8u %12.0f %10.1f %13.2fx %14.1f\n", threads[i], rate,
		       rate * BODY_BYTES / 1e6, rate / limit,
		       (double)(after.updates - before.updates) /
			   (double)(after.commits - before.commits));
	}
}

/* ---- One mailbox, growing ------------------------------------------------------------------------------------ */

static void
grow(uint32_t mailbox, unsigned to)
{
	struct shelf_append items[BATCH];
	struct shelf_append_result res;
	struct shelf_draft *d = make_draft(1);
	struct shelf_mailbox m;
	struct shelf_rd *rd;

	for (unsigned i = 0; i < BATCH; i++)
		items[i] = (struct shelf_append){
		    .draft = d, .flags = i % 2 ? SHELF_SEEN : 0, .internaldate_s = INT64_MIN};
	for (;;) {
		unsigned n;

		must(shelf_rd_begin(store, account[0], &rd), "read");
		must(shelf_mailbox_get(rd, mailbox, &m), "mailbox");
		shelf_rd_end(&rd);
		if (m.exists >= to)
			break;
		n = to - m.exists < BATCH ? to - m.exists : BATCH;
		must(shelf_append(store, account[0], mailbox, items, n, &res), "append");
	}
	shelf_draft_free(&d);
}

struct costs { /* milliseconds */
	double status, open, append, flag, refresh, flag_all;
};

static double
flag_some(uint32_t mailbox, uint32_t first, uint32_t last, enum shelf_flag_op op)
{
	struct shelf_flag_change change = {
	    .op = op, .flags = SHELF_FLAGGED, .unchanged_since = UINT64_MAX};
	struct shelf_uidset *uids = shelf_uidset_new();
	double start = seconds();

	shelf_uidset_add_range(uids, first, last);
	must(shelf_msg_set_flags(store, account[0], mailbox, uids, &change, NULL, NULL), "flags");
	shelf_uidset_free(&uids);
	return (seconds() - start) * 1e3;
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

enum { ROUNDS = 15 };
static double
median(double *v)
{
	qsort(v, ROUNDS, sizeof(*v), compare);
	return v[ROUNDS / 2];
}

static struct costs
measure(uint32_t mailbox, unsigned size)
{
	double status[ROUNDS], open_ms[ROUNDS], append[ROUNDS], flag[ROUNDS], refresh[ROUNDS],
	    all[ROUNDS];
	struct shelf_changes ch = {.vanished = shelf_uidset_new(), .flagged = shelf_uidset_new()};
	struct shelf_draft *d = make_draft(2);

	flag_some(mailbox, 1, size, SHELF_FLAGS_REMOVE); /* so that every change below is one */
	for (int r = 0; r < ROUNDS; r++) {
		struct shelf_append item = {.draft = d, .internaldate_s = INT64_MIN};
		struct shelf_append_result res;
		struct shelf_view *view;
		struct shelf_mailbox m;
		struct shelf_rd *rd;
		double t = seconds();

		must(shelf_rd_begin(store, account[0], &rd), "read");
		must(shelf_mailbox_get(rd, mailbox, &m), "mailbox");
		status[r] = (seconds() - t) * 1e3;
		t = seconds();
		must(shelf_view_open(rd, mailbox, &view), "view");
		open_ms[r] = (seconds() - t) * 1e3;
		shelf_rd_end(&rd);
		t = seconds();
		must(shelf_append(store, account[0], mailbox, &item, 1, &res), "append");
		append[r] = (seconds() - t) * 1e3;
		flag[r] = 0;
		for (uint32_t i = 1; i <= 10; i++)
			flag[r] += flag_some(mailbox, i * (size / 11), i * (size / 11),
					     r % 2 ? SHELF_FLAGS_REMOVE : SHELF_FLAGS_ADD) /
				   10;
		t = seconds();
		must(shelf_rd_begin(store, account[0], &rd), "read");
		must(shelf_view_refresh(view, rd, true, &ch), "refresh");
		shelf_view_commit(view);
		shelf_rd_end(&rd);
		refresh[r] = (seconds() - t) * 1e3;
		if (shelf_uidset_count(ch.flagged) != 10 || ch.added != 1)
			must(SHELF_ECORRUPT, "refresh told something else than was done");
		all[r] = flag_some(mailbox, 1, size, r % 2 ? SHELF_FLAGS_REMOVE : SHELF_FLAGS_ADD);
		shelf_view_close(&view);
	}
	shelf_draft_free(&d);
	shelf_uidset_free(&ch.vanished);
	shelf_uidset_free(&ch.flagged);
	return (struct costs){median(status), median(open_ms), median(append),
			      median(flag),   median(refresh), median(all)};
}

static void
report_growth(unsigned largest)
{
	struct costs first = {0}, last = {0};
	uint32_t mailbox;

	must(shelf_mailbox_create(store, account[0], shelf_span_str("growing"), 0, &mailbox),
	     "create");
	printf("\none mailbox, milliseconds (median of %d)\n%10s %9s %9s %9s %9s %9s %9s\n", ROUNDS,
	       "messages", "status", "open", "append", "flag", "resync10", "flag all");
	for (unsigned size = 10000; size <= largest; size *= 10) {
		grow(mailbox, size);
		last = measure(mailbox, size);
		if (size == 10000)
			first = last;
		printf("%10u %9.4f %9.3f %9.3f %9.3f %9.3f %9.2f\n", size, last.status, last.open,
		       last.append, last.flag, last.refresh, last.flag_all);
	}
	printf("%10s %8.1fx %8.1fx %8.1fx %8.1fx %8.1fx %8.1fx\n", "growth",
	       last.status / first.status, last.open / first.open, last.append / first.append,
	       last.flag / first.flag, last.refresh / first.refresh,
	       last.flag_all / first.flag_all);
}

int
main(int argc, char **argv)
{
	struct shelf_account_new req[ACCOUNTS];
	static char name[ACCOUNTS][16];
	unsigned long largest = argc > 2 ? strtoul(argv[2], NULL, 10) : 100000;
	char command[4300];
	double limit;

	if (argc < 2 || argc > 3 || largest < 10000 || largest > 10000000) {
		fputs("usage: bench_engine DIR [MESSAGES]    10000 <= MESSAGES <= 10000000\n",
		      stderr);
		return EX_USAGE;
	}
	dir = argv[1];
	must(shelf_store_create(dir, NULL), dir);
	must(shelf_store_open(dir, SHELF_OPEN_SERVE, &store), dir);
	for (int i = 0; i < ACCOUNTS; i++) {
		snprintf(name[i], sizeof(name[i]), "user%d", i);
		req[i] = (struct shelf_account_new){.name = shelf_span_str(name[i])};
	}
	must(shelf_account_add(store, req, ACCOUNTS, NULL, account), "accounts");
	limit = flush_limit();
	printf("limit: %.0f flushes/s of 4 KiB by one thread\n", limit);
	report_delivery(limit);
	report_growth((unsigned)largest);
	shelf_store_close(&store);
	snprintf(command, sizeof(command), "rm -rf -- '%s'", dir);
	return system(command) == 0 ? 0 : EX_IOERR;
}
