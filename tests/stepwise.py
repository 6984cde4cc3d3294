"""Checking a compiled model node by node against the float64 reference.

Three links make a chain from the source graph to what the caller gets: the compiled graph means
what the source means (float64 on both sides), every node's values are within the bound that is
derived from its actual operands, and a call returns exactly these values.
"""

import numpy as np

from graphcnn.ir import bounded
from graphcnn.ir.evaluate import weights
from graphcnn.report import schedule
from graphcnn.runtime.boundary import to_numpy
from tests.tolerance import assert_same_meaning, stored


def check_model(model, inputs):
    """Run a model on arrays with poisoned memory, node by node, and once more as a caller does.

    Returns the number of checked values and the largest share of its bound that an error used.
    """
    check_meaning(model, inputs)
    kept, used, checked = {}, 0.0, 0
    with model.loaded(inputs, poison=True) as executor:
        waiting, steps = list(executor.steps()), schedule.steps_of(executor.plan)
        for node in executor.graph.nodes:
            # In-place steps destroy their operands.
            operands = {name: read(executor, name) for name in dict.fromkeys(node.inputs)}
            while waiting and waiting[0][0].node == node.name:
                waiting.pop(0)[1]()
            leaving = {value.name: read(executor, value.name) for value in node.outputs}
            arithmetic = schedule.arithmetic(steps.get(node.name, ()))
            exact, errors, _ = bounded(node.members, operands, arithmetic.unit, leaving)
            for value in node.outputs:
                got = read(executor, value.name)
                used = max(used, excess(got, exact[value.name], errors[value.name], value.type))
                assert used <= 1, f"{node.place}: {value.name} is off by {used:.3g} bounds"
                checked += 1
        assert not waiting, "steps that belong to no node"
        for name, own in zip(model.source.outputs, executor.graph.outputs, strict=True):
            kept[name] = model.graph.type_of(own).dtype.round(read(executor, own))
    returned = model(**inputs)
    if len(model.source.outputs) == 1:
        returned = {model.source.outputs[0]: returned}
    assert list(returned) == list(dict.fromkeys(model.source.outputs))
    for name, array in returned.items():
        np.testing.assert_array_equal(to_numpy(array).astype(np.float64), kept[name])
    return checked, used


def check_meaning(model, inputs):
    """The compiled graph and the source mean the same, rounding of folded weights aside."""
    exact = {name: to_numpy(array).astype(np.float64) for name, array in inputs.items()}
    assert_same_meaning(model.source, model.graph, exact)


def read(executor, name):
    """A value or param of an executor's graph as it is now, as float64."""
    params = executor.graph.param_by_name
    if name in params:
        return weights(params[name])
    return to_numpy(executor.value(name)).astype(np.float64)


def excess(got, exact, error, type):
    """The largest error in units of its bound; the bound is on computing plus storing the value."""
    assert got.shape == exact.shape == type.shape
    finite = np.isfinite(exact)
    assert np.array_equal(got[~finite], exact[~finite])
    got, exact, error = got[finite], exact[finite], np.broadcast_to(error, exact.shape)[finite]
    assert not np.isnan(got).any(), f"{np.isnan(got).sum()} of {got.size} elements are NaN"
    allowed = stored(exact, error, type.dtype)
    return float((np.abs(got - exact) / np.maximum(allowed, 1e-300)).max(initial=0))
