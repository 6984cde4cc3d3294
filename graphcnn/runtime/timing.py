"""How long things take: interleaved, so that what disturbs the machine disturbs all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

from graphcnn.plan import Device

T = TypeVar("T")

# Quartiles take a handful of samples; beyond this many the median stands still.
LEAST_ROUNDS, MOST_ROUNDS = 5, 200


@dataclass(frozen=True, slots=True)
class Measurement:
    """What repeated measurements of one figure found: no median without its quartiles.

    Attributes:
        median: The middle of the samples.
        low: Their first quartile.
        high: Their third quartile.
        rounds: How many samples there are, one of each round.
    """

    median: float
    low: float
    high: float
    rounds: int

    @classmethod
    def of(cls, samples: Sequence[float]) -> Self:
        """Summarise at least two samples."""
        low, median, high = statistics.quantiles(samples, n=4, method="inclusive")
        return cls(median, low, high, len(samples))


class Timing(Measurement):
    """Seconds of repeated runs. Prints as "12.3 ms (12.1 .. 12.9)"."""

    def __str__(self) -> str:
        scale, _ = _unit(self.median)
        low, high = three_digits(scale * self.low), three_digits(scale * self.high)
        return f"{duration(self.median)} ({low} .. {high})"


class Ratio(Measurement):
    """How many times as long one run took as another. Prints as "0.97 (0.95 .. 0.99)"."""

    @classmethod
    def between(cls, own: Sequence[float], theirs: Sequence[float]) -> Ratio:
        """One run's seconds over another's in the same round, over the rounds."""
        return cls.of([a / b for a, b in zip(own, theirs, strict=True)])

    def __str__(self) -> str:
        return (
            f"{three_digits(self.median)} ({three_digits(self.low)} .. {three_digits(self.high)})"
        )


def duration(seconds: float) -> str:
    """A time in micro- or milliseconds: "12.3 us", "0.12 ms", "12.3 ms", "1,234 ms"."""
    scale, unit = _unit(seconds)
    return f"{three_digits(scale * seconds)} {unit}"


def _unit(seconds: float) -> tuple[float, str]:
    return (1e6, "us") if seconds < 1e-4 else (1e3, "ms")


def three_digits(number: float) -> str:
    """About three digits, and all before the point: "0.012", "0.97", "12.3", "1,234"."""
    decimals = next((d for limit, d in ((10, 2), (100, 1)) if number < limit), 0)
    return f"{number:,.{3 if 0 < number < 0.1 else decimals}f}"


def interleave(
    takes: Mapping[str, Callable[[], T]],
    *,
    seconds: float = 0.0,
    least: int = LEAST_ROUNDS,
    warmup: int = 2,
) -> dict[str, list[T]]:
    """Take samples by turns, one of each in every round.

    Args:
        takes: What takes a sample, by name.
        seconds: How long to go on, warm-up not counted; at most `MOST_ROUNDS` rounds.
        least: Rounds there are in any case.
        warmup: Rounds before the first that counts.

    Returns:
        The sample of each round, by name: those of one index were taken next to each other.
    """
    for _ in range(warmup):
        for take in takes.values():
            take()
    samples: dict[str, list[T]] = {name: [] for name in takes}
    rounds, start = 0, time.perf_counter()
    while rounds < least or (rounds < MOST_ROUNDS and time.perf_counter() - start < seconds):
        for name, take in takes.items():
            samples[name].append(take())
        rounds += 1
    return samples


def timed(run: Callable[[], object], device: Device) -> float:
    """Seconds of one run, from an idle device until it is idle again."""
    device.synchronize()
    elapsed = device.stopwatch()
    run()
    device.synchronize()
    return elapsed()
