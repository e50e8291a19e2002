/*
 * rows.c - keys and values of the mail tables (docs/storage-format.md has the same tables)
 *
 * Numbers in values are little-endian; varint is LEB128; text is a varint length and bytes. Each value
 * opens with a format byte. Format 2 of a row is format 1 and what stands behind the +; it is what is
 * written.
 *
 * ACCT     key ""             3 | modseq 8 | next mailbox 4 | last uidvalidity 4 | mailboxes 4 |
 *                             limit bytes 8, messages 8 | used bytes 8, messages 8 | held bytes 8, messages 8 |
 *                             subscriptions without a mailbox 4
 *                             + stored of used 8, of it shared 8 | of held 8, 8 | rows noted 8 |
 *                             counted in the totals 1 | domain text
 *                             + format 3: limit mailboxes 8
 *                             + what changed last (changed.c)
 *                             + format 4: pairs varint, and for each number varint, value varint (EXTRA_...)
 * MBOX     mailbox            2 | flags 4 | uidvalidity 4 | uidnext 4 | highestmodseq 8 | exists 4 | unseen 4 |
 *                             deleted 4 | bytes 8 | deleted bytes 8 | recent from 4 | special use 4 |
 *                             keywords 4 | created 8 | name text
 *                             + stored 8, of it shared 8
 * MNAME    name, or the first 223 bytes, 0xff and half its SHA-256
 *                             1 | mailbox 4 (0: subscription only) | subscribed 1 | name text
 * MSG      mailbox uid        2 | internaldate 8 | zone 2 | savedate 8 | size 8 | blob 8 | email id 16
 *                             + stored 4 | found 1; format 3: + sent 8
 * GONE     mailbox uid        2 | gone at 8 | modseq 8 | flags 4 | keywords 4*8 | value of MSG without its first byte
 */
#include <openssl/sha.h>

#include <mailshelf/mem.h>

#include "mail.h"

enum {
	FORMAT = 1,
	FORMAT_SUMS = 2,
	FORMAT_MAILBOX_LIMIT = 3, /* of ACCT */
	FORMAT_EXTRAS = 4,        /* of ACCT */
	FORMAT_DATED = 3,         /* of MSG and GONE */
};
enum { NAME_KEY_WHOLE_MAX = 239, NAME_KEY_PREFIX = 223 };

static struct mail_key
key_of(const uint32_t *v, unsigned n)
{
	struct mail_key k = {.len = 4 * n};

	for (unsigned i = 0; i < n; i++)
		base_put_be32(k.bytes + 4 * i, v[i]);
	return k;
}

struct mail_key
mail_key1(uint32_t a)
{
	return key_of(&a, 1);
}

struct mail_key
mail_key2(uint32_t a, uint32_t b)
{
	return key_of((uint32_t[]){a, b}, 2);
}

struct mail_key
mail_key3(uint32_t a, uint32_t b, uint32_t c)
{
	return key_of((uint32_t[]){a, b, c}, 3);
}

struct mail_key
mail_name_key(struct shelf_span name)
{
	struct mail_key k;
	uint8_t sha[SHA256_DIGEST_LENGTH];

	if (name.len <= NAME_KEY_WHOLE_MAX) {
		memcpy(k.bytes, name.data, name.len);
		k.len = name.len;
		return k;
	}
	/* 0xff is in no UTF-8, so a cut name cannot be a whole one. */
	SHA256(name.data, name.len, sha);
	memcpy(k.bytes, name.data, NAME_KEY_PREFIX);
	k.bytes[NAME_KEY_PREFIX] = 0xff;
	memcpy(k.bytes + NAME_KEY_PREFIX + 1, sha, 16);
	k.len = NAME_KEY_PREFIX + 17;
	return k;
}

/* ---- One shape for all: get, check the format, decode; encode, put ------------------------------- */

static int
begin(struct shelf_span value, struct base_reader *r)
{
	*r = base_reader(value);
	if (base_get_le(r, 1) != FORMAT)
		return r->bad ? SHELF_ECORRUPT : SHELF_EVERSION;
	return 0;
}

/* The same for a row whose format 2 has sums. */
static int
begin_sums(struct shelf_span value, struct base_reader *r, bool *has_sums)
{
	uint64_t format;

	*r = base_reader(value);
	format = base_get_le(r, 1);
	*has_sums = format == FORMAT_SUMS;
	if (format != FORMAT && format != FORMAT_SUMS)
		return r->bad ? SHELF_ECORRUPT : SHELF_EVERSION;
	return 0;
}

