"""The same alerts, silences and a reload at the same times to Alertmanager and to sideband: what each tells its receivers.

Steps wait for what both have told, not for the time; compared are order and content. So a slow machine only takes longer.
"""

import json
import threading
import time
from datetime import datetime, timezone

from stage import expect, request, wait

# name: (of its route, of its webhook). One group of alerts that share `seq`, unless it says otherwise.
ROUTES = {
    "plain": ("", ""), "blip": ("group_wait: 6s", ""), "joins": ("", ""), "again": ("group_interval: 8s", ""),
    "firing_only": ("", ", send_resolved: false"), "inhibited": ("group_by: [alertname]", ""), "silenced": ("", ""),
    "each": ("group_by: ['...']", ""), "both": ("continue: true", ""), "cut": ("", ", max_alerts: 1"), "times_out": ("", ""),
    "repeats": ("repeat_interval: 3s", ""), "merged": ("", ""), "reloaded": ("", ""), "order": ("", ""),
}


def config(inbox):
    routes, receivers = [], ["  - name: default"]
    for name, (route, hook) in ROUTES.items():
        routes.append(f"    - matchers: [seq={name}]\n      receiver: {name}\n" + (f"      {route}\n" if route else ""))
        receivers.append(f"  - name: {name}\n    webhook_configs: [{{url: 'http://{inbox.address}/{name}'{hook}}}]")
    routes.append("    - matchers: [seq=both]\n      receiver: second\n      group_by: [alertname]\n")
    receivers.append(f"  - name: second\n    webhook_configs: [{{url: 'http://{inbox.address}/second'}}]")
    return f"""
global: {{resolve_timeout: 10s}}
route:
  receiver: default
  group_by: [seq]
  group_wait: 3s
  group_interval: 2s
  repeat_interval: 1h
  routes:
{"".join(routes)}
receivers:
{chr(10).join(receivers)}
inhibit_rules:
  - {{source_matchers: [alertname=Down], target_matchers: [alertname=Slow], equal: [host]}}
"""


