/*
 * conf_help.c - the rows of conf.def for who reads --help or the manual page
 */
#include <inttypes.h>
#include <string.h>

#include <mailshelf/mailshelf.h>

#include "conf_args.h"

enum { HELP_COLUMN = 30 };

/* "--line-max-bytes" into NAME of 64 bytes, and what stands behind the text: " (65536 bytes; 1024..1048576)". */
static void
describe(const struct conf_row *row, char *name, char *more, size_t more_len)
{
	size_t n = (size_t)snprintf(name, 64, "--%s", row->name);

	for (size_t i = 2; i < n; i++)
		name[i] = name[i] == '_' ? '-' : name[i];
	*more = '\0';
	switch (row->kind) {
	case CONF_KIND_TEXT:
		if (row->text_default != NULL)
			snprintf(more, more_len, " (%s)", row->text_default);
		break;
	case CONF_KIND_BOOL:
		snprintf(more, more_len, " (%s)", row->num_default != 0 ? "yes" : "no");
		break;
	case CONF_KIND_NUM:
		snprintf(more, more_len, " (%" PRIu64 " %s; %" PRIu64 "..%" PRIu64 ")", row->num_default,
		    row->unit, row->min, row->max);
	}
}

static void
help_row(FILE *out, const struct conf_row *row)
{
	char name[64], more[128];

	describe(row, name, more, sizeof(more));
	fprintf(out, "  %-*s %s%s\n", HELP_COLUMN - 3, name, row->text, more);
}

static void
man_row(FILE *out, const struct conf_row *row)
{
	struct shelf_buf b = {0};
	char name[64], more[128];

	describe(row, name, more, sizeof(more));
	shelf_buf_add_str(&b, ".TP\n.B ");
	shelf_buf_add_roff(&b, shelf_span_str(name));
	shelf_buf_add_byte(&b, '\n');
	shelf_buf_add_roff(&b, shelf_span_str(row->text));
	shelf_buf_add_roff(&b, shelf_span_str(more));
	fprintf(out, "%s\n", shelf_buf_cstr(&b));
	shelf_buf_free(&b);
}

void
conf_args_help(FILE *out)
{
	size_t n;
	const struct conf_row *rows = conf_rows(&n);

	fprintf(out, "usage: mailshelfd -s STORE [-c FILE] [--SETTING VALUE]...\n"
	    "Serves the mail of a store over IMAP, POP3 and LMTP, in the foreground.\n\n"
	    "  %-*s directory of the store, the same as --store\n"
	    "  %-*s read settings from FILE first, `name = value` lines\n"
	    "  %-*s print this and exit\n"
	    "  %-*s print the version and exit\n\n"
	    "Settings, as options here and (with _ for -) in the file; defaults in parentheses:\n",
	    HELP_COLUMN - 3, "-s STORE", HELP_COLUMN - 3, "-c FILE", HELP_COLUMN - 3, "-h, --help",
	    HELP_COLUMN - 3, "-V, --version");
	for (size_t i = 0; i < n; i++)
		help_row(out, &rows[i]);
	fprintf(out, "\nAt least one of --imap, --imaps, --pop3, --pop3s, --lmtp, --mta must be set.\n"
	    "SIGHUP reads the file and the certificate again, for connections from then on (store, addresses,\n"
	    "pid_file, loops and workers need a restart); SIGUSR1 logs what kept the loops busy; SIGTERM stops.\n");
}

void
conf_args_man(FILE *out)
{
	size_t n;
	const struct conf_row *rows = conf_rows(&n);

	fputs(".TH MAILSHELFD 8 \"\" \"mailshelf " SHELF_VERSION "\" mailshelf\n"
	      ".SH NAME\nmailshelfd \\- serves the mail of a store over IMAP, POP3 and LMTP\n"
	      ".SH SYNOPSIS\n.B mailshelfd\n\\fB\\-s\\fR \\fISTORE\\fR\n[\\fB\\-c\\fR \\fIFILE\\fR]\n"
	      "[\\fB\\-\\-\\fISETTING VALUE\\fR].\\|.\\|.\n"
	      ".SH DESCRIPTION\nRuns in the foreground and logs to standard error; prints\n.B ready\n"
	      "to standard output when connections are taken. At least one address to listen on must be set.\n"
	      ".SH OPTIONS\n"
	      ".TP\n.BI \\-s \" STORE\"\nDirectory of the store, the same as\n.BR \\-\\-store .\n"
	      ".TP\n.BI \\-c \" FILE\"\nRead settings from FILE first: lines\n.IR \"name = value\" ,\n"
	      "names as below with _ for \\-.\n"
	      ".TP\n.BR \\-h \", \" \\-\\-help\nPrint the settings and exit.\n"
	      ".TP\n.BR \\-V \", \" \\-\\-version\nPrint the version and exit.\n"
	      ".TP\n.B \\-\\-man\nPrint this page and exit.\n"
	      ".SH SETTINGS\nDefaults and ranges stand in parentheses.\n",
	    out);
	for (size_t i = 0; i < n; i++)
		man_row(out, &rows[i]);
	fputs(".SH SIGNALS\n"
	      ".TP\n.B SIGHUP\nReads the file and the certificate again, for connections from then on.\n"
	      "Store, addresses, pid_file, loops and workers need a restart.\n"
	      ".TP\n.B SIGUSR1\nLogs what kept the loops busy.\n"
	      ".TP\n.BR SIGTERM \", \" SIGINT\nStops: running work ends and is answered.\n"
	      ".SH \"EXIT STATUS\"\n0, or a status of\n.IR sysexits.h .\n"
	      ".SH \"SEE ALSO\"\n.BR mailshelf (1)\n",
	    out);
}
