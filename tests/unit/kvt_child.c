/* kvt_child.c - processes beside the test: helpers only, no suite */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "kvt_child.h"

void
kvt_spawn(struct kvt *t, struct kvt_child *c, int (*fn)(struct kvt_child *))
{
	ck_assert_ptr_null(t->db);
	ck_assert_int_eq(pipe2(c->go, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(c->said, O_CLOEXEC), 0);
	c->pid = fork();
	ck_assert_int_ge(c->pid, 0);
	if (c->pid == 0) {
		close(c->go[1]);
		close(c->said[0]);
		alarm(100); /* never longer than its parent */
		_exit(fn(c));
	}
	close(c->go[0]);
	close(c->said[1]);
}

int
kvt_reap(struct kvt_child *c)
{
	int status;

	ck_assert_int_eq(waitpid(c->pid, &status, 0), c->pid);
	close(c->go[1]);
	close(c->said[0]);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

void
kvt_start_two(struct kvt *t, struct kvt_child *c, int (*a)(struct kvt_child *), int (*b)(struct kvt_child *))
{
	kvt_close(t);
	kvt_spawn(t, &c[0], a);
	kvt_spawn(t, &c[1], b);
	kvt_open(t);
	for (int i = 0; i < 2; i++)
		ck_assert(kvt_wait(c[i].said[0]));
}

uint32_t
kvt_end_two(struct kvt_child *c)
{
	uint32_t sum = 0, n;

	for (int i = 0; i < 2; i++)
		ck_assert(kvt_nod(c[i].go[1]));
	for (int i = 0; i < 2; i++) {
		bool heard = kvt_hear(c[i].said[0], &n, 4);

		ck_assert_int_eq(kvt_reap(&c[i]), 0);
		ck_assert(heard);
		sum += n;
	}
	return sum;
}

bool
kvt_hear(int fd, void *bytes, size_t len)
{
	ssize_t n;

	do {
		n = read(fd, bytes, len);
	} while (n < 0 && errno == EINTR);
	return n == (ssize_t)len;
}

bool
kvt_say(int fd, const void *bytes, size_t len)
{
	return write(fd, bytes, len) == (ssize_t)len;
}

bool
kvt_wait(int fd)
{
	char c;

	return kvt_hear(fd, &c, 1);
}

bool
kvt_nod(int fd)
{
	return kvt_say(fd, "x", 1);
}

void
kvt_sleep_ms(long ms)
{
	nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}
