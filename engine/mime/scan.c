/*
 * scan.c - one pass over a message: the tree of its parts
 *
 * The message is a sequence of lines. A line means something in three cases: it belongs to a header
 * block, it is the empty line that ends one, or it is a boundary delimiter of an open multipart.
 *
 *   level 0      1           2          the open parts, outermost first
 *   message ── multipart ── leaf        a delimiter of level 1 closes level 2 and opens a new one
 *
 *   in_header ──empty line──► body ──delimiter──► in_header of the next part
 *       └──── delimiter, end of the message ────► the part has no body
 *
 * What must stay true: a line is judged by its first LINE_KEPT bytes, its length and its end alone,
 * so the tree does not depend on how the input is cut; a part lies inside the body of its parent
 * and behind its elder siblings; no line is looked at twice, and a delimiter costs at most
 * MIME_DEPTH_MAX comparisons of its own length.
 */
#include <stdlib.h>

#include <mailshelf/mem.h>

#include "mime_internal.h"

enum {
	BOUNDARY_MAX = 1000,             /* RFC 2046 5.1.1 allows 70; longer ones than this separate nothing */
	LINE_KEPT = BOUNDARY_MAX + 4,    /* "--" boundary "--" */
};

struct level {
	struct mime_part *part;
	struct mime_part **tail;     /* where its next child goes */
	struct shelf_span boundary;
	bool open;                   /* its boundary still separates */
	uint64_t body_lf;            /* LFs before its body */
};

struct mime_scan {
	struct shelf_arena *arena;
	struct mime_budget budget;
	struct level levels[MIME_DEPTH_MAX];
	unsigned depth, parts;
	unsigned open_count;         /* levels with a boundary that separates */
	unsigned open_starts[256];   /* of these, how many begin with this byte */
	bool in_header;
	struct shelf_buf header;     /* of the innermost part, its first MIME_HEADER_KEPT_MAX bytes */
	size_t header_line;          /* where the current line begins in it */
	struct shelf_buf head;       /* of the message, for the preview */

	uint64_t line_offset;        /* of the current line */
	uint64_t line_len;           /* of what came of it */
	bool line_only_cr;
	uint8_t line_last;           /* its last byte so far */
	uint64_t lf_count;           /* LFs before the current line */
	unsigned eol_len;            /* line end of the line before: 0, 1, 2 */
	size_t kept_len;
	uint8_t kept[LINE_KEPT];     /* the current line's first bytes, when it came in pieces */
};

/* A complete line. */
struct line {
	const uint8_t *data; /* its first bytes, at least LINE_KEPT of them or all */
	size_t data_len;
	uint64_t len;
	unsigned eol_len;
	bool empty;
};

static void
part_begin(struct mime_scan *s, uint64_t offset)
{
	struct mime_part *part = SHELF_ARENA_NEW(s->arena, struct mime_part);
	struct level *level = &s->levels[s->depth];

	part->header_offset = offset;
	if (s->depth > 0) {
		struct level *up = level - 1;

		part->parent = up->part;
		*up->tail = part;
		up->tail = &part->next;
	}
	*level = (struct level){.part = part, .tail = &part->child};
	s->depth++;
	s->parts++;
	s->in_header = true;
	s->header_line = 0;
	shelf_buf_clear(&s->header);
}

static struct shelf_span
boundary_of(const struct mime_part *part)
{
	for (const struct mime_param *p = part->params; p != NULL; p = p->next) {
		struct shelf_span b = p->value;

		if (!shelf_span_is(p->name, "boundary"))
			continue;
		while (b.len > 0 && mime_is_space(b.data[b.len - 1]))
			b.len--;
		return b;
	}
	return shelf_span(NULL, 0);
}

static void
boundary_close(struct mime_scan *s, struct level *level)
{
	if (!level->open)
		return;
	level->open = false;
	s->open_count--;
	s->open_starts[level->boundary.data[0]]--;
}

static bool
is_message_type(const struct mime_part *part)
{
	return shelf_span_is(part->type, "message") &&
	    (shelf_span_is(part->subtype, "rfc822") || shelf_span_is(part->subtype, "global"));
}

/* Encoded, a message is opaque: its lines are not in the bytes we have (RFC 2046 5.2.1). */
static bool
is_encoded(const struct mime_part *part)
{
	return shelf_span_is(part->encoding, "base64") ||
	    shelf_span_is(part->encoding, "quoted-printable");
}

