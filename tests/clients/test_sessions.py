"""test_sessions.py - several clients on a few mailboxes, doing anything at any time

The mailboxes are one account's, shared with another user, and one of that user's. The clients are of several kinds
(picture.py): five of the owner, one of the guest, POP3 and LMTP, and one that makes and deletes mailboxes and
changes what the guest may do.

A seed makes a run. In a lockstep run one command is under way at a time and the model says exactly what
each must bring; in a racing run clients send without waiting for each other, several commands in one go,
and the ledger says what can be true. Either way every response is checked (picture.py), and when all is quiet
every client must see what a fresh one sees.

    MAILSHELF_SEED=7 python3 tests/clients/run.py sessions.sessions  # that run alone; odd seeds are lockstep
    make sessions SECONDS_LONG=600 SEED=1000                         # from that seed on, for so long
    MAILSHELF_TRACE=100000                                           # a failure tells all that was said
"""
import os
import random
import time

import responses
from daemon import Daemon, Failed, expect
from ledger import FULL, GUESTS_BOX, READ, Ledger, Model
from picture import Client, Command
from session_commands import NAMES, Commands
from session_doors import Doors
from wire import Imap, Lmtp

KINDS = ("rev1", "condstore", "qresync", "qresync",
    ("uidonly", "uidonly+condstore", "uidonly+qresync"),
    ("notify", "notify+condstore", "notify+qresync", "notify+uidonly+qresync"),
    ("guest", "guest+condstore", "guest+qresync", "guest+uidonly+qresync", "guest+notify+qresync"))
MESSAGES_MAX = 40
RUNS, STEPS = 8, 1200


