/*
 * err.h - the engine's errors
 *
 * Shape     Functions return 0 for success, a negative enum shelf_err for failure, and a positive
 *           number only where their comment says so.
 * Source    err.def is the only list. LMDB, errno, OpenSSL and zstd codes never leave the file that
 *           called the library.
 */
#ifndef MAILSHELF_ERR_H
#define MAILSHELF_ERR_H

#define SHELF_CHECK __attribute__((warn_unused_result))

enum shelf_err {
	SHELF_OK = 0,
#define SHELF_ERROR(name, number, class, text) SHELF_E##name = (number),
#include <mailshelf/err.def>
#undef SHELF_ERROR
};

/* What a door does with an error it has no special answer for. */
enum shelf_err_class {
	SHELF_CLASS_OK,
	SHELF_CLASS_CALLER,  /* the request makes no sense: 5xx, BAD */
	SHELF_CLASS_MISSING, /* what was named is not there */
	SHELF_CLASS_REFUSED, /* a rule forbids it: 5xx, NO */
	SHELF_CLASS_BUSY,    /* try again: 4xx */
	SHELF_CLASS_FULL,    /* disk or map full: 452 4.3.1 */
	SHELF_CLASS_SYSTEM,  /* the machine failed: 451 */
	SHELF_CLASS_CORRUPT, /* stored data failed a check: 451, NO [SERVERBUG] */
};

/* shelf_err_text(err): a static English text, never NULL, for any int. */
const char *shelf_err_text(int err);
/* shelf_err_name(err): the row's name ("QUOTA"), for logs and --json; "UNKNOWN_ERROR" for others. */
const char *shelf_err_name(int err);
/* shelf_err_class_of(err): the row's class; SYSTEM for numbers that are in no row. */
enum shelf_err_class shelf_err_class_of(int err);

#endif
