"""Guarded test buffers, views of them, and float64 error bounds."""

import torch

from graphcnn.kernels.launch import View

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
EPS = {"f32": 2.0**-24, "f16": 2.0**-11, "bf16": 2.0**-8}
GUARD = 64


def view_of(tensor, dtype=None):
    names = {v: k for k, v in DTYPES.items()}
    return View(tensor, tuple(tensor.shape), tuple(tensor.stride()), dtype or names[tensor.dtype])


def laid_out(tensor, layout):
    """Reorder memory, keeping the logical NCHW shape."""
    if layout == "nchw":
        return tensor.contiguous()
    return tensor.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


class Output:
    """A NaN-filled tensor between two guard bands that nobody may touch."""

    def __init__(self, shape, dtype, layout="nhwc"):
        size = 1
        for d in shape:
            size *= d
        self.storage = torch.full((size + 2 * GUARD,), float("nan"), dtype=DTYPES[dtype])
        self.storage[:GUARD] = self.storage[-GUARD:] = 777.0
        flat = self.storage[GUARD : GUARD + size]
        if layout == "nhwc" and len(shape) == 4:
            n, c, h, w = shape
            self.tensor = flat.view(n, h, w, c).permute(0, 3, 1, 2)
        else:
            self.tensor = flat.view(shape)
        self.view = view_of(self.tensor)

    def check(self, want, bound):
        """Compare with the float64 `want` within `bound`; guards must be untouched."""
        assert (self.storage[:GUARD] == 777.0).all(), "guard before the output was written"
        assert (self.storage[-GUARD:] == 777.0).all(), "guard after the output was written"
        got = self.tensor.double()
        assert got.shape == want.shape
        assert not got.isnan().any(), f"{int(got.isnan().sum())} outputs never written"
        assert want.numel() == 1 or want.std() > 0, "a constant reference proves nothing"
        excess = ((got - want).abs() / bound).max().item()
        assert excess <= 1.0, f"error is {excess:.3g} times its bound"
