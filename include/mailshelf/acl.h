/*
 * acl.h - who may do what with a mailbox besides its owner; what others share with a user
 *
 * Shape     A mailbox has up to SHELF_ACL_MAX entries: an identifier and rights. An identifier is the name of an
 *           account (which need not exist: who asks learns nothing of it) or "anyone"; with "-" in front the
 *           entry takes rights away. What a user may do is the sum of the entries that name him or anyone, less
 *           those that take from him or anyone.
 * Owner     Whose account it is. Without an entry of his own he has all rights; whatever entries say, he
 *           keeps SHELF_RIGHTS_OWNER, so that he can change them.
 * Lifetime  Entries belong to the mailbox: rename keeps them, a new mailbox inherits those of the nearest one
 *           above it, delete takes them along, undelete brings them back. Those for an account go when it is
 *           deleted: a later account of that name gets nothing.
 * Threads   Any. Writing blocks (store.h).
 * Sources   RFC 4314 2, 3, 5.1.
 */
#ifndef MAILSHELF_ACL_H
#define MAILSHELF_ACL_H

#include <mailshelf/account.h>
#include <mailshelf/mailbox.h>

enum shelf_right { /* bits, RFC 4314 2.1; the order of "lrswipkxtea" */
	SHELF_RIGHT_LOOKUP = 1,
	SHELF_RIGHT_READ = 2,
	SHELF_RIGHT_SEEN = 4,
	SHELF_RIGHT_WRITE = 8,
	SHELF_RIGHT_INSERT = 16,
	SHELF_RIGHT_POST = 32, /* not asked by the store */
	SHELF_RIGHT_CREATE = 64,
	SHELF_RIGHT_DELETE = 128,
	SHELF_RIGHT_DELETE_MESSAGES = 256,
	SHELF_RIGHT_EXPUNGE = 512,
	SHELF_RIGHT_ADMIN = 1024,
	SHELF_RIGHTS_ALL = 2047,
	SHELF_RIGHTS_OWNER = SHELF_RIGHT_LOOKUP | SHELF_RIGHT_ADMIN,
	SHELF_RIGHTS_FLAGS = SHELF_RIGHT_SEEN | SHELF_RIGHT_WRITE | SHELF_RIGHT_DELETE_MESSAGES,
};

enum {
	SHELF_ACL_MAX = 256,                                 /* entries of a mailbox: SHELF_ELIMIT beyond */
	SHELF_ACL_NAME_MAX = SHELF_ACCOUNT_NAME_MAX + 1, /* an identifier, with its "-" */
};

/*
 * Who asks for a change, and the rights he must have in that mailbox, whoever it belongs to. They are looked at in
 * the transaction that makes the change, so that one that was taken from him is of no use from then on:
 * SHELF_ENOPERM, and nothing of that transaction happens. No asker (NULL): nobody is asked.
 */
struct shelf_asker {
	const char *name; /* of his account, as stored */
	uint32_t account; /* his */
	unsigned needs;   /* enum shelf_right, all of them */
};

enum shelf_acl_op { SHELF_ACL_SET, SHELF_ACL_ADD, SHELF_ACL_REMOVE };
/*
 * shelf_acl_set(store, account, mailbox, who, op, rights)
 *   Changes one entry; one without rights is removed (of the owner: he keeps what he always has).
 *   WHO      an identifier, folded like the name of an account
 *   returns  0; SHELF_ENAME of WHO; SHELF_ENOMAILBOX; SHELF_ELIMIT; SHELF_EFULL
 */
SHELF_CHECK int shelf_acl_set(struct shelf_store *store, uint32_t account, uint32_t mailbox,
    struct shelf_span who, enum shelf_acl_op op, unsigned rights);
/* The same for who must have rights himself, when it happens. */
SHELF_CHECK int shelf_acl_set_for(struct shelf_store *store, const struct shelf_asker *asker, uint32_t account,
    uint32_t mailbox, struct shelf_span who, enum shelf_acl_op op, unsigned rights);
/* WHO as it is stored, into OUT (SHELF_ACL_NAME_MAX + 1). SHELF_ENAME: no identifier. */
SHELF_CHECK int shelf_acl_identifier(struct shelf_span who, char *out);

/*
 * Letters of rights, "lrs". Reading takes "c" for "kx" and "d" for "te"; writing adds them when a member is there
 * (RFC 4314 2.1.1). SHELF_EINVALID: another letter. OUT has SHELF_RIGHTS_TEXT_BYTES and is returned.
 */
enum { SHELF_RIGHTS_TEXT_BYTES = 14 };
SHELF_CHECK int shelf_rights_parse(struct shelf_span text, unsigned *rights_out);
const char *shelf_rights_text(unsigned rights, char *out);

/* What the user NAME may do; OWNER: the account of RD is his. */
SHELF_CHECK int shelf_acl_rights(struct shelf_rd *rd, uint32_t mailbox, const char *name, bool owner,
    unsigned *rights_out);
/* The entries, that of the owner OWNER_NAME first (also when there is no row for it). WHO lives as long as the
 * snapshot. What FN answers other than 0 ends the walk and is returned. */
typedef int shelf_acl_fn(void *arg, struct shelf_span who, unsigned rights);
SHELF_CHECK int shelf_acl_each(struct shelf_rd *rd, uint32_t mailbox, const char *owner_name,
    shelf_acl_fn *fn, void *arg);

/*
 * shelf_shared_each(rd, name, fn, arg)
 *   The mailboxes of RD's account for which entries give the user NAME any rights, in order of id. It reads
 *   entries, not mailboxes: what is not shared costs nothing.
 */
typedef int shelf_shared_fn(void *arg, const struct shelf_mailbox *mailbox, unsigned rights);
SHELF_CHECK int shelf_shared_each(struct shelf_rd *rd, const char *name, shelf_shared_fn *fn, void *arg);
/*
 * shelf_sharers(store, name, owners_out, count_out)
 *   The accounts that share something with the user NAME or with anyone, ascending; kept in an index, so it costs what
 *   is shared, not what accounts there are. Some may do so no longer: shelf_shared_each() is what counts.
 *   The caller frees *owners_out, which is NULL for none.
 */
SHELF_CHECK int shelf_sharers(struct shelf_store *store, const char *name, uint32_t **owners_out,
    size_t *count_out);

#endif
