# SPDX-License-Identifier: Apache-2.0
"""``Port``: packets through a VPP of tests, as ``Dataplane.inject`` wants them.

Inside hosts (10.0.0.0/8) live behind one interface of ``Vpp``, everybody else behind the other.

To tell which packet that came out is which that went in, each goes in with an identification of its
own, fragments of one datagram with the same; it comes back with the one it had. A router's other
traces stay: the TTL is one less. What became of a packet that did not come out is told by what was
counted meanwhile, so reasons are named only where a call has packets of one reason.
"""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hashmvt.model import Direction, Outcome, Packet, Snapshot, Verdict
from hashmvt.names import DropReason, PassReason

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vpp import Vpp

INSIDE, OUTSIDE = "pg0", "pg1"
NOWHERE = 0xFFFF
_SIDES = {Direction.IN2OUT: INSIDE, Direction.OUT2IN: OUTSIDE}
_LEAVES = {OUTSIDE: Direction.IN2OUT, INSIDE: Direction.OUT2IN}
_ETHERNET, _IPV4 = 14, b"\x08\x00"
_POLL_S = 0.001
_QUIET_S = 0.004
"""All is done when nothing more has happened for so long."""
_LOST_S = 2.0
"""What neither came out nor was counted by then, VPP has dropped before our nodes."""
_HEADER, _OFFSET, _MORE = 20, 0x1FFF, 0x2000


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A packet that has not come out yet."""

    packet: Packet
    ident: int
    """That it had."""


class Port:
    """Two interfaces of a VPP."""

    def __init__(self, vpp: Vpp) -> None:
        """Use a VPP that was started with ``set_up``."""
        self._vpp = vpp
        self._last = 0  # of packets too short for an identification, downwards
        self._idents = 0
        self._groups: dict[bytes, int] = {}
        self._held: dict[tuple[int, int], _Waiting] = {}

    @staticmethod
    def set_up(vpp: Vpp) -> None:
        """Make the interfaces in a VPP that has just started."""
        for number, network in ((0, "10.0.0.0/8"), (1, "0.0.0.0/0")):
            peer = f"192.168.25{number}.2"
            name = vpp.create_pg(number, f"192.168.25{number}.1/30", [peer])
            vpp.do(f"ip route add {network} via {peer} {name}")

    def disable(self) -> None:
        """End the NAT."""
        self._held.clear()
        self._groups.clear()
        if not self._vpp.starved:
            self._vpp.cli("hashmvt disable")

    # ---- ``PacketPort`` ----

    def inject(
        self, packets: Sequence[Packet], snapshot: Callable[[], Snapshot]
    ) -> tuple[Outcome, ...]:
        """See ``Dataplane.inject``."""
        self._arrived()
        before = snapshot()
        waiting: dict[tuple[int, int], int] = {}
        sent: dict[str, list[bytes]] = {INSIDE: [], OUTSIDE: []}
        marked = [self._mark(packet.data) for packet in packets]
        for position, (packet, (key, data)) in enumerate(zip(packets, marked, strict=True)):
            waiting[key] = position
            sent[_SIDES[packet.direction]].append(data)
        for name, some in sent.items():
            if some:
                header = self._vpp.ethernet(name)
                self._vpp.emit(name, [header + data for data in some])
        came = self._collect(sum(map(len, sent.values())), before, snapshot)
        outcomes: dict[int, Outcome] = {}
        late: list[Outcome] = []
        reason = _Grown(before, snapshot())
        for name, data in came:
            key = _key(data)
            if key in waiting:
                position = waiting[key]
                packet, ident = packets[position], _ident(packets[position].data)
                outcomes[position] = reason.came(packet, _with_ident(data, ident), name)
            elif key in self._held:
                held = self._held.pop(key)
                late.append(reason.came(held.packet, _with_ident(data, held.ident), name))
        held_now = reason.held
        for key, position in waiting.items():
            if position in outcomes:
                continue
            packet = packets[position]
            if held_now and key[1]:
                held_now -= 1
                self._held[key] = _Waiting(packet, _ident(packet.data))
                outcomes[position] = reason.gone(packet, Verdict.HELD)
            else:
                outcomes[position] = reason.gone(packet, Verdict.DROPPED)
        return (*(outcomes[position] for position in range(len(packets))), *late)

    def _arrived(self) -> list[tuple[str, bytes]]:
        """Return the IPv4 packets that came out since the last call, with the interface."""
        return [
            (name, frame[_ETHERNET:])
            for name in (INSIDE, OUTSIDE)
            for frame in self._vpp.arrived(name)
            if frame[_ETHERNET - 2 : _ETHERNET] == _IPV4
        ]

    def _collect(
        self, count: int, before: Snapshot, snapshot: Callable[[], Snapshot]
    ) -> list[tuple[str, bytes]]:
        """Wait until all that was sent came out or was counted; return what came."""
        came: list[tuple[str, bytes]] = []
        seen: tuple[int, int] = (-1, -1)
        changed = time.monotonic()
        while True:
            came += self._arrived()
            counted = 0 if len(came) >= count else _ended(snapshot()) - _ended(before)
            now = time.monotonic()
            if (len(came), counted) != seen:
                seen, changed = (len(came), counted), now
            if now - changed > (_QUIET_S if sum(seen) >= count else _LOST_S):
                return came
            time.sleep(_POLL_S)

    def _mark(self, data: bytes) -> tuple[tuple[int, int], bytes]:
        """Give a packet an identification of its own; return by what it is known, and itself."""
        if len(data) < _HEADER:
            self._last -= 1
            return (self._last, 0), data
        flags = int.from_bytes(data[6:8])
        if flags & (_MORE | _OFFSET):
            group = data[4:6] + data[9:10] + data[12:20]
            ident = self._groups.setdefault(group, len(self._groups) + 0x8000)
        else:
            self._idents = (self._idents + 1) % 0x8000
            ident = self._idents
        return (ident, flags & _OFFSET), _with_ident(data, ident)


class _Grown:
    """What was counted between two snapshots, as the outcome of packets."""

    def __init__(self, before: Snapshot, after: Snapshot) -> None:
        self.held = _sum(after, "fragments_held") - _sum(before, "fragments_held")
        self._drop = self._only(DropReason, lambda s, r: sum(i.drops(r) for i in s), before, after)
        self._pass = self._only(PassReason, lambda s, r: sum(i.passes(r) for i in s), before, after)

    @staticmethod
    def _only(
        kind: type[Any], count: Callable[[Any, Any], int], before: Snapshot, after: Snapshot
    ) -> Any:
        """Return the one reason that grew, if there is one."""
        grown = [r for r in kind if count(after.instances, r) > count(before.instances, r)]
        return grown[0] if len(grown) == 1 else None

    def came(self, packet: Packet, data: bytes, name: str) -> Outcome:
        """Return the outcome of a packet that came out."""
        same = _same(packet.data, data)
        return Outcome(
            Verdict.PASSED if same else Verdict.TRANSLATED,
            data,
            _LEAVES[name],
            instance=NOWHERE,
            first_instance=NOWHERE,
            passed=self._pass if same else None,
            cookie=packet.cookie,
        )

    def gone(self, packet: Packet, verdict: Verdict) -> Outcome:
        """Return the outcome of a packet that did not."""
        return Outcome(
            verdict,
            packet.data,
            packet.direction,
            instance=NOWHERE,
            first_instance=NOWHERE,
            drop=self._drop if verdict is Verdict.DROPPED else None,
            cookie=packet.cookie,
        )


def _sum(snapshot: Snapshot, counter: str) -> int:
    return sum(getattr(i.counters, counter) for i in snapshot.instances)


def _ended(snapshot: Snapshot) -> int:
    """Return how many packets were dropped or wait for their first fragment."""
    return sum(sum(i.dropped) for i in snapshot.instances) + _sum(snapshot, "fragments_held")


def _key(data: bytes) -> tuple[int, int]:
    return _ident(data), int.from_bytes(data[6:8]) & _OFFSET


def _ident(data: bytes) -> int:
    return int.from_bytes(data[4:6])


def _with_ident(data: bytes, ident: int) -> bytes:
    """Change the identification; a checksum that was right stays so (RFC 1624)."""
    packet = bytearray(data)
    total = (~int.from_bytes(data[10:12]) & 0xFFFF) + (~_ident(data) & 0xFFFF) + ident
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    struct.pack_into("!H", packet, 4, ident)
    struct.pack_into("!H", packet, 10, ~total & 0xFFFF)
    return bytes(packet)


def _same(before: bytes, after: bytes) -> bool:
    """Is a packet as it was, but for the TTL and the header's checksum?"""
    return before[:8] + before[9:10] + before[12:] == after[:8] + after[9:10] + after[12:]
