/*
 * expire.c - rules by which old mail goes, and runs over them (expire.h)
 *
 * EXPIRE key: scope, 0, id u32. Value: format 1, by 1, age varint, flags 1, flags that must not be 1, pattern text.
 *
 * A run looks at a mailbox in slices, each a snapshot of its own, and removes what it found in a slice before it goes
 * on: it holds a few thousand uids, whatever the mailbox, and nothing is lost when it is stopped.
 */
#include <stdlib.h>
#include <strings.h>

#include <mailshelf/expire.h>
#include <mailshelf/log.h>
#include <mailshelf/mem.h>
#include <mailshelf/pop3.h>

#include "mail.h"

enum { FORMAT = 1, SLICE_MESSAGES = 4096, SLICE_MS = 200 };

/* ---- Rows ------------------------------------------------------------------------------------------------- */

static struct mail_key
key_of(const char *scope, uint32_t id)
{
	struct mail_key k = {.len = strlen(scope) + 1 + 4};

	memcpy(k.bytes, scope, k.len - 4); /* its zero byte too */
	base_put_be32(k.bytes + k.len - 4, id);
	return k;
}

/* The rules of a scope, and of no other one. */
static struct shelf_span
prefix_of(const char *scope)
{
	return shelf_span(scope, strlen(scope) + 1);
}

int
mail_expire_decode(struct shelf_span key, struct shelf_span value, struct shelf_expire_rule *rule)
{
	struct base_reader r = base_reader(value);
	struct shelf_span pattern;
	uint64_t by, age;

	if (base_get_le(&r, 1) != FORMAT)
		return r.bad ? SHELF_ECORRUPT : SHELF_EVERSION;
	*rule = (struct shelf_expire_rule){.id = 0};
	by = base_get_le(&r, 1);
	age = base_get_varint(&r);
	rule->flags = (uint32_t)base_get_le(&r, 1);
	rule->not_flags = (uint32_t)base_get_le(&r, 1);
	pattern = base_get_text(&r);
	if (r.bad || base_left(&r) != 0 || key.len < 6 || key.data[key.len - 5] != 0 || by > SHELF_EXPIRE_FETCHED ||
	    age == 0 || age > UINT32_MAX || pattern.len == 0 || pattern.len > SHELF_EXPIRE_PATTERN_MAX)
		return SHELF_ECORRUPT;
	rule->id = base_get_be32(key.data + key.len - 4);
	rule->by = (enum shelf_expire_by)by;
	rule->age_s = (uint32_t)age;
	memcpy(rule->pattern, pattern.data, pattern.len);
	return 0;
}

static int
put(struct kv_txn *txn, const char *scope, const struct shelf_expire_rule *rule)
{
	struct mail_key key = key_of(scope, rule->id);
	struct shelf_buf value = {0};
	int rc;

	base_add_le(&value, FORMAT, 1);
	base_add_le(&value, rule->by, 1);
	base_add_varint(&value, rule->age_s);
	base_add_le(&value, rule->flags, 1);
	base_add_le(&value, rule->not_flags, 1);
	base_add_text(&value, shelf_span_str(rule->pattern));
	rc = kv_put(txn, KV_EXPIRE, mail_key_span(&key), shelf_buf_span(&value));
	shelf_buf_free(&value);
	return rc;
}

/* ---- Adding, removing ------------------------------------------------------------------------------------- */

struct changing {
	char scope[SHELF_ACCOUNT_NAME_MAX + 1];
	struct shelf_expire_rule rule;
};

static int
add(struct kv_txn *txn, void *arg)
{
	struct changing *ch = arg;
	struct shelf_span key, value;
	struct kv_scan scan;
	unsigned n = 0;
	int rc = kv_scan_open(kv_txn_view(txn), KV_EXPIRE, prefix_of(ch->scope), shelf_span(NULL, 0), &scan);

	if (rc != 0)
		return rc;
	ch->rule.id = 1;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1) {
		ch->rule.id = base_get_be32(key.data + key.len - 4) + 1;
		n++;
	}
	kv_scan_close(&scan);
	if (rc == 0 && (n >= SHELF_EXPIRE_RULES_MAX || ch->rule.id == 0))
		rc = SHELF_ELIMIT;
	return rc != 0 ? rc : put(txn, ch->scope, &ch->rule);
}

