# SPDX-License-Identifier: Apache-2.0
"""Rules as text, and differences of rule sets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashmvt.rules import (
    Rule,
    RuleSyntaxError,
    TernaryRule,
    diff,
    format_rule,
    parse_rules,
)

prefixes = st.integers(0, 32).flatmap(
    lambda length: st.integers(0, (1 << length) - 1).map(
        lambda bits: (bits << (32 - length), length)
    )
)
rule_sets = st.dictionaries(prefixes, st.sampled_from("abc"), max_size=8).map(
    lambda found: [Rule(a, n, target) for (a, n), target in found.items()]
)


def test_lines_with_comments_weights_and_hosts() -> None:
    text = "# all of it\n10.0.0.0/8 h/0\n\n10.1.2.3 h/1 2.5 # a pin\n"
    assert parse_rules(text.splitlines()) == [
        Rule(10 << 24, 8, "h/0"),
        Rule(0x0A010203, 32, "h/1", 2.5),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("10.0.0.0/8", "write 'prefix instance'"),
        ("10.0.0.0/8 h/0 1 2", "write 'prefix instance'"),
        ("10.0.0.1/8 h/0", "host bits set"),
        ("10.0.0/8 h/0", "no IPv4 prefix"),
        ("10.0.0.0/33 h/0", "no IPv4 prefix"),
        ("10.0.0.0/8 h/0 -1", "weight -1"),
        ("10.0.0.0/8 h/0 nan", "weight nan"),
        ("10.0.0.0/8 h/0 heavy", "weight heavy"),
    ],
)
def test_bad_lines_name_line_and_reason(line: str, reason: str) -> None:
    with pytest.raises(RuleSyntaxError, match=rf"line 2: .*{reason}"):
        parse_rules(["", line])


def test_a_prefix_with_two_targets_is_refused() -> None:
    with pytest.raises(RuleSyntaxError, match=r"line 2: 10\.0\.0\.0/8 goes to h/1 here"):
        parse_rules(["10.0.0.0/8 h/0", "10.0.0.0/8 h/1"])


@given(rule_sets)
def test_text_round_trip(rules: list[Rule[str]]) -> None:
    assert parse_rules(map(format_rule, rules)) == rules


def test_a_ternary_rule_shows_its_mask() -> None:
    assert format_rule(TernaryRule(0x0A000001, 0xFF0000FF, "h/0")) == "10.0.0.1/255.0.0.255 h/0"


@pytest.mark.parametrize("bad", [(1, 31), (0, 33), (-1, 32), (1 << 32, 32)])
def test_impossible_rules_are_refused(bad: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"bits below|not in"):
        Rule(*bad, "a")


@given(rule_sets, rule_sets)
def test_a_difference_leads_from_one_set_to_the_other(
    old: list[Rule[str]], new: list[Rule[str]]
) -> None:
    change = diff(old, new)
    table = {(r.address, r.length): r.target for r in old}
    for rule in (*change.add, *change.change):
        table[rule.address, rule.length] = rule.target
    for rule in change.remove:
        del table[rule.address, rule.length]
    assert table == {(r.address, r.length): r.target for r in new}
    assert bool(change) == (set(old) != set(new))


def test_a_prefix_twice_is_no_rule_set() -> None:
    with pytest.raises(ValueError, match="twice"):
        diff([Rule(0, 0, "a"), Rule(0, 0, "b")], [])
