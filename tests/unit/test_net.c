/*
 * test_net.c - connections over socketpairs and loopback: bytes, ends, time, wakes
 *
 * No test waits for a fixed time to pass where it could wait for an event; the few that test time
 * use the smallest unit the interface has.
 */
#include <check.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mailshelf/mem.h>

#include "net_rig.h"

static struct rig rig;

/* ---- Lines and bytes --------------------------------------------------------------------------- */

START_TEST(echoes)
{
	struct client c;

	rig_start(&rig, 1, false, false);
	c = client_greeted(client_pair(&rig));
	client_send(&c, "echo one\r\necho two\r\nec");
	ck_assert_str_eq(client_line(&c), "one");
	ck_assert_str_eq(client_line(&c), "two");
	client_send(&c, "ho three\r\ntlsinfo\r\nquit\r\necho never\r\n");
	ck_assert_str_eq(client_line(&c), "three");
	ck_assert_str_eq(client_line(&c), "0 ");
	ck_assert_str_eq(client_line(&c), "bye");
	ck_assert_int_eq(client_rest(&c), 0);
	ck_assert_str_eq(rig_reason(&rig, 1), "quit");
	client_close(&c);
	rig_stop(&rig);
}
END_TEST

/* Much more than the socket holds: the session must be stopped and called again. */
static void
large_output(bool tls)
{
	struct client c;

	rig_start(&rig, 1, tls, tls);
	c = client_pair(&rig);
	if (tls)
		ck_assert(client_tls(&c));
	c = client_greeted(c);
	client_send(&c, "big 30000000\r\necho end\r\n");
	ck_assert(client_bytes(&c, 30000000));
	ck_assert_str_eq(client_line(&c), "end");
	ck_assert_int_ge(rig.drained, 100);
	client_close(&c);
	rig_stop(&rig);
}

START_TEST(large_output_in_clear)
{
	large_output(false);
}
END_TEST

START_TEST(large_output_over_tls)
{
	large_output(true);
}
END_TEST

/* A client that never reads holds about the high mark, not the whole reply. */
START_TEST(unread_output_stays_in_the_session)
{
	struct client c;

	rig_start(&rig, 1, false, false);
	c = client_pair(&rig);
	client_send(&c, "big 400000000\r\n");
	usleep(200000);
	ck_assert_int_le(rig.drained, 20);
	client_close(&c);
	ck_assert_str_eq(rig_reason(&rig, 1), "connection lost");
	rig_stop(&rig);
}
END_TEST

/* Many commands at once and nobody reading: input is held back while the output is full. */
START_TEST(pipelined_flood_is_held_back)
{
	struct client c;
	char many[6 * 2000 + 1];

	for (int i = 0; i < 2000; i++)
		memcpy(many + 6 * i, i == 0 ? "flood\n" : "echo \n", 6);
	many[sizeof(many) - 1] = '\0';
	rig_start(&rig, 1, false, false);
	c = client_greeted(client_pair(&rig));
	client_send(&c, many);
	client_send(&c, "quit\n");
	ck_assert_int_eq(client_rest(&c), (1 << 20) + 1999 * 2 + 5);
	client_close(&c);
	rig_stop(&rig);
}
END_TEST

START_TEST(input_beyond_the_limit_stays_in_the_kernel)
{
	struct client c;
	char *line = shelf_alloc(300001);

	memset(line, 'x', 300000);
	line[300000] = '\0';
	rig_start(&rig, 1, false, false);
	c = client_greeted(client_pair(&rig));
	client_send(&c, "work 300\r\n");
	/* Lines as long as the limit go through while it works, without the limit being passed. */
	for (int i = 1; i <= 300; i++)
		line[i * 1000 - 1] = '\n';
	client_send(&c, line);
	client_send(&c, "quit\r\n");
	ck_assert_str_eq(client_line(&c), "worked");
	for (int i = 0; i < 300; i++)
		ck_assert_str_eq(client_line(&c), "what");
	ck_assert_str_eq(client_line(&c), "bye");
	client_close(&c);
	free(line);
	rig_stop(&rig);
}
END_TEST

