"""test_thunderbird.py - Thunderbird under Xvfb: list, open, flag, move, delete, search, quota, mail that comes in

SHOTS=directory keeps pictures of its window, to be looked at.
"""
import os
import subprocess
import time

from daemon import Daemon, expect, free_port, message, need
from marionette import Marionette
from wire import Imap

PREFS = {
    "marionette.port": 0, "marionette.enabled": True,
    "mail.account.account1.identities": "id1", "mail.account.account1.server": "server1",
    "mail.accountmanager.accounts": "account1", "mail.accountmanager.defaultaccount": "account1",
    "mail.identity.id1.fullName": "Joe", "mail.identity.id1.useremail": "joe@example.org",
    "mail.server.server1.type": "imap", "mail.server.server1.hostname": "localhost",
    "mail.server.server1.userName": "joe", "mail.server.server1.name": "joe", "mail.server.server1.socketType": 3,
    "mail.server.server1.authMethod": 3, "mail.server.server1.login_at_startup": False,
    "mail.server.server1.check_new_mail": True, "mail.server.server1.use_idle": True,
    "mail.server.server1.autosync_offline_stores": False,
    "mail.provider.enabled": False, "mail.spotlight.firstRunDone": True, "mail.rights.version": 1,
    "mail.winsearch.firstRunDone": True, "mailnews.start_page.enabled": False, "app.update.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False, "toolkit.telemetry.reportingpolicy.firstRun": False,
    "mail.shell.checkDefaultClient": False, "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False, "extensions.getAddons.cache.enabled": False,
    "mail.inappnotifications.enabled": False, "offline.startup_state": 3,  # until the certificate is known "messenger.startup.action": 0,
}
# What every script has at hand.
HEAD = """
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const win = Services.wm.getMostRecentWindow("mail:3pane");
const server = MailServices.accounts.accounts[0].incomingServer;
const root = server.rootFolder;
const pane = () => win.document.getElementById("tabmail").currentAbout3Pane;
const box = name => root.getChildNamed(name);
const headers = name => [...box(name).messages];
const header = (name, subject) => headers(name).find(h => h.mime2DecodedSubject == subject);
"""


