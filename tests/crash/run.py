"""The real binary, killed at random moments, against a pager that fails half of the time; and a fleet whose members
are killed in turn.

    python tests/crash/run.py --binary target/debug/sideband [--kills 20] [--seed N] [TEST...]
"""

import argparse
import json
import socket
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import clock  # noqa: E402
import disk  # noqa: E402
import kills  # noqa: E402
from kills import CONFIG, moment, paging, records  # noqa: E402
from stage import Inbox, Server, Stage, expect, free_port, http, main, request, send_alerts, wait  # noqa: E402

ARGUMENTS = argparse.Namespace(kills=20, seed=0)

def restart(stage, name, url, config):
    """Starts a killed sideband again at its place."""
    return stage.sideband(config, name=name, port=int(url.rsplit(":", 1)[1]))


def kill(stage, name):
    stage.processes[name].kill()
    stage.processes[name].wait()


def post(url, data):
    """True if it was taken. False: nobody knows."""
    try:
        return request(url, data, timeout=5)[0] == 200
    except OSError:
        return False


def incidents(url, state="all"):
    return json.loads(http(f"{url}/api/v1/incidents?state={state}"))["data"]["incidents"]


def killed_at_random_moments(stage):
    try:
        kills.killed_at_random_moments(stage, ARGUMENTS.kills, ARGUMENTS.seed)
    except kills.SlowDisk as reason:
        # What a process wrote outlives it in memory as well.
        print(f"      {reason}: once more in memory", flush=True)
        with Stage(stage.binary, "/dev/shm") as memory:
            kills.killed_at_random_moments(memory, ARGUMENTS.kills, ARGUMENTS.seed)


FLEET_RULES = """
groups:
  - name: g
    interval: 1s
    rules:
      - {alert: QueueDeep, expr: app_queue_depth > 10, labels: {severity: page}, annotations: {summary: deep}}
"""


def notifications(url, name):
    """The sum of a metric of the sending of alerts."""
    lines = http(url + "/metrics", headers={"Accept": "text/plain"}).splitlines()
    return sum(float(l.rsplit(" ", 1)[1]) for l in lines if l.startswith(f"sideband_notifications_{name}{{"))


def queue_length(url):
    return notifications(url, "queue_length")


def waits_on_the_disk(stage, name, ended):
    """One alert waits to be sent, and the ledger has it: a kill forgets nothing of it."""
    def rows():
        found = [r["value"] for r in records(stage, name) if r["table"] == "remote.notifications"]
        return [(r["ends_at"] <= r["updated_at"]) for r in found] == [ended]

    wait(f"an alert waits at {name}", rows)


