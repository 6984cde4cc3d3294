"""Kernels that run on a device for the first time, with planted errors."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import graphcnn as gx
from graphcnn import triton_api
from graphcnn.errors import KernelFailed
from graphcnn.ir import with_he_weights
from graphcnn.kernels.standardize import standardize_kernel
from graphcnn.runtime.boundary import example_inputs
from graphcnn.self_check import RULE, Verdicts
from tests import networks
from tests.runtime.small_networks import in_parts
from tests.stand_in_gpu import StandInDevice, stand_in_target
from tests.stepwise import check_model

NORM, CONV, PARTS = "standardize_kernel", "conv2d_kernel", "sum_parts_kernel"
TOO_MANY = "Triton Error [CUDA]: too many resources requested for launch"


def network(batch=1):
    """A convolution with 4 warps, and two norms, with 8, that share a kernel."""
    h = gx.relu(networks.conv(gx.input("image", (batch, 3, 8, 8)), "conv", 4, 3), name="relu")
    h = gx.group_norm(h, 2, name="norm1")
    return with_he_weights(gx.graph("network", gx.group_norm(h, 2, name="norm2")))


class Gpu:
    """A GPU that nothing ever ran on, and what runs there.

    Attributes:
        wrong: Names of kernels and warps with which they are wrong.
        failing: The same with which they do not run.
        ran: Names of kernels and warps in the order of their launches.
        driver: The stand-in.
    """

    def __init__(self, monkeypatch):
        self.wrong, self.failing, self.ran = set(), set(), []
        self.target, self.driver = stand_in_target(80)
        monkeypatch.setattr("graphcnn.compiler.resolve", lambda *_: self.target)
        prepare = triton_api.prepare

        def planted(kernel, args, meta, driver):
            made = prepare(kernel, args, meta, driver)
            if driver is not self.driver:  # the stand-in's own, for the CPU
                return made
            what = (kernel.__name__, meta["num_warps"])

            def bind(values):
                plain, tell = made.bind(values)
                tensors = list(tensors_in(values))

                def launch(*grid_and_stream):
                    if what in self.failing:
                        raise RuntimeError(TOO_MANY)
                    self.ran.append(what)
                    before = [tensor.clone() for tensor in tensors]
                    plain(*grid_and_stream)
                    for tensor, old in zip(tensors, before, strict=True):
                        if what in self.wrong and not torch.equal(tensor, old):
                            tensor.mul_(1.5)

                return launch, tell

            return replace(made, launch=bind(made.values)[0], bind=bind)

        monkeypatch.setattr(triton_api, "prepare", planted)


def tensors_in(argument):
    if isinstance(argument, tuple):
        for part in argument:
            yield from tensors_in(part)
    elif isinstance(argument, torch.Tensor):
        yield argument


@pytest.fixture
def gpu(tmp_path, monkeypatch):
    """A GPU; what is known of it lies in a new folder, compiled kernels where they always do."""
    monkeypatch.setattr(StandInDevice, "identity", "stand-in, driver 1")
    monkeypatch.setattr(triton_api, "cache_folder", lambda: tmp_path)
    return Gpu(monkeypatch)


def warps(model):
    return [step.work.meta["num_warps"] for step in model.plan.steps]


def refusals(model):
    return [refusal for refusal in model.log.refusals if refusal.rule == RULE]


def test_a_kernel_that_is_right_is_judged_once(gpu):
    """The norms share a kernel: one of them is judged, in one run of the plan."""
    model = gx.compile(network())
    assert warps(model) == [4, 8, 8]
    assert gpu.ran == [(CONV, 4), (NORM, 8), (NORM, 8)]
    assert refusals(model) == []
    gx.compile(network())
    assert len(gpu.ran) == 3, "the next process runs nothing"
    check_model(model, example_inputs(model.graph))


def test_what_other_devices_and_drivers_showed_does_not_count(gpu, monkeypatch):
    gx.compile(network())
    monkeypatch.setattr(StandInDevice, "identity", "stand-in, driver 2")
    gx.compile(network())
    assert len(gpu.ran) == 6


def test_a_wrong_kernel_gives_way_to_one_of_4_warps(gpu):
    gpu.wrong = {(NORM, 8)}
    model = gx.compile(network())
    assert warps(model) == [4, 4, 4]
    told = refusals(model)
    assert [refusal.node for refusal in told] == ["norm1", "norm2"]
    assert "standardize_kernel: with 8 warps" in told[0].because
    assert "elements" in told[0].because
    assert "it takes 4 on this device" in told[0].because
    assert "it takes 4 on this device" in str(gx.explain(model))
    check_model(model, example_inputs(model.graph))
    gpu.ran.clear()
    again = gx.compile(network())
    assert warps(again) == [4, 4, 4]
    assert refusals(again) == told
    assert gpu.ran == [], "what is known to be wrong is not run again"


def test_a_kernel_that_does_not_launch_gives_way_likewise(gpu):
    gpu.failing = {(NORM, 8)}
    model = gx.compile(network())
    assert warps(model) == [4, 4, 4]
    assert f"it does not run: {TOO_MANY}" in refusals(model)[0].because


def test_a_kernel_that_does_not_load_gives_way_likewise(gpu, monkeypatch):
    loader = gpu.driver.utils
    load = loader.load_binary

    def with_few_threads(name, *rest):
        *found, most = load(name, *rest)
        return *found, 128 if name == NORM else most

    monkeypatch.setattr(loader, "load_binary", with_few_threads)
    standardize_kernel.device_caches.clear()  # what an earlier test has loaded
    model = gx.compile(network())
    assert warps(model) == [4, 4, 4]
    assert "a kernel asks for more than this GPU has" in refusals(model)[0].because
    assert "threads" in refusals(model)[0].because
    check_model(model, example_inputs(model.graph))


def test_two_kernels_of_one_node_are_judged_together(gpu):
    gpu.wrong = {(PARTS, 4)}
    with pytest.raises(KernelFailed, match="wrong on this device") as caught:
        gx.compile(in_parts())
    assert f"{CONV} and {PARTS} on stand-in" in caught.value.where
    gpu.wrong = set()
    gpu.ran.clear()
    model = gx.compile(in_parts())
    gx.compile(in_parts())
    assert gpu.ran == [(CONV, 4), (PARTS, 4)], "once"
    check_model(model, example_inputs(model.graph))


@pytest.mark.parametrize("bad", [{(NORM, 8), (NORM, 4)}, {(CONV, 4)}], ids=["both", "only one"])
def test_a_kernel_without_a_way_out_is_an_error(gpu, bad):
    gpu.wrong = bad
    with pytest.raises(KernelFailed, match="wrong on this device, and there is no other") as caught:
        gx.compile(network())
    error = caught.value
    kernel = next(iter(bad))[0]
    assert error.node == ("norm1" if kernel == NORM else "relu")
    assert f"node '{error.node}'" in error.where
    assert f"{kernel} on stand-in, driver 1" in error.where
    assert "elements" in error.got
    assert "python -m graphcnn doctor" in error.remedy
    gpu.wrong = set()
    gx.compile(network())  # such a verdict is not kept


def test_a_device_that_has_stopped_is_an_error(gpu, monkeypatch):
    """An illegal access ends all that the process does with the device; the next one knows."""
    gpu.failing = {(NORM, 8)}
    stopped = "CUDA error: an illegal memory access was encountered"

    def broken(self):
        raise RuntimeError(stopped)

    with monkeypatch.context() as here:
        here.setattr(StandInDevice, "synchronize", broken)
        here.setattr(StandInDevice, "record", lambda self, event=None: broken(self))
        with pytest.raises(KernelFailed) as caught:
            gx.compile(network())
    assert "has stopped the device for this process" in caught.value.what
    assert "start the program again" in caught.value.remedy
    gpu.ran.clear()
    assert warps(gx.compile(network())) == [4, 4, 4]
    assert (NORM, 8) not in gpu.ran


def test_other_errors_of_a_launch_go_on(gpu, monkeypatch):
    gpu.failing = {(NORM, 8)}
    monkeypatch.setattr("tests.test_self_check.TOO_MANY", "CUDA error: out of memory")
    with pytest.raises(RuntimeError, match="out of memory"):
        gx.compile(network())


def test_a_new_batch_size_is_judged_as_it_is_met(gpu):
    """Its first sample is; what is new there may be wrong, and the model's own is not."""
    model = gx.compile(network())
    gpu.ran.clear()
    gpu.wrong = {(NORM, 8)}
    image = np.random.default_rng(0).standard_normal((20, 3, 8, 8)).astype(np.float32)
    check_model(model, {"image": image})
    with model.turn(20) as executor:
        found = {step.work.meta["num_warps"] for step in executor.plan.steps}
    assert found in ({4}, {4, 8})


