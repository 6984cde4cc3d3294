"""Exported programs, and the archives they are saved in."""

import io
import zipfile

import pytest
import torch
from torch import nn

import graphcnn as gx
from graphcnn.errors import FileProblem
from graphcnn.ir.rebatch import rebatch
from tests.torch_import.modules import Lists, assert_equal, images, outputs

pytestmark = pytest.mark.pure


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
