# SPDX-License-Identifier: Apache-2.0
"""Serves a dataplane over gRPC: the far end of ``RemoteDataplane``.

Thin: it turns messages into values, calls the dataplane, and turns what it answers or raises back
into messages and status codes.
"""

from __future__ import annotations

import logging
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from hashmvt.dataplane.base import PAGE
from hashmvt.dataplane.rpc import codec, methods
from hashmvt.dataplane.rpc import dataplane_pb2 as pb
from hashmvt.errors import DataplaneError
from hashmvt.model import Endpoint, HomeMap, MappingFilter, Packet, StaticMapping
from hashmvt.policy import PolicySet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from google.protobuf.message import Message

    from hashmvt.dataplane.base import Dataplane
    from hashmvt.dataplane.rpc.methods import Method

log = logging.getLogger(__name__)


class DataplaneService:
    """The handlers of one dataplane. It neither opens nor closes the dataplane."""

    def __init__(self, dataplane: Dataplane) -> None:
        """Serve this dataplane."""
        self._plane = dataplane

    def handler(self) -> grpc.GenericRpcHandler:
        """What ``grpc.aio.Server.add_generic_rpc_handlers`` takes."""
        unary: tuple[tuple[Method[Any, Any], Callable[[Any], Awaitable[Message]]], ...] = (
            (methods.CAPABILITIES, self._read_capabilities),
            (methods.SNAPSHOT, self._snapshot),
            (methods.HOME, self._home),
            (methods.RULES, self._rules),
            (methods.POLICY, self._policy),
            (methods.LIVE, self._live),
            (methods.MAPPINGS, self._mappings),
            (methods.BLOCKS, self._blocks),
            (methods.ACTIVATE, self._activate),
            (methods.DRAIN, self._drain),
            (methods.RESET, self._reset),
            (methods.TRANSFER, self._transfer),
            (methods.SHARD, self._shard),
            (methods.SET_HOME, self._set_home),
            (methods.SET_RULES, self._set_rules),
            (methods.SET_POLICY, self._set_policy),
            (methods.STATIC_ADD, self._static_add),
            (methods.STATIC_DEL, self._static_del),
            (methods.MAPPING_DELETE, self._mapping_delete),
            (methods.ADVANCE, self._advance),
            (methods.INJECT, self._inject),
            (methods.BUCKETS, self._buckets),
        )
        return handler_of(methods.SERVICE, unary, (methods.EVENTS, self._events))

    # ---- read ----

    async def _read_capabilities(self, _request: pb.Empty) -> Message:
        reply: Message = codec.to_message(self._plane.capabilities)
        return reply

    async def _snapshot(self, request: pb.CursorRequest) -> Message:
        reply: Message = codec.to_message(await self._plane.snapshot(request.cursor))
        return reply

    async def _home(self, _request: pb.Empty) -> Message:
        reply: Message = codec.to_message(await self._plane.home())
        return reply

    async def _rules(self, _request: pb.Empty) -> Message:
        reply: Message = codec.to_message(await self._plane.rules())
        return reply

    async def _policy(self, _request: pb.Empty) -> Message:
        reply: Message = codec.to_message(await self._plane.policy())
        return reply

    async def _live(self, request: pb.LiveRequest) -> Message:
        page = await self._plane.live(
            codec.prefix_from_message(request.inside),
            request.cursor,
            instance=request.instance if request.HasField("instance") else None,
            realm=request.realm,
            limit=_limit(request.limit),
        )
        return pb.HostPage(items=[codec.to_message(item) for item in page.items], next=page.next)

    async def _mappings(self, request: pb.MappingsRequest) -> Message:
        where = codec.from_message(MappingFilter, request.where)
        page = await self._plane.mappings(where, request.cursor, limit=_limit(request.limit))
        return pb.MappingPage(items=[codec.to_message(item) for item in page.items], next=page.next)

    async def _blocks(self, request: pb.BlocksRequest) -> Message:
        page = await self._plane.blocks(
            request.cursor,
            instance=request.instance if request.HasField("instance") else None,
            limit=_limit(request.limit),
        )
        return pb.BlockPage(items=[codec.to_message(item) for item in page.items], next=page.next)

    async def _events(
        self, _request: pb.Empty, context: grpc.aio.ServicerContext[pb.Empty, pb.Event]
    ) -> AsyncIterator[pb.Event]:
        try:
            async for event in self._plane.events():
                yield codec.to_message(event)
        except DataplaneError as error:
            await _abort(context, error)

    # ---- change ----

    async def _activate(self, request: pb.InstanceRequest) -> Message:
        await self._plane.activate(request.instance, generation=_generation(request))
        return pb.Empty()

    async def _drain(self, request: pb.InstanceRequest) -> Message:
        await self._plane.drain(request.instance, generation=_generation(request))
        return pb.Empty()

    async def _reset(self, request: pb.InstanceRequest) -> Message:
        await self._plane.reset(request.instance, generation=_generation(request))
        return pb.Empty()

    async def _transfer(self, request: pb.TransferRequest) -> Message:
        moved = await self._plane.transfer(
            request.blocks,
            from_instance=request.from_instance,
            to_instance=request.to_instance,
            external=IPv4Address(request.external) if request.HasField("external") else None,
            generation=_generation(request),
        )
        return pb.CountReply(count=moved)

    async def _shard(self, request: pb.ShardRequest) -> Message:
        moved = await self._plane.shard(
            request.percent,
            from_instance=request.from_instance,
            to_instance=request.to_instance,
            generation=_generation(request),
        )
        return pb.CountReply(count=moved)

    async def _set_home(self, request: pb.HomeMap) -> Message:
        await self._plane.set_home(codec.from_message(HomeMap, request))
        return pb.Empty()

    async def _set_rules(self, request: pb.HomeMap) -> Message:
        await self._plane.set_rules(codec.from_message(HomeMap, request))
        return pb.Empty()

    async def _set_policy(self, request: pb.SetPolicyRequest) -> Message:
        policy = codec.from_message(PolicySet, request.policy)
        await self._plane.set_policy(policy, force=request.force)
        return pb.Empty()

    async def _static_add(self, request: pb.StaticAddRequest) -> Message:
        mapping = codec.from_message(StaticMapping, request.mapping)
        await self._plane.static_add(mapping, generation=_generation(request))
        return pb.Empty()

    async def _static_del(self, request: pb.StaticDelRequest) -> Message:
        outside = codec.from_message(Endpoint, request.outside)
        await self._plane.static_del(outside, generation=_generation(request))
        return pb.Empty()

    async def _mapping_delete(self, request: pb.MappingDeleteRequest) -> Message:
        where = codec.from_message(MappingFilter, request.where)
        ended = await self._plane.mapping_delete(where, generation=_generation(request))
        return pb.CountReply(count=ended)

    async def _advance(self, request: pb.AdvanceRequest) -> Message:
        await self._plane.advance(request.seconds)
        return pb.Empty()

    async def _inject(self, request: pb.InjectRequest) -> Message:
        packets = [codec.from_message(Packet, packet) for packet in request.packets]
        outcomes = await self._plane.inject(packets)
        return pb.InjectReply(outcomes=[codec.to_message(outcome) for outcome in outcomes])

    async def _buckets(self, request: pb.BucketsRequest) -> Message:
        hosts = [IPv4Address(host) for host in request.hosts]
        return pb.Buckets(items=await self._plane.buckets(hosts, realm=request.realm))


