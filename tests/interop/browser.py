"""browser.py - headless Chromium by its WebDriver (W3C WebDriver over HTTP), as little of it as the tests need"""
import base64
import json
import subprocess
import time
import urllib.error
import urllib.request

from daemon import Failed, free_port, need

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
OPTIONS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1280,900",
    "--lang=en"]


class Browser:
    """A context: its end closes the browser."""

    def __enter__(self):
        need("chromium")
        port = free_port()
        self.base = "http://127.0.0.1:%d" % port
        self.driver = subprocess.Popen([need("chromedriver"), "--port=%d" % port], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            self.wait(lambda: self.call("GET", "/status")["ready"], "chromedriver")
            session = self.call("POST", "/session", {"capabilities": {"alwaysMatch": {
                "goog:chromeOptions": {"args": OPTIONS, "binary": need("chromium")}}}})
        except BaseException:
            self.driver.terminate()
            self.driver.wait()
            raise
        self.base += "/session/" + session["sessionId"]
        return self

    def __exit__(self, kind, value, trace):
        try:
            self.call("DELETE", "")
        except (OSError, Failed):
            pass
        self.driver.terminate()
        self.driver.wait()

    def call(self, method, path, body=None):
        data = None if method != "POST" else json.dumps(body or {}).encode()
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as reply:
                return json.load(reply)["value"]
        except urllib.error.HTTPError as error:
            raise Failed(json.load(error)["value"]["message"].split("\n")[0])

    def wait(self, check, what, seconds=30):
        end = time.monotonic() + seconds
        while True:
            try:
                found = check()
                if found:
                    return found
            except (OSError, Failed):
                pass
            if time.monotonic() > end:
                raise Failed("the page does not show " + what)
            time.sleep(0.1)

    def open(self, url):
        self.call("POST", "/url", {"url": url})

    def js(self, script, *args):
        """SCRIPT's return value, in the page."""
        return self.call("POST", "/execute/sync", {"script": script, "args": list(args)})

    def find(self, css):
        return self.wait(lambda: self.call("POST", "/element", {"using": "css selector", "value": css})[ELEMENT], css)

    def click(self, css):
        self.wait(lambda: self.call("POST", "/element/%s/click" % self.find(css)) is None, css + " to click")

    def type(self, css, text):
        self.call("POST", "/element/%s/value" % self.find(css), {"text": text})

    def sees(self, script, what):
        """Waits until the JavaScript expression SCRIPT is true."""
        return self.wait(lambda: self.js("return " + script), what)

    def frame(self, css=None):
        self.call("POST", "/frame", {"id": None if css is None else {ELEMENT: self.find(css)}})

    def shot(self, path):
        with open(path, "wb") as f:
            f.write(base64.b64decode(self.call("GET", "/screenshot")))
