/*
 * source_remote.c - mail of another server's account, folder by folder
 *
 *   list      names, and which of them are whose
 *   a folder  EXAMINE; UID FETCH 1:* of what is known of each message without its body; the sink says which of them
 *             are missing; their bodies, some hundred in a command, the next command sent before the last is answered
 *
 * What must stay true: nothing is changed over there (EXAMINE, BODY.PEEK[]); a message that the server does not give is
 * told, and the rest goes on; memory is a row for each message of one folder, and not a body.
 * A message's name there: host, user, folder, UIDVALIDITY, uid.
 */
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include <openssl/evp.h>

#include <mailshelf/mailbox.h>
#include <mailshelf/mem.h>
#include <mailshelf/message.h>
#include <mailshelf/mime.h>

#include "remote.h"
#include "source_remote.h"

enum {
	SLICE_IDS = 256,
	COMMAND_MESSAGES = 200,
	COMMAND_BYTES = 4 << 20,
	KEYWORDS = 64,
	KEYWORD_MAX_BYTES = 128,
	FOLDERS_MAX = 100000,
	OTHERS_MAX_BYTES = 64 * 1024,
	ROWS_SPARE = 10000, /* told besides those that exist, by a server that says things twice */
};

struct row {
	uint32_t uid, size, flags;
	uint32_t told; /* in which order */
	int16_t zone_min;
	bool has_flags;
	bool missing, seen; /* asked for; it came */
	int64_t date_s;
	uint64_t keywords; /* bits of names */
	uint8_t id[SOURCE_ID_BYTES];
};

struct folder {
	char *raw;  /* as the server spells it */
	char *name; /* UTF-8, levels separated by "/" */
	unsigned use;
};

struct run {
	const struct source_remote *from;
	const struct source_sink *sink;
	struct remote *remote;
	struct shelf_buf prefix; /* of the personal namespace, raw */
	struct shelf_buf others; /* prefixes of the others, each ends with a zero byte */
	struct folder *folders;
	size_t nfolders;
	/* Of the folder at work. */
	const struct folder *folder;
	uint64_t uidvalidity, exists;
	struct row *row;
	size_t n, cap;
	char *keyword[KEYWORDS];
	unsigned nkeywords;
	struct source_message message;
	bool begun; /* a body of the response being read */
	bool twice; /* and one more: nobody knows which it is */
	bool local; /* what failed is here, not there */
	size_t sent; /* rows whose bodies were asked for */
};

/* ---- Names ------------------------------------------------------------------------------------- */

/* The pattern of LIST: "*" anything, "%" anything within a level; INBOX in any case. */
static bool
chosen(const struct run *r, const char *name)
{
	const struct source_remote *from = r->from;
	bool in = from->nfolders == 0;

	for (size_t i = 0; i < from->nfolders; i++)
		in = in || from->matches(from->folders[i], shelf_span_str(name));
	for (size_t i = 0; i < from->nexclude; i++)
		in = in && !from->matches(from->exclude[i], shelf_span_str(name));
	return in;
}

/* RAW without the prefix of the personal namespace; "INBOX" stays. */
static char *
name_of(const struct run *r, struct shelf_span raw, uint8_t delimiter)
{
	struct shelf_buf utf8 = {0}, out = {0};
	char *name;

	if (r->prefix.len > 0 && raw.len > r->prefix.len && memcmp(raw.data, r->prefix.data, r->prefix.len) == 0)
		raw = shelf_span(raw.data + r->prefix.len, raw.len - r->prefix.len);
	if (!source_mutf7_decode(raw, &utf8))
		shelf_buf_add_span(&utf8, raw);
	for (size_t i = 0; i < utf8.len; i++) {
		uint8_t c = utf8.data[i];

		shelf_buf_add_byte(&out, c == delimiter && delimiter != 0 ? '/' : c == '/' ? '_' : c);
	}
	name = shelf_strdup(strcasecmp(shelf_buf_cstr(&out), "INBOX") == 0 ? "INBOX" : shelf_buf_cstr(&out));
	shelf_buf_free(&utf8);
	shelf_buf_free(&out);
	return name;
}

