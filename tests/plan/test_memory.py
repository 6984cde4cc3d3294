"""The arena: plans are run on a model of memory whose every byte knows what it holds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphcnn as gx
from graphcnn.compiler import optimize
from graphcnn.ir import CompileLog, TensorType
from graphcnn.plan import Arithmetic, Buffer, Location, Lowered, Plan, Step, plan_memory
from graphcnn.plan.memory import ALIGNMENT
from graphcnn.runtime.compiled import CompiledModel
from graphcnn.targets import resolve

EXACT = Arithmetic(0.0)


def step(reads, writes, in_place=False):
    return Step(f"to_{writes[0]}", "kernel", None, tuple(reads), tuple(writes), EXACT, in_place)


def plan(steps, sizes, inputs=("x",), outputs=()):
    return plan_memory(Lowered(tuple(steps), {}, sizes, ()), tuple(inputs), tuple(outputs))


def place(plan, name):
    return next(slot for slot in plan.slots if slot.name == name)


@st.composite
def programs(draw):
    """Steps that read what is there and write new buffers, now and then one in two parts."""
    size = st.sampled_from([1, 2, 64, 255, 256, 257, 300, 300, 1000])
    sizes = {f"x{i}": draw(size) for i in range(draw(st.integers(1, 3)))}
    inputs = tuple(sizes)
    steps = []
    for index in range(draw(st.integers(0, 12))):
        reads = draw(st.lists(st.sampled_from(list(sizes)), min_size=1, max_size=3))
        writes = [f"v{index}"] + [f"w{index}"] * draw(st.integers(0, 1))
        alike = draw(st.booleans())
        sizes |= {name: sizes[reads[0]] if alike else draw(size) for name in writes}
        steps.append(step(reads, writes, draw(st.booleans())))
        if draw(st.integers(0, 4)) == 0:
            more = draw(st.lists(st.sampled_from(list(sizes)), min_size=1, max_size=2))
            steps.append(step([n for n in more if n != writes[0]], writes[:1]))
    outputs = draw(st.lists(st.sampled_from(list(sizes)), max_size=3, unique=True))
    return steps, sizes, inputs, tuple(outputs)


def run_on_paper(plan: Plan, inputs, outputs):
    """Follow every byte: what a step reads must still be there, and so must the outputs."""
    memory = np.zeros(plan.arena_bytes, np.int32)
    slots = {slot.name: slot for slot in plan.slots}
    marks = {name: number for number, name in enumerate(slots, 1)}

    def of(name):
        return memory[slots[name].offset :][: slots[name].nbytes]

    for name in inputs:
        of(name)[:] = marks[name]
    written = set(inputs)
    for index, now in enumerate(plan.steps):
        for name in (*now.reads, *(written & set(now.writes))):
            assert (of(name) == marks[name]).all(), f"step {index} finds {name} overwritten"
        for name in now.writes:
            for read in now.reads:
                shares = np.shares_memory(of(name), of(read)) and name != read
                if shares:
                    assert now.in_place
                    assert (read, name) == (now.reads[0], now.writes[0])
                    assert slots[read].offset == slots[name].offset
                    assert now.reads.count(read) == 1
            of(name)[:] = marks[name]
        written |= set(now.writes)
    for name in outputs:
        assert (of(name) == marks[name]).all(), f"output {name} was overwritten"


@settings(max_examples=400, deadline=None, derandomize=True)
@given(programs())
def test_random_programs(program):
    steps, sizes, inputs, outputs = program
    planned = plan(steps, sizes, inputs, outputs)
    run_on_paper(planned, inputs, outputs)
    used = {name for now in steps for name in (*now.reads, *now.writes)} | set(inputs)
    assert {slot.name for slot in planned.slots} == used | set(outputs)
    for slot in planned.slots:
        assert slot.nbytes == sizes[slot.name]
        assert slot.offset % ALIGNMENT == 0
        assert 0 <= slot.offset <= planned.arena_bytes - slot.nbytes
    alive = [
        sum(slot.nbytes for slot in planned.slots if slot.first <= now <= slot.last)
        for now in range(-1, len(steps) + 1)
    ]
    assert planned.arena_bytes <= sum(
        -(-slot.nbytes // ALIGNMENT) * ALIGNMENT for slot in planned.slots
    )
    if not any(now.in_place for now in steps):
        assert planned.arena_bytes >= max(alive)


def test_the_model_of_memory_sees_an_overlap():
    steps = [step("x", "a"), step("a", "b"), step(("a", "b"), "c")]
    good = plan(steps, dict.fromkeys("xabc", 300), outputs="c")
    clash = [
        slot if slot.name != "b" else type(slot)("b", place(good, "a").offset, 300, 1, 2)
        for slot in good.slots
    ]
    with pytest.raises(AssertionError):
        run_on_paper(Plan(good.steps, {}, tuple(clash), good.arena_bytes, ()), "x", "c")


def test_a_chain_takes_two_buffers():
    steps = [step(a, b) for a, b in zip("xabcd", "abcde", strict=True)]
    planned = plan(steps, dict.fromkeys("xabcde", 1024), outputs="e")
    assert planned.arena_bytes == 2 * 1024


def test_a_chain_in_place_takes_one_buffer():
    steps = [step(a, b, in_place=True) for a, b in zip("xabcd", "abcde", strict=True)]
    planned = plan(steps, dict.fromkeys("xabcde", 1024), outputs="e")
    assert planned.arena_bytes == 1024


SIZES = dict.fromkeys("xabc", 512)


@pytest.mark.parametrize(
    ("steps", "sizes", "outputs"),
    [
        ([step("x", "a"), step("a", "b", True), step("ab", "c")], SIZES, "c"),
        ([step("x", "a"), step("a", "b", True)], SIZES, "ab"),
        ([step("x", "a"), step("a", "b", True)], SIZES | {"b": 256}, "b"),
        ([step("x", "a"), step("a", "b", True)], SIZES | {"b": 1024}, "b"),
        ([step("x", "a"), step("aa", "b", True)], SIZES, "b"),
        ([step("x", "a"), step("x", "b"), step("a", "b", True)], SIZES, "b"),
        ([step("x", "a"), step("a", "b")], SIZES, "b"),
    ],
    ids=[
        "read later",
        "an output",
        "smaller",
        "larger",
        "read twice",
        "written before",
        "not declared",
    ],
)
def test_in_place_only_where_it_is_safe(steps, sizes, outputs):
    planned = plan(steps, sizes, outputs=outputs)
    a, b = place(planned, "a"), place(planned, "b")
    assert a.offset + a.nbytes <= b.offset or b.offset + b.nbytes <= a.offset
    run_on_paper(planned, "x", outputs)


def test_a_value_keeps_its_buffer_alive_and_one_without_takes_none():
    """A call reads values: `flat` lives in the buffer of `a`, `kept` in none."""
    flat = Location(Buffer("a"), TensorType((128,)), (1,))
    steps = [step("x", "a"), step("x", ["b"]), step(["flat"], ["kept"]), step(["kept"], ["c"])]
    lowered = Lowered(tuple(steps), {"flat": flat}, SIZES, ())
    made = plan_memory(lowered, "x", "c")
    assert [slot.name for slot in made.slots] == ["x", "a", "b", "c"]
    assert (place(made, "a").first, place(made, "a").last) == (0, 2)
    assert plan_memory(lowered, "x", ["c", "flat"]).slots[1].last == len(steps)


def test_the_largest_is_placed_first():
    steps = [step("x", "a"), step("a", "b"), step("b", "c")]
    planned = plan(steps, {"x": 256, "a": 4096, "b": 512, "c": 4096}, outputs="c")
    assert place(planned, "a").offset == place(planned, "c").offset == 0


def test_an_empty_plan():
    assert plan([], {}, inputs=()).arena_bytes == 0


def test_a_plan_prints_its_steps_and_addresses():
    type = TensorType((1, 4))
    location = {name: Location(Buffer(name), type, (4, 1)) for name in "xy"}
    steps = (Step("y", "relu", None, ("x",), ("y", "not planned"), EXACT),)
    made = plan_memory(
        Lowered(steps, location, {"x": 16, "y": 16, "not planned": 0}, ()), ("x",), ("y",)
    )
    first, *rest = str(made).splitlines()
    assert first == f"arena {made.arena_bytes} bytes, 1 step"
    x, y = (place(made, name).offset for name in "xy")
    assert rest[:3] == ["  0 y: relu", f"      reads x@{x}+16", f"      writes y@{y}+16"]


def test_the_step_that_needs_the_most_is_placed_first_where_that_takes_less():
    """The largest, `x`, lies at the bottom, and is gone when `a`, `b` and `c` are there."""
    steps = [step("x", "a"), step("a", "b"), step("ab", "c"), step("ac", "d")]
    sizes = {"x": 1280, "a": 1024, "b": 768, "c": 768, "d": 256}
    planned = plan(steps, sizes, outputs="d")
    assert planned.arena_bytes == 1024 + 768 + 768
    run_on_paper(planned, "x", "d")


@pytest.mark.parametrize("network", ["vgg16", "resnet50", "mobilenet_v2", "densenet121", "unet_bn"])
def test_an_arena_is_about_what_is_alive_at_once(network):
    target, log = resolve("triton", "cpu"), CompileLog()
    graph = gx.parse(str(gx.models.build(network)))
    planned = CompiledModel(graph, optimize(graph, target, log), target, log).plan
    alive = [
        sum(slot.nbytes for slot in planned.slots if slot.first <= now <= slot.last)
        for now in range(len(planned.steps))
    ]
    assert planned.arena_bytes <= 1.05 * max(alive)
