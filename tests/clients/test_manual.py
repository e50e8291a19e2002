"""test_manual.py - manual pages and completion, as `make install` puts them down"""
import os
import re
import tempfile

from daemon import BIN, ROOT, Daemon, expect, need, run

COMPLETE = r"""
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_mailshelf
printf '%s\n' "${COMPREPLY[@]}"
"""


def installed(directory):
    run(["bash", os.path.join(ROOT, "tests/support/install.sh")],
        env=dict(os.environ, PREFIX="/usr", DESTDIR=directory, BIN=BIN))
    return os.path.join(directory, "usr/share")


def rendered(page):
    """As plain text; a page with a mistake in it is a failure."""
    done = run([need("groff"), "-man", "-Tascii", "-P-c", "-P-b", "-P-u", "-rLL=200n", "-ww", page])
    expect(not done.stderr, "%s: %s" % (page, done.stderr.decode()))
    return re.sub(r"\s+", " ", done.stdout.decode())


def options(text):
    return set(re.findall(r"--[a-z0-9][a-z0-9-]*", text))


def test_pages():
    with tempfile.TemporaryDirectory() as directory:
        man = os.path.join(installed(directory), "man")
        verbs = [line.split(" --")[0] for line in
            run([os.path.join(BIN, "mailshelf"), "help", "--words"]).stdout.decode().splitlines()]
        expect(len(verbs) > 30 and "account add" in verbs, "verbs: %r" % verbs)
        for verb in verbs:
            text = rendered(os.path.join(man, "man1/mailshelf-%s.1" % verb.replace(" ", "-")))
            told = run([os.path.join(BIN, "mailshelf"), *verb.split(), "--help"]).stdout.decode()
            missing = options(told) - options(text)
            expect(not missing, "%s: %s of --help are not on the page" % (verb, missing))
            expect("mailshelf [-s STORE] " + verb in text, "%s: the synopsis reads %s" % (verb, text[:400]))
        every = rendered(os.path.join(man, "man1/mailshelf.1"))
        expect(all(verb in every for verb in verbs), "a verb is not on the page of mailshelf")
        daemon = options(rendered(os.path.join(man, "man8/mailshelfd.8")))
        missing = options(run([os.path.join(BIN, "mailshelfd"), "--help"]).stdout.decode()) - daemon
        expect(not missing, "%s of --help are not on the page of mailshelfd" % missing)


def test_completion():
    with Daemon(accounts=(("joe", "secret"), ("josephine", "secret"), ("ann", "secret")), doors=("imap",)) as d:
        script = os.path.join(installed(d.dir), "bash-completion/completions/mailshelf")
        program = os.path.join(BIN, "mailshelf")

        def complete(*words):
            done = run(["bash", "-c", COMPLETE, "complete", script, program, *words], cwd=d.dir)
            expect(not done.stderr, done.stderr.decode())
            return set(done.stdout.decode().split())

        expect({"account", "acl", "alias"} <= complete("a"), "verbs that begin with a")
        expect({"add", "move", "passwd"} <= complete("account", ""), "verbs of account")
        expect(complete("account", "pa") == {"passwd"}, "account pa")
        expect({"--quota", "--batch", "--json"} <= complete("account", "add", "-"), "options of account add")
        expect("--quota" not in complete("account", "move", "--"), "an option of another verb")
        expect(complete("-s", d.store, "account", "show", "jo") == {"joe", "josephine"}, "accounts")
        expect("joe" not in complete("account", "show", "jo"), "accounts of no store")
        expect(complete("import", "joe", "lo") == {"log"}, "files")
