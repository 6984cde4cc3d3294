"""Every rule of the IR: a graph that breaks it, the error's class, and what the message says."""

from dataclasses import replace

import numpy as np
import pytest

from graphcnn import errors, ops
from graphcnn.errors import Where
from graphcnn.ir import (
    DType,
    Fused,
    Graph,
    Node,
    Param,
    TensorType,
    Value,
    outline,
    parse,
    verify,
)

T = TensorType((1, 3, 4, 4))


def relu(name, reads, type=T):
    return Node(name, ops.activation.Relu(), (reads,), (Value(name, type),), Where("user.py", 7))


X = (Value("x", T),)


def graph(*nodes, outputs=None, params=(), inputs=X):
    return Graph("g", inputs, params, nodes, outputs or (nodes[-1].name,))


def broken(bad, error, *says):
    with pytest.raises(error) as caught:
        verify(bad)
    assert type(caught.value) is error
    for text in says:
        assert text in str(caught.value)
    return caught.value


def test_a_valid_graph_passes():
    verify(graph(relu("a", "x"), relu("b", "a"), outputs=("b", "a", "x")))


def test_undefined_value():
    broken(graph(relu("a", "y")), errors.InvalidGraph, "not defined", "user.py:7", "spelling")


def test_wrong_order():
    bad = graph(relu("b", "a"), relu("a", "x"))
    broken(bad, errors.InvalidGraph, "before it is defined", "execution order")


def test_cycle_names_its_path():
    bad = graph(relu("a", "c"), relu("b", "a"), relu("c", "b"))
    caught = broken(bad, errors.CyclicGraph, "depends on itself", "unroll")
    path = caught.got.split(" -> ")
    assert path[0] == path[-1]
    assert set(path) == {"a", "b", "c"}


def test_self_loop():
    broken(graph(relu("a", "a")), errors.CyclicGraph, "a -> a")


def test_missing_output():
    broken(graph(relu("a", "x"), outputs=("b",)), errors.InvalidGraph, "output", "b")


def test_no_output():
    broken(Graph("g", (Value("x", T),), (), (), ()), errors.InvalidGraph, "at least one")


def test_equal_names():
    broken(graph(relu("a", "x"), relu("a", "x")), errors.InvalidGraph, "same name", "a")
    broken(graph(relu("x", "x")), errors.InvalidGraph, "same name", "x")


@pytest.mark.parametrize("name", ["", "1a", "a b", "a=b", "a,b", "ü{", "-a", "a\nb"])
def test_unreadable_names(name):
    broken(graph(relu(name, "x")), errors.InvalidName, repr(name), "rename")


def test_wrong_recorded_type():
    bad = graph(relu("a", "x", TensorType((1, 3, 4, 5))))
    broken(bad, errors.InvalidGraph, "f32[1,3,4,5]", "f32[1,3,4,4]")


def test_shape_error_names_the_node_and_the_line():
    flat = Node("f", ops.Linear(), ("x", "w"), (Value("f", T),), Where("net.py", 3))
    bad = graph(flat, params=(Param("w", TensorType((5, 48))),))
    broken(bad, errors.ChannelMismatch, "node 'f' = linear (net.py:3)", "flatten")


def test_two_values_from_one_op():
    node = replace(relu("a", "x"), outputs=(Value("a", T), Value("b", T)))
    broken(graph(node), errors.InvalidGraph, "one value, which bears its name")


def test_param_data_of_another_shape():
    param = Param("w", TensorType((3,)), np.zeros((4,), np.float32))
    broken(graph(relu("a", "x"), params=(param,)), errors.InvalidGraph, "(4,)", "(3,)")


def test_mixed_dtypes():
    half = TensorType(T.shape, DType.F16)
    node = Node("a", ops.Add(), ("x", "h"), (Value("a", T),))
    bad = graph(node, inputs=(Value("x", T), Value("h", half)))
    broken(bad, errors.DTypeMismatch, "f16[1,3,4,4]", "node 'a' = add")


def test_fused_bodies_are_checked():
    good = graph(relu("a", "x"), relu("b", "a"))
    group = outline(good.nodes, ("b",), good)
    verify(good.replace(nodes=(group,)))
    other = replace(group, inputs=("x", "x"))
    broken(good.replace(nodes=(other,)), errors.InvalidGraph, "exactly the values its body reads")
    renamed = replace(group, outputs=(Value("c", T),))
    broken(good.replace(nodes=(renamed,), outputs=("c",)), errors.InvalidGraph, "body returns")
    body = group.op.body.replace(nodes=(relu("a", "x"), relu("b", "nothing")))
    inside = replace(group, op=Fused(body))
    broken(good.replace(nodes=(inside,)), errors.InvalidGraph, "nothing")


