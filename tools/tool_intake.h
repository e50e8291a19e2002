/*
 * tool_intake.h - from a source's messages to commits: the pipeline of `import`
 *
 *   source_run -> sink -> ring of jobs -> drafters (hash, compress, scan) -> committer (in order)
 *   caller's thread                       2..4 threads                       1 thread
 *
 * Order     Messages are committed in the order of the source: only the oldest job is taken.
 * Memory    At most JOBS messages and FLIGHT_MAX bytes are under way; a message above INLINE_MAX is
 *           drafted by the reader while it is read, in the draft's fixed memory.
 * Resuming  A message is named by its mailbox's id, the kind of source, its content and how many
 *           messages with that content came before it in this run; the store keeps these names with
 *           the messages. The mailbox's id and not its name: who removes a mailbox and imports again
 *           gets the mail again.
 */
#ifndef TOOLS_TOOL_INTAKE_H
#define TOOLS_TOOL_INTAKE_H

#include <pthread.h>

#include "source.h"
#include "tools.h"

enum {
	INTAKE_JOBS = 256,
	INTAKE_BATCH = 64,
	INTAKE_BATCH_BYTES = 8 << 20,
	INTAKE_INLINE_MAX = 1 << 20,
	INTAKE_FLIGHT_MAX = 32 << 20,
	INTAKE_DRAFTERS_MAX = 4,
};

struct intake_folder {
	uint32_t mailbox; /* id; 0: a dry run, and it is not there yet */
	const char *kind;
	char *name;
	bool uids; /* are taken over */
};

enum intake_state { INTAKE_EMPTY, INTAKE_RAW, INTAKE_DRAFTING, INTAKE_DRAFTED };

struct intake_job {
	enum intake_state state;
	const struct intake_folder *folder;
	const char *file;
	uint64_t offset;
	struct shelf_buf bytes;
	struct shelf_draft *draft;
	uint64_t size;
	int rc; /* of making the draft */
	uint32_t flags;
	int64_t internaldate_s;
	int16_t zone_min;
	struct shelf_arena arena; /* keywords, unique-id */
	struct shelf_span uidl;
	uint32_t uid;
	bool has_id;
	uint8_t id[SOURCE_ID_BYTES]; /* of its source, for this mailbox */
	struct shelf_span *keywords;
	size_t nkeywords;
};

struct intake_totals {
	uint64_t found, stored, there, skipped, bytes, stored_bytes;
	uint64_t with_uidl;        /* stored under the unique-id they had */
	uint64_t without_uidl;     /* but it was none, or another message has it */
	uint64_t uidl_given;       /* to messages that were there */
	uint64_t with_uid;         /* stored under the uid they had */
	uint64_t without_keywords; /* stored, but the mailbox's 256 keywords are used up */
};

/* How many messages with this name came before: open addressing, 16-byte names that are hashes. */
struct intake_seen {
	struct {
		uint8_t name[16];
		uint64_t count; /* 0: free */
	} *slots;
	size_t cap, used;
};
uint64_t intake_seen_add(struct intake_seen *seen, const uint8_t name[16]);
void intake_seen_free(struct intake_seen *seen);

struct intake {
	struct tool *t;
	uint32_t account;
	bool dry_run;
	bool keep_uids;
	enum source_uidl uidl;
	struct source_uidls uidls;     /* of SOURCE_UIDL_LIST */
	struct shelf_span prefix;      /* --mailbox, or empty */
	unsigned use;                  /* the reader's: what the next folder is for */
	uint64_t input_bytes;          /* of the whole source; 0: not known */
	struct intake_folder **folders; /* the reader's */
	size_t nfolders;
	struct intake_seen seen;       /* the committer's */

	pthread_mutex_t mutex; /* over what follows */
	pthread_cond_t changed;
	struct intake_job jobs[INTAKE_JOBS]; /* state under the mutex, the rest is the state's owner's */
	uint64_t head, tail, draft_at;       /* oldest, next to fill, next to draft */
	uint64_t flight_bytes;
	bool reader_waits, reader_done, stop;
	int fatal;                           /* why it stopped */
	uint64_t input_done;
	struct intake_totals totals;
	struct tool_progress progress;

	pthread_t committer, drafters[INTAKE_DRAFTERS_MAX];
	size_t ndrafters;
};

/* Starts the threads. T, its store and PREFIX outlive IN. */
void intake_begin(struct intake *in, bool progress);
/* The functions the source calls. */
struct source_sink intake_sink(struct intake *in);
/* Lets what is under way end (DRAIN) or drops it; joins the threads; frees everything. */
void intake_end(struct intake *in, bool drain);
/* The committer's thread (tool_commit.c). */
void *intake_commit(void *arg);
/* Frees what a job holds. */
void intake_job_reset(struct intake_job *job);
/* Counts something left out and says so. Takes the mutex. */
void intake_problem(struct intake *in, const char *file, uint64_t offset, const char *text);

#endif
