/* list_rig.h - all that can be read from a store, to compare */
#ifndef LIST_RIG_H
#define LIST_RIG_H

#include <mailshelf/mailshelf.h>

/* Everything users see; in which partition an account lies they do not. Added to OUT. */
void list_store(struct shelf_store *store, struct shelf_buf *out);

#endif
