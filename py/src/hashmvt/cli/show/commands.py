# SPDX-License-Identifier: Apache-2.0
"""The subcommands of ``hashmvt show``: filters in, pages out.

Every listing is bounded by ``--limit``; ``--count`` counts everything that the filters mean
without printing it. Reading never changes anything.
"""

from __future__ import annotations

import asyncio
import contextlib
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hashmvt.cli import connection, values
from hashmvt.cli.output import Json, write_json, write_json_line
from hashmvt.cli.ranges import FloatRange
from hashmvt.cli.rates import between
from hashmvt.cli.show import text
from hashmvt.config import addresses
from hashmvt.model import ANYWHERE, MAX_INSTANCES, MappingFilter, Proto

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from hashmvt.dataplane import Dataplane
    from hashmvt.model import Block, Page, Snapshot

T = TypeVar("T")

_SAMPLE_S = 0.25
_PAGE = 1024
_LIMIT = 50


class PrefixType(click.ParamType["IPv4Network"]):
    """An address or a prefix."""

    name = "prefix"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> IPv4Network:
        """Read it; usage error when it is none."""
        if isinstance(value, IPv4Network):
            return value
        try:
            return addresses.prefix(str(value))
        except addresses.Unreadable as error:
            self.fail(f"{error.reason}; {error.remedy}", param, ctx)


_PREFIX = PrefixType()
_INSTANCE = click.IntRange(0, MAX_INSTANCES - 1)
_PORT = click.IntRange(1, 65535)

_limit = click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(1),
    default=_LIMIT,
    help="Show at most N.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Write JSON.")
_count = click.option("--count", "count_only", is_flag=True, help="Only say how many.")


class _Show(click.Group):
    """``show`` without a word shows the instances."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put ``instances`` where no subcommand is named."""
        if not args or (args[0].startswith("-") and args[0] not in {"-h", "--help"}):
            args = ["instances", *args]
        return super().parse_args(ctx, args)


@click.group("show", cls=_Show)
def command() -> None:
    """Show what a running agent or coordinator does.

    Without a word: the instances. Each word takes --json, and --socket or -c to find the agent;
    listings take filters, --limit and --count.
    """


async def _two_snapshots(dataplane: Dataplane) -> tuple[Snapshot, Snapshot]:
    """Return two snapshots, a moment apart, for rates."""
    before = await dataplane.snapshot()
    await asyncio.sleep(_SAMPLE_S)
    return before, await dataplane.snapshot()


async def _collect(
    page: Callable[[str, int], Awaitable[Page[T]]], limit: int
) -> tuple[list[T], bool]:
    """Return at most ``limit`` items of a listing and whether there are more."""
    items: list[T] = []
    cursor: str | None = ""
    while cursor is not None and len(items) < limit:
        found = await page(cursor, min(limit - len(items), _PAGE))
        items += found.items
        cursor = found.next
    while cursor is not None:  # is there anything behind the limit?
        found = await page(cursor, 1)
        if found.items:
            return items[:limit], True
        cursor = found.next
    return items[:limit], len(items) > limit


async def _total(page: Callable[[str, int], Awaitable[Page[T]]]) -> int:
    """Return how many items a listing has."""
    total = 0
    cursor: str | None = ""
    while cursor is not None:
        found = await page(cursor, _PAGE)
        total += len(found.items)
        cursor = found.next
    return total


def _listing(
    socket_path: Path | None,
    config_path: Path | None,
    *,
    name: str,
    page: Callable[[Dataplane], Callable[[str, int], Awaitable[Page[T]]]],
    as_text: Callable[[list[T], str], str],
    as_value: Callable[[T], Json],
    limit: int,
    count_only: bool,
    as_json: bool,
) -> None:
    """Print a listing: the same for every kind of item."""

    async def work(dataplane: Dataplane) -> None:
        pages = page(dataplane)
        if count_only:
            total = await _total(pages)
            if as_json:
                write_json({"count": total})
            else:
                click.echo(f"{total}")
            return
        items, more = await _collect(pages, limit)
        if as_json:
            write_json({name: [as_value(i) for i in items], "count": len(items), "more": more})
            return
        click.echo(as_text(items, dataplane.capabilities.host))
        if more:
            click.echo(f"... more than {limit}; raise --limit, filter, or use --count")

    connection.with_dataplane(socket_path, config_path, work)


