# SPDX-License-Identifier: Apache-2.0
"""How much of a pool several workers can use together.

A quarter more inside endpoints than the pool has ports talk to one remote, so that each of them
needs an external endpoint of its own. They come slowly, twice: whoever was refused
because a queue between workers was full, or because a worker had to wait for ports of another,
comes again. What leaves the outside interface is captured, and its sources are counted. A pass ends
after a while, since a NAT may search all its ports for each flow that it then refuses.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hashmvt.bench.vpp import traffic
from hashmvt.bench.vpp.nats import Nat, Scale
from hashmvt.bench.vpp.process import Vpp
from hashmvt.bench.vpp.traffic import PORTS, Flows
from hashmvt.model import Proto

if TYPE_CHECKING:
    from hashmvt.private_vpp import Installation

WORKERS, ADDRESSES = 4, 16
_FLOWS_PER_PORT = 1.25
_PORTS_PER_HOST = 64
_PASSES = 2
_RATE = 200_000
_PASS_S = 20.0
_POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Share:
    """What a NAT made of its pool."""

    nat: str
    workers: int
    addresses: int
    used: int
    """External endpoints that flows got."""

    @property
    def ports(self) -> int:
        """External endpoints that there are: those from port 1,024 on."""
        return self.addresses * PORTS

    @property
    def share(self) -> float:
        """Of the ports, those used."""
        return self.used / self.ports


def measure_share(
    installation: Installation, nat: Nat, *, workers: int = WORKERS, addresses: int = ADDRESSES
) -> Share:
    """Offer a NAT more flows than its pool has ports, and count those that it uses.

    Raises:
        VppError: VPP refused or ended.

    """
    flows = Flows(int(addresses * PORTS * _FLOWS_PER_PORT), Proto.UDP, _PORTS_PER_HOST)
    scale = Scale(flows, spare=0, used=_FLOWS_PER_PORT)
    options = replace(nat.options(scale), workers=workers)
    with tempfile.TemporaryDirectory(prefix="hashmvt-bench-") as name:
        root = Path(name)
        frames, seen = root / "flows.pcap", root / "seen.pcap"
        traffic.write(frames, traffic.requests(flows, remotes=1))
        with Vpp(root / "vpp", installation, options) as vpp:
            vpp.make_interfaces()
            vpp.do(
                *nat.commands(scale),
                f"packet-generator capture pg1 pcap {seen} count {_PASSES * flows.count}",
                f"packet-generator new name flows source pg0 pcap {frames} rate {_RATE}",
            )
            for _ in range(_PASSES):
                vpp.do("packet-generator enable-stream flows")
                end = time.monotonic() + _PASS_S
                while vpp.is_sending("flows") and time.monotonic() < end:
                    time.sleep(_POLL_S)
                vpp.do("packet-generator disable-stream flows")
            vpp.do("packet-generator capture pg1 disable")
        return Share(nat.name, workers, addresses, _endpoints(traffic.read(seen), nat, scale))


def _endpoints(seen: traffic.Frames, nat: Nat, scale: Scale) -> int:
    """Count the pool's endpoints among the sources."""
    first, last = (int(address) for address in nat.pool(scale))
    source = seen["src"].astype(np.int64)
    inside = (source >= first) & (source <= last)
    return len(np.unique(source[inside] << 16 | seen["sport"][inside]))
