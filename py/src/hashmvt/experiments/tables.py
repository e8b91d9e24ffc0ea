# SPDX-License-Identifier: Apache-2.0
"""Routing tables as files: one prefix a line, what follows it (an origin AS) is not looked at.

Lines that are empty or begin with ``#`` or ``;`` are comments; gzip is recognised. IPv6 prefixes
are left out, and so is a prefix that came before.
"""

from __future__ import annotations

import gzip
import zlib
from array import array
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from hashmvt._ffi._bench import ffi
from hashmvt.errors import HashMvtError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hashmvt._ffi._mvt import CData

_GZIP = b"\x1f\x8b"
_BITS = 32


class TableError(HashMvtError):
    """A file is no routing table; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Table:
    """The IPv4 prefixes of a file, in its order, without repetition."""

    name: str
    prefixes: tuple[tuple[int, int], ...]
    """Address and length."""

    def to_c(self) -> CData:
        """Return them as ``mvt_prefix4_t[]``.

        A prefix is two words on the little-endian machines that the core is for: copied whole, a
        million takes a moment instead of seconds.
        """
        words = array("I", chain.from_iterable(self.prefixes))
        c: CData = ffi.new("mvt_prefix4_t[]", len(self.prefixes))
        ffi.memmove(c, words, len(words) * words.itemsize)
        return c


def read(path: Path) -> Table:
    """Read a routing table.

    Raises:
        OSError: the file cannot be read.
        TableError: it holds a line that is no prefix, or no IPv4 prefix at all.

    """
    seen: dict[tuple[int, int], None] = {}
    try:
        for number, line in enumerate(_lines(path), 1):
            text = line.strip()
            if not text or text[0] in "#;":
                continue
            word = text.split(None, 1)[0]
            if ":" in word:
                continue
            prefix = _prefix(word)
            if prefix is None:
                raise TableError(
                    f"{path}:{number}: {word[:40]!r} is no prefix such as 192.0.2.0/24"
                )
            seen[prefix] = None
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise TableError(f"{path}: is cut short or is no gzip file: fetch it again") from None
    if not seen:
        raise TableError(f"{path}: holds no IPv4 prefix")
    name = path.name.removesuffix(".gz")
    return Table(name.rsplit(".", 1)[0] or name, tuple(seen))


def _lines(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        magic = file.read(len(_GZIP))
        file.seek(0)
        with gzip.GzipFile(fileobj=file) if magic == _GZIP else file as source:
            for line in source:
                yield line.decode("ascii", "replace")


def _prefix(word: str) -> tuple[int, int] | None:
    """Return address and length with host bits cleared, None when it is no prefix."""
    dotted, slash, tail = word.partition("/")
    parts = dotted.split(".")
    if not slash or len(parts) != 4 or not all(map(_is_number, (*parts, tail))):  # noqa: PLR2004
        return None
    octets, length = [int(part) for part in parts], int(tail)
    if max(octets) > 255 or length > _BITS:  # noqa: PLR2004
        return None
    addr = int.from_bytes(bytes(octets), "big")
    return addr >> (_BITS - length) << (_BITS - length), length


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 3  # noqa: PLR2004
