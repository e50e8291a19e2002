/*
 * sasl_scram.h - the messages of SCRAM, the server's side: read, checked, written
 *
 *   sasl_scram_first -> name known -> sasl_scram_challenge -> sasl_scram_final -> proof known
 *
 * Shape     No store, no keys, no randomness: whoever owns one of these brings them.
 * Sources   RFC 5802 5, 6, 7; RFC 7677.
 */
#ifndef ACCESS_SASL_SCRAM_H
#define ACCESS_SASL_SCRAM_H

#include <mailshelf/scram.h>

enum { SASL_SCRAM_NONCE_MAX = 512, SASL_SCRAM_BINDING_MAX = 64 };

enum sasl_scram_got {
	SASL_SCRAM_OK,
	SASL_SCRAM_REFUSED,   /* well-formed, but it must not succeed */
	SASL_SCRAM_MALFORMED,
};

struct sasl_scram {
	/* Set by the owner. */
	enum shelf_scram_hash hash;
	bool plus;  /* a -PLUS mechanism */
	bool bound; /* such mechanisms are offered on this connection */
	/* Of the first message. */
	size_t name_len;
	uint8_t name[SHELF_ACCOUNT_NAME_MAX];
	char binding[SASL_SCRAM_BINDING_MAX + 1]; /* the type the client binds to, or empty */
	/* Grow as messages come and go. */
	struct shelf_buf gs2;     /* header of the first message; then the binding's bytes, which the owner adds */
	struct shelf_buf nonce;
	struct shelf_buf message; /* AuthMessage, RFC 5802 3 */
	size_t proof_len;
	uint8_t proof[SHELF_SCRAM_HASH_MAX];
};

enum sasl_scram_got sasl_scram_first(struct sasl_scram *s, struct shelf_span message);
/* The server's first message, added to OUT. NONCE: the server's part, printable and without ",". */
void sasl_scram_challenge(struct sasl_scram *s, const struct shelf_scram_salt *salt, const char *nonce,
    struct shelf_buf *out);
enum sasl_scram_got sasl_scram_final(struct sasl_scram *s, struct shelf_span message);
void sasl_scram_wipe(struct sasl_scram *s);

#endif