@command.command("instances")
@connection.options
@_json
def instances(socket_path: Path | None, config_path: Path | None, *, as_json: bool) -> None:
    """Show instances: state, load, packets per second, mappings, blocks, drops."""

    async def work(dataplane: Dataplane) -> None:
        before, after = await _two_snapshots(dataplane)
        rates = between(before, after)
        host = dataplane.capabilities.host
        if as_json:
            write_json(values.snapshot(after, host, rates))
        else:
            click.echo(text.instances(after, host, rates))

    connection.with_dataplane(socket_path, config_path, work)


@command.command("mappings")
@connection.options
@click.option(
    "--inside",
    type=_PREFIX,
    default=str(ANYWHERE),
    metavar="PREFIX",
    help="Inside address or prefix.",
)
@click.option(
    "--external",
    type=_PREFIX,
    default=str(ANYWHERE),
    metavar="PREFIX",
    help="External address or prefix.",
)
@click.option("--inside-port", type=_PORT, default=None, metavar="PORT", help="Inside port.")
@click.option("--external-port", type=_PORT, default=None, metavar="PORT", help="External port.")
@click.option("--proto", type=click.Choice(["udp", "tcp", "icmp"]), help="Protocol.")
@click.option("--instance", type=_INSTANCE, metavar="N", help="Of one instance.")
@click.option("--static/--dynamic", "statics", default=None, help="Only these.")
@_limit
@_count
@_json
def mappings(
    socket_path: Path | None,
    config_path: Path | None,
    *,
    inside: IPv4Network,
    external: IPv4Network,
    inside_port: int | None,
    external_port: int | None,
    proto: str | None,
    instance: int | None,
    limit: int,
    statics: bool | None,
    count_only: bool,
    as_json: bool,
) -> None:
    """Show mappings: inside endpoint, external endpoint, oldest session, packets."""
    where = MappingFilter(
        inside=inside,
        external=external,
        inside_port=inside_port or 0,
        external_port=external_port or 0,
        proto=Proto[proto.upper()] if proto else None,
        statics=statics,
        instance=instance,
    )
    _listing(
        socket_path,
        config_path,
        name="mappings",
        page=lambda dataplane: lambda cursor, size: dataplane.mappings(where, cursor, limit=size),
        as_text=text.mappings,
        as_value=values.mapping,
        limit=limit,
        count_only=count_only,
        as_json=as_json,
    )


@command.command("hosts")
@connection.options
@click.option(
    "--inside",
    type=_PREFIX,
    default=str(ANYWHERE),
    metavar="PREFIX",
    help="Inside address or prefix.",
)
@click.option("--instance", type=_INSTANCE, metavar="N", help="Of one instance.")
@_limit
@_count
@_json
def hosts(
    socket_path: Path | None,
    config_path: Path | None,
    inside: IPv4Network,
    instance: int | None,
    limit: int,
    *,
    count_only: bool,
    as_json: bool,
) -> None:
    """Show inside hosts that have mappings, and the external address each keeps."""
    _listing(
        socket_path,
        config_path,
        name="hosts",
        page=lambda dataplane: (
            lambda cursor, size: dataplane.live(inside, cursor, instance=instance, limit=size)
        ),
        as_text=text.hosts,
        as_value=values.host,
        limit=limit,
        count_only=count_only,
        as_json=as_json,
    )


@command.command("blocks")
@connection.options
@click.option("--instance", type=_INSTANCE, metavar="N", help="Of one instance.")
@_limit
@_count
@_json
def blocks(
    socket_path: Path | None,
    config_path: Path | None,
    instance: int | None,
    limit: int,
    *,
    count_only: bool,
    as_json: bool,
) -> None:
    """Show blocks of the pool that are in use, and who holds them."""
    _listing(
        socket_path,
        config_path,
        name="blocks",
        page=lambda dataplane: (
            lambda cursor, size: dataplane.blocks(cursor, instance=instance, limit=size)
        ),
        as_text=text.blocks,
        as_value=values.block,
        limit=limit,
        count_only=count_only,
        as_json=as_json,
    )


