/*
 * test_conf.c - settings: defaults, one value, files with mistakes, the command line
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <mailshelf/mem.h>

#include "conf_args.h"

static char file[64];

static void
write_file(const char *text, size_t len)
{
	int fd;

	strcpy(file, "/tmp/mailshelf-conf-XXXXXX");
	fd = mkstemp(file);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, len), (ssize_t)len);
	close(fd);
}

START_TEST(defaults)
{
	struct conf *conf = conf_new();

	ck_assert_ptr_null(conf->store);
	ck_assert_str_eq(conf->log_level, "info");
	ck_assert(!conf->cleartext_login);
	ck_assert_uint_eq(conf->workers, 48);
	ck_assert_uint_eq(conf->message_max_bytes, 104857600);
	conf_finish(conf);
	ck_assert_ptr_nonnull(conf->hostname);
	ck_assert(conf_is_local_domain(conf, "LocalHost", 9));
	ck_assert(conf_is_local_domain(conf, conf->hostname, strlen(conf->hostname)));
	ck_assert(!conf_is_local_domain(conf, "localhos", 8));
	ck_assert(!conf_is_local_domain(conf, "", 0));
	conf_free(&conf);
	ck_assert_ptr_null(conf);
	conf_free(&conf);
}
END_TEST

static const struct {
	const char *name, *value;
	const char *error; /* what it must say; NULL: good */
} values[] = {
	{"store", "/srv/mail", NULL},
	{"store", "", NULL},
	{"tls_cert", "/a b/c=d", NULL},
	{"tls-cert", "x", NULL},
	{"workers", "1", NULL},
	{"workers", "1024", NULL},
	{"workers", "0", "1..1024 threads"},
	{"workers", "1025", "1..1024 threads"},
	{"workers", "", "1..1024 threads"},
	{"workers", "-1", "1..1024 threads"},
	{"workers", "+1", "1..1024 threads"},
	{"workers", " 1", "1..1024 threads"},
	{"workers", "1x", "1..1024 threads"},
	{"workers", "1K", "1..1024 threads"},
	{"workers", "18446744073709551616", "1..1024 threads"},
	/* What the store takes, blob.h: 1,000 frames of 256 KiB. */
	{"message_max_bytes", "250M", NULL},
	{"message_max_bytes", "262144001", "bytes"},
	{"message_max_bytes", "25M", NULL},
	{"message_max_bytes", "25X", "bytes"},
	{"message_max_bytes", "5G", "bytes"},
	{"cleartext_login", "yes", NULL},
	{"cleartext_login", "no", NULL},
	{"cleartext_login", "true", "yes or no"},
	{"cleartext_login", "", "yes or no"},
	{"log_level", "debug", NULL},
	{"log_level", "loud", "debug, info, warn or error"},
	{"hostname", "a\nb", "control character"},
	{"", "x", "unknown setting"},
	{"worker", "1", "unknown setting"},
	{"workerss", "1", "unknown setting"},
	{"tls cert", "x", "unknown setting"},
};

START_TEST(one_value)
{
	struct conf *conf = conf_new();
	char error[256] = "";
	bool ok = conf_set(conf, values[_i].name, values[_i].value, error, sizeof(error));

	ck_assert_msg(ok == (values[_i].error == NULL), "%s", error);
	if (!ok) {
		ck_assert_msg(strstr(error, values[_i].error) != NULL, "%s", error);
		ck_assert_msg(strncmp(error, values[_i].name, strlen(values[_i].name)) == 0, "%s", error);
	}
	conf_free(&conf);
}
END_TEST

START_TEST(values_arrive)
{
	struct conf *conf = conf_new();
	char error[256];

	ck_assert(conf_set(conf, "message-max-bytes", "1.5K", error, sizeof(error)));
	ck_assert_uint_eq(conf->message_max_bytes, 1536);
	ck_assert(conf_set(conf, "store", "/one", error, sizeof(error)));
	ck_assert(conf_set(conf, "store", "/two", error, sizeof(error)));
	ck_assert_str_eq(conf->store, "/two");
	ck_assert(conf_set(conf, "store", "", error, sizeof(error)));
	ck_assert_ptr_null(conf->store);
	ck_assert(conf_set(conf, "cleartext_login", "yes", error, sizeof(error)));
	ck_assert(conf->cleartext_login);
	conf_free(&conf);
}
END_TEST

