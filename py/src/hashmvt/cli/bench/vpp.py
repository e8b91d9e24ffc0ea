# SPDX-License-Identifier: Apache-2.0
"""``hashmvt bench vpp``: HashMVT and VPP's own NATs side by side."""

from __future__ import annotations

import os
import statistics
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hashmvt.bench.vpp.campaign import Campaign, Setting
from hashmvt.bench.vpp.nats import NATS, PLAIN, REQUIRED, TOUCH
from hashmvt.bench.vpp.process import buffer_page
from hashmvt.bench.vpp.share import ADDRESSES, WORKERS, measure_share
from hashmvt.bench.vpp.traffic import MAX_FLOWS, MIN_REMOTES, Flows
from hashmvt.bench.vpp.trial import Failure, Plan, Sample, Visit, Way
from hashmvt.cli import DONE, FAILED, say
from hashmvt.cli.bench.common import (
    NumbersType,
    Spread,
    heading,
    json_option,
    plot_option,
    progress,
    seed_option,
    takes_only,
    terminable,
    write_results,
)
from hashmvt.cli.bench.plot import Axes, Line, Plots
from hashmvt.cli.output import Column, Json, number, size, table
from hashmvt.cli.ranges import FloatRange
from hashmvt.model import Proto
from hashmvt.private_vpp import HASHMVT, find_installation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hashmvt.bench.vpp.campaign import Findings
    from hashmvt.private_vpp import Installation

_FLOWS = "4096,65536,1048576"
_PEERS = [name for name in NATS if name not in {PLAIN, TOUCH}]
_PORTS_PER_HOST = 16
_LEGEND = """\
x: hashmvt's figure over this NAT's, of the same round
touch: a node that for each packet reads two lines of memory, one known by the other, prefetched
bound: 1.6 touch + 15 clocks, what HashMVT may take where clocks of other CPUs say nothing"""
_BOUND = (1.6, 15.0)
_MAX_CPU = 4095
_WAYS = {**{way.value: (way,) for way in Way}, "all": tuple(Way)}
_VISITS = {
    "sequential": (Visit.SEQUENTIAL,),
    "random": (Visit.RANDOM,),
    "both": (Visit.SEQUENTIAL, Visit.RANDOM),
}
_FIRST = (Visit.NEW, Visit.MORE)
_NO_TOUCH = (
    "hashmvt_touch_plugin.so is not beside hashmvt_plugin.so, so there is no bound: "
    "`make build` makes both"
)
_SHARING = (*REQUIRED, HASHMVT)
"""NATs whose workers share a pool of addresses."""
_FILTERINGS = ["endpoint-independent", "address-dependent", "address-and-port-dependent"]
_PROTOS = {"udp": (Proto.UDP,), "tcp": (Proto.TCP,), "both": (Proto.UDP, Proto.TCP)}


class NatsType(click.ParamType["tuple[str, ...]"]):
    """Names of NATs with commas between."""

    name = "nats"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Read them; usage error for a name that is none."""
        if isinstance(value, tuple):
            return value
        names = tuple(part.strip() for part in str(value).split(","))
        for name in names:
            if name not in NATS:
                self.fail(f"{name!r} is none of {', '.join(NATS)}", param, ctx)
        return names


@dataclass(frozen=True, slots=True)
class Ratio:
    """HashMVT's figures over a peer's, each pair from one round."""

    clocks: Spread | None
    mpps: Spread
    memory: Spread | None


@dataclass(frozen=True, slots=True)
class Row:
    """One NAT in one case."""

    samples: tuple[Sample, ...]
    ratio: Ratio | None = None
    """Of HashMVT to this NAT; none when HashMVT did not run, or is it."""
    touch: Spread | None = None
    """Clocks of touch, for HashMVT and flows that live; none where it did not run."""
    case: Sample = field(init=False)

    def __post_init__(self) -> None:
        """Take the case from the first sample."""
        object.__setattr__(self, "case", self.samples[0])

    @property
    def clocks(self) -> Spread:
        """Clocks of all nodes that the NAT adds, for a packet."""
        return Spread.of([sample.clocks for sample in self.samples])

    @property
    def bound(self) -> float | None:
        """Clocks that HashMVT may take, as touch has it."""
        return _BOUND[0] * self.touch.median + _BOUND[1] if self.touch else None

    @property
    def mpps(self) -> Spread:
        """Million packets a second through the whole path."""
        return Spread.of([sample.mpps for sample in self.samples])

    @property
    def memory(self) -> Spread | None:
        """Bytes for each mapping, where they were measured."""
        found = [s.bytes_per_mapping for s in self.samples if s.bytes_per_mapping is not None]
        return Spread.of(found) if found else None

    @property
    def disturbed(self) -> float:
        """The largest share of a measurement in which others had the worker's core."""
        return max(sample.disturbed for sample in self.samples)

    @property
    def nodes(self) -> dict[str, float]:
        """Clocks of each node, for a packet: the median."""
        names = dict.fromkeys(name for sample in self.samples for name in sample.nodes)
        return {
            name: statistics.median(sample.nodes.get(name, 0.0) for sample in self.samples)
            for name in names
        }


