/*
 * backup.h - a store in one file: made while it is used, incremental, read without a store
 *
 * Shape     The file is appended to; each run adds a generation that stands for the whole store and refers to
 *           what the file holds already. docs/backup-format.md has the layout. Every account is in it as of one
 *           version of it, with its held mail; so are names, password hashes and switches: the file is a secret.
 * Errors    SHELF_ESYNTAX the file is no backup; SHELF_EVERSION one of a later release; SHELF_EMISSING no such
 *           file, generation, account, mailbox; SHELF_ECORRUPT damage; SHELF_EBUSY another run writes the file.
 * Threads   A struct shelf_backup belongs to one thread at a time.
 */
#ifndef MAILSHELF_BACKUP_H
#define MAILSHELF_BACKUP_H

#include <mailshelf/account.h>
#include <mailshelf/message.h>

/* What went wrong with a part while the rest goes on: one call each. */
typedef void shelf_backup_problem_fn(void *arg, const char *text);

struct shelf_backup_done {
	uint64_t generation;
	uint64_t accounts, accounts_total;
	uint64_t unchanged;	       /* accounts taken over from the generation before as they are */
	uint64_t late;		       /* accounts that do not rest or are damaged: of an earlier run, or missing */
	uint64_t messages, bytes;      /* in the store, held mail included */
	uint64_t bodies, body_bytes;   /* copied by this run */
	uint64_t damaged;	       /* bodies that could not be read: not in the file */
	uint64_t added_bytes, file_bytes;
	uint64_t cut_bytes;	       /* of a run that had died, cut off */
};
/* Not 0: stop, with SHELF_ECANCELLED. */
typedef int shelf_backup_progress_fn(void *arg, const struct shelf_backup_done *so_far);

/*
 * shelf_backup_run(store, path, progress, problem, arg, done_out)
 *   Adds a generation to the file PATH, which is made (mode 0600) when it is not there. On disk when it returns 0.
 *   Beside any use of the store; no snapshot lives longer than two seconds. Memory: about 100 bytes for each body in
 *   the file.
 *   progress, problem   may be NULL
 */
SHELF_CHECK int shelf_backup_run(struct shelf_store *store, const char *path,
    shelf_backup_progress_fn *progress, shelf_backup_problem_fn *problem, void *arg,
    struct shelf_backup_done *done_out);

/* ---- Looking into a file -------------------------------------------------------------------------- */

struct shelf_backup;

struct shelf_backup_info {
	uint64_t generation;
	int64_t time_s;
	uint32_t partitions, hold_s;
	uint64_t accounts, messages, bytes;
	uint64_t late, damaged;
	uint64_t added_bytes;
	uint64_t tail_bytes; /* behind the last generation: of a run that died or goes on */
};
/* generation 0: the last one. */
SHELF_CHECK int shelf_backup_open(const char *path, uint64_t generation, struct shelf_backup **out);
void shelf_backup_close(struct shelf_backup **backup);
void shelf_backup_info(const struct shelf_backup *backup, struct shelf_backup_info *out);
/* The generations of the file, the last first. FN returns 0 to go on. */
typedef int shelf_backup_info_fn(void *arg, const struct shelf_backup_info *info);
SHELF_CHECK int shelf_backup_generations(struct shelf_backup *backup, shelf_backup_info_fn *fn, void *arg);

struct shelf_backup_account {
	uint32_t id;
	char name[SHELF_ACCOUNT_NAME_MAX + 1];
	bool late;
	uint64_t generation; /* that copied it */
	struct shelf_quota quota;
};
typedef int shelf_backup_account_fn(void *arg, const struct shelf_backup_account *account);
SHELF_CHECK int shelf_backup_accounts(struct shelf_backup *backup, shelf_backup_account_fn *fn, void *arg);

struct shelf_backup_mailbox {
	struct shelf_span name; /* lives during the call */
	uint32_t id, messages;
	uint64_t bytes;
	bool deleted; /* its mail is held */
};
typedef int shelf_backup_mailbox_fn(void *arg, const struct shelf_backup_mailbox *mailbox);
SHELF_CHECK int shelf_backup_mailboxes(struct shelf_backup *backup, const char *account,
    shelf_backup_mailbox_fn *fn, void *arg);

struct mime_part;
/* A message of a mailbox, in the order of uids. ENVELOPE is of the message's start and may be NULL (damage, or no
 * header); it lives during the call. */
