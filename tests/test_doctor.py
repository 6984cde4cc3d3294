"""What a machine is told about itself."""

import json
import sys
from types import SimpleNamespace

import pytest

import graphcnn as gx
from graphcnn import doctor
from graphcnn.cli import main
from graphcnn.compiler import optimize
from graphcnn.gpu_code import Resources
from graphcnn.kernels import Launch
from graphcnn.models.specimen import specimen
from graphcnn.passes import journal
from graphcnn.report.tables import WIDTH
from graphcnn.tap_order import TapOrder
from graphcnn.targets import resolve
from tests.stand_in_gpu import stand_in_target

# What a launch runs, of the modules of `kernels`.
MODULES = [module for name, module in sys.modules.items() if name.startswith("graphcnn.kernels.")]
# Those of forms that are a GPU's, where they pay.
FORMS = {"conv2d_box_kernel", "padded_kernel", "stem_kernel", "sum_parts_kernel"}
KERNELS = {name for module in MODULES for name in vars(module) if name.endswith("_kernel")} - FORMS


@pytest.mark.pure
def test_the_specimen_needs_every_kernel():
    target = resolve("triton", "cpu")
    graphs = [optimize(specimen(dtype), target, journal()) for dtype in doctor.DTYPES]
    steps = [step for graph in graphs for step in target.lower(graph).steps]
    assert all(isinstance(step.work, Launch) for step in steps)
    assert {step.work.kernel.__name__ for step in steps} == KERNELS
    assert len(KERNELS) == 16


@pytest.fixture
def small(monkeypatch):
    """One dtype, and a network that is compiled sooner."""
    monkeypatch.setattr(doctor, "DTYPES", ("float32",))
    monkeypatch.setattr("graphcnn.models.vgg11", lambda batch, dtype, size: gx.models.lenet(batch))


def test_the_cpu_is_fit(capsys, small):
    assert main(["doctor", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    found = [name for name in KERNELS if name.removesuffix("_kernel") in out]
    assert len(found) >= 15
    assert f"PASS: all {len(found)} stay within their bounds" in out
    assert "no CUDA device" in " ".join(out.split())
    assert "L1 serves neighbouring taps" in " ".join(out.split())
    assert "fused" in out
    assert max(map(len, out.splitlines())) <= WIDTH


def test_a_kernel_that_is_wrong_is_named(capsys, monkeypatch, small):
    real = doctor.verify

    def verify(model):
        rows = real(model).rows
        wrong = [
            row if row.name != "lrn" else SimpleNamespace(**_fields(row) | {"problem": "wrong"})
            for row in rows
        ]
        return SimpleNamespace(rows=wrong)

    monkeypatch.setattr(doctor, "verify", verify)
    assert main(["doctor", "--device", "cpu", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    problems = {row["kernel"]: row["problem"] for row in told["kernels"] if row["problem"]}
    assert problems == {"local_response_norm": "wrong"}


def _fields(row):
    return {name: getattr(row, name) for name in row.__slots__}


def test_a_gpu_is_asked_for_registers(monkeypatch):
    target, _ = stand_in_target(90)
    monkeypatch.setattr("graphcnn.compiler.resolve", lambda *_: target)
    x = gx.input("image", (1, 8, 16, 16), "float16")
    model = gx.compile(gx.graph("n", [gx.tanh(gx.max_pool2d(x, 2)), gx.softmax(x)]))
    rows = [*doctor.kernels(model, "float16")]
    assert [row.kernel for row in rows] == ["pointwise", "pool2d", "softmax"]
    assert all(16 <= row.registers <= 255 for row in rows)
    assert all(row.spilled_bytes == 0 and row.problem is row.note is None for row in rows)
    monkeypatch.setattr(doctor, "resources", lambda cubin: Resources(7, 0))
    for row in doctor.kernels(model, "float16"):
        assert "registers=7" in row.note
        assert row.problem is None


@pytest.mark.pure
@pytest.mark.parametrize(
    ("registers", "spilled", "same"),
    [(168, 0, True), (166, 0, True), (160, 0, False), (168, 16, False)],
)
def test_what_a_driver_rounds_up_is_no_difference(monkeypatch, registers, spilled, same):
    """The driver says 168 registers and no stack."""
    monkeypatch.setattr(doctor, "resources", lambda cubin: Resources(registers, spilled))
    compiled = SimpleNamespace(n_regs=168, n_spills=0, asm={"cubin": b""})
    assert (doctor._difference(compiled) is None) == same


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    """A CUDA device that answers what it is asked for, by torch and by NVIDIA's tool."""
    monkeypatch.setattr(doctor.triton_api, "cache_folder", lambda: tmp_path)
    told = SimpleNamespace(
        name="a GPU", total_memory=80 << 30, major=9, minor=0, multi_processor_count=132, uuid="1-2"
    )
    monkeypatch.setattr(doctor.torch.cuda, "get_device_properties", lambda _: told)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: f"/bin/{name}")
    asked = []

    def run(command, **options):
        asked.append(command)
        return SimpleNamespace(stdout="\n580.1\n", stderr="")

    monkeypatch.setattr(doctor.subprocess, "run", run)
    return SimpleNamespace(memory=doctor.torch.device("cuda", 0), asked=asked)


@pytest.mark.pure
def test_what_a_gpu_is(gpu):
    facts = dict(doctor.facts(gpu))
    assert facts["GPU"] == "a GPU, 80.0 GiB"
    assert facts["compute capability"] == "9.0"
    assert facts["multiprocessors"] == "132"
    assert facts["driver"] == "580.1"


@pytest.mark.pure
def test_one_gpu_is_asked_by_its_own_name(gpu, monkeypatch):
    assert doctor.nvidia_smi("clocks.sm", gpu) == "580.1"
    assert gpu.asked[-1][-1] == "--id=GPU-1-2"
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    assert doctor.nvidia_smi("clocks.sm", gpu) == "unknown: there is no nvidia-smi"


def test_the_order_of_taps_is_shown_and_judged(monkeypatch, small):
    """As on a GPU; what is wrong with it is wrong with the machine."""
    wrong = TapOrder(None, None, None, "taps innermost: 2 of its bound off")
    real = doctor.resolve_device("cpu")

    class Gpu(type(real)):
        name = "a GPU"

    on = Gpu(real.traits, SimpleNamespace(type="cuda"), real.driver)
    monkeypatch.setattr(doctor, "resolve_device", lambda _: on)
    monkeypatch.setattr(doctor, "compile", lambda graph, device, **o: gx.compile(graph, **o))
    monkeypatch.setattr(doctor, "facts", lambda _: [("GPU", "a GPU")])
    monkeypatch.setattr(doctor, "tap_order", lambda device: wrong)
    found = doctor.doctor("cuda")
    assert found.taps == wrong
    assert not found.ok
    assert found.unchecked == ()
    assert "FAIL: not timed: taps innermost" in str(found)
