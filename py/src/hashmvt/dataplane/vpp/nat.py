# SPDX-License-Identifier: Apache-2.0
"""``Nat``: the NAT of one VPP, synchronous and typed.

**What it brings about.** When it connects, the plugin's NAT becomes what the settings say: enabled,
with their interfaces and policies. What is so already stays as it is, mappings too; only what
differs is changed. Policies come before interfaces, so that no packet of an inside host leaves
untranslated because its policy was not there yet.

**When VPP goes away.** Calls raise ``Unavailable`` and try to connect again, at most every
``RETRY_S``. A VPP that started anew gets the settings again and the policies that were set last;
home map, rules, which instances are active and mappings of ``static_add`` are those of a new NAT. A
NAT that was disabled while the connection stood is left alone: somebody wanted that.

The pieces: ``settle`` brings about the settings, ``listings`` reads what is in force, ``changes``
replaces it, ``replies`` says what answers mean. One thread at a time may call.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from hashmvt.dataplane import checks
from hashmvt.dataplane.base import Capabilities
from hashmvt.dataplane.vpp import convert, settle
from hashmvt.dataplane.vpp.changes import (
    HOME,
    RULES,
    replace_map,
    replace_policy,
    replace_statics,
    static_add_fields,
    static_del_fields,
)
from hashmvt.dataplane.vpp.listings import PAGE, in_force, read_map, read_policy
from hashmvt.dataplane.vpp.replies import EAGAIN, Disabled, check
from hashmvt.errors import Rejected, Unavailable, Unsupported
from hashmvt.model import Page, Snapshot
from hashmvt.names import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from ipaddress import IPv4Address, IPv4Network
    from typing import TypeVar

    from hashmvt.dataplane.vpp.convert import Fields
    from hashmvt.dataplane.vpp.link import Link, Opener
    from hashmvt.dataplane.vpp.settings import VppSettings
    from hashmvt.model import (
        Block,
        Endpoint,
        Event,
        HomeMap,
        Host,
        Mapping,
        MappingFilter,
        Outcome,
        Packet,
        StaticMapping,
    )
    from hashmvt.policy import PolicySet

    T = TypeVar("T")

RETRY_S = 0.5
_ACTIVATE, _DRAIN, _RESET = 0, 1, 2
_BUCKETS_AT_ONCE = 256
_EVENT_ROOM = 65536
_PLACE_BITS = 56
_ONLY_STATIC, _ONLY_DYNAMIC = 1, 2

log = logging.getLogger(__name__)


class PacketPort(Protocol):
    """Brings packets to VPP's interfaces and back. Tests have one; blocking."""

    def inject(
        self, packets: Sequence[Packet], snapshot: Callable[[], Snapshot]
    ) -> tuple[Outcome, ...]:
        """See ``Dataplane.inject``; ``snapshot`` says what was counted."""
        ...


