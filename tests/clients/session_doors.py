"""session_doors.py - LMTP and POP3 beside the IMAP clients of test_sessions.py"""
import re

from daemon import expect
from ledger import GUESTS_BOX, same_message
from session_commands import content
from wire import Pop


class Doors:
    """Of a Run (test_sessions.py)."""

    # ---- the other doors ----

    def deliver(self):
        token, whole = self.ledger.new_token(content)
        to = self.r.choice((("joe",), ("joe",), ("joe", "ann")))
        self.ledger.bodies[token] = len(to)
        for reply in self.lmtp.deliver(whole, *to):
            expect(reply.startswith(b"250"), "LMTP: %r" % reply)
        self.ledger.delivered.add(token)
        if self.lockstep:
            for name in to:
                self.model.boxes["INBOX" if name == "joe" else GUESTS_BOX].add(token, ())

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
