# SPDX-License-Identifier: Apache-2.0
"""A VPP that is measured: on two cores, with interfaces that the packet generator feeds."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from hashmvt.bench.vpp.traffic import interface_mac, neighbor_mac
from hashmvt.private_vpp import PrivateVpp, VppError

if TYPE_CHECKING:
    from collections.abc import Callable

WORKER = "vpp_wk_0"
BUFFERS = 16384
BUFFERS_BYTES = BUFFERS * 2560
SMALL_PAGE = "4k"
_HUGE_KB = {"2m": 2 << 10, "1g": 1 << 20}
_RESIDENT = re.compile(r"^(?:Rss|Shared_Hugetlb|Private_Hugetlb):\s+(\d+) kB", re.MULTILINE)
_USED = re.compile(r"used: ([\d.]+)([KMG]?)", re.IGNORECASE)
_POPULATED = re.compile(r"page-size (\d+)([KMG]), .*?populated (\d+)", re.IGNORECASE)
_UNIT = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def free_huge(page: str) -> int:
    """Return how many huge pages of a size (``2m`` or ``1g``) are free."""
    path = Path(f"/sys/kernel/mm/hugepages/hugepages-{_HUGE_KB[page]}kB/free_hugepages")
    try:
        return int(path.read_text(encoding="ascii"))
    except OSError:
        return 0


def huge_pages(size: int, page: str) -> int:
    """Return how many huge pages hold so many bytes."""
    return -(-size // (_HUGE_KB[page] << 10))


def buffer_page() -> str:
    """Return the page size that packet buffers get here: 2 MiB where enough of them are free."""
    return "2m" if free_huge("2m") >= huge_pages(BUFFERS_BYTES, "2m") else SMALL_PAGE


class Vpp(PrivateVpp):
    """One VPP with one worker."""

    patience_s: ClassVar[float] = 240.0

    def make_interfaces(self) -> None:
        """Make ``pg0`` (inside) and ``pg1`` (outside), each with one neighbour, and the routes."""
        for number, network, prefix in (
            (0, "192.0.2", "10.0.0.0/8"),
            (1, "203.0.113", "0.0.0.0/0"),
        ):
            name, neighbor = f"pg{number}", f"{network}.2"
            self.cli(f"create packet-generator interface {name}")
            self.do(
                f"set interface mac address {name} {_mac(interface_mac(number))}",
                f"set interface ip address {name} {network}.1/24",
                f"set interface state {name} up",
                f"set ip neighbor {name} {neighbor} {_mac(neighbor_mac(number))}",
                f"ip route add {prefix} via {neighbor} {name}",
            )

    def used_bytes(self) -> int:
        """Return the memory that VPP uses: what is allocated in its heap, and what is resident
        outside of it.

        The heap keeps pages that starting up has touched and freed, so its residence says little.
        """
        # first, since the command itself makes pages of the heap resident: 8 bytes for each page
        heap = read_heap(self.cli("show memory main-heap"))
        # exact, where the counters of /proc/PID/status lag behind
        rollup = Path(f"/proc/{self.pid}/smaps_rollup").read_text(encoding="ascii")
        return heap.used_bytes + read_resident(rollup) - heap.resident_bytes

    def kept_waiting_s(self) -> float:
        """Return how long the worker was ready to run while others had its core, since it started.

        A worker always has something to do, so this is time that VPP counts as its nodes' own.
        """
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            if (task / "comm").read_text(encoding="utf-8").strip() == WORKER:
                return int((task / "schedstat").read_text(encoding="ascii").split()[1]) / 1e9
        raise VppError("VPP has no worker")

    def is_sending(self, stream: str) -> bool:
        """Is a stream of the packet generator enabled?

        Raises:
            VppError: it is not there.

        """
        for line in self.cli("show packet-generator").splitlines():
            words = line.split()
            if words[:1] == [stream]:
                return words[1] == "Yes"
        raise VppError(f"VPP lost the stream {stream}")

    def wait(self, what: str, check: Callable[[], bool], patience_s: float) -> None:
        """Wait until ``check`` holds.

        Raises:
            VppError: it did not, or VPP is gone.

        """
        end = time.monotonic() + patience_s
        while not check():
            if time.monotonic() > end:
                raise VppError(f"{what} took more than {patience_s:.0f} s")
            time.sleep(0.02)


@dataclass(frozen=True, slots=True)
class Heap:
    """VPP's main heap."""

    used_bytes: int
    resident_bytes: int


def read_heap(text: str) -> Heap:
    """Read ``show memory main-heap``.

    Raises:
        VppError: it is of another form.

    """
    used, pages = _USED.search(text), _POPULATED.search(text)
    if used is None or pages is None:
        raise VppError(f"VPP does not tell what its heap uses: {text}")
    page = int(pages[1]) * _UNIT[pages[2].upper()]
    return Heap(int(float(used[1]) * _UNIT[used[2].upper()]), page * int(pages[3]))


def read_resident(rollup: str) -> int:
    """Return the resident bytes of ``/proc/PID/smaps_rollup``, huge pages with them."""
    return sum(int(size) << 10 for size in _RESIDENT.findall(rollup))


def _mac(address: bytes) -> str:
    return ":".join(f"{byte:02x}" for byte in address)
