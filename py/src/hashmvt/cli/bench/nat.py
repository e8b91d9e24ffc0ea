# SPDX-License-Identifier: Apache-2.0
"""``hashmvt bench nat``: what a packet costs in the core."""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hashmvt.cli import DONE, FAILED, say
from hashmvt.cli.bench.common import (
    NumbersType,
    Spread,
    heading,
    measurement_options,
    progress,
    takes_only,
    write_results,
)
from hashmvt.cli.bench.plot import Axes, Line, Plots
from hashmvt.cli.output import Column, Json, number, plural, size, table
from hashmvt.config import (
    AddressRange,
    Config,
    Limits,
    Nat44Config,
    PolicyConfig,
    load,
)
from hashmvt.dataplane.embedded import engine_settings, stepped
from hashmvt.dataplane.embedded.bench import Case, Run, measure
from hashmvt.model import MAX_INSTANCES, Direction, Filtering, Proto
from hashmvt.policy import PerProto

if TYPE_CHECKING:
    from collections.abc import Sequence

_FLOWS = "4096,65536,1048576,4194304"
_MAX_FLOWS = 1 << 26
_MAX_REMOTES = 64
_BATCHES = 8192
_LIMIT = 60_000
_DEFAULT = (Proto.UDP, Filtering.ENDPOINT_INDEPENDENT, 1)
_SESSIONS = (
    _DEFAULT,
    (Proto.UDP, Filtering.ADDRESS_DEPENDENT, 1),
    (Proto.UDP, Filtering.ADDRESS_AND_PORT_DEPENDENT, 4),
    (Proto.TCP, Filtering.ENDPOINT_INDEPENDENT, 1),
    (Proto.TCP, Filtering.ENDPOINT_INDEPENDENT, 4),
    (Proto.TCP, Filtering.ADDRESS_DEPENDENT, 4),
)
"""What ``--sessions`` measures: protocol, filtering, remotes of a mapping; the default first."""
_FILTERING = {
    Filtering.ENDPOINT_INDEPENDENT: "independent",
    Filtering.ADDRESS_DEPENDENT: "address",
    Filtering.ADDRESS_AND_PORT_DEPENDENT: "address and port",
}
_TOUCH = ("touch_clocks", "touch_clocks_min", "touch_clocks_max")


@dataclass(frozen=True, slots=True)
class Result:
    """A case and what its runs gave."""

    case: Case
    clocks: Spread
    mpps: Spread
    touch: Spread
    """Clocks of what the memory alone costs."""
    bytes_per_mapping: float
    reserved: float
    """Share of the memory in huge pages that were reserved."""
    transparent: float
    """Share in transparent ones."""
    packets: int
    wrong: int

    @classmethod
    def of(cls, case: Case, runs: Sequence[Run]) -> Result:
        """Return the result of some runs of one case."""
        resident = max(1, sum(run.resident_bytes for run in runs))
        return cls(
            case=case,
            clocks=Spread.of([run.clocks_per_packet for run in runs]),
            mpps=Spread.of([run.packets_per_second / 1e6 for run in runs]),
            touch=Spread.of([run.touch_clocks for run in runs]),
            bytes_per_mapping=max(run.memory_bytes for run in runs) / case.flows,
            reserved=sum(run.reserved_bytes for run in runs) / resident,
            transparent=sum(run.transparent_bytes for run in runs) / resident,
            packets=sum(run.packets for run in runs),
            wrong=sum(run.wrong for run in runs),
        )


