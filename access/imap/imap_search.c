/*
 * imap_search.c - search keys to the engine's tree, by the table
 *
 * Texts become UTF-8 here, message numbers become uids: the engine knows neither charsets of commands nor
 * numbers. Nesting (parentheses, NOT, OR) is bounded, so all recursion is. The bound is generous, since the
 * only way to ask for one of a hundred things is OR a OR b OR c ...
 * Sources   RFC 9051 6.4.4, 9 (search, search-key); RFC 3501 7.1 (BADCHARSET).
 */
#include <stdlib.h>

#include "imap_condstore.h"
#include "imap_objectid.h"
#include "imap_search.h"
#include "net.h"

enum { KEY_DEPTH_MAX = 500 };

enum argument {
	NOTHING,
	TEXT,     /* astring */
	FIELD,    /* field name, astring */
	KEYWORD,  /* atom */
	ID,       /* atom: an object id, not looked at */
	EMAILID,  /* the same: of a message */
	DATE,
	NUMBER,
	SECONDS,  /* nz-number */
	MODSEQ,   /* [entry-name entry-type] number */
	UIDS,     /* sequence-set of uids */
	RECENT,   /* the session's set */
	NEW,      /* RECENT and not \Seen */
	ONE_KEY,
	TWO_KEYS,
};

struct row {
	const char *name;
	enum argument argument;
	enum shelf_key_kind kind;
	uint32_t flag;
	const char *field;
	bool negate;
};

