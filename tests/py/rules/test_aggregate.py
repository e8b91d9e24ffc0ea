# SPDX-License-Identifier: Apache-2.0
"""Aggregation against definitions: equal answers, and no smaller rule set exists."""

from __future__ import annotations

import itertools
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashmvt.rules import Rule, TernaryRule, aggregate, merge_bits

BITS = 6  # the top bits that the tests play with; below them every address behaves alike
ATOMS = [i << (32 - BITS) for i in range(1 << BITS)]


def rule(text: str, target: str, weight: float = 0.0) -> Rule[str]:
    """A rule from its leading bits."""
    return Rule(int(text or "0", 2) << (32 - len(text)), len(text), target, weight)


def longest(rules: list[Rule[str]] | tuple[Rule[str], ...], address: int) -> str | None:
    """What longest prefix match says."""
    hits = [r for r in rules if r.matches(address)]
    best = max(hits, key=lambda r: r.length, default=None)
    return best.target if best else None


def meaning(rules: list[Rule[str]], soft: list[Rule[str]], address: int) -> str | None:
    """What an address must get; None: free."""
    return longest(rules, address) or longest(soft, address)


@st.composite
def rule_sets(draw: st.DrawFn, bits: int = BITS, targets: str = "abc") -> list[Rule[str]]:
    """Some rules within the top bits, each prefix once."""
    keys = draw(st.sets(st.text("01", max_size=bits), max_size=12))
    return [
        rule(key, draw(st.sampled_from(targets)), draw(st.integers(0, 9))) for key in sorted(keys)
    ]


def fewest(wanted: dict[int, str | None], bits: int, *, exact: bool) -> int:
    """The size of a smallest rule set, by plain recursion over prefix and inherited target."""
    targets: list[str | None] = [None, *sorted({t for t in wanted.values() if t})]

    def cost(prefix: int, length: int, inherited: str | None) -> float:
        best = float("inf")
        for target in targets:
            if target is None and inherited is not None:
                continue
            chosen = inherited if target is None else target
            price = 0 if chosen == inherited else 1
            if length == bits:
                want = wanted[prefix]
                fits = chosen == want if want or exact else True
                best = min(best, price if fits else float("inf"))
            else:
                best = min(
                    best,
                    price
                    + cost(prefix << 1, length + 1, chosen)
                    + cost(prefix << 1 | 1, length + 1, chosen),
                )
        return best

    return round(cost(0, 0, None))


@given(rule_sets(), rule_sets())
def test_covered_addresses_keep_their_target(rules: list[Rule[str]], soft: list[Rule[str]]) -> None:
    found = aggregate(rules, soft=soft)
    assert found.misdirected == 0
    for address in ATOMS:
        want = meaning(rules, soft, address)
        if want is not None:
            assert longest(found.rules, address) == want


@given(rule_sets(), rule_sets())
def test_exact_covers_nothing_more(rules: list[Rule[str]], soft: list[Rule[str]]) -> None:
    found = aggregate(rules, soft=soft, uncovered="exact")
    for address in ATOMS:
        assert longest(found.rules, address) == meaning(rules, soft, address)


@settings(deadline=None, max_examples=60)
@given(rule_sets(bits=4), rule_sets(bits=4), st.booleans())
def test_no_smaller_rule_set_exists(
    rules: list[Rule[str]],
    soft: list[Rule[str]],
    exact: bool,
) -> None:
    wanted = {i: meaning(rules, soft, i << 28) for i in range(16)}
    found = aggregate(rules, soft=soft, uncovered="exact" if exact else "free")
    assert len(found.rules) == fewest(wanted, 4, exact=exact)


@settings(deadline=None, max_examples=25)
@given(rule_sets(bits=2, targets="ab"))
def test_minimum_by_trying_every_rule_set(rules: list[Rule[str]]) -> None:
    """The recursion above is itself checked: all sets of prefixes of two bits, by size."""
    wanted = {i: meaning(rules, [], i << 30) for i in range(4)}
    prefixes = ["", "0", "1", "00", "01", "10", "11"]
    size = next(
        size
        for size in range(8)
        for chosen in itertools.combinations(prefixes, size)
        for targets in itertools.product("ab", repeat=size)
        if all(
            longest([rule(p, t) for p, t in zip(chosen, targets, strict=True)], i << 30) == want
            for i, want in wanted.items()
            if want is not None
        )
    )
    assert len(aggregate(rules).rules) == size == fewest(wanted, 2, exact=False)


@given(rule_sets(), st.randoms(use_true_random=False))
def test_order_of_the_input_does_not_matter(rules: list[Rule[str]], random_: random.Random) -> None:
    mixed = rules[:]
    random_.shuffle(mixed)
    assert aggregate(mixed) == aggregate(rules)


@given(rule_sets(), rule_sets(), st.integers(1, 5))
def test_budget_holds_and_the_loss_is_what_it_says(
    rules: list[Rule[str]], soft: list[Rule[str]], budget: int
) -> None:
    best = aggregate(rules, soft=soft)
    found = aggregate(rules, soft=soft, budget=budget)
    assert len(found.rules) <= budget
    if len(best.rules) <= budget:
        assert found == best
    loss = sum(
        weight
        for address, weight in atom_weights(rules, soft).items()
        if longest(found.rules, address) != meaning(rules, soft, address)
    )
    assert found.misdirected == pytest.approx(loss)


