# SPDX-License-Identifier: Apache-2.0
"""What every dataplane does: the promises of ``hashmvt.dataplane.base``, one test each."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

import pytest

from hashmvt.dataplane import packets
from hashmvt.dataplane.base import Dataplane
from hashmvt.errors import Rejected, Unavailable
from hashmvt.model import (
    ANYWHERE,
    Closing,
    Direction,
    Endpoint,
    HomeMap,
    HomeRange,
    InstanceState,
    MappingFilter,
    Packet,
    Proto,
    StaticMapping,
    TcpState,
    Verdict,
)
from hashmvt.names import DropReason, ErrorCode, EventType, PassReason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hashmvt.model import InstanceSnapshot, Outcome

REMOTE = IPv4Address("203.0.113.9")
ALL = MappingFilter()
UDP_TIMEOUT = 300


def udp(address: str, port: int) -> Endpoint:
    return Endpoint(IPv4Address(address), port, Proto.UDP)


def remote(port: int = 53, proto: Proto = Proto.UDP) -> Endpoint:
    return Endpoint(REMOTE, port, proto)


async def send(
    plane: Dataplane, source: Endpoint, target: Endpoint, way: Direction = Direction.IN2OUT
) -> Outcome:
    if not plane.capabilities.inject:
        pytest.skip("this dataplane takes packets from its devices only")
    (outcome,) = await plane.inject([Packet(packets.make(source, target, b"payload"), way)])
    return outcome


async def open_mapping(plane: Dataplane, source: Endpoint) -> Endpoint:
    """Send a packet out; return the external endpoint it got."""
    target = remote(proto=source.proto)
    outcome = await send(plane, source, target)
    assert outcome.verdict is Verdict.TRANSLATED, outcome
    flow = packets.parse(outcome.data)
    assert flow is not None
    assert flow.target.addr == target.addr
    assert packets.sound(outcome.data)
    return flow.source


async def open_mappings(plane: Dataplane, sources: Sequence[Endpoint]) -> list[Endpoint]:
    """The same for many at once."""
    if not plane.capabilities.inject:
        pytest.skip("this dataplane takes packets from its devices only")
    batch = [
        Packet(packets.make(one, remote(proto=one.proto), b"payload"), Direction.IN2OUT)
        for one in sources
    ]
    flows = [packets.parse(outcome.data) for outcome in await plane.inject(batch)]
    assert all(flow is not None and flow.target.addr == REMOTE for flow in flows)
    return [flow.source for flow in flows if flow is not None]


async def instance(plane: Dataplane, number: int) -> InstanceSnapshot:
    return (await plane.snapshot()).instances[number]


async def wait_for_state(plane: Dataplane, number: int, state: InstanceState) -> None:
    """Threads take a moment; the clock moves so that nothing is in hold-down."""
    async with asyncio.timeout(10):
        while (await instance(plane, number)).state is not state:
            await plane.advance(1)
            await asyncio.sleep(0.01)


# ---- what it says of itself ----


async def test_it_is_a_dataplane_and_says_what_it_can(plane: Dataplane) -> None:
    assert isinstance(plane, Dataplane)
    found = plane.capabilities
    assert found.max_instances == 4
    assert found.block_size == 64
    assert found.host


async def test_snapshot_names_every_instance_in_order(plane: Dataplane) -> None:
    snapshot = await plane.snapshot()
    assert snapshot.next is None
    assert [i.id for i in snapshot.instances] == [0, 1, 2, 3]
    assert [i.state for i in snapshot.instances] == [
        InstanceState.ACTIVE,
        *[InstanceState.SPARE] * 3,
    ]
    assert snapshot.policy_generation == 1
    assert snapshot.instances[0].gauges.blocks_free > 0


async def test_the_pool_is_cut_evenly(pair: Dataplane) -> None:
    first, second = (await pair.snapshot()).instances[:2]
    assert first.gauges.blocks_free > 0
    assert abs(first.gauges.blocks_free - second.gauges.blocks_free) <= 4


async def test_buckets_say_to_whom_a_host_belongs(pair: Dataplane) -> None:
    """Two instances share <*> by a bucket table; a host's mappings are made where it says."""
    home = await pair.home()
    hosts = [IPv4Address(f"10.0.0.{n}") for n in range(1, 65)]
    buckets = await pair.buckets(hosts)
    assert buckets == await pair.buckets(hosts)
    owners = [home.tables[home.ranges[0].table or 0][bucket] for bucket in buckets]
    assert set(owners) == {0, 1}
    await open_mappings(pair, [udp(str(host), 4000) for host in hosts])
    for host, owner in zip(hosts, owners, strict=True):
        page = await pair.mappings(MappingFilter(inside=IPv4Network(host)))
        assert [mapping.instance for mapping in page.items] == [owner]


