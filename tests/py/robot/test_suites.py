# SPDX-License-Identifier: Apache-2.0
"""The suites are specifications: documented, tagged, short, and without programming."""

import ast
from dataclasses import dataclass
from pathlib import Path

import pytest
from robot.api import parsing

SUITES = Path(__file__).resolve().parents[3] / "robot" / "suites"
FILES = sorted(SUITES.glob("[0-9]*.robot"))
AREAS = {
    "translation", "icmp", "fragments", "hairpinning", "expiry", "exhaustion", "filtering",
    "ports", "static", "scale-out", "coordination", "commands",
}  # fmt: skip
FORBIDDEN = {"Sleep", "Set Test Variable", "Set Suite Variable", "Set Global Variable", "Evaluate"}


PROGRAMMING = (
    parsing.ForHeader,
    parsing.WhileHeader,
    parsing.IfHeader,
    parsing.InlineIfHeader,
    parsing.TryHeader,
    parsing.Var,
)


@dataclass(frozen=True)
class Style:
    """What a suite file is made of."""

    tests: dict[str, str]
    tags: frozenset[str]
    programming: list[str]


def style(path: Path) -> Style:
    nodes = list(ast.walk(parsing.get_model(path)))
    tests = {
        test.name: " ".join(
            item.value for item in test.body if isinstance(item, parsing.Documentation)
        )
        for test in nodes
        if isinstance(test, parsing.TestCase)
    }
    tags = {
        tag
        for item in nodes
        if isinstance(item, parsing.TestTags | parsing.Tags)
        for tag in item.values
    }
    programming = [
        f"{node.type} in line {node.lineno}" for node in nodes if isinstance(node, PROGRAMMING)
    ]
    programming += [
        f"{node.keyword} in line {node.lineno}"
        for node in nodes
        if isinstance(node, parsing.KeywordCall) and node.keyword in FORBIDDEN
    ]
    return Style(tests, frozenset(tags), programming)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_suite_reads_as_specification(path: Path) -> None:
    found = style(path)
    assert found.programming == []
    assert found.tags & AREAS
    unsaid = [
        name for name, text in found.tests.items() if not ("RFC " in text or "DESIGN " in text)
    ]
    assert unsaid == []


def test_every_area_has_a_suite() -> None:
    assert set().union(*(style(path).tags for path in FILES)) >= AREAS


@pytest.mark.parametrize(
    "line",
    ["FOR    ${i}    IN    1\n    END", "IF    True    No Operation", "WHILE    True\n    END"],
)
def test_programming_is_seen(tmp_path: Path, line: str) -> None:
    path = tmp_path / "bad.robot"
    path.write_text(f"*** Test Cases ***\nBad\n    Sleep    1\n    {line}\n")
    assert len(style(path).programming) == 2
