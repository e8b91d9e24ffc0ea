# SPDX-License-Identifier: Apache-2.0
"""``hashmvt bench hash | match | collisions``: that they measure what they say, not how fast."""

from __future__ import annotations

import gzip
import importlib.util
import random
import sys
from typing import TYPE_CHECKING

import pytest

from hashmvt.experiments.collisions import Counter, Keys
from hashmvt.experiments.hashing import KEY_BYTES, Hash, value
from hashmvt.experiments.matching import Lookups, Matcher, Structure, Traffic
from hashmvt.experiments.tables import Table, TableError, read

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.py.cli.conftest import Result

needs_dpdk = pytest.mark.skipif(
    importlib.util.find_spec("hashmvt._ffi._dpdk") is None, reason="built without DPDK"
)

SMALL = """\
; prefix and origin AS
10.0.0.0/8\t65000
10.0.0.0/16 65001

# nothing more
10.128.0.0/9
192.0.2.0/24
2001:db8::/32
192.0.2.128/25
192.0.2.0/24
"""
PREFIXES = ("10.0.0.0/8", "10.0.0.0/16", "10.128.0.0/9", "192.0.2.0/24", "192.0.2.128/25")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.txt"
    path.write_text(SMALL)
    return path


def _number(prefix: str) -> tuple[int, int]:
    dotted, _, length = prefix.partition("/")
    return int.from_bytes(bytes(map(int, dotted.split("."))), "big"), int(length)


# ---- routing tables as files ----


@pytest.mark.parametrize("packed", [False, True])
def test_prefixes_are_read(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / ("table.dat.gz" if packed else "table.dat")
    path.write_bytes(gzip.compress(SMALL.encode()) if packed else SMALL.encode())
    table = read(path)
    assert table.name == "table"
    assert table.prefixes == tuple(map(_number, PREFIXES))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("10.0.0.0/8\n10.0.0.0\n", "bad.txt:2: '10.0.0.0' is no prefix such as 192.0.2.0/24"),
        ("10.0.0.0/33\n", "bad.txt:1: '10.0.0.0/33' is no prefix"),
        ("10.0.0.256/24\n", "bad.txt:1:"),
        ("10.0.0/24\n", "bad.txt:1:"),
        ("10.0.0.0/\u0665\n", "bad.txt:1:"),
        ("; only\n2001:db8::/32\n", "bad.txt: holds no IPv4 prefix"),
        ("", "bad.txt: holds no IPv4 prefix"),
    ],
)
@pytest.mark.parametrize("command", ["match", "collisions"])
def test_what_is_no_table(
    hashmvt: Callable[..., Result], tmp_path: Path, command: str, text: str, said: str
) -> None:
    path = tmp_path / "bad.txt"
    path.write_text(text)
    result = hashmvt("bench", command, path)
    assert result.code == 1
    assert said in result.err
    assert result.err.count("\n") == 1


def test_a_broken_gzip_file(tmp_path: Path) -> None:
    path = tmp_path / "cut.gz"
    path.write_bytes(gzip.compress(SMALL.encode() * 100)[:-20])
    with pytest.raises(TableError, match="is cut short or is no gzip file"):
        read(path)


def test_host_bits_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "table.txt"
    path.write_text("10.1.2.3/8\n10.0.0.0/8\n255.255.255.255/32\n1.2.3.4/0\n")
    assert read(path).prefixes == ((0x0A000000, 8), (0xFFFFFFFF, 32), (0, 0))


# ---- hashes ----


