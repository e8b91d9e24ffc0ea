# SPDX-License-Identifier: Apache-2.0
"""``hashmvt scale``: commands to a running coordinator."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import grpc
import grpc.aio

from hashmvt.config import CoordinatorConfig, load
from hashmvt.dataplane.rpc import dataplane_pb2 as pb
from hashmvt.dataplane.rpc import methods
from hashmvt.errors import Unavailable
from hashmvt.model import InstanceState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from google.protobuf.message import Message

    from hashmvt.dataplane.rpc.methods import Method

PROGRAM = "hashmvt-coord"
TIMEOUT_S = 30.0
"""The coordinator asks the agent, whom it gives 10 s for each answer."""

T = TypeVar("T")
R = TypeVar("R", bound="Message")


class CoordinatorClient:
    """A connection to a coordinator. Whoever made it calls ``aclose``."""

    def __init__(self, path: Path) -> None:
        """Use a control socket; nothing is sent yet."""
        self._path = path
        self._channel = grpc.aio.insecure_channel(f"unix:{path}", methods.CHANNEL_OPTIONS)

    async def call(self, method: Method[Any, R], request: Message) -> R:
        """Call a method.

        Raises:
            Unavailable: no coordinator answers, or it gets no answer from the agent.
            Rejected: it refused; the message says why.

        """
        if reason := methods.unreachable(self._path, PROGRAM):
            raise Unavailable(f"no coordinator answers at {self._path}: {reason}")
        call = self._channel.unary_unary(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.reply.FromString,
        )
        try:
            reply: R = await call(request, timeout=TIMEOUT_S, wait_for_ready=True)
        except grpc.aio.AioRpcError as error:
            raise self._error(error) from None
        return reply

    async def steps(self, request: pb.StepsRequest) -> AsyncIterator[pb.Step]:
        """Iterate over the log of steps.

        Raises:
            Unavailable: no coordinator answers.

        """
        call = self._channel.unary_stream(
            methods.STEPS.path,
            request_serializer=pb.StepsRequest.SerializeToString,
            response_deserializer=pb.Step.FromString,
        )
        try:
            async for step in call(request):
                yield step
        except grpc.aio.AioRpcError as error:
            raise self._error(error) from None

    def _error(self, error: grpc.aio.AioRpcError) -> Exception:
        metadata = [(str(key), value) for key, value in error.trailing_metadata() or ()]
        details = error.details() or "no reason given"
        away = methods.unreachable(self._path, PROGRAM) or methods.hanging(TIMEOUT_S)
        away = f"the coordinator at {self._path} does not answer: {away}"
        return methods.from_status(error.code(), details, metadata, away)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._channel.close()


@click.group("scale")
@click.option("--socket", type=click.Path(path_type=Path), help="Control socket.")
@click.option(
    "-c", "--config", type=click.Path(path_type=Path), help="Find the socket in this file."
)
@click.option(
    "--host", default="", show_default=False, help="Host, where the coordinator has several."
)
@click.pass_context
def command(ctx: click.Context, socket: Path | None, config: Path | None, host: str) -> None:
    """Scale the instances of a running coordinator by hand."""
    path = socket or (load(config) if config else None)
    if path is None:
        path = CoordinatorConfig().control
    elif not isinstance(path, Path):
        path = path.coordinator.control
    ctx.obj = (path, host)


@command.command("out")
@click.argument("instance", type=click.IntRange(min=0), required=False)
@click.option("--from", "source", type=click.IntRange(min=0), help="Whom to relieve.")
@click.option(
    "--open",
    "open_hosts",
    is_flag=True,
    help="Also send new flows of hosts that are served already to the new instance.",
)
@click.option("--no-wait", is_flag=True, help="Begin, and do not follow the steps.")
@click.pass_obj
def scale_out(
    obj: tuple[Path, str],
    instance: int | None,
    source: int | None,
    open_hosts: bool,
    no_wait: bool,
) -> None:
    """Start INSTANCE (or a spare one) and give it half of the busiest one's hosts."""
    path, host = obj
    request = pb.ScaleOutRequest(host=host, source=source, target=instance, open_hosts=open_hosts)
    _run(path, lambda client: _begin(client, methods.SCALE_OUT, request, host, wait=not no_wait))


