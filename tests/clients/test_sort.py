"""test_sort.py - SORT and THREAD of real mail of the corpus against a model that knows headers as Python does

MAILSHELF_CORPUS names the corpus (default: ../shared/corpus beside the tree); without it there are only messages made here.
Where Python reads a header in its own way (charsets, dates that are none) a message is left out of the comparison:
what is left of a sorted list is sorted.
"""
import datetime
import email.utils
import os
import random
import re
import unicodedata

from daemon import Daemon, ROOT, expect
from wire import Imap

FILES = ("sa-easy-ham-1.mbox.zst", "list-ksummit.mbox.zst", "sa-spam-1.mbox.zst")


def corpus():
    top = os.environ.get("MAILSHELF_CORPUS", os.path.join(os.path.dirname(ROOT), "shared/corpus"))
    paths = [os.path.join(top, "bulk", name) for name in FILES]
    return [path for path in paths if os.path.exists(path)]


def made():
    """A mailbox file of answers to answers, in no order of time."""
    rng, mails = random.Random(5256), []
    for n in range(400):
        to = rng.randrange(n) if n > 5 and rng.random() < 0.6 else None
        topic = mails[to][0] if to is not None else "matter %d of %s" % (rng.randrange(60), rng.choice("abcdef"))
        line = "".join(rng.choice(("", "", "[list] ", "Re: ", "FWD: ")) for _ in range(3)) + topic
        date = email.utils.format_datetime(datetime.datetime.fromtimestamp(10 ** 9 + rng.randrange(10 ** 7),
            datetime.timezone(datetime.timedelta(hours=rng.randrange(-11, 12)))))
        refs = (mails[to][1] + ["<%d@made.example>" % to])[-20:] if to is not None else []
        mails.append((topic, refs, "From joe Thu Jan  1 00:00:00 1970\nFrom: p%d@made.example\nSubject: %s\nDate: %s\n"
            "Message-ID: <%d@made.example>\n%s\nx\n\n" % (rng.randrange(20), line, date, n,
            "References: %s\n" % " ".join(refs) if refs else "")))
    return "".join(mail[2] for mail in mails).encode()


# ---- The model ----

def base_subject(text):
    """RFC 5256 2.1, step by step; and whether it is a reply."""
    text, reply = re.sub(r"[ \t\r\n]+", " ", text), False
    blob = r"\[[^][]*\] *"
    while True:
        while True:
            cut = re.sub(r"(?:\(fwd\)| )$", "", text, flags=re.I)
            if cut == text:
                break
            reply, text = reply or not text.endswith(" "), cut
        while True:
            leader = re.match(r"(?:%s)*(?:re|fwd?) *(?:%s)?:| " % (blob, blob), text, re.I)
            if leader:
                reply, text = reply or leader.group() != " ", text[leader.end():]
                continue
            first = re.match(blob, text)
            if not first or not text[first.end():]:
                break
            text = text[first.end():]
        if not (text[:5].lower() == "[fwd:" and text.endswith("]")):
            return text, reply
        text, reply = text[5:-1], True


def casemap(text):
    def one(c):
        title = c.title()
        return unicodedata.normalize("NFKD", title if len(title) == 1 else c)
    return "".join(map(one, text)).encode("utf-8", "replace")


class Message:
    def __init__(self, uid, header, arrival):
        fields = {}
        for line in re.sub(rb"\r\n(?=[ \t])", b"", header).split(b"\r\n"):
            name, colon, value = line.partition(b":")
            fields.setdefault(name.strip().lower(), value.strip())
        self.uid = uid
        self.plain = all(c < 128 for c in header) and b"=?" not in header
        self.subject, self.reply = base_subject(fields.get(b"subject", b"").decode("latin-1"))
        self.key = casemap(self.subject)
        self.sent = arrival
        self.dated = True
        if fields.get(b"date"):
            try:
                self.sent = email.utils.parsedate_to_datetime(fields[b"date"].decode("latin-1")).timestamp()
            except (TypeError, ValueError, OverflowError):
                self.dated = False
            # A zone that Python does not know is UTC to it, and so it is to the server, or not.
            self.dated = self.dated and re.search(rb"(?<![-+])[-+][01]\d{3}( \([^)]*\))?$|\bGMT$", fields[b"date"])
        ids = lambda name: re.findall(rb"<([^<>@\s\"(]+@[^<>\s\"(]+)>", fields.get(name, b""))
        own = ids(b"message-id")
        self.id = own[0] if own else None
        self.references = ids(b"references") or ids(b"in-reply-to")[:1]


