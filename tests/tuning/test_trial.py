"""Which of several trials is taken."""

import pytest

from graphcnn.runtime.timing import Timing
from graphcnn.tuning.trial import Trial, fastest


def trial(way, median=None, spread=0.01):
    if median is None:
        return Trial(way, None, 1.0, 2.0, "wrong")
    low, high = median * (1 - spread), median * (1 + spread)
    return Trial(way, Timing(median, low, high, 5), 1e-7, 0.1)


@pytest.mark.parametrize(
    ("trials", "taken"),
    [
        ([trial("model", 2.0)], "model"),
        ([trial("model", 2.0), trial("a", 1.0), trial("b", 0.9)], "b"),
        # Within the spread of both, or nearly so, the model's stays.
        ([trial("model", 2.0, 0.5), trial("a", 1.5, 0.5)], "model"),
        ([trial("model", 2.0), trial("a", 1.95)], "model"),
        # What is wrong is never taken, however fast.
        ([trial("model", 2.0), trial("a"), trial("b", 1.0)], "b"),
        ([trial("model", 2.0), trial("a")], "model"),
        ([trial("model"), trial("a", 5.0)], "a"),
        ([trial("model"), trial("a")], "model"),
    ],
)
def test_the_model_is_left_for_what_is_right_and_faster_beyond_doubt(trials, taken):
    assert fastest(trials).way == taken
