# SPDX-License-Identifier: Apache-2.0
"""Policies of a configuration, and that no reload moves a pool address to another slot."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from hypothesis import given
from hypothesis import strategies as st

from hashmvt.config import AddressRange, Limits, Nat44Config, PolicyConfig
from hashmvt.config.plan import drained_slots, plan_policy, slot_table
from hashmvt.model import Block
from hashmvt.policy import InsidePolicy, PerProto, PolicySet, PoolRun, Timeouts

INSIDE = IPv4Network("10.0.0.0/8")
BASE = int(IPv4Address("198.51.100.0"))


def single(offset: int) -> AddressRange:
    return AddressRange(IPv4Address(BASE + offset), IPv4Address(BASE + offset))


def config(*offsets: int) -> Nat44Config:
    return Nat44Config(PolicyConfig((INSIDE,), tuple(single(o) for o in offsets)))


def block(offset: int) -> Block:
    return Block(IPv4Address(BASE + offset), 1024, 64, 0, in_use_udp=1)


def test_a_first_plan_numbers_from_zero() -> None:
    policy = plan_policy(config(0, 1, 2, 8), generation=7)
    assert policy.generation == 7
    assert policy.runs == (
        PoolRun(IPv4Address(BASE), 3, 0),
        PoolRun(IPv4Address(BASE + 8), 1, 3),
    )
    assert policy.policies[0].slots == (0, 1, 2, 3)
    assert policy.inside == (InsidePolicy(INSIDE, 0),)


def test_addresses_keep_their_slots_and_vanished_ones_drain() -> None:
    first = plan_policy(config(0, 1, 2), generation=1)
    second = plan_policy(config(1, 2, 3), generation=2, previous=first)
    assert slot_table(second) == {
        IPv4Address(BASE + 1): 1,
        IPv4Address(BASE + 2): 2,
        IPv4Address(BASE + 3): 3,
        IPv4Address(BASE): 0,
    }
    assert [run.first for run in second.runs if run.draining] == [IPv4Address(BASE)]
    assert second.policies[0].slots == (1, 2, 3)
    assert drained_slots(second, [block(0)]) == frozenset()
    assert drained_slots(second, [block(1)]) == {0}
    third = plan_policy(
        config(1, 2, 3, 4), generation=3, previous=second, empty=drained_slots(second, [])
    )
    assert slot_table(third)[IPv4Address(BASE + 4)] == 4  # slot 0 has a rest of one plan
    assert not any(run.draining for run in third.runs)
    fourth = plan_policy(config(1, 2, 3, 4, 5), generation=4, previous=third)
    assert slot_table(fourth)[IPv4Address(BASE + 5)] == 0


def test_an_address_that_comes_back_gets_its_slot() -> None:
    first = plan_policy(config(5, 6), generation=1)
    second = plan_policy(config(6), generation=2, previous=first)
    third = plan_policy(config(6, 5), generation=3, previous=second)
    assert slot_table(third) == slot_table(first)
    assert not any(run.draining for run in third.runs)


@given(
    st.lists(
        st.tuples(
            st.sets(st.integers(0, 12), min_size=1),
            st.sets(st.integers(0, 12)),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_slots_are_stable_over_any_reloads(
    steps: list[tuple[set[int], set[int]]],
) -> None:
    """Configure any pool after any other, with any addresses still in use."""
    policy: PolicySet | None = None
    for generation, (pool, used) in enumerate(steps, 1):
        empty = drained_slots(policy, [block(o) for o in used]) if policy else frozenset()
        after = plan_policy(
            config(*sorted(pool)), generation=generation, previous=policy, empty=empty
        )
        table = slot_table(after)
        assert len(set(table.values())) == len(table)
        active = {
            a
            for run in after.runs
            if not run.draining
            for a in range(int(run.first), int(run.first) + run.count)
        }
        assert active == {BASE + o for o in pool}
        assert len(after.policies[0].slots) == len(pool)
        if policy:
            for address, slot in slot_table(policy).items():
                # what was there stays where it was, unless it was known to be empty
                if slot in empty and int(address) not in active:
                    assert address not in table
                else:
                    assert table[address] == slot
        policy = after


def test_policies_have_their_own_pools_and_prefixes() -> None:
    special = IPv4Network("10.9.0.0/16")
    nat44 = Nat44Config(
        PolicyConfig((INSIDE, special), (single(0), single(1))),
        policies=(
            PolicyConfig(
                (special,),
                (single(1), single(9)),
                limits=Limits(PerProto(udp=5), 9, 2),
                timeouts=Timeouts(udp=150),
                fallback=False,
                max_blocks_per_host=3,
            ),
        ),
    )
    policy = plan_policy(nat44, generation=1)
    assert policy.inside == (InsidePolicy(INSIDE, 0), InsidePolicy(special, 1))
    default, other = policy.policies
    assert default.slots == (0, 1)
    assert other.slots == (1, 2)
    assert other.timeouts.udp == 150
    assert other.paired_only
    assert (other.mappings_per_host, other.mappings_per_host_all) == (PerProto(udp=5), 9)
    assert (other.new_per_second_per_host, other.max_blocks_per_host) == (2, 3)
