# SPDX-License-Identifier: Apache-2.0
"""HashMVT: a scalable, stateful NAT44 built on match-value tables.

``model`` and ``policy`` hold values, ``config`` makes them of a file, ``dataplane`` moves packets,
``rules`` makes dispatcher rules, ``control`` runs agents and the coordinator, ``cli`` is what
people type. Each layer imports only those before it.
"""

__version__ = "0.1.0"