static void
add_sums(struct shelf_buf *b, const struct mail_sums *s)
{
	base_add_le(b, s->stored, 8);
	base_add_le(b, s->shared, 8);
}

static void
get_sums(struct base_reader *r, struct mail_sums *s)
{
	s->stored = base_get_le(r, 8);
	s->shared = base_get_le(r, 8);
}

static int
get(struct kv_view *view, enum kv_table table, struct mail_key key, int missing,
    struct shelf_span *value)
{
	int rc = kv_get(view, table, mail_key_span(&key), value);

	return rc == SHELF_EMISSING ? missing : rc;
}

static int
put(struct kv_txn *txn, enum kv_table table, struct mail_key key, struct shelf_buf *value)
{
	int rc = kv_put(txn, table, mail_key_span(&key), shelf_buf_span(value));

	shelf_buf_free(value);
	return rc;
}

/* ---- ACCT ------------------------------------------------------------------------------------------ */

/* Numbers of the pairs of format 4, which stand ascending; what is 0 is not there. */
enum { EXTRA_WARN_AT = 1, EXTRA_LEVEL = EXTRA_WARN_AT + SHELF_WARNING_LEVELS, EXTRA_TOLD,
       EXTRA_FULL_SINCE = EXTRA_TOLD + SHELF_WARNING_WAYS, EXTRA_FOLLOWS, EXTRA_NEVER, EXTRA_LARGEST, EXTRAS_END };

static void
extras_of(const struct mail_acct *a, uint64_t *value)
{
	for (unsigned i = 0; i < SHELF_WARNING_LEVELS; i++)
		value[EXTRA_WARN_AT + i] = a->warn.at[i];
	value[EXTRA_LEVEL] = a->warn.level;
	for (unsigned i = 0; i < SHELF_WARNING_WAYS; i++)
		value[EXTRA_TOLD + i] = a->warn.told[i];
	value[EXTRA_FULL_SINCE] = a->full_since_s;
	value[EXTRA_FOLLOWS] = a->follows;
	value[EXTRA_NEVER] = a->never;
	value[EXTRA_LARGEST] = a->largest;
}

static void
encode_extras(struct shelf_buf *b, const struct mail_acct *a)
{
	uint64_t value[EXTRAS_END] = {0};
	unsigned n = 0;

	extras_of(a, value);
	for (unsigned i = 1; i < EXTRAS_END; i++)
		n += value[i] != 0;
	base_add_varint(b, n);
	for (unsigned i = 1; i < EXTRAS_END; i++) {
		if (value[i] == 0)
			continue;
		base_add_varint(b, i);
		base_add_varint(b, value[i]);
	}
}

static int
decode_extras(struct base_reader *r, struct mail_acct *a)
{
	uint64_t value[EXTRAS_END] = {0}, n = base_get_varint(r), last = 0;

	for (; n > 0 && !r->bad; n--) {
		uint64_t number = base_get_varint(r);

		if (r->bad || number <= last)
			return SHELF_ECORRUPT;
		if (number >= EXTRAS_END)
			return SHELF_EVERSION; /* of a later release: it would get lost */
		value[number] = base_get_varint(r);
		last = number;
	}
	for (unsigned i = 0; i < SHELF_WARNING_LEVELS; i++)
		a->warn.at[i] = (uint8_t)value[EXTRA_WARN_AT + i];
	a->warn.level = (uint8_t)value[EXTRA_LEVEL];
	for (unsigned i = 0; i < SHELF_WARNING_WAYS; i++)
		a->warn.told[i] = (uint8_t)value[EXTRA_TOLD + i];
	a->full_since_s = value[EXTRA_FULL_SINCE];
	a->follows = (uint8_t)value[EXTRA_FOLLOWS];
	a->never = (uint8_t)value[EXTRA_NEVER];
	a->largest = value[EXTRA_LARGEST];
	return a->warn.level > SHELF_WARNING_LEVELS ? SHELF_ECORRUPT : 0;
}

int
mail_acct_get(struct kv_view *view, struct mail_acct *a)
{
	struct shelf_span value;
	int rc = get(view, KV_ACCT, (struct mail_key){.len = 0}, SHELF_ENOACCOUNT, &value);

	return rc != 0 ? rc : mail_acct_decode(value, a);
}