def rows_of(samples: Sequence[Sample]) -> list[Row]:
    """Return a row for each case and NAT, in the order in which they were measured first."""
    found: dict[tuple[Flows, Way, Visit, str], list[Sample]] = {}
    for sample in samples:
        # touch makes no flows
        if sample.nat == TOUCH and sample.visit in _FIRST:
            continue
        key = (sample.flows, sample.way, sample.visit, sample.nat)
        found.setdefault(key, []).append(sample)
    rows = []
    for (flows, way, visit, nat), group in found.items():
        if nat == HASHMVT:
            touched = [s.clocks for s in found.get((flows, way, visit, TOUCH), [])]
            rows.append(Row(tuple(group), touch=Spread.of(touched) if touched else None))
        else:
            ours = found.get((flows, way, visit, HASHMVT), [])
            rows.append(Row(tuple(group), _ratio(ours, group)))
    rank = {key: index for index, key in enumerate(dict.fromkeys(key[:3] for key in found))}
    return sorted(rows, key=lambda r: rank[r.case.flows, r.case.way, r.case.visit])


def _ratio(ours: Sequence[Sample], theirs: Sequence[Sample]) -> Ratio | None:
    """Return the ratio of samples that were taken in the same rounds."""
    rounds = {sample.round: sample for sample in theirs}
    pairs = [(sample, rounds[sample.round]) for sample in ours if sample.round in rounds]
    if not pairs:
        return None
    clocks = [a.clocks / b.clocks for a, b in pairs if b.clocks]
    memory = [
        a.bytes_per_mapping / b.bytes_per_mapping
        for a, b in pairs
        if a.bytes_per_mapping and b.bytes_per_mapping
    ]
    return Ratio(
        Spread.of(clocks) if clocks else None,
        Spread.of([a.mpps / b.mpps for a, b in pairs]),
        Spread.of(memory) if memory else None,
    )