static void
default_type(struct mime_scan *s, struct mime_part *part)
{
	bool digest = part->parent != NULL && part->parent->kind == MIME_MULTIPART &&
	    shelf_span_is(part->parent->subtype, "digest");

	if (part->type.data != NULL)
		return;
	/* RFC 2046 5.1.5 */
	part->type = mime_text(shelf_span_str(digest ? "message" : "text"), s->arena);
	part->subtype = mime_text(shelf_span_str(digest ? "rfc822" : "plain"), s->arena);
}

/* The innermost part's header ends at OFFSET, with LF LFs before: what is it? */
static void
header_end(struct mime_scan *s, uint64_t offset, uint64_t lf)
{
	struct level *level = &s->levels[s->depth - 1];
	struct mime_part *part = level->part;
	bool message = part->parent == NULL || part->parent->kind == MIME_MESSAGE;

	s->in_header = false;
	part->header_len = offset - part->header_offset;
	part->body_offset = offset;
	level->body_lf = lf;
	mime_header_read(shelf_buf_span(&s->header), part, message, s->arena, &s->budget);
	default_type(s, part);
	if (shelf_span_is(part->type, "multipart")) {
		part->kind = MIME_MULTIPART;
		level->boundary = boundary_of(part);
		level->open = level->boundary.len > 0 && level->boundary.len <= BOUNDARY_MAX &&
		    s->depth < MIME_DEPTH_MAX;
		if (level->open) {
			s->open_count++;
			s->open_starts[level->boundary.data[0]]++;
		}
	} else if (is_message_type(part) && !is_encoded(part) && s->depth < MIME_DEPTH_MAX &&
	    s->parts < MIME_PARTS_MAX) {
		part->kind = MIME_MESSAGE;
		part_begin(s, offset);
	}
}

/*
 * Closes all levels from KEEP on. OFFSET and LF tell where the scan stands; EOL is the length of
 * the line end before it that belongs to the delimiter (RFC 2046 5.1.1), 0 at the end of the
 * message. A header block keeps its line end, so a part without a body ends where its header does,
 * and a parent never ends before its child.
 */
static void
close_levels(struct mime_scan *s, unsigned keep, uint64_t offset, uint64_t lf, unsigned eol)
{
	uint64_t least = 0;

	/* A header that ends here may turn out to be a message's, which brings a next (empty)
	 * header. */
	while (s->in_header && s->depth > keep)
		header_end(s, offset, lf);
	while (s->depth > keep) {
		struct level *level = &s->levels[--s->depth];
		struct mime_part *part = level->part;
		uint64_t end = offset - eol;

		boundary_close(s, level);
		if (least < part->body_offset)
			least = part->body_offset;
		if (end < least)
			end = least;
		part->body_len = end - part->body_offset;
		part->lines = lf - (end < offset ? 1 : 0) - level->body_lf;
		least = end;
	}
}

/*
 * The open multipart whose delimiter this line is, or NULL. The line needs only begin with the
 * boundary (RFC 2046 5.1.1); of several that fit the longest is meant, and of equal ones the
 * innermost.
 */
static struct level *
delimiter_of(struct mime_scan *s, const struct line *line)
{
	struct level *best = NULL;
	size_t have = line->data_len - 2;

	if (s->open_starts[line->data[2]] == 0)
		return NULL;
	for (unsigned i = s->depth; i-- > 0;) {
		struct level *level = &s->levels[i];

		if (level->open && level->boundary.len <= have &&
		    (best == NULL || level->boundary.len > best->boundary.len) &&
		    memcmp(line->data + 2, level->boundary.data, level->boundary.len) == 0)
			best = level;
	}
	return best;
}

static void
delimiter(struct mime_scan *s, struct level *level, const struct line *line)
{
	const uint8_t *rest = line->data + 2 + level->boundary.len;
	bool last = line->data_len >= 2 + level->boundary.len + 2 && rest[0] == '-' && rest[1] == '-';

	if (s->in_header && s->header.len > s->header_line)
		s->header.len = s->header_line;
	close_levels(s, (unsigned)(level - s->levels) + 1, s->line_offset, s->lf_count, s->eol_len);
	if (last)
		boundary_close(s, level);
	else if (s->parts < MIME_PARTS_MAX)
		part_begin(s, s->line_offset + line->len);
}

