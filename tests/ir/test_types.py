import numpy as np
import pytest
import torch

from graphcnn.errors import InvalidAttribute, TooLarge, UnknownDType
from graphcnn.ir import DType, TensorType


@pytest.mark.parametrize(
    ("spelled", "dtype"),
    [
        ("f16", DType.F16),
        ("float16", DType.F16),
        ("half", DType.F16),
        ("bfloat16", DType.BF16),
        ("float", DType.F32),
        (DType.F32, DType.F32),
        (np.float64, DType.F64),
        (np.dtype("float32"), DType.F32),
        (torch.bfloat16, DType.BF16),
        (torch.float16, DType.F16),
        ("int8", DType.I8),
    ],
)
def test_dtype_of(spelled, dtype):
    assert DType.of(spelled) is dtype


@pytest.mark.parametrize("spelled", ["float8", "complex64", "", 3, None, np.complex64, object()])
def test_unknown_dtype_lists_the_known_ones(spelled):
    with pytest.raises(UnknownDType, match="bf16") as caught:
        DType.of(spelled)
    assert "float16" in caught.value.remedy


@pytest.mark.parametrize("dtype", [DType.F16, DType.BF16, DType.F32])
def test_rounding_equals_torch(dtype):
    kinds = {DType.F16: torch.float16, DType.BF16: torch.bfloat16, DType.F32: torch.float32}
    bits = np.random.default_rng(0).integers(0, 2**32, 20_000, dtype=np.uint32)
    array = bits.view(np.float32)
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 65520.0], np.float32)
    array = np.concatenate([array, special])
    with np.errstate(over="ignore", invalid="ignore"):
        got = dtype.round(array).astype(np.float32)
    np.testing.assert_array_equal(got, torch.tensor(array).to(kinds[dtype]).float().numpy())


def test_rounding_keeps_what_needs_none():
    array = np.ones(3, np.float32)
    assert DType.F32.round(array) is array


@pytest.mark.parametrize("dtype", list(DType))
def test_itemsize_and_unit_roundoff(dtype):
    if dtype is not DType.BF16:
        assert dtype.itemsize == dtype.numpy.itemsize
    if dtype.is_float and dtype is not DType.BF16:
        assert dtype.unit_roundoff == np.finfo(dtype.numpy).eps / 2
    assert DType.BF16.itemsize == 2
    assert dtype.is_float == (dtype.unit_roundoff > 0)


def test_tensor_type():
    image = TensorType((32, 64, 56, 56), DType.F16)
    assert str(image) == "f16[32,64,56,56]"
    assert TensorType.parse(" f16[32,64,56,56] ") == image
    assert TensorType.parse("f32[]") == TensorType(())
    assert (image.size, image.nbytes) == (6422528, 12845056)
    assert image.with_shape((1,)) == TensorType((1,), DType.F16)


@pytest.mark.parametrize(
    "shape", [(0,), (-1, 2), (1.0,), ("a",), (True,), (np.True_,), (np.int64(3),), [1, 2], 3, None]
)
def test_sizes_are_positive_integers(shape):
    with pytest.raises(InvalidAttribute, match="positive integer"):
        TensorType(shape)


def test_arithmetic():
    wide = {DType.F16: DType.F32, DType.BF16: DType.F32}
    assert [dtype.arithmetic for dtype in DType] == [wide.get(dtype, dtype) for dtype in DType]


def test_huge_types_are_refused():
    assert TensorType((2**31, 2**31)).size == 2**62
    with pytest.raises(TooLarge, match="2\\^63"):
        TensorType((2**31, 2**32))


@pytest.mark.parametrize("text", ["", "f32", "f32[a]", "f32[1.5]", "f32(1)"])
def test_malformed_types(text):
    with pytest.raises(ValueError, match="not a tensor type"):
        TensorType.parse(text)
