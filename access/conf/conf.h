/*
 * conf.h - the settings of mailshelfd, from file and command line
 *
 * Lifetime  A struct conf is filled once and then only read, by any thread. A reload fills another
 *           one; connections keep the one they started with until the daemon stops (conf_free at exit).
 * Source    conf.def is the only list of settings.
 */
#ifndef ACCESS_CONF_H
#define ACCESS_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct conf {
#define CONF_TEXT(name, def, text) char *name;
#define CONF_BOOL(name, def, text) bool name;
#define CONF_NUM(name, def, min, max, unit, text) uint64_t name;
#include "conf.def"
#undef CONF_TEXT
#undef CONF_BOOL
#undef CONF_NUM
};

/* All defaults. */
struct conf *conf_new(void);
void conf_free(struct conf **conf);
/* Sets one value: true, or false and a text in ERROR ("unknown setting", "must be 1..1024 threads"). */
bool conf_set(struct conf *conf, const char *name, const char *value, char *error, size_t error_len);
/* Reads a file; errors name file and line. */
bool conf_read(struct conf *conf, const char *file, char *error, size_t error_len);
/* After reading: fills hostname and local_domains when not set. */
void conf_finish(struct conf *conf);
/* The rows of conf.def, in its order: for --help, and to tell what a reload would change. */
enum conf_kind { CONF_KIND_TEXT, CONF_KIND_BOOL, CONF_KIND_NUM };
struct conf_row {
	const char *name;
	enum conf_kind kind;
	size_t offset; /* in struct conf */
	const char *text_default;
	uint64_t num_default, min, max; /* of a bool: 0 or 1 */
	const char *unit;
	const char *text;
};
const struct conf_row *conf_rows(size_t *count_out);
/* NULL when there is none of that name (- and _ are the same). */
const struct conf_row *conf_find(const char *name);
bool conf_same(const struct conf *a, const struct conf *b, const struct conf_row *row);
/* Is DOMAIN (any case) one of local_domains? */
bool conf_is_local_domain(const struct conf *conf, const char *domain, size_t len);

#endif
