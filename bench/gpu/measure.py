"""A case measured: contenders loaded, each output checked, then by turns; cases until time ends."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import torch

from bench.engines.peers import Absent
from bench.engines.results import now
from bench.gpu.cases import Case
from bench.gpu.contenders import CONTENDERS, FOLDED, Contender, Network, Run, Work
from bench.gpu.hardware import Hardware
from bench.gpu.results import TORCH, UNFUSED, Measured, Results, Row
from graphcnn.runtime.timing import Ratio, Timing, interleave, timed

# Largest difference to the float64 output that passes, over its range, or twice that of torch's own
# operators, where that is more: half precision of a deep network may be further off.
TOLERANCE = {"float32": 1e-4, "float16": 2e-2}
# The part of the minutes that building slow contenders may take.
SLOW_SHARE = 0.4
SLOW = " and ".join(name for name, contender in CONTENDERS.items() if contender.slow)


@dataclass
class Clock:
    """The minutes of a run, and what building slow contenders has taken of them.

    Args:
        seconds: All that there are.
        built: Seconds of the longest building of each slow contender.
        building: Seconds that all buildings took together.
    """

    seconds: float
    built: dict[str, float] = field(default_factory=dict)
    building: float = 0.0
    _begin: float = field(default_factory=time.perf_counter)

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.seconds - (time.perf_counter() - self._begin)

    @property
    def spent(self) -> bool:
        """Whether buildings have used their part."""
        return self.building >= SLOW_SHARE * self.seconds

    def check(self, name: str) -> None:
        """Check that a slow contender may be built.

        Raises:
            Absent: when its time is up.
        """
        longest = self.built.get(name, 0.0)
        if self.spent or longest > min(self.left, SLOW_SHARE * self.seconds - self.building):
            took = f"; it took {longest:.0f} s before" if longest else ""
            raise Absent(f"not built: what takes long to build had its part of the minutes{took}")

    def took(self, name: str, seconds: float) -> None:
        """Note how long the building of a slow contender took."""
        self.built[name] = max(seconds, self.built.get(name, 0.0))
        self.building += seconds


def run(
    cases: Iterable[tuple[Case, bool]],
    hardware: Hardware,
    results: Results,
    *,
    contenders: Mapping[str, Contender] = CONTENDERS,
    tell: Callable[[Measured], None] = lambda _: None,
) -> None:
    """Measure cases, in order, until the minutes of the results are over.

    Args:
        cases: Each with whether slow contenders take part.
        hardware: Where.
        results: Where they go, and what was left.
        contenders: What computes them.
        tell: What is told of each.
    """
    clock = Clock(60 * results.minutes)
    network: Network | None = None
    tried: set[Case] = set()
    missed: dict[str, list[int]] = {}
    for case, slow in cases:
        again = case in tried
        tried.add(case)
        if again and all(known.case != case for known in results.cases):
            continue  # why is told already
        if clock.left <= 0 or (again and clock.spent):
            which = f" with {SLOW}" if again else ""
            missed.setdefault(f"{case.workload} {case.dtype}{which}", []).append(case.batch)
            continue
        if network is None or not network.holds(case):
            network = Network(case, hardware)
        asked = {name: each for name, each in contenders.items() if slow or not each.slow}
        try:
            found = measured(Work(network, case.batch), asked, clock)
        except Exception as error:  # out of memory, or a compiler's, of any kind
            results.left.append(f"{case}: {reason(error)}")
        else:
            results.add(found)
            tell(found)
        gc.collect()
        hardware.free()
    none = f"of {results.minutes:g} minutes none were left"
    for what, batches in missed.items():
        results.left.append(f"{what} at batch {', '.join(map(str, batches))}: {none}")


def reason(error: Exception) -> str:
    """Why something did not work, on one line."""
    told = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, Absent):
        return told
    if isinstance(error, ImportError):
        return f"not installed: {told}"
    return f"{type(error).__name__}: {told}"


class Loaded(NamedTuple):
    """A contender that has computed the output once.

    Attributes:
        run: How it does that.
        error: Of what its kernels computed; NaN where a number is none.
    """

    run: Run
    error: float


def measured(work: Work, contenders: Mapping[str, Contender], clock: Clock) -> Measured:
    """Check contenders on a case, and time those that are right.

    Raises:
        ValueError: when the float64 output is constant, which says nothing.
        Whatever torch raises where it cannot compute that output.
    """
    hardware, case = work.network.hardware, work.network.case
    loaded: dict[str, Loaded] = {}
    absent: dict[str, str] = {}
    replays: dict[str, tuple[Callable[[], None], Callable[[], Any]]] = {}
    with torch.no_grad():
        expected = work.expected
        with work.stack:
            for name, contender in contenders.items():
                try:
                    found = _loaded(name, contender, work, clock)
                    loaded |= {name: found} if found else {}
                except Exception as error:  # a contender's, of any kind
                    absent[name] = reason(error)
            yardsticks = [loaded[name].error for name in (TORCH, FOLDED) if name in loaded]
            tolerance = max([TOLERANCE[case.dtype], *(2 * error for error in yardsticks)])
            tolerated = {name: max(tolerance, contenders[name].tolerance) for name in loaded}
            for name, (run, error) in loaded.items():
                try:
                    if error <= tolerated[name]:  # what is no number is not
                        replays[name] = run.ready, hardware.captured(run.kernels)
                except Exception as problem:  # torch's, of any kind
                    absent[name] = f"no CUDA graph of it: {reason(problem)}"
            before = hardware.clocks()
            replayed = _turns(replays, hardware)
            after = hardware.clocks()
        replays.clear()
        errors = {name: difference(loaded[name].run.call(), expected) for name in replayed}
        right = [name for name, error in errors.items() if error <= tolerated[name]]
        called = _turns({name: (_nothing, loaded[name].run.call) for name in right}, hardware)
    samples = {name: (replayed[name], called[name]) for name in right}
    errors = {name: found.error for name, found in loaded.items()} | {
        name: max(error, loaded[name].error) for name, error in errors.items()
    }
    rows = tuple(
        _row(name, absent.get(name), errors.get(name), samples)
        for name in contenders
        if name in loaded or name in absent
    )
    of_batch = Case(case.workload, case.dtype, work.batch)
    return Measured(of_batch, now(), tolerance, rows, before, after)


def _loaded(name: str, contender: Contender, work: Work, clock: Clock) -> Loaded | None:
    if contender.slow:
        clock.check(name)
    begin = time.perf_counter()
    try:
        if (run := contender.load(work)) is None:
            return None
        computed = run.kernels()
    finally:
        if contender.slow:
            clock.took(name, time.perf_counter() - begin)
    return Loaded(run, difference(computed, work.expected))


def difference(computed: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest difference over the range of what is expected; NaN where a number is none."""
    spread = float(expected.max() - expected.min())
    worst = float((computed.double() - expected).abs().max())
    return worst / spread if math.isfinite(worst) else math.nan


def _nothing() -> None:
    """What most contenders do before their turn."""


def _turns(
    runs: Mapping[str, tuple[Callable[[], None], Callable[[], Any]]], hardware: Hardware
) -> dict[str, list[float]]:
    """Seconds of each run, by turns, from an idle device with other data in its cache."""

    def take(ready: Callable[[], None], run: Callable[[], Any]) -> float:
        ready()
        hardware.flush()
        return timed(run, hardware.device)

    takes = {name: partial(take, *each) for name, each in runs.items()}
    if not takes:
        return {}
    return interleave(takes, seconds=hardware.seconds, least=hardware.rounds, warmup=1)


def _row(
    name: str,
    absent: str | None,
    error: float | None,
    samples: Mapping[str, tuple[list[float], list[float]]],
) -> Row:
    error = None if error is None or math.isnan(error) else error
    if name not in samples:
        return Row(name, absent, error)
    replayed, called = samples[name]

    def ratio(other: str) -> Ratio | None:
        return Ratio.between(replayed, samples[other][0]) if other in samples else None

    times = Timing.of(replayed), Timing.of(called)
    return Row(name, None, error, *times, ratio(TORCH), ratio(UNFUSED))
