"""test_poplib.py - Python's poplib, in clear, over STLS and over TLS"""
import poplib

from daemon import Daemon, expect, message


def session(m, first):
    m.user("joe")
    m.pass_("secret")
    total = sum(len(message(n)) for n in range(first, 4))
    expect(m.stat() == (4 - first, total), "STAT says %r, %d octets" % (m.stat(), total))
    lines = b"\r\n".join(m.retr(1)[1]) + b"\r\n"
    expect(lines == message(first), "RETR changed the bytes")
    top = m.top(1, 1)[1]
    expect(len(top) == len(message(first).split(b"\r\n\r\n")[0].split(b"\r\n")) + 2, "TOP 1: %r" % top)
    ids = m.uidl()[1]
    expect(len(set(line.split()[1] for line in ids)) == 4 - first, "UIDL says %r" % ids)
    m.dele(1)
    m.rset()
    m.dele(1)
    expect(m.stat()[0] == 3 - first, "DELE did not count")
    m.quit()
    return ids


def test_sessions():
    with Daemon() as d:
        for n in (1, 2, 3):
            d.deliver("joe", message(n))
        ids = session(poplib.POP3("127.0.0.1", d.port["pop3"]), 1)
        m = poplib.POP3("127.0.0.1", d.port["pop3"])
        m.stls(d.tls())
        again = session(m, 2)
        expect([i.split()[1] for i in again] == [i.split()[1] for i in ids[1:]], "UIDL changed")
        context = d.tls()
        context.check_hostname = False
        session(poplib.POP3_SSL("127.0.0.1", d.port["pop3s"], context=context), 3)
        m = poplib.POP3("127.0.0.1", d.port["pop3"])
        m.user("joe")
        m.pass_("secret")
        expect(m.stat() == (0, 0), "three were removed, left is %r" % (m.stat(),))
        m.quit()


def test_lost_connection_removes_nothing():
    with Daemon() as d:
        d.deliver("joe", message(1))
        m = poplib.POP3("127.0.0.1", d.port["pop3"])
        m.user("joe")
        m.pass_("secret")
        m.dele(1)
        m.close()
        m = poplib.POP3("127.0.0.1", d.port["pop3"])
        m.user("joe")
        m.pass_("secret")
        expect(m.stat()[0] == 1, "a session without QUIT removed a message")
        m.quit()
