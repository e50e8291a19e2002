/*
 * salvage.h - what can still be read of a damaged store
 *
 * Shape     Every partition's file is read by itself, page by page, without the store being opened, so that
 *           neither a lost catalog nor a partition that no longer opens keeps the rest from coming out. Only
 *           whole messages come out: their bytes have the size and the SHA-256 they had when they came in.
 * Writes    None. The store should be at rest: what is written meanwhile may be reported as lost.
 * Memory    One message, 8 bytes for each message of a partition, and what engine/kv/kv_salvage.h says.
 */
#ifndef MAILSHELF_SALVAGE_H
#define MAILSHELF_SALVAGE_H

#include <mailshelf/message.h>

struct shelf_salvaged {
	const char *partition;
	uint32_t account;               /* 0: a body that no message names */
	struct shelf_span account_name; /* empty: the catalog does not say */
	uint32_t mailbox;
	struct shelf_span mailbox_name; /* empty: not known */
	bool held;                      /* removed by the user, or its mailbox is */
	bool flags_known;
	struct shelf_msg msg; /* uid 0, only blob and size: a body that no message names */
	const struct shelf_span *keywords;
	size_t nkeywords;
};

struct shelf_salvage_sink {
	/* BODY is the whole message. Not 0 ends the salvage and is returned. Spans live during the call. */
	int (*message)(void *arg, const struct shelf_salvaged *m, struct shelf_span body);
	/* A message that is known of and cannot be read. msg.size 0: not known. */
	void (*lost)(void *arg, const struct shelf_salvaged *m, const char *why);
	/* About a file as a whole. */
	void (*note)(void *arg, const char *file, const char *text);
	void *arg;
};

/*
 * shelf_salvage(dir, sink)
 *   DIR: the store's.
 *   returns  0 when everything has been tried; SHELF_EMISSING no partition there; what message() returned
 */
SHELF_CHECK int shelf_salvage(const char *dir, const struct shelf_salvage_sink *sink);

#endif
