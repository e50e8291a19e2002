/*
 * alias.h - addresses that lead to accounts of other names
 *
 * Shape     An alias is an address ("local@domain"; "local" alone; "@domain" for all of a domain that nothing else
 *           takes) and the addresses it stands for, in order. For "@domain" one target may be "@other": the same local
 *           part there. What the targets lead to, and whether to anything, is up to who asks: an alias may be
 *           made before its account.
 * Names     Account names' rules (account.h): ASCII letters are folded.
 * Threads   Any. Writing blocks (store.h).
 */
#ifndef MAILSHELF_ALIAS_H
#define MAILSHELF_ALIAS_H

#include <mailshelf/store.h>

enum { SHELF_ALIAS_TARGETS_BYTES = 4000 }; /* all targets of an alias, each with one byte more */

/*
 * shelf_alias_set(store, address, targets, n)
 *   Those and no others from now on; n 0: no such alias any more.
 *   returns  0; SHELF_ENAME address or a target is none, or "@other" where it cannot be; SHELF_ELIMIT too many targets;
 *            SHELF_EMISSING n is 0 and there is none
 */
SHELF_CHECK int shelf_alias_set(struct shelf_store *store, struct shelf_span address, const struct shelf_span *targets,
    size_t n);
/*
 * shelf_alias_find(store, address, targets_out)
 *   Exactly this one. TARGETS_OUT (of the caller, cleared first): each ends with a NUL.
 *   returns  0; SHELF_EMISSING, also for what cannot be an address; SHELF_EIO ...
 */
SHELF_CHECK int shelf_alias_find(struct shelf_store *store, struct shelf_span address, struct shelf_buf *targets_out);
/* In order of address. TARGETS as above. FN returns 0 to go on; anything else ends the walk and is returned. It may
 * read and write the store (the walk holds no snapshot while it runs). */
typedef int shelf_alias_fn(void *arg, struct shelf_span address, struct shelf_span targets);
SHELF_CHECK int shelf_alias_each(struct shelf_store *store, shelf_alias_fn *fn, void *arg);

#endif
