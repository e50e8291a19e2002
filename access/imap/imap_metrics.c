/* imap_metrics.c - how often each command was given, how it was answered, how long that took */
#include "imap_metrics.h"

#include "metrics.h"

static const char *const names[] = {
#define IMAP_COMMAND(name, fn, states, flags, source) name,
#include "imap_commands.def"
#undef IMAP_COMMAND
    "unknown",
};
enum { NAMES = sizeof(names) / sizeof(*names), REPLIES = 3 };

static const char *const replies[REPLIES] = {[IMAP_OK] = "ok", [IMAP_NO] = "no", [IMAP_BAD] = "bad"};
static _Atomic uint64_t counts[NAMES][REPLIES], took_us[NAMES];
static struct shelf_durations_live durations;

void
imap_metrics_command(size_t number, enum imap_condition reply, uint64_t us, bool ours)
{
	number = number < NAMES - 1 ? number : NAMES - 1;
	atomic_fetch_add_explicit(&counts[number][reply], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&took_us[number], us, memory_order_relaxed);
	if (ours)
		shelf_durations_add(&durations, us);
}

void
imap_metrics(struct metrics_text *t)
{
	struct shelf_durations all = {0};

	metrics_family(t, METRICS_COUNTER, "mailshelf_imap_commands", NULL, "IMAP commands, by the tagged reply");
	for (unsigned i = 0; i < NAMES; i++)
		for (unsigned r = 0; r < REPLIES; r++)
			metrics_sample(t, atomic_load_explicit(&counts[i][r], memory_order_relaxed),
			    "command=\"%s\",reply=\"%s\"", names[i], replies[r]);
	metrics_family(t, METRICS_COUNTER, "mailshelf_imap_command_time_seconds", "seconds",
	    "From a command's line to its tagged reply, all together");
	for (unsigned i = 0; i < NAMES; i++)
		metrics_seconds(t, atomic_load_explicit(&took_us[i], memory_order_relaxed), "command=\"%s\"",
		    names[i]);
	shelf_durations_read(&durations, &all);
	metrics_family(t, METRICS_HISTOGRAM, "mailshelf_imap_command_seconds", "seconds",
	    "The same one by one, without IDLE and what waits for a message from the client");
	metrics_durations(t, &all);
}
