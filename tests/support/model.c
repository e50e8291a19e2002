/*
 * model.c - the account of model.h: choosing operations and what they must do
 *
 * What must stay true: model_choose() and model_apply() depend on the model alone, never on a store or a
 * clock. Operations whose outcome the engine's headers leave open are not chosen.
 */
#include <stdio.h>
#include <stdlib.h>

#include <mailshelf/acl.h>
#include <mailshelf/mem.h>

#include "model.h"
#include "support.h"

enum { MESSAGES_AIM = 60, BIG_EVERY = 37 };

static const char *const names[] = {"INBOX", "a", "a/b", "a/b/c", "b", "Archive/2026", "Archive/\xc3\xbc",
    "x", "x/y", "Sent"};
enum { NNAMES = sizeof names / sizeof *names };

static uint64_t
mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

uint32_t
model_random(struct model *m, uint32_t below)
{
	m->random++;
	return (uint32_t)(mix(m->random) >> 16) % below;
}

struct model *
model_new(uint64_t seed, uint64_t limit_bytes, uint64_t limit_messages)
{
	struct model *m = SHELF_NEW(struct model);
	const struct model_op inbox = {.kind = MODEL_CREATE, .box = "INBOX"};

	m->random = mix(seed);
	m->salt = seed;
	m->limit_bytes = limit_bytes;
	m->limit_messages = limit_messages;
	if (model_apply(m, &inbox) != 0)
		support_fatal("a model without INBOX");
	m->ops = 0;
	return m;
}

static struct model_msg *
copy_msgs(const struct model_msg *msg, size_t count)
{
	struct model_msg *copy = shelf_zalloc(count * sizeof *copy);

	if (count > 0)
		memcpy(copy, msg, count * sizeof *copy);
	return copy;
}

struct model *
model_copy(const struct model *m)
{
	struct model *c = SHELF_NEW(struct model);

	*c = *m;
	c->box = shelf_zalloc(m->count * sizeof *c->box);
	for (size_t i = 0; i < m->count; i++) {
		c->box[i] = m->box[i];
		c->box[i].msg = copy_msgs(m->box[i].msg, m->box[i].count);
		c->box[i].held = copy_msgs(m->box[i].held, m->box[i].nheld);
	}
	return c;
}

static void
free_box(struct model_box *box)
{
	free(box->msg);
	free(box->held);
}

void
model_free(struct model **model)
{
	struct model *m = *model;

	if (m == NULL)
		return;
	*model = NULL;
	for (size_t i = 0; i < m->count; i++)
		free_box(&m->box[i]);
	free(m->box);
	free(m);
}

struct model_box *
model_find(struct model *m, const char *name)
{
	for (size_t i = 0; i < m->count; i++)
		if (strcmp(m->box[i].name, name) == 0)
			return &m->box[i];
	return NULL;
}

static bool
below(const char *name, const char *parent)
{
	size_t len = strlen(parent);

	return strncmp(name, parent, len) == 0 && name[len] == '/';
}

static bool
has_inferiors(const struct model *m, const char *name)
{
	for (size_t i = 0; i < m->count; i++)
		if (below(m->box[i].name, name))
			return true;
	return false;
}

/* ---- Contents ---------------------------------------------------------------------------------- */

uint64_t
model_size(const struct model *m, uint32_t content)
{
	uint64_t r = mix(m->salt * 1000003 + content);

	return content % BIG_EVERY == BIG_EVERY - 1 ? 200000 + r % 500000 : 150 + r % 3000;
}

void
model_content(const struct model *m, uint32_t content, struct shelf_buf *out)
{
	static const char words[16][8] = {"mail", "shelf", "of", "the", "letter", "and", "store", "day",
	    "read", "write", "one", "two", "a", "is", "\r\n", "."};
	size_t start = out->len, size = model_size(m, content);
	uint64_t r = mix(m->salt ^ content);

	shelf_buf_printf(out, "From: writer@example.org\r\nSubject: content %u of %llu\r\n\r\n", content,
	    (unsigned long long)m->salt);
	while (out->len - start < size) {
		r = mix(r);
		for (unsigned shift = 0; shift < 64; shift += 4)
			shelf_buf_printf(out, "%s ", words[r >> shift & 15]);
	}
	out->len = start + size - 2;
	shelf_buf_add_str(out, "\r\n");
}