@click.command("vpp")
@click.option(
    "--nats",
    type=NatsType(),
    default=",".join(_PEERS),
    metavar="NAME,...",
    help="NATs that are measured; plain routing and touch always are.",
)
@click.option(
    "--flows",
    type=NumbersType("flows", MAX_FLOWS, "4096,65536"),
    default=_FLOWS,
    metavar="N,N,...",
    help="Flows that live.",
)
@click.option(
    "--direction",
    type=click.Choice(list(_WAYS)),
    default="in2out",
    help="Way of the packets; mixed is both at once.",
)
@click.option(
    "--order",
    type=click.Choice(list(_VISITS)),
    default="both",
    help="Order in which flows are visited.",
)
@click.option("--proto", type=click.Choice(list(_PROTOS)), default="udp", help="Protocol.")
@click.option(
    "--rounds",
    type=click.IntRange(1, 1000),
    default=3,
    metavar="N",
    help="Rounds in which the NATs take turns; figures are medians over them.",
)
@click.option(
    "--seconds",
    type=FloatRange(0.1, 60),
    default=1.0,
    metavar="S",
    help="Time that each case is measured in each round.",
)
@click.option(
    "--ports-per-host",
    type=click.IntRange(1, 1000),
    default=_PORTS_PER_HOST,
    metavar="N",
    help="Flows of each inside host.",
)
@click.option(
    "--sessions",
    type=click.IntRange(1, MIN_REMOTES),
    default=1,
    metavar="N",
    help="Flows that share an inside endpoint, each with a remote of its own.",
)
@click.option(
    "--filtering", type=click.Choice(_FILTERINGS), default=_FILTERINGS[0], help="HashMVT's."
)
@click.option(
    "--pool-use",
    type=FloatRange(1, 99.99),
    default=50.0,
    metavar="PERCENT",
    help="Share of the pool's ports that the flows take.",
)
@click.option(
    "--pool-share",
    is_flag=True,
    help=f"Instead: how much of {ADDRESSES} addresses {WORKERS} workers can use.",
)
@click.option(
    "--main-core",
    type=click.IntRange(0, _MAX_CPU),
    default=0,
    metavar="N",
    help="CPU of VPP's main thread.",
)
@click.option(
    "--worker-core",
    type=click.IntRange(0, _MAX_CPU),
    default=1,
    metavar="N",
    help="CPU of VPP's worker.",
)
@click.option(
    "--heap-page",
    type=click.Choice(["4k", "2m", "1g"]),
    default="4k",
    help="Pages of VPP's main heap, where its own NATs keep their tables.",
)
@seed_option
@click.option(
    "--vpp", "program", metavar="PROGRAM", help="VPP; default: HASHMVT_VPP, or the path's."
)
@click.option(
    "--plugins",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Directory of hashmvt_plugin.so; default: VPP's own, or below build*.",
)
@click.option(
    "--out",
    "keep",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep VPP's version, startup.conf, commands and raw counters there.",
)
@plot_option
@json_option
def command(
    *,
    nats: tuple[str, ...],
    flows: tuple[int, ...],
    direction: str,
    order: str,
    proto: str,
    rounds: int,
    seconds: float,
    ports_per_host: int,
    sessions: int,
    filtering: str,
    pool_use: float,
    pool_share: bool,
    main_core: int,
    worker_core: int,
    heap_page: str,
    seed: int,
    program: str | None,
    plugins: Path | None,
    keep: Path | None,
    plot_dir: Path | None,
    as_json: bool,
) -> int:
    """Measure HashMVT and VPP's own NATs on equal traffic, as root.

    Each NAT in turn gets a VPP of its own with one worker, packets of 64 bytes from the packet
    generator, and its best documented configuration; nothing of a running VPP is touched. Clocks
    are those of all nodes that plain routing does not have. Order `new` makes the flows, `more`
    makes further ones while these live: there clocks are for a new flow.
    """
    if pool_share:
        takes_only("--pool-share", "nats", "program", "plugins", "as_json")
        if not set(nats) & set(_SHARING):
            raise click.BadParameter(
                f"several workers share a pool in {', '.join(_SHARING)} alone", param_hint="--nats"
            )
    if main_core == worker_core:
        raise click.UsageError("main thread and worker need a core each")
    for option, core in (("--main-core", main_core), ("--worker-core", worker_core)):
        if not _usable(core):
            raise click.BadParameter(
                f"there is no CPU {core} that this process may use", param_hint=option
            )
    plots = Plots(plot_dir) if plot_dir else None
    installation = find_installation(Path(), program, plugins)
    if pool_share:
        return _pool_share(installation, nats, as_json=as_json)
    setting = Setting(
        installation,
        (main_core, worker_core),
        heap_page,
        keep,
    )
    cases = [
        Flows(count, p, ports_per_host, sessions) for p, count in product(_PROTOS[proto], flows)
    ]
    plan = Plan(_WAYS[direction], _VISITS[order], seconds, seed, pool_use / 100, filtering)
    trials = rounds * len(cases) * len({PLAIN, TOUCH, *nats})
    with terminable(), progress(trials) as step:
        found = Campaign(setting, nats, plan).run(cases, rounds=rounds, step=step)
    rows = rows_of(found.samples)
    if as_json:
        figures = [_json(row, rounds, plan) for row in rows]
        write_results([*figures, *_failures_json(found)])
    else:
        click.echo(_text(rows, found, rounds, heap_page))
    if plots:
        _draw(rows, plots)
    return _verdict(found)


