"""test_two_daemons.py - two daemons on one store: what one keeps for a delivery the other does not know, and still no box
is ever over its limit"""
import json
import os
import socket
import subprocess
import threading

from daemon import BIN, Daemon, expect, free_port

LIMIT = 100000


class Lmtp:
    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.file = self.sock.makefile("rb")
        self.line()
        self.say("LHLO client")

    def line(self):
        while True:
            line = self.file.readline()
            if line[3:4] != b"-":
                return line

    def say(self, text):
        self.sock.sendall(text.encode() + b"\r\n")
        return self.line()

    def begin(self, size):
        self.say("MAIL FROM:<ann@example.org> SIZE=%d" % size)
        return self.say("RCPT TO:<joe>")

    def end(self, lines):
        """A message of LINES times 100 bytes."""
        expect(self.say("DATA")[:3] == b"354", "no DATA")
        return self.say(("x" * 98 + "\r\n") * lines + ".")


def test_no_box_is_ever_over_its_limit():
    more = ["--lmtp-add-fields", "no"]
    with Daemon(accounts=[("joe", "secret", str(LIMIT))], doors=("lmtp", "pop3"), settings=more) as d:
        ports = d.port["lmtp"], free_port()
        second = subprocess.Popen([os.path.join(BIN, "mailshelfd"), "-s", d.store, "--lmtp", "127.0.0.1:%d" % ports[1],
            "--log-level", "warn"] + more, stdout=subprocess.PIPE)
        try:
            expect(second.stdout.readline() == b"ready\n", "no second daemon")
            # One daemon tells at RCPT that both will not fit; two tell it behind the message, and never after a 250.
            a, b, c = Lmtp(ports[0]), Lmtp(ports[0]), Lmtp(ports[1])
            expect(a.begin(60000)[:3] == b"250", "a was refused")
            expect(b.begin(60000)[:9] == b"552 5.2.2", "b was not refused")
            expect(c.begin(60000)[:3] == b"250", "c was refused")
            replies = sorted((a.end(600)[:9], c.end(600)[:9]))
            expect(replies == [b"250 2.1.5", b"552 5.2.2"], replies)
            answers = []

            def deliver(n):
                lmtp = Lmtp(ports[n % 2])
                for _ in range(4):
                    taken = lmtp.begin(0)[:3] == b"250"
                    answers.append(taken and lmtp.end(30)[:3] == b"250")
                    lmtp.say("RSET")

            threads = [threading.Thread(target=deliver, args=(n,)) for n in range(16)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            stored = sum(answers)
            expect(len(answers) == 64 and stored == (LIMIT - 60000) // 3000, answers)
            quota = json.loads(d.tool("quota", "show", "joe", "--json").stdout)[0]
            expect(quota["used_messages"] == stored + 1 and quota["used_bytes"] == 60000 + 3000 * stored, quota)
        finally:
            second.terminate()
            status = second.wait(60)
            second.stdout.close()
        expect(status == 0, "the second daemon ended with %d" % status)
