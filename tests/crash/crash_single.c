/*
 * crash_single.c - every call of every operation fails once
 *
 * A store is prepared, and its files are taken into memory. For each kind of fault and each n the files are laid down
 * again and a child opens the store, does the operation with its n-th call failing, then what must work without a
 * fault, and ends; this process opens what is left, checks it, and compares: what the engine confirmed is there,
 * what it refused has not happened, and nothing else has changed. N goes on until the operation makes fewer calls.
 *
 * What must stay true: a store is open in one process at a time, and in this one only while no child lives.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crash.h"
#include "image.h"
#include "kv.h"
#include "single.h"

enum {
	HANGS_S = 120,	   /* a child that takes longer hangs */
	RETRY_MS = 5,	   /* instead of a second, of a partition that was found full or closed */
	TRIES = 40,
	FAILED_ENOUGH = 3, /* of an operation and kind */
	SAMPLED = 4,	   /* with a step: one of so many variants */
	MEMORY_STEP = 20,  /* with a step: an operation allocates more often than it writes */
};

/* Of a fault that can be survived by trying once more there are two: once, and lasting. DISK_NONE: the process ends, in
 * front of a commit, behind it, or at a step of a compaction. */
static const struct variant {
	enum disk_kind kind;
	uint64_t times;
} variants[] = {{DISK_NONE, 1}, {DISK_WRITE_EIO, 1}, {DISK_WRITE_EIO, 3}, {DISK_WRITE_SHORT, 1}, {DISK_WRITE_EINTR, 1},
    {DISK_FULL, 24}, {DISK_META_EIO, 1}, {DISK_META_EIO, 2}, {DISK_SYNC_EIO, 1}, {DISK_SYNC_EIO, 2}, {DISK_MEMORY, 1}};
enum { VARIANTS = sizeof variants / sizeof *variants };

/* What the child has come to, in memory that both see. */
struct told {
	enum { AT_OPEN, AT_RUN, AT_AFTER, AT_END } stage;
	int rc;	      /* of the operation */
	bool faulted;
	int after_rc; /* of what must work then */
};

struct point {
	const struct single_op *op;
	struct single s;
	struct image *image;
	struct single_lines before, after;
	struct told *told; /* shared */
};

/* ---- The child ----------------------------------------------------------------------------------------- */

static int
open_store(struct single *s)
{
	char path[4200];

	single_path(s, "store", path);
	return shelf_store_open(path, 0, &s->store);
}

/* No call fails any more, but a disk that was full is looked at again, a closed partition opened again, in a while. */
static int
insist(struct single *s, int (*fn)(struct single *s))
{
	int rc = fn(s);

	for (unsigned i = 0; i < TRIES && (rc == SHELF_EFULL || rc == SHELF_EIO || rc == SHELF_EBUSY); i++) {
		usleep(2000 * RETRY_MS);
		rc = fn(s);
	}
	return rc;
}

static uint64_t die_at, points_passed;

static int
die(enum kv_point point)
{
	if (point == KV_AT_PUT || point == KV_AT_DEL)
		return 0;
	if (__atomic_add_fetch(&points_passed, 1, __ATOMIC_SEQ_CST) == die_at)
		_exit(CRASH_DIED);
	return 0;
}

static int
go_on(struct single *s)
{
	return single_deliver(s, s->last, "behind the fault");
}

static int
no_long_snapshot(struct single *s)
{
	struct shelf_store_stats stats;
	int rc = shelf_store_stats(s->store, &stats);

	if (rc == 0 && stats.slow_views > 0) {
		printf("%u snapshots lived longer than two seconds\n", stats.slow_views);
		fflush(stdout);
		rc = SHELF_EINVALID;
	}
	return rc;
}

/* What must work behind a fault; the end of the child. */
static void __attribute__((noreturn))
after(struct point *p, bool fault)
{
	struct told *t = p->told;

	if (p->s.store == NULL)
		t->after_rc = insist(&p->s, open_store);
	if (t->after_rc == 0 && p->op->after != NULL && fault)
		t->after_rc = insist(&p->s, p->op->after);
	if (t->after_rc == 0)
		t->after_rc = insist(&p->s, go_on);
	if (t->after_rc == 0)
		t->after_rc = no_long_snapshot(&p->s);
	shelf_store_close(&p->s.store);
	t->stage = AT_END;
	_exit(0);
}

