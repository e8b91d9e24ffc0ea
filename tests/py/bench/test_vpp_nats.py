# SPDX-License-Identifier: Apache-2.0
"""What each NAT is told: room for the flows, and nothing that would hold it back."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

import pytest

from hashmvt.bench.vpp.nats import NATS, PLAIN, REQUIRED, TOUCH, Scale
from hashmvt.bench.vpp.traffic import MAX_FLOWS, Flows
from hashmvt.model import Proto
from hashmvt.private_vpp import HASHMVT, Installation

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


def test_a_pool_may_be_used_up() -> None:
    scale = Scale(Flows(1 << 20, Proto.UDP, 16), spare=65536, used=0.999)
    assert scale.addresses == 18  # of 64,512 ports
    assert replace(scale, used=0.5).addresses == 35


def test_filtering_is_told() -> None:
    assert "filtering endpoint-independent" in commands(HASHMVT, SCALES[0])
    scale = replace(SCALES[0], filtering="address-dependent")
    assert "filtering address-dependent" in commands(HASHMVT, scale)


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


def test_touch_has_a_line_for_each_mapping() -> None:
    scale = Scale(Flows(65536, Proto.UDP, 16, sessions=4), spare=4096)
    assert commands(TOUCH, scale).splitlines() == [
        "touch lines 16384",
        "touch interface pg0 in",
        "touch interface pg1 out",
    ]


def test_plain_routing_is_told_nothing() -> None:
    assert commands(PLAIN, SCALES[0]) == NATS[PLAIN].section(SCALES[0]) == NATS[PLAIN].plugin == ""
    assert set(REQUIRED) < set(NATS)


def test_vpp_gets_two_cores_and_memory(tmp_path: Path) -> None:
    here = Installation(tmp_path / "vpp", tmp_path / "stock", tmp_path / "ours")
    options = replace(NATS["cnat"].options(SCALES[0]), cores=(2, 5), heap_page="2m")
    text = options.text(tmp_path, here)
    assert "cpu { main-core 2 corelist-workers 5 }" in text
    assert re.search(r"main-heap-size 1\d{3}m main-heap-page-size 2m", text)
    assert "plugin default { disable }\n  plugin cnat_plugin.so { enable }\n}" in text
    assert NATS["cnat"].section(SCALES[0]) in text
    assert "poll-sleep" not in text
    assert text.count("{") == text.count("}")
