# SPDX-License-Identifier: Apache-2.0
"""Configurations: what they mean, and that every mistake is named with line and remedy."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

from hashmvt.config import (
    AddressRange,
    Allocation,
    Config,
    DataplaneKind,
    PortRange,
    Report,
    addresses,
    check,
    load,
)
from hashmvt.config.spans import Spans
from hashmvt.errors import ConfigError
from hashmvt.model import Endpoint, EventLog, Filtering, Proto
from hashmvt.policy import PerProto, StaticRule, Timeouts

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

CONFIGS = Path(__file__).resolve().parents[3] / "configs"

MINIMAL = "nat44:\n  inside: [10.0.0.0/8]\n  pool: [198.51.100.0/28]\n"

WHOLE = """\
nat44:
  inside: [10.0.0.0/8]
  pool: [198.51.100.0/28]
  ports: 1024-65535
  reserved_ports: []
  block_size: 64
  allocation: port
  filtering: endpoint-independent
  timeouts: {udp: 300, tcp_established: 7440, tcp_transitory: 240, tcp_incoming_syn: 6,
             icmp: 60, fragment: 2}
  hold_down: {seconds: 120, max_share: 0.1}
  max_mappings: 1048576
  limits: {mappings_per_host: 0, new_per_second_per_host: 0}
  exempt: []
  policies: []
  static: []
dataplane:
  kind: embedded
  instances: {initial: 1, max: 4}
  embedded: {inside: hmvt-in, outside: hmvt-out}
  vpp: {api: /run/vpp/api.sock, stats: /run/vpp/stats.sock, inside: [], outside: []}
agent: {control: /run/hashmvt/agent.sock}
coordinator: {listen: "127.0.0.1:7788", control: /run/hashmvt/coord.sock, key_file: heartbeat.key,
              cpu: 0.8, memory: 0.8, retain: 0.2, heartbeat: 1.0,
              failure: {period: 4.0, periods: 2}}
dispatcher: {kind: software, rule_budget: 9325}
log: {events: block}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "hashmvt.yaml"


def ok(file: Path, text: str) -> Config:
    file.write_text(text)
    report = check(file)
    assert report.problems == []
    assert report.config is not None
    return report.config


def bad(file: Path, text: str) -> Report:
    file.write_text(text)
    report = check(file)
    assert report.config is None
    assert report.problems
    return report


def nat44(rows: str) -> str:
    return MINIMAL + "".join(f"  {row}\n" for row in rows.splitlines())


# ---- what it means ----


def test_the_printed_defaults_are_the_defaults(file: Path) -> None:
    whole = ok(file, WHOLE)
    assert ok(file, MINIMAL) == whole
    assert whole.warnings == ()


