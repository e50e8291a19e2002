/*
 * imap_sources.h - the mailboxes of ESEARCH IN (...)
 *
 * Shape     Filters are read first, all of them, then the names of the account once. A mailbox that several
 *           filters mean is in the list once; one that is not there is passed over.
 * Sources   RFC 7377 2.2, 4; RFC 5465 6, 8 (filter-mailboxes).
 */
#ifndef ACCESS_IMAP_SOURCES_H
#define ACCESS_IMAP_SOURCES_H

#include "imap.h"

enum { IMAP_SOURCES_NAMES_MAX = 1000 }; /* mailboxes named in one command */

struct imap_source {
	uint32_t account, mailbox; /* id */
	struct shelf_span name;    /* as the client knows it; in the command's arena */
};

enum imap_source_kind {
	IMAP_SOURCE_SELECTED,
	IMAP_SOURCE_PERSONAL, /* and inboxes: mail may be delivered into any mailbox */
	IMAP_SOURCE_SUBSCRIBED,
	IMAP_SOURCE_SUBTREE,
	IMAP_SOURCE_SUBTREE_ONE,
	IMAP_SOURCE_MAILBOXES,
};
struct imap_source_filter {
	enum imap_source_kind kind;
	struct shelf_span name; /* of one mailbox, for the last three */
};

struct imap_sources {
	struct imap_source_filter *filter;
	size_t nfilter, filter_cap;
	struct imap_source *source;
	size_t n, cap;
};

/* "IN (...) ", or nothing: then the selected mailbox is meant. What is allocated lies in the parser's arena. */
bool imap_sources_parse(struct imap_parser *p, struct imap_sources *out);
/* The selected mailbox alone? */
bool imap_sources_selected_only(const struct imap_sources *sources);
bool imap_sources_selected(const struct imap_sources *sources); /* that among others? */
/* Finds the mailboxes; into the command's arena. */
SHELF_CHECK int imap_sources_find(struct imap_cmd *c, struct imap_sources *sources);

#endif
