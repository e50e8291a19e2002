/* mem.c - allocation that aborts instead of failing; asserts; random bytes */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include <mailshelf/mem.h>

static void *
must(void *p)
{
	if (p == NULL) {
		fputs("mailshelf: out of memory\n", stderr);
		abort();
	}
	return p;
}

void *
shelf_alloc(size_t len)
{
	return must(malloc(len == 0 ? 1 : len));
}

void *
shelf_zalloc(size_t len)
{
	return must(calloc(1, len == 0 ? 1 : len));
}

void *
shelf_alloc_try(size_t len)
{
	return malloc(len == 0 ? 1 : len);
}

void *
shelf_realloc(void *p, size_t len)
{
	return must(realloc(p, len == 0 ? 1 : len));
}

char *
shelf_strdup(const char *s)
{
	return shelf_strndup(s, strlen(s));
}

char *
shelf_strndup(const void *s, size_t len)
{
	char *p = shelf_alloc(len + 1);

	memcpy(p, s, len);
	p[len] = '\0';
	return p;
}

void
shelf_assert_failed(const char *cond, const char *file, int line)
{
	fprintf(stderr, "mailshelf: %s:%d: assertion failed: %s\n", file, line, cond);
	abort();
}

void
shelf_random(void *out, size_t len)
{
	uint8_t *p = out;

	while (len > 0) {
		ssize_t n = getrandom(p, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			fputs("mailshelf: no random bytes\n", stderr);
			abort();
		}
		p += n;
		len -= (size_t)n;
	}
}
