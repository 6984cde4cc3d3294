"""A batch that is split over devices gives what the model gives of the whole."""

import os
import signal
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import graphcnn as gx
from graphcnn import data_parallel, errors
from graphcnn.runtime.boundary import example_inputs
from graphcnn.runtime.compiled import CompiledModel
from graphcnn.runtime.executor import Executor
from tests.runtime.small_networks import mixed, small
from tests.runtime.test_refit import values
from tests.stand_in_gpu import StandInDevice, stand_in_target

NAMES = ("gpu:0", "gpu:1", "gpu:2")


@pytest.fixture
def gpus(monkeypatch):
    """Three devices by the names `NAMES`; "auto" is the first."""
    found = [stand_in_target(80, index)[0].on for index in range(len(NAMES))]
    known = {**dict(zip(NAMES, found, strict=True)), "auto": found[0]}
    for module in ("data_parallel", "targets.resolve_device"):
        monkeypatch.setattr(f"graphcnn.{module}.resolve_device", lambda name, *_: known[name])
    monkeypatch.setattr(StandInDevice, "name", property(lambda self: NAMES[self.driver.index]))
    return found


def inputs_of(graph, batch, seed=0):
    return example_inputs(gx.ir.rebatch(graph, batch) if batch else graph, seed)


def returned(results):
    return results if isinstance(results, dict) else {"y": results}


