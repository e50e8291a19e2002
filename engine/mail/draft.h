/* draft.h (private) - what append.c needs of a finished draft */
#ifndef ENGINE_MAIL_DRAFT_H
#define ENGINE_MAIL_DRAFT_H

#include <mailshelf/err.h>
#include <mailshelf/span.h>

struct blob_draft;
struct shelf_draft;

/* A finished draft of HEAD and all of BASE, which outlives it and is not compressed again. */
SHELF_CHECK int mail_draft_headed(struct shelf_draft *base, struct shelf_span head, struct shelf_draft **out);
struct blob_draft *mail_draft_blob(const struct shelf_draft *draft);
/* Date: of the message in UTC, INT64_MIN when there is none. */
int64_t mail_draft_sent(const struct shelf_draft *draft);

#endif
