/*
 * backup_file.c - header, sections and trailers of a backup file
 *
 *   header | section ... section | trailer | section ... section | trailer | (tail of a run that died)
 *
 * HEADER   0 "mshelfB\n" | 8 format u32, 1 | 12 zeros | 16 id of the file, 16 | 32 created u64 |
 *          40 zeros | 48 checksum of all before, 16
 * SECTION  0 "mSec" | 4 kind | 5 packing (0 plain, 1 a zstd frame) | 6 zeros | 8 its own offset u64 |
 *          16 stored bytes u32 | 20 bytes unpacked u32 |
 *          24 checksum of the head before, the file's id and the stored bytes, 16 | 40 stored bytes
 * TRAILER  0 "mshelfE\n" | 8 generation u64 | 16 where it starts u64 | 24 offset of its section u64 |
 *          32 checksum of all before, the file's id and the trailer's own offset, 16
 *
 * Numbers are little-endian, checksums are the first half of a SHA-256.
 *
 * What must stay true: nothing before the last good trailer is ever changed, and a trailer is written when all it
 * stands for is on disk. So whatever a run or the machine leaves behind the last good trailer may be cut off.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>

#include <mailshelf/mem.h>

#include "backup.h"

enum {
	FORMAT = 1,
	HEADER_BYTES = 64,
	HEAD_BYTES = 40,
	HEAD_SUMMED = 24,
	TRAILER_BYTES = 48,
	TRAILER_SUMMED = 32,
	SEARCH_BYTES = 1 << 20,
};
static const char header_magic[8] = "mshelfB\n", trailer_magic[8] = "mshelfE\n", section_magic[4] = "mSec";

static int
from_errno(void)
{
	return errno == ENOSPC || errno == EDQUOT ? SHELF_EFULL : errno == ENOENT ? SHELF_EMISSING : SHELF_EIO;
}

/* ---- Bytes -------------------------------------------------------------------------------------------- */

