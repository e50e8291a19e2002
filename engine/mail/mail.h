/*
 * mail.h (private) - the rules of the store: what the files of this room share
 *
 * Rows are decoded into the structs here and encoded back; the byte tables are in rows.c. A change runs
 * in a closure of kv: it opens a struct mail_change, which loads the account's row, gives out the modseq of
 * this change, and writes back what was touched. Nothing else writes ACCT, MBOX, FPAGE or FSUM, so the
 * counters cannot differ from the messages.
 */
#ifndef ENGINE_MAIL_H
#define ENGINE_MAIL_H

#include <pthread.h>
#include <stdatomic.h>

#include <mailshelf/account.h>
#include <mailshelf/app_password.h>
#include <mailshelf/mailbox.h>
#include <mailshelf/message.h>
#include <mailshelf/scram.h>
#include <mailshelf/settings.h>
#include <mailshelf/stats.h>
#include <mailshelf/warning.h>

#include "base.h"
#include "blob.h"
#include "index.h"
#include "kv.h"

struct mail_need;
struct news;
struct login_cache;
struct mail_pop3;
struct shelf_uidset;

struct mail_key {
	uint8_t bytes[KV_KEY_MAX];
	size_t len;
};
static inline struct shelf_span
mail_key_span(const struct mail_key *k)
{
	return shelf_span(k->bytes, k->len);
}

/* Where counting what an older release stored goes on (catch_up.c). */
struct mail_catch_up {
	uint32_t account;
	bool inside; /* the account: in this table from this key on */
	bool held;
	struct mail_key at;
};

struct shelf_store {
	char *dir;
	char *tmp_dir;
	struct kv_db *kv;
	struct news *news;
	struct login_cache *logins;
	struct mail_records *records;
	_Atomic uint64_t setting[SHELF_SETTINGS];
	uint64_t settings_version; /* of the file as it was read: of shelf_store_open, then the janitor */
	pthread_mutex_t disk_lock; /* held while a state changes */
	struct mail_disk {
		atomic_int state; /* enum shelf_disk_state */
		atomic_bool low;
		atomic_llong looked_ms; /* 0: never */
		/* The janitor's own: what went early and was not told yet, when to tell and to try again. */
		uint64_t early_messages, early_bytes;
		int64_t early_told_ms, early_rest_ms;
	} disk[KV_SHARDS_MAX];
	pthread_t janitor;
	bool serving; /* set before the janitor and the first caller */
	pthread_mutex_t lock; /* stop, catch_up, purge_* */
	pthread_cond_t wake;
	bool stop;
	struct mail_catch_up catch_up;
	int64_t expired_day;	/* when all accounts had been run over (expire.c). The janitor's, like the next one. */
	uint32_t expire_account; /* the run goes on behind it */
	int64_t noted_day;	/* of the last look (history.c). The janitor's. */
	int64_t caught_up_s;	/* when that ended; 0: it goes on. The janitor's. */
	uint32_t purge_account; /* the pass over accounts goes on behind this one */
	int64_t purge_pass_s;	/* when the last pass ended */
};

/* ---- Rows ---------------------------------------------------------------------------------------- */

/* Over message rows that note what their blob cost (all but those an older release wrote). */
struct mail_sums {
	uint64_t stored; /* bytes */
	uint64_t shared; /* of these: of rows that found their blob stored already */
};

/* changed.c */
struct mail_changed {
	uint64_t floor; /* a mailbox that changed behind this modseq is in the list */
	unsigned n;
	uint32_t mailbox[SHELF_CHANGED_MAX]; /* the last one first; 0: a subscription without mailbox */
	uint64_t modseq[SHELF_CHANGED_MAX];  /* of its last change */
};

/* warning.c */
struct mail_warn {
	uint8_t at[SHELF_WARNING_LEVELS];  /* percent, 0: never; what policies say (rules.c) */
	uint8_t level;			   /* the account's */
	uint8_t told[SHELF_WARNING_WAYS];  /* the highest level told since it was last below */
};

/* rules.c: bits of limits[] in enum mail_limit order */
enum mail_limit { MAIL_LIMIT_BYTES = 1, MAIL_LIMIT_MESSAGES = 2, MAIL_LIMIT_MAILBOXES = 4 };

struct mail_acct {
	uint64_t modseq;
	uint32_t next_mailbox;
	uint32_t last_uidvalidity;
	uint32_t mailboxes; /* how many exist */
	uint32_t loose;     /* subscriptions to names without a mailbox */
	struct shelf_quota quota;
	struct mail_sums used, held;
	uint64_t noted; /* message and held rows in these sums */
	struct mail_changed changed;
	struct mail_warn warn;
	uint64_t full_since_s; /* mail was refused for want of room, and none was made since; 0: not so (full.c) */
	uint64_t largest;	/* message that comes in; 0: no limit */
	uint8_t follows, never; /* limits that are those of policies; that are none whatever policies say */
	bool counted;	/* in the totals of its domain and partition */
	char domain[SHELF_ACCOUNT_NAME_MAX + 1]; /* when counted */
};

enum { MAIL_MBOX_DELETED = 1 };
struct mail_mbox {
	uint32_t id;
	uint32_t flags;
	uint32_t uidvalidity, uidnext;
	uint64_t highestmodseq;
	uint32_t exists, unseen, deleted;
	uint64_t bytes, deleted_bytes;
	uint32_t recent_from;
	uint32_t special_use;
	uint32_t keywords; /* how many names are given */
	int64_t created_s;
	struct mail_sums sums;
	struct shelf_span name;
};

