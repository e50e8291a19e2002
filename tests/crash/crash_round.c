/*
 * crash_round.c - the parent: lets workers run to their end, and follows what they acknowledge
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crash.h"
#include "kv.h"

enum { PROCESSES_MAX = 4 };

/* What the pipe said in this round. */
struct heard {
	unsigned complete, refused;
	bool survived; /* the fault */
	int refused_at; /* enum kv_point */
	bool wrong;
};

/* Plays the model's next operation, or passes over one that was refused. */
static bool
move_on(struct crash_account *a, const struct crash_ack *ack)
{
	struct model_op op;
	bool good = ack->modseq >= a->modseq;

	if (!good)
		printf("modseq fell from %llu to %llu\n", (unsigned long long)a->modseq,
		    (unsigned long long)ack->modseq);
	a->modseq = ack->modseq;
	model_choose(a->model, &op);
	if (a->held_told)
		model_unhold(a->model, &op, a->held);
	a->held_told = false;
	/* An operation that the model refuses as the engine did changes nothing. */
	if (ack->what == CRASH_OP && model_apply(a->model, &op) != 0)
		return good;
	return good;
}

bool
crash_hear(struct crash *c, const struct crash_ack *ack)
{
	struct crash_account *a = &c->account[ack->thread];

	switch (ack->what) {
	case CRASH_OP:
	case CRASH_SKIPPED:
		return move_on(a, ack);
	case CRASH_HELD:
		a->held_told = true;
		a->held = ack->number;
		return true;
	case CRASH_SENT_BEGIN:
		a->sent = (uint32_t)ack->number + 1;
		return true;
	case CRASH_SENT_END:
		c->shared_acked[ack->thread * CRASH_SENT_MAX + ack->number] = true;
		return true;
	case CRASH_EXTRA:
		if (ack->number >= a->nextras)
			a->nextras = (uint32_t)ack->number + 1;
		a->extra[ack->number] = (uint8_t)ack->modseq;
		return true;
	case CRASH_BACKUP:
		c->backed_up = true;
		return true;
	case CRASH_COMPLETE:
	case CRASH_REFUSED:
		return true;
	case CRASH_WRONG:
		break;
	}
	printf("thread %u: the engine says %s\n", ack->thread, ack->text);
	return false;
}

static void
hear(struct crash *c, int fd, struct heard *heard)
{
	struct crash_ack ack;
	ssize_t n;

	while ((n = read(fd, &ack, sizeof ack)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n != (ssize_t)sizeof ack)
			support_fatal("half a line from the worker");
		heard->wrong = !crash_hear(c, &ack) || heard->wrong;
		if (ack.what == CRASH_COMPLETE) {
			heard->complete++;
			heard->survived = heard->survived || ack.number != 0;
		} else if (ack.what == CRASH_REFUSED) {
			heard->refused++;
			heard->refused_at = (int)ack.number;
		}
	}
}

/* Kills the workers after MS, from a process of its own: the caller reads the pipe meanwhile. */
static pid_t
start_killer(const pid_t *pid, unsigned count, unsigned ms)
{
	int64_t end = shelf_mono_ms() + ms;
	pid_t killer = fork();

	if (killer < 0)
		support_fatal("fork: %s", strerror(errno));
	if (killer > 0)
		return killer;
	while (shelf_mono_ms() < end)
		poll(NULL, 0, 1);
	/* Not at once: the second meets what the first has left. */
	for (unsigned i = 0; i < count; i++) {
		kill(pid[i], SIGKILL);
		poll(NULL, 0, i + 1 < count ? (int)(ms % 40) : 0);
	}
	_exit(0);
}

static bool
ended_well(const struct crash_plan *plan, int status)
{
	/* Small allocations end the process when there is no memory, by design. */
	bool aborted = WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && plan->disk == DISK_MEMORY;

	if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL && !aborted)
		printf("the worker ended by signal %d\n", WTERMSIG(status));
	else if (WIFEXITED(status) && WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != CRASH_DIED)
		printf("the worker ended with status %d\n", WEXITSTATUS(status));
	else
		return true;
	return false;
}

static unsigned
start_workers(struct crash *c, const struct crash_plan *plan, int pipe_fd[2], pid_t *pid)
{
	unsigned count = plan->processes == 0 ? 1 : plan->processes;

	fflush(NULL);
	for (unsigned i = 0; i < count; i++) {
		pid[i] = fork();
		if (pid[i] < 0)
			support_fatal("fork: %s", strerror(errno));
		if (pid[i] == 0) {
			close(pipe_fd[0]);
			crash_work(c, plan, i, pipe_fd[1]);
		}
	}
	return count;
}

struct crash_result
crash_round(struct crash *c, const struct crash_plan *plan)
{
	struct heard heard = {.refused_at = -1};
	struct crash_result result = {.good = true};
	pid_t pid[PROCESSES_MAX], killer = 0;
	int pipefd[2], status = 0;
	unsigned count;
	bool pending;

	if (pipe(pipefd) != 0)
		support_fatal("no pipe");
	count = start_workers(c, plan, pipefd, pid);
	close(pipefd[1]);
	if (plan->kill_ms != 0)
		killer = start_killer(pid, count, plan->kill_ms);
	hear(c, pipefd[0], &heard);
	close(pipefd[0]);
	if (killer != 0)
		waitpid(killer, NULL, 0);
	for (unsigned i = 0; i < count; i++) {
		waitpid(pid[i], &status, 0);
		result.good = ended_well(plan, status) && result.good;
		result.faulted = result.faulted || WIFSIGNALED(status) ||
		                 (WIFEXITED(status) && WEXITSTATUS(status) == CRASH_DIED);
	}
	result.complete = heard.complete == c->threads;
	result.faulted = result.faulted || heard.survived || heard.refused > 0;
	if (plan->record != NULL)
		return result; /* what was acknowledged is told there */
	/* An injected error means that nothing happened, except after a commit. */
	pending = !result.complete && (heard.refused == 0 || heard.refused_at == KV_AFTER_COMMIT);
	result.good = crash_verify(c, pending) && result.good && !heard.wrong;
	return result;
}
