# SPDX-License-Identifier: Apache-2.0
"""Random sequences of packets, time and moving ranges: the engine does what the model says.

Each packet's verdict, reason, side and every byte are compared. Ranges of inside hosts go from
instance to instance in three beats (close, read, swap) while packets flow; the dispatcher may know
of it or not. None of that may show.

Profiles: ``ci`` (default, the same examples every time) and ``nightly``
(``HYPOTHESIS_PROFILE=nightly``).
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from hashmvt.dataplane.embedded import Engine, EngineSettings
from hashmvt.model import (
    ANYWHERE,
    Closing,
    Direction,
    Filtering,
    HomeMap,
    HomeRange,
    MappingFilter,
    Packet,
    Proto,
    Verdict,
)
from hashmvt.policy import FilteringPerProto, InsidePolicy, Policy, PolicySet, PoolRun
from tests.py.model.nat import ACK, FIN, RST, SYN, Nat, Refused, Rules
from tests.py.vectors.packets import Flow, Spec, build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hashmvt.model import Mapping, Outcome
    from tests.py.model.nat import Endpoint, Key

for _name, _examples in (("ci", 300), ("nightly", 20000)):
    settings.register_profile(
        _name,
        max_examples=_examples,
        derandomize=_name == "ci",
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

INSIDE = int(IPv4Address("10.0.0.0"))
REMOTE = int(IPv4Address("203.0.113.0"))
ROUTER = int(IPv4Address("192.0.2.1"))
POOL = range(int(IPv4Address("198.51.100.0")), int(IPv4Address("198.51.100.4")))
PORTS = range(1024, 65536)
HOSTS, HOSTS_PER_RANGE = 4, 2
STRANGERS = 4  # targets below are endpoints that no mapping has
IP_PROTO = {Proto.UDP: 17, Proto.TCP: 6, Proto.ICMP: 1}
ECHO_REPLY, UNREACHABLE, ECHO, TIME_EXCEEDED = 0, 3, 8, 11


# ---- what may happen ----


@dataclass(frozen=True)
class Send:
    """A packet. ``target`` chooses among the external endpoints seen, or none of them."""

    way: str
    """out, in, hairpin, error-in, error-out"""
    proto: Proto
    host: int
    port: int
    remote: int
    rport: int
    target: int
    flags: int
    payload: int
    cut: str
    """"", in-order, reverse"""


@dataclass(frozen=True)
class Wait:
    """Time goes by."""

    seconds: int


@dataclass(frozen=True)
class Beat:
    """The next beat of a range that moves; a new move begins when none is under way."""

    prefix: int
    to: int
    tell_dispatcher: bool


@dataclass(frozen=True)
class Give:
    """Free blocks go from one instance to another."""

    giver: int
    taker: int
    blocks: int


FLAGS = (SYN, SYN, SYN, SYN, SYN | ACK, ACK, ACK, FIN | ACK, RST, RST | ACK, 0, SYN | FIN)
WAITS = (*[1] * 12, 5, 6, 7, 59, 60, 61, 119, 120, 121, 239, 240, 241, 300, 301, 7440, 7441)

sends = st.builds(
    Send,
    way=st.sampled_from(("out", "out", "out", "in", "in", "hairpin", "error-in", "error-out")),
    proto=st.sampled_from(list(Proto)),
    host=st.integers(0, HOSTS - 1),
    port=st.integers(1, 2),
    remote=st.integers(1, 3),
    rport=st.sampled_from((53, 80)),
    target=st.integers(0, 31),
    flags=st.sampled_from(FLAGS),
    payload=st.integers(0, 40),
    cut=st.sampled_from(("", "", "", "", "in-order", "reverse")),
)
step = st.one_of(
    *[sends] * 6,
    st.builds(Wait, st.sampled_from(WAITS)),
    st.builds(Beat, st.integers(0, HOSTS // HOSTS_PER_RANGE - 1), st.integers(0, 3), st.booleans()),
    st.builds(Give, st.integers(0, 3), st.integers(0, 3), st.integers(1, 40)),
)
steps = st.lists(step, min_size=1, max_size=8) | st.lists(step, min_size=40, max_size=120)
"""Long ones find what goes wrong; short ones are what it shrinks to."""


def likely(random: Random, both: Both) -> Send | Wait | Beat | Give:
    """Return a step that probably meets something: an endpoint that has a mapping, its peer."""
    kind = random.random()
    if kind < 0.06:
        return Wait(random.choice(WAITS))
    if kind < 0.16:
        prefix = random.randrange(HOSTS // HOSTS_PER_RANGE)
        return Beat(prefix, random.randrange(4), random.random() < 0.5)
    if kind < 0.17:
        return Give(random.randrange(4), random.randrange(4), random.randint(1, 40))
    ways = ("out", "out", "out", "in", "in", "in", "hairpin", "error-in", "error-out")
    send = Send(
        way=random.choice(ways),
        proto=random.choice([Proto.UDP, Proto.TCP, Proto.TCP, Proto.ICMP]),
        host=random.randrange(HOSTS),
        port=random.randint(1, 2),
        remote=random.randint(1, 3),
        rport=random.choice((53, 80)),
        target=random.randrange(32),
        flags=random.choice(FLAGS),
        payload=random.randint(0, 40),
        cut=random.choice(("", "", "", "in-order", "reverse")),
    )
    if not both.nat.inside or random.random() < 0.3:
        return send
    mapping = random.choice(list(both.nat.inside.values()))
    proto, addr, port = mapping.key
    at = len(both.externals) - 1 - both.externals.index((proto, mapping.external))
    send = replace(send, proto=proto, host=addr - INSIDE, port=port, target=STRANGERS + at)
    peers = [peer for peer in mapping.sessions if 0 < peer[0] - REMOTE <= 3 and peer[1]]
    if not peers or random.random() < 0.3:
        return send
    remote, rport = random.choice(peers)
    return replace(send, remote=remote - REMOTE, rport=rport)


# ---- an engine and the model side by side ----


def engine_settings(rules: Rules, instances: int) -> EngineSettings:
    """Return an engine with the model's rules."""
    mode = rules.filtering
    policy = Policy(
        slots=tuple(range(len(POOL))),
        filtering=FilteringPerProto(mode, mode, mode),
        mappings_per_host_all=rules.mappings_per_host,
        new_per_second_per_host=rules.new_per_second,
    )
    bits = bytearray(8192)
    for port in PORTS:
        bits[port // 8] |= 1 << port % 8
    return EngineSettings(
        policy=PolicySet(
            generation=1,
            policies=(policy,),
            inside=(InsidePolicy(IPv4Network("10.0.0.0/8"), 0),),
            runs=(PoolRun(IPv4Address(POOL.start), len(POOL), 0),),
        ),
        host="model",
        instances_initial=instances,
        instances_max=instances,
        max_mappings=4096,
        block_size=64,
        max_slots=64,
        allocatable=bytes(bits),
        hold_seconds=rules.hold_down,
        stepped=True,
        seed=(1, 2, 3, 4),
    )


@dataclass
class Both:
    """The engine, the model, and what the coordinator would remember."""

    engine: Engine
    nat: Nat
    instances: int
    externals: list[tuple[Proto, Endpoint]] = field(default_factory=list)
    owner: list[int] = field(default_factory=list)
    """Of every range of inside hosts."""
    pins: dict[int, int] = field(default_factory=dict)
    closing: tuple[int, Closing] | None = None
    sent: int = 0

    def step(self, step: Send | Wait | Beat | Give) -> None:
        """Do one thing on both."""
        match step:
            case Send():
                self.send(step)
            case Wait(seconds):
                self.nat.advance(seconds)
                self.engine.advance(seconds)
            case Beat():
                self.beat(step)
            case Give(giver, taker, blocks):
                giver, taker = giver % self.instances, taker % self.instances
                if giver != taker:
                    self.engine.transfer(blocks, giver, taker, None, None)

    # ---- packets ----

    def send(self, send: Send) -> None:
        """Send one packet or datagram."""
        proto, external = send.proto, (POOL[send.target % STRANGERS], PORTS[send.target])
        if self.externals and send.target >= STRANGERS:
            proto, external = self.externals[-1 - (send.target - STRANGERS) % len(self.externals)]
        if send.way in ("hairpin", "in", "error-in"):
            send = replace(send, proto=proto)
        remote = (REMOTE + send.remote, send.rport)
        inside = (INSIDE + send.host, send.port)
        match send.way:
            case "out":
                self.outbound(send, inside, remote)
            case "hairpin":
                self.outbound(send, inside, external)
            case "in":
                self.inbound(send, external, remote)
            case "error-in":
                self.error_in(send, external, remote)
            case _:
                self.error_out(send, inside, remote)

    def outbound(self, send: Send, inside: Endpoint, remote: Endpoint) -> None:
        """Send from an inside host, perhaps to another."""
        proto, key = send.proto, (send.proto, *inside)
        hairpin = remote[0] in POOL
        query = send.remote != 3
        icmp_type = ECHO if query else ECHO_REPLY
        spec, flow = self.spec(send, icmp_type), self.flow(proto, inside, remote)
        outcomes = self.inject(send, spec, flow, Direction.IN2OUT)
        try:
            external = self.nat.out(
                key, self.peer(proto, remote), send.flags, query, self.chosen(key, outcomes)
            )
            if (proto, external) not in self.externals:
                self.externals.append((proto, external))
            translated = self.flow(proto, external, remote)
            if hairpin:
                if proto is Proto.ICMP:  # its one id names both
                    remote = (remote[0], external[1])
                host = self.nat.into(proto, remote, self.peer(proto, external), send.flags)
                translated = self.flow(proto, external, host)
                if proto is Proto.ICMP:
                    translated = Flow(external[0], host[0], host[1], host[1])
        except Refused as refused:
            self.dropped(outcomes, refused)
            return
        side = Direction.OUT2IN if hairpin else Direction.IN2OUT
        self.translated(outcomes, spec, translated, side)

    def inbound(self, send: Send, external: Endpoint, remote: Endpoint) -> None:
        """Send from outside to an external endpoint."""
        proto = send.proto
        spec = self.spec(send, ECHO_REPLY)
        flow = self.flow(proto, remote, external)
        if proto is Proto.ICMP:
            flow = Flow(remote[0], external[0], external[1], external[1])
        outcomes = self.inject(send, spec, flow, Direction.OUT2IN)
        try:
            host = self.nat.into(proto, external, self.peer(proto, remote), send.flags)
        except Refused as refused:
            self.dropped(outcomes, refused)
            return
        translated = self.flow(proto, remote, host)
        if proto is Proto.ICMP:
            translated = Flow(remote[0], host[0], host[1], host[1])
        self.translated(outcomes, spec, translated, Direction.OUT2IN)

    def error_in(self, send: Send, external: Endpoint, remote: Endpoint) -> None:
        """A router outside complains of what an external endpoint sent."""
        spec, embedded = self.error(send, ECHO), self.flow(send.proto, external, remote)
        flows = [Flow(ROUTER, external[0]), embedded]
        outcomes = self.inject(send, spec, flows, Direction.OUT2IN)
        try:
            host = self.nat.about_outside(send.proto, external)
        except Refused as refused:
            self.dropped(outcomes, refused)
            return
        flows = [Flow(ROUTER, host[0]), self.flow(send.proto, host, remote)]
        self.translated(outcomes, spec, flows, Direction.OUT2IN)

    def error_out(self, send: Send, inside: Endpoint, remote: Endpoint) -> None:
        """An inside host complains of what it got, or would have got."""
        spec = self.error(send, ECHO_REPLY)
        flows = [Flow(inside[0], remote[0]), self.came(send.proto, remote, inside)]
        outcomes = self.inject(send, spec, flows, Direction.IN2OUT)
        try:
            external = self.nat.about_inside((send.proto, *inside))
        except Refused as refused:
            self.dropped(outcomes, refused)
            return
        flows = [Flow(external[0], remote[0]), self.came(send.proto, remote, external)]
        self.translated(outcomes, spec, flows, Direction.IN2OUT)

    # ---- building and comparing ----

    def spec(self, send: Send, icmp_type: int) -> Spec:
        """Return the packet without its endpoints."""
        self.sent += 1
        payload, cut = send.payload, 0
        if send.cut:
            payload, cut = payload + 60, 40
        return Spec(
            IP_PROTO[send.proto],
            icmp_type=icmp_type,
            flags=send.flags if send.proto is Proto.TCP else 0,
            payload=payload,
            fill=self.sent & 0xFF,
            id=self.sent & 0xFFFF,
            no_checksum=send.proto is Proto.UDP and send.rport == 80 and send.remote == 1,
            cut=cut,
        )

    def error(self, send: Send, icmp_type: int) -> Spec:
        """Return an ICMP error about such a packet."""
        self.sent += 1
        options = 8 if send.rport == 80 else 0
        embedded = Spec(
            IP_PROTO[send.proto],
            icmp_type=icmp_type,
            payload=send.payload,
            keep=28 + options if send.flags & ACK else 0,
            options=options,
        )
        return Spec(1, icmp_type=UNREACHABLE if send.port == 1 else TIME_EXCEEDED, about=embedded)

    @staticmethod
    def flow(proto: Proto, source: Endpoint, target: Endpoint) -> Flow:
        """Return a flow; the id of a query is its source's."""
        ports = (source[1], source[1] if proto is Proto.ICMP else target[1])
        return Flow(source[0], target[0], *ports)

    @staticmethod
    def came(proto: Proto, remote: Endpoint, host: Endpoint) -> Flow:
        """Return a flow from outside; the id of a reply is its target's."""
        ports = (host[1] if proto is Proto.ICMP else remote[1], host[1])
        return Flow(remote[0], host[0], *ports)

    @staticmethod
    def peer(proto: Proto, remote: Endpoint) -> Endpoint:
        """Return a remote endpoint as filters see it: queries have no remote port."""
        return (remote[0], 0) if proto is Proto.ICMP else remote

    def inject(
        self, send: Send, spec: Spec, flows: Flow | list[Flow], direction: Direction
    ) -> list[Outcome]:
        """Send every piece; return the final outcome of each, in the order of the datagram."""
        pieces = build(spec, flows if isinstance(flows, list) else [flows])
        order = list(range(len(pieces)))
        if send.cut == "reverse":
            order.reverse()
        outcomes: dict[int, Outcome] = {}
        for i in order:
            for outcome in self.engine.inject([Packet(pieces[i], direction, cookie=i)]):
                outcomes[outcome.cookie] = outcome
        return [outcomes[i] for i in range(len(pieces))]

    def chosen(self, key: Key, outcomes: list[Outcome]) -> Callable[[], Endpoint]:
        """Return what asks the engine for a mapping's external endpoint."""

        def ask() -> Endpoint:
            proto, addr, port = key
            where = MappingFilter(IPv4Network((addr, 32)), inside_port=port, proto=proto)
            items: list[Mapping] = []
            cursor = ""
            while True:
                page = self.engine.mappings(where, cursor, 100)
                items += page.items
                if page.next is None:
                    break
                cursor = page.next
            assert len(items) == 1, (len(items), outcomes)
            return int(items[0].external.addr), items[0].external.port

        return ask

    def translated(
        self, outcomes: list[Outcome], spec: Spec, flows: Flow | list[Flow], side: Direction
    ) -> None:
        """Every piece left by this side, with every byte as it must be."""
        expected = build(spec, flows if isinstance(flows, list) else [flows])
        for outcome, data in zip(outcomes, expected, strict=True):
            assert outcome.verdict is Verdict.TRANSLATED, outcome.drop
            assert outcome.direction is side
            assert outcome.data.hex() == data.hex()

    def dropped(self, outcomes: list[Outcome], refused: Refused) -> None:
        """The packet, or a datagram's first piece, was dropped for this reason."""
        assert outcomes[0].verdict is Verdict.DROPPED
        assert outcomes[0].drop is refused.reason

    # ---- ranges that move ----

    def home(self, version: int) -> HomeMap:
        """Return the home map as it is now."""
        ranges = [HomeRange(ANYWHERE, 0)]
        for i, owner in enumerate(self.owner):
            closing = self.closing[1] if self.closing and self.closing[0] == i else None
            ranges.append(HomeRange(_prefix(i), owner, closing=closing))
        for host, owner in self.pins.items():
            ranges.append(HomeRange(IPv4Network((host, 32)), owner))
        return HomeMap(version, tuple(ranges))

    def publish(self, *, tell_dispatcher: bool) -> None:
        """Publish the home map, and perhaps the rules."""
        version = max(self.engine.home().version, self.engine.rules().version) + 1
        self.engine.set_home(self.home(version))
        if tell_dispatcher:
            self.engine.set_rules(self.home(version))

    def beat(self, beat: Beat) -> None:
        """Close, or read and swap."""
        if self.closing is None:
            source, target = self.owner[beat.prefix], beat.to % self.instances
            if source == target:
                return
            self.closing = (beat.prefix, Closing(source, target))
        else:
            prefix, closing = self.closing
            network = _prefix(prefix)
            page = self.engine.hosts(network, "", 100, closing.from_instance, 0)
            for host in page.items:
                self.pins.setdefault(int(host.addr), closing.from_instance)
            self.owner[prefix] = closing.to_instance
            self.closing = None
        self.publish(tell_dispatcher=beat.tell_dispatcher)


def _prefix(i: int) -> IPv4Network:
    return IPv4Network((INSIDE + i * HOSTS_PER_RANGE, 31))


@contextmanager
def both_of(rules: Rules, instances: int) -> Iterator[Both]:
    """Make an engine and a model with the same rules; every range has an instance."""
    with Engine(engine_settings(rules, instances)) as engine:
        both = Both(engine, Nat(rules), instances)
        both.owner = [i % instances for i in range(HOSTS // HOSTS_PER_RANGE)]
        both.publish(tell_dispatcher=True)
        yield both


@pytest.mark.timeout(600)
@given(
    filtering=st.sampled_from(list(Filtering)),
    instances=st.integers(1, 4),
    hold_down=st.sampled_from((0, 120)),
    todo=steps,
)
def test_engine_does_what_the_model_says(
    filtering: Filtering, instances: int, hold_down: int, todo: list[Send | Wait | Beat | Give]
) -> None:
    with both_of(Rules(filtering, POOL, PORTS, hold_down=hold_down), instances) as both:
        for step in todo:
            both.step(step)


@pytest.mark.timeout(600)
@settings(phases=[Phase.generate])  # a seed does not shrink
@given(
    filtering=st.sampled_from(list(Filtering)),
    per_host=st.sampled_from((0, 0, 3)),
    per_second=st.sampled_from((0, 0, 2)),
    instances=st.integers(1, 4),
    seed=st.integers(0, 1 << 32),
)
def test_long_likely_sequences(
    filtering: Filtering, per_host: int, per_second: int, instances: int, seed: int
) -> None:
    random = Random(seed)  # noqa: S311
    rules = Rules(filtering, POOL, PORTS, per_host, per_second, hold_down=seed % 2 * 120)
    with both_of(rules, instances) as both:
        for _ in range(200):
            both.step(likely(random, both))
