/*
 * fuzz_conf.c - configuration files from anywhere
 *
 * Properties: a file that is refused names itself and a line; one that is taken keeps every number within the limits
 * of its row and every text without controls, and written out again it says the same.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <mailshelf/buf.h>

#include "conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool cond)
{
	if (!cond)
		abort();
}

static bool
read_bytes(const void *data, size_t size, struct conf *conf, char error[512])
{
	char path[64];
	int fd = memfd_create("conf", 0);
	bool ok;

	must(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	ok = conf_read(conf, path, error, 512);
	close(fd);
	must(ok || strncmp(error, path, strlen(path)) == 0);
	return ok;
}

static void
add_row(const struct conf *conf, const struct conf_row *row, struct shelf_buf *out)
{
	const void *at = (const char *)conf + row->offset;

	shelf_buf_printf(out, "%s = ", row->name);
	if (row->kind == CONF_KIND_NUM) {
		uint64_t n = *(const uint64_t *)at;

		must(n >= row->min && n <= row->max);
		shelf_buf_printf(out, "%" PRIu64, n);
	} else if (row->kind == CONF_KIND_BOOL) {
		shelf_buf_add_str(out, *(const bool *)at ? "yes" : "no");
	} else if (*(char *const *)at != NULL) {
		for (const char *c = *(char *const *)at; *c != '\0'; c++)
			must((unsigned char)*c >= ' ' && *c != 0x7f);
		shelf_buf_add_str(out, *(char *const *)at);
	}
	shelf_buf_add_byte(out, '\n');
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf *conf = conf_new(), *again = conf_new();
	struct shelf_buf text = {0};
	const struct conf_row *rows;
	char error[512] = "";
	size_t n;

	rows = conf_rows(&n);
	if (read_bytes(data, size, conf, error)) {
		for (size_t i = 0; i < n; i++)
			add_row(conf, &rows[i], &text);
		must(read_bytes(text.data, text.len, again, error));
		for (size_t i = 0; i < n; i++)
			must(conf_same(conf, again, &rows[i]));
	}
	shelf_buf_free(&text);
	conf_free(&conf);
	conf_free(&again);
	return 0;
}
