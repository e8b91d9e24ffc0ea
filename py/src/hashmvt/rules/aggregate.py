# SPDX-License-Identifier: Apache-2.0
"""Prefix rules in, the smallest rule set with the same meaning out.

*Meaning.* For every address that an input rule covers, the output names the target of the longest
input rule that covers it. Addresses that none covers are don't-care by default: the output may
send them anywhere, which is what makes rule sets small, because nobody owns them. With
``uncovered="exact"`` the output does not cover them either.

*Soft owners.* Inside a range that moved, an unmapped address is not free: its next flow belongs to
the new owner. Such ranges are given as ``soft`` rules: they hold where no rule covers, so one wide
rule to the old owner cannot swallow the move. Only a rule budget gives them up, by their weight
(expected new flows) like any other rule.

*Method.* ORTC (Draves et al., 1999) on a path-compressed trie, iteratively, in O(n) after sorting:
bottom up, each node gets the set of targets that make its subtree cheapest; top down, a rule is
written where the inherited target is not in the set. A don't-care leaf has the set of all targets.
The result is a minimum over all prefix rule sets with that meaning. Written rules are then drawn
in to the smallest prefix that covers what relies on them.

*Budget.* A wrong rule costs a hand-off and never a packet, so over budget the rules go whose loss
of weight is least: the rule's own traffic that its parent rule would misdirect. Without any weight
in the input, every address weighs the same.
"""

from __future__ import annotations

import heapq
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from hashmvt.rules.ternary import merge_bits
from hashmvt.rules.values import WIDTH, Rule, TernaryRule, mask_of

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

T = TypeVar("T", bound="Hashable")

_ABSENT = -1  # no child, no rule, no parent
_FREE = -1  # label of space that may go anywhere


@dataclass(frozen=True, slots=True)
class Aggregate(Generic[T]):
    """What `aggregate` found."""

    rules: tuple[Rule[T], ...]
    """Prefix rules by address; the longest that matches wins."""
    total: float
    """Weight of all input rules (of all covered addresses, where the input has no weights)."""
    misdirected: float
    """The part of `total` that the rules send to a target that hands it over; 0 within budget."""
    ternary: tuple[TernaryRule[T], ...] = ()
    """The same rules with their bits merged, where asked for: the first that matches wins."""


def aggregate(
    rules: Iterable[Rule[T]],
    *,
    soft: Iterable[Rule[T]] = (),
    budget: int | None = None,
    ternary: bool = False,
    uncovered: Literal["free", "exact"] = "free",
) -> Aggregate[T]:
    """Aggregate `rules`; see the module's text for what is kept and what is free.

    The result does not depend on the order of the input. One prefix may be given several times
    with the same target; the weights are added.

    Raises:
        ValueError: one prefix goes to two targets; the budget is below 1; a budget together with
            ``uncovered="exact"``, where giving up a rule would leave traffic without any.
    """
    if budget is not None and budget < 1:
        raise ValueError(f"a budget of {budget} rules cannot work: it must be at least 1")
    if budget is not None and uncovered == "exact":
        raise ValueError("a rule budget needs uncovered addresses to be free")
    care, soft_rules = _unique(rules), _unique(soft)
    if not care and not soft_rules:
        return Aggregate((), 0.0, 0.0)
    if not any(rule.weight for rule in (*care, *soft_rules)):
        care, soft_rules = _weigh_by_size(care, soft_rules)
    trie: _Trie[T] = _Trie(care, soft_rules, exact=uncovered == "exact")
    best = trie.minimum()
    if not ternary:
        if budget is not None:
            best.give_up(budget)
        return Aggregate(best.prefix_rules(trie.targets), best.total, best.misdirected())
    prefixes = best.prefix_rules(trie.targets)
    merged = merge_bits(prefixes)
    if budget is None or len(merged) <= budget:
        return Aggregate(prefixes, best.total, best.misdirected(), merged)
    return _ternary_within(trie, budget)


def _ternary_within(trie: _Trie[T], budget: int) -> Aggregate[T]:
    """Give up as few prefix rules as leave at most `budget` rules after merging bits."""
    low, high = budget, len(trie.minimum().out)  # low always fits: merging never adds a rule
    found: Aggregate[T] | None = None
    while found is None or low < high:
        middle = low if found is None else (low + high + 1) // 2
        forest = trie.minimum()
        forest.give_up(middle)
        prefixes = forest.prefix_rules(trie.targets)
        merged = merge_bits(prefixes)
        if len(merged) <= budget:
            found = Aggregate(prefixes, forest.total, forest.misdirected(), merged)
            low = middle
        else:
            high = middle - 1
    return found


