# SPDX-License-Identifier: Apache-2.0
"""What moves packets, behind one interface: see ``hashmvt.dataplane.base``."""

from hashmvt.dataplane.base import Capabilities, Dataplane

__all__ = ["Capabilities", "Dataplane"]
