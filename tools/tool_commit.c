/*
 * tool_commit.c - the pipeline's last stage: the oldest drafted messages, batch by batch
 *
 * A batch is one transaction, messages and their marks together, so that a kill at any point leaves
 * whole messages with marks or neither. A batch the store refuses is tried message by message, so
 * that an account is filled up to its limit and the first message that does not fit is known.
 */
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include <mailshelf/import.h>
#include <mailshelf/pop3.h>

#include "tool_intake.h"

/* ---- Names of messages --------------------------------------------------------------------------- */

enum { SEEN_CAP_MIN = 1024 };

static size_t
slot_of(const struct intake_seen *seen, const uint8_t name[16])
{
	uint64_t h;
	size_t i;

	/* The name is a SHA-256: its first bytes are as good as any hash of it. */
	memcpy(&h, name, sizeof h);
	for (i = h & (seen->cap - 1); seen->slots[i].count != 0; i = (i + 1) & (seen->cap - 1)) {
		if (memcmp(seen->slots[i].name, name, 16) == 0)
			break;
	}
	return i;
}

uint64_t
intake_seen_add(struct intake_seen *seen, const uint8_t name[16])
{
	struct intake_seen grown = {.cap = seen->cap == 0 ? SEEN_CAP_MIN : 2 * seen->cap};
	size_t i;

	if (seen->used * 2 >= seen->cap) {
		grown.slots = shelf_zalloc(grown.cap * sizeof *grown.slots);
		for (i = 0; i < seen->cap; i++) {
			if (seen->slots[i].count != 0)
				grown.slots[slot_of(&grown, seen->slots[i].name)] = seen->slots[i];
		}
		free(seen->slots);
		seen->slots = grown.slots;
		seen->cap = grown.cap;
	}
	i = slot_of(seen, name);
	if (seen->slots[i].count == 0) {
		memcpy(seen->slots[i].name, name, 16);
		seen->used++;
	}
	return seen->slots[i].count++;
}

void
intake_seen_free(struct intake_seen *seen)
{
	free(seen->slots);
	*seen = (struct intake_seen){0};
}

static void
name_of(const struct intake_job *job, uint64_t occurrence, uint8_t out[16])
{
	uint8_t digest[32], text[64] = {0};
	size_t len = strlen(job->folder->kind);

	/* Fixed places, so that no two inputs give the same bytes. */
	for (int i = 0; i < 4; i++)
		text[i] = (uint8_t)(job->folder->mailbox >> (8 * i));
	for (int i = 0; i < 8; i++)
		text[4 + i] = (uint8_t)(occurrence >> (8 * i));
	memcpy(text + 12, shelf_draft_email_id(job->draft), 16);
	memcpy(text + 28, job->folder->kind, len < 32 ? len : 32);
	SHELF_ASSERT(EVP_Digest(text, sizeof text, digest, NULL, EVP_sha256(), NULL) == 1);
	memcpy(out, digest, 16);
}

/* ---- A batch ------------------------------------------------------------------------------------- */

struct batch {
	struct intake_job *jobs[INTAKE_BATCH];
	struct shelf_append items[INTAKE_BATCH];
	uint8_t ids[INTAKE_BATCH][16];
	uint8_t stored[INTAKE_BATCH];
	size_t n;
	struct intake_totals totals; /* of this batch, added when it is done */
};

static void
add_job(struct intake *in, struct batch *b, struct intake_job *job)
{
	uint64_t before;

	b->totals.found++;
	b->totals.bytes += job->size;
	/* The message's own fault; anything else stops the import below. */
	if (job->rc == SHELF_ETOOBIG) {
		intake_problem(in, job->file, job->offset, "message is too large for the store");
		return;
	}
	b->jobs[b->n] = job;
	b->items[b->n] = (struct shelf_append){.draft = job->draft, .flags = job->flags,
	    .keywords = job->keywords, .nkeywords = job->nkeywords,
	    .internaldate_s = job->internaldate_s, .zone_min = job->zone_min};
	name_of(job, 0, b->ids[b->n]);
	before = intake_seen_add(&in->seen, b->ids[b->n]);
	if (before > 0)
		name_of(job, before, b->ids[b->n]);
	if (job->uidl.len > 0 && shelf_uidl_valid(job->uidl))
		b->items[b->n].uidl = job->uidl;
	if (job->folder->uids)
		b->items[b->n].uid = job->uid;
	if (job->has_id)
		b->items[b->n].also_id = job->id;
	b->n++;
}

static void
count(struct batch *b, size_t first, size_t n)
{
	for (size_t i = first; i < first + n; i++) {
		bool stored = (b->stored[i] & SHELF_IMPORT_STORED) != 0;
		bool has = b->jobs[i]->uidl.len > 0 && stored;
		bool taken = (b->stored[i] & SHELF_IMPORT_UIDL_TAKEN) != 0;
		bool kept = has && b->items[i].uidl.len > 0 && !taken;

		b->totals.with_uidl += kept;
		b->totals.without_uidl += (has && !kept) || (!stored && taken);
		b->totals.uidl_given += (b->stored[i] & SHELF_IMPORT_UIDL_GIVEN) != 0;
		b->totals.with_uid += (b->stored[i] & SHELF_IMPORT_UID_KEPT) != 0;
		b->totals.stored += stored;
		b->totals.there += !stored;
		b->totals.stored_bytes += stored ? b->jobs[i]->size : 0;
	}
}

