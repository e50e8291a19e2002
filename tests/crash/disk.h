/*
 * disk.h - what stands between the program and its disk, and between it and its memory
 *
 * Shape     The program defines pwrite, writev, write, fdatasync, fsync, ftruncate, fallocate, open, mkdir,
 *           rename and unlink itself, so that every call of the engine and of LMDB comes here; malloc,
 *           calloc and realloc of the engine, of LMDB and of zstd come here by the linker's --wrap. All is
 *           passed on to the kernel, until a fault is armed or a record is begun.
 * Faults    The calls of one kind are counted; from the n-th on, some fail.
 * Records   Every write, sync and change of a directory, in the order in which they happened, and notes of
 *           the program between them: enough to make what a disk may hold after a power cut.
 * Threads   Any. Calls made while the caller's thread is paused are neither counted nor made to fail.
 */
#ifndef TESTS_DISK_H
#define TESTS_DISK_H

#include <mailshelf/buf.h>

enum disk_kind {
	DISK_NONE,
	DISK_WRITE_EIO,   /* a write answers EIO and has written nothing */
	DISK_WRITE_SHORT, /* a write does half of its work and says so; the next one answers ENOSPC */
	DISK_WRITE_EINTR, /* a signal came first: nobody may notice */
	DISK_FULL,        /* writes and allocations answer ENOSPC, some dozen of them */
	DISK_META_EIO,    /* the write that makes a commit count answers EIO, and so does its undoing */
	DISK_SYNC_EIO,    /* a sync answers EIO */
	DISK_MEMORY,      /* an allocation answers NULL */
	DISK_KINDS
};

const char *disk_kind_name(enum disk_kind kind);
/* The AT-th call of that kind from now on fails, counted from 1. */
void disk_arm(enum disk_kind kind, uint64_t at);
/* The same, and the TIMES - 1 calls behind it. */
void disk_arm_times(enum disk_kind kind, uint64_t at, uint64_t times);
bool disk_faulted(void); /* one has come */
bool disk_over(void); /* and no other one is to come */
/* Calls of this thread are the test's own, until resumed. */
void disk_pause(void);
void disk_resume(void);

/* ---- Records ------------------------------------------------------------------------------------ */

enum { DISK_PATH_MAX = 64 };

enum disk_event_kind {
	DISK_EVENT_WRITE,
	DISK_EVENT_WRITE_SYNC, /* through a descriptor opened with O_DSYNC: on the disk when it returns */
	DISK_EVENT_TRUNCATE,   /* offset: the new size */
	DISK_EVENT_SYNC,       /* of a file or a directory */
	DISK_EVENT_CREATE,     /* an empty file */
	DISK_EVENT_MKDIR,
	DISK_EVENT_RENAME,     /* data: the new path */
	DISK_EVENT_UNLINK,     /* a file or an empty directory */
	DISK_EVENT_NOTE,       /* data: the program's own */
};
struct disk_event {
	enum disk_event_kind kind;
	char path[DISK_PATH_MAX]; /* below the root of the record; "": the root itself */
	uint64_t offset;
	struct shelf_span data; /* points into the record */
};
/* Events of files and directories below ROOT, but for lock.mdb and what has no name, go into a new file
 * at PATH; in this process alone. */
void disk_record(const char *path, const char *root);
void disk_note(const void *data, size_t len);
/* Walks RECORD from *POS on; false at its end. */
bool disk_event_next(struct shelf_span record, size_t *pos, struct disk_event *out);

#endif
