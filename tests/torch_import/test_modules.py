"""The graph of a module computes what the module does, for any batch size."""

import pytest
import torch
from torch import nn

import graphcnn as gx
from graphcnn.ir.rebatch import rebatch
from tests.torch_import.modules import MODULES, assert_equal, images, outputs

pytestmark = pytest.mark.pure


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


class Unread(nn.Module):
    def forward(self, x, other):
        return x.relu()


class UnreadAndPinned(nn.Module):
    """The batch size is a number in what it computes."""

    def forward(self, x, other):
        return x.relu() * x.shape[0]


@pytest.mark.parametrize("module", [Unread(), UnreadAndPinned()])
def test_what_a_module_never_reads_is_an_input_as_well(module):
    given = (torch.randn(2, 3), torch.randn(2, 5))
    graph = gx.from_torch(module.eval(), *given)
    assert [str(value) for value in graph.inputs] == ["x: f32[2,3]", "other: f32[2,5]"]
    assert_equal(outputs(graph, given), module, given)
