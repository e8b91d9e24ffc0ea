# SPDX-License-Identifier: Apache-2.0
"""``hashmvt``: what operators type.

One module per command, imported when it is used, so that ``-h`` answers at once. Whatever goes
wrong ends here in one sentence on standard error and one of three exit codes: 0 done, 1 failed,
2 wrong usage or configuration.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from hashmvt import __version__
from hashmvt.cli.lazy import LazyGroup
from hashmvt.errors import ConfigError, HashMvtError

if TYPE_CHECKING:
    from collections.abc import Sequence

DONE, FAILED, USAGE = 0, 1, 2

_COMMANDS = {
    "aggregate": ("hashmvt.cli.aggregate", "make the fewest dispatcher rules that mean the same"),
    "bench": ("hashmvt.cli.bench", "measure on this machine"),
    "check": ("hashmvt.cli.check", "say what is wrong with a configuration"),
    "replay": ("hashmvt.cli.replay", "translate the packets of a capture"),
    "scale": ("hashmvt.control.cli", "scale the instances of a running coordinator by hand"),
    "show": ("hashmvt.cli.show", "show what a running agent or coordinator does"),
    "top": ("hashmvt.cli.top", "live view of a running agent or coordinator"),
}


class Failed(HashMvtError):  # noqa: N818 - reads as the outcome it is
    """A command could not do its work; the message is for people."""


@click.group(
    cls=LazyGroup,
    modules=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
)
@click.version_option(__version__, prog_name="hashmvt")
def group() -> None:
    """HashMVT: a scalable, stateful NAT44.

    `hashmvt COMMAND -h` explains each command.
    """


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code; speaks on standard error when it fails."""
    try:
        result = group.main(
            args=None if arguments is None else list(arguments),
            prog_name="hashmvt",
            standalone_mode=False,
        )
    except (click.ClickException, click.Abort, HashMvtError, OSError, MemoryError) as error:
        return _failed(error)
    return result if isinstance(result, int) else DONE


def _failed(error: Exception) -> int:
    """Say what went wrong; return the exit code."""
    match error:
        case click.exceptions.NoArgsIsHelpError():
            click.echo(error.format_message(), err=True)
            return USAGE
        case click.UsageError():
            path = error.ctx.command_path if error.ctx else "hashmvt"
            say(f"{error.format_message().rstrip('.')}; see {path} -h")
            return USAGE
        case ConfigError():
            say(str(error))
            return USAGE
        case click.Abort():
            say("interrupted")
        case BrokenPipeError():
            # whoever reads has gone: nothing to say, and nothing more to flush
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        case MemoryError():
            say("there is not enough memory for this: ask for less, or free some")
        case OSError():
            say(f"{error.filename or 'error'}: {(error.strerror or str(error)).lower()}")
        case _:
            say(str(error))
    return FAILED


def say(sentence: str) -> None:
    """Write one sentence to standard error."""
    click.echo(f"hashmvt: {sentence}", err=True)


def main() -> None:
    """Entry point of the command."""
    sys.exit(run())
