/*
 * mta_socketmap.c - a table asked in netstrings, "LENGTH:NAME KEY," (socketmap_table(5))
 *
 * What must stay true: a request is looked at only when all of it is there; a length that is none, or above the
 * limit, ends the connection before its bytes are waited for.
 */
#include "mta.h"

int
mta_socketmap_cut(struct shelf_span in, size_t *used, struct shelf_span *request)
{
	size_t at = 0, len = 0;

	while (at < in.len && in.data[at] >= '0' && in.data[at] <= '9') {
		/* "007" is no length, and neither is what could not be held. */
		if ((at > 0 && len == 0) || (len = len * 10 + (in.data[at] - '0')) > MTA_LINE_MAX_BYTES)
			return SHELF_ESYNTAX;
		at++;
	}
	if (at == in.len)
		return 0;
	if (at == 0 || in.data[at] != ':')
		return SHELF_ESYNTAX;
	at++;
	if (in.len - at <= len)
		return 0;
	if (in.data[at + len] != ',')
		return SHELF_ESYNTAX;
	*request = shelf_span(in.data + at, len);
	*used = at + len + 1;
	return 1;
}

const char *
mta_socketmap_answer(const struct mta_server *server, struct shelf_span request)
{
	ptrdiff_t blank = shelf_span_find(request, ' ', 0);
	struct shelf_span name = shelf_span(request.data, blank < 0 ? request.len : (size_t)blank), key;
	bool domains = shelf_span_eq(name, shelf_span_str("domains"));

	if (blank < 0)
		return "PERM a name and a key are wanted";
	if (!domains && !shelf_span_eq(name, shelf_span_str("recipients")))
		return "PERM the tables are recipients and domains";
	key = shelf_span(request.data + blank + 1, request.len - (size_t)blank - 1);
	if (domains == (shelf_span_find(key, '@', 0) >= 0) || shelf_span_find(key, '\0', 0) >= 0)
		return "NOTFOUND ";
	switch (mta_lookup(server, key)[0]) {
	case '2':
		return "OK known";
	case '5':
		return "NOTFOUND ";
	default:
		return "TEMP the store cannot be read now";
	}
}
