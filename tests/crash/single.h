/*
 * single.h - one operation on a prepared store, with one call of the disk or of memory failing
 *
 * Shape     single_ops.c has the operations: what a store is prepared with, what is then done, what must work after
 *           a fault. single_list.c tells what is in a store as lines that can be compared. crash_single.c does every
 *           operation once for each call that it makes, from the same prepared files, and compares.
 */
#ifndef TESTS_SINGLE_H
#define TESTS_SINGLE_H

#include "support.h"
#include <mailshelf/mailshelf.h>

struct single {
	char dir[4096]; /* has store/, backup, restored/ */
	struct shelf_store *store;
	uint32_t joe, ann, archive, last; /* account ids; LAST's mail comes behind a fault */
	uint32_t box, trash;              /* joe's */
};
enum { SINGLE_INBOX = 1 /* mailbox id in every account */ };

enum single_kind {
	SINGLE_WHOLE,  /* one transaction: as before, or as after */
	SINGLE_PARTS,  /* several: each message and mailbox as before or as after */
	SINGLE_REMOVE, /* the same, and what is removed may be let go where there is no room to hold it */
	SINGLE_MOVE,   /* the same, and behind what must work then each message is in one place */
};
struct single_op {
	const char *name;
	enum single_kind kind;
	int (*prepare)(struct single *s); /* more than single_fill, on an open store; NULL: nothing */
	int (*run)(struct single *s);     /* calls are counted here */
	int (*after)(struct single *s);   /* no fault any more: must answer 0. NULL: nothing more than a delivery */
	bool opens;                       /* RUN opens the store itself */
};
extern const struct single_op single_ops[];
extern const unsigned single_ops_count;

/* What every prepared store has; 0 or an error. */
int single_fill(struct single *s);
int single_find(struct single *s); /* the ids */
int single_deliver(struct single *s, uint32_t account, const char *text);
void single_path(const struct single *s, const char *name, char path[4200]);

/* Lines of text: each account, mailbox, message, held message of a store; times and numbers of changes left out,
 * and the mail of LAST. */
struct single_lines {
	struct shelf_buf text;
	char **line; /* ascending */
	size_t n;
};
int single_list(struct single *s, struct single_lines *out);
void single_lines_free(struct single_lines *l);
bool single_same(const struct single_lines *a, const struct single_lines *b, struct shelf_buf *why);
/* Each line of IS is one of BEFORE or AFTER, what both have is there, and, unless HELD_MAY_GO, of each body there is
 * at least as much as in the poorer of them. */
bool single_between(const struct single_lines *is, const struct single_lines *before, const struct single_lines *after,
    bool held_may_go, struct shelf_buf *why);
/* Of each body as many messages are there, held ones aside, as in BEFORE. */
bool single_as_many(const struct single_lines *is, const struct single_lines *before, struct shelf_buf *why);
/* All of IS is in AFTER but what is held, and all of AFTER but what is held is there. */
bool single_same_but_held(const struct single_lines *is, const struct single_lines *after, struct shelf_buf *why);

#endif
