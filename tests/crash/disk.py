"""A disk that is full, turns read-only, or has damaged what the ledger keeps: pages go out all the same, and everything says that durability is gone."""

import json
import os
import random
import shutil
import subprocess
import time
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

from kills import CONFIG, paging
from stage import Inbox, expect, http, request, send_alerts, wait

WARNING = "cannot write its ledger"


class Refused(Exception):
    """This machine lets nobody mount."""


@contextmanager
def mounted(stage, name, *arguments):
    place = stage.dir / name
    place.mkdir()
    done = subprocess.run(["mount", *arguments, str(place)], capture_output=True, text=True)
    if done.returncode:
        raise Refused(done.stderr.strip())
    try:
        yield place
    finally:
        # What was started on it ends first.
        for process in stage.processes.values():
            process.kill()
            process.wait()
        subprocess.run(["umount", str(place)], check=False)


def post(url, names, bytes_each=10, minutes=360):
    now = datetime.now(timezone.utc)
    text = lambda t: t.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    alerts = [{"labels": {"alertname": n, "severity": "page"}, "annotations": {"summary": n, "text": "x" * bytes_each},
               "startsAt": text(now), "endsAt": text(now + timedelta(minutes=minutes))} for n in names]
    status, body = send_alerts(url, alerts)
    expect(status == 200, f"{len(names)} alerts: {status} {body}")


def metric(url, name):
    lines = http(url + "/metrics", headers={"Accept": "text/plain"}).splitlines()
    return next(float(l.rsplit(" ", 1)[1]) for l in lines if l.startswith(name + " "))


def named(entries):
    return {e["message"]["groupLabels"]["alertname"] for e in entries}


def says_that_durability_is_gone(url, log):
    wait("the metric", lambda: metric(url, "sideband_paging_ledger_up") == 0)
    status, text, _ = request(url + "/-/ready")
    expect(status == 200 and "LEDGER TAKES NOTHING" in text, f"ready: {status} {text}")
    expect(json.loads(http(url + "/api/v1/status/runtimeinfo"))["data"]["pagingDurable"] is False, "runtimeinfo")
    expect("ledger" in http(url + "/").lower(), "the page of an overview")
    expect("THE LEDGER DOES NOT TAKE" in log(), "the log")


def fails(stage, data, fail):
    """What is common to a full disk and to one that turns read-only: all is paged, and everything says so. Gives the URL, the pager, and the
    names."""
    inbox = Inbox()
    stage.file("sideband/paging.yml", paging(inbox, 4))
    url = stage.sideband(CONFIG, data=data)
    log = lambda: stage.log("sideband")
    post(url, ["before"])
    wait("the page of before", lambda: named(inbox.find("a")) == {"before"})
    wait("the ledger works", lambda: metric(url, "sideband_paging_ledger_up") == 1)
    fail()
    many = [f"while-{n}" for n in range(300)]
    began = time.time()
    post(url, many, 3000)
    wait("all pages went out", lambda: named(inbox.find("a")) == {"before", *many})
    print(f"      300 pages without a disk in {time.time() - began:.1f} s", flush=True)
    warned = [e for e in inbox.find("a") if WARNING in json.dumps(e["message"])]
    expect(len(warned) > 250, f"pages that say so: {len(warned)}")
    says_that_durability_is_gone(url, log)
    number = next(e["message"]["incident"]["id"] for e in inbox.find("a") if e["message"]["groupLabels"]["alertname"] == "while-7")
    status, text, _ = request(f"{url}/api/v1/incidents/{number}/ack", {"by": "ann"})
    expect(status == 200, f"an acknowledgement: {status} {text}")
    wait("the escalation goes on", lambda: len(named(inbox.find("b"))) >= 250)
    # Whoever acknowledges too late has a backup who was paged.
    return url, inbox, many, all(p["step"] == 1 for p in json.loads(text)["data"]["pages"])


