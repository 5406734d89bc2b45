"""Receivers and callbacks of the real binary: mail over real TLS, Slack, PagerDuty, and no secret in anything shown."""

import hashlib
import hmac
import json
import re
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse
from email import message_from_string, policy

from stage import ROOT, Server, expect, free_port, http, request, wait

CERTS = ROOT / "tests/behaviour/net_certs"
NO_HOST = "host: {enabled: false}\n"


class Mailbox:
    """An SMTP server that wants STARTTLS and a login before it takes a mail."""

    def __init__(self):
        self.mails, self.logins, self.clear = [], [], []
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(CERTS / "server.pem", CERTS / "server.key")
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.talk, args=(connection,), daemon=True).start()

    def talk(self, connection):
        try:
            self.converse(connection)
        except OSError:
            pass

    def converse(self, connection):
        encrypted = False
        stream = connection.makefile("rwb", buffering=0)

        def say(text):
            stream.write(text.encode() + b"\r\n")

        say("220 mail.test ESMTP")
        while line := stream.readline().decode().rstrip():
            word = line.split(" ")[0].upper()
            if not encrypted:
                self.clear.append(line)
            if word == "EHLO":
                say("250-mail.test\r\n250 " + ("AUTH PLAIN LOGIN" if encrypted else "STARTTLS"))
            elif word == "STARTTLS":
                say("220 go on")
                connection = self.context.wrap_socket(connection, server_side=True)
                stream, encrypted = connection.makefile("rwb", buffering=0), True
            elif word == "AUTH":
                self.logins.append(line)
                say("235 welcome")
            elif word == "MAIL" and not self.logins:
                say("530 5.7.0 log in first")
            elif word == "DATA":
                say("354 go on")
                text = b""
                while (part := stream.readline()) != b".\r\n":
                    text += part[1:] if part.startswith(b"..") else part
                self.mails.append(message_from_string(text.decode(), policy=policy.default))
                say("250 taken")
            elif word == "QUIT":
                say("221 bye")
                return
            else:
                say("250 ok")


PAGING = """
acknowledge: {key_file: ack.key, external_url: "http://127.0.0.1:%(port)d"}
callbacks:
  pagerduty: {secrets: [inline-pd-callback-secret], secret_files: [pd.secret]}
  slack: {secret_files: [slack.secret]}
route: {receiver: all, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 1h, escalation_policy: main}
receivers:
- name: all
  email_configs:
  - {to: "Ann <ann@x.test>", from: side@band.test, smarthost: "127.0.0.1:%(smtp)d", hello: me.test, auth_username: side,
     auth_password: inline-mail-password, send_resolved: true, tls_config: {ca_file: "%(ca)s"}}
  pagerduty_configs: [{routing_key: inline-routing-key-0123, url: "http://%(pagerduty)s/v2/enqueue"}]
  slack_configs:
  - {app_token_file: slack.token, app_url: "http://%(slack)s/api/chat.postMessage", channel: "#ops", send_resolved: true}
  webhook_configs:
  - {url: "http://%(hook)s/hook/inline-webhook-token?x=1", signing_key: inline-signing-key}
users: [{name: ann, receiver: all}]
escalation_policies: [{name: main, steps: [{notify: [user/ann], ack_timeout: 1h}]}]
heartbeat: {url: "http://%(hook)s/beat/inline-heartbeat-token", interval: 1s}
"""

RULES = """
groups:
- name: q
  interval: 1s
  rules:
  - {alert: QueueDeep, expr: queue_depth > 10, labels: {severity: page}, annotations: {summary: "the queue is deep"}}
"""

SECRETS = [
    "inline-pd-callback-secret", "file-pd-callback-secret", "file-slack-signing-secret", "inline-mail-password",
    "inline-routing-key-0123", "file-slack-token", "inline-webhook-token", "inline-signing-key", "inline-heartbeat-token",
    "the-key-that-signs-links", "inline-scrape-password", "aW5saW5lLW1haWwtcGFzc3dvcmQ", "inline-proxy-password",
]


