"""The harness for engines side by side, on a toy network with engines that are right or not."""

import json

import numpy as np
import pytest

import graphcnn as gx
from bench.engines import worker
from bench.engines.cases import SCALING, SIDE_BY_SIDE, Case
from bench.engines.inside import inside, memory
from bench.engines.results import EngineRow, Inside, Layer, Machine, Memory, Results, SideBySide
from bench.engines.turns import side_by_side
from graphcnn.plan.plan import Plan, Slot, Step
from graphcnn.runtime.timing import LEAST_ROUNDS, Measurement, Ratio, Timing
from tests.bench import stubs

TOY = Case("toy", threads=1)


def measured(*engines):
    found = side_by_side(TOY, engines, seconds=0, export=stubs.export)
    return found, {row.engine: row for row in found.rows}


def test_wrong_outputs_are_not_timed():
    found, rows = measured(stubs.Right, stubs.Wrong, stubs.NotANumber)
    assert rows["right"].wall.rounds == rows["right"].cpu.rounds == LEAST_ROUNDS
    assert rows["right"].error == 0
    # 0.1 of a range of 14, in float32 numbers of up to 14
    assert abs(rows["wrong"].error - 0.1 / 14) < 1e-6
    assert found.tolerance < rows["wrong"].error
    assert rows["not a number"].error is None
    for name in ("wrong", "not a number"):
        row = rows[name]
        assert row.wall is row.cpu is row.to_best is row.absent is None


def test_an_absent_engine_is_told_with_its_reason():
    _, rows = measured(stubs.NotInstalled, stubs.Refuses, stubs.Fails, stubs.Dies, stubs.Right)
    assert list(rows) == ["not installed", "refuses", "fails", "dies", "right"]
    assert "an_engine_that_is_nowhere" in rows["not installed"].absent
    assert rows["refuses"].absent == "it has no bfloat16"
    assert rows["fails"].absent == "KeyError: 'a layer that it does not know'"
    assert rows["dies"].absent == "its process ended with status 3"
    assert rows["right"].absent is None
    assert all(row.wall is None for row in rows.values() if row.absent)


def test_engines_take_turns(tmp_path, monkeypatch):
    calls = tmp_path / "calls"
    monkeypatch.setenv("GRAPHCNN_TEST_CALLS", str(calls))
    measured(stubs.First, stubs.Second)
    rounds = LEAST_ROUNDS + 1  # one is warm-up
    turns = calls.read_text().split()[-2 * rounds :]
    assert turns == ["first", "second"] * rounds


def test_ratios_refer_to_the_best_peer():
    found, rows = measured(stubs.Own, stubs.Right)
    assert found.best == "right"
    assert rows["right"].to_best == Ratio(1.0, 1.0, 1.0, LEAST_ROUNDS)
    assert rows["own"].to_best.rounds == LEAST_ROUNDS
    alone, rows = measured(stubs.Own)
    assert alone.best is rows["own"].to_best is None


def test_a_turn_of_short_calls_has_many_and_does_not_count_the_first(monkeypatch):
    durations = iter([0.01, *[0.001] * 100])
    now = 0.0

    def call():
        nonlocal now
        now += next(durations)

    monkeypatch.setattr(worker.time, "perf_counter", lambda: now)
    monkeypatch.setattr(worker.time, "process_time", lambda: 2 * now)
    wall, cpu = worker.turn(call)
    assert abs(wall - 0.001) < 1e-9
    assert abs(cpu - 0.002) < 1e-9
    assert 0.06 <= now < 0.062
    durations = iter([0.5])
    wall, _ = worker.turn(call)
    assert abs(wall - 0.5) < 1e-9


def test_memory_of_a_call_is_its_peak():
    size = 64 << 20
    before = worker.peak(lambda: None)
    taken = worker.peak(lambda: np.ones(size, np.int8)) - before
    assert abs(taken - size) < size / 8