int
shelf_expire_add(struct shelf_store *store, struct shelf_span scope, const struct shelf_expire_rule *rule,
		 uint32_t *id_out)
{
	struct changing ch = {.rule = *rule};
	int rc = mail_account_name(scope, ch.scope);

	*id_out = 0;
	if (rc == 0 && strcmp(ch.scope, "@") == 0)
		rc = SHELF_ENAME;
	if (rc == 0 && (rule->age_s == 0 || rule->pattern[0] == '\0' || rule->by > SHELF_EXPIRE_FETCHED ||
			((rule->flags | rule->not_flags) & ~(uint32_t)SHELF_FLAGS_SYSTEM) != 0 ||
			(rule->flags & rule->not_flags) != 0 || !shelf_utf8_valid(shelf_span_str(rule->pattern))))
		rc = SHELF_EINVALID;
	if (rc == 0)
		rc = kv_update(store->kv, KV_CATALOG, KV_ADDS, add, &ch);
	if (rc == 0)
		*id_out = ch.rule.id;
	return rc;
}

static int
drop(struct kv_txn *txn, void *arg)
{
	const struct changing *ch = arg;
	struct mail_key key = key_of(ch->scope, ch->rule.id);

	return kv_del(txn, KV_EXPIRE, mail_key_span(&key));
}

int
shelf_expire_remove(struct shelf_store *store, struct shelf_span scope, uint32_t id)
{
	struct changing ch = {.rule = {.id = id}};
	int rc = mail_account_name(scope, ch.scope);

	return rc == SHELF_ENAME ? SHELF_EMISSING : rc != 0 ? rc : kv_update(store->kv, KV_CATALOG, 0, drop, &ch);
}

int
mail_expire_forget(struct kv_txn *txn, const char *scope)
{
	struct shelf_span key, value;
	struct kv_scan scan;
	struct mail_key first;
	int rc;

	for (;;) {
		rc = kv_scan_open(kv_txn_view(txn), KV_EXPIRE, prefix_of(scope), shelf_span(NULL, 0), &scan);
		if (rc != 0 || (rc = kv_scan_next(&scan, &key, &value)) != 1)
			break;
		memcpy(first.bytes, key.data, key.len);
		first.len = key.len;
		kv_scan_close(&scan);
		if ((rc = kv_del(txn, KV_EXPIRE, mail_key_span(&first))) != 0)
			return rc;
	}
	kv_scan_close(&scan);
	return rc;
}

struct loading {
	struct shelf_span key, row;
};

static int
load(struct kv_txn *txn, void *arg)
{
	const struct loading *l = arg;

	return kv_put(txn, KV_EXPIRE, l->key, l->row);
}

int
mail_expire_load(struct shelf_store *store, struct shelf_span key, struct shelf_span row)
{
	struct loading l = {key, row};
	struct shelf_expire_rule rule;
	int rc = mail_expire_decode(key, row, &rule);

	return rc != 0 ? rc : kv_update(store->kv, KV_CATALOG, KV_ADDS, load, &l);
}

/* ---- The walk --------------------------------------------------------------------------------------------- */

int
mail_expire_next(struct shelf_store *store, struct shelf_buf *key, struct shelf_buf *row_out)
{
	struct kv_view *view = NULL;
	struct shelf_span k, value;
	struct kv_scan scan;
	int rc = kv_view_begin(store->kv, KV_CATALOG, &view);

	if (rc != 0)
		return rc;
	if (key->len > 0)
		shelf_buf_add_byte(key, 0); /* behind it */
	rc = kv_scan_open(view, KV_EXPIRE, shelf_span(NULL, 0), shelf_buf_span(key), &scan);
	shelf_buf_clear(row_out);
	if (rc == 0 && (rc = kv_scan_next(&scan, &k, &value)) == 1) {
		shelf_buf_clear(key);
		shelf_buf_add_span(key, k);
		shelf_buf_add_span(row_out, value);
	}
	kv_scan_close(&scan);
	kv_view_end(&view);
	return rc;
}

int
shelf_expire_each(struct shelf_store *store, shelf_expire_fn *fn, void *arg)
{
	struct shelf_buf key = {0}, row = {0};
	struct shelf_expire_rule rule;
	int rc;

	while ((rc = mail_expire_next(store, &key, &row)) == 1) {
		rc = mail_expire_decode(shelf_buf_span(&key), shelf_buf_span(&row), &rule);
		if (rc != 0 || (rc = fn(arg, shelf_span(key.data, key.len - 5), &rule)) != 0)
			break;
	}
	shelf_buf_free(&key);
	shelf_buf_free(&row);
	return rc;
}

