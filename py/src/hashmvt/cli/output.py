# SPDX-License-Identifier: Apache-2.0
"""How commands write: short aligned tables for people, stable JSON for programs.

JSON objects are made here from plain values only; their keys are documented in docs/cli.md.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

_KILO = 1000
_KIBI = 1024
_HOUR, _DAY = 3600, 86400


def write_json(value: Json) -> None:
    """Write one JSON document; indented on a terminal, one line in a pipe."""
    click.echo(json.dumps(value, indent=2 if sys.stdout.isatty() else None))


def write_json_line(value: Json) -> None:
    """Write one JSON document on a line of its own, at once."""
    click.echo(json.dumps(value))
    sys.stdout.flush()


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: numbers stand right, words left."""

    title: str
    right: bool = True


def table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> str:
    """Return an aligned table with a head line; only the head when there are no rows."""
    cells = [[column.title for column in columns], *(list(row) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    lines = []
    for row in cells:
        padded = [
            cell.rjust(width) if column.right else cell.ljust(width)
            for cell, width, column in zip(row, widths, columns, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def number(value: float) -> str:
    """Return a count for people: ``1,234``, then ``12.3k``, ``4.56M``, ``7.89G``."""
    if value < 10 * _KILO:
        return f"{value:,.0f}"
    for unit in ("k", "M", "G", "T"):
        value /= _KILO
        if value < _KILO or unit == "T":
            break
    digits = 0 if value >= 100 else 1 if value >= 10 else 2  # noqa: PLR2004
    return f"{value:.{digits}f}{unit}"


def size(value: float) -> str:
    """Return bytes for people: ``64 B``, ``3.2 MiB``."""
    if value < _KIBI:
        return f"{value:.0f} B"
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        value /= _KIBI
        if value < _KIBI or unit == "TiB":
            break
    return f"{value:.{0 if value >= 100 else 1}f} {unit}"  # noqa: PLR2004


def duration(seconds: int | None) -> str:
    """Return seconds for people: ``45s``, ``12m05s``, ``2h04m``, ``3d02h``; ``-`` for never."""
    if seconds is None:
        return "-"
    minutes = seconds // 60
    if seconds < 60:  # noqa: PLR2004
        return f"{seconds}s"
    if seconds < _HOUR:
        return f"{minutes}m{seconds % 60:02}s"
    if seconds < _DAY:
        return f"{seconds // _HOUR}h{minutes % 60:02}m"
    return f"{seconds // _DAY}d{seconds % _DAY // _HOUR:02}h"


def percent(share: float | None) -> str:
    """Return a share for people; ``-`` when it is unknown."""
    return "-" if share is None else f"{share * 100:.0f}%"


def plural(count: int, one: str, many: str = "") -> str:
    """Return ``1 mapping`` or ``2 mappings``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