static const struct row rows[] = {
#define IMAP_SEARCH_KEY(name, argument, key, flag, field, negate, source) \
	{name, argument, SHELF_KEY_##key, flag, field, negate},
#include "imap_search_keys.def"
#undef IMAP_SEARCH_KEY
};

struct builder {
	struct imap_cmd *c;
	struct imap_parser *p;
	struct imap_program *program;
	unsigned depth, sets;
};

static bool parse_key(struct builder *b, struct shelf_key **out);

/* ---- Nodes ---------------------------------------------------------------------------------------- */

static struct shelf_key *
new_key(struct builder *b, enum shelf_key_kind kind)
{
	struct shelf_key *key = SHELF_ARENA_NEW(b->p->arena, struct shelf_key);

	key->kind = kind;
	return key;
}

static struct shelf_key *
negated(struct builder *b, struct shelf_key *key)
{
	struct shelf_key *not = new_key(b, SHELF_KEY_NOT);

	not->child = key;
	return not;
}

static struct shelf_uidset *
new_set(struct builder *b)
{
	struct imap_program *program = b->program;

	if (program->nset == program->set_cap) {
		program->set_cap = program->set_cap == 0 ? 8 : program->set_cap * 2;
		program->set = shelf_realloc(program->set, program->set_cap * sizeof *program->set);
	}
	program->set[program->nset] = shelf_uidset_new();
	return program->set[program->nset++];
}

static struct shelf_key *
recent_key(struct builder *b)
{
	struct shelf_key *key = new_key(b, SHELF_KEY_RECENT);

	if (b->program->recent == NULL) {
		b->program->recent = new_set(b);
		if (b->c->s->recent != NULL && !b->program->other)
			shelf_uidset_or(b->program->recent, b->c->s->recent);
	}
	key->uids = b->program->recent;
	return key;
}

static struct shelf_key *
new_mail_key(struct builder *b)
{
	struct shelf_key *both = new_key(b, SHELF_KEY_AND), *seen = new_key(b, SHELF_KEY_FLAG);

	seen->flag = SHELF_SEEN;
	both->child = recent_key(b);
	both->child->next = negated(b, seen);
	return both;
}

/* ---- Arguments ------------------------------------------------------------------------------------- */

static bool
parse_text(struct builder *b, struct shelf_span *out)
{
	struct shelf_buf utf8 = {0};

	if (!imap_parse_sp(b->p) || !imap_parse_astring(b->p, out))
		return false;
	if (b->program->charset.data != NULL) {
		mime_charset_utf8(b->program->charset, *out, &utf8);
		*out = shelf_arena_dup(b->p->arena, shelf_buf_span(&utf8));
		shelf_buf_free(&utf8);
	}
	return true;
}

static bool
parse_set(struct builder *b, bool uid, struct shelf_key *key)
{
	struct shelf_span text;

	if (b->sets == IMAP_SEARCH_SETS_MAX)
		return imap_parse_fail(b->p, "too many sequence sets");
	b->sets++;
	key->uids = new_set(b);
	if (!imap_parse_set(b->p, &text))
		return false;
	if (b->program->standing && uid && !shelf_span_is(text, "$"))
		return imap_set_resolve_standing(b->c, text, key->uids);
	if (b->program->view != NULL || b->program->check)
		return imap_set_resolve_in(b->c, b->program->view, b->program->other, text, uid, key->uids);
	return imap_set_resolve(b->c, text, uid, key->uids); /* sets the reply itself */
}

static bool
parse_days(struct builder *b, struct shelf_key *key)
{
	int64_t days;

	if (!imap_parse_sp(b->p) || !imap_parse_date(b->p, &days))
		return false;
	key->number = (uint64_t)days;
	return true;
}

static bool
parse_field(struct builder *b, struct shelf_key *key)
{
	if (!imap_parse_sp(b->p) || !imap_parse_astring(b->p, &key->name))
		return false;
	if (key->name.len == 0)
		return imap_parse_fail(b->p, "empty field name");
	return parse_text(b, &key->text);
}

static bool
parse_seconds(struct builder *b, struct shelf_key *key)
{
	uint32_t seconds;

	if (!imap_parse_sp(b->p) || !imap_parse_nz_number(b->p, &seconds))
		return false;
	key->number = seconds;
	return true;
}

/* A text that is no email id of ours matches nothing: the key then has none. */
static bool
parse_email_id(struct builder *b, struct shelf_key *key)
{
	uint8_t id[16];

	if (!imap_parse_sp(b->p) || !imap_parse_atom(b->p, &key->text))
		return false;
	key->text = imap_email_id_parse(key->text, id) ?
	    shelf_arena_dup(b->p->arena, shelf_span(id, sizeof id)) : shelf_span(NULL, 0);
	return true;
}

/* There is one mod-sequence for all flags of a message: which one is meant does not matter. */
static bool
parse_modseq(struct builder *b, struct shelf_key *key)
{
	struct shelf_span entry;

	b->program->modseq = true;
	if (!imap_parse_sp(b->p))
		return false;
	if (imap_at(b->p, '"')) {
		if (!imap_parse_string(b->p, &entry) || !imap_parse_sp(b->p))
			return false;
		if (!imap_try_word(b->p, "all") && !imap_try_word(b->p, "priv") &&
		    !imap_try_word(b->p, "shared"))
			return imap_parse_fail(b->p, "unknown type of entry");
		if (!imap_parse_sp(b->p))
			return false;
	}
	return imap_parse_number64(b->p, &key->number);
}

static bool
parse_children(struct builder *b, struct shelf_key *key, unsigned count)
{
	struct shelf_key **link = &key->child;

	for (unsigned i = 0; i < count; i++) {
		if (!imap_parse_sp(b->p) || !parse_key(b, link))
			return false;
		link = &(*link)->next;
	}
	return true;
}

static bool
parse_argument(struct builder *b, const struct row *row, struct shelf_key *key)
{
	switch (row->argument) {
	case NOTHING:
	case RECENT:
	case NEW:
		return true;
	case TEXT:
		return parse_text(b, &key->text);
	case FIELD:
		return parse_field(b, key);
	case EMAILID:
		return parse_email_id(b, key);
	case ID:
	case KEYWORD:
		return imap_parse_sp(b->p) && imap_parse_atom(b->p, &key->text);
	case DATE:
		return parse_days(b, key);
	case NUMBER:
		return imap_parse_sp(b->p) && imap_parse_number64(b->p, &key->number);
	case MODSEQ:
		return parse_modseq(b, key);
	case SECONDS:
		return parse_seconds(b, key);
	case UIDS:
		return imap_parse_sp(b->p) && parse_set(b, true, key);
	case ONE_KEY:
		return parse_children(b, key, 1);
	case TWO_KEYS:
		return parse_children(b, key, 2);
	}
	return false;
}

/* ---- Keys ------------------------------------------------------------------------------------------- */

static const struct row *
find_row(struct shelf_span name)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		if (shelf_span_is(name, rows[i].name))
			return &rows[i];
	}
	return NULL;
}

static bool
parse_named(struct builder *b, struct shelf_key **out)
{
	struct shelf_span name;
	const struct row *row;
	struct shelf_key *key;

	if (!imap_parse_name(b->p, &name))
		return false;
	row = find_row(name);
	if (row == NULL)
		return imap_parse_fail(b->p, "unknown search key");
	if (row->argument == RECENT)
		key = recent_key(b);
	else if (row->argument == NEW)
		key = new_mail_key(b);
	else
		key = new_key(b, row->kind);
	key->flag = row->flag;
	key->name = shelf_span_str(row->field);
	if (!parse_argument(b, row, key))
		return false;
	*out = row->negate ? negated(b, key) : key;
	return true;
}

/* key *(SP key), all of them. */
static bool
parse_keys(struct builder *b, struct shelf_key **out)
{
	struct shelf_key *all = new_key(b, SHELF_KEY_AND), **link = &all->child;

	do {
		if (!parse_key(b, link))
			return false;
		link = &(*link)->next;
	} while (imap_try(b->p, ' '));
	*out = all;
	return true;
}

