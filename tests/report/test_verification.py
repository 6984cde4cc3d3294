"""Verification passes what is right, and names the node at fault in what is not."""

import numpy as np
import pytest
import torch
import triton
import triton.language as tl

import graphcnn as gx
from graphcnn.errors import InputKindError, InputShapeError, MissingInput
from graphcnn.ir import Graph
from graphcnn.kernels import stages
from graphcnn.models import build
from graphcnn.report import Verification, verify
from graphcnn.targets import pack
from tests.tolerance import tf32

DRAW = np.random.default_rng(0)


def draw(*shape: int, dtype: str = "float32") -> np.ndarray:
    return DRAW.standard_normal(shape).astype(dtype)


def chain_net(batch: int = 2, dtype: str = "float32") -> Graph:
    """conv + relu + pool, conv + tanh, linear, softmax; the filters are not symmetric."""
    h = gx.input("image", (batch, 3, 12, 12), dtype)
    h = gx.conv2d(h, draw(8, 3, 3, 3, dtype=dtype), draw(8, dtype=dtype), padding=1, name="conv1")
    h = gx.max_pool2d(gx.relu(h, name="relu1"), 2, name="pool1")
    weight = 0.1 * draw(4, 8, 3, 3, dtype=dtype)
    h = gx.tanh(gx.conv2d(h, weight.astype(dtype), padding=1, name="conv2"), name="tanh2")
    h = gx.linear(gx.flatten(h), draw(5, 144, dtype=dtype), name="fc3")
    return gx.graph("chain", gx.softmax(h, name="softmax"))


def skip_net() -> Graph:
    """A residual add and a concatenated skip: exported values, several readers."""
    x = gx.input("image", (1, 4, 8, 8))
    skip = gx.relu(gx.conv2d(x, draw(4, 4, 3, 3), padding=1, name="conv1"), name="skip")
    low = gx.max_pool2d(skip, 2, name="low")
    h = gx.conv2d(skip, draw(4, 4, 3, 3), padding=1, name="conv2")
    h = gx.relu(gx.add(h, skip, name="sum"), name="relu2")
    h = gx.concat([h, skip], dim=1, name="both")
    return gx.graph("skip", [gx.avg_pool2d(h, 2, name="mean"), low])


def norm_net() -> Graph:
    """Batch norm that folds, one that stays, depthwise convolution, global pool, pad."""
    x = gx.input("image", (2, 6, 8, 8))
    scale = [0.1 * draw(6), 1 + DRAW.random(6, np.float32), 1 + draw(6), draw(6)]
    h = gx.batch_norm(gx.conv2d(x, draw(6, 1, 3, 3), groups=6, name="depthwise"), *scale)
    h = gx.silu(h)
    h = gx.batch_norm(gx.pad(h, (1, 1, 1, 1)), *scale, name="kept")
    return gx.graph("norm", gx.sigmoid(gx.global_avg_pool2d(h)))


@pytest.mark.parametrize("net", [chain_net, skip_net, norm_net])
@pytest.mark.parametrize(
    ("target", "fuse"), [("triton", True), ("triton", False), ("library", False), ("numpy", False)]
)
def test_right_models_pass(net, target, fuse):
    model = gx.compile(net(), target=target, device="cpu", fuse=fuse)
    verdict = verify(model)
    assert verdict.ok, str(verdict)
    assert [row.name for row in verdict.rows] == [node.name for node in model.graph.nodes]
    assert all(row.worst.share < 1 for row in verdict.rows)
    assert all(0 <= output.relative < 1e-4 for output in verdict.outputs)
    assert not any(value.problem for value in verdict.values)
    assert not verdict.warnings
    assert verdict.first_bad is None
    # Some rounding error is there, or float64 was compared with itself.
    exact = max(row.worst.error for row in verdict.rows) == 0
    assert exact == (target == "numpy")


def test_half_precision_passes():
    verdict = verify(gx.compile(chain_net(dtype="float16"), device="cpu"))
    assert verdict.ok, str(verdict)
    errors = {row.name: row.worst.error for row in verdict.rows}
    assert errors["pool1"] > 1e-5  # results were rounded to half precision


def test_bfloat16_passes():
    verdict = verify(gx.compile(build("lenet", 2, "bfloat16"), device="cpu"))
    assert verdict.ok, str(verdict)
    assert max(row.worst.error for row in verdict.rows) > 1e-3


@pytest.mark.parametrize("target", ["triton", "library", "numpy"])
def test_numbers_that_bfloat16_does_not_have_pass_as_they_are_rounded(target):
    x = gx.input("x", (2, 3), "bfloat16")
    net = gx.graph("net", gx.add(gx.relu(x, name="positive"), x, name="sum"))
    model = gx.compile(net, target=target, device="cpu", fuse=False)
    verdict = verify(model, x=np.linspace(-1, 2, 6, dtype=np.float32).reshape(2, 3))
    assert verdict.ok, verdict.verdict


