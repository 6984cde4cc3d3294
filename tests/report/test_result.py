"""Reports save as JSON, whole or not at all."""

import json
from dataclasses import dataclass

import numpy as np
import pytest

import graphcnn as gx
from graphcnn.errors import FileProblem
from graphcnn.report import run_once
from graphcnn.report.deviation import Deviation
from graphcnn.report.result import Result
from graphcnn.report.tables import Table


@dataclass(frozen=True)
class Sample(Result):
    name: str
    worst: tuple[Deviation, ...]

    def tables(self):
        return (Table(self.name), Table("worst", notes=(str(len(self.worst)),)))


SAMPLE = Sample("x", (Deviation("y", float("nan"), 0.5, float("inf"), (0, 1), None),))


def test_saves_what_json_can_hold(tmp_path):
    path = tmp_path / "sample.json"
    path.write_text("old")
    SAMPLE.save(path)
    row = {"value": "y", "error": "nan", "bound": 0.5, "share": "inf", "at": [0, 1]}
    row |= {"problem": None, "overflowed": 0, "unjudged": 0}
    assert json.loads(path.read_text()) == {"name": "x", "worst": [row]}
    assert json.loads(path.read_text()) == SAMPLE.to_json()
    assert list(tmp_path.iterdir()) == [path]


def test_prints_its_tables():
    assert str(SAMPLE) == "x\n\nworst\n\n1"


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "sample.json"
    path.write_text("old")

    def full(_descriptor):
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(FileProblem, match="cannot be written") as caught:
        SAMPLE.save(path)
    assert str(path) in str(caught.value)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_unwritable_path_is_a_file_problem(tmp_path):
    with pytest.raises(FileProblem):
        SAMPLE.save(tmp_path / "missing" / "sample.json")
    with pytest.raises(FileProblem):
        SAMPLE.save(tmp_path)


def test_every_report_saves(tmp_path):
    x = gx.input("x", (1, 2, 4, 4))
    weight = np.random.default_rng(5).standard_normal((2, 2, 3, 3)).astype(np.float32)
    model = gx.compile(gx.graph("net", gx.relu(gx.conv2d(x, weight, name="conv"))), device="cpu")
    reports = {
        "verify": (gx.verify(model), "ok"),
        "explain": (gx.explain(model), "kernel_count"),
        "compare": (gx.compare({"only": model}, seconds=0.01), "ok"),
        "profile": (gx.profile(model, seconds=0.01), "target"),
    }
    for name, (report, field) in reports.items():
        path = tmp_path / f"{name}.json"
        report.save(str(path))
        stored = json.loads(path.read_text())
        assert stored[field] == getattr(report, field)
        assert stored["model"] == "net"
        assert len(stored["rows"]) == 1


def test_reports_of_numbers_that_json_lacks(tmp_path):
    """A bare NaN is no JSON, and most readers refuse it."""
    graph = gx.graph("net", gx.mul(gx.mul(gx.input("x", (1, 4)), 3e38), 3e38))
    model = gx.compile(graph, target="numpy", device="cpu")
    inputs = {"x": np.array([[np.nan, 1, 2, 3]], np.float32)}
    reports = [
        gx.verify(model, **inputs),
        gx.compare({"only": model}, seconds=0, **inputs),
        gx.profile(model, seconds=0, **inputs),
        run_once(model),
    ]
    for report in reports:
        json.dumps(report.to_json(), allow_nan=False)
    assert reports[-1].to_json()["outputs"][0]["high"] == "inf"
