"""The command line, in this process: what it prints and how it exits."""

import io
import json
import os
import re
import subprocess
import sys
from importlib.metadata import version

import numpy as np
import pytest
import torch

import graphcnn as gx
from graphcnn.cli import main
from graphcnn.cli_options import STAGES
from graphcnn.ir import DType, evaluate, rebatch
from graphcnn.kernels import stages
from graphcnn.passes import default_pipeline
from graphcnn.report.tables import WIDTH
from graphcnn.runtime.boundary import example_inputs
from tests.tolerance import F32, bounds, stored


@pytest.fixture
def saved(tmp_path):
    rng = np.random.default_rng(0)
    x = gx.input("image", (1, 2, 8, 8))
    h = gx.relu(gx.conv2d(x, rng.standard_normal((4, 2, 3, 3)), padding=1, name="conv"), name="act")
    network = gx.graph("small", gx.max_pool2d(h, 2, name="pool"))
    gx.save(network, tmp_path / "small.gcn")
    return network, str(tmp_path / "small.gcn")


def run(capsys, *arguments):
    status = main([*arguments, "--device", "cpu"] if arguments[0] != "demo" else arguments)
    return status, *capsys.readouterr()


def test_inspect_states_the_published_totals(capsys, monkeypatch):
    # The counts need no numbers: drawing 138 million takes seconds.
    monkeypatch.setattr("graphcnn.models.layers.with_he_weights", lambda graph, seed: graph)
    status, out, _ = run(capsys, "inspect", "vgg16", "--json")
    facts = json.loads(out)
    assert status == 0
    assert (facts["params"], facts["macs"]) == (138_357_544, 15_470_264_320)


def test_inspect_prints_a_table(capsys, saved):
    status, out, _ = run(capsys, "inspect", saved[1])
    assert status == 0
    assert "small(image: f32[1,2,8,8])" in out
    assert f"{4 * 2 * 9 * 64:,}" in out


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("stderr", [Terminal(), io.StringIO()], ids=["terminal", "file"])
def test_a_terminal_is_told_what_takes_time(capsys, monkeypatch, saved, stderr):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", stderr)
    status, out, _ = run(capsys, "verify", saved[1])
    assert status == 0
    assert "checking" not in out
    telling = isinstance(stderr, Terminal)
    assert ("checking group 1 of 1: pool" in stderr.getvalue()) is telling
    assert bool(stderr.getvalue()) is telling


def test_an_exported_program_is_verified(capsys, tmp_path):
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU()).eval()
    program = torch.export.export(module, (torch.randn(1, 3, 8, 8),))
    torch.export.save(program, tmp_path / "net.pt2")
    status, out, _ = run(capsys, "verify", str(tmp_path / "net.pt2"))
    assert status == 0
    assert "PASS" in out


def test_run_prints_the_outputs(capsys, saved):
    status, out, _ = run(capsys, "run", saved[1], "--json")
    (output,) = json.loads(out)["outputs"]
    inputs = example_inputs(saved[0])
    wanted = evaluate(saved[0], inputs)["pool"]
    assert status == 0
    assert output["shape"] == [1, 4, 4, 4]
    # The largest values are as far apart as any two of one place are, at most.
    allowed = stored(wanted, bounds(saved[0], inputs, F32)["pool"], DType.F32)
    assert abs(output["high"] - wanted.max()) <= allowed.max()


@pytest.mark.parametrize("word", ["verify", "run", "compare", "profile"])
def test_a_wrong_kernel_fails_and_is_not_timed(capsys, saved, monkeypatch, word):
    assert run(capsys, "verify", saved[1])[0] == 0
    monkeypatch.setattr(stages, "relu", stages.tanh)
    status, out, _ = run(capsys, word, saved[1])
    assert status == 1
    said = " ".join(out.split())
    assert "node 'act'" in said
    assert "not timed" in said or word == "verify"


def test_explain_compare_and_profile_name_the_kernel(capsys, saved):
    for word in ("explain", "compare", "profile"):
        status, out, _ = run(capsys, word, saved[1], "--json")
        assert status == 0
        assert "conv2d+relu+max_pool2d" in out or word == "compare"
        assert "fused" in out or word != "compare"


def test_emit_stops_after_each_stage(capsys, saved):
    texts = {}
    for stage in STAGES:
        status, texts[stage], _ = run(capsys, "verify", saved[1], "--emit", stage)
        assert status == 0
    assert gx.parse(texts["source"]) == saved[0]
    assert "fused(" in texts["fuse"]
    assert "fused(" not in texts["fold-batch-norm"]
    assert texts["plan"].startswith("arena")
    assert [step.name for step in default_pipeline()] == list(STAGES[1:-1])


def test_a_stage_is_shown_also_when_a_later_one_fails(capsys, saved):
    demand = ("--must-fuse", "conv,nothing", "--emit")
    status, out, _ = run(capsys, "explain", saved[1], *demand, "simplify")
    assert status == 0
    assert gx.parse(out) == saved[0]
    assert run(capsys, "explain", saved[1], *demand, "fuse")[:2] == (2, "")


def test_a_dump_that_cannot_be_written_fails_whatever_is_shown(capsys, saved, monkeypatch):
    monkeypatch.setenv("GRAPHCNN_DUMP", saved[1])
    status, _, err = run(capsys, "explain", saved[1], "--emit", "source")
    assert status == 2
    assert "error[FileProblem]" in err


def test_without_fusion_its_stage_is_the_last_graph(capsys, saved):
    status, out, _ = run(capsys, "explain", saved[1], "--no-fuse", "--emit", "fuse")
    assert status == 0
    assert gx.parse(out) == saved[0]


