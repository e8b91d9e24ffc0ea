# SPDX-License-Identifier: Apache-2.0
"""One VPP for each number of workers, and a NAT that is enabled afresh for every test.

``HASHMVT_VPP_WORKERS`` names the numbers, ``0,1,4`` unless set. Without VPP, the plugin or the
right to run them, everything here is skipped, in one line that says why.
"""

from __future__ import annotations

import os
import struct
import sys
import time
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import again
import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import ARP, Ether

from vpp import PATIENCE_S, ROOT, Vpp, leave_network, wait_until, why_not

sys.path.insert(0, str(ROOT))  # for what tests share

from hashmvt.names import Counters, Gauges

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scapy.packet import Packet

INSIDE, OUTSIDE = "pg0", "pg1"
HOSTS = [f"10.0.0.{n}" for n in range(10, 74)]
"""So many that each of four instances is the home of some, whatever the key says."""
SERVER = "198.51.100.9"
POOL = [f"203.0.113.{n}" for n in range(4)]
NAT_COMMANDS = (
    "hashmvt enable max-mappings 10000 log mapping",
    f"hashmvt interface add {INSIDE} in",
    f"hashmvt interface add {OUTSIDE} out",
    "hashmvt policy add 10.0.0.0/8",
    f"hashmvt pool add {POOL[0]}-{POOL[-1]}",
)
ALL = 0xFFFF
RUNNING: list[Vpp] = []


def pytest_report_header() -> str:
    """Say in one line whether the tests against VPP run."""
    why = why_not()
    return f"VPP tests: {f'skipped, {why}' if why else 'run'}"


def pytest_sessionstart() -> None:
    """Leave the machine's network alone."""
    if why_not() is None:
        leave_network()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip everything where VPP cannot run."""
    why = why_not()
    for item in items:
        if why:
            item.add_marker(pytest.mark.skip(reason=why))


def worker_counts() -> list[int]:
    return [int(n) for n in os.environ.get("HASHMVT_VPP_WORKERS", "0,1,4").split(",")]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """Run a test, and again when VPP got no CPU time."""
    return again.run(item, nextitem, RUNNING)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the tests that ran more than once."""
    again.summary(terminalreporter)


@dataclass
class Nat:
    """A VPP with the NAT enabled between two packet-generator interfaces."""

    vpp: Vpp
    api: Any
    sw: dict[str, int] = field(default_factory=dict)

    @property
    def instances(self) -> int:
        """How many there are."""
        return max(1, self.vpp.workers)

    # ---- packets ----

    def outward(self, *packets: Packet, **options: Any) -> list[Packet]:
        """Send IP packets from inside; return the IP packets that left outside."""
        return self._through(INSIDE, OUTSIDE, packets, options)

    def inward(self, *packets: Packet, **options: Any) -> list[Packet]:
        """Send IP packets from outside; return the IP packets that left inside."""
        return self._through(OUTSIDE, INSIDE, packets, options)

    def _through(
        self, source: str, target: str, packets: tuple[Packet, ...], options: dict[str, Any]
    ) -> list[Packet]:
        back = options.pop("back", False)
        on = options.pop("worker", None)
        if on is not None:
            options["worker"] = {source: on}
        frames = [self.vpp.frame(source, p) for p in packets]
        out = self.vpp.send({source: frames}, decide_s=PATIENCE_S, **options)
        found = [f[IP] for f in out[source if back else target] if IP in f]
        for packet in found:
            check_sums(packet)
        return found

    def flood(self, hosts: int, ports: int) -> None:
        """Make mappings of 10.0.0.0/8, one for each of these hosts' first ports above 1023.

        What a full queue between workers dropped is sent again.
        """
        frames = [
            self.vpp.ethernet(INSIDE) + udp_datagram(0x0A010000 + host, 1024 + port)
            for port in range(ports)
            for host in range(hosts)
        ]

        def complete() -> bool:
            self.vpp.emit(INSIDE, frames)
            before = -1
            while (now := self.gauge("mappings")) != before and now < len(frames):
                before = now
                time.sleep(0.1)
            return now == len(frames)

        wait_until(f"{len(frames)} mappings", complete)

    def arp(self, *addresses: str, expect: int | None = None) -> list[Packet]:
        """Ask on the outside link who has these addresses; return the answers."""
        peer = self.vpp.peer_mac(OUTSIDE)
        questions = [
            Ether(src=peer, dst="ff:ff:ff:ff:ff:ff")
            / ARP(op="who-has", hwsrc=peer, psrc=SERVER, pdst=address)
            for address in addresses
        ]
        out = self.vpp.send({OUTSIDE: questions}, expect=expect)
        return [f[ARP] for f in out[OUTSIDE] if ARP in f and f[ARP].op == 2]

    # ---- what the NAT says ----

    def count(self, text: str) -> int:
        """Packets that our nodes counted under a text, which VPP may have cut."""
        return sum(
            count
            for (node, said), count in self.vpp.errors().items()
            if node.startswith("hashmvt-") and text.startswith(said)
        )

    def gauge(self, name: str) -> int:
        """Return a counter or gauge of the core, summed over the instances."""
        return sum(self.each(name))

    def each(self, name: str) -> list[int]:
        """Return the same of each instance."""
        names = [*Counters.__dataclass_fields__, *Gauges.__dataclass_fields__]
        return self.counters("counters", names.index(name))

    def counters(self, name: str, position: int = 0) -> list[int]:
        """One counter of each instance, by its position in the message."""
        return [getattr(i, name)[position] for i in self.api.hashmvt_instance_get()[1]]

    def mappings(self, **where: Any) -> list[Any]:
        """All mappings."""
        where = {"instance": ALL, **where}
        return self.listing(self.api.hashmvt_mapping_get, filter=where, max=256)

    def listing(self, call: Any, **arguments: Any) -> list[Any]:
        """All items of a listing."""
        items: list[Any] = []
        cursor = 0
        while True:
            reply, page = call(cursor=cursor, **arguments)
            items += page
            cursor = reply.cursor
            if reply.retval != -165:
                assert reply.retval == 0
                return items


