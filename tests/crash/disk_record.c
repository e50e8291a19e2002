/*
 * disk_record.c - what happened on the disk, one event after the other
 *
 *   OFFSET SIZE MEANING
 *   0      1    kind
 *   1      64   path, NUL behind it
 *   65     8    offset
 *   73     4    bytes of data
 *   77     ...  data
 */
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "disk_inside.h"
#include "support.h"

enum { HEAD_BYTES = 77 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int record_fd = -1;
static char root[PATH_MAX];

bool
disk_is_record(int fd)
{
	return fd == record_fd;
}

static void
put(const void *data, size_t len)
{
	if (syscall(SYS_write, record_fd, data, len) != (long)len)
		support_fatal("the record cannot be written");
}

void
disk_record_event(enum disk_event_kind kind, const char *path, uint64_t offset, const void *data, size_t len)
{
	uint8_t head[HEAD_BYTES] = {(uint8_t)kind};
	uint32_t len32 = (uint32_t)len;

	memcpy(head + 1, path, strlen(path));
	memcpy(head + 65, &offset, sizeof offset);
	memcpy(head + 73, &len32, sizeof len32);
	put(head, sizeof head);
	if (len > 0)
		put(data, len);
}

/* Of the descriptor's file, as the kernel names it now. */
static bool
path_of_fd(int fd, char full[PATH_MAX])
{
	char link[64];
	ssize_t n;

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n = readlink(link, full, PATH_MAX - 1);
	if (n <= 0)
		return false;
	full[n] = '\0';
	return true;
}

/* Below the root, and one of the files recorded. */
static bool
below_root(const char *full, char path[DISK_PATH_MAX])
{
	size_t len = strlen(root);
	const char *rest = full + len;
	const char *name = strrchr(full, '/');

	if (strncmp(full, root, len) != 0 || (*rest != '\0' && *rest != '/'))
		return false;
	rest += *rest == '/';
	if (strncmp(rest, "tmp/", 4) == 0 || strcmp(name, "/lock.mdb") == 0 || strstr(rest, " (deleted)") != NULL)
		return false;
	if (strlen(rest) >= DISK_PATH_MAX)
		support_fatal("a path too long for a record: %s", rest);
	snprintf(path, DISK_PATH_MAX, "%s", rest);
	return true;
}

bool
disk_record_path(int dir, const char *name, char path[DISK_PATH_MAX])
{
	char full[PATH_MAX];

	if (record_fd < 0)
		return false;
	if (name[0] == '/')
		return below_root(name, path);
	if (dir == AT_FDCWD || !path_of_fd(dir, full) || strlen(full) + strlen(name) + 2 > sizeof full)
		return false;
	strcat(full, "/");
	strcat(full, name);
	return below_root(full, path);
}

bool
disk_record_begin_at(int dir, const char *name, char path[DISK_PATH_MAX])
{
	if (!disk_record_path(dir, name, path))
		return false;
	pthread_mutex_lock(&lock);
	return true;
}

bool
disk_record_begin(int fd, char path[DISK_PATH_MAX])
{
	char full[PATH_MAX];

	if (record_fd < 0)
		return false;
	/* Locked first: a rename must not come between the name and the call. */
	pthread_mutex_lock(&lock);
	if (path_of_fd(fd, full) && below_root(full, path))
		return true;
	pthread_mutex_unlock(&lock);
	return false;
}

void
disk_record_end(void)
{
	pthread_mutex_unlock(&lock);
}

void
disk_record(const char *path, const char *dir)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0 || realpath(dir, root) == NULL)
		support_fatal("no record at %s", path);
	record_fd = fd;
}

void
disk_note(const void *data, size_t len)
{
	pthread_mutex_lock(&lock);
	disk_record_event(DISK_EVENT_NOTE, "", 0, data, len);
	pthread_mutex_unlock(&lock);
}

bool
disk_event_next(struct shelf_span record, size_t *pos, struct disk_event *out)
{
	const uint8_t *head = record.data + *pos;
	uint32_t len;

	if (record.len - *pos < HEAD_BYTES)
		return false;
	memcpy(&len, head + 73, sizeof len);
	if (record.len - *pos - HEAD_BYTES < len)
		return false;
	out->kind = (enum disk_event_kind)head[0];
	memcpy(out->path, head + 1, sizeof out->path);
	memcpy(&out->offset, head + 65, sizeof out->offset);
	out->data = shelf_span(head + HEAD_BYTES, len);
	*pos += HEAD_BYTES + len;
	return true;
}
