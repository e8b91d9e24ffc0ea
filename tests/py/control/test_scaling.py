# SPDX-License-Identifier: Apache-2.0
"""Scaling under chaos: packets between any two steps, crashes and lost answers at any point.

The simulator raises where an endpoint would get a second mapping, a host a second external
address, or a packet of a live mapping would be lost.
"""

from __future__ import annotations

import asyncio
import random
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulator import (  # type: ignore[import-not-found]
    LIMIT,
    POOL,
    SimDataplane,
    SimInstance,
)

from hashmvt.control import homemap
from hashmvt.control.controller import HOST_PINS_PATIENCE_S, Busy, HostController
from hashmvt.control.plan import Desired
from hashmvt.dispatch import SoftwareDispatcher
from hashmvt.errors import Unavailable
from hashmvt.model import Endpoint, InstanceState, Proto

if TYPE_CHECKING:
    from hashmvt.dataplane.base import Dataplane
    from hashmvt.model import HomeMap


QUIET_STEPS = 12
"""Steps, of several seconds each, in which nothing changes."""


class Crashed(BaseException):
    """The coordinator vanished."""


class World:
    """A simulated host, its controller, and what befalls them."""

    def __init__(self, seed: int, *, initial: int = 1, budget: int = 1000) -> None:
        self.random = random.Random(seed)  # noqa: S311
        self.sim = SimDataplane(initial=initial)
        self.sim.order = self._order
        self.budget = budget
        self.now = 0.0
        self.faults = 0.0
        self.packets = 0.0
        self.hosts = [IPv4Address("10.0.0.0") + n for n in range(1, 25)]
        self.controller = self.start()

    def start(self) -> HostController:
        plane = cast("Dataplane", self.sim)
        return HostController(
            plane,
            SoftwareDispatcher(plane, rule_budget=self.budget),
            Desired(),
            clock=lambda: self.now,
        )

    def _order(self) -> list[SimInstance]:
        order = list(self.sim.instances)
        self.random.shuffle(order)
        return order

    def endpoint(self) -> Endpoint:
        return Endpoint(self.random.choice(self.hosts), self.random.randrange(1, 5), Proto.UDP)

    def chaos(self) -> None:
        """Called wherever time passes inside a call to the dataplane."""
        while self.random.random() < self.packets:
            if self.random.random() < 0.25:
                self.sim.age(self.endpoint())
            else:
                self.sim.packet(self.endpoint())
        if self.random.random() < self.faults:
            raise self.random.choice([Unavailable("lost"), Crashed()])

    async def step(self) -> bool:
        """One step of the controller, or of its successor."""
        self.now += self.random.choice([0.01, 1.0, 5.0, 20.0])
        self.sim.moment += 1
        try:
            return await self.controller.step() is not None
        except Unavailable:
            return True
        except Crashed:
            self.controller = self.start()
            return True

    async def command(self) -> None:
        """Something that an operator might ask for."""
        try:
            if self.random.random() < 0.6:
                await self.controller.begin_scale_out(open_hosts=self.random.random() < 0.4)
            else:
                await self.controller.begin_scale_in(self.random.randrange(4))
        except (Busy, Unavailable):
            pass
        except Crashed:
            self.controller = self.start()

    async def settle(self) -> None:
        """No more faults and packets: everything begun comes to its end."""
        self.faults = self.packets = 0.0
        quiet = 0
        for _ in range(400):
            version = self.sim.home_map.version
            await self.step()
            begun = self.controller.operation or self.sim.rules_map.version != version
            quiet = 0 if begun or self.sim.home_map.version != version else quiet + 1
            if quiet > QUIET_STEPS:
                return
        raise AssertionError([step.text for step in self.controller.steps][-12:])

    def check_settled(self) -> None:
        home = self.sim.home_map
        assert not homemap.moving(home)
        assert self.sim.rules_map.version == home.version
        assert self.controller.operation is None
        ranged = homemap.named(home, pins=False)
        active = {
            i for i, one in enumerate(self.sim.instances) if one.state is InstanceState.ACTIVE
        }
        assert ranged == active


@pytest.mark.timeout(300)
@settings(deadline=None, max_examples=100)
@given(st.integers(0, 2**32), st.sampled_from([1, 2]), st.sampled_from([1000, 3]))
def test_chaos(seed: int, initial: int, budget: int) -> None:
    asyncio.run(chaos(seed, initial, budget))


