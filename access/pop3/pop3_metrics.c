/* pop3_metrics.c - how often each command was given */
#include "pop3_metrics.h"

#include "metrics.h"
#include "pop3.h"

static const char *const names[] = {
#define POP3_COMMAND(name, fn, states, fewest, most, source) name,
#include "pop3_commands.def"
#undef POP3_COMMAND
    "unknown",
};
enum { NAMES = sizeof(names) / sizeof(*names) };

static _Atomic uint64_t counts[NAMES];

void
pop3_metrics_command(size_t number)
{
	atomic_fetch_add_explicit(&counts[number < NAMES - 1 ? number : NAMES - 1], 1, memory_order_relaxed);
}

void
pop3_metrics(struct metrics_text *t)
{
	metrics_family(t, METRICS_COUNTER, "mailshelf_pop3_commands", NULL, "POP3 commands");
	for (unsigned i = 0; i < NAMES; i++)
		metrics_sample(t, atomic_load_explicit(&counts[i], memory_order_relaxed), "command=\"%s\"",
		    names[i]);
}
