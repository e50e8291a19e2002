"""test_move.py - an account moves between partitions under open sessions of every door"""
import json
import re
import threading
import time

from daemon import Daemon, expect, message
from wire import Imap, Lmtp, Pop

MOVES = 6
FIRST = 60


def move(d, to):
    done = json.loads(d.tool("account", "move", "joe", "--partition", str(to), "--json").stdout)
    expect(done["finished"] and done["moved"][0]["to"] == to, repr(done))
    return done["moved"][0]


class Deliveries(threading.Thread):
    """Delivers until it is told to stop; knows what was acknowledged."""

    def __init__(self, d):
        super().__init__()
        self.lmtp = Lmtp(d.connect("lmtp"))
        self.acked, self.refused, self.stopping = [], [], False

    def run(self):
        n = 1000
        while not self.stopping:
            reply = self.lmtp.deliver(message(n, 300 + n % 7 * 20000), "joe")[0]
            (self.acked if reply.startswith(b"250") else self.refused).append((n, reply))
            n += 1


def subjects(m):
    found = []
    for parts in m.ok("FETCH 1:* BODY.PEEK[HEADER.FIELDS (SUBJECT)]"):
        found += [int(n) for part in parts for n in re.findall(rb"Subject: \w+ (\d+)", part)]
    return sorted(found)


def state(m):
    """What a client would throw its copy away for."""
    text = b" ".join(p for parts in m.ok("SELECT INBOX") for p in parts)
    return re.search(rb"UIDVALIDITY (\d+)", text).group(1)


def test_sessions_go_on_over_moves():
    with Daemon() as d:
        d.tool("partition", "add")
        lmtp = Lmtp(d.connect("lmtp"))
        for n in range(FIRST):
            expect(lmtp.deliver(message(n), "joe")[0].startswith(b"250"), "LMTP refused")
        idle = Imap(d.connect("imap"), "joe", "secret")
        validity = state(idle)
        idle.tag = idle.start("IDLE")
        expect(idle.line().startswith(b"+"), "IDLE was not taken")
        other = Imap(d.connect("imap"), "joe", "secret")
        state(other)
        pop = Pop(d.connect("pop3"), "joe", "secret")
        deliveries = Deliveries(d)
        deliveries.start()
        for n in range(MOVES):
            moved = move(d, (n + 1) % 2)
            expect(moved["messages"] >= FIRST, repr(moved))
            # Reading and changing, in the sessions of before.
            expect(b"Subject: message 0" in pop.multi("RETR 1"), "POP3 read something else")
            other.ok(r"UID STORE 1 %sFLAGS (\Flagged)" % "+-"[n % 2])
            expect(any(b"Subject: message 1\r" in p for parts in other.ok("UID FETCH 2 BODY.PEEK[]") for p in parts),
                "IMAP read something else")
            found = other.ok("UID SEARCH UID 1 FLAGGED")[0][0]
            expect((b" 1" in found) == (n % 2 == 0), "the flag is not as it was set: %r" % found)
        deliveries.stopping = True
        deliveries.join()
        expect(not deliveries.refused, "refused: %r" % deliveries.refused[:3])
        expect(len(deliveries.acked) > MOVES, "hardly anything came in between")
        wanted = sorted(list(range(FIRST)) + [n for n, _ in deliveries.acked])
        # The one that idles has been told of the last one.
        last = b"* %d EXISTS" % len(wanted)
        end = time.monotonic() + 10
        while idle.line() != last:
            expect(time.monotonic() < end, "%r did not come" % last)
        idle.send(b"DONE\r\n")
        expect(idle.finish(idle.tag)[0].startswith(b"OK"), "IDLE did not end")
        expect(state(other) == validity, "UIDVALIDITY is another one")
        expect(subjects(other) == wanted, "what was acknowledged is not what is there")
        pop.ok("DELE 2")
        pop.ok("QUIT")
        for m in (idle, other):
            m.ok("LOGOUT")


def test_a_transfer_goes_on_over_a_move():
    with Daemon() as d:
        d.tool("partition", "add")
        large = message(1, 12 << 20)
        d.deliver("joe", large)
        m = Imap(d.connect("imap"), "joe", "secret")
        state(m)
        tag = m.start("FETCH 1 BODY.PEEK[]")
        time.sleep(0.3)  # what fits the socket has been read in the old place
        move(d, 1)
        status, untagged = m.finish(tag)
        expect(status.startswith(b"OK"), repr(status))
        expect(untagged[0][1].endswith(large), "other bytes came behind the move")
        expect(m.ok("FETCH 1 BODY.PEEK[]")[0][1].endswith(large), "other bytes are there now")
        m.ok("LOGOUT")


def test_a_partition_is_drained():
    with Daemon(accounts=[("joe", "secret"), ("ann", "secret"), ("bob", "secret")]) as d:
        d.tool("partition", "add")
        lmtp = Lmtp(d.connect("lmtp"))
        for n in range(3):
            lmtp.deliver(message(n), "joe", "ann", "bob")
        done = json.loads(d.tool("partition", "drain", "0", "--json").stdout)
        expect(done["finished"] and len(done["moved"]) == 3, repr(done))
        # Each message came once, for all three.
        expect(sum(a["bodies"] for a in done["moved"]) == 3, repr(done))
        for name in ("joe", "ann", "bob"):
            m = Imap(d.connect("imap"), name, "secret")
            state(m)
            expect(subjects(m) == [0, 1, 2], "%s has not all" % name)
            m.ok("LOGOUT")
