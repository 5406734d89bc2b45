"""The real binary against real processes: a Flask app under gunicorn, a pager, bad targets, kill -9.

    python tests/e2e/run.py --binary target/debug/sideband [TEST...]
"""

import argparse
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import feedback  # noqa: E402
import receivers  # noqa: E402
from stage import ROOT, Inbox, Server, expect, free_port, http, main, query, request, send_alerts, wait  # noqa: E402

GLOBAL = "global: {scrape_interval: 1s, scrape_timeout: 900ms, evaluation_interval: 1s}\n"
NO_HOST = "host: {enabled: false}\n"


def text_target(text):
    """A target that always answers this text; the text can be changed by assigning to `text`."""
    server = Server(lambda *_: (200, {"Content-Type": "text/plain; version=0.0.4"}, server.text.encode()))
    server.text = text
    return server


def job(name, *addresses):
    return f"  - job_name: {name}\n    static_configs: [{{targets: {json.dumps(list(addresses))}}}]\n"


def moment(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def value(url, expr):
    rows = query(url, expr)
    return float(rows[0]["value"][1]) if rows else None


def flask_app_is_scraped_and_served(stage):
    app = stage.flask_app()
    for _ in range(5):
        http(f"http://{app}/api/items")
    url = stage.sideband(GLOBAL + "scrape_configs:\n" + job("flask", app) + NO_HOST)
    wait("the app is up", lambda: value(url, 'up{job="flask"}') == 1)
    wait("its requests are seen", lambda: value(url, 'sum(flask_http_request_total{status="200"})') >= 6)
    for accept, kind in (("text/plain;version=0.0.4", "text/plain"), ("application/openmetrics-text;version=1.0.0", "application/openmetrics-text")):
        status, body, headers = request(url + "/metrics", headers={"Accept": accept})
        expect(status == 200 and headers["Content-Type"].startswith(kind), f"{accept}: {headers['Content-Type']}")
        expect("flask_http_request_duration_seconds_bucket{" in body and "sideband_build_info" in body, body[:500])
        expect(body.endswith("# EOF\n") == ("openmetrics" in kind), "EOF")
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as strict
    from prometheus_client.parser import text_string_to_metric_families as lenient
    families = list(strict(http(url + "/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0"})))
    expect(any(f.name == "flask_http_request" for f in families), "the reference parser reads the page")
    list(lenient(http(url + "/metrics", headers={"Accept": "text/plain"})))


def the_two_documented_configurations_run(stage):
    first = """
global:
  scrape_interval:     15s
  evaluation_interval: 15s

rule_files:
  # - "first.rules"
  # - "second.rules"

scrape_configs:
  - job_name: prometheus
    static_configs:
      - targets: ['localhost:9090']
"""
    url = stage.sideband(first, name="first")
    expect(len(json.loads(http(url + "/api/v1/targets"))["data"]["activeTargets"]) >= 1, "a target")
    second = """
global:
  scrape_interval: 15s
  evaluation_interval: 15s
scrape_configs:
  - job_name: 'node'
    scrape_interval: 5s
    static_configs:
      - targets: ['localhost:8080', 'localhost:8081']
        labels:
          group: 'production'
      - targets: ['localhost:8082']
        labels:
          group: 'canary'
"""
    url = stage.sideband(second, name="second")
    targets = [t for t in json.loads(http(url + "/api/v1/targets"))["data"]["activeTargets"] if t["labels"]["job"] == "node"]
    expect(sorted(t["labels"]["group"] for t in targets) == ["canary", "production", "production"], str(targets))


def a_scrape_of_itself_does_not_grow(stage):
    port = free_port()
    url = stage.sideband(GLOBAL + "scrape_configs:\n" + job("self", f"127.0.0.1:{port}") + NO_HOST, port=port)
    wait("it scrapes itself", lambda: value(url, 'up{job="self"}') == 1)
    first = value(url, 'scrape_samples_scraped{job="self"}')
    time.sleep(3)
    last = value(url, 'scrape_samples_scraped{job="self"}')
    expect(last - first < 20, f"{first} samples, then {last}")


RULE = """
groups:
  - name: g
    interval: 1s
    rules:
      - alert: QueueLong
        expr: queue_depth > {threshold}
        labels: {{severity: page}}
        annotations: {{summary: "queue {{{{ $value }}}}", runbook_url: "https://r.invalid"}}
"""


