"""Kernels of a plan as a CUDA graph, on a machine that has no GPU."""

import gc
import inspect

import numpy as np
import pytest
import torch
import triton
from torch.profiler import ProfilerActivity, profile

import graphcnn as gx
from graphcnn import triton_api
from graphcnn.errors import CaptureFailed, InvalidAttribute
from graphcnn.runtime.boundary import example_inputs
from graphcnn.runtime.plans import MOST_BATCHES
from graphcnn.targets.cuda import CudaDevice
from graphcnn.targets.cuda_graph import Queued, Row
from tests.runtime.small_networks import NETWORKS, small
from tests.stand_in_gpu import Captured, StandInDevice, stand_in_target


@pytest.fixture
def on(monkeypatch):
    """Make device="cuda" a new stand-in, on which no launch moves; gives its driver."""
    monkeypatch.setattr(StandInDevice, "address", lambda *_: None, raising=False)

    def choose(cuda_graph=True):
        target, driver = stand_in_target(80, cuda_graph=cuda_graph)
        monkeypatch.setattr("graphcnn.compiler.resolve", lambda *_: target)
        return driver

    return choose


@pytest.fixture
def gpu(on):
    return on()


def image(batch=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 3, 8, 8, generator=generator)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_call_replays_what_compiling_captured(on, name):
    graph = NETWORKS[name]("float32")
    inputs = example_inputs(graph)
    plain, launched = on(cuda_graph=False), gx.compile(graph)
    wanted = launched.source.named(launched(**inputs))
    assert len(plain.launches) == len(launched.plan.steps) > 1
    gpu, model = on(), gx.compile(graph)
    assert gpu.launches == plain.launches
    for _ in range(2):
        for key, array in model.source.named(model(**inputs)).items():
            np.testing.assert_array_equal(array, wanted[key])
    assert gpu.launches == plain.launches, "calls launch nothing by themselves"


def test_the_choice_is_the_callers(gpu, monkeypatch):
    asked = []

    def resolve(target, device, precision, winograd, cuda_graph):
        asked.append(cuda_graph)
        return stand_in_target(80, cuda_graph=cuda_graph)[0]

    monkeypatch.setattr("graphcnn.compiler.resolve", resolve)
    gx.compile(small())
    gx.compile(small(), cuda_graph=False)
    assert asked == [True, False]
    with pytest.raises(InvalidAttribute, match="cuda_graph"):
        gx.compile(small(), cuda_graph=1)


def test_batch_sizes_arenas_and_refits(on):
    """A larger arena, or weights elsewhere, take the place of those that were captured on."""
    on(cuda_graph=False)
    plain = gx.compile(small())
    gpu, model = on(), gx.compile(small())
    for size in (2, 5, 1, 9, 2, 5):
        assert torch.equal(model(image(size)), plain(image(size)))
    weights = {param.name: 2 * param.values for param in small().params}
    before = model(image(9))
    plain.refit(weights)
    model.refit(weights)
    assert torch.equal(model(image(9)), plain(image(9)))
    launched = len(gpu.launches)
    assert not torch.equal(model(image(9)), before)
    assert torch.equal(model(image(9)), plain(image(9)))
    assert len(gpu.launches) == launched


def test_what_is_prepared_is_captured_before_the_first_call(on):
    gpu, model = on(), gx.compile(small(), batches=(1, 5))
    launched = len(gpu.launches)
    assert launched == 3 * len(model.plan.steps)
    for size in (1, 5, 2):
        model(image(size))
    assert len(gpu.launches) == launched


def test_a_new_batch_size_compiles_no_kernel_anew(gpu, monkeypatch):
    """Other tiles, or parts, which a larger batch may want, are other kernels; the number alone is
    not."""
    prepare, found = triton_api.prepare, {}

    def counting(kernel, args, meta, driver):
        prepared = prepare(kernel, args, meta, driver)
        if driver is gpu:
            parts = [str(argument.PARTS) for argument in args if hasattr(argument, "PARTS")]
            tile = (kernel.__name__, repr(sorted(meta.items())), *parts)
            found.setdefault(tile, set()).add(prepared.compiled.hash)
        return prepared

    monkeypatch.setattr(triton_api, "prepare", counting)
    model = gx.compile(NETWORKS["vgg_block"]("float16"))
    model.prepare((2, 3, 7, 16, 17, 32))
    assert all(len(hashes) == 1 for hashes in found.values())
    assert len(found) < 7 * len(model.plan.steps)


def test_the_callers_own_graph(gpu):
    """What the caller captures is launched into it, on memory that no other call uses."""
    model = gx.compile(small())
    wanted = [model(image(seed=seed)) for seed in range(4)]
    given, theirs = image(seed=0), Captured(gpu, 7)
    with gpu.on_stream(7), theirs:
        result = model(given)
    result.fill_(torch.nan)
    for seed in (1, 2):
        given.copy_(image(seed=seed))
        with model.turn():  # on stream 0, whose arena is not that of the capture
            theirs.replay_on(0)
            assert torch.equal(model(image(seed=3)), wanted[3])
        assert torch.equal(result, wanted[seed])
    assert torch.equal(model(image(seed=0)), wanted[0])


def test_what_was_loaded_before_is_launched_into_the_callers_graph(gpu):
    """Kernels, and not our graph of them."""
    model = gx.compile(small())
    wanted, theirs = model(image()), Captured(gpu, 7)
    with model.loaded({"image": image()}) as executor:
        launched = len(gpu.launches)
        with gpu.on_stream(7), theirs:
            executor.run()
        assert len(gpu.launches) == launched + len(model.plan.steps)
        executor.value("fc").fill_(torch.nan)
        theirs.replay_on(0)
        assert torch.equal(executor.value("fc"), wanted)


