/*
 * crash.h - a process that works on a store is killed; what it acknowledged must be there
 *
 * Shape     The worker (crash_worker.c) runs in child processes. Each of its threads plays operations of
 *           a model on an account of its own and, now and then, delivers a message to two accounts that
 *           all threads share, and adds or deletes an account. Every operation that the engine has
 *           confirmed goes into a pipe. The parent (crash_round.c) plays the models as far as the pipe
 *           says and compares (crash_verify.c): each account must be as before or as after the one
 *           operation under way.
 * Disk      disk.h makes single calls fail, and records them: crash_power.c makes from a record what a
 *           disk may hold after its power was cut.
 * fork      The parent opens the store only while no child lives and closes it before the next fork.
 */
#ifndef TESTS_CRASH_H
#define TESTS_CRASH_H

#include <sys/types.h>

#include <mailshelf/mailshelf.h>

#include "disk.h"
#include "model.h"
#include "support.h"

enum { CRASH_THREADS_MAX = 8, CRASH_SHARED = 2, CRASH_PARTITIONS = 2, CRASH_BOXES_MAX = 4096, CRASH_SENT_MAX = 65536,
	CRASH_EXTRAS_MAX = 4096, CRASH_ARCHIVES = 1, CRASH_ARCHIVED = 130, CRASH_INBOX = 1,
	CRASH_DIED = 9 /* exit status of a worker that died at its fault */ };

/* What the parent has seen of a mailbox id. */
struct crash_box {
	char name[MODEL_NAME_MAX];
	uint32_t id, uidvalidity;
	bool gone;
};

/* Accounts that a thread adds and deletes, numbered. */
enum crash_extra { CRASH_EXTRA_NONE, CRASH_EXTRA_COMING, CRASH_EXTRA_THERE, CRASH_EXTRA_GOING, CRASH_EXTRA_GONE };

struct crash_account {
	uint32_t id;
	struct model *model;
	uint64_t modseq; /* the highest one acknowledged or seen */
	struct crash_box *box;
	size_t nboxes;
	bool held_told;  /* CRASH_HELD has come for the next operation */
	uint64_t held;
	uint32_t sent;   /* deliveries to the shared accounts begun so far */
	uint32_t nextras;
	uint8_t extra[CRASH_EXTRAS_MAX]; /* enum crash_extra */
};

struct crash {
	char dir[4200]; /* of the store */
	unsigned threads;
	uint64_t seed;
	struct crash_account account[CRASH_THREADS_MAX];
	uint32_t shared[CRASH_SHARED]; /* account ids */
	uint32_t *shared_uid[CRASH_SHARED]; /* by thread * CRASH_SENT_MAX + number; 0: not seen */
	bool *shared_acked;
	bool backed_up;                /* the file DIR.backup has a generation */
	uint32_t archive[CRASH_ARCHIVES]; /* account ids; nobody changes their mail */
	struct model *contents;        /* of the shared deliveries */
	bool verbose;
};

enum crash_what {
	CRASH_OP,         /* number: operations so far; modseq */
	CRASH_SKIPPED,    /* the same, but it was refused and did not happen */
	CRASH_HELD,       /* number: which uids of the next RESTORE the store holds, when the disk was full */
	CRASH_SENT_BEGIN, /* number: of a delivery */
	CRASH_SENT_END,
	CRASH_EXTRA,      /* number: of an account; modseq: what it is now */
	CRASH_BACKUP,     /* a generation of the backup is done */
	CRASH_COMPLETE,   /* number: the fault came and was survived */
	CRASH_WRONG,      /* text: what the engine answered */
	CRASH_REFUSED,    /* the injected error ended the thread; number: the kv_point */
};

struct crash_ack {
	uint32_t thread;
	enum crash_what what;
	uint64_t number, modseq;
	char text[160];
};

struct crash_plan {
	uint64_t ops;        /* of each thread; 0: until killed */
	uint64_t fault_at;   /* the n-th call of kv_fault; 0: never */
	bool fault_is_error; /* answer SHELF_EFULL there, instead of dying */
	enum disk_kind disk; /* the disk_at-th call of that kind fails; then on */
	uint64_t disk_at;
	unsigned kill_ms;    /* kill -9 after so long; 0: never */
	unsigned processes;  /* that share the threads; 0: 1 */
	const char *record;  /* writes, syncs and acknowledgements go there; NULL: into the pipe */
};

/* Makes the accounts of a new store, in a child process. */
void crash_prepare(struct crash *c, const char *dir, unsigned threads, uint64_t seed);
void crash_free(struct crash *c);
/* The name of account I: of the threads, then the shared ones, then the archives. */
void crash_account_name(const struct crash *c, unsigned i, char name[16]);
/* The name of an account that a thread adds. */
void crash_extra_name(unsigned thread, uint32_t n, char name[32]);
/* The child's work: opens the store, runs its share of the threads; does not return. */
void crash_work(struct crash *c, const struct crash_plan *plan, unsigned process, int pipe_fd)
    __attribute__((noreturn));

struct crash_result {
	bool good;     /* otherwise it was said on stdout what is wrong */
	bool complete; /* all threads did all their operations */
	bool faulted;  /* the fault was reached */
};
/* Runs the children to their end and compares. */
struct crash_result crash_round(struct crash *c, const struct crash_plan *plan);
/* Takes note of what a worker says; false when that is wrong. Models move on. */
bool crash_hear(struct crash *c, const struct crash_ack *ack);
/* What is left after a round: the parent's look at every account. PENDING: one more operation may have
 * happened. */
bool crash_verify(struct crash *c, bool pending);

/* Each call of one of single_ops (single.h) fails once. STEP beyond 1: every so manieth, of some of the faults, which
 * SEED chooses. */
struct support_count crash_single(unsigned op, unsigned step, uint64_t seed, bool verbose);

/* Power cuts: one run of a scene (crash_power.c), about CUTS images of what a disk may hold, each verified. */
enum { CRASH_POWER_WORK, CRASH_POWER_MAKING, CRASH_POWER_SETTINGS };
struct support_count crash_power(unsigned scene, uint64_t seed, unsigned threads, unsigned cuts, bool verbose);

#endif
