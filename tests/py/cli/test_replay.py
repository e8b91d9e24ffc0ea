# SPDX-License-Identifier: Apache-2.0
"""``hashmvt replay``."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import pytest

from hashmvt.dataplane.packets import make, parse, sound
from hashmvt.model import Endpoint, Proto

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.py.cli.conftest import Result

RAW = 101
REMOTE = Endpoint(IPv4Address("203.0.113.9"), 53, Proto.UDP)


def inside(host: int, port: int) -> Endpoint:
    return Endpoint(IPv4Address(f"10.0.{host}.1"), port, Proto.UDP)


def pcap(packets: list[tuple[int, bytes]]) -> bytes:
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, RAW)
    records = (struct.pack("<IIII", at, 7, len(p), len(p)) + p for at, p in packets)
    return head + b"".join(records)


def records(data: bytes) -> list[tuple[int, bytes]]:
    result, at = [], 24
    while at < len(data):
        seconds, _, length, _ = struct.unpack_from("<IIII", data, at)
        result.append((seconds, data[at + 16 : at + 16 + length]))
        at += 16 + length
    return result


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a capture of 40 packets out and one stray one in."""
    packets = [(1000 + i, make(inside(i % 8, 2000 + i // 8), REMOTE, b"q")) for i in range(40)]
    packets.append((2000, make(REMOTE, Endpoint(IPv4Address("198.51.100.1"), 9, Proto.UDP))))
    path = tmp_path / "in.pcap"
    path.write_bytes(pcap(packets))
    return path


def test_packets_that_the_capture_cut_are_told(
    hashmvt: Callable[..., Result], config: Path, tmp_path: Path
) -> None:
    """A TCP segment cut before its checksum was written translated, and nothing said so."""
    tcp = Endpoint(IPv4Address("10.0.0.1"), 2000, Proto.TCP)
    remote = Endpoint(IPv4Address("203.0.113.9"), 80, Proto.TCP)
    syn = make(tcp, remote)
    source, target = tmp_path / "in.pcap", tmp_path / "out.pcap"
    cut = [syn[:34], syn[:36], syn[:38]]  # flags; the checksum's place; and the checksum, too
    packets = [(1000, syn), *((1000, p) for p in cut), (1000, syn[:33])]
    source.write_bytes(pcap(packets))
    result = hashmvt("replay", source, target, "-c", config, "--json")
    assert (result.code, result.err) == (0, "")
    assert result.json["packets"]["truncated"] == 3
    assert result.json["packets"]["dropped"] == {"malformed": 1}
    whole, *short = [p for _, p in records(target.read_bytes())]
    assert sound(whole)
    assert short == [whole[: len(p)] for p in cut]
    text = hashmvt("replay", source, target, "-c", config).out
    assert "3 packets cut by the capture, translated as far as they go" in text


def test_packets_are_translated_in_order(
    hashmvt: Callable[..., Result], config: Path, source: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out.pcap"
    result = hashmvt("replay", source, target, "-c", config, "--json")
    assert (result.code, result.err) == (0, "")
    out = records(target.read_bytes())
    assert [at for at, _ in out] == [1000 + i for i in range(40)]
    flows = [parse(p) for _, p in out]
    assert all(sound(p) for _, p in out)
    assert all(f and f.target == REMOTE for f in flows)
    assert len({f.source for f in flows if f}) == 40
    assert result.json["packets"] == {
        "in": 41,
        "out": 40,
        "passed": 0,
        "held": 0,
        "skipped": 0,
        "truncated": 0,
        "dropped": {"no_mapping": 1},
    }
    (instance,) = result.json["instances"]
    assert instance["id"] == 0
    assert instance["mappings_created"] == 40
    assert result.json["cut_at"] is None


@pytest.mark.parametrize("instances", [1, 3])
def test_the_same_seed_gives_the_same_bytes(
    hashmvt: Callable[..., Result], config: Path, source: Path, tmp_path: Path, instances: int
) -> None:
    outputs = []
    for name, seed in (("a", "5"), ("b", "5"), ("c", "6")):
        target = tmp_path / name
        result = hashmvt(
            "replay", source, target, "-c", config, "--seed", seed, "--instances", str(instances),
            "--json",
        )  # fmt: skip
        assert result.code == 0
        assert len(result.json["instances"]) == instances
        outputs.append(target.read_bytes())
    assert outputs[0] == outputs[1]
    assert outputs[0] != outputs[2]


def test_time_is_the_packets(hashmvt: Callable[..., Result], config: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "in.pcap", tmp_path / "out.pcap"
    packet = make(inside(1, 2000), REMOTE)
    source.write_bytes(pcap([(0, packet), (300, packet), (601, packet)]))
    result = hashmvt("replay", source, target, "-c", config, "--json")
    assert result.json["instances"][0]["mappings_created"] == 2
    ports = [f.source.port for _, p in records(target.read_bytes()) if (f := parse(p))]
    assert ports[0] == ports[1] != ports[2]


def test_text_names_reasons_and_instances(
    hashmvt: Callable[..., Result], config: Path, source: Path, tmp_path: Path
) -> None:
    result = hashmvt("replay", source, tmp_path / "out.pcap", "-c", config, "--instances", "2")
    assert result.code == 0
    assert "41 packets in, 40 out, 0 of them passed untranslated, 1 dropped" in result.out
    assert "dropped 1: no_mapping (to a pool endpoint that has no mapping)" in result.out
    assert "instance  translated  mappings" in result.out


@pytest.mark.parametrize("cut", [1, 10, 17, 40])
def test_a_cut_capture_gives_what_was_read(
    hashmvt: Callable[..., Result], config: Path, source: Path, tmp_path: Path, cut: int
) -> None:
    target = tmp_path / "out.pcap"
    whole = source.read_bytes()
    last = len(whole) - (16 + 28)
    source.write_bytes(whole[:-cut])
    result = hashmvt("replay", source, target, "-c", config, "--json")
    assert result.code == 1
    assert f"offset {last}" in result.err
    assert result.err.count("\n") == 1
    assert result.json["cut_at"] == last
    assert len(records(target.read_bytes())) == 40


def test_files_that_cannot_be(
    hashmvt: Callable[..., Result], config: Path, source: Path, tmp_path: Path
) -> None:
    absent = hashmvt("replay", tmp_path / "absent", tmp_path / "out", "-c", config)
    assert absent.code == 1
    assert "No such file" in absent.err
    rubbish = hashmvt("replay", config, tmp_path / "out", "-c", config)
    assert rubbish.code == 1
    assert "is no pcap or pcapng" in rubbish.err
    nowhere = hashmvt("replay", source, tmp_path / "absent" / "out", "-c", config)
    assert nowhere.code == 1
    assert "cannot be written" in nowhere.err
    same = hashmvt("replay", source, source, "-c", config)
    assert same.code == 2
    assert "are the same file" in same.err
    before = config.read_bytes()
    onto = hashmvt("replay", source, config, "-c", config)
    assert onto.code == 2
    assert "OUT.pcap and the configuration are the same file" in onto.err
    assert config.read_bytes() == before
    pipe = hashmvt("replay", source, "-", "-c", config)
    assert pipe.code == 2
    assert "is a file" in pipe.err
    for result in (absent, rubbish, nowhere, same, onto, pipe):
        assert result.err.count("\n") == 1
    assert source.read_bytes() != b""


def test_a_wrong_configuration_writes_nothing(
    hashmvt: Callable[..., Result], config: Path, source: Path, tmp_path: Path
) -> None:
    config.write_text("nat44: {inside: [10.0.0.0/8], pool: []}\n")
    target = tmp_path / "out.pcap"
    result = hashmvt("replay", source, target, "-c", config)
    assert result.code == 2
    assert "the pool is empty" in result.err
    assert not target.exists()
