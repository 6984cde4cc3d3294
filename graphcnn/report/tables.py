"""Tables as text, and the spelling of the numbers in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from io import StringIO

from rich import box
from rich.console import Console
from rich.table import Table

WIDTH = 120


def table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, words: int = 1
) -> str:
    """A titled table, at most `WIDTH` columns wide; long cells continue on the next line.

    Args:
        title: The line above it.
        columns: Headings.
        rows: A cell per column.
        words: How many columns, from the left, hold words; those after them hold numbers and are
            set flush right.
    """
    drawn = Table(box=box.SIMPLE_HEAD)
    for index, heading in enumerate(columns):
        drawn.add_column(heading, justify="left" if index < words else "right", overflow="fold")
    for row in rows:
        drawn.add_row(*row)
    text = StringIO()
    Console(file=text, width=WIDTH, color_system=None, markup=False, highlight=False).print(drawn)
    lines = (line.rstrip() for line in text.getvalue().splitlines())
    return "\n".join((title, *(line for line in lines if line)))


def milliseconds(seconds: float) -> str:
    """Three significant digits: "0.0123 ms", "12.3 ms", "1,230 ms"."""
    return f"{_three_digits(1e3 * seconds)} ms"


def binary_size(nbytes: int) -> str:
    """Bytes in the largest unit that fits: "1.5 KiB"."""
    size, unit = float(nbytes), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "B" else f"{_three_digits(size)} {unit}"


def count(number: int) -> str:
    """A count in full up to 9,999, beyond that in thousands or millions: "57.4 M"."""
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= max(size, 10**4):
            return f"{_three_digits(number / size)} {unit}"
    return f"{number:,}"


def scientific(number: float) -> str:
    """Two significant digits: "1.2e-07"."""
    return "0" if number == 0 else f"{number:.1e}"


def dimensions(sizes: Iterable[int]) -> str:
    """Sizes as "1x3x224x224"."""
    return "x".join(map(str, sizes))


def _three_digits(number: float) -> str:
    decimals = next((d for limit, d in ((10, 2), (100, 1)) if number < limit), 0)
    return f"{number:,.{4 if 0 < number < 0.1 else decimals}f}"
