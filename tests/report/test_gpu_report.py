"""What the kernels of a network are made of on GPUs that need not be here."""

import json
from dataclasses import replace
from importlib import import_module

import pytest
import triton

import graphcnn as gx
from graphcnn.cli import main
from graphcnn.errors import KernelFailed, UnknownTarget
from graphcnn.gpu_code import ARCHITECTURES
from graphcnn.models.lenet import lenet
from graphcnn.report import gpu_report as found_by
from graphcnn.report.tables import text

FIRST_NODES = ["pool1", "pool2", "relu3", "relu4", "fc5", "softmax"]


def small(dtype="float16"):
    x = gx.input("x", (32, 64, 56, 56), dtype)
    w, b = gx.param("w", (64, 64, 3, 3), dtype), gx.param("b", (64,), dtype)
    h = gx.relu(gx.conv2d(x, w, b, padding=1, name="conv"), name="act")
    for number in (2, 3):
        h = gx.relu(gx.conv2d(h, w, b, padding=1, name=f"conv{number}"), name=f"act{number}")
    return gx.graph("small", gx.max_pool2d(h, 2, name="pool"))


def test_every_kernel_has_a_line():
    report = gx.gpu_report(lenet(1, "float16"), ("sm_80", "sm_90"))
    assert report.ok
    assert [each.architecture for each in report.found] == ["sm_80", "sm_90"]
    for each in report.found:
        assert each.launches == 6
        assert [row.nodes[0] for row in each.kernels] == FIRST_NODES
        first = each.kernels[0]
        assert first.kernel == "conv2d_kernel"
        assert first.matrix == ARCHITECTURES[each.architecture].matrix
        assert first.shuffles == first.spilled_bytes == 0
        assert min(first.registers, first.before, first.step, first.after, first.held) > 0
    shown = str(report)
    assert "sm_90: 6 kernels of 6 launches" in shown
    assert "PASS: 12 launches, no rule broken" in shown


def test_equal_kernels_are_one_line():
    """The first convolution reads the caller's layout; the others are alike without a pool."""
    (each,) = gx.gpu_report(small(), "sm_80", must_not_fuse=[("act3", "pool")]).found
    assert [row.nodes for row in each.kernels] == [("act",), ("act2", "act3"), ("pool",)]
    (each,) = gx.gpu_report(small(), "sm_80", fuse=False).found
    assert each.launches == 7
    assert sorted(row.copies for row in each.kernels if row.matrix) == ["16", "plain"]


def test_float32_is_multiplied_as_asked(capsys, tmp_path):
    """By three products of tf32, by one, or without tensor cores."""
    gx.save(small("float32"), tmp_path / "small.gcn")
    steps, matrix = {}, {}
    for precision in ("tf32x3", "tf32", "ieee"):
        words = ["gpu-report", str(tmp_path / "small.gcn"), "--arch", "sm_80", "--json"]
        assert main([*words, "--precision", precision, "--no-winograd"]) == 0
        (row, *_) = json.loads(capsys.readouterr().out)["found"][0]["kernels"]
        steps[precision], matrix[precision] = row["step"], row["matrix"]
    assert matrix == {"tf32x3": "HMMA", "tf32": "HMMA", "ieee": ""}
    assert steps["tf32"] < steps["tf32x3"]


def test_weights_are_not_needed_and_nothing_is_timed():
    assert all(param.data is None for param in small().params)
    report = gx.gpu_report(small(), ["sm_90"])
    assert report.triton == triton.__version__
    assert "nothing was run" in text(report.tables()[-1])


def test_a_broken_rule_is_told_at_the_end_and_exits_with_1(monkeypatch, capsys, tmp_path):
    tiny = replace(ARCHITECTURES["sm_80"], shared_bytes=1 << 10)
    monkeypatch.setitem(ARCHITECTURES, "sm_80", tiny)
    report = gx.gpu_report(small(), "sm_80")
    assert not report.ok
    problem = report.found[0].kernels[0].problems[0]
    assert problem.endswith("bytes of shared memory; a block of sm_80 may have 1024")
    assert "FAIL sm_80 act: " in str(report)
    gx.save(small(), tmp_path / "small.gcn")
    command = ["gpu-report", str(tmp_path / "small.gcn"), "--arch", "sm_80,sm_90", "--json"]
    assert main(command) == 1
    saved = json.loads(capsys.readouterr().out)
    assert saved["ok"] is False
    assert [each["architecture"] for each in saved["found"]] == ["sm_80", "sm_90"]


def test_a_kernel_that_does_not_compile_is_told_beside_the_others(monkeypatch):
    module = import_module("graphcnn.gpu_code.ahead")
    real = module.compile_for

    def compile_for(call, each):
        if call[0].__name__ == "pool2d_kernel":
            raise KernelFailed("a kernel does not compile", got="PassManager::run failed")
        return real(call, each)

    monkeypatch.setattr(module, "compile_for", compile_for)
    report = gx.gpu_report(small(), "sm_80", must_not_fuse=[("act3", "pool")])
    assert not report.ok
    assert [row.nodes for row in report.found[0].kernels] == [("act",), ("act2", "act3")]
    assert "FAIL sm_80 pool: a kernel does not compile: PassManager::run failed" in str(report)


def test_what_does_not_apply_is_said():
    turing = gx.gpu_report(small("float32"), "sm_75")
    assert turing.ok
    assert turing.found[0].kernels == ()
    told = " ".join(str(turing).split())
    assert "Does not apply: f32 on sm_75, because products of tf32 are new in sm_80." in told
    assert "Compiled only: graphcnn computes on compute capability 8.0 and later" in told


@pytest.mark.parametrize("name", ["sm_75", "gfx942"])
def test_others_compile_too(name):
    (each,) = gx.gpu_report(small(), name).found
    assert not each.failed
    assert each.kernels[0].matrix == ARCHITECTURES[name].matrix
    assert each.notes


def test_unknown_architectures_are_mistakes(capsys):
    with pytest.raises(UnknownTarget):
        found_by(small(), ("sm_80", "sm_1"))
    assert main(["gpu-report", "lenet", "--arch", "sm_1"]) == 2
    assert "sm_75, sm_80, sm_86, sm_89, sm_90, sm_100, sm_120, gfx942" in capsys.readouterr().err
