# SPDX-License-Identifier: Apache-2.0
"""Keywords of the coordinator: its decisions and its steps, one at a time.

What decides and acts here is the coordinator's own controller with the software dispatcher. Its
clock goes on by a second with each step, and the loads that it hears of are the test's, so that
nothing depends on the machine.
"""

from robot.api.deco import keyword

from hashmvt.control.controller import HostController
from hashmvt.control.coordinator import desired_of
from hashmvt.control.wire import Heartbeat, InstanceBeat
from hashmvt.dispatch import SoftwareDispatcher
from hashmvt.model import HomeMap
from HashMvt.outcomes import check_flows
from HashMvt.sent import Flow
from HashMvt.testbed import Testbed

_USUAL_LOAD = 0.5
"""Neither too much nor so little that an instance could be spared."""
_QUIET_STEPS = 3
_MOST_STEPS = 100
_ONLY_REMEMBERED = ("nothing", "Begin", "Tidy")
"""Steps that leave no trace outside the coordinator, or none as long as no pin has died."""


class Coordination:
    """One coordinator after the other for the running dataplane."""

    def __init__(self, testbed: Testbed) -> None:
        """Work on a testbed."""
        self._testbed = testbed
        self._controller: HostController | None = None
        self._now = 0.0
        self._sequence = 0
        self._loads: dict[int, float] = {}
        self._log: list[str] = []

    @property
    def _current(self) -> HostController:
        if self._controller is None:
            raise RuntimeError("there is no coordinator: use Start Coordinator")
        return self._controller

    @keyword
    async def start_coordinator(self) -> None:
        """Start one that knows nothing but its configuration."""
        self._loads.clear()
        self._log.clear()
        self._renew()

    @keyword
    async def replace_coordinator(self) -> None:
        """Let it vanish without a word; another one starts, which knows nothing of it."""
        self._renew()

    def _renew(self) -> None:
        config, plane = self._testbed.config, self._testbed.dataplane
        self._controller = HostController(
            plane,
            SoftwareDispatcher(plane, rule_budget=config.dispatcher.rule_budget),
            desired_of(config),
            clock=lambda: self._now,
        )

    # ---- what it is told ----

    @keyword
    async def report_load(self, instance: int, load: float) -> None:
        """From now on heartbeats say that an instance has this load, 0 to 1."""
        self._loads[instance] = load

    @keyword
    async def order_scale_out(self) -> None:
        """Let the operator ask for one instance more."""
        await self._current.begin_scale_out()

    @keyword
    async def order_scale_in(self, instance: int) -> None:
        """Let the operator ask for this instance to end."""
        await self._current.begin_scale_in(instance)

    # ---- what it does ----

    @keyword
    async def take_coordinator_step(self) -> str:
        """Let a second pass, a heartbeat come, and the coordinator do what is due; return what."""
        self._now += 1.0
        self._current.offer(await self._heartbeat(), self._now)
        known = len(self._current.steps)
        change = await self._current.step()
        self._log += [step.text for step in list(self._current.steps)[known:]]
        return "nothing" if change is None else type(change).__name__

    async def _heartbeat(self) -> Heartbeat:
        snapshot = await self._testbed.dataplane.snapshot()
        self._sequence += 1
        return Heartbeat(
            host=self._testbed.dataplane.capabilities.host,
            boot_id=1,
            sequence=self._sequence,
            sent_ms=int(self._now * 1000),
            home_version=snapshot.home_version,
            digest=0,
            digest_before=0,
            instances=tuple(
                InstanceBeat(
                    id=one.id,
                    state=one.state,
                    load=self._loads.get(one.id, _USUAL_LOAD),
                    mappings=one.gauges.mappings,
                    limit=one.gauges.max_mappings,
                    blocks=one.gauges.blocks,
                    free_blocks=one.gauges.blocks_free,
                    loops=one.loops,
                    epoch=one.epoch,
                )
                for one in snapshot.instances
            ),
        )

    @keyword
    async def flows_should_go_on_while_coordinator_works(
        self, flows: list[Flow], *, replaced: bool = False
    ) -> int:
        """Step until it has nothing more to do; after each step every flow goes on.

        With ``replaced`` another coordinator takes over after each step that did something to the
        dataplane. Returns how many steps did something.

        Raises:
            AssertionError: it never comes to rest, or a flow does not go on after some step.

        """
        steps = quiet = 0
        for _ in range(_MOST_STEPS):
            done = await self.take_coordinator_step()
            try:
                await check_flows(self._testbed, flows)
            except AssertionError as error:
                raise AssertionError(f"after step {steps + 1}, {done}: {error}") from error
            quiet = quiet + 1 if done == "nothing" else 0
            steps += done != "nothing"
            if quiet == _QUIET_STEPS:
                return steps
            if replaced and done not in _ONLY_REMEMBERED:
                self._renew()
        raise AssertionError(f"it does not come to rest: {'; '.join(self._log[-9:])}")

    # ---- what can be seen of it ----

    @keyword
    async def coordinator_should_rest(self) -> None:
        """There is nothing to do for it, however long one waits."""
        for _ in range(_QUIET_STEPS):
            done = await self.take_coordinator_step()
            if done != "nothing":
                raise AssertionError(f"it did {done}: {'; '.join(self._log)}")

    @keyword
    async def coordinator_log_should_say(self, *parts: str) -> None:
        """Its log has all of these, in this order."""
        text = "\n".join(self._log)
        at = 0
        for part in parts:
            found = text.find(part, at)
            if found < 0:
                raise AssertionError(f"{part!r} does not follow in its log:\n{text}")
            at = found + len(part)

    @keyword
    async def home_map_and_rules_should_agree(self) -> None:
        """Nothing is on its way, and the dispatcher has the rules of the home map in force."""
        plane = self._testbed.dataplane
        home, rules = await plane.home(), await plane.rules()
        if _moving(home) or rules.version != home.version:
            raise AssertionError(f"home map {home.version}: {home.ranges}; rules {rules.version}")


def _moving(home: HomeMap) -> bool:
    """Say whether a range of more than one host is on its way to another instance."""
    return any(entry.closing and entry.prefix.prefixlen < 32 for entry in home.ranges)  # noqa: PLR2004
