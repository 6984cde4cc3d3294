"""Kernels for GPUs that are not here, executed from their PTX and compared with float64.

Warps run in an order that is drawn between barriers, and asynchronous copies land as early or as
late as they may. `tests/golden/ptx/` holds what the first program of each case does, as Triton 3.9
compiles it; `pytest tests/ptx/test_kernels.py --update-golden` writes it anew.
"""

import pytest
import triton

from tests.ptx.cases import CASES
from tests.ptx.launching import Interpreter
from tests.ptx.machine import EARLY, LATE


@pytest.mark.parametrize("name", CASES)
def test_early_copies(name):
    CASES[name](Interpreter(EARLY))


@pytest.mark.parametrize("capability", [89, 120])
@pytest.mark.parametrize("name", list(CASES)[::10])
def test_other_capabilities(name, capability):
    CASES[name](Interpreter(LATE, capability))


@pytest.mark.parametrize("name", CASES)
def test_late_copies_and_counts(name, golden):
    run = Interpreter(LATE)
    CASES[name](run)
    if not triton.__version__.startswith("3.9."):
        pytest.skip("the numbers are right; the counts are those of Triton 3.9")
    golden(f"tests/golden/ptx/{name.replace(' ', '_')}.txt", "\n".join(run.counters.lines()))