def test_everything_has_a_meaning(file: Path) -> None:
    config = ok(
        file,
        """\
nat44:
  inside: [10.0.0.0/8, 100.64.0.0/10]
  pool: [198.51.100.0/30, 198.51.100.8-198.51.100.9, 203.0.113.7]
  ports: 2000-3000
  reserved_ports: [2100, 2200-2300]
  block_size: 128
  allocation: block
  max_blocks_per_host: 4
  filtering: {udp: address-dependent, tcp: address-and-port-dependent}
  timeouts: {udp: 120, fragment: 5}
  hold_down: {seconds: 300, max_share: 0.5}
  max_mappings: 1000
  limits: {mappings_per_host: {udp: 10, all: 15}, new_per_second_per_host: 3}
  fallback: false
  exempt: [192.0.2.0/24]
  policies:
    - {inside: 10.9.0.0/16, pool: [203.0.113.99], timeouts: {icmp: 90},
       limits: {mappings_per_host: 7}}
    - {inside: [10.8.0.0/16], filtering: endpoint-independent}
  static:
    - {inside: 10.0.0.5, outside: 192.0.2.5}
    - {inside: "10.0.0.6:80", outside: "198.51.100.1:8080", protocol: tcp}
    - {inside: "10.0.0.7:53", outside: "198.51.100.1:53"}
dataplane: {instances: {initial: 2, max: 8}, embedded: {inside: tun0, outside: tun1}}
agent: {control: run/agent.sock, name: gw1}
coordinator: {listen: "192.0.2.1:9", key_file: secret.key, failure: {period: 2, periods: 5}}
dispatcher: {rule_budget: 100}
log: {events: off}
""",
    )
    nat = config.nat44
    assert nat.default.inside == (IPv4Network("10.0.0.0/8"), IPv4Network("100.64.0.0/10"))
    assert [str(r) for r in nat.pool] == [
        "198.51.100.0-198.51.100.3",
        "198.51.100.8-198.51.100.9",
        "203.0.113.7",
        "203.0.113.99",
    ]
    assert nat.ports == PortRange(2048, 2943)  # whole blocks of 128 inside 2000-3000
    assert nat.allocatable(2048)
    assert not nat.allocatable(2100)
    assert not nat.allocatable(2300)
    assert not nat.allocatable(2047)
    assert nat.allocation is Allocation.BLOCK
    assert nat.default.filtering.udp is Filtering.ADDRESS_DEPENDENT
    assert nat.default.filtering.tcp is Filtering.ADDRESS_AND_PORT_DEPENDENT
    assert nat.default.filtering.icmp is Filtering.ENDPOINT_INDEPENDENT
    assert nat.default.timeouts == Timeouts(udp=120)
    assert nat.fragment_timeout == 5
    assert nat.default.limits.mappings_per_host == PerProto(udp=10)
    assert nat.default.limits.mappings_per_host_all == 15
    assert nat.default.limits.new_per_second_per_host == 3
    assert not nat.default.fallback
    first, second = nat.policies
    assert first.timeouts == Timeouts(udp=120, icmp=90)  # the rest is inherited
    assert first.limits.mappings_per_host == PerProto()
    assert first.limits.mappings_per_host_all == 7
    assert first.limits.new_per_second_per_host == 3
    assert first.pool == (AddressRange(IPv4Address("203.0.113.99"), IPv4Address("203.0.113.99")),)
    assert second.pool == nat.default.pool
    assert second.filtering.tcp is Filtering.ENDPOINT_INDEPENDENT
    assert second.max_blocks_per_host == 4
    assert nat.statics == (StaticRule(IPv4Network("10.0.0.5/32"), IPv4Network("192.0.2.5/32")),)
    assert [m.outside for m in nat.static_endpoints] == [
        Endpoint(IPv4Address("198.51.100.1"), 8080, Proto.TCP),
        Endpoint(IPv4Address("198.51.100.1"), 53, Proto.TCP),
        Endpoint(IPv4Address("198.51.100.1"), 53, Proto.UDP),
    ]
    assert config.dataplane.kind is DataplaneKind.EMBEDDED
    assert (config.dataplane.instances.initial, config.dataplane.instances.max) == (2, 8)
    assert config.agent.control == file.parent / "run" / "agent.sock"
    assert config.coordinator.key_file == file.parent / "secret.key"
    assert config.log.events is EventLog.OFF
    assert config.warnings == ()


def test_one_timeout_serves_every_protocol(file: Path) -> None:
    config = ok(file, nat44("timeouts: 10000"))
    timeouts = config.nat44.default.timeouts
    assert timeouts == Timeouts(10000, 10000, 10000, 6, 10000)
    assert config.nat44.fragment_timeout == 2


def test_ports_are_rounded_inward(file: Path) -> None:
    assert ok(file, nat44("ports: 1025-65534")).nat44.ports == PortRange(1088, 65471)
    assert ok(file, nat44("ports: 0-65535")).nat44.ports == PortRange(64, 65535)
    assert ok(file, nat44("ports: 64-127")).nat44.ports == PortRange(64, 127)
    assert ok(file, nat44("block_size: 1\nports: 80")).nat44.ports == PortRange(80, 80)


