/*
 * thread.c - messages in threads: reads them, then runs the stages of the algorithm
 *
 *   reading --> stage 1 --> stage 2 --> ... --> done
 */
#include <stdlib.h>
#include <mailshelf/mem.h>

#include "thread.h"

enum { AT_ONCE = 4096 };

static const struct thread_stage *
stages_of(const struct shelf_thread *t)
{
	return t->algorithm == SHELF_THREAD_REFERENCES ? thread_by_references : thread_by_subject;
}

static size_t
stride_of(const struct shelf_thread *t)
{
	return t->algorithm == SHELF_THREAD_REFERENCES ? 2 : 3;
}

int
shelf_thread_new(struct shelf_store *store, uint32_t account, uint32_t mailbox,
    const struct shelf_uidset *uids, enum shelf_thread_algorithm algorithm, struct shelf_thread **out)
{
	struct shelf_thread *t = SHELF_NEW(struct shelf_thread);
	size_t n = shelf_uidset_count(uids);
	int rc = 0;

	search_walk_begin(&t->walk, store, account, mailbox, uids, SEARCH_WALK_ENVELOPE);
	t->algorithm = algorithm;
	shelf_random(&t->key, sizeof t->key);
	t->message = shelf_alloc_try(n * sizeof *t->message + 1);
	t->row = shelf_alloc_try(n * stride_of(t) * sizeof *t->row + 1);
	if (t->message == NULL || t->row == NULL) {
		rc = SHELF_ENOMEM;
	} else if (algorithm == SHELF_THREAD_REFERENCES) {
		rc = thread_links_begin(t, n);
	} else {
		t->node = calloc(n + 1, sizeof *t->node);
		rc = t->node == NULL ? SHELF_ENOMEM : 0;
	}
	if (rc != 0)
		shelf_thread_free(&t);
	*out = t;
	return rc;
}

static void
free_means(struct shelf_thread *t)
{
	search_walk_end(&t->walk);
	search_merge_end(&t->merge);
	shelf_buf_free(&t->text);
	shelf_buf_free(&t->mapped);
	free(t->row);
	free(t->table);
	free(t->item);
	t->row = NULL;
	t->table = t->item = NULL;
}

void
shelf_thread_shrink(struct shelf_thread *t)
{
	free_means(t);
	t->message = shelf_realloc(t->message, t->messages * sizeof *t->message + 1);
	t->node = shelf_realloc(t->node, (t->nodes + 1) * sizeof *t->node);
}

void
shelf_thread_free(struct shelf_thread **thread)
{
	struct shelf_thread *t = *thread;

	if (t == NULL)
		return;
	*thread = NULL;
	free_means(t);
	free(t->message);
	free(t->node);
	free(t);
}

struct shelf_progress
shelf_thread_progress(const struct shelf_thread *thread)
{
	return thread->walk.progress;
}

/* ---- For the algorithms ------------------------------------------------------------------------------ */

int
thread_table(struct shelf_thread *t, size_t max)
{
	size_t size = 64;

	while (size < max + max / 2)
		size *= 2;
	free(t->table);
	t->table = calloc(size, sizeof *t->table);
	t->mask = size - 1;
	return t->table == NULL ? SHELF_ENOMEM : 0;
}

int
thread_sort(struct shelf_thread *t, size_t n, size_t stride)
{
	if (!search_merge_begin(&t->merge, t->row, n, stride))
		return SHELF_ENOMEM;
	t->row = NULL;
	return 0;
}

size_t
thread_messages(const struct shelf_thread *t)
{
	return t->messages;
}

void
thread_root(struct shelf_thread *t, uint32_t node)
{
	if (t->last == 0)
		t->first = node;
	else
		t->node[t->last].next = node;
	t->node[node].next = 0;
	t->last = node;
}

/* ---- Reading ------------------------------------------------------------------------------------------ */

