/*
 * load_session.c - one connection that does what stdin says, a JSON line of times for each line
 *
 *     open imap|pop3 PORT TLS              connects, reads the greeting
 *     cmd SECONDS COMMAND                  an IMAP command; the answer is read to its end and thrown away
 *     count SECONDS COMMAND                the same, lines and blanks are counted (costs time: short answers)
 *     each COUNT SEED HIGHEST COMMAND      COUNT commands, %u in them a number from 1 to HIGHEST: their times
 *     append MAILBOX FILE FIRST COUNT PER  COUNT messages, PER in a command (MULTIAPPEND), every other one \Seen
 *     pop SECONDS COMMAND                  a POP3 command with an answer of one line
 *     list SECONDS COMMAND                 and of many lines
 *     retr FIRST LAST                      RETR of each of these, one after the other
 *     close
 */
#include <stdlib.h>
#include <string.h>

#include "load.h"

struct session {
	struct load_conn c;
	struct load_answer a;
	uint64_t bytes;
	bool ok;
	double *ms; /* of each, when N is not 0 */
	unsigned n;
	struct load_mail mail; /* the last file that was asked for */
	char *mail_path;
};

static void
took(struct session *s, bool ok)
{
	s->ok = ok && s->a.good;
	s->bytes += s->a.bytes;
}

static void
imap(struct session *s, char *rest, bool count)
{
	char *command;

	load_timeout(&s->c, (unsigned)strtoul(rest, &command, 10));
	took(s, load_imap(&s->c, command + strspn(command, " "), count, &s->a));
}

static void
pop(struct session *s, const char *command, enum load_end end)
{
	struct shelf_buf out = {0};

	shelf_buf_printf(&out, "%s\r\n", command);
	took(s, load_send(&s->c, out.data, out.len) && load_read(&s->c, end, false, &s->a));
	if (s->a.text[0] == '+')
		s->ok = true;
	shelf_buf_free(&out);
}

static void
pop_timed(struct session *s, char *rest, enum load_end end)
{
	char *command;

	load_timeout(&s->c, (unsigned)strtoul(rest, &command, 10));
	pop(s, command + strspn(command, " "), end);
}

static void
retr(struct session *s, const char *rest)
{
	unsigned first, last;
	char command[32];

	s->ok = sscanf(rest, "%u %u", &first, &last) == 2;
	for (unsigned i = first; s->ok && i <= last; i++) {
		snprintf(command, sizeof(command), "RETR %u", i);
		pop(s, command, LOAD_DOT);
	}
}

static void
each(struct session *s, const char *rest)
{
	unsigned count, highest;
	unsigned long long seed;
	int at = 0;
	struct shelf_buf out = {0};

	s->ok = sscanf(rest, "%u %llu %u %n", &count, &seed, &highest, &at) >= 3 && at > 0;
	if (!s->ok)
		return;
	s->ms = calloc(count, sizeof(*s->ms));
	for (s->n = 0; s->ok && s->n < count; s->n++) {
		const char *text = rest + at, *mark = strstr(text, "%u");
		double start;

		seed = seed * 6364136223846793005u + 1442695040888963407u;
		shelf_buf_clear(&out);
		if (mark != NULL)
			shelf_buf_printf(&out, "%.*s%u%s", (int)(mark - text), text,
			    1 + (unsigned)((seed >> 33) % highest), mark + 2);
		else
			shelf_buf_add_str(&out, text);
		start = load_ms();
		took(s, load_imap(&s->c, shelf_buf_cstr(&out), false, &s->a));
		s->ms[s->n] = load_ms() - start;
	}
	shelf_buf_free(&out);
}

static bool
have_mail(struct session *s, const char *path)
{
	if (s->mail_path != NULL && strcmp(path, s->mail_path) == 0)
		return true;
	if (s->mail_path != NULL)
		load_mail_close(&s->mail);
	free(s->mail_path);
	s->mail_path = NULL;
	if (!load_mail_open(&s->mail, path))
		return false;
	s->mail_path = strdup(path);
	return true;
}

