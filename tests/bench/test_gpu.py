"""What measures on a GPU, on the CPU that stands in for it: contenders that are right or not."""

import ctypes
import json
import sys
from types import SimpleNamespace

import pytest
import torch

import graphcnn as gx
from bench.gpu import contenders, hardware, measure, report
from bench.gpu.__main__ import main
from bench.gpu.cases import BATCHES, DTYPES, POOLED, WORKLOADS, Case, plan, pooled_layer
from bench.gpu.contenders import CONTENDERS, Contender, Network, Run, Work
from bench.gpu.hardware import Cuda, DryRun
from bench.gpu.measure import Clock, measured, run
from bench.gpu.results import Clocks, Measured, Results, Row
from graphcnn.runtime.timing import Measurement, Ratio, Timing
from graphcnn.targets.resolve_device import resolve_device

CASE = Case("conv5_3", "float32", 3)


@pytest.fixture
def dry():
    return DryRun(resolve_device("cpu"))


@pytest.fixture
def work(dry):
    """A layer of no size."""
    return Work(Network(CASE, dry), CASE.batch)


def computed(change=0.0):
    """What computes the output, and adds to it."""

    def load(work):
        return Run(lambda: work.expected + change, lambda: work.expected + change)

    return Contender(load)


def failing(error):
    def load(work):
        raise error

    return Contender(load)


def rows(found):
    return {row.contender: row for row in found.rows}


def test_what_tells_the_most_comes_first_and_what_is_slow_twice():
    cases = list(plan(WORKLOADS, DTYPES, BATCHES))
    assert cases[0] == (Case("vgg16", "float16", 32), True)
    once = len(DTYPES) * len(WORKLOADS) * len(BATCHES)
    first, second = cases[:once], cases[once:]
    assert len({case for case, _ in first}) == once
    assert {case.batch for case, slow in first if slow} == {BATCHES[0]}
    assert {case for case, slow in second if slow} == {c for c, slow in first if not slow}
    assert {"vgg16", "resnet18", "resnet50", "mobilenet_v2", "unet", "alexnet"} < set(WORKLOADS)


def test_the_layers_are_those_of_vgg16(monkeypatch):
    monkeypatch.setattr(sys.modules["graphcnn.models.vgg"], "_FEATURES", 64)
    graph = gx.models.vgg16()
    for name, (channels, side) in POOLED.items():
        assert graph.type_of(name).shape == (1, channels, side, side)
        of_graph = graph.producer(name)
        layer = pooled_layer(name, "float32", channels, side)
        assert layer.producer("conv").op == of_graph.op
        assert layer.type_of("pool").shape == graph.type_of(f"pool{name[4]}").shape


def test_wrong_outputs_are_not_timed(work):
    asked = {
        "torch": computed(),
        "wrong": computed(0.1),
        "not a number": computed(float("nan")),
        "infinite": computed(float("inf")),
        "rough": computed(1e-3)._replace(tolerance=1e-2),
        "none": Contender(lambda _: None),
    }
    found = measured(work, asked, Clock(60))
    assert found.case == CASE
    assert found.tolerance == measure.TOLERANCE["float32"]
    assert list(rows(found)) == ["torch", "wrong", "not a number", "infinite", "rough"]
    for name in ("torch", "rough"):
        row = rows(found)[name]
        assert row.replay.rounds == row.call.rounds == row.to_torch.rounds == DryRun.rounds
    assert rows(found)["wrong"].error > found.tolerance
    for name in ("not a number", "infinite"):
        assert rows(found)[name].error is None
    for name in ("wrong", "not a number", "infinite"):
        row = rows(found)[name]
        assert row.replay is row.call is row.to_torch is row.to_unfused is row.absent is None


def test_what_torch_itself_loses_is_tolerated_twice(work):
    asked = {"torch": computed(0.1), "ours": computed(0.19), "worse": computed(0.21)}
    found = measured(work, asked, Clock(60))
    assert {row.contender for row in found.rows if row.replay} == {"torch", "ours"}


def test_a_call_is_checked_as_well(work):
    def load(work):
        return Run(lambda: work.expected + 1, lambda: work.expected)

    row = rows(measured(work, {"torch": computed(), "ours": Contender(load)}, Clock(60)))["ours"]
    assert row.replay is row.call is None
    assert row.error > 0.01


def test_the_absent_are_told_with_their_reason(work):
    asked = {
        "refuses": failing(contenders.Absent("it has no convolution")),
        "not installed": failing(ImportError("No module named 'it'")),
        "fails": failing(torch.OutOfMemoryError("out of memory\nwith more to say")),
    }
    found = rows(measured(work, asked, Clock(60)))
    assert [row.absent for row in found.values()] == [
        "it has no convolution",
        "not installed: No module named 'it'",
        "OutOfMemoryError: out of memory",
    ]


