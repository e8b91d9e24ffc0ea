# SPDX-License-Identifier: Apache-2.0
"""What ``Nat`` does with a VPP that comes, goes, refuses and differs: a fake one."""

from __future__ import annotations

import ipaddress
import socket
import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from hashmvt.config import (
    AddressRange,
    Config,
    DataplaneConfig,
    DataplaneKind,
    Instances,
    Nat44Config,
    PolicyConfig,
    VppConfig,
)
from hashmvt.dataplane.vpp import VppDataplane, vpp_settings
from hashmvt.dataplane.vpp.convert import STATS, policy_to_fields
from hashmvt.dataplane.vpp.nat import RETRY_S, Nat
from hashmvt.errors import Rejected, Unavailable
from hashmvt.model import Endpoint, InstanceState, Proto, StaticMapping
from hashmvt.names import ErrorCode, EventType

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hashmvt.dataplane.vpp import VppSettings

DISABLED, NO_ENTRY, INVALID = -30, -6, -7
WORKERS = 2


def settings_of(**nat44: Any) -> VppSettings:
    policy = PolicyConfig(
        inside=(IPv4Network("10.0.0.0/8"),),
        pool=(AddressRange.of(IPv4Network("198.51.100.0/30")),),
    )
    return vpp_settings(
        Config(
            path=Path("test"),
            nat44=Nat44Config(policy, **nat44),
            dataplane=DataplaneConfig(
                kind=DataplaneKind.VPP,
                instances=Instances(0, 4),
                vpp=VppConfig(inside=("eth0",), outside=("eth1",)),
            ),
        )
    )


