# SPDX-License-Identifier: Apache-2.0
"""What the variables of a vector stand for while it runs, wherever it runs."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.py.vectors.language import CompareStep, Ends, Term, Variable
from tests.py.vectors.packets import ICMP, Flow, Spec


@dataclass(slots=True, kw_only=True)
class Values:
    """Variables and their values."""

    values: dict[str, int] = field(default_factory=dict)

    def value(self, term: Term | None) -> int:
        """Return what a term stands for; nothing is 0."""
        if isinstance(term, Variable):
            assert term.name in self.values, f"{term.name} has no value yet"
            return self.values[term.name]
        return term or 0

    def flow(self, spec: Spec, ends: Ends) -> Flow:
        """Return endpoints as numbers."""
        sport, dport = ends.src.port, ends.dst.port
        if spec.proto == ICMP:
            sport = dport = dport if sport is None else sport
        return Flow(
            self.value(ends.src.addr),
            self.value(ends.dst.addr),
            self.value(sport),
            self.value(dport),
        )

    def flows(self, spec: Spec, ends: tuple[Ends, ...]) -> list[Flow]:
        """Return those of a packet and of what it embeds."""
        flows: list[Flow] = []
        one: Spec | None = spec
        for pair in ends:
            assert one is not None
            flows.append(self.flow(one, pair))
            one = one.about
        return flows

    def bind(self, ends: Ends, packet: bytes, *, has_ports: bool) -> None:
        """Give variables without value the one that the packet has in their place."""
        at = (packet[0] & 15) * 4
        sport = at + 4 if packet[9] == ICMP else at
        dport = sport if packet[9] == ICMP else at + 2
        places = [(ends.src.addr, 12, 4), (ends.dst.addr, 16, 4)]
        if has_ports:
            places += [
                (port, place, 2)
                for port, place in ((ends.src.port, sport), (ends.dst.port, dport))
                if port is not None and place + 2 <= len(packet)
            ]
        for term, place, size in places:
            if isinstance(term, Variable):
                self.values.setdefault(term.name, int.from_bytes(packet[place : place + size]))

    def compare(self, step: CompareStep) -> None:
        """Compare variables."""
        left, right = self.value(step.left), [self.value(term) for term in step.right]
        match step.relation:
            case "=":
                assert left == right[0]
            case "!=":
                assert left != right[0]
            case _:
                assert right[0] <= left <= right[1]
