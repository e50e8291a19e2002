/*
 * tool_rig.h - for the tests of the readers of foreign mail: files, trees, and a sink that keeps all
 *
 * Every test runs in a process of its own, so one rig, static, is enough.
 */
#ifndef TESTS_UNIT_TOOL_RIG_H
#define TESTS_UNIT_TOOL_RIG_H

#include "source.h"

enum { TOOL_RIG_MESSAGES = 4096 };

struct tool_rig_message {
	char *bytes;
	size_t len;
	int64_t date_s;
	int zone_min;
	uint32_t flags;
	char keywords[256]; /* "a b" */
	char folder[256];
};

struct tool_rig {
	char dir[64];     /* a directory of its own */
	struct source_sink sink;
	struct tool_rig_message messages[TOOL_RIG_MESSAGES];
	size_t n, problems, dropped;
	char last_problem[512]; /* "FILE@OFFSET: TEXT", the file without its directory */
	char folders[4096];     /* "kind:name " each */
	uint64_t advanced;
	size_t stop_after; /* messages, then end() returns 77; 0: never */
	struct shelf_buf open;
	bool is_open;
};

/* The rig, with an empty directory. */
struct tool_rig *tool_rig(void);
/* Removes the directory and forgets everything. */
void tool_rig_end(struct tool_rig *r);
/* Forgets messages, problems and folders. */
void tool_rig_clear(struct tool_rig *r);
/* Makes DIR/NAME (and the directories above it) with these bytes; returns its path, static. */
const char *tool_rig_file(struct tool_rig *r, const char *name, const void *data, size_t len);
/* Reads DIR/NAME as an mbox. Returns what source_mbox does. */
int tool_rig_mbox(struct tool_rig *r, const char *name, enum source_format format);
/* Plans and runs DIR/NAME ("" for the directory). */
int tool_rig_run(struct tool_rig *r, const char *name, enum source_format format);
bool tool_rig_is(const struct tool_rig *r, size_t i, const void *data, size_t len);

#endif