struct mail_msg {
	int64_t internaldate_s, savedate_s;
	int16_t zone_min;
	uint64_t size, blob;
	uint8_t email_id[16];
	bool noted; /* COST is known */
	struct blob_cost cost; /* of the blob when this reference was made */
	bool dated;	/* SENT_S is known */
	int64_t sent_s; /* Date: of the message in UTC; INT64_MIN: it has none */
};

struct mail_gone {
	int64_t gone_s;
	uint64_t modseq;
	uint32_t flags;
	uint64_t keywords[4];
	struct mail_msg msg;
};

struct mail_name {   /* MNAME value */
	uint32_t id; /* 0: only subscribed */
	bool subscribed;
	struct shelf_span name;
};

struct mail_keys { /* of SCRAM (scram.h) */
	struct shelf_scram_salt salt;
	uint8_t has; /* bits 1 << enum shelf_scram_hash; 0: none */
	uint8_t stored[SHELF_SCRAM_HASHES][SHELF_SCRAM_HASH_MAX];
	uint8_t server[SHELF_SCRAM_HASHES][SHELF_SCRAM_HASH_MAX];
};

struct mail_app { /* a password of an app (app_password.c) */
	struct shelf_app_password is;
	uint8_t stored[SHELF_SCRAM_HASHES][SHELF_SCRAM_HASH_MAX];
	uint8_t server[SHELF_SCRAM_HASHES][SHELF_SCRAM_HASH_MAX];
};
struct mail_apps {
	size_t n;
	struct mail_app list[SHELF_APP_PASSWORDS_MAX];
};

struct mail_user { /* USER value, catalog */
	uint32_t services;
	bool disabled;
	int64_t created_s;
	struct shelf_span name, hash;
	struct mail_keys keys; /* .salt: also of the apps' */
	struct mail_apps apps;
};

struct mail_key mail_key1(uint32_t a);
struct mail_key mail_key2(uint32_t a, uint32_t b);
struct mail_key mail_key3(uint32_t a, uint32_t b, uint32_t c);
struct mail_key mail_name_key(struct shelf_span name);

SHELF_CHECK int mail_acct_get(struct kv_view *view, struct mail_acct *out); /* SHELF_ENOACCOUNT */
struct mail_change;
/* changed.c */
void mail_changed_note(struct mail_change *c, uint32_t mailbox); /* in every change of a mailbox or its name */
void mail_changed_encode(struct shelf_buf *b, const struct mail_acct *a);
SHELF_CHECK int mail_changed_decode(struct base_reader *r, struct mail_acct *a);
/* Does the list say that MAILBOX changed at MODSEQ, or later? */
bool mail_changed_knows(const struct mail_acct *a, uint32_t mailbox, uint64_t modseq);
SHELF_CHECK int mail_acct_decode(struct shelf_span value, struct mail_acct *out);
void mail_acct_encode(struct shelf_buf *b, const struct mail_acct *a);
void mail_mbox_encode(struct shelf_buf *b, const struct mail_mbox *m);
/* Within a change mail_change_end() puts the row: totals move with it. */
SHELF_CHECK int mail_acct_put(struct kv_txn *txn, const struct mail_acct *a);
/* SHELF_ENOMAILBOX; a deleted mailbox is returned: callers look at flags. name lives like the value. */
SHELF_CHECK int mail_mbox_get(struct kv_view *view, uint32_t id, struct mail_mbox *out);
SHELF_CHECK int mail_mbox_put(struct kv_txn *txn, const struct mail_mbox *m);
SHELF_CHECK int mail_mbox_decode(struct shelf_span value, struct mail_mbox *out);
SHELF_CHECK int mail_msg_get(struct kv_view *view, uint32_t mailbox, uint32_t uid,
			     struct mail_msg *out);
SHELF_CHECK int mail_msg_put(struct kv_txn *txn, uint32_t mailbox, uint32_t uid,
			     const struct mail_msg *m);
SHELF_CHECK int mail_msg_decode(struct shelf_span value, struct mail_msg *out);
void mail_msg_encode(struct shelf_buf *b, const struct mail_msg *m);
SHELF_CHECK int mail_gone_get(struct kv_view *view, uint32_t mailbox, uint32_t uid,
			      struct mail_gone *out);
SHELF_CHECK int mail_gone_put(struct kv_txn *txn, uint32_t mailbox, uint32_t uid,
			      const struct mail_gone *g);
SHELF_CHECK int mail_gone_decode(struct shelf_span value, struct mail_gone *out);
void mail_gone_encode(struct shelf_buf *b, const struct mail_gone *g);
SHELF_CHECK int mail_name_get(struct kv_view *view, struct shelf_span name, struct mail_name *out);
SHELF_CHECK int mail_name_decode(struct shelf_span value, struct mail_name *out);
SHELF_CHECK int mail_user_get(struct kv_view *view, uint32_t id, struct mail_user *out);
SHELF_CHECK int mail_user_decode(struct shelf_span value, struct mail_user *out);
SHELF_CHECK int mail_user_put(struct kv_txn *txn, uint32_t id, const struct mail_user *u);
/* The row, copied into ROW: it outlives what the update writes. */
SHELF_CHECK int mail_user_copy(struct kv_view *view, uint32_t id, struct shelf_buf *row, struct mail_user *out);
SHELF_CHECK int mail_user_del(struct kv_txn *txn, uint32_t id);
/* Accounts with a password, but without keys: as it is kept (SHELF_EMISSING: nobody has counted), and counted. */
SHELF_CHECK int mail_user_keyless(struct kv_view *view, uint64_t *out);
SHELF_CHECK int mail_user_count_keyless(struct kv_view *view, uint64_t *out);
SHELF_CHECK int mail_user_set_keyless(struct kv_txn *txn, uint64_t accounts);

