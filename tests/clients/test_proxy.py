"""test_proxy.py - clients behind a proxy: the PROXY protocol by hand, and by HAProxy"""
import json
import os
import socket
import struct
import subprocess
import time

from daemon import Daemon, Failed, expect, free_port, need
from wire import Imap, Pop, Wire

TRUST = ["--proxy-networks", "127.0.0.0/8"]
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def v1(ip="192.0.2.7", port=4711):
    return b"PROXY TCP%d %s 198.51.100.1 %d 143\r\n" % (6 if ":" in ip else 4, ip.encode(), port)


def tlv(kind, value):
    return struct.pack("!BH", kind, len(value)) + value


def v2(ip="192.0.2.7", port=4711, tlvs=b"", command=1, family=None):
    six = ":" in ip
    pack = lambda a: socket.inet_pton(socket.AF_INET6 if six else socket.AF_INET, a)  # noqa: E731
    body = pack(ip) + pack("2001:db8::1" if six else "198.51.100.1") + struct.pack("!HH", port, 143) + tlvs
    family = (0x21 if six else 0x11) if family is None else family
    return SIGNATURE + bytes([0x20 | command, family]) + struct.pack("!H", len(body)) + body


def tls_seen(version=b"TLSv1.3"):
    return tlv(0x20, b"\x01\0\0\0\0" + tlv(0x21, version))


def peers(d):
    return sorted((s["peer"], s["tls"]) for s in json.loads(d.tool("who", "--json").stdout))


def behind(d, door, header, pieces=False):
    s = socket.create_connection(("127.0.0.1", d.port[door]), timeout=60)
    for piece in [bytes([b]) for b in header] if pieces else [header]:
        s.sendall(piece)
    return d.wrap(s) if door in ("imaps", "pop3s") else s


