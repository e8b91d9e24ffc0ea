# SPDX-License-Identifier: Apache-2.0
"""A queue between workers that is full: packets are dropped, counted, and nothing else happens.

The stream hands over every packet in a frame of its own, and a short queue has one element for each
frame: the sender needs a microsecond for a turn, the owner sleeps for longer.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from scapy.layers.inet import IP, UDP

from conftest import HOSTS, INSIDE, OUTSIDE, RUNNING, SERVER, Nat, set_up, worker_counts
from hashmvt.names import DropReason
from vpp import Vpp, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

SENDER, OWNER = 0, 1
BURST = 20_000
FULL = DropReason.HANDOFF_CONGESTION.value
"""Its position, name and text."""


@pytest.fixture(scope="module")
def vpp() -> Iterator[Vpp]:
    """Run a VPP of two workers; a queue keeps its length until VPP ends."""
    if max(worker_counts()) < 2:
        pytest.skip("one thread hands nothing over")
    directory = Path(f"/tmp/hmvt-{os.getpid()}-full")
    vpp = Vpp(directory, workers=2)
    vpp.start(set_up)
    RUNNING.append(vpp)
    yield vpp
    RUNNING.remove(vpp)
    vpp.end()


@pytest.fixture
def nat(vpp: Vpp) -> Iterator[Nat]:
    """Enable the NAT with the shortest queue there is."""
    vpp.do(
        "clear errors",
        "hashmvt enable max-mappings 10000 frame-queue-nelts 16",
        f"hashmvt interface add {INSIDE} in",
        f"hashmvt interface add {OUTSIDE} out",
        "hashmvt policy add 10.0.0.0/8",
        "hashmvt pool add 203.0.113.0-203.0.113.3",
    )
    yield Nat(vpp, vpp.api)
    vpp.do("hashmvt disable")


def buffers(vpp: Vpp) -> int:
    """Return how many buffers are in use."""
    return int(vpp.cli("show buffers").splitlines()[-1].split()[-1])


def question(host: str) -> IP:
    return IP(src=host, dst=SERVER) / UDP(sport=1000, dport=53) / b"question"


def drops(nat: Nat) -> list[int]:
    """Return what was dropped, by the position of the reason."""
    return [sum(nat.counters("dropped", r.value[0])) for r in DropReason]


@pytest.mark.parametrize("source", [INSIDE, OUTSIDE])
def test_a_full_queue_recovers(nat: Nat, source: str) -> None:
    """Every packet is received or counted as dropped, buffers return, then all goes on."""
    assert len(nat.outward(*map(question, HOSTS), expect=len(HOSTS))) == len(HOSTS)
    mapping = next(m for m in nat.mappings() if m.instance == OWNER)
    if source == INSIDE:
        ends = (f"{mapping.inside.address} -> {SERVER}", "1000 -> 53")
        received = "received_in2out"
    else:
        ends = (f"{SERVER} -> {mapping.external.address}", f"53 -> {mapping.external.port}")
        received = "received_out2in"
    used, before, had = buffers(nat.vpp), drops(nat), nat.each(received)
    bursts = 0

    def settled() -> bool:
        taken = nat.each(received)[OWNER] - had[OWNER]
        return taken + drops(nat)[FULL[0]] - before[FULL[0]] == bursts * BURST

    def congested() -> bool:
        nonlocal bursts
        bursts += 1
        nat.vpp.do(
            f"packet-generator new {{ name b{bursts} limit {BURST} maxframe 1 size 42-42 "
            f"worker {SENDER} interface {source} node ip4-input "
            f"data {{ UDP: {ends[0]} UDP: {ends[1]} length 22 checksum 0 incrementing 14 }} }}",
            f"packet-generator enable-stream b{bursts}",
        )
        wait_until("the burst", settled)
        nat.vpp.do(f"packet-generator delete b{bursts}")
        return drops(nat)[FULL[0]] > before[FULL[0]]

    wait_until("a full queue", congested)
    now = drops(nat)
    lost = now[FULL[0]] - before[FULL[0]]
    assert [n - b for n, b in zip(now, before, strict=True)] == [
        lost if r.value == FULL else 0 for r in DropReason
    ]
    assert nat.count(FULL[2]) == lost
    assert nat.each(received)[SENDER] == had[SENDER]
    wait_until("all buffers to return", lambda: buffers(nat.vpp) == used)

    assert len(nat.outward(*map(question, HOSTS), expect=len(HOSTS))) == len(HOSTS)
    back = [
        IP(src=SERVER, dst=str(m.external.address)) / UDP(sport=53, dport=m.external.port) / b"a"
        for m in nat.mappings()
    ]
    assert len(nat.inward(*back, expect=len(back))) == len(HOSTS)
    assert drops(nat) == now