static uint64_t
subject_at_hand(struct shelf_thread *t)
{
	const struct mime_envelope *e = t->walk.envelope;
	struct shelf_span base;
	uint64_t hash = 0;
	bool reply;

	if (e->subject.data == NULL)
		return 0;
	shelf_buf_clear(&t->text);
	shelf_buf_clear(&t->mapped);
	search_subject_text(e->subject, &t->text);
	base = search_base_subject(shelf_buf_span(&t->text), &reply);
	search_casemap(base, &t->mapped);
	if (base.len > 0 && (hash = search_hash(&t->key, shelf_buf_span(&t->mapped))) <= 1)
		hash = 2;
	return (hash & ~(uint64_t)1) | reply;
}

static void
add_message(struct shelf_thread *t)
{
	size_t i = t->messages++;
	struct thread_message *m = &t->message[i];
	uint64_t *row = t->row + i * stride_of(t);

	*m = (struct thread_message){.uid = t->walk.msg.uid, .subject = subject_at_hand(t)};
	if (t->algorithm == SHELF_THREAD_ORDEREDSUBJECT) {
		m->node = (uint32_t)++t->nodes;
		t->node[m->node].message = (uint32_t)i + 1;
		*row++ = m->subject & ~(uint64_t)1;
	} else {
		thread_links_add(t, i);
	}
	row[0] = search_sent(&t->walk);
	row[1] = i;
}

/* ---- Running ------------------------------------------------------------------------------------------ */

/* 1: more messages; 0: all are read. */
static int
read_one(struct shelf_thread *t, struct shelf_rd *rd)
{
	int rc;

	if (t->walk.next == 0)
		return 0;
	rc = search_walk_step(&t->walk, rd);
	if (rc == 1)
		add_message(t);
	return rc < 0 ? rc : 1;
}

static int
run_stage(struct shelf_thread *t, const struct thread_stage *stage)
{
	size_t count, end;

	if (stage->step == NULL) {
		if (search_merge_run(&t->merge, AT_ONCE) == 1)
			return 1;
		t->row = search_merge_take(&t->merge);
		return 0;
	}
	count = stage->count(t);
	end = count - t->at > AT_ONCE ? t->at + AT_ONCE : count;
	for (; t->at < end; t->at++)
		stage->step(t, t->at);
	return t->at < count;
}

static bool
is_last(const struct thread_stage *stage)
{
	return stage->begin == NULL && stage->step == NULL;
}

int
shelf_thread_run(struct shelf_thread *t, unsigned budget_ms)
{
	int64_t deadline_ms = shelf_mono_ms() + (int64_t)budget_ms;
	struct shelf_rd *rd = NULL;
	int rc = t->stage > 0 ? 1 : shelf_rd_begin(t->walk.store, t->walk.account, &rd);

	while (rc >= 0) {
		/* The stages of an algorithm count from 1 here, reading is 0. */
		const struct thread_stage *stage = t->stage == 0 ? NULL : &stages_of(t)[t->stage - 1];

		if (stage != NULL && is_last(stage)) {
			rc = t->walk.damaged ? SHELF_ECORRUPT : 0;
			break;
		}
		rc = stage == NULL ? read_one(t, rd) : run_stage(t, stage);
		if (rc == 0) {
			stage = &stages_of(t)[t->stage++];
			t->at = 0;
			rc = stage->begin != NULL ? stage->begin(t) : 0;
		}
		if (rc < 0)
			break;
		rc = 1;
		if (shelf_mono_ms() >= deadline_ms)
			break;
	}
	shelf_rd_end(&rd);
	return rc;
}

/* ---- The result --------------------------------------------------------------------------------------- */

uint32_t
shelf_thread_first(const struct shelf_thread *t)
{
	return t->first;
}

uint32_t
shelf_thread_uid(const struct shelf_thread *t, uint32_t node)
{
	uint32_t message = t->node[node].message;

	return message == 0 ? 0 : t->message[message - 1].uid;
}

uint32_t
shelf_thread_parent(const struct shelf_thread *t, uint32_t node)
{
	return t->node[node].parent;
}

uint32_t
shelf_thread_child(const struct shelf_thread *t, uint32_t node)
{
	return t->node[node].child;
}

uint32_t
shelf_thread_next(const struct shelf_thread *t, uint32_t node)
{
	return t->node[node].next;
}
