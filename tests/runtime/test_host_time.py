"""What the host does for a call on CUDA, with Triton's own launcher over a stub of the driver."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SETUP = """
import os
import sys
import torch
from graphcnn import triton_api
from graphcnn.compiler import optimize
from graphcnn.ir import CompileLog
from graphcnn.passes import journal
from graphcnn.runtime.compiled import CompiledModel
from tests.runtime.small_networks import NETWORKS
from tests.stub_cuda import stub_target

def compiled(name, cuda_graph):
    target, launched = stub_target(cuda_graph)
    graph = NETWORKS[name]("float16")
    model = CompiledModel(graph, optimize(graph, target, journal()), target, CompileLog())
    model.prepare()
    inputs = {v.name: torch.randn(v.type.shape).half() for v in graph.inputs}
    return model, inputs, launched
"""
LAUNCHES = """
for name in NETWORKS:
    model, _, launched = compiled(name, False)
    with model.turn() as executor, triton_api.using(model.target.on.driver):
        for step, run in executor.steps():
            compiled_kernel = run.prepared.compiled
            launched.expect(compiled_kernel)
            found = []
            for launch in (
                lambda: run.prepared(run.grid, 5),
                lambda: compiled_kernel.run(
                    *run.grid, 5, compiled_kernel.function, compiled_kernel.packed_metadata,
                    None, None, None, *run.prepared.values,
                ),
            ):
                before = launched.count
                launch()
                assert launched.count == before + 1
                found.append(launched.told())
            assert found[0] == found[1], (step.label, found)
            assert found[0][7:9] == (5, compiled_kernel.name.encode())
            assert len(found[0]) > 12
launched.parameters = 0
print("the same")
"""
CALLS = """
class Environment:
    def __getitem__(self, key):
        raise AssertionError(f"a call reads {key} of the environment")
    def get(self, key, default=None):
        self[key]

for cuda_graph in (True, False):
    asked = {}
    for name in ("small", "mixed"):
        model, inputs, launched = compiled(name, cuda_graph)
        model(**inputs)
        runtime, steps = model.target.on.cuda, len(model.plan.steps)
        before = runtime.asked, launched.replays, launched.count
        real, os.environ = os.environ, Environment()
        tensors = []
        empty = torch.empty
        torch.empty = lambda *a, **k: tensors.append(a) or empty(*a, **k)
        try:
            outputs = model.source.named(model(**inputs))
        finally:
            os.environ, torch.empty = real, empty
        assert len(tensors) == len(outputs)
        after = runtime.asked, launched.replays, launched.count
        asked[name, steps] = after[0] - before[0]
        assert after[1] - before[1] == cuda_graph
        assert after[2] - before[2] == (0 if cuda_graph else steps)
    (_, few), (_, many) = asked
    assert few < many
    assert len(set(asked.values())) == 1, asked
print("none")
"""
GRAPHS = """
import gc
from graphcnn.errors import CaptureFailed
from graphcnn.targets.cuda_driver import CudaGraph

model, inputs, launched = compiled("small", True)
assert launched.count == len(model.plan.steps)
assert launched.alive == 1
model(**inputs)
assert (launched.count, launched.replays) == (len(model.plan.steps), 1)
assert launched.stream == 7
del model
assert launched.alive == 0
for name in ("cuStreamCreate", "cuStreamBeginCapture", "cuStreamEndCapture", "cuGraphInstantiate"):
    launched.failing = name.encode()
    try:
        compiled("small", True)
    except CaptureFailed as error:
        assert name in str(error) and "cuda_graph=False" in error.remedy, error
        assert "an error of the stub" in str(error)
    else:
        raise AssertionError(name)
    assert launched.alive == 0, name
    assert gc.isenabled()
launched.failing = b"cuGraphLaunch"
model, inputs, launched = compiled("small", True)
try:
    model(**inputs)
except RuntimeError as error:
    assert "cuGraphLaunch" in str(error)
else:
    raise AssertionError("a replay that failed")
launched.failing = None
if not os.fork():
    del model
    os._exit(launched.alive)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 1, "a fork destroys nothing"
print("destroyed")
"""
HOOKS = """
import triton
model, inputs, launched = compiled("small", True)
heard = []
hook = lambda told: heard.append(told.get()["name"])
triton.knobs.runtime.launch_enter_hook.add(hook)
before = launched.count
model(**inputs)
triton.knobs.runtime.launch_enter_hook.remove(hook)
assert heard == [step.work.kernel.__name__ for step in model.plan.steps]
assert launched.count == before + len(heard)
print("heard")
"""


@pytest.mark.parametrize(
    ("script", "said"),
    [(LAUNCHES, "the same"), (CALLS, "none"), (GRAPHS, "destroyed"), (HOOKS, "heard")],
    ids=["the driver is told what Triton tells it", "a call asks little", "graphs", "hooks hear"],
)
def test_over_a_stub(script, said):
    done = subprocess.run(
        [sys.executable, "-c", SETUP + script],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=ROOT,
    )
    assert done.stdout.splitlines()[-1:] == [said], done.stderr[-3000:]
