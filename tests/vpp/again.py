# SPDX-License-Identifier: Apache-2.0
"""Runs a test again when its VPP ended itself because the machine gave it no CPU time.

VPP allows its threads one second to meet. A thread that is stuck fails all attempts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from _pytest.runner import runtestprotocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytest

    from vpp import Vpp

ATTEMPTS = 3
AGAIN: list[str] = []
"""Tests that ran more than once."""


def run(item: pytest.Item, nextitem: pytest.Item | None, running: Iterable[Vpp]) -> bool:
    """Run a test to its report, as ``pytest_runtest_protocol`` does."""
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for attempt in range(ATTEMPTS):
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        starved = [vpp for vpp in running if vpp.starved]
        if not starved or attempt == ATTEMPTS - 1:
            break
        for vpp in starved:
            vpp.restart()
        AGAIN.append(item.nodeid)
        item._initrequest()  # type: ignore[attr-defined]  # noqa: SLF001 - as reruns do
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def summary(reporter: pytest.TerminalReporter) -> None:
    """Name the tests that ran more than once."""
    for test in AGAIN:
        reporter.line(f"{test}: ran again, VPP's threads did not get the CPU in time")
