# SPDX-License-Identifier: Apache-2.0
"""The yardstick of `hashmvt bench vpp`: it touches memory for each packet, and nothing of it."""

from __future__ import annotations

import os
import re
import resource
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Dot1Q

from conftest import HOSTS, INSIDE, OUTSIDE, RUNNING, SERVER, check_sums, set_up, worker_counts
from hashmvt.private_vpp import TOUCH
from vpp import PLUGINS, Vpp

if TYPE_CHECKING:
    from collections.abc import Iterator

LINES = 1000
FIRST_LINES = LINES * 10 // 62 + 1
VLAN, TAGGED = 10, "pg0.10"
MANY = 1 << 25  # 2.4 GB


@pytest.fixture(scope="module", params=worker_counts(), ids=lambda n: f"workers{n}")
def vpp(request: pytest.FixtureRequest) -> Iterator[Vpp]:
    """Run a VPP with that plugin."""
    directory = Path("/tmp") / f"hmvt-{os.getpid()}-t{request.param}"
    vpp = Vpp(directory, workers=request.param, plugins=(*PLUGINS, TOUCH))
    vpp.start(interfaces)
    RUNNING.append(vpp)
    yield vpp
    RUNNING.remove(vpp)
    vpp.end()


def interfaces(vpp: Vpp) -> None:
    """Make the inside, with a VLAN, and the outside."""
    set_up(vpp)
    vpp.cli(f"create sub-interfaces {INSIDE} {VLAN}")
    vpp.do(f"set interface ip address {TAGGED} 10.0.1.1/24", f"set interface state {TAGGED} up")


@pytest.fixture
def touch(vpp: Vpp) -> Iterator[Vpp]:
    """Let packets of both sides touch a thousand lines."""
    vpp.do(
        "clear errors",
        f"touch lines {LINES}",
        f"touch interface {INSIDE} in",
        f"touch interface {OUTSIDE} out",
    )
    yield vpp
    for name in (INSIDE, OUTSIDE, TAGGED):
        vpp.do(f"touch interface {name} off")


def flows(*hosts: str, ports: int = 1) -> list[IP]:
    """Return a packet of each flow from some hosts to the server."""
    return [
        IP(src=host, dst=SERVER) / UDP(sport=1000 + port, dport=53) / b"x"
        for host in hosts
        for port in range(ports)
    ]


def answers(packets: list[IP]) -> list[IP]:
    """Return the server's, to whoever asked."""
    return [IP(src=p.dst, dst=p.src) / UDP(sport=53, dport=p[UDP].sport) / b"y" for p in packets]


def through(vpp: Vpp, source: str, target: str, packets: list[IP]) -> list[IP]:
    """Send packets; return those that came out at the other side."""
    frames = [vpp.frame(source, p) for p in packets]
    out = vpp.send({source: frames}, expect=len(packets))[target]
    return [f[IP] for f in out if IP in f]


def endpoints(packets: list[IP]) -> list[tuple[str, int, str, int, bytes]]:
    """Return what a NAT would change, and the payload, in some order."""
    return sorted(
        (p.src, p[UDP].sport, p.dst, p[UDP].dport, bytes(p[UDP].payload)[:1]) for p in packets
    )


def touched(vpp: Vpp, node: str) -> int:
    """Return how many lines a node has read that were named."""
    return vpp.errors().get((node, "second lines read"), 0)


def clocks(vpp: Vpp, node: str) -> list[float]:
    """Return what VPP counted for a node, by thread that saw packets."""
    found = []
    for line in vpp.cli("show runtime").splitlines():
        words = line.split()
        if words[:1] == [node] and int(words[-4]):
            found.append(float(words[-2]))
    return found


def lines_of(vpp: Vpp, source: str, packets: list[IP]) -> list[tuple[int, int]]:
    """Return the lines that each of some packets touches, as traces tell."""
    vpp.cli("clear trace")
    vpp.do(f"trace add pg-input {len(packets)}")
    target = OUTSIDE if source == INSIDE else INSIDE
    through(vpp, source, target, packets)
    found = re.findall(r"line (\d+), which names line (\d+)", vpp.cli("show trace"))
    return [(int(first), int(second)) for first, second in found]


def test_packets_pass_as_they_are_and_are_counted(touch: Vpp) -> None:
    """Both ways; frames that are full, and one that is not."""
    asked = flows(*HOSTS, ports=9)
    touch.cli("clear runtime")
    for source, target, node, packets in (
        (INSIDE, OUTSIDE, "touch-in2out", asked),
        (OUTSIDE, INSIDE, "touch-out2in", answers(asked)),
    ):
        came = through(touch, source, target, packets)
        assert endpoints(came) == endpoints(packets)
        for packet in came:
            check_sums(packet)
            assert packet.ttl == packets[0].ttl - 1
        assert touched(touch, node) == len(packets)
        assert all(c > 0 for c in clocks(touch, node))
        assert clocks(touch, node)


def test_a_single_packet(touch: Vpp) -> None:
    packets = flows(HOSTS[0])
    assert endpoints(through(touch, INSIDE, OUTSIDE, packets)) == endpoints(packets)
    assert touched(touch, "touch-in2out") == 1


