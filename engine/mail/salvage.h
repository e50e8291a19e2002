/*
 * salvage.h (private) - what the two halves of the salvage share
 *
 *   salvage.c       the files of a store, names from the catalog, which rows look like what
 *   salvage_walk.c  accounts, mailboxes, messages and bodies of one partition
 */
#ifndef ENGINE_MAIL_SALVAGE_H
#define ENGINE_MAIL_SALVAGE_H

#include <mailshelf/salvage.h>

#include "kv_salvage.h"
#include "mail.h"

struct salvage_name {
	uint32_t account;
	char *name;
};

struct salvage {
	const struct shelf_salvage_sink *sink;
	struct salvage_name *name; /* ascending by account */
	size_t nnames, names_cap;
	struct blob_copies copies; /* of dictionaries */
	/* Of the partition being read: */
	const char *partition;
	struct kv_salvage *kv;
	uint64_t *seen; /* blobs that messages name */
	size_t nseen, seen_cap;
};

/* NULL: not known. */
const char *salvage_name_of(const struct salvage *s, uint32_t account);
/* Everything in s->kv. DAMAGED: not all of it can be read, so bytes without a row may be somebody's mail. */
SHELF_CHECK int salvage_walk(struct salvage *s, bool damaged);

#endif
