/*
 * store_rig.h - a small store in a directory of its own, for the unit tests of the engine
 *
 * Every call checks its own success, so tests say what they want to know and nothing else. Two accounts:
 * joe (id joe) and ann (id ann), no limits, no passwords.
 */
#ifndef TESTS_STORE_RIG_H
#define TESTS_STORE_RIG_H

#include <mailshelf/mailshelf.h>

struct rig {
	char dir[4096];	 /* temporary directory */
	char path[4200]; /* of the store */
	struct shelf_store *store;
	uint32_t joe, ann;
	uint32_t inbox; /* id in both accounts */
};

/* params NULL: two partitions, map of 64 MiB each, hold of 14 days. */
void rig_open(struct rig *r, const struct shelf_store_params *params);
void rig_close(struct rig *r);	/* with a check that must find nothing; no snapshot has lived long */
void rig_reopen(struct rig *r); /* close, open */
/* How many findings `check` has; printed. */
unsigned rig_findings(struct rig *r);

/* "Subject: TEXT", an empty line, a body of BODY_LEN bytes. */
struct shelf_draft *rig_draft(struct rig *r, const char *text, size_t body_len);
/* One message into a mailbox; its uid. */
uint32_t rig_append(struct rig *r, uint32_t account, uint32_t mailbox, const char *text,
		    uint32_t flags);
/* COUNT equal messages in one transaction. */
void rig_fill(struct rig *r, uint32_t account, uint32_t mailbox, unsigned count);
/* Some of everything that an account can hold; one large message is shared by both, with heads and without. */
void rig_furnish(struct rig *r);
uint32_t rig_create(struct rig *r, uint32_t account, const char *name);
struct shelf_mailbox rig_mailbox(struct rig *r, uint32_t account,
				 uint32_t mailbox); /* name cleared */
struct shelf_quota rig_quota(struct rig *r, uint32_t account);
uint64_t rig_modseq(struct rig *r, uint32_t account);
/* SHELF_ENOMESSAGE and the like come back. */
int rig_msg(struct rig *r, uint32_t account, uint32_t mailbox, uint32_t uid, struct shelf_msg *out);
/* Adds flags or a keyword ("" for none) to uids FIRST..LAST. */
void rig_flag(struct rig *r, uint32_t account, uint32_t mailbox, uint32_t first, uint32_t last,
	      enum shelf_flag_op op, uint32_t flags, const char *keyword);
struct shelf_uidset *rig_set(uint32_t first, uint32_t last);
/* The set as text, in a static buffer. */
const char *rig_text(const struct shelf_uidset *s);

#endif
