# SPDX-License-Identifier: Apache-2.0
"""Messages mirror values: field by field, and there and back."""

from __future__ import annotations

import dataclasses
import struct
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashmvt import model, policy
from hashmvt.dataplane.base import Capabilities
from hashmvt.dataplane.rpc import codec
from hashmvt.dataplane.rpc import dataplane_pb2 as pb
from hashmvt.errors import ProtocolError
from hashmvt.names import Counters, Gauges

KINDS = [
    Capabilities,
    Counters,
    Gauges,
    model.Block,
    model.Closing,
    model.Endpoint,
    model.EndpointPin,
    model.Event,
    model.HomeMap,
    model.HomeRange,
    model.Host,
    model.InstanceSnapshot,
    model.Mapping,
    model.MappingFilter,
    model.Outcome,
    model.Packet,
    model.Snapshot,
    model.StaticMapping,
    policy.FilteringPerProto,
    policy.InsidePolicy,
    policy.PerProto,
    policy.Policy,
    policy.PolicySet,
    policy.PoolRun,
    policy.StaticRule,
    policy.Timeouts,
]

st.register_type_strategy(int, st.integers(0, 2**31))
st.register_type_strategy(str, st.text(st.characters(codec="utf-8"), max_size=8))
st.register_type_strategy(
    IPv4Network,
    st.builds(
        lambda address, length: IPv4Network((address, length), strict=False),
        st.integers(0, 2**32 - 1),
        st.integers(0, 32),
    ),
)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_message_has_the_fields_of_its_value(kind: type) -> None:
    message = codec.message_of(kind)
    assert [f.name for f in dataclasses.fields(kind)] == [f.name for f in message.DESCRIPTOR.fields]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_there_and_back(kind: type) -> None:
    @given(st.from_type(kind))
    def check(value: object) -> None:
        sent = codec.to_message(value).SerializeToString()
        assert codec.from_message(kind, codec.message_of(kind).FromString(sent)) == value

    check()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (model.Endpoint, pb.Endpoint(addr=1, port=2, proto=9)),
        (model.Event, pb.Event(type=77)),
        (model.InstanceSnapshot, pb.InstanceSnapshot(state=5)),
        (model.StaticMapping, pb.StaticMapping(inside=pb.Endpoint(proto=8))),
        (policy.StaticRule, pb.StaticRule(inside=pb.Prefix(address=1, length=8))),
        (policy.StaticRule, pb.StaticRule(inside=pb.Prefix(address=0, length=40))),
    ],
)
def test_nonsense_is_refused(kind: type, message: object) -> None:
    with pytest.raises(ProtocolError, match="makes no sense"):
        codec.from_message(kind, message)  # type: ignore[arg-type]


def test_a_prefix_with_host_bits_is_refused() -> None:
    with pytest.raises(ProtocolError):
        codec.prefix_from_message(pb.Prefix(address=int(IPv4Address("10.0.0.1")), length=8))


def test_every_counter_travels() -> None:
    names = [f.name for f in dataclasses.fields(Counters)]
    counters = Counters(**{name: n for n, name in enumerate(names, 1)})
    assert struct.calcsize("Q") == 8
    assert codec.from_message(Counters, codec.to_message(counters)) == counters
