"""GPUs that kernels are compiled for."""

import pytest

from graphcnn.errors import UnknownTarget
from graphcnn.gpu_code import ARCHITECTURES, architecture
from graphcnn.targets.capability import CAPABILITIES


@pytest.mark.parametrize("name", ["sm_81", "a100", 90, None, ["sm_90"]])
def test_an_unknown_one_lists_those_that_are_known(name):
    with pytest.raises(UnknownTarget, match="sm_75, sm_80, sm_86, sm_89, sm_90, sm_100, sm_120"):
        architecture(name)


def test_how_many_blocks_a_multiprocessor_holds():
    """Of 65,536 registers, 164 and 100 KiB of shared memory, 64 and 48 warps, 512 columns."""
    ampere, ada, blackwell = map(architecture, ("sm_80", "sm_89", "sm_100"))
    assert ampere.held(128, 0, 8, 0) == 2
    assert ampere.held(129, 0, 8, 0) == 1
    assert ampere.held(255, 96 << 10, 8, 0) == 1
    assert ampere.held(32, 0, 1, 0) == 32
    assert ampere.held(32, 40 << 10, 4, 0) == 4
    assert ada.held(32, 40 << 10, 4, 0) == 2
    assert ada.held(32, 0, 8, 0) == 6
    assert blackwell.held(64, 0, 4, 256) == 2


def test_what_does_not_fit():
    assert architecture("sm_89").held(32, (99 << 10) + 1, 4, 0) == 0
    assert architecture("sm_100").held(32, 0, 4, 1024) == 0
    assert architecture("sm_80").held(200, 0, 16, 0) == 0


def test_those_that_graphcnn_runs_on_have_tiles_and_dtypes():
    for each in ARCHITECTURES.values():
        assert each.unused or each.name == f"sm_{each.capability}"
        assert not (each.lacks and each.unused is None)
        assert all(each.capability >= row.cuda for row in CAPABILITIES.values() if row.cuda)
