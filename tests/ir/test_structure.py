"""Containers of outputs: spelled, read back, filled, and kept where a graph is made of another."""

from collections import OrderedDict, namedtuple
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import graphcnn as gx
from graphcnn import files
from graphcnn.errors import InputKindError, InvalidGraph, ParseError
from graphcnn.ir import Structure, inline, outline, rebatch, structure_of, verify
from graphcnn.ir.structure import NONE, VALUE

Pair = namedtuple("Pair", "first second")


@dataclass
class Found:
    boxes: object
    scores: object


def tensors():
    x = gx.input("x", (2, 3))
    return gx.relu(x, name="a"), gx.exp(x, name="b"), gx.neg(x, name="c")


def structured(outputs):
    return gx.graph("g", outputs, structured=True)


A, B, C = tensors()
RETURNS = {
    "(a, b)": (A, B),
    "(a,)": (A,),
    "[a, [b], ()]": [A, [B], ()],
    "{'out': a, 3: (b, None)}": {"out": A, 3: (B, None)},
    "Pair(first=a, second={'it\\'s': b})".replace("'it\\'s'", '"it\'s"'): Pair(A, {"it's": B}),
    "Found(boxes=a, scores=[c, a])": Found(A, [C, A]),
    "{'a': a}": OrderedDict(a=A),
    "a": A,
}


@pytest.mark.parametrize("spelled", RETURNS)
def test_spelled_and_read_back(spelled):
    graph = structured(RETURNS[spelled])
    assert str(graph).splitlines()[-2] == f"  return {spelled}"
    again = gx.parse(str(graph))
    assert again == graph
    assert hash(again) == hash(graph)
    assert again.fingerprint == graph.fingerprint
    program = {}
    exec(gx.as_python(graph), program)
    assert program["network"] == graph


def test_filled_as_it_was():
    value = {"out": Pair(1, [2, None]), 3: (4, ()), "one": (5,)}
    structure, leaves = structure_of(value)
    assert leaves == [1, 2, 4, 5]
    filled = structure.filled(leaves)
    assert filled == value
    assert list(filled) == list(value)
    assert type(filled["out"]).__name__ == "Pair"
    assert filled["out"].second == [2, None]
    assert (structure.size, structure.depth) == (4, 3)


@pytest.mark.parametrize("spelled", RETURNS)
def test_taken_apart_as_it_is_filled(spelled):
    graph = structured(RETURNS[spelled])
    values = [object() for _ in graph.outputs]
    filled = graph.returned(values)
    assert graph.structure.parts_of(filled) == values if graph.structure else filled is values[0]


@pytest.mark.parametrize(
    ("outputs", "others"),
    [
        ((A, B), [1, [1, 2], (1,), (1, 2, 3), {"a": 1, "b": 2}, None]),
        ([A], [(1,), [], 1]),
        ({"k": A, "l": (B, None)}, [{"k": 1}, {"k": 1, "l": (2,)}, {"k": 1, "l": (2, 3)}, [1, 2]]),
        (Pair(A, B), [[1, 2], (1,), {"first": 1, "second": 2}]),
    ],
)
def test_containers_of_another_structure(outputs, others):
    structure = structured(outputs).structure
    assert [structure.parts_of(other) for other in others] == [None] * len(others)


def test_by_name_and_back():
    graph = structured([A, (B, A)])
    assert graph.named(graph.returned([1, 2, 1])) == {"a": 1, "b": 2}
    flat = gx.graph("g", [A, B])
    assert flat.returned([1, 2]) == flat.named(flat.returned([1, 2])) == {"a": 1, "b": 2}
    assert gx.graph("g", A).named(7) == {"a": 7}


def test_it_is_part_of_the_value():
    graphs = [structured(x) for x in ((A, B), [A, B], {"a": A, "b": B}, ((A,), B))]
    graphs.append(gx.graph("g", (A, B)))
    assert len({graph.fingerprint for graph in graphs}) == len(set(graphs)) == len(graphs)


def test_what_makes_another_graph_keeps_it(tmp_path):
    graph = structured({"out": A, "more": [B, None]})
    files.save(graph, tmp_path / "net.gcn")
    fused = graph.replace(nodes=(outline(graph.nodes, ("a", "b"), graph),))
    assert rebatch(fused, 5).structure == inline(fused).structure == graph.structure
    for again in (gx.load(tmp_path / "net.gcn"), inline(fused), gx.parse(str(fused))):
        assert again.structure == graph.structure


