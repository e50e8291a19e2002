/*
 * imap_list.h - mailbox names as LIST sees them: patterns, the tree, special uses
 */
#ifndef ACCESS_IMAP_LIST_H
#define ACCESS_IMAP_LIST_H

#include "imap.h"

/* cmd_list.c: "Sent" in any case to SHELF_USE_SENT; 0: none of ours. */
unsigned imap_use_of(struct shelf_span name);

/* ---- Patterns (imap_pattern.c) --------------------------------------------------------------- */

enum { IMAP_PATTERN_MAX = 2 * SHELF_MAILBOX_NAME_MAX + 1 }; /* nothing longer can match a name */

struct imap_pattern;
/* TEXT as the client sent it (UTF-8 or modified UTF-7, with % and *). One that cannot match any name is fine.
 * In ARENA. STATES_OUT: a measure of what matching costs. */
struct imap_pattern *imap_pattern_new(struct shelf_arena *arena, struct shelf_span text, bool is_utf8,
    size_t *states_out);
/* Work is bounded by len(name) * len(pattern) / 64, whatever the wildcards. */
bool imap_pattern_match(const struct imap_pattern *pattern, struct shelf_span name);

/* ---- The tree (imap_tree.c) ------------------------------------------------------------------ */

/* A name that exists, is subscribed, or has inferiors. */
struct imap_node {
	struct shelf_span name;
	uint32_t account;     /* whose */
	uint32_t id;          /* 0: there is no such mailbox */
	unsigned rights;      /* in another's mailbox: enum shelf_right, with "l" */
	uint32_t parent;      /* index + 1; 0: top level */
	unsigned special_use;
	bool subscribed;
	bool has_children;    /* that exist */
	/* set by the command */
	bool matches, satisfies;
	bool below;           /* a descendant satisfies */
	bool below_unmatched; /* a descendant satisfies and is not listed itself */
};

struct imap_tree {
	struct imap_node *nodes; /* parents before children, in arena */
	size_t count;
};
/*
 * imap_tree_read(of, arena, out)
 *   All names of an account, in one snapshot; then, with OTHERS, those that other accounts share with it, one
 *   account after the other. Everything in ARENA.
 *   cost     some milliseconds for 10,000 names: a worker's business where it is a command's (LIST)
 *   threads  touches only OF, ARENA and OUT
 */
struct imap_tree_of {
	struct shelf_store *store;
	uint32_t account;
	const char *account_name;
	bool others;
};
struct imap_tree_of imap_tree_of(struct imap_session *s, bool others);
SHELF_CHECK int imap_tree_read(const struct imap_tree_of *of, struct shelf_arena *arena,
    struct imap_tree *out);
/* cmd_list.c: "\HasChildren \Sent": what stands in the parentheses of a LIST response. */
void imap_list_attributes(struct imap_session *s, const struct imap_node *node, bool tell_subscribed);
/*
 * imap_list_one(c, name, given)
 *   The LIST response of a mailbox that exists, as it is now, with OLDNAME when the client GIVEs it another form
 *   (RFC 9051 6.3.9.7).
 */
SHELF_CHECK int imap_list_one(struct imap_cmd *c, struct shelf_span name, struct shelf_span given);
/* Tells parents of what is below them: fills below and below_unmatched. */
void imap_tree_raise(struct imap_tree *tree);

#endif
