"""`import graphcnn` is quick, loads nothing heavy, and offers every public name."""

import json
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

import graphcnn

HEAVY = ("torch", "triton", "networkx", "onnx", "numpy", "safetensors", "rich", "ray")


def in_a_new_process(program):
    run = [sys.executable, "-c", program]
    return json.loads(subprocess.run(run, capture_output=True, text=True, check=True).stdout)


def test_import_loads_nothing_heavy_and_is_quick():
    program = (
        "import sys, time, json; start = time.perf_counter(); import graphcnn;"
        "seconds = time.perf_counter() - start;"
        f"print(json.dumps([seconds, [m for m in {HEAVY} if m in sys.modules]]))"
    )
    seconds, loaded = in_a_new_process(program)
    assert loaded == []
    assert seconds < 0.3


def test_building_a_graph_needs_neither_torch_nor_triton():
    program = (
        "import sys, json, graphcnn as gx; gx.models.lenet();"
        "x = gx.input('x', (1, 3)); gx.parse(str(gx.graph('g', gx.relu(2 * x))));"
        f"print(json.dumps([m for m in {HEAVY[:4]} if m in sys.modules]))"
    )
    assert in_a_new_process(program) == []


@pytest.mark.parametrize("name", graphcnn.__all__)
def test_public_names(name):
    found = getattr(graphcnn, name)
    assert getattr(found, "__doc__", None)
    assert name in dir(graphcnn)


def test_names_that_are_also_modules_stay_what_the_list_says():
    program = (
        "import json, graphcnn as gx;"
        "import graphcnn.compiler, graphcnn.report, graphcnn.ir, graphcnn.files, graphcnn.passes;"
        "kinds = {name: type(getattr(gx, name)).__name__ for name in gx.__all__};"
        "print(json.dumps([n for n, kind in kinds.items() if kind == 'module']))"
    )
    assert in_a_new_process(program) == ["errors", "models", "ray"]


def test_unknown_name():
    with pytest.raises(AttributeError, match="conv3d"):
        _ = graphcnn.conv3d


def test_a_type_checker_knows_the_functions(tmp_path):
    program = tmp_path / f"program_{uuid4().hex}.py"  # mypy's cache knows a module by its name
    program.write_text(
        'import graphcnn as gx\nx = gx.input("x", (1, 4))\n'
        "y: gx.Tensor = gx.relu(gx.add(x, 1.0)).tanh()\nz: int = gx.softmax(y, dim=1)\n"
    )
    root = Path(__file__).parents[1]
    run = [sys.executable, "-m", "mypy", "--strict", str(program)]
    found = subprocess.run(run, capture_output=True, text=True, check=False, cwd=root).stdout
    assert [line.split(": ")[0] for line in found.splitlines()[:-1]] == [f"{program}:4"], found
