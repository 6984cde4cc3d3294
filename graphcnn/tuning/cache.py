"""Trials that were made, kept on the disk: a file of JSON for each node, on one device, by one
version of the kernels.

The files lie beside Triton's compiled kernels. Each is written whole, by one process at a time, and
says all that it holds for; what cannot be read is dropped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, astuple, dataclass
from fcntl import LOCK_EX
from pathlib import Path
from typing import Any

import torch
import triton

from graphcnn import kernels, settings, targets, triton_api
from graphcnn.cpu import toolchain
from graphcnn.disk import TEMPORARY, WRITTEN, locked, put, remove, told
from graphcnn.plan import Target
from graphcnn.runtime.timing import Timing
from graphcnn.tuning.trial import Trial
from graphcnn.version import __version__

_ENTRY = r"[0-9a-f]{32}\.json"


@dataclass(frozen=True, slots=True)
class Entry:
    """The trials of one node.

    Attributes:
        where: The device and the versions they hold for (see `environment`).
        node: The node, its types and strides.
        trials: In the order of the model's liking.
        nbytes: Of the file.
    """

    where: Mapping[str, str]
    node: str
    trials: tuple[Trial, ...]
    nbytes: int = 0


def environment(target: Target) -> dict[str, str]:
    """What a time depends on beside the node: the device, and the versions of all that runs."""
    device = target.on
    found = {
        "target": target.name,
        "precision": target.precision,
        "device": device.name,
        "graphcnn": __version__,
        "torch": torch.__version__,
        "triton": triton.__version__,
        "kernels": _sources(kernels.__path__, targets.__path__),
    }
    if device.memory.type == "cpu":
        found |= {"threads": str(torch.get_num_threads()), "sanitizer": str(settings.sanitize())}
        if target.name == "triton":
            found["compiler"] = toolchain.fingerprint()
    return found


def _sources(*folders: Sequence[str]) -> str:
    """A digest of the Python files of some packages."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(Path(folder[0]).glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


class Cache:
    """The entries of all devices and versions.

    Attributes:
        folder: Where they lie.
        notes: What was dropped so far, and why.
    """

    def __init__(self) -> None:
        self.folder = triton_api.cache_folder() / "graphcnn_tuning"
        self.notes: list[str] = []

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Inside it no other process measures, or writes here.

        Raises:
            FileProblem: when the folder cannot be made.
        """
        with told(self.folder, WRITTEN):
            self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder, LOCK_EX):
            yield

    def find(self, where: Mapping[str, str], node: str) -> tuple[Trial, ...] | None:
        """The trials of a node, if they are there."""
        entry = self._read(self._file(where, node))
        if entry is None or (entry.where, entry.node) != (where, node):
            return None
        return entry.trials

    def keep(self, where: Mapping[str, str], node: str, trials: Sequence[Trial]) -> None:
        """Write an entry, beside what is known of other ways of the node; only inside `turn`.

        Raises:
            FileProblem: when it cannot be written.
        """
        tried = {trial.way for trial in trials}
        others = [trial for trial in self.find(where, node) or () if trial.way not in tried]
        rows = [asdict(trial) for trial in (*trials, *others)]
        content = {"where": dict(where), "node": node, "trials": rows}
        file = self._file(where, node)
        remove(self.folder, rf"\..*{TEMPORARY}")  # what a killed writer left
        with told(file, WRITTEN):
            put(file, f"{json.dumps(content, indent=1)}\n".encode(), file)

    def entries(self) -> tuple[Entry, ...]:
        """All that can be read, by node."""
        found: list[Entry] = []
        with suppress(OSError):
            read = (self._read(file) for file in self.folder.glob("*.json"))
            found = [entry for entry in read if entry is not None]
        return tuple(sorted(found, key=lambda entry: (entry.node, *entry.where.values())))

    def clear(self) -> None:
        """Remove all entries."""
        remove(self.folder, rf"{_ENTRY}|\..*{TEMPORARY}")

    def _file(self, where: Mapping[str, str], node: str) -> Path:
        text = json.dumps([dict(where), node], sort_keys=True)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"

    def _read(self, file: Path) -> Entry | None:
        """An entry; one that is damaged is removed and noted."""
        try:
            content = file.read_bytes()
        except OSError:
            return None
        try:
            return _entry(json.loads(content), len(content))
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            self.notes.append(f"{file.name} was damaged and is dropped: {error}")
            with suppress(OSError):
                file.unlink()
            return None


def _entry(content: Any, nbytes: int) -> Entry:
    """An entry of what JSON holds.

    Raises:
        ValueError, LookupError, TypeError, AttributeError: for anything else.
    """
    trials = tuple(_trial(**trial) for trial in content["trials"])
    where = {str(name): str(value) for name, value in content["where"].items()}
    if not trials or not isinstance(content["node"], str):
        raise ValueError("it holds no trials")
    return Entry(where, content["node"], trials, nbytes)


def _trial(
    way: str, timing: dict[str, Any] | None, error: float, share: float, problem: str | None
) -> Trial:
    took = None if timing is None else Timing(**timing)
    numbers = (error, share, *(astuple(took) if took else ()))
    if not all(isinstance(n, int | float) and not n < 0 for n in numbers):
        raise ValueError(f"no time or error: {numbers!r}")
    if not isinstance(way, str) or (took is None) is (problem is None):
        raise ValueError(f"no trial: {way!r}")
    return Trial(way, took, error, share, problem)
