"""Questions about paths; brute force over all paths is the reference."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from graphcnn.analysis import dag
from graphcnn.ir import CompileLog, Graph, parse
from graphcnn.passes import Fuse
from tests.strategies import graphs

T = "f32[1,4,8,8]"


def graph(*lines: str, returns: str) -> Graph:
    """Nodes written as `name = op(operands)`."""
    nodes = "\n".join(line.replace(" = ", f": {T} = ") for line in lines)
    return parse(f"graph g {{\ninput x: {T}\n{nodes}\nreturn {returns}\n}}")


DIAMOND = graph(
    "a = relu(x)",
    "b = tanh(a)",
    "c = sigmoid(a)",
    "d = mul(b, c)",
    "e = add(d, a)",
    "f = relu(e)",
    returns="f",
)


def test_between_excludes_the_start_and_includes_the_end() -> None:
    assert dag.between(DIAMOND, "a", "e") == ("b", "c", "d", "e")
    assert dag.between(DIAMOND, "b", "f") == ("d", "e", "f")
    assert dag.between(DIAMOND, "c", "b") == ()


def test_obstacles_are_what_stands_between() -> None:
    assert dag.obstacles(DIAMOND, ["a", "d"]) == ("b", "c")
    assert dag.obstacles(DIAMOND, ["a", "b", "c", "d"]) == ()
    assert dag.obstacles(DIAMOND, ["b", "c"]) == ()
    assert dag.obstacles(DIAMOND, ["d", "f"]) == ("e",)


def test_two_convex_groups_can_wait_for_each_other() -> None:
    crossed = graph(
        "a = relu(x)", "b = tanh(x)", "c = sigmoid(a)", "d = silu(b)", "e = add(c, d)", returns="e"
    )
    assert dag.obstacles(crossed, ["a", "d"]) == ()
    assert dag.obstacles(crossed, ["b", "c"]) == ()
    assert dag.obstacles(crossed, ["b", "c"], [["a", "d"]]) == ("a", "d")


def test_stable_order_moves_only_what_must_wait() -> None:
    given = graph(
        "a = relu(x)", "b = tanh(x)", "c = add(a, b)", "d = silu(a)", "e = add(c, d)", returns="e"
    )
    assert dag.stable_order(given, []) == (("a",), ("b",), ("c",), ("d",), ("e",))
    assert dag.stable_order(given, [("a", "c")]) == (("b",), ("a", "c"), ("d",), ("e",))
    assert dag.stable_order(given, [("a", "d")]) == (("b",), ("a", "d"), ("c",), ("e",))


def test_post_dominators_of_diamonds() -> None:
    assert dag.post_dominators(DIAMOND) == {"a": "e", "b": "d", "c": "d", "d": "e", "e": "f"}


def test_an_output_ends_its_paths() -> None:
    two = graph("a = relu(x)", "b = tanh(a)", "c = relu(b)", "dead = relu(b)", returns="b, c")
    assert dag.post_dominators(two) == {"a": "b"}
    assert dag.post_dominators(graph("a = relu(x)", returns="x")) == {}


def paths(given: Graph, name: str) -> list[list[str]]:
    """Every path of node names from a node to an output."""
    found = [[name]] if name in given.outputs else []
    for user in given.users(name):
        found += [[name, *rest] for rest in paths(given, user.name)]
    return found


@settings(max_examples=40, deadline=None)
@given(graphs(max_steps=4))
def test_post_dominators_are_on_every_path(drawn: Graph) -> None:
    nearest = dag.post_dominators(drawn)
    for node in drawn.nodes:
        ways = paths(drawn, node.name)
        if not ways or len(ways) > 200:
            continue
        common = set.intersection(*(set(way) for way in ways)) - {node.name}
        wanted = min(common, key=ways[0].index) if common else None
        assert nearest.get(node.name) == wanted


@settings(max_examples=40, deadline=None)
@given(graphs(max_steps=5), st.data())
def test_groups_without_obstacles_have_an_order(drawn: Graph, data: st.DataObject) -> None:
    names = [node.name for node in drawn.nodes]
    assume(len(names) > 1)
    group = data.draw(st.lists(st.sampled_from(names), min_size=2, max_size=4, unique=True))
    group.sort(key=names.index)
    needs: dict[str, set[str]] = {}
    for node in reversed(drawn.nodes):
        users = [user.name for user in drawn.users(node.name)]
        needs[node.name] = set(users).union(*(needs[user] for user in users))
    stuck = [
        name
        for name in names
        if name not in group
        and any(name in needs[g] for g in group)
        and any(g in needs[name] for g in group)
    ]
    assert list(dag.obstacles(drawn, group)) == stuck
    if not stuck:
        order = [name for unit in dag.stable_order(drawn, [group]) for name in unit]
        assert sorted(order) == sorted(names)
        place = order.index(group[0])
        assert order[place : place + len(group)] == group
        for node in drawn.nodes:
            makers = [drawn.producer(name) for name in node.inputs]
            assert all(order.index(m.name) < order.index(node.name) for m in makers if m)


def test_groups_that_wait_for_one_another_are_a_circle() -> None:
    given = graph(
        "a = relu(x)", "b = tanh(x)", "c = exp(a)", "d = exp(b)", "e = abs(c)", returns="e, d"
    )
    assert dag.circle(given, [["a", "d"], ["b", "c"]]) == ("a", "b")
    assert dag.circle(given, [["a", "c"], ["b", "d"]]) == ()
    assert dag.circle(given, [["a", "e"]]) == ("a", "c")
    assert dag.circle(given, []) == ()


def test_fused_nodes_are_one_node() -> None:
    given = parse(f"""graph g {{
      input x: {T}
      param w: f32[4,4,1,1]
      conv: {T} = conv2d(x, w)
      y: {T} = relu(conv)
      z: {T} = softmax(conv)
      return y, z
    }}""")
    fused = Fuse().run(given, CompileLog())
    assert dag.between(fused, "y", "z") == ("z",)
    assert dag.obstacles(fused, ["y", "z"]) == ()
    assert dag.stable_order(fused, []) == (("y",), ("z",))


@pytest.mark.parametrize("module", ["graphcnn.analysis.dag", "graphcnn.passes"])
def test_importing_loads_no_networkx(module: str) -> None:
    code = f"import sys, {module}; sys.exit('networkx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
