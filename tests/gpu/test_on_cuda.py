"""The table of operators and the networks on a real CUDA device, as tests elsewhere run them."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import triton

import graphcnn as gx
from graphcnn import triton_api
from graphcnn.errors import InputDeviceError, OutOfMemory
from graphcnn.models.vgg import vgg16
from graphcnn.runtime.boundary import example_inputs
from graphcnn.self_check import RULE
from tests import networks
from tests.runtime.small_networks import NETWORKS
from tests.stepwise import check_model
from tests.targets.op_cases import CASES, case_id, check_sample
from tests.test_built_in import SMALL


@pytest.mark.parametrize(("sample", "dtype"), CASES, ids=case_id)
def test_ops(sample, dtype):
    check_sample(sample, dtype, "triton", "cuda")


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name, dtype, fuse):
    graph = NETWORKS[name](dtype)
    model = gx.compile(graph, device="cuda", fuse=fuse)
    _, used = check_model(model, example_inputs(graph))
    assert used <= 1


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize(
    "make",
    [
        lambda dtype: vgg16(1, dtype, size=64),
        lambda dtype: gx.models.resnet18(1, dtype, size=64),
        lambda dtype: networks.unet_block(32, 16, dtype),
    ],
    ids=["vgg16", "resnet18", "u-net"],
)
def test_deep_networks(make, dtype):
    graph = make(dtype)
    check_model(gx.compile(graph, device="cuda"), example_inputs(graph))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("name", SMALL)
def test_built_in_networks(name, dtype):
    model = gx.compile(gx.models.build(name, 2, dtype, **SMALL[name]), device="cuda")
    told = gx.verify(model)
    assert told.ok, str(told)


def test_cuda_tensors_in_cuda_tensors_out():
    graph = NETWORKS["small"]("float16")
    model = gx.compile(graph, device="cuda")
    image = torch.from_numpy(example_inputs(graph)["image"]).cuda()
    got = model(image=image)
    assert got.device == image.device
    assert got.dtype == torch.float16
    np.testing.assert_array_equal(got.cpu().numpy(), model(image=image.cpu().numpy()))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_tensors_anywhere_in_a_block_of_the_allocator(name, dtype):
    """At its very beginning and end, masked lanes have no memory around; and between vectors."""
    graph = NETWORKS[name](dtype)
    model = gx.compile(graph, device="cuda")
    inputs = {n: torch.from_numpy(a).cuda() for n, a in example_inputs(graph).items()}
    wanted = model.source.named(model(**inputs))
    torch.cuda.empty_cache()
    block = torch.empty(2 << 20, dtype=torch.uint8, device="cuda")
    for start in ("first", "last", "odd"):
        moved = {}
        for given, tensor in inputs.items():
            at = {"first": 0, "last": block.numel() - tensor.nbytes, "odd": 512 + 4}[start]
            moved[given] = block[at:][: tensor.nbytes].view(tensor.dtype).view(tensor.shape)
            moved[given].copy_(tensor)
        for output, got in model.source.named(model(**moved)).items():
            assert torch.equal(got, wanted[output])


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_results_in_tensors_of_the_caller(dtype):
    graph = NETWORKS["vgg_block"](dtype)
    model = gx.compile(graph, device="cuda")
    image = torch.from_numpy(example_inputs(graph)["image"]).cuda()
    wanted = model(image)
    for form in (torch.contiguous_format, torch.channels_last):
        out = torch.full_like(wanted, torch.nan, memory_format=form)
        assert model(image.to(memory_format=form), out=out) is out
        assert torch.equal(out, wanted)
    array = np.full(wanted.shape, np.nan, wanted.cpu().numpy().dtype)
    assert model(image.cpu().numpy(), out=array) is array
    np.testing.assert_array_equal(array, wanted.cpu().numpy())


def test_numpy_on_a_stream_by_turns_with_tensors():
    graph = NETWORKS["small"]("float32")
    model = gx.compile(graph, device="cuda")
    generator = np.random.default_rng(0)
    images = [generator.standard_normal((2, 3, 8, 8)).astype("f4") for _ in range(8)]
    wanted = [model(torch.from_numpy(image).cuda()).cpu().numpy() for image in images]
    streams = [torch.cuda.Stream() for _ in range(3)]
    got = []
    for number, image in enumerate(images):
        with torch.cuda.stream(streams[number % 3]):
            got.append(model(image))
    for mine, right in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(mine, right)


class Exported:
    """An array of another library, which fills it late, on a stream of its own."""

    def __init__(self, tensor):
        self.stream = torch.cuda.Stream()
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            self.tensor = torch.full_like(tensor, torch.nan)
            torch.cuda._sleep(10**8)
            self.tensor.copy_(tensor)

    def __dlpack__(self, *, stream=None, **options):
        with torch.cuda.stream(self.stream):
            return self.tensor.__dlpack__(stream=stream, **options)

    def __dlpack_device__(self):
        return self.tensor.__dlpack_device__()


def test_dlpack_waits_for_the_stream_of_the_other_library():
    graph = NETWORKS["small"]("float32")
    model = gx.compile(graph, device="cuda")
    image = torch.from_numpy(example_inputs(graph)["image"]).cuda()
    wanted = model(image)
    assert torch.equal(model(Exported(image)), wanted)
    with torch.cuda.stream(torch.cuda.Stream()):
        got = model(Exported(image))
        torch.cuda.current_stream().synchronize()
    assert torch.equal(got, wanted)


def test_another_stream():
    graph = NETWORKS["small"]("float16")
    model = gx.compile(graph, device="cuda")
    image = torch.from_numpy(example_inputs(graph)["image"]).cuda()
    wanted = model(image=image)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        got = model(image=image)
    side.synchronize()
    assert torch.equal(got, wanted)


def test_streams_take_turns():
    """Each call overwrites the arena that the call before it, on another stream, still reads."""
    graph = NETWORKS["vgg_block"]("float16")
    model = gx.compile(graph, device="cuda:0")
    generator = torch.Generator().manual_seed(0)
    shape = (64, *graph.inputs[0].type.shape[1:])
    images = [torch.randn(shape, generator=generator).half().cuda() for _ in range(8)]
    wanted = [model(image=image) for image in images]
    torch.cuda.synchronize()
    streams = [torch.cuda.Stream() for _ in images]
    got = []
    for stream, image in zip(streams, images, strict=True):
        with torch.cuda.stream(stream):
            got.append(model(image=image))
    torch.cuda.synchronize()
    for mine, right in zip(got, wanted, strict=True):
        assert torch.equal(mine, right)


def test_a_tensor_of_the_host_is_refused():
    model = gx.compile(NETWORKS["small"]("float16"), device=torch.device("cuda", 0))
    with pytest.raises(InputDeviceError, match="cuda:0"):
        model(image=torch.from_numpy(example_inputs(model.graph)["image"]))


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_another_device_than_the_current_one():
    graph = NETWORKS["small"]("float16")
    model = gx.compile(graph, device="cuda:1")
    image = torch.from_numpy(example_inputs(graph)["image"]).to("cuda:1")
    got = model(image=image)
    assert got.device == image.device
    assert gx.verify(model, image=image).ok
    assert torch.cuda.current_device() == 0


def test_a_refit_waits_for_calls_on_other_streams():
    graph = NETWORKS["small"]("float32")
    model = gx.compile(graph, device="cuda")
    image = torch.from_numpy(example_inputs(graph)["image"]).cuda()
    other = {param.name: 2 * param.data for param in graph.params}
    before, stream = model(image), torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        torch.cuda._sleep(10**8)
        late = model(image)
    model.refit(other)
    after = model(image)
    torch.cuda.synchronize()
    torch.testing.assert_close(late, before, rtol=0, atol=0)
    fresh = gx.compile(gx.load_weights(graph, other), device="cuda")
    torch.testing.assert_close(after, fresh(image), rtol=0, atol=0)
    assert gx.verify(model).ok


def test_torch_compile_on_the_callers_stream():
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU()).eval().cuda()
    compiled = torch.compile(model, backend="graphcnn")
    image = torch.randn(2, 3, 32, 32, device="cuda")
    with torch.no_grad():
        for change in (1.0, 2.0):
            model[0].weight.data.mul_(change)
            with torch.cuda.stream(torch.cuda.Stream()):
                found = compiled(image * 2)
                wanted = model(image * 2)
            torch.cuda.synchronize()
            torch.testing.assert_close(found, wanted, atol=2e-2, rtol=2e-2)
    assert gx.explain(compiled).regions == 1


def test_first_runs_are_judged_and_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(triton_api, "cache_folder", lambda: tmp_path)
    model = gx.compile(NETWORKS["vgg_block"]("float16"), device="cuda")
    (file,) = tmp_path.glob("graphcnn_first_runs/*.json")
    found = json.loads(file.read_text())
    assert found["device"] == model.target.on.identity
    assert found["kernels"]
    assert set(found["kernels"].values()) == {None}
    assert [refusal for refusal in model.log.refusals if refusal.rule == RULE] == []


def test_a_batch_beyond_the_memory_says_the_largest_that_fits():
    model = gx.compile(vgg16(1, "float16"), device="cuda")
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info()
    taken = torch.empty(free - (2 << 30), dtype=torch.int8, device="cuda")
    with pytest.raises(OutOfMemory) as caught:
        model.prepare([600])
    most = caught.value.largest_batch
    assert 1 <= most < 600
    model.prepare([most])
    assert gx.verify(model).ok
    del taken
    model.prepare([600])


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_graph_gives_what_launches_give(dtype):
    graph = NETWORKS["small"](dtype)
    replayed, launched = (gx.compile(graph, device="cuda", cuda_graph=c) for c in (True, False))
    shape = graph.inputs[0].type.shape[1:]
    for turn in range(2):
        for batch in (2, 5, 1, 9):
            image = torch.randn(batch, *shape, device="cuda").to(getattr(torch, dtype))
            torch.cuda.synchronize()
            with torch.cuda.stream(torch.cuda.Stream()):
                assert torch.equal(replayed(image), launched(image)), (turn, batch)
        weights = {param.name: (turn + 2) * param.data for param in graph.params}
        replayed.refit(weights)
        launched.refit(weights)


def test_a_call_in_a_graph_of_the_callers():
    model = gx.compile(NETWORKS["small"]("float16"), device="cuda")
    images = [torch.randn(2, 3, 8, 8, device="cuda").half() for _ in range(3)]
    wanted = [model(image) for image in images]
    given, theirs = images[0].clone(), torch.cuda.CUDAGraph()
    with torch.cuda.graph(theirs):
        result = model(given)
    for image, right in zip(images, wanted, strict=True):
        given.copy_(image)
        theirs.replay()
        assert torch.equal(model(images[2]), wanted[2])
        assert torch.equal(result, right)


def test_other_threads_draw_random_numbers_while_graphs_are_captured():
    done = threading.Event()

    def draw():
        while not done.is_set():
            torch.randn(64, device="cuda")

    with ThreadPoolExecutor(1) as pool:
        drawing = pool.submit(draw)
        try:
            for _ in range(20):
                gx.compile(NETWORKS["small"]("float16"), device="cuda")
        finally:
            done.set()
        drawing.result()


def test_who_listens_to_launches_hears_of_all():
    model, heard = gx.compile(NETWORKS["small"]("float16"), device="cuda"), []
    image = example_inputs(model.graph)["image"]

    def hook(told):
        heard.append(told.get()["name"])

    triton.knobs.runtime.launch_enter_hook.add(hook)
    try:
        got = model(image)
    finally:
        triton.knobs.runtime.launch_enter_hook.remove(hook)
    assert heard == [step.work.kernel.__name__ for step in model.plan.steps]
    np.testing.assert_array_equal(model(image), got)