/* The rules of one scope. FN answers 0 to go on, and may not wait: a snapshot lives. */
static int
each_of(struct kv_view *view, const char *scope, shelf_expire_fn *fn, void *arg)
{
	struct shelf_expire_rule rule;
	struct shelf_span key, value;
	struct kv_scan scan;
	int rc = kv_scan_open(view, KV_EXPIRE, prefix_of(scope), shelf_span(NULL, 0), &scan);

	if (rc != 0)
		return rc;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1)
		if ((rc = mail_expire_decode(key, value, &rule)) != 0 ||
		    (rc = fn(arg, shelf_span_str(scope), &rule)) != 0)
			break;
	kv_scan_close(&scan);
	return rc;
}

/* All rules that are about account NAME; what others have is not read. */
static int
each_about(struct shelf_store *store, const char *name, shelf_expire_fn *fn, void *arg)
{
	const char *domain = strrchr(name, '@');
	struct kv_view *view = NULL;
	int rc = kv_view_begin(store->kv, KV_CATALOG, &view);

	if (rc == 0 && (rc = each_of(view, "*", fn, arg)) == 0 &&
	    (domain == NULL || (rc = each_of(view, domain, fn, arg)) == 0))
		rc = each_of(view, name, fn, arg);
	kv_view_end(&view);
	return rc;
}

struct shortest {
	const char *mailbox; /* NULL: any */
	uint32_t age_s;	     /* 0: no rule so far */
};

static int
take_shortest(void *arg, struct shelf_span scope, const struct shelf_expire_rule *rule)
{
	struct shortest *s = arg;

	if ((s->mailbox == NULL || shelf_expire_matches(rule->pattern, shelf_span_str(s->mailbox))) &&
	    (s->age_s == 0 || rule->age_s < s->age_s))
		s->age_s = rule->age_s;
	return 0;
}

int
shelf_expire_shortest(struct shelf_store *store, const char *account, const char *mailbox, uint32_t *age_s_out)
{
	struct shortest s = {.mailbox = mailbox};
	int rc = account == NULL ? shelf_expire_each(store, take_shortest, &s)
				 : each_about(store, account, take_shortest, &s);

	*age_s_out = s.age_s;
	return rc;
}

/* ---- Patterns --------------------------------------------------------------------------------------------- */

/* "*" goes back to the last one only, "%" likewise within its level: linear but for one of each. */
bool
shelf_expire_matches(const char *pattern, struct shelf_span name)
{
	const char *star = NULL, *percent = NULL;
	size_t i = 0, star_at = 0, percent_at = 0;

	if (strncasecmp(pattern, "INBOX", 5) == 0 && shelf_span_ieq(name, shelf_span_str(pattern)))
		return true;
	while (i < name.len || *pattern != '\0') {
		if (*pattern == '*') {
			star = ++pattern;
			star_at = i;
			percent = NULL;
		} else if (*pattern == '%') {
			percent = ++pattern;
			percent_at = i;
		} else if (i < name.len && *pattern != '\0' && name.data[i] == (uint8_t)*pattern) {
			i++;
			pattern++;
		} else if (percent != NULL && percent_at < name.len && name.data[percent_at] != '/') {
			i = ++percent_at;
			pattern = percent;
		} else if (star != NULL && star_at < name.len) {
			i = ++star_at;
			pattern = star;
			percent = NULL;
		} else {
			return false;
		}
	}
	return true;
}

/* ---- A run ------------------------------------------------------------------------------------------------ */

struct running {
	struct shelf_store *store;
	uint32_t account;
	int64_t now_s;
	bool dry_run;
	shelf_expire_step_fn *step;
	void *arg;
	struct shelf_expired *out;
	struct shelf_expire_rule *rule; /* that are about the account */
	size_t rules, cap;
	/* Of the mailbox at work. */
	uint32_t mailbox;
	const struct shelf_expire_rule **mine;
	size_t nmine;
	struct shelf_uidset **fetched; /* for each of MINE by POP3 */
	struct shelf_uidset *going;
	uint64_t going_bytes;
};

