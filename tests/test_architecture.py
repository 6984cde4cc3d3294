"""Who may import whom, what files may be called and how long they may grow."""

import ast
from importlib.util import resolve_name
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {"networkx", "safetensors", "torch", "triton"}
STANDARD = {"arguments", "errors", "forks", "settings"}

# folder or top-level module -> (folders of graphcnn, heavy packages) it may import.
BASE = STANDARD | {"ir"}
OPS = BASE | {"ops"}
MAY_IMPORT: dict[str, tuple[set[str], set[str]]] = {
    "errors": (set(), set()),
    "arguments": ({"errors"}, set()),
    "forks": (set(), set()),
    "settings": (set(), set()),
    "triton_api": ({"errors"}, {"torch", "triton"}),
    "ir": (STANDARD, set()),
    "ops": (BASE, set()),
    "frontend": (OPS, set()),
    "models": (OPS | {"frontend"}, {"safetensors"}),
    "analysis": (OPS, set()),
    "passes": (OPS | {"analysis"}, set()),
    "plan": (OPS | {"analysis"}, set()),
    "cpu": (STANDARD | {"triton_api"}, {"torch", "triton"}),
    "targets": (OPS | {"plan", "kernels", "cpu", "triton_api"}, {"torch"}),
    "runtime": (BASE | {"plan"}, {"torch"}),
    "disk": ({"errors"}, set()),
    "files": (OPS | {"disk", "frontend"}, {"safetensors"}),
    "compiler": (OPS | {"passes", "plan", "targets", "runtime"}, set()),
    "report": (
        OPS | {"analysis", "compiler", "files", "kernels", "passes", "plan", "runtime", "targets"},
        {"torch", "triton"},
    ),
    "demo": (OPS | {"compiler", "files", "models", "report", "runtime", "targets"}, {"torch"}),
    "cli": (
        OPS | {"compiler", "demo", "files", "models", "passes", "report", "targets"},
        set(),
    ),
    "kernels": (set(), {"torch", "triton"}),
}
EXCEPTIONS = {"graphcnn/analysis/dag.py": {"networkx"}}


def sources() -> list[Path]:
    return sorted([*ROOT.glob("graphcnn/**/*.py"), *ROOT.glob("kernels/**/*.py")])


def room(path: Path) -> str:
    parts = path.relative_to(ROOT).parts
    if parts[0] == "kernels":
        return "kernels"
    return parts[1].removesuffix(".py")


def package(path: Path) -> str:
    """The dotted name of a file's folder, which its relative imports start from."""
    folder = path.relative_to(ROOT).parent.parts
    return ".".join(("graphcnn", *folder) if folder[0] == "kernels" else folder)


def imported(path: Path, package: str) -> set[str]:
    """Dotted modules that a file imports when it runs; names for type checkers do not count.

    A module whose name is only known at run time stands as the code that makes it.
    """
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package)
            names = {f"graphcnn.{alias.name}" for alias in node.names}
            found.update(names if base == "graphcnn" else {base})
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


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_import_table(path):
    name = str(path.relative_to(ROOT))
    if name in ("graphcnn/__init__.py", "graphcnn/__main__.py"):
        return
    own = room(path)
    assert own in MAY_IMPORT, f"{own} has no row in the import table"
    folders, packages = MAY_IMPORT[own]
    packages = packages | EXCEPTIONS.get(name, set())
    for module in imported(path, package(path)):
        assert module.replace(".", "").isidentifier(), f"{name} imports what {module} says"
        head, *rest = module.split(".")
        if head == "graphcnn":
            assert rest[0] in folders | {own}, f"{name} imports {module}"
        elif head in HEAVY:
            assert head in packages, f"{name} imports {module}"


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
        "graphcnn.analysis",
        "graphcnn.compiler",
        "graphcnn.runtime.timing",
        "torch",
        "graphcnn.kernels.finish",
        "f'graphcnn.{name}'",
        "onnx",
    }


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_files_have_one_subject_and_a_name(path):
    assert len(path.read_text().splitlines()) <= 350
    assert path.stem not in {"utils", "util", "helpers", "helper", "common", "misc", "manager"}


def test_every_folder_of_the_package_is_installed():
    text = (ROOT / "pyproject.toml").read_text()
    for folder in sorted({path.parent for path in sources()}):
        parts = folder.relative_to(ROOT).parts
        package = ".".join(("graphcnn", *parts) if parts[0] == "kernels" else parts)
        assert f'"{package}"' in text