static bool
parse_key(struct builder *b, struct shelf_key **out)
{
	struct imap_parser *p = b->p;
	bool ok;

	if (b->depth == KEY_DEPTH_MAX)
		return imap_parse_fail(p, "search keys nested too deeply");
	b->depth++;
	if (imap_at(p, '(')) {
		ok = imap_parse_open(p) && parse_keys(b, out) && imap_parse_close(p);
	} else if (p->at < p->end && (imap_at(p, '*') || imap_at(p, '$') ||
	    (*p->at >= '0' && *p->at <= '9'))) {
		*out = new_key(b, SHELF_KEY_UIDS);
		ok = parse_set(b, false, *out);
	} else {
		ok = parse_named(b, out);
	}
	b->depth--;
	return ok;
}

/* RFC 9051 6.4.4: NO with BADCHARSET, and the ones that would do. */
static bool
parse_charset(struct builder *b)
{
	struct shelf_span name;

	if (!imap_parse_astring(b->p, &name) || !imap_parse_sp(b->p))
		return false;
	if (!shelf_span_is(name, "UTF-8") && !shelf_span_is(name, "US-ASCII")) {
		if (!mime_charset_known(name)) {
			imap_no(b->c, "BADCHARSET (UTF-8 US-ASCII)", "unknown charset");
			return false;
		}
		b->program->charset = name;
	}
	return true;
}

static bool
parse_program(struct imap_cmd *c, struct imap_program *program, bool charset)
{
	struct builder b = {.c = c, .p = &c->p, .program = program};

	if (!charset && imap_try_word(b.p, "CHARSET")) {
		if (!imap_parse_sp(b.p))
			return false;
		if (c->s->utf8_accept) /* RFC 6855 3 */
			return imap_parse_fail(b.p, "all is UTF-8, no CHARSET is possible");
		charset = true;
	}
	if (charset && !parse_charset(&b))
		return false;
	if (!parse_keys(&b, &program->root) || !imap_parse_end(&c->p))
		return false;
	if (program->modseq)
		imap_condstore_enable(c->s);
	return true;
}

bool
imap_program_parse(struct imap_cmd *c, struct imap_program *program)
{
	if (parse_program(c, program, false))
		return true;
	imap_parse_failed(c);
	return false;
}

bool
imap_program_parse_charset(struct imap_cmd *c, struct imap_program *program)
{
	if (parse_program(c, program, true))
		return true;
	imap_parse_failed(c);
	return false;
}

/* ---- Running ------------------------------------------------------------------------------------------ */

bool
imap_program_given_up(struct imap_cmd *c)
{
	if (!net_conn_hung_up(c->s->conn))
		return false;
	imap_no(c, NULL, "the client has hung up");
	return true;
}

static int
begin_search(struct imap_session *s, struct imap_program *program)
{
	bool other = program->view != NULL;

	return shelf_search_new(s->store, other ? program->account : s->owner, other ? program->view : s->view,
	    program->root, &program->search);
}

static void
tell_progress(struct imap_cmd *c, const struct imap_program *program)
{
	struct shelf_progress so_far = shelf_search_progress(program->search);

	if (!program->part)
		imap_progress(c, so_far.done, (program->then_arranged ? 2 : 1) * (uint64_t)so_far.total);
}

enum imap_step
imap_program_search(struct imap_cmd *c, struct imap_program *program)
{
	enum imap_step step = IMAP_DONE;
	int rc = program->search != NULL ? 0 : begin_search(c->s, program);

	if (imap_program_given_up(c))
		return IMAP_DONE;
	if (rc == 0) {
		tell_progress(c, program);
		rc = imap_round_search(c, program->search, &program->round, &step);
	}
	program->damaged = rc == SHELF_ECORRUPT;
	if (rc < 0 && !program->damaged)
		return imap_err(c, rc);
	return rc == 1 ? step : IMAP_DONE;
}

void
imap_program_progress(struct imap_cmd *c, const struct imap_program *program,
    struct shelf_progress so_far)
{
	uint64_t half = shelf_search_progress(program->search).total;

	if (so_far.total > 0)
		imap_progress(c, half + half * so_far.done / so_far.total, 2 * half);
}

enum imap_step
imap_program_reply(struct imap_cmd *c, const struct imap_program *program)
{
	if (program->damaged)
		return imap_no(c, "SERVERBUG",
		    "some messages are damaged in the store and were not searched");
	return imap_completed(c);
}

void
imap_program_free(struct imap_program *program)
{
	for (size_t i = 0; i < program->nset; i++)
		shelf_uidset_free(&program->set[i]);
	free(program->set);
	shelf_search_free(&program->search);
	*program = (struct imap_program){0};
}
