"""Brackets, and the functions that slice, split, stack and reorder, against torch's."""

import numpy as np
import pytest
import torch

import graphcnn as gx
from graphcnn import errors, ops
from graphcnn.ir import evaluate, rebatch

ARRAY = np.random.default_rng(0).standard_normal((4, 6, 5, 3))


def image(*shape):
    return gx.input("image", shape or ARRAY.shape, "float64")


def computed(make):
    """What `make` gives for a symbolic tensor, in float64; one array or several."""
    made = make(image())
    graph = gx.graph("g", made)
    found = evaluate(graph, {"image": ARRAY})
    return [found[name] for name in graph.outputs]


def agrees(make, torchs=None):
    wanted = (torchs or make)(torch.from_numpy(ARRAY))
    wanted = [wanted] if isinstance(wanted, torch.Tensor) else wanted
    got = computed(make)
    assert len(got) == len(wanted)
    for ours, theirs in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(ours, theirs.numpy())


INDICES = {
    "an int": lambda x: x[1],
    "a negative int": lambda x: x[:, -1],
    "the last of all": lambda x: x[-1, -6, 4, -3],
    "a crop": lambda x: x[:, :, 1:-1, 1:2],
    "steps": lambda x: x[::2, 1::3],
    "ends beyond": lambda x: x[:, -100:100, :2000],
    "an ellipsis": lambda x: x[..., 1:],
    "an ellipsis inside": lambda x: x[0, ..., -1],
    "an ellipsis for nothing": lambda x: x[0, 1, ..., 2, :],
    "new dimensions": lambda x: x[None, :, None, ..., None],
    "all at once": lambda x: x[1:, None, -2, ..., 2::2, None],
    "NumPy's ints": lambda x: x[np.int64(1), np.int32(1) : np.int8(-1)],
}


@pytest.mark.parametrize("make", INDICES.values(), ids=INDICES)
def test_indices_are_those_of_torch(make):
    agrees(make)


def test_an_index_of_everything_is_the_tensor():
    x = image()
    for y in (x[:], x[...], x[:, :, ::1], x[()], x[0:]):
        assert y is x


def test_a_slice_of_each_dimension_is_one_node():
    graph = gx.graph("g", image()[:, 1, 2:-1, None])
    assert [node.op for node in graph.nodes] == [
        ops.Slice(1, 1, 2),
        ops.Slice(2, 2, -1),
        ops.Squeeze((1,)),
        ops.Unsqueeze(2),
    ]


WRONG_INDICES = {
    "too many": (lambda x: x[0, 0, 0, 0, 0], errors.RankError, "too many indices"),
    "two ellipses": (lambda x: x[..., 0, ...], errors.RankError, "single ellipsis"),
    "beyond": (lambda x: x[:, 6], errors.RankError, "index 6 is out of bounds for dimension 1"),
    "before": (lambda x: x[-5], errors.RankError, "out of bounds for dimension 0 with size 4"),
    "empty": (lambda x: x[:, 3:3], errors.ShapeError, "at least one element"),
    "backwards": (lambda x: x[::-1], errors.InvalidAttribute, "step must be positive"),
    "a float": (lambda x: x[1.0], errors.InvalidAttribute, "only integers, slices"),
    "a bool": (lambda x: x[True], errors.InvalidAttribute, "only integers, slices"),
    "a bool's slice": (lambda x: x[:True], errors.InvalidAttribute, "stop is a position"),
    "a list": (lambda x: x[[0, 1]], errors.InvalidAttribute, "only integers, slices"),
    "a mask": (lambda x: x[np.ones(4, bool)], errors.InvalidAttribute, "only integers, slices"),
    "a tensor": (lambda x: x[x], errors.InvalidAttribute, "only integers, slices"),
}


@pytest.mark.parametrize(("make", "error", "says"), WRONG_INDICES.values(), ids=WRONG_INDICES)
def test_wrong_indices(make, error, says):
    with pytest.raises(error, match=says) as caught:
        make(image())
    assert __file__ in caught.value.where
    assert caught.value.remedy


def test_tensors_are_not_iterated():
    with pytest.raises(TypeError, match="not iterable"):
        list(image())


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x.split(2),
        lambda x: x.split(4, dim=1),
        lambda x: x.split([1, 2, 3], 1),
        lambda x: x.split((5,), -2),
        lambda x: x.split(100, -1),
        lambda x: x.chunk(3, 1),
        lambda x: x.chunk(4, dim=2),
        lambda x: x.chunk(9, -1),
        lambda x: x.chunk(1),
        lambda x: x.narrow(1, 2, 3),
        lambda x: x.narrow(-2, -4, 4),
        lambda x: x.permute(0, 2, 3, 1),
        lambda x: x.permute((3, -2, 0, 1)),
        lambda x: x.transpose(1, -1),
        lambda x: x.unsqueeze(-1),
        lambda x: x.unsqueeze(2),
        lambda x: x[:1, :, :, :1].squeeze(),
        lambda x: x[:1, :, :, :1].squeeze(-1),
        lambda x: x[:1, :, :, :1].squeeze((0, 1, 3)),
        lambda x: x.squeeze(1),
        lambda x: x[:, :1].expand(-1, 7, 5, 3),
        lambda x: x[:, :1].expand((2, -1, 3, -1, -1)),
        lambda x: x.roll(2),
        lambda x: x.roll(-3, 1),
        lambda x: x.roll((1, 7), (0, -1)),
        lambda x: x.roll(shifts=(1,), dims=(2,)),
    ],
)
def test_methods_are_those_of_torch(make):
    agrees(make)


