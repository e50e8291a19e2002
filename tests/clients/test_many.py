"""test_many.py - many IMAP sessions on the same two mailboxes at once

Each session keeps what a client keeps: which uid has which message number, learned from EXISTS, EXPUNGE
and FETCH alone. A number that the server uses must mean to the session what it means to the server, at
every step; when all is quiet everybody must see the same. The seed is in the failure's text;
MAILSHELF_SEED plays it again (threads still run as they like).
"""
import os
import random
import re
import threading
import time

from daemon import Daemon, Failed, expect, message
from wire import Imap, Lmtp

SESSIONS, STEPS = 6, 400
# During these a client may still refer to numbers, so nothing may be renumbered (RFC 9051 7.5.1).
NO_EXPUNGE = ("FETCH", "STORE", "SEARCH")


class Session:
    def __init__(self, d, seed):
        self.random = random.Random(seed)
        self.imap = Imap(d.connect("imap"), "joe", "secret")
        self.uids = []  # None: number known, uid not yet
        self.box = None
        self.select("INBOX")

    def select(self, box):
        self.box, self.uids = box, []
        self.do("SELECT " + box)
        self.learn()

    def learn(self):
        # What came in behind the FETCH is asked for again; what is no longer there may be passed over
        # by it (RFC 2180 4.1), and then leaves with the NOOP.
        for _ in range(20):
            if None not in self.uids:
                return
            self.do("FETCH 1:* (UID)")
            self.do("NOOP")
        raise Failed("FETCH and NOOP do not tell all uids: %r" % self.uids)

    def do(self, command):
        status, untagged = self.imap.do(command)
        self.take(command, untagged)
        expect(not status.startswith(b"BAD"), "%s: %r" % (command, status))
        return status

    def take(self, command, untagged):
        for parts in untagged:
            found = re.match(rb"\* (\d+) (EXISTS|EXPUNGE|FETCH|RECENT)(.*)", parts[0], re.S)
            if found is None:
                continue
            number, what = int(found.group(1)), found.group(2)
            if what == b"EXISTS":
                expect(number >= len(self.uids), "%s: EXISTS fell to %d" % (command, number))
                self.uids += [None] * (number - len(self.uids))
            elif what == b"EXPUNGE":
                expect(not command.startswith(NO_EXPUNGE), "EXPUNGE during " + command)
                expect(1 <= number <= len(self.uids), "EXPUNGE of number %d" % number)
                del self.uids[number - 1]
            elif what == b"FETCH":
                expect(1 <= number <= len(self.uids), "FETCH of number %d of %d"
                    % (number, len(self.uids)))
                uid = re.search(rb"\bUID (\d+)", found.group(3))
                if uid is not None:
                    self.is_uid(number, int(uid.group(1)))

    def is_uid(self, number, uid):
        known = self.uids[number - 1]
        expect(known in (None, uid), "number %d is uid %s here, %d there" % (number, known, uid))
        self.uids[number - 1] = uid
        order = [u for u in self.uids if u is not None]
        expect(order == sorted(set(order)), "uids do not ascend")

    def some(self):
        first = self.random.randrange(1, len(self.uids) + 1)
        return "%d:%d" % (first, min(len(self.uids), first + self.random.randrange(4)))

    def step(self, n):
        r, other = self.random, "Other" if self.box == "INBOX" else "INBOX"
        kind = r.choice("append append append store store expunge copy move fetch search noop idle "
            "select uidexpunge".split())
        if kind == "append" and len(self.uids) < 60:
            status, untagged = self.imap.finish(self.imap.append_start(self.box, message(n)))
            self.take("APPEND", untagged)
            expect(status.startswith(b"OK"), "APPEND: %r" % status)
        elif kind == "select" and r.random() < 0.3:
            self.select(other)
        elif kind == "idle":
            tag = self.imap.start("IDLE")
            responses = []
            while True:
                parts = self.imap.response()
                if parts[0].startswith(b"+"):
                    break
                responses.append(parts)
            time.sleep(r.random() * 0.02)
            self.imap.send(b"DONE\r\n")
            _, more = self.imap.finish(tag)
            self.take("IDLE", responses + more)
        elif not self.uids:
            self.do("NOOP")
        elif kind == "store":
            self.do("STORE %s %sFLAGS%s (%s)" % (self.some(), r.choice(["+", "-"]),
                r.choice(["", ".SILENT"]), r.choice([r"\Deleted", r"\Seen", r"\Flagged word"])))
        elif kind == "expunge":
            self.do("EXPUNGE")
        elif kind == "uidexpunge" and None not in self.uids:
            self.do("UID EXPUNGE %d" % r.choice(self.uids))
        elif kind in ("copy", "move"):
            self.do("%s %s %s" % (kind.upper(), self.some(), other))
        elif kind == "fetch":
            self.do("FETCH %s (UID FLAGS%s)" % (self.some(), r.choice(["", " BODY.PEEK[HEADER]"])))
        elif kind == "search":
            self.do("SEARCH UNSEEN")
        else:
            self.do("NOOP")

    def picture(self):
        self.select("INBOX")
        inbox = self.flags()
        self.select("Other")
        return inbox, self.flags()

    def flags(self):
        if not self.uids:
            return []
        lines = [p[0] for p in self.imap.ok("FETCH 1:* (UID FLAGS)")]
        return sorted(re.sub(rb"\\Recent ?", b"", line).replace(b" )", b")") for line in lines)


def one(session, failures, seed):
    try:
        for n in range(STEPS):
            session.step(n)
    except Exception as error:
        failures.append("%s (seed %d)" % (error, seed))


def test_sessions():
    seed = int(os.environ.get("MAILSHELF_SEED", random.randrange(1 << 30)))
    with Daemon() as d:
        Imap(d.connect("imap"), "joe", "secret").ok("CREATE Other")
        sessions, failures = [Session(d, seed + n) for n in range(SESSIONS)], []
        threads = [threading.Thread(target=one, args=(s, failures, seed)) for s in sessions]
        for t in threads:
            t.start()
        lmtp = Lmtp(d.connect("lmtp"))
        while any(t.is_alive() for t in threads):
            lmtp.deliver(message(99), "joe")
            time.sleep(0.05)
        for t in threads:
            t.join()
        if failures:
            raise Failed(failures[0])
        # Numbers first as each session has them, then as everybody must have them.
        for s in sessions:
            s.do("NOOP")
            s.learn()
        pictures = [s.picture() for s in sessions]
        for picture in pictures:
            expect(picture == pictures[0], "two sessions see different mailboxes (seed %d)" % seed)