def test_who_is_behind_it():
    with Daemon(settings=TRUST) as d:
        # A client of another host without TLS, as if it had come itself.
        for header in (v1(), v2(), v1("2001:db8::7"), v2("2001:db8::7")):
            for pieces in (False, True):
                m = Imap(behind(d, "imap", header, pieces))
                expect(b"LOGINDISABLED" in m.greeting and b"STARTTLS" in m.greeting, m.greeting)
                m.close()
        expect(b"-ERR" in Pop(behind(d, "pop3", v1())).do("USER joe"), "USER was taken")
        # One of this host; over TLS, here or at the proxy.
        m = [Imap(behind(d, "imap", v1("127.0.0.9")), "joe", "secret")]
        m.append(Imap(behind(d, "imaps", v1("192.0.2.8")), "joe", "secret"))
        m.append(Imap(behind(d, "imap", v2("192.0.2.9", tlvs=tlv(4, b"xx") + tls_seen()), True)))
        expect(b"STARTTLS" not in m[2].greeting and b"LOGINDISABLED" not in m[2].greeting, m[2].greeting)
        m[2].ok("LOGIN joe secret")
        m.append(Imap(behind(d, "imap", v2("2001:db8::9", tlvs=tls_seen())), "joe", "secret"))
        m.append(Pop(behind(d, "pop3s", v2("192.0.2.10")), "joe", "secret"))
        got = peers(d)
        expect([p for p, _ in got] == ["127.0.0.9:4711", "192.0.2.10:4711", "192.0.2.8:4711", "192.0.2.9:4711",
            "[2001:db8::9]:4711"], got)
        expect(got[0][1] == "" and got[1][1].startswith("TLSv1.3/TLS_") and got[3][1] == "TLSv1.3/proxy" ==
            got[4][1], got)
        # The proxy itself, which looks whether we are there; and what it does not know.
        for header in (v2(command=0), SIGNATURE + b"\x20\0\0\0", b"PROXY UNKNOWN\r\n", v2(family=0),
            b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", v2(family=0x31)):
            Imap(behind(d, "imap", header), "joe", "secret").ok("LOGOUT")
        # What comes with the header in one piece is obeyed.
        w = Wire(behind(d, "imap", v1("127.0.0.1") + b"a LOGIN joe secret\r\nb LOGOUT\r\n"))
        while not w.line().startswith(b"b OK"):
            pass
        # Others' doors are not asked for one.
        w = Wire(socket.create_connection(("127.0.0.1", d.port["lmtp"])))
        expect(w.line().startswith(b"220"), "LMTP")
        for c in m:
            c.close()


def test_headers_that_make_no_sense():
    bad = [b"a LOGIN joe secret\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + b"x" * 20,
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4711\r\n", b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 143 9\r\n",
        b"PROXY TCP4 2001:db8::1 198.51.100.1 4711 143\r\n", b"PROXY TCP5 192.0.2.7 198.51.100.1 4711 143\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 70000 143\r\n", b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 143 \n",
        b"PROXY TCP4 192.0.2.7\0 198.51.100.1 4711 143\r\n", b"PROXY " + b"x" * 200 + b"\r\n", b"PROXY TCP4  \r\n\r\n\r\n",
        SIGNATURE + b"\x31\x11\0\x0c" + b"x" * 12, SIGNATURE + b"\x22\x11\0\x0c" + b"x" * 12,
        SIGNATURE + b"\x21\x11\0\x04" + b"x" * 4, SIGNATURE + b"\x21\x21\0\x0c" + b"x" * 12,
        SIGNATURE + b"\x21\x11\xff\xff" + b"x" * 100]
    with Daemon(settings=[*TRUST, "--login-timeout-s", "2", "--conns-per-peer-max", "2"]) as d:
        for header in bad:
            expect(Wire(behind(d, "imap", header)).ended(), header)
        expect(d.log().count("proxy refused") == len(bad), d.log()[-3000:])
        # TLVs that end too early say nothing.
        for tlvs in (b"\x20", b"\x20\0\x09\x01", tlv(0x20, b"\x01\0"), tlv(0x20, b"\0\0\0\0\0" + tlv(0x21, b"TLSv1.3"))):
            m = Imap(behind(d, "imap", v2(tlvs=tlvs)))
            expect(b"LOGINDISABLED" in m.greeting, m.greeting)
            m.close()
        # Half of one is waited for as long as for a login.
        start = time.monotonic()
        slow = [Wire(behind(d, "imap", header)) for header in (b"", b"PROXY TCP4 ", v2()[:20])]
        expect(all(w.ended() for w in slow) and 1 < time.monotonic() - start < 40, time.monotonic() - start)
        # Each client has a share of its own of connections.
        kept = [Imap(behind(d, "imap", v1("192.0.2.%d" % (7 + n % 2)))) for n in range(4)]
        w = Wire(behind(d, "imap", v1("192.0.2.7")))
        expect(w.line().startswith(b"* BYE") and w.ended(), "a third one was let in")
        kept[0].close()
        end = time.monotonic() + 30
        while not Wire(behind(d, "imap", v1("192.0.2.7"))).line().startswith(b"* OK"):
            expect(time.monotonic() < end, "its place is not free")
            time.sleep(0.1)
    with Daemon() as d:
        # Nobody is a proxy: a header is a command that is none.
        w = Wire(behind(d, "imap", v1()))
        expect(w.line().startswith(b"* OK") and b" BAD " in w.line(), "a header was taken from anybody")


CONFIG = """
global
  maxconn 100
  stats timeout 5s
defaults
  mode tcp
  timeout connect 20s
  timeout client 60s
  timeout server 60s
listen first
  bind 127.0.0.1:{first}
  server s 127.0.0.1:{imap} send-proxy
listen second
  bind 127.0.0.1:{second}
  server s 127.0.0.1:{imaps} send-proxy-v2 check check-send-proxy inter 200ms
listen tls
  bind 127.0.0.1:{tls} ssl crt {pem}
  server s 127.0.0.1:{imap} send-proxy-v2-ssl
"""


def test_haproxy():
    haproxy = need("haproxy")
    with Daemon(settings=TRUST) as d:
        port = {name: free_port() for name in ("first", "second", "tls")}
        pem, config = os.path.join(d.dir, "both.pem"), os.path.join(d.dir, "haproxy.cfg")
        with open(pem, "w") as f:
            f.write(open(d.cert).read() + open(d.key).read())
        with open(config, "w") as f:
            f.write(CONFIG.format(imap=d.port["imap"], imaps=d.port["imaps"], pem=pem, **port))
        proxy = subprocess.Popen([haproxy, "-db", "-f", config], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            def reach(name):
                end = time.monotonic() + 60
                while True:
                    try:
                        return socket.create_connection(("127.0.0.1", port[name]), timeout=60)
                    except OSError:
                        if proxy.poll() is not None or time.monotonic() > end:
                            raise Failed("HAProxy: %r" % (proxy.stderr.read() if proxy.poll() is not None else b"late"))
                        time.sleep(0.1)
            clients = [reach("first"), d.wrap(reach("second")), d.wrap(reach("tls"))]
            names = sorted("%s:%d" % c.getsockname() for c in clients)
            sessions = [Imap(c, "joe", "secret") for c in clients]
            got = peers(d)
            expect([p for p, _ in got] == names, (got, names))
            expect(sorted(t.split("/")[-1] == "proxy" for _, t in got) == [False, False, True], got)
            for m in sessions:
                m.ok("SELECT INBOX")
                m.ok("LOGOUT")
        finally:
            proxy.terminate()
            proxy.wait()
