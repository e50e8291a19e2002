/*
 * load_mail.c - the mail of the comparison: files of messages, and what makes them
 *
 * Made mail follows the statistics of some 36,000 real messages of lists and people: sizes log-normal with a
 * median of 7.3 KB, headers of 4.2 KB (36 fields, 6 of them Received), conversations (73 % answer an earlier
 * message), one in six with an attachment; and a tail of newsletters (8 %, HTML, median 21 KB) and of large
 * attachments (2 %, median 54 KB, p99 1.15 MB, a fifth of them repeats). The same seed makes the same bytes.
 */
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "load.h"

enum { WORDS = 6000, SENDERS = 400, BLOBS = 40, DEPTH = 8, EPOCH = 1704067200 };

static char words[WORDS][12];

/* ---- Chance ------------------------------------------------------------------------------------------------- */

static double
unit(uint64_t *r)
{
	return (bench_random(r) + 0.5) / 4294967296.0;
}

static bool
chance(uint64_t *r, double p)
{
	return unit(r) < p;
}

static double
log_normal(uint64_t *r, double mu, double sigma)
{
	return exp(mu + sigma * sqrt(-2 * log(unit(r))) * cos(6.283185307179586 * unit(r)));
}

/* Of a message that others refer to, all must be known from its number. */
static uint64_t
of_message(uint64_t seed, unsigned n, unsigned what)
{
	return (seed << 40) ^ ((uint64_t)what << 33) ^ n;
}

/* ---- Words -------------------------------------------------------------------------------------------------- */

static void
make_words(void)
{
	static const char *const often[] = {"the", "of", "to", "and", "a", "in", "is", "that", "it", "for", "was", "on",
	    "with", "as", "be", "this", "are", "we", "you", "not", "have", "from", "which", "would", "there", "can"};
	static const char *const part[] = {"ba", "con", "de", "er", "for", "ga", "in", "ker", "lo", "mi", "na", "ol",
	    "pre", "qui", "re", "sta", "ti", "un", "ver", "wi", "ex", "y", "ing", "ed", "al", "tion"};
	const unsigned frequent = sizeof(often) / sizeof(*often), parts = sizeof(part) / sizeof(*part);
	uint64_t r = 4711;

	for (unsigned i = 0; i < WORDS; i++) {
		size_t len = 0;

		if (i < frequent) {
			snprintf(words[i], sizeof(words[i]), "%s", often[i]);
			continue;
		}
		for (unsigned k = 0; k < 2 + i * 2 / WORDS && len < 8; k++)
			len += (size_t)snprintf(words[i] + len, sizeof(words[i]) - len, "%s",
			    part[bench_random(&r) % parts]);
	}
}

/* As often as its rank says (Zipf). */
static const char *
word(uint64_t *r)
{
	return words[(unsigned)(exp(unit(r) * log(WORDS)) - 1)];
}

enum coding { PLAIN, QP, UTF8 };

static void
add_text(struct shelf_buf *out, uint64_t *r, size_t len, enum coding coding, const char *quote)
{
	size_t end = out->len + len, line = out->len;

	while (out->len < end) {
		if (out->len == line)
			shelf_buf_add_str(out, quote);
		if (coding != PLAIN && bench_random(r) % 25 == 0)
			shelf_buf_add_str(out, coding == QP ? "f=C3=BCr " : "f\xc3\xbcr ");
		shelf_buf_add_str(out, word(r));
		if (bench_random(r) % 30 == 0)
			shelf_buf_printf(out, ", %u", bench_random(r) % 10000);
		shelf_buf_add_str(out, bench_random(r) % 18 == 0 ? ". " : " ");
		if (out->len - line > 62) {
			shelf_buf_add_str(out, coding == QP && bench_random(r) % 2 ? "=\r\n" : "\r\n");
			if (*quote == '\0' && bench_random(r) % 8 == 0)
				shelf_buf_add_str(out, "\r\n");
			line = out->len;
		}
	}
	shelf_buf_add_str(out, "\r\n");
}