static void __attribute__((noreturn))
child(struct point *p, const struct variant *v, uint64_t n)
{
	struct told *t = p->told;

	alarm(HANGS_S);
	kv_retry_ms = RETRY_MS;
	if (!p->op->opens && open_store(&p->s) != 0)
		_exit(1);
	t->stage = AT_RUN;
	if (v != NULL && v->kind == DISK_NONE) {
		die_at = n;
		kv_fault = die;
	} else if (v != NULL) {
		disk_arm_times(v->kind, n, v->times);
	}
	t->rc = p->op->run(&p->s);
	t->faulted = disk_faulted();
	disk_arm(DISK_NONE, 0);
	kv_fault = NULL;
	t->stage = AT_AFTER;
	after(p, v != NULL);
}

/* ---- What is left ---------------------------------------------------------------------------------------- */

static void
finding(void *arg, unsigned invariant, uint32_t account, const char *text)
{
	printf("invariant %u, account %u: %s\n", invariant, account, text);
	*(bool *)arg = false;
}

static bool
look(struct point *p, struct single_lines *lines)
{
	bool good = true;
	int rc = open_store(&p->s);

	if (rc == 0)
		rc = shelf_store_check(p->s.store, NULL, finding, &good);
	if (rc == 0)
		rc = single_list(&p->s, lines);
	if (rc != 0)
		printf("what is left: %s\n", shelf_err_name(rc));
	shelf_store_close(&p->s.store);
	return good && rc == 0;
}

/* An answer that somebody must have understood: of the disk, of memory, of room. */
static bool
may_answer(int rc)
{
	enum shelf_err_class class = shelf_err_class_of(rc);

	return rc == 0 || class == SHELF_CLASS_SYSTEM || class == SHELF_CLASS_FULL || class == SHELF_CLASS_BUSY;
}

static bool
held_may_go(const struct single_op *op)
{
	return op->kind == SINGLE_REMOVE || op->kind == SINGLE_MOVE;
}

static bool
compare(const struct point *p, const struct single_lines *is, bool died, struct shelf_buf *why)
{
	bool removes = held_may_go(p->op);
	bool unknown = died || p->told->rc == SHELF_EUNKNOWN;

	/* What comes behind the fault completes some operations. */
	if (p->told->rc == 0 && !died)
		return single_same(is, &p->after, why) || (removes && single_same_but_held(is, &p->after, why));
	if (p->op->kind == SINGLE_WHOLE)
		return single_same(is, &p->before, why) ||
		       ((unknown || p->op->after != NULL) && single_same(is, &p->after, why));
	if (p->op->kind == SINGLE_MOVE && !died && !single_as_many(is, &p->before, why))
		return false;
	return single_between(is, &p->before, &p->after, removes, why);
}

static bool
ended_well(const struct point *p, const struct variant *v, int status)
{
	/* Small allocations end the process when there is no memory, by design. */
	bool aborted = WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && v->kind == DISK_MEMORY &&
	               p->told->stage == AT_RUN;

	bool died = v->kind == DISK_NONE && WIFEXITED(status) && WEXITSTATUS(status) == CRASH_DIED;

	if (aborted || died || (status == 0 && may_answer(p->told->rc) && p->told->after_rc == 0))
		return true;
	printf("status %x at stage %d; it answered %s, then %s\n", (unsigned)status, (int)p->told->stage,
	    shelf_err_name(p->told->rc), shelf_err_name(p->told->after_rc));
	return false;
}

/* The child's status. N 0: it does only what must work. */
static int
run_child(struct point *p, const struct variant *v, uint64_t n)
{
	int status;
	pid_t pid;

	*p->told = (struct told){0};
	fflush(NULL);
	pid = fork();
	if (pid == 0 && v != NULL && n == 0) {
		alarm(HANGS_S);
		after(p, true);
	}
	if (pid == 0)
		child(p, v, n);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		support_fatal("no child");
	return status;
}

/* The next process goes on where one ended. */
static bool
another_goes_on(struct point *p, const struct variant *v, struct single_lines *is)
{
	int status = run_child(p, v, 0);
	struct shelf_buf why = {0};
	bool good = status == 0 && p->told->after_rc == 0;

	if (!good)
		printf("the next process: status %x, %s\n", (unsigned)status, shelf_err_name(p->told->after_rc));
	single_lines_free(is);
	good = look(p, is) && good;
	if (good && !single_between(is, &p->before, &p->after, held_may_go(p->op), &why)) {
		printf("behind the next process: %s\n", shelf_buf_cstr(&why));
		good = false;
	}
	if (good && p->op->kind == SINGLE_MOVE && !single_as_many(is, &p->before, &why)) {
		printf("behind the next process: %s\n", shelf_buf_cstr(&why));
		good = false;
	}
	shelf_buf_free(&why);
	return good;
}

