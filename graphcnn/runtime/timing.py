"""How long things take: interleaved, so that what disturbs the machine disturbs all alike."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from graphcnn.plan import Device

# Quartiles take a handful of samples; beyond this many the median stands still.
LEAST_ROUNDS, MOST_ROUNDS = 5, 200


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of repeated runs.

    Attributes:
        median: The middle of the samples.
        low: Their first quartile.
        high: Their third quartile.
        samples: How many there are.
    """

    median: float
    low: float
    high: float
    samples: int

    @classmethod
    def of(cls, seconds: list[float]) -> Timing:
        """Summarise at least two samples."""
        low, median, high = statistics.quantiles(seconds, n=4, method="inclusive")
        return cls(median, low, high, len(seconds))


def interleave(
    runs: Mapping[str, Callable[[], object]],
    device: Device,
    *,
    rounds: int,
    warmup: int = 2,
    before: Mapping[str, Callable[[], object]] | None = None,
) -> dict[str, list[float]]:
    """Time several runs by turns.

    Args:
        runs: What to time, by name.
        device: Whose clock counts.
        rounds: Samples of each.
        warmup: Runs of each before the first sample.
        before: What to call before each run of a name, off the clock.

    Returns:
        Seconds of each round, by name: the samples of one index ran next to each other.
    """
    samples: dict[str, list[float]] = {name: [] for name in runs}
    for index in range(warmup + rounds):
        for name, run in runs.items():
            if before is not None:
                before[name]()
            seconds = timed(run, device)
            if index >= warmup:
                samples[name].append(seconds)
    return samples


def median_ratio(own: list[float], theirs: list[float]) -> float:
    """Median over the rounds of one run's seconds over another's in the same round."""
    return statistics.median(a / b for a, b in zip(own, theirs, strict=True))


def timed(run: Callable[[], object], device: Device) -> float:
    """Seconds of one run, from an idle device until it is idle again."""
    device.synchronize()
    elapsed = device.stopwatch()
    run()
    device.synchronize()
    return elapsed()
