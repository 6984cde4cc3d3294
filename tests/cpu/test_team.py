"""Launches that run as one call of C: every program once, in order, on any number of threads."""

import math
import signal
import threading
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import triton
import triton.language as tl

import graphcnn as gx
from graphcnn import cpu, triton_api
from graphcnn.cpu import team
from graphcnn.models.lenet import lenet
from graphcnn.runtime.boundary import example_inputs
from graphcnn.targets.resolve_device import resolve_device
from tests.runtime.small_networks import mixed, small


@pytest.fixture(params=[1, 2, 3, 7], autouse=True)
def threads(request, monkeypatch):
    monkeypatch.setattr(team, "threads", lambda: request.param)


@triton.jit
def add_one(x, y):
    """y = 1 + x reversed, an element a program: the next launch needs all of this one."""
    i = tl.program_id(0)
    n = tl.num_programs(0)
    tl.store(y + i, tl.load(x + (n - 1 - i)) + 1)


def chain(grids, small=()):
    """Launches over these numbers of elements, which all end in one; each adds 1.

    Those of numbers in `small` count as too small for two threads.
    """
    first = torch.arange(max(grids), dtype=torch.int32)
    values = [first, *(torch.full_like(first, -9) for _ in grids)]
    bound = [
        triton_api.prepare(add_one, (x, y), {}, cpu.driver(sanitize=False)).launch
        for x, y in pairwise(values)
    ]
    works = (0 if at in small else math.inf for at in range(len(grids)))
    members = [team.Member(b, (n, 1, 1), w) for b, n, w in zip(bound, grids, works, strict=True)]
    return team.Launches(members), values


@pytest.mark.parametrize("seconds", [0.0, 0.05])
@pytest.mark.parametrize("small", [(), (0,), (1, 2), (0, 2, 5, 6, 8)], ids=str)
@pytest.mark.parametrize(
    "grids",
    [(1,), (2,), (97,), (8,) * 9, (5000, 5000, 5000), (9, 1, 1, 1, 6, 1, 2), (1, 1, 1, 64, 1)],
    ids=str,
)
def test_each_program_of_each_launch_runs_once_after_the_launch_before(
    grids, small, seconds, monkeypatch
):
    monkeypatch.setattr(team, "SECONDS", seconds)
    rows, values = chain(grids, small)
    for _ in range(50):
        for value in values[1:]:
            value.fill_(-9)
        rows()
        for n, (x, y) in zip(grids, pairwise(values), strict=True):
            assert torch.equal(y[:n], x[:n].flip(0) + 1)
            assert (y[n:] == -9).all()


@triton.jit
def copy_first(x, y):
    tl.store(y + tl.program_id(0), tl.load(x))


@pytest.mark.parametrize(
    ("works", "alone"),
    [
        ([1e5, 1e5], [True, True]),
        ([1e4, 1e7], [True, False]),
        ([1e7, 1e4, 1e6], [False, True, False]),
        ([1e6, 1e6], [False, False]),
    ],
    ids=str,
)
def test_what_is_too_small_runs_alone(works, alone):
    """Each launch that is worth no barrier, and all where their sum is not worth a team."""
    x = torch.zeros(2, dtype=torch.int32)
    bound = triton_api.prepare(copy_first, (x, x), {}, cpu.driver(sanitize=False)).launch
    launches = [team.Launches([team.Member(bound, (2, 1, 1), work)]) for work in works]
    row = resolve_device("cpu").in_a_row(launches)
    assert [bool(launch.alone) for launch in row._list] == alone


@triton.jit
def count(x):
    tl.atomic_add(x, 1)


@pytest.mark.parametrize("programs", [1, 2, 13, 1000])
def test_no_program_runs_twice(programs):
    x = torch.zeros(1, dtype=torch.int32)
    bound = triton_api.prepare(count, (x,), {}, cpu.driver(sanitize=False)).launch
    rows = team.Launches([team.Member(bound, (programs, 1, 1))] * 20)
    for _ in range(20):
        rows()
    assert x.item() == programs * 400


@pytest.mark.parametrize("make", [small, mixed, lenet])
def test_a_row_computes_what_its_steps_do(make):
    model = gx.compile(make(), device="cpu")
    inputs = example_inputs(model.graph)
    with model.loaded(inputs, poison=True) as executor:
        for _, run in executor.steps():
            run()
        alone = [executor.value(name).clone() for name in executor.graph.outputs]
    with model.loaded(inputs, poison=True) as executor:
        executor.run()
        for name, value in zip(executor.graph.outputs, alone, strict=True):
            assert torch.equal(executor.value(name), value)


def test_an_interrupt_ends_a_row_of_long_launches():
    """Nobody has to wait for the last launch of a row."""
    x = torch.zeros(1, dtype=torch.int32)
    bound = triton_api.prepare(count, (x,), {}, cpu.driver(sanitize=False)).launch
    rows = team.Launches([team.Member(bound, (200_000, 1, 1))] * 4000)
    threading.Timer(0.2, lambda: signal.raise_signal(signal.SIGINT)).start()
    begin = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        rows()
    assert 0 < x.item() < 200_000 * 4000
    assert time.perf_counter() - begin < 20


def test_rows_of_several_threads_at_once():
    chains = [chain((300, 1, 70, 300)) for _ in range(4)]
    together = threading.Barrier(4)

    def run(rows, values):
        together.wait()
        for _ in range(100):
            rows()
        assert torch.equal(values[1], values[0].flip(0) + 1)
        done.append(rows)

    done = []
    callers = [threading.Thread(target=run, args=pair) for pair in chains]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(done) == 4


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="reads the mappings of Linux")
def test_there_is_one_openmp_runtime():
    """Two would each keep threads that spin, and halve what either computes."""
    rows, _ = chain((64,))
    rows()
    torch.mm(torch.ones(200, 200), torch.ones(200, 200))
    np.dot(np.ones((200, 200)), np.ones((200, 200)))
    mapped = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines()}
    runtimes = {path for path in mapped if any(n in path for n in ("libgomp", "libomp", "libiomp"))}
    assert len(runtimes) == 1, runtimes
