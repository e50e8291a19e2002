/*
 * view.c - message numbers of a session
 *
 * A view is a rule (view_map.h: the messages of a mailbox at a modseq, and uids the session was not told to
 * be gone) and a map of the ranges of 65,536 uids: how many messages each has, and of those asked for, which.
 * Opening reads a summary row for each range, the rest is read when a number or a uid is asked for.
 *
 *   shown --refresh--> shown, and PENDING as it will be --commit--> shown
 *
 * What must stay true
 *   - Between shelf_view_refresh and shelf_view_commit the old picture answers.
 *   - Everything up to `modseq` is in the picture or in its set of kept uids.
 *   - A refresh that fails changes nothing.
 */
#include <stdlib.h>

#include <mailshelf/mem.h>
#include <mailshelf/view.h>

#include "view_map.h"

enum { EXPECTED_RANGES = 64 };

struct pending {
	uint32_t uidnext;
	uint64_t modseq;
	struct shelf_uidset *kept, *vanished;
	struct view_map map;
};

struct shelf_view {
	struct view_picture shown;
	struct view_map *map; /* apart, as asking loads */
	struct pending *pending; /* NULL: none */
};

static int
add_range(void *arg, const struct index_summary *s)
{
	view_map_add(arg, s->range, s->counts.present);
	return 0;
}

int
shelf_view_open(struct shelf_rd *rd, uint32_t mailbox, struct shelf_view **out)
{
	struct shelf_view *v;
	struct mail_mbox m;
	int rc = mail_mbox_get(rd->view, mailbox, &m);

	*out = NULL;
	if (rc != 0)
		return rc;
	if ((m.flags & MAIL_MBOX_DELETED) != 0)
		return SHELF_ENOMAILBOX;
	v = SHELF_NEW(struct shelf_view);
	v->shown = (struct view_picture){.store = rd->store, .account = rd->account, .mailbox = mailbox,
	    .uidnext = m.uidnext, .modseq = m.highestmodseq, .kept = shelf_uidset_new()};
	v->map = SHELF_NEW(struct view_map);
	/* Ranges without messages are few, but uids may have been used up by millions. */
	if (m.uidnext >> INDEX_RANGE_SHIFT < EXPECTED_RANGES)
		view_map_expect(v->map, (m.uidnext >> INDEX_RANGE_SHIFT) + 1);
	rc = index_summary_each(rd->view, mailbox, 0, add_range, v->map);
	if (rc == 0 && v->map->count != m.exists)
		rc = SHELF_ECORRUPT;
	if (rc != 0)
		shelf_view_close(&v);
	*out = v;
	return rc;
}

static void
free_pending(struct pending **pending)
{
	struct pending *p = *pending;

	if (p == NULL)
		return;
	*pending = NULL;
	shelf_uidset_free(&p->kept);
	shelf_uidset_free(&p->vanished);
	view_map_free(&p->map);
	free(p);
}

void
shelf_view_close(struct shelf_view **view)
{
	struct shelf_view *v = *view;

	if (v == NULL)
		return;
	*view = NULL;
	free_pending(&v->pending);
	shelf_uidset_free(&v->shown.kept);
	view_map_free(v->map);
	free(v->map);
	free(v);
}

size_t
shelf_view_bytes(const struct shelf_view *v)
{
	return sizeof(*v) + sizeof(*v->map) + v->map->cap * sizeof(*v->map->range) + v->map->piece_bytes;
}

int
shelf_view_error(const struct shelf_view *v)
{
	return v->map->error;
}

uint32_t
shelf_view_mailbox(const struct shelf_view *v)
{
	return v->shown.mailbox;
}

uint32_t
shelf_view_count(const struct shelf_view *v)
{
	return v->map->count;
}

uint32_t
shelf_view_uidnext(const struct shelf_view *v)
{
	return v->pending != NULL ? v->pending->uidnext : v->shown.uidnext;
}

uint64_t
shelf_view_modseq(const struct shelf_view *v)
{
	return v->pending != NULL ? v->pending->modseq : v->shown.modseq;
}

uint32_t
shelf_view_uid(const struct shelf_view *v, uint32_t seq)
{
	const struct view_map *m = v->map;
	size_t lo = 0, hi = m->n;

	if (seq == 0 || seq > m->count)
		return 0;
	/* The last range with fewer than seq messages before it. */
	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;

		if (m->range[mid].before < seq)
			lo = mid;
		else
			hi = mid;
	}
	if (!view_map_load(v->map, &v->shown, lo))
		return 0;
	return view_map_select(m, lo, seq - m->range[lo].before - 1);
}

uint32_t
shelf_view_seq_from(const struct shelf_view *v, uint32_t uid)
{
	const struct view_map *m = v->map;
	size_t i = view_map_find(m, uid >> INDEX_RANGE_SHIFT);

	if (i == m->n)
		return m->count + 1;
	if (m->range[i].number != uid >> INDEX_RANGE_SHIFT || !view_map_load(v->map, &v->shown, i))
		return m->range[i].before + 1;
	return m->range[i].before + view_map_rank(m, i, uid) + 1;
}

