/* draft.h (private) - the blob of a finished draft, for append.c */
#ifndef ENGINE_MAIL_DRAFT_H
#define ENGINE_MAIL_DRAFT_H

struct blob_draft;
struct shelf_draft;

struct blob_draft *mail_draft_blob(const struct shelf_draft *draft);

#endif
