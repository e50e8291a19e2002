"""rows_connections.py - many connections at once, a restart, and a steady day"""
import time

import client
import servers

FAN, ROUNDS = 100, 10
MIXED_USERS, MIXED_CONNECTIONS, MIXED_OPERATIONS, MIXED_DELIVERIES = 8, 32, 200, 20


def idle_client(bench, server, tls, count, users):
    c = client.Client(bench.load, "idle", server.port["imaps" if tls else "imap"], int(tls), count, 4, server.port["lmtp"],
        servers.PASSWORD, *users)
    try:
        return c, c.answer(bench.limit * 3)
    except BaseException:
        c.close()
        raise


def settled(server):
    """Memory when it no longer changes: processes that end or hibernate take their time."""
    last, end = server.group.memory_kib(), time.monotonic() + 20
    while True:
        time.sleep(2)
        now = server.group.memory_kib()
        if abs(now - last) < max(last // 100, 200) or time.monotonic() > end:
            return now
        last = now


def idle(bench, wanted):
    users = ["i%d" % n for n in range(100)]
    for tls in (False, True):
        kind = "tls" if tls else "plain"
        names = {"idle-kib-" + kind, "idle-rate-" + kind}
        if not names & wanted:
            continue
        for count in bench.options.idle:
            for server in bench.turns(count + tls):
                bench.attempt(server, names, count, lambda: one_idle(bench, server, tls, kind, count, users))
        most = bench.options.idle_most
        if most and "mailshelf" in bench.servers:
            server = bench.servers["mailshelf"]
            bench.attempt(server, names, most, lambda: one_idle(bench, server, tls, kind, most, users))
            for peer in servers.ALL[1:]:
                for row in names:
                    bench.note(row, most, peer.name, "not run: a process for each, see the smaller numbers")


def one_idle(bench, server, tls, kind, count, users):
    """In processes that just started: memory that others gave back would be taken again and not be seen."""
    server.need_users(users)
    server.stop()
    server.start()
    for user in users:  # one after the other: mailboxes are made, passwords were seen once
        with server.session(user) as s:
            s.imap("SELECT INBOX")
    before, cpu = settled(server), server.group.cpu_ms()
    c, ready = idle_client(bench, server, tls, count, users)
    try:
        cpu = (server.group.cpu_ms() - cpu) / count
        bench.sample("idle-rate-" + kind, count, server, count / ready["ms"] * 1e3, cpu, ready["cpu_ms"] / count)
        bench.sample("idle-kib-" + kind, count, server, (settled(server) - before) / count)
    finally:
        c.close()


def fanout(bench, wanted):
    for server in bench.turns(0):
        def one():
            server.need_users(["fan"])
            c, _ = idle_client(bench, server, False, FAN, ["fan"])
            try:
                done = c.ask("fanout %d" % ROUNDS, bench.limit)
                for which in ("first", "half", "last"):
                    bench.sample("fanout-" + which, None, server, done[which]["p50"])
            finally:
                c.close()
        bench.attempt(server, wanted, None, one)


def restart(bench, wanted):
    for round_number in range(bench.options.rounds):
        for server in bench.turns(round_number):
            def one():
                server.need_users(["fan"])
                server.stop()
                begin = time.monotonic()
                server.start()
                with server.session("fan") as s:
                    s.imap("SELECT INBOX")
                bench.sample("restart", None, server, (time.monotonic() - begin) * 1e3)
            bench.attempt(server, wanted, None, one)
    bench.results["restart_bytes"] = {s.name: s.disk_bytes() for s in bench.servers.values()}


def mixed(bench, wanted):
    users = ["x%d" % n for n in range(MIXED_USERS)]
    corpus = bench.corpus("mail", 2000)
    for server in bench.turns(1):
        def one():
            server.need_users(users)
            for user in users:
                with server.session(user) as s:
                    s.append("INBOX", corpus["path"], 0, 600, 100, bench.limit)
            cpu = server.group.cpu_ms()
            bench.serial += 1000000
            done = client.run(bench.load, "mixed", server.port["imap"], server.port["lmtp"], corpus["path"], bench.options.mixed,
                MIXED_CONNECTIONS, MIXED_OPERATIONS, MIXED_DELIVERIES, bench.serial, servers.PASSWORD, *users,
                timeout=bench.options.mixed + bench.limit)
            operations = sum(k["n"] for k in done["kinds"].values())
            cpu = (server.group.cpu_ms() - cpu) / max(operations, 1)
            for kind, times in done["kinds"].items():
                if times["n"] and "mixed-" + kind in wanted:
                    bench.sample("mixed-" + kind, None, server, times["p99"], cpu, done["cpu_ms"] / max(operations, 1))
        bench.attempt(server, wanted, None, one)
    bench.results["mixed_s"] = bench.options.mixed