#define F(text) text, sizeof(text) - 1

static const struct {
	const char *text;
	size_t len;
	const char *error; /* behind the file's name; NULL: good */
} files[] = {
	{F(""), NULL},
	{F("# nothing\n\n   \t\n"), NULL},
	{F("store = /srv/mail\nimap=127.0.0.1:143\n  workers\t=\t7  \r\n"), NULL},
	{F("store = /srv/mail"), NULL},
	{F("store = /srv/mail\nnonsense\n"), ":2: `name = value` expected"},
	{F("\n\nstor = x\n"), ":3: stor: unknown setting"},
	{F("workers = many"), ":1: workers: must be 1..1024 threads"},
	{F("workers = 1\n# again\nworkers = 2\n"), ":3: workers: set in line 1 already"},
	{F("log-level = info\nlog_level = info\n"), ":2: log_level: set in line 1 already"},
	{F("= x\n"), ":1: : unknown setting"},
	{F("workers = 1\0\nimap = x"), ": not a text file"},
	{F("hostname = a\x01" "b\n"), ":1: hostname: control character"},
};

START_TEST(whole_files)
{
	struct conf *conf = conf_new();
	char error[512] = "";
	bool ok;

	write_file(files[_i].text, files[_i].len);
	ok = conf_read(conf, file, error, sizeof(error));
	unlink(file);
	ck_assert_msg(ok == (files[_i].error == NULL), "%s", error);
	if (!ok) {
		ck_assert_int_eq(strncmp(error, file, strlen(file)), 0);
		ck_assert_msg(strncmp(error + strlen(file), files[_i].error, strlen(files[_i].error)) == 0,
		    "%s", error);
	}
	if (_i == 2) {
		ck_assert_str_eq(conf->store, "/srv/mail");
		ck_assert_str_eq(conf->imap, "127.0.0.1:143");
		ck_assert_uint_eq(conf->workers, 7);
	}
	conf_free(&conf);
}
END_TEST

START_TEST(files_that_cannot_be_read)
{
	struct conf *conf = conf_new();
	char error[512] = "", *big;

	ck_assert(!conf_read(conf, "/nonexistent/file", error, sizeof(error)));
	ck_assert_str_eq(error, "/nonexistent/file: No such file or directory");
	ck_assert(!conf_read(conf, "/tmp", error, sizeof(error)));
	ck_assert_str_eq(error, "/tmp: is a directory");
	ck_assert(!conf_read(conf, "/dev/zero", error, sizeof(error))); /* and does not read for ever */
	big = malloc(5001);
	memset(big, 'x', 5000);
	memcpy(big, "hostname = ", 11);
	write_file(big, 5000);
	ck_assert(!conf_read(conf, file, error, sizeof(error)));
	ck_assert_ptr_nonnull(strstr(error, ":1: hostname: longer than"));
	unlink(file);
	memset(big, 'x', 5000);
	write_file(big, 5000);
	ck_assert(!conf_read(conf, file, error, sizeof(error)));
	unlink(file);
	free(big);
	conf_free(&conf);
}
END_TEST

static const struct {
	const char *arg[6];
	const char *error;
} lines[] = {
	{{NULL}, NULL},
	{{"-s", "/srv/mail", "--imap", "*:143"}, NULL},
	{{"--store=/srv/mail", "--tls-cert=a=b"}, NULL},
	{{"--conns_max", "5"}, NULL},
	{{"-c", "/etc/file", "--help"}, NULL},
	{{"--version"}, NULL},
	{{"-s"}, "--store: a value is missing"},
	{{"--imap"}, "--imap: a value is missing"},
	{{"--imapx", "1"}, "--imapx: unknown option"},
	{{"-x"}, "-x: unknown option"},
	{{"store"}, "store: not an option"},
	{{"-"}, "-: not an option"},
	{{""}, ": not an option"},
	{{"--workers", "0"}, "workers: must be 1..1024 threads"},
	{{"--"}, "--: unknown option"},
};