def _unique(rules: Iterable[Rule[T]]) -> list[Rule[T]]:
    """Rules by address and length, each prefix once."""
    seen: dict[tuple[int, int], Rule[T]] = {}
    for rule in rules:
        key = (rule.address, rule.length)
        other = seen.setdefault(key, rule)
        if other is rule:
            continue
        if other.target != rule.target:
            raise ValueError(
                f"{rule.address:#010x}/{rule.length} goes to {other.target} and to {rule.target}"
            )
        seen[key] = replace(other, weight=other.weight + rule.weight)
    return [seen[key] for key in sorted(seen)]


def _weigh_by_size(
    care: Sequence[Rule[T]], soft: Sequence[Rule[T]]
) -> tuple[list[Rule[T]], list[Rule[T]]]:
    """Every address weighs 1: a rule weighs as much as the addresses that it alone decides."""
    trie: _Trie[T] = _Trie(care, soft, exact=False)
    sizes = trie.exclusive
    return (
        [replace(rule, weight=float(sizes[i])) for i, rule in enumerate(care)],
        [replace(rule, weight=float(sizes[len(care) + i])) for i, rule in enumerate(soft)],
    )


def _natural(target: object) -> tuple[str, ...]:
    """Sort key: text, with numbers in it by value, so that h/2 comes before h/10."""
    return tuple(
        part.zfill(20) if part.isdigit() else part for part in re.split(r"(\d+)", str(target))
    )