def test_nothing_is_measured_where_the_output_says_nothing(dry, monkeypatch):
    constant = gx.graph("g", gx.relu(gx.input("image", (1, 2, 3, 3)) * 0.0))
    monkeypatch.setattr(Case, "graph", lambda *_, **__: constant)
    results = Results(True, (), 1)
    run([(CASE, False)], dry, results, contenders={"torch": computed()})
    assert results.cases == []
    assert results.left == [f"{CASE}: ValueError: the expected output is constant and says nothing"]


def test_what_takes_long_to_build_has_a_part_of_the_minutes(dry):
    clock = Clock(100)
    clock.check("slow")
    clock.took("slow", 30)
    with pytest.raises(contenders.Absent, match="it took 30 s before"):
        clock.check("slow")
    clock.check("other")
    clock.took("other", 10)
    assert clock.spent
    results = Results(True, (), 1)
    asked = {"torch": computed(), "slow": failing(contenders.Absent("no"))._replace(slow=True)}
    run([(CASE, False), (CASE, True)], dry, results, contenders=asked)
    assert [row.contender for row in results.cases[0].rows] == ["torch", "slow"]
    assert len(results.cases) == 1
    assert results.left == []


def test_what_is_left_when_the_minutes_are_over_is_listed_once(dry):
    other = Case("conv5_3", "float32", 1)
    results = Results(True, (), 0)
    run([(CASE, True), (other, False), (other, True)], dry, results, contenders={})
    assert results.left == ["conv5_3 float32 at batch 3, 1: of 0 minutes none were left"]


def test_tensorrt_is_given_addresses_and_computes_there(work, monkeypatch):
    """A module of the same calls, whose engine copies the expected output to where it was told."""
    given = {}

    def execute(stream):
        output = work.expected.float().contiguous()
        size = 4 * output.numel()
        read = ctypes.string_at(given["image"], 4 * work.image.numel())
        assert read == work.image.contiguous().numpy().tobytes()
        ctypes.memmove(given["result"], output.data_ptr(), size)
        return stream == 7

    context = SimpleNamespace(set_tensor_address=given.__setitem__, execute_async_v3=execute)
    engine = SimpleNamespace(create_execution_context=lambda: context)
    cleared = []
    builder = SimpleNamespace(
        create_network=lambda flags: flags,
        create_builder_config=lambda: SimpleNamespace(clear_flag=cleared.append),
        build_serialized_network=lambda network, config: b"plan",
    )
    parser = SimpleNamespace(parse_from_file=lambda path: True)
    trt = SimpleNamespace(
        Logger=lambda level: None,
        Builder=lambda logger: builder,
        NetworkDefinitionCreationFlag=SimpleNamespace(STRONGLY_TYPED=1),
        OnnxParser=lambda network, logger: parser,
        BuilderFlag=SimpleNamespace(TF32="tf32"),
        Runtime=lambda logger: SimpleNamespace(deserialize_cuda_engine=lambda plan: engine),
    )
    trt.Logger.ERROR = 0
    monkeypatch.setitem(sys.modules, "tensorrt", trt)
    monkeypatch.setattr(contenders, "export_onnx", lambda *_: None)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: SimpleNamespace(cuda_stream=7))
    monkeypatch.setattr(Network, "folded", work.network.graph)
    asked = {"TensorRT": CONTENDERS["TensorRT"]}
    found = measured(work, asked, Clock(60))
    assert found.rows[0].error < 1e-6
    assert found.rows[0].replay is not None
    assert cleared == ["tf32"]
    parser.parse_from_file = lambda path: False
    parser.get_error = lambda index: "an operator that it does not know"
    found = measured(Work(work.network, 2), asked, Clock(60))
    assert found.rows[0].absent == "an operator that it does not know"


def test_clocks_are_what_the_tool_says(monkeypatch):
    monkeypatch.setattr(Cuda, "device", None)
    answers = iter(["1980, 2619, 41", "unknown: there is no nvidia-smi"])
    monkeypatch.setattr(hardware, "nvidia_smi", lambda query, device: next(answers))
    assert Cuda().clocks() == Clocks(1980, 2619, 41)
    assert Cuda().clocks() is None