/* ---- Quota warnings, what policies put into rows (warning.c, rules.c) --------------------------------------- */

extern const struct mail_warn mail_warn_default;
/* At the end of a change: the level is that of the counters, and a job is there while it has not been told. */
SHELF_CHECK int mail_warn_change(struct mail_change *c);
/* 1: the row has the level of its counters, and a job if one is needed; 0: not so. */
SHELF_CHECK int mail_warn_settled(struct kv_view *view, uint32_t account, const struct mail_acct *a);
/* What is of LEVEL is told by this change. False: it was told before, or the account is not at that level any more. */
bool mail_warn_tell(struct mail_change *c, enum shelf_warning_way way, unsigned level);
/* The row as the policies of NAME, the account's, want it. True: it was otherwise. */
struct shelf_policies;
bool mail_rules_has(unsigned policy); /* does that policy stand in the rows of accounts? */
bool mail_rules_take(struct mail_acct *a, const struct shelf_policies *p);
/* The same of the stored row. Does nothing when it is so. */
SHELF_CHECK int mail_rules_settle(struct shelf_store *store, uint32_t account);
/* Of all accounts that SCOPE (a scope of POLICY) is about. */
SHELF_CHECK int mail_rules_settle_scope(struct shelf_store *store, const char *scope);

/* At the end of a change: room was made, so the box counts as full no more (full.c). */
void mail_full_change(struct mail_change *c);

/* A limit that was asked for (account.h): SHELF_QUOTA_NONE, SHELF_QUOTA_KEEP, or a number. mail_rules_take follows. */
void mail_rules_limit(struct mail_acct *a, enum mail_limit which, uint64_t value);

/* ---- The pool of a domain (pool.c) ----------------------------------------------------------------------------- */

/* N - BY, 0 at least. */
static inline uint64_t
mail_less(uint64_t n, uint64_t by)
{
	return n > by ? n - by : 0;
}
/* In a change that moves the totals: what it brings is taken from the room. Short of it: SHELF_EBUSY where c->need can
 * be asked, else SHELF_EQUOTA. */
SHELF_CHECK int mail_pool_change(struct mail_change *c, const struct shelf_totals *was, const struct shelf_totals *is);
/* kv_update of a closure that sets c->need to NEED: fetches room and runs it again. */
SHELF_CHECK int mail_update_growing(struct shelf_store *store, uint32_t account, unsigned flags, kv_update_fn *fn,
				    void *arg, struct mail_need *need);
/* Room for NEED in the account's partition: 0, then try again; SHELF_EQUOTA the pool has not so much. */
SHELF_CHECK int mail_pool_take(struct shelf_store *store, uint32_t account, const struct mail_need *need);
/* Would it fit now? */
SHELF_CHECK int mail_pool_probe(struct shelf_store *store, const char *domain, uint64_t bytes, uint64_t messages);
/* The limits have changed. */
SHELF_CHECK int mail_pool_settle(struct shelf_store *store, const char *domain);
/* Before an account of that name can be reached in a partition. */
SHELF_CHECK int mail_pool_ready(struct shelf_store *store, struct shelf_span name, uint32_t shard);
SHELF_CHECK int mail_pool_check(struct shelf_span value); /* of a row: SHELF_ECORRUPT, SHELF_EVERSION */

/* ---- Totals of a domain and of the partition (totals.c) ------------------------------------------------ */

/* The account's numbers, counted or not; what it is in the totals: nothing until it is counted. */
void mail_totals_row(const struct mail_acct *a, struct shelf_totals *out);
void mail_totals_of(const struct mail_acct *a, struct shelf_totals *out);
/* Moves the domain's and the partition's totals by what IS differs from WAS. */
SHELF_CHECK int mail_totals_change(struct kv_txn *txn, const char *domain,
				   const struct shelf_totals *was, const struct shelf_totals *is);
/* The same of one row: DOMAIN, NULL: the partition. */
SHELF_CHECK int mail_totals_move(struct kv_txn *txn, const char *domain, const struct shelf_totals *was,
				 const struct shelf_totals *is);
/* The account of TXN enters the totals: from then on every change keeps them. Its row is there; 0 when it
 * is in them already. NAME: the account's. */
SHELF_CHECK int mail_totals_enter(struct kv_txn *txn, struct shelf_span name);
/* It leaves them: before its rows are removed, or have moved elsewhere. 0 when it is not in them. */
SHELF_CHECK int mail_totals_leave(struct kv_txn *txn);
/* DOMAIN NULL: of the whole partition. Zeros when there is no row. */
SHELF_CHECK int mail_totals_get(struct kv_view *view, const char *domain, struct shelf_totals *out);
SHELF_CHECK int mail_totals_decode(struct shelf_span value, struct shelf_totals *out);
void mail_totals_add(struct shelf_totals *sum, const struct shelf_totals *more);
/* When what was removed goes for good (due.c). */
struct mail_due {
	uint32_t at, mailbox, uid; /* uid 0: a deleted mailbox */
	uint32_t gone_s;	   /* when it was removed; 0: not known, a row of before */
	bool guarded;		   /* kept longer by the guard */
};
SHELF_CHECK int mail_due_decode(struct shelf_span key, struct shelf_span value,
				struct mail_due *out);