def a_full_disk_that_has_room_again(stage, data, fail, heal):
    url, inbox, many, in_time = fails(stage, data, fail)
    log = lambda: stage.log("sideband")
    heal()
    wait("the ledger works again", lambda: metric(url, "sideband_paging_ledger_up") == 1)
    expect("the ledger takes what is written again" in log(), "the log")
    expect(http(url + "/-/ready") == "sideband is ready.\n", "ready")
    wait("the rest", lambda: named(inbox.find("b")) >= {"before", *many} - {"while-7"})
    expect(not in_time or "while-7" not in named(inbox.find("b")), "acknowledged, and the backup was paged")
    post(url, ["after"])
    wait("a page of after", lambda: "after" in named(inbox.find("a")))
    expect(not any(WARNING in json.dumps(e["message"]) for e in inbox.find("a") if e["message"]["groupLabels"]["alertname"] == "after"), "no warning any more")
    wait("the outbox is empty", lambda: metric(url, "sideband_paging_outbox_rows") == 0)

    # All of it is on the disk.
    sent = len(inbox.received)
    stage.processes["sideband"].kill()
    stage.processes["sideband"].wait()
    verify = subprocess.run([stage.binary, "db", "verify", f"--storage.path={data}"], capture_output=True, text=True)
    expect(verify.returncode == 0, f"{verify}")
    url = stage.sideband(CONFIG, data=data, port=int(url.rsplit(":", 1)[1]))
    found = json.loads(http(f"{url}/api/v1/incidents?state=all&limit=10000"))["data"]["incidents"]
    expect({i["groupLabels"]["alertname"] for i in found} == {"before", "after", *many}, f"{len(found)} incidents after a restart")
    expect([i["groupLabels"]["alertname"] for i in found if i["state"] == "acknowledged"] == ["while-7"], "the acknowledgement is remembered")
    time.sleep(1)
    again = [e for e in inbox.received[sent:] if e["message"]["groupLabels"]["alertname"] != "after"]
    expect(not again, f"sent again after the restart: {again[:2]}")
    keys = {}
    for e in inbox.received:
        what = (e["to"], e["message"]["groupLabels"]["alertname"], e["message"]["status"])
        expect(keys.setdefault(e["key"], what) == what, f"a key with two meanings: {e['key']}")


def a_full_disk(stage):
    try:
        with mounted(stage, "disk", "-t", "tmpfs", "-o", "size=6m", "tmpfs") as place:
            filler = place / "filler"

            def fill():
                with open(filler, "wb", buffering=0) as f:
                    try:
                        while True:
                            f.write(b"x" * 4096)
                    except OSError:
                        pass

            a_full_disk_that_has_room_again(stage, place / "data", fill, filler.unlink)
    except Refused as reason:
        print(f"      left out: {reason}", flush=True)


def a_disk_that_turns_read_only(stage):
    """As ext4 does after an error of the disk."""
    image = stage.dir / "image"
    with open(image, "wb") as f:
        f.truncate(24 << 20)
    if not shutil.which("mkfs.ext4"):
        print("      left out: no mkfs.ext4", flush=True)
        return
    subprocess.run(["mkfs.ext4", "-q", "-O", "^has_journal", str(image)], check=True)
    try:
        with mounted(stage, "disk", "-o", "loop,errors=remount-ro", str(image)) as place:
            device = subprocess.run(["findmnt", "-no", "SOURCE", str(place)], capture_output=True, text=True).stdout.strip().rsplit("/", 1)[-1]
            trigger = f"/sys/fs/ext4/{device}/trigger_fs_error"
            if not os.access(trigger, os.W_OK):
                raise Refused(f"{trigger} cannot be written to")

            def fail():
                with open(trigger, "w") as f:
                    f.write("1\n")

            url, inbox, *_ = fails(stage, place / "data", fail)
            stage.processes["sideband"].kill()
            stage.processes["sideband"].wait()
            starts_without_a_disk(stage, place / "data", inbox, url)
            subprocess.run(["umount", str(place)], check=True)
            subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True)
            # What was written before is known; what was in memory alone is not, and its senders say it again.
            url = stage.sideband(CONFIG, data=place / "data", port=int(url.rsplit(":", 1)[1]))
            wait("the ledger works", lambda: metric(url, "sideband_paging_ledger_up") == 1)
            found = json.loads(http(f"{url}/api/v1/incidents?state=all"))["data"]["incidents"]
            expect([i["groupLabels"]["alertname"] for i in found] == ["before"], f"{found}")
            before = {e["message"]["incident"]["id"] for e in inbox.received}
            post(url, ["later"])
            wait("a page of later", lambda: "later" in named(inbox.find("a")))
            page = next(e for e in inbox.find("a") if e["message"]["groupLabels"]["alertname"] == "later")
            expect(page["message"]["incident"]["id"] not in before, "a number that was forgotten is given again")
    except Refused as reason:
        print(f"      left out: {reason}", flush=True)


