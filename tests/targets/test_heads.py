"""Convolutions whose kernels repeat the elements of their input, and layers that flatten it."""

from dataclasses import replace

import numpy as np
import pytest

import graphcnn as gx
from graphcnn.frontend.resampling import interpolate
from graphcnn.ir import CompileLog
from graphcnn.passes import default_pipeline, run_passes
from graphcnn.runtime.boundary import example_inputs
from graphcnn.targets import layout
from tests.stand_in_gpu import stand_in_target
from tests.stepwise import check_model

DRAW = np.random.default_rng(5)


def weight(*shape):
    return DRAW.standard_normal(shape).astype(np.float32)


def image(*shape):
    return gx.input("x", shape)


def doubled():
    up = interpolate(image(2, 32, 3, 4), scale_factor=2)
    return gx.relu(gx.conv2d(up, weight(6, 32, 3, 3), weight(6), padding=1))


def sized():
    up = interpolate(image(1, 32, 3, 4), (9, 4))
    return gx.max_pool2d(gx.conv2d(up, weight(6, 32, 3, 3), padding=2, dilation=2), 2)


def strided():
    up = interpolate(image(1, 64, 5, 4), scale_factor=3)
    return gx.conv2d(up, weight(6, 32, 5, 5), stride=2, padding=(1, 2, 0, 1), groups=2)


def of_a_sequence():
    up = interpolate(image(2, 32, 7), scale_factor=4)
    return gx.tanh(gx.conv1d(up, weight(6, 32, 3), padding=1))


def behind_a_convolution():
    h = gx.relu(gx.conv2d(image(2, 5, 4, 6), weight(32, 5, 3, 3), padding=1))
    up = interpolate(h, scale_factor=2)
    g = gx.conv2d(up, weight(32, 32, 3, 3), padding=1)
    return gx.relu(g + gx.conv2d(up, weight(32, 32, 1, 1)))


def residual():
    skip = gx.conv2d(gx.input("skip", (2, 5, 8, 12)), weight(32, 5, 1, 1))
    h = gx.relu(gx.conv2d(image(2, 5, 4, 6), weight(32, 5, 3, 3), padding=1))
    h = gx.conv2d(interpolate(h, scale_factor=2), weight(32, 32, 3, 3), padding=1)
    return gx.relu(h + skip)


NETWORKS = [doubled, sized, strided, of_a_sequence, residual]


@pytest.mark.parametrize("make", NETWORKS)
def test_an_interpolation_takes_no_step(make):
    source = gx.graph("g", make())
    (up,) = (node for node in source.nodes if node.op.name == "interpolate")
    pair = (up.name, source.users(up.name)[0].name)
    model = gx.compile(source, device="cpu", must_fuse=[pair])
    labels = [step.label for step in model.plan.steps]
    assert any(label.startswith("interpolate+conv") for label in labels)
    assert "interpolate" not in labels
    check_model(model, example_inputs(source))
    assert gx.verify(model).ok


def test_an_interpolation_before_1x1_filters_takes_no_step_by_itself():
    up = interpolate(image(2, 32, 3, 4), scale_factor=2)
    model = gx.compile(gx.graph("g", gx.conv2d(up, weight(6, 32, 1, 1))), device="cpu")
    assert [step.label for step in model.plan.steps] == ["interpolate+conv2d"]
    assert gx.verify(model).ok


def test_a_value_with_two_readers_is_stored():
    model = gx.compile(gx.graph("g", behind_a_convolution()), device="cpu")
    assert "interpolate" in [step.label for step in model.plan.steps]
    assert gx.verify(model).ok


def lowered_on_a_gpu(source):
    target = stand_in_target(80)[0]
    return target.lower(run_passes(source, default_pipeline(target.supports), CompileLog()))


def flattened(*shape, dtype="float32", features=6):
    """A linear layer of flattened maps that kernels store."""
    conv = gx.conv1d if len(shape) == 3 else gx.conv2d
    taps = weight(5, shape[1], *(3,) * (len(shape) - 2)).astype(dtype)
    h = conv(gx.input("x", shape, dtype), taps, name="h")
    rows = gx.flatten(gx.relu(h, name="maps"), name="rows")
    w, b = weight(features, rows.shape[1]).astype(dtype), weight(features).astype(dtype)
    fc = gx.linear(rows, w, b, name="fc")
    return gx.graph("g", gx.relu(fc, name="y"))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("shape", [(1, 3, 6, 5), (4, 3, 6, 5), (3, 2, 9)], ids=str)
def test_a_linear_layer_reads_maps_in_the_order_in_which_they_lie(shape, dtype):
    source = flattened(*shape, dtype=dtype)
    model = gx.compile(source, device="cpu", must_fuse=[("rows", "y")])
    assert [step.label for step in model.plan.steps][1:] == ["flatten+linear+relu"]
    assert model.plan.locations["maps"].strides[1] == 1
    check_model(model, example_inputs(source))
    assert gx.verify(model).ok


