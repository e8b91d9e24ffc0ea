# SPDX-License-Identifier: Apache-2.0
"""The demonstration without rights: a capture made here, replayed, judged by the same judge.

A capture knows no outside ports before the NAT has chosen them. So it is made in two passes: the
first holds what clients send; the answers are then made from what the NAT made of that, put in
between, and the whole is replayed with the same seed, which must choose the same ports again.
"""

from __future__ import annotations

import json
import random
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from demo.packets import (
    ICMP,
    TCP,
    UDP,
    Packet,
    build,
    fragments,
    parse,
    pcap_read,
    pcap_save,
)
from demo.plan import Plan
from demo.report import Check, print_checks, wire_checks
from demo.verify import Judgement, judge

SEED = 1
ROUNDS = 12
ANSWER_US = 2000
SYN, ACK, FIN, PUSH = 0x02, 0x10, 0x01, 0x08
COMMAND_S = 50
MTU = 1500

Timed = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class Replay:
    """What ``hashmvt replay --json`` says."""

    packets_in: int
    packets_out: int
    dropped: dict[str, int]
    mappings: dict[int, int]
    """By instance."""


def config(plan: Plan, directory: Path) -> Path:
    """A configuration for the replay."""
    path = directory / "hashmvt.yaml"
    path.write_text(
        "nat44:\n"
        f"  inside: [{plan.inside}]\n"
        f"  pool: [{plan.pool}]\n"
        "dataplane:\n"
        "  kind: embedded\n"
        f"  instances: {{initial: {plan.instances}, max: {plan.instances + 1}}}\n"
    )
    return path


def sent_by_clients(plan: Plan) -> Iterator[Timed]:
    """What clients send; each packet's essence is its own."""
    chance = random.Random(SEED)
    server = plan.server_a.packed
    time_us = 1_700_000_000_000_000
    ident = 0
    for number in range(ROUNDS):
        for index in range(plan.clients):
            client = plan.client(index).packed
            port = 20000 + number
            packets: list[bytes] = []
            for flags, size in ((SYN, 0), (ACK | PUSH, 1200), (ACK | PUSH, 333), (ACK | FIN, 0)):
                head = struct.pack(
                    "!HHIIBBHHH", port, 80, chance.getrandbits(32), 0, 0x50, flags, 512, 0, 0
                )
                packets.append(build(TCP, client, server, head + chance.randbytes(size), ident))
                ident = (ident + 1) & 0xFFFF
            query = chance.randbytes(chance.randrange(20, 60))
            udp = struct.pack("!HHHH", port, 53, 8 + len(query), 0) + query
            packets.append(build(UDP, client, plan.server_b.packed, udp, ident + 1))
            echo = struct.pack("!BBHHH", 8, 0, 0, port, number) + chance.randbytes(48)
            packets.append(build(ICMP, client, server, echo, ident + 2))
            if number == index % ROUNDS:
                big = chance.randbytes(4200)
                body = struct.pack("!HHHH", port, 5000, 8 + len(big), 0) + big
                parts = fragments(build(UDP, client, server, body, ident + 3), MTU)
                # every other datagram arrives last part first
                packets.extend(parts if index % 2 else reversed(parts))
            for packet in packets:
                time_us += 200
                yield time_us, packet


def answer(packet: Packet, plan: Plan) -> list[bytes]:
    """What the far end says to a packet as it left the NAT."""
    body = packet.body
    if packet.fragment:
        return []
    if packet.proto == ICMP:
        return [build(ICMP, packet.dst, packet.src, b"\0" + body[1:], packet.ident)]
    source, target = struct.unpack_from("!HH", body)
    ports = struct.pack("!HH", target, source)
    if packet.proto == UDP:
        return _answer_udp(packet, ports, plan)
    flags = body[13] | ACK
    reply = ports + struct.pack("!IIBBHHH", packet.ident, 0, 0x50, flags, 512, 0, 0) + body[20:]
    return [build(TCP, packet.dst, packet.src, reply, packet.ident)]


def _answer_udp(packet: Packet, ports: bytes, plan: Plan) -> list[bytes]:
    """One in eight each: port unreachable, TTL exceeded, a datagram in fragments."""
    kind = packet.ident % 8
    if kind == 0:
        quote = struct.pack("!BBHI", 3, 3, 0, 0) + packet.raw[: packet.header + 8]
        return [build(ICMP, packet.dst, packet.src, quote, packet.ident)]
    if kind == 1:
        quote = struct.pack("!BBHI", 11, 0, 0, 0) + packet.raw
        return [build(ICMP, plan.router.packed, packet.src, quote, packet.ident)]
    if kind == 2:
        data = packet.body[8:] * 80
        whole = ports + struct.pack("!HH", 8 + len(data), 0) + data
        return fragments(build(UDP, packet.dst, packet.src, whole, packet.ident), MTU)
    return [build(UDP, packet.dst, packet.src, ports + packet.body[4:], packet.ident)]


