"""Every test has one lane, and none gets into a lane that demands more care than it takes."""

import tomllib
from types import SimpleNamespace

from tests.conftest import HERE, LANES, SAMPLED, lane, sampled


def test_every_test_has_one_lane(request):
    for item in request.session.items:
        assert len([name for name in LANES if item.get_closest_marker(name)]) == 1, item.nodeid


def test_every_lane_is_a_marker():
    settings = tomllib.loads((HERE.parent / "pyproject.toml").read_text())
    markers = settings["tool"]["pytest"]["ini_options"]["markers"]
    assert [marker.partition(":")[0] for marker in markers] == list(LANES)


def test_the_nearest_place_decides():
    assert lane(HERE / "ops" / "test_ops.py") == "pure"
    assert lane(HERE / "kernels" / "test_gpu_compile.py") == "compile"
    assert lane(HERE / "gpu" / "test_on_cuda.py") == "gpu"


def test_what_is_not_listed_may_compile():
    assert lane(HERE / "test_new.py") == "cpu"
    assert lane(HERE / "kernels" / "test_new.py") == "cpu"


def test_every_place_exists_and_has_one_lane():
    places = [place for listed in LANES.values() for place in listed]
    assert len(set(places)) == len(places)
    assert [place for place in places if not (HERE / place).exists()] == []


def test_of_files_that_compile_for_gpus_a_sample_runs():
    large = SimpleNamespace(path=HERE / "kernels" / "test_gpu_compile.py")
    small = SimpleNamespace(path=HERE / "ops" / "test_ops.py")
    one_in = SAMPLED["kernels/test_gpu_compile.py"]
    chosen = list(sampled([large, small] * (2 * one_in + 1)))
    assert chosen.count(large) == 3
    assert chosen.count(small) == 2 * one_in + 1
    assert all((HERE / place).exists() for place in SAMPLED)
