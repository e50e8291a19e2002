"""ledger.py - what all clients of a few mailboxes have been told together, and what these must hold

The ledger never forgets: a uid means one message for ever, a mod-sequence of a message one set of flags, a
message is moved once, and what was acknowledged is there until somebody asked for its removal. Mailboxes
are known by their UIDVALIDITY, which no two of an account share here; that of the guest's is moved out of the way.

The model beside it says exactly what each mailbox holds. It is right only while one command runs at a time.
"""
import collections
import os

FULL, READ = "lrswipkxte", "lr"  # rights of the guest in a mailbox
GUESTS_BOX = "Ann"               # the guest's own INBOX, in which the owner may do all; the others are the owner's

from daemon import expect


def same_message(got, sent):
    """LMTP puts Return-Path and what follows it in front of what it was sent."""
    return got.endswith(sent) and (got == sent or got.startswith(b"Return-Path: "))


class Ledger:
    def __init__(self):
        self.trace = collections.deque(maxlen=int(os.environ.get("MAILSHELF_TRACE", 80)))  # (who, what) for the text of a failure
        self.token = {}      # (uidvalidity, uid): the message's token
        self.flags = {}      # (uidvalidity, uid, modseq): its flags
        self.removed = {}    # when (a count) somebody was told first that it is gone
        self.clock = 0
        self.removable = set()   # somebody asked for \Deleted, MOVE or DELE of it
        self.removable_tokens = set()
        self.removals = 0    # how often that was asked of a message whose uid was not known then
        self.same = {}       # (uidvalidity, uid): the message it is a copy of
        self.moved = {}      # where its one MOVE took it
        self.swapped = {}    # (uidvalidity, uid, modseq): what the one STORE that went out from it made of it
        self.uidnext = {}    # uidvalidity: no new uid is lower
        self.highest = collections.Counter()  # of an account: no new mod-sequence is as low
        self.emailids = collections.defaultdict(set)
        self.bodies = {}         # token: how many bodies it has, one for each recipient with fields of its own
        self.content = {}    # token: bytes
        self.names = {}      # uidvalidity: the names it may have had
        self.gone = set()    # uidvalidities of mailboxes that somebody may have deleted
        self.doomed = {}     # name: when somebody asked last for the end of that mailbox
        self.delivered = set()   # tokens acknowledged by LMTP
        self.refused = set()     # tokens of an APPEND or REPLACE that got NO: they are nowhere
        self.closed = {}     # name: when somebody asked last for the guest's rights there to be taken
        self.shut = set()    # uidvalidities of mailboxes in which that may be so

    def story(self):
        return "\n  ".join("%s: %s" % (who, line if isinstance(line, str) else "    %r" % line)
            for who, line in self.trace)

    def new_token(self, content):
        token = b"t%d" % len(self.content)
        self.content[token] = content(token)
        return token, self.content[token]

    def is_message(self, uv, uid, token):
        expect(token not in self.refused, "%r was refused and is uid %d of %d" % (token, uid, uv))
        known = self.token.setdefault((uv, uid), token)
        expect(known == token, "uid %d of %d was %r and now is %r" % (uid, uv, known, token))
        self.uidnext[uv] = max(self.uidnext.get(uv, 1), uid + 1)

    def has_flags(self, uv, uid, modseq, flags):
        known = self.flags.setdefault((uv, uid, modseq), flags)
        expect(known == flags, "uid %d of %d at modseq %d had %r and now %r"
            % (uid, uv, modseq, sorted(known), sorted(flags)))
        self.rises(uv, modseq)

    def rises(self, uv, modseq):
        self.highest[owner(uv)] = max(self.highest[owner(uv)], modseq)

    def is_named(self, uv, name, sent):
        """Told in answer to a command that went out at SENT."""
        self.names.setdefault(uv, set()).add(name)
        if self.doomed.get(name, -1) >= sent:
            self.gone.add(uv)
        if self.closed.get(name, -1) >= sent:
            self.shut.add(uv)

    def dooms(self, name):
        """DELETE, or RENAME of INBOX, is asked for: who has it open may be sent away."""
        self.clock += 1
        self.doomed[name] = self.clock
        self.gone |= {uv for uv, names in self.names.items() if name in names}

    def closes(self, name):
        """The guest's rights may be taken: he may be sent away."""
        self.clock += 1
        self.closed[name] = self.clock
        self.shut |= {uv for uv, names in self.names.items() if name in names}

    def renames(self, name, to):
        for names in self.names.values():
            if name in names:
                names.add(to)

    def is_emailid(self, token, emailid):
        self.emailids[token].add(emailid)
        expect(len(self.emailids[token]) <= self.bodies.get(token, 1), "two EMAILIDs of one message")

    def is_gone(self, uv, uid):
        self.forget((uv, uid))

    def may_go(self, key):
        """Somebody asked for its removal. Only sure when all answers have been read: a copy has its \\Deleted
        from the message it was made of."""
        while True:
            if key in self.removable or self.token.get(key) in self.removable_tokens or key[0] in self.gone:
                return True
            if key not in self.same:
                return False
            key = self.same[key]

    def removes(self, token):
        self.removable_tokens.add(token)
        self.removals += 1

    def forget(self, key):
        self.clock += 1
        self.removed.setdefault(key, self.clock)

    def was_gone(self, uv, uid, clock):
        """It had been told as gone before the moment CLOCK."""
        return self.removed.get((uv, uid), clock + 1) <= clock

    def is_moved(self, uv, uid, to):
        expect((uv, uid) not in self.moved, "uid %d of %d was moved or replaced twice" % (uid, uv))
        self.moved[uv, uid] = to
        self.forget((uv, uid))

    def created(self, uv, uid, token, before):
        """An acknowledged new message; BEFORE: what uidnext was when its command was sent."""
        expect((uv, uid) not in self.token or self.token[uv, uid] == token,
            "new uid %d of %d was another message" % (uid, uv))
        expect(uid >= before.get(uv, 1), "new uid %d of %d is below UIDNEXT" % (uid, uv))
        self.is_message(uv, uid, token)


