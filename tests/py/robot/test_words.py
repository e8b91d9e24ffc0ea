# SPDX-License-Identifier: Apache-2.0
"""What a cell of a suite may say."""

from ipaddress import IPv4Address

import pytest

from HashMvt.words import HostPort, Operator, Order, Side


def test_host_port_is_read_and_written_alike() -> None:
    found = HostPort.parse("10.0.0.1:5000")
    assert found == HostPort(IPv4Address("10.0.0.1"), 5000)
    assert str(found) == "10.0.0.1:5000"


@pytest.mark.parametrize(
    "text",
    ["10.0.0.1", "10.0.0.1:", "10.0.0.1:x", "10.0.0.1:65536", "10.0.0.1:-1", "host:1", ":1", ""],
)
def test_host_port_refuses(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        HostPort.parse(text)


def test_order_counts_repeats() -> None:
    assert Order.parse("3 1 2").numbers == (3, 1, 2)
    assert Order.parse("2x3 1").numbers == (2, 2, 2, 1)


@pytest.mark.parametrize("text", ["one", "1,2", "x3"])
def test_order_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        Order.parse(text)


@pytest.mark.parametrize(
    ("text", "value", "expected", "holds"),
    [
        ("==", 1, 1, True),
        ("==", 1, 2, False),
        ("!=", 1, 2, True),
        ("!=", 1, 1, False),
        ("<", 1, 2, True),
        ("<", 2, 2, False),
        ("<=", 2, 2, True),
        ("<=", 3, 2, False),
        (">", 3, 2, True),
        (">", 2, 2, False),
        (">=", 2, 2, True),
        (">=", 1, 2, False),
        ("contains", "abc", "b", True),
        ("contains", "abc", "d", False),
    ],
)
def test_operators(text: str, value: object, expected: object, holds: bool) -> None:
    assert Operator.parse(text).holds(value, expected) is holds


def test_operator_refuses() -> None:
    with pytest.raises(ValueError, match="=~"):
        Operator.parse("=~")


def test_sides_face_each_other() -> None:
    assert [side.other for side in Side] == [Side.OUTSIDE, Side.INSIDE]