def in_parts(model, inputs, sizes):
    """The outputs of one model for parts of a batch; kernels for another size may be others."""
    ends = np.cumsum(sizes)
    parts = [
        returned(model(**{name: array[end - size : end] for name, array in inputs.items()}))
        for size, end in zip(sizes, ends, strict=True)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@pytest.mark.compile
@pytest.mark.parametrize("devices", [1, 2, 3])
@pytest.mark.parametrize("make", [small, mixed])
def test_the_parts_are_the_whole(gpus, make, devices):
    model = gx.compile(make())
    split = gx.parallel(model, NAMES[:devices])
    assert [each.target.on for each in split.models] == gpus[:devices]
    assert split.models[0] is model
    for batch in (1, 2, 3, 7):
        inputs = inputs_of(model.source, batch)
        wanted = in_parts(model, inputs, split._shares(batch))
        for device in gpus:
            device.driver.launches.clear()
        got = returned(split(**inputs))
        assert list(got) == list(wanted)
        for name, array in wanted.items():
            assert array.std() > 0
            np.testing.assert_array_equal(got[name], array)
        used = [bool(device.driver.launches) for device in gpus]
        assert used == [number < min(batch, devices) for number in range(len(gpus))]
    assert all(gx.verify(each).ok for each in split.models)


def two(graph, **options):
    """A model on two devices without kernels for them: torch's operators, or NumPy's."""
    return gx.parallel(gx.compile(graph, target="library", **options), NAMES[:2])


def test_uneven_parts_differ_by_one(gpus):
    split = gx.parallel(gx.compile(small(), target="library"), NAMES)
    assert [split._shares(batch) for batch in (1, 2, 3, 8)] == [[1], [1, 1], [1, 1, 1], [3, 3, 2]]


def test_it_is_called_as_a_model_is(gpus):
    x, y = gx.input("x", (2, 3)), gx.input("y", (2, 3))
    graph = gx.graph("net", {"sum": (x + y, None), "parts": [gx.relu(x)]}, structured=True)
    split = two(graph)
    given = [torch.randn(5, 3), torch.randn(5, 3)]
    for call in (lambda: split(*given), lambda: split(given[0], y=given[1])):
        found = call()
        assert found["sum"][1] is None
        assert isinstance(found["parts"], list)
        assert torch.equal(found["sum"][0], given[0] + given[1])
        assert torch.equal(found["parts"][0], given[0].relu())
    for wrong, error in (
        (lambda: split(given[0]), errors.MissingInput),
        (lambda: split(*given, z=given[0]), errors.UnexpectedInput),
        (lambda: split(given[0], given[1][:4]), errors.InputShapeError),
        (lambda: split(given[0].double(), given[1]), errors.InputDTypeError),
        (lambda: split(given[0], given[1].numpy()), errors.InputKindError),
    ):
        with pytest.raises(error):
            wrong()


def test_what_depends_on_no_input_is_returned_once(gpus):
    numbers = np.arange(-2, 3, dtype=np.float32)
    fixed = gx.relu(gx.constant("numbers", numbers), name="fixed")
    split = two(gx.graph("net", [gx.relu(gx.input("x", (2, 3)), name="rows"), fixed]))
    found = split(np.ones((4, 3), np.float32))
    assert found["rows"].shape == (4, 3)
    np.testing.assert_array_equal(found["fixed"], np.maximum(numbers, 0))


def test_nothing_is_planned_for_batches_that_were_prepared(gpus, monkeypatch):
    split = two(small())
    split.prepare((7, 1))
    monkeypatch.setattr(CompiledModel, "_plan", pytest.fail)
    for batch in (2, 7, 1):
        split(**inputs_of(small(), batch))


def test_a_refit_reaches_all_devices(gpus):
    model = gx.compile(small(), target="library")
    split = gx.parallel(model, NAMES[:2])
    inputs = inputs_of(small(), 4)
    seen = [split(**inputs)]
    for refit, seed in ((split.refit, 5), (model.refit, 6)):
        weights = values(small(), seed)
        refit(weights)
        fresh = gx.compile(gx.load_weights(small(), weights), target="library")
        np.testing.assert_array_equal(split(**inputs), fresh(**inputs))
        seen.append(split(**inputs))
        assert all(gx.verify(each).ok for each in split.models)
    assert not np.array_equal(seen[0], seen[1])
    assert not np.array_equal(seen[1], seen[2])
    with pytest.raises(errors.WeightsMismatch):
        split.refit({})
    np.testing.assert_array_equal(split(**inputs), seen[2])


def test_a_refit_in_the_middle_of_a_call_is_for_all_parts(gpus, monkeypatch):
    model = gx.compile(small(), target="library")
    split = gx.parallel(model, NAMES[:2])
    inputs, weights = inputs_of(small(), 4), values(small(), 5)
    run, calls = split._run, []

    def refit_meanwhile(parts):
        found = run(parts)
        if not calls:
            calls.append(model.refit(weights))
        return found

    monkeypatch.setattr(split, "_run", refit_meanwhile)
    fresh = gx.compile(gx.load_weights(small(), weights), target="library")
    np.testing.assert_array_equal(split(**inputs), fresh(**inputs))


def lookup():
    table = np.arange(12, dtype=np.float32).reshape(4, 3)
    index = gx.input("index", (2,), "int64")
    return gx.graph("net", gx.embedding(index, table, name="rows"))


def test_the_first_error_names_its_device_and_node(gpus):
    split = two(lookup())
    with pytest.raises(errors.IndexOutOfRange) as caught:
        split(np.array([0, 1, 2, 9]))
    assert "gpu:1" in caught.value.where
    assert "rows" in caught.value.where
    with pytest.raises(errors.IndexOutOfRange) as caught:
        split(np.array([8, 1, 2, 9]))
    assert "gpu:0" in caught.value.where
    np.testing.assert_array_equal(split(np.array([3, 0]))[:, 0], [9, 0])


def test_a_foreign_error_keeps_its_class(gpus, monkeypatch):
    split, results = two(small()), Executor.results

    def fail_on_the_second(self, *arguments):
        if self._device is gpus[1]:
            raise RuntimeError("the driver's own")
        return results(self, *arguments)

    monkeypatch.setattr(Executor, "results", fail_on_the_second)
    with pytest.raises(RuntimeError, match="the driver's own") as caught:
        split(**inputs_of(small(), 2))
    assert caught.value.__notes__ == ["on gpu:1"]


def test_nothing_runs_on_after_ctrl_c(gpus, monkeypatch):
    split, results, ended = two(small()), Executor.results, []

    def slow(self, *arguments):
        time.sleep(0.4)
        ended.append(threading.current_thread())
        return results(self, *arguments)

    monkeypatch.setattr(Executor, "results", slow)
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        split(**inputs_of(small(), 2))
    assert len(ended) == 2
    assert not any(thread.is_alive() for thread in ended)
    monkeypatch.undo()
    assert split.models[0]._lock.acquire(blocking=False)


@pytest.mark.compile
def test_calls_from_several_threads(gpus):
    """Of a network whose kernels are the same for all these batches: equal bits."""
    model = gx.compile(mixed())
    split = gx.parallel(model, NAMES[:2])
    given = [inputs_of(mixed(), batch, batch) for batch in (2, 3, 4, 5)]
    wanted = [model(**inputs) for inputs in given]
    found = {}

    def call(number):
        found[number] = [split(**given[number]) for _ in range(3)]

    threads = [threading.Thread(target=call, args=(number,)) for number in range(len(given))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, right in enumerate(wanted):
        for mine in found[number]:
            for name, array in right.items():
                np.testing.assert_array_equal(mine[name], array)


def test_parts_run_on_the_callers_streams(monkeypatch):
    """In a thread, torch's current stream is the default one, which waits for nobody."""
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"of {device}")
    taken = []
    monkeypatch.setattr(torch.cuda, "set_stream", taken.append)
    on = SimpleNamespace(memory=torch.device("cuda", 1))
    streams = data_parallel._streams(
        [SimpleNamespace(target=SimpleNamespace(on=on))], [torch.ones(1), np.ones(1)]
    )
    assert streams == ["of cuda:1"]
    model = gx.compile(small(), target="library", device="cpu")
    inputs = inputs_of(small(), None)
    found = data_parallel._part(model, inputs, inputs["image"], streams)
    assert taken == streams
    np.testing.assert_array_equal(found["fc"], model(**inputs))


REFUSED = {
    "no model": (lambda: gx.parallel(small(), ["cpu"]), errors.InputKindError, "compiled model"),
    "a name": (lambda: gx.parallel(MODEL, "cpu"), errors.InputKindError, "list or tuple"),
    "no device": (lambda: gx.parallel(MODEL, []), errors.InvalidAttribute, "no device"),
    "one twice": (
        lambda: gx.parallel(MODEL, ["cpu", torch.device("cpu")]),
        errors.InvalidAttribute,
        "each once",
    ),
    "no such device": (
        lambda: gx.parallel(MODEL, ["cpu", "cuda:99"]),
        errors.DeviceUnavailable,
        "cuda:99",
    ),
    "draws": (
        lambda: gx.parallel(compiled(gx.random_uniform(X, seed=1, name="noise")), ["cpu"]),
        errors.BatchError,
        "'noise'",
    ),
    "samples that meet": (
        lambda: gx.parallel(compiled(gx.softmax(X, 0, name="over")), ["cpu"]),
        errors.BatchError,
        "'over'",
    ),
    "a fixed batch": (
        lambda: gx.parallel(compiled(gx.reshape(X, (2, 3, 1), name="fixed")), ["cpu"]),
        errors.BatchError,
        "'fixed'",
    ),
}
X = gx.input("x", (2, 3))
MODEL = gx.compile(gx.graph("net", gx.relu(X)), target="numpy", device="cpu")


def compiled(output):
    return gx.compile(gx.graph("net", output), target="numpy", device="cpu")


@pytest.mark.parametrize(("call", "error", "says"), REFUSED.values(), ids=REFUSED)
def test_mistakes(call, error, says):
    with pytest.raises(error) as caught:
        call()
    assert says in str(caught.value)
    assert caught.value.remedy


def test_numpy_has_no_other_device(gpus):
    with pytest.raises(errors.DeviceUnavailable, match="'numpy' does not run") as caught:
        gx.parallel(MODEL, ["gpu:1"])
    assert caught.value.remedy


def test_weights_are_wanted():
    bare = gx.parse(str(small()))
    with pytest.raises(errors.MissingWeights):
        gx.parallel(gx.compile(bare, target="numpy", device="cpu"), ["cpu"])
