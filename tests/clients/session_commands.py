"""session_commands.py - what the clients of test_sessions.py send, and what each answer must have brought

Commands of the selected state, SELECT, APPEND, and what the owner does to mailboxes and rights.
"""
import re

import responses
from ledger import FULL, GUESTS_BOX, READ, Mailbox, box_key, owner
from picture import Command

NAMES = ("INBOX", "Work", "Keep", "Old")  # the owner's; and GUESTS_BOX
FLAGS = (b"\\Seen", b"\\Flagged", b"\\Deleted", b"\\Answered", b"\\Draft", b"$Junk", b"word")


def content(token):
    return (b"From: ann@example.org\r\nTo: joe@example.org\r\nSubject: about %s\r\nX-Token: %s\r\n\r\n"
        b"The text of %s.\r\n" % (token, token, token))


def names(flags):
    return "(%s)" % " ".join(sorted(f.decode() for f in flags))



class Commands:
    """Of a Run (test_sessions.py)."""

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
        return client.uids_alone or any(c.renumbers for c in client.under_way)

    def anywhere(self):
        return self.r.choice(NAMES + (GUESTS_BOX,))

    # ---- a guest's rights ----

    def may(self, client, box, needs):
        """Has the client the rights NEEDS in that mailbox of the model? None: it is not known."""
        if not client.guest or box is self.model.boxes.get(GUESTS_BOX):
            return True
        return None if box.rights is None else set(needs) <= set(box.rights)

    def refused(self, client, status, *needs):
        """Is it a NO for lack of rights? NEEDS: (mailbox or None, rights). Only a guest may get one, and only where
        the model says so."""
        lacking = re.match(rb"NO \[(NOPERM|READ-ONLY|NONEXISTENT|TRYCREATE)\]", status) is not None
        if not client.guest or not self.lockstep:
            return client.guest and lacking
        answers = [self.may(client, box, rights) for box, rights in needs if box is not None]
        if lacking and False not in answers and len(answers) == len(needs):
            client.must(None in answers, "%r, but all rights are there", status)
        if not lacking and status.startswith(b"OK"):
            client.must(False not in answers, "%r without the rights", status)
        return lacking


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
        modseq = " MODSEQ" if client.modseqs and "FLAGS" in items else ""
        if "BODY[]" in items.split():
            return None if any(c.renumbers for c in client.under_way) else self.mark_seen(client, uid, text, entries)
        return Command("FETCH", "%sFETCH %s (%s%s)" % (uid, text, items, modseq), renumbers=bool(uid),
            uid_form=bool(uid))

    def mark_seen(self, client, uid, text, entries):
        if self.lockstep and self.may(client, self.model.by_uv(client.uv) or Mailbox(), FULL) is None:
            return None

        def done(command, status):
            if self.lockstep and client.writable:
                box = self.model.by_uv(client.uv)
                if box is not None and self.may(client, box, FULL):
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
        if client.modseqs and known and self.r.random() < 0.5:
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
        if client.uv != m["uv"] or self.refused(client, status, (self.lockstep and self.model.by_uv(client.uv), FULL)):
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
        client.must(e.modseq > command.sent_highest[owner(client.uv)] or not self.lockstep,
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
        to = self.anywhere()
        if not entries:
            return None
        uid, text = self.address(client, entries)
        if text is None:
            return None
        touched = [e.uid for e in entries]
        if move:
            self.ledger.removable.update((client.uv, u) for u in touched)
        name = "MOVE" if move else "COPY"
        return Command(name, "%s%s %s %s" % (uid, name, text, client.path(to)), lambda c, s: self.copied(client, c, s),
            quiet=False, uids=touched, to=to, move=move, uv=client.uv, uid_form=bool(uid))

    def copied(self, client, command, status):
        m = command.more
        told = m.get(b"COPYUID") or responses.code(status, b"COPYUID")
        pairs = []
        if told:
            uv, olds, news = box_key(m["to"], int(told[0])), responses.uids(told[1]), responses.uids(told[2])
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
        if self.refused(client, status, (box, FULL if m["move"] else READ), (to, FULL)):
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
            if not self.refused(client, status, (box, FULL)) and box is not None and status.startswith(b"OK"):
                self.model.expunge(box, only)
        return Command("EXPUNGE", text, done, quiet=False)

    def replace(self, client):
        """One goes and one comes, or nothing happens."""
        entries = [e for e in self.some(client, 1) if e.uid is not None][:1]
        to, flags = self.r.choice((client.box, self.anywhere())), self.chosen()
        if not entries or not client.writable:
            return None
        uid, text = self.address(client, entries)
        if text is None:
            return None
        token, whole = self.ledger.new_token(content)
        if b"\\Deleted" in flags:
            self.ledger.removes(token)
        self.ledger.removable.add((client.uv, entries[0].uid))
        return Command("REPLACE", "%sREPLACE %s %s %s" % (uid, text, client.path(to), names(flags)),
            lambda c, s: self.replaced(client, c, s), whole, quiet=False, uid_form=bool(uid), uid=entries[0].uid,
            uv=client.uv, box=client.box, to=to, flags=flags, token=token)

    def replaced(self, client, command, status):
        m, new = command.more, command.more.get(b"APPENDUID")
        client.must((new is not None) == status.startswith(b"OK"), "APPENDUID %r and %r", new, status)
        if new is None:
            self.ledger.refused.add(m["token"])
        else:
            uv, uid = box_key(m["to"], int(new[0])), int(new[1])
            self.ledger.created(uv, uid, m["token"], command.sent_uidnext)
            self.ledger.is_named(uv, m["to"], command.sent_clock)
            self.ledger.is_moved(m["uv"], m["uid"], (uv, uid))
        if self.lockstep:
            self.replace_in_model(client, m, new, status)

    def replace_in_model(self, client, m, new, status):
        box, to = self.model.by_uv(m["uv"]), self.model.boxes.get(m["to"])
        if box is None or to is None or m["uid"] not in box.messages:
            client.must(new is None, "%r, but there is nothing to replace, or no place for it", status)
        elif not self.refused(client, status, (box, FULL), (to, FULL)):
            across = (box is self.model.boxes[GUESTS_BOX]) != (to is self.model.boxes[GUESTS_BOX])
            client.must((new is None) == across, "REPLACE: %r", status)
            if new is not None:
                del box.messages[m["uid"]]
                self.add_in_model(client, to, m["token"], m["flags"], new, m["to"])

    def add_in_model(self, client, to, token, flags, new, name):
        uv, uid = box_key(name, int(new[0])), int(new[1])
        to.uv = to.uv or uv
        want = [to.uv, to.add(token, flags)]
        client.must(want == [uv, uid], "APPENDUID %d %d instead of %s", uv, uid, want)

    def search(self, client):
        key = self.r.choice(FLAGS[:2] + FLAGS[-2:])
        text = {b"\\Seen": "UNSEEN", b"\\Flagged": "FLAGGED"}.get(key, "KEYWORD " + key.decode())
        uid = "UID " if self.r.random() < 0.5 or self.numbers_move(client) else ""
        extended = self.r.choice(["", "RETURN (ALL COUNT MIN MAX) ", "RETURN (SAVE) "])
        return Command("SEARCH", "%sSEARCH %s%s" % (uid, extended, text),
            lambda c, s: self.found(client, c, s), renumbers=bool(uid), key=key, uid=bool(uid), uv=client.uv)

    def found(self, client, command, status):
        if not status.startswith(b"OK") or client.uv != command.more["uv"]:
            client.must(client.may_end(), "%s: %r", command.text, status)
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
        box, examine, more = self.r.choice(("INBOX", "INBOX", "Work", GUESTS_BOX) + NAMES), self.r.random() < 0.2, {}
        text = ("EXAMINE " if examine else "SELECT ") + client.path(box)
        if client.cached and client.caches and self.r.random() < 0.9:
            uv = self.last_uv(client, box)
            highest, known = client.caches[uv]
            if highest:
                uids = " " + responses.as_set(e.uid for e in known) if known and self.r.random() < 0.7 else ""
                text += " (QRESYNC (%d %d%s))" % (uv & 0xffffffff, highest, uids)
                more = {"known": known, "known_uv": uv}
        elif client.modseqs and self.r.random() < 0.3:
            text += " (CONDSTORE)"
        return Command("SELECT", text, lambda c, s: self.opened(client, c, s), box=box,
            barrier=True, writable=not examine, **more)

    def last_uv(self, client, box):
        """The cache of the mailbox of this name as this client saw it last; else any."""
        named = getattr(client, "named", {})
        return named[box] if named.get(box) in client.caches else self.r.choice(sorted(client.caches))

    def opened(self, client, command, status):
        client.selected(command, status)
        if self.lockstep and not self.refused(client, status, (self.model.boxes.get(command.more["box"]), READ)):
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
            self.same_uids(client, box)
            for e in client.entries:
                # What a QRESYNC left alone must be as it was.
                client.must(e.flags is None or e.uid is None or e.flags == box.messages[e.uid].flags,
                    "uid %s: %s, told otherwise", e.uid, e.flags)

    @staticmethod
    def same_uids(client, box):
        """As many as there are in BOX, and those known where they are."""
        client.must(len(client.entries) == len(box.messages), "%d messages instead of %d",
            len(client.entries), len(box.messages))
        known = {e.uid for e in client.entries} - {None}
        client.must(known <= set(box.messages), "%s are known, should be %s", known, list(box.messages))
        for e, uid in zip(client.entries, box.messages):
            client.must(client.uidonly or e.uid in (None, uid), "uid %s instead of %d", e.uid, uid)

    def append(self, client):
        box, flags = self.anywhere(), self.chosen()
        token, whole = self.ledger.new_token(content)
        if b"\\Deleted" in flags:
            self.ledger.removes(token)

        def done(command, status):
            new = responses.code(status, b"APPENDUID")
            if new:
                uv = box_key(box, int(new[0]))
                self.ledger.created(uv, int(new[1]), token, command.sent_uidnext)
                self.ledger.is_named(uv, box, command.sent_clock)
            else:
                self.ledger.refused.add(token)
            there = self.model.boxes.get(box) if self.lockstep else None
            if self.refused(client, status, (there, FULL)):
                return
            if not self.lockstep:
                client.must(new or status.startswith(b"NO [TRYCREATE]"), "APPEND: %r", status)
                return
            client.must((there is not None) == (new is not None), "APPEND: %r", status)
            if there is not None:
                self.add_in_model(client, there, token, flags, new, box)
        return Command("APPEND", "APPEND %s %s" % (client.path(box), names(flags)), done, whole, quiet=False)

    def share(self, client):
        """The owner says what the guest may do from now on."""
        name, rights = self.r.choice(NAMES), self.r.choice((FULL, FULL, READ, ""))
        if rights != FULL:
            self.ledger.closes(name)

        def done(command, status):
            box = self.model.boxes.get(name) if self.lockstep else None
            if self.lockstep:
                client.must(status.startswith(b"OK") == (box is not None), "%s: %r", command.text, status)
            if box is not None:
                box.rights = rights
        return Command("SETACL", 'SETACL %s ann "%s"' % (name, rights), done, quiet=False)

    def mailbox(self, client):
        """CREATE, DELETE, RENAME. Who deletes INBOX's mail renames it. A new mailbox is not shared."""
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
            box.rights = boxes["INBOX"].rights = None
        return True
