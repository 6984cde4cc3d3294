"""Gated activations in one kernel: two convolutions of one input and what their values meet in."""

import numpy as np
import pytest

import graphcnn as gx
from graphcnn.ir import DType, Param, Refusal, TensorType, parse, with_he_weights
from graphcnn.runtime.boundary import example_inputs
from graphcnn.targets.chain import chain_of
from graphcnn.targets.pack import filters, in_turns, plain
from tests.stepwise import check_model


def gated(filters=20, dtype="float32", bias=True):
    """A layer of a WaveNet (van den Oord et al., 2016): tanh of a filter times sigmoid of a gate,
    both causal, and the residual."""
    h = gx.relu(gx.input("x", (2, 16, 33), dtype), name="h")

    def conv(name, channels, taps, h):
        w = gx.param(f"{name}.weight", (channels, h.shape[1], taps), dtype)
        b = gx.param(f"{name}.bias", (channels,), dtype) if bias else None
        return gx.conv1d(h, w, b, padding=(2 * taps - 2, 0), dilation=2, name=name)

    shape = gx.tanh(conv("filter", filters, 2, h), name="tanh")
    gate = gx.sigmoid(conv("gate", filters, 2, h), name="sigmoid")
    y = conv("mix", 16, 1, gx.mul(shape, gate, name="gated"))
    return with_he_weights(gx.graph("wave", gx.add(y, h, name="residual")))


@pytest.mark.cpu
@pytest.mark.parametrize("sanitize", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(("filters", "bias"), [(20, True), (16, False), (3, True)])
def test_filter_and_gate_are_one_kernel(filters, bias, dtype, sanitize, monkeypatch):
    if sanitize:
        monkeypatch.setenv("GRAPHCNN_SANITIZE", "1")
    model = gx.compile(gated(filters, dtype, bias), device="cpu")
    labels = ["relu", "conv1d+tanh+conv1d+sigmoid+mul", "conv1d+add"]
    assert [step.label for step in model.plan.steps] == labels
    check_model(model, example_inputs(model.source))
    assert gx.verify(model).ok


def body(gate="conv2d(x, v)", last="mul(f, s)", outputs="y"):
    """A gate's group: its second convolution, its join and its exports vary."""
    return parse(f"""graph g {{
      input x: f32[1,4,8,6]
      param w: f32[4,4,1,1]
      param v: f32[4,4,1,1]
      param u: f32[4,4,3,3]
      param b: f32[4]
      f: f32[1,4,8,6] = conv2d(x, w)
      r: f32[1,4,8,6] = relu(f)
      g: f32[1,4,8,6] = {gate}
      s: f32[1,4,8,6] = sigmoid(g)
      y: f32[1,4,8,6] = {last}
      return {outputs}
    }}""")


def test_a_gate_s_chain_begins_with_both_halves():
    chain = chain_of(body())
    assert chain.gate.name == "g"
    assert [step.reads for step in chain.tail] == [(0,), (0,), (1,), (2,), (1, 4)]
    assert chain.exports == (5,)


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"gate": "conv2d(r, v)"}, "it is another convolution than 'f', or of another input"),
        (
            {"gate": "conv2d(x, u, padding=(1, 1, 1, 1))"},
            "it is another convolution than 'f', or of another input",
        ),
        ({"gate": "conv2d(x, v, b)"}, "its filters, or its bias, are not like those of 'f'"),
        ({"outputs": "y, g"}, "a kernel does not store what it computes a gate of"),
        ({"outputs": "f, y"}, "a kernel does not store what it computes a gate of"),
    ],
)
def test_other_pairs_are_refused(changes, because):
    refusal = chain_of(body(**changes))
    assert isinstance(refusal, Refusal)
    assert (refusal.node, refusal.because) == ("g", because)


@pytest.mark.parametrize("order", ["reduction_major", "channel_major"])
@pytest.mark.parametrize("count", [3, 8, 20])
def test_filters_lie_in_turns_of_eight(order, count):
    rng = np.random.default_rng(0)
    data = rng.standard_normal((2, count, 5, 1, 2)).astype(np.float32)
    type = TensorType(data.shape[1:], DType.F32)
    params = [Param("w", type, data[0]), Param("v", type, data[1])]
    known = {param.name: param for param in params}
    both = in_turns(*(filters(param, order) for param in params))
    memory = both.pack(known)
    steps = [stride * memory.itemsize for stride in both.strides]
    matrix = np.lib.stride_tricks.as_strided(memory, both.shape, steps)
    assert both.shape == (2 * 8 * -(-count // 8), 10)
    used = set()
    for half, param in enumerate(data):
        for k in range(count):
            row = k // 8 * 16 + 8 * half + k % 8
            used.add(row)
            np.testing.assert_array_equal(matrix[row], param[k].reshape(5, -1).T.ravel())
    assert not np.delete(matrix, list(used), 0).any()
    type, biases = TensorType((count,), DType.F32), data[:, :, 0, 0, 0]
    vectors = [Param("b", type, biases[0]), Param("c", type, biases[1])]
    packed = in_turns(*map(plain, vectors)).pack({param.name: param for param in vectors})
    np.testing.assert_array_equal(packed[8 : 8 + min(count, 8)], biases[1, :8])