def _usable(cpu: int) -> bool:
    """May this process run there? Whoever starts it may bind it to others, which VPP undoes."""
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {cpu})
    except OSError:
        return False
    os.sched_setaffinity(0, before)
    return True


def _pool_share(installation: Installation, nats: Sequence[str], *, as_json: bool) -> int:
    """Measure how much of a pool several workers can use; NATs with one address have no share."""
    names = [name for name in nats if name in _SHARING]
    with terminable(), progress(len(names)) as step:
        shares = []
        for name in names:
            shares.append(measure_share(installation, NATS[name]))
            step()
    if as_json:
        write_results(
            [
                {
                    "nat": s.nat,
                    "workers": s.workers,
                    "addresses": s.addresses,
                    "ports": s.ports,
                    "used": s.used,
                    "share": round(s.share, 4),
                }
                for s in shares
            ]
        )
    else:
        columns = [Column("nat", right=False), *map(Column, ("workers", "addresses", "ports"))]
        columns += [Column("used"), Column("share")]
        click.echo(
            table(
                columns,
                [
                    [
                        s.nat,
                        str(s.workers),
                        str(s.addresses),
                        number(s.ports),
                        number(s.used),
                        f"{s.share:.1%}",
                    ]
                    for s in shares
                ],
            )
        )
    return DONE


def _draw(rows: Sequence[Row], plots: Plots) -> None:
    """Draw clocks and Mpps of each NAT over the flows: of each protocol, direction and order."""
    groups: dict[tuple[Proto, Way, Visit], list[Row]] = {}
    for row in rows:
        case = row.case
        groups.setdefault((case.flows.proto, case.way, case.visit), []).append(row)
    for (proto, way, visit), group in groups.items():
        name = f"vpp-{proto.name.lower()}-{way}-{visit}"
        title = f"{proto.name} {way}, {_words(visit)}"
        with_nodes = [row for row in group if row.nodes]
        clocks = Axes(title, "flows", "clocks of all nodes that the NAT adds", log_x=True)
        mpps = Axes(title, "flows", "Mpps of the whole path", log_x=True)
        plots.lines(f"{name}-clocks", clocks, _lines(with_nodes, lambda row: row.clocks))
        plots.lines(f"{name}-mpps", mpps, _lines(group, lambda row: row.mpps))


def _lines(rows: Sequence[Row], figure: Callable[[Row], Spread]) -> list[Line]:
    """Return a line for each NAT."""
    lines = []
    for nat in dict.fromkeys(row.case.nat for row in rows):
        mine = [row for row in rows if row.case.nat == nat]
        lines.append(Line(nat, [r.case.flows.count for r in mine], [figure(r) for r in mine]))
    return lines


def _verdict(found: Findings) -> int:
    """Return the exit code, and say why it is not 0."""
    if found.missing:
        say(f"{' and '.join(found.missing)} did not run: without them nothing is compared")
        return FAILED
    ours = [failure for failure in found.failures if failure.nat == HASHMVT]
    if ours:
        say(_sentence(ours[0]))
        return FAILED
    return DONE


# ---- text ----


def _text(rows: Sequence[Row], found: Findings, rounds: int, heap_page: str) -> str:
    """Return tables for people: one for each case."""
    machine = heading(rounds).replace("run", "round")
    pages = f"buffers on {buffer_page()} pages, VPP's heap on {heap_page} pages"
    parts = [f"{machine}; {pages}", _LEGEND]
    cases: dict[tuple[Flows, Way, Visit], list[Row]] = {}
    for row in rows:
        cases.setdefault((row.case.flows, row.case.way, row.case.visit), []).append(row)
    for (flows, way, visit), group in cases.items():
        what = f"{flows.proto.name} {way}, {number(flows.count)} flows, {_words(visit)}"
        parts.append(f"\n{what}\n{_table(group, visit)}")
    parts.append("")
    for what, visits in (("flows that live", _VISITS["both"]), ("new flows", _FIRST)):
        most = max((row.disturbed for row in rows if row.case.visit in visits), default=0.0)
        parts.append(f"others had the worker's core for at most {most:.1%} of the time with {what}")
    absent = [name for name in found.absent if name != TOUCH]
    if absent:
        parts.append(f"\nnot built in this VPP: {', '.join(absent)}")
    if TOUCH in found.absent:
        parts.append(f"\n{_NO_TOUCH}")
    parts += [f"\n{_sentence(failure)}" for failure in found.failures]
    return "\n".join(parts)


