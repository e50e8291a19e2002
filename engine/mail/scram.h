/* scram.h (private) - the keys of SCRAM: made, proven (RFC 5802 3) */
#ifndef ENGINE_MAIL_SCRAM_H
#define ENGINE_MAIL_SCRAM_H

#include <mailshelf/scram.h>

#include "mail.h"

enum { SCRAM_SECRET_BYTES = 32, SCRAM_ALL_HASHES = (1 << SHELF_SCRAM_HASHES) - 1 };

/* PASSWORD as SASLprep (RFC 4013) has it; as it is when that has nothing for it. */
void scram_prepare_password(struct shelf_span password, struct shelf_buf *out);
/* KEYS has salt and iterations: keys of these hashes are added (bits 1 << enum shelf_scram_hash). */
SHELF_CHECK int scram_derive(struct shelf_span password, unsigned hashes, struct mail_keys *keys);
bool scram_same_salt(const struct shelf_scram_salt *a, const struct shelf_scram_salt *b);
uint32_t scram_iterations(const struct shelf_store *store); /* of new keys */
/* Takes as long whatever is wrong. */
bool scram_proves(const struct mail_keys *keys, const struct shelf_scram_proof *proof, uint8_t *signature_out);

/* A new salt. Makes the store's secret. */
SHELF_CHECK int mail_salt_make(struct shelf_store *store, const char *name, struct shelf_scram_salt *out);
/* Keys of a new password, none when the store is set not to have any. WAS: those before, whose salt stays; or NULL. */
SHELF_CHECK int mail_keys_make(struct shelf_store *store, const char *name, struct shelf_span password,
			       const struct mail_keys *was, struct mail_keys *out);

/* ---- Passwords of apps (app_password.c) ---------------------------------------------------------------- */

SHELF_CHECK int mail_apps_decode(struct base_reader *r, struct mail_apps *apps);
void mail_apps_encode(struct shelf_buf *b, const struct mail_apps *apps);
bool mail_app_is_good(const struct mail_app *a); /* not expired */
/* Which of them PASSWORD is; NULL: none that is good. Takes as long without any. */
const struct mail_app *mail_app_match(struct shelf_store *store, const struct mail_user *u,
				      struct shelf_span password);
/* It has logged somebody in: notes when, if that is worth a commit. */
void mail_app_used(struct shelf_store *store, uint32_t account, const struct mail_app *a);

#endif
