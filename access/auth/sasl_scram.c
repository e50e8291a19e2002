/*
 * sasl_scram.c - the messages of SCRAM
 *
 * Attributes stand in a fixed order (RFC 5802 5.1), so a message is read from left to right, once. What the
 * client says of channel binding is checked twice: its flag against what was offered (against a downgrade by
 * somebody between), and its "c=" against flag and channel.
 */
#include <mailshelf/mem.h>

#include "sasl_scram.h"

/* "X=value", up to the comma that ends it, which goes too. An empty value is none. */
static bool
take(struct shelf_span *rest, char letter, struct shelf_span *value)
{
	ptrdiff_t comma = shelf_span_find(*rest, ',', 0);
	size_t len = comma < 0 ? rest->len : (size_t)comma;

	if (len < 3 || rest->data[0] != (uint8_t)letter || rest->data[1] != '=')
		return false;
	*value = shelf_span(rest->data + 2, len - 2);
	len += comma < 0 ? 0 : 1;
	*rest = shelf_span(rest->data + len, rest->len - len);
	return true;
}

/* Optional ones that we do not know are passed over. */
static bool
are_extensions(struct shelf_span rest)
{
	struct shelf_span value;

	while (rest.len > 0) {
		uint8_t letter = rest.data[0] | 0x20;

		if (letter < 'a' || letter > 'z' || !take(&rest, (char)rest.data[0], &value))
			return false;
	}
	return true;
}

static bool
is_printable(struct shelf_span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.data[i] < 0x21 || s.data[i] > 0x7e)
			return false;
	return true;
}

/* "=2C" is a comma, "=3D" an equals sign, any other "=" an error. */
static bool
decode_name(struct shelf_span in, struct shelf_buf *out)
{
	for (size_t i = 0; i < in.len; i++) {
		uint8_t c = in.data[i];

		if (c == '=') {
			if (i + 2 >= in.len)
				return false;
			if (memcmp(in.data + i, "=2C", 3) == 0)
				c = ',';
			else if (memcmp(in.data + i, "=3D", 3) != 0)
				return false;
			i += 2;
		}
		shelf_buf_add_byte(out, c);
	}
	return true;
}

/* gs2-cbind-flag "," [authzid] ","; what is left of MESSAGE is client-first-message-bare. */
static enum sasl_scram_got
take_header(struct sasl_scram *s, struct shelf_span *message, struct shelf_span *authzid)
{
	struct shelf_span rest = *message, type = {0};
	enum sasl_scram_got got = SASL_SCRAM_OK;
	bool bind = rest.len > 0 && rest.data[0] == 'p';

	*authzid = shelf_span(NULL, 0);
	if (bind) {
		if (!take(&rest, 'p', &type))
			return SASL_SCRAM_MALFORMED;
		if (type.len > SASL_SCRAM_BINDING_MAX)
			return SASL_SCRAM_REFUSED;
		memcpy(s->binding, type.data, type.len);
	} else {
		if (rest.len < 2 || (rest.data[0] != 'n' && rest.data[0] != 'y') || rest.data[1] != ',')
			return SASL_SCRAM_MALFORMED;
		/* It could bind, and was not told that we can. */
		got = rest.data[0] == 'y' && s->bound ? SASL_SCRAM_REFUSED : SASL_SCRAM_OK;
		rest = shelf_span(rest.data + 2, rest.len - 2);
	}
	if (rest.len > 0 && rest.data[0] == ',')
		rest = shelf_span(rest.data + 1, rest.len - 1);
	else if (!take(&rest, 'a', authzid))
		return SASL_SCRAM_MALFORMED;
	shelf_buf_add(&s->gs2, message->data, message->len - rest.len);
	*message = rest;
	return bind != s->plus ? SASL_SCRAM_REFUSED : got;
}

/* Nobody acts for another here; names compare as accounts do. */
static enum sasl_scram_got
take_names(struct sasl_scram *s, struct shelf_span name, struct shelf_span authzid)
{
	struct shelf_buf decoded = {0}, other = {0};
	struct shelf_span n;
	enum sasl_scram_got got = SASL_SCRAM_MALFORMED;

	if (decode_name(name, &decoded) && decode_name(authzid, &other)) {
		n = shelf_buf_span(&decoded);
		got = SASL_SCRAM_REFUSED;
		if (n.len <= sizeof(s->name) && shelf_utf8_valid(n) && shelf_span_find(n, '\0', 0) < 0) {
			memcpy(s->name, n.data, n.len);
			s->name_len = n.len;
			if (other.len == 0 || shelf_span_ieq(shelf_buf_span(&other), n))
				got = SASL_SCRAM_OK;
		}
	}
	shelf_buf_free(&decoded);
	shelf_buf_free(&other);
	return got;
}

