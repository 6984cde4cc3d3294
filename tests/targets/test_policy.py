"""What a policy decides is what runs, and is told."""

import numpy as np
import pytest

import graphcnn as gx
from graphcnn.ir import Chosen, CompileLog, DType, with_he_weights
from graphcnn.passes import default_pipeline, run_passes
from graphcnn.runtime.boundary import example_inputs
from graphcnn.runtime.compiled import CompiledModel
from graphcnn.targets.library import LibraryTarget
from graphcnn.targets.policy import MODEL, Called, Measured
from graphcnn.targets.resolve_device import resolve_device
from graphcnn.targets.triton import TritonTarget
from graphcnn.targets.ways import WAYS, ways_of
from tests.runtime.small_networks import small
from tests.stepwise import check_model


def compiled(graph, policy, target=TritonTarget):
    made = target(resolve_device("cpu"), policy)
    fused = run_passes(graph, default_pipeline(made.supports), CompileLog())
    return CompiledModel(graph, fused, made, CompileLog())


def chosen(model):
    return {event.node: event for event in model.log.of(Chosen)}


def test_a_measured_choice_is_taken_for_its_anchor_and_problem_alone():
    by_model = chosen(compiled(small(), MODEL))
    event = by_model["conv1"]
    other = next(choice for choice in event.alternatives if choice != event.chosen)
    traits = resolve_device("cpu").traits
    problems = {}

    class Noting(Measured):
        def kernel(self, anchor, problem, found, device):
            problems[anchor.name] = problem
            return super().kernel(anchor, problem, found, device)

    compiled(small(), Noting())
    policy = Measured(kernels={("conv1", problems["conv1"]): other})
    assert {name: event.chosen for name, event in chosen(compiled(small(), policy)).items()} == {
        name: other if name == "conv1" else event.chosen for name, event in by_model.items()
    }
    (conv1,) = (node for node in small().nodes if node.name == "conv1")
    elsewhere = problems["conv1"]._replace(pixels=3)
    found = event.alternatives
    assert policy.kernel(conv1, elsewhere, found, traits) == MODEL.kernel(
        conv1, elsewhere, found, traits
    )
    # What is no choice any more, as of another version, is not taken.
    left = tuple(choice for choice in found if choice != other)
    assert policy.kernel(conv1, problems["conv1"], left, traits) in left


def conv(padding=1, stride=1, groups=1, dtype="float32", channels=6):
    x = gx.input("image", (2, channels, 9, 11), dtype)
    w = gx.param("w", (8, channels // groups, 3, 3), dtype)
    y = gx.conv2d(x, w, gx.param("b", (8,), dtype), stride, padding, groups=groups, name="conv")
    return with_he_weights(gx.graph("g", gx.max_pool2d(gx.relu(y), 2, name="pool")))


@pytest.mark.cpu
@pytest.mark.parametrize("way", WAYS)
def test_a_group_is_a_call_where_the_policy_says_so(way):
    graph = conv()
    name, type = "pool", graph.nodes[-1].type
    model = compiled(graph, Measured(calls={(name, type): Called(way, "1 ms against 2 ms")}))
    assert [step.label for step in model.plan.steps] == ["library conv2d+relu+max_pool2d"]
    (event,) = model.log.of(Chosen)
    assert (event.node, event.what, event.chosen) == ("pool", "call", way)
    told = str(gx.explain(model))
    assert "1 ms against 2 ms" in told
    assert way in " ".join(told.split())
    assert gx.verify(model).ok is (way != "NNPACK")
    # Another batch size was not measured: a kernel computes it.
    check_model(model, {"image": np.ones((3, 6, 9, 11), np.float32)})
    again = {name: 2 * array for name, array in graph_weights(graph).items()}
    model.refit(again)
    assert gx.verify(model).ok is (way != "NNPACK")


def graph_weights(graph):
    return {param.name: param.values for param in graph.params}


@pytest.mark.cpu
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "graph",
    [conv(), conv(0, 2), conv((1, 0, 0, 1)), conv(groups=2), conv(dtype="float16")],
    ids=["plain", "strided", "one side", "grouped", "half"],
)
def test_every_way_of_torch_computes_the_same(graph, way):
    calls = {(n.name, n.type): Called(way, "") for n in graph.nodes}
    model = compiled(graph, Measured(calls=calls), LibraryTarget)
    # A Winograd convolution rounds more than a sum as it is written.
    if (way, graph) == ("NNPACK", conv()):
        assert not gx.verify(model).ok
        with pytest.raises(AssertionError):
            check_model(model, example_inputs(graph))
        return
    assert gx.verify(model).ok
    check_model(model, example_inputs(graph))


def test_only_what_torch_has_for_a_node_is_one_of_its_ways():
    pool = conv().nodes[-1]
    plain, strided, half = (g.nodes[0] for g in (conv(), conv(0, 2), conv(dtype="float16")))
    assert ways_of(pool, "cpu") == ("torch",)
    assert ways_of(plain, "cuda") == ("torch", "channels last")
    assert ways_of(half, "cpu") == ("torch", "channels last")
    assert "NNPACK" not in ways_of(strided, "cpu")
    assert set(ways_of(plain, "cpu")) <= set(WAYS)
    assert DType.F32 is plain.type.dtype
