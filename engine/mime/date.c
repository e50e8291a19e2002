/*
 * date.c - dates as found in mail (RFC 5322 3.3, 4.3) and the common mistakes
 *
 * The pieces are told apart by their looks, not by their order, so that the order of asctime(3), a
 * missing comma, weekday or zone, hyphens, "GMT+01:00" and ISO 8601 are read by the same few rules.
 * Without a time of day the date is midnight, without a zone UTC.
 */
#include <mailshelf/mem.h>

#include "mime_internal.h"

struct date {
	int year, month, day;       /* year -1, month 0, day 0: not seen */
	int hour, minute, second;   /* hour -1: not seen */
	int zone;                   /* minutes east of UTC */
	bool has_zone;
};

static const char months[] = "janfebmaraprmayjunjulaugsepoctnovdec";

static const struct {
	const char *name;
	int minutes;
} zones[] = {
	{"EST", -300}, {"EDT", -240}, {"CST", -360}, {"CDT", -300}, {"MST", -420}, {"MDT", -360},
	{"PST", -480}, {"PDT", -420}, {"BST", 60}, {"CET", 60}, {"CEST", 120}, {"MET", 60},
	{"MEST", 120}, {"EET", 120}, {"EEST", 180}, {"JST", 540},
};

static bool
is_digit(const struct mime_cursor *c, size_t ahead)
{
	return (size_t)(c->end - c->p) > ahead && c->p[ahead] >= '0' && c->p[ahead] <= '9';
}

static bool
at(const struct mime_cursor *c, uint8_t byte)
{
	return c->p < c->end && *c->p == byte;
}

/* Digits at the cursor; -1 when there are none. Long runs saturate, they fit nothing. */
static int
take_number(struct mime_cursor *c, int *digits)
{
	int v = 0, n = 0;

	for (; is_digit(c, 0); c->p++, n++)
		v = v > 100000 ? v : v * 10 + (*c->p - '0');
	if (digits != NULL)
		*digits = n;
	return n == 0 ? -1 : v;
}

/* Behind the hour's colon: minutes, seconds and a fraction. */
static bool
take_time(struct mime_cursor *c, struct date *d, int hour)
{
	if (d->hour >= 0)
		return false;
	d->hour = hour;
	d->minute = take_number(c, NULL);
	if (d->minute < 0)
		return false;
	if ((at(c, ':') || at(c, '.')) && is_digit(c, 1)) {
		c->p++;
		d->second = take_number(c, NULL);
		if ((at(c, '.') || at(c, ',')) && is_digit(c, 1)) {
			c->p++;
			take_number(c, NULL);
		}
	}
	return d->hour <= 23 && d->minute <= 59 && d->second <= 60;
}

/* At "+" or "-" behind a time: +hhmm, +hh:mm, +hh, +hmm. */
static bool
take_zone(struct mime_cursor *c, struct date *d)
{
	int sign = *c->p++ == '-' ? -1 : 1, digits, v = take_number(c, &digits), minutes;

	if (v < 0 || digits > 4)
		return false;
	if (digits <= 2) {
		v *= 100;
		if (at(c, ':') && is_digit(c, 1)) {
			c->p++;
			minutes = take_number(c, NULL);
			v += minutes > 99 ? 99 : minutes;
		}
	}
	d->zone = sign * (v / 100 * 60 + v % 100);
	d->has_zone = true;
	return true;
}

/* RFC 5322 4.3: two digits 00-49 are 20xx; two and three digits else are 19xx. */
static int
full_year(int year, int digits)
{
	if (digits == 2 && year < 50)
		return year + 2000;
	return digits == 2 || digits == 3 ? year + 1900 : year;
}

/* "2001-02-03" behind the year. */
static bool
take_iso(struct mime_cursor *c, struct date *d, int year)
{
	c->p++;
	d->year = year;
	d->month = take_number(c, NULL);
	if (!at(c, '-') || !is_digit(c, 1))
		return false;
	c->p++;
	d->day = take_number(c, NULL);
	if ((at(c, 'T') || at(c, 't')) && is_digit(c, 1))
		c->p++;
	return true;
}

