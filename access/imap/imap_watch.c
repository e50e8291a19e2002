/*
 * imap_watch.c - the mailboxes of one account, as a session that watches them knows them
 *
 *   look: which ones changed (the engine knows the last few; else all are read) --> old and new side by side
 *
 * What must stay true: imap_watch.h. Whoever is told of each difference knows all there is.
 * Sources   RFC 5465 5, 5.8.
 */
#include <stdlib.h>

#include "conf.h"
#include "imap_watch.h"

/* ---- The list ------------------------------------------------------------------------------------ */

static size_t
bytes_of(const struct imap_box *b)
{
	return sizeof *b + b->name.len;
}

static void
free_box(struct imap_box *b)
{
	free((void *)(uintptr_t)b->name.data);
	b->name = shelf_span(NULL, 0);
}

/* With the name by which the user knows it. */
static struct imap_box
box_of(const struct imap_watch *w, const struct shelf_mailbox *m)
{
	struct imap_box b = {
	    .id = m->exists_now ? m->id : 0,
	    .uidvalidity = m->uidvalidity,
	    .uidnext = m->uidnext,
	    .exists = m->exists,
	    .unseen = m->unseen,
	    .modseq = m->highestmodseq,
	    .special_use = m->special_use,
	    .subscribed = m->subscribed,
	};
	uint8_t *name = shelf_alloc(w->top.len + m->name.len);

	if (w->top.len > 0) {
		memcpy(name, w->top.data, w->top.len);
		b.special_use = 0; /* theirs, not his */
		b.subscribed = false;
	}
	memcpy(name + w->top.len, m->name.data, m->name.len);
	b.name = shelf_span(name, w->top.len + m->name.len);
	return b;
}

int
imap_watch_compare_names(struct shelf_span a, struct shelf_span b)
{
	int order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);

	return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static int
compare_boxes(const void *x, const void *y)
{
	const struct imap_box *a = x, *b = y;

	if (a->id != b->id)
		return a->id < b->id ? -1 : 1;
	return a->id != 0 ? 0 : imap_watch_compare_names(a->name, b->name);
}