int
mail_acct_decode(struct shelf_span value, struct mail_acct *a)
{
	struct shelf_span domain;
	struct base_reader r;
	bool has_sums = true, has_extras = value.len > 0 && value.data[0] == FORMAT_EXTRAS;
	bool has_limit = has_extras || (value.len > 0 && value.data[0] == FORMAT_MAILBOX_LIMIT);
	int rc = 0;

	r = base_reader(value);
	if (has_limit)
		base_get_le(&r, 1);
	else
		rc = begin_sums(value, &r, &has_sums);
	if (rc != 0)
		return rc;
	*a = (struct mail_acct){.warn = mail_warn_default};
	a->modseq = base_get_le(&r, 8);
	a->next_mailbox = (uint32_t)base_get_le(&r, 4);
	a->last_uidvalidity = (uint32_t)base_get_le(&r, 4);
	a->mailboxes = (uint32_t)base_get_le(&r, 4);
	a->quota.limit_bytes = base_get_le(&r, 8);
	a->quota.limit_messages = base_get_le(&r, 8);
	a->quota.used_bytes = base_get_le(&r, 8);
	a->quota.used_messages = base_get_le(&r, 8);
	a->quota.held_bytes = base_get_le(&r, 8);
	a->quota.held_messages = base_get_le(&r, 8);
	a->loose = (uint32_t)base_get_le(&r, 4);
	a->changed.floor = a->modseq;
	if (!has_sums)
		return r.bad ? SHELF_ECORRUPT : 0;
	get_sums(&r, &a->used);
	get_sums(&r, &a->held);
	a->noted = base_get_le(&r, 8);
	a->counted = base_get_le(&r, 1) != 0;
	domain = base_get_text(&r);
	if (has_limit)
		a->quota.limit_mailboxes = base_get_le(&r, 8);
	if (has_limit && (rc = mail_changed_decode(&r, a)) != 0)
		return rc;
	if (has_extras && (rc = decode_extras(&r, a)) != 0)
		return rc;
	if (r.bad || base_left(&r) != 0 || domain.len >= sizeof(a->domain))
		return SHELF_ECORRUPT;
	memcpy(a->domain, domain.data, domain.len);
	return 0;
}

void
mail_acct_encode(struct shelf_buf *b, const struct mail_acct *a)
{
	base_add_le(b, FORMAT_EXTRAS, 1);
	base_add_le(b, a->modseq, 8);
	base_add_le(b, a->next_mailbox, 4);
	base_add_le(b, a->last_uidvalidity, 4);
	base_add_le(b, a->mailboxes, 4);
	base_add_le(b, a->quota.limit_bytes, 8);
	base_add_le(b, a->quota.limit_messages, 8);
	base_add_le(b, a->quota.used_bytes, 8);
	base_add_le(b, a->quota.used_messages, 8);
	base_add_le(b, a->quota.held_bytes, 8);
	base_add_le(b, a->quota.held_messages, 8);
	base_add_le(b, a->loose, 4);
	add_sums(b, &a->used);
	add_sums(b, &a->held);
	base_add_le(b, a->noted, 8);
	base_add_le(b, a->counted, 1);
	base_add_text(b, shelf_span_str(a->domain));
	base_add_le(b, a->quota.limit_mailboxes, 8);
	mail_changed_encode(b, a);
	encode_extras(b, a);
}

int
mail_acct_put(struct kv_txn *txn, const struct mail_acct *a)
{
	struct shelf_buf b = {0};

	mail_acct_encode(&b, a);
	return put(txn, KV_ACCT, (struct mail_key){.len = 0}, &b);
}

/* ---- MBOX ------------------------------------------------------------------------------------------ */

int
mail_mbox_decode(struct shelf_span value, struct mail_mbox *m)
{
	struct base_reader r;
	bool has_sums;
	int rc = begin_sums(value, &r, &has_sums);

	if (rc != 0)
		return rc;
	m->flags = (uint32_t)base_get_le(&r, 4);
	m->uidvalidity = (uint32_t)base_get_le(&r, 4);
	m->uidnext = (uint32_t)base_get_le(&r, 4);
	m->highestmodseq = base_get_le(&r, 8);
	m->exists = (uint32_t)base_get_le(&r, 4);
	m->unseen = (uint32_t)base_get_le(&r, 4);
	m->deleted = (uint32_t)base_get_le(&r, 4);
	m->bytes = base_get_le(&r, 8);
	m->deleted_bytes = base_get_le(&r, 8);
	m->recent_from = (uint32_t)base_get_le(&r, 4);
	m->special_use = (uint32_t)base_get_le(&r, 4);
	m->keywords = (uint32_t)base_get_le(&r, 4);
	m->created_s = (int64_t)base_get_le(&r, 8);
	m->name = base_get_text(&r);
	m->sums = (struct mail_sums){0};
	if (has_sums)
		get_sums(&r, &m->sums);
	/* What is counted on further up: keyword numbers index columns, uid 0 means none. */
	return r.bad || m->keywords > SHELF_KEYWORDS_MAX || m->uidnext == 0 ? SHELF_ECORRUPT : 0;
}

