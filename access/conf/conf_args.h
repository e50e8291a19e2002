/*
 * conf_args.h - the command line of mailshelfd, as settings on top of the file's
 *
 * Shape     The arguments are kept, so that a reload reads the file again and puts the same ones on top.
 * Lifetime  Names and values point into argv; conf_args_free frees the list.
 */
#ifndef ACCESS_CONF_ARGS_H
#define ACCESS_CONF_ARGS_H

#include <stdio.h>

#include "conf.h"

struct conf_arg {
	const char *name, *value;
};

struct conf_args {
	const char *file; /* -c; NULL: none */
	bool help, man, version;
	struct conf_arg *list;
	size_t count;
};

/* False and a text in ERROR for anything that is not an option with a good value. */
bool conf_args_parse(struct conf_args *args, int argc, char **argv, char *error, size_t error_len);
/* The file, then the arguments, finished (conf_finish); NULL and a text in ERROR. */
struct conf *conf_args_load(const struct conf_args *args, char *error, size_t error_len);
/* What --help prints: every row of conf.def. */
void conf_args_help(FILE *out);
/* What --man prints: the same as a manual page (conf_man.c). */
void conf_args_man(FILE *out);
void conf_args_free(struct conf_args *args);

#endif