const char *
model_keyword(unsigned n)
{
	static const char *const words[MODEL_KEYWORDS] = {"word-0", "word-1", "$Junk", "word-3", "word-4",
	    "a.long.keyword.name"};

	return words[n];
}

const char *
model_user(unsigned n)
{
	static const char *const users[MODEL_USERS] = {"guest", "-guest", "anyone"};

	return users[n];
}

const char *
model_note(unsigned n)
{
	static const char *const notes[MODEL_NOTES] = {"/private/comment", "/shared/comment", "/shared/vendor/x/y"};

	return notes[n];
}

/* Some are longer than a row. */
void
model_note_value(const struct model *m, uint32_t content, struct shelf_buf *out)
{
	uint64_t r = mix(m->salt + content), size = content % 5 == 4 ? r % 9000 : r % 60;

	for (uint64_t i = 0; i < size; i++)
		shelf_buf_add_byte(out, (uint8_t)((r >> i % 50) + i));
}

int64_t
model_date(uint32_t content)
{
	return 1700000000 + (int64_t)content * 61;
}

uint64_t
model_bytes(const struct model *m)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < m->count; i++)
		for (size_t k = 0; k < m->box[i].count; k++)
			bytes += model_size(m, m->box[i].msg[k].content);
	return bytes;
}

static size_t
messages(const struct model *m)
{
	size_t n = 0;

	for (size_t i = 0; i < m->count; i++)
		n += m->box[i].count;
	return n;
}

/* ---- Choosing ---------------------------------------------------------------------------------- */

static void
choose_name(struct model *m, char *out)
{
	snprintf(out, MODEL_NAME_MAX, "%s", names[model_random(m, NNAMES)]);
}

static struct model_box *
choose_box(struct model *m, char *out)
{
	/* INBOX twice as often: it is where most happens. */
	uint32_t i = model_random(m, (uint32_t)m->count + 1);
	struct model_box *box = i == m->count ? model_find(m, "INBOX") : &m->box[i];

	snprintf(out, MODEL_NAME_MAX, "%s", box->name);
	return box;
}

static void
choose_uids(struct model *m, const struct model_box *box, struct model_op *op)
{
	uint32_t of = 1 + model_random(m, 6);

	for (size_t i = 0; i < box->count && op->nuids < MODEL_UIDS_MAX - 1; i++)
		if (model_random(m, of) == 0)
			op->uid[op->nuids++] = box->msg[i].uid;
	/* One that is not there, or not yet. */
	if (model_random(m, 3) == 0)
		op->uid[op->nuids++] = box->uidnext + model_random(m, 3);
}

static void
choose_held(struct model *m, const struct model_box *box, struct model_op *op)
{
	uint32_t of = 1 + model_random(m, 4);

	for (size_t i = 0; i < box->nheld && op->nuids < MODEL_UIDS_MAX; i++)
		if (model_random(m, of) == 0)
			op->uid[op->nuids++] = box->held[i].uid;
}

static void
choose_contents(struct model *m, struct model_op *op, size_t n)
{
	for (op->ncontents = 0; op->ncontents < n; op->ncontents++) {
		bool again = m->contents > 0 && model_random(m, 5) == 0;

		/* Numbers are used up when the operation is applied, so that choosing twice is the same. */
		op->content[op->ncontents] = again ? model_random(m, m->contents)
		                                   : m->contents + (uint32_t)op->ncontents;
	}
}

static void
choose_flags(struct model *m, struct model_op *op)
{
	op->flags = model_random(m, SHELF_FLAGS_SYSTEM + 1);
	op->keywords = model_random(m, 2) == 0 ? 0 : 1u << model_random(m, MODEL_KEYWORDS);
}

/* One or several at once. */
static void
choose_notes(struct model *m, struct model_op *op)
{
	op->all = model_random(m, 4) == 0;
	op->flags = 1 + model_random(m, (1u << MODEL_NOTES) - 1);
	for (unsigned n = 0; n < MODEL_NOTES; n++)
		op->content[n] = model_random(m, 4) == 0 ? 0 : 1 + model_random(m, 1000);
}

