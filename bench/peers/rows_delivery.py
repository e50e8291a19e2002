"""rows_delivery.py - mail that comes in: LMTP by some connections, to many recipients, and in bulk"""
import os
import shutil
import struct

import accounting
import client
import servers

TRACED = 200


def lmtp(bench, wanted):
    corpus = bench.corpus("mail", 2000)
    for round_number in range(bench.options.rounds):
        for connections in (1, 8, 32):
            name = "lmtp-%d" % connections
            names = {r for r in wanted if r in (name, name + "-p99", name + "-written")}
            for server in bench.turns(round_number) if names else ():
                bench.attempt(server, names, None,
                    lambda: one_run(bench, server, name, connections, corpus, round_number, names))
        if "lmtp-100" in wanted:
            for server in bench.turns(round_number):
                bench.attempt(server, {"lmtp-100"}, None, lambda: to_hundred(bench, server, corpus, round_number))
    for connections in (1, 8):
        name = "lmtp-%d-syncs" % connections
        if name in wanted:
            for server in bench.turns(connections):
                bench.attempt(server, {name}, None, lambda: traced(bench, server, name, connections, corpus))


def deliver(bench, server, connections, corpus, first, count, users):
    """COUNT deliveries; each message gets an id of its own: Cyrus drops repeats."""
    bench.serial += count + 1
    return client.run(bench.load, "lmtp", server.port["lmtp"], corpus["path"], first, count, connections, bench.serial, *users,
        timeout=bench.limit)


def warm(bench, server, users, corpus):
    """Mailboxes exist and processes run before the clock starts."""
    server.need_users(users)
    deliver(bench, server, min(len(users), 8), corpus, 0, len(users), users)


def one_run(bench, server, name, connections, corpus, round_number, names):
    users = ["d%d" % n for n in range(32)]
    if "d0" not in server.users:
        warm(bench, server, users, corpus)
    count = bench.options.deliveries
    cpu, written = server.group.cpu_ms(), server.group.written()
    done = deliver(bench, server, connections, corpus, round_number * count, count, users)
    cpu, written = server.group.cpu_ms() - cpu, server.group.written() - written
    values = {name: done["delivered"] / done["ms"] * 1e3, name + "-p99": done["times"]["p99"],
        name + "-written": written / done["bytes"]}
    for row in names:
        bench.sample(row, None, server, values[row], cpu / done["delivered"], done["cpu_ms"] / done["delivered"])


def to_hundred(bench, server, corpus, round_number):
    users = ["h%d" % n for n in range(100)]
    if "h0" not in server.users:
        warm(bench, server, users, corpus)
    count = 20
    cpu = server.group.cpu_ms()
    done = deliver(bench, server, 0, corpus, round_number * count, count, users)
    cpu = server.group.cpu_ms() - cpu
    bench.sample("lmtp-100", None, server, done["delivered"] / done["ms"] * 1e3, cpu / done["delivered"],
        done["cpu_ms"] / done["delivered"])


def traced(bench, server, name, connections, corpus):
    users = ["d%d" % n for n in range(32)]
    if "d0" not in server.users:
        warm(bench, server, users, corpus)
    with accounting.Trace(server.group, os.path.join(bench.dir, "trace")) as trace:
        done = deliver(bench, server, connections, corpus, 0, TRACED, users)
    bench.sample(name, None, server, trace.syncs / done["delivered"])


# ---- Bulk ----

def messages(path):
    with open(path, "rb") as f:
        while True:
            head = f.read(4)
            if len(head) < 4:
                return
            yield f.read(struct.unpack("<I", head)[0])


def make_maildir(bench, corpus):
    """The corpus as a Maildir and, the same files, numbered as Cyrus' spool has them."""
    top = os.path.join(bench.dir, "import")
    shutil.rmtree(top, ignore_errors=True)
    for d in ("Maildir/cur", "Maildir/new", "Maildir/tmp", "numbered"):
        os.makedirs(os.path.join(top, d))
    for n, text in enumerate(messages(corpus["path"]), 1):
        path = os.path.join(top, "Maildir/cur", "%d.M%dP1.bench:2,S" % (1700000000 + n, n))
        with open(path, "wb") as f:
            f.write(text)
        os.link(path, os.path.join(top, "numbered", "%d." % n))
    if bench.user:  # Dovecot's importer writes its index beside the mail
        servers.call(["chown", "-R", bench.user, top])
    return os.path.join(top, "Maildir"), top


def bulk(bench, wanted):
    sizes = sorted({min(s, 10000) for s in bench.options.sizes})
    kind = "real" if os.path.isdir(os.path.join(bench.options.corpus, "bulk")) else "mail"
    bench.results["corpus"] = "real list mail" if kind == "real" else "made mail"
    for size in sizes:
        corpus = bench.corpus(kind, size)
        maildir, top = make_maildir(bench, corpus)
        try:
            for round_number in range(bench.options.rounds):
                for server in bench.turns(round_number):
                    bench.attempt(server, wanted, size, lambda: one_import(bench, server, wanted, size, corpus, maildir, round_number))
        finally:
            shutil.rmtree(top, ignore_errors=True)


def one_import(bench, server, wanted, size, corpus, maildir, round_number):
    user = "b%d-%d" % (size, round_number)
    server.need_users([user])
    before = server.disk_bytes()
    took = server.timed_import(user, maildir, bench.limit * 2)
    with server.session(user) as s:
        status = s.imap("STATUS INBOX (MESSAGES)")
        if "MESSAGES %d)" % corpus["messages"] not in status["head"]:
            raise client.RowFailed("imported other than %d messages: %s" % (corpus["messages"], status["head"][:80]))
        if "import" in wanted:
            bench.sample("import", size, server, corpus["bytes"] / took / 1e6)
        if round_number == 0 and "disk" in wanted:  # the first into an empty store: nothing is used again
            bench.sample("disk", size, server, (server.disk_bytes() - before) / corpus["bytes"])
        s.imap("SELECT INBOX")
        s.imap("FETCH 1:* (FLAGS INTERNALDATE RFC822.SIZE BODYSTRUCTURE ENVELOPE)")
    if round_number == 0 and "disk-read" in wanted:
        bench.sample("disk-read", size, server, (server.disk_bytes() - before) / corpus["bytes"])
