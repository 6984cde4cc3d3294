"""Arrays that nobody can write to, and arrays that lie in files."""

import weakref

import numpy as np
import pytest

from graphcnn.ir import frozen, is_frozen, let_go
from graphcnn.ir.constants import LINE_BYTES, mapped
from tests.held import resident

NUMBERS = np.arange(60, dtype=np.float32).reshape(3, 4, 5)


@pytest.mark.parametrize(
    "array",
    [
        NUMBERS,
        NUMBERS.T,
        NUMBERS[:, ::-2],
        NUMBERS.astype(np.float16),
        np.float64(7.0) * np.ones(()),
    ],
    ids=["in order", "transposed", "strided", "half precision", "a scalar"],
)
def test_a_frozen_copy(array):
    copy = frozen(array)
    np.testing.assert_array_equal(copy, array)
    assert (copy.dtype, copy.shape) == (array.dtype, array.shape)
    assert copy.flags.c_contiguous
    assert copy.ctypes.data % LINE_BYTES == 0
    assert not np.shares_memory(copy, array)
    assert is_frozen(copy)
    assert is_frozen(copy.reshape(-1))
    with pytest.raises(ValueError, match="read-only"):
        copy[...] = 0
    with pytest.raises(ValueError, match="WRITEABLE"):
        copy.setflags(write=True)


def read_only(array):
    view = array[...]
    view.setflags(write=False)
    return view


@pytest.mark.parametrize(
    "array",
    [
        NUMBERS,
        read_only(NUMBERS),
        np.frombuffer(bytearray(1000), np.float32),
        frozen(NUMBERS).T,
        frozen(NUMBERS).reshape(-1)[1:],
    ],
    ids=["writable", "a view of what is writable", "another's", "out of order", "within a line"],
)
def test_what_is_not_frozen(array):
    assert not is_frozen(array)


def test_an_array_in_a_file_comes_back(tmp_path):
    path = tmp_path / "numbers"
    numbers = np.random.default_rng(0).standard_normal(500_001)
    path.write_bytes(b"12345678" + numbers.tobytes())
    content = mapped(path)
    array, rest = np.frombuffer(content, np.float64, 500_000, 8), np.frombuffer(content, np.float64)
    assert not is_frozen(array)
    for _ in range(2):
        np.testing.assert_array_equal(array, numbers[:-1])
        assert resident(path) >= array.nbytes
        let_go(array)
        assert resident(path) < 100_000
    np.testing.assert_array_equal(rest[1:], numbers)


def test_the_memory_of_other_arrays_stays():
    array = NUMBERS.copy()
    let_go(array)
    let_go(frozen(array))
    np.testing.assert_array_equal(array, NUMBERS)


def test_a_frozen_copy_ends_with_its_last_view():
    copy = frozen(NUMBERS)
    gone = weakref.ref(copy.base)
    del copy
    assert gone() is None
