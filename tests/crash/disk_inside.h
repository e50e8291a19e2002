/* disk_inside.h - what the files of disk.h know of each other */
#ifndef TESTS_DISK_INSIDE_H
#define TESTS_DISK_INSIDE_H

#include "disk.h"

/* Counts a call of KIND when that kind is armed; true when it is one that fails. */
bool disk_fails(enum disk_kind kind);

/* The path of FD below the root, when a record is under way and the file is one of those recorded: then the record
 * is locked until disk_record_end. */
bool disk_record_begin(int fd, char path[DISK_PATH_MAX]);
/* The same of a name; DIR as of openat. */
bool disk_record_begin_at(int dir, const char *name, char path[DISK_PATH_MAX]);
void disk_record_end(void);
void disk_record_event(enum disk_event_kind kind, const char *path, uint64_t offset, const void *data, size_t len);
/* NAME as it would be recorded; false: it is not below the root. */
bool disk_record_path(int dir, const char *name, char path[DISK_PATH_MAX]);
bool disk_is_record(int fd);

#endif
