/*
 * crash.c - the crash tests
 *
 *   kill     kill -9 at random moments under load, several processes on one store
 *   death    the process ends at every write and commit
 *   error    an error at every write and commit
 *   fault    the disk, or memory, fails at every call of a kind, and the process goes on
 *   single   the same with single operations from prepared stores: each of its calls
 *   power    the power is cut: what the disk may hold then
 *
 * usage: crash [-v] [-j JOBS] [--rounds N] [--cuts N] [--seed N] [--step N] [--only PART]
 *             [--op NAME]
 *   op      of the part "single": one of its operations
 *   rounds  of kill -9 (20); cuts: of the power (60); step: every N-th write, commit or call only (1)
 */
#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "crash.h"
#include "kv.h"
#include "single.h"

enum { SCRIPT_OPS = 30, LANES = 8, FAULT_LANES = 2, KILL_LANES = 2, KILL_THREADS = 3, KILL_PROCESSES = 2,
	POWER_LANES = 6, LANE_TIMEOUT_S = 3600,
	/* An operation allocates more often than it writes. Every call is the part "single"'s: here a script goes on
	 * behind the fault, of which every so manieth is enough. */
	FAULT_STEP_LEAST = 10, MEMORY_STEP = 20 };

struct options {
	unsigned rounds, cuts, step;
	uint64_t seed;
	const char *only; /* NULL: all parts */
	const char *op;   /* of the part "single"; NULL: all */
	bool verbose;
};

/* One point: a new store, the plan, then on without faults: what was left must be good to work with. */
static bool
one_point(const struct options *o, const struct crash_plan *plan, struct crash_result *result)
{
	const struct crash_plan more = {.ops = 5};
	char dir[4096], store[4200];
	struct crash c;
	bool good;

	support_tmpdir(dir, sizeof dir);
	snprintf(store, sizeof store, "%s/store", dir);
	crash_prepare(&c, store, 1, o->seed);
	*result = crash_round(&c, plan);
	good = result->good && (result->faulted || result->complete);
	if (good) {
		struct crash_result after = crash_round(&c, &more);

		good = after.good && after.complete;
	}
	crash_free(&c);
	support_rmtree(dir);
	return good;
}

/* A lane takes the points LANE + 1, LANE + 1 + LANES, ... until one is beyond the script's end. */
static struct support_count
lane_of_points(const struct options *o, unsigned lane, bool as_error)
{
	struct support_count count = {0, 0};
	struct crash_result result = {.faulted = true};

	for (uint64_t n = 1 + (uint64_t)lane * o->step; result.faulted && count.failed < 3;
	     n += (uint64_t)LANES * o->step) {
		struct crash_plan plan = {.ops = SCRIPT_OPS, .fault_at = n, .fault_is_error = as_error};
		bool good = one_point(o, &plan, &result);

		if (!good)
			printf("at write or commit %llu (%s), seed %llu\n", (unsigned long long)n,
			    as_error ? "error" : "death", (unsigned long long)o->seed);
		count.passed += good;
		count.failed += !good;
	}
	return count;
}

/* The same with the calls of one kind. */
static struct support_count
lane_of_faults(const struct options *o, unsigned lane, enum disk_kind kind)
{
	uint64_t step = (uint64_t)(o->step < FAULT_STEP_LEAST ? FAULT_STEP_LEAST : o->step) *
	                (kind == DISK_MEMORY ? MEMORY_STEP : 1);
	struct support_count count = {0, 0};
	struct crash_result result = {.faulted = true};
	uint64_t last = 0;

	for (uint64_t n = 1 + lane * step; result.faulted && count.failed < 3; n += FAULT_LANES * step) {
		struct crash_plan plan = {.ops = SCRIPT_OPS, .disk = kind, .disk_at = n};
		bool good = one_point(o, &plan, &result);

		if (!good)
			printf("%s at call %llu, seed %llu\n", disk_kind_name(kind), (unsigned long long)n,
			    (unsigned long long)o->seed);
		last = n;
		count.passed += good;
		count.failed += !good;
	}
	if (o->verbose)
		printf("%s: %u points up to call %llu\n", disk_kind_name(kind), count.passed + count.failed,
		    (unsigned long long)last);
	return count;
}

static struct support_count
lane_of_kills(const struct options *o, unsigned lane)
{
	struct support_count count = {0, 0};
	uint64_t seed = o->seed + 100 * (lane + 1);
	struct model *dice = model_new(seed, 0, 0);
	char dir[4096], store[4200];
	struct crash c;

	support_tmpdir(dir, sizeof dir);
	snprintf(store, sizeof store, "%s/store", dir);
	crash_prepare(&c, store, KILL_THREADS, seed);
	for (unsigned i = lane; i < o->rounds && count.failed == 0; i += KILL_LANES) {
		/* Now and then so early that the store is still being opened. */
		unsigned most = model_random(dice, 4) == 0 ? 30 : 900;
		const struct crash_plan plan = {.kill_ms = 1 + model_random(dice, most),
		    .processes = 1 + i / KILL_LANES % KILL_PROCESSES};
		bool good = crash_round(&c, &plan).good;

		if (!good)
			printf("kill -9 after %u ms, round %u, seed %llu\n", plan.kill_ms, i,
			    (unsigned long long)seed);
		if (o->verbose)
			printf("round %u: %llu operations so far, killed after %u ms\n", i,
			    (unsigned long long)c.account[0].model->ops, plan.kill_ms);
		count.passed += good;
		count.failed += !good;
	}
	crash_free(&c);
	model_free(&dice);
	support_rmtree(dir);
	return count;
}