async def test_the_first_home_map_covers_everything(pair: Dataplane) -> None:
    home = await pair.home()
    assert [r.prefix for r in home.ranges] == [ANYWHERE]
    assert len(home.tables) == 1
    assert set(home.tables[0]) == {0, 1}
    assert await pair.rules() == home


# ---- packets and mappings ----


async def test_a_packet_out_and_its_answer(plane: Dataplane) -> None:
    inside = udp("10.0.0.1", 1234)
    external = await open_mapping(plane, inside)
    assert external.addr in IPv4Network("198.51.100.0/30")
    answer = await send(plane, remote(), external, Direction.OUT2IN)
    assert answer.verdict is Verdict.TRANSLATED
    assert answer.direction is Direction.OUT2IN
    flow = packets.parse(answer.data)
    assert flow is not None
    assert flow.target == inside
    assert flow.source == remote()
    assert packets.sound(answer.data)


async def test_a_mapping_does_not_depend_on_the_destination(plane: Dataplane) -> None:
    """RFC 4787 REQ-1."""
    inside = udp("10.0.0.1", 1234)
    external = await open_mapping(plane, inside)
    again = await send(plane, inside, udp("192.0.2.77", 4242))
    flow = packets.parse(again.data)
    assert flow is not None
    assert flow.source == external


async def test_a_host_keeps_its_external_address(pair: Dataplane) -> None:
    """RFC 4787 REQ-2."""
    for host in range(1, 9):
        endpoints = [udp(f"10.0.{host}.1", port) for port in range(2000, 2016)]
        addresses = {external.addr for external in await open_mappings(pair, endpoints)}
        assert len(addresses) == 1


async def test_no_external_endpoint_is_given_twice(pair: Dataplane) -> None:
    """RFC 4787 REQ-3."""
    inside = [udp(f"10.0.{host}.1", port) for host in range(16) for port in range(3000, 3016)]
    external = await open_mappings(pair, inside)
    assert len(set(external)) == len(inside)


async def test_nothing_comes_in_without_a_mapping(plane: Dataplane) -> None:
    outcome = await send(plane, remote(), udp("198.51.100.1", 5000), Direction.OUT2IN)
    assert outcome.verdict is Verdict.DROPPED
    assert outcome.drop in (DropReason.NO_MAPPING, None)
    snapshot = await plane.snapshot()
    assert sum(i.drops(DropReason.NO_MAPPING) for i in snapshot.instances) == 1


async def test_what_is_not_inside_passes(plane: Dataplane) -> None:
    outcome = await send(plane, udp("192.0.2.1", 1000), remote())
    assert outcome.verdict is Verdict.PASSED
    assert outcome.passed is PassReason.NOT_INSIDE
    assert packets.parse(outcome.data) == packets.Flow(udp("192.0.2.1", 1000), remote())


async def test_inside_destinations_are_exempt(plane: Dataplane) -> None:
    outcome = await send(plane, udp("10.0.0.1", 1000), udp("10.9.9.9", 53))
    assert outcome.verdict is Verdict.PASSED
    assert outcome.passed is PassReason.EXEMPT


async def test_hairpin(pair: Dataplane) -> None:
    """RFC 4787 REQ-9: the receiver sees the sender's external endpoint."""
    server, client = udp("10.0.0.1", 80), udp("10.77.0.2", 1000)
    outside = await open_mapping(pair, server)
    outcome = await send(pair, client, outside)
    assert outcome.verdict is Verdict.TRANSLATED
    assert outcome.direction is Direction.OUT2IN
    flow = packets.parse(outcome.data)
    assert flow is not None
    assert flow.target == server
    assert flow.source.addr in IPv4Network("198.51.100.0/30")
    assert packets.sound(outcome.data)


