/* thread_model.c - each step of RFC 5256 3 as it is written there */
#include <stdlib.h>

#include <mailshelf/mem.h>

#include "thread_model.h"

struct tree {
	const struct thread_model_message *m; /* NULL: a dummy */
	const char *id;
	struct tree *parent;
	struct tree *child[1000];
	size_t n;
};

static struct tree *pool[2000];
static size_t pooled;

static struct tree *
new_tree(const struct thread_model_message *m, const char *id)
{
	struct tree *t = shelf_zalloc(sizeof *t);

	t->m = m;
	t->id = id;
	return pool[pooled++] = t;
}

static void
free_trees(void)
{
	while (pooled > 0)
		free(pool[--pooled]);
}

static void
remove_child(struct tree *parent, size_t i)
{
	parent->child[i]->parent = NULL;
	memmove(&parent->child[i], &parent->child[i + 1], (--parent->n - i) * sizeof parent->child[0]);
}

static void
take_out(struct tree *t)
{
	for (size_t i = 0; t->parent != NULL; i++)
		if (t->parent->child[i] == t)
			remove_child(t->parent, i);
}

static void
put_in(struct tree *parent, struct tree *t)
{
	take_out(t);
	t->parent = parent;
	parent->child[parent->n++] = t;
}

static bool
descends(const struct tree *t, const struct tree *from)
{
	for (; t != NULL; t = t->parent)
		if (t == from)
			return true;
	return false;
}

/* ---- Order ------------------------------------------------------------------------------------------- */

/* A dummy's children are in order already. */
static const struct thread_model_message *
first_of(const struct tree *t)
{
	return t->m != NULL ? t->m : first_of(t->child[0]);
}

static int
by_date(const void *a, const void *b)
{
	const struct thread_model_message *x = first_of(*(struct tree *const *)a);
	const struct thread_model_message *y = first_of(*(struct tree *const *)b);

	if (x->sent_s != y->sent_s)
		return x->sent_s < y->sent_s ? -1 : 1;
	return x->uid < y->uid ? -1 : x->uid > y->uid;
}

static void
sort_below(struct tree *t)
{
	for (size_t i = 0; i < t->n; i++)
		sort_below(t->child[i]);
	qsort(t->child, t->n, sizeof t->child[0], by_date);
}

/* ---- REFERENCES --------------------------------------------------------------------------------------- */

static struct tree *
find(const char *id)
{
	for (size_t i = 0; i < pooled; i++)
		if (pool[i]->id != NULL && strcmp(pool[i]->id, id) == 0)
			return pool[i];
	return NULL;
}

static void
step_1(const struct thread_model_message *m)
{
	struct tree *t = m->id == NULL ? NULL : find(m->id), *last = NULL;

	if (t != NULL && t->m == NULL)
		t->m = m;
	else
		t = new_tree(m, t == NULL ? m->id : NULL);
	for (size_t i = 0; i < THREAD_MODEL_REFS && m->ref[i] != NULL; i++) {
		struct tree *r = find(m->ref[i]);

		if (r == NULL)
			r = new_tree(NULL, m->ref[i]);
		if (last != NULL && r->parent == NULL && !descends(last, r))
			put_in(last, r);
		last = r;
	}
	take_out(t);
	if (last != NULL && !descends(last, t))
		put_in(last, t);
}

static void
step_2(struct tree *root)
{
	size_t n = pooled;

	for (size_t i = 0; i < n; i++)
		if (pool[i] != root && pool[i]->parent == NULL)
			put_in(root, pool[i]);
}

/* The deepest first, so that "no children" and "only one child" are known. */
static void
step_3(struct tree *t, struct tree *root)
{
	for (size_t i = 0; i < t->n;) {
		struct tree *c = t->child[i];

		step_3(c, root);
		if (c->m != NULL || (c->n > 1 && t == root)) {
			i++;
			continue;
		}
		take_out(c);
		while (c->n > 0)
			put_in(t, c->child[0]); /* these have no dummies below: looking at them again is harmless */
	}
}