class _Trie(Generic[T]):
    """The path-compressed trie of all prefixes, as parallel lists.

    A *slot* is one half of a node's prefix. Where it holds a child, the levels between node and
    child are skipped; each skipped level has one *side leaf*, space of the node's own label. Where
    it holds none, the whole half is such a leaf.
    """

    def __init__(self, care: Sequence[Rule[T]], soft: Sequence[Rule[T]], *, exact: bool) -> None:
        self.targets: list[T] = sorted({r.target for r in (*care, *soft)}, key=_natural)
        self._index = {target: i for i, target in enumerate(self.targets)}
        self._null = len(self.targets)  # the "no rule" target
        self._exact = exact
        self._weights = [rule.weight for rule in (*care, *soft)]
        self._owner_target = [self._index[rule.target] for rule in (*care, *soft)]
        self._build(care, soft)
        self._order()
        self._label()
        self._sets: list[int] = []

    # ---- building ----

    def _build(self, care: Sequence[Rule[T]], soft: Sequence[Rule[T]]) -> None:
        entries: dict[tuple[int, int], tuple[int, int]] = {}
        for i, rule in enumerate(care):
            entries[rule.address, rule.length] = (i, _ABSENT)
        for i, rule in enumerate(soft, len(care)):
            key = (rule.address, rule.length)
            entries[key] = (entries.get(key, (_ABSENT, _ABSENT))[0], i)
        self._addr: list[int] = []
        self._len: list[int] = []
        self._low: list[int] = []
        self._high: list[int] = []
        self._care: list[int] = []  # index of the rule that stands here
        self._soft: list[int] = []
        self._root = _ABSENT
        path: list[int] = []  # from the root to the node added last
        for (address, length), (care_rule, soft_rule) in sorted(entries.items()):
            node = self._add(address, length, care_rule, soft_rule)
            self._attach(path, node)
            path.append(node)

    def _add(self, address: int, length: int, care: int, soft: int) -> int:
        self._addr.append(address)
        self._len.append(length)
        self._low.append(_ABSENT)
        self._high.append(_ABSENT)
        self._care.append(care)
        self._soft.append(soft)
        return len(self._addr) - 1

    def _attach(self, path: list[int], node: int) -> None:
        """Hang `node`, which sorts after everything so far, into the trie; trims `path`."""
        if not path:
            self._root = node
            return
        address = self._addr[node]
        top = path[-1]
        differ = (self._addr[top] ^ address).bit_length()
        common = min(self._len[top], self._len[node], WIDTH - differ)
        below = _ABSENT
        while path and self._len[path[-1]] > common:
            below = path.pop()
        if path and self._len[path[-1]] == common:
            self._set_child(path[-1], node)
            return
        fork = self._add(address & mask_of(common), common, _ABSENT, _ABSENT)
        if path:
            self._set_child(path[-1], fork)
        else:
            self._root = fork
        self._set_child(fork, below)
        self._set_child(fork, node)
        path.append(fork)

    def _set_child(self, parent: int, child: int) -> None:
        if self._addr[child] >> (WIDTH - 1 - self._len[parent]) & 1:
            self._high[parent] = child
        else:
            self._low[parent] = child

    def _order(self) -> None:
        """Preorder: parents before children; read backwards, children before parents."""
        self._preorder: list[int] = []
        stack = [self._root]
        while stack:
            node = stack.pop()
            self._preorder.append(node)
            halves = (self._high[node], self._low[node])
            stack.extend(child for child in halves if child != _ABSENT)

    def _label(self) -> None:
        """Which rule decides the space that is a node's own, and how much space that is."""
        count = len(self._addr)
        care_in, soft_in = self._care[:], self._soft[:]
        self._owner = [_ABSENT] * count
        self._own_size = [0] * count
        self.exclusive = [0] * len(self._weights)
        for node in self._preorder:
            own = 1 << (WIDTH - self._len[node])
            for child in (self._low[node], self._high[node]):
                if child != _ABSENT:
                    own -= 1 << (WIDTH - self._len[child])
                    if care_in[child] == _ABSENT:
                        care_in[child] = care_in[node]
                    if soft_in[child] == _ABSENT:
                        soft_in[child] = soft_in[node]
            owner = care_in[node] if care_in[node] != _ABSENT else soft_in[node]
            self._owner[node] = owner
            if owner != _ABSENT:
                self.exclusive[owner] += own

    # ---- the minimum ----

    def _label_of(self, node: int) -> int:
        owner = self._owner[node]
        if owner != _ABSENT:
            return self._owner_target[owner]
        return self._null if self._exact else _FREE

    def _up(self) -> None:
        """For each node, the targets that make its subtree cheapest, as a bit set."""
        null_bit = 1 << self._null
        everything = (null_bit << 1) - 1
        self._sets = sets = [0] * len(self._addr)
        for node in reversed(self._preorder):
            label = self._label_of(node)
            leaf = everything if label == _FREE else 1 << label
            halves = []
            for child in (self._low[node], self._high[node]):
                if child == _ABSENT:
                    halves.append(leaf)
                else:
                    skipped = self._len[child] - self._len[node] - 1
                    halves.append(self._over_edge(sets[child], skipped, leaf))
            sets[node] = self._join(halves[0], halves[1])

    def _join(self, one: int, other: int) -> int:
        null_bit = 1 << self._null
        if null_bit in (one, other):  # part of it must stay without a rule: no rule over both
            return null_bit
        return one & other or one | other

    def _over_edge(self, below: int, skipped: int, leaf: int) -> int:
        """The set at the top of an edge: two joins with the same leaf and more change nothing."""
        for _ in range(min(skipped, 2)):
            below = self._join(below, leaf)
        return below

    def minimum(self) -> _Forest:
        """The smallest rule set, as a new forest of rules."""
        if not self._sets:
            self._up()
        forest = _Forest(null=self._null)
        density = [
            weight / size if size else 0.0
            for weight, size in zip(self._weights, self.exclusive, strict=True)
        ]
        in_force = [_ABSENT] * len(self._addr)  # the rule that a node inherits
        for node in self._preorder:
            rule = forest.ensure(in_force[node], self._sets[node])
            owner = self._owner[node]
            label = self._label_of(node)
            weight = density[owner] if owner != _ABSENT else 0.0
            half = 1 << (WIDTH - 1 - self._len[node]) if self._len[node] < WIDTH else 1
            for side, child in enumerate((self._low[node], self._high[node])):
                start = self._addr[node] + side * half
                if child == _ABSENT:
                    if self._len[node] == WIDTH and side:
                        break
                    if owner != _ABSENT:
                        leaf_rule = forest.ensure(rule, 1 << label)
                        forest.rely(leaf_rule, start, start + half - 1, label, weight * half)
                    continue
                in_force[child] = self._edge(forest, rule, node=node, child=child, density=weight)
        return forest

    def _edge(self, forest: _Forest, rule: int, *, node: int, child: int, density: float) -> int:
        """Write what the side leaves between node and child need; the rule that child inherits."""
        skipped = self._len[child] - self._len[node] - 1
        if skipped == 0 or self._owner[node] == _ABSENT:
            return rule
        label = self._label_of(node)
        leaf = 1 << label
        rule = forest.ensure(rule, self._over_edge(self._sets[child], skipped, leaf))
        # From two levels on the top's set is the label alone, so this writes nothing more; with
        # one level it is the side leaf's own rule.
        side_rule = forest.ensure(rule, leaf)
        size = 1 << (WIDTH - 1 - self._len[node])
        child_size = 1 << (WIDTH - self._len[child])
        child_start = self._addr[child]
        start = child_start & mask_of(self._len[node] + 1)
        end = start + size - 1
        child_end = child_start + child_size - 1
        first = start if child_start > start else child_end + 1
        last = end if child_end < end else child_start - 1
        forest.rely(side_rule, first, last, label, density * (size - child_size))
        return rule


