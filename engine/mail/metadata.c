/*
 * metadata.c - annotations of mailboxes and of the account
 *
 * key      mailbox u32 (0: the account) | name | 0 | part u16
 * value    part 0: 2 | bytes of the whole value 4 | modseq 8 | the first of them; others: what follows, PART_BYTES
 *          each. Format 1 has no modseq.
 */
#include <mailshelf/acl.h>
#include <mailshelf/mem.h>
#include <mailshelf/metadata.h>

#include "mail.h"

enum { FORMAT = 2, PART_BYTES = 4000, LONG_BYTES = 4 * PART_BYTES };

static struct mail_key
key_of(uint32_t mailbox, struct shelf_span name, uint32_t part)
{
	struct mail_key key = mail_key1(mailbox);

	memcpy(key.bytes + 4, name.data, name.len);
	key.len = 4 + name.len;
	key.bytes[key.len++] = 0;
	key.bytes[key.len++] = (uint8_t)(part >> 8);
	key.bytes[key.len++] = (uint8_t)part;
	return key;
}

/* ---- Names --------------------------------------------------------------------------------------- */

static bool
begins(const char *name, const char *with)
{
	return strncmp(name, with, strlen(with)) == 0;
}

static unsigned
levels_of(const char *name)
{
	unsigned n = 0;

	for (; *name != '\0'; name++)
		n += *name == '/';
	return n;
}

int
shelf_metadata_name(struct shelf_span name, bool whole, char *out)
{
	unsigned least;

	if (name.len < 2 || name.len > SHELF_METADATA_NAME_MAX || name.data[0] != '/')
		return SHELF_ENAME;
	for (size_t i = 0; i < name.len; i++) {
		uint8_t c = name.data[i];

		if (c < ' ' || c > '~' || c == '%' || c == '*' ||
		    (c == '/' && (i + 1 == name.len || name.data[i + 1] == '/')))
			return SHELF_ENAME;
		out[i] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
	}
	out[name.len] = '\0';
	if (!whole)
		return 0;
	/* RFC 5464 3.2: at least two components, four below "vendor". */
	least = begins(out, "/shared/vendor/") || begins(out, "/private/vendor/") ||
			strcmp(out, "/shared/vendor") == 0 || strcmp(out, "/private/vendor") == 0
		    ? 4 : 2;
	return (begins(out, "/shared/") || begins(out, "/private/")) && levels_of(out) >= least ? 0 : SHELF_ENAME;
}

/* ---- Rows ---------------------------------------------------------------------------------------- */

int
mail_metadata_decode(struct shelf_span key, struct shelf_span value, struct mail_metadata *out)
{
	struct base_reader r = base_reader(value);

	if (key.len < 4 + 2 + 3 || key.data[key.len - 3] != 0)
		return SHELF_ECORRUPT;
	*out = (struct mail_metadata){.mailbox = base_get_be32(key.data),
				      .name = shelf_span(key.data + 4, key.len - 7),
				      .part = (uint32_t)key.data[key.len - 2] << 8 | key.data[key.len - 1]};
	if (memchr(out->name.data, 0, out->name.len) != NULL)
		return SHELF_ECORRUPT;
	if (out->part == 0) {
		uint64_t format = base_get_le(&r, 1);

		if (format == 0 || format > FORMAT)
			return r.bad ? SHELF_ECORRUPT : SHELF_EVERSION;
		out->size = (uint32_t)base_get_le(&r, 4);
		if (format > 1)
			out->modseq = base_get_le(&r, 8);
	}
	out->bytes = base_get_bytes(&r, base_left(&r));
	return r.bad ? SHELF_ECORRUPT : 0;
}

int
shelf_metadata_each(struct shelf_rd *rd, uint32_t mailbox, shelf_metadata_fn *fn, void *arg)
{
	struct mail_key prefix = mail_key1(mailbox);
	struct shelf_span key, value;
	struct mail_metadata m;
	struct kv_scan scan;
	int rc = kv_scan_open(rd->view, KV_NOTE, mail_key_span(&prefix), shelf_span(NULL, 0), &scan);

	if (rc != 0)
		return rc;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1)
		if ((rc = mail_metadata_decode(key, value, &m)) != 0 ||
		    (m.part == 0 && (rc = fn(arg, m.name, m.size)) != 0))
			break;
	kv_scan_close(&scan);
	return rc;
}

