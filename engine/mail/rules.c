/*
 * rules.c - what policies say about quotas, written into the rows of accounts
 *
 * Policies stand in the catalog, a change of an account sees its partition alone: so what every change must know
 * (thresholds, limits) stands in ACCT, too. It gets there when the account is made, when the policy is set, and by the
 * janitor's pass, which also mends what an interrupted walk or a restored account left.
 */
#include <mailshelf/policy.h>

#include "mail.h"

bool
mail_rules_has(unsigned policy)
{
	switch (policy) {
	case SHELF_POLICY_QUOTA_WARN:
	case SHELF_POLICY_QUOTA_WARN_HIGH:
	case SHELF_POLICY_QUOTA_BYTES:
	case SHELF_POLICY_QUOTA_MESSAGES:
	case SHELF_POLICY_QUOTA_MAILBOXES:
	case SHELF_POLICY_QUOTA_LARGEST:
		return true;
	default:
		return false;
	}
}

static uint64_t *
limit_of(struct mail_acct *a, enum mail_limit which)
{
	return which == MAIL_LIMIT_BYTES ? &a->quota.limit_bytes
	       : which == MAIL_LIMIT_MESSAGES ? &a->quota.limit_messages : &a->quota.limit_mailboxes;
}

void
mail_rules_limit(struct mail_acct *a, enum mail_limit which, uint64_t value)
{
	if (value == SHELF_QUOTA_KEEP)
		return;
	a->follows &= (uint8_t)~which;
	a->never &= (uint8_t)~which;
	if (value == SHELF_QUOTA_NONE)
		a->never |= (uint8_t)which;
	*limit_of(a, which) = value == SHELF_QUOTA_NONE ? 0 : value;
}

/* Unless it has one of its own. True: it was another one. */
static bool
follow(struct mail_acct *a, enum mail_limit which, uint64_t value)
{
	uint64_t *limit = limit_of(a, which), was = *limit;

	if ((a->never & which) != 0 || (*limit != 0 && (a->follows & which) == 0))
		return false;
	*limit = value;
	a->follows &= (uint8_t)~which;
	if (value != 0)
		a->follows |= (uint8_t)which;
	return was != value;
}

static uint8_t
percent(uint64_t value)
{
	return value > UINT8_MAX ? UINT8_MAX : (uint8_t)value;
}

bool
mail_rules_take(struct mail_acct *a, const struct shelf_policies *p)
{
	const struct mail_warn was = a->warn;
	bool other = a->largest != p->value[SHELF_POLICY_QUOTA_LARGEST];

	other |= follow(a, MAIL_LIMIT_BYTES, p->value[SHELF_POLICY_QUOTA_BYTES]);
	other |= follow(a, MAIL_LIMIT_MESSAGES, p->value[SHELF_POLICY_QUOTA_MESSAGES]);
	other |= follow(a, MAIL_LIMIT_MAILBOXES, p->value[SHELF_POLICY_QUOTA_MAILBOXES]);
	a->largest = p->value[SHELF_POLICY_QUOTA_LARGEST];
	a->warn.at[0] = percent(p->value[SHELF_POLICY_QUOTA_WARN]);
	a->warn.at[1] = percent(p->value[SHELF_POLICY_QUOTA_WARN_HIGH]);
	return other || memcmp(&was, &a->warn, sizeof(was)) != 0;
}

struct settling {
	struct shelf_store *store;
	struct shelf_policies rules;
};

static int
settle(struct kv_txn *txn, void *arg)
{
	struct settling *s = arg;
	struct mail_change c;
	int rc = mail_change_begin(&c, s->store, txn);

	if (rc != 0)
		return rc;
	mail_rules_take(&c.acct, &s->rules);
	mail_change_modseq(&c);
	return mail_change_end(&c);
}

int
mail_rules_settle(struct shelf_store *store, uint32_t account)
{
	struct settling s = {.store = store};
	struct shelf_account a;
	struct shelf_rd *rd = NULL;
	int settled, rc;

	if ((rc = shelf_account_get(store, account, &a)) != 0 ||
	    (rc = shelf_policy_get(store, shelf_span_str(a.name), &s.rules)) != 0 ||
	    (rc = shelf_rd_begin(store, account, &rd)) != 0)
		return rc == SHELF_ENOACCOUNT ? 0 : rc;
	settled = mail_rules_take(&rd->acct, &s.rules) ? 0 : mail_warn_settled(rd->view, account, &rd->acct);
	shelf_rd_end(&rd);
	if (settled != 0)
		return settled < 0 ? settled : 0;
	rc = kv_update(store->kv, account, 0, settle, &s);
	return rc == SHELF_ENOACCOUNT ? 0 : rc;
}

struct scope_walk {
	struct shelf_store *store;
	const char *domain;
};

static int
settle_one(void *arg, const struct shelf_account *a)
{
	struct scope_walk *w = arg;
	const char *domain = strrchr(a->name, '@');

	if (w->domain != NULL && (domain == NULL || strcmp(domain, w->domain) != 0))
		return 0;
	return mail_rules_settle(w->store, a->id);
}

int
mail_rules_settle_scope(struct shelf_store *store, const char *scope)
{
	struct scope_walk w = {store, scope[0] == '@' ? scope : NULL};
	struct shelf_account a;
	int rc;

	if (scope[0] == '@' || strcmp(scope, "*") == 0)
		return shelf_account_each(store, settle_one, &w);
	rc = shelf_account_find(store, shelf_span_str(scope), &a);
	return rc == SHELF_ENOACCOUNT ? 0 : rc != 0 ? rc : mail_rules_settle(store, a.id);
}
