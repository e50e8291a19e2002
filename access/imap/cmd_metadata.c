/*
 * cmd_metadata.c - GETMETADATA, SETMETADATA; and the entries of LIST RETURN (METADATA ...)
 *
 * A mailbox's entries are kept with it: the shared ones for all who may use it, the private ones for its owner. In
 * another's mailbox there are no private ones (NOPRIVATE). The server's private entries are the user's; its shared
 * ones come from the settings and are read only.
 * A response is written entry by entry, a value in memory at a time.
 * Sources   RFC 5464; RFC 9590 (LIST).
 */
#include "conf.h"
#include "imap_address.h"
#include "imap_metadata.h"
#include "imap_notify.h"

enum { ENTRIES_MAX = 128 }; /* of a command */

static const char shared_comment[] = "/shared/comment", shared_admin[] = "/shared/admin";

bool
imap_metadata_parse_entries(struct imap_parser *p, bool whole, struct imap_entries *out)
{
	char folded[SHELF_METADATA_NAME_MAX + 1];
	struct shelf_span name = {0};
	bool list = imap_at(p, '(');

	out->name = SHELF_ARENA_ARRAY(p->arena, const char *, out->max);
	if (list && !imap_parse_open(p))
		return false;
	do {
		if (!imap_parse_astring(p, &name))
			return false;
		if (shelf_metadata_name(name, whole, folded) != 0)
			return imap_parse_fail(p, "not the name of an entry");
		if (out->n == out->max)
			return imap_parse_fail(p, "too many entries");
		out->name[out->n++] = shelf_arena_str(p->arena, shelf_span_str(folded));
	} while (list && imap_try(p, ' '));
	return !list || imap_parse_close(p);
}

/* A mailbox's name, or "": the server. */
static bool
parse_target(struct imap_parser *p, struct shelf_span *name)
{
	struct imap_parser before = *p;

	if (imap_at(p, '"') || imap_at(p, '{')) {
		if (!imap_parse_astring(p, name))
			return false;
		if (name->len == 0)
			return true;
		*p = before;
	}
	return imap_parse_mailbox(p, name);
}

/* RFC 5464 3.3: "l" and one of these. */
static int
find_target(struct imap_session *s, struct shelf_span name, struct imap_address *at)
{
	int rc;

	if (name.len == 0) {
		*at = (struct imap_address){.place.account = s->account, .rights = SHELF_RIGHTS_ALL};
		return 0;
	}
	rc = imap_address_find(s, name, SHELF_RIGHT_LOOKUP, at);
	return rc != 0 ? rc : imap_metadata_may_read(at->rights) ? 0 : SHELF_ENOPERM;
}

bool
imap_metadata_may_read(unsigned rights)
{
	return (rights & SHELF_RIGHT_LOOKUP) != 0 && (rights & (SHELF_RIGHT_READ | SHELF_RIGHT_SEEN |
	    SHELF_RIGHT_WRITE | SHELF_RIGHT_INSERT | SHELF_RIGHT_POST)) != 0;
}

static bool
is_private(const char *name)
{
	return strncmp(name, "/private", 8) == 0;
}

/* ---- Values ------------------------------------------------------------------------------------------ */

/* What the settings say of the server; NULL: nothing. */
static const char *
server_value(struct imap_session *s, const char *name)
{
	if (strcmp(name, shared_comment) == 0)
		return s->server->conf->server_comment;
	return strcmp(name, shared_admin) == 0 ? s->server->conf->server_admin : NULL;
}

/* SHELF_EMISSING: it has no value, or none for this user. */
static int
get_value(struct imap_session *s, const struct imap_address *at, bool server, const char *name,
    struct shelf_buf *out)
{
	struct shelf_rd *rd = NULL;
	const char *text = server ? server_value(s, name) : NULL;
	int rc;

	shelf_buf_clear(out);
	if (text != NULL)
		shelf_buf_add_str(out, text);
	if (text != NULL)
		return 0;
	if ((server && !is_private(name)) || (is_private(name) && at->place.account != s->account))
		return SHELF_EMISSING;
	rc = shelf_rd_begin(s->store, at->place.account, &rd);
	if (rc == 0)
		rc = shelf_metadata_get(rd, at->row.id, name, out);
	shelf_rd_end(&rd);
	return rc;
}

