/*
 * bench_space.c - what a message takes on the disk, and whether space that is given back is used again
 *
 * Storage ratio: real mail when the corpus is there, made mail otherwise, every message once; bytes in use
 * over bytes of RFC822, and what the same messages take as one zstd frame each at the store's level. Then a
 * dictionary is trained from them and all is compressed again with it.
 *
 * Churn: ten times a random half of the messages goes for good and as many others come. The file must not
 * grow beyond 1.25 times what the live messages took in it when it was first full, and deliveries must keep
 * 70 % of the speed of a fresh store (the median of the rounds).
 */
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#include <zstd.h>

#include "bench.h"

enum {
	ZSTD_LEVEL = 3,
	BATCH = 40, BATCH_BYTES = 2 << 20, /* of one transaction */
	MADE = 20000,
	CHURN_MESSAGES = 6000, CHURN_ROUNDS = 10, CHURN_TEXTS = 2000, CHURN_TURN = 200,
};

/* ---- Ratio ------------------------------------------------------------------------------------------------ */

struct filling {
	struct bench *b;
	struct shelf_append items[BATCH];
	size_t n, batch_bytes;
	uint32_t mailbox;
	double rfc822, frames;
	ZSTD_CCtx *zstd;
	struct shelf_buf packed;
	unsigned messages;
};

static void
flush_batch(struct filling *f)
{
	struct shelf_append_result res;

	if (f->n > 0)
		bench_must(shelf_append(f->b->store, f->b->account[0], f->mailbox, f->items, f->n, &res),
		    "append");
	while (f->n > 0)
		shelf_draft_free(&f->items[--f->n].draft);
	f->batch_bytes = 0;
}

static void
add_message(void *arg, struct shelf_span text)
{
	struct filling *f = arg;
	size_t bound = ZSTD_compressBound(text.len), got;

	shelf_buf_clear(&f->packed);
	got = ZSTD_compressCCtx(f->zstd, shelf_buf_reserve(&f->packed, bound), bound, text.data, text.len,
	    ZSTD_LEVEL);
	if (ZSTD_isError(got))
		exit(EX_SOFTWARE);
	f->frames += (double)got;
	f->rfc822 += (double)text.len;
	f->messages++;
	f->items[f->n++] = (struct shelf_append){
	    .draft = bench_draft(f->b, text), .flags = SHELF_SEEN, .internaldate_s = INT64_MIN};
	f->batch_bytes += text.len;
	if (f->n == BATCH || f->batch_bytes > BATCH_BYTES)
		flush_batch(f);
}

static void
add_made_mail(struct filling *f)
{
	struct shelf_buf text = {0};

	for (unsigned n = 0; n < MADE; n++) {
		shelf_buf_clear(&text);
		bench_mail_text(n, &text);
		add_message(f, shelf_buf_span(&text));
	}
	shelf_buf_free(&text);
}

static double
stored_bytes(struct bench *b)
{
	struct shelf_partition_stats s;

	bench_must(shelf_stats_partition(b->store, 0, &s), "stats");
	return (double)s.physical_bytes;
}

/*
 * Bodies with a trained dictionary over bodies with none, as the training tried them on messages it had not seen,
 * and those too large for one. That is: over one zstd frame each at the same level.
 */
static double
trained_over_plain(const struct shelf_dict_report *r)
{
	const struct shelf_dict_trial *t = &r->kind[SHELF_DICT_BODY];
	double share = t->tested == 0 ? 0 : (double)(t->learned + t->tested) / t->tested;

	return (share * (double)(t->id != 0 ? t->after : t->before) + (double)r->large_stored) /
	       (share * (double)t->without + (double)r->large_stored);
}

