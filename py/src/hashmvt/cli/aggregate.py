# SPDX-License-Identifier: Apache-2.0
"""``hashmvt aggregate RULES``: the fewest rules that mean the same."""

from __future__ import annotations

import sys
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, TextIO

import click

from hashmvt.cli import Failed
from hashmvt.cli.output import Json, write_json
from hashmvt.rules import (
    Aggregate,
    Rule,
    RuleSyntaxError,
    TernaryRule,
    aggregate,
    format_rule,
    parse_rules,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


@click.command("aggregate")
@click.argument("rules", type=click.File("r", encoding="utf-8"))
@click.option(
    "--budget",
    type=click.IntRange(min=1),
    metavar="N",
    help="At most N rules; what costs the least handed-over traffic is given up.",
)
@click.option(
    "--ternary", is_flag=True, help="Merge bits too, for targets that match with wildcard masks."
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def command(rules: TextIO, budget: int | None, *, ternary: bool, as_json: bool) -> None:
    """Make the fewest dispatcher rules that mean the same as RULES.

    RULES is a file, or - for standard input, of lines `prefix instance [weight]`; the longest
    prefix wins, # begins a comment. Addresses that no line covers may go to any instance. The
    weight is the traffic of the line; with --budget it decides which rules are given up.

    One `prefix instance` is written per line; with --ternary `address/mask instance`, and there
    the first line that matches wins.
    """
    try:
        given = parse_rules(rules)
    except RuleSyntaxError as error:
        raise click.UsageError(f"{rules.name}: {error}") from None
    except UnicodeDecodeError:
        raise click.UsageError(f"{rules.name} is no text") from None
    if not given:
        raise click.UsageError(f"{rules.name} holds no rule")
    try:
        found = aggregate(given, budget=budget, ternary=ternary)
    except ValueError as error:
        raise Failed(str(error)) from None
    result: Sequence[Rule[str] | TernaryRule[str]] = found.ternary if ternary else found.rules
    if as_json:
        write_json(_json(len(given), found, result))
        return
    sys.stdout.writelines(f"{format_rule(rule)}\n" for rule in result)
    if found.misdirected:
        share = found.misdirected / found.total if found.total else 0.0
        click.echo(
            f"hashmvt: within the budget {share:.2%} of the traffic is handed over", err=True
        )


def _json(
    given: int, found: Aggregate[str], result: Sequence[Rule[str] | TernaryRule[str]]
) -> Json:
    return {
        "given": given,
        "count": len(result),
        "total_weight": found.total,
        "misdirected_weight": found.misdirected,
        "rules": [_rule(rule) for rule in result],
    }


def _rule(rule: Rule[str] | TernaryRule[str]) -> Json:
    address = str(IPv4Address(rule.address))
    if isinstance(rule, TernaryRule):
        return {
            "address": address,
            "mask": str(IPv4Address(rule.mask)),
            "instance": rule.target,
        }
    return {"prefix": f"{address}/{rule.length}", "instance": rule.target}
