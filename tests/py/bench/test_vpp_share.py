# SPDX-License-Identifier: Apache-2.0
"""Pool share: external endpoints are counted once each, and only those of the pool."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hashmvt.bench.vpp import share, traffic
from hashmvt.bench.vpp.nats import NATS, POOL
from hashmvt.bench.vpp.share import measure_share
from hashmvt.bench.vpp.traffic import PORTS, Flows
from hashmvt.model import Proto
from hashmvt.private_vpp import Installation, Options

if TYPE_CHECKING:
    from typing import Self

    import pytest


class QuarterVpp:
    """Gives a quarter of the flows ports of the pool, the same each time; others pass."""

    options: Options
    sent = 0

    def __init__(self, _directory: Path, _where: Any, options: Options) -> None:
        type(self).options = options
        self.frames = np.zeros(0, traffic.requests(Flows(1, Proto.UDP, 1)).dtype)
        self.out: list[traffic.Frames] = []
        self.seen = Path()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def make_interfaces(self) -> None:
        pass

    def do(self, *commands: str) -> None:
        for command in commands:
            match command.split():
                case ["packet-generator", "new", "name", _, "source", "pg0", "pcap", path, *_]:
                    self.frames = traffic.read(Path(path))
                case ["packet-generator", "capture", _, "pcap", path, "count", _]:
                    self.seen = Path(path)
                case ["packet-generator", "capture", _, "disable"]:
                    seen = np.concatenate(self.out)
                    traffic.write(self.seen, seen.astype(self.frames.dtype))
                case ["packet-generator", "enable-stream", _]:
                    self._send()

    def _send(self) -> None:
        type(self).sent = len(self.frames)
        assert len(np.unique(self.frames["dst"])) == 1
        out = self.frames.copy()
        served = PORTS // 4
        out["src"][:served], out["sport"][:served] = int(POOL), 1024 + np.arange(served)
        self.out.append(out)

    def is_sending(self, _stream: str) -> bool:
        return False


def test_endpoints_of_the_pool_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(share, "Vpp", QuarterVpp)
    here = Path("/nowhere")
    found = measure_share(Installation(here, here, here), NATS["nat44-ed"], workers=3, addresses=1)
    assert (found.nat, found.workers, found.ports) == ("nat44-ed", 3, PORTS)
    assert found.share == 0.25
    assert QuarterVpp.options.workers == 3
    assert QuarterVpp.sent == PORTS * 5 // 4
