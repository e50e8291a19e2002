"""figures.py - every row of the comparison, its goal, and the arithmetic from samples to verdicts

A sample is one measurement of one server in one round. In each round the four servers take turns, so a ratio is taken
within a round, and the median of these ratios is what is held against the goal: neighbours on the machine cancel out. An
advantage is how many times better mailshelf is than another server (above 1: better), whatever the unit.
"""
import statistics

PEERS = ("mdbox", "maildir", "cyrus")
SERVERS = ("mailshelf",) + PEERS
HIGH = {"msgs/s", "MB/s", "deliveries/s", "conns/s"}


class Row:
    def __init__(self, name, title, unit, goal=None, limit=None, why=""):
        """GOAL: the least advantage over the best peer, or one for each peer; LIMIT: the most that mailshelf may take."""
        self.name, self.title, self.unit, self.goal, self.limit, self.why = name, title, unit, goal, limit, why
        self.high = unit in HIGH


SECTIONS = (
    ("Delivery", (
        Row("lmtp-1", "LMTP, durable, 1 connection", "msgs/s", 2),
        Row("lmtp-8", "LMTP, 8 connections", "msgs/s", 5),
        Row("lmtp-32", "LMTP, 32 connections", "msgs/s", 5),
        Row("lmtp-1-p99", "... 1 connection, p99", "ms"),
        Row("lmtp-8-p99", "... 8 connections, p99", "ms"),
        Row("lmtp-32-p99", "... 32 connections, p99", "ms"),
        Row("lmtp-100", "one message to 100 recipients", "deliveries/s", 20),
        Row("lmtp-1-syncs", "sync calls per delivery, 1 connection", "calls", limit=2),
        Row("lmtp-8-syncs", "... 8 connections (traced: slower than untraced)", "calls", limit=2),
        Row("lmtp-1-written", "bytes written per byte delivered, 1 connection", "x"),
        Row("lmtp-32-written", "... 32 connections", "x"))),
    ("Bulk", (
        Row("import", "the server's own importer, from a Maildir", "MB/s", 5),
        Row("append", "IMAP MULTIAPPEND", "MB/s"),
        Row("disk", "disk bytes per RFC822 byte, after the import", "x", 1 / 0.85),
        Row("disk-read", "... after a listing was read (caches)", "x", 1 / 0.85))),
    ("Mailbox", (
        Row("select", "SELECT, new connection", "ms", 1 / 1.2),
        Row("status", "STATUS, new connection", "ms", 1 / 1.2),
        Row("fetch-flags", "FETCH 1:* (UID FLAGS)", "ms", 5),
        Row("envelope-1", "FETCH 1:* ENVELOPE, first time", "ms", 3),
        Row("envelope-2", "... later", "ms", 3),
        Row("listing-1", "FETCH 1:* (FLAGS INTERNALDATE RFC822.SIZE BODYSTRUCTURE ENVELOPE), first time", "ms", 3),
        Row("listing-2", "... later", "ms", 3),
        Row("body-one", "one random BODY.PEEK[], p50", "ms", 1 / 1.5),
        Row("bodies", "FETCH 1:* BODY.PEEK[]", "MB/s", {"mdbox": 2.5, "maildir": 1, "cyrus": 1}),
        Row("bodies-tls", "... over TLS 1.3", "MB/s", 1.5),
        Row("store-one", "STORE one flag, p50", "ms", why="durable here and in Cyrus, not flushed by Dovecot"),
        Row("store-one-syncs", "sync calls of it", "calls", limit=2),
        Row("store-all", "STORE 1:* +FLAGS.SILENT", "ms", 2),
        Row("search-flags", "SEARCH UNSEEN", "ms", 5),
        Row("search-subject-1", "SEARCH SUBJECT, first time", "ms", 5),
        Row("search-subject-2", "... later", "ms"),
        Row("search-body-1", "SEARCH BODY, first time", "ms", 8),
        Row("search-body-2", "... later", "ms"),
        Row("sort-date-1", "SORT (REVERSE DATE), first time", "ms", 3),
        Row("sort-date-2", "... later, same connection", "ms", 1),
        Row("sort-subject-1", "SORT (SUBJECT), first time", "ms", 3),
        Row("sort-subject-2", "... later, same connection", "ms", 1),
        Row("thread-1", "THREAD REFERENCES, first time", "ms", 3),
        Row("thread-2", "... later, same connection", "ms", 1),
        Row("changedsince", "SELECT + FETCH CHANGEDSINCE after 10 changes", "ms", why="the goal, 20 times, is for a million"),
        Row("qresync", "SELECT QRESYNC after 10 changes", "ms", why="the goal, 20 times, is for a million"),
        Row("pop3-open-1", "POP3 login, STAT, UIDL, LIST, first time", "ms", 5),
        Row("pop3-open-2", "... later", "ms", 5),
        Row("pop3-retr", "POP3 RETR of everything", "MB/s", 2),
        Row("move", "UID MOVE of 1,000", "ms", 2),
        Row("expunge", "EXPUNGE of every second one", "ms", 2),
        Row("select-after", "SELECT after that, new connection", "ms", 2))),
    ("Connections", (
        Row("idle-kib-plain", "memory (PSS) of an idle connection, plain", "KiB", limit=6),
        Row("idle-kib-tls", "... TLS", "KiB", limit=32),
        Row("idle-rate-plain", "connect + login + SELECT + IDLE, plain", "conns/s", 10),
        Row("idle-rate-tls", "... TLS", "conns/s", 5),
        Row("fanout-first", "a delivery to 100 idle clients: the first hears of it after", "ms"),
        Row("fanout-half", "... the middle one", "ms"),
        Row("fanout-last", "... the last one", "ms", limit=10),
        Row("restart", "restart until a SELECT is answered", "ms", limit=1000))),
    ("A steady day", tuple(
        Row("mixed-" + kind, title + ", p99", "ms") for kind, title in (("body", "one body"), ("listing", "listing of 50"),
            ("flag", "one flag"), ("noop", "NOOP"), ("status", "STATUS"), ("unseen", "SEARCH UNSEEN"), ("delivery", "delivery")))),
)
ROWS = {row.name: row for _, rows in SECTIONS for row in rows}


