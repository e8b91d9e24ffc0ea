# SPDX-License-Identifier: Apache-2.0
"""What something costs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one key, lookup or packet."""

    clocks: float
    """Of the time stamp counter."""
    ns: float