def test_an_interface_gives_its_address(file: Path) -> None:
    assert addresses.interface_address("lo") == IPv4Address("127.0.0.1")
    with pytest.raises(addresses.Unreadable, match="has no IPv4 address"):
        addresses.interface_address("no-such-if")
    report = bad(file, MINIMAL.replace("198.51.100.0/28", "{interface: no-such-if}"))
    assert "interface 'no-such-if' has no IPv4 address" in str(report.problems[0])
    assert len(report.problems) == 1


# ---- every mistake ----

MISTAKES = [
    # rows below nat44 (from line 4), line, reason, remedy
    ("timeout: {udp: 300}", 4, "unknown key 'timeout' in nat44", "write 'timeouts'"),
    ("xyzzy: 1", 4, "unknown key 'xyzzy' in nat44", "known here: inside, pool"),
    ("timeouts: {upd: 300}", 4, "unknown key 'upd' in nat44.timeouts", "write 'udp'"),
    ("timeouts:\n  udp: 0", 5, "nat44.timeouts.udp must be whole seconds from 1", ""),
    ("timeouts:\n  udp: soon", 5, "nat44.timeouts.udp must be whole seconds", ""),
    ("timeouts: often", 4, "nat44.timeouts must be whole seconds from 1 to 31536000, or a map", ""),
    ("timeouts: 0", 4, "must be whole seconds from 1 to 31536000, or a map such as", ""),
    ("timeouts: {udp: true}", 4, "not true", ""),
    ("block_size: 100", 4, "block_size 100 is no power of two", "write 64 or 128"),
    ("block_size: 0", 4, "block_size must be a power of two from 1 to 32768, not 0", ""),
    ("block_size: 65536", 4, "block_size must be a power of two from 1 to 32768", ""),
    ("ports: 1000-1010", 4, "ports 1000-1010 hold no whole block of 64", "smaller block_size"),
    ("ports: 2000-1000", 4, "ends before it begins", "write 1000-2000"),
    ("ports: all", 4, "'all' is no range of ports", "write one such as 1024-65535"),
    ("ports: 1024-70000", 4, "is no range of ports", "1024-65535"),
    ("ports: 64-127\nreserved_ports: [0-200]", 5, "leave none of the ports 64-127", "fewer"),
    ("reserved_ports: [22, x]", 4, "nat44.reserved_ports[1]: 'x' is no range of ports", ""),
    ("allocation: host", 4, "nat44.allocation must be port or block, not 'host'", ""),
    ("filtering: strict", 4, "nat44.filtering must be endpoint-independent", ""),
    ("hold_down: {max_share: 2}", 4, "must be a share from 0 to 1, such as 0.2, not 2", ""),
    ("max_mappings: -1", 4, "nat44.max_mappings must be a number from 1", ""),
    ("max_mappings: 1.5", 4, "nat44.max_mappings must be a number from 1", ""),
    ("limits: {mappings_per_host: -1}", 4, "nat44.limits.mappings_per_host must be", ""),
    ("limits: {mappings_per_host: {sctp: 1}}", 4, "unknown key 'sctp'", "known here: udp, tcp"),
    ("exempt: [192.0.2.1/24]", 4, "has bits set below its length", "write 192.0.2.0/24"),
    ("exempt: [192.0.2.0/24, 192.0.2.0/24]", 4, "stands in nat44.exempt twice", "remove one"),
    ("policies: [{}]", 4, "nat44.policies[0] needs 'inside'", "add inside: a list of prefixes"),
    ("policies: 5", 4, "nat44.policies must be a list of policies", ""),
    ("policies: [{inside: 10.1.0.0/16, pool: []}]", 4, "the pool is empty", "name addresses"),
    ("policies:\n  - {inside: 10.1.0.0/16}\n  - {inside: 10.1.0.0/16}", 6,
     "has a policy already, in line 5", "merge the two"),
    ("policies: [{inside: 10.1.0.0/16, pool: [10.2.0.1]}]", 4,
     "pool 10.2.0.1 overlaps inside 10.0.0.0/8 of line 2", "take other addresses"),
    ("policies: [{inside: 198.51.100.0/24}]", 3,
     "overlaps inside 198.51.100.0/24 of line 4", "take other addresses"),
    ("static: [{inside: 10.0.0.1}]", 4, "nat44.static[0] needs 'outside'", "add outside"),
    ("static: [{inside: 10.0.0.1, outside: 198.51.100.5}]", 4,
     "outside 198.51.100.5/32 of a 1:1 rule lies in the pool", "take it out of the pool"),
    ("static: [{inside: 10.0.0.1, outside: 10.0.0.9}]", 4,
     "outside 10.0.0.9/32 of a 1:1 rule lies in inside 10.0.0.0/8", "address of the outside"),
    ("hold_down: {max_share: .nan}", 4, ".nan is no number", "write one"),
    ("hold_down: {max_share: .INF}", 4, ".INF is no number", "write one"),
    ("static: [{inside: 10.0.0.0/24, outside: 192.0.2.0/25}]", 4,
     "are of different size", "equal length"),
    ("static: [{inside: 10.0.0.1, outside: 192.0.2.1, protocol: tcp}]", 4,
     "is 1:1 for all protocols", "remove protocol"),
    ('static: [{inside: 10.0.0.1, outside: "198.51.100.1:80"}]', 4,
     "has a port on one side only", "on both sides"),
    ('static: [{inside: "10.0.0.1:80", outside: "192.0.2.1:80"}]', 4,
     "192.0.2.1 of a static mapping is not in the pool", "add it to the pool"),
    ('static: [{inside: "11.0.0.1:80", outside: "198.51.100.1:80"}]', 4,
     "11.0.0.1 of a static mapping is not inside", "add its prefix to inside"),
    ('static: [{inside: "10.0.0.1:0", outside: "198.51.100.1:80"}]', 4,
     "'0' is no port", "from 1 to 65535"),
    ('static: [{inside: "10.0.0.1:80", outside: "198.51.100.1:80", protocol: icmp}]', 4,
     "protocol must be tcp, udp or [tcp, udp], not 'icmp'", ""),
    (('static:\n  - {inside: "10.0.0.1:80", outside: "198.51.100.1:80", protocol: tcp}\n'
     '  - {inside: "10.0.0.2:80", outside: "198.51.100.1:80"}'), 6,
     "tcp 198.51.100.1:80 has a static mapping already, in line 5", "remove one"),
    (("static:\n  - {inside: 10.0.0.1, outside: 192.0.2.1}\n"
     "  - {inside: 10.0.0.1, outside: 192.0.2.2}"), 6,
     "inside 10.0.0.1/32 has a 1:1 rule already, in line 5", "remove one"),
    ("static: [{inside: 10.0.0.1, outside: 224.0.0.1}]", 4, "is no address of a host", ""),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "line", "reason", "remedy"), MISTAKES)
