/* verb_rig.c - verbs in tests: the store is closed meanwhile, as a process opens it once */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "verb_rig.h"

enum { WORDS_MAX = 24 };

char verb_out[64 * 1024];

int
verb_run(struct rig *r, tool_run_fn *run, bool json, const char *words)
{
	return verb_run_on(r, r->path, run, json, words);
}

int
verb_run_on(struct rig *r, const char *store, tool_run_fn *run, bool json, const char *words)
{
	static const struct tool_verb verb = {"verb", NULL, "", "", ""};
	char buf[5000], path[4300], *argv[WORDS_MAX], *save = NULL;
	struct tool t = {.verb = &verb, .store_dir = store, .json = json, .argv = argv};
	FILE *f;
	int rc;

	snprintf(buf, sizeof buf, "%s", words);
	for (char *p = strtok_r(buf, "|", &save); p != NULL; p = strtok_r(NULL, "|", &save)) {
		ck_assert_int_lt(t.argc, WORDS_MAX);
		argv[t.argc++] = p;
	}
	snprintf(path, sizeof path, "%s/out", r->dir);
	ck_assert_ptr_nonnull(freopen("/dev/null", "w", stderr));
	ck_assert_ptr_nonnull(freopen(path, "w", stdout));
	shelf_store_close(&r->store);
	rc = run(&t);
	shelf_store_close(&t.store);
	ck_assert_int_eq(shelf_store_open(r->path, 0, &r->store), 0);
	fflush(stdout);
	ck_assert_ptr_nonnull(f = fopen(path, "r"));
	verb_out[fread(verb_out, 1, sizeof verb_out - 1, f)] = '\0';
	fclose(f);
	return rc;
}
