"""Kill processes in the middle of `gx.save`, and see what `gx.load` finds.

python -m tests.killed_saves --kills 200

Every child saves one graph over another and is killed by SIGKILL at a random moment of it. One
child more for each call to the operating system that changes a file ends right before that call.
Afterwards the pair on the disk has to be the old one or the new one, to the bit, and the next save
has to leave two files.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np

import graphcnn as gx
from graphcnn.ir import Graph

CALLS = ("open", "fchmod", "fsync", "replace", "unlink")


def network(seed: int, features: int) -> Graph:
    """A linear layer; `features` squared is its number of weights."""
    weight = np.random.default_rng(seed).standard_normal((features, features), np.float32)
    x = gx.input("x", (1, features))
    return gx.graph("net", gx.relu(gx.linear(x, weight, name="fc"), name=f"relu{seed}"))


def in_a_child(work: Callable[[], None]) -> int:
    """The process id of a child that does some work and ends."""
    child = os.fork()
    if not child:
        try:
            work()
        finally:
            os._exit(0)
    return child


def ending_before(number: int, work: Callable[[], None]) -> Callable[[], None]:
    """Work that ends its process right before its `number`-th call that changes a file."""

    def ended() -> None:
        left = number

        def counted(call):
            def counting(*args, **options):
                nonlocal left
                left -= 1
                if not left:
                    os._exit(1)
                return call(*args, **options)

            return counting

        with mock.patch.multiple(os, **{name: counted(getattr(os, name)) for name in CALLS}):
            work()

    return ended


def check(path: Path, old: Graph, new: Graph) -> str:
    """Which of the two stands on the disk."""
    found = gx.load(path)
    for name, graph in (("old", old), ("new", new)):
        if found == graph and found.fingerprint == graph.fingerprint:
            return name
    raise AssertionError(f"neither the old nor the new pair: {found.fingerprint}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--features", type=int, default=512)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    old, new = network(0, options.features), network(1, options.features)
    found: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.gcn"

        def begin() -> None:
            gx.save(old, path)
            assert len(os.listdir(folder)) == 2, os.listdir(folder)

        def end() -> None:
            found[check(path, old, new)] += 1
            found["with leftovers"] += len(os.listdir(folder)) > 2

        begin()
        start = time.perf_counter()
        os.waitpid(in_a_child(lambda: gx.save(new, path)), 0)
        took = time.perf_counter() - start
        steps, status = 0, 1
        while status:
            steps += 1
            begin()
            child = in_a_child(ending_before(steps, lambda: gx.save(new, path)))
            status = os.waitpid(child, 0)[1]
            end()
        while found["killed"] < options.kills:
            begin()
            child = in_a_child(lambda: gx.save(new, path))
            time.sleep(draw.uniform(0, took))
            os.kill(child, signal.SIGKILL)
            found["killed"] += os.WIFSIGNALED(os.waitpid(child, 0)[1])
            end()
    print(f"{steps - 1} ended before a call, {options.kills} killed: {dict(found)}")
    wanted = {"old", "new"} if options.kills else {"new"}
    assert wanted <= found.keys(), found
    assert steps > 1, "the calls of a save were not seen"


if __name__ == "__main__":
    sys.exit(main())
