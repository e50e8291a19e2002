#!/usr/bin/env python3
"""make_mail.py TEMPLATES COUNT: invented messages on stdout, the same ones every time: the length in
bytes as a line, then the message with CRLF."""
import re
import sys

HOSTS = "example.com example.org example.net mail.example.com mx1.example.org smtp.example.net".split()
LISTS = "lists.example.org lists.example.net lists.example.com".split()
USERS = "alice bob carol dave erin frank grace heidi info sales support newsletter no-reply admin".split()
FIRST = "Alice Bob Carol Dave Erin Frank Grace Heidi Ivan Judy Mallory Niaj Olivia Peggy".split()
LAST = "Adams Brown Clark Davis Evans Fisher Green Harris Jones Miller Smith Taylor Walker Young".split()
WORDS = ("account address board buffer change check client code data device driver error file filter "
         "format group image index kernel library list memory message module name network object option "
         "order package page patch path phone place port problem process project question queue release "
         "report request result server service session set signal source state status storage support "
         "system table test text thread time tree type update user value version work").split()
DAYS = "Mon Tue Wed Thu Fri Sat Sun".split()
MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
ZONES = "+0000 (UTC)|+0100 (CET)|-0700 (PDT)|-0500 (EST)|+0200|+0000|-0400|-0800".split("|")
BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


class Chance:
    """A generator that no release of Python changes (Numerical Recipes' LCG, high bits)."""

    def __init__(self, seed):
        self.state = seed

    def below(self, n):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        return (self.state >> 33) % n

    def one(self, items):
        return items[self.below(len(items))]

    def text(self, alphabet, n):
        return "".join(self.one(alphabet) for _ in range(n))


def read_templates(path):
    parts, text = {}, None
    for line in open(path, encoding="ascii"):
        if line.startswith("== "):
            text = []
            parts.setdefault(line[3:].strip(), []).append(text)
        elif text is not None:
            text.append(line)
    return {name: ["".join(t) for t in texts] for name, texts in parts.items()}


class Writer:
    def __init__(self, parts, chance):
        self.parts, self.chance = parts, chance
        self.kept = {}

    def message(self):
        self.kept = {name: self.chance.text("0123456789abcdef", 16) for name in ("outer", "inner")}
        return self.expand(self.chance.one(self.parts["message"]))

    def made_up(self, name):
        c = self.chance
        if name in self.kept:
            return self.kept[name]
        number = re.fullmatch(r"([hb])(\d+)", name)
        if number:
            return c.text("0123456789abcdef" if number[1] == "h" else BASE64, int(number[2]))
        return {
            "n": lambda: str(1 + c.below(9)), "nn": lambda: "%02d" % (10 + c.below(50)),
            "host": lambda: c.one(HOSTS), "user": lambda: c.one(USERS), "word": lambda: c.one(WORDS),
            "first": lambda: c.one(FIRST), "last": lambda: c.one(LAST), "lists": lambda: c.one(LISTS),
            "listname": lambda: c.one(WORDS) + c.one(["", "-users", "-devel"]),
            "stamp": lambda: str(1000000000 + c.below(700000000)),
            "date": lambda: "%s, %d %s %d %02d:%02d:%02d %s" % (
                c.one(DAYS), 1 + c.below(28), c.one(MONTHS), 2002 + c.below(24), c.below(24), c.below(60),
                c.below(60), c.one(ZONES)),
        }[name]()

    def expand(self, text):
        def part(match):
            name = match[1]
            if name.endswith("?"):
                if self.chance.below(2) == 0:
                    return ""
                name = name[:-1]
            if name not in self.parts:
                return self.made_up(name)
            return self.expand(self.chance.one(self.parts[name]))
        return re.sub(r"\{([a-z]+\d*\??)\}", part, text)


def ended(name, text):
    """Blocks of header lines end in a line end, what stands inside a line does not."""
    lines = ("received", "dkim", "auth", "arc", "trace", "message", "mimehead")
    return text.rstrip("\n") + ("\n" if name in lines else "")


def main():
    parts = {name: [ended(name, t) for t in texts] for name, texts in read_templates(sys.argv[1]).items()}
    writer = Writer(parts, Chance(20240229))
    for _ in range(int(sys.argv[2])):
        message = writer.message().replace("\n", "\r\n").encode("ascii")
        sys.stdout.buffer.write(b"%d\n" % len(message) + message)


main()
