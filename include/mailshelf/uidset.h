/*
 * uidset.h - sets of 32-bit numbers: UIDs, message numbers
 *
 * Shape     Ascending, no duplicates, 0 never a member. Compressed (runs and bitmaps).
 * Errors    None; memory exhaustion aborts.
 * Lifetime  shelf_uidset_new .. shelf_uidset_free.
 * Threads   One at a time.
 */
#ifndef MAILSHELF_UIDSET_H
#define MAILSHELF_UIDSET_H

#include <mailshelf/buf.h>

struct shelf_uidset;

struct shelf_uidset *shelf_uidset_new(void);
struct shelf_uidset *shelf_uidset_copy(const struct shelf_uidset *s);
void shelf_uidset_free(struct shelf_uidset **s);
void shelf_uidset_clear(struct shelf_uidset *s);
void shelf_uidset_add(struct shelf_uidset *s, uint32_t uid);
void shelf_uidset_add_range(struct shelf_uidset *s, uint32_t first, uint32_t last); /* both in */
void shelf_uidset_remove(struct shelf_uidset *s, uint32_t uid);
bool shelf_uidset_has(const struct shelf_uidset *s, uint32_t uid);
bool shelf_uidset_eq(const struct shelf_uidset *s, const struct shelf_uidset *other);
uint32_t shelf_uidset_count(const struct shelf_uidset *s);
/* How many members lie in first..last, both in. */
uint32_t shelf_uidset_count_range(const struct shelf_uidset *s, uint32_t first, uint32_t last);
uint32_t shelf_uidset_min(const struct shelf_uidset *s); /* 0 when empty */
uint32_t shelf_uidset_max(const struct shelf_uidset *s); /* 0 when empty */
/* Smallest member >= FROM, or 0: the iterator of every loop over a set, safe against changes. */
uint32_t shelf_uidset_next(const struct shelf_uidset *s, uint32_t from);
/* The N-th smallest member, from 1; 0 when there are fewer. */
uint32_t shelf_uidset_nth(const struct shelf_uidset *s, uint32_t n);
/* Longest run of consecutive members that starts at the smallest member >= FROM. */
bool shelf_uidset_run(const struct shelf_uidset *s, uint32_t from, uint32_t *first, uint32_t *last);
void shelf_uidset_and(struct shelf_uidset *s, const struct shelf_uidset *other);
void shelf_uidset_or(struct shelf_uidset *s, const struct shelf_uidset *other);
void shelf_uidset_andnot(struct shelf_uidset *s, const struct shelf_uidset *other);
/* "1:3,7,9:12" as in RFC 9051 sequence-set; nothing for an empty set. */
void shelf_uidset_print(const struct shelf_uidset *s, struct shelf_buf *out);

#endif
