/*
 * kvt_rows.h - what the suites about compaction write, and how it must be found again
 *
 * Shard 0, account KVT_ROWS_ACCOUNT, of a database that kvt_rows_begin made.
 */
#ifndef KVT_ROWS_H
#define KVT_ROWS_H

#include "kvt.h"

enum { KVT_ROWS_ACCOUNT = 1, KVT_ROWS = 3000 };

void kvt_rows_begin(struct kvt *t);
/* Rows FIRST .. END - 1 of two tables get a value that only their number and MARK make; -1: are removed. */
void kvt_rows_set(struct kvt *t, uint32_t first, uint32_t end, int mark);
/* 1: row N is there with MARK, 0: it is not there, -1: something else. */
int kvt_row_is(struct kv_view *view, uint32_t n, int mark);
/* All of them are there; with MARK -1: none is. */
void kvt_rows_check(struct kv_view *view, uint32_t first, uint32_t end, int mark);
/* KVT_ROWS rows of which two thirds are gone; the others are old or changed. And checks that. */
void kvt_rows_fill(struct kvt *t);
void kvt_rows_check_filled(struct kvt *t);
struct shelf_span kvt_row_key(uint32_t *key, uint32_t n);

/* Of shard 0: directories (more than one only where a compactor died), bytes of the file. */
unsigned kvt_generations(const struct kvt *t);
bool kvt_is_there(const struct kvt *t, const char *name);
uint64_t kvt_file_bytes(struct kvt *t);
int kvt_compact(struct kvt *t);

#endif
