/*
 * tool_intake.c - the pipeline's reader and drafters
 *
 * A job goes EMPTY -> RAW (reader) -> DRAFTING -> DRAFTED (a drafter) -> EMPTY (the committer), or
 * from EMPTY to DRAFTED when the reader itself made the draft of a large message. Who owns the state
 * owns the job's fields; only the state changes under the mutex.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>

#include <mailshelf/import.h>

#include "tool_intake.h"

void
intake_job_reset(struct intake_job *job)
{
	shelf_draft_free(&job->draft);
	/* Buffers are kept for the next message, but not those a large one left. */
	if (job->bytes.cap > 256 * 1024)
		shelf_buf_free(&job->bytes);
	shelf_buf_clear(&job->bytes);
	shelf_arena_reset(&job->arena);
	job->keywords = NULL;
	job->nkeywords = 0;
	job->uidl = shelf_span("", 0);
	job->rc = 0;
	job->size = 0;
}

void
intake_problem(struct intake *in, const char *file, uint64_t offset, const char *text)
{
	pthread_mutex_lock(&in->mutex);
	in->totals.skipped++;
	tool_progress_end(&in->progress);
	if (offset == 0)
		tool_say(in->t, "%s: %s", file, text);
	else
		tool_say(in->t, "%s: at byte %llu: %s", file, (unsigned long long)offset, text);
	pthread_mutex_unlock(&in->mutex);
}

/* ---- Drafters ------------------------------------------------------------------------------------ */

static int
make_draft(struct intake *in, struct intake_job *job)
{
	int rc = shelf_draft_new(in->t->store, &job->draft);

	if (rc == 0)
		rc = shelf_draft_write(job->draft, job->bytes.data, job->bytes.len);
	if (rc == 0)
		rc = shelf_draft_finish(job->draft);
	shelf_buf_clear(&job->bytes);
	return rc;
}

static void *
drafter(void *arg)
{
	struct intake *in = arg;
	struct intake_job *job;

	pthread_mutex_lock(&in->mutex);
	for (;;) {
		if (in->stop || (in->reader_done && in->draft_at == in->tail))
			break;
		if (in->draft_at == in->tail) {
			pthread_cond_wait(&in->changed, &in->mutex);
			continue;
		}
		job = &in->jobs[in->draft_at++ % INTAKE_JOBS];
		if (job->state != INTAKE_RAW)
			continue;
		job->state = INTAKE_DRAFTING;
		pthread_mutex_unlock(&in->mutex);
		job->rc = make_draft(in, job);
		pthread_mutex_lock(&in->mutex);
		job->state = INTAKE_DRAFTED;
		pthread_cond_broadcast(&in->changed);
	}
	pthread_mutex_unlock(&in->mutex);
	return NULL;
}

/* ---- The reader's side --------------------------------------------------------------------------- */

/* The id of the mailbox NAME, made when it is missing. */
static int
find_mailbox(struct intake *in, const char *name, uint32_t *id_out)
{
	struct shelf_mailbox m;
	struct shelf_rd *rd = NULL;
	int rc = shelf_rd_begin(in->t->store, in->account, &rd);

	if (rc == 0)
		rc = shelf_mailbox_find(rd, shelf_span_str(name), &m);
	shelf_rd_end(&rd);
	*id_out = rc == 0 ? m.id : 0;
	if (rc != SHELF_ENOMAILBOX || in->dry_run)
		return rc == SHELF_ENOMAILBOX ? 0 : rc;
	rc = shelf_mailbox_create(in->t->store, in->account, shelf_span_str(name), in->use, id_out);
	if (rc == SHELF_EEXISTS) { /* by somebody else, just now; or another one is for that */
		in->use = 0;
		return find_mailbox(in, name, id_out);
	}
	if (rc == 0) /* most mail programs show subscribed mailboxes only */
		rc = shelf_mailbox_subscribe(in->t->store, in->account, shelf_span_str(name), true);
	return rc;
}

static int
on_folder(void *arg, struct shelf_span name, const char *kind)
{
	struct intake *in = arg;
	struct intake_folder *f = SHELF_NEW(struct intake_folder);
	struct shelf_buf full = {0};
	int rc;

	source_mailbox_name(in->prefix, name, &full);
	f->name = shelf_strdup(shelf_buf_cstr(&full));
	f->kind = kind;
	in->folders = shelf_realloc(in->folders, (in->nfolders + 1) * sizeof *in->folders);
	in->folders[in->nfolders++] = f;
	shelf_buf_free(&full);
	rc = find_mailbox(in, f->name, &f->mailbox);
	if (rc != 0)
		tool_say(in->t, "%s: %s", f->name, shelf_err_text(rc));
	return rc;
}

