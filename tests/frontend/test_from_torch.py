"""Modules of PyTorch as graphs: numbers, names, lines, batch sizes and refusals."""

import io
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm, weight_norm
from torch.utils._pytree import tree_leaves

import graphcnn as gx
from graphcnn.errors import (
    FileProblem,
    ImportDeviates,
    InputKindError,
    UnsupportedModule,
    UnsupportedOp,
)
from graphcnn.ir import evaluate
from graphcnn.ir.rebatch import rebatch
from graphcnn.torch_import import check, pointwise, walk

pytestmark = pytest.mark.pure


class SharedWeights(nn.Module):
    """A module called twice, and its weight once more as a function's."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x):
        return F.conv2d(self.conv(self.conv(x).relu()), self.conv.weight)


class Buffers(nn.Module):
    """A buffer that is added, one that is a mask, and a learned number."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.randn(4, 1, 1))
        self.register_buffer("mask", torch.rand(8, 8) > 0.5)
        self.scale = nn.Parameter(torch.tensor(1.5))

    def forward(self, x):
        return torch.where(self.mask, (x - self.mean) * self.scale, -1.0)


class Tied(nn.Module):
    """Two layers that share one parameter."""

    def __init__(self):
        super().__init__()
        self.encode, self.decode = nn.Linear(8, 8), nn.Linear(8, 8)
        self.decode.weight = self.encode.weight

    def forward(self, x):
        return self.decode(torch.tanh(self.encode(x)))


