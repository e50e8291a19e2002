"""test_race.py - many sessions in two daemons on one store move the same messages: each one moves once

What every session is told is held against RFC 9051 7.5.1: no EXPUNGE with FETCH, STORE and SEARCH by number, and
what it has not been told to be gone it can read.
"""
import copy
import os
import random
import re
import threading

from daemon import Daemon, expect
from wire import Imap

MESSAGES = 240
SESSIONS = 8


def second(d):
    """Another daemon on the store of D."""
    other = copy.copy(d)
    other.port, other.process, other.log_path = {}, None, os.path.join(d.dir, "log-of-the-second")
    other.start()
    return other


class Mover(threading.Thread):
    def __init__(self, d, n, seed, barrier):
        super().__init__()
        self.d, self.n, self.random, self.barrier = d, n, random.Random(seed), barrier
        self.count, self.moved, self.error = 0, 0, None

    def run(self):
        try:
            self.m = Imap(self.d.connect("imap"), "joe", "secret")
            self.m.ok("CREATE box%d" % self.n)
            self.take(self.m.ok("SELECT INBOX"), True)
            self.barrier.wait(60)
            while self.count > 0:
                self.step()
            self.m.ok("LOGOUT")
        except BaseException as error:
            self.error = error

    def take(self, untagged, may_renumber):
        """Numbers of messages as this session is told."""
        for parts in untagged:
            exists = re.match(rb"\* (\d+) EXISTS", parts[0])
            gone = re.match(rb"\* (\d+) EXPUNGE", parts[0])
            if exists:
                self.count = int(exists.group(1))
            if gone:
                expect(may_renumber, "EXPUNGE where it is forbidden")
                expect(1 <= int(gone.group(1)) <= self.count, "EXPUNGE of no message: %r" % parts[0])
                self.count -= 1

    def do(self, command, may_renumber):
        status, untagged = self.m.do(command)
        self.take(untagged, may_renumber)
        return status, untagged

    def step(self):
        kind = self.random.randrange(6)
        first = self.random.randint(1, self.count)
        last = min(self.count, first + self.random.randrange(12))
        if kind == 0:
            self.do("NOOP", True)
        elif kind == 1:
            before = self.count
            status, untagged = self.do("FETCH %d:%d BODY.PEEK[HEADER.FIELDS (SUBJECT)]" % (first, last), False)
            got = sum(re.match(rb"\* \d+ FETCH ", p[0]) is not None and len(p) > 1 for p in untagged)
            expect(status.startswith(b"OK") and got == last - first + 1,
                "%d of %d..%d of %d could be read: %r" % (got, first, last, before, status))
        elif kind == 2:
            status, untagged = self.do("SEARCH ALL", False)
            expect(len(untagged[0][0].split()) - 2 == self.count, "SEARCH finds others than there are")
        elif kind == 3:
            self.do(r"STORE %d +FLAGS.SILENT (\Seen)" % first, False)
        else:
            uid = "UID " if kind == 4 else ""
            numbers = self.random.randint(1, MESSAGES) if uid else first
            upto = numbers + 12 if uid else last
            status, untagged = self.do("%sMOVE %d:%d box%d" % (uid, numbers, upto, self.n), True)
            expect(status.startswith(b"OK") or b"EXPUNGEISSUED" in status, "MOVE: %r" % status)
            for parts in untagged:
                told = re.match(rb"\* OK \[COPYUID \d+ (\S+) (\S+)\]", parts[0])
                if told:
                    self.moved += sum(size(run) for run in told.group(1).split(b","))


def size(run):
    ends = [int(n) for n in run.split(b":")]
    return ends[-1] - ends[0] + 1


def test_each_message_is_moved_once():
    with Daemon() as d:
        m = Imap(d.connect("imap"), "joe", "secret")
        tags = [m.append_start("INBOX", b"Subject: message %d\r\n\r\n" % n) for n in range(MESSAGES)]
        for tag in tags:
            expect(m.finish(tag)[0].startswith(b"OK"), "APPEND failed")
        other = second(d)
        try:
            barrier = threading.Barrier(SESSIONS)
            movers = [Mover((d, other)[n % 2], n, n, barrier) for n in range(SESSIONS)]
            for mover in movers:
                mover.start()
            for mover in movers:
                mover.join(120)
                expect(not mover.is_alive(), "a session hangs")
                if mover.error is not None:
                    raise mover.error
        finally:
            other.stop()
        expect(sum(mover.moved for mover in movers) == MESSAGES,
            "%d moves are told of %d messages" % (sum(mover.moved for mover in movers), MESSAGES))
        found = []
        for name in ["INBOX"] + ["box%d" % n for n in range(SESSIONS)]:
            m.ok("EXAMINE " + name)
            for parts in m.ok("UID FETCH 1:* BODY.PEEK[HEADER.FIELDS (SUBJECT)]"):
                if len(parts) > 1:
                    expect(name != "INBOX", "left in INBOX: %r" % parts[1])
                    found.append(parts[1])
        expect(len(found) == MESSAGES and len(set(found)) == MESSAGES,
            "%d messages, %d different ones" % (len(found), len(set(found))))
        m.ok("LOGOUT")
