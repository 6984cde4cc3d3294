"""deepfake-ecg: a one-dimensional U-Net that draws electrocardiograms from noise."""

import numpy as np
import torch

from tests.real.trained import definition, folder, imported

HERTZ = 500


def test_the_heart_beats():
    at = folder("deepfakeecg", "deepfake-ecg")
    network = definition(at, "models.pulse2pulse").Pulse2pulseGenerator().eval()
    weights = torch.load(at / "checkpoints/g_stat.pt", weights_only=True, map_location="cpu")
    network.load_state_dict(weights["stat_dict"])
    noise = torch.rand(2, 8, 5000, generator=torch.Generator().manual_seed(0)) * 2 - 1
    run = imported(network, noise[:1], other=(noise[1:],))
    (leads,) = run(noise[:1])
    beats, strengths = zip(*map(heartbeat, leads[0].double().numpy()), strict=True)
    print(f"{np.mean(beats):.0f} beats a minute")
    assert np.mean(strengths) > 0.4
    assert np.ptp(beats) < 0.01 * np.mean(beats)
    assert 60 < np.mean(beats) < 90


def heartbeat(lead):
    """Beats per minute, from 40 to 150, and the correlation of a lead with itself one beat on."""
    lead = lead - lead.mean()
    again = np.correlate(lead, lead, "full")[len(lead) - 1 :] / (lead @ lead)
    least, most = 60 * HERTZ // 150, 60 * HERTZ // 40
    beat = least + int(again[least:most].argmax())
    return 60 * HERTZ / beat, again[beat]