def rules_of(url):
    return json.dumps(json.loads(http(url + "/api/v1/rules"))["data"]["groups"])


def reload_by_watch_by_signal_and_by_post(stage):
    stage.file("sideband/rules.yml", RULE.format(threshold=1))
    url = stage.sideband(GLOBAL + "rule_files: [rules.yml]\n" + NO_HOST, flags=["--web.enable-lifecycle"])
    expect("queue_depth > 1" in rules_of(url), rules_of(url))
    # By file watch, as an editor writes: a new file renamed over the old one.
    stage.file("sideband/new", RULE.format(threshold=2)).rename(stage.dir / "sideband/rules.yml")
    wait("the watch reloads", lambda: "queue_depth > 2" in rules_of(url), UNPOLLED)
    # A broken file changes nothing and is told of with its place.
    stage.file("sideband/rules.yml", RULE.format(threshold=3).replace("expr:", "expr: ((("))
    wait("the failure is told", lambda: value_of_metric(url, "sideband_config_last_reload_successful") == 0)
    expect("queue_depth > 2" in rules_of(url), "the old rules stay")
    expect("rules.yml:" in stage.log("sideband"), "the log names file, line and column")
    status, body, _ = request(url + "/-/reload", data=b"", method="POST")
    expect(status == 500 and "rules.yml:" in body, f"{status} {body}")
    stage.file("sideband/rules.yml", RULE.format(threshold=4))
    stage.processes["sideband"].send_signal(signal.SIGHUP)
    wait("SIGHUP reloads", lambda: "queue_depth > 4" in rules_of(url))
    stage.file("sideband/rules.yml", RULE.format(threshold=5))
    expect(request(url + "/-/reload", data=b"", method="POST")[0] == 200, "POST /-/reload")
    expect("queue_depth > 5" in rules_of(url), rules_of(url))
    expect(value_of_metric(url, "sideband_config_last_reload_successful") == 1, "the gauge is 1 again")


# Seconds: every 30 s files are looked at in any case.
UNPOLLED = 25


def value_of_metric(url, name):
    for line in http(url + "/metrics", headers={"Accept": "text/plain"}).splitlines():
        if line.startswith((name + " ", name + "{")):
            return float(line.rsplit(" ", 1)[1])
    return None


def reload_when_a_configmap_is_swapped(stage):
    """The kubelet writes a new ..DIR and renames a symlink over ..data."""
    config = stage.dir / "mounted"
    def version(n, threshold):
        directory = config / f"..v{n}"
        directory.mkdir(parents=True)
        (directory / "sideband.yml").write_text(GLOBAL + "rule_files: [rules.yml]\n" + NO_HOST)
        (directory / "rules.yml").write_text(RULE.format(threshold=threshold))
        os.symlink(f"..v{n}", config / "..tmp")
        os.rename(config / "..tmp", config / "..data")
    version(1, 11)
    for name in ("sideband.yml", "rules.yml"):
        os.symlink(f"..data/{name}", config / name)
    port = free_port()
    stage.start("sideband", [stage.binary, f"--config.file={config / 'sideband.yml'}",
                             f"--web.listen-address=127.0.0.1:{port}", f"--storage.path={stage.dir / 'data'}"])
    url = f"http://127.0.0.1:{port}"
    stage.ready("sideband", url)
    for n in (2, 3):
        version(n, 10 + n)
        wait(f"swap {n} is seen", lambda: f"queue_depth > 1{n}" in rules_of(url), UNPOLLED)


