"""The partition that is worth most, against all partitions."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphcnn.analysis import dag
from graphcnn.ir import CompileLog, Fused, Graph, parse
from graphcnn.passes import Fuse
from graphcnn.passes.grouping import Candidate, Worth, best_groups
from tests.strategies import graphs

T = "f32[1,4,8,8]"


def total(groups: list[Candidate]) -> Worth:
    return tuple(sum(group.worth[at] for group in groups) for at in range(2))


def allowed(graph: Graph, groups: tuple[Candidate, ...]) -> bool:
    names = [name for group in groups for name in group.names]
    alone = len(names) == len(set(names))
    return alone and not dag.circle(graph, [group.names for group in groups])


@settings(max_examples=120, deadline=None)
@given(graphs(max_steps=6), st.data())
def test_no_partition_is_worth_more(drawn: Graph, data: st.DataObject) -> None:
    names = [node.name for node in drawn.nodes]
    found = []
    for _ in range(data.draw(st.integers(0, 7))):
        nodes = data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=4, unique=True))
        nodes.sort(key=names.index)
        worth = data.draw(st.tuples(st.integers(0, 1), st.integers(0, 9)))
        if not dag.obstacles(drawn, nodes):
            found.append(Candidate(tuple((drawn[name],) for name in nodes), worth))
    subsets = (some for n in range(len(found) + 1) for some in combinations(found, n))
    best = max(total([*some]) for some in subsets if allowed(drawn, some))
    chosen = best_groups(drawn, found)
    assert allowed(drawn, tuple(chosen))
    assert total(chosen) == best
    assert [names.index(group.names[0]) for group in chosen] == sorted(
        names.index(group.names[0]) for group in chosen
    )


def groups_of(body: str) -> list[str]:
    graph = parse(f"graph g {{\n input x: {T}\n param v: f32[4,4,1,1]\n{body}\n}}")
    after = Fuse().run(graph, CompileLog())
    return ["+".join(n.name for n in node.members) for node in after.nodes if _fused(node.op)]


def _fused(op: object) -> bool:
    return isinstance(op, Fused)


@pytest.mark.parametrize("first", [True, False])
def test_a_group_goes_on_where_more_is_saved(first: bool) -> None:
    """Taken greedily, the first of two readers goes with the convolution."""
    short = f"a: {T} = relu(h)"
    long = f"b: {T} = tanh(h)\nc: {T} = sigmoid(b)"
    readers = f"{short}\n{long}" if first else f"{long}\n{short}"
    assert groups_of(f"h: {T} = conv2d(x, v)\n{readers}\nreturn a, c") == ["h+b+c"]


def test_many_pairs_that_wait_for_each_other_are_decided_pair_by_pair() -> None:
    """Sums across two branches, as in cross-stitch networks: of each pair one has its own."""
    body, a, b, stages = "", "x", "x", 40
    for n in range(stages):
        body += f"""h{n}: {T} = conv2d({a}, v)
            k{n}: {T} = conv2d({b}, v)
            sh{n}: {T} = softmax(h{n})
            sk{n}: {T} = softmax(k{n})
            a{n}: {T} = add(h{n}, sk{n})
            b{n}: {T} = add(k{n}, sh{n})
            """
        a, b = f"a{n}", f"b{n}"
    found = groups_of(f"{body}return {a}, {b}")
    assert found == [f"k{n}+b{n}" for n in range(stages)]


def test_a_long_sum_of_many_convolutions_is_shared_out() -> None:
    """Each of them could take the sums from its own on."""
    terms = 24
    inputs = "".join(f"x{n}: {T} = elu(x, alpha={n + 2}.0)\n" for n in range(terms))
    body = "".join(f"h{n}: {T} = conv2d(x{n}, v)\n" for n in range(terms))
    found = groups_of(f"{inputs}{body}{sums(terms)}")
    assert found == [f"h{n}+s{n}" for n in range(1, terms)]


def test_ways_that_double_at_each_step_come_to_an_end() -> None:
    """Of one input, so that any may join another as its gate."""
    terms = 24
    body = "".join(f"h{n}: {T} = conv2d(x, v)\n" for n in range(terms))
    found = groups_of(f"{body}{sums(terms)}")
    assert len([name for group in found for name in group.split("+")]) == 2 * terms - 1


def sums(terms: int) -> str:
    later = (f"s{n}: {T} = add(s{n - 1}, h{n})\n" for n in range(2, terms))
    return f"s1: {T} = add(h0, h1)\n{''.join(later)}return s{terms - 1}"
