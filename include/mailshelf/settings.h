/*
 * settings.h - what can be set about a store while it is in use, and how full its disks are
 *
 * Shape     settings.def is the only list. They stand as text in STORE/mailshelf, which is replaced
 *           as a whole; a serving process sees a change within two seconds, this one at once.
 * Disks     Each partition has marks (settings.def): what is free of its disk, with the free pages of
 *           its own file, and what is free of its map, whichever is less by its own measure. A mark
 *           once reached is left when a tenth more is free, so that nothing flaps.
 * Threads   Any.
 */
#ifndef MAILSHELF_SETTINGS_H
#define MAILSHELF_SETTINGS_H

#include <mailshelf/store.h>

enum shelf_setting {
#define SHELF_SETTING(id, name, key, kind, std, lowest, highest, text) SHELF_SETTING_##id,
#include <mailshelf/settings.def>
#undef SHELF_SETTING
	SHELF_SETTINGS
};

enum shelf_setting_kind {
	SHELF_SETTING_TIME,    /* seconds; UINT32_MAX: none */
	SHELF_SETTING_PERCENT, /* 0..100 */
	SHELF_SETTING_SIZE,    /* bytes */
	SHELF_SETTING_COUNT,
};

struct shelf_setting_info {
	const char *name, *key, *text;
	enum shelf_setting_kind kind;
	uint64_t std, lowest, highest;
};

/* The row of ID. */
const struct shelf_setting_info *shelf_setting_info(enum shelf_setting id);
bool shelf_setting_find(struct shelf_span name, enum shelf_setting *id_out);
uint64_t shelf_setting_get(struct shelf_store *store, enum shelf_setting id);
/*
 * shelf_setting_set(store, id, value)
 *   returns  0 when it is on disk; SHELF_EINVALID not within lowest..highest; SHELF_EFULL; SHELF_EIO;
 *            SHELF_ECORRUPT the file has a line that cannot be read
 */
SHELF_CHECK int shelf_setting_set(struct shelf_store *store, enum shelf_setting id, uint64_t value);

/* ---- How full a partition is ------------------------------------------------------------------------------ */

enum shelf_disk_state {
	SHELF_DISK_OK,
	SHELF_DISK_WARN,     /* logged */
	SHELF_DISK_REFUSE,   /* no new mail: SHELF_EFULL */
	SHELF_DISK_READONLY, /* flags and mailboxes stay as they are too: SHELF_EREADONLY. Removing
	                      * goes on, setting \Deleted included */
};

struct shelf_disk {
	enum shelf_disk_state state;
	bool low; /* the mark for warning is reached, whatever the state: held mail goes before its date */
	uint64_t disk_bytes, disk_free_bytes; /* of the file system; free pages of the file are free */
	uint64_t map_bytes, map_free_bytes;   /* without what is reserved for removing */
	uint64_t early_messages, early_bytes; /* held mail that went before its date, ever */
};
/* Looks now. */
SHELF_CHECK int shelf_store_disk(struct shelf_store *store, uint32_t partition,
    struct shelf_disk *out);
/* "ok", "warn", "refuse", "read-only". */
const char *shelf_disk_state_text(enum shelf_disk_state state);

#endif
