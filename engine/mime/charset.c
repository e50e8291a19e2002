/*
 * charset.c - text in any charset to UTF-8; the only file that knows ICU
 *
 * What must stay true: the output is valid UTF-8 and at most a constant times the input; a name
 * from a message never reaches the part of ICU that looks for converter files, only its table of
 * aliases.
 */
#include <unicode/ucnv.h>
#include <unicode/ucnv_cb.h>
#include <unicode/ucnv_err.h>

#include <mailshelf/mem.h>

#include "mime_internal.h"

enum { NAME_MAX_LEN = 60, CHUNK = 1024 };

/* What senders mean by a name, where it differs from what the name says or ICU does not know it.
 * Mostly supersets: nobody sends the C1 controls of ISO 8859-1, many send Windows-1252 under its
 * name. */
static const char *const aliases[][2] = {
	{"iso-8859-1", "windows-1252"}, {"latin1", "windows-1252"}, {"l1", "windows-1252"},
	{"iso8859-1", "windows-1252"}, {"iso_8859-1", "windows-1252"}, {"cp-1252", "windows-1252"},
	{"iso-8859-9", "windows-1254"}, {"latin5", "windows-1254"},
	{"iso-8859-11", "windows-874"}, {"tis-620", "windows-874"},
	{"iso-8859-8-i", "iso-8859-8"}, {"iso-8859-8-e", "iso-8859-8"},
	{"iso-8859-6-i", "iso-8859-6"}, {"iso-8859-6-e", "iso-8859-6"},
	{"gb2312", "gb18030"}, {"gbk", "gb18030"}, {"x-gbk", "gb18030"}, {"cp936", "gb18030"},
	{"gb_2312-80", "gb18030"}, {"ks_c_5601-1987", "windows-949"}, {"euc-kr", "windows-949"},
	{"ks_c_5601", "windows-949"}, {"shift_jis", "windows-31j"}, {"shift-jis", "windows-31j"},
	{"sjis", "windows-31j"}, {"x-sjis", "windows-31j"}, {"cp932", "windows-31j"},
	{"iso-2022-jp", "iso-2022-jp-2"}, {"unicode-1-1-utf-7", "utf-7"},
	{"x-mac-roman", "macintosh"}, {"x-windows-949", "windows-949"},
};
static const char *const utf8_names[] = {"utf-8", "utf8", "unicode-1-1-utf-8", "utf-8-mac", "x-utf-8"};
static const char *const ascii_names[] = {"", "us-ascii", "ascii", "ansi_x3.4-1968", "iso646-us",
	"646", "us"};

enum charset { CHARSET_UNKNOWN, CHARSET_ASCII, CHARSET_UTF8, CHARSET_ICU };

/* The name without what writers put around it, and without the language of RFC 2231 5. */
static struct shelf_span
bare_name(struct shelf_span name)
{
	ptrdiff_t star = shelf_span_find(name, '*', 0);

	if (star >= 0)
		name.len = (size_t)star;
	while (name.len > 0 && (name.data[name.len - 1] <= ' ' || name.data[name.len - 1] == '"' ||
	    name.data[name.len - 1] == '\'' || name.data[name.len - 1] == ';'))
		name.len--;
	while (name.len > 0 && (name.data[0] <= ' ' || name.data[0] == '"' || name.data[0] == '\''))
		name = shelf_span(name.data + 1, name.len - 1);
	return name;
}

static bool
is_one_of(struct shelf_span name, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (shelf_span_is(name, names[i]))
			return true;
	return false;
}

/* What NAME means; for CHARSET_ICU the name to open goes to ICU_NAME. */
static enum charset
find_charset(struct shelf_span name, char icu_name[NAME_MAX_LEN + 1])
{
	UErrorCode status = U_ZERO_ERROR;

	name = bare_name(name);
	if (is_one_of(name, utf8_names, sizeof(utf8_names) / sizeof(utf8_names[0])))
		return CHARSET_UTF8;
	if (is_one_of(name, ascii_names, sizeof(ascii_names) / sizeof(ascii_names[0])))
		return CHARSET_ASCII;
	for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++)
		if (shelf_span_is(name, aliases[i][0]))
			name = shelf_span_str(aliases[i][1]);
	if (name.len > NAME_MAX_LEN)
		return CHARSET_UNKNOWN;
	for (size_t i = 0; i < name.len; i++) {
		/* "," would be an option to ICU, "/" and others a path. */
		if (name.data[i] <= ' ' || name.data[i] >= 0x7f || strchr(",/\\=<>", name.data[i]) != NULL)
			return CHARSET_UNKNOWN;
		icu_name[i] = (char)name.data[i];
	}
	icu_name[name.len] = '\0';
	if (ucnv_countAliases(icu_name, &status) == 0 || U_FAILURE(status))
		return CHARSET_UNKNOWN;
	return CHARSET_ICU;
}