class _Forest:
    """Written rules as a tree: a rule's parent takes over when it is given up.

    `spread[r]` says how much weight of each true target relies on rule r; `first` and `last` span
    the addresses that do.
    """

    def __init__(self, *, null: int) -> None:
        self._null = null
        self.out: list[int] = []
        self._parent: list[int] = []
        self._first: list[int] = []
        self._last: list[int] = []
        self._spread: list[dict[int, float]] = []
        self._alive: list[bool] = []

    def ensure(self, rule: int, allowed: int) -> int:
        """`rule` if its target is in the set, else a new one below it."""
        target = self.out[rule] if rule != _ABSENT else self._null
        if allowed >> target & 1:
            return rule
        self.out.append((allowed & -allowed).bit_length() - 1)
        self._parent.append(rule)
        self._first.append(1 << WIDTH)
        self._last.append(-1)
        self._spread.append({})
        self._alive.append(True)
        return len(self.out) - 1

    def rely(self, rule: int, first: int, last: int, target: int, weight: float) -> None:
        """Addresses between first and last of this true target rely on the rule."""
        self._first[rule] = min(self._first[rule], first)
        self._last[rule] = max(self._last[rule], last)
        spread = self._spread[rule]
        spread[target] = spread.get(target, 0.0) + weight

    @property
    def total(self) -> float:
        """The weight of everything."""
        return sum(sum(spread.values()) for spread in self._spread)

    def misdirected(self) -> float:
        """The weight that meets a rule of another target."""
        return sum(
            weight
            for rule, spread in enumerate(self._spread)
            if self._alive[rule]
            for target, weight in spread.items()
            if target != self.out[rule]
        )

    def give_up(self, budget: int) -> None:
        """Drop the rules whose loss is least until `budget` are left, then improve once."""
        count = sum(self._alive)
        if count <= budget:
            return
        children: list[list[int]] = [[] for _ in self.out]
        for rule, parent in enumerate(self._parent):
            if parent != _ABSENT:
                children[parent].append(rule)
        heap = [(self._loss(rule), -rule) for rule, p in enumerate(self._parent) if p != _ABSENT]
        heapq.heapify(heap)
        while count > budget and heap:
            loss, negated = heapq.heappop(heap)
            rule = -negated
            if not self._alive[rule]:
                continue
            now = self._loss(rule)
            if now > loss:
                heapq.heappush(heap, (now, negated))
                continue
            # A drop changes the loss of its parent and children only; where one falls, a new
            # entry overtakes the old one.
            parent, moved = self._parent[rule], children[rule]
            self._drop(rule, children)
            count -= 1
            for near in (parent, *moved):
                if self._parent[near] != _ABSENT:
                    heapq.heappush(heap, (self._loss(near), -near))
        self._improve(children)

    def _loss(self, rule: int) -> float:
        spread = self._spread[rule]
        parent = self._parent[rule]
        return spread.get(self.out[rule], 0.0) - spread.get(self.out[parent], 0.0)

    def _drop(self, rule: int, children: list[list[int]]) -> None:
        parent = self._parent[rule]
        self._alive[rule] = False
        for child in children[rule]:
            self._parent[child] = parent
        children[parent].extend(children[rule])
        children[rule] = []
        if self._first[rule] <= self._last[rule]:
            self._first[parent] = min(self._first[parent], self._first[rule])
            self._last[parent] = max(self._last[parent], self._last[rule])
        into = self._spread[parent]
        for target, weight in self._spread[rule].items():
            into[target] = into.get(target, 0.0) + weight
        self._spread[rule] = {}

    def _improve(self, children: list[list[int]]) -> None:
        """Point each kept rule at the owner of most of its traffic; drop what that makes equal."""
        for rule in range(len(self.out)):  # parents come before their children
            if not self._alive[rule]:
                continue
            spread = self._spread[rule]
            best = max(spread, key=lambda target: (spread[target], -target), default=None)
            if best is not None and spread[best] > spread.get(self.out[rule], 0.0):
                self.out[rule] = best
            parent = self._parent[rule]
            if parent != _ABSENT and self.out[rule] == self.out[parent]:
                self._drop(rule, children)

    def prefix_rules(self, targets: Sequence[T]) -> tuple[Rule[T], ...]:
        """The rules by address, each drawn in to what relies on it.

        Drawing in changes no answer: what relies on a rule lies outside the rules below it and
        inside it, so rules keep their nesting.
        """
        found = []
        for rule, target in enumerate(self.out):
            first, last = self._first[rule], self._last[rule]
            if not self._alive[rule] or first > last:
                continue
            length = WIDTH - (first ^ last).bit_length()
            weight = sum(self._spread[rule].values())
            found.append(Rule(first & mask_of(length), length, targets[target], weight))
        return tuple(sorted(found, key=lambda rule: (rule.address, rule.length)))
