"""The ways of computing a node, tried: how long each took, and how far off it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphcnn.runtime.timing import Timing

# Less than this is lost again in a network, where memory and threads are shared with other nodes.
MARGIN = 0.95


@dataclass(frozen=True, slots=True)
class Trial:
    """One way of computing a node, tried.

    Attributes:
        way: Its name.
        timing: Seconds of a run; None for one that is not right, or does not run.
        error: Largest distance from the float64 reference.
        share: Largest share of the bound on rounding that an error used.
        problem: What is wrong, or None.
    """

    way: str
    timing: Timing | None
    error: float
    share: float
    problem: str | None = None


def fastest(trials: Sequence[Trial]) -> Trial:
    """The way to take: the first, which is the model's, unless another is faster beyond doubt.

    That is the one with the smallest median, if its third quartile is well below the first quartile
    of the model's.
    """
    first, *others = trials
    right = [trial for trial in others if trial.timing is not None]
    best = min(right, key=lambda trial: _timing(trial).median, default=first)
    if best is first or first.timing is None:
        return best
    return best if _timing(best).high < MARGIN * first.timing.low else first


def _timing(trial: Trial) -> Timing:
    assert trial.timing is not None
    return trial.timing
