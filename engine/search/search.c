/*
 * search.c - a query over the messages of a view, in slices, by one thread or by several at once
 *
 * A thread takes a lane, and with it some messages: those that another thread had to leave when its time was over, else
 * the next ones. It gives the lane back with what was found.
 *
 *   todo --take--> lane of a running thread --give--> found
 *                        ^        |
 *                        +- left -+  time is over, messages are left
 *
 * What must stay true: each message is looked at by one lane, once; what survives a slice is here, and the
 * snapshot is not among it, each slice takes one of its own. All that follows `lock` in the struct is behind it.
 */
#include <pthread.h>
#include <stdlib.h>
#include <mailshelf/log.h>
#include <mailshelf/mem.h>

#include "search.h"

enum { CHUNKS_MIN = 64 }; /* so that the last ones are short: no thread is alone at the end for long */

struct shelf_search {
	struct search_job job;
	struct shelf_arena arena;         /* of the plan */
	struct shelf_uidset *todo;        /* candidates */

	pthread_mutex_t lock;
	uint32_t next;                    /* the next of todo that no lane has got; 0: none */
	uint32_t waiting;                 /* how many they are */
	struct search_lane *left, *spare; /* lanes that no thread has: with messages, without */
	struct shelf_progress progress;
	bool damaged;                     /* a message was passed over */
	int rc;                           /* what ended it */
	struct shelf_uidset *found;
	uint64_t max_modseq;
};

int
shelf_search_new(struct shelf_store *store, uint32_t account, const struct shelf_view *view,
    const struct shelf_key *key, struct shelf_search **out)
{
	struct shelf_search *s = SHELF_NEW(struct shelf_search);
	int rc = search_plan_init(&s->job.plan, key, &s->arena);

	*out = NULL;
	if (rc != 0) {
		shelf_arena_free(&s->arena);
		free(s);
		return rc;
	}
	s->job.store = store;
	s->job.account = account;
	s->job.mailbox = shelf_view_mailbox(view);
	s->job.now_s = shelf_now_s();
	SHELF_ASSERT(pthread_mutex_init(&s->lock, NULL) == 0);
	s->todo = shelf_uidset_new();
	s->found = shelf_uidset_new();
	if (s->job.plan.only != NULL) {
		shelf_uidset_or(s->todo, s->job.plan.only);
		shelf_view_retain(view, s->todo);
	} else {
		shelf_view_uids(view, s->todo);
	}
	s->next = shelf_uidset_next(s->todo, 1);
	s->progress.total = s->waiting = shelf_uidset_count(s->todo);
	if ((rc = shelf_view_error(view)) != 0)
		shelf_search_free(&s);
	*out = s;
	return rc;
}

bool
shelf_search_reads_bodies(const struct shelf_search *search)
{
	return search_plan_reads_bodies(&search->job.plan);
}

const struct shelf_uidset *
shelf_search_found(const struct shelf_search *search)
{
	return search->found;
}

uint64_t
shelf_search_max_modseq(const struct shelf_search *search)
{
	return search->max_modseq;
}

struct shelf_progress
shelf_search_progress(struct shelf_search *search)
{
	struct shelf_progress so_far;

	pthread_mutex_lock(&search->lock);
	so_far = search->progress;
	pthread_mutex_unlock(&search->lock);
	return so_far;
}

static void
free_lanes(struct search_lane **list)
{
	while (*list != NULL) {
		struct search_lane *lane = *list;

		*list = lane->next;
		search_lane_free(&lane);
	}
}

