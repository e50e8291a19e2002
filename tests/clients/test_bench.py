"""The comparison with other servers (bench/peers): its load generator against mailshelf alone, its arithmetic, its report"""
import json
import os
import shutil
import subprocess
import sys
import tempfile

from daemon import BIN, ROOT, Daemon, expect

sys.path.insert(0, os.path.join(ROOT, "bench/peers"))

import accounting  # noqa: E402
import client  # noqa: E402
import figures  # noqa: E402
import report  # noqa: E402
import rows  # noqa: E402
import run as peers  # noqa: E402

LOAD = os.path.join(BIN, "bench_load")


def corpus(directory, name, count, kind, seed=1):
    path = os.path.join(directory, name)
    facts = json.loads(subprocess.run([LOAD, "corpus", path, str(count), str(seed), kind], check=True, capture_output=True).stdout)
    expect(facts["messages"] == count, "%d messages asked, %r" % (count, facts))
    return path, facts


def test_bench_made_mail():
    """The same seed makes the same mail, and it is like real mail in what its statistics say."""
    with tempfile.TemporaryDirectory() as d:
        first, second = corpus(d, "a", 1500, "mail")[0], corpus(d, "b", 1500, "mail")[0]
        third = corpus(d, "c", 1500, "mail", 2)[0]
        with open(first, "rb") as a, open(second, "rb") as b, open(third, "rb") as c:
            bytes_a, bytes_b, bytes_c = a.read(), b.read(), c.read()
        expect(bytes_a == bytes_b and bytes_a != bytes_c, "the seed does not decide")
        mail = list(rows.rows_delivery.messages(first))
        sizes = sorted(map(len, mail))
        heads = [m.split(b"\r\n\r\n")[0] for m in mail]
        fields = sorted(sum(1 for line in h.split(b"\r\n") if line[:1] not in b" \t") for h in heads)
        expect(6500 < sizes[750] < 9500, "median %d" % sizes[750])
        expect(3500 < sorted(map(len, heads))[750] < 5000, "headers")
        expect(33 <= fields[750] <= 39, "%d fields" % fields[750])
        expect(0.68 < sum(b"\nReferences:" in h for h in heads) / 1500 < 0.78, "answers")
        expect(0.23 < sum(b"Content-Type: multipart/" in h for h in heads) / 1500 < 0.32, "multiparts")
        expect(all(b"\n" not in m.replace(b"\r\n", b"") for m in mail), "a bare LF")
        ids = {h.split(b"Message-ID: ")[1].split(b"\r\n")[0] for h in heads}
        expect(len(ids) == 1500, "message ids repeat")
        tiny = sorted(len(m) for m in rows.rows_delivery.messages(corpus(d, "t", 500, "tiny")[0]))
        expect(350 < tiny[250] < 550, "tiny mail has %d bytes" % tiny[250])


def test_bench_deliveries_and_reads():
    """What the load generator sends arrives whole, and it counts the bytes that it reads."""
    with tempfile.TemporaryDirectory() as d, Daemon(accounts=[("u%d" % n, "secret") for n in range(4)]) as server:
        path, _ = corpus(d, "mail", 40, "mail")
        users = ["u0", "u1", "u2"]
        done = client.run(LOAD, "lmtp", server.port["lmtp"], path, 0, 40, 8, 1000, *users, timeout=60)
        expect(done["delivered"] == 40 and done["times"]["n"] == 40, repr(done))
        done = client.run(LOAD, "lmtp", server.port["lmtp"], path, 5, 3, 0, 2000, *users, timeout=60)
        expect(done["delivered"] == 9, "to all: %r" % done)
        try:
            client.run(LOAD, "lmtp", server.port["lmtp"], path, 0, 2, 1, 3000, "nobody-here", timeout=60)
            expect(False, "mail for nobody was delivered")
        except client.RowFailed as why:
            expect("5.1.1" in str(why), str(why))
        exact = sum(len(m) for m in rows.rows_delivery.messages(path))
        for tls in (False, True):
            with client.Session(LOAD, 60) as s:
                s.open("imap", server.port["imaps" if tls else "imap"], tls)
                s.imap("LOGIN u3 secret")
                if not tls:
                    expect(s.append("INBOX", path, 0, 40, 7, 60)["bytes"] == exact, "appended")
                s.imap("SELECT INBOX")
                whole = s.imap("FETCH 1:* BODY.PEEK[]", count=True)
                expect(exact < whole["bytes"] < exact + 40 * 60 and whole["untagged"] >= 40, repr(whole)[:300])
                expect(s.each(20, 3, 40, "FETCH %u FLAGS")["times"]["n"] == 20, "each")
                found = s.imap("SEARCH SEEN", count=True)
                expect(found["blanks"] - 2 - found["text"].count(" ") == 20, repr(found))
                try:
                    s.imap("FETCH nonsense")
                    expect(False, "BAD passed as good")
                except client.RowFailed:
                    pass
        with client.Session(LOAD, 60) as s:
            s.open("pop3", server.port["pop3"])
            s.pop("USER u3")
            s.pop("PASS secret")
            expect(s.pop("LIST", True)["bytes"] > 40 * 6, "LIST")
            expect(s.retr(1, 40)["bytes"] > exact, "RETR")


