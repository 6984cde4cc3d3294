"""Arrays of other libraries go in and come back by DLPack."""

import gc
import weakref

import numpy as np
import pytest
import torch

import graphcnn as gx
from graphcnn.errors import InputDTypeError, InputKindError, InputShapeError
from graphcnn.runtime.boundary import example_inputs
from tests.runtime.small_networks import small


class Exported:
    """An array of a library of its own, which hands its memory over."""

    def __init__(self, tensor):
        self.tensor = tensor

    def __dlpack__(self, **options):
        return self.tensor.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.tensor.__dlpack_device__()


class Standard(Exported):
    """One of a library that follows the array API standard."""

    def __array_namespace__(self, api_version=None):
        return Library


class Library:
    """The namespace of such a library."""

    @staticmethod
    def from_dlpack(other):
        return Standard(torch.from_dlpack(other))


class Failing(Exported):
    def __dlpack__(self, **options):
        raise BufferError("it is on the moon")


class Unwilling(Exported):
    def __array_namespace__(self):
        return None


@pytest.fixture(scope="module", params=["triton", "library", "numpy"])
def model(request):
    return gx.compile(small(), target=request.param, device="cpu")


def image(batch=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 3, 8, 8, generator=generator)


@pytest.mark.parametrize("batch", [2, 3])
def test_results_come_back_in_the_library_that_follows_the_standard(model, batch):
    wanted = model(image(batch))
    assert wanted.std() > 0
    got = model(image=Standard(image(batch)))
    assert type(got) is Standard
    assert torch.equal(got.tensor, wanted)


def test_other_libraries_get_tensors(model):
    wanted = model(image())
    got = model(Exported(image()))
    assert type(got) is torch.Tensor
    assert torch.equal(got, wanted)


def test_memory_is_read_where_it_is():
    model = gx.compile(small(), device="cpu")
    kept = image()
    got = model(Exported(kept))
    with model.turn() as executor:
        assert executor.loans.lent == {}
    executor.load({"image": torch.from_dlpack(Exported(kept))})
    assert executor.value("image").data_ptr() == kept.data_ptr()
    executor.loans.take_back()
    assert torch.equal(got, model(kept))


def test_several_inputs_and_outputs():
    x, y = gx.input("x", (2, 3)), gx.input("y", (2, 3), "float16")
    graph = gx.graph("g", {"sum": gx.relu(x), "more": [gx.exp(y)]}, structured=True)
    model = gx.compile(graph, device="cpu")
    tensors = [torch.from_numpy(array) for array in example_inputs(graph).values()]
    wanted, got = model(*tensors), model(*map(Standard, tensors))
    assert torch.equal(got["sum"].tensor, wanted["sum"])
    assert got["more"][0].tensor.dtype == torch.float16
    assert torch.equal(got["more"][0].tensor, wanted["more"][0])


@pytest.mark.parametrize(
    "arrange",
    [
        lambda x: x.to(memory_format=torch.channels_last),
        lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
        lambda x: torch.stack([x, x], -1)[..., 1],
    ],
    ids=["channels last", "transposed", "every other"],
)
def test_any_memory_order(model, arrange):
    array = Standard(arrange(image()))
    assert not array.tensor.is_contiguous()
    got = model(array).tensor
    assert torch.equal(got, model(arrange(image())))
    if model.target.name == "library":  # torch sums in another order where channels lie last
        torch.testing.assert_close(got, model(image()))
    else:
        assert torch.equal(got, model(image()))


def test_bfloat16():
    graph = gx.graph("g", gx.relu(gx.input("x", (2, 3), "bfloat16")))
    x = torch.randn(2, 3, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert torch.equal(gx.compile(graph, device="cpu")(Standard(x)).tensor, x.relu())


def test_results_outlive_the_call_and_inputs_do_not():
    model = gx.compile(small(), device="cpu")
    arrays = [Standard(image(seed=seed)) for seed in range(3)]
    gone = [weakref.ref(array.tensor) for array in arrays]
    held = [model(array) for array in arrays]
    del arrays
    gc.collect()
    assert [ref() for ref in gone] == [None] * 3
    for seed, got in enumerate(held):
        assert torch.equal(got.tensor, model(image(seed=seed)))


def test_results_in_a_tensor_of_the_caller():
    """A tensor in the memory of the other library's array."""
    model = gx.compile(small(), device="cpu")
    place = Standard(torch.full((2, 5), torch.nan))
    out = torch.from_dlpack(place)
    assert model(Standard(image()), out=out) is out
    assert torch.equal(place.tensor, model(image()))
    with pytest.raises(InputKindError, match="Standard"):
        model(Standard(image()), out=place)


@pytest.mark.parametrize(
    ("array", "error", "says"),
    [
        (lambda: Standard(image()[0]), InputShapeError, "[3, 8, 8]"),
        (lambda: Standard(image().double()), InputDTypeError, "float64"),
        (lambda: Failing(image()), InputKindError, "BufferError: it is on the moon"),
        (lambda: Standard(image().to_sparse()), InputKindError, "input 'image'"),
        (lambda: Unwilling(image()), InputKindError, "does not take the results"),
        (lambda: Standard, InputKindError, "type"),
    ],
    ids=["shape", "dtype", "refused", "sparse", "not taken back", "the class"],
)
def test_mistakes(model, array, error, says):
    with pytest.raises(error) as caught:
        model(array())
    assert says in str(caught.value)
    assert caught.value.remedy
    assert torch.equal(model(Standard(image())).tensor, model(image()))


@pytest.mark.parametrize("other", [Exported, np.asarray, torch.clone])
def test_kinds_are_not_mixed(other):
    x, y = gx.input("x", (2, 3)), gx.input("y", (2, 3))
    model = gx.compile(gx.graph("g", x + y), device="cpu", target="numpy")
    one = torch.ones(2, 3)
    with pytest.raises(InputKindError, match=r"several kinds.*\n.*\n.*Standard"):
        model(Standard(one), other(one))


def test_an_installed_library():
    library = pytest.importorskip("array_api_strict")
    model = gx.compile(small(), device="cpu")
    got = model(library.asarray(image().numpy()))
    assert type(got) is type(library.asarray(1.0))
    np.testing.assert_array_equal(np.from_dlpack(got), model(image()).numpy())


def test_reports_take_them(model):
    array = Standard(image())
    assert gx.verify(model, array).ok
    assert gx.verify(model, image=array).ok
    assert gx.profile(model, {"image": array}, seconds=0.01).ok
    found = gx.compare({"own": model}, seconds=0.01, image=array)
    assert found.ok
    with pytest.raises(InputKindError, match="on the moon"):
        gx.verify(model, Failing(image()))


def test_a_stream_takes_its_pieces_and_gives_them_back():
    weight = np.arange(-3, 3, dtype=np.float32).reshape(1, 2, 3)
    x = gx.input("x", (1, 2, 6))
    model = gx.compile(gx.graph("g", gx.conv1d(x, weight, padding=(2, 0))), device="cpu")
    steps = torch.arange(12.0).reshape(1, 2, 6)
    stream = gx.stream(model)
    pieces = [stream(Standard(steps[:, :, i : i + 2].contiguous())) for i in (0, 2, 4)]
    assert {type(piece) for piece in pieces} == {Standard}
    got = torch.cat([piece.tensor for piece in pieces], 2)
    assert torch.equal(got, model(steps))
    assert got.std() > 0
