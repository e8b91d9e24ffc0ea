# SPDX-License-Identifier: Apache-2.0
"""The NAT's clock: the system's, or one that stands still for tests."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from vpp import wait_until

if TYPE_CHECKING:
    from conftest import Nat


def test_the_clock_goes_by_itself(disabled: Nat) -> None:
    """As it does where nothing else is said."""
    disabled.vpp.do("hashmvt enable max-mappings 1000")
    before = disabled.api.hashmvt_get().tick
    wait_until("two seconds", lambda: disabled.api.hashmvt_get().tick >= before + 2)


def test_a_manual_clock_goes_only_when_it_is_moved(disabled: Nat) -> None:
    """So that a test of a timeout is exact, however slow the machine."""
    disabled.vpp.do("hashmvt enable max-mappings 1000 clock manual")
    before = disabled.api.hashmvt_get().tick
    time.sleep(1.2)
    assert disabled.api.hashmvt_get().tick == before
    assert disabled.api.hashmvt_clock_advance(seconds=300).retval == 0
    assert disabled.api.hashmvt_get().tick == before + 300