def box_key(box, uv):
    """What a mailbox is known by: accounts may have the same UIDVALIDITY."""
    return uv + (1 << 32) * (box == GUESTS_BOX)


def owner(key):
    return key >> 32


class Message:
    def __init__(self, token, flags):
        self.token, self.flags = token, frozenset(flags)
        self.modseq = None   # until a client has seen it


class Mailbox:
    def __init__(self):
        self.uv, self.uidnext, self.messages = None, 1, {}
        self.rights = ""     # of the guest; None: not known

    def add(self, token, flags):
        self.messages[self.uidnext] = Message(token, flags)
        self.uidnext += 1
        return self.uidnext - 1


class Model:
    """Names and what they hold, as the commands so far must have made it."""

    def __init__(self):
        self.boxes = {"INBOX": Mailbox(), GUESTS_BOX: Mailbox()}
        for box in self.boxes.values():
            box.rights = FULL

    def by_uv(self, uv):
        return next((b for b in self.boxes.values() if b.uv == uv), None)

    def store(self, box, uids, sign, flags, except_for):
        for uid in uids:
            m = box.messages.get(uid)
            if m is None or uid in except_for:
                continue
            new = {"+": m.flags | flags, "-": m.flags - flags, "": frozenset(flags)}[sign]
            if new != m.flags:
                m.flags, m.modseq = new, None

    def expunge(self, box, uids):
        for uid in [u for u, m in box.messages.items() if b"\\Deleted" in m.flags]:
            if uids is None or uid in uids:
                del box.messages[uid]

    def copy(self, box, uids, to, move):
        """The pairs (uid, new uid)."""
        made = []
        for uid in sorted(uids):
            m = box.messages[uid]
            if move:
                del box.messages[uid]
            made.append((uid, to.add(m.token, m.flags)))
        return made
