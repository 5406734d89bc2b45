"""Real Prometheus, promtool, Alertmanager, amtool and node_exporter against sideband.

    python tests/interop/run.py --binary target/debug/sideband [TEST...]
"""

import argparse
import shutil
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from stage import Inbox, Server, expect, free_port, http, main, query, request, wait  # noqa: E402

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
    wait("Prometheus is ready", lambda: request(url + "/-/ready")[0] == 200, 30)
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
        rows = wait(f"{expr} of both pods", lambda: (r := query(prometheus, expr)) and len(r) >= 2 and r, 30)
        pods = sorted(r["metric"]["pod"] for r in rows)
        expect(pods == ["pod-a", "pod-b"], f"{expr}: pods {pods} in {rows}")
    row = query(prometheus, 'app_requests_total{pod="pod-a"}')[0]
    expect(row["metric"]["job"] == "app" and row["metric"]["instance"] == target.address, str(row))
    expect(row["value"][1] == "42", str(row))
    up = query(prometheus, 'up{job="sideband"}')
    expect(len(up) == 2 and all(r["value"][1] == "1" for r in up), str(up))
    expect("out of order" not in stage.log("prometheus").lower(), "Prometheus complains of order")
    expect("duplicate" not in stage.log("prometheus").lower(), "Prometheus complains of duplicates")


def promtool_accepts_the_self_metrics(stage):
    target = app(stage)
    stage.file("sideband/bands.yml", BANDS)
    url = stage.sideband(sideband_config(target.address, "pod-a"))
    time.sleep(2)
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
            ["promtool", *command], capture_output=True, text=True, check=True).stdout, 10)


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
    port = free_port()
    config = stage.file("alertmanager.yml", ROUTE.format(url=f"http://{theirs.address}/hook"))
    stage.start("alertmanager", [
        "prometheus-alertmanager", f"--config.file={config}", f"--storage.path={stage.dir / 'am'}",
        f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=", "--web.external-url=http://alerts.invalid"])
    alertmanager = f"http://127.0.0.1:{port}"
    wait("Alertmanager is ready", lambda: request(alertmanager + "/-/ready")[0] == 200, 30)
    stage.file("sideband/paging.yml", ROUTE.format(url=f"http://{ours.address}/hook"))
    sideband = stage.sideband("scrape_configs: []\npaging_file: paging.yml\nhost: {enabled: false}\n",
                              flags=["--web.external-url=http://alerts.invalid"])
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    alerts = [{"labels": {"alertname": "Slow", "severity": "page", "path": path},
               "annotations": {"summary": f"{path} is slow", "runbook_url": "https://r.invalid"},
               "startsAt": now, "generatorURL": "http://alerts.invalid/graph?g0.expr=up"} for path in ("/b", "/a")]

    def bodies(status):
        for url in (alertmanager, sideband):
            code, body, _ = request(url + "/api/v2/alerts", alerts)
            expect(code == 200, f"{url}: {code} {body}")
        found = []
        for inbox in (theirs, ours):
            found.append(wait(f"a {status} webhook", lambda: inbox.find("hook", status), 15)[-1]["message"])
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


TESTS = [prometheus_scrapes_two_sidebands, promtool_accepts_the_self_metrics, promtool_queries_sideband,
         alertmanager_and_sideband_send_the_same_webhook, node_exporter_agrees_on_the_host]

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
