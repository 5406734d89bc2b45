"""Pages of a sigma rule with the real binary: the budget, what people say, and a second sideband that learns from the first."""

import json
import signal
from urllib.parse import urlencode

from stage import Inbox, Server, expect, free_port, http, query, request, wait

CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 900ms, evaluation_interval: 1s, external_labels: {{pod: {pod}}}}}
host: {{enabled: false}}
rule_files: [rules.yml]
paging_file: paging.yml
scrape_configs:
  - job_name: q
    static_configs: [{{targets: ["{target}"]}}]
{more}
"""

RULES = """
groups:
  - name: g
    interval: 1s
    rules:
      - sigma: Deep
        expr: queue_depth
        baseline: {window: %s, lag: 3s, min_samples: 8}
        bands: [{sigma: 3, for: 1s, labels: {severity: page}}]
        page_budget: 1 per 30d
"""

PAGING = """
acknowledge: {{key_file: ack.key}}
route:
  receiver: tickets
  group_by: [alertname, severity]
  group_wait: 0s
  group_interval: 1s
  routes: [{{matchers: [severity="page"], escalation_policy: main}}]
receivers:
  - {{name: tickets, webhook_configs: [{{url: "http://{inbox}/tickets"}}]}}
  - {{name: ann, webhook_configs: [{{url: "http://{inbox}/ann"}}]}}
escalation_policies:
  - {{name: main, steps: [{{notify: [receiver/ann]}}]}}
"""


def deep(url):
    groups = json.loads(http(f"{url}/api/v1/rules"))["data"]["groups"]
    return next(r["sigma"] for g in groups for r in g["rules"] if r["name"] == "Deep")


def ready(url):
    series = deep(url)["series"]
    return bool(series) and series[0]["ready"]


def a_page_is_judged_and_its_budget_outlives_a_restart(stage):
    inbox = Inbox()
    target = Server(lambda *_: (200, {"Content-Type": "text/plain; version=0.0.4"}, target.text.encode()))
    target.text = "queue_depth 10\n"
    stage.file("sideband/rules.yml", RULES % "10m")
    stage.file("sideband/ack.key", "0123456789abcdef0123456789abcdef")
    stage.file("sideband/paging.yml", PAGING.format(inbox=inbox.address))
    port = free_port()
    config = CONFIG.format(pod="a", target=target.address, more="")
    url = stage.sideband(config, port=port)
    wait("the baseline is ready", lambda: ready(url))
    target.text = "queue_depth 20\n"
    wait("ann is paged", lambda: inbox.find("ann"))
    page = inbox.find("ann")[0]["message"]
    said = page["alerts"][0]["annotations"]
    expect("page budget spent: 1 of 1 in 30d" in said["page_budget"], str(said))
    expect("This rule paged once in 30 days: 0 useful, 0 useless, 1 not judged." in said["explanation"], str(said))
    # Looking judges nothing; a button does; the last word counts.
    link = page["feedback_url"]
    expect("It was not" in request(link)[1], "the question")
    expect(deep(url)["record"]["all"]["unjudged"] == 1, "a GET judges nothing")
    expect(request(link, data=urlencode({"verdict": "useless", "comment": "a deploy"}).encode())[0] == 200, "POST")
    expect(deep(url)["record"]["all"]["useless"] == 1, str(deep(url)["record"]))
    incident = page["incident"]["id"]
    answer = request(f"{url}/api/v1/incidents/{incident}/judge", data=b"verdict=useful&by=ann")
    said = json.loads(answer[1])["data"]
    expect(said["judged"]["verdict"] == "useful" and said["feedback"] == {"rules": 1, "pages": 1, "baselines": 0, "notes": []}, str(said))
    target.text = "queue_depth 10\n"
    wait("it is over", lambda: inbox.find("ann", "resolved"))
    stage.processes["sideband"].send_signal(signal.SIGTERM)
    stage.processes["sideband"].wait(120)
    url = stage.sideband(config, port=port)
    wait("it knows what it knew", lambda: deep(url)["series"] and deep(url)["record"]["all"]["useful"] == 1)
    expect(deep(url)["pageBudget"]["state"] == "spent" and ready(url), str(deep(url)))
    target.text = "queue_depth 19\n"
    wait("a ticket says why", lambda: any("a ticket, not a page" in a["annotations"].get("page_budget", "") for e in inbox.find("tickets") for a in e["message"]["alerts"]))
    expect(len([e for e in inbox.find("ann") if e["message"]["status"] == "firing"]) == 1, "nobody is paged again")
    target.text = "queue_depth 100\n"
    wait("something worse pages", lambda: len([e for e in inbox.find("ann") if e["message"]["status"] == "firing"]) >= 2)
    # The interval is taken out of what it learns from.
    body = urlencode({"baseline": "incident", "by": "ann"}).encode()
    said = json.loads(request(f"{url}/api/v1/incidents/{incident}/judge", data=body)[1])["data"]["feedback"]
    expect(said["rules"] == 1, str(said))


def a_new_pod_learns_from_a_central_store(stage):
    target = Server(lambda *_: (200, {"Content-Type": "text/plain; version=0.0.4"}, target.text.encode()))
    target.text = "queue_depth 10\n"
    for name in ("old", "new"):
        stage.file(f"{name}/rules.yml", RULES % "2m")
        stage.file(f"{name}/paging.yml", "route: {receiver: n}\nreceivers: [{name: n}]\n")
    old = stage.sideband(CONFIG.format(pod="a", target=target.address, more=""), name="old")
    wait("there is history", lambda: ready(old))
    more = f'rules: {{warm_start: {{url: "{old}"}}}}'
    new = stage.sideband(CONFIG.format(pod="b", target=target.address, more=more), name="new")
    wait("it is warm", lambda: ready(new))
    wait("and says so", lambda: float(query(new, "sideband_rule_baselines_warmed_total")[0]["value"][1]) == 1 if query(new, "sideband_rule_baselines_warmed_total") else "sideband_rule_baselines_warmed_total 1" in http(new + "/metrics"))


TESTS = [a_page_is_judged_and_its_budget_outlives_a_restart, a_new_pod_learns_from_a_central_store]