START_TEST(input_can_be_narrowed_for_a_while)
{
	struct client c;
	char *lines = shelf_alloc(20001);

	memset(lines, '\n', 20000);
	lines[20000] = '\0';
	rig_start(&rig, 1, false, false);
	c = client_greeted(client_pair(&rig));
	for (int wide = 0; wide < 2; wide++) {
		client_send(&c, wide ? "narrow 0\n" : "narrow 4096\n");
		ck_assert_str_eq(client_line(&c), "narrowed");
		client_send(&c, "work 300\n");
		client_send(&c, "held\n");
		client_send(&c, lines);
		ck_assert_str_eq(client_line(&c), "worked");
		ck_assert_str_eq(client_line(&c), wide ? "many" : "few");
		for (int i = 0; i < 20000; i++)
			ck_assert_str_eq(client_line(&c), "what");
	}
	client_close(&c);
	free(lines);
	rig_stop(&rig);
}
END_TEST

/* ---- Ends --------------------------------------------------------------------------------------- */

START_TEST(half_closed_peer_gets_its_answers)
{
	struct client c;

	rig_start(&rig, 1, false, false);
	c = client_greeted(client_pair(&rig));
	client_send(&c, "work 50\r\nbig 2000000\r\nwait 20\r\npause 20\r\necho last\r\nunfinished");
	shutdown(c.fd, SHUT_WR);
	ck_assert_str_eq(client_line(&c), "worked");
	ck_assert(client_bytes(&c, 2000000));
	ck_assert_str_eq(client_line(&c), "waited");
	ck_assert_str_eq(client_line(&c), "resumed");
	ck_assert_str_eq(client_line(&c), "last");
	ck_assert_int_eq(client_rest(&c), 0);
	ck_assert_str_eq(rig_reason(&rig, 1), "closed by peer");
	client_close(&c);
	rig_stop(&rig);
}
END_TEST

START_TEST(peer_that_leaves_is_noticed)
{
	struct client c;

	rig_start(&rig, 1, false, false);
	c = client_greeted(client_pair(&rig));
	client_close(&c);
	ck_assert_str_eq(rig_reason(&rig, 1), "closed by peer");
	rig_stop(&rig);
}
END_TEST

/* Who does not read hears of it all the same, when he asks; a peer that has no more to say is there. */
START_TEST(who_works_on_hears_that_the_peer_hung_up)
{
	struct client c;

	rig_start(&rig, 1, false, false);
	c = client_greeted(client_pair(&rig));
	client_send(&c, "toil\r\necho never\r\n");
	shutdown(c.fd, SHUT_WR);
	usleep(100000);
	ck_assert_int_eq(rig.closed, 0);
	client_close(&c);
	ck_assert_str_eq(rig_reason(&rig, 1), "hung up");
	rig_stop(&rig);
}
END_TEST

/* The last line arrives although the client has sent more than anybody reads: no reset. */
START_TEST(last_words_survive_unread_input)
{
	struct client c;

	for (int i = 0; i < 20; i++) {
		rig_start(&rig, 1, false, false);
		rig_listen(&rig, "127.0.0.1:0", 10, 0);
		c = client_greeted(client_connect(net_listener_port(rig.listener)));
		client_send(&c, "quit\r\n");
		for (int k = 0; k < 20; k++)
			send(c.fd, "more and more and more\r\n", 24, MSG_NOSIGNAL);
		ck_assert_str_eq(client_line(&c), "bye");
		ck_assert_int_eq(client_rest(&c), 0);
		client_close(&c);
		rig_stop(&rig);
	}
}
END_TEST

START_TEST(close_waits_for_work)
{
	struct client c;

	rig_start(&rig, 1, false, false);
	c = client_greeted(client_pair(&rig));
	client_send(&c, "work 200\r\n");
	usleep(50000);
	client_close(&c);
	usleep(50000);
	ck_assert_int_eq(rig.closed, 0); /* the worker still has its argument */
	rig_wait(&rig.closed, 1);
	ck_assert_int_eq(rig.done, 1);
	rig_stop(&rig);
}
END_TEST

