/*
 * fuzz_notify.c - what stands behind NOTIFY SET, from any bytes
 *
 * Properties: nothing is read past the end; it fails if and only if it names an error; what goes together is
 * together in every group; names are counted and bounded.
 */
#include <stdlib.h>

#include "imap_notify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_events(unsigned events, bool selected)
{
	bool comes = (events & IMAP_EVENT_NEW) != 0, goes = (events & IMAP_EVENT_EXPUNGE) != 0;

	if (comes != goes || (!comes && (events & IMAP_EVENT_FLAGS) != 0) ||
	    (selected && (events & ~(unsigned)IMAP_EVENT_MESSAGES) != 0))
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct imap_notify_request request = {.notify = imap_notify_new()};
	struct imap_parser p = {.arena = &request.notify->arena};
	uint8_t *copy = shelf_alloc(size + 1);
	size_t names = 0;
	bool ok;

	memcpy(copy, data, size);
	p.at = copy;
	p.end = copy + size;
	ok = imap_notify_parse(&p, &request);
	if (ok != (p.error == NULL) || p.at > p.end || p.at < copy)
		abort();
	check_events(request.notify->selected, true);
	for (size_t i = 0; i < request.notify->ngroup; i++) {
		const struct imap_notify_group *g = &request.notify->group[i];

		check_events(g->events, false);
		for (size_t k = 0; k < g->nname; k++)
			if (imap_notify_events(request.notify, g->name[k], true, false) == 0)
				abort();
		names += g->nname;
	}
	if (names > request.names || names > IMAP_NOTIFY_NAMES_MAX)
		abort();
	imap_notify_free(&request.notify);
	free(copy);
	return 0;
}
