"""The table of operators as models of one node: what every target and device has to compute."""

from dataclasses import replace

import graphcnn as gx
from graphcnn.ir import DType, OpKind
from tests.opinfo import INFO, SAMPLES
from tests.stepwise import check_model

FIRST = tuple(info.samples[0] for info in INFO.values())
# Pointwise kernels differ between dtypes in a load and a store; one shape of each op shows that.
HALF = tuple(s for s in SAMPLES if s.op.kind is not OpKind.ELEMENTWISE or s in FIRST)
CASES = tuple(
    (sample, dtype)
    for dtype, samples in ((DType.F32, SAMPLES), (DType.F16, HALF), (DType.BF16, FIRST))
    for sample in samples
)


def case_id(value):
    return str(value)


def model_of(sample, dtype, target, device):
    """One node, compiled as it stands; the first operand is the input."""
    graph = sample.graph(dtype)
    operands = sample.operands(dtype=dtype)
    params = tuple(
        replace(param, data=param.type.dtype.round(array))
        for param, array in zip(graph.params, operands[1:], strict=True)
    )
    model = gx.compile(graph.replace(params=params), target=target, device=device, passes=())
    return model, {"v0": graph.inputs[0].type.dtype.round(operands[0])}


def check_sample(sample, dtype, target, device):
    """Compute a sample with poisoned memory and compare within the op's own bound."""
    checked, _ = check_model(*model_of(sample, dtype, target, device))
    assert checked == 1
