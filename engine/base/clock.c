/* clock.c - time of day, time that never goes back, calendar days */
#include <stdio.h>
#include <time.h>

#include <mailshelf/date.h>
#include <mailshelf/mem.h>

int64_t
shelf_now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t
shelf_now_s(void)
{
	return shelf_now_us() / 1000000;
}

int64_t
shelf_mono_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t
shelf_mono_ms(void)
{
	return shelf_mono_us() / 1000;
}

/* The year is taken to begin in March, so that a leap day is its last day; 400 years are an era. */
int64_t
shelf_days_from_civil(int year, unsigned month, unsigned day)
{
	int64_t y = (int64_t)year - (month <= 2);
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t year_of_era = y - era * 400;
	int64_t day_of_year = (153 * ((int64_t)month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

	return era * 146097 + day_of_era - 719468;
}

void
shelf_civil_from_days(int64_t days, int *year, unsigned *month, unsigned *day)
{
	int64_t shifted = days + 719468;
	int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
	int64_t doe = shifted - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	int64_t mp = (5 * doy + 2) / 153;

	*day = (unsigned)(doy - (153 * mp + 2) / 5 + 1);
	*month = (unsigned)(mp < 10 ? mp + 3 : mp - 9);
	*year = (int)(yoe + era * 400 + (*month <= 2));
}

const char *
shelf_mail_date(int64_t s, char *buf)
{
	static const char days[] = "ThuFriSatSunMonTueWed"; /* 1970-01-01 was a Thursday */
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	int64_t day_number = s / 86400, rest = s % 86400;
	unsigned month, day;
	int year;

	shelf_civil_from_days(day_number, &year, &month, &day);
	snprintf(buf, SHELF_MAIL_DATE_BYTES, "%.3s, %u %.3s %d %02u:%02u:%02u +0000", days + 3 * (day_number % 7), day,
		 months + 3 * (month - 1), year, (unsigned)(rest / 3600), (unsigned)(rest / 60 % 60),
		 (unsigned)(rest % 60));
	return buf;
}
