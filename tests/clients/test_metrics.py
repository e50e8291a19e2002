"""test_metrics.py - what a monitoring system reads: GET /metrics and /health, told by an OpenMetrics parser"""
import http.client
import json
import os
import re
import socket
import time

from daemon import BIN, Daemon, Failed, Skipped, expect, free_port, message, run
from wire import Imap, Lmtp, Pop

HERE = os.path.dirname(os.path.abspath(__file__))
PYTHON = "/usr/bin/python3"


class Monitor:
    """A daemon's metrics door."""

    def __init__(self):
        if run([PYTHON, "-c", "import prometheus_client"], ok=None).returncode != 0:
            raise Skipped("python3-prometheus-client is not installed")
        self.port = free_port()

    def get(self, path, method="GET", headers={}):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        c.request(method, path, headers=headers)
        answer = c.getresponse()
        body = answer.read()
        c.close()
        return answer.status, answer.headers.get("Content-Type", ""), body

    def scrape(self):
        status, kind, body = self.get("/metrics")
        expect(status == 200 and kind.startswith("application/openmetrics-text; version=1.0.0"),
            "%d %s" % (status, kind))
        samples = json.loads(run([PYTHON, os.path.join(HERE, "openmetrics.py")], input=body).stdout)
        expect(all(s[2] for s in samples), "a family has no help")
        return {(s[3], *sorted(s[4].items())): s[5] for s in samples}


def value(samples, name, **labels):
    key = (name, *sorted(labels.items()))
    if key not in samples:
        raise Failed("no sample %r" % (key,))
    return samples[key]


def wrong_login(d):
    m = Imap(d.connect("imap"))
    expect(m.do("LOGIN joe wrong")[0].startswith(b"NO"), "a wrong password was taken")
    m.ok("LOGOUT")


def test_counts_what_was_done():
    monitor = Monitor()
    with Daemon(accounts=(("joe", "secret"), ("full", "secret", "1K")),
            settings=("--metrics", str(monitor.port), "--login-fail-delay-ms", "0")) as d:
        before = monitor.scrape()
        lmtp = Lmtp(d.connect("lmtp"))
        mails = [message(n) for n in range(3)]
        for mail in mails:
            expect(lmtp.deliver(mail, "joe")[0].startswith(b"250"), "not delivered")
        lmtp.expect("250", "MAIL FROM:<sender@example.org>")
        lmtp.expect("550", "RCPT TO:<nobody>")
        m = Imap(d.connect("imap"), "joe", "secret")
        m.ok("SELECT INBOX")
        for _ in range(4):
            m.ok("NOOP")
        expect(m.do("SELECT missing")[0].startswith(b"NO"), "a missing mailbox was selected")
        expect(m.do("NONSENSE")[0].startswith(b"BAD"), "nonsense was taken")
        wrong_login(d)
        pop = Pop(d.connect("pop3"), "joe", "secret")
        pop.ok("STAT")
        now = monitor.scrape()

        def grown(name, **labels):
            return value(now, name, **labels) - value(before, name, **labels)

        commands = "mailshelf_imap_commands_total"
        for name, labels, much in (
                (commands, {"command": "NOOP", "reply": "ok"}, 4),
                (commands, {"command": "SELECT", "reply": "no"}, 1),
                (commands, {"command": "unknown", "reply": "bad"}, 1),
                ("mailshelf_logins_total", {"service": "imap", "result": "ok"}, 1),
                ("mailshelf_logins_total", {"service": "imap", "result": "wrong"}, 1),
                ("mailshelf_logins_total", {"service": "pop3", "result": "ok"}, 1),
                ("mailshelf_pop3_commands_total", {"command": "STAT"}, 1),
                ("mailshelf_lmtp_recipients_total", {"result": "accepted"}, 3),
                ("mailshelf_lmtp_recipients_total", {"result": "rejected"}, 1),
                ("mailshelf_lmtp_deliveries_total", {"result": "accepted"}, 3),
                ("mailshelf_lmtp_messages_total", {}, 3),
                ("mailshelf_messages", {"partition": "0"}, 3),
                ("mailshelf_connections_accepted_total", {"service": "imap"}, 2),
                ("mailshelf_connections", {"service": "pop3"}, 1)):
            expect(grown(name, **labels) == much, "%s %s grew by %s and not by %d"
                % (name, labels, grown(name, **labels), much))
        expect(grown("mailshelf_lmtp_message_bytes_total") >= sum(map(len, mails)), "bytes received")
        expect(grown("mailshelf_commits_total") >= 1, "commits")
        expect(grown("mailshelf_commit_seconds_count") == grown("mailshelf_commits_total"),
            "a commit has no duration, or more than one")
        expect(value(now, "process_resident_memory_bytes") > 1 << 20, "memory")
        expect(abs(value(now, "process_start_time_seconds") - time.time()) < 600, "start")


