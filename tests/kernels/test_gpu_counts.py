"""What each kernel's machine code takes and holds, beside a table of it: nothing gets worse unseen.

`tests/golden/gpu/ARCHITECTURE-DTYPE.txt` has a line for each launch of `gpu_launches.named`, as the
compiler of one version of Triton left it, with the rules that it breaks. A kernel may be better
than its line. `python -m pytest tests/kernels/test_gpu_counts.py --update-golden` writes them anew;
without it, and without --every-kernel, one in `ONE_IN` is compiled.
"""

from pathlib import Path
from typing import NamedTuple

import pytest
import triton

from graphcnn.errors import KernelFailed
from graphcnn.gpu_code import ARCHITECTURES, compile_all, problems
from tests.conftest import HERE
from tests.kernels.gpu_launches import call_of, named

VERSION = "3.9."
RENEW = f"`python -m pytest tests/kernels/{Path(__file__).name} --update-golden` writes it anew"
ONE_IN = 16
# Of a card of each generation in each dtype; 8.6 and 8.9 have the tiles of one another.
GENERATIONS = ("sm_80", "sm_90", "sm_100", "sm_120")
TABLES = [(name, dtype) for name in GENERATIONS for dtype in ("f16", "bf16", "f32")]
TABLES += [(name, dtype) for name in ("sm_86", "sm_89") for dtype in ("f16", "f32")]
WIDTHS = ("-", "plain", "4", "8", "16", "TMA")

pytestmark = pytest.mark.skipif(
    not triton.__version__.startswith(VERSION),
    reason=f"the table is of Triton {VERSION}x, and this is {triton.__version__}",
)


class Line(NamedTuple):
    """A line of the table: see `GpuCode` and `Counts`."""

    registers: int
    spilled: int
    shared: int
    before: int
    step: int
    after: int
    shuffles: int
    matrix: str
    copies: str
    broken: str
    name: str


FORM = "{:>9} {:>7} {:>6} {:>6} {:>5} {:>5} {:>8} {:>7} {:>6}  {}{}"


def line_of(name, code):
    counts = code.counts
    return Line(
        code.registers,
        code.spilled_bytes,
        code.shared_bytes,
        counts.before,
        round(counts.step),
        counts.after,
        counts.shuffles,
        counts.matrix or "-",
        counts.copies,
        "".join(f"[{problem}] " for problem in problems(code)),
        name,
    )


def written(lines):
    return "\n".join(
        [FORM.format(*Line._fields[:-2], "", "name"), *(FORM.format(*x) for x in lines)]
    )


def read(text):
    """The lines of a table, by name."""
    found = {}
    for row in text.splitlines()[1:]:
        *cells, rest = row.split(maxsplit=9)
        broken, bracket, name = rest.rpartition("] ")
        numbers = map(int, cells[:7])
        line = Line(*numbers, *cells[7:], broken + bracket, name)
        found[line.name] = line
    return found


def worse(now, was):
    """In what a kernel is worse than its line, beyond what a change nearby costs."""
    allowed = Line(
        was.registers + 8,
        was.spilled,
        was.shared,
        was.before * 1.1 + 16,
        was.step * 1.03 + 2,
        was.after * 1.05 + 8,
        was.shuffles,
        *was[7:],
    )
    found = [
        f"{field} {got}, was {old}"
        for field, got, old, most in zip(Line._fields[:7], now, was, allowed, strict=False)
        if got > most
    ]
    if now.matrix != was.matrix:
        found.append(f"matrix {now.matrix}, was {was.matrix}")
    if WIDTHS.index(now.copies) < WIDTHS.index(was.copies):
        found.append(f"copies {now.copies}, was {was.copies}")
    if now.broken and not was.broken:
        found.append(now.broken)
    return found


@pytest.mark.parametrize(("name", "dtype"), TABLES)
def test_no_kernel_is_worse_than_the_table_has_it(name, dtype, request):
    gpu, path = ARCHITECTURES[name], HERE / "golden" / "gpu" / f"{name}-{dtype}.txt"
    update = request.config.getoption("--update-golden")
    launches = dict(named(gpu.capability, dtype))
    if not update:
        assert path.exists(), f"there is no {path}: {RENEW}"
        known = read(path.read_text())
        assert known.keys() == launches.keys(), f"{path} is of other launches: {RENEW}"
    step = 1 if update or request.config.getoption("--every-kernel") else ONE_IN
    chosen = list(launches.items())[::step]
    codes = compile_all([call_of(launch) for _, launch in chosen], gpu)
    assert [code for code in codes if isinstance(code, KernelFailed)] == []
    lines = [line_of(what, code) for (what, _), code in zip(chosen, codes, strict=True)]
    if update:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(written(lines) + "\n")
    else:
        found = {line.name: worse(line, known[line.name]) for line in lines}
        assert {what: told for what, told in found.items() if told} == {}


LINE = Line(128, 0, 98304, 500, 153, 400, 0, "HGMMA", "16", "", "conv2d")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"registers": 136, "step": 156, "after": 410}, []),
        ({"registers": 90, "step": 120, "copies": "TMA"}, []),
        ({"step": 160}, ["step 160, was 153"]),
        ({"spilled": 4}, ["spilled 4, was 0"]),
        ({"shuffles": 1}, ["shuffles 1, was 0"]),
        ({"copies": "8"}, ["copies 8, was 16"]),
        ({"copies": "plain"}, ["copies plain, was 16"]),
        ({"matrix": "HMMA"}, ["matrix HMMA, was HGMMA"]),
        ({"broken": "[no room] "}, ["[no room] "]),
    ],
)
def test_what_is_worse(changes, told):
    assert worse(LINE._replace(**changes), LINE) == told


def test_a_table_reads_back():
    lines = [LINE, LINE._replace(name="conv2d 1x2, relu", broken="[a] [b] ", copies="-")]
    assert list(read(written(lines)).values()) == lines
