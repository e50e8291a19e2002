/*
 * pop3_lock.c - one session a maildrop, in all processes that have the store open
 *
 * A lock of one byte of STORE/pop3.lock, at the account's id, held by a descriptor of its own: the kernel gives it back
 * when that is closed, so a process that dies leaves none behind. The file is always empty.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <mailshelf/mem.h>
#include <mailshelf/pop3.h>

#include "mail.h"

struct shelf_pop3_lock {
	int fd;
};

int
shelf_pop3_lock(struct shelf_store *store, uint32_t account, struct shelf_pop3_lock **out)
{
	struct flock byte = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = account, .l_len = 1};
	struct shelf_buf path = {0};
	int fd, rc = 0;

	*out = NULL;
	shelf_buf_printf(&path, "%s/pop3.lock", store->dir);
	fd = open(shelf_buf_cstr(&path), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	shelf_buf_free(&path);
	if (fd < 0)
		return mail_from_errno();
	if (fcntl(fd, F_OFD_SETLK, &byte) != 0)
		rc = errno == EAGAIN || errno == EACCES ? SHELF_EBUSY : mail_from_errno();
	if (rc != 0) {
		close(fd);
		return rc;
	}
	*out = SHELF_NEW(struct shelf_pop3_lock);
	(*out)->fd = fd;
	return 0;
}

void
shelf_pop3_unlock(struct shelf_pop3_lock **lock)
{
	if (*lock != NULL)
		close((*lock)->fd);
	free(*lock);
	*lock = NULL;
}
