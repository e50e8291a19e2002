/*
 * crash_power.c - the power is cut: what the disk may hold then, and whether it is a whole store
 *
 *   record      a worker's writes, syncs and acknowledgements, in order (disk.h)
 *   durable     of each file what a sync, or a write through O_DSYNC, has put on the disk
 *   pending     the writes since: a disk may have done any of them, whole or in part
 *   cut         durable, and of each pending write some of its blocks; the file as long as the disk
 *               happened to know
 *
 * A cut is made in front of event N: when that is a write, it is under way. Each cut is looked at in a
 * child process, with the models as they stood there.
 *
 * What must stay true: a block of 512 bytes is written whole or not at all; LMDB says so much of the disks
 * it works on (its meta page has no checksum and lies in one).
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crash.h"

enum { FILES = 3, PENDING_MAX = 65536, SECTOR = 512, PAGE = 4096, OPS = 60, WORK_AFTER_EVERY = 4 };
static const char *const names[FILES] = {"catalog", "part-00", "part-01"};
static const char *const texts[] = {"mailshelf", "kv/kv.conf"}; /* written once, when the store was made */
enum { TEXTS = sizeof texts / sizeof *texts };

struct file {
	struct shelf_buf durable;
	struct disk_event pending[PENDING_MAX];
	size_t npending;
	bool used; /* has been written at all */
};

struct power {
	struct crash crash;
	struct model *dice;
	struct file file[FILES];
	struct shelf_buf text[TEXTS];
	char top[4096];
	struct support_count count;
};

/* ---- What the disk holds ------------------------------------------------------------------------- */

static void
write_at(struct shelf_buf *b, uint64_t offset, const uint8_t *data, size_t len)
{
	uint64_t end = offset + len;

	if (end > b->len) {
		memset(shelf_buf_reserve(b, end - b->len), 0, end - b->len);
		b->len = end;
	}
	if (len > 0)
		memcpy(b->data + offset, data, len);
}

static void
apply(struct shelf_buf *b, const struct disk_event *e)
{
	if (e->kind == DISK_EVENT_TRUNCATE && e->offset < b->len)
		b->len = e->offset;
	else if (e->kind == DISK_EVENT_TRUNCATE)
		write_at(b, e->offset, NULL, 0);
	else
		write_at(b, e->offset, e->data.data, e->data.len);
}

static struct file *
file_of(struct power *p, const char *name)
{
	for (unsigned i = 0; i < FILES; i++)
		if (strcmp(names[i], name) == 0)
			return &p->file[i];
	support_fatal("a record of an unknown file %s", name);
}

/* E has happened, and everything in front of it. */
static void
happened(struct power *p, const struct disk_event *e)
{
	struct file *f;

	if (e->kind == DISK_EVENT_NOTE) {
		if (!crash_hear(&p->crash, (const struct crash_ack *)(const void *)e->data.data))
			p->count.failed++;
		return;
	}
	f = file_of(p, e->file);
	f->used = true;
	if (e->kind == DISK_EVENT_SYNC) {
		for (size_t i = 0; i < f->npending; i++)
			apply(&f->durable, &f->pending[i]);
		f->npending = 0;
	} else if (e->kind == DISK_EVENT_WRITE_SYNC) {
		apply(&f->durable, e);
	} else {
		if (f->npending == PENDING_MAX)
			support_fatal("more writes than fit between two syncs");
		f->pending[f->npending++] = *e;
	}
}

/* ---- A cut ---------------------------------------------------------------------------------------- */

/* How a disk may have treated its pending writes. */
enum treatment { NONE_WRITTEN, ALL_WRITTEN, SOME_WRITTEN, SOME_SECTORS, FIRST_ONES, LAST_ONES, TREATMENTS };

static void
apply_some(struct power *p, struct shelf_buf *b, const struct disk_event *e, size_t block)
{
	for (size_t at = 0; at < e->data.len; at += block) {
		size_t len = e->data.len - at < block ? e->data.len - at : block;

		if (model_random(p->dice, 2) == 0)
			write_at(b, e->offset + at, e->data.data + at, len);
	}
}

static void
cut_file(struct power *p, struct file *f, enum treatment how)
{
	size_t mark = f->npending == 0 ? 0 : model_random(p->dice, (uint32_t)f->npending + 1);
	uint64_t end = f->durable.len;

	for (size_t i = 0; i < f->npending; i++) {
		const struct disk_event *e = &f->pending[i];
		bool chosen = how == ALL_WRITTEN || (how == FIRST_ONES && i < mark) || (how == LAST_ONES && i >= mark);

		if (e->offset + e->data.len > end)
			end = e->offset + e->data.len;
		if (chosen || e->kind == DISK_EVENT_TRUNCATE)
			apply(&f->durable, e);
		else if (how == SOME_WRITTEN)
			apply_some(p, &f->durable, e, PAGE);
		else if (how == SOME_SECTORS)
			apply_some(p, &f->durable, e, SECTOR);
	}
	/* The new length of a file may be on the disk before what stands there. */
	if (model_random(p->dice, 2) == 0)
		write_at(&f->durable, end, NULL, 0);
}

static void
write_file(const char *path, struct shelf_span bytes)
{
	FILE *f = fopen(path, "w");

	if (f == NULL || fwrite(bytes.data, 1, bytes.len, f) != bytes.len || fclose(f) != 0)
		support_fatal("cannot write %s", path);
}

