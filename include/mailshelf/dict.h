/*
 * dict.h - zstd dictionaries of a store: train, list, give old mail the current ones, remove
 *
 * Shape     Each partition has dictionaries of its own, of two kinds: for bodies of at most 64 KiB, and for
 *           what was derived from messages (envelope, structure). New mail is compressed with the
 *           current one of each kind; older mail keeps the one it was compressed with until it is
 *           recompressed, and a dictionary in use is never removed. Ids only grow.
 * Privacy   A dictionary is made of pieces of the mail it was trained from. They stay in the store until
 *           it is replaced, old mail is recompressed and it is pruned, whatever became of the messages.
 * Threads   As struct shelf_store. All of these may run beside readers and writers, and be stopped anywhere.
 */
#ifndef MAILSHELF_DICT_H
#define MAILSHELF_DICT_H

#include <mailshelf/err.h>

struct shelf_store;

enum shelf_dict_kind { SHELF_DICT_BODY, SHELF_DICT_DERIVED, SHELF_DICT_KINDS };

struct shelf_dict {
	uint32_t partition, id;
	enum shelf_dict_kind kind;
	bool current;
	int64_t created_s;
	uint32_t messages; /* it was trained from; 0: it came with the program */
	uint32_t bytes;
	uint64_t blobs; /* that use it */
};
typedef int shelf_dict_fn(void *arg, const struct shelf_dict *dict);
/* All, by partition and id. An answer of FN other than 0 ends it and comes back. */
SHELF_CHECK int shelf_dict_each(struct shelf_store *store, shelf_dict_fn *fn, void *arg);

struct shelf_dict_params {
	uint32_t bytes;	 /* of a dictionary for bodies, 1 KiB .. 1 MiB; 0: 112 KiB */
	uint32_t sample; /* messages to learn from, at most 100,000; 0: 5,000 */
};
/* What came out, for one kind. Byte counts are of the messages it was tried on, none of which it was trained
 * from. */
struct shelf_dict_trial {
	uint32_t learned, tested; /* messages */
	uint32_t bytes;		  /* of the new dictionary; 0: too little mail to make one */
	uint64_t raw;
	uint64_t without; /* compressed without a dictionary */
	uint64_t before;  /* with the one that was current until now, or without when there was none */
	uint64_t after;	  /* with the new one */
	uint32_t id;	  /* the new one is current from now on; 0: it was not better, and is not kept */
};
struct shelf_dict_report {
	struct shelf_dict_trial kind[SHELF_DICT_KINDS];
	/* Messages of the sample that are too large for a dictionary, and what they take: */
	uint32_t large;
	uint64_t large_raw, large_stored;
};
/*
 * shelf_dict_train(store, partition, params, report_out)
 *   Learns from messages spread over the whole partition, tries the result on as many others, and makes
 *   it current when it saves one byte in a hundred at least. Memory: some 16 KiB for each message of the
 *   sample at most. Takes seconds.
 *   params   NULL: all defaults
 *   returns  0; SHELF_EINVALID params, or no such partition; SHELF_ELIMIT too many dictionaries, prune
 *            first; SHELF_EFULL; SHELF_ECORRUPT; SHELF_EIO
 */
SHELF_CHECK int shelf_dict_train(struct shelf_store *store, uint32_t partition,
    const struct shelf_dict_params *params, struct shelf_dict_report *report_out);

struct shelf_dict_pass {
	uint64_t next, end;    /* blob ids: how far it is, and how far it goes */
	uint64_t blobs;	       /* compressed anew */
	uint64_t before, after; /* stored bytes of these */
};
/*
 * shelf_dict_recompress(store, partition, pass, budget_ms)
 *   Gives mail the current dictionaries, in small transactions, for about BUDGET_MS. PASS is all zero at the
 *   first call and handed on; a new pass skips what an earlier one has done.
 *   returns  1 more is left, 0 the partition is done, or an error
 */
SHELF_CHECK int shelf_dict_recompress(struct shelf_store *store, uint32_t partition,
    struct shelf_dict_pass *pass, unsigned budget_ms);
/* Removes the dictionaries that no mail uses and that are not current. */
SHELF_CHECK int shelf_dict_prune(struct shelf_store *store, uint32_t partition, uint32_t *removed_out);

#endif
