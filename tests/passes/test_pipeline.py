"""The order of the passes, and running them: checks, the log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest

from graphcnn.errors import FusionRefused, PassError
from graphcnn.ir import CompileLog, Failed, Finished, Graph, Rewritten, Started, parse
from graphcnn.passes import (
    PASSES,
    Canonicalize,
    FoldAveragePool,
    FoldBatchNorm,
    Fuse,
    Narrow,
    Pass,
    Simplify,
    default_pipeline,
    run_passes,
)
from tests.passes.before_after import graph

IMAGE = "f64[1,4,8,8]"
CONV = f"h: {IMAGE} = conv2d(x, v)"


def ops(given: Graph, passes: tuple[Pass, ...]) -> list[str]:
    return [node.op.name for node in run_passes(given, passes, CompileLog()).nodes]


def swapped(first: type[Pass], second: type[Pass]) -> tuple[Pass, ...]:
    """The default pipeline with two passes exchanged."""
    passes = list(default_pipeline())
    i, j = (next(k for k, p in enumerate(passes) if isinstance(p, c)) for c in (first, second))
    assert i < j
    passes[i], passes[j] = passes[j], passes[i]
    return tuple(passes)


ORDERS = {
    "simplify before canonicalize": (
        Simplify,
        Canonicalize,
        f"{CONV}\nd: {IMAGE} = dropout(h)\ny: {IMAGE} = add(d, c)\nreturn y",
        ["conv2d"],
    ),
    "canonicalize before fold-batch-norm": (
        Canonicalize,
        FoldBatchNorm,
        f"{CONV}\na: {IMAGE} = add(h, c)\n"
        f"y: {IMAGE} = batch_norm(a, m, q.var, s.weight, t)\nreturn y",
        ["conv2d"],
    ),
    "fold-batch-norm before fold-average-pool": (
        FoldBatchNorm,
        FoldAveragePool,
        "h: f64[1,4,6,6] = conv2d(x, w)\n"
        "y: f64[1,4,6,6] = batch_norm(h, m, q.var, s.weight, t)\n"
        "z: f64[1,4,3,3] = avg_pool2d(y, kernel_size=(2, 2), stride=(2, 2))\nreturn z",
        ["conv2d"],
    ),
    "fold-batch-norm before fuse": (
        FoldBatchNorm,
        Fuse,
        f"{CONV}\ny: {IMAGE} = batch_norm(h, m, q.var, s.weight, t)\nreturn y",
        ["conv2d"],
    ),
}


@pytest.mark.parametrize("case", ORDERS)
def test_the_order_matters(case: str) -> None:
    first, second, body, wanted = ORDERS[case]
    given = graph(body)
    assert ops(given, default_pipeline()) == wanted
    assert ops(given, swapped(first, second)) != wanted


def test_every_pass_of_the_pipeline_is_reachable_by_name() -> None:
    assert [step.name for step in default_pipeline()] == list(PASSES)
    assert list(PASSES.values()) == [
        Simplify,
        Canonicalize,
        FoldBatchNorm,
        FoldAveragePool,
        Narrow,
        Fuse,
    ]


def test_fusion_can_be_left_out() -> None:
    assert [step.name for step in default_pipeline(fuse=False)] == list(PASSES)[:-1]
    with pytest.raises(FusionRefused, match="fusion is off"):
        default_pipeline(fuse=False, must_fuse=[("a", "b")])


def test_a_target_that_does_not_fuse_gets_no_fusion() -> None:
    assert [step.name for step in default_pipeline(None)] == list(PASSES)[:-1]
    with pytest.raises(FusionRefused, match="the target does not fuse"):
        default_pipeline(None, must_fuse=[("a", "b")])


BODY = f"{CONV}\nd: {IMAGE} = dropout(h)\ny: {IMAGE} = relu(d)\nreturn y"


def test_stages_are_logged() -> None:
    log = CompileLog()
    run_passes(graph(BODY), default_pipeline(), log)
    assert [stage.name for stage in log.of(Finished)] == list(PASSES)
    assert [len(graph.nodes) for graph in log.graphs.values()] == [3, 2, 2, 2, 2, 2, 1]
    assert [stage.before for stage in log.of(Finished)] == [*log.graphs.values()][:-1]
    assert all(stage.seconds > 0 for stage in log.of(Finished))


@dataclass(frozen=True)
class Spoil(Pass):
    """A pass that breaks its contract in a chosen way."""

    name: ClassVar[str] = "spoil"
    how: str

    def run(self, graph: Graph, log: CompileLog) -> Graph:
        if self.how == "dangling":
            return graph.replace(nodes=graph.nodes[1:])
        if self.how == "output":
            return graph.replace(outputs=(*graph.outputs, *graph.outputs))
        return graph.replace(inputs=(*graph.inputs, parse(OTHER).inputs[0]))


OTHER = "graph g {\ninput z: f64[1]\ny: f64[1] = relu(z)\nreturn y\n}"


@pytest.mark.parametrize(
    ("how", "what"),
    [
        ("dangling", "a value that is read is not defined"),
        ("output", "types of its outputs, have changed"),
        ("input", "the graph's inputs"),
    ],
)
def test_a_pass_that_breaks_the_graph_is_named(
    how: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = (Simplify(), Canonicalize(), Spoil(how), FoldBatchNorm())
    log = CompileLog()
    with pytest.raises(PassError, match=what) as caught:
        run_passes(graph(BODY), passes, log)
    assert "pass 'spoil'" in str(caught.value)
    assert caught.value.where == "after simplify, canonicalize"
    assert [type(event) for event in log.events if not isinstance(event, Rewritten)] == [
        *(Started, Finished) * 2,
        Started,
        Failed,
    ]
    assert log.events[-1].error is caught.value
    monkeypatch.setenv("GRAPHCNN_VERIFY", "0")
    run_passes(graph(BODY), passes[:3], CompileLog())
