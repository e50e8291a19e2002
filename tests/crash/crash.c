/*
 * crash.c - the crash tests: dying at every write and commit, errors at every write and commit, and
 * kill -9 at random moments under load
 *
 * usage: crash [-v] [-j JOBS] [--rounds N] [--seed N] [--step N]
 *   rounds  of kill -9 (20); step: every N-th write or commit only (1)
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crash.h"
#include "kv.h"
#include "support.h"

enum { SCRIPT_OPS = 30, LANES = 8, KILL_LANES = 2, KILL_THREADS = 3, LANE_TIMEOUT_S = 1200 };

struct options {
	unsigned rounds, step;
	uint64_t seed;
	bool verbose;
};

static void
make_accounts(struct crash *c)
{
	struct shelf_store_params params = {.partitions = 2, .map_bytes = 1u << 30};
	struct shelf_store *store = NULL;
	char name[16];

	if (shelf_store_create(c->dir, &params) != 0 || shelf_store_open(c->dir, 0, &store) != 0)
		support_fatal("no store in %s", c->dir);
	for (unsigned i = 0; i < c->threads + CRASH_SHARED; i++) {
		struct shelf_account_new account = {.limit_messages = i == 1 ? 40 : 0};
		uint32_t id;

		snprintf(name, sizeof name, "user%u", i);
		account.name = shelf_span_str(name);
		if (shelf_account_add(store, &account, 1, NULL, &id) != 0)
			support_fatal("no account");
	}
	shelf_store_close(&store);
}

/* Ids are asked for here, the parent has no store open while a child lives. */
static void
find_accounts(struct crash *c)
{
	struct shelf_store *store = NULL;
	struct shelf_account account;
	char name[16];

	if (shelf_store_open(c->dir, 0, &store) != 0)
		support_fatal("the new store does not open");
	for (unsigned i = 0; i < c->threads + CRASH_SHARED; i++) {
		snprintf(name, sizeof name, "user%u", i);
		if (shelf_account_find(store, shelf_span_str(name), &account) != 0)
			support_fatal("no account %s", name);
		if (i < c->threads)
			c->account[i].id = account.id;
		else
			c->shared[i - c->threads] = account.id;
	}
	shelf_store_close(&store);
}

void
crash_prepare(struct crash *c, const char *dir, unsigned threads, uint64_t seed)
{
	size_t slots = (size_t)threads * CRASH_SENT_MAX;
	int status;
	pid_t pid;

	*c = (struct crash){.threads = threads, .seed = seed};
	snprintf(c->dir, sizeof c->dir, "%s", dir);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		make_accounts(c);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
		support_fatal("the store was not made");
	find_accounts(c);
	for (unsigned i = 0; i < threads; i++) {
		c->account[i].model = model_new(seed + i, 0, i == 1 ? 40 : 0);
		c->account[i].box = shelf_zalloc(CRASH_BOXES_MAX * sizeof *c->account[i].box);
	}
	for (unsigned i = 0; i < CRASH_SHARED; i++)
		c->shared_uid[i] = shelf_zalloc(slots * sizeof *c->shared_uid[i]);
	c->shared_acked = shelf_zalloc(slots * sizeof *c->shared_acked);
	c->contents = model_new(seed + 1000, 0, 0);
}

void
crash_free(struct crash *c)
{
	for (unsigned i = 0; i < c->threads; i++) {
		model_free(&c->account[i].model);
		free(c->account[i].box);
	}
	for (unsigned i = 0; i < CRASH_SHARED; i++)
		free(c->shared_uid[i]);
	free(c->shared_acked);
	model_free(&c->contents);
}

