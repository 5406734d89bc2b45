"""A stage for tests against real processes: free ports, temporary files, processes that are stopped at the end.

Nothing here may depend on how fast the machine is: what is expected is waited for, with patience."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.error
import urllib.parse
import urllib.request
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Seconds: far longer than anything takes here, also on a machine that has much else to do.
PATIENCE = 300.0


class Failed(AssertionError):
    """An expectation that was not met."""


given_ports = set()


def free_port():
    """A port that nobody listens on. Not one that the kernel gives to outgoing connections: one of those could have it before
    whoever it is meant for, or between the end of a process and its next start."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports = range(10_000, first) if first > 12_000 else range(61_000, 65_000)
    for port in random.SystemRandom().sample(ports, 500):
        if port not in given_ports:
            try:
                with socket.create_server(("0.0.0.0", port)):
                    given_ports.add(port)
                    return port
            except OSError:
                pass
    raise Failed("no port is free")


def http(url, data=None, headers=None, timeout=PATIENCE, method=None):
    """The body of an answer, whatever its status; use `status` for that."""
    return request(url, data, headers, timeout, method)[1]


def request(url, data=None, headers=None, timeout=PATIENCE, method=None):
    """Status, body, headers."""
    if isinstance(data, (dict, list)):
        data, headers = json.dumps(data).encode(), {"Content-Type": "application/json", **(headers or {})}
    question = urllib.request.Request(url, data=data, headers=headers or {}, method=method)
    try:
        with urllib.request.urlopen(question, timeout=timeout) as answer:
            return answer.status, answer.read().decode(), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), error.headers


def send_alerts(url, alerts):
    """Status and body for a list of alerts. As every sender does, it says them again when the answer is 503: a machine that is busy may be too slow
    with the first."""
    for _ in range(100):
        status, body, _ = request(f"{url}/api/v2/alerts", alerts)
        if status != 503:
            break
        time.sleep(0.5)
    return status, body


def wait(what, probe, seconds=PATIENCE, pause=0.05):
    """The first true value of `probe`; its errors count as not yet."""
    deadline = time.monotonic() + seconds
    last = None
    while time.monotonic() < deadline:
        try:
            if result := probe():
                return result
        except (OSError, ValueError, LookupError, StopIteration, HTTPException) as error:
            last = error
        time.sleep(pause)
    raise Failed(f"not within {seconds} s: {what}" + (f" (last error: {last!r})" if last else ""))


