# SPDX-License-Identifier: Apache-2.0
"""The NAT's clock: the system's, or one that stands still for tests."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Nat


def tick_after(disabled: Nat, clock: str, seconds: float) -> int:
    """Enable with a clock; return how far it goes by itself."""
    disabled.vpp.do(f"hashmvt enable max-mappings 1000 clock {clock}")
    before: int = disabled.api.hashmvt_get().tick
    time.sleep(seconds)
    after: int = disabled.api.hashmvt_get().tick
    return after - before


def test_the_clock_goes_by_itself(disabled: Nat) -> None:
    assert tick_after(disabled, "system", 2.2) in (2, 3)


def test_a_manual_clock_goes_only_when_it_is_moved(disabled: Nat) -> None:
    assert tick_after(disabled, "manual", 1.2) == 0
    before = disabled.api.hashmvt_get().tick
    assert disabled.api.hashmvt_clock_advance(seconds=300).retval == 0
    assert disabled.api.hashmvt_get().tick == before + 300