static void
report_dictionary(struct bench *b, const struct filling *f)
{
	struct shelf_dict_report report;
	struct shelf_dict_pass pass = {0};
	double start = bench_seconds();
	int rc = 1;

	bench_must(shelf_dict_train(b->store, 0, NULL, &report), "train");
	while (rc == 1)
		rc = shelf_dict_recompress(b->store, 0, &pass, 1000);
	bench_must(rc, "recompress");
	bench_report_one(b, "stored after training, over RFC822", "x", stored_bytes(b) / f->rfc822,
	    BENCH_NO_PROMISE, 0);
	bench_report_one(b, "bodies, dictionary over none", "x", trained_over_plain(&report), BENCH_MOST, 0.83);
	bench_report_one(b, "trained and recompressed in", "s", bench_seconds() - start, BENCH_NO_PROMISE, 0);
}

void
bench_space(struct bench *b)
{
	const struct shelf_store_params params = {.partitions = 1};
	struct filling f = {.b = b, .zstd = ZSTD_createCCtx()};
	struct shelf_store_stats empty, full;
	double start;

	bench_store_open(b, "space", &params);
	bench_must(shelf_mailbox_create(b->store, b->account[0], shelf_span_str("mail"), 0, &f.mailbox),
	    "create");
	empty = bench_stats(b);
	start = bench_seconds();
	if (bench_corpus_each(b->corpus, add_message, &f) == 0)
		add_made_mail(&f);
	flush_batch(&f);
	start = bench_seconds() - start;
	full = bench_stats(b);
	bench_section(b, f.messages == MADE ? "space of made mail" : "space of the corpus", NULL, 0);
	bench_report_one(b, "messages", "", f.messages, BENCH_NO_PROMISE, 0);
	bench_report_one(b, "RFC822", "MB", f.rfc822 / 1e6, BENCH_NO_PROMISE, 0);
	bench_report_one(b, "filled with", "MB/s", f.rfc822 / 1e6 / start, BENCH_NO_PROMISE, 0);
	bench_report_one(b, "one zstd frame each, over RFC822", "x", f.frames / f.rfc822, BENCH_NO_PROMISE, 0);
	bench_report_one(b, "file in use, over RFC822", "x",
	    (double)(full.file_bytes - full.free_bytes - (empty.file_bytes - empty.free_bytes)) / f.rfc822,
	    BENCH_NO_PROMISE, 0);
	bench_report_one(b, "file, over RFC822", "x", (double)full.file_bytes / f.rfc822, BENCH_NO_PROMISE,
	    0);
	bench_report_one(b, "stored (bodies, structure), over RFC822", "x", stored_bytes(b) / f.rfc822,
	    BENCH_NO_PROMISE, 0);
	report_dictionary(b, &f);
	bench_store_close(b, "space");
	ZSTD_freeCCtx(f.zstd);
	shelf_buf_free(&f.packed);
}

/* ---- Churn ------------------------------------------------------------------------------------------------ */

static struct shelf_buf churn_text[CHURN_TEXTS];

/* COUNT deliveries into STORE, durable one by one; seconds taken. */
static double
fill_store(struct bench *b, struct shelf_store *store, unsigned count, unsigned from)
{
	double start = bench_seconds();

	for (unsigned i = 0; i < count; i++) {
		struct shelf_draft *d;
		struct shelf_delivery to = {.account = b->account[(from + i) % BENCH_ACCOUNTS]};
		const struct shelf_buf *text = &churn_text[(from + i) % CHURN_TEXTS];
		struct shelf_append_result res;

		bench_must(shelf_draft_new(store, &d), "draft");
		bench_must(shelf_draft_write(d, text->data, text->len), "draft");
		bench_must(shelf_draft_finish(d), "draft");
		shelf_deliver(store, d, &to, 1, &res);
		bench_must(res.rc, "deliver");
		shelf_draft_free(&d);
	}
	return bench_seconds() - start;
}

/*
 * Fills STORE up again and tells how its speed compares with that of FRESH, a store that was never churned:
 * the two take turns, so that both meet the same disk and the same neighbours.
 */
