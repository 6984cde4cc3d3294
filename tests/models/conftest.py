import pytest


@pytest.fixture
def without_weights(monkeypatch):
    """Counts need no numbers: drawing 144 million takes seconds."""
    monkeypatch.setattr("graphcnn.models.layers.with_he_weights", lambda graph, seed: graph)