static void
add_html(struct shelf_buf *out, uint64_t *r, size_t len)
{
	size_t end = out->len + len;

	shelf_buf_add_str(out, "<html><head><meta http-equiv=3D\"Content-Type\" content=3D\"text/html;=\r\n"
			       " charset=3Dutf-8\"><style>p { color: #333 }</style></head><body>\r\n");
	while (out->len < end) {
		shelf_buf_printf(out,
		    "<table width=3D\"100%%\" cellpadding=3D\"%u\"><tr><td style=3D\"font-family:=\r\n Arial; "
		    "color: #%06x\"><a href=3D\"https://news.example.com/c/%08x%08x?=\r\nutm_source=3D%s\">%s</a></td>"
		    "</tr><tr><td>\r\n", bench_random(r) % 20, bench_random(r) & 0xffffff,
		    bench_random(r), bench_random(r), word(r), word(r));
		add_text(out, r, 300, QP, "");
		shelf_buf_add_str(out, "</td></tr></table>\r\n");
	}
	shelf_buf_add_str(out, "</body></html>\r\n");
}

static void
add_base64(struct shelf_buf *out, uint64_t seed, size_t len)
{
	uint8_t raw[57];
	uint64_t r = seed;
	bool dense = seed % 2; /* half of the attachments do not compress */

	for (size_t end = out->len + len; out->len < end; shelf_buf_add_str(out, "\r\n")) {
		for (size_t i = 0; i < sizeof(raw); i++)
			raw[i] = dense || i % 3 == 0 ? (uint8_t)bench_random(&r) : (uint8_t)(i * 5);
		shelf_base64_encode(out, shelf_span(raw, sizeof(raw)));
	}
}

/* ---- Messages ----------------------------------------------------------------------------------------------- */

static void
add_id(struct shelf_buf *out, uint64_t seed, unsigned n)
{
	uint64_t r = of_message(seed, n, 1);
	uint32_t a = bench_random(&r);

	shelf_buf_printf(out, "<%08x.%08x@mail%u.example.org>", a, n, bench_random(&r) % 50);
}

/* What message N answers, or N itself. */
static unsigned
parent(uint64_t seed, unsigned n)
{
	uint64_t r = of_message(seed, n, 2);
	unsigned back;

	if (n == 0 || !chance(&r, 0.73))
		return n;
	back = 1 + (unsigned)(exp(unit(&r) * 6) - 1);
	return back > n ? 0 : n - back;
}

static void
add_conversation(struct shelf_buf *out, uint64_t seed, unsigned n)
{
	unsigned up[DEPTH], depth = 0, root = n;
	uint64_t r;

	while (parent(seed, root) != root) {
		root = parent(seed, root);
		if (depth < DEPTH)
			up[depth++] = root;
	}
	r = of_message(seed, root, 3);
	shelf_buf_printf(out, "Subject: %s[list] %s", root != n ? "Re: " : "", word(&r));
	for (unsigned i = 0, more = 2 + bench_random(&r) % 5; i < more; i++)
		shelf_buf_printf(out, " %s", word(&r));
	shelf_buf_add_str(out, "\r\nMessage-ID: ");
	add_id(out, seed, n);
	if (depth > 0) {
		shelf_buf_add_str(out, "\r\nIn-Reply-To: ");
		add_id(out, seed, up[0]);
		shelf_buf_add_str(out, "\r\nReferences:");
		while (depth > 0) {
			shelf_buf_add_str(out, depth % 2 ? "\r\n " : " ");
			add_id(out, seed, up[--depth]);
		}
	}
	shelf_buf_add_str(out, "\r\n");
}

static void
add_date(struct shelf_buf *out, const char *name, time_t when)
{
	char text[64];
	struct tm tm;

	strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S +0000", gmtime_r(&when, &tm));
	shelf_buf_printf(out, "%s%s\r\n", name, text);
}

static time_t
sent(uint64_t seed, unsigned n)
{
	uint64_t r = of_message(seed, n, 4);

	return EPOCH + (time_t)n * 60 + bench_random(&r) % 20000;
}

