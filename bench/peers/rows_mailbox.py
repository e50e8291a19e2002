"""rows_mailbox.py - one mailbox of some size: everything that a client does with it, in the order of STEPS

Each round fills a new mailbox in each server and walks through the steps; in a step the servers take turns. "First time"
is the first of its kind in this mailbox since it was filled, "later" the next. Whole mail up to 10,000 messages, tiny mail
(450 bytes) beyond. One round only above 10,000, cheap steps are repeated in it.
"""
import os
import re
import time

import accounting
import client

LISTING = "FETCH 1:* (FLAGS INTERNALDATE RFC822.SIZE BODYSTRUCTURE ENVELOPE)"


class Box:
    """The mailbox in one server."""

    def __init__(self, bench, server, size, round_number):
        self.bench, self.server, self.size, self.round = bench, server, size, round_number
        self.user = "m%d-%d" % (size, round_number)
        self.corpus = bench.mail_for(size)
        self.session = None
        self.dead = False

    def close(self):
        if self.session is not None:
            self.session.close()
            self.session = None

    def fresh(self):
        """A new connection, logged in."""
        self.close()
        self.session = self.server.session(self.user)
        return self.session

    def selected(self):
        if self.session is None or self.session.process.poll() is not None:
            self.fresh().imap("SELECT INBOX")
        return self.session

    def timed(self, row, function, unit=lambda answer: answer["ms"], per=1):
        cpu = self.server.group.cpu_ms()
        answer = function()
        cpu = self.server.group.cpu_ms() - cpu
        self.bench.sample(row, self.size, self.server, unit(answer), cpu / per, answer["cpu_ms"] / per)
        return answer

    def command(self, row, text, count=False, unit=lambda answer: answer["ms"]):
        s = self.selected()
        return self.timed(row, lambda: s.imap(text, count), unit)


def mb_s(answer):
    return answer["bytes"] / answer["ms"] / 1e3


def repeats(box):
    return 3 if box.size > 10000 else 1