/* Parsing writes into its arguments, so it gets copies. */
static int
copy_args(char **argv, const char *const *arg)
{
	int argc = 0;

	argv[argc++] = shelf_strdup("mailshelfd");
	for (int i = 0; i < 6 && arg[i] != NULL; i++)
		argv[argc++] = shelf_strdup(arg[i]);
	return argc;
}

START_TEST(command_lines)
{
	struct conf_args args;
	char *argv[7], error[256] = "";
	int argc = copy_args(argv, lines[_i].arg);
	bool ok = conf_args_parse(&args, argc, argv, error, sizeof(error));

	ck_assert_msg(ok == (lines[_i].error == NULL), "%s", error);
	if (!ok)
		ck_assert_str_eq(error, lines[_i].error);
	if (_i == 4)
		ck_assert(args.help && !args.version && strcmp(args.file, "/etc/file") == 0);
	if (_i == 5)
		ck_assert(args.version && !args.help);
	conf_args_free(&args);
	while (argc > 0)
		free(argv[--argc]);
}
END_TEST

START_TEST(options_override_the_file)
{
	static const char text[] = "workers = 3\nstore = /file\nhostname = file.example\n";
	const char *arg[] = {"--store", "/line", "--local-domains=a.example B.example", "-c", file, NULL};
	struct conf_args args;
	struct conf *conf, *again;
	char *argv[7], error[256] = "";
	const struct conf_row *rows;
	size_t n;
	int argc;

	write_file(text, strlen(text));
	argc = copy_args(argv, arg);
	ck_assert(conf_args_parse(&args, argc, argv, error, sizeof(error)));
	conf = conf_args_load(&args, error, sizeof(error));
	ck_assert_ptr_nonnull(conf);
	ck_assert_str_eq(conf->store, "/line");
	ck_assert_uint_eq(conf->workers, 3);
	ck_assert_str_eq(conf->hostname, "file.example");
	ck_assert(conf_is_local_domain(conf, "A.EXAMPLE", 9));
	ck_assert(conf_is_local_domain(conf, "b.example", 9));
	ck_assert(!conf_is_local_domain(conf, "file.example", 12));
	ck_assert(!conf_is_local_domain(conf, "a.example B.example", 19));
	unlink(file);
	ck_assert_ptr_null(conf_args_load(&args, error, sizeof(error))); /* the file is gone */
	args.file = NULL;
	again = conf_args_load(&args, error, sizeof(error));
	ck_assert(conf_same(conf, again, conf_find("store")));
	ck_assert(!conf_same(conf, again, conf_find("workers")));
	ck_assert(!conf_same(conf, again, conf_find("hostname")));
	ck_assert(conf_same(conf, again, conf_find("imap")));
	rows = conf_rows(&n);
	for (size_t i = 0; i < n; i++)
		ck_assert(conf_same(conf, conf, &rows[i]));
	conf_free(&conf);
	conf_free(&again);
	conf_args_free(&args);
	while (argc > 0)
		free(argv[--argc]);
}
END_TEST

START_TEST(help_names_every_setting)
{
	char *text = NULL;
	size_t len, n;
	FILE *out = open_memstream(&text, &len);
	const struct conf_row *rows = conf_rows(&n);

	conf_args_help(out);
	fclose(out);
	for (size_t i = 0; i < n; i++) {
		char name[64];

		snprintf(name, sizeof(name), "--%s ", rows[i].name);
		for (char *p = name + 2; *p != '\0'; p++)
			*p = *p == '_' ? '-' : *p;
		ck_assert_msg(strstr(text, name) != NULL, "%s", name);
	}
	free(text);
}
END_TEST

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

Suite *suite_conf(void);

Suite *
suite_conf(void)
{
	Suite *suite = suite_create("conf");
	TCase *tc = tcase_create("conf");

	tcase_add_test(tc, defaults);
	tcase_add_loop_test(tc, one_value, 0, COUNT(values));
	tcase_add_test(tc, values_arrive);
	tcase_add_loop_test(tc, whole_files, 0, COUNT(files));
	tcase_add_test(tc, files_that_cannot_be_read);
	tcase_add_loop_test(tc, command_lines, 0, COUNT(lines));
	tcase_add_test(tc, options_override_the_file);
	tcase_add_test(tc, help_names_every_setting);
	suite_add_tcase(suite, tc);
	return suite;
}