/* Four workers, three of them for long work. */
START_TEST(long_work_leaves_a_worker)
{
	struct client a, b, c;

	rig_start(&rig, 1, false, false);
	a = client_greeted(client_pair(&rig));
	b = client_greeted(client_pair(&rig));
	c = client_greeted(client_pair(&rig));
	client_send(&a, "share 300\r\n");
	client_send(&b, "share 100\r\n");
	rig_wait(&rig.sharing, 3);
	client_send(&c, "work 1\r\n");
	ck_assert_str_eq(client_line(&c), "worked");
	ck_assert_int_eq(rig.done, 1);
	ck_assert_int_eq(rig.sharing, 3);
	ck_assert_str_eq(client_line(&a), "worked");
	ck_assert_str_eq(client_line(&b), "worked");
	ck_assert_int_eq(rig.shared, 6);
	ck_assert_int_eq(rig.most_sharing, 3);
	ck_assert_int_eq(rig.done, 3);
	client_close(&a);
	client_close(&b);
	client_close(&c);
	rig_stop(&rig);
}
END_TEST

START_TEST(close_waits_for_all_who_share)
{
	struct client a, b;

	rig_start(&rig, 1, false, false);
	a = client_greeted(client_pair(&rig));
	b = client_greeted(client_pair(&rig));
	client_send(&a, "share 50\r\n");
	client_send(&b, "share 50\r\n");
	rig_wait(&rig.sharing, 1);
	client_close(&a);
	client_close(&b);
	rig_wait(&rig.closed, 2);
	ck_assert_int_eq(rig.shared, 6);
	ck_assert_int_eq(rig.sharing, 0);
	ck_assert_int_eq(rig.done, 2);
	rig_stop(&rig);
}
END_TEST

/* The pool is emptied before its threads end. */
START_TEST(stop_waits_for_all_who_share)
{
	struct client c;

	rig_start(&rig, 1, false, false);
	c = client_greeted(client_pair(&rig));
	client_send(&c, "share 100\r\n");
	rig_wait(&rig.sharing, 1);
	rig_stop(&rig);
	ck_assert_int_eq(rig.shared, 3);
	ck_assert_str_eq(client_line(&c), "worked");
	client_close(&c);
}
END_TEST

START_TEST(wait_ends_with_the_connection)
{
	struct client c;

	rig_start(&rig, 1, false, false);
	c = client_greeted(client_pair(&rig));
	client_send(&c, "wait 60\r\n");
	ck_assert_str_eq(client_line(&c), "waited");
	client_send(&c, "wait 3600000\r\n");
	usleep(20000);
	rig_stop(&rig); /* at once, not in an hour */
	ck_assert_int_eq(rig.done, 2);
	ck_assert_int_eq(rig.done_closing, 1);
	client_close(&c);
}
END_TEST

START_TEST(stop_answers_work_and_says_goodbye)
{
	struct client a, b;

	rig_start(&rig, 2, false, false);
	rig_listen(&rig, "127.0.0.1:0", 10, 0);
	a = client_greeted(client_connect(net_listener_port(rig.listener)));
	b = client_greeted(client_connect(net_listener_port(rig.listener)));
	client_send(&a, "work 200\r\n");
	client_send(&b, "echo b\r\n");
	ck_assert_str_eq(client_line(&b), "b");
	rig_stop(&rig);
	ck_assert_str_eq(client_line(&a), "worked");
	ck_assert_str_eq(client_line(&a), "stopping");
	ck_assert_int_eq(client_rest(&a), 0);
	ck_assert_str_eq(client_line(&b), "stopping");
	ck_assert_int_eq(client_rest(&b), 0);
	ck_assert_str_eq(rig.reason, "server stopping");
	client_close(&a);
	client_close(&b);
}
END_TEST

START_TEST(stop_does_not_wait_for_a_client_that_does_not_read)
{
	struct client c;
	int64_t before;

	rig_start(&rig, 1, false, false);
	c = client_greeted(client_pair(&rig));
	client_send(&c, "big 100000000\r\n");
	usleep(50000);
	before = shelf_mono_ms();
	rig_stop(&rig);
	ck_assert_int_lt(shelf_mono_ms() - before, 6000);
	client_close(&c);
}
END_TEST