static void
print_value(struct imap_session *s, const struct shelf_buf *value)
{
	if (value->len > 0 && memchr(value->data, 0, value->len) != NULL) {
		imap_outf(s, "~{%zu}\r\n", value->len);
		imap_out_span(s, shelf_buf_span(value));
	} else {
		imap_out_string(s, shelf_buf_span(value));
	}
}

static void
print_head(struct imap_session *s, struct shelf_span mailbox, const char *entry)
{
	imap_out_str(s, "* METADATA ");
	if (mailbox.len == 0)
		imap_out_str(s, "\"\"");
	else
		imap_out_mailbox(s, mailbox);
	imap_out_str(s, " (");
	imap_out_astring(s, shelf_span_str(entry));
	imap_out_str(s, " ");
}

/* ---- GETMETADATA ------------------------------------------------------------------------------------- */

enum depth { DEPTH_0, DEPTH_1, DEPTH_INFINITY };

struct get {
	struct shelf_span mailbox;
	struct imap_address at;
	struct imap_entries wanted;
	enum depth depth;
	bool limited;
	uint32_t maxsize;
	uint64_t longest; /* of those that were too long */
	const char **name; /* found, in arena */
	size_t n, room, next;
	struct imap_cmd *c;
};

static bool
matches(const struct get *g, struct shelf_span name)
{
	for (size_t i = 0; i < g->wanted.n; i++) {
		struct shelf_span top = shelf_span_str(g->wanted.name[i]);

		if (shelf_span_eq(name, top))
			return true;
		if (g->depth != DEPTH_0 && name.len > top.len && name.data[top.len] == '/' &&
		    memcmp(name.data, top.data, top.len) == 0 &&
		    (g->depth == DEPTH_INFINITY || shelf_span_find(name, '/', top.len + 1) < 0))
			return true;
	}
	return false;
}

static void
add_name(struct get *g, struct shelf_span name)
{
	if (g->n == g->room) {
		const char **more = SHELF_ARENA_ARRAY(&g->c->arena, const char *, g->room == 0 ? 32 : 2 * g->room);

		if (g->n > 0)
			memcpy(more, g->name, g->n * sizeof *more);
		g->name = more;
		g->room = g->room == 0 ? 32 : 2 * g->room;
	}
	g->name[g->n++] = shelf_arena_str(&g->c->arena, name);
}

static int
add_match(void *arg, struct shelf_span name, uint32_t size)
{
	struct get *g = arg;
	bool hidden = g->at.place.account != g->c->s->account && name.len > 8 &&
	    memcmp(name.data, "/private", 8) == 0;

	if (hidden || !matches(g, name))
		return 0;
	if (g->limited && size > g->maxsize)
		g->longest = size > g->longest ? size : g->longest;
	else
		add_name(g, name);
	return 0;
}

/* The names of what is to be told, without the values. */
static int
find_names(struct imap_cmd *c)
{
	static const char *const ours[] = {shared_comment, shared_admin};
	struct get *g = c->data;
	struct shelf_rd *rd = NULL;
	int rc = shelf_rd_begin(c->s->store, g->at.place.account, &rd);

	if (rc == 0)
		rc = shelf_metadata_each(rd, g->at.row.id, add_match, g);
	shelf_rd_end(&rd);
	for (size_t i = 0; rc == 0 && g->mailbox.len == 0 && i < 2; i++) {
		const char *text = server_value(c->s, ours[i]);

		if (text != NULL)
			rc = add_match(g, shelf_span_str(ours[i]), (uint32_t)strlen(text));
	}
	return rc;
}

/* What was asked for by name and is not there: NIL. */
static void
print_missing(struct get *g)
{
	struct shelf_buf value = {0};

	for (size_t i = 0; g->depth == DEPTH_0 && i < g->wanted.n; i++) {
		if (get_value(g->c->s, &g->at, g->mailbox.len == 0, g->wanted.name[i], &value) !=
		    SHELF_EMISSING)
			continue;
		print_head(g->c->s, g->mailbox, g->wanted.name[i]);
		imap_out_str(g->c->s, "NIL)\r\n");
	}
	shelf_buf_free(&value);
}

