/*
 * import.h - appending from a source that may be read again: what was stored once is not stored twice
 *
 * The mark of each message is written in the transaction that stores the message, so an import that was
 * cut off at any point goes on where it stopped.
 */
#ifndef MAILSHELF_IMPORT_H
#define MAILSHELF_IMPORT_H

#include <mailshelf/message.h>

/*
 * shelf_import_append(store, account, mailbox, items, item_ids, n, stored_out, result_out)
 *   As shelf_append, but an item whose id has a mark in the account is passed over.
 *   items       also_id: a second mark for the same message, which is set whether it is stored now or was there;
 *               shelf_import_probe() can be asked for it, when the source knows that much before it reads the message
 *   item_ids    16 bytes each, chosen by the caller: the same source message gives the same id
 *   stored_out  n times flags: SHELF_IMPORT_...; without STORED it was there already
 *   result_out  first_uid of those stored now (0 when none was)
 *   returns     as shelf_append: all that were missing are stored, or none; SHELF_ESYNTAX: a unique-id is none
 */
enum {
	SHELF_IMPORT_STORED = 1,     /* now */
	SHELF_IMPORT_UIDL_TAKEN = 2, /* but not under items[i].uidl: another message has it */
	SHELF_IMPORT_UIDL_GIVEN = 4, /* it was there, where it was put, without a unique-id, and has got that */
	SHELF_IMPORT_UID_KEPT = 8,   /* under items[i].uid */
};
/* Uids above are not taken over: those to come need room. */
#define SHELF_UID_KEPT_MAX 0xefffffffu
SHELF_CHECK int shelf_import_append(struct shelf_store *store, uint32_t account, uint32_t mailbox,
    const struct shelf_append *items, const uint8_t (*item_ids)[16], size_t n, uint8_t *stored_out,
    struct shelf_append_result *result_out);
/*
 * shelf_mailbox_adopt(store, account, mailbox, uidvalidity)
 *   The mailbox, to which no message has come yet, goes on with the UIDVALIDITY it had elsewhere, and with the
 *   uids that its messages are imported with: clients need not read them again. Nothing to do when it has done so
 *   before.
 *   returns  0; SHELF_EBUSY messages have come; SHELF_EEXISTS the account has given it to another mailbox, or may have;
 *            SHELF_EINVALID it is 0 or leaves no room for others; SHELF_ENOMAILBOX; SHELF_ENOACCOUNT; SHELF_EFULL
 */
SHELF_CHECK int shelf_mailbox_adopt(struct shelf_store *store, uint32_t account, uint32_t mailbox,
    uint32_t uidvalidity);
/* How many of these ids have a mark? For a dry run: flags as above, 1 would be stored. */
SHELF_CHECK int shelf_import_probe(struct shelf_rd *rd, const uint8_t (*item_ids)[16], size_t n,
    uint8_t *would_store_out);

#endif