def test_another_batch_size_and_given_inputs():
    model = gx.compile(chain_net(), device="cpu")
    verdict = verify(model, image=draw(3, 3, 12, 12))
    assert verdict.ok
    assert not verdict.random_inputs
    assert not verify(model, draw(3, 3, 12, 12)).random_inputs
    assert verify(model).random_inputs


def test_inputs_in_another_memory_order_are_read():
    image = draw(2, 12, 12, 3).transpose(0, 3, 1, 2)
    assert verify(gx.compile(chain_net(), device="cpu"), image=image).ok


def test_inputs_that_do_not_fit_raise_the_errors_of_a_call():
    model = gx.compile(skip_net(), device="cpu")
    with pytest.raises(InputShapeError):
        verify(model, image=draw(1, 4, 8, 9))
    two = gx.add(gx.input("a", (1, 4)), gx.input("b", (1, 4)))
    with pytest.raises(MissingInput):
        verify(gx.compile(gx.graph("two", two), device="cpu"), a=draw(1, 4))


def fails_at(verdict: Verification, node: str, group: str) -> None:
    assert not verdict.ok
    assert verdict.first_bad is not None
    assert (verdict.first_bad.node, verdict.first_bad.group) == (node, group)
    assert verdict.first_bad.where is not None
    assert f"FAIL: node '{node}'" in str(verdict)
    assert __file__ in verdict.first_bad.where


@pytest.mark.parametrize("fuse", [True, False])
def test_a_wrong_packed_weight_names_its_node(fuse):
    model = gx.compile(chain_net(), device="cpu", fuse=fuse)
    assert verify(model).ok
    store = model._weights
    assert store is not None
    (name,) = [name for name in store.tensors if name.startswith("conv2.weight")]
    store.tensors[name][1] += 1.0  # filters lie side by side, with zeros up to a whole panel
    verdict = verify(model)
    fails_at(verdict, "conv2", "tanh2" if fuse else "conv2")
    assert [row.name for row in verdict.rows if row.problem] == [verdict.first_bad.group]


@triton.jit
def identity(value):
    return value


@pytest.mark.parametrize(
    ("op", "node", "group"), [("relu", "relu1", "pool1"), ("tanh", "tanh2", "tanh2")]
)
def test_a_dropped_activation_is_named(op, node, group, monkeypatch):
    monkeypatch.setattr(stages, op, identity)
    fails_at(verify(gx.compile(chain_net(), device="cpu")), node, group)


def test_a_swapped_axis_names_the_convolution(monkeypatch):
    def swapped(weight):
        return right(weight.swapaxes(2, 3) if weight.ndim == 4 else weight)

    right = pack.channel_major
    monkeypatch.setattr(pack, "channel_major", swapped)
    fails_at(verify(gx.compile(chain_net(), device="cpu")), "conv1", "pool1")


def test_a_result_that_is_not_written_is_seen(monkeypatch):
    model = gx.compile(chain_net(), device="cpu", fuse=False)
    with model.turn() as executor:
        pass  # verify finds it again
    steps = [(s, (lambda: None) if s.node == "relu1" else run) for s, run in executor.steps()]
    monkeypatch.setattr(executor, "steps", lambda: iter(steps))
    verdict = verify(model)
    fails_at(verdict, "relu1", "relu1")


def test_memory_given_away_too_early_is_seen(monkeypatch):
    model = gx.compile(skip_net(), device="cpu")
    with model.turn() as executor:
        pass  # verify finds it again

    def spoilt():
        for step, run in executor.steps_as_they_are():
            if step.node == "relu2":
                yield step, lambda run=run: (run(), executor.value("skip").zero_())
            else:
                yield step, run

    monkeypatch.setattr(executor, "steps_as_they_are", executor.steps, raising=False)
    monkeypatch.setattr(executor, "steps", spoilt)
    verdict = verify(model)
    fails_at(verdict, "both", "both")
    assert "operand 'skip' was overwritten" in verdict.first_bad.because


def shifted(packed: np.ndarray, rows: int) -> np.ndarray:
    """Packed weights [reduction, filters] with the first filter's column shifted by one."""
    columns = packed.reshape(rows, -1).copy()
    columns[:, 0] = np.roll(columns[:, 0], 1)
    return columns.reshape(-1)


SPOILS = {
    "tf32": lambda packed, rows: tf32(packed),
    "1.001": lambda packed, rows: packed * np.float32(1.001),
    "shifted taps": shifted,
}


