"""What was measured is kept whole, for one device and version, and dropped where it is damaged."""

import json
import math
import threading
from pathlib import Path

import pytest
import torch

from graphcnn import kernels
from graphcnn.errors import FileProblem
from graphcnn.runtime.timing import Timing
from graphcnn.targets import resolve
from graphcnn.tuning.cache import Cache, environment
from graphcnn.tuning.kept import clear, kept
from graphcnn.tuning.trial import Trial

HERE = {"device": "cpu", "kernels": "1"}
NODE = "%0: f32[1,4] at [4, 1]\n%1: f32[1,4] = relu(%0) at [4, 1]"
TRIALS = (
    Trial("relu", Timing(2e-5, 1.9e-5, 2.2e-5, 7), 1e-7, 0.25),
    Trial("library: torch", None, math.inf, math.inf, "4 of 4 elements exceed the bound"),
)


def filled(where=HERE, node=NODE, trials=TRIALS):
    cache = Cache()
    with cache.turn():
        cache.keep(where, node, trials)
    return cache


def test_what_is_kept_is_found_by_another_process_and_nowhere_else():
    filled()
    assert Cache().find(HERE, NODE) == TRIALS
    for other in ({**HERE, "kernels": "2"}, {**HERE, "device": "cuda:0"}, {}):
        assert Cache().find(other, NODE) is None
    assert Cache().find(HERE, NODE.replace("4", "8")) is None


def test_an_entry_is_written_anew():
    filled()
    slower = Trial("relu", Timing(3e-5, 2e-5, 4e-5, 9), 1e-7, 0.25)
    filled(trials=[slower])
    assert Cache().find(HERE, NODE) == (slower, TRIALS[1])
    assert len(Cache().entries()) == 1


def damaged(text):
    content = json.loads(text)
    trial = content["trials"][0]
    yield "cut", text[: len(text) // 2]
    yield "empty", ""
    yield "zeros", "\0" * len(text)
    yield "a list", "[]"
    yield "another kind", json.dumps({**content, "trials": 3})
    yield "no trials", json.dumps({**content, "trials": []})
    yield "no node", json.dumps({**content, "node": 5})
    yield "a field too many", json.dumps({**content, "trials": [{**trial, "more": 1}]})
    yield "no time", json.dumps({**content, "trials": [{**trial, "timing": None}]})
    timing = {**trial["timing"], "median": -1.0}
    yield "a negative time", json.dumps({**content, "trials": [{**trial, "timing": timing}]})
    timing = {**trial["timing"], "median": "fast"}
    yield "no number", json.dumps({**content, "trials": [{**trial, "timing": timing}]})
    yield "deep", "[" * 100_000


def test_a_damaged_entry_is_dropped_with_a_note(folder):
    filled()
    (file,) = folder.glob("*.json")
    for what, text in damaged(file.read_text()):
        file.write_text(text)
        cache = Cache()
        assert cache.find(HERE, NODE) is None, what
        assert not file.exists(), what
        (note,) = cache.notes
        assert f"{file.name} was damaged and is dropped" in note
        filled()
        assert Cache().find(HERE, NODE) == TRIALS


def test_an_entry_under_a_foreign_name_is_not_taken(folder):
    filled()
    (file,) = folder.glob("*.json")
    other = filled(node="other")._file(HERE, "other")
    other.write_bytes(file.read_bytes())
    assert Cache().find(HERE, "other") is None


def test_what_a_killed_writer_left_is_removed(folder):
    filled()
    (file,) = folder.glob("*.json")
    left = folder / f".{file.name}.{'0' * 32}.tmp"
    left.write_text("half")
    filled()
    assert sorted(folder.iterdir()) == [file]


def test_one_at_a_time_has_its_turn():
    inside, most = [], []

    def measure():
        with Cache().turn():
            inside.append(1)
            most.append(len(inside))
            threading.Event().wait(0.02)
            inside.pop()

    threads = [threading.Thread(target=measure) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1, 1]


def test_a_folder_that_cannot_be_made(folder):
    folder.write_text("in the way")
    with pytest.raises(FileProblem) as caught, Cache().turn():
        pass
    assert str(folder) in caught.value.where
    assert Cache().entries() == ()


def test_the_report_lists_and_clears(folder):
    assert kept().rows == ()
    filled()
    filled({**HERE, "device": "cuda:0"}, trials=TRIALS[1:])
    told = kept()
    assert [(row.node, row.device, row.taken) for row in told.rows] == [
        ("relu f32[1,4]", "cpu", "relu"),
        ("relu f32[1,4]", "cuda:0", "library: torch"),
    ]
    assert told.nbytes == sum(file.stat().st_size for file in folder.iterdir())
    assert "2 nodes measured" in str(told)
    assert "20.0 us (19.0 .. 22.0)" in str(told)
    assert json.dumps(told.to_json())
    (folder / "mine.txt").write_text("stays")
    assert "removed 2 nodes" in str(clear())
    assert [file.name for file in folder.iterdir()] == ["mine.txt"]
    assert kept().rows == ()


@pytest.mark.cpu
def test_the_environment_changes_with_what_runs(tmp_path, monkeypatch):
    target = resolve("triton", "cpu")
    before = environment(target)
    assert environment(target) == before
    assert environment(resolve("library", "cpu"))["target"] == "library"
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    assert environment(target)["threads"] == "77"
    copied = tmp_path / "kernels"
    copied.mkdir()
    for file in Path(kernels.__path__[0]).glob("*.py"):
        (copied / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(kernels, "__path__", [str(copied)])
    assert environment(target)["kernels"] == before["kernels"]
    with (copied / "tile.py").open("a") as file:
        file.write("# changed\n")
    assert environment(target)["kernels"] != before["kernels"]