def results() -> Results:
    timing = Timing(0.2, 0.1, 0.3, 7)
    rows = (
        EngineRow("torch", False, None, "2.0", 1e-7, 100, timing, timing, Ratio(1, 1, 1, 7)),
        EngineRow("gone", False, "not installed: No module", *[None] * 6),
        EngineRow("nan", False, None, "1.0", None, 100, None, None, None),
        EngineRow("graphcnn fused", True, None, "1", 2e-7, 90, timing, timing, Ratio(2, 1, 3, 7)),
        EngineRow("graphcnn unfused", True, None, "1", 2e-7, 90, timing, timing, Ratio(2, 1, 3, 7)),
    )
    layers = (
        Layer("conv", "conv2d+relu", 1000, timing, timing, Ratio(1, 1, 1, 7), 64, 128),
        Layer("copy", "copy", 0, timing, None, None, 64, 0),
    )
    case = Case("lenet")
    peak = Measurement(100.0, 99.0, 101.0, 9)
    machine = Machine("a CPU", "avx avx2", 2, 1 << 34, "Linux", {"torch": "2"}, "date", peak, peak)
    compared = SideBySide(case, "2026-01-01T00:00:00", 1e-3, 1000, "torch", rows)
    scaled = [SideBySide(c, "2026-01-01", 1e-3, 1, None, rows[3:]) for c in SCALING["batch"]]
    plan = Memory(256, (128, 256))
    return Results(machine, [compared, *scaled], [Inside(case, "2026-01-02", layers, plan, plan)])


def test_results_come_back_from_json(tmp_path):
    path = tmp_path / "results.json"
    assert Results.load(path) == Results()
    results().save(path)
    assert Results.load(path) == results()
    assert Results.load(path).case(Case("lenet")) == results().cases[0]
    assert Results.load(path).case(Case("lenet", size=32)) is None
    json.loads(path.read_text(), parse_constant=pytest.fail)


def test_the_page_tells_everything(tmp_path):
    pytest.importorskip("matplotlib")
    from bench.engines import pictures, report

    drawn = pictures.draw(results(), tmp_path)
    assert drawn == ["engines_float32_b1", "layers_lenet", "memory", "roofline", "scaling"]
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{name}.{ending}" for name in drawn for ending in ("png", "svg")
    }
    page = report.page(results(), drawn)
    assert "absent: not installed: No module" in page
    assert "| nan | wrong, not timed |" in page
    assert "| graphcnn fused | 200 ms (100 .. 300) | 2.00 (1.00 .. 3.00) |" in page
    assert "100 (99.0 .. 101) GFLOP/s" in page
    assert all(f"pictures/{name}.svg" in page for name in drawn)


def test_memory_counts_what_shares_a_place_once():
    steps = tuple(Step(name, "", None, (), (), None) for name in "abc")
    slots = (Slot("x", 0, 256, -1, 0), Slot("y", 256, 512, 0, 2), Slot("z", 256, 256, 1, 2))
    plan = Plan(steps, {}, slots, 768, ())
    assert memory(plan) == Memory(768, (768, 512, 512))


@pytest.mark.cpu
def test_a_network_from_the_inside(monkeypatch):
    x = gx.input("image", (1, 3, 16, 16))
    w = np.random.default_rng(0).standard_normal((8, 3, 3, 3), np.float32)
    h = gx.relu(gx.conv2d(x, w, padding=1, name="conv"), name="relu")
    net = gx.graph("small", gx.max_pool2d(h, 2, name="pool"))
    monkeypatch.setattr(Case, "graph", lambda _: net)
    found = inside(TOY, seconds=0)
    (layer,) = found.layers
    assert layer.flops == 2 * 27 * 8 * 256 + 8 * 256 + 4 * 8 * 64
    image, conv, pooled, filters = 3 * 256, 8 * 256, 8 * 64, 8 * 27
    assert layer.fused_bytes == 4 * (image + pooled + filters)
    assert layer.unfused_bytes == 4 * (image + 4 * conv + pooled + filters)
    assert layer.unfused.rounds == layer.to_unfused.rounds == LEAST_ROUNDS
    assert max(found.fused.live_bytes) <= found.fused.arena_bytes < found.unfused.arena_bytes


def test_every_case_is_a_network_of_ours():
    cases = {*SIDE_BY_SIDE, *(case for cases in SCALING.values() for case in cases)}
    assert {case.network for case in cases} <= gx.models.MODELS.keys()
