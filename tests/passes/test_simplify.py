"""Simplify: identities, constants, twins and dead nodes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from graphcnn.ir import CompileLog, Graph, evaluate, parse
from graphcnn.passes import Fuse, Simplify
from tests.passes.before_after import becomes, declines, graph

IMAGE = "f64[1,4,8,8]"

ZEROS = "input x: f64[1]\nparam c: f64[1]\nparam d: f64[1]"
IDENTITIES = [
    "y: f64[1,4,8,8] = dropout(h)",
    "y: f64[1,4,8,8] = pad(h, padding=(0, 0, 0, 0), value=3.0)",
    "y: f64[1,4,8,8] = reshape(h, shape=(-1, 4, 8, 8))",
    "y: f64[1,4,8,8] = flatten(h, start_dim=3)",
    "y: f64[1,4,8,8] = concat(h)",
    "y: f64[1,4,8,8] = max_pool2d(h, kernel_size=(1, 1), stride=(1, 1))",
    "y: f64[1,4,8,8] = avg_pool2d(h, kernel_size=(1, 1), stride=(1, 1))",
    "y: f64[1,4,8,8] = relu(h)",
    "y: f64[1,4,8,8] = leaky_relu(h, negative_slope=0.3)",
]


@pytest.mark.parametrize("line", IDENTITIES)
def test_identity_is_dropped(line: str) -> None:
    log = becomes(
        Simplify(),
        f"h: {IMAGE} = relu(x)\n{line}\nz: {IMAGE} = tanh(y)\nreturn z",
        f"h: {IMAGE} = relu(x)\nz: {IMAGE} = tanh(h)\nreturn z",
    )
    assert log.survivor("y") == "h"


@pytest.mark.parametrize("op", ["max_pool1d", "avg_pool1d"])
def test_windows_of_one_element_are_dropped(op: str) -> None:
    becomes(
        Simplify(),
        f"""p: f64[2,3,8] = {op}(x, kernel_size=(1,), stride=(1,))
        y: f64[2,3,8] = tanh(p)
        return y""",
        "y: f64[2,3,8] = tanh(x)\nreturn y",
        "input x: f64[2,3,8]",
    )


@pytest.mark.parametrize(
    "line",
    [
        "y: f64[1,4,10,8] = pad(x, padding=(1, 0, 1, 0))",
        "y: f64[1,4,64] = reshape(x, shape=(1, 4, 64))",
        # At another batch size these are refused, or another shape.
        "y: f64[1,4,8,8] = reshape(x, shape=(1, 4, 8, 8))",
        "y: f64[1,4,8,8] = reshape(x, shape=(1, 4, 8, -1))",
        "y: f64[1,8,8,8] = concat(x, r)",
        "y: f64[1,4,4,4] = max_pool2d(x, kernel_size=(1, 1), stride=(2, 2))",
        "y: f64[1,4,7,7] = avg_pool2d(x, kernel_size=(2, 2), stride=(1, 1))",
        "y: f64[1,4,8,8] = leaky_relu(x, negative_slope=0.3)",
    ],
)
def test_what_changes_something_stays(line: str) -> None:
    assert declines(Simplify(), f"{line}\nreturn y") == []


def with_constant(body: str, name: str, value: float) -> Graph:
    """A graph one of whose params is full of one number."""
    given = graph(body)
    filled = (
        replace(p, data=np.full(p.type.shape, value)) if p.name == name else p for p in given.params
    )
    return given.replace(params=tuple(filled))


@pytest.mark.parametrize(
    ("line", "value"),
    [
        *[("add(h, c)", 0.0), ("add(c, h)", 0.0), ("mul(h, c)", 1.0), ("mul(c, h)", 1.0)],
        *[("sub(h, c)", 0.0), ("div(h, c)", 1.0)],
    ],
)
def test_neutral_constant_is_dropped(line: str, value: float) -> None:
    given = with_constant(f"h: {IMAGE} = relu(x)\ny: {IMAGE} = {line}\nreturn y", "c", value)
    becomes(Simplify(), given, f"h: {IMAGE} = relu(x)\nreturn h")


@pytest.mark.parametrize(
    ("line", "value"),
    [
        *[("add(x, c)", 1e-30), ("mul(x, c)", 0.0), ("mul(x, c)", 1 + 2**-52)],
        *[("sub(c, x)", 0.0), ("div(c, x)", 1.0), ("sub(x, c)", 1.0), ("div(x, c)", 0.0)],
        *[("maximum(x, c)", 0.0), ("minimum(x, c)", 1.0)],
    ],
)
def test_other_constants_stay(line: str, value: float) -> None:
    declines(Simplify(), with_constant(f"y: {IMAGE} = {line}\nreturn y", "c", value))


def test_differences_the_other_way_round_are_no_twins() -> None:
    given = f"p: {IMAGE} = sub(x, r)\nq: {IMAGE} = sub(r, x)\ny: {IMAGE} = div(p, q)\nreturn y"
    assert declines(Simplify(), given) == []


def test_a_constant_that_is_no_number_is_not_made() -> None:
    given = graph("y: f64[1] = div(c, d)\nz: f64[1] = add(x, y)\nreturn z", ZEROS)
    filled = (replace(param, data=np.zeros(1)) for param in given.params)
    (reason,) = declines(Simplify(), given.replace(params=tuple(filled)))
    assert "as a constant" in reason


def test_a_neutral_constant_that_broadcasts_the_other_operand_stays() -> None:
    body = "h: f64[1,4,1,1] = global_avg_pool2d(x)\ny: f64[4,4,3,3] = mul(w, h)\nreturn y"
    given = with_constant(body.replace("(w, h)", "(h, w)"), "w", 1.0)
    assert declines(Simplify(), given) == []


@pytest.mark.parametrize(("op", "value"), [("add", 0.0), ("mul", 1.0)])
def test_a_neutral_constant_for_each_sample_stays(op: str, value: float) -> None:
    """It fixes the batch size: a single sample would be broadcast against it."""
    sources = "input x: f64[3,4]\nparam c: f64[3,4]"
    given = graph(f"y: f64[3,4] = {op}(x, c)\nreturn y", sources)
    filled = (replace(param, data=np.full((3, 4), value)) for param in given.params)
    assert declines(Simplify(), given.replace(params=tuple(filled))) == []


def test_leaky_relu_without_slope_is_no_relu() -> None:
    """At minus infinity it is NaN, as in PyTorch, and relu is 0."""
    given = graph(f"y: {IMAGE} = leaky_relu(x, negative_slope=0.0)\nreturn y")
    assert Simplify().run(given, CompileLog()) == given


@pytest.mark.parametrize("line", [*IDENTITIES, "y: f64[1,4,8,8] = leaky_relu(h, negative_slope=0)"])
def test_nan_stays_nan(line: str) -> None:
    given = graph(f"h: {IMAGE} = relu(x)\n{line}\nreturn y")
    arrays = {"x": np.full((1, 4, 8, 8), np.nan), "r": np.ones((1, 4, 8, 8))}
    after = Simplify().run(given, CompileLog())
    assert np.isnan(evaluate(given, arrays)[given.outputs[0]]).all()
    assert np.isnan(evaluate(after, arrays)[after.outputs[0]]).all()


def test_twins_are_merged_in_any_operand_order() -> None:
    log = becomes(
        Simplify(),
        f"""a: {IMAGE} = relu(x)
        e: {IMAGE} = relu(x)
        p: {IMAGE} = add(a, r)
        q: {IMAGE} = add(r, e)
        y: {IMAGE} = mul(p, q)
        return y, e""",
        f"""a: {IMAGE} = relu(x)
        p: {IMAGE} = add(a, r)
        y: {IMAGE} = mul(p, p)
        return y, a""",
    )
    assert log.absorbed == {"e": "a", "q": "p"}


def test_same_op_with_other_attributes_is_no_twin() -> None:
    body = f"""a: {IMAGE} = leaky_relu(x, negative_slope=0.1)
        e: {IMAGE} = leaky_relu(x, negative_slope=0.2)
        y: {IMAGE} = add(a, e)
        return y"""
    assert declines(Simplify(), body) == []


def test_dead_nodes_go_with_what_only_they_read() -> None:
    becomes(
        Simplify(),
        f"h: {IMAGE} = conv2d(x, v)\nd: {IMAGE} = conv2d(h, v, b)\ny: {IMAGE} = relu(x)\nreturn y",
        f"y: {IMAGE} = relu(x)\nreturn y",
    )


def test_constants_are_computed_once_and_rounded() -> None:
    body = """input x: f32[1,4,8,8]
        param p: f32[4,1,1]
        param q: f32[4,1,1]"""
    given = graph("k: f32[4,1,1] = mul(p, q)\ny: f32[1,4,8,8] = add(x, k)\nreturn y", body)
    after = Simplify().run(given, CompileLog())
    assert str(after).splitlines()[1:] == [
        "  input x: f32[1,4,8,8]",
        "  param k: f32[4,1,1]",
        "  y: f32[1,4,8,8] = add(x, k)",
        "  return y",
        "}",
    ]
    p, q = (given.param_by_name[name].data for name in "pq")
    assert p is not None
    assert q is not None
    folded = after.params[0].data
    assert folded is not None
    assert folded.dtype == np.float32
    assert np.array_equal(folded, (p.astype(np.float64) * q).astype(np.float32))
    assert np.ptp(folded) > 0


def test_a_constant_without_data_waits() -> None:
    text = """graph g {
      input x: f64[1,4,8,8]
      param c: f64[4,1,1]
      k: f64[4,1,1] = relu(c)
      y: f64[1,4,8,8] = add(x, k)
      return y
    }"""
    assert declines(Simplify(), parse(text)) == []


def test_a_constant_that_would_grow_large_is_refused() -> None:
    sources = "input x: f64[1,1]\nparam p: f64[512,1]\nparam q: f64[1,512]"
    body = "k: f64[512,512] = mul(p, q)\ny: f64[512,512] = add(k, x)\nreturn y"
    (reason,) = declines(Simplify(), graph(body, sources))
    assert reason == (
        "simplify: k: the constant would take 2097152 bytes, more than its operands and than "
        "1048576 [p, q]"
    )


NORM = f"y: {IMAGE} = batch_norm(x, m, k, s.weight, t)\nreturn y"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (f"k: f64[4,1,1] = mul(c, c)\ny: {IMAGE} = add(x, k)\nreturn y", "NaN or infinite"),
        ("k: f64[4] = mul(t, q.var)\n" + NORM, "batch_norm divides by sqrt(running_var + eps)"),
    ],
)
def test_a_constant_that_no_graph_may_hold_is_refused(body: str, reason: str) -> None:
    given = with_constant(body, "c", 1e200)
    negative = (replace(p, data=-np.ones(4)) if p.name == "t" else p for p in given.params)
    (told,) = declines(Simplify(), given.replace(params=tuple(negative)))
    assert told.startswith("simplify: k: as a constant, ")
    assert reason in told


def test_a_constant_times_a_number_is_rounded_once() -> None:
    sources = "input x: f16[1,4,8,8]\nparam c: f16[4,1,1]\nparam n: f32[]"
    given = graph("k: f16[4,1,1] = mul(c, n)\ny: f16[1,4,8,8] = add(x, k)\nreturn y", sources)
    data = {"c": np.full((4, 1, 1), 1e4, np.float16), "n": np.float32(1e-8).reshape(())}
    given = given.replace(params=tuple(replace(p, data=data[p.name]) for p in given.params))
    folded = Simplify().run(given, CompileLog()).param_by_name["k"].data
    assert folded is not None
    assert np.array_equal(folded, np.full((4, 1, 1), 1e-4).astype(np.float16))


def test_a_fused_graph_is_inlined() -> None:
    given = graph(f"h: {IMAGE} = conv2d(x, v)\ny: {IMAGE} = relu(h)\nreturn y")
    fused = Fuse().run(given, CompileLog())
    assert fused != given
    assert Simplify().run(fused, CompileLog()) == given
