"""test_daemon.py - what an administrator does to a running daemon: other processes, signals, certificates"""
import os
import signal
import socket
import ssl
import time

from daemon import BIN, Daemon, Failed, expect, make_certificate, message, run
from wire import Imap, Lmtp, Pop


def idle(d):
    m = Imap(d.connect("imap"), "joe", "secret")
    m.ok("SELECT INBOX")
    m.tag = m.start("IDLE")
    expect(m.line().startswith(b"+"), "IDLE was not taken")
    return m


def told(m, what, within_s):
    """The next line that contains WHAT, and how long it took."""
    start = time.monotonic()
    m.sock.settimeout(within_s)
    try:
        while True:
            line = m.line()
            if what in line:
                return time.monotonic() - start
    except socket.timeout:
        raise Failed("%r did not come within %.1f s" % (what, within_s))
    finally:
        m.sock.settimeout(60)


def test_idle_is_told_by_another_process():
    with Daemon() as d:
        m = idle(d)
        for n in (1, 2, 3):
            d.deliver("joe", message(n))
            # From the end of the delivery on: the other process has its commit on disk.
            told(m, b"* %d EXISTS" % n, 1.0)
        m.send(b"DONE\r\n")
        expect(m.finish(m.tag)[0].startswith(b"OK"), "IDLE did not end")
        m.ok("LOGOUT")


def test_notify_is_told_by_other_processes():
    with Daemon() as d:
        d.tool("mailbox", "create", "joe", "Lists")
        m = Imap(d.connect("imap"), "joe", "secret")
        m.ok("SELECT Lists")
        m.ok("NOTIFY SET (selected (MessageNew MessageExpunge)) "
             "(personal (MessageNew MessageExpunge MailboxName))")
        for n in (1, 2):
            d.deliver("joe", message(n))
            told(m, b"* STATUS INBOX (MESSAGES %d UIDNEXT %d)" % (n, n + 1), 1.0)
        d.tool("mailbox", "create", "joe", "new")
        told(m, b'* LIST (\\HasNoChildren) "/" new', 1.0)
        d.tool("mailbox", "rename", "joe", "new", "newer")
        told(m, b'"/" newer ("OLDNAME" (new))', 1.0)
        d.tool("mailbox", "delete", "joe", "newer")
        told(m, b'* LIST (\\NonExistent', 1.0)
        m.ok("LOGOUT")


def test_idle_is_told_by_other_doors():
    with Daemon() as d:
        m = idle(d)
        lmtp = Lmtp(d.connect("lmtp"))
        expect(lmtp.deliver(message(1), "joe")[0].startswith(b"250"), "LMTP refused")
        told(m, b"* 1 EXISTS", 1.0)
        other = Imap(d.connect("imap"), "joe", "secret")
        other.ok("SELECT INBOX")
        other.ok(r"STORE 1 +FLAGS (\Flagged)")
        told(m, rb"\Flagged", 1.0)
        pop = Pop(d.connect("pop3"), "joe", "secret")
        pop.ok("DELE 1")
        pop.ok("QUIT")
        told(m, b"* 1 EXPUNGE", 1.0)
        m.send(b"DONE\r\n")
        m.finish(m.tag)
        m.ok("LOGOUT")


def test_sigterm_says_goodbye():
    with Daemon() as d:
        plain, idling = Imap(d.connect("imap"), "joe", "secret"), idle(d)
        pop, lmtp = Pop(d.connect("pop3"), "joe", "secret"), Lmtp(d.connect("lmtp"))
        d.stop(signal.SIGTERM)
        expect(plain.line().startswith(b"* BYE"), "no BYE")
        expect(idling.line().startswith(b"* BYE"), "no BYE while idling")
        expect(lmtp.line().startswith(b"421"), "no 421")
        for m in (plain, idling, lmtp):
            m.ended()
        pop.close()
        d.start()
        Imap(d.connect("imap"), "joe", "secret").ok("LOGOUT")


def test_sigterm_adds_nothing_to_a_message():
    big = message(1) + (b"x" * 78 + b"\r\n") * 200000
    with Daemon() as d:
        d.deliver("joe", big)
        m = Imap(d.connect("imap"), "joe", "secret")
        m.ok("SELECT INBOX")
        m.start("FETCH 1 BODY.PEEK[]")
        expect(m.line() == b"* 1 FETCH (BODY[] {%d}" % len(big), "no literal")
        d.process.send_signal(signal.SIGTERM)
        # Half a message is cut off; it is not filled up with words of the server.
        got = m.buffer
        while True:
            data = m.sock.recv(1 << 18)
            if not data:
                break
            got += data
        expect(len(got) < len(big), "the message was read before the server stopped")
        expect(got == big[:len(got)], "not the message: %r" % got[-100:])
        d.stop(signal.SIGTERM)
        d.start()


