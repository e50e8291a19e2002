/*
 * crash.h - a process that works on a store is killed; what it acknowledged must be there
 *
 * Shape     The worker (crash_worker.c) runs in a child process. Each of its threads plays operations of
 *           a model on an account of its own and, now and then, delivers a message to two accounts that
 *           all threads share. Every operation that the engine has confirmed goes into a pipe. After the
 *           death of the child the parent replays the models as far as the pipe says (crash_verify.c)
 *           and compares: each account must be as before or as after the one operation under way.
 * fork      The parent opens the store only while no child lives and closes it before the next fork.
 */
#ifndef TESTS_CRASH_H
#define TESTS_CRASH_H

#include <sys/types.h>

#include <mailshelf/mailshelf.h>

#include "model.h"

enum { CRASH_THREADS_MAX = 8, CRASH_SHARED = 2, CRASH_BOXES_MAX = 4096, CRASH_SENT_MAX = 65536,
	CRASH_DIED = 9 /* exit status of a worker that died at its fault */ };

/* What the parent has seen of a mailbox id. */
struct crash_box {
	char name[MODEL_NAME_MAX];
	uint32_t id, uidvalidity;
	bool gone;
};

struct crash_account {
	uint32_t id;
	struct model *model;
	uint64_t modseq; /* the highest one acknowledged or seen */
	struct crash_box *box;
	size_t nboxes;
	uint32_t sent;   /* deliveries to the shared accounts begun so far */
};

struct crash {
	char dir[4200]; /* of the store */
	unsigned threads;
	uint64_t seed;
	struct crash_account account[CRASH_THREADS_MAX];
	uint32_t shared[CRASH_SHARED]; /* account ids */
	uint32_t *shared_uid[CRASH_SHARED]; /* by thread * CRASH_SENT_MAX + number; 0: not seen */
	bool *shared_acked;
	struct model *contents;        /* of the shared deliveries */
	bool verbose;
};

enum crash_what { CRASH_OP, CRASH_SENT_BEGIN, CRASH_SENT_END, CRASH_COMPLETE, CRASH_WRONG, CRASH_REFUSED };

struct crash_ack {
	uint32_t thread;
	enum crash_what what;
	uint64_t number; /* operations so far; number of a delivery; REFUSED: the kv_point; COMPLETE: the
	                    fault came and was survived */
	uint64_t modseq;
	char text[160];  /* WRONG: what the engine answered */
};

struct crash_plan {
	uint64_t ops;        /* of each thread; 0: until killed */
	uint64_t fault_at;   /* the n-th call of kv_fault; 0: never */
	bool fault_is_error; /* answer SHELF_EFULL there, instead of dying */
	unsigned kill_ms;    /* kill -9 after so long; 0: never */
};

/* Makes the accounts of a new store, in a child process. */
void crash_prepare(struct crash *c, const char *dir, unsigned threads, uint64_t seed);
void crash_free(struct crash *c);
/* The child's work: opens the store, runs the threads; does not return. */
void crash_work(struct crash *c, const struct crash_plan *plan, int pipe_fd) __attribute__((noreturn));

struct crash_result {
	bool good;     /* otherwise it was said on stdout what is wrong */
	bool complete; /* all threads did all their operations */
	bool faulted;  /* the fault was reached */
};
/* Runs a child to its end and compares. */
struct crash_result crash_round(struct crash *c, const struct crash_plan *plan);
/* What is left after a round: the parent's look at every account. PENDING: one more operation may have
 * happened. */
bool crash_verify(struct crash *c, bool pending);

#endif
