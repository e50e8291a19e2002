/*
 * route.c - an address to its accounts
 *
 * What must stay true: the work for one address is bounded (ROUTE_DEPTH_MAX, ROUTE_STEPS_MAX), whatever the
 * aliases are; "joe@example.org"@localhost, with quotes, never becomes the account joe@example.org.
 */
#include "route.h"

#include <stdio.h>
#include <stdlib.h>

#include <mailshelf/alias.h>
#include <mailshelf/mem.h>
#include <mailshelf/policy.h>

#include "conf.h"

struct search {
	struct shelf_store *store;
	const struct conf *conf;
	struct route *out;
	unsigned steps;
	bool disabled; /* an account was found that takes no mail */
};

/* An address on the way. MAILBOX: of the extension. */
struct step {
	struct shelf_span local, domain;
	const char *mailbox;
	unsigned depth;
};

static int find(struct search *s, const struct step *at);

void
route_add(struct route *r, const struct route_to *to)
{
	for (size_t i = 0; i < r->n; i++)
		if (r->list[i].account == to->account)
			return;
	if (r->n == r->cap) {
		r->cap = r->cap == 0 ? 1 : r->cap * 2;
		r->list = shelf_realloc(r->list, r->cap * sizeof(*r->list));
	}
	r->list[r->n++] = *to;
}

void
route_free(struct route *r)
{
	free(r->list);
	*r = (struct route){.n = 0};
}

static bool
is_local(const struct search *s, const struct step *at)
{
	return at->domain.len == 0 ||
	    conf_is_local_domain(s->conf, (const char *)at->domain.data, at->domain.len);
}

/* "local@domain", or the local part alone, as a name; false when it is too long for one, or not to be tried. */
static bool
name_of(const struct search *s, const struct step *at, bool whole, char *out)
{
	int len;

	if (whole ? at->domain.len == 0 : !is_local(s, at))
		return false;
	if (at->local.len + at->domain.len > SHELF_ACCOUNT_NAME_MAX)
		return false;
	len = snprintf(out, SHELF_ACCOUNT_NAME_MAX + 1, "%.*s%s%.*s", (int)at->local.len,
	    (const char *)at->local.data, whole ? "@" : "", whole ? (int)at->domain.len : 0,
	    (const char *)at->domain.data);
	return len > 0 && len <= SHELF_ACCOUNT_NAME_MAX;
}

/* ---- Accounts -------------------------------------------------------------------------------- */

static int
take_account(struct search *s, const char *name, const char *mailbox)
{
	struct shelf_account account;
	struct route_to to = {.account = 0};
	int rc = shelf_account_find(s->store, shelf_span_str(name), &account);

	if (rc != 0)
		return rc == SHELF_ENAME ? SHELF_ENOACCOUNT : rc;
	if (account.disabled || (account.services & SHELF_SERVICE_DELIVERY) == 0) {
		s->disabled = true;
		return 0;
	}
	if (s->out->n >= ROUTE_MAX)
		return SHELF_ELIMIT;
	to.account = account.id;
	memcpy(to.name, account.name, sizeof(to.name));
	snprintf(to.mailbox, sizeof(to.mailbox), "%s", mailbox);
	route_add(s->out, &to);
	return 0;
}

static int
as_account(struct search *s, const struct step *at)
{
	char name[SHELF_ACCOUNT_NAME_MAX + 1];
	int rc = SHELF_ENOACCOUNT;

	for (int whole = 1; whole >= 0 && rc == SHELF_ENOACCOUNT; whole--)
		if (name_of(s, at, whole, name))
			rc = take_account(s, name, at->mailbox);
	return rc;
}

/* ---- Aliases --------------------------------------------------------------------------------- */

/* One target of the alias ADDRESS. What is not there is passed over, as long as others are. */
static int
follow(struct search *s, const struct step *at, const char *address, const char *target, bool *any)
{
	const char *sign = strrchr(target, '@');
	struct step next = {shelf_span_str(target), {NULL, 0}, at->mailbox, at->depth + 1};
	int rc;

	if (sign != NULL) {
		next.local.len = (size_t)(sign - target);
		next.domain = shelf_span_str(sign + 1);
	}
	if (sign == target) /* another domain */
		next.local = at->local;
	rc = strcmp(address, target) == 0 ? take_account(s, target, at->mailbox) : find(s, &next);
	*any = *any || rc == 0;
	return rc == SHELF_ENOACCOUNT ? 0 : rc;
}

