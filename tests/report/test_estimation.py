"""What kernels are predicted to take on GPUs that are not here."""

import json

import pytest

import graphcnn as gx
from bench.predicted import AsMeasured
from graphcnn.cli import main
from graphcnn.costs.devices import GPUS
from graphcnn.costs.others import choice_time
from graphcnn.errors import BatchError, InvalidAttribute, InvalidGraph, UnknownDType, UnsupportedOp
from graphcnn.kernels import by_rule, choices, conv2d, linear
from graphcnn.models import MODELS
from graphcnn.report.estimation import predict
from graphcnn.targets.absent import AbsentGpu
from graphcnn.targets.policy import Noting
from graphcnn.targets.triton import TritonTarget

BOUNDS = {"tensor", "L2", "issue", "latency", "DRAM", "launch", ""}


@pytest.fixture(autouse=True)
def without_numbers(monkeypatch):
    """Networks whose params are types alone: nobody reads their numbers here."""
    monkeypatch.setattr("graphcnn.models.layers.with_he_weights", lambda graph, seed: graph)


def block():
    x = gx.input("x", (2, 64, 56, 56), "float16")
    h = gx.conv2d(x, gx.param("w", (64, 64, 3, 3), "float16"), padding=1, name="conv")
    return gx.graph("block", gx.relu(h + x, name="relu"))


def test_every_kernel_has_a_time_above_its_floor():
    for name in ("vgg16", "resnet18", "mobilenet_v2", "unet", "alexnet"):
        found = gx.estimate(MODELS[name](1, "float16"), device="a100")
        assert found.batch == 1
        for row in found.rows:
            assert row.bound in BOUNDS
            assert row.floor <= row.microseconds
        assert found.total.microseconds == pytest.approx(sum(r.microseconds for r in found.rows))


def test_the_table_says_that_it_is_predicted():
    text = str(gx.estimate(block(), device=["NVIDIA", "H100"][1], batch=8, dtype="bf16"))
    assert "predicted: block on h100, bf16, batch 8" in text
    assert "measured nowhere" in text
    assert "conv2d+add+relu" in text
    assert "No kernel is compiled" not in text
    assert "those of compute capability 8.0 stand for its" in str(gx.estimate(block(), device="t4"))


def test_a_batch_and_a_dtype_change_what_is_predicted():
    graph = block()
    once = gx.estimate(graph, device="rtx4090").total.microseconds
    assert gx.estimate(graph, device="rtx4090", batch=64).total.microseconds > 5 * once
    assert gx.estimate(graph, device="rtx4090", dtype="f32").total.microseconds > once
    assert gx.estimate(graph, device="RTX 4090", dtype="float16").total.microseconds == once


def test_transposed_convolutions_have_a_row_for_each_phase():
    x = gx.input("x", (1, 64, 14, 14), "float16")
    w = gx.param("w", (64, 32, 3, 3), "float16")
    graph = gx.graph("up", gx.conv_transpose2d(x, w, stride=2, padding=1, name="up"))
    assert len(gx.estimate(graph, device="h100").rows) == 4


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"device": "h1000"}, InvalidAttribute, "one of t4, a100, a10"),
        ({"device": None}, InvalidAttribute, "rtx4090"),
        ({"device": "a100", "batch": 0}, InvalidAttribute, "batch"),
        ({"device": "a100", "dtype": "f7"}, UnknownDType, "f16"),
        ({"device": "a100", "dtype": "f64"}, UnsupportedOp, "f16, bf16, f32"),
        ({"device": "t4", "dtype": "f32"}, UnsupportedOp, "f16, bf16"),
    ],
)
def test_what_there_is_no_model_of(options, error, says):
    with pytest.raises(error) as caught:
        gx.estimate(block(), **options)
    assert says in str(caught.value)


def test_a_graph_is_wanted_and_one_whose_batch_can_be_changed():
    with pytest.raises(InvalidGraph):
        gx.estimate("vgg16", device="a100")
    fixed = gx.graph("fixed", gx.reshape(gx.input("x", (2, 8)), (16,), name="flat"))
    with pytest.raises(BatchError):
        gx.estimate(fixed, device="a100", batch=3)


def test_the_command_line(capsys):
    words = ["estimate", "lenet", "--on", "b200", "--batch", "4", "--dtype", "float16", "--json"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["device"], told["batch"], told["dtype"]) == ("b200", 4, "f16")
    assert main(["estimate", "lenet", "--on", "cpu"]) == 2
    assert "there is no model of this GPU" in capsys.readouterr().err


@pytest.mark.parametrize("device", ["a100", "h100", "rtx4090", "b200"])
@pytest.mark.parametrize("batch", [1, 8, 32])
@pytest.mark.parametrize("name", ["vgg16", "resnet18", "resnet50", "unet"])
def test_the_choices_are_within_5_percent_of_the_best_predicted(name, batch, device):
    """Of all tiles that are listed, of kernels whose times are; those of smaller reduction blocks
    are not taken."""
    noting = Noting()
    target = TritonTarget(AbsentGpu.of(GPUS[device]), noting)
    target.lower(gx.models.build(name, batch, "float16"))
    traits = target.on.traits
    pairs = [pair for every in noting.picked.values() for pair in every]
    taken = best = 0.0
    for problem, choice in pairs:
        if choice.launch not in (conv2d, linear):  # no model knows stems
            continue
        found = [c for c in choices(problem, traits) if c.launch in (conv2d, linear)]
        assert by_rule(problem, found, traits) == choice
        times = {other: choice_time(problem, other, GPUS[device]) for other in found}
        if times[choice] is not None:
            taken += times[choice].microseconds
            best += min(time.microseconds for time in times.values() if time is not None)
    assert taken <= 1.05 * best


def test_what_is_predicted_is_what_an_h200_took_but_for_a_fifth():
    """Milliseconds in float16 at batch 1, 8 and 32 of `docs/measured_on_an_h200.md`."""
    measured = {"vgg16": (0.30, 0.66, 1.93), "resnet50": (0.31, 0.54, 1.29)}
    for name, taken in measured.items():
        for batch, milliseconds in zip((1, 8, 32), taken, strict=True):
            graph = gx.models.build(name, batch, "float16")
            found = predict(graph, GPUS["h200"], AsMeasured()).total.microseconds / 1e3
            assert 0.8 < found / milliseconds < 1.25, (name, batch)
