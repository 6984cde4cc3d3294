"""`python -m graphcnn tune` and `cache`, in this process."""

import json

import numpy as np
import pytest

import graphcnn as gx
from graphcnn.cli import main


@pytest.fixture
def saved(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    x = gx.input("image", (1, 2, 8, 8))
    h = gx.relu(gx.conv2d(x, rng.standard_normal((4, 2, 3, 3)), padding=1, name="conv"), name="act")
    gx.save(gx.graph("net", gx.max_pool2d(h, 2, name="pool")), tmp_path / "net.gcn")
    monkeypatch.setattr("graphcnn.tuning.measure.SECONDS", 0.0)
    return str(tmp_path / "net.gcn")


def run(capsys, *arguments):
    status = main([*arguments])
    return status, *capsys.readouterr()


def test_tune_measures_and_cache_lists_and_clears(capsys, saved, folder):
    assert "0 nodes measured" in run(capsys, "cache")[1]
    status, out, _ = run(capsys, "tune", saved, "--device", "cpu", "--seconds", "100", "--json")
    told = json.loads(out)
    assert status == 0
    assert [row["node"] for row in told["rows"]] == ["pool"]
    assert (told["measured"], told["interrupted"]) == (1, False)
    status, out, _ = run(capsys, "cache", "--json")
    (row,) = json.loads(out)["rows"]
    assert status == 0
    assert row["node"] == "conv2d+relu+max_pool2d f32[1,4,4,4]"
    assert "1 node measured" in run(capsys, "cache")[1]
    assert "0 of them measured now" in " ".join(
        run(capsys, "tune", saved, "--device", "cpu")[1].split()
    )
    assert "removed 1 node" in run(capsys, "cache", "--clear")[1]
    assert list(folder.iterdir()) == []


def test_the_reports_take_what_was_measured(capsys, saved, takes):
    takes(lambda way: 1.0 if way == "library: channels last" else 2.0)
    status, out, _ = run(capsys, "explain", saved, "--device", "cpu", "--tune")
    assert status == 0
    assert "library" in out
    assert "library" not in run(capsys, "explain", saved, "--device", "cpu")[1]
    assert run(capsys, "verify", saved, "--device", "cpu", "--tune")[0] == 0
    status, out, _ = run(capsys, "compare", saved, "--device", "cpu", "--tune")
    assert status == 0
    assert "best of torch" in out
    assert "tuned" in out


def test_an_interrupt_shows_what_was_measured(capsys, saved, takes):
    def interrupt(way):
        raise KeyboardInterrupt

    takes(interrupt)
    status, out, _ = run(capsys, "tune", saved, "--device", "cpu")
    assert status == 130
    assert "interrupted" in out


@pytest.mark.parametrize("seconds", ["-1", "nan"])
def test_seconds_that_are_no_time(capsys, saved, seconds):
    status, _, err = run(capsys, "tune", saved, "--device", "cpu", "--seconds", seconds)
    assert status == 2
    assert "error[InvalidAttribute]" in err