def test_operands_that_are_not_finite_prove_nothing(gpu):
    """With such weights every output is infinite or NaN, whatever the kernel does."""
    graph = network()
    huge = {param.name: np.full(param.type.shape, 3e38, np.float32) for param in graph.params}
    gx.compile(gx.load_weights(graph, huge))
    gpu.wrong = {(NORM, 8)}
    assert warps(gx.compile(network())) == [4, 4, 4]


def test_what_nobody_could_judge_is_not_tried_again(gpu):
    """The logarithm of the seeded input is NaN, so that the convolution behind it shows nothing."""
    h = networks.conv(gx.log(gx.input("image", (1, 3, 8, 8))), "conv", 4, 3)
    model = gx.compile(with_he_weights(gx.graph("network", h)))
    ran = len(gpu.ran)
    with model.turn(), model.turn():  # a call inside a call has an executor of its own
        assert len(gpu.ran) == ran


def test_samples_that_meet_are_judged_together(gpu):
    x = gx.input("x", (4, 8))
    model = gx.compile(gx.graph("g", gx.softmax(gx.relu(x), dim=0)))
    assert refusals(model) == []
    check_model(model, example_inputs(model.graph))


def test_models_made_of_a_model_take_its_kernels(gpu):
    gpu.wrong = {(NORM, 8)}
    model = gx.compile(network())
    part = model.part(model.graph)
    part.prepare()
    assert warps(model) == warps(part) == [4, 4, 4]
    check_model(part, example_inputs(model.graph))