def test_demands_reach_the_compiler(capsys, saved):
    status, out, _ = run(capsys, "explain", saved[1], "--must-not-fuse", "act,pool", "--json")
    assert status == 0
    assert "conv2d+relu+max_pool2d" not in out
    status, _, err = run(capsys, "explain", saved[1], "--must-fuse", "conv,nothing")
    assert status == 2
    assert "error[UnknownNode]" in err


def test_another_batch_size_and_missing_weights(capsys, saved, tmp_path):
    (tmp_path / "bare.gcn").write_text(str(saved[0]))
    status, out, err = run(capsys, "run", str(tmp_path / "bare.gcn"), "--batch", "3", "--json")
    assert status == 0
    assert "seeded He weights" in err
    assert json.loads(out)["outputs"][0]["shape"] == [3, 4, 4, 4]
    gx.save(rebatch(saved[0], 2), tmp_path / "pair.gcn")
    for options, images in (((), 2), (("--batch", "1"), 1)):
        status, out, _ = run(capsys, "inspect", str(tmp_path / "pair.gcn"), *options)
        assert status == 0
        assert f"image: f32[{images},2,8,8]" in out


def test_a_saved_graph_keeps_its_dtype(capsys, saved):
    assert run(capsys, "inspect", saved[1], "--dtype", "float32")[0] == 0
    status, _, err = run(capsys, "inspect", saved[1], "--dtype", "float16")
    assert status == 2
    assert "error[DTypeMismatch]" in err
    assert "image: f32[1,2,8,8]" in err


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("run", "resnet9000"), "UnknownModel"),
        (("run", ""), "UnknownModel"),
        (("run", "no/such/file"), "FileProblem"),
        (("run", "."), "FileProblem"),
        (("run", "lenet", "--dtype", "float12"), "UnknownDType"),
        (("run", "lenet", "--device", "abacus"), "DeviceUnavailable"),
    ],
)
def test_mistakes_exit_with_2_and_the_remedy(capsys, arguments, error):
    status = main(list(arguments))
    err = capsys.readouterr().err
    assert status == 2
    assert f"error[{error}]" in err
    assert "remedy" in err


@pytest.mark.parametrize(
    ("option", "value"), [("--seed", "-1"), ("--batch", "0"), ("--batch", "x"), ("--seed", "1.5")]
)
def test_numbers_out_of_range_are_mistakes_of_usage(capsys, option, value):
    with pytest.raises(SystemExit) as caught:
        main(["run", "lenet", option, value])
    assert caught.value.code == 2
    assert (
        f"argument {option}: '{value}' is not a whole number of at least" in capsys.readouterr().err
    )


def test_a_stage_is_text_and_not_json(capsys, saved):
    with pytest.raises(SystemExit) as caught:
        main(["explain", saved[1], "--emit", "fuse", "--json"])
    assert caught.value.code == 2
    assert "--json: not allowed with argument --emit" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["nofile.gcn", "models/net"])
def test_a_missing_file_is_not_taken_for_a_network(capsys, name):
    assert main(["run", name]) == 2
    err = capsys.readouterr().err
    assert "error[FileProblem]" in err
    assert name in err
    assert "built-in" not in err


def test_the_version_is_the_package_s(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"graphcnn {version('graphcnn')}\n"
    assert gx.__version__ == version("graphcnn")


def test_an_interrupted_command_ends_without_a_traceback(capsys, saved, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("graphcnn.report.run_once", interrupted)
    assert run(capsys, "run", saved[1]) == (130, "", "")


def printing_into(stdout):
    program = (
        "import sys; from graphcnn import cli;"
        "cli._demo = lambda options: print('a line' * 9999) or 0;"
        "sys.exit(cli.main(['demo']))"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, check=False, text=True)
    return done.returncode, done.stderr


def test_a_reader_that_leaves_ends_the_command():
    reader, writer = os.pipe()
    os.close(reader)
    assert printing_into(writer) == (141, "")
    os.close(writer)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device that Linux has")
def test_a_full_disk_is_told():
    with open("/dev/full", "w") as full:
        status, told = printing_into(full)
    assert status == 2
    assert told == "error: the output cannot be written: No space left on device\n"


def test_letters_that_the_terminal_lacks_are_escaped(monkeypatch, tmp_path):
    gx.save(gx.graph("caf\u00e9", gx.relu(gx.input("x", (1, 2)))), tmp_path / "net.gcn")
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    assert main(["inspect", str(tmp_path / "net.gcn")]) == 0
    assert written.getvalue().startswith(b"caf\\xe9(x: f32[1,2])")


LONG = "encoder.layer1.blocks.0."


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """Every report on a network whose names are long, and on one whose names are short."""
    path = str(tmp_path_factory.mktemp("long") / "long.gcn")
    rng = np.random.default_rng(0)
    x = gx.input("a_rather_long_name_of_an_input", (1, 2, 8, 8))
    weight = rng.standard_normal((4, 2, 3, 3))
    h = gx.relu(gx.conv2d(x, weight, padding=1, name=f"{LONG}convolution"), name=f"{LONG}act")
    h = gx.max_pool2d(h, 2, name=f"{LONG}pooling")
    gx.save(gx.graph("long", [h, gx.flatten(h, name=f"{LONG}flatten")]), path)
    return {name: name if name == "lenet" else path for name in ("lenet", "long")}


@pytest.mark.parametrize("network", ["lenet", "long"])
@pytest.mark.parametrize("word", ["run", "explain", "compare", "profile", "inspect"])
def test_reports_fit_a_terminal(capsys, reports, network, word):
    status, out, _ = run(capsys, word, reports[network])
    assert status == 0
    assert max(map(len, out.splitlines())) <= WIDTH
    assert out.isascii()
    if network == "long" and word != "compare":
        assert re.search(r"enc\S*ing\b", out)
