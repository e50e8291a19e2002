/*
 * tool_undelete.c - what a user removed by accident comes back
 *
 * First everything that is held is walked and chosen from, then the chosen is put back, mailbox by
 * mailbox. What is back is not held any more, so a second run finds nothing, and a run that was cut off
 * is simply repeated.
 */
#include <stdlib.h>
#include <string.h>

#include "tools.h"

struct item {
	uint32_t uid;
	uint32_t place; /* index */
	int64_t gone_s;
	uint64_t size, blob;
};

struct place { /* a mailbox that mail was removed from */
	uint32_t id;
	bool deleted;
	struct shelf_buf name;
	struct shelf_uidset *uids;
	uint64_t messages, bytes;
};

struct undelete {
	struct tool *t;
	uint32_t account;
	const char *mailbox, *since, *from, *subject, *to, *whole;
	bool dry_run, list;
	struct shelf_buf only, target; /* canonical --mailbox, --to */
	int64_t since_s;
	struct item *item;
	size_t nitems, items_cap;
	struct place *place;
	size_t nplaces, places_cap;
	uint64_t messages, bytes, skipped;
	struct shelf_buf list_json, json;
};

/* ---- Choosing --------------------------------------------------------------------------------------- */

static uint32_t
place_of(struct undelete *u, const struct shelf_held *held)
{
	struct place *p;

	/* Removals of one mailbox come in runs. */
	for (size_t i = u->nplaces; i-- > 0;)
		if (u->place[i].id == held->mailbox)
			return (uint32_t)i;
	if (u->nplaces == u->places_cap) {
		u->places_cap = u->places_cap == 0 ? 16 : u->places_cap * 2;
		u->place = shelf_realloc(u->place, u->places_cap * sizeof *u->place);
	}
	p = &u->place[u->nplaces++];
	*p = (struct place){.id = held->mailbox, .deleted = held->mailbox_deleted};
	p->uids = shelf_uidset_new();
	shelf_buf_add_span(&p->name, held->name);
	return (uint32_t)u->nplaces - 1;
}

static int
collect(void *arg, const struct shelf_held *held)
{
	struct undelete *u = arg;

	if (held->gone_s < u->since_s ||
	    (u->mailbox != NULL && !shelf_span_eq(held->name, shelf_buf_span(&u->only))))
		return 0;
	if (u->nitems == u->items_cap) {
		u->items_cap = u->items_cap == 0 ? 256 : u->items_cap * 2;
		u->item = shelf_realloc(u->item, u->items_cap * sizeof *u->item);
	}
	u->item[u->nitems++] = (struct item){.uid = held->msg.uid, .place = place_of(u, held),
	    .gone_s = held->gone_s, .size = held->msg.size, .blob = held->msg.blob};
	return 0;
}

/* The stored scan, or a new one of the bytes. */
static int
load_message(struct undelete *u, uint64_t blob, struct shelf_arena *arena, struct mime_part **root_out)
{
	struct mime_scan *scan;
	struct shelf_body *body = NULL;
	struct shelf_rd *rd = NULL;
	struct shelf_span bytes;
	uint64_t at = 0;
	int rc = shelf_rd_begin(u->t->store, u->account, &rd);

	if (rc != 0)
		return rc;
	rc = shelf_msg_derived(rd, blob, arena, &bytes);
	shelf_rd_end(&rd);
	if (rc == 0 && mime_record_decode(bytes, arena, root_out) == 0)
		return 0;
	if ((rc = shelf_body_open(u->t->store, u->account, blob, &body)) != 0)
		return rc;
	scan = mime_scan_new(arena);
	while ((rc = shelf_body_read(body, at, SIZE_MAX, &bytes)) == 0 && bytes.len > 0) {
		mime_scan_feed(scan, bytes.data, bytes.len);
		at += bytes.len;
	}
	*root_out = mime_scan_end(&scan);
	shelf_body_close(&body);
	return rc;
}

