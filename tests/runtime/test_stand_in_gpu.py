"""The CUDA device's launch path, on a machine that has none."""

import numpy as np
import pytest
import torch
import triton
import triton.language as tl

import graphcnn as gx
from graphcnn import triton_api
from graphcnn.errors import KernelFailed
from graphcnn.gpu_code import ARCHITECTURES
from graphcnn.kernels import cuda_traits
from graphcnn.models.lenet import mnist_sample
from graphcnn.plan import Arithmetic
from graphcnn.runtime.boundary import example_inputs
from tests.runtime.small_networks import NETWORKS
from tests.stand_in_gpu import StandInGpu, stand_in_target
from tests.stepwise import check_model

# What brings the parts of a reduction together, where a convolution is in parts.
PARTS = "sum_parts_kernel"


@pytest.fixture(params=[80, 90], ids=["sm_80", "sm_90"])
def gpu(request, monkeypatch):
    """What device="cuda" means in this test."""
    target, driver = stand_in_target(request.param)
    monkeypatch.setattr("graphcnn.compiler.resolve", lambda *_: target)
    return driver


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_take_the_cuda_path(gpu, name, dtype):
    graph = NETWORKS[name](dtype)
    model = gx.compile(graph, device="cuda")
    assert model.target.on.traits.conv == cuda_traits(gpu.capability).conv
    captured = len(gpu.launches)
    checked, used = check_model(model, example_inputs(graph))
    assert checked >= len(model.graph.nodes)
    assert 0 < used <= 1
    assert [run.spills for run in gpu.launches] == [0] * 2 * len(model.plan.steps)
    assert all(0 < run.registers <= 255 for run in gpu.launches)
    limit = ARCHITECTURES[f"sm_{gpu.capability}"].shared_bytes
    assert all(run.shared_bytes <= limit for run in gpu.launches)
    # The check runs step by step first; a call replays what is captured.
    assert [run.grid for run in gpu.launches[captured:][: len(model.plan.steps)]] == [
        step.work.grid for step in model.plan.steps
    ]


def test_fusion_saves_launches(gpu):
    graph = NETWORKS["vgg_block"]("float16")
    inputs = example_inputs(graph)
    gx.compile(graph)(**inputs)
    assert [run.kernel for run in gpu.launches if run.kernel != PARTS] == ["conv2d_kernel"] * 2
    gpu.launches.clear()
    unfused = gx.compile(graph, fuse=False)
    unfused(**inputs)
    assert len([run for run in gpu.launches if run.kernel != PARTS]) == 5
    check_model(unfused, inputs)


def test_float32_uses_three_tf32_products(gpu):
    """The bound allows for them; that they reach the tensor cores is tested with the kernels."""
    model = gx.compile(NETWORKS["vgg_block"]("float32"))
    step = model.plan.steps[0]
    assert step.arithmetic == Arithmetic(2.0**-21)
    assert step.work.meta["PRECISION"] == "tf32x3"


def test_digits_and_other_batch_sizes(gpu):
    images, labels = mnist_sample()
    model = gx.compile(NETWORKS["lenet"]("float16"))
    images = images[:40].astype(np.float16)
    got = model(image=images)
    assert (got.argmax(1) == labels[:40]).mean() >= 0.95
    check_model(model, {"image": images[:2]})


@pytest.mark.parametrize("batches", [(2, 2), (2, 5), (5, 2)], ids=str)
def test_a_call_waits_for_the_one_before_on_another_stream(gpu, batches):
    """The same batch size, one whose arena is larger, and one that shares the larger arena."""
    model = gx.compile(NETWORKS["small"]("float32"))
    generator = torch.Generator().manual_seed(0)
    images = [torch.randn(batch, 3, 8, 8, generator=generator) for batch in batches]
    wanted = [model(image=image) for image in images]
    got = []
    for stream, image in enumerate(images, start=1):
        with gpu.on_stream(stream):
            got.append(model(image=image))
            got[-1].fill_(torch.nan)  # nothing has run yet
    gpu.synchronize()
    for mine, right in zip(got, wanted, strict=True):
        assert right.std() > 0
        assert torch.equal(mine, right)


