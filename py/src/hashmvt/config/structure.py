# SPDX-License-Identifier: Apache-2.0
"""Checks a document against ``schema/hashmvt.schema.json`` and says in words what is wrong.

The schema's ``expected`` (our own keyword, ignored by validators) is what a message says that a
value must be; without it the words come from ``enum`` or ``type``.
"""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, cast

from jsonschema import Draft202012Validator
from jsonschema.validators import validator_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jsonschema.exceptions import ValidationError

    from hashmvt.config.yamlfile import Key, Value

_TYPES = {
    "object": "a map",
    "array": "a list",
    "string": "a word",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """A place in a document and what is wrong there."""

    key: Key
    reason: str
    remedy: str = ""
    missing: str = ""
    """The key that is missing at ``key``; everything else there may still be read."""


@cache
def schema() -> dict[str, Any]:
    """Return the schema."""
    text = resources.files("hashmvt").joinpath("schema/hashmvt.schema.json").read_text("utf-8")
    result: dict[str, Any] = json.loads(text)
    return result


@cache
def _validator() -> Draft202012Validator:
    kind = validator_for(schema())
    kind.check_schema(schema())
    return Draft202012Validator(schema())


def faults(root: Value) -> list[Fault]:
    """Return everything that the schema does not allow, in the order of the schema's walk."""
    return [fault for error in _validator().iter_errors(root) for fault in _explain(error)]


def _part(error: ValidationError) -> dict[str, Any]:
    """Return the part of the schema that was not met."""
    return cast("dict[str, Any]", error.schema)


def _rule(error: ValidationError) -> Any:
    """Return the value of the keyword that was not met."""
    return error.validator_value


def _instance(error: ValidationError) -> Any:
    """Return the value that is wrong."""
    return error.instance


def _explain(error: ValidationError) -> Iterator[Fault]:
    key: Key = tuple(error.absolute_path)
    if error.validator == "additionalProperties":
        yield from _unknown(error, key)
    elif error.validator == "required":
        missing = [name for name in _rule(error) if name not in _instance(error)]
        # jsonschema reports each missing name by itself; the message names it
        name = next(name for name in missing if repr(name) in error.message)
        yield Fault(key, f"{spell(key)} needs {name!r}", _example(error, name), missing=name)
    elif error.validator == "anyOf" and (inner := _right_kind(error)):
        for part in inner:
            yield from _explain(part)
    else:
        yield Fault(key, f"{spell(key)} must be {_expected(error)}, not {show(error.instance)}")


def _unknown(error: ValidationError, key: Key) -> Iterator[Fault]:
    known = list(_part(error).get("properties", {}))
    for name in _instance(error):
        if name in known:
            continue
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
        remedy = f"write {near[0]!r}" if near else f"known here: {', '.join(known)}"
        where = f"in {spell(key)}" if key else "at the top"
        yield Fault((*key, name), f"unknown key {name!r} {where}", remedy)


def _right_kind(error: ValidationError) -> list[ValidationError]:
    """Return the faults of the alternative that has the value's type, when it is a map or list.

    "Must be this or that" helps nobody whose map has one wrong key.
    """
    if not isinstance(error.instance, dict | list):
        return []
    want = "object" if isinstance(error.instance, dict) else "array"
    alternatives: dict[int, list[ValidationError]] = {}
    for part in error.context or []:
        alternatives.setdefault(int(part.relative_schema_path[0]), []).append(part)
    for number, parts in alternatives.items():
        if _rule(error)[number].get("type") == want:
            return parts
    return []


def _example(error: ValidationError, name: str) -> str:
    prop = _part(error).get("properties", {}).get(name, {})
    if "$ref" in prop:
        prop = {**schema()["$defs"][prop["$ref"].rsplit("/", 1)[1]], **prop}
    expected = prop.get("expected")
    return f"add {name}: {expected}" if expected else f"add {name!r}"


def _expected(error: ValidationError) -> str:
    expected = _part(error).get("expected")
    if expected:
        return str(expected)
    if error.validator == "enum":
        return " or ".join(str(value) for value in _rule(error))
    return _TYPES.get(str(_part(error).get("type")), "something else")


def spell(key: Key) -> str:
    """Return ``nat44.pool[2]`` for people; the root is called the configuration."""
    if not key:
        return "the configuration"
    text = str(key[0])
    for part in key[1:]:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text


def show(value: object) -> str:
    """Return a value as people would write it, shortened."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a map"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 48 else f"{text[:45]}..."  # noqa: PLR2004
