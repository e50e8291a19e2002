/*
 * imap_watch_notes.c - the annotations of an account, as a session that watches them knows them
 *
 *   look: names and versions of the mailboxes that changed --> beside those known --> told, without values
 *
 * What must stay true: `note` is sorted by mailbox and name, and has those of the account (0) and of the mailboxes in
 * the list only. What goes with its mailbox is no news.
 * Sources   RFC 5465 5.6, 5.7; RFC 5464 4.4.2.
 */
#include <mailshelf/metadata.h>
#include <stdlib.h>

#include "imap_watch.h"

static struct imap_note
note_of(uint32_t mailbox, struct shelf_span name, uint64_t modseq)
{
	uint8_t *copy = shelf_alloc(name.len);

	memcpy(copy, name.data, name.len);
	return (struct imap_note){mailbox, modseq, shelf_span(copy, name.len)};
}

static void
add(struct imap_notes *l, uint32_t mailbox, struct shelf_span name, uint64_t modseq)
{
	if (l->n == l->cap) {
		l->cap = l->cap == 0 ? 16 : l->cap * 2;
		l->note = shelf_realloc(l->note, l->cap * sizeof *l->note);
	}
	l->note[l->n++] = note_of(mailbox, name, modseq);
	l->bytes += sizeof *l->note + name.len;
}

static void
free_range(struct imap_notes *l, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		l->bytes -= sizeof *l->note + l->note[i].name.len;
		free((void *)(uintptr_t)l->note[i].name.data);
	}
}

void
imap_notes_free(struct imap_notes *l)
{
	free_range(l, 0, l->n);
	free(l->note);
	*l = (struct imap_notes){0};
}

static int
compare(const struct imap_note *a, const struct imap_note *b)
{
	if (a->mailbox != b->mailbox)
		return a->mailbox < b->mailbox ? -1 : 1;
	return imap_watch_compare_names(a->name, b->name);
}

/* ---- Looking ------------------------------------------------------------------------------------- */

/* What others wrote for themselves is theirs (RFC 5464 3.1). */
static bool
is_shared(struct shelf_span name)
{
	static const struct shelf_span shared = {(const uint8_t *)"/shared/", 8};

	return name.len > shared.len && memcmp(name.data, shared.data, shared.len) == 0;
}

struct reading {
	const struct imap_watch *w;
	struct imap_notes fresh;
};

static int
read_one(void *arg, uint32_t mailbox, struct shelf_span name, uint64_t modseq)
{
	struct reading *r = arg;

	if (mailbox != 0 && imap_watch_find(r->w, mailbox) == NULL)
		return 0; /* deleted, and held; or not shared */
	if (r->w->top.len > 0 && (mailbox == 0 || !is_shared(name)))
		return 0;
	add(&r->fresh, mailbox, name, modseq);
	return r->w->bytes + r->fresh.bytes > r->w->bytes_max ? SHELF_ELIMIT : 0;
}

