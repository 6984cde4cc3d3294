"""Every operator on every target, against the float64 reference within the op's own bound."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import graphcnn as gx
from graphcnn.errors import UnsupportedOp
from graphcnn.ir import Chosen, DType
from graphcnn.kernels import CUDA
from graphcnn.ops import AvgPool, AvgPool2d, MaxPool, MaxPool2d
from graphcnn.plan import Call
from graphcnn.targets import torch_ops
from graphcnn.targets.device import Device
from graphcnn.targets.library import LibraryTarget
from tests import strategies
from tests.opinfo import INFO, SAMPLES, Sample
from tests.stepwise import check_meaning, check_model
from tests.targets.op_cases import CASES, case_id, check_sample, model_of


def is_beyond_torch(sample):
    """torch's pools pad both sides alike; padding the input first changes what these compute."""
    match sample.op:
        case MaxPool(ceil_mode=True) | AvgPool(ceil_mode=True) | AvgPool(count_include_pad=False):
            return sample.op.window.begins != sample.op.window.ends
    return False


@pytest.mark.parametrize(("sample", "dtype"), CASES, ids=case_id)
def test_triton_on_the_cpu(sample, dtype):
    check_sample(sample, dtype, "triton", "cpu")


@pytest.mark.parametrize("dtype", [*(d for d in DType if d.is_float)])
@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_library(sample, dtype):
    if is_beyond_torch(sample):
        with pytest.raises(UnsupportedOp, match="pads both sides alike") as caught:
            model_of(sample, dtype, "library", "cpu")
        assert "node 'y'" in caught.value.where
        assert caught.value.remedy
    else:
        check_sample(sample, dtype, "library", "cpu")


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_numpy(sample):
    check_sample(sample, DType.F64, "numpy", "cpu")


def test_every_op_has_a_row():
    for name, info in INFO.items():
        op = info.samples[0].op
        assert op.row(torch_ops.TABLE), name


@pytest.mark.parametrize("pool", [MaxPool2d, AvgPool2d])
@pytest.mark.parametrize("padding", [(2, 2, 2, 2), (1, 0, 0, 2)])
def test_torch_pools_with_padding_that_its_own_pools_refuse(pool, padding):
    options = {"count_include_pad": False} if pool is AvgPool2d else {"ceil_mode": True}
    plain, odd = (
        Sample(pool((3, 3), (1, 1), padding, **more), ((1, 2, 5, 6),)) for more in ({}, options)
    )
    check_sample(plain, DType.F32, "library", "cpu")
    with pytest.raises(UnsupportedOp, match="half its window"):
        model_of(odd, DType.F32, "library", "cpu")
    check_sample(odd, DType.F32, "triton", "cpu")


@pytest.mark.parametrize("value", [0.0, -float("inf"), 1.5])
@pytest.mark.parametrize("options", [{}, {"fuse": False}, {"target": "library"}], ids=str)
def test_a_pad_before_a_pool_that_pads(value, options):
    x = np.random.default_rng(0).standard_normal((1, 3, 7, 8), np.float32)
    for pool in (gx.avg_pool2d, gx.max_pool2d):
        if value >= 0 or pool is gx.max_pool2d:
            graph = gx.graph("g", pool(gx.pad(image(*x.shape), 1, value=value), 3, 2, 1))
            check_model(gx.compile(graph, device="cpu", **options), {"image": x})


@pytest.mark.parametrize("options", [{}, {"fuse": False}, {"target": "library"}], ids=str)
def test_nan_and_infinities_of_two_operands(options):
    """As in torch, in a kernel of its own and in the tail of a convolution's."""
    numbers = np.array([-np.inf, -2.0, 0.0, 3.0, np.inf, np.nan], np.float32)
    a, b = (array.reshape(1, 1, 6, 6) for array in np.meshgrid(numbers, numbers))
    x, r = gx.input("x", a.shape), gx.input("r", a.shape)
    h = gx.conv2d(x, np.ones((1, 1, 1, 1)))
    functions = gx.sub, gx.div, gx.minimum, gx.maximum
    calls = [(f, pair) for f in functions for pair in ((x, r), (r, x), (h, r), (r, h))]
    outputs = [f(*pair) for f, pair in calls]
    model = gx.compile(gx.graph("g", outputs), device="cpu", **options)
    got = model(x=a, r=b)
    place = {x: torch.tensor(a), h: torch.tensor(a), r: torch.tensor(b)}
    for (f, pair), y in zip(calls, got.values(), strict=True):
        wanted = getattr(torch, f.__name__)(*(place[tensor] for tensor in pair))
        np.testing.assert_array_equal(y, wanted)
    assert gx.verify(model, x=a, r=b).ok


