# SPDX-License-Identifier: Apache-2.0
"""The words of the suites as types: what a cell of a test may say, and how it is read.

Enums are read by Robot Framework itself, whatever their case and whether words are joined by
blanks, ``-`` or ``_``. Types with a form of their own have a ``parse``; ``CONVERTERS`` names them.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Self


@dataclass(frozen=True, slots=True, order=True)
class HostPort:
    """An address with a port or ICMP query id, ``10.0.0.1:5000``."""

    addr: IPv4Address
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``address:port``.

        Raises:
            ValueError: it is none.

        """
        addr, colon, port = text.partition(":")
        if not colon or not port.isascii() or not port.isdigit() or int(port) >= 1 << 16:
            raise ValueError(f"{text!r} is not an address and a port such as 10.0.0.1:5000")
        return cls(IPv4Address(addr), int(port))

    def __str__(self) -> str:
        """As it is read."""
        return f"{self.addr}:{self.port}"


@dataclass(frozen=True, slots=True)
class Order:
    """Which fragments of a datagram are sent, and in which order: ``3 1 2``, ``2x100``."""

    numbers: tuple[int, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read numbers from 1, each perhaps with how often it is sent.

        Raises:
            ValueError: there is something else.

        """
        numbers: list[int] = []
        for word in text.split():
            number, _, times = word.partition("x")
            numbers += [int(number)] * int(times or 1)
        return cls(tuple(numbers))


class Side(Enum):
    """The interfaces of a NAT."""

    INSIDE = "inside"
    OUTSIDE = "outside"

    @property
    def other(self) -> "Side":
        """The interface on the far side."""
        return Side.OUTSIDE if self is Side.INSIDE else Side.INSIDE


class Checksum(Enum):
    """The checksum that a UDP datagram is sent with."""

    RIGHT = "right"
    NONE = "none"
    WRONG = "wrong"


class Query(Enum):
    """ICMP queries, by the type of the request and of the reply."""

    ECHO = (8, 0)
    TIMESTAMP = (13, 14)

    @property
    def request(self) -> int:
        """Type of the request."""
        return self.value[0]

    @property
    def reply(self) -> int:
        """Type of the reply."""
        return self.value[1]


class IcmpError(Enum):
    """ICMP errors by type and code."""

    NET_UNREACHABLE = (3, 0)
    HOST_UNREACHABLE = (3, 1)
    PORT_UNREACHABLE = (3, 3)
    FRAGMENTATION_NEEDED = (3, 4)
    TIME_EXCEEDED = (11, 0)
    PARAMETER_PROBLEM = (12, 0)


class Embed(Enum):
    """How much of the packet an ICMP error quotes."""

    WHOLE = "whole"
    SHORTEST = "shortest"
    """The IP header and 8 bytes: what RFC 792 asks for."""
    CUT = "cut"
    """Less than that: cannot be understood."""
    BROKEN = "broken"
    """Whole, but its IP header checksum is wrong."""


class Link(Enum):
    """Link layers of captures."""

    ETHERNET = "ethernet"
    RAW = "raw"
    COOKED = "cooked"


class FileFormat(Enum):
    """Formats of captures."""

    PCAP = "pcap"
    PCAPNG = "pcapng"


class BadCapture(Enum):
    """Files that are no captures."""

    MISSING = "missing"
    TEXT = "text"
    EMPTY = "empty"


class Operator(Enum):
    """How a getter compares what it got with what is expected."""

    EQUAL = "=="
    DIFFERENT = "!="
    LESS = "<"
    AT_MOST = "<="
    MORE = ">"
    AT_LEAST = ">="
    CONTAINS = "contains"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an operator.

        Raises:
            ValueError: it is none.

        """
        return cls(text.strip())

    def holds(self, value: Any, expected: Any) -> bool:
        """Say whether the comparison holds."""
        return _COMPARE[self](value, expected)


_COMPARE: dict[Operator, Callable[[Any, Any], bool]] = {
    Operator.EQUAL: operator.eq,
    Operator.DIFFERENT: operator.ne,
    Operator.LESS: operator.lt,
    Operator.AT_MOST: operator.le,
    Operator.MORE: operator.gt,
    Operator.AT_LEAST: operator.ge,
    Operator.CONTAINS: operator.contains,
}

CONVERTERS: dict[type, Callable[[str], Any]] = {
    HostPort: HostPort.parse,
    Order: Order.parse,
    IPv4Address: IPv4Address,
    IPv4Network: IPv4Network,
    Operator: Operator.parse,
}
