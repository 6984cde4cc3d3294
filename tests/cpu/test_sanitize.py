import pytest
import torch

from graphcnn import cpu, triton_api
from graphcnn.cpu.sanitize import Shadow
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
    assert abs(y[0] - x.double().sum()) <= 300 * 2.0**-24 * x.abs().sum()


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
        (planted.gather_beyond, 2, ["assertion failed", "gather from beyond"]),
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
    x, (y, shadow) = torch.randn(300), unwritten(guarded(300))
    launch(planted.clean, x, y, 300, 4)
    with pytest.raises(SanitizerFault, match="no kernel stored") as caught:
        shadow.check("y", y)
    assert caught.value.got == "44 of 300 elements, the first at [256]"


def test_loading_unwritten_memory_is_a_fault_until_a_kernel_writes_it():
    x, (middle, _), y = torch.randn(100), unwritten(guarded(100)), guarded(100)
    with pytest.raises(SanitizerFault, match="nothing wrote"):
        launch(planted.clean, middle, y, 100, 2)
    launch(planted.clean, x, middle, 100, 2)
    launch(planted.clean, middle, y, 100, 2)
    assert torch.equal(y, x.relu())


def unwritten(tensor):
    """A tensor that holds nothing yet, and the arena that it fills."""
    return tensor, Shadow(tensor.nbytes, {"y": (tensor, 0)})


def sharing(n, shift):
    """Two buffers of `n` floats, the second `shift` bytes after the first, which is full."""
    first, second = torch.randn(n), guarded(n)
    shadow = Shadow(4 * n + shift, {"first": (first, 0), "second": (second, shift)})
    shadow.fill(first)
    return first, second, shadow


def test_a_buffer_loses_what_another_overwrites():
    first, second, shadow = sharing(100, 396)
    y = guarded(100)
    launch(planted.clean, first, y, 100, 2)
    shadow.check("first", first)
    launch(planted.clean, torch.randn(100), second, 100, 2)
    with pytest.raises(SanitizerFault, match="another buffer overwrote") as caught:
        launch(planted.clean, first, y, 100, 2)
    words = ["byte 396 ", "`x`", "buffer 'first', overwritten by 'second'", "planted.py:"]
    assert all(word in str(caught.value) for word in words), str(caught.value)
    shadow.check("second", second)
    with pytest.raises(
        SanitizerFault, match=r"'first' was overwritten: .* with 'second'"
    ) as caught:
        shadow.check("first", first)
    assert caught.value.got == "1 of 100 elements, the first at [99]"
    shadow.begin()
    shadow.fill(first)
    launch(planted.clean, first, y, 100, 2)
    assert torch.equal(y, first.relu())


def test_working_in_place_is_no_fault_and_a_shifted_copy_is_a_race():
    first, second, shadow = sharing(100, 0)
    launch(planted.clean, first, second, 100, 2)
    assert torch.equal(second, first.relu())
    shadow.check("second", second)
    for shift, words in ((4, "another buffer overwrote"), (256, "reads what another writes")):
        first, second, _ = sharing(128, shift)
        with pytest.raises(SanitizerFault, match=words):
            launch(planted.clean, first, second, 128, 2)


def test_an_atomic_update_of_nothing_is_a_fault():
    y, _ = unwritten(torch.zeros(1))
    with pytest.raises(SanitizerFault, match="nothing wrote"):
        launch(planted.sum_with_atomics, torch.randn(100), y, 100, 2)


def test_a_buffer_outside_its_arena_is_named():
    with pytest.raises(SanitizerFault, match="outside the arena") as caught:
        Shadow(100, {"a": (torch.zeros(20), 0), "b": (torch.zeros(20), 24)})
    assert caught.value.where == "buffer 'b'"
