"""`kill -9` at random moments, in front of a pager that fails half of the time, and what the ledger says of it in the end.

Every attempt to say something to the sideband is remembered, also one whose answer was lost, and every acknowledgement is said under a
name of its own: the history of an incident tells which attempt was heard, and when. Nothing has to be guessed."""

import json
import os
import random
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections import Counter, defaultdict
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from stage import expect, http, request, wait

# Seconds until the backup is paged, and what a receiver may take at the most.
ACK_TIMEOUT = 4
PAGER_TIMEOUT = 1
CONFIG = "paging_file: paging.yml\nscrape_configs: []\nhost: {enabled: false}\n"

PAGING = """
route:
  receiver: tickets
  group_by: [{group_by}]
  group_wait: {group_wait}
  group_interval: 1s
  repeat_interval: 12h
  escalation_policy: main
receivers:
  - {{name: tickets}}
  - {{name: a, webhook_configs: [{{url: "http://{inbox}/a", timeout: {timeout}s}}]}}
  - {{name: b, webhook_configs: [{{url: "http://{inbox}/b", timeout: {timeout}s}}]}}
users:
  - {{name: ann, receiver: a}}
  - {{name: bob, receiver: b}}
escalation_policies:
  - name: main
    steps:
      - {{notify: [user/ann], ack_timeout: {ack}s}}
      - {{notify: [user/bob], ack_timeout: 1h}}
"""


def paging(inbox, ack, timeout=5, group_by="alertname", group_wait="0s"):
    """ann is paged, and bob after `ack` seconds; a receiver has `timeout` seconds to answer."""
    return PAGING.format(inbox=inbox.address, ack=ack, timeout=timeout, group_by=group_by, group_wait=group_wait)