async def chaos(seed: int, initial: int, budget: int) -> None:
    world = World(seed, initial=initial, budget=budget)
    world.sim.chaos = world.chaos
    world.packets, world.faults = 0.5, world.random.choice([0.0, 0.02, 0.1])
    for _ in range(60):
        if world.random.random() < 0.1:
            await world.command()
        await world.step()
    await world.settle()
    world.check_settled()
    for endpoint in {world.endpoint() for _ in range(50)}:
        assert world.sim.packet(endpoint) is not None
    for one in world.sim.instances:
        for endpoint in list(one.mapped):
            world.sim.end(endpoint)
    world.now += 1000
    await world.settle()
    world.check_settled()
    left = [e for e in world.sim.home_map.ranges if homemap.is_pin(e)]
    assert left == []
    assert world.sim.home_map.pins == ()
    assert all(one.state is not InstanceState.DRAINING for one in world.sim.instances)


def filled() -> World:
    """A world in which two of three hosts have one mapping."""
    world = World(1)
    for host in served(world):
        world.sim.packet(Endpoint(host, 1, Proto.UDP))
    return world


def served(world: World) -> list[IPv4Address]:
    return [host for n, host in enumerate(world.hosts) if n % 3]


def fresh(world: World) -> list[IPv4Address]:
    return world.hosts[::3]


async def test_scale_out_moves_half_of_the_space_and_no_mapping() -> None:
    world = filled()
    before = [dict(one.mapped) for one in world.sim.instances]
    await world.controller.begin_scale_out()
    await world.settle()
    world.check_settled()
    assert [dict(one.mapped) for one in world.sim.instances] == before
    assert world.sim.instances[1].free_blocks == 800
    texts = [step.text for step in world.controller.steps]
    for beat in ("(i)", "(iii)", "(iv)", "swapped", "the dispatcher", "done"):
        assert any(beat in text for text in texts), texts
    assert {world.sim.packet(Endpoint(h, 1, Proto.UDP)) for h in fresh(world)} == {0, 1}
    assert {world.sim.packet(Endpoint(h, 2, Proto.UDP)) for h in served(world)} == {0}  # pinned


async def test_opened_hosts_send_new_flows_to_the_new_instance_with_their_address() -> None:
    world = filled()
    await world.controller.begin_scale_out(open_hosts=True)
    await world.settle()
    world.check_settled()
    moved = [h for h in served(world) if world.sim.packet(Endpoint(h, 9, Proto.UDP)) == 1]
    assert 6 <= len(moved) <= 10
    assert all(world.sim.packet(Endpoint(h, 1, Proto.UDP)) == 0 for h in moved)


async def test_scale_in_ends_with_combine() -> None:
    world = filled()
    await world.controller.begin_scale_out()
    await world.settle()
    for host in world.hosts:
        world.sim.packet(Endpoint(host, 1, Proto.UDP))
    await world.controller.begin_scale_in(1)
    while world.controller.operation:
        await world.controller.step()
    world.check_settled()
    assert world.sim.instances[1].state.name == "DRAINING"
    for endpoint in list(world.sim.instances[1].mapped):
        assert world.sim.packet(endpoint) == 1
        world.sim.end(endpoint)
    world.now += 100
    await world.settle()
    assert world.sim.instances[1].state is InstanceState.SPARE
    assert world.sim.instances[0].free_blocks == 1000


async def test_hosts_that_stay_at_a_draining_instance_are_opened() -> None:
    world = filled()
    await world.controller.begin_scale_out()
    await world.settle()
    await world.controller.begin_scale_in(0)
    while world.controller.operation:
        await world.controller.step()
    host = served(world)[0]
    assert world.sim.packet(Endpoint(host, 2, Proto.UDP)) == 0
    world.now += HOST_PINS_PATIENCE_S + 1
    await world.settle()
    assert world.sim.packet(Endpoint(host, 2, Proto.UDP)) == 0
    assert world.sim.packet(Endpoint(host, 3, Proto.UDP)) == 1


