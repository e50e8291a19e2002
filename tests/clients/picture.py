"""picture.py - an IMAP client that knows only what it was told, and checks every response against the RFCs

Kinds, some together ("notify+qresync"): "rev1" counts message numbers; "condstore" knows mod-sequences too; "qresync"
is told of removals by uid, and comes back with what it knew (RFC 7162); "uidonly" neither says nor hears numbers;
"notify" is told of everything at any time, so it says none; "guest" is another user, to whom the mailboxes are
shared. Commands may be under way together; those that went out first are answered first.
Sources   RFC 9051 7.4.1, 7.5.1, 7.5.2, 5.5; RFC 7162 3.1, 3.2, 6; RFC 9586 3; RFC 5465 5.3.
"""
import collections
import select

import responses
from daemon import Failed, expect
from ledger import GUESTS_BOX, box_key, owner, same_message
from wire import Imap

RECENT = b"\\Recent"


class Entry:
    """One message as a client knows it; what it was not told yet is None."""

    def __init__(self, uid=None):
        self.uid, self.flags, self.modseq, self.token = uid, None, None, None


class Command:
    def __init__(self, name, text, done=None, literal=None, renumbers=True, quiet=True, barrier=False, **more):
        """RENUMBERS: EXPUNGE may come with it. QUIET: it changes nothing. BARRIER: nothing goes out behind it."""
        self.name, self.text, self.done, self.literal = name, text, done, literal
        self.renumbers, self.quiet, self.barrier = renumbers, quiet, barrier
        self.told, self.fetched, self.more = [], {}, more


