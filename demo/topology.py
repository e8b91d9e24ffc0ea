# SPDX-License-Identifier: Apache-2.0
"""Network namespaces around the NAT.

::

    client            nat                  router                 server
    10.77.0.1..96     agent, coordinator   192.0.2.1              203.0.113.10, .11
       hmvt-in  ....  the dataplane  ....  hmvt-out   to-server --- to-router

The embedded engine's agent makes two TUN devices in ``nat``; then they are moved to where traffic
is, and the agent's descriptors go on working. VPP is connected by Ethernet instead: hmvt-in and
hmvt-out are ends of veth pairs whose other ends are its host interfaces, and it is a router with
addresses of its own (10.78.0.1, 192.0.2.2).

The router is a kernel that forwards, so errors about packets whose TTL ran out come from a real
router.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterable
from ipaddress import IPv4Interface
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from demo.plan import Plan

NAT, CLIENT, ROUTER, SERVER = "nat", "client", "router", "server"
INSIDE_DEVICE, OUTSIDE_DEVICE = "hmvt-in", "hmvt-out"
VPP_INSIDE, VPP_OUTSIDE = "vpp-in", "vpp-out"
"""The ends in ``nat`` of the veth pairs of VPP."""
MAC_CLIENT, MAC_ROUTER = "02:00:00:00:00:01", "02:00:00:00:00:02"
CLIENT_LINK, ROUTER_LINK = IPv4Interface("10.78.0.2/30"), IPv4Interface("192.0.2.1/24")
"""What VPP has at the far ends."""
VPP_CLIENT, VPP_ROUTER = IPv4Interface("10.78.0.1/30"), IPv4Interface("192.0.2.2/24")
"""VPP's own addresses."""
TX_QUEUE = 20000  # packets: a queue in front of the NAT that drops would be blamed on the NAT

_SYSCTL = {
    "ipv6/conf/all/disable_ipv6": 1,  # no router solicitations among the packets counted
    "ipv6/conf/default/disable_ipv6": 1,
    "ipv4/conf/all/rp_filter": 0,
    "ipv4/conf/default/rp_filter": 0,
    "ipv4/conf/all/send_redirects": 0,
    "ipv4/icmp_ratelimit": 0,
    "ipv4/conf/all/arp_announce": 2,  # ask with the link's own address, not with a client's
    "ipv4/tcp_retries2": 8,
}


def ip(*words: object) -> None:
    """Run ``ip``.

    Raises:
        RuntimeError: with what ``ip`` said.
    """
    _run("ip", *(str(word) for word in words))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")


def _batch(namespace: str, lines: Iterable[str]) -> None:
    done = subprocess.run(
        ["ip", "-n", namespace, "-batch", "-"],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"ip -batch in {namespace}: {done.stderr.strip()}")


def _sysctl(namespace: str, values: dict[str, int]) -> None:
    # a key that this kernel does not have is none that has to be turned off
    script = "\n".join(
        f"[ ! -e /proc/sys/net/{key} ] || echo {value} >/proc/sys/net/{key}"
        for key, value in values.items()
    )
    subprocess.run(["ip", "netns", "exec", namespace, "sh", "-c", script], check=True)


def build(plan: Plan) -> None:
    """Make the namespaces and what lies behind the router; the TUN devices come later."""
    for namespace in (NAT, CLIENT, ROUTER, SERVER):
        ip("netns", "add", namespace)
        _sysctl(namespace, _SYSCTL)
        ip("-n", namespace, "link", "set", "lo", "up")
    _sysctl(ROUTER, {"ipv4/ip_forward": 1})
    ip("link", "add", "to-server", "netns", ROUTER, "type", "veth",
       "peer", "name", "to-router", "netns", SERVER)  # fmt: skip
    gateway = plan.servers.network_address + 1
    length = plan.servers.prefixlen
    _batch(ROUTER, [f"addr add {gateway}/{length} dev to-server", "link set to-server up"])
    _batch(
        SERVER,
        [
            f"addr add {plan.server_a}/{length} dev to-router",
            f"addr add {plan.server_b}/{length} dev to-router",
            "link set to-router up",
            f"route add default via {gateway}",
        ],
    )


def wait_for_devices(timeout_s: float) -> bool:
    """Whether the agent has made both devices within ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        shown = subprocess.run(
            ["ip", "-n", NAT, "-o", "link", "show"], capture_output=True, text=True, check=False
        ).stdout
        if INSIDE_DEVICE in shown and OUTSIDE_DEVICE in shown:
            return True
        time.sleep(0.05)
    return False


def place_devices(plan: Plan) -> None:
    """Move the TUN devices to the clients and to the router, and address them."""
    ip("-n", NAT, "link", "set", INSIDE_DEVICE, "netns", CLIENT)
    ip("-n", NAT, "link", "set", OUTSIDE_DEVICE, "netns", ROUTER)
    _batch(
        CLIENT,
        [
            *(f"addr add {plan.client(i)}/32 dev {INSIDE_DEVICE}" for i in range(plan.clients)),
            f"link set {INSIDE_DEVICE} txqueuelen {TX_QUEUE} mtu 1500 up",
            f"route add default dev {INSIDE_DEVICE}",
        ],
    )
    _batch(
        ROUTER,
        [
            f"addr add {plan.router}/32 dev {OUTSIDE_DEVICE}",
            f"link set {OUTSIDE_DEVICE} txqueuelen {TX_QUEUE} mtu 1500 up",
            f"route add {plan.pool} dev {OUTSIDE_DEVICE}",
        ],
    )


def connect_vpp(plan: Plan) -> None:
    """Make the veth pairs to VPP, without offloads: what a packet lacks nobody would add."""
    for namespace, device, mac, far in (
        (CLIENT, INSIDE_DEVICE, MAC_CLIENT, VPP_INSIDE),
        (ROUTER, OUTSIDE_DEVICE, MAC_ROUTER, VPP_OUTSIDE),
    ):
        ip("link", "add", device, "address", mac, "netns", namespace, "type", "veth",
           "peer", "name", far, "netns", NAT)  # fmt: skip
        for where, end in ((namespace, device), (NAT, far)):
            _run(*inside(where), "ethtool", "-K", end, "tx", "off", "gso", "off", "gro", "off")
        ip("-n", NAT, "link", "set", far, "mtu", 1500, "up")
    _batch(
        CLIENT,
        [
            f"addr add {CLIENT_LINK} dev {INSIDE_DEVICE}",
            *(f"addr add {plan.client(i)}/32 dev {INSIDE_DEVICE}" for i in range(plan.clients)),
            f"link set {INSIDE_DEVICE} mtu 1500 up",
            f"route add default via {VPP_CLIENT.ip}",
        ],
    )
    _batch(
        ROUTER,
        [
            f"addr add {ROUTER_LINK} dev {OUTSIDE_DEVICE}",
            f"link set {OUTSIDE_DEVICE} mtu 1500 up",
            f"route add {plan.pool} dev {OUTSIDE_DEVICE}",
        ],
    )


def inside(namespace: str) -> list[str]:
    """The words before a command that make it run in ``namespace``."""
    return ["ip", "netns", "exec", namespace]
