# SPDX-License-Identifier: Apache-2.0
"""The exceptions of HashMVT.

    HashMvtError
    ├── ConfigError            the configuration is wrong; nothing was started or changed
    └── DataplaneError         a dataplane did not do what it was asked
        ├── Unavailable        it cannot be reached now; the same call may succeed later
        ├── Rejected           it understood and refused; carries the core's error code
        ├── Unsupported        this kind of dataplane cannot do that (see its capabilities)
        └── ProtocolError      the other side sent something that makes no sense

Every message is one sentence for people and says what to do where that is known. Only the
coordinator retries, and only ``Unavailable``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from hashmvt.names import ErrorCode


class HashMvtError(Exception):
    """Base of everything that HashMVT raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with (or doubtful in) a configuration file."""

    path: Path
    """The file."""
    line: int
    """Line in the file, from 1; 0 when the file as a whole is meant."""
    reason: str
    """What is wrong."""
    remedy: str = ""
    """What to write instead; empty when the reason says it."""

    def __str__(self) -> str:
        """``file:line: reason; remedy``."""
        where = f"{self.path}:{self.line}" if self.line else f"{self.path}"
        return f"{where}: {self.reason}" + (f"; {self.remedy}" if self.remedy else "")


class ConfigError(HashMvtError):
    """A configuration is wrong: every problem found, the first one in the message."""

    def __init__(self, path: Path, problems: tuple[Problem, ...]) -> None:
        """Make an error about ``path``; there must be at least one problem."""
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(f"{problems[0]}{more}")
        self.path = path
        self.problems = problems


class DataplaneError(HashMvtError):
    """A dataplane did not do what it was asked."""


class Unavailable(DataplaneError):  # noqa: N818 - reads as the state it reports
    """The dataplane cannot be reached now; the same call may succeed later."""


class Rejected(DataplaneError):  # noqa: N818
    """The dataplane refused; nothing was changed."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        """Refuse with the core's ``code`` and one sentence."""
        super().__init__(message)
        self.code = code


class Unsupported(DataplaneError):  # noqa: N818
    """This kind of dataplane cannot do that; its capabilities say so."""


class ProtocolError(DataplaneError):
    """The other side sent something that makes no sense."""