def _sentence(failure: Failure) -> str:
    flows = f"{failure.flows.count:,} {failure.flows.proto.name} flows"
    way = f", {failure.way}" if failure.way else ""
    return f"{failure.nat} failed at {flows}{way}: {failure.reason}"


def _words(visit: Visit) -> str:
    match visit:
        case Visit.SEQUENTIAL:
            return "in order"
        case Visit.RANDOM:
            return "in random order"
        case Visit.NEW:
            return "new (clocks per new flow)"
        case Visit.MORE:
            return "further ones while these live (clocks per new flow)"


def _table(rows: Sequence[Row], visit: Visit) -> str:
    columns = [Column("nat", right=False), *map(Column, ("clocks", "min-max", "x"))]
    if visit not in _FIRST:
        columns.append(Column("bound"))
    columns += map(Column, ("Mpps", "min-max", "x"))
    if visit is Visit.NEW:
        columns += map(Column, ("per mapping", "x"))
    columns.append(Column("clocks of each node", right=False))
    return table(columns, [_cells(row, visit) for row in rows])


def _cells(row: Row, visit: Visit) -> list[str]:
    ratio = row.ratio
    cells = [
        row.case.nat,
        f"{row.clocks.median:.1f}",
        f"{row.clocks.least:.1f}-{row.clocks.most:.1f}",
        _times(ratio.clocks if ratio else None),
    ]
    if visit not in _FIRST:
        cells.append(f"{row.bound:.1f}" if row.bound else "-")
    cells += [
        f"{row.mpps.median:.2f}",
        f"{row.mpps.least:.2f}-{row.mpps.most:.2f}",
        _times(ratio.mpps if ratio else None),
    ]
    if visit is Visit.NEW:
        cells += [
            size(row.memory.median) if row.memory else "-",
            _times(ratio.memory if ratio else None),
        ]
    cells.append(", ".join(f"{name} {clocks:.1f}" for name, clocks in row.nodes.items()))
    return cells


def _times(ratio: Spread | None) -> str:
    return f"{ratio.median:.2f}" if ratio else "-"


# ---- JSON ----


def _json(row: Row, rounds: int, plan: Plan) -> Json:
    case = row.case
    result: dict[str, Json] = {
        "nat": case.nat,
        "direction": case.way.value,
        "flows": case.flows.count,
        "order": case.visit.value,
        "proto": case.flows.proto.name.lower(),
        "ports_per_host": case.flows.ports_per_host,
        "sessions": case.flows.sessions,
        "filtering": plan.filtering,
        "pool_use": plan.used,
        "rounds": rounds,
        **row.clocks.json("clocks_per_packet"),
        **row.mpps.json("mpps", 3),
        "disturbed": round(row.disturbed, 4),
        "nodes": {name: round(clocks, 2) for name, clocks in row.nodes.items()},
    }
    if row.touch and row.bound:
        result |= {**row.touch.json("touch_clocks"), "touch_bound": round(row.bound, 2)}
    if row.memory:
        result |= row.memory.json("bytes_per_mapping", 1)
    if row.ratio:
        result["hashmvt_over_this"] = {
            **(row.ratio.clocks.json("clocks_per_packet", 3) if row.ratio.clocks else {}),
            **row.ratio.mpps.json("mpps", 3),
            **(row.ratio.memory.json("bytes_per_mapping", 3) if row.ratio.memory else {}),
        }
    return result


def _failures_json(found: Findings) -> list[Json]:
    failed: list[Json] = [
        {
            "nat": failure.nat,
            "flows": failure.flows.count,
            "proto": failure.flows.proto.name.lower(),
            **({"direction": failure.way.value} if failure.way else {}),
            "failed": failure.reason,
        }
        for failure in found.failures
    ]
    return failed + [
        {"nat": name, "failed": _NO_TOUCH if name == TOUCH else "not built in this VPP"}
        for name in found.absent
    ]