/* SHELF_ENOACCOUNT: there is no alias ADDRESS, or nothing is behind it. */
static int
as_alias(struct search *s, const struct step *at, const char *address)
{
	struct shelf_buf targets = {0};
	bool any = false;
	int rc = shelf_alias_find(s->store, shelf_span_str(address), &targets);

	for (size_t pos = 0; rc == 0 && pos < targets.len;
	     pos += strlen((const char *)targets.data + pos) + 1)
		rc = follow(s, at, address, (const char *)targets.data + pos, &any);
	shelf_buf_free(&targets);
	if (rc == SHELF_EMISSING || (rc == 0 && !any))
		return SHELF_ENOACCOUNT;
	return rc;
}

static int
as_either(struct search *s, const struct step *at)
{
	char name[SHELF_ACCOUNT_NAME_MAX + 1];
	int rc = SHELF_ENOACCOUNT;

	for (int whole = 1; whole >= 0 && rc == SHELF_ENOACCOUNT; whole--)
		if (name_of(s, at, whole, name))
			rc = as_alias(s, at, name);
	return rc == SHELF_ENOACCOUNT ? as_account(s, at) : rc;
}

/* "joe+lists" as joe, mailbox "lists". */
static int
without_extension(struct search *s, const struct step *at)
{
	const char *delimiters = s->conf->recipient_delimiter;
	char mailbox[SHELF_ACCOUNT_NAME_MAX + 1];
	struct step base = *at;
	size_t i = 1;

	if (delimiters == NULL)
		return SHELF_ENOACCOUNT;
	while (i < at->local.len && strchr(delimiters, at->local.data[i]) == NULL)
		i++;
	if (i >= at->local.len || at->local.len - i > sizeof(mailbox))
		return SHELF_ENOACCOUNT;
	snprintf(mailbox, sizeof(mailbox), "%.*s", (int)(at->local.len - i - 1),
	    (const char *)at->local.data + i + 1);
	base.local.len = i;
	base.mailbox = mailbox;
	return as_either(s, &base);
}

/* What "@domain" stands for. */
static int
as_domain(struct search *s, const struct step *at)
{
	char name[SHELF_ACCOUNT_NAME_MAX + 1];
	struct step whole = *at;

	if (at->domain.len == 0)
		return SHELF_ENOACCOUNT;
	whole.local.len = 0;
	return name_of(s, &whole, true, name) ? as_alias(s, at, name) : SHELF_ENOACCOUNT;
}

static int
find(struct search *s, const struct step *at)
{
	int rc;

	if (at->depth > ROUTE_DEPTH_MAX || ++s->steps > ROUTE_STEPS_MAX)
		return SHELF_ELIMIT;
	if (at->local.len == 0 || shelf_span_find(at->local, '@', 0) >= 0 || shelf_span_find(at->local, 0, 0) >= 0)
		return SHELF_ENOACCOUNT;
	if ((rc = as_either(s, at)) == SHELF_ENOACCOUNT &&
	    (rc = without_extension(s, at)) == SHELF_ENOACCOUNT)
		rc = as_domain(s, at);
	return rc;
}

int
route_find(struct shelf_store *store, const struct conf *conf, struct shelf_span local,
    struct shelf_span domain, struct route *out)
{
	struct search s = {.store = store, .conf = conf, .out = out};
	const struct step at = {local, domain, "", 0};
	int rc = find(&s, &at);

	if (rc == 0 && out->n == 0)
		return s.disabled ? SHELF_EDISABLED : SHELF_ENOACCOUNT;
	return rc;
}

bool
route_split(struct shelf_span address, struct shelf_span *local, struct shelf_span *domain)
{
	size_t at = address.len;

	while (at > 0 && address.data[at - 1] != '@')
		at--;
	if (at < 2)
		return false;
	*local = shelf_span(address.data, at - 1);
	*domain = shelf_span(address.data + at, address.len - at);
	return true;
}

int
route_rules(struct shelf_store *store, const struct route_to *to, struct route_rules *out)
{
	struct shelf_policies policy;
	int rc = shelf_policy_get(store, shelf_span_str(to->name), &policy);

	out->defer = policy.value[SHELF_POLICY_OVER_QUOTA] == 1;
	out->defer_days = policy.value[SHELF_POLICY_OVER_QUOTA_DAYS];
	out->over = policy.value[SHELF_POLICY_QUOTA_EXEMPT] == 1 ? UINT64_MAX : policy.value[SHELF_POLICY_QUOTA_GRACE];
	return rc;
}

bool
route_defers(struct shelf_store *store, const struct route_to *to, const struct route_rules *rules)
{
	int64_t since_s = 0;

	if (!rules->defer || rules->defer_days == 0)
		return rules->defer;
	/* What cannot be known is no reason to lose mail. */
	if (shelf_quota_full_since(store, to->account, &since_s) != 0)
		return true;
	if (since_s == 0) {
		shelf_quota_refused(store, to->account);
		return true;
	}
	return (uint64_t)(shelf_now_s() - since_s) < rules->defer_days * 86400;
}
