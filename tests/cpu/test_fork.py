"""Models in a child made by fork: after a run on two threads, or while others hold locks."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import os, threading, numpy as np, torch
import graphcnn as gx
from graphcnn import triton_api
from graphcnn.cpu import team
from triton.runtime import driver

torch.set_num_threads(2)
x = np.ones((1, 8, 96, 96), np.float32)
w = np.ones((4, 8, 1, 1), np.float32)
net = gx.graph("g", outputs=gx.conv2d(gx.input("x", shape=x.shape), w))
models = [gx.compile(net), gx.compile(net, target="library")]
before = driver._active
inside, done = threading.Event(), threading.Event()


def in_a_child(work):
    child = os.fork()
    if not child:
        try:
            work()
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    print(work.__name__, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def run():
    for model in models:
        assert (model(x=x) == 8).all()


def in_the_model():
    with models[0].loaded({"x": x}):
        inside.set()
        done.wait()


def in_tritons_driver():
    with triton_api.using(object()):
        inside.set()
        threading.Event().wait(0.2)


def while_another_thread_is(holding, work):
    thread = threading.Thread(target=holding)
    thread.start()
    inside.wait()
    in_a_child(work)
    done.set()
    thread.join()
    inside.clear()


def more_threads_when_told():
    assert torch.get_num_threads() == team.threads() == 1
    torch.set_num_threads(2)
    assert team.threads() == 2


def compile_one():
    assert driver._active is before, "the child has the driver that Triton chose"
    assert (gx.compile(net)(x=x) == 8).all()


in_a_child(more_threads_when_told)
while_another_thread_is(in_the_model, run)
while_another_thread_is(in_tritons_driver, compile_one)
assert torch.get_num_threads() == 2
run()
in_a_child(run)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_children_run_models():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "2"},
    )
    children = ["more_threads_when_told", "run", "compile_one", "run"]
    assert done.stdout.splitlines() == [f"{name} 0" for name in children], done.stderr
