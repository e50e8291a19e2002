/*
 * kv_salvage.c - an environment read page by page, without LMDB
 *
 *   open    root --> tree of tables --> tree of each table --> its leaf pages, in key order
 *           when a page on that way is bad: every other leaf page of the file --> rows --> classifier
 *   get     the leaf that would have the key, else a loose row
 *   seek    the lower one of both
 *
 * What must stay true: a page is in one tree once, so every walk ends; leaves of a table are in
 * ascending order of their keys, or they are not the table's.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <mailshelf/arena.h>
#include <mailshelf/mem.h>
#include "base.h"
#include "kv_internal.h"
#include "kv_page.h"
#include "kv_salvage.h"

enum { CACHE_PAGES = 256, PAGE_DEFAULT = 4096 };

struct loose {
	uint64_t page, rank;
	uint64_t key_at; /* in keys */
	uint16_t key_len, node;
};

struct table {
	uint64_t *leaf; /* page numbers, ascending by key */
	size_t n, cap;
	struct loose *loose; /* ascending by key, each key once */
	size_t nloose, loose_cap;
};

struct kv_salvage {
	struct kv_db db; /* nothing is open in it: what views point to */
	struct kv_env *env;
	struct kv_pages file;
	kv_classify_fn *classify;
	bool catalog;
	uint8_t *in_tree; /* a bit for each page */
	struct kv_page *cache[CACHE_PAGES];
	struct table table[KV_TABLES];
	struct shelf_buf keys; /* of loose rows */
	struct shelf_buf last; /* the last key of the tree being walked */
	struct kv_salvage_report report;
};

struct kv_salvage_view {
	struct kv_view view;
	struct kv_salvage *s;
	struct shelf_arena arena; /* what was handed out */
	bool reached;
};

static int
compare(struct shelf_span a, struct shelf_span b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int c = n == 0 ? 0 : memcmp(a.data, b.data, n);

	return c != 0 ? c : a.len < b.len ? -1 : a.len > b.len;
}

/* A page that the cache keeps until another one takes its place; NULL: bad. */
static const struct kv_page *
page_of(struct kv_salvage *s, uint64_t number, unsigned kinds)
{
	struct kv_page **slot = &s->cache[number % CACHE_PAGES];

	if (*slot == NULL) {
		*slot = shelf_alloc(sizeof **slot + s->file.bytes);
		(*slot)->number = UINT64_MAX;
	}
	if ((*slot)->number != number && !kv_page_read(&s->file, number, KV_PAGE_BRANCH | KV_PAGE_LEAF,
	    *slot))
		return NULL;
	return ((*slot)->kind & kinds) != 0 ? *slot : NULL;
}

/* ---- Trees --------------------------------------------------------------------------------------- */

static bool
mark(struct kv_salvage *s, uint64_t number, bool on)
{
	uint8_t bit = (uint8_t)(1u << number % 8), *byte = &s->in_tree[number / 8];
	bool was = (*byte & bit) != 0;

	*byte = (uint8_t)(on ? *byte | bit : *byte & ~bit);
	return was;
}

/* The first or last node that can be read. */
static bool
edge_node(struct kv_salvage *s, const struct kv_page *page, bool last, struct kv_node *node)
{
	for (unsigned i = 0; i < page->nodes; i++)
		if (kv_page_node(&s->file, page, last ? page->nodes - 1 - i : i, node))
			return true;
	return false;
}

static bool
all_nodes(struct kv_salvage *s, const struct kv_page *page)
{
	struct kv_node node;

	for (unsigned i = 0; i < page->nodes; i++)
		if (!kv_page_node(&s->file, page, i, &node))
			return false;
	return true;
}

/* A leaf behind all others of its table. */
static bool
add_leaf(struct kv_salvage *s, struct table *table, const struct kv_page *page)
{
	struct kv_node first, last;

	if (!edge_node(s, page, false, &first) || !edge_node(s, page, true, &last) ||
	    compare(first.key, last.key) > 0 ||
	    (table->n > 0 && compare(first.key, shelf_buf_span(&s->last)) <= 0))
		return false;
	shelf_buf_clear(&s->last);
	shelf_buf_add_span(&s->last, last.key);
	if (table->n == table->cap) {
		table->cap = table->cap == 0 ? 64 : table->cap * 2;
		table->leaf = shelf_realloc(table->leaf, table->cap * sizeof *table->leaf);
	}
	table->leaf[table->n++] = page->number;
	return true;
}

