"""Figures are medians with their quartiles, and print as such."""

import statistics
from itertools import count

import pytest

from graphcnn.runtime import timing
from graphcnn.runtime.timing import Measurement, Ratio, Timing, duration, interleave


@pytest.mark.parametrize(
    ("spelled", "wanted"),
    [
        (duration(1.2345e-5), "12.3 us"),
        (duration(1.2345e-4), "0.12 ms"),
        (duration(1.2345e-2), "12.3 ms"),
        (duration(1.2345), "1,234 ms"),
        (str(Timing.of([9.5e-5, 9.9e-5, 1.23e-4])), "99.0 us (97.0 .. 111)"),
        (str(Timing.of([0.0121, 0.0123, 0.0129])), "12.3 ms (12.2 .. 12.6)"),
        (str(Timing.of([1.0, 2.0])), "1,500 ms (1,250 .. 1,750)"),
        (str(Ratio.of([0.5, 1.0, 20.0])), "1.00 (0.75 .. 10.5)"),
        (str(Ratio.of([0.0001, 0.02, 0.3])), "0.020 (0.010 .. 0.16)"),
    ],
)
def test_figures(spelled, wanted):
    assert spelled == wanted


def test_there_is_no_median_without_its_quartiles():
    for samples in ([], [1.0]):
        with pytest.raises(statistics.StatisticsError):
            Timing.of(samples)
    with pytest.raises(TypeError):
        Measurement(1.0)


def test_a_measurement_has_quartiles():
    assert Timing.of([5.0, 1.0, 2.0, 4.0, 3.0]) == Timing(3.0, 2.0, 4.0, 5)
    assert Timing(1.0, 1.0, 1.0, 2) != Ratio(1.0, 1.0, 1.0, 2)


def test_a_ratio_is_taken_round_by_round():
    """What slows a whole round down cancels."""
    assert Ratio.between([2.0, 20.0, 8.0], [1.0, 10.0, 4.0]) == Ratio(2.0, 2.0, 2.0, 3)
    with pytest.raises(ValueError, match="shorter"):
        Ratio.between([1.0, 2.0], [1.0])


def test_samples_are_taken_by_turns():
    calls = []
    takes = {name: lambda name=name: calls.append(name) or len(calls) for name in "ab"}
    samples = interleave(takes, least=3, warmup=1)
    assert calls == ["a", "b"] * 4
    assert samples == {"a": [3, 5, 7], "b": [4, 6, 8]}


def test_there_are_rounds_until_the_time_is_spent(monkeypatch):
    clock = count()
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(clock))
    counted = {
        seconds: len(interleave({"a": int}, seconds=seconds)["a"]) for seconds in (0, 9, 1e9)
    }
    assert counted == {0: timing.LEAST_ROUNDS, 9: 13, 1e9: timing.MOST_ROUNDS}