def bad_targets_harm_nobody(stage):
    good = text_target("good 1\n")
    html = Server(lambda *_: (200, {"Content-Type": "text/html"}, b"<html>no metrics</html>"))
    half = Server(lambda *_: (200, {"Content-Type": "text/plain", "Content-Length": "1000"}, b"half 1\nhal"))
    error = Server(lambda *_: (500, {}, b"broken"))
    slow = Server(lambda *_: time.sleep(30) or (200, {}, b""))
    twice = text_target('a{x="1"} 1\na{x="1"} 2\n')
    future = text_target("sane 1\nfar 1 9223372036854775807\n")
    bomb = Server(lambda *_: (200, {"Content-Type": "text/plain", "Content-Encoding": "gzip"}, BOMB))
    names = {"good": good, "html": html, "half": half, "error": error, "slow": slow, "twice": twice, "future": future, "bomb": bomb}
    jobs = "".join(job(n, s.address) for n, s in names.items()) + job("dead", f"127.0.0.1:{free_port()}")
    url = stage.sideband(GLOBAL + "scrape_configs:\n" + jobs + NO_HOST)
    wait("the good target is up", lambda: value(url, 'up{job="good"}') == 1)
    for name in ("html", "half", "error", "slow", "dead", "bomb"):
        wait(f"{name} is down", lambda: value(url, f'up{{job="{name}"}}') == 0)
    wait("the sane series of the future target", lambda: value(url, "sane") == 1)
    expect(value(url, "far") is None, "a timestamp of the year 292278994 is no sample")
    scrapes = lambda: value(url, 'sum_over_time(up{job="good"}[1h])')
    before = scrapes()
    wait("the good target is scraped on and on", lambda: scrapes() >= before + 3)
    targets = json.loads(http(url + "/api/v1/targets"))["data"]["activeTargets"]
    for t in targets:
        if t["labels"]["job"] in ("html", "half", "error", "slow", "dead", "bomb"):
            expect(t["health"] == "down" and t["lastError"], str(t))
    rss = int(Path(f"/proc/{stage.processes['sideband'].pid}/statm").read_text().split()[1]) * 4096
    expect(rss < 200 << 20, f"{rss >> 20} MiB resident")


