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

One thread at a time may call.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from hashmvt.config.plan import drained_slots, rebase_policy
from hashmvt.dataplane import checks
from hashmvt.dataplane.base import Capabilities
from hashmvt.dataplane.vpp import convert
from hashmvt.errors import Rejected, Unavailable, Unsupported
from hashmvt.model import HomeMap, MappingFilter, Page, Snapshot
from hashmvt.names import ErrorCode
from hashmvt.policy import PolicySet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from ipaddress import IPv4Address, IPv4Network
    from typing import TypeVar

    from hashmvt.dataplane.vpp.convert import Fields
    from hashmvt.dataplane.vpp.link import Link, Opener
    from hashmvt.dataplane.vpp.settings import VppSettings
    from hashmvt.model import Block, Endpoint, Event, Host, Mapping, Outcome, Packet, StaticMapping

    T = TypeVar("T")

RETRY_S = 0.5
_HOME, _RULES, _POLICY = 0, 1, 2
_INSIDE, _EXEMPT, _STATICS = 0, 1, 2
_ACTIVATE, _DRAIN, _RESET = 0, 1, 2
_PAGE = 1024
_PARTS = 1024
"""Parts of a change in one message."""
_BUCKETS_AT_ONCE = 256
_EVENT_ROOM = 65536
_PLACE_BITS = 56
_ONLY_STATIC, _ONLY_DYNAMIC = 1, 2
_FEATURE_DISABLED, _EAGAIN = -30, -165

# VPP's vnet/error.h, as hashmvt.api uses it
_REFUSALS = {
    -1: (ErrorCode.AGAIN, "not finished"),
    -2: (ErrorCode.NOT_FOUND, "no such interface"),
    -3: (ErrorCode.INVALID, "there is no such realm"),
    -6: (ErrorCode.NOT_FOUND, "no such entry"),
    -7: (ErrorCode.INVALID, "invalid argument"),
    -8: (ErrorCode.INVALID, "invalid argument"),
    -73: (ErrorCode.NOT_SIBLINGS, "entries are not siblings with equal values"),
    -81: (ErrorCode.STALE, "older than what is in force"),
    -97: (ErrorCode.INVALID, "not an IPv4 address"),
    -99: (ErrorCode.NO_MEMORY, "out of memory"),
    -116: (ErrorCode.EXISTS, "exists already"),
    -126: (ErrorCode.UNSUPPORTED, "not supported"),
    -147: (ErrorCode.NOT_OWNER, "belongs to another instance"),
    -153: (ErrorCode.INVALID, "no such protocol"),
    -155: (ErrorCode.IN_USE, "in use"),
    -162: (ErrorCode.FULL, "table is full"),
    -170: (ErrorCode.EXISTS, "enabled already"),
}

log = logging.getLogger(__name__)


class PacketPort(Protocol):
    """Brings packets to VPP's interfaces and back. Tests have one; blocking."""

    def inject(
        self, packets: Sequence[Packet], snapshot: Callable[[], Snapshot]
    ) -> tuple[Outcome, ...]:
        """See ``Dataplane.inject``; ``snapshot`` says what was counted."""
        ...