def test_a_launch_that_cannot_be_captured_is_named(gpu, monkeypatch):
    give = type(gpu).give

    def refusing(self, stream, work, reads=frozenset()):
        if stream in self.captures and len(self.captures[stream]) == 1:
            raise RuntimeError("operation not permitted when stream is capturing")
        give(self, stream, work, reads)

    monkeypatch.setattr(type(gpu), "give", refusing)
    first = gx.softmax(gx.input("x", (1, 3, 8, 8)), dim=1)
    line = inspect.currentframe().f_lineno + 1
    second = gx.max_pool2d(first, 2, name="second")
    with pytest.raises(CaptureFailed) as caught:
        gx.compile(gx.graph("net", gx.roll(second, 1, 3)), fuse=False)
    assert gc.isenabled()
    assert not gpu.captures
    assert caught.value.where == f"node 'second' = max_pool2d ({__file__}:{line})"
    assert "not permitted when stream is capturing" in str(caught.value)
    assert "cuda_graph=False" in caught.value.remedy


def test_a_capture_that_cannot_end_names_its_steps(gpu, monkeypatch):
    end = Captured.__exit__

    def failing(self, *_):
        end(self)
        raise RuntimeError("the capture was invalidated")

    monkeypatch.setattr(Captured, "__exit__", failing)
    with pytest.raises(CaptureFailed, match=r"nodes '\w+' to 'fc'") as caught:
        gx.compile(small())
    assert "invalidated" in str(caught.value)


def test_nothing_is_collected_while_launches_are_captured(gpu, monkeypatch):
    found, give = [], type(gpu).give

    def looking(self, stream, work, reads=frozenset()):
        if stream in self.captures:
            # Nor is the captured stream the current one, on which a signal handler would work.
            found.append((gc.isenabled(), self.stream == stream))
        give(self, stream, work, reads)

    monkeypatch.setattr(type(gpu), "give", looking)
    gx.compile(small())
    assert len(found) > 1
    assert set(found) == {(False, False)}
    assert gc.isenabled()


def test_launches_that_move_stay_outside(gpu):
    model = gx.compile(NETWORKS["mixed"]("float32"))
    with model.turn() as executor:
        launches = [run for _, run in executor.steps()]
        assert all(isinstance(launch, Queued) for launch in launches)
        launches[0].moves = launches[-1].moves = True
        before = len(gpu.launches)
        row = Row(launches, model.target.on.is_captured, model.target.on.capture)
        assert len(gpu.launches) == before + len(launches) - 2
        row()
        assert len(gpu.launches) == before + len(launches)


class Heard:
    """What Triton's hooks hear of."""

    def __init__(self):
        self.before, self.after = [], []
        self.hooks = {"launch_enter_hook": self.before, "launch_exit_hook": self.after}
        self.added = {
            name: lambda told, heard=heard: heard.append(told.get())
            for name, heard in self.hooks.items()
        }

    def __enter__(self):
        for name, hook in self.added.items():
            getattr(triton.knobs.runtime, name).add(hook)
        return self

    def __exit__(self, *_):
        for name, hook in self.added.items():
            getattr(triton.knobs.runtime, name).remove(hook)


@pytest.mark.parametrize("cuda_graph", [True, False])
def test_who_listens_to_launches_hears_of_all(on, cuda_graph):
    on(cuda_graph)
    model = gx.compile(small())
    wanted = model(image())
    with Heard() as heard:
        assert torch.equal(model(image()), wanted)
        gx.compile(small())  # capturing is no launch
    names = [step.work.kernel.__name__ for step in model.plan.steps]
    assert [told["name"] for told in heard.before] == names
    assert [told["name"] for told in heard.after] == names
    assert torch.equal(model(image()), wanted)
    assert len(heard.before) == len(names)


@pytest.mark.parametrize("device", ["cpu", "stand-in"])
def test_a_profiler_sees_nodes_by_name(gpu, device, monkeypatch):
    if device == "cpu":
        monkeypatch.undo()
    model = gx.compile(small(), device="cpu")
    wanted = model(image())
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        assert torch.equal(model(image()), wanted)
    ranges = [event.name for event in seen.events()]
    labels = [f"{step.node}: {step.label}" for step in model.plan.steps]
    assert [name for name in ranges if name in labels] == labels


def test_plans_of_many_batch_sizes_go_and_prepared_ones_stay(gpu):
    model = gx.compile(small(), batches=(1, 3))
    wanted = model(image(1))
    for size in range(4, 8 + MOST_BATCHES):
        model(image(size))
    kept = [1, 3, *range(8, 8 + MOST_BATCHES)]
    assert sorted(model._plans) == kept
    (workspace,) = model._idle
    assert workspace.executors.keys() <= {None, *kept}
    launched = len(gpu.launches)
    assert torch.equal(model(image(1)), wanted)
    assert len(gpu.launches) <= launched + len(model.plan.steps)


def test_what_torch_is_asked_for(gpu):
    """The clock, the name, and that memory stays for the stream that uses it."""
    device, held = gx.compile(small()).target.on, []

    class Block:
        def record_stream(self, stream):
            held.append(stream.cuda_stream)

    with gpu.on_stream(3):
        CudaDevice.hold(device, Block(), Block())
        elapsed = device.stopwatch()
        assert elapsed() == 1e-3
    assert held == [3, 3]
    assert device.name == "cpu (stand-in)"
    assert device.capability == 80
    device.synchronize()
