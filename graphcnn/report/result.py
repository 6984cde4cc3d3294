"""What every report is: a value that shows as tables and saves as JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from abc import ABC, abstractmethod
from fractions import Fraction
from pathlib import Path
from typing import Any

from graphcnn.files import write
from graphcnn.report.tables import Table, text


class Result(ABC):
    """Base of the reports, which are frozen dataclasses."""

    @abstractmethod
    def tables(self) -> tuple[Table, ...]:
        """What it shows; printed, these are text."""

    def __str__(self) -> str:
        return "\n\n".join(map(text, self.tables()))

    def to_json(self) -> dict[str, Any]:
        """The fields as plain data: dicts, lists, strings and numbers.

        A number that JSON cannot hold is the string "nan", "inf" or "-inf".
        """
        fields = dataclasses.asdict(self)  # type: ignore[call-overload]  # subclasses are dataclasses
        return {name: _plain(value) for name, value in fields.items()}

    def save(self, path: str | Path) -> None:
        """Write `to_json` to a file: all of it, or none (see `files.write`).

        Raises:
            FileProblem: when the file cannot be written.
        """
        text = json.dumps(self.to_json(), indent=2, allow_nan=False)
        write(path, f"{text}\n".encode())


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Fraction):
        return float(value) if value.denominator > 1 else int(value)
    return value
