# SPDX-License-Identifier: Apache-2.0
"""Addresses, sizes and times of the demonstration, in one place.

Inside is RFC 1918 space; pool, router and servers are documentation prefixes (RFC 5737). All of it
exists only in network namespaces of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network


@dataclass(frozen=True, slots=True)
class Plan:
    """One demonstration."""

    dataplane: str = "embedded"
    inside: IPv4Network = IPv4Network("10.77.0.0/24")
    pool: IPv4Network = IPv4Network("198.51.100.0/28")
    gateway: IPv4Address | None = None
    """The NAT's own inside address, where it is a router as well: it takes one of the TTL then."""
    router: IPv4Address = IPv4Address("192.0.2.1")
    """Where hmvt-out ends; answers what the TTL does not let through."""
    servers: IPv4Network = IPv4Network("203.0.113.0/24")
    server_a: IPv4Address = IPv4Address("203.0.113.10")
    server_b: IPv4Address = IPv4Address("203.0.113.11")

    clients: int = 96
    late_every: int = 3
    """Every third address stays silent until the new instance takes new hosts."""

    port_bulk: int = 7001
    port_line: int = 7002
    port_short: int = 80
    port_dns: int = 53
    port_stun: int = 3478
    port_closed: int = 33434
    """Nobody listens: the end of a traceroute."""

    bulk_bytes: int = 384 * 1024
    """Each way, once for each client."""
    bulk_at_once: int = 6
    round_s: float = 1.5
    """A client's period: a few connections, queries and a ping."""
    rounds_max: int = 16
    short_per_round: int = 3
    dns_per_round: int = 5
    keep_s: float = 0.5
    """Period of the flows that live from the first second to the last."""
    reply_s: float = 5.0
    """What has not been answered by then is lost."""

    instances: int = 2
    """At the start; the coordinator adds one."""
    warm_s: float = 4.0
    """Traffic before the coordinator starts."""
    scale_s: float = 20.0
    """By then the new instance must be there."""
    after_s: float = 6.0
    """Traffic after it."""
    share_min: float = 0.2
    """Of the packets, for each of at least two instances."""

    @property
    def routers(self) -> list[IPv4Address]:
        """Who answers on the way from a client to a server when the TTL ends, in this order."""
        return [self.router] if self.gateway is None else [self.gateway, self.router]

    def client(self, index: int) -> IPv4Address:
        """The address of client ``index``, from 0."""
        return self.inside.network_address + 1 + index

    def is_late(self, index: int) -> bool:
        """Whether the client starts only after the scale-out."""
        return index % self.late_every == self.late_every - 1


PLAN = Plan()
PLANS = {plan.dataplane: plan for plan in (PLAN, Plan("vpp", gateway=IPv4Address("10.78.0.1")))}
"""By dataplane."""
