/*
 * lmtp_params.c - the parameters of MAIL and RCPT
 *
 * What must stay true: a parameter is taken once and in the grammar of its RFC, or the command is refused.
 *
 * RET, ENVID, NOTIFY and ORCPT (RFC 3461) are taken because gateways send them unasked, but DSN is not in the
 * answer to LHLO: who announces it promises to send notifications, and we send no mail. The front server
 * keeps that duty: it tells the sender "delivered" when it sees our 250.
 */
#include "lmtp.h"

#include <mailshelf/mem.h>

#include "lineproto.h"

enum param { PARAM_OK, PARAM_BAD, PARAM_UNKNOWN };

enum { ENVID_MAX_BYTES = 100, ORCPT_MAX_BYTES = 500 }; /* RFC 3461 4.4, 4.2 */

typedef enum param one_param_fn(struct lmtp_params *p, struct shelf_span name, struct shelf_span value,
    bool has_value);

/* RFC 3461 4: printable ASCII but "+" and "=", which are "+" and two hexadecimal digits. */
static bool
is_xtext(struct shelf_span s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (s.data[i] < '!' || s.data[i] > '~' || s.data[i] == '=')
			return false;
		if (s.data[i] != '+')
			continue;
		for (unsigned n = 0; n < 2; n++)
			if (++i >= s.len || memchr("0123456789ABCDEF", s.data[i], 16) == NULL)
				return false;
	}
	return true;
}

/* "rfc822;joe+2Bx@example.org", "utf-8;..." (RFC 6533 3: with UTF-8 as it is, too). */
static bool
is_original(struct shelf_span s)
{
	ptrdiff_t semicolon = shelf_span_find(s, ';', 0);
	struct shelf_span address;

	if (semicolon <= 0 || s.len > ORCPT_MAX_BYTES)
		return false;
	address = shelf_span(s.data + semicolon + 1, s.len - (size_t)semicolon - 1);
	if (shelf_span_is(shelf_span(s.data, (size_t)semicolon), "utf-8"))
		return address.len > 0 && shelf_utf8_valid(address);
	return address.len > 0 && is_xtext(address);
}

static bool
is_notify(struct shelf_span s)
{
	static const char *const words[] = {"SUCCESS", "FAILURE", "DELAY"};

	if (shelf_span_is(s, "NEVER"))
		return true;
	for (;;) {
		ptrdiff_t comma = shelf_span_find(s, ',', 0);
		struct shelf_span word = shelf_span(s.data, comma < 0 ? s.len : (size_t)comma);
		size_t i = 0;

		while (i < 3 && !shelf_span_is(word, words[i]))
			i++;
		if (i == 3)
			return false;
		if (comma < 0)
			return true;
		s = shelf_span(s.data + comma + 1, s.len - (size_t)comma - 1);
	}
}

static enum param
once(bool *seen, bool good)
{
	if (!good || *seen)
		return PARAM_BAD;
	*seen = true;
	return PARAM_OK;
}

static enum param
of_mail(struct lmtp_params *p, struct shelf_span name, struct shelf_span value, bool has_value)
{
	if (shelf_span_is(name, "SIZE")) /* RFC 1870 6.1: up to 20 digits */
		return once(&p->has_size, has_value && value.len <= 20 &&
			shelf_span_u64(value, UINT64_MAX, &p->size));
	if (shelf_span_is(name, "BODY")) { /* RFC 1652, RFC 3030 3 */
		p->binary = shelf_span_is(value, "BINARYMIME");
		return once(&p->has_body, has_value && (p->binary ||
			shelf_span_is(value, "7BIT") || shelf_span_is(value, "8BITMIME")));
	}
	if (shelf_span_is(name, "SMTPUTF8")) /* RFC 6531 3.4 */
		return once(&p->has_utf8, !has_value);
	if (shelf_span_is(name, "RET"))
		return once(&p->has_ret, shelf_span_is(value, "FULL") || shelf_span_is(value, "HDRS"));
	if (shelf_span_is(name, "ENVID"))
		return once(&p->has_envid, value.len > 0 && value.len <= ENVID_MAX_BYTES && is_xtext(value));
	return PARAM_UNKNOWN;
}

static enum param
of_rcpt(struct lmtp_params *p, struct shelf_span name, struct shelf_span value, bool has_value)
{
	if (shelf_span_is(name, "NOTIFY"))
		return once(&p->has_notify, has_value && is_notify(value));
	if (shelf_span_is(name, "ORCPT"))
		return once(&p->has_orcpt, has_value && is_original(value));
	return PARAM_UNKNOWN;
}

static bool
each(struct lmtp_session *s, struct shelf_span args, struct lmtp_params *p, one_param_fn *one)
{
	struct shelf_span word;

	*p = (struct lmtp_params){.size = 0};
	while ((word = lineproto_word(&args)).len > 0) {
		ptrdiff_t equals = shelf_span_find(word, '=', 0);
		size_t name_len = equals < 0 ? word.len : (size_t)equals;
		struct shelf_span value = {0};
		enum param rc;

		if (equals >= 0)
			value = shelf_span(word.data + name_len + 1, word.len - name_len - 1);
		rc = one(p, shelf_span(word.data, name_len), value, equals >= 0);
		if (rc == PARAM_UNKNOWN)
			lmtp_reply(s, "555 5.5.4", "Parameter not known");
		else if (rc == PARAM_BAD)
			lmtp_reply(s, "501 5.5.4", "Bad parameter");
		if (rc != PARAM_OK)
			return false;
	}
	return true;
}

bool
lmtp_params_mail(struct lmtp_session *s, struct shelf_span args, struct lmtp_params *out)
{
	return each(s, args, out, of_mail);
}

bool
lmtp_params_rcpt(struct lmtp_session *s, struct shelf_span args, struct lmtp_params *out)
{
	return each(s, args, out, of_rcpt);
}
