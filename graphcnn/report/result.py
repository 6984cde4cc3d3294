"""What every report is: a value that prints as tables and saves as JSON."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from pathlib import Path
from typing import Any

from graphcnn.errors import FileProblem


class Result:
    """Base of the reports, which are frozen dataclasses."""

    def to_json(self) -> dict[str, Any]:
        """The fields as plain data: dicts, lists, strings and numbers.

        A number that JSON cannot hold is the string "nan", "inf" or "-inf".
        """
        fields = dataclasses.asdict(self)  # type: ignore[call-overload]  # subclasses are dataclasses
        return {name: _plain(value) for name, value in fields.items()}

    def save(self, path: str | Path) -> None:
        """Write `to_json` to a file: all of it, or none.

        Raises:
            FileProblem: when the file cannot be written.
        """
        path = Path(path)
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        text = json.dumps(self.to_json(), indent=2, allow_nan=False)
        try:
            try:
                part.write_text(text + "\n", encoding="utf-8")
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
        except OSError as error:
            raise FileProblem(
                "a report cannot be written",
                where=str(path),
                got=error,
                remedy="name a file in a directory that exists and can be written",
            ) from error


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
