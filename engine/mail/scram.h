/* scram.h (private) - the keys of SCRAM: made, proven (RFC 5802 3) */
#ifndef ENGINE_MAIL_SCRAM_H
#define ENGINE_MAIL_SCRAM_H

#include <mailshelf/scram.h>

#include "mail.h"

enum { SCRAM_SECRET_BYTES = 32, SCRAM_ALL_HASHES = (1 << SHELF_SCRAM_HASHES) - 1 };

/* PASSWORD as SASLprep (RFC 4013) has it; as it is when that has nothing for it. */
void scram_prepare_password(struct shelf_span password, struct shelf_buf *out);
/* KEYS has salt and iterations: keys of every hash are added. */
SHELF_CHECK int scram_derive(struct shelf_span password, struct mail_keys *keys);
/* Takes as long whatever is wrong. */
bool scram_proves(const struct mail_keys *keys, const struct shelf_scram_proof *proof, uint8_t *signature_out);

/* Keys of a new password, none when the store is set not to have any. Makes the store's secret. */
SHELF_CHECK int mail_keys_make(struct shelf_store *store, const char *name, struct shelf_span password,
			       struct mail_keys *out);

#endif
