/* date.h - a time as mail writes it */
#ifndef MAILSHELF_DATE_H
#define MAILSHELF_DATE_H

#include <stdint.h>

/* "Tue, 1 Dec 2026 10:00:00 +0000" (RFC 5322 3.3), into BUF of SHELF_MAIL_DATE_BYTES, which is returned. */
enum { SHELF_MAIL_DATE_BYTES = 64 };
const char *shelf_mail_date(int64_t s, char *buf);

#endif
