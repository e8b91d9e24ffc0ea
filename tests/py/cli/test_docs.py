# SPDX-License-Identifier: Apache-2.0
"""The documentation names every key, command and option that there is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest

from hashmvt.cli import group
from hashmvt.config.structure import schema

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).resolve().parents[3] / "docs"
CLI = (DOCS / "cli.md").read_text(encoding="utf-8")
CONFIGURATION = (DOCS / "configuration.md").read_text(encoding="utf-8")
ELSEWHERE = {"scale"}
"""Commands whose help is their reference."""


def options() -> Iterator[tuple[str, str]]:
    context = click.Context(group)
    pending: list[tuple[str, click.Command]] = [("hashmvt", group)]
    while pending:
        path, command = pending.pop()
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                inner = command.get_command(context, name)
                if inner is not None and name not in ELSEWHERE:
                    pending.append((f"{path} {name}", inner))
        for parameter in command.params:
            for option in (*parameter.opts, *parameter.secondary_opts):
                if option.startswith("--") and option not in {"--version", "--config"}:
                    yield path, option


@pytest.mark.parametrize(("path", "option"), sorted(set(options())))
def test_every_option_is_in_the_documentation(path: str, option: str) -> None:
    assert option in CLI, path


@pytest.mark.parametrize("name", sorted(group.list_commands(click.Context(group))))
def test_every_command_is_in_the_documentation(name: str) -> None:
    assert f"hashmvt {name}" in CLI
    assert f"## {name}" in CLI


def keys(part: dict[str, Any]) -> Iterator[str]:
    for name, inner in part.get("properties", {}).items():
        yield name
        yield from keys(inner)
    for alternative in part.get("anyOf", []):
        yield from keys(alternative)
    if isinstance(part.get("items"), dict):
        yield from keys(part["items"])


def every_key() -> list[str]:
    whole = schema()
    found = set(keys(whole))
    for definition in whole["$defs"].values():
        found |= set(keys(definition))
    return sorted(found)


@pytest.mark.parametrize("key", every_key())
def test_every_key_is_in_the_documentation(key: str) -> None:
    assert re.search(rf"\b{key}\b", CONFIGURATION)


@pytest.mark.parametrize("text", [CLI], ids=["cli.md"])
def test_the_json_of_the_documentation_is_json(text: str) -> None:
    decoder = json.JSONDecoder()
    blocks = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    assert len(blocks) >= 6
    for block in blocks:
        rest = block.strip()
        while rest:
            _, end = decoder.raw_decode(rest)
            rest = rest[end:].lstrip()
