# SPDX-License-Identifier: Apache-2.0
"""The sandbox leaves nothing behind, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from demo import sandbox

ROOT = Path(__file__).resolve().parents[2]
WHY_NOT = sandbox.why_not()

pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=f"no sandbox here: {WHY_NOT}")


def start(body: str) -> subprocess.Popen[str]:
    """Run ``body`` as the inside of a sandbox."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    script = (
        "import subprocess, sys, time\nfrom demo import sandbox\n"
        f"def inner():\n{lines}\nsys.exit(sandbox.run(inner))\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def running(mark: str) -> bool:
    """Whether a process with ``mark`` among its words exists."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in path.read_bytes().split(b"\0"):
                return True
        except OSError:
            continue  # it has ended meanwhile
    return False


def settles(mark: str, *, there: bool) -> bool:
    """Whether it soon runs, or no longer; what was just executed has no words for a moment."""
    deadline = time.monotonic() + 5
    while running(mark) is not there and time.monotonic() < deadline:
        time.sleep(0.02)
    return running(mark) is there


def sleeper(mark: str) -> str:
    """An inside that has a child in a session of its own, and waits."""
    return (
        f"subprocess.Popen(['sleep', '{mark}'], start_new_session=True)\n"
        "print('up', flush=True)\ntime.sleep(60)\nreturn 0"
    )


@pytest.mark.parametrize("code", [0, 1, 7])
def test_the_exit_code_comes_through(code: int) -> None:
    with start(f"return {code}") as process:
        assert process.wait(10) == code


def test_an_exception_is_a_failure() -> None:
    body = "sys.stderr = open('/dev/null', 'w')\nraise ValueError"
    with start(body) as process:
        assert process.wait(10) == 1


def test_names_are_not_seen_outside() -> None:
    name = f"hidden{os.getpid()}"
    body = (
        f"subprocess.run(['ip', 'netns', 'add', '{name}'], check=True)\n"
        f"subprocess.run(['ip', 'tuntap', 'add', 'hmvt-in', 'mode', 'tun'], check=True)\n"
        "for place in ('/run', '/dev/shm'): open(f'{place}/left-behind', 'w').close()\n"
        "print('up', flush=True)\ntime.sleep(0.3)\nreturn 0"
    )
    with start(body) as process:
        assert said(process) == "up"
        listed = subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True)
        links = subprocess.run(["ip", "link"], capture_output=True, text=True, check=True)
        assert name not in listed.stdout
        assert "hmvt-in" not in links.stdout
        assert not Path("/run/left-behind").exists()
        assert not Path("/dev/shm/left-behind").exists()  # noqa: S108
        assert process.wait(10) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_everything(number: signal.Signals) -> None:
    mark = f"60.{os.getpid()}{int(number)}"
    with start(sleeper(mark)) as process:
        assert said(process) == "up"
        assert settles(mark, there=True)
        process.send_signal(number)
        assert process.wait(10) == 128 + number
        assert settles(mark, there=False)


def test_a_kill_ends_everything() -> None:
    mark = f"61.{os.getpid()}9"
    with start(sleeper(mark)) as process:
        assert said(process) == "up"
        process.kill()
        process.wait(10)
        assert settles(mark, there=False)


def test_the_end_of_the_inside_ends_what_it_started() -> None:
    mark = f"62.{os.getpid()}"
    body = f"subprocess.Popen(['sleep', '{mark}'], start_new_session=True)\nreturn 0"
    with start(body) as process:
        assert process.wait(10) == 0
        assert settles(mark, there=False)
