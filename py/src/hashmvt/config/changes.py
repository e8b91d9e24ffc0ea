# SPDX-License-Identifier: Apache-2.0
"""What differs between two configurations, and what of it needs a restart."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashmvt.config.values import Config

_FIXED = (
    "nat44.ports",
    "nat44.reserved_ports",
    "nat44.block_size",
    "nat44.allocation",
    "nat44.hold_down",
    "nat44.timeouts.fragment",
    "nat44.max_mappings",
    "dataplane",
    "agent",
    "coordinator.listen",
    "coordinator.control",
    "coordinator.key_file",
    "coordinator.heartbeat",
    "coordinator.agents",
    "coordinator.tls",
    "dispatcher",
    "log",
)
_SPELLED = {
    "nat44.fragment_timeout": "nat44.timeouts.fragment",
    "nat44.statics": "nat44.static",
    "nat44.static_endpoints": "nat44.static",
    "nat44.default": "nat44",
}


@dataclass(frozen=True, slots=True)
class Change:
    """One key that differs."""

    key: str
    """As in the file: ``nat44.timeouts.udp``."""
    old: str
    new: str
    needs_restart: bool
    """Fixed while the program runs: takes effect at the next start."""

    def __str__(self) -> str:
        """``nat44.timeouts.udp: 300 -> 120``."""
        later = " (takes effect at the next start)" if self.needs_restart else ""
        return f"{self.key}: {self.old} -> {self.new}{later}"


def changes(old: Config, new: Config) -> tuple[Change, ...]:
    """Return every key in which two configurations differ, in the order of the file."""
    result: list[Change] = []
    for section in ("nat44", "dataplane", "agent", "coordinator", "dispatcher", "log"):
        _compare(section, getattr(old, section), getattr(new, section), result)
    return tuple(result)


def _compare(key: str, old: object, new: object, result: list[Change]) -> None:
    if old == new:
        return
    if is_dataclass(old) and type(old) is type(new) and key.count(".") < 4:  # noqa: PLR2004
        for item in fields(old):
            inner = f"{key}.{item.name}"
            inner = _SPELLED.get(inner, inner)
            _compare(inner, getattr(old, item.name), getattr(new, item.name), result)
        return
    fixed = any(key == name or key.startswith(f"{name}.") for name in _FIXED)
    result.append(Change(key, _show(old), _show(new), fixed))


def _show(value: object) -> str:
    if value is None or value == "":
        return "none"
    if isinstance(value, tuple):
        return f"[{', '.join(_show(item) for item in value)}]"
    if isinstance(value, Enum):
        return str(value.value if isinstance(value.value, str) else value.name.lower())
    if isinstance(value, str | int | float | Path | IPv4Address | IPv4Network):
        return str(value)
    if is_dataclass(value) and type(value).__str__ is object.__str__:
        inner = ", ".join(f"{f.name}: {_show(getattr(value, f.name))}" for f in fields(value))
        return f"{{{inner}}}"
    return str(value)