NUMBERS = ((1000.0, 1e-7), (10000.0, 1e-8), (30000.0, 3e-8), (0.01, 1e5), (2.0, 0.1))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("options", [{}, {"fuse": False}, {"target": "library"}], ids=str)
def test_a_number_beside_half_precision_stays_wide(dtype, options):
    """In a kernel of its own, and in the tail of a convolution's."""
    rng = np.random.default_rng(0)
    for value, number in NUMBERS:
        x = image(1, 2, 4, 4, dtype=dtype)
        one = gx.conv2d(x, np.ones((2, 1, 1, 1)), groups=2)
        graph = gx.graph("g", [gx.mul(x, number, name="alone"), (one + value) * number])
        array = DType.of(dtype).round(value * rng.uniform(0.5, 1, (1, 2, 4, 4)))
        model = gx.compile(graph, device="cpu", **options)
        check_model(model, {"image": array})
        check_meaning(model, {"image": array})
        half = torch.from_numpy(array).to(getattr(torch, dtype))
        assert torch.equal(model(image=half)["alone"], half * number)


def image(*shape, dtype="float32"):
    return gx.input("image", shape, dtype)


CALLED = {
    "a weight that the graph computes": (
        lambda: gx.conv2d(image(1, 3, 8, 8), gx.relu(gx.input("w", (4, 3, 3, 3))), name="called"),
        "'relu' is computed in the graph; it must be a param",
    ),
    "a bias that the graph computes": (
        lambda: gx.linear(
            image(1, 6), np.ones((4, 6)), gx.relu(gx.input("b", (4,))), name="called"
        ),
        "'relu' is computed in the graph; it must be a param",
    ),
    "a statistic that the call passes": (
        lambda: gx.batch_norm(image(2, 3), gx.input("mean", (3,)), np.ones(3), name="called"),
        "'mean' is computed in the graph; it must be a param",
    ),
    "five dimensions": (
        lambda: gx.softmax(image(2, 3, 2, 3, 2), name="called"),
        "kernels run over at most four dimensions, not over (2, 3, 2, 3, 2)",
    ),
}


@pytest.mark.parametrize(("make", "because"), CALLED.values(), ids=CALLED)
@pytest.mark.parametrize("fuse", [True, False])
def test_what_kernels_refuse_the_library_computes_and_the_log_says_so(make, because, fuse):
    graph = gx.graph("g", gx.relu(make()))
    model = gx.compile(graph, device="cpu", fuse=fuse)
    check_model(model, strategies.inputs(graph))
    (step,) = (step for step in model.plan.steps if step.node == "called")
    assert isinstance(step.work, Call)
    reads = graph.producer("called").inputs
    moved = sum(graph.type_of(name).nbytes for name in (*reads, "called"))
    told = f"{because}: a library call, which moves {moved:,} bytes"
    assert [no.because for no in model.log.refusals if "library" in no.because] == [told]


def test_a_call_leaves_nothing_of_the_kernel_that_was_tried():
    """Its weight is not packed, and no tile was chosen."""
    graph = gx.graph("g", CALLED["a bias that the graph computes"][0]())
    model = gx.compile(graph, device="cpu")
    assert model.plan.weights == ()
    assert model.log.of(Chosen) == []


