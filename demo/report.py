# SPDX-License-Identifier: Apache-2.0
"""The checks at the end: pure functions from what was seen to (what, whether, evidence)."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from demo.plan import Plan
    from demo.traffic.wire import ClientReport, ServerReport
    from demo.verify import Judgement

CLIENTS_MIN = 64
BUSY_MIN = 2
STEPS = ("i", "ii", "iii", "iv", "v")


@dataclass(frozen=True, slots=True)
class Check:
    """One promise, whether it was kept, and what shows it."""

    name: str
    ok: bool
    evidence: str


@dataclass(frozen=True, slots=True)
class InstanceReport:
    """What one instance says of itself at the end."""

    id: int
    state: str
    packets: int
    mappings: int
    """Live ones."""
    made: int
    blocks: int
    ports: int
    """External ports of the blocks that it owns."""
    handed_over: int
    dropped: dict[str, int]
    """Only what is not zero."""
    passed: dict[str, int]


@dataclass(frozen=True, slots=True)
class ScaleOut:
    """What the log says about the instance that was added."""

    instance: int | None
    steps: tuple[str, ...]
    """Steps as the log numbers them, in order."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Captured:
    """Packets seen on the two devices, and those that the capture itself missed."""

    inside: int
    outside: int
    missed: int


def shares(instances: Sequence[InstanceReport]) -> list[float]:
    """Each instance's share of the packets."""
    total = sum(i.packets for i in instances) or 1
    return [i.packets / total for i in instances]


def ends(client: ClientReport, server: ServerReport) -> Iterator[Check]:
    """Both ends saw the same."""
    for kind, ours in client.tallies.items():
        theirs = server.tallies[kind]
        answered_here = ours.out == ours.back and ours.out > 0
        if kind == "icmp echo":  # the server's kernel answers; only requests are seen there
            same = (ours.out, ours.bytes_out) == (theirs.out, theirs.bytes_out)
        else:
            same = ours == theirs
        unit = "connections" if kind.startswith("tcp") else "datagrams"
        text = f"{ours.out} {unit}, {_size(ours.bytes_out)} out, {_size(ours.bytes_back)} back"
        if not same:
            text += f"; the server saw {theirs}, the clients {ours}"
        elif not answered_here:
            text += f"; only {ours.back} were finished"
        yield Check(f"{kind}: the same at both ends", same and answered_here, text)
    errors = [*client.errors, *server.errors]
    yield Check("no error at either end", not errors, "; ".join(errors[:3]) or "none")


def behaviour(plan: Plan, client: ClientReport, server: ServerReport) -> Iterator[Check]:
    """What clients and servers could notice of the NAT."""
    yield Check(
        "client addresses",
        client.clients >= CLIENTS_MIN and len(server.sources) == client.clients,
        f"{client.clients} sent, {len(server.sources)} came through",
    )
    seen = {IPv4Address(a) for addresses in server.sources.values() for a in addresses}
    strangers = sorted(str(a) for a in seen if a not in plan.pool)
    yield Check(
        "the server saw pool addresses only",
        bool(seen) and not strangers,
        f"{len(seen)} of {plan.pool}" + (f", and {', '.join(strangers[:3])}" if strangers else ""),
    )
    split = {c: a for c, a in server.sources.items() if len(a) != 1}
    yield Check(
        "one outside address for each client (paired pooling)",
        not split and bool(server.sources),
        "all" if not split else f"not for {', '.join(sorted(split)[:3])}",
    )
    changed = client.endpoints_changed
    yield Check(
        "long-lived flows kept their outside endpoint",
        not changed and client.kept == 2 * client.clients,
        f"{client.kept} flows asked {client.endpoints_checked} times"
        + (f"; {changed[0]}" if changed else ""),
    )
    yield Check("hairpinning", client.hairpins > 0, f"{client.hairpins} pairs, both ways")
    yield Check(
        "traceroute: errors reach the client's socket",
        client.ttl_exceeded > 0 and client.port_unreachable > 0,
        f"{client.ttl_exceeded} TTL exceeded, {client.port_unreachable} port unreachable",
    )


