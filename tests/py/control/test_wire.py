# SPDX-License-Identifier: Apache-2.0
"""Heartbeats: nothing gets through that was not sent, whole, now and once."""

from __future__ import annotations

import dataclasses
import hmac
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashmvt.control import keyfile, wire
from hashmvt.control.wire import Heartbeat, InstanceBeat, RangeChange, Receiver, Refusal, Sender
from hashmvt.errors import ConfigError
from hashmvt.model import HomeMap, HomeRange, InstanceState

if TYPE_CHECKING:
    from pathlib import Path

KEY = b"k" * 32
NOW = 1_800_000_000_000

u32 = st.integers(0, 2**32 - 1)
u64 = st.integers(0, 2**64 - 1)
instances = st.builds(
    InstanceBeat,
    id=st.integers(0, 63),
    state=st.sampled_from(InstanceState),
    load=st.integers(0, 0xFFFF).map(lambda n: n / 0xFFFF),
    mappings=u32,
    limit=u32,
    blocks=u32,
    free_blocks=u32,
    loops=u64,
    epoch=u64,
)
changes = st.builds(
    RangeChange,
    added=st.booleans(),
    address=u32,
    length=st.integers(0, 32),
    instance=st.integers(0, 63) | st.just(wire.SCATTERED),
    realm=st.integers(0, 0xFFFF),
)
beats = st.builds(
    Heartbeat,
    host=st.text(min_size=1, max_size=16),
    boot_id=u64,
    sequence=u64,
    sent_ms=u64,
    home_version=u64,
    digest=u64,
    digest_before=u64,
    instances=st.lists(instances, max_size=wire.INSTANCES_PER_DATAGRAM).map(tuple),
    changes=st.lists(changes, max_size=wire.CHANGES_PER_DATAGRAM).map(tuple),
)


def beat(**what: object) -> Heartbeat:
    base = Heartbeat("h", 1, 1, NOW, 1, 0, 0)
    return dataclasses.replace(base, **what)  # type: ignore[arg-type]


@given(beats)
def test_round_trip_within_the_bound(sent: Heartbeat) -> None:
    datagram = wire.encode(sent, KEY)
    assert len(datagram) <= wire.MAX_DATAGRAM
    assert wire.decode(datagram, KEY) == sent


def test_the_largest_heartbeat_fits() -> None:
    one = InstanceBeat(0, InstanceState.ACTIVE, 0.0, 0, 0, 0, 0, 0, 0)
    change = RangeChange(added=True, address=0, length=0, instance=0)
    largest = beat(
        host="h" * wire.MAX_HOST_BYTES,
        instances=(one,) * wire.INSTANCES_PER_DATAGRAM,
        changes=(change,) * wire.CHANGES_PER_DATAGRAM,
    )
    assert len(wire.encode(largest, KEY)) <= wire.MAX_DATAGRAM


@given(st.binary(max_size=wire.MAX_DATAGRAM + 100))
def test_noise_is_refused(noise: bytes) -> None:
    receiver = Receiver(KEY)
    assert receiver.accept(noise, now_ms=NOW) is None
    assert sum(receiver.refused.values()) == 1


