"""Files are written whole or not at all, whatever they are and whoever else is at work."""

import os
import socket
import stat
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

import graphcnn as gx
from graphcnn.errors import FileProblem, GraphCNNError
from graphcnn.files import write
from tests import saved
from tests.saved import same, weights_of


@pytest.fixture
def network():
    return saved.network()


def test_a_failed_write_leaves_nothing(network, tmp_path):
    with pytest.raises(FileProblem, match="cannot be written"):
        gx.save(network, tmp_path / "no such folder" / "net.gcn")
    (tmp_path / "taken.gcn").mkdir()
    with pytest.raises(FileProblem, match="cannot be written"):
        gx.save(network, tmp_path / "taken.gcn")
    assert os.listdir(tmp_path) == ["taken.gcn"]


def test_files_have_the_permissions_that_the_user_s_files_have(network, tmp_path):
    gx.save(network, tmp_path / "net.gcn")
    (tmp_path / "other").write_text("")
    modes = {stat.S_IMODE(os.stat(file).st_mode) for file in tmp_path.iterdir()}
    assert len(modes) == 1


@pytest.mark.parametrize("of", ["text", "weights", "the folder, the second time"])
def test_a_failed_write_leaves_the_pair_that_was_there(network, tmp_path, monkeypatch, of):
    path = tmp_path / "net.gcn"
    gx.save(network, path)
    before = sorted(os.listdir(tmp_path))
    other = network.replace(params=tuple(replace(p, data=-p.data) for p in network.params))
    left = {"text": 3, "weights": 1, "the folder, the second time": 4}[of]
    sync = os.fsync

    def full(descriptor):
        nonlocal left
        left -= 1
        if not left:
            raise KeyboardInterrupt if of.startswith("the folder") else OSError(28, "disk full")
        sync(descriptor)

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(KeyboardInterrupt if of.startswith("the folder") else FileProblem):
        gx.save(other, path)
    assert same(gx.load(path), other if of.startswith("the folder") else network)
    assert len(os.listdir(tmp_path)) == 2 + of.startswith("the folder")
    monkeypatch.undo()
    gx.save(network, path)
    assert sorted(os.listdir(tmp_path)) == before


def test_a_killed_save_leaves_a_whole_pair():
    """`python -m tests.killed_saves --kills 200` draws more moments."""
    run = [sys.executable, "-m", "tests.killed_saves", "--kills", "4", "--features", "64"]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_savers_and_loaders_at_once(network, tmp_path):
    """Loads see one of the graphs; in the end there is one pair."""
    path = tmp_path / "net.gcn"
    graphs = [
        network.replace(params=tuple(replace(p, data=k * p.data) for p in network.params))
        for k in (1, 2, 3)
    ]
    gx.save(graphs[0], path)
    wrong = []

    def saving(graph):
        for _ in range(20):
            gx.save(graph, path)

    def loading():
        while any(saver.is_alive() for saver in savers):
            try:
                found = gx.load(path)
                wrong.extend([found] * (not any(same(found, graph) for graph in graphs)))
            except GraphCNNError as error:
                wrong.append(error)

    savers = [threading.Thread(target=saving, args=(graph,)) for graph in graphs]
    loaders = [threading.Thread(target=loading) for _ in range(2)]
    for thread in savers + loaders:
        thread.start()
    for thread in savers + loaders:
        thread.join()
    assert not wrong
    assert any(same(gx.load(path), graph) for graph in graphs)
    assert len(os.listdir(tmp_path)) == 2


def test_a_save_inside_a_save_is_refused(network, tmp_path, monkeypatch):
    """A signal handler that saves would wait for the code that it interrupts."""
    path = tmp_path / "net.gcn"
    gx.save(network, path)
    sync, inside = os.fsync, []

    def interrupted(descriptor):
        assert same(gx.load(path), network)
        with pytest.raises(FileProblem, match="signal handler") as caught:
            gx.save(network, path)
        inside.append(caught)
        sync(descriptor)

    monkeypatch.setattr("os.fsync", interrupted)
    gx.save(network, path)
    assert inside
    assert same(gx.load(path), network)


def test_modes_are_kept(network, tmp_path):
    path = tmp_path / "net.gcn"
    gx.save(network, path)
    path.chmod(0o640)
    weights_of(path).chmod(0o600)
    other = network.replace(params=tuple(replace(p, data=-p.data) for p in network.params))
    gx.save(other, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert stat.S_IMODE(weights_of(path).stat().st_mode) == 0o600
    bare = gx.parse(str(network))
    gx.save(bare, path)
    gx.save(network, path)
    assert stat.S_IMODE(weights_of(path).stat().st_mode) == 0o640


def test_a_link_stays_and_its_target_is_written(network, tmp_path):
    folder = tmp_path / "real"
    folder.mkdir()
    link = tmp_path / "net.gcn"
    link.symlink_to(folder / "target.gcn")
    for _ in range(2):
        gx.save(network, link)
        assert link.is_symlink()
        assert (folder / "target.gcn").is_file()
        assert len(os.listdir(folder)) == 2
        assert sorted(os.listdir(tmp_path)) == ["net.gcn", "real"]
    assert same(gx.load(link), network)
    assert same(gx.load(folder / "target.gcn"), network)
    report = tmp_path / "report.json"
    report.symlink_to(folder / "report.json")
    write(report, b"{}")
    assert report.is_symlink()
    assert (folder / "report.json").read_bytes() == b"{}"


@pytest.mark.parametrize(
    "kind", ["a directory", "a named pipe", "a socket", "a device", "a loop of links"]
)
def test_what_is_no_regular_file_is_refused(network, tmp_path, monkeypatch, kind):
    path = tmp_path / "net.gcn"
    if kind == "a directory":
        path.mkdir()
    elif kind == "a named pipe":
        os.mkfifo(path)
    elif kind == "a socket":
        monkeypatch.chdir(tmp_path)  # the path of a socket is short
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    elif kind == "a device":
        # One of its own: a fault here must not put a file in the place of the system's.
        try:
            os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
        except PermissionError:
            pytest.skip("only the superuser makes devices")
    else:
        path.symlink_to(path)
    for use in (
        lambda: gx.save(network, path),
        lambda: gx.load(path),
        lambda: write(path, b"x"),
    ):
        with pytest.raises(FileProblem, match=r"cannot be (read|written)") as caught:
            use()
        assert kind in str(caught.value.got) or "links" in kind
        assert caught.value.remedy
    assert len(os.listdir(tmp_path)) == 1


def test_weights_that_are_no_regular_file(network, tmp_path):
    gx.save(network, tmp_path / "net.gcn")
    weights = weights_of(tmp_path / "net.gcn")
    weights.unlink()
    with pytest.raises(FileProblem, match="cannot be read"):
        gx.load(tmp_path / "net.gcn")
    os.mkfifo(weights)
    with pytest.raises(FileProblem, match="cannot be read") as caught:
        gx.load(tmp_path / "net.gcn")
    assert caught.value.got == "a named pipe"
