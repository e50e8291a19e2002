/*
 * imap_cold.h - is what sessions read in memory, or does it come from the disk?
 *
 * Threads   Any; it is one answer for the process, whose sessions share what is cached.
 */
#ifndef ACCESS_IMAP_COLD_H
#define ACCESS_IMAP_COLD_H

#include <stdbool.h>

/* Around a piece of reading, on one thread: if it had to wait for the disk, the store is cold for a while. */
long imap_cold_begin(void);
void imap_cold_end(long begun);
/* Is it? Then who reads much sends it to a worker. */
bool imap_cold(void);

#endif