static bool
one(struct point *p, const struct variant *v, uint64_t n, bool *faulted)
{
	struct single_lines is = {0};
	struct shelf_buf why = {0};
	bool died, good;
	int status;

	image_put(p->image, p->s.dir);
	status = run_child(p, v, n);
	died = status != 0;
	good = ended_well(p, v, status);
	*faulted = p->told->faulted || died;
	good = look(p, &is) && good;
	if (good && !compare(p, &is, died, &why)) {
		printf("it answered %s; %s\n", died ? "nothing" : shelf_err_name(p->told->rc), shelf_buf_cstr(&why));
		good = false;
	}
	if (good && died)
		good = another_goes_on(p, v, &is);
	single_lines_free(&is);
	shelf_buf_free(&why);
	return good;
}

/* ---- An operation ---------------------------------------------------------------------------------------- */

static int
make_store(struct single *s)
{
	const struct shelf_store_params params = {.partitions = 2, .map_bytes = 1u << 26, .reserve_bytes = 1u << 20};
	char path[4200];
	int rc;

	single_path(s, "store", path);
	if ((rc = shelf_store_create(path, &params)) != 0 || (rc = open_store(s)) != 0)
		return rc;
	return single_fill(s);
}

/* The files before, and what is in them before and after. In children, so that no thread of a store is here. */
static void
prepare(struct point *p)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		int rc = make_store(&p->s);

		if (rc == 0 && p->op->prepare != NULL)
			rc = p->op->prepare(&p->s);
		shelf_store_close(&p->s.store);
		if (rc != 0)
			support_fatal("%s: the store cannot be prepared: %s", p->op->name, shelf_err_name(rc));
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
		support_fatal("%s: no store", p->op->name);
	if (open_store(&p->s) != 0 || single_find(&p->s) != 0)
		support_fatal("%s: the store does not open", p->op->name);
	shelf_store_close(&p->s.store);
	p->image = image_take(p->s.dir);
	if (!look(p, &p->before))
		support_fatal("%s: nothing to compare with", p->op->name);
	image_put(p->image, p->s.dir);
	status = run_child(p, NULL, 0);
	if (status != 0 || p->told->rc != 0 || p->told->after_rc != 0)
		support_fatal("%s: without a fault: status %x, %s, then %s", p->op->name, (unsigned)status,
		    shelf_err_name(p->told->rc), shelf_err_name(p->told->after_rc));
	if (!look(p, &p->after))
		support_fatal("%s: wrong without a fault", p->op->name);
}

static const char *
name_of(const struct variant *v)
{
	return v->kind == DISK_NONE ? "death" : disk_kind_name(v->kind);
}

static struct support_count
all_calls(struct point *p, const struct variant *v, unsigned step, bool verbose)
{
	struct support_count count = {0, 0};
	uint64_t n = 1, last = 0, stride = step == 1 || v->kind != DISK_MEMORY ? step : (uint64_t)step * MEMORY_STEP;
	bool faulted = true;

	for (; faulted && count.failed < FAILED_ENOUGH; n += stride) {
		bool good = one(p, v, n, &faulted);

		if (!good)
			printf("%s: %s, %llu times from call %llu on\n", p->op->name, name_of(v),
			    (unsigned long long)v->times, (unsigned long long)n);
		count.passed += good;
		count.failed += !good;
		last = faulted ? n : last;
	}
	if (verbose)
		printf("%s: %s, %llu times: %u points, up to call %llu\n", p->op->name, name_of(v),
		    (unsigned long long)v->times, count.passed + count.failed, (unsigned long long)last);
	return count;
}

struct support_count
crash_single(unsigned op, unsigned step, uint64_t seed, bool verbose)
{
	struct point p = {.op = &single_ops[op]};
	struct support_count count = {0, 0};

	support_tmpdir(p.s.dir, sizeof p.s.dir);
	p.told = mmap(NULL, sizeof *p.told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (p.told == MAP_FAILED)
		support_fatal("no memory to share");
	prepare(&p);
	for (unsigned i = 0; i < VARIANTS; i++) {
		struct support_count of;

		if (step > 1 && (seed + op + i) % SAMPLED != 0)
			continue;
		of = all_calls(&p, &variants[i], step, verbose);
		count.passed += of.passed;
		count.failed += of.failed;
	}
	single_lines_free(&p.before);
	single_lines_free(&p.after);
	image_free(&p.image);
	munmap(p.told, sizeof *p.told);
	support_rmtree(p.s.dir);
	return count;
}
