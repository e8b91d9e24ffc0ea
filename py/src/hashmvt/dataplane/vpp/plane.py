# SPDX-License-Identifier: Apache-2.0
"""``VppDataplane``: the NAT of a VPP as ``Dataplane``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from hashmvt.dataplane.threaded import ThreadedDataplane
from hashmvt.dataplane.vpp.nat import Nat, PacketPort
from hashmvt.errors import Unavailable

if TYPE_CHECKING:
    from typing import Self

    from hashmvt.dataplane.vpp.link import Link
    from hashmvt.dataplane.vpp.settings import VppSettings

__all__ = ["PacketPort", "VppDataplane"]


class VppDataplane(ThreadedDataplane):
    """The production dataplane. Made by ``open``, ended by ``aclose``; VPP's NAT goes on then."""

    @classmethod
    async def open(cls, settings: VppSettings, *, port: PacketPort | None = None) -> Self:
        """Connect to VPP and make its NAT what the settings say; see ``Nat``.

        Args:
            settings: how VPP is reached and what its NAT is to be.
            port: brings packets through (tests).

        Raises:
            Unavailable: VPP, the plugin, a permission or vpp-papi is missing, or what is fixed in
                VPP's NAT is not as the settings say; says what to do.
            Rejected: VPP refused the settings.

        """
        return cls(*await cls.started(partial(Nat, settings, _connect, port=port), "hashmvt-vpp"))


def _connect(settings: VppSettings) -> Link:
    try:
        from hashmvt.dataplane.vpp import papi  # noqa: PLC0415 - an extra of the package
    except ModuleNotFoundError as error:
        if error.name != "vpp_papi":
            raise
        raise Unavailable(
            "vpp-papi is not installed: install hashmvt with its extra, `pip install hashmvt[vpp]`"
        ) from None
    return papi.connect(settings)
