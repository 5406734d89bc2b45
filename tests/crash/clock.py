"""The wall clock jumps an hour while an escalation runs: the backup is paged when it is due, neither early nor never.

It needs libfaketime, and a binary that asks the C library for the time, which the ordinary one does not:

    RUSTFLAGS='--cfg rustix_use_libc' cargo build --target-dir target/libc
    python tests/crash/run.py --binary target/libc/debug/sideband the_wall_clock_jumps
"""

import time
from pathlib import Path

from disk import named, post
from kills import CONFIG, moment, paging
from stage import Inbox, expect, wait

ACK_TIMEOUT = 4


def library():
    found = [p for place in ("/usr/lib", "/usr/local/lib") for p in Path(place).glob("**/libfaketime.so.1")]
    return found[0] if found else None


def the_wall_clock_jumps(stage):
    faketime = library()
    if not faketime:
        print("      left out: libfaketime is not installed", flush=True)
        return
    inbox = Inbox()
    stage.file("sideband/paging.yml", paging(inbox, ACK_TIMEOUT))
    shift = stage.file("shift", "+0\n")
    # Timers count by CLOCK_BOOTTIME, which no jump moves.
    env = {"LD_PRELOAD": str(faketime), "FAKETIME_TIMESTAMP_FILE": str(shift), "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
           "DONT_FAKE_MONOTONIC": "1"}
    url = stage.sideband(CONFIG, env=env)
    shift.write_text("+600\n")
    post(url, ["the-clock"], minutes=3 * 24 * 60)
    seen = wait("a page", lambda: inbox.find("a"))[0]
    wait("its backup", lambda: inbox.find("b"))
    if moment(seen["message"]["incident"]["triggeredAt"]) < time.time() + 300:
        print("      left out: this binary asks the kernel for the time", flush=True)
        return
    for name, jump in (("no jump", "+600"), ("an hour forward", "+3600"), ("two hours back", "-3600"), ("back to the truth", "+0"), ("a day forward", "+86400")):
        alert, before = name.replace(" ", "-"), int(shift.read_text())
        post(url, [alert], minutes=3 * 24 * 60)
        first = wait(f"the first page, {name}", lambda: [e for e in inbox.find("a") if alert in named([e])])[0]
        time.sleep(1)
        shift.write_text(jump + "\n")
        second = wait(f"the backup's page, {name}", lambda: [e for e in inbox.find("b") if alert in named([e])])[0]
        triggered = moment(first["message"]["incident"]["triggeredAt"]) - before
        late = second["at"] - triggered - ACK_TIMEOUT
        print(f"      {name}: the backup {late:.3f} s late", flush=True)
        expect(-0.01 < late < 5, f"{name}: {late:.3f} s late")
    expect(len(inbox.find("a")) == 6 and len(inbox.find("b")) == 6, f"one page each: {len(inbox.find('a'))}, {len(inbox.find('b'))}")
    expect(not inbox.find("a", "resolved"), "nothing is over")

    # A jump while it is down: what remains is waited for by the wall clock, at the most as long as the step takes.
    for name, jump, most in (("down, and an hour forward", "+90000", 2), ("down, and an hour back", "+86400", ACK_TIMEOUT + 4)):
        alert = name.replace(" ", "-").replace(",", "")
        post(url, [alert], minutes=3 * 24 * 60)
        wait(f"the first page, {name}", lambda: [e for e in inbox.find("a") if alert in named([e])])
        stage.processes["sideband"].kill()
        stage.processes["sideband"].wait()
        shift.write_text(jump + "\n")
        began = time.time()
        url = stage.sideband(CONFIG, env=env, port=int(url.rsplit(":", 1)[1]))
        second = wait(f"the backup's page, {name}", lambda: [e for e in inbox.find("b") if alert in named([e])])[0]
        took = second["at"] - began
        print(f"      {name}: the backup {took:.3f} s after the start", flush=True)
        expect(took < most, f"{name}: {took:.3f} s")