@click.command("nat")
@click.option(
    "--flows",
    type=NumbersType("flows", _MAX_FLOWS, "4096,65536"),
    default=_FLOWS,
    metavar="N,N,...",
    help="Mappings of each instance.",
)
@click.option(
    "--direction",
    type=click.Choice(["in2out", "out2in", "both"]),
    default="both",
    help="Way of the packets that are timed.",
)
@click.option(
    "--order",
    type=click.Choice(["random", "sequential", "both"]),
    default="both",
    help="Order of the flows.",
)
@click.option("--proto", type=click.Choice(["udp", "tcp"]), default="udp", help="Protocol.")
@click.option(
    "--new/--no-new", "new", default=True, help="Also measure making mappings, from 256 flows on."
)
@click.option(
    "--instances",
    type=click.IntRange(1, MAX_INSTANCES),
    default=1,
    metavar="N",
    help="Instances side by side, each on its own thread.",
)
@click.option(
    "--remotes",
    type=click.IntRange(1, _MAX_REMOTES),
    default=1,
    metavar="N",
    help="Remote endpoints that each flow talks with, at random.",
)
@click.option(
    "--sessions",
    is_flag=True,
    help="Measure hits of stricter filterings and of several sessions per mapping instead, in "
    "random order, each as a ratio to the default's.",
)
@measurement_options(runs=5)
@click.option(
    "--batches",
    type=click.IntRange(1, 1 << 20),
    default=_BATCHES,
    metavar="N",
    help="Batches of 256 packets in a run.",
)
@click.option(
    "-c",
    "--config",
    "config_path",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Timeouts, limits, block size and modes to measure with; default: theirs.",
)
def command(
    *,
    flows: tuple[int, ...],
    direction: str,
    order: str,
    proto: str,
    new: bool,
    instances: int,
    remotes: int,
    sessions: bool,
    runs: int,
    batches: int,
    seed: int,
    config_path: Path | None,
    as_json: bool,
    plot_dir: Path | None,
) -> int:
    """Measure the NAT's cost per packet: clocks in the core, without I/O.

    Packets are 64 bytes on Ethernet, made outside the timed part. Clocks are those of the time
    stamp counter. Touch is what the memory alone costs on this machine: two lines read per packet
    and nothing done. Bind it to one CPU with taskset for figures that can be compared.
    """
    if sessions:
        takes_only("--sessions", "flows", "direction", "instances", "runs", "batches", "seed",
                   "config_path", "as_json", "plot_dir")  # fmt: skip
    plots = Plots(plot_dir) if plot_dir else None
    settings = stepped(engine_settings(load(config_path) if config_path else default_config()))
    both = {"both": [True, False]}
    cases = [
        Case(
            n,
            way,
            random_order=is_random,
            proto=Proto[proto.upper()],
            instances=instances,
            remotes=remotes,
        )
        for n in flows
        for way in Direction
        if direction in (way.name.lower(), "both")
        for is_random in both.get(order, [order == "random"])
    ]
    if sessions:
        cases = _beside_default(flows, direction, instances)
    elif new:
        cases += [
            Case(
                n,
                proto=Proto[proto.upper()],
                new_flows=True,
                random_order=False,
                instances=instances,
            )
            for n in flows
            if n >= 256  # noqa: PLR2004 - a batch
        ]
    results = []
    with progress(len(cases) * runs) as step:
        for case in cases:
            found = []
            for turn in range(runs):
                found.append(
                    measure(
                        settings, case, batches=batches, seed=seed + turn, count_memory=turn == 0
                    )
                )
                step()
            results.append(Result.of(case, found))
    if as_json:
        write_results([_json(r, runs, _of_default(r, results)) for r in results])
    else:
        click.echo(_text(results, runs))
    if plots:
        _plot(plots, results)
    wrong = sum(result.wrong for result in results)
    if wrong:
        say(f"{plural(wrong, 'packet')} were not translated: these figures say nothing")
        return FAILED
    return DONE


def default_config() -> Config:
    """Return the default configuration, with limits that no host of the bench meets.

    The bench brings its own addresses.
    """
    limits = Limits(
        mappings_per_host=PerProto(udp=_LIMIT, tcp=_LIMIT, icmp=_LIMIT),
        mappings_per_host_all=_LIMIT,
        new_per_second_per_host=_LIMIT,
    )
    policy = PolicyConfig(
        limits=limits,
        inside=(IPv4Network("10.0.0.0/8"),),
        pool=(AddressRange(IPv4Address("198.18.0.0"), IPv4Address("198.18.0.15")),),
    )
    return Config(path=Path("default"), nat44=Nat44Config(policy))


