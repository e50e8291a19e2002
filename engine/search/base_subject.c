/*
 * base_subject.c - what a subject is about: without "Re:", "[list]", "(fwd)"
 *
 * The six steps of RFC 5256 2.1 with its grammar (5). Steps 3 and 4 take the blobs "[...]" at the front one
 * by one and look each time whether "re:" follows the last of them; here a run of blobs is walked once, and
 * either all of it goes with the "re:" behind it, or as much of it as leaves something. So the work is linear.
 * What must stay true: the result is a part of the text given; who reads it knows nothing of the rules.
 */
#include "sort.h"

/* After step 1 there is no other white space. */
static bool
is_at(struct shelf_span s, size_t at, char c)
{
	return at < s.len && s.data[at] == (uint8_t)c;
}

static size_t
skip_blanks(struct shelf_span s, size_t at)
{
	while (is_at(s, at, ' '))
		at++;
	return at;
}

/* Does S have WORD at AT, in any case? */
static bool
has_word(struct shelf_span s, size_t at, const char *word)
{
	struct shelf_span w = shelf_span_str(word);

	return s.len - at >= w.len && shelf_span_ieq(shelf_span(s.data + at, w.len), w);
}

/* subj-blob: the place behind it, or AT. */
static size_t
skip_blob(struct shelf_span s, size_t at)
{
	size_t i = at + 1;

	if (!is_at(s, at, '['))
		return at;
	while (i < s.len && s.data[i] != '[' && s.data[i] != ']' && s.data[i] != 0)
		i++;
	return is_at(s, i, ']') ? skip_blanks(s, i + 1) : at;
}

/* subj-refwd: the place behind it, or AT. */
static size_t
skip_refwd(struct shelf_span s, size_t at)
{
	size_t i = at;

	if (has_word(s, at, "re"))
		i += 2;
	else if (has_word(s, at, "fwd"))
		i += 3;
	else if (has_word(s, at, "fw"))
		i += 2;
	else
		return at;
	i = skip_blob(s, skip_blanks(s, i));
	return is_at(s, i, ':') ? i + 1 : at;
}

/* Step 2. */
static struct shelf_span
cut_trailers(struct shelf_span s, bool *reply)
{
	for (;;) {
		if (s.len > 0 && is_at(s, s.len - 1, ' ')) {
			s.len--;
		} else if (s.len >= 5 && has_word(s, s.len - 5, "(fwd)")) {
			s.len -= 5;
			*reply = true;
		} else {
			return s;
		}
	}
}

/* Steps 3 to 5. */
static struct shelf_span
cut_leaders(struct shelf_span s, bool *reply)
{
	size_t at = 0;

	for (;;) {
		size_t begin = skip_blanks(s, at), blobs = begin, last = begin, behind;

		while ((behind = skip_blob(s, blobs)) != blobs) {
			last = blobs;
			blobs = behind;
		}
		behind = skip_refwd(s, blobs);
		if (behind != blobs) {
			*reply = true;
			at = behind;
			continue;
		}
		/* The last blob stays when nothing is behind it. */
		at = blobs < s.len ? blobs : last;
		return shelf_span(s.data + at, s.len - at);
	}
}

struct shelf_span
search_base_subject(struct shelf_span s, bool *reply_out)
{
	*reply_out = false;
	for (;;) {
		s = cut_trailers(s, reply_out);
		s = cut_leaders(s, reply_out);
		if (s.len < 6 || !has_word(s, 0, "[fwd:") || s.data[s.len - 1] != ']')
			return s;
		*reply_out = true;
		s = shelf_span(s.data + 5, s.len - 6); /* step 6 */
	}
}

void
search_subject_text(struct shelf_span field, struct shelf_buf *out)
{
	size_t start = out->len, to;

	search_decode(field, out);
	to = start;
	for (size_t i = start; i < out->len; i++) {
		uint8_t c = out->data[i] == '\t' ? ' ' : out->data[i];

		if (c != ' ' || to == start || out->data[to - 1] != ' ')
			out->data[to++] = c;
	}
	out->len = to;
}