static int
take_rule(void *arg, struct shelf_span scope, const struct shelf_expire_rule *rule)
{
	struct running *x = arg;

	if (x->rules == x->cap) {
		x->cap = x->cap == 0 ? 8 : 2 * x->cap;
		x->rule = shelf_realloc(x->rule, x->cap * sizeof(*x->rule));
	}
	x->rule[x->rules++] = *rule;
	return 0;
}

static bool
goes(const struct running *x, const struct shelf_msg *m)
{
	for (size_t i = 0; i < x->nmine; i++) {
		const struct shelf_expire_rule *r = x->mine[i];
		int64_t before_s = x->now_s - (int64_t)r->age_s;

		if ((m->flags & r->flags) != r->flags || (m->flags & r->not_flags) != 0)
			continue;
		if (r->by == SHELF_EXPIRE_FETCHED ? shelf_uidset_has(x->fetched[i], m->uid) :
		    (r->by == SHELF_EXPIRE_SAVED ? m->savedate_s : m->internaldate_s) < before_s)
			return true;
	}
	return false;
}

/* From *UID on, which moves behind what was looked at; 0: to the end. */
static int
look(struct running *x, uint32_t *uid)
{
	int64_t until_ms = shelf_mono_ms() + SLICE_MS;
	struct shelf_rd *rd = NULL;
	struct shelf_msg m;
	int rc = shelf_rd_begin(x->store, x->account, &rd);

	shelf_uidset_clear(x->going);
	x->going_bytes = 0;
	for (unsigned n = 0; rc == 0 && n < SLICE_MESSAGES && shelf_mono_ms() < until_ms; n++) {
		rc = shelf_msg_next(rd, x->mailbox, *uid, SHELF_MSG_ALL, &m);
		if (rc == SHELF_ENOMESSAGE)
			*uid = 0;
		if (rc != 0)
			break;
		x->out->looked++;
		if (goes(x, &m)) {
			shelf_uidset_add(x->going, m.uid);
			x->going_bytes += m.size;
		}
		*uid = m.uid + 1;
	}
	shelf_rd_end(&rd);
	return rc == SHELF_ENOMESSAGE ? 0 : rc;
}

static int
take_away(struct running *x)
{
	struct shelf_uidset *gone = shelf_uidset_new();
	uint32_t found = shelf_uidset_count(x->going);
	int rc = 0;

	if (!x->dry_run && found > 0)
		rc = shelf_msg_expunge(x->store, x->account, x->mailbox, x->going, 0, gone);
	/* What somebody else was faster to remove is not ours; its share of the bytes is an estimate then. */
	if (!x->dry_run && found > 0 && shelf_uidset_count(gone) < found) {
		x->going_bytes = x->going_bytes / found * shelf_uidset_count(gone);
		found = shelf_uidset_count(gone);
	}
	x->out->messages += found;
	x->out->bytes += x->going_bytes;
	shelf_uidset_free(&gone);
	return rc;
}

/* What POP3 has fetched so long ago. */
static int
look_at_pop3(struct running *x)
{
	struct shelf_rd *rd = NULL;
	int rc = shelf_rd_begin(x->store, x->account, &rd);

	for (size_t i = 0; i < x->nmine && rc == 0; i++) {
		x->fetched[i] = shelf_uidset_new();
		if (x->mine[i]->by == SHELF_EXPIRE_FETCHED)
			rc = shelf_pop3_fetched_before(rd, x->mailbox, x->now_s - (int64_t)x->mine[i]->age_s,
						       x->fetched[i]);
	}
	shelf_rd_end(&rd);
	return rc;
}

static int
run_mailbox(struct running *x)
{
	uint32_t uid = 1;
	int rc = look_at_pop3(x);

	while (rc == 0 && uid != 0)
		if ((rc = look(x, &uid)) == 0 && (rc = take_away(x)) == 0 && x->step != NULL)
			rc = x->step(x->arg, x->out);
	for (size_t i = 0; i < x->nmine; i++)
		shelf_uidset_free(&x->fetched[i]);
	/* It has gone meanwhile, with its mail. */
	return rc == SHELF_ENOMAILBOX ? 0 : rc;
}

/* The mailboxes, by ids: no snapshot may wait while mail is removed. */
struct boxes {
	struct shelf_buf list; /* id u32, length u32, name */
};