def test_a_call_with_numpy_waits_for_its_own_stream(gpu):
    model = gx.compile(NETWORKS["small"]("float32"))
    image = example_inputs(model.graph)["image"]
    wanted = model(image=image)
    with gpu.on_stream(1):
        np.testing.assert_array_equal(model(image=image), wanted)


def test_streams_that_do_not_wait_compute_wrong_numbers(gpu):
    """The stand-in shows a missing wait."""
    x, y = torch.zeros(2), torch.zeros(2)
    device = stand_in_target(80)[0].on
    for stream, value in ((1, 1.0), (2, 2.0)):
        with device.driver.on_stream(stream):
            device.copy(torch.full((1,), value), x[:1])
            device.copy(x[:1], y[stream - 1 : stream])
    device.synchronize()
    assert y[0] == y[1]


def test_each_model_runs_on_its_own_device(monkeypatch):
    targets = [stand_in_target(80, index) for index in range(2)]
    graph = NETWORKS["small"]("float32")
    inputs = example_inputs(graph)
    models = []
    for target, _ in targets:
        monkeypatch.setattr("graphcnn.compiler.resolve", lambda *_, on=target: on)
        models.append(gx.compile(graph))
    first, second = (model(**inputs) for model in models)
    np.testing.assert_array_equal(first, second)
    assert [len(gpu.launches) for _, gpu in targets] == [len(models[0].plan.steps)] * 2
    assert gx.verify(models[1], **inputs).ok
    assert {gpu.current for _, gpu in targets} == {0}


@triton.jit
def nothing_kernel(x_ptr):
    tl.store(x_ptr, 1.0)


@triton.jit
def square_kernel(x_ptr, SIZE: tl.constexpr):
    rows = tl.arange(0, SIZE)
    block = tl.load(x_ptr + rows[:, None] * SIZE + rows[None, :])
    tl.store(x_ptr + rows[:, None] * SIZE + rows[None, :], tl.dot(block, block))


@triton.jit
def centre_kernel(x_ptr, SIZE: tl.constexpr):
    """All elements have to stay in registers until their sum is known."""
    at = x_ptr + tl.arange(0, SIZE)
    values = tl.load(at)
    tl.store(at, values - tl.sum(values, axis=0) / SIZE)


@pytest.mark.parametrize("grid", [(0,), (1, 65_536), (1, 1, 65_536), (2**31,)])
def test_the_stand_in_refuses_grids_that_a_gpu_refuses(grid):
    x = torch.zeros(1)
    prepared = triton_api.prepare(nothing_kernel, (x,), {}, StandInGpu(80))
    with pytest.raises(AssertionError, match="no GPU launches"):
        prepared(grid, 0)
    prepared((3, 2), 0)
    assert x.item() == 1


def test_the_stand_in_refuses_more_shared_memory_than_there_is():
    x, meta = torch.zeros(128 * 128), {"SIZE": 128, "num_warps": 8}
    triton_api.prepare(square_kernel, (x,), meta, StandInGpu(80))
    with pytest.raises(KernelFailed, match="shared memory"):
        triton_api.prepare(square_kernel, (x,), meta, StandInGpu(86))


def test_the_stand_in_counts_spills():
    x, gpu = torch.arange(16384, dtype=torch.float32), StandInGpu(80)
    for num_warps, spills in ((16, False), (1, True)):
        meta = {"SIZE": 16384, "num_warps": num_warps}
        prepared = triton_api.prepare(centre_kernel, (x,), meta, gpu)
        prepared((1,), 0)
        assert (gpu.launches[-1].spills > 0) == (prepared.compiled.n_spills > 0) == spills
    assert x.sum().abs() < 1
