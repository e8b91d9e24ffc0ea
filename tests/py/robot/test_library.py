# SPDX-License-Identifier: Apache-2.0
"""The library as suites use it, on the embedded engine and on drivers that get things wrong."""

import inspect
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from HashMvt import HashMvt, packets, wire
from HashMvt.driver import Leaving, make_driver
from HashMvt.embedded import EmbeddedDriver
from hashmvt.names import DropReason, PassReason
from HashMvt.words import HostPort, Operator, Side

CLIENT = HostPort.parse("10.0.0.1:5000")
SERVER = HostPort.parse("192.0.2.1:53")


class Spoiling(EmbeddedDriver):
    """A NAT that is right, behind a wire that is not."""

    def __init__(self) -> None:
        super().__init__()
        self.spoil: Callable[[list[Leaving]], list[Leaving]] = list

    async def send(self, side: Side, packets: Sequence[bytes]) -> list[Leaving]:
        """Spoil what leaves."""
        return self.spoil(await super().send(side, packets))


@pytest.fixture
def driver() -> Spoiling:
    return Spoiling()


@pytest.fixture
async def nat(driver: Spoiling) -> AsyncIterator[Any]:
    library = HashMvt(driver=driver)
    await library.start_dataplane()
    yield library
    await library.stop_dataplane()


# ---- the words ----


def test_what_the_driver_of_vpp_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "HashMvt.vpp", raising=False)
    monkeypatch.setitem(sys.modules, "hashmvt.dataplane.vpp", None)
    with pytest.raises(ValueError, match=r"hashmvt\.dataplane\.vpp is missing: .* extra vpp"):
        HashMvt("vpp")


def test_an_unknown_dataplane_is_named() -> None:
    with pytest.raises(ValueError, match="no dataplane 'vvp'"):
        make_driver("vvp")


def test_every_keyword_is_typed_and_says_what_it_does() -> None:
    library = HashMvt()
    for name in library.get_keyword_names():
        member = getattr(library, name)
        assert inspect.getdoc(member), name
        for parameter in inspect.signature(member).parameters.values():
            assert parameter.annotation is not inspect.Parameter.empty, f"{name}: {parameter}"


def test_what_is_no_keyword_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="settle"):
        HashMvt().settle  # noqa: B018


async def test_keywords_need_a_dataplane() -> None:
    with pytest.raises(RuntimeError, match="Start Dataplane"):
        await HashMvt().send_udp(CLIENT, SERVER)


# ---- right ----


async def test_there_and_back(nat: Any) -> None:
    sent = await nat.send_udp(CLIENT, SERVER)
    external = nat.packet_should_leave_outside(sent, to=SERVER)
    assert await nat.get_external_endpoint(CLIENT, Operator.EQUAL, external) == external
    nat.packet_should_arrive_inside(await nat.reply_to(sent), at=CLIENT, sender=SERVER)


async def test_the_clock_moves(nat: Any) -> None:
    await nat.send_udp(CLIENT, SERVER)
    await nat.advance_clock(timedelta(seconds=300))
    assert await nat.get_mapping_count(Operator.EQUAL, 1) == 1
    await nat.advance_clock(timedelta(seconds=1))
    assert await nat.get_mapping_count(Operator.EQUAL, 0) == 0
    with pytest.raises(ValueError, match="whole seconds"):
        await nat.advance_clock(timedelta(seconds=0.5))


# ---- wrong ----


async def test_a_damaged_packet_fails_whoever_sent_it(nat: Any, driver: Spoiling) -> None:
    driver.spoil = lambda left: [Leaving(one.side, one.data[:-1] + b"\0") for one in left]
    with pytest.raises(AssertionError, match="checksum of protocol 17 is wrong"):
        await nat.send_udp(CLIENT, SERVER, b"no zero")


async def test_a_packet_that_left_by_the_wrong_side_fails(nat: Any, driver: Spoiling) -> None:
    driver.spoil = lambda left: [Leaving(one.side.other, one.data) for one in left]
    sent = await nat.send_udp(CLIENT, SERVER)
    with pytest.raises(AssertionError, match="left inside, expected outside"):
        nat.packet_should_leave_outside(sent, to=SERVER)


async def test_a_lost_packet_fails(nat: Any, driver: Spoiling) -> None:
    driver.spoil = lambda _left: []
    sent = await nat.send_udp(CLIENT, SERVER)
    with pytest.raises(AssertionError, match="0 left; expected one to leave"):
        nat.packet_should_leave_outside(sent, to=SERVER)


