# SPDX-License-Identifier: Apache-2.0
"""Keywords that say what must have become of packets. They fail with what was seen."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network
from itertools import pairwise
from math import isqrt

from robot.api.deco import keyword

from HashMvt import packets, wire
from hashmvt.names import DropReason, PassReason
from HashMvt.sent import Flow, Sent
from HashMvt.testbed import Testbed
from HashMvt.words import HostPort, Side


class Outcomes:
    """Judges what was sent."""

    def __init__(self, testbed: Testbed) -> None:
        """Judge on a testbed."""
        self._testbed = testbed

    # ---- where it went ----

    @keyword
    def packet_should_leave_outside(self, sent: Sent, to: HostPort) -> HostPort:
        """It left outside, for ``to``, from an endpoint of the pool; return that endpoint.

        Nothing else of it was changed.
        """
        source, target = self._moved(sent, Side.OUTSIDE)
        if target != to:
            raise AssertionError(f"it went to {target}, expected {to} ({sent})")
        if not self._testbed.in_pool(source.addr):
            raise AssertionError(f"it came from {source}, which is not of the pool ({sent})")
        return source

    @keyword
    def packet_should_arrive_inside(self, sent: Sent, at: HostPort, sender: HostPort) -> None:
        """It left inside, for ``at``, and says that it is from ``sender``; all else is as sent."""
        source, target = self._moved(sent, Side.INSIDE)
        if (source, target) != (sender, at):
            raise AssertionError(f"it went from {source} to {target}, expected {at} ({sent})")

    def _moved(self, sent: Sent, side: Side) -> tuple[HostPort, HostPort]:
        """Return the ends of the one packet that left by ``side``."""
        leaving = sent.one
        if leaving.side is not side:
            raise AssertionError(f"it left {leaving.side.value}, expected {side.value} ({sent})")
        if not wire.same_but_ends(sent.packets[-1], leaving.data, self._testbed.driver.hops):
            raise AssertionError(
                f"more than endpoints changed: {sent.packets[-1].hex()} became {leaving.data.hex()}"
            )
        return wire.ends(leaving.data)

    @keyword
    def icmp_error_should_reach(self, sent: Sent, target: IPv4Address, *, about: Sent) -> None:
        """It reached ``target`` and quotes the packet of ``about`` as its sender sent it.

        Only its time to live is what it was when it met whoever complains.

        Byte for byte, as far as it quotes (RFC 5508 REQ-4, REQ-5): the receiver finds its own
        packet, right checksums included.
        """
        leaving = sent.one
        head = wire.header(leaving.data)
        if head.target != target:
            raise AssertionError(f"it went to {head.target}, expected {target} ({sent})")
        quote = wire.quoted(leaving.data)
        was = wire.aged(about.packets[-1], self._testbed.driver.hops)
        if not was.startswith(quote):
            raise AssertionError(f"it quotes {quote.hex()}, sent was {was.hex()}")
        before, after = (
            data[wire.header(data).length :] for data in (sent.packets[-1], leaving.data)
        )
        if before[:2] != after[:2] or before[4:8] != after[4:8]:
            raise AssertionError(f"type, code or rest of the header changed ({sent})")

    @keyword
    def source_should_be(self, sent: Sent, source: IPv4Address) -> None:
        """The packet that left says that it is from ``source``."""
        found = wire.header(sent.one.data).source
        if found != source:
            raise AssertionError(f"it came from {found}, expected {source} ({sent})")

    # ---- what did not go ----

    @keyword
    def packet_should_be_dropped(self, sent: Sent, reason: DropReason) -> None:
        """Nothing left, and every packet is counted under this reason and no other."""
        if sent.left or sent.drops != {reason: len(sent.packets)}:
            raise AssertionError(f"{sent}; expected to be dropped as {reason.label}")

    @keyword
    def packet_should_pass_untranslated(self, sent: Sent, reason: PassReason) -> None:
        """It went on as it was, and is counted as passed for this reason.

        Out by the other side; a router sends what is for an inside host inside.
        """
        leaving = sent.one
        same = leaving.side is self._beyond(sent) and wire.same_but_ends(
            sent.packets[-1], leaving.data, self._testbed.driver.hops
        )
        if not same or wire.ends(leaving.data) != wire.ends(sent.packets[-1]):
            raise AssertionError(f"it was changed: {wire.describe(leaving.data)} ({sent})")
        if sent.reasons.passed[reason] != 1:
            raise AssertionError(f"{sent}; expected to be passed as {reason.label}")

    def _beyond(self, sent: Sent) -> Side:
        """Return where a packet goes that is not translated."""
        target = wire.header(sent.packets[-1]).target
        routed = self._testbed.driver.hops > 0
        inside = routed and self._testbed.side_of(target) is Side.INSIDE
        return Side.INSIDE if inside else sent.side.other

    @keyword
    def packets_should_leave(self, sent: Sent, count: int) -> None:
        """So many left; each of the others is counted as dropped, or waits."""
        if len(sent.left) != count:
            raise AssertionError(f"{sent}; expected {count} to leave")

    @keyword
    def drops_should_be(self, sent: Sent, reason: DropReason, count: int) -> None:
        """So many were dropped for this reason, and none for another."""
        if sent.drops != ({reason: count} if count else {}):
            raise AssertionError(f"{sent}; expected {count} dropped as {reason.label}")

    @keyword
    def fragments_should_make_datagram(
        self, sent: Sent, to: HostPort, *, length: int = 60
    ) -> HostPort:
        """All fragments left and together are the datagram, with one source; return it.

        The checksum over the whole datagram is right (RFC 4787 REQ-14).
        """
        whole, rest = wire.reassembled(leaving.data for leaving in sent.left)
        if rest or len(whole) != 1:
            raise AssertionError(f"{sent}: {len(whole)} datagrams and {len(rest)} fragments left")
        source, target = wire.ends(whole[0])
        body = wire.payload(whole[0])
        if target != to or body != packets.pattern(length):
            raise AssertionError(f"they make {wire.describe(whole[0])} of {len(body)} bytes")
        return source

    # ---- endpoints ----

    @keyword
    def external_endpoint_of(self, sent: Sent) -> HostPort:
        """Return the endpoint that stands outside for the sender."""
        return wire.ends(sent.one.data)[0]

    @keyword
    def udp_checksum_of(self, sent: Sent) -> str:
        """Return the checksum in the datagram that left, as ``0xffff``."""
        data = sent.one.data
        at = wire.header(data).length + 6
        return f"0x{data[at : at + 2].hex()}"

    @keyword
    def checksum_should_be_wrong(self, sent: Sent) -> None:
        """The packet that left has a wrong L4 checksum, as it was sent with."""
        found = wire.faults([sent.one.data])
        if len(found) != 1 or "checksum of protocol" not in found[0]:
            raise AssertionError(f"{found or 'it is right'} ({sent})")

    @keyword
    def endpoints_should_share_address(self, *endpoints: HostPort) -> None:
        """All have one address."""
        if len({endpoint.addr for endpoint in endpoints}) != 1:
            raise AssertionError(f"{', '.join(map(str, endpoints))} have different addresses")

    @keyword
    def endpoints_should_differ(self, *endpoints: HostPort) -> None:
        """No two are the same."""
        if len(set(endpoints)) != len(endpoints):
            raise AssertionError(f"some of {', '.join(map(str, endpoints))} are the same")

    @keyword
    def endpoints_should_be_unique(self, sent: Sent) -> None:
        """No two of the packets that left have the same source endpoint (RFC 4787 REQ-3)."""
        sources = _sources(sent)
        if len(set(sources)) != len(sources):
            raise AssertionError(f"{len(sources)} packets, {len(set(sources))} endpoints")

    @keyword
    def ports_should_lie_in_blocks(self, sent: Sent, size: int, *, at_most: int) -> None:
        """The ports of the packets that left lie in at most so many blocks of ``size``."""
        blocks = {(source.addr, source.port // size) for source in _sources(sent)}
        if len(blocks) > at_most:
            raise AssertionError(f"they lie in {len(blocks)} blocks, expected at most {at_most}")

    @keyword
    def ports_should_be_in_range(self, sent: Sent, first: int, last: int) -> None:
        """All source ports lie from ``first`` to ``last``."""
        wrong = [source for source in _sources(sent) if not first <= source.port <= last]
        if wrong:
            raise AssertionError(f"{wrong[0]} and {len(wrong) - 1} more are outside the range")

    @keyword
    def ports_should_be_hard_to_guess(self, sent: Sent) -> None:
        """The next port rarely is the neighbour of the one before (RFC 6056)."""
        ports = [source.port for source in _sources(sent)]
        pairs = list(pairwise(ports))
        near = sum(abs(a - b) == 1 for a, b in pairs)
        bound = len(pairs) // 16 + 2 * isqrt(len(pairs))
        if near > bound:
            raise AssertionError(f"{near} of {len(pairs)} ports follow their neighbour")

    @keyword
    def addresses_used_should_be(self, sent: Sent, count: int) -> None:
        """The packets that left came from so many addresses."""
        found = {source.addr for source in _sources(sent)}
        if len(found) != count:
            raise AssertionError(f"{len(found)} addresses were used, expected {count}")

    @keyword
    def share_should_be_about(self, part: int, all_of: int, *, percent: int) -> None:
        """``part`` is so many percent of all, give or take one."""
        if abs(100 * part - percent * all_of) > all_of:
            raise AssertionError(f"{part} of {all_of} is not about {percent} %")

    @keyword
    def endpoint_should_be_within(self, endpoint: HostPort, prefix: IPv4Network) -> None:
        """Its address lies in a prefix."""
        if endpoint.addr not in prefix:
            raise AssertionError(f"{endpoint} is not in {prefix}")

    # ---- flows ----

    @keyword
    async def flows_should_go_on(self, flows: list[Flow]) -> None:
        """A packet of each flow gets through each way, at the endpoint it always had.

        Nothing was lost and no mapping has changed (DESIGN 5).
        """
        await check_flows(self._testbed, flows)

    @keyword
    async def flows_should_have_ended(self, flows: list[Flow]) -> None:
        """Nothing that is sent to their external endpoints reaches them."""
        back = await self._testbed.driver.send(
            Side.OUTSIDE, [packets.udp(f.remote, f.external, b"more") for f in flows]
        )
        clients = {flow.inside for flow in flows}
        reached = [one for one in back if wire.ends(one.data)[1] in clients]
        if reached:
            raise AssertionError(f"{len(reached)} of {len(flows)} packets got through")


async def check_flows(testbed: Testbed, flows: list[Flow]) -> None:
    """Send a packet of each flow each way.

    Raises:
        AssertionError: one did not arrive, or arrived elsewhere or damaged.

    """
    driver = testbed.driver
    out = await driver.send(Side.INSIDE, [packets.udp(f.inside, f.remote, b"more") for f in flows])
    back = await driver.send(
        Side.OUTSIDE, [packets.udp(f.remote, f.external, b"more") for f in flows]
    )
    wrong = wire.faults(leaving.data for leaving in [*out, *back])
    wrong += _missing(
        {(f.external, f.remote) for f in flows}, (wire.ends(leaving.data) for leaving in out)
    )
    wrong += _missing(
        {(f.remote, f.inside) for f in flows}, (wire.ends(leaving.data) for leaving in back)
    )
    if wrong:
        raise AssertionError("; ".join(wrong))


def _sources(sent: Sent) -> list[HostPort]:
    return [wire.ends(leaving.data)[0] for leaving in sent.left]


def _missing(
    wanted: set[tuple[HostPort, HostPort]], seen: Iterable[tuple[HostPort, HostPort]]
) -> list[str]:
    """Say which packets did not come, and which came that should not have."""
    left = list(seen)
    result = [f"no packet from {a} to {b}" for a, b in sorted(wanted - set(left))]
    result += [f"a packet from {a} to {b}" for a, b in sorted(set(left) - wanted)]
    if len(left) > len(set(left)):
        result.append(f"{len(left) - len(set(left))} packets came twice")
    return result
