"""Arrays of the caller's that kernels read and write where they are."""

import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

import graphcnn as gx
from graphcnn.runtime.boundary import example_inputs
from tests.runtime.small_networks import mixed, small
from tests.stepwise import check_model


@pytest.fixture(scope="module")
def model():
    return gx.compile(small(), device="cpu")


def image(seed=0):
    return np.random.default_rng(seed).standard_normal((2, 3, 8, 8)).astype(np.float32)


def apart(array, skipped):
    """The same numbers so many bytes behind an address that vectors like."""
    memory = np.empty(array.nbytes + 128, np.int8)
    start = -memory.ctypes.data % 64 + skipped
    moved = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    moved[...] = array
    return moved


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_a_plain_array_is_read_where_it_is(model, kind):
    array = apart(image(), 0)
    with model.loaded({"image": kind(array)}) as executor:
        assert executor.value("image").data_ptr() == array.ctypes.data


@pytest.mark.parametrize(
    "arrange",
    [
        lambda x: apart(x, 4),
        lambda x: np.repeat(x, 2, axis=3)[..., ::2],
        lambda x: x.transpose(0, 1, 3, 2).copy().transpose(0, 1, 3, 2),
        lambda x: x[:, ::-1],
    ],
    ids=["between vectors", "every other", "transposed", "reversed"],
)
@pytest.mark.parametrize("batch", [1, 2], ids=["another batch size", "planned"])
def test_an_array_that_lies_otherwise_is_copied(model, arrange, batch):
    array = arrange(image()[:batch])
    assert array.strides != image().strides or array.ctypes.data % 16
    with model.loaded({"image": array}) as executor:
        read = executor.value("image")
        assert read.data_ptr() != array.ctypes.data
        assert read.data_ptr() % 16 == 0
        np.testing.assert_array_equal(read.numpy(), array)
    plain = np.ascontiguousarray(array)
    for before in (image(1)[:batch], plain):  # what was lent before makes no difference
        model(before)
        np.testing.assert_array_equal(model(array), model(plain.copy()))


def test_every_call_has_results_of_its_own(model):
    images = [image(seed) for seed in range(4)]
    results = [model(each) for each in images]
    kept = [result.copy() for result in results]
    with model.loaded({"image": image(9)}) as executor:
        executor.run()
    gx.verify(model, image=image(9))
    for result, copy, each in zip(results, kept, images, strict=True):
        np.testing.assert_array_equal(result, copy)
        np.testing.assert_array_equal(model(each), copy)


def several():
    """Outputs of all kinds: an input, it under another name, a function of it, that under another
    name, and one that is computed from another, twice."""
    x = gx.input("x", (2, 3, 4))
    y = gx.relu(x, name="y")
    flat = gx.reshape(y, (-1, 12), name="flat")
    z = gx.mul(gx.sigmoid(x, name="s"), y, name="z")
    graph = gx.graph("several", [y, flat, z, gx.reshape(x, (-1, 12), name="again")])
    return graph.replace(outputs=("x", *graph.outputs, "z"))


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("kind", [np.array, torch.tensor])
def test_outputs_that_share_memory_with_others_inside_of_the_model(fuse, kind):
    model = gx.compile(several(), device="cpu", fuse=fuse)
    x = example_inputs(model.graph)["x"]
    check_model(model, {"x": x})
    given = kind(x)
    got = model(given)
    arrays = [torch.as_tensor(array) for array in (given, *got.values())]
    assert len({array.data_ptr() for array in arrays}) == len(arrays)
    for array in arrays:
        array.fill_(torch.nan)
    for name, array in model(kind(x)).items():
        assert not torch.as_tensor(array).isnan().any(), name


