"""test_imaplib.py - Python's imaplib, in clear, over STARTTLS and over TLS"""
import imaplib
import time

from daemon import Daemon, expect, message
from wire import Lmtp


def session(m):
    m.login("joe", "secret")
    kind, data = m.select("INBOX")
    expect(kind == "OK" and data == [b"3"], "SELECT says %r" % data)
    kind, data = m.search(None, "SUBJECT", "message 2")
    expect(data == [b"2"], "SEARCH says %r" % data)
    kind, data = m.fetch("1:3", "(UID FLAGS BODY.PEEK[])")
    bodies = [part[1] for part in data if isinstance(part, tuple)]
    expect(bodies == [message(n) for n in (1, 2, 3)], "FETCH changed the bytes")
    kind, data = m.store("2", "+FLAGS", r"(\Seen important)")
    expect(kind == "OK" and b"important" in data[0], "STORE says %r" % data)
    kind, data = m.create("Work/2026")
    expect(kind == "OK", "CREATE says %r" % data)
    kind, data = m.list()
    expect(any(b"Work/2026" in line for line in data), "LIST says %r" % data)
    kind, data = m.copy("2", "Work/2026")
    expect(kind == "OK", "COPY says %r" % data)
    kind, data = m.append("Work/2026", r"(\Flagged)", imaplib.Time2Internaldate(time.time()),
        message(9))
    expect(kind == "OK", "APPEND says %r" % data)
    kind, data = m.status("Work/2026", "(MESSAGES UNSEEN UIDNEXT)")
    for item in (b"MESSAGES 2", b"UNSEEN 1", b"UIDNEXT 3"):
        expect(item in data[0], "STATUS says %r" % data)
    m.store("1", "+FLAGS", r"\Deleted")
    kind, data = m.expunge()
    expect(data == [b"1"], "EXPUNGE says %r" % data)
    kind, data = m.select("Work/2026")
    kind, data = m.fetch("1", "(FLAGS)")
    expect(rb"\Seen" in data[0] and b"important" in data[0], "the copy lost its flags: %r" % data)
    m.close()
    expect(m.logout()[0] == "BYE", "LOGOUT without BYE")


def with_three(d):
    for n in (1, 2, 3):
        d.deliver("joe", message(n))


def test_plain():
    with Daemon() as d:
        with_three(d)
        session(imaplib.IMAP4("127.0.0.1", d.port["imap"]))


def test_starttls():
    with Daemon() as d:
        with_three(d)
        m = imaplib.IMAP4("127.0.0.1", d.port["imap"])
        expect(m.starttls(d.tls())[0] == "OK", "STARTTLS was refused")
        session(m)


def test_imaps():
    with Daemon() as d:
        with_three(d)
        context = d.tls()
        context.check_hostname = False
        session(imaplib.IMAP4_SSL("127.0.0.1", d.port["imaps"], ssl_context=context))


def test_wrong_password():
    with Daemon(settings=["--login-fail-delay-ms", "0"]) as d:
        m = imaplib.IMAP4("127.0.0.1", d.port["imap"])
        for name in ("joe", "nobody"):
            try:
                m.login(name, "wrong")
            except imaplib.IMAP4.error as error:
                expect("AUTHENTICATIONFAILED" in str(error), "told %s" % error)
            else:
                expect(False, "a wrong password was taken")
        m.login("joe", "secret")
        m.logout()
        expect("wrong" not in d.log(), "a password is in the log")


def test_authenticate_plain():
    with Daemon() as d:
        m = imaplib.IMAP4("127.0.0.1", d.port["imap"])
        expect(m.authenticate("PLAIN", lambda _: b"\0joe\0secret")[0] == "OK", "AUTH=PLAIN refused")
        m.logout()


def test_utf8():
    """imaplib knows UTF8=ACCEPT: names and headers as they are. (Its APPEND puts "UTF8 (" into the message.)"""
    with Daemon() as d:
        text = "Subject: Grüße\r\nFrom: jörg@example.org\r\n\r\nx\r\n".encode()
        expect(Lmtp(d.connect("lmtp")).deliver(text, "joe")[0].startswith(b"250"), "LMTP refused it")
        m = imaplib.IMAP4("127.0.0.1", d.port["imap"])
        m.login("joe", "secret")
        kind, data = m.enable("UTF8=ACCEPT")
        expect(kind == "OK" and m.utf8_enabled, "ENABLE says %r" % data)
        expect(m.create('"Entwürfe"')[0] == "OK", "CREATE of a name in UTF-8")
        kind, data = m.list('""', '"Entw%"')
        expect(data == ['(\\HasNoChildren) "/" "Entwürfe"'.encode()], "LIST says %r" % data)
        expect(m.select("INBOX")[0] == "OK", "SELECT")
        expect(m.copy("1", '"Entwürfe"')[0] == "OK" and m.select('"Entwürfe"')[0] == "OK", "COPY, SELECT")
        kind, data = m.fetch("1", "(BODY.PEEK[])")
        expect(data[0][1].endswith(text), "FETCH says %r" % data)
        kind, data = m.fetch("1", "(ENVELOPE)")
        expect('"Grüße"'.encode() in data[0], "ENVELOPE says %r" % data)
        kind, data = m.search(None, "SUBJECT", '"grüße"')
        expect(data == [b"1"], "SEARCH says %r" % data)
        m.logout()
