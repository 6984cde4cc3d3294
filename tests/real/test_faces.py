"""facenet-pytorch: the three networks of MTCNN, which find faces."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.real.trained import definition, folder, imported, picture


def network(name):
    at = folder("facenet_pytorch", "facenet-pytorch")
    kind = getattr(definition(at, "models.mtcnn", ["models.utils.detect_face"]), name)
    module = kind(pretrained=False).eval()
    weights = torch.load(at / f"data/{name.lower()}.pt", weights_only=True)
    module.load_state_dict(weights)
    return module


def pictures(size):
    """100 faces and 100 other pictures, grey, in [-1, 1)."""
    at = folder("skimage", "scikit-image")
    grey = torch.from_numpy(np.load(at / "data/lfw_subset.npy").astype(np.float32))[:, None]
    scaled = F.interpolate(grey, (size, size), mode="bilinear", align_corners=False)
    return (scaled.expand(-1, 3, -1, -1) * 255 - 127.5) / 128


@pytest.mark.parametrize(("name", "size", "right"), [("RNet", 24, 200), ("ONet", 48, 200)])
def test_faces_are_told_from_other_pictures(name, size, right):
    images = pictures(size)
    run = imported(network(name), images[:1], other=(images[150:151],))
    face = run(images)[-1][:, 1] > 0.5
    assert (face == (torch.arange(200) < 100)).sum() >= right


def test_a_face_is_found_in_a_picture():
    # A face of 12 pixels is what it looks for; this one has about 100.
    small = F.interpolate((picture("astronaut") - 0.5) * 2, scale_factor=12 / 100, mode="area")
    run = imported(network("PNet"), small, other=(small.flip(3),))
    _, face = run(small)
    row, column = divmod(int(face[0, 1].argmax()), face.shape[3])
    middle = [(2 * place + 6) * 100 / 12 for place in (row, column)]
    assert float(face[0, 1].max()) > 0.9
    assert np.hypot(middle[0] - 120, middle[1] - 225) < 50
