"""Launches that find a buffer elsewhere, and what the CUDA driver says of an address."""

import ctypes
from collections import namedtuple
from types import SimpleNamespace

import pytest
import torch

from graphcnn.kernels import Block
from graphcnn.targets import cuda_memory
from graphcnn.targets.cuda_graph import Queued
from graphcnn.targets.cuda_memory import MAPPED, PAGE_BYTES, Places, is_mapped
from graphcnn.triton_api import Prepared

Strided = namedtuple("Strided", "ptr strides")


class Launched:
    """What launches of the test ran with."""

    def __init__(self, *values):
        self.ran = []
        self.queued = Queued(self.prepared(values), (1, 1, 1), lambda: 0, "node")

    def prepared(self, values):
        return Prepared(None, values, *self.bind(values), self.bind)

    def bind(self, values):
        return (lambda *_: self.ran.append(values),) * 2

    def __call__(self):
        self.queued()
        return self.ran[-1]


HOME = torch.arange(64.0)
OTHER = torch.arange(64.0, 128.0)


def places(launches, parts, mapped=lambda _: True, reach=0):
    return Places([each.queued for each in launches], HOME, parts, mapped, reach)


def test_all_that_use_a_buffer_find_it_elsewhere_and_back():
    whole, part, weight = HOME[0:], HOME[16:], torch.zeros(3)
    reader = Launched(Strided(whole, (4, 1)), weight, (1, (part,)))
    twice, stranger = Launched(part, part), Launched(weight, 5)
    at = places([reader, twice, stranger], [whole, part])
    before = reader()
    assert at.move(OTHER.view(8, 8))
    values = reader()
    assert isinstance(values[0], Strided)
    assert values[0].ptr.data_ptr() == OTHER.data_ptr()
    assert values[0].strides == (4, 1)
    assert values[1] is weight
    assert values[2][0] == 1
    assert values[2][1][0].data_ptr() == OTHER[16:].data_ptr()
    assert [value.data_ptr() for value in twice()] == [OTHER[16:].data_ptr()] * 2
    at.reset()
    assert reader() is before
    assert [value is part for value in twice()] == [True, True]
    assert stranger() == (weight, 5)
    assert [each.queued.moves for each in (reader, twice, stranger)] == [True, True, False]


def test_a_tensor_descriptor_is_made_anew_elsewhere():
    part = HOME[16:]
    described = Block(None, (6, 8), (8, 1), (2, 8)).descriptor(part)
    reader = Launched(described, part)
    at = places([reader], [part])
    assert at.move(OTHER)
    moved, plain = reader()
    assert moved.base.data_ptr() == plain.data_ptr() == OTHER[16:].data_ptr()
    assert (moved.shape, moved.strides, moved.block_shape) == ([6, 8], [8, 1], [2, 8])
    at.reset()
    assert reader() == (described, part)


def test_two_buffers_of_one_launch_move_each():
    first, second = HOME[0:], torch.zeros(64)
    launch = Launched(first, second)
    one = places([launch], [first])
    two = Places([launch.queued], second, [second], lambda _: True, 0)
    moved = torch.ones(64)
    for order in ((one, two), (two, one)):
        for place in order:
            assert place.move(OTHER if place is one else moved)
        values = launch()
        assert [v.data_ptr() for v in values] == [OTHER.data_ptr(), moved.data_ptr()]
        for place in order:
            place.reset()
        assert launch() == (first, second)


@pytest.mark.parametrize("unmapped", [None, "before", "behind"])
def test_memory_around_is_asked_for(unmapped):
    launch, asked = Launched(HOME), []

    def mapped(address):
        asked.append(address - OTHER.data_ptr())
        return {-8: unmapped != "before", 263: unmapped != "behind"}[asked[-1]]

    at = places([launch], [HOME], mapped, 8)
    assert at.move(OTHER) is (unmapped is None)
    assert asked == ([-8] if unmapped == "before" else [-8, 263])
    assert (launch()[0].data_ptr() == OTHER.data_ptr()) is (unmapped is None)


def test_what_reaches_beyond_a_page_stays():
    at = places([Launched(HOME)], [HOME], reach=PAGE_BYTES + 1)
    assert not at.move(OTHER)


def test_the_driver_knows_what_is_mapped(monkeypatch):
    """Addresses from 4096 on are mapped, and those below 1024 are nobody's."""

    def ask(answer, attribute, address):
        assert attribute.value == MAPPED
        target = ctypes.cast(answer, ctypes.POINTER(ctypes.c_uint32))
        target[0] = address.value >= 4096
        return 1 if address.value < 1024 else 0

    driver = SimpleNamespace(cuPointerGetAttribute=ask)
    monkeypatch.setattr(cuda_memory, "library", lambda: driver)
    assert [is_mapped(address) for address in (0, 2048, 4096)] == [False, False, True]


@pytest.mark.parametrize("error", [OSError, AttributeError])
def test_where_nobody_can_say_nothing_is(monkeypatch, error):
    def absent():
        raise error

    monkeypatch.setattr(cuda_memory, "library", absent)
    assert not is_mapped(4096)
