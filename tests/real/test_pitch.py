"""torchcrepe: CREPE, which hears the pitch of a tone, in two sizes."""

import numpy as np
import pytest
import torch

from tests.real.trained import definition, folder, imported

RATE, WINDOW, BINS = 16_000, 1024, 360


def frames(*tones):
    """A window of each tone, without mean and of unit deviation, as the package makes them."""
    time = torch.arange(WINDOW, dtype=torch.float64) / RATE
    waves = torch.stack([torch.sin(2 * np.pi * tone * time) for tone in tones])
    waves = waves - waves.mean(1, keepdim=True)
    return (waves / waves.std(1, keepdim=True)).float()


def hertz(scores):
    """The mean of the bins around the best, which are 20 cents apart, weighted by the scores."""
    found = []
    for row in scores.double():
        best = int(row.argmax())
        near = torch.arange(max(0, best - 4), min(BINS, best + 5))
        cents = (row[near] * (20 * near + 1997.3794084376191)).sum() / row[near].sum()
        found.append(10 * 2 ** (float(cents) / 1200))
    return np.array(found)


@pytest.mark.parametrize(("size", "within"), [("tiny", 0.005), ("full", 0.003)])
def test_tones_are_heard(size, within):
    at = folder("torchcrepe", "torchcrepe")
    network = definition(at, "model", PITCH_BINS=BINS).Crepe(size).eval()
    network.load_state_dict(torch.load(at / f"assets/{size}.pth", weights_only=True))
    tones = np.array([110.0, 220.0, 440.0, 880.0])
    waves = frames(*tones)
    run = imported(network, waves[:1], other=(waves[2:3],))
    (scores,) = run(waves)
    np.testing.assert_allclose(hertz(scores), tones, rtol=within)
