# SPDX-License-Identifier: Apache-2.0
"""File -> ``Config``: every problem is found in one pass, each with its line.

Three steps. YAML to values with lines (``yamlfile``); the schema (``structure``); then meaning:
addresses, overlaps, powers of two. A value that the schema refused is left out of the third step,
so that one mistake is reported once. Problems are errors; warnings are what an operator may want
but an RFC advises against.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hashmvt.config import structure
from hashmvt.config.nat44 import read_nat44
from hashmvt.config.ports import MAX_VPP_ADDRESSES
from hashmvt.config.section import Section
from hashmvt.config.values import (
    AgentConfig,
    Config,
    CoordinatorConfig,
    DataplaneConfig,
    DataplaneKind,
    DispatcherConfig,
    DispatcherKind,
    EmbeddedConfig,
    FailureConfig,
    Instances,
    LogConfig,
    Nat44Config,
    TlsConfig,
    VppConfig,
)
from hashmvt.config.yamlfile import YamlProblem, read
from hashmvt.errors import ConfigError, Problem
from hashmvt.model import EventLog

if TYPE_CHECKING:
    from hashmvt.config.yamlfile import Document


MAX_SOCKET_PATH = 107
"""Bytes: ``sun_path`` of Linux without its end."""
_NO_FILES = (Path("/proc"), Path("/sys"))


@dataclass(slots=True)
class Report:
    """What reading a file found."""

    path: Path
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    config: Config | None = None
    """None when there is a problem."""


def check(path: Path) -> Report:
    """Read a file and report everything about it; never raises for what is in it."""
    report = Report(path)
    try:
        document = read(path)
    except YamlProblem as problem:
        report.problems.append(Problem(path, problem.line, problem.reason, problem.remedy))
        return report
    root = _section(document, report)
    config = _config(root, path, report)
    report.problems.sort(key=lambda p: p.line)
    report.warnings.sort(key=lambda p: p.line)
    if not report.problems:
        report.config = config
    return report


def _config(root: Section, path: Path, report: Report) -> Config | None:
    """Read the sections; None without the one that must be there."""
    if not root.has("nat44"):
        return None
    nat44 = read_nat44(root.sub("nat44"))
    dataplane = _dataplane(root.sub("dataplane"))
    _enough_blocks(root.sub("nat44"), nat44, dataplane.instances.max)
    if dataplane.kind is DataplaneKind.VPP:
        _few_routes(root.sub("nat44"), nat44)
    agent = _agent(root.sub("agent"), path.parent)
    coordinator = _coordinator(root.sub("coordinator"), path.parent)
    if os.path.normpath(agent.control) == os.path.normpath(coordinator.control):
        root.sub("coordinator").problem_at(
            "control",
            f"agent and coordinator have one control socket, {agent.control}",
            "write two paths",
        )
    return Config(
        path=path,
        nat44=nat44,
        dataplane=dataplane,
        agent=agent,
        coordinator=coordinator,
        dispatcher=_dispatcher(root.sub("dispatcher")),
        log=_log(root.sub("log")),
        warnings=tuple(sorted(report.warnings, key=lambda p: p.line)),
    )


def _enough_blocks(section: Section, nat44: Nat44Config, instances: int) -> None:
    """Ports belong to one instance a block at a time: who has no block can map nothing."""
    blocks = sum(item.count for item in nat44.pool) * nat44.blocks_per_address
    if blocks and blocks < instances:
        section.warn_at(
            "block_size" if section.has("block_size") else "pool",
            f"{instances} instances share {blocks} blocks of {nat44.block_size} ports: hosts of an "
            f"instance that has none are refused",
            "write a smaller block_size, more pool addresses or fewer instances",
        )


def _few_routes(section: Section, nat44: Nat44Config) -> None:
    addresses = sum(item.count for item in nat44.pool)
    if addresses > MAX_VPP_ADDRESSES:
        section.problem_at(
            "pool",
            f"the pool has {addresses:,} addresses, and VPP takes {MAX_VPP_ADDRESSES:,} at most, "
            "for each takes a route",
            "write fewer addresses",
        )


def load(path: Path | str) -> Config:
    """Read a configuration.

    Raises:
        ConfigError: it is wrong or missing; holds every problem.

    """
    report = check(Path(path))
    if report.config is None:
        raise ConfigError(report.path, tuple(report.problems))
    return report.config


def _section(document: Document, report: Report) -> Section:
    """Check the structure; return the root without what the schema refused."""
    root = Section(document, report.path, report.problems, report.warnings)
    for fault in structure.faults(document.root):
        root.problem(fault.key, fault.reason, fault.remedy)
        root.refuse((*fault.key, fault.missing) if fault.missing else fault.key)
    return root


def _dataplane(section: Section) -> DataplaneConfig:
    default = DataplaneConfig()
    kind = DataplaneKind(section.word("kind", default.kind.value))
    on_vpp = kind is DataplaneKind.VPP
    count = section.sub("instances")
    initial = count.whole("initial", 0 if on_vpp else default.instances.initial)
    most = count.whole("max", max(default.instances.max, initial))
    if initial > most:
        count.problem_at(
            "max" if count.has("max") else "initial",
            f"initial instances ({initial}) are more than max ({most})",
            f"write max: {initial} or more",
        )
    embedded = section.sub("embedded")
    inside = embedded.word("inside", default.embedded.inside)
    outside = embedded.word("outside", default.embedded.outside)
    if inside == outside:
        embedded.problem_at(
            "outside", f"device {inside!r} is both inside and outside", "name two devices"
        )
    return DataplaneConfig(
        kind=kind,
        instances=Instances(initial, most),
        embedded=EmbeddedConfig(inside, outside),
        vpp=_vpp(section, needed=on_vpp),
    )


def _vpp(dataplane: Section, *, needed: bool) -> VppConfig:
    section = dataplane.sub("vpp")
    default = VppConfig()
    inside, outside = section.words("inside"), section.words("outside")
    for name, found in (("inside", inside), ("outside", outside)):
        if needed and not found and not section.refused(name):
            dataplane.problem_at(
                "vpp" if dataplane.has("vpp") else "kind",
                f"dataplane.vpp names no {name} interface",
                f"add {name}: [NAME], as `vppctl show interface` spells it",
            )
    for name in sorted({*inside} & {*outside}):
        section.problem_at(
            "outside", f"interface {name!r} is both inside and outside", "name it once"
        )
    return VppConfig(
        api=Path(section.word("api", str(default.api))),
        stats=Path(section.word("stats", str(default.stats))),
        inside=inside,
        outside=outside,
    )


def _tls(section: Section, base: Path) -> TlsConfig | None:
    if not section.has("tls"):
        return None
    tls = section.sub("tls")
    return TlsConfig(
        certificate=base / tls.word("certificate", ""),
        key=base / tls.word("key", ""),
        authority=base / tls.word("authority", ""),
    )


def tls_problems(path: Path, key: str, tls: TlsConfig | None) -> tuple[Problem, ...]:
    """Return what is wrong with the files of ``tls`` on this machine.

    They are no part of reading: one file serves several hosts, of which each has its own.
    """
    found = []
    for name in ("certificate", "key", "authority") if tls else ():
        file: Path = getattr(tls, name)
        try:
            reason = "" if b"-----BEGIN " in file.read_bytes() else "holds no PEM"
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
        if reason:
            remedy = "put it there, in PEM, or name another file"
            found.append(Problem(path, 0, f"{key}.{name}: {file}: {reason}", remedy))
    return tuple(found)


def _control(section: Section, base: Path, default: Path) -> Path:
    """Return the path of a socket, which the kernel keeps in few bytes."""
    path = base / section.word("control", str(default))
    name = "control" if section.has("control") else ""
    length = len(os.fsencode(path))
    if length > MAX_SOCKET_PATH:
        section.problem_at(
            name,
            f"{path} has {length} bytes, and the path of a socket at most {MAX_SOCKET_PATH}",
            "write a shorter path",
        )
    elif what := _in_the_way(path):
        section.problem_at(name, what, "name the path of a socket that can be made")
    return path


def _in_the_way(path: Path) -> str:
    """Return why no socket can be made at a path, as far as it can be seen; empty when it can."""
    try:
        mode = path.lstat().st_mode
    except NotADirectoryError:
        return f"the directory of {path} is none"
    except OSError:  # there is nothing, or we may not look
        fixed = next((top for top in _NO_FILES if path.is_relative_to(top)), None)
        return f"no socket can be made in {fixed}, as {path} asks for" if fixed else ""
    if stat.S_ISDIR(mode):
        return f"{path} is a directory"
    return "" if stat.S_ISSOCK(mode) else f"{path} exists and is no socket"


def _agent(section: Section, base: Path) -> AgentConfig:
    default = AgentConfig()
    result = AgentConfig(
        control=_control(section, base, default.control),
        name=section.word("name", default.name),
        listen=section.socket("listen", default.listen),
        tls=_tls(section, base),
    )
    if result.listen and not section.has("tls"):
        section.problem_at(
            "listen",
            "agent.listen is open to the network without tls",
            "add tls: {certificate: FILE, key: FILE, authority: FILE}",
        )
    return result


def _coordinator(section: Section, base: Path) -> CoordinatorConfig:
    default = CoordinatorConfig()
    failure = section.sub("failure")
    result = CoordinatorConfig(
        listen=section.socket("listen", default.listen),
        control=_control(section, base, default.control),
        key_file=base / section.word("key_file", str(default.key_file)),
        cpu=section.number("cpu", default.cpu),
        memory=section.number("memory", default.memory),
        retain=section.number("retain", default.retain),
        heartbeat=section.number("heartbeat", default.heartbeat),
        failure=FailureConfig(
            period=failure.number("period", default.failure.period),
            periods=failure.whole("periods", default.failure.periods),
        ),
        agents=section.words("agents"),
        tls=_tls(section, base),
    )
    if result.agents and not section.has("tls"):
        section.problem_at(
            "agents",
            "agents on other hosts are reached with mutual TLS only",
            "add tls: {certificate: FILE, key: FILE, authority: FILE}",
        )
    if result.failure.period < result.heartbeat:
        failure.problem_at(
            "period",
            f"a failure period of {result.failure.period:g} s is shorter than a heartbeat "
            f"({result.heartbeat:g} s)",
            f"write {result.heartbeat * 4:g} or more",
        )
    return result


def _dispatcher(section: Section) -> DispatcherConfig:
    section.not_built("kind", "vpp-flow", "software")
    section.not_built("kind", "openflow", "software")
    default = DispatcherConfig()
    return DispatcherConfig(
        kind=DispatcherKind(section.word("kind", default.kind.value)),
        rule_budget=section.whole("rule_budget", default.rule_budget),
    )


def _log(section: Section) -> LogConfig:
    section.not_built("to", "ipfix", "syslog")
    default = LogConfig()
    return LogConfig(
        events=EventLog(section.word("events", default.events.value)),
        to=section.word("to", default.to),
    )
