"""Batch sizes that share kernels, on a GPU: a call with a new one compiles nothing."""

import numpy as np
import pytest

import graphcnn as gx
from graphcnn import triton_api
from graphcnn.models.lenet import lenet
from graphcnn.runtime.boundary import example_inputs
from tests.runtime.small_networks import mixed, small, vgg_block
from tests.stand_in_gpu import stand_in_target
from tests.stepwise import check_model


@pytest.fixture
def compiled(monkeypatch):
    """Names of kernels by the hash of their machine code, of all that a GPU has loaded."""
    target, driver = stand_in_target(90)
    monkeypatch.setattr("graphcnn.compiler.resolve", lambda *_: target)
    prepare, kernels = triton_api.prepare, {}

    def counting(kernel, args, meta, for_driver):
        prepared = prepare(kernel, args, meta, for_driver)
        if for_driver is driver:
            kernels.setdefault(prepared.compiled.hash, kernel.__name__)
        return prepared

    monkeypatch.setattr(triton_api, "prepare", counting)
    return kernels


def image(graph, batch):
    shape = (batch, *graph.inputs[0].type.shape[1:])
    return np.random.default_rng(batch).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("make", [small, mixed, vgg_block])
def test_a_new_batch_size_compiles_nothing(compiled, make):
    model = gx.compile(make(), batches=(8,))
    before = dict(compiled)
    for batch in (3, 7, 16, 17, 40):
        check_model(model, {"image": image(model.graph, batch)})
    new = [name for key, name in compiled.items() if key not in before]
    assert new == []


def test_a_linear_layer_of_one_row_has_a_kernel_of_its_own(compiled):
    """So those of several rows are compiled, once."""
    model = gx.compile(lenet(1))
    linear = [node for node in model.source.nodes if node.op.name == "linear"]
    before = len(compiled)
    model(image(model.graph, 5))
    assert 0 < len(compiled) - before <= 2 * len(linear)
    before = len(compiled)
    model(image(model.graph, 33))
    assert len(compiled) == before


def tiles(model, batch):
    with model.turn(batch) as executor:
        return [step.work.meta for step in executor.plan.steps]


def test_a_size_that_is_prepared_later_has_kernels_of_its_own(compiled):
    model = gx.compile(vgg_block(), batches=(512,))
    alone = gx.compile(vgg_block())
    shared = tiles(alone, 512)
    assert shared == tiles(alone, None)
    own = tiles(model, 512)
    assert own != shared, "many pixels have larger tiles"
    assert tiles(model, 600) == own
    assert tiles(model, 511) == tiles(model, None)
    alone.prepare((512,))
    assert tiles(alone, 512) == own
    inputs = example_inputs(alone.graph)
    np.testing.assert_array_equal(alone(**inputs), model(**inputs))