ODD_NUMBERS = (np.nan, np.inf, -np.inf)
ACROSS = {
    "local_response_norm": (
        lambda x: gx.local_response_norm(x, 3, 0.5, name="called"),
        lambda x: F.local_response_norm(x, 3, 0.5),
    ),
    "mean": (lambda x: gx.mean(x, 1, name="called"), lambda x: x.mean(1)),
    "sum": (lambda x: gx.sum(x, (1, 3), name="called"), lambda x: x.sum((1, 3))),
    "amax": (lambda x: gx.amax(x, 1, True, name="called"), lambda x: x.amax(1, True)),
    "amin": (lambda x: gx.amin(x, -1, name="called"), lambda x: x.amin(-1)),
    "group_norm": (lambda x: gx.group_norm(x, 3), lambda x: F.group_norm(x, 3)),
    "instance_norm": (gx.instance_norm, F.instance_norm),
    "layer_norm": (lambda x: gx.layer_norm(x, (2, 3)), lambda x: F.layer_norm(x, (2, 3))),
    "interpolate": (
        lambda x: gx.interpolate(x, (3, 5), mode="bilinear"),
        lambda x: F.interpolate(x, (3, 5), mode="bilinear"),
    ),
    "adaptive_max_pool2d": (
        lambda x: gx.adaptive_max_pool2d(x, (1, 2)),
        lambda x: F.adaptive_max_pool2d(x, (1, 2)),
    ),
    "adaptive_avg_pool2d": (
        lambda x: gx.adaptive_avg_pool2d(x, (1, 2)),
        lambda x: F.adaptive_avg_pool2d(x, (1, 2)),
    ),
}


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(("ours", "torchs"), ACROSS.values(), ids=ACROSS)
def test_nan_and_infinities_spread_as_in_torch(ours, torchs, dtype):
    """By kernels, and by calls between them, as torch computes it in float32."""
    x = np.random.default_rng(0).standard_normal((4, 6, 2, 3))
    for sample, number in enumerate(ODD_NUMBERS):
        x[sample, 2 * sample, 1, sample] = number
    graph = gx.graph("g", gx.relu(ours(image(*x.shape, dtype=dtype) + 1.0)))
    tensor = torch.from_numpy(x).to(getattr(torch, dtype))
    got = gx.compile(graph, device="cpu")(image=tensor)
    wanted = torch.relu(torchs((tensor + 1.0).float())).to(tensor.dtype)
    assert got.isnan().any()
    assert got.isfinite().any()
    torch.testing.assert_close(got, wanted, equal_nan=True)


@pytest.mark.parametrize("target", ["triton", "library"])
def test_a_mean_of_halves_whose_sum_overflows(target):
    """2,000 times 60 is beyond float16; the squares of 300 are, too."""
    x = image(1, 2000, 2, 1, dtype="float16")
    outputs = [gx.mean(x, 1, name="mean"), gx.local_response_norm(x, 5, name="norm")]
    model = gx.compile(gx.graph("g", outputs), device="cpu", target=target)
    for value in (60, 300):
        check_model(model, {"image": np.full((1, 2000, 2, 1), value, np.float16)})


def test_groups_with_several_outputs_are_not_for_operator_targets():
    fc = gx.linear(image(1, 6), gx.param("w", (4, 6)), name="fc")
    graph = gx.graph("g", outputs=[fc, gx.relu(fc)])
    fused = gx.compile(graph, device="cpu").graph
    assert len(fused.nodes) == 1
    with pytest.raises(UnsupportedOp, match="no single operator") as caught:
        LibraryTarget(gx.compile(graph, device="cpu").target.on).lower(fused)
    assert "relu" in caught.value.where


@pytest.mark.parametrize("tf32", [False, True])
def test_torch_on_cuda_convolves_in_tf32_where_its_settings_say_so(tf32):
    on_cuda = LibraryTarget(Device(CUDA, torch.device("cuda"), None))
    h = gx.conv1d(gx.reshape(image(1, 1, 2, 9), (1, 2, 9)), gx.param("w", (3, 2, 3)))
    g = gx.conv2d(gx.reshape(h, (1, 3, 1, 7)), gx.param("v", (4, 3, 1, 1)))
    # A module of torch.testing that is imported forbids to set the flags themselves.
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=tf32):
        steps = on_cuda.lower(gx.graph("g", gx.relu(g))).steps
    units = {step.label: step.arithmetic.unit for step in steps}
    wide, narrow = 2.0**-24, 2.0**-11
    convolved = narrow if tf32 else wide
    assert units == {"reshape": wide, "conv1d": convolved, "conv2d": convolved, "relu": wide}


def test_a_latent_that_is_drawn_in_the_graph():
    """The sample of a variational auto-encoder: the same on every target."""
    weights = [np.random.default_rng(n).standard_normal((4, 6)) / 2 for n in (0, 1)]
    h = gx.relu(image(5, 6))
    mu, logvar = (gx.linear(h, weight) for weight in weights)
    drawn = mu.random_normal(seed=3, name="drawn")
    graph = gx.graph("g", [mu + gx.exp(0.5 * logvar) * drawn, drawn, mu.random_uniform(3)])
    x = np.random.default_rng(2).standard_normal((5, 6), np.float32)
    results = []
    for target in ("triton", "library", "numpy"):
        model = gx.compile(graph, device="cpu", target=target)
        check_model(model, {"image": x})
        assert gx.verify(model, image=x).ok
        results.append([*model(image=x).values()])
    (z, drawn, uniform), *others = results
    assert np.ptp(drawn) > 1
    for other in others:
        np.testing.assert_allclose(z, other[0], rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(uniform, other[2])
