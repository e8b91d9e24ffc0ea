# SPDX-License-Identifier: Apache-2.0
"""A private VPP, with a program in VPP's place that does as the test says."""

import os
import signal
import time
from pathlib import Path

import pytest

from hashmvt import private_vpp
from hashmvt.private_vpp import (
    Installation,
    Options,
    PrivateVpp,
    StarvedError,
    VppError,
    find_installation,
    reason_in,
)

VPP = """#!/bin/sh
echo start >>{here}/starts
[ $(wc -l <{here}/starts) -gt {starving} ] || {{ echo "{words}"; exit 1; }}
trap 'echo "{last}"; exit {status}' TERM
: >{here}/listens
while :; do sleep 0.05; done
"""
VPPCTL = """#!/bin/sh
[ -e {here}/listens ] || {{ echo "connect: Connection refused" >&2; exit 1; }}
case "$3" in
"show version") echo "vpp v26.06" ;;
bad) echo "unknown input \\`bad'" ;;
*) echo "$3" >>{here}/said ;;
esac
"""


def make(
    here: Path,
    *,
    starving: int = 0,
    words: str = "worker thread deadlock",
    last: str = "",
    status: int = 0,
    workers: int = 0,
) -> PrivateVpp:
    """Return a VPP that ends itself with ``words`` so many times before it runs."""
    for name, text in (("vpp", VPP), ("vppctl", VPPCTL)):
        program = here / name
        program.write_text(
            text.format(here=here, starving=starving, words=words, last=last, status=status)
        )
        program.chmod(0o755)
    return PrivateVpp(
        here / "run", Installation(here / "vpp", here, here), Options(workers=workers)
    )


def test_it_starts_obeys_and_stops(tmp_path: Path) -> None:
    with make(tmp_path) as vpp:
        assert vpp.alive
        vpp.do("one", "two")
        with pytest.raises(VppError, match="VPP refused `bad`: unknown input"):
            vpp.do("bad")
    assert not vpp.alive
    assert vpp.status == 0
    assert (tmp_path / "said").read_text().split() == ["one", "two"]


def test_it_starts_again_where_its_threads_starved(tmp_path: Path) -> None:
    vpp = make(tmp_path, starving=2)
    vpp.start("set up")
    vpp.stop()
    assert (tmp_path / "starts").read_text().count("start") == 3
    assert (tmp_path / "said").read_text() == "set up\n"


@pytest.mark.parametrize("last", ["", "worker thread deadlock"])
def test_starving_at_the_stop_is_told_from_other_ends(tmp_path: Path, last: str) -> None:
    """Its threads must meet once more when VPP is told to end."""
    vpp = make(tmp_path, last=last, status=1)
    vpp.start()
    vpp.stop()
    assert vpp.status == 1
    assert vpp.starved == bool(last)


def test_threads_that_always_starve_are_told(tmp_path: Path) -> None:
    vpp = make(tmp_path, starving=9)
    with pytest.raises(StarvedError, match="did not get the CPU for a second"):
        vpp.start()
    assert (tmp_path / "starts").read_text().count("start") == 5


def test_it_does_not_start_again_after_another_end(tmp_path: Path) -> None:
    vpp = make(tmp_path, starving=9, words="no memory")
    with pytest.raises(VppError, match="VPP ended with status 1: no memory"):
        vpp.start()
    assert (tmp_path / "starts").read_text().count("start") == 1


def test_it_leaves_no_shared_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = tmp_path / "shm"
    shared.mkdir()
    monkeypatch.setattr(private_vpp, "SHARED_MEMORY", shared)
    with make(tmp_path) as vpp:
        prefix = next(
            line.split()[3]
            for line in (vpp.directory / "startup.conf").read_text().splitlines()
            if line.startswith("api-segment")
        )
        for name in (f"{prefix}-global_vm", f"{prefix}-vpe-api", "other-vpe-api"):
            (shared / name).touch()
    assert [path.name for path in shared.iterdir()] == ["other-vpe-api"]


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.root)])
def test_it_does_not_outlive_whoever_started_it(tmp_path: Path, workers: int) -> None:
    vpp = make(tmp_path, workers=workers)
    starter = os.fork()
    if not starter:
        vpp.start()
        (tmp_path / "pid").write_text(str(vpp.pid))
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(starter, 0)
    pid = (tmp_path / "pid").read_text()
    end = time.monotonic() + 5
    while is_running(pid):
        assert time.monotonic() < end
        time.sleep(0.01)


def is_running(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_path_too_long_for_sockets_is_told(tmp_path: Path) -> None:
    with pytest.raises(VppError, match="too long for a socket: set a shorter TMPDIR"):
        PrivateVpp(tmp_path / ("x" * 90), Installation(tmp_path, tmp_path, tmp_path)).start()


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([], "it said nothing"),
        (["hello", "bye", ""], "bye"),
        (
            ["started", "vpp[1]: os_out_of_memory:182: out of memory", "backtrace"],
            "vpp[1]: os_out_of_memory:182: out of memory",
        ),
        (
            [
                "0: vnet_feature_arc_init:262: feature node 'acl-plugin-in-ip4-fa' not found",
                "vat-plug/load         [error ]: vat_plugin_register: acl plugin not loaded...",
                "Out-of-memory, calling os_panic().",
                "os_panic() called, aborting.",
            ],
            "Out-of-memory, calling os_panic().",
        ),
        (["x" * 400], "x" * 297 + "..."),
    ],
)
def test_reason_of_a_death(lines: list[str], reason: str) -> None:
    assert reason_in(lines) == reason


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HASHMVT_VPP", str(tmp_path / "bin" / "vpp"))
    monkeypatch.delenv("HASHMVT_VPP_PLUGINS", raising=False)
    with pytest.raises(VppError, match="VPP is not installed"):
        find_installation(tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "vpp").write_text("#!/bin/sh\n")
    (tmp_path / "bin" / "vpp").chmod(0o755)
    where = f"below {tmp_path}/build\\* nor in {tmp_path}/lib/vpp_plugins: .*`make build` makes it"
    with pytest.raises(VppError, match=where):
        find_installation(tmp_path)
    with pytest.raises(VppError, match=f"the VPP plugin is not in {tmp_path}"):
        find_installation(tmp_path, ours=tmp_path)
    built = tmp_path / "build" / "vpp" / "lib" / "vpp_plugins"
    built.mkdir(parents=True)
    (built / "hashmvt_plugin.so").touch()
    with pytest.raises(VppError, match=f"{tmp_path}/bin/vppctl is missing"):
        find_installation(tmp_path)
    (tmp_path / "bin" / "vppctl").touch(0o755)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(VppError, match="needs root"):
        find_installation(tmp_path)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    found = find_installation(tmp_path)
    assert found.ours == built
    assert found.has("hashmvt")
    assert not found.has("hashmvt_touch")
    (built / "hashmvt_touch_plugin.so").touch()
    assert found.has("hashmvt_touch")
    assert not found.has("nat")
