# SPDX-License-Identifier: Apache-2.0
"""How each NAT is configured: its best documented configuration for the flows at hand.

Two of them are none, and say what the others' figures are worth: plain routing, and ``touch``,
which reads two lines of memory for each packet and routes it.

Tables are sized for the flows with a quarter to spare, pools so that about half of their ports are
used, timeouts so that nothing ends during a measurement. docs/vpp-peers.md says why each is so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from hashmvt.bench.vpp import process
from hashmvt.bench.vpp.traffic import PORTS
from hashmvt.private_vpp import HASHMVT, Options
from hashmvt.private_vpp import TOUCH as TOUCH_PLUGIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hashmvt.bench.vpp.traffic import Flows

PLAIN = "plain"
TOUCH = "touch"
REQUIRED = ("nat44-ei", "nat44-ed")
"""Without these a comparison says nothing."""

POOL = IPv4Address("100.64.0.0")
MIN_ENTRIES = 65536
_SFDP_ADDRESSES = 13
_DET_HOST_BYTES, _DET_SHARED_BY = 24 << 10, 64
_HASHMVT_MAPPINGS = 1 << 20
_IDLE_S = 300


@dataclass(frozen=True, slots=True)
class Scale:
    """What a NAT must be sized for."""

    flows: Flows
    spare: int
    """Further flows that are made once these live."""
    used: float = 0.5
    """Share of the pool's ports that all of them take."""
    filtering: str = "endpoint-independent"
    """HashMVT's."""

    @property
    def entries(self) -> int:
        """Room of a table."""
        return max(MIN_ENTRIES, (self.flows.count + self.spare) * 5 // 4)

    @property
    def addresses(self) -> int:
        """External addresses."""
        return math.ceil((self.flows.count + self.spare) / (PORTS * self.used))

    @property
    def per_host(self) -> int:
        """Flows that a host may have."""
        return self.flows.ports_per_host + -(-self.spare // self.flows.hosts)


@dataclass(frozen=True, slots=True)
class Nat:
    """A NAT, plain routing, or touch."""

    name: str
    plugin: str
    """Its name; empty for what is in VPP itself."""
    section: Callable[[Scale], str]
    """What startup.conf says of it."""
    commands: Callable[[Scale], Iterator[str]]
    """What makes it run between ``pg0`` (inside) and ``pg1`` (outside)."""
    addresses: Callable[[Scale], int]
    """External addresses that it uses."""
    host_bytes: int = 0
    """Memory that it reserves for each inside address."""
    translates: bool = True

    def pool(self, scale: Scale) -> tuple[IPv4Address, IPv4Address]:
        """Return its first and last external address."""
        return POOL, POOL + (self.addresses(scale) - 1)

    def options(self, scale: Scale) -> Options:
        """Return what VPP is started with: enough memory, since only what is touched counts."""
        frames = 512 * (scale.flows.count + scale.spare)
        tables = 2048 * scale.entries + self.host_bytes * (1 << host_bits(scale))
        return Options(
            plugins=[self.plugin] if self.plugin else [],
            heap=(1 << 30) + frames + tables,
            stats=(128 << 20) + 256 * scale.entries,
            buffers=process.BUFFERS,
            buffer_page=process.buffer_page(),
            sections=self.section(scale),
        )


def host_bits(scale: Scale) -> int:
    """Return the host bits of the shortest prefix that holds all inside hosts."""
    return max(0, (scale.flows.hosts - 1).bit_length())


def _range(scale: Scale, addresses: int, between: str = " - ") -> str:
    del scale
    return f"{POOL}{between}{POOL + (addresses - 1)}"


def _none(scale: Scale) -> str:
    del scale
    return ""


def _plain(scale: Scale) -> Iterator[str]:
    del scale
    yield from ()


def _touch(scale: Scale) -> Iterator[str]:
    yield f"touch lines {scale.flows.mappings}"
    yield "touch interface pg0 in"
    yield "touch interface pg1 out"


def _ei(scale: Scale) -> Iterator[str]:
    users = max(1024, scale.flows.hosts * 5 // 4)
    yield (
        f"nat44 ei plugin enable sessions {scale.entries} users {users}"
        f" user-sessions {2 * scale.per_host}"
    )
    yield f"nat44 ei add address {_range(scale, scale.addresses)}"
    yield "set interface nat44 ei in pg0 out pg1"


def _ed(scale: Scale) -> Iterator[str]:
    yield f"nat44 plugin enable sessions {scale.entries}"
    yield f"nat44 add address {_range(scale, scale.addresses)}"
    yield "set interface nat44 in pg0 out pg1"


def _det_shared_by(scale: Scale) -> int:
    return min(_DET_SHARED_BY, 1 << host_bits(scale))


def _det_addresses(scale: Scale) -> int:
    return (1 << host_bits(scale)) // _det_shared_by(scale)


def _det(scale: Scale) -> Iterator[str]:
    inside = 32 - host_bits(scale)
    outside = 32 - (_det_addresses(scale) - 1).bit_length()
    yield "det44 plugin enable"
    yield "set interface det44 inside pg0 outside pg1"
    yield f"det44 add in 10.0.0.0/{inside} out {POOL}/{outside}"


def _cnat_section(scale: Scale) -> str:
    return (
        f"cnat {{ session-max {scale.entries} session-max-age {_IDLE_S} "
        "snat-db-buckets 1024 snat-db-memory 64m }"
    )


def _cnat(scale: Scale) -> Iterator[str]:
    del scale
    yield f"set cnat snat-policy addr {POOL}"
    yield "set cnat snat-policy if-pfx"
    yield "set cnat snat-policy if table include-v4 pg0"
    yield "set interface feature pg0 cnat-snat-ip4 arc ip4-unicast"


def _sfdp_section(scale: Scale) -> str:
    return f"sfdp {{ sessions-log2 {max(18, (scale.entries - 1).bit_length())} no-main }}"


def _sfdp(scale: Scale) -> Iterator[str]:
    pool = " ".join(str(POOL + i) for i in range(_sfdp_addresses(scale)))
    yield "sfdp tenant add 1 context 1"
    yield "sfdp tenant add 2 context 2"
    yield f"sfdp nat alloc-pool add 1 {pool}"
    yield "set sfdp nat snat tenant 1 outside-tenant 2 table 0 alloc-pool 1"
    yield "set sfdp services tenant 1 sfdp-l4-lifecycle sfdp-nat-output forward"
    yield "set sfdp services tenant 1 sfdp-l4-lifecycle ip4-lookup reverse"
    for tenant in (1, 2):
        for timeout in ("embryonic", "established"):
            yield f"set sfdp timeout tenant {tenant} {timeout} {_IDLE_S}"
    yield "set sfdp interface-input pg0 tenant 1"
    yield "set sfdp nat external-interface pg1 tenant 2"


def _sfdp_addresses(scale: Scale) -> int:
    return min(_SFDP_ADDRESSES, scale.addresses)


def _hashmvt_section(scale: Scale) -> str:
    return (
        f"hashmvt {{ max-mappings {max(_HASHMVT_MAPPINGS, scale.entries)} "
        f"max-hosts {max(_HASHMVT_MAPPINGS // 4, scale.flows.hosts * 5 // 4)} "
        f"max-addresses {max(256, scale.addresses)} }}"
    )


def _hashmvt(scale: Scale) -> Iterator[str]:
    yield "hashmvt enable"
    yield "hashmvt interface add pg0 in"
    yield "hashmvt interface add pg1 out"
    yield (
        f"hashmvt policy add default mappings-per-host {2 * scale.per_host}"
        f" filtering {scale.filtering}"
    )
    yield "hashmvt policy add 10.0.0.0/8"
    yield f"hashmvt pool add {_range(scale, scale.addresses, '-')}"


def _addresses(scale: Scale) -> int:
    return scale.addresses


def _one(scale: Scale) -> int:
    del scale
    return 1


NATS = {
    nat.name: nat
    for nat in (
        Nat(PLAIN, "", _none, _plain, _one, translates=False),
        Nat("nat44-ei", "nat44_ei", _none, _ei, _addresses),
        Nat("nat44-ed", "nat", _none, _ed, _addresses),
        Nat("det44", "det44", _none, _det, _det_addresses, host_bytes=_DET_HOST_BYTES),
        Nat("cnat", "cnat", _cnat_section, _cnat, _one),
        Nat("sfdp", "sfdp_services", _sfdp_section, _sfdp, _sfdp_addresses),
        Nat(TOUCH, TOUCH_PLUGIN, _none, _touch, _one, translates=False),
        Nat(HASHMVT, HASHMVT, _hashmvt_section, _hashmvt, _addresses),
    )
}
