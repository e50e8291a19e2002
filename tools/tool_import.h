/* tool_import.h - what `import` needs to know of another server */
#ifndef TOOLS_TOOL_IMPORT_H
#define TOOLS_TOOL_IMPORT_H

#include "source_remote.h"
#include "tools.h"

struct import_remote {
	/* Options. */
	bool password_stdin, any_certificate, cleartext;
	const char *password_file, *token_file, *ca_file, *as;
	struct tool_texts folders, exclude;
	struct tool_number throttle;
	/* Made of them. */
	struct shelf_arena arena;
	struct shelf_buf secret;
	struct remote_params params;
	struct source_remote source;
};
bool import_is_remote(const char *path);
/* 0, or an exit status after having said why not. */
SHELF_CHECK int import_remote_options(struct tool *t, struct import_remote *r, const char *url);
void import_remote_free(struct import_remote *r);

#endif