static enum model_kind
choose_kind(struct model *m)
{
	static const unsigned char weights[] = {24, 12, 20, 14, 8, 8, 6, 3, 4, 6, 8, 6, 5, 5, 5, 6};
	uint32_t r = model_random(m, 140), kind = 0;

	while (r >= weights[kind])
		r -= weights[kind++];
	/* Grow to the size aimed at, then stay there. */
	if ((kind == MODEL_APPEND || kind == MODEL_COPY || kind == MODEL_RESTORE) && messages(m) > MESSAGES_AIM)
		kind = MODEL_EXPUNGE;
	return (enum model_kind)kind;
}

/* A rename whose outcome is beyond doubt: nothing is at or below the new name, and it is not below the
 * old one. */
static bool
rename_is_plain(const struct model *m, const struct model_op *op)
{
	if (below(op->to, op->box) || below(op->box, op->to) || strcmp(op->box, op->to) == 0)
		return false;
	for (size_t i = 0; i < m->count; i++)
		if (below(m->box[i].name, op->to))
			return false;
	return strcmp(op->to, "INBOX") != 0;
}

void
model_choose(struct model *m, struct model_op *op)
{
	struct model_box *box;

	memset(op, 0, sizeof *op);
	op->kind = choose_kind(m);
	box = choose_box(m, op->box);
	switch (op->kind) {
	case MODEL_APPEND:
		choose_contents(m, op, 1 + (model_random(m, 4) == 0) * model_random(m, MODEL_ITEMS_MAX));
		choose_flags(m, op);
		break;
	case MODEL_DELIVER:
		if (model_random(m, 3) == 0)
			choose_name(m, op->box);
		choose_contents(m, op, 1);
		break;
	case MODEL_FLAGS:
		choose_uids(m, box, op);
		choose_flags(m, op);
		op->how = (enum shelf_flag_op)model_random(m, 3);
		break;
	case MODEL_EXPUNGE:
		choose_uids(m, box, op);
		op->deleted_only = model_random(m, 3) != 0;
		op->all = model_random(m, 3) == 0;
		break;
	case MODEL_COPY:
	case MODEL_MOVE:
		choose_uids(m, box, op);
		choose_box(m, op->to);
		break;
	case MODEL_CREATE:
	case MODEL_DELETE:
		choose_name(m, op->box);
		break;
	case MODEL_RENAME:
		do {
			choose_box(m, op->box);
			choose_name(m, op->to);
		} while (!rename_is_plain(m, op));
		break;
	case MODEL_RESTORE:
		choose_held(m, box, op);
		break;
	case MODEL_REPLACE:
		op->uid[op->nuids++] = box->count > 0 && model_random(m, 8) != 0 ?
		    box->msg[model_random(m, (uint32_t)box->count)].uid : box->uidnext;
		choose_box(m, op->to);
		choose_contents(m, op, 1);
		choose_flags(m, op);
		break;
	case MODEL_FETCHED:
		choose_uids(m, box, op);
		op->number = 1 + model_random(m, 1000);
		break;
	case MODEL_HIDE:
		choose_uids(m, box, op);
		op->number = model_random(m, 3);
		break;
	case MODEL_UIDL:
		op->uid[op->nuids++] = box->count > 0 ? box->msg[model_random(m, (uint32_t)box->count)].uid : 1;
		/* Seldom one that another message has. */
		op->number = 1 + model_random(m, 4000);
		break;
	case MODEL_SETACL:
		op->number = model_random(m, MODEL_USERS);
		op->flags = model_random(m, 3) == 0 ? 0 : model_random(m, SHELF_RIGHTS_ALL + 1);
		break;
	case MODEL_NOTE:
		choose_notes(m, op);
		break;
	}
}

/* ---- Applying ---------------------------------------------------------------------------------- */

static struct model_box *
add_box(struct model *m, const char *name)
{
	struct model_box *box;
	size_t nearest = 0;

	m->box = shelf_realloc(m->box, (m->count + 1) * sizeof *m->box);
	box = &m->box[m->count++];
	*box = (struct model_box){.uidnext = 1};
	snprintf(box->name, sizeof box->name, "%s", name);
	/* Rights are those of the nearest one above. */
	for (size_t i = 0; i + 1 < m->count; i++) {
		const struct model_box *above = &m->box[i];

		if (!below(name, above->name) || strlen(above->name) < nearest)
			continue;
		nearest = strlen(above->name);
		memcpy(box->rights, above->rights, sizeof box->rights);
	}
	return box;
}

