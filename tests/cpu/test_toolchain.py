import os
import shlex
import sys

import pytest

from graphcnn import cpu, triton_api
from graphcnn.cpu import toolchain
from graphcnn.errors import FileProblem, MissingCompiler

SOURCE = "int answer(void) { return 42; }\n"


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setattr(triton_api, "cache_folder", lambda: folder)
    monkeypatch.delenv("CC", raising=False)
    return folder


def script(path, body):
    """A program in place of a compiler."""
    path.write_text(f"#!{sys.executable}\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_a_missing_compiler_is_said_in_our_words(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingCompiler, match="set CC"):
        toolchain.compiler()
    with pytest.raises(MissingCompiler, match="none was found"):
        toolchain.fingerprint()


@pytest.mark.parametrize("cc", ["/no/such/gcc", "no-such-ccache gcc", "'gcc", '""'])
def test_cc_is_never_passed_over(cc, monkeypatch):
    monkeypatch.setenv("CC", cc)
    for ask in (toolchain.compiler, toolchain.fingerprint):
        with pytest.raises(MissingCompiler, match="CC names a C compiler that cannot") as caught:
            ask()
        assert repr(cc) in caught.value.got


def test_cc_may_have_options_and_a_program_before_it(tmp_path, monkeypatch):
    (found,) = toolchain.compiler()
    plain = toolchain.fingerprint()
    monkeypatch.setenv("CC", f"  {found} -O1 -DNAME='a b'")
    assert toolchain.compiler() == (found, "-O1", "-DNAME=a b")
    assert toolchain.fingerprint() != plain
    (tmp_path / "a folder").mkdir()
    ran = tmp_path / "ran"
    wrapper = script(
        tmp_path / "a folder" / "wrapper",
        f"import os, sys; open({str(ran)!r}, 'w'); os.execv(sys.argv[1], sys.argv[1:])",
    )
    monkeypatch.setenv("CC", shlex.join([wrapper, found]))
    assert toolchain.shared_object(SOURCE).startswith(b"\x7fELF")
    assert ran.exists()
    monkeypatch.setenv("CC", "")
    assert toolchain.compiler() == (found,)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("", "no output file"),
        ("raise SystemExit(3)", "exit status 3"),
        ("raise SystemExit('what is -O3?')", r"what is -O3\?"),
    ],
)
def test_a_compiler_that_makes_nothing_is_named(body, words, tmp_path, monkeypatch):
    monkeypatch.setenv("CC", script(tmp_path / "odd", body))
    with pytest.raises(MissingCompiler, match=words) as caught:
        toolchain.shared_object(SOURCE)
    assert str(tmp_path / "odd") in caught.value.where


def test_a_file_that_is_no_program_is_named(tmp_path, monkeypatch):
    file = tmp_path / "notes"
    file.write_bytes(b"\x00\x01")
    file.chmod(0o755)
    monkeypatch.setenv("CC", str(file))
    with pytest.raises(MissingCompiler, match="cannot be started"):
        toolchain.shared_object(SOURCE)


FULL = "raise SystemExit('fatal error: error writing to x.s: No space left on device')"


@pytest.mark.parametrize("who", ["we", "the compiler"])
def test_a_full_temporary_folder_is_named(who, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(toolchain.tempfile, "tempdir", None)  # what it remembers of TMPDIR
    if who == "we":
        monkeypatch.setattr(toolchain.Path, "write_text", no_room)
    else:
        monkeypatch.setenv("CC", script(tmp_path / "cc", FULL))
    with pytest.raises(FileProblem, match="folder for temporary files") as caught:
        toolchain.shared_object(SOURCE)
    assert str(tmp_path) in caught.value.where
    assert "TMPDIR" in caught.value.remedy
    assert "No space left" in str(caught.value.got)


def no_room(*_):
    raise OSError(28, os.strerror(28))


def test_the_compiler_that_filled_the_cache_is_remembered(cache_folder, monkeypatch):
    known = toolchain.fingerprint()
    assert not list(cache_folder.iterdir()), "asking leaves nothing behind"
    toolchain.shared_object(SOURCE)
    assert len(list(cache_folder.iterdir())) == 1
    monkeypatch.setenv("PATH", "")
    assert toolchain.fingerprint() == known
    with pytest.raises(MissingCompiler, match="none was found"):
        toolchain.shared_object(SOURCE)
    monkeypatch.setenv("CC", "gcc")
    with pytest.raises(MissingCompiler, match="CC names"):
        toolchain.fingerprint()


def test_instructions_for_bfloat16(monkeypatch):
    for words, there in (("avx512f avx512_bf16 amx_tile", True), ("avx2 avx512f", False)):
        monkeypatch.setattr(toolchain, "cpu_features", lambda words=words: f"flags\t: {words}")
        assert cpu.has_bf16() is there