def _crc32c(data: bytes) -> int:
    """Bit by bit, as RFC 3720 has it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@pytest.mark.parametrize("how", [Hash.HARDWARE, Hash.SLICING, Hash.BYTEWISE])
def test_what_is_measured_is_crc32c(how: Hash) -> None:
    rng = random.Random(7)  # noqa: S311 - a test's own numbers
    for size in KEY_BYTES:
        key = rng.randbytes(size)
        assert value(how, key) == _crc32c(key)


def test_the_keyed_hash_takes_every_byte() -> None:
    for size in KEY_BYTES:
        values = {value(Hash.KEYED, bytes(size))}
        for i in range(size):
            values.add(value(Hash.KEYED, bytes(i) + b"\1" + bytes(size - i - 1)))
        assert len(values) == size + 1


def test_hash_rows(hashmvt: Callable[..., Result]) -> None:
    result = hashmvt("bench", "hash", "--bytes", "4,40", "--keys", "1000", "--runs", "3", "--json")
    assert (result.code, result.err) == (0, "")
    rows = result.json["results"]
    assert [(row["hash"], row["key_bytes"]) for row in rows] == [
        (how.value, size) for how in Hash for size in (4, 40)
    ]
    for row in rows:
        assert row["runs"] == 3
        for figure in ("throughput_clocks", "throughput_ns", "latency_clocks", "latency_ns"):
            assert 0 < row[f"{figure}_min"] <= row[figure] <= row[f"{figure}_max"]
    assert "cpu" in result.json["machine"]


def test_hash_lengths(hashmvt: Callable[..., Result]) -> None:
    result = hashmvt("bench", "hash", "--bytes", "8,13")
    assert result.code == 2
    assert "13 is none of 4, 8, ... 40" in result.err


# ---- collisions ----


def test_collisions_of_a_table_made_by_hand() -> None:
    table = Table("hand", tuple(map(_number, PREFIXES)))
    counter = Counter(table)
    found = counter.count(Keys.PADDED, 5, rows=1 << 20)
    # /9 is rounded down to 10/8, /25 to 192.0.2.0/24; 10/8 and 10.0/16 are the same 32 bits
    assert (found.same_key, found.same_hash, found.same_row) == (2, 1, 0)
    assert found.chain_max == 3
    exact = counter.count(Keys.EXACT, 5, rows=1 << 20)
    assert (exact.same_key, exact.same_hash, exact.same_row) == (2, 0, 0)
    assert (exact.chain_max, exact.chain_mean) == (2, (2 * 2 + 2 * 2 + 1) / 5)
    paper = counter.count(Keys.PAPER, 5)
    assert (paper.same_key, paper.same_hash) == (2, 0)
    default = counter.count(Keys.DEFAULT, 5)
    assert (default.same_key, default.same_hash, default.same_row) == (0, 0, 0)


def test_rows_fill_up() -> None:
    table = Table("hosts", tuple((i << 8, 32) for i in range(1000)))
    for keys in (Keys.PADDED, Keys.EXACT):
        found = Counter(table).count(keys, 1000, rows=16)
        assert (found.same_key, found.same_hash) == (0, 0)
        assert found.same_row >= 1000 - 16
        assert found.chain_max >= 1000 / 16
    # a table of the first power of two from 1,000 up: at most one row in 1,024 each
    free = Counter(table).count(Keys.PAPER, 1000)
    assert free.rows == 1024
    assert 0 < free.same_row < 600


def test_collision_rows(hashmvt: Callable[..., Result], small: Path) -> None:
    result = hashmvt("bench", "collisions", small, "--entries", "3,5", "--runs", "2", "--json")
    assert (result.code, result.err) == (0, "")
    rows = result.json["results"]
    assert [(row["entries"], row["keys"]) for row in rows] == [
        (size, keys.value) for size in (3, 5) for keys in Keys
    ]
    # the whole table under a hash without secret is the same in every run
    assert [row["runs"] for row in rows] == [2, 2, 2, 2, 1, 1, 2, 2]
    for row in rows:
        assert (row["table"], row["prefixes"]) == ("small", 5)
        for figure in ("same_key", "same_hash", "same_row", "chain_max", "chain_mean"):
            assert row[f"{figure}_min"] <= row[figure] <= row[f"{figure}_max"]


def test_collision_usage(hashmvt: Callable[..., Result], small: Path) -> None:
    result = hashmvt("bench", "collisions", small, "--entries", "6")
    assert result.code == 2
    assert "small has 5 prefixes, not 6" in result.err
    result = hashmvt("bench", "collisions", small, "--rows", "1000")
    assert result.code == 2
    assert "1000 is no power of two" in result.err
    assert hashmvt("bench", "collisions").code == 2
    assert hashmvt("bench", "collisions", small.parent / "none").code == 2


# ---- matching ----


def _longest(prefixes: tuple[tuple[int, int], ...], addr: int) -> int:
    best, index = -1, 0xFFFFFFFF
    for i, (base, length) in enumerate(prefixes):
        if length > best and addr >> (32 - length) == base >> (32 - length):
            best, index = length, i
    return index


def _random_table(rng: random.Random, *, default_route: bool) -> Table:
    """Nested prefixes of all lengths in a small part of the address space."""
    prefixes = {(0, 0): None} if default_route else {}
    while len(prefixes) < 400:
        length = rng.randint(1, 32)
        addr = 0x0A000000 | rng.getrandbits(24) & rng.choice((0xFFFFFF, 0x03F00F, 0x00FF0F))
        prefixes[addr >> (32 - length) << (32 - length), length] = None
    return Table("random", tuple(prefixes))


def _structures() -> list[Structure]:
    built = importlib.util.find_spec("hashmvt._ffi._dpdk") is not None
    return [s for s in Structure if built or s is not Structure.DPDK_FIB]


@pytest.mark.parametrize("structure", _structures())
@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("default_route", [False, True])
def test_every_structure_finds_the_longest(
    structure: Structure, batch: bool, default_route: bool
) -> None:
    rng = random.Random(3)  # noqa: S311 - a test's own numbers
    table = _random_table(rng, default_route=default_route)
    matcher = Matcher(structure, table, batch=batch, cache_lines=0, seed=9)
    for traffic in Traffic:
        lookups = Lookups(table, traffic, 700, seed=4)
        cost, found = matcher.look_up(lookups)
        assert cost.ns > 0
        got = [int.from_bytes(found[i : i + 4], sys.byteorder) for i in range(0, len(found), 4)]
        assert got == [_longest(table.prefixes, addr) for addr in lookups.addrs]
    assert matcher.memory_bytes > 0
    matcher.close()


def test_match_rows(hashmvt: Callable[..., Result], small: Path) -> None:
    result = hashmvt(
        "bench", "match", small, "--lookups", "512", "--cache-lines", "64", "--flows", "300",
        "--runs", "2", "--no-dpdk", "--json",
    )  # fmt: skip
    assert (result.code, result.err) == (0, "")
    rows = result.json["results"]
    assert [
        (r["structure"], r["batch"], r["cache_lines"], r["traffic"])
        for r in rows
        if r["kind"] == "prefixes"
    ] == [
        (structure, batch, lines, traffic.value)
        for traffic in Traffic
        for structure in ("paper", "default")
        for batch, lines in ((False, 0), (False, 64), (True, 0))
    ]
    assert [(r["structure"], r["entries"]) for r in rows if r["kind"] == "flows"] == [
        ("index", 300)
    ]
    for row in rows:
        assert row["runs"] == 2
        assert 0 < row["ns_per_lookup_min"] <= row["ns_per_lookup"] <= row["ns_per_lookup_max"]
        assert row["memory_bytes"] > 0


@needs_dpdk
def test_dpdk_stands_beside_it(hashmvt: Callable[..., Result], small: Path) -> None:
    result = hashmvt(
        "bench", "match", small, "--lookups", "512", "--flows", "300", "--runs", "1", "--dpdk"
    )
    assert (result.code, result.err) == (0, "")
    assert "dpdk-fib, batch" in result.out
    assert "dpdk-hash" in result.out
    assert "DPDK" in result.out.splitlines()[0]


def test_without_dpdk(
    hashmvt: Callable[..., Result], small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hashmvt.experiments import dpdk  # noqa: PLC0415

    def missing() -> str:
        raise dpdk.MissingError("built without DPDK: install libdpdk-dev")

    monkeypatch.setattr(dpdk, "version", missing)
    asked = ("bench", "match", small, "--lookups", "64", "--flows", "16", "--runs", "1")
    result = hashmvt(*asked)
    assert result.code == 0
    assert "DPDK was left out: built without DPDK: install libdpdk-dev" in result.err
    result = hashmvt(*asked, "--dpdk")
    assert result.code == 1
    assert result.err == "hashmvt: built without DPDK: install libdpdk-dev\n"


def test_a_structure_that_differs_fails(
    hashmvt: Callable[..., Result], small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up = Matcher.look_up

    def wrong(self: Matcher, lookups: Lookups) -> object:
        cost, found = look_up(self, lookups)
        return cost, bytes(len(found)) if self.structure is Structure.DEFAULT else found

    monkeypatch.setattr(Matcher, "look_up", wrong)
    result = hashmvt(
        "bench", "match", small, "--lookups", "64", "--flows", "16", "--runs", "1", "--no-dpdk"
    )
    assert result.code == 1
    assert "found something else than the first structure" in result.err


def test_match_usage(hashmvt: Callable[..., Result], small: Path) -> None:
    result = hashmvt("bench", "match", small, "--cache-lines", "1000")
    assert result.code == 2
    assert "1000 is no power of two" in result.err


# ---- plots ----


@pytest.mark.parametrize(
    ("arguments", "files"),
    [
        (
            ("hash", "--bytes", "4,8", "--keys", "100", "--runs", "2"),
            ("hash-latency", "hash-throughput"),
        ),
        (("nat", "--flows", "512,1024", "--batches", "4", "--runs", "2"), ("nat",)),
        (
            ("collisions", "TABLE", "--runs", "2"),
            ("collisions-same-hash", "collisions-same-key", "collisions-same-row"),
        ),
        (
            ("match", "TABLE", "--lookups", "64", "--flows", "16,32", "--runs", "2", "--no-dpdk"),
            ("match-flows", "match-small"),
        ),
    ],
)
def test_plots(
    hashmvt: Callable[..., Result],
    small: Path,
    tmp_path: Path,
    arguments: tuple[str, ...],
    files: tuple[str, ...],
) -> None:
    words = [str(small) if word == "TABLE" else word for word in arguments]
    folder = tmp_path / "a" / "plots"
    result = hashmvt("bench", *words, "--plot", folder)
    assert (result.code, result.err) == (0, "")
    assert sorted(path.name for path in folder.iterdir()) == [f"{name}.svg" for name in files]
    for path in folder.iterdir():
        assert "</svg>" in path.read_text()


def test_plots_need_matplotlib(
    hashmvt: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = hashmvt("bench", "hash", "--plot", tmp_path / "plots")
    assert result.code == 1
    assert f"{sys.executable} -m pip install 'hashmvt[plot]'" in result.err
    assert not (tmp_path / "plots").exists()
