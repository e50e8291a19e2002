/*
 * tool_man.c - manual pages and words for a shell, from the rows of tools.def
 *
 * The options of a row are lines for a terminal: "  --name VALUE  text", more of it indented deeper; a line without
 * two blanks behind its first words is a paragraph of its own. They become tagged paragraphs of man(7) here.
 */
#include <string.h>

#include "tools.h"

#define STORE_OPTION "[\\fB\\-s\\fR \\fISTORE\\fR]\n"

enum { INDENT = 2 };

static void
put(const char *text, size_t len)
{
	struct shelf_buf b = {0};

	shelf_buf_add_roff(&b, shelf_span(text, len));
	fputs(shelf_buf_cstr(&b), stdout);
	shelf_buf_free(&b);
}

static void
put_line(const char *text)
{
	put(text, strlen(text));
	putchar('\n');
}

static void
put_title(const char *name, const char *text)
{
	fputs(".TH \"MAILSHELF", stdout);
	for (const char *p = name; *p != '\0'; p++)
		putchar(*p == ' ' ? '-' : *p >= 'a' && *p <= 'z' ? *p - 'a' + 'A' : *p);
	printf("\" 1 \"\" \"mailshelf %s\" \"mailshelf\"\n.SH NAME\nmailshelf", SHELF_VERSION);
	for (const char *p = name; *p != '\0'; p++)
		put(*p == ' ' ? "-" : p, 1);
	fputs(" \\- ", stdout);
	put_line(text);
}

/* Where the text behind a tag begins, or NULL when LINE is a paragraph. */
static const char *
text_of(const char *line, size_t len)
{
	for (size_t i = INDENT; i + 2 < len; i++) {
		if (line[i] == ' ' && line[i + 1] == ' ') {
			while (i < len && line[i] == ' ')
				i++;
			return line + i;
		}
	}
	return NULL;
}

static void
put_option_line(const char *line, size_t len, bool *tagged)
{
	const char *end = line + len, *text;
	size_t indent = strspn(line, " ");

	if (indent > INDENT && indent < len) {
		put(line + indent, len - indent);
	} else if ((text = text_of(line, len)) != NULL || line[indent] == '-') {
		const char *tag_end = text == NULL ? end : text;

		while (tag_end > line && tag_end[-1] == ' ')
			tag_end--;
		fputs(".TP\n.B ", stdout);
		put(line + indent, (size_t)(tag_end - line) - indent);
		putchar('\n');
		if (text != NULL)
			put(text, (size_t)(end - text));
		*tagged = true;
		if (text == NULL)
			return;
	} else {
		if (*tagged)
			fputs(".PP\n", stdout);
		*tagged = false;
		put(line + indent, len - indent);
	}
	putchar('\n');
}

static void
put_options(const char *options)
{
	bool tagged = true;

	if (*options == '\0')
		return;
	fputs(".SH DESCRIPTION\n", stdout);
	for (const char *line = options; *line != '\0';) {
		size_t len = strcspn(line, "\n");

		put_option_line(line, len, &tagged);
		line += len + (line[len] == '\n');
	}
}

static void
put_common(void)
{
	fputs(".SH \"OPTIONS OF ALL VERBS\"\n"
	      ".TP\n.BI \\-s \" STORE\"\nThe store's directory. Default: the environment's\n.BR MAILSHELF_STORE .\n"
	      ".TP\n.B \\-\\-json\nPrint facts as JSON.\n"
	      ".TP\n.B \\-\\-help\nPrint how the verb is used.\n"
	      ".SH \"EXIT STATUS\"\n0, or a status of\n.IR sysexits.h :\n"
	      "64 wrong usage, 65 bad data, 66 a file is missing, 67 no such account, 69 not available, 73 cannot be "
	      "created or no room, 74 input or output failed, 75 try again later, 77 not permitted.\n",
	    stdout);
}

/* Lines of a usage that end with "|" are forms of their own. */
static void
put_synopsis(const struct tool_verb *v)
{
	bool new_form = true;

	for (const char *line = v->usage;; line++) {
		size_t len;

		line += strspn(line, " ");
		len = strcspn(line, "\n");
		if (new_form) {
			fputs(line == v->usage ? "" : ".br\n", stdout);
			fputs(".B mailshelf\n" STORE_OPTION ".B ", stdout);
			put_line(v->name);
		}
		new_form = len > 0 && line[len - 1] == '|';
		put(line, new_form ? len - 1 : len);
		putchar('\n');
		line += len;
		if (*line == '\0')
			return;
	}
}

void
tool_man_verb(const struct tool_verb *v)
{
	char name[64];

	snprintf(name, sizeof(name), "-%s", v->name);
	put_title(name, v->text);
	fputs(".SH SYNOPSIS\n", stdout);
	put_synopsis(v);
	put_options(v->options);
	put_common();
	fputs(".SH \"SEE ALSO\"\n.BR mailshelf (1),\n.BR mailshelfd (8)\n", stdout);
}

void
tool_man_all(const struct tool_verb *verbs, size_t n)
{
	put_title("", "administers a mail store");
	fputs(".SH SYNOPSIS\n.B mailshelf\n" STORE_OPTION ".I VERB\n.RI [ ARGUMENT .\\|.\\|.]\n"
	      ".SH DESCRIPTION\nAll verbs work while\n.BR mailshelfd (8)\n"
	      "runs on the same store. Each has a page of its own:\n.BR mailshelf\\-account\\-add (1)\nand so on.\n"
	      ".SH VERBS\n",
	    stdout);
	for (size_t i = 0; i < n; i++) {
		fputs(".TP\n.B ", stdout);
		put_line(verbs[i].name);
		put_line(verbs[i].text);
	}
	put_common();
	fputs(".SH \"SEE ALSO\"\n.BR mailshelfd (8)\n", stdout);
}

/* "account add --quota= --batch": a line for each verb; an option that takes a value ends with "=". */
void
tool_man_words(const struct tool_verb *verbs, size_t n)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-";

	for (size_t i = 0; i < n; i++) {
		fputs(verbs[i].name, stdout);
		for (const char *p = strstr(verbs[i].usage, "--"); p != NULL; p = strstr(p, "--")) {
			size_t len = strspn(p, letters);

			printf(" %.*s%s", (int)len, p, p[len] == ' ' && p[len + 1] != '|' && p[len + 1] != '[' ?
			    "=" : "");
			p += len;
		}
		putchar('\n');
	}
}
