"""Concats without a kernel: what is written in place, and what is copied with which reason."""

import random
from dataclasses import replace

import pytest

import graphcnn as gx
from graphcnn.errors import SanitizerFault
from graphcnn.ir import CompileLog, parse, with_he_weights
from graphcnn.models.densenet import densenet121
from graphcnn.models.squeezenet import squeezenet1_1
from graphcnn.models.unet import unet, unet_bilinear, unet_bn
from graphcnn.ops import Amax, Amin, Sum
from graphcnn.passes import default_pipeline, run_passes
from graphcnn.plan import Buffer, Location, Plan
from graphcnn.plan.memory import check_sharing
from graphcnn.report import explain
from graphcnn.runtime.boundary import example_inputs
from graphcnn.runtime.compiled import CompiledModel
from graphcnn.targets import resolve, triton
from tests import networks
from tests.stepwise import check_model


def graph(*lines, outputs="y"):
    head = ("input x: f32[2,8,6,4]", "param p: f32[2,8,6,4]", "a: f32[2,8,6,4] = relu(x)")
    text = "\n".join((*head, *lines, f"return {outputs}"))
    return with_he_weights(parse(f"graph g {{\n{text}\n}}"))


def lower(source):
    return resolve("triton", "cpu").lower(source)


IN_PLACE = {
    "channels": (
        "b: f32[2,8,6,4] = sigmoid(x)",
        "c: f32[2,16,6,4] = concat(a, b)",
        "y: f32[2,16,6,4] = tanh(c)",
    ),
    "rows": (
        "b: f32[2,8,6,4] = sigmoid(x)",
        "c: f32[2,8,12,4] = concat(a, b, dim=2)",
        "y: f32[2,8,12,4] = tanh(c)",
    ),
    "samples": (
        "b: f32[2,8,6,4] = sigmoid(x)",
        "c: f32[4,8,6,4] = concat(a, b, dim=0)",
        "y: f32[4,8,6,4] = tanh(c)",
    ),
    "an output of the graph, which is row by row": (
        "b: f32[2,8,6,4] = sigmoid(x)",
        "y: f32[2,16,6,4] = concat(a, b)",
    ),
    "parts that others read, and one that is made of another": (
        "b: f32[2,8,6,4] = sigmoid(a)",
        "c: f32[2,16,6,4] = concat(a, b)",
        "d: f32[2,8,6,4] = mul(a, b)",
        "e: f32[2,24,6,4] = concat(d, c)",
        "y: f32[2,24,6,4] = tanh(e)",
    ),
}


@pytest.mark.cpu
@pytest.mark.parametrize("sanitize", [False, True])
@pytest.mark.parametrize("lines", IN_PLACE.values(), ids=IN_PLACE)
def test_operands_are_written_in_place(lines, sanitize, monkeypatch):
    if sanitize:
        monkeypatch.setenv("GRAPHCNN_SANITIZE", "1")
    source = graph(*lines)
    model = gx.compile(source, device="cpu", passes=())
    assert model.log.refusals == []
    assert "copy" not in [step.label for step in model.plan.steps]
    assert len(model.plan.steps) == sum(node.op.name != "concat" for node in source.nodes)
    check_model(model, example_inputs(source))
    told = {gone.name: gone.because for gone in explain(model).vanished}
    assert all("another name for the memory of" in because for because in told.values())
    assert set(told) == {node.name for node in source.nodes if node.op.name == "concat"}


