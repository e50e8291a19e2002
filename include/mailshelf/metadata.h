/*
 * metadata.h - annotations: small named values that clients keep with a mailbox or with an account
 *
 * Names     "/shared/..." and "/private/...", ASCII without controls, "%" and "*", no empty level; folded to lower
 *           case. Those of a mailbox are its owner's: who else may see and set the shared ones is the door's business,
 *           and private ones nobody else has.
 * Values    Any bytes, NUL included; an empty value is not the same as none.
 * Limits    SHELF_SETTING_METADATA_ENTRIES for each mailbox, and for the account; SHELF_SETTING_METADATA_BYTES for
 *           each value. What is there already stays when they are lowered.
 * Lifetime  They belong to the mailbox: rename keeps them, rename of INBOX leaves a copy, delete takes them along.
 * Threads   Any. Writing blocks (store.h).
 * Sources   RFC 5464 3, 4.1.
 */
#ifndef MAILSHELF_METADATA_H
#define MAILSHELF_METADATA_H

#include <mailshelf/mailbox.h>

enum { SHELF_METADATA_NAME_MAX = 200 };

struct shelf_asker; /* acl.h */

struct shelf_metadata {
	struct shelf_span name;  /* folded or not */
	struct shelf_span value; /* data NULL: the entry is removed */
};
/*
 * shelf_metadata_set(store, account, mailbox, list, n, modseq_out)
 *   All of them or none, in one transaction. MAILBOX 0: of the account itself. The mailbox is then among those that
 *   changed last (mailbox.h).
 *   modseq_out  of the change, 0: there was nothing to change; may be NULL
 *   returns  0; SHELF_ENAME of an entry; SHELF_ETOOBIG a value; SHELF_ELIMIT too many entries; SHELF_ENOMAILBOX;
 *            SHELF_EFULL
 */
SHELF_CHECK int shelf_metadata_set(struct shelf_store *store, uint32_t account, uint32_t mailbox,
    const struct shelf_metadata *list, size_t n, uint64_t *modseq_out);
/* Of a mailbox, for who must have rights when it happens. SHELF_ENOPERM */
SHELF_CHECK int shelf_metadata_set_for(struct shelf_store *store, const struct shelf_asker *asker, uint32_t account,
    uint32_t mailbox, const struct shelf_metadata *list, size_t n, uint64_t *modseq_out);
/* NAME as it is stored, into OUT (SHELF_METADATA_NAME_MAX + 1). WHOLE: it must be one that can be set, not only the
 * beginning of some ("/shared/vendor/x"). SHELF_ENAME. */
SHELF_CHECK int shelf_metadata_name(struct shelf_span name, bool whole, char *out);
/* The value of a folded NAME. SHELF_EMISSING. */
SHELF_CHECK int shelf_metadata_get(struct shelf_rd *rd, uint32_t mailbox, const char *name,
    struct shelf_buf *out);
/* Names and sizes in order of name; NAME lives as long as the snapshot. FN may not read values. What it answers other
 * than 0 ends the walk and is returned. */
typedef int shelf_metadata_fn(void *arg, struct shelf_span name, uint32_t size);
SHELF_CHECK int shelf_metadata_each(struct shelf_rd *rd, uint32_t mailbox, shelf_metadata_fn *fn, void *arg);
/* The same of names and the modseq of each one's last change, 0: from before that was kept. Of one mailbox, or of
 * SHELF_METADATA_ALL: the account (0) and its mailboxes in order of id, deleted ones that are still held too. Values
 * are not read, however long. */
enum { SHELF_METADATA_ALL = 0xffffffff };
typedef int shelf_metadata_version_fn(void *arg, uint32_t mailbox, struct shelf_span name, uint64_t modseq);
SHELF_CHECK int shelf_metadata_versions(struct shelf_rd *rd, uint32_t mailbox, shelf_metadata_version_fn *fn,
    void *arg);

#endif