def wire_checks(judgement: Judgement, captured: Captured | None) -> Iterator[Check]:
    """What the packets on both sides say."""
    if captured is not None:
        yield Check(
            "every packet was captured on both sides",
            captured.missed == 0 and captured.inside > 0 and captured.outside > 0,
            f"{captured.inside} inside, {captured.outside} outside, {captured.missed} missed",
        )
    yield Check(
        "no packet translated wrongly",
        judgement.faults == 0 and judgement.packets > 0,
        f"{judgement.in2out} in2out, {judgement.out2in} out2in, {judgement.hairpinned} hairpin; "
        f"{judgement.fragments} fragments, {judgement.icmp_errors} ICMP errors"
        + ("" if judgement.faults == 0 else f"; {judgement.faults} wrong"),
    )
    yield Check("no packet lost", judgement.lost == 0, f"{judgement.lost} of {judgement.packets}")
    scattered = [host for host, outside in judgement.hosts.items() if len(outside) != 1]
    yield Check(
        "mappings are one to one, one address for each host",
        judgement.conflicts == 0 and not scattered and judgement.mappings > 0,
        f"{judgement.mappings} mappings of {len(judgement.hosts)} hosts",
    )


def instance_checks(plan: Plan, instances: Sequence[InstanceReport]) -> Iterator[Check]:
    """What the instances say of themselves."""
    busy = sum(share >= plan.share_min for share in shares(instances))
    yield Check(
        f"at least {BUSY_MIN} instances with {plan.share_min:.0%} of the packets each",
        busy >= BUSY_MIN,
        ", ".join(f"{i.id}: {s:.0%}" for i, s in zip(instances, shares(instances), strict=True)),
    )
    drops = {k: v for i in instances for k, v in i.dropped.items()}
    yield Check(
        "no drops",
        not drops,
        ", ".join(f"{k}: {v}" for k, v in drops.items()) or "none, under any reason",
    )
    passed = {k: v for i in instances for k, v in i.passed.items()}
    yield Check(
        "nothing went through untranslated",
        not passed,
        ", ".join(f"{k}: {v}" for k, v in passed.items()) or "nothing",
    )


def scale_checks(
    plan: Plan, scale: ScaleOut, instances: Sequence[InstanceReport], client: ClientReport
) -> Iterator[Check]:
    """The instance that was added under load."""
    yield Check(
        "an instance was added while traffic ran, in five steps",
        scale.instance is not None and scale.steps == STEPS,
        f"instance {scale.instance}, steps {', '.join(scale.steps) or 'none'}, "
        f"{scale.seconds:.1f} s after the coordinator's start",
    )
    new = next((i for i in instances if i.id == scale.instance), None)
    packets = new.packets if new else 0
    made = new.made if new else 0
    yield Check(
        "the new instance serves new hosts",
        packets > 0 and made > 0 and client.late_rounds > 0,
        f"{packets} packets, {made} mappings",
    )
    if plan.instances + 1 != sum(i.packets > 0 for i in instances):
        yield Check("no other instance was added", ok=False, evidence="more instances than planned")


def print_instances(instances: Sequence[InstanceReport]) -> None:
    """Mappings and ports of each instance."""
    print(
        "\n  instance  state     packets  share  mappings    made   blocks     ports  handed over"
    )
    for instance, share in zip(instances, shares(instances), strict=True):
        print(
            f"  {instance.id:>8}  {instance.state:<8}{instance.packets:>9}  {share:>5.0%}"
            f"{instance.mappings:>10}{instance.made:>8}{instance.blocks:>9}{instance.ports:>10}"
            f"{instance.handed_over:>13}"
        )


def print_checks(checks: Sequence[Check]) -> bool:
    """Print each check and the result; whether all were kept."""
    color = sys.stdout.isatty()
    width = max(len(check.name) for check in checks)
    print()
    for check in checks:
        mark = "ok    " if check.ok else "FAILED"
        if color:
            mark = f"\033[{32 if check.ok else 31}m{mark}\033[0m"
        print(f"  {mark}  {check.name:<{width}}  {check.evidence}")
    failed = sum(not check.ok for check in checks)
    print(f"\n{len(checks) - failed} checks ok, {failed} failed", flush=True)
    return failed == 0


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"
