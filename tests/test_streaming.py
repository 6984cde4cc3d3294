"""A causal network fed piece by piece makes what it makes of the whole sequence."""

import numpy as np
import pytest
import torch

import graphcnn as gx
from graphcnn import errors, models
from graphcnn.frontend import param
from graphcnn.ir import with_he_weights
from graphcnn.streaming import Stream
from tests.tolerance import F32, assert_within_bounds

RNG = np.random.default_rng(0)
STEPS = 24
PIECES = {"steps": [1] * STEPS, "a piece": [8, 8, 8], "uneven": [1, 5, 13, 1, 4], "all": [STEPS]}


def integers(*shape):
    """Small ones: float32 holds every sum and product of them, in any order of summation."""
    return RNG.integers(-2, 3, shape).astype(np.float32)


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def causal(steps=STEPS, batch=2):
    """Residual blocks, a shared input, channels side by side, and a number per channel."""
    x = gx.input("x", (batch, 3, steps))
    h = gx.relu(gx.conv1d(x, integers(4, 3, 2), integers(4), padding=(1, 0)), name="first")
    for dilation in (1, 3):
        y = gx.conv1d(h, integers(4, 4, 3), padding=(2 * dilation, 0), dilation=dilation)
        z = gx.conv1d(h, integers(4, 2, 3), padding=(2 * dilation, 0), dilation=dilation, groups=2)
        h = gx.add(gx.relu(y) * z, h, name=f"sum{dilation}")
    h = gx.concat([h[:, 1:], gx.conv1d(h, integers(1, 4, 1))]) + integers(4, 1)
    return gx.graph("causal", [h.prelu(integers(4)), gx.relu(h, name="open")])


def streamed(stream: Stream, array, pieces):
    """What comes of an array's pieces, side by side; a dict of arrays."""
    found, start = [], 0
    for steps in pieces:
        found.append(stream(x=array[:, :, start : start + steps]))
        start += steps
    return {name: np.concatenate([piece[name] for piece in found], 2) for name in found[0]}


@pytest.fixture(scope="module", params=["fused", "unfused", "library", "numpy"])
def model(request):
    options = {"fused": {}, "unfused": {"fuse": False}}
    chosen = options.get(request.param, {"target": request.param})
    return gx.compile(causal(), device="cpu", **chosen)


@pytest.mark.parametrize("pieces", PIECES)
def test_pieces_make_the_whole(model, pieces):
    x = integers(2, 3, STEPS)
    whole, stream = model(x=x), gx.stream(model)
    assert list(whole) == list(model.source.outputs)
    for _ in range(2):
        found = streamed(stream, x, PIECES[pieces])
        for name, array in whole.items():
            assert np.ptp(array) > 0
            np.testing.assert_array_equal(found[name], array)
        stream.reset()


def test_a_sequence_may_go_on_for_longer_than_the_model(model):
    x = integers(2, 3, 3 * STEPS)
    found = streamed(gx.stream(model), x, [STEPS - 1, STEPS + 1, STEPS])
    assert {array.shape[2] for array in found.values()} == {3 * STEPS}
    for name, array in streamed(gx.stream(model), x, [3 * STEPS]).items():
        np.testing.assert_array_equal(found[name], array)


def test_a_pad_in_front_is_a_convolutions():
    """As a user of torch writes it; the passes fold it before the network is streamed."""
    x = gx.input("x", (1, 2, STEPS))
    h = gx.relu(gx.conv1d(gx.pad(x, (4, 0)), integers(3, 2, 3), dilation=2))
    model = gx.compile(gx.graph("g", h), device="cpu")
    stream, given = gx.stream(model), integers(1, 2, STEPS)
    found = [stream(x=given[:, :, t : t + 8]) for t in range(0, STEPS, 8)]
    np.testing.assert_array_equal(np.concatenate(found, 2), model(x=given))


def test_a_pad_in_front_is_that_of_two_convolutions():
    x = gx.input("x", (1, 2, STEPS))
    padded = gx.pad(x, (4, 0))
    h = gx.conv1d(padded, integers(3, 2, 3), dilation=2) * gx.conv1d(padded, integers(3, 2, 5))
    model = gx.compile(gx.graph("g", h), device="cpu")
    assert not any(node.op.name == "pad" for node in model.graph.nodes)
    stream, given = gx.stream(model), integers(1, 2, STEPS)
    found = [stream(x=given[:, :, t : t + 8]) for t in range(0, STEPS, 8)]
    np.testing.assert_array_equal(np.concatenate(found, 2), model(x=given))


OVER_CHANNELS = {
    "mean": lambda h: gx.mean(h, 1, True),
    "amax": lambda h: h - gx.amax(h, 1),
    "var": lambda h: gx.relu(gx.mean(h, 1)),
    "argmax": lambda h: gx.argmax(h, 1),
    "unsqueezed": lambda h: gx.conv1d(
        gx.unsqueeze(gx.sum(h, 1), 1), integers(2, 1, 2), padding=(1, 0)
    ),
}


