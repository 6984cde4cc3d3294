"""Random networks from source to answer: fused, unfused and through torch, they mean the same."""

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import graphcnn as gx
from graphcnn.errors import GraphCNNError, NonFiniteWeights, UnsupportedOp
from graphcnn.ir import DType, Fused, evaluate, inline
from graphcnn.ops import Pooling
from tests import strategies
from tests.stepwise import check_meaning, check_model

# Few different numbers, so that the compiled kernels of one example serve others too.
CHANNELS = (1, 4, 13, 16)
SIZES = (1, 5, 8)
QUIET = {
    "deadline": None,
    "derandomize": True,
    "database": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}


def drawn(examples, **options):
    """Run a test on drawn graphs, all of whose sizes come from the short lists above."""

    def decorate(test):
        with_graphs = given(strategies.graphs(**options))(test)
        run = settings(max_examples=examples, **QUIET)(with_graphs)

        def patched():
            with (
                patch.object(strategies, "_CHANNELS", CHANNELS),
                patch.object(strategies, "_SIZES", SIZES),
            ):
                run()

        patched.__name__, patched.__doc__ = test.__name__, test.__doc__
        return patched

    return decorate


def check(graph, **options):
    """Each node within its bound, the outputs those of the source."""
    inputs = strategies.inputs(graph)
    model = gx.compile(graph, device="cpu", **options)
    _, used = check_model(model, inputs)
    assert used <= 1
    answers = model(**inputs)
    if len(graph.outputs) == 1:
        answers = {graph.outputs[0]: answers}
    for name, exact in evaluate(graph, inputs).items():
        got = answers[name].astype(np.float64)
        assert got.shape == exact.shape
        # Bounds of whole networks grow with the products of their weights; a wrong wire or axis
        # shows at the scale of the values themselves.
        roughly = 64 * len(graph.nodes) * graph.type_of(name).dtype.unit_roundoff
        scale = max(1.0, np.abs(exact).max(initial=0))
        assert np.abs(got - exact).max(initial=0) <= max(roughly, 1e-4) * scale
    return model


@drawn(25, max_steps=6)
def test_float32_on_the_cpu(graph):
    fused = check(graph)
    unfused = check(graph, fuse=False)
    assert len(fused.plan.steps) <= len(unfused.plan.steps)
    assert not any(isinstance(node.op, Fused) for node in unfused.graph.nodes)
    assert {n.name for n in inline(fused.graph).nodes} == {n.name for n in unfused.graph.nodes}


@drawn(10, max_steps=5, dtypes=("float16", "bfloat16"))
def test_halves_on_the_cpu(graph):
    check(graph)


@drawn(120, dtypes=("float32", "float32", "float64"))
def test_library_and_numpy(graph):
    check(graph, target="numpy")
    model = compiled(graph, target="library")
    if isinstance(model, UnsupportedOp):
        pools = [node for node in graph.nodes if isinstance(node.op, Pooling)]
        assert any(node.place == model.where for node in pools)
    else:
        check(graph, target="library")


@drawn(120, dtypes=("float32", "float64", "bfloat16"))
def test_compiling_raises_only_our_errors(graph):
    """Also for a graph that was fused before, and without any pass."""
    for options in ({}, {"fuse": False}, {"passes": ()}):
        model = compiled(graph, **options)
        if isinstance(model, GraphCNNError):
            assert isinstance(model, UnsupportedOp)
            assert model.remedy
            assert graph.inputs[0].type.dtype is DType.F64
        else:
            check_meaning(compiled(model.graph), strategies.inputs(graph))


def compiled(graph, **options):
    """The model, or the error of ours that says why there is none."""
    try:
        return gx.compile(graph, device="cpu", **options)
    except GraphCNNError as error:
        return error


@pytest.mark.parametrize("layer", ["conv2d", "depthwise", "linear"])
def test_a_batch_norm_of_small_scale_behind_half_precision_weights(layer):
    """Folded into the weights it would push them below float16's normal range."""
    rng = np.random.default_rng(5)
    channels, shape = (8, (8, 1, 3, 3)) if layer == "depthwise" else (4, (4, 8, 3, 3))
    small = ((1e-5, 1, 1e-2, 1e4), (1e-4, 1, 1e-2, 1e3), (1, 3e4, 1e-3, 500))
    for gamma, var, size, reach in small:
        if layer == "linear":
            x = gx.input("x", (3, 8), "float16")
            h = gx.linear(x, size * rng.standard_normal((channels, 8)))
        else:
            x = gx.input("x", (1, 8, 8, 8), "float16")
            h = gx.conv2d(x, size * rng.standard_normal(shape), groups=8 // shape[1])
        numbers = (0.5 * size * reach, var, gamma, 0.0)
        graph = gx.graph(
            "g", gx.batch_norm(h, *(np.full(channels, n, np.float64) for n in numbers))
        )
        inputs = {"x": (reach * rng.standard_normal(x.shape)).astype(np.float16)}
        for options in ({}, {"fuse": False}, {"target": "library"}):
            model = gx.compile(graph, device="cpu", **options)
            assert any("normal range" in refusal.because for refusal in model.log.refusals)
            check_model(model, inputs)
            check_meaning(model, inputs)


def normal(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape, np.float32)


GAMMA = np.array([0, -1, 2, -3, 0.5], np.float32)


@pytest.mark.parametrize("behind", ["conv", "relu"])
def test_a_batch_norm_with_zero_and_negative_scales_before_a_max(behind):
    """Folded, with the convolution's bias scaled too, or a step of the tail."""
    x = gx.input("x", (2, 3, 8, 8))
    h = gx.conv2d(x, normal(5, 3, 3, 3), 5 + normal(5), padding=1)
    h = gx.relu(h) if behind == "relu" else h
    h = gx.batch_norm(h, normal(5), normal(5) ** 2 + 0.1, GAMMA, normal(5), eps=1e-3, name="norm")
    h = h if behind == "relu" else gx.relu(h)
    graph = gx.graph("g", gx.max_pool2d(h, 2))
    for options in ({}, {"fuse": False}, {"target": "library"}):
        model = check(graph, **options)
        norm = next(n for n in inline(model.graph).nodes if n.name == "norm")
        assert norm.op.name == ("batch_norm" if behind == "relu" else "conv2d")


@pytest.mark.parametrize(
    "shape",
    [(4, 1, 1), (1, 1, 8, 1), (1, 1, 1, 8), (8, 8), (1, 4, 8, 1), (1,), (2, 1, 1, 1), (2, 4, 1, 1)],
    ids=str,
)
def test_factors_and_summands_of_any_broadcast_before_a_max(shape):
    x = gx.input("x", (2, 3, 8, 8))
    h = gx.conv2d(x, normal(4, 3, 3, 3), padding=1)
    pooled = [gx.max_pool2d(gx.relu(h2), 2) for h2 in (h * normal(*shape), h + normal(*shape))]
    check(gx.graph("g", pooled))


def test_statistics_beyond_half_precision_are_refused():
    x = gx.input("x", (1, 4, 3, 3), "float16")
    with pytest.raises(NonFiniteWeights, match="running_var"):
        gx.batch_norm(x, np.zeros(4), np.full(4, 1e5))