int
shelf_metadata_versions(struct shelf_rd *rd, uint32_t mailbox, shelf_metadata_version_fn *fn, void *arg)
{
	struct mail_key prefix = mail_key1(mailbox), from = {0};
	struct shelf_span within = mailbox == SHELF_METADATA_ALL ? shelf_span(NULL, 0) : mail_key_span(&prefix);
	struct shelf_span key, value;
	struct mail_metadata m;
	struct kv_scan scan;
	int rc = kv_scan_open(rd->view, KV_NOTE, within, shelf_span(NULL, 0), &scan);

	if (rc != 0)
		return rc;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1) {
		if ((rc = mail_metadata_decode(key, value, &m)) != 0 ||
		    (m.part == 0 && (rc = fn(arg, m.mailbox, m.name, m.modseq)) != 0))
			break;
		if (m.part > 0 || m.size <= LONG_BYTES)
			continue;
		from = key_of(m.mailbox, m.name, UINT16_MAX); /* behind its last part */
		kv_scan_close(&scan);
		if ((rc = kv_scan_open(rd->view, KV_NOTE, within, mail_key_span(&from), &scan)) != 0)
			return rc;
	}
	kv_scan_close(&scan);
	return rc;
}

static int
read_value(struct kv_view *view, uint32_t mailbox, struct shelf_span name, struct shelf_buf *out)
{
	uint32_t part = 0, size = 0;

	shelf_buf_clear(out);
	do {
		struct mail_key key = key_of(mailbox, name, part);
		struct mail_metadata m;
		struct shelf_span value;
		int rc = kv_get(view, KV_NOTE, mail_key_span(&key), &value);

		if (rc == 0)
			rc = mail_metadata_decode(mail_key_span(&key), value, &m);
		if (rc != 0)
			return rc == SHELF_EMISSING && part > 0 ? SHELF_ECORRUPT : rc;
		if (part == 0)
			size = m.size;
		shelf_buf_add_span(out, m.bytes);
		part++;
	} while (out->len < size && part <= UINT16_MAX);
	return out->len == size ? 0 : SHELF_ECORRUPT;
}

int
shelf_metadata_get(struct shelf_rd *rd, uint32_t mailbox, const char *name, struct shelf_buf *out)
{
	return read_value(rd->view, mailbox, shelf_span_str(name), out);
}

/* ---- Changing ------------------------------------------------------------------------------------ */

struct setting {
	struct shelf_store *store;
	uint32_t mailbox;
	const struct shelf_metadata *list; /* names are folded */
	size_t n;
	uint64_t modseq; /* out */
	const struct shelf_asker *asker;
};

static int
remove_value(struct kv_txn *txn, uint32_t mailbox, struct shelf_span name, bool *was)
{
	int rc = 0;

	*was = false;
	for (uint32_t part = 0; rc == 0 && part <= UINT16_MAX; part++) {
		struct mail_key key = key_of(mailbox, name, part);

		rc = kv_del(txn, KV_NOTE, mail_key_span(&key));
		*was = *was || rc == 0;
	}
	return rc == SHELF_EMISSING ? 0 : rc;
}

static int
put_value(struct mail_change *c, uint32_t mailbox, struct shelf_span name, struct shelf_span bytes)
{
	struct shelf_buf value = {0};
	size_t at = 0;
	int rc = 0;

	for (uint32_t part = 0; rc == 0 && (part == 0 || at < bytes.len); part++) {
		size_t n = bytes.len - at < PART_BYTES ? bytes.len - at : PART_BYTES;
		struct mail_key key = key_of(mailbox, name, part);

		shelf_buf_clear(&value);
		if (part == 0) {
			base_add_le(&value, FORMAT, 1);
			base_add_le(&value, bytes.len, 4);
			base_add_le(&value, mail_change_modseq(c), 8);
		}
		shelf_buf_add(&value, bytes.data + at, n);
		at += n;
		rc = kv_put(c->txn, KV_NOTE, mail_key_span(&key), shelf_buf_span(&value));
	}
	shelf_buf_free(&value);
	return rc;
}

/* Entries of a mailbox. */
static int
count_entries(struct kv_view *view, uint32_t mailbox, uint64_t *out)
{
	struct mail_key prefix = mail_key1(mailbox);
	struct shelf_span key, value;
	struct kv_scan scan;
	int rc = kv_scan_open(view, KV_NOTE, mail_key_span(&prefix), shelf_span(NULL, 0), &scan);

	*out = 0;
	if (rc != 0)
		return rc;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1)
		*out += key.len > 2 && key.data[key.len - 1] == 0 && key.data[key.len - 2] == 0;
	kv_scan_close(&scan);
	return rc;
}

