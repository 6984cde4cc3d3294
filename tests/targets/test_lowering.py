"""Groups that a target supports become one launch each, and the log hears what became of others."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

import graphcnn as gx
from graphcnn.errors import FusionRefused, InvalidAttribute
from graphcnn.ir import Chosen, CompileLog, DType, Fused, OpKind, rebatch, with_he_weights
from graphcnn.kernels import Choice, LinearProblem, LinearTile, by_rule, linear
from graphcnn.ops import Linear, Strided
from graphcnn.passes import default_pipeline, run_passes
from graphcnn.report import explain
from graphcnn.runtime.boundary import example_inputs
from graphcnn.runtime.compiled import CompiledModel
from graphcnn.targets import groups, layout, resolve
from graphcnn.targets.policy import MODEL, Policy
from graphcnn.targets.resolve_device import resolve_device
from graphcnn.targets.triton import TritonTarget
from tests.runtime.small_networks import small
from tests.stand_in_gpu import stand_in_target
from tests.stepwise import check_model
from tests.targets.chains import drawn_flattened, drawn_group, drawn_separable, supports

TARGETS = {"cpu": lambda: resolve("triton", "cpu"), "sm_80": lambda: stand_in_target(80)[0]}


def anyhow(choice):
    """A layout for every graph: dimensions of values in any order, but of aliases and of maps that
    a kernel reads as rows."""

    def locate(graph):
        found = layout.locate(graph)
        views = [n for n in graph.nodes if n.op.kind is OpKind.VIEW or isinstance(n.op, Strided)]
        fixed = {name for node in views for name in (node.name, *node.inputs)}
        fixed |= {node.inputs[0] for node in graph.nodes if layout.reads_rows(node)}
        for name in found.keys() - fixed:
            shape = found[name].type.shape
            order = choice.sample(range(len(shape)), len(shape))
            inner = layout.contiguous(tuple(shape[dim] for dim in order))
            strides = tuple(inner[order.index(dim)] for dim in range(len(shape)))
            found[name] = replace(found[name], strides=strides)
        return found

    return locate


@pytest.mark.parametrize("anywhere", [False, True], ids=["own layout", "any layout"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("device", TARGETS)
@pytest.mark.parametrize("drawn", [drawn_group, drawn_separable, drawn_flattened])
def test_a_group_that_is_supported_is_one_launch(drawn, device, dtype, anywhere, monkeypatch):
    target, supported = TARGETS[device](), 0
    for seed in range(150):
        if anywhere:
            monkeypatch.setattr("graphcnn.targets.lowering.locate", anyhow(random.Random(seed)))
        graph = drawn(seed, dtype, batch=(1, 8)[seed % 2])
        group = graph.nodes[-1]
        if supports(group.op.body):
            continue
        lowered = target.lower(graph)
        assert lowered.refusals == (), graph
        assert [step.node for step in lowered.steps].count(group.name) == 1, graph
        supported += 1
    assert supported > 75


@pytest.mark.parametrize("device", TARGETS)
def test_what_the_passes_group_is_one_launch_at_every_batch_size(device):
    target = TARGETS[device]()
    fused = run_passes(small(), default_pipeline(target.supports), CompileLog())
    groups = [node.name for node in fused.nodes if isinstance(node.op, Fused)]
    alone = ["fc"] if device == "cpu" else []
    assert len(groups) == 3 - len(alone)
    for batch in (1, 8):
        lowered = target.lower(rebatch(fused, batch))
        assert lowered.refusals == ()
        assert [step.node for step in lowered.steps] == [*groups, *alone]


def scattered(dtype):
    """A linear layer of rank 5 with a constant that repeats along one of its dimensions."""
    h = gx.linear(gx.input("x", (2, 3, 2, 3, 4), dtype), gx.param("w", (5, 4), dtype), name="fc")
    h = gx.relu(gx.add(h, gx.param("p", (1, 3, 1, 3, 5), dtype), name="sum"), name="relu")
    return with_he_weights(gx.graph("scattered", h))


@pytest.mark.cpu
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_group_that_is_lowered_apart_is_right_and_told(dtype):
    model = gx.compile(scattered(dtype), device="cpu")
    assert isinstance(model.log.graphs["fuse"].nodes[-1].op, Fused)
    assert [node.name for node in model.graph.nodes] == ["fc", "sum", "relu"]
    assert [step.label for step in model.plan.steps] == ["linear", "add", "relu"]
    check_model(model, example_inputs(model.source))
    verdict = gx.verify(model)
    assert verdict.ok, str(verdict)
    (refusal,) = model.log.refusals
    assert (refusal.rule, refusal.node) == ("triton", "relu")
    assert "do not follow one another in memory" in refusal.because
    told = explain(model)
    assert told.refusals == (refusal,)
    assert refusal.because[:20] in str(told)
    model.prepare((3,))
    assert model.log.refusals == [refusal]
    assert gx.verify(model, x=DType.of(dtype).round(np.ones((3, 3, 2, 3, 4)))).ok


def test_a_demand_that_lowering_takes_apart_fails_with_the_reason():
    with pytest.raises(FusionRefused, match="do not follow one another") as caught:
        gx.compile(scattered("float32"), device="cpu", must_fuse=[("fc", "sum")])
    assert caught.value.where == "must_fuse: fc, sum"


def test_the_log_tells_which_kernel_was_chosen_among_how_many():
    log = CompileLog()
    target = resolve("triton", "cpu")
    model = CompiledModel(small(), small(), target, log)
    chosen = [choice for choice in log.of(Chosen) if choice.what == "kernel"]
    (told,) = (choice for choice in log.of(Chosen) if choice.what == "algorithm")
    assert told.node == "conv2"
    assert {told.chosen, "direct"} <= {*told.alternatives}
    assert [(choice.node, choice.what) for choice in chosen] == [
        ("conv1", "kernel"),
        ("conv2", "kernel"),
        ("fc", "kernel"),
    ]
    for choice in chosen:
        assert choice.chosen in choice.alternatives
        assert len(choice.alternatives) > 1
        meta = next(step.work.meta for step in model.plan.steps if step.node == choice.node)
        assert choice.chosen.tile.num_warps == meta["num_warps"]
    problem = LinearProblem("f32", 2, *model.graph.type_of("fc.weight").shape)
    assert chosen[-1].because == str(problem)
    traits = target.on.traits
    assert chosen[-1].chosen == by_rule(problem, chosen[-1].alternatives, traits)


@pytest.mark.cpu
def test_an_anchor_without_a_kernel_is_a_call_of_the_library(monkeypatch):
    monkeypatch.delitem(groups.TABLE, Linear)
    x = gx.input("x", (2, 3))
    graph = with_he_weights(gx.graph("g", gx.relu(gx.linear(x, gx.param("w", (4, 3)), name="fc"))))
    model = gx.compile(graph, device="cpu")
    assert [step.label for step in model.plan.steps] == ["library linear", "relu"]
    assert "there is no kernel of linear: a library call" in str(model.log.refusals[-1])
    check_model(model, example_inputs(graph))


@pytest.mark.cpu
def test_other_batch_sizes_and_parts_leave_the_log_alone():
    model = gx.compile(small(), device="cpu")
    before = list(model.log.events)
    model.prepare((1,))
    model.part(model.source)
    assert model.log.events == before


def conv(channels, filters, kernel=3, groups=1, batch=1):
    x = gx.input("x", (batch, channels, 6, 7))
    w = gx.param("w", (filters, channels // groups, kernel, kernel))
    return gx.conv2d(x, w, gx.param("b", (filters,)), 1, kernel // 2, groups=groups)


def rows(count):
    return gx.linear(gx.input("x", (count, 19)), gx.param("w", (21, 19)), gx.param("b", (21,)))


PROBLEMS = {
    "3x3, channels that divide": lambda: conv(64, 40),
    "3x3, channels that do not": lambda: conv(5, 7),
    "1x1": lambda: conv(48, 9, 1),
    "depthwise, two filters each": lambda: conv(6, 12, groups=6),
    "grouped": lambda: conv(8, 12, groups=2),
    "one row": lambda: rows(1),
    "five rows": lambda: rows(5),
}


@dataclass(frozen=True)
class Picking(Policy):
    """What a function of the problem and the choices picks."""

    pick: Callable

    def kernel(self, anchor, problem, found, device):
        return self.pick(problem, found)


def compiled(graph, policy):
    target = TritonTarget(resolve_device("cpu"), policy)
    fused = run_passes(graph, default_pipeline(target.supports), CompileLog())
    return CompiledModel(graph, fused, target, CompileLog())


@pytest.mark.cpu
@pytest.mark.parametrize("problem", PROBLEMS)
def test_every_choice_computes_the_same(problem):
    graph = with_he_weights(gx.graph("g", gx.silu(PROBLEMS[problem]())))
    inputs = example_inputs(graph)
    (ruled,) = compiled(graph, MODEL).log.of(Chosen)
    for alternative in ruled.alternatives:
        model = compiled(graph, Picking(lambda *_, taken=alternative: taken))
        assert [choice.chosen for choice in model.log.of(Chosen)] == [alternative]
        check_model(model, inputs)


@pytest.mark.cpu
def test_a_network_compiled_with_a_policy_of_ones_own():
    graph = small()
    model = compiled(graph, Picking(lambda problem, found: found[-1]))
    assert all(choice.chosen == choice.alternatives[-1] for choice in model.log.of(Chosen))
    assert len([c for c in model.log.of(Chosen) if c.what == "kernel"]) == 3
    assert gx.verify(model).ok
    check_model(model, {"image": np.ones((5, 3, 8, 8), np.float32)})


@pytest.mark.parametrize("picked", [None, 0, Choice(linear, LinearTile(3, 5, 7))], ids=type)
def test_a_policy_that_picks_what_is_no_choice(picked):
    with pytest.raises(InvalidAttribute, match="a policy picks one of the choices") as caught:
        compiled(small(), Picking(lambda *_: picked))
    assert "node 'conv1'" in caught.value.where
    assert "ConvTile" in caught.value.wanted