def hairpins(left: list[Packet], plan: Plan) -> list[Packet]:
    """Datagrams from clients to other clients' outside endpoints."""
    targets = [p for p in left if p.proto == UDP and not p.fragment][:32]
    calls = []
    for index, target in enumerate(targets):
        _, address, port = target.source
        text = f"hairpin {index}".encode()
        body = struct.pack("!HHHH", 20000, port, 8 + len(text), 0) + text
        caller = plan.client((7 * index + 1) % plan.clients).packed
        packet = parse(build(UDP, caller, address, body, index))
        if packet is not None:
            calls.append(packet)
    return calls


class Offline:
    """One run."""

    def __init__(self, plan: Plan, directory: Path) -> None:
        self._plan = plan
        self._directory = directory
        self._config = config(plan, directory)

    def replay(self, name: str, packets: list[Timed]) -> tuple[list[bytes], Replay]:
        """NAT a capture.

        Raises:
            RuntimeError: with what the command said.
        """
        before, after = self._directory / f"{name}-in.pcap", self._directory / f"{name}-out.pcap"
        pcap_save(before, packets)
        command = [
            str(Path(sys.executable).parent / "hashmvt"), "replay", str(before), str(after),
            "-c", str(self._config), "--instances", str(self._plan.instances),
            "--seed", str(SEED), "--json",
        ]  # fmt: skip
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=COMMAND_S
        )
        if done.returncode != 0:
            raise RuntimeError(f"hashmvt replay failed: {done.stderr.strip()}")
        said = json.loads(done.stdout)
        return list(pcap_read(after)), Replay(
            said["packets"]["in"],
            said["packets"]["out"],
            {k: v for k, v in said["packets"]["dropped"].items() if v},
            {int(i["id"]): int(i["mappings"]) for i in said["instances"]},
        )

    def run(self) -> bool:
        """Whether every check was ok."""
        plan = self._plan
        out = list(sent_by_clients(plan))
        print(f"first pass: {len(out)} packets from {plan.clients} clients", flush=True)
        first, _ = self.replay("first", out)
        left = [p for raw in first if (p := parse(raw)) and IPv4Address(p.src) in plan.pool]
        both = list(out)
        # answers come after all that the clients sent, so that mappings are made in the same order
        time_us = out[-1][0] + ANSWER_US
        for packet in left:
            for reply in answer(packet, plan):
                time_us += 100
                both.append((time_us, reply))
        for call in hairpins(left, plan):
            time_us += 100
            both.append((time_us, call.raw))
        print(f"second pass: {len(both)} packets, with answers, errors and hairpins", flush=True)
        second, replay = self.replay("second", both)
        judgement = self._judge(both, second)
        checks = [
            Check(
                "client addresses",
                len(judgement.hosts) == plan.clients,
                f"{len(judgement.hosts)} came through",
            ),
            Check(
                "the same seed gives the same ports",
                [r for r in second if _is_from_pool(r, plan)][: len(left)] == [p.raw for p in left],
                f"{len(left)} packets, byte for byte",
            ),
            *wire_checks(judgement, None),
            Check(
                "hairpinning, errors, fragments are among them",
                min(judgement.hairpinned, judgement.icmp_errors, judgement.fragments) > 0,
                f"{judgement.hairpinned}, {judgement.icmp_errors}, {judgement.fragments}",
            ),
            Check(
                "every packet came out, no drops",
                replay.packets_in == replay.packets_out == len(both) and not replay.dropped,
                f"{replay.packets_out} of {replay.packets_in}; {replay.dropped or 'no drops'}",
            ),
            self._balance(replay),
        ]
        ok = print_checks(checks)
        if judgement.problems:
            print("\n".join(["", "what the packets show:", *judgement.problems]))
        return ok

    def _balance(self, replay: Replay) -> Check:
        total = sum(replay.mappings.values()) or 1
        busy = sum(m / total >= self._plan.share_min for m in replay.mappings.values())
        return Check(
            f"at least 2 instances with {self._plan.share_min:.0%} of the mappings each",
            busy >= 2,
            ", ".join(f"{i}: {m}" for i, m in sorted(replay.mappings.items())),
        )

    def _judge(self, before: list[Timed], after: list[bytes]) -> Judgement:
        """Sort both captures into what was on the NAT's inside and on its outside."""
        plan = self._plan
        inside = [raw for _, raw in before if IPv4Address(raw[12:16]) in plan.inside]
        outside = [raw for _, raw in before if IPv4Address(raw[12:16]) not in plan.inside]
        for raw in after:
            to_client = IPv4Address(raw[16:20]) in plan.inside
            (inside if to_client else outside).append(raw)
        return judge(inside, outside, plan.inside, plan.pool)


def _is_from_pool(raw: bytes, plan: Plan) -> bool:
    return IPv4Address(raw[12:16]) in plan.pool and IPv4Address(raw[16:20]) not in plan.inside


def run(plan: Plan) -> bool:
    """Run in a temporary directory that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="hashmvt-demo-") as directory:
        return Offline(plan, Path(directory)).run()