class Clock:
    """Time that goes when it is told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class FakeVpp:
    """A VPP with the plugin; its NAT keeps what it is told and translates nothing."""

    interfaces: tuple[str, ...] = ("local0", "eth0", "eth1")
    workers: int = WORKERS
    running: bool = True
    boots: int = 0
    said: Counter[str] = field(default_factory=Counter)
    order: list[str] = field(default_factory=list)
    subscribers: list[Callable[[Any], None]] = field(default_factory=list)
    broken: str = ""
    """A message under which the connection breaks."""
    refuse: dict[str, int] = field(default_factory=dict)
    sentence: str = ""
    """That comes with a refusal."""
    links: list[FakeLink] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.enabled: dict[str, Any] | None = None
        self.policy_generation = 0
        self.policy: dict[str, list[Any]] = {}
        self.statics: list[StaticMapping] = []
        self.sides: dict[int, bool] = {}
        self.change: tuple[int, dict[str, list[Any]]] | None = None
        self.subscribers = []

    def restart(self) -> None:
        """All state is lost, and connections break."""
        self.stop()
        self.running = True

    def stop(self) -> None:
        self.clear()
        self.running = False
        for link in self.links:
            link.alive = False

    def open(self, _settings: VppSettings) -> FakeLink:
        self.said["connect"] += 1
        if not self.running:
            raise Unavailable("VPP is not running: start it")
        self.links.append(FakeLink(self))
        return self.links[-1]

    # ---- messages ----

    def answer(self, message: str, fields: dict[str, Any]) -> Any:
        self.said[message] += 1
        self.order.append(message)
        if message in self.refuse:
            return SimpleNamespace(
                retval=self.refuse[message], change=0, cursor=0, error=self.sentence
            )
        if self.enabled is None and message not in self.ALWAYS:
            reply = SimpleNamespace(retval=DISABLED, cursor=0)
            return (reply, []) if message.endswith("_get") else reply
        part = message.removeprefix("hashmvt_change_add_")
        if part != message:
            return self._add(part, fields)
        return getattr(self, message.removeprefix("hashmvt_"))(**fields)

    ALWAYS = ("hashmvt_get", "hashmvt_enable", "sw_interface_dump", "want_hashmvt_events")

    def get(self) -> Any:
        have = self.enabled
        if have is None:
            return SimpleNamespace(retval=0, enabled=False)
        return SimpleNamespace(
            retval=0,
            enabled=True,
            n_instances=self.workers,
            first_thread=1,
            tick=7,
            generation=0,
            home_version=0,
            rules_version=0,
            policy_generation=self.policy_generation,
            boot=self.boots,
            **have,
        )

    def enable(self, **fields: Any) -> Any:
        self.boots += 1
        words = fields.pop("allocatable")
        digest = 0xCBF29CE484222325
        for word in words:
            digest = (digest ^ word) * 0x100000001B3 % (1 << 64)
        keep = (
            "block_size",
            "max_mappings",
            "allocation_by_block",
            "fragment_timeout",
            "hold_seconds",
            "hold_share_1024",
            "log",
        )
        self.enabled = {name: fields[name] for name in keep} | {"ports_digest": digest}
        return SimpleNamespace(retval=0, error="")

    def sw_interface_dump(self) -> Any:
        return [
            SimpleNamespace(interface_name=name, sw_if_index=i)
            for i, name in enumerate(self.interfaces)
        ]

    def interface_get(self, cursor: int) -> Any:
        sides = [SimpleNamespace(sw_if_index=i, is_inside=side) for i, side in self.sides.items()]
        return SimpleNamespace(retval=0, cursor=cursor), sides

    def interface_add_del(self, *, is_add: bool, is_inside: bool, sw_if_index: int) -> Any:
        if is_add:
            self.sides[sw_if_index] = is_inside
        else:
            del self.sides[sw_if_index]
        return SimpleNamespace(retval=0)

    def change_begin(self, *, kind: int, version: int) -> Any:
        assert kind == 2
        self.change = (version, {})
        return SimpleNamespace(retval=0, change=5)

    def _add(self, part: str, fields: dict[str, Any]) -> Any:
        assert self.change is not None
        assert fields.pop("change") == 5
        self.change[1].setdefault(part, []).append(fields)
        return SimpleNamespace(retval=0)

    def change_end(self, *, change: int, commit: bool, force: bool = False) -> Any:
        assert self.change is not None
        if commit:
            self.policy_generation, self.policy = self.change
        self.change = None
        return SimpleNamespace(retval=0)

    def policy_get(self, cursor: int) -> Any:
        reply = SimpleNamespace(retval=0, cursor=cursor, generation=self.policy_generation)
        slots = {one["policy"]: one["slots"] for one in self.policy.get("slots", ())}
        policies = [
            SimpleNamespace(policy=SimpleNamespace(**one), slots=slots.get(number, []))
            for message in self.policy.get("policies", ())
            for number, one in enumerate(message["policies"])
        ]
        return reply, policies

    def prefix_get(self, part: int, cursor: int) -> Any:
        none = SimpleNamespace(retval=0, cursor=cursor)
        name = ("inside", "exempt", "rules")[part]
        items = [
            one
            for message in self.policy.get(name, ())
            for one in message.get("prefixes" if part == 1 else name, ())
        ]
        if part == 0:
            return none, [SimpleNamespace(prefix=i["prefix"], value=i["policy"]) for i in items]
        assert part in (1, 2)
        return none, [SimpleNamespace(prefix=i) for i in items]

    def pool_get(self, cursor: int) -> Any:
        runs = [SimpleNamespace(**i) for m in self.policy["runs"] for i in m["runs"]]
        return SimpleNamespace(retval=0, cursor=cursor), runs

    def static_mapping_get(self, cursor: int) -> Any:
        details = [
            SimpleNamespace(
                inside=_endpoint(one.inside), outside=_endpoint(one.outside), realm=one.realm
            )
            for one in self.statics
        ]
        return SimpleNamespace(retval=0, cursor=cursor), details

    def static_mapping_add_del(
        self, *, is_add: bool, inside: dict[str, Any], outside: dict[str, Any], **_: Any
    ) -> Any:
        ends = [
            Endpoint(one["address"], one["port"], Proto(one["proto"])) for one in (inside, outside)
        ]
        if is_add:
            self.statics.append(StaticMapping(ends[0], ends[1]))
            return SimpleNamespace(retval=0)
        left = [one for one in self.statics if one.outside != ends[1]]
        found = len(left) < len(self.statics)
        self.statics = left
        return SimpleNamespace(retval=0 if found else NO_ENTRY)

    def block_get(self, **_: Any) -> Any:
        return SimpleNamespace(retval=0, cursor=0), []

    def instance_control(self, **_: Any) -> Any:
        return SimpleNamespace(retval=0)

    def want_hashmvt_events(self, *, enable: bool, pid: int) -> Any:
        assert enable
        assert pid
        return SimpleNamespace(retval=0)


def _endpoint(one: Endpoint) -> Any:
    return SimpleNamespace(address=one.addr, port=one.port, proto=int(one.proto))


class FakeLink:
    """A connection to it."""

    def __init__(self, vpp: FakeVpp) -> None:
        self.vpp = vpp
        self.alive = True

    def call(self, message: str, **fields: object) -> Any:
        if message == self.vpp.broken:
            self.vpp.broken = ""
            self.alive = False
        if not self.alive:
            raise Unavailable("VPP went away")
        return self.vpp.answer(message, dict(fields))

    def page(self, message: str, **fields: object) -> tuple[Any, list[Any]]:
        reply, details = self.call(message, **fields)
        return reply, details

    def on_event(self, message: str, take: Callable[[Any], None]) -> None:
        assert message == "hashmvt_event"
        self.vpp.subscribers.append(take)

    def counters(self, names: Sequence[str]) -> list[list[int]]:
        assert names == STATS
        state = STATS.index("/hashmvt/state")
        return [[0, *[int(i == state)] * WORKERS] for i in range(len(STATS))]

    def close(self) -> None:
        self.alive = False


@pytest.fixture
def vpp() -> FakeVpp:
    return FakeVpp()


# ---- bringing about the settings ----


def test_a_fresh_vpp_is_enabled_and_interfaces_come_last(vpp: FakeVpp) -> None:
    """No packet of an inside host may meet an interface that has no policy for it yet."""
    nat = Nat(settings_of(), vpp.open)
    told = [name for name in vpp.order if name.endswith(("_enable", "_end", "_add_del"))]
    assert told == [
        "hashmvt_enable",
        "hashmvt_change_end",
        "hashmvt_interface_add_del",
        "hashmvt_interface_add_del",
    ]
    assert vpp.sides == {1: True, 2: False}
    assert vpp.policy_generation == 1
    assert nat.capabilities.max_instances == WORKERS
    assert (nat.capabilities.kind, nat.capabilities.inject) == ("vpp", False)


def test_what_is_so_already_is_left_alone(vpp: FakeVpp) -> None:
    Nat(settings_of(), vpp.open).close()
    vpp.order.clear()
    nat = Nat(settings_of(), vpp.open)
    assert not [n for n in vpp.order if "change" in n or "add_del" in n or "enable" in n]
    assert nat.policy().generation == 1


def test_only_what_differs_is_changed(vpp: FakeVpp) -> None:
    Nat(settings_of(), vpp.open).close()
    vpp.sides = {0: True, 2: False}
    vpp.order.clear()
    other = replace(settings_of().policy, exempt=(IPv4Network("192.0.2.0/24"),))
    Nat(replace(settings_of(), policy=other), vpp.open)
    assert vpp.sides == {1: True, 2: False}
    assert vpp.policy_generation == 2
    assert vpp.policy["exempt"] == [{"n": 1, "prefixes": [IPv4Network("192.0.2.0/24")]}]
    assert vpp.said["hashmvt_enable"] == 1


def test_room_for_a_growing_pool_is_no_more_than_vpp_has_routes() -> None:
    """A pool of more than 32,768 addresses was refused for the room that it would grow into."""
    inside, pool = IPv4Network("10.0.0.0/8"), AddressRange.of(IPv4Network("100.64.0.0/16"))
    config = Config(Path("test"), Nat44Config(PolicyConfig(inside=(inside,), pool=(pool,))))
    assert vpp_settings(config).max_addresses == 65536
    assert settings_of().max_addresses == 64


def test_an_address_that_left_the_configuration_keeps_its_slot_and_drains(vpp: FakeVpp) -> None:
    Nat(settings_of(), vpp.open).close()
    smaller = PolicyConfig(
        inside=(IPv4Network("10.0.0.0/8"),),
        pool=(AddressRange.of(IPv4Network("198.51.100.2/31")),),
    )
    config = Config(Path("test"), Nat44Config(smaller))
    wanted = vpp_settings(config).policy
    assert wanted.policies[0].slots == (0, 1)
    in_use = SimpleNamespace(
        external=IPv4Address("198.51.100.1"),
        holder=IPv4Address(0),
        first_port=1024,
        instance=0,
        in_use=[1, 0, 0],
    )
    vpp.block_get = lambda **_: (SimpleNamespace(retval=0, cursor=0), [in_use])  # type: ignore[method-assign]
    nat = Nat(replace(settings_of(), policy=wanted), vpp.open)
    found = nat.policy()
    assert found.policies[0].slots == (2, 3)
    runs = {(run.first, run.count, run.slot, run.draining) for run in found.runs}
    assert runs == {
        (IPv4Address("198.51.100.2"), 2, 2, False),
        (IPv4Address("198.51.100.0"), 2, 0, True),
    }


def test_another_fixed_size_is_refused_with_its_key(vpp: FakeVpp) -> None:
    Nat(settings_of(), vpp.open).close()
    with pytest.raises(Unavailable) as caught:
        Nat(settings_of(block_size=128, max_mappings=10), vpp.open)
    assert "nat44.block_size, nat44.max_mappings" in str(caught.value)
    assert "vppctl hashmvt disable" in str(caught.value)


def test_an_interface_that_is_missing_is_named(vpp: FakeVpp) -> None:
    vpp.interfaces = ("local0", "eth0")
    with pytest.raises(Unavailable, match=r"VPP has no interface 'eth1'.*eth0, local0"):
        Nat(settings_of(), vpp.open)
    vpp.interfaces = ("local0", "eth0", "eth1")
    Nat(settings_of(), vpp.open)
    assert vpp.sides == {1: True, 2: False}
    assert vpp.said["hashmvt_enable"] == 1


def test_why_the_nat_cannot_be_enabled_is_said(vpp: FakeVpp) -> None:
    vpp.refuse["hashmvt_enable"], vpp.sentence = INVALID, "block_size is odd"
    with pytest.raises(Rejected) as caught:
        Nat(settings_of(), vpp.open)
    assert caught.value.code is ErrorCode.INVALID
    assert str(caught.value) == "the NAT cannot be enabled in VPP: block_size is odd"


def test_a_refused_change_is_given_up_and_nothing_changes(vpp: FakeVpp) -> None:
    nat = Nat(settings_of(), vpp.open)
    before = nat.policy()
    vpp.refuse["hashmvt_change_add_runs"] = INVALID
    with pytest.raises(Rejected) as caught:
        nat.set_policy(replace(before, generation=2), force=False)
    assert caught.value.code is ErrorCode.INVALID
    assert vpp.change is None
    assert nat.policy() == before


# ---- VPP goes and comes ----


def test_a_vpp_that_is_not_there_is_said_and_not_asked_all_the_time(vpp: FakeVpp) -> None:
    clock = Clock()
    nat = Nat(settings_of(), vpp.open, clock=clock)
    vpp.stop()
    for _ in range(5):
        with pytest.raises(Unavailable, match="start it"):
            nat.snapshot()
    assert vpp.said["connect"] == 2
    clock.now += RETRY_S
    with pytest.raises(Unavailable):
        nat.snapshot()
    assert vpp.said["connect"] == 3


def test_a_restarted_vpp_gets_the_policies_that_were_set_last(vpp: FakeVpp) -> None:
    static = StaticMapping(
        Endpoint(IPv4Address("10.0.0.1"), 80, Proto.TCP),
        Endpoint(IPv4Address("198.51.100.1"), 80, Proto.TCP),
    )
    nat = Nat(settings_of(), vpp.open, clock=Clock())
    wanted = replace(nat.policy(), generation=9, endpoints=(static,))
    nat.set_policy(wanted, force=False)
    vpp.restart()
    assert [one.state for one in nat.snapshot().instances] == [InstanceState.ACTIVE] * WORKERS
    assert vpp.policy_generation == 9
    assert vpp.statics == [static]
    assert vpp.sides == {1: True, 2: False}
    assert nat.policy() == wanted


def test_a_draining_address_is_gone_after_a_restart(vpp: FakeVpp) -> None:
    nat = Nat(settings_of(), vpp.open, clock=Clock())
    (run,) = nat.policy().runs
    kept, drains = replace(run, count=2), replace(run, first=run.first + 2, count=2, slot=2)
    policy = replace(nat.policy().policies[0], slots=(0, 1))
    nat.set_policy(
        replace(
            nat.policy(),
            generation=2,
            policies=(policy,),
            runs=(kept, replace(drains, draining=True)),
        ),
        force=False,
    )
    vpp.restart()
    nat.snapshot()
    assert nat.policy().runs == (kept,)


def test_a_connection_that_breaks_under_a_call_fails_it_and_no_other(vpp: FakeVpp) -> None:
    nat = Nat(settings_of(), vpp.open, clock=Clock())
    vpp.broken = "hashmvt_instance_control"
    with pytest.raises(Unavailable):
        nat.activate(1, 5)
    nat.activate(1, 5)
    assert vpp.said["hashmvt_enable"] == 1


def test_a_nat_that_somebody_disabled_stays_so(vpp: FakeVpp) -> None:
    nat = Nat(settings_of(), vpp.open, clock=Clock())
    vpp.enabled = None
    for call in (nat.snapshot, nat.home, lambda: nat.activate(1, None)):
        with pytest.raises(Unavailable, match="was disabled in VPP"):
            call()
    assert vpp.said["hashmvt_enable"] == 1
    assert vpp.said["connect"] == 1


def test_other_workers_after_a_restart_need_a_new_agent(vpp: FakeVpp) -> None:
    nat = Nat(settings_of(), vpp.open, clock=Clock())
    vpp.restart()
    vpp.workers = 3
    with pytest.raises(Unavailable, match="3 instances instead of 2"):
        nat.snapshot()


def test_events_go_on_after_a_restart(vpp: FakeVpp) -> None:
    clock = Clock()
    nat = Nat(settings_of(), vpp.open, clock=clock)
    assert nat.events() == []
    (take,) = vpp.subscribers
    take(event())
    (found,) = nat.events()
    assert (found.type, found.inside) == (EventType.MAPPING_CREATED, IPv4Address("10.0.0.1"))
    vpp.stop()
    assert nat.events() == []
    vpp.running = True
    clock.now += RETRY_S
    assert nat.events() == []
    (take,) = vpp.subscribers
    take(event())
    assert len(nat.events()) == 1
    nat.close()
    with pytest.raises(Unavailable):
        nat.events()


def event() -> Any:
    return SimpleNamespace(
        tick=1,
        type=EventType.MAPPING_CREATED.number,
        instance=0,
        inside=IPv4Address("10.0.0.1"),
        inside_port=1000,
        external=IPv4Address("198.51.100.1"),
        external_port=2000,
        ports=1,
        proto=0,
        realm=0,
        detail=0,
    )


# ---- why VPP cannot be reached ----


async def test_without_vpp_papi_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vpp_papi", None)
    monkeypatch.delitem(sys.modules, "hashmvt.dataplane.vpp.papi", raising=False)
    monkeypatch.delattr("hashmvt.dataplane.vpp.papi", raising=False)
    with pytest.raises(Unavailable, match=r"pip install hashmvt\[vpp\]"):
        await VppDataplane.open(settings_of())


def test_policies_have_room_for_every_field() -> None:
    """A field of ``Policy`` that the message lacks would be lost on its way."""
    policy = settings_of().policy.policies[0]
    named = set(policy_to_fields(policy)) | {"slots"}
    assert named == set(type(policy).__dataclass_fields__)


papi = pytest.importorskip("hashmvt.dataplane.vpp.papi", reason="vpp-papi is not installed")


def test_no_socket_means_that_vpp_does_not_run(tmp_path: Path) -> None:
    settings = replace(settings_of(), api=tmp_path / "api.sock")
    with pytest.raises(Unavailable, match=r"VPP is not running.*start it.*dataplane\.vpp\.api"):
        papi.connect(settings)


def test_a_dead_socket_means_the_same(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.bind(str(path))
    with pytest.raises(Unavailable, match="VPP is not running"):
        papi.connect(replace(settings_of(), api=path))


def test_a_missing_permission_names_the_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(_client: Any, _name: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(papi._Client, "connect", denied)
    with pytest.raises(Unavailable, match=r"no permission for VPP's socket.*join the group"):
        papi.connect(replace(settings_of(), api=tmp_path / "api.sock"))


@pytest.mark.parametrize(
    ("version", "sentence"),
    [
        (None, r"without the HashMVT plugin: install vpp-plugin-hashmvt.*enable"),
        ((3, 0, 0), r"speaks API 3\.0\.0 and this package 2\.0: install both of one release"),
        ((1, 1, 9), r"speaks API 1\.1\.9"),
        ((2, 0, 0), None),
        ((2, 7, 0), None),
    ],
)
def test_the_plugin_must_be_there_and_fit(
    version: tuple[int, ...] | None, sentence: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(papi._Client, "connect", lambda _client, _name: 0)
    monkeypatch.setattr(papi._Client, "plugin_version", version)
    monkeypatch.setattr(papi.PapiLink, "open_stats", lambda _link: None)
    if sentence is None:
        papi.connect(settings_of()).close()
    else:
        with pytest.raises(Unavailable, match=sentence):
            papi.connect(settings_of())


def test_vpp_papi_leaves_the_standard_library_alone() -> None:
    papi._client(Path("nowhere"))
    assert not [name for name in vars(ipaddress._IPAddressBase) if name.startswith("vapi")]