SHELF_CHECK int mail_due_put(struct kv_txn *txn, const struct mail_due *due);
SHELF_CHECK int mail_due_del(struct kv_txn *txn, const struct mail_due *due);
/* Is there still a row with that date? RC: of the reading. */
bool mail_due_is(struct kv_view *view, const struct mail_due *due, int *rc);
typedef int mail_due_fn(void *arg, struct kv_view *view, const struct mail_due *due);
/* Up to MAX rows from *FROM on, ascending by time; *FROM is moved behind them. MORE: MAX were seen. What FN
 * answers other than 0 ends the walk and is returned. */
SHELF_CHECK int mail_due_each(struct kv_view *view, struct mail_key *from, unsigned max, bool *more,
			      mail_due_fn *fn, void *arg);

/* ---- The guard (guard.c) ------------------------------------------------------------------------------- */

struct mail_guard_event {
	uint32_t id; /* when it began, or a little later: its key */
	uint32_t first_s, last_s, until_s;
	uint64_t messages, bytes, of;
	uint8_t flags, how;
};

enum { MAIL_GUARD_SLOTS = 13 };
/* Of one change. */
struct mail_guard {
	bool loaded, dirty;
	bool over;  /* what goes now is too much: it gets the long date */
	bool open;  /* EVENT is of this hour */
	bool fired; /* this change began it */
	uint32_t slot, next_id;
	uint64_t messages[MAIL_GUARD_SLOTS], bytes[MAIL_GUARD_SLOTS]; /* the newest first */
	uint64_t sum_messages, sum_bytes;
	struct mail_guard_event event;
};

/* ---- A change ----------------------------------------------------------------------------------------- */

/* Room of a pool that a change was short of (pool.c). */
struct mail_need {
	bool asked;
	char domain[SHELF_ACCOUNT_NAME_MAX + 1];
	uint64_t bytes, messages;
};

/* One mailbox in a change, with the page and the summary last touched. */
struct mail_open {
	struct mail_mbox row;
	struct shelf_buf name; /* row.name points here: values die at writes */
	bool dirty;
	struct index_page *page;    /* NULL: none loaded yet */
	struct index_counts before; /* of PAGE as stored */
	bool page_dirty;
	struct index_range range;   /* of the page last stored */
	bool range_loaded, range_dirty;
	struct mail_pop3 *pop3; /* last touched (pop3.c); NULL: none */
};

struct mail_change {
	struct kv_txn *txn;
	struct shelf_store *store;
	struct mail_acct acct;
	struct shelf_totals before; /* of the account */
	struct shelf_quota was;
	uint64_t modseq; /* of this change; 0 until mail_change_modseq */
	bool dirty;
	bool let_go; /* what is removed is not held: there is no room for it */
	bool exempt; /* no pool counts */
	struct mail_need *need; /* NULL: who runs this does not fetch room of a pool */
	int64_t now_s;
	struct mail_guard guard;
};

/* What was removed in this change, already taken from the account's usage. HOW: enum shelf_guard_how. Before the
 * date of removal is set. */
SHELF_CHECK int mail_guard_count(struct mail_change *c, uint64_t messages, uint64_t bytes,
				 unsigned how);
SHELF_CHECK int mail_guard_end(struct mail_change *c);
/* After the commit: into the log. */
void mail_guard_tell(struct shelf_store *store, uint32_t account, const struct mail_guard_event *e);
/* Gives what went before an event its later date. 1: time is up, 0: nothing is left. */
SHELF_CHECK int mail_guard_step(struct shelf_store *store, uint32_t account, int64_t until_ms);
typedef int mail_guard_fn(void *arg, const struct mail_guard_event *e);
SHELF_CHECK int mail_guard_each(struct kv_view *view, mail_guard_fn *fn, void *arg);
SHELF_CHECK int mail_guard_readable(struct kv_view *view); /* the window; 0 or an error */
/* The date of removal of what this change removes. */
SHELF_CHECK int mail_due_new(struct mail_change *c, uint32_t mailbox, uint32_t uid);

SHELF_CHECK int mail_change_begin(struct mail_change *c, struct shelf_store *store,
				  struct kv_txn *txn);
/* The number of this change; the first call takes it. */
uint64_t mail_change_modseq(struct mail_change *c);
SHELF_CHECK int mail_change_end(struct mail_change *c);
/* The end of a closure that writes rows of the account and is no change of mail: the account's modseq moves, too. */
SHELF_CHECK int mail_change_version(struct kv_txn *txn);

/* SHELF_ENOMAILBOX also for one that was deleted. Always followed by mail_close. */
SHELF_CHECK int mail_open(struct mail_change *c, uint32_t mailbox, struct mail_open *o);
/* The page with UID, loaded; the one before is written back first. */
SHELF_CHECK int mail_open_page(struct mail_change *c, struct mail_open *o, uint32_t uid);
/* The loaded page changed: its modseq and the mailbox's become this change's. */
void mail_open_touch(struct mail_change *c, struct mail_open *o);
/* Writes back page, summary and row. */
SHELF_CHECK int mail_open_flush(struct mail_change *c, struct mail_open *o);
void mail_close(struct mail_open *o);

/* Finds or gives the bit number of a keyword. */
SHELF_CHECK int mail_keyword_number(struct mail_change *c, struct mail_open *o,
				    struct shelf_span name, uint32_t *number_out);
SHELF_CHECK int mail_keyword_lookup(struct kv_view *view, uint32_t mailbox, uint32_t count,
				    struct shelf_span name,
				    uint32_t *number_out); /* SHELF_EMISSING */
/*
 * The number in TO of keyword NUMBER of the mailbox FROM. MAP has SHELF_KEYWORDS_MAX numbers, all
 * UINT32_MAX (not looked up yet) at the start of the change. SHELF_EMISSING: FROM has no such keyword.
 */
