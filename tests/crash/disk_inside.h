/* disk_inside.h - what disk.c and disk_memory.c know of each other */
#ifndef TESTS_DISK_INSIDE_H
#define TESTS_DISK_INSIDE_H

#include "disk.h"

/* Counts a call of KIND when that kind is armed; true when it is one that fails. */
bool disk_fails(enum disk_kind kind);

#endif
