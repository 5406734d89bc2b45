"""Real Prometheus, promtool, Alertmanager, amtool and node_exporter against sideband.

    python tests/interop/run.py --binary target/debug/sideband [TEST...]
"""

import argparse
import itertools
import json
import random
import re
import shutil
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import timing  # noqa: E402
from stage import Inbox, Server, expect, free_port, http, main, query, request, send_alerts, wait  # noqa: E402

APP_METRICS = b"""# HELP app_requests_total Requests.
# TYPE app_requests_total counter
app_requests_total{path="/"} 42
# HELP app_queue_depth Waiting jobs.
# TYPE app_queue_depth gauge
app_queue_depth 3
"""

BANDS = """
groups:
  - name: bands
    interval: 1s
    rules:
      - sigma: QueueDepth
        expr: app_queue_depth
        baseline: {model: gaussian, window: 1m, lag: 2s, min_samples: 3, stddev_floor: 1}
        bands: [{sigma: 1, action: record}, {sigma: 3, for: 2s, labels: {severity: page}}]
        record: all
        annotations: {summary: queue, runbook_url: "https://runbooks.invalid/queue"}
"""


def run_prometheus(stage, config):
    port = free_port()
    path = stage.file("prometheus.yml", config)
    stage.start("prometheus", ["prometheus", f"--config.file={path}", f"--storage.tsdb.path={stage.dir / 'tsdb'}",
                               f"--web.listen-address=127.0.0.1:{port}"])
    url = f"http://127.0.0.1:{port}"
    wait("Prometheus is ready", lambda: request(url + "/-/ready")[0] == 200)
    return url


def app(stage):
    return Server(lambda *_: (200, {"Content-Type": "text/plain; version=0.0.4"}, APP_METRICS))


def sideband_config(app_address, pod, extra=""):
    return f"""
global:
  scrape_interval: 1s
  evaluation_interval: 1s
  external_labels: {{pod: {pod}}}
rule_files: [bands.yml]
scrape_configs:
  - job_name: app
    static_configs: [{{targets: ["{app_address}"]}}]
host: {{enabled: true}}
{extra}"""


def prometheus_scrapes_two_sidebands(stage):
    """honor_labels keeps the app's job and instance; external labels keep two sidebands apart."""
    target = app(stage)
    urls = []
    for pod in ("pod-a", "pod-b"):
        stage.file(f"{pod}/bands.yml", BANDS)
        urls.append(stage.sideband(sideband_config(target.address, pod), name=pod))
    addresses = ", ".join(f'"{u.removeprefix("http://")}"' for u in urls)
    prometheus = run_prometheus(stage, f"""
global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: sideband
    honor_labels: true
    static_configs: [{{targets: [{addresses}]}}]
""")
    for expr in ("app_requests_total", "node_memory_MemTotal_bytes", 'node_cpu_seconds_total{cpu="0",mode="user"}',
                 "sideband_sigma_center", 'up{job="app"}'):
        rows = wait(f"{expr} of both pods", lambda: (r := query(prometheus, expr)) and len(r) >= 2 and r)
        pods = sorted(r["metric"]["pod"] for r in rows)
        expect(pods == ["pod-a", "pod-b"], f"{expr}: pods {pods} in {rows}")
    # A scrape may come too late, and then nothing is there for a second.
    row = wait("the app of one", lambda: query(prometheus, 'app_requests_total{pod="pod-a"}'))[0]
    expect(row["metric"]["job"] == "app" and row["metric"]["instance"] == target.address, str(row))
    expect(row["value"][1] == "42", str(row))
    wait("both are up", lambda: [r["value"][1] for r in query(prometheus, 'up{job="sideband"}')] == ["1", "1"])
    expect("out of order" not in stage.log("prometheus").lower(), "Prometheus complains of order")
    expect("duplicate" not in stage.log("prometheus").lower(), "Prometheus complains of duplicates")


def a_new_pod_learns_from_prometheus(stage):
    """rules.warm_start: what the pod before it recorded is in the central Prometheus, under another pod label."""
    target = app(stage)
    rules = BANDS.replace("window: 1m, lag: 2s, min_samples: 3", "window: 5m, lag: 2s, min_samples: 12")
    for pod in ("pod-a", "pod-b"):
        stage.file(f"{pod}/bands.yml", rules)
    old = stage.sideband(sideband_config(target.address, "pod-a"), name="pod-a")
    prometheus = run_prometheus(stage, f"""
global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: sideband
    honor_labels: true
    static_configs: [{{targets: ["{old.removeprefix("http://")}"]}}]
""")
    wait("Prometheus has a history", lambda: float(next(iter(query(prometheus, "count_over_time(app_queue_depth[5m])")), {"value": [0, 0]})["value"][1]) > 18)
    extra = f'rules: {{warm_start: {{url: "{prometheus}"}}}}'
    new = stage.sideband(sideband_config(target.address, "pod-b", extra), name="pod-b")
    began = time.time()
    ready = lambda: (r := query(new, "sideband_sigma_ready")) and r[0]["value"][1] == "1"
    wait("the new pod is warm", ready)
    expect("baselines_warmed_total 1" in http(new + "/metrics"), "it was Prometheus that told")
    print(f"      warm {time.time() - began:.1f} s after the start, {query(new, 'sideband_sigma_center')[0]['value'][1]} is normal")


