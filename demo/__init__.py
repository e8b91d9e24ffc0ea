# SPDX-License-Identifier: Apache-2.0
"""What ``make run`` does: real traffic through HashMVT, proved from outside.

``live`` puts the NAT between client and server network namespaces and lets the kernel's own TCP,
UDP and ICMP cross it while the coordinator adds an instance. ``offline`` does the same on a capture
where there are no rights for that. Both end in the same independent judgement (``verify``), which
knows nothing of the NAT but the packets on its two sides.
"""