static bool
is_others(const struct run *r, struct shelf_span raw)
{
	for (size_t at = 0; at < r->others.len; at += strlen((const char *)r->others.data + at) + 1) {
		const char *prefix = (const char *)r->others.data + at;
		size_t len = strlen(prefix);

		if (len > 0 && raw.len >= len && memcmp(raw.data, prefix, len) == 0)
			return true;
	}
	return false;
}

static unsigned
use_of(struct shelf_span attribute)
{
	static const struct {
		const char *name;
		unsigned use;
	} uses[] = {{"\\Sent", SHELF_USE_SENT}, {"\\Drafts", SHELF_USE_DRAFTS}, {"\\Trash", SHELF_USE_TRASH},
		{"\\Junk", SHELF_USE_JUNK}, {"\\Archive", SHELF_USE_ARCHIVE}};

	for (size_t i = 0; i < sizeof uses / sizeof *uses; i++)
		if (shelf_span_is(attribute, uses[i].name))
			return uses[i].use;
	return 0;
}

/* "* LIST (attributes) "/" name ..." */
static int
take_list(void *arg, const struct remote_response *resp)
{
	struct run *r = arg;
	struct folder f = {.use = 0};
	uint8_t delimiter = 0;
	bool none = false;
	size_t i = 3;

	if (!remote_is(resp, 1, "LIST") || resp->n < 6 || resp->token[2].kind != REMOTE_OPEN)
		return 0;
	for (; i < resp->n && resp->token[i].kind != REMOTE_CLOSE; i++) {
		none = none || remote_is(resp, i, "\\Noselect") || remote_is(resp, i, "\\NonExistent") ||
		    remote_is(resp, i, "\\All");
		f.use |= use_of(resp->token[i].text);
	}
	if (i + 2 >= resp->n)
		return 0;
	if (resp->token[i + 1].kind == REMOTE_STRING && resp->token[i + 1].text.len == 1)
		delimiter = resp->token[i + 1].text.data[0];
	if (none || is_others(r, resp->token[i + 2].text))
		return 0;
	if (r->nfolders == FOLDERS_MAX) {
		remote_say_why(r->remote, "more than %d folders", FOLDERS_MAX);
		return SHELF_ELIMIT;
	}
	f.raw = shelf_strndup((const char *)resp->token[i + 2].text.data, resp->token[i + 2].text.len);
	f.name = name_of(r, resp->token[i + 2].text, delimiter);
	r->folders = shelf_realloc(r->folders, (r->nfolders + 1) * sizeof *r->folders);
	r->folders[r->nfolders++] = f;
	return 0;
}

/* "* NAMESPACE ((prefix delimiter ...) ...) others shared", each NIL or a list of lists. */
static int
take_namespace(void *arg, const struct remote_response *resp)
{
	struct run *r = arg;
	unsigned depth = 0, which = 0;

	if (!remote_is(resp, 1, "NAMESPACE"))
		return 0;
	for (size_t i = 2; i < resp->n; i++) {
		const struct remote_token *t = &resp->token[i];

		if (t->kind == REMOTE_OPEN) {
			depth++;
			if (depth == 2 && i + 1 < resp->n && resp->token[i + 1].kind == REMOTE_STRING) {
				struct shelf_buf *b = which == 0 ? &r->prefix : &r->others;

				if (which > 0 && b->len + resp->token[i + 1].text.len > OTHERS_MAX_BYTES)
					continue;
				if (which > 0 || b->len == 0)
					shelf_buf_add_span(b, resp->token[i + 1].text);
				if (which > 0)
					shelf_buf_add_byte(b, 0);
			}
		} else if (t->kind == REMOTE_CLOSE) {
			depth -= depth > 0;
			which += depth == 0;
		} else {
			which += depth == 0; /* NIL */
		}
	}
	return 0;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const struct folder *)a)->name, ((const struct folder *)b)->name);
}

static int
list(struct run *r)
{
	int rc = 0;

	if (remote_has(r->remote, "NAMESPACE"))
		rc = remote_run(r->remote, take_namespace, r, "NAMESPACE");
	if (rc == SHELF_EINVALID)
		rc = 0;
	if (rc == 0 && remote_has(r->remote, "SPECIAL-USE") && remote_has(r->remote, "LIST-EXTENDED"))
		rc = remote_run(r->remote, take_list, r, "LIST \"\" \"*\" RETURN (SPECIAL-USE)");
	else if (rc == 0)
		rc = remote_run(r->remote, take_list, r, "LIST \"\" \"*\"");
	if (rc == 0 && r->nfolders > 0)
		qsort(r->folders, r->nfolders, sizeof *r->folders, by_name);
	return rc;
}