SHELF_CHECK int mail_keyword_carry(struct mail_change *c, uint32_t from, uint32_t number,
				   struct mail_open *to, uint32_t *map, uint32_t *number_out);
/* Is NAME an atom of 1..SHELF_KEYWORD_NAME_MAX printable ASCII characters? */
bool mail_keyword_valid(struct shelf_span name);

/* Writes down in the row what its blob costs, unless that is done. */
SHELF_CHECK int mail_note(struct mail_change *c, struct mail_msg *msg);
/* A row that notes its cost joins or leaves sums of its account and, MAILBOX not NULL, of its mailbox. */
void mail_sums_add(struct mail_sums *account, struct mail_sums *mailbox, const struct mail_msg *msg);
void mail_sums_sub(struct mail_sums *account, struct mail_sums *mailbox, const struct mail_msg *msg);
/* A whole mailbox goes from used to held, or comes back. */
void mail_hold_mailbox(struct mail_acct *a, const struct mail_mbox *m);
void mail_unhold_mailbox(struct mail_acct *a, const struct mail_mbox *m);
/* A held row goes for good: held counts and sums. */
void mail_drop_held(struct mail_acct *a, const struct mail_msg *msg);

/* A message leaves its mailbox in this change: page, row, counters, quota, hold. The page of UID is loaded.
 * HOW: enum shelf_guard_how; 0: it goes elsewhere, nothing is held or counted. */
SHELF_CHECK int mail_remove(struct mail_change *c, struct mail_open *o, uint32_t uid, unsigned how);
/* For shelf_msg_expunge: messages that should never have come; nothing is held or counted. */
enum { MAIL_EXPUNGE_UNDO = 256 };
/* For who does more than that in one transaction of the account: all of UIDS in it, those that were there into
 * GONE. LET_GO: nothing is held. SHELF_ENOMAILBOX. What is to be told is told after the commit. */
struct mail_expunge {
	struct shelf_store *store;
	uint32_t mailbox;
	const struct shelf_asker *asker;
	const struct shelf_uidset *uids;
	unsigned flags;
	bool let_go;
	struct shelf_uidset *gone;
	/* Results. */
	uint64_t gone_bytes;
	bool fired;
	struct mail_guard_event event;
};
SHELF_CHECK int mail_expunge_within(struct kv_txn *txn, struct mail_expunge *x);
void mail_expunge_tell(struct shelf_store *store, uint32_t account, const struct mail_expunge *x);
/* shelf_msg_copy_to() into another account (copy_across.c); the sets of RESULT are empty. */
SHELF_CHECK int mail_copy_across(struct shelf_store *store, const struct shelf_copy *what,
				 struct shelf_copy_result *result);
/* A message enters: uid given, flags set by the caller on the loaded page. The blob is linked already; MSG
 * notes its cost afterwards. */
SHELF_CHECK int mail_insert(struct mail_change *c, struct mail_open *o, struct mail_msg *msg,
			    uint32_t *uid_out);
/* Would BYTES in COUNT messages exceed the quota? */
SHELF_CHECK int mail_quota_room(const struct mail_acct *a, uint64_t bytes, uint64_t count);
/* Would one more mailbox be one too many? SHELF_ELIMIT, SHELF_EQUOTA. */
SHELF_CHECK int mail_mailbox_room(const struct mail_acct *a);
/* Writes the uids expunged by this change, as ranges. */
SHELF_CHECK int mail_log_vanished(struct mail_change *c, uint32_t mailbox,
				  const struct shelf_uidset *uids);

/* ---- Where messages went (moved.c) --------------------------------------------------------------------- */

/* A run of uids that left MAILBOX for TO, in order. FIRST 0: none. */
struct mail_moved {
	uint32_t mailbox, first, last;
	uint32_t to, to_first;
	uint64_t modseq; /* as decoded */
};
/* UID went to TO_UID: into the run, which is put when it does not go on there. mailbox and to are set. */
SHELF_CHECK int mail_moved_add(struct mail_change *c, struct mail_moved *m, uint32_t uid, uint32_t to_uid);
SHELF_CHECK int mail_moved_put(struct mail_change *c, struct mail_moved *m);
SHELF_CHECK int mail_moved_decode(struct shelf_span key, struct shelf_span value, struct mail_moved *m);
/* The message that was UID in MAILBOX, present or held where it is now (AT, a run of one): 1 found. Of a present one
 * the flags are on its page. */
SHELF_CHECK int mail_moved_find(struct kv_view *view, uint32_t mailbox, uint32_t uid, struct mail_gone *out,
				struct mail_moved *at);
enum { MAIL_MOVED_UNIT_S = 3600, MAIL_MOVED_KEPT = 2 };

/* ---- Mail that will come again (once.c) ------------------------------------------------------------------ */

/* 1: a note of ID (16 bytes) is there, not older than some days. */
SHELF_CHECK int mail_once_has(struct kv_view *view, const uint8_t *id, int64_t now_s);
bool mail_once_readable(struct shelf_span key, struct shelf_span value);
enum { MAIL_ONCE_UNIT_S = 86400, MAIL_ONCE_KEPT = 11 }; /* ten whole days and today */

/* ---- What goes by its age (aged.c) ------------------------------------------------------------------------ */

/* Is a row there that nobody needs any more? 1 yes. */
SHELF_CHECK int mail_aged_is(struct kv_view *view);
/* Drops up to MOST such. *MORE is set when there are more. */
SHELF_CHECK int mail_aged_drop(struct mail_change *c, unsigned most, bool *more);

