"""The same network for another batch size."""

import numpy as np
import pytest

import graphcnn as gx
from graphcnn.errors import BatchError, ShapeError
from graphcnn.ir import CompileLog, Fused, batch_of, evaluate, inline, rebatch, verify
from graphcnn.passes import default_pipeline, run_passes
from tests import networks
from tests.tolerance import assert_within_bounds


def image(*shape):
    return gx.input("image", shape)


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("make", [networks.unet_block, networks.preactivation])
def test_samples_are_computed_as_before(make, fuse):
    graph = run_passes(make(), default_pipeline(fuse=fuse), CompileLog())
    assert any(isinstance(node.op, Fused) for node in graph.nodes) == fuse
    wide = rebatch(graph, 3)
    verify(wide)
    assert batch_of(wide) == 3
    assert rebatch(wide, 1) == graph
    images = np.random.default_rng(0).standard_normal((3, *graph.inputs[0].type.shape[1:]))
    together = evaluate(wide, {"image": images})
    for index in range(3):
        one = slice(index, index + 1)
        found = {name: array[one] for name, array in together.items()}
        assert_within_bounds(graph, {"image": images[one]}, found)


def test_params_and_structure_stay():
    graph = networks.preactivation()
    wide = rebatch(graph, 4)
    assert wide.params == graph.params
    assert all(a.data is b.data for a, b in zip(wide.params, graph.params, strict=True))
    assert [node.op for node in wide.nodes] == [node.op for node in graph.nodes]
    assert inline(wide) == wide


def test_a_flatten_of_everything_follows():
    graph = gx.graph("g", gx.flatten(image(2, 3), 0))
    assert rebatch(graph, 5).type_of("flatten").shape == (15,)


REFUSED = {
    "a reshape to a fixed batch": (
        lambda: gx.reshape(image(2, 3, 4, 4), (2, 48)),
        "use -1 for the batch in reshape",
    ),
    "a reshape that mixes samples": (
        lambda: gx.reshape(image(2, 3, 4, 4), (2, -1)),
        "use -1 for the batch in reshape",
    ),
    "a param for each sample": (
        lambda: gx.add(image(2, 3), np.ones((2, 3), np.float32)),
        "leave the first dimension alone",
    ),
    "samples as features": (
        lambda: gx.linear(gx.reshape(image(2, 3), (1, 6)), np.ones((4, 6), np.float32)),
        "use -1 for the batch in reshape",
    ),
    "an expand to a fixed batch": (
        lambda: gx.expand(image(2, 3, 1), (2, 3, 4)),
        "use -1 for the batch in expand",
    ),
    "an index of a sample": (lambda: image(2, 3)[:1], "index every dimension but the first"),
}


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(("make", "remedy"), REFUSED.values(), ids=REFUSED)
def test_what_fixes_the_batch_is_named(make, remedy, batch):
    graph = gx.graph("g", make())
    assert rebatch(graph, 2) == graph
    with pytest.raises(BatchError) as caught:
        rebatch(graph, batch)
    assert f"node '{graph.nodes[0].name}'" in caught.value.where
    assert __file__ in caught.value.where
    assert remedy in caught.value.remedy
    assert isinstance(caught.value, ShapeError)


def test_inside_a_fused_body_the_node_is_named():
    h = gx.linear(image(2, 3), np.ones((4, 3), np.float32), name="fc")
    graph = gx.graph("g", gx.add(h, np.ones((2, 4), np.float32), name="each"))
    fused = run_passes(graph, default_pipeline(), CompileLog())
    assert isinstance(fused.nodes[0].op, Fused)
    with pytest.raises(BatchError, match="re-planned") as caught:
        rebatch(fused, 3)
    assert "'each'" in caught.value.where


@pytest.mark.parametrize("shape", [(3,), ()], ids=["another first dimension", "a scalar"])
def test_inputs_without_a_common_batch(shape):
    graph = gx.graph("g", gx.add(image(2, 3), gx.relu(gx.input("other", shape))))
    with pytest.raises(BatchError, match="share a first dimension"):
        batch_of(graph)
    with pytest.raises(BatchError, match="share a first dimension") as caught:
        rebatch(graph, 3)
    assert "image" in caught.value.got
