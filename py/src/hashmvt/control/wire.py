# SPDX-License-Identifier: Apache-2.0
"""The heartbeat: what an agent sends to the coordinator every second, over UDP.

One datagram is one self-contained `Heartbeat`; a host with many instances sends several. Layout,
in network order:

    magic "HMVT", version u8, length of the host name u8, boot id u64, sequence u64,
    time u64 (ms since 1970), host name,
    home version u64, range digest u64, digest before the changes u64,
    instances u8, changes u8, instances, changes,
    HMAC-SHA256 of everything before, 32 bytes

*Trust.* A datagram is looked into only after its HMAC fits. Then it must be of a known version,
sent within `WINDOW_S` of now, and new. Each life of an agent (a boot id) is a session with a window
of `REPLAY_WINDOW` sequence numbers. A session begins only with a later time than the one before,
and ends that one: what it sends on is a conflict, for two agents live under one name, until the
later one was silent for `WINDOW_S`. All else is counted under one `Refusal` and dropped. Heartbeats
are hints: nothing is decided on one that a request to the dataplane would not confirm.

*Matching range.* Which prefix goes to which instance can be long, so a heartbeat carries a digest
of it, and the changes since the heartbeat before. The digest is the exclusive or of one hash per
range, so whoever knows the earlier digest can check that the changes lead to the later one.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from hashmvt.model import MAX_INSTANCES, InstanceState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hashmvt.model import HomeMap

VERSION = 1
MAGIC = b"HMVT"
MAX_DATAGRAM = 1400
"""Below every usual MTU: heartbeats are never fragmented."""
MAX_HOST_BYTES = 64
INSTANCES_PER_DATAGRAM = 12
CHANGES_PER_DATAGRAM = 48
WINDOW_S = 30.0
"""Clocks of hosts may differ by this much."""
REPLAY_WINDOW = 64
MAX_SENDERS = 1024
MAX_SESSIONS = 16
"""Of one host; of more, the one that sent last longest ago is forgotten."""
SCATTERED = 0xFF
"""Instance of a range whose hosts a bucket table spreads."""

_HEAD = struct.Struct("!4sBBQQQ")
_MIDDLE = struct.Struct("!QQQBB")
_INSTANCE = struct.Struct("!BBHIIIIQQ")
_CHANGE = struct.Struct("!BBBHI")
_MAC_BYTES = hashlib.sha256().digest_size
_LOAD_ONE = 0xFFFF
_U32 = 0xFFFFFFFF


class Refusal(Enum):
    """Why a datagram was dropped; each is one counter."""

    SIZE = "size"
    """Shorter or longer than a heartbeat can be."""
    AUTHENTICATION = "authentication"
    """The HMAC does not fit."""
    VERSION = "version"
    """Authentic, and of another version."""
    TIME = "time"
    """Authentic, and sent too long ago or too far ahead."""
    REPLAY = "replay"
    """Authentic, and seen before or older than the window."""
    CONFLICT = "conflict"
    """Authentic and new, of an agent whose host name another one has taken since."""
    MALFORMED = "malformed"
    """Authentic, and inconsistent in itself."""
    SENDERS = "senders"
    """More hosts than are kept."""


@dataclass(frozen=True, slots=True)
class InstanceBeat:
    """One instance, as its agent saw it."""

    id: int
    state: InstanceState
    load: float
    """Busy cycles over all cycles since the heartbeat before, 0..1."""
    mappings: int
    limit: int
    """Most mappings it can hold."""
    blocks: int
    free_blocks: int
    loops: int
    """Loop turns: stands still when its thread does."""
    epoch: int

    @property
    def memory(self) -> float:
        """Live mappings over the limit."""
        return self.mappings / self.limit if self.limit else 0.0


@dataclass(frozen=True, slots=True)
class RangeChange:
    """A range that came or went."""

    added: bool
    address: int
    length: int
    instance: int
    """`SCATTERED` where a bucket table spreads it."""
    realm: int = 0


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """One datagram."""

    host: str
    boot_id: int
    sequence: int
    sent_ms: int
    home_version: int
    digest: int
    """Of the matching range now."""
    digest_before: int
    """The changes lead from here to `digest`; equal to `digest` when there are none, or when they
    were too many to say: then read the map by request."""
    instances: tuple[InstanceBeat, ...] = ()
    changes: tuple[RangeChange, ...] = ()


class WireError(Exception):
    """A datagram that was refused."""

    def __init__(self, refusal: Refusal) -> None:
        """Refuse for one reason."""
        super().__init__(refusal.value)
        self.refusal = refusal


# ---- the matching range ----


def ranges_of(home: HomeMap) -> frozenset[RangeChange]:
    """The ranges of a home map, as changes that add them."""
    return frozenset(
        RangeChange(
            added=True,
            address=int(entry.prefix.network_address),
            length=entry.prefix.prefixlen,
            instance=SCATTERED if entry.instance is None else entry.instance,
            realm=entry.realm,
        )
        for entry in home.ranges
    )


def digest_of(ranges: Iterable[RangeChange]) -> int:
    """Digest of ranges; of changes, it is what they change in the digest."""
    digest = 0
    for entry in ranges:
        packed = _CHANGE.pack(1, entry.length, entry.instance, entry.realm, entry.address)
        digest ^= int.from_bytes(hashlib.blake2b(packed, digest_size=8).digest())
    return digest


def changes_between(
    before: frozenset[RangeChange], after: frozenset[RangeChange]
) -> tuple[RangeChange, ...]:
    """What leads from one set of ranges to another: removals first."""
    gone = [
        RangeChange(
            added=False, address=r.address, length=r.length, instance=r.instance, realm=r.realm
        )
        for r in before - after
    ]
    return tuple(
        sorted((*gone, *(after - before)), key=lambda r: (r.added, r.realm, r.address, r.length))
    )


# ---- bytes ----


def encode(beat: Heartbeat, key: bytes) -> bytes:
    """Make the datagram.

    Raises:
        ValueError: the heartbeat does not fit into one datagram or a field is out of range.

    """
    host = beat.host.encode()
    if not 1 <= len(host) <= MAX_HOST_BYTES:
        raise ValueError(f"a host name must have 1 to {MAX_HOST_BYTES} bytes, not {len(host)}")
    if len(beat.instances) > INSTANCES_PER_DATAGRAM or len(beat.changes) > CHANGES_PER_DATAGRAM:
        raise ValueError("too many instances or changes for one datagram")
    try:
        parts = [
            _HEAD.pack(MAGIC, VERSION, len(host), beat.boot_id, beat.sequence, beat.sent_ms),
            host,
            _MIDDLE.pack(
                beat.home_version,
                beat.digest,
                beat.digest_before,
                len(beat.instances),
                len(beat.changes),
            ),
            *map(_pack_instance, beat.instances),
            *(
                _CHANGE.pack(c.added, c.length, c.instance, c.realm, c.address)
                for c in beat.changes
            ),
        ]
    except struct.error as error:
        raise ValueError(f"a heartbeat cannot carry that: {error}") from None
    body = b"".join(parts)
    return body + hmac.digest(key, body, "sha256")


def _pack_instance(beat: InstanceBeat) -> bytes:
    return _INSTANCE.pack(
        beat.id,
        beat.state,
        round(min(max(beat.load, 0.0), 1.0) * _LOAD_ONE),
        min(beat.mappings, _U32),
        min(beat.limit, _U32),
        min(beat.blocks, _U32),
        min(beat.free_blocks, _U32),
        beat.loops,
        beat.epoch,
    )


def decode(datagram: bytes, key: bytes) -> Heartbeat:
    """Check and take apart one datagram; time and replay are `Receiver`'s business.

    Raises:
        WireError: SIZE, AUTHENTICATION, VERSION or MALFORMED.

    """
    if not _HEAD.size + _MIDDLE.size + _MAC_BYTES < len(datagram) <= MAX_DATAGRAM:
        raise WireError(Refusal.SIZE)
    body, mac = datagram[:-_MAC_BYTES], datagram[-_MAC_BYTES:]
    if not hmac.compare_digest(hmac.digest(key, body, "sha256"), mac):
        raise WireError(Refusal.AUTHENTICATION)
    magic, version, host_bytes, boot_id, sequence, sent_ms = _HEAD.unpack_from(body)
    if magic != MAGIC or version != VERSION:
        raise WireError(Refusal.VERSION)
    try:
        at = _HEAD.size + host_bytes
        host = body[_HEAD.size : at].decode()
        home_version, digest, before, n_instances, n_changes = _MIDDLE.unpack_from(body, at)
        at += _MIDDLE.size
        end = at + n_instances * _INSTANCE.size + n_changes * _CHANGE.size
        if not host or end != len(body):
            raise WireError(Refusal.MALFORMED)
        middle = at + n_instances * _INSTANCE.size
        instances = tuple(_unpack_instance(raw) for raw in _INSTANCE.iter_unpack(body[at:middle]))
        changes = tuple(_unpack_change(raw) for raw in _CHANGE.iter_unpack(body[middle:]))
    except (struct.error, ValueError):
        raise WireError(Refusal.MALFORMED) from None
    return Heartbeat(
        host, boot_id, sequence, sent_ms, home_version, digest, before, instances, changes
    )


def _unpack_instance(raw: tuple[int, ...]) -> InstanceBeat:
    number, state, load, mappings, limit, blocks, free_blocks, loops, epoch = raw
    if number >= MAX_INSTANCES:
        raise ValueError(number)
    return InstanceBeat(
        id=number,
        state=InstanceState(state),
        load=load / _LOAD_ONE,
        mappings=mappings,
        limit=limit,
        blocks=blocks,
        free_blocks=free_blocks,
        loops=loops,
        epoch=epoch,
    )


def _unpack_change(raw: tuple[int, ...]) -> RangeChange:
    added, length, instance, realm, address = raw
    if added > 1 or length > 32 or (instance >= MAX_INSTANCES and instance != SCATTERED):  # noqa: PLR2004
        raise ValueError(raw)
    return RangeChange(
        added=bool(added), address=address, length=length, instance=instance, realm=realm
    )


# ---- both ends ----


@dataclass(slots=True)
class Sender:
    """Numbers and signs the heartbeats of one agent. `boot_id` is random per start."""

    host: str
    key: bytes
    boot_id: int
    _sequence: int = 0
    _ranges: frozenset[RangeChange] = frozenset()
    _digest: int = 0

    def datagrams(
        self, home: HomeMap, instances: Sequence[InstanceBeat], *, now_ms: int
    ) -> tuple[bytes, ...]:
        """The heartbeat of one moment, in as many datagrams as it needs."""
        ranges = ranges_of(home)
        changes = changes_between(self._ranges, ranges) if ranges != self._ranges else ()
        digest = self._digest ^ digest_of(changes)
        before = self._digest
        if len(changes) > CHANGES_PER_DATAGRAM:
            changes, before = (), digest
        self._ranges, self._digest = ranges, digest
        found = []
        for start in range(0, max(len(instances), 1), INSTANCES_PER_DATAGRAM):
            self._sequence += 1
            beat = Heartbeat(
                self.host,
                self.boot_id,
                self._sequence,
                now_ms,
                home.version,
                digest,
                before if start == 0 else digest,
                tuple(instances[start : start + INSTANCES_PER_DATAGRAM]),
                changes if start == 0 else (),
            )
            found.append(encode(beat, self.key))
        return tuple(found)


@dataclass(slots=True)
class _Session:
    """One life of an agent: what of it was taken."""

    began_ms: int
    sent_ms: int
    highest: int
    window: int = 1  # bit i: highest - i was seen

    def take(self, sequence: int) -> bool:
        """Mark a sequence number as seen; False when it was, or is older than the window."""
        ahead = sequence - self.highest
        if ahead > 0:
            kept = self.window << ahead if ahead < REPLAY_WINDOW else 0
            self.window = (kept | 1) & ((1 << REPLAY_WINDOW) - 1)
            self.highest = sequence
            return True
        if -ahead >= REPLAY_WINDOW or self.window >> -ahead & 1:
            return False
        self.window |= 1 << -ahead
        return True


@dataclass(slots=True)
class _Host:
    """The lives of one host's agents; one of them is listened to."""

    boot_id: int
    sessions: dict[int, _Session]

    def begin(self, beat: Heartbeat) -> None:
        if len(self.sessions) == MAX_SESSIONS:
            del self.sessions[min(self.sessions, key=lambda boot: self.sessions[boot].sent_ms)]
        self.boot_id = beat.boot_id
        self.sessions[beat.boot_id] = _Session(beat.sent_ms, beat.sent_ms, beat.sequence)


