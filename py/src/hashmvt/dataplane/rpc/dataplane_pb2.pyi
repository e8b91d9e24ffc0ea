# mypy: disable-error-code="type-arg"
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Empty(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CursorRequest(_message.Message):
    __slots__ = ("cursor",)
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    cursor: str
    def __init__(self, cursor: _Optional[str] = ...) -> None: ...

class CountReply(_message.Message):
    __slots__ = ("count",)
    COUNT_FIELD_NUMBER: _ClassVar[int]
    count: int
    def __init__(self, count: _Optional[int] = ...) -> None: ...

class InstanceRequest(_message.Message):
    __slots__ = ("instance", "generation")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    instance: int
    generation: int
    def __init__(self, instance: _Optional[int] = ..., generation: _Optional[int] = ...) -> None: ...

class LiveRequest(_message.Message):
    __slots__ = ("inside", "cursor", "instance", "realm", "limit")
    INSIDE_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    REALM_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    inside: Prefix
    cursor: str
    instance: int
    realm: int
    limit: int
    def __init__(self, inside: _Optional[_Union[Prefix, _Mapping]] = ..., cursor: _Optional[str] = ..., instance: _Optional[int] = ..., realm: _Optional[int] = ..., limit: _Optional[int] = ...) -> None: ...

class MappingsRequest(_message.Message):
    __slots__ = ("where", "cursor", "limit")
    WHERE_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    where: MappingFilter
    cursor: str
    limit: int
    def __init__(self, where: _Optional[_Union[MappingFilter, _Mapping]] = ..., cursor: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class BlocksRequest(_message.Message):
    __slots__ = ("cursor", "instance", "limit")
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    cursor: str
    instance: int
    limit: int
    def __init__(self, cursor: _Optional[str] = ..., instance: _Optional[int] = ..., limit: _Optional[int] = ...) -> None: ...

class TransferRequest(_message.Message):
    __slots__ = ("blocks", "from_instance", "to_instance", "external", "generation")
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    FROM_INSTANCE_FIELD_NUMBER: _ClassVar[int]
    TO_INSTANCE_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    blocks: int
    from_instance: int
    to_instance: int
    external: int
    generation: int
    def __init__(self, blocks: _Optional[int] = ..., from_instance: _Optional[int] = ..., to_instance: _Optional[int] = ..., external: _Optional[int] = ..., generation: _Optional[int] = ...) -> None: ...

class ShardRequest(_message.Message):
    __slots__ = ("percent", "from_instance", "to_instance", "generation")
    PERCENT_FIELD_NUMBER: _ClassVar[int]
    FROM_INSTANCE_FIELD_NUMBER: _ClassVar[int]
    TO_INSTANCE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    percent: int
    from_instance: int
    to_instance: int
    generation: int
    def __init__(self, percent: _Optional[int] = ..., from_instance: _Optional[int] = ..., to_instance: _Optional[int] = ..., generation: _Optional[int] = ...) -> None: ...

class SetPolicyRequest(_message.Message):
    __slots__ = ("policy", "force")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    policy: PolicySet
    force: bool
    def __init__(self, policy: _Optional[_Union[PolicySet, _Mapping]] = ..., force: bool = ...) -> None: ...

class StaticAddRequest(_message.Message):
    __slots__ = ("mapping", "generation")
    MAPPING_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    mapping: StaticMapping
    generation: int
    def __init__(self, mapping: _Optional[_Union[StaticMapping, _Mapping]] = ..., generation: _Optional[int] = ...) -> None: ...

class StaticDelRequest(_message.Message):
    __slots__ = ("outside", "generation")
    OUTSIDE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    outside: Endpoint
    generation: int
    def __init__(self, outside: _Optional[_Union[Endpoint, _Mapping]] = ..., generation: _Optional[int] = ...) -> None: ...

class MappingDeleteRequest(_message.Message):
    __slots__ = ("where", "generation")
    WHERE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    where: MappingFilter
    generation: int
    def __init__(self, where: _Optional[_Union[MappingFilter, _Mapping]] = ..., generation: _Optional[int] = ...) -> None: ...

class AdvanceRequest(_message.Message):
    __slots__ = ("seconds",)
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    seconds: int
    def __init__(self, seconds: _Optional[int] = ...) -> None: ...

class InjectRequest(_message.Message):
    __slots__ = ("packets",)
    PACKETS_FIELD_NUMBER: _ClassVar[int]
    packets: _containers.RepeatedCompositeFieldContainer[Packet]
    def __init__(self, packets: _Optional[_Iterable[_Union[Packet, _Mapping]]] = ...) -> None: ...

class InjectReply(_message.Message):
    __slots__ = ("outcomes",)
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    outcomes: _containers.RepeatedCompositeFieldContainer[Outcome]
    def __init__(self, outcomes: _Optional[_Iterable[_Union[Outcome, _Mapping]]] = ...) -> None: ...

class HostPage(_message.Message):
    __slots__ = ("items", "next")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[Host]
    next: str
    def __init__(self, items: _Optional[_Iterable[_Union[Host, _Mapping]]] = ..., next: _Optional[str] = ...) -> None: ...

class MappingPage(_message.Message):
    __slots__ = ("items", "next")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[Mapping]
    next: str
    def __init__(self, items: _Optional[_Iterable[_Union[Mapping, _Mapping]]] = ..., next: _Optional[str] = ...) -> None: ...

class BlockPage(_message.Message):
    __slots__ = ("items", "next")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[Block]
    next: str
    def __init__(self, items: _Optional[_Iterable[_Union[Block, _Mapping]]] = ..., next: _Optional[str] = ...) -> None: ...

class CapabilitiesReply(_message.Message):
    __slots__ = ("kind", "host", "max_instances", "block_size", "clock", "inject", "endpoint_pins", "rule_budget")
    KIND_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    MAX_INSTANCES_FIELD_NUMBER: _ClassVar[int]
    BLOCK_SIZE_FIELD_NUMBER: _ClassVar[int]
    CLOCK_FIELD_NUMBER: _ClassVar[int]
    INJECT_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_PINS_FIELD_NUMBER: _ClassVar[int]
    RULE_BUDGET_FIELD_NUMBER: _ClassVar[int]
    kind: str
    host: str
    max_instances: int
    block_size: int
    clock: bool
    inject: bool
    endpoint_pins: bool
    rule_budget: int
    def __init__(self, kind: _Optional[str] = ..., host: _Optional[str] = ..., max_instances: _Optional[int] = ..., block_size: _Optional[int] = ..., clock: bool = ..., inject: bool = ..., endpoint_pins: bool = ..., rule_budget: _Optional[int] = ...) -> None: ...

class BucketsRequest(_message.Message):
    __slots__ = ("hosts", "realm")
    HOSTS_FIELD_NUMBER: _ClassVar[int]
    REALM_FIELD_NUMBER: _ClassVar[int]
    hosts: _containers.RepeatedScalarFieldContainer[int]
    realm: int
    def __init__(self, hosts: _Optional[_Iterable[int]] = ..., realm: _Optional[int] = ...) -> None: ...

class ScaleOutRequest(_message.Message):
    __slots__ = ("host", "source", "target", "open_hosts")
    HOST_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    OPEN_HOSTS_FIELD_NUMBER: _ClassVar[int]
    host: str
    source: int
    target: int
    open_hosts: bool
    def __init__(self, host: _Optional[str] = ..., source: _Optional[int] = ..., target: _Optional[int] = ..., open_hosts: bool = ...) -> None: ...

class ScaleInRequest(_message.Message):
    __slots__ = ("host", "instance")
    HOST_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    host: str
    instance: int
    def __init__(self, host: _Optional[str] = ..., instance: _Optional[int] = ...) -> None: ...

class OperationReply(_message.Message):
    __slots__ = ("operation", "step")
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    operation: str
    step: int
    def __init__(self, operation: _Optional[str] = ..., step: _Optional[int] = ...) -> None: ...

class StepsRequest(_message.Message):
    __slots__ = ("host", "first", "follow")
    HOST_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    host: str
    first: int
    follow: bool
    def __init__(self, host: _Optional[str] = ..., first: _Optional[int] = ..., follow: bool = ...) -> None: ...

class Step(_message.Message):
    __slots__ = ("number", "at", "text")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    number: int
    at: float
    text: str
    def __init__(self, number: _Optional[int] = ..., at: _Optional[float] = ..., text: _Optional[str] = ...) -> None: ...

class InstanceStatus(_message.Message):
    __slots__ = ("id", "state", "load", "mappings", "limit", "free_blocks", "stalled_s")
    ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    LOAD_FIELD_NUMBER: _ClassVar[int]
    MAPPINGS_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    FREE_BLOCKS_FIELD_NUMBER: _ClassVar[int]
    STALLED_S_FIELD_NUMBER: _ClassVar[int]
    id: int
    state: int
    load: float
    mappings: int
    limit: int
    free_blocks: int
    stalled_s: float
    def __init__(self, id: _Optional[int] = ..., state: _Optional[int] = ..., load: _Optional[float] = ..., mappings: _Optional[int] = ..., limit: _Optional[int] = ..., free_blocks: _Optional[int] = ..., stalled_s: _Optional[float] = ...) -> None: ...

class HostStatus(_message.Message):
    __slots__ = ("host", "reachable", "operation", "home_version", "rules_version", "pinned_hosts", "pinned_endpoints", "closing", "heartbeat_age_s", "instances")
    HOST_FIELD_NUMBER: _ClassVar[int]
    REACHABLE_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    HOME_VERSION_FIELD_NUMBER: _ClassVar[int]
    RULES_VERSION_FIELD_NUMBER: _ClassVar[int]
    PINNED_HOSTS_FIELD_NUMBER: _ClassVar[int]
    PINNED_ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
    CLOSING_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_AGE_S_FIELD_NUMBER: _ClassVar[int]
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    host: str
    reachable: bool
    operation: str
    home_version: int
    rules_version: int
    pinned_hosts: int
    pinned_endpoints: int
    closing: int
    heartbeat_age_s: float
    instances: _containers.RepeatedCompositeFieldContainer[InstanceStatus]
    def __init__(self, host: _Optional[str] = ..., reachable: bool = ..., operation: _Optional[str] = ..., home_version: _Optional[int] = ..., rules_version: _Optional[int] = ..., pinned_hosts: _Optional[int] = ..., pinned_endpoints: _Optional[int] = ..., closing: _Optional[int] = ..., heartbeat_age_s: _Optional[float] = ..., instances: _Optional[_Iterable[_Union[InstanceStatus, _Mapping]]] = ...) -> None: ...

class StatusReply(_message.Message):
    __slots__ = ("hosts", "heartbeats", "refused")
    class RefusedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    HOSTS_FIELD_NUMBER: _ClassVar[int]
    HEARTBEATS_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    hosts: _containers.RepeatedCompositeFieldContainer[HostStatus]
    heartbeats: int
    refused: _containers.ScalarMap[str, int]
    def __init__(self, hosts: _Optional[_Iterable[_Union[HostStatus, _Mapping]]] = ..., heartbeats: _Optional[int] = ..., refused: _Optional[_Mapping[str, int]] = ...) -> None: ...

class Prefix(_message.Message):
    __slots__ = ("address", "length")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    address: int
    length: int
    def __init__(self, address: _Optional[int] = ..., length: _Optional[int] = ...) -> None: ...

class Endpoint(_message.Message):
    __slots__ = ("addr", "port", "proto")
    ADDR_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    PROTO_FIELD_NUMBER: _ClassVar[int]
    addr: int
    port: int
    proto: int
    def __init__(self, addr: _Optional[int] = ..., port: _Optional[int] = ..., proto: _Optional[int] = ...) -> None: ...

class MappingFilter(_message.Message):
    __slots__ = ("inside", "external", "inside_port", "external_port", "proto", "statics", "instance", "realm")
    INSIDE_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_FIELD_NUMBER: _ClassVar[int]
    INSIDE_PORT_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_PORT_FIELD_NUMBER: _ClassVar[int]
    PROTO_FIELD_NUMBER: _ClassVar[int]
    STATICS_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    REALM_FIELD_NUMBER: _ClassVar[int]
    inside: Prefix
    external: Prefix
    inside_port: int
    external_port: int
    proto: int
    statics: bool
    instance: int
    realm: int
    def __init__(self, inside: _Optional[_Union[Prefix, _Mapping]] = ..., external: _Optional[_Union[Prefix, _Mapping]] = ..., inside_port: _Optional[int] = ..., external_port: _Optional[int] = ..., proto: _Optional[int] = ..., statics: bool = ..., instance: _Optional[int] = ..., realm: _Optional[int] = ...) -> None: ...

class Mapping(_message.Message):
    __slots__ = ("inside", "external", "remote", "instance", "policy", "is_static", "tcp_state", "filtering", "sessions", "age_s", "idle_s", "expires_in_s", "packets_in2out", "packets_out2in", "realm")
    INSIDE_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_FIELD_NUMBER: _ClassVar[int]
    REMOTE_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    IS_STATIC_FIELD_NUMBER: _ClassVar[int]
    TCP_STATE_FIELD_NUMBER: _ClassVar[int]
    FILTERING_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    AGE_S_FIELD_NUMBER: _ClassVar[int]
    IDLE_S_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_IN_S_FIELD_NUMBER: _ClassVar[int]
    PACKETS_IN2OUT_FIELD_NUMBER: _ClassVar[int]
    PACKETS_OUT2IN_FIELD_NUMBER: _ClassVar[int]
    REALM_FIELD_NUMBER: _ClassVar[int]
    inside: Endpoint
    external: Endpoint
    remote: Endpoint
    instance: int
    policy: int
    is_static: bool
    tcp_state: int
    filtering: int
    sessions: int
    age_s: int
    idle_s: int
    expires_in_s: int
    packets_in2out: int
    packets_out2in: int
    realm: int
    def __init__(self, inside: _Optional[_Union[Endpoint, _Mapping]] = ..., external: _Optional[_Union[Endpoint, _Mapping]] = ..., remote: _Optional[_Union[Endpoint, _Mapping]] = ..., instance: _Optional[int] = ..., policy: _Optional[int] = ..., is_static: bool = ..., tcp_state: _Optional[int] = ..., filtering: _Optional[int] = ..., sessions: _Optional[int] = ..., age_s: _Optional[int] = ..., idle_s: _Optional[int] = ..., expires_in_s: _Optional[int] = ..., packets_in2out: _Optional[int] = ..., packets_out2in: _Optional[int] = ..., realm: _Optional[int] = ...) -> None: ...

class StaticMapping(_message.Message):
    __slots__ = ("inside", "outside", "realm")
    INSIDE_FIELD_NUMBER: _ClassVar[int]
    OUTSIDE_FIELD_NUMBER: _ClassVar[int]
    REALM_FIELD_NUMBER: _ClassVar[int]
    inside: Endpoint
    outside: Endpoint
    realm: int
    def __init__(self, inside: _Optional[_Union[Endpoint, _Mapping]] = ..., outside: _Optional[_Union[Endpoint, _Mapping]] = ..., realm: _Optional[int] = ...) -> None: ...

class Host(_message.Message):
    __slots__ = ("addr", "instance", "external", "mappings_udp", "mappings_tcp", "mappings_icmp", "blocks", "realm")
    ADDR_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_FIELD_NUMBER: _ClassVar[int]
    MAPPINGS_UDP_FIELD_NUMBER: _ClassVar[int]
    MAPPINGS_TCP_FIELD_NUMBER: _ClassVar[int]
    MAPPINGS_ICMP_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    REALM_FIELD_NUMBER: _ClassVar[int]
    addr: int
    instance: int
    external: int
    mappings_udp: int
    mappings_tcp: int
    mappings_icmp: int
    blocks: int
    realm: int
    def __init__(self, addr: _Optional[int] = ..., instance: _Optional[int] = ..., external: _Optional[int] = ..., mappings_udp: _Optional[int] = ..., mappings_tcp: _Optional[int] = ..., mappings_icmp: _Optional[int] = ..., blocks: _Optional[int] = ..., realm: _Optional[int] = ...) -> None: ...

class Block(_message.Message):
    __slots__ = ("external", "first_port", "ports", "instance", "in_use_udp", "in_use_tcp", "in_use_icmp", "holder")
    EXTERNAL_FIELD_NUMBER: _ClassVar[int]
    FIRST_PORT_FIELD_NUMBER: _ClassVar[int]
    PORTS_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    IN_USE_UDP_FIELD_NUMBER: _ClassVar[int]
    IN_USE_TCP_FIELD_NUMBER: _ClassVar[int]
    IN_USE_ICMP_FIELD_NUMBER: _ClassVar[int]
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    external: int
    first_port: int
    ports: int
    instance: int
    in_use_udp: int
    in_use_tcp: int
    in_use_icmp: int
    holder: int
    def __init__(self, external: _Optional[int] = ..., first_port: _Optional[int] = ..., ports: _Optional[int] = ..., instance: _Optional[int] = ..., in_use_udp: _Optional[int] = ..., in_use_tcp: _Optional[int] = ..., in_use_icmp: _Optional[int] = ..., holder: _Optional[int] = ...) -> None: ...

class Closing(_message.Message):
    __slots__ = ("from_instance", "to_instance", "by_endpoint")
    FROM_INSTANCE_FIELD_NUMBER: _ClassVar[int]
    TO_INSTANCE_FIELD_NUMBER: _ClassVar[int]
    BY_ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    from_instance: int
    to_instance: int
    by_endpoint: bool
    def __init__(self, from_instance: _Optional[int] = ..., to_instance: _Optional[int] = ..., by_endpoint: bool = ...) -> None: ...

class HomeRange(_message.Message):
    __slots__ = ("prefix", "instance", "table", "closing", "external", "realm")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    CLOSING_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_FIELD_NUMBER: _ClassVar[int]
    REALM_FIELD_NUMBER: _ClassVar[int]
    prefix: Prefix
    instance: int
    table: int
    closing: Closing
    external: int
    realm: int
    def __init__(self, prefix: _Optional[_Union[Prefix, _Mapping]] = ..., instance: _Optional[int] = ..., table: _Optional[int] = ..., closing: _Optional[_Union[Closing, _Mapping]] = ..., external: _Optional[int] = ..., realm: _Optional[int] = ...) -> None: ...

class EndpointPin(_message.Message):
    __slots__ = ("endpoint", "instance", "realm")
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    REALM_FIELD_NUMBER: _ClassVar[int]
    endpoint: Endpoint
    instance: int
    realm: int
    def __init__(self, endpoint: _Optional[_Union[Endpoint, _Mapping]] = ..., instance: _Optional[int] = ..., realm: _Optional[int] = ...) -> None: ...

class Buckets(_message.Message):
    __slots__ = ("items",)
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, items: _Optional[_Iterable[int]] = ...) -> None: ...

class HomeMap(_message.Message):
    __slots__ = ("version", "ranges", "tables", "pins")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    RANGES_FIELD_NUMBER: _ClassVar[int]
    TABLES_FIELD_NUMBER: _ClassVar[int]
    PINS_FIELD_NUMBER: _ClassVar[int]
    version: int
    ranges: _containers.RepeatedCompositeFieldContainer[HomeRange]
    tables: _containers.RepeatedCompositeFieldContainer[Buckets]
    pins: _containers.RepeatedCompositeFieldContainer[EndpointPin]
    def __init__(self, version: _Optional[int] = ..., ranges: _Optional[_Iterable[_Union[HomeRange, _Mapping]]] = ..., tables: _Optional[_Iterable[_Union[Buckets, _Mapping]]] = ..., pins: _Optional[_Iterable[_Union[EndpointPin, _Mapping]]] = ...) -> None: ...

class Counters(_message.Message):
    __slots__ = ("received_in2out", "received_out2in", "translated_in2out", "translated_out2in", "hairpinned", "handed_over", "handed_in", "fragments_held", "mappings_created", "mappings_expired", "mappings_deleted", "sessions_created", "sessions_untracked", "sweep_rounds", "events_lost")
    RECEIVED_IN2OUT_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_OUT2IN_FIELD_NUMBER: _ClassVar[int]
    TRANSLATED_IN2OUT_FIELD_NUMBER: _ClassVar[int]
    TRANSLATED_OUT2IN_FIELD_NUMBER: _ClassVar[int]
    HAIRPINNED_FIELD_NUMBER: _ClassVar[int]
    HANDED_OVER_FIELD_NUMBER: _ClassVar[int]
    HANDED_IN_FIELD_NUMBER: _ClassVar[int]
    FRAGMENTS_HELD_FIELD_NUMBER: _ClassVar[int]
    MAPPINGS_CREATED_FIELD_NUMBER: _ClassVar[int]
    MAPPINGS_EXPIRED_FIELD_NUMBER: _ClassVar[int]
    MAPPINGS_DELETED_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_CREATED_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_UNTRACKED_FIELD_NUMBER: _ClassVar[int]
    SWEEP_ROUNDS_FIELD_NUMBER: _ClassVar[int]
    EVENTS_LOST_FIELD_NUMBER: _ClassVar[int]
    received_in2out: int
    received_out2in: int
    translated_in2out: int
    translated_out2in: int
    hairpinned: int
    handed_over: int
    handed_in: int
    fragments_held: int
    mappings_created: int
    mappings_expired: int
    mappings_deleted: int
    sessions_created: int
    sessions_untracked: int
    sweep_rounds: int
    events_lost: int
    def __init__(self, received_in2out: _Optional[int] = ..., received_out2in: _Optional[int] = ..., translated_in2out: _Optional[int] = ..., translated_out2in: _Optional[int] = ..., hairpinned: _Optional[int] = ..., handed_over: _Optional[int] = ..., handed_in: _Optional[int] = ..., fragments_held: _Optional[int] = ..., mappings_created: _Optional[int] = ..., mappings_expired: _Optional[int] = ..., mappings_deleted: _Optional[int] = ..., sessions_created: _Optional[int] = ..., sessions_untracked: _Optional[int] = ..., sweep_rounds: _Optional[int] = ..., events_lost: _Optional[int] = ...) -> None: ...

class Gauges(_message.Message):
    __slots__ = ("mappings", "mappings_udp", "mappings_tcp", "mappings_icmp", "sessions", "hosts", "blocks", "blocks_free", "blocks_open", "blocks_closed", "ports_held", "max_mappings", "home_version", "policy_generation", "starved_slot")
    MAPPINGS_FIELD_NUMBER: _ClassVar[int]
    MAPPINGS_UDP_FIELD_NUMBER: _ClassVar[int]
    MAPPINGS_TCP_FIELD_NUMBER: _ClassVar[int]
    MAPPINGS_ICMP_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    HOSTS_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_FREE_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_OPEN_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_CLOSED_FIELD_NUMBER: _ClassVar[int]
    PORTS_HELD_FIELD_NUMBER: _ClassVar[int]
    MAX_MAPPINGS_FIELD_NUMBER: _ClassVar[int]
    HOME_VERSION_FIELD_NUMBER: _ClassVar[int]
    POLICY_GENERATION_FIELD_NUMBER: _ClassVar[int]
    STARVED_SLOT_FIELD_NUMBER: _ClassVar[int]
    mappings: int
    mappings_udp: int
    mappings_tcp: int
    mappings_icmp: int
    sessions: int
    hosts: int
    blocks: int
    blocks_free: int
    blocks_open: int
    blocks_closed: int
    ports_held: int
    max_mappings: int
    home_version: int
    policy_generation: int
    starved_slot: int
    def __init__(self, mappings: _Optional[int] = ..., mappings_udp: _Optional[int] = ..., mappings_tcp: _Optional[int] = ..., mappings_icmp: _Optional[int] = ..., sessions: _Optional[int] = ..., hosts: _Optional[int] = ..., blocks: _Optional[int] = ..., blocks_free: _Optional[int] = ..., blocks_open: _Optional[int] = ..., blocks_closed: _Optional[int] = ..., ports_held: _Optional[int] = ..., max_mappings: _Optional[int] = ..., home_version: _Optional[int] = ..., policy_generation: _Optional[int] = ..., starved_slot: _Optional[int] = ...) -> None: ...

class InstanceSnapshot(_message.Message):
    __slots__ = ("id", "state", "epoch", "cycles_busy", "cycles_total", "loops", "ring_dropped", "io_errors", "counters", "gauges", "passed", "dropped")
    ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    CYCLES_BUSY_FIELD_NUMBER: _ClassVar[int]
    CYCLES_TOTAL_FIELD_NUMBER: _ClassVar[int]
    LOOPS_FIELD_NUMBER: _ClassVar[int]
    RING_DROPPED_FIELD_NUMBER: _ClassVar[int]
    IO_ERRORS_FIELD_NUMBER: _ClassVar[int]
    COUNTERS_FIELD_NUMBER: _ClassVar[int]
    GAUGES_FIELD_NUMBER: _ClassVar[int]
    PASSED_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    id: int
    state: int
    epoch: int
    cycles_busy: int
    cycles_total: int
    loops: int
    ring_dropped: int
    io_errors: int
    counters: Counters
    gauges: Gauges
    passed: _containers.RepeatedScalarFieldContainer[int]
    dropped: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, id: _Optional[int] = ..., state: _Optional[int] = ..., epoch: _Optional[int] = ..., cycles_busy: _Optional[int] = ..., cycles_total: _Optional[int] = ..., loops: _Optional[int] = ..., ring_dropped: _Optional[int] = ..., io_errors: _Optional[int] = ..., counters: _Optional[_Union[Counters, _Mapping]] = ..., gauges: _Optional[_Union[Gauges, _Mapping]] = ..., passed: _Optional[_Iterable[int]] = ..., dropped: _Optional[_Iterable[int]] = ...) -> None: ...