def test_fused_nodes_do_not_nest():
    good = graph(relu("a", "x"), relu("b", "a"))
    group = outline(good.nodes, ("b",), good)
    nested = outline((group,), ("b",), good)
    broken(good.replace(nodes=(nested,)), errors.InvalidGraph, "do not nest")


def test_finite_weights():
    data = np.ones((2, 3), np.float32)
    good = graph(relu("a", "x"), params=(Param("w", TensorType((2, 3)), data),))
    verify(good)
    data[1, 2] = np.nan
    data[0, 1] = np.inf
    broken(good, errors.NonFiniteWeights, "param 'w' at [0, 1]", "2 of 6")


@pytest.mark.parametrize(
    ("dtype", "data"),
    [
        (DType.F32, np.ones(3)),
        (DType.F16, np.ones(3, np.float32)),
        (DType.BF16, np.ones(3, np.float16)),
        (DType.F32, [1.0, 1.0, 1.0]),
        (DType.BF16, np.full(3, 1.001, np.float32)),
    ],
)
def test_param_data_of_another_dtype(dtype, data):
    param = Param("w", TensorType((3,), dtype), data)
    broken(graph(relu("a", "x"), params=(param,)), errors.InvalidGraph, "param 'w'", "round")
    rounded = replace(param, data=dtype.round(data))
    verify(graph(relu("a", "x"), params=(rounded,)))


VECTOR = TensorType((3,))
NORM = Node(
    "y",
    ops.BatchNorm(eps=1e-5),
    ("x", "mean", "var", "scale", "shift"),
    (Value("y", T),),
    Where("net.py", 3),
)


@pytest.mark.parametrize("fused", [False, True])
def test_a_variance_that_is_negative(fused):
    def norm(*variance):
        ones = {name: np.ones(3, np.float32) for name in ("mean", "var", "scale", "shift")}
        ones["var"] = np.array(variance, np.float32)
        made = graph(NORM, params=tuple(Param(name, VECTOR, ones[name]) for name in ones))
        return made.replace(nodes=(outline((NORM,), ("y",), made),)) if fused else made

    verify(norm(1, 0, -1e-6))
    says = ("running_var of -1 and eps=1e-05", "node 'y' = batch_norm (net.py:3)")
    broken(norm(1, 2, -1), errors.InvalidAttribute, *says)


def test_names_are_unique_inside_bodies_too():
    good = graph(relu("a", "x"), relu("b", "a"))
    group = outline(good.nodes, ("b",), good)
    bad = good.replace(nodes=(group, relu("a", "b")), outputs=("a",))
    broken(bad, errors.InvalidGraph, "same name", "a")
    body = group.op.body.replace(nodes=(relu("a", "x"), relu("c", "a")), outputs=("c",))
    second = Node("c", Fused(body), ("x",), (Value("c", T),))
    broken(good.replace(nodes=(group, second)), errors.InvalidGraph, "same name", "a")


def test_params_enter_bodies_as_params():
    add = Node("a", ops.Add(), ("x", "p"), (Value("a", T),))
    good = graph(add, params=(Param("p", T),))
    group = outline(good.nodes, ("a",), good)
    verify(good.replace(nodes=(group,)))
    body = replace(group.op.body, inputs=(Value("x", T), Value("p", T)), params=())
    bad = good.replace(nodes=(replace(group, op=Fused(body)),))
    broken(bad, errors.InvalidGraph, "exactly the values its body reads")


def test_messages_have_all_their_rows():
    error = errors.GraphCNNError("rule", where="here", got=1, wanted=2, remedy="fix")
    assert str(error) == "rule\n  where:  here\n  got:    1\n  wanted: 2\n  remedy: fix"
    assert error.at("elsewhere").where == "here"


def test_text_of_a_cycle():
    text = "graph g {\n input x: f32[1]\n a: f32[1] = relu(b)\n b: f32[1] = relu(a)\n return b\n}"
    with pytest.raises(errors.CyclicGraph, match="unroll the loop"):
        parse(text)


@pytest.mark.parametrize("thing", [5, "lenet", None, [graph], Graph])
def test_what_is_not_a_graph(thing):
    with pytest.raises(errors.InvalidGraph, match="not a graph") as caught:
        verify(thing)
    assert caught.value.got == type(thing).__name__
    assert "gx.graph(" in caught.value.remedy
