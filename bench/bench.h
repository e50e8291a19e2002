/*
 * bench.h (private) - what the files of the bench share: the run, made mail, clocks, the report
 *
 * Shape     A subject (bench_deliver.c, bench_mailbox.c ...) makes a store of its own below the run's
 *           directory, measures, reports figures and removes it. A figure has one value, or one for
 *           each size of mailbox measured (10,000, 100,000, 1,000,000 messages), and may have a promise.
 * Errors    What must not fail ends the program (bench_must).
 * Threads   The report belongs to the main thread.
 */
#ifndef BENCH_H
#define BENCH_H

#include <mailshelf/mailshelf.h>

enum { BENCH_SIZES_MAX = 4, BENCH_ACCOUNTS = 64 };

struct bench {
	const char *dir;     /* everything lies below it */
	const char *corpus;  /* directory of mbox files for the storage ratio; may be missing */
	unsigned largest;    /* messages in the largest mailbox */
	double flushes_s;    /* 4 KiB appended and fdatasync'ed, by one thread: the limit of the disk */
	bool json;
	struct shelf_buf out; /* JSON: figures so far */
	unsigned figures, missed;
	struct shelf_store *store; /* of the subject that runs */
	uint32_t account[BENCH_ACCOUNTS];
};

/* ---- Subjects -------------------------------------------------------------------------------- */

void bench_deliver(struct bench *b);
void bench_mailbox(struct bench *b);
void bench_sort(struct bench *b);
void bench_bulk(struct bench *b);
void bench_space(struct bench *b);
void bench_churn(struct bench *b);

/* ---- Report (bench_report.c) ----------------------------------------------------------------- */

enum bench_promise {
	BENCH_NO_PROMISE,
	BENCH_GROWTH, /* the last value is at most LIMIT times the first */
	BENCH_MOST,   /* the last value is at most LIMIT */
	BENCH_LEAST,  /* the last value is at least LIMIT */
};

struct bench_figure {
	const char *name, *unit;
	double value[BENCH_SIZES_MAX];
	unsigned n; /* values; 1: of one size */
	enum bench_promise promise;
	double limit;
};

void bench_report_begin(struct bench *b);
void bench_section(struct bench *b, const char *title, const unsigned *sizes, unsigned n);
void bench_report(struct bench *b, const struct bench_figure *f);
/* One value without sizes. */
void bench_report_one(struct bench *b, const char *name, const char *unit, double value,
    enum bench_promise promise, double limit);
void bench_note(struct bench *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void bench_report_end(struct bench *b);

/* ---- Running (bench_run.c) ------------------------------------------------------------------- */

void bench_must(int rc, const char *what);
double bench_seconds(void);
double bench_cpu_seconds(void);    /* of the whole process, user and system */
double bench_written_bytes(void);  /* handed to the kernel by this process so far */
double bench_heap_bytes(void);     /* allocated now */
double bench_median(double *v, unsigned n); /* sorts V */
double bench_flushes(const struct bench *b);

/* A new store at DIR/NAME with BENCH_ACCOUNTS accounts; the one before was closed. */
void bench_store_open(struct bench *b, const char *name, const struct shelf_store_params *params);
/* Closes and removes it. */
void bench_store_close(struct bench *b, const char *name);
struct shelf_store_stats bench_stats(struct bench *b);

/* ---- Mail (bench_mail.c) --------------------------------------------------------------------- */

/* Message N as mail is on average (sizes log-normal with a median of 7 KB, four tenths of it headers, one
 * in six with an attachment): the same for the same N. */
void bench_mail_text(unsigned n, struct shelf_buf *out);
/* A message of about LEN bytes without attachment. */
void bench_mail_plain(unsigned n, size_t len, struct shelf_buf *out);
struct shelf_draft *bench_draft(struct bench *b, struct shelf_span text);
/* Calls FN for each message of every *.mbox.zst below CORPUS/bulk, with CRLF lines; how many there were. */
typedef void bench_message_fn(void *arg, struct shelf_span text);
unsigned bench_corpus_each(const char *corpus, bench_message_fn *fn, void *arg);
/* Random numbers that are the same in every run. */
uint32_t bench_random(uint64_t *state);

#endif
