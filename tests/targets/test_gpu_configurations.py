"""Every launch of real networks and layers, compiled for GPUs that are not here: no rule is broken.

`make gpu-report` does the same for more networks and architectures, and takes longer.
"""

import pytest
import triton

import graphcnn as gx
from graphcnn.gpu_code import problems
from graphcnn.models.lenet import lenet
from graphcnn.models.resnet import resnet18
from graphcnn.models.specimen import specimen
from graphcnn.models.vgg import vgg16
from tests.targets.launches import compiled_launches

NETWORKS = {
    "vgg16": lambda: vgg16(1, "float16"),
    "lenet": lambda: lenet(1, "float16"),
    "resnet18": lambda: resnet18(1, "float16"),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_no_launch_spills(name):
    found = list(compiled_launches(NETWORKS[name](), (1, 8), "sm_80"))
    kernels = {launch.code.binary for launch in found}
    assert len(kernels) >= len({launch.node for launch in found}) / 2
    for node, batch, code in found:
        where = f"{code.kernel} of {node} at batch {batch}"
        assert code.spilled_bytes == 0, where
        assert problems(code) == (), where


def convolved(shape, size, function, dtype, **options):
    x, bias = gx.input("x", shape, dtype), gx.param("bias", (64,), dtype)
    return gx.relu(function(x, gx.param("w", size, dtype), bias, name="conv", **options), name="y")


IMAGE = (2, 64, 56, 56)
LAYERS = {
    "causal 7 taps": lambda dtype: convolved(
        (2, 64, 256), (64, 64, 7), gx.conv1d, dtype, padding=(24, 0), dilation=4
    ),
    "transposed 4x4": lambda dtype: convolved(
        IMAGE, (64, 64, 4, 4), gx.conv_transpose2d, dtype, stride=2, padding=1
    ),
    "depthwise": lambda dtype: convolved(
        IMAGE, (64, 1, 3, 3), gx.conv2d, dtype, padding=1, groups=64
    ),
    "grouped": lambda dtype: convolved(
        IMAGE, (64, 16, 3, 3), gx.conv2d, dtype, padding=1, groups=4
    ),
    "pooled": lambda dtype: gx.max_pool2d(
        convolved(IMAGE, (64, 64, 3, 3), gx.conv2d, dtype, padding=1), 3, 2, name="pool"
    ),
    "bilinear": lambda dtype: gx.interpolate(gx.input("x", IMAGE, dtype), None, 2, "bilinear"),
}


# Bytes per thread that a version of Triton keeps outside of the loop of one kernel of four.
PARKED = {}
if triton.__version__.startswith("3.8."):
    PARKED |= {("transposed 4x4", dtype, "sm_120"): 8 for dtype in ("float16", "bfloat16")}


@pytest.mark.parametrize("gpu", ["sm_80", "sm_90", "sm_100", "sm_120"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_kernels_that_do_not_spill(name, dtype, gpu):
    """One node, hence no call of the library; the pool in the kernel of its convolution."""
    together = (("conv", "y", "pool"),) if name == "pooled" else ()
    found = list(compiled_launches(gx.graph("g", LAYERS[name](dtype)), (2,), gpu, together))
    assert len({launch.node for launch in found}) == 1
    assert sum(launch.code.spilled_bytes for launch in found) <= PARKED.get((name, dtype, gpu), 0)
    assert [problems(launch.code) for launch in found] == [()] * len(found)


@pytest.mark.parametrize("stored", [True, False])
def test_a_product_that_is_stored_is_not_contracted_with_the_sum_that_reads_it(stored):
    x = gx.input("x", IMAGE)
    h = gx.conv2d(x, gx.param("w", (64, 64, 1, 1)), name="conv")
    scaled = gx.mul(h, 0.3, name="scaled")
    y = gx.add(scaled, x, name="y")
    graph = gx.graph("g", [y, scaled] if stored else y)
    (launch,) = compiled_launches(graph, (2,), "sm_90", (("conv", "scaled", "y"),))
    # The assembler contracts products that name no rounding.
    assert ("mul.f32" in launch.code.assembly) != stored
    assert ("mul.rn.f32" in launch.code.assembly) == stored


@pytest.mark.parametrize("gpu", ["sm_80", "sm_90", "sm_120"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_every_kernel_is_compiled(dtype, gpu):
    for launch in compiled_launches(specimen(dtype), (1,), gpu):
        assert problems(launch.code) == (), f"{launch.code.kernel} of {launch.node}"