static void
add_trace(struct shelf_buf *out, uint64_t *r, unsigned sender, time_t when)
{
	shelf_buf_printf(out, "Return-Path: <list-bounces+sender%u=example.org@lists.example.net>\r\n", sender);
	for (unsigned hop = 0; hop < 6; hop++) {
		shelf_buf_printf(out,
		    "Received: from mx%u.relay%u.example.com (mx%u.relay%u.example.com [192.0.2.%u])\r\n"
		    "\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits))\r\n"
		    "\tby mail%u.example.net (Postfix) with ESMTPS id %08X%04X\r\n\tfor <reader@example.net>; ",
		    sender % 7, hop, sender % 7, hop, sender % 250, hop, bench_random(r), bench_random(r) & 0xffff);
		add_date(out, "", when + 6 - hop);
	}
	for (unsigned k = 0; k < 2; k++) {
		shelf_buf_printf(out,
		    "%s; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=s%u;\r\n"
		    "\th=from:to:subject:date:message-id:references:mime-version; b=\r\n\t",
		    k ? "ARC-Message-Signature: i=1" : "DKIM-Signature: v=1", sender % 5);
		for (unsigned i = 0; i < 6; i++) {
			uint8_t raw[42];

			for (size_t b = 0; b < sizeof(raw); b++)
				raw[b] = (uint8_t)bench_random(r);
			shelf_base64_encode(out, shelf_span(raw, sizeof(raw)));
			shelf_buf_add_str(out, i == 5 ? "\r\n" : "\r\n\t");
		}
	}
	shelf_buf_printf(out,
	    "Authentication-Results: mail0.example.net; dkim=pass header.d=example.org;\r\n\tspf=pass "
	    "smtp.mailfrom=sender%u@example.org; dmarc=pass\r\nX-Spam-Flag: NO\r\nX-Spam-Score: -%u.%03u\r\n"
	    "X-Spam-Status: No, score=-%u.%u required=5.0 tests=BAYES_00,DKIM_SIGNED,DKIM_VALID,\r\n"
	    "\tRCVD_IN_DNSWL_NONE,SPF_PASS autolearn=ham\r\n", sender, bench_random(r) % 5, bench_random(r) % 1000,
	    bench_random(r) % 5, bench_random(r) % 10);
}

static void
add_list(struct shelf_buf *out, uint64_t *r, unsigned sender)
{
	shelf_buf_printf(out,
	    "List-Id: A list of some people <list%u.lists.example.net>\r\n"
	    "List-Post: <mailto:list%u@lists.example.net>\r\n"
	    "List-Unsubscribe: <https://lists.example.net/options/list%u>,\r\n"
	    " <mailto:list%u-request@lists.example.net?subject=unsubscribe>\r\n"
	    "List-Archive: <https://lists.example.net/archives/list%u/>\r\nPrecedence: list\r\n"
	    "User-Agent: Mailer/%u.%u\r\nX-Mailman-Version: 2.1.%u\r\n", sender % 9, sender % 9, sender % 9,
	    sender % 9, sender % 9, bench_random(r) % 4, bench_random(r) % 20, bench_random(r) % 30);
	for (unsigned i = 0; i < 8; i++)
		shelf_buf_printf(out, "X-%s-%s: %s=%08x; %s %s\r\n", i % 2 ? "Filter" : "Origin",
		    i % 3 ? "Note" : "Trace", word(r), bench_random(r), word(r), word(r));
}

static void
add_head(struct shelf_buf *out, uint64_t seed, unsigned n, uint64_t *r)
{
	unsigned sender = (unsigned)(exp(unit(r) * log(SENDERS)) - 1);

	add_trace(out, r, sender, sent(seed, n));
	shelf_buf_printf(out, "From: %s %s <sender%u@example.org>\r\nTo: The List <list%u@lists.example.net>\r\n",
	    words[100 + sender], words[200 + sender], sender, sender % 9);
	if (chance(r, 0.4))
		shelf_buf_printf(out, "Cc: %s <sender%u@example.org>, sender%u@example.org\r\n", word(r),
		    bench_random(r) % SENDERS, bench_random(r) % SENDERS);
	add_conversation(out, seed, n);
	add_date(out, "Date: ", sent(seed, n));
	add_list(out, r, sender);
	shelf_buf_add_str(out, "MIME-Version: 1.0\r\n");
}

static void
add_leaf_fields(struct shelf_buf *out, uint64_t *r, enum coding *coding, size_t *len)
{
	double p = unit(r);

	*coding = PLAIN;
	if (p < 0.25) {
		shelf_buf_add_str(out, "\r\n");
		return;
	}
	*coding = p < 0.56 ? PLAIN : p < 0.85 ? QP : UTF8;
	shelf_buf_printf(out, "Content-Type: text/plain; charset=%s\r\nContent-Transfer-Encoding: %s\r\n\r\n",
	    *coding != PLAIN || chance(r, 0.2) ? chance(r, 0.9) ? "utf-8" : "iso-8859-1" : "us-ascii",
	    *coding == PLAIN ? "7bit" : *coding == QP ? "quoted-printable" : "8bit");
	*len = *len > 300 ? *len : 300;
}