class Run(Commands, Doors):
    def __init__(self, daemon, seed):
        self.d, self.seed, self.r = daemon, seed, random.Random(seed)
        self.lockstep = seed % 2 == 1
        self.ledger, self.model = Ledger(), Model() if self.lockstep else None
        self.share_all()
        kinds = [kind if isinstance(kind, str) else self.r.choice(kind) for kind in KINDS]
        self.imaps = [Client(daemon, self.ledger, kind, "client %d" % n) for n, kind in enumerate(kinds)]
        for client in self.imaps:
            client.answered = self.told_all
        # Who has no mailbox open: a session that deletes its own is a case of its own.
        self.keeper = Client(daemon, self.ledger, "rev1", "keeper")
        self.lmtp, self.pop = Lmtp(daemon.connect("lmtp")), None
        self.pop_deleted = []

    def share_all(self):
        for name, to in (("joe", "ann"), ("ann", "joe")):
            owner = Imap(self.d.connect("imap"), name, "secret")
            owner.ok("SETACL INBOX %s %s" % (to, FULL))
            owner.close()

    # ---- steps ----

    def choose(self, client):
        """A command for CLIENT, or None. What cannot be sent behind others waits for them."""
        alone = not client.under_way
        if any(c.barrier for c in client.under_way):
            return None
        if client.uv is None:
            return self.select(client) if alone else None
        if client.entries and all(e.flags is None for e in client.entries) and not any(
                c.renumbers for c in client.under_way):
            return self.fetch_all(client)
        kinds = ["noop", "append", "fetch", "search", "use_saved"]
        if client.entries:
            kinds += ["fetch", "store", "store", "store", "copy", "copy", "expunge", "replace"]
        if alone:
            # Who listens hears of a mailbox until the answer to its end.
            kinds += ["idle", "leave"] + ["select"] * (not client.listens)
        kind = self.r.choice(kinds)
        if kind in ("fetch", "store", "copy", "replace") and not client.entries:
            return None
        if kind == "append" and len(self.ledger.content) - len(self.ledger.removed) > MESSAGES_MAX * 2:
            kind = "expunge"
        if kind == "noop":
            return Command("NOOP", "NOOP")
        if kind == "idle":
            return Command("IDLE", "IDLE", barrier=True)
        if kind == "leave":
            return self.leave(client)
        return getattr(self, kind)(client)

    @staticmethod
    def fetch_all(client):
        items = "(UID FLAGS%s)" % (" MODSEQ" * client.modseqs)
        if client.uids_alone:
            return Command("FETCH", "UID FETCH 1:* " + items, uid_form=True)
        return Command("FETCH", "FETCH 1:* " + items, renumbers=False)

    def told_all(self, client, command):
        """Behind every answer a client knows of all changes; of removals when they may be told."""
        box = self.model.by_uv(client.uv) if self.lockstep else None
        if box is None or client.may_end() or command.barrier:
            return  # BYE may follow
        if command.renumbers:
            self.same_uids(client, box)
        for e in client.entries:
            m = box.messages.get(e.uid)
            if m is None:
                continue
            client.must(e.flags is None or e.flags == m.flags, "uid %d has %s, told was %s", e.uid,
                sorted(m.flags), sorted(e.flags or ()))
            client.must(e.token in (None, m.token), "uid %d is %s, told was %s", e.uid, m.token, e.token)
            if e.modseq is not None and e.flags is not None:
                m.modseq = e.modseq

    def leave(self, client):
        name = self.r.choice(["UNSELECT", "CLOSE"])
        uv, writable = client.uv, client.writable

        def done(command, status):
            client.keep()
            box = self.model.by_uv(uv) if self.lockstep else None
            if name == "CLOSE" and writable and box is not None and self.may(client, box, FULL):
                self.model.expunge(box, None)
        if self.lockstep and self.may(client, self.model.by_uv(uv) or self.model.boxes["INBOX"], FULL) is None:
            name = "UNSELECT"
        return Command(name, name, done, quiet=False, barrier=True)

    def step(self):
        client = self.r.choice(self.imaps)
        if self.r.random() < 0.04:
            self.deliver()
        elif self.r.random() < 0.04:
            self.pop3()
        elif self.r.random() < 0.03:
            if not self.keeper.under_way:
                self.keeper.start(self.r.choice((self.mailbox, self.mailbox, self.share))(self.keeper))
            if self.lockstep or self.r.random() < 0.5:
                self.finish(self.keeper)
        elif client.idling:
            self.idle(client)
        elif client.listens and not client.under_way and client.ready():
            client.read()
        elif self.r.random() < 0.03 and all(c.quiet for c in client.under_way):
            client.drop()
        elif client.under_way and (self.lockstep or self.r.random() < 0.6 or len(client.under_way) > 5):
            client.read()
        else:
            command = self.choose(client)
            if command is None and client.under_way:
                client.read()
            elif command is not None:
                client.start(command)
        if self.lockstep:
            self.finish(client)

    def finish(self, client):
        while client.under_way and not client.idling:
            client.read()

    def idle(self, client):
        while client.idling and client.ready():
            client.read()
        if client.idling and self.r.random() < 0.5:
            client.imap.send(b"DONE\r\n")
            while client.under_way:
                client.read()

    def play(self, steps):
        for _ in range(steps):
            self.step()
        if self.pop is not None:
            self.pop_quit()
        self.lmtp.close()
        self.quiet()

    # ---- the end ----

    def quiet(self):
        """Nothing is under way any more: everybody's picture is what a fresh client sees."""
        for client in [*self.imaps, self.keeper]:
            while client.idling or client.under_way:
                if client.idling:
                    client.imap.send(b"DONE\r\n")
                    client.idling = False
                client.read()
        fresh = self.fresh()
        for client in self.imaps:
            if client.uv is not None and client.listens:
                if client.uidonly and any(e.uid is None for e in client.entries):
                    client.do(self.fetch_all(client))  # where those are that it never asked about nobody has said
                self.listen(client, fresh)
            elif client.uv is not None:
                client.do(self.fetch_all(client) if client.uidonly else Command("NOOP", "NOOP"))
            while client.uv is not None and client.may_end() and client.ready(0.5):
                client.read()  # BYE, if it is gone or not shared any more
            if client.uv is not None:
                self.compare(client, fresh)
            client.imap.close()
        self.keeper.imap.close()
        self.nothing_lost(fresh)

    def listen(self, client, fresh):
        """A client that listens is told of all without asking; uids of new ones come with them."""
        end = time.monotonic() + 20
        while client.uv is not None and time.monotonic() < end:
            there = [(uid, flags) for uid, flags, _, _ in fresh.get(client.uv, ())]
            if [(e.uid, e.flags) for e in client.entries] == there:
                return
            if client.ready(1):
                client.read()
            elif client.uv not in fresh:
                return
            elif len(there) == len(client.entries) and all(e.flags in (None, f) and e.uid in (None, u)
                    for e, (u, f) in zip(client.entries, there)):
                return

    def fresh(self):
        """{uidvalidity: [(uid, flags, token)]} as a client sees it that knows nothing."""
        client, boxes = Client(self.d, self.ledger, "condstore", "a fresh client"), {}
        for values in (responses.parse(p) for p in client.imap.ok('LIST "" *')):
            box = GUESTS_BOX if values[-1].startswith(b"Other") else values[-1].decode()
            client.do(Command("SELECT", "EXAMINE " + client.path(box), client.selected, box=box, writable=False))
            if client.entries:
                client.do(Command("FETCH", "FETCH 1:* (UID FLAGS MODSEQ BODY.PEEK[])", renumbers=False))
            boxes[client.uv] = [(e.uid, e.flags, e.token, e.modseq) for e in client.entries]
            client.forget()
        client.imap.close()
        return boxes

    def compare(self, client, fresh):
        there = fresh.get(client.uv)
        client.must(there is not None, "it goes on with a mailbox that is no more")
        client.must(not self.lockstep or self.may(client, self.model.by_uv(client.uv), READ) is not False,
            "it goes on with a mailbox that is not shared any more")
        client.must(len(there) == len(client.entries), "%d messages, a fresh client sees %d",
            len(client.entries), len(there))
        for e, (uid, flags, token, modseq) in zip(client.entries, there):
            client.must(e.uid in (None, uid), "uid %s, a fresh client sees %d", e.uid, uid)
            client.must(e.flags in (None, flags), "uid %d has %s, a fresh client sees %s", uid,
                sorted(e.flags or ()), sorted(flags))
            client.must(e.token in (None, token), "uid %d is %s, a fresh client sees %s", uid, e.token, token)
            client.must(not client.modseqs or e.modseq in (None, modseq),
                "uid %d has MODSEQ %s, a fresh client sees %d", uid, e.modseq, modseq)

    def nothing_lost(self, fresh):
        """What was acknowledged is there once, unless somebody asked for its removal."""
        ledger = self.ledger
        present = {(uv, uid): token for uv, box in fresh.items() for uid, _, token, _ in box}
        # What came by LMTP and went by POP3 before anybody looked has a uid of which no more is known.
        strange = [key for key in ledger.removed if not ledger.may_go(key)]
        unknown = [key for key in strange if key not in ledger.token]
        expect(len(unknown) == len(strange) <= ledger.removals, "went and nobody asked for that: %s" % strange)
        for key, token in present.items():
            expect(key not in ledger.removed, "uid %d of %d is there again" % (key[1], key[0]))
        for key, token in ledger.token.items():
            expect(key in present or ledger.may_go(key), "message %r, uid %d of %d, is lost" % (token, key[1], key[0]))
        # What was removed before anybody looked at it has a uid, but nobody knows whose.
        seen = set(ledger.token.values())
        nowhere = [t for t in ledger.delivered - ledger.removable_tokens if t not in seen]
        removed = [key for key in ledger.removed if key not in ledger.token]
        expect(len(nowhere) <= len(removed) or ledger.gone, "delivered and nowhere: %r" % nowhere)
        if self.lockstep:
            for box in self.model.boxes.values():
                got = [(uid, flags, token) for uid, flags, token, _ in fresh.get(box.uv, [])]
                want = [(uid, m.flags, m.token) for uid, m in box.messages.items()]
                expect(got == want, "a fresh client sees\n%s\ninstead of\n%s" % (got, want))


def play(seed, steps=STEPS):
    with Daemon([("joe", "secret"), ("ann", "secret")], settings=["--login-fail-delay-ms", "0"]) as d:
        run = Run(d, seed)
        try:
            run.play(steps)
        except Failed as failed:
            raise Failed("seed %d: %s\n  %s" % (seed, failed, run.ledger.story()))


def test_sessions():
    if "MAILSHELF_SEED" in os.environ:
        play(int(os.environ["MAILSHELF_SEED"]))
        return
    first = int(os.environ.get("MAILSHELF_FIRST_SEED") or random.randrange(1 << 30))
    end, runs = time.monotonic() + float(os.environ.get("SECONDS_LONG", 0)), 0
    while runs < RUNS or time.monotonic() < end:
        play(first + runs)
        runs += 1
