# SPDX-License-Identifier: Apache-2.0
"""The coordinator's commands over gRPC: status, scale-out, scale-in, and the log of steps."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, Protocol

import grpc

from hashmvt.control import homemap
from hashmvt.control.controller import Busy
from hashmvt.control.service import handler_of
from hashmvt.dataplane.rpc import dataplane_pb2 as pb
from hashmvt.dataplane.rpc import methods
from hashmvt.errors import Rejected, Unavailable
from hashmvt.names import ErrorCode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    import grpc.aio
    from google.protobuf.message import Message

    from hashmvt.control.controller import HostController
    from hashmvt.control.wire import Receiver

FOLLOW_S = 0.1


class Controlled(Protocol):
    """One host, as commands see it."""

    host: str
    reachable: bool
    heard_at: float | None
    controller: HostController


class Controls(Protocol):
    """A coordinator, as commands see it."""

    @property
    def members(self) -> Mapping[str, Controlled]:
        """The hosts by name."""
        ...

    @property
    def receiver(self) -> Receiver:
        """Where heartbeats arrive."""
        ...

    def wake(self, host: str) -> None:
        """Let a host's controller look at once."""
        ...


class CoordinatorService:
    """The handlers of one coordinator."""

    def __init__(self, coordinator: Controls) -> None:
        """Serve this coordinator."""
        self._coordinator = coordinator

    def handler(self) -> grpc.GenericRpcHandler:
        """What ``grpc.aio.Server.add_generic_rpc_handlers`` takes."""
        unary: tuple[tuple[methods.Method[Any, Any], Any], ...] = (
            (methods.STATUS, self._status),
            (methods.SCALE_OUT, self._scale_out),
            (methods.SCALE_IN, self._scale_in),
        )
        return handler_of(methods.COORDINATOR, unary, (methods.STEPS, self._steps))

    async def _status(self, _request: pb.Empty) -> Message:
        receiver = self._coordinator.receiver
        now = time.monotonic()
        return pb.StatusReply(
            hosts=[_host_status(member, now) for member in self._coordinator.members.values()],
            heartbeats=receiver.accepted,
            refused={refusal.value: n for refusal, n in receiver.refused.items() if n},
        )

    async def _scale_out(self, request: pb.ScaleOutRequest) -> Message:
        member = self._member(request.host)
        with _refusals(member):
            operation = await member.controller.begin_scale_out(
                source=request.source if request.HasField("source") else None,
                target=request.target if request.HasField("target") else None,
                open_hosts=request.open_hosts,
            )
        return self._begun(member, str(operation))

    async def _scale_in(self, request: pb.ScaleInRequest) -> Message:
        member = self._member(request.host)
        with _refusals(member):
            operation = await member.controller.begin_scale_in(request.instance)
        return self._begun(member, str(operation))

    def _begun(self, member: Controlled, operation: str) -> Message:
        self._coordinator.wake(member.host)
        return pb.OperationReply(operation=operation, step=member.controller.steps[-1].number)

    async def _steps(
        self, request: pb.StepsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.Step]:
        try:
            member = self._member(request.host)
        except Rejected as error:
            code, metadata = methods.to_status(error)
            await context.abort(code, str(error), metadata)
        number = request.first
        while True:
            for step in [s for s in member.controller.steps if s.number >= number]:
                yield pb.Step(number=step.number, at=step.at, text=step.text)
                number = step.number + 1
            if not request.follow:
                return
            await asyncio.sleep(FOLLOW_S)

    def _member(self, host: str) -> Controlled:
        members = self._coordinator.members
        if not host and len(members) == 1:
            return next(iter(members.values()))
        if host in members:
            return members[host]
        known = ", ".join(members)
        what = f"no host is called {host}" if host else "there are several hosts: name one"
        raise Rejected(ErrorCode.NOT_FOUND, f"{what} (known: {known})")


@contextlib.contextmanager
def _refusals(member: Controlled) -> Iterator[None]:
    """Say why an operation cannot begin, in a way that crosses the wire."""
    try:
        yield
    except Busy as error:
        raise Rejected(ErrorCode.IN_USE, str(error)) from None
    except Unavailable as error:
        raise Unavailable(f"{member.host}: {error}") from None


def _host_status(member: Controlled, now: float) -> pb.HostStatus:
    observed, controller = member.controller.observed, member.controller
    status = pb.HostStatus(
        host=member.host,
        reachable=member.reachable,
        operation=str(controller.operation) if controller.operation else "",
        heartbeat_age_s=None if member.heard_at is None else now - member.heard_at,
    )
    if observed is None:
        return status
    home = observed.home
    status.home_version = home.version
    status.rules_version = observed.rules_version
    status.pinned_hosts = sum(map(homemap.is_pin, home.ranges))
    status.pinned_endpoints = len(home.pins)
    status.closing = len(homemap.moving(home))
    status.instances.extend(
        pb.InstanceStatus(
            id=one.id,
            state=one.state,
            load=one.load,
            mappings=one.mappings,
            limit=one.limit,
            free_blocks=one.free_blocks,
            stalled_s=one.stalled_s,
        )
        for one in observed.instances
    )
    return status
