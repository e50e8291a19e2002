/*
 * golden.h - small stores of each released format, kept for ever, and what must be read back from them
 *
 * Shape     tests/golden/NAME.tar.gz is a store as a release wrote it, without its lock files; NAME.list
 *           is the text golden_list() made of it then. golden_make.c makes both; tests/unit/test_golden.c
 *           unpacks a copy, lists it again, compares, checks it and works on it.
 * For ever  The list says what users see, never how it is stored, so that it stays equal over every lazy
 *           upgrade. A file here is never made again: a new format gets new files beside the old ones.
 */
#ifndef TESTS_GOLDEN_H
#define TESTS_GOLDEN_H

#include <mailshelf/mailshelf.h>

enum { GOLDEN_ACCOUNTS_MAX = 16, GOLDEN_IMPORTS = 3 };

/* The password of the accounts that have one. */
#define GOLDEN_PASSWORD "golden retriever"

/* Everything that can be read from the store, as lines of text; the first error ends it. */
SHELF_CHECK int golden_list(struct shelf_store *store, struct shelf_buf *out);
/* Marks of imports in an account: the id of item N, which has one when N < GOLDEN_IMPORTS. */
void golden_import_id(unsigned n, uint8_t id_out[16]);

#endif
