/*
 * bench_mail.c - mail to measure with: made by rule, or real mail from mbox files
 *
 * Made mail follows the statistics of some 36,000 real messages: sizes log-normal (median 7,341 bytes),
 * headers 43 % of the bytes with a dozen fields that repeat between messages and as many that do not, one
 * message in six with a base64 attachment. Message N is the same in every run.
 */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zstd.h>

#include "bench.h"

enum { HEADER_BYTES = 3000, SENDERS = 200, PATH_BYTES = 4400 };

uint32_t
bench_random(uint64_t *state)
{
	uint64_t x = *state += 0x9e3779b97f4a7c15u;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return (uint32_t)(x >> 32);
}

/* Frequent words are short and come often: the index is the smaller of two throws. */
static const char *
word(uint64_t *r)
{
	static const char *const words[] = {"the", "of", "to", "and", "a", "in", "is", "that", "it", "for",
	    "was", "on", "with", "as", "be", "this", "are", "we", "you", "not", "have", "from", "patch",
	    "which", "would", "there", "server", "kernel", "message", "should", "please", "version",
	    "mailbox", "problem", "release", "function", "because", "different", "attached", "meeting",
	    "regards", "question", "support", "following", "interface", "configuration", "performance",
	    "documentation", "development", "maintainer", "memory", "driver", "thanks", "update", "commit",
	    "archive", "network", "device", "packet", "error", "failed", "review", "invoice", "account"};
	const uint32_t n = sizeof(words) / sizeof(*words);
	uint32_t a = bench_random(r) % n, b = bench_random(r) % n;

	return words[a < b ? a : b];
}

static void
add_header(unsigned n, uint64_t *r, struct shelf_buf *out)
{
	unsigned sender = bench_random(r) % SENDERS, minute = bench_random(r) % 60;
	size_t start = out->len;

	shelf_buf_printf(out, "Return-Path: <list-bounces+sender%u=example.org@lists.example.net>\r\n",
	    sender);
	for (int hop = 0; hop < 4; hop++)
		shelf_buf_printf(out,
		    "Received: from mx%u.relay%d.example.com (mx%u.relay%d.example.com [192.0.2.%u])\r\n"
		    "\tby mail%d.example.net (Postfix) with ESMTPS id %08X%04X\r\n"
		    "\tfor <reader@example.net>; Mon, 12 Jan 2026 1%d:%02u:%02u +0000 (UTC)\r\n",
		    sender % 7, hop, sender % 7, hop, sender, hop, bench_random(r), n & 0xffff, hop, minute,
		    bench_random(r) % 60);
	shelf_buf_printf(out,
	    "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=s%u;\r\n"
	    "\th=from:to:subject:date:message-id:references; bh=", sender % 5);
	for (int i = 0; i < 48; i++)
		shelf_buf_printf(out, "%08x%s", bench_random(r), i % 8 == 7 ? "\r\n\t" : "");
	shelf_buf_printf(out,
	    "==\r\nFrom: Sender Number %u <sender%u@example.org>\r\n"
	    "To: The List <list@lists.example.net>\r\nSubject: Re: [list] %s %s about %s\r\n"
	    "Date: Mon, 12 Jan 2026 10:%02u:00 +0000\r\nMessage-ID: <%08x.%u@example.org>\r\n"
	    "References: <%08x.%u@example.org>\r\nMIME-Version: 1.0\r\n"
	    "List-Id: <list.lists.example.net>\r\nList-Post: <mailto:list@lists.example.net>\r\n"
	    "List-Unsubscribe: <https://lists.example.net/options/list>\r\nX-Mailer: Mailer/%u.2\r\n",
	    sender, sender, word(r), word(r), word(r), minute, bench_random(r), n, bench_random(r),
	    n / 5, sender % 9);
	while (out->len - start < HEADER_BYTES)
		shelf_buf_printf(out, "X-Filter-Note: %s=%s; score=%u.%u; %s\r\n", word(r), word(r),
		    bench_random(r) % 9, bench_random(r) % 9, word(r));
}

static void
add_words(size_t until, uint64_t *r, struct shelf_buf *out)
{
	size_t line = out->len;

	while (out->len < until) {
		shelf_buf_printf(out, "%s ", bench_random(r) % 12 == 0 ? "" : word(r));
		if (bench_random(r) % 15 == 0)
			shelf_buf_printf(out, "%u ", bench_random(r) % 100000);
		if (out->len - line > 66) {
			shelf_buf_add_str(out, "\r\n");
			line = out->len;
		}
	}
	shelf_buf_add_str(out, "\r\n");
}

static void
add_attachment(size_t len, uint64_t *r, struct shelf_buf *out)
{
	uint8_t raw[57];

	shelf_buf_add_str(out, "--part\r\nContent-Type: application/octet-stream; name=\"data.bin\"\r\n"
			       "Content-Transfer-Encoding: base64\r\n"
			       "Content-Disposition: attachment; filename=\"data.bin\"\r\n\r\n");
	for (size_t end = out->len + len; out->len < end; shelf_buf_add_str(out, "\r\n")) {
		for (size_t i = 0; i < sizeof(raw); i++)
			raw[i] = (uint8_t)bench_random(r);
		shelf_base64_encode(out, shelf_span(raw, sizeof(raw)));
	}
	shelf_buf_add_str(out, "--part--\r\n");
}

