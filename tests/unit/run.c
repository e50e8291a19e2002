/*
 * run.c - runs the Check suites named in suites.def, each test in a process of its own
 *
 * usage: unit [-v] [-l] [-j JOBS] [NAME ...]    NAME: the suite of that name, else all whose name contains it
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support.h"

#define SUITE(name) Suite *suite_##name(void);
#include "suites.def"
#undef SUITE

static const struct row {
	const char *name;
	Suite *(*make)(void);
} rows[] = {
#define SUITE(name) {#name, suite_##name},
#include "suites.def"
#undef SUITE
};
enum { NROWS = sizeof rows / sizeof *rows, SUITE_TIMEOUT_S = 600 };

struct plan {
	const struct row *row[NROWS];
	size_t count;
	bool verbose;
};

static const char *
suite_name(void *arg, size_t i)
{
	return ((struct plan *)arg)->row[i]->name;
}

static struct support_count
run_suite(void *arg, size_t i)
{
	struct plan *plan = arg;
	SRunner *runner = srunner_create(plan->row[i]->make());
	struct support_count count;
	int run;

	srunner_set_fork_status(runner, CK_FORK);
	srunner_run_all(runner, plan->verbose ? CK_VERBOSE : CK_NORMAL);
	run = srunner_ntests_run(runner);
	count.failed = (unsigned)srunner_ntests_failed(runner);
	count.passed = (unsigned)run - count.failed;
	if (run == 0) {
		printf("%s: the suite has no test\n", plan->row[i]->name);
		count.failed = 1;
	}
	srunner_free(runner);
	return count;
}

static bool
is_suite(const char *name)
{
	for (size_t i = 0; i < NROWS; i++)
		if (strcmp(rows[i].name, name) == 0)
			return true;
	return false;
}

static void
choose(struct plan *plan, char **names, int n)
{
	for (size_t i = 0; i < NROWS; i++) {
		bool wanted = n == 0;

		for (int k = 0; k < n; k++)
			wanted = wanted || (is_suite(names[k]) ? strcmp(rows[i].name, names[k]) == 0
			                                       : strstr(rows[i].name, names[k]) != NULL);
		if (wanted)
			plan->row[plan->count++] = &rows[i];
	}
}

int
main(int argc, char **argv)
{
	struct plan plan = {.count = 0};
	struct support_jobs jobs = {.fn = run_suite, .name = suite_name, .arg = &plan};
	bool list = false;
	int c;

	while ((c = getopt(argc, argv, "vlj:")) != -1) {
		if (c == 'v')
			plan.verbose = true;
		else if (c == 'l')
			list = true;
		else if (c == 'j')
			jobs.at_once = (unsigned)strtoul(optarg, NULL, 10);
		else
			support_fatal("usage: unit [-v] [-l] [-j JOBS] [NAME ...]");
	}
	choose(&plan, argv + optind, argc - optind);
	for (size_t i = 0; list && i < plan.count; i++)
		puts(plan.row[i]->name);
	if (list)
		return 0;
	if (plan.count == 0)
		support_fatal("no suite of that name; -l lists them");
	/* Check kills a test after 4 s; sanitizers on a busy machine need more. */
	setenv("CK_DEFAULT_TIMEOUT", "60", 0);
	jobs.count = plan.count;
	jobs.timeout_s = SUITE_TIMEOUT_S;
	jobs.verbose = plan.verbose;
	return support_report("unit", support_jobs(&jobs));
}
