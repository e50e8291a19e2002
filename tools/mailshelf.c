/*
 * mailshelf.c - the administrator's program: finds the verb in tools.def and runs it
 *
 * The store is closed in one place, here, whatever the verb did; output that could not be written
 * makes a success a failure.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "tools.h"

static const struct tool_verb verbs[] = {
#define TOOL(name, fn, usage, text, options) {name, tool_##fn, usage, text, options},
#include "tools.def"
#undef TOOL
};
enum { VERBS = sizeof verbs / sizeof *verbs };

/* The row of argv[0] or "argv[0] argv[1]"; *USED_OUT words name it. */
static const struct tool_verb *
find_verb(int argc, char **argv, int *used_out)
{
	for (size_t i = 0; i < VERBS; i++) {
		const char *blank = strchr(verbs[i].name, ' ');
		size_t len = blank == NULL ? strlen(verbs[i].name) : (size_t)(blank - verbs[i].name);

		if (argc < 1 || strlen(argv[0]) != len || memcmp(argv[0], verbs[i].name, len) != 0)
			continue;
		if (blank == NULL || (argc > 1 && strcmp(argv[1], blank + 1) == 0)) {
			*used_out = blank == NULL ? 1 : 2;
			return &verbs[i];
		}
	}
	return NULL;
}

static void
print_list(FILE *to, const char *group)
{
	size_t len = group == NULL ? 0 : strlen(group);

	for (size_t i = 0; i < VERBS; i++) {
		const char *name = verbs[i].name;

		if (group == NULL || (strncmp(name, group, len) == 0 && name[len] == ' '))
			fprintf(to, "  %-16s %s\n", name, verbs[i].text);
	}
}

static void
print_help(FILE *to)
{
	fputs("usage: mailshelf [-s STORE] VERB ...\n\n"
	      "Verbs (mailshelf VERB --help tells more):\n", to);
	print_list(to, NULL);
	fputs("\nSTORE is the store's directory; default: the environment's MAILSHELF_STORE.\n"
	      "--json prints facts as JSON. Exit status: 0, or as in sysexits.h. All verbs work while\n"
	      "mailshelfd runs on the same store.\n", to);
}

static void
print_verb(const struct tool_verb *v)
{
	printf("mailshelf %s: %s\n\nusage: mailshelf [-s STORE] %s %s\n", v->name, v->text, v->name,
	    v->usage);
	if (*v->options != '\0')
		printf("\n%s", v->options);
}

int
tool_help(struct tool *t)
{
	bool man = false, words = false;
	const struct tool_option options[] = {{"man", TOOL_FLAG, &man}, {"words", TOOL_FLAG, &words}, {0}};
	const struct tool_verb *v;
	int used, rc = tool_args(t, options, 0, 2);

	if (rc != 0)
		return rc;
	if (words)
		tool_man_words(verbs, VERBS);
	else if (t->argc == 0 && man)
		tool_man_all(verbs, VERBS);
	else if (t->argc == 0)
		print_help(stdout);
	if (words || t->argc == 0)
		return EX_OK;
	v = find_verb(t->argc, t->argv, &used);
	if (v == NULL || used != t->argc)
		return tool_usage(t, "%s: unknown verb", t->argv[t->argc - 1]);
	if (man)
		tool_man_verb(v);
	else
		print_verb(v);
	return EX_OK;
}

int
tool_version(struct tool *t)
{
	struct shelf_buf b = {0};
	int rc = tool_args(t, NULL, 0, 0);

	if (rc != 0)
		return rc;
	if (!t->json) {
		tool_print("mailshelf %s", SHELF_VERSION);
		return EX_OK;
	}
	shelf_buf_add_byte(&b, '{');
	tool_json_str(&b, "version", shelf_span_str(SHELF_VERSION));
	shelf_buf_add_byte(&b, '}');
	tool_print_buf(&b);
	return EX_OK;
}

static int
unknown_verb(char **argv, int argc)
{
	struct tool t = {0};
	bool group = false;

	for (size_t i = 0; i < VERBS && argc > 0; i++) {
		size_t len = strlen(argv[0]);

		group = group || (strncmp(verbs[i].name, argv[0], len) == 0 && verbs[i].name[len] == ' ');
	}
	if (argc == 0) {
		print_help(stderr);
	} else if (group) {
		tool_say(&t, "%s: one of these is missing:", argv[0]);
		print_list(stderr, argv[0]);
	} else {
		tool_say(&t, "%s: unknown verb (mailshelf help lists them)", argv[0]);
	}
	return EX_USAGE;
}

static bool
wants_help(int argc, char **argv)
{
	for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (strcmp(argv[i], "--help") == 0)
			return true;
	}
	return false;
}

static int
run(struct tool *t, int argc, char **argv)
{
	static char version[] = "version", help[] = "help";
	struct shelf_buf audit = {0};
	int used = 0, rc;

	while (argc > 0 && argv[0][0] == '-') {
		if (argc > 1 && (strcmp(argv[0], "-s") == 0 || strcmp(argv[0], "--store") == 0)) {
			t->store_dir = argv[1];
			argc--, argv++;
		} else if (strncmp(argv[0], "--store=", 8) == 0) {
			t->store_dir = argv[0] + 8;
		} else if (strcmp(argv[0], "--json") == 0) {
			t->json = true;
		} else if (strcmp(argv[0], "--version") == 0) {
			argv[0] = version;
			break;
		} else if (strcmp(argv[0], "--help") == 0) {
			argv[0] = help;
			break;
		} else {
			tool_say(t, "%s: unknown option, or its value is missing", argv[0]);
			return EX_USAGE;
		}
		argc--, argv++;
	}
	t->verb = find_verb(argc, argv, &used);
	if (t->verb == NULL)
		return unknown_verb(argv, argc);
	t->argc = argc - used;
	t->argv = argv + used;
	if (wants_help(t->argc, t->argv)) {
		print_verb(t->verb);
		return EX_OK;
	}
	tool_audit_begin(t, &audit);
	rc = t->verb->run(t);
	tool_audit_end(t, &audit, rc);
	return rc;
}

int
main(int argc, char **argv)
{
	struct tool t = {.store_dir = getenv("MAILSHELF_STORE")};
	int rc;

	/* A reader of our output that goes away is a write error, not a death in the middle of work. */
	signal(SIGPIPE, SIG_IGN);
	shelf_log_level(SHELF_LOG_WARN);
	rc = run(&t, argc - 1, argv + 1);
	shelf_store_close(&t.store);
	if (fflush(stdout) != 0 && rc == EX_OK) {
		tool_say(&t, "standard output: cannot be written");
		rc = EX_IOERR;
	}
	return rc;
}
