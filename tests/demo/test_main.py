# SPDX-License-Identifier: Apache-2.0
"""However it is ended, the demonstration shows nobody a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from demo import sandbox
from demo.sandbox import READER_LEFT

ROOT = Path(__file__).resolve().parents[2]
WHY_NOT = sandbox.why_not()

INTERRUPTED_BY_ITSELF = """
import os, runpy, signal, sys

class Finder:
    def find_spec(self, name, *_):
        if name == "demo.main":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
runpy.run_module("demo", run_name="__main__")
"""
FLOOD = """
import sys
from demo import sandbox

def inner():
    while True:
        print("a line", flush=True)

sys.exit(sandbox.run(inner))
"""


def run_without_reader(*words: str) -> tuple[int, bytes]:
    """Run Python with a standard output that nobody reads; exit code and standard error."""
    read, write = os.pipe()
    os.close(read)
    with subprocess.Popen(
        [sys.executable, *words], cwd=ROOT, stdout=write, stderr=subprocess.PIPE
    ) as process:
        os.close(write)
        _, error = process.communicate(timeout=20)
    return process.returncode, error


def test_an_interrupt_while_it_starts_is_silent() -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_BY_ITSELF],
        cwd=ROOT, capture_output=True, timeout=20, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (-signal.SIGINT, b"")


def test_a_reader_that_leaves_ends_it_silently() -> None:
    assert run_without_reader("-m", "demo", "--offline") == (READER_LEFT, b"")


@pytest.mark.parametrize(
    ("variable", "says"),
    [("HASHMVT_VPP", "VPP is not installed"), ("HASHMVT_VPP_PLUGINS", "the VPP plugin is not")],
)
def test_what_vpp_lacks_is_said_in_one_sentence(
    tmp_path: Path, variable: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "vpp"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("HASHMVT_VPP", str(program))
    monkeypatch.setenv(variable, str(tmp_path / "nothing"))
    done = subprocess.run(
        [sys.executable, "-m", "demo", "--dataplane", "vpp"],
        cwd=ROOT, capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert says in line or "needs root" in line or "not root" in line


@pytest.mark.skipif(WHY_NOT is not None, reason=f"no sandbox here: {WHY_NOT}")
def test_a_reader_that_leaves_ends_the_inside_silently() -> None:
    assert run_without_reader("-c", FLOOD) == (READER_LEFT, b"")


@pytest.mark.skipif(WHY_NOT is not None, reason=f"no sandbox here: {WHY_NOT}")
def test_a_reader_that_leaves_ends_the_live_demonstration_silently() -> None:
    assert run_without_reader("-m", "demo") == (READER_LEFT, b"")