class IoSide(_message.Message):
    __slots__ = ("packets", "not_ipv4", "oversize", "errors", "failed_errno")
    PACKETS_FIELD_NUMBER: _ClassVar[int]
    NOT_IPV4_FIELD_NUMBER: _ClassVar[int]
    OVERSIZE_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    FAILED_ERRNO_FIELD_NUMBER: _ClassVar[int]
    packets: int
    not_ipv4: int
    oversize: int
    errors: int
    failed_errno: int
    def __init__(self, packets: _Optional[int] = ..., not_ipv4: _Optional[int] = ..., oversize: _Optional[int] = ..., errors: _Optional[int] = ..., failed_errno: _Optional[int] = ...) -> None: ...

class IoSnapshot(_message.Message):
    __slots__ = ("inside", "outside", "no_buffer")
    INSIDE_FIELD_NUMBER: _ClassVar[int]
    OUTSIDE_FIELD_NUMBER: _ClassVar[int]
    NO_BUFFER_FIELD_NUMBER: _ClassVar[int]
    inside: IoSide
    outside: IoSide
    no_buffer: int
    def __init__(self, inside: _Optional[_Union[IoSide, _Mapping]] = ..., outside: _Optional[_Union[IoSide, _Mapping]] = ..., no_buffer: _Optional[int] = ...) -> None: ...

