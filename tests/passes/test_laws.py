"""What holds for every pass and every graph."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from graphcnn.errors import BatchError, UnsupportedOp
from graphcnn.ir import (
    CompileLog,
    Fused,
    Graph,
    OpKind,
    Refusal,
    evaluate,
    inline,
    parse,
    rebatch,
    verify,
    with_he_weights,
)
from graphcnn.passes import PASSES, Fuse, Pass, default_pipeline, run_passes
from graphcnn.plan import Target
from graphcnn.targets import resolve
from tests.strategies import graphs, inputs
from tests.tolerance import F64, bounds

# float64 rounding through the deepest drawn network, relative to the output's largest element;
# a wrong rewrite is off by 1e-3 and more.
ROUNDING = 1e-10

laws = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
drawn = graphs(dtypes=("float64",))
single = graphs(dtypes=("float32",))


def outputs(graph: Graph, arrays: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The graph's outputs by position: a pass may rename them."""
    values = evaluate(graph, arrays)
    return [values[name] for name in graph.outputs]


def assert_same_meaning(before: Graph, after: Graph, seed: int) -> None:
    arrays = inputs(before, seed)
    both = zip(before.outputs, outputs(before, arrays), outputs(after, arrays), strict=True)
    for name, wanted, got in both:
        assert got.shape == wanted.shape
        assert np.isfinite(wanted).all()
        off = np.abs(got - wanted)
        if off.max() > ROUNDING * np.abs(wanted).max():  # little is left of a difference, perhaps
            at = before.outputs.index(name)
            sides = ((before, name), (after, after.outputs[at]))
            assert (off <= sum(bounds(graph, arrays, F64)[own] for graph, own in sides)).all()


def varies(graph: Graph, seed: int) -> bool:
    return any(np.ptp(array) > 0 for array in outputs(graph, inputs(graph, seed)))


@pytest.mark.parametrize("name", PASSES)
@laws
@given(graph=drawn, seed=st.integers(0, 99))
def test_a_pass_keeps_meaning_validity_and_signature(name: str, graph: Graph, seed: int) -> None:
    assume(varies(graph, seed))
    after = PASSES[name]().run(graph, CompileLog())
    verify(after)
    assert after.inputs == graph.inputs
    assert after.types_of(after.outputs) == graph.types_of(graph.outputs)
    assert_same_meaning(graph, after, seed)


@pytest.mark.parametrize("name", PASSES)
@laws
@given(graph=drawn)
def test_a_second_run_changes_nothing(name: str, graph: Graph) -> None:
    step: Pass = PASSES[name]()
    once = step.run(graph, CompileLog())
    log = CompileLog()
    assert step.run(once, log) == once
    assert log.rewrites == []


def assert_one_meaning(before: Graph, after: Graph, seed: int) -> None:
    """Every name that both graphs define is the same value in both."""
    flat = inline(before)
    shared = set(flat.names) & set(inline(after).names)
    operands = {node.name: node.inputs for node in flat.nodes}
    arrays = inputs(before, seed)
    old, new = evaluate(before, arrays, shared), evaluate(after, arrays, shared)
    assert shared >= {value.name for value in before.inputs}
    for name in shared:
        assert new[name].shape == old[name].shape
        # A map that a pool reads may be padded with -inf.
        finite = np.isfinite(old[name])
        assert np.array_equal(new[name][~finite], old[name][~finite]), name
        wanted, got = old[name][finite], new[name][finite]
        # What cancels is as far off as its operands' rounding.
        read = [old[one] for one in operands.get(name, ()) if one in shared]
        scale = max(np.abs(one[np.isfinite(one)]).max(initial=0) for one in (wanted, *read))
        assert np.abs(got - wanted).max(initial=0) <= ROUNDING * scale, name


@pytest.mark.parametrize("name", PASSES)
@laws
@given(graph=drawn, seed=st.integers(0, 99))
def test_one_name_has_one_meaning(name: str, graph: Graph, seed: int) -> None:
    assert_one_meaning(graph, PASSES[name]().run(graph, CompileLog()), seed)


@laws
@given(graph=drawn, seed=st.integers(0, 99))
def test_one_name_has_one_meaning_through_the_pipeline(graph: Graph, seed: int) -> None:
    assert_one_meaning(graph, run_passes(graph, default_pipeline(), CompileLog()), seed)


