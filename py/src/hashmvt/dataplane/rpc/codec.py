# SPDX-License-Identifier: Apache-2.0
"""Frozen values <-> protobuf messages, derived from the types on both sides.

A message mirrors its dataclass: same field names, and a type that follows from the field's type
hint, so there is nothing to write per value and nothing to forget. A hint means:

    int, bool, str, bytes    the same, by itself
    enumerations             their number
    IPv4Address              fixed32
    IPv4Network              Prefix
    a dataclass              its message
    tuple[X, ...]            repeated X; a tuple inside a tuple is a message with ``items``
    X | None                 optional X

What comes in is checked: a number that names no member, or a prefix with host bits, is refused.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from enum import Enum, IntEnum
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Any, TypeVar

from hashmvt.dataplane.rpc import dataplane_pb2 as pb
from hashmvt.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

V = TypeVar("V")
M = TypeVar("M", bound="Message")

_RENAMED = {"Capabilities": "CapabilitiesReply", "Snapshot": "SnapshotReply"}


def message_of(kind: type) -> type[Message]:
    """The message that mirrors a dataclass."""
    found: type[Message] = getattr(pb, _RENAMED.get(kind.__name__, kind.__name__))
    return found


def to_message(value: Any) -> Any:
    """Make the message of a value."""
    kind = type(value)
    return message_of(kind)(
        **{
            name: put(field)
            for name, put, _get, _optional in _fields(kind)
            if (field := getattr(value, name)) is not None
        }
    )


def from_message(kind: type[V], message: Message) -> V:
    """Make the value that a message says.

    Raises:
        ProtocolError: it holds something that no such value can.

    """
    try:
        return _value(kind, message)
    except (ValueError, KeyError, TypeError) as error:
        raise ProtocolError(f"a {kind.__name__} on the wire makes no sense: {error}") from None


def prefix_to_message(prefix: IPv4Network) -> pb.Prefix:
    """Make the message of a prefix."""
    return pb.Prefix(address=int(prefix.network_address), length=prefix.prefixlen)


def prefix_from_message(message: pb.Prefix) -> IPv4Network:
    """Make the prefix that a message says.

    Raises:
        ProtocolError: it is none.

    """
    try:
        return IPv4Network((message.address, message.length))
    except ValueError as error:
        raise ProtocolError(f"a prefix on the wire makes no sense: {error}") from None


def _value(kind: type[V], message: Message) -> V:
    return kind(
        **{
            name: get(getattr(message, name)) if not optional or message.HasField(name) else None
            for name, _put, get, optional in _fields(kind)
        }
    )


_Field = tuple[str, "Callable[[Any], Any]", "Callable[[Any], Any]", bool]


_known: dict[type, tuple[_Field, ...]] = {}


def _fields(kind: type) -> tuple[_Field, ...]:
    """Of each field: name, how it is written, how it is read, and whether it may be absent."""
    if kind in _known:
        return _known[kind]
    hints = typing.get_type_hints(kind)
    found = []
    for field in dataclasses.fields(kind):
        hint, optional = _without_none(hints[field.name])
        put, get = _converters(hint)
        found.append((field.name, put, get, optional))
    _known[kind] = tuple(found)
    return _known[kind]


def _without_none(hint: Any) -> tuple[Any, bool]:
    if typing.get_origin(hint) in {typing.Union, types.UnionType}:
        (inner,) = (part for part in typing.get_args(hint) if part is not types.NoneType)
        return inner, True
    return hint, False


def _same(value: Any) -> Any:
    return value


def _converters(hint: Any) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    if typing.get_origin(hint) is tuple:
        return _tuple_converters(typing.get_args(hint)[0])
    if hint in {int, bool, str, bytes}:
        return _same, _same
    if hint is IPv4Address:
        return int, IPv4Address
    if hint is IPv4Network:
        return prefix_to_message, lambda m: IPv4Network((m.address, m.length))
    if issubclass(hint, Enum):
        numbers: dict[int, Any] = {_number(member): member for member in hint}
        return _number, numbers.__getitem__
    return to_message, lambda message: _value(hint, message)


def _number(member: Any) -> int:
    number: int = member if isinstance(member, IntEnum) else member.number
    return int(number)


def _tuple_converters(item: Any) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    if typing.get_origin(item) is tuple:
        return (
            lambda rows: [pb.Buckets(items=row) for row in rows],
            lambda rows: tuple(tuple(row.items) for row in rows),
        )
    put, get = _converters(item)
    if put is _same:
        return _same, tuple
    return lambda items: [put(one) for one in items], lambda items: tuple(get(one) for one in items)
