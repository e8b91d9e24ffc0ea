# SPDX-License-Identifier: Apache-2.0
"""``MemoryDataplane``: a NAT of dicts and sets, for tests of what stands above a dataplane.

It keeps the contract of ``Dataplane`` and the meaning of home maps, blocks and draining, and
leaves out what makes a real one fast or hard: threads, hashes, TCP states, fragments, ICMP errors,
limits, 1:1 rules. One table serves all instances, each entry with its owner, so what only the
owner may do is plain to see. Packets are UDP, TCP and ICMP echo without options.
"""

from hashmvt.dataplane.memory.plane import MemoryDataplane

__all__ = ["MemoryDataplane"]
