# SPDX-License-Identifier: Apache-2.0
"""A section of a document, read key by key with defaults; knows where each key stands.

The schema has been applied before: a key that it refused reads as absent (its default), and
``refused`` says so to checks that would otherwise report a consequence as a second mistake.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hashmvt.config.structure import spell
from hashmvt.errors import Problem

if TYPE_CHECKING:
    from pathlib import Path

    from hashmvt.config.yamlfile import Document, Key, Value

_MAX_PORT = 65535


@dataclass(slots=True)
class Section:
    """A map of a document, or an absent one; the root has an empty key."""

    document: Document
    path: Path
    problems: list[Problem]
    warnings: list[Problem]
    key: Key = ()
    _refused: set[Key] = field(default_factory=set)

    # ---- problems ----

    def problem(self, key: Key, reason: str, remedy: str = "") -> None:
        """Report an error at an absolute key."""
        self.problems.append(Problem(self.path, self.document.line(key), reason, remedy))

    def problem_at(self, name: str, reason: str, remedy: str = "") -> None:
        """Report an error at a key of this section."""
        self.problem((*self.key, name), reason, remedy)

    def warn_at(self, name: str, reason: str, remedy: str = "") -> None:
        """Report something doubtful at a key of this section."""
        self.warn((*self.key, name), reason, remedy)

    def warn(self, key: Key, reason: str, remedy: str = "") -> None:
        """Report something doubtful at an absolute key."""
        self.warnings.append(Problem(self.path, self.document.line(key), reason, remedy))

    def refuse(self, key: Key) -> None:
        """Mark a key: it and what is in it read as absent."""
        self._refused.add(key)

    def refused(self, *names: str | int) -> bool:
        """Say whether something at or below a key of this section was refused."""
        key = (*self.key, *names)
        return any(bad[: len(key)] == key for bad in self._refused)

    # ---- values ----

    def sub(self, *names: str | int) -> Section:
        """Return a section below; an absent one reads as empty."""
        return Section(
            self.document,
            self.path,
            self.problems,
            self.warnings,
            (*self.key, *names),
            self._refused,
        )

    def has(self, name: str) -> bool:
        """Say whether a key stands in the file and was not refused itself."""
        return self.get(name) is not None

    def get(self, name: str | int) -> Value:
        """Return a value; None when it is absent or refused."""
        value: Value = self.document.root
        key: Key = ()
        for part in (*self.key, name):
            key = (*key, part)
            if key in self._refused:
                return None
            if isinstance(value, dict):
                value = value.get(str(part))
            elif isinstance(value, list) and isinstance(part, int) and part < len(value):
                value = value[part]
            else:
                return None
        return value

    def word(self, name: str, default: str) -> str:
        """Return a word."""
        value = self.get(name)
        return value if isinstance(value, str) else default

    def whole(self, name: str, default: int) -> int:
        """Return a whole number (5.0 is one, as in the schema)."""
        value = self.get(name)
        return int(value) if isinstance(value, int | float) else default

    def number(self, name: str, default: float) -> float:
        """Return a number."""
        value = self.get(name)
        return float(value) if isinstance(value, int | float) else default

    def flag(self, name: str, *, default: bool) -> bool:
        """Return true or false."""
        value = self.get(name)
        return value if isinstance(value, bool) else default

    def items(self, name: str) -> list[tuple[Key, Value]]:
        """Return a list's values and their absolute keys; a single value is a list of one."""
        value = self.get(name)
        key = (*self.key, name)
        if value is None:
            return []
        if not isinstance(value, list):
            return [(key, value)]
        return [((*key, i), item) for i, item in enumerate(value) if (*key, i) not in self._refused]

    def words(self, name: str) -> tuple[str, ...]:
        """Return a list of words."""
        return tuple(value for _, value in self.items(name) if isinstance(value, str))

    def socket(self, name: str, default: str) -> str:
        """Return ``address:port``, with the port checked."""
        value = self.word(name, default)
        if value and int(value.rsplit(":", 1)[1]) not in range(1, _MAX_PORT + 1):
            self.problem_at(name, f"{value!r} has no port from 1 to {_MAX_PORT}")
        return value

    def not_built(self, name: str, value: str, instead: str) -> None:
        """Report a value that the configuration language has and this version cannot do yet."""
        if self.get(name) == value:
            self.problem_at(
                name,
                f"{spell((*self.key, name))}: {value} is not available in this version",
                f"write {instead}",
            )