def _generation(request: Any) -> int | None:
    return request.generation if request.HasField("generation") else None


def _limit(asked: int) -> int:
    return min(asked or PAGE, methods.MAX_LIMIT)


def handler_of(
    service: str,
    unary: Iterable[tuple[methods.Method[Any, Any], Any]],
    stream: tuple[methods.Method[Any, Any], Any],
) -> grpc.GenericRpcHandler:
    """Return what serves these methods of a service: each with one answer, and one with many."""
    handlers = {
        method.name: grpc.unary_unary_rpc_method_handler(
            _guarded(call),
            request_deserializer=method.request.FromString,
            response_serializer=method.reply.SerializeToString,
        )
        for method, call in unary
    }
    method, call = stream
    handlers[method.name] = grpc.unary_stream_rpc_method_handler(
        call,
        request_deserializer=method.request.FromString,
        response_serializer=method.reply.SerializeToString,
    )
    return grpc.method_handlers_generic_handler(service, handlers)


def _guarded(
    call: Callable[[Any], Awaitable[Message]],
) -> Callable[[Any, grpc.aio.ServicerContext[Any, Any]], Awaitable[Message | None]]:
    """Turn what the dataplane raises into a status."""

    async def answer(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Message | None:
        try:
            return await call(request)
        except DataplaneError as error:
            await _abort(context, error)
        except Exception:
            log.exception("a call from outside met a defect")
            raise
        return None

    return answer


async def _abort(context: grpc.aio.ServicerContext[Any, Any], error: DataplaneError) -> None:
    code, metadata = methods.to_status(error)
    await context.abort(code, str(error), metadata)
