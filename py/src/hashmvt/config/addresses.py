# SPDX-License-Identifier: Apache-2.0
"""Reads addresses, prefixes, ranges, ports and endpoints as people write them."""

from __future__ import annotations

import fcntl
import socket
import struct
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError

from hashmvt.config.values import AddressRange, PortRange

_SIOCGIFADDR = 0x8915
_IFREQ = "16s24x"
MAX_PORT = 65535


class Unreadable(ValueError):  # noqa: N818 - becomes a Problem
    """Text that is not what it should be; says why and what to write."""

    def __init__(self, reason: str, remedy: str) -> None:
        """Hold the reason and the remedy."""
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


def address(text: str) -> IPv4Address:
    """Read an IPv4 address.

    Raises:
        Unreadable: it is none.

    """
    try:
        return IPv4Address(text.strip())
    except AddressValueError:
        kind = "an IPv6 address; HashMVT translates IPv4" if ":" in text else "no IPv4 address"
        raise Unreadable(f"{text!r} is {kind}", "write one such as 198.51.100.1") from None


def prefix(text: str) -> IPv4Network:
    """Read a prefix; an address alone is its /32.

    Raises:
        Unreadable: it is none, or has bits below its length.

    """
    head, slash, length = text.strip().partition("/")
    base = address(head)
    if not slash:
        return IPv4Network(base)
    if not (length.isascii() and length.isdigit() and len(length) <= 2 and int(length) <= 32):  # noqa: PLR2004
        what = f"the prefix length of {text!r} is none from 0 to 32"
        raise Unreadable(what, "write one such as 10.0.0.0/8")
    try:
        network = IPv4Network((base, int(length)), strict=False)
    except (AddressValueError, NetmaskValueError, ValueError):
        raise Unreadable(f"{text!r} is no prefix", "write one such as 10.0.0.0/8") from None
    if network.network_address != base:
        raise Unreadable(f"{text!r} has bits set below its length", f"write {network}")
    return network


def address_range(text: str) -> AddressRange:
    """Read an address, a prefix or ``first-last``.

    Raises:
        Unreadable: it is none of them.

    """
    first, dash, last = text.partition("-")
    if not dash:
        return AddressRange.of(prefix(text))
    result = AddressRange(address(first), address(last))
    if result.count < 1:
        raise Unreadable(f"{text!r} ends before it begins", f"write {result.last}-{result.first}")
    return result


def port_range(value: str | float) -> PortRange:
    """Read a port or ``first-last``.

    Raises:
        Unreadable: it is neither.

    """
    text = str(value)
    first, dash, last = (part.strip() for part in text.partition("-"))
    ports = [first, last] if dash else [first]
    if not all(p.isascii() and p.isdigit() and len(p) <= 5 and int(p) <= MAX_PORT for p in ports):  # noqa: PLR2004
        raise Unreadable(f"{text!r} is no range of ports", "write one such as 1024-65535")
    result = PortRange(int(ports[0]), int(ports[-1]))
    if result.first > result.last:
        raise Unreadable(f"{text!r} ends before it begins", f"write {last}-{first}")
    return result


@dataclass(frozen=True, slots=True)
class StaticSide:
    """One side of a static mapping: a prefix, or an address with a port."""

    network: IPv4Network
    port: int | None


def static_side(text: str) -> StaticSide:
    """Read an address, a prefix or ``address:port``.

    Raises:
        Unreadable: it is none of them.

    """
    head, colon, tail = text.partition(":")
    if not colon or ":" in tail:
        return StaticSide(prefix(text), None)
    where = IPv4Network(address(head))
    ports = port_range(tail)
    if ports.first != ports.last or ports.first == 0:
        raise Unreadable(f"{tail!r} is no port", "write a port from 1 to 65535")
    return StaticSide(where, ports.first)


def interface_address(name: str) -> IPv4Address:
    """Return the IPv4 address of a network interface of this machine.

    Raises:
        Unreadable: there is no such interface, or it has no IPv4 address.

    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            answer = fcntl.ioctl(sock, _SIOCGIFADDR, struct.pack(_IFREQ, name.encode()))
        except OSError:
            raise Unreadable(
                f"interface {name!r} has no IPv4 address on this machine",
                "create and address it first, or write the address itself",
            ) from None
    return IPv4Address(answer[20:24])
