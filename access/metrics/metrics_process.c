/* metrics_process.c - what the process takes of the machine, under the names that every exporter uses */
#include "metrics.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* 0 when /proc does not tell. */
static uint64_t
resident_bytes(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	unsigned long long total, resident = 0;

	if (f != NULL && fscanf(f, "%llu %llu", &total, &resident) != 2)
		resident = 0;
	if (f != NULL)
		fclose(f);
	return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t
open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	uint64_t n = 0;

	if (dir == NULL)
		return 0;
	for (struct dirent *e; (e = readdir(dir)) != NULL;)
		n += e->d_name[0] != '.';
	closedir(dir);
	return n - 1; /* the one that reads this directory */
}

void
metrics_process(struct metrics_text *t)
{
	struct timespec cpu = {0};
	struct rlimit files = {0};

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
	getrlimit(RLIMIT_NOFILE, &files);
	metrics_family(t, METRICS_COUNTER, "process_cpu_seconds", "seconds", "CPU time of the process");
	metrics_value_us(t, (uint64_t)cpu.tv_sec * 1000000 + (uint64_t)cpu.tv_nsec / 1000);
	metrics_family(t, METRICS_GAUGE, "process_resident_memory_bytes", "bytes",
	    "Memory in use, pages of the store's files that are mapped included");
	metrics_value(t, resident_bytes());
	metrics_family(t, METRICS_GAUGE, "process_open_fds", NULL, "Open descriptors");
	metrics_value(t, open_descriptors());
	metrics_family(t, METRICS_GAUGE, "process_max_fds", NULL, "Most descriptors that may be open");
	metrics_value(t, files.rlim_cur);
}