def test_stack_and_pixels_are_torchs():
    agrees(
        lambda x: gx.stack([x, x.relu(), x], dim=-1),
        lambda x: torch.stack([x, x.relu(), x], dim=-1),
    )
    agrees(lambda x: gx.stack([x[0], x[1]]), lambda x: torch.stack([x[0], x[1]]))
    agrees(
        lambda x: x[:, :4].pixel_shuffle(2),
        lambda x: torch.nn.functional.pixel_shuffle(x[:, :4], 2),
    )
    agrees(
        lambda x: x[:, :, :4, 1:].pixel_unshuffle(2),
        lambda x: torch.nn.functional.pixel_unshuffle(x[:, :, :4, 1:], 2),
    )
    agrees(lambda x: gx.slice(x, -1, 1), lambda x: x[..., 1:])


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_pad_by_modes(mode):
    pad = torch.nn.functional.pad
    agrees(lambda x: gx.pad(x, (1, 2, 3, 0), mode), lambda x: pad(x, (2, 0, 1, 3), mode))
    agrees(lambda x: x[0].pad((2, 1), mode), lambda x: pad(x[0], (2, 1), mode))


def test_parts_have_names():
    graph = gx.graph("g", image().split(4, 1, name="part"))
    assert graph.outputs == ("part.0", "part.1")
    graph = gx.graph("g", image().chunk(2, 1))
    assert graph.outputs == ("slice", "slice_1")


WRONG = {
    "axis": (lambda x: x.transpose(1, 4), errors.RankError, r"range of \[-4, 3\], but got 4"),
    "new axis": (lambda x: x.unsqueeze(-6), errors.RankError, r"range of \[-5, 4\], but got -6"),
    "float": (lambda x: x.chunk(2, 1.0), errors.InvalidAttribute, "a dimension is an integer"),
    "sections": (lambda x: x.split([2, 2], 1), errors.ShapeError, "sum exactly to 6"),
    "no section": (lambda x: x.split([6, 0], 1), errors.InvalidAttribute, "at least 1"),
    "chunks": (lambda x: x.chunk(0), errors.InvalidAttribute, "chunks is a number of at least 1"),
    "narrow": (lambda x: x.narrow(1, 4, 3), errors.ShapeError, r"start \(4\) \+ length \(3\)"),
    "narrow from": (lambda x: x.narrow(1, None, 3), errors.ShapeError, "exceeds"),
    "twice": (lambda x: x.permute(0, 1, 2, -2), errors.InvalidAttribute, "each dimension once"),
    "few": (lambda x: x.permute(0, 1), errors.RankError, "does not match the length"),
    "no dims": (lambda x: x.permute(None), errors.InvalidAttribute, "an order"),
    "grow": (lambda x: x.expand(4, 6, 5, 6), errors.ShapeError, "non-singleton dimension 3"),
    "shifts": (lambda x: x.roll((1, 2), (0,)), errors.InvalidAttribute, "must align"),
    "roll": (lambda x: x.roll(1.5, 0), errors.InvalidAttribute, "shifts"),
    "stack": (lambda x: gx.stack([x, x[0]]), errors.ShapeError, "equal size"),
    "empty stack": (lambda x: gx.stack([]), errors.InvalidGraph, "at least one"),
    "mode": (lambda x: gx.pad(x, 1, "mirror"), errors.InvalidAttribute, "'reflect'"),
    "reflect": (lambda x: gx.pad(x, 3, "reflect"), errors.ShapeError, "less than the corresp"),
    "value": (lambda x: gx.pad(x, 1, "replicate", 1.0), errors.InvalidAttribute, "doesn't take"),
}


@pytest.mark.parametrize(("make", "error", "says"), WRONG.values(), ids=WRONG)
def test_mistakes(make, error, says):
    with pytest.raises(error, match=says) as caught:
        make(image())
    assert __file__ in caught.value.where
    assert caught.value.remedy


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x[:, 1:-1, ::2],
        lambda x: x[1:],
        lambda x: x.chunk(2, 1)[1].squeeze(),
        lambda x: x.transpose(1, 3).roll((1, 1), (0, 1)),
        lambda x: x.roll(1),
        lambda x: x[:, :1].expand(-1, 4, -1, -1).unsqueeze(1),
        lambda x: gx.stack([x, x], 1),
        lambda x: gx.pad(x, 1, "circular").pixel_shuffle(1),
    ],
)
def test_what_follows_the_batch(make):
    graph = gx.graph("g", make(image()))
    wide = rebatch(graph, 7)
    shape = graph.type_of(graph.outputs[0]).shape
    assert wide.type_of(wide.outputs[0]).shape == (shape[0] + 3, *shape[1:])
    assert rebatch(wide, 4) == graph


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x[0],
        lambda x: x[:2],
        lambda x: x.split(2)[1],
        lambda x: x.permute(1, 0, 2, 3),
        lambda x: x.unsqueeze(0),
        lambda x: x.expand(4, 6, 5, 3),
        lambda x: gx.stack([x, x]),
    ],
)
def test_what_fixes_the_batch_is_named(make):
    graph = gx.graph("g", make(image()))
    with pytest.raises(errors.BatchError) as caught:
        rebatch(graph, 7)
    assert "node '" in caught.value.where


def test_a_squeezed_batch_stays_one():
    graph = gx.graph("g", image(1, 6, 5, 3).squeeze(0))
    with pytest.raises(errors.BatchError, match="re-planned"):
        rebatch(graph, 2)