void
shelf_search_free(struct shelf_search **search)
{
	struct shelf_search *s = *search;

	if (s == NULL)
		return;
	*search = NULL;
	free_lanes(&s->left);
	free_lanes(&s->spare);
	search_plan_free(&s->job.plan);
	shelf_uidset_free(&s->todo);
	shelf_uidset_free(&s->found);
	shelf_arena_free(&s->arena);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

/* ---- Lanes ------------------------------------------------------------------------------------------- */

static struct search_lane *
pop(struct search_lane **list)
{
	struct search_lane *lane = *list;

	if (lane != NULL)
		*list = lane->next;
	return lane;
}

static void
push(struct search_lane **list, struct search_lane *lane)
{
	lane->next = *list;
	*list = lane;
}

/* The next messages for LANE. The fewer are left, the fewer. */
static void
fill(struct shelf_search *s, struct search_lane *lane)
{
	size_t n = s->waiting / CHUNKS_MIN + 1;

	if (n > SEARCH_CHUNK_MAX)
		n = SEARCH_CHUNK_MAX;
	lane->n = lane->at = lane->found = 0;
	for (; lane->n < n && s->next != 0; s->waiting--) {
		lane->uid[lane->n++] = s->next;
		s->next = s->next == UINT32_MAX ? 0 : shelf_uidset_next(s->todo, s->next + 1);
	}
}

/* A lane with messages; NULL: nothing is left that another thread does not look at already. */
static struct search_lane *
take(struct shelf_search *s)
{
	struct search_lane *lane = NULL;

	pthread_mutex_lock(&s->lock);
	if (s->rc == 0)
		lane = pop(&s->left);
	if (s->rc == 0 && lane == NULL && s->next != 0) {
		lane = pop(&s->spare);
		if (lane == NULL)
			lane = search_lane_new(&s->job);
		fill(s, lane);
	}
	pthread_mutex_unlock(&s->lock);
	return lane;
}

/* LANE was left by its thread with RC. DONE: so many of its messages are finished since. */
static void
give(struct shelf_search *s, struct search_lane *lane, size_t done, int rc)
{
	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < lane->found; i++)
		shelf_uidset_add(s->found, lane->uid[i]);
	lane->found = 0;
	if (lane->max_modseq > s->max_modseq)
		s->max_modseq = lane->max_modseq;
	s->damaged = s->damaged || lane->damaged;
	s->progress.done += (uint32_t)done;
	if (rc < 0) {
		s->rc = rc;
		search_lane_log(lane, rc);
	}
	push(lane->at < lane->n ? &s->left : &s->spare, lane);
	pthread_mutex_unlock(&s->lock);
}

/* ---- Running ----------------------------------------------------------------------------------------- */

/* As far as the messages and the time go. 1: the time is over. */
static int
run_lane(struct search_lane *lane, struct shelf_rd *rd, int64_t deadline_ms)
{
	int rc = search_plan_keywords(&lane->plan, rd, lane->job->mailbox);

	while (rc == 0 && lane->at < lane->n) {
		rc = search_lane_step(lane, rd);
		if (rc == 0 && shelf_mono_ms() >= deadline_ms)
			rc = 1;
	}
	return rc;
}

int
shelf_search_state(struct shelf_search *s)
{
	int rc;

	pthread_mutex_lock(&s->lock);
	rc = s->rc != 0 ? s->rc : s->next != 0 || s->left != NULL;
	if (rc == 0 && s->damaged)
		rc = SHELF_ECORRUPT;
	pthread_mutex_unlock(&s->lock);
	return rc;
}

int
shelf_search_run(struct shelf_search *search, unsigned budget_ms)
{
	int64_t deadline_ms = shelf_mono_ms() + (int64_t)budget_ms;
	struct search_lane *lane;
	struct shelf_rd *rd = NULL;
	int rc = 0;

	while (rc == 0 && (lane = take(search)) != NULL) {
		size_t at = lane->at;

		if (rd == NULL)
			rc = shelf_rd_begin(search->job.store, search->job.account, &rd);
		if (rc == 0)
			rc = run_lane(lane, rd, deadline_ms);
		give(search, lane, lane->at - at, rc);
	}
	shelf_rd_end(&rd);
	return shelf_search_state(search);
}
