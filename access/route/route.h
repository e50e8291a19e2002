/*
 * route.h - where mail for an address goes: accounts, mailboxes
 *
 * Shape     An address is looked for as an alias, as an account, then without its extension as
 *           either, then as one of a domain that is another domain, or has a catch-all.
 *           "local@domain" is tried before "local" alone, and that in local domains only. What an
 *           alias stands for is looked for in the same way; a target that is the alias itself is
 *           the account of that name.
 * Threads   Any. Reads the store; costs a lookup or a few.
 */
#ifndef ACCESS_ROUTE_H
#define ACCESS_ROUTE_H

#include <mailshelf/account.h>

struct conf;

enum {
	ROUTE_MAX = 1000,    /* accounts behind one address */
	ROUTE_DEPTH_MAX = 8, /* aliases of aliases */
	ROUTE_STEPS_MAX = 2 * ROUTE_MAX, /* names looked for: aliases that lead in circles end here */
	ROUTE_FIELDS_BYTES = 1024, /* of a message whose size was told: what a server on its way puts in front */
};

struct route_to {
	uint32_t account;
	char name[SHELF_ACCOUNT_NAME_MAX + 1];    /* of the account */
	char mailbox[SHELF_ACCOUNT_NAME_MAX + 1]; /* of the address's extension; "": INBOX */
};
struct route { /* {0}: empty */
	struct route_to *list; /* each account once */
	size_t n, cap;
};

/*
 * route_find(store, conf, local, domain, out)
 *   Adds to OUT what takes mail for the address. DOMAIN with len 0: none was given. Of the accounts behind an alias
 *   those that take none are left out.
 *   returns  0 when there is one; SHELF_ENOACCOUNT; SHELF_EDISABLED none takes mail; SHELF_ELIMIT too many,
 *            or aliases in a circle; SYSTEM errors: OUT may be incomplete
 */
SHELF_CHECK int route_find(struct shelf_store *store, const struct conf *conf, struct shelf_span local,
    struct shelf_span domain, struct route *out);
/* ADDRESS at its last "@". False: it has none, or nothing in front of it. */
bool route_split(struct shelf_span address, struct shelf_span *local, struct shelf_span *domain);
/* How its account is to be treated by who delivers (policy.h). */
struct route_rules {
	bool defer;    /* full: for now, not for good, as long as route_defers() says so */
	uint64_t defer_days; /* 0: for ever */
	uint64_t over; /* shelf_deliver_room() */
};
SHELF_CHECK int route_rules(struct shelf_store *store, const struct route_to *to, struct route_rules *out);
/* There was no room: true when that is for now. Notes that it happened; costs a read. */
bool route_defers(struct shelf_store *store, const struct route_to *to, const struct route_rules *rules);
/* The same account once. */
void route_add(struct route *r, const struct route_to *to);
void route_free(struct route *r);

#endif
