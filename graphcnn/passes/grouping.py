"""The best partition of a graph into groups: of all that its candidates allow, exactly."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count

from graphcnn.analysis import dag
from graphcnn.ir import Graph, Node

Worth = tuple[int, ...]


@dataclass(frozen=True)
class Candidate:
    """Nodes that one kernel can run.

    Attributes:
        steps: The nodes as the group grew, its anchor first.
        worth: What the group is worth beside its nodes alone; compared from left to right, and
            added up over groups.
    """

    steps: tuple[tuple[Node, ...], ...]
    worth: Worth

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """All of them."""
        return tuple(node for step in self.steps for node in step)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Their names; the anchor's first."""
        return tuple(node.name for node in self.nodes)


Groups = tuple[Candidate, ...]


def best_groups(graph: Graph, candidates: Iterable[Candidate]) -> list[Candidate]:
    """The candidates of the partition that is worth most, in graph order.

    No two of them share a node, and none waits for another that waits for it. On a tie it is the
    partition with the candidates that come first. Candidates begin at their first node in graph
    order.
    """
    position = {node.name: index for index, node in enumerate(graph.nodes)}
    parts = _entangled(candidates)
    solved = [_without_circles(graph, part, position) for part in parts]
    while circle := dag.circle(graph, [group.names for groups in solved for group in groups]):
        waiting = [any(g.names[0] in circle for g in groups) for groups in solved]
        merged = [c for part, waits in zip(parts, waiting, strict=True) if waits for c in part]
        parts = [part for part, waits in zip(parts, waiting, strict=True) if not waits]
        solved = [groups for groups, waits in zip(solved, waiting, strict=True) if not waits]
        parts.append(merged)
        solved.append(_without_circles(graph, merged, position))
    chosen = (group for groups in solved for group in groups)
    return sorted(chosen, key=lambda group: position[group.names[0]])


def _entangled(candidates: Iterable[Candidate]) -> list[list[Candidate]]:
    """The candidates in parts that share no node, so that each can be decided for itself."""
    part_of: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        touched = {id(part_of[name]): part_of[name] for name in candidate.names if name in part_of}
        largest = max(touched.values(), key=len, default=[])
        for part in touched.values():
            if part is not largest:
                largest += part
                part_of |= {name: largest for each in part for name in each.names}
        largest.append(candidate)
        part_of |= dict.fromkeys(candidate.names, largest)
    return [*{id(part): part for part in part_of.values()}.values()]


def _without_circles(
    graph: Graph, candidates: Sequence[Candidate], position: Mapping[str, int]
) -> Groups:
    """The best partition in which no groups wait for one another: where some do, each of them is
    given up in turn, and what is best then is looked at next."""
    order, tried = count(), {frozenset[Candidate]()}
    pending: list[tuple[Worth, int, Groups, frozenset[Candidate]]] = []

    def consider(without: frozenset[Candidate]) -> None:
        left = [candidate for candidate in candidates if candidate not in without]
        worth, groups = _partition(left, position)
        loss = tuple(-part for part in worth)
        heapq.heappush(pending, (loss, next(order), groups, without))

    consider(frozenset())
    while True:
        _, _, groups, without = heapq.heappop(pending)
        circle = dag.circle(graph, [group.names for group in groups]) if groups[1:] else ()
        if not circle:
            return groups
        for group in groups:
            fewer = without | {group}
            if group.names[0] in circle and fewer not in tried:
                tried.add(fewer)
                consider(fewer)


def _partition(
    candidates: Sequence[Candidate], position: Mapping[str, int]
) -> tuple[Worth, Groups]:
    """The disjoint candidates that are worth most, at most one of each anchor: dynamic programming
    over the anchors, in the order of the first node for which they have rivals.

    What matters of the choice so far is which nodes it has taken that anchors to come want.
    """
    wanted: dict[str, set[str]] = {}
    of_anchor: dict[str, list[Candidate]] = {}
    for each in candidates:
        of_anchor.setdefault(each.names[0], []).append(each)
        for name in each.names:
            wanted.setdefault(name, set()).add(each.names[0])

    def first_contested(anchor: str) -> int:
        names = {name for each in of_anchor[anchor] for name in each.names}
        return min((position[name] for name in names if len(wanted[name]) > 1), default=-1)

    to_come = sorted(of_anchor, key=first_contested)
    nothing: tuple[Worth, Groups] = ((0,) * len(candidates[0].worth) if candidates else (), ())
    best = {frozenset[str](): nothing}
    while to_come:
        anchor = to_come.pop(0)
        open_names = {name for name, anchors in wanted.items() if not anchors.isdisjoint(to_come)}
        after: dict[frozenset[str], tuple[Worth, Groups]] = {}
        for taken, (worth, groups) in best.items():
            found = [(taken, worth, groups)]
            for each in of_anchor[anchor]:
                if taken.isdisjoint(each.names):
                    more = tuple(map(sum, zip(worth, each.worth, strict=True)))
                    found.append((taken.union(each.names), more, (*groups, each)))
            for state, total, chosen in found:
                left = state & open_names
                if left not in after or total > after[left][0]:
                    after[left] = total, chosen
        best = after
    return best[frozenset()]
