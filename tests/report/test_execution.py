"""A run shows what came out, and how long calls take: their spread, and the first one by itself."""

import numpy as np

import graphcnn as gx
from graphcnn.report import run_once
from graphcnn.runtime.boundary import example_inputs
from graphcnn.runtime.timing import LEAST_ROUNDS, duration
from tests.runtime.small_networks import small


def test_a_run_has_its_outputs_and_the_spread_of_its_calls():
    model = gx.compile(small(), device="cpu")
    found = run_once(model, seed=3)
    assert found.ok
    assert found.timing.rounds == LEAST_ROUNDS
    assert f"{found.timing} a call" in " ".join(str(found).split())
    assert f"the first, cold, {duration(found.first_seconds)}" in " ".join(str(found).split())
    wanted = model(**example_inputs(model.graph, 3))
    (output,) = found.outputs
    assert (output.low, output.high) == (wanted.min(), wanted.max())
    assert output.largest == tuple(np.argsort(-wanted[0])[:5])


def test_a_wrong_model_is_not_timed():
    model = gx.compile(small(), device="cpu")
    model.prepare()
    packed = model._weights.tensors
    # What is lent is the graph's own, and so the reference's too.
    next(packed[name] for name in packed if name not in model._weights.lent)[:] += 1
    found = run_once(model)
    assert not found.ok
    assert found.timing is found.first_seconds is None
    assert f"not timed: {found.problem}" in " ".join(str(found).split())
