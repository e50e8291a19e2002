/* view_map.h (private to view.c and view_map.c) - which uids a view shows, read piece by piece when asked for */
#ifndef ENGINE_MAIL_VIEW_MAP_H
#define ENGINE_MAIL_VIEW_MAP_H

#include "mail.h"

/* What a view shows, as a rule: the messages of MAILBOX at MODSEQ, and the uids of KEPT. */
struct view_picture {
	struct shelf_store *store;
	uint32_t account, mailbox;
	uint32_t uidnext;
	uint64_t modseq;
	struct shelf_uidset *kept; /* removed before MODSEQ, but the session was not told */
};

struct view_piece;

struct view_range {
	uint32_t before; /* messages in earlier ranges */
	uint16_t number; /* uid >> 16 */
	uint16_t first;	 /* of a run: low half of its first uid */
	struct view_piece *piece; /* NULL: not loaded */
};

struct view_map {
	struct view_range *range; /* ascending, none is empty */
	size_t n, cap;
	uint32_t count;
	size_t piece_bytes; /* of all pieces loaded */
	uint32_t clock;	    /* of uses, to know the piece used least lately */
	int error;	    /* of a load that failed; 0 */
};

/* Room for N ranges at once. */
void view_map_expect(struct view_map *m, size_t n);
/* Behind the last range. COUNT 0 adds nothing. */
void view_map_add(struct view_map *m, uint32_t number, uint32_t count);
void view_map_free(struct view_map *m);
/* FROM's pieces go to the same ranges of M, but for those with a member in CHANGED or another count. FROM
 * is freed. */
void view_map_take(struct view_map *m, struct view_map *from, const struct shelf_uidset *changed);
uint32_t view_map_count(const struct view_map *m, size_t i);
/* Index of the first range >= NUMBER, n when there is none. */
size_t view_map_find(const struct view_map *m, uint32_t number);

/* A range must be loaded before these; false: it could not be (m->error). A loaded one stays until the next. */
bool view_map_load(struct view_map *m, const struct view_picture *p, size_t i);
uint32_t view_map_select(const struct view_map *m, size_t i, uint32_t k); /* uid of message K, from 0 */
uint32_t view_map_rank(const struct view_map *m, size_t i, uint32_t uid); /* messages below UID in it */
bool view_map_has(const struct view_map *m, size_t i, uint32_t uid);
/* Adds the uids of range I that lie in FIRST .. LAST to SET, run by run. */
void view_map_add_to(const struct view_map *m, size_t i, uint32_t first, uint32_t last,
		     struct shelf_uidset *set);

#endif