async def test_outcomes_come_in_order_with_their_cookies(plane: Dataplane) -> None:
    if not plane.capabilities.inject:
        pytest.skip("this dataplane takes packets from its devices only")
    batch = [
        Packet(packets.make(udp("10.0.0.1", 1000 + i), remote()), Direction.IN2OUT, cookie=i % 7)
        for i in range(300)
    ]
    outcomes = await plane.inject(batch)
    assert [o.cookie for o in outcomes] == [p.cookie for p in batch]
    assert all(o.verdict is Verdict.TRANSLATED for o in outcomes)


async def test_rubbish_is_dropped(plane: Dataplane) -> None:
    if not plane.capabilities.inject:
        pytest.skip("this dataplane takes packets from its devices only")
    outcomes = await plane.inject([Packet(b"", Direction.IN2OUT), Packet(b"x", Direction.OUT2IN)])
    assert [o.verdict for o in outcomes] == [Verdict.DROPPED] * 2


# ---- listings ----


async def test_mappings_tell_what_they_are(plane: Dataplane) -> None:
    inside = udp("10.0.0.1", 1234)
    external = await open_mapping(plane, inside)
    await send(plane, remote(), external, Direction.OUT2IN)
    page = await plane.mappings(ALL)
    (found,) = page.items
    assert (found.inside, found.external) == (inside, external)
    assert (found.packets_in2out, found.packets_out2in) == (1, 1)
    assert not found.is_static
    assert found.tcp_state is TcpState.CLOSED
    assert found.expires_in_s is not None
    assert UDP_TIMEOUT - 2 <= found.expires_in_s <= UDP_TIMEOUT


async def test_filters_mean_what_they_say(pair: Dataplane) -> None:
    udp_end = udp("10.0.0.1", 1000)
    tcp_end = Endpoint(IPv4Address("10.5.0.1"), 2000, Proto.TCP)
    icmp_end = Endpoint(IPv4Address("10.5.0.2"), 77, Proto.ICMP)
    external = {end: await open_mapping(pair, end) for end in (udp_end, tcp_end, icmp_end)}

    async def every(where: MappingFilter) -> set[Endpoint]:
        result: set[Endpoint] = set()
        cursor: str | None = ""
        while cursor is not None:
            page = await pair.mappings(where, cursor)
            result |= {m.inside for m in page.items}
            cursor = page.next
        return result

    assert await every(ALL) == {udp_end, tcp_end, icmp_end}
    assert await every(MappingFilter(inside=IPv4Network("10.5.0.0/16"))) == {tcp_end, icmp_end}
    assert await every(MappingFilter(inside=IPv4Network("10.5.0.2/32"))) == {icmp_end}
    assert await every(MappingFilter(proto=Proto.TCP)) == {tcp_end}
    assert await every(MappingFilter(inside_port=77)) == {icmp_end}
    port = external[tcp_end].port
    assert await every(MappingFilter(external_port=port, proto=Proto.TCP)) == {tcp_end}
    assert await every(
        MappingFilter(external=IPv4Network(external[udp_end].addr), inside_port=1000)
    ) == {udp_end}
    assert await every(MappingFilter(external=IPv4Network("192.0.2.0/24"))) == set()
    assert await every(MappingFilter(statics=True)) == set()
    assert await every(MappingFilter(statics=False)) == {udp_end, tcp_end, icmp_end}
    assert await every(MappingFilter(instance=3)) == set()
    assert await every(MappingFilter(instance=99)) == set()
    both = [await every(MappingFilter(instance=i)) for i in (0, 1)]
    assert both[0] | both[1] == {udp_end, tcp_end, icmp_end}
    assert not both[0] & both[1]


@pytest.mark.parametrize("limit", [1, 7, 1000])
async def test_pages_hold_everything_once(pair: Dataplane, limit: int) -> None:
    inside = {udp(f"10.0.{host}.1", port) for host in range(8) for port in range(4000, 4008)}
    await open_mappings(pair, sorted(inside))
    seen: Counter[Endpoint] = Counter()
    cursor: str | None = ""
    while cursor is not None:
        page = await pair.mappings(ALL, cursor, limit=limit)
        assert len(page.items) <= limit
        seen.update(m.inside for m in page.items)
        cursor = page.next
    assert seen == Counter(inside)


