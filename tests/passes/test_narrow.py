"""Narrow: parts of values, and what they read."""

from __future__ import annotations

from math import prod
from random import Random

import numpy as np
import pytest

from graphcnn.ir import CompileLog, Graph, evaluate, node_cost
from graphcnn.models.tcn import tcn
from graphcnn.passes import Narrow, default_pipeline, run_passes
from tests.passes.before_after import becomes, declines, graph
from tests.strategies import inputs

SEQUENCE = """
  input x: f64[2,4,32]
  param w: f64[4,4,3]
  param v: f64[4,4,3]
  param one: f64[4,4,1]
  param each: f64[4,32]
  param c: f64[4,1]
  param m: f64[4]
"""
IMAGE = """
  input x: f64[1,2,12,10]
  param k: f64[2,2,3,3]
"""
LAST = "y: f64[2,4,1] = slice(h, dim=2, start=-1)\nreturn y"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            f"h: f64[2,4,32] = conv1d(x, w, padding=(2, 0))\n{LAST}",
            """x.part: f64[2,4,3] = slice(x, dim=2, start=29)
            y: f64[2,4,1] = conv1d(x.part, w)
            return y""",
        ),
        (
            f"h: f64[2,4,32] = conv1d(x, w, padding=(16, 0), dilation=(8,))\n{LAST}",
            """x.part: f64[2,4,3] = slice(x, dim=2, start=15, step=8)
            y: f64[2,4,1] = conv1d(x.part, w)
            return y""",
        ),
        (
            "h: f64[2,4,32] = conv1d(x, w, padding=(40, 0), dilation=(20,))\n" + LAST,
            """x.part: f64[2,4,2] = slice(x, dim=2, start=11, step=20)
            y: f64[2,4,1] = conv1d(x.part, w, padding=(1, 0))
            return y""",
        ),
        (
            """h: f64[2,4,32] = conv1d(x, w, padding=(1, 1))
            y: f64[2,4,10] = slice(h, dim=2, stop=30, step=3)
            return y""",
            """x.part: f64[2,4,29] = slice(x, dim=2, stop=29)
            y: f64[2,4,10] = conv1d(x.part, w, stride=(3,), padding=(1, 0))
            return y""",
        ),
        (
            """h: f64[2,4,36] = conv1d(x, w, padding=(4, 4), dilation=(2,))
            y: f64[2,4,32] = slice(h, dim=2, stop=-4)
            return y""",
            "y: f64[2,4,32] = conv1d(x, w, padding=(4, 0), dilation=(2,))\nreturn y",
        ),
        (
            "h: f64[2,4,8] = conv1d(x, one, stride=(4,))\ny: f64[2,4,2] = slice(h, dim=2, start=6)"
            "\nreturn y",
            """x.part: f64[2,4,2] = slice(x, dim=2, start=24, step=4)
            y: f64[2,4,2] = conv1d(x.part, one)
            return y""",
        ),
    ],
    ids=["causal", "dilated", "padding that remains", "steps", "both sides", "one tap"],
)
def test_a_convolution_computes_what_is_read(before: str, after: str) -> None:
    log = becomes(Narrow(), before, after, SEQUENCE)
    assert log.survivor("h") == "y"
    (rewrite,) = log.rewrites
    assert rewrite.node == "h"
    assert rewrite.what.endswith("positions, as 'y'")


def test_readers_of_different_parts_share_their_hull() -> None:
    """A residual block: its convolution reads three steps of its input, its sum the last one."""
    becomes(
        Narrow(),
        f"""g: f64[2,4,32] = conv1d(x, v, padding=(2, 0))
        r: f64[2,4,32] = relu(g)
        n: f64[2,4,32] = conv1d(r, w, padding=(8, 0), dilation=(4,))
        h: f64[2,4,32] = add(n, r)
        {LAST}""",
        """x.part: f64[2,4,11] = slice(x, dim=2, start=21)
        g.part: f64[2,4,3] = conv1d(x.part, v, stride=(4,))
        r.part: f64[2,4,3] = relu(g.part)
        n.part: f64[2,4,1] = conv1d(r.part, w)
        r.part.2: f64[2,4,1] = slice(r.part, dim=2, start=2)
        y: f64[2,4,1] = add(n.part, r.part.2)
        return y""",
        SEQUENCE,
    )


def test_slices_of_both_dimensions_meet_in_one_window() -> None:
    becomes(
        Narrow(),
        """h: f64[1,2,12,10] = conv2d(x, k, padding=(1, 1, 1, 1))
        p: f64[1,2,6,5] = max_pool2d(h, kernel_size=(2, 2), stride=(2, 2))
        r: f64[1,2,2,5] = slice(p, dim=2, start=4)
        y: f64[1,2,2,3] = slice(r, dim=3, stop=3)
        return y""",
        """x.part: f64[1,2,5,10] = slice(x, dim=2, start=7)
        x.part.2: f64[1,2,5,7] = slice(x.part, dim=3, stop=7)
        h.part: f64[1,2,4,6] = conv2d(x.part.2, k, padding=(0, 1, 1, 0))
        y: f64[1,2,2,3] = max_pool2d(h.part, kernel_size=(2, 2), stride=(2, 2))
        return y""",
        IMAGE,
    )