void
bench_mail_plain(unsigned n, size_t len, struct shelf_buf *out)
{
	uint64_t r = n;

	add_header(n, &r, out);
	shelf_buf_add_str(out, "Content-Type: text/plain; charset=utf-8\r\n\r\n");
	add_words(len, &r, out);
}

void
bench_mail_text(unsigned n, struct shelf_buf *out)
{
	uint64_t r = (uint64_t)n << 20;
	/* The sum of twelve throws is normal enough. */
	double normal = -6;
	size_t len;

	for (int i = 0; i < 12; i++)
		normal += bench_random(&r) / 4294967296.0;
	len = (size_t)exp(8.918 + 0.712 * normal);
	if (bench_random(&r) % 6 != 0) {
		bench_mail_plain(n, len, out);
		return;
	}
	add_header(n, &r, out);
	shelf_buf_add_str(out, "Content-Type: multipart/mixed; boundary=part\r\n\r\n"
			       "--part\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n");
	add_words(len / 2 + HEADER_BYTES, &r, out);
	add_attachment(len * 2, &r, out);
}

struct shelf_draft *
bench_draft(struct bench *b, struct shelf_span text)
{
	struct shelf_draft *d;

	bench_must(shelf_draft_new(b->store, &d), "draft");
	bench_must(shelf_draft_write(d, text.data, text.len), "draft");
	bench_must(shelf_draft_finish(d), "draft");
	return d;
}

/* ---- Mbox files ------------------------------------------------------------------------------------------ */

/* Decompresses a whole file: the largest has 131 MB. */
static bool
read_zst(const char *path, struct shelf_buf *out)
{
	ZSTD_DCtx *ctx = ZSTD_createDCtx();
	FILE *f = fopen(path, "re");
	char in[65536];
	size_t got;
	bool ok = f != NULL && ctx != NULL;

	while (ok && (got = fread(in, 1, sizeof(in), f)) > 0) {
		ZSTD_inBuffer src = {in, got, 0};

		while (ok && src.pos < src.size) {
			ZSTD_outBuffer dst = {shelf_buf_reserve(out, 1 << 17), 1 << 17, 0};

			ok = !ZSTD_isError(ZSTD_decompressStream(ctx, &dst, &src));
			out->len += dst.pos;
		}
	}
	if (f != NULL)
		fclose(f);
	ZSTD_freeDCtx(ctx);
	return ok;
}

/* mboxrd: "From " begins a message, ">From " has one ">" too many, an empty line ends each. */
static unsigned
each_in_mbox(struct shelf_span mbox, bench_message_fn *fn, void *arg)
{
	struct shelf_buf text = {0};
	const uint8_t *p = mbox.data, *end = mbox.data + mbox.len;
	unsigned n = 0;

	while (p < end) {
		const uint8_t *nl = memchr(p, '\n', (size_t)(end - p));
		const uint8_t *line = p, *quote = p;
		size_t len = (size_t)((nl != NULL ? nl : end) - p);

		p = nl != NULL ? nl + 1 : end;
		while (quote < line + len && *quote == '>')
			quote++;
		if ((size_t)(line + len - quote) >= 5 && memcmp(quote, "From ", 5) == 0) {
			if (quote == line) {
				if (text.len > 2) {
					fn(arg, shelf_span(text.data, text.len - 2));
					n++;
				}
				shelf_buf_clear(&text);
				continue;
			}
			line++;
			len--;
		}
		shelf_buf_add(&text, line, len);
		shelf_buf_add_str(&text, "\r\n");
	}
	if (text.len > 2) {
		fn(arg, shelf_span(text.data, text.len - 2));
		n++;
	}
	shelf_buf_free(&text);
	return n;
}

static int
is_mbox(const struct dirent *e)
{
	size_t len = strlen(e->d_name);

	return len > 9 && strcmp(e->d_name + len - 9, ".mbox.zst") == 0;
}

unsigned
bench_corpus_each(const char *corpus, bench_message_fn *fn, void *arg)
{
	struct dirent **names = NULL;
	char path[PATH_BYTES];
	unsigned messages = 0;
	int n;

	snprintf(path, sizeof(path), "%s/bulk", corpus);
	n = scandir(path, &names, is_mbox, alphasort);
	for (int i = 0; i < n; i++) {
		struct shelf_buf mbox = {0};

		snprintf(path, sizeof(path), "%s/bulk/%s", corpus, names[i]->d_name);
		if (read_zst(path, &mbox))
			messages += each_in_mbox(shelf_buf_span(&mbox), fn, arg);
		else
			fprintf(stderr, "bench_engine: %s: cannot be read\n", path);
		shelf_buf_free(&mbox);
		free(names[i]);
	}
	free(names);
	return messages;
}