/* ---- A folder: what is there ------------------------------------------------------------------- */

static int
take_examine(void *arg, const struct remote_response *resp)
{
	struct run *r = arg;
	static const char code[] = "[UIDVALIDITY ";
	ptrdiff_t end;
	uint64_t n;

	if (remote_is(resp, 2, "EXISTS") && shelf_span_u64(resp->token[1].text, UINT32_MAX, &n))
		r->exists = n;
	if (resp->n < 3 || resp->token[2].text.len <= sizeof code ||
	    strncasecmp((const char *)resp->token[2].text.data, code, sizeof code - 1) != 0 ||
	    (end = shelf_span_find(resp->token[2].text, ']', 0)) < 0)
		return 0;
	if (!shelf_span_u64(shelf_span(resp->token[2].text.data + sizeof code - 1, (size_t)end - (sizeof code - 1)),
	        UINT32_MAX, &r->uidvalidity))
		r->uidvalidity = 0;
	return 0;
}

/* What the store takes for one, too. */
static bool
is_keyword(struct shelf_span flag)
{
	for (size_t i = 0; i < flag.len; i++)
		if (flag.data[i] <= ' ' || flag.data[i] >= 0x7f || strchr("(){%*\"\\]", flag.data[i]) != NULL)
			return false;
	return flag.len > 0 && flag.len <= KEYWORD_MAX_BYTES;
}

static void
take_flag(struct run *r, struct row *row, struct shelf_span flag)
{
	static const struct {
		const char *name;
		uint32_t bit;
	} flags[] = {{"\\Seen", SHELF_SEEN}, {"\\Answered", SHELF_ANSWERED}, {"\\Flagged", SHELF_FLAGGED},
		{"\\Deleted", SHELF_DELETED}, {"\\Draft", SHELF_DRAFT}};

	for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
		if (shelf_span_is(flag, flags[i].name))
			row->flags |= flags[i].bit;
	if (!is_keyword(flag))
		return;
	for (unsigned k = 0; k < r->nkeywords; k++)
		if (shelf_span_is(flag, r->keyword[k])) {
			row->keywords |= 1ull << k;
			return;
		}
	if (r->nkeywords < KEYWORDS) {
		row->keywords |= 1ull << r->nkeywords;
		r->keyword[r->nkeywords++] = shelf_strndup((const char *)flag.data, flag.len);
	}
}

/* The number behind the word at I, into OUT. */
static bool
number_at(const struct remote_response *resp, size_t i, const char *word, uint32_t *out)
{
	uint64_t n;

	if (!remote_is(resp, i, word) || i + 1 >= resp->n || !shelf_span_u64(resp->token[i + 1].text, UINT32_MAX, &n))
		return false;
	*out = (uint32_t)n;
	return true;
}

static void
take_date(struct row *row, struct shelf_span text)
{
	char date[40];

	/* "17-Jul-1996 02:44:25 -0700" is a date of mail with dashes (RFC 3501 9, date-time). */
	snprintf(date, sizeof date, "%.*s", (int)text.len, (const char *)text.data);
	for (char *c = date; *c != '\0' && c - date < 8; c++)
		if (*c == '-')
			*c = ' ';
	if (!mime_date(shelf_span_str(date), &row->date_s, &row->zone_min))
		row->date_s = INT64_MIN;
}

