"""Local rules, and applying them to a graph until none matches."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from graphcnn.ir import CompileLog, Graph, Node, Param, Refusal, inline

# What becomes of a name: another node in its place, a param, or another value that does its work
# and that its readers read from now on.
Change = Node | Param | str


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A match: what it does, in words, and what becomes of the names it touches."""

    what: str
    changes: Mapping[str, Change]


# Looks at one node of a graph; guards come first, and a guard that stops a near match says why.
Rule = Callable[[Node, Graph], Rewrite | Refusal | None]


def apply_rules(graph: Graph, rules: tuple[Rule, ...], log: CompileLog, name: str) -> Graph:
    """Apply rules to every node until none matches.

    Matches found in one sweep are applied together, unless they touch the same names. Refusals are
    recorded from the last sweep only: a rule that first declined may have matched later.
    """
    while True:
        log.names.update(inline(graph).names)
        changes: dict[str, Change] = {}
        refusals: list[Refusal] = []
        for node in graph.nodes:
            for rule in rules:
                found = rule(node, graph)
                if isinstance(found, Refusal):
                    refusals.append(found)
                elif found and not found.changes.keys() & changes.keys():
                    log.did(name, node.name, found.what)
                    changes.update(found.changes)
                    break
        if not changes:
            for refusal in refusals:
                log.refuse(refusal)
            return graph
        graph = substitute(graph, changes, log)


def substitute(graph: Graph, changes: Mapping[str, Change], log: CompileLog) -> Graph:
    """The graph with some names changed; what does the work of absorbed ones is logged."""
    log.absorbed.update({n: change for n, change in changes.items() if isinstance(change, str)})
    params = dict(graph.param_by_name)
    params.update({name: change for name, change in changes.items() if isinstance(change, Param)})
    changed = (changes.get(node.name, node) for node in graph.nodes)
    nodes = tuple(
        replace(node, inputs=tuple(map(log.survivor, node.inputs)))
        for node in changed
        if isinstance(node, Node)
    )
    outputs = tuple(map(log.survivor, graph.outputs))
    return graph.replace(params=tuple(params.values()), nodes=nodes, outputs=outputs)


def new_name(wanted: str, taken: Collection[str]) -> str:
    """A name for a new value: `wanted`, or with a number behind it when that is taken."""
    name, count = wanted, 1
    while name in taken:
        count += 1
        name = f"{wanted}.{count}"
    return name
