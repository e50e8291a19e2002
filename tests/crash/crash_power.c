/*
 * crash_power.c - the power is cut: what the disk may hold then (volume.h), and whether it is a whole store
 *
 *   work      the worker of the crash tests
 *   making    a store is made: there is none, or it is whole
 *   settings  values are set: the last one acknowledged, or the one under way
 *
 * A child does the work and records it. The parent follows the record; a cut is made in front of an event,
 * which is then under way, and looked at in a child of its own, with the models as they stood there. Half of the
 * cuts are made at syncs, at writes that make a commit count, and where a directory changes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crash.h"
#include "volume.h"

enum { OPS = 60, WORK_AFTER_EVERY = 4, SETTINGS = 12, FAILED_ENOUGH = 3, CUTS_BEHIND = 4 };

struct power;

struct scene {
	const char *name;
	void (*prepare)(struct power *p);
	void (*run)(struct power *p, const char *record); /* in a child; ends with _exit */
	void (*hear)(struct power *p, struct shelf_span note);
	bool (*verify)(struct power *p, const char *dir, bool more);
};

struct power {
	const struct scene *scene;
	struct crash crash;    /* work */
	unsigned threads;
	uint64_t acked;        /* making: 1, it is there; settings: how often a value was set */
	uint64_t seed;
	struct model *dice;
	struct volume *volume;
	char dir[4096];        /* has root/, the record's */
	struct support_count count;
};

static void
root_of(const struct power *p, char path[4200])
{
	snprintf(path, 4200, "%s/root", p->dir);
}

static void
finding(void *arg, unsigned invariant, uint32_t account, const char *text)
{
	printf("invariant %u, account %u: %s\n", invariant, account, text);
	*(bool *)arg = false;
}

/* ---- Work ----------------------------------------------------------------------------------------- */

static void
work_prepare(struct power *p)
{
	char root[4200];

	root_of(p, root);
	crash_prepare(&p->crash, root, p->threads, p->seed);
	volume_load(p->volume, root);
}

static void
work_run(struct power *p, const char *record)
{
	const struct crash_plan plan = {.ops = OPS, .record = record};

	crash_work(&p->crash, &plan, 0, -1);
}

static void
work_hear(struct power *p, struct shelf_span note)
{
	struct crash_ack ack;

	memcpy(&ack, note.data, sizeof ack);
	if (!crash_hear(&p->crash, &ack))
		p->count.failed++;
}

static bool
work_verify(struct power *p, const char *dir, bool more)
{
	const struct crash_plan plan = {.ops = 5};
	struct crash_result after;

	snprintf(p->crash.dir, sizeof p->crash.dir, "%s", dir);
	if (!crash_verify(&p->crash, true))
		return false;
	if (!more)
		return true;
	after = crash_round(&p->crash, &plan);
	return after.good && after.complete;
}

/* ---- Making a store --------------------------------------------------------------------------------- */

static void
acknowledge(uint64_t n)
{
	disk_note(&n, sizeof n);
}

static void
number_hear(struct power *p, struct shelf_span note)
{
	memcpy(&p->acked, note.data, sizeof p->acked);
}

static void
making_prepare(struct power *p)
{
	char root[4200];

	root_of(p, root);
	if (mkdir(root, 0700) != 0)
		support_fatal("cannot make %s", root);
}

static void
making_run(struct power *p, const char *record)
{
	const struct shelf_store_params params = {.partitions = 2, .map_bytes = 1 << 24};
	char root[4200], store[4300];

	root_of(p, root);
	disk_record(record, root);
	snprintf(store, sizeof store, "%s/store", root);
	if (shelf_store_create(store, &params) != 0)
		_exit(1);
	acknowledge(1);
	_exit(0);
}

static bool
making_verify(struct power *p, const char *dir, bool more)
{
	struct shelf_store *store = NULL;
	char path[4300];
	bool good = true;
	int rc;

	snprintf(path, sizeof path, "%s/store", dir);
	rc = shelf_store_open(path, 0, &store);
	/* A directory without the file "mailshelf" is no store. */
	if (rc == SHELF_EMISSING && p->acked == 0)
		return true;
	if (rc != 0) {
		printf("the new store, %s: %s\n", p->acked == 0 ? "not acknowledged" : "acknowledged",
		    shelf_err_name(rc));
		return false;
	}
	if (shelf_store_check(store, NULL, finding, &good) != 0)
		good = false;
	shelf_store_close(&store);
	return good;
}

/* ---- Settings ---------------------------------------------------------------------------------------- */

static void
settings_prepare(struct power *p)
{
	const struct shelf_store_params params = {.partitions = 2, .map_bytes = 1 << 24};
	char root[4200];
	int status;
	pid_t pid;

	root_of(p, root);
	pid = fork();
	if (pid == 0)
		_exit(shelf_store_create(root, &params) == 0 ? 0 : 1);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
		support_fatal("no store for settings");
	volume_load(p->volume, root);
}

static uint64_t
setting_value(uint64_t n)
{
	return 1000 + n * 77777;
}

