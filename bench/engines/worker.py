"""One engine's process: loads, checks its output, then takes turns when it is told to.

    python -m bench.engines.worker MODULE:CLASS FOLDER DTYPE THREADS

It imports nothing but its engine, so that its memory is the engine's.
"""

from __future__ import annotations

import ctypes
import gc
import json
import math
import os
import sys
import time
from contextlib import suppress
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from bench.engines.peers import Absent, Array, Call, Engine

# A turn of short calls goes on for so long; one of long calls is a call.
TURN_SECONDS = 0.05


def main() -> None:
    where, folder, dtype, threads = sys.argv[1:]
    # What libraries print to stdout is no answer.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    module, _, name = where.partition(":")
    engine: Engine = getattr(import_module(module), name)(Path(folder), dtype, int(threads))
    try:
        call, found = loaded(engine)
    except Absent as absent:
        found = {"absent": str(absent)}
    except ImportError as error:
        found = {"absent": f"not installed: {error}"}
    except Exception as error:  # an engine's, of any kind
        message = str(error).strip().splitlines() or [""]
        found = {"absent": f"{type(error).__name__}: {message[0]}"}
    print(json.dumps(found), file=answers)
    for _ in sys.stdin if "absent" not in found else ():
        print(json.dumps(turn(call)), file=answers)


def loaded(engine: Engine) -> tuple[Call, dict[str, Any]]:
    """Load the network; what calls it, and what is known before it is timed."""
    image = np.load(engine.folder / "image.npy")
    expected = np.load(engine.folder / "expected.npy")
    engine.start()
    before = resident("VmRSS")
    call = engine.load(image)
    computed = engine.read(call()).reshape(expected.shape)
    error = difference(computed, expected)
    turn(call)  # what ends a process in its turn had better end it here
    facts = {
        "version": version(engine.package),
        "error": error,
        "memory_bytes": peak(call) - before,
    }
    return call, facts


def difference(computed: Array, expected: Array) -> float | None:
    """Largest difference over the range of what is expected; None where a number is none."""
    worst = float(np.abs(computed.astype(np.float64) - expected).max())
    return worst / float(np.ptp(expected)) if math.isfinite(worst) else None


def peak(call: Call) -> int:
    """Most bytes of the process that are in memory during a call; the loading is over."""
    gc.collect()
    with suppress(OSError, AttributeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # sets VmHWM to what is there now
    call()
    return resident("VmHWM")


def resident(field: str) -> int:
    """A field of /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def turn(call: Call) -> tuple[float, float]:
    """Seconds of a call, by the wall and of all processors together.

    A long call is timed as it is. Of short ones the first is not, since another engine has had the
    caches before it, and the mean of those that follow is taken.
    """
    wall, cpu = timed(call, 0.0)
    return (wall, cpu) if wall >= TURN_SECONDS else timed(call, TURN_SECONDS)


def timed(call: Call, seconds: float) -> tuple[float, float]:
    """The mean of calls that go on for so long, and of one at least."""
    calls, wall, cpu = 0, time.perf_counter(), time.process_time()
    while not calls or time.perf_counter() - wall < seconds:
        call()
        calls += 1
    return (time.perf_counter() - wall) / calls, (time.process_time() - cpu) / calls


if __name__ == "__main__":
    main()