@command.command("in")
@click.argument("instance", type=click.IntRange(min=0))
@click.option("--no-wait", is_flag=True, help="Begin, and do not follow the steps.")
@click.pass_obj
def scale_in(obj: tuple[Path, str], instance: int, no_wait: bool) -> None:
    """Give everything of INSTANCE to the least loaded one; it ends when it is empty."""
    path, host = obj
    request = pb.ScaleInRequest(host=host, instance=instance)
    _run(path, lambda client: _begin(client, methods.SCALE_IN, request, host, wait=not no_wait))


@command.command("status")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def status(obj: tuple[Path, str], as_json: bool) -> None:
    """Show hosts, instances, moving ranges and heartbeats."""
    reply = _run(obj[0], lambda client: client.call(methods.STATUS, pb.Empty()))
    if as_json:
        click.echo(json.dumps(_status(reply), indent=2))
        return
    for host in reply.hosts:
        click.echo(_host_text(host))
        for one in host.instances:
            name = InstanceState(one.state).name.lower()
            click.echo(
                f"  instance {one.id:2}  {name:8}  load {one.load:4.0%}  "
                f"mappings {one.mappings}/{one.limit}  free blocks {one.free_blocks}"
            )
    refused = ", ".join(f"{reason} {n}" for reason, n in sorted(reply.refused.items()))
    click.echo(f"heartbeats {reply.heartbeats}, refused: {refused or 'none'}")


def _status(reply: pb.StatusReply) -> dict[str, object]:
    """The reply as JSON: protobuf's own writes 64-bit numbers as strings and states as numbers."""
    return {
        "hosts": [
            {
                **_plain(host),
                "instances": [
                    {**_plain(one), "state": InstanceState(one.state).name.lower()}
                    for one in host.instances
                ],
            }
            for host in reply.hosts
        ],
        "heartbeats": reply.heartbeats,
        "refused": dict(reply.refused),
    }


def _plain(message: Message) -> dict[str, object]:
    """The single values of a message; an optional one that is absent is null."""
    return {
        field.name: getattr(message, field.name)
        if not field.has_presence or message.HasField(field.name)
        else None
        for field in message.DESCRIPTOR.fields
        if field.message_type is None
    }


@command.command("steps")
@click.option("-f", "--follow", is_flag=True, help="Go on as steps come.")
@click.pass_obj
def steps(obj: tuple[Path, str], follow: bool) -> None:
    """Show what the coordinator did, step by step."""
    path, host = obj

    async def show(client: CoordinatorClient) -> None:
        async for step in client.steps(pb.StepsRequest(host=host, follow=follow)):
            _say(step)

    _run(path, show)


def _run(path: Path, work: Callable[[CoordinatorClient], Awaitable[T]]) -> T:
    async def connected() -> T:
        client = CoordinatorClient(path)
        try:
            return await work(client)
        finally:
            await client.aclose()

    return asyncio.run(connected())


async def _begin(
    client: CoordinatorClient,
    method: Method[Any, pb.OperationReply],
    request: Message,
    host: str,
    *,
    wait: bool,
) -> None:
    begun = await client.call(method, request)
    if not wait:
        click.echo(begun.operation)
        return
    follow = pb.StepsRequest(host=host, follow=True, first=begun.step)
    async for step in client.steps(follow):
        _say(step)
        if step.text.startswith(begun.operation) and step.text.endswith((": done", ": given up")):
            return


def _say(step: pb.Step) -> None:
    at = time.strftime("%H:%M:%S", time.localtime(step.at))
    click.echo(f"{at}.{int(step.at % 1 * 1000):03} {step.text}")


def _host_text(host: pb.HostStatus) -> str:
    beat = f"{host.heartbeat_age_s:.1f} s ago" if host.HasField("heartbeat_age_s") else "none yet"
    parts = [
        f"{host.host}: {'' if host.reachable else 'NOT REACHABLE, '}last heartbeat {beat}",
        f"home map {host.home_version}, rules {host.rules_version}",
        f"{host.pinned_hosts} hosts and {host.pinned_endpoints} endpoints pinned",
    ]
    if host.closing:
        parts.append(f"{host.closing} ranges moving")
    if host.operation:
        parts.append(host.operation)
    return "; ".join(parts)
