# SPDX-License-Identifier: Apache-2.0
"""Traffic dispatchers: what brings packets to instances, behind one interface.

A dispatcher is given the home map whenever it changed and turns it into its own rules. It may be
wrong, never incorrect: a packet that it brings to the wrong instance is handed over.
"""

from hashmvt.dispatch.base import Dispatcher, Installed
from hashmvt.dispatch.software import SoftwareDispatcher, rules_of

__all__ = ["Dispatcher", "Installed", "SoftwareDispatcher", "rules_of"]