static void
settings_run(struct power *p, const char *record)
{
	struct shelf_store *store = NULL;
	char root[4200];

	root_of(p, root);
	disk_record(record, root);
	if (shelf_store_open(root, 0, &store) != 0)
		_exit(1);
	for (uint64_t n = 1; n <= SETTINGS; n++) {
		if (shelf_setting_set(store, SHELF_SETTING_HOLD, setting_value(n)) != 0)
			_exit(1);
		acknowledge(n);
	}
	shelf_store_close(&store);
	_exit(0);
}

static bool
settings_verify(struct power *p, const char *dir, bool more)
{
	struct shelf_store *store = NULL;
	uint64_t value;
	int rc = shelf_store_open(dir, 0, &store);

	if (rc != 0) {
		printf("after %llu settings: %s\n", (unsigned long long)p->acked, shelf_err_name(rc));
		return false;
	}
	value = shelf_setting_get(store, SHELF_SETTING_HOLD);
	shelf_store_close(&store);
	if (value == setting_value(p->acked + 1) || (p->acked > 0 && value == setting_value(p->acked)) ||
	    (p->acked == 0 && value == shelf_setting_info(SHELF_SETTING_HOLD)->std))
		return true;
	printf("after %llu settings the value is %llu\n", (unsigned long long)p->acked, (unsigned long long)value);
	return false;
}

static const struct scene scenes[] = {
    {"work", work_prepare, work_run, work_hear, work_verify},
    {"making", making_prepare, making_run, number_hear, making_verify},
    {"settings", settings_prepare, settings_run, number_hear, settings_verify},
};

/* ---- Cuts -------------------------------------------------------------------------------------------- */

static void
cut(struct power *p, const struct disk_event *e, uint64_t number)
{
	/* Drawn here: each child has the same dice. */
	enum volume_treatment how = (enum volume_treatment)model_random(p->dice, VOLUME_TREATMENTS);
	bool more = model_random(p->dice, WORK_AFTER_EVERY) == 0;
	char dir[4096], image[4200];
	int status;
	pid_t pid;

	support_tmpdir(dir, sizeof dir);
	snprintf(image, sizeof image, "%s/store", dir);
	fflush(NULL);
	pid = fork();
	if (pid < 0)
		support_fatal("no process for a cut");
	if (pid == 0) {
		bool good;

		volume_cut(p->volume, e, how, p->dice, image);
		good = p->scene->verify(p, image, more);
		fflush(NULL);
		_exit(good ? 0 : 1);
	}
	if (waitpid(pid, &status, 0) != pid)
		support_fatal("a cut has no end");
	support_rmtree(dir);
	p->count.passed += status == 0;
	p->count.failed += status != 0;
	if (status != 0)
		printf("%s: the power cut at event %llu (%s), treatment %d, seed %llu (status %d)\n", p->scene->name,
		    (unsigned long long)number, e->path, (int)how, (unsigned long long)p->seed, status);
}

static bool
is_boundary(const struct disk_event *e)
{
	return e->kind != DISK_EVENT_WRITE && e->kind != DISK_EVENT_NOTE;
}

static void
play(struct power *p, struct shelf_span record, unsigned cuts)
{
	unsigned boundaries = 0, others = 0;
	struct disk_event e;
	uint64_t number = 0;

	for (size_t pos = 0; disk_event_next(record, &pos, &e);) {
		boundaries += is_boundary(&e);
		others += !is_boundary(&e);
	}
	if (boundaries < 10)
		support_fatal("the record has no syncs");
	for (size_t pos = 0; disk_event_next(record, &pos, &e) && p->count.failed < FAILED_ENOUGH; number++) {
		unsigned of = 2 * (is_boundary(&e) ? boundaries : others);

		/* Few events: more than one cut at each. */
		for (unsigned left = cuts; left > 0; left -= left < of ? left : of)
			if (model_random(p->dice, of) < left)
				cut(p, &e, number);
		if (e.kind == DISK_EVENT_NOTE)
			p->scene->hear(p, e.data);
		else
			volume_apply(p->volume, &e);
	}
	/* And behind the last event, when all is acknowledged. */
	e = (struct disk_event){.kind = DISK_EVENT_NOTE};
	for (unsigned i = 0; i < CUTS_BEHIND; i++)
		cut(p, &e, number);
}

static void
run_recorded(struct power *p, const char *path)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0)
		p->scene->run(p, path);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
		support_fatal("%s: the recorded run failed", p->scene->name);
}

struct support_count
crash_power(unsigned scene, uint64_t seed, unsigned threads, unsigned cuts, bool verbose)
{
	struct power *p = SHELF_NEW(struct power);
	struct shelf_buf record = {0};
	struct support_count count;
	char path[4200];

	p->scene = &scenes[scene];
	p->threads = threads;
	p->seed = seed;
	p->dice = model_new(seed, 0, 0);
	p->volume = volume_new();
	support_tmpdir(p->dir, sizeof p->dir);
	p->scene->prepare(p);
	snprintf(path, sizeof path, "%s/record", p->dir);
	run_recorded(p, path);
	support_read_file(path, &record);
	play(p, shelf_buf_span(&record), cuts);
	if (verbose)
		printf("%s: %zu bytes of record, %u cuts\n", p->scene->name, record.len,
		    p->count.passed + p->count.failed);
	count = p->count;
	shelf_buf_free(&record);
	volume_free(&p->volume);
	crash_free(&p->crash);
	model_free(&p->dice);
	support_rmtree(p->dir);
	free(p);
	return count;
}