static void
show_item(struct undelete *u, const struct item *it, struct shelf_buf *from, struct shelf_buf *subject)
{
	const struct place *p = &u->place[it->place];
	struct shelf_buf *b = &u->list_json;
	char when[32], size[32];

	tool_time_text(it->gone_s, when);
	if (!u->t->json) {
		tool_print("%s  %10s  %.*s  %s  %s", when, shelf_size_text(it->size, size, sizeof size),
		    (int)p->name.len, (const char *)p->name.data, shelf_buf_cstr(from),
		    shelf_buf_cstr(subject));
		return;
	}
	if (b->len > 0)
		shelf_buf_add_byte(b, ',');
	shelf_buf_add_byte(b, '{');
	tool_json_str(b, "mailbox", shelf_buf_span(&p->name));
	tool_json_u64(b, "uid", it->uid);
	tool_json_str(b, "removed", shelf_span_str(when));
	tool_json_u64(b, "bytes", it->size);
	tool_json_str(b, "from", shelf_buf_span(from));
	tool_json_str(b, "subject", shelf_buf_span(subject));
	shelf_buf_add_byte(b, '}');
}

/* 1: the message is wanted (and shown, in a dry run), 0: not. */
static int
choose(struct undelete *u, const struct item *it)
{
	bool stays_away = u->place[it->place].deleted && u->to == NULL;
	struct shelf_buf from = {0}, subject = {0};
	struct shelf_arena arena = {0};
	struct mime_part *root = NULL;
	int rc;

	if (u->from == NULL && u->subject == NULL && !u->dry_run)
		return 1;
	rc = load_message(u, it->blob, &arena, &root);
	tool_envelope_text(rc == 0 ? root : NULL, &from, &subject);
	if (rc == SHELF_ECORRUPT) /* one damaged message must not stop the rescue of the others */
		tool_say(u->t, "uid %u: its bytes are damaged: no sender, no subject", it->uid);
	if (rc == 0 || rc == SHELF_ECORRUPT)
		rc = (u->from == NULL ||
		         shelf_text_has(shelf_buf_span(&from), shelf_span_str(u->from))) &&
		    (u->subject == NULL ||
		        shelf_text_has(shelf_buf_span(&subject), shelf_span_str(u->subject)));
	else if (rc == SHELF_ENOMESSAGE)
		rc = 0; /* gone for good since it was listed */
	if (rc == 1 && u->dry_run && !stays_away)
		show_item(u, it, &from, &subject);
	shelf_buf_free(&from);
	shelf_buf_free(&subject);
	shelf_arena_free(&arena);
	return rc;
}

static int
choose_all(struct undelete *u)
{
	for (size_t i = 0; i < u->nitems; i++) {
		const struct item *it = &u->item[i];
		struct place *p = &u->place[it->place];
		int rc = choose(u, it);

		if (rc < 0)
			return rc;
		if (rc == 0)
			continue;
		if (p->deleted && u->to == NULL) {
			p->messages++;
			u->skipped++;
			continue;
		}
		shelf_uidset_add(p->uids, it->uid);
		p->messages++;
		p->bytes += it->size;
		u->messages++;
		u->bytes += it->size;
	}
	return 0;
}

/* ---- Putting back ------------------------------------------------------------------------------------- */

/* Asked beforehand for all of it, so that a rescue that cannot end does not begin. */
static int
check_quota(struct undelete *u)
{
	struct shelf_quota q;
	struct shelf_rd *rd = NULL;
	char needed[32];
	int rc = shelf_rd_begin(u->t->store, u->account, &rd);

	if (rc == 0)
		rc = shelf_quota_get(rd, &q);
	shelf_rd_end(&rd);
	if (rc != 0)
		return tool_fail(u->t, u->t->argv[0], rc);
	if ((q.limit_bytes == 0 || q.used_bytes + u->bytes <= q.limit_bytes) &&
	    (q.limit_messages == 0 || q.used_messages + u->messages <= q.limit_messages))
		return 0;
	tool_say(u->t, "%s: over quota with %llu more messages, %s: nothing was restored", u->t->argv[0],
	    (unsigned long long)u->messages, shelf_size_text(u->bytes, needed, sizeof needed));
	return EX_CANTCREAT;
}

