# SPDX-License-Identifier: Apache-2.0
"""``hashmvt check FILE``: every mistake of a configuration, or what it amounts to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hashmvt.cli import USAGE
from hashmvt.cli.output import Json, number, plural, size, write_json
from hashmvt.config import Allocation, DataplaneKind, tls_problems
from hashmvt.config import check as check_file
from hashmvt.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hashmvt.config import Config

# What a full instance takes: per mapping its entry, its share of slabs that are partly used, the
# index and the host records (as `hashmvt bench nat` measures), a further session per mapping, and
# per block of the pool the directory and the slab table.
_MAPPING = 168
_SESSION = 40
_BLOCK = 32
_PORTS = 65536


@dataclass(frozen=True, slots=True)
class Summary:
    """What a configuration amounts to."""

    addresses: int
    ports_per_address: int
    blocks: int
    capacity: int
    """Endpoints per protocol."""
    max_mappings: int
    """Of all instances at most; on VPP of one, for it has as many as workers."""
    memory_per_instance: int
    """Bytes when it is full; taken as it fills."""


def summarise(config: Config) -> Summary:
    """Return what a configuration amounts to."""
    nat44 = config.nat44
    addresses = sum(item.count for item in nat44.pool)
    ports = sum(1 for port in range(_PORTS) if nat44.allocatable(port))
    full = nat44.max_mappings
    every_block = addresses * (_PORTS // nat44.block_size)
    return Summary(
        addresses=addresses,
        ports_per_address=ports,
        blocks=addresses * nat44.blocks_per_address,
        capacity=addresses * ports,
        max_mappings=full * (1 if _on_vpp(config) else config.dataplane.instances.max),
        memory_per_instance=full * (_MAPPING + _SESSION) + every_block * _BLOCK,
    )


@click.command("check")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def command(file: Path, *, as_json: bool) -> int:
    """Say what is wrong with the configuration FILE, or what it amounts to.

    Every mistake is one line: file, line, reason, and what to write instead. Warnings are values
    that work but that an RFC advises against. Nothing is started, but this machine is asked
    whether the tables fit into what memory it has now.

    Exit code 0: it can be used; 2: it cannot.
    """
    report = check_file(file)
    if report.config and (refusal := _refusal(report.config)):
        report.problems.append(Problem(file, 0, refusal))
        report.config = None
    if report.config:
        report.warnings += _missing(report.config)
    if as_json:
        write_json(_json(report.problems, report.warnings, report.config))
    else:
        for problem in report.problems:
            click.echo(f"{problem}", err=True)
        for warning in report.warnings:
            click.echo(f"{warning} (warning)", err=True)
        if report.config:
            click.echo(_text(report.config))
    return 0 if report.config else USAGE


def _refusal(config: Config) -> str:
    """Return why an embedded engine would not begin here; empty when it would."""
    if config.dataplane.kind is not DataplaneKind.EMBEDDED:
        return ""
    from hashmvt.dataplane.embedded import Engine, engine_settings, stepped  # noqa: PLC0415
    from hashmvt.errors import Rejected  # noqa: PLC0415

    try:
        Engine(stepped(engine_settings(config))).close()
    except Rejected as error:
        return str(error)
    return ""


def _missing(config: Config) -> tuple[Problem, ...]:
    """Return the files of TLS that this machine lacks; another one that uses the file has them."""
    agent, coordinator = config.agent, config.coordinator
    return (
        *tls_problems(config.path, "agent.tls", agent.tls if agent.listen else None),
        *tls_problems(config.path, "coordinator.tls", coordinator.tls),
    )


def _text(config: Config) -> str:
    total = summarise(config)
    nat44 = config.nat44
    by = "to hosts" if nat44.allocation is Allocation.BLOCK else "to mappings"
    pool = ", ".join(str(r) for r in nat44.pool)
    by_pool, by_limit = number(total.capacity), number(total.max_mappings)
    each = " of each instance" if _on_vpp(config) else ""
    rows = [
        ("inside", ", ".join(str(p) for p in nat44.default.inside)),
        ("pool", f"{plural(total.addresses, 'address', 'addresses')}: {pool}"),
        ("ports", f"{nat44.ports}, {total.ports_per_address:,} usable per address"),
        ("blocks", f"{total.blocks:,} of {nat44.block_size} ports, assigned {by}"),
        (
            "capacity",
            f"{by_pool} mappings per protocol by the pool, {by_limit} by max_mappings{each}",
        ),
        ("instances", _instances(config)),
        ("memory", f"up to {size(total.memory_per_instance)} per instance when full"),
    ]
    extra = [
        plural(len(nat44.policies), "policy", "policies"),
        plural(len(nat44.exempt), "exemption"),
        plural(len(nat44.statics), "1:1 rule"),
        plural(len(nat44.static_endpoints), "static mapping"),
    ]
    extra = [text for text in extra if not text.startswith("0 ")]
    if extra:
        rows.append(("and", ", ".join(extra)))
    return "\n".join([f"{config.path}: fine", *(f"  {name:<10} {text}" for name, text in rows)])


def _on_vpp(config: Config) -> bool:
    return config.dataplane.kind is DataplaneKind.VPP


def _instances(config: Config) -> str:
    instances = config.dataplane.instances
    if _on_vpp(config):
        return f"one for each worker of VPP, {instances.initial or 'all'} active at the start"
    return f"{instances.initial} at the start, {instances.max} at most"


def _json(problems: Iterable[Problem], warnings: Iterable[Problem], config: Config | None) -> Json:
    result: dict[str, Json] = {
        "ok": config is not None,
        "problems": [_problem(p) for p in problems],
        "warnings": [_problem(p) for p in warnings],
    }
    if config:
        total = summarise(config)
        result["summary"] = {
            "addresses": total.addresses,
            "ports_per_address": total.ports_per_address,
            "blocks": total.blocks,
            "capacity": total.capacity,
            "max_mappings": total.max_mappings,
            "memory_per_instance": total.memory_per_instance,
        }
    return result


def _problem(problem: Problem) -> Json:
    return {
        "file": str(problem.path),
        "line": problem.line,
        "reason": problem.reason,
        "remedy": problem.remedy,
    }
