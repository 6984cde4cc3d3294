"""Minimal filtering as a user meets it: where it is taken, told, judged and refused."""

from types import SimpleNamespace

import numpy as np
import pytest

import graphcnn as gx
from graphcnn.errors import InvalidAttribute
from graphcnn.ir import DType, Param, TensorType
from graphcnn.kernels import TRANSFORMS, WinogradTile, by_rule, winograd, winograd_conv2d
from graphcnn.runtime.boundary import example_inputs
from graphcnn.targets import resolve
from graphcnn.targets.policy import Policy
from graphcnn.targets.triton import TritonTarget
from graphcnn.targets.winograd import filters
from tests.stepwise import check_model

DRAW = np.random.default_rng(7)


def conv(x, count, **options):
    depth = x.shape[1]
    weight = DRAW.standard_normal((count, depth, 3, 3)) / np.sqrt(9 * depth)
    return gx.conv2d(x, weight, DRAW.standard_normal(count), padding=1, **options)


def network(size=18, channels=32, dtype="float32"):
    """Inner maps are channels-last: the 1x1 convolutions at the border are not filtered."""
    x = gx.input("image", (2, 3, size, size + 3), dtype)
    h = gx.relu(gx.conv2d(x, DRAW.standard_normal((channels, 3, 1, 1)), name="first"))
    h = gx.relu(conv(h, 48, name="conv1"))
    skip = gx.relu(conv(h, 48, name="conv2"))
    h = gx.max_pool2d(gx.relu(conv(skip, 48, name="conv3") + skip), 2)
    return gx.graph("net", gx.conv2d(h, DRAW.standard_normal((5, 48, 1, 1)) / 7, name="last"))


def kernels(model):
    return [step.work.kernel.__name__ for step in model.plan.steps]


def test_it_is_taken_where_it_pays_and_is_right():
    graph = network()
    model = gx.compile(graph, device="cpu")
    assert kernels(model).count("winograd_kernel") == 3
    check_model(model, example_inputs(graph))
    assert gx.verify(model).ok
    told = gx.explain(model)
    assert [(a.node, a.chosen) for a in told.algorithms] == [
        (f"conv{n}", "F(4x4, 3x3)") for n in (1, 2, 3)
    ]
    text = " ".join(str(told).split())
    assert "numbers transformed" in text
    assert [row.kernel for row in told.rows][1] == "winograd conv2d+relu"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_halves_are_filtered_in_float32(dtype):
    graph = network(60, 64, dtype)
    model = gx.compile(graph, device="cpu")
    assert "winograd_kernel" in kernels(model)
    filters = [weight for weight in model.plan.weights if "winograd" in weight.name]
    assert {weight.dtype for weight in filters} == {DType.F32}
    assert gx.verify(model).ok


def test_direct_sums_can_be_asked_for():
    graph = network()
    model = gx.compile(graph, device="cpu", winograd=False)
    assert "winograd_kernel" not in kernels(model)
    assert not any("winograd" in weight.name for weight in model.plan.weights)
    told = gx.explain(model).algorithms
    assert {a.chosen for a in told} == {"direct"}
    assert all(a.because.endswith("sums as they are written were asked for") for a in told)
    with pytest.raises(InvalidAttribute, match="winograd"):
        gx.compile(graph, device="cpu", winograd="never")


class Written(Policy):
    """What was measured: that the sums as they are written are faster."""

    def kernel(self, anchor, problem, found, device):
        return by_rule(problem, [c for c in found if c.launch is not winograd_conv2d], device)


def test_what_another_than_the_user_decided_is_not_said_to_be_asked_for():
    lowered = TritonTarget(resolve("triton", "cpu").on, Written()).lower(network())
    told = [choice for choice in lowered.choices if choice.what == "algorithm"]
    assert len(told) == 3
    assert all("measured to be faster" in choice.because for choice in told)


@pytest.mark.parametrize(
    "change",
    [{"stride": 2}, {"dilation": 2}, {"groups": 2}, {"taps": 5}],
    ids=str,
)
def test_what_is_no_sliding_of_3x3_filters_is_direct(change):
    taps = change.pop("taps", 3)
    x = gx.input("x", (1, 64, 32, 32))
    h = gx.relu(gx.conv2d(x, np.ones((64, 64, 1, 1))))
    depth = 64 // change.get("groups", 1)
    h = gx.conv2d(h, np.ones((64, depth, taps, taps)), padding=1, **change)
    graph = gx.graph("g", gx.conv2d(h, np.ones((4, 64, 1, 1))))
    assert "winograd_kernel" not in kernels(gx.compile(graph, device="cpu"))