def test_a_linear_layer_reads_maps_that_the_caller_sees_as_they_are():
    source = flattened(2, 3, 6, 5)
    source = source.replace(outputs=(*source.outputs, "maps"))
    model = gx.compile(source, device="cpu", must_fuse=[("rows", "fc")])
    assert model.plan.locations["maps"].strides == (60, 12, 3, 1)
    check_model(model, example_inputs(source))
    assert gx.verify(model).ok


def test_maps_in_no_row_are_flattened_by_themselves(monkeypatch):
    def across(graph):
        found = layout.locate(graph)
        if "rows" not in found:
            maps = found["maps"]
            found["maps"] = replace(maps, strides=(60, 4, 1, 20))
        return found

    target = stand_in_target(80)[0]
    fused = run_passes(flattened(2, 3, 6, 5), default_pipeline(target.supports), CompileLog())
    monkeypatch.setattr("graphcnn.targets.lowering.locate", across)
    lowered = target.lower(fused)
    assert [step.label for step in lowered.steps] == ["conv2d+relu", "linear", "relu"]
    (told,) = lowered.refusals
    assert told.because == "the elements of maps of (2, 5, 4, 3) lie at (60, 4, 1, 20): in no row"


@pytest.mark.parametrize("must_fuse", [[], [("rows", "fc")]])
def test_weights_are_held_twice_on_a_cpu_only_where_asked(must_fuse):
    model = gx.compile(flattened(1, 3, 6, 5), device="cpu", must_fuse=must_fuse)
    held = [p for p in model.plan.weights if p.shape == (6, 60)]
    (refusal,) = model.log.refusals if not must_fuse else [None]
    assert [p.name.endswith("@plain") for p in held] == [refusal is not None]
    assert refusal is None or "in the order of channels-last maps" in refusal.because


@pytest.mark.parametrize("device", ["sm_80", "cpu"])
@pytest.mark.parametrize(
    "view",
    [
        lambda maps: maps[:, :4],
        lambda maps: maps[:, :, 1:3],
        lambda maps: gx.permute(maps, (0, 1, 3, 2)),
    ],
    ids=["channels", "rows", "turned"],
)
def test_maps_in_no_row_are_brought_into_one(view, device):
    taps = weight(5, 3, 3, 3)
    maps = gx.relu(gx.conv2d(image(2, 3, 6, 5), taps), name="maps")
    rows = gx.flatten(view(maps), name="rows")
    fc = gx.linear(rows, weight(6, rows.shape[1]), weight(6), name="fc")
    source = gx.graph("g", gx.relu(fc, name="y"))
    if device == "sm_80":
        lowered = lowered_on_a_gpu(source)
        assert lowered.refusals == ()
        assert [step.label for step in lowered.steps][-1] == "flatten+linear+relu"
        return
    model = gx.compile(source, device="cpu", must_fuse=[("rows", "fc")])
    assert [step.label for step in model.plan.steps][-1] == "flatten+linear+relu"
    check_model(model, example_inputs(source))
    assert gx.verify(model).ok


def test_maps_in_a_concat_and_in_rows_have_memory_of_their_own():
    x = image(2, 3, 6, 5)
    maps = gx.relu(gx.conv2d(x, weight(8, 3, 3, 3)), name="maps")
    other = gx.relu(gx.conv2d(x, weight(8, 3, 3, 3)), name="other")
    both = gx.conv2d(gx.concat([maps, other], name="both"), weight(4, 16, 1, 1))
    rows = gx.flatten(maps, name="rows")
    fc = gx.linear(rows, weight(6, rows.shape[1]), weight(6), name="fc")
    lowered = lowered_on_a_gpu(gx.graph("g", [both, gx.relu(fc, name="y")]))
    (refusal,) = lowered.refusals
    assert refusal.because == "'maps' is copied: 'y' reads it as rows, which then have no gaps"
    assert "flatten+linear+relu" in [step.label for step in lowered.steps]
    assert lowered.locations["maps"].buffer.name == "maps"


def test_maps_of_whole_rows_stay_channels_last_on_a_gpu():
    source = flattened(2, 3, 6, 5)
    lowered = lowered_on_a_gpu(source)
    assert [step.label for step in lowered.steps] == ["conv2d+relu", "flatten+linear+relu"]
    assert lowered.locations["maps"].strides == (60, 1, 15, 5)
    (packing,) = (p for p in lowered.weights if len(p.shape) == 2 and p.shape[0] == 6)
    (param,) = (p for p in source.params if p.name == packing.sources[0])
    matrix = packing.pack({param.name: param})
    maps = DRAW.standard_normal((5, 4, 3))
    rows = maps.transpose(1, 2, 0).ravel()
    np.testing.assert_allclose(matrix @ rows, param.data @ maps.ravel(), rtol=1e-9)
