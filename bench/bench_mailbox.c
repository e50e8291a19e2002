/*
 * bench_mailbox.c - what a mailbox costs as it grows tenfold: none of these may grow
 *
 * One account for each size holds one mailbox, all but its last message seen. The sizes take turns in every
 * round, so that what else the machine does meets all of them alike. The cost of a read is the mean of a few
 * in a row; a durable change is timed once a round. Figures are medians over the rounds.
 */
#include <stdio.h>

#include "bench.h"

enum { ROUNDS = 21, READS = 40, BATCH = 1000, CHANGES = 10, ROWS = 12 };

static const char *const row_name[ROWS] = {"SELECT", "SELECT, view alone", "STATUS, every counter",
    "first unseen", "quota usage", "deliver a message", "deliver, CPU", "change one flag",
    "re-sync, 10 flags spread out", "re-sync, 10 flags together", "re-sync, 10 expunged",
    "view: number of a uid, first time"};
static const bool row_promised[ROWS] = {true, false, true, true, true, true, false, true, true, true,
    true, false};

struct box {
	uint32_t account, mailbox;
	unsigned size;
	double us[ROWS][ROUNDS];
};

static struct shelf_changes changes;

static struct shelf_rd *
begin(struct bench *b, const struct box *x)
{
	struct shelf_rd *rd;

	bench_must(shelf_rd_begin(b->store, x->account, &rd), "read");
	return rd;
}

static void
fill(struct bench *b, struct box *x)
{
	struct shelf_append items[BATCH];
	struct shelf_append_result res;
	struct shelf_buf text = {0};
	struct shelf_draft *d;

	bench_mail_plain(1, 0, &text);
	d = bench_draft(b, shelf_buf_span(&text));
	for (unsigned i = 0; i < BATCH; i++)
		items[i] = (struct shelf_append){
		    .draft = d, .flags = SHELF_SEEN, .internaldate_s = INT64_MIN};
	bench_must(shelf_mailbox_create(b->store, x->account, shelf_span_str("growing"), 0, &x->mailbox),
	    "create");
	for (unsigned n = 0; n < x->size; n += BATCH) {
		if (n + BATCH >= x->size)
			items[BATCH - 1].flags = 0;
		bench_must(shelf_append(b->store, x->account, x->mailbox, items, BATCH, &res), "append");
	}
	shelf_draft_free(&d);
	shelf_buf_free(&text);
}

/* ---- Reading ---------------------------------------------------------------------------------------------- */

/* What SELECT asks of the engine. */
static void
read_select(struct bench *b, const struct box *x)
{
	struct shelf_rd *rd = begin(b, x);
	struct shelf_mailbox m;
	struct shelf_view *view;
	uint32_t uid, seq;

	bench_must(shelf_mailbox_find(rd, shelf_span_str("growing"), &m), "find");
	bench_must(shelf_view_open(rd, m.id, &view), "view");
	bench_must(shelf_msg_first_unseen(rd, m.id, &uid, &seq), "unseen");
	if (shelf_view_count(view) != m.exists || uid != x->size || seq == 0)
		bench_must(SHELF_ECORRUPT, "a view counts differently");
	shelf_view_close(&view);
	shelf_rd_end(&rd);
}

static void
read_view(struct bench *b, const struct box *x)
{
	struct shelf_rd *rd = begin(b, x);
	struct shelf_view *view;

	bench_must(shelf_view_open(rd, x->mailbox, &view), "view");
	shelf_view_close(&view);
	shelf_rd_end(&rd);
}

static void
read_status(struct bench *b, const struct box *x)
{
	struct shelf_rd *rd = begin(b, x);
	struct shelf_mailbox m;

	bench_must(shelf_mailbox_find(rd, shelf_span_str("growing"), &m), "find");
	if (m.exists == 0 || m.unseen != 1 || m.deleted != 0 || m.deleted_bytes != 0)
		bench_must(SHELF_ECORRUPT, "counters are not those of the mailbox");
	shelf_rd_end(&rd);
}

static void
read_unseen(struct bench *b, const struct box *x)
{
	struct shelf_rd *rd = begin(b, x);
	uint32_t uid, seq;

	bench_must(shelf_msg_first_unseen(rd, x->mailbox, &uid, &seq), "unseen");
	shelf_rd_end(&rd);
}

static void
read_quota(struct bench *b, const struct box *x)
{
	struct shelf_rd *rd = begin(b, x);
	struct shelf_quota q;

	bench_must(shelf_quota_get(rd, &q), "quota");
	shelf_rd_end(&rd);
}

static double
time_reads(struct bench *b, const struct box *x, void (*fn)(struct bench *, const struct box *),
    unsigned times)
{
	double start = bench_seconds();

	for (unsigned i = 0; i < times; i++)
		fn(b, x);
	return (bench_seconds() - start) * 1e6 / times;
}

/* ---- Changing --------------------------------------------------------------------------------------------- */

