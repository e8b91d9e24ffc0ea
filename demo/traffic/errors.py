# SPDX-License-Identifier: Apache-2.0
"""ICMP errors as a program gets them: from its own socket's error queue (ip(7), IP_RECVERR).

That the kernel finds the socket at all shows that the packet quoted in the error was translated
back: it is matched by the quoted source endpoint.
"""

from __future__ import annotations

import select
import socket
import struct
from dataclasses import dataclass

IP_RECVERR = 11
ORIGIN_ICMP = 2
TTL_EXCEEDED = (11, 0)
PORT_UNREACHABLE = (3, 3)
_EXTENDED = struct.Struct("=IBBBBII")


@dataclass(frozen=True, slots=True)
class IcmpError:
    """One error."""

    kind: tuple[int, int]
    """ICMP type and code."""
    offender: str
    """Who sent it."""


def probe(address: str, target: tuple[str, int], ttl: int, timeout_s: float) -> IcmpError | None:
    """Send a datagram from ``address`` with this TTL; the error it causes, or None for none."""
    payload = f"probe {address} ttl {ttl}".encode()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((address, 0))
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
        sock.sendto(payload, target)
        poll = select.poll()
        poll.register(sock, select.POLLERR)
        if not poll.poll(timeout_s * 1000):
            return None
        data, ancillary, _, name = sock.recvmsg(2048, 512, socket.MSG_ERRQUEUE)
    if data != payload or name != target:
        return None
    for level, kind, body in ancillary:
        if (level, kind) == (socket.IPPROTO_IP, IP_RECVERR):
            _, origin, icmp_type, code, _, _, _ = _EXTENDED.unpack_from(body)
            if origin == ORIGIN_ICMP:
                offender = socket.inet_ntoa(body[_EXTENDED.size + 4 : _EXTENDED.size + 8])
                return IcmpError((icmp_type, code), offender)
    return None
