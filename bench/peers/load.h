/*
 * load.h (private) - what the parts of the load generator share: mail in memory, connections, the answer in JSON
 *
 * Shape     One program, one part for each subcommand. Every part prints JSON lines with times, bytes and the CPU time
 *           that the client itself took, so that who reads them can tell whether the client was the limit.
 * Errors    A server that says no or hangs is a result: {"ok":false,"text":...}, not the end of the program.
 * Threads   A connection belongs to one thread.
 */
#ifndef LOAD_H
#define LOAD_H

#include <stdio.h>
#include <mailshelf/mailshelf.h>

/* ---- Mail (load_mail.c) ------------------------------------------------------------------------------------- */

/* A file of messages: for each its length (4 bytes, little-endian), then its bytes with CRLF lines. */
struct load_mail {
	const uint8_t *map;
	size_t map_len;
	struct shelf_span *message;
	unsigned count;
};

bool load_mail_open(struct load_mail *m, const char *path);
void load_mail_close(struct load_mail *m);
/* As LMTP and POP3 send it: lines that begin with a dot have one more, then the dot that ends it. */
void load_stuffed(struct shelf_span text, struct shelf_buf *out);
/* One more message for a recipient who may refuse repeats: the Message-ID of TEXT gets SERIAL in front. */
void load_renamed(struct shelf_span text, uint64_t serial, struct shelf_buf *out);
int load_corpus(int argc, char **argv);

/* ---- Connections (load_conn.c) ------------------------------------------------------------------------------ */

struct load_conn {
	int fd;
	void *ssl;
	uint8_t *buf;
	size_t len;       /* bytes in BUF that nobody took */
	unsigned tag;     /* of the last IMAP command */
	char error[128];  /* why the last call said false */
};

enum load_end { LOAD_TAGGED, LOAD_LINE, LOAD_DOT, LOAD_PLUS };

/* What an answer was. */
struct load_answer {
	bool good;           /* OK, +OK */
	uint64_t bytes;
	uint64_t untagged;   /* lines that begin with "* " */
	uint64_t blanks;     /* so many numbers has the answer of a SEARCH; of short answers and lists only */
	char text[256];      /* the line that ended it, or its first (POP3) */
	struct shelf_buf head; /* how it began */
};

/* TIMEOUT_S: for each read. */
bool load_connect(struct load_conn *c, unsigned port, bool tls, unsigned timeout_s);
void load_disconnect(struct load_conn *c);
void load_timeout(struct load_conn *c, unsigned timeout_s);
bool load_send(struct load_conn *c, const void *data, size_t len);
/* Reads until the end; COUNT: count lines and blanks, too. */
bool load_read(struct load_conn *c, enum load_end end, bool count, struct load_answer *a);
/* One line without its CRLF; borrowed until the next call. */
bool load_line(struct load_conn *c, struct shelf_span *out);
/* Sends an IMAP command and reads its answer. */
bool load_imap(struct load_conn *c, const char *command, bool count, struct load_answer *a);
/* Bytes that OpenSSL has and poll does not see. */
bool load_pending(const struct load_conn *c);
void load_answer_free(struct load_answer *a);

/* ---- Times and JSON (load.c) -------------------------------------------------------------------------------- */

double load_ms(void);
double load_cpu_ms(void);
/* {"n":..,"p50":..,"p99":..,"max":..,"mean":..}; sorts V. */
void load_times_json(FILE *out, double *v, unsigned n);
void load_fail(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));

int load_lmtp(int argc, char **argv);
int load_session(int argc, char **argv);
int load_idle(int argc, char **argv);
int load_mixed(int argc, char **argv);

#endif