/* "* 1 FETCH (UID 7 FLAGS (\Seen) INTERNALDATE "..." RFC822.SIZE 300)" */
static int
take_row(void *arg, const struct remote_response *resp)
{
	struct row row = {.date_s = INT64_MIN};
	struct run *r = arg;

	if (remote_is(resp, 2, "EXPUNGE") && r->exists > 0)
		r->exists--;
	if (!remote_is(resp, 2, "FETCH"))
		return 0;
	for (size_t i = 4; i < resp->n; i++) {
		if (number_at(resp, i, "UID", &row.uid) || number_at(resp, i, "RFC822.SIZE", &row.size)) {
			i++;
		} else if (remote_is(resp, i, "INTERNALDATE") && i + 1 < resp->n) {
			take_date(&row, resp->token[++i].text);
		} else if (remote_is(resp, i, "FLAGS") && i + 1 < resp->n && resp->token[i + 1].kind == REMOTE_OPEN) {
			row.has_flags = true;
			for (i += 2; i < resp->n && resp->token[i].kind != REMOTE_CLOSE; i++)
				take_flag(r, &row, resp->token[i].text);
		}
	}
	if (row.uid == 0)
		return 0;
	if (r->n >= 2 * r->exists + ROWS_SPARE) {
		remote_say_why(r->remote, "%s: more messages than there are", r->folder->name);
		return SHELF_ELIMIT;
	}
	row.told = (uint32_t)r->n;
	if (r->n == r->cap) {
		r->cap = r->cap == 0 ? 1024 : 2 * r->cap;
		r->row = shelf_realloc(r->row, r->cap * sizeof *r->row);
	}
	r->row[r->n++] = row;
	return 0;
}

static int
by_uid(const void *a, const void *b)
{
	uint32_t x = ((const struct row *)a)->uid, y = ((const struct row *)b)->uid;

	return (x > y) - (x < y);
}

static int
by_uid_and_order(const void *a, const void *b)
{
	uint32_t x = ((const struct row *)a)->told, y = ((const struct row *)b)->told;
	int order = by_uid(a, b);

	return order != 0 ? order : (x > y) - (x < y);
}

/* Told once more: what it says is newer, what it does not say stays. */
static void
merge(struct row *row, const struct row *more)
{
	if (more->has_flags) {
		row->flags = more->flags;
		row->keywords = more->keywords;
		row->has_flags = true;
	}
	if (more->date_s != INT64_MIN) {
		row->date_s = more->date_s;
		row->zone_min = more->zone_min;
	}
	if (more->size != 0)
		row->size = more->size;
}

static void
sort_rows(struct run *r)
{
	size_t n = 0;

	if (r->n == 0)
		return;
	qsort(r->row, r->n, sizeof *r->row, by_uid_and_order);
	for (size_t i = 0; i < r->n; i++) {
		if (n > 0 && r->row[n - 1].uid == r->row[i].uid)
			merge(&r->row[n - 1], &r->row[i]);
		else
			r->row[n++] = r->row[i];
	}
	r->n = n;
}

static void
make_id(const struct run *r, struct row *row)
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	struct shelf_buf b = {0};

	shelf_buf_printf(&b, "imap\n%s\n%s\n%s\n%llu\n%u", r->from->params->host,
	    r->from->params->as != NULL ? r->from->params->as : r->from->params->user, r->folder->raw,
	    (unsigned long long)r->uidvalidity, row->uid);
	SHELF_ASSERT(EVP_Digest(b.data, b.len, digest, NULL, EVP_sha256(), NULL) == 1);
	memcpy(row->id, digest, sizeof row->id);
	shelf_buf_free(&b);
}

/* RC is of the sink: no fault of the server. */
static int
here(struct run *r, int rc)
{
	r->local = r->local || rc != 0;
	return rc;
}

static int
ask_what_is_missing(struct run *r)
{
	uint8_t ids[SLICE_IDS][SOURCE_ID_BYTES];
	bool missing[SLICE_IDS];
	int rc = 0;

	for (size_t at = 0; rc == 0 && at < r->n; at += SLICE_IDS) {
		size_t n = r->n - at < SLICE_IDS ? r->n - at : SLICE_IDS;

		for (size_t i = 0; i < n; i++) {
			make_id(r, &r->row[at + i]);
			memcpy(ids[i], r->row[at + i].id, SOURCE_ID_BYTES);
		}
		rc = here(r, r->sink->missing(r->sink->arg, (const uint8_t (*)[SOURCE_ID_BYTES])ids, n, missing));
		for (size_t i = 0; i < n && rc == 0; i++)
			r->row[at + i].missing = missing[i];
	}
	return rc;
}

/* ---- Bodies ------------------------------------------------------------------------------------- */

static struct row *
find_row(struct run *r, uint32_t uid)
{
	const struct row want = {.uid = uid};

	return r->n == 0 ? NULL : bsearch(&want, r->row, r->n, sizeof *r->row, by_uid);
}

