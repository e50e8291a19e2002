/*
 * thread.h - the inside of threading: messages, nodes, stages
 *
 * Shape     A message is one that was searched, numbered from 0 in mailbox order. A node is a place in the
 *           tree, numbered from 1; one without a message stands for an id that others refer to (RFC 5256 says
 *           dummy). Everything is numbers in arrays, so that nothing is recursive and every loop can stop.
 */
#ifndef ENGINE_SEARCH_THREAD_H
#define ENGINE_SEARCH_THREAD_H

#include "sort.h"

struct thread_message {
	uint32_t uid, node;
	uint64_t subject; /* hash of its base subject, lowest bit: it is a reply or forward; empty: 0 or 1 */
};

struct thread_node {
	uint64_t id;      /* hash of its message id; of a root without message: the first of its messages + 1 */
	uint32_t parent;  /* 0: none */
	uint32_t child;   /* while references are read: how many there are; at the end: the first */
	uint32_t next;    /* sibling; before that, of a root without message: how many messages hang on it */
	uint32_t message; /* its number + 1; 0: a message that is not there */
};

struct shelf_thread {
	struct search_walk walk;
	enum shelf_thread_algorithm algorithm;
	struct search_hash_key key;
	struct thread_message *message;
	size_t messages;
	uint64_t *row;              /* what is sorted: see the algorithm */
	struct search_merge merge;
	size_t stage, at;           /* where it stands, thread.c */
	struct thread_node *node;   /* [1..nodes] */
	size_t nodes, node_cap;
	size_t absent, absent_max;  /* nodes that had no message when references were read */
	uint32_t *table;            /* nodes by id, then roots by subject */
	size_t mask;
	uint32_t *item;             /* roots in the order of step 4 */
	size_t items;
	uint64_t subject;           /* of the thread at hand */
	uint32_t first, last;       /* roots of the result; last: child of the root at hand, too */
	struct shelf_buf text, mapped;
	uint64_t ring[SHELF_THREAD_REFERENCES_MAX];
};

/* A stage: begin(), then step() for each number below count(). Without step the rows are sorted, which begin()
 * has handed to the merge. An empty one ends the list. */
struct thread_stage {
	int (*begin)(struct shelf_thread *t); /* NULL: nothing to do */
	size_t (*count)(const struct shelf_thread *t);
	void (*step)(struct shelf_thread *t, size_t i);
};
extern const struct thread_stage thread_by_references[], thread_by_subject[];

/* ---- Of all algorithms (thread.c) ---------------------------------------------------------------- */

/* An empty table for MAX numbers. SHELF_ENOMEM. */
SHELF_CHECK int thread_table(struct shelf_thread *t, size_t max);
/* Hands N rows of STRIDE numbers to the merge. SHELF_ENOMEM. */
SHELF_CHECK int thread_sort(struct shelf_thread *t, size_t n, size_t stride);
size_t thread_messages(const struct shelf_thread *t);
/* Appends a root to the result. */
void thread_root(struct shelf_thread *t, uint32_t node);

/* ---- Step 1 of REFERENCES (thread_links.c) ----------------------------------------------------------- */

/* Makes room for COUNT messages. SHELF_ENOMEM. */
SHELF_CHECK int thread_links_begin(struct shelf_thread *t, size_t count);
/* The message at hand, number I: its place among those before it. */
void thread_links_add(struct shelf_thread *t, size_t i);

#endif
