# SPDX-License-Identifier: Apache-2.0
"""A NAT44 in dictionaries: what the RFCs ask for, and nothing about how it is done.

It has no pool, no instances and no clock of its own. Which external endpoint a new mapping gets it
is told (``choose``), and checks the rules of the choice; everything else it says beforehand.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hashmvt.model import Filtering, Proto
from hashmvt.names import DropReason

if TYPE_CHECKING:
    from collections.abc import Callable

FIN, SYN, RST, ACK = 1, 2, 4, 16
IN, OUT = "inside", "outside"

Endpoint = tuple[int, int]
Key = tuple[Proto, int, int]


@dataclass(frozen=True)
class Rules:
    """What the operator configured."""

    filtering: Filtering = Filtering.ENDPOINT_INDEPENDENT
    pool: range = range(0)
    ports: range = range(0)
    mappings_per_host: int = 0
    new_per_second: int = 0
    hold_down: int = 0
    udp: int = 300
    icmp: int = 60
    established: int = 7440
    transitory: int = 240
    incoming_syn: int = 6


def tcp_next(state: str, side: str, flags: int) -> str:  # noqa: PLR0911 - as the figure's arrows
    """Figure 1 of RFC 7857, by who sends: one end's SYN, then the other's, and so for FIN."""
    other = OUT if side == IN else IN
    if flags & RST:  # RFC 7857 2.2: four minutes from here on, once there is a connection
        opening = state.startswith("init") or state in ("closed", "fin both")
        return state if opening else "trans"
    if state == "trans":  # any other segment shows that it lives
        return "established"
    if flags & SYN:
        if state in ("closed", "fin both"):
            return f"init {side}"
        return "established" if state == f"init {other}" else state
    if flags & FIN:
        if state == "established":
            return f"fin {side}"
        return "fin both" if state == f"fin {other}" else state
    return state


@dataclass
class Session:
    """One remote peer of a mapping."""

    state: str
    last: int


@dataclass
class Mapping:
    """An inside endpoint and its external one."""

    key: Key
    external: Endpoint
    sessions: dict[Endpoint, Session] = field(default_factory=dict)
    spoken_to: dict[int, int] = field(default_factory=dict)
    """Address -> when a connection with it last had a segment: what address-dependent filtering
    asks."""


class Refused(Exception):  # noqa: N818 - what becomes of a packet, no error
    """The packet is dropped."""

    def __init__(self, reason: DropReason) -> None:
        super().__init__(reason.name)
        self.reason = reason


class Nat:
    """The model. ``now`` is set by whoever uses it."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.now = 0
        self.inside: dict[Key, Mapping] = {}
        self.outside: dict[Key, Mapping] = {}
        self.held: dict[Key, tuple[int, int]] = {}
        self.created: dict[tuple[int, int], int] = {}

    # ---- time ----

    def timeout(self, proto: Proto, state: str) -> int:
        """Return for how long a session may be idle."""
        rules = self.rules
        if proto is not Proto.TCP:
            return rules.udp if proto is Proto.UDP else rules.icmp
        if state in ("established", f"fin {IN}", f"fin {OUT}"):
            return rules.established
        return rules.incoming_syn if state == f"init {OUT}" else rules.transitory

    def advance(self, seconds: int) -> None:
        """Move the clock; end sessions that are idle for too long, and mappings without any."""
        self.now += seconds
        for mapping in list(self.inside.values()):
            proto = mapping.key[0]
            for remote, session in list(mapping.sessions.items()):
                if self.now - session.last > self.timeout(proto, session.state):
                    del mapping.sessions[remote]
            if not mapping.sessions:
                self._end(mapping)

    def _end(self, mapping: Mapping) -> None:
        proto, host, _ = mapping.key
        del self.inside[mapping.key]
        del self.outside[proto, *mapping.external]
        filtered = self.rules.filtering is not Filtering.ENDPOINT_INDEPENDENT
        if proto is not Proto.TCP and not filtered:  # RFC 6888 REQ-8
            self.held[proto, *mapping.external] = (self.now, host)

    # ---- sessions and filtering ----

    def _remote(self, proto: Proto, remote: Endpoint) -> Endpoint:
        """Return what of a remote endpoint tells sessions apart."""
        if proto is Proto.TCP:
            return remote
        match self.rules.filtering:
            case Filtering.ENDPOINT_INDEPENDENT:
                return (0, 0)
            case Filtering.ADDRESS_DEPENDENT:
                return (remote[0], 0)
            case _:
                return (remote[0], 0) if proto is Proto.ICMP else remote

    def _admits(self, mapping: Mapping, remote: Endpoint) -> bool:
        """Say whether an unknown peer's packet may come in."""
        if self.rules.filtering is Filtering.ENDPOINT_INDEPENDENT:
            return True
        tcp = mapping.key[0] is Proto.TCP
        if tcp and self.rules.filtering is Filtering.ADDRESS_DEPENDENT:
            spoken = mapping.spoken_to.get(remote[0])
            return spoken is not None and self.now - spoken <= self.rules.established
        return False

    def _session(self, mapping: Mapping, side: str, remote: Endpoint, flags: int) -> None:
        """Let a packet through a mapping's filter and refresh what it refreshes."""
        proto = mapping.key[0]
        key = self._remote(proto, remote)
        session = mapping.sessions.get(key)
        if session is None and side == OUT and not self._admits(mapping, remote):
            raise Refused(DropReason.FILTERED)
        if side == IN or session or opens(flags):
            mapping.spoken_to[remote[0]] = self.now
        if session:
            session.last = self.now
            session.state = tcp_next(session.state, side, flags) if proto is Proto.TCP else ""
        elif proto is not Proto.TCP:
            mapping.sessions[key] = Session("", self.now)
        elif opens(flags):
            mapping.sessions[key] = Session(f"init {side}", self.now)
        elif side == IN:  # goes on with a connection that was forgotten
            mapping.sessions[key] = Session("trans", self.now)

    # ---- packets ----

    def out(
        self,
        key: Key,
        remote: Endpoint,
        flags: int,
        query: bool,
        choose: Callable[[], Endpoint],
    ) -> Endpoint:
        """Return the external endpoint that a packet from inside leaves with.

        Raises:
            Refused: it is dropped.

        """
        mapping = self.inside.get(key)
        if mapping is None:
            mapping = self._create(key, flags, query, choose)
        self._session(mapping, IN, remote, flags)
        return mapping.external

    def _create(self, key: Key, flags: int, query: bool, choose: Callable[[], Endpoint]) -> Mapping:
        proto, host, _ = key
        if proto is Proto.TCP and not opens(flags):
            raise Refused(DropReason.TCP_NOT_SYN)
        if proto is Proto.ICMP and not query:
            raise Refused(DropReason.NO_MAPPING)
        rules = self.rules
        others = [m for m in self.inside.values() if m.key[1] == host]
        if rules.mappings_per_host and len(others) >= rules.mappings_per_host:
            raise Refused(DropReason.HOST_LIMIT)
        made = self.created.get((host, self.now), 0)
        if rules.new_per_second and made >= rules.new_per_second:
            raise Refused(DropReason.RATE_LIMIT)
        external = choose()
        self._check_choice(key, external, others)
        mapping = Mapping(key, external)
        self.inside[key] = self.outside[proto, *external] = mapping
        self.held.pop((proto, *external), None)
        self.created[host, self.now] = made + 1
        return mapping

    def _check_choice(self, key: Key, external: Endpoint, others: list[Mapping]) -> None:
        """RFC 4787 REQ-2 and REQ-3, RFC 6888 REQ-8, and the configured pool."""
        proto, host, _ = key
        address, port = external
        assert address in self.rules.pool
        assert port in self.rules.ports
        assert (proto, *external) not in self.outside, "port overloading"
        assert all(m.external[0] == address for m in others), "another address"
        freed, owner = self.held.get((proto, *external), (None, host))
        if freed is not None and owner != host:
            assert self.now - freed >= self.rules.hold_down, "held down"

    def into(self, proto: Proto, external: Endpoint, remote: Endpoint, flags: int) -> Endpoint:
        """Return the inside endpoint that a packet from outside is for.

        Raises:
            Refused: it is dropped.

        """
        mapping = self.outside.get((proto, *external))
        if mapping is None:
            raise Refused(DropReason.NO_MAPPING)
        self._session(mapping, OUT, remote, flags)
        return mapping.key[1:]

    def about_inside(self, key: Key) -> Endpoint:
        """Return the external endpoint of an ICMP error's embedded destination.

        Raises:
            Refused: it is dropped.

        """
        mapping = self.inside.get(key)
        if mapping is None:
            raise Refused(DropReason.ICMP_NO_MAPPING)
        return mapping.external

    def about_outside(self, proto: Proto, external: Endpoint) -> Endpoint:
        """Return the inside endpoint of an ICMP error's embedded source.

        Raises:
            Refused: it is dropped.

        """
        mapping = self.outside.get((proto, *external))
        if mapping is None:
            raise Refused(DropReason.ICMP_NO_MAPPING)
        return mapping.key[1:]


def opens(flags: int) -> bool:
    """Say whether a segment may open a connection: SYN alone."""
    return flags & (FIN | SYN | RST | ACK) == SYN
