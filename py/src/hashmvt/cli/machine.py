# SPDX-License-Identifier: Apache-2.0
"""What a measurement ran on: read from the system, never asked of the user."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

_HUGE = Path("/sys/kernel/mm/hugepages")


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine, as far as it matters for measurements."""

    cpu: str
    cpus: int
    """That this process may use."""
    mhz: float
    """Clock of the first CPU now; 0 when unknown."""
    hypervisor: bool
    memory_bytes: int
    huge_pages_2m: int
    huge_pages_1g: int
    transparent_huge_pages: str
    kernel: str
    architecture: str


def this_machine() -> Machine:
    """Return the machine that this runs on; unknown things are empty or 0."""
    info = _cpuinfo()
    return Machine(
        cpu=info.get("model name", "") or platform.processor(),
        cpus=len(os.sched_getaffinity(0)),
        mhz=float(info.get("cpu MHz", "0") or 0),
        hypervisor="hypervisor" in info.get("flags", "").split(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        huge_pages_2m=_number(_HUGE / "hugepages-2048kB" / "nr_hugepages"),
        huge_pages_1g=_number(_HUGE / "hugepages-1048576kB" / "nr_hugepages"),
        transparent_huge_pages=_chosen(Path("/sys/kernel/mm/transparent_hugepage/enabled")),
        kernel=platform.release(),
        architecture=platform.machine(),
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _cpuinfo() -> dict[str, str]:
    """Return the first CPU's lines."""
    first = _read(Path("/proc/cpuinfo")).split("\n\n", 1)[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _number(path: Path) -> int:
    text = _read(path).strip()
    return int(text) if text.isdigit() else 0


def _chosen(path: Path) -> str:
    """Return the word in brackets: ``always [madvise] never``."""
    _, _, rest = _read(path).partition("[")
    return rest.partition("]")[0]
