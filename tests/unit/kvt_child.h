/*
 * kvt_child.h - processes beside the test that open the same database
 *
 * LMDB must not cross a fork: every child is made before its parent opens the database, and opens it
 * itself. Children report by _exit status and pipes, never by Check's assertions.
 */
#ifndef KVT_CHILD_H
#define KVT_CHILD_H

#include <sys/types.h>
#include "kvt.h"

struct kvt_child {
	pid_t pid;
	int go[2];   /* parent -> child */
	int said[2]; /* child -> parent */
};

/* Runs FN in a process of its own, for 100 s at most. The parent must not have T's database open. */
void kvt_spawn(struct kvt *t, struct kvt_child *c, int (*fn)(struct kvt_child *));
/* Waits for the end of the child; its exit status, or minus the signal that ended it. */
int kvt_reap(struct kvt_child *c);
/* Two workers that nod when they have begun, beside T, which is opened again; they end when they are nodded to, and
 * say a number each: their sum. */
void kvt_start_two(struct kvt *t, struct kvt_child *c, int (*a)(struct kvt_child *), int (*b)(struct kvt_child *));
uint32_t kvt_end_two(struct kvt_child *c);
bool kvt_hear(int fd, void *bytes, size_t len);
bool kvt_say(int fd, const void *bytes, size_t len);
/* One byte without meaning: "go on", "I am ready". */
bool kvt_wait(int fd);
bool kvt_nod(int fd);
void kvt_sleep_ms(long ms);

#endif
