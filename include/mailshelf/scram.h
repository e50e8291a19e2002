/*
 * scram.h - logging in by SCRAM: the password never comes here, a proof of it does
 *
 * Shape     An account has keys beside its password's hash, made whenever a password is set, and at a login
 *           with one that has none yet. Keys stay in the engine; who speaks SCRAM (RFC 5802) with a client
 *           gets the salt and hands in the proof.
 * Strangers Names without keys have a salt, too, always the same one, and their proofs take as long and fail.
 * Threads   Any. shelf_scram_prepare and a proof block (store.h); the others read.
 */
#ifndef MAILSHELF_SCRAM_H
#define MAILSHELF_SCRAM_H

#include <mailshelf/account.h>

enum shelf_scram_hash { SHELF_SCRAM_SHA_1, SHELF_SCRAM_SHA_256, SHELF_SCRAM_HASHES };
enum { SHELF_SCRAM_SALT_MAX = 64, SHELF_SCRAM_HASH_MAX = 32, SHELF_SCRAM_ITERATIONS_MIN = 4096 };

struct shelf_scram_salt {
	uint32_t iterations;
	size_t len;
	uint8_t bytes[SHELF_SCRAM_SALT_MAX];
};
struct shelf_scram_proof {
	enum shelf_scram_hash hash;
	struct shelf_span name;
	struct shelf_span message; /* AuthMessage, RFC 5802 3 */
	struct shelf_span proof;
};

/* Once by who serves, before the functions below: makes the store's secret, counts accounts without keys. */
SHELF_CHECK int shelf_scram_prepare(struct shelf_store *store);
/* Accounts with a password, but without keys: they cannot log in by SCRAM. SHELF_EMISSING: not prepared. */
SHELF_CHECK int shelf_scram_without_keys(struct shelf_store *store, uint64_t *accounts_out);
size_t shelf_scram_hash_len(enum shelf_scram_hash hash);
SHELF_CHECK int shelf_scram_salt(struct shelf_store *store, struct shelf_span name, struct shelf_scram_salt *out);
/* As shelf_account_login; SIGNATURE_OUT, of shelf_scram_hash_len bytes, is the server's, when 0 is returned. */
SHELF_CHECK int shelf_scram_login(struct shelf_store *store, const struct shelf_scram_proof *proof,
    enum shelf_service service, uint8_t *signature_out, struct shelf_account *out);

#endif