async def test_a_packet_that_came_twice_fails(nat: Any, driver: Spoiling) -> None:
    driver.spoil = lambda left: [*left, *left]
    with pytest.raises(AssertionError, match="2 left; expected one to leave"):
        nat.packet_should_leave_outside(await nat.send_udp(CLIENT, SERVER), to=SERVER)


async def test_other_data_fails(nat: Any, driver: Spoiling) -> None:
    external = HostPort.parse("198.51.100.1:1024")
    driver.spoil = lambda left: [
        Leaving(one.side, packets.udp(external, SERVER, b"answer!!")) for one in left
    ]
    sent = await nat.send_udp(CLIENT, SERVER, b"question")
    with pytest.raises(AssertionError, match="more than endpoints changed"):
        nat.packet_should_leave_outside(sent, to=SERVER)


async def test_a_source_that_is_not_of_the_pool_fails(nat: Any, driver: Spoiling) -> None:
    driver.spoil = lambda left: [
        Leaving(one.side, packets.udp(CLIENT, SERVER, b"question")) for one in left
    ]
    with pytest.raises(AssertionError, match="not of the pool"):
        nat.packet_should_leave_outside(await nat.send_udp(CLIENT, SERVER), to=SERVER)


async def test_a_router_takes_one_of_the_time_to_live_also_of_what_is_quoted(
    nat: Any, driver: Spoiling
) -> None:
    driver.hops = 1
    driver.spoil = lambda left: [Leaving(one.side, wire.aged(one.data, 1)) for one in left]
    sent = await nat.send_udp(CLIENT, SERVER)
    nat.packet_should_leave_outside(sent, to=SERVER)
    error = await nat.send_icmp_error(sent, IPv4Address("192.0.2.254"))
    nat.icmp_error_should_reach(error, CLIENT.addr, about=sent)
    driver.hops = 0
    with pytest.raises(AssertionError, match="more than endpoints changed"):
        nat.packet_should_leave_outside(sent, to=SERVER)
    with pytest.raises(AssertionError, match="it quotes"):
        nat.icmp_error_should_reach(error, CLIENT.addr, about=sent)


async def test_a_router_sends_what_is_for_inside_hosts_inside(nat: Any, driver: Spoiling) -> None:
    sent = await nat.send_udp(CLIENT, HostPort.parse("10.200.0.1:53"))
    nat.packet_should_pass_untranslated(sent, PassReason.EXEMPT)
    driver.hops = 1
    driver.spoil = lambda left: [Leaving(Side.INSIDE, wire.aged(one.data, 1)) for one in left]
    with pytest.raises(AssertionError, match="it was changed"):
        nat.packet_should_pass_untranslated(sent, PassReason.EXEMPT)
    sent = await nat.send_udp(CLIENT, HostPort.parse("10.200.0.1:53"))
    nat.packet_should_pass_untranslated(sent, PassReason.EXEMPT)


async def test_another_reason_fails(nat: Any) -> None:
    sent = await nat.send_udp(SERVER, HostPort.parse("198.51.100.1:5000"))
    nat.packet_should_be_dropped(sent, DropReason.NO_MAPPING)
    with pytest.raises(AssertionError, match=r"1 dropped as no_mapping; expected .* filtered"):
        nat.packet_should_be_dropped(sent, DropReason.FILTERED)


async def test_a_translated_packet_did_not_pass(nat: Any) -> None:
    with pytest.raises(AssertionError, match="it was changed"):
        nat.packet_should_pass_untranslated(await nat.send_udp(CLIENT, SERVER), PassReason.EXEMPT)


async def test_a_flow_that_lost_its_mapping_fails(nat: Any) -> None:
    flows = await nat.start_flows(3, IPv4Network("10.0.0.0/24"), SERVER)
    await nat.flows_should_go_on(flows)
    with pytest.raises(AssertionError, match="3 of 3 packets got through"):
        await nat.flows_should_have_ended(flows)
    await nat.delete_mappings_of(IPv4Address("10.0.0.2"))
    with pytest.raises(AssertionError, match="no packet from"):
        await nat.flows_should_go_on(flows)


async def test_a_flow_that_is_swapped_with_another_fails(nat: Any, driver: Spoiling) -> None:
    flows = await nat.start_flows(2, IPv4Network("10.0.0.0/24"), SERVER)
    driver.spoil = lambda left: [left[0], left[0]]
    with pytest.raises(AssertionError, match=r"no packet from .* packets came twice"):
        await nat.flows_should_go_on(flows)


async def test_getters_fail_with_what_they_got(nat: Any) -> None:
    with pytest.raises(AssertionError, match="the number of mappings is 0, expected == 1"):
        await nat.get_mapping_count(Operator.EQUAL, 1)