static int
note_mailbox(void *arg, const struct shelf_mailbox *m)
{
	struct boxes *b = arg;

	if (m->id == 0)
		return 0;
	base_add_le(&b->list, m->id, 4);
	base_add_text(&b->list, m->name);
	return 0;
}

static int
run_all(struct running *x)
{
	struct boxes b = {.list = {0}};
	struct shelf_rd *rd = NULL;
	struct base_reader r;
	int rc = shelf_rd_begin(x->store, x->account, &rd);

	if (rc == 0)
		rc = shelf_mailbox_each(rd, note_mailbox, &b);
	shelf_rd_end(&rd);
	r = base_reader(shelf_buf_span(&b.list));
	while (rc == 0 && base_left(&r) > 0) {
		struct shelf_span name;

		x->mailbox = (uint32_t)base_get_le(&r, 4);
		name = base_get_text(&r);
		x->nmine = 0;
		for (size_t i = 0; i < x->rules; i++)
			if (shelf_expire_matches(x->rule[i].pattern, name))
				x->mine[x->nmine++] = &x->rule[i];
		if (x->nmine > 0)
			rc = run_mailbox(x);
	}
	shelf_buf_free(&b.list);
	return rc;
}

int
shelf_expire_run(struct shelf_store *store, uint32_t account, int64_t now_s, bool dry_run, shelf_expire_step_fn *step,
		 void *arg, struct shelf_expired *out)
{
	struct running x = {.store = store, .account = account, .now_s = now_s, .dry_run = dry_run, .step = step,
			    .arg = arg, .out = out};
	struct shelf_account a;
	int rc = shelf_account_get(store, account, &a);

	*out = (struct shelf_expired){.looked = 0};
	if (rc != 0)
		return rc;
	x.going = shelf_uidset_new();
	if ((rc = each_about(store, a.name, take_rule, &x)) == 0 && x.rules > 0) {
		x.mine = shelf_zalloc(x.rules * sizeof(const struct shelf_expire_rule *));
		x.fetched = shelf_zalloc(x.rules * sizeof(struct shelf_uidset *));
		rc = run_all(&x);
	}
	if (out->messages > 0 && !dry_run)
		shelf_log(SHELF_LOG_INFO, "expired", "account", "%s", a.name, "messages", "%llu",
			  (unsigned long long)out->messages, "bytes", "%llu", (unsigned long long)out->bytes, NULL);
	shelf_uidset_free(&x.going);
	free(x.fetched);
	free(x.mine);
	free(x.rule);
	return rc;
}

/* ---- The janitor's ---------------------------------------------------------------------------------------- */

/* One account is run to its end, in slices, unless the store is to be closed. */
static int
is_closing(void *arg, const struct shelf_expired *so_far)
{
	struct shelf_store *store = arg;
	bool stop;

	pthread_mutex_lock(&store->lock);
	stop = store->stop;
	pthread_mutex_unlock(&store->lock);
	return stop;
}

static bool
has_rules(struct shelf_store *store)
{
	struct shelf_buf key = {0}, row = {0};
	int rc = mail_expire_next(store, &key, &row);

	shelf_buf_free(&key);
	shelf_buf_free(&row);
	return rc != 0;
}

void
mail_expire_step(struct shelf_store *store, unsigned budget_ms)
{
	int64_t day = shelf_now_s() / (24 * 3600), until_ms = shelf_mono_ms() + budget_ms;
	struct shelf_expired done;
	int rc = 0;

	if (store->expired_day == day)
		return;
	/* Without rules there is nothing to walk over. */
	if (store->expire_account == 0 && !has_rules(store))
		store->expired_day = day;
	while (store->expired_day != day && shelf_mono_ms() <= until_ms) {
		uint32_t account = store->expire_account;

		if ((rc = mail_next_account(store, account, &account)) != 1) {
			store->expire_account = 0;
			store->expired_day = day;
			break;
		}
		rc = shelf_expire_run(store, account, shelf_now_s(), false, is_closing, store, &done);
		if (rc == 1)
			return;
		if (rc != 0 && rc != SHELF_ENOACCOUNT)
			shelf_log(SHELF_LOG_WARN, "expire", "account", "%u", account, "error", "%s",
				  shelf_err_text(rc), NULL);
		store->expire_account = account;
	}
}
