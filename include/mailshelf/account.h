/*
 * account.h - accounts, credentials, quotas
 *
 * Names     1..254 bytes of UTF-8 without control characters, blanks, "/", "\", quotes; "local" or
 *           "local@domain". ASCII letters are folded to lower case everywhere a name is taken.
 * Ids       u32, > 0, never reused in a store.
 * Quotas    Limits 0 = none. An account without a limit of its own has that of the policies quota_bytes,
 *           quota_messages, quota_mailboxes (policy.h), unless it was given SHELF_QUOTA_NONE. Usage counts RFC822.SIZE
 *           of every message in every mailbox, and mailboxes, INBOX included (RFC 9208 5.1-5.3), changed in the
 *           transaction that changes them: exact by construction.
 * Threads   Any. Writing blocks (store.h).
 */
#ifndef MAILSHELF_ACCOUNT_H
#define MAILSHELF_ACCOUNT_H

#include <mailshelf/store.h>

enum { SHELF_ACCOUNT_NAME_MAX = 254, SHELF_PASSWORD_MAX = 512 };

enum shelf_service { /* bits of struct shelf_account.services */
	SHELF_SERVICE_IMAP = 1,
	SHELF_SERVICE_POP3 = 2,
	SHELF_SERVICE_DELIVERY = 4,
	SHELF_SERVICE_ADMIN = 8, /* is an administrator: may set others' quotas by IMAP. Off at first */
	SHELF_SERVICE_SUBMISSION = 16, /* may log in at a front server to send mail */
	SHELF_SERVICE_ALL = 23, /* but for ADMIN */
};

struct shelf_quota {
	uint64_t limit_bytes, limit_messages, limit_mailboxes; /* 0: none */
	uint64_t used_bytes, used_messages, used_mailboxes;
	uint64_t held_bytes, held_messages;   /* expunged, still kept, not counted as used */
};

/* Instead of a limit: none, whatever policies say; as it is. 0: none of its own. */
#define SHELF_QUOTA_NONE UINT64_MAX
#define SHELF_QUOTA_KEEP (UINT64_MAX - 1)

/* What the accounts of a domain may have together, and have. */
struct shelf_pool {
	uint64_t limit_bytes, limit_messages; /* 0: none */
	uint64_t used_bytes, used_messages;
};

struct shelf_account {
	uint32_t id;
	char name[SHELF_ACCOUNT_NAME_MAX + 1];
	unsigned services; /* what is switched on */
	bool disabled;     /* everything is off, whatever services says */
	bool has_password;
	int64_t created_s;
	uint32_t partition;
};

struct shelf_account_new {
	struct shelf_span name;
	struct shelf_span password; /* empty: no login until one is set */
	struct shelf_span hash;     /* instead of it: as of shelf_account_set_hash(); empty: none */
	uint64_t limit_bytes, limit_messages, limit_mailboxes;
};

/*
 * shelf_account_add(store, list, n, rc_out, id_out)
 *   Adds N accounts, each with its INBOX and the usual special-use mailboxes left to the client.
 *   rc_out   n results: 0, SHELF_ENAME, SHELF_EEXISTS, SHELF_ETOOBIG (password); NULL: not wanted
 *   id_out   n ids, 0 where refused; NULL: not wanted
 *   returns  0 when every account was added, the first refusal otherwise (the others are added), or
 *            a SYSTEM error. Safe to run again: what is there is SHELF_EEXISTS.
 */
SHELF_CHECK int shelf_account_add(struct shelf_store *store, const struct shelf_account_new *list,
    size_t n, int *rc_out, uint32_t *id_out);
SHELF_CHECK int shelf_account_find(struct shelf_store *store, struct shelf_span name,
    struct shelf_account *out);
SHELF_CHECK int shelf_account_get(struct shelf_store *store, uint32_t id, struct shelf_account *out);
/* In order of name. fn returns 0 to go on; anything else ends the walk and is returned. FN may read
 * and write the store (the walk holds no snapshot while it runs). */