static void
add_msg(struct model_box *box, struct model_msg msg)
{
	box->msg = shelf_realloc(box->msg, (box->count + 1) * sizeof *box->msg);
	msg.uid = box->uidnext++;
	box->msg[box->count++] = msg;
}

static bool
chosen(const struct model_op *op, uint32_t uid)
{
	for (size_t i = 0; i < op->nuids; i++)
		if (op->uid[i] == uid)
			return true;
	return false;
}

static bool
over_quota(const struct model *m, uint64_t bytes, uint64_t count)
{
	return (m->limit_bytes != 0 && model_bytes(m) + bytes > m->limit_bytes) ||
	       (m->limit_messages != 0 && messages(m) + count > m->limit_messages);
}

static int
apply_append(struct model *m, struct model_box *box, const struct model_op *op)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < op->ncontents; i++)
		bytes += model_size(m, op->content[i]);
	if (over_quota(m, bytes, op->ncontents))
		return SHELF_EQUOTA;
	if (box == NULL)
		box = add_box(m, op->box);
	for (size_t i = 0; i < op->ncontents; i++) {
		add_msg(box, (struct model_msg){.content = op->content[i], .flags = op->flags,
		    .keywords = op->keywords});
		if (op->content[i] >= m->contents)
			m->contents = op->content[i] + 1;
	}
	return 0;
}

static int
apply_flags(struct model_box *box, const struct model_op *op)
{
	for (size_t i = 0; i < box->count; i++) {
		struct model_msg *msg = &box->msg[i];

		if (!chosen(op, msg->uid))
			continue;
		if (op->how == SHELF_FLAGS_ADD) {
			msg->flags |= op->flags;
			msg->keywords |= op->keywords;
		} else if (op->how == SHELF_FLAGS_REMOVE) {
			msg->flags &= ~op->flags;
			msg->keywords &= ~op->keywords;
		} else {
			msg->flags = op->flags;
			msg->keywords = op->keywords;
		}
	}
	return 0;
}

static void
hold(struct model_box *box, struct model_msg msg)
{
	size_t i = box->nheld++;

	msg.fetched = 0;
	msg.hidden = false;
	box->held = shelf_realloc(box->held, box->nheld * sizeof *box->held);
	for (; i > 0 && box->held[i - 1].uid > msg.uid; i--)
		box->held[i] = box->held[i - 1];
	box->held[i] = msg;
}

static int
apply_expunge(struct model_box *box, const struct model_op *op)
{
	size_t left = 0;

	for (size_t i = 0; i < box->count; i++) {
		struct model_msg msg = box->msg[i];
		bool out = (op->all || chosen(op, msg.uid)) &&
		           (!op->deleted_only || (msg.flags & SHELF_DELETED) != 0);

		if (out)
			hold(box, msg);
		else
			box->msg[left++] = msg;
	}
	box->count = left;
	return 0;
}

/* What leaves makes room for what comes. */
static int
apply_replace(struct model *m, struct model_box *box, const struct model_op *op)
{
	uint64_t bytes = model_size(m, op->content[0]), leaving;
	size_t i = 0;

	while (i < box->count && box->msg[i].uid != op->uid[0])
		i++;
	if (i == box->count)
		return SHELF_ENOMESSAGE;
	leaving = model_size(m, box->msg[i].content);
	if (m->limit_bytes != 0 && model_bytes(m) - leaving + bytes > m->limit_bytes)
		return SHELF_EQUOTA;
	hold(box, box->msg[i]);
	memmove(box->msg + i, box->msg + i + 1, (--box->count - i) * sizeof *box->msg);
	return apply_append(m, model_find(m, op->to), op);
}