class World:
    """sideband with every receiver that the tests have a server for."""

    def __init__(self, stage, web=None):
        self.stage = stage
        self.mailbox = Mailbox()
        self.events, self.posts, self.hooks = [], [], []
        self.hook_status = 200
        self.pagerduty = Server(self.take_event)
        self.slack = Server(self.take_post)
        self.hook = Server(self.take_hook)
        self.depth = 0
        self.target = Server(lambda *_: (200, {"Content-Type": "text/plain; version=0.0.4"}, f"queue_depth {self.depth}\n".encode()))
        self.port = free_port()
        names = {"port": self.port, "smtp": self.mailbox.port, "ca": CERTS / "ca.pem", "pagerduty": self.pagerduty.address,
                 "slack": self.slack.address, "hook": self.hook.address}
        stage.file("sideband/paging.yml", PAGING % names)
        stage.file("sideband/rules.yml", RULES)
        stage.file("sideband/ack.key", "the-key-that-signs-links\n")
        stage.file("sideband/pd.secret", "file-pd-callback-secret\n")
        stage.file("sideband/slack.secret", "file-slack-signing-secret\n")
        stage.file("sideband/slack.token", "xoxb-file-slack-token\n")
        self.config = (
            "global: {scrape_interval: 1s, scrape_timeout: 900ms, evaluation_interval: 1s}\nrule_files: [rules.yml]\n"
            "paging_file: paging.yml\nscrape_configs:\n  - job_name: q\n    basic_auth: {username: u, password: inline-scrape-password}\n"
            f"    static_configs: [{{targets: ['{self.target.address}']}}]\n" + NO_HOST)
        flags = ["--web.enable-lifecycle", "--log.level=debug"]
        if web:
            flags.append(f"--web.config.file={stage.file('web.yml', web)}")
        self.url = stage.sideband(self.config, port=self.port, flags=flags)

    def take_event(self, _path, _method, _headers, body):
        self.events.append(json.loads(body))
        return 202, {}, b"{}"

    def take_post(self, path, _method, headers, body):
        self.posts.append((path, json.loads(body), headers["Authorization"]))
        return 200, {}, json.dumps({"ok": True, "channel": "C1", "ts": "17.01"}).encode()

    def take_hook(self, path, _method, _headers, _body):
        self.hooks.append(path)
        # As a server that repeats what it was sent.
        return self.hook_status, {}, f"refused: {path}".encode()

    def actions(self):
        return [e["event_action"] for e in self.events]

    def call_back(self, body, secret="file-pd-callback-secret", signature=None):
        signature = signature or "v1=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        return request(self.url + "/api/v1/callbacks/pagerduty", data=body,
                       headers={"X-PagerDuty-Signature": signature, "Content-Type": "application/json"})

    def press(self, value, secret="file-slack-signing-secret", at=None, user="ann"):
        payload = {"type": "interactive_message", "user": {"id": "U1", "name": user}, "channel": {"id": "C1", "name": "ops"},
                   "actions": [{"name": "sideband_acknowledge", "type": "button", "value": value}]}
        body = urllib.parse.urlencode({"payload": json.dumps(payload)}).encode()
        stamp = str(int(at or time.time()))
        digest = hmac.new(secret.encode(), b"v0:" + stamp.encode() + b":" + body, hashlib.sha256).hexdigest()
        return request(self.url + "/api/v1/callbacks/slack", data=body, headers={
            "X-Slack-Signature": "v0=" + digest, "X-Slack-Request-Timestamp": stamp,
            "Content-Type": "application/x-www-form-urlencoded"})


def event(key, kind="incident.acknowledged", name="e1"):
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return json.dumps({"event": {
        "id": name, "event_type": kind, "resource_type": "incident", "occurred_at": at,
        "agent": {"id": "P1", "summary": "Ann", "type": "user_reference"},
        "data": {"id": "Q1", "type": "incident", "incident_key": key}}}).encode()