static void
add_body(struct shelf_buf *out, uint64_t *r, size_t len, bool answer)
{
	enum coding coding;

	add_leaf_fields(out, r, &coding, &len);
	if (answer) {
		shelf_buf_printf(out, "On Monday %s %s wrote:\r\n", word(r), word(r));
		add_text(out, r, len / 3, coding, "> ");
	}
	add_text(out, r, answer ? len * 2 / 3 : len, coding, "");
	shelf_buf_add_str(out, "-- \r\nSigned with kind regards\r\n");
}

static void
make_mail(struct shelf_buf *out, uint64_t seed, unsigned n)
{
	uint64_t r = of_message(seed, n, 0);
	size_t whole = (size_t)log_normal(&r, 8.918, 0.712), head;
	double kind = unit(&r);
	bool answer = parent(seed, n) != n;

	add_head(out, seed, n, &r);
	head = out->len + 200;
	whole = whole > head ? whole - head : 200 + whole / 8;
	if (kind < 0.08) { /* newsletter */
		shelf_buf_add_str(out, "Content-Type: multipart/alternative; boundary=\"=_alt\"\r\n\r\n--=_alt\r\n");
		add_body(out, &r, 2500, false);
		shelf_buf_add_str(out, "--=_alt\r\nContent-Type: text/html; charset=utf-8\r\n"
				       "Content-Transfer-Encoding: quoted-printable\r\n\r\n");
		add_html(out, &r, (size_t)log_normal(&r, log(15000), 0.6));
		shelf_buf_add_str(out, "--=_alt--\r\n");
	} else if (kind < 0.275) {
		bool large = kind < 0.10;
		uint64_t blob = chance(&r, 0.19) ? bench_random(&r) % BLOBS : of_message(seed, n, 5);
		uint64_t size = blob;

		shelf_buf_add_str(out, "Content-Type: multipart/mixed; boundary=\"=_mix\"\r\n\r\n--=_mix\r\n");
		add_body(out, &r, large ? whole : whole / 2, answer);
		shelf_buf_printf(out, "--=_mix\r\nContent-Type: %s; name=\"%s\"\r\nContent-Transfer-Encoding: %s\r\n"
		    "Content-Disposition: attachment; filename=\"%s\"\r\n\r\n",
		    large ? "application/pdf" : "text/x-patch", large ? "a.pdf" : "a.patch",
		    large ? "base64" : "7bit", large ? "a.pdf" : "a.patch");
		if (large)
			add_base64(out, blob, (size_t)fmin(log_normal(&size, log(54000), 1.31), 2.6e6));
		else
			add_text(out, &r, whole / 2, PLAIN, "+\t");
		shelf_buf_add_str(out, "--=_mix--\r\n");
	} else {
		add_body(out, &r, whole, answer);
	}
}

/* About 450 bytes: for mailboxes so large that their bodies would not matter. */
static void
make_tiny(struct shelf_buf *out, uint64_t seed, unsigned n)
{
	uint64_t r = of_message(seed, n, 0);
	unsigned sender = bench_random(&r) % SENDERS;

	shelf_buf_printf(out, "From: %s %s <sender%u@example.org>\r\nTo: reader@example.net\r\n", words[100 + sender],
	    words[200 + sender], sender);
	add_conversation(out, seed, n);
	add_date(out, "Date: ", sent(seed, n));
	shelf_buf_add_str(out, "\r\n");
	add_text(out, &r, 60 + bench_random(&r) % 80, PLAIN, "");
}

/* ---- Files of messages -------------------------------------------------------------------------------------- */

struct writing {
	FILE *f;
	unsigned count, left;
	double bytes;
};

