"""Faults planted in plans, which the sanitizer sees though every buffer has memory of its own."""

import re
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

import graphcnn as gx
from graphcnn.analysis import LiveRange
from graphcnn.errors import SanitizerFault
from graphcnn.runtime.boundary import example_inputs
from graphcnn.runtime.compiled import CompiledModel
from tests.runtime.small_networks import mixed, small


@pytest.fixture(autouse=True)
def sanitizer(monkeypatch):
    monkeypatch.setenv("GRAPHCNN_SANITIZE", "1")


def spoilt(model, **changes):
    """The model with another plan, not bound to memory yet."""
    made = CompiledModel(model.source, model.graph, model.target, model.log)
    made.plan = replace(model.plan, **changes)
    return made


def run(model):
    return model(**example_inputs(model.graph))


@pytest.mark.parametrize("make", [small, mixed])
def test_every_pair_of_live_buffers_at_one_place_is_a_fault(make):
    model = gx.compile(make(), device="cpu", fuse=False)
    run(model)
    slots = model.plan.slots
    for first, second in combinations(slots, 2):
        alive = LiveRange(first.first, first.last).overlaps(LiveRange(second.first, second.last))
        if not alive or first.offset == second.offset:  # the latter work in place
            continue
        moved = tuple(replace(s, offset=first.offset) if s is second else s for s in slots)
        end = max(slot.offset + slot.nbytes for slot in moved)
        with pytest.raises(SanitizerFault) as caught:
            run(spoilt(model, slots=moved, arena_bytes=end))
        text = str(caught.value)
        assert first.name in text or second.name in text or "race" in text, text


def launches(model, edit):
    return tuple(replace(step, launch=edit(step)) for step in model.plan.steps)


def test_an_output_that_no_kernel_wrote_is_named():
    model = gx.compile(small(), device="cpu")
    *before, last = model.plan.steps
    with pytest.raises(SanitizerFault, match="'fc' holds elements that no kernel stored") as caught:
        run(spoilt(model, steps=(*before[:-1], replace(last, work=before[0].work))))
    assert caught.value.got == "10 of 10 elements, the first at [0, 0]"
    assert "at node 'fc'" in caught.value.where


def test_a_fault_of_a_kernel_names_its_node_and_line():
    model = gx.compile(small(), device="cpu")
    _, *rest = model.plan.steps
    with pytest.raises(SanitizerFault, match="nothing wrote") as caught:
        run(spoilt(model, steps=tuple(rest)))
    assert re.search(rf"\w+\.py:\d+, at node '{rest[0].node}'$", caught.value.where)


def test_a_part_of_an_output_that_no_kernel_wrote_is_named():
    x = gx.input("x", (2, 3, 4, 5))
    y = gx.concat([gx.relu(x), gx.sigmoid(x)], dim=1, name="y")
    model = gx.compile(gx.graph("g", y), device="cpu", fuse=False)
    steps = model.plan.steps
    assert [step.label for step in steps] == ["relu", "sigmoid"]
    run(model)
    with pytest.raises(SanitizerFault, match="'y' holds elements that no kernel") as caught:
        run(spoilt(model, steps=steps[:-1]))
    assert caught.value.got == "120 of 240 elements, the first at [0, 3, 0, 0]"


def test_a_grid_that_is_too_small_is_seen():
    model = gx.compile(gx.graph("g", gx.relu(gx.input("x", (1, 3, 64, 64)))), device="cpu")
    (step,) = model.plan.steps
    assert np.prod(step.work.grid) > 1
    short = replace(step, work=step.work._replace(grid=(1, 1, 1)))
    with pytest.raises(SanitizerFault, match="no kernel stored"):
        run(spoilt(model, steps=(short,)))
