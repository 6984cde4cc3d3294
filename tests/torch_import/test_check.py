"""The comparison with torch that ends an import."""

import re

import pytest

import graphcnn as gx
from graphcnn.errors import ImportDeviates
from graphcnn.torch_import import check, pointwise, walk
from tests.torch_import import modules
from tests.torch_import.modules import Lists, images

pytestmark = pytest.mark.pure


def test_a_conversion_that_is_wrong_is_found_and_named(monkeypatch):
    monkeypatch.setitem(walk.CONVERSIONS, "hardswish.default", pointwise.ROWS["silu.default"])
    with pytest.raises(ImportDeviates, match=re.escape("ways.0.2")) as raised:
        gx.from_torch(Lists().eval(), images())
    assert modules.__file__ in str(raised.value)


def test_the_check_computes_every_node_once(monkeypatch):
    monkeypatch.setattr(check, "bounded", lambda *_: pytest.fail("torch's value is known"))
    gx.from_torch(Lists().eval(), images())
