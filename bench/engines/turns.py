"""A case measured: engines in processes of their own, checked, then by turns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Self

from bench.engines.cases import THREADS, TOLERANCE, Case
from bench.engines.peers import Engine
from bench.engines.results import EngineRow, SideBySide, now
from graphcnn.runtime.timing import Ratio, Timing, interleave

ROOT = Path(__file__).parents[2]
# How long the threads of an engine that has had its turn may go on spinning.
MOST_SPINNING_SECONDS = 1.0

Export = Callable[[Case, Path], None]


class Worker:
    """An engine's process. A context that ends with it.

    Args:
        engine: Its class.
        folder: The forms of the network.
        case: What is measured.
    """

    def __init__(self, engine: type[Engine], folder: Path, case: Case) -> None:
        where = f"{engine.__module__}:{engine.__qualname__}"
        command = [sys.executable, "-m", "bench.engines.worker", where, str(folder), case.dtype]
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        self._log = (folder / f"{engine.name}.log").open("w")
        self._process = subprocess.Popen(
            [*command, str(case.threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd=ROOT,
            env={**os.environ, **dict.fromkeys(names, str(case.threads))},
        )
        self.engine = engine
        self.found: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._log.close()

    def ready(self) -> None:
        """Wait until it has loaded the network; `found` is what it knows then."""
        self.found = self._answer() or {"absent": self._end()}

    def turn(self) -> tuple[float, float]:
        """Seconds of a call, by the wall and of all processors."""
        assert self._process.stdin is not None
        self._process.stdin.write("turn\n")
        self._process.stdin.flush()
        answer = self._answer()
        if answer is None:
            raise RuntimeError(f"{self.engine.name}: {self._end()}")
        self._settle()
        wall, cpu = answer
        return wall, cpu

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return json.loads(line) if line else None

    def _end(self) -> str:
        status = self._process.wait()
        return f"its process ended with status {status}"

    def _settle(self) -> None:
        """Wait until no thread of it runs: the next engine's turn is the next engine's."""
        stop = time.perf_counter() + MOST_SPINNING_SECONDS
        while time.perf_counter() < stop and _runs(self._process.pid):
            time.sleep(0.001)


def _runs(pid: int) -> bool:
    """Whether a thread of a process is running, or would if it could."""
    states = (path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat"))
    return any(stat.rpartition(")")[2].split()[0] == "R" for stat in states)


def export(case: Case, folder: Path) -> None:
    """Write the forms of a case, in a process of its own."""
    size = str(case.size or 0)
    command = [sys.executable, "-m", "bench.engines.exports", str(folder)]
    arguments = [case.network, str(case.batch), case.dtype, size]
    ran = subprocess.run(
        [*command, *arguments], check=False, cwd=ROOT, capture_output=True, text=True
    )
    if ran.returncode:
        raise RuntimeError(f"{case} could not be exported: {ran.stderr}")


def side_by_side(
    case: Case,
    engines: Sequence[type[Engine]],
    *,
    seconds: float = 8.0,
    export: Export = export,
) -> SideBySide:
    """Measure a case.

    Args:
        case: What.
        engines: By which engines; those that are absent are told with the reason, and those that
            are wrong are not timed.
        seconds: About how long turns go on; at least five rounds are taken.
        export: What writes the forms of the network.
    """
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        export(case, Path(folder))
        facts = json.loads((Path(folder) / "facts.json").read_text())

        def started(engine: type[Engine]) -> Worker:
            worker = Worker(engine, Path(folder), case)
            worker.ready()
            return worker

        with ThreadPoolExecutor(THREADS) as pool:
            workers = [stack.enter_context(worker) for worker in pool.map(started, engines)]
        tolerance = TOLERANCE[case.dtype]
        takes = {
            worker.engine.name: worker.turn
            for worker in workers
            if (error := worker.found.get("error")) is not None and error <= tolerance
        }
        samples = interleave(takes, seconds=seconds, warmup=1)
        walls = {name: [wall for wall, _ in taken] for name, taken in samples.items()}
        peers = [w.engine.name for w in workers if not w.engine.own and w.engine.name in walls]
        medians = {name: Timing.of(walls[name]).median for name in peers}
        best = min(peers, key=medians.__getitem__) if peers else None
        rows = tuple(map(partial(_row, samples=samples, best=best), workers))
    return SideBySide(case, now(), tolerance, facts["weights_bytes"], best, rows)


def _row(
    worker: Worker, samples: dict[str, list[tuple[float, float]]], best: str | None
) -> EngineRow:
    name, found = worker.engine.name, worker.found
    taken = samples.get(name, [])
    walls = [wall for wall, _ in taken]
    beside = [wall for wall, _ in samples[best]] if best else []
    return EngineRow(
        engine=name,
        own=worker.engine.own,
        absent=found.get("absent"),
        version=found.get("version"),
        error=found.get("error"),
        memory_bytes=found.get("memory_bytes"),
        wall=Timing.of(walls) if taken else None,
        cpu=Timing.of([cpu for _, cpu in taken]) if taken else None,
        to_best=Ratio.between(walls, beside) if taken and best else None,
    )
