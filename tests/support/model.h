/*
 * model.h - one account as it must be: the smallest model of the engine, to compare with
 *
 * Shape     A model holds mailboxes and messages in plain arrays. An operation is chosen from a seed and
 *           the model's state, so that two processes with the same seed and count have the same model:
 *           a killed process is followed by replaying what it had acknowledged.
 * Contents  A message's bytes follow from a number; equal numbers are equal bytes.
 * Threads   One at a time.
 */
#ifndef TESTS_MODEL_H
#define TESTS_MODEL_H

#include <mailshelf/message.h>

enum { MODEL_KEYWORDS = 6, MODEL_UIDS_MAX = 64, MODEL_ITEMS_MAX = 5, MODEL_NAME_MAX = 200, MODEL_USERS = 3,
	MODEL_NOTES = 3 };

struct model_msg {
	uint32_t uid;
	uint32_t content;
	uint32_t flags;
	uint32_t keywords; /* bit n: "word-n" */
	uint32_t fetched;  /* by POP3, when; 0: not */
	bool hidden;	   /* from POP3 */
	uint32_t uidl;	   /* "uidl-N"; 0: of the store */
};

struct model_box {
	char name[MODEL_NAME_MAX];
	uint32_t uidnext;
	struct model_msg *msg;
	size_t count;
	struct model_msg *held; /* expunged, can be put back; ascending uids */
	size_t nheld;
	unsigned rights[MODEL_USERS]; /* of those it is shared with */
	uint32_t note[MODEL_NOTES];   /* annotations: contents, 0: none */
};

struct model {
	uint64_t random; /* state of the generator */
	uint64_t salt;   /* sets the contents of this model apart from others */
	uint64_t limit_bytes, limit_messages;
	uint32_t contents; /* numbers used so far */
	uint64_t ops;
	struct model_box *box;
	size_t count;
	uint32_t note[MODEL_NOTES]; /* of the account */
};

enum model_kind {
	MODEL_APPEND,
	MODEL_DELIVER,
	MODEL_FLAGS,
	MODEL_EXPUNGE,
	MODEL_COPY,
	MODEL_MOVE,
	MODEL_CREATE,
	MODEL_DELETE,
	MODEL_RENAME,
	MODEL_RESTORE,
	MODEL_REPLACE, /* of the first uid, by a message in TO */
	MODEL_FETCHED, /* by POP3, at NUMBER */
	MODEL_HIDE,    /* from POP3; NUMBER 0: not any more */
	MODEL_UIDL,    /* of the first uid: "uidl-NUMBER" */
	MODEL_SETACL,  /* FLAGS are the rights of user NUMBER */
	MODEL_NOTE,    /* those in FLAGS become CONTENT; ALL: of the account */
};

struct model_op {
	enum model_kind kind;
	char box[MODEL_NAME_MAX], to[MODEL_NAME_MAX];
	uint32_t uid[MODEL_UIDS_MAX]; /* ascending; some are not there */
	size_t nuids;
	bool all;                     /* EXPUNGE: no set; NOTE: not BOX */
	bool deleted_only;            /* EXPUNGE */
	enum shelf_flag_op how;
	uint32_t flags, keywords;
	uint32_t content[MODEL_ITEMS_MAX];
	size_t ncontents;
	uint32_t number;
};

struct model *model_new(uint64_t seed, uint64_t limit_bytes, uint64_t limit_messages);
struct model *model_copy(const struct model *m);
void model_free(struct model **m);

/* The next operation; changes only the generator. */
void model_choose(struct model *m, struct model_op *op);
/* What the engine must answer to OP, which changes the model when it is 0. */
int model_apply(struct model *m, const struct model_op *op);
/* Of the uids of a RESTORE only those in MASK (bit n: uid[n]) are held in truth. */
void model_unhold(struct model *m, struct model_op *op, uint64_t mask);
struct model_box *model_find(struct model *m, const char *name);
uint32_t model_random(struct model *m, uint32_t below);
uint64_t model_bytes(const struct model *m);
void model_describe(const struct model_op *op, struct shelf_buf *out);

/* The bytes of a content. */
void model_content(const struct model *m, uint32_t content, struct shelf_buf *out);
uint64_t model_size(const struct model *m, uint32_t content);
const char *model_keyword(unsigned n);
const char *model_user(unsigned n);
const char *model_note(unsigned n);
/* The value of an annotation. */
void model_note_value(const struct model *m, uint32_t content, struct shelf_buf *out);
int64_t model_date(uint32_t content);

/* Does OP to the store; what it answered. */
int model_run(const struct model *m, const struct model_op *op, struct shelf_store *store,
    uint32_t account);
/* True when the account is as the model says; otherwise WHY tells the first difference. */
bool model_compare(struct model *m, struct shelf_store *store, uint32_t account, bool bodies,
    struct shelf_buf *why);

#endif
