# SPDX-License-Identifier: Apache-2.0
"""What suites write into configurations."""

from pathlib import Path

import pytest

from HashMvt import BASE
from hashmvt.config import load
from HashMvt.settings import REMOVED, changed_settings, write_settings


def test_values_are_read_as_they_would_stand_in_the_file() -> None:
    base = {"nat44": {"pool": ["a"], "block_size": 64}}
    changed = changed_settings(
        base,
        {"nat44.block_size": "32", "nat44.timeouts.udp": "9", "log.events": "off", "x": [1]},
    )
    assert changed == {
        "nat44": {"pool": ["a"], "block_size": 32, "timeouts": {"udp": 9}},
        "log": {"events": False},
        "x": [1],
    }
    assert base == {"nat44": {"pool": ["a"], "block_size": 64}}


def test_keys_are_removed() -> None:
    assert changed_settings({"a": {"b": 1, "c": 2}}, {"a.b": REMOVED, "a.d": REMOVED}) == {
        "a": {"c": 2}
    }


def test_a_value_is_no_section() -> None:
    with pytest.raises(ValueError, match=r"a\.b\.c: b is a value"):
        changed_settings({"a": {"b": 1}}, {"a.b.c": "2"})


def test_the_base_file_is_a_good_configuration(tmp_path: Path) -> None:
    path = tmp_path / "hashmvt.yaml"
    write_settings(path, BASE, {"nat44.block_size": "128"})
    assert load(path).nat44.block_size == 128
