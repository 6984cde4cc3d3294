"""A network compiled in two processes: the same plan and the same launches, byte for byte."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

# What `tests/golden` holds, of more networks.
TOLD = """
import graphcnn as gx
from graphcnn.compiler import optimize
from graphcnn.ir import CompileLog, rebatch
from graphcnn.runtime.compiled import CompiledModel
from graphcnn.targets import resolve
from tests import networks
from tests.runtime.small_networks import mixed, small
from tests.stand_in_gpu import stand_in_target
from tests.test_golden import arguments, planned

sources = [mixed(), networks.unet_block(), small()]
sources += map(gx.models.build, ("lenet", "squeezenet1_1", "vae"))
for source in sources:
    for target in (resolve("triton", "cpu"), stand_in_target(90)[0]):
        log = CompileLog()
        plan = CompiledModel(source, optimize(source, target, log), target, log).plan
        print(source.name, planned(plan), sep="\\n")
        for step in plan.steps:
            print(step.node, *arguments(step.work), sep="\\n")
        print(*log.refusals, *log.rewrites, sep="\\n")
"""


def started(seed):
    environment = {**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", TOLD]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def test_processes_make_the_same_plans():
    """Whatever the order in which they go through sets."""
    running = [started(seed) for seed in ("0", "1")]
    first, second = (process.communicate()[0] for process in running)
    assert [process.returncode for process in running] == [0, 0]
    assert first.count("\narena ") == 12
    assert second == first
