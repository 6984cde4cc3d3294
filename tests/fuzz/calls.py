"""Public functions with one to three odd or unusual arguments: an answer, or an error of ours.

An answer has to be whole: a tensor that a graph can hold, a graph that prints and parses back, a
model that `verify` finds right.
"""

import contextlib
import random
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import numpy as np

import graphcnn as gx
from graphcnn.errors import GraphCNNError
from graphcnn.ir import DType, Graph, parse, verify
from graphcnn.runtime.compiled import CompiledModel
from tests.odd_calls import ODD, call, functions

NUMBERS = (-2, 0, 1, 2, 3, 7, 2**31 - 1, 2**31, 0.0, -0.0, 0.5, -1.5, 1e-45, 65520.0, 3e38, 1e39)
WORDS = (
    "relu",
    "conv",
    "x",
    "numpy",
    "library",
    "cpu",
    "cuda",
    "f16",
    "i8",
    "é",
    "inf",
    "#",
    "a b",
)
DTYPES = (np.float16, np.float32, np.float64, np.int32, np.uint8)


@cache
def cases() -> dict[Callable, dict[str, Any]]:
    """Every public function with arguments that fit."""
    return functions(Path(mkdtemp(prefix="graphcnn-fuzz-")))


def check(seed: int) -> str:
    """Call some function with some arguments replaced."""
    choice = random.Random(seed)
    function, fitting = choice.choice(list(cases().items()))
    names = choice.sample(list(fitting), min(len(fitting), choice.choice((1, 1, 2, 3))))
    with TemporaryDirectory() as folder, contextlib.chdir(folder), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            whole(call(function, {**fitting, **{name: value(choice) for name in names}}))
        except GraphCNNError as error:
            return type(error).__name__ if error.remedy else f"no remedy: {error}"
    return "answered"


def value(choice: random.Random) -> Any:
    """Something odd, or something of a kind that fits some parameter."""
    kind = choice.randint(0, 6)
    if kind == 0:
        return choice.choice(NUMBERS)
    if kind == 1:
        return choice.choice(WORDS)
    if kind == 2:
        return choice.choice((tuple, list))(
            choice.choice(NUMBERS[:7]) for _ in range(choice.randint(0, 5))
        )
    if kind == 3:
        shape = [choice.choice((0, 1, 1, 2, 3, 4)) for _ in range(choice.randint(0, 5))]
        numbers = np.random.default_rng(choice.randrange(2**32)).standard_normal(shape)
        return (numbers * choice.choice((1, 1, np.nan, 1e300))).astype(choice.choice(DTYPES))
    if kind == 4:
        return gx.input("y", (1, choice.randint(1, 3)), choice.choice(list(DType)))
    return ODD[choice.choice(list(ODD))]()


def whole(answer: Any) -> None:
    """Check what a call answered."""
    if isinstance(answer, gx.Tensor):
        answer = gx.graph("answer", answer)
    if isinstance(answer, Graph):
        verify(answer)
        assert parse(str(answer)) == answer
    if isinstance(answer, CompiledModel):
        assert gx.verify(answer).ok
