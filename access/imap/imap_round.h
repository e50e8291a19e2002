/*
 * imap_round.h - reading that takes long, by slices on the loop or by rounds on workers
 *
 * Shape     A slice of 10 ms keeps the loop; a round of 50 ms keeps workers, the loop only waits for its end. Bodies
 *           are searched in rounds, on several workers at once; what reads rows and stored envelopes goes there, to
 *           one worker, only while the store is cold (imap_cold.h).
 * Lifetime  struct imap_round lives with its command, or with the session: until the work has ended.
 */
#ifndef ACCESS_IMAP_ROUND_H
#define ACCESS_IMAP_ROUND_H

#include "imap.h"

/* Works for about BUDGET_MS. 1: more is left; 0: done; or an error. */
typedef int imap_slice_fn(void *arg, unsigned budget_ms);

struct imap_round {
	imap_slice_fn *run;
	void *arg;
	bool under_way;
	_Atomic int64_t end_ms; /* 0: no worker has begun */
	_Atomic int rc;         /* what RUN said, to one worker */
};
/*
 * imap_round_search(c, search, round, step_out), imap_round_run(c, run, arg, round, step_out)
 *   A slice or a round of SEARCH, of RUN with ARG.
 *   returns  as shelf_search_run(), as RUN; 1: the command returns *STEP_OUT and then calls again
 */
SHELF_CHECK int imap_round_search(struct imap_cmd *c, struct shelf_search *search, struct imap_round *round,
    enum imap_step *step_out);
SHELF_CHECK int imap_round_run(struct imap_cmd *c, imap_slice_fn *run, void *arg, struct imap_round *round,
    enum imap_step *step_out);

#endif
