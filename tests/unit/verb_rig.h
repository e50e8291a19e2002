/* verb_rig.h - runs a verb of the tool on a rig's store, as main would, and keeps what it printed */
#ifndef TESTS_VERB_RIG_H
#define TESTS_VERB_RIG_H

#include "store_rig.h"
#include "tools.h"

extern char verb_out[64 * 1024];

/* WORDS: the arguments, separated by "|". The verb opens the store by itself; stdout and stderr of the test
 * are taken. Returns the exit status. */
int verb_run(struct rig *r, tool_run_fn *run, bool json, const char *words);
/* The same on another store, or none (NULL). */
int verb_run_on(struct rig *r, const char *store, tool_run_fn *run, bool json, const char *words);

#endif
