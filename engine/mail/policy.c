/*
 * policy.c - rows of POLICY: what is set for an account, a domain, or all
 *
 * Value: format 1, then pairs, ascending: number (policy.def), value, both varints. Format 2 is the same with texts:
 * where the number is TEXTS or higher, the value is one. Numbers of a later release are kept.
 */
#include <mailshelf/mem.h>
#include <mailshelf/policy.h>

#include "mail.h"

enum { FORMAT = 1, FORMAT_TEXTS = 2, TEXTS = 1024 };

static const struct shelf_policy_info infos[SHELF_POLICIES] = {
#define SHELF_POLICY(id, name, number, kind, choices, std, text)                                   \
	[SHELF_POLICY_##id] = {name, choices, text, SHELF_POLICY_KIND_##kind, std, number},
#include <mailshelf/policy.def>
#undef SHELF_POLICY
};

const struct shelf_policy_info *
shelf_policy_info(enum shelf_policy id)
{
	return &infos[id];
}

bool
shelf_policy_find(struct shelf_span name, enum shelf_policy *id_out)
{
	unsigned id = 0;

	while (id < SHELF_POLICIES && !shelf_span_eq(name, shelf_span_str(infos[id].name)))
		id++;
	*id_out = (enum shelf_policy)id;
	return id < SHELF_POLICIES;
}

static uint64_t
choices(const char *words)
{
	uint64_t n = 1;

	for (; *words != '\0'; words++)
		n += *words == ' ';
	return n;
}

static bool
is_value(enum shelf_policy id, uint64_t value)
{
	return (infos[id].kind != SHELF_POLICY_KIND_CHOICE || value < choices(infos[id].choices)) &&
	       (infos[id].kind != SHELF_POLICY_KIND_SHOW || value >> 32 <= SHELF_SHOW_RECENT);
}

/* A scope as a key: names are folded, a domain keeps its "@". */
static int
fold(struct shelf_span scope, char *out)
{
	int rc = mail_account_name(scope, out);

	return rc == 0 && strcmp(out, "@") == 0 ? SHELF_ENAME : rc;
}

/* ---- Rows -------------------------------------------------------------------------------------------- */

struct pair {
	uint64_t number, value; /* value UINT64_MAX: not set any more */
	struct shelf_span text; /* where number >= TEXTS */
};
typedef void pair_fn(void *arg, const struct pair *p);

/* Calls FN for each pair. SHELF_ECORRUPT, SHELF_EVERSION. */
static int
each_pair(struct shelf_span row, pair_fn *fn, void *arg)
{
	struct base_reader r = base_reader(row);
	uint64_t last = 0, format = base_get_le(&r, 1);

	if (format != FORMAT && format != FORMAT_TEXTS)
		return r.bad ? SHELF_ECORRUPT : SHELF_EVERSION;
	while (!r.bad && base_left(&r) > 0) {
		struct pair p = {.number = base_get_varint(&r)};

		if (format == FORMAT_TEXTS && p.number >= TEXTS)
			p.text = base_get_text(&r);
		else
			p.value = base_get_varint(&r);
		if (r.bad || p.number <= last)
			return SHELF_ECORRUPT;
		last = p.number;
		fn(arg, &p);
	}
	return r.bad || last == 0 ? SHELF_ECORRUPT : 0;
}

static void
pass(void *arg, const struct pair *p)
{
}

int
mail_policy_check(struct shelf_span row)
{
	return each_pair(row, pass, NULL);
}

/* What is not set yet. */
static void
take(void *arg, const struct pair *pair)
{
	struct shelf_policies *p = arg;

	for (unsigned id = 0; id < SHELF_POLICIES; id++) {
		if (infos[id].number != pair->number || p->set[id])
			continue;
		/* Of a later release: as if it were not set. */
		if (!is_value((enum shelf_policy)id, pair->value) || pair->text.len > SHELF_POLICY_TEXT_MAX)
			continue;
		if (pair->text.len > 0)
			memcpy(p->text[id], pair->text.data, pair->text.len);
		p->text[id][pair->text.len] = '\0';
		p->value[id] = pair->value;
		p->set[id] = true;
	}
}

static void
begin(struct shelf_policies *out)
{
	for (unsigned id = 0; id < SHELF_POLICIES; id++) {
		out->value[id] = infos[id].std;
		out->set[id] = false;
		out->text[id][0] = '\0';
	}
}

static int
add_scope(struct kv_view *view, const char *scope, struct shelf_policies *out)
{
	struct shelf_span row;
	int rc = kv_get(view, KV_POLICY, shelf_span_str(scope), &row);

	return rc == 0 ? each_pair(row, take, out) : rc == SHELF_EMISSING ? 0 : rc;
}

int
shelf_policy_get(struct shelf_store *store, struct shelf_span account, struct shelf_policies *out)
{
	char name[SHELF_ACCOUNT_NAME_MAX + 1];
	const char *domain;
	struct kv_view *view = NULL;
	int rc = mail_account_name(account, name);

	begin(out);
	if (rc != 0 || (rc = kv_view_begin(store->kv, KV_CATALOG, &view)) != 0)
		return rc;
	domain = strrchr(name, '@');
	rc = add_scope(view, name, out);
	if (rc == 0 && domain != NULL)
		rc = add_scope(view, domain, out);
	if (rc == 0)
		rc = add_scope(view, "*", out);
	kv_view_end(&view);
	return rc;
}

int
shelf_policy_own(struct shelf_store *store, struct shelf_span scope, struct shelf_policies *out)
{
	char name[SHELF_ACCOUNT_NAME_MAX + 1];
	struct kv_view *view = NULL;
	int rc = fold(scope, name);

	begin(out);
	if (rc != 0 || (rc = kv_view_begin(store->kv, KV_CATALOG, &view)) != 0)
		return rc;
	rc = add_scope(view, name, out);
	kv_view_end(&view);
	return rc;
}

/* ---- Setting ------------------------------------------------------------------------------------------- */

struct setting_policy {
	char scope[SHELF_ACCOUNT_NAME_MAX + 1];
	struct pair pair;
	struct shelf_buf row;
	bool done;
};

static void
put_pair(struct setting_policy *s, const struct pair *p)
{
	if (p->value == UINT64_MAX)
		return;
	base_add_varint(&s->row, p->number);
	if (p->number < TEXTS) {
		base_add_varint(&s->row, p->value);
		return;
	}
	base_add_text(&s->row, p->text);
	s->row.data[0] = FORMAT_TEXTS;
}

static void
copy_pair(void *arg, const struct pair *p)
{
	struct setting_policy *s = arg;

	if (!s->done && p->number >= s->pair.number) {
		put_pair(s, &s->pair);
		s->done = true;
	}
	if (p->number != s->pair.number)
		put_pair(s, p);
}

static int
put_policy(struct kv_txn *txn, void *arg)
{
	struct setting_policy *s = arg;
	struct shelf_span key = shelf_span_str(s->scope), old;
	int rc = kv_get(kv_txn_view(txn), KV_POLICY, key, &old);
	bool was = rc == 0;

	shelf_buf_clear(&s->row);
	base_add_le(&s->row, FORMAT, 1);
	s->done = false;
	rc = was ? each_pair(old, copy_pair, s) : rc == SHELF_EMISSING ? 0 : rc;
	if (rc != 0)
		return rc;
	if (!s->done)
		put_pair(s, &s->pair);
	if (s->row.len > 1)
		return kv_put(txn, KV_POLICY, key, shelf_buf_span(&s->row));
	return was ? kv_del(txn, KV_POLICY, key) : 0;
}

static bool
is_pool(enum shelf_policy id)
{
	return id == SHELF_POLICY_POOL_BYTES || id == SHELF_POLICY_POOL_MESSAGES;
}

static int
set_pair(struct shelf_store *store, struct shelf_span scope, enum shelf_policy id, const struct pair *pair)
{
	struct setting_policy s = {.pair = *pair};
	int rc = fold(scope, s.scope);

	if (rc == 0 && is_pool(id) && s.scope[0] != '@')
		rc = SHELF_EINVALID;
	if (rc == 0)
		rc = kv_update(store->kv, KV_CATALOG, pair->value == UINT64_MAX ? 0 : KV_ADDS, put_policy, &s);
	shelf_buf_free(&s.row);
	if (rc == 0 && is_pool(id))
		rc = mail_pool_settle(store, s.scope + 1);
	return rc != 0 || !mail_rules_has(id) ? rc : mail_rules_settle_scope(store, s.scope);
}

int
shelf_policy_set(struct shelf_store *store, struct shelf_span scope, enum shelf_policy id, uint64_t value)
{
	const struct pair pair = {.number = infos[id].number, .value = value};

	if (value != UINT64_MAX && (!is_value(id, value) || infos[id].kind == SHELF_POLICY_KIND_MAILBOX))
		return SHELF_EINVALID;
	return set_pair(store, scope, id, &pair);
}

int
shelf_policy_set_text(struct shelf_store *store, struct shelf_span scope, enum shelf_policy id,
		      struct shelf_span text)
{
	struct pair pair = {.number = infos[id].number};
	struct shelf_buf name = {0};
	int rc = infos[id].kind != SHELF_POLICY_KIND_MAILBOX ? SHELF_EINVALID : shelf_mailbox_canonical(text, &name);

	if (rc == 0 && name.len > SHELF_POLICY_TEXT_MAX)
		rc = SHELF_ENAME;
	pair.text = shelf_buf_span(&name);
	if (rc == 0)
		rc = set_pair(store, scope, id, &pair);
	shelf_buf_free(&name);
	return rc;
}

int
mail_policy_forget(struct kv_txn *txn, const char *scope)
{
	int rc = kv_del(txn, KV_POLICY, shelf_span_str(scope));

	return rc == SHELF_EMISSING ? 0 : rc;
}

static int
put_row(struct kv_txn *txn, void *arg)
{
	const struct setting_policy *s = arg;

	return kv_put(txn, KV_POLICY, shelf_span_str(s->scope), shelf_buf_span(&s->row));
}

int
mail_policy_load(struct shelf_store *store, struct shelf_span scope, struct shelf_span row)
{
	struct setting_policy s = {.done = false};
	int rc = fold(scope, s.scope);

	if (rc == 0 && (rc = mail_policy_check(row)) == 0) {
		shelf_buf_add_span(&s.row, row);
		rc = kv_update(store->kv, KV_CATALOG, KV_ADDS, put_row, &s);
		if (rc == 0 && s.scope[0] == '@')
			rc = mail_pool_settle(store, s.scope + 1);
	}
	shelf_buf_free(&s.row);
	return rc == SHELF_ENAME ? SHELF_ECORRUPT : rc;
}

/* ---- The walk ------------------------------------------------------------------------------------------ */

int
mail_policy_next(struct shelf_store *store, struct shelf_buf *scope, struct shelf_buf *row_out)
{
	struct kv_view *view = NULL;
	struct shelf_span key, value;
	struct kv_scan scan;
	int rc = kv_view_begin(store->kv, KV_CATALOG, &view);

	if (rc != 0)
		return rc;
	if (scope->len > 0)
		shelf_buf_add_byte(scope, 0); /* behind it */
	rc = kv_scan_open(view, KV_POLICY, shelf_span(NULL, 0), shelf_buf_span(scope), &scan);
	shelf_buf_clear(row_out);
	if (rc == 0 && (rc = kv_scan_next(&scan, &key, &value)) == 1) {
		shelf_buf_clear(scope);
		shelf_buf_add_span(scope, key);
		shelf_buf_add_span(row_out, value);
	}
	kv_scan_close(&scan);
	kv_view_end(&view);
	return rc;
}

int
shelf_policy_each(struct shelf_store *store, shelf_policy_fn *fn, void *arg)
{
	struct shelf_buf scope = {0}, row = {0};
	int rc;

	while ((rc = mail_policy_next(store, &scope, &row)) == 1)
		if ((rc = fn(arg, shelf_buf_span(&scope))) != 0)
			break;
	shelf_buf_free(&scope);
	shelf_buf_free(&row);
	return rc;
}
