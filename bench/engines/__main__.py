"""Measure engines side by side, scaling, and kernels from the inside; all goes to one JSON file.

    python -m bench.engines [--networks N ...] [--parts P ...] [--seconds N] [--json FILE]

What the file has is not measured again. `python -m bench.engines.report` makes the page of it.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from bench.engines.cases import SCALING, SIDE_BY_SIDE, Case
from bench.engines.inside import CASES as INSIDE
from bench.engines.inside import inside
from bench.engines.machine import machine
from bench.engines.peers import ENGINES, Engine, Fused, OnnxRuntime, Torch, Unfused
from bench.engines.results import EngineRow, Results
from bench.engines.turns import side_by_side
from graphcnn.report.tables import binary_size

JSON = Path(__file__).parents[1] / "results" / "engines_cpu.json"
PARTS = ("machine", "engines", "inside", "scaling")
# Drawn over batch, side, depth and threads.
SCALED: tuple[type[Engine], ...] = (Torch, OnnxRuntime, Unfused, Fused)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--networks", nargs="+", help="only cases of these")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--seconds", type=float, default=8, help="turns of a case, about")
    parser.add_argument("--json", metavar="FILE", type=Path, default=JSON)
    options = parser.parse_args()
    results = Results.load(options.json)
    for name, measure in _missing(results, options):
        start = time.perf_counter()
        measure()
        results.save(options.json)
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)


def _missing(
    results: Results, options: argparse.Namespace
) -> Iterator[tuple[str, Callable[[], None]]]:
    """What is asked for and not known, by name."""

    def wanted(part: str, case: Case) -> bool:
        return part in options.parts and case.network in (options.networks or [case.network])

    def measure_machine() -> None:
        results.machine = machine()

    if "machine" in options.parts and results.machine is None:
        yield "machine", measure_machine
    scaled = (case for cases in SCALING.values() for case in cases)
    for case in dict.fromkeys((*SIDE_BY_SIDE, *scaled)):
        everyone = case in SIDE_BY_SIDE
        if wanted("engines" if everyone else "scaling", case) and results.case(case) is None:
            engines = ENGINES if everyone else SCALED
            yield str(case), partial(_compare, results, case, engines, options.seconds)
    for case in INSIDE:
        if wanted("inside", case) and results.inside(case) is None:
            yield f"inside {case}", lambda case=case: results.insides.append(inside(case))


def _compare(
    results: Results, case: Case, engines: tuple[type[Engine], ...], seconds: float
) -> None:
    found = side_by_side(case, engines, seconds=seconds)
    results.cases.append(found)
    print(*map(_line, found.rows), sep="\n")


def _line(row: EngineRow) -> str:
    if row.wall is None:
        return f"  {row.engine:<20} {row.absent or f'WRONG: error {row.error}'}"
    cells = (row.wall, row.to_best, row.cpu)
    memory = binary_size(row.memory_bytes or 0)
    return f"  {row.engine:<20} {cells[0]!s:<26} {cells[1]!s:<20} cpu {cells[2]!s:<26} {memory}"


if __name__ == "__main__":
    main()
