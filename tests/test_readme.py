"""What the README shows runs as it stands there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from graphcnn import triton_api
from graphcnn.cli import main
from graphcnn.models import MODELS
from graphcnn.runtime.timing import LEAST_ROUNDS

README = (Path(__file__).parents[1] / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


@pytest.fixture(autouse=True)
def few_samples(monkeypatch):
    """What is timed needs no precision here."""
    monkeypatch.setattr("graphcnn.tuning.measure.SECONDS", 0.0)
    monkeypatch.setattr("graphcnn.runtime.timing.MOST_ROUNDS", LEAST_ROUNDS)


def test_code_and_commands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(triton_api, "cache_folder", lambda: tmp_path)
    names: dict[str, object] = {}
    for code in blocks("python"):
        exec(compile(code, "README.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "conv2d+relu+max_pool2d" in printed
    assert "PASS" in printed
    assert "to torch" in printed
    assert "remedy" in printed
    commands = [line for block in blocks("sh") for line in block.splitlines() if line]
    assert len(commands) >= 8
    for command in commands:
        words = shlex.split(command)
        assert words[:3] == ["python", "-m", "graphcnn"]
        assert main(words[3:]) == 0, command
        assert capsys.readouterr().out.strip()


def test_the_module_is_the_command_line():
    run = [sys.executable, "-m", "graphcnn", "inspect", "lenet"]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "416,520" in done.stdout


def test_the_built_in_networks_are_listed():
    (listed,) = re.findall(r"built-in network \((.*?);", README, re.DOTALL)
    assert re.findall(r"`(\w+)`", listed) == list(MODELS)


def test_make_targets_exist():
    makefile = (Path(__file__).parents[1] / "Makefile").read_text()
    targets = re.findall(r"^    make ([\w-]+)", README, re.MULTILINE)
    assert {"demo", "test", "test-fast"} <= set(targets)
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