@pytest.mark.parametrize("layer", ["conv1", "conv2", "fc3"])
@pytest.mark.parametrize("spoil", SPOILS)
def test_small_faults_of_a_kernels_weights_are_seen(layer, spoil):
    net = chain_net()
    model = gx.compile(net, device="cpu")
    assert verify(model).ok
    (name,) = [name for name in model._weights.tensors if name.startswith(f"{layer}.weight")]
    packed = model._weights.tensors[name]
    weight = net.param_by_name[f"{layer}.weight"].values
    packed.copy_(torch.from_numpy(SPOILS[spoil](packed.numpy().copy(), weight[0].size)))
    group = {"conv1": "pool1", "conv2": "tanh2"}.get(layer, layer)
    fails_at(verify(model), layer, group)


def test_an_error_within_the_proof_is_more_than_rounding_does():
    x = gx.input("x", (1, 20000))
    model = gx.compile(gx.graph("wide", gx.linear(x, draw(4, 20000), name="fc")), device="cpu")
    assert verify(model).ok
    (weight,) = model._weights.tensors.values()
    weight[7] += 5.0  # the worst case of 20,000 roundings is larger than this one product
    verdict = verify(model)
    fails_at(verdict, "fc", "fc")
    assert "further off than rounding takes them in practice" in verdict.verdict


def test_an_output_that_is_overwritten_is_seen(monkeypatch):
    model = gx.compile(skip_net(), device="cpu")
    with model.turn() as executor:
        pass  # verify finds it again
    right = tuple(executor.steps())

    def spoilt():
        for step, run in right:
            last = step is right[-1][0]
            yield step, lambda run=run, last=last: (run(), last and executor.value("low").zero_())

    monkeypatch.setattr(executor, "steps", spoilt)
    verdict = verify(model)
    assert not verdict.ok
    assert verdict.verdict == "FAIL: output 'low' was overwritten after it was computed"


