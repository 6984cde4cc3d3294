"""Compiled C on disk: found by content, replaced when damaged, done without where it cannot be."""

import os

import pytest

from graphcnn import disk, triton_api
from graphcnn.cpu import loader, store, toolchain

SOURCE = "int answer(void) { return %d; }\n"


@pytest.fixture(autouse=True)
def compiled(tmp_path, monkeypatch):
    """The sources that the compiler has been called for, with an empty cache."""
    monkeypatch.setattr(triton_api, "cache_folder", lambda: tmp_path / "cache")
    sources, real = [], toolchain.shared_object

    def counting(source, **options):
        sources.append(source)
        return real(source, **options)

    monkeypatch.setattr(toolchain, "shared_object", counting)
    return sources


def files(tmp_path):
    return sorted((tmp_path / "cache" / "graphcnn").iterdir())


def test_the_same_text_is_compiled_once(tmp_path, compiled):
    for n in (1, 2, 1, 2):
        assert loader.load(store.built(SOURCE % n)).answer() == n
    assert compiled == [SOURCE % 1, SOURCE % 2]
    assert len(files(tmp_path)) == 2
    store.built(SOURCE % 1, checked=True)
    assert len(compiled) == 3


def test_another_compiler_or_header_is_another_kernel(compiled, monkeypatch):
    store.built(SOURCE % 1)
    monkeypatch.setattr(toolchain, "fingerprint", lambda sources: f"another {sources}")
    store.built(SOURCE % 1)
    assert len(compiled) == 2


@pytest.mark.parametrize("damage", [lambda d: b"", lambda d: d[:-1], lambda d: b"\0" * len(d)])
def test_a_damaged_file_is_replaced_with_a_note(damage, tmp_path, compiled):
    whole = store.built(SOURCE % 1)
    (file,) = files(tmp_path)
    file.write_bytes(damage(whole))
    with pytest.warns(UserWarning, match=f"damaged kernel is compiled anew: {file}"):
        assert store.built(SOURCE % 1) == whole
    assert file.read_bytes() == whole
    assert files(tmp_path) == [file]
    store.built(SOURCE % 1)
    assert len(compiled) == 2


def test_a_folder_that_cannot_be_made_is_done_without(tmp_path, compiled):
    (tmp_path / "cache").write_text("")
    for _ in range(2):
        assert loader.load(store.built(SOURCE % 3)).answer() == 3
    assert len(compiled) == 2


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def full(descriptor):
        os.truncate(descriptor, os.fstat(descriptor).st_size // 2)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk.os, "fsync", full)
    assert loader.load(store.built(SOURCE % 4)).answer() == 4
    assert files(tmp_path) == []