typedef int shelf_account_fn(void *arg, const struct shelf_account *account);
SHELF_CHECK int shelf_account_each(struct shelf_store *store, shelf_account_fn *fn, void *arg);
/* Another number when any account was added, changed or deleted, by any process; costs nanoseconds. */
uint64_t shelf_accounts_version(struct shelf_store *store);
/* Who listens to the account (news.h) is told, as when its mail changes. */
SHELF_CHECK int shelf_account_set_services(struct shelf_store *store, uint32_t id, unsigned services,
    bool disabled);
/* Hashes with the system's default (yescrypt): tens of milliseconds of CPU. Empty: no login. */
SHELF_CHECK int shelf_account_set_password(struct shelf_store *store, uint32_t id,
    struct shelf_span password);
/*
 * shelf_account_set_hash(store, id, hash)
 *   A password as another server has hashed it: "{SCHEME}text" as Dovecot writes it, or a text of crypt(3). The first
 *   login with it makes an own hash, but for texts of crypt(3), which stay.
 *   returns  0; SHELF_EINVALID: no scheme that is known (engine/mail/scheme.c), not whole, or of a cost that would
 *            hold up a login for seconds; SHELF_EBUSY: a password of an app came meanwhile, try again
 */
SHELF_CHECK int shelf_account_set_hash(struct shelf_store *store, uint32_t id, struct shelf_span hash);
bool shelf_hash_known(struct shelf_span hash); /* would it be taken? */
/* The name is free at once, the mail is removed in the background. Who listens to the account is told. */
SHELF_CHECK int shelf_account_delete(struct shelf_store *store, uint32_t id);

/*
 * shelf_account_login(store, name, password, service, out)
 *   Costs a password hash (tens of milliseconds; the same for unknown names), so call it on a
 *   worker; a login verified in the last minutes is remembered (keyed hash, in memory only) and
 *   costs microseconds until the password changes.
 *   returns  0; SHELF_EAUTH wrong name or password, no password set; SHELF_EDISABLED right password
 *            but the account or the service is switched off
 */
SHELF_CHECK int shelf_account_login(struct shelf_store *store, struct shelf_span name,
    struct shelf_span password, enum shelf_service service, struct shelf_account *out);

/*
 * Since when mail has been refused for want of room, seconds; 0: it has not, or room was made since (a message
 * removed, another limit). shelf_quota_refused() says so after a refusal, and does not wait for the commit.
 */
SHELF_CHECK int shelf_quota_full_since(struct shelf_store *store, uint32_t id, int64_t *since_s_out);
void shelf_quota_refused(struct shelf_store *store, uint32_t id);
SHELF_CHECK int shelf_quota_get(struct shelf_rd *rd, struct shelf_quota *out);
/*
 * shelf_pool_get(store, domain, out)
 *   The pool of a domain (policies pool_bytes, pool_messages of "@domain"): a limit beside those of accounts. Exact:
 *   whoever brings mail, in whatever partition, the sum never passes it; but for deliveries that no limit counts for,
 *   and what was there before. Usage is read partition by partition.
 *   returns  0; SHELF_EMISSING it has none; SHELF_ENAME
 */
SHELF_CHECK int shelf_pool_get(struct shelf_store *store, struct shelf_span domain, struct shelf_pool *out);
/* Limits may be below what is used: then nothing comes until enough has gone. */
SHELF_CHECK int shelf_quota_set(struct shelf_store *store, uint32_t id, uint64_t limit_bytes,
    uint64_t limit_messages, uint64_t limit_mailboxes);
/*
 * shelf_quota_check(store, id, kept_out, counted_out)
 *   Counts everything again in one snapshot, beside running writers.
 *   returns  0 when equal, 1 when they differ
 */
SHELF_CHECK int shelf_quota_check(struct shelf_store *store, uint32_t id,
    struct shelf_quota *kept_out, struct shelf_quota *counted_out);

#endif
