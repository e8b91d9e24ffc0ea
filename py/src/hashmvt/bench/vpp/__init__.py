# SPDX-License-Identifier: Apache-2.0
"""NATs of VPP side by side on equal traffic: what ``hashmvt bench vpp`` runs.

``traffic`` makes the frames, ``process`` runs a VPP, ``nats`` says how each NAT is configured,
``runtime`` reads what VPP counted, ``trial`` measures one NAT in one VPP, ``campaign`` repeats that
in interleaved rounds, and ``summary`` makes medians and ratios of it.

A trial is one life of VPP: two packet-generator interfaces, one worker, frames replayed from
memory. The frames are the same for every NAT; replies are made from what came out, so they meet
the mappings that were really made. Clocks are those that VPP counts for its nodes, and a node
belongs to the NAT when plain routing does not have it.
"""