@command.command("pool")
@connection.options
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(1),
    default=65536,
    help="Look at no more than N blocks in use.",
)
@_json
def pool(socket_path: Path | None, config_path: Path | None, limit: int, *, as_json: bool) -> None:
    """Show blocks per instance, and the use of each external address."""

    async def work(dataplane: Dataplane) -> None:
        snapshot = await dataplane.snapshot()
        policy = await dataplane.policy()

        def page(cursor: str, size: int) -> Awaitable[Page[Block]]:
            return dataplane.blocks(cursor, limit=size)

        used, more = await _collect(page, limit)
        host = dataplane.capabilities.host
        if as_json:
            write_json(
                {
                    "instances": [
                        {
                            "id": i.id,
                            "blocks": i.gauges.blocks,
                            "free": i.gauges.blocks_free,
                            "open": i.gauges.blocks_open,
                            "closed": i.gauges.blocks_closed,
                            "ports_held": i.gauges.ports_held,
                        }
                        for i in snapshot.instances
                    ],
                    "blocks": [values.block(b) for b in used],
                    "count": len(used),
                    "more": more,
                }
            )
        else:
            click.echo(text.pool(policy, snapshot, used, host, more=more))

    connection.with_dataplane(socket_path, config_path, work)


def _home_command(
    name: str, what: Callable[[Dataplane], Awaitable[Any]], doc: str
) -> click.Command:
    """Return the command for the home map or the rules: the same value, two copies of it."""

    def body(
        socket_path: Path | None, config_path: Path | None, limit: int, *, as_json: bool
    ) -> None:
        async def work(dataplane: Dataplane) -> None:
            value = await what(dataplane)
            if as_json:
                write_json(values.home(value))
            else:
                click.echo(text.home(value, dataplane.capabilities.host, limit))

        connection.with_dataplane(socket_path, config_path, work)

    body.__doc__ = doc
    return command.command(name)(connection.options(_limit(_json(body))))


_home_command("rules", lambda d: d.rules(), "Show the dispatcher's rules in force.")
_home_command("home", lambda d: d.home(), "Show the home map: which instance serves whom.")


@command.command("policies")
@connection.options
@_limit
@_json
def policies(
    socket_path: Path | None, config_path: Path | None, limit: int, *, as_json: bool
) -> None:
    """Show the policies in force, by inside prefix."""

    async def work(dataplane: Dataplane) -> None:
        value = await dataplane.policy()
        if as_json:
            write_json(values.policies(value))
        else:
            click.echo(text.policies(value, limit))

    connection.with_dataplane(socket_path, config_path, work)


@command.command("errors")
@connection.options
@_json
def errors(socket_path: Path | None, config_path: Path | None, *, as_json: bool) -> None:
    """Show what was dropped or passed untranslated, by reason."""

    async def work(dataplane: Dataplane) -> None:
        snapshot = await dataplane.snapshot()
        if as_json:
            write_json(values.snapshot(snapshot, dataplane.capabilities.host, {}))
        else:
            click.echo(text.errors(snapshot, dataplane.capabilities.host))

    connection.with_dataplane(socket_path, config_path, work)


@command.command("events")
@connection.options
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(1),
    default=None,
    help="End after N events; without it they are followed until Ctrl-C.",
)
@click.option(
    "--for",
    "seconds",
    metavar="S",
    type=FloatRange(min=0),
    default=None,
    help="End after S seconds.",
)
@_json
def events(
    socket_path: Path | None,
    config_path: Path | None,
    limit: int | None,
    seconds: float | None,
    *,
    as_json: bool,
) -> None:
    """Follow what instances report: blocks, mappings, limits, exhaustion.

    With --json one object per line. What is reported is set by log.events.
    """

    async def work(dataplane: Dataplane) -> None:
        left = limit
        host = dataplane.capabilities.host
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                async for event in dataplane.events():
                    if as_json:
                        write_json_line(values.event(event))
                    else:
                        click.echo(text.event(event, host))
                    if left is not None:
                        left -= 1
                        if left == 0:
                            return

    with contextlib.suppress(KeyboardInterrupt):
        connection.with_dataplane(socket_path, config_path, work)