/* A uidvalidity greater than any the account has given: the time, or one more than the last. */
uint32_t mail_new_uidvalidity(struct mail_change *c);
/* A name row as it is to be from now on; none when it neither is a mailbox nor is subscribed. A subscription
 * that would be one too many without a mailbox is forgotten: removing a mailbox never fails for it. */
SHELF_CHECK int mail_name_put(struct mail_change *c, const struct mail_name *n);
/* A new mailbox row and name. NAME is canonical. */
SHELF_CHECK int mail_create_mailbox(struct mail_change *c, struct shelf_span name,
				    uint32_t special_use, uint32_t *id_out);

/* ---- POP3 (pop3.c, uidl.c) --------------------------------------------------------------------------------- */

struct mail_pop3 { /* a row of POP3: what is kept of 256 uids */
	uint32_t page;
	bool was, dirty; /* stored; changed since */
	uint64_t hidden_bytes;
	struct index_bits hidden, fetched;
	uint32_t when[INDEX_PAGE_UIDS]; /* where fetched, seconds */
};
SHELF_CHECK int mail_pop3_decode(struct shelf_span key, struct shelf_span value, struct mail_pop3 *out);
SHELF_CHECK int mail_pop3_flush(struct mail_change *c, struct mail_open *o);
/* What POP3 knows of a message of SIZE bytes that leaves, or comes. */
struct mail_pop3_mark {
	uint32_t when; /* 0: not fetched */
	bool hidden;
};
SHELF_CHECK int mail_pop3_take(struct mail_change *c, struct mail_open *o, uint32_t uid, uint64_t size,
			       struct mail_pop3_mark *out);
SHELF_CHECK int mail_pop3_give(struct mail_change *c, struct mail_open *o, uint32_t uid, uint64_t size,
			       const struct mail_pop3_mark *mark);

struct mail_uidl { /* a row of UIDL */
	uint32_t mailbox, uid;
	struct shelf_span text;
	bool by; /* the row that finds the message */
};
SHELF_CHECK int mail_uidl_decode(struct shelf_span key, struct shelf_span value, struct mail_uidl *out);
/* The row of WHICH: by its text, or of its message. SHELF_EMISSING. */
SHELF_CHECK int mail_uidl_get(struct kv_view *view, const struct mail_uidl *which, struct mail_uidl *out);
/* Out of the store into TEXT (SHELF_UIDL_MAX + 1; empty: it has none), and in again. */
SHELF_CHECK int mail_uidl_take(struct kv_txn *txn, uint32_t mailbox, uint32_t uid, char *text);
SHELF_CHECK int mail_uidl_give(struct kv_txn *txn, uint32_t mailbox, uint32_t uid, const char *text);
SHELF_CHECK int mail_uidl_drop(struct kv_txn *txn, uint32_t mailbox, uint32_t uid);
/* Of a mailbox that goes (0: of all), while *LEFT rows last: 1 there are more. */
SHELF_CHECK int mail_uidl_clear(struct kv_txn *txn, uint32_t mailbox, unsigned *left);
/* As shelf_uidl_set, of a message that is there. */
SHELF_CHECK int mail_uidl_set(struct mail_change *c, uint32_t mailbox, uint32_t uid, struct shelf_span uidl);

/* ---- Annotations (metadata.c) ---------------------------------------------------------------------------- */

struct mail_metadata { /* a row of NOTE */
	uint32_t mailbox, part;
	struct shelf_span name;
	uint32_t size;	 /* part 0: of the whole value */
	uint64_t modseq; /* part 0: of the change that set it; 0 in format 1 */
	struct shelf_span bytes;
};
SHELF_CHECK int mail_metadata_decode(struct shelf_span key, struct shelf_span value, struct mail_metadata *out);
/* The entries of mailbox FROM, to TO, which has none. */
SHELF_CHECK int mail_metadata_copy(struct mail_change *c, uint32_t from, uint32_t to);

/* ---- Access control (acl.c, shared.c) -------------------------------------------------------------------- */

/* Has the asker (NULL: nobody is asked) what he needs in MAILBOX, in this transaction? 0; SHELF_ENOPERM. */
SHELF_CHECK int mail_may(struct kv_txn *txn, uint32_t mailbox, const struct shelf_asker *asker);
/* In the nearest mailbox above NAME; at one's own top everything may be made. */
SHELF_CHECK int mail_may_below(struct kv_txn *txn, struct shelf_span name, const struct shelf_asker *asker);
/* The entries of mailbox FROM, given to TO, which has none. */
SHELF_CHECK int mail_acl_copy(struct mail_change *c, uint32_t from, uint32_t to);
/* Those of the nearest mailbox above NAME. */
SHELF_CHECK int mail_acl_inherit(struct mail_change *c, struct shelf_span name, uint32_t mailbox);
/* Before an account can be reached that came with its rows: the index of whom it shares with. */
SHELF_CHECK int mail_shared_enter(struct shelf_store *store, uint32_t account, uint32_t shard);
/* Before an account goes: what others give to its name is taken back. */
SHELF_CHECK int mail_shared_forget(struct shelf_store *store, const char *name);
/* Whom it gives rights, as texts; and in the update of the catalog in which it goes, their rows of the index. */
SHELF_CHECK int mail_shared_given(struct shelf_store *store, uint32_t account, uint32_t shard,
				  struct shelf_buf *names);
SHELF_CHECK int mail_shared_leave(struct kv_txn *catalog, uint32_t account, struct shelf_span names);