def one_owner_for_an_incident(stage):
    """Three evaluate, one pages; each of the four is killed in turn."""
    inbox = Inbox()
    app = Server(lambda *_: (200, {"Content-Type": "text/plain"}, f"app_queue_depth {app.depth}\n".encode()))
    app.depth = 1
    stage.file("paging/paging.yml", paging(inbox, ack=8, timeout=10, group_by="alertname, job", group_wait="1s"))
    configs = {"paging": CONFIG}
    urls = {"paging": stage.sideband(configs["paging"], name="paging")}
    pods = ["pod-1", "pod-2", "pod-3"]
    for pod in pods:
        stage.file(f"{pod}/rules.yml", FLEET_RULES)
        configs[pod] = f"""
global: {{scrape_interval: 1s, scrape_timeout: 900ms, evaluation_interval: 1s, external_labels: {{pod: {pod}}}}}
rule_files: [rules.yml]
alerting:
  alertmanagers: [{{static_configs: [{{targets: ["{urls['paging'].removeprefix('http://')}"]}}]}}]
scrape_configs:
  - job_name: app
    static_configs: [{{targets: ["{app.address}"]}}]
host: {{enabled: false}}
"""
        urls[pod] = stage.sideband(configs[pod], name=pod)
    everybody = [*pods, "paging"]

    def again(name):
        kill(stage, name)
        restart(stage, name, urls[name], configs[name])

    def pods_of(state):
        alerts = json.loads(http(urls["paging"] + "/api/v2/alerts"))
        return sorted(a["labels"]["pod"] for a in alerts if a["status"]["state"] == state)

    def one(state):
        # The paging one may be starting.
        found = incidents(urls["paging"])
        expect(len(found) == 1, f"one incident: {found}")
        return found[0]["state"] == state and found[0]

    app.depth = 20
    wait("the first page", lambda: inbox.find("a"))
    wait("all three alerts are there", lambda: pods_of("active") == pods)
    for name in everybody:
        again(name)
    wait("the second page", lambda: inbox.find("b"))
    gap = inbox.find("b")[0]["at"] - moment(inbox.find("a")[0]["message"]["incident"]["triggeredAt"])
    expect(gap >= 7.99, f"the backup was paged after {gap:.2f} s")
    incident = wait("one incident", lambda: one("triggered"))
    wait("the acknowledgement", lambda: post(f"{urls['paging']}/api/v1/incidents/{incident['id']}/ack", {"by": "ann"}))
    for name in everybody:
        again(name)
        wait(f"acknowledged after the end of {name}", lambda: one("acknowledged"))
    wait("all three alerts are there again", lambda: pods_of("active") == pods)
    for pod in pods:
        wait(f"{pod} has said again that it fires", lambda: notifications(urls[pod], "sent_total") >= 1)
        wait(f"the queue of {pod} is empty", lambda: queue_length(urls[pod]) == 0)

    # The end, of which nobody could be told at the time; two of those who know it are killed.
    kill(stage, "paging")
    app.depth = 2
    for pod in pods:
        waits_on_the_disk(stage, pod, ended=True)
    for pod in pods[:2]:
        again(pod)
        expect(queue_length(urls[pod]) == 1, f"{pod} has forgotten the end")
    expect(not inbox.find("a", "resolved"), "told of the end too early")
    restart(stage, "paging", urls["paging"], configs["paging"])
    wait("resolved", lambda: one("resolved"))
    wait("both are told of the end", lambda: inbox.find("a", "resolved") and inbox.find("b", "resolved"))
    # A kill between a page and the note that it arrived sends it again, under its key.
    keys = lambda to, status="firing": {e["key"] for e in inbox.find(to, status)}
    expect((len(keys("a")), len(keys("b"))) == (1, 1), f"one page a step: {keys('a')}, {keys('b')}")
    expect((len(keys("a", "resolved")), len(keys("b", "resolved"))) == (1, 1), "one end each")

    # Not resolved before the last of the three is.
    history = json.dumps(incidents(urls["paging"])[0])
    expect("resolved" in history, history)

    # It fires again while the paging one is away: so soon after the end, that reopens the incident, and pages.
    kill(stage, "paging")
    app.depth = 30
    for pod in pods:
        waits_on_the_disk(stage, pod, ended=False)
    again(pods[0])
    restart(stage, "paging", urls["paging"], configs["paging"])
    wait("the page of the reopened incident", lambda: len(keys("a")) == 2)
    found = incidents(urls["paging"])
    expect([i["id"] for i in found] == [incident["id"]], f"one incident, reopened: {found}")


SEVERAL_RULES = """
groups:
  - name: g
    interval: 1s
    rules:
      - {alert: Deep, expr: app_depth > 10, labels: {severity: page}}
"""


