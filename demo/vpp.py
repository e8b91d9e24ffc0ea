# SPDX-License-Identifier: Apache-2.0
"""HashMVT in VPP as the demonstration uses it.

A VPP of its own in the namespace ``nat``, on host interfaces, with a worker for each instance and
one to spare. The agent connects to it; the rest is as with the embedded engine.
"""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
from pathlib import Path

from demo import topology
from demo.child import ChildError
from demo.nat import AgentNat
from demo.plan import Plan
from hashmvt import private_vpp
from hashmvt.private_vpp import Installation, Options, PrivateVpp, VppError, find_installation

ROOT = Path(__file__).resolve().parents[1]


def why_not() -> str | None:
    """What is missing here, in a sentence, or None."""
    if why := private_vpp.why_not(ROOT):
        return why
    if importlib.util.find_spec("vpp_papi") is None:
        return "vpp-papi is missing: `make run DATAPLANE=vpp` installs it"
    return None if shutil.which("ethtool") else "ethtool is missing: install it"


class VppNat(AgentNat):
    """See ``live.Nat``."""

    def __init__(self, plan: Plan, directory: Path) -> None:
        super().__init__(plan, directory)
        self._vpp: PrivateVpp | None = None

    def _devices(self) -> str:
        vpp = self._directory / "vpp"
        return (
            f"{{api: {vpp}/api.sock, stats: {vpp}/stats.sock, "
            f"inside: [host-{topology.VPP_INSIDE}], outside: [host-{topology.VPP_OUTSIDE}]}}"
        )

    async def start(self) -> None:
        """Connect the namespaces, start VPP as a router between them, then the agent."""
        await asyncio.to_thread(topology.connect_vpp, self._plan)
        try:
            await asyncio.to_thread(self._start_vpp, find_installation(ROOT))
        except VppError as error:
            raise ChildError(str(error)) from error
        await self._start_agent()

    def _start_vpp(self, installation: Installation) -> None:
        vpp = self._vpp = PrivateVpp(
            self._directory / "vpp",
            installation,
            Options(("hashmvt", "ping", "af_packet"), workers=self._plan.instances + 1),
            prefix=topology.inside(topology.NAT),
        )
        commands: list[str] = []
        for device, address, far, mac, beyond in (
            (
                topology.VPP_INSIDE, topology.VPP_CLIENT, topology.CLIENT_LINK,
                topology.MAC_CLIENT, str(self._plan.inside),
            ),
            (
                topology.VPP_OUTSIDE, topology.VPP_ROUTER, topology.ROUTER_LINK,
                topology.MAC_ROUTER, "0.0.0.0/0",
            ),
        ):  # fmt: skip
            name = f"host-{device}"
            commands += [
                f"create host-interface name {device} tx-size 2048 cksum-gso-disable",
                f"set interface ip address {name} {address}",
                f"set interface state {name} up",
                # VPP drops what meets a neighbour that it does not know yet
                f"set ip neighbor {name} {far.ip} {mac}",
                f"ip route add {beyond} via {far.ip} {name}",
            ]
        vpp.start(*commands)

    def check(self) -> None:
        """Raise ``ChildError`` when VPP, agent or coordinator has ended."""
        if self._vpp is not None and not self._vpp.alive:
            raise ChildError(f"VPP has ended: {self._vpp.output()}")
        super().check()

    async def stop(self) -> list[str]:
        """End coordinator and agent, then VPP."""
        unwell = await super().stop()
        if self._vpp is not None:
            await asyncio.to_thread(self._vpp.stop)
            if self._vpp.status:
                unwell.append(f"VPP ended with exit code {self._vpp.status}: {self._vpp.output()}")
        return unwell
