"""Questions about paths, answered by networkx and forgotten: the only file that imports it.

Every function builds a throw-away view keyed by node name, answers one question and returns plain
Python in graph order. A graph stores no networkx object: a DiGraph has one edge for `add(x, x)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphcnn.ir import Graph

Groups = Sequence[Sequence[str]]


def obstacles(graph: Graph, group: Sequence[str], others: Groups = ()) -> tuple[str, ...]:
    """What keeps some nodes from being run as one: nodes that need one of them and that another
    of them needs.

    Args:
        graph: The graph.
        group: Names of the nodes to run as one.
        others: Groups that run as one already. Two groups may each be convex and yet wait for
            each other, so they count as single nodes here.

    Returns:
        Node names outside the group, in graph order; empty when the group is convex.
    """
    import networkx as nx

    unit = _units((*others, group))
    view = _view(graph, unit)
    itself = unit[group[0]]
    between = nx.descendants(view, itself) & nx.ancestors(view, itself)
    return tuple(
        node.name
        for node in graph.nodes
        if unit.get(node.name, node.name) in between and node.name not in group
    )


def stable_order(graph: Graph, groups: Groups) -> tuple[tuple[str, ...], ...]:
    """An execution order in which every group is one unit.

    A unit stands where its last node stood, or earlier where another unit reads it, and later
    only where it must wait: what is not grouped keeps its order.

    Args:
        graph: A valid graph.
        groups: Disjoint groups of node names that do not wait for each other (see `obstacles`).

    Returns:
        Units of node names, each in graph order; a node in no group is a unit of its own.
    """
    import networkx as nx

    unit = _units(groups)
    members: dict[str, list[str]] = {}
    for node in graph.nodes:
        members.setdefault(unit.get(node.name, node.name), []).append(node.name)
    position = {node.name: index for index, node in enumerate(graph.nodes)}
    last = {name: position[nodes[-1]] for name, nodes in members.items()}
    view = _view(graph, unit)
    view.remove_edges_from([(name, name) for name in members])
    order = nx.lexicographical_topological_sort(view, key=last.__getitem__)
    return tuple(tuple(members[name]) for name in order)


def post_dominators(graph: Graph) -> dict[str, str]:
    """The immediate post-dominator of every node: the first node that all paths from it to the
    graph's outputs pass through.

    Returns:
        Node name to node name, in graph order; without the nodes that have none, because they
        are outputs, their paths end at different outputs, or nothing reads them.
    """
    import networkx as nx

    view = _view(graph).reverse()
    sink = ""  # no node has an empty name
    makers = (graph.producer(name) for name in graph.outputs)
    view.add_edges_from((sink, maker.name) for maker in makers if maker is not None)
    if sink not in view:
        return {}
    nearest = nx.immediate_dominators(view, sink)
    return {
        node.name: nearest[node.name]
        for node in graph.nodes
        if nearest.get(node.name) not in (None, sink)
    }


def between(graph: Graph, start: str, end: str) -> tuple[str, ...]:
    """Names of the nodes on the paths from `start` to `end`, in graph order, without `start`."""
    import networkx as nx

    view = _view(graph)
    inside = nx.descendants(view, start) & (nx.ancestors(view, end) | {end})
    return tuple(node.name for node in graph.nodes if node.name in inside)


def circle(graph: Graph, groups: Groups) -> tuple[str, ...]:
    """Groups that wait for one another, though each is convex: the first strongly connected part
    of the graph in which every group is one node.

    Args:
        graph: The graph.
        groups: Disjoint groups of node names.

    Returns:
        The first names of these groups, and the nodes between them; empty where all the groups
        have an order.
    """
    import networkx as nx

    view = _view(graph, _units(groups))
    entangled = (part for part in nx.strongly_connected_components(view) if len(part) > 1)
    units = list(view)
    return tuple(sorted(next(entangled, ()), key=units.index))


def _units(groups: Groups) -> dict[str, str]:
    """The name that stands for a node in the contracted graph: its group's first node."""
    return {name: group[0] for group in groups for name in group}


def _view(graph: Graph, unit: Mapping[str, str] = {}) -> Any:
    """The nodes and who reads whom, with the members of a unit drawn as one node."""
    import networkx as nx

    view = nx.DiGraph()
    for node in graph.nodes:
        reader = unit.get(node.name, node.name)
        view.add_node(reader)
        for name in node.inputs:
            if (maker := graph.producer(name)) is not None:
                view.add_edge(unit.get(maker.name, maker.name), reader)
    return view
