# SPDX-License-Identifier: Apache-2.0
"""``hashmvt replay``: NAT a capture offline."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from hashmvt.cli import DONE, FAILED, say
from hashmvt.cli.output import Column, Json, plural, table, write_json
from hashmvt.config import load
from hashmvt.dataplane.embedded import Engine, engine_settings, stepped
from hashmvt.dataplane.embedded.capture import Replayed, replay
from hashmvt.model import MAX_INSTANCES, InstanceSnapshot, InstanceState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_SEED_MAX = (1 << 64) - 1


@click.command("replay")
@click.argument("source", metavar="IN.pcap", type=click.Path(path_type=Path))
@click.argument("target", metavar="OUT.pcap", type=click.Path(path_type=Path))
@click.option(
    "-c",
    "--config",
    "config_path",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The configuration (required): what is inside, which pool.",
)
@click.option(
    "--instances",
    metavar="N",
    type=click.IntRange(1, MAX_INSTANCES),
    help="Instances that share the work; default: dataplane.instances.initial.",
)
@click.option(
    "--seed",
    metavar="S",
    type=click.IntRange(0, _SEED_MAX),
    default=1,
    help="Of every random choice.",
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def command(
    source: Path,
    target: Path,
    config_path: Path | None,
    instances: int | None,
    seed: int,
    *,
    as_json: bool,
) -> int:
    """Translate the packets of a capture and write what leaves the NAT.

    IN.pcap is pcap or pcapng of Ethernet, raw IP or Linux cooked links. A packet comes from
    inside when its source is an inside host, else from outside. OUT.pcap keeps order, link layer
    and timestamps; time is the packets', so mappings expire as they would have. For the same
    input, seed and number of instances the output is the same byte for byte.

    Exit code 1 when the capture is cut in the middle: what was read is written.
    """
    if config_path is None:
        raise click.UsageError("a configuration is needed: add -c FILE")
    config = load(config_path)
    settings = stepped(engine_settings(config), instances=instances, seed=seed, truncated_ok=True)
    if str(target) == "-":
        raise click.UsageError("OUT.pcap is a file: captures are not written to a pipe")
    for other, what in ((source, "IN.pcap"), (config_path, "the configuration")):
        if other.exists() and target.exists() and other.samefile(target):
            raise click.UsageError(f"OUT.pcap and {what} are the same file: name another output")
    with Engine(settings) as engine, _progress() as report:
        result = replay(engine, source, target, report)
        used = [i for i in engine.snapshot().instances if i.state is not InstanceState.SPARE]
    if as_json:
        write_json(_json(result, used, seed))
    else:
        click.echo(_text(result, used))
    if result.cut_at is not None:
        say(
            f"{source} is cut in the middle of the record at offset {result.cut_at}; "
            f"{plural(result.packets_in, 'packet')} before it went through"
        )
        return FAILED
    return DONE


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """Show progress on a terminal, nothing in a pipe."""
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    bar = Progress(
        TextColumn("replay"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task("replay", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)


def _translated(instance: InstanceSnapshot) -> int:
    return instance.counters.translated_in2out + instance.counters.translated_out2in


def _text(result: Replayed, instances: Sequence[InstanceSnapshot]) -> str:
    dropped = sum(n for _, n in result.dropped)
    lines = [
        ", ".join(
            (
                f"{plural(result.packets_in, 'packet')} in",
                f"{result.packets_out:,} out",
                f"{result.passed:,} of them passed untranslated",
                f"{dropped:,} dropped",
            )
        )
    ]
    if result.skipped:
        lines.append(f"{plural(result.skipped, 'record')} without IPv4 written unchanged")
    if result.truncated:
        cut = plural(result.truncated, "packet")
        lines.append(f"{cut} cut by the capture, translated as far as they go")
    if result.held:
        lines.append(f"{plural(result.held, 'fragment')} waited for their datagram's first")
    lines += [f"  dropped {n:,}: {reason.label} ({reason.text})" for reason, n in result.dropped]
    rows = [
        (
            str(i.id),
            f"{_translated(i):,}",
            f"{i.gauges.mappings:,}",
            f"{i.counters.mappings_created:,}",
            f"{i.gauges.hosts:,}",
            f"{i.counters.handed_over:,}",
        )
        for i in instances
    ]
    columns = [
        Column(title)
        for title in ("instance", "translated", "mappings", "created", "hosts", "handed over")
    ]
    return "\n".join([*lines, table(columns, rows)])


def _json(result: Replayed, instances: Sequence[InstanceSnapshot], seed: int) -> Json:
    return {
        "packets": {
            "in": result.packets_in,
            "out": result.packets_out,
            "passed": result.passed,
            "held": result.held,
            "skipped": result.skipped,
            "truncated": result.truncated,
            "dropped": {reason.label: n for reason, n in result.dropped},
        },
        "instances": [
            {
                "id": i.id,
                "translated": _translated(i),
                "mappings": i.gauges.mappings,
                "mappings_created": i.counters.mappings_created,
                "hosts": i.gauges.hosts,
                "handed_over": i.counters.handed_over,
            }
            for i in instances
        ],
        "seed": seed,
        "cut_at": result.cut_at,
    }
