/*
 * search.c - a query over the messages of a view, in slices
 *
 * For the message at hand
 *
 *   FLAGS -> ROW -> RECORD (-> scan the body, if there is no record) -> BODY
 *
 * and it ends at the first step at which the tree is decided. All that survives a slice is here; the
 * snapshot does not, it is taken anew by each slice. A message that is in the view but was expunged
 * meanwhile is judged like the others as long as its data are held, and matches nothing afterwards. A
 * message that cannot be read matches nothing, and the search says so in the end: one damaged body must
 * not make a mailbox unsearchable.
 */
#include <stdlib.h>
#include <mailshelf/log.h>
#include <mailshelf/mem.h>

#include "search.h"

struct shelf_search {
	struct shelf_store *store;
	uint32_t account, mailbox;
	struct search_plan plan;
	struct shelf_arena arena;         /* of the plan */
	struct shelf_uidset *todo;        /* candidates */
	uint32_t next;                    /* where to go on in todo; 0: the end */
	struct shelf_progress progress;
	bool busy;                        /* subject is half done */
	bool scanning;
	bool damaged;                     /* a message was passed over */
	struct search_subject subject;
	struct search_pass pass;
	struct shelf_arena message_arena;
	struct shelf_uidset *found;
	uint64_t max_modseq;
};

