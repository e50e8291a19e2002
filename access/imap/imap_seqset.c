/*
 * imap_seqset.c - sequence sets: text to numbers, numbers to the uids of the session's view
 *
 * Work is linear in the text and in the number of runs of the result, never in the size of a range:
 * "1:4294967295" costs what "1" costs.
 * Sources   RFC 9051 9 (sequence-set, seq-number), 2.3.1.
 */
#include "imap.h"

static bool
take_number(struct shelf_span text, size_t *pos, uint32_t max, uint32_t *out)
{
	size_t start = *pos;
	uint64_t n = 0;

	if (*pos < text.len && text.data[*pos] == '*') {
		(*pos)++;
		*out = max;
		return true;
	}
	while (*pos < text.len && text.data[*pos] >= '0' && text.data[*pos] <= '9')
		(*pos)++;
	if (!shelf_span_u64(shelf_span(text.data + start, *pos - start), UINT32_MAX, &n) || n == 0)
		return false;
	*out = (uint32_t)n;
	return true;
}

/* Numbers above CLIP are left out: whoever repeats "1:4294967295" pays with bytes, not with work.
 * The highest number named goes to HIGHEST. */
static int
parse_set(struct shelf_span text, uint32_t max, uint32_t clip, struct shelf_uidset *out,
    uint32_t *highest)
{
	size_t pos = 0;

	if (text.len == 0)
		return SHELF_ESYNTAX;
	for (;;) {
		uint32_t first = 0, last = 0, swap = 0;

		if (!take_number(text, &pos, max, &first))
			return SHELF_ESYNTAX;
		last = first;
		if (pos < text.len && text.data[pos] == ':') {
			pos++;
			if (!take_number(text, &pos, max, &last))
				return SHELF_ESYNTAX;
		}
		if (first > last) { /* 4:2 is 2:4 */
			swap = first;
			first = last;
			last = swap;
		}
		if (first == 0) /* "*" of an empty mailbox is no number */
			first = 1;
		if (last > *highest)
			*highest = last;
		if (last > clip)
			last = clip;
		if (first <= last)
			shelf_uidset_add_range(out, first, last);
		if (pos == text.len)
			return 0;
		if (text.data[pos++] != ',')
			return SHELF_ESYNTAX;
	}
}

int
imap_set_numbers(struct shelf_span text, uint32_t max, struct shelf_uidset *out)
{
	uint32_t highest = 0;

	return parse_set(text, max, UINT32_MAX, out, &highest);
}

/* Message numbers to uids: a view's uids ascend, so a run of numbers lies in a range of uids. */
static void
numbers_to_uids(const struct shelf_view *view, struct shelf_uidset *set)
{
	struct shelf_uidset *numbers = shelf_uidset_copy(set);
	uint32_t first = 0, last = 0, from = 1;

	shelf_uidset_clear(set);
	while (from != 0 && shelf_uidset_run(numbers, from, &first, &last)) {
		shelf_uidset_add_range(set, shelf_view_uid(view, first),
		    shelf_view_uid(view, last));
		from = last + 1;
	}
	shelf_uidset_free(&numbers);
}

int
imap_set_uids(struct imap_session *s, struct shelf_span text, bool uid, struct shelf_uidset *out)
{
	struct shelf_uidset *set = shelf_uidset_new();
	uint32_t max = uid ? shelf_view_max_uid(s->view) : shelf_view_count(s->view);
	uint32_t highest = 0;
	int rc = 0;

	/* The saved result (RFC 9051 6.4.4.1): empty is valid, what was expunged since is not in it. */
	if (text.len == 1 && text.data[0] == '$') {
		if (s->saved != NULL)
			shelf_uidset_or(set, s->saved);
	} else {
		rc = parse_set(text, max, max, set, &highest);
		if (rc == 0 && !uid && (max == 0 || highest > max))
			rc = SHELF_EINVALID; /* max 0: "*" included */
		if (rc == 0 && !uid)
			numbers_to_uids(s->view, set);
	}
	if (rc == 0) {
		shelf_view_retain(s->view, set);
		rc = shelf_view_error(s->view);
	}
	if (rc == 0)
		shelf_uidset_or(out, set);
	shelf_uidset_free(&set);
	return rc;
}

bool
imap_set_resolve(struct imap_cmd *c, struct shelf_span text, bool uid, struct shelf_uidset *out)
{
	bool saved = text.len == 1 && text.data[0] == '$';
	int rc = 0;

	if (!uid && !saved && c->s->uidonly) {
		imap_uid_required(c);
		return false;
	}
	rc = imap_set_uids(c->s, text, uid, out);
	if (rc == 0)
		return true;
	if (rc == SHELF_EINVALID)
		imap_bad(c, "there is no message with this number");
	else if (rc == SHELF_ESYNTAX)
		imap_bad(c, "bad sequence set");
	else
		imap_err(c, rc); /* the view could not be read */
	return false;
}

bool
imap_set_resolve_in(struct imap_cmd *c, const struct shelf_view *view, bool other,
    struct shelf_span text, bool uid, struct shelf_uidset *out)
{
	bool saved = text.len == 1 && text.data[0] == '$';
	uint32_t highest = 0, max = 0;
	int rc = 0;

	if (view != NULL)
		max = uid ? shelf_view_max_uid(view) : shelf_view_count(view);
	if (saved && other) {
		imap_bad(c, "the saved result is of the selected mailbox");
		return false;
	}
	if (!uid && !saved && c->s->uidonly) {
		imap_uid_required(c);
		return false;
	}
	if (!saved)
		rc = parse_set(text, max, max, out, &highest);
	else if (c->s->saved != NULL)
		shelf_uidset_or(out, c->s->saved);
	if (rc == 0 && view != NULL) {
		if (!uid && !saved)
			numbers_to_uids(view, out);
		shelf_view_retain(view, out);
		rc = shelf_view_error(view);
	}
	if (rc == SHELF_ESYNTAX)
		imap_bad(c, "bad sequence set");
	else if (rc != 0)
		imap_err(c, rc);
	return rc == 0;
}

bool
imap_set_resolve_standing(struct imap_cmd *c, struct shelf_span text, struct shelf_uidset *out)
{
	enum { TO_COME = 1 << 24 }; /* more than one selection will see */
	uint32_t max = shelf_view_max_uid(c->s->view), highest = 0;
	uint32_t end = max < UINT32_MAX - TO_COME ? max + TO_COME : UINT32_MAX;

	/* "*" is the last one now, and whichever will be. */
	if (parse_set(text, max, end, out, &highest) == 0 && parse_set(text, end, end, out, &highest) == 0)
		return true;
	imap_bad(c, "bad sequence set");
	return false;
}