enum sasl_scram_got
sasl_scram_first(struct sasl_scram *s, struct shelf_span message)
{
	struct shelf_span authzid, bare, name, nonce;
	enum sasl_scram_got header = take_header(s, &message, &authzid), names;

	if (header == SASL_SCRAM_MALFORMED)
		return header;
	bare = message;
	if (message.len > 1 && message.data[0] == 'm' && message.data[1] == '=')
		return SASL_SCRAM_REFUSED; /* an extension that we must know, and do not */
	if (!take(&message, 'n', &name) || !take(&message, 'r', &nonce) || !are_extensions(message) ||
	    nonce.len > SASL_SCRAM_NONCE_MAX || !is_printable(nonce))
		return SASL_SCRAM_MALFORMED;
	names = take_names(s, name, authzid);
	shelf_buf_add_span(&s->nonce, nonce);
	shelf_buf_add_span(&s->message, bare);
	return names != SASL_SCRAM_OK ? names : header;
}

void
sasl_scram_challenge(struct sasl_scram *s, const struct shelf_scram_salt *salt, const char *nonce,
    struct shelf_buf *out)
{
	size_t from = out->len;

	shelf_buf_add_str(&s->nonce, nonce);
	shelf_buf_add_str(out, "r=");
	shelf_buf_add_span(out, shelf_buf_span(&s->nonce));
	shelf_buf_add_str(out, ",s=");
	shelf_base64_encode(out, shelf_span(salt->bytes, salt->len));
	shelf_buf_printf(out, ",i=%u", salt->iterations);
	shelf_buf_add_byte(&s->message, ',');
	shelf_buf_add(&s->message, out->data + from, out->len - from);
}

/* "c=": the header that came first, and the bytes of the channel. */
static bool
is_binding(const struct sasl_scram *s, struct shelf_span base64)
{
	struct shelf_buf decoded = {0};
	bool same = shelf_base64_decode(&decoded, base64) &&
	    shelf_span_eq(shelf_buf_span(&decoded), shelf_buf_span(&s->gs2));

	shelf_buf_free(&decoded);
	return same;
}

static bool
take_proof(struct sasl_scram *s, struct shelf_span base64)
{
	struct shelf_buf decoded = {0};
	bool ok = shelf_base64_decode(&decoded, base64) && decoded.len <= sizeof(s->proof);

	s->proof_len = ok ? decoded.len : 0;
	if (ok)
		memcpy(s->proof, decoded.data, decoded.len);
	shelf_buf_free(&decoded);
	return ok;
}

enum sasl_scram_got
sasl_scram_final(struct sasl_scram *s, struct shelf_span message)
{
	struct shelf_span rest = message, binding, nonce, last, proof;
	size_t proof_at = message.len;

	/* The proof is the last attribute; its Base64 has no comma. */
	while (proof_at > 0 && message.data[proof_at - 1] != ',')
		proof_at--;
	if (proof_at == 0)
		return SASL_SCRAM_MALFORMED;
	rest = shelf_span(message.data, proof_at - 1);
	last = shelf_span(message.data + proof_at, message.len - proof_at);
	if (!take(&last, 'p', &proof) || !take_proof(s, proof))
		return SASL_SCRAM_MALFORMED;
	shelf_buf_add_byte(&s->message, ',');
	shelf_buf_add_span(&s->message, rest);
	if (!take(&rest, 'c', &binding) || !take(&rest, 'r', &nonce) || !are_extensions(rest))
		return SASL_SCRAM_MALFORMED;
	return is_binding(s, binding) && shelf_span_eq(nonce, shelf_buf_span(&s->nonce)) ? SASL_SCRAM_OK
											  : SASL_SCRAM_REFUSED;
}

void
sasl_scram_wipe(struct sasl_scram *s)
{
	shelf_buf_free(&s->gs2);
	shelf_buf_free(&s->nonce);
	shelf_buf_free(&s->message);
	explicit_bzero(s, sizeof(*s));
}
