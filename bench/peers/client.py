"""client.py - bench_load as Python sees it: a program that is told what to do and answers in JSON"""
import json
import os
import select
import subprocess
import time


class RowFailed(Exception):
    """A server did not do what a row needs; the text goes into the table."""


def run(program, *argv, timeout):
    """A part of bench_load that runs once."""
    try:
        done = subprocess.run([program, *map(str, argv)], stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise RowFailed("took more than %d s" % timeout)
    if done.returncode != 0:
        raise RowFailed("bench_load ended with %d: %s" % (done.returncode, done.stderr.decode(errors="replace")[-300:]))
    return checked(json.loads(done.stdout))


def checked(answer):
    if not answer.get("ok", True):
        raise RowFailed(str(answer.get("text") or answer)[:200])
    return answer


class Client:
    """A part of bench_load that stays and is asked."""

    def __init__(self, program, *argv):
        self.process = subprocess.Popen([program, *map(str, argv)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.close()
        if kind is None and self.process.returncode > 0:
            raise RowFailed("bench_load ended with %d" % self.process.returncode)

    def close(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def answer(self, timeout):
        end = time.monotonic() + timeout
        while b"\n" not in self.buffer:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                self.process.kill()
                raise RowFailed("took more than %d s" % timeout)
            data = os.read(self.process.stdout.fileno(), 1 << 16)
            if not data:
                raise RowFailed("bench_load ended")
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return checked(json.loads(line.decode("utf-8", "replace")))

    def ask(self, line, timeout):
        try:
            self.process.stdin.write(line.encode() + b"\n")
        except BrokenPipeError:
            raise RowFailed("bench_load ended")
        return self.answer(timeout + 10)


class Session(Client):
    """An IMAP or POP3 connection."""

    def __init__(self, program, limit):
        super().__init__(program, "session")
        self.limit = limit

    def open(self, protocol, port, tls=False):
        return self.ask("open %s %d %d" % (protocol, port, tls), 60)

    def imap(self, command, count=False):
        return self.ask("%s %d %s" % ("count" if count else "cmd", self.limit, command), self.limit)

    def each(self, count, seed, highest, command):
        return self.ask("each %d %d %d %s" % (count, seed, highest, command), self.limit)

    def append(self, mailbox, path, first, count, per, limit):
        return self.ask("append %s %s %d %d %d" % (mailbox, path, first, count, per), limit)

    def pop(self, command, many=False):
        return self.ask("%s %d %s" % ("list" if many else "pop", self.limit, command), self.limit)

    def retr(self, first, last):
        return self.ask("retr %d %d" % (first, last), self.limit)