def test_a_returned_tuple_holds_a_value_twice():
    y = gx.relu(gx.input("x", (2, 3)), name="y")
    model = gx.compile(gx.graph("g", (y, y), structured=True), device="cpu")
    one, two = model(np.ones((2, 3), np.float32))
    assert not np.shares_memory(one, two)
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("make", [small, mixed])
def test_nothing_of_a_call_is_kept(make):
    model = gx.compile(make(), device="cpu")
    inputs = {name: torch.from_numpy(a) for name, a in example_inputs(model.graph).items()}
    given = [weakref.ref(tensor) for tensor in inputs.values()]
    results = model.source.named(model(**inputs))
    del inputs
    assert [ref() for ref in given] == [None] * len(given)
    written = [weakref.ref(tensor) for tensor in results.values()]
    del results
    assert [ref() for ref in written] == [None] * len(written)


def test_a_call_that_is_interrupted_lends_nothing_any_more(model, monkeypatch):
    kept = model(image())
    copy = kept.copy()

    def interrupt(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("graphcnn.runtime.executor.Executor.run", interrupt)
        with pytest.raises(KeyboardInterrupt):
            model(image(1))
    with model.turn() as executor:
        executor.run()
        assert executor.value("fc").data_ptr() % 256 == 0
    np.testing.assert_array_equal(kept, copy)
    np.testing.assert_array_equal(model(image()), copy)


GUARDED = """
import ctypes, mmap
import numpy as np
import graphcnn as gx
from graphcnn.runtime.boundary import example_inputs
from tests.runtime.small_networks import mixed, small

libc = ctypes.CDLL(None, use_errno=True)
libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
pages = []


def between_pages(array, at_end):
    size = -(-array.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
    block = mmap.mmap(-1, size + 2 * mmap.PAGESIZE)
    pages.append(block)
    start = mmap.PAGESIZE + (size - array.nbytes if at_end else 0)
    moved = np.frombuffer(block, array.dtype, array.size, start).reshape(array.shape)
    moved[...] = array
    first = moved.ctypes.data - start
    for page in (first, first + mmap.PAGESIZE + size):
        assert libc.mprotect(page, mmap.PAGESIZE, 0) == 0
    return moved


def networks():
    yield small()
    yield mixed()
    yield gx.models.build("lenet")
    image = gx.input("image", (2, 5, 12, 12))
    for kernel, stride, padding in ((3, 1, 1), (3, 2, 0), (5, 1, 2), (1, 1, 0), (7, 2, 3)):
        w = np.random.default_rng(0).standard_normal((20, 5, kernel, kernel), np.float32)
        yield gx.graph("conv", gx.relu(gx.conv2d(image, w, stride=stride, padding=padding)))
    w = np.random.default_rng(0).standard_normal((5, 1, 3, 3), np.float32)
    yield gx.graph("depthwise", gx.conv2d(image, w, padding=1, groups=5))
    yield gx.graph("pool", gx.max_pool2d(image, 3, 2, 1))
    yield gx.graph("softmax", gx.softmax(image, dim=1))
    yield gx.graph("pad", gx.pad(image, (1, 2, 3, 4)))
    w = np.random.default_rng(0).standard_normal((33, 720), np.float32)
    yield gx.graph("linear", gx.linear(gx.flatten(image), w))


for graph in networks():
    model = gx.compile(graph, device="cpu")
    inputs = example_inputs(graph)
    plain = model.source.named(model(**inputs))
    for at_end in (False, True):
        guarded = {name: between_pages(array, at_end) for name, array in inputs.items()}
        with model.loaded(guarded) as executor:
            for name, array in guarded.items():
                assert executor.value(name).data_ptr() == array.ctypes.data, name
        for name, got in model.source.named(model(**guarded)).items():
            np.testing.assert_array_equal(got, plain[name])
print("all")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="protects pages of memory")
def test_kernels_read_nothing_beside_an_array():
    """Pages that nobody may touch lie on both sides."""
    done = subprocess.run(
        [sys.executable, "-c", GUARDED],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout == "all\n", done.stderr[-2000:]