static bool
take_digits(struct mime_cursor *c, struct date *d)
{
	int digits, v = take_number(c, &digits);

	if (digits <= 2 && at(c, ':') && is_digit(c, 1)) {
		c->p++;
		return take_time(c, d, v);
	}
	if (digits == 4 && at(c, '-') && is_digit(c, 1) && d->month == 0)
		return take_iso(c, d, v);
	if (digits <= 2 && at(c, '.') && is_digit(c, 1) && d->month != 0 && d->day != 0 &&
	    d->year >= 0) {
		c->p++;
		return take_time(c, d, v);
	}
	if (d->day == 0 && digits <= 2)
		d->day = v;
	else if (d->year < 0 && digits >= 2 && digits <= 4)
		d->year = full_year(v, digits);
	else if (d->year < 0 || d->day == 0)
		return false;
	return true;
}

static int
month_of(struct shelf_span word)
{
	for (int m = 0; word.len >= 3 && m < 12; m++)
		if (shelf_span_ieq(shelf_span(word.data, 3), shelf_span(months + 3 * m, 3)))
			return m + 1;
	return 0;
}

static void
take_letters(struct mime_cursor *c, struct date *d)
{
	struct shelf_span word = shelf_span(c->p, 0);

	while (c->p < c->end && ((*c->p | 0x20) >= 'a' && (*c->p | 0x20) <= 'z'))
		c->p++;
	word.len = (size_t)(c->p - word.data);
	if (d->hour >= 0 && (shelf_span_is(word, "PM") || shelf_span_is(word, "AM"))) {
		if (d->hour <= 12)
			d->hour = d->hour % 12 + ((*word.data | 0x20) == 'p' ? 12 : 0);
		return;
	}
	for (size_t i = 0; d->hour >= 0 && !d->has_zone && i < sizeof(zones) / sizeof(zones[0]); i++)
		if (shelf_span_is(word, zones[i].name)) {
			d->zone = zones[i].minutes;
			d->has_zone = true;
			return;
		}
	if (d->month == 0)
		d->month = month_of(word);
	/* Weekdays, GMT, military letters (as good as -0000, RFC 5322 4.3) and the rest say
	 * nothing. */
}

/* What follows a complete date, often a second one, is nobody's. */
static bool
complete(const struct date *d)
{
	return d->year >= 0 && d->month > 0 && d->day > 0 && d->hour >= 0 && d->has_zone;
}

static bool
finish(const struct date *d, int64_t *utc_s, int16_t *zone_min)
{
	static const uint8_t lengths[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = d->year % 4 == 0 && (d->year % 100 != 0 || d->year % 400 == 0);
	int64_t days;

	if (d->year < 0 || d->month < 1 || d->month > 12 || d->day < 1 ||
	    d->day > lengths[d->month - 1] || (d->month == 2 && d->day == 29 && !leap))
		return false;
	days = shelf_days_from_civil(d->year, (unsigned)d->month, (unsigned)d->day);
	*utc_s = days * 86400 - (int64_t)d->zone * 60;
	if (d->hour >= 0)
		*utc_s += d->hour * 3600 + d->minute * 60 + d->second;
	*zone_min = (int16_t)d->zone;
	return true;
}

bool
mime_date(struct shelf_span value, int64_t *utc_s, int16_t *zone_min)
{
	struct mime_cursor c = mime_cursor(value);
	struct date d = {.year = -1, .hour = -1};

	for (mime_skip_cfws(&c); c.p < c.end && !complete(&d); mime_skip_cfws(&c)) {
		if (is_digit(&c, 0)) {
			if (!take_digits(&c, &d))
				return false;
		} else if ((*c.p | 0x20) >= 'a' && (*c.p | 0x20) <= 'z') {
			take_letters(&c, &d);
		} else if ((*c.p == '+' || *c.p == '-') && d.hour >= 0 && !d.has_zone && is_digit(&c, 1)) {
			if (!take_zone(&c, &d))
				return false;
		} else {
			c.p++;
		}
	}
	return finish(&d, utc_s, zone_min);
}
