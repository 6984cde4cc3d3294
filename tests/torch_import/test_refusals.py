"""What cannot be taken, and how that is said."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import graphcnn as gx
from graphcnn.errors import InputKindError, NonFiniteWeights, UnsupportedModule, UnsupportedOp
from tests.torch_import.modules import Lists, images

pytestmark = pytest.mark.pure


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


def test_a_parameter_that_is_not_finite_is_no_lack_of_operators():
    module = nn.Sequential(nn.Linear(4, 3), nn.ReLU()).eval()
    module[0].weight.data[1, 2] = torch.nan
    with pytest.raises(NonFiniteWeights) as caught:
        gx.from_torch(module, torch.ones(1, 4))
    assert caught.value.where == "param '0.weight' at [1, 2]"


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


def test_a_constant_result_is_refused():
    class Half(nn.Module):
        def forward(self, x):
            return x + 1, torch.ones(3)

    with pytest.raises(UnsupportedModule, match="depend on its inputs"):
        gx.from_torch(Half(), images())
