# SPDX-License-Identifier: Apache-2.0
"""Interleaved rounds: every NAT once, then every NAT again.

In each round the NATs take turns at the same flows, beginning with plain routing, which says what
a packet's way costs without any NAT, and ending with ``touch``, which says what memory costs it
alone. So what drifts on the machine meets all of them. A NAT that failed at some flows is not tried
at these again.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hashmvt.bench.vpp import process
from hashmvt.bench.vpp.nats import NATS, PLAIN, REQUIRED, TOUCH
from hashmvt.bench.vpp.process import Vpp
from hashmvt.bench.vpp.runtime import RuntimeTextError
from hashmvt.bench.vpp.traffic import TrafficError
from hashmvt.bench.vpp.trial import Failure, Material, Plan, Sample, Trial, Way
from hashmvt.private_vpp import StarvedError, VppError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hashmvt.bench.vpp.nats import Nat
    from hashmvt.bench.vpp.traffic import Flows
    from hashmvt.private_vpp import Installation, Options

_ATTEMPTS = 3
_MEMORY_SHARE = 0.8
"""Of the free memory, that a VPP's heap may be at most."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a campaign runs on."""

    installation: Installation
    cores: tuple[int, int]
    """Of the main thread and of the worker."""
    heap_page: str
    keep: Path | None
    """Where startup.conf, version and raw counters of every trial go."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What a campaign found."""

    absent: list[str]
    """NATs that this VPP does not have, and touch where its plugin is missing."""
    samples: list[Sample] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    @property
    def missing(self) -> list[str]:
        """NATs that must have run and did not run at all."""
        ran = {sample.nat for sample in self.samples}
        return [name for name in REQUIRED if name not in ran]

    def failed(self, nat: str, flows: Flows, way: Way | None = None) -> bool:
        """Did a NAT fail at some flows, wholly or in a direction?"""
        return any((f.nat, f.flows, f.way) == (nat, flows, way) for f in self.failures)


class Campaign:
    """Trials of some NATs at some flows."""

    def __init__(self, setting: Setting, names: Sequence[str], plan: Plan) -> None:
        """Prepare; NATs that this VPP does not have are left out."""
        wanted = dict.fromkeys((PLAIN, *names, TOUCH))
        there = [n for n in wanted if _is_there(setting.installation, n)]
        self._setting = setting
        self._plan = plan
        self._nats = [NATS[n] for n in there]
        self.findings = Findings([n for n in wanted if n not in there])

    def run(self, flows: Sequence[Flows], *, rounds: int, step: Callable[[], None]) -> Findings:
        """Run all trials; ``step`` is called after each.

        Raises:
            VppError: plain routing did not work, so nothing can be measured.

        """
        with tempfile.TemporaryDirectory(prefix="hashmvt-bench-") as name:
            root = Path(name)
            materials = {case: Material(root, case, self._plan) for case in flows}
            for number in range(1, rounds + 1):
                for material in materials.values():
                    plain: set[str] = set()
                    for nat in self._nats:
                        if not self.findings.failed(nat.name, material.flows):
                            self._try(nat, material, number, plain)
                        step()
        return self.findings

    def _try(self, nat: Nat, material: Material, number: int, plain: set[str]) -> None:
        """Run one trial, again when the machine was too busy for it, and add what it found."""
        for attempt in range(_ATTEMPTS):
            found: list[Sample | Failure] = []
            try:
                self._trial(nat, material, number, plain, emit=found.append)
            except StarvedError:
                if attempt == _ATTEMPTS - 1:
                    raise
                continue
            except (VppError, TrafficError, RuntimeTextError) as error:
                found.append(Failure(nat.name, material.flows, str(error)))
            break
        for one in found:
            if isinstance(one, Sample):
                self.findings.samples.append(one)
            elif nat.name == PLAIN:
                raise VppError(f"plain routing failed, so nothing can be measured: {one.reason}")
            elif not self.findings.failed(nat.name, material.flows, one.way):
                self.findings.failures.append(one)

    def _trial(
        self,
        nat: Nat,
        material: Material,
        number: int,
        plain: set[str],
        *,
        emit: Callable[[Sample | Failure], None],
    ) -> None:
        """Run one trial."""
        setting = self._setting
        with tempfile.TemporaryDirectory(dir=material.root) as name:
            directory = Path(name)
            wanted = nat.options(material.scale)
            options = _options(setting, wanted)
            vpp = Vpp(directory, setting.installation, options)
            trial = Trial(vpp, nat, material, self._plan, number=number, plain=plain)
            try:
                with vpp:
                    trial.run(emit)
            except StarvedError:
                raise
            except VppError as error:
                if options.heap == wanted.heap:
                    raise
                raise VppError(
                    f"{error} (its heap was {options.heap >> 20:,} MiB instead of "
                    f"{wanted.heap >> 20:,} MiB: no more memory is free)"
                ) from error
            finally:
                if setting.keep is not None:
                    where = setting.keep / _title(nat, material.flows, number)
                    _keep(where, {**trial.raw, "startup.conf": vpp.startup, **_logs(directory)})


def _is_there(installation: Installation, name: str) -> bool:
    plugin = NATS[name].plugin
    return not plugin or installation.has(plugin)


def _options(setting: Setting, wanted: Options) -> Options:
    """Return what VPP is started with here, bounded by what the machine has.

    Raises:
        VppError: the heap would have huge pages and there are too few, of which VPP dies mute.

    """
    heap, page = min(wanted.heap, int(_available_bytes() * _MEMORY_SHARE)), setting.heap_page
    if page != process.SMALL_PAGE:
        buffers = process.BUFFERS_BYTES if wanted.buffer_page == page else 0
        needed = sum(process.huge_pages(size, page) for size in (heap, buffers))
        free = process.free_huge(page)
        if needed > free:
            raise VppError(
                f"VPP takes {needed:,} huge pages of {page} for its heap and buffers, and {free:,}"
                " are free: reserve more, or leave its heap on pages of 4k"
            )
    return replace(wanted, heap=heap, heap_page=page, cores=setting.cores)


def _available_bytes() -> int:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) << 10
    raise VppError("the kernel does not tell how much memory is free")


def _title(nat: Nat, flows: Flows, number: int) -> str:
    return f"{flows.proto.name.lower()}-{flows.count}/{nat.name}-round{number}"


def _logs(directory: Path) -> dict[str, str]:
    return {
        name: path.read_text(encoding="utf-8", errors="replace")
        for name in ("output", "vpp.log")
        if (path := directory / name).exists()
    }


def _keep(where: Path, texts: dict[str, str]) -> None:
    where.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        file = where / (name if "." in name else f"{name}.txt")
        file.write_text(text + "\n", encoding="utf-8")
