"""marionette.py - the Mozilla remote protocol, as little of it as Thunderbird's test needs"""
import base64
import json
import socket
import time

from daemon import Failed


class Marionette:
    def __init__(self, port, seconds=90):
        end = time.monotonic() + seconds
        while True:
            try:
                self.sock = socket.create_connection(("127.0.0.1", port), timeout=120)
                self.buffer, self.count = b"", 0
                self.receive()  # what it is
                break
            except (OSError, Failed):
                if time.monotonic() > end:
                    raise Failed("nobody listens for Marionette")
                time.sleep(0.3)
        self.call("WebDriver:NewSession", {"capabilities": {"alwaysMatch": {
            "timeouts": {"script": 120000}, "unhandledPromptBehavior": "ignore"}}})
        self.call("Marionette:SetContext", {"value": "chrome"})

    def receive(self):
        while b":" not in self.buffer:
            self.more()
        length, self.buffer = self.buffer.split(b":", 1)
        while len(self.buffer) < int(length):
            self.more()
        text, self.buffer = self.buffer[:int(length)], self.buffer[int(length):]
        return json.loads(text)

    def more(self):
        data = self.sock.recv(1 << 16)
        if not data:
            raise Failed("Marionette has closed")
        self.buffer += data

    def call(self, command, body):
        self.count += 1
        text = json.dumps([0, self.count, command, body]).encode()
        self.sock.sendall(b"%d:%s" % (len(text), text))
        _, _, error, result = self.receive()
        if error is not None:
            raise Failed("%s: %s" % (error["error"], error["message"]))
        return result

    def js(self, script, *args):
        """SCRIPT's return value; it runs with all rights and may await."""
        done = "let [args, done] = [[...arguments].slice(0, -1), arguments[arguments.length - 1]];" \
            "(async () => { %s })().then(v => done([null, v]), e => done([String(e) + e.stack, null]));" % script
        error, value = self.call("WebDriver:ExecuteAsyncScript",
            {"script": done, "args": list(args), "sandbox": "system", "newSandbox": False})["value"]
        if error is not None:
            raise Failed(error)
        return value

    def sees(self, script, what, seconds=60):
        end = time.monotonic() + seconds
        while True:
            value = self.js(script)
            if value:
                return value
            if time.monotonic() > end:
                raise Failed("Thunderbird does not show %s, but %r" % (what, value))
            time.sleep(0.2)

    def shot(self, path):
        with open(path, "wb") as f:
            f.write(base64.b64decode(self.call("WebDriver:TakeScreenshot", {"full": False})["value"]))
