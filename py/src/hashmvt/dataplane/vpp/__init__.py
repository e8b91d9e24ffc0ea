# SPDX-License-Identifier: Apache-2.0
"""VPP with the HashMVT plugin: ``VppDataplane``. Needs the package's extra ``vpp``."""

from hashmvt.dataplane.vpp.plane import PacketPort, VppDataplane
from hashmvt.dataplane.vpp.settings import VppSettings, vpp_settings

__all__ = ["PacketPort", "VppDataplane", "VppSettings", "vpp_settings"]