/* Where those of MAILBOX begin. */
static size_t
place_of(const struct imap_notes *l, uint32_t mailbox)
{
	size_t low = 0, high = l->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (l->note[mid].mailbox < mailbox)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static bool
wants(const struct imap_watch *w, uint32_t mailbox)
{
	const struct imap_box *b = mailbox == 0 ? NULL : imap_watch_find(w, mailbox);

	if (mailbox == 0)
		return (w->wanted & IMAP_EVENT_SERVER_METADATA) != 0;
	return b != NULL && (imap_watch_events(w, b->name, b->subscribed) & IMAP_EVENT_METADATA) != 0;
}

/* What this session removed is known by mailbox and name; what it set by modseq, for others may have set it again. */
static uint64_t
hash_removed(uint32_t mailbox, struct shelf_span name)
{
	return imap_watch_hash(name) ^ (uint64_t)mailbox * 0x9e3779b97f4a7c15u;
}

static bool
is_own(const struct imap_watch *w, const struct imap_note *was, const struct imap_note *is)
{
	if (is != NULL)
		return is->modseq != 0 && is->modseq == w->own_note_modseq;
	for (unsigned i = 0; i < w->nown_removed; i++)
		if (w->own_removed[i] == hash_removed(was->mailbox, was->name))
			return true;
	return false;
}

/* Side by side: those known, which are OLD up to END, and those that there are. */
static int
compare_notes(struct imap_watch *w, size_t old, size_t end, const struct imap_notes *fresh)
{
	size_t new = 0;

	while (old < end || new < fresh->n) {
		int order = old == end ? 1 : new == fresh->n ? -1 : compare(&w->notes.note[old], &fresh->note[new]);
		const struct imap_note *was = order <= 0 ? &w->notes.note[old++] : NULL;
		const struct imap_note *is = order >= 0 ? &fresh->note[new++] : NULL;
		const struct imap_note *one = is != NULL ? is : was;

		if ((was != NULL && is != NULL && was->modseq == is->modseq) || is_own(w, was, is) ||
		    !wants(w, one->mailbox))
			continue;
		add(&w->told, one->mailbox, one->name, 0);
		if (w->told.n > IMAP_DIFFERENCES_MAX)
			return SHELF_ELIMIT;
	}
	return 0;
}

/* FRESH, whose notes are used up, in the place of those from START to END. */
static void
replace(struct imap_notes *l, size_t start, size_t end, const struct imap_notes *fresh)
{
	size_t behind = l->n - end, n = start + fresh->n + behind;

	free_range(l, start, end);
	if (n > l->cap) {
		l->cap = n;
		l->note = shelf_realloc(l->note, n * sizeof *l->note);
	}
	if (behind > 0)
		memmove(l->note + start + fresh->n, l->note + end, behind * sizeof *l->note);
	if (fresh->n > 0)
		memcpy(l->note + start, fresh->note, fresh->n * sizeof *l->note);
	l->n = n;
	l->bytes += fresh->bytes;
}

/* Of a mailbox, or of SHELF_METADATA_ALL. */
static int
look_at(struct imap_watch *w, struct shelf_rd *rd, uint32_t mailbox, bool tell)
{
	bool all = mailbox == SHELF_METADATA_ALL;
	size_t start = all ? 0 : place_of(&w->notes, mailbox);
	size_t end = all ? w->notes.n : place_of(&w->notes, mailbox + 1);
	struct reading r = {.w = w};
	int rc = shelf_metadata_versions(rd, mailbox, read_one, &r);

	if (rc == 0 && tell)
		rc = compare_notes(w, start, end, &r.fresh);
	if (rc != 0) {
		imap_notes_free(&r.fresh);
		return rc;
	}
	replace(&w->notes, start, end, &r.fresh);
	free(r.fresh.note);
	return w->bytes + w->notes.bytes > w->bytes_max ? SHELF_ELIMIT : 0;
}

int
imap_watch_read_notes(struct imap_watch *w, struct shelf_rd *rd)
{
	return (w->wanted & IMAP_EVENT_ALL_METADATA) == 0 ? 0 : look_at(w, rd, SHELF_METADATA_ALL, false);
}

int
imap_watch_look_at_notes(struct imap_watch *w, struct shelf_rd *rd, const uint32_t *ids, unsigned n, bool all)
{
	int rc = 0;

	if ((w->wanted & IMAP_EVENT_ALL_METADATA) == 0)
		return 0;
	if (all)
		return look_at(w, rd, SHELF_METADATA_ALL, true);
	if ((w->wanted & IMAP_EVENT_SERVER_METADATA) != 0)
		rc = look_at(w, rd, 0, true);
	for (unsigned i = 0; i < n && rc == 0 && (w->wanted & IMAP_EVENT_METADATA) != 0; i++)
		rc = look_at(w, rd, ids[i], true);
	return rc;
}

void
imap_watch_own_metadata(struct imap_session *s, uint32_t account, uint32_t mailbox, uint64_t modseq,
    const struct shelf_metadata *list, size_t n)
{
	struct imap_watch *w = imap_watch_of(s, account);

	if (w == NULL)
		return;
	w->own_note_modseq = modseq;
	for (size_t i = 0; i < n && w->nown_removed < IMAP_OWN_MAX; i++)
		if (list[i].value.data == NULL)
			w->own_removed[w->nown_removed++] = hash_removed(mailbox, list[i].name);
}

/* ---- Telling ------------------------------------------------------------------------------------- */

void
imap_watch_print_note(struct imap_session *s, const struct imap_watch *w, const struct imap_note *note)
{
	const struct imap_box *b = note->mailbox == 0 ? NULL : imap_watch_find(w, note->mailbox);

	if (note->mailbox != 0 && b == NULL)
		return;
	imap_out_str(s, "* METADATA ");
	if (b == NULL)
		imap_out_str(s, "\"\"");
	else
		imap_out_mailbox(s, b->name);
	imap_out_str(s, " ");
	imap_out_astring(s, note->name);
	imap_out_str(s, "\r\n");
}