def moment(t):
    return datetime.fromtimestamp(t, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Peers:
    """Both sides; the webhooks of one sequence are found by its name."""

    def __init__(self, urls, inboxes):
        self.urls, self.inboxes = urls, inboxes

    def post(self, path, body):
        """The answers of both."""
        answers = []
        for url in self.urls:
            code, text, _ = request(url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST")
            expect(code == 200, f"{url}{path}: {code} {text}")
            answers.append(text)
        return answers

    def told(self, hook, count):
        """Waits until both have told so much of a sequence."""
        of = lambda inbox: [e for e in list(inbox.received) if e["to"] == hook]
        wait(f"{count} messages to {hook} by both", lambda: all(len(of(i)) >= count for i in self.inboxes), 60)


class Sequence:
    def __init__(self, peers, name):
        self.peers, self.name, self.start = peers, name, time.time()

    def alert(self, name, annotations=None, start=0, end=3600, **labels):
        alert = {"labels": {"alertname": name, "seq": self.name, **labels}, "annotations": annotations or {"summary": name},
                 "startsAt": moment(self.start + start)}
        return alert | ({"endsAt": moment(time.time() + end)} if end is not None else {})

    def fire(self, *names, **how):
        self.peers.post("/api/v2/alerts", [self.alert(name, **how) for name in names])

    def end(self, *names, **labels):
        self.peers.post("/api/v2/alerts", [self.alert(name, end=0, **labels) for name in names])

    def told(self, count, hook=None):
        self.peers.told(hook or self.name, count)

    def silence(self, alertname):
        now = time.time()
        body = {"matchers": [{"name": n, "value": v, "isRegex": False, "isEqual": True} for n, v in (("seq", self.name), ("alertname", alertname))],
                "startsAt": moment(now), "endsAt": moment(now + 600), "createdBy": "me", "comment": "known"}
        return [json.loads(text)["silenceID"] for text in self.peers.post("/api/v2/silences", body)]

    def unsilence(self, ids):
        for url, identity in zip(self.peers.urls, ids):
            expect(request(f"{url}/api/v2/silence/{identity}", method="DELETE")[0] == 200, identity)


def plain(s):
    s.fire("A"), s.told(1), s.end("A"), s.told(2), s.fire("A"), s.told(3)


def blip(s):
    s.fire("A"), s.end("A"), time.sleep(8), s.fire("B"), s.told(1)


def joins(s):
    s.fire("B"), s.told(1), s.fire("A", "C"), s.told(2), s.end("A"), s.told(3), s.end("B", "C"), s.told(4)


def again(s):
    s.fire("A"), s.told(1), s.end("A"), s.fire("A"), s.fire("B"), s.told(2)


def firing_only(s):
    s.fire("A"), s.told(1), s.end("A"), time.sleep(5), s.fire("A"), s.told(2), s.fire("B"), s.told(3)


def inhibited(s):
    s.fire("Down", host="a"), s.told(1), s.fire("Slow", host="a"), s.fire("Slow", host="b"), s.told(2)
    s.end("Down", host="a"), s.told(4)


def silenced(s):
    first = s.silence("A")
    s.fire("A"), s.fire("B"), s.told(1)
    s.unsilence(first), s.told(2)
    # What ends in a silence is not spoken of.
    second = s.silence("A")
    s.end("A"), time.sleep(5), s.unsilence(second), time.sleep(3), s.end("B"), s.told(3)


def each(s):
    s.fire("A", host="a"), s.fire("A", host="b"), s.told(2), s.end("A", host="b"), s.told(3)


def both(s):
    s.fire("A", "B"), s.told(1), s.told(2, "second"), s.end("A"), s.told(2), s.told(3, "second")


def cut(s):
    s.fire("A", "B", "C"), s.told(1), s.end("A", "B", "C"), s.told(2)


def times_out(s):
    s.fire("A", end=None), s.told(1), s.told(2)


def repeats(s):
    s.fire("A"), s.told(3)


def merged(s):
    s.fire("A"), s.fire("A", start=2, annotations={"summary": "changed"}), s.told(1)
    s.fire("A", start=-5, end=1800), s.fire("B"), s.told(2)


def order(s):
    s.peers.post("/api/v2/alerts", [s.alert("A", **labels) for labels in (
        {"job": "b", "instance": "1"}, {"job": "a", "instance": "2"}, {"instance": "0"}, {"job": "a"}, {"zone": "z"}, {"job": "a", "instance": "10"})])
    s.told(1)


def same(their, our, where, but):
    """Whatever they say, we say too, `but` these fields."""
    if isinstance(their, dict):
        for key, value in their.items():
            expect(key in our, f"{where}.{key} is missing in ours: {our}")
            if key not in but:
                same(value, our[key], f"{where}.{key}", but)
    elif isinstance(their, list):
        expect(len(their) == len(our), f"{where}: {len(their)} and {len(our)}")
        for i, (a, b) in enumerate(zip(their, our)):
            same(a, b, f"{where}[{i}]", but)
    else:
        expect(their == our, f"{where}: theirs {their!r}, ours {our!r}")


# When it timed out is up to each; what is common is so to all alerts, theirs to those that are listed.
BUT = {"times_out": ("endsAt",), "cut": ("commonLabels", "commonAnnotations")}


def compare(peers, hooks):
    """All that was told: by receiver and group the same, in the same order. Gives the number of messages."""
    def by_group(inbox):
        out = {}
        for entry in list(inbox.received):
            if entry["to"] in hooks:
                out.setdefault((entry["to"], entry["message"]["groupKey"]), []).append(entry["message"])
        return out

    theirs, ours = map(by_group, peers.inboxes)
    expect(theirs.keys() == ours.keys(), f"groups of one side only: {theirs.keys() ^ ours.keys()}")
    for key, messages in theirs.items():
        mine = ours[key]
        if key[0] == "repeats":
            messages, mine = messages[:3], mine[:3]
        told = [[(m["status"], [(a["labels"]["alertname"], a["status"]) for a in m["alerts"]]) for m in side] for side in (messages, mine)]
        expect(told[0] == told[1], f"{key}: theirs {told[0]}, ours {told[1]}")
        same(messages, mine, str(key), BUT.get(key[0], ()))
    return sum(map(len, theirs.values()))


def run(urls, inboxes):
    """Gives the number of messages of each side."""
    peers = Peers(urls, inboxes)
    failures = []

    def go(name):
        try:
            globals()[name](Sequence(peers, name))
        except Exception as error:  # told below, with its name
            failures.append(f"{name}: {error!r}")

    last = Sequence(peers, "reloaded")
    last.fire("A")
    threads = [threading.Thread(target=go, args=[name]) for name in ROUTES if name != "reloaded"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expect(not failures, "; ".join(failures))
    compared = compare(peers, {*ROUTES, "second"} - {"reloaded"})
    # A reload repeats nothing, and forgets nothing.
    last.told(1)
    for url in urls:
        expect(request(url + "/-/reload", b"", method="POST")[0] == 200, f"reload of {url}")
    time.sleep(3)
    last.end("A"), last.told(2)
    return compared + compare(peers, {"reloaded"})