def test_a_new_param_takes_no_name_that_was_freed() -> None:
    """The names that new params want belong to params that simplify dropped with their readers."""
    graph = with_he_weights(
        parse("""graph g {
          input x: f64[1,4,8,8]
          param w: f64[4,4,1,1]
          param c: f64[4,1,1]
          param m: f64[4]
          param q.var: f64[4]
          param s.weight: f64[4]
          param norm.folded_weight: f64[4,1,1]
          param sum.bias: f64[4,1,1]
          dead: f64[1,4,8,8] = add(x, norm.folded_weight)
          dead2: f64[1,4,8,8] = add(dead, sum.bias)
          conv: f64[1,4,8,8] = conv2d(x, w)
          sum: f64[1,4,8,8] = add(conv, c)
          norm: f64[1,4,8,8] = batch_norm(sum, m, q.var, s.weight, m)
          return norm
        }""")
    )
    after = run_passes(graph, default_pipeline(), CompileLog())
    assert [param.name for param in after.params] == ["norm.folded_weight.2", "norm.folded_bias"]
    assert_one_meaning(graph, after, 0)


def accepted(graph: Graph, target: Target) -> bool:
    try:
        target.lower(graph)
    except UnsupportedOp:
        return False
    return True


@pytest.mark.parametrize("target", ["triton", "library"])
@laws
@given(graph=single)
def test_what_a_target_runs_it_runs_after_the_passes(target: str, graph: Graph) -> None:
    chosen = resolve(target, "cpu")
    for fuse in (False, True):
        passes = default_pipeline(chosen.supports, fuse=fuse)
        after = run_passes(graph, passes, CompileLog())
        assert accepted(after, chosen) or not accepted(graph, chosen)


def rebatched(graph: Graph, batch: int) -> Graph | None:
    try:
        return rebatch(graph, batch)
    except BatchError:
        return None


@pytest.mark.parametrize("name", PASSES)
@laws
@given(graph=drawn, batch=st.integers(2, 4), seed=st.integers(0, 99))
def test_a_pass_keeps_the_batch_sizes_that_are_taken(
    name: str, graph: Graph, batch: int, seed: int
) -> None:
    before = rebatched(graph, batch)
    after = rebatched(PASSES[name]().run(graph, CompileLog()), batch)
    assert (before is None) == (after is None)
    if before and after:
        assert_same_meaning(before, after, seed)


@laws
@given(graph=drawn)
def test_inlining_undoes_fusion(graph: Graph) -> None:
    fused = Fuse().run(graph, CompileLog())
    flat = inline(fused)
    verify(flat)
    assert sorted(flat.nodes, key=str) == sorted(graph.nodes, key=str)
    assert (flat.inputs, flat.params, flat.outputs) == (graph.inputs, graph.params, graph.outputs)


@laws
@given(graph=drawn, seed=st.integers(0, 99))
def test_the_pipeline_keeps_the_meaning_with_and_without_fusion(graph: Graph, seed: int) -> None:
    assume(varies(graph, seed))
    log = CompileLog()
    fused = run_passes(graph, default_pipeline(), log)
    assert_same_meaning(graph, fused, seed)
    unfused = run_passes(graph, default_pipeline(fuse=False), CompileLog())
    assert sorted(inline(fused).nodes, key=str) == sorted(unfused.nodes, key=str)


@laws
@given(graph=drawn)
def test_every_node_left_alone_is_explained(graph: Graph) -> None:
    log = CompileLog()
    fused = Fuse().run(graph, log)
    told = {refusal.node for refusal in log.refusals}
    for node in fused.nodes:
        if node.op.kind <= OpKind.BROADCAST or node.op.kind is OpKind.WINDOW:
            assert node.name in told
    inside = {
        n.name for node in fused.nodes if isinstance(node.op, Fused) for n in node.op.body.nodes
    }
    assert told.isdisjoint(inside)


@laws
@given(
    graph=drawn,
    refused=st.sets(st.sampled_from(["relu", "tanh", "silu", "add", "mul", "max_pool2d"])),
    longest=st.integers(1, 5),
)
def test_fusion_for_a_target_with_limits(graph: Graph, refused: set[str], longest: int) -> None:
    def supports(body: Graph) -> Refusal | None:
        for node in body.nodes[1:]:
            if node.op.name in refused:
                return Refusal("target", node.name, f"has no {node.op.name}")
        too_long = len(body.nodes) > longest
        return Refusal("target", body.nodes[0].name, "is too long") if too_long else None

    step = Fuse(supports)
    fused = step.run(graph, CompileLog())
    verify(fused)
    assert sorted(map(str, inline(fused).nodes)) == sorted(map(str, graph.nodes))
    assert all(supports(n.op.body) is None for n in fused.nodes if isinstance(n.op, Fused))
    assert step.run(fused, CompileLog()) == fused
