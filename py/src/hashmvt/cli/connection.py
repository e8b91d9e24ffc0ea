# SPDX-License-Identifier: Apache-2.0
"""How commands reach a running agent or coordinator: through its control socket."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hashmvt.cli import Failed
from hashmvt.config import AgentConfig, CoordinatorConfig, load
from hashmvt.dataplane.remote import RemoteDataplane

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hashmvt.dataplane import Dataplane

TIMEOUT_S = 12.0
"""Longer than a coordinator waits for its agent, whose name it gives."""

F = TypeVar("F", bound="Callable[..., Any]")
T = TypeVar("T")


def options(command: F) -> F:
    """Add ``--socket`` and ``--config`` to a command."""
    command = click.option(
        "-c",
        "--config",
        "config_path",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="Find the socket in this configuration.",
    )(command)
    return click.option(
        "--socket",
        "socket_path",
        metavar="PATH",
        type=click.Path(path_type=Path),
        help="Control socket of the agent or coordinator.",
    )(command)


def find_socket(socket_path: Path | None, config_path: Path | None) -> Path:
    """Return the socket to use: named, else of the configuration, else where both put theirs.

    Raises:
        ConfigError: the configuration is wrong.
        Failed: there is no such socket.

    """
    if socket_path is not None:
        candidates = [socket_path]
    elif config_path is not None:
        config = load(config_path)
        candidates = [config.agent.control, config.coordinator.control]
    else:
        candidates = [AgentConfig().control, CoordinatorConfig().control]
    for path in candidates:
        if path.is_socket():
            return path
    raise Failed(
        f"no agent runs here (there is no socket {candidates[0]}): start one with "
        f"hashmvt-agent -c FILE, or name its socket with --socket"
    )


def with_dataplane(
    socket_path: Path | None,
    config_path: Path | None,
    work: Callable[[Dataplane], Awaitable[T]],
) -> T:
    """Connect, work, close.

    Raises:
        Failed: there is no such socket.
        Unavailable: nobody listens at it, or nobody answers.
        ConfigError, DataplaneError: as they come.

    """
    path = find_socket(socket_path, config_path)

    async def connected() -> T:
        dataplane = await RemoteDataplane.connect(path, timeout_s=TIMEOUT_S)
        try:
            return await work(dataplane)
        finally:
            await dataplane.aclose()

    return asyncio.run(connected())