async def test_live_hosts(pair: Dataplane) -> None:
    for host in ("10.1.0.1", "10.1.0.2", "10.2.0.1"):
        for port in range(5000, 5003):
            await open_mapping(pair, udp(host, port))
    await open_mapping(pair, Endpoint(IPv4Address("10.1.0.1"), 6000, Proto.TCP))
    hosts = {}
    cursor: str | None = ""
    while cursor is not None:
        page = await pair.live(IPv4Network("10.1.0.0/16"), cursor, limit=1)
        hosts.update({str(h.addr): h for h in page.items})
        cursor = page.next
    assert set(hosts) == {"10.1.0.1", "10.1.0.2"}
    assert hosts["10.1.0.1"].mappings_udp == 3
    assert hosts["10.1.0.1"].mappings_tcp == 1
    assert hosts["10.1.0.1"].mappings == 4
    assert hosts["10.1.0.2"].mappings == 3
    where = MappingFilter(inside=IPv4Network("10.1.0.2/32"), instance=hosts["10.1.0.2"].instance)
    page_of_one = await pair.mappings(where)
    assert {m.external.addr for m in page_of_one.items} == {hosts["10.1.0.2"].external}


async def test_blocks_in_use(plane: Dataplane) -> None:
    assert (await plane.blocks()).items == ()
    external = await open_mapping(plane, udp("10.0.0.1", 1000))
    page = await plane.blocks()
    (block,) = page.items
    assert block.external == external.addr
    assert block.first_port <= external.port < block.first_port + block.ports
    assert block.ports == plane.capabilities.block_size
    assert (block.in_use_udp, block.in_use_tcp, block.instance) == (1, 0, 0)


@pytest.mark.parametrize("cursor", ["rubbish", "-1", "0:0:0", "999999999999999999999999"])
async def test_a_wrong_cursor_is_refused_or_the_end(plane: Dataplane, cursor: str) -> None:
    try:
        page = await plane.mappings(ALL, cursor)
    except Rejected as error:
        assert error.code is ErrorCode.INVALID  # noqa: PT017 - either is right
    else:
        assert page.items == ()
        assert page.next is None


# ---- time ----


async def test_a_mapping_ends_after_its_timeout_never_before(plane: Dataplane) -> None:
    if not plane.capabilities.clock:
        pytest.skip("this dataplane's clock cannot be moved")
    external = await open_mapping(plane, udp("10.0.0.1", 1000))
    await plane.advance(UDP_TIMEOUT - 5)  # real time passes too where there are threads
    answer = await send(plane, remote(), external, Direction.OUT2IN)
    assert answer.verdict is Verdict.TRANSLATED
    await plane.advance(UDP_TIMEOUT + 1)
    late = await send(plane, remote(), external, Direction.OUT2IN)
    assert late.verdict is Verdict.DROPPED
    assert (await plane.mappings(ALL)).items == ()


async def test_the_clock_goes_forward_only(plane: Dataplane) -> None:
    before = (await plane.snapshot()).tick
    await plane.advance(10)
    assert (await plane.snapshot()).tick >= before + 10
    with pytest.raises(Rejected):
        await plane.advance(-1)


# ---- instances and blocks ----


async def test_activate_and_drain(plane: Dataplane) -> None:
    await plane.activate(2)
    assert (await instance(plane, 2)).state is InstanceState.ACTIVE
    await plane.activate(2)
    await plane.drain(2)
    await wait_for_state(plane, 2, InstanceState.SPARE)
    await plane.drain(2)
    assert (await instance(plane, 2)).state is InstanceState.SPARE


async def test_the_last_active_instance_cannot_be_drained(plane: Dataplane) -> None:
    with pytest.raises(Rejected) as caught:
        await plane.drain(0)
    assert caught.value.code is ErrorCode.IN_USE
    assert (await instance(plane, 0)).state is InstanceState.ACTIVE


