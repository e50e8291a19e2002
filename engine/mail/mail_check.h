/* mail_check.h (private) - what the two halves of the check share */
#ifndef ENGINE_MAIL_CHECK_H
#define ENGINE_MAIL_CHECK_H

#include "mail.h"

struct check_ref {
	uint64_t blob;
	uint32_t count; /* 0: empty slot */
};

struct check {
	struct shelf_store *store;
	shelf_progress_fn *progress;
	shelf_finding_fn *found;
	void *arg;
	uint32_t account;	/* being walked, for findings */
	struct kv_view *view;	/* of the shard */
	struct check_ref *refs; /* open addressing, power of two */
	size_t refs_cap, refs_used;
	uint64_t blobs, done;
	struct check_account {
		uint32_t id, shard;
		bool has_user;
	} * list; /* accounts ever placed, ascending */
	size_t n, cap;
	struct index_page *page;
};

void check_found(struct check *k, unsigned invariant, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void check_count_ref(struct check *k, uint64_t blob);

/* Names, ids and credentials (invariant 10). */
SHELF_CHECK int check_catalog(struct check *k);
/* All accounts of the shard of k->view. */
SHELF_CHECK int check_accounts(struct check *k, uint32_t shard);

#endif
