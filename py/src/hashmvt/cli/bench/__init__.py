# SPDX-License-Identifier: Apache-2.0
"""``hashmvt bench``: measure on this machine.

One module per measurement; what they share (options, spreads, the frame of the JSON) is in
``common``.
"""

from __future__ import annotations

import click

from hashmvt.cli.lazy import LazyGroup

_MEASUREMENTS = {
    "collisions": ("hashmvt.cli.bench.collisions", "how prefixes of real tables collide"),
    "hash": ("hashmvt.cli.bench.hash", "CRC32C in hardware against tables"),
    "match": ("hashmvt.cli.bench.match", "longest match in real tables, and exact flows"),
    "nat": ("hashmvt.cli.bench.nat", "what a packet costs in the core"),
    "scale": ("hashmvt.cli.bench.scale", "throughput against instances: shards or one pool"),
    "scaleout": ("hashmvt.cli.bench.scaleout", "throughput over time with a scale-out"),
    "vpp": ("hashmvt.cli.bench.vpp", "HashMVT and the NATs of VPP side by side"),
}


@click.group("bench", cls=LazyGroup, modules=_MEASUREMENTS)
def command() -> None:
    """Measure HashMVT on this machine."""
