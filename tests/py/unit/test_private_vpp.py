# SPDX-License-Identifier: Apache-2.0
"""A private VPP, with a program in VPP's place that does as the test says."""

from pathlib import Path

import pytest

from hashmvt import private_vpp
from hashmvt.private_vpp import Installation, PrivateVpp, VppError, find_installation

VPP = """#!/bin/sh
echo start >>{here}/starts
[ $(wc -l <{here}/starts) -gt {starving} ] || {{ echo "{words}"; exit 1; }}
trap 'exit {status}' TERM
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
    here: Path, *, starving: int = 0, words: str = "worker thread deadlock", status: int = 0
) -> PrivateVpp:
    """Return a VPP that ends itself with ``words`` so many times before it runs."""
    for name, text in (("vpp", VPP), ("vppctl", VPPCTL)):
        program = here / name
        program.write_text(text.format(here=here, starving=starving, words=words, status=status))
        program.chmod(0o755)
    return PrivateVpp(here / "run", Installation(here / "vpp", here, here))


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


def test_it_does_not_start_again_after_another_end(tmp_path: Path) -> None:
    vpp = make(tmp_path, starving=9, words="no memory")
    with pytest.raises(VppError, match="did not start: no memory"):
        vpp.start()
    assert (tmp_path / "starts").read_text().count("start") == 1


def test_it_leaves_no_shared_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = tmp_path / "shm"
    shared.mkdir()
    monkeypatch.setattr(private_vpp, "_SHARED_MEMORY", shared)
    with make(tmp_path) as vpp:
        prefix = next(
            line.split()[3]
            for line in (vpp.directory / "startup.conf").read_text().splitlines()
            if line.startswith("api-segment")
        )
        for name in (f"{prefix}-global_vm", f"{prefix}-vpe-api", "other-vpe-api"):
            (shared / name).touch()
    assert [path.name for path in shared.iterdir()] == ["other-vpe-api"]


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HASHMVT_VPP", str(tmp_path / "bin" / "vpp"))
    monkeypatch.delenv("HASHMVT_VPP_PLUGINS", raising=False)
    with pytest.raises(VppError, match="VPP is not installed"):
        find_installation(tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "vpp").write_text("#!/bin/sh\n")
    (tmp_path / "bin" / "vpp").chmod(0o755)
    with pytest.raises(VppError, match="plugin is not built"):
        find_installation(tmp_path)
    built = tmp_path / "build" / "vpp" / "lib" / "vpp_plugins"
    built.mkdir(parents=True)
    (built / "hashmvt_plugin.so").touch()
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(VppError, match="needs root"):
        find_installation(tmp_path)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert find_installation(tmp_path).ours == built
