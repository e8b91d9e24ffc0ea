# SPDX-License-Identifier: Apache-2.0
"""Reads tests/vectors; docs/vectors.md describes the language."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from hashmvt.model import Direction, Verdict
from tests.py.vectors.packets import ICMP, TCP, Patch, Spec

if TYPE_CHECKING:
    from pathlib import Path

PROTOCOLS = {
    "icmp": 1,
    "igmp": 2,
    "ipip": 4,
    "tcp": 6,
    "udp": 17,
    "dccp": 33,
    "gre": 47,
    "esp": 50,
    "ah": 51,
    "ospf": 89,
    "sctp": 132,
    "udplite": 136,
}
ICMP_TYPES = {
    "echo-reply": 0,
    "unreachable": 3,
    "source-quench": 4,
    "redirect": 5,
    "echo": 8,
    "router-advertisement": 9,
    "time-exceeded": 11,
    "parameter": 12,
    "timestamp": 13,
    "timestamp-reply": 14,
    "info": 15,
    "info-reply": 16,
    "mask": 17,
    "mask-reply": 18,
}
TCP_FLAGS = {"fin": 1, "syn": 2, "rst": 4, "psh": 8, "ack": 16, "urg": 32}
_NUMBERS = (
    *("payload", "fill", "options", "id", "ttl", "code", "rest", "wrong", "keep", "tail"),
    *("truncate", "cut", "piece"),
)
_MARKS = {"df": "df", "no-checksum": "no_checksum", "reverse": "reverse"}


@dataclass(frozen=True, slots=True)
class Variable:
    """A name that stands for a number."""

    name: str


Term = int | Variable


@dataclass(frozen=True, slots=True)
class End:
    """One end of a packet."""

    addr: Term
    port: Term | None


@dataclass(frozen=True, slots=True)
class Ends:
    """Source and destination."""

    src: End
    dst: End


@dataclass(frozen=True, slots=True)
class Want:
    """What is expected of a packet."""

    verdict: Verdict
    reason: str = ""
    side: str = ""
    ends: Ends | None = None
    about: Ends | None = None


@dataclass(frozen=True, slots=True)
class PacketStep:
    """A packet, and its fate."""

    line: int
    direction: Direction
    spec: Spec
    ends: tuple[Ends, ...]
    want: Want | None = None


@dataclass(frozen=True, slots=True)
class LateStep:
    """A fragment that comes out of the store."""

    line: int
    want: Want


@dataclass(frozen=True, slots=True)
class WaitStep:
    """Time goes by."""

    line: int
    seconds: int


@dataclass(frozen=True, slots=True)
class CountStep:
    """A counter or gauge, summed over all instances."""

    line: int
    name: str
    value: int


@dataclass(frozen=True, slots=True)
class CompareStep:
    """A variable compared with others; "in" takes two."""

    line: int
    left: Term
    relation: str
    right: tuple[Term, ...]


Step = PacketStep | LateStep | WaitStep | CountStep | CompareStep


@dataclass(slots=True)
class Vector:
    """One vector, as it is read."""

    name: str
    file: str
    shows: str = ""
    instances: tuple[int, ...] = (1, 2, 4)
    config: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)


class Mistake(ValueError):  # noqa: N818 - it is the author's
    """A vector file says what it must not."""


class _Words:
    """The words of one line, taken one after the other."""

    def __init__(self, words: list[str]) -> None:
        self._words = words
        self._at = 0

    @property
    def more(self) -> bool:
        return self._at < len(self._words)

    def next(self) -> str:
        if not self.more:
            raise Mistake("the line ends too early")
        self._at += 1
        return self._words[self._at - 1]

    def accept(self, word: str) -> bool:
        found = self.more and self._words[self._at] == word
        self._at += found
        return found

    def number(self) -> int:
        return int(self.next(), 0)

    def rest(self) -> tuple[str, ...]:
        rest, self._at = tuple(self._words[self._at :]), len(self._words)
        return rest


def term(text: str) -> Term:
    """Return a number, an address as one, or a variable."""
    if text.startswith("$"):
        return Variable(text)
    return int(IPv4Address(text)) if "." in text else int(text, 0)


def end(text: str) -> End:
    """Return ``address[:port]``."""
    addr, colon, port = text.partition(":")
    return End(term(addr), term(port) if colon else None)


def _ends(words: _Words) -> Ends:
    src = end(words.next())
    if not words.accept(">"):
        raise Mistake("expected > between two endpoints")
    return Ends(src, end(words.next()))


def _packet(words: _Words) -> tuple[Spec, tuple[Ends, ...]]:
    word = words.next()
    if word == "raw":
        return Spec(0, raw=bytes.fromhex(words.next())), ()
    proto = words.number() if word == "ip" else PROTOCOLS[word]
    icmp_type = 0
    if proto == ICMP:
        word = words.next()
        icmp_type = words.number() if word == "type" else ICMP_TYPES[word]
    spec = Spec(proto, icmp_type=icmp_type)
    ends: tuple[Ends, ...] = (_ends(words),)
    while words.more:
        word = words.next()
        if word == "about":
            about, inner = _packet(words)
            spec, ends = replace(spec, about=about), ends + inner
        else:
            spec = _attribute(spec, word, words)
    return spec, ends


def _attribute(spec: Spec, word: str, words: _Words) -> Spec:
    if word in _NUMBERS:
        return replace(spec, **{word: words.number()})  # type: ignore[arg-type]
    if word in _MARKS:
        return replace(spec, **{_MARKS[word]: True})  # type: ignore[arg-type]
    if word in ("zero-sum-in", "zero-sum-out"):
        return replace(spec, zero_sum=word.removeprefix("zero-sum-"))
    if word in ("set", "spoil"):
        patch = Patch(words.number(), bytes.fromhex(words.next()), spoil=word == "spoil")
        return replace(spec, patches=(*spec.patches, patch))
    if spec.proto == TCP and word in TCP_FLAGS:
        return replace(spec, flags=spec.flags | TCP_FLAGS[word])
    raise Mistake(f"unknown word in a packet: {word}")


def _want(words: _Words) -> Want:
    if words.accept("held"):
        return Want(Verdict.HELD)
    for word, verdict in (("dropped", Verdict.DROPPED), ("passed", Verdict.PASSED)):
        if words.accept(word):
            return Want(verdict, reason=words.next())
    side = "inside" if words.accept("inside") else "outside" if words.accept("outside") else ""
    ends = _ends(words)
    about = _ends(words) if words.accept("about") else None
    return Want(Verdict.TRANSLATED, side=side, ends=ends, about=about)


def _expect(line: int, words: _Words) -> Step:
    word = words.next()
    if not word.startswith("$"):
        return CountStep(line, word, words.number())
    relation = words.next()
    right = words.next().split("-") if relation == "in" else [words.next()]
    if relation not in ("in", "=", "!="):
        raise Mistake(f"expected =, != or in, not {relation}")
    return CompareStep(line, term(word), relation, tuple(term(text) for text in right))


def _line(  # noqa: C901 - one case for each kind of line
    vector: Vector, number: int, word: str, words: _Words
) -> None:
    steps = vector.steps
    match word:
        case "shows":
            vector.shows = " ".join(words.rest())
        case "instances":
            vector.instances = tuple(int(text) for text in words.rest())
        case "config":
            vector.config.append((words.next(), words.rest()))
        case "wait":
            steps.append(WaitStep(number, words.number()))
        case "expect":
            steps.append(_expect(number, words))
        case "in2out" | "out2in":
            spec, ends = _packet(words)
            steps.append(PacketStep(number, Direction[word.upper()], spec, ends))
        case "late":
            if not words.accept("=>"):
                raise Mistake("expected => after late")
            steps.append(LateStep(number, _want(words)))
        case "=>":
            last = steps[-1] if steps else None
            if not isinstance(last, PacketStep) or last.want:
                raise Mistake("=> belongs to the packet on the line above")
            steps[-1] = replace(last, want=_want(words))
        case _:
            raise Mistake(f"unknown line: {word}")


def read(path: Path) -> list[Vector]:
    """Return the vectors of one file.

    Raises:
        Mistake: with file and line.

    """
    vectors: list[Vector] = []
    for number, text in enumerate(path.read_text().splitlines(), 1):
        words = _Words(text.partition("#")[0].split())
        if not words.more:
            continue
        try:
            word = words.next()
            if word == "vector":
                vectors.append(Vector(words.next(), path.name))
            elif not vectors:
                raise Mistake("a file begins with a vector")
            else:
                _line(vectors[-1], number, word, words)
            if words.more:
                raise Mistake("words left over at the end of the line")
        except (Mistake, KeyError, ValueError) as error:
            raise Mistake(f"{path}:{number}: {error}") from error
    return vectors