def _beside_default(flows: Sequence[int], direction: str, instances: int) -> list[Case]:
    return [
        Case(n, way, proto=proto, instances=instances, remotes=remotes, filtering=filtering)
        for n in flows
        for way in Direction
        if direction in (way.name.lower(), "both")
        for proto, filtering, remotes in _SESSIONS
    ]


def _of_default(result: Result, results: Sequence[Result]) -> float | None:
    """Return a hit's clocks as a share of the default's, None where that was not measured."""
    case = result.case
    for other in results:
        kind = (other.case.proto, other.case.filtering, other.case.remotes)
        if (
            kind == _DEFAULT
            and replace(case, proto=_DEFAULT[0], filtering=_DEFAULT[1], remotes=_DEFAULT[2])
            == other.case
        ):
            return result.clocks.median / other.clocks.median
    return None


def _order(case: Case) -> str:
    return "new" if case.new_flows else "random" if case.random_order else "sequential"


def _text(results: Sequence[Result], runs: int) -> str:
    rows = [
        (
            result.case.direction.name.lower(),
            result.case.proto.name.lower(),
            _order(result.case),
            _FILTERING[result.case.filtering],
            number(result.case.remotes),
            number(result.case.flows),
            f"{result.clocks.median:.1f}",
            f"{result.clocks.least:.1f}-{result.clocks.most:.1f}",
            "" if (share := _of_default(result, results)) is None else f"{share:.2f}",
            "" if result.case.new_flows else f"{result.touch.median:.1f}",
            f"{result.mpps.median:.2f}",
            size(result.bytes_per_mapping),
            f"{result.reserved:.0%}/{result.transparent:.0%}",
        )
        for result in results
    ]
    columns = [
        Column("direction", right=False),
        Column("proto", right=False),
        Column("order", right=False),
        Column("filtering", right=False),
        Column("remotes"),
        Column("flows"),
        Column("clocks/packet"),
        Column("min-max"),
        Column("of default"),
        Column("touch"),
        Column("Mpps"),
        Column("per mapping"),
        Column("huge/THP"),
    ]
    return f"{heading(runs)}\n{table(columns, rows)}"


def _json(result: Result, runs: int, share: float | None) -> Json:
    case = result.case
    return {
        "nat": "hashmvt",
        "direction": case.direction.name.lower(),
        "flows": case.flows,
        "order": _order(case),
        "proto": case.proto.name.lower(),
        "instances": case.instances,
        "remotes": case.remotes,
        "filtering": _FILTERING[case.filtering],
        "of_default": None if share is None else round(share, 3),
        "runs": runs,
        **result.clocks.json("clocks_per_packet"),
        **(dict.fromkeys(_TOUCH) if case.new_flows else result.touch.json(_TOUCH[0])),
        **result.mpps.json("mpps", 3),
        "bytes_per_mapping": round(result.bytes_per_mapping, 1),
        "huge_pages": {
            "reserved": round(result.reserved, 3),
            "transparent": round(result.transparent, 3),
        },
        "packets": result.packets,
        "wrong": result.wrong,
    }


def _plot(plots: Plots, results: Sequence[Result]) -> None:
    lines: dict[str, list[Result]] = {}
    for result in results:
        name = f"{result.case.direction.name.lower()}, {_order(result.case)}"
        kind = (result.case.proto, result.case.filtering, result.case.remotes)
        if kind[1:] != _DEFAULT[1:]:
            name += f", {kind[0].name.lower()}, {_FILTERING[kind[1]]}, {kind[2]} remotes"
        lines.setdefault(name, []).append(result)
    axes = Axes("Cost of a packet in the core", "flows", "clocks per packet", log_x=True)
    plots.lines(
        "nat",
        axes,
        [
            Line(name, [r.case.flows for r in of], [r.clocks for r in of])
            for name, of in lines.items()
        ],
    )