int
mail_mbox_get(struct kv_view *view, uint32_t id, struct mail_mbox *m)
{
	struct shelf_span value;
	int rc = get(view, KV_MBOX, mail_key1(id), SHELF_ENOMAILBOX, &value);

	m->id = id;
	return rc != 0 ? rc : mail_mbox_decode(value, m);
}

void
mail_mbox_encode(struct shelf_buf *b, const struct mail_mbox *m)
{
	base_add_le(b, FORMAT_SUMS, 1);
	base_add_le(b, m->flags, 4);
	base_add_le(b, m->uidvalidity, 4);
	base_add_le(b, m->uidnext, 4);
	base_add_le(b, m->highestmodseq, 8);
	base_add_le(b, m->exists, 4);
	base_add_le(b, m->unseen, 4);
	base_add_le(b, m->deleted, 4);
	base_add_le(b, m->bytes, 8);
	base_add_le(b, m->deleted_bytes, 8);
	base_add_le(b, m->recent_from, 4);
	base_add_le(b, m->special_use, 4);
	base_add_le(b, m->keywords, 4);
	base_add_le(b, (uint64_t)m->created_s, 8);
	base_add_text(b, m->name);
	add_sums(b, &m->sums);
}

int
mail_mbox_put(struct kv_txn *txn, const struct mail_mbox *m)
{
	struct shelf_buf b = {0};

	mail_mbox_encode(&b, m);
	return put(txn, KV_MBOX, mail_key1(m->id), &b);
}

/* ---- MNAME ----------------------------------------------------------------------------------------- */

int
mail_name_decode(struct shelf_span value, struct mail_name *n)
{
	struct base_reader r;
	int rc = begin(value, &r);

	if (rc != 0)
		return rc;
	n->id = (uint32_t)base_get_le(&r, 4);
	n->subscribed = base_get_le(&r, 1) != 0;
	n->name = base_get_text(&r);
	return r.bad ? SHELF_ECORRUPT : 0;
}

int
mail_name_get(struct kv_view *view, struct shelf_span name, struct mail_name *n)
{
	struct shelf_span value;
	int rc = get(view, KV_MNAME, mail_name_key(name), SHELF_ENOMAILBOX, &value);

	return rc != 0 ? rc : mail_name_decode(value, n);
}

int
mail_name_put(struct mail_change *c, const struct mail_name *n)
{
	struct mail_key key = mail_name_key(n->name);
	struct mail_name old = {0};
	struct shelf_buf b = {0};
	int rc = mail_name_get(kv_txn_view(c->txn), n->name, &old);
	bool loose = n->id == 0 && n->subscribed;

	if (rc != 0 && rc != SHELF_ENOMAILBOX)
		return rc;
	if (n->id != 0 || loose || (rc == 0 && old.id == 0))
		mail_changed_note(c, n->id);
	if (rc == 0 && old.id == 0)
		c->acct.loose--;
	if (loose && c->acct.loose >= SHELF_MAILBOXES_MAX)
		loose = false;
	c->acct.loose += loose;
	c->dirty = true;
	if (n->id == 0 && !loose) {
		rc = kv_del(c->txn, KV_MNAME, mail_key_span(&key));
		return rc == SHELF_EMISSING ? 0 : rc;
	}
	base_add_le(&b, FORMAT, 1);
	base_add_le(&b, n->id, 4);
	base_add_le(&b, n->subscribed, 1);
	base_add_text(&b, n->name);
	return put(c->txn, KV_MNAME, key, &b);
}

/* ---- MSG, GONE ------------------------------------------------------------------------------------- */

static void
add_msg(struct shelf_buf *b, const struct mail_msg *m)
{
	base_add_le(b, (uint64_t)m->internaldate_s, 8);
	base_add_le(b, (uint16_t)m->zone_min, 2);
	base_add_le(b, (uint64_t)m->savedate_s, 8);
	base_add_le(b, m->size, 8);
	base_add_le(b, m->blob, 8);
	shelf_buf_add(b, m->email_id, 16);
	if (!m->noted && !m->dated)
		return;
	base_add_le(b, m->cost.bytes, 4);
	base_add_le(b, m->cost.found, 1);
	if (m->dated)
		base_add_le(b, (uint64_t)m->sent_s, 8);
}

