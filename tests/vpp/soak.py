#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Churn in a real VPP for a while; afterwards everything must be back where it started.

First all mappings that are asked for are made, and dumped while their traffic goes on and somebody
polls, which must not stop the workers once. Then hosts come and go with UDP, TCP, pings and
fragments of which some never become whole, while pool addresses, blocks, rules and exemptions
change. In the end no mapping, session, host or held port may be left, every block be free, every
buffer back and VPP's heap no larger than after the first minute, and as many mappings fit as
before: no slab was lost.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import sys
import time
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import listing
from vpp_papi.vpp_stats import VPPStats

from conftest import ALL, SERVER, Nat, why_not
from hashmvt.names import DropReason
from hashmvt.private_vpp import StarvedError
from tests.py.vectors.packets import ICMP, TCP, UDP, Flow, Spec, build
from vpp import SETTLE_S, Vpp, leave_network, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

INSIDE, OUTSIDE = "host-w0", "host-w1"
WORKERS = 4
REMOTE = int.from_bytes(bytes(map(int, SERVER.split("."))))
BLACK_HOLE = "198.18.0.1"
FIRST_HOST = 0x0A010000
FIRST_PORT = 1024
ZERO = ("mappings", "sessions", "hosts", "ports_held", "blocks_open", "blocks_closed")
EVERYBODY = {"prefix": "0.0.0.0/0", "table": 0xFFFFFFFF, "external": "0.0.0.0"}
LONG = "udp-timeout 86400"
SHORT = "udp-timeout 10 tcp-transitory-timeout 10 tcp-established-timeout 20 icmp-timeout 10"
FILL_RATE = 100_000
PAGE = 1024
REFILL = 256
QUEUE = 1024
"""How many frames wait for a worker: with small ones, more than a few ms without a CPU make."""
STRAY = b"\x88\xb5" + bytes(46)
"""The rest of an Ethernet frame of an experiment, which is nobody's business."""
FILL_ATTEMPTS = 10
CONGESTION = DropReason.HANDOFF_CONGESTION.value[1]
"""What workers that share CPUs may drop: one that waits for a CPU does not empty its queue."""
PATIENCE_S = 300.0
END_S = 30.0
"""How long a VPP that broke off a connection may take to write its memory and end."""
HEAP_SLACK_MIB = 8.0


