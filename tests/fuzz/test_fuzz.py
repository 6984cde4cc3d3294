"""A sample of every campaign, and that a campaign finds what is planted and says where."""

import sys
from dataclasses import replace

import pytest

from graphcnn.ir import Op
from graphcnn.ops import BatchNorm
from graphcnn.passes import Canonicalize
from tests.fuzz.__main__ import CAMPAIGNS, main
from tests.fuzz.drawing import drawn

SAMPLE = {"graphs": 400, "compiled": 1, "texts": 400, "files": 150, "calls": 300}


@pytest.mark.parametrize("campaign", CAMPAIGNS)
def test_a_sample(campaign):
    outcomes = {CAMPAIGNS[campaign](seed) for seed in range(SAMPLE[campaign])}
    assert len(outcomes) > 3 or campaign == "compiled"
    assert not [outcome for outcome in outcomes if outcome.startswith("no remedy")]


def test_the_drawn_graphs_hold_every_operator_and_dtype():
    some = [drawn(seed) for seed in range(1500)]
    used = {node.op.name for graph in some for node in graph.nodes}
    # Drawn values are floats, which go on into any other operator.
    whole = {"argmax", "embedding", "gather", "one_hot"}
    assert used == set(Op.registry) - {"fused"} - whole
    assert len({value.type.dtype for graph in some for value in graph.inputs}) == 4


def test_an_eps_that_a_pass_moves_by_a_thousandth_is_found(monkeypatch, capsys):
    right = Canonicalize.run

    def wrong(self, graph, log):
        made = right(self, graph, log)
        moved = BatchNorm(eps=1.001e-5)
        nodes = (replace(n, op=moved) if n.op == BatchNorm() else n for n in made.nodes)
        return made.replace(nodes=tuple(nodes))

    monkeypatch.setattr(Canonicalize, "run", wrong)
    monkeypatch.setattr(sys, "argv", ["fuzz", "graphs", "--count", "200"])
    assert main() == 1
    told = capsys.readouterr().out
    assert "--- graphs --seed " in told
    # The smallest part that fails as well; and how much is off.
    assert "batch_norm(" in told
    assert "+-" in told


def test_a_campaign_without_a_failure_ends_well(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["fuzz", "texts", "--count", "3", "--seed", "5"])
    assert main() == 0
    assert "texts: 3 cases, 0 failed" in capsys.readouterr().out