def atom_weights(rules: list[Rule[str]], soft: list[Rule[str]]) -> dict[int, float]:
    """A rule's weight spread evenly over the addresses that it alone decides."""
    decided: dict[int, Rule[str]] = {}
    for address in ATOMS:
        for layer in (rules, soft):
            hits = [r for r in layer if r.matches(address)]
            if hits:
                decided[address] = max(hits, key=lambda r: r.length)
                break
    everything = [*rules, *soft]
    if not any(r.weight for r in everything):
        return dict.fromkeys(decided, float(1 << (32 - BITS)))
    counts = [sum(1 for r in decided.values() if r is one) for one in everything]
    share = {id(r): r.weight / n for r, n in zip(everything, counts, strict=True) if n}
    return {address: share[id(r)] for address, r in decided.items()}


def first_match(rules: tuple[TernaryRule[str], ...], address: int) -> str | None:
    """What an ordered table says."""
    return next((r.target for r in rules if r.matches(address)), None)


@given(rule_sets())
def test_ternary_rules_mean_the_same_and_are_no_more(rules: list[Rule[str]]) -> None:
    merged = merge_bits(rules)
    assert len(merged) <= len(rules)
    for address in ATOMS:
        assert first_match(merged, address) == longest(rules, address)


@given(rule_sets(), st.integers(1, 4))
def test_ternary_within_a_budget(rules: list[Rule[str]], budget: int) -> None:
    found = aggregate(rules, ternary=True, budget=budget)
    assert len(found.ternary) <= budget
    if len(merge_bits(aggregate(rules).rules)) <= budget:
        assert found.misdirected == 0


def test_ternary_finds_wild_bits_in_the_middle() -> None:
    rules = [rule("0001", "a"), rule("0101", "a"), rule("1001", "a"), rule("1101", "a")]
    (only,) = merge_bits(rules)
    assert (only.address, only.mask) == (0x10000000, 0x30000000)


def test_siblings_become_their_parent_and_nothing_wider() -> None:
    found = aggregate([rule("00001010" + "0", "a"), rule("00001010" + "1", "a")])
    assert [(r.address, r.length, r.target) for r in found.rules] == [(10 << 24, 8, "a")]


def test_soft_owner_is_not_swallowed_by_a_wide_rule() -> None:
    """Pins at A inside a moved range: without soft owners one rule to A would undo the move."""
    pins = [rule("0000", "a", 1), rule("0101", "a", 1), rule("1111", "a", 1)]
    assert [r.target for r in aggregate(pins).rules] == ["a"]
    moved = aggregate(pins, soft=[rule("", "b", 100)])
    assert longest(moved.rules, 0x80000000) == "b"
    assert len(moved.rules) == 4


def test_budget_gives_up_pins_before_the_moved_range() -> None:
    pins = [rule(format(i, "04b"), "a", 1) for i in range(0, 16, 4)]
    found = aggregate(pins, soft=[rule("", "b", 100)], budget=1)
    assert [r.target for r in found.rules] == ["b"]
    assert found.misdirected == 4


def test_budget_keeps_the_heavier_owner() -> None:
    rules = [rule("", "a", 1), rule("01", "b", 50), rule("1100", "c", 5)]
    found = aggregate(rules, budget=2)
    assert {r.target for r in found.rules} == {"b", "c"}
    assert found.misdirected == 1


def test_targets_count_in_natural_order() -> None:
    """A tie goes to the first target: here either could be the wide rule."""
    found = aggregate(
        [rule("00", "h/10"), rule("01", "h/2"), rule("10", "h/10"), rule("11", "h/2")]
    )
    assert len(found.rules) == 3
    assert min(found.rules, key=lambda r: r.length).target == "h/2"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"budget": 0}, "at least 1"),
        ({"budget": 3, "uncovered": "exact"}, "uncovered addresses to be free"),
    ],
)
def test_refusals(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        aggregate([rule("0", "a")], **arguments)  # type: ignore[arg-type]


def test_two_targets_for_one_prefix_are_refused() -> None:
    with pytest.raises(ValueError, match="goes to a and to b"):
        aggregate([rule("01", "a"), rule("01", "b")])


def test_equal_rules_add_their_weights() -> None:
    found = aggregate([rule("01", "a", 2), rule("01", "a", 3)])
    assert found.total == 5


def test_nothing_in_nothing_out() -> None:
    assert aggregate([]).rules == ()


@pytest.mark.timeout(60)
def test_a_hundred_thousand_rules_take_seconds() -> None:
    """Scattered host pins inside a moved range, the hardest case for a trie: no sharing."""
    random_ = random.Random(7)  # noqa: S311
    hosts = random_.sample(range(10 << 24, 11 << 24), 100_000)
    rules = [Rule(host, 32, f"h/{host & 7}", 1.0) for host in hosts]
    soft = [Rule(10 << 24, 8, "h/9", 1000.0)]
    started = time.process_time()
    found = aggregate(rules, soft=soft, budget=9325)
    assert time.process_time() - started < 20
    assert len(found.rules) <= 9325
    assert found.misdirected < found.total - 9325