async def test_a_draining_instance_keeps_its_mappings_until_they_end(plane: Dataplane) -> None:
    await plane.activate(1)
    await plane.shard(80, from_instance=0, to_instance=1)
    home = await plane.home()
    await plane.set_home(HomeMap(home.version + 1, (HomeRange(ANYWHERE, 1),)))
    await plane.set_rules(HomeMap(home.version + 1, (HomeRange(ANYWHERE, 1),)))
    external = await open_mapping(plane, udp("10.0.0.1", 1000))
    assert (await instance(plane, 1)).gauges.mappings == 1
    pinned = (HomeRange(ANYWHERE, 0), HomeRange(IPv4Network("10.0.0.1/32"), 1))
    await plane.set_home(HomeMap(home.version + 2, pinned))
    await plane.set_rules(HomeMap(home.version + 2, pinned))
    await plane.drain(1)
    assert (await instance(plane, 1)).state is InstanceState.DRAINING
    answer = await send(plane, remote(), external, Direction.OUT2IN)
    assert answer.verdict is Verdict.TRANSLATED
    assert await open_mapping(plane, udp("10.0.0.1", 1000)) == external
    await plane.advance(UDP_TIMEOUT + 1)
    await plane.set_home(HomeMap(home.version + 3, (HomeRange(ANYWHERE, 0),)))
    await plane.set_rules(HomeMap(home.version + 3, (HomeRange(ANYWHERE, 0),)))
    await wait_for_state(plane, 1, InstanceState.SPARE)
    assert (await instance(plane, 0)).gauges.blocks == sum(
        i.gauges.blocks for i in (await plane.snapshot()).instances
    )


async def test_shard_moves_a_share_and_no_mapping(plane: Dataplane) -> None:
    endpoints = [udp("10.0.0.1", port) for port in range(1000, 1064)]
    external = await open_mappings(plane, endpoints)
    await plane.activate(1)
    free = (await instance(plane, 0)).gauges.blocks_free
    moved = await plane.shard(80, from_instance=0, to_instance=1)
    assert abs(moved - free * 0.8) <= 8
    assert (await instance(plane, 1)).gauges.blocks == moved
    assert (await instance(plane, 0)).gauges.mappings == len(endpoints)
    again = await open_mappings(plane, endpoints)
    assert again == external


async def test_transfer_moves_so_many_blocks(plane: Dataplane) -> None:
    await plane.activate(1)
    assert await plane.transfer(10, from_instance=0, to_instance=1) == 10
    assert (await instance(plane, 1)).gauges.blocks == 10
    address = IPv4Address("198.51.100.2")
    moved = await plane.transfer(5, from_instance=0, to_instance=1, external=address)
    assert moved == 5
    assert await plane.transfer(0, from_instance=0, to_instance=1) == 0


async def test_transfer_refuses_nonsense(plane: Dataplane) -> None:
    await plane.activate(1)
    for source, target in ((0, 0), (0, 4), (9, 1), (-1, 1)):
        with pytest.raises(Rejected) as caught:
            await plane.transfer(1, from_instance=source, to_instance=target)
        assert caught.value.code is ErrorCode.INVALID
        with pytest.raises(Rejected):
            await plane.shard(10, from_instance=source, to_instance=target)
    with pytest.raises(Rejected):
        await plane.shard(101, from_instance=0, to_instance=1)
    with pytest.raises(Rejected) as unknown:
        await plane.transfer(1, from_instance=0, to_instance=1, external=IPv4Address("192.0.2.1"))
    assert unknown.value.code is ErrorCode.NOT_FOUND
    assert (await instance(plane, 1)).gauges.blocks == 0


@pytest.mark.parametrize("number", [-1, 4, 1000])
async def test_unknown_instances_are_refused(plane: Dataplane, number: int) -> None:
    for call in (plane.activate, plane.drain, plane.reset):
        with pytest.raises(Rejected) as caught:
            await call(number)
        assert caught.value.code is ErrorCode.INVALID


async def test_reset_drops_the_mappings_and_raises_the_epoch(plane: Dataplane) -> None:
    external = await open_mapping(plane, udp("10.0.0.1", 1000))
    before = (await instance(plane, 0)).epoch
    await plane.reset(0)
    answer = await send(plane, remote(), external, Direction.OUT2IN)
    assert answer.verdict is Verdict.DROPPED
    after = await instance(plane, 0)
    assert after.epoch > before
    assert after.gauges.mappings == 0
    await open_mapping(plane, udp("10.0.0.1", 1000))