class Server:
    """An HTTP server of the test's own. `answer(path, method, headers, body)` gives (status, headers, body)."""

    def __init__(self, answer):
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, headers, out = server.answer(self.path, self.command, self.headers, body)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(out)), **headers}.items():
                    self.send_header(name, value)
                try:
                    self.end_headers()
                    self.wfile.write(out)
                except ConnectionError:
                    self.close_connection = True  # whoever asked has gone away

            do_GET = do_POST = handle_any

            def log_message(self, *_):
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, request, client_address):
                # Whoever asked was killed.
                if not isinstance(sys.exc_info()[1], ConnectionError):
                    super().handle_error(request, client_address)

        self.answer = answer
        self.http = Quiet(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


class Inbox(Server):
    """A receiver of webhooks that remembers them."""

    def __init__(self):
        self.received = []
        self.fail = False
        super().__init__(self.take)

    def take(self, path, _method, headers, body):
        entry = {"to": path.strip("/"), "at": time.time(), "key": headers.get("Idempotency-Key"),
                 "headers": dict(headers.items()), "message": json.loads(body or b"null")}
        if self.fail:
            return 503, {}, b"no"
        self.received.append(entry)
        return 200, {}, b"ok"

    def find(self, to, status="firing"):
        return [e for e in list(self.received) if e["to"] == to and e["message"]["status"] == status]


class Stage:
    """Temporary directory and processes of one test."""

    def __init__(self, binary, under=None):
        self.binary = Path(binary).resolve()
        self.dir = Path(tempfile.mkdtemp(prefix="sideband-test.", dir=under))
        self.processes = {}

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            for name in self.processes:
                print(f"--- last lines of {name}:\n{self.log(name)[-3000:]}", file=sys.stderr)
        for process in reversed(self.processes.values()):
            self.signal_group(process, signal.SIGTERM)
        deadline = time.time() + 8
        for process in self.processes.values():
            try:
                process.wait(max(0.1, deadline - time.time()))
            except subprocess.TimeoutExpired:
                self.signal_group(process, signal.SIGKILL)
                process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    @staticmethod
    def signal_group(process, number):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            pass

    def file(self, name, text):
        path = self.dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def log(self, name):
        return (self.dir / f"{name}.log").read_text(errors="replace")

    def start(self, name, command, env=None, cwd=None):
        with open(self.dir / f"{name}.log", "ab") as log:
            process = subprocess.Popen(
                [str(c) for c in command], stdout=log, stderr=subprocess.STDOUT, cwd=cwd or self.dir,
                env={**os.environ, **(env or {})}, start_new_session=True,
            )
        self.processes[name] = process
        return process

    def sideband(self, config, name="sideband", flags=(), port=None, data=None, env=None):
        """Starts sideband with a configuration text; gives its base URL."""
        port = port or free_port()
        path = self.file(f"{name}/sideband.yml", config)
        self.start(name, [self.binary, f"--config.file={path}", f"--web.listen-address=127.0.0.1:{port}",
                          f"--storage.path={data or self.dir / name / 'data'}", *flags], env)
        url = f"http://127.0.0.1:{port}"
        self.ready(name, url)
        return url

    def ready(self, name, url):
        """Waits until it is, or has ended."""
        process = self.processes[name]
        wait(f"{name} is ready", lambda: process.poll() is not None or request(url + "/-/ready")[0] == 200)
        expect(process.poll() is None, f"{name} ended with {process.poll()}")

    def flask_app(self):
        """Starts the demo's Flask app under gunicorn with two workers; gives its address."""
        address = f"127.0.0.1:{free_port()}"
        multiproc = self.dir / "multiproc"
        multiproc.mkdir()
        scripts = Path(sys.executable).parent
        self.start("app", [scripts / "gunicorn", "-c", "gunicorn.conf.py", "-b", address, "app:app"],
                   {"PROMETHEUS_MULTIPROC_DIR": str(multiproc), "DEMO_SLOWDOWN_FILE": str(self.dir / "slow"),
                    "PYTHONDONTWRITEBYTECODE": "1"}, cwd=ROOT / "deploy/demo")
        wait("the Flask app answers", lambda: request(f"http://{address}/")[0] == 200)
        return address


def query(url, expr):
    """The result of an instant query."""
    answer = json.loads(http(f"{url}/api/v1/query?" + urllib.parse.urlencode({"query": expr})))
    if answer["status"] != "success":
        raise Failed(f"{expr}: {answer}")
    return answer["data"]["result"]


def expect(condition, what):
    if not condition:
        raise Failed(what)


def main(tests, binary, only=()):
    """Runs test functions that take a stage; prints a line each; the exit code."""
    failed = 0
    # What a build has just written goes to the disk first, or it would hold up what the tests write.
    os.sync()
    ran = [t for t in tests if not only or t.__name__ in only]
    for test in ran:
        began = time.time()
        try:
            with Stage(binary) as stage:
                test(stage)
            print(f"ok    {test.__name__} ({time.time() - began:.1f} s)", flush=True)
        except Exception:  # a test may fail in any way; the others go on
            failed += 1
            traceback.print_exc()
            print(f"FAIL  {test.__name__} ({time.time() - began:.1f} s)", flush=True)
    print(f"{len(ran) - failed} passed, {failed} failed")
    return 1 if failed or not ran else 0
