/*
 * lane.c - what one thread does for a search: one message after the other
 *
 * For the message at hand
 *
 *   FLAGS -> ROW -> RECORD (-> scan the body, if there is no record) -> BODY
 *
 * and it ends at the first step at which the tree is decided. A lane may be left between any two steps and taken
 * up by another thread. A message that is in the view but was expunged meanwhile is judged like the others as
 * long as its data are held, and matches nothing afterwards. A message that cannot be read matches nothing, and
 * the search says so in the end: one damaged body must not make a mailbox unsearchable.
 */
#include <stdlib.h>
#include <mailshelf/log.h>
#include <mailshelf/mem.h>

#include "search.h"

struct search_lane *
search_lane_new(const struct search_job *job)
{
	struct search_lane *lane = SHELF_NEW(struct search_lane);

	lane->job = job;
	search_plan_copy(&lane->plan, &job->plan, &lane->arena);
	lane->subject.arena = &lane->message_arena;
	lane->subject.now_s = job->now_s;
	return lane;
}

void
search_lane_free(struct search_lane **lanep)
{
	struct search_lane *lane = *lanep;

	*lanep = NULL;
	search_pass_end(&lane->pass);
	search_plan_free(&lane->plan);
	shelf_arena_free(&lane->message_arena);
	shelf_arena_free(&lane->arena);
	free(lane);
}

static uint32_t
uid_of(const struct search_lane *lane)
{
	return lane->uid[lane->at];
}

static void
end_message(struct search_lane *lane)
{
	search_pass_end(&lane->pass);
	shelf_arena_reset(&lane->message_arena);
	lane->busy = lane->scanning = false;
	lane->subject.record = NULL;
	lane->at++;
}

/* 0; SHELF_ENOMESSAGE: it is gone for good. */
static int
begin_message(struct search_lane *lane, struct shelf_rd *rd)
{
	struct shelf_msg *msg = &lane->subject.msg;
	bool whole;
	int rc = search_row(rd, lane->job->mailbox, uid_of(lane), SHELF_MSG_FLAGS, msg, &whole);

	lane->busy = true;
	lane->subject.have = whole ? SEARCH_ROW : SEARCH_FLAGS;
	for (size_t i = 0; i < lane->plan.nleaf; i++) {
		lane->plan.leaf[i]->value = SEARCH_OPEN;
		lane->plan.leaf[i]->wanted = false;
	}
	return rc;
}

static int
open_body(struct search_lane *lane)
{
	const struct search_job *job = lane->job;

	return shelf_body_open(job->store, job->account, lane->subject.msg.blob, &lane->pass.body);
}

static int
get_record(struct search_lane *lane, struct shelf_rd *rd)
{
	struct shelf_span record;
	struct mime_part *root;
	int rc = shelf_msg_derived(rd, lane->subject.msg.blob, &lane->message_arena, &record);

	if (rc == 0)
		rc = mime_record_decode(record, &lane->message_arena, &root);
	if (rc == 0) {
		lane->subject.record = root;
		lane->subject.have = SEARCH_RECORD;
		return 0;
	}
	if (!search_record_lost(rc))
		return rc;
	lane->scanning = true;
	return open_body(lane);
}

/* One step more of knowledge about the message at hand. */
static int
learn(struct search_lane *lane, struct shelf_rd *rd)
{
	int rc;

	if (lane->scanning) {
		rc = search_pass_scan(&lane->pass, &lane->message_arena, &lane->subject.record);
		if (rc != 0)
			return rc < 0 ? rc : 0;
		lane->scanning = false;
		lane->subject.have = SEARCH_RECORD;
		return 0;
	}
	switch (lane->subject.have) {
	case SEARCH_FLAGS:
		lane->subject.have = SEARCH_ROW;
		return shelf_msg_get(rd, lane->job->mailbox, uid_of(lane), &lane->subject.msg);
	case SEARCH_ROW:
		return get_record(lane, rd);
	case SEARCH_RECORD:
		rc = lane->pass.body != NULL ? 0 : open_body(lane);
		if (rc != 0)
			return rc;
		search_pass_begin(&lane->pass, &lane->plan, lane->subject.record, &lane->message_arena);
		lane->subject.have = SEARCH_BODY;
		return 0;
	case SEARCH_BODY:
		rc = search_pass_step(&lane->pass, &lane->plan);
		return rc < 0 ? rc : 0;
	}
	return SHELF_EINVALID;
}

/* While bytes are read piece by piece the tree need not be asked after each. */
static enum search_value
verdict(struct search_lane *lane)
{
	if (lane->scanning)
		return SEARCH_OPEN;
	return search_eval(lane->plan.root, &lane->subject);
}

void
search_lane_log(const struct search_lane *lane, int rc)
{
	const struct search_job *job = lane->job;

	shelf_log(SHELF_LOG_ERROR, "search failed", "account", "%u", job->account, "mailbox", "%u", job->mailbox,
	    "uid", "%u", uid_of(lane), "error", "%s", shelf_err_name(rc), NULL);
}

int
search_lane_step(struct search_lane *lane, struct shelf_rd *rd)
{
	enum search_value v;
	int rc = lane->busy ? learn(lane, rd) : begin_message(lane, rd);

	if (rc == SHELF_ECORRUPT) {
		lane->damaged = true;
		search_lane_log(lane, rc);
	}
	if (rc == SHELF_ENOMESSAGE || rc == SHELF_ECORRUPT) {
		end_message(lane);
		return 0;
	}
	if (rc != 0)
		return rc;
	v = verdict(lane);
	if (v == SEARCH_OPEN)
		return 0;
	if (v == SEARCH_YES) {
		lane->uid[lane->found++] = lane->subject.msg.uid; /* at or in front of the message at hand */
		if (lane->subject.msg.modseq > lane->max_modseq)
			lane->max_modseq = lane->subject.msg.modseq;
	}
	end_message(lane);
	return 0;
}