class _Disabled(Unavailable):
    """The NAT was disabled under a connection that stands."""

    def __init__(self) -> None:
        super().__init__(
            "the NAT was disabled in VPP: restart the agent to enable it again, as its "
            "configuration says"
        )


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
        except _Disabled:
            raise
        except Unavailable:
            self._drop()
            raise

    # ---- bring about the settings ----

    def _settle(self, link: Link) -> None:
        """Make VPP's NAT what the settings say."""
        state = _check(link.call("hashmvt_get"))
        if not state.enabled:
            self._enable(link)
            state = _check(link.call("hashmvt_get"))
        self._check_fixed(state)
        if state.boot != self._boot:
            self._bring_policy(link, state.policy_generation)
            self._bring_interfaces(link)
        self._boot = state.boot
        self._first_thread = state.first_thread
        if self._listening:
            self._subscribe(link)

    def _enable(self, link: Link) -> None:
        settings = self._settings
        words = settings.words
        _check(
            link.call(
                "hashmvt_enable",
                instances=settings.instances_initial,
                max_mappings=settings.max_mappings,
                block_size=settings.block_size,
                max_addresses=settings.max_addresses,
                fragment_timeout=settings.fragment_timeout,
                hold_seconds=settings.hold_seconds,
                hold_share_1024=settings.hold_share_1024,
                allocation_by_block=int(settings.by_host),
                exact=True,
                log=settings.log,
                n_words=len(words),
                allocatable=list(words),
            ),
            "the NAT cannot be enabled in VPP; `vppctl show logging` may say more",
        )
        log.info("enabled the NAT in VPP")

    def _check_fixed(self, state: Any) -> None:
        """Check what cannot change while the NAT is enabled.

        Raises:
            Unavailable: it is not as the settings, or the connections before, have it.

        """
        settings = self._settings
        fixed = (
            ("nat44.block_size", state.block_size, settings.block_size),
            ("nat44.max_mappings", state.max_mappings, settings.max_mappings),
            ("nat44.allocation: block", bool(state.allocation_by_block), settings.by_host),
            ("nat44.timeouts.fragment", state.fragment_timeout, settings.fragment_timeout),
            ("nat44.hold_down.seconds", state.hold_seconds, settings.hold_seconds),
            ("nat44.hold_down.max_share", state.hold_share_1024, settings.hold_share_1024),
            ("nat44.ports", state.ports_digest, settings.ports_digest),
            ("log.events", state.log, settings.log),
        )
        differ = [key for key, have, want in fixed if have != want]
        if differ:
            raise Unavailable(
                f"the NAT that runs in VPP was enabled with another {', '.join(differ)}: put back "
                f"what was there, or end it with `vppctl hashmvt disable` and start the agent anew"
            )
        known = self._capabilities
        if known is None:
            self._capabilities = Capabilities(
                kind="vpp",
                host=settings.host,
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
        wanted = self._wanted
        if generation == 0:  # a new NAT: nothing can drain in it
            before = PolicySet(0, (), (), ())
            wanted = replace(wanted, runs=tuple(run for run in wanted.runs if not run.draining))
        else:
            before = self._read_policy(link)
            blocks = self._all(
                link, "hashmvt_block_get", max=_PAGE, instance=convert.EVERY_INSTANCE
            )
            in_use = [convert.block_from(one, self._settings.block_size) for one in blocks]
            wanted = rebase_policy(
                wanted,
                before,
                generation=generation + 1,
                empty=drained_slots(before, in_use),
            )
            if _same(wanted, before):
                self._wanted = replace(wanted, generation=generation)
                return
        self._replace_policy(link, before, wanted, force=False)
        log.info("the policies in VPP are as configured now")

    def _bring_interfaces(self, link: Link) -> None:
        settings = self._settings
        index = {one.interface_name: one.sw_if_index for one in link.call("sw_interface_dump")}
        for name in (*settings.inside, *settings.outside):
            if name not in index:
                raise Unavailable(
                    f"VPP has no interface {name!r}: create it, or name others in dataplane.vpp "
                    f"(there are {', '.join(sorted(index))})"
                )
        wanted = {index[name]: True for name in settings.inside}
        wanted |= {index[name]: False for name in settings.outside}
        names = {number: name for name, number in index.items()}
        have = {
            one.sw_if_index: bool(one.is_inside) for one in self._all(link, "hashmvt_interface_get")
        }
        for sides, is_add in ((have, False), (wanted, True)):
            for number, is_inside in sides.items():
                if have.get(number) == wanted.get(number):
                    continue
                side = "inside" if is_inside else "outside"
                name = names.get(number, number)
                _check(
                    link.call(
                        "hashmvt_interface_add_del",
                        is_add=is_add,
                        is_inside=is_inside,
                        sw_if_index=number,
                    ),
                    f"interface {name} cannot be {'' if is_add else 'no more '}{side}",
                )
                log.info("interface %s is %s%s now", name, "" if is_add else "no more ", side)

    # ---- read ----

    def snapshot(self) -> Snapshot:
        """Return all instances: what VPP counts, as of now."""
        return self._do(self._snapshot)

    def _snapshot(self, link: Link) -> Snapshot:
        state = self._state(link)
        if state.boot != self._boot:  # disabled and enabled under the connection
            self._settle(link)
            state = self._state(link)
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

    def _state(self, link: Link) -> Any:
        """Return what is in force.

        Raises:
            Unavailable: the NAT is disabled.

        """
        state = _check(link.call("hashmvt_get"))
        if not state.enabled:
            raise _Disabled
        return state

    def home(self) -> HomeMap:
        """Return the home map in force."""
        return self._do(lambda link: self._read_map(link, _HOME))

    def rules(self) -> HomeMap:
        """Return the dispatcher's rules in force."""
        return self._do(lambda link: self._read_map(link, _RULES))

    def _read_map(self, link: Link, kind: int) -> HomeMap:
        """Read a map again until no other one came meanwhile."""
        while True:
            ranges: list[Any] = []
            reply = self._pages(link, "hashmvt_range_get", ranges, kind=kind)
            tables = [
                _check(link.call("hashmvt_table_get", kind=kind, table=number)).table
                for number in range(reply.n_tables)
            ]
            pins = self._all(link, "hashmvt_pin_get", kind=kind) if reply.n_pins else []
            last, _ = link.page("hashmvt_range_get", kind=kind, cursor=len(ranges))
            if last.version == reply.version:
                return HomeMap(
                    reply.version,
                    tuple(convert.range_from(one.range) for one in ranges),
                    tuple(tuple(table) for table in tables),
                    tuple(convert.pin_from(one.pin) for one in pins),
                )

    def policy(self) -> PolicySet:
        """Return the policies in force."""
        return self._do(self._policy_in_force)

    def _policy_in_force(self, link: Link) -> PolicySet:
        if self._state(link).policy_generation != self._wanted.generation:
            self._wanted = self._read_policy(link)  # somebody used VPP's commands
        return self._wanted

    def _read_policy(self, link: Link) -> PolicySet:
        while True:
            policies: list[Any] = []
            reply = self._pages(link, "hashmvt_policy_get", policies)
            parts = [
                self._all(link, "hashmvt_prefix_get", part=part) for part in range(_STATICS + 1)
            ]
            pool = self._all(link, "hashmvt_pool_get")
            statics = self._all(link, "hashmvt_static_mapping_get")
            if self._state(link).policy_generation == reply.generation:
                return PolicySet(
                    generation=reply.generation,
                    policies=tuple(convert.policy_from(one) for one in policies),
                    inside=tuple(convert.inside_from(one) for one in parts[_INSIDE]),
                    runs=tuple(convert.run_from(one) for one in pool),
                    exempt=tuple(convert.exempt_from(one) for one in parts[_EXEMPT]),
                    statics=tuple(convert.rule_from(one) for one in parts[_STATICS]),
                    endpoints=tuple(convert.static_from(one) for one in statics),
                )

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
        fields["max"] = max(1, min(limit, _PAGE))
        fields["cursor"] = at << _PLACE_BITS | place % (1 << _PLACE_BITS)
        reply, details = self._do(lambda link: link.page(message, **fields))
        if reply.retval != _EAGAIN:
            _check(reply)
            after = None
        else:
            after = f"{reply.cursor >> _PLACE_BITS}:{reply.cursor % (1 << _PLACE_BITS)}"
        return Page(tuple(item(one) for one in details), after)

    def _pages(self, link: Link, message: str, details: list[Any], **fields: Any) -> Any:
        """Append all pages of a listing; return the first reply."""
        first = None
        cursor = 0
        while True:
            reply, page = link.page(message, cursor=cursor, **fields)
            first = first or reply
            details += page
            if reply.retval != _EAGAIN:
                _check(reply)
                return first
            cursor = reply.cursor

    def _all(self, link: Link, message: str, **fields: Any) -> list[Any]:
        details: list[Any] = []
        self._pages(link, message, details, **fields)
        return details

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
        _check(link.call("want_hashmvt_events", enable=True, pid=os.getpid()))

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
                number = self._state(link).generation + 1
            elif number < 1:
                raise Rejected(ErrorCode.STALE, f"generation {number} is below 1")
            return _check(link.call(message, generation=number, **fields), what)

        return self._do(send)

    # ---- who serves whom ----

    def set_home(self, home: HomeMap) -> None:
        """Publish a home map."""
        self._publish(_HOME, home, "home map")

    def set_rules(self, rules: HomeMap) -> None:
        """Replace the dispatcher's rules."""
        self._publish(_RULES, rules, "rules")

    def _publish(self, kind: int, new: HomeMap, what: str) -> None:
        def publish(link: Link) -> None:
            state = self._state(link)
            old = state.home_version if kind == _HOME else state.rules_version
            if new.version < old:
                raise Rejected(
                    ErrorCode.STALE, f"{what} {new.version} is older than {old}, in force"
                )
            checks.check_home(new)
            if new.version == old:
                return
            _change(
                link,
                kind,
                new.version,
                what,
                (
                    ("ranges", map(convert.range_to_fields, new.ranges)),
                    ("pins", map(convert.pin_to_fields, new.pins)),
                ),
                tables=new.tables,
            )

        self._do(publish)

    def buckets(self, hosts: Sequence[IPv4Address], realm: int = 0) -> tuple[int, ...]:
        """Return the bucket of each host."""

        def ask(link: Link) -> tuple[int, ...]:
            found: list[int] = []
            for first in range(0, len(hosts), _BUCKETS_AT_ONCE):
                some = hosts[first : first + _BUCKETS_AT_ONCE]
                reply = link.call("hashmvt_bucket_get", realm=realm, n=len(some), hosts=list(some))
                found += _check(reply).buckets[: len(some)]
            return tuple(found)

        return self._do(ask)

    # ---- policies and static mappings ----

    def set_policy(self, policy: PolicySet, *, force: bool) -> None:
        """Replace the policies, then the static mappings with a port."""

        def replace_policy(link: Link) -> None:
            before = self._policy_in_force(link)
            if policy.generation < before.generation:
                raise Rejected(
                    ErrorCode.STALE,
                    f"policies {policy.generation} are older than {before.generation}",
                )
            if policy.generation > before.generation:
                self._replace_policy(link, before, policy, force=force)

        self._do(replace_policy)

    def _replace_policy(
        self, link: Link, before: PolicySet, policy: PolicySet, *, force: bool
    ) -> None:
        try:
            _change(
                link,
                _POLICY,
                policy.generation,
                "policies",
                (
                    ("policies", map(convert.policy_to_fields, policy.policies)),
                    ("inside", map(convert.inside_to_fields, policy.inside)),
                    # what is not named drains, and by force ends
                    ("runs", (convert.run_to_fields(r) for r in policy.runs if not r.draining)),
                    ("prefixes", policy.exempt),
                    ("rules", map(convert.rule_to_fields, policy.statics)),
                ),
                slots=[one.slots for one in policy.policies],
                force=force,
            )
        except Rejected as error:
            if error.code is not ErrorCode.FULL:
                raise
            raise Rejected(
                ErrorCode.FULL,
                "the pool has grown beyond the addresses that VPP's NAT was enabled for, draining "
                "ones included: end it with `vppctl hashmvt disable` and start the agent anew",
            ) from None
        self._wanted = policy
        for mapping in before.endpoints:
            if mapping not in policy.endpoints:
                reply = link.call("hashmvt_static_mapping_add_del", **_del_fields(mapping.outside))
                if reply.retval != -6:  # gone already  # noqa: PLR2004
                    _check(reply, f"static mapping of {mapping.outside}")
        refused = []
        for mapping in policy.endpoints:
            if mapping not in before.endpoints:
                try:
                    _check(
                        link.call("hashmvt_static_mapping_add_del", **_add_fields(mapping)),
                        f"static mapping of {mapping.outside}",
                    )
                except Rejected as error:
                    refused.append(error)
        if refused:
            raise refused[0]

    def static_add(self, mapping: StaticMapping, generation: int | None) -> None:
        """Add a static mapping."""
        checks.check_static(mapping)
        self._once(
            "hashmvt_static_mapping_add_del",
            generation,
            f"static mapping of {mapping.outside}",
            **_add_fields(mapping),
        )

    def static_del(self, outside: Endpoint, generation: int | None) -> None:
        """Remove a static mapping."""
        self._once(
            "hashmvt_static_mapping_add_del",
            generation,
            f"static mapping of {outside}",
            **_del_fields(outside),
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
        self._do(lambda link: _check(link.call("hashmvt_clock_advance", seconds=seconds)))

    def inject(self, packets: Sequence[Packet]) -> tuple[Outcome, ...]:
        """Bring packets through; see ``Dataplane.inject``."""
        if self._port is None:
            raise Unsupported("packets come from VPP's interfaces; inject is for tests")
        return self._port.inject(packets, self.snapshot)


def _check(reply: Any, what: str = "") -> Any:
    """Return a reply that is no refusal.

    Raises:
        Rejected: it is one.
        Unavailable: the NAT is disabled.

    """
    if reply.retval == 0:
        return reply
    if reply.retval == _FEATURE_DISABLED:
        raise _Disabled
    code, why = _REFUSALS.get(
        reply.retval, (ErrorCode.UNSUPPORTED, f"VPP refused ({reply.retval})")
    )
    raise Rejected(code, f"{what}: {why}" if what else why)


def _change(
    link: Link,
    kind: int,
    version: int,
    what: str,
    parts: Iterable[tuple[str, Iterable[Any]]],
    *,
    tables: Iterable[Sequence[int]] = (),
    slots: Iterable[Sequence[int]] = (),
    force: bool = False,
) -> None:
    """Collect a change in VPP and put it in force whole, or give it up."""
    change = _check(link.call("hashmvt_change_begin", kind=kind, version=version), what).change

    def add(name: str, **fields: Any) -> None:
        _check(link.call(f"hashmvt_change_add_{name}", change=change, **fields), what)

    try:
        for name, values in parts:
            items = list(values)
            message = "exempt" if name == "prefixes" else name
            for first in range(0, len(items), _PARTS):
                some = items[first : first + _PARTS]
                add(message, n=len(some), **{name: some})
        for table in tables:
            add("table", table=list(table))
        for number, of_policy in enumerate(slots):
            for first in range(0, len(of_policy), _PARTS):
                some = list(of_policy[first : first + _PARTS])
                add("slots", policy=number, n=len(some), slots=some)
    except Rejected:
        link.call("hashmvt_change_end", change=change, commit=False)
        raise
    _check(link.call("hashmvt_change_end", change=change, commit=True, force=force), what)


def _add_fields(mapping: StaticMapping) -> Fields:
    return {
        "is_add": True,
        "realm": mapping.realm,
        "inside": convert.endpoint_to_fields(mapping.inside),
        "outside": convert.endpoint_to_fields(mapping.outside),
    }


def _del_fields(outside: Endpoint) -> Fields:
    nobody = convert.endpoint_to_fields(replace(outside, port=0))
    return {
        "is_add": False,
        "inside": nobody,
        "outside": convert.endpoint_to_fields(outside),
    }


def _same(a: PolicySet, b: PolicySet) -> bool:
    """Do two sets mean the same? Their order and generations do not matter."""

    def meaning(policy: PolicySet) -> tuple[object, ...]:
        return (
            tuple(replace(one, slots=tuple(sorted(one.slots))) for one in policy.policies),
            frozenset(policy.inside),
            frozenset(
                (run.first + i, run.slot + i, run.draining)
                for run in policy.runs
                for i in range(run.count)
            ),
            frozenset(policy.exempt),
            frozenset(policy.statics),
            frozenset(policy.endpoints),
        )

    return meaning(a) == meaning(b)