static enum imap_step
print(struct imap_cmd *c)
{
	struct get *g = c->data;
	struct shelf_buf value = {0};
	int rc = 0;

	for (; g->next < g->n && rc == 0; g->next++) {
		if (imap_out_full(c->s)) {
			shelf_buf_free(&value);
			return IMAP_WANT_OUTPUT;
		}
		rc = get_value(c->s, &g->at, g->mailbox.len == 0, g->name[g->next], &value);
		if (rc == 0) {
			print_head(c->s, g->mailbox, g->name[g->next]);
			print_value(c->s, &value);
			imap_out_str(c->s, ")\r\n");
		}
		rc = rc == SHELF_EMISSING ? 0 : rc; /* removed meanwhile */
	}
	shelf_buf_free(&value);
	if (rc != 0)
		return imap_err(c, rc);
	print_missing(g);
	if (g->longest > 0)
		return imap_ok_code(c, shelf_arena_printf(&c->arena, "METADATA LONGENTRIES %llu",
		    (unsigned long long)g->longest), "%s completed", c->name);
	return imap_completed(c);
}

/* "(MAXSIZE 1024 DEPTH infinity)" */
static bool
parse_options(struct imap_parser *p, struct get *g)
{
	if (!imap_parse_open(p))
		return false;
	do {
		if (imap_try_word(p, "MAXSIZE")) {
			g->limited = true;
			if (!imap_parse_sp(p) || !imap_parse_number(p, &g->maxsize))
				return false;
		} else if (imap_try_word(p, "DEPTH")) {
			if (!imap_parse_sp(p))
				return false;
			if (imap_try_word(p, "0"))
				g->depth = DEPTH_0;
			else if (imap_try_word(p, "1"))
				g->depth = DEPTH_1;
			else if (imap_try_word(p, "infinity"))
				g->depth = DEPTH_INFINITY;
			else
				return imap_parse_fail(p, "DEPTH is 0, 1 or infinity");
		} else {
			return imap_parse_fail(p, "unknown GETMETADATA option");
		}
	} while (imap_try(p, ' '));
	return imap_parse_close(p);
}

static bool
are_options(const struct imap_parser *p)
{
	return p->end - p->at > 2 && p->at[0] == '(' && p->at[1] != '/' && p->at[1] != '"' && p->at[1] != '{';
}

enum imap_step
imap_cmd_getmetadata(struct imap_cmd *c)
{
	struct get *g = SHELF_ARENA_NEW(&c->arena, struct get);
	struct imap_parser *p = &c->p;
	int rc = 0;

	*g = (struct get){.c = c, .wanted.max = ENTRIES_MAX};
	c->data = g;
	/* The grammar has the options in front of the name, the examples of 4.2.1 behind it: both are used. */
	if (!imap_parse_sp(p) || (imap_at(p, '(') && (!parse_options(p, g) || !imap_parse_sp(p))) ||
	    !parse_target(p, &g->mailbox) || !imap_parse_sp(p) ||
	    (are_options(p) && (!parse_options(p, g) || !imap_parse_sp(p))) ||
	    !imap_metadata_parse_entries(p, false, &g->wanted) || !imap_parse_end(p))
		return imap_parse_failed(c);
	rc = find_target(c->s, g->mailbox, &g->at);
	if (rc == 0)
		rc = find_names(c);
	if (rc != 0)
		return imap_err(c, rc);
	c->run = print;
	return print(c);
}

/* ---- LIST ---------------------------------------------------------------------------------------------- */

int
imap_metadata_print(struct imap_session *s, uint32_t account, uint32_t mailbox, struct shelf_span name,
    const struct imap_entries *entries)
{
	struct imap_address at = {.place.account = account, .row.id = mailbox};
	struct shelf_buf value = {0};
	int rc = 0;

	for (size_t i = 0; i < entries->n && rc == 0; i++) {
		rc = get_value(s, &at, false, entries->name[i], &value);
		if (rc != 0 && rc != SHELF_EMISSING)
			break;
		if (i == 0) {
			print_head(s, name, entries->name[i]);
		} else {
			imap_out_str(s, " ");
			imap_out_astring(s, shelf_span_str(entries->name[i]));
			imap_out_str(s, " ");
		}
		if (rc == 0)
			print_value(s, &value);
		else
			imap_out_str(s, "NIL");
		rc = 0;
		if (i + 1 == entries->n)
			imap_out_str(s, ")\r\n");
	}
	shelf_buf_free(&value);
	return rc;
}

