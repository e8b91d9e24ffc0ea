# SPDX-License-Identifier: Apache-2.0
"""Names of the core, generated from its X-macros by ``_ffi/generate.py``: do not edit.

A reason, counter or event exists in every layer or in none; the number of each is its place in
the C list. ``text`` is the sentence for people that stands beside it in C.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum


class ErrorCode(IntEnum):
    """Why a control call was refused."""

    INVALID = -1
    """invalid argument"""
    NO_MEMORY = -2
    """out of memory"""
    EXISTS = -3
    """exists already"""
    NOT_FOUND = -4
    """no such entry"""
    FULL = -5
    """table is full"""
    IN_USE = -6
    """in use"""
    NOT_SIBLINGS = -7
    """entries are not siblings with equal values"""
    STALE = -8
    """an older generation than the one in force"""
    AGAIN = -9
    """not finished, call again"""
    UNSUPPORTED = -10
    """not supported"""
    NOT_OWNER = -11
    """belongs to another instance"""
    HUNG = -12
    """an instance hangs"""


class DropReason(Enum):
    """Why a packet was dropped; each is one counter."""

    MALFORMED = (0, "malformed", "IPv4 or L4 header is cut short or inconsistent")
    BAD_CHECKSUM = (1, "bad_checksum", "IPv4 header checksum is wrong (RFC 1812 5.2.2)")
    UNSUPPORTED_PROTOCOL = (2, "unsupported_protocol", "protocol cannot share an address")
    NO_MAPPING = (3, "no_mapping", "to a pool endpoint that has no mapping")
    FILTERED = (4, "filtered", "remote endpoint is not allowed by the filtering behaviour")
    TCP_NOT_SYN = (5, "tcp_not_syn", "first TCP packet of a flow is no SYN")
    OUT_OF_PORTS = (6, "out_of_ports", "no free external port")
    OUT_OF_MAPPINGS = (7, "out_of_mappings", "max_mappings reached")
    OUT_OF_SESSIONS = (8, "out_of_sessions", "session table is full")
    OUT_OF_HOSTS = (9, "out_of_hosts", "host table is full")
    HOST_LIMIT = (10, "host_limit", "mappings_per_host reached")
    BLOCK_LIMIT = (11, "block_limit", "max_blocks_per_host reached")
    RATE_LIMIT = (12, "rate_limit", "new_per_second_per_host reached")
    INDEX_FULL = (13, "index_full", "hash bucket and stash are full")
    ICMP_MALFORMED = (14, "icmp_malformed", "ICMP error whose embedded packet cannot be parsed")
    ICMP_NO_MAPPING = (15, "icmp_no_mapping", "ICMP error about a packet of no mapping")
    ICMP_UNSUPPORTED = (16, "icmp_unsupported", "ICMP type that is neither query nor error")
    FRAGMENT_TIMEOUT = (17, "fragment_timeout", "first fragment did not come in time")
    FRAGMENT_OVERFLOW = (18, "fragment_overflow", "fragment store is full")
    FRAGMENT_INVALID = (19, "fragment_invalid", "tiny first fragment or impossible offset")
    HANDOFF_LOOP = (20, "handoff_loop", "handed over too often")
    HANDOFF_CONGESTION = (21, "handoff_congestion", "ring to another instance is full")
    NO_OWNER = (22, "no_owner", "block or range belongs to no instance")

    def __init__(self, number: int, label: str, text: str) -> None:
        """Take apart the tuple of a member."""
        self.number = number
        self.label = label
        self.text = text


class PassReason(Enum):
    """Why a packet went on untranslated."""

    EXEMPT = (0, "exempt", "destination is exempt from translation")
    NOT_INSIDE = (1, "not_inside", "source is not an inside host")
    NOT_POOL = (2, "not_pool", "destination is not a pool address")

    def __init__(self, number: int, label: str, text: str) -> None:
        """Take apart the tuple of a member."""
        self.number = number
        self.label = label
        self.text = text


class EventType(Enum):
    """What an instance reports."""

    BLOCK_ASSIGNED = (0, "block_assigned", "block assigned")
    BLOCK_RELEASED = (1, "block_released", "block released")
    MAPPING_CREATED = (2, "mapping_created", "mapping created")
    MAPPING_ENDED = (3, "mapping_ended", "mapping ended")
    HOST_LIMIT = (4, "host_limit", "host limit")
    EXHAUSTED = (5, "exhausted", "exhausted")

    def __init__(self, number: int, label: str, text: str) -> None:
        """Take apart the tuple of a member."""
        self.number = number
        self.label = label
        self.text = text


@dataclass(frozen=True, slots=True)
class Counters:
    """What an instance has counted since its start."""

    received_in2out: int = 0
    """Packets given to this instance, from inside."""
    received_out2in: int = 0
    """Packets given to this instance, from outside."""
    translated_in2out: int = 0
    """Packets translated towards the outside."""
    translated_out2in: int = 0
    """Packets translated towards the inside."""
    hairpinned: int = 0
    """Packets that were translated both ways here."""
    handed_over: int = 0
    """Packets given to another instance."""
    handed_in: int = 0
    """Packets received from another instance."""
    fragments_held: int = 0
    """Fragments kept until their first one came."""
    mappings_created: int = 0
    """Mappings made."""
    mappings_expired: int = 0
    """Mappings ended by time."""
    mappings_deleted: int = 0
    """Mappings ended by command."""
    sessions_created: int = 0
    """Further sessions made."""
    sessions_untracked: int = 0
    """Packets let through without a session, table full."""
    sweep_rounds: int = 0
    """Times the sweep has gone round."""
    events_lost: int = 0
    """Events that found the ring full."""


@dataclass(frozen=True, slots=True)
class Gauges:
    """What an instance holds now."""

    mappings: int = 0
    """Live mappings."""
    mappings_udp: int = 0
    """Live UDP mappings."""
    mappings_tcp: int = 0
    """Live TCP mappings."""
    mappings_icmp: int = 0
    """Live ICMP query mappings."""
    sessions: int = 0
    """Further sessions."""
    hosts: int = 0
    """Inside hosts with mappings here."""
    blocks: int = 0
    """Blocks owned."""
    blocks_free: int = 0
    """Blocks free."""
    blocks_open: int = 0
    """Blocks that mappings are allocated from."""
    blocks_closed: int = 0
    """Blocks in use, nothing new."""
    ports_held: int = 0
    """External ports in hold-down."""
    max_mappings: int = 0
    """Limit of mappings, fixed at start."""
    home_version: int = 0
    """Version of the home map last seen by a batch."""
    policy_generation: int = 0
    """Generation of the policy set last seen by a batch."""
    starved_slot: int = 0
    """Slot whose exhaustion was met last, plus 1; 0 none."""