def promtool_accepts_the_self_metrics(stage):
    target = app(stage)
    stage.file("sideband/bands.yml", BANDS)
    url = stage.sideband(sideband_config(target.address, "pod-a"))
    wait("a rule was evaluated", lambda: query(url, "sideband_sigma_center"))
    text = http(url + "/metrics", headers={"Accept": "text/plain;version=0.0.4"})
    own = [line for line in text.splitlines() if any(w.startswith(("sideband_", "process_", "promhttp_"))
                                                     for w in line.removeprefix("# HELP ").removeprefix("# TYPE ").split()[:1])]
    expect(len(own) > 20, f"only {len(own)} lines of self-metrics")
    result = subprocess.run(["promtool", "check", "metrics"], input="\n".join(own) + "\n", capture_output=True, text=True)
    expect(result.returncode == 0, f"promtool check metrics: {result.stdout}{result.stderr}")


def promtool_queries_sideband(stage):
    target = app(stage)
    stage.file("sideband/bands.yml", BANDS)
    url = stage.sideband(sideband_config(target.address, "pod-a"))
    wait("the app is scraped", lambda: query(url, 'up{job="app"}'))
    for command, part in (
        (["query", "instant", url, "app_requests_total"], "42"),
        (["query", "range", "--start", str(int(time.time()) - 60), "--step", "5s", url, "up"], "up"),
        (["query", "labels", url, "job"], "app"),
        (["query", "series", "--match", "up", url], "up"),
    ):
        # promtool asks in whole seconds, so the first sample may still lie after its range.
        wait(f"promtool {' '.join(command)} shows {part}", lambda: part in subprocess.run(
            ["promtool", *command], capture_output=True, text=True, check=True).stdout)


ROUTE = """
route:
  receiver: pager
  group_by: [alertname]
  group_wait: 1s
  group_interval: 2s
  repeat_interval: 1h
receivers:
  - name: pager
    webhook_configs: [{{url: "{url}", send_resolved: true}}]
"""


def alertmanager_and_sideband_send_the_same_webhook(stage):
    theirs, ours = Inbox(), Inbox()
    alertmanager = run_alertmanager(stage, ROUTE.format(url=f"http://{theirs.address}/hook"))
    sideband = paging_sideband(stage, ours, flags=["--web.external-url=http://alerts.invalid"])
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    alerts = [{"labels": {"alertname": "Slow", "severity": "page", "path": path},
               "annotations": {"summary": f"{path} is slow", "runbook_url": "https://r.invalid"},
               "startsAt": now, "generatorURL": "http://alerts.invalid/graph?g0.expr=up"} for path in ("/b", "/a")]

    def bodies(status):
        for url in (alertmanager, sideband):
            code, body = send_alerts(url, alerts)
            expect(code == 200, f"{url}: {code} {body}")
        found = []
        for inbox in (theirs, ours):
            found.append(wait(f"a {status} webhook", lambda: inbox.find("hook", status))[-1]["message"])
        return found

    def same(their, our, where):
        if isinstance(their, dict):
            for key, value in their.items():
                expect(key in our, f"{where}.{key} is missing in ours: {our}")
                same(value, our[key], f"{where}.{key}")
        elif isinstance(their, list):
            expect(len(their) == len(our), f"{where}: {len(their)} and {len(our)}")
            for i, (a, b) in enumerate(zip(their, our)):
                same(a, b, f"{where}[{i}]")
        else:
            expect(their == our, f"{where}: theirs {their!r}, ours {our!r}")

    same(*bodies("firing"), "body")
    for alert in alerts:
        alert["endsAt"] = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    same(*bodies("resolved"), "body")