def test_kill_loses_nothing():
    with Daemon() as d:
        m = Imap(d.connect("imap"), "joe", "secret")
        tags = [m.append_start("INBOX", message(n)) for n in range(30)]
        for tag in tags:
            expect(m.finish(tag)[0].startswith(b"OK"), "APPEND failed")
        d.process.kill()
        d.process.wait()
        d.start()
        m = Imap(d.connect("imap"), "joe", "secret")
        m.ok("SELECT INBOX")
        got = [parts[1] for parts in m.ok("FETCH 1:* BODY.PEEK[]")]
        expect(got == [message(n) for n in range(30)], "not what was acknowledged")
        m.ok("LOGOUT")


def peer_certificate(d):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", d.port["imaps"]), timeout=60) as sock:
        with context.wrap_socket(sock) as tls:
            return tls.getpeercert(True)


def test_sighup_reads_the_certificate_again():
    with Daemon() as d:
        first = peer_certificate(d)
        old = Imap(d.connect("imaps"), "joe", "secret")
        make_certificate(d.dir, "other.example.org")
        expect(peer_certificate(d) == first, "the certificate changed before SIGHUP")
        d.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + 10
        while peer_certificate(d) == first:
            expect(time.monotonic() < end, "SIGHUP did not bring the new certificate")
            time.sleep(0.05)
        old.ok("NOOP")
        old.ok("LOGOUT")
        # A bad file leaves the good one in use.
        with open(d.cert, "w") as f:
            f.write("no certificate\n")
        second = peer_certificate(d)
        d.process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        expect(d.process.poll() is None, "a bad certificate ended the daemon")
        expect(peer_certificate(d) == second, "a bad certificate replaced a good one")


def test_starttls_injection():
    """Bytes sent in clear behind STARTTLS are never obeyed."""
    with Daemon() as d:
        for door, command in (("imap", b"a STARTTLS\r\nb LOGIN joe secret\r\n"),
                ("pop3", b"STLS\r\nUSER joe\r\n")):
            sock = d.connect(door)
            sock.recv(4096)
            sock.sendall(command)
            said = b""
            try:
                while True:
                    data = sock.recv(4096)
                    if not data:
                        break
                    said += data
                    if said.count(b"\n") >= 2:
                        break
            except ConnectionResetError:
                pass
            expect(b"b OK" not in said and said.count(b"+OK") <= 1, "%s obeyed %r" % (door, said))
            sock.close()


def test_cannot_start():
    """Clear errors and the exit codes of sysexits.h."""
    with Daemon() as d:
        server = os.path.join(BIN, "mailshelfd")
        listen = ["--imap", "127.0.0.1:%d" % d.port["imap"]]
        for argv, status in (
                (["--no-such-option"], (64,)),
                (["-s", d.store, "--imap", "nonsense"], (64, 78)),
                (["-s", d.dir + "/nowhere", "--imap", "127.0.0.1:0"], (66,)),
                (["-s", d.store, "--imaps", "127.0.0.1:0"], (78,)),
                (["-s", d.store] + listen, (69,)),
                (["-s", d.store, "-c", d.dir + "/missing.conf"], (66, 78)),
        ):
            done = run([server] + argv, ok=status, timeout=60)
            expect(done.stderr.strip(), "no word about why: %r" % argv)


def test_two_hundred_clients():
    with Daemon() as d:
        d.deliver("joe", message(1))
        clients = [d.connect("imap") for _ in range(200)]
        # Greetings first, then all work at once.
        clients = [Imap(sock) for sock in clients]
        tags = [c.start("CAPABILITY") for c in clients]
        for c, tag in zip(clients, tags):
            expect(c.finish(tag)[0].startswith(b"OK"), "CAPABILITY failed")
        for c in clients:
            c.close()
        Imap(d.connect("imap"), "joe", "secret").ok("LOGOUT")


def test_full_account():
    with Daemon(accounts=[("joe", "secret", "10K")]) as d:
        big = message(1, size=20000)
        lmtp = Lmtp(d.connect("lmtp"))
        lmtp.expect("250", "MAIL FROM:<a@example.org>")
        lmtp.send(b"RCPT TO:<joe>\r\n")
        reply = lmtp.reply()
        if reply.startswith(b"250"):
            lmtp.expect("354", "DATA")
            lmtp.data(big)
            reply = lmtp.reply()
        expect(reply.startswith(b"552 5.2.2"), "LMTP says %r" % reply)
        m = Imap(d.connect("imap"), "joe", "secret")
        status, _ = m.finish(m.append_start("INBOX", big))
        expect(status.startswith(b"NO [OVERQUOTA]"), "APPEND says %r" % status)
        m.ok("LOGOUT")
