# SPDX-License-Identifier: Apache-2.0
"""Configurations of the suites: a base file, and what a test writes otherwise.

A test says ``nat44.timeouts.udp=120``: the path in the file, and the value as it would stand there.
So the suites show what users type, and it goes through the same reader.
"""

import copy
from pathlib import Path
from typing import Any

import yaml

REMOVED = "REMOVED"
"""The value that takes a key out of the file."""


def changed_settings(base: dict[str, Any], changed: dict[str, object]) -> dict[str, Any]:
    """Return a copy of ``base`` with values at dotted paths; text is read as YAML.

    Raises:
        ValueError: a path leads through something that is no map.

    """
    result = copy.deepcopy(base)
    for path, value in changed.items():
        *folders, name = path.split(".")
        at = result
        for folder in folders:
            at = at.setdefault(folder, {})
            if not isinstance(at, dict):
                raise ValueError(f"{path}: {folder} is a value, not a section")  # noqa: TRY004
        if value == REMOVED:
            at.pop(name, None)
        else:
            at[name] = yaml.safe_load(value) if isinstance(value, str) else value
    return result


def write_settings(path: Path, base: Path, changed: dict[str, object]) -> None:
    """Write the file ``base`` with changes to ``path``."""
    settings = changed_settings(yaml.safe_load(base.read_text()), changed)
    path.write_text(yaml.safe_dump(settings, sort_keys=False))
