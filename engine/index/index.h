/*
 * index.h - flags and modseqs of 256 uids, in columns
 *
 * Shape     A page covers the uids page*256 .. page*256+255. It holds which of them exist, one column of
 *           bits per flag or keyword that occurs, and the modseq of each. A summary covers a range of
 *           65,536 uids in 16 blocks of 4,096, so that a walk skips what has nothing for it.
 *           Flag numbers: 0..4 the bits of enum shelf_flag, 8 + n keyword n of the mailbox.
 * Stored    In one row of table FPAGE, or in several when it is long (many keywords): part 0, 1, ...
 * Threads   One at a time; nothing here keeps state.
 */
#ifndef ENGINE_INDEX_H
#define ENGINE_INDEX_H

#include <mailshelf/buf.h>
#include <mailshelf/err.h>

struct kv_txn;
struct kv_view;
struct shelf_uidset;

enum {
	INDEX_PAGE_UIDS = 256,
	INDEX_PAGE_SHIFT = 8,
	INDEX_BLOCK_SHIFT = 12,
	INDEX_RANGE_SHIFT = 16,
	INDEX_RANGE_PAGES = 256,
	INDEX_BLOCK_PAGES = 16,
	INDEX_BLOCKS = 16, /* of a range */
	INDEX_FLAG_SEEN = 0,
	INDEX_FLAG_DELETED = 3,
	INDEX_FLAG_KEYWORD = 8,
	INDEX_FLAGS = 8 + 256,
	INDEX_PARTS_MAX = 8,
};

struct index_bits {
	uint64_t word[4];
};

static inline bool
index_bit(const struct index_bits *b, unsigned n)
{
	return (b->word[n >> 6] >> (n & 63) & 1) != 0;
}
static inline void
index_bit_set(struct index_bits *b, unsigned n, bool on)
{
	uint64_t mask = (uint64_t)1 << (n & 63);

	b->word[n >> 6] = on ? b->word[n >> 6] | mask : b->word[n >> 6] & ~mask;
}
static inline unsigned
index_bits_count(const struct index_bits *b)
{
	return (unsigned)(__builtin_popcountll(b->word[0]) + __builtin_popcountll(b->word[1]) +
			  __builtin_popcountll(b->word[2]) + __builtin_popcountll(b->word[3]));
}
static inline bool
index_bits_any(const struct index_bits *b)
{
	return (b->word[0] | b->word[1] | b->word[2] | b->word[3]) != 0;
}
/* Smallest set bit >= FROM, or INDEX_PAGE_UIDS. */
unsigned index_bits_next(const struct index_bits *b, unsigned from);
/* How many bits are set below position N (0..256). */
unsigned index_bits_rank(const struct index_bits *b, unsigned n);
/* Which members of SET are on PAGE; the uids of PAGE that BITS names, into SET. */
struct index_bits index_bits_of(const struct shelf_uidset *set, uint32_t page);
void index_bits_add_to(const struct index_bits *b, uint32_t page, struct shelf_uidset *set);

/* A page in memory: 11 KiB, all columns at hand. */
struct index_page {
	uint32_t page;
	uint64_t max_modseq; /* also of removals, so it may exceed every modseq below */
	struct index_bits exists;
	struct index_bits used; /* of flag numbers 0..255: which columns have any bit */
	uint8_t used_high;	/* of flag numbers 256..263 */
	struct index_bits flag[INDEX_FLAGS]; /* all zero where not used */
	uint64_t modseq[INDEX_PAGE_UIDS];    /* where exists */
};

struct index_counts {
	uint32_t present, unseen, deleted;
};
struct index_counts index_page_counts(const struct index_page *p);

void index_page_clear(struct index_page *p, uint32_t page);
static inline bool
index_page_has(const struct index_page *p, unsigned flag, unsigned n)
{
	return index_bit(&p->flag[flag], n);
}
void index_page_set(struct index_page *p, unsigned flag, unsigned n, bool on);
/* The same for all of WHICH; those that were not so before are added to CHANGED. */
void index_page_set_all(struct index_page *p, unsigned flag, const struct index_bits *which, bool on,
			struct index_bits *changed);
/* The first flag >= FROM that any message has, or INDEX_FLAGS. */
unsigned index_page_next_flag(const struct index_page *p, unsigned from);
bool index_page_flag_used(const struct index_page *p, unsigned flag);
/* Row N leaves the page: existence and every flag. */
void index_page_remove(struct index_page *p, unsigned n);

/* ---- Rows ---------------------------------------------------------------------------------------- */

/* An empty page when there is none. SHELF_ECORRUPT. */
SHELF_CHECK int index_page_get(struct kv_view *view, uint32_t mailbox, uint32_t page,
			       struct index_page *out);
/* The same of a page's rows laid end to end, from anywhere. SHELF_ECORRUPT, SHELF_EVERSION. */
SHELF_CHECK int index_page_decode(struct shelf_span whole, uint32_t page, struct index_page *out);
/* An empty page is removed. */
SHELF_CHECK int index_page_put(struct kv_txn *txn, uint32_t mailbox, const struct index_page *p);

/* What a scan over many pages needs of each, without decoding its columns. */
struct index_head {
	uint32_t page;
	uint64_t max_modseq;
	struct index_bits exists;
	struct index_counts counts;
};
/*
 * Calls FN for the pages FROM .. TO of a mailbox that hold any message, ascending. FN returns 0 to go on,
 * anything else ends the walk and is returned.
 */
typedef int index_head_fn(void *arg, const struct index_head *head);
SHELF_CHECK int index_page_each(struct kv_view *view, uint32_t mailbox, uint32_t from, uint32_t to,
				index_head_fn *fn, void *arg);

struct index_summary {
	uint32_t range; /* uid >> 16 */
	struct index_counts counts;
	uint64_t max_modseq;
};
SHELF_CHECK int index_summary_get(struct kv_view *view, uint32_t mailbox, uint32_t range,
				  struct index_summary *out); /* zeros when there is none */
typedef int index_summary_fn(void *arg, const struct index_summary *summary);
SHELF_CHECK int index_summary_each(struct kv_view *view, uint32_t mailbox, uint32_t from,
				   index_summary_fn *fn, void *arg);

/* A summary with its blocks. */
struct index_range {
	struct index_summary sum;
	struct index_block {
		struct index_counts counts;
		uint64_t max_modseq;
	} block[INDEX_BLOCKS];
};
/* A row of an older format has no blocks: they are summed up from the pages here. */
SHELF_CHECK int index_range_get(struct kv_view *view, uint32_t mailbox, uint32_t range,
				struct index_range *out); /* zeros when there is none */
SHELF_CHECK int index_range_put(struct kv_txn *txn, uint32_t mailbox, const struct index_range *r);

/* ---- Walks that skip what has nothing (walk.c) ---------------------------------------------------- */

enum index_kind { INDEX_PRESENT, INDEX_UNSEEN, INDEX_DELETED };
/* The first page >= FROM with a message of this kind: 1, or 0 when there is none. */
SHELF_CHECK int index_page_find(struct kv_view *view, uint32_t mailbox, uint32_t from,
				enum index_kind kind, struct index_head *out);
/* How many messages lie on the pages before PAGE. */
SHELF_CHECK int index_page_rank(struct kv_view *view, uint32_t mailbox, uint32_t page,
				uint32_t *count_out);
/* The pages changed behind modseq SINCE that hold any message, ascending; FN as above. */
SHELF_CHECK int index_changed_each(struct kv_view *view, uint32_t mailbox, uint64_t since,
				   index_head_fn *fn, void *arg);

#endif