START_TEST(attach_after_stop_is_closed)
{
	struct client c;

	rig_start(&rig, 1, false, false);
	net_loop_stop(rig.loops[0]);
	pthread_join(rig.threads[0], NULL);
	c = client_pair(&rig);
	net_loop_free(&rig.loops[0]);
	ck_assert_int_eq(client_rest(&c), 0);
	ck_assert_int_eq(rig.opened, 0);
	client_close(&c);
	net_pool_free(&rig.pool);
}
END_TEST

/* ---- Time and wakes ------------------------------------------------------------------------------ */

START_TEST(silence_times_out)
{
	struct client c;

	rig_start(&rig, 1, false, false);
	c = client_greeted(client_pair(&rig));
	client_send(&c, "idle 1\r\n");
	/* What comes in starts the time again. */
	for (int i = 0; i < 8; i++) {
		usleep(200000);
		client_send(&c, "echo alive\r\n");
		ck_assert_str_eq(client_line(&c), "alive");
	}
	ck_assert_int_eq(rig.timeouts, 0);
	ck_assert_str_eq(client_line(&c), "timeout");
	ck_assert_int_eq(rig.timeouts, 1);
	client_close(&c);
	rig_stop(&rig);
}
END_TEST

START_TEST(deadline_is_not_moved_by_input)
{
	struct client c;
	int64_t before;
	int sent = 0;

	rig_start(&rig, 1, false, false);
	c = client_greeted(client_pair(&rig));
	client_send(&c, "limit 1\r\n");
	before = shelf_mono_ms();
	while (rig.timeouts == 0 && shelf_mono_ms() - before < 5000) {
		send(c.fd, "e", 1, MSG_NOSIGNAL);
		usleep(10000);
		sent++;
	}
	ck_assert_int_eq(rig.timeouts, 1);
	ck_assert_int_ge(shelf_mono_ms() - before, 900);
	ck_assert_int_gt(sent, 10);
	client_close(&c);
	rig_stop(&rig);
}
END_TEST

START_TEST(deadline_waits_for_work_and_can_be_lifted)
{
	struct client c;

	rig_start(&rig, 1, false, false);
	c = client_greeted(client_pair(&rig));
	client_send(&c, "limit 1\r\nlimit 0\r\nwork 1200\r\necho still here\r\n");
	ck_assert_str_eq(client_line(&c), "worked");
	ck_assert_str_eq(client_line(&c), "still here");
	client_send(&c, "limit 1\r\nwork 1200\r\n");
	ck_assert_str_eq(client_line(&c), "worked");
	ck_assert_str_eq(client_line(&c), "timeout");
	client_close(&c);
	rig_stop(&rig);
}
END_TEST

START_TEST(alarm_comes_while_work_runs_and_can_be_lifted)
{
	struct client c;

	rig_start(&rig, 1, false, false);
	c = client_greeted(client_pair(&rig));
	client_send(&c, "alarm 20\r\nwork 300\r\n");
	ck_assert_str_eq(client_line(&c), "alarm");
	ck_assert_str_eq(client_line(&c), "worked");
	client_send(&c, "alarm 20\r\nalarm 0\r\nwork 100\r\nalarm 20\r\n");
	ck_assert_str_eq(client_line(&c), "worked");
	ck_assert_str_eq(client_line(&c), "alarm");
	/* It neither outlives the connection nor keeps it. */
	client_send(&c, "alarm 60000\r\nquit\r\n");
	ck_assert_str_eq(client_line(&c), "bye");
	ck_assert_int_eq(client_rest(&c), 0);
	client_close(&c);
	rig_stop(&rig);
}
END_TEST

static void *
wake_often(void *arg)
{
	for (int i = 0; i < 20000; i++)
		rig_wake(&rig);
	return NULL;
}

/* Merged, but never lost: after the last wake() of any thread comes one more callback. */
START_TEST(wakes_from_threads)
{
	pthread_t threads[4];
	struct client c;
	int before;

	rig_start(&rig, 1, false, false);
	c = client_greeted(client_pair(&rig));
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, wake_often, NULL);
	ck_assert_str_eq(client_line(&c), "woken");
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	ck_assert_int_le(rig.woken, 80000);
	/* All that were owed have come when one more has been answered. */
	client_send(&c, "echo mark\r\n");
	while (strcmp(client_line(&c), "mark") != 0)
		;
	before = rig.woken;
	rig_wake(&rig);
	rig_wait(&rig.woken, before + 1);
	client_close(&c);
	rig_stop(&rig);
}
END_TEST

