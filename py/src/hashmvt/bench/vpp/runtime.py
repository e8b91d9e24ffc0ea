# SPDX-License-Identifier: Apache-2.0
"""What VPP counted: ``show runtime`` of one thread, and the counters of ``show errors``.

VPP divides a node's clocks by its packets, or by its calls where it saw none; here they are
multiplied again, so that housekeeping nodes count for what they took.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hashmvt.errors import HashMvtError

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

INPUT = "pg-input"

_THREAD = re.compile(r"^Thread \d+ (\S+)")
_RATES = re.compile(r"vector rates in (?P<in>[^,\s]+),")
_NODE = re.compile(
    r"^(?P<name>\S+)\s+(?P<state>\S.*?)\s+(?P<calls>\d+)\s+(?P<vectors>\d+)\s+\d+\s+"
    r"(?P<clocks>\d\.\d+e[+-]?\d+)\s+(?P<size>\S+)$"
)
_COUNTER = re.compile(r"^\s*(?P<count>\d+)\s+(?P<node>\S+)\s+(?P<text>.*?)\s+(?P<severity>\S+)\s*$")


class RuntimeTextError(HashMvtError):
    """VPP's text is not of the form that is known."""


@dataclass(frozen=True, slots=True)
class Node:
    """What one node did."""

    calls: int
    packets: int
    clocks: float
    """In all."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """What a thread did since its counters were cleared."""

    nodes: dict[str, Node]
    in_per_second: float

    @property
    def packets(self) -> int:
        """Packets that came in."""
        found = self.nodes.get(INPUT)
        return found.packets if found else 0

    def sent(self, node: str) -> int:
        """Return the packets that reached a node."""
        found = self.nodes.get(node)
        return found.packets if found else 0

    def mpps(self, packets: int) -> float:
        """Return how many million a second so many packets were."""
        return self.in_per_second * packets / self.packets / 1e6 if self.packets else 0.0

    def added(self, plain: AbstractSet[str], *, busy_only: bool = False) -> dict[str, float]:
        """Return the clocks per incoming packet of each node that plain routing does not have.

        ``busy_only`` leaves out nodes that saw no packet, for runs that were idle most of the time.
        """
        return {
            name: node.clocks / self.packets
            for name, node in sorted(self.nodes.items(), key=lambda item: -item[1].clocks)
            if name not in plain and (node.packets or not busy_only)
        }

    def busy_clocks(self) -> float:
        """Return the clocks of all nodes that saw packets."""
        return sum(node.clocks for node in self.nodes.values() if node.packets)


def read_runtime(text: str, thread: str) -> Runtime:
    """Read one thread's part of ``show runtime``.

    Raises:
        RuntimeTextError: the thread is not there, or its lines are of another form.

    """
    lines = iter(text.splitlines())
    for line in lines:
        found = _THREAD.match(line)
        if found and found[1] == thread:
            break
    else:
        raise RuntimeTextError(f"show runtime has no thread {thread}")
    nodes: dict[str, Node] = {}
    rates = None
    for line in lines:
        if _THREAD.match(line):
            break
        rates = rates or _RATES.search(line)
        found = _NODE.match(line.strip())
        if found:
            calls, packets = int(found["calls"]), int(found["vectors"])
            clocks = float(found["clocks"]) * (packets or calls)
            nodes[found["name"]] = Node(calls, packets, clocks)
    if rates is None:
        raise RuntimeTextError("show runtime has no vector rates")
    return Runtime(nodes, float(rates["in"]))


def read_errors(text: str) -> dict[str, int]:
    """Return the counters of severity ``error`` in ``show errors``: node and text, and how many."""
    counters: dict[str, int] = {}
    for line in text.splitlines():
        found = _COUNTER.match(line)
        if found and found["severity"] == "error":
            name = f"{found['node']}: {found['text']}"
            counters[name] = counters.get(name, 0) + int(found["count"])
    return counters


def worst_errors(before: dict[str, int], after: dict[str, int], most: int = 2) -> str:
    """Return the counters that grew most, as words for people."""
    grown = {name: count - before.get(name, 0) for name, count in after.items()}
    worst = sorted((item for item in grown.items() if item[1]), key=lambda item: -item[1])[:most]
    return ", ".join(f"{name} ({count})" for name, count in worst) or "no counter tells why"