def test_lines_follow_the_inside_endpoint(touch: Vpp) -> None:
    """Each flow has its own two, again and in both directions; a port more is another flow."""
    asked = flows(*HOSTS[:40], ports=1)
    lines = lines_of(touch, INSIDE, asked)
    assert len(lines) == len(asked)
    assert lines_of(touch, INSIDE, asked) == lines
    assert lines_of(touch, OUTSIDE, answers(asked)) == lines
    assert all(first < FIRST_LINES and second < LINES for first, second in lines)
    assert len({first for first, _ in lines}) > len(lines) / 2
    assert len({second for _, second in lines}) > len(lines) / 2
    [(one, _), (other, _)] = lines_of(touch, INSIDE, flows(HOSTS[0], ports=2))
    assert one != other


def test_packets_with_other_features_ahead_share_a_frame(touch: Vpp) -> None:
    """Each goes on along the arc of its own interface."""
    touch.do(
        f"touch interface {TAGGED} in",
        f"set interface feature {TAGGED} ip4-not-enabled arc ip4-unicast",
    )
    try:
        packets = flows(*HOSTS)
        packets[::2] = [Dot1Q(vlan=VLAN) / p for p in packets[::2]]
        frames = [touch.frame(INSIDE, p) for p in packets]
        out = touch.send({INSIDE: frames}, expect=len(frames[1::2]))
    finally:
        touch.do(f"set interface feature {TAGGED} ip4-not-enabled arc ip4-unicast disable")
    assert touched(touch, "touch-in2out") == len(frames)
    assert [f[IP].src for f in out[OUTSIDE]] == HOSTS[1::2]


def test_off_is_off(touch: Vpp) -> None:
    """Also when it was switched on twice, and by way of the other side."""
    touch.do(
        f"touch interface {INSIDE} out",
        f"touch interface {INSIDE} in",
        f"touch interface {INSIDE} in",
        f"touch interface {INSIDE} off",
        f"touch interface {INSIDE} off",
    )
    assert len(through(touch, INSIDE, OUTSIDE, flows(*HOSTS))) == len(HOSTS)
    assert touched(touch, "touch-in2out") == touched(touch, "touch-out2in") == 0


def test_lines_may_be_replaced(touch: Vpp) -> None:
    """By one, and by more than fit a huge page."""
    for lines in (1, 100_000):
        touch.do(f"touch lines {lines}")
        found = lines_of(touch, INSIDE, flows(*HOSTS))
        assert max(second for _, second in found) < lines
        assert len({second for _, second in found}) > min(lines, len(HOSTS)) / 2
    assert touched(touch, "touch-in2out") == 2 * len(HOSTS)


@pytest.mark.parametrize("rest", ["", "0", "268435457", "5 more"])
def test_wrong_lines(touch: Vpp, rest: str) -> None:
    refuse(touch, f"touch lines {rest}", "touch lines N', N from 1 to 268435456")


@pytest.mark.parametrize("rest", ["", "nosuch in", INSIDE, f"{INSIDE} inward", f"{INSIDE} in out"])
def test_wrong_interface(touch: Vpp, rest: str) -> None:
    refuse(touch, f"touch interface {rest}", "touch interface INTERFACE in|out|off'")


def refuse(vpp: Vpp, command: str, expected: str) -> None:
    """Check that a command is refused in one sentence, and that nothing has changed."""
    name = " ".join(command.split()[:2])
    assert vpp.cli(command) == f"{name}: expected `{expected}"
    assert len(through(vpp, INSIDE, OUTSIDE, flows(*HOSTS))) == len(HOSTS)
    assert touched(vpp, "touch-in2out") == len(HOSTS)


def test_more_lines_than_there_is_memory(touch: Vpp) -> None:
    """The lines that are there stay."""
    used = int(Path(f"/proc/{touch.pid}/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.prlimit(touch.pid, resource.RLIMIT_AS)
    resource.prlimit(touch.pid, resource.RLIMIT_AS, (used + (1 << 30), before[1]))
    try:
        said = touch.cli(f"touch lines {MANY}")
    finally:
        resource.prlimit(touch.pid, resource.RLIMIT_AS, before)
    assert said == f"touch lines: {MANY} lines take 2.32g, more than there is"
    assert len(through(touch, INSIDE, OUTSIDE, flows(*HOSTS))) == len(HOSTS)


def test_interfaces_need_lines(tmp_path: Path) -> None:
    """Without, nothing is switched on."""
    vpp = Vpp(tmp_path / "vpp", plugins=(*PLUGINS, TOUCH))
    vpp.start(set_up)
    try:
        said = vpp.cli(f"touch interface {INSIDE} in")
        assert said == "touch interface: there are no lines to touch: `touch lines N' first"
        vpp.do(f"touch interface {INSIDE} off")
        assert len(through(vpp, INSIDE, OUTSIDE, flows(*HOSTS))) == len(HOSTS)
    finally:
        vpp.end()
