import ctypes
import os
import tempfile

import pytest

from graphcnn.cpu import loader, toolchain
from graphcnn.errors import FileProblem


@pytest.fixture(scope="module")
def sealed():
    return {
        n: loader.seal(toolchain.shared_object(f"int answer(void) {{ return {n}; }}\n"))
        for n in (1, 2)
    }


def test_what_was_sealed_loads_and_runs_as_long_as_it_is_held(sealed):
    first, second = loader.load(sealed[1]), loader.load(sealed[2])
    assert (first.answer(), second.answer()) == (1, 2)
    assert loader.load(bytes(sealed[1])) is first
    del second
    assert first.answer() == 1
    assert loader.load(sealed[2]).answer() == 2


def test_a_path_that_is_in_use_is_not_taken_for_another_library(sealed):
    """The loader compares paths: the same descriptor must not find the library loaded before."""
    held = loader.load(sealed[1])
    for n in (2, 1, 2):
        assert loader._open(sealed[n][: -loader._DIGEST_BYTES]).answer() == n
    assert held.answer() == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:20],
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: bytes(len(data)),
        lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:],
    ],
)
def test_damaged_bytes_are_never_mapped(damage, sealed, monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", None)
    with pytest.raises(ValueError, match="damaged"):
        loader.load(damage(sealed[1]))


def refuse(*_):
    raise OSError(1, "failed to map segment from shared object")


def test_where_memory_may_not_be_executed_a_file_is(sealed, monkeypatch):
    monkeypatch.setattr(os, "memfd_create", refuse, raising=False)
    before = set(os.listdir(tempfile.gettempdir()))
    opened = loader._open(sealed[1][: -loader._DIGEST_BYTES])
    assert opened.answer() == 1
    left = set(os.listdir(tempfile.gettempdir())) - before
    assert not [name for name in left if name.endswith(".so")]


def test_where_nothing_may_be_executed_the_folder_is_named(sealed, monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", refuse)
    with pytest.raises(FileProblem, match="folder for temporary files") as caught:
        loader._open(sealed[1])
    assert tempfile.gettempdir() in caught.value.where
    assert "map segment" in str(caught.value.got)