typedef int shelf_backup_message_fn(void *arg, const struct shelf_msg *msg, const struct mime_part *root);
/* SHELF_ENOACCOUNT, SHELF_ENOMAILBOX. */
SHELF_CHECK int shelf_backup_messages(struct shelf_backup *backup, const char *account, struct shelf_span mailbox,
    shelf_backup_message_fn *fn, void *arg);

/*
 * shelf_backup_verify(backup, progress, problem, arg)
 *   Reads all that the generation stands for: every checksum, every body against its id, every reference.
 *   returns  0 when the walk ended (problems or not), or an error that stopped it
 */
SHELF_CHECK int shelf_backup_verify(struct shelf_backup *backup, shelf_progress_fn *progress,
    shelf_backup_problem_fn *problem, void *arg);

/* ---- Back into a store ---------------------------------------------------------------------------- */

struct shelf_restore_done {
	uint64_t accounts, accounts_total;
	uint64_t failed;	     /* accounts that are damaged in the file: told, not restored */
	uint64_t messages;	     /* restored, held mail included */
	uint64_t lost;		     /* of them: bytes not in the file or damaged, a note is in their place */
	uint64_t bytes;		     /* of them; shelf_backup_restore_messages only */
	uint64_t bodies, body_bytes; /* of these, written: not in the store before */
	uint64_t there;		     /* shelf_backup_restore_messages: left out, as they are in the target */
};
/* Not 0: stop, with SHELF_ECANCELLED. */
typedef int shelf_restore_progress_fn(void *arg, const struct shelf_restore_done *so_far);

/*
 * shelf_backup_restore_store(backup, dir, progress, problem, arg, done_out)
 *   Makes the store DIR as it was: accounts with their ids, mailboxes with uids, UIDVALIDITY and modseqs, flags,
 *   held mail. No other process can open it before it is whole. A run that was cut off is gone on with by the next.
 *   returns  0 (done_out->failed accounts left out); SHELF_EEXISTS DIR holds a store or other files; SHELF_EFULL
 */
SHELF_CHECK int shelf_backup_restore_store(struct shelf_backup *backup, const char *dir,
    shelf_restore_progress_fn *progress, shelf_backup_problem_fn *problem, void *arg,
    struct shelf_restore_done *done_out);
/*
 * shelf_backup_restore_account(backup, account, store, as, progress, arg, done_out)
 *   ACCOUNT of the file becomes a new account of STORE, under its name or AS, with password, limits and mail as they
 *   were. It is seen when all of it is there.
 *   returns  0; SHELF_ENOACCOUNT; SHELF_EEXISTS STORE has an account of that name; SHELF_ENAME
 */
SHELF_CHECK int shelf_backup_restore_account(struct shelf_backup *backup, const char *account,
    struct shelf_store *store, const char *as, shelf_restore_progress_fn *progress, void *arg,
    struct shelf_restore_done *done_out);

struct shelf_restore_request {
	uint32_t account;     /* that gets the messages */
	struct shelf_span to; /* mailbox, canonical; made when it is not there */
	const struct shelf_uidset *uids; /* in the file; NULL: all */
	bool (*choose)(void *arg, const struct shelf_msg *msg, const struct mime_part *root); /* NULL: all */
	void *arg;
	bool envelopes; /* CHOOSE wants ROOT, of the message's start; else it is NULL */
	bool dry_run;	/* done_out says what would be done */
};
/*
 * shelf_backup_restore_messages(backup, account, mailbox, store, request, progress, problem, arg, done_out)
 *   Messages of a mailbox of the file go behind those of a mailbox of STORE, with new uids, their dates, flags but
 *   \Deleted, and keywords. What is there (same email id) is not put a second time, so it may be done again.
 *   returns  0 (done_out->failed messages left out, told: damaged in the file); SHELF_ENOACCOUNT, SHELF_ENOMAILBOX
 *            of the file; SHELF_EQUOTA (nothing was put); SHELF_EFULL; SHELF_ELIMIT
 */
SHELF_CHECK int shelf_backup_restore_messages(struct shelf_backup *backup, const char *account,
    struct shelf_span mailbox, struct shelf_store *store, const struct shelf_restore_request *request,
    shelf_restore_progress_fn *progress, shelf_backup_problem_fn *problem, void *arg,
    struct shelf_restore_done *done_out);

#endif
