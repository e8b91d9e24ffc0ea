# SPDX-License-Identifier: Apache-2.0
"""``hashmvt check``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.py.cli.conftest import Result


def test_a_right_file_is_summed_up(hashmvt: Callable[..., Result], config: Path) -> None:
    result = hashmvt("check", config)
    assert result.code == 0
    assert result.err == ""
    for part in (
        f"{config}: fine",
        "4 addresses: 198.51.100.0-198.51.100.3",
        "1024-65535, 64,512 usable per address",
        "4,032 of 64 ports",
        "258k mappings per protocol by the pool, 4.19M by max_mappings",
        "1 at the start, 4 at most",
    ):
        assert part in result.out


def test_on_vpp_the_workers_are_the_instances(
    hashmvt: Callable[..., Result], tmp_path: Path
) -> None:
    path = tmp_path / "vpp.yaml"
    base = "nat44: {inside: [10.0.0.0/8], pool: [198.51.100.1], max_mappings: 5000}\n"
    vpp = "vpp: {inside: [a], outside: [b]}"
    path.write_text(f"{base}dataplane: {{kind: vpp, {vpp}}}\n")
    result = hashmvt("check", path)
    assert "one for each worker of VPP, all active at the start" in result.out
    assert "5,000 by max_mappings of each instance" in result.out
    path.write_text(f"{base}dataplane: {{kind: vpp, {vpp}, instances: {{initial: 2}}}}\n")
    assert "of VPP, 2 active at the start" in hashmvt("check", path).out


def test_a_pool_that_vpp_has_no_routes_for(hashmvt: Callable[..., Result], tmp_path: Path) -> None:
    """The agent was refused when it enabled the plugin, and `check` had called the file fine."""
    path = tmp_path / "vpp.yaml"
    dataplane = "dataplane: {kind: KIND, vpp: {inside: [a], outside: [b]}}\n"
    path.write_text(
        "nat44:\n  inside: [10.0.0.0/8]\n  pool: [100.64.0.0/16, 198.51.100.1]\n"
        f"  max_mappings: 64\n{dataplane.replace('KIND', 'vpp')}"
    )
    result = hashmvt("check", path)
    assert (result.code, result.out) == (2, "")
    assert result.err == (
        f"{path}:3: the pool has 65,537 addresses, and VPP takes 65,536 at most, for each takes a "
        "route; write fewer addresses\n"
    )
    path.write_text(path.read_text().replace(", 198.51.100.1", ""))
    assert hashmvt("check", path).code == 0
    path.write_text(path.read_text().replace("100.64.0.0/16", "100.64.0.0/15"))
    path.write_text(path.read_text().replace("kind: vpp", "kind: embedded"))
    assert hashmvt("check", path).code == 0


def test_every_mistake_is_a_line(hashmvt: Callable[..., Result], config: Path) -> None:
    config.write_text(config.read_text() + "  block_size: 3\n  tiemouts: {}\n")
    result = hashmvt("check", config)
    assert result.code == 2
    assert result.out == ""
    assert result.err.splitlines() == [
        f"{config}:4: block_size 3 is no power of two; write 2 or 4",
        f"{config}:5: unknown key 'tiemouts' in nat44; write 'timeouts'",
    ]


def test_warnings_do_not_fail(hashmvt: Callable[..., Result], config: Path) -> None:
    config.write_text(config.read_text() + "  timeouts: {udp: 30}\n")
    result = hashmvt("check", config)
    assert result.code == 0
    assert result.err == (
        f"{config}:4: nat44.timeouts.udp: 30 s is below 120 s; "
        f"RFC 4787 REQ-5 asks for at least 120 (warning)\n"
    )


def test_files_of_tls_that_are_not_here_are_named(
    hashmvt: Callable[..., Result], config: Path
) -> None:
    (config.parent / "mine.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    (config.parent / "odd.pem").write_text("colour: blue\n")
    tls = "tls: {certificate: mine.pem, key: none.key, authority: odd.pem}"
    config.write_text(config.read_text() + f'agent: {{listen: "127.0.0.1:7789", {tls}}}\n')
    result = hashmvt("check", config)
    assert result.code == 0
    remedy = "put it there, in PEM, or name another file (warning)"
    here = config.parent
    assert result.err.splitlines() == [
        f"{config}: agent.tls.key: {here}/none.key: no such file or directory; {remedy}",
        f"{config}: agent.tls.authority: {here}/odd.pem: holds no PEM; {remedy}",
    ]


def test_tables_that_do_not_fit_here_are_refused(
    hashmvt: Callable[..., Result], config: Path
) -> None:
    config.write_text(
        "nat44: {inside: [10.0.0.0/8], pool: [203.0.0.0-203.3.255.255], max_mappings: 268435456}\n"
        "dataplane: {instances: {initial: 64, max: 64}}\n"
    )
    result = hashmvt("check", config)
    assert result.code == 2
    assert result.out == ""
    assert "need more memory than there is" in result.err


def test_json(hashmvt: Callable[..., Result], config: Path) -> None:
    found = hashmvt("check", config, "--json").json
    assert found["ok"] is True
    assert found["problems"] == found["warnings"] == []
    assert found["summary"]["addresses"] == 4
    assert found["summary"]["capacity"] == 4 * 64512
    config.write_text("nat44: 5\n")
    result = hashmvt("check", config, "--json")
    assert result.code == 2
    assert result.json["ok"] is False
    assert result.json["problems"] == [
        {"file": str(config), "line": 1, "reason": "nat44 must be a map, not 5", "remedy": ""}
    ]
