/*
 * bench_bulk.c - what touches a whole mailbox: a session's picture of it, flags by bulk, walks, expunge, copy
 *
 * Promises: one change of flags over a million messages takes less than a second of CPU and writes less than
 * 16 MiB; a view of a million messages takes 160 KiB at the most, and a few KiB without holes.
 */
#include <stdio.h>

#include "bench.h"

enum { BATCH = 1000, MOVED = 1000, ROWS = 16, SPREAD = 101 };

/* Holes come with "expunge half", which leaves half the messages over the same uids. */
enum row {
	VIEW_OPEN, VIEW_FULL, FLAGS_CPU, FLAGS_WALL, FLAGS_BYTES, DELETED_CPU, DELETED_BYTES, SCATTER_CPU,
	SCATTER_BYTES, WALK_FLAGS, WALK_ALL, COPY_1000, MOVE_1000, EXPUNGE_WALL, EXPUNGE_CPU, VIEW_HOLES,
};
static const struct {
	const char *name, *unit;
	enum bench_promise promise;
	double limit;
} rows[ROWS] = {
    [VIEW_OPEN] = {"view, just opened", "KiB", BENCH_MOST, 16},
    [VIEW_FULL] = {"view, uids without holes, all asked for", "KiB", BENCH_MOST, 16},
    [FLAGS_CPU] = {"\\Flagged on all: CPU", "ms", BENCH_MOST, 1000},
    [FLAGS_WALL] = {"\\Flagged on all: wall clock", "ms", BENCH_NO_PROMISE, 0},
    [FLAGS_BYTES] = {"\\Flagged on all: written", "MiB", BENCH_MOST, 16},
    [DELETED_CPU] = {"\\Deleted on all: CPU", "ms", BENCH_MOST, 1000},
    [DELETED_BYTES] = {"\\Deleted on all: written", "MiB", BENCH_MOST, 16},
    [SCATTER_CPU] = {"a keyword on a random half: CPU", "ms", BENCH_MOST, 1000},
    [SCATTER_BYTES] = {"a keyword on a random half: written", "MiB", BENCH_MOST, 16},
    [WALK_FLAGS] = {"walk of all flags", "ms", BENCH_NO_PROMISE, 0},
    [WALK_ALL] = {"walk of all flags, dates, sizes", "ms", BENCH_NO_PROMISE, 0},
    [COPY_1000] = {"copy about 1,000", "ms", BENCH_NO_PROMISE, 0},
    [MOVE_1000] = {"move about 1,000", "ms", BENCH_NO_PROMISE, 0},
    [EXPUNGE_WALL] = {"expunge a random half: wall clock", "ms", BENCH_NO_PROMISE, 0},
    [EXPUNGE_CPU] = {"expunge a random half: CPU", "ms", BENCH_NO_PROMISE, 0},
    [VIEW_HOLES] = {"view, random half gone, all asked for", "KiB", BENCH_MOST, 160},
};

struct box {
	struct bench *b;
	uint32_t account, mailbox, other;
	unsigned size;
	double value[ROWS];
};

static void
fill(struct box *x)
{
	struct shelf_append items[BATCH];
	struct shelf_append_result res;
	struct shelf_buf text = {0};
	struct shelf_draft *d;

	bench_mail_plain(1, 0, &text);
	d = bench_draft(x->b, shelf_buf_span(&text));
	for (unsigned i = 0; i < BATCH; i++)
		items[i] = (struct shelf_append){.draft = d, .internaldate_s = INT64_MIN};
	for (unsigned n = 0; n < x->size; n += BATCH)
		bench_must(shelf_append(x->b->store, x->account, x->mailbox, items, BATCH, &res), "append");
	shelf_draft_free(&d);
	shelf_buf_free(&text);
}

static struct shelf_rd *
begin(const struct box *x)
{
	struct shelf_rd *rd;

	bench_must(shelf_rd_begin(x->b->store, x->account, &rd), "read");
	return rd;
}

/* Heap of a view: as opened, and when every number and uid was asked for once. */
static void
measure_view(struct box *x, double *open_out, double *full_out)
{
	struct shelf_rd *rd = begin(x);
	double before = bench_heap_bytes();
	struct shelf_view *view;
	uint32_t last = 0;

	bench_must(shelf_view_open(rd, x->mailbox, &view), "view");
	if (open_out != NULL)
		*open_out = (bench_heap_bytes() - before) / 1024;
	shelf_rd_end(&rd);
	before = bench_heap_bytes() - before;
	for (uint32_t seq = 1; seq <= shelf_view_count(view); seq++) {
		uint32_t uid = shelf_view_uid(view, seq);

		if (uid <= last || (seq % SPREAD == 0 && shelf_view_seq(view, uid) != seq))
			bench_must(SHELF_ECORRUPT, "a view contradicts itself");
		last = uid;
	}
	*full_out = bench_heap_bytes();
	shelf_view_close(&view);
	*full_out = (*full_out - bench_heap_bytes()) / 1024;
}

static struct shelf_uidset *
random_half(const struct box *x)
{
	struct shelf_uidset *uids = shelf_uidset_new();
	uint64_t state = x->size;

	for (uint32_t uid = 1; uid <= x->size; uid++)
		if (bench_random(&state) % 2 == 0)
			shelf_uidset_add(uids, uid);
	return uids;
}