def test_mistakes_in_nat44(file: Path, rows: str, line: int, reason: str, remedy: str) -> None:
    report = bad(file, nat44(rows))
    problem = next((p for p in report.problems if reason in p.reason), None)
    assert problem is not None, [str(p) for p in report.problems]
    assert problem.line == line
    assert remedy in problem.remedy
    assert str(problem).startswith(f"{file}:{line}: ")
    # one mistake is one problem, except where two addresses of one line are wrong
    assert len(report.problems) <= 2, [str(p) for p in report.problems]


POOLS = [
    ("[]", "the pool is empty", "name addresses"),
    ("198.51.100.1", "nat44.pool must be a list of addresses", ""),
    ("[10.0.0.0/28]", "overlaps inside 10.0.0.0/8 of line 2", "take other addresses"),
    ("[9.255.255.255-10.0.0.0]", "overlaps inside 10.0.0.0/8 of line 2", "take other"),
    ("[198.51.100.0/28, 198.51.100.7]", "overlaps 198.51.100.0-198.51.100.15 of line 3", "once"),
    ("[198.51.100.9-198.51.100.1]", "ends before it begins", "write 198.51.100.1-198.51.100.9"),
    ("[2001:db8::1]", "is an IPv6 address; HashMVT translates IPv4", "198.51.100.1"),
    ("[198.51.100.256]", "is no IPv4 address", "198.51.100.1"),
    (
        "[198.51.100.0/33]",
        "the prefix length of '198.51.100.0/33' is none from 0 to 32",
        "10.0.0.0/8",
    ),
    ("[198.51.100.1/28]", "has bits set below its length", "write 198.51.100.0/28"),
    ("[127.0.0.1]", "holds addresses that no host can have", "remove them"),
    ("[0.0.0.0/0]", "holds addresses that no host can have", "remove them"),
    ("[239.0.0.1]", "holds addresses that no host can have", "remove them"),
    ("[16.0.0.0/8]", "the pool has 16777216 addresses", "split it"),
    ("[{interface: 5}]", "must be a device name", ""),
    ("[{iface: eth0}]", "unknown key 'iface'", "write 'interface'"),
]


