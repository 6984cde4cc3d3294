"""Who may import whom, what files may be called and how long they may grow."""

import ast
import re
from collections.abc import Container
from importlib.util import resolve_name
from pathlib import Path

import networkx
import pytest

from graphcnn import kernels

ROOT = Path(__file__).parents[1]
HEAVY = {"networkx", "ray", "safetensors", "torch", "triton"}
NAME = re.compile(r"`([\w/.]+)`")


def table() -> dict[str, tuple[set[str], set[str]]]:
    """The import table of docs/architecture.md: room or file -> (rooms, libraries)."""
    rows = re.findall(
        r"^\| (`.*) \|(.*)\|(.*)\|$", (ROOT / "docs/architecture.md").read_text(), re.MULTILINE
    )
    return {
        room: (set(NAME.findall(rooms)), set(NAME.findall(libraries)))
        for names, rooms, libraries in rows
        for room in NAME.findall(names)
    }


MAY_IMPORT = table()


def sources() -> list[Path]:
    return sorted([*ROOT.glob("graphcnn/**/*.py"), *ROOT.glob("kernels/**/*.py")])


def room(path: Path) -> str:
    parts = path.relative_to(ROOT).parts
    if parts[0] == "kernels":
        return "kernels"
    return parts[1].removesuffix(".py")


def dotted(path: Path) -> str:
    """The name under which a file, or a folder of the package, is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    name = ".".join(("graphcnn", *parts) if parts[0] == "kernels" else parts)
    return name.removesuffix(".__init__")


MODULES = {dotted(path): path for path in sources()}


def imported(
    path: Path, package: str, modules: Container[str] = MODULES, *, typed: bool = False
) -> set[str]:
    """Dotted modules that a file imports when it runs; `typed`: for type checkers, too.

    A module whose name is only known at run time stands as the code that makes it.
    """
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not typed:
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package)
            for name in (f"{base}.{alias.name}" for alias in node.names):
                found.add(name if name in modules or base == "graphcnn" else base)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
            ("import_module", "__import__")
        ):
            name, *anchor = [
                ast.literal_eval(a) if isinstance(a, ast.Constant) else a for a in node.args
            ]
            known = isinstance(name, str)
            found.add(resolve_name(name, *anchor or [package]) if known else ast.unparse(name))
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text()))
    return found


def circles(modules: dict[str, Path]) -> list[list[str]]:
    """The modules that import one another, directly or through others.

    Every import counts: at the top of a file, inside a function, and for type checkers. That a
    module needs its own package, and so runs its `__init__`, does not.
    """
    graph = networkx.DiGraph()
    for name, path in modules.items():
        package = name if path.stem == "__init__" else name.rpartition(".")[0]
        graph.add_edges_from(
            (name, other) for other in imported(path, package, modules, typed=True)
        )
    return [sorted(c) for c in networkx.strongly_connected_components(graph) if len(c) > 1]


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_import_table(path):
    name = str(path.relative_to(ROOT))
    if name in ("graphcnn/__init__.py", "graphcnn/__main__.py"):
        return
    own = room(path)
    assert own in MAY_IMPORT, f"{own} has no row in the import table"
    rooms, libraries = MAY_IMPORT.get(name.removeprefix("graphcnn/"), MAY_IMPORT[own])
    for module in imported(path, dotted(path.parent)):
        assert module.replace(".", "").isidentifier(), f"{name} imports what {module} says"
        head, *rest = module.split(".")
        if head == "graphcnn":
            assert rest[0] in rooms | {own}, f"{name} imports {module}"
        elif head in HEAVY:
            assert head in libraries, f"{name} imports {module}"


def test_every_row_of_the_table_has_a_room():
    rooms = {room(path) for path in sources()} - {"__init__", "__main__"}
    assert rooms == {name for name in MAY_IMPORT if "/" not in name}
    assert all((ROOT / "graphcnn" / name).exists() for name in MAY_IMPORT if "/" in name)
    assert rooms >= set().union(*(allowed for allowed, _ in MAY_IMPORT.values()))


def test_the_table_would_catch_a_forbidden_import(tmp_path):
    file = tmp_path / "planted.py"
    file.write_text("""
def late():
    from graphcnn.targets import resolve
    import networkx
    from . import dag
    from .. import compiler
    from ..runtime.timing import timed
    importlib.import_module("torch")
    import_module(".finish", "graphcnn.kernels")
    import_module(f"graphcnn.{name}")
    __import__("onnx")
""")
    assert imported(file, "graphcnn.analysis") == {
        "graphcnn.targets",
        "networkx",
        "graphcnn.analysis.dag",
        "graphcnn.compiler",
        "graphcnn.runtime.timing",
        "torch",
        "graphcnn.kernels.finish",
        "f'graphcnn.{name}'",
        "onnx",
    }


def test_no_circle_of_imports():
    assert circles(MODULES) == []


def test_a_circle_would_be_caught(tmp_path):
    texts = {
        "house.one": "def late():\n    from house import two",
        "house.two": "from .three import x",
        "house.three": "if TYPE_CHECKING:\n    import house.one",
        "house.four": "from house import one",
    }
    modules = {name: tmp_path / name for name in texts}
    for name, path in modules.items():
        path.write_text(texts[name])
    assert circles(modules) == [["house.one", "house.three", "house.two"]]


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_files_have_one_subject_and_a_name(path):
    assert len(path.read_text().splitlines()) <= 350
    assert path.stem not in {"utils", "util", "helpers", "helper", "common", "misc", "manager"}


def test_kernels_stand_under_their_import_name():
    assert (ROOT / "graphcnn" / "kernels").readlink() == Path("../kernels")
    assert Path(kernels.__file__).resolve() == ROOT / "kernels" / "__init__.py"


def untyped(text: str) -> list[str]:
    """The functions that lack an annotation, but for device functions: Triton has no types."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and "triton.jit" not in str(
            [ast.unparse(decorator) for decorator in node.decorator_list]
        ):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            typed = [a.annotation for a in arguments if a.arg not in ("self", "cls")]
            if None in (*typed, node.returns):
                found.append(node.name)
    return found


def test_functions_of_the_host_have_types():
    assert untyped("""
@triton.jit
def device(x, y): ...
def whole(x: int, *, y: int) -> None: ...
def open(x) -> None: ...
def silent(x: int): ...
""") == ["open", "silent"]
    for path in ROOT.glob("kernels/*.py"):
        assert untyped(path.read_text()) == [], path.name


def test_every_folder_of_the_package_is_installed():
    text = (ROOT / "pyproject.toml").read_text()
    for folder in sorted({path.parent for path in sources()}):
        assert f'"{dotted(folder)}"' in text


@pytest.mark.parametrize("path", sorted(ROOT.glob("kernels/*.py")), ids=lambda path: path.stem)
def test_a_kernel_takes_values_of_few_kinds(path):
    """Views, sizes, a geometry and a tail are arguments each, and not all their parts."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef) and node.name.endswith("_kernel"):
            assert len(node.args.args) <= 12, node.name