static void
flag(struct box *x, const struct shelf_uidset *uids, enum shelf_flag_op op, uint32_t flags,
    const char *keyword, enum row cpu_row, enum row bytes_row)
{
	const struct shelf_span name = shelf_span_str(keyword);
	const struct shelf_flag_change change = {.op = op, .flags = flags, .keywords = &name,
	    .nkeywords = name.len > 0, .unchanged_since = UINT64_MAX};
	double cpu = bench_cpu_seconds(), bytes = bench_written_bytes();

	bench_must(shelf_msg_set_flags(x->b->store, x->account, x->mailbox, uids, &change, NULL, NULL),
	    "flags");
	x->value[cpu_row] = (bench_cpu_seconds() - cpu) * 1e3;
	x->value[bytes_row] = (bench_written_bytes() - bytes) / (1 << 20);
}

static double
walk(struct box *x, enum shelf_msg_what what)
{
	double start = bench_seconds();
	struct shelf_rd *rd = begin(x);
	struct shelf_msg m = {0};
	unsigned n = 0;
	int rc;

	while ((rc = shelf_msg_next(rd, x->mailbox, m.uid + 1, what, &m)) == 0)
		if (++n % 50000 == 0) {
			shelf_rd_end(&rd);
			rd = begin(x);
		}
	shelf_rd_end(&rd);
	if (rc != SHELF_ENOMESSAGE || n != x->size)
		bench_must(SHELF_ECORRUPT, "a walk misses messages");
	return (bench_seconds() - start) * 1e3;
}

static double
copy(struct box *x, bool move)
{
	struct shelf_copy_result res = {
	    .from_uids = shelf_uidset_new(), .to_uids = shelf_uidset_new()};
	struct shelf_uidset *uids = shelf_uidset_new();
	double start = bench_seconds();

	/* Half of two thousand are left there; then all that was copied goes back. */
	shelf_uidset_add_range(uids, move ? 1 : x->size / 2, move ? MOVED : x->size / 2 + 2 * MOVED - 1);
	bench_must(shelf_msg_copy(x->b->store, x->account, move ? x->other : x->mailbox,
		       move ? x->mailbox : x->other, uids, move, &res), "copy");
	start = (bench_seconds() - start) * 1e3;
	shelf_uidset_free(&uids);
	shelf_uidset_free(&res.from_uids);
	shelf_uidset_free(&res.to_uids);
	return start;
}

static void
measure_flags(struct box *x, const struct shelf_uidset *half)
{
	struct shelf_uidset *all = shelf_uidset_new();
	double start;

	shelf_uidset_add_range(all, 1, x->size);
	start = bench_seconds();
	flag(x, all, SHELF_FLAGS_ADD, SHELF_FLAGGED, "", FLAGS_CPU, FLAGS_BYTES);
	x->value[FLAGS_WALL] = (bench_seconds() - start) * 1e3;
	flag(x, half, SHELF_FLAGS_ADD, 0, "$Forwarded", SCATTER_CPU, SCATTER_BYTES);
	flag(x, all, SHELF_FLAGS_ADD, SHELF_DELETED, "", DELETED_CPU, DELETED_BYTES);
	shelf_uidset_free(&all);
}

static void
measure(struct box *x)
{
	struct shelf_uidset *half = random_half(x);
	double start, cpu;

	measure_view(x, &x->value[VIEW_OPEN], &x->value[VIEW_FULL]);
	measure_flags(x, half);
	x->value[WALK_FLAGS] = walk(x, SHELF_MSG_FLAGS);
	x->value[WALK_ALL] = walk(x, SHELF_MSG_ALL);
	start = bench_seconds();
	cpu = bench_cpu_seconds();
	bench_must(shelf_msg_expunge(x->b->store, x->account, x->mailbox, half, SHELF_EXPUNGE_DELETED, NULL),
	    "expunge");
	x->value[EXPUNGE_CPU] = (bench_cpu_seconds() - cpu) * 1e3;
	x->value[EXPUNGE_WALL] = (bench_seconds() - start) * 1e3;
	measure_view(x, NULL, &x->value[VIEW_HOLES]);
	x->value[COPY_1000] = copy(x, false);
	x->value[MOVE_1000] = copy(x, true);
	shelf_uidset_free(&half);
}

void
bench_bulk(struct bench *b)
{
	static struct box box[BENCH_SIZES_MAX];
	unsigned n = 0, sizes[BENCH_SIZES_MAX];

	bench_store_open(b, "bulk", NULL);
	for (unsigned size = 10000; size <= b->largest && n < BENCH_SIZES_MAX; size *= 10, n++) {
		struct box *x = &box[n];

		*x = (struct box){.b = b, .account = b->account[n], .size = sizes[n] = size};
		bench_must(shelf_mailbox_create(b->store, x->account, shelf_span_str("full"), 0, &x->mailbox),
		    "create");
		bench_must(shelf_mailbox_create(b->store, x->account, shelf_span_str("other"), 0, &x->other),
		    "create");
		fill(x);
		measure(x);
	}
	bench_section(b, "a whole mailbox, messages in it:", sizes, n);
	for (unsigned r = 0; r < ROWS; r++) {
		struct bench_figure f = {.name = rows[r].name, .unit = rows[r].unit, .n = n,
		    .promise = rows[r].promise, .limit = rows[r].limit};

		for (unsigned i = 0; i < n; i++)
			f.value[i] = box[i].value[r];
		bench_report(b, &f);
	}
	bench_store_close(b, "bulk");
}
