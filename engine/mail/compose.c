/*
 * compose.c - mailbox names in the one form that Net-Unicode allows
 *
 * Sources   RFC 5198 2 (NFC); RFC 6855 3 (no controls, no separators of lines and paragraphs).
 */
#include <unicode/unorm2.h>
#include <unicode/ustring.h>

#include <mailshelf/mem.h>

#include "mail.h"

static bool
is_allowed(struct shelf_span name)
{
	for (size_t pos = 0; pos < name.len;) {
		uint32_t c = shelf_utf8_next(name, &pos);

		if (c < ' ' || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029)
			return false;
	}
	return true;
}

int
shelf_mailbox_compose(struct shelf_span name, struct shelf_buf *out)
{
	UErrorCode err = U_ZERO_ERROR;
	UChar wide[SHELF_MAILBOX_NAME_MAX], composed[3 * SHELF_MAILBOX_NAME_MAX];
	char utf8[9 * SHELF_MAILBOX_NAME_MAX];
	int32_t len = 0, bytes = 0;

	if (name.len > SHELF_MAILBOX_NAME_MAX || !shelf_utf8_valid(name) || !is_allowed(name))
		return SHELF_ENAME;
	u_strFromUTF8(wide, SHELF_MAILBOX_NAME_MAX, &len, (const char *)name.data, (int32_t)name.len, &err);
	len = unorm2_normalize(unorm2_getNFCInstance(&err), wide, len, composed,
	    3 * SHELF_MAILBOX_NAME_MAX, &err);
	u_strToUTF8(utf8, sizeof utf8, &bytes, composed, len, &err);
	/* A string that fills its buffer to the end is no error, only not terminated. */
	if (U_FAILURE(err))
		return SHELF_ENAME;
	shelf_buf_add(out, utf8, (size_t)bytes);
	return 0;
}