# ---- idempotence ----


async def test_a_repeated_call_changes_nothing_and_answers_the_same(plane: Dataplane) -> None:
    await plane.activate(1, generation=10)
    moved = await plane.transfer(7, from_instance=0, to_instance=1, generation=11)
    again = await plane.transfer(7, from_instance=0, to_instance=1, generation=11)
    assert (moved, again) == (7, 7)
    assert (await instance(plane, 1)).gauges.blocks == 7
    assert (await plane.snapshot()).generation == 11


async def test_an_older_call_is_refused(plane: Dataplane) -> None:
    await plane.activate(1, generation=10)
    with pytest.raises(Rejected) as caught:
        await plane.transfer(7, from_instance=0, to_instance=1, generation=9)
    assert caught.value.code is ErrorCode.STALE
    assert (await instance(plane, 1)).gauges.blocks == 0


async def test_a_refused_call_does_not_use_up_its_generation(plane: Dataplane) -> None:
    await plane.activate(1)
    number = (await plane.snapshot()).generation + 1
    with pytest.raises(Rejected):
        await plane.transfer(1, from_instance=0, to_instance=0, generation=number)
    assert await plane.transfer(1, from_instance=0, to_instance=1, generation=number) == 1


# ---- who serves whom ----


async def test_a_home_map_moves_new_flows(plane: Dataplane) -> None:
    old = await open_mapping(plane, udp("10.128.0.1", 1000))
    await plane.activate(1)
    await plane.shard(50, from_instance=0, to_instance=1)
    version = (await plane.home()).version
    pin = IPv4Network("10.128.0.1/32")
    home = HomeMap(
        version + 1,
        (
            HomeRange(ANYWHERE, 0),
            HomeRange(IPv4Network("10.128.0.0/9"), 1),
            HomeRange(pin, 0),
        ),
    )
    await plane.set_home(home)
    await plane.set_rules(home)
    assert await plane.home() == home
    assert await plane.rules() == home
    assert await open_mapping(plane, udp("10.128.0.1", 1000)) == old
    await open_mapping(plane, udp("10.200.0.1", 1000))
    await open_mapping(plane, udp("10.1.0.1", 1000))
    mappings = {str(m.inside.addr): m.instance for m in (await plane.mappings(ALL)).items}
    page = await plane.mappings(MappingFilter(instance=1))
    mappings.update({str(m.inside.addr): m.instance for m in page.items})
    assert mappings == {"10.128.0.1": 0, "10.200.0.1": 1, "10.1.0.1": 0}


async def test_a_closing_range_splits_by_what_lives(plane: Dataplane) -> None:
    """The first beat: the giver goes on creating for hosts it serves, all others go over."""
    served = await open_mapping(plane, udp("10.0.0.1", 1000))
    await plane.activate(1)
    await plane.shard(50, from_instance=0, to_instance=1)
    version = (await plane.home()).version
    moving = HomeRange(IPv4Network("10.0.0.0/16"), 0, closing=Closing(0, 1))
    await plane.set_home(HomeMap(version + 1, (HomeRange(ANYWHERE, 0), moving)))
    assert await open_mapping(plane, udp("10.0.0.1", 1000)) == served
    await open_mapping(plane, udp("10.0.0.1", 1001))
    await open_mapping(plane, udp("10.0.0.2", 1000))
    await open_mapping(plane, udp("10.1.0.1", 1000))
    owner = {}
    for number in (0, 1):
        page = await plane.mappings(MappingFilter(instance=number))
        owner.update({(str(m.inside.addr), m.inside.port): number for m in page.items})
    assert owner == {
        ("10.0.0.1", 1000): 0,
        ("10.0.0.1", 1001): 0,
        ("10.0.0.2", 1000): 1,
        ("10.1.0.1", 1000): 0,
    }