@pytest.mark.parametrize("over", OVER_CHANNELS)
def test_reductions_over_the_channels_are_of_each_step(over):
    x = gx.input("x", (1, 2, STEPS))
    h = gx.conv1d(x, integers(4, 2, 3), padding=(2, 0))
    model = gx.compile(gx.graph("g", OVER_CHANNELS[over](h)), device="cpu")
    stream, given = gx.stream(model), integers(1, 2, STEPS)
    found = [stream(x=given[:, :, t : t + 8]) for t in range(0, STEPS, 8)]
    np.testing.assert_array_equal(np.concatenate(found, -1), model(x=given))


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_a_stream_keeps_the_steps_that_it_needs_and_no_more(kind):
    """Not views of the pieces, however long they were."""
    stream, x = gx.stream(gx.compile(causal(), device="cpu")), integers(2, 3, 500)
    stream(x=x if kind == "numpy" else torch.tensor(x))
    kept = [torch.as_tensor(array).untyped_storage().nbytes() for array in stream._past.values()]
    assert len(kept) == 3
    assert max(kept) == 2 * 4 * 6 * 4  # batch, channels, steps, bytes
    assert all(getattr(array, "base", None) is None for array in stream._past.values())


def test_tensors_and_another_batch():
    model = gx.compile(causal(), device="cpu")
    x = integers(5, 3, STEPS)
    found = streamed(gx.stream(model), torch.tensor(x), [7, 17])
    for name, array in model(x=x).items():
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision(dtype):
    x = gx.input("x", (1, 3, STEPS), dtype)
    h = gx.relu(gx.conv1d(x, integers(2, 3, 2), padding=(1, 0)))
    graph = gx.graph("g", gx.conv1d(h, integers(2, 2, 2), padding=(1, 0), name="y"))
    model = gx.compile(graph, device="cpu")
    stream = gx.stream(model)
    given = integers(1, 3, STEPS).astype("float16" if dtype == "float16" else "float32")
    found = [stream(x=given[:, :, t : t + 6]) for t in range(0, STEPS, 6)]
    np.testing.assert_array_equal(np.concatenate(found, 2), model(x=given))


def test_wavenet_streams_within_its_bound():
    graph = models.wavenet(steps=8, stacks=1, layers=3, seed=1)
    model = gx.compile(graph, device="cpu")
    audio = np.eye(256, dtype=np.float32)[RNG.integers(0, 256, 8)].T[None]
    stream, found, start = gx.stream(model), [], 0
    for steps in (1, 1, 1, 5):
        found.append(stream(audio=audio[:, :, start : start + steps]))
        start += steps
    whole = np.concatenate(found, 2)
    np.testing.assert_allclose(whole.sum(1), 1, rtol=1e-5)
    for got in (whole, model(audio=audio)):
        assert_within_bounds(graph, {"audio": audio}, {"softmax": got}, unit=F32)


@pytest.mark.parametrize("fuse", [True, False])
def test_the_future_does_not_change_the_past_of_wavenet(fuse):
    model = gx.compile(models.wavenet(steps=12, stacks=2, layers=2), device="cpu", fuse=fuse)
    audio = normal(1, 256, 12)
    before = model(audio=audio)
    for t in (0, 5, 10):
        changed = audio.copy()
        changed[:, :, t + 1 :] = normal(1, 256, 11 - t)
        after = model(audio=changed)
        assert after[:, :, : t + 1].tobytes() == before[:, :, : t + 1].tobytes()
        assert (after[:, :, t + 1] != before[:, :, t + 1]).any()


@pytest.mark.parametrize("fuse", [True, False])
def test_a_tcn_tells_after_each_piece_what_it_tells_of_all_until_then(fuse):
    steps = 9
    model = gx.compile(models.tcn(steps=steps, levels=2), device="cpu", fuse=fuse)
    sequence, stream = normal(1, 1, steps), gx.stream(model)
    for start, stop in ((0, 1), (1, 5), (5, 6), (6, 9)):
        got = stream(sequence[:, :, start:stop])
        past = models.tcn(steps=stop, levels=2)
        assert_within_bounds(
            past, {"sequence": sequence[:, :, :stop]}, {"log_softmax": got}, unit=F32
        )


def test_the_future_does_not_change_the_past_of_the_tcn():
    whole = models.tcn(steps=12, levels=2)
    graph = whole.replace(outputs=("level1.relu",))
    model = gx.compile(graph, device="cpu")
    sequence = normal(1, 1, 12)
    before = model(sequence=sequence)
    for t in (0, 5, 10):
        changed = sequence.copy()
        changed[:, :, t + 1 :] = normal(1, 1, 11 - t)
        after = model(sequence=changed)
        assert after[:, :, : t + 1].tobytes() == before[:, :, : t + 1].tobytes()
        assert (after[:, :, t + 1] != before[:, :, t + 1]).any()


