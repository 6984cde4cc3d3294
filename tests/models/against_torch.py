"""Comparing a built-in network with a torch module that is given the same parameters."""

import numpy as np
import torch

from graphcnn.ir import evaluate
from graphcnn.runtime.boundary import example_inputs

# Of the range of the scores. Both sides compute in float64, and round in orders of their own.
APART = 1e-12


def assert_equals_torch(net, module):
    """The module's state, but for counters, is the network's params in order; so are its outputs.

    Returns the names of that state.
    """
    state = {
        name: array
        for name, array in module.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    assert [tuple(array.shape) for array in state.values()] == [p.type.shape for p in net.params]
    given = (torch.tensor(param.values) for param in net.params)
    module.load_state_dict(dict(zip(state, given, strict=True)), strict=False)
    inputs = {name: array.astype(np.float64) for name, array in example_inputs(net).items()}
    with torch.no_grad():
        scores = module.double().eval()(torch.tensor(inputs["image"]))
    (source,) = net["softmax"].inputs
    values = evaluate(net, inputs, (source, "softmax"))
    for name, got in ((source, scores), ("softmax", scores.softmax(1))):
        assert np.ptp(values[name]) > 0
        assert np.abs(values[name] - got.numpy()).max() <= APART * np.ptp(values[name]), name
    return list(state)