@pytest.mark.parametrize(("pool", "reason", "remedy"), POOLS)
def test_mistakes_in_the_pool(file: Path, pool: str, reason: str, remedy: str) -> None:
    report = bad(file, f"nat44:\n  inside: [10.0.0.0/8]\n  pool: {pool}\n")
    problem = next((p for p in report.problems if reason in p.reason), None)
    assert problem is not None, [str(p) for p in report.problems]
    assert problem.line == 3
    assert remedy in problem.remedy
    expected = 2 if "iface:" in pool else 1  # a key too many, and one too few
    assert len(report.problems) == expected, [str(p) for p in report.problems]


SECTIONS = [
    ("dataplane: {kind: dpdk}", "dataplane.kind must be embedded or vpp, not 'dpdk'", ""),
    ("dataplane: {kind: vpp}", "dataplane.vpp names no inside interface", "add inside: [NAME]"),
    ("dataplane: {kind: vpp, vpp: {inside: [a]}}", "dataplane.vpp names no outside interface",
     "add outside: [NAME]"),
    ("dataplane: {kind: vpp, vpp: {inside: [a], outside: [b, a]}}",
     "interface 'a' is both inside and outside", "name it once"),
    ("dataplane: {kind: vpp, vpp: {inside: [a], outside: [b]}}", None, ""),
    ("dataplane: {instances: {initial: 5}}", None, ""),
    ("dataplane: {instances: {initial: 5, max: 4}}", "initial instances (5) are more than max",
     "write max: 5 or more"),
    ("dataplane: {instances: {max: 65}}", "dataplane.instances.max must be a number from 1 to 64",
     ""),
    ("dataplane: {instances: {initial: 0}}", "must be a number from 1 to 64, not 0", ""),
    ("dataplane: {embedded: {inside: x, outside: x}}", "device 'x' is both inside and outside",
     "name two devices"),
    ("dataplane: {embedded: {inside: a-name-that-is-far-too-long}}", "must be a device name", ""),
    *((f"dataplane: {{embedded: {{outside: {name}}}}}", "must be a device name of at most 15", "")
      for name in ('"a:b"', '"."', '".."', '"a%d"', "all", "default", "a/b", "ö", '"a\\n"')),
    ("dataplane: {embedded: {inside: nat.1-a_b, outside: a..}}", None, ""),
    ("agent: {control: /}", "/ is a directory", "path of a socket"),
    ("agent: {control: /proc/x/a.sock}", "no socket can be made in /proc", "path of a socket"),
    ("agent: {control: hashmvt.yaml}", "hashmvt.yaml exists and is no socket", "path of a socket"),
    ("agent: {control: hashmvt.yaml/a}", "hashmvt.yaml/a is none", "path of a socket"),
    ("coordinator: {control: ../run/../run/hashmvt/agent.sock}", None, ""),
    ("coordinator: {control: /run/hashmvt/agent.sock}", "have one control socket", "two paths"),
    ('agent: {listen: "0.0.0.0:7789"}', "open to the network without tls", "add tls"),
    ("agent: {tls: {key: a}}", "agent.tls needs 'certificate'", "add certificate"),
    ("coordinator: {listen: nowhere}", "coordinator.listen must be address:port", ""),
    ('coordinator: {listen: "127.0.0.1:99999"}', "has no port from 1 to 65535", ""),
    ("coordinator: {cpu: 1.5}", "coordinator.cpu must be a share from 0 to 1", ""),
    ("coordinator: {heartbeat: 5}", "shorter than a heartbeat (5 s)", "write 20 or more"),
    ('coordinator: {agents: ["192.0.2.1:1"]}', "mutual TLS only", "add tls"),
    ("dispatcher: {kind: openflow}", "openflow is not available in this version",
     "write software"),
    ("dispatcher: {rule_budget: 0}", "dispatcher.rule_budget must be a number from 1", ""),
    ("log: {events: all}", "log.events must be off or block or mapping, not 'all'", ""),
    ("log: {to: ipfix}", "ipfix is not available in this version", "write syslog"),
    ("lgo: {}", "unknown key 'lgo' at the top", "write 'log'"),
    ("dataplane: 5", "dataplane must be a map, not 5", ""),
]  # fmt: skip