static void
deliver(struct bench *b, struct box *x, unsigned round)
{
	struct shelf_delivery to = {
	    .account = x->account, .mailbox = shelf_span_str("growing"), .flags = SHELF_SEEN};
	struct shelf_append_result res;
	struct shelf_buf text = {0};
	struct shelf_draft *d;
	double start, cpu;

	bench_mail_plain(round, 7300, &text);
	d = bench_draft(b, shelf_buf_span(&text));
	start = bench_seconds();
	cpu = bench_cpu_seconds();
	shelf_deliver(b->store, d, &to, 1, &res);
	bench_must(res.rc, "deliver");
	x->us[5][round] = (bench_seconds() - start) * 1e6;
	x->us[6][round] = (bench_cpu_seconds() - cpu) * 1e6;
	shelf_draft_free(&d);
	shelf_buf_free(&text);
}

static double
flag(struct bench *b, const struct box *x, uint32_t uid, bool on)
{
	const struct shelf_flag_change change = {.op = on ? SHELF_FLAGS_ADD : SHELF_FLAGS_REMOVE,
	    .flags = SHELF_FLAGGED, .unchanged_since = UINT64_MAX};
	struct shelf_uidset *uids = shelf_uidset_new();
	double start = bench_seconds();

	shelf_uidset_add(uids, uid);
	bench_must(shelf_msg_set_flags(b->store, x->account, x->mailbox, uids, &change, NULL, NULL), "flag");
	shelf_uidset_free(&uids);
	return (bench_seconds() - start) * 1e6;
}

static double
refresh(struct bench *b, const struct box *x, struct shelf_view *view, unsigned flagged,
    unsigned vanished)
{
	double start = bench_seconds();
	struct shelf_rd *rd = begin(b, x);

	bench_must(shelf_view_refresh(view, rd, true, &changes), "refresh");
	shelf_view_commit(view);
	shelf_rd_end(&rd);
	start = (bench_seconds() - start) * 1e6;
	if (shelf_uidset_count(changes.flagged) != flagged ||
	    shelf_uidset_count(changes.vanished) != vanished)
		bench_must(SHELF_ECORRUPT, "a view tells something else than was done");
	return start;
}

static void
change_and_refresh(struct bench *b, struct box *x, unsigned round)
{
	struct shelf_uidset *uids = shelf_uidset_new();
	struct shelf_rd *rd = begin(b, x);
	struct shelf_view *view;
	double start;

	bench_must(shelf_view_open(rd, x->mailbox, &view), "view");
	shelf_rd_end(&rd);
	start = bench_seconds();
	if (shelf_view_seq(view, x->size / 2 + 255) == 0)
		bench_must(SHELF_ECORRUPT, "a uid is not there");
	x->us[11][round] = (bench_seconds() - start) * 1e6;
	x->us[7][round] = 0;
	for (uint32_t i = 0; i < CHANGES; i++)
		x->us[7][round] += flag(b, x, x->size / (CHANGES + 1) * (i + 1), round % 2 == 0) / CHANGES;
	x->us[8][round] = refresh(b, x, view, CHANGES, 0);
	for (uint32_t i = 0; i < CHANGES; i++)
		(void)flag(b, x, x->size / 2 + 101 + i, round % 2 == 0);
	x->us[9][round] = refresh(b, x, view, CHANGES, 0);
	/* Ten that nothing else here asks for, different ones each round. */
	for (uint32_t i = 0; i < CHANGES; i++)
		shelf_uidset_add(uids, x->size / (CHANGES + 1) * (i + 1) + 10 + round);
	bench_must(shelf_msg_expunge(b->store, x->account, x->mailbox, uids, 0, NULL), "expunge");
	x->us[10][round] = refresh(b, x, view, 0, CHANGES);
	shelf_uidset_free(&uids);
	shelf_view_close(&view);
}

static void
measure(struct bench *b, struct box *x, unsigned round)
{
	x->us[0][round] = time_reads(b, x, read_select, READS);
	x->us[1][round] = time_reads(b, x, read_view, READS);
	x->us[2][round] = time_reads(b, x, read_status, READS);
	x->us[3][round] = time_reads(b, x, read_unseen, READS);
	x->us[4][round] = time_reads(b, x, read_quota, READS);
	deliver(b, x, round);
	change_and_refresh(b, x, round);
}

void
bench_mailbox(struct bench *b)
{
	static struct box box[BENCH_SIZES_MAX];
	unsigned n = 0, sizes[BENCH_SIZES_MAX];

	changes = (struct shelf_changes){
	    .vanished = shelf_uidset_new(), .flagged = shelf_uidset_new()};
	bench_store_open(b, "mailbox", NULL);
	for (unsigned size = 10000; size <= b->largest && n < BENCH_SIZES_MAX; size *= 10, n++) {
		box[n] = (struct box){.account = b->account[n], .size = sizes[n] = size};
		fill(b, &box[n]);
	}
	bench_section(b, "one mailbox, messages in it:", sizes, n);
	for (unsigned round = 0; round < ROUNDS; round++)
		for (unsigned i = 0; i < n; i++)
			measure(b, &box[i], round);
	for (unsigned r = 0; r < ROWS; r++) {
		struct bench_figure f = {.name = row_name[r], .unit = "us", .n = n,
		    .promise = row_promised[r] ? BENCH_GROWTH : BENCH_NO_PROMISE, .limit = 2};

		for (unsigned i = 0; i < n; i++)
			f.value[i] = bench_median(box[i].us[r], ROUNDS);
		bench_report(b, &f);
	}
	bench_store_close(b, "mailbox");
	shelf_uidset_free(&changes.vanished);
	shelf_uidset_free(&changes.flagged);
}