class SnapshotReply(_message.Message):
    __slots__ = ("taken_ns", "tick", "generation", "home_version", "rules_version", "policy_generation", "instances", "io", "next")
    TAKEN_NS_FIELD_NUMBER: _ClassVar[int]
    TICK_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    HOME_VERSION_FIELD_NUMBER: _ClassVar[int]
    RULES_VERSION_FIELD_NUMBER: _ClassVar[int]
    POLICY_GENERATION_FIELD_NUMBER: _ClassVar[int]
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    IO_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIELD_NUMBER: _ClassVar[int]
    taken_ns: int
    tick: int
    generation: int
    home_version: int
    rules_version: int
    policy_generation: int
    instances: _containers.RepeatedCompositeFieldContainer[InstanceSnapshot]
    io: IoSnapshot
    next: str
    def __init__(self, taken_ns: _Optional[int] = ..., tick: _Optional[int] = ..., generation: _Optional[int] = ..., home_version: _Optional[int] = ..., rules_version: _Optional[int] = ..., policy_generation: _Optional[int] = ..., instances: _Optional[_Iterable[_Union[InstanceSnapshot, _Mapping]]] = ..., io: _Optional[_Union[IoSnapshot, _Mapping]] = ..., next: _Optional[str] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("tick", "type", "instance", "inside", "inside_port", "external", "external_port", "ports", "proto", "reason", "realm")
    TICK_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    INSIDE_FIELD_NUMBER: _ClassVar[int]
    INSIDE_PORT_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_PORT_FIELD_NUMBER: _ClassVar[int]
    PORTS_FIELD_NUMBER: _ClassVar[int]
    PROTO_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REALM_FIELD_NUMBER: _ClassVar[int]
    tick: int
    type: int
    instance: int
    inside: int
    inside_port: int
    external: int
    external_port: int
    ports: int
    proto: int
    reason: int
    realm: int
    def __init__(self, tick: _Optional[int] = ..., type: _Optional[int] = ..., instance: _Optional[int] = ..., inside: _Optional[int] = ..., inside_port: _Optional[int] = ..., external: _Optional[int] = ..., external_port: _Optional[int] = ..., ports: _Optional[int] = ..., proto: _Optional[int] = ..., reason: _Optional[int] = ..., realm: _Optional[int] = ...) -> None: ...

class Packet(_message.Message):
    __slots__ = ("data", "direction", "cookie")
    DATA_FIELD_NUMBER: _ClassVar[int]
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    COOKIE_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    direction: int
    cookie: int
    def __init__(self, data: _Optional[bytes] = ..., direction: _Optional[int] = ..., cookie: _Optional[int] = ...) -> None: ...

class Outcome(_message.Message):
    __slots__ = ("verdict", "data", "direction", "instance", "first_instance", "drop", "passed", "cookie")
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    FIRST_INSTANCE_FIELD_NUMBER: _ClassVar[int]
    DROP_FIELD_NUMBER: _ClassVar[int]
    PASSED_FIELD_NUMBER: _ClassVar[int]
    COOKIE_FIELD_NUMBER: _ClassVar[int]
    verdict: int
    data: bytes
    direction: int
    instance: int
    first_instance: int
    drop: int
    passed: int
    cookie: int
    def __init__(self, verdict: _Optional[int] = ..., data: _Optional[bytes] = ..., direction: _Optional[int] = ..., instance: _Optional[int] = ..., first_instance: _Optional[int] = ..., drop: _Optional[int] = ..., passed: _Optional[int] = ..., cookie: _Optional[int] = ...) -> None: ...

class Timeouts(_message.Message):
    __slots__ = ("udp", "tcp_established", "tcp_transitory", "tcp_incoming_syn", "icmp")
    UDP_FIELD_NUMBER: _ClassVar[int]
    TCP_ESTABLISHED_FIELD_NUMBER: _ClassVar[int]
    TCP_TRANSITORY_FIELD_NUMBER: _ClassVar[int]
    TCP_INCOMING_SYN_FIELD_NUMBER: _ClassVar[int]
    ICMP_FIELD_NUMBER: _ClassVar[int]
    udp: int
    tcp_established: int
    tcp_transitory: int
    tcp_incoming_syn: int
    icmp: int
    def __init__(self, udp: _Optional[int] = ..., tcp_established: _Optional[int] = ..., tcp_transitory: _Optional[int] = ..., tcp_incoming_syn: _Optional[int] = ..., icmp: _Optional[int] = ...) -> None: ...

class PerProto(_message.Message):
    __slots__ = ("udp", "tcp", "icmp")
    UDP_FIELD_NUMBER: _ClassVar[int]
    TCP_FIELD_NUMBER: _ClassVar[int]
    ICMP_FIELD_NUMBER: _ClassVar[int]
    udp: int
    tcp: int
    icmp: int
    def __init__(self, udp: _Optional[int] = ..., tcp: _Optional[int] = ..., icmp: _Optional[int] = ...) -> None: ...

class FilteringPerProto(_message.Message):
    __slots__ = ("udp", "tcp", "icmp")
    UDP_FIELD_NUMBER: _ClassVar[int]
    TCP_FIELD_NUMBER: _ClassVar[int]
    ICMP_FIELD_NUMBER: _ClassVar[int]
    udp: int
    tcp: int
    icmp: int
    def __init__(self, udp: _Optional[int] = ..., tcp: _Optional[int] = ..., icmp: _Optional[int] = ...) -> None: ...

class Policy(_message.Message):
    __slots__ = ("slots", "timeouts", "filtering", "mappings_per_host", "mappings_per_host_all", "new_per_second_per_host", "max_blocks_per_host", "paired_only")
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    TIMEOUTS_FIELD_NUMBER: _ClassVar[int]
    FILTERING_FIELD_NUMBER: _ClassVar[int]
    MAPPINGS_PER_HOST_FIELD_NUMBER: _ClassVar[int]
    MAPPINGS_PER_HOST_ALL_FIELD_NUMBER: _ClassVar[int]
    NEW_PER_SECOND_PER_HOST_FIELD_NUMBER: _ClassVar[int]
    MAX_BLOCKS_PER_HOST_FIELD_NUMBER: _ClassVar[int]
    PAIRED_ONLY_FIELD_NUMBER: _ClassVar[int]
    slots: _containers.RepeatedScalarFieldContainer[int]
    timeouts: Timeouts
    filtering: FilteringPerProto
    mappings_per_host: PerProto
    mappings_per_host_all: int
    new_per_second_per_host: int
    max_blocks_per_host: int
    paired_only: bool
    def __init__(self, slots: _Optional[_Iterable[int]] = ..., timeouts: _Optional[_Union[Timeouts, _Mapping]] = ..., filtering: _Optional[_Union[FilteringPerProto, _Mapping]] = ..., mappings_per_host: _Optional[_Union[PerProto, _Mapping]] = ..., mappings_per_host_all: _Optional[int] = ..., new_per_second_per_host: _Optional[int] = ..., max_blocks_per_host: _Optional[int] = ..., paired_only: bool = ...) -> None: ...

class PoolRun(_message.Message):
    __slots__ = ("first", "count", "slot", "draining")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    SLOT_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    first: int
    count: int
    slot: int
    draining: bool
    def __init__(self, first: _Optional[int] = ..., count: _Optional[int] = ..., slot: _Optional[int] = ..., draining: bool = ...) -> None: ...

class InsidePolicy(_message.Message):
    __slots__ = ("inside", "policy")
    INSIDE_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    inside: Prefix
    policy: int
    def __init__(self, inside: _Optional[_Union[Prefix, _Mapping]] = ..., policy: _Optional[int] = ...) -> None: ...

class StaticRule(_message.Message):
    __slots__ = ("inside", "outside")
    INSIDE_FIELD_NUMBER: _ClassVar[int]
    OUTSIDE_FIELD_NUMBER: _ClassVar[int]
    inside: Prefix
    outside: Prefix
    def __init__(self, inside: _Optional[_Union[Prefix, _Mapping]] = ..., outside: _Optional[_Union[Prefix, _Mapping]] = ...) -> None: ...

class PolicySet(_message.Message):
    __slots__ = ("generation", "policies", "inside", "runs", "exempt", "statics", "endpoints")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    INSIDE_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    EXEMPT_FIELD_NUMBER: _ClassVar[int]
    STATICS_FIELD_NUMBER: _ClassVar[int]
    ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
    generation: int
    policies: _containers.RepeatedCompositeFieldContainer[Policy]
    inside: _containers.RepeatedCompositeFieldContainer[InsidePolicy]
    runs: _containers.RepeatedCompositeFieldContainer[PoolRun]
    exempt: _containers.RepeatedCompositeFieldContainer[Prefix]
    statics: _containers.RepeatedCompositeFieldContainer[StaticRule]
    endpoints: _containers.RepeatedCompositeFieldContainer[StaticMapping]
    def __init__(self, generation: _Optional[int] = ..., policies: _Optional[_Iterable[_Union[Policy, _Mapping]]] = ..., inside: _Optional[_Iterable[_Union[InsidePolicy, _Mapping]]] = ..., runs: _Optional[_Iterable[_Union[PoolRun, _Mapping]]] = ..., exempt: _Optional[_Iterable[_Union[Prefix, _Mapping]]] = ..., statics: _Optional[_Iterable[_Union[StaticRule, _Mapping]]] = ..., endpoints: _Optional[_Iterable[_Union[StaticMapping, _Mapping]]] = ...) -> None: ...