def test_a_graph_without_a_batch_is_judged_whole(gpu):
    x = gx.input("x", (2, 8))
    y = gx.input("y", (3, 8))
    model = gx.compile(gx.graph("two", [gx.relu(x, name="a"), gx.relu(y, name="b")]))
    assert len(gpu.ran) == len(model.plan.steps)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"device": "another", "kernels": {"a": null}}'])
def test_what_is_damaged_on_the_disk_is_nothing(gpu, tmp_path, text):
    gx.compile(network())
    (file,) = tmp_path.glob("graphcnn_first_runs/*.json")
    whole = file.read_text()
    file.write_text(text)
    assert Verdicts("stand-in, driver 1").found == {}
    gx.compile(network())
    assert file.read_text() == whole


def test_a_folder_that_cannot_be_written_costs_another_run(gpu, tmp_path):
    (tmp_path / "graphcnn_first_runs").write_text("in the way")
    for runs in (3, 6):
        gx.compile(network())
        assert len(gpu.ran) == runs


def test_processes_add_to_what_is_known(gpu):
    first, second = Verdicts("stand-in, driver 1"), Verdicts("stand-in, driver 1")
    first.found = {"a": None}
    first.keep()
    second.found = {"b": "2 of 4 elements exceed the bound"}
    second.keep()
    assert Verdicts("stand-in, driver 1").found == first.found | second.found
