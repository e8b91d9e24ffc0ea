# SPDX-License-Identifier: Apache-2.0
"""The methods of the service, and how errors cross it; both ends use this one table."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import grpc

from hashmvt.dataplane.rpc import dataplane_pb2 as pb
from hashmvt.errors import (
    DataplaneError,
    ProtocolError,
    Rejected,
    Unavailable,
    Unsupported,
)
from hashmvt.names import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from google.protobuf.message import Message

SERVICE = "hashmvt.v1.Dataplane"
COORDINATOR = "hashmvt.v1.Coordinator"
CODE_KEY = "hashmvt-code"
SAID_KEY = "hashmvt-said"
"""The far end itself says that it cannot do it now: its words are for people, gRPC's are not."""
MAX_MESSAGE = 64 * 1024 * 1024
"""Bytes: a home map of a million ranges fits."""
MAX_LIMIT = 16384
"""Items of a page at most, whatever is asked for."""

Q = TypeVar("Q", bound="Message")
R = TypeVar("R", bound="Message")


@dataclass(frozen=True, slots=True)
class Method(Generic[Q, R]):
    """One method of a service: its name and what goes over the wire."""

    name: str
    request: type[Q]
    reply: type[R]
    service: str = SERVICE

    @property
    def path(self) -> str:
        """As gRPC spells it."""
        return f"/{self.service}/{self.name}"


CAPABILITIES = Method("Capabilities", pb.Empty, pb.CapabilitiesReply)
SNAPSHOT = Method("Snapshot", pb.CursorRequest, pb.SnapshotReply)
HOME = Method("Home", pb.Empty, pb.HomeMap)
RULES = Method("Rules", pb.Empty, pb.HomeMap)
POLICY = Method("Policy", pb.Empty, pb.PolicySet)
LIVE = Method("Live", pb.LiveRequest, pb.HostPage)
MAPPINGS = Method("Mappings", pb.MappingsRequest, pb.MappingPage)
BLOCKS = Method("Blocks", pb.BlocksRequest, pb.BlockPage)
EVENTS = Method("Events", pb.Empty, pb.Event)
ACTIVATE = Method("Activate", pb.InstanceRequest, pb.Empty)
DRAIN = Method("Drain", pb.InstanceRequest, pb.Empty)
RESET = Method("Reset", pb.InstanceRequest, pb.Empty)
TRANSFER = Method("Transfer", pb.TransferRequest, pb.CountReply)
SHARD = Method("Shard", pb.ShardRequest, pb.CountReply)
SET_HOME = Method("SetHome", pb.HomeMap, pb.Empty)
SET_RULES = Method("SetRules", pb.HomeMap, pb.Empty)
SET_POLICY = Method("SetPolicy", pb.SetPolicyRequest, pb.Empty)
STATIC_ADD = Method("StaticAdd", pb.StaticAddRequest, pb.Empty)
STATIC_DEL = Method("StaticDel", pb.StaticDelRequest, pb.Empty)
MAPPING_DELETE = Method("MappingDelete", pb.MappingDeleteRequest, pb.CountReply)
ADVANCE = Method("Advance", pb.AdvanceRequest, pb.Empty)
INJECT = Method("Inject", pb.InjectRequest, pb.InjectReply)
BUCKETS = Method("BucketsOf", pb.BucketsRequest, pb.Buckets)

STATUS = Method("Status", pb.Empty, pb.StatusReply, COORDINATOR)
SCALE_OUT = Method("ScaleOut", pb.ScaleOutRequest, pb.OperationReply, COORDINATOR)
SCALE_IN = Method("ScaleIn", pb.ScaleInRequest, pb.OperationReply, COORDINATOR)
STEPS = Method("Steps", pb.StepsRequest, pb.Step, COORDINATOR)

CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.use_local_subchannel_pool", 1),  # a new client connects anew, and says so if it cannot
)


def to_status(error: DataplaneError) -> tuple[grpc.StatusCode, tuple[tuple[str, str], ...]]:
    """What an error is on the wire: status code and trailing metadata."""
    if isinstance(error, Rejected):
        return grpc.StatusCode.FAILED_PRECONDITION, ((CODE_KEY, str(int(error.code))),)
    if isinstance(error, Unsupported):
        return grpc.StatusCode.UNIMPLEMENTED, ()
    if isinstance(error, ProtocolError):
        return grpc.StatusCode.INVALID_ARGUMENT, ()
    return grpc.StatusCode.UNAVAILABLE, ((SAID_KEY, "1"),)


def from_status(
    code: grpc.StatusCode, details: str, metadata: Iterable[tuple[str, str | bytes]], away: str
) -> DataplaneError:
    """The error that a status means; `away` is what to say when the far end said nothing."""
    found = dict(metadata)
    if code is grpc.StatusCode.FAILED_PRECONDITION:
        try:
            return Rejected(ErrorCode(int(found[CODE_KEY])), details)
        except (KeyError, ValueError):
            return ProtocolError(f"the agent refused without a known code: {details}")
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return Unsupported(details)
    if code in {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
    }:
        return Unavailable(details if SAID_KEY in found else away)
    return ProtocolError(f"{details} ({code.name.lower()})")


# ---- why nobody answers ----


def unreachable(path: Path, program: str) -> str:
    """Why a Unix socket cannot be connected to, and what to do; empty when somebody listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as sock:
        sock.setblocking(False)  # noqa: FBT003 - the standard library's signature
        try:
            sock.connect(str(path))
        except BlockingIOError:  # its queue is full: somebody listens and does not accept
            return ""
        except PermissionError:
            return "its socket may not be used: join the group of the socket"
        except OSError:
            return f"nobody listens there: start it with {program} -c FILE"
    return ""


def hanging(timeout_s: float) -> str:
    """Why somebody who listens does not answer."""
    return f"nothing came within {timeout_s:g} s: it hangs or is stopped"
