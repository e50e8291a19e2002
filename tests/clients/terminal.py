"""terminal.py - a program in a terminal of its own, driven by keys and read from its screen (tmux)"""
import os
import shlex
import time

from daemon import Failed, need, run


class Terminal:
    """A context: its end ends the program."""

    def __init__(self, directory, argv, env=None):
        self.tmux = [need("tmux"), "-f", "/dev/null", "-S", os.path.join(directory, "tmux")]
        words = ["env", "TERM=screen", "LC_ALL=C.UTF-8"] + ["%s=%s" % e for e in (env or {}).items()] + argv
        self.command = " ".join(shlex.quote(w) for w in words)

    def __enter__(self):
        run(self.tmux + ["new-session", "-d", "-x", "120", "-y", "40", self.command])
        return self

    def __exit__(self, kind, value, trace):
        run(self.tmux + ["kill-server"], ok=None)

    def keys(self, *keys):
        """Names of keys as tmux has them ("Enter"), or "'text" for letters one by one."""
        for key in keys:
            literal = ["-l", key[1:]] if key.startswith("'") else [key]
            run(self.tmux + ["send-keys"] + literal)

    def screen(self):
        return run(self.tmux + ["capture-pane", "-p"], ok=None).stdout.decode("utf-8", "replace")

    def sees(self, text, seconds=30):
        """Waits until TEXT stands on the screen."""
        end = time.monotonic() + seconds
        while text not in self.screen():
            if time.monotonic() > end:
                raise Failed("%r is not on the screen:\n%s" % (text, self.screen()))
            time.sleep(0.1)

    def ended(self, seconds=30):
        end = time.monotonic() + seconds
        while run(self.tmux + ["has-session"], ok=None).returncode == 0:
            if time.monotonic() > end:
                raise Failed("the program has not ended:\n%s" % self.screen())
            time.sleep(0.1)
