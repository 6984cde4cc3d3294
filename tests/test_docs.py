"""What the pages on the project's inside name exists, and the steps they list are all it takes."""

import re
from functools import cache
from pathlib import Path

import pytest

import graphcnn
from graphcnn.ir import DType, Op
from graphcnn.kernels import stages
from graphcnn.ops import activation
from tests.opinfo import activations
from tests.targets.op_cases import check_sample

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("docs/*.md")), ROOT / "CONTRIBUTING.md"]
FOLDERS = ("graphcnn", "kernels", "tests", "bench")


@cache
def words() -> set[str]:
    """Every word of the sources."""
    found: set[str] = set()
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            if path != Path(__file__):
                found.update(re.findall(r"\w+", path.read_text()))
    return found | set(re.findall(r"\w+", (ROOT / "pyproject.toml").read_text()))


def missing(text: str) -> list[str]:
    """Of the paths, tests and names in backticks, those that are nowhere."""
    return [name for name in re.findall(r"`([\w./:-]+)`", text) if not exists(name)]


def exists(name: str) -> bool:
    path, _, test = name.partition("::")
    if "/" in path or path.endswith((".py", ".md", ".toml")):
        found = next((b / path for b in (ROOT, ROOT / "graphcnn") if (b / path).exists()), None)
        return found is not None and (not test or f"def {test}(" in found.read_text())
    return set(re.findall(r"\w+", name)) <= words()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_names_exists(page):
    assert (
        missing(re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)) == []
    )


def test_what_does_not_exist_is_found():
    text = (
        "`Op`, `graphcnn/nowhere.py`, `tests/test_docs.py::test_never`, `NoSuchClass`, `ir/op.py`"
    )
    assert missing(text) == [text.split("`")[at] for at in (3, 5, 7)]


def test_every_law_says_who_holds_it_and_every_cited_law_is_stated():
    page = (ROOT / "docs/architecture.md").read_text()
    laws = dict(re.findall(r"^(\d+)\. (.*?)(?=^\d+\. |^## )", page, re.DOTALL | re.MULTILINE))
    assert list(laws) == [str(number) for number in range(1, len(laws) + 1)]
    for number, law in laws.items():
        assert re.search(r"Held by\s+(`tests/[\w/]+\.py::\w+`|review)", law), f"law {number}"
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            for number in re.findall(r"\blaw (\d+)", path.read_text()):
                assert number in laws, f"{path} cites law {number}"


@pytest.mark.cpu
def test_an_activation_takes_the_steps_of_the_page(tmp_path, monkeypatch):
    """Each of its blocks of code is run as if it stood in the file that it is said to go to."""
    page = (ROOT / "docs/adding_an_op.md").read_text()
    steps = re.findall(
        r"\*\*\d\. .*? in `([\w/.]+)`.*?^```python\n(.*?)^```", page, re.DOTALL | re.M
    )
    assert [file for file, _ in steps] == [
        "graphcnn/ops/activation.py",
        "kernels/stages.py",
        "graphcnn/__init__.pyi",
        "tests/opinfo/activations.py",
    ]
    known = set(activations.INFO)
    monkeypatch.setattr(Op, "registry", dict(Op.registry))
    monkeypatch.setattr(activations, "INFO", dict(activations.INFO))
    for module, (file, code) in zip(
        (activation, stages, graphcnn, activations), steps, strict=True
    ):
        path = tmp_path / Path(file).name  # Triton reads a kernel's source
        path.write_text(code)
        names = dict(vars(module))
        exec(compile(code, str(path), "exec"), names)
        for name in names.keys() - vars(module).keys() - {"__builtins__"}:
            monkeypatch.setattr(module, name, names[name], raising=False)
    (name,) = activations.INFO.keys() - known
    assert getattr(graphcnn, name)(graphcnn.input("x", (2, 3))).op.name == name
    for sample in activations.INFO[name].samples:
        for target in ("triton", "library", "numpy"):
            check_sample(sample, DType.F32, target, "cpu")
