# SPDX-License-Identifier: Apache-2.0
"""Scaling on the real engine, in steps: no mapping changes, no packet is lost."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hashmvt.config import AddressRange, Config, Instances, Nat44Config, PolicyConfig
from hashmvt.config.values import DataplaneConfig
from hashmvt.control import homemap
from hashmvt.control.controller import HostController
from hashmvt.control.plan import Desired
from hashmvt.dataplane.embedded import EmbeddedDataplane, engine_settings, stepped
from hashmvt.dataplane.packets import make, parse
from hashmvt.dispatch import SoftwareDispatcher
from hashmvt.model import (
    Direction,
    Endpoint,
    InstanceState,
    MappingFilter,
    Outcome,
    Packet,
    Proto,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

REMOTE = Endpoint(IPv4Address("203.0.113.7"), 53, Proto.UDP)
HOSTS = [IPv4Address("10.0.0.0") + n for n in range(1, 65)]


class Rig:
    """An engine in steps, its controller, and what every endpoint was mapped to."""

    def __init__(self, plane: EmbeddedDataplane) -> None:
        self.plane = plane
        self.now = 0.0
        self.mapped: dict[Endpoint, Endpoint] = {}
        self.controller = HostController(
            plane,
            SoftwareDispatcher(plane, rule_budget=1000),
            Desired(fewest=4),
            clock=lambda: self.now,
        )

    async def send(self, inside: Endpoint) -> Outcome:
        """A packet from inside, and its answer: both get through, by the same mapping as ever."""
        (out,) = await self.plane.inject([Packet(make(inside, REMOTE), Direction.IN2OUT)])
        assert out.verdict is Verdict.TRANSLATED, out
        flow = parse(out.data)
        assert flow is not None
        assert self.mapped.setdefault(inside, flow.source) == flow.source
        (back,) = await self.plane.inject([Packet(make(REMOTE, flow.source), Direction.OUT2IN)])
        assert back.verdict is Verdict.TRANSLATED, back
        answer = parse(back.data)
        assert answer is not None
        assert answer.target == inside
        return out

    async def finish(self, random_: random.Random, *, tidy: bool = False) -> None:
        """Step until nothing is left to do, with packets between any two steps."""
        quiet = 0
        while quiet < (12 if tidy else 1) or self.controller.operation:
            self.now += 1.0
            change = await self.controller.step()
            quiet = 0 if change and self.controller.operation else quiet + 1
            for _ in range(4):
                await self.send(random_.choice(list(self.mapped)))
            await self.send(
                Endpoint(random_.choice(HOSTS), random_.randrange(1024, 9999), Proto.UDP)
            )


@asynccontextmanager
async def rig(initial: int) -> AsyncIterator[Rig]:
    policy = PolicyConfig(
        inside=(IPv4Network("10.0.0.0/24"),),
        pool=(AddressRange.of(IPv4Network("198.51.100.0/30")),),
    )
    config = Config(
        path=Path("rig"),
        nat44=Nat44Config(policy, max_mappings=8192),
        dataplane=DataplaneConfig(instances=Instances(initial, 4)),
    )
    plane = await EmbeddedDataplane.open(stepped(engine_settings(config)))
    try:
        yield Rig(plane)
    finally:
        await plane.aclose()


@pytest.mark.parametrize("initial", [1, 2])
async def test_scale_out_and_in_change_no_mapping(initial: int) -> None:
    random_ = random.Random(initial)  # noqa: S311
    async with rig(initial) as one:
        for host in HOSTS[::2]:
            for port in range(5000, 5003):
                await one.send(Endpoint(host, port, Proto.UDP))
        await one.controller.begin_scale_out(source=0, open_hosts=True)
        await one.finish(random_)
        new = initial
        home = await one.plane.home()
        assert not homemap.moving(home)
        assert new in homemap.named(home, pins=False)
        assert home.pins
        before = dict(one.mapped)
        served = [(await one.send(endpoint)).instance for endpoint in list(before)]
        assert 0 in served
        fresh = [Endpoint(host, 20000, Proto.UDP) for host in HOSTS]
        assert new in [(await one.send(endpoint)).instance for endpoint in fresh]
        await one.controller.begin_scale_in(new)
        await one.finish(random_, tidy=True)
        for endpoint in list(one.mapped):
            await one.send(endpoint)
        found = await everything(one)
        assert {e: x for e, x, _instance in found} == one.mapped
        states = [i.state for i in (await one.plane.snapshot()).instances]
        assert states[new] is InstanceState.DRAINING


async def test_an_emptied_instance_is_combined() -> None:
    random_ = random.Random(3)  # noqa: S311
    async with rig(1) as one:
        for host in HOSTS:
            await one.send(Endpoint(host, 5000, Proto.UDP))
        await one.controller.begin_scale_out(open_hosts=True)
        await one.finish(random_)
        await one.controller.begin_scale_in(1)
        await one.finish(random_)
        await one.plane.advance(400)
        one.mapped.clear()
        for _ in range(60):
            one.now += 11.0
            await one.plane.advance(11)  # ports are held down before their blocks are free
            await one.controller.step()
        home = await one.plane.home()
        snapshot = await one.plane.snapshot()
        assert snapshot.instances[1].state is InstanceState.SPARE, (snapshot.instances[1], home)
        assert len(home.ranges) == 1
        assert home.pins == ()


async def everything(one: Rig) -> list[tuple[Endpoint, Endpoint, int]]:
    found = []
    cursor: str | None = ""
    while cursor is not None:
        page = await one.plane.mappings(MappingFilter(), cursor)
        found += [(m.inside, m.external, m.instance) for m in page.items]
        cursor = page.next
    return found