static int
on_uidvalidity(void *arg, uint32_t uidvalidity)
{
	struct intake *in = arg;
	struct intake_folder *f = in->folders[in->nfolders - 1];
	int rc = 0;

	if (!in->keep_uids || in->dry_run)
		return 0;
	rc = shelf_mailbox_adopt(in->t->store, in->account, f->mailbox, uidvalidity);
	f->uids = rc == 0;
	if (rc != SHELF_EBUSY && rc != SHELF_EEXISTS && rc != SHELF_EINVALID)
		return rc;
	pthread_mutex_lock(&in->mutex);
	tool_progress_end(&in->progress);
	tool_say(in->t, "%s: keeps its own UIDVALIDITY, and messages get new uids: %s %u", f->name,
	    rc == SHELF_EBUSY ? "there was mail in it before that of" :
	    rc == SHELF_EEXISTS ? "another mailbox has or had" : "none can be", uidvalidity);
	pthread_mutex_unlock(&in->mutex);
	return 0;
}

/* Waits for a free job and for room; SHELF_ECANCELLED when nobody will take it any more. */
static int
on_begin(void *arg, const char *file, uint64_t offset)
{
	struct intake *in = arg;
	struct intake_job *job;
	bool ended;

	pthread_mutex_lock(&in->mutex);
	job = &in->jobs[in->tail % INTAKE_JOBS];
	in->reader_waits = true;
	while (!in->stop && !tool_interrupted() &&
	    (job->state != INTAKE_EMPTY || in->flight_bytes > INTAKE_FLIGHT_MAX)) {
		/* The committer may be waiting for more to come. */
		pthread_cond_broadcast(&in->changed);
		pthread_cond_wait(&in->changed, &in->mutex);
	}
	in->reader_waits = false;
	ended = in->stop || tool_interrupted();
	pthread_mutex_unlock(&in->mutex);
	if (ended)
		return SHELF_ECANCELLED;
	job->offset = offset;
	job->folder = in->folders[in->nfolders - 1];
	/* The names of a server go with its connection, before the last messages are stored. */
	job->file = strcmp(job->folder->kind, "imap") == 0 ? job->folder->name : file;
	return 0;
}

static int
on_data(void *arg, const void *data, size_t len)
{
	struct intake *in = arg;
	struct intake_job *job = &in->jobs[in->tail % INTAKE_JOBS];

	job->size += len;
	if (job->rc != 0) /* too large, say: read on to where it ends */
		return 0;
	if (job->draft == NULL && job->bytes.len + len <= INTAKE_INLINE_MAX) {
		shelf_buf_add(&job->bytes, data, len);
		return 0;
	}
	if (job->draft == NULL) {
		job->rc = shelf_draft_new(in->t->store, &job->draft);
		if (job->rc == 0)
			job->rc = shelf_draft_write(job->draft, job->bytes.data, job->bytes.len);
		shelf_buf_free(&job->bytes);
	}
	if (job->rc == 0)
		job->rc = shelf_draft_write(job->draft, data, len);
	return tool_interrupted() ? SHELF_ECANCELLED : 0;
}

/* What a source calls a message, in one mailbox: whoever imports into another one gets it there, too. */
static void
id_here(const struct intake_folder *f, const uint8_t *id, uint8_t *out)
{
	uint8_t text[4 + SOURCE_ID_BYTES], digest[EVP_MAX_MD_SIZE];

	for (int i = 0; i < 4; i++)
		text[i] = (uint8_t)(f->mailbox >> (8 * i));
	memcpy(text + 4, id, SOURCE_ID_BYTES);
	SHELF_ASSERT(EVP_Digest(text, sizeof text, digest, NULL, EVP_sha256(), NULL) == 1);
	memcpy(out, digest, SOURCE_ID_BYTES);
}

enum { PROBE_MAX = 256 };

static int
on_missing(void *arg, const uint8_t (*ids)[SOURCE_ID_BYTES], size_t n, bool *missing)
{
	struct intake *in = arg;
	const struct intake_folder *f = in->folders[in->nfolders - 1];
	uint8_t here[PROBE_MAX][SOURCE_ID_BYTES], would[PROBE_MAX];
	struct shelf_rd *rd = NULL;
	uint64_t there = 0;
	int rc = 0;

	SHELF_ASSERT(n <= PROBE_MAX);
	memset(would, 1, sizeof would);
	for (size_t i = 0; i < n; i++)
		id_here(f, ids[i], here[i]);
	if (f->mailbox != 0) {
		rc = shelf_rd_begin(in->t->store, in->account, &rd);
		if (rc == 0)
			rc = shelf_import_probe(rd, (const uint8_t (*)[16])here, n, would);
		shelf_rd_end(&rd);
	}
	for (size_t i = 0; i < n; i++) {
		missing[i] = would[i] != 0;
		there += !missing[i];
	}
	pthread_mutex_lock(&in->mutex);
	in->totals.found += there;
	in->totals.there += there;
	pthread_mutex_unlock(&in->mutex);
	return rc;
}