class Window:
    def __init__(self, directory, d):
        self.dir, self.count = os.path.join(directory, "tb"), 0
        os.mkdir(self.dir)
        prefs = dict(PREFS, **{"marionette.port": free_port(), "mail.server.server1.port": d.port["imaps"]})
        self.port = prefs["marionette.port"]
        with open(self.dir + "/user.js", "w") as f:
            for name, value in prefs.items():
                text = str(value).lower() if isinstance(value, bool) else '"%s"' % value if isinstance(value, str) \
                    else value
                f.write('user_pref("%s", %s);\n' % (name, text))
        self.processes = []

    def __enter__(self):
        read, write = os.pipe()
        self.processes.append(subprocess.Popen([need("Xvfb"), "-displayfd", str(write), "-screen", "0",
            "1280x900x24", "-nolisten", "tcp"], pass_fds=[write], stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL))
        os.close(write)
        with os.fdopen(read) as f:
            display = ":" + f.readline().strip()
        self.processes.append(subprocess.Popen([need("thunderbird"), "--profile", self.dir, "--no-remote",
            "--marionette", "--remote-allow-system-access"], env=dict(os.environ, DISPLAY=display, HOME=self.dir, MOZ_DISABLE_CONTENT_SANDBOX="1"),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        try:
            self.m = Marionette(self.port)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None and hasattr(self, "m"):
            self.shot("failed")
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def js(self, script, *args):
        return self.m.js(HEAD + script, *args)

    def sees(self, script, what):
        return self.m.sees(HEAD + script, what)

    def shot(self, name):
        self.count += 1
        if "SHOTS" in os.environ:
            self.m.shot(os.path.join(os.environ["SHOTS"], "thunderbird-%d-%s.png" % (self.count, name)))

    # ---- what a user does ----

    def trust(self, cert):
        with open(cert) as f:
            text = "".join(f.read().split("-----")[2].split())
        self.js("""
            let cert = Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB)
                .constructX509FromBase64(args[0]);
            Cc["@mozilla.org/security/certoverride;1"].getService(Ci.nsICertOverrideService)
                .rememberValidityOverride("localhost", server.port, {}, cert, true);
            let login = Cc["@mozilla.org/login-manager/loginInfo;1"].createInstance(Ci.nsILoginInfo);
            login.init("imap://localhost", null, "imap://localhost", "joe", "secret", "", "");
            await Services.logins.addLoginAsync(login);
            Services.io.offline = false;
        """, text)

    def list(self, count):
        self.sees("return win && pane() && pane().displayFolder && root.getFolderWithFlags(0x1000) ? 1 : 0", "folders")
        self.js("pane().displayFolder(root.getFolderWithFlags(0x1000));")
        self.sees("return headers('INBOX').length == %d" % count, "%d messages" % count)
        self.sees("return root.getChildNamed('Work') != null", "the mailbox Work")
        self.sees("return pane().threadTree.view.rowCount == %d" % count, "rows")
        self.shot("list")

    def open(self, subject):
        self.js("""
            let view = pane().gDBView;
            pane().threadTree.selectedIndex = view.findIndexOfMsgHdr(header("INBOX", args[0]), true);
        """, subject)
        self.sees("""
            let text = pane().messageBrowser?.contentWindow?.getMessagePaneBrowser?.()?.contentDocument?.body;
            return text?.textContent.includes("line 7 of the text");
        """, "the text of the message")
        self.sees("return header('INBOX', 'message 7').isRead", "it as read")
        self.shot("open")

    def change(self):
        self.js("box('INBOX').markMessagesFlagged([header('INBOX', 'message 3')], true);")
        self.js("""
            await new Promise(go => MailServices.copy.copyMessages(box("INBOX"), [header("INBOX", "message 4")],
                box("Work"), true, { onStartCopy() {}, onProgress() {}, setMessageKey() {}, getMessageId() {},
                onStopCopy: go }, null, true));
            box("INBOX").deleteMessages([header("INBOX", "message 5")], null, false, false, null, true);
        """)
        self.sees("return !header('INBOX', 'message 4') && !header('INBOX', 'message 5')", "them gone")
        self.js("pane().displayFolder(box('Work'));")
        self.sees("return header('Work', 'message 4') != null", "it in Work")
        self.shot("moved")

    def search(self):
        found = self.js("""
            let session = Cc["@mozilla.org/messenger/searchSession;1"].createInstance(Ci.nsIMsgSearchSession);
            session.addScopeTerm(Ci.nsMsgSearchScope.onlineMail, box("INBOX"));
            let term = session.createTerm(), value = term.value;
            value.attrib = term.attrib = Ci.nsMsgSearchAttrib.Body;
            value.str = "line 9 of";
            term.value = value;
            term.op = Ci.nsMsgSearchOp.Contains;
            session.appendTerm(term);
            let hits = [];
            await new Promise(go => {
                session.registerListener({ onSearchHit: h => hits.push(h.mime2DecodedSubject), onNewSearch() {},
                    onSearchDone: go });
                session.search(null);
            });
            return hits;
        """)
        expect(found == ["message 9"], "the server's search found %r" % found)

    def quota(self):
        used = self.js("""
            let inbox = box("INBOX").QueryInterface(Ci.nsIMsgImapMailFolder);
            return inbox.getQuota().map(q => [q.name, Number(q.usage), Number(q.limit)]);
        """)
        expect(any("STORAGE" in name and limit == 10 * 1024 and usage > 0 for name, usage, limit in used),
            "quota: %r" % used)


def test_session():
    with Daemon(accounts=[("joe", "secret", "10M")]) as d:
        for n in range(20):
            d.deliver("joe", message(n))
        m = Imap(d.connect("imap"), "joe", "secret")
        m.ok("CREATE Work")
        m.ok("SUBSCRIBE Work")
        with Window(d.dir, d) as w:
            w.trust(d.cert)
            w.list(20)
            w.open("message 7")
            w.change()
            w.search()
            w.quota()
            w.js("pane().displayFolder(box('INBOX'));")
            time.sleep(5)  # it idles when it has had nothing else to do for a while
            d.deliver("joe", message(90))
            w.sees("return header('INBOX', 'message 90') != null", "what came in while it idles")
            time.sleep(5)  # again: what comes with an answer to its own FETCH it looks at later
            m.ok("SELECT INBOX")
            m.ok("STORE 1 +FLAGS (\\Deleted)")
            m.ok("EXPUNGE")
            w.sees("return header('INBOX', 'message 0') == null", "that another client removed one")
            w.shot("end")
        m.ok("EXAMINE INBOX")
        for key, want in (("FLAGGED", 1), ("SEEN", 1), ('SUBJECT "message 4"', 0), ('UNDELETED SUBJECT "message 5"', 0)):
            found = m.ok("SEARCH " + key)[0][0].split()[2:]
            expect(len(found) == want, "%s: %r" % (key, found))
        m.ok("EXAMINE Work")
        expect(m.ok('SEARCH SUBJECT "message 4"')[0][0] == b"* SEARCH 1", "it is not in Work")
