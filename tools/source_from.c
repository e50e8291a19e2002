/*
 * source_from.c - is this line the separator of an mbox?
 *
 * "From " at the start of a line is also how sentences begin, so a separator must carry a date:
 *   From joe@example.org Mon Jan  2 15:04:05 2006
 *   From joe@example.org Mon Jan  2 15:04:05 CET 2006
 *   From joe@example.org Mon Jan  2 15:04:05 2006 +0100
 *   From joe@example.org Mon, 2 Jan 2006 15:04:05 +0100
 * The sender may hold blanks or be missing. What follows the date is of no concern.
 *
 * Some programs write no date: "From -", "From 1234@xxx". Such a line is one only in a file that
 * begins with its like (source_from_bare; source_mbox.c asks for more).
 */
#include <mailshelf/mem.h>

#include "source.h"

enum { TOKENS_MAX = 40, LINE_MAX_BYTES = 1024 };

struct date {
	int year, month, day, hour, minute, second, zone_min;
};

static int
name_index(struct shelf_span token, const char *names, int n)
{
	if (token.len != 3)
		return -1;
	for (int i = 0; i < n; i++) {
		if (shelf_span_ieq(token, shelf_span(names + i * 3, 3)))
			return i;
	}
	return -1;
}

static int
month_of(struct shelf_span token)
{
	return name_index(token, "JanFebMarAprMayJunJulAugSepOctNovDec", 12) + 1;
}

static bool
is_weekday(struct shelf_span token)
{
	if (token.len == 4 && token.data[3] == ',')
		token.len = 3;
	return name_index(token, "MonTueWedThuFriSatSun", 7) >= 0;
}

static bool
number(struct shelf_span token, uint64_t min, uint64_t max, int *out)
{
	uint64_t v;

	if (!shelf_span_u64(token, max, &v) || v < min)
		return false;
	*out = (int)v;
	return true;
}

/* hh:mm or hh:mm:ss */
static bool
time_of(struct shelf_span t, struct date *d)
{
	ptrdiff_t c1 = shelf_span_find(t, ':', 0), c2;

	if (c1 < 1)
		return false;
	c2 = shelf_span_find(t, ':', (size_t)c1 + 1);
	if (c2 < 0)
		c2 = (ptrdiff_t)t.len;
	d->second = 0;
	return number(shelf_span(t.data, (size_t)c1), 0, 23, &d->hour) &&
	    number(shelf_span(t.data + c1 + 1, (size_t)(c2 - c1 - 1)), 0, 59, &d->minute) &&
	    ((size_t)c2 == t.len ||
	     number(shelf_span(t.data + c2 + 1, t.len - (size_t)c2 - 1), 0, 60, &d->second));
}

/* +0100, or a name; a name nobody knows is UTC. */
static void
zone_of(struct shelf_span t, struct date *d)
{
	static const struct {
		const char *name;
		int hours;
	} zones[] = {{"EST", -5}, {"EDT", -4}, {"CST", -6}, {"CDT", -5}, {"MST", -7}, {"MDT", -6},
	    {"PST", -8}, {"PDT", -7}, {"CET", 1}, {"MET", 1}, {"CEST", 2}, {"MEST", 2}, {"BST", 1}};
	int hhmm;

	if (t.len == 5 && (t.data[0] == '+' || t.data[0] == '-') &&
	    number(shelf_span(t.data + 1, 4), 0, 1400, &hhmm) && hhmm % 100 < 60) {
		d->zone_min = (hhmm / 100 * 60 + hhmm % 100) * (t.data[0] == '-' ? -1 : 1);
		return;
	}
	for (size_t i = 0; i < sizeof zones / sizeof *zones; i++) {
		if (shelf_span_is(t, zones[i].name))
			d->zone_min = zones[i].hours * 60;
	}
}

/* Weekday at token I, then the order of asctime(3). */
static bool
asctime_date(const struct shelf_span *tok, size_t n, size_t i, struct date *d)
{
	size_t year = i + 4;

	if (i + 4 >= n || (d->month = month_of(tok[i + 1])) == 0 || !number(tok[i + 2], 1, 31, &d->day) ||
	    !time_of(tok[i + 3], d))
		return false;
	/* Up to two words of a zone before the year. */
	while (year < n && year < i + 7 && !(tok[year].len == 4 && number(tok[year], 1900, 9999, &d->year)))
		zone_of(tok[year++], d);
	if (year >= n || year >= i + 7)
		return false;
	if (year + 1 < n)
		zone_of(tok[year + 1], d);
	return true;
}

/* Weekday at token I, then day, month, year, time, zone. */
static bool
rfc5322_date(const struct shelf_span *tok, size_t n, size_t i, struct date *d)
{
	if (i + 4 >= n || !number(tok[i + 1], 1, 31, &d->day) || (d->month = month_of(tok[i + 2])) == 0 ||
	    !number(tok[i + 3], 1900, 9999, &d->year) || !time_of(tok[i + 4], d))
		return false;
	if (i + 5 < n)
		zone_of(tok[i + 5], d);
	return true;
}

static size_t
tokens_of(struct shelf_span line, struct shelf_span *tok)
{
	size_t n = 0, at = 0;

	while (at < line.len && n < TOKENS_MAX) {
		size_t from;

		while (at < line.len && (line.data[at] == ' ' || line.data[at] == '\t'))
			at++;
		from = at;
		while (at < line.len && line.data[at] != ' ' && line.data[at] != '\t')
			at++;
		if (at > from)
			tok[n++] = shelf_span(line.data + from, at - from);
	}
	return n;
}

static bool
is_git_hash(struct shelf_span t)
{
	if (t.len != 40)
		return false;
	for (size_t i = 0; i < t.len; i++) {
		if (strchr("0123456789abcdef", t.data[i]) == NULL || t.data[i] == '\0')
			return false;
	}
	return true;
}

bool
source_from_line(struct shelf_span line, int64_t *date_s_out, int16_t *zone_min_out)
{
	struct shelf_span tok[TOKENS_MAX];
	struct date d = {0};
	bool found = false;
	size_t n;
	int64_t s;

	if (line.len < 5 || line.len > LINE_MAX_BYTES || memcmp(line.data, "From ", 5) != 0)
		return false;
	n = tokens_of(shelf_span(line.data + 5, line.len - 5), tok);
	for (size_t i = 0; i < n && !found; i++) {
		d = (struct date){0};
		found = is_weekday(tok[i]) &&
		    (asctime_date(tok, n, i, &d) || rfc5322_date(tok, n, i, &d));
	}
	if (!found)
		return false;
	s = shelf_days_from_civil(d.year, (unsigned)d.month, (unsigned)d.day) * 86400 + d.hour * 3600 +
	    d.minute * 60 + d.second - d.zone_min * 60;
	/* Dates before mail went this way, in the future, or the one constant git format-patch writes. */
	if (s < 315532800 || s > shelf_now_s() + 2 * 86400 || (is_git_hash(tok[0]) && s == 1000684800))
		s = INT64_MIN;
	*date_s_out = s;
	*zone_min_out = (int16_t)d.zone_min;
	return true;
}

bool
source_from_bare(struct shelf_span line)
{
	struct shelf_span tok[TOKENS_MAX];

	if (line.len < 5 || line.len > LINE_MAX_BYTES || memcmp(line.data, "From ", 5) != 0 ||
	    tokens_of(shelf_span(line.data + 5, line.len - 5), tok) != 1)
		return false;
	return (tok[0].len == 1 && tok[0].data[0] == '-') || shelf_span_find(tok[0], '@', 1) > 0;
}
