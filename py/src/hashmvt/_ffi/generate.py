# SPDX-License-Identifier: Apache-2.0
"""Generate ``hashmvt/names.py`` from the X-macros of the core.

The C headers are the one source of the names of errors, reasons, events, counters and gauges. The
build runs this; the result is kept in the repository so that editors and type checkers need no
build. ``python -m hashmvt._ffi.generate HEADERS-FOLDER`` does the same by hand. A test compares
the result with what the C compiler makes of the same macros.

Only the standard library is used and nothing of the package is imported: it runs before the
package can be.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

_HEADER = '''# SPDX-License-Identifier: Apache-2.0
"""Names of the core, generated from its X-macros by ``_ffi/generate.py``: do not edit.

A reason, counter or event exists in every layer or in none; the number of each is its place in
the C list. ``text`` is the sentence for people that stands beside it in C.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum

'''


class MacroError(Exception):
    """A header does not hold the X-macro that is expected in it."""


def macro_rows(source: str, name: str) -> list[tuple[str, ...]]:
    """Return the rows of ``#define name``: the arguments of each ``_ (...)``, strings unquoted.

    Raises:
        MacroError: there is no such macro, or it has no row.

    """
    match = re.search(rf"#define {name}\b((?:[^\n]*\\\n)*[^\n]*)\n", source)
    if match is None:
        raise MacroError(f"no macro {name}")
    body = match.group(1).replace("\\\n", "\n")
    rows = [
        tuple(argument.strip().strip('"') for argument in re.findall(r'"[^"]*"|[^,"]+', inner))
        for inner in re.findall(r'\b_\s*\(((?:"[^"]*"|[^")])*)\)', body)
    ]
    if not rows:
        raise MacroError(f"macro {name} has no row")
    return [tuple(part for part in row if part) for row in rows]


def _str_enum(name: str, doc: str, rows: list[tuple[str, str]]) -> str:
    """Return the source of an enum whose members are numbered and have a text."""
    lines = [f"class {name}(Enum):", f'    """{doc}"""', ""]
    lines += [
        f'    {upper} = ({number}, "{upper.lower()}", "{text}")'
        for number, (upper, text) in enumerate(rows)
    ]
    lines += [
        "",
        "    def __init__(self, number: int, label: str, text: str) -> None:",
        '        """Take apart the tuple of a member."""',
        "        self.number = number",
        "        self.label = label",
        "        self.text = text",
    ]
    return "\n".join(lines) + "\n\n\n"


def _int_enum(name: str, doc: str, rows: list[tuple[str, int, str]]) -> str:
    lines = [f"class {name}(IntEnum):", f'    """{doc}"""', ""]
    for upper, value, text in rows:
        lines += [f"    {upper} = {value}", f'    """{text}"""']
    return "\n".join(lines) + "\n\n\n"


def _record(name: str, doc: str, rows: list[tuple[str, str]]) -> str:
    lines = ["@dataclass(frozen=True, slots=True)", f"class {name}:", f'    """{doc}"""', ""]
    for field, text in rows:
        lines += [f"    {field}: int = 0", f'    """{text[0].upper()}{text[1:]}."""']
    return "\n".join(lines) + "\n\n\n"


def generate(headers: Path) -> str:
    """Return the text of ``names.py`` for the headers in folder ``plugin/mvt``.

    Raises:
        OSError: a header cannot be read.
        MacroError: a header does not hold what is expected.

    """
    types = (headers / "mvt_types.h").read_text(encoding="utf-8")
    nat44 = (headers / "nat44.h").read_text(encoding="utf-8")
    errors = [(row[0], int(row[1]), row[2]) for row in macro_rows(types, "foreach_mvt_err")]
    drops = [(row[0], row[2]) for row in macro_rows(types, "foreach_mvt_drop")]
    passes = [(row[0], row[2]) for row in macro_rows(types, "foreach_mvt_pass")]
    events = [(row[0], row[1].replace("_", " ")) for row in macro_rows(nat44, "foreach_mvt_event")]
    counters = [(row[0], row[1]) for row in macro_rows(nat44, "foreach_mvt_counter")]
    gauges = [(row[0], row[1]) for row in macro_rows(nat44, "foreach_mvt_gauge")]
    text = (
        _HEADER
        + "\n"
        + _int_enum("ErrorCode", "Why a control call was refused.", errors)
        + _str_enum("DropReason", "Why a packet was dropped; each is one counter.", drops)
        + _str_enum("PassReason", "Why a packet went on untranslated.", passes)
        + _str_enum("EventType", "What an instance reports.", events)
        + _record("Counters", "What an instance has counted since its start.", counters)
        + _record("Gauges", "What an instance holds now.", gauges)
    )
    return text.rstrip("\n") + "\n"


def write_if_changed(headers: Path, target: Path) -> bool:
    """Generate ``target``; leave it alone when it is right already. True when it was written."""
    text = generate(headers)
    if target.exists() and target.read_text(encoding="utf-8") == text:
        return False
    target.write_text(text, encoding="utf-8")
    return True


if __name__ == "__main__":
    write_if_changed(Path(sys.argv[1]), Path(__file__).resolve().parent.parent / "names.py")
