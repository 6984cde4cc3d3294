"""The Given and Result of each pass's docstring are true."""

from __future__ import annotations

import inspect
import re

import pytest

from graphcnn.ir import CompileLog, parse, with_he_weights
from graphcnn.passes import PASSES

GRAPH = re.compile(r"(?:Given|Result):\n(    graph .*?\n    })", re.DOTALL)


@pytest.mark.parametrize("name", PASSES)
def test_given_becomes_result(name: str) -> None:
    before, after = GRAPH.findall(inspect.getdoc(PASSES[name]) or "")
    log = CompileLog()
    assert PASSES[name]().run(with_he_weights(parse(before)), log) == parse(after)
    assert log.rewrites