static uint8_t
format_of(const struct mail_msg *m)
{
	return m->dated ? FORMAT_DATED : m->noted ? FORMAT_SUMS : FORMAT;
}

static int
begin_msg(struct shelf_span value, struct base_reader *r, uint8_t *format)
{
	*r = base_reader(value);
	*format = (uint8_t)base_get_le(r, 1);
	if (r->bad)
		return SHELF_ECORRUPT;
	return *format == FORMAT || *format == FORMAT_SUMS || *format == FORMAT_DATED ? 0 : SHELF_EVERSION;
}

static void
get_msg(struct base_reader *r, struct mail_msg *m, uint8_t format)
{
	struct shelf_span id;

	m->internaldate_s = (int64_t)base_get_le(r, 8);
	m->zone_min = (int16_t)base_get_le(r, 2);
	m->savedate_s = (int64_t)base_get_le(r, 8);
	m->size = base_get_le(r, 8);
	m->blob = base_get_le(r, 8);
	id = base_get_bytes(r, 16);
	if (!r->bad)
		memcpy(m->email_id, id.data, 16);
	m->noted = format != FORMAT;
	m->dated = format == FORMAT_DATED;
	m->cost = (struct blob_cost){0};
	m->sent_s = INT64_MIN;
	if (!m->noted)
		return;
	m->cost.bytes = (uint32_t)base_get_le(r, 4);
	m->cost.found = base_get_le(r, 1) != 0;
	if (m->dated)
		m->sent_s = (int64_t)base_get_le(r, 8);
}

int
mail_msg_decode(struct shelf_span value, struct mail_msg *m)
{
	struct base_reader r;
	uint8_t format;
	int rc = begin_msg(value, &r, &format);

	if (rc != 0)
		return rc;
	get_msg(&r, m, format);
	return r.bad || base_left(&r) != 0 ? SHELF_ECORRUPT : 0;
}

int
mail_msg_get(struct kv_view *view, uint32_t mailbox, uint32_t uid, struct mail_msg *m)
{
	struct shelf_span value;
	int rc = get(view, KV_MSG, mail_key2(mailbox, uid), SHELF_ENOMESSAGE, &value);

	return rc != 0 ? rc : mail_msg_decode(value, m);
}

void
mail_msg_encode(struct shelf_buf *b, const struct mail_msg *m)
{
	base_add_le(b, format_of(m), 1);
	add_msg(b, m);
}

int
mail_msg_put(struct kv_txn *txn, uint32_t mailbox, uint32_t uid, const struct mail_msg *m)
{
	struct shelf_buf b = {0};

	mail_msg_encode(&b, m);
	return put(txn, KV_MSG, mail_key2(mailbox, uid), &b);
}

int
mail_gone_decode(struct shelf_span value, struct mail_gone *g)
{
	struct base_reader r;
	uint8_t format;
	int rc = begin_msg(value, &r, &format);

	if (rc != 0)
		return rc;
	g->gone_s = (int64_t)base_get_le(&r, 8);
	g->modseq = base_get_le(&r, 8);
	g->flags = (uint32_t)base_get_le(&r, 4);
	for (int i = 0; i < 4; i++)
		g->keywords[i] = base_get_le(&r, 8);
	get_msg(&r, &g->msg, format);
	return r.bad || base_left(&r) != 0 ? SHELF_ECORRUPT : 0;
}

int
mail_gone_get(struct kv_view *view, uint32_t mailbox, uint32_t uid, struct mail_gone *g)
{
	struct shelf_span value;
	int rc = get(view, KV_GONE, mail_key2(mailbox, uid), SHELF_ENOMESSAGE, &value);

	return rc != 0 ? rc : mail_gone_decode(value, g);
}

void
mail_gone_encode(struct shelf_buf *b, const struct mail_gone *g)
{
	base_add_le(b, format_of(&g->msg), 1);
	base_add_le(b, (uint64_t)g->gone_s, 8);
	base_add_le(b, g->modseq, 8);
	base_add_le(b, g->flags, 4);
	for (int i = 0; i < 4; i++)
		base_add_le(b, g->keywords[i], 8);
	add_msg(b, &g->msg);
}

int
mail_gone_put(struct kv_txn *txn, uint32_t mailbox, uint32_t uid, const struct mail_gone *g)
{
	struct shelf_buf b = {0};

	mail_gone_encode(&b, g);
	return put(txn, KV_GONE, mail_key2(mailbox, uid), &b);
}
