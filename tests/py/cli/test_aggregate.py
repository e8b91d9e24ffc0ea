# SPDX-License-Identifier: Apache-2.0
"""``hashmvt aggregate``."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.py.cli.conftest import Result

RULES = """\
# two halves that are one, and another
10.0.0.0/9 gw/0 5
10.128.0.0/9 gw/0
11.0.0.0/8 gw/1 1
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules"
    path.write_text(RULES)
    return path


def test_lines(hashmvt: Callable[..., Result], rules: Path) -> None:
    result = hashmvt("aggregate", rules)
    assert (result.code, result.err) == (0, "")
    assert result.out == "10.0.0.0/8 gw/0\n11.0.0.0/8 gw/1\n"


def test_standard_input(hashmvt: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(RULES.encode()))
    monkeypatch.setattr("sys.stdin", stream)
    assert hashmvt("aggregate", "-").out == "10.0.0.0/8 gw/0\n11.0.0.0/8 gw/1\n"


def test_a_budget_gives_up_the_lightest(hashmvt: Callable[..., Result], rules: Path) -> None:
    result = hashmvt("aggregate", rules, "--budget", "1")
    assert result.code == 0
    (line,) = result.out.splitlines()
    assert line.endswith(" gw/0")
    assert "16.67% of the traffic is handed over" in result.err


def test_ternary(hashmvt: Callable[..., Result], rules: Path) -> None:
    rules.write_text("10.0.0.0/16 a\n10.2.0.0/16 a\n10.1.0.0/16 b\n10.3.0.0/16 b\n")
    lines = hashmvt("aggregate", rules, "--ternary").out.splitlines()
    assert len(lines) == 2
    assert all("/255." in line or "/0." in line for line in lines)


def test_json(hashmvt: Callable[..., Result], rules: Path) -> None:
    found = hashmvt("aggregate", rules, "--json").json
    assert found == {
        "given": 3,
        "count": 2,
        "total_weight": 6.0,
        "misdirected_weight": 0.0,
        "rules": [
            {"prefix": "10.0.0.0/8", "instance": "gw/0"},
            {"prefix": "11.0.0.0/8", "instance": "gw/1"},
        ],
    }


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("10.0.0.0/9\n", "line 1: write 'prefix instance'"),
        ("# x\n10.0.0.1/9 a\n", "line 2: "),
        ("10.0.0.0/9 a -1\n", "line 1: "),
        ("", "holds no rule"),
        ("10.0.0.0/9 a\n10.0.0.0/9 b\n", "line 2: "),
    ],
)
def test_wrong_rules(hashmvt: Callable[..., Result], rules: Path, text: str, sentence: str) -> None:
    rules.write_text(text)
    result = hashmvt("aggregate", rules)
    assert result.code == 2
    assert sentence in result.err
    assert result.err.count("\n") == 1


def test_bytes_that_are_no_text(hashmvt: Callable[..., Result], rules: Path) -> None:
    rules.write_bytes(b"\xff\xfe\x00")
    result = hashmvt("aggregate", rules)
    assert result.code == 2
    assert "is no text" in result.err