async def test_the_same_version_again_is_nothing_and_an_older_is_refused(
    plane: Dataplane,
) -> None:
    version = (await plane.home()).version + 5
    home = HomeMap(version, (HomeRange(ANYWHERE, 0),))
    await plane.set_home(home)
    await plane.set_home(home)
    assert (await plane.snapshot()).home_version == version
    for old in (version - 1, version - 5):
        with pytest.raises(Rejected) as caught:
            await plane.set_home(HomeMap(old, (HomeRange(ANYWHERE, 0),)))
        assert caught.value.code is ErrorCode.STALE
    rules = HomeMap(version + 9, (HomeRange(ANYWHERE, 0),))
    await plane.set_rules(rules)
    assert (await plane.snapshot()).rules_version == version + 9
    assert (await plane.home()).version == version


@pytest.mark.parametrize(
    "ranges",
    [
        (),
        (HomeRange(IPv4Network("10.0.0.0/8"), 0),),
        (HomeRange(ANYWHERE, 4),),
        (HomeRange(ANYWHERE, 0), HomeRange(ANYWHERE, 0)),
        (HomeRange(ANYWHERE, None, None),),
        (HomeRange(ANYWHERE, None, 7),),
    ],
    ids=["empty", "no default", "unknown instance", "twice", "no target", "no such table"],
)
async def test_what_is_no_home_map_is_refused(
    plane: Dataplane, ranges: tuple[HomeRange, ...]
) -> None:
    before = await plane.home()
    with pytest.raises(Rejected) as caught:
        await plane.set_home(HomeMap(before.version + 1, ranges))
    assert caught.value.code is ErrorCode.INVALID
    assert await plane.home() == before


# ---- policies and static mappings ----


STATIC = StaticMapping(udp("10.3.3.3", 8000), udp("198.51.100.1", 80))


async def test_static_mappings(plane: Dataplane) -> None:
    await plane.static_add(STATIC)
    answer = await send(plane, remote(), STATIC.outside, Direction.OUT2IN)
    flow = packets.parse(answer.data)
    assert flow is not None
    assert flow.target == STATIC.inside
    assert await open_mapping(plane, STATIC.inside) == STATIC.outside
    (found,) = (await plane.mappings(MappingFilter(statics=True))).items
    assert (found.inside, found.external, found.expires_in_s) == (
        STATIC.inside,
        STATIC.outside,
        None,
    )
    await plane.advance(100_000)
    assert len((await plane.mappings(ALL)).items) == 1
    await plane.static_del(STATIC.outside)
    gone = await send(plane, remote(), STATIC.outside, Direction.OUT2IN)
    assert gone.verdict is Verdict.DROPPED


async def test_a_static_mapping_works_from_every_instance(pair: Dataplane) -> None:
    """The inside host's home and the owner of the external block are often two instances."""
    statics = [
        StaticMapping(udp(f"10.3.{host}.3", 8000), udp("198.51.100.1", 80 + host))
        for host in range(8)
    ]
    for mapping in statics:
        await pair.static_add(mapping)
    for mapping in statics:
        assert await open_mapping(pair, mapping.inside) == mapping.outside


async def test_static_mappings_that_cannot_be(plane: Dataplane) -> None:
    await plane.static_add(STATIC)
    await plane.static_add(STATIC)  # the same again is what was wanted
    with pytest.raises(Rejected) as taken:
        await plane.static_add(replace(STATIC, inside=udp("10.4.4.4", 1)))
    assert taken.value.code is ErrorCode.IN_USE
    with pytest.raises(Rejected) as second:
        await plane.static_add(replace(STATIC, outside=udp("198.51.100.2", 80)))
    assert second.value.code is ErrorCode.EXISTS
    with pytest.raises(Rejected) as foreign:
        await plane.static_add(StaticMapping(udp("10.4.4.4", 1), udp("192.0.2.1", 80)))
    assert foreign.value.code is ErrorCode.NOT_FOUND
    with pytest.raises(Rejected) as mixed:
        await plane.static_add(
            StaticMapping(udp("10.4.4.4", 1), Endpoint(IPv4Address("198.51.100.1"), 9, Proto.TCP))
        )
    assert mixed.value.code is ErrorCode.INVALID
    with pytest.raises(Rejected) as missing:
        await plane.static_del(udp("198.51.100.2", 81))
    assert missing.value.code is ErrorCode.NOT_FOUND