class Lists(nn.Module):
    """Sequentials in a ModuleList, their results concatenated."""

    def __init__(self):
        super().__init__()
        self.ways = nn.ModuleList(
            nn.Sequential(nn.Conv2d(4, 3, k, padding=k // 2), nn.BatchNorm2d(3), nn.Hardswish())
            for k in (1, 3, 5)
        )

    def forward(self, x):
        return torch.cat([way(x) for way in self.ways], 1)


class InPlace(nn.Module):
    """Writes to values, and to parts of them."""

    def forward(self, x):
        y = x * 2
        y += 1
        F.relu_(y)
        y[:, 1:3].mul_(0.5)
        y[:, 0] = 3.0
        return y.clamp_(max=2.5)


class Slices(nn.Module):
    """Parts by slices, splits, steps and lists of places."""

    def forward(self, x):
        a, b = x.chunk(2, 1)
        c = x[:, [3, 0], 1:-1, ::2]
        return a + b, c, x[..., -1], x.flip(2), x.unbind(1)[2]


class Reshapes(nn.Module):
    """Reshapes with -1, with the batch by its number, and across dimensions."""

    def forward(self, x):
        n, c, h, w = x.shape
        y = x.view(n, c // 2, 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        z = y.permute(0, 2, 3, 1).reshape(n, h * w, c)
        return z.flatten(1), y.reshape(-1, c * h, w), z.expand(n, -1, c)


class Configured(nn.Module):
    """Control flow by what is known beforehand."""

    def __init__(self, deep):
        super().__init__()
        self.deep = deep
        self.conv = nn.Conv2d(4, 4, 1)

    def forward(self, x, twice=True):
        if self.deep and x.shape[1] == 4:
            x = self.conv(x)
        for _ in range(2 if twice else 1):
            x = F.silu(x)
        return x


class Normed(nn.Module):
    """weight_norm and spectral_norm, and every norm of the tensor's own."""

    def __init__(self):
        super().__init__()
        self.conv = weight_norm(nn.Conv2d(4, 8, 3))
        self.fc = spectral_norm(nn.Linear(6, 5))
        self.norms = nn.Sequential(
            nn.InstanceNorm2d(8, affine=True),
            nn.LocalResponseNorm(3, alpha=0.1, k=2.0),
            nn.GroupNorm(4, 8),
            nn.LayerNorm([6, 6]),
            nn.InstanceNorm2d(8, track_running_stats=True),
        )

    def forward(self, x):
        return self.fc(self.norms(self.conv(x)))


class Nested(nn.Module):
    """Takes a dict and a tuple, returns nested ones."""

    def forward(self, inputs, pair):
        a, (b, c) = inputs["a"], pair
        return {"sum": a + b, "rest": (c.mean((2, 3)), [a.amax(1)])}


class Positions(nn.Module):
    """A module that makes constants: positions, and a causal mask in 1-d convolutions."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(4, 4, 3, dilation=2)

    def forward(self, x):
        length = x.shape[-1]
        x = x + torch.linspace(0, 1, length) * torch.ones(4, 1)
        return self.conv(F.pad(x, (4, 0))).masked_fill(torch.arange(length) % 2 == 0, 0.5)


class Squeeze(nn.Module):
    """Squeeze and excitation, written with functions."""

    def __init__(self):
        super().__init__()
        self.down, self.up = nn.Parameter(torch.randn(2, 4)), nn.Parameter(torch.randn(4, 2))

    def forward(self, x):
        s = F.adaptive_avg_pool2d(x, 1).flatten(1)
        s = F.hardsigmoid(F.linear(F.relu6(F.linear(s, self.down)), self.up))
        return x * s[:, :, None, None]


class Resized(nn.Module):
    """Resampling in all forms, and pools of odd windows."""

    def forward(self, x):
        up = F.interpolate(x, scale_factor=1.5, mode="bilinear", align_corners=True)
        near = F.interpolate(x, size=(5, 11))
        return (
            up,
            near,
            F.avg_pool2d(up, 3, 2, 1, True, False),
            F.max_pool2d(near, 3, 2, 1, 1, True),
        )


class Attention(nn.Module):
    """Attention of the channels, by products of matrices."""

    def forward(self, x):
        q = x.flatten(2)
        weights = torch.softmax(q @ q.transpose(1, 2) / q.shape[-1] ** 0.5, -1)
        return (weights @ q).view_as(x), torch.linalg.vector_norm(q, dim=-1), q.var(-1).rsqrt()


class Joined(nn.Module):
    """Takes any number of images, and joins them."""

    def forward(self, first, *others):
        return torch.cat([first, *others], 1).flatten(1) * 2


def images(*shape):
    return torch.randn(*(shape or (2, 4, 8, 8)))


MODULES = {
    "shared weights": (SharedWeights, lambda: (images(),)),
    "buffers": (Buffers, lambda: (images(),)),
    "tied": (Tied, lambda: (images(2, 8),)),
    "lists": (Lists, lambda: (images(),)),
    "in place": (InPlace, lambda: (images(),)),
    "slices": (Slices, lambda: (images(),)),
    "reshapes": (Reshapes, lambda: (images(),)),
    "configured": (lambda: Configured(True), lambda: (images(),)),
    "configured otherwise": (lambda: Configured(False), lambda: (images(), False)),
    "normed": (Normed, lambda: (images(),)),
    "nested": (Nested, lambda: ({"a": images()}, (images(), images()))),
    "positions": (Positions, lambda: (images(2, 4, 9),)),
    "squeeze": (Squeeze, lambda: (images(),)),
    "resized": (Resized, lambda: (images(),)),
    "attention": (Attention, lambda: (images(),)),
    "joined": (Joined, lambda: (images(), images(), images())),
}


def outputs(graph, example):
    """The graph's results in float64, its inputs in the order of the example."""
    tensors = [leaf for leaf in tree_leaves(example) if isinstance(leaf, torch.Tensor)]
    given = {v.name: x.numpy() for v, x in zip(graph.inputs, tensors, strict=True)}
    values = evaluate(graph, given)
    return [values[name] for name in graph.outputs]


def assert_equal(found, module, example):
    with torch.no_grad():
        wanted = tree_leaves(module(*example))
    assert len(found) == len(wanted)
    for got, want in zip(found, wanted, strict=True):
        assert got.shape == tuple(want.shape)
        assert want.std() > 0
        np.testing.assert_allclose(got, want.numpy(), rtol=0, atol=1e-5 * float(want.abs().max()))


@pytest.mark.parametrize("name", MODULES)
def test_the_graph_computes_what_the_module_does(name):
    torch.manual_seed(0)
    make, example = MODULES[name]
    module, given = make().eval(), example()
    graph = gx.from_torch(module, *given)
    assert_equal(outputs(graph, given), module, given)


@pytest.mark.parametrize("name", sorted(set(MODULES) - {"configured otherwise"}))
@pytest.mark.parametrize("first", [1, 2])
def test_the_batch_is_free(name, first):
    torch.manual_seed(1)
    make, example = MODULES[name]
    module = make().eval()

    def batch(size):
        def sized(x):
            return torch.randn(size, *x.shape[1:]) if isinstance(x, torch.Tensor) else x

        return torch.utils._pytree.tree_map(sized, example())

    graph = rebatch(gx.from_torch(module, *batch(first)), 3)
    given = batch(3)
    assert_equal(outputs(graph, given), module, given)


def test_a_batch_that_became_a_number_is_fixed():
    class Numbered(nn.Module):
        def forward(self, x):
            return x / x.shape[0]

    class Fixed(nn.Module):
        def forward(self, x):
            return x.reshape(2, 2, -1)

    for module in (Numbered(), Fixed()):
        graph = gx.from_torch(module, images(2, 6))
        with pytest.raises(gx.errors.BatchError):
            rebatch(graph, 4)


def test_names_are_the_modules_and_where_is_the_users_line():
    torch.manual_seed(0)
    graph = gx.from_torch(Lists().eval(), images())
    assert graph["ways.1.0"].op.name == "conv2d"
    assert graph["ways.1.0"].inputs[1:] == ("ways.1.0.weight", "ways.1.0.bias")
    assert {"ways.2.1", "ways.2.2"} <= set(graph.names)
    assert set(graph.param_by_name) <= set(Lists().state_dict())
    where = graph["ways.1.0"].where
    assert where.file == __file__
    line = Path(__file__).read_text().splitlines()[where.line - 1]
    assert "way(x) for way in self.ways" in line


def test_a_parameter_is_one_param_however_often_it_is_read():
    assert [p.name for p in gx.from_torch(SharedWeights().eval(), images()).params] == [
        "conv.weight",
        "conv.bias",
    ]
    tied = [p.name for p in gx.from_torch(Tied().eval(), images(2, 8)).params]
    assert tied == ["encode.weight", "encode.bias", "decode.bias"]


@pytest.mark.parametrize("rank", [1, 2])
def test_a_response_norm_is_found_again(rank):
    norm = nn.LocalResponseNorm(4, alpha=0.3, beta=0.6, k=1.5)
    graph = gx.from_torch(norm.eval(), images(*(2, 6, 7, 5)[: rank + 2]))
    assert str(graph.nodes[0].op) == ("local_response_norm(size=4, alpha=0.3, beta=0.6, k=1.5)")
    assert len(graph.nodes) == 1


@pytest.mark.parametrize(
    "module",
    [
        nn.InstanceNorm2d(4, affine=True),
        nn.GELU(),
        nn.GELU("tanh"),
        nn.SiLU(),
        nn.Hardswish(),
        nn.Mish(),
        nn.GroupNorm(2, 4),
        nn.BatchNorm2d(4),
        nn.PixelShuffle(2),
        nn.LayerNorm(8),
        nn.Softplus(),
    ],
    ids=lambda module: type(module).__name__,
)
def test_what_graphcnn_has_stays_whole(module):
    assert len(gx.from_torch(module.eval(), images()).nodes) == 1


class Angles(nn.Module):
    def forward(self, x):
        return torch.atan(x)


class Lacking(nn.Module):
    def __init__(self):
        super().__init__()
        self.volume = nn.Conv3d(1, 1, 3)
        self.upper = nn.Sequential(Angles(), nn.ReLU())

    def forward(self, x):
        x = self.upper(x)
        x = self.volume(x[:, None])[:, 0]
        return torch.einsum("nchw,nkhw->nck", x, x), torch.cumsum(x, 1)


def test_everything_lacking_is_said_at_once():
    coverage = gx.coverage(Lacking().eval(), images())
    assert not coverage.ok
    assert {(gap.op, gap.path) for gap in coverage.gaps} == {
        ("aten.conv3d.default", "volume"),
        ("aten.atan.default", "upper.0"),
        ("aten.einsum.default", ""),
        ("aten.cumsum.default", ""),
    }
    assert "nearest: matmul, bmm, linear" in str(coverage)
    assert str(coverage).startswith("Lacking: ")
    with pytest.raises(UnsupportedOp) as raised:
        gx.from_torch(Lacking().eval(), images())
    for line in str(coverage).splitlines()[1:]:
        assert line.strip() in str(raised.value)


def test_a_module_that_trains_is_refused():
    with pytest.raises(UnsupportedModule, match="training mode") as raised:
        gx.from_torch(Lists(), images())
    assert "ways.0.1" in str(raised.value)

    class Drops(nn.Module):
        def forward(self, x):
            return F.dropout(x)

    with pytest.raises(UnsupportedOp, match="dropout"):
        gx.from_torch(Drops().eval(), images())


class Halved(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.ReLU(), nn.Module())
        self.inner[1].half = nn.Conv2d(4, 4, 1)

    def forward(self, x):
        return self.inner[1]._modules["half"](self.inner[0](x))


class Typed(nn.Module):
    def __init__(self):
        super().__init__()
        self._parameters["type"] = nn.Parameter(torch.ones(4, 1, 1))

    def forward(self, x):
        return x * self._parameters["type"]


@pytest.mark.parametrize(
    ("module", "where", "got"),
    [
        (Halved, "Halved, 'inner.1.half'", "a Conv2d called 'half' in a Module"),
        (Typed, "Typed, 'type'", "a Parameter called 'type' in a Typed"),
    ],
)
def test_a_part_that_is_called_like_a_method(module, where, got):
    with pytest.raises(UnsupportedModule, match="cannot find a part called") as raised:
        gx.from_torch(module().eval(), images())
    assert (raised.value.where, raised.value.got) == (where, got)
    assert "rename it" in raised.value.remedy


def test_control_flow_by_numbers_is_refused_with_torchs_error_as_the_cause():
    class Chooses(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(UnsupportedModule, match=r"torch\.export cannot follow") as raised:
        gx.from_torch(Chooses().eval(), images())
    assert isinstance(raised.value.__cause__, Exception)


def test_a_module_that_keeps_state_is_refused():
    class Counts(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("seen", torch.zeros(1))

        def forward(self, x):
            self.seen += 1
            return x + self.seen

    with pytest.raises(UnsupportedModule, match="changes its state"):
        gx.from_torch(Counts().eval(), images())


class Truths(nn.Module):
    def forward(self, x):
        return x > 0


class Whole(nn.Module):
    def forward(self, x):
        return (x > 0).sum(1)


class Draws(nn.Module):
    def forward(self, x):
        return x + torch.randn(8)


class Wide(nn.Module):
    def forward(self, x):
        return x.double()


class Sums(nn.Module):
    def forward(self, x):
        return ((x > 0) + (x < 1)).float()


@pytest.mark.parametrize("module", [Truths, Whole, Draws, Wide, Sums])
def test_what_has_another_meaning_is_refused(module):
    with pytest.raises(UnsupportedOp):
        gx.from_torch(module().eval(), images())


@pytest.mark.parametrize(
    ("module", "example"), [(len, (images(),)), (nn.ReLU(), ()), (nn.ReLU(), (3,))]
)
def test_arguments_of_other_kinds(module, example):
    with pytest.raises(InputKindError):
        gx.from_torch(module, *example)


def test_a_conversion_that_is_wrong_is_found_and_named(monkeypatch):
    monkeypatch.setitem(walk.CONVERSIONS, "hardswish.default", pointwise.ROWS["silu.default"])
    with pytest.raises(ImportDeviates, match=re.escape("ways.0.2")) as raised:
        gx.from_torch(Lists().eval(), images())
    assert __file__ in str(raised.value)


def test_the_check_computes_every_node_once(monkeypatch):
    monkeypatch.setattr(check, "bounded", lambda *_: pytest.fail("torch's value is known"))
    gx.from_torch(Lists().eval(), images())


def test_a_program_and_its_archive(tmp_path):
    torch.manual_seed(0)
    module, given = Lists().eval(), (images(),)
    program = torch.export.export(module, given, dynamic_shapes=({0: torch.export.Dim("n")},))
    torch.export.save(program, tmp_path / "net.pt2")
    for graph in (gx.from_torch(program), gx.load(tmp_path / "net.pt2")):
        assert_equal(outputs(graph, given), module, given)
        rebatch(graph, 5)


def test_a_damaged_archive(tmp_path):
    (tmp_path / "net.pt2").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(FileProblem, match="no exported program"):
        gx.load(tmp_path / "net.pt2")


def test_what_one_sample_means_is_kept():
    class Squeezed(nn.Module):
        def forward(self, x):
            return x.mean((2, 3)).squeeze()

    graph = gx.from_torch(Squeezed(), images(1, 4, 8, 8))
    assert graph.type_of(graph.outputs[0]).shape == (4,)
    with pytest.raises(gx.errors.BatchError):
        rebatch(graph, 2)


def test_a_lone_number_of_the_batch_is_fixed_as_well():
    class Loss(nn.Module):
        def forward(self, x):
            return x.sum() / x.shape[0]

    with pytest.raises(gx.errors.BatchError):
        rebatch(gx.from_torch(Loss(), images()), 4)


def test_a_constant_result_is_refused():
    class Half(nn.Module):
        def forward(self, x):
            return x + 1, torch.ones(3)

    with pytest.raises(UnsupportedModule, match="depend on its inputs"):
        gx.from_torch(Half(), images())


def test_a_program_takes_its_own_kind_of_example():
    program = torch.export.export(nn.ReLU(), (images(),))
    with pytest.raises(gx.errors.InputShapeError, match="exported for"):
        gx.from_torch(program, images(3, 4, 8, 8))


def test_an_archive_with_pickled_objects_is_not_read(tmp_path):
    path, member = tmp_path / "net.pt2", "data/sample_inputs/model.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/version", "1")
        stream = io.BytesIO()
        torch.save(nn.ReLU(), stream)
        archive.writestr(f"archive/{member}", stream.getvalue())
    with pytest.raises(FileProblem, match="pickled objects"):
        gx.load(path)
