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
from functools import partial
from types import FrameType

from demo import live, nat, offline, sandbox, vpp
from demo.child import ChildError
from demo.plan import PLAN, PLANS, Plan

LIMIT_S = 55
"""It ends by itself within a minute, even when something hangs."""


def main(arguments: Sequence[str]) -> int:
    """Run the demonstration; the exit code."""
    parser = argparse.ArgumentParser(
        prog="make run", description="HashMVT on real traffic, proved from outside."
    )
    parser.add_argument("--dataplane", default="embedded", choices=PLANS)
    parser.add_argument("--offline", action="store_true", help="on a capture, as without root")
    options = parser.parse_args(arguments)
    plan = PLANS[options.dataplane]
    if plan is not PLAN:
        reason = "it has no offline way" if options.offline else why_not_vpp()
        if reason is not None:
            print(f"DATAPLANE={plan.dataplane} cannot be shown here: {reason}", file=sys.stderr)
            return 2
        return sandbox.run(partial(_live, plan))
    reason = "as asked" if options.offline else sandbox.why_not()
    if reason is None:
        return sandbox.run(partial(_live, plan))
    print(
        f"HashMVT on a capture ({reason}): real traffic needs root, network namespaces and TUN",
        flush=True,
    )
    return _offline()


def why_not_vpp() -> str | None:
    """What is missing here to show VPP, in a sentence, or None."""
    return sandbox.why_not(tun=False) or vpp.why_not()


def _live(plan: Plan) -> int:
    print(
        f"HashMVT ({plan.dataplane}) on real traffic: {plan.clients} clients, {plan.instances} "
        "instances and one more while traffic runs",
        flush=True,
    )
    started = time.monotonic()
    ok = False
    try:
        ok = asyncio.run(_limited(plan))
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


async def _limited(plan: Plan) -> bool:
    kind = nat.EmbeddedNat if plan is PLAN else vpp.VppNat
    async with asyncio.timeout(LIMIT_S):
        return await live.Live(plan, kind(plan, live.DIRECTORY)).run()


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