def udp_datagram(source: int, port: int) -> bytes:
    """Return a datagram to the server, without UDP checksum, as fast as Python can."""
    header = struct.pack(
        "!BBHHHBBHI4s", 0x45, 0, 28, 0, 0, 64, 17, 0, source, IPv4Address(SERVER).packed
    )
    total = sum(struct.unpack("!10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    return (
        header[:10]
        + (~((total & 0xFFFF) + (total >> 16)) & 0xFFFF).to_bytes(2)
        + header[12:]
        + struct.pack("!HHHH", port, 53, 8, 0)
    )


def check_sums(packet: Packet) -> None:
    """Assert that every checksum of an IP packet, and of what it embeds, is right."""
    again = IP(bytes(packet))
    del again.chksum
    assert IP(bytes(again)).chksum == packet.chksum, "IPv4 header checksum"
    if packet.frag or packet.flags.MF:
        return
    for layer in (TCP, UDP, ICMP):
        if packet.haslayer(layer) and packet[layer].underlayer is packet:
            if layer is UDP and packet[UDP].chksum == 0:
                continue
            del again[layer].chksum
            assert IP(bytes(again))[layer].chksum == packet[layer].chksum, layer.__name__


@pytest.fixture(scope="session", params=worker_counts(), ids=lambda n: f"workers{n}")
def vpp(request: pytest.FixtureRequest) -> Iterator[Vpp]:
    """Run a VPP with two interfaces."""
    # the name of a Unix socket must be short
    directory = Path("/tmp") / f"hmvt-{os.getpid()}-{request.param}"
    vpp = Vpp(directory, workers=request.param)
    vpp.start(set_up)
    RUNNING.append(vpp)
    yield vpp
    RUNNING.remove(vpp)
    vpp.end()


def set_up(vpp: Vpp) -> None:
    """Make the inside and the outside."""
    vpp.create_pg(0, "10.0.0.1/24", HOSTS)
    vpp.create_pg(1, "198.51.100.1/24", [SERVER])


@pytest.fixture
def api(vpp: Vpp) -> Any:
    """Return the connection to VPP's binary API."""
    return vpp.client


@pytest.fixture
def disabled(vpp: Vpp, api: Any) -> Iterator[Nat]:
    """Return the NAT before it is enabled."""
    names = {i.interface_name: i.sw_if_index for i in api.api.sw_interface_dump()}
    yield Nat(vpp, api.api, names)
    if api.api.hashmvt_get().enabled:
        assert api.api.hashmvt_disable().retval == 0


@pytest.fixture
def nat(disabled: Nat) -> Nat:
    """Return the NAT with 10.0.0.0/8 inside and four pool addresses."""
    disabled.vpp.do("clear errors")
    disabled.vpp.do(*NAT_COMMANDS)
    return disabled