static int
take_body(void *arg, const void *data, size_t len)
{
	struct run *r = arg;

	int rc = 0;

	if (len == 0 && !r->begun) {
		rc = here(r, source_message_begin(&r->message, r->folder->name, 0));
		r->begun = rc == 0;
		return rc;
	}
	r->twice = r->twice || len == 0;
	return r->twice ? 0 : here(r, source_message_bytes(&r->message, data, len));
}

static int
end_message(struct run *r, struct row *row)
{
	struct shelf_span keywords[KEYWORDS];
	struct source_meta meta = {.internaldate_s = row->date_s, .zone_min = row->zone_min, .flags = row->flags,
	    .keywords = keywords, .uid = row->uid, .id = row->id};

	for (unsigned k = 0; k < r->nkeywords; k++)
		if ((row->keywords >> k & 1) != 0)
			keywords[meta.nkeywords++] = shelf_span_str(r->keyword[k]);
	row->seen = true;
	return here(r, source_message_end(&r->message, &meta, false, INT64_MIN));
}

/* The message of a FETCH: its body was handed on while it was read, or stands in it as a string. */
static int
take_message(struct run *r, const struct remote_response *resp)
{
	struct row *row = NULL;
	uint32_t uid = 0;
	int rc = 0;

	for (size_t i = 4; i < resp->n && rc == 0; i++) {
		if (number_at(resp, i, "UID", &uid))
			row = find_row(r, uid);
		else if (!r->begun && remote_is(resp, i, "BODY[]") && i + 1 < resp->n &&
		    resp->token[i + 1].kind == REMOTE_STRING && (rc = take_body(r, "", 0)) == 0)
			rc = take_body(r, resp->token[i + 1].text.data, resp->token[i + 1].text.len);
	}
	if (rc != 0 || !r->begun)
		return rc;
	r->begun = false;
	if (row != NULL && row->missing && !row->seen && !r->twice)
		return end_message(r, row);
	source_message_drop(&r->message);
	return 0;
}

static void
add_range(struct shelf_buf *set, uint32_t first, uint32_t last)
{
	if (first == 0)
		return;
	shelf_buf_printf(set, "%s%u", set->len > 0 ? "," : "", first);
	if (last > first)
		shelf_buf_printf(set, ":%u", last);
}

/* Asks for the next bodies; *TAG_OUT 0: there are none. */
static int
ask_bodies(struct run *r, size_t most, unsigned *tag_out)
{
	struct shelf_buf set = {0};
	uint32_t first = 0, last = 0;
	uint64_t bytes = 0;
	size_t n = 0;
	int rc = 0;

	*tag_out = 0;
	for (; r->sent < r->n && n < most && (n == 0 || bytes < COMMAND_BYTES); r->sent++) {
		const struct row *row = &r->row[r->sent];

		if (!row->missing || row->seen)
			continue;
		bytes += row->size;
		if (n++ > 0 && row->uid == last + 1) {
			last++;
			continue;
		}
		add_range(&set, first, last);
		first = last = row->uid;
	}
	add_range(&set, first, last);
	if (n > 0)
		rc = remote_send(r->remote, tag_out, "UID FETCH %s (UID BODY.PEEK[])", shelf_buf_cstr(&set));
	shelf_buf_free(&set);
	return rc;
}

/* Responses until the answer to TAG. */
static int
read_bodies(struct run *r, unsigned tag)
{
	struct remote_response resp;
	unsigned whose;
	bool ok;
	int rc = 0;

	while (rc == 0) {
		r->begun = r->twice = false;
		if ((rc = remote_read(r->remote, &resp, take_body, r)) != 0)
			break;
		if ((whose = remote_answers(r->remote, &resp, &ok)) != 0)
			return whose == tag ? 0 : SHELF_ESYNTAX;
		if (remote_is(&resp, 2, "FETCH"))
			rc = take_message(r, &resp);
	}
	if (r->begun)
		source_message_drop(&r->message);
	r->begun = false;
	return rc;
}

/* MOST messages a command, two commands under way. */
static int
fetch_bodies(struct run *r, size_t most)
{
	unsigned tag, next;
	int rc;

	r->sent = 0;
	if ((rc = ask_bodies(r, most, &tag)) != 0)
		return rc;
	while (tag != 0) {
		if ((rc = ask_bodies(r, most, &next)) != 0 || (rc = read_bodies(r, tag)) != 0)
			return rc;
		r->sink->advance(r->sink->arg, remote_took(r->remote));
		tag = next;
	}
	return 0;
}