class Soak:
    """A VPP under churn."""

    def __init__(self, vpp: Vpp, mappings: int) -> None:
        """Enable the NAT with room for these mappings."""
        self.vpp = vpp
        # two ranges without common divisor, gone through side by side, hold every pair once
        self.hosts = 1 << 16 if mappings > 1 << 20 else 1 << 10
        self.ports = -(-mappings // self.hosts) | 1
        self.mappings = self.hosts * self.ports
        self.nat = Nat(vpp, vpp.api)
        self.random = random.Random(1)
        self.started = time.monotonic()
        self.broken: list[str] = []
        self.sent = self.answered = self.changes = 0
        vpp.do(
            f"hashmvt enable max-mappings {self.mappings // WORKERS * 2} max-hosts 262144 "
            f"max-addresses 512 hold-down 5 frame-queue-nelts {QUEUE}",
            f"hashmvt interface add {INSIDE} in",
            f"hashmvt interface add {OUTSIDE} out",
            "hashmvt policy add 10.0.0.0/8",
            "hashmvt pool add 203.0.113.0-203.0.113.255",
        )

    def say(self, text: str) -> None:
        """Print progress."""
        print(f"{time.monotonic() - self.started:7.1f} s  {text}", flush=True)

    def check(self, what: str, *, ok: bool) -> None:
        """Print a verdict and remember it."""
        self.say(f"{'ok' if ok else 'FAILED':<7} {what}")
        if not ok:
            self.broken.append(what)

    # ---- what is in use ----

    def buffers(self) -> int:
        """Return how many buffers are in use."""
        return int(self.vpp.cli("show buffers").splitlines()[-1].split()[-1])

    def level(self) -> int:
        """Return how many buffers are in use while af_packet keeps as many as it ever does.

        A thread that receives keeps buffers for it: 256 more whenever it has fewer, of which each
        packet takes one. After refills between few packets it keeps 480 to 510, and 510 when it has
        just refilled for a single one.
        """
        for name in (INSIDE, OUTSIDE):
            refills = 0
            while refills < 3:
                refills += self.stray(name, 16)
            self.stray(name, 224)
            while not self.stray(name, 1):
                pass
        return self.buffers()

    def stray(self, name: str, packets: int) -> bool:
        """Send packets that VPP drops; return whether af_packet took buffers for more."""
        before, end = self.buffers(), self.strays() + packets
        self.vpp.emit(name, [self.vpp.ethernet(name)[:12] + STRAY] * packets)
        wait_until("strays", lambda: self.strays() >= end)
        time.sleep(SETTLE_S)  # they are counted before their buffers are given back
        return self.buffers() > before - packets

    def strays(self) -> int:
        """Return how many packets of nobody's protocol VPP has dropped."""
        return sum(n for (_, text), n in self.vpp.errors().items() if "unknown ethernet" in text)

    def heap(self) -> float:
        """Return the MiB of VPP's main heap that are in use."""
        words = self.vpp.cli("show memory main-heap").replace(",", " ").split()
        used = words[words.index("used:") + 1]
        units = {"K": 1 / 1024, "M": 1.0, "G": 1024.0}
        return float(used[:-1]) * units[used[-1]] if used[-1] in units else float(used) / 2**20

    # ---- all mappings ----

    def generator(self, name: str, packets: int, rate: int) -> str:
        """Return the command of a stream that goes through all inside endpoints, and again."""
        hosts = f"{IPv4Address(FIRST_HOST)} - {IPv4Address(FIRST_HOST + self.hosts - 1)}"
        ports = f"{FIRST_PORT} - {FIRST_PORT + self.ports - 1}"
        return (
            f"packet-generator new {{ name {name} limit {packets} rate {rate} size 42-42 "
            f"interface {INSIDE} node ip4-input data {{ UDP: {hosts} -> {BLACK_HOLE} "
            f"UDP: {ports} -> 53 length 22 checksum 0 incrementing 14 }} }}"
        )

    def fill(self, name: str) -> int:
        """Make all mappings; return how many there are.

        What a full queue between workers dropped is sent again.
        """
        now = 0
        for _ in range(FILL_ATTEMPTS):
            self.vpp.do(self.generator(name, self.mappings, FILL_RATE))
            end = self.vpp.decided()[0] + self.mappings
            self.vpp.do(f"packet-generator enable-stream {name}")
            wait_until("the stream", lambda end=end: self.vpp.decided()[0] >= end, PATIENCE_S)
            now = self.nat.gauge("mappings")
            self.say(f"{now} mappings, {self.nat.each('mappings')}; drops: {self.drops()}")
            self.vpp.cli(f"packet-generator delete {name}")
            if now == self.mappings:
                break
        return now

    def drops(self) -> dict[str, int]:
        """Return what was dropped, by reason."""
        counts = {r.value[1]: sum(self.nat.counters("dropped", r.value[0])) for r in DropReason}
        return {reason: n for reason, n in counts.items() if n}

    def dump(self) -> None:
        """List every mapping while their packets go on, and poll: no barrier."""
        self.vpp.do(self.generator("go", 2**40, 20_000), "packet-generator enable-stream go")
        stats = VPPStats(str(self.vpp.directory / "stats.sock"))
        stats.connect()
        client = self.vpp.connect("listing")
        before, packets = self.nat.api.hashmvt_get().barriers, self.packets()
        lost = self.drops()
        times = bytearray(self.mappings)
        began = said = time.monotonic()
        for page in listing.pages(client, PAGE, {"instance": ALL}):
            for address, port in page:
                times[(address - FIRST_HOST) * self.ports + port - FIRST_PORT] += 1
            sum(map(sum, stats["/hashmvt/mappings"]))
            if time.monotonic() - said > 10:
                said = time.monotonic()
                self.say(f"{self.mappings - times.count(0)} mappings listed")
        took = time.monotonic() - began
        after = self.nat.api.hashmvt_get().barriers
        stats.disconnect()
        client.disconnect()
        flowed, lost_meanwhile = self.packets() - packets, difference(self.drops(), lost)
        self.vpp.do("packet-generator disable-stream go", "packet-generator delete go")
        self.check(
            f"{times.count(1)} mappings listed, each once, in {took:.1f} s",
            ok=times.count(1) == self.mappings,
        )
        self.check(
            f"{flowed} packets meanwhile, {after - before} worker barriers, "
            f"dropped: {lost_meanwhile or 'none'}",
            ok=after == before and flowed > 0 and lost_meanwhile.keys() <= {CONGESTION},
        )

    def packets(self) -> int:
        """Return how many packets the instances have seen from inside."""
        return self.nat.gauge("received_in2out")

    # ---- churn ----

    def hosts_packets(self) -> Iterator[bytes]:
        """Return what some hosts send in one round."""
        for _ in range(100):
            host = FIRST_HOST + self.random.randrange(1 << 16)
            flow = Flow(host, REMOTE, self.random.randrange(1024, 65536), 53)
            number = self.random.randrange(1 << 16)
            yield from build(Spec(UDP, payload=20), [flow])
            yield from build(Spec(TCP, flags=2), [flow])
            yield from build(Spec(ICMP, icmp_type=8), [Flow(host, REMOTE, number, number)])
            pieces = build(Spec(UDP, payload=300, cut=64, id=number), [flow])
            # one in four never becomes whole
            yield from pieces[:0:-1] if number % 4 == 0 else reversed(pieces)

    def round(self, turn: int) -> None:
        """Send what hosts say, answer it, change something."""
        frames = [self.vpp.ethernet(INSIDE) + p for p in self.hosts_packets()]
        self.sent += len(frames)
        self.vpp.emit(INSIDE, frames)
        self.change(turn)
        answers = [
            self.vpp.ethernet(OUTSIDE) + a
            for f in self.vpp.arrived(OUTSIDE)
            if (a := reflected(f[14:])) is not None
        ]
        self.answered += len(answers)
        self.vpp.emit(OUTSIDE, answers)
        list(self.vpp.arrived(INSIDE))

    def change(self, turn: int) -> None:
        """Change what an operator or a coordinator might."""
        api = self.nat.api
        source, target = turn % WORKERS, (turn + 1) % WORKERS
        address = f"203.0.113.{self.random.randrange(256)}"
        for is_add in (True, False):
            api.hashmvt_exempt_add_del(is_add=is_add, prefix=f"192.0.2.{turn % 250}/32")
        api.hashmvt_shard(from_instance=source, to_instance=target, percent=20)
        change = api.hashmvt_change_begin(kind=1, version=turn + 1).change
        ranges = [{**EVERYBODY, "instance": target}]
        api.hashmvt_change_add_ranges(change=change, n=1, ranges=ranges)
        api.hashmvt_change_end(change=change, commit=True)
        if turn % 5 == 0:
            pool: dict[str, Any] = {"first": address, "last": address}
            api.hashmvt_pool_add_del(is_add=False, force=turn % 2, **pool)
            api.hashmvt_pool_add_del(is_add=True, **pool)
            api.hashmvt_mapping_delete(filter={"instance": ALL, "inside": "10.1.0.0/20"})
        self.changes += 1

    def churn(self, until: float) -> None:
        """Go round until the time is up."""
        said = time.monotonic()
        turn = 0
        while time.monotonic() < until:
            self.round(turn)
            turn += 1
            if time.monotonic() - said > 10:
                said = time.monotonic()
                self.say(
                    f"churn: {self.sent} packets, {self.answered} answers, {self.changes} rounds "
                    f"of changes, {self.nat.gauge('mappings')} mappings, "
                    f"{self.nat.gauge('sessions')} sessions, {self.buffers()} buffers"
                )

    # ---- the end ----

    def settle(self, free: int, buffers: int) -> None:
        """Wait until everything has expired, and check that nothing is left."""
        with contextlib.suppress(TimeoutError):
            wait_until("the end", lambda: not any(map(self.nat.gauge, ZERO)), 120.0)
        left = {name: n for name in ZERO if (n := self.nat.gauge(name))}
        self.check(f"nothing is left {left or ''}", ok=not left)
        now = self.nat.gauge("blocks_free")
        self.check(f"{now} blocks are free, {free} at the start", ok=now == free > 0)
        with contextlib.suppress(TimeoutError):
            wait_until("all buffers", lambda: self.level() == buffers, 60.0)
        now = self.level()
        self.check(f"{now} buffers in use, {buffers} at the start", ok=now == buffers)

    def run(self, seconds: float) -> bool:
        """Do it all; return whether everything came back."""
        buffers = self.level()
        blocks, free = self.nat.gauge("blocks"), self.nat.gauge("blocks_free")
        self.vpp.do(f"hashmvt policy add default {LONG}")
        made = self.fill("fill")
        self.check(f"{made} mappings made", ok=made == self.mappings)
        self.dump()
        self.vpp.do(f"hashmvt policy add default {SHORT} filtering tcp address-dependent")
        end = max(self.started + seconds, time.monotonic() + seconds / 4)
        warm = time.monotonic() + (end - time.monotonic()) / 4
        self.churn(warm)
        heap = self.heap()
        self.churn(end)
        self.settle(free, buffers)
        used = self.heap()
        self.check(
            f"heap: {used:.1f} MiB in use, {heap:.1f} after the first quarter of the churn",
            ok=used < heap + HEAP_SLACK_MIB,
        )
        self.check(f"{blocks} blocks, as at the start", ok=self.nat.gauge("blocks") == blocks)
        self.vpp.do(f"hashmvt policy add default {LONG}")
        made = self.fill("again")
        self.check(f"{made} mappings fit again", ok=made == self.mappings)
        ended = self.nat.api.hashmvt_mapping_delete(filter={"instance": ALL}).ended
        self.check(f"{ended} mappings ended", ok=ended == made)
        self.settle(free, buffers)
        return not self.broken


def difference(now: dict[str, int], before: dict[str, int]) -> dict[str, int]:
    """Return by how much counts have grown."""
    return {name: n - before.get(name, 0) for name, n in now.items() if n > before.get(name, 0)}


def reflected(packet: bytes) -> bytes | None:
    """Return a packet's answer: ends swapped, an echo made a reply; None for later fragments."""
    if len(packet) < 28 or packet[0] != 0x45 or int.from_bytes(packet[6:8]) & 0x1FFF:
        return None
    header = packet[:12] + packet[16:20] + packet[12:16]
    if packet[9] == ICMP:
        total = int.from_bytes(packet[22:24]) + 0x0800
        total = (total & 0xFFFF) + (total >> 16)
        return header + b"\0" + packet[21:22] + total.to_bytes(2) + packet[24:]
    return header + packet[22:24] + packet[20:22] + packet[24:]


def set_up(vpp: Vpp) -> None:
    """Make the inside and the outside; the inside hosts are behind a router."""
    vpp.create_wire(0, "100.64.0.1/30", ["100.64.0.2"])
    vpp.create_wire(1, "198.51.100.1/24", [SERVER])
    vpp.do(
        f"ip route add 10.0.0.0/8 via 100.64.0.2 {INSIDE}", f"ip route add {BLACK_HOLE}/32 via drop"
    )


def main() -> int:
    """Run as long as is asked."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--mappings", type=int, help="4,000,000, fewer in short runs")
    options = parser.parse_args()
    if why := why_not():
        print(f"soak: not run, {why}", file=sys.stderr)
        return 1
    mappings = options.mappings or min(4_000_000, int(options.seconds * 6_700))
    leave_network()
    directory = Path(f"/tmp/hmvt-{os.getpid()}-soak")
    vpp = Vpp(directory, workers=WORKERS, sections="hashmvt { clock system }")
    vpp.start(set_up)
    try:
        ok = Soak(vpp, mappings).run(options.seconds)
    except OSError:
        try:
            vpp.check(END_S)
        except StarvedError as starved:
            print(f"soak: not judged, {starved}")
            return 1
        raise
    finally:
        vpp.stop()
    alive = vpp.status == 0
    print(f"soak: {'passed' if ok and alive else 'FAILED'}, VPP ended with {vpp.status}")
    if alive:
        shutil.rmtree(directory)
    return 0 if ok and alive else 1


if __name__ == "__main__":
    sys.exit(main())