static void
write_message(void *arg, struct shelf_span text)
{
	struct writing *w = arg;
	uint8_t len[4];

	for (int i = 0; i < 4; i++)
		len[i] = (uint8_t)(text.len >> 8 * i);

	/* Servers differ in what they say of bare CR, bare NUL and mail without a header: not our subject. */
	if (w->left == 0 || text.len < 40 || memchr(text.data, 0, text.len) != NULL)
		return;
	for (size_t i = 0; i + 1 < text.len; i++)
		if (text.data[i] == '\r' && text.data[i + 1] != '\n')
			return;
	if (fwrite(len, 4, 1, w->f) != 1 || fwrite(text.data, text.len, 1, w->f) != 1)
		load_fail("the corpus cannot be written");
	w->left--;
	w->count++;
	w->bytes += (double)text.len;
}

int
load_corpus(int argc, char **argv)
{
	struct writing w = {.f = fopen(argv[0], "we"), .left = (unsigned)atoi(argv[1])};
	uint64_t seed = strtoull(argv[2], NULL, 10);
	struct shelf_buf text = {0};
	unsigned made = w.left;

	(void)argc;
	if (w.f == NULL)
		load_fail("%s: cannot be written", argv[0]);
	make_words();
	if (strcmp(argv[3], "mail") != 0 && strcmp(argv[3], "tiny") != 0) {
		bench_corpus_each(argv[3], write_message, &w);
		made = 0;
	}
	for (unsigned n = 0; n < made; n++) {
		shelf_buf_clear(&text);
		(strcmp(argv[3], "mail") == 0 ? make_mail : make_tiny)(&text, seed, n);
		write_message(&w, shelf_buf_span(&text));
	}
	shelf_buf_free(&text);
	if (fclose(w.f) != 0)
		load_fail("%s: cannot be written", argv[0]);
	printf("{\"messages\":%u,\"bytes\":%.0f}\n", w.count, w.bytes);
	return 0;
}

bool
load_mail_open(struct load_mail *m, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	size_t room = 0;

	*m = (struct load_mail){0};
	if (fd < 0 || fstat(fd, &st) != 0 || st.st_size < 4)
		return false;
	m->map_len = (size_t)st.st_size;
	m->map = mmap(NULL, m->map_len, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
	close(fd);
	if (m->map == MAP_FAILED)
		return false;
	for (size_t at = 0; at + 4 <= m->map_len;) {
		const uint8_t *p = m->map + at;
		size_t len = (size_t)p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;

		if (len > m->map_len - at - 4)
			return false;
		if (m->count == room) {
			room = room == 0 ? 1024 : room * 2;
			m->message = realloc(m->message, room * sizeof(*m->message));
		}
		m->message[m->count++] = shelf_span(p + 4, len);
		at += 4 + len;
	}
	return m->count > 0;
}

void
load_mail_close(struct load_mail *m)
{
	munmap((void *)m->map, m->map_len);
	free(m->message);
}

void
load_stuffed(struct shelf_span text, struct shelf_buf *out)
{
	const uint8_t *p = text.data, *end = text.data + text.len;

	while (p < end) {
		const uint8_t *nl = memchr(p, '\n', (size_t)(end - p));
		const uint8_t *next = nl != NULL ? nl + 1 : end;

		if (*p == '.')
			shelf_buf_add_byte(out, '.');
		shelf_buf_add(out, p, (size_t)(next - p));
		p = next;
	}
	if (text.len < 2 || end[-1] != '\n')
		shelf_buf_add_str(out, "\r\n");
	shelf_buf_add_str(out, ".\r\n");
}

void
load_renamed(struct shelf_span text, uint64_t serial, struct shelf_buf *out)
{
	static const char name[] = "\r\nmessage-id:";
	const uint8_t *p = text.data, *end = text.data + text.len, *at = NULL;

	for (; p + sizeof(name) < end && memcmp(p, "\r\n\r\n", 4) != 0; p++)
		if (*p == '\r' && strncasecmp((const char *)p, name, sizeof(name) - 1) == 0)
			at = memchr(p, '<', (size_t)(end - p));
	shelf_buf_clear(out);
	if (at == NULL) {
		shelf_buf_printf(out, "Message-ID: <%llu@bench.example.org>\r\n", (unsigned long long)serial);
		shelf_buf_add_span(out, text);
		return;
	}
	shelf_buf_add(out, text.data, (size_t)(at + 1 - text.data));
	shelf_buf_printf(out, "%llu.", (unsigned long long)serial);
	shelf_buf_add(out, at + 1, (size_t)(end - at - 1));
}