static void
on_use(void *arg, unsigned use)
{
	((struct intake *)arg)->use = use;
}

static int
on_end(void *arg, const struct source_meta *meta)
{
	struct intake *in = arg;
	struct intake_job *job = &in->jobs[in->tail % INTAKE_JOBS];
	bool drafted = job->draft != NULL || job->rc != 0;
	const struct source_uidl_row *listed;

	job->internaldate_s = meta->internaldate_s;
	job->zone_min = meta->zone_min;
	job->flags = meta->flags;
	job->nkeywords = meta->nkeywords;
	if (meta->nkeywords > 0)
		job->keywords = SHELF_ARENA_ARRAY(&job->arena, struct shelf_span, meta->nkeywords);
	for (size_t i = 0; i < meta->nkeywords; i++)
		job->keywords[i] = shelf_arena_dup(&job->arena, meta->keywords[i]);
	job->uid = meta->uid;
	listed = in->uidl == SOURCE_UIDL_LIST ? source_uidls_find(&in->uidls, meta->message_id) : NULL;
	job->uidl = shelf_arena_dup(&job->arena, listed != NULL ? listed->uidl : meta->uidl);
	job->has_id = meta->id != NULL;
	if (job->has_id)
		id_here(job->folder, meta->id, job->id);
	if (drafted && job->rc == 0)
		job->rc = shelf_draft_finish(job->draft);
	pthread_mutex_lock(&in->mutex);
	job->state = drafted ? INTAKE_DRAFTED : INTAKE_RAW;
	in->flight_bytes += job->size;
	in->tail++;
	pthread_cond_broadcast(&in->changed);
	pthread_mutex_unlock(&in->mutex);
	return 0;
}

static void
on_drop(void *arg)
{
	struct intake *in = arg;

	intake_job_reset(&in->jobs[in->tail % INTAKE_JOBS]);
}

static void
on_problem(void *arg, const char *file, uint64_t offset, const char *text)
{
	intake_problem(arg, file, offset, text);
}

static void
on_advance(void *arg, uint64_t bytes)
{
	struct intake *in = arg;

	pthread_mutex_lock(&in->mutex);
	in->input_done += bytes;
	pthread_mutex_unlock(&in->mutex);
}

struct source_sink
intake_sink(struct intake *in)
{
	return (struct source_sink){.arg = in, .uidl = in->uidl, .uids = in->keep_uids, .folder = on_folder,
	    .uidvalidity = on_uidvalidity, .begin = on_begin,
	    .data = on_data, .missing = on_missing, .use = on_use,
	    .end = on_end, .drop = on_drop, .problem = on_problem, .advance = on_advance};
}

/* ---- Beginning and end --------------------------------------------------------------------------- */

void
intake_begin(struct intake *in, bool progress)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	size_t want = cores < 2 ? 2 : cores > INTAKE_DRAFTERS_MAX ? INTAKE_DRAFTERS_MAX : (size_t)cores;

	pthread_mutex_init(&in->mutex, NULL);
	pthread_cond_init(&in->changed, NULL);
	tool_progress_begin(&in->progress, progress);
	/* Without threads there is no import: the limits of the machine are not ours to work around. */
	SHELF_ASSERT(pthread_create(&in->committer, NULL, intake_commit, in) == 0);
	SHELF_ASSERT(pthread_create(&in->drafters[0], NULL, drafter, in) == 0);
	in->ndrafters = 1;
	while (in->ndrafters < want &&
	    pthread_create(&in->drafters[in->ndrafters], NULL, drafter, in) == 0)
		in->ndrafters++;
}

void
intake_end(struct intake *in, bool drain)
{
	pthread_mutex_lock(&in->mutex);
	in->reader_done = true;
	in->stop = in->stop || !drain;
	pthread_cond_broadcast(&in->changed);
	pthread_mutex_unlock(&in->mutex);
	pthread_join(in->committer, NULL);
	for (size_t i = 0; i < in->ndrafters; i++)
		pthread_join(in->drafters[i], NULL);
	tool_progress_end(&in->progress);
	for (size_t i = 0; i < INTAKE_JOBS; i++) {
		intake_job_reset(&in->jobs[i]);
		shelf_buf_free(&in->jobs[i].bytes);
		shelf_arena_free(&in->jobs[i].arena);
	}
	for (size_t i = 0; i < in->nfolders; i++) {
		free(in->folders[i]->name);
		free(in->folders[i]);
	}
	free(in->folders);
	intake_seen_free(&in->seen);
	pthread_cond_destroy(&in->changed);
	pthread_mutex_destroy(&in->mutex);
}
