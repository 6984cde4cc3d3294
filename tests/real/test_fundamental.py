"""swift-f0: spectra of three lengths and dilated convolutions hear a pitch; weights as ONNX."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tests.real.trained import folder, imported, onnx_weights

RATE, HOP, BANDS, STEPS = 16_000, 256, 128, 95
# Of each spectrum: its length, and where the file has the window and the filters' places and taps.
SPECTRA = (
    (1024, "v41", "v123", "v124"),
    (2048, "v161", "v241", "v242"),
    (512, "v262", "v342", "v343"),
)
# Size and dilation along frequencies of a residual block's convolutions, and size along time.
BLOCKS = ((7, 1, 3), (7, 17, 1), (5, 27, 1), (3, 40, 1), (3, 48, 1), (7, 2, 3))
FREQUENCIES = "v455"


class Spectrum(nn.Module):
    """Logarithms of a short-time Fourier transform's magnitudes, in bands: [N, 1, 128, T]."""

    def __init__(self, length, window, filters):
        super().__init__()
        angle = torch.outer(torch.arange(length // 2 + 1), torch.arange(length)).double()
        angle *= 2 * np.pi / length
        self.register_buffer("real", (angle.cos() * window).float()[:, None])
        self.register_buffer("imaginary", (angle.sin() * window).float()[:, None])
        self.register_buffer("filters", filters)
        self.sides = (length // 2, length // 2 - HOP)

    def forward(self, sound):
        sound = F.pad(sound[:, None], self.sides)
        power = [F.conv1d(sound, w, stride=HOP).square() for w in (self.real, self.imaginary)]
        magnitude = (power[0] + power[1]).sqrt().transpose(1, 2)
        return (magnitude @ self.filters + 1e-8).log().transpose(1, 2)[:, None]


class Block(nn.Module):
    def __init__(self, size, dilation, width):
        super().__init__()
        sides, spread = (dilation * (size // 2), width // 2), (dilation, 1)
        options = {"padding": sides, "dilation": spread}
        self.first = nn.Conv2d(12, 12, (size, width), **options)
        self.second = nn.Conv2d(12, 12, (size, width), **options)

    def forward(self, x):
        return torch.relu(x + self.second(torch.relu(self.first(x))))


class SwiftF0(nn.Module):
    def __init__(self, spectra):
        super().__init__()
        self.spectra = nn.ModuleList(spectra)
        self.stem = nn.Conv2d(3, 12, 3, padding=1)
        self.blocks = nn.Sequential(*(Block(*sizes) for sizes in BLOCKS))
        self.narrow = nn.Conv2d(12, 4, 3)
        self.voiced = nn.Conv2d(4, 4, (5, 1), padding=(2, 0))
        self.pitch = nn.Conv2d(4, 1, 1)
        self.confidence = nn.Sequential(
            nn.Conv1d(5, 16, 3, padding=1), nn.ReLU(), nn.Conv1d(16, 1, 1), nn.Sigmoid()
        )

    def forward(self, sound):
        maps = torch.cat([spectrum(sound) for spectrum in self.spectra], 1)
        x = self.blocks(torch.relu(self.stem(maps)))[:, :, : STEPS + 1]
        x = torch.relu(self.narrow(F.pad(x, (1, 1, 1, 0))))
        facts = torch.cat([self.voiced(x).amax(2), maps.mean((1, 2))[:, None]], 1)
        return self.pitch(x)[:, 0].transpose(1, 2), self.confidence(facts)[:, 0]


def load(weights):
    """The network; its convolutions follow one another in the file, each before its bias."""
    spectra = []
    for length, window, places, taps in SPECTRA:
        filters = torch.zeros((length // 2 + 1) * BANDS)
        filters[weights[places]] = weights[taps]
        spectra.append(Spectrum(length, weights[window], filters.reshape(-1, BANDS)))
    network = SwiftF0(spectra).eval()
    numbers = sorted(int(n[1:]) for n, w in weights.items() if w.dim() > 2)
    convs = [m for m in network.modules() if isinstance(m, nn.Conv1d | nn.Conv2d)]
    for conv, number in zip(convs, numbers, strict=True):
        assert conv.weight.shape == weights[f"v{number}"].shape
        conv.weight.data, conv.bias.data = weights[f"v{number}"], weights[f"v{number + 1}"]
    return network


def hertz(scores, frequencies):
    """The three scores around each frame's best weigh the logarithms of their frequencies."""
    best = scores.argmax(-1, keepdim=True).clamp(1, STEPS - 2)
    near = best + torch.tensor([-1, 0, 1])
    share = scores.gather(-1, near).double().softmax(-1)
    return (share * frequencies[near]).sum(-1).exp()


def test_notes_are_heard():
    weights = onnx_weights(folder("swift_f0", "swift-f0") / "model.onnx")
    time = torch.arange(RATE // 2 // HOP * HOP) / RATE
    notes = torch.tensor([110.0, 220.0, 440.0])
    harmonics = torch.arange(1, 6)[:, None, None]
    sound = (torch.sin(2 * np.pi * harmonics * notes[:, None] * time) / harmonics).sum(0) / 4
    noise = torch.randn(sound.shape, generator=torch.Generator().manual_seed(0))
    sound = sound + 0.001 * noise
    run = imported(load(weights), sound[1:2], other=(sound[2:],))
    scores, confidence = run(sound)
    # Frames whose windows lie within the sound.
    heard = hertz(scores, weights[FREQUENCIES].double())[:, 8:-8]
    print(f"{heard.mean(1).tolist()} Hz")
    assert float(confidence[:, 8:-8].min()) > 0.5
    np.testing.assert_allclose(heard, notes[:, None].expand_as(heard), rtol=0.01)
