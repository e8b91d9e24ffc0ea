# SPDX-License-Identifier: Apache-2.0
"""``Testbed``: the one thing that all keywords share, a driver and the dataplane that it runs."""

import asyncio
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import TypeVar

from HashMvt import assertion
from hashmvt.config import AddressRange, Config, check, load, plan_policy
from hashmvt.config.plan import slot_table
from hashmvt.dataplane.base import Dataplane
from HashMvt.driver import DataplaneDriver, make_driver
from hashmvt.errors import Rejected
from hashmvt.model import Event, Page, Snapshot
from hashmvt.names import DropReason, ErrorCode, PassReason
from HashMvt.settings import write_settings
from HashMvt.words import Operator, Side

T = TypeVar("T")


@dataclass(slots=True)
class Reasons:
    """How much the counters of drops and passes grew while something was done."""

    dropped: Counter[DropReason] = field(default_factory=Counter)
    passed: Counter[PassReason] = field(default_factory=Counter)


def reasons(snapshot: Snapshot) -> Reasons:
    """Add up a snapshot's counters over the instances."""
    return Reasons(
        Counter({r: sum(i.drops(r) for i in snapshot.instances) for r in DropReason}),
        Counter({r: sum(i.passes(r) for i in snapshot.instances) for r in PassReason}),
    )


class Testbed:
    """Made by the library at its import; its dataplane lives from start to stop."""

    __test__ = False  # to pytest its name looks like a test

    def __init__(self, kind: str, base: Path, driver: DataplaneDriver | None = None) -> None:
        """Take a driver, by default the one for ``kind``, and the file that tests start from."""
        self.driver = driver or make_driver(kind)
        self.base = base
        self._config: Config | None = None
        self._changed: dict[str, object] = {}
        self.events: list[Event] = []
        self._listener: asyncio.Task[None] | None = None

    @property
    def dataplane(self) -> Dataplane:
        """The running dataplane."""
        return self.driver.dataplane

    @property
    def config(self) -> Config:
        """The configuration that it was started with.

        Raises:
            RuntimeError: none was started.

        """
        if self._config is None:
            raise RuntimeError("no dataplane is running: begin the test with Start Dataplane")
        return self._config

    async def start(self, changed: dict[str, object]) -> None:
        """Start a dataplane with the base file and what is changed of it.

        Raises:
            HashMvtError: the configuration is wrong, or it could not be started.

        """
        config = self._read(changed)
        await self.stop()
        await self.driver.start(config)
        self._config, self._changed = config, changed
        self.events.clear()
        self._listener = asyncio.create_task(self._listen(self.dataplane))

    async def _listen(self, dataplane: Dataplane) -> None:
        """Keep what the dataplane reports, until it is closed."""
        async for event in dataplane.events():
            self.events.append(event)

    async def reload(self, changed: dict[str, object], *, force: bool) -> None:
        """Change more, and replace the policies of the running dataplane.

        Raises:
            HashMvtError: the configuration is wrong, or the dataplane refused it.

        """
        config = self._read(self._changed | changed)
        now = await self.dataplane.policy()
        # what counts as empty is left out of the plan, and by force its mappings end
        empty = frozenset(slot_table(now).values()) if force else frozenset()
        policy = plan_policy(config.nat44, generation=now.generation + 1, previous=now, empty=empty)
        await self.dataplane.set_policy(policy, force=force)
        self._config, self._changed = config, self._changed | changed

    def _read(self, changed: dict[str, object]) -> Config:
        with tempfile.TemporaryDirectory(prefix="hashmvt-robot-") as folder:
            path = Path(folder) / "hashmvt.yaml"
            write_settings(path, self.base, {**self.driver.settings} | changed)
            return load(path)

    async def stop(self) -> None:
        """Stop it."""
        self._config = None
        await self.driver.stop()
        listener, self._listener = self._listener, None
        if listener is not None:
            await listener

    def side_of(self, addr: IPv4Address) -> Side:
        """Return the interface behind which an address lives."""
        nat44 = self.config.nat44
        inside = [p for policy in (nat44.default, *nat44.policies) for p in policy.inside]
        return Side.INSIDE if any(addr in prefix for prefix in inside) else Side.OUTSIDE

    def in_pool(self, addr: IPv4Address) -> bool:
        """Say whether an address is one of the pool."""
        return _holds(self.config.nat44.pool, addr)

    def in_base_pool(self, addr: IPv4Address) -> bool:
        """Say whether an address is of the base file's pool."""
        config = check(self.base).config
        return config is not None and _holds(config.nat44.pool, addr)

    @contextmanager
    def refused(self, code: ErrorCode) -> Iterator[None]:
        """Expect the body to be refused with this code."""
        try:
            yield
        except Rejected as error:
            if error.code is not code:
                raise AssertionError(f"refused as {error.code.name}: {error}") from error
        else:
            raise AssertionError(f"it was done, expected to be refused as {code.name}")

    @asynccontextmanager
    async def counting(self) -> AsyncIterator[Reasons]:
        """Count drops and passes while the body runs."""
        before = reasons(await self.dataplane.snapshot())
        grown = Reasons()
        yield grown
        after = reasons(await self.dataplane.snapshot())
        grown.dropped += after.dropped - before.dropped
        grown.passed += after.passed - before.passed

    async def settle(
        self,
        read: Callable[[], Awaitable[T]],
        compare: Operator | None,
        expected: object,
        what: str,
        *,
        least_s: float = 0.0,
    ) -> T:
        """Read, compare, and be as patient as the driver says; see ``assertion.settle``.

        ``least_s`` is for what comes of itself, whatever the dataplane.
        """
        patience_s = max(self.driver.patience_s, least_s)
        return await assertion.settle(read, compare, expected, what=what, patience_s=patience_s)


def _holds(pool: tuple[AddressRange, ...], addr: IPv4Address) -> bool:
    return any(item.first <= addr <= item.last for item in pool)


async def every(page: Callable[[str], Awaitable[Page[T]]]) -> list[T]:
    """Return all items of a listing."""
    items: list[T] = []
    cursor: str | None = ""
    while cursor is not None:
        found = await page(cursor)
        items += found.items
        cursor = found.next
    return items


def whole(addr: IPv4Address) -> IPv4Network:
    """Return an address as a prefix."""
    return IPv4Network(addr)
