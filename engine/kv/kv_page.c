/* kv_page.c - reads pages of an LMDB file; nothing on them is believed (kv_page.h has the layout) */
#include <errno.h>
#include <unistd.h>
#include <mailshelf/mem.h>
#include "base.h"
#include "kv_page.h"

enum {
	HEAD = 16,
	NODE_HEAD = 8,
	BIG = 1, TABLE = 2, /* flags of a leaf's node */
	TREE_BYTES = 48,
	META_BYTES = 152,
};

static const uint32_t magic = 0xbeefc0de;

static uint64_t
le(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	while (n-- > 0)
		v = v << 8 | p[n];
	return v;
}

static bool
read_at(const struct kv_pages *f, uint64_t at, uint8_t *out, size_t len)
{
	while (len > 0) {
		ssize_t n = pread(f->fd, out, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		out += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return true;
}

bool
kv_page_read(const struct kv_pages *f, uint64_t number, unsigned kinds, struct kv_page *page)
{
	uint64_t lower, upper;

	page->number = UINT64_MAX;
	page->nodes = 0;
	if (number >= f->count || !read_at(f, number * f->bytes, page->data, f->bytes))
		return false;
	page->kind = (unsigned)le(page->data + 10, 2);
	if (le(page->data, 8) != number || (page->kind & (page->kind - 1)) != 0 ||
	    (page->kind & kinds) == 0)
		return false;
	if (page->kind == KV_PAGE_BRANCH || page->kind == KV_PAGE_LEAF) {
		lower = le(page->data + 12, 2);
		upper = le(page->data + 14, 2);
		if (lower < HEAD || lower % 2 != 0 || lower > upper || upper > f->bytes)
			return false;
		page->nodes = (unsigned)(lower - HEAD) / 2;
	}
	page->number = number;
	return true;
}

bool
kv_page_node(const struct kv_pages *f, const struct kv_page *page, unsigned i, struct kv_node *node)
{
	const uint8_t *p;
	size_t at, key_len, left;
	unsigned flags;

	*node = (struct kv_node){0};
	if (i >= page->nodes)
		return false;
	at = le(page->data + HEAD + 2 * (size_t)i, 2);
	if (at < HEAD + 2 * (size_t)page->nodes || at + NODE_HEAD > f->bytes)
		return false;
	p = page->data + at;
	flags = (unsigned)le(p + 4, 2);
	key_len = le(p + 6, 2);
	left = f->bytes - at - NODE_HEAD;
	if (key_len > left)
		return false;
	node->key = shelf_span(p + NODE_HEAD, key_len);
	if (page->kind == KV_PAGE_BRANCH) {
		node->page = le(p, 4) | (uint64_t)flags << 32;
		return true;
	}
	node->len = (uint32_t)le(p, 4);
	left -= key_len;
	if ((flags & ~(unsigned)(BIG | TABLE)) != 0 || ((flags & BIG) == 0 && node->len > left))
		return false;
	node->table = (flags & TABLE) != 0;
	if ((flags & BIG) == 0) {
		node->value = shelf_span(p + NODE_HEAD + key_len, node->len);
		return true;
	}
	if (left < 8)
		return false;
	node->page = le(p + NODE_HEAD + key_len, 8);
	return node->page != 0;
}

bool
kv_page_big(const struct kv_pages *f, const struct kv_node *node, uint8_t *out, size_t len_max)
{
	uint8_t head[HEAD];
	uint64_t pages = ((uint64_t)node->len + HEAD + f->bytes - 1) / f->bytes;

	if (node->len > len_max || node->page >= f->count || pages > f->count - node->page ||
	    !read_at(f, node->page * f->bytes, head, HEAD) || le(head, 8) != node->page ||
	    le(head + 10, 2) != KV_PAGE_OVERFLOW || le(head + 12, 4) < pages)
		return false;
	return read_at(f, node->page * f->bytes + HEAD, out, node->len);
}

bool
kv_page_meta(const struct kv_pages *f, unsigned which, struct kv_meta *out)
{
	uint8_t m[META_BYTES];

	if (!read_at(f, (uint64_t)which * f->bytes, m, sizeof m) || le(m, 8) != which ||
	    le(m + 10, 2) != KV_PAGE_META || le(m + 16, 4) != magic || le(m + 20, 4) != 1)
		return false;
	out->page_bytes = (uint32_t)le(m + 40, 4);
	out->root = le(m + 88 + 40, 8);
	out->transaction = le(m + 144, 8);
	return out->page_bytes >= 512 && out->page_bytes <= KV_PAGE_BYTES_MAX &&
	    (out->page_bytes & (out->page_bytes - 1)) == 0;
}

bool
kv_page_table(const struct kv_node *node, uint64_t *root_out)
{
	if (!node->table || node->value.len != TREE_BYTES)
		return false;
	*root_out = le(node->value.data + 40, 8);
	return true;
}
