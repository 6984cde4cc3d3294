"""Tables as text, and the spelling of the numbers in them."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass
from io import StringIO

from rich import box
from rich.console import Console
from rich.table import Table as Grid

from graphcnn.runtime.timing import three_digits

WIDTH = 80
_GAP = 2
# A name of fewer letters tells nothing; where numbers leave no room for these, a table is wider.
_SHORTEST = 8
# A line under the headings, in ASCII: some terminals have nothing else.
_RULE = box.Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)


@dataclass(frozen=True, slots=True)
class Table:
    """What a report shows, for any form it may be shown in.

    Attributes:
        title: The line above it.
        columns: Headings; none where there is only text.
        rows: A cell per column.
        words: How many columns, from the left, hold words; those after them hold numbers.
        notes: Paragraphs below it.
    """

    title: str
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    words: int = 1
    notes: tuple[str, ...] = ()


def text(table: Table) -> str:
    """A table in letters, at most `WIDTH` columns wide."""
    lines = [paragraph(table.title), *(_grid(table) if table.columns else ())]
    notes = [paragraph(note) for note in table.notes]
    return "\n".join((*lines, *([""] if notes else []), *notes))


def _grid(table: Table) -> list[str]:
    """Numbers stay whole and are set flush right. Words share the room that these leave: a long
    cell continues on the next line, after a space, "+", "," or "("; a name longer than its share is
    elided in the middle, or continues as well, after "." or "_" if it can, where another one would
    look like it.
    """
    words, columns = table.words, table.columns
    cells = (columns, *table.rows)
    by_column = list(zip(*cells, strict=True))
    numbers = [
        max(_longest(column[:1], str.split), _longest(column[1:], str.splitlines))
        for column in by_column[words:]
    ]
    # The rule is one longer than the last column.
    room = WIDTH - sum(numbers) - _GAP * (len(columns) - 1) - 1
    parts = [_longest(column, _parts) for column in by_column[:words]]
    lines = [_longest(column, str.splitlines) for column in by_column[:words]]
    least = _largest(room, lambda limit: [min(part, max(limit, _SHORTEST)) for part in parts])
    widths = _largest(
        room, lambda limit: [min(max(a, limit), b) for a, b in zip(least, lines, strict=True)]
    )
    drawn = Grid(box=_RULE, show_edge=False, padding=(0, 1, 0, 0))
    for index, width in enumerate((*widths, *numbers)):
        drawn.add_column(cells[0][index], justify="left" if index < words else "right", width=width)
    alike = [_alike(column, width) for column, width in zip(by_column, widths, strict=False)]
    for row in cells[1:]:
        drawn.add_row(*map(_fitted, row[:words], widths, alike), *row[words:])
    printed = StringIO()
    width = sum((*widths, *numbers)) + _GAP * len(columns)
    Console(file=printed, width=width, color_system=None, markup=False, highlight=False).print(
        drawn
    )
    return [line.rstrip() for line in printed.getvalue().splitlines() if line.strip()]


def paragraph(text: str) -> str:
    """Text in lines of at most `WIDTH`; longer words stay whole."""
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def _parts(text: str) -> list[str]:
    """What a line is not broken in."""
    return re.findall(r"[^\s+,(]*[+,(]|[^\s+,(]+", text)


def _longest(column: Iterable[str], parts: Callable[[str], list[str]]) -> int:
    return max((len(part) for cell in column for part in parts(cell)), default=0)


def _largest(room: int, widths: Callable[[int], list[int]]) -> list[int]:
    """The widths for the largest limit with which they fit in the room."""
    fitting = (fit for fit in map(widths, range(room, 0, -1)) if sum(fit) <= room)
    return next(fitting, widths(0))


def _alike(column: Iterable[str], width: int) -> set[str]:
    """What several names of a column would become where they are elided to a width."""
    names = {part for cell in column for part in _parts(cell)}
    times = Counter(_elided(name, width) for name in names)
    return {short for short, count in times.items() if count > 1}


def _fitted(cell: str, width: int, alike: Set[str]) -> str:
    """A cell whose words fit in a column: those that do not are broken or elided."""
    return re.sub(rf"\S{{{width + 1},}}", lambda word: _broken(word[0], width, alike), cell)


def _broken(word: str, width: int, alike: Set[str]) -> str:
    lines = [""]
    for part in _parts(word):
        short = _elided(part, width)
        for piece in _continued(part, width) if short in alike else [short]:
            if lines[-1] and len(lines[-1]) + len(piece) > width:
                lines.append("")
            lines[-1] += piece
    return "\n".join(lines)


def _continued(name: str, width: int) -> list[str]:
    words = re.sub(r"(?<=[._])", " ", name)
    return [line.replace(" ", "") for line in textwrap.wrap(words, width)]


def _elided(name: str, width: int) -> str:
    if len(name) <= width:
        return name
    ending = (width - 1) // 2
    return f"{name[: width - 2 - ending]}..{name[-ending:]}"


def binary_size(nbytes: int) -> str:
    """Bytes in the largest unit that fits: "1.5 KiB"."""
    exponent = min(max(nbytes.bit_length() - 1, 0) // 10, 4)
    unit = ("B", "KiB", "MiB", "GiB", "TiB")[exponent]
    return f"{three_digits(nbytes / 1024**exponent)} {unit}" if exponent else f"{nbytes} B"


def count(number: int) -> str:
    """A count in full up to 9,999, beyond that in thousands or millions: "57.4 M"."""
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= max(size, 10**4):
            return f"{three_digits(number / size)} {unit}"
    return f"{number:,}"


def scientific(number: float) -> str:
    """Two significant digits: "1.2e-07"."""
    return "0" if number == 0 else f"{number:.1e}"


def dimensions(sizes: Iterable[int]) -> str:
    """Sizes as "1x3x224x224"."""
    return "x".join(map(str, sizes))
