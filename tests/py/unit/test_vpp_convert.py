# SPDX-License-Identifier: Apache-2.0
"""What the messages of VPP mean."""

from ipaddress import IPv4Address
from types import SimpleNamespace
from typing import Any

from hashmvt.dataplane.vpp import convert
from hashmvt.model import ANYWHERE

NO_TABLE = 0xFFFFFFFF


def range_message(**fields: Any) -> SimpleNamespace:
    usual = {
        "prefix": ANYWHERE, "realm": 0, "instance": 0, "table": NO_TABLE, "from_instance": 0,
        "to_instance": 0, "flags": 0, "external": IPv4Address(0),
    }  # fmt: skip
    return SimpleNamespace(**{**usual, **fields})


def test_a_range_with_a_bucket_table_is_of_no_one_instance() -> None:
    """A coordinator took it for instance 0's, and the other instances for abandoned."""
    found = convert.range_from(range_message(table=0, instance=0))
    assert (found.instance, found.table) == (None, 0)


def test_a_range_of_an_instance_has_no_table() -> None:
    found = convert.range_from(range_message(instance=2))
    assert (found.instance, found.table) == (2, None)