def test_no_name_becomes_a_label():
    """However many accounts and mailboxes there are, the series stay the same."""
    monitor = Monitor()
    with Daemon(settings=("--metrics", "127.0.0.1:%d" % monitor.port)) as d:
        before = set(monitor.scrape())
        for n in range(20):
            d.tool("account", "add", "user%d@domain%d.example" % (n, n), "--password-stdin", input=b"secret\n")
            d.tool("mailbox", "create", "joe", "mailbox%d" % n)
        lmtp = Lmtp(d.connect("lmtp"))
        expect(lmtp.deliver(message(1), "joe")[0].startswith(b"250"), "not delivered")
        expect(set(monitor.scrape()) == before, "there are other series than before")


def test_health():
    monitor = Monitor()
    with Daemon(settings=("--metrics", str(monitor.port))) as d:
        expect(monitor.get("/health")[0::2] == (200, b"ok\n"), "it is not healthy")
        expect(monitor.get("/health", "HEAD")[0] == 200, "HEAD")
        expect(monitor.get("/metrics/")[0] == 404, "another path")
        expect(monitor.get("/metrics", "POST")[0] == 405, "POST")


def test_bad_clients_cost_little():
    """Those who say nothing, too much or nonsense; mail is served beside them, and so is the next scrape."""
    monitor = Monitor()
    with Daemon(settings=("--metrics", str(monitor.port))) as d:
        status, _, _ = monitor.get("/metrics", headers={"X": "y" * 100000})
        expect(status in (413, 431), "a header of 100,000 octets: %d" % status)
        with socket.create_connection(("127.0.0.1", monitor.port), timeout=30) as s:
            s.sendall(b"\x16\x03\x01\x00nonsense\r\n\r\n")
            expect(b"200 OK" not in s.recv(4096), "nonsense was taken")
        idle = [socket.create_connection(("127.0.0.1", monitor.port)) for _ in range(40)]
        m = Imap(d.connect("imap"), "joe", "secret")
        m.ok("NOOP")
        descriptors = len(os.listdir("/proc/%d/fd" % d.process.pid))
        for s in idle:
            s.close()
        expect(descriptors < 80, "%d descriptors are open" % descriptors)
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try:
                monitor.scrape()
                return
            except (OSError, http.client.HTTPException):
                time.sleep(0.1)
        raise Failed("no scrape is answered after idle connections have gone")


def test_bad_addresses():
    with Daemon(doors=("imap",)) as d:
        taken = "127.0.0.1:%d" % d.port["imap"]
        for address, status in (("unix:/tmp/metrics", 78), ("99999", 78), ("nonsense", 78), (taken, 69)):
            done = run([os.path.join(BIN, "mailshelfd"), "-s", d.store, "--imap", "127.0.0.1:0", "--metrics",
                address], ok=(status,))
            expect(re.match(rb"(.*\n)*mailshelfd: metrics: ", done.stderr), "%s: %r" % (address, done.stderr))
