"""Triton IR as every supported version of Triton prints it is read and compiled to C."""

import re
from zipfile import ZipFile

import numpy as np
import pytest

from graphcnn.cpu import loader, toolchain
from graphcnn.cpu.emit import emit
from graphcnn.cpu.team import Bound
from graphcnn.cpu.ttir import parse
from tests.conftest import HERE

FILES = {file.stem: file for file in sorted((HERE / "cpu" / "corpus").glob("*.zip"))}
# What the kernels that the package needs are made of; each text holds some.
OPERATIONS = (
    "tt.load",
    "tt.store",
    "tt.dot",
    "tt.reduce",
    "tt.reshape",
    "scf.for",
    "tt.extern_elementwise",
)


def texts(version):
    with ZipFile(FILES[version]) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_every_supported_version_is_there():
    minors = {tuple(map(int, version.split(".")[:2])) for version in FILES}
    constraint = (HERE.parent / "constraints.txt").read_text()
    low, high = re.search(r"triton>=3\.(\d+),<3\.(\d+)", constraint).groups()
    assert minors == {(3, minor) for minor in range(int(low), int(high))}


@pytest.mark.parametrize("version", FILES)
def test_texts_are_read_and_compiled_to_c(version):
    found = texts(version)
    assert len(found) > 10
    assert [word for word in OPERATIONS if not any(word in text for text in found.values())] == []
    for name, text in found.items():
        function = parse(text)
        assert name.split(".")[1] == function.name
        body = [operation for outer in function.body.operations for operation in outer.walk()]
        stores = [operation for operation in body if operation.name == "tt.store"]
        assert stores, name
        # A line of a kernel, not of Triton's library.
        assert all(re.match(r"[\w/]+\.py:\d+$", store.where) for store in stores), name
        for checked in (False, True):
            program = emit(text, checked=checked)
            assert len(program.parameters) == len(function.parameters)
            assert "void programs(" in program.source
            # Without it no row of a tail with a branch becomes vectors.
            assert ("#pragma omp simd" in program.source) != checked, name


@pytest.mark.cpu
@pytest.mark.parametrize("version", FILES)
def test_a_kernel_runs(version):
    (text,) = (text for name, text in texts(version).items() if name.startswith("clipped."))
    program = emit(text)
    assert program.parameter_names == ["x", "y", "n", "factor"]
    library = loader.load(loader.seal(toolchain.shared_object(program.source)))
    x = np.random.default_rng(0).standard_normal(100, np.float32)
    y = np.full(120, np.nan, np.float32)
    Bound(library, program.parameters, (x.ctypes.data, y.ctypes.data, 100, 0.5))(2, 1, 1, 0)
    np.testing.assert_array_equal(y[:100], np.maximum(x, 0) * np.float32(0.5))
    assert np.isnan(y[100:]).all()