static double
refill(struct bench *b, struct shelf_store *fresh, unsigned count, unsigned from)
{
	double churned_s = 0, fresh_s = 0;
	unsigned churned_n = 0, fresh_n = 0;

	for (; churned_n < count; churned_n += CHURN_TURN, fresh_n += CHURN_TURN / 4) {
		churned_s += fill_store(b, b->store, CHURN_TURN, from + churned_n);
		fresh_s += fill_store(b, fresh, CHURN_TURN / 4, from + churned_n);
	}
	return (churned_n / churned_s) / (fresh_n / fresh_s);
}

/* A random half of each INBOX goes for good; how many messages went. */
static unsigned
remove_half(struct bench *b, uint64_t *random)
{
	unsigned gone = 0;
	int rc = 1;

	for (int a = 0; a < BENCH_ACCOUNTS; a++) {
		struct shelf_uidset *uids = shelf_uidset_new(), *expunged = shelf_uidset_new();
		struct shelf_msg m = {0};
		struct shelf_mailbox inbox;
		struct shelf_rd *rd;

		bench_must(shelf_rd_begin(b->store, b->account[a], &rd), "read");
		bench_must(shelf_mailbox_find(rd, shelf_span_str("INBOX"), &inbox), "find");
		while (shelf_msg_next(rd, inbox.id, m.uid + 1, SHELF_MSG_FLAGS, &m) == 0)
			if (bench_random(random) % 2 == 0)
				shelf_uidset_add(uids, m.uid);
		shelf_rd_end(&rd);
		bench_must(shelf_msg_expunge(b->store, b->account[a], inbox.id, uids, 0, expunged), "expunge");
		gone += shelf_uidset_count(expunged);
		shelf_uidset_free(&uids);
		shelf_uidset_free(&expunged);
	}
	while (rc == 1)
		rc = shelf_store_purge(b->store, 1000);
	bench_must(rc, "purge");
	return gone;
}

void
bench_churn(struct bench *b)
{
	const struct shelf_store_params params = {.partitions = 1, .hold_s = UINT32_MAX};
	double speed[CHURN_ROUNDS], full_bytes, live_bytes, slowest;
	struct shelf_store *fresh;
	struct shelf_store_stats s;
	uint64_t random = 1;

	for (unsigned n = 0; n < CHURN_TEXTS; n++)
		bench_mail_text(n, &churn_text[n]);
	/* Both have the same accounts, with the same ids. */
	bench_store_open(b, "fresh", &params);
	fresh = b->store;
	bench_store_open(b, "churn", &params);
	(void)fill_store(b, b->store, CHURN_MESSAGES, 0);
	full_bytes = (double)bench_stats(b).file_bytes;
	live_bytes = full_bytes / stored_bytes(b);
	for (int r = 0; r < CHURN_ROUNDS; r++)
		speed[r] = refill(b, fresh, remove_half(b, &random), bench_random(&random) % CHURN_TEXTS);
	s = bench_stats(b);
	live_bytes *= stored_bytes(b); /* what these messages would take in a fresh file */
	slowest = speed[0];
	for (int r = 1; r < CHURN_ROUNDS; r++)
		slowest = speed[r] < slowest ? speed[r] : slowest;
	bench_section(b, "churn: 10 times half out, half in", NULL, 0);
	bench_report_one(b, "file when first full", "MB", full_bytes / 1e6, BENCH_NO_PROMISE, 0);
	bench_report_one(b, "file after that, over live", "x", (double)s.file_bytes / live_bytes, BENCH_MOST,
	    1.25);
	bench_report_one(b, "free pages in it", "x", (double)s.free_bytes / (double)s.file_bytes,
	    BENCH_NO_PROMISE, 0);
	bench_report_one(b, "slowest round, over a fresh store", "x", slowest, BENCH_NO_PROMISE, 0);
	bench_report_one(b, "deliveries, over a fresh store", "x", bench_median(speed, CHURN_ROUNDS),
	    BENCH_LEAST, 0.7);
	bench_store_close(b, "churn");
	b->store = fresh;
	bench_store_close(b, "fresh");
	for (unsigned n = 0; n < CHURN_TEXTS; n++)
		shelf_buf_free(&churn_text[n]);
}
