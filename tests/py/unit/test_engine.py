# SPDX-License-Identifier: Apache-2.0
"""The embedded engine as Python sees it: what is beyond the contract of dataplanes."""

from __future__ import annotations

import struct
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from hashmvt.config import AddressRange, Config, Nat44Config, PolicyConfig, PortRange
from hashmvt.config.ports import port_bitmap
from hashmvt.dataplane.embedded import Engine, EngineSettings, engine_settings, stepped
from hashmvt.dataplane.embedded.bench import Case, measure
from hashmvt.dataplane.embedded.capture import replay
from hashmvt.dataplane.embedded.settings import spread_seed
from hashmvt.dataplane.packets import checksum, make, parse
from hashmvt.errors import Rejected, Unavailable, Unsupported
from hashmvt.model import Direction, Endpoint, MappingFilter, Packet, Proto, Verdict
from hashmvt.names import DropReason, ErrorCode
from hashmvt.policy import PoolRun

INSIDE = Endpoint(IPv4Address("10.0.0.1"), 1000, Proto.UDP)
REMOTE = Endpoint(IPv4Address("203.0.113.9"), 53, Proto.UDP)


def settings(**changes: object) -> EngineSettings:
    policy = PolicyConfig(
        (IPv4Network("10.0.0.0/8"),), (AddressRange.of(IPv4Network("198.51.100.0/30")),)
    )
    nat44 = Nat44Config(policy, max_mappings=4096)
    base = stepped(engine_settings(Config(Path("test"), nat44)))
    return replace(base, **changes)  # type: ignore[arg-type]


