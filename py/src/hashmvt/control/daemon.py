# SPDX-License-Identifier: Apache-2.0
"""What both daemons need: command line, sockets, service manager, log, exit codes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import logging.handlers
import os
import signal
import socket
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import grpc
import grpc.aio

from hashmvt import __version__
from hashmvt.config import tls_problems
from hashmvt.dataplane.rpc import methods
from hashmvt.errors import ConfigError, HashMvtError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator

    from hashmvt.config import TlsConfig

DONE, FAILED, USAGE = 0, 1, 2
SYSLOG = Path("/dev/log")

log = logging.getLogger(__name__)


class StartError(HashMvtError):
    """A daemon cannot start; one sentence that says what to do."""


# ---- command line and exit codes ----


def command(name: str, text: str, run: Callable[[Path], Awaitable[None]]) -> Callable[[], None]:
    """Make the entry point of a daemon: ``NAME -c FILE``, exit 0, 1 or 2."""

    @click.command(name, help=text, context_settings={"help_option_names": ["-h", "--help"]})
    @click.option(
        "-c",
        "--config",
        "path",
        required=True,
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="The configuration, YAML.",
    )
    @click.option("-v", "--verbose", is_flag=True, help="Say more in the log.")
    @click.version_option(__version__, prog_name=name)
    def daemon(path: Path, verbose: bool) -> None:
        start_log(name, verbose=verbose)
        asyncio.run(_awaited(run, path))

    def main() -> None:
        sys.exit(_exit_code(name, lambda: daemon.main(prog_name=name, standalone_mode=False)))

    return main


async def _awaited(run: Callable[[Path], Awaitable[None]], path: Path) -> None:
    await run(path)


def _exit_code(name: str, run: Callable[[], object]) -> int:
    try:
        run()
    except click.UsageError as error:
        click.echo(f"{name}: {error.format_message().rstrip('.')}; see {name} -h", err=True)
        return USAGE
    except ConfigError as error:
        click.echo(f"{name}: {error}", err=True)
        return USAGE
    except HashMvtError as error:
        click.echo(f"{name}: {error}", err=True)
        return FAILED
    except (KeyboardInterrupt, click.Abort):
        return FAILED
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        click.echo(f"{name}: {where}{(error.strerror or str(error)).lower()}", err=True)
        return FAILED
    return DONE


# ---- log ----


def start_log(name: str, *, verbose: bool) -> None:
    """Log to standard error; the journal adds time and unit, a terminal gets the time here."""
    style = f"{name}: %(message)s" if "JOURNAL_STREAM" in os.environ else "%(asctime)s %(message)s"
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO, format=style, stream=sys.stderr
    )
    for noisy in ("grpc", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def event_log(name: str, *, to_syslog: bool) -> logging.Logger:
    """The logger of what instances report: the daemon's own log, and syslog where there is one."""
    events = logging.getLogger("hashmvt.events")
    events.setLevel(logging.INFO)
    if to_syslog and "JOURNAL_STREAM" not in os.environ and SYSLOG.exists():
        handler = logging.handlers.SysLogHandler(
            str(SYSLOG), facility=logging.handlers.SysLogHandler.LOG_DAEMON
        )
        handler.setFormatter(logging.Formatter(f"{name}: %(message)s"))
        events.addHandler(handler)
        events.propagate = False
    return events


# ---- tasks ----


@contextlib.asynccontextmanager
async def tasks_of(*work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Run coroutines beside the body and end them with it; the first failure ends everything.

    Raises:
        HashMvtError: what the first of them raised.

    """
    try:
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(one) for one in work]
            yield
            for task in running:
                task.cancel()
    except* HashMvtError as failed:
        first: BaseException = failed
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None


# ---- signals and service manager ----


@contextlib.contextmanager
def signals(stop: asyncio.Event, reload: asyncio.Event) -> Iterator[None]:
    """SIGTERM and SIGINT set `stop`, SIGHUP sets `reload`."""
    loop = asyncio.get_running_loop()
    taken = {signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGHUP: reload}
    for number, event in taken.items():
        loop.add_signal_handler(number, event.set)
    try:
        yield
    finally:
        for number in taken:
            loop.remove_signal_handler(number)


def notify(state: str) -> None:
    """Tell the service manager, if one asked to be told (sd_notify)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.sendto(state.encode(), address)
        except OSError as error:
            log.warning("the service manager cannot be told %s: %s", state, error.strerror)


# ---- sockets ----


def answers(path: Path) -> bool:
    """Does anybody listen at a Unix socket?"""
    return not methods.unreachable(path, "")


def need_files(path: Path, key: str, tls: TlsConfig | None) -> None:
    """Refuse a configuration whose files of TLS are not here.

    Raises:
        ConfigError: names the files.

    """
    if problems := tls_problems(path, key, tls):
        raise ConfigError(path, problems)


def clear_socket(path: Path, what: str) -> None:
    """Make room for a control socket: its directory exists, and no dead socket is in the way.

    Raises:
        StartError: somebody answers there, something else has that name, or the directory cannot
            be made.

    """
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as error:
        raise StartError(
            f"the directory of the control socket {path} does not exist and cannot be made "
            f"({(error.strerror or str(error)).lower()}): make it, or name another path"
        ) from None
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise StartError(
            f"the control socket {path} cannot be used: {(error.strerror or str(error)).lower()}"
        ) from None
    if not stat.S_ISSOCK(mode):
        raise StartError(f"{path} exists and is no socket: remove it or name another one")
    if answers(path):
        raise StartError(f"{what} runs already and answers at {path}: stop it first")
    path.unlink()


@contextlib.asynccontextmanager
async def served(
    handlers: tuple[grpc.GenericRpcHandler, ...],
    path: Path,
    what: str,
    *,
    listen: str = "",
    tls: TlsConfig | None = None,
) -> AsyncIterator[None]:
    """Serve at a Unix socket (mode 0660), and at an address with mutual TLS.

    Raises:
        StartError: the socket or the address cannot be taken.

    """
    clear_socket(path, what)
    server = grpc.aio.server(options=methods.CHANNEL_OPTIONS)
    server.add_generic_rpc_handlers(handlers)
    before = os.umask(0o117)  # the socket is never open to others, not for a moment
    try:
        server.add_insecure_port(f"unix:{path}")
        if listen and tls:
            server.add_secure_port(listen, _credentials(tls))
    except RuntimeError:
        raise StartError(
            f"{what} cannot listen at {path}{f' and {listen}' if listen else ''}: the address must "
            f"be free and one of this host's, and certificate and key of tls must fit each other"
        ) from None
    finally:
        os.umask(before)
    await server.start()
    path.chmod(0o660)  # noqa: ASYNC240 - a call of microseconds
    try:
        yield
    finally:
        await server.stop(grace=1.0)
        path.unlink(missing_ok=True)  # noqa: ASYNC240


def _credentials(tls: TlsConfig) -> grpc.ServerCredentials:
    return grpc.ssl_server_credentials(
        [(tls.key.read_bytes(), tls.certificate.read_bytes())],
        root_certificates=tls.authority.read_bytes(),
        require_client_auth=True,
    )