def test_a_pad_that_nobody_reads_goes() -> None:
    becomes(
        Narrow(),
        f"""g: f64[2,4,32] = conv1d(x, one)
        p: f64[2,4,36] = pad(g, padding=(4, 0), value=1.0)
        h: f64[2,4,34] = conv1d(p, w)
        {LAST}""",
        """x.part: f64[2,4,3] = slice(x, dim=2, start=29)
        g.part: f64[2,4,3] = conv1d(x.part, one)
        y: f64[2,4,1] = conv1d(g.part, w)
        return y""",
        SEQUENCE,
    )


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (f"h: f64[2,4,32] = conv1d(x, one)\n{LAST}, h", "'h' is an output of the graph [h]"),
        (
            f"h: f64[2,4,32] = conv1d(x, one)\ng: f64[2,4,1] = mean(h, dim=(2,), keepdim=True)\n"
            f"{LAST}, g",
            "'h' is also read by g, in all as a whole [g]",
        ),
        (
            f"h: f64[2,4,32] = softmax(x, dim=2)\n{LAST}",
            "softmax 'h' computes all of its value or nothing [h]",
        ),
        (
            f"h: f64[2,4,32] = add(x, each)\n{LAST}",
            "add 'h' computes all of its value or nothing [h]",
        ),
        (
            """h: f64[2,4,16] = max_pool1d(x, kernel_size=(2,), stride=(2,), ceil_mode=True)
            y: f64[2,4,1] = slice(h, dim=2, start=-1)
            return y""",
            "max_pool1d 'h' computes all of its value or nothing [h]",
        ),
        (
            """h: f64[2,4,40] = conv1d(x, one, padding=(8, 0))
            y: f64[2,4,4] = slice(h, dim=2, stop=4)
            return y""",
            "conv1d 'h' computes all of its value or nothing [h]",
        ),
    ],
    ids=["output", "read elsewhere", "whole", "constant", "ceil mode", "padding alone"],
)
def test_what_has_to_be_computed_in_full_is(body: str, reason: str) -> None:
    assert declines(Narrow(), body, SEQUENCE) == [f"narrow: y: {reason}"]


def test_a_function_of_a_value_that_is_there_stays_in_its_kernel() -> None:
    body = f"""g: f64[2,4,32] = conv1d(x, one)
        h: f64[2,4,32] = relu(g)
        {LAST}, g"""
    (reason,) = declines(Narrow(), body, SEQUENCE)
    assert "is computed in full" in reason


def test_other_dimensions_are_not_looked_at() -> None:
    body = "h: f64[2,4,32] = conv1d(x, one)\ny: f64[2,1,32] = slice(h, dim=1, stop=1)\nreturn y"
    assert declines(Narrow(), body, SEQUENCE) == []


def drawn(seed: int) -> Graph:
    """Convolutions, pools, pads, functions and sums of sequences, of which slices are read."""
    rng = Random(seed)
    size = rng.randint(20, 40)
    lines, values = [], [("x", size)]

    def add(op: str, length: int) -> None:
        values.append((f"n{len(values)}", length))
        lines.append(f"{values[-1][0]}: f64[2,4,{length}] = {op}")

    for _ in range(rng.randint(3, 9)):
        name, length = rng.choice(values[-3:])
        kind = rng.choice(["conv", "conv", "pool", "pad", "relu", "sum", "slice"])
        before, after, stride, spread = (rng.randint(low, 3) for low in (0, 0, 1, 1))
        span = 2 * spread + 1
        if kind == "conv" and length + before + after >= span:
            count = (length + before + after - span) // stride + 1
            numbers = f"stride=({stride},), padding=({before}, {after}), dilation=({spread},)"
            add(f"conv1d({name}, w, {numbers})", count)
        elif kind == "pool" and length > 3:
            op = rng.choice(["max", "avg"])
            sides = f"padding=({before % 3}, {after % 3})"
            count = (length + before % 3 + after % 3 - 3) // stride + 1
            add(f"{op}_pool1d({name}, kernel_size=(3,), stride=({stride},), {sides})", count)
        elif kind == "pad":
            add(f"pad({name}, padding=({before}, {after}), value=0.5)", length + before + after)
        elif kind == "relu":
            add(f"{rng.choice(['tanh', 'sigmoid'])}({name})", length)
        elif kind == "sum":
            others = [other for other, n in values if n == length]
            add(f"add({name}, {rng.choice(others)})", length)
        elif kind == "slice" and length > 2:
            start, step = rng.randrange(length - 1), rng.randint(1, 3)
            stop = rng.randint(start + 1, length)
            count = len(range(start, stop, step))
            add(f"slice({name}, dim=2, start={start}, stop={stop}, step={step})", count)
    name, length = values[-1]
    add(f"slice({name}, dim=2, start={length // 2}, step=2)", -(-(length - length // 2) // 2))
    ends = {values[-1][0], rng.choice(values[1:])[0]}
    body = "\n".join([*lines, f"return {', '.join(sorted(ends))}"])
    return graph(body, f"input x: f64[2,4,{size}]\nparam w: f64[4,4,3]")


@pytest.mark.parametrize("seed", range(300))
def test_drawn_sequences_keep_their_outputs(seed: int) -> None:
    given, log = drawn(seed), CompileLog()
    after = run_passes(given, (Narrow(),), log)
    arrays = inputs(given)
    old, new = evaluate(given, arrays), evaluate(after, arrays)
    for name, renamed in zip(given.outputs, after.outputs, strict=True):
        assert np.allclose(new[renamed], old[name], rtol=1e-12, atol=1e-12)
    again = CompileLog()
    assert Narrow().run(after, again) == after
    assert again.rewrites == []
    for node in given.nodes:
        survivor = log.survivor(node.name)
        assert after.defines(survivor)
        assert prod(after.type_of(survivor).shape) <= prod(node.type.shape)


def macs(given: Graph) -> int:
    return sum(node_cost(node, given).macs for node in given.nodes)


def test_a_temporal_network_computes_the_cone_of_its_last_step() -> None:
    given = tcn()
    after = run_passes(given, default_pipeline(fuse=False), CompileLog())
    assert (macs(given), macs(after)) == (51_607_050, 6_976_625)
