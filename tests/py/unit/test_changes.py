# SPDX-License-Identifier: Apache-2.0
"""What a reload says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hashmvt.config import changes, load

if TYPE_CHECKING:
    from pathlib import Path

BASE = """\
nat44:
  inside: [10.0.0.0/8]
  pool: [198.51.100.0/30]
"""

CASES = [
    ("  timeouts: {udp: 120}\n", "nat44.timeouts.udp: 300 -> 120"),
    ("  timeouts: {fragment: 5}\n",
     "nat44.timeouts.fragment: 2 -> 5 (takes effect at the next start)"),
    ("  block_size: 128\n", "nat44.block_size: 64 -> 128 (takes effect at the next start)"),
    ("  hold_down: {seconds: 240}\n",
     "nat44.hold_down.seconds: 120 -> 240 (takes effect at the next start)"),
    ("  filtering: address-dependent\n",
     "nat44.filtering.udp: endpoint_independent -> address_dependent"),
    ("  exempt: [192.0.2.0/24]\n", "nat44.exempt: [] -> [192.0.2.0/24]"),
    ("  fallback: false\n", "nat44.fallback: True -> False"),
    ("  static: [{inside: 10.0.0.1, outside: 192.0.2.1}]\n",
     "nat44.static: [] -> [{inside: 10.0.0.1/32, outside: 192.0.2.1/32}]"),
    ("dataplane: {instances: {max: 8}}\n",
     "dataplane.instances.max: 4 -> 8 (takes effect at the next start)"),
    ("coordinator: {cpu: 0.5}\n", "coordinator.cpu: 0.8 -> 0.5"),
    ("log: {events: off}\n", "log.events: block -> off (takes effect at the next start)"),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "said"), CASES)
def test_changes_are_named_as_in_the_file(tmp_path: Path, rows: str, said: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(BASE)
    old = load(file)
    file.write_text(BASE + rows)
    new = load(file)
    assert said in [str(change) for change in changes(old, new)]
    back = changes(new, old)
    assert len(back) == len(changes(old, new))
    assert changes(old, old) == changes(new, new) == ()


def test_a_pool_is_said_as_ranges(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(BASE)
    old = load(file)
    file.write_text(BASE.replace("198.51.100.0/30", "198.51.100.2-198.51.100.9"))
    (change,) = changes(old, load(file))
    assert str(change) == ("nat44.pool: [198.51.100.0-198.51.100.3] -> [198.51.100.2-198.51.100.9]")
    assert not change.needs_restart