@pytest.mark.parametrize("target", ["triton", "library", "numpy"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_spoilt_after_compiling_are_named(target, value):
    weight = draw(4, 6)
    net = gx.graph("net", gx.linear(gx.input("x", (2, 6)), weight, name="fc"))
    (param,) = net.params
    model = gx.compile(net, target=target, device="cpu")
    assert verify(model).ok
    param.values[1, 2] = value
    verdict = verify(model)
    assert not verdict.ok
    assert f"param '{param.name}' has become NaN or infinite" in verdict.verdict


def test_weights_that_are_changed_after_compiling_are_seen():
    net = gx.graph("net", gx.linear(gx.input("x", (2, 6)), draw(4, 6), name="fc"))
    model = gx.compile(net, device="cpu")
    net.params[0].values[1, 2] += 1e-4
    fails_at(verify(model), "fc", "fc")


def test_a_constant_reference_is_a_warning():
    x = gx.input("image", (1, 3))
    net = gx.graph("dead", gx.relu(gx.linear(x, np.zeros((4, 3), "f"), -np.ones(4, "f"))))
    verdict = verify(gx.compile(net, device="cpu"))
    assert verdict.ok
    assert "constant" in verdict.warnings[0]
    assert "warning:" in str(verdict)


SPECIAL = {
    "float32": (3e38, 1e-39, 1e-45),
    "float16": (6e4, 6e-5, 6e-8),
    "bfloat16": (3e38, 1e-39, 1e-40),
}


def special_image(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Normal numbers, with NaN, infinities, huge and denormal numbers and zeros among them."""
    image = draw(*shape)
    for value in (np.nan, np.inf, -np.inf, *SPECIAL[dtype], 0.0, -0.0):
        at = tuple(DRAW.integers(size) for size in shape)
        image[at] = value
    with np.errstate(over="ignore"):
        return gx.ir.DType.of(dtype).round(image)


@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize(
    ("target", "dtype"),
    [
        ("triton", "float32"),
        ("triton", "float16"),
        ("triton", "bfloat16"),
        ("library", "float32"),
        # oneDNN's bfloat16 convolutions multiply infinities by the zeros they pad channels with.
    ],
)
def test_special_values_raise_no_false_alarm(target, dtype, batch):
    x = gx.input("image", (1, 3, 12, 12), dtype)
    skip = gx.relu(gx.conv2d(x, draw(4, 3, 3, 3), draw(4), padding=1, name="conv1"))
    h = gx.max_pool2d(gx.add(gx.conv2d(skip, draw(4, 4, 1, 1)), skip), 2, name="pool")
    h = gx.silu(gx.mul(h, h, name="square"))
    h = gx.concat(
        [gx.avg_pool2d(h, 2), gx.sigmoid(gx.avg_pool2d(h, 2)), gx.tanh(gx.max_pool2d(h, 2))]
    )
    h = gx.linear(gx.flatten(gx.pad(h, 1)), draw(5, 12 * 25), name="fc")
    net = gx.graph("net", [gx.softmax(h), gx.log_softmax(h), skip])
    model = gx.compile(net, target=target, device="cpu")
    images = special_image((batch, 3, 12, 12), dtype)
    verdict = verify(model, image=images)
    assert verdict.ok, str(verdict)
    assert verdict.warnings
    tiny = gx.ir.DType.of(dtype).round(images.astype(np.float32) * SPECIAL[dtype][1])
    assert verify(model, image=tiny).ok


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("target", ["triton", "library"])
def test_a_reference_that_is_nan_or_infinite_is_said(value, target):
    x = gx.input("image", (1, 3, 8, 8))
    h = gx.relu(gx.conv2d(x, draw(4, 3, 3, 3), padding=1))
    model = gx.compile(gx.graph("net", gx.max_pool2d(h, 2, name="y")), target=target, device="cpu")
    image = draw(1, 3, 8, 8)
    image[0, 1, 2, 2] = value
    verdict = verify(model, image=image)
    assert verdict.ok, str(verdict)
    (output,) = verdict.outputs
    assert 0 < output.unbounded < 4 * 16
    assert 0 < output.error < 1e-4
    assert f"{output.unbounded} elements" in verdict.warnings[0]


@triton.jit
def relu_without_nan(value):
    return tl.where(value > 0, value, 0.0)


@triton.jit
def relu_without_infinity(value):
    return tl.minimum(tl.maximum(value, 0.0), 3e38)


@pytest.mark.parametrize(
    ("value", "relu"), [(np.nan, relu_without_nan), (np.inf, relu_without_infinity)]
)
def test_a_kernel_that_loses_nan_or_infinity_is_named(value, relu, monkeypatch):
    monkeypatch.setattr(stages, "relu", relu)
    model = gx.compile(chain_net(), device="cpu")
    image = draw(2, 3, 12, 12)
    assert verify(model, image=image).ok
    image[1, 1, 2, 3] = value
    verdict = verify(model, image=image)
    fails_at(verdict, "relu1", "pool1")
    assert "differ where the reference is NaN or infinite" in verdict.verdict


def test_a_padding_of_minus_infinity_is_judged_where_it_is_finite():
    x = gx.input("image", (1, 2, 6, 6))
    h = gx.max_pool2d(gx.pad(x, 1, value=-np.inf), 3, name="y")
    verdict = verify(gx.compile(gx.graph("net", h), device="cpu"))
    assert verdict.ok, str(verdict)
    assert not verdict.warnings


def test_values_beyond_the_range_of_the_dtype_are_a_warning():
    x = gx.input("image", (1, 64), "float16")
    h = gx.relu(gx.linear(x, np.full((4, 64), 100, np.float16)))
    h = gx.linear(h, np.full((3, 4), 2.0**-10, np.float16), name="y")
    model = gx.compile(gx.graph("net", h), device="cpu")
    verdict = verify(model, image=np.full((1, 64), 100, np.float16))
    assert verdict.ok, str(verdict)
    assert any(
        "group 'relu' exceeds the range of its dtype at 4 elements" in text
        for text in verdict.warnings
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_results_below_the_normal_range_pass(dtype):
    smallest = {"float32": 1e-20, "bfloat16": 1e-20, "float16": 2e-3}[dtype]
    x = gx.input("x", (1, 64), dtype)
    weight = gx.ir.DType.of(dtype).round(smallest * draw(8, 64))
    model = gx.compile(gx.graph("net", gx.linear(x, weight, name="y")), device="cpu")
    given = gx.ir.DType.of(dtype).round(smallest * draw(1, 64))
    verdict = verify(model, x=given)
    assert verdict.ok, str(verdict)


def test_the_lines_below_the_tables_fit_eighty_columns():
    x = gx.input("image", (2, 8), "float16")
    h = gx.linear(x, np.full((4, 8), 6e4, np.float16), name="a_name_of_some_length")
    net = gx.graph("net", gx.add(h, 1.0))
    model = gx.compile(net, device="cpu")
    weight = next(w for n, w in model._weights.tensors.items() if "some_length" in n)
    weight[:8] = 0  # one feature of four
    verdict = verify(model)
    lines = str(verdict).splitlines()
    first = next(at for at, line in enumerate(lines) if line.startswith("warning: "))
    assert any(line.startswith("FAIL: ") for line in lines[first:])
    assert all(len(line) <= 80 or len(line.split()) == 1 for line in lines[first:])


@pytest.mark.parametrize("thing", [5, "lenet", None, Graph])
def test_reports_are_of_compiled_models(thing):
    reports = (gx.verify, gx.profile, gx.explain, lambda model: gx.compare({"fused": model}))
    for report in reports:
        with pytest.raises(InputKindError, match="not a compiled model") as caught:
            report(thing)
        assert caught.value.got == type(thing).__name__
        assert "gx.compile(graph)" in caught.value.remedy