/* SHELF_ECORRUPT: the file ends before. */
static int
get(int fd, uint64_t offset, void *out, size_t len)
{
	uint8_t *p = out;

	while (len > 0) {
		ssize_t n = pread(fd, p, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? SHELF_EIO : SHELF_ECORRUPT;
		p += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static int
append(struct backup_file *f, const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len > 0) {
		ssize_t n = pwrite(f->fd, p, len, (off_t)f->size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return from_errno();
		p += n;
		f->size += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* The first half of the SHA-256 of three runs of bytes. */
static void
sum(struct shelf_span a, struct shelf_span b, struct shelf_span c, uint8_t out[BACKUP_HASH_BYTES])
{
	EVP_MD_CTX *sha = EVP_MD_CTX_new();
	uint8_t digest[EVP_MAX_MD_SIZE];

	SHELF_ASSERT(sha != NULL && EVP_DigestInit_ex(sha, EVP_sha256(), NULL) == 1 &&
		     EVP_DigestUpdate(sha, a.data, a.len) == 1 && EVP_DigestUpdate(sha, b.data, b.len) == 1 &&
		     EVP_DigestUpdate(sha, c.data, c.len) == 1 && EVP_DigestFinal_ex(sha, digest, NULL) == 1);
	EVP_MD_CTX_free(sha);
	memcpy(out, digest, BACKUP_HASH_BYTES);
}

void
backup_hash(struct shelf_span bytes, uint8_t out[BACKUP_HASH_BYTES])
{
	sum(bytes, shelf_span(NULL, 0), shelf_span(NULL, 0), out);
}

/* ---- Header ------------------------------------------------------------------------------------------- */

static int
write_header(struct backup_file *f)
{
	struct shelf_buf b = {0};
	uint8_t check[BACKUP_HASH_BYTES];
	int rc;

	shelf_random(f->id, sizeof(f->id));
	shelf_buf_add(&b, header_magic, sizeof(header_magic));
	base_add_le(&b, FORMAT, 4);
	base_add_le(&b, 0, 4);
	shelf_buf_add(&b, f->id, sizeof(f->id));
	base_add_le(&b, (uint64_t)shelf_now_s(), 8);
	base_add_le(&b, 0, 8);
	backup_hash(shelf_buf_span(&b), check);
	shelf_buf_add(&b, check, sizeof(check));
	f->size = 0;
	rc = append(f, b.data, b.len);
	shelf_buf_free(&b);
	return rc;
}

static int
read_header(struct backup_file *f)
{
	uint8_t h[HEADER_BYTES] = {0}, check[BACKUP_HASH_BYTES];
	struct base_reader r = base_reader(shelf_span(h + 8, 4));
	int rc = get(f->fd, 0, h, sizeof(h));

	if (rc != 0)
		return rc == SHELF_ECORRUPT ? SHELF_ESYNTAX : rc;
	if (memcmp(h, header_magic, sizeof(header_magic)) != 0)
		return SHELF_ESYNTAX;
	if (base_get_le(&r, 4) != FORMAT)
		return SHELF_EVERSION;
	backup_hash(shelf_span(h, 48), check);
	memcpy(f->id, h + 16, sizeof(f->id));
	return memcmp(check, h + 48, sizeof(check)) == 0 ? 0 : SHELF_ECORRUPT;
}

/* ---- Trailers ----------------------------------------------------------------------------------------- */

static void
trailer_sum(const struct backup_file *f, const uint8_t *trailer, uint64_t offset, uint8_t out[BACKUP_HASH_BYTES])
{
	uint8_t at[8];

	base_put_be64(at, offset);
	sum(shelf_span(trailer, TRAILER_SUMMED), shelf_span(f->id, sizeof(f->id)), shelf_span(at, sizeof(at)), out);
}

/* Is TRAILER, found at OFFSET, one that stands for a generation? */
static bool
take_trailer(struct backup_file *f, const uint8_t *trailer, uint64_t offset)
{
	struct base_reader r = base_reader(shelf_span(trailer + 8, 24));
	uint8_t check[BACKUP_HASH_BYTES];
	struct backup_generation g = {0};
	uint64_t number = base_get_le(&r, 8), start = base_get_le(&r, 8), last = base_get_le(&r, 8);

	if (memcmp(trailer, trailer_magic, sizeof(trailer_magic)) != 0)
		return false;
	trailer_sum(f, trailer, offset, check);
	if (memcmp(check, trailer + TRAILER_SUMMED, sizeof(check)) != 0 || start > last || last >= offset)
		return false;
	f->size = offset;
	if (backup_generation_get(f, last, &g) != 0 || g.number != number || g.start != start) {
		f->damaged = true; /* not a run that died: its generation was there */
		backup_generation_free(&g);
		return false;
	}
	backup_generation_free(&g);
	f->size = offset + TRAILER_BYTES;
	f->last = last;
	f->number = number;
	return true;
}

/* The last good trailer, searched from the end; without one the file is its header. */
static int
find_last(struct backup_file *f, uint64_t file_bytes)
{
	uint8_t *block = shelf_alloc(SEARCH_BYTES + TRAILER_BYTES);
	uint64_t end = file_bytes; /* trailers that begin at END or behind have been looked at */
	bool found = false;
	int rc = 0;

	while (!found && rc == 0 && end > HEADER_BYTES) {
		uint64_t begin = end - HEADER_BYTES > SEARCH_BYTES ? end - SEARCH_BYTES : HEADER_BYTES;
		size_t len = (size_t)(end - begin), more = (size_t)(file_bytes - end);

		more = more < TRAILER_BYTES ? more : TRAILER_BYTES;
		if ((rc = get(f->fd, begin, block, len + more)) != 0)
			break;
		for (size_t i = len; i-- > 0 && !found;)
			found = block[i] == 'm' && i + TRAILER_BYTES <= len + more &&
				take_trailer(f, block + i, begin + i);
		end = begin;
	}
	free(block);
	if (!found)
		f->size = HEADER_BYTES;
	f->tail = file_bytes - f->size;
	return rc;
}

int
backup_file_commit(struct backup_file *f, uint64_t start, uint64_t end_section, uint64_t number)
{
	struct shelf_buf b = {0};
	uint8_t check[BACKUP_HASH_BYTES];
	int rc = fdatasync(f->fd) == 0 ? 0 : from_errno();

	shelf_buf_add(&b, trailer_magic, sizeof(trailer_magic));
	base_add_le(&b, number, 8);
	base_add_le(&b, start, 8);
	base_add_le(&b, end_section, 8);
	trailer_sum(f, b.data, f->size, check);
	shelf_buf_add(&b, check, sizeof(check));
	if (rc == 0 && (rc = append(f, b.data, b.len)) == 0)
		rc = fsync(f->fd) == 0 ? 0 : from_errno();
	shelf_buf_free(&b);
	if (rc == 0) {
		f->last = end_section;
		f->number = number;
	}
	return rc;
}

/* ---- Opening ------------------------------------------------------------------------------------------ */

/* A run that died in its first moment left less than a header. */
static bool
is_stump(int fd, uint64_t file_bytes)
{
	char start[sizeof(header_magic)];
	size_t n = file_bytes < sizeof(start) ? (size_t)file_bytes : sizeof(start);

	return file_bytes < HEADER_BYTES && get(fd, 0, start, n) == 0 && memcmp(start, header_magic, n) == 0;
}

/* The entry of a new file in its directory must be on disk, too. */
static int
sync_parent(const char *path)
{
	char *copy = shelf_strdup(path);
	int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = fd >= 0 && fsync(fd) == 0 ? 0 : SHELF_EIO;

	if (fd >= 0)
		close(fd);
	free(copy);
	return rc;
}

static int
open_for_writing(struct backup_file *f, const char *path, uint64_t file_bytes)
{
	int rc;

	if (flock(f->fd, LOCK_EX | LOCK_NB) != 0)
		return errno == EWOULDBLOCK ? SHELF_EBUSY : SHELF_EIO;
	if (is_stump(f->fd, file_bytes))
		return (rc = write_header(f)) != 0 ? rc : sync_parent(path);
	if ((rc = read_header(f)) != 0 || (rc = find_last(f, file_bytes)) != 0)
		return rc;
	if (f->damaged)
		return SHELF_ECORRUPT; /* what lies behind is not ours to cut off */
	return f->tail == 0 || ftruncate(f->fd, (off_t)f->size) == 0 ? 0 : SHELF_EIO;
}

int
backup_file_open(const char *path, bool write, struct backup_file **out)
{
	struct backup_file *f = SHELF_NEW(struct backup_file);
	struct stat st;
	int rc;

	*out = NULL;
	f->fd = open(path, (write ? O_RDWR | O_CREAT : O_RDONLY) | O_CLOEXEC | O_NONBLOCK, 0600);
	if (f->fd < 0 || fstat(f->fd, &st) != 0)
		rc = from_errno();
	else if (!S_ISREG(st.st_mode))
		rc = SHELF_ESYNTAX;
	else if (write)
		rc = open_for_writing(f, path, (uint64_t)st.st_size);
	else if ((rc = read_header(f)) == 0 && (rc = find_last(f, (uint64_t)st.st_size)) == 0 && f->last == 0)
		rc = SHELF_EMISSING;
	if (rc != 0)
		backup_file_close(&f);
	*out = f;
	return rc;
}

void
backup_file_close(struct backup_file **file)
{
	struct backup_file *f = *file;

	if (f == NULL)
		return;
	*file = NULL;
	if (f->fd >= 0)
		close(f->fd);
	free(f);
}

/* ---- Sections ----------------------------------------------------------------------------------------- */

int
backup_section_put(struct backup_file *f, enum backup_kind kind, struct shelf_span raw, uint64_t *offset_out)
{
	struct shelf_buf b = {0}, packed = {0};
	struct shelf_span stored = raw;
	uint8_t check[BACKUP_HASH_BYTES];
	int rc = 0;

	SHELF_ASSERT(raw.len <= BACKUP_RAW_MAX);
	/* An index is hashes: it is not packed, so that reading it takes no more memory than the file has bytes. */
	if (kind != BACKUP_INDEX && (rc = blob_frame_pack(raw, &packed)) == 0 && packed.len < raw.len)
		stored = shelf_buf_span(&packed);
	shelf_buf_add(&b, section_magic, sizeof(section_magic));
	base_add_le(&b, (uint64_t)kind, 1);
	base_add_le(&b, stored.data != raw.data, 1);
	base_add_le(&b, 0, 2);
	base_add_le(&b, f->size, 8);
	base_add_le(&b, stored.len, 4);
	base_add_le(&b, raw.len, 4);
	sum(shelf_buf_span(&b), shelf_span(f->id, sizeof(f->id)), stored, check);
	shelf_buf_add(&b, check, sizeof(check));
	*offset_out = f->size;
	shelf_buf_add_span(&b, stored);
	if (rc == 0)
		rc = append(f, b.data, b.len);
	shelf_buf_free(&b);
	shelf_buf_free(&packed);
	return rc;
}

int
backup_section_get(const struct backup_file *f, uint64_t offset, enum backup_kind kind, struct shelf_buf *raw,
		   uint64_t *next_out)
{
	uint8_t head[HEAD_BYTES] = {0}, check[BACKUP_HASH_BYTES];
	struct base_reader r = base_reader(shelf_span(head, sizeof(head)));
	struct shelf_buf stored = {0};
	uint64_t packing, at, stored_len, raw_len;
	int rc;

	shelf_buf_clear(raw);
	if (offset < HEADER_BYTES || offset >= f->size || f->size - offset < HEAD_BYTES)
		return SHELF_ECORRUPT;
	if ((rc = get(f->fd, offset, head, sizeof(head))) != 0)
		return rc;
	base_get_bytes(&r, 5);
	packing = base_get_le(&r, 1);
	base_get_le(&r, 2);
	at = base_get_le(&r, 8);
	stored_len = base_get_le(&r, 4);
	raw_len = base_get_le(&r, 4);
	if (memcmp(head, section_magic, sizeof(section_magic)) != 0 || head[4] != kind || packing > 1 ||
	    at != offset || raw_len > BACKUP_RAW_MAX || stored_len > raw_len ||
	    stored_len > f->size - offset - HEAD_BYTES || (packing == 0 && stored_len != raw_len))
		return SHELF_ECORRUPT;
	if ((rc = get(f->fd, offset + HEAD_BYTES, shelf_buf_reserve(&stored, stored_len), stored_len)) != 0)
		goto out;
	stored.len = stored_len;
	sum(shelf_span(head, HEAD_SUMMED), shelf_span(f->id, sizeof(f->id)), shelf_buf_span(&stored), check);
	if (memcmp(check, head + HEAD_SUMMED, sizeof(check)) != 0)
		rc = SHELF_ECORRUPT;
	else if (packing == 0)
		shelf_buf_add_span(raw, shelf_buf_span(&stored));
	else
		rc = blob_frame_unpack(shelf_buf_span(&stored), raw_len, raw);
	if (rc == 0 && raw->len != raw_len)
		rc = SHELF_ECORRUPT;
	if (next_out != NULL)
		*next_out = offset + HEAD_BYTES + stored_len;
out:
	shelf_buf_free(&stored);
	return rc;
}
