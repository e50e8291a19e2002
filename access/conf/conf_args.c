/*
 * conf_args.c - the command line of mailshelfd
 *
 * Every row of conf.def is an option `--name VALUE` or `--name=VALUE`, so the parser needs no list of
 * its own. Values are tried on a scratch struct conf while parsing: a typing error is found before
 * the file is read.
 */
#include <stdlib.h>
#include <string.h>

#include <mailshelf/mem.h>

#include "conf_args.h"

void
conf_args_free(struct conf_args *args)
{
	free(args->list);
	*args = (struct conf_args){0};
}

static void
keep(struct conf_args *args, const char *name, const char *value)
{
	args->list = shelf_realloc(args->list, (args->count + 1) * sizeof(args->list[0]));
	args->list[args->count++] = (struct conf_arg){name, value};
}

/* "--name=value" is cut into two in place. */
static const char *
split_option(char *arg)
{
	char *equals = strchr(arg, '=');

	if (equals == NULL)
		return NULL;
	*equals = '\0';
	return equals + 1;
}

bool
conf_args_parse(struct conf_args *args, int argc, char **argv, char *error, size_t error_len)
{
	struct conf *scratch = conf_new();
	bool ok = false;

	*args = (struct conf_args){0};
	for (int i = 1; i < argc; i++) {
		const char *value = strncmp(argv[i], "--", 2) == 0 ? split_option(argv[i]) : NULL;
		const char *name = argv[i];

		if (value == NULL && (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)) {
			args->help = true;
			continue;
		}
		if (value == NULL && strcmp(name, "--man") == 0) {
			args->man = true;
			continue;
		}
		if (value == NULL && (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0)) {
			args->version = true;
			continue;
		}
		if (name[0] != '-' || name[1] == '\0') {
			snprintf(error, error_len, "%.100s: not an option", name);
			goto out;
		}
		if (strcmp(name, "-s") == 0)
			name = "--store";
		if (strcmp(name, "-c") != 0 && (strncmp(name, "--", 2) != 0 || conf_find(name + 2) == NULL)) {
			snprintf(error, error_len, "%.100s: unknown option", name);
			goto out;
		}
		if (value == NULL && i + 1 < argc)
			value = argv[++i];
		if (value == NULL) {
			snprintf(error, error_len, "%s: a value is missing", name);
			goto out;
		}
		if (strcmp(name, "-c") == 0) {
			args->file = value;
			continue;
		}
		if (!conf_set(scratch, name + 2, value, error, error_len))
			goto out;
		keep(args, name + 2, value);
	}
	ok = true;
out:
	conf_free(&scratch);
	if (!ok)
		conf_args_free(args);
	return ok;
}

struct conf *
conf_args_load(const struct conf_args *args, char *error, size_t error_len)
{
	struct conf *conf = conf_new();

	if (args->file != NULL && !conf_read(conf, args->file, error, error_len))
		goto fail;
	for (size_t i = 0; i < args->count; i++) {
		if (!conf_set(conf, args->list[i].name, args->list[i].value, error, error_len))
			goto fail;
	}
	conf_finish(conf);
	return conf;
fail:
	conf_free(&conf);
	return NULL;
}
