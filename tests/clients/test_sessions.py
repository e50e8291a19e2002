"""test_sessions.py - several clients on a few mailboxes of one account, doing anything at any time

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
import re
import time

import responses
from daemon import Daemon, Failed, expect
from ledger import Ledger, Mailbox, Model, same_message
from picture import Client, Command
from wire import Imap, Lmtp, Pop

NAMES = ("INBOX", "Work", "Keep", "Old")
FLAGS = (b"\\Seen", b"\\Flagged", b"\\Deleted", b"\\Answered", b"\\Draft", b"$Junk", b"word")
KINDS = ("rev1", "condstore", "qresync", "qresync", "rev1")
MESSAGES_MAX = 40
RUNS, STEPS = 8, 1200


def content(token):
    return (b"From: ann@example.org\r\nTo: joe@example.org\r\nSubject: about %s\r\nX-Token: %s\r\n\r\n"
        b"The text of %s.\r\n" % (token, token, token))


def names(flags):
    return "(%s)" % " ".join(sorted(f.decode() for f in flags))


class Run:
    def __init__(self, daemon, seed):
        self.d, self.seed, self.r = daemon, seed, random.Random(seed)
        self.lockstep = seed % 2 == 1
        self.ledger, self.model = Ledger(), Model() if self.lockstep else None
        self.imaps = [Client(daemon, self.ledger, kind, "client %d" % n) for n, kind in enumerate(KINDS)]
        for client in self.imaps:
            client.answered = self.told_all
        # Who has no mailbox open: a session that deletes its own is a case of its own.
        self.keeper = Client(daemon, self.ledger, "rev1", "keeper")
        self.lmtp, self.pop = Lmtp(daemon.connect("lmtp")), None
        self.pop_deleted = []

    # ---- a command's arguments ----

    def some(self, client, count=3):
        """Entries beside each other or anywhere."""
        if self.r.random() < 0.6:
            first = self.r.randrange(len(client.entries))
            return client.entries[first:first + self.r.randrange(1, count + 2)]
        return self.r.sample(client.entries, min(len(client.entries), self.r.randrange(1, count + 1)))

    def address(self, client, entries):
        """("UID ", "4,7") or ("", "1:2")"""
        if all(e.uid for e in entries) and (self.r.random() < 0.6 or self.numbers_move(client)):
            return "UID ", responses.as_set(e.uid for e in entries)
        if self.numbers_move(client):
            return None, None
        return "", responses.as_set(client.entries.index(e) + 1 for e in entries)

    @staticmethod
    def numbers_move(client):
        """RFC 9051 5.5: with these under way message numbers mean nothing."""
        return any(c.renumbers for c in client.under_way)

    def chosen(self, most=3):
        return frozenset(self.r.sample(FLAGS, self.r.randrange(0, most + 1)))

    # ---- commands of the selected state ----

    def fetch(self, client):
        entries = self.some(client, 8)
        uid, text = self.address(client, entries)
        if text is None:
            return None
        items = self.r.choice(["FLAGS", "UID FLAGS", "UID FLAGS BODY.PEEK[HEADER.FIELDS (X-Token)] EMAILID",
            "UID BODY.PEEK[]", "UID FLAGS INTERNALDATE ENVELOPE RFC822.SIZE", "BODY[]"])
        modseq = " MODSEQ" if client.kind != "rev1" and "FLAGS" in items else ""
        if "BODY[]" in items.split():
            return None if self.numbers_move(client) else self.mark_seen(client, uid, text, entries)
        return Command("FETCH", "%sFETCH %s (%s%s)" % (uid, text, items, modseq), renumbers=bool(uid),
            uid_form=bool(uid))

    def mark_seen(self, client, uid, text, entries):
        def done(command, status):
            if self.lockstep and client.writable:
                box = self.model.by_uv(client.uv)
                if box is not None:
                    self.model.store(box, [u for u, got in command.fetched.items() if b"BODY[]" in got], "+", {b"\\Seen"}, ())
        return Command("FETCH", "%sFETCH %s (UID FLAGS BODY[])" % (uid, text), done, renumbers=bool(uid),
            quiet=False, uid_form=bool(uid))

    def store(self, client):
        entries = [e for e in self.some(client) if e.uid is not None]
        if not entries or not client.writable:
            return None
        uid, text = self.address(client, entries)
        sign, silent, flags = self.r.choice("+-") if self.r.random() < 0.8 else "", self.r.random() < 0.4, \
            self.chosen()
        if text is None or (not flags and sign):
            return None
        since, modifier = None, ""
        known = [e.modseq for e in entries if e.modseq]
        if client.kind != "rev1" and known and self.r.random() < 0.5:
            since = self.r.choice(known)
            modifier = " (UNCHANGEDSINCE %d)" % since
        touched = [e.uid for e in entries]
        if sign != "-" and b"\\Deleted" in flags:
            self.ledger.removable.update((client.uv, u) for u in touched)
        return Command("STORE", "%sSTORE %s%s %sFLAGS%s %s" % (uid, text, modifier, sign,
            ".SILENT" if silent else "", names(flags)), lambda c, s: self.stored(client, c, s),
            renumbers=bool(uid), quiet=False, uid_form=bool(uid), uids=touched, sign=sign, silent=silent,
            flags=flags, since=since, uv=client.uv,
            base={e.uid: e.modseq for e in entries})

    def stored(self, client, command, status):
        m = command.more
        if client.uv != m["uv"]:
            return
        refused = responses.code(status, b"MODIFIED")
        if refused is None and not status.startswith(b"OK"):
            client.must(status.startswith(b"NO"), "%s: %r", command.text, status)
        numbers = set(responses.uids(refused[0])) if refused else set()
        refused = numbers if "UID" in command.text else {client.entries[n - 1].uid for n in numbers}
        client.must(not refused or m["since"] is not None, "MODIFIED without UNCHANGEDSINCE")
        if self.lockstep:
            self.store_in_model(client, m, refused)
        for e in client.entries:
            if e.uid not in m["uids"] or e.uid in refused:
                continue
            got = command.fetched.get(e.uid, {})
            if b"FLAGS" not in got and m["silent"] and e.flags is not None:
                e.flags = {"+": e.flags | m["flags"], "-": e.flags - m["flags"], "": m["flags"]}[m["sign"]]
            self.exchanged(client, command, e, got)

    def exchanged(self, client, command, e, got):
        """UNCHANGEDSINCE is a compare and swap: from one mod-sequence goes one change."""
        m = command.more
        base = m["base"][e.uid]
        if m["since"] is None or base != m["since"] or b"MODSEQ" not in got or e.modseq == base:
            return
        before = self.ledger.flags.get((client.uv, e.uid, base))
        after = self.ledger.flags.get((client.uv, e.uid, e.modseq))
        if before is None or after is None or before == after:
            return
        made = self.ledger.swapped.setdefault((client.uv, e.uid, base), (client.name, command.tag))
        client.must(made == (client.name, command.tag), "uid %d was changed from modseq %d twice, by %s",
            e.uid, base, made)
        client.must(e.modseq > command.sent_highest or not self.lockstep,
            "uid %d changed and its MODSEQ %d is not new", e.uid, e.modseq)

    def store_in_model(self, client, m, refused):
        box = self.model.by_uv(client.uv)
        if box is None:
            return
        there = [u for u in m["uids"] if u in box.messages]
        if m["since"] is not None and all(box.messages[u].modseq for u in there):
            want = {u for u in there if box.messages[u].modseq > m["since"]}
            client.must(refused & set(box.messages) == want, "MODIFIED %s instead of %s", refused, want)
        self.model.store(box, there, m["sign"], m["flags"], refused)

    def copy(self, client):
        entries = [e for e in self.some(client) if e.uid is not None]
        move = self.r.random() < 0.5 and client.writable
        to = self.r.choice(NAMES)
        if not entries:
            return None
        uid, text = self.address(client, entries)
        if text is None:
            return None
        touched = [e.uid for e in entries]
        if move:
            self.ledger.removable.update((client.uv, u) for u in touched)
        name = "MOVE" if move else "COPY"
        return Command(name, "%s%s %s %s" % (uid, name, text, to), lambda c, s: self.copied(client, c, s),
            quiet=False, uids=touched, to=to, move=move, uv=client.uv, uid_form=bool(uid))

    def copied(self, client, command, status):
        m = command.more
        told = m.get("copyuid") or responses.code(status, b"COPYUID")
        pairs = []
        if told:
            uv, olds, news = int(told[0]), responses.uids(told[1]), responses.uids(told[2])
            client.must(len(olds) == len(news) and olds == sorted(olds) and news == sorted(news),
                "COPYUID %r", told)
            client.must(set(olds) <= set(m["uids"]), "COPYUID names others: %r", told)
            pairs = list(zip(olds, news))
            m["to_uv"] = uv
            self.ledger.is_named(uv, m["to"], command.sent_clock)
            for old, new in pairs:
                self.ledger.same[uv, new] = m["uv"], old
                token = self.ledger.token.get((m["uv"], old))
                if token is not None:
                    self.ledger.created(uv, new, token, command.sent_uidnext)
                if m["move"]:
                    self.ledger.is_moved(m["uv"], old, (uv, new))
        if self.lockstep:
            self.copy_in_model(client, m, pairs, status)

    def copy_in_model(self, client, m, pairs, status):
        box, to = self.model.by_uv(m["uv"]), self.model.boxes.get(m["to"])
        if box is None or to is None:
            client.must(status.startswith(b"NO"), "%r with a mailbox that is not there", status)
            return
        there = [u for u in m["uids"] if u in box.messages]
        if status.startswith(b"NO"):
            client.must(len(there) < len(m["uids"]), "refused: %r", status)
            return
        want = self.model.copy(box, there, to, m["move"])
        to.uv = to.uv or m.get("to_uv")
        client.must(pairs == want, "COPYUID says %s, should be %s", pairs, want)

    def expunge(self, client):
        if not client.writable:
            return None
        known = [e.uid for e in client.entries if e.uid is not None]
        only = self.r.sample(known, min(3, len(known))) if known and self.r.random() < 0.5 else None
        text = "UID EXPUNGE " + responses.as_set(only) if only else "EXPUNGE"

        def done(command, status):
            box = self.model.by_uv(client.uv) if self.lockstep else None
            if box is not None and status.startswith(b"OK"):
                self.model.expunge(box, only)
        return Command("EXPUNGE", text, done, quiet=False)

    def search(self, client):
        key = self.r.choice(FLAGS[:2] + FLAGS[-2:])
        text = {b"\\Seen": "UNSEEN", b"\\Flagged": "FLAGGED"}.get(key, "KEYWORD " + key.decode())
        uid = "UID " if self.r.random() < 0.5 or self.numbers_move(client) else ""
        extended = self.r.choice(["", "RETURN (ALL COUNT MIN MAX) ", "RETURN (SAVE) "])
        return Command("SEARCH", "%sSEARCH %s%s" % (uid, extended, text),
            lambda c, s: self.found(client, c, s), renumbers=bool(uid), key=key, uid=bool(uid), uv=client.uv)

    def found(self, client, command, status):
        if not status.startswith(b"OK") or client.uv != command.more["uv"]:
            client.must(client.uv in self.ledger.gone, "%s: %r", command.text, status)
            return
        if "SAVE" in command.text:
            client.saved = True
            return
        numbers, told = [], {}
        for values in command.told:
            if values[0] == b"SEARCH":
                numbers = [int(n) for n in values[1:] if not isinstance(n, list)]
            elif values[0] == b"ESEARCH":
                told = {k: v for k, v in zip(values, values[1:]) if isinstance(k, bytes)}
                numbers = responses.uids(told[b"ALL"]) if b"ALL" in told else []
                client.must(int(told[b"COUNT"]) == len(numbers), "COUNT: %r", values)
                client.must(not numbers or int(told[b"MIN"]) == min(numbers) and
                    int(told[b"MAX"]) == max(numbers), "MIN, MAX: %r", values)
        client.must(len(set(numbers)) == len(numbers), "a result twice")
        if not command.more["uid"]:
            client.must(all(1 <= n <= len(client.entries) for n in numbers), "numbers beyond the last")
        if self.lockstep:
            self.found_in_model(client, command, numbers)

    def found_in_model(self, client, command, numbers):
        box = self.model.by_uv(client.uv)
        if box is None or any(e.uid is None for e in client.entries):
            return
        got = set(numbers) if command.more["uid"] else {client.entries[n - 1].uid for n in numbers}
        key = command.more["key"]
        want = {u for u, m in box.messages.items() if (key in m.flags) != (key == b"\\Seen")}
        client.must(got & set(box.messages) == want & {e.uid for e in client.entries},
            "%s found %s instead of %s", command.text, sorted(got), sorted(want))

    def use_saved(self, client):
        if not getattr(client, "saved", False) or self.numbers_move(client):
            return None
        return Command("FETCH", "UID FETCH $ (FLAGS)", renumbers=True, uid_form=True)

    # ---- others ----

    def select(self, client):
        """The one command that needs a client of its own mind: nothing else is under way."""
        client.keep()
        client.saved = False
        box, examine, more = self.r.choice(("INBOX", "INBOX", "Work") + NAMES), self.r.random() < 0.2, {}
        text = ("EXAMINE " if examine else "SELECT ") + box
        if client.kind == "qresync" and client.caches and self.r.random() < 0.9:
            uv = self.last_uv(client, box)
            highest, known = client.caches[uv]
            if highest:
                uids = " " + responses.as_set(e.uid for e in known) if known and self.r.random() < 0.7 else ""
                text += " (QRESYNC (%d %d%s))" % (uv, highest, uids)
                more = {"known": known, "known_uv": uv}
        elif client.kind == "condstore" and self.r.random() < 0.3:
            text += " (CONDSTORE)"
        return Command("SELECT", text, lambda c, s: self.opened(client, c, s), box=box,
            barrier=True, writable=not examine, **more)

    def last_uv(self, client, box):
        """The cache of the mailbox of this name as this client saw it last; else any."""
        named = getattr(client, "named", {})
        return named[box] if named.get(box) in client.caches else self.r.choice(sorted(client.caches))

    def opened(self, client, command, status):
        client.selected(command, status)
        if self.lockstep:
            client.must(status.startswith(b"OK") == (command.more["box"] in self.model.boxes),
                "%s: %r", command.text, status)
        if not status.startswith(b"OK"):
            return
        if not hasattr(client, "named"):
            client.named = {}
        client.named[client.box] = client.uv
        self.ledger.is_named(client.uv, client.box, command.sent_clock)
        before = command.sent_uidnext.get(client.uv, 1)
        client.must(command.more[b"UIDNEXT"] >= before, "UIDNEXT fell below %d", before)
        self.ledger.uidnext[client.uv] = max(self.ledger.uidnext.get(client.uv, 1), command.more[b"UIDNEXT"])
        if self.lockstep:
            box = self.model.boxes[client.box]
            if box.uv is None:
                box.uv = client.uv
            client.must(box.uv == client.uv, "UIDVALIDITY changed")
            client.must(box.uidnext == command.more[b"UIDNEXT"], "UIDNEXT is not %d", box.uidnext)
            client.must(len(client.entries) == len(box.messages), "%d messages instead of %d",
                len(client.entries), len(box.messages))
            for e, uid in zip(client.entries, box.messages):
                client.must(e.uid in (None, uid), "uid %s instead of %d", e.uid, uid)
                # What a QRESYNC left alone must be as it was.
                client.must(e.flags is None or e.flags == box.messages[uid].flags,
                    "uid %d: %s instead of %s", uid, e.flags, box.messages[uid].flags)

    def append(self, client):
        box, flags = self.r.choice(NAMES), self.chosen()
        token, whole = self.ledger.new_token(content)
        if b"\\Deleted" in flags:
            self.ledger.removes(token)

        def done(command, status):
            new = responses.code(status, b"APPENDUID")
            if new:
                self.ledger.created(int(new[0]), int(new[1]), token, command.sent_uidnext)
                self.ledger.is_named(int(new[0]), box, command.sent_clock)
            if not self.lockstep:
                client.must(new or status.startswith(b"NO [TRYCREATE]"), "APPEND: %r", status)
                return
            there = self.model.boxes.get(box)
            client.must((there is not None) == (new is not None), "APPEND: %r", status)
            if there is not None:
                there.uv = there.uv or int(new[0])
                uid = there.add(token, flags)
                client.must([there.uv, uid] == [int(n) for n in new], "APPENDUID %r", new)
        return Command("APPEND", "APPEND %s %s" % (box, names(flags)), done, whole, quiet=False)

    def mailbox(self, client):
        """CREATE, DELETE, RENAME. Who deletes INBOX's mail renames it."""
        verb = self.r.choice(["CREATE", "CREATE", "CREATE", "DELETE", "RENAME"])
        name, to = self.r.choice(NAMES[1:]), self.r.choice(NAMES[1:])
        if verb == "RENAME" and self.r.random() < 0.3:
            name = "INBOX"
        if verb == "DELETE" or name == "INBOX" and verb == "RENAME":
            self.ledger.dooms(name)
        if verb == "RENAME":
            self.ledger.renames(name, to)
        text = "%s %s" % (verb, name) + (" " + to if verb == "RENAME" else "")

        def done(command, status):
            if self.lockstep:
                client.must(status.startswith(b"OK") == self.mailbox_in_model(verb, name, to), "%s: %r",
                    text, status)
        return Command(verb, text, done, quiet=False)

    def mailbox_in_model(self, verb, name, to):
        boxes = self.model.boxes
        if verb == "CREATE":
            if name in boxes:
                return False
            boxes[name] = Mailbox()
            return True
        if name not in boxes or verb == "RENAME" and to in boxes:
            return False
        box = boxes.pop(name)
        if verb == "RENAME":
            boxes[to] = box
        if name == "INBOX":
            boxes["INBOX"] = Mailbox()
        return True

    # ---- the other doors ----

    def deliver(self):
        token, whole = self.ledger.new_token(content)
        for reply in self.lmtp.deliver(whole, "joe"):
            expect(reply.startswith(b"250"), "LMTP: %r" % reply)
        self.ledger.delivered.add(token)
        if self.lockstep:
            self.model.boxes["INBOX"].add(token, ())

    def pop3(self):
        """Each call is a step of a session: open, look and delete, quit."""
        if self.pop is None:
            pop = Pop(self.d.connect("pop3"))
            pop.ok("USER joe")
            if pop.do("PASS secret").startswith(b"+OK"):
                self.pop, self.pop_tokens, self.pop_deleted = pop, self.pop_list(pop), []
        elif self.r.random() < 0.6:
            self.pop_delete()
        else:
            self.pop_quit()

    def pop_quit(self):
        said = self.pop.do("QUIT")
        # A maildrop that was renamed and deleted is the only reason to refuse.
        expect(said.startswith(b"+OK") or "INBOX" in self.ledger.doomed, "QUIT: %r" % said)
        self.pop.close()
        self.pop = None
        if self.lockstep:
            for uid in self.pop_deleted:
                self.pop_box.messages.pop(uid, None)

    def pop_list(self, pop):
        listed = pop.multi("UIDL").splitlines()
        ids = [line.split()[1] for line in listed]
        expect([int(line.split()[0]) for line in listed] == list(range(1, len(ids) + 1)), "UIDL numbers")
        expect(len(set(ids)) == len(ids), "two messages with one UIDL")
        if self.lockstep:
            expect(len(ids) == len(self.model.boxes["INBOX"].messages), "UIDL has %d" % len(ids))
        self.pop_box = self.model.boxes["INBOX"] if self.lockstep else None
        self.pop_before = list(self.pop_box.messages.items()) if self.lockstep else []
        return ids

    def pop_delete(self):
        if not self.pop_tokens:
            return
        n = self.r.randrange(len(self.pop_tokens))
        self.pop.send(b"RETR %d\r\n" % (n + 1))
        if not self.pop.line().startswith(b"+OK"):
            return  # removed by somebody else, or marked by us
        self.pop.buffer = b"\r\n" + self.pop.buffer
        while b"\r\n.\r\n" not in self.pop.buffer:
            self.pop.more()
        whole, self.pop.buffer = self.pop.buffer.split(b"\r\n.\r\n", 1)
        token = re.search(rb"X-Token: (\S+)", whole).group(1)
        expect(same_message(whole[2:] + b"\r\n", self.ledger.content[token]), "RETR changed the bytes of %r" % token)
        self.ledger.removes(token)
        if self.pop.do("DELE %d" % (n + 1)).startswith(b"+OK") and self.lockstep:
            uid, m = self.pop_before[n]
            expect(m.token == token, "RETR %d brought another message" % (n + 1))
            self.pop_deleted.append(uid)

    # ---- steps ----

    def choose(self, client):
        """A command for CLIENT, or None. What cannot be sent behind others waits for them."""
        alone = not client.under_way
        if any(c.barrier for c in client.under_way):
            return None
        if client.uv is None:
            return self.select(client) if alone else None
        if client.entries and all(e.flags is None for e in client.entries) and not self.numbers_move(client):
            modseq = "" if client.kind == "rev1" else " MODSEQ"
            return Command("FETCH", "FETCH 1:* (UID FLAGS%s)" % modseq, renumbers=False)
        kinds = ["noop", "append", "fetch", "search", "use_saved"]
        if client.entries:
            kinds += ["fetch", "store", "store", "store", "copy", "copy", "expunge"]
        if alone:
            kinds += ["idle", "select", "leave"]
        kind = self.r.choice(kinds)
        if kind in ("fetch", "store", "copy") and not client.entries:
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

    def told_all(self, client, command):
        """Behind every answer a client knows of all changes; of removals when they may be told."""
        box = self.model.by_uv(client.uv) if self.lockstep else None
        if box is None or client.uv in self.ledger.gone or command.barrier:
            return  # BYE follows
        if command.renumbers:
            client.must(len(client.entries) == len(box.messages), "%d messages instead of %d",
                len(client.entries), len(box.messages))
            for e, uid in zip(client.entries, box.messages):
                client.must(e.uid in (None, uid), "uid %s instead of %d", e.uid, uid)
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
            if name == "CLOSE" and writable and box is not None:
                self.model.expunge(box, None)
        return Command(name, name, done, quiet=False, barrier=True)

    def step(self):
        client = self.r.choice(self.imaps)
        if self.r.random() < 0.04:
            self.deliver()
        elif self.r.random() < 0.04:
            self.pop3()
        elif self.r.random() < 0.03:
            if not self.keeper.under_way:
                self.keeper.start(self.mailbox(self.keeper))
            if self.lockstep or self.r.random() < 0.5:
                self.finish(self.keeper)
        elif client.idling:
            self.idle(client)
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
            if client.uv is not None:
                client.do(Command("NOOP", "NOOP"))
            if client.uv in self.ledger.gone and client.ready(0.5):
                client.read()  # BYE
                client.read()
                client.must(client.uv is None, "it goes on with a mailbox that is no more")
            elif client.uv is not None:
                self.compare(client, fresh)
            client.imap.close()
        self.keeper.imap.close()
        self.nothing_lost(fresh)

    def fresh(self):
        """{uidvalidity: [(uid, flags, token)]} as a client sees it that knows nothing."""
        client, boxes = Client(self.d, self.ledger, "condstore", "a fresh client"), {}
        for values in (responses.parse(p) for p in client.imap.ok('LIST "" *')):
            client.do(Command("SELECT", "EXAMINE " + values[-1].decode(), client.selected,
                box=values[-1].decode(), writable=False))
            if client.entries:
                client.do(Command("FETCH", "FETCH 1:* (UID FLAGS MODSEQ BODY.PEEK[])", renumbers=False))
            boxes[client.uv] = [(e.uid, e.flags, e.token, e.modseq) for e in client.entries]
            client.forget()
        client.imap.close()
        return boxes

    @staticmethod
    def compare(client, fresh):
        there = fresh.get(client.uv)
        client.must(there is not None, "its mailbox is gone")
        client.must(len(there) == len(client.entries), "%d messages, a fresh client sees %d",
            len(client.entries), len(there))
        for e, (uid, flags, token, modseq) in zip(client.entries, there):
            client.must(e.uid in (None, uid), "uid %s, a fresh client sees %d", e.uid, uid)
            client.must(e.flags in (None, flags), "uid %d has %s, a fresh client sees %s", uid,
                sorted(e.flags or ()), sorted(flags))
            client.must(e.token in (None, token), "uid %d is %s, a fresh client sees %s", uid, e.token, token)
            client.must(client.kind == "rev1" or e.modseq in (None, modseq),
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
    with Daemon(settings=["--login-fail-delay-ms", "0"]) as d:
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