def test_on_vpp_every_worker_is_an_instance_unless_said(file: Path) -> None:
    base = "nat44: {inside: [10.0.0.0/8], pool: [198.51.100.1]}\ndataplane:\n  kind: vpp\n"
    base += "  vpp: {inside: [eth0], outside: [eth1], api: /srv/vpp/api.sock}\n"
    file.write_text(base)
    config = load(file)
    assert config.dataplane.kind is DataplaneKind.VPP
    assert config.dataplane.instances.initial == 0
    assert (config.dataplane.vpp.inside, config.dataplane.vpp.outside) == (("eth0",), ("eth1",))
    assert config.dataplane.vpp.api == Path("/srv/vpp/api.sock")
    file.write_text(f"{base}  instances: {{initial: 1}}\n")
    assert load(file).dataplane.instances.initial == 1


@pytest.mark.parametrize(("row", "reason", "remedy"), SECTIONS)
def test_mistakes_in_other_sections(file: Path, row: str, reason: str | None, remedy: str) -> None:
    if reason is None:
        ok(file, MINIMAL + row + "\n")
        return
    report = bad(file, MINIMAL + row + "\n")
    problem = next((p for p in report.problems if reason in p.reason), None)
    assert problem is not None, [str(p) for p in report.problems]
    assert problem.line == 4
    assert remedy in problem.remedy


def test_what_is_missing_is_named(file: Path) -> None:
    assert "the configuration needs 'nat44'" in str(bad(file, "log: {}\n").problems[0])
    report = bad(file, "nat44: {}\n")
    assert [p.reason for p in report.problems] == ["nat44 needs 'inside'", "nat44 needs 'pool'"]
    assert "[10.0.0.0/8]" in report.problems[0].remedy


def test_every_mistake_is_reported_at_once(file: Path) -> None:
    report = bad(
        file, nat44("block_size: 3\nports: x\ntimeouts: {udp: -1}") + "coordinator: {cpu: 7}\n"
    )
    assert [p.line for p in report.problems] == [4, 5, 6, 7]


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "absent.yaml")
    assert str(caught.value) == f"{tmp_path / 'absent.yaml'}: no such file"


def test_the_exception_counts_what_it_does_not_print(file: Path) -> None:
    file.write_text(nat44("block_size: 3\nports: x"))
    with pytest.raises(ConfigError, match=r"hashmvt.yaml:4: .*\(and 1 more\)") as caught:
        load(file)
    assert len(caught.value.problems) == 2
    assert caught.value.path == file


