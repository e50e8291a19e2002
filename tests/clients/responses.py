"""responses.py - what a server says, as Python values

A response of wire.Imap is a list of bytes, text and literals in turn. Here it becomes nested lists of
bytes: parenthesised lists are lists, strings and atoms are bytes, NIL is None.
"""
import re

TOKEN = re.compile(rb'\s*(?:(\()|(\))|"((?:[^"\\]|\\.)*)"|((?:[^\s()"\[{]|\{|\[[^\]]*\])+))')


def parse(parts):
    """The values of a whole response, "*" or the tag left out."""
    top = []
    stack = [top]
    for index in range(0, len(parts), 2):
        text = parts[index]
        if index == 0:
            text = text.split(b" ", 1)[1]
        if index + 1 < len(parts):
            text = text[:text.rindex(b"{")]
        at = 0
        while text[at:].strip():
            found = TOKEN.match(text, at)
            if found is None:
                raise ValueError("cannot read %r at %d" % (text[:300], at))
            at = found.end()
            opened, closed, quoted, atom = found.groups()
            if opened:
                stack[-1].append([])
                stack.append(stack[-1][-1])
            elif closed:
                stack.pop()
                if not stack:
                    raise ValueError("one ) too many: %r" % text[:300])
            elif quoted is not None:
                stack[-1].append(re.sub(rb"\\(.)", rb"\1", quoted))
            else:
                stack[-1].append(None if atom == b"NIL" else atom)
        if index + 1 < len(parts):
            stack[-1].append(parts[index + 1])
    if len(stack) != 1:
        raise ValueError("a ) is missing: %r" % parts[0][:300])
    return top


def pairs(values):
    """A list of names and values in turn, as a dictionary."""
    if len(values) % 2:
        raise ValueError("names and values do not pair: %r" % values)
    return {values[n].upper(): values[n + 1] for n in range(0, len(values), 2)}


def code(line, name):
    """The arguments of a response code: "OK [COPYUID 1 2 3] done" is [b"1", b"2", b"3"]; None: not there."""
    found = re.match(rb"(?:\* )?(?:OK|NO|BAD|BYE|PREAUTH) \[" + name + rb"(?: ([^\]]*))?\]", line)
    return None if found is None else (found.group(1) or b"").split()


def uids(text):
    """The numbers of a set of the server, in its order. A server writes no "*"."""
    numbers = []
    for piece in text.split(b","):
        first, _, last = piece.partition(b":")
        first, last = int(first), int(last or first)
        if last < first:
            first, last = last, first
        numbers += range(first, last + 1)
    return numbers


def as_set(numbers):
    """[1, 2, 3, 7] is "1:3,7"."""
    out, numbers = [], sorted(numbers)
    for n in numbers:
        if out and out[-1][1] == n - 1:
            out[-1][1] = n
        else:
            out.append([n, n])
    return ",".join("%d" % a if a == b else "%d:%d" % (a, b) for a, b in out)