/* ---- Held mail that goes for good (purge.c, early.c) --------------------------------------------------- */

struct mail_purge {
	struct shelf_store *store;
	uint32_t account;
	uint32_t by;	   /* what has a date up to here */
	bool pass_guarded; /* but not what the guard keeps */
	bool early;	   /* before its date: counted as such */
	bool more;	   /* there is more of it */
	uint64_t messages, bytes; /* went in this slice */
};
/* The first date from *FROM on that P lets go; *FROM is moved behind it. 1 found, 0 none. */
SHELF_CHECK int mail_purge_next(struct kv_view *view, const struct mail_purge *p,
				struct mail_key *from, struct mail_due *out);
/* A few hundred rows, in one transaction; sets more, messages, bytes. */
SHELF_CHECK int mail_purge_slice(struct mail_purge *p);
/* Deleted accounts, bodies without references. 1: there may be more. */
SHELF_CHECK int mail_purge_shard_step(struct shelf_store *store, uint32_t shard);
/* Lets held mail go until the partition has left its warn mark. 1: time is up. */
SHELF_CHECK int mail_early_run(struct shelf_store *store, uint32_t shard, unsigned budget_ms);
/* Of a shard, ever: what went before its date. */
SHELF_CHECK int mail_early_count(struct kv_view *view, uint64_t *messages, uint64_t *bytes);
SHELF_CHECK int mail_early_add(struct kv_txn *txn, uint64_t messages, uint64_t bytes);

/* ---- Snapshots ---------------------------------------------------------------------------------------- */

struct shelf_rd {
	struct shelf_store *store;
	struct kv_view *view;
	uint32_t account;
	struct mail_acct acct;
	struct index_page *page; /* last decoded; NULL: none */
	uint32_t page_mailbox;
	struct kv_scan rows; /* of a walk in order: open when rows_open */
	bool rows_open;
	uint32_t rows_mailbox, rows_uid; /* the message row read last */
};
/* Adds the uids FIRST .. LAST that were expunged behind modseq SINCE to SET. */
SHELF_CHECK int mail_vanished(struct kv_view *view, uint32_t mailbox, uint64_t since, uint32_t first,
			      uint32_t last, struct shelf_uidset *set);
/* The page PAGE of MAILBOX, decoded at most once while walking. */
SHELF_CHECK int mail_rd_page(struct shelf_rd *rd, uint32_t mailbox, uint32_t page,
			     const struct index_page **out);

/* ---- Settings, disks ---------------------------------------------------------------------------------- */

/* The first file of a store: what makes the directory one. */
SHELF_CHECK int mail_settings_create(const char *dir, uint32_t hold_s);
int mail_from_errno(void);
bool mail_dir_is_empty(const char *dir);
/* A directory is there for good when the one it lies in says so. */
SHELF_CHECK int mail_sync_parent(const char *dir);
/* DIR, made if it is missing and empty otherwise, as an absolute path that the caller frees. */
SHELF_CHECK int mail_partition_dir(const char *dir, char **path_out);
/* SHELF_EMISSING, SHELF_EVERSION, SHELF_ECORRUPT (and a line in the log). */
SHELF_CHECK int mail_settings_read(struct shelf_store *store);
/* Reads the file again when it is another one than before. */
void mail_settings_refresh(struct shelf_store *store);

/* Measures a partition, changes its state, and tells the log when it did. */
SHELF_CHECK int mail_disk_look(struct shelf_store *store, uint32_t shard, struct shelf_disk *out);
void mail_disk_look_all(struct shelf_store *store);
/* The marks have changed: whoever asks next looks. */
void mail_disk_forget(struct shelf_store *store);
/* LIMIT SHELF_DISK_REFUSE, for what brings mail: 0 or SHELF_EFULL. SHELF_DISK_READONLY, for other changes but
 * removal: 0 or SHELF_EREADONLY. SHELF_ENOACCOUNT. */
SHELF_CHECK int mail_disk_admit(struct shelf_store *store, uint32_t account,
				enum shelf_disk_state limit);

/* ---- Records that were read lately (records.c) ---------------------------------------------------- */

enum { RECORDS_BYTES_MAX = 64 << 20 };
struct mail_records *mail_records_new(void);
void mail_records_free(struct mail_records **records);
/* KEY: the handle of a body. The record, copied into ARENA; false: it is not here. Any thread, as the others. */
bool mail_records_get(struct mail_records *r, uint64_t key, struct shelf_arena *arena, struct shelf_span *out);
void mail_records_put(struct mail_records *r, uint64_t key, struct shelf_span record);
void mail_records_clear(struct mail_records *r); /* for tests that damage what is stored */
void mail_records_size(struct mail_records *r, size_t *entries, size_t *bytes);

/* ---- Logins, janitor ---------------------------------------------------------------------------------- */

enum { MAIL_HASH_MAX = 400 }; /* of a hash of crypt(3), with the NUL */
struct login_cache *login_cache_new(void);
void login_cache_free(struct login_cache **cache);
/* Verified lately with this very hash? */
bool login_cache_has(struct login_cache *c, uint32_t account, struct shelf_span password,
		     struct shelf_span hash);
void login_cache_add(struct login_cache *c, uint32_t account, struct shelf_span password,
		     struct shelf_span hash);
/* yescrypt of the system's default cost. SHELF_ETOOBIG, SHELF_EIO. */
SHELF_CHECK int login_hash(struct shelf_span password, char *out, size_t out_len);
bool login_verify(struct shelf_span password, const char *hash);
bool login_knows(const char *hash); /* can crypt(3) compare with it? */
/* Hashes of other servers (scheme.c). What is kept of "{SCHEME}...", or of one of crypt(3), into OUT (MAIL_HASH_MAX).
 * SHELF_EINVALID: not known, or not whole. */
