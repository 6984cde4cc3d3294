"""The order of the passes, and running them: checks, dumps, the log."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from graphcnn.errors import FileProblem, FusionRefused, PassError
from graphcnn.ir import CompileLog, Graph, parse
from graphcnn.passes import (
    PASSES,
    Canonicalize,
    FoldBatchNorm,
    Fuse,
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
    assert all(PASSES[step.name] is type(step) for step in default_pipeline())


def test_fusion_can_be_left_out() -> None:
    assert [step.name for step in default_pipeline(fuse=False)] == list(PASSES)[:-1]
    with pytest.raises(FusionRefused, match="fusion is off"):
        default_pipeline(fuse=False, must_fuse=[("a", "b")])


BODY = f"{CONV}\nd: {IMAGE} = dropout(h)\ny: {IMAGE} = relu(d)\nreturn y"


def test_stages_are_logged() -> None:
    log = CompileLog()
    run_passes(graph(BODY), default_pipeline(), log)
    assert [stage.name for stage in log.stages] == list(PASSES)
    assert [(s.nodes_before, s.nodes_after) for s in log.stages] == [(3, 2), (2, 2), (2, 2), (2, 1)]
    assert all(stage.seconds > 0 for stage in log.stages)


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
    with pytest.raises(PassError, match=what) as caught:
        run_passes(graph(BODY), passes, CompileLog())
    assert "pass 'spoil'" in str(caught.value)
    assert caught.value.where == "after simplify, canonicalize"
    monkeypatch.setenv("GRAPHCNN_VERIFY", "0")
    run_passes(graph(BODY), passes[:3], CompileLog())


def test_dumps_are_numbered_and_parse_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHCNN_DUMP", str(tmp_path / "new"))
    given = graph(BODY)
    result = run_passes(given, default_pipeline(), CompileLog())
    files = sorted((tmp_path / "new").iterdir())
    assert [file.name for file in files] == [
        "00-source.gcn",
        "01-simplify.gcn",
        "02-canonicalize.gcn",
        "03-fold-batch-norm.gcn",
        "04-fuse.gcn",
    ]
    assert parse(files[0].read_text()) == given
    assert parse(files[-1].read_text()) == result


def test_a_dump_that_cannot_be_written_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GRAPHCNN_DUMP", str(tmp_path / "file"))
    with pytest.raises(FileProblem, match="GRAPHCNN_DUMP"):
        run_passes(graph(BODY), default_pipeline(), CompileLog())


def test_debug_prints_stages_and_changed_graphs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = graph(BODY)
    run_passes(given, default_pipeline(), CompileLog())
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("GRAPHCNN_DEBUG", "1")
    result = run_passes(given, default_pipeline(), CompileLog())
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in lines] == list(PASSES)
    assert lines[0].endswith("3 ->    2 nodes")
    monkeypatch.setenv("GRAPHCNN_DEBUG", "2")
    run_passes(given, default_pipeline(), CompileLog())
    printed = capsys.readouterr().err
    assert printed.count("graph g {") == 2
    assert str(result) in printed
