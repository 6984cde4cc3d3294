import pytest
import torch

from graphcnn import cpu, triton_api
from graphcnn.errors import SanitizerFault

from . import planted

BLOCK = 64


def launch(kernel, x, y, n, programs):
    with triton_api.using(cpu.driver(sanitize=True)):
        kernel[(programs,)](x, y, n, BLOCK=BLOCK)


def guarded(n):
    """A tensor inside a wider allocation of which only its own bytes are its storage."""
    return torch.full((n,), float("nan"))


@pytest.mark.parametrize("n", [64, 100, 257])
def test_clean_kernel_passes_and_computes(n):
    x, y = torch.randn(n), guarded(n)
    launch(planted.clean, x, y, n, -(-n // BLOCK))
    assert torch.equal(y, x.relu())


def test_atomic_sum_is_no_race():
    x, y = torch.randn(300), torch.zeros(1)
    launch(planted.sum_with_atomics, x, y, 300, 5)
    torch.testing.assert_close(y[0], x.sum(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("kernel", "programs", "words"),
    [
        (planted.unmasked_load, 2, ["load outside", "`x`", "byte 400 ", "program (1, 0, 0)"]),
        (planted.unmasked_store, 2, ["store outside", "`y`", "byte 400 ", "program (1, 0, 0)"]),
        (planted.missing_halo, 2, ["load outside", "`x`", "byte -4 ", "program (0, 0, 0)"]),
        (planted.overlapping_programs, 3, ["two programs write", "`y`", "byte 128 "]),
        (planted.sum_without_atomics, 2, ["reads what another writes", "`y`", "byte 0 "]),
        (planted.offset_overflow, 4, ["assertion failed", "overflow", "program (3, 0, 0)"]),
        (planted.failing_assertion, 2, ["assertion failed", "index within the tensor"]),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_planted_bug_is_named(kernel, programs, words):
    x, y = torch.randn(100), torch.zeros(100)
    with pytest.raises(SanitizerFault) as caught:
        launch(kernel, x, y, 100, programs)
    text = str(caught.value)
    assert all(word in text for word in [*words, "planted.py:", kernel.__name__]), text


def test_a_faulting_store_changes_nothing_outside():
    whole = torch.full((256,), 7.0)
    y = torch.from_numpy(whole.numpy()[:100])
    with pytest.raises(SanitizerFault):
        launch(planted.unmasked_store, torch.randn(100), y, 100, 2)
    assert torch.equal(whole[100:], torch.full((156,), 7.0))


def test_a_load_that_lands_in_another_argument_is_outside():
    whole = torch.randn(512).numpy()
    x, y = torch.from_numpy(whole[:100]), torch.from_numpy(whole[100:])
    with pytest.raises(SanitizerFault, match="load outside"):
        launch(planted.unmasked_load, x, y, 100, 2)


def test_a_launch_too_small_leaves_elements_never_written():
    x, y = torch.randn(300), cpu.unwritten(guarded(300))
    launch(planted.clean, x, y, 300, 4)
    assert cpu.never_written(y).nonzero().flatten().tolist() == list(range(256, 300))


def test_loading_unwritten_memory_is_a_fault_until_a_kernel_writes_it():
    x, middle, y = torch.randn(100), cpu.unwritten(guarded(100)), guarded(100)
    with pytest.raises(SanitizerFault, match="nothing wrote"):
        launch(planted.clean, middle, y, 100, 2)
    launch(planted.clean, x, middle, 100, 2)
    launch(planted.clean, middle, y, 100, 2)
    assert torch.equal(y, x.relu())