async def test_deleting_mappings(plane: Dataplane) -> None:
    await plane.static_add(STATIC)
    hosts = ("10.0.0.1", "10.0.0.2")
    await open_mappings(plane, [udp(host, port) for host in hosts for port in range(1000, 1005)])
    where = MappingFilter(inside=IPv4Network("10.0.0.1/32"))
    assert await plane.mapping_delete(where) == 5
    assert await plane.mapping_delete(where) == 0
    assert await plane.mapping_delete(ALL) == 5
    (left,) = (await plane.mappings(ALL)).items
    assert left.is_static


async def test_policies_are_replaced_while_mappings_live(plane: Dataplane) -> None:
    external = await open_mapping(plane, udp("10.0.0.1", 1000))
    policy = await plane.policy()
    short = replace(policy.policies[0], timeouts=replace(policy.policies[0].timeouts, udp=120))
    await plane.set_policy(replace(policy, generation=2, policies=(short,)))
    assert (await plane.policy()).generation == 2
    assert (await plane.snapshot()).policy_generation == 2
    answer = await send(plane, remote(), external, Direction.OUT2IN)
    assert answer.verdict is Verdict.TRANSLATED
    await plane.advance(121)
    late = await send(plane, remote(), external, Direction.OUT2IN)
    assert late.verdict is Verdict.DROPPED
    await plane.set_policy(replace(policy, generation=2))
    assert (await plane.policy()).policies == (short,)
    with pytest.raises(Rejected) as caught:
        await plane.set_policy(replace(policy, generation=1))
    assert caught.value.code is ErrorCode.STALE


async def test_a_removed_address_drains(plane: Dataplane) -> None:
    external = await open_mapping(plane, udp("10.0.0.1", 1000))
    policy = await plane.policy()
    draining = tuple(
        replace(
            run,
            first=run.first + i,
            count=1,
            slot=run.slot + i,
            draining=run.first + i == external.addr,
        )
        for run in policy.runs
        for i in range(run.count)
    )
    gone = next(run.slot for run in draining if run.draining)
    slots = tuple(slot for slot in policy.policies[0].slots if slot != gone)
    smaller = replace(
        policy,
        generation=2,
        policies=(replace(policy.policies[0], slots=slots),),
        runs=draining,
    )
    await plane.set_policy(smaller)
    assert await open_mapping(plane, udp("10.0.0.1", 1000)) == external
    others = await open_mappings(plane, [udp(f"10.0.0.{host}", 1000) for host in range(2, 34)])
    assert external.addr not in {other.addr for other in others}
    await plane.set_policy(replace(smaller, generation=3), force=True)
    answer = await send(plane, remote(), external, Direction.OUT2IN)
    assert answer.verdict is not Verdict.TRANSLATED


async def test_static_mappings_of_a_policy_follow_it(plane: Dataplane) -> None:
    policy = await plane.policy()
    await plane.set_policy(replace(policy, generation=2, endpoints=(STATIC,)))
    assert len((await plane.mappings(MappingFilter(statics=True))).items) == 1
    await plane.set_policy(replace(policy, generation=3))
    assert (await plane.mappings(ALL)).items == ()


# ---- events ----


async def test_events_reach_every_subscriber(plane: Dataplane) -> None:
    async def first_created() -> tuple[IPv4Address, int]:
        async for event in plane.events():
            if event.type is EventType.MAPPING_CREATED:
                return event.inside, event.inside_port
        raise AssertionError("the events ended")

    async with asyncio.timeout(10):
        tasks = [asyncio.create_task(first_created()) for _ in range(2)]
        await asyncio.sleep(0.2)
        await open_mapping(plane, udp("10.0.0.1", 1234))
        found = await asyncio.gather(*tasks)
    assert found == [(IPv4Address("10.0.0.1"), 1234)] * 2


# ---- the end ----


async def test_closing_ends_everything(plane: Dataplane) -> None:
    async def drain_events() -> int:
        return len([event async for event in plane.events()])

    reader = asyncio.create_task(drain_events())
    await asyncio.sleep(0.1)
    await plane.aclose()
    await plane.aclose()
    async with asyncio.timeout(5):
        await reader
    with pytest.raises(Unavailable):
        await plane.snapshot()
    with pytest.raises(Unavailable):
        await plane.activate(1)
    assert plane.capabilities.max_instances == 4
