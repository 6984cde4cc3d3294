"""Folding batch norms: when it happens, when not and why."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import graphcnn as gx
from graphcnn.ir import CompileLog, DType, Graph, evaluate, parse, with_he_weights
from graphcnn.passes import FoldBatchNorm
from tests.passes.before_after import becomes, declines, graph
from tests.strategies import inputs

IMAGE = "f64[1,4,8,8]"
NORM = f"y: {IMAGE} = batch_norm(h, m, q.var, s.weight, t, eps=0.01)"
MORE = "param y.folded_weight: f64[4,4,1,1]\nparam y.folded_bias: f64[4]"
FOLDED = f"y: {IMAGE} = conv2d(x, y.folded_weight, y.folded_bias)"


@pytest.mark.parametrize("bias", ["", ", b"])
def test_folds_into_a_convolution(bias: str) -> None:
    log = becomes(
        FoldBatchNorm(),
        f"h: {IMAGE} = conv2d(x, v{bias})\n{NORM}\nz: {IMAGE} = relu(y)\nreturn z",
        f"{FOLDED}\nz: {IMAGE} = relu(y)\nreturn z",
        more=MORE,
    )
    assert log.survivor("h") == "y"


@pytest.mark.parametrize("groups", [2, 4])
def test_folds_into_a_grouped_convolution(groups: int) -> None:
    weight = f"f64[4,{4 // groups},1,1]"
    conv = f"conv2d(x, {{}}groups={groups})"
    sources = f"""input x: {IMAGE}
        param v: {weight}
        param m: f64[4]
        param q.var: f64[4]
        param s.weight: f64[4]
        param t: f64[4]"""
    becomes(
        FoldBatchNorm(),
        f"h: {IMAGE} = {conv.format('v, ')}\n{NORM}\nreturn y",
        f"y: {IMAGE} = {conv.format('y.folded_weight, y.folded_bias, ')}\nreturn y",
        sources,
        more=f"param y.folded_weight: {weight}\nparam y.folded_bias: f64[4]",
    )


def test_folds_into_a_convolution_of_one_dimension() -> None:
    sources = """input x: f64[2,3,8]
        param v: f64[4,3,2]
        param m: f64[4]
        param q.var: f64[4]
        param s.weight: f64[4]
        param t: f64[4]"""
    becomes(
        FoldBatchNorm(),
        f"h: f64[2,4,7] = conv1d(x, v)\n{NORM.replace(IMAGE, 'f64[2,4,7]')}\nreturn y",
        "y: f64[2,4,7] = conv1d(x, y.folded_weight, y.folded_bias)\nreturn y",
        sources,
        more="param y.folded_weight: f64[4,3,2]\nparam y.folded_bias: f64[4]",
    )


def test_folds_into_a_linear_layer() -> None:
    sources = """input x: f64[3,5]
        param v: f64[4,5]
        param m: f64[4]
        param q.var: f64[4]
        param s.weight: f64[4]
        param t: f64[4]"""
    becomes(
        FoldBatchNorm(),
        "h: f64[3,4] = linear(x, v)\ny: f64[3,4] = batch_norm(h, m, q.var, s.weight, t)\nreturn y",
        "y: f64[3,4] = linear(x, y.folded_weight, y.folded_bias)\nreturn y",
        sources,
        more="param y.folded_weight: f64[4,5]\nparam y.folded_bias: f64[4]",
    )


def test_folds_two_in_a_row() -> None:
    becomes(
        FoldBatchNorm(),
        f"""h: {IMAGE} = conv2d(x, v)
        {NORM}
        z: {IMAGE} = batch_norm(y, t, q.var, s.weight, m)
        return z""",
        FOLDED.replace("y", "z") + "\nreturn z",
        more=MORE.replace("y.", "z."),
    )


def test_a_shared_weight_is_copied() -> None:
    becomes(
        FoldBatchNorm(),
        f"h: {IMAGE} = conv2d(x, v)\n{NORM}\nz: {IMAGE} = conv2d(y, v)\nreturn z",
        f"{FOLDED}\nz: {IMAGE} = conv2d(y, v)\nreturn z",
        more=MORE,
    )


def test_new_weights_get_free_names() -> None:
    sources = """input x: f64[1,4,8,8]
        param y.folded_weight: f64[4,4,1,1]
        param m: f64[4]
        param q.var: f64[4]
        param s.weight: f64[4]
        param t: f64[4]"""
    becomes(
        FoldBatchNorm(),
        f"h: {IMAGE} = conv2d(x, y.folded_weight)\n{NORM}\nreturn y",
        f"{FOLDED.replace('weight', 'weight.2')}\nreturn y",
        sources,
        more="param y.folded_weight.2: f64[4,4,1,1]\nparam y.folded_bias: f64[4]",
    )


@pytest.mark.parametrize("dtype", [DType.F16, DType.BF16, DType.F32])
def test_weights_are_rounded_once(dtype: DType) -> None:
    wide = graph(f"h: {IMAGE} = conv2d(x, v, b)\n{NORM}\nreturn y")
    text = str(wide).replace("f64", dtype.value)
    narrow = parse(text)
    rounded = tuple(
        replace(param, data=dtype.round(wide.param_by_name[param.name].data))
        for param in narrow.params
    )
    narrow = narrow.replace(params=rounded)
    exact = narrow.replace(
        params=tuple(
            replace(p, type=wide.type_of(p.name), data=np.asarray(p.data, np.float64))
            for p in rounded
        )
    )
    exact = exact.replace(inputs=wide.inputs, nodes=wide.nodes)
    got = FoldBatchNorm().run(narrow, CompileLog())
    wanted = FoldBatchNorm().run(exact, CompileLog())
    for name in ("y.folded_weight", "y.folded_bias"):
        data = got.param_by_name[name].data
        assert data is not None
        assert data.dtype == dtype.numpy
        assert np.array_equal(data, dtype.round(wanted.param_by_name[name].data))
        assert np.ptp(data) > 0


REFUSALS = [
    (f"h: {IMAGE} = relu(x)\n{NORM}\nreturn y", "its input is the value of relu 'h' [h]"),
    (f"h: {IMAGE} = add(x, c)\n{NORM}\nreturn y", "its input is the value of add 'h' [h]"),
    (
        f"h: {IMAGE} = conv2d(x, v)\na: {IMAGE} = relu(h)\n{NORM.replace('(h', '(a')}\nreturn y",
        "relu 'a' stands between it and 'h' [a]",
    ),
    (
        f"h: {IMAGE} = conv2d(x, v)\n{NORM}\nz: {IMAGE} = tanh(h)\nreturn y, z",
        "'h' is also read by z [z]",
    ),
    (f"h: {IMAGE} = conv2d(x, v)\n{NORM}\nreturn y, h", "'h' is an output of the graph [h]"),
    (
        f"{NORM.replace('(h', '(x')}\nreturn y",
        "its input 'x' is no convolution's or linear layer's value [x]",
    ),
    (
        f"k: f64[4] = tanh(m)\nh: {IMAGE} = conv2d(x, v)\n{NORM.replace('m,', 'k,')}\nreturn y",
        "'k' is computed by the graph, not a param [k]",
    ),
]


@pytest.mark.parametrize(("body", "reason"), REFUSALS)
def test_refusals(body: str, reason: str) -> None:
    assert declines(FoldBatchNorm(), body) == [f"fold-batch-norm: y: {reason}"]


def test_folding_across_a_relu_would_be_wrong() -> None:
    """The guard is not pedantry: moving the affine map to the other side changes the result."""
    relu = f"h: {IMAGE} = conv2d(x, v)\na: {IMAGE} = relu(h)\n{NORM.replace('(h', '(a')}\nreturn y"
    swapped = f"h: {IMAGE} = conv2d(x, v)\n{NORM}\na: {IMAGE} = relu(y)\nreturn a"
    given, wrong = graph(relu), graph(swapped)
    arrays = inputs(given)
    difference = evaluate(given, arrays)["y"] - evaluate(wrong, arrays)["a"]
    assert np.abs(difference).max() > 0.1


def test_refuses_without_data() -> None:
    given = parse(f"""graph g {{
        input x: {IMAGE}
        param v: f64[4,4,1,1]
        param m: f64[4]
        param q.var: f64[4]
        param s.weight: f64[4]
        param t: f64[4]
        h: {IMAGE} = conv2d(x, v)
        {NORM}
        return y
    }}""")
    assert declines(FoldBatchNorm(), given) == [
        "fold-batch-norm: y: 'v' has a type and no data [v]"
    ]


def test_refuses_a_linear_layer_whose_features_are_another_dimension() -> None:
    sources = """input x: f64[2,4,5]
        param v: f64[6,5]
        param m: f64[4]
        param q.var: f64[4]
        param s.weight: f64[4]
        param t: f64[4]"""
    body = """h: f64[2,4,6] = linear(x, v)
        y: f64[2,4,6] = batch_norm(h, m, q.var, s.weight, t)
        return y"""
    assert declines(FoldBatchNorm(), body, sources) == [
        "fold-batch-norm: y: dimension 1 of f64[2,4,6] is not the features of linear [h]"
    ]


def test_refuses_weights_that_overflow() -> None:
    text = str(graph(f"h: {IMAGE} = conv2d(x, v)\n{NORM}\nreturn y")).replace("f64", "f16")
    given = with_he_weights(parse(text))
    huge = tuple(
        replace(p, data=np.full(4, 60000, np.float16)) if p.name == "s.weight" else p
        for p in given.params
    )
    loud: Graph = given.replace(params=huge)
    assert declines(FoldBatchNorm(), loud) == [
        "fold-batch-norm: y: the folded weight is not finite in f16 [h]"
    ]


def scaled(dtype: DType, gamma: float, var: float, weight: float, layer: str = "conv2d") -> Graph:
    """A layer with weights of a size, and a batch norm with one gamma and one variance."""
    rng = np.random.default_rng(5)
    depthwise = layer == "depthwise"
    shape = {"conv2d": (4, 8, 3, 3), "depthwise": (8, 1, 3, 3), "linear": (4, 8)}[layer]
    x = gx.input("x", (2, 8) if layer == "linear" else (1, 8, 8, 8), dtype.long_name)
    data = weight * rng.standard_normal(shape)
    h = gx.linear(x, data) if layer == "linear" else gx.conv2d(x, data, groups=1 + 7 * depthwise)
    vectors = (np.full(shape[0], number) for number in (0.0, var, gamma, 0.0))
    return gx.graph("g", gx.batch_norm(h, *vectors))


@pytest.mark.parametrize("layer", ["conv2d", "depthwise", "linear"])
@pytest.mark.parametrize(
    ("dtype", "gamma", "var", "weight"),
    [
        (DType.F16, 1e-5, 1.0, 1e-2),
        (DType.F16, 1e-4, 1.0, 1e-2),
        (DType.F16, 1.0, 3e4, 1e-3),
        (DType.BF16, 1e-38, 1.0, 1e-2),
        (DType.F32, 1e-38, 1.0, 1e-2),
    ],
)
def test_refuses_weights_that_fall_below_the_normal_range(
    dtype: DType, gamma: float, var: float, weight: float, layer: str
) -> None:
    (reason,) = declines(FoldBatchNorm(), scaled(dtype, gamma, var, weight, layer))
    assert f"below the normal range of {dtype}" in reason
    wider = scaled(DType.F64 if dtype is DType.F32 else DType.F32, gamma, var, weight, layer)
    log = CompileLog()
    FoldBatchNorm().run(wider, log)
    assert bool(log.rewrites) == (dtype is not DType.BF16)  # bf16 has the range of f32


@pytest.mark.parametrize(
    ("gamma", "weight"),
    [
        (0.0, 1e-2),  # nothing is left to lose
        (1.0, 0.0),
        (1.0, 1e-6),  # below the normal range before, and not moved
        (1e3, 1e-6),  # back into it
        (0.1, 1e-2),  # few single weights fall below it
    ],
)
def test_folds_where_nothing_more_is_lost(gamma: float, weight: float) -> None:
    graph = scaled(DType.F16, gamma, 1.0 - 1e-5, weight)
    log = CompileLog()
    folded = FoldBatchNorm().run(graph, log)
    assert log.refusals == []
    assert [node.op.name for node in folded.nodes] == ["conv2d"]
    arrays = inputs(graph)
    exact, got = evaluate(graph, arrays)["batch_norm"], evaluate(folded, arrays)["batch_norm"]
    # By Cauchy and Schwarz over the window, whose norm is at most that of the image.
    filters = evaluate(folded, arrays, ["batch_norm.folded_weight"])["batch_norm.folded_weight"]
    norms = np.linalg.norm(filters.reshape(4, -1), axis=1)[:, None, None]
    bound = DType.F16.unit_roundoff * 1.01 * norms * np.linalg.norm(arrays["x"].astype(np.float64))
    assert (np.abs(got - exact) <= bound).all()


def test_two_in_a_row_are_rounded_once() -> None:
    """The second takes off what the first adds: the rounding of the first is all that is left."""
    added = np.float64(-0.7) / np.sqrt(1 + 1e-5) + 0.1
    x = gx.input("x", (1, 2, 4, 4))
    h = gx.conv2d(x, np.ones((1, 2, 1, 1)))
    first, second = (
        [np.array([number]) for number in numbers]
        for numbers in ((0.7, 1.0, 1.0, 0.1), (added, 1.0, 1.0, 0.0))
    )
    h = gx.batch_norm(gx.batch_norm(h, *first, name="first"), *second, name="second")
    net = gx.graph("g", h)
    folded = FoldBatchNorm().run(net, CompileLog())
    wanted = evaluate(net, {"x": np.zeros((1, 2, 4, 4))})["second"].ravel()[0]
    (bias,) = folded.param_by_name["second.folded_bias"].values
    assert 0 < abs(wanted) < 1e-7
    assert bias == np.float32(wanted)
