# SPDX-License-Identifier: Apache-2.0
"""How numbers, sizes and tables look."""

from __future__ import annotations

import pytest

from hashmvt.cli.output import Column, duration, number, percent, plural, size, table
from hashmvt.cli.rates import between, drops
from hashmvt.model import InstanceSnapshot, InstanceState, Snapshot
from hashmvt.names import Counters


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (999, "999"),
        (9999, "9,999"),
        (10_000, "10.0k"),
        (123_456, "123k"),
        (999_999, "1000k"),
        (1_234_567, "1.23M"),
        (98_765_432, "98.8M"),
        (4_000_000_000, "4.00G"),
    ],
)
def test_number(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (160 << 20, "160 MiB"), (5 << 29, "2.5 GiB")],
)
def test_size(value: float, text: str) -> None:
    assert size(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0, "0s"),
        (59, "59s"),
        (60, "1m00s"),
        (3599, "59m59s"),
        (7440, "2h04m"),
        (266_400, "3d02h"),
    ],
)
def test_duration(seconds: int | None, text: str) -> None:
    assert duration(seconds) == text


def test_words() -> None:
    assert percent(None) == "-"
    assert percent(0.123) == "12%"
    assert plural(1, "mapping") == "1 mapping"
    assert plural(1234, "address", "addresses") == "1,234 addresses"


def test_tables_are_aligned_and_end_without_spaces() -> None:
    text = table(
        [Column("name", right=False), Column("count"), Column("note", right=False)],
        [("a", "1", ""), ("long name", "12,345", "x")],
    )
    assert text.split("\n") == [
        "name        count  note",
        "a               1",
        "long name  12,345  x",
    ]


def snapshot(at: int, *instances: InstanceSnapshot) -> Snapshot:
    return Snapshot(at, 0, 0, 0, 0, 0, instances)


def test_rates() -> None:
    before = snapshot(
        0, InstanceSnapshot(0, InstanceState.ACTIVE, cycles_busy=10, cycles_total=100)
    )
    after = snapshot(
        2_000_000_000,
        InstanceSnapshot(
            0,
            InstanceState.ACTIVE,
            cycles_busy=60,
            cycles_total=300,
            ring_dropped=4,
            counters=Counters(translated_in2out=1000, translated_out2in=500, mappings_created=20),
        ),
        InstanceSnapshot(1, InstanceState.ACTIVE),
    )
    rates = between(before, after)
    assert set(rates) == {0}
    assert rates[0].load == 0.25
    assert (rates[0].in2out, rates[0].out2in, rates[0].created) == (500, 250, 10)
    assert rates[0].dropped == 2
    assert drops(after.instances[0]) == 4
    assert between(after, after)[0].load is None