SHELF_CHECK int scheme_take(struct shelf_span hash, char *out);
bool scheme_is_foreign(const char *hash); /* of those kept: crypt(3) does not know it */
bool scheme_verify(struct shelf_span password, const char *hash);

/* A row of ALIAS; targets, each ended by a NUL (alias.h). SHELF_ECORRUPT, SHELF_EVERSION. */
SHELF_CHECK int mail_alias_decode(struct shelf_span value, struct shelf_buf *targets_out);

/* Rows of POLICY: SHELF_ECORRUPT, SHELF_EVERSION. A row as it was saved, put back. The row behind *SCOPE, which becomes
 * its scope: 1 found. What is set for an account that goes. */
SHELF_CHECK int mail_policy_check(struct shelf_span row);
SHELF_CHECK int mail_policy_load(struct shelf_store *store, struct shelf_span scope, struct shelf_span row);
SHELF_CHECK int mail_policy_next(struct shelf_store *store, struct shelf_buf *scope, struct shelf_buf *row_out);
SHELF_CHECK int mail_policy_forget(struct kv_txn *txn, const char *scope);

/* Rules by which mail goes (expire.c): a row as it stands, the one behind *KEY, those of a scope that goes; a day's
 * run, a few accounts at a time. */
struct shelf_expire_rule;
SHELF_CHECK int mail_expire_decode(struct shelf_span key, struct shelf_span value, struct shelf_expire_rule *rule);
SHELF_CHECK int mail_expire_next(struct shelf_store *store, struct shelf_buf *key, struct shelf_buf *row_out);
SHELF_CHECK int mail_expire_load(struct shelf_store *store, struct shelf_span key, struct shelf_span row);
SHELF_CHECK int mail_expire_forget(struct kv_txn *txn, const char *scope);
void mail_expire_step(struct shelf_store *store, unsigned budget_ms);

/* Folds and checks an account name into OUT (SHELF_ACCOUNT_NAME_MAX + 1). SHELF_ENAME. */
SHELF_CHECK int mail_account_name(struct shelf_span name, char *out);

/* A blob as a caller may keep it over a move of its account: ids are of a shard. */
uint64_t mail_blob_handle(uint32_t shard, uint64_t blob);
uint32_t mail_handle_shard(uint64_t handle);
uint64_t mail_handle_blob(uint64_t handle);
/* Fills a public struct from a row, but for the shard in its blob. */
void mail_flags_out(const struct index_page *p, uint32_t uid, struct shelf_msg *out); /* the rest: zeros */
void mail_msg_fill(const struct mail_msg *row, struct shelf_msg *out);
void mail_gone_out(const struct mail_gone *gone, uint32_t uid, struct shelf_msg *out);
void mail_mailbox_out(const struct mail_mbox *row, bool subscribed, struct shelf_mailbox *out);

/* The next account behind AFTER that has a name: 1 found. */
SHELF_CHECK int mail_next_account(struct shelf_store *store, uint32_t after, uint32_t *out);
/* Damage of one account or shard must not keep what is due everywhere else: it is passed over, and
 * told in the end. True: go on. */
bool mail_pass_over(int rc, uint32_t shard, uint32_t account, int *damage);

SHELF_CHECK int mail_janitor_start(struct shelf_store *store);
void mail_janitor_stop(struct shelf_store *store);

enum { MAIL_JOB_ACCOUNT = 'A', MAIL_JOB_LOADING = 'L', MAIL_JOB_LEFT = 'M', MAIL_JOB_WARNING = 'Q' };
/* How long the rows of an account stay where it has moved away, so that who is reading a body there comes to its
 * end. Tests make it short. */
extern int64_t mail_left_kept_s;
/* What a move had left to do where the account lives now: its place is written down, no job says that it comes. */
SHELF_CHECK int mail_settle(struct shelf_store *store, uint32_t account);
/* Removes all rows of an account in a shard, with their references. It has no name, or lives elsewhere. */
SHELF_CHECK int mail_clear_rows(struct shelf_store *store, uint32_t account, uint32_t shard);

/* ---- New accounts, by other ways than shelf_account_add ------------------------------------------------ */

SHELF_CHECK int mail_account_take_ids(struct shelf_store *store, uint32_t n, uint32_t *first_out);
/* Ids below NEXT are not given any more. */
SHELF_CHECK int mail_account_reserve_ids(struct shelf_store *store, uint32_t next);
/* Its rows are there: from now on it has its name, u->name. SHELF_EEXISTS: another one has. */
/* Id and row of a name, which live like the view's values. SHELF_ENOACCOUNT. */
SHELF_CHECK int mail_user_find(struct kv_view *view, struct shelf_span name, uint32_t *id, struct mail_user *u);
SHELF_CHECK int mail_account_out(struct shelf_store *store, uint32_t id, const struct mail_user *u,
				 struct shelf_account *out);
/* Gives the account KEYS if its password's hash is still HASH. */
/* PASSWORD is hashed anew, unless HASH is not the account's any more. */
SHELF_CHECK int mail_account_renew(struct shelf_store *store, uint32_t id, const char *hash,
				   struct shelf_span password);
SHELF_CHECK int mail_account_set_keys(struct shelf_store *store, uint32_t id, const char *hash,
				      const struct mail_keys *keys);
SHELF_CHECK int mail_account_publish(struct shelf_store *store, uint32_t id, const struct mail_user *u);

#endif