/* The mailbox --to; made when it is not there. 0 without --to. */
static int
find_target(struct undelete *u, uint32_t *id_out)
{
	struct shelf_mailbox m;
	struct shelf_rd *rd = NULL;
	int rc;

	*id_out = 0;
	if (u->to == NULL)
		return 0;
	if ((rc = shelf_rd_begin(u->t->store, u->account, &rd)) != 0)
		return rc;
	if ((rc = shelf_mailbox_find(rd, shelf_buf_span(&u->target), &m)) == 0)
		*id_out = m.id;
	shelf_rd_end(&rd);
	if (rc == SHELF_ENOMAILBOX)
		rc = shelf_mailbox_create(u->t->store, u->account, shelf_buf_span(&u->target), 0, id_out);
	return rc;
}

static void
show_place(struct undelete *u, const struct place *p, uint64_t messages, uint64_t bytes)
{
	const struct shelf_buf *to = u->to != NULL ? &u->target : &p->name;
	char size[32];

	if (messages == 0)
		return;
	if (!u->t->json) {
		tool_print("%8llu messages %10s  %.*s%s%.*s", (unsigned long long)messages,
		    shelf_size_text(bytes, size, sizeof size), (int)p->name.len,
		    (const char *)p->name.data, u->to != NULL ? " -> " : "",
		    u->to != NULL ? (int)to->len : 0, (const char *)to->data);
		return;
	}
	if (u->json.len > 0)
		shelf_buf_add_byte(&u->json, ',');
	shelf_buf_add_byte(&u->json, '{');
	tool_json_str(&u->json, "mailbox", shelf_buf_span(&p->name));
	tool_json_str(&u->json, "to", shelf_buf_span(to));
	tool_json_u64(&u->json, "messages", messages);
	tool_json_u64(&u->json, "bytes", bytes);
	shelf_buf_add_byte(&u->json, '}');
}

static void
show_sum(struct undelete *u, uint64_t messages, uint64_t bytes)
{
	struct shelf_buf b = {0};
	char size[32];

	if (!u->t->json) {
		if (messages == 0)
			tool_print("nothing to restore");
		else
			tool_print("%s %llu messages, %s", u->dry_run ? "would restore" : "restored",
			    (unsigned long long)messages, shelf_size_text(bytes, size, sizeof size));
		return;
	}
	shelf_buf_add_byte(&b, '{');
	tool_json_bool(&b, "dry_run", u->dry_run);
	if (u->dry_run) {
		tool_json_key(&b, "list");
		shelf_buf_add_byte(&b, '[');
		shelf_buf_add_span(&b, shelf_buf_span(&u->list_json));
		shelf_buf_add_byte(&b, ']');
	}
	tool_json_key(&b, "mailboxes");
	shelf_buf_add_byte(&b, '[');
	shelf_buf_add_span(&b, shelf_buf_span(&u->json));
	shelf_buf_add_byte(&b, ']');
	tool_json_u64(&b, "messages", messages);
	tool_json_u64(&b, "bytes", bytes);
	tool_json_u64(&b, "skipped", u->skipped);
	shelf_buf_add_byte(&b, '}');
	tool_print_buf(&b);
}

static int
put_back(struct undelete *u)
{
	uint64_t messages = 0, bytes = 0;
	uint32_t target = 0;
	int rc = 0;

	if (!u->dry_run && u->messages > 0)
		rc = find_target(u, &target);
	for (size_t i = 0; i < u->nplaces && rc == 0; i++) {
		const struct place *p = &u->place[i];
		struct shelf_restored done = {.messages = p->messages, .bytes = p->bytes};

		if (shelf_uidset_count(p->uids) == 0)
			continue;
		if (!u->dry_run)
			rc = shelf_restore(u->t->store, u->account, p->id, p->uids, target, &done);
		show_place(u, p, done.messages, done.bytes);
		messages += done.messages;
		bytes += done.bytes;
	}
	show_sum(u, messages, bytes);
	return rc == 0 ? EX_OK : tool_fail(u->t, u->t->argv[0], rc);
}