def a_page_by_mail_is_acknowledged_from_the_mail(stage):
    world = World(stage)
    world.depth = 20
    mail = wait("a mail", lambda: world.mailbox.mails and world.mailbox.mails[0])
    expect(mail["Subject"] == "[FIRING:1] the queue is deep (QueueDeep)", mail["Subject"])
    expect(mail["To"] == "Ann <ann@x.test>" and mail["From"] == "side@band.test", f"{mail['To']} {mail['From']}")
    expect(world.mailbox.clear == ["EHLO me.test", "STARTTLS"], f"said in the clear: {world.mailbox.clear}")
    expect(len(world.mailbox.logins) == 1, f"{world.mailbox.logins}")
    plain = mail.get_body(("plain",)).get_content()
    page = mail.get_body(("html",)).get_content()
    link = re.search(r"Acknowledge: (http://\S+/ack/\S+)", plain).group(1)
    expect(link in page and "the queue is deep" in page and "<table>" in page, page)
    status, body, _ = request(link)
    expect(status == 200 and "Acknowledge as ann" in body and "step 1 of loop 1" in body, body[:500])
    for _ in range(2):
        expect(request(link, data=b"", headers={"X-Forwarded-For": "203.0.113.9"})[0] == 200, "POST to the link")
    wait("PagerDuty hears of it", lambda: "acknowledge" in world.actions())
    seen = json.loads(http(world.url + "/api/v1/incidents/1"))["data"]
    expect(seen["acknowledgedBy"] == "ann" and seen["acknowledgedVia"] == "link from 127.0.0.1, for 203.0.113.9", f"{seen}")
    expect(any(h["what"].startswith("acknowledged by ann (link, from 127.0.0.1") for h in seen["history"]), f"{seen['history']}")
    world.depth = 0
    over = wait("the end by mail", lambda: len(world.mailbox.mails) > 1 and world.mailbox.mails[1])
    expect(over["Subject"].startswith("[RESOLVED]"), over["Subject"])
    expect("Was it worth it? http" in over.get_body(("plain",)).get_content(), "the mail asks whether it was worth it")
    expect(over["References"] == mail["References"] and over["Message-ID"] != mail["Message-ID"], "one thread")
    wait("PagerDuty hears of the end", lambda: world.actions() == ["trigger", "acknowledge", "resolve"])
    expect(len({e["dedup_key"] for e in world.events}) == 1, "one key")
    status, body, _ = request(link)
    expect(status == 200 and "It is over" in body, body[:500])
    expect(request(link, data=b"")[0] == 200, "the link of something that is over is harmless")
    dump = subprocess.run([str(stage.binary), "db", "dump", f"--storage.path={stage.dir / 'sideband' / 'copy'}"], capture_output=True)
    expect(dump.returncode == 1, "nothing is there")


def pagerduty_and_slack_call_back_without_a_password(stage):
    world = World(stage, web="basic_auth_users: {nobody: $2b$04$abcdefghijklmnopqrstuO012345678901234567890123456789.}\n")
    # Nothing but the callbacks, links and probes is open.
    for path in ("/api/v1/incidents", "/api/v1/callbacks", "/api/v1/callbacks/", "/api/v1/callbacks/other", "/api/v2/status",
                 "/api/v1/callbacks/pagerduty/x", "/api/v1/callbacks/../incidents", "/api/v1/callbacks/%73lack"):
        expect(request(world.url + path)[0] == 401, f"{path}: {request(world.url + path)}")
    expect(request(world.url + "/api/v1/callbacks/slack")[0] == 405, "GET of a callback")
    world.depth = 20
    trigger = wait("PagerDuty is told", lambda: world.events and world.events[0])
    post = wait("Slack is told", lambda: world.posts and world.posts[0])
    expect(post[0] == "/api/chat.postMessage" and post[2] == "Bearer xoxb-file-slack-token", f"{post}")
    button = next(a for a in post[1]["attachments"][0]["actions"] if a["name"] == "sideband_acknowledge")
    key = trigger["dedup_key"]
    good = event(key)
    for what, answer in {
        "no key": world.call_back(good, "guessed-guessed"), "another algorithm": world.call_back(good, signature="sha1=" + "0" * 40),
        "a changed body": world.call_back(good + b" ", signature="v1=" + hmac.new(b"file-pd-callback-secret", good, "sha256").hexdigest()),
        "Slack's secret": world.call_back(good, "file-slack-signing-secret"),
    }.items():
        expect(answer[0] == 401, f"{what}: {answer[:2]}")
    expect(world.call_back(b"x" * 300_000)[0] == 413, "oversized")
    expect(world.press(button["value"], at=time.time() - 400)[0] == 403, "old")
    expect(world.press(button["value"][:-4] + "AAAA")[0] == 403, "a forged button")
    expect(world.press(button["value"], secret="guessed-guessed")[0] == 401, "forged")
    expect(world.actions() == ["trigger"], f"forgeries did something: {world.actions()}")
    status, body, _ = world.press(button["value"])
    expect(status == 200 and "is acknowledged" in body, f"{status} {body}")
    wait("PagerDuty hears of it", lambda: "acknowledge" in world.actions())
    update = wait("the message is brought up to date", lambda: next((p for p in world.posts if p[0] == "/api/chat.update"), None))
    expect(update[1]["ts"] == "17.01" and update[1]["attachments"][0]["text"].startswith("Acknowledged by ann"), f"{update}")
    status, body, _ = world.call_back(good)
    expect(status == 200 and "already by ann" in body, f"{status} {body}")
    status, body, _ = world.call_back(good)
    expect(status == 200 and "heard before" in body, f"{status} {body}")
    world.call_back(event(key, "incident.resolved", "e2"), "inline-pd-callback-secret")
    wait("it is over", lambda: "resolve" in world.actions())
    # After a restart what was heard is still known.
    stage.processes["sideband"].kill()
    stage.processes["sideband"].wait()
    stage.sideband(world.config, port=world.port)
    status, body, _ = world.call_back(event(key, "incident.resolved", "e2"))
    expect(status == 200 and "heard before" in body, f"after a restart: {status} {body}")


