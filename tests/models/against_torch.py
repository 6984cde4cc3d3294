"""Comparing a built-in network with a torch module that is given the same parameters."""

import numpy as np
import torch

from graphcnn.ir import evaluate
from graphcnn.runtime.boundary import example_inputs

# Of the range of the scores. Both sides compute in float64, and round in orders of their own.
APART = 1e-12


def assert_equals_torch(net, module, computes=None):
    """The module's state, but for counters, is the network's params in order; so are its outputs.

    Args:
        net: The network.
        module: Called with the network's inputs, in order.
        computes: Names of the values that the module returns; the scores under "softmax" by
            default.

    Returns:
        The names of that state.
    """
    state = {
        name: array
        for name, array in module.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    params = [param for param in net.params if param.type.shape]  # the rest is numbers of formulas
    assert [tuple(array.shape) for array in state.values()] == [p.type.shape for p in params]
    given = (torch.tensor(param.values) for param in params)
    module.load_state_dict(dict(zip(state, given, strict=True)), strict=False)
    inputs = {name: array.astype(np.float64) for name, array in example_inputs(net).items()}
    with torch.no_grad():
        got = module.double().eval()(*map(torch.tensor, inputs.values()))
    got = dict(zip(computes, got, strict=True)) if computes else {net["softmax"].inputs[0]: got}
    if not computes:
        got["softmax"] = next(iter(got.values())).softmax(1)
    values = evaluate(net, inputs, got)
    for name, expected in got.items():
        assert np.ptp(values[name]) > 0
        assert np.abs(values[name] - expected.numpy()).max() <= APART * np.ptp(values[name]), name
    return list(state)
