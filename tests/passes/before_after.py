"""Passes as text in, text out."""

from __future__ import annotations

import numpy as np

from graphcnn.ir import CompileLog, Graph, evaluate, parse, verify, with_he_weights
from graphcnn.passes import Pass
from tests.strategies import inputs

SOURCES = """
  input x: f64[1,4,8,8]
  input r: f64[1,4,8,8]
  param w: f64[4,4,3,3]
  param v: f64[4,4,1,1]
  param b: f64[4]
  param c: f64[4,1,1]
  param m: f64[4]
  param q.var: f64[4]
  param s.weight: f64[4]
  param t: f64[4]
"""


def graph(body: str, sources: str = SOURCES) -> Graph:
    """A graph with seeded weights; the params that its body does not read are left out."""
    return with_he_weights(parse(f"graph g {{\n{sources}\n{body}\n}}").replace())


def becomes(
    step: Pass, before: str | Graph, after: str, sources: str = SOURCES, more: str = ""
) -> CompileLog:
    """Check that a pass makes `after` of `before`, and that the outputs are equal in float64.

    `more` declares params that only the result has.
    """
    given = graph(before, sources) if isinstance(before, str) else before
    wanted = parse(f"graph g {{\n{sources}\n{more}\n{after}\n}}").replace()
    log = CompileLog()
    result = step.run(given, log)
    verify(result)
    assert (result.inputs, result.nodes, result.outputs) == (
        wanted.inputs,
        wanted.nodes,
        wanted.outputs,
    ), f"{result}\nis not\n{wanted}"
    assert set(result.params) == set(wanted.params)
    arrays = inputs(given)
    old, new = evaluate(given, arrays), evaluate(result, arrays)
    for name, renamed in zip(given.outputs, result.outputs, strict=True):
        assert np.ptp(old[name]) > 0
        assert np.abs(new[renamed] - old[name]).max() <= 1e-13 * np.abs(old[name]).max()
    return log


def declines(step: Pass, body: str | Graph, sources: str = SOURCES) -> list[str]:
    """Check that a pass changes nothing, and return its reasons."""
    given = graph(body, sources) if isinstance(body, str) else body
    log = CompileLog()
    assert step.run(given, log) == given
    assert log.rewrites == []
    return [str(refusal) for refusal in log.refusals]