REFUSED = {
    "an input": (["y: f32[2,16,6,4] = concat(a, x)"], "x", "it is an input of the graph"),
    "a param": (["y: f32[2,16,6,4] = concat(p, a)"], "p", "it is a param"),
    "an output": (
        ["c: f32[2,16,6,4] = concat(a, b)", "y: f32[2,16,6,4] = tanh(c)"],
        "b",
        "the caller reads it as well",
    ),
    "twice": (
        ["c: f32[2,16,6,4] = concat(a, a)", "y: f32[2,16,6,4] = tanh(c)"],
        "a",
        "it is a part of 'c' already",
    ),
    "in two concats": (
        [
            "c: f32[2,16,6,4] = concat(b, a)",
            "d: f32[2,24,6,4] = concat(a, c)",
            "y: f32[2,24,6,4] = tanh(d)",
        ],
        "a",
        "it is a part of 'd' already",
    ),
    "a view": (
        ["d: f32[2,8,6,4] = dropout(a)", "y: f32[2,16,6,4] = concat(d, b)"],
        "d",
        "'d' is another name for its memory, which then has no gaps",
    ),
    "viewed": (
        [
            "f: f32[2,192] = flatten(a)",
            "c: f32[2,16,6,4] = concat(a, b)",
            "y: f32[2,16,6,4] = tanh(c)",
        ],
        "a",
        "'f' is another name for its memory, which then has no gaps",
    ),
    "another order": (
        ["c: f32[2,8,6,4] = tanh(a)", "y: f32[2,16,6,4] = concat(a, c)"],
        "a",
        "c reads it in another order than 'y' lies in",
    ),
    "another order, through a view": (
        [
            "s: f32[2,4,6,4] = slice(a, dim=1, start=4)",
            "c: f32[2,4,6,4] = tanh(s)",
            "y: f32[2,12,6,4] = concat(a, c)",
        ],
        "a",
        "c reads it in another order than 'y' lies in",
    ),
    "no vectors": (
        [
            "m: f32[2,1,6,4] = mean(a, dim=(1,), keepdim=True)",
            "c: f32[2,9,6,4] = concat(a, m)",
            "t: f32[2,8,6,4] = tanh(a)",
            "y: f32[2,9,6,4] = tanh(c)",
        ],
        "a",
        "m and t read it 16 bytes at a time, and in 'c' its rows start at multiples of 4 only",
    ),
}


