"""NaN and infinities through every operator: as torch passes them, by every way to compute it."""

import numpy as np
import pytest
import torch

import graphcnn as gx
from graphcnn.frontend.expr import Call, Weight
from graphcnn.ir import DType, OpKind
from graphcnn.ops import Anchor, BatchNorm, Gather, Prelu, activation
from tests.opinfo import INFO, SAMPLES
from tests.targets.test_ops_on_targets import is_beyond_torch

WAYS = {
    "numpy": {"target": "numpy"},
    "library": {"target": "library"},
    "alone": {"fuse": False},
    "in a tail": {},
    # Of a convolution with a maximum behind it, which may be taken first.
    "before a maximum": {},
}
# The first sample of each op, and the first of each of its attributes.
FLOATS = [sample for sample in reversed(SAMPLES) if 0 not in sample.choices]
CASES = tuple({str(sample.op): sample for sample in FLOATS}.values())
ODD = np.array([np.nan, np.inf, -np.inf])


def planted(shape, seed):
    """Arrays of a shape: one in four elements is NaN or infinite, and all are the same of these."""
    rng = np.random.default_rng(seed)
    mixed = rng.standard_normal(shape)
    yield np.where(rng.random(shape) < 1 / 4, rng.choice(ODD, shape), mixed)
    yield from (np.full(shape, number) for number in ODD)
    # Both infinities, and one beside finite numbers.
    yield rng.choice(ODD[1:], shape)
    yield np.where(rng.random(shape) < 1 / 2, -np.inf, mixed)


def network(sample, way):
    """The op; its first operand, or every one that may be computed, is an input."""
    weighted = isinstance(sample.op, Anchor | BatchNorm | Prelu | Gather)
    arrays = sample.operands(dtype=DType.F32)
    operands = [
        Weight(type, None, type.dtype.round(array), array)
        if weighted and place
        else gx.input(f"x{place}", type.shape)
        for place, (type, array) in enumerate(zip(sample.types(), arrays, strict=True))
    ]
    inputs = {t.name: t.shape for t in operands if not isinstance(t, Weight)}
    x = operands[0]
    if way in ("in a tail", "before a maximum"):
        # Of one tap, whose value is x: a NaN stays where it is.
        channels = x.shape[1]
        conv = {3: gx.conv1d, 4: gx.conv2d}[len(x.shape)]
        kernel = np.ones((channels, 1, *(1,) * (len(x.shape) - 2)))
        operands[0] = conv(x, kernel, groups=channels)
    roles = ("input", "weight", "bias", "running_var", "shift")
    y = Call(sample.op, operands, roles[: len(operands)], "y")
    if way == "before a maximum":
        y = gx.max_pool2d(y, 2)
    weights = [array for array, t in zip(arrays, operands, strict=True) if isinstance(t, Weight)]
    return gx.graph("g", y), inputs, weights


def left_out(sample, way):
    """Why a sample is not computed in some way, or None."""
    pointwise = sample.op.kind <= OpKind.BROADCAST and len(sample.output().shape) == 4
    if way == "in a tail" and not 3 <= len(sample.shapes[0]) <= 4:
        return "no convolution is in front of it"
    if way == "before a maximum" and not (pointwise and sample.shapes[0] == sample.output().shape):
        return "a kernel takes no maximum after it"
    if way == "library" and is_beyond_torch(sample):
        return "torch does not compute it"
    if way == "library" and sample.op == activation.Gelu():
        return "torch's own, by oneDNN, makes NaN of infinity; in float64 it does not"
    return None


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("sample", CASES, ids=str)
def test_as_in_torch(sample, way):
    if why := left_out(sample, way):
        pytest.skip(why)
    graph, inputs, weights = network(sample, way)
    # What minimal filtering makes of them is in test_winograd.py.
    model = gx.compile(graph, device="cpu", winograd=False, **WAYS[way])
    for arrays in zip(
        *(planted(shape, seed) for seed, shape in enumerate(inputs.values())), strict=True
    ):
        given = {name: a.astype(np.float32) for name, a in zip(inputs, arrays, strict=True)}
        with np.errstate(all="ignore"):
            got = torch.from_numpy(np.asarray(model(**given), np.float64))
            assert gx.verify(model, **given).ok
        operands = [torch.from_numpy(a).double() for a in (*given.values(), *weights)]
        for place in sample.choices:
            operands[place] = operands[place].long()
        wanted = INFO[sample.op.name].torch(sample.op, *operands).double()
        if way == "before a maximum":
            wanted = torch.nn.functional.max_pool2d(wanted, 2)
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5, equal_nan=True)