# 500 MB of metrics in half a megabyte.
BOMB = gzip.compress(b"bomb 1\n" * (500_000_000 // 7), 1)

PAGING = """
acknowledge: {{key_file: ack.key}}
route:
  receiver: tickets
  group_by: [alertname]
  group_wait: 0s
  group_interval: 1s
  repeat_interval: 1h
  routes:
    - matchers: [severity="page"]
      escalation_policy: main
receivers:
  - {{name: tickets, webhook_configs: [{{url: "http://{inbox}/tickets"}}]}}
  - {{name: a, webhook_configs: [{{url: "http://{inbox}/a"}}]}}
  - {{name: b, webhook_configs: [{{url: "http://{inbox}/b"}}]}}
users:
  - {{name: ann, receiver: a}}
  - {{name: bob, receiver: b}}
on_call_schedules:
  - {{name: primary, location: UTC, rotation: 1w, start: 2020-01-06T09:00:00Z, users: [ann, bob]}}
escalation_policies:
  - name: main
    steps:
      - {{notify: [schedule/primary], ack_timeout: {timeout}}}
      - {{notify: ["schedule/primary:next"], ack_timeout: 1h}}
    repeat: 1
"""


def paging_stage(stage, timeout):
    inbox = Inbox()
    target = text_target("queue_depth 0\n")
    # A scrape that comes too late ends no alert here.
    stage.file("sideband/rules.yml", RULE.format(threshold=10).replace("queue_depth", "last_over_time(queue_depth[1m])"))
    stage.file("sideband/ack.key", "0123456789abcdef0123456789abcdef")
    stage.file("sideband/paging.yml", PAGING.format(inbox=inbox.address, timeout=timeout))
    config = GLOBAL + "rule_files: [rules.yml]\npaging_file: paging.yml\nscrape_configs:\n" + job("q", target.address) + NO_HOST
    port = free_port()
    url = stage.sideband(config, port=port)
    wait("scraped", lambda: value(url, "queue_depth") == 0)
    return inbox, target, url, config, port


def pages(inbox):
    return inbox.find("a") + inbox.find("b")


def incidents(url, state="all"):
    return json.loads(http(f"{url}/api/v1/incidents?state={state}"))["data"]["incidents"]


def unacknowledged_goes_to_the_backup_and_acknowledged_does_not(stage):
    inbox, target, url, _, _ = paging_stage(stage, "3s")
    target.text = "queue_depth 20\n"
    wait("the backup is paged", lambda: len(pages(inbox)) == 2)
    first, second = sorted(pages(inbox), key=lambda e: e["message"]["step"]["number"])
    expect({first["to"], second["to"]} == {"a", "b"}, "two different people")
    gap = second["at"] - moment(first["message"]["incident"]["triggeredAt"])
    expect(gap >= 2.99, f"the backup was paged {gap:.2f} s after the beginning")
    expect(first["key"] and second["key"] and first["key"] != second["key"], "keys")
    expect(incidents(url)[0]["state"] == "triggered", str(incidents(url)))
    # The link shows a page first, and acts only when posted to.
    status, body, _ = request(second["message"]["ack_url"])
    expect(status == 200 and "<form" in body, f"{status} {body[:200]}")
    expect(incidents(url)[0]["state"] == "triggered", "a GET acknowledges nothing")
    for _ in range(2):
        expect(request(second["message"]["ack_url"], data=b"comment=on+it")[0] == 200, "POST to the link")
    expect(incidents(url)[0]["acknowledgedComment"] == "on it", str(incidents(url)))
    expect(incidents(url)[0]["state"] == "acknowledged", str(incidents(url)))
    expect(len(pages(inbox)) == 2, "nobody is paged after the acknowledgement")
    target.text = "queue_depth 0\n"
    wait("both hear of the end", lambda: inbox.find("a", "resolved") and inbox.find("b", "resolved"))
    wait("resolved", lambda: incidents(url)[0]["state"] == "resolved")
    # Acknowledged in time: never the backup. Whoever is too late for that tries it with another one.
    for n in range(10):
        before = len(pages(inbox))
        alert = {"labels": {"alertname": f"Posted{n}", "severity": "page"}}
        expect(send_alerts(url, [alert])[0] == 200, "an alert is posted")
        wait("paged again", lambda: len(pages(inbox)) > before)
        incident = incidents(url, "triggered")[0]
        answer = json.loads(request(f"{url}/api/v1/incidents/{incident['id']}/ack", {"by": "ann", "comment": "me"})[1])["data"]
        if [p["step"] for p in answer["pages"]] == [1]:
            time.sleep(4.5)
            expect(len(pages(inbox)) == before + 1, "acknowledged in time, and the backup was paged")
            said = json.loads(http(f"{url}/api/v1/incidents/{incident['id']}"))["data"]["history"]
            expect(any(e["what"].endswith("ann (api, from 127.0.0.1): me") for e in said), str(said))
            return
        wait("the backup is paged", lambda: len(pages(inbox)) == before + 2)
    expect(False, "never acknowledged within 3 s")


def kill_9_loses_no_page(stage):
    inbox, target, url, config, port = paging_stage(stage, "4s")
    inbox.fail = True
    target.text = "queue_depth 20\n"
    wait("an incident", lambda: incidents(url, "triggered"))
    for n in range(5):
        stage.processes["sideband"].kill()
        stage.processes["sideband"].wait()
        if n == 2:
            inbox.fail = False
        stage.sideband(config, port=port)
        time.sleep(0.3 + 0.2 * n)
    wait("somebody is paged", lambda: pages(inbox))
    wait("the backup is paged", lambda: {e["to"] for e in pages(inbox)} == {"a", "b"})
    keys = {(e["to"], e["key"]) for e in pages(inbox)}
    expect(len(keys) == 2, f"one key a person and step: {keys}")
    expect(len(incidents(url)) == 1, f"one incident: {incidents(url)}")


def what_changes_state_wants_authentication_beyond_loopback(stage):
    port = free_port()
    path = stage.file("sideband/sideband.yml", NO_HOST)
    stage.start("sideband", [stage.binary, f"--config.file={path}", f"--web.listen-address=0.0.0.0:{port}",
                             f"--storage.path={stage.dir / 'data'}", "--web.enable-lifecycle"])
    url = f"http://127.0.0.1:{port}"
    stage.ready("sideband", url)
    for path in ("/-/reload", "/-/quit", "/api/v1/incidents/1/ack", "/api/v2/alerts"):
        status, body, _ = request(url + path, data=b"[]", method="POST")
        expect(status in (401, 403), f"{path}: {status} {body}")
    expect(request(url + "/metrics")[0] == 200, "/metrics stays open")


def check_commands(stage):
    run = lambda *args: subprocess.run([str(stage.binary), *map(str, args)], capture_output=True, text=True)
    shipped = sorted((ROOT / "rules").glob("*.yml"))
    expect(len(shipped) >= 4, f"{shipped}")
    result = run("check", "rules", "--lint", *shipped)
    expect(result.returncode == 0, result.stdout + result.stderr)
    result = run("check", "config", ROOT / "config/sideband.yml")
    expect(result.returncode == 0, result.stdout + result.stderr)
    for name, text, place in (
        ("syntax.yml", "global: [", "syntax.yml:"),
        ("key.yml", "global:\n  scrape_intervall: 1s\n", "key.yml:2:3"),
        ("type.yml", "global:\n  scrape_interval: [1]\n", "type.yml:2:"),
        ("unbuilt.yml", "scrape_configs:\n  - job_name: a\n    kubernetes_sd_configs: [{role: pod}]\n", "kubernetes_sd_configs"),
        ("missing.yml", "rule_files: [nowhere.yml]\n", "nowhere.yml"),
    ):
        result = run("check", "config", stage.file(name, text))
        expect(result.returncode == 1 and place in result.stdout + result.stderr, f"{name}: {result}")
    plain = "route: {receiver: a}\nreceivers: [{name: a, %s}]\n"
    for name, text, code, says in (
        ("alertmanager.yml", plain % "webhook_configs: [{url: http://a/}]", 0, "SUCCESS: a paging file: 1 receivers"),
        ("sns.yml", plain % "sns_configs: [{topic_arn: a, sigv4: {region: b}}]", 0, "cannot be sent to"),
        ("gone.yml", plain % "webhook_configs: [{url_file: nowhere}]", 0, "until their files exist"),
        ("wrong.yml", plain % "webhook_config: []", 1, "wrong.yml:2:"),
        ("brace.yml", plain % "slack_configs: [{api_url: http://a/, text: '{{ nothing'}]", 1, "brace.yml:2:"),
        ("groups.yml", "groups: [{name: a, rules: []}]\n", 1, "sideband check rules"),
    ):
        result = run("check", "config", stage.file(name, text))
        expect(result.returncode == code and says in result.stdout, f"{name}: {result}")
    result = run("check", "rules", stage.file("alertmanager.yml", plain % ""))
    expect(result.returncode == 1 and "sideband check config" in result.stdout, f"{result}")
    for name, text, place in (
        ("expr.yml", RULE.format(threshold=1).replace("> 1", "> > 1"), "expr.yml:7:"),
        ("twice.yml", "groups:\n  - {name: a, rules: []}\n  - {name: a, rules: []}\n", "twice.yml:3:"),
    ):
        result = run("check", "rules", stage.file(name, text))
        expect(result.returncode == 1 and place in result.stdout + result.stderr, f"{name}: {result}")


def run_command(stage, *args):
    return subprocess.run([str(stage.binary), *map(str, args)], capture_output=True, text=True, timeout=600)


def a_drill_reaches_two_people(stage):
    inbox, target, url, config, port = paging_stage(stage, "5m")
    began = time.time()
    drill = run_command(stage, "drill", "--server", url, "--ack-timeout", "1s", "--by", "eve")
    print(drill.stdout)
    expect(drill.returncode == 0, f"{drill}")
    for word in ("triggered", "written to the ledger", "step 1: delivered to", "escalated to step 2",
                 "step 2: delivered to", "resolved", "good: every step was delivered"):
        expect(word in drill.stdout, f"{word!r} is missing: {drill.stdout}")
    expect({e["to"] for e in pages(inbox)} == {"a", "b"}, f"{inbox.received}")
    wait("both hear of the end", lambda: inbox.find("a", "resolved") and inbox.find("b", "resolved"))
    for entry in inbox.received:
        message = entry["message"]
        expect(message["incident"]["drill"] and "sideband_drill" in message["commonLabels"], f"marked: {message}")
        expect("drill" in message["commonAnnotations"]["summary"], f"{message}")
    name = "sideband_paging_last_good_drill_timestamp_seconds"
    good = value_of_metric(url, name)
    expect(began < good <= time.time(), f"{began} {good}")
    # One way is broken: not good, and the time of the last good one stays, also over a restart.
    take, inbox.answer = inbox.answer, lambda *_: (410, {}, b"gone")
    drill = run_command(stage, "drill", "--server", url, "--ack-timeout", "1s", "--steps", "1", "--policy", "main")
    expect(drill.returncode == 1 and "NOT GOOD" in drill.stdout and "410" in drill.stdout, f"{drill}")
    inbox.answer = take
    drill = run_command(stage, "drill", "--server", url, "--policy", "nowhere")
    expect(drill.returncode == 1 and "there are: main" in drill.stderr, f"{drill}")
    stage.processes["sideband"].kill()
    stage.processes["sideband"].wait()
    stage.sideband(config, port=port)
    expect(value_of_metric(url, name) == good, "the last good drill is forgotten")


SIGMA_RULE = """
groups:
- name: g
  interval: {interval}
  rules:
  - {{record: twice, expr: 2 * {expr}}}
  - sigma: Strange
    expr: twice
    direction: both
    baseline: {{window: 1d, min_samples: {least}, lag: {lag}}}
    page_budget: {budget}
    bands:
    - {{sigma: 2, action: record}}
    - {{sigma: 6, for: {hold}, labels: {{severity: page}}}}
"""


def backtest_over_csv_files(stage):
    run = lambda *args: subprocess.run([str(stage.binary), "backtest", *map(str, args)], capture_output=True, text=True)
    start = 1_700_000_000
    for name, odd in (("a/quiet.csv", ()), ("a/jumps.csv", range(400, 410)), ("b/often.csv", [i for i in range(200, 2000) if i % 100 < 6])):
        lines = ["timestamp,value"]
        for i in range(2000):
            # Gaps, and an hour that comes twice.
            if i % 97 == 5:
                continue
            at = start + 300 * (i - 12 if i >= 300 else i)
            stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at))
            lines.append(f"{stamp},{10 + (i * 7919 % 13) / 13 + (40 if i in odd else 0):.3f}")
        stage.file(f"data/{name}", "\n".join(lines) + "\n")
    rules = stage.file("rules.yml", SIGMA_RULE.format(interval="5m", expr="value", least=50, lag="30m", budget="1 per 30d", hold="10m"))
    windows = {"a/quiet.csv": [], "a/jumps.csv": [[start + 300 * 380, start + 300 * 420]], "b/often.csv": []}
    labels = stage.file("windows.json", json.dumps(windows))
    data, scores, svg = stage.dir / "data", stage.dir / "scores", stage.dir / "pages.svg"
    result = run(rules, "--csv", data, "--scores", scores, "--labels", labels, "--svg", svg, "--format=json")
    expect(result.returncode == 0, result.stderr)
    report = json.loads(result.stdout)["rules"]
    expect(len(report) == 1 and report[0]["series"] == 3, report)
    rule = report[0]
    expect(rule["asked"] >= 5 and rule["overBudget"] and rule["bands"][1]["action"] == "page", rule)
    expect(rule["labels"]["windows"] == 1 and rule["labels"]["found"] == 1, rule["labels"])
    paged = 0
    for name in windows:
        given, scored = (data / name).read_text().splitlines(), (scores / name).read_text().splitlines()
        expect(scored[0] == "timestamp,value,anomaly_score" and len(given) == len(scored), name)
        expect(all(b.rsplit(",", 1)[0] == a for a, b in zip(given[1:], scored[1:])), f"the rows of {name} as they were")
        marks = [float(line.rsplit(",", 1)[1]) for line in scored[1:]]
        expect(all(0 <= m <= 1 for m in marks), name)
        paged += sum(m >= 0.5 for m in marks)
        if name == "a/quiet.csv":
            expect(max(marks) < 0.5, "a quiet file pages nobody")
    expect(paged == rule["pages"], f"{paged} scores of 0.5 and more, {rule['pages']} pages")
    expect(svg.read_text().startswith("<svg "), "a picture")
    result = run(rules, "--csv", data, "--labels", labels, "--fail-over-budget")
    for part in ("Strange", "6σ", "OVER BUDGET", "expected a month", "random clock", "smallest that keeps the budget"):
        expect(part in result.stdout, f"{part}: {result.stdout}")
    expect(result.returncode == 1, "over budget is a failure, if asked for")
    result = run(rules, "--csv", data / "a/quiet.csv", "--fail-over-budget")
    expect(result.returncode == 0, result.stdout + result.stderr)
    for arguments, place in (
        ((rules, "--csv", stage.dir / "nowhere"), "nowhere"),
        ((rules, "--csv", stage.file("bad.csv", "timestamp,value\n2020-01-01,x\n")), "bad.csv:2:12"),
        ((stage.file("bad.yml", "groups: ["), "--csv", data), "bad.yml:"),
        ((rules, "--openmetrics", stage.file("bad.om", "a 1\n")), "bad.om:1"),
        ((rules, "--server", "http://127.0.0.1:1", "--from", "1h"), "127.0.0.1:1"),
        ((rules, "--storage", stage.dir / "nowhere"), "nowhere"),
        ((rules, "--openmetrics", stage.file("x.om", "a 1 1000\na 1 2000\n"), "--from", "soon"), "--from"),
    ):
        result = run(*arguments)
        expect(result.returncode == 1 and place in result.stderr, f"{arguments}: {result}")
    expect(run(rules).returncode == 2, "no history is wrong usage")


