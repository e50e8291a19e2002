/*
 * jobs.c - tests in child processes, several at once
 *
 * A child writes its output into a memory file and its count into a pipe. What must stay true: a child
 * that dies, for whatever reason, is a failure and its output is shown.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mailshelf/mem.h>

#include "support.h"

struct job {
	pid_t pid; /* 0: the slot is free */
	size_t index;
	int output, count;
	int64_t end_ms;
	bool late;
};

static void
job_start(const struct support_jobs *jobs, struct job *job, size_t index)
{
	struct support_count count;
	int pipefd[2];

	job->index = index;
	job->late = false;
	job->end_ms = shelf_mono_ms() + 1000 * (int64_t)jobs->timeout_s;
	job->output = memfd_create("output", MFD_CLOEXEC);
	if (job->output < 0 || pipe(pipefd) != 0)
		support_fatal("no file for the output of a job: %s", strerror(errno));
	fflush(NULL);
	job->pid = fork();
	if (job->pid < 0)
		support_fatal("fork: %s", strerror(errno));
	if (job->pid == 0) {
		setpgid(0, 0);
		dup2(job->output, STDOUT_FILENO);
		dup2(job->output, STDERR_FILENO);
		close(pipefd[0]);
		count = jobs->fn(jobs->arg, index);
		fflush(NULL);
		if (write(pipefd[1], &count, sizeof count) != (ssize_t)sizeof count)
			_exit(2);
		/* exit, not _exit: the leak checker runs at exit and its verdict is the status. */
		exit(0);
	}
	close(pipefd[1]);
	job->count = pipefd[0];
}

static void
show(int fd)
{
	char piece[65536];
	ssize_t n;

	lseek(fd, 0, SEEK_SET);
	while ((n = read(fd, piece, sizeof piece)) > 0)
		fwrite(piece, 1, (size_t)n, stdout);
	fflush(stdout);
}

static void
job_end(const struct support_jobs *jobs, struct job *job, int status, struct support_count *total)
{
	struct support_count count = {0, 0};
	bool whole = read(job->count, &count, sizeof count) == (ssize_t)sizeof count;
	bool died = !whole || status != 0;

	if (died)
		count.failed++;
	if (jobs->verbose || count.failed > 0)
		show(job->output);
	if (died && job->late)
		printf("%s: not done after %u s, killed\n", jobs->name(jobs->arg, job->index),
		    jobs->timeout_s);
	else if (died)
		printf("%s: ended by %s %d\n", jobs->name(jobs->arg, job->index),
		    WIFSIGNALED(status) ? "signal" : "status",
		    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	fflush(stdout);
	total->passed += count.passed;
	total->failed += count.failed;
	close(job->count);
	close(job->output);
	job->pid = 0;
}

static size_t
reap(const struct support_jobs *jobs, struct job *slots, size_t nslots, struct support_count *total)
{
	size_t running = 0;
	int status;

	for (size_t i = 0; i < nslots; i++) {
		struct job *job = &slots[i];

		if (job->pid == 0)
			continue;
		if (waitpid(job->pid, &status, WNOHANG) == job->pid) {
			job_end(jobs, job, status, total);
			continue;
		}
		running++;
		if (jobs->timeout_s != 0 && !job->late && shelf_mono_ms() > job->end_ms) {
			job->late = true;
			kill(-job->pid, SIGKILL);
			kill(job->pid, SIGKILL);
		}
	}
	return running;
}

struct support_count
support_jobs(const struct support_jobs *jobs)
{
	struct support_count total = {0, 0};
	size_t nslots = jobs->at_once, next = 0, running = 0;
	struct job *slots;

	if (nslots == 0)
		nslots = 2 * (size_t)sysconf(_SC_NPROCESSORS_ONLN);
	slots = shelf_zalloc(nslots * sizeof *slots);
	do {
		running = reap(jobs, slots, nslots, &total);
		for (size_t i = 0; i < nslots && next < jobs->count; i++) {
			if (slots[i].pid != 0)
				continue;
			job_start(jobs, &slots[i], next++);
			running++;
		}
		poll(NULL, 0, 5);
	} while (running > 0 || next < jobs->count);
	free(slots);
	return total;
}