int
shelf_search_new(struct shelf_store *store, uint32_t account, const struct shelf_view *view,
    const struct shelf_key *key, struct shelf_search **out)
{
	struct shelf_search *s = SHELF_NEW(struct shelf_search);
	int rc = search_plan_init(&s->plan, key, &s->arena);

	*out = NULL;
	if (rc != 0) {
		shelf_arena_free(&s->arena);
		free(s);
		return rc;
	}
	s->store = store;
	s->account = account;
	s->mailbox = shelf_view_mailbox(view);
	s->todo = shelf_uidset_new();
	s->found = shelf_uidset_new();
	if (s->plan.only != NULL) {
		shelf_uidset_or(s->todo, s->plan.only);
		shelf_view_retain(view, s->todo);
	} else {
		shelf_view_uids(view, s->todo);
	}
	s->next = shelf_uidset_next(s->todo, 1);
	s->progress.total = shelf_uidset_count(s->todo);
	s->subject.arena = &s->message_arena;
	s->subject.now_s = shelf_now_s();
	if ((rc = shelf_view_error(view)) != 0)
		shelf_search_free(&s);
	*out = s;
	return rc;
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
shelf_search_progress(const struct shelf_search *search)
{
	return search->progress;
}

/* ---- One message -------------------------------------------------------------------------------- */

static void
end_message(struct shelf_search *s)
{
	search_pass_end(&s->pass);
	shelf_arena_reset(&s->message_arena);
	s->busy = s->scanning = false;
	s->subject.record = NULL;
	s->progress.done++;
	s->next = s->next == UINT32_MAX ? 0 : shelf_uidset_next(s->todo, s->next + 1);
}

/* 0; SHELF_ENOMESSAGE: it is gone for good. */
static int
begin_message(struct shelf_search *s, struct shelf_rd *rd)
{
	struct shelf_msg *msg = &s->subject.msg;
	bool whole;
	int rc = search_row(rd, s->mailbox, s->next, SHELF_MSG_FLAGS, msg, &whole);

	s->busy = true;
	s->subject.have = whole ? SEARCH_ROW : SEARCH_FLAGS;
	for (size_t i = 0; i < s->plan.nleaf; i++) {
		s->plan.leaf[i]->value = SEARCH_OPEN;
		s->plan.leaf[i]->wanted = false;
	}
	return rc;
}

static int
get_record(struct shelf_search *s, struct shelf_rd *rd)
{
	struct shelf_span record;
	struct mime_part *root;
	int rc = shelf_msg_derived(rd, s->subject.msg.blob, &s->message_arena, &record);

	if (rc == 0)
		rc = mime_record_decode(record, &s->message_arena, &root);
	if (rc == 0) {
		s->subject.record = root;
		s->subject.have = SEARCH_RECORD;
		return 0;
	}
	if (!search_record_lost(rc))
		return rc;
	s->scanning = true;
	return shelf_body_open(s->store, s->account, s->subject.msg.blob, &s->pass.body);
}

/* One step more of knowledge about the message at hand. */
static int
learn(struct shelf_search *s, struct shelf_rd *rd)
{
	int rc;

	if (s->scanning) {
		rc = search_pass_scan(&s->pass, &s->message_arena, &s->subject.record);
		if (rc != 0)
			return rc < 0 ? rc : 0;
		s->scanning = false;
		s->subject.have = SEARCH_RECORD;
		return 0;
	}
	switch (s->subject.have) {
	case SEARCH_FLAGS:
		s->subject.have = SEARCH_ROW;
		return shelf_msg_get(rd, s->mailbox, s->next, &s->subject.msg);
	case SEARCH_ROW:
		return get_record(s, rd);
	case SEARCH_RECORD:
		rc = s->pass.body != NULL ? 0 :
		    shelf_body_open(s->store, s->account, s->subject.msg.blob, &s->pass.body);
		if (rc != 0)
			return rc;
		search_pass_begin(&s->pass, &s->plan, s->subject.record, &s->message_arena);
		s->subject.have = SEARCH_BODY;
		return 0;
	case SEARCH_BODY:
		rc = search_pass_step(&s->pass, &s->plan);
		return rc < 0 ? rc : 0;
	}
	return SHELF_EINVALID;
}

/* While bytes are read piece by piece the tree need not be asked after each. */
static enum search_value
verdict(struct shelf_search *s)
{
	if (s->scanning)
		return SEARCH_OPEN;
	return search_eval(s->plan.root, &s->subject);
}

static void
log_error(const struct shelf_search *s, int rc)
{
	shelf_log(SHELF_LOG_ERROR, "search failed", "account", "%u", s->account, "mailbox", "%u",
	    s->mailbox, "uid", "%u", s->next, "error", "%s", shelf_err_name(rc), NULL);
}

/* One step of one message. */
static int
step(struct shelf_search *s, struct shelf_rd *rd)
{
	enum search_value v;
	int rc = 0;

	if (!s->busy)
		rc = begin_message(s, rd);
	else
		rc = learn(s, rd);
	if (rc == SHELF_ECORRUPT) {
		s->damaged = true;
		log_error(s, rc);
	}
	if (rc == SHELF_ENOMESSAGE || rc == SHELF_ECORRUPT) {
		end_message(s);
		return 0;
	}
	if (rc != 0)
		return rc;
	v = verdict(s);
	if (v == SEARCH_OPEN)
		return 0;
	if (v == SEARCH_YES) {
		shelf_uidset_add(s->found, s->subject.msg.uid);
		if (s->subject.msg.modseq > s->max_modseq)
			s->max_modseq = s->subject.msg.modseq;
	}
	end_message(s);
	return 0;
}

int
shelf_search_run(struct shelf_search *search, unsigned budget_ms)
{
	int64_t deadline_ms = shelf_mono_ms() + (int64_t)budget_ms;
	struct shelf_rd *rd = NULL;
	int rc;

	if (search->next == 0)
		return search->damaged ? SHELF_ECORRUPT : 0;
	rc = shelf_rd_begin(search->store, search->account, &rd);
	if (rc == 0)
		rc = search_plan_keywords(&search->plan, rd, search->mailbox);
	while (rc == 0 && search->next != 0) {
		rc = step(search, rd);
		if (rc == 0 && search->next != 0 && shelf_mono_ms() >= deadline_ms)
			rc = 1;
	}
	shelf_rd_end(&rd);
	if (rc < 0)
		log_error(search, rc);
	else if (rc == 0 && search->damaged)
		rc = SHELF_ECORRUPT;
	return rc;
}

void
shelf_search_free(struct shelf_search **search)
{
	struct shelf_search *s = *search;

	if (s == NULL)
		return;
	*search = NULL;
	search_pass_end(&s->pass);
	search_plan_free(&s->plan);
	shelf_uidset_free(&s->todo);
	shelf_uidset_free(&s->found);
	shelf_arena_free(&s->message_arena);
	shelf_arena_free(&s->arena);
	free(s);
}
