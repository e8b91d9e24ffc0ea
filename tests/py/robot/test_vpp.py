# SPDX-License-Identifier: Apache-2.0
"""The driver of VPP, as far as it needs none."""

import pytest

pytest.importorskip("vpp_papi", reason="the package's extra vpp is not installed")

from HashMvt import packets
from HashMvt.driver import Leaving
from HashMvt.vpp import _as_sent
from HashMvt.words import HostPort, Side

SERVER = HostPort.parse("192.0.2.1:53")


@pytest.fixture
def sent() -> list[bytes]:
    clients = [HostPort.parse(f"10.0.0.{n}:5000") for n in range(1, 10)]
    return packets.udp_from_each(clients, SERVER, b"begin")


def test_workers_may_give_packets_back_in_any_order(sent: list[bytes]) -> None:
    left = [Leaving(Side.OUTSIDE, data) for data in sent]
    assert _as_sent(sent, [left[i] for i in (4, 0, 8, 1, 7, 2, 6, 3, 5)]) == left


def test_what_was_not_sent_now_comes_last(sent: list[bytes]) -> None:
    earlier = Leaving(Side.OUTSIDE, packets.udp(SERVER, SERVER, ident=77))
    left = [Leaving(Side.OUTSIDE, data) for data in sent]
    assert _as_sent(sent, [earlier, *reversed(left)]) == [*left, earlier]
