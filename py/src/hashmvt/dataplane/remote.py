# SPDX-License-Identifier: Apache-2.0
"""``RemoteDataplane``: the dataplane of an agent, over gRPC.

A Unix socket on the same host, mutual TLS between hosts. The channel reconnects by itself; a call
that finds nobody raises ``Unavailable`` and may be repeated with its generation. The stream of
events subscribes anew after a break, and logs that there was one, because events may be missing.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

import grpc
import grpc.aio

from hashmvt.dataplane.base import PAGE, Capabilities
from hashmvt.dataplane.rpc import codec, methods
from hashmvt.dataplane.rpc import dataplane_pb2 as pb
from hashmvt.errors import Rejected, Unavailable
from hashmvt.model import (
    Block,
    Endpoint,
    Event,
    HomeMap,
    Host,
    Mapping,
    MappingFilter,
    Outcome,
    Packet,
    Page,
    Snapshot,
    StaticMapping,
)
from hashmvt.names import ErrorCode
from hashmvt.policy import PolicySet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from ipaddress import IPv4Address, IPv4Network

    from google.protobuf.message import Message

    from hashmvt.dataplane.rpc.methods import Method

Q = TypeVar("Q", bound="Message")
R = TypeVar("R", bound="Message")

PROGRAM = "hashmvt-agent"
RESUBSCRIBE_S = 0.5
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tls:
    """Both sides show a certificate that the authority signed."""

    certificate: Path
    key: Path
    authority: Path


class RemoteDataplane:
    """A dataplane somewhere else. Made by ``connect``; whoever did calls ``aclose``."""

    def __init__(self, channel: grpc.aio.Channel, where: Path | str, timeout_s: float) -> None:
        """Use a channel; ``connect`` is the way to get one."""
        self._channel = channel
        self._where = where
        self._timeout_s = timeout_s
        self._capabilities: Capabilities | None = None
        self._closed = asyncio.Event()

    @classmethod
    async def connect(
        cls, address: Path | str, *, tls: Tls | None = None, timeout_s: float = 10.0
    ) -> RemoteDataplane:
        """Connect to an agent: the path of its socket, or ``host:port`` with TLS.

        Raises:
            Unavailable: nobody listens there, or nobody answers within ``timeout_s``.
            ProtocolError: whoever answers is no agent.
            OSError: a file of the TLS configuration cannot be read.

        """
        here = isinstance(address, Path)
        if isinstance(address, Path):
            if reason := methods.unreachable(address, PROGRAM):
                raise Unavailable(f"the agent at {address} does not answer: {reason}")
            channel = grpc.aio.insecure_channel(f"unix:{address}", methods.CHANNEL_OPTIONS)
        else:
            if tls is None:
                raise ValueError("agents on other hosts are reached with mutual TLS only")
            channel = grpc.aio.secure_channel(address, _credentials(tls), methods.CHANNEL_OPTIONS)
        remote = cls(channel, address, timeout_s)
        try:
            # somebody listens here, so it is worth to wait for whoever is slow to accept
            reply = await remote._call(methods.CAPABILITIES, pb.Empty(), wait=here)
            remote._capabilities = codec.from_message(Capabilities, reply)
        except BaseException:
            await channel.close()
            raise
        return remote

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close."""
        await self.aclose()

    @property
    def capabilities(self) -> Capabilities:
        """What the far end can do, as it said when it was connected."""
        if self._capabilities is None:
            raise RuntimeError("not connected: use RemoteDataplane.connect")
        return self._capabilities

    # ---- read ----

    async def snapshot(self, cursor: str = "") -> Snapshot:
        """See ``Dataplane``."""
        reply = await self._call(methods.SNAPSHOT, _fit(pb.CursorRequest, cursor=cursor))
        return codec.from_message(Snapshot, reply)

    async def home(self) -> HomeMap:
        """See ``Dataplane``."""
        reply = await self._call(methods.HOME, pb.Empty())
        return codec.from_message(HomeMap, reply)

    async def rules(self) -> HomeMap:
        """See ``Dataplane``."""
        reply = await self._call(methods.RULES, pb.Empty())
        return codec.from_message(HomeMap, reply)

    async def policy(self) -> PolicySet:
        """See ``Dataplane``."""
        reply = await self._call(methods.POLICY, pb.Empty())
        return codec.from_message(PolicySet, reply)

    async def live(
        self,
        inside: IPv4Network,
        cursor: str = "",
        *,
        instance: int | None = None,
        realm: int = 0,
        limit: int = PAGE,
    ) -> Page[Host]:
        """See ``Dataplane``."""
        request = _fit(
            pb.LiveRequest,
            inside=codec.prefix_to_message(inside),
            cursor=cursor,
            instance=instance,
            realm=realm,
            limit=limit,
        )
        reply = await self._call(methods.LIVE, request)
        hosts = tuple(codec.from_message(Host, item) for item in reply.items)
        return Page(hosts, reply.next if reply.HasField("next") else None)

    async def mappings(
        self, where: MappingFilter, cursor: str = "", *, limit: int = PAGE
    ) -> Page[Mapping]:
        """See ``Dataplane``."""
        request = _fit(
            pb.MappingsRequest, where=codec.to_message(where), cursor=cursor, limit=limit
        )
        reply = await self._call(methods.MAPPINGS, request)
        found = tuple(codec.from_message(Mapping, item) for item in reply.items)
        return Page(found, reply.next if reply.HasField("next") else None)

    async def blocks(
        self, cursor: str = "", *, instance: int | None = None, limit: int = PAGE
    ) -> Page[Block]:
        """See ``Dataplane``."""
        request = _fit(pb.BlocksRequest, cursor=cursor, instance=instance, limit=limit)
        reply = await self._call(methods.BLOCKS, request)
        found = tuple(codec.from_message(Block, item) for item in reply.items)
        return Page(found, reply.next if reply.HasField("next") else None)

    async def events(self) -> AsyncIterator[Event]:
        """See ``Dataplane``."""
        method = methods.EVENTS
        call = self._channel.unary_stream(
            method.path,
            request_serializer=pb.Empty.SerializeToString,
            response_deserializer=method.reply.FromString,
        )
        while not self._closed.is_set():
            try:
                async for message in call(pb.Empty()):
                    yield codec.from_message(Event, message)
            except grpc.aio.AioRpcError as error:
                if self._closed.is_set():
                    return
                failure = self._error(error)
                if not isinstance(failure, Unavailable):
                    raise failure from None
                log.warning("events of %s were interrupted; some may be missing", self._where)
            except (asyncio.CancelledError, grpc.aio.UsageError):
                if self._closed.is_set():
                    return  # the channel was closed under the stream
                raise
            try:
                async with asyncio.timeout(RESUBSCRIBE_S):
                    await self._closed.wait()
            except TimeoutError:
                continue

    # ---- instances and blocks ----

    async def activate(self, instance: int, *, generation: int | None = None) -> None:
        """See ``Dataplane``."""
        await self._call(
            methods.ACTIVATE, _fit(pb.InstanceRequest, instance=instance, generation=generation)
        )

    async def drain(self, instance: int, *, generation: int | None = None) -> None:
        """See ``Dataplane``."""
        await self._call(
            methods.DRAIN, _fit(pb.InstanceRequest, instance=instance, generation=generation)
        )

    async def reset(self, instance: int, *, generation: int | None = None) -> None:
        """See ``Dataplane``."""
        await self._call(
            methods.RESET, _fit(pb.InstanceRequest, instance=instance, generation=generation)
        )

    async def transfer(
        self,
        blocks: int,
        *,
        from_instance: int,
        to_instance: int,
        external: IPv4Address | None = None,
        generation: int | None = None,
    ) -> int:
        """See ``Dataplane``."""
        request = _fit(
            pb.TransferRequest,
            blocks=blocks,
            from_instance=from_instance,
            to_instance=to_instance,
            external=None if external is None else int(external),
            generation=generation,
        )
        return (await self._call(methods.TRANSFER, request)).count

    async def shard(
        self,
        percent: int,
        *,
        from_instance: int,
        to_instance: int,
        generation: int | None = None,
    ) -> int:
        """See ``Dataplane``."""
        request = _fit(
            pb.ShardRequest,
            percent=percent,
            from_instance=from_instance,
            to_instance=to_instance,
            generation=generation,
        )
        return (await self._call(methods.SHARD, request)).count

    # ---- who serves whom ----

    async def set_home(self, home: HomeMap) -> None:
        """See ``Dataplane``."""
        await self._call(methods.SET_HOME, codec.to_message(home))

    async def set_rules(self, rules: HomeMap) -> None:
        """See ``Dataplane``."""
        await self._call(methods.SET_RULES, codec.to_message(rules))

    # ---- policies and static mappings ----

    async def set_policy(self, policy: PolicySet, *, force: bool = False) -> None:
        """See ``Dataplane``."""
        request = _fit(pb.SetPolicyRequest, policy=codec.to_message(policy), force=force)
        await self._call(methods.SET_POLICY, request)

    async def static_add(self, mapping: StaticMapping, *, generation: int | None = None) -> None:
        """See ``Dataplane``."""
        request = _fit(
            pb.StaticAddRequest, mapping=codec.to_message(mapping), generation=generation
        )
        await self._call(methods.STATIC_ADD, request)

    async def static_del(self, outside: Endpoint, *, generation: int | None = None) -> None:
        """See ``Dataplane``."""
        request = _fit(
            pb.StaticDelRequest, outside=codec.to_message(outside), generation=generation
        )
        await self._call(methods.STATIC_DEL, request)

    async def mapping_delete(self, where: MappingFilter, *, generation: int | None = None) -> int:
        """See ``Dataplane``."""
        request = _fit(
            pb.MappingDeleteRequest, where=codec.to_message(where), generation=generation
        )
        return (await self._call(methods.MAPPING_DELETE, request)).count

    async def buckets(self, hosts: Sequence[IPv4Address], *, realm: int = 0) -> tuple[int, ...]:
        """Return the bucket of each host; see ``Dataplane.buckets``."""
        request = _fit(pb.BucketsRequest, hosts=[int(host) for host in hosts], realm=realm)
        return tuple((await self._call(methods.BUCKETS, request)).items)

    # ---- tests and tools ----

    async def advance(self, seconds: int) -> None:
        """See ``Dataplane``."""
        await self._call(methods.ADVANCE, _fit(pb.AdvanceRequest, seconds=seconds))

    async def inject(self, packets: Sequence[Packet]) -> tuple[Outcome, ...]:
        """See ``Dataplane``."""
        request = _fit(pb.InjectRequest, packets=[codec.to_message(packet) for packet in packets])
        reply = await self._call(methods.INJECT, request)
        return tuple(codec.from_message(Outcome, outcome) for outcome in reply.outcomes)

    async def aclose(self) -> None:
        """Close the connection; the dataplane at the far end goes on."""
        self._closed.set()
        await self._channel.close()

    async def _call(self, method: Method[Q, R], request: Q, *, wait: bool = False) -> R:
        if self._closed.is_set():
            raise Unavailable(f"the connection to {self._where} is closed")
        call = self._channel.unary_unary(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.reply.FromString,
        )
        try:
            return await call(request, timeout=self._timeout_s, wait_for_ready=wait)
        except grpc.aio.AioRpcError as error:
            raise self._error(error) from None
        except grpc.aio.UsageError:
            raise Unavailable(f"the connection to {self._where} is closed") from None

    def _error(self, error: grpc.aio.AioRpcError) -> Exception:
        """The exception of ours that a failed call means."""
        details = error.details() or "no reason given"
        metadata = [(str(key), value) for key, value in error.trailing_metadata() or ()]
        away = f"the agent at {self._where} does not answer: {self._away(error.code(), details)}"
        return methods.from_status(error.code(), details, metadata, away)

    def _away(self, code: grpc.StatusCode, details: str) -> str:
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return methods.hanging(self._timeout_s)
        if isinstance(self._where, Path):
            return methods.unreachable(self._where, PROGRAM) or "it hangs or was just restarted"
        if "handshake" in details.lower():
            return (
                "both certificates must be signed by tls.authority, and the agent's name its host"
            )
        return "start it, or let TCP to it through"


def _fit(kind: type[Q], **fields: object) -> Q:
    """Make a message; what its fields cannot hold is no valid argument either."""
    try:
        return kind(**fields)
    except ValueError as error:
        raise Rejected(ErrorCode.INVALID, f"a number is out of range: {error}") from None


def _credentials(tls: Tls) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        root_certificates=tls.authority.read_bytes(),
        private_key=tls.key.read_bytes(),
        certificate_chain=tls.certificate.read_bytes(),
    )