class Nat:
    """VPP's NAT and what Python must remember of it. Close it with ``close``."""

    def __init__(
        self,
        settings: VppSettings,
        opener: Opener,
        *,
        port: PacketPort | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Connect and bring about the settings.

        Raises:
            Unavailable: VPP cannot be reached, or what is fixed in its NAT is not as the settings
                say; says what to do.
            Rejected: VPP refused the settings.

        """
        self._settings = settings
        self._opener = opener
        self._port = port
        self._clock = clock
        self._closed = False
        self._link: Link | None = None
        self._boot = 0
        self._first_thread = 0
        self._retry_at = 0.0
        self._failure = Unavailable("VPP was not reached yet")
        self._wanted = settings.policy
        self._events: deque[Any] = deque(maxlen=_EVENT_ROOM)
        self._listening = False
        self._capabilities: Capabilities | None = None
        try:
            self._connected()
        except BaseException:
            self.close()
            raise

    @property
    def capabilities(self) -> Capabilities:
        """What it can do, as VPP said when it was first reached."""
        if self._capabilities is None:
            raise RuntimeError("Nat.__init__ raised")
        return self._capabilities

    def close(self) -> None:
        """Close the connection; the NAT goes on in VPP. Again is a no-op."""
        self._closed = True
        self._drop()

    # ---- the connection ----

    def _connected(self) -> Link:
        """Return a link to a VPP that is as the settings say.

        Raises:
            Unavailable: there is none now.

        """
        if self._closed:
            raise Unavailable("the dataplane is closed")
        if self._link is not None and self._link.alive:
            return self._link
        if self._link is not None:
            log.warning("VPP went away; events may be missing")
            self._drop()
        if self._clock() < self._retry_at:
            raise Unavailable(str(self._failure))
        try:
            self._link = self._opener(self._settings)
            self._settle(self._link)
        except Unavailable as error:
            self._drop()
            self._failure = error
            self._retry_at = self._clock() + RETRY_S
            raise
        except BaseException:
            self._drop()
            raise
        return self._link

    def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def _do(self, work: Callable[[Link], T]) -> T:
        """Work over the link; one that broke is closed."""
        link = self._connected()
        try:
            return work(link)
        except Disabled:
            raise
        except Unavailable:
            self._drop()
            raise

    # ---- bring about the settings ----

    def _settle(self, link: Link) -> None:
        """Make VPP's NAT what the settings say."""
        state = check(link.call("hashmvt_get"))
        if not state.enabled:
            settle.enable(link, self._settings)
            state = check(link.call("hashmvt_get"))
        settle.check_fixed(state, self._settings)
        self._know(state)
        if state.boot != self._boot:
            self._bring_policy(link, state.policy_generation)
            settle.bring_interfaces(link, self._settings)
        self._boot = state.boot
        self._first_thread = state.first_thread
        if self._listening:
            self._subscribe(link)

    def _know(self, state: Any) -> None:
        """Remember what VPP can do, when it is first reached.

        Raises:
            Unavailable: it can no more do what it could before.

        """
        known = self._capabilities
        if known is None:
            self._capabilities = Capabilities(
                kind="vpp",
                host=self._settings.host,
                max_instances=state.n_instances,
                block_size=state.block_size,
                clock=True,
                inject=self._port is not None,
            )
        elif known.max_instances != state.n_instances:
            raise Unavailable(
                f"VPP came back with {state.n_instances} instances instead of "
                f"{known.max_instances}: restart the agent"
            )

    def _bring_policy(self, link: Link, generation: int) -> None:
        """Bring about the policies that were wanted last."""
        size = self._settings.block_size
        before, wanted = settle.policies(link, self._wanted, generation, size)
        if settle.same(wanted, before):
            self._wanted = replace(wanted, generation=generation)
            return
        self._replace_policy(link, before, wanted, force=False)
        log.info("the policies in VPP are as configured now")

    # ---- read ----

    def snapshot(self) -> Snapshot:
        """Return all instances: what VPP counts, as of now."""
        return self._do(self._snapshot)

    def _snapshot(self, link: Link) -> Snapshot:
        state = in_force(link)
        if state.boot != self._boot:  # disabled and enabled under the connection
            self._settle(link)
            state = in_force(link)
        vectors = link.counters(convert.STATS)
        return Snapshot(
            taken_ns=time.monotonic_ns(),
            tick=state.tick,
            generation=state.generation,
            home_version=state.home_version,
            rules_version=state.rules_version,
            policy_generation=state.policy_generation,
            instances=tuple(
                convert.instance_from(i, self._first_thread + i, vectors)
                for i in range(state.n_instances)
            ),
        )

    def home(self) -> HomeMap:
        """Return the home map in force."""
        return self._do(lambda link: read_map(link, HOME))

    def rules(self) -> HomeMap:
        """Return the dispatcher's rules in force."""
        return self._do(lambda link: read_map(link, RULES))

    def policy(self) -> PolicySet:
        """Return the policies in force."""
        return self._do(self._policy_in_force)

    def _policy_in_force(self, link: Link) -> PolicySet:
        if in_force(link).policy_generation != self._wanted.generation:
            self._wanted = read_policy(link)  # somebody used VPP's commands
        return self._wanted

    def mappings(self, where: MappingFilter, cursor: str, limit: int) -> Page[Mapping]:
        """List mappings; see ``Dataplane.mappings``."""
        statics = {None: 0, True: _ONLY_STATIC, False: _ONLY_DYNAMIC}[where.statics]
        return self._page(
            "hashmvt_mapping_get",
            convert.mapping_from,
            cursor,
            limit,
            where.instance,
            filter=convert.filter_to_fields(replace(where, instance=None), statics),
        )

    def hosts(
        self, inside: IPv4Network, cursor: str, limit: int, instance: int | None, realm: int
    ) -> Page[Host]:
        """List hosts with mappings; see ``Dataplane.live``."""
        return self._page(
            "hashmvt_host_get",
            convert.host_from,
            cursor,
            limit,
            instance,
            inside=inside,
            realm=realm,
        )

    def blocks(self, cursor: str, limit: int, instance: int | None) -> Page[Block]:
        """List blocks in use; see ``Dataplane.blocks``."""
        size = self.capabilities.block_size
        return self._page(
            "hashmvt_block_get",
            lambda one: convert.block_from(one, size),
            cursor,
            limit,
            instance,
        )

    def _page(
        self,
        message: str,
        item: Callable[[Any], T],
        cursor: str,
        limit: int,
        instance: int | None,
        **fields: Any,
    ) -> Page[T]:
        """Return one page of what the instances keep."""
        count = self.capabilities.max_instances
        at, place = checks.parse_cursor(cursor)
        if at >= count or (instance is not None and not 0 <= instance < count):
            return Page((), None)
        only = convert.EVERY_INSTANCE if instance is None else instance
        if "filter" in fields:
            fields["filter"]["instance"] = only
        else:
            fields["instance"] = only
        fields["max"] = max(1, min(limit, PAGE))
        fields["cursor"] = at << _PLACE_BITS | place % (1 << _PLACE_BITS)
        reply, details = self._do(lambda link: link.page(message, **fields))
        if reply.retval != EAGAIN:
            check(reply)
            after = None
        else:
            after = f"{reply.cursor >> _PLACE_BITS}:{reply.cursor % (1 << _PLACE_BITS)}"
        return Page(tuple(item(one) for one in details), after)

    def events(self) -> list[Event]:
        """Return what instances reported since the last call; none while VPP is away.

        Raises:
            Unavailable: it is closed.

        """
        try:
            self._do(self._listen)
        except Unavailable:
            if self._closed:
                raise
        found = []
        while self._events:
            found.append(convert.event_from(self._events.popleft()))
        return found

    def _listen(self, link: Link) -> None:
        if not self._listening:
            self._subscribe(link)
            self._listening = True

    def _subscribe(self, link: Link) -> None:
        link.on_event("hashmvt_event", self._events.append)
        check(link.call("want_hashmvt_events", enable=True, pid=os.getpid()))

    # ---- instances and blocks ----

    def activate(self, instance: int, generation: int | None) -> None:
        """Make an instance active."""
        self._control(instance, _ACTIVATE, generation)

    def drain(self, instance: int, generation: int | None) -> None:
        """Mark an instance draining."""
        self._control(instance, _DRAIN, generation)

    def reset(self, instance: int, generation: int | None) -> None:
        """Raise an instance's ownership epoch."""
        self._control(instance, _RESET, generation)

    def _control(self, instance: int, op: int, generation: int | None) -> None:
        checks.check_instance(instance, self.capabilities.max_instances)
        self._once("hashmvt_instance_control", generation, instance=instance, op=op)

    def transfer(
        self,
        blocks: int,
        source: int,
        target: int,
        external: IPv4Address | None,
        generation: int | None,
    ) -> int:
        """Move free blocks; return how many."""
        checks.check_pair(source, target, self.capabilities.max_instances)
        checks.check_blocks(blocks)
        fields: Fields = {"any": True} if external is None else {"external": external}
        reply = self._once(
            "hashmvt_transfer",
            generation,
            from_instance=source,
            to_instance=target,
            n=blocks,
            **fields,
        )
        moved: int = reply.moved
        return moved

    def shard(self, percent: int, source: int, target: int, generation: int | None) -> int:
        """Move a share of the free blocks; return how many."""
        checks.check_pair(source, target, self.capabilities.max_instances)
        checks.check_percent(percent)
        reply = self._once(
            "hashmvt_shard",
            generation,
            from_instance=source,
            to_instance=target,
            percent=percent,
        )
        moved: int = reply.moved
        return moved

    def _once(self, message: str, generation: int | None, what: str = "", **fields: Any) -> Any:
        """Send a message that VPP carries out once for each generation."""

        def send(link: Link) -> Any:
            number = generation
            if number is None:
                number = in_force(link).generation + 1
            elif number < 1:
                raise Rejected(ErrorCode.STALE, f"generation {number} is below 1")
            return check(link.call(message, generation=number, **fields), what)

        return self._do(send)

    # ---- who serves whom ----

    def set_home(self, home: HomeMap) -> None:
        """Publish a home map."""
        self._publish(HOME, home, "home map")

    def set_rules(self, rules: HomeMap) -> None:
        """Replace the dispatcher's rules."""
        self._publish(RULES, rules, "rules")

    def _publish(self, kind: int, new: HomeMap, what: str) -> None:
        def publish(link: Link) -> None:
            state = in_force(link)
            old = state.home_version if kind == HOME else state.rules_version
            if new.version < old:
                raise Rejected(
                    ErrorCode.STALE, f"{what} {new.version} is older than {old}, in force"
                )
            checks.check_home(new)
            if new.version == old:
                return
            replace_map(link, kind, new, what)

        self._do(publish)

    def buckets(self, hosts: Sequence[IPv4Address], realm: int = 0) -> tuple[int, ...]:
        """Return the bucket of each host."""

        def ask(link: Link) -> tuple[int, ...]:
            found: list[int] = []
            for first in range(0, len(hosts), _BUCKETS_AT_ONCE):
                some = hosts[first : first + _BUCKETS_AT_ONCE]
                reply = link.call("hashmvt_bucket_get", realm=realm, n=len(some), hosts=list(some))
                found += check(reply).buckets[: len(some)]
            return tuple(found)

        return self._do(ask)

    # ---- policies and static mappings ----

    def set_policy(self, policy: PolicySet, *, force: bool) -> None:
        """Replace the policies, then the static mappings with a port."""

        def publish(link: Link) -> None:
            before = self._policy_in_force(link)
            if policy.generation < before.generation:
                raise Rejected(
                    ErrorCode.STALE,
                    f"policies {policy.generation} are older than {before.generation}",
                )
            if policy.generation > before.generation:
                self._replace_policy(link, before, policy, force=force)

        self._do(publish)

    def _replace_policy(
        self, link: Link, before: PolicySet, policy: PolicySet, *, force: bool
    ) -> None:
        replace_policy(link, policy, force=force)
        self._wanted = policy
        replace_statics(link, before.endpoints, policy.endpoints)

    def static_add(self, mapping: StaticMapping, generation: int | None) -> None:
        """Add a static mapping."""
        checks.check_static(mapping)
        self._once(
            "hashmvt_static_mapping_add_del",
            generation,
            f"static mapping of {mapping.outside}",
            **static_add_fields(mapping),
        )

    def static_del(self, outside: Endpoint, generation: int | None) -> None:
        """Remove a static mapping."""
        self._once(
            "hashmvt_static_mapping_add_del",
            generation,
            f"static mapping of {outside}",
            **static_del_fields(outside),
        )

    def mapping_delete(self, where: MappingFilter, generation: int | None) -> int:
        """End mappings; return how many."""
        count = self.capabilities.max_instances
        if where.instance is not None and not 0 <= where.instance < count:
            return 0
        statics = _ONLY_STATIC if where.statics else _ONLY_DYNAMIC
        reply = self._once(
            "hashmvt_mapping_delete", generation, filter=convert.filter_to_fields(where, statics)
        )
        ended: int = reply.ended
        return ended

    # ---- time and packets ----

    def advance(self, seconds: int) -> None:
        """Move the clock forward."""
        checks.check_seconds(seconds)
        self._do(lambda link: check(link.call("hashmvt_clock_advance", seconds=seconds)))

    def inject(self, packets: Sequence[Packet]) -> tuple[Outcome, ...]:
        """Bring packets through; see ``Dataplane.inject``."""
        if self._port is None:
            raise Unsupported("packets come from VPP's interfaces; inject is for tests")
        return self._port.inject(packets, self.snapshot)
