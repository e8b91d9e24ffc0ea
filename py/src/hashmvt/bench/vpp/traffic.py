# SPDX-License-Identifier: Apache-2.0
"""Frames of 64 bytes (60 without the Ethernet checksum) as capture files that VPP replays.

A flow is an inside endpoint and a remote. Flow ``i`` belongs to host ``i % hosts``, so flows in
order visit one host after the other. Ports and remotes vary: NATs that may use an external port
once for each remote have room, which is to their advantage. Every frame has the same length, so a
capture is one array of records: an order is an index into it, a reply swaps its fields, and no
checksum changes by either.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from enum import IntFlag
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from hashmvt.errors import HashMvtError
from hashmvt.model import Proto

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Frames: TypeAlias = NDArray[np.void]
    Order: TypeAlias = NDArray[np.intp]

INSIDE = IPv4Network("10.0.0.0/8")
REMOTES = IPv4Network("198.18.0.0/15")
SERVICE_PORT = 80
FIRST_PORT, PORTS = 1024, 64512
FLOWS_PER_REMOTE = 4096
MIN_REMOTES = 64
MAX_FLOWS = 1 << 24

_IP_PROTOCOL = {Proto.UDP: socket.IPPROTO_UDP, Proto.TCP: socket.IPPROTO_TCP}
_TTL = 64
_PORT_STRIDE = 7919
_FRAME_BYTES = 60
_CAPTURE_HEAD = np.dtype(
    [("magic", "<u4"), ("version", "<u2", 2), ("zone", "<u4", 2), ("kept", "<u4"), ("link", "<u4")]
)
_MAGIC, _ETHERNET = 0xA1B2C3D4, 1
_FRAME = np.dtype(
    [
        ("time", "<u4", 2),
        ("kept", "<u4"),
        ("length", "<u4"),
        ("eth_dst", "u1", 6),
        ("eth_src", "u1", 6),
        ("eth_type", ">u2"),
        ("ip_head", ">u2", 5),  # up to the checksum: all but addresses
        ("ip_sum", ">u2"),
        ("src", ">u4"),
        ("dst", ">u4"),
        ("sport", ">u2"),
        ("dport", ">u2"),
        ("rest", ">u2", 11),  # of UDP or TCP, and payload
    ]
)


class TcpFlags(IntFlag):
    """Of a TCP header."""

    SYN = 0x02
    ACK = 0x10


class TrafficError(HashMvtError):
    """What came out of VPP is not what its NAT should have made."""


@dataclass(frozen=True, slots=True)
class Flows:
    """How many flows, of how many hosts."""

    count: int
    proto: Proto
    ports_per_host: int
    """Flows of each host."""
    sessions: int = 1
    """Flows that share an inside endpoint, each with a remote of its own."""

    @property
    def hosts(self) -> int:
        """Inside addresses."""
        return -(-self.count // self.ports_per_host)

    @property
    def remotes(self) -> int:
        """Outside addresses that they talk to."""
        return max(MIN_REMOTES, -(-self.count // FLOWS_PER_REMOTE))

    @property
    def mappings(self) -> int:
        """Inside endpoints."""
        whole, rest = divmod(self.count, self.hosts * self.sessions)
        return whole * self.hosts + min(rest, self.hosts)


def interface_mac(number: int) -> bytes:
    """Return the address of interface ``pgN``."""
    return bytes([0x02, 0xFE, 0, 0, 0, number])


def neighbor_mac(number: int) -> bytes:
    """Return the address of whoever is behind interface ``pgN``."""
    return bytes([0x02, 0xAA, 0, 0, 0, number])


def requests(
    flows: Flows,
    *,
    first: int = 0,
    count: int | None = None,
    tcp: TcpFlags = TcpFlags.ACK,
    remotes: int | None = None,
) -> Frames:
    """Return a frame of each flow from ``first`` on, as the inside sends it into ``pg0``.

    ``remotes``: how many they talk to, if other than usual.
    """
    turn, host = np.divmod(
        np.arange(first, first + (flows.count if count is None else count)), flows.hosts
    )
    frames = np.zeros(len(host), _FRAME)
    frames["kept"] = frames["length"] = _FRAME_BYTES
    frames["eth_dst"] = np.frombuffer(interface_mac(0), "u1")
    frames["eth_src"] = np.frombuffer(neighbor_mac(0), "u1")
    frames["eth_type"] = 0x0800
    frames["ip_head"] = (0x4500, _FRAME_BYTES - 14, 0, 0, 0)
    frames["src"] = int(INSIDE.network_address) + host
    frames["dst"] = int(REMOTES.network_address) + 1 + (host + turn) % (remotes or flows.remotes)
    frames["sport"] = FIRST_PORT + (host * _PORT_STRIDE + turn // flows.sessions) % PORTS
    frames["dport"] = SERVICE_PORT
    _finish(frames, flows.proto, tcp)
    return frames


def replies(seen: Frames, proto: Proto, tcp: TcpFlags = TcpFlags.ACK) -> Frames:
    """Return the remotes' answers to frames that came out of ``pg1``, in the same order."""
    frames = seen.copy()
    for here, there in (("src", "dst"), ("sport", "dport")):
        frames[here], frames[there] = seen[there], seen[here]
    frames["eth_dst"] = np.frombuffer(interface_mac(1), "u1")
    frames["eth_src"] = np.frombuffer(neighbor_mac(1), "u1")
    _finish(frames, proto, tcp)
    return frames


