/*
 * session_rig.h - whole sessions for the fuzz targets: bytes into a door of a real server, and what it says
 *
 * Shape     One server and one store for the process. Of every input the first byte says how the conversation begins,
 *           the second how the rest is cut into packets (0: not at all). What an input changed is put back behind it.
 * Threads   The server has its own; the target's is the client.
 */
#ifndef TESTS_FUZZ_SESSION_RIG_H
#define TESTS_FUZZ_SESSION_RIG_H

#include <mailshelf/buf.h>

/*
 * session_play(door, before, input, cuts, said)
 *   BEFORE (text that is sent first) and INPUT go through DOOR ("imap", "pop3", "lmtp"), then the client has no more
 *   to say and reads to the end. SAID: all that the server said. A server that says nothing for a minute and does
 *   not end, or a store that the check finds damaged, ends the process.
 */
void session_play(const char *door, const char *before, struct shelf_span input, unsigned cuts, struct shelf_buf *said);

/* How many lines there are in what a client sent; no server answers more commands. */
size_t session_lines(const char *before, struct shelf_span input);

/* The next line of TEXT from *AT on, without its CRLF. False at the end; a line without an end ends the process unless
 * it is the last and TORN_END. */
bool session_line(struct shelf_span text, size_t *at, bool torn_end, struct shelf_span *line);

void session_must(bool holds, const char *what, struct shelf_span where);

#endif
