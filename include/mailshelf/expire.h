/*
 * expire.h - old mail goes by itself: rules, and runs over them
 *
 * Rule      Which messages of which mailboxes go: older than an age, by the time they were received (INTERNALDATE),
 *           came into the mailbox (SAVEDATE), or were last fetched by POP3; with flags, and without others.
 * Scope     An account's name, "@domain" or "*", as of policies (policy.h); all rules that are about an account count,
 *           the nearest do not hide the others. They go with the account.
 * Runs      A serving process runs all rules once a day, in small transactions. What goes is held like what a user
 *           removes, and counts for the guard (guard.h). A message that gets a flag while a run looks at its
 *           mailbox may still go by the flags it had; it is held.
 * Threads   Any. Writing blocks (store.h).
 */
#ifndef MAILSHELF_EXPIRE_H
#define MAILSHELF_EXPIRE_H

#include <mailshelf/mailbox.h>
#include <mailshelf/message.h>

enum shelf_expire_by { SHELF_EXPIRE_RECEIVED, SHELF_EXPIRE_SAVED, SHELF_EXPIRE_FETCHED };

enum { SHELF_EXPIRE_RULES_MAX = 100, /* of a scope */ SHELF_EXPIRE_PATTERN_MAX = 255 };

struct shelf_expire_rule {
	uint32_t id; /* of its scope */
	enum shelf_expire_by by;
	uint32_t age_s;     /* more than 0 */
	uint32_t flags;     /* enum shelf_flag: all of them */
	uint32_t not_flags; /* none of them */
	/* Mailboxes: "*" stands for anything, "%" for anything without the delimiter "/"; INBOX in any case. */
	char pattern[SHELF_EXPIRE_PATTERN_MAX + 1];
};

/* 0 and the id; SHELF_ENAME no scope; SHELF_EINVALID no age, no pattern, not UTF-8; SHELF_ELIMIT. */
SHELF_CHECK int shelf_expire_add(struct shelf_store *store, struct shelf_span scope,
    const struct shelf_expire_rule *rule, uint32_t *id_out);
/* SHELF_EMISSING */
SHELF_CHECK int shelf_expire_remove(struct shelf_store *store, struct shelf_span scope, uint32_t id);
/* In order of scope and id. FN: as of shelf_policy_each. */
typedef int shelf_expire_fn(void *arg, struct shelf_span scope, const struct shelf_expire_rule *rule);
SHELF_CHECK int shelf_expire_each(struct shelf_store *store, shelf_expire_fn *fn, void *arg);
/*
 * shelf_expire_shortest(store, account, mailbox, age_s_out)
 *   The smallest age of the rules about ACCOUNT (its name; NULL: of all rules) and MAILBOX (NULL: any), whatever flags
 *   they ask for; 0: there is none. Of one account this reads its own rules, of all every rule there is.
 */
SHELF_CHECK int shelf_expire_shortest(struct shelf_store *store, const char *account, const char *mailbox,
    uint32_t *age_s_out);
bool shelf_expire_matches(const char *pattern, struct shelf_span name);

struct shelf_expired {
	uint64_t looked; /* messages */
	uint64_t messages, bytes; /* that went, or would */
};
/* Now and then, with the sums so far. Not 0: stop, with that. */
typedef int shelf_expire_step_fn(void *arg, const struct shelf_expired *so_far);
/*
 * shelf_expire_run(store, account, now_s, dry_run, step, arg, out)
 *   All rules for one account; may be stopped and run again at any point.
 *   step     may be NULL
 *   returns  0; SHELF_ENOACCOUNT; what STEP returned
 */
SHELF_CHECK int shelf_expire_run(struct shelf_store *store, uint32_t account, int64_t now_s, bool dry_run,
    shelf_expire_step_fn *step, void *arg, struct shelf_expired *out);

#endif
