/*
 * policy.h - how an account is to be treated: its own rules, those of its domain, those of all
 *
 * Shape     policy.def is the only list. What is not set for the account holds as its domain has it (what is behind the
 *           last "@" of its name), then as "*" has it, then as policy.def has it. The engine keeps them; whoever acts
 *           (a door) asks.
 * Scope     An account's name, "@domain" or "*". They may be set before the account is there; they go with it.
 * Threads   Any. Writing blocks (store.h). A change holds for who asks next, in every process.
 */
#ifndef MAILSHELF_POLICY_H
#define MAILSHELF_POLICY_H

#include <mailshelf/store.h>

enum shelf_policy {
#define SHELF_POLICY(id, name, number, kind, choices, std, text) SHELF_POLICY_##id,
#include <mailshelf/policy.def>
#undef SHELF_POLICY
	SHELF_POLICIES
};

enum shelf_policy_kind {
	SHELF_POLICY_KIND_CHOICE,
	SHELF_POLICY_KIND_SIZE,
	SHELF_POLICY_KIND_COUNT,
	SHELF_POLICY_KIND_MAILBOX,
	SHELF_POLICY_KIND_SHOW,
};
enum { SHELF_POLICY_TEXT_MAX = 250 };

/* Values of kind SHOW: how in the upper half, N in the lower. */
enum shelf_show { SHELF_SHOW_ALL, SHELF_SHOW_SINCE, SHELF_SHOW_NEWEST, SHELF_SHOW_DAYS, SHELF_SHOW_RECENT };
static inline uint64_t
shelf_show(enum shelf_show how, uint32_t n) /* SINCE: days since 1970 */
{
	return (uint64_t)how << 32 | n;
}
struct shelf_policy_info {
	const char *name, *choices, *text;
	enum shelf_policy_kind kind;
	uint64_t std;
	unsigned number;
};
const struct shelf_policy_info *shelf_policy_info(enum shelf_policy id);
bool shelf_policy_find(struct shelf_span name, enum shelf_policy *id_out);

struct shelf_policies {
	uint64_t value[SHELF_POLICIES];
	bool set[SHELF_POLICIES]; /* shelf_policy_own: set in this scope. shelf_policy_get: anywhere */
	char text[SHELF_POLICIES][SHELF_POLICY_TEXT_MAX + 1]; /* of kind MAILBOX */
};
/* What holds for the account of that name. */
SHELF_CHECK int shelf_policy_get(struct shelf_store *store, struct shelf_span account, struct shelf_policies *out);
/* What is set in this scope alone. */
SHELF_CHECK int shelf_policy_own(struct shelf_store *store, struct shelf_span scope, struct shelf_policies *out);
/*
 * shelf_policy_set(store, scope, id, value)
 *   value    UINT64_MAX: not set here any more
 *   returns  0; SHELF_ENAME no scope; SHELF_EINVALID no such choice, or one of kind MAILBOX and not UINT64_MAX
 */
SHELF_CHECK int shelf_policy_set(struct shelf_store *store, struct shelf_span scope, enum shelf_policy id,
    uint64_t value);
/* One of kind MAILBOX. SHELF_ENAME: TEXT is no name of a mailbox, or too long. */
SHELF_CHECK int shelf_policy_set_text(struct shelf_store *store, struct shelf_span scope, enum shelf_policy id,
    struct shelf_span text);
/* Scopes with anything set, in order; as shelf_alias_each. */
typedef int shelf_policy_fn(void *arg, struct shelf_span scope);
SHELF_CHECK int shelf_policy_each(struct shelf_store *store, shelf_policy_fn *fn, void *arg);

#endif
