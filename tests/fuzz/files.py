"""Damaged pairs of files: what was saved comes back, or an error of ours."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import graphcnn as gx
from graphcnn.errors import GraphCNNError
from graphcnn.ir import Graph, verify, with_he_weights
from tests.fuzz.drawing import drawn
from tests.fuzz.texts import mutated


def check(seed: int) -> str:
    """Save a graph, damage the files, and load it."""
    choice = random.Random(seed)
    graph = with_he_weights(drawn(seed))
    with TemporaryDirectory() as name:
        folder, text = Path(name), Path(name) / "net.gcn"
        gx.save(graph, text)
        for _ in range(choice.choice((1, 1, 2))):
            damage(folder, choice)
        try:
            loaded = gx.load(text)
        except GraphCNNError as error:
            return type(error).__name__ if error.remedy else f"no remedy: {error}"
        return judged(graph, loaded, folder)


def judged(graph: Graph, loaded: Graph, folder: Path) -> str:
    """What was loaded is what was saved, with its numbers; or a text that names no weights."""
    verify(loaded)
    if loaded.fingerprint == graph.fingerprint:
        assert loaded == graph
        assert all(param.data is not None for param in loaded.params)
        return "what was saved"
    if not loaded.params:
        return "the text of another graph, which has no params"
    assert all(param.data is None for param in loaded.params), "other weights than were saved"
    assert not list(folder.glob("*.safetensors")), "no weights, and there are some"
    return "a text without weights"


def damage(folder: Path, choice: random.Random) -> None:
    """Do something to one of the files."""
    files = [file for file in sorted(folder.iterdir()) if file.is_file()]
    if not files:
        return
    file = choice.choice(files)
    if file.suffix == ".safetensors" and choice.random() < 0.5:
        _edit_header(file, choice)
    elif file.suffix == ".gcn" and choice.random() < 0.5:
        text = file.read_bytes().decode("utf-8", "surrogateescape")
        file.write_bytes(mutated(text, choice).encode("utf-8", "surrogateescape"))
    else:
        choice.choice(DAMAGES)(file, choice)


def _cut(file: Path, choice: random.Random) -> None:
    content = file.read_bytes()
    start, end = sorted(choice.randint(0, len(content)) for _ in range(2))
    file.write_bytes(choice.choice((content[:start], content[:start] + content[end:])))


def _flip(file: Path, choice: random.Random) -> None:
    content = bytearray(file.read_bytes())
    for _ in range(choice.randint(1, 3)):
        if content:
            content[choice.randrange(len(content))] ^= 1 << choice.randrange(8)
    file.write_bytes(content)


def _grow(file: Path, choice: random.Random) -> None:
    content = file.read_bytes()
    at = choice.randint(0, len(content))
    file.write_bytes(content[:at] + choice.randbytes(choice.randint(1, 64)) + content[at:])


def _blank(file: Path, choice: random.Random) -> None:
    file.write_bytes(bytes(choice.choice((0, 8, file.stat().st_size))))


def _remove(file: Path, choice: random.Random) -> None:
    file.unlink()


def _folder(file: Path, choice: random.Random) -> None:
    file.unlink()
    file.mkdir()


def _another(file: Path, choice: random.Random) -> None:
    """The file of another graph under this name."""
    with TemporaryDirectory() as name:
        gx.save(with_he_weights(drawn(choice.randrange(2**32))), Path(name) / "net.gcn")
        others = sorted(Path(name).glob(f"*{file.suffix}"))
        if others:
            shutil.copyfile(others[0], file)


DAMAGES = (_cut, _cut, _flip, _flip, _grow, _blank, _remove, _folder, _another)


def _edit_header(file: Path, choice: random.Random) -> None:
    """Change what a safetensors file says about its tensors; the numbers stay."""
    content = file.read_bytes()
    data = 8 + int.from_bytes(content[:8], "little")
    try:
        header = json.loads(content[8:data])
        choice.choice(EDITS)(header, choice)
    except (ValueError, LookupError, TypeError, AttributeError):
        return  # damaged before
    written = json.dumps(header).encode()
    length = len(written) + choice.choice((0, 0, 0, 0, 1, 2**40))
    file.write_bytes(length.to_bytes(8, "little") + written + content[data:])


def _tensor(header: dict, choice: random.Random) -> dict:
    return header[choice.choice([name for name in header if name != "__metadata__"])]


def _names(header: dict, choice: random.Random) -> None:
    name = choice.choice(list(header))
    entry = header.pop(name)
    if choice.random() < 0.7:
        header[choice.choice((name + "x", "first", "", "\ud800", *header))] = entry


def _dtype(header: dict, choice: random.Random) -> None:
    dtypes = ("F16", "BF16", "F32", "F64", "I32", "BOOL", "F8_E4M3", "F8_E5M2", "C64", "x", None, 1)
    _tensor(header, choice)["dtype"] = choice.choice(dtypes)


def _shape(header: dict, choice: random.Random) -> None:
    entry = _tensor(header, choice)
    shape = entry["shape"]
    shapes = (shape[::-1], [*shape, 1], [1] * 65, [0], [-1], [2**63], [1.5], "x", None, [])
    entry["shape"] = choice.choice(shapes)


def _offsets(header: dict, choice: random.Random) -> None:
    entry, other = _tensor(header, choice), _tensor(header, choice)
    first, last = entry["data_offsets"]
    moved = ([first, last + 1], [last, first], [-1, last], [0, 2**63], [2**64, 2**65], "x", [])
    entry["data_offsets"], other["data_offsets"] = choice.choice(
        (
            (other["data_offsets"], entry["data_offsets"]),
            *((m, other["data_offsets"]) for m in moved),
        )
    )


def _metadata(header: dict, choice: random.Random) -> None:
    header["__metadata__"] = choice.choice(({}, {"a": "b"}, {"a": 1}, None, [], "x"))


EDITS: tuple[Callable[[dict, random.Random], None], ...] = (
    _names,
    _dtype,
    _shape,
    _offsets,
    _metadata,
)