def shuffled(count: int, seed: int) -> Order:
    """Return a random order of ``count`` flows: each once, then again in the same order."""
    return np.random.default_rng(seed).permutation(count)


def check_translation(seen: Frames, flows: Flows, pool: tuple[IPv4Address, IPv4Address]) -> None:
    """Check that every flow came out of ``pg1`` with an external endpoint of its own.

    Raises:
        TrafficError: it did not, with what is wrong.

    """
    if len(seen) != flows.count:
        raise TrafficError(f"{flows.count - len(seen)} of {flows.count} flows did not come out")
    source = seen["src"].astype(np.int64)
    outside = np.count_nonzero((source < int(pool[0])) | (source > int(pool[1])))
    if outside:
        raise TrafficError(f"{outside} of {flows.count} flows came out untranslated")
    whole = np.stack([source << 16 | seen["sport"], seen["dst"].astype(np.int64)], axis=1)
    shared = flows.count - len(np.unique(whole, axis=0))
    if shared:
        raise TrafficError(f"{shared} of {flows.count} flows share external endpoint and remote")


def write(path: Path, frames: Frames) -> None:
    """Write a capture.

    Raises:
        TrafficError: there is no room for it.

    """
    head = np.array([(_MAGIC, (2, 4), (0, 0), 0xFFFF, _ETHERNET)], _CAPTURE_HEAD)
    try:
        with path.open("wb") as file:
            head.tofile(file)
            frames.tofile(file)
    except OSError as error:  # numpy's own, without a number
        raise TrafficError(
            f"{path.parent}: no room for {frames.nbytes >> 20:,} MiB of packets; "
            "set TMPDIR to a folder with more"
        ) from error


def read(path: Path) -> Frames:
    """Return the frames of a capture that VPP wrote.

    Raises:
        TrafficError: they are not of the length that was sent.

    """
    if not path.exists():
        return np.zeros(0, _FRAME)
    body = path.read_bytes()[_CAPTURE_HEAD.itemsize :]
    frames = np.frombuffer(body, _FRAME, len(body) // _FRAME.itemsize)
    if (frames["kept"] != _FRAME_BYTES).any():
        raise TrafficError("VPP sent frames of another length than it got")
    return frames


def _finish(frames: Frames, proto: Proto, tcp: TcpFlags) -> None:
    """Fill in what is the same in every frame of a kind, and the checksums."""
    frames["time"] = 0
    frames["ip_head"][:, 4] = _TTL << 8 | _IP_PROTOCOL[proto]
    frames["rest"] = 0
    segment = _FRAME_BYTES - 34
    if proto is Proto.UDP:
        sum_at = 1
        frames["rest"][:, 0] = segment
    else:
        sum_at = 6
        frames["rest"][:, 1] = frames["rest"][:, 3] = 1  # sequence numbers
        frames["rest"][:, 4:6] = (0x5000 | tcp, 0xFFFF)
    address = _words(frames["src"]) + _words(frames["dst"])
    frames["ip_sum"] = _folded(frames["ip_head"].astype(np.uint32).sum(axis=1) + address)
    rest = frames["rest"].astype(np.uint32).sum(axis=1)
    ports = frames["sport"].astype(np.uint32) + frames["dport"]
    frames["rest"][:, sum_at] = _folded(rest + ports + address + segment + _IP_PROTOCOL[proto])


def _words(address: NDArray[Any]) -> NDArray[np.uint32]:
    """Return the sum of the halves of each address."""
    return ((address >> 16) + (address & 0xFFFF)).astype(np.uint32)


def _folded(total: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return the Internet checksum (RFC 1071) of sums of 16 bits; never 0, which UDP gives away."""
    for _ in range(2):
        total = (total & 0xFFFF) + (total >> 16)
    inverted = ~total & 0xFFFF
    return np.where(inverted, inverted, 0xFFFF).astype(np.uint32)