static int
apply_restore(struct model *m, struct model_box *box, const struct model_op *op)
{
	uint64_t bytes = 0;
	size_t left = 0;

	for (size_t i = 0; i < box->nheld; i++)
		if (chosen(op, box->held[i].uid))
			bytes += model_size(m, box->held[i].content);
	if (op->nuids > 0 && over_quota(m, bytes, op->nuids))
		return SHELF_EQUOTA;
	for (size_t i = 0; i < box->nheld; i++) {
		struct model_msg msg = box->held[i];

		if (!chosen(op, msg.uid)) {
			box->held[left++] = msg;
			continue;
		}
		msg.flags &= ~(uint32_t)SHELF_DELETED;
		add_msg(box, msg);
	}
	box->nheld = left;
	return 0;
}

static int
apply_copy(struct model *m, const struct model_op *op)
{
	struct model_box *from = model_find(m, op->box), *to = model_find(m, op->to);
	size_t count = from->count, n = 0, left = 0;
	uint64_t bytes = 0;

	for (size_t i = 0; i < count; i++)
		if (chosen(op, from->msg[i].uid)) {
			bytes += model_size(m, from->msg[i].content);
			n++;
		}
	if (op->kind == MODEL_COPY && n > 0 && over_quota(m, bytes, n))
		return SHELF_EQUOTA;
	for (size_t i = 0; i < count; i++) {
		struct model_msg msg = from->msg[i];

		if (!chosen(op, msg.uid))
			continue;
		/* A copy is a new message to POP3. */
		if (op->kind == MODEL_COPY) {
			msg.fetched = msg.uidl = 0;
			msg.hidden = false;
		}
		add_msg(to, msg);
	}
	if (op->kind == MODEL_COPY)
		return 0;
	for (size_t i = 0; i < from->count; i++)
		if (i >= count || !chosen(op, from->msg[i].uid))
			from->msg[left++] = from->msg[i];
	from->count = left;
	return 0;
}

static int
apply_delete(struct model *m, const struct model_op *op)
{
	struct model_box *box = model_find(m, op->box);

	if (strcmp(op->box, "INBOX") == 0)
		return SHELF_ECANNOT;
	if (box == NULL)
		return has_inferiors(m, op->box) ? SHELF_ECHILDREN : SHELF_ENOMAILBOX;
	free_box(box);
	*box = m->box[--m->count];
	return 0;
}

static int
apply_rename(struct model *m, const struct model_op *op)
{
	struct model_box *box = model_find(m, op->box), *inbox;
	char rest[MODEL_NAME_MAX];
	size_t at;

	if (model_find(m, op->to) != NULL)
		return SHELF_EEXISTS;
	if (strcmp(op->box, "INBOX") == 0) {
		/* The mailbox goes with its uids; INBOX is a new one. Inferiors stay. */
		at = (size_t)(box - m->box);
		snprintf(box->name, sizeof box->name, "%s", op->to);
		inbox = add_box(m, "INBOX");
		memcpy(inbox->rights, m->box[at].rights, sizeof inbox->rights);
		memcpy(inbox->note, m->box[at].note, sizeof inbox->note);
		return 0;
	}
	for (size_t i = 0; i < m->count; i++) {
		if (&m->box[i] != box && !below(m->box[i].name, op->box))
			continue;
		snprintf(rest, sizeof rest, "%s", m->box[i].name + strlen(op->box));
		snprintf(m->box[i].name, sizeof m->box[i].name, "%.90s%.100s", op->to, rest);
		/* BOX's own name changes in this loop: inferiors are compared with op->box. */
	}
	return 0;
}

static int
apply_pop3(struct model_box *box, const struct model_op *op)
{
	for (size_t i = 0; i < box->count; i++) {
		struct model_msg *msg = &box->msg[i];

		if (!chosen(op, msg->uid))
			continue;
		if (op->kind == MODEL_HIDE)
			msg->hidden = op->number != 0;
		else if (op->number > msg->fetched)
			msg->fetched = op->number;
	}
	return 0;
}