def alertmanager_and_sideband_notify_alike(stage):
    """What is told over time, by sequences that run at once."""
    inboxes = Inbox(), Inbox()
    alertmanager = run_alertmanager(stage, timing.config(inboxes[0]))
    stage.file("sideband/paging.yml", timing.config(inboxes[1]))
    sideband = stage.sideband("scrape_configs: []\npaging_file: paging.yml\nhost: {enabled: false}\n",
                              flags=["--web.external-url=http://alerts.invalid", "--web.enable-lifecycle"])
    print(f"      {timing.run((alertmanager, sideband), inboxes)} messages compared")


def run_alertmanager(stage, config, name="alertmanager"):
    port = free_port()
    path = stage.file(f"{name}.yml", config)
    stage.start(name, [
        "prometheus-alertmanager", f"--config.file={path}", f"--storage.path={stage.dir / name}",
        f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=", "--web.external-url=http://alerts.invalid"])
    url = f"http://127.0.0.1:{port}"
    wait("Alertmanager is ready", lambda: request(url + "/-/ready")[0] == 200)
    return url


def amtool(url, *args, code=0):
    """The output of amtool against a server."""
    command = ["amtool", *([f"--alertmanager.url={url}"] if url else []), "--no-version-check", *args]
    # It reads a list of silences from a pipe, if there is one.
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, stdin=subprocess.DEVNULL)
    expect(result.returncode == code, f"{' '.join(args)}: {result.returncode} {result.stdout}{result.stderr}")
    return result.stdout


def paging_sideband(stage, inbox, name="sideband", **options):
    stage.file(f"{name}/paging.yml", ROUTE.format(url=f"http://{inbox.address}/hook"))
    return stage.sideband("scrape_configs: []\npaging_file: paging.yml\nhost: {enabled: false}\n", name=name, **options)


def amtool_works_against_sideband(stage):
    inbox = Inbox()
    url = paging_sideband(stage, inbox)
    version = subprocess.run(["amtool", f"--alertmanager.url={url}", "alert"], capture_output=True, text=True)
    expect(version.returncode == 0, f"with its look at the version: {version.stderr}")
    # Alerts.
    amtool(url, "alert", "add", "Slow", "severity=page", "path=/a", "--annotation=summary=slow")
    amtool(url, "alert", "add", "Broken", "severity=page", "path=/b", "--generator-url=http://g.invalid/")
    listed = wait("both alerts are listed", lambda: (o := amtool(url, "alert", "query")) and "Slow" in o and "Broken" in o and o)
    expect("active" in listed, listed)
    expect("Slow" in amtool(url, "alert", "query", "path=/a") and "Slow" not in amtool(url, "alert", "query", "path=/b"), "filter")
    expect("Slow" not in amtool(url, "alert", "query", 'alertname=~"Bro.*"'), "a filter by pattern")
    expect("Slow" in amtool(url, "alert", "query", "--receiver=pag.*"), "by receiver")
    extended = amtool(url, "-o", "extended", "alert", "query", "Broken")
    expect("http://g.invalid/" in extended and 'path="/b"' in extended, extended)
    rows = json.loads(amtool(url, "-o", "json", "alert", "query"))
    expect({r["labels"]["alertname"] for r in rows} == {"Slow", "Broken"}, str(rows))
    expect(all(r["status"]["state"] == "active" and r["receivers"] == [{"name": "pager"}] and r["fingerprint"] for r in rows), str(rows))
    wait("both are paged", lambda: {a["labels"]["alertname"] for e in inbox.find("hook") for a in e["message"]["alerts"]} == {"Slow", "Broken"})
    # Silences.
    identity = amtool(url, "silence", "add", "alertname=Slow", "path=~/.*", "--comment=known", "--author=ann", "--duration=1h").strip()
    expect(len(identity) > 8, identity)
    listed = amtool(url, "silence", "query")
    expect(identity in listed and "known" in listed and "ann" in listed, listed)
    expect(identity in amtool(url, "silence", "query", "-q", "alertname=Slow"), "query by matcher")
    expect(identity not in amtool(url, "silence", "query", "-q", "alertname=Other"), "query by another matcher")
    expect(identity in amtool(url, "-o", "extended", "silence", "query"), "extended")
    wait("the alert is silenced", lambda: "Slow" not in amtool(url, "alert", "query"))
    expect("Slow" in amtool(url, "alert", "query", "--silenced"), "--silenced")
    row = next(r for r in json.loads(amtool(url, "-o", "json", "alert", "query", "--silenced")) if r["labels"]["alertname"] == "Slow")
    expect(row["status"]["state"] == "suppressed" and row["status"]["silencedBy"] == [identity], str(row))
    updated = amtool(url, "silence", "update", "--duration=2h", "--comment=longer", identity)
    expect("longer" in updated, updated)
    # Comments and ends may be changed in place; the list may name it by a new identity.
    identity = amtool(url, "silence", "query", "-q").strip().splitlines()[0]
    exported = stage.file("silences.json", amtool(url, "-o", "json", "silence", "query"))
    amtool(url, "silence", "expire", identity)
    wait("the silence has ended", lambda: identity not in amtool(url, "silence", "query", "-q"))
    expect(identity in amtool(url, "silence", "query", "-q", "--expired"), "--expired")
    wait("the alert is active", lambda: "Slow" in amtool(url, "alert", "query"))
    amtool(url, "silence", "import", str(exported))
    imported = wait("the silence is back", lambda: amtool(url, "silence", "query", "-q").split())
    expect(len(imported) == 1, str(imported))
    # Refusals are said in words.
    amtool(url, "silence", "expire", "00000000-0000-4000-8000-000000000000", code=1)
    # The server itself.
    shown = amtool(url, "config", "show")
    expect("group_interval: 2s" in shown and "receiver: pager" in shown, shown)
    routes = amtool(url, "config", "routes")
    expect("pager" in routes, routes)
    expect(amtool(url, "config", "routes", "test", "alertname=Slow").strip() == "pager", "routes test by the API")
    status = amtool(url, "cluster", "show")
    expect("disabled" in status, status)
    answer = json.loads(http(url + "/api/v2/status"))
    expect(set(answer) >= {"cluster", "config", "uptime", "versionInfo"}, str(answer))
    expect(set(answer["versionInfo"]) == {"version", "revision", "branch", "buildUser", "buildDate", "goVersion"}, str(answer))


def alertmanager_and_sideband_answer_alike(stage):
    """The same requests to /api/v2 of both: the same codes, and the same alerts and silences afterwards."""
    inbox = Inbox()
    ours = paging_sideband(stage, inbox)
    theirs = run_alertmanager(stage, ROUTE.format(url=f"http://{inbox.address}/hook"))

    def moment(seconds):
        return datetime.fromtimestamp(time.time() + seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")

    def both(method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        answers = [request(url + path, data, {"Content-Type": "application/json"} if data else {}, method=method)
                   for url in (theirs, ours)]
        codes = [a[0] for a in answers]
        # Older ones answer some mistakes as their own.
        expect(codes[0] == codes[1] or codes[0] >= 500 and codes[1] >= 400, f"{method} {path} {body}: theirs and ours {codes}: {[a[1][:200] for a in answers]}")
        return [json.loads(a[1]) if a[0] == 200 and a[1] else None for a in answers]

    for alerts in (
        [{"labels": {"alertname": "a", "x": ""}, "annotations": {"s": "t"}, "generatorURL": "http://g.invalid/"}],
        [{"labels": {"alertname": "b"}, "startsAt": moment(-60), "endsAt": moment(600)}],
        [{"labels": {"alertname": "c"}, "startsAt": moment(60), "endsAt": moment(-60)}],
        [{"labels": {"alertname": "d"}, "annotations": None}], [{"labels": {"alertname": "e"}, "extra": 1}],
        [{}], [{"labels": {}}], [{"labels": {"": "x"}}], [{"labels": {"x": ""}}], [{"labels": {"x": 1}}], [], {}, None, "x",
        [{"labels": {"alertname": "f"}, "startsAt": "yesterday"}],
        [{"labels": {"alertname": "g"}}, {"labels": {}}],
    ):
        both("POST", "/api/v2/alerts", alerts)

    def matcher(**fields):
        return {"name": "alertname", "value": "z", "isRegex": False, "isEqual": True} | fields

    def silence(**fields):
        whole = {"matchers": [matcher()], "startsAt": moment(0), "endsAt": moment(3600), "createdBy": "me", "comment": "c"}
        return {k: v for k, v in (whole | fields).items() if v != "leave out"}

    nobody = "00000000-0000-4000-8000-000000000000"
    for body in (
        silence(), silence(startsAt=moment(1200), endsAt=moment(2400)), silence(endsAt=moment(600)),
        *(silence(**{key: "leave out"}) for key in silence()), silence(matchers=[]), silence(matchers=None),
        silence(comment=""), silence(createdBy=""), silence(endsAt=moment(-10)), silence(startsAt=moment(100), endsAt=moment(50)),
        silence(matchers=[matcher(value="")]), silence(matchers=[matcher(value=".*", isRegex=True)]),
        silence(matchers=[matcher(value="[", isRegex=True)]), silence(matchers=[matcher(name="")]),
        silence(matchers=[{"name": "a", "value": "b"}]), silence(matchers=[{"name": "a", "isRegex": False}]),
        silence(matchers=[{"name": "a", "value": "b", "isRegex": False}]), silence(matchers=[matcher(value=5)]),
        silence(id=nobody), silence(id=""), {}, [], None, "x", silence(extra=1),
    ):
        both("POST", "/api/v2/silences", body)
    for path in ("/api/v2/status", "/api/v2/receivers", "/api/v2/alerts?filter=alertname=a", "/api/v2/alerts?filter=bad",
                 "/api/v2/alerts?filter=a=~%22%5B%22", "/api/v2/alerts?receiver=%5B", "/api/v2/alerts?active=1&silenced=no",
                 "/api/v2/silences?filter=bad", "/api/v2/silence/x", f"/api/v2/silence/{nobody}", "/api/v2/nothing"):
        both("GET", path)
    both("DELETE", "/api/v2/silence/x")
    both("DELETE", f"/api/v2/silence/{nobody}")
    # What may change in place keeps its id, and what may not ends.
    for change in ({"comment": "new"}, {"endsAt": moment(7200)}, {"matchers": [matcher(value="y")]}, {"startsAt": moment(60)}):
        kept = []
        for url in (theirs, ours):
            def post(body):
                return json.loads(request(url + "/api/v2/silences", json.dumps(body).encode(), {"Content-Type": "application/json"})[1])["silenceID"]
            first = silence()
            identity = post(first)
            # It began when it was taken, which may be in the next second.
            began = json.loads(http(f"{url}/api/v2/silence/{identity}"))["startsAt"]
            again = post(first | {"startsAt": began} | change | {"id": identity})
            state = json.loads(http(f"{url}/api/v2/silence/{identity}"))["status"]["state"]
            kept.append((again == identity, state))
            for gone in {identity, again}:
                request(f"{url}/api/v2/silence/{gone}", method="DELETE")
        expect(kept[0] == kept[1], f"{change}: theirs and ours {kept}")

    def alerts():
        lists = both("GET", "/api/v2/alerts")
        return [[(a["fingerprint"], a["labels"], a["annotations"], sorted(a), a["status"]["state"]) for a in part] for part in lists]

    wait("the same alerts in the same order", lambda: (lambda l: l[0] and l[0] == l[1])(alerts()))
    for path in ("/api/v2/silences", "/api/v2/silences?filter=alertname=z", "/api/v2/silences?filter=alertname=~%22.*%22"):
        lists = [[(s["status"]["state"], s["matchers"], s["comment"]) for s in part if s["status"]["state"] != "expired"]
                 for part in both("GET", path)]
        expect([s[0] for s in lists[0]] == [s[0] for s in lists[1]], f"{path}: {lists}")


def amtool_and_sideband_choose_the_same_receivers(stage):
    """`amtool config routes test` against `sideband check routes`, over every combination of labels."""
    ours = Path(__file__).resolve().parent / "routes.yml"
    check = amtool(None, "check-config", str(ours))
    expect("SUCCESS" in check, check)
    values = {"service": ["", "files", "db", "web"], "severity": ["", "page", "critical", "pages"],
              "team": ["", "a", "bc"], "env": ["", "dev"], "owner": ["", "team-7", "team-x"],
              "region": ["eu"], "alertname": ["WatchDog", "Slow"]}
    combinations = list(itertools.product(*values.values()))
    # A process for each is slow: every seventh, which meets all pairs of neighbours.
    chosen, differing = set(), []
    for combination in combinations[::7]:
        labels = [f"{n}={v}" for n, v in zip(values, combination) if v]
        theirs = amtool(None, "config", "routes", "test", f"--config.file={ours}", *labels).strip()
        mine = subprocess.run([stage.binary, "check", "routes", f"--config.file={ours}", *labels], capture_output=True, text=True)
        expect(mine.returncode == 0, mine.stderr)
        chosen.add(theirs)
        if mine.stdout.strip() != theirs:
            differing.append((labels, theirs, mine.stdout.strip()))
    expect(not differing, f"{len(differing)} differ (labels, theirs, ours): {differing[:5]}")
    expect(len(chosen) >= 12, f"the table tells too little apart: {chosen}")
    right = subprocess.run([stage.binary, "check", "routes", f"--config.file={ours}", "--verify.receivers=files-pager",
                            "service=files", "severity=page"], capture_output=True, text=True)
    wrong = subprocess.run([stage.binary, "check", "routes", f"--config.file={ours}", "--verify.receivers=files",
                            "service=files", "severity=page"], capture_output=True, text=True)
    expect(right.returncode == 0 and wrong.returncode == 1, f"{right} {wrong}")


QUEUE_RULE = """
groups:
  - name: g
    interval: 1s
    rules:
      - {alert: QueueDeep, expr: app_queue_depth > 10, labels: {severity: page}, annotations: {summary: deep}}
"""


def changing_app(stage):
    """An app whose queue's depth is `depth`."""
    def page(*_):
        return 200, {"Content-Type": "text/plain; version=0.0.4"}, f"app_queue_depth {server.depth}\n".encode()
    server = Server(page)
    server.depth = 1
    return server


def prometheus_sends_its_alerts_here(stage):
    inbox, target = Inbox(), changing_app(stage)
    url = paging_sideband(stage, inbox)
    rules = stage.file("rules.yml", QUEUE_RULE)
    prometheus = run_prometheus(stage, f"""
global: {{scrape_interval: 1s, evaluation_interval: 1s, external_labels: {{cluster: one}}}}
rule_files: [{rules}]
alerting:
  alertmanagers: [{{static_configs: [{{targets: ["{url.removeprefix('http://')}"]}}]}}]
scrape_configs:
  - job_name: app
    static_configs: [{{targets: ["{target.address}"]}}]
""")
    target.depth = 20
    page = wait("the page", lambda: inbox.find("hook"))[0]["message"]
    labels = page["alerts"][0]["labels"]
    expect(labels == {"alertname": "QueueDeep", "cluster": "one", "severity": "page", "job": "app", "instance": target.address}, str(labels))
    expect(page["alerts"][0]["generatorURL"].endswith("g0.tab=1"), str(page["alerts"][0]))
    target.depth = 2
    wait("the end", lambda: inbox.find("hook", "resolved"))
    expect(len(inbox.find("hook")) == 1, "one page")
    active = json.loads(http(prometheus + "/api/v1/alertmanagers"))["data"]["activeAlertmanagers"]
    expect(active == [{"url": url + "/api/v2/alerts"}], str(active))
    failed = query(prometheus, "prometheus_notifications_errors_total > 0")
    expect(not failed, str(failed))


def evaluating_config(target, alerting):
    return f"""
global: {{scrape_interval: 1s, scrape_timeout: 900ms, evaluation_interval: 1s, external_labels: {{cluster: one}}}}
rule_files: [rules.yml]
{alerting}
scrape_configs:
  - job_name: app
    static_configs: [{{targets: ["{target.address}"]}}]
host: {{enabled: false}}
"""


def sideband_sends_its_alerts_to_alertmanager(stage):
    """`alerting:`, with receivers from a file, relabelling, and a dead receiver beside the live one."""
    inbox, target = Inbox(), changing_app(stage)
    alertmanager = run_alertmanager(stage, ROUTE.format(url=f"http://{inbox.address}/hook"))
    dead = f"127.0.0.1:{free_port()}"
    stage.file("sideband/rules.yml", QUEUE_RULE)
    stage.file("sideband/peers.json", json.dumps([{"targets": [alertmanager.removeprefix("http://"), "ignored:9093"],
                                                   "labels": {"zone": "a"}}]))
    url = stage.sideband(evaluating_config(target, f"""
alerting:
  alert_relabel_configs: [{{action: labeldrop, regex: instance}}]
  alertmanagers:
    - file_sd_configs: [{{files: ["peer*.json"]}}]
      api_version: v2
      timeout: 5s
      relabel_configs: [{{source_labels: [__address__], regex: "ignored.*", action: drop}}]
      alert_relabel_configs: [{{target_label: via, replacement: file}}]
    - static_configs: [{{targets: ["{dead}"]}}]
      path_prefix: /alerts
"""))
    found = json.loads(http(url + "/api/v1/alertmanagers"))["data"]
    expect(sorted(a["url"] for a in found["activeAlertmanagers"]) == sorted([alertmanager + "/api/v2/alerts", f"http://{dead}/alerts/api/v2/alerts"]), str(found))
    expect(found["droppedAlertmanagers"] == [{"url": "http://ignored:9093/api/v2/alerts"}], str(found))
    target.depth = 20
    page = wait("the page by Alertmanager", lambda: inbox.find("hook"))[0]["message"]
    expect(page["alerts"][0]["labels"] == {"alertname": "QueueDeep", "cluster": "one", "severity": "page", "job": "app", "via": "file"}, str(page))
    target.depth = 2
    wait("the end by Alertmanager", lambda: inbox.find("hook", "resolved"))
    metrics = http(url + "/metrics", headers={"Accept": "text/plain"})
    for part in (f'sideband_notifications_sent_total{{alertmanager="{alertmanager}/api/v2/alerts"}}',
                 f'sideband_notifications_queue_length{{alertmanager="http://{dead}/alerts/api/v2/alerts"}} 1',
                 "sideband_notifications_alertmanagers_discovered 2", "sideband_notifications_durable 1",
                 f'sideband_notifications_dropped_total{{alertmanager="http://{dead}/alerts/api/v2/alerts",reason="queue_full"}} 0'):
        expect(part in metrics, f"{part} is not in {[l for l in metrics.splitlines() if 'notifications' in l]}")


def sideband_forwards_to_alertmanager_as_a_receiver(stage):
    inbox, target = Inbox(), changing_app(stage)
    alertmanager = run_alertmanager(stage, ROUTE.format(url=f"http://{inbox.address}/hook"))
    stage.file("sideband/rules.yml", QUEUE_RULE)
    stage.file("sideband/paging.yml", f"""
route: {{receiver: central, group_by: ['...'], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}
receivers:
  - name: central
    alertmanager_configs: [{{url: "{alertmanager}"}}]
""")
    stage.sideband(evaluating_config(target, "paging_file: paging.yml"))
    target.depth = 20
    page = wait("the page by Alertmanager", lambda: inbox.find("hook"))[0]["message"]
    labels = page["alerts"][0]["labels"]
    expect(labels["alertname"] == "QueueDeep" and labels["severity"] == "page", str(labels))
    expect("QueueDeep" in amtool(alertmanager, "alert", "query"), "Alertmanager has the alert")
    target.depth = 2
    wait("the end by Alertmanager", lambda: inbox.find("hook", "resolved"))


def node_exporter_agrees_on_the_host(stage):
    """The same names, types and label sets for what both collect."""
    port = free_port()
    stage.start("node_exporter", ["prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{port}",
                                  "--collector.disable-defaults", "--collector.cpu", "--collector.meminfo",
                                  "--collector.loadavg", "--collector.netdev", "--collector.diskstats"])
    wait("node_exporter answers", lambda: request(f"http://127.0.0.1:{port}/metrics")[0] == 200)
    stage.file("sideband/bands.yml", BANDS)
    url = stage.sideband(sideband_config("127.0.0.1:1", "pod-a"))
    wait("host metrics", lambda: query(url, "node_load1"))
    keep = ("node_cpu_seconds_total", "node_memory_", "node_load", "node_network_", "node_disk_")

    def families(text):
        types, names = {}, set()
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split()
                types[name] = kind
            elif line and not line.startswith("#"):
                names.add(line.split("{")[0].split(" ")[0])
        return {n: types.get(n) for n in names if n.startswith(keep)}

    theirs = families(http(f"http://127.0.0.1:{port}/metrics"))
    ours = families(http(url + "/metrics", headers={"Accept": "text/plain;version=0.0.4"}))
    # Which network counters there are depends on the exporter's version; the common core must agree.
    core = {n: t for n, t in theirs.items() if not n.startswith("node_network_") or n in ours}
    wrong = {n: (t, ours.get(n)) for n, t in core.items() if ours.get(n) != t}
    expect(len(core) > 50 and not wrong, f"{len(core)} families, differing (theirs, ours): {wrong}")


# Windows end between samples: of one exactly at the old end, Prometheus before 3.0 says that it is in, and Prometheus 3 (and sideband)
# that it is not.
EXPORTED = """
groups:
  - name: depth
    interval: 1m
    rules:
      - {record: "depth:mean", expr: "avg_over_time(depth[90s])"}
      - sigma: Depth
        expr: depth:mean
        direction: both
        min_deviation: 1
        keep_firing_for: 3m
        baseline: {model: gaussian, window: 3h59m30s, lag: 10m, min_samples: 60, stddev_floor: 0.2}
        bands:
          - {sigma: 2, for: 10m, labels: {severity: ticket}}
          - {sigma: 4, for: 5m, labels: {severity: page}}
        annotations: {summary: "{{ $value }} on {{ $labels.instance }}, band {{ $band }}"}
      - sigma: DepthRobust
        expr: depth
        direction: above
        baseline: {model: robust, window: 3h59m30s, lag: 10m, min_samples: 60}
        bands: [{sigma: 5, for: 2m, labels: {severity: page}}]
      - sigma: DepthNovel
        expr: depth
        baseline: {model: novelty, window: 30d}
        bands: [{sigma: 3, labels: {severity: page}}]
"""
MINUTES = 1300
# Instance, first and last minute, how far. The last one of a comes while the one before is still in the window.
EVENTS = [("a", 420, 450, 8), ("a", 760, 775, -8), ("a", 850, 862, 6), ("b", 500, 530, 9), ("b", 820, 820, 20), ("b", 1100, 1112, 9)]
ALONE = {"a": (420, 760), "b": (500, 820, 1100)}


def firing(command, rules, stage):
    """When which alert fires, by a program that runs promtool's unit tests: nothing is expected, so everything is told."""
    noise = random.Random(7)
    series = []
    for instance in "ab":
        values = [20 + noise.gauss(0, 1) + sum(by for i, first, last, by in EVENTS if i == instance and first <= minute <= last)
                  for minute in range(MINUTES)]
        series.append({"series": f'depth{{instance="{instance}"}}', "values": " ".join(f"{v:.4f}" for v in values)})
    checks = [{"expr": 'ALERTS{alertstate="firing"}', "eval_time": f"{minute}m"} for minute in range(MINUTES)]
    test = {"rule_files": [str(rules)], "evaluation_interval": "1m",
            "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": checks}]}
    path = stage.file("exported_test.yml", json.dumps(test))
    result = subprocess.run([*command, str(path)], capture_output=True, text=True, timeout=600)
    told, at = set(), None
    for line in (result.stdout + result.stderr).splitlines():
        if found := re.search(r"time: ((?:\d+[dhms]+)+)", line):
            units = {"d": 1440, "h": 60, "m": 1, "s": 0}
            at = sum(int(n) * units[u] for n, u in re.findall(r"(\d+)([dhms])", found[1]))
        for labels in re.findall(r"\{([^{}]*alertname[^{}]*)\}", line) if "got" in line else []:
            labels = dict(re.findall(r'(\w+)=\\*"(.*?)\\*"', labels))
            told.add((at, labels["alertname"], labels["band"], labels["instance"]))
    expect(at is not None, result.stdout + result.stderr)
    return told


def starts(told, name, band):
    """When it begins to fire, by instance."""
    return sorted((i, m) for m, n, b, i in told if (n, b) == (name, band) and (m - 1, n, b, i) not in told)


def prometheus_fires_as_sideband_does_on_exported_rules(stage):
    rules = stage.file("sigma.yml", EXPORTED)
    result = subprocess.run([str(stage.binary), "export", "rules", str(rules)], capture_output=True, text=True)
    expect(result.returncode == 0 and "not exported: the model novelty" in result.stderr, result.stderr)
    exported = stage.file("exported.yml", result.stdout)
    check = subprocess.run(["promtool", "check", "rules", str(exported)], capture_output=True, text=True)
    expect(check.returncode == 0, check.stdout + check.stderr)
    theirs = firing(["promtool", "test", "rules"], exported, stage)
    ours = firing([str(stage.binary), "test", "rules"], exported, stage)
    expect(len(theirs) > 50 and theirs == ours, f"{len(theirs)} by Prometheus, {len(ours)} here: {sorted(theirs ^ ours)[:10]}")
    # The sigma rules themselves: an event with a window of quiet before it begins within one evaluation of the exported rule's. One that
    # follows sooner is only seen by the sigma rule, which froze: the plain window learnt the one before.
    sigma = firing([str(stage.binary), "test", "rules"], rules, stage)
    for name, band in (("Depth", "4"), ("DepthRobust", "5")):
        plain, own = starts(theirs, name, band), starts(sigma, name, band)
        print(f"      {name}: begins, exported {plain}, sigma {own}")
        near = lambda a, b: a[0] == b[0] and abs(a[1] - b[1]) <= 1
        expect(len(plain) >= 3 and all(any(near(p, o) for o in own) for p in plain), f"{name}: exported {plain}, sigma {own}")
        missed = [o for o in own if not any(near(p, o) for p in plain)]
        expect(all(m not in range(first, first + 9) for i, m in missed for first in ALONE[i]), f"{name}: not exported {missed}")


TESTS = [prometheus_fires_as_sideband_does_on_exported_rules, prometheus_scrapes_two_sidebands, a_new_pod_learns_from_prometheus, promtool_accepts_the_self_metrics, promtool_queries_sideband,
         alertmanager_and_sideband_send_the_same_webhook, alertmanager_and_sideband_notify_alike, amtool_works_against_sideband, alertmanager_and_sideband_answer_alike,
         amtool_and_sideband_choose_the_same_receivers, prometheus_sends_its_alerts_here,
         sideband_sends_its_alerts_to_alertmanager, sideband_forwards_to_alertmanager_as_a_receiver, node_exporter_agrees_on_the_host]

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("tests", nargs="*")
    arguments = parser.parse_args()
    missing = [b for b in ("prometheus", "promtool", "prometheus-alertmanager", "amtool", "prometheus-node-exporter")
               if not shutil.which(b)]
    if missing:
        sys.exit(f"missing: {', '.join(missing)} (tests/interop/install.sh installs them)")
    sys.exit(main(TESTS, arguments.binary, arguments.tests))
