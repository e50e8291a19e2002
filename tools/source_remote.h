/*
 * source_remote.h - mail of another server's account as a source
 *
 * As source.h, over IMAP (remote.h). A message is raw: line ends stay as the server gives them.
 */
#ifndef TOOLS_SOURCE_REMOTE_H
#define TOOLS_SOURCE_REMOTE_H

#include "remote.h"
#include "source.h"

struct source_remote {
	const struct remote_params *params;
	const char *const *folders; /* patterns; none: all */
	size_t nfolders;
	const char *const *exclude;
	size_t nexclude;
	bool (*matches)(const char *pattern, struct shelf_span name);
};
/*
 * source_remote_run(from, sink)
 *   Uses the sink's missing() and use(). Folders come in the order of their names, "/" between levels.
 *   returns  0; what a function of the sink returned; or as remote_open(), a text has gone to sink->problem then
 */
SHELF_CHECK int source_remote_run(const struct source_remote *from, const struct source_sink *sink);

/*
 * source_remote_url(url, params, arena)
 *   "imaps://USER@HOST[:PORT]", "imap://..." (STARTTLS); USER may have %XX. False: it is none.
 *   A password in it is refused: others can see it.
 */
bool source_remote_url(const char *url, struct remote_params *params, struct shelf_arena *arena);

#endif