static int
append(struct intake *in, struct batch *b, size_t first, size_t n)
{
	struct shelf_append_result result;
	int rc = shelf_import_append(in->t->store, in->account, b->jobs[first]->folder->mailbox,
	    b->items + first, (const uint8_t (*)[16])b->ids + first, n, b->stored + first, &result);

	if (rc == 0)
		count(b, first, n);
	return rc;
}

static int
append_each(struct intake *in, struct batch *b)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < b->n; i++) {
		rc = append(in, b, i, 1);
		if (rc == SHELF_ELIMIT && b->items[i].nkeywords > 0) {
			/* The message matters more than its labels. */
			b->items[i].nkeywords = 0;
			rc = append(in, b, i, 1);
			b->totals.without_keywords += rc == 0;
		}
	}
	return rc;
}

static int
probe(struct intake *in, struct batch *b)
{
	struct shelf_rd *rd = NULL;
	int rc = 0;

	memset(b->stored, 1, sizeof b->stored);
	if (b->jobs[0]->folder->mailbox != 0) {
		rc = shelf_rd_begin(in->t->store, in->account, &rd);
		if (rc == 0)
			rc = shelf_import_probe(rd, (const uint8_t (*)[16])b->ids, b->n, b->stored);
		shelf_rd_end(&rd);
	}
	if (rc == 0)
		count(b, 0, b->n);
	return rc;
}

/* N jobs from the oldest on, all drafted, all of one mailbox. */
static int
commit(struct intake *in, uint64_t head, size_t n, struct batch *b)
{
	int rc;

	*b = (struct batch){.n = 0};
	for (size_t i = 0; i < n; i++) {
		struct intake_job *job = &in->jobs[(head + i) % INTAKE_JOBS];

		if (job->rc != 0 && job->rc != SHELF_ETOOBIG)
			return job->rc;
		add_job(in, b, job);
	}
	if (b->n == 0)
		return 0;
	if (in->dry_run)
		return probe(in, b);
	rc = append(in, b, 0, b->n);
	if (rc == SHELF_EQUOTA || rc == SHELF_ELIMIT || rc == SHELF_EFULL)
		rc = append_each(in, b);
	return rc;
}

/* ---- The thread ---------------------------------------------------------------------------------- */

/* How many jobs from the oldest on make the next batch; 0: wait, unless *ENDED_OUT. */
static size_t
next_batch(const struct intake *in, bool *ended_out)
{
	const struct intake_job *first = &in->jobs[in->head % INTAKE_JOBS];
	uint64_t bytes = 0;
	size_t n = 0;

	*ended_out = in->stop || (in->reader_done && in->head == in->tail);
	for (; !*ended_out && in->head + n < in->tail; n++) {
		const struct intake_job *job = &in->jobs[(in->head + n) % INTAKE_JOBS];

		if (n > 0 && (n == INTAKE_BATCH || job->folder != first->folder ||
		    bytes + job->size > INTAKE_BATCH_BYTES))
			return n;
		if (job->state != INTAKE_DRAFTED)
			return 0;
		bytes += job->size;
	}
	/* Fewer than a batch: only when no more will come before these are gone. */
	return n >= INTAKE_BATCH || in->reader_done || in->reader_waits ? n : 0;
}

static void
add_totals(struct intake *in, const struct intake_totals *b)
{
	struct intake_totals *sum = &in->totals;
	double seconds = (double)(shelf_mono_ms() - in->progress.start_ms) / 1000 + 0.001;

	sum->found += b->found;
	sum->stored += b->stored;
	sum->there += b->there;
	sum->bytes += b->bytes;
	sum->stored_bytes += b->stored_bytes;
	sum->without_keywords += b->without_keywords;
	sum->with_uidl += b->with_uidl;
	sum->uidl_given += b->uidl_given;
	sum->without_uidl += b->without_uidl;
	sum->with_uid += b->with_uid;
	tool_progress_step(&in->progress, in->input_done, in->input_bytes,
	    "%llu messages  %.0f/s  %.1f MB/s", (unsigned long long)sum->found,
	    (double)sum->found / seconds, (double)sum->bytes / 1e6 / seconds);
}

void *
intake_commit(void *arg)
{
	struct intake *in = arg;
	struct batch *b = SHELF_NEW(struct batch);

	pthread_mutex_lock(&in->mutex);
	for (;;) {
		bool ended;
		size_t n = next_batch(in, &ended);
		uint64_t head = in->head;
		int rc;

		if (ended)
			break;
		if (n == 0) {
			pthread_cond_wait(&in->changed, &in->mutex);
			continue;
		}
		pthread_mutex_unlock(&in->mutex);
		rc = commit(in, head, n, b);
		pthread_mutex_lock(&in->mutex);
		add_totals(in, &b->totals);
		if (rc != 0) {
			in->fatal = rc;
			in->stop = true;
		}
		for (size_t i = 0; i < n; i++) {
			struct intake_job *job = &in->jobs[(head + i) % INTAKE_JOBS];

			in->flight_bytes -= job->size;
			intake_job_reset(job);
			job->state = INTAKE_EMPTY;
		}
		in->head += n;
		pthread_cond_broadcast(&in->changed);
	}
	pthread_cond_broadcast(&in->changed);
	pthread_mutex_unlock(&in->mutex);
	free(b);
	return NULL;
}
