/*
 * volume.h - a file system as a disk may hold it after its power was cut
 *
 * Shape     A volume follows the events of a record (disk.h). Of each file it knows what a sync, or a write
 *           through O_DSYNC, has put on the disk, and the writes since; of each directory the entries that a
 *           sync of the directory has put there, and the changes since.
 * Cut       The disk may have done any of what was not synced: nothing, all, the first or the last ones,
 *           some; of a write some blocks of a page or of a sector. A file is as long as its writes or as
 *           what was meant to be written, whether that is there or not. A rename happens as one. Nothing is
 *           assumed of an order between a file and its directory, or between two files.
 */
#ifndef TESTS_VOLUME_H
#define TESTS_VOLUME_H

#include "disk.h"
#include "model.h"

struct volume;

struct volume *volume_new(void); /* an empty root */
void volume_free(struct volume **volume);
/* All that lies in the directory DIR is on the disk. */
void volume_load(struct volume *v, const char *dir);
void volume_apply(struct volume *v, const struct disk_event *event);

enum volume_treatment { VOLUME_NOTHING, VOLUME_ALL, VOLUME_PAGES, VOLUME_SECTORS, VOLUME_FIRST, VOLUME_LAST,
	VOLUME_TREATMENTS };
/* The power is cut while UNDER_WAY is: what is left, into the new directory DIR. V is of no use behind it. */
void volume_cut(struct volume *v, const struct disk_event *under_way, enum volume_treatment how,
    struct model *dice, const char *dir);

#endif