def slow_and_refusing_receivers_hold_nobody(stage):
    """A live receiver beside one that hangs, one that breaks, and one that refuses a single alert of many."""
    heard = {name: [] for name in ("live", "hanging", "limited", "choosy")}
    limited_at = []

    def remember(name, body):
        heard[name].extend((a["labels"]["n"], a["endsAt"], time.time()) for a in json.loads(body))
        return 200, {}, b""

    def hanging(_path, _method, _headers, body):
        if not server_state["well"]:
            time.sleep(20)
            return 503, {}, b""
        time.sleep(1)
        return remember("hanging", body)

    def limited(_path, _method, _headers, body):
        limited_at.append(time.time())
        if len(limited_at) == 1:
            return 429, {"Retry-After": "3"}, b""
        return remember("limited", body)

    def choosy(_path, _method, _headers, body):
        if any(a["labels"]["n"] == "7" for a in json.loads(body)):
            return 400, {}, b"seven is no good"
        return remember("choosy", body)

    server_state = {"well": False}
    servers = {"live": Server(lambda _p, _m, _h, body: remember("live", body)), "hanging": Server(hanging),
               "limited": Server(limited), "choosy": Server(choosy)}
    app = Server(lambda *_: (200, {"Content-Type": "text/plain"}, "".join(
        f'app_depth{{n="{n}"}} {app.depth}\n' for n in range(200)).encode()))
    app.depth = 1
    stage.file("sideband/rules.yml", SEVERAL_RULES)
    targets = json.dumps([s.address for s in servers.values()] + [f"127.0.0.1:{free_port()}"])
    url = stage.sideband(f"""
global: {{scrape_interval: 1s, scrape_timeout: 900ms, evaluation_interval: 1s}}
rule_files: [rules.yml]
alerting:
  alertmanagers: [{{static_configs: [{{targets: {targets}}}], timeout: 2s}}]
scrape_configs:
  - job_name: app
    static_configs: [{{targets: ["{app.address}"]}}]
host: {{enabled: false}}
""")
    app.depth = 20
    numbers = lambda name: {n for n, *_ in heard[name]}
    wait("the live one has all", lambda: len(numbers("live")) == 200)
    wait("the choosy one has all but one", lambda: len(numbers("choosy")) == 199)
    wait("the limited one has all", lambda: len(numbers("limited")) == 200)
    expect(limited_at[1] - limited_at[0] >= 2.99, f"Retry-After: {limited_at[1] - limited_at[0]:.2f} s")
    expect(not heard["hanging"], "the hanging one had nothing yet")
    page = http(url + "/metrics", headers={"Accept": "text/plain"})
    address = servers["choosy"].address
    expect(f'sideband_notifications_dropped_total{{alertmanager="http://{address}/api/v2/alerts",reason="refused"}} 1' in page,
           [l for l in page.splitlines() if "dropped" in l])
    # A reload keeps what waits, and so does a good end.
    server_state["well"] = True
    app.depth = 1
    path = stage.dir / "sideband/sideband.yml"
    path.write_text(path.read_text().replace("timeout: 2s}", "timeout: 6s}"))
    ended = lambda name: {n for n, ends, at in heard[name] if moment(ends) < at}
    wait("the live one has heard all ends", lambda: len(ended("live")) == 200)
    wait("the hanging one has heard all ends", lambda: len(ended("hanging")) == 200)