@dataclass(slots=True)
class Receiver:
    """Takes datagrams of all agents; `refused` counts what it dropped."""

    key: bytes
    refused: dict[Refusal, int] = field(default_factory=lambda: dict.fromkeys(Refusal, 0))
    conflicts: dict[str, int] = field(default_factory=dict)
    """Refused as `CONFLICT`, by host."""
    accepted: int = 0
    _hosts: dict[str, _Host] = field(default_factory=dict)

    def accept(self, datagram: bytes, *, now_ms: int) -> Heartbeat | None:
        """The heartbeat, or None when it was refused and counted."""
        try:
            beat = decode(datagram, self.key)
            self._check_new(beat, now_ms)
        except WireError as error:
            self.refused[error.refusal] += 1
            return None
        self.accepted += 1
        return beat

    def _check_new(self, beat: Heartbeat, now_ms: int) -> None:
        if abs(now_ms - beat.sent_ms) > WINDOW_S * 1000:
            raise WireError(Refusal.TIME)
        host = self._hosts.get(beat.host)
        if host is None:
            if len(self._hosts) >= MAX_SENDERS:
                raise WireError(Refusal.SENDERS)
            host = self._hosts[beat.host] = _Host(beat.boot_id, {})
            host.begin(beat)
            return
        last = host.sessions[host.boot_id]
        session = host.sessions.get(beat.boot_id)
        if session is None:
            if beat.sent_ms <= last.sent_ms:  # of a life before, sent again
                raise WireError(Refusal.REPLAY)
            host.begin(beat)
            return
        if not session.take(beat.sequence):
            raise WireError(Refusal.REPLAY)
        session.sent_ms = max(session.sent_ms, beat.sent_ms)
        if session is last:
            return
        if beat.sent_ms <= last.began_ms:  # it was on its way while another life began
            raise WireError(Refusal.REPLAY)
        if beat.sent_ms - last.sent_ms > WINDOW_S * 1000:  # that one has gone, this one lives
            host.boot_id = beat.boot_id
            return
        self.conflicts[beat.host] = self.conflicts.get(beat.host, 0) + 1
        raise WireError(Refusal.CONFLICT)