async def opened_and_given_on() -> tuple[World, Endpoint]:
    """Hosts of 0 were opened towards 2, then 2 was scaled in to 1: their endpoints live at 0."""
    world = World(1, initial=2)
    for host in world.hosts:
        for port in range(1, 4):
            world.sim.packet(Endpoint(host, port, Proto.UDP))
    await world.controller.begin_scale_out(source=0, open_hosts=True)
    await world.settle()
    pinned = world.sim.home_map.pins[0].endpoint
    for number in range(LIMIT // 4):  # 1 is the least loaded one
        world.sim.packet(Endpoint(pinned.addr, 1000 + number, Proto.UDP))
    for endpoint in list(world.sim.instances[2].mapped):
        world.sim.end(endpoint)
    world.sim.instances[0].mapped |= {
        Endpoint(IPv4Address("10.0.0.200"), n, Proto.UDP): POOL[0] for n in range(100)
    }
    operation = await world.controller.begin_scale_in(2)
    assert operation.heir == 1
    while world.controller.operation:
        await world.controller.step()
    world.controller.desired = Desired(fewest=2)
    while not all(r.instance == 1 for r in world.sim.home_map.ranges if homemap.is_pin(r)):
        world.now += 11.0
        world.sim.moment += 1
        await world.controller.step()
    return world, pinned


async def test_an_instance_that_serves_nobody_ends_though_others_hold_pins() -> None:
    world, pinned = await opened_and_given_on()
    await world.settle()
    assert world.sim.packet(pinned) == 0
    assert world.sim.home_map.pins
    assert 2 not in homemap.named(world.sim.home_map)
    assert world.sim.instances[2].state is InstanceState.SPARE


async def test_a_pin_that_lost_its_condition_gets_it_back_before_it_is_taken_back() -> None:
    """An endpoint that came back at 0 between the look and the new map was mapped at 1 too."""
    world, pinned = await opened_and_given_on()
    world.sim.end(pinned)
    came_back: list[int | None] = []

    def comes_back() -> None:
        publishing = all(pin.endpoint != pinned for pin in world.sim.home_map.pins)
        if not publishing and world.sim.owner(pinned) is None:
            came_back.append(world.sim.packet(pinned))

    world.now += 11.0
    reads = world.sim.set_home

    async def set_home(home: HomeMap) -> None:
        comes_back()
        await reads(home)

    world.sim.set_home = set_home
    await world.settle()
    assert came_back
    assert world.sim.packet(pinned) == came_back[0]
    for endpoint in list(world.sim.instances[0].mapped):
        world.sim.end(endpoint)
    await world.settle()
    world.check_settled()
    assert world.sim.home_map.pins == ()


async def test_memory_pressure_triggers_one_scale_out_until_measured_twice() -> None:
    world = World(1)
    one = world.sim.instances[0]
    for n in range(int(LIMIT * 0.85)):
        endpoint = Endpoint(IPv4Address("10.0.0.1") + n % 200, n // 200 + 1, Proto.UDP)
        world.sim.packet(endpoint)
    assert len(one.mapped) == LIMIT * 0.85
    for _ in range(80):
        world.now += 0.25
        await world.controller.step()
        if world.sim.instances[1].state is InstanceState.ACTIVE and not world.controller.operation:
            break
    assert world.sim.instances[1].state is InstanceState.ACTIVE
    assert world.sim.instances[2].state is InstanceState.SPARE
    active = sum(i.state is InstanceState.ACTIVE for i in world.sim.instances)
    finished = world.now
    while sum(i.state is InstanceState.ACTIVE for i in world.sim.instances) == active:
        world.now += 0.25
        await world.controller.step()
    assert world.now - finished >= 1.0


async def test_calm_scales_in_after_a_while_down_to_the_initial_number() -> None:
    world = filled()
    await world.controller.begin_scale_out()
    await world.settle()
    assert world.sim.instances[1].state is InstanceState.ACTIVE
    world.controller = world.start()  # a new one does not know that this was a command
    for _ in range(60):
        world.now += 1.0
        await world.controller.step()
    states = [one.state for one in world.sim.instances]
    assert states.count(InstanceState.ACTIVE) == 1


async def test_a_standing_thread_is_taken_over() -> None:
    world = filled()
    await world.controller.begin_scale_out()
    await world.settle()
    for host in world.hosts:
        world.sim.packet(Endpoint(host, 1, Proto.UDP))
    assert world.sim.instances[1].mapped
    world.sim.instances[1].stands_still = True
    for _ in range(12):
        world.now += 1.0
        await world.controller.step()
    assert world.sim.instances[1].epoch == 1
    assert 1 not in homemap.named(world.sim.home_map)
    assert {world.sim.packet(Endpoint(h, 7, Proto.UDP)) for h in world.hosts} == {0}


async def test_instances_that_fail_together_are_left_alone() -> None:
    world = filled()
    for one in world.sim.instances:
        one.stands_still = True
    for _ in range(30):
        world.now += 1.0
        await world.controller.step()
    assert world.sim.home_map.version == 1


@pytest.mark.parametrize("drains", [False, True])
async def test_a_new_coordinator_says_what_it_does_with_a_scale_out(drains: bool) -> None:
    """It goes on to a spare instance; with one that serves hosts it cannot know what was begun."""
    world = filled()
    if drains:
        await world.controller.begin_scale_out(open_hosts=True)
        await world.settle()
        for host in world.hosts:
            world.sim.packet(Endpoint(host, 7, Proto.UDP))
        await world.controller.begin_scale_in(1)
        await world.settle()
    await world.controller.begin_scale_out(target=1)
    while not world.controller.steps[-1].text.startswith("(iii)"):
        await world.controller.step()
    world.controller = world.start()
    await world.settle()
    world.check_settled()
    begun = world.controller.steps[0].text
    if drains:
        assert begun.startswith("scale-in of instance 1 to 0: begun, it serves hosts and no range")
        assert "scale-out to it was not before its first range moved" in begun
    else:
        assert begun == "scale-out of instance 0 to 1: begun, it was begun and not ended"


async def test_commands_are_refused_with_a_reason() -> None:
    world = filled()
    with pytest.raises(Busy, match="only active one"):
        await world.controller.begin_scale_in(0)
    with pytest.raises(Busy, match=r"instance 3 is spare: name an active one \(0\)"):
        await world.controller.begin_scale_in(3)
    with pytest.raises(Busy, match=r"instance 77 does not exist: name an active one \(0\)"):
        await world.controller.begin_scale_in(77)
    with pytest.raises(Busy, match=r"instance 2 is spare: name an active one \(0\)"):
        await world.controller.begin_scale_out(source=2)
    with pytest.raises(Busy, match=r"instance 0 is active already: name a spare one \(1, 2, 3\)"):
        await world.controller.begin_scale_out(target=0)
    with pytest.raises(Busy, match=r"instance 9 does not exist: name a spare one \(1, 2, 3\)"):
        await world.controller.begin_scale_out(target=9)
    await world.controller.begin_scale_out()
    with pytest.raises(Busy, match="is going on"):
        await world.controller.begin_scale_out()


async def test_a_host_that_goes_idle_between_read_and_swap() -> None:
    """A pin without condition gave the endpoint that began in the mixture a second mapping."""
    world = filled()
    sim = world.sim
    await world.controller.begin_scale_out()
    while not homemap.moving(sim.home_map):
        await world.controller.step()
    moved = [entry.prefix for entry in homemap.moving(sim.home_map)]
    host = next(h for h in served(world) if any(h in prefix for prefix in moved))
    new = Endpoint(host, 9, Proto.UDP)
    sim.order = lambda: list(reversed(sim.instances))
    happened: list[int | None] = []

    def idle_then_busy() -> None:
        if sim.mixed and not happened:
            sim.end(Endpoint(host, 1, Proto.UDP))
            happened.append(sim.packet(new))

    sim.chaos = idle_then_busy
    await world.controller.step()
    assert happened == [1]
    assert sim.packet(new) == 1
    assert sim.packet(Endpoint(host, 10, Proto.UDP)) == 1
    await world.settle()
    assert sim.packet(new) == 1
    world.check_settled()


async def test_two_trips_leave_nothing_behind() -> None:
    """There and back while hosts live: pins are turned round, ranges end up as they were."""
    world = filled()
    for _ in range(2):
        await world.controller.begin_scale_out()
        await world.settle()
        await world.controller.begin_scale_in(1)
        await world.settle()
    assert len(world.sim.home_map.ranges) == 1
    assert world.sim.instances[1].state is InstanceState.SPARE
    assert {world.sim.packet(Endpoint(h, 1, Proto.UDP)) for h in world.hosts} == {0}