static bool
all_came(const struct run *r)
{
	for (size_t i = 0; i < r->n; i++)
		if (r->row[i].missing && !r->row[i].seen)
			return false;
	return true;
}

static void
tell_what_did_not_come(struct run *r)
{
	char text[100];

	for (size_t i = 0; i < r->n; i++) {
		if (!r->row[i].missing || r->row[i].seen)
			continue;
		snprintf(text, sizeof text, "uid %u: the server does not give it", r->row[i].uid);
		r->sink->problem(r->sink->arg, r->folder->name, 0, text);
	}
}

static void
forget_folder(struct run *r)
{
	for (unsigned k = 0; k < r->nkeywords; k++)
		free(r->keyword[k]);
	r->nkeywords = 0;
	r->n = 0;
	r->uidvalidity = r->exists = 0;
}

static int
examine(struct run *r)
{
	struct shelf_buf name = {0};
	int rc = remote_quote(shelf_span_str(r->folder->raw), &name);

	if (rc == 0)
		rc = remote_run(r->remote, take_examine, r, "EXAMINE %s", shelf_buf_cstr(&name));
	shelf_buf_free(&name);
	if (rc != SHELF_EINVALID && rc != SHELF_ESYNTAX)
		return rc;
	r->sink->problem(r->sink->arg, r->folder->name, 0, remote_why(r->remote));
	return SHELF_EINVALID;
}

/* The others of the folder, and the other folders, come all the same. */
static void
tell_what_is_not_listed(struct run *r, const char *why)
{
	char text[400];

	snprintf(text, sizeof text, "%zu of %llu messages were listed: %s", r->n, (unsigned long long)r->exists, why);
	r->sink->problem(r->sink->arg, r->folder->name, 0, text);
}

static int
run_folder(struct run *r, const struct folder *f)
{
	int rc;

	r->folder = f;
	forget_folder(r);
	if ((rc = examine(r)) != 0)
		return rc == SHELF_EINVALID ? 0 : rc;
	r->sink->use(r->sink->arg, f->use);
	if ((rc = here(r, r->sink->folder(r->sink->arg, shelf_span_str(f->name), "imap"))) != 0)
		return rc;
	if (r->uidvalidity != 0 && (rc = here(r, r->sink->uidvalidity(r->sink->arg, (uint32_t)r->uidvalidity))) != 0)
		return rc;
	rc = remote_run(r->remote, take_row, r, "UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)");
	if (rc != 0 && rc != SHELF_EINVALID)
		return rc;
	sort_rows(r);
	/* Some say NO to an empty folder. */
	if (r->n < r->exists)
		tell_what_is_not_listed(r, rc == 0 ? "the server does not say why" : remote_why(r->remote));
	if ((rc = ask_what_is_missing(r)) != 0 || (rc = fetch_bodies(r, COMMAND_MESSAGES)) != 0)
		return rc;
	/* One that cannot be read over there may have ended a command: what is left comes one by one. */
	if (!all_came(r) && (rc = fetch_bodies(r, 1)) != 0)
		return rc;
	tell_what_did_not_come(r);
	return 0;
}

/* ---- All ---------------------------------------------------------------------------------------- */

int
source_remote_run(const struct source_remote *from, const struct source_sink *sink)
{
	struct run r = {.from = from, .sink = sink, .message = {.sink = sink, .raw = true}};
	int rc = remote_open(from->params, &r.remote);

	if (rc == 0)
		rc = list(&r);
	for (size_t i = 0; i < r.nfolders && rc == 0; i++)
		if (chosen(&r, r.folders[i].name))
			rc = run_folder(&r, &r.folders[i]);
	if (rc == SHELF_EINVALID) /* NO or BAD to what it has to answer */
		rc = SHELF_EIO;
	if (rc != 0 && rc != SHELF_ECANCELLED && !r.local)
		sink->problem(sink->arg, from->params->host, 0, remote_why(r.remote));
	remote_close(&r.remote);
	forget_folder(&r);
	for (size_t i = 0; i < r.nfolders; i++) {
		free(r.folders[i].raw);
		free(r.folders[i].name);
	}
	free(r.folders);
	free(r.row);
	source_message_free(&r.message);
	shelf_buf_free(&r.prefix);
	shelf_buf_free(&r.others);
	return rc;
}
