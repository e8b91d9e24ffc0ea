# SPDX-License-Identifier: Apache-2.0
"""Dispatcher rules: match fields in, the smallest rule set with the same meaning out.

Everything in this package is pure: values in, values out, no clock, no I/O.

* :mod:`hashmvt.rules.values`: `Rule`, `TernaryRule` and their text form.
* :mod:`hashmvt.rules.aggregate`: ORTC with don't-care space, soft owners and a rule budget.
* :mod:`hashmvt.rules.ternary`: bit merging for targets that match with wildcard masks.
* :mod:`hashmvt.rules.diff`: what turns one installed rule set into another.
"""

from hashmvt.rules.aggregate import Aggregate, aggregate
from hashmvt.rules.diff import RuleDiff, diff
from hashmvt.rules.ternary import merge_bits
from hashmvt.rules.values import (
    Rule,
    RuleSyntaxError,
    TernaryRule,
    format_rule,
    parse_rules,
)

__all__ = [
    "Aggregate",
    "Rule",
    "RuleDiff",
    "RuleSyntaxError",
    "TernaryRule",
    "aggregate",
    "diff",
    "format_rule",
    "merge_bits",
    "parse_rules",
]