/* A lane takes the points LANE + 1, LANE + 1 + LANES, ... until one is beyond the script's end. */
static struct support_count
lane_of_points(const struct options *o, unsigned lane, bool as_error)
{
	struct support_count count = {0, 0};
	const struct crash_plan more = {.ops = 5};
	struct crash_result result = {.faulted = true};
	char dir[4096], store[4200];

	for (uint64_t n = 1 + (uint64_t)lane * o->step; result.faulted && count.failed < 3;
	     n += (uint64_t)LANES * o->step) {
		struct crash_plan plan = {.ops = SCRIPT_OPS, .fault_at = n, .fault_is_error = as_error};
		struct crash c;
		bool good;

		support_tmpdir(dir, sizeof dir);
		snprintf(store, sizeof store, "%s/store", dir);
		crash_prepare(&c, store, 1, o->seed);
		result = crash_round(&c, &plan);
		/* Then on, without faults: what was left must be good to work with. */
		good = result.good && (result.faulted || result.complete);
		if (good) {
			struct crash_result after = crash_round(&c, &more);

			good = after.good && after.complete;
		}
		if (!good)
			printf("at write or commit %llu (%s), seed %llu\n", (unsigned long long)n,
			    as_error ? "error" : "death", (unsigned long long)o->seed);
		count.passed += good;
		count.failed += !good;
		crash_free(&c);
		support_rmtree(dir);
	}
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
		const struct crash_plan plan = {.kill_ms = 1 + model_random(dice, most)};
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

static struct support_count
lane(void *arg, size_t i)
{
	const struct options *o = arg;

	if (i < KILL_LANES)
		return lane_of_kills(o, (unsigned)i);
	i -= KILL_LANES;
	return lane_of_points(o, (unsigned)i % LANES, i >= LANES);
}

static const char *
lane_name(void *arg, size_t i)
{
	if (i < KILL_LANES)
		return "kill -9 at random moments";
	return i - KILL_LANES < LANES ? "death at every write and commit"
				      : "an error at every write and commit";
}

static bool
memory_is_roomy(void)
{
	struct statvfs fs;

	return access("/dev/shm", W_OK) == 0 && statvfs("/dev/shm", &fs) == 0 &&
	       (uint64_t)fs.f_bavail * fs.f_frsize > (uint64_t)2 << 30;
}

int
main(int argc, char **argv)
{
	static const struct option longs[] = {{"rounds", required_argument, NULL, 'r'},
	    {"seed", required_argument, NULL, 's'}, {"step", required_argument, NULL, 'p'},
	    {"verbose", no_argument, NULL, 'v'}, {"jobs", required_argument, NULL, 'j'}, {0}};
	struct options o = {.rounds = 20, .step = 1, .seed = 1};
	struct support_jobs jobs = {.fn = lane, .name = lane_name, .arg = &o,
	    .count = KILL_LANES + 2 * LANES, .timeout_s = LANE_TIMEOUT_S};
	int c;

	while ((c = getopt_long(argc, argv, "vj:", longs, NULL)) != -1) {
		if (c == 'r')
			o.rounds = (unsigned)strtoul(optarg, NULL, 10);
		else if (c == 's')
			o.seed = strtoull(optarg, NULL, 10);
		else if (c == 'p')
			o.step = (unsigned)strtoul(optarg, NULL, 10);
		else if (c == 'j')
			jobs.at_once = (unsigned)strtoul(optarg, NULL, 10);
		else if (c == 'v')
			o.verbose = jobs.verbose = true;
		else
			support_fatal("usage: crash [-v] [-j JOBS] [--rounds N] [--seed N] [--step N]");
	}
	if (o.step == 0)
		o.step = 1;
	/* Killing a process does not lose what the kernel has: a file system in memory is as good. */
	if (getenv("TMPDIR") == NULL && memory_is_roomy())
		setenv("TMPDIR", "/dev/shm", 1);
	/* Injected errors are logged by the engine; thousands of them tell nothing. */
	if (!o.verbose)
		shelf_log_level((enum shelf_log_level)(SHELF_LOG_ERROR + 1));
	return support_report("crash", support_jobs(&jobs));
}