def made_up() -> Results:
    """Figures that nobody measured."""
    timing, ratio = Timing(2e-3, 1e-3, 3e-3, 7), Ratio(0.8, 0.7, 0.9, 7)
    timed = [Row(name, None, 1e-7, timing, timing, ratio, ratio) for name in CONTENDERS]
    timed[3] = Row("torch.compile", "not built: no time")
    timed[4] = Row("TensorRT", None, None)
    clocks = Clocks(1980, 2619, 41)
    cases = [
        Measured(Case(workload, dtype, batch), "2026-01-01", 1e-4, tuple(timed), clocks, None)
        for workload in ("vgg16", "conv1_2")
        for dtype in DTYPES
        for batch in BATCHES
    ]
    return Results(False, (("GPU", "one that is not"),), 10, cases, ["unet float16 b128: no time"])


def test_results_come_back_from_json(tmp_path):
    path = tmp_path / "results.json"
    made_up().save(path)
    assert Results.load(path) == made_up()
    json.loads(path.read_text(), parse_constant=pytest.fail)


def test_a_case_that_is_measured_again_takes_its_own_place():
    results = made_up()
    again = Measured(results.cases[1].case, "2026-01-02", 1e-4, (), None, None)
    results.add(again)
    assert len(results.cases) == len(made_up().cases)
    assert results.cases[1] == again


def test_the_page_tells_everything(tmp_path):
    path = tmp_path / "results.json"
    made_up().save(path)
    monkey = ["report", str(path)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", monkey)
        report.main()
    page = path.with_suffix(".md").read_text()
    assert page.startswith("# Measured on one that is not\n")
    assert "dry run" not in page
    assert (
        "of the unfused kernels' time, on 8 cases of networks 0.80 in the middle, from "
        "0.80 (0.70 .. 0.90) (vgg16 float16 b32)"
    ) in page
    assert "on 8 cases of pooled layers" in page
    row = "| fused | 2.00 ms (1.00 .. 3.00) | 2.00 ms (1.00 .. 3.00) | 0.80 (0.70 .. 0.90) |"
    assert row in page
    assert "| torch.compile | absent: not built: no time |" in page
    assert "| TensorRT | wrong, not timed |" in page
    assert "clocks before 1980 MHz, memory 2619 MHz, 41 C, after unknown" in page
    assert "* unet float16 b128: no time" in page


def test_pictures(tmp_path):
    pytest.importorskip("matplotlib")
    from bench.gpu import pictures

    drawn = pictures.draw(made_up(), tmp_path, "gpu")
    assert drawn == ["gpu_float16", "gpu_float32", "gpu_fusion"]
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{name}.{ending}" for name in drawn for ending in ("png", "svg")
    }
    page = report.page(made_up(), drawn)
    assert all(f"pictures/{name}.svg" in page for name in drawn)


def test_without_pictures_the_page_is_written_and_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "bench.gpu.pictures", raising=False)
    monkeypatch.delitem(sys.modules, "bench.engines.pictures", raising=False)
    monkeypatch.delattr("bench.gpu.pictures", raising=False)
    told = report.write(made_up(), tmp_path / "page.md")
    assert told.startswith("no pictures: ")
    assert "pictures/" not in (tmp_path / "page.md").read_text()


def test_without_a_gpu_it_says_so(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["--results", str(tmp_path)]) == 1
    assert "--dry-run" in capsys.readouterr().err
    assert [*tmp_path.iterdir()] == []


@pytest.mark.cpu
def test_a_dry_run_goes_to_the_end(tmp_path, capsys):
    asked = ["--workloads", "conv5_3", "resnet18", "--dtypes", "float32", "--batches", "2"]
    assert main(["--dry-run", "--results", str(tmp_path), *asked]) == 0
    results = Results.load(tmp_path / "gpu_dry_run.json")
    assert results.dry
    assert results.left == [*DryRun.lacks]
    assert [str(found.case) for found in results.cases] == [
        "conv5_3 float32 b2",
        "resnet18 float32 b2",
    ]
    for found in results.cases:
        of = rows(found)
        assert of.pop("TensorRT").absent.startswith("not installed: ")
        assert of.keys() >= {"torch", "torch tf32", "torch.compile", "unfused", "fused"}
        for row in of.values():
            assert row.absent is None, row
            assert 0 <= row.error <= max(found.tolerance, CONTENDERS[row.contender].tolerance)
            assert isinstance(row.replay, Measurement)
            assert isinstance(row.call, Measurement)
    assert "torch folded" in rows(results.cases[1])
    page = (tmp_path / "gpu_dry_run.md").read_text()
    assert report.DRY in page
    out = capsys.readouterr().out
    assert "In a dry run, which says nothing of a GPU: Fused kernels took" in out
    assert "not measured: clocks" in out
