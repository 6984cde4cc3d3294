"""Who listens to a compile because the environment asks for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphcnn.errors import FileProblem, PassError
from graphcnn.ir import parse
from graphcnn.passes import PASSES, Simplify, default_pipeline, journal, run_passes
from tests.passes.before_after import graph
from tests.passes.test_pipeline import BODY, Spoil


def test_dumps_are_numbered_and_parse_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHCNN_DUMP", str(tmp_path / "new"))
    given = graph(BODY)
    result = run_passes(given, default_pipeline(), journal())
    files = sorted((tmp_path / "new").iterdir())
    assert [file.name for file in files] == [
        "00-source.gcn",
        "01-simplify.gcn",
        "02-canonicalize.gcn",
        "03-fold-batch-norm.gcn",
        "04-fold-average-pool.gcn",
        "05-narrow.gcn",
        "06-fuse.gcn",
    ]
    assert parse(files[0].read_text()) == given
    assert parse(files[-1].read_text()) == result


def test_a_dump_that_cannot_be_written_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GRAPHCNN_DUMP", str(tmp_path / "file"))
    with pytest.raises(FileProblem, match="GRAPHCNN_DUMP"):
        run_passes(graph(BODY), default_pipeline(), journal())


def test_debug_prints_stages_and_changed_graphs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = graph(BODY)
    run_passes(given, default_pipeline(), journal())
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("GRAPHCNN_DEBUG", "1")
    result = run_passes(given, default_pipeline(), journal())
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in lines] == list(PASSES)
    assert lines[0].endswith("3 ->    2 nodes")
    monkeypatch.setenv("GRAPHCNN_DEBUG", "2")
    run_passes(given, default_pipeline(), journal())
    printed = capsys.readouterr().err
    assert printed.count("graph g {") == 2
    assert str(result) in printed


def test_debug_prints_how_a_pass_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GRAPHCNN_DEBUG", "1")
    with pytest.raises(PassError):
        run_passes(graph(BODY), (Simplify(), Spoil("output")), journal())
    *_, last = capsys.readouterr().err.splitlines()
    assert last.split()[0] == "spoil"
    assert last.endswith("ms  PassError")
