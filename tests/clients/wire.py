"""wire.py - the three protocols with nothing in between: what is sent and received is bytes

imaplib and poplib change line ends and split lines their own way; tests that compare bytes use these.
"""
import re

from daemon import Failed


class Wire:
    def __init__(self, sock):
        self.sock = sock
        self.buffer = b""

    def send(self, data):
        self.sock.sendall(data)

    def more(self):
        data = self.sock.recv(1 << 16)
        if not data:
            raise Failed("the server closed the connection; unread: %r" % self.buffer[-200:])
        self.buffer += data

    def line(self):
        start = 0
        while True:
            end = self.buffer.find(b"\r\n", start)
            if end >= 0:
                line, self.buffer = self.buffer[:end], self.buffer[end + 2:]
                return line
            start = max(0, len(self.buffer) - 1)
            self.more()

    def octets(self, n):
        pieces, have = [self.buffer], len(self.buffer)
        while have < n:
            data = self.sock.recv(1 << 18)
            if not data:
                raise Failed("the connection ended %d octets before the end of a literal" % (n - have))
            pieces.append(data)
            have += len(data)
        whole = b"".join(pieces)
        self.buffer = whole[n:]
        return whole[:n]

    def ended(self):
        """True when the server has closed; Failed when it says something instead."""
        if self.buffer:
            raise Failed("expected the end, got %r" % self.buffer[:200])
        try:
            data = self.sock.recv(1 << 16)
        except ConnectionResetError:
            return True
        if data:
            raise Failed("expected the end, got %r" % data[:200])
        return True

    def close(self):
        self.sock.close()


class Imap(Wire):
    def __init__(self, sock, name=None, password=None):
        super().__init__(sock)
        self.count = 0
        self.greeting = self.line()
        if name is not None:
            self.ok("LOGIN %s %s" % (name, password))

    def start(self, command):
        self.count += 1
        tag = "t%d" % self.count
        if isinstance(command, str):
            command = command.encode()
        self.send(tag.encode() + b" " + command + b"\r\n")
        return tag

    def response(self):
        """One response: a list of bytes, text and literals in turn."""
        parts = []
        while True:
            line = self.line()
            parts.append(line)
            literal = re.search(rb"\{(\d+)\}$", line)
            if literal is None:
                return parts
            parts.append(self.octets(int(literal.group(1))))

    def finish(self, tag):
        """(status line without the tag, untagged responses)"""
        untagged = []
        while True:
            parts = self.response()
            if parts[0].startswith(tag.encode() + b" "):
                return parts[0][len(tag) + 1:], untagged
            if not parts[0].startswith(b"* "):
                raise Failed("neither untagged nor %s: %r" % (tag, parts[0][:200]))
            untagged.append(parts)

    def do(self, command):
        return self.finish(self.start(command))

    def ok(self, command):
        status, untagged = self.do(command)
        if not status.startswith(b"OK"):
            raise Failed("%s: %r" % (command, status))
        return untagged

    def append_start(self, mailbox, message, more=""):
        """With a non-synchronising literal, so that many can be under way; NUL takes a literal8."""
        self.count += 1
        tag = "t%d" % self.count
        eight = "~" if b"\0" in message else ""
        head = "%s APPEND %s %s%s{%d+}\r\n" % (tag, mailbox, more, eight, len(message))
        self.send(head.encode() + message + b"\r\n")
        return tag


class Pop(Wire):
    def __init__(self, sock, name=None, password=None):
        super().__init__(sock)
        self.greeting = self.line()
        if name is not None:
            self.ok("USER " + name)
            self.ok("PASS " + password)

    def do(self, command):
        self.send(command.encode() + b"\r\n")
        return self.line()

    def ok(self, command):
        line = self.do(command)
        if not line.startswith(b"+OK"):
            raise Failed("%s: %r" % (command, line))
        return line

    def multi(self, command):
        """The body of a multi-line answer, dots undone, as bytes with its CRLFs."""
        self.ok(command)
        start = 0
        # The terminator may follow the +OK line at once (an empty list).
        self.buffer = b"\r\n" + self.buffer
        while True:
            end = self.buffer.find(b"\r\n.\r\n", start)
            if end >= 0:
                break
            start = max(0, len(self.buffer) - 4)
            self.more()
        body, self.buffer = self.buffer[2:end + 2], self.buffer[end + 5:]
        return re.sub(rb"(^|\r\n)\.", rb"\1", body)


class Lmtp(Wire):
    def __init__(self, sock):
        super().__init__(sock)
        self.greeting = self.line()
        self.expect("250", "LHLO client.example.org")

    def reply(self):
        lines = [self.line()]
        while lines[-1][3:4] == b"-":
            lines.append(self.line())
        return b"\n".join(lines)

    def expect(self, code, command=None):
        if command is not None:
            self.send(command.encode() + b"\r\n")
        reply = self.reply()
        if not reply.startswith(code.encode()):
            raise Failed("%s: %r instead of %s" % (command, reply, code))
        return reply

    def data(self, message):
        """What stands between DATA and the reply: dots doubled at line starts, the final dot."""
        self.send(re.sub(rb"(^|\r\n)\.", rb"\1..", message) + b".\r\n")

    def deliver(self, message, *recipients):
        """The replies, one for each recipient. MESSAGE ends in CRLF."""
        self.expect("250", "MAIL FROM:<sender@example.org> BODY=8BITMIME")
        for recipient in recipients:
            self.expect("250", "RCPT TO:<%s>" % recipient)
        self.expect("354", "DATA")
        self.data(message)
        return [self.reply() for _ in recipients]
