/* mail_rig.h - whole messages into joe's INBOX, for what reads their headers */
#ifndef TESTS_MAIL_RIG_H
#define TESTS_MAIL_RIG_H

#include "store_rig.h"

uint32_t mail_append(struct rig *r, const char *message, int64_t internaldate_s); /* its uid */
/* Random numbers below N from a seed that is kept in *SEED. */
uint32_t mail_random(uint32_t *seed, uint32_t n);
/* The seed of MAILSHELF_SEED, or OTHERWISE. */
uint32_t mail_seed(uint32_t otherwise);

#endif