def advantage(row, ours, theirs):
    """How many times better OURS is."""
    if ours <= 0 or theirs <= 0:
        return None
    return ours / theirs if row.high else theirs / ours


def pairs(row, ours, theirs):
    """The advantage in each round that both have, or of the medians when rounds do not match."""
    if len(ours) == len(theirs):
        both = [advantage(row, a, b) for a, b in zip(ours, theirs)]
        both = [a for a in both if a is not None]
        return statistics.median(both) if both else None
    return advantage(row, statistics.median(ours), statistics.median(theirs)) if ours and theirs else None


def advantages(row, cell):
    """Over each peer. CELL: server -> {"values": [...]}."""
    ours = cell.get("mailshelf", {}).get("values") or []
    found = {}
    for peer in PEERS:
        theirs = cell.get(peer, {}).get("values") or []
        if ours and theirs:
            a = pairs(row, ours, theirs)
            if a is not None:
                found[peer] = a
    return found


def cpu_advantage(row, cell):
    """Times less CPU than the peer that takes least; None when that was not measured."""
    ours = cell.get("mailshelf", {}).get("cpu") or []
    theirs = [statistics.median(cell[p]["cpu"]) for p in PEERS if cell.get(p, {}).get("cpu")]
    if not ours or not theirs or statistics.median(ours) <= 0:
        return None
    return min(theirs) / statistics.median(ours)


def verdict(row, cell):
    """("met" | "MISSED" | "" | "?", text): against the goal; "?" when a side is missing."""
    ours = cell.get("mailshelf", {}).get("values") or []
    over = advantages(row, cell)
    if row.limit is not None:
        if not ours:
            return "?", "at most %g %s" % (row.limit, row.unit)
        return ("met" if statistics.median(ours) <= row.limit else "MISSED"), "at most %g %s" % (row.limit, row.unit)
    if row.goal is None:
        return "", row.why
    goals = row.goal if isinstance(row.goal, dict) else {peer: row.goal for peer in PEERS}
    text = goal_text(row)
    if not over:
        return "?", text
    return ("met" if all(over[p] >= goals[p] for p in over if p in goals) else "MISSED"), text


def goal_text(row):
    if isinstance(row.goal, dict):
        return ", ".join("%s %gx" % item for item in row.goal.items())
    if row.goal < 1:
        return "at most %.3gx the best's" % (1 / row.goal)
    return "%.3gx the best" % row.goal if row.unit != "x" else "at most %.2gx the best's" % (1 / row.goal)


def best(row, cell):
    """The peer that mailshelf is held against, and the advantage over it."""
    over = advantages(row, cell)
    return min(over.items(), key=lambda item: item[1]) if over else (None, None)
