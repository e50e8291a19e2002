/*
 * load.c - bench_load: what makes the load of the comparison with other servers, and measures it
 *
 *     bench_load corpus FILE COUNT SEED KIND       KIND: mail, tiny, or a directory of real mail
 *     bench_load lmtp PORT FILE FIRST COUNT CONNECTIONS SERIAL USER...
 *     bench_load session                           commands on stdin: load_session.c
 *     bench_load idle PORT TLS CONNECTIONS THREADS LMTP-PORT PASSWORD USER...
 *     bench_load mixed PORT LMTP-PORT FILE SECONDS IMAP-CONNECTIONS OPERATIONS/S DELIVERIES/S SERIAL PASSWORD USER...
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <time.h>

#include "load.h"

double
load_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

double
load_cpu_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

void
load_times_json(FILE *out, double *v, unsigned n)
{
	double sum = 0;

	qsort(v, n, sizeof(*v), compare);
	for (unsigned i = 0; i < n; i++)
		sum += v[i];
	fprintf(out, "{\"n\":%u", n);
	if (n > 0)
		fprintf(out, ",\"p50\":%.4f,\"p99\":%.4f,\"max\":%.4f,\"mean\":%.4f", v[n / 2],
		    v[(unsigned)((double)(n - 1) * 0.99)], v[n - 1], sum / n);
	fputc('}', out);
}

void
load_fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("bench_load: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(EX_SOFTWARE);
}

int
main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(int argc, char **argv);
		int arguments;
	} parts[] = {{"corpus", load_corpus, 4}, {"lmtp", load_lmtp, 7}, {"session", load_session, 0},
	    {"idle", load_idle, 7}, {"mixed", load_mixed, 10}};
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; argc > 1 && i < sizeof(parts) / sizeof(*parts); i++)
		if (strcmp(argv[1], parts[i].name) == 0 && argc - 2 >= parts[i].arguments)
			return parts[i].run(argc - 2, argv + 2);
	fprintf(stderr, "usage: bench_load corpus|lmtp|session|idle|mixed ..., see bench/peers/load.c\n");
	return EX_USAGE;
}