WARNINGS = [
    ("timeouts: {udp: 119}", "nat44.timeouts.udp: 119 s is below 120 s", "RFC 4787 REQ-5"),
    ("timeouts: {tcp_established: 7439}", "7439 s is below 7440 s", "RFC 5382 REQ-5"),
    ("timeouts: {tcp_transitory: 239}", "239 s is below 240 s", "RFC 5382 REQ-5"),
    ("timeouts: {tcp_incoming_syn: 5}", "5 s is below 6 s", "RFC 5382 REQ-4"),
    ("timeouts: {icmp: 59}", "59 s is below 60 s", "RFC 5508 REQ-2"),
    ("policies: [{inside: 10.1.0.0/16, timeouts: {udp: 1}}]",
     "nat44.policies[0].timeouts.udp: 1 s is below 120 s", "RFC 4787"),
    ("policies: [{inside: [10.3.0.0/16, 11.0.0.0/8]}]",
     "11.0.0.0/8 of a policy is not in nat44.inside; it is translated", "add it to"),
    ("policies: [{inside: [8.0.0.0/6]}]", "8.0.0.0/6 of a policy is not in nat44.inside", "within"),
    ("hold_down: {seconds: 60}", "a hold-down of 60 s is below 120 s", "RFC 6888 REQ-8"),
    ("max_blocks_per_host: 4", "max_blocks_per_host has no effect", "allocation: block"),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "reason", "remedy"), WARNINGS)
def test_what_an_rfc_advises_against_is_allowed_with_a_warning(
    file: Path, rows: str, reason: str, remedy: str
) -> None:
    config = ok(file, nat44(rows))
    (warning,) = config.warnings
    assert reason in warning.reason
    assert remedy in warning.remedy
    assert warning.line == 4


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_the_shipped_configurations_are_right(path: Path) -> None:
    report = check(path)
    assert [str(p) for p in report.problems] == []
    assert [str(p) for p in report.warnings] == []


def test_inside_holds_hosts_only(file: Path) -> None:
    report = bad(file, "nat44:\n  inside:\n    - 239.0.0.0/8\n  pool: [198.51.100.0/28]\n")
    assert str(report.problems[0]) == (
        f"{file}:3: inside 239.0.0.0/8 holds addresses that no host can have "
        "(224.0.0.0-255.255.255.255); write the prefixes of the hosts"
    )