START_TEST(wakes_while_the_connection_ends)
{
	pthread_t thread;
	struct client c;

	rig_start(&rig, 1, false, false);
	pthread_create(&thread, NULL, wake_often, NULL);
	for (int i = 0; i < 200; i++) {
		c = client_greeted(client_pair(&rig));
		client_close(&c);
	}
	pthread_join(thread, NULL);
	rig_wait(&rig.closed, 200);
	rig_stop(&rig);
}
END_TEST

static void
count_up(void *arg)
{
	atomic_fetch_add((_Atomic int *)arg, 1);
}

START_TEST(posts_and_timers)
{
	_Atomic int posted = 0, ticks = 0;
	struct net_loop *loop = net_loop_new();

	net_loop_every(loop, 10, count_up, &ticks);
	for (int i = 0; i < 1000; i++)
		net_loop_post(loop, count_up, &posted);
	net_loop_stop(loop);
	net_loop_run(loop);
	ck_assert_int_eq(posted, 1000);
	net_loop_post(loop, count_up, &posted); /* too late to run, but not lost */
	net_loop_free(&loop);
	ck_assert_int_eq(posted, 1001);
	rig_start(&rig, 1, false, false);
	rig_stop(&rig);
	ck_assert_int_le(ticks, 1);
}
END_TEST

static void
stop_at_five(void *arg)
{
	static int n;

	if (++n == 5)
		net_loop_stop(arg);
}

START_TEST(timer_repeats)
{
	struct net_loop *loop = net_loop_new();
	int64_t before = shelf_mono_ms();

	net_loop_every(loop, 20, stop_at_five, loop);
	net_loop_run(loop);
	ck_assert_int_ge(shelf_mono_ms() - before, 95);
	net_loop_free(&loop);
}
END_TEST

Suite *suite_net(void);

Suite *
suite_net(void)
{
	Suite *suite = suite_create("net");
	TCase *tc = tcase_create("net");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, echoes);
	tcase_add_test(tc, large_output_in_clear);
	tcase_add_test(tc, large_output_over_tls);
	tcase_add_test(tc, unread_output_stays_in_the_session);
	tcase_add_test(tc, pipelined_flood_is_held_back);
	tcase_add_test(tc, input_beyond_the_limit_stays_in_the_kernel);
	tcase_add_test(tc, input_can_be_narrowed_for_a_while);
	tcase_add_test(tc, half_closed_peer_gets_its_answers);
	tcase_add_test(tc, peer_that_leaves_is_noticed);
	tcase_add_test(tc, who_works_on_hears_that_the_peer_hung_up);
	tcase_add_test(tc, last_words_survive_unread_input);
	tcase_add_test(tc, close_waits_for_work);
	tcase_add_test(tc, long_work_leaves_a_worker);
	tcase_add_test(tc, close_waits_for_all_who_share);
	tcase_add_test(tc, stop_waits_for_all_who_share);
	tcase_add_test(tc, wait_ends_with_the_connection);
	tcase_add_test(tc, stop_answers_work_and_says_goodbye);
	tcase_add_test(tc, stop_does_not_wait_for_a_client_that_does_not_read);
	tcase_add_test(tc, attach_after_stop_is_closed);
	tcase_add_test(tc, silence_times_out);
	tcase_add_test(tc, deadline_is_not_moved_by_input);
	tcase_add_test(tc, deadline_waits_for_work_and_can_be_lifted);
	tcase_add_test(tc, alarm_comes_while_work_runs_and_can_be_lifted);
	tcase_add_test(tc, wakes_from_threads);
	tcase_add_test(tc, wakes_while_the_connection_ends);
	tcase_add_test(tc, posts_and_timers);
	tcase_add_test(tc, timer_repeats);
	suite_add_tcase(suite, tc);
	return suite;
}