/* A held message gives its unique-id up. */
static int
apply_uidl(struct model *m, struct model_box *box, const struct model_op *op)
{
	struct model_msg *of = NULL;

	for (size_t i = 0; i < box->count; i++)
		if (box->msg[i].uid == op->uid[0])
			of = &box->msg[i];
	if (of == NULL)
		return SHELF_ENOMESSAGE;
	for (size_t b = 0; b < m->count; b++)
		for (size_t i = 0; i < m->box[b].count; i++)
			if (m->box[b].msg[i].uidl == op->number && &m->box[b].msg[i] != of)
				return SHELF_EEXISTS;
	for (size_t b = 0; b < m->count; b++)
		for (size_t i = 0; i < m->box[b].nheld; i++)
			if (m->box[b].held[i].uidl == op->number)
				m->box[b].held[i].uidl = 0;
	of->uidl = op->number;
	return 0;
}

int
model_apply(struct model *m, const struct model_op *op)
{
	struct model_box *box = model_find(m, op->box);

	m->ops++;
	switch (op->kind) {
	case MODEL_APPEND:
	case MODEL_DELIVER:
		return apply_append(m, box, op);
	case MODEL_FLAGS:
		return apply_flags(box, op);
	case MODEL_EXPUNGE:
		return apply_expunge(box, op);
	case MODEL_COPY:
	case MODEL_MOVE:
		return apply_copy(m, op);
	case MODEL_CREATE:
		if (box != NULL)
			return SHELF_EEXISTS;
		add_box(m, op->box);
		return 0;
	case MODEL_DELETE:
		return apply_delete(m, op);
	case MODEL_RENAME:
		return apply_rename(m, op);
	case MODEL_RESTORE:
		return apply_restore(m, box, op);
	case MODEL_REPLACE:
		return apply_replace(m, box, op);
	case MODEL_FETCHED:
	case MODEL_HIDE:
		return apply_pop3(box, op);
	case MODEL_UIDL:
		return apply_uidl(m, box, op);
	case MODEL_SETACL:
		box->rights[op->number] = op->flags;
		return 0;
	case MODEL_NOTE:
		for (unsigned n = 0; n < MODEL_NOTES; n++)
			if ((op->flags >> n & 1) != 0)
				(op->all ? m->note : box->note)[n] = op->content[n];
		return 0;
	}
	return SHELF_EINVALID;
}

void
model_unhold(struct model *m, struct model_op *op, uint64_t mask)
{
	struct model_box *box = model_find(m, op->box);
	struct model_op lost = {0};
	size_t left = 0;

	for (size_t i = 0; i < op->nuids; i++) {
		if ((mask >> i & 1) != 0)
			op->uid[left++] = op->uid[i];
		else
			lost.uid[lost.nuids++] = op->uid[i];
	}
	op->nuids = left;
	left = 0;
	for (size_t i = 0; i < box->nheld; i++)
		if (!chosen(&lost, box->held[i].uid))
			box->held[left++] = box->held[i];
	box->nheld = left;
}

void
model_describe(const struct model_op *op, struct shelf_buf *out)
{
	static const char *const kinds[] = {"append", "deliver", "flags", "expunge", "copy", "move",
	    "create", "delete", "rename", "restore", "replace", "fetched", "hide", "uidl", "setacl", "note"};

	shelf_buf_printf(out, "%s %s", kinds[op->kind], op->box);
	if (op->to[0] != '\0')
		shelf_buf_printf(out, " to %s", op->to);
	if (op->nuids > 0 && !op->all)
		shelf_buf_add_str(out, " uids");
	for (size_t i = 0; i < op->nuids && !op->all; i++)
		shelf_buf_printf(out, " %u", op->uid[i]);
	for (size_t i = 0; i < op->ncontents; i++)
		shelf_buf_printf(out, " content %u", op->content[i]);
	if (op->kind == MODEL_NOTE)
		shelf_buf_printf(out, " %s%x become %u %u %u", op->all ? "of the account " : "", op->flags,
		    op->content[0], op->content[1], op->content[2]);
	if (op->kind == MODEL_FLAGS || op->kind == MODEL_APPEND || op->kind == MODEL_SETACL)
		shelf_buf_printf(out, " how %d flags %x keywords %x", (int)op->how, op->flags,
		    op->keywords);
	if (op->kind >= MODEL_FETCHED)
		shelf_buf_printf(out, " number %u", op->number);
	if (op->kind == MODEL_EXPUNGE)
		shelf_buf_printf(out, "%s%s", op->all ? " all" : "", op->deleted_only ? " deleted" : "");
}