uint32_t
shelf_view_seq(const struct shelf_view *v, uint32_t uid)
{
	const struct view_map *m = v->map;
	size_t i = view_map_find(m, uid >> INDEX_RANGE_SHIFT);

	if (i == m->n || m->range[i].number != uid >> INDEX_RANGE_SHIFT ||
	    !view_map_load(v->map, &v->shown, i) || !view_map_has(m, i, uid))
		return 0;
	return m->range[i].before + view_map_rank(m, i, uid) + 1;
}

uint32_t
shelf_view_max_uid(const struct shelf_view *v)
{
	return shelf_view_uid(v, v->map->count);
}

static void
add_uids(const struct shelf_view *v, uint32_t first, uint32_t last, struct shelf_uidset *set)
{
	size_t i = view_map_find(v->map, first >> INDEX_RANGE_SHIFT);

	for (; i < v->map->n && v->map->range[i].number <= last >> INDEX_RANGE_SHIFT; i++)
		if (view_map_load(v->map, &v->shown, i))
			view_map_add_to(v->map, i, first, last, set);
}

void
shelf_view_uids(const struct shelf_view *v, struct shelf_uidset *set)
{
	add_uids(v, 1, UINT32_MAX, set);
}

void
shelf_view_retain(const struct shelf_view *v, struct shelf_uidset *set)
{
	struct shelf_uidset *mine = shelf_uidset_new();
	uint32_t first, last;

	for (uint32_t from = 1; from != 0 && shelf_uidset_run(set, from, &first, &last); from = last + 1) {
		if (first != last)
			add_uids(v, first, last, mine);
		else if (shelf_view_seq(v, first) != 0)
			shelf_uidset_add(mine, first);
	}
	shelf_uidset_clear(set);
	shelf_uidset_or(set, mine);
	shelf_uidset_free(&mine);
}

/* ---- Refresh ------------------------------------------------------------------------------------------ */

/* A range as it will be: what the store has, and what is kept back. */
static int
add_pending_range(void *arg, const struct index_summary *s)
{
	struct pending *p = arg;
	uint32_t first = s->range << INDEX_RANGE_SHIFT;

	view_map_add(&p->map, s->range,
	    s->counts.present + shelf_uidset_count_range(p->kept, first, first | UINT16_MAX));
	return 0;
}

static int
look(struct shelf_view *v, struct shelf_rd *rd, const struct mail_mbox *m, bool may_renumber,
    struct shelf_changes *ch)
{
	struct pending *p = v->pending = SHELF_NEW(struct pending);
	struct shelf_uidset *gone = shelf_uidset_copy(v->shown.kept);
	uint32_t stay;
	int rc = shelf_msg_changes(rd, v->shown.mailbox, v->shown.modseq, v->shown.uidnext, ch->flagged,
	    gone);

	p->uidnext = m->uidnext;
	p->modseq = m->highestmodseq;
	if (may_renumber)
		shelf_uidset_or(ch->vanished, gone);
	p->vanished = shelf_uidset_copy(ch->vanished);
	p->kept = may_renumber ? shelf_uidset_new() : shelf_uidset_copy(gone);
	shelf_uidset_free(&gone);
	if (rc == 0)
		rc = index_summary_each(rd->view, v->shown.mailbox, 0, add_pending_range, p);
	if (rc != 0)
		return rc;
	stay = v->map->count - shelf_uidset_count(p->vanished);
	ch->added = p->map.count - stay;
	if (p->map.count != m->exists + shelf_uidset_count(p->kept) || stay > v->map->count ||
	    ch->added > p->uidnext - v->shown.uidnext)
		return SHELF_ECORRUPT;
	ch->kept_back = shelf_uidset_count(p->kept) > 0;
	return 0;
}

int
shelf_view_refresh(struct shelf_view *v, struct shelf_rd *rd, bool may_renumber,
		   struct shelf_changes *ch)
{
	struct mail_mbox m;
	int rc;

	SHELF_ASSERT(v->pending == NULL);
	shelf_uidset_clear(ch->vanished);
	shelf_uidset_clear(ch->flagged);
	ch->old_count = v->map->count;
	ch->added = 0;
	ch->kept_back = shelf_uidset_count(v->shown.kept) > 0;
	if ((rc = mail_mbox_get(rd->view, v->shown.mailbox, &m)) != 0)
		return rc;
	if ((m.flags & MAIL_MBOX_DELETED) != 0)
		return SHELF_ENOMAILBOX;
	if (v->map->error != 0)
		return v->map->error;
	if (m.highestmodseq == v->shown.modseq && !(may_renumber && ch->kept_back))
		return 0;
	if ((rc = look(v, rd, &m, may_renumber, ch)) != 0)
		free_pending(&v->pending);
	return rc;
}

void
shelf_view_commit(struct shelf_view *v)
{
	struct pending *p = v->pending;

	if (p == NULL)
		return;
	v->pending = NULL;
	v->shown.uidnext = p->uidnext;
	v->shown.modseq = p->modseq;
	shelf_uidset_free(&v->shown.kept);
	v->shown.kept = p->kept;
	view_map_take(&p->map, v->map, p->vanished);
	*v->map = p->map;
	shelf_uidset_free(&p->vanished);
	free(p);
}
