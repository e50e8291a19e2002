/* lmtp_metrics.c - how recipients are answered, how much was received */
#include "lmtp.h"

#include "metrics.h"

enum answer { ACCEPTED, DEFERRED, REJECTED, ANSWERS };

static const char *const answers[ANSWERS] = {"accepted", "deferred", "rejected"};
static _Atomic uint64_t at_rcpt[ANSWERS], at_end[ANSWERS], messages, bytes;

static enum answer
answer_of(const char *reply)
{
	return reply[0] == '2' ? ACCEPTED : reply[0] == '4' ? DEFERRED : REJECTED;
}

void
lmtp_metrics_rcpt(const char *reply)
{
	atomic_fetch_add_explicit(&at_rcpt[answer_of(reply)], 1, memory_order_relaxed);
}

void
lmtp_metrics_delivery(const char *reply)
{
	atomic_fetch_add_explicit(&at_end[answer_of(reply)], 1, memory_order_relaxed);
}

void
lmtp_metrics_message(uint64_t received_bytes)
{
	atomic_fetch_add_explicit(&messages, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&bytes, received_bytes, memory_order_relaxed);
}

static void
write_answers(struct metrics_text *t, _Atomic uint64_t *counts)
{
	for (unsigned i = 0; i < ANSWERS; i++)
		metrics_sample(t, atomic_load_explicit(&counts[i], memory_order_relaxed), "result=\"%s\"",
		    answers[i]);
}

void
lmtp_metrics(struct metrics_text *t)
{
	metrics_family(t, METRICS_COUNTER, "mailshelf_lmtp_recipients", NULL,
	    "Recipients at RCPT; those whose address is no address do not count");
	write_answers(t, at_rcpt);
	metrics_family(t, METRICS_COUNTER, "mailshelf_lmtp_deliveries", NULL,
	    "Recipients at the end of their message: accepted means on disk");
	write_answers(t, at_end);
	metrics_family(t, METRICS_COUNTER, "mailshelf_lmtp_messages", NULL, "Messages received to their end");
	metrics_value(t, atomic_load_explicit(&messages, memory_order_relaxed));
	metrics_family(t, METRICS_COUNTER, "mailshelf_lmtp_message_bytes", "bytes", "Size of these messages");
	metrics_value(t, atomic_load_explicit(&bytes, memory_order_relaxed));
}
