/*
 * imap_round.c - slices and rounds
 *
 *   here, 10 ms  <--warm, no bodies--  asked  --cold, or bodies-->  workers, 50 ms --> back, asked again
 *
 * A round begins with the first worker that comes to it. One that comes when it is over does nothing: others wait
 * for a worker, and what is left is left to the next round. So a round is short, however many are waiting.
 */
#include <stdatomic.h>

#include "imap_cold.h"
#include "imap_round.h"

enum { SLICE_MS = 10, ROUND_MS = 50 };

static int
run_here(imap_slice_fn *run, void *arg)
{
	long begun = imap_cold_begin();
	int rc = run(arg, SLICE_MS);

	imap_cold_end(begun);
	return rc;
}

static void
work(void *arg)
{
	struct imap_round *round = arg;
	int64_t now_ms = shelf_mono_ms(), end_ms = 0;
	long begun = imap_cold_begin();

	if (atomic_compare_exchange_strong(&round->end_ms, &end_ms, now_ms + ROUND_MS))
		end_ms = now_ms + ROUND_MS;
	if (end_ms > now_ms)
		round->rc = round->run(round->arg, (unsigned)(end_ms - now_ms));
	imap_cold_end(begun);
}

/* On N workers; RUN may be in all of them at once. */
static enum imap_step
begin(struct imap_cmd *c, struct imap_round *round, unsigned n, imap_slice_fn *run, void *arg)
{
	round->run = run;
	round->arg = arg;
	round->under_way = true;
	round->end_ms = 0;
	return imap_work_shared(c, n, work, round);
}

static int
run_search(void *search, unsigned budget_ms)
{
	return shelf_search_run(search, budget_ms);
}

int
imap_round_search(struct imap_cmd *c, struct shelf_search *search, struct imap_round *round,
    enum imap_step *step_out)
{
	struct shelf_progress so_far;
	int rc = shelf_search_state(search);

	*step_out = IMAP_YIELD;
	if (rc != 1)
		return rc;
	if (!shelf_search_reads_bodies(search) && !imap_cold())
		return run_here(run_search, search);
	so_far = shelf_search_progress(search);
	*step_out = begin(c, round, so_far.total - so_far.done, run_search, search);
	return 1;
}

int
imap_round_run(struct imap_cmd *c, imap_slice_fn *run, void *arg, struct imap_round *round,
    enum imap_step *step_out)
{
	*step_out = IMAP_YIELD;
	if (round->under_way) {
		round->under_way = false;
		return round->rc;
	}
	if (!imap_cold())
		return run_here(run, arg);
	*step_out = begin(c, round, 1, run, arg);
	return 1;
}