def backtest_of_what_a_running_sideband_has(stage):
    target = text_target("queue_depth 3\n")
    rules = stage.file("sideband/rules.yml", SIGMA_RULE.format(interval="1s", expr="queue_depth", least=3, lag="1s", budget="1 per 1h", hold="0s"))
    url = stage.sideband(GLOBAL + "rule_files: [rules.yml]\nscrape_configs:\n" + job("q", target.address) + NO_HOST)
    for depth in (3, 4, 3, 4, 3, 4, 50):
        target.text = f"queue_depth {depth}\n"
        wait(f"{depth} is there", lambda: value(url, "queue_depth") == depth)
    wait("the band fires live", lambda: query(url, 'ALERTS{alertname="Strange", alertstate="firing"}'))
    # The replay's grid is not the live one: the jump must be there for more than a step.
    wait("more of it", lambda: value(url, "sum_over_time((queue_depth > bool 40)[1m:1s])") >= 5)
    storage = next(stage.dir.glob("**/samples")).parent
    reports = []
    for history in (("--storage", storage), ("--server", url, "--from", "15m")):
        result = subprocess.run([str(stage.binary), "backtest", str(rules), *map(str, history), "--format=json"], capture_output=True, text=True)
        expect(result.returncode == 0, result.stderr)
        reports.append(json.loads(result.stdout)["rules"][0])
    asked = [r["asked"] for r in reports]
    # A scrape that came too late ends the jump, and the next one begins another.
    late = value(url, "sum_over_time((up == bool 0)[15m:1s])")
    expect(asked == [1, 1] or late and min(asked) > 0, (late, reports))
    expect(all(r["failures"] == 0 and r["series"] == 1 for r in reports), reports)
    # A changed rule is replayed after a reload; here there is too little history to tell.
    rules.write_text(rules.read_text().replace("sigma: 6", "sigma: 7"))
    gate = lambda: [(r.get("sigma") or r).get("gate") for g in json.loads(rules_of(url)) for r in g["rules"] if r["name"] == "Strange"][0]
    wait("the gate says so", lambda: gate() and gate()["state"] == "unknown")
    expect(gate()["holds"] is False, gate())