/* The leaves below page NUMBER become TABLE's. */
static void
walk(struct kv_salvage *s, struct table *table, uint64_t number, unsigned depth)
{
	const struct kv_page *page;
	struct kv_node node;
	uint64_t *child;
	unsigned n = 0;

	if (depth == KV_PAGE_DEPTH_MAX || number >= s->file.count || mark(s, number, true)) {
		s->report.bad_pages++;
		return;
	}
	page = page_of(s, number, KV_PAGE_BRANCH | KV_PAGE_LEAF);
	if (page == NULL || !all_nodes(s, page))
		s->report.bad_pages++;
	if (page == NULL)
		return;
	if (page->kind == KV_PAGE_LEAF) {
		if (page->nodes > 0 && !add_leaf(s, table, page)) {
			mark(s, number, false); /* somebody else's, or nobody's */
			s->report.bad_pages++;
		}
		return;
	}
	child = shelf_alloc((page->nodes + 1) * sizeof *child);
	for (unsigned i = 0; i < page->nodes; i++)
		if (kv_page_node(&s->file, page, i, &node))
			child[n++] = node.page;
	for (unsigned i = 0; i < n; i++)
		walk(s, table, child[i], depth + 1);
	free(child);
}

static int
table_of_name(struct shelf_span name, bool catalog)
{
	for (int t = 0; t < KV_TABLES; t++)
		if (shelf_span_is(name, kv_name_of[t]) &&
		    (kv_scope_of[t] == KV_SCOPE_CATALOG) == catalog)
			return t;
	return -1;
}

/* All tables below the root of one of the meta pages. False: none was found. */
static bool
walk_tables(struct kv_salvage *s, uint64_t root)
{
	struct table names = {0};
	uint64_t roots[KV_TABLES];
	bool found = false;

	for (int t = 0; t < KV_TABLES; t++)
		roots[t] = UINT64_MAX;
	shelf_buf_clear(&s->last);
	walk(s, &names, root, 0);
	for (size_t i = 0; i < names.n; i++) {
		const struct kv_page *page = page_of(s, names.leaf[i], KV_PAGE_LEAF);
		struct kv_node node;

		for (unsigned k = 0; page != NULL && k < page->nodes; k++) {
			int t = kv_page_node(&s->file, page, k, &node) ?
			    table_of_name(node.key, s->catalog) : -1;

			found |= t >= 0 && kv_page_table(&node, &roots[t]);
		}
	}
	for (int t = 0; t < KV_TABLES; t++) {
		shelf_buf_clear(&s->last);
		if (roots[t] != UINT64_MAX) /* an empty one */
			walk(s, &s->table[t], roots[t], 0);
	}
	free(names.leaf);
	return found;
}

/* ---- Loose rows ------------------------------------------------------------------------------------ */

/* A value into BUF when it lies on another page; NULL data: it cannot be read. */
static struct shelf_span
value_of(struct kv_salvage *s, const struct kv_node *node, uint8_t *buf)
{
	if (node->page == 0)
		return node->value;
	return kv_page_big(&s->file, node, buf, KV_VALUE_MAX) ? shelf_span(buf, node->len)
	                                                      : shelf_span(NULL, 0);
}

/* What row I of PAGE looks like; false: it is no row, or cannot be read. */
static bool
class_of(struct kv_salvage *s, const struct kv_page *page, unsigned i, struct kv_node *node, struct kv_class *out)
{
	uint8_t buf[KV_VALUE_MAX];
	struct shelf_span value;

	if (!kv_page_node(&s->file, page, i, node) || node->table ||
	    node->key.len > KV_ACCOUNT_BYTES + KV_KEY_MAX || node->len > KV_VALUE_MAX)
		return false;
	value = value_of(s, node, buf);
	if (value.data == NULL)
		return false;
	*out = s->classify(node->key, value, s->catalog);
	return true;
}

/* A page has rows of one table: the first one that can only be of one tells. False: none does. */
static bool
table_of_page(struct kv_salvage *s, const struct kv_page *page, int *table_out)
{
	struct kv_class class;
	struct kv_node node;

	for (unsigned i = 0; i < page->nodes; i++) {
		if (!class_of(s, page, i, &node, &class) || class.unsure)
			continue;
		*table_out = class.table;
		return true;
	}
	return false;
}

