# SPDX-License-Identifier: Apache-2.0
"""YAML with line numbers.

A file becomes plain values (dict, list, str, int, float, bool, None) and a table path -> line, so
that whoever finds something wrong with a value can say where it stands. The scalars are those of
YAML 1.2: only ``true`` and ``false`` are booleans (``events: off`` is a word), and ``12:30`` and
dates are strings.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import yaml

if TYPE_CHECKING:
    from pathlib import Path

Value: TypeAlias = "dict[str, Value] | list[Value] | str | int | float | bool | None"
Key: TypeAlias = tuple[str | int, ...]
"""Where a value stands: keys and list positions from the root."""

_MAX_NODES = 200_000
"""Values in a file, aliases counted each time: a few lines of aliases can mean billions."""
_MAX_DEPTH = 32
_TOO_DEEP = ("is nested too deeply", f"mind brackets and braces: no key needs {_MAX_DEPTH} levels")
_MAX_BYTES = 16 << 20


class YamlProblem(Exception):  # noqa: N818 - becomes a Problem
    """The file cannot be read as YAML."""

    def __init__(self, line: int, reason: str, remedy: str = "") -> None:
        """Name the line (0: the whole file), the reason and what to do."""
        super().__init__(reason)
        self.line = line
        self.reason = reason
        self.remedy = remedy


@dataclass(slots=True)
class Document:
    """A YAML file as values and the lines they stand on."""

    root: dict[str, Value]
    lines: dict[Key, int] = field(default_factory=dict)

    def line(self, key: Key) -> int:
        """Return the line of a key, else of the nearest one around it that the file has."""
        while key not in self.lines and key:
            key = key[:-1]
        return self.lines.get(key, 1)


_STANDARD = "tag:yaml.org,2002:"
_CONTAINERS = (f"{_STANDARD}map", f"{_STANDARD}seq")


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+0123456789.",
    ),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
):
    _Loader.add_implicit_resolver(
        f"{_STANDARD}{_tag}",
        re.compile(rf"^(?:{_pattern})$"),
        [*_first.replace("\0", ""), *([""] if "\0" in _first else [])],
    )


class _Builder:
    """Turns nodes into values; counts, so that aliases cannot blow up."""

    def __init__(self) -> None:
        self.lines: dict[Key, int] = {}
        self._left = _MAX_NODES

    def build(self, node: yaml.Node, key: Key, depth: int = 0) -> Value:
        self._left -= 1
        line = node.start_mark.line + 1
        if self._left < 0:
            raise YamlProblem(
                line, f"more than {_MAX_NODES:,} values, aliases counted each time", "write fewer"
            )
        if depth > _MAX_DEPTH:
            raise YamlProblem(line, *_TOO_DEEP)
        self.lines.setdefault(key, line)
        if not isinstance(node, yaml.ScalarNode) and node.tag not in _CONTAINERS:
            raise YamlProblem(line, f"tag {node.tag!r} is not known", "remove it")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, key, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(n, (*key, i), depth + 1) for i, n in enumerate(node.value)]
        return _scalar(node)

    def _mapping(self, node: yaml.MappingNode, key: Key, depth: int) -> dict[str, Value]:
        result: dict[str, Value] = {}
        for name_node, value_node in node.value:
            line = name_node.start_mark.line + 1
            if not isinstance(name_node, yaml.ScalarNode):
                raise YamlProblem(line, "a key must be a word")
            name = str(name_node.value)
            if name in result:
                raise YamlProblem(line, f"key {name!r} stands here twice", "remove one of them")
            self.lines[(*key, name)] = line
            result[name] = self.build(value_node, (*key, name), depth + 1)
        return result


def _scalar(node: yaml.Node) -> Value:
    text = str(node.value)
    match node.tag.removeprefix(_STANDARD):
        case "bool":
            return text.lower() == "true"
        case "int":
            # no limit of digits must be met by int(): such a number is none of ours
            return int(text, 0 if text[:2] in {"0x", "0o"} else 10) if len(text) < 32 else text  # noqa: PLR2004
        case "float":
            number = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
            # no key takes one, and no comparison refuses a nan
            if not math.isfinite(number):
                raise YamlProblem(node.start_mark.line + 1, f"{text} is no number", "write one")
            return number
        case "null":
            return None
        case "str":
            return text
        case tag:
            raise YamlProblem(node.start_mark.line + 1, f"tag {tag!r} is not known", "remove it")


def _compose(text: str) -> yaml.Node | None:
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        node: yaml.Node | None = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = " ".join(part for part in (error.context, error.problem) if part)
        raise YamlProblem(
            mark.line + 1 if mark else 1, f"is no YAML ({what})", "mind the indentation and colons"
        ) from None
    except RecursionError:
        raise YamlProblem(1, *_TOO_DEEP) from None
    except yaml.YAMLError as error:
        raise YamlProblem(1, f"is no YAML ({error})".replace("\n", " ")) from None
    finally:
        if loader is not None:
            loader.dispose()
    return node


def read(path: Path) -> Document:
    """Read a YAML file whose root is a mapping (an empty file is an empty mapping).

    Raises:
        YamlProblem: it cannot be read, or is no YAML, or no mapping.

    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise YamlProblem(0, "no such file") from None
    except OSError as error:
        raise YamlProblem(
            0, f"cannot be read ({(error.strerror or str(error)).lower()})"
        ) from error
    if len(data) > _MAX_BYTES:
        raise YamlProblem(0, f"longer than {_MAX_BYTES >> 20} MiB")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise YamlProblem(data.count(b"\n", 0, error.start) + 1, "is not UTF-8 text") from None
    node = _compose(text)
    if node is None:
        return Document({}, {(): 1})
    builder = _Builder()
    root = builder.build(node, ())
    if not isinstance(root, dict):
        raise YamlProblem(
            node.start_mark.line + 1, "must be a mapping", "begin with a section such as 'nat44:'"
        )
    return Document(root, builder.lines)
