# SPDX-License-Identifier: Apache-2.0
"""What `make pkg-deb` makes is whole, and fits the VPP that it was made for."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DIST = ROOT / "dist"


def run(*words: str | Path) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module", autouse=True)
def packages() -> str:
    return run("make", "pkg-deb")


@pytest.fixture(scope="module")
def deb(packages: str) -> Path:
    found = list(DIST.glob("*.deb"))
    if not found:
        assert "not made" in packages
        pytest.skip("there is no VPP plugin")
    [path] = found
    return path


@pytest.fixture(scope="module")
def vpp_version() -> str:
    log = (ROOT / "build" / "log" / "vpp.log").read_text()
    found = re.search(r"VPP plugin: built for VPP (\S+) in", log)
    assert found
    return found[1]


def test_wheel_runs_without_the_checkout(tmp_path: Path) -> None:
    """The binding and its data are in it, and the commands find them."""
    [wheel] = DIST.glob("hashmvt-*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1));"
        "import hashmvt._ffi._mvt as m; assert m.__file__.startswith(sys.path[0]), m.__file__;"
        "from hashmvt.cli import main; sys.argv[0] = 'hashmvt'; main()"
    )
    config = ROOT / "configs" / "embedded.yaml"
    assert run(sys.executable, "-c", code, tmp_path, "check", config)


def test_deb_holds_plugins_and_api(deb: Path) -> None:
    """Where VPP and vpp-papi look, and nothing else."""
    listing = run("dpkg-deb", "-c", deb)
    files = {line.split()[5] for line in listing.splitlines() if line.startswith("-")}
    plugins = {f for f in files if f.endswith(".so")}
    [place] = {str(Path(f).parent) for f in plugins}
    assert re.fullmatch(r"usr/lib(/[\w-]+)?/vpp_plugins", place)
    assert {Path(f).name for f in plugins} == {"hashmvt_plugin.so", "hashmvt_touch_plugin.so"}
    assert files - plugins == {
        "./usr/share/vpp/api/plugins/hashmvt.api.json",
        "./usr/share/doc/vpp-plugin-hashmvt/copyright",
        "./usr/share/doc/vpp-plugin-hashmvt/examples/vpp-startup.conf",
    }


def test_deb_wants_its_own_vpp(deb: Path, vpp_version: str) -> None:
    """VPP loads the plugin into no other version, so no other one satisfies the package."""
    assert re.fullmatch(r"vpp-plugin-hashmvt_[\d.]+\+vpp[\d.]+_\w+\.deb", deb.name)
    depends = run("dpkg-deb", "-f", deb, "Depends").strip().split(", ")
    assert f"vpp (= {vpp_version})" in depends
    assert any(d.startswith("libc6") for d in depends)
