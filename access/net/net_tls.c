/*
 * net_tls.c - certificate and key as one counted object
 *
 * Nothing of a private key is ever asked for on a terminal, and the texts of OpenSSL's errors go to the
 * caller, with the name of the file.
 */
#include <stdio.h>
#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/x509.h>

#include <mailshelf/mem.h>

#include "net_inside.h"

struct net_tls {
	SSL_CTX *ctx;
	_Atomic unsigned refs;
};

/* An encrypted key would make OpenSSL ask for its password on the terminal. */
static int
no_password(char *buf, int size, int rwflag, void *arg)
{
	*(bool *)arg = true;
	return -1;
}

/* The first error of the queue is the cause, the later ones say who met it. */
static void
tell(char *error, size_t error_len, const char *file, const char *what)
{
	unsigned long code = ERR_peek_error();
	const char *reason = code == 0 ? NULL : ERR_SYSTEM_ERROR(code) ?
	    strerror((int)ERR_GET_REASON(code)) : ERR_reason_error_string(code);

	if (reason != NULL)
		snprintf(error, error_len, "%s: %s: %s", file, what, reason);
	else
		snprintf(error, error_len, "%s: %s", file, what);
	ERR_clear_error();
}

static bool
is_mismatch(unsigned long code)
{
	return ERR_GET_LIB(code) == ERR_LIB_X509 &&
	    (ERR_GET_REASON(code) == X509_R_KEY_VALUES_MISMATCH ||
	    ERR_GET_REASON(code) == X509_R_KEY_TYPE_MISMATCH);
}

static SSL_CTX *
new_context(void)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	if (ctx == NULL)
		return NULL;
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF |
	    SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
	    SSL_MODE_RELEASE_BUFFERS);
	/* Tickets carry resumed sessions; a cache would only hold memory. */
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	return ctx;
}

struct net_tls *
net_tls_new(const char *cert_file, const char *key_file, char *error, size_t error_len)
{
	struct net_tls *tls = NULL;
	SSL_CTX *ctx = NULL;
	bool encrypted = false;

	ERR_clear_error();
	ctx = new_context();
	if (ctx == NULL) {
		tell(error, error_len, cert_file, "TLS is not available");
		goto fail;
	}
	SSL_CTX_set_default_passwd_cb(ctx, no_password);
	SSL_CTX_set_default_passwd_cb_userdata(ctx, &encrypted);
	if (SSL_CTX_use_certificate_chain_file(ctx, cert_file) != 1) {
		tell(error, error_len, cert_file, "certificate not usable");
		goto fail;
	}
	if (SSL_CTX_use_PrivateKey_file(ctx, key_file, SSL_FILETYPE_PEM) != 1 &&
	    !is_mismatch(ERR_peek_last_error())) {
		tell(error, error_len, key_file, encrypted ?
		    "private key not usable, it is encrypted" : "private key not usable");
		goto fail;
	}
	ERR_clear_error();
	/* Also where key and certificate are of different types. */
	if (SSL_CTX_check_private_key(ctx) != 1) {
		ERR_clear_error();
		snprintf(error, error_len, "%s: private key does not belong to the certificate %s", key_file,
		    cert_file);
		goto fail;
	}
	SSL_CTX_set_default_passwd_cb_userdata(ctx, NULL);
	tls = SHELF_NEW(struct net_tls);
	tls->ctx = ctx;
	atomic_store(&tls->refs, 1);
	return tls;
fail:
	SSL_CTX_free(ctx);
	return NULL;
}

struct net_tls *
net_tls_ref(struct net_tls *tls)
{
	if (tls != NULL)
		atomic_fetch_add(&tls->refs, 1);
	return tls;
}

void
net_tls_unref(struct net_tls **tlsp)
{
	struct net_tls *tls = *tlsp;

	*tlsp = NULL;
	if (tls == NULL || atomic_fetch_sub(&tls->refs, 1) > 1)
		return;
	SSL_CTX_free(tls->ctx);
	free(tls);
}

SSL *
net_tls_session(struct net_tls *tls, int fd)
{
	SSL *ssl = SSL_new(tls->ctx);

	if (ssl != NULL && SSL_set_fd(ssl, fd) != 1) {
		SSL_free(ssl);
		ssl = NULL;
	}
	if (ssl != NULL)
		SSL_set_accept_state(ssl);
	return ssl;
}

/* ---- Channel bindings ------------------------------------------------------------------------- */

bool
net_tls_can_bind(SSL *ssl)
{
	int version = SSL_version(ssl);

	return version == TLS1_3_VERSION || (version == TLS1_2_VERSION && SSL_get_extms_support(ssl) == 1);
}

bool
net_tls_binding(SSL *ssl, const char *type, uint8_t *out, size_t *len_out)
{
	static const char label[] = "EXPORTER-Channel-Binding";
	enum { EXPORTER_BYTES = 32 };

	if (SSL_version(ssl) == TLS1_3_VERSION) {
		*len_out = EXPORTER_BYTES;
		return strcmp(type, "tls-exporter") == 0 &&
		    SSL_export_keying_material(ssl, out, EXPORTER_BYTES, label, sizeof(label) - 1, NULL, 0, 1) == 1;
	}
	/* The first Finished message of the handshake: the client's, or the server's when a session was resumed. */
	*len_out = SSL_session_reused(ssl) ? SSL_get_finished(ssl, out, NET_BINDING_MAX_BYTES)
					   : SSL_get_peer_finished(ssl, out, NET_BINDING_MAX_BYTES);
	return strcmp(type, "tls-unique") == 0 && *len_out > 0 && *len_out <= NET_BINDING_MAX_BYTES;
}