@given(beats, st.data())
def test_one_changed_byte_is_refused(sent: Heartbeat, data: st.DataObject) -> None:
    datagram = bytearray(wire.encode(sent, KEY))
    at = data.draw(st.integers(0, len(datagram) - 1))
    datagram[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(wire.WireError) as refused:
        wire.decode(bytes(datagram), KEY)
    assert refused.value.refusal is Refusal.AUTHENTICATION


@given(st.binary(min_size=60, max_size=600))
def test_authentic_nonsense_is_refused_and_raises_nothing_else(body: bytes) -> None:
    """Whoever holds the key may be broken, too: the decoder stays strict behind the HMAC."""
    head = wire.encode(beat(), KEY)[:31] + body
    for text in (body, head):
        datagram = text + hmac.digest(KEY, text, "sha256")
        try:
            decoded = wire.decode(datagram, KEY)
        except wire.WireError as error:
            assert error.refusal is not Refusal.AUTHENTICATION  # noqa: PT017
        else:
            assert wire.encode(decoded, KEY) == datagram


def test_another_key_is_refused() -> None:
    receiver = Receiver(b"x" * 32)
    assert receiver.accept(wire.encode(beat(), KEY), now_ms=NOW) is None
    assert receiver.refused[Refusal.AUTHENTICATION] == 1


def test_another_version_is_refused() -> None:
    body = bytearray(wire.encode(beat(), KEY)[:-32])
    body[4] = 9
    receiver = Receiver(KEY)
    receiver.accept(bytes(body) + hmac.digest(KEY, body, "sha256"), now_ms=NOW)
    assert receiver.refused[Refusal.VERSION] == 1


@pytest.mark.parametrize("late_ms", [-30_001, 30_001])
def test_outside_the_time_window(late_ms: int) -> None:
    receiver = Receiver(KEY)
    assert receiver.accept(wire.encode(beat(sent_ms=NOW + late_ms), KEY), now_ms=NOW) is None
    assert receiver.refused[Refusal.TIME] == 1


@given(st.lists(st.integers(1, 200), min_size=1, max_size=60))
def test_each_sequence_number_counts_once(numbers: list[int]) -> None:
    receiver, taken, highest = Receiver(KEY), set[int](), 0
    for number in numbers:
        got = receiver.accept(wire.encode(beat(sequence=number), KEY), now_ms=NOW)
        fresh = number not in taken and number > highest - wire.REPLAY_WINDOW
        assert (got is not None) == fresh
        if got:
            taken.add(number)
            highest = max(highest, number)


def test_an_old_life_cannot_be_replayed_after_a_restart() -> None:
    receiver = Receiver(KEY)
    old = wire.encode(beat(boot_id=1, sequence=100, sent_ms=NOW), KEY)
    assert receiver.accept(old, now_ms=NOW)
    assert receiver.accept(
        wire.encode(beat(boot_id=2, sequence=1, sent_ms=NOW + 1), KEY), now_ms=NOW
    )
    assert receiver.accept(old, now_ms=NOW) is None
    later = wire.encode(beat(boot_id=1, sequence=101, sent_ms=NOW), KEY)
    assert receiver.accept(later, now_ms=NOW) is None
    assert receiver.refused[Refusal.REPLAY] == 2


def test_two_agents_of_one_name_are_a_conflict_and_nothing_is_taken_twice() -> None:
    """Each was a new life to the other, so either's datagrams were taken as often as they came."""
    receiver = Receiver(KEY)
    sent = [
        wire.encode(beat(boot_id=1 + n % 2, sequence=1 + n // 2, sent_ms=NOW + n), KEY)
        for n in range(20)
    ]
    taken = [receiver.accept(datagram, now_ms=NOW + 20) for datagram in sent]
    assert [got.boot_id for got in taken if got] == [1] + [2] * 10
    assert receiver.refused[Refusal.CONFLICT] == receiver.conflicts["h"] == 9
    assert not any(receiver.accept(datagram, now_ms=NOW + 20) for datagram in sent)
    assert receiver.refused[Refusal.REPLAY] == 20
    assert receiver.refused[Refusal.CONFLICT] == 9


def test_who_is_left_of_two_agents_is_listened_to_again() -> None:
    receiver = Receiver(KEY)

    def send(boot_id: int, sequence: int, after_s: float) -> bool:
        sent_ms = NOW + round(after_s * 1000)
        datagram = wire.encode(beat(boot_id=boot_id, sequence=sequence, sent_ms=sent_ms), KEY)
        return receiver.accept(datagram, now_ms=sent_ms) is not None

    assert send(1, 1, 0)
    assert send(2, 1, 1)
    assert not send(1, 2, wire.WINDOW_S)
    assert receiver.refused[Refusal.CONFLICT] == 1
    assert send(1, 3, wire.WINDOW_S + 1.1)
    assert not send(1, 3, wire.WINDOW_S + 1.1)
    assert not send(2, 2, wire.WINDOW_S + 2)
    assert (receiver.refused[Refusal.CONFLICT], receiver.refused[Refusal.REPLAY]) == (2, 1)


def test_lives_of_an_agent_are_bounded_and_none_comes_back() -> None:
    receiver = Receiver(KEY)
    lives = 3 * wire.MAX_SESSIONS
    sent = [wire.encode(beat(boot_id=n, sent_ms=NOW + n), KEY) for n in range(lives)]
    assert all(receiver.accept(datagram, now_ms=NOW + lives) for datagram in sent)
    assert not any(receiver.accept(datagram, now_ms=NOW + lives) for datagram in sent)
    assert receiver.refused[Refusal.CONFLICT] == 0


def test_senders_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_SENDERS", 2)
    receiver = Receiver(KEY)
    for host in "abc":
        receiver.accept(wire.encode(beat(host=host), KEY), now_ms=NOW)
    assert receiver.refused[Refusal.SENDERS] == 1
    assert receiver.accepted == 2


home_ranges = st.dictionaries(
    st.integers(0, 15).map(lambda n: IPv4Network((n << 28, 4))), st.integers(0, 3), max_size=6
)


@given(st.lists(home_ranges, min_size=1, max_size=6))
def test_changes_lead_from_digest_to_digest(maps: list[dict[IPv4Network, int]]) -> None:
    sender, known = Sender("h", KEY, 7), frozenset[RangeChange]()
    for version, ranges in enumerate(maps, 1):
        home = HomeMap(version, tuple(HomeRange(p, i) for p, i in ranges.items()))
        (datagram,) = sender.datagrams(home, (), now_ms=NOW)
        got = wire.decode(datagram, KEY)
        assert got.digest == wire.digest_of(wire.ranges_of(home))
        assert got.digest_before ^ wire.digest_of(got.changes) == got.digest
        gone = {dataclasses.replace(c, added=True) for c in got.changes if not c.added}
        known = (known - gone) | {c for c in got.changes if c.added}
        assert known == wire.ranges_of(home)


def test_too_many_changes_are_left_to_a_request() -> None:
    ranges = tuple(HomeRange(IPv4Network((n << 8, 32)), 0) for n in range(100))
    (datagram,) = Sender("h", KEY, 7).datagrams(HomeMap(1, ranges), (), now_ms=NOW)
    got = wire.decode(datagram, KEY)
    assert got.changes == ()
    assert got.digest_before == got.digest != 0


def test_many_instances_take_several_datagrams() -> None:
    many = [InstanceBeat(i, InstanceState.SPARE, 0.0, 0, 0, 0, 0, 0, 0) for i in range(64)]
    receiver = Receiver(KEY)
    home = HomeMap(1, (HomeRange(IPv4Network("0.0.0.0/0"), 0),))
    got = [
        receiver.accept(datagram, now_ms=NOW)
        for datagram in Sender("h", KEY, 7).datagrams(home, many, now_ms=NOW)
    ]
    assert [i.id for b in got if b for i in b.instances] == list(range(64))


# ---- key file ----


def test_a_created_key_can_be_loaded_and_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "heartbeat.key"
    assert keyfile.create_key(path)
    key = keyfile.load_key(path)
    assert not keyfile.create_key(path)
    assert keyfile.load_key(path) == key
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "mode", "reason"),
    [
        (b"x" * 64, 0o640, "open to others"),
        (b"x" * 64, 0o604, "open to others"),
        (b"x" * 31 + b"\n", 0o600, "key of 31 bytes"),
        (b"x" * 5000, 0o600, "key of 4097 bytes"),
    ],
)
def test_bad_key_files(tmp_path: Path, content: bytes, mode: int, reason: str) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(mode)
    with pytest.raises(ConfigError, match=reason):
        keyfile.load_key(path)


def test_missing_key_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="openssl rand"):
        keyfile.load_key(tmp_path / "none")
    with pytest.raises(ConfigError, match="no plain file"):
        keyfile.load_key(tmp_path)
