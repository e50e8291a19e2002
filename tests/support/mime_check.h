/*
 * mime_check.h - what must be true of every part tree, whatever the message was
 *
 * Shared by unit and fuzz tests. Each function returns NULL, or an English text of what is wrong.
 */
#ifndef TESTS_MIME_CHECK_H
#define TESTS_MIME_CHECK_H

#include <mailshelf/mime.h>

/* Parts are disjoint slices in order, inside their parents; lines are the LFs of the body. */
const char *mime_check_tree(const struct mime_part *root, struct shelf_span message);
/* decode(encode(ROOT)) encodes to the same bytes. */
const char *mime_check_record(const struct mime_part *root);
/* Scanning MESSAGE in pieces of CUT bytes gives the record that ROOT gives. */
const char *mime_check_cut(const struct mime_part *root, struct shelf_span message, size_t cut);
/* A record with a head in front, where it needs no scan, is that of a scan. */
const char *mime_check_headed(const struct mime_part *root, struct shelf_span message);

#endif
