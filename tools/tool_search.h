/* tool_search.h - options that choose messages */
#ifndef TOOLS_TOOL_SEARCH_H
#define TOOLS_TOOL_SEARCH_H

#include <mailshelf/query.h>

#include "tools.h"

enum { TOOL_SEARCH_KEYS = 12 };

struct tool_search {
	/* As given: */
	const char *since, *before, *from, *to, *subject, *text;
	bool seen, unseen, flagged;
	/* Made of it: */
	struct shelf_key all, key[TOOL_SEARCH_KEYS];
	size_t nkeys;
};
#define TOOL_SEARCH_OPTIONS(s) \
	{"since", TOOL_TEXT, &(s).since}, {"before", TOOL_TEXT, &(s).before}, {"from", TOOL_TEXT, &(s).from}, \
	{"to", TOOL_TEXT, &(s).to}, {"subject", TOOL_TEXT, &(s).subject}, {"text", TOOL_TEXT, &(s).text}, \
	{"seen", TOOL_FLAG, &(s).seen}, {"unseen", TOOL_FLAG, &(s).unseen}, {"flagged", TOOL_FLAG, &(s).flagged}

/* Behind tool_args(). 0, or EX_USAGE after having said why. S stays where it is from then on. */
SHELF_CHECK int tool_search_ready(struct tool *t, struct tool_search *s);
bool tool_search_asks(const struct tool_search *s); /* or is it all of them? */
/* Their uids, to be freed. SHELF_ECORRUPT: and some that are damaged could not be asked. */
SHELF_CHECK int tool_search_find(struct tool *t, const struct tool_search *s, uint32_t account, uint32_t mailbox,
    struct shelf_uidset **out);

#endif
