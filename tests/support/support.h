/*
 * support.h - what the test programs share: jobs in processes of their own, directories, certificates
 *
 * Errors    A test that cannot be set up is a failed test: these functions print why and exit(2).
 * Threads   support_jobs() forks, so it is called before any thread or store exists.
 */
#ifndef TESTS_SUPPORT_H
#define TESTS_SUPPORT_H

#include <mailshelf/buf.h>

struct support_count {
	unsigned passed, failed;
};
typedef struct support_count support_job_fn(void *arg, size_t i);
typedef const char *support_name_fn(void *arg, size_t i);

struct support_jobs {
	support_job_fn *fn;     /* runs in the child; what it prints comes out in one piece */
	support_name_fn *name;  /* for the line about a child that died */
	void *arg;
	size_t count;
	unsigned at_once;       /* 0: two per processor, many of them wait */
	unsigned timeout_s;     /* of each job: killed, one failure */
	bool verbose;           /* print the output of jobs that passed, too */
};
/* Runs fn(arg, 0) .. fn(arg, count - 1), each in a child process. A child that dies counts as one
 * failure. */
struct support_count support_jobs(const struct support_jobs *jobs);

/* "NAME: P passed, F failed", the line tests/support/check.sh adds up; the exit status. */
int support_report(const char *name, struct support_count count);

/* A new directory under $TMPDIR or /tmp, into PATH. */
void support_tmpdir(char *path, size_t len);
/* Removes a directory and all in it. */
void support_rmtree(const char *path);
/* The whole file, or exit(2). */
void support_read_file(const char *path, struct shelf_buf *out);

/* Writes DIR/cert.pem and DIR/key.pem: self-signed, for "localhost" and 127.0.0.1. */
void support_certificate(const char *dir);

void support_fatal(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));

#endif