/* ---- SETMETADATA --------------------------------------------------------------------------------------- */

struct set {
	struct shelf_store *store;
	uint32_t account, mailbox;
	uint64_t modseq; /* out */
	struct shelf_metadata list[ENTRIES_MAX];
	size_t n;
	const struct shelf_asker *asker;
	int rc;
};

static void
work(void *arg)
{
	struct set *w = arg;

	w->rc = shelf_metadata_set_for(w->store, w->asker, w->account, w->mailbox, w->list, w->n,
	    &w->modseq);
}

static enum imap_step
worked(struct imap_cmd *c)
{
	const struct set *w = c->data;

	if (w->rc == SHELF_ETOOBIG)
		return imap_no(c, shelf_arena_printf(&c->arena, "METADATA MAXSIZE %llu",
		    (unsigned long long)shelf_setting_get(w->store, SHELF_SETTING_METADATA_BYTES)),
		    "A value is too large");
	if (w->rc == SHELF_ELIMIT)
		return imap_no(c, "METADATA TOOMANY", "There are too many entries");
	if (w->rc != 0)
		return imap_err(c, w->rc);
	imap_watch_own_metadata(c->s, w->account, w->mailbox, w->modseq, w->list, w->n);
	return imap_completed(c);
}

/* "(/private/comment "x" /shared/comment NIL)" */
static bool
parse_values(struct imap_parser *p, struct set *w)
{
	if (!imap_parse_open(p))
		return false;
	do {
		struct imap_entries one = {.max = 1};

		if (w->n == ENTRIES_MAX)
			return imap_parse_fail(p, "too many entries");
		if (imap_at(p, '('))
			return imap_parse_fail(p, "entry expected");
		if (!imap_metadata_parse_entries(p, true, &one) || !imap_parse_sp(p))
			return false;
		w->list[w->n].name = shelf_span_str(one.name[0]);
		if (imap_at(p, '~') ? !imap_parse_literal8(p, &w->list[w->n].value) :
		    !imap_parse_nstring(p, &w->list[w->n].value))
			return false;
		w->n++;
	} while (imap_try(p, ' '));
	return imap_parse_close(p);
}

enum imap_step
imap_cmd_setmetadata(struct imap_cmd *c)
{
	struct set *w = SHELF_ARENA_NEW(&c->arena, struct set);
	struct imap_session *s = c->s;
	struct shelf_span name = {0};
	struct imap_address at = {0};
	unsigned needs = SHELF_RIGHT_LOOKUP;
	int rc = 0;

	if (!imap_parse_sp(&c->p) || !parse_target(&c->p, &name) || !imap_parse_sp(&c->p) ||
	    !parse_values(&c->p, w) || !imap_parse_end(&c->p))
		return imap_parse_failed(c);
	rc = find_target(s, name, &at);
	if (rc != 0)
		return imap_err(c, rc);
	for (size_t i = 0; i < w->n; i++) {
		bool private = is_private((const char *)w->list[i].name.data);

		if (name.len == 0 && !private)
			return imap_no(c, "NOPERM", "What the server shares is set by its administrator");
		if (private && at.place.account != s->account)
			return imap_no(c, "METADATA NOPRIVATE", "Private entries are of one's own mailboxes");
		/* Who may only read does not change what others see. */
		if (!private)
			needs |= SHELF_RIGHT_WRITE;
		if ((at.rights & needs) != needs)
			return imap_err(c, SHELF_ENOPERM);
	}
	w->store = s->store;
	w->account = at.place.account;
	w->mailbox = at.row.id;
	w->asker = imap_asker(c, needs);
	c->data = w;
	c->run = worked;
	return imap_work(c, work, w);
}