def fragments(packet: bytes, at: int) -> tuple[bytes, bytes]:
    """Cut a packet in two; ``at`` is a multiple of 8 bytes of its payload."""
    header, payload = packet[:20], packet[20:]

    def part(data: bytes, flags: int) -> bytes:
        head = bytearray(header)
        struct.pack_into("!H", head, 2, 20 + len(data))
        struct.pack_into("!H", head, 6, flags)
        struct.pack_into("!H", head, 10, 0)
        struct.pack_into("!H", head, 10, checksum(bytes(head)))
        return bytes(head) + data

    return part(payload[:at], 0x2000), part(payload[at:], at // 8)


def test_a_late_fragment_comes_back_with_its_own_cookie() -> None:
    with Engine(settings()) as engine:
        packet = make(INSIDE, REMOTE, b"x" * 40)
        (opened,) = engine.inject([Packet(packet, Direction.IN2OUT)])
        flow = parse(opened.data)
        assert flow is not None
        first, second = fragments(make(REMOTE, flow.source, b"y" * 40), 24)
        (held,) = engine.inject([Packet(second, Direction.OUT2IN, cookie=77)])
        assert held.verdict is Verdict.HELD
        outcomes = engine.inject([Packet(first, Direction.OUT2IN, cookie=78)])
        assert [(o.cookie, o.verdict) for o in outcomes] == [
            (78, Verdict.TRANSLATED),
            (77, Verdict.TRANSLATED),
        ]
        assert outcomes[1].data[16:20] == INSIDE.addr.packed


def test_a_fragment_whose_first_never_comes_is_dropped_in_time() -> None:
    with Engine(settings()) as engine:
        (opened,) = engine.inject([Packet(make(INSIDE, REMOTE, b"x" * 40), Direction.IN2OUT)])
        flow = parse(opened.data)
        assert flow is not None
        _, second = fragments(make(REMOTE, flow.source, b"y" * 40), 24)
        engine.inject([Packet(second, Direction.OUT2IN, cookie=5)])
        engine.advance(10)
        (late,) = engine.inject([])
        assert (late.cookie, late.verdict) == (5, Verdict.DROPPED)
        assert late.drop is DropReason.FRAGMENT_TIMEOUT


def test_the_seed_decides_everything() -> None:
    packets = [
        Packet(make(replace(INSIDE, port=1000 + i), REMOTE), Direction.IN2OUT) for i in range(50)
    ]
    results = []
    for seed in (1, 1, 2):
        with Engine(replace(settings(), seed=spread_seed(seed))) as engine:
            results.append([o.data for o in engine.inject(packets)])
    assert results[0] == results[1]
    assert results[0] != results[2]


def test_ports_come_from_the_configured_range_without_reserved_ones() -> None:
    nat44 = Nat44Config(
        PolicyConfig((IPv4Network("10.0.0.0/8"),), ()),
        ports=PortRange(2048, 2175),
        reserved_ports=(PortRange(2050, 2099),),
    )
    bits = port_bitmap(nat44)
    allowed = {p for p in range(65536) if bits[p // 8] >> (p % 8) & 1}
    assert allowed == set(range(2048, 2050)) | set(range(2100, 2176))
    with Engine(settings(allocatable=bits)) as engine:
        packets = [
            Packet(make(replace(INSIDE, port=3000 + i), REMOTE), Direction.IN2OUT)
            for i in range(5 * len(allowed))
        ]
        outcomes = engine.inject(packets)
        used = [parse(o.data) for o in outcomes if o.verdict is Verdict.TRANSLATED]
        assert {f.source.port for f in used if f} == allowed
        assert len(used) == 4 * len(allowed)
        assert {o.drop for o in outcomes if o.verdict is Verdict.DROPPED} == {
            DropReason.OUT_OF_PORTS
        }


def test_the_clock_is_set_and_goes_forward_only() -> None:
    with Engine(settings()) as engine:
        engine.set_tick(1000)
        assert engine.now() == 1000
        engine.advance(5)
        assert engine.now() == 1005
        with pytest.raises(Rejected):
            engine.set_tick(999)


def test_a_closed_engine_is_unavailable() -> None:
    engine = Engine(settings())
    engine.close()
    engine.close()
    with pytest.raises(Unavailable):
        engine.snapshot()
    with pytest.raises(Unavailable):
        engine.mappings(MappingFilter(), "", 1)


def test_what_the_core_refuses_is_an_exception_with_a_sentence() -> None:
    for change in ({"block_size": 100}, {"instances_initial": 9}, {"instances_max": 65}):
        with pytest.raises(Rejected) as caught:
            Engine(settings(**change))
        assert caught.value.code is ErrorCode.INVALID
        assert len(str(caught.value)) > 10


def test_injecting_beside_devices_is_unsupported() -> None:
    with Engine(settings()) as engine:
        engine.capabilities = replace(engine.capabilities, inject=False)
        with pytest.raises(Unsupported):
            engine.inject([])


def test_listings_of_spare_instances_are_empty() -> None:
    with Engine(settings(instances_max=4)) as engine:
        assert engine.mappings(MappingFilter(instance=3), "", 10).items == ()
        assert engine.mapping_delete(MappingFilter(instance=3), None) == 0


def test_a_replay_is_stopped_by_what_its_report_raises(tmp_path: Path) -> None:
    source, target = tmp_path / "in.pcap", tmp_path / "out.pcap"
    packet = make(INSIDE, REMOTE)
    record = struct.pack("<IIII", 0, 0, len(packet), len(packet)) + packet
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
    source.write_bytes(head + record * 200_000)

    def report(done: int, total: int) -> None:
        assert 0 <= done <= total
        raise KeyboardInterrupt

    with Engine(settings()) as engine, pytest.raises(KeyboardInterrupt):
        replay(engine, source, target, report)


def test_seeds_are_spread() -> None:
    words = [spread_seed(seed) for seed in range(100)]
    assert len({word for four in words for word in four}) == 400
    assert all(any(four) for four in words)


@pytest.mark.parametrize("new_flows", [False, True])
def test_a_bench_run_translates_everything(*, new_flows: bool) -> None:
    case = Case(1024, new_flows=new_flows)
    run = measure(settings(), case, batches=4, seed=1)
    assert run.wrong == 0
    assert run.packets == 1024
    assert run.clocks_per_packet > 0
    assert run.packets_per_second > 0


def test_a_case_that_cannot_be_is_refused() -> None:
    with pytest.raises(Rejected, match="cannot be measured"):
        measure(settings(), Case(0), batches=1, seed=1)


def test_a_pool_that_has_no_room_says_what_to_do() -> None:
    with Engine(settings(max_slots=4)) as engine:
        policy = engine.policy()
        more = PoolRun(IPv4Address("192.0.2.0"), 1, 4)
        with pytest.raises(Rejected, match=r"beyond 4 addresses.*: restart") as caught:
            engine.set_policy(replace(policy, generation=2, runs=(*policy.runs, more)), force=False)
        assert caught.value.code is ErrorCode.FULL
        assert engine.policy() == policy