static void
make_dir(const char *top, const char *name, char *path, size_t len)
{
	snprintf(path, len, "%s%s", top, name);
	if (mkdir(path, 0700) != 0)
		support_fatal("cannot make %s", path);
}

static void
write_image(struct power *p, char *dir, size_t len)
{
	char path[4400], sub[64];

	support_tmpdir(p->top, sizeof p->top);
	make_dir(p->top, "/store", dir, len);
	make_dir(dir, "/tmp", path, sizeof path);
	make_dir(dir, "/kv", path, sizeof path);
	for (unsigned i = 0; i < TEXTS; i++) {
		snprintf(path, sizeof path, "%s/%s", dir, texts[i]);
		write_file(path, shelf_buf_span(&p->text[i]));
	}
	for (unsigned i = 0; i < FILES; i++) {
		snprintf(sub, sizeof sub, "/kv/%s", names[i]);
		make_dir(dir, sub, path, sizeof path);
		snprintf(path, sizeof path, "%s%s/data.mdb", dir, sub);
		write_file(path, shelf_buf_span(&p->file[i].durable));
	}
}

/* In a child of its own: makes the image, opens it, compares; sometimes works on it and compares again. */
static bool
verify_cut(struct power *p, const struct disk_event *e, enum treatment how, bool work)
{
	const struct crash_plan more = {.ops = 5};
	char dir[4200];
	bool good;

	if (e->kind == DISK_EVENT_WRITE_SYNC) {
		struct file *f = file_of(p, e->file);

		f->pending[f->npending++] = *e;
	}
	for (unsigned i = 0; i < FILES; i++)
		cut_file(p, &p->file[i], how);
	write_image(p, dir, sizeof dir);
	snprintf(p->crash.dir, sizeof p->crash.dir, "%s", dir);
	good = crash_verify(&p->crash, true);
	if (good && work) {
		struct crash_result after = crash_round(&p->crash, &more);

		good = after.good && after.complete;
	}
	support_rmtree(p->top);
	return good;
}

static void
cut(struct power *p, const struct disk_event *e, uint64_t number)
{
	/* Drawn here: each child has the same dice. */
	enum treatment how = (enum treatment)model_random(p->dice, TREATMENTS);
	bool work = model_random(p->dice, WORK_AFTER_EVERY) == 0;
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid < 0)
		support_fatal("no process for a cut");
	if (pid == 0) {
		bool good = verify_cut(p, e, how, work);

		fflush(NULL);
		_exit(good ? 0 : 1);
	}
	if (waitpid(pid, &status, 0) != pid)
		support_fatal("a cut has no end");
	p->count.passed += status == 0;
	p->count.failed += status != 0;
	if (status != 0)
		printf("the power cut at event %llu, treatment %d, seed %llu (status %d)\n", (unsigned long long)number,
		    (int)how, (unsigned long long)p->crash.seed, status);
}

/* ---- A run ---------------------------------------------------------------------------------------- */

static void
read_store(struct power *p)
{
	char path[4400];

	for (unsigned i = 0; i < TEXTS; i++) {
		snprintf(path, sizeof path, "%s/%s", p->crash.dir, texts[i]);
		support_read_file(path, &p->text[i]);
	}
	for (unsigned i = 0; i < FILES; i++) {
		snprintf(path, sizeof path, "%s/kv/%s/data.mdb", p->crash.dir, names[i]);
		support_read_file(path, &p->file[i].durable);
	}
}

static bool
is_boundary(const struct disk_event *e)
{
	return e->kind == DISK_EVENT_SYNC || e->kind == DISK_EVENT_WRITE_SYNC;
}

/* Half of the cuts at syncs and at writes that make a commit count, half anywhere. */
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
	for (size_t pos = 0; disk_event_next(record, &pos, &e) && p->count.failed < 3; number++) {
		if (model_random(p->dice, 2 * (is_boundary(&e) ? boundaries : others)) < cuts)
			cut(p, &e, number);
		happened(p, &e);
	}
}

static void
free_power(struct power *p)
{
	for (unsigned i = 0; i < FILES; i++)
		shelf_buf_free(&p->file[i].durable);
	for (unsigned i = 0; i < TEXTS; i++)
		shelf_buf_free(&p->text[i]);
	crash_free(&p->crash);
	model_free(&p->dice);
	free(p);
}

struct support_count
crash_power(uint64_t seed, unsigned threads, unsigned cuts, bool verbose)
{
	struct power *p = SHELF_NEW(struct power);
	struct support_count count;
	struct crash_plan plan = {.ops = OPS};
	char dir[4096], store[4200], path[4200];
	struct shelf_buf record = {0};
	struct crash_result result;

	support_tmpdir(dir, sizeof dir);
	snprintf(store, sizeof store, "%s/store", dir);
	snprintf(path, sizeof path, "%s/record", dir);
	crash_prepare(&p->crash, store, threads, seed);
	read_store(p);
	plan.record = path;
	result = crash_round(&p->crash, &plan);
	if (!result.good)
		support_fatal("the recorded run failed");
	support_read_file(path, &record);
	p->dice = model_new(seed, 0, 0);
	play(p, shelf_buf_span(&record), cuts);
	if (verbose)
		printf("%zu bytes of record, %u cuts\n", record.len, p->count.passed + p->count.failed);
	count = p->count;
	shelf_buf_free(&record);
	free_power(p);
	support_rmtree(dir);
	return count;
}
