"""test_notify.py - what NOTIFY tells is enough: a client that only listens knows what LIST and STATUS would say

Sessions in two daemons on one store change names, subscriptions, messages and rights at random; their owner listens, or
another user, with whom some mailboxes are shared.
"""
import os
import random
import re
import socket
import threading

from daemon import Daemon, Failed, expect
from test_race import second
from wire import Imap

NAMES = ["a", "b", "c", "a/x", "a/y", "b/x", "b/x/deep", "top/one"]
STEPS = int(os.environ.get("MAILSHELF_STEPS", "150"))
SEED = int(os.environ.get("MAILSHELF_SEED", "1"))
WORKERS = 4
ITEMS = ("MESSAGES", "UIDNEXT", "UNSEEN", "HIGHESTMODSEQ")


class Worker(threading.Thread):
    """May fail at anything: others work beside it. With SHARES it changes what ann may do, too."""

    def __init__(self, d, seed, shares):
        super().__init__()
        self.d, self.random, self.error, self.shares = d, random.Random(seed), None, shares

    def run(self):
        try:
            m = Imap(self.d.connect("imap"), "joe", "secret")
            for _ in range(STEPS):
                if not self.play(m, self.step()):
                    m = Imap(self.d.connect("imap"), "joe", "secret")
            m.ok("LOGOUT")
        except BaseException as error:
            self.error = error

    def play(self, m, commands):
        """False: the mailbox that was selected is gone, and so is the connection (RFC 2180 3.2)."""
        try:
            for command in commands:
                if isinstance(command, tuple):
                    m.finish(m.append_start(*command))
                else:
                    m.do(command)
            return True
        except (Failed, OSError):
            return False

    def step(self):
        name, other = self.random.sample(NAMES, 2)
        kind = self.random.randrange(13 if self.shares else 10)
        if kind >= 10:
            return ['SETACL %s ann "%s"' % (self.random.choice(NAMES + ["INBOX"]), self.random.choice(["lr", "lrs", "l", ""]))]
        if kind == 0:
            return ["CREATE " + name]
        if kind == 1:
            return ["DELETE " + name]
        if kind == 2:
            return ["RENAME %s %s" % (name, other)]
        if kind == 3:
            return ["SUBSCRIBE " + name]
        if kind == 4:
            return ["UNSUBSCRIBE " + name]
        if kind < 8:
            return [(self.random.choice(NAMES + ["INBOX"]), b"Subject: x\r\n\r\n")]
        name = self.random.choice(NAMES + ["INBOX"])
        flags = r"UID STORE 1:* +FLAGS.SILENT (%s)" % self.random.choice([r"\Seen", r"\Deleted", "$Junk"])
        return ["SELECT " + name, flags] + (["EXPUNGE"] if kind == 9 else []) + ["UNSELECT"]


def atom(text):
    return text.strip(b'"').decode()


class Listener:
    def __init__(self, m, inbox):
        self.m = m
        self.status, self.subscribed, self.inbox = {n: {} for n in inbox}, set(), inbox

    def take(self, line):
        status = re.match(rb'\* STATUS ("[^"]*"|\S+) \((.*)\)$', line)
        listed = re.match(rb'\* LIST \((.*?)\) "/" ("[^"]*"|\S+)(?: \("OLDNAME" \(("[^"]*"|\S+)\)\))?$', line)
        if status:
            words = status.group(2).decode().split()
            self.status.setdefault(atom(status.group(1)), {}).update(zip(words[::2], words[1::2]))
        elif listed:
            self.take_name(listed.group(1), atom(listed.group(2)), listed.group(3))
        else:
            expect(False, "not expected of NOTIFY: %r" % line)

    def take_name(self, attributes, name, old):
        if old is not None:
            old = atom(old)
            # All at once: a name may move below itself.
            moved = {known: known == old or (known.startswith(old + "/") and not old.endswith("INBOX"))
                for known in self.status}
            self.status = {**{k: v for k, v in self.status.items() if not moved[k]},
                **{name + k[len(old):]: v for k, v in self.status.items() if moved[k]}}
            if old in self.inbox:
                self.status[old] = {}
        if rb"\NonExistent" in attributes or rb"\NoAccess" in attributes:
            self.status.pop(name, None)
        else:
            self.status.setdefault(name, {})
        (self.subscribed.add if rb"\Subscribed" in attributes else self.subscribed.discard)(name)

    def drain(self, quiet_s):
        self.m.sock.settimeout(quiet_s)
        try:
            while True:
                self.take(self.m.line())
        except socket.timeout:
            self.m.sock.settimeout(60)


