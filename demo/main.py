# SPDX-License-Identifier: Apache-2.0
"""Chooses what can be shown on this machine, and how it ends.

Exit codes: 0 every check ok; 1 a check failed or a part broke; 2 wrong usage; 128 + signal when
interrupted, also by a reader of the output that went away (SIGPIPE).
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Sequence
from types import FrameType

from demo import live, nat, offline, sandbox
from demo.child import ChildError
from demo.plan import PLAN

LIMIT_S = 55
"""It ends by itself within a minute, even when something hangs."""


def main(arguments: Sequence[str]) -> int:
    """Run the demonstration; the exit code."""
    parser = argparse.ArgumentParser(
        prog="make run", description="HashMVT on real traffic, proved from outside."
    )
    parser.add_argument("--dataplane", default="embedded", help="embedded")
    parser.add_argument("--offline", action="store_true", help="on a capture, as without root")
    options = parser.parse_args(arguments)
    if options.dataplane != "embedded":
        print(
            f"DATAPLANE={options.dataplane} is not available in this build; use DATAPLANE=embedded",
            file=sys.stderr,
        )
        return 2
    reason = "as asked" if options.offline else sandbox.why_not()
    if reason is None:
        return sandbox.run(_live)
    print(
        f"HashMVT on a capture ({reason}): real traffic needs root, network namespaces and TUN",
        flush=True,
    )
    return _offline()


def _live() -> int:
    print(
        f"HashMVT on real traffic: {PLAN.clients} clients, {PLAN.instances} instances and one "
        "more while traffic runs",
        flush=True,
    )
    started = time.monotonic()
    ok = False
    try:
        ok = asyncio.run(_limited())
    except sandbox.Interrupted:
        print("\ninterrupted; everything is removed", file=sys.stderr)
        raise
    except TimeoutError:
        print(f"FAILED: not finished within {LIMIT_S} s", file=sys.stderr)
    except BrokenPipeError:
        raise  # nobody reads on
    except (ChildError, RuntimeError, OSError) as error:
        print(f"FAILED: {error}", file=sys.stderr)
    sys.stderr.flush()
    print(f"{'all as promised' if ok else 'NOT as promised'}, {time.monotonic() - started:.0f} s")
    return 0 if ok else 1


async def _limited() -> bool:
    async with asyncio.timeout(LIMIT_S):
        return await live.Live(PLAN, nat.EmbeddedNat(PLAN, live.DIRECTORY)).run()


def _offline() -> int:
    def stop(signum: int, _frame: FrameType | None) -> None:
        sys.exit(128 + signum)  # by way of the clean-up

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    try:
        ok = offline.run(PLAN)
    except BrokenPipeError:
        raise
    except (RuntimeError, OSError, ValueError) as error:
        print(f"FAILED: {error}", file=sys.stderr)
        ok = False
    print("all as promised, on a capture" if ok else "NOT as promised")
    return 0 if ok else 1
