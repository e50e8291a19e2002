/*
 * bench_run.c - clocks, counters of the process, stores to measure on
 *
 * Bytes written are what the process handed to the kernel (wchar of /proc/self/io): the same on every file
 * system, also where the kernel writes a page once that was handed over twice.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

enum { FLUSH_MS = 1000 };

void
bench_must(int rc, const char *what)
{
	if (rc == 0)
		return;
	fprintf(stderr, "bench_engine: %s: %s\n", what, shelf_err_text(rc));
	exit(EX_SOFTWARE);
}

double
bench_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

double
bench_cpu_seconds(void)
{
	struct rusage r;

	getrusage(RUSAGE_SELF, &r);
	return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
	       (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

double
bench_written_bytes(void)
{
	unsigned long long n = 0;
	char line[128];
	FILE *f = fopen("/proc/self/io", "re");

	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "wchar: %llu", &n) == 1)
			break;
	if (f != NULL)
		fclose(f);
	return (double)n;
}

double
bench_heap_bytes(void)
{
	struct mallinfo2 m = mallinfo2();

	return (double)(m.uordblks + m.hblkhd);
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double
bench_median(double *v, unsigned n)
{
	qsort(v, n, sizeof(*v), compare);
	return v[n / 2];
}

double
bench_flushes(const struct bench *b)
{
	char path[4200], page[4096];
	double start = bench_seconds(), now = start;
	unsigned n = 0;
	int fd;

	snprintf(path, sizeof(path), "%s/flush", b->dir);
	fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0) {
		fprintf(stderr, "bench_engine: %s: %s\n", path, strerror(errno));
		exit(EX_CANTCREAT);
	}
	memset(page, 'x', sizeof(page));
	for (; now - start < FLUSH_MS / 1000.0; now = bench_seconds(), n++)
		if (write(fd, page, sizeof(page)) != (ssize_t)sizeof(page) || fdatasync(fd) != 0)
			exit(EX_IOERR);
	close(fd);
	unlink(path);
	return n / (now - start);
}

void
bench_store_open(struct bench *b, const char *name, const struct shelf_store_params *params)
{
	struct shelf_account_new req[BENCH_ACCOUNTS];
	char user[BENCH_ACCOUNTS][16], path[4200];

	snprintf(path, sizeof(path), "%s/%s", b->dir, name);
	bench_must(shelf_store_create(path, params), path);
	/* Nothing in the background: what is measured is what was asked for. */
	bench_must(shelf_store_open(path, 0, &b->store), path);
	for (int i = 0; i < BENCH_ACCOUNTS; i++) {
		snprintf(user[i], sizeof(user[i]), "user%d", i);
		req[i] = (struct shelf_account_new){.name = shelf_span_str(user[i])};
	}
	bench_must(shelf_account_add(b->store, req, BENCH_ACCOUNTS, NULL, b->account), "accounts");
}

void
bench_store_close(struct bench *b, const char *name)
{
	char command[4300];

	shelf_store_close(&b->store);
	snprintf(command, sizeof(command), "rm -rf -- '%s/%s'", b->dir, name);
	if (system(command) != 0)
		exit(EX_IOERR);
}

struct shelf_store_stats
bench_stats(struct bench *b)
{
	struct shelf_store_stats s;

	bench_must(shelf_store_stats(b->store, &s), "stats");
	return s;
}
