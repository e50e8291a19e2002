/*
 * kv_page.h (private) - pages of an LMDB file that nobody vouches for
 *
 *   PAGE    OFFSET SIZE
 *           0      8    its number
 *           8      2    (unused)
 *           10     2    kind: 1 branch, 2 leaf, 4 overflow, 8 meta
 *           12     2, 2 end of the list of nodes, begin of the nodes; an overflow page: 4, how many pages
 *           16     2 .. where each node is; an overflow page: the value
 *   NODE    0      2, 2 a leaf: length of the value; a branch: page, low 32 bits
 *           4      2    a leaf: 1 value on an overflow page, 2 a table; a branch: page, high bits
 *           6      2    length of the key; then the key, then the value
 *   META    16     4, 4 magic, version
 *           40     48   free list, 88 48 the tree of tables; 136 8 last page, 144 8 transaction
 *   TREE    0 4 (of the free list: bytes of a page), 32 8 entries, 40 8 root
 *
 * All little-endian; written by LMDB 0.9, data version 1, of a 64-bit machine.
 */
#ifndef ENGINE_KV_PAGE_H
#define ENGINE_KV_PAGE_H

#include <mailshelf/span.h>

enum { KV_PAGE_BRANCH = 1, KV_PAGE_LEAF = 2, KV_PAGE_OVERFLOW = 4, KV_PAGE_META = 8 };
enum { KV_PAGE_BYTES_MAX = 65536, KV_PAGE_DEPTH_MAX = 32 };

struct kv_pages {
	int fd;
	uint32_t bytes; /* of a page */
	uint64_t count; /* whole ones in the file */
};

struct kv_page {
	uint64_t number;
	unsigned kind, nodes;
	uint8_t data[]; /* kv_pages.bytes */
};

struct kv_node {
	struct shelf_span key, value; /* value: also that of a table, 48 bytes */
	uint64_t page;                /* a branch: below it; a leaf: overflow page, 0 none */
	uint32_t len;                 /* of the value on it */
	bool table;
};

/* False: it cannot be read, or is no page of that number and of one of the KINDS (bits). */
bool kv_page_read(const struct kv_pages *f, uint64_t number, unsigned kinds, struct kv_page *page);
/* Node I of a branch or leaf; false: it does not lie in the page. */
bool kv_page_node(const struct kv_pages *f, const struct kv_page *page, unsigned i, struct kv_node *node);
/* The value of a leaf's node from its overflow pages into OUT, which has room for LEN_MAX. */
bool kv_page_big(const struct kv_pages *f, const struct kv_node *node, uint8_t *out, size_t len_max);

struct kv_meta {
	uint64_t transaction;
	uint64_t root; /* of the tree of tables; UINT64_MAX: an empty file */
	uint32_t page_bytes;
};
/* Meta page 0 or 1. */
bool kv_page_meta(const struct kv_pages *f, unsigned which, struct kv_meta *out);
/* The root of the table a node describes. */
bool kv_page_table(const struct kv_node *node, uint64_t *root_out);

#endif
