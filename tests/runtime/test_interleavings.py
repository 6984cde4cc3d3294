"""Threads, streams and devices in any order: the numbers of a call are those of the call alone.

On the stand-in for a GPU, whose streams run what they were given as late as waits allow.
"""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import graphcnn as gx
from graphcnn.compiler import optimize
from graphcnn.ir import CompileLog, with_he_weights
from graphcnn.passes import journal
from graphcnn.runtime.compiled import CompiledModel
from tests import networks
from tests.stand_in_gpu import Captured, stand_in_target

THREADS, DEVICES, STREAMS, BATCHES, SEEDS = 4, 2, (1, 2), (1, 2, 3), 3


def chain():
    """Some kernels between the first and the last, which may read and write the caller's arrays."""
    h = gx.input("image", (2, 3, 8, 8))
    for name in ("conv1", "conv2", "conv3"):
        h = gx.relu(networks.conv(h, name, 4, 3))
    return with_he_weights(gx.graph("chain", gx.linear(gx.flatten(h), gx.param("w", (5, 256)))))


GRAPH = chain()
WEIGHTS = [{param.name: scale * param.values for param in GRAPH.params} for scale in (1, 2)]


def compiled(target):
    return CompiledModel(
        GRAPH,
        optimize(GRAPH, target, journal()),
        target,
        CompileLog(),
        lambda graph: optimize(graph, target, CompileLog()),
    )


def image(batch, seed):
    return torch.randn(batch, 3, 8, 8, generator=torch.Generator().manual_seed(10 * batch + seed))


@pytest.fixture(scope="module")
def wanted():
    """What a call by itself gives, by weights, batch size and seed."""
    model = compiled(stand_in_target(80, cuda_graph=False)[0])
    found = {}
    for number, weights in enumerate(WEIGHTS):
        model.refit(weights)
        for batch in BATCHES:
            for seed in range(SEEDS):
                found[number, batch, seed] = model(image(batch, seed))
    assert all(array.std() > 0 for array in found.values())
    return found


class Gpu:
    """A device, a model on it, and what its calls gave."""

    def __init__(self, index, cuda_graph):
        target, self.driver = stand_in_target(80, index, cuda_graph)
        self.model = compiled(target)
        self.weights = 0
        self.results = []  # each with the key of what is wanted
        self.captured = []  # graphs of the caller's: input, output, graph, batch size

    def call(self, stream, batch, seed):
        with self.driver.on_stream(stream):
            result = self.model(image(batch, seed))
        self.results.append((result, (self.weights, batch, seed)))

    def refit(self, stream, number):
        with self.driver.on_stream(stream):
            self.model.refit(WEIGHTS[number])
        self.weights = number
        self.captured.clear()  # with the weights as they were

    def capture(self, batch, meanwhile):
        """The caller captures a call in a graph of theirs, in the midst of calls of others."""
        self.model.prepare(BATCHES)
        given, stream = image(batch, 0), next(self.driver.numbers)
        with self.driver.on_stream(stream), self.model.target.on.guard():
            graph = Captured(self.driver, stream)
            with graph:
                meanwhile()
                result = self.model(given)
                meanwhile()
        self.captured.append((given, result, graph, batch))

    def replay(self, stream, seed):
        """Replay the caller's last graph; its memory is one stream's at a time, as they know."""
        if not self.captured:
            return
        given, result, graph, batch = self.captured[-1]
        own = torch.empty_like(result)
        self.driver.synchronize()
        with self.driver.on_stream(stream), self.model.target.on.guard():
            given.copy_(image(batch, seed))
            graph.replay_on(stream)
            self.driver.give(stream, lambda: own.copy_(result))
        self.results.append((own, (self.weights, batch, seed)))
        self.driver.synchronize()

    def run(self, stream, pieces):
        """Let a stream do some of what it has been given."""
        with self.driver.lock:
            queue = self.driver.streams[stream]
            queue.run(min(queue.done + pieces, len(queue.given)))


THREAD, DEVICE = st.integers(0, THREADS - 1), st.integers(0, DEVICES - 1)
STREAM, BATCH = st.sampled_from((0, *STREAMS)), st.sampled_from(BATCHES)
SEED = st.integers(0, SEEDS - 1)
CALL = st.tuples(st.just("call"), THREAD, DEVICE, STREAM, BATCH, SEED)
STEP = st.one_of(
    CALL,
    CALL,
    st.tuples(st.just("run"), THREAD, DEVICE, st.sampled_from(STREAMS), st.integers(1, 5)),
    st.tuples(st.just("capture"), THREAD, DEVICE, BATCH, st.lists(CALL, max_size=2)),
    st.tuples(st.just("replay"), THREAD, DEVICE, STREAM, SEED),
    st.tuples(st.just("refit"), THREAD, DEVICE, STREAM, st.integers(0, 1)),
)


@settings(max_examples=40, deadline=None)
@given(steps=st.lists(STEP, min_size=2, max_size=12), cuda_graph=st.booleans())
def test_every_interleaving_gives_the_bits_of_a_call_alone(wanted, steps, cuda_graph):
    gpus = [Gpu(index, cuda_graph) for index in range(DEVICES)]
    pools = [ThreadPoolExecutor(1) for _ in range(THREADS)]

    def do(step):
        kind, thread, device, *rest = step
        if kind == "capture":
            batch, others = rest
            # By threads that are not in the middle of something.
            others = [(k, (thread + 1 + t % (THREADS - 1)) % THREADS, *r) for k, t, *r in others]
            rest = [batch, lambda: [do(other) for other in others]]
        pools[thread].submit(getattr(gpus[device], kind), *rest).result()

    try:
        for step in steps:
            do(step)
    finally:
        for pool in pools:
            pool.shutdown()
    for gpu in gpus:
        gpu.driver.synchronize()
        for result, key in gpu.results:
            assert torch.equal(result, wanted[key]), key


def test_threads_at_once(wanted):
    gpus = [Gpu(index, True) for index in range(DEVICES)]
    together = threading.Barrier(THREADS)

    def work(number):
        together.wait()
        for turn in range(6):
            gpu = gpus[(number + turn) % DEVICES]
            gpu.call(number, BATCHES[turn % len(BATCHES)], (number + turn) % SEEDS)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))
    for gpu in gpus:
        gpu.driver.synchronize()
        assert len(gpu.results) == THREADS * 6 // DEVICES
        for result, key in gpu.results:
            assert torch.equal(result, wanted[key]), key
