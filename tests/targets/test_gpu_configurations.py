"""Every launch of real networks, compiled for a GPU that is not here: nothing spills.

`python -m bench.spills` does the same for all architectures, and takes longer.
"""

import pytest

from graphcnn.models.lenet import lenet
from graphcnn.models.resnet import resnet18
from graphcnn.models.vgg import vgg16
from tests.stand_in_gpu import SHARED_BYTES
from tests.targets.launches import compiled_launches

CAPABILITY = 80
NETWORKS = {
    "vgg16": lambda: vgg16(1, "float16"),
    "lenet": lambda: lenet(1, "float16"),
    "resnet18": lambda: resnet18(1, "float16"),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_no_launch_spills(name):
    found = list(compiled_launches(NETWORKS[name](), (1, 8), CAPABILITY))
    assert len({launch.binary for launch in found}) >= len({launch.node for launch in found}) / 2
    for node, batch, kernel, binary in found:
        where = f"{kernel} of {node} at batch {batch}"
        assert binary.spills == 0, f"{where}: {binary.spills} bytes"
        assert binary.registers <= 255, where
        assert binary.shared_bytes <= SHARED_BYTES[CAPABILITY], where