def starts_without_a_disk(stage, data, inbox, url):
    """A machine starts again, and its disk cannot be written to: what the ledger has is known, pages go out, and everything says so."""
    (stage.dir / "sideband.log").unlink()
    url = stage.sideband(CONFIG, data=data, port=int(url.rsplit(":", 1)[1]))
    expect("THE STORAGE PATH CANNOT BE USED" in stage.log("sideband"), stage.log("sideband"))
    found = {i["groupLabels"]["alertname"] for i in json.loads(http(f"{url}/api/v1/incidents?state=all"))["data"]["incidents"]}
    expect("before" in found, f"what the ledger has is known: {found}")
    post(url, ["without-a-disk"])
    page = lambda to: [e["message"] for e in inbox.find(to) if e["message"]["groupLabels"]["alertname"] == "without-a-disk"]
    wait("a page", lambda: page("a"))
    wait("the backup", lambda: page("b"))
    expect(WARNING in json.dumps(page("a")[0]), f"{page('a')[0]}")
    says_that_durability_is_gone(url, lambda: stage.log("sideband"))
    expect(http(url + "/api/v1/query?query=up").startswith('{"status":"success"'), "queries work")
    stage.processes["sideband"].kill()
    stage.processes["sideband"].wait()


def damage(data, dice):
    """Wrong bytes at the heads of pages, where the library stumbles most."""
    for _ in range(dice.choice([1, 3, 20])):
        page = dice.randrange(len(data) // 4096) * 4096
        how = dice.random()
        if how < 0.5:
            for _ in range(4):
                data[page + dice.randrange(64)] = dice.randrange(256)
        elif how < 0.7:
            data[page:page + 4096] = bytes(4096)
        elif how < 0.9:
            other = dice.randrange(len(data) // 4096) * 4096
            data[page:page + 4096] = data[other:other + 4096]
        else:
            data[dice.randrange(400)] ^= 1 << dice.randrange(8)


def a_damaged_ledger(stage):
    """Damaged between two lives, and in the middle of one: it starts, and pages."""
    inbox, dice = Inbox(), random.Random(7)
    stage.file("sideband/paging.yml", paging(inbox, 60))
    url = stage.sideband(CONFIG)
    port, data = int(url.rsplit(":", 1)[1]), stage.dir / "sideband/data"
    post(url, [f"old-{n}" for n in range(60)], 500)
    wait("the old pages", lambda: len(named(inbox.find("a"))) == 60)
    stage.processes["sideband"].kill()
    stage.processes["sideband"].wait()
    whole = (data / "ledger.redb").read_bytes()
    aside = panicked = 0
    # What is damaged differs from run to run, since the file does; that a panic harms nothing is for tests/behaviour/ledger.rs to prove.
    for n in range(25):
        for file in data.glob("ledger.redb*"):
            file.unlink()
        running = n % 3 == 2
        changed = bytearray(whole)
        damage(changed, dice)
        (data / "ledger.redb").write_bytes(whole if running else changed)
        (stage.dir / "sideband.log").unlink()
        url = stage.sideband(CONFIG, port=port)
        if running:
            with open(data / "ledger.redb", "r+b") as f:
                f.write(changed[:(data / "ledger.redb").stat().st_size])
        # Enough to make it read and write pages of all tables.
        names = [f"new-{n}-{m}" for m in range(40)]
        post(url, names, 2000)
        wait(f"the pages, damage {n}", lambda: named(inbox.find("a")) >= set(names))
        wait("the ledger works in the end", lambda: metric(url, "sideband_paging_ledger_up") == 1)
        expect(stage.processes["sideband"].poll() is None, "it lives")
        aside += any(data.glob("ledger.redb.damaged-*"))
        panicked += "the database library panicked" in stage.log("sideband")
        stage.processes["sideband"].kill()
        stage.processes["sideband"].wait()
    print(f"      25 damages: {aside} put aside, in {panicked} the library panicked", flush=True)
