"""What a report is doing, as it tells it."""

import torch

import graphcnn as gx
from graphcnn.progress import doing, told_to


def test_verify_tells_of_each_group_in_order():
    x = gx.input("x", (1, 4))
    model = gx.compile(gx.graph("g", gx.softmax(gx.relu(x, name="a"), name="b")), device="cpu")
    told = []
    with told_to(told.append):
        gx.verify(model)
    groups = [line for line in told if line.startswith("checking group")]
    assert groups == ["checking group 1 of 2: a", "checking group 2 of 2: b"]
    assert told[2:] == ["checking what the passes did", "checking the outputs"]


def test_without_a_listener_nothing_is_told():
    told = []
    with told_to(told.append):
        doing("this")
    doing("that")
    assert told == ["this"]


def test_an_import_tells_of_each_node_that_it_compares():
    told = []
    with told_to(told.append):
        gx.from_torch(torch.nn.ReLU().eval(), torch.ones(1, 3))
    assert told == ["comparing node 1 of 1 with torch's: relu"]