bool
mime_charset_known(struct shelf_span charset)
{
	char icu_name[NAME_MAX_LEN + 1];

	return find_charset(charset, icu_name) != CHARSET_UNKNOWN;
}

static void
utf8_clean(struct shelf_span text, struct shelf_buf *out)
{
	size_t pos = 0;

	if (shelf_utf8_valid(text)) {
		shelf_buf_add_span(out, text);
		return;
	}
	while (pos < text.len)
		shelf_utf8_add(out, shelf_utf8_next(text, &pos));
}

static void
ascii_clean(struct shelf_span text, struct shelf_buf *out)
{
	for (size_t i = 0; i < text.len; i++)
		shelf_utf8_add(out, text.data[i] < 0x80 ? text.data[i] : 0xfffd);
}

/* ICU's own substitute is U+001A for some charsets; ours is always U+FFFD. */
static void
substitute(const void *context, UConverterToUnicodeArgs *args, const char *units, int32_t len,
    UConverterCallbackReason reason, UErrorCode *status)
{
	static const UChar replacement = 0xfffd;

	if (reason > UCNV_IRREGULAR)
		return;
	*status = U_ZERO_ERROR;
	ucnv_cbToUWriteUChars(args, &replacement, 1, 0, status);
}

/* UTF-16 to UTF-8; a surrogate at the end waits in *HIGH for the next piece. */
static void
add_utf16(struct shelf_buf *out, const UChar *u, size_t count, uint32_t *high)
{
	for (size_t i = 0; i < count; i++) {
		uint32_t c = u[i];

		if (*high != 0 && c >= 0xdc00 && c <= 0xdfff) {
			shelf_utf8_add(out, 0x10000 + ((*high - 0xd800) << 10) + (c - 0xdc00));
			*high = 0;
			continue;
		}
		if (*high != 0)
			shelf_utf8_add(out, 0xfffd);
		*high = c >= 0xd800 && c <= 0xdbff ? c : 0;
		if (*high == 0)
			shelf_utf8_add(out, c >= 0xdc00 && c <= 0xdfff ? 0xfffd : c);
	}
}

static bool
icu_convert(const char *name, struct shelf_span text, struct shelf_buf *out)
{
	UErrorCode status = U_ZERO_ERROR;
	const char *from = (const char *)text.data, *end = from + text.len;
	UConverter *converter = ucnv_open(name, &status);
	uint32_t high = 0;

	if (U_SUCCESS(status))
		ucnv_setToUCallBack(converter, substitute, NULL, NULL, NULL, &status);
	if (U_FAILURE(status)) {
		ucnv_close(converter);
		return false;
	}
	do {
		UChar chunk[CHUNK], *to = chunk;

		status = U_ZERO_ERROR;
		ucnv_toUnicode(converter, &to, chunk + CHUNK, &from, end, NULL, true, &status);
		add_utf16(out, chunk, (size_t)(to - chunk), &high);
	} while (status == U_BUFFER_OVERFLOW_ERROR);
	if (high != 0 || U_FAILURE(status))
		shelf_utf8_add(out, 0xfffd);
	ucnv_close(converter);
	return true;
}

void
mime_charset_utf8(struct shelf_span charset, struct shelf_span text, struct shelf_buf *out)
{
	char icu_name[NAME_MAX_LEN + 1];
	enum charset kind = find_charset(charset, icu_name);

	if (text.len == 0)
		return;
	if (kind == CHARSET_UTF8)
		utf8_clean(text, out);
	else if (kind != CHARSET_ICU || !icu_convert(icu_name, text, out))
		ascii_clean(text, out);
}