static void
add_loose(struct kv_salvage *s, const struct kv_page *page, unsigned i)
{
	struct kv_class class;
	struct kv_node node;
	struct table *table;
	int t;

	if (!class_of(s, page, i, &node, &class) || class.table < 0 ||
	    (class.unsure && table_of_page(s, page, &t) && t != class.table))
		return;
	table = &s->table[class.table];
	if (table->nloose == table->loose_cap) {
		table->loose_cap = table->loose_cap == 0 ? 64 : table->loose_cap * 2;
		table->loose = shelf_realloc(table->loose, table->loose_cap * sizeof *table->loose);
	}
	table->loose[table->nloose++] = (struct loose){.page = page->number, .rank = class.rank,
	    .key_at = s->keys.len, .key_len = (uint16_t)node.key.len, .node = (uint16_t)i};
	shelf_buf_add_span(&s->keys, node.key);
}

static struct shelf_span
loose_key(const struct kv_salvage *s, const struct loose *l)
{
	return shelf_span(s->keys.data + l->key_at, l->key_len);
}

/* By key; the one to be taken first. */
static int
compare_loose(const void *a, const void *b, void *arg)
{
	const struct loose *x = a, *y = b;
	int c = compare(loose_key(arg, x), loose_key(arg, y));

	if (c != 0)
		return c;
	if (x->rank != y->rank)
		return x->rank > y->rank ? -1 : 1;
	return x->page > y->page ? -1 : x->page < y->page;
}

static void
sweep(struct kv_salvage *s)
{
	for (uint64_t number = 2; number < s->file.count; number++) {
		const struct kv_page *page;

		if ((s->in_tree[number / 8] & 1u << number % 8) != 0)
			continue;
		page = page_of(s, number, KV_PAGE_LEAF);
		for (unsigned i = 0; page != NULL && i < page->nodes; i++)
			add_loose(s, page, i);
	}
	for (int t = 0; t < KV_TABLES; t++) {
		struct table *table = &s->table[t];
		size_t n = 0;

		if (table->nloose == 0)
			continue;
		qsort_r(table->loose, table->nloose, sizeof *table->loose, compare_loose, s);
		for (size_t i = 0; i < table->nloose; i++)
			if (n == 0 || compare(loose_key(s, &table->loose[i]),
			    loose_key(s, &table->loose[n - 1])) != 0)
				table->loose[n++] = table->loose[i];
		table->nloose = n;
		s->report.loose_rows += n;
	}
}

/* ---- Rows ------------------------------------------------------------------------------------------ */

/* The last leaf whose first key is not above KEY, or 0. */
static size_t
leaf_of(struct kv_salvage *s, const struct table *table, struct shelf_span key)
{
	size_t low = 0, high = table->n;

	while (high - low > 1) {
		size_t mid = low + (high - low) / 2;
		const struct kv_page *page = page_of(s, table->leaf[mid], KV_PAGE_LEAF);
		struct kv_node node;

		if (page != NULL && edge_node(s, page, false, &node) && compare(node.key, key) <= 0)
			low = mid;
		else
			high = mid;
	}
	return low;
}

/* The first row of the tree at or behind KEY whose value can be read; its page stays in the cache. */
static bool
seek_tree(struct kv_salvage *s, const struct table *table, struct shelf_span key, struct kv_node *out,
    struct shelf_span *value, uint8_t *buf)
{
	for (size_t i = leaf_of(s, table, key); i < table->n; i++) {
		const struct kv_page *page = page_of(s, table->leaf[i], KV_PAGE_LEAF);

		for (unsigned k = 0; page != NULL && k < page->nodes; k++) {
			if (!kv_page_node(&s->file, page, k, out) || compare(out->key, key) < 0 ||
			    out->key.len > KV_ACCOUNT_BYTES + KV_KEY_MAX)
				continue;
			*value = value_of(s, out, buf);
			if (value->data != NULL)
				return true;
		}
	}
	return false;
}

static bool
seek_loose(struct kv_salvage *s, const struct table *table, struct shelf_span key, struct kv_node *out,
    struct shelf_span *value, uint8_t *buf)
{
	size_t low = 0, high = table->nloose;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (compare(loose_key(s, &table->loose[mid]), key) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	for (; low < table->nloose; low++) {
		const struct loose *l = &table->loose[low];
		const struct kv_page *page = page_of(s, l->page, KV_PAGE_LEAF);

		if (page == NULL || !kv_page_node(&s->file, page, l->node, out))
			continue;
		*value = value_of(s, out, buf);
		if (value->data != NULL)
			return true;
	}
	return false;
}

int
kv_salvage_seek(struct kv_view *view, enum kv_table t, struct shelf_span from, struct shelf_span *key,
    struct shelf_span *value)
{
	struct kv_salvage_view *v = view->salvage;
	const struct table *table = &v->s->table[t];
	uint8_t tree_buf[KV_VALUE_MAX], loose_buf[KV_VALUE_MAX];
	struct shelf_span tree_value, loose_value;
	struct kv_node node;
	bool found = seek_tree(v->s, table, from, &node, &tree_value, tree_buf);