def fill(box):
    server, count = box.server, box.corpus["messages"]
    per = 500 if box.corpus["bytes"] / count < 1000 else 100
    server.need_users([box.user])
    with server.session(box.user) as s:
        box.timed("append", lambda: s.append("INBOX", box.corpus["path"], 0, count, per, max(box.bench.limit, box.size // 1500)), mb_s)
        status = s.imap("STATUS INBOX (MESSAGES)")
        if "MESSAGES %d)" % count not in status["head"]:
            raise client.RowFailed("holds other than %d messages: %s" % (count, status["head"][:80]))


def select(box, row="select", times=5):
    for _ in range(times):
        s = box.fresh()
        box.timed(row, lambda: s.imap("SELECT INBOX"))


def status(box):
    for _ in range(5):
        s = box.fresh()
        box.timed("status", lambda: s.imap("STATUS INBOX (MESSAGES UNSEEN UIDNEXT UIDVALIDITY)"))
    box.close()


def repeated(row, text):
    def step(box):
        for _ in range(3):
            box.command(row, text)
    return step


def twice(row, text, count=False):
    def step(box):
        for n in range(1 + repeats(box)):
            answer = box.command("%s-%d" % (row, min(n + 1, 2)), text, count)
        if count:
            box.bench.compare(row, box.size, box.server, answer)
    return step


def body_one(box):
    s = box.selected()
    box.timed("body-one", lambda: s.each(300, 7 + box.round, box.size, "FETCH %u BODY.PEEK[]"), lambda a: a["times"]["p50"], 300)


def bodies(box):
    for _ in range(repeats(box)):
        answer = box.command("bodies", "FETCH 1:* BODY.PEEK[]", unit=mb_s)
    if answer["bytes"] < box.corpus["bytes"]:
        raise client.RowFailed("sent %d bytes of %d" % (answer["bytes"], box.corpus["bytes"]))


def bodies_tls(box):
    with box.server.session(box.user, tls=True) as s:
        s.imap("SELECT INBOX")
        for _ in range(repeats(box)):
            box.timed("bodies-tls", lambda: s.imap("FETCH 1:* BODY.PEEK[]"), mb_s)


def store_one(box):
    s = box.selected()
    box.timed("store-one", lambda: s.each(200, 11 + box.round, box.size, "STORE %u +FLAGS.SILENT (\\Flagged)"),
        lambda a: a["times"]["p50"], 200)


def store_one_syncs(box):
    if box.round > 0:
        return
    s = box.selected()
    with accounting.Trace(box.server.group, os.path.join(box.bench.dir, "trace")) as trace:
        s.each(50, 99, box.size, "STORE %u +FLAGS.SILENT (benched)")
    box.bench.sample("store-one-syncs", box.size, box.server, trace.syncs / 50)


def store_all(box):
    for n in range(repeats(box)):
        box.command("store-all", "STORE 1:* %sFLAGS.SILENT (\\Answered)" % "+-"[n % 2])


def ten_changes(box):
    """What a client that comes back knows; then another one changes ten flags."""
    with box.server.session(box.user) as s:
        s.imap("SELECT INBOX (CONDSTORE)")
        head = s.imap("STATUS INBOX (HIGHESTMODSEQ UIDVALIDITY)")["head"]
        s.each(10, 1000 + time.monotonic_ns() % 1000, box.size, "STORE %u -FLAGS.SILENT (\\Seen)")
        s.each(10, 2000 + time.monotonic_ns() % 1000, box.size, "STORE %u +FLAGS.SILENT (\\Draft)")
    return (re.search(r"UIDVALIDITY (\d+)", head).group(1), re.search(r"HIGHESTMODSEQ (\d+)", head).group(1))


def changedsince(box):
    for _ in range(3):
        _, modseq = ten_changes(box)
        s = box.fresh()

        def both():
            first = s.imap("SELECT INBOX (CONDSTORE)")
            then = s.imap("UID FETCH 1:* (FLAGS) (CHANGEDSINCE %s)" % modseq)
            return {"ms": first["ms"] + then["ms"], "cpu_ms": first["cpu_ms"] + then["cpu_ms"]}
        box.timed("changedsince", both)


def qresync(box):
    for _ in range(3):
        validity, modseq = ten_changes(box)
        s = box.fresh()
        s.imap("ENABLE QRESYNC")
        box.timed("qresync", lambda: s.imap("SELECT INBOX (QRESYNC (%s %s))" % (validity, modseq)))
    box.close()


def pop3_open(box):
    for n in range(1 + repeats(box)):
        with box.server.session(box.user, protocol="pop3") as s:
            def opening():
                steps = (("USER " + box.user, False), ("PASS secret", False), ("STAT", False), ("UIDL", True), ("LIST", True))
                answers = [s.pop(text, many) for text, many in steps]
                return {"ms": sum(a["ms"] for a in answers), "cpu_ms": sum(a["cpu_ms"] for a in answers)}
            box.timed("pop3-open-%d" % min(n + 1, 2), opening)
            s.pop("QUIT")


def pop3_retr(box):
    if box.size > 100000:
        return
    with box.server.session(box.user, protocol="pop3") as s:
        for text in ("USER " + box.user, "PASS secret"):
            s.pop(text)
        box.timed("pop3-retr", lambda: s.retr(1, box.size), mb_s)
        s.pop("QUIT")


def move(box):
    box.fresh().imap("CREATE Other")
    box.session.imap("SELECT INBOX")
    box.command("move", "MOVE 1:%d Other" % min(1000, box.size // 2))


def expunge(box):
    left = box.size - min(1000, box.size // 2)
    s = box.selected()
    for start in range(1, left + 1, 2000):
        s.imap("STORE %s +FLAGS.SILENT (\\Deleted)" % ",".join(map(str, range(start, min(start + 2000, left + 1), 2))))
    box.command("expunge", "EXPUNGE")
    box.close()


STEPS = (
    ({"append"}, fill, True),
    ({"select"}, select, False),
    ({"status"}, status, False),
    ({"fetch-flags"}, repeated("fetch-flags", "FETCH 1:* (UID FLAGS)"), False),
    ({"envelope-1", "envelope-2"}, twice("envelope", "FETCH 1:* ENVELOPE"), False),
    ({"listing-1", "listing-2"}, twice("listing", LISTING), False),
    ({"search-flags"}, repeated("search-flags", "SEARCH UNSEEN"), False),
    ({"search-subject-1", "search-subject-2"}, twice("search-subject", "SEARCH SUBJECT ingfor", True), False),
    ({"search-body-1", "search-body-2"}, twice("search-body", "SEARCH BODY quiverre", True), False),
    ({"sort-date-1", "sort-date-2"}, twice("sort-date", "SORT (REVERSE DATE) UTF-8 ALL", True), False),
    ({"sort-subject-1", "sort-subject-2"}, twice("sort-subject", "SORT (SUBJECT) UTF-8 ALL", True), False),
    ({"thread-1", "thread-2"}, twice("thread", "THREAD REFERENCES UTF-8 ALL", False), False),
    ({"body-one"}, body_one, False),
    ({"bodies"}, bodies, False),
    ({"bodies-tls"}, bodies_tls, False),
    ({"store-one"}, store_one, False),
    ({"store-one-syncs"}, store_one_syncs, False),
    ({"store-all"}, store_all, False),
    ({"changedsince"}, changedsince, False),
    ({"qresync"}, qresync, False),
    ({"pop3-open-1", "pop3-open-2"}, pop3_open, False),
    ({"pop3-retr"}, pop3_retr, False),
    ({"move"}, move, False),
    ({"expunge"}, expunge, False),
    ({"select-after"}, lambda box: select(box, "select-after", 1), False),
)
# Later ones change what these find.
NEEDS = {"select-after": {"move", "expunge"}, "expunge": {"move"}}


def mailbox(bench, wanted):
    needed = set(wanted).union(*(NEEDS.get(row, set()) for row in wanted))
    for size in bench.options.sizes:
        for round_number in range(bench.options.rounds if size <= 10000 else 1):
            boxes = [Box(bench, server, size, round_number) for server in bench.turns(round_number)]
            try:
                for names, step, always in STEPS:
                    if always or names & needed:
                        for box in boxes:
                            one_step(bench, box, names, step)
                    boxes = boxes[1:] + boxes[:1]
                    bench.save()
            finally:
                for box in boxes:
                    box.close()


def one_step(bench, box, names, step):
    if box.dead and not bench.over():
        for name in names:
            bench.note(name, box.size, box.server, "the mailbox could not be filled")
        return
    if not bench.attempt(box.server, names, box.size, lambda: step(box)):
        box.close()
        box.dead = step is fill
