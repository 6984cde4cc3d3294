"""A tuned model takes the fastest way that is right, and says what it did not take."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import graphcnn as gx
from graphcnn import kernels
from graphcnn.errors import InputKindError, InvalidAttribute, MissingWeights
from graphcnn.ir import Chosen, CompileLog, with_he_weights
from graphcnn.kernels import Choice, conv2d, linear
from graphcnn.progress import told_to
from graphcnn.runtime.compiled import CompiledModel
from graphcnn.targets import lowering
from graphcnn.targets.policy import MODEL, Policy
from graphcnn.targets.resolve_device import resolve_device
from graphcnn.targets.triton import TritonTarget
from graphcnn.tuning import search, tune
from graphcnn.tuning.candidates import Candidate, candidates, ranked, spelled
from graphcnn.tuning.measure import Subject
from tests.runtime.small_networks import mixed, small, vgg_block
from tests.stepwise import check_model


def chosen(model):
    return {event.node: event for event in model.log.of(Chosen)}


def by_name(model, node):
    found = candidates(model.graph, model.target)
    return {candidate.name: candidate for candidate in found.get(node, ())}


def second_best(model, node):
    """The name of the kernel that the model likes second."""
    return [name for name in by_name(model, node) if "library" not in name][1]


def test_the_fastest_is_taken_and_known_from_then_on(takes):
    plain = gx.compile(small(), device="cpu")
    favourite = second_best(plain, "relu1")
    takes(lambda way: 1.0 if way == favourite else 2.0)
    told = tune(plain, 1000)
    assert not told.left
    assert not told.interrupted
    assert told.measured == len(told.rows) > 0
    rows = {row.node: row for row in told.rows}
    assert rows["relu1"].taken == favourite
    assert rows["fc"].taken == rows["fc"].model
    assert (rows["relu1"].timing.median, rows["relu1"].model_timing.median) == (1.0, 2.0)
    assert favourite.split()[1] in str(told)

    takes(lambda way: pytest.fail("it was measured already"))
    again = tune(plain, 1000)
    assert again.measured == 0
    assert again.rows == told.rows
    tuned = gx.compile(small(), device="cpu", tune=True)
    assert str(chosen(tuned)["conv1"].chosen.tile) != str(chosen(plain)["conv1"].chosen.tile)
    sizes = "x".join(map(str, chosen(tuned)["conv1"].chosen.tile[:3]))
    assert favourite == f"conv2d {sizes}"
    assert gx.verify(tuned).ok
    check_model(tuned, {"image": np.ones((5, 3, 8, 8), np.float32)})
    # Nobody asked for it: the model picks, whatever was measured.
    assert chosen(gx.compile(small(), device="cpu")) == chosen(plain)


def test_a_library_call_is_taken_where_it_is_faster_and_shown(takes):
    takes(lambda way: 1e-3 if way == "library: oneDNN packed" else 2e-3)
    model = gx.compile(vgg_block(), device="cpu", tune=1000)
    labels = [step.label for step in model.plan.steps]
    assert labels == ["library conv2d+relu", "library conv2d+relu+max_pool2d"]
    told = " ".join(str(gx.explain(model)).split())
    assert "called as measured" in told
    assert "1.00 ms (1.00 .. 1.00), where" in told
    assert gx.verify(model).ok


def test_every_node_of_a_mixed_network_takes_the_last_way(takes):
    plain = gx.compile(mixed(), device="cpu")
    order = {}
    for node in plain.graph.nodes:
        for place, name in enumerate(by_name(plain, node.name)):
            order[name] = max(place, order.get(name, 0))
    takes(lambda way: 1.0 / (1 + order[way]))
    model = gx.compile(mixed(), device="cpu", tune=1000)
    assert gx.verify(model).ok


def test_the_ways_of_torch_alone(takes):
    takes(lambda way: 1.0 if way == "library: channels last" else 2.0)
    model = gx.compile(vgg_block(), target="library", device="cpu", tune=1000)
    calls = {event.node: event.chosen for event in model.log.of(Chosen)}
    assert calls == {"conv1": "channels last", "conv2": "channels last"}
    assert gx.verify(model).ok


def test_nnpack_is_refused_where_it_rounds_more_than_a_sum(takes):
    takes(lambda way: 1.0 if "NNPACK" in way else 2.0)
    model = gx.compile(small(), device="cpu", tune=1000)
    assert all("library" not in step.label for step in model.plan.steps)
    refused = [r for r in model.log.refusals if r.rule == "tune"]
    assert any("NNPACK" in r.because for r in refused)


def planted(launch):
    """A wrong kernel among the choices of every convolution, with the tile of the first one."""
    real = kernels.choices

    def choices(problem, device):
        found = real(problem, device)
        wrong = [Choice(launch, c.tile) for c in found if c.launch is conv2d]
        return (*found, *wrong)

    return choices


def without_bias(x, w, bias, outputs, **options):
    return conv2d(x, w, None, outputs, **options)


def half_of_it(x, w, bias, outputs, **options):
    launch = conv2d(x, w, bias, outputs, **options)
    return launch._replace(grid=(1, 1, 1))


def refusing(x, w, bias, outputs, **options):
    raise kernels.Refused("it would not fit")


def failing(x, w, bias, outputs, **options):
    raise RuntimeError("out of registers\nin the middle")


WRONG = {
    without_bias: "exceed the bound",
    half_of_it: "NaN or infinite where the reference is finite",
    refusing: "it does not run: it would not fit",
    failing: "it does not run: out of registers",
}


@pytest.mark.parametrize("launch", WRONG, ids=lambda launch: launch.__name__)
def test_a_wrong_kernel_is_never_taken_and_is_told(launch, takes, monkeypatch):
    w = np.random.default_rng(0).standard_normal((40, 8, 3, 3)) + 1
    x = gx.input("image", (1, 8, 20, 20))
    graph = gx.graph("g", gx.relu(gx.conv2d(x, w, np.ones(40), name="conv"), name="relu"))
    monkeypatch.setattr(lowering, "choices", planted(launch))
    takes(lambda way: 1e-6 if launch.__name__ in way else 1.0)
    model = gx.compile(graph, device="cpu", tune=1000)
    assert chosen(model)["conv"].chosen.launch is conv2d
    assert gx.verify(model).ok
    refused = [r for r in model.log.refusals if r.rule == "tune" and launch.__name__ in r.because]
    assert refused
    assert all(WRONG[launch] in r.because and r.node == "relu" for r in refused)
    assert launch.__name__ in str(gx.explain(model))
    # It stays known: what was refused is not tried again.
    takes(lambda way: pytest.fail("it was measured already"))
    assert gx.compile(graph, device="cpu", tune=True).log.refusals == model.log.refusals


def test_a_kernel_of_the_model_that_does_not_run_fails(takes, monkeypatch):
    model = gx.compile(small(), device="cpu")
    real = kernels.choices

    def choices(problem, device):
        return tuple(Choice(failing, choice.tile) for choice in real(problem, device))

    monkeypatch.setattr(lowering, "choices", choices)
    with pytest.raises(RuntimeError, match="out of registers"):
        tune(model)


@pytest.mark.parametrize("place", ["before", "behind", "operand"])
def test_what_writes_beside_its_results_is_wrong(place):
    model = gx.compile(small(), device="cpu")
    subject = Subject(model.graph, model.graph["relu1"], model.target)
    (first, *_) = by_name(model, "relu1").values()
    bound = subject.bind(first)
    assert subject.check(bound)[1] is None
    run = bound.executor.run

    def stray():
        run()
        if place == "operand":
            bound.executor.value("image")[0, 0, 0, 0] = 7.0
        else:
            bound.memory[0 if place == "before" else -1] = 0

    bound.executor.run = stray
    assert subject.check(bound)[1] == "it writes beside its results"


def interrupting(takes, after):
    samples = []

    def sample(way):
        samples.append(way)
        if len(samples) > after:
            raise KeyboardInterrupt
        return 1.0

    takes(sample)
    return samples


def test_an_interrupt_keeps_the_finished_part(takes):
    model = gx.compile(small(), device="cpu")
    samples = interrupting(takes, 10**9)
    nodes = len(tune(model, 1000).rows)
    per_node = len(samples) // nodes
    gx.tuning.cache.Cache().clear()

    interrupting(takes, 2 * per_node)
    told = tune(model, 1000)
    assert told.interrupted
    assert 0 < told.measured == len(told.rows) < nodes
    assert "interrupted: what was measured until then is kept" in str(told)
    done = told.rows
    interrupting(takes, 0)
    with pytest.raises(KeyboardInterrupt):
        gx.compile(small(), device="cpu", tune=True)
    takes(lambda way: 1.0)
    whole = tune(model, 1000)
    assert whole.rows[: len(done)] == done
    assert whole.measured == nodes - len(done)


def test_the_time_is_a_limit(takes, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(search, "clock", lambda: now[0])

    def sample(way):
        now[0] += 1.0
        return 1.0

    takes(sample)
    model = gx.compile(small(), device="cpu")
    told = tune(model, 0)
    assert (told.rows, told.measured) == ((), 0)
    assert len(told.left) == len(set(told.left)) > 2
    assert all("0 s were over" in refusal.because for refusal in told.refusals)
    told = tune(model, 10)
    assert told.measured == 1  # the one that is at hand goes on to its end
    assert now[0] > 10
    rest = tune(model, 1e6)
    assert not rest.left
    assert rest.rows[:1] == told.rows
    assert gx.verify(gx.compile(small(), device="cpu", tune=0.0)).ok


def test_it_tells_what_it_tries(takes):
    takes(lambda way: 1.0)
    lines = []
    with told_to(lines.append):
        tune(gx.compile(small(), device="cpu"), 1000)
    assert lines[0].startswith("node 1 of ")
    assert any("trying library: torch; " in line for line in lines)
    assert all(line.endswith(" s left") for line in lines)


def test_two_nodes_that_differ_in_their_names_are_measured_once(takes):
    x = gx.input("x", (1, 16, 6, 6))
    w, b = np.ones((16, 16, 3, 3)) / 99, np.ones(16)
    h = x
    for name in ("a", "b", "c"):
        h = gx.relu(gx.conv2d(h, w, b, padding=1, name=f"{name}1"), name=name)
    model = gx.compile(gx.graph("g", h), device="cpu")
    takes(lambda way: 1.0)
    told = tune(model, 1000)
    texts = {spelled(model.graph, node, model.plan.locations) for node in model.graph.nodes}
    # The first and last read and write the caller's layout.
    assert len(told.rows) == 3
    assert told.measured == len(texts)
    twice = gx.graph("g", gx.relu(gx.relu(x, name="one").flatten(), name="two"))
    assert len({spelled(twice, node, {}) for node in twice.nodes}) == 3


def test_damage_is_told_and_measured_anew(takes, folder):
    takes(lambda way: 1.0)
    model = gx.compile(small(), device="cpu")
    told = tune(model, 1000)
    file = next(folder.glob("*.json"))
    file.write_text("{")
    again = tune(model, 1000)
    assert again.measured == 1
    assert again.rows == told.rows
    assert file.name in again.notes[0]
    assert "was damaged and is dropped" in " ".join(str(again).split())


def test_times_of_other_kernels_are_not_taken(takes, tmp_path, monkeypatch):
    takes(lambda way: 1.0)
    model = gx.compile(small(), device="cpu")
    measured = tune(model, 1000).measured
    changed = tmp_path / "changed"
    changed.mkdir()
    (changed / "tile.py").write_text("")
    monkeypatch.setattr(kernels, "__path__", [str(changed)])
    assert tune(model, 1000).measured == measured
    assert tune(model, 1000).measured == 0


def test_the_model_ranks_every_choice():
    model = gx.compile(mixed(), device="cpu")
    traits = model.target.on.traits
    for event in (event for event in model.log.of(Chosen) if event.what == "kernel"):
        # Every family of kernels, to the last of its choices.
        problem = next(
            key[1]
            for ways in candidates(model.graph, model.target).values()
            for way in ways
            for key in way.kernels
            if key[0] == event.node
        )
        anchor = next(n for n in model.source.nodes if n.name == event.node)
        order = ranked(MODEL, anchor, problem, event.alternatives, traits, 100)
        assert sorted(map(str, order)) == sorted(map(str, event.alternatives))
        assert order[0] == event.chosen
    assert linear is not conv2d


class Narrow(Policy):
    """Allows no tile of 16 channels, which the small network would take."""

    def allows(self, choice):
        return choice.tile[0] != 16


def test_a_policy_that_forbids_choices_is_obeyed_when_tuned(takes):
    takes(lambda way: 1.0 if " 16x" in way else 2.0)
    target = TritonTarget(resolve_device("cpu"), Narrow())
    optimized = gx.compile(vgg_block(), device="cpu").graph
    model = CompiledModel(optimized, optimized, target, CompileLog())
    names = [n for node in optimized.nodes for n in by_name(model, node.name)]
    assert any("conv2d" in name for name in names)
    assert all(" 16x" not in name for name in names)
    tuned, _ = search.search(model, 1000)
    assert isinstance(tuned.policy.base, Narrow)
    again, _ = search.search(CompiledModel(optimized, optimized, tuned, CompileLog()), 1000)
    assert isinstance(again.policy.base, Narrow)


def test_what_cannot_be_tuned():
    x = gx.input("x", (1, 4))
    bare = gx.graph("g", gx.relu(gx.linear(x, gx.param("w", (4, 4)))))
    with pytest.raises(MissingWeights):
        gx.compile(bare, device="cpu", tune=True)
    with pytest.raises(InvalidAttribute, match="nothing to choose from"):
        gx.compile(with_he_weights(bare), target="numpy", tune=True)
    for wrong in ("fast", -1, None, float("nan")):
        with pytest.raises(InvalidAttribute) as caught:
            gx.compile(bare, device="cpu", tune=wrong)
        assert "tune" in f"{caught.value.where} {caught.value.remedy}"
    with pytest.raises(InputKindError):
        tune(3)
    assert Candidate("a").policy(bare.nodes[0], MODEL).call(bare.nodes[0]) is None


def test_two_processes_at_once_measure_each_node_once(tmp_path):
    code = textwrap.dedent(
        f"""
        import sys
        from pathlib import Path
        from graphcnn import triton_api
        import graphcnn as gx
        from graphcnn.tuning import tune
        from tests.runtime.small_networks import small
        model = gx.compile(small(), device="cpu")
        triton_api.cache_folder = lambda: Path({str(tmp_path)!r})
        print("ready", flush=True)
        sys.stdin.readline()
        told = tune(model, 1000)
        print(told.measured, len(told.rows))
        """
    )
    root = Path(__file__).parents[2]
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root)},
        )
        for _ in range(2)
    ]
    for process in both:
        assert process.stdout.readline() == "ready\n"
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    found = [tuple(map(int, process.communicate()[0].split())) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    (first, rows), (second, also) = found
    assert rows == also == first + second