def history_is_imported(stage):
    now = int(time.time()) // 60 * 60
    lines = ["# TYPE depth gauge"]
    # A series at a time, as promtool writes and reads it.
    for shard in range(20):
        lines += [f'depth{{shard="{shard}"}} {shard + i / 100} {now - 60 * (120 - i)}' for i in range(120)]
    lines += [f"ancient 1 {now - 40 * 86400}", "# EOF"]
    history, data = stage.file("history.om", "\n".join(lines) + "\n"), stage.dir / "data"
    flags = ("import", "--storage.path", data)
    done = run_command(stage, *flags, history)
    expect(done.returncode == 0 and "2400 samples of 20 series; left out: 1 older than the retention" in done.stdout, f"{done}")
    done = run_command(stage, *flags, history)
    expect(": 0 samples of 0 series; left out: 2401 not newer than what is there" in done.stdout, f"again, nothing changes: {done}")
    for text, said in (("a 1\n", "wrong.om:1:1: a has no timestamp"), ("a 1 x\n", "wrong.om:1")):
        done = run_command(stage, *flags, stage.file("wrong.om", text))
        expect(done.returncode == 1 and said in done.stderr, f"{done}")
    url = stage.sideband(GLOBAL + NO_HOST, data=data)
    expect(value(url, f"sum(count_over_time(depth[3h] @ {now}))") == 2400, "every sample is there")
    expect(value(url, f'depth{{shard="7"}} @ {now - 60 * 60}') == 7.6, "with its value")
    done = run_command(stage, *flags, history)
    expect(done.returncode == 1 and "in use by another process" in done.stderr, f"beside the daemon: {done}")