static int
mailbox_is_there(struct undelete *u)
{
	struct shelf_mailbox m;
	struct shelf_rd *rd = NULL;
	int rc = shelf_rd_begin(u->t->store, u->account, &rd);

	if (rc == 0)
		rc = shelf_mailbox_find(rd, shelf_buf_span(&u->only), &m);
	shelf_rd_end(&rd);
	return rc;
}

static int
restore_messages(struct undelete *u)
{
	int rc = shelf_held_each(u->t->store, u->account, collect, u);

	if (rc == 0 && u->mailbox != NULL && u->nitems == 0) {
		if ((rc = mailbox_is_there(u)) == SHELF_ENOMAILBOX)
			tool_say(u->t, "--list-mailboxes shows those that were deleted");
		if (rc != 0)
			return tool_fail(u->t, u->mailbox, rc);
	}
	if (rc == 0)
		rc = choose_all(u);
	if (rc != 0)
		return tool_fail(u->t, u->t->argv[0], rc);
	for (size_t i = 0; i < u->nplaces && u->to == NULL; i++)
		if (u->place[i].deleted && u->place[i].messages > 0)
			tool_say(u->t, "%.*s: this mailbox was deleted; for %llu messages that were removed "
			               "from it before, bring it back (--whole-mailbox) or give --to NAME",
			    (int)u->place[i].name.len, (const char *)u->place[i].name.data,
			    (unsigned long long)u->place[i].messages);
	if (!u->dry_run && u->messages > 0 && (rc = check_quota(u)) != 0)
		return rc;
	rc = put_back(u);
	return rc == EX_OK && u->messages == 0 && u->skipped > 0 ? EX_NOINPUT : rc;
}

/* ---- Deleted mailboxes ---------------------------------------------------------------------------------- */

static int
list_one(void *arg, const struct shelf_deleted_mailbox *m)
{
	struct undelete *u = arg;
	char until[32], size[32];

	tool_time_text(m->due_s, until);
	if (!u->t->json) {
		tool_print("%8u messages %10s  until %s  %.*s", m->messages,
		    shelf_size_text(m->bytes, size, sizeof size), until, (int)m->name.len,
		    (const char *)m->name.data);
		return 0;
	}
	if (u->json.len > 0)
		shelf_buf_add_byte(&u->json, ',');
	shelf_buf_add_byte(&u->json, '{');
	tool_json_str(&u->json, "name", m->name);
	tool_json_u64(&u->json, "id", m->id);
	tool_json_u64(&u->json, "messages", m->messages);
	tool_json_u64(&u->json, "bytes", m->bytes);
	tool_json_str(&u->json, "until", shelf_span_str(until));
	shelf_buf_add_byte(&u->json, '}');
	return 0;
}

static int
list_mailboxes(struct undelete *u)
{
	struct shelf_buf b = {0};
	int rc = shelf_deleted_mailbox_each(u->t->store, u->account, list_one, u);

	if (rc != 0)
		return tool_fail(u->t, u->t->argv[0], rc);
	if (u->t->json) {
		shelf_buf_add_byte(&b, '[');
		shelf_buf_add_span(&b, shelf_buf_span(&u->json));
		shelf_buf_add_byte(&b, ']');
		tool_print_buf(&b);
	}
	return EX_OK;
}

/* Of several of that name the one deleted last, which the walk meets last. */
static int
find_deleted(void *arg, const struct shelf_deleted_mailbox *m)
{
	struct undelete *u = arg;

	if (!shelf_span_eq(m->name, shelf_buf_span(&u->only)))
		return 0;
	if (u->nplaces == 0) {
		u->place = shelf_zalloc(sizeof *u->place);
		u->nplaces = 1;
	}
	u->place->id = m->id;
	u->messages = m->messages;
	u->bytes = m->bytes;
	return 0;
}