	if (found) {
		*key = shelf_arena_dup(&v->arena, node.key);
		*value = shelf_arena_dup(&v->arena, tree_value);
		v->reached = true;
	}
	if (seek_loose(v->s, table, from, &node, &loose_value, loose_buf) &&
	    (!found || compare(node.key, *key) < 0)) {
		*key = shelf_arena_dup(&v->arena, node.key);
		*value = shelf_arena_dup(&v->arena, loose_value);
		v->reached = false;
		found = true;
	}
	return found;
}

/* ---- Views ----------------------------------------------------------------------------------------- */

struct kv_view *
kv_salvage_view(struct kv_salvage *s)
{
	struct kv_salvage_view *v = SHELF_NEW(struct kv_salvage_view);

	v->s = s;
	v->view.env = s->env;
	v->view.salvage = v;
	return &v->view;
}

void
kv_salvage_view_end(struct kv_view *view)
{
	struct kv_salvage_view *v = view->salvage;

	shelf_arena_free(&v->arena);
	free(v);
}

bool
kv_salvage_reached(const struct kv_view *view)
{
	return view->salvage->reached;
}

/* ---- Open ------------------------------------------------------------------------------------------ */

/* The newer root that leads to tables, and what it leads to. */
static void
read_trees(struct kv_salvage *s)
{
	struct kv_meta meta[2];
	bool good[2];
	unsigned first;

	for (unsigned i = 0; i < 2; i++)
		good[i] = kv_page_meta(&s->file, i, &meta[i]) && meta[i].page_bytes == s->file.bytes;
	first = good[1] && (!good[0] || meta[1].transaction > meta[0].transaction);
	s->report.no_trees = true;
	for (unsigned k = 0; k < 2 && s->report.no_trees; k++) {
		unsigned i = first ^ k;

		if (!good[i])
			s->report.bad_pages += k == 0; /* both are bad */
		else if (meta[i].root != UINT64_MAX)
			s->report.no_trees = !walk_tables(s, meta[i].root);
	}
}

/* Bytes of a page: as a meta page says, or as nearly all files have them. */
static uint32_t
page_bytes(const struct kv_pages *probe)
{
	struct kv_meta meta;
	struct kv_pages f = *probe;

	f.bytes = PAGE_DEFAULT;
	if (kv_page_meta(&f, 0, &meta))
		return meta.page_bytes;
	return kv_page_meta(&f, 1, &meta) ? meta.page_bytes : PAGE_DEFAULT;
}

int
kv_salvage_open(const char *file, bool catalog, kv_classify_fn *classify, struct kv_salvage **out)
{
	struct kv_salvage *s;
	struct stat st;
	int fd = open(file, O_RDONLY | O_CLOEXEC);

	*out = NULL;
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? SHELF_EMISSING : SHELF_EIO;
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return SHELF_EIO;
	}
	s = SHELF_NEW(struct kv_salvage);
	s->file.fd = fd;
	s->file.bytes = page_bytes(&s->file);
	s->file.count = (uint64_t)st.st_size / s->file.bytes;
	s->classify = classify;
	s->catalog = catalog;
	s->env = catalog ? &s->db.catalog : &s->db.shard[0];
	s->env->db = &s->db;
	s->env->shard = catalog ? KV_SHARDS_MAX : 0;
	s->in_tree = shelf_zalloc(s->file.count / 8 + 1);
	s->report.pages = s->file.count;
	read_trees(s);
	if (s->report.bad_pages > 0 || s->report.no_trees)
		sweep(s);
	*out = s;
	return 0;
}

void
kv_salvage_close(struct kv_salvage **salvage)
{
	struct kv_salvage *s = *salvage;

	*salvage = NULL;
	if (s == NULL)
		return;
	for (int t = 0; t < KV_TABLES; t++) {
		free(s->table[t].leaf);
		free(s->table[t].loose);
	}
	for (unsigned i = 0; i < CACHE_PAGES; i++)
		free(s->cache[i]);
	shelf_buf_free(&s->keys);
	shelf_buf_free(&s->last);
	free(s->in_tree);
	close(s->file.fd);
	free(s);
}

void
kv_salvage_report(const struct kv_salvage *s, struct kv_salvage_report *out)
{
	*out = s->report;
}