def really(m, pattern):
    """The same as it is."""
    status, subscribed = {}, set()
    for parts in m.ok('LIST "" "%s" RETURN (SUBSCRIBED STATUS (%s))' % (pattern, " ".join(ITEMS))):
        line = parts[0]
        found = re.match(rb'\* STATUS ("[^"]*"|\S+) \((.*)\)$', line)
        if found:
            words = found.group(2).decode().split()
            status[atom(found.group(1))] = dict(zip(words[::2], words[1::2]))
        elif rb"\Subscribed" in line:
            subscribed.add(atom(line.split()[-1]))
    for parts in m.ok('LIST (SUBSCRIBED) "" *'):
        subscribed.add(atom(parts[0].split()[-1]))
    return status, subscribed


def listen(listener, workers):
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        listener.drain(0.3)
    for worker in workers:
        if worker.error is not None:
            raise worker.error
    listener.drain(1.0)


def compare(listener, status, subscribed):
    expect(set(status) == set(listener.status), "there are %r, told of %r" %
        (sorted(status), sorted(listener.status)))
    for name, items in status.items():
        for item in ("MESSAGES", "UIDNEXT", "UNSEEN"):
            told = listener.status[name].get(item, {"UIDNEXT": "1"}.get(item, "0"))
            expect(told == items[item], "%s of %s is %s, told %s" % (item, name, items[item], told))
    expect(subscribed == listener.subscribed, "subscribed %r, told of %r" %
        (sorted(subscribed), sorted(listener.subscribed)))


def run(user, what, events, pattern, inbox):
    with Daemon([("joe", "secret"), ("ann", "secret")]) as d:
        other = second(d)
        try:
            m = Imap(d.connect("imap"), user, "secret")
            m.ok("ENABLE CONDSTORE")
            listener = Listener(m, inbox)
            for parts in m.ok("NOTIFY SET STATUS (%s (MessageNew MessageExpunge FlagChange %s))" % (what, events)):
                listener.take(parts[0])
            listen(listener, [Worker((d, other)[n % 2], SEED * 100 + n, user != "joe") for n in range(WORKERS)])
        finally:
            other.stop()
        compare(listener, *really(m, pattern))
        m.ok("LOGOUT")


def test_who_listens_knows():
    run("joe", "personal", "MailboxName SubscriptionChange", "*", ["INBOX"])


def test_a_guest_who_listens_knows():
    run("ann", 'subtree "Other Users/joe"', "MailboxName", "Other Users/joe/*", [])


def test_a_hundred_others():
    names = ["u%d" % n for n in range(101)]
    with Daemon([(name, "x") for name in names] + [("joe", "secret")]) as d:
        for name in names[1:]:
            share(d, name)
        m = Imap(d.connect("imap"), "joe", "secret")
        command = 'NOTIFY SET (subtree "Other Users" (MessageNew MessageExpunge))'
        m.ok(command)
        share(d, names[0])
        d.deliver("u1", b"Subject: x\r\n\r\n")
        m.sock.settimeout(10)
        expect(m.line().startswith(b"* OK [NOTIFICATIONOVERFLOW]"), "101 others are watched")
        expect(m.do(command)[0].startswith(b"NO [NOTIFICATIONOVERFLOW]"), "101 others may be watched")


def share(d, name):
    m = Imap(d.connect("imap"), name, "x")
    m.ok("SETACL INBOX joe lr")
    m.ok("LOGOUT")