static int
restore_mailbox(struct undelete *u)
{
	struct shelf_buf name = {0}, b = {0};
	char size[32];
	int rc = shelf_deleted_mailbox_each(u->t->store, u->account, find_deleted, u);

	if (rc == 0 && u->nplaces == 0)
		rc = SHELF_ENOMAILBOX;
	if (rc == 0 && u->dry_run)
		shelf_buf_add_span(&name, shelf_buf_span(u->to != NULL ? &u->target : &u->only));
	else if (rc == 0)
		rc = shelf_mailbox_restore(u->t->store, u->account, u->place->id,
		    shelf_buf_span(&u->target), &name);
	if (rc == SHELF_ENOMAILBOX)
		tool_say(u->t, "--list-mailboxes shows those that were deleted");
	if (rc == 0 && u->t->json) {
		shelf_buf_add_byte(&b, '{');
		tool_json_bool(&b, "dry_run", u->dry_run);
		tool_json_str(&b, "mailbox", shelf_buf_span(&u->only));
		tool_json_str(&b, "to", shelf_buf_span(&name));
		tool_json_u64(&b, "messages", u->messages);
		tool_json_u64(&b, "bytes", u->bytes);
		shelf_buf_add_byte(&b, '}');
		tool_print_buf(&b);
	} else if (rc == 0) {
		tool_print("%s %s: %llu messages, %s", u->dry_run ? "would bring back" : "brought back",
		    shelf_buf_cstr(&name), (unsigned long long)u->messages,
		    shelf_size_text(u->bytes, size, sizeof size));
	}
	shelf_buf_free(&name);
	return rc == 0 ? EX_OK : tool_fail(u->t, rc == SHELF_EEXISTS ? u->to : u->whole, rc);
}

/* ---- Arguments ------------------------------------------------------------------------------------------ */

static int
read_options(struct undelete *u)
{
	const struct tool_option options[] = {{"mailbox", TOOL_TEXT, &u->mailbox},
	    {"since", TOOL_TEXT, &u->since}, {"from", TOOL_TEXT, &u->from},
	    {"subject", TOOL_TEXT, &u->subject}, {"to", TOOL_TEXT, &u->to},
	    {"dry-run", TOOL_FLAG, &u->dry_run}, {"list-mailboxes", TOOL_FLAG, &u->list},
	    {"whole-mailbox", TOOL_TEXT, &u->whole}, {0}};
	int rc = tool_args(u->t, options, 1, 1);
	bool chooses = u->mailbox != NULL || u->since != NULL || u->from != NULL || u->subject != NULL;
	const char *only = u->whole != NULL ? u->whole : u->mailbox;

	if (rc != 0)
		return rc;
	if (u->list && (chooses || u->to != NULL || u->whole != NULL || u->dry_run))
		return tool_usage(u->t, "--list-mailboxes: stands alone");
	if (u->whole != NULL && chooses)
		return tool_usage(u->t, "--whole-mailbox: takes all of it, nothing can be chosen");
	if (u->since != NULL && !tool_since(u->since, &u->since_s))
		return tool_usage(u->t, "--since %s: neither a time ago (2h, 3d) nor a date (2026-11-21, "
		                        "2026-11-21 10:00)", u->since);
	if (only != NULL && shelf_mailbox_canonical(shelf_span_str(only), &u->only) != 0)
		return tool_usage(u->t, "%s: not a mailbox name", only);
	if (u->to != NULL && shelf_mailbox_canonical(shelf_span_str(u->to), &u->target) != 0)
		return tool_usage(u->t, "--to %s: not a mailbox name", u->to);
	return 0;
}

int
tool_undelete(struct tool *t)
{
	struct undelete u = {.t = t, .since_s = INT64_MIN};
	struct shelf_account a;
	int rc = read_options(&u);

	if (rc == 0)
		rc = tool_open_account(t, &a);
	if (rc == 0) {
		u.account = a.id;
		rc = u.list ? list_mailboxes(&u) :
		    u.whole != NULL ? restore_mailbox(&u) : restore_messages(&u);
	}
	for (size_t i = 0; i < u.nplaces; i++) {
		shelf_buf_free(&u.place[i].name);
		shelf_uidset_free(&u.place[i].uids);
	}
	free(u.place);
	free(u.item);
	shelf_buf_free(&u.only);
	shelf_buf_free(&u.target);
	shelf_buf_free(&u.list_json);
	shelf_buf_free(&u.json);
	return rc;
}
