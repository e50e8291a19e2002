/*
 * dialogue.c - the program that plays dialogue files, each in a process of its own
 *
 * usage: dialogue [-v] [-j JOBS] [--bytewise] FILE|DIRECTORY ...
 */
#include <errno.h>
#include <fts.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include <mailshelf/mem.h>

#include "dialogue.h"
#include "support.h"

enum { FILE_TIMEOUT_S = 120 };

struct list {
	char **file;
	size_t count;
	struct dialogue_options options;
};

static int
by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

/* Files are taken as they are, directories are searched for *.dlg. */
static void
collect(struct list *list, char **paths)
{
	FTS *fts = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
	FTSENT *e;
	size_t len;

	while (fts != NULL && (e = fts_read(fts)) != NULL) {
		if (e->fts_info == FTS_NS || e->fts_info == FTS_ERR || e->fts_info == FTS_DNR)
			support_fatal("%s: %s", e->fts_path, strerror(e->fts_errno));
		len = strlen(e->fts_name);
		if (e->fts_info != FTS_F)
			continue;
		if (e->fts_level > 0 && (len < 4 || strcmp(e->fts_name + len - 4, ".dlg") != 0))
			continue;
		list->file = shelf_realloc(list->file, (list->count + 1) * sizeof *list->file);
		list->file[list->count++] = shelf_strdup(e->fts_path);
	}
	if (fts == NULL || fts_close(fts) != 0)
		support_fatal("the files cannot be listed: %s", strerror(errno));
}

static const char *
file_name(void *arg, size_t i)
{
	return ((struct list *)arg)->file[i];
}

static struct support_count
play_file(void *arg, size_t i)
{
	struct list *list = arg;
	bool good = dialogue_run(list->file[i], &list->options);

	if (list->options.verbose)
		printf("%s: %s\n", list->file[i], good ? "ok" : "FAILED");
	return (struct support_count){good, !good};
}

int
main(int argc, char **argv)
{
	static const struct option longs[] = {{"bytewise", no_argument, NULL, 'b'},
	    {"verbose", no_argument, NULL, 'v'}, {"jobs", required_argument, NULL, 'j'}, {0}};
	struct list list = {0};
	struct support_jobs jobs = {.fn = play_file, .name = file_name, .arg = &list};
	struct support_count count;
	int c;

	while ((c = getopt_long(argc, argv, "vj:", longs, NULL)) != -1) {
		if (c == 'b')
			list.options.bytewise = true;
		else if (c == 'v')
			list.options.verbose = true;
		else if (c == 'j')
			jobs.at_once = (unsigned)strtoul(optarg, NULL, 10);
		else
			support_fatal("usage: dialogue [-v] [-j JOBS] [--bytewise] FILE|DIRECTORY ...");
	}
	if (optind == argc)
		support_fatal("which dialogues? tests/dialogue for all");
	collect(&list, argv + optind);
	jobs.count = list.count;
	jobs.timeout_s = FILE_TIMEOUT_S;
	jobs.verbose = list.options.verbose;
	count = support_jobs(&jobs);
	for (size_t i = 0; i < list.count; i++)
		free(list.file[i]);
	free(list.file);
	return support_report(list.options.bytewise ? "bytewise" : "dialogue", count);
}