def test_its_memory_is_a_part_of_the_arena():
    model = gx.compile(network(), device="cpu")
    slots = {slot.name: slot for slot in model.plan.slots}
    for index, step in enumerate(model.plan.steps):
        for name in step.writes:
            if name.endswith("@scratch"):
                assert (slots[name].first, slots[name].last) == (index, index)
    assert sum(name.endswith("@scratch") for name in slots) == 3


def test_under_the_sanitizer(monkeypatch):
    monkeypatch.setenv("GRAPHCNN_SANITIZE", "1")
    graph = network(6)
    model = gx.compile(graph, device="cpu")
    assert "winograd_kernel" in kernels(model)
    check_model(model, example_inputs(graph))


def test_another_batch_size():
    graph = network()
    model = gx.compile(graph, device="cpu")
    (image,) = example_inputs(graph).values()
    both = model(image=image)
    np.testing.assert_allclose(model(image=image[:1]), both[:1], atol=1e-5)


@pytest.mark.parametrize("table", ["INPUT", "OUTPUT", "filter"])
def test_a_wrong_constant_fails(table, monkeypatch):
    """A thousandth off."""
    right = TRANSFORMS[4]

    def off(matrix):
        rows = [list(row) for row in matrix]
        rows[2][1 if table == "filter" else next(k for k, n in enumerate(rows[2]) if n)] += 1e-3
        return tuple(map(tuple, rows))

    graph = network()
    if table == "filter":
        wrong = SimpleNamespace(**{**vars(right), "filter": off(right.filter)})
        monkeypatch.setitem(TRANSFORMS, 4, wrong)
        assert not gx.verify(gx.compile(graph, device="cpu")).ok
        return
    tables = right.tables._replace(**{table: off(getattr(right.tables, table))})
    wrong = SimpleNamespace(**{**vars(right), "tables": tables})
    with monkeypatch.context() as patch:
        patch.setattr(winograd, "TRANSFORMS", {**TRANSFORMS, 4: wrong})
        model = gx.compile(graph, device="cpu")
    verdict = gx.verify(model)
    assert not verdict.ok
    assert verdict.first_bad.group == "relu_1"  # of which no part is filtered alone, row-major


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_spreads_over_its_tiles_and_no_further(number):
    graph = network()
    images = {"image": example_inputs(graph)["image"].copy()}
    images["image"][1, :, 17, 20] = number
    model = gx.compile(graph, device="cpu")
    verdict = gx.verify(model, **images)
    assert verdict.ok, str(verdict)
    assert any("not judged" in warning for warning in verdict.warnings)
    direct = gx.compile(graph, device="cpu", winograd=False)
    made, wanted = model(**images), direct(**images)
    assert np.isfinite(made[0]).all()
    assert not np.isfinite(wanted).all()
    assert not np.isfinite(made[~np.isfinite(wanted)]).any()
    assert np.isfinite(made[1, :, 0, 0]).all()


@pytest.mark.parametrize("order", ["channel_major", "reduction_major"])
def test_filters_are_rounded_once(order):
    weight = DRAW.standard_normal((5, 3, 3, 3)).astype(np.float32)
    param = Param("w", TensorType(weight.shape, DType.F32), weight)
    packing = filters(param, WinogradTile(4, 4, 16, 16), order)
    memory = packing.pack({"w": param}).reshape(-1)
    strides = [4 * step for step in packing.strides]
    got = np.lib.stride_tricks.as_strided(memory, packing.shape, strides)
    along = np.array(TRANSFORMS[4].filter)
    wanted = np.zeros((8, 36, 16), np.float32)
    exact = np.einsum("ir,kcrs,js->kijc", along, weight.astype(np.float64), along)
    wanted[:5, :, :3] = exact.reshape(5, 36, 3)
    wanted = wanted.reshape(2, 4, 36, 16).transpose(0, 2, 1, 3)
    np.testing.assert_array_max_ulp(got, wanted, 1)
    assert (got == wanted).mean() > 0.999


def test_filters_of_halves_are_those_of_the_dtype():
    weight = DRAW.standard_normal((5, 3, 3, 3)).astype(np.float32)

    def packed(dtype, array):
        param = Param("w", TensorType(array.shape, dtype), array)
        packing = filters(param, WinogradTile(4, 4, 16, 16), "channel_major")
        assert packing.dtype is DType.F32
        return packing.pack({"w": param})

    rounded = packed(DType.F32, DType.BF16.round(weight))
    np.testing.assert_array_equal(packed(DType.BF16, weight), rounded)
    assert (packed(DType.F32, weight) != rounded).any()