def garbage_and_slow_bodies_harm_nobody(stage):
    inbox = Inbox()
    stage.file("sideband/paging.yml", paging(inbox, 60))
    url = stage.sideband(CONFIG)
    alerts, host = url + "/api/v2/alerts", url.removeprefix("http://").split(":")
    good = {"labels": {"alertname": "Good"}}
    # Bodies that trickle: headers that promise more than comes, a byte now and then.
    slow = []
    for n in range(60):
        s = socket.create_connection((host[0], int(host[1])))
        s.sendall(b"POST /api/v2/alerts HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
        if n % 2:
            s.sendall(b"Content-Length: 1000\r\n\r\n[")
        slow.append(s)
    for what, body, statuses in (
        ("nothing", b"", (400, 422)),
        ("no JSON", b"\x00\xff\xfe{{{{", (400, 422)),
        ("half of it", json.dumps([good]).encode()[:-3], (400, 422)),
        ("an object", b"{}", (400, 422)),
        ("null", b"null", (400, 422)),
        ("deep", b"[" * 100_000, (400, 422)),
        ("no labels", b'[{"labels": {}}]', (400, 422)),
        ("labels that are none", b'[{"labels": [1]}]', (400, 422)),
        ("a value that is none", b'[{"labels": {"alertname": 3}}]', (400, 422)),
        ("a time that is none", b'[{"labels": {"alertname": "x"}, "startsAt": "yesterday"}]', (400, 422)),
        ("a time out of this world", b'[{"labels": {"alertname": "x"}, "endsAt": "999999-01-01T00:00:00Z"}]', (400, 422)),
        ("an end before the start", b'[{"labels": {"alertname": "x"}, "startsAt": "2026-01-02T00:00:00Z", "endsAt": "2026-01-01T00:00:00Z"}]', (400, 422)),
        ("a huge body", b"[" + b" " * (64 << 20) + b"]", (413, None)),
        ("a name that is empty", b'[{"labels": {"": "x", "alertname": "y"}}]', (400, 422)),
    ):
        try:
            status = request(alerts, body, {"Content-Type": "application/json"}, method="POST")[0]
        except OSError:
            status = None  # it may close the connection when it has seen enough
        expect(status in statuses, f"{what}: {status}")
    # A bad one among good ones: the good ones count, and the sender hears of the other.
    status, body = send_alerts(url, [good, {"labels": {}}])
    expect(status == 400 and "label" in body, f"{status} {body}")
    wait("the good one is paged", lambda: inbox.find("a"))
    for s in slow:
        try:
            s.sendall(b" ")
        except OSError:
            pass
    expect(send_alerts(url, [{"labels": {"alertname": "Also"}}])[0] == 200, "still taken")
    for s in slow:
        s.close()
    listed = {a["labels"]["alertname"] for a in json.loads(http(alerts))}
    expect(listed == {"Good", "Also"}, str(listed))
    rss = int(Path(f"/proc/{stage.processes['sideband'].pid}/statm").read_text().split()[1]) * 4096
    expect(rss < 150 << 20, f"{rss >> 20} MiB resident")


def announced(url, path, length):
    """The status for a body of this length that is only announced."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=120) as s:
        s.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n".encode())
        return int(s.recv(4096).split()[1])


def ten_thousand_alerts_in_one_request(stage):
    inbox = Inbox()
    stage.file("sideband/paging.yml", paging(inbox, 60))
    url = stage.sideband(CONFIG)
    alerts = url + "/api/v2/alerts"
    text = "what happened, where, and what is to be done about it " * 2
    began = time.time()
    storm = [{"labels": {"alertname": "Storm", "instance": f"host-{n}", "severity": "page"}, "annotations": {"summary": text}} for n in range(10_000)]
    # Not again and again: 503 says that they are being taken, only not within 8 s.
    status, body, _ = request(alerts, storm)
    expect(status in (200, 503), f"{status} {body}")
    page = wait("one page of all", lambda: inbox.find("a"))[0]
    print(f"      {len(json.dumps(storm)) >> 20} MiB taken, and the page sent, in {page['at'] - began:.2f} s", flush=True)
    expect(len(page["message"]["alerts"]) + page["message"]["truncatedAlerts"] == 10_000, f"{page['message']['truncatedAlerts']} truncated")
    expect(len(json.loads(http(alerts))) == 10_000, "all are known")
    status, body = send_alerts(url, [{"labels": {"alertname": "Flood", "n": str(n)}} for n in range(50_001)])
    expect(status == 400 and "50000" in body, f"{status} {body}")
    for path, mebibytes in (("/api/v2/alerts", 17), ("/api/v1/incidents/1/ack", 2)):
        expect(announced(url, path, mebibytes << 20) == 413, f"{mebibytes} MiB for {path}")
    # Several at once wait for each other; a small one passes by.
    threads = [threading.Thread(target=request, args=(alerts, storm)) for _ in range(4)]
    for t in threads:
        t.start()
    expect(send_alerts(url, [{"labels": {"alertname": "Small"}}])[0] == 200, "a small one")
    for t in threads:
        t.join()
    rss = int(Path(f"/proc/{stage.processes['sideband'].pid}/statm").read_text().split()[1]) * 4096
    print(f"      {rss >> 20} MiB resident afterwards", flush=True)
    expect(rss < 250 << 20, f"{rss >> 20} MiB resident")


TESTS = [one_owner_for_an_incident, slow_and_refusing_receivers_hold_nobody, garbage_and_slow_bodies_harm_nobody,
         ten_thousand_alerts_in_one_request, disk.a_full_disk,
         disk.a_disk_that_turns_read_only, disk.a_damaged_ledger, clock.the_wall_clock_jumps, killed_at_random_moments]

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--kills", type=int, default=20)
    # The same dice each time, unless another throw is asked for: --seed $RANDOM.
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("tests", nargs="*")
    ARGUMENTS = parser.parse_args()
    sys.exit(main(TESTS, ARGUMENTS.binary, ARGUMENTS.tests))