def test_reading_takes_few_comparisons_per_prefix(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """16,000 prefixes took 25 s: each was compared with each."""
    compared = [0]
    overlaps, equal = AddressRange.overlaps, IPv4Network.__eq__

    def counted(method: Callable[[T, T], bool]) -> Callable[[T, T], bool]:
        def call(one: T, other: T) -> bool:
            compared[0] += 1
            return method(one, other)

        return call

    count = 400
    prefixes = ", ".join(f"10.{n >> 8}.{n & 255}.0/24" for n in range(count))
    pool = ", ".join(f"198.18.{n >> 7}.{n * 2 & 255}" for n in range(count))
    rules = "".join(
        f"    - {{inside: 10.{n >> 8}.{n & 255}.1, outside: 203.0.{n >> 8}.{n & 255}}}\n"
        f"    - {{inside: '10.{n >> 8}.{n & 255}.1:80', outside: '198.18.0.0:{1024 + n}'}}\n"
        for n in range(count)
    )
    policies = "".join(f"    - {{inside: [10.{n >> 8}.{n & 255}.128/25]}}\n" for n in range(count))
    file.write_text(
        f"nat44:\n  inside: [{prefixes}]\n  pool: [{pool}]\n"
        f"  static:\n{rules}  policies:\n{policies}"
    )
    monkeypatch.setattr(AddressRange, "overlaps", counted(overlaps))
    monkeypatch.setattr(IPv4Network, "__eq__", counted(equal))
    assert check(file).problems == []
    assert compared[0] < 40 * count  # each with each made it 3,000 * count


def test_of_overlapping_ranges_one_is_found() -> None:
    spans = Spans(
        (AddressRange.of(IPv4Network(text)), text)
        for text in ("10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "192.0.2.0/24")
    )
    for text, found in [
        ("9.255.255.255", None),
        ("10.200.0.0", "10.0.0.0/8"),
        ("10.1.2.3", "10.0.0.0/8"),
        ("11.0.0.0", None),
        ("192.0.2.255", "192.0.2.0/24"),
        ("192.0.3.0", None),
    ]:
        assert spans.overlapping(AddressRange.of(IPv4Network(text))) == found


def test_one_static_mapping_of_two_protocols_is_one_mistake(file: Path) -> None:
    static = '{inside: "11.0.0.1:80", outside: "198.51.100.1:80"}'
    assert len(bad(file, MINIMAL + f"  static: [{static}]\n").problems) == 1
    report = bad(file, MINIMAL + f"  static: [{static.replace('198.51', '198.52')}]\n")
    assert len(report.problems) == 2
    # where the pool is wrong, nobody knows what is not in it
    static = static.replace("11.", "10.")
    report = bad(file, MINIMAL.replace("198.51.100.0/28", "127.0.0.1") + f"  static: [{static}]\n")
    assert len(report.problems) == 1


def test_a_policy_within_two_prefixes_is_within(file: Path) -> None:
    halves = MINIMAL.replace("10.0.0.0/8", "10.0.0.0/9, 10.128.0.0/9")
    ok(file, halves + "  policies: [{inside: 10.0.0.0/8}]\n")
    assert check(file).warnings == []


def test_an_empty_list_is_none_of_prefixes(file: Path) -> None:
    (problem,) = bad(file, MINIMAL.replace("[10.0.0.0/8]", "[]")).problems
    assert problem.reason == (
        "nat44.inside must be a list of prefixes such as [10.0.0.0/8], not an empty list"
    )


def test_exempting_everything_is_doubtful(file: Path) -> None:
    file.write_text(MINIMAL + "  exempt: [0.0.0.0/0]\n")
    (warning,) = check(file).warnings
    assert str(warning) == (
        f"{file}:4: exempt 0.0.0.0/0 means that nothing is translated; "
        "name the destinations that are not"
    )


@pytest.mark.parametrize("who", ["agent", "coordinator"])
def test_a_socket_path_fits_the_kernel(file: Path, who: str) -> None:
    ok(file, MINIMAL + f"{who}: {{control: /{'x' * 106}}}\n")
    report = bad(file, MINIMAL + f"{who}: {{control: /{'x' * 107}}}\n")
    assert "has 108 bytes, and the path of a socket at most 107" in str(report.problems[0])


def test_one_to_one_rules_do_not_cross(file: Path) -> None:
    crossed = (
        "{inside: 10.0.0.1, outside: 192.0.2.1}, {inside: 192.0.2.0/24, outside: 192.0.3.0/24}"
    )
    report = bad(file, MINIMAL + f"  static: [{crossed}]\n")
    assert "inside 192.0.2.0/24 and outside 192.0.2.1/32 of 1:1 rules overlap" in str(
        report.problems[0]
    )
    bad(file, MINIMAL + "  static: [{inside: 100.64.0.0, outside: 100.64.0.0}]\n")
    bad(file, MINIMAL + "  static: [{inside: 198.51.100.1, outside: 192.0.2.1}]\n")


def test_fewer_blocks_than_instances_are_doubtful(file: Path) -> None:
    big = "nat44: {inside: [10.0.0.0/8], pool: [198.51.100.1], block_size: 16384}\n"
    ok(file, big + "dataplane: {instances: {max: 3}}\n")
    assert check(file).warnings == []
    file.write_text(big + "dataplane: {instances: {max: 4}}\n")
    (warning,) = check(file).warnings
    assert warning.reason == (
        "4 instances share 3 blocks of 16384 ports: hosts of an instance that has none are refused"
    )
