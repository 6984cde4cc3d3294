"""Kill processes while they compile; the next one in the same cache must run, and run right.

    python -m tests.cpu.kills [COUNT] [SEED]

Prints a line per kill that was survived by nothing but a right answer, and ends with status 1 at
the first that was not.
"""

import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time

import numpy as np
import torch

import graphcnn as gx
from tests.tolerance import assert_within_bounds

LONGEST = 120  # seconds for a compile that nobody interrupts


def compile_and_check(cache):
    """Compile a network in a cache of its own, and compare with the reference."""
    os.setsid()  # so that a kill takes the C compiler along
    os.environ["TRITON_CACHE_DIR"] = cache
    rng = np.random.default_rng(0)
    x = gx.input("x", shape=(1, 3, 8, 8))
    net = gx.graph(
        "g", outputs=gx.relu(gx.conv2d(x, rng.standard_normal((4, 3, 3, 3), np.float32)))
    )
    image = rng.standard_normal((1, 3, 8, 8), np.float32)
    got = gx.compile(net)(x=image)
    assert_within_bounds(net, {"x": image}, {net.outputs[0]: got}, unit=2.0**-24)


def start(cache):
    child = multiprocessing.get_context("fork").Process(target=compile_and_check, args=(cache,))
    child.start()
    return child


def main(count=2, seed=0):
    """Kill `count` compiles, each at a random moment of the time that a whole one takes."""
    torch.set_num_threads(1)
    generator = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        whole = start(f"{folder}/whole")
        whole.join(LONGEST)
        duration = time.perf_counter() - begin
        for number in range(count):
            cache = f"{folder}/{number}"
            victim = start(cache)
            moment = generator.uniform(0, duration)
            victim.join(moment)
            if victim.is_alive():
                leads = os.getpgid(victim.pid) == victim.pid
                kill = os.killpg if leads and generator.random() < 0.5 else os.kill
                kill(victim.pid, signal.SIGKILL)
            victim.join()
            files = sum(len(names) for _, _, names in os.walk(cache))
            after = start(cache)
            after.join(LONGEST)
            print(f"after {moment:.2f} s, {files:2} files: exit {after.exitcode}", flush=True)
            if after.exitcode != 0:
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