def report_postmortem_and_oncall(stage):
    inbox, target, url, config, port = paging_stage(stage, "2s")
    target.text = "queue_depth 20\n"
    wait("both are paged", lambda: len(pages(inbox)) == 2)
    one = incidents(url)[0]["id"]
    for command, said in (("ack", {"by": "bob"}), ("judge", {"verdict": "useful", "by": "bob"})):
        expect(request(f"{url}/api/v1/incidents/{one}/{command}", said)[0] == 200, command)
    target.text = "queue_depth 0\n"
    wait("resolved", lambda: incidents(url)[0]["state"] == "resolved")
    expect(run_command(stage, "drill", "--server", url, "--ack-timeout", "1s").returncode == 0, "drill")

    def check(*where):
        report = json.loads(run_command(stage, "report", *where, "--since", "1h", "--format", "json").stdout)
        expect((report["incidents"], report["pages"], report["drills"]["good"]) == (1, 2, 1), f"{report}")
        expect(report["acknowledgements"]["count"] == 1 and report["acknowledgements"]["medianSeconds"] > 1.5, f"{report}")
        expect(report["byRule"][0]["useful"] == 1 and report["byRule"][0]["coin"] == "undecided", f"{report}")
        expect({p["person"] for p in report["byPerson"]} == {"ann", "bob"}, f"{report}")
        text = run_command(stage, "report", *where, "--since", "1h")
        expect("1 incident, 2 pages" in text.stdout and "1 drill, 1 good" in text.stdout, f"{text}")
        html = stage.dir / "report.html"
        done = run_command(stage, "report", *where, "--format", "html", "-o", html)
        expect(done.returncode == 0 and html.read_text().count("<svg") == 3, f"{done}")
        text = stage.dir / "postmortem.md"
        done = run_command(stage, "postmortem", *where, one, "-o", text)
        expect(done.returncode == 0, f"{done}")
        for word in ("## Five Whys", "acknowledged by bob", "| Judged | useful, by bob |", "after "):
            expect(word in text.read_text(), f"{word!r} is missing: {text.read_text()}")
        done = run_command(stage, "postmortem", *where, 999999)
        expect(done.returncode == 1 and "no incident 999999" in done.stderr, f"{done}")
        return text

    text = check("--server", url)
    # A rule without a band: the value alone is drawn.
    expect("](postmortem.svg)" in text.read_text() and "<svg" in text.with_suffix(".svg").read_text(), text.read_text())
    for flags in (("--server", url), ("--config.file", stage.dir / "sideband/sideband.yml"),
                  ("--paging.file", stage.dir / "sideband/paging.yml")):
        done = run_command(stage, "oncall", *flags, "--fail-on-gaps")
        expect(done.returncode == 0 and "primary (UTC)" in done.stdout and "now " in done.stdout, f"{done}")
    status, page, _ = request(f"{url}/incidents/{one}")
    expect(status == 200 and "Timeline" in page and "<svg" in page and "judged useful" in page, page)
    expect(request(f"{url}/oncall")[0] == request(f"{url}/report")[0] == request(f"{url}/incidents")[0] == 200, "pages")
    status, page, headers = request(f"{url}/api/v1/incidents/{one}/judge", b"verdict=useless&page=incident&by=eve",
                                    {"Content-Type": "application/x-www-form-urlencoded"})
    expect(status == 200 and "judged useless by eve" in page, f"back on the page: {status}")
    request(f"{url}/api/v1/incidents/{one}/judge", {"verdict": "useful", "by": "bob"})
    stage.processes["sideband"].terminate()
    stage.processes["sideband"].wait()
    check("--storage.path", stage.dir / "sideband/data")


TESTS = [
    check_commands,
    backtest_over_csv_files,
    backtest_of_what_a_running_sideband_has,
    flask_app_is_scraped_and_served,
    the_two_documented_configurations_run,
    a_scrape_of_itself_does_not_grow,
    reload_by_watch_by_signal_and_by_post,
    reload_when_a_configmap_is_swapped,
    bad_targets_harm_nobody,
    unacknowledged_goes_to_the_backup_and_acknowledged_does_not,
    kill_9_loses_no_page,
    a_drill_reaches_two_people,
    history_is_imported,
    report_postmortem_and_oncall,
    what_changes_state_wants_authentication_beyond_loopback,
    *feedback.TESTS,
    *receivers.TESTS,
]

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("tests", nargs="*")
    arguments = parser.parse_args()
    sys.exit(main(TESTS, arguments.binary, arguments.tests))
