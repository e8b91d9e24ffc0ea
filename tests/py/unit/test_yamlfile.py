# SPDX-License-Identifier: Apache-2.0
"""YAML with line numbers, and what is no YAML."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hashmvt.config.yamlfile import YamlProblem, read

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "x.yaml"


def test_values_and_lines(file: Path) -> None:
    file.write_text("a: 1\nb:\n  - x\n  - y: 2.5\n# comment\nc: {d: true, e: ~}\n")
    document = read(file)
    assert document.root == {"a": 1, "b": ["x", {"y": 2.5}], "c": {"d": True, "e": None}}
    assert document.line(("a",)) == 1
    assert document.line(("b", 1, "y")) == 4
    assert document.line(("c", "d")) == 6
    assert document.line(("c", "absent", "deeper")) == 6
    assert document.line(("absent",)) == 1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("off", "off"),
        ("no", "no"),
        ("yes", "yes"),
        ("true", True),
        ("12:30", "12:30"),
        ("2026-01-02", "2026-01-02"),
        ("0x10", 16),
        ("010", 10),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("", None),
        ("null", None),
        ("'1'", "1"),
        ("1024-65535", "1024-65535"),
        ("127.0.0.1:7788", "127.0.0.1:7788"),
        ("198.51.100.0/28", "198.51.100.0/28"),
        ("1" * 40, "1" * 40),
    ],
)
def test_scalars_are_those_of_yaml_1_2(file: Path, text: str, value: object) -> None:
    file.write_text(f"a: {text}\n")
    found = read(file).root["a"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        (b"a: 1\nb: [1, 2\nc: 3\n", 3, "is no YAML"),
        (b"a: 1\n\tb: 2\n", 2, "is no YAML"),
        (b"- 1\n- 2\n", 1, "must be a mapping"),
        (b"just words\n", 1, "must be a mapping"),
        (b"a: 1\nb: 2\na: 3\n", 3, "key 'a' stands here twice"),
        (b"[1, 2]: 3\n", 1, "a key must be a word"),
        (b"a: !!python/object:os.system {}\n", 1, "is not known"),
        (b"a: !secret x\n", 1, "tag '!secret' is not known"),
        (b"a: 1\nb: \xff\n", 2, "is not UTF-8 text"),
        (b"a: \x01\n", 1, "is no YAML"),
        (b"a: &x [*x]\n", 1, "nested too deeply"),
        (b"a: *nowhere\n", 1, "is no YAML"),
    ],
)
def test_what_is_no_yaml(file: Path, text: bytes, line: int, reason: str) -> None:
    file.write_bytes(text)
    with pytest.raises(YamlProblem) as caught:
        read(file)
    assert caught.value.line == line
    assert reason in caught.value.reason


def test_aliases_that_mean_billions_are_refused(file: Path) -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    file.write_text("\n".join(rows))
    with pytest.raises(YamlProblem, match="more than 200,000 values, aliases counted"):
        read(file)


@pytest.mark.parametrize("depth", [40, 5000])
def test_deep_nesting_is_refused(file: Path, depth: int) -> None:
    file.write_text("a: " + "[" * depth + "]" * depth)
    with pytest.raises(YamlProblem, match="is nested too deeply") as caught:
        read(file)
    assert "mind brackets" in caught.value.remedy


def test_an_empty_file_is_an_empty_mapping(file: Path) -> None:
    file.write_text("# nothing\n")
    assert read(file).root == {}


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(YamlProblem, match="no such file"):
        read(tmp_path / "absent.yaml")
    with pytest.raises(YamlProblem, match="is a directory"):
        read(tmp_path)
