/*
 * bench_engine.c - measures the promises of the engine and says which are kept
 *
 * usage: bench_engine [--json] [--only SUBJECT] [--corpus DIR] DIR [MESSAGES]
 *
 * DIR is made and removed. MESSAGES is the size of the largest mailbox (10,000 .. 10,000,000). Every change
 * measured is durable, the engine has no other mode. The exit status is 1 when a promise was missed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "bench.h"

static const struct {
	const char *name;
	void (*run)(struct bench *b);
} subjects[] = {
    {"deliver", bench_deliver},
    {"mailbox", bench_mailbox},
    {"sort", bench_sort},
    {"bulk", bench_bulk},
    {"space", bench_space},
    {"churn", bench_churn},
};
enum { SUBJECTS = sizeof(subjects) / sizeof(*subjects) };

static int
usage(void)
{
	fputs("usage: bench_engine [--json] [--only SUBJECT] [--corpus DIR] DIR [MESSAGES]\n"
	      "  10000 <= MESSAGES <= 10000000, default 100000; subjects:", stderr);
	for (int i = 0; i < SUBJECTS; i++)
		fprintf(stderr, " %s", subjects[i].name);
	fputc('\n', stderr);
	return EX_USAGE;
}

static bool
is_subject(const char *name)
{
	for (int i = 0; i < SUBJECTS; i++)
		if (strcmp(subjects[i].name, name) == 0)
			return true;
	return false;
}

int
main(int argc, char **argv)
{
	struct bench b = {.corpus = getenv("MAILSHELF_CORPUS"), .largest = 100000};
	const char *only = NULL;
	int i = 1;

	for (; i < argc && argv[i][0] == '-'; i++) {
		if (strcmp(argv[i], "--json") == 0)
			b.json = true;
		else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc)
			only = argv[++i];
		else if (strcmp(argv[i], "--corpus") == 0 && i + 1 < argc)
			b.corpus = argv[++i];
		else
			return usage();
	}
	if (b.corpus == NULL)
		b.corpus = "../shared/corpus";
	if (argc - i == 2)
		b.largest = (unsigned)strtoul(argv[i + 1], NULL, 10);
	if (argc - i < 1 || argc - i > 2 || b.largest < 10000 || b.largest > 10000000 ||
	    (only != NULL && !is_subject(only)))
		return usage();
	b.dir = argv[i];
	if (mkdir(b.dir, 0700) != 0) {
		fprintf(stderr, "bench_engine: %s: %s\n", b.dir, strerror(errno));
		return EX_CANTCREAT;
	}
	shelf_log_level(SHELF_LOG_ERROR); /* removing half of an account is news elsewhere */
	b.flushes_s = bench_flushes(&b);
	bench_report_begin(&b);
	for (int k = 0; k < SUBJECTS; k++)
		if (only == NULL || strcmp(only, subjects[k].name) == 0)
			subjects[k].run(&b);
	bench_report_end(&b);
	if (rmdir(b.dir) != 0)
		return EX_IOERR;
	return b.missed > 0;
}