def line(*shape):
    return gx.input("x", shape or (1, 2, 9))


def convolved(**options):
    return gx.conv1d(line(), integers(2, 2, 3), **options)


def at_the_end(x):
    return x - gx.slice(x, 2, -1)


LOOKS_AHEAD = {
    "both sides": (lambda: convolved(padding=1), "and all in front (2, 0)"),
    "no padding": (convolved, "its padding is (0, 0)"),
    "too much": (lambda: convolved(padding=(3, 0)), "its padding is (3, 0)"),
    "stride": (lambda: convolved(padding=(2, 0), stride=2), "no output at some steps"),
    "pool": (lambda: gx.max_pool1d(line(), 3, 1, 1), "not known to keep the steps"),
    "over time": (lambda: gx.softmax(line(), 2), "not known to keep the steps"),
    "mean": (lambda: gx.mean(line(), 2, True), "not known to keep the steps"),
    "all": (lambda: gx.mean(line(), (1, 2), True), "not known to keep the steps"),
    "over samples": (lambda: gx.softmax(line(), 0), "not known to keep the steps"),
    "as channels": (
        lambda: gx.batch_norm(gx.mean(line(), 1), *np.ones((4, 9), np.float32)),
        "it reads a number for each step",
    ),
    "pad": (lambda: gx.pad(line(), (2, 0)), "no part of a convolution's own padding"),
    "per step": (lambda: line() * integers(9), "f32[9], perhaps a number for each step"),
    "a step": (lambda: gx.slice(line(), 2, 3, 4), "not known to keep the steps"),
    "the end": (lambda: at_the_end(line()), "which is of the last step, at all steps"),
    "reshape": (lambda: gx.reshape(line(), (1, 9, 2)), "not known to keep the steps"),
    "rank": (lambda: line() + integers(2, 1, 1, 1), "9 steps"),
    "image": (lambda: gx.relu(line(1, 3, 4, 4)), "sequences [N, C, steps]"),
    "vector": (lambda: gx.relu(line(1, 3)), "sequences [N, C, steps]"),
}


@pytest.mark.parametrize("build", LOOKS_AHEAD)
def test_what_looks_ahead_is_refused(build):
    make, says = LOOKS_AHEAD[build]
    model = gx.compile(gx.graph("g", make()), target="numpy", device="cpu")
    with pytest.raises(errors.NotCausal) as caught:
        gx.stream(model)
    assert says in str(caught.value)
    assert "test_streaming.py" in caught.value.where or build in ("image", "vector")
    in_front = build in ("both sides", "no padding", "too much")
    assert ("pass padding=(2, 0)" in caught.value.remedy) is in_front


MISTAKES = {
    "rank": ({"x": normal(2, 3)}, errors.InputShapeError, "x [N, 3, steps]"),
    "no steps": ({"x": normal(2, 3, 0)}, errors.InputShapeError, "x [N, 3, steps]"),
    "nothing": ({}, errors.InputShapeError, "no input"),
    "a list": ({"x": [1.0]}, errors.InputKindError, "input 'x'"),
    "a name": ({"y": normal(2, 3, 4)}, errors.UnexpectedInput, "'y'"),
    "channels": ({"x": normal(2, 4, 1)}, errors.InputShapeError, "another shape"),
    "batch": ({"x": normal(3, 3, 1)}, errors.BatchError, "3 sequences"),
    "kind": ({"x": torch.zeros(2, 3, 1)}, errors.InputKindError, "reset()"),
    "dtype": ({"x": normal(2, 3, 1).astype("f8")}, errors.InputDTypeError, "float64"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_leaves_the_stream_as_it_was(mistake):
    given, error, says = MISTAKES[mistake]
    model = gx.compile(causal(), target="numpy", device="cpu")
    stream, x = gx.stream(model), integers(2, 3, 4)
    first = stream(x=x[:, :, :2])["open"]
    with pytest.raises(error) as caught:
        stream(**given)
    assert says in str(caught.value)
    assert "past" not in str(caught.value)
    found = np.concatenate([first, stream(x=x[:, :, 2:])["open"]], 2)
    np.testing.assert_array_equal(found, gx.stream(model)(x=x)["open"])


def test_names_of_the_past_are_nobody_elses():
    x = gx.input("x", (1, 2, 5))
    other = gx.relu(gx.input("x.past1", (1, 2, 5)), name="x.with1")
    h = gx.conv1d(x, param("w", (2, 2, 2)), padding=(1, 0)) + other
    model = gx.compile(with_he_weights(gx.graph("g", h)), target="numpy", device="cpu")
    arrays = {"x": normal(1, 2, 5), "x.past1": normal(1, 2, 5)}
    stream, whole = gx.stream(model), model(**arrays)
    found = [
        stream(**{name: array[:, :, t : t + 1] for name, array in arrays.items()}) for t in range(5)
    ]
    np.testing.assert_allclose(np.concatenate(found, 2), whole, rtol=1e-6)