def thread_sets(messages):
    """Which messages REFERENCES must put into one thread, by references alone: the roots of a forest."""
    root = {}

    def find(x):
        while root.setdefault(x, x) != x:
            x = root[x]
        return x

    seen = set()
    for m in messages:
        node = m.id if m.id and m.id not in seen else ("uid", m.uid)
        seen.add(m.id)
        m.node = node
        find(node)
        before = None
        for reference in m.references:
            if before is not None:
                root[find(before)] = find(reference)
            before = reference
        if before is not None:
            root[find(before)] = find(node)
    return {m.uid: find(m.node) for m in messages}


# ---- The server ----

def read_messages(m):
    found = []
    for parts in m.ok("UID FETCH 1:* (INTERNALDATE BODY.PEEK[HEADER.FIELDS (SUBJECT DATE FROM MESSAGE-ID "
            "REFERENCES IN-REPLY-TO)])"):
        if len(parts) < 2:
            continue
        said = b"".join(parts[0::2])
        uid = int(re.search(rb"UID (\d+)", said).group(1))
        when = re.search(rb'INTERNALDATE "([^"]+)"', said).group(1).decode()
        arrival = datetime.datetime.strptime(when.strip(), "%d-%b-%Y %H:%M:%S %z").timestamp()
        found.append(Message(uid, parts[1], arrival))
    return found


def numbers(m, command, word):
    lines = [parts[0] for parts in m.ok(command) if parts[0].startswith(b"* " + word)]
    expect(len(lines) == 1, "%s: %d answers" % (command, len(lines)))
    return lines[0][len(word) + 2:]


def sort(m, criteria):
    return [int(n) for n in numbers(m, "UID SORT (%s) UTF-8 ALL" % criteria, b"SORT").split()]


def check_order(messages, result, key, sure, what):
    by_uid = {m.uid: m for m in messages}
    expect(sorted(result) == sorted(by_uid), what + ": other messages than there are")
    left = [by_uid[uid] for uid in result if sure(by_uid[uid])]
    expect(len(left) > len(messages) // 2, what + ": little to compare")
    for a, b in zip(left, left[1:]):
        expect((key(a), a.uid) < (key(b), b.uid), "%s: uid %d (%r) before %d (%r)" %
            (what, a.uid, key(a), b.uid, key(b)))


def test_sort_and_thread():
    with Daemon() as d:
        d.tool("import", "joe", "-", "--format", "mbox", input=made())
        for path in corpus():
            d.tool("import", "joe", path)
        m = Imap(d.connect("imap"), "joe", "secret")
        m.ok("SELECT INBOX")
        messages = read_messages(m)
        expect(len(messages) >= 400, "%d messages" % len(messages))
        plain = lambda x: x.plain
        dated = lambda x: x.dated
        check_order(messages, sort(m, "SUBJECT"), lambda x: x.key, plain, "SUBJECT")
        check_order(messages, sort(m, "DATE"), lambda x: int(x.sent), dated, "DATE")
        check_order(messages, sort(m, "REVERSE DATE"), lambda x: -int(x.sent), dated, "REVERSE DATE")
        check_order(messages, sort(m, "SUBJECT REVERSE DATE"), lambda x: (x.key, -int(x.sent)),
            lambda x: x.plain and x.dated, "SUBJECT REVERSE DATE")

        by_uid = {x.uid: x for x in messages}
        for algorithm in ("REFERENCES", "ORDEREDSUBJECT"):
            text = numbers(m, "UID THREAD %s UTF-8 ALL" % algorithm, b"THREAD").strip()
            uids = [int(n) for n in re.findall(rb"\d+", text)]
            expect(sorted(uids) == sorted(by_uid), algorithm + ": each message once")
            depth, threads = 0, [[]]
            for token in re.findall(rb"[()]|\d+", text):
                depth += {b"(": 1, b")": -1}.get(token, 0)
                if token.isdigit():
                    threads[-1].append(int(token))
                elif depth == 0:
                    threads.append([])
            where = {uid: i for i, thread in enumerate(threads) for uid in thread}
            if algorithm == "ORDEREDSUBJECT":
                groups = {}
                for x in filter(plain, messages):
                    groups.setdefault(x.key, set()).add(where[x.uid])
                expect(all(len(g) == 1 for g in groups.values()), "a subject in two threads")
                expect(len({frozenset(g) for g in groups.values()}) == len(groups), "two subjects in one")
            else:
                together = {}
                for uid, root in thread_sets(messages).items():
                    together.setdefault(root, set()).add(where[uid])
                split = [g for g in together.values() if len(g) > 1]
                expect(len(split) <= len(together) // 200, "%d of %d threads are apart" %
                    (len(split), len(together)))
        m.close()