static int
set_all(struct mail_change *c, struct setting *s)
{
	bool adds = false;
	uint64_t entries;
	int rc = 0;

	for (size_t i = 0; i < s->n && rc == 0; i++) {
		const struct shelf_metadata *m = &s->list[i];
		bool was;

		if ((rc = remove_value(c->txn, s->mailbox, m->name, &was)) == 0 && m->value.data != NULL) {
			adds = adds || !was;
			rc = put_value(c, s->mailbox, m->name, m->value);
		}
	}
	if (rc != 0 || !adds || (rc = count_entries(kv_txn_view(c->txn), s->mailbox, &entries)) != 0)
		return rc;
	return entries > shelf_setting_get(s->store, SHELF_SETTING_METADATA_ENTRIES) ? SHELF_ELIMIT : 0;
}

static int
set(struct kv_txn *txn, void *arg)
{
	struct setting *s = arg;
	struct mail_change c;
	struct mail_mbox m = {0};
	int rc;

	if ((rc = mail_change_begin(&c, s->store, txn)) != 0 ||
	    (s->mailbox != 0 && (rc = mail_mbox_get(kv_txn_view(txn), s->mailbox, &m)) != 0))
		return rc;
	if ((m.flags & MAIL_MBOX_DELETED) != 0)
		return SHELF_ENOMAILBOX;
	if ((s->mailbox != 0 && (rc = mail_may(txn, s->mailbox, s->asker)) != 0) || (rc = set_all(&c, s)) != 0)
		return rc;
	if (s->mailbox != 0 && kv_txn_writes(txn) > 0)
		mail_changed_note(&c, s->mailbox);
	rc = mail_change_end(&c);
	s->modseq = c.modseq;
	return rc;
}

int
shelf_metadata_set(struct shelf_store *store, uint32_t account, uint32_t mailbox,
		   const struct shelf_metadata *list, size_t n, uint64_t *modseq_out)
{
	return shelf_metadata_set_for(store, NULL, account, mailbox, list, n, modseq_out);
}

int
shelf_metadata_set_for(struct shelf_store *store, const struct shelf_asker *asker, uint32_t account,
		       uint32_t mailbox, const struct shelf_metadata *list, size_t n, uint64_t *modseq_out)
{
	char name[SHELF_METADATA_NAME_MAX + 1];
	struct shelf_arena arena = {0};
	struct shelf_metadata *folded = SHELF_ARENA_ARRAY(&arena, struct shelf_metadata, n == 0 ? 1 : n);
	struct setting s = {store, mailbox, folded, n, 0, asker};
	uint64_t max = shelf_setting_get(store, SHELF_SETTING_METADATA_BYTES);
	bool adds = false;
	int rc = mail_disk_admit(store, account, SHELF_DISK_READONLY);

	for (size_t i = 0; i < n && rc == 0; i++) {
		rc = shelf_metadata_name(list[i].name, true, name);
		if (rc == 0 && list[i].value.len > max)
			rc = SHELF_ETOOBIG;
		if (rc != 0)
			break;
		folded[i].name = shelf_arena_dup(&arena, shelf_span_str(name));
		folded[i].value = list[i].value;
		adds = adds || list[i].value.data != NULL;
	}
	if (rc == 0)
		rc = kv_update(store->kv, account, adds ? KV_ADDS : 0, set, &s);
	shelf_arena_free(&arena);
	if (modseq_out != NULL)
		*modseq_out = s.modseq;
	return rc;
}

/* ---- With a mailbox ------------------------------------------------------------------------------ */

/* The first key of FROM at or behind *AT: 1 found. */
static int
next_key(struct kv_view *view, uint32_t from, struct mail_key *at)
{
	struct mail_key prefix = mail_key1(from);
	struct shelf_span key, value;
	struct kv_scan scan;
	int rc = kv_scan_open(view, KV_NOTE, mail_key_span(&prefix), mail_key_span(at), &scan);

	if (rc != 0)
		return rc;
	if ((rc = kv_scan_next(&scan, &key, &value)) == 1) {
		at->len = key.len;
		memcpy(at->bytes, key.data, key.len);
	}
	kv_scan_close(&scan);
	return rc;
}

int
mail_metadata_copy(struct mail_change *c, uint32_t from, uint32_t to)
{
	struct mail_key at = mail_key1(from), copy;
	struct shelf_buf bytes = {0};
	struct shelf_span value;
	int rc;

	while ((rc = next_key(kv_txn_view(c->txn), from, &at)) == 1) {
		if ((rc = kv_get(kv_txn_view(c->txn), KV_NOTE, mail_key_span(&at), &value)) != 0)
			break;
		shelf_buf_clear(&bytes);
		shelf_buf_add_span(&bytes, value);
		copy = at;
		base_put_be32(copy.bytes, to);
		if ((rc = kv_put(c->txn, KV_NOTE, mail_key_span(&copy), shelf_buf_span(&bytes))) != 0)
			break;
		at.bytes[at.len++] = 0; /* behind it */
	}
	shelf_buf_free(&bytes);
	return rc;
}
