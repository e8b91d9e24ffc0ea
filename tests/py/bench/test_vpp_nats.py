# SPDX-License-Identifier: Apache-2.0
"""What each NAT is told: room for the flows, and nothing that would hold it back."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

import pytest

from hashmvt.bench.vpp.nats import HASHMVT, NATS, PLAIN, REQUIRED, Scale
from hashmvt.bench.vpp.process import (
    OURS,
    Cores,
    Installation,
    Memory,
    Vpp,
    VppError,
    find_installation,
    reason_in,
    startup_text,
)
from hashmvt.bench.vpp.traffic import MAX_FLOWS, Flows
from hashmvt.model import Proto

if TYPE_CHECKING:
    from pathlib import Path

SCALES = [
    Scale(Flows(count, Proto.UDP, ports), spare=min(65536, count))
    for count, ports in ((256, 16), (4096, 16), (1 << 20, 16), (1 << 20, 1), (MAX_FLOWS, 16))
]


def commands(name: str, scale: Scale) -> str:
    return "\n".join(NATS[name].commands(scale))


def numbers(text: str, word: str) -> int:
    found = re.search(rf"\b{word} (\d+)", text)
    assert found, f"{word} is not in {text}"
    return int(found[1])


@pytest.mark.parametrize("scale", SCALES)
def test_tables_have_room(scale: Scale) -> None:
    wanted = scale.flows.count + scale.spare
    assert numbers(commands("nat44-ei", scale), "sessions") >= wanted
    assert numbers(commands("nat44-ei", scale), "users") >= scale.flows.hosts
    assert numbers(commands("nat44-ed", scale), "sessions") >= wanted
    assert numbers(NATS["cnat"].section(scale), "session-max") >= wanted
    assert 1 << numbers(NATS["sfdp"].section(scale), "sessions-log2") >= wanted
    ours = NATS[HASHMVT].section(scale)
    assert numbers(ours, "max-mappings") >= wanted
    assert numbers(ours, "max-hosts") >= scale.flows.hosts
    assert numbers(ours, "max-addresses") >= scale.addresses


@pytest.mark.parametrize("scale", SCALES)
def test_hosts_may_have_all_their_flows(scale: Scale) -> None:
    most = -(-(scale.flows.count + scale.spare) // scale.flows.hosts)
    assert numbers(commands("nat44-ei", scale), "user-sessions") >= most
    assert numbers(commands(HASHMVT, scale), "mappings-per-host") >= most


@pytest.mark.parametrize("scale", SCALES)
def test_half_of_the_ports_are_used(scale: Scale) -> None:
    for name in ("nat44-ei", "nat44-ed", HASHMVT):
        first, last = NATS[name].pool(scale)
        ports = (int(last) - int(first) + 1) * 64512
        assert 2 * (scale.flows.count + scale.spare) <= ports
        assert str(last) in commands(name, scale)


@pytest.mark.parametrize("scale", SCALES)
def test_det44_maps_all_hosts_to_its_pool(scale: Scale) -> None:
    found = re.search(r"add in (\S+) out (\S+)", commands("det44", scale))
    assert found
    inside, outside = (IPv4Network(prefix) for prefix in found.groups())
    assert inside.num_addresses >= scale.flows.hosts
    assert (outside[0], outside[-1]) == NATS["det44"].pool(scale)
    ports = 64512 * outside.num_addresses // inside.num_addresses
    assert ports >= scale.per_host


def test_sfdp_gets_no_more_addresses_than_it_can_hold() -> None:
    assert NATS["sfdp"].pool(SCALES[2]) == (IPv4Address("100.64.0.0"), IPv4Address("100.64.0.12"))


def test_limits_apply_to_hashmvt() -> None:
    assert numbers(commands(HASHMVT, SCALES[0]), "mappings-per-host")


def test_plain_routing_is_told_nothing() -> None:
    assert commands(PLAIN, SCALES[0]) == NATS[PLAIN].section(SCALES[0]) == NATS[PLAIN].plugin == ""
    assert set(REQUIRED) < set(NATS)


def test_startup_text(tmp_path: Path) -> None:
    here = Installation(tmp_path / "vpp", tmp_path / "stock", tmp_path / "ours")
    text = startup_text(
        tmp_path, here, ["nat_plugin.so"], cores=Cores(2, 5),
        memory=Memory(3 << 30, 128 << 20, "2m"), section="cnat { scanner off }",
    )  # fmt: skip
    assert "cpu { main-core 2 corelist-workers 5 }" in text
    assert "main-heap-size 3072m main-heap-page-size 2m" in text
    assert f"add-path {here.plugins}" in text
    assert f"add-path {here.ours}" in text
    assert "plugin default { disable }\n  plugin nat_plugin.so { enable }\n}" in text
    assert text.endswith("cnat { scanner off }\n")
    assert "poll-sleep" not in text
    assert text.count("{") == text.count("}")


def fake_vpp(tmp_path: Path) -> Path:
    program = tmp_path / "prefix" / "bin" / "vpp"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n", encoding="ascii")
    program.chmod(0o755)
    (tmp_path / "prefix" / "lib" / "x" / "vpp_plugins").mkdir(parents=True)
    return program


def test_vpp_and_plugin_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HASHMVT_VPP", str(fake_vpp(tmp_path)))
    monkeypatch.delenv("HASHMVT_VPP_PLUGINS", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(VppError, match="is not built"):
        find_installation()
    built = tmp_path / "build" / "lib" / "vpp_plugins"
    built.mkdir(parents=True)
    (built / OURS).touch()
    found = find_installation()
    assert found.ours == built
    assert found.has(OURS)
    assert not found.has("nat_plugin.so")
    (found.plugins / "nat_plugin.so").touch()
    assert found.has("nat_plugin.so")


def test_no_vpp(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HASHMVT_VPP", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(VppError, match="no VPP is installed"):
        find_installation()


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([], "it said nothing"),
        (["hello", "bye", ""], "bye"),
        (["started", "vpp[1]: os_out_of_memory:182: out of memory", "backtrace"],
         "vpp[1]: os_out_of_memory:182: out of memory"),
        (["x" * 400], "x" * 297 + "..."),
    ],
)  # fmt: skip
def test_reason_of_a_death(lines: list[str], reason: str) -> None:
    assert reason_in(lines) == reason


def test_a_path_too_long_for_sockets_is_told(tmp_path: Path) -> None:
    here = Installation(tmp_path, tmp_path, tmp_path)
    vpp = Vpp(tmp_path / ("x" * 90), here, [], cores=Cores(), memory=Memory(1 << 30, 1 << 27))
    with pytest.raises(VppError, match="too long for a socket: set a shorter TMPDIR"):
        vpp.__enter__()
