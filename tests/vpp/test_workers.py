# SPDX-License-Identifier: Apache-2.0
"""Many more workers than CPUs: 16, or as many as ``HASHMVT_VPP_MANY`` says."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from scapy.layers.inet import IP, UDP
from vpp_papi.vpp_stats import VPPStats

from conftest import HOSTS, NAT_COMMANDS, RUNNING, SERVER, Nat, set_up, worker_counts
from hashmvt.private_vpp import VppError
from vpp import Vpp

if TYPE_CHECKING:
    from collections.abc import Iterator

MANY = int(os.environ.get("HASHMVT_VPP_MANY", "16"))
VPP_HAS_AT_MOST = 62
PAUSE_US = 2000

pytestmark = pytest.mark.skipif(max(worker_counts()) < 4, reason="few workers are asked for")


@pytest.fixture(scope="module")
def vpp() -> Iterator[Vpp]:
    """Run a VPP with many workers; they sleep long, for they share few CPUs."""
    vpp = Vpp(Path(f"/tmp/hmvt-{os.getpid()}-many"), workers=MANY, pause_us=PAUSE_US)
    vpp.start(set_up)
    RUNNING.append(vpp)
    yield vpp
    RUNNING.remove(vpp)
    vpp.end()


def test_each_worker_is_an_instance(vpp: Vpp) -> None:
    """Packets find their instance from the first worker and the last one, twice enabled."""
    for _ in range(2):
        vpp.do(*NAT_COMMANDS)
        nat = Nat(vpp, vpp.api)
        _, instances = nat.api.hashmvt_instance_get()
        assert [(i.instance, i.thread, i.state) for i in instances] == [
            (n, n + 1, 1) for n in range(MANY)
        ]
        packets = [IP(src=h, dst=SERVER) / UDP(sport=1000, dport=53) / b"x" for h in HOSTS]
        seen = [nat.outward(*packets, worker=w, expect=len(HOSTS)) for w in (0, MANY - 1)]
        assert sorted((p.src, p.sport) for p in seen[0]) == sorted(
            (p.src, p.sport) for p in seen[1]
        )
        served = Counter(m.instance for m in nat.mappings())
        assert served.total() == len(HOSTS)
        assert len(served) > MANY // 4
        back = [IP(src=SERVER, dst=p.src) / UDP(sport=53, dport=p.sport) for p in seen[0]]
        assert len(nat.inward(*back, worker=MANY // 2, expect=len(back))) == len(back)
        assert handed_off(vpp) == {
            (at, to): n for at in (0, MANY - 1, MANY // 2) for to, n in served.items() if at != to
        }
        vpp.do("hashmvt disable")


def handed_off(vpp: Vpp) -> dict[tuple[int, int], int]:
    """Return how many packets went from which worker to which, as the statistics say."""
    stats = VPPStats(str(vpp.directory / "stats.sock"))
    stats.connect()
    vpp.api.hashmvt_get()  # publishes
    try:
        matrix = stats["/hashmvt/handed_off"]
        assert len(matrix) == MANY + 1
        found = {(a - 1, b): n for a, row in enumerate(matrix) for b, n in enumerate(row)}
        return {pair: n for pair, n in found.items() if n}
    finally:
        stats.disconnect()


def test_vpp_itself_refuses_more(tmp_path: Path) -> None:
    """It has 63 threads at most, so that HashMVT's 64 instances are never too few."""
    more = Vpp(tmp_path / "vpp", workers=VPP_HAS_AT_MOST + 1)
    with pytest.raises(VppError, match="configured amount of workers 64 is greater"):
        more.start()
