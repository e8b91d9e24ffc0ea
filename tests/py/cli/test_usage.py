# SPDX-License-Identifier: Apache-2.0
"""Exit codes and sentences: every failure is one line that says what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from hashmvt.cli import group

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.py.cli.conftest import Result

HASHMVT = Path(sys.executable).parent / "hashmvt"


def commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from commands(inner, (*path, name))


@pytest.mark.parametrize("path", list(commands(group)), ids=" ".join)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_is_enough_to_use_each_command(
    hashmvt: Callable[..., Result], path: tuple[str, ...], flag: str
) -> None:
    result = hashmvt(*path, flag)
    assert result.code == 0
    assert result.out.startswith(f"Usage: {' '.join(('hashmvt', *path))}")
    assert "-h, --help" in result.out
    assert result.err == ""


def test_every_option_says_what_it_does() -> None:
    context = click.Context(group)
    for path in commands(group):
        command: click.Command | None = group
        for name in path:
            assert isinstance(command, click.Group)
            command = command.get_command(context, name)
        assert command is not None
        assert command.help
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, (path, parameter.name)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["bogus"], "No such command 'bogus'"),
        (["--bogus"], "No such option"),
        (["check"], "Missing argument 'FILE'"),
        (["check", "a", "b"], "unexpected extra argument"),
        (["replay", "a", "b"], "a configuration is needed: add -c FILE"),
        (["replay", "a", "b", "-c", "c", "--instances", "65"], "65 is not in the range 1<=x<=64"),
        (["show", "mappings", "--proto", "sctp"], "'sctp' is not one of 'udp', 'tcp', 'icmp'"),
        (["show", "mappings", "--inside", "10.0.0.1/8"], "write 10.0.0.0/8"),
        (["show", "mappings", "--limit", "0"], "0 is not in the range"),
        (["show", "nonsense"], "No such command 'nonsense'"),
        (["bench", "nat", "--flows", "1,x"], "'1,x' is no list of numbers"),
        (["bench", "nat", "--flows", "0"], "flows are from 1 to"),
        (["bench", "scaleout", "--seconds", "nan"], "nan is not in the range 1<=x<=3600"),
        (["bench", "scaleout", "--instances", "1", "--start", "2"], "2 is more than --instances 1"),
        (["bench", "vpp", "--pool-use", "nan"], "nan is not in the range 1<=x<=99.99"),
        (["top", "--interval", "nan"], "nan is not in the range 0.1<=x<=60"),
        (["show", "events", "--for", "nan"], "nan is not in the range x>=0"),
        (["bench", "nat", "--sessions", "--remotes", "4"], "--sessions takes no --remotes"),
        (["bench", "vpp", "--pool-share", "--plot", "x"], "--pool-share takes no --plot"),
        (
            ["bench", "vpp", "--pool-share", "--nats", "cnat"],
            "several workers share a pool in nat44-ei, nat44-ed, hashmvt alone",
        ),
        (
            ["bench", "vpp", "--worker-core", "4095"],
            "there is no CPU 4095 that this process may use",
        ),
        (["aggregate", "/no/such/file"], "No such file"),
    ],
)
def test_wrong_usage_is_exit_2(
    hashmvt: Callable[..., Result], arguments: list[str], sentence: str
) -> None:
    result = hashmvt(*arguments)
    assert result.code == 2
    assert result.out == ""
    assert sentence in result.err
    assert result.err.startswith("hashmvt: ")
    assert result.err.count("\n") == 1
    assert "-h" in result.err


def test_too_little_memory_is_one_sentence(
    hashmvt: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("hashmvt.cli.bench.hash.measure", none_left)
    result = hashmvt("bench", "hash")
    assert result.code == 1
    assert (
        result.err == "hashmvt: there is not enough memory for this: ask for less, or free some\n"
    )


def test_no_command_shows_the_help(hashmvt: Callable[..., Result]) -> None:
    result = hashmvt()
    assert result.code == 2
    assert "Commands:" in result.err


@pytest.mark.parametrize(
    "arguments", [["check"], ["replay", "in", "out", "-c"], ["bench", "nat", "-c"], ["top", "-c"],
                  ["show", "instances", "-c"]],
)  # fmt: skip
def test_a_missing_configuration_is_exit_2(
    hashmvt: Callable[..., Result],
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    path = tmp_path / "absent.yaml"
    result = hashmvt(*arguments, path)
    assert result.code == 2
    assert f"{path}: no such file" in result.err
    assert result.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [["show"], ["show", "pool"], ["show", "events"]])
def test_no_agent_is_one_sentence(
    hashmvt: Callable[..., Result], words: list[str], tmp_path: Path
) -> None:
    result = hashmvt(*words, "--socket", tmp_path / "agent.sock")
    assert result.code == 1
    assert "no agent runs here" in result.err
    assert "hashmvt-agent -c FILE" in result.err
    assert result.err.count("\n") == 1


def test_a_dead_socket_is_one_sentence(hashmvt: Callable[..., Result], tmp_path: Path) -> None:
    import socket  # noqa: PLC0415 - only here

    path = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    result = hashmvt("show", "--socket", path)
    assert result.code == 1
    assert f"the agent at {path} does not answer: nobody listens there" in result.err
    assert result.err.count("\n") == 1


def test_an_agent_that_hangs_has_not_ended(
    hashmvt: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket  # noqa: PLC0415 - only here

    path = tmp_path / "agent.sock"
    monkeypatch.setattr("hashmvt.cli.connection.TIMEOUT_S", 1.5)
    with socket.socket(socket.AF_UNIX) as stopped:
        stopped.bind(str(path))
        stopped.listen()
        result = hashmvt("show", "--socket", path)
    assert result.code == 1
    assert "nothing came within 1.5 s: it hangs or is stopped" in result.err
    assert result.err.count("\n") == 1


def test_version(hashmvt: Callable[..., Result]) -> None:
    result = hashmvt("--version")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("hashmvt, version ")


def test_top_needs_a_terminal(hashmvt: Callable[..., Result]) -> None:
    result = hashmvt("top")
    assert result.code == 1
    assert "top needs a terminal" in result.err


def test_a_reader_that_goes_away_is_no_traceback(tmp_path: Path) -> None:
    """``hashmvt ... | head -1`` with more output than a pipe holds."""
    rules = tmp_path / "rules"
    rows = (f"10.{i}.{j}.0/24 {(i ^ j) % 7}\n" for i in range(64) for j in range(256))
    rules.write_text("".join(rows))
    done = subprocess.run(
        ["sh", "-c", f"'{HASHMVT}' aggregate '{rules}' | head -n 1"],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": "default"},
    )
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""