def no_secret_is_shown_anywhere(stage):
    world = World(stage)
    world.hook_status = 400
    world.depth = 20
    wait("everybody was tried", lambda: world.mailbox.mails and world.posts and world.events and len(world.hooks) > 2)
    # Errors of receivers, of callbacks, of reloads.
    world.call_back(b"{}", "guessed-guessed")
    world.press("x")
    # The file that stands there, and is refused, must not be shown instead of the one that runs.
    broken = PAGING.replace("signing_key: inline-signing-key", "signing_key: [inline-signing-key]")
    broken = broken.replace("%(port)d", "9").replace("%(smtp)d", "9").replace("x=1", "x=2")
    stage.file("sideband/paging.yml", broken)
    status, error, _ = request(world.url + "/-/reload", data=b"", method="POST")
    expect(status == 500 and "paging.yml:" in error, f"{status} {error}")
    run = lambda *args: subprocess.run([str(stage.binary), *map(str, args)], capture_output=True, text=True)
    shown = {"reload": error}
    texts = {
        "url": PAGING.replace('url: "http://%(hook)s/hook/inline', 'url: "ftp://inline'),
        "key": PAGING.replace("routing_key: inline", "routing_key: {a: inline"),
        "number": PAGING.replace("send_resolved: true, tls", "send_resolved: inline-mail-password, tls").replace("send_resolved: inline-mail-password", "send_resolved: maybe"),
        "proxy": PAGING.replace("signing_key: inline-signing-key", "http_config: {proxy_url: 'http://u:inline-proxy-password@[bad'}"),
        "template": PAGING.replace("/inline-webhook-token?x=1", "/inline-webhook-token{{ nothing }}"),
    }
    names = {"port": 1, "smtp": 1, "ca": CERTS / "ca.pem", "pagerduty": "x", "slack": "x", "hook": "x"}
    for name, text in texts.items():
        stage.file("bad/paging.yml", text % names)
        for file in ("ack.key", "pd.secret", "slack.secret"):
            stage.file(f"bad/{file}", (stage.dir / "sideband" / file).read_text())
        result = run("check", "config", stage.file("bad/main.yml", "paging_file: paging.yml\n"))
        expect(result.returncode == 1, f"{name}: {result}")
        shown[f"check of a bad {name}"] = result.stdout + result.stderr
    for path in ("/api/v1/status/config", "/api/v2/status", "/api/v1/status/flags", "/api/v1/incidents", "/api/v1/targets", "/api/v2/alerts",
                 "/api/v2/receivers", "/api/v1/alertmanagers", "/metrics", "/", "/status", "/alerts", "/targets"):
        shown[path] = http(world.url + path)
    stage.signal_group(stage.processes["sideband"], 15)
    stage.processes["sideband"].wait(120)
    shown["dump"] = run("db", "dump", f"--storage.path={stage.dir / 'sideband' / 'data'}").stdout
    shown["log"] = stage.log("sideband")
    expect("QueueDeep" in shown["dump"] and "refused for good" in shown["log"], "the texts are there")
    expect("hook/<secret>" in shown["log"] or "<secret>" in shown["log"], "what a server repeated is hidden")
    for where, text in shown.items():
        for secret in SECRETS:
            expect(secret not in text, f"{secret} in {where}: …{text[max(0, text.find(secret) - 200):][:400]}")
        # Links to acknowledge are as good as a secret.
        expect("/ack/AQ" not in text and "/judge/AQ" not in text, f"a link in {where}")


TESTS = [
    a_page_by_mail_is_acknowledged_from_the_mail,
    pagerduty_and_slack_call_back_without_a_password,
    no_secret_is_shown_anywhere,
]