VALUES = st.one_of(st.just(VALUE), st.just(NONE))
NAMES = st.sampled_from(["a", "Pair", "None_", "x1"])


def _containers(parts):
    lists = st.lists(parts, max_size=3)
    keyed = st.builds(
        lambda keys, part: Structure("dict", (part,) * len(keys), tuple(keys)),
        st.lists(st.one_of(st.text(max_size=3), st.integers(-3, 3)), unique=True, max_size=3),
        parts,
    )
    named = st.builds(
        lambda name, keys, part: Structure("named", (part,) * len(keys), tuple(keys), name),
        NAMES,
        st.lists(NAMES, unique=True, min_size=1, max_size=3),
        parts,
    )
    plain = (st.builds(Structure, st.just(kind), lists.map(tuple)) for kind in ("tuple", "list"))
    return st.one_of(keyed, named, *plain)


@given(_containers(st.recursive(VALUES, _containers, max_leaves=6)), st.data())
def test_any_structure_comes_back(structure, data):
    names = st.sampled_from(["a", "b", "c"])
    outputs = data.draw(st.lists(names, min_size=structure.size, max_size=structure.size))
    bare = gx.graph("g", [A, B, C])
    graph = replace(bare, outputs=tuple(outputs), structure=structure)
    if not outputs:
        with pytest.raises(InvalidGraph):
            verify(graph)
        return
    verify(graph)
    assert gx.parse(str(graph)) == graph
    values = list(range(structure.size))
    again, leaves = structure_of(structure.filled(values))
    assert (again, leaves) == (structure, values)


@pytest.mark.parametrize(
    ("structure", "says"),
    [
        (VALUE, "value"),
        ("tuple", "tuple"),
        (Structure("tuple", (VALUE,)), "1 places for 2 outputs"),
        (Structure("set", (VALUE, VALUE)), "set"),
        (Structure("tuple", (VALUE, VALUE), ("a", "b")), "keys="),
        (Structure("dict", (VALUE, VALUE), ("a", "a")), "the keys 'a', 'a'"),
        (Structure("dict", (VALUE, VALUE), ("a", True)), "the keys 'a', True"),
        (Structure("named", (VALUE, VALUE), ("a", "class"), "P"), "keyword"),
        (Structure("named", (VALUE, VALUE), ("a", "b"), "a b"), "valid identifiers"),
        (Structure("list", (VALUE, Structure("None", (VALUE,)))), "parts="),
    ],
)
def test_what_is_no_structure(structure, says):
    with pytest.raises(InvalidGraph) as caught:
        verify(replace(gx.graph("g", [A, B]), structure=structure))
    assert says in caught.value.got


def test_depth_is_bounded():
    deep = A
    for _ in range(16):
        deep = [deep]
    assert gx.parse(str(structured(deep))).structure.depth == 16
    with pytest.raises(InvalidGraph, match="deep"):
        structured([deep])


def test_no_output_is_called_none():
    x = gx.relu(gx.input("x", (2,)), name="None")
    assert gx.parse(str(gx.graph("g", x))).outputs == ("None",)
    with pytest.raises(InvalidGraph, match="called None"):
        structured((x,))


def test_a_body_has_none():
    graph = gx.graph("g", [A, B])
    node = outline(graph.nodes, ("a", "b"), graph)
    body = replace(node.op.body, structure=structure_of((1, 2))[0])
    with pytest.raises(InvalidGraph, match="body of a fused node"):
        verify(graph.replace(nodes=(replace(node, op=replace(node.op, body=body)),)))


@pytest.mark.parametrize(
    "returned",
    [
        "(a",
        "[a)",
        "{a}",
        "{'k' a}",
        "Pair(a)",
        "Pair(first: a)",
        "Pair[a]",
        "(a) b",
        "['a']",
        "(,)",
    ],
)
def test_malformed_text(returned):
    text = str(gx.graph("g", A)).replace("return a", f"return {returned}")
    with pytest.raises(ParseError) as caught:
        gx.parse(text)
    assert "line 4" in caught.value.where


def test_parentheses_alone_mean_nothing():
    graph = gx.graph("g", A)
    assert gx.parse(str(graph).replace("return a", "return (a)")) == graph


@pytest.mark.parametrize("outputs", [(A, 3), {"a": "x"}, [A, {B}]])
def test_only_tensors_are_returned(outputs):
    with pytest.raises(InputKindError, match="outputs"):
        structured(outputs)
