"""The demo: a Flask app under load is slowed down; who is told what, and when.

Starts gunicorn with the app, Locust, a pager inbox and sideband on free ports, waits until the normal
latency is learnt, slows /api/checkout down step by step and tells what happens. Exit code 1, with the
reason, if any part of the story does not happen. Everything is stopped and removed at the end.
"""

import argparse
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
SERIES = 'rule="CheckoutLatencyHigh"'


class Failed(Exception):
    """A part of the story did not happen."""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def http(url, data=None, timeout=5):
    request = urllib.request.Request(url, data=data)
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return answer.read().decode()


class Demo:
    def __init__(self, binary, scripts):
        self.binary, self.scripts = binary, scripts
        self.dir = Path(tempfile.mkdtemp(prefix="sideband-demo."))
        self.processes = []
        self.began = time.time()
        self.app, self.inbox, self.api = (f"127.0.0.1:{free_port()}" for _ in range(3))
        self.slowdown = self.dir / "slowdown"
        self.sideband = None

    # Telling

    def say(self, text, at=None):
        print(f"{(at or time.time()) - self.began:6.1f} s  {text}", flush=True)

    # Starting and stopping

    def start(self, name, command, env=None, cwd=HERE):
        log = open(self.dir / f"{name}.log", "wb")
        process = subprocess.Popen(
            command, cwd=cwd, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, **(env or {})},
            start_new_session=True,
        )
        self.processes.append((name, process))
        return process

    def start_all(self):
        multiproc = self.dir / "multiproc"
        multiproc.mkdir()
        self.slowdown.write_text("0")
        self.start(
            "app",
            [self.scripts / "gunicorn", "-c", "gunicorn.conf.py", "-b", self.app, "app:app"],
            {"PROMETHEUS_MULTIPROC_DIR": str(multiproc), "DEMO_SLOWDOWN_FILE": str(self.slowdown),
             "PYTHONDONTWRITEBYTECODE": "1"},
        )
        self.start("inbox", [sys.executable, "pager_inbox.py", self.inbox.split(":")[1]])
        self.wait("the app answers", lambda: http(f"http://{self.app}/"), 20)
        self.start(
            "locust",
            [self.scripts / "locust", "-f", "locustfile.py", "--headless", "-u", "12", "-r", "12",
             "--host", f"http://{self.app}"],
            {"PYTHONDONTWRITEBYTECODE": "1"},
        )
        config = self.dir / "config"
        config.mkdir()
        for name in ("sideband.yml", "rules.yml", "paging.yml"):
            text = (HERE / name).read_text().replace("APP", self.app).replace("INBOX", self.inbox)
            (config / name).write_text(text)
        (config / "ack.key").write_text(secrets.token_hex(32))
        self.sideband = self.start(
            "sideband",
            [self.binary, f"--config.file={config / 'sideband.yml'}", f"--web.listen-address={self.api}",
             f"--web.external-url=http://{self.api}", f"--storage.path={self.dir / 'data'}"],
        )
        self.wait("sideband is ready", lambda: http(f"http://{self.api}/-/ready"), 10)

    def stop_all(self):
        for _, process in reversed(self.processes):
            try:
                os.killpg(process.pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
        deadline = time.time() + 8
        for _, process in self.processes:
            try:
                process.wait(max(0.1, deadline - time.time()))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    # Looking

    def wait(self, what, probe, seconds):
        deadline = time.time() + seconds
        last = None
        while time.time() < deadline:
            for name, process in self.processes:
                if process.poll() is not None:
                    raise Failed(f"{name} ended with exit code {process.returncode}:\n{self.tail(name)}")
            try:
                if result := probe():
                    return result
            except (OSError, ValueError, KeyError, urllib.error.URLError) as error:
                last = error
            time.sleep(0.1)
        raise Failed(f"not within {seconds} s: {what}" + (f" ({last})" if last else ""))

    def tail(self, name, lines=15):
        return "\n".join((self.dir / f"{name}.log").read_text(errors="replace").splitlines()[-lines:])

    def value(self, query):
        answer = json.loads(http(f"http://{self.api}/api/v1/query?" + urllib.parse.urlencode({"query": query})))
        result = answer["data"]["result"]
        return float(result[0]["value"][1]) if result else None

    def message(self, to, status, since=0.0):
        for entry in json.loads(http(f"http://{self.inbox}/")):
            if entry["to"] == to and entry["at"] >= since and entry["message"].get("status") == status:
                return entry
        return None

    def usage(self):
        status = Path(f"/proc/{self.sideband.pid}/status").read_text()
        rss = next(int(l.split()[1]) for l in status.splitlines() if l.startswith("VmRSS"))
        stat = Path(f"/proc/{self.sideband.pid}/stat").read_text().rsplit(")", 1)[1].split()
        cpu = (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")
        return rss / 1024, cpu

    # The story

    def slow_down(self, milliseconds):
        self.slowdown.write_text(f"{milliseconds:.3f}")

    def run(self):
        self.say("starting the Flask app (gunicorn, 2 workers), Locust, the pager inbox and sideband")
        self.start_all()
        self.say(f"sideband is ready: http://{self.api}")
        self.wait("the app is scraped", lambda: self.value('up{job="flask"}') == 1, 15)
        self.say("the app is scraped; learning what is normal")
        self.wait("the baseline is ready", lambda: self.value(f"sideband_sigma_ready{{{SERIES}}}") == 1, 120)
        center = self.value(f"sideband_sigma_center{{{SERIES}}}") * 1000
        sigma = self.value(f"sideband_sigma_stddev{{{SERIES}}}") * 1000
        self.say(f"learnt: checkout takes {center:.1f} ms on average, one sigma is {sigma:.1f} ms")

        zscore = f"sideband_sigma_zscore{{{SERIES}}}"
        self.slow_down(1.6 * sigma)
        self.say(f"slowing checkout down by {1.6 * sigma:.1f} ms (1.6 sigma)")
        z = self.wait("the 1 sigma band is recorded", lambda: ((v := self.value(zscore)) or 0) >= 1 and v, 30)
        self.say(f"band: z = {z:.1f}, recorded at 1 sigma; nobody is told")

        self.slow_down(2.6 * sigma + 0.5)
        self.say(f"slowing checkout down by {2.6 * sigma + 0.5:.1f} ms (2.6 sigma)")
        entry = self.wait("a ticket at 2 sigma", lambda: self.message("tickets", "firing"), 60)
        self.check_explained(entry)
        self.say("ticket: " + entry["message"]["commonAnnotations"]["summary"], entry["at"])
        if early := self.message("engineer-a", "firing") or self.message("engineer-b", "firing"):
            raise Failed(f"a person was paged at 2 sigma: {early}")

        self.slow_down(12 * sigma + 20)
        slowed = time.time()
        self.say(f"slowing checkout down by {12 * sigma + 20:.0f} ms")
        first = self.wait("a page to the primary", lambda: self.primary(slowed), 60)
        explanation = self.check_explained(first)
        primary = first["to"]
        backup = "engineer-b" if primary == "engineer-a" else "engineer-a"
        self.say(f"page to {primary} (primary), {first['at'] - slowed:.1f} s after the slowdown: "
                 + first["message"]["commonAnnotations"]["summary"], first["at"])
        self.say("it says why: " + explanation)
        self.say("nobody acknowledges")
        second = self.wait("a page to the backup", lambda: self.message(backup, "firing", slowed), 40)
        waited = second["at"] - first["at"]
        self.say(f"page to {backup} (backup), {waited:.1f} s after the first", second["at"])
        if waited < 11.5:
            raise Failed(f"the backup was paged {waited:.1f} s after the primary, earlier than the 12 s configured")
        if first["key"] == second["key"] or not first["key"]:
            raise Failed(f"idempotency keys: {first['key']!r}, {second['key']!r}")

        http(second["message"]["ack_url"], data=b"", timeout=5)
        self.say(f"{backup} acknowledges through the link in the page")
        self.wait("the incident is acknowledged", lambda: self.incident("acknowledged"), 5)
        quiet_from = time.time()

        self.slow_down(0)
        self.say("the slowdown ends")
        done = self.wait("the resolution", lambda: self.message(primary, "resolved", slowed), 60)
        self.say(f"resolved: {primary} and {backup} are told", done["at"])
        self.wait("the resolution at the backup", lambda: self.message(backup, "resolved", slowed), 10)
        self.wait("the incident is resolved", lambda: self.incident("resolved"), 10)
        for person in (primary, backup):
            if again := self.message(person, "firing", quiet_from):
                raise Failed(f"{person} was paged after the acknowledgement: {again}")
        rss, cpu = self.usage()
        seconds = time.time() - self.began
        self.say(f"sideband: {rss:.1f} MiB resident, {cpu:.2f} s of CPU in {seconds:.0f} s "
                 f"({100 * cpu / seconds:.2f} % of a core), binary {Path(self.binary).stat().st_size / 1e6:.1f} MB")

    def primary(self, since):
        return self.message("engineer-a", "firing", since) or self.message("engineer-b", "firing", since)

    def incident(self, state):
        incidents = json.loads(http(f"http://{self.api}/api/v1/incidents?state=all"))["data"]["incidents"]
        return any(i["state"] == state for i in incidents)

    def check_explained(self, entry):
        annotations = entry["message"]["commonAnnotations"]
        for name in ("summary", "runbook_url", "explanation"):
            if not annotations.get(name):
                raise Failed(f"a message without {name}: {annotations}")
        return annotations["explanation"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True, type=Path)
    arguments = parser.parse_args()
    demo = Demo(arguments.binary.resolve(), Path(sys.executable).parent)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        demo.run()
    except Failed as failure:
        print(f"\nFAILED: {failure}\n\nsideband's last lines:\n{demo.tail('sideband') if demo.sideband else '-'}",
              file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        demo.stop_all()
    print("\nThe demo's story happened as written. Everything was stopped and removed.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
