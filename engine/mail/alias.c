/* alias.c - rows of ALIAS: an address, and what it stands for */
#include <mailshelf/alias.h>
#include <mailshelf/mem.h>

#include "mail.h"

enum { FORMAT = 1 };

struct setting_alias {
	char address[SHELF_ACCOUNT_NAME_MAX + 1];
	struct shelf_buf value; /* of the row; empty: none */
};

int
mail_alias_decode(struct shelf_span value, struct shelf_buf *targets_out)
{
	struct base_reader r = base_reader(value);
	uint64_t n;

	shelf_buf_clear(targets_out);
	if (base_get_le(&r, 1) != FORMAT)
		return r.bad ? SHELF_ECORRUPT : SHELF_EVERSION;
	n = base_get_varint(&r);
	for (uint64_t i = 0; i < n && !r.bad; i++) {
		struct shelf_span target = base_get_text(&r);

		if (target.len == 0 || shelf_span_find(target, 0, 0) >= 0)
			r.bad = true;
		shelf_buf_add_span(targets_out, target);
		shelf_buf_add_byte(targets_out, 0);
	}
	return r.bad || n == 0 || base_left(&r) != 0 ? SHELF_ECORRUPT : 0;
}

static int
put_alias(struct kv_txn *txn, void *arg)
{
	const struct setting_alias *s = arg;
	struct shelf_span key = shelf_span_str(s->address);

	if (s->value.len == 0)
		return kv_del(txn, KV_ALIAS, key);
	return kv_put(txn, KV_ALIAS, key, shelf_buf_span(&s->value));
}

/* A name; "@domain" too when WHOLE. */
static int
fold(struct shelf_span name, bool whole, char *out)
{
	int rc = mail_account_name(name, out);

	if (rc == 0 && (out[name.len - 1] == '@' || (out[0] == '@' && (!whole || strchr(out + 1, '@') != NULL))))
		return SHELF_ENAME;
	return rc;
}

static int
encode(struct setting_alias *s, const struct shelf_span *targets, size_t n)
{
	char target[SHELF_ACCOUNT_NAME_MAX + 1];
	size_t bytes = 0;

	base_add_le(&s->value, FORMAT, 1);
	base_add_varint(&s->value, n);
	for (size_t i = 0; i < n; i++) {
		int rc = fold(targets[i], s->address[0] == '@' && n == 1, target);

		if (rc != 0)
			return rc;
		bytes += targets[i].len + 1;
		if (bytes > SHELF_ALIAS_TARGETS_BYTES)
			return SHELF_ELIMIT;
		base_add_text(&s->value, shelf_span_str(target));
	}
	return 0;
}

int
shelf_alias_set(struct shelf_store *store, struct shelf_span address, const struct shelf_span *targets, size_t n)
{
	struct setting_alias s = {.value = {0}};
	int rc = fold(address, true, s.address);

	if (rc == 0 && n > 0)
		rc = encode(&s, targets, n);
	if (rc == 0)
		rc = kv_update(store->kv, KV_CATALOG, n > 0 ? KV_ADDS : 0, put_alias, &s);
	shelf_buf_free(&s.value);
	return rc;
}

int
shelf_alias_find(struct shelf_store *store, struct shelf_span address, struct shelf_buf *targets_out)
{
	char folded[SHELF_ACCOUNT_NAME_MAX + 1];
	struct kv_view *view = NULL;
	struct shelf_span value;
	int rc;

	shelf_buf_clear(targets_out);
	if (mail_account_name(address, folded) != 0)
		return SHELF_EMISSING;
	if ((rc = kv_view_begin(store->kv, KV_CATALOG, &view)) != 0)
		return rc;
	if ((rc = kv_get(view, KV_ALIAS, shelf_span_str(folded), &value)) == 0)
		rc = mail_alias_decode(value, targets_out);
	kv_view_end(&view);
	return rc;
}

enum { EACH_SLICE = 64 };

/* The next rows behind AFTER, each as address and targets: texts. *N: how many. */
static int
next_aliases(struct shelf_store *store, const struct shelf_buf *after, struct shelf_buf *out, unsigned *n)
{
	struct shelf_buf targets = {0};
	struct kv_view *view = NULL;
	struct shelf_span key, value;
	struct kv_scan scan;
	int rc;

	shelf_buf_clear(out);
	*n = 0;
	if ((rc = kv_view_begin(store->kv, KV_CATALOG, &view)) != 0)
		return rc;
	rc = kv_scan_open(view, KV_ALIAS, shelf_span(NULL, 0), shelf_buf_span(after), &scan);
	while (rc == 0 && *n < EACH_SLICE && (rc = kv_scan_next(&scan, &key, &value)) == 1) {
		rc = 0;
		if (shelf_span_eq(key, shelf_buf_span(after)))
			continue;
		if ((rc = mail_alias_decode(value, &targets)) == 0) {
			base_add_text(out, key);
			base_add_text(out, shelf_buf_span(&targets));
			++*n;
		}
	}
	kv_scan_close(&scan);
	kv_view_end(&view);
	shelf_buf_free(&targets);
	return rc;
}

int
shelf_alias_each(struct shelf_store *store, shelf_alias_fn *fn, void *arg)
{
	struct shelf_buf after = {0}, rows = {0};
	unsigned n = EACH_SLICE;
	int rc = 0;

	while (rc == 0 && n == EACH_SLICE) {
		struct base_reader r;

		if ((rc = next_aliases(store, &after, &rows, &n)) != 0)
			break;
		r = base_reader(shelf_buf_span(&rows));
		for (unsigned i = 0; i < n && rc == 0; i++) {
			struct shelf_span address = base_get_text(&r);

			shelf_buf_clear(&after);
			shelf_buf_add_span(&after, address);
			rc = fn(arg, address, base_get_text(&r));
		}
	}
	shelf_buf_free(&after);
	shelf_buf_free(&rows);
	return rc;
}
