# SPDX-License-Identifier: Apache-2.0
"""``Engine``: one embedded engine, synchronous and typed.

Calls block while instances answer (the GIL is released). One thread at a time may call: the
asyncio side gives each engine a worker thread of its own, tests and replay use theirs.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from hashmvt._ffi._mvt import ffi, lib
from hashmvt.config.plan import slot_table
from hashmvt.dataplane import checks
from hashmvt.dataplane.base import Capabilities
from hashmvt.dataplane.embedded import convert
from hashmvt.dataplane.generations import Generations
from hashmvt.errors import Rejected, Unavailable, Unsupported
from hashmvt.model import (
    ANYWHERE,
    HOME_BUCKETS,
    HomeMap,
    HomeRange,
    MappingFilter,
    Outcome,
    Page,
    Snapshot,
    Verdict,
)
from hashmvt.names import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from ipaddress import IPv4Address, IPv4Network
    from typing import Self, TypeVar

    from hashmvt._ffi._mvt import CData
    from hashmvt.dataplane.embedded.settings import EngineSettings
    from hashmvt.model import Block, Endpoint, Event, Host, Mapping, Packet, StaticMapping
    from hashmvt.policy import PolicySet

    T = TypeVar("T")

log = logging.getLogger(__name__)

_END = (1 << 64) - 1
_MAX_PAGE = 4096
_EVENTS = 512
_PACKET_ROOM = 65536
_MTU_ROOM = 2048
_WAIT_MS = 100


class Engine:
    """An engine and what Python must remember of it. Close it with ``close`` or ``with``."""

    def __init__(self, settings: EngineSettings) -> None:
        """Create the engine; a threaded one is started.

        Raises:
            Rejected: the core refused, with its sentence (device, permission, memory, ...).

        """
        self._settings = settings
        self._policy = settings.policy
        self._generations = Generations()
        self._held: dict[int, CData] = {}
        self._tokens = 0
        self._cookies: dict[int, int] = {}
        self.capabilities = Capabilities(
            kind="embedded",
            host=settings.host,
            max_instances=settings.instances_max,
            block_size=settings.block_size,
            clock=True,
            inject=settings.tun_inside is None,
        )
        description = convert.settings_to_c(settings)
        code = ffi.new("int *")
        sentence = ffi.new("char[]", lib.MVT_ENGINE_ERR_LEN)
        engine = lib.mvt_engine_new(description.c, code, sentence)
        if engine == ffi.NULL:
            raise rejected(code[0], convert.text(sentence))
        self._engine: CData | None = engine
        try:
            self._home = self._first_home()
            self._rules = self._home
            for mapping in self._policy.endpoints:
                self._static_job(lib.MVT_JOB_STATIC_ADD, mapping.outside, mapping)
            if not settings.stepped:
                self._check(lib.mvt_engine_start(engine))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Return the engine."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Stop and free it; again is a no-op."""
        engine, self._engine = self._engine, None
        if engine is not None:
            if not self._settings.stepped and lib.mvt_engine_stop(engine) < 0:
                log.warning("a thread hangs and is left until the process ends")
            lib.mvt_engine_free(engine)
            self._held.clear()

    @property
    def handle(self) -> CData:
        """The C engine, for modules of this package.

        Raises:
            Unavailable: it is closed.

        """
        if self._engine is None:
            raise Unavailable("the dataplane is closed")
        return self._engine

    def _check(self, result: int, what: str = "") -> int:
        """Return a result that is no error.

        Raises:
            Rejected: it is one.

        """
        if result < 0:
            why = convert.text(lib.mvt_err_text(result))
            if result == ErrorCode.HUNG:
                why = self._who_hangs() or why
            raise rejected(result, f"{what}: {why}" if what else why)
        return result

    def _who_hangs(self) -> str:
        dispatcher = ffi.new("int *")
        hung = lib.mvt_engine_hung(self.handle, dispatcher)
        ids = [str(i) for i in range(self._settings.instances_max) if hung >> i & 1]
        who = [f"instance {', '.join(ids)}"] * bool(ids) + ["the dispatcher"] * bool(dispatcher[0])
        if not who:
            return ""
        return (
            f"{' and '.join(who)} of {self._settings.host} hangs (its thread answers no more): "
            f"hashmvt-coord takes an instance over, restarting the agent mends the rest"
        )

    def _first_home(self) -> HomeMap:
        """Return the home map that the engine published at its creation."""
        version = lib.mvt_engine_home_version(self.handle)
        if self._settings.instances_initial == 1:
            return HomeMap(version, (HomeRange(ANYWHERE, 0),))
        table = ffi.new("uint16_t[]", HOME_BUCKETS)
        self._check(lib.mvt_engine_bucket_table(self.handle, table))
        buckets = tuple(ffi.unpack(table, HOME_BUCKETS))
        return HomeMap(version, (HomeRange(ANYWHERE, None, 0),), (buckets,))

    def buckets(self, hosts: Sequence[IPv4Address], realm: int = 0) -> tuple[int, ...]:
        """Return the bucket of each host."""
        return tuple(lib.mvt_engine_bucket(self.handle, realm, int(host)) for host in hosts)

    # ---- read ----

    def snapshot(self) -> Snapshot:
        """Return all instances."""
        room = self._settings.instances_max
        array = ffi.new("mvt_instance_snapshot_t[]", room)
        count = lib.mvt_engine_snapshot(self.handle, array, room)
        io = ffi.new("mvt_io_snapshot_t *")
        lib.mvt_engine_io_snapshot(self.handle, io)
        return Snapshot(
            taken_ns=time.monotonic_ns(),
            tick=self.now(),
            generation=self._generations.latest,
            home_version=self._home.version,
            rules_version=self._rules.version,
            policy_generation=self._policy.generation,
            instances=tuple(convert.snapshot_from_c(array[i]) for i in range(count)),
            io=convert.io_from_c(io),
        )

    def home(self) -> HomeMap:
        """Return the home map in force."""
        return self._home

    def rules(self) -> HomeMap:
        """Return the dispatcher's rules in force."""
        return self._rules

    def policy(self) -> PolicySet:
        """Return the policies in force."""
        return self._policy

    def mappings(self, where: MappingFilter, cursor: str, limit: int) -> Page[Mapping]:
        """List mappings; see ``Dataplane.mappings``."""
        room = max(1, min(limit, _MAX_PAGE))
        array = ffi.new("mvt_mapping_info_t[]", room)

        def prepare(job: CData) -> None:
            job.op = lib.MVT_JOB_LIST_MAPPINGS
            convert.filter_to_c(job.filter, where)
            job.out.mappings = array

        return self._list(
            prepare, lambda i: convert.mapping_from_c(array[i]), cursor, room, where.instance
        )

    def hosts(
        self, inside: IPv4Network, cursor: str, limit: int, instance: int | None, realm: int
    ) -> Page[Host]:
        """List hosts with mappings; see ``Dataplane.live``."""
        room = max(1, min(limit, _MAX_PAGE))
        array = ffi.new("mvt_host_info_t[]", room)

        def prepare(job: CData) -> None:
            job.op = lib.MVT_JOB_LIST_HOSTS
            convert.filter_to_c(job.filter, MappingFilter(inside=inside, realm=realm))
            job.out.hosts = array

        return self._list(prepare, lambda i: convert.host_from_c(array[i]), cursor, room, instance)

    def blocks(self, cursor: str, limit: int, instance: int | None) -> Page[Block]:
        """List blocks in use; see ``Dataplane.blocks``."""
        room = max(1, min(limit, _MAX_PAGE))
        array = ffi.new("mvt_block_info_t[]", room)

        def prepare(job: CData) -> None:
            job.op = lib.MVT_JOB_LIST_BLOCKS
            job.out.block_infos = array

        size = self._settings.block_size
        return self._list(
            prepare, lambda i: convert.block_from_c(array[i], size), cursor, room, instance
        )

    def _list(
        self,
        prepare: Callable[[CData], None],
        item: Callable[[int], T],
        cursor: str,
        room: int,
        only: int | None,
    ) -> Page[T]:
        """Fill one page from one instance after the other. A cursor is ``instance:place``."""
        at, place = checks.parse_cursor(cursor)
        last = self._settings.instances_max - 1
        if only is not None:
            if not 0 <= only <= last:
                return Page((), None)
            at, last = max(at, only), only
        items: list[T] = []
        while at <= last:
            job = ffi.new("mvt_job_t *")
            prepare(job)
            job.max, job.cursor = room, place
            result = lib.mvt_engine_job(self.handle, at, job)
            if result not in (0, ErrorCode.NOT_FOUND):  # NOT_FOUND: a spare instance has none
                self._check(result)
            items += [item(i) for i in range(job.n)] if result == 0 else []
            done = result != 0 or job.cursor == _END
            at, place = (at + 1, 0) if done else (at, job.cursor)
            if items:
                break
        return Page(tuple(items), f"{at}:{place}" if at <= last else None)

    def events(self) -> list[Event]:
        """Return what instances reported since the last call, oldest first per instance."""
        array = ffi.new("mvt_event_t[]", _EVENTS)
        count = lib.mvt_engine_events(self.handle, array, _EVENTS)
        return [convert.event_from_c(array[i]) for i in range(count)]

    # ---- instances and blocks ----

    def activate(self, instance: int, generation: int | None) -> None:
        """Make an instance active."""
        checks.check_instance(instance, self._settings.instances_max)
        self._once(generation, lambda: lib.mvt_engine_activate(self.handle, instance))

    def drain(self, instance: int, generation: int | None) -> None:
        """Mark an instance draining."""
        checks.check_instance(instance, self._settings.instances_max)
        self._once(generation, lambda: lib.mvt_engine_drain(self.handle, instance))

    def reset(self, instance: int, generation: int | None) -> None:
        """Raise an instance's ownership epoch."""
        checks.check_instance(instance, self._settings.instances_max)
        self._once(generation, lambda: lib.mvt_engine_reset_instance(self.handle, instance))

    def transfer(
        self,
        blocks: int,
        source: int,
        target: int,
        external: IPv4Address | None,
        generation: int | None,
    ) -> int:
        """Move free blocks; return how many."""
        checks.check_pair(source, target, self._settings.instances_max)
        slot = lib.MVT_NONE
        if external is not None:
            slots = slot_table(self._policy)
            if external not in slots:
                raise Rejected(ErrorCode.NOT_FOUND, f"{external} is no address of the pool")
            slot = slots[external]
        checks.check_blocks(blocks)
        return self._once(
            generation, lambda: lib.mvt_engine_transfer(self.handle, source, target, slot, blocks)
        )

    def shard(self, percent: int, source: int, target: int, generation: int | None) -> int:
        """Move a share of the free blocks; return how many."""
        checks.check_pair(source, target, self._settings.instances_max)
        checks.check_percent(percent)
        return self._once(
            generation, lambda: lib.mvt_engine_shard(self.handle, source, target, percent)
        )

    def _once(self, generation: int | None, call: Callable[[], int]) -> int:
        return self._generations.once(generation, lambda: self._check(call()))

    # ---- who serves whom ----

    def set_home(self, home: HomeMap) -> None:
        """Publish a home map."""
        self._publish(home, self._home, lib.mvt_engine_set_home, "home map")
        self._home = max(self._home, home, key=lambda m: m.version)

    def set_rules(self, rules: HomeMap) -> None:
        """Replace the dispatcher's rules."""
        self._publish(rules, self._rules, lib.mvt_engine_set_rules, "rules")
        self._rules = max(self._rules, rules, key=lambda m: m.version)

    def _publish(
        self, new: HomeMap, old: HomeMap, publish: Callable[[CData, CData], int], what: str
    ) -> None:
        if new.version < old.version:
            raise Rejected(
                ErrorCode.STALE, f"{what} {new.version} is older than {old.version}, in force"
            )
        checks.check_home(new)
        description = convert.home_to_c(new, self._settings.instances_max)
        self._check(publish(self.handle, description.c))

    # ---- policies and static mappings ----

    def set_policy(self, policy: PolicySet, *, force: bool) -> None:
        """Replace the policies, then the static mappings with a port."""
        if policy.generation < self._policy.generation:
            raise Rejected(
                ErrorCode.STALE,
                f"policies {policy.generation} are older than {self._policy.generation}",
            )
        if policy.generation == self._policy.generation:
            return
        description = convert.policy_to_c(policy)
        result = lib.mvt_engine_set_policy(self.handle, description.c, force)
        if result == ErrorCode.FULL:
            raise Rejected(
                ErrorCode.FULL,
                f"the pool has grown beyond {self._settings.max_slots} addresses, draining ones "
                f"included: restart with the new configuration",
            )
        self._check(result, "policies")
        before, self._policy = self._policy, policy
        for mapping in before.endpoints:
            if mapping not in policy.endpoints:
                self._static_job(lib.MVT_JOB_STATIC_DEL, mapping.outside, None)
        refused = []
        for mapping in policy.endpoints:
            if mapping not in before.endpoints:
                try:
                    self._static_job(lib.MVT_JOB_STATIC_ADD, mapping.outside, mapping)
                except Rejected as error:
                    refused.append(error)
        if refused:
            raise refused[0]

    def static_add(self, mapping: StaticMapping, generation: int | None) -> None:
        """Add a static mapping."""
        checks.check_static(mapping)
        self._generations.once(
            generation,
            lambda: self._static_job(lib.MVT_JOB_STATIC_ADD, mapping.outside, mapping),
        )

    def static_del(self, outside: Endpoint, generation: int | None) -> None:
        """Remove a static mapping."""
        self._generations.once(
            generation, lambda: self._static_job(lib.MVT_JOB_STATIC_DEL, outside, None)
        )

    def _static_job(self, op: int, outside: Endpoint, mapping: StaticMapping | None) -> int:
        job = ffi.new("mvt_job_t *")
        job.op = op
        convert.endpoint_to_c(job.external_endpoint, outside)
        if mapping:
            convert.endpoint_to_c(job.inside_endpoint, mapping.inside)
            job.realm = mapping.realm
        return self._check(
            lib.mvt_engine_job(self.handle, lib.MVT_NO_INSTANCE, job),
            f"static mapping of {outside}",
        )

    def mapping_delete(self, where: MappingFilter, generation: int | None) -> int:
        """End mappings; return how many."""
        return self._generations.once(generation, lambda: self._delete(where))

    def _delete(self, where: MappingFilter) -> int:
        every = range(self._settings.instances_max)
        ended = 0
        for instance in every if where.instance is None else [where.instance]:
            if instance not in every:
                continue
            job = ffi.new("mvt_job_t *")
            job.op = lib.MVT_JOB_DELETE_MAPPINGS
            convert.filter_to_c(job.filter, replace(where, statics=where.statics is True))
            result = lib.mvt_engine_job(self.handle, instance, job)
            if result != ErrorCode.NOT_FOUND:  # a spare instance has none
                self._check(result)
                ended += job.n
        return ended

    # ---- time and packets ----

    def now(self) -> int:
        """Return the engine's tick."""
        return lib.mvt_engine_now(self.handle)

    def advance(self, seconds: int) -> None:
        """Move the clock forward."""
        checks.check_seconds(seconds)
        self._check(lib.mvt_engine_advance(self.handle, seconds))

    def set_tick(self, tick: int) -> None:
        """Set the clock of a stepped engine; never backwards."""
        self._check(lib.mvt_engine_set_tick(self.handle, tick), f"tick {tick}")

    def inject(self, packets: Sequence[Packet]) -> tuple[Outcome, ...]:
        """Bring packets through; see ``Dataplane.inject``."""
        if not self.capabilities.inject:
            raise Unsupported("packets come from the devices; inject needs an engine without them")
        return self._step(packets) if self._settings.stepped else self._through(packets)

    def _fill(self, packets: Sequence[Packet]) -> tuple[CData, dict[int, CData]]:
        """Return the C array of packets and their buffers by token.

        The engine sees tokens instead of cookies, so that equal cookies do no harm.
        """
        array = ffi.new("mvt_engine_packet_t[]", len(packets))
        buffers: dict[int, CData] = {}
        for c, packet in zip(array, packets, strict=True):
            self._tokens += 1
            buffer = ffi.new("uint8_t[]", packet.data or b"\0")
            buffers[self._tokens] = buffer
            self._cookies[self._tokens] = packet.cookie
            c.data, c.len, c.dir, c.cookie = (
                buffer,
                len(packet.data),
                packet.direction,
                self._tokens,
            )
        return array, buffers

    def _step(self, packets: Sequence[Packet]) -> tuple[Outcome, ...]:
        array, buffers = self._fill(packets)
        self._check(lib.mvt_engine_step(self.handle, array, len(packets)))
        outcomes = []
        for i in range(len(packets)):
            token = array[i].cookie
            cookie = self._cookies[token]
            outcomes.append(convert.outcome_from_c(array[i], cookie))
            if outcomes[-1].verdict is Verdict.HELD:
                self._held[token] = buffers[token]
            else:
                del self._cookies[token]
        late = ffi.new("mvt_engine_packet_t[]", _EVENTS)
        while count := lib.mvt_engine_late(self.handle, late, _EVENTS):
            for i in range(count):
                token = late[i].cookie
                outcomes.append(convert.outcome_from_c(late[i], self._cookies.pop(token)))
                self._held.pop(token, None)
        return tuple(outcomes)

    def _through(self, packets: Sequence[Packet]) -> tuple[Outcome, ...]:
        """Give packets to the threads and wait for what leaves; what does not, was dropped."""
        array, buffers = self._fill(packets)
        tokens = list(buffers)
        outcomes: dict[int, Outcome] = {}
        room = max(len(packets), 1)
        out = ffi.new("mvt_engine_packet_t[]", room)
        space = ffi.new("uint8_t[]", room * _MTU_ROOM + _PACKET_ROOM)
        sent, quiet = 0, False
        while not quiet and (sent < len(tokens) or len(outcomes) < len(tokens)):
            taken = lib.mvt_engine_inject(self.handle, array + sent, len(tokens) - sent)
            sent += taken
            count = lib.mvt_engine_collect(self.handle, out, room, space, len(space), _WAIT_MS)
            for i in range(count):
                token = out[i].cookie
                if token in self._cookies:
                    outcomes[token] = convert.outcome_from_c(out[i], self._cookies.pop(token))
            if not taken and not count:
                # all that was sent has come back or was dropped; a packet that no ring takes
                # (empty, or larger than any device's) counts as dropped
                quiet = sent == len(tokens)
                sent += not quiet
        return tuple(
            outcomes.get(token) or self._lost(packet, token)
            for packet, token in zip(packets, tokens, strict=True)
        )

    def _lost(self, packet: Packet, token: int) -> Outcome:
        return Outcome(
            Verdict.DROPPED,
            packet.data,
            packet.direction,
            instance=lib.MVT_NO_INSTANCE,
            first_instance=lib.MVT_NO_INSTANCE,
            cookie=self._cookies.pop(token),
        )


def rejected(code: int, sentence: str) -> Rejected:
    """Return the exception for an error of the core and a sentence, if it gave one."""
    try:
        known = ErrorCode(code)
    except ValueError:
        known = ErrorCode.INVALID
    return Rejected(known, sentence or convert.text(lib.mvt_err_text(code)))