/* ---- Parts --------------------------------------------------------------------------------------- */

enum part { KILL, DEATH, ERROR, FAULT, SINGLE, POWER, PARTS };
static struct {
	const char *name, *text;
	unsigned lanes;
} parts[PARTS] = {
    [KILL] = {"kill", "kill -9 at random moments", KILL_LANES},
    [DEATH] = {"death", "death at every write and commit", LANES},
    [ERROR] = {"error", "an error at every write and commit", LANES},
    [FAULT] = {"fault", "a failing disk or memory", FAULT_LANES * (DISK_KINDS - 1)},
    [SINGLE] = {"single", "single calls", 0 /* as many as operations */},
    [POWER] = {"power", "power cuts", POWER_LANES},
};

/* One thread commits alone, several share commits. */
static const struct {
	unsigned scene, threads;
} power[POWER_LANES] = {{CRASH_POWER_WORK, 1}, {CRASH_POWER_WORK, KILL_THREADS}, {CRASH_POWER_WORK, 1},
    {CRASH_POWER_WORK, KILL_THREADS}, {CRASH_POWER_MAKING, 0}, {CRASH_POWER_SETTINGS, 0}};

static bool
wanted(const struct options *o, unsigned part)
{
	return o->only == NULL || strcmp(o->only, parts[part].name) == 0;
}

/* The part of job I, which becomes the number of its lane. */
static enum part
part_of(const struct options *o, size_t *i)
{
	unsigned part = 0;

	while (!wanted(o, part) || *i >= parts[part].lanes) {
		*i -= wanted(o, part) ? parts[part].lanes : 0;
		part++;
	}
	return (enum part)part;
}

static struct support_count
lane(void *arg, size_t i)
{
	const struct options *o = arg;
	enum part part = part_of(o, &i);
	unsigned n = (unsigned)i;

	switch (part) {
	case KILL:
		return lane_of_kills(o, n);
	case DEATH:
	case ERROR:
		return lane_of_points(o, n, part == ERROR);
	case FAULT:
		return lane_of_faults(o, n % FAULT_LANES, (enum disk_kind)(1 + n / FAULT_LANES));
	case SINGLE:
		if (o->op != NULL && strcmp(o->op, single_ops[n].name) != 0)
			return (struct support_count){0, 0};
		return crash_single(n, o->step, o->seed, o->verbose);
	case POWER:
		return crash_power(power[n].scene, o->seed + n, power[n].threads, o->cuts / POWER_LANES, o->verbose);
	case PARTS:
		break;
	}
	support_fatal("no such part");
}

static const char *
lane_name(void *arg, size_t i)
{
	return parts[part_of(arg, &i)].text;
}

static bool
memory_is_roomy(void)
{
	struct statvfs fs;

	return access("/dev/shm", W_OK) == 0 && statvfs("/dev/shm", &fs) == 0 &&
	       (uint64_t)fs.f_bavail * fs.f_frsize > (uint64_t)2 << 30;
}

static void
usage(void)
{
	support_fatal("usage: crash [-v] [-j JOBS] [--rounds N] [--cuts N] [--seed N] [--step N]\n"
	    "             [--only kill|death|error|fault|single|power] [--op NAME]");
}

int
main(int argc, char **argv)
{
	static const struct option longs[] = {{"rounds", required_argument, NULL, 'r'},
	    {"cuts", required_argument, NULL, 'c'}, {"seed", required_argument, NULL, 's'},
	    {"step", required_argument, NULL, 'p'}, {"only", required_argument, NULL, 'o'},
	    {"op", required_argument, NULL, 'n'},
	    {"verbose", no_argument, NULL, 'v'}, {"jobs", required_argument, NULL, 'j'}, {0}};
	struct options o = {.rounds = 20, .cuts = 60, .step = 1, .seed = 1};
	struct support_jobs jobs = {.fn = lane, .name = lane_name, .arg = &o, .timeout_s = LANE_TIMEOUT_S};
	int c;

	while ((c = getopt_long(argc, argv, "vj:", longs, NULL)) != -1) {
		if (c == 'r')
			o.rounds = (unsigned)strtoul(optarg, NULL, 10);
		else if (c == 'c')
			o.cuts = (unsigned)strtoul(optarg, NULL, 10);
		else if (c == 's')
			o.seed = strtoull(optarg, NULL, 10);
		else if (c == 'p')
			o.step = (unsigned)strtoul(optarg, NULL, 10);
		else if (c == 'o')
			o.only = optarg;
		else if (c == 'n')
			o.op = optarg;
		else if (c == 'j')
			jobs.at_once = (unsigned)strtoul(optarg, NULL, 10);
		else if (c == 'v')
			o.verbose = jobs.verbose = true;
		else
			usage();
	}
	parts[SINGLE].lanes = single_ops_count;
	for (unsigned part = 0; part < PARTS; part++)
		jobs.count += wanted(&o, part) ? parts[part].lanes : 0;
	if (jobs.count == 0)
		usage();
	if (o.step == 0)
		o.step = 1;
	/* LMDB asks for megabytes of zeros with each store that is opened: from the kernel they cost nothing. */
	mallopt(M_MMAP_THRESHOLD, 128 * 1024);
	/* Killing a process does not lose what the kernel has: a file system in memory is as good. */
	if (getenv("TMPDIR") == NULL && memory_is_roomy())
		setenv("TMPDIR", "/dev/shm", 1);
	/* Injected errors are logged by the engine; thousands of them tell nothing. */
	if (!o.verbose)
		shelf_log_level((enum shelf_log_level)(SHELF_LOG_ERROR + 1));
	return support_report("crash", support_jobs(&jobs));
}
