/* draft.h (private) - what append.c needs of a finished draft */
#ifndef ENGINE_MAIL_DRAFT_H
#define ENGINE_MAIL_DRAFT_H

struct blob_draft;
struct shelf_draft;

struct blob_draft *mail_draft_blob(const struct shelf_draft *draft);
/* Date: of the message in UTC, INT64_MIN when there is none. */
int64_t mail_draft_sent(const struct shelf_draft *draft);

#endif