def test_bench_many_connections():
    with tempfile.TemporaryDirectory() as d, Daemon(accounts=[("u0", "secret")]) as server:
        for tls in (0, 1):
            c = client.Client(LOAD, "idle", server.port["imaps" if tls else "imap"], tls, 12, 3, server.port["lmtp"], "secret", "u0")
            expect(c.answer(60)["ready"] == 12, "connections")
            done = c.ask("fanout 3", 60)
            expect(done["heard"] == 12 and done["last"]["n"] == 3 and done["first"]["p50"] <= done["last"]["p50"], repr(done))
            c.close()
        path, _ = corpus(d, "mail", 30, "mail")
        with client.Session(LOAD, 60) as s:
            s.open("imap", server.port["imap"])
            s.imap("LOGIN u0 secret")
            s.append("INBOX", path, 0, 510, 100, 60)
        done = client.run(LOAD, "mixed", server.port["imap"], server.port["lmtp"], path, 2, 4, 40, 5, 9000, "secret", "u0", timeout=60)
        expect(done["kinds"]["body"]["n"] > 10 and done["kinds"]["delivery"]["n"] >= 9, repr(done))


def cell(**values):
    return {server: {"values": v, "cpu": [], "client": []} for server, v in values.items()}


def test_bench_arithmetic():
    rate, time = figures.ROWS["lmtp-8"], figures.ROWS["fetch-flags"]
    expect(figures.advantage(rate, 500, 100) == 5 and figures.advantage(time, 2, 10) == 5, "advantage")
    expect(figures.advantage(time, 0, 10) is None, "nothing divided by nothing")
    # Within each round 2x, 2x, 8x: the median of ratios is 2, the ratio of medians would be 4.
    drifting = cell(mailshelf=[200, 800, 800], mdbox=[100, 400, 100])
    expect(figures.best(rate, drifting) == ("mdbox", 2), repr(figures.best(rate, drifting)))
    mixed = cell(mailshelf=[600], mdbox=[100], cyrus=[150])
    expect(figures.best(rate, mixed) == ("cyrus", 4), "the best peer is the one with the least advantage")
    expect(figures.verdict(rate, mixed)[0] == "MISSED", "4 of 5")
    expect(figures.verdict(rate, cell(mailshelf=[750], cyrus=[150]))[0] == "met", "5 of 5")
    expect(figures.verdict(rate, cell(cyrus=[150]))[0] == "?", "a side is missing")
    select = figures.ROWS["select"]
    expect(figures.verdict(select, cell(mailshelf=[1.1], mdbox=[1]))[0] == "met", "within 1.2x")
    expect(figures.verdict(select, cell(mailshelf=[1.3], mdbox=[1]))[0] == "MISSED", "beyond 1.2x")
    bodies = figures.ROWS["bodies"]
    expect(figures.verdict(bodies, cell(mailshelf=[300], mdbox=[100], maildir=[290]))[0] == "met", "one goal for each peer")
    expect(figures.verdict(bodies, cell(mailshelf=[300], mdbox=[100], maildir=[310]))[0] == "MISSED", "slower than Maildir")
    expect(figures.verdict(figures.ROWS["fanout-last"], cell(mailshelf=[11]))[0] == "MISSED", "a limit")
    expect(peers.size_of("10k") == 10000 and peers.size_of("1M") == 1000000 and peers.name_of(100000) == "100k", "sizes")
    expect(rows.wanted(["lmtp-1"], "lmtp") == {"lmtp-1"} and not rows.wanted(["lmtp-1"], "idle"), "ROWS=")
    all_rows = [r for group in rows.OF.values() for r in group]
    expect(sorted(all_rows) == sorted(figures.ROWS), "every row is in one group")
    expect(set(rows.OF) == set(rows.GROUPS), "groups")


def test_bench_sync_calls():
    trace = ("10 fdatasync(5) = 0\n11 pwrite64(6, \"x\"..., 120, 4096) = 120\n11 pwrite64(7, \"x\"..., 120, 0) = 120\n"
        "12 fsync(9 <unfinished ...>\n12 <... fsync resumed>) = 0\n10 write(1, \"y\", 1) = 1\n10 +++ exited with 0 +++\n")
    expect(accounting.parse_trace(trace, {11: 10}, {(10, 6)}) == 3, "two syncs, and one write to a file that is synchronous")
    with tempfile.NamedTemporaryFile() as f:
        fd = os.open(f.name, os.O_WRONLY | os.O_DSYNC)
        expect((os.getpid(), fd) in accounting.synchronous([os.getpid()]), "O_DSYNC is not seen")
        os.close(fd)


def test_bench_report():
    results = {"rows": {"lmtp-8": cell(mailshelf=[4000, 4200], mdbox=[500, 600], maildir=[450, 400]),
        "select@10k": cell(mailshelf=[2], mdbox=[1], maildir=[9], cyrus=[3]),
        "select@100k": cell(mailshelf=[0.5], mdbox=[1], maildir=[9], cyrus=[30])},
        "found": {"search-body-1@10k": {"mailshelf": 3, "mdbox": 4}}}
    results["rows"]["lmtp-8"]["cyrus"] = {"values": [], "cpu": [], "client": [], "note": "took more than 120 s"}
    with tempfile.TemporaryDirectory() as d:
        report.write(results, d)
        with open(os.path.join(d, "RESULTS.md")) as f:
            text = f.read()
        with open(os.path.join(d, "results/results.json")) as f:
            expect(json.load(f) == results, "results.json")
        for want in ("| LMTP, 8 connections | msgs/s | 4,100 | 550 | 425 | failed | 7.5x (Dovecot mdbox+zstd) |", "took more than 120 s",
                "Goals: 2 met, 1 missed", "- SELECT, new connection · 10k: 2 ms, 0.5x of Dovecot mdbox+zstd",
                "| STATUS, new connection | ms | not run |", "search-body-1@10k: mailshelf 3, Dovecot mdbox+zstd 4"):
            expect(want in text, "%r is not in the report:\n%s" % (want, text))
        if shutil.which("gnuplot"):
            expect(os.path.getsize(os.path.join(d, "results/delivery.svg")) > 1000 and "results/delivery.svg" in text, "charts")