static void
take_line(struct mime_scan *s, const struct line *line)
{
	struct level *level = NULL;

	if (s->open_count > 0 && line->data_len > 2 && line->data[0] == '-' && line->data[1] == '-')
		level = delimiter_of(s, line);
	if (level != NULL)
		delimiter(s, level, line);
	else if (s->in_header && line->empty)
		header_end(s, s->line_offset + line->len, s->lf_count + (line->eol_len > 0));
	s->header_line = s->header.len;
	s->line_offset += line->len;
	s->lf_count += line->eol_len > 0;
	s->eol_len = line->eol_len;
	s->line_len = 0;
	s->line_only_cr = true;
	s->kept_len = 0;
}

static void
keep_header(struct mime_scan *s, const uint8_t *data, size_t len)
{
	size_t room = MIME_HEADER_KEPT_MAX - s->header.len;

	if (s->in_header)
		shelf_buf_add(&s->header, data, len < room ? len : room);
}

static bool
only_cr(const uint8_t *data, size_t len)
{
	size_t i = 0;

	while (i < len && data[i] == '\r')
		i++;
	return i == len;
}

/* A piece of a line, with its LF when COMPLETE. */
static void
take_piece(struct mime_scan *s, const uint8_t *data, size_t len, bool complete)
{
	struct line line = {data, len, len, 0, false};
	size_t text_len = complete ? len - 1 : len;

	keep_header(s, data, len);
	if (s->in_header && s->line_only_cr)
		s->line_only_cr = only_cr(data, text_len);
	if (s->line_len > 0 || !complete) {
		size_t n = len < LINE_KEPT - s->kept_len ? len : LINE_KEPT - s->kept_len;

		if (n > 0)
			memcpy(s->kept + s->kept_len, data, n);
		s->kept_len += n;
		s->line_len += len;
		line = (struct line){s->kept, s->kept_len, s->line_len, 0, false};
	}
	if (complete) {
		uint8_t before = text_len > 0 ? data[text_len - 1] : line.len > 1 ? s->line_last : 0;

		line.eol_len = before == '\r' ? 2 : 1;
		line.empty = s->line_only_cr;
		take_line(s, &line);
	} else if (len > 0) {
		s->line_last = data[len - 1];
	}
}

struct mime_scan *
mime_scan_new(struct shelf_arena *arena)
{
	struct mime_scan *s = SHELF_NEW(struct mime_scan);

	s->arena = arena;
	s->budget = (struct mime_budget){MIME_ADDRESSES_ALL_MAX, MIME_PARAMS_ALL_MAX};
	s->line_only_cr = true;
	part_begin(s, 0);
	return s;
}

void
mime_scan_feed(struct mime_scan *s, const void *data, size_t len)
{
	const uint8_t *p = data;
	size_t room = MIME_PREVIEW_HEAD_BYTES - s->head.len;

	shelf_buf_add(&s->head, data, len < room ? len : room);
	while (len > 0) {
		const uint8_t *lf = memchr(p, '\n', len);
		size_t n = lf == NULL ? len : (size_t)(lf - p) + 1;

		take_piece(s, p, n, lf != NULL);
		p += n;
		len -= n;
	}
}

struct mime_part *
mime_scan_end(struct mime_scan **scan)
{
	struct mime_scan *s = *scan;
	struct mime_part *root = s->levels[0].part;

	if (s->line_len > 0) {
		struct line line = {s->kept, s->kept_len, s->line_len, 0, false};

		take_line(s, &line);
	}
	close_levels(s, 0, s->line_offset, s->lf_count, 0);
	shelf_buf_clear(&s->header);
	mime_preview(root, shelf_buf_span(&s->head), &s->header);
	root->preview = s->header.len == 0 ? shelf_span("", 0) :
	    shelf_arena_dup(s->arena, shelf_buf_span(&s->header));
	mime_scan_free(scan);
	return root;
}

void
mime_scan_free(struct mime_scan **scan)
{
	if (*scan == NULL)
		return;
	shelf_buf_free(&(*scan)->header);
	shelf_buf_free(&(*scan)->head);
	free(*scan);
	*scan = NULL;
}