@pytest.mark.cpu
@pytest.mark.parametrize("sanitize", [False, True])
@pytest.mark.parametrize(("lines", "name", "because"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_written_in_place_is_copied_and_told(
    lines, name, because, sanitize, monkeypatch
):
    if sanitize:
        monkeypatch.setenv("GRAPHCNN_SANITIZE", "1")
    source = graph("b: f32[2,8,6,4] = sigmoid(x)", *lines, outputs="y, b")
    model = gx.compile(source, device="cpu", passes=())
    reasons = [r for r in model.log.refusals if r.rule == "in place" and r.blame == (name,)]
    assert [r.because for r in reasons] == [f"'{name}' is copied: {because}"]
    node = model.graph[reasons[0].node]
    copies = [step for step in model.plan.steps if step.node == node.name]
    assert len(copies) == sum(r.node == node.name for r in model.log.refusals)
    assert {step.label for step in copies} == {"copy"}
    check_model(model, example_inputs(source))


CROP = (
    "r: f32[2,8,5,4] = slice(a, dim=2, start=1)",
    "s: f32[2,8,5,2] = slice(r, dim=3, start=1, stop=3)",
    "p1: f32[2,8,3,2] = max_pool2d(a, kernel_size=(2, 2), stride=(2, 2))",
    "b: f32[2,4,5,2] = avg_pool2d(x4, kernel_size=(2, 3), stride=(1, 1))",
    "c: f32[2,12,5,2] = concat({})",
    "t: f32[2,12,5,2] = tanh(c)",
)


@pytest.mark.cpu
@pytest.mark.parametrize("order", ["s, b", "b, s"])
@pytest.mark.parametrize("sanitize", [False, True])
def test_a_crop_stays_in_what_it_is_cut_from(order, sanitize, monkeypatch):
    """As in the paper's U-Net: the concat lies in the middle of the larger maps."""
    if sanitize:
        monkeypatch.setenv("GRAPHCNN_SANITIZE", "1")
    lines = "\n".join(CROP).format(order)
    source = graph("x4: f32[2,4,6,4] = slice(x, dim=1, stop=4)", lines, outputs="t, p1")
    model = gx.compile(source, device="cpu", passes=())
    assert model.log.refusals == []
    assert [step.label for step in model.plan.steps] == ["relu", "max_pool2d", "avg_pool2d", "tanh"]
    where = model.plan.locations
    assert {where[name].buffer.name for name in "arsbc"} == {"c"}
    assert where["a"].strides == where["c"].strides == (6 * 4 * 12, 1, 4 * 12, 12)
    check_model(model, example_inputs(source))


CROPS = {
    "of an input": ("s: f32[2,8,5,4] = slice(x, dim=2, start=1)", "it is an input of the graph"),
    "of what lies elsewhere": (
        "k: f32[2,8,5,4] = slice(a, dim=2, start=1)\n"
        "s: f32[2,8,5,4] = slice(a, dim=2, stop=5)\n"
        "u: f32[2,16,5,4] = concat(b, k)\nv: f32[2,16,5,4] = exp(u)",
        "it is a part of 'c' already",
    ),
    "of channels": (
        "k: f32[2,16,6,4] = concat(a, x)\nl: f32[2,16,6,4] = exp(k)\n"
        "m: f32[2,8,6,4] = slice(l, dim=1, start=8)\ns: f32[2,8,5,4] = slice(m, dim=2, stop=5)",
        "'c' does not lie in the middle of 'l'",
    ),
    "by steps": (
        "k: f32[2,8,10,4] = concat(a, b, dim=2)\nl: f32[2,8,11,4] = pad(k, padding=(0, 0, 1, 0))\n"
        "s: f32[2,8,5,4] = slice(l, dim=2, stop=10, step=2)",
        "it is another name for the memory of 'l'",
    ),
}


@pytest.mark.cpu
@pytest.mark.parametrize(("lines", "because"), CROPS.values(), ids=CROPS)
def test_other_crops_are_copied(lines, because):
    source = graph(
        "b: f32[2,8,5,4] = max_pool2d(x, kernel_size=(2, 1), stride=(1, 1))",
        lines.replace("concat(a, b, dim=2)", "concat(b, b, dim=2)"),
        "c: f32[2,16,5,4] = concat(s, b)",
        "y: f32[2,16,5,4] = tanh(c)",
        outputs="y, v" if "v:" in lines else "y",
    )
    model = gx.compile(source, device="cpu", passes=())
    (refusal,) = (r for r in model.log.refusals if r.blame in (("s",), ("k",)) and r.node != "k")
    assert refusal.because == f"'{refusal.blame[0]}' is copied: {because}"
    check_model(model, example_inputs(source))


@pytest.mark.cpu
@pytest.mark.parametrize("sanitize", [False, True])
@pytest.mark.parametrize("at", [0, 1, 3])
def test_a_crop_of_a_single_channel(at, sanitize, monkeypatch):
    """Its channels and its last dimension have the same stride."""
    monkeypatch.setenv("GRAPHCNN_SANITIZE", str(int(sanitize)))
    source = parse(
        "graph g {\ninput x: f32[2,1,9]\na: f32[2,1,9] = relu(x)\nb: f32[2,1,6] = "
        "max_pool1d(x, kernel_size=(4,), stride=(1,))\n"
        f"s: f32[2,1,6] = slice(a, dim=2, start={at}, stop={at + 6})\n"
        "c: f32[2,2,6] = concat(s, b)\ny: f32[2,2,6] = tanh(c)\nreturn y\n}"
    )
    model = gx.compile(source, device="cpu", passes=())
    check_model(model, example_inputs(source))


@pytest.mark.cpu
def test_a_concat_does_not_grow_to_the_size_of_a_map_that_a_crop_is_cut_from():
    source = parse(
        "graph g {\ninput x: f32[1,4,64,64]\ninput z: f32[1,60,8,8]\n"
        "a: f32[1,4,64,64] = relu(x)\nb: f32[1,60,8,8] = relu(z)\n"
        "s: f32[1,4,8,64] = slice(a, dim=2, stop=8)\nt: f32[1,4,8,8] = slice(s, dim=3, stop=8)\n"
        "c: f32[1,64,8,8] = concat(t, b)\ny: f32[1,64,8,8] = tanh(c)\nreturn y\n}"
    )
    plan = gx.compile(source, device="cpu", passes=()).plan
    assert plan.arena_bytes < 4 * 2 * (2 * 4 * 64 * 64 + 2 * 64 * 8 * 8)


def test_five_dimensions_are_copied():
    x = gx.input("x", (2, 3, 2, 3, 4))
    y = gx.concat([gx.relu(x, name="a"), gx.sigmoid(x, name="b")], dim=3)
    lowered = lower(gx.graph("g", y))
    assert [step.label for step in lowered.steps] == ["relu", "sigmoid", "copy", "copy"]
    assert "kernels run over 5 dimensions where they have no gaps alone" in str(lowered.refusals[0])


def test_a_concat_of_concats_lies_in_the_buffer_of_the_last():
    """As in a DenseNet, whose features grow: each concat is the beginning of the next."""
    h = gx.relu(gx.input("x", (1, 8, 32, 32)), name="h0")
    for layer in range(1, 5):
        new = networks.conv(h, f"new{layer}", 4, 3)
        h = gx.concat([h, new], name=f"h{layer}")
    lowered = lower(gx.graph("g", gx.tanh(h, name="y")))
    assert lowered.refusals == ()
    assert "copy" not in [step.label for step in lowered.steps]
    for layer in range(5):
        assert lowered.locations[f"h{layer}"].buffer == Buffer("h4")
        assert lowered.locations[f"h{layer}"].strides == lowered.locations["h4"].strides
    starts = [lowered.locations[f"new{layer}"].buffer for layer in range(1, 5)]
    assert starts == [Buffer("h4", channel) for channel in (8, 12, 16, 20)]
    # Minimal filtering works in memory of its own.
    scratch = {f"new{layer}@scratch" for layer in range(1, 5)}
    assert lowered.buffers.keys() == {"x", "h4", "y"} | scratch


@pytest.mark.cpu
def test_a_library_call_writes_its_part_alone(monkeypatch):
    monkeypatch.setenv("GRAPHCNN_SANITIZE", "1")
    for op in (Amax, Amin, Sum):
        monkeypatch.delitem(triton.TABLE, op)
    source = graph(
        "m: f32[2,8,6,1] = mean(a, dim=(3,), keepdim=True)",
        "n: f32[2,8,6,1] = amax(a, dim=(3,), keepdim=True)",
        "c: f32[2,16,6,1] = concat(m, n)",
        "y: f32[2,16,6,1] = tanh(c)",
    )
    model = gx.compile(source, device="cpu", passes=())
    assert [step.label for step in model.plan.steps][1:3] == ["library mean", "library amax"]
    check_model(model, example_inputs(source))
    made = CompiledModel(model.source, model.graph, model.target, model.log)
    made.plan = replace(model.plan, steps=(*model.plan.steps[:2], *model.plan.steps[3:]))
    with pytest.raises(SanitizerFault, match="nothing wrote"):
        made(**example_inputs(source))


def test_values_across_each_other_are_a_fault():
    lowered = lower(graph(*IN_PLACE["channels"]))
    places = dict(lowered.locations)
    check_sharing(Plan(lowered.steps, places, (), 0, ()))
    b = places["b"]
    places["b"] = Location(Buffer("c", b.buffer.offset - 1), b.type, b.strides)
    with pytest.raises(SanitizerFault, match=r"'[ab]' and '[ab]' lie across") as caught:
        check_sharing(Plan(lowered.steps, places, (), 0, ()))
    assert caught.value.got == "48 elements of both"


def concats(draw, depth):
    """A graph that puts values side by side in every way."""
    values = [gx.input("x", (1, 4, 6, 4)), gx.input("z", (1, 4, 6, 4))]
    for number in range(depth):
        kind, name = draw.randrange(4), f"v{number}"
        some = [draw.choice(values) for _ in range(draw.randint(1, 3))]
        if kind == 0:
            made = gx.concat(some, name=name)
        elif kind == 1:
            made = gx.max_pool2d(some[0], 3, 1, 1, name=name)
        elif kind == 2:
            made = gx.relu(some[0], name=name)
        else:
            made = networks.conv(some[0], name, draw.choice((2, 4)), 3)
        values.append(made)
    some = draw.sample(values[2:], 2) + values[-1:]
    return gx.graph("drawn", list(dict.fromkeys(some)))


@pytest.mark.cpu
@pytest.mark.parametrize("seed", range(6))
def test_drawn_concats_under_the_sanitizer(seed, monkeypatch):
    monkeypatch.setenv("GRAPHCNN_SANITIZE", "1")
    source = with_he_weights(concats(random.Random(seed), 9))
    for fuse in (True, False):
        model = gx.compile(source, device="cpu", fuse=fuse)
        check_model(model, example_inputs(source))


@pytest.mark.parametrize("make", [unet, unet_bn, unet_bilinear, densenet121, squeezenet1_1])
def test_built_in_networks_copy_nothing(make):
    target = resolve("triton", "cpu")
    lowered = target.lower(run_passes(make(), default_pipeline(target.supports), CompileLog()))
    assert "copy" not in [step.label for step in lowered.steps]