static void
append(struct session *s, const char *rest)
{
	char mailbox[64], path[1024];
	unsigned first, count, per;
	struct shelf_buf out = {0};

	s->ok = sscanf(rest, "%63s %1023s %u %u %u", mailbox, path, &first, &count, &per) == 5 && have_mail(s, path);
	if (!s->ok) {
		snprintf(s->a.text, sizeof(s->a.text), "no such mail");
		return;
	}
	s->ms = calloc(count / per + 1, sizeof(*s->ms));
	load_timeout(&s->c, 120);
	for (unsigned i = 0; s->ok && i < count; i += per) {
		double start;

		shelf_buf_clear(&out);
		shelf_buf_printf(&out, "lg%u APPEND %s", ++s->c.tag, mailbox);
		for (unsigned k = i; k < i + per && k < count; k++) {
			struct shelf_span text = s->mail.message[(first + k) % s->mail.count];

			shelf_buf_printf(&out, " %s{%zu+}\r\n", k % 2 ? "(\\Seen) " : "", text.len);
			shelf_buf_add_span(&out, text);
			s->bytes += text.len;
		}
		shelf_buf_add_str(&out, "\r\n");
		start = load_ms();
		s->ok = load_send(&s->c, out.data, out.len) && load_read(&s->c, LOAD_TAGGED, false, &s->a) && s->a.good;
		s->ms[s->n++] = load_ms() - start;
	}
	shelf_buf_free(&out);
}

static void
start(struct session *s, const char *rest)
{
	char protocol[8];
	unsigned port;
	int tls;

	load_disconnect(&s->c);
	s->ok = sscanf(rest, "%7s %u %d", protocol, &port, &tls) == 3;
	if (s->ok)
		took(s, load_connect(&s->c, port, tls != 0, 60) && load_read(&s->c, LOAD_LINE, false, &s->a));
	if (s->a.text[0] == '+')
		s->ok = true;
}

static void
run(struct session *s, char *line)
{
	char *rest = strchr(line, ' ');

	if (rest != NULL)
		*rest++ = '\0';
	else
		rest = line + strlen(line);
	if (strcmp(line, "open") == 0)
		start(s, rest);
	else if (strcmp(line, "cmd") == 0 || strcmp(line, "count") == 0)
		imap(s, rest, line[1] == 'o');
	else if (strcmp(line, "each") == 0)
		each(s, rest);
	else if (strcmp(line, "append") == 0)
		append(s, rest);
	else if (strcmp(line, "pop") == 0)
		pop_timed(s, rest, LOAD_LINE);
	else if (strcmp(line, "list") == 0)
		pop_timed(s, rest, LOAD_DOT);
	else if (strcmp(line, "retr") == 0)
		retr(s, rest);
	else if (strcmp(line, "close") == 0)
		load_disconnect(&s->c);
	else
		load_fail("no command %s", line);
}

static void
answer(struct session *s, double ms, double cpu_ms)
{
	struct shelf_buf out = {0};

	if (!s->ok && s->c.error[0] != '\0')
		snprintf(s->a.text, sizeof(s->a.text), "%s", s->c.error);
	shelf_buf_printf(&out, "{\"ok\":%s,\"ms\":%.4f,\"cpu_ms\":%.3f,\"bytes\":%llu,\"untagged\":%llu,"
	    "\"blanks\":%llu,\"text\":", s->ok ? "true" : "false", ms, cpu_ms, (unsigned long long)s->bytes,
	    (unsigned long long)s->a.untagged, (unsigned long long)s->a.blanks);
	shelf_buf_add_json(&out, shelf_span_str(s->a.text));
	shelf_buf_add_str(&out, ",\"head\":");
	shelf_buf_add_json(&out, shelf_buf_span(&s->a.head));
	printf("%s", shelf_buf_cstr(&out));
	if (s->n > 0) {
		printf(",\"times\":");
		load_times_json(stdout, s->ms, s->n);
	}
	printf("}\n");
	fflush(stdout);
	shelf_buf_free(&out);
}

int
load_session(int argc, char **argv)
{
	struct session s = {.c = {.fd = -1}};
	char *line = NULL;
	size_t room = 0;
	ssize_t len;

	(void)argc;
	(void)argv;
	while ((len = getline(&line, &room, stdin)) > 0) {
		double start_ms = load_ms(), cpu_ms = load_cpu_ms();

		if (line[len - 1] == '\n')
			line[len - 1] = '\0';
		shelf_buf_clear(&s.a.head);
		s.a = (struct load_answer){.head = s.a.head};
		s.c.error[0] = '\0';
		s.bytes = 0;
		s.ok = true;
		run(&s, line);
		answer(&s, load_ms() - start_ms, load_cpu_ms() - cpu_ms);
		free(s.ms);
		s.ms = NULL;
		s.n = 0;
	}
	load_disconnect(&s.c);
	load_answer_free(&s.a);
	if (s.mail_path != NULL)
		load_mail_close(&s.mail);
	free(s.mail_path);
	free(line);
	return 0;
}
