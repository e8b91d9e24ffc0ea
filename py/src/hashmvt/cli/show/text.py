# SPDX-License-Identifier: Apache-2.0
"""What ``hashmvt show`` prints for people: values in, text out."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING

from hashmvt.cli.output import Column, duration, number, percent, plural, table
from hashmvt.cli.rates import Rates, drops
from hashmvt.model import InstanceState
from hashmvt.names import DropReason, PassReason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hashmvt.model import Block, Event, HomeMap, HomeRange, Host, Mapping, Snapshot
    from hashmvt.policy import Policy, PolicySet


def _columns(*titles: str, left: frozenset[str] = frozenset()) -> list[Column]:
    return [Column(title, title not in left) for title in titles]


def instances(snapshot: Snapshot, host: str, rates: dict[int, Rates]) -> str:
    """Return the table of instances; spare ones in one line below."""
    rows = []
    for one in snapshot.instances:
        if one.state is InstanceState.SPARE and not one.gauges.blocks:
            continue
        rate = rates.get(one.id, Rates(None))
        share = one.gauges.mappings / one.gauges.max_mappings if one.gauges.max_mappings else 0.0
        rows.append(
            (
                f"{host}/{one.id}",
                one.state.name.lower(),
                percent(rate.load),
                number(rate.in2out),
                number(rate.out2in),
                number(one.gauges.mappings),
                percent(share),
                number(one.gauges.hosts),
                number(one.gauges.blocks_free),
                number(one.gauges.blocks),
                number(one.counters.handed_over),
                number(drops(one)),
            )
        )
    titles = _columns(
        "instance",
        "state",
        "load",
        "out/s",
        "in/s",
        "mappings",
        "full",
        "hosts",
        "free",
        "blocks",
        "handed",
        "dropped",
        left=frozenset({"instance", "state"}),
    )
    spare = len(snapshot.instances) - len(rows)
    total = sum(one.gauges.mappings for one in snapshot.instances)
    foot = f"{plural(total, 'mapping')}, home map {snapshot.home_version}"
    return f"{table(titles, rows)}\n{foot}" + (f", {spare} spare" if spare else "")


def mappings(items: Sequence[Mapping], host: str) -> str:
    """Return the table of mappings."""
    rows = [
        (
            m.inside.proto.name.lower(),
            f"{m.inside.addr}:{m.inside.port}",
            f"{m.external.addr}:{m.external.port}",
            f"{m.remote.addr}:{m.remote.port}" if m.remote else "-",
            f"{host}/{m.instance}",
            "static" if m.is_static else m.tcp_state.name.lower() if m.inside.proto == 1 else "-",
            str(m.sessions),
            duration(m.idle_s),
            duration(m.expires_in_s),
            number(m.packets_in2out),
            number(m.packets_out2in),
        )
        for m in items
    ]
    left = frozenset({"proto", "inside", "external", "remote", "instance", "state"})
    titles = _columns(
        "proto",
        "inside",
        "external",
        "remote",
        "instance",
        "state",
        "sessions",
        "idle",
        "expires",
        "out",
        "in",
        left=left,
    )
    return table(titles, rows)


def hosts(items: Sequence[Host], name: str) -> str:
    """Return the table of hosts."""
    rows = [
        (
            str(h.addr),
            str(h.external),
            f"{name}/{h.instance}",
            f"{h.mappings:,}",
            f"{h.mappings_udp:,}",
            f"{h.mappings_tcp:,}",
            f"{h.mappings_icmp:,}",
            f"{h.blocks:,}",
        )
        for h in items
    ]
    left = frozenset({"inside", "external", "instance"})
    titles = _columns(
        "inside", "external", "instance", "mappings", "udp", "tcp", "icmp", "blocks", left=left
    )
    return table(titles, rows)


def blocks(items: Sequence[Block], name: str) -> str:
    """Return the table of blocks in use."""
    rows = [
        (
            str(b.external),
            f"{b.first_port}-{b.first_port + b.ports - 1}",
            f"{name}/{b.instance}",
            str(b.in_use_udp),
            str(b.in_use_tcp),
            str(b.in_use_icmp),
            str(b.holder) if b.holder else "-",
        )
        for b in items
    ]
    left = frozenset({"external", "instance", "holder"})
    titles = _columns("external", "ports", "instance", "udp", "tcp", "icmp", "holder", left=left)
    return table(titles, rows)


def pool(
    policy: PolicySet, snapshot: Snapshot, used: Sequence[Block], host: str, *, more: bool
) -> str:
    """Return blocks by instance, then use by external address."""
    by_instance = table(
        _columns(
            "instance", "blocks", "free", "open", "closed", "held", left=frozenset({"instance"})
        ),
        [
            (
                f"{host}/{i.id}",
                f"{i.gauges.blocks:,}",
                f"{i.gauges.blocks_free:,}",
                f"{i.gauges.blocks_open:,}",
                f"{i.gauges.blocks_closed:,}",
                f"{i.gauges.ports_held:,}",
            )
            for i in snapshot.instances
            if i.gauges.blocks or i.state is not InstanceState.SPARE
        ],
    )
    draining = {run.first + n for run in policy.runs if run.draining for n in range(run.count)}
    rows = []
    ordered = sorted(used, key=lambda b: b.external)
    for external, group in groupby(ordered, key=lambda b: b.external):
        own = list(group)
        holders = Counter(b.instance for b in own)
        rows.append(
            (
                str(external),
                "draining" if external in draining else "",
                str(len(own)),
                f"{sum(b.in_use_udp for b in own):,}",
                f"{sum(b.in_use_tcp for b in own):,}",
                f"{sum(b.in_use_icmp for b in own):,}",
                " ".join(f"{host}/{i}:{n}" for i, n in sorted(holders.items())),
            )
        )
    count = sum(run.count for run in policy.runs)
    titles = _columns(
        "external",
        "",
        "in use",
        "udp",
        "tcp",
        "icmp",
        "blocks at",
        left=frozenset({"external", "", "blocks at"}),
    )
    rest = "\n... more blocks are in use; see --limit" if more else ""
    unused = count - len(rows)
    foot = f"\n{plural(unused, 'address', 'addresses')} without use" if not more else ""
    return f"{by_instance}\n\n{table(titles, rows)}{rest}{foot}"


def home(value: HomeMap, host: str, limit: int) -> str:
    """Return ranges and pins of a home map or rules."""
    rows = [(str(r.prefix), _target(r, value, host), _notes(r, host)) for r in value.ranges[:limit]]
    room = max(limit - len(rows), 0)
    rows += [(str(p.endpoint), f"{host}/{p.instance}", "pinned") for p in value.pins[:room]]
    left = frozenset({"inside", "instance", ""})
    total = len(value.ranges) + len(value.pins)
    foot = f"version {value.version}: {plural(len(value.ranges), 'range')}, " + plural(
        len(value.pins), "endpoint pin"
    )
    hidden = f", {total - len(rows):,} not shown" if total > len(rows) else ""
    return f"{table(_columns('inside', 'instance', '', left=left), rows)}\n{foot}{hidden}"


def _target(item: HomeRange, whole: HomeMap, host: str) -> str:
    if item.instance is not None:
        return f"{host}/{item.instance}"
    shares = Counter(whole.tables[item.table or 0])
    parts = " ".join(f"{host}/{i}:{n}" for i, n in sorted(shares.items()))
    return f"by hash of the host ({parts})"


def _notes(item: HomeRange, host: str) -> str:
    notes = []
    if move := item.closing:
        what = "opening" if move.by_endpoint else "closing"
        notes.append(f"{what}, {host}/{move.from_instance} to {host}/{move.to_instance}")
    if item.external:
        notes.append(f"opened, keeps {item.external}")
    return ", ".join(notes)


def policies(value: PolicySet, limit: int) -> str:
    """Return the policies and the prefixes they are for."""
    rows = []
    for index, policy in enumerate(value.policies[:limit]):
        prefixes = [str(rule.inside) for rule in value.inside if rule.policy == index]
        t = policy.timeouts
        rows.append(
            (
                str(index),
                ", ".join(prefixes) or "-",
                str(len(policy.slots)),
                f"{t.udp}/{t.tcp_established}/{t.tcp_transitory}/{t.icmp}",
                _filtering(policy),
                _limits(policy),
            )
        )
    left = frozenset({"inside", "filtering", "limits"})
    titles = _columns(
        "policy",
        "inside",
        "addresses",
        "udp/tcp/transitory/icmp",
        "filtering",
        "limits",
        left=left,
    )
    foot = [
        f"generation {value.generation}",
        plural(len(value.policies), "policy", "policies"),
        plural(len(value.exempt), "exemption"),
        plural(len(value.statics), "1:1 rule"),
        plural(len(value.endpoints), "static mapping"),
    ]
    return f"{table(titles, rows)}\n{', '.join(foot)}"


def _filtering(policy: Policy) -> str:
    names = [
        getattr(policy.filtering, proto).name.lower().replace("_", "-")
        for proto in ("udp", "tcp", "icmp")
    ]
    return names[0] if len(set(names)) == 1 else "/".join(names)


def _limits(policy: Policy) -> str:
    per = policy.mappings_per_host
    limits = {
        "mappings": policy.mappings_per_host_all,
        "udp": per.udp,
        "tcp": per.tcp,
        "icmp": per.icmp,
        "new/s": policy.new_per_second_per_host,
        "blocks": policy.max_blocks_per_host,
    }
    return " ".join(f"{name} {limit}" for name, limit in limits.items() if limit) or "none"


def errors(snapshot: Snapshot, host: str) -> str:
    """Return what was dropped and passed, by reason and instance."""
    found: list[tuple[str, str, str, int, str]] = []
    for one in snapshot.instances:
        name = f"{host}/{one.id}"
        found += [("dropped", r.label, name, one.drops(r), r.text) for r in DropReason]
        found.append(("dropped", "ring_full", name, one.ring_dropped, "its ring was full"))
        found.append(("dropped", "io_error", name, one.io_errors, "the device refused it"))
        found += [("passed", r.label, name, one.passes(r), r.text) for r in PassReason]
    for name, side in (("inside", snapshot.io.inside), ("outside", snapshot.io.outside)):
        found.append(("ignored", "not_ipv4", name, side.not_ipv4, "no IPv4 packet"))
        found.append(("ignored", "oversize", name, side.oversize, "larger than the device's MTU"))
        found.append(("ignored", "read_error", name, side.errors, "reading failed"))
    rows = [(a, b, c, f"{count:,}", why) for a, b, c, count, why in sorted(found) if count]
    if not rows:
        return "nothing was dropped, passed or ignored"
    left = frozenset({"", "reason", "where", "meaning"})
    return table(_columns("", "reason", "where", "packets", "meaning", left=left), rows)


def event(value: Event, host: str) -> str:
    """Return one event as a line."""
    inside, external = str(value.inside), str(value.external)
    if value.proto is not None:
        inside = f"{value.proto.name.lower()} {inside}:{value.inside_port}"
        external = f"{external}:{value.external_port}"
    elif value.ports:
        external = f"{external}:{value.external_port}-{value.external_port + value.ports - 1}"
    why = f" ({value.reason.label})" if value.reason else ""
    where = f"{host}/{value.instance}"
    return f"{value.tick:>8}  {where}  {value.type.text}  {inside} -> {external}{why}"