static size_t
place_of(const struct imap_watch *w, const struct imap_box *b)
{
	size_t low = 0, high = w->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (compare_boxes(&w->box[mid], b) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

const struct imap_box *
imap_watch_find(const struct imap_watch *w, uint32_t id)
{
	struct imap_box key = {.id = id};
	size_t at = place_of(w, &key);

	return at < w->n && w->box[at].id == id ? &w->box[at] : NULL;
}

static int
add_box(void *arg, const struct shelf_mailbox *m)
{
	struct imap_watch *w = arg;

	if (w->n == w->cap) {
		w->cap = w->cap == 0 ? 32 : w->cap * 2;
		w->box = shelf_realloc(w->box, w->cap * sizeof *w->box);
	}
	w->box[w->n] = box_of(w, m);
	w->bytes += bytes_of(&w->box[w->n++]);
	return w->bytes > w->bytes_max ? SHELF_ELIMIT : 0;
}

static void
clear(struct imap_watch *w)
{
	for (size_t i = 0; i < w->n; i++)
		free_box(&w->box[i]);
	free(w->box);
	w->box = NULL;
	w->n = w->cap = w->bytes = 0;
}

static void
forget_differences(struct imap_watch *w)
{
	for (size_t i = 0; i < w->ndiff; i++) {
		free_box(&w->diff[i].old);
		free_box(&w->diff[i].new);
	}
	w->ndiff = w->at = 0;
	imap_notes_free(&w->told);
}

void
imap_watch_free_one(struct imap_watch **watch)
{
	struct imap_watch *w = *watch;

	*watch = NULL;
	if (w == NULL)
		return;
	shelf_unlisten(&w->listener);
	clear(w);
	forget_differences(w);
	imap_notes_free(&w->notes);
	free((void *)(uintptr_t)w->top.data);
	free(w->diff);
	free(w);
}

/* RFC 5465 5: "l" and "r", for every event. */
static bool
is_seen(unsigned rights)
{
	return (~rights & (SHELF_RIGHT_LOOKUP | SHELF_RIGHT_READ)) == 0;
}

static int
add_shared(void *arg, const struct shelf_mailbox *m, unsigned rights)
{
	return is_seen(rights) ? add_box(arg, m) : 0;
}

/* All names of the account, in the order of the list. */
static int
read_all(struct imap_watch *w, struct shelf_rd *rd)
{
	int rc = w->top.len > 0 ? shelf_shared_each(rd, w->user, add_shared, w) : shelf_mailbox_each(rd, add_box, w);

	if (rc == 0 && w->n > 0)
		qsort(w->box, w->n, sizeof *w->box, compare_boxes);
	w->modseq = shelf_rd_modseq(rd);
	return rc;
}

int
imap_watch_read(struct imap_watch *w, struct shelf_store *store)
{
	struct shelf_rd *rd = NULL;
	int rc = shelf_rd_begin(store, w->account, &rd);

	if (rc == 0 && (rc = read_all(w, rd)) == 0)
		rc = imap_watch_read_notes(w, rd);
	shelf_rd_end(&rd);
	return rc;
}

/* ---- Looking ------------------------------------------------------------------------------------- */

static struct imap_box
copy_of(const struct imap_box *b)
{
	struct imap_box copy = *b;
	uint8_t *name = NULL;

	if (b->name.data == NULL)
		return copy;
	name = shelf_alloc(b->name.len);
	memcpy(name, b->name.data, b->name.len);
	copy.name.data = name;
	return copy;
}

static bool
is_same(const struct imap_box *a, const struct imap_box *b)
{
	return a->modseq == b->modseq && a->uidvalidity == b->uidvalidity && a->subscribed == b->subscribed &&
	    a->special_use == b->special_use && shelf_span_eq(a->name, b->name);
}

/* OLD is taken over; NEW, which is in the list, is copied. Either may be NULL. */
static int
add_difference(struct imap_watch *w, struct imap_box *old, const struct imap_box *new)
{
	struct imap_difference d = {0};

	if (w->ndiff == w->diff_cap) {
		w->diff_cap = w->diff_cap == 0 ? 16 : w->diff_cap * 2;
		w->diff = shelf_realloc(w->diff, w->diff_cap * sizeof *w->diff);
	}
	if (old != NULL)
		d.old = *old;
	if (new != NULL)
		d.new = copy_of(new);
	w->diff[w->ndiff++] = d;
	return w->ndiff > IMAP_DIFFERENCES_MAX ? SHELF_ELIMIT : 0;
}

bool
imap_watch_is_loose(const struct imap_watch *w, struct shelf_span name)
{
	struct imap_box key = {.name = name};
	size_t at = place_of(w, &key);

	return at < w->n && compare_boxes(&w->box[at], &key) == 0;
}

/* SHELF_ENOMAILBOX: it is not there, or not for this user. */
static int
find(const struct imap_watch *w, struct shelf_rd *rd, uint32_t id, struct shelf_mailbox *m)
{
	unsigned rights = 0;
	int rc = shelf_mailbox_get(rd, id, m);

	if (rc != 0 || w->top.len == 0)
		return rc;
	rc = shelf_acl_rights(rd, id, w->user, false, &rights);
	return rc == 0 && !is_seen(rights) ? SHELF_ENOMAILBOX : rc;
}

/* One mailbox that the engine names. 1: a subscription has lost its mailbox or got one, all are to be read. */
static int
look_at(struct imap_watch *w, struct shelf_rd *rd, uint32_t id)
{
	struct imap_box key = {.id = id}, new = {0};
	struct shelf_mailbox m;
	size_t at = place_of(w, &key);
	bool had = at < w->n && w->box[at].id == id, has;
	int rc = find(w, rd, id, &m);

	if (rc != 0 && rc != SHELF_ENOMAILBOX)
		return rc;
	has = rc == 0;
	if (!had && !has)
		return 0;
	if (w->top.len == 0 && (!had || !has || !shelf_span_eq(w->box[at].name, m.name))) {
		if ((had && w->box[at].subscribed) || (has && (m.subscribed || imap_watch_is_loose(w, m.name))))
			return 1;
	}
	if (!had) {
		if ((rc = add_box(w, &m)) != 0)
			return rc;
		new = w->box[w->n - 1];
		memmove(w->box + at + 1, w->box + at, (w->n - 1 - at) * sizeof *w->box);
		w->box[at] = new;
		return add_difference(w, NULL, &new);
	}
	key = w->box[at];
	w->bytes -= bytes_of(&key);
	if (!has) {
		memmove(w->box + at, w->box + at + 1, (--w->n - at) * sizeof *w->box);
		return add_difference(w, &key, NULL);
	}
	w->box[at] = box_of(w, &m);
	w->bytes += bytes_of(&w->box[at]);
	if (is_same(&key, &w->box[at])) {
		free_box(&key);
		return 0;
	}
	rc = add_difference(w, &key, &w->box[at]);
	return rc == 0 && w->bytes > w->bytes_max ? SHELF_ELIMIT : rc;
}

/* Side by side: what was there and what is. OLD is used up. */
static int
compare_lists(struct imap_watch *w, struct imap_box *old, size_t nold)
{
	size_t i = 0, j = 0;
	int rc = 0;

	while (rc == 0 && (i < nold || j < w->n)) {
		int order = i == nold ? 1 : j == w->n ? -1 : compare_boxes(&old[i], &w->box[j]);
		struct imap_box *a = order <= 0 ? &old[i++] : NULL;
		const struct imap_box *b = order >= 0 ? &w->box[j++] : NULL;

		if (a != NULL && b != NULL && is_same(a, b))
			free_box(a);
		else
			rc = add_difference(w, a, b);
	}
	while (i < nold)
		free_box(&old[i++]);
	return rc;
}

/* RD is NULL: there is nothing any more. */
static int
look_at_all(struct imap_watch *w, struct shelf_rd *rd)
{
	struct imap_box *old = w->box;
	size_t nold = w->n;
	int rc;

	w->box = NULL;
	w->n = w->cap = w->bytes = 0;
	rc = rd == NULL ? 0 : read_all(w, rd);
	if (rc == 0) {
		rc = compare_lists(w, old, nold);
	} else {
		for (size_t i = 0; i < nold; i++)
			free_box(&old[i]);
	}
	free(old);
	return rc;
}

/* Of what is gone: is it, or only for this user? RFC 5465 5.9 */
static void
mark_withdrawn(struct imap_watch *w, struct shelf_rd *rd)
{
	struct shelf_mailbox m;

	for (size_t i = 0; i < w->ndiff; i++)
		if (w->diff[i].new.name.data == NULL)
			w->diff[i].withdrawn = shelf_mailbox_get(rd, w->diff[i].old.id, &m) == 0;
}

/* What changed since, as the engine knows it. */
static int
look(struct imap_watch *w, struct shelf_rd *rd)
{
	uint32_t ids[SHELF_CHANGED_MAX];
	unsigned n = 0;
	int rc = shelf_mailbox_changed(rd, w->modseq, ids, &n);
	bool all = rc == SHELF_ELIMIT;

	if (all)
		rc = 0;
	/* In the order in which it happened: A to B and then C to A cannot be told the other way round. */
	for (unsigned i = n; i-- > 0 && !all && rc == 0;) {
		if (ids[i] == 0 && w->top.len > 0)
			continue; /* subscriptions of theirs */
		all = ids[i] == 0;
		if (!all && (rc = look_at(w, rd, ids[i])) == 1) {
			all = true;
			rc = 0;
		}
	}
	if (rc == 0 && all)
		rc = look_at_all(w, rd);
	if (rc == 0 && w->top.len > 0)
		mark_withdrawn(w, rd);
	return rc != 0 ? rc : imap_watch_look_at_notes(w, rd, ids, n, all);
}

int
imap_watch_compare(struct imap_watch *w, struct shelf_store *store)
{
	struct shelf_rd *rd = NULL;
	int rc = shelf_rd_begin(store, w->account, &rd);

	if (rc == SHELF_ENOACCOUNT && w->top.len > 0) {
		imap_notes_free(&w->notes);
		return look_at_all(w, NULL);
	}
	if (rc != 0)
		return rc;
	if (shelf_rd_modseq(rd) != w->modseq) {
		rc = look(w, rd);
		/* Others may have changed it before: then it is told, too. */
		if (w->own_modseq != w->modseq + 1)
			w->own_mailbox = 0;
		if (rc == 0)
			w->modseq = shelf_rd_modseq(rd);
	}
	shelf_rd_end(&rd);
	return rc;
}

/* ---- Own changes --------------------------------------------------------------------------------- */

struct shelf_span
imap_watch_path(const struct imap_watch *w, struct shelf_span name)
{
	return name.len <= w->top.len ? shelf_span(NULL, 0) :
	    shelf_span(name.data + w->top.len, name.len - w->top.len);
}

uint64_t
imap_watch_hash(struct shelf_span name)
{
	uint64_t hash = 0xcbf29ce484222325u;

	for (size_t i = 0; i < name.len; i++)
		hash = (hash ^ name.data[i]) * 0x100000001b3u;
	return hash;
}

bool
imap_watch_is_own(const struct imap_watch *w, struct shelf_span name, enum imap_event event, bool there)
{
	uint64_t hash = imap_watch_hash(imap_watch_path(w, name));

	for (unsigned i = 0; i < w->nown; i++)
		if (w->own[i].name == hash && w->own[i].event == event && w->own[i].there == there)
			return true;
	return false;
}

void
imap_watch_printed(struct imap_watch *w)
{
	forget_differences(w);
	w->pass = 0;
	w->nown = 0;
	w->nown_removed = 0;
	w->own_mailbox = 0;
}