class Client:
    def __init__(self, daemon, ledger, kind, name):
        self.daemon, self.ledger, self.kind, self.name = daemon, ledger, kind, name
        can = set(kind.split("+"))
        self.guest, self.listens, self.cached = "guest" in can, "notify" in can, "qresync" in can
        self.modseqs = bool(can & {"condstore", "qresync"})
        self.vanishes = bool(can & {"uidonly", "qresync"})
        self.uidonly, self.uids_alone = "uidonly" in can, bool(can & {"uidonly", "notify"})
        self.answered = lambda client, command: None  # called behind each command
        self.caches = {}      # uidvalidity: (highest, entries); kept over connections
        self.connect()

    # ---- life ----

    def connect(self):
        self.imap = Imap(self.daemon.connect("imap"), "ann" if self.guest else "joe", "secret")
        self.under_way = collections.deque()
        self.idling, self.ended = False, False
        self.forget()
        wanted = self.uidonly * " UIDONLY" + (" QRESYNC" if self.cached else self.modseqs * " CONDSTORE")
        if wanted:
            self.imap.ok("ENABLE" + wanted)
        if self.listens:
            self.imap.ok("NOTIFY SET (SELECTED (MessageNew (UID FLAGS%s) MessageExpunge FlagChange)) "
                "(PERSONAL (MessageNew MessageExpunge MailboxName))" % (" MODSEQ" * self.modseqs))

    def path(self, box):
        """The name of a mailbox as this client's user says it."""
        theirs = (box == GUESTS_BOX) != self.guest
        name = "INBOX" if box == GUESTS_BOX else box
        return '"Other Users/%s/%s"' % ("joe" if self.guest else "ann", name) if theirs else name

    def drop(self):
        """The network fails: nothing more is heard of this connection."""
        self.keep()
        self.imap.close()
        self.connect()

    def forget(self):
        self.left = getattr(self, "uv", None)  # its end may still be told
        self.box, self.uv, self.entries, self.writable = None, None, [], False
        self.highest = self.seen_modseq = 0
        self.said_highest = False
        self.resyncing = None

    def keep(self):
        """What a client would write to its disk: up to the first message it knows no uid of."""
        if self.cached and self.uv is not None and self.resyncing is None:
            known = []
            for e in self.entries:
                if e.uid is None or e.flags is None:
                    break
                known.append(e)
            self.caches[self.uv] = self.highest, known
        self.forget()

    def wrong(self, why):
        raise Failed("%s (%s): %s" % (self.name, self.kind, why))

    def must(self, condition, why, *values):
        if not condition:
            self.wrong(why % values)

    # ---- commands ----

    def start(self, command):
        command.sent_clock, command.sent_highest, command.sent_uidnext = (
            self.ledger.clock, self.ledger.highest.copy(), dict(self.ledger.uidnext))
        self.ledger.trace.append((self.name, command.text))
        text = command.text.encode()
        if command.literal is not None:
            text += b" {%d+}\r\n%s" % (len(command.literal), command.literal)
        try:
            command.tag = self.imap.start(text)
        except ConnectionError:
            command.tag = "-"  # read() finds why it has ended
        self.under_way.append(command)

    def do(self, command):
        self.start(command)
        while self.under_way:
            self.read()

    def ready(self, wait_s=0):
        return bool(self.imap.buffer) or bool(select.select([self.imap.sock], [], [], wait_s)[0])

    def may_end(self):
        """The mailbox that is or was selected has gone, or is not shared any more."""
        return self.ledger.gone & {self.uv, self.left} or self.guest and self.ledger.shut & {self.uv, self.left}

    def read(self):
        """One response. BYE of a mailbox that went away brings a new connection."""
        try:
            parts = self.imap.response()
        except (Failed, ConnectionError) as why:
            self.must(self.ended or self.may_end(), "the connection ended: %s", why)
            # Answers can be lost with a connection that is reset: what they did is not known to anybody.
            self.ledger.removals += 50 * sum(not c.quiet for c in self.under_way)
            self.under_way.clear()
            self.keep()
            self.imap.close()
            self.connect()
            return
        self.ledger.trace.append((self.name, b"".join(parts)[:300]))
        line, now = parts[0], self.under_way[0] if self.under_way else None
        if line.startswith(b"+"):
            self.must(now is not None and now.name == "IDLE", "%r is not wanted", line)
            self.idling = True
        elif line.startswith(b"* "):
            self.untagged(parts, now)
        else:
            self.must(now is not None and line.startswith(now.tag.encode() + b" "), "%r?", line)
            self.finish(self.under_way.popleft(), line[len(now.tag) + 1:])

    def finish(self, command, status):
        if command.name == "IDLE":
            self.idling = False
        self.must(not status.startswith(b"BAD"), "%s got %r", command.text, status)
        self.highest_code(status)
        if not self.said_highest:
            self.highest = max(self.highest, self.seen_modseq)
        self.said_highest, self.seen_modseq = False, 0
        if command.done is not None:
            command.done(command, status)
        self.answered(self, command)

    def highest_code(self, line):
        found = responses.code(line, b"HIGHESTMODSEQ")
        if found:
            self.highest, self.said_highest = int(found[0]), True
            if self.uv is not None:
                self.ledger.rises(self.uv, self.highest)

    # ---- what is told ----

    def untagged(self, parts, now):
        line = parts[0]
        if line.startswith((b"* OK", b"* NO", b"* BYE")):
            self.condition(line, now)
            return
        values = responses.parse(parts)
        if now is not None:
            now.told.append(values)
        if len(values) > 1 and values[1] in (b"EXISTS", b"EXPUNGE", b"FETCH", b"UIDFETCH"):
            number, what = int(values[0]), values[1]
            if what == b"EXISTS":
                self.exists(number)
            elif what == b"EXPUNGE":
                self.expunge(number, now)
            elif what == b"UIDFETCH":
                self.uidfetch(number, responses.pairs(values[2]), now)
            else:
                self.must(not self.uidonly, "FETCH to who has enabled UIDONLY")
                self.fetch(number, responses.pairs(values[2]), now)
        elif values[0] == b"VANISHED":
            earlier = values[1] == [b"EARLIER"]
            for uid in responses.uids(values[-1]):
                self.vanished(uid, earlier, now)

    def condition(self, line, now):
        if line.startswith(b"* BYE"):
            self.must(self.may_end(), "BYE: %r", line)
            self.ended = True
        self.highest_code(line)
        for name in (b"UIDVALIDITY", b"UIDNEXT"):
            found = responses.code(line, name)
            if found and now is not None:
                now.more[name] = int(found[0])
        if now is not None and responses.code(line, b"UIDVALIDITY"):
            self.opened(now)
        for name in (b"COPYUID", b"APPENDUID"):
            if now is not None and responses.code(line, name):
                now.more[name] = responses.code(line, name)

    def opened(self, now):
        """UIDVALIDITY in a SELECT: whether what was known still counts."""
        self.uv, self.box = box_key(now.more["box"], now.more[b"UIDVALIDITY"]), now.more["box"]
        self.writable = now.more["writable"]
        self.opened_clock = now.sent_clock
        self.resyncing = len(self.entries)
        self.entries = list(now.more["known"]) if now.more.get("known_uv") == self.uv else []
        self.settle()

    def selected(self, command, status):
        """The end of a SELECT: what is known and what is there are one."""
        if not status.startswith(b"OK"):
            self.forget()
            return
        if responses.code(status, b"READ-ONLY") is not None:
            self.writable = False
        self.must(len(self.entries) == self.resyncing, "%d messages are known, %d exist",
            len(self.entries), self.resyncing)
        for e in self.entries:
            self.must(e.uid is None or not self.ledger.was_gone(self.uv, e.uid, self.opened_clock),
                "uid %s should have vanished", e.uid)
        self.resyncing = None

    def settle(self):
        """During a QRESYNC the list and the number of messages meet when all has been told."""
        if self.resyncing is not None:
            self.entries += [Entry() for _ in range(self.resyncing - len(self.entries))]

    def exists(self, number):
        if self.uv is None:
            self.entries = [Entry() for _ in range(number)]
            return
        if self.resyncing is not None:
            self.resyncing = number
            self.settle()
            return
        self.must(number >= len(self.entries), "EXISTS fell from %d to %d", len(self.entries), number)
        self.entries += [Entry() for _ in range(number - len(self.entries))]

    def expunge(self, number, now):
        self.must(not self.vanishes, "EXPUNGE to who wants VANISHED")
        self.may_renumber("EXPUNGE", now)
        self.must(1 <= number <= len(self.entries), "EXPUNGE of %d of %d", number, len(self.entries))
        uid = self.entries.pop(number - 1).uid
        if uid is not None:
            self.ledger.is_gone(self.uv, uid)

    def may_renumber(self, what, now):
        if self.listens:
            return  # RFC 5465 5.3
        self.must(now is not None, "%s while no command is in progress", what)
        self.must(now.renumbers, "%s during %s", what, now.text)

    def vanished(self, uid, earlier, now):
        self.must(self.vanishes, "VANISHED to who has not asked for it")
        if not earlier:
            self.may_renumber("VANISHED", now)
        at = self.place(uid)
        if at < len(self.entries) and self.entries[at].uid == uid:
            del self.entries[at]
        elif not earlier:
            at = self.unknown_before(at)
            self.must(at > 0, "VANISHED %d was not there", uid)
            del self.entries[at - 1]
            # Which of those without uid it was cannot be known.
            while at > 1 and self.entries[at - 2].uid is None:
                self.entries[at - 2] = Entry()
                at -= 1
        elif (self.uv, uid) not in self.ledger.token:
            return  # "earlier" may name what never was
        self.ledger.is_gone(self.uv, uid)
        self.settle()

    def place(self, uid):
        """Where it is, or the first behind it whose uid is known."""
        return next((n for n, e in enumerate(self.entries) if e.uid is not None and e.uid >= uid), len(self.entries))

    def unknown_before(self, at):
        """1 + the index of an entry without uid that may be what stands before AT, 0: there is none. Who is told no
        numbers cannot know which of those without uid stands where."""
        while self.uidonly and at > 0 and self.entries[at - 1].uid is not None:
            at -= 1
        return at if at > 0 and self.entries[at - 1].uid is None else 0

    def uidfetch(self, uid, items, now):
        self.must(self.uidonly, "UIDFETCH to who has not enabled UIDONLY")
        self.must(items.setdefault(b"UID", b"%d" % uid) == b"%d" % uid, "UIDFETCH of %d has UID %s", uid, items[b"UID"])
        at = self.place(uid)
        if at == len(self.entries) or self.entries[at].uid != uid:
            unknown = self.unknown_before(at)
            self.must(unknown > 0, "UIDFETCH of uid %d, more than exist", uid)
            self.entries.insert(at - 1, self.entries.pop(unknown - 1))
            at -= 1
        self.fetch(at + 1, items, now)

    def fetch(self, number, items, now):
        self.must(1 <= number <= len(self.entries), "FETCH of %d of %d", number, len(self.entries))
        e = self.entries[number - 1]
        if b"UID" in items:
            self.is_uid(number, int(items[b"UID"]))
        elif now is not None and now.more.get("uid_form") and not self.listens:
            self.wrong("FETCH without UID during " + now.text)
        if b"FLAGS" in items:
            e.flags = frozenset(items[b"FLAGS"]) - {RECENT}
        if b"MODSEQ" in items:
            modseq = int(items[b"MODSEQ"][0])
            self.must(self.modseqs or (now and "MODSEQ" in now.text), "MODSEQ was not asked for")
            self.must(e.modseq is None or modseq >= e.modseq, "MODSEQ fell from %s to %d", e.modseq, modseq)
            e.modseq = modseq
            self.seen_modseq = max(self.seen_modseq, modseq)
        elif b"FLAGS" in items:
            # Who asks for FLAGS alone gets them alone.
            self.must(not self.modseqs or now is not None and now.name == "FETCH", "FLAGS without MODSEQ")
            e.modseq = None
        for name, value in items.items():
            if name.startswith(b"BODY["):
                e.token = self.token_of(name, value)
        if b"EMAILID" in items and e.token is not None:
            self.ledger.is_emailid(e.token, items[b"EMAILID"][0])
        if e.uid is None:
            return
        if b"MODSEQ" in items and b"FLAGS" in items:
            self.ledger.has_flags(self.uv, e.uid, e.modseq, e.flags)
        if e.token is not None:
            self.ledger.is_message(self.uv, e.uid, e.token)
        if now is not None:
            got = now.fetched.setdefault(e.uid, {})
            if b"MODSEQ" in items:
                got.pop(b"FLAGS", None)  # those were of another change, before this one
            got.update(items)

    def token_of(self, name, value):
        self.must(value is not None and b"X-Token: " in value, "%s is %r", name, value)
        token = value.split(b"X-Token: ")[1].split(b"\r\n")[0]
        whole = self.ledger.content.get(token)
        self.must(whole is not None, "a message of nobody: %r", token)
        if name == b"BODY[]":
            self.must(same_message(value, whole), "the bytes of %r changed", token)
        return token

    def is_uid(self, number, uid):
        e = self.entries[number - 1]
        self.must(e.uid in (None, uid), "number %d was uid %s and is uid %d", number, e.uid, uid)
        if e.uid == uid:
            return
        before = next((x.uid for x in reversed(self.entries[:number - 1]) if x.uid is not None), 0)
        behind = next((x.uid for x in self.entries[number:] if x.uid is not None), 1 << 32)
        self.must(before < uid < behind, "uids do not ascend at number %d: %d, %d, %d", number, before,
            uid, behind)
        self.must(not self.ledger.was_gone(self.uv, uid, self.opened_clock), "uid %d is back", uid)
        e.uid = uid