static struct tree *
in_table(struct tree **table, size_t n, const char *base)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(first_of(table[i])->base, base) == 0)
			return table[i];
	return NULL;
}

static bool
is_reply(const struct tree *t)
{
	return t->m != NULL && t->m->reply;
}

static size_t
step_5b(struct tree *root, struct tree **table)
{
	size_t n = 0;

	for (size_t i = 0; i < root->n; i++) {
		struct tree *t = root->child[i], *old = in_table(table, n, first_of(t)->base);

		if (*first_of(t)->base == '\0')
			continue;
		if (old == NULL) {
			table[n++] = t;
		} else if (old->m != NULL && (t->m == NULL || (is_reply(old) && !is_reply(t)))) {
			for (size_t k = 0; k < n; k++)
				if (table[k] == old)
					table[k] = t;
		}
	}
	return n;
}

static void
merge(struct tree *root, struct tree *t, struct tree *old, struct tree **slot)
{
	if (t->m == NULL && old->m == NULL) {
		while (t->n > 0)
			put_in(old, t->child[0]);
		take_out(t);
	} else if (old->m == NULL || (is_reply(t) && !is_reply(old))) {
		put_in(old, t);
	} else {
		struct tree *dummy = new_tree(NULL, NULL);

		put_in(dummy, old);
		put_in(dummy, t);
		put_in(root, dummy);
		*slot = dummy;
	}
}

static void
step_5c(struct tree *root, struct tree **table, size_t n)
{
	struct tree *list[1000];
	size_t count = root->n;

	memcpy(list, root->child, count * sizeof *list);
	for (size_t i = 0; i < count; i++) {
		struct tree *t = list[i];

		if (t->parent != root || *first_of(t)->base == '\0')
			continue;
		for (size_t k = 0; k < n; k++)
			if (strcmp(first_of(table[k])->base, first_of(t)->base) == 0 && table[k] != t) {
				merge(root, t, table[k], &table[k]);
				break;
			}
	}
}

/* ---- Text ---------------------------------------------------------------------------------------------- */

static void
print(const struct tree *t, struct shelf_buf *out)
{
	if (t->m != NULL)
		shelf_buf_printf(out, "%u", t->m->uid);
	if (t->n == 1) {
		shelf_buf_add_byte(out, ' ');
		print(t->child[0], out);
		return;
	}
	if (t->n > 0 && t->m != NULL)
		shelf_buf_add_byte(out, ' ');
	for (size_t i = 0; i < t->n; i++) {
		shelf_buf_add_byte(out, '(');
		print(t->child[i], out);
		shelf_buf_add_byte(out, ')');
	}
}

static void
print_all(const struct tree *root, struct shelf_buf *out)
{
	for (size_t i = 0; i < root->n; i++) {
		shelf_buf_add_byte(out, '(');
		print(root->child[i], out);
		shelf_buf_add_byte(out, ')');
	}
}

void
thread_model_references(const struct thread_model_message *m, size_t n, struct shelf_buf *out)
{
	struct tree *root, *table[1000];

	for (size_t i = 0; i < n; i++)
		step_1(&m[i]);
	root = new_tree(NULL, NULL);
	step_2(root);
	step_3(root, root);
	sort_below(root); /* 4 */
	step_5c(root, table, step_5b(root, table));
	sort_below(root); /* 6 */
	print_all(root, out);
	free_trees();
}

void
thread_model_subject(const struct thread_model_message *m, size_t n, struct shelf_buf *out)
{
	struct tree *root = new_tree(NULL, NULL), *all = new_tree(NULL, NULL);

	for (size_t i = 0; i < n; i++)
		put_in(all, new_tree(&m[i], NULL));
	sort_below(all);
	while (all->n > 0) {
		struct tree *t = all->child[0], *head = in_table(root->child, root->n, t->m->base);

		put_in(head != NULL ? head : root, t);
	}
	sort_below(root);
	print_all(root, out);
	free_trees();
}
