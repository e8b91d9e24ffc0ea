# SPDX-License-Identifier: Apache-2.0
"""The frames that VPP replays: right for an independent parser, each flow once, answered."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.utils import rdpcap

from hashmvt.bench.vpp import traffic
from hashmvt.bench.vpp.nats import POOL
from hashmvt.bench.vpp.traffic import Flows, TcpFlags, TrafficError
from hashmvt.model import Proto

if TYPE_CHECKING:
    from scapy.packet import Packet

LAYER = {Proto.UDP: UDP, Proto.TCP: TCP}


def packets_of(tmp_path: Path, frames: traffic.Frames) -> list[Packet]:
    path = tmp_path / "frames.pcap"
    traffic.write(path, frames)
    assert np.array_equal(traffic.read(path), frames)
    return list(rdpcap(str(path)))


def assert_right(packet: Packet, proto: Proto) -> None:
    again = Ether(bytes(packet))
    del again[IP].chksum, again[IP].len, again[LAYER[proto]].chksum
    assert bytes(Ether(bytes(again))) == bytes(packet)
    assert len(packet) == 60


@pytest.mark.parametrize("proto", [Proto.UDP, Proto.TCP])
def test_requests_and_answers_are_right_packets(tmp_path: Path, proto: Proto) -> None:
    frames = traffic.requests(Flows(200, proto, 16), tcp=TcpFlags.SYN)
    sent = packets_of(tmp_path, frames)
    for packet in sent:
        assert_right(packet, proto)
        assert packet.dst == "02:fe:00:00:00:00"
    if proto is Proto.TCP:
        assert {packet[TCP].flags.value for packet in sent} == {TcpFlags.SYN}
    frames["ip_head"][:, 4] -= 0x100  # a router was here
    answers = packets_of(tmp_path, traffic.replies(frames, proto, TcpFlags.SYN | TcpFlags.ACK))
    for packet, answer in zip(sent, answers, strict=True):
        assert_right(answer, proto)
        layer = LAYER[proto]
        assert (answer[IP].src, answer[layer].sport) == (packet[IP].dst, packet[layer].dport)
        assert (answer[IP].dst, answer[layer].dport) == (packet[IP].src, packet[layer].sport)
        assert answer[IP].ttl == 64
        assert answer.dst == "02:fe:00:00:00:01"


def endpoints(frames: traffic.Frames) -> list[tuple[Any, ...]]:
    return list(zip(frames["src"].tolist(), frames["sport"].tolist(), strict=True))


@pytest.mark.parametrize(("count", "ports"), [(1, 1), (4096, 16), (5000, 16), (70000, 1)])
def test_each_flow_is_an_inside_endpoint_of_its_own(count: int, ports: int) -> None:
    flows = Flows(count, Proto.UDP, ports)
    frames = traffic.requests(flows)
    further = traffic.requests(flows, first=count, count=1000)
    found = endpoints(frames) + endpoints(further)
    assert len(set(found)) == count + 1000
    assert len(np.unique(frames["src"])) == flows.hosts == -(-count // ports)
    assert set(further["src"].tolist()) <= set(frames["src"].tolist())
    assert frames["sport"].min() >= 1024


@pytest.mark.parametrize("count", [1000, 4096])
def test_sessions_share_an_inside_endpoint(count: int) -> None:
    flows = Flows(count, Proto.UDP, 16, sessions=4)
    frames = traffic.requests(flows)
    inside, number = np.unique(frames[["src", "sport"]], return_counts=True)
    assert len(inside) == flows.mappings
    assert number.max() == 4
    assert len(np.unique(frames[["src", "sport", "dst"]])) == count


def test_neighbours_in_order_are_different_hosts() -> None:
    hosts = traffic.requests(Flows(4096, Proto.UDP, 16))["src"]
    assert (hosts[1:] != hosts[:-1]).all()


def test_random_order_visits_each_once_and_depends_on_the_seed() -> None:
    order = traffic.shuffled(1000, 1)
    assert sorted(order.tolist()) == list(range(1000))
    assert order.tolist() == traffic.shuffled(1000, 1).tolist()
    assert order.tolist() != traffic.shuffled(1000, 2).tolist()


def translated(flows: Flows) -> traffic.Frames:
    frames = traffic.requests(flows)
    frames["src"] = int(POOL)
    frames["sport"] = 1024 + np.arange(flows.count)
    return frames


def test_a_whole_translation_passes() -> None:
    flows = Flows(500, Proto.UDP, 16)
    traffic.check_translation(translated(flows), flows, (POOL, POOL))


def test_lost_untranslated_and_shared_flows_are_told() -> None:
    flows = Flows(500, Proto.UDP, 16)
    good = translated(flows)
    with pytest.raises(TrafficError, match="1 of 500 flows did not come out"):
        traffic.check_translation(good[1:], flows, (POOL, POOL))
    bad = good.copy()
    bad["src"][7] = int(POOL) + 1
    with pytest.raises(TrafficError, match="1 of 500 flows came out untranslated"):
        traffic.check_translation(bad, flows, (POOL, POOL))
    bad = good.copy()
    bad["sport"][64], bad["dst"][64] = bad["sport"][0], bad["dst"][0]
    with pytest.raises(TrafficError, match="1 of 500 flows share"):
        traffic.check_translation(bad, flows, (POOL, POOL))


def test_a_full_disk_is_told() -> None:
    with pytest.raises(TrafficError, match=r"/dev: no room .*; set TMPDIR to a folder with more"):
        traffic.write(Path("/dev/full"), traffic.requests(Flows(4096, Proto.UDP, 16)))


def test_no_capture_is_no_frames(tmp_path: Path) -> None:
    assert len(traffic.read(tmp_path / "none.pcap")) == 0