def moment(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


class SlowDisk(Exception):
    """The disk was slower than a page may wait for it: then pages are kept in memory, and a kill forgets them."""


class Lateness:
    """How late this machine is, for those who judge by the time at which something was seen: threads that want to run, and small files that want
    to be on the disk."""

    def __init__(self, directory):
        self.seen = []
        self.file = open(directory / "lateness", "wb", buffering=0)
        for what in (lambda: None, self.write):
            threading.Thread(target=self.watch, args=(what,), daemon=True).start()

    def write(self):
        self.file.write(b"x")
        os.fsync(self.file.fileno())

    def watch(self, what):
        while True:
            began = time.time()
            time.sleep(0.05)
            what()
            if (late := time.time() - began - 0.05) > 0.02:
                self.seen.append((began, late))

    def between(self, since, until):
        """The most within this time, s."""
        return max((late for began, late in list(self.seen) if began <= until and began + 0.05 + late >= since), default=0.0)


class Attempt:
    """A request that the pager has read."""

    def __init__(self, to, key, at, message):
        self.to, self.key, self.at = to, key, at
        self.status = message["status"]
        self.alert = message["groupLabels"]["alertname"]
        self.triggered = moment(message["incident"]["triggeredAt"])
        self.incident = message["incident"]["id"]
        self.step, self.loop = message["step"]["number"], message["step"]["loop"]
        self.notes = json.dumps(message.get("notes", "")) + json.dumps(message.get("commonAnnotations", ""))
        self.delivered = False


class UnreliablePager:
    """Answers half of the requests; the others get 500, 429 with Retry-After, no answer, or a broken connection."""

    def __init__(self, seed):
        self.random, self.lock = random.Random(seed), threading.Lock()
        self.attempts, self.reliable = [], False
        self.failures = defaultdict(int)
        # Called once, when the next page has come or was answered.
        self.trap = None
        pager = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                at = time.time()
                attempt = Attempt(self.path.strip("/"), self.headers.get("Idempotency-Key"), at, json.loads(body))
                with pager.lock:
                    pager.attempts.append(attempt)
                    well = pager.reliable or pager.random.random() < 0.5
                    how = "ok" if well else pager.random.choice(["500", "429", "hang", "reset"])
                    pager.failures[how] += 1
                pager.spring("come")
                if how == "hang":
                    time.sleep(PAGER_TIMEOUT + 0.5)
                if how in ("hang", "reset"):
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.close_connection = True
                    self.connection.close()
                    return
                attempt.delivered = how == "ok"
                self.send_response({"ok": 200, "500": 500, "429": 429}[how])
                if how == "429":
                    self.send_header("Retry-After", "1")
                self.send_header("Content-Length", "0")
                self.end_headers()
                pager.spring("answered")

            def log_message(self, *_):
                pass

        class Quiet(ThreadingHTTPServer):
            request_queue_size = 256
            daemon_threads = True

            def handle_error(self, *_):
                pass

        self.http = Quiet(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def all(self):
        with self.lock:
            return list(self.attempts)

    def spring(self, moment):
        with self.lock:
            trap, self.trap = (self.trap, None) if self.trap and self.trap[0] == moment else (None, self.trap)
        if trap:
            time.sleep(trap[1])
            trap[2]()


class Deed:
    """Something that was said to the sideband: when it set out, when the answer or its loss was known, and the status if there was one."""

    def __init__(self, what, alert, incident=None):
        self.what, self.alert, self.incident = what, alert, incident
        self.sent, self.known, self.status = time.time(), None, None

    def say(self, url, data):
        try:
            self.status = request(url, data, timeout=5)[0]
        except OSError:
            pass  # lost: nobody knows
        self.known = time.time()
        return self.status == 200

    def __repr__(self):
        return f"{self.what} {self.alert} {self.incident or ''} sent {self.sent:.3f} known {self.known or 0:.3f} status {self.status}"


class Operators:
    """Those who send alerts and who acknowledge. What was not heard is said again, as every sender does."""

    def __init__(self, dice, pager, most):
        self.dice, self.pager, self.most = dice, pager, most
        self.deeds, self.waiting, self.began = [], [], {}
        self.taken, self.done = set(), set()

    def paged(self, name):
        return next((a.incident for a in self.pager.all() if a.alert == name), None)

    def think(self, what):
        """Something to say: a new alert, an acknowledgement by who was paged, an end. False: there is nothing to say."""
        if what == "fire":
            if len(self.began) >= self.most:
                return False
            name = f"alert-{len(self.began)}"
            self.began[name] = datetime.now(timezone.utc)
            self.waiting.append(("fire", name))
            return True
        # Who acknowledges has been paged, and knows the incident from there.
        names = [n for n in sorted(self.taken) if (what, n) not in self.done and ("resolve", n) not in self.done
                 and (what, n) not in self.waiting and (what == "resolve" or self.paged(n))]
        if names:
            self.waiting.append((what, self.dice.choice(names)))
        return bool(names)

    def act(self, url, until, over=lambda: False):
        """What happens to a sideband before its end: alerts come, are acknowledged, are resolved."""
        while time.time() < until and not over():
            what = self.dice.random()
            if what < 0.8:
                self.think("fire" if what < 0.5 else "ack" if what < 0.7 else "resolve")
            self.settle(url)
            time.sleep(self.dice.uniform(0, 0.25))

    def next_due(self):
        """When the backup of the next incident is due that nobody has taken."""
        now = time.time()
        due = [a.triggered + ACK_TIMEOUT for a in self.pager.all() if a.to == "a" and a.status == "firing"
               and not {("ack", a.alert), ("resolve", a.alert)} & (self.done | set(self.waiting))]
        return min((d for d in due if d > now + 0.05), default=None)

    def settle(self, url):
        """Says what was not heard yet."""
        for item in list(self.waiting):
            what, name = item
            deed = Deed(what, name)
            self.deeds.append(deed)
            if what == "ack":
                deed.incident = self.paged(name)
                body = {"by": f"ann-{len(self.deeds)}"}
                deed.by = body["by"]
                heard = deed.say(f"{url}/api/v1/incidents/{deed.incident}/ack", body)
                # It may have ended meanwhile.
                heard = heard or deed.status == 409
            else:
                ends = datetime.now(timezone.utc) + timedelta(hours=6 if what == "fire" else 0)
                text = lambda t: t.isoformat(timespec="milliseconds").replace("+00:00", "Z")
                alert = {"labels": {"alertname": name, "severity": "page"}, "annotations": {"summary": name},
                         "startsAt": text(self.began[name]), "endsAt": text(ends)}
                heard = deed.say(url + "/api/v2/alerts", [alert])
            if not heard:
                return
            self.waiting.remove(item)
            self.done.add(item)
            if what == "fire":
                self.taken.add(name)


def records(stage, name="sideband"):
    """What the ledger of a sideband says, read from a copy. While it runs, a copy may be none: a ValueError."""
    data, copy = stage.dir / name / "data/ledger.redb", stage.dir / "copy"
    copy.mkdir(exist_ok=True)
    shutil.copyfile(data, copy / "ledger.redb")
    dump = subprocess.run([stage.binary, "db", "dump", f"--storage.path={copy}"], capture_output=True, text=True)
    if dump.returncode:
        raise ValueError(dump.stderr[-500:])
    return [json.loads(line) for line in dump.stdout.splitlines()]


def what_a_kill_left(stage, pager):
    """How the ledger stands after a kill: rows that were never sent, rows whose answer it has not heard, timers."""
    left, attempts = Counter(), defaultdict(list)
    for a in pager.all():
        attempts[a.key].append(a)
    for row in records(stage):
        record = row["value"].get("r", {}) if isinstance(row["value"], dict) else {}
        if row["table"] == "paging.outbox":
            left["rows"] += 1
            seen = attempts.get(record["key"], [])
            if not seen:
                left["written, not sent"] += 1
            elif seen[-1].delivered:
                left["sent and taken, not written"] += 1
        elif row["table"] == "paging.incidents" and record.get("state") == "triggered" and record["loop"] == 0:
            left["timers"] += 1
    return left


def killed_at_random_moments(stage, kills, seed):
    print(f"      {kills} kills, --seed {seed}", flush=True)
    dice, pager = random.Random(seed), UnreliablePager(seed + 1)
    stage.file("sideband/paging.yml", paging(pager, ACK_TIMEOUT, PAGER_TIMEOUT))
    url = stage.sideband(CONFIG)
    port = int(url.rsplit(":", 1)[1])
    people, lateness = Operators(dice, pager, 3 * kills + 10), Lateness(stage.dir)
    starts, left = [], []

    def killed():
        stage.processes["sideband"].kill()
        stage.processes["sideband"].wait()
        left.append(what_a_kill_left(stage, pager))

    aims = Counter()
    while len(left) < kills:
        process = stage.processes["sideband"]
        # Some die while they start, some in the middle of something, some in peace; and some at the very moments that count.
        aim = dice.choice(["any time", "any time", "an alert comes", "an acknowledgement comes", "a page has come", "a page was answered", "a timer ends"])
        lives = dice.choice([0, 0.02, 0.1, 0.3, 0.6, 1.2]) * dice.uniform(0.5, 1.5)
        if aim in ("a page has come", "a page was answered"):
            pager.trap = (aim.rsplit(" ", 1)[1], dice.choice([0, dice.uniform(0, 0.01)]), process.kill)
            people.act(url, time.time() + 3, lambda: process.poll() is not None)
            pager.trap = None
        elif aim in ("an alert comes", "an acknowledgement comes"):
            people.act(url, time.time() + lives)
            if not people.waiting and people.think("fire" if aim == "an alert comes" else "ack"):
                killer = threading.Timer(dice.uniform(0, 0.02), process.kill)
                killer.start()
                people.settle(url)
                killer.join()
        elif aim == "a timer ends" and (due := people.next_due()):
            people.act(url, due - 0.1)
            time.sleep(max(0, due + dice.uniform(-0.002, 0.03) - time.time()))
        else:
            aim = "any time"
            killer = threading.Timer(lives, process.kill)
            killer.start()
            people.act(url, time.time() + lives)
            killer.join()
        aims[aim] += 1
        killed()
        while dice.random() < 0.2 and len(left) < kills:
            # Not even up, and dead again.
            stage.start("sideband", [stage.binary, f"--config.file={stage.dir / 'sideband/sideband.yml'}",
                                     f"--web.listen-address=127.0.0.1:{port}", f"--storage.path={stage.dir / 'sideband/data'}"])
            time.sleep(dice.uniform(0, 0.3))
            aims["the start"] += 1
            killed()
        start = time.time()
        stage.sideband(CONFIG, port=port)
        starts.append(time.time() - start)
    people.most = 0
    wait("all is heard", lambda: (people.settle(url), not people.waiting)[1], pause=0.2)
    pager.reliable = True
    wait("the last backups are due", lambda: all(i["state"] != "triggered" or any(p["step"] == 2 for p in i["pages"]) for i in listed(url)), pause=0.5)
    time.sleep(ACK_TIMEOUT + 3)
    wait("the outbox is empty", lambda: "\nsideband_paging_outbox_rows 0\n" in http(url + "/metrics", headers={"Accept": "text/plain"}), pause=0.5)
    # Nothing comes after the end.
    time.sleep(2)
    attempts = pager.all()
    incidents = {}
    for number in sorted({a.incident for a in attempts} | {i["id"] for i in listed(url)}, key=int):
        incidents[number] = json.loads(http(f"{url}/api/v1/incidents/{number}"))["data"]
    memory_only = stage.log("sideband").count("THE LEDGER DOES NOT TAKE")
    if memory_only:
        raise SlowDisk(f"{memory_only} times this machine's disk was slower than 2 s, and such a run proves nothing")
    check_keys(attempts)
    check_incidents(attempts, incidents, people.deeds, people.taken, lateness)
    report(pager, starts, left, aims, incidents, people.deeds)


def listed(url):
    return json.loads(http(f"{url}/api/v1/incidents?state=all&limit=10000"))["data"]["incidents"]


def check_keys(attempts):
    keys, of_key, incident_of = defaultdict(set), defaultdict(set), defaultdict(set)
    for a in attempts:
        # The end is told to each person once, whatever step was reached.
        what = (a.incident, a.to, a.status, *((a.step, a.loop) if a.status == "firing" else ()))
        keys[what].add(a.key)
        of_key[a.key].add((a.alert, *what))
        incident_of[a.alert].add(a.incident)
        expect(a.key, f"no key: {what}")
        if a.status == "firing":
            expect((a.to, a.step) in (("a", 1), ("b", 2)) and a.loop == 1, f"a step that should not be: {what}")
    changed = {w: k for w, k in keys.items() if len(k) != 1}
    expect(not changed, f"keys that changed: {list(changed.items())[:5]}")
    shared = {k: w for k, w in of_key.items() if len(w) != 1}
    expect(not shared, f"keys with two meanings: {list(shared.items())[:5]}")
    several = {n: i for n, i in incident_of.items() if len(i) != 1}
    expect(not several, f"more than one incident: {list(several.items())[:5]}")


def acknowledgement(one):
    return {"by": one["acknowledgedBy"], "at": one["acknowledgedAt"]} if "acknowledgedAt" in one else None


def check_incidents(attempts, incidents, deeds, taken, lateness):
    """The ledger's history against what was said to it and what the pager saw."""
    by_alert, told, said = defaultdict(list), defaultdict(list), defaultdict(list)
    for i in incidents.values():
        by_alert[i["groupLabels"]["alertname"]].append(i)
    for a in attempts:
        told[a.alert].append(a)
    for d in deeds:
        said[d.alert].append(d)
    expect(set(by_alert) >= taken, f"taken, and no incident: {sorted(taken - set(by_alert))[:10]}")
    for name, found in sorted(by_alert.items()):
        def sure(fine, what, name=name, found=found):
            lines = [f"{a.at:.3f} {a.to} {a.status} {a.key} {'taken' if a.delivered else 'not taken'}" for a in told[name]]
            expect(fine, f"{name}: {what}\n{json.dumps(found, indent=1)[:6000]}\n" + "\n".join([*map(repr, said[name]), *lines]))

        sure(len(found) == 1, "more than one incident")
        one = found[0]
        began, ack = moment(one["startedAt"]), acknowledgement(one)
        heard = [d for d in said[name] if d.what == "ack" and ack and d.by == ack["by"]]
        if ack:
            sure(len(heard) == 1, f"{ack['by']} never acknowledged this")
            sure(heard[0].sent - 0.01 <= moment(ack["at"]) <= heard[0].known + 0.01, "acknowledged at another time than it was said")
        # Whoever was told that it is acknowledged can rely on it.
        answered = [d for d in said[name] if d.what == "ack" and d.status == 200]
        sure(not answered or ack, "an acknowledgement that was answered is forgotten")
        sure(not answered or moment(ack["at"]) <= answered[0].known, "it was acknowledged later than that was answered")
        over = any(d.what == "resolve" and d.status == 200 for d in said[name])
        sure(over == (one["state"] == "resolved"), f"said to be over: {over}, and it is {one['state']}")
        ended = min(moment(ack["at"]) if ack else 1e18, moment(one["resolvedAt"]) if "resolvedAt" in one else 1e18)

        pages = {to: [a for a in told[name] if a.to == to and a.status == "firing"] for to in "ab"}
        for a in pages["b"]:
            early = began + ACK_TIMEOUT - a.at
            sure(early <= 0.005, f"the backup was paged {early:.3f} s early")
        for to, due in (("a", began), ("b", began + ACK_TIMEOUT)):
            for a in pages[to]:
                # A moment for a request that was under way, and for a machine that was busy with something else.
                most = 0.5 + 5 * lateness.between(ended - 1, a.at)
                sure(a.at < ended + most, f"{to} was paged {a.at - ended:.3f} s after the end, at the most {most:.3f} s are fine")
            arrived = [a for a in pages[to] if a.delivered]
            # Nobody ended it: then both were told, whatever happened on the way.
            sure(arrived or ended < 1e18, f"{to} was never told")
            # Much later than due: then it was at least written and tried before the end.
            sure(pages[to] or ended < due + 30, f"{to} was not even tried, {ended - due:.1f} s long")
            if one["state"] == "resolved" and arrived:
                sure(any(a.to == to and a.status == "resolved" and a.delivered for a in told[name]), f"{to} was not told of the end")


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def report(pager, starts, left, aims, incidents, deeds):
    first, delivered, count = {}, {}, defaultdict(int)
    for a in pager.all():
        if a.status != "firing":
            continue
        due = a.triggered + (ACK_TIMEOUT if a.to == "b" else 0)
        what = (a.alert, a.to)
        first.setdefault(what, a.at - due)
        if a.delivered:
            delivered.setdefault(what, a.at - due)
            count[a.key] += 1
    for name, values in (("first page: attempted", [v for (_, to), v in first.items() if to == "a"]),
                         ("first page: delivered", [v for (_, to), v in delivered.items() if to == "a"]),
                         ("backup: attempted", [v for (_, to), v in first.items() if to == "b"]),
                         ("backup: delivered", [v for (_, to), v in delivered.items() if to == "b"])):
        print(f"      {name:22} {len(values):5}  late by p50 {percentile(values, 0.5):.3f} s, p99 {percentile(values, 0.99):.3f} s, "
              f"max {max(values, default=float('nan')):.3f} s", flush=True)
    states = Counter(i["state"] for i in incidents.values())
    lost = [d for d in deeds if d.status is None]
    acks = {i["acknowledgedBy"] for i in incidents.values() if "acknowledgedAt" in i}
    heard = sum(1 for d in lost if d.what == "ack" and d.by in acks)
    print(f"      {len(incidents)} incidents: {dict(states)}; pager: {dict(pager.failures)}; {sum(1 for n in count.values() if n > 1)} pages taken "
          f"twice under their key; kill to ready p50 {percentile(starts, 0.5) * 1000:.0f} ms, max {max(starts) * 1000:.0f} ms", flush=True)
    print(f"      {len(deeds)} requests to it, {len(lost)} answers lost; of {sum(1 for d in lost if d.what == 'ack')} acknowledgements whose answer was "
          f"lost {heard} had been heard", flush=True)
    share = lambda what: f"{sum(1 for l in left if l[what])} ({sum(l[what] for l in left)} rows)"
    rows = sorted(l["rows"] for l in left)
    print(f"      kills when: {dict(aims)}", flush=True)
    print(f"      at {len(left)} kills: {share('written, not sent')} had rows that were written and not sent, {share('sent and taken, not written')} rows that "
          f"were taken and not crossed out; rows in the outbox p50 {percentile(rows, 0.5)}, max {rows[-1]}; timers running at "
          f"{sum(1 for l in left if l['timers'])}", flush=True)
