"""Weights by name, from mappings and files."""

import json
import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch_file
from torch import nn

import graphcnn as gx
from graphcnn.errors import FileProblem, InputKindError, NonFiniteWeights, WeightsMismatch
from graphcnn.ir import evaluate

TEXT = """graph net {{
  input x: {0}[1,3,6,6]
  param conv.weight: {0}[4,3,3,3]
  param conv.bias: {0}[4]
  param norm.running_mean: {0}[4]
  param norm.running_var: {0}[4]
  param norm.weight: {0}[4]
  param norm.bias: {0}[4]
  conv: {0}[1,4,4,4] = conv2d(x, conv.weight, conv.bias)
  norm: {0}[1,4,4,4] = batch_norm(conv, norm.running_mean, norm.running_var, norm.weight, norm.bias)
  return norm
}}"""
NET = gx.parse(TEXT.format("f32"))
SHAPES = {param.name: param.type.shape for param in NET.params}


def module():
    torch.manual_seed(0)
    layers = OrderedDict(conv=nn.Conv2d(3, 4, 3), norm=nn.BatchNorm2d(4))
    made = nn.Sequential(layers)
    made(torch.randn(8, 3, 6, 6))  # running statistics of its own
    return made.eval()


def given(seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.uniform(0.5, 1.5, shape).astype(np.float32) for name, shape in SHAPES.items()}


def data(graph):
    return {param.name: param.data for param in graph.params}


def same(graph, weights):
    assert data(graph).keys() == weights.keys()
    for name, array in weights.items():
        np.testing.assert_array_equal(data(graph)[name], array)
    return True


def test_a_state_dict_makes_the_graph_the_module():
    torch_net = module()
    loaded = gx.load_weights(NET, torch_net.state_dict())
    assert loaded == NET
    assert all(array is None for array in data(NET).values())
    x = torch.randn(1, 3, 6, 6)
    wanted = torch_net(x).detach().numpy()
    got = evaluate(loaded, {"x": x.numpy()})["norm"]
    np.testing.assert_allclose(got, wanted, atol=1e-5)
    assert np.ptp(wanted) > 1


def test_values_are_copied():
    torch_net = module()
    loaded = gx.load_weights(NET, torch_net.state_dict())
    before = loaded.fingerprint
    with torch.no_grad():
        torch_net.conv.weight += 1
    assert gx.load_weights(NET, torch_net.state_dict()).fingerprint != before
    assert same(loaded, data(loaded))
    arrays = given()
    loaded = gx.load_weights(NET, arrays)
    arrays["conv.bias"] += 1
    assert not np.array_equal(data(loaded)["conv.bias"], arrays["conv.bias"])


def test_a_file_and_an_index_of_shards(tmp_path):
    arrays = given()
    save_file(arrays, tmp_path / "one.safetensors")
    assert same(gx.load_weights(NET, tmp_path / "one.safetensors"), arrays)
    assert same(gx.load_weights(NET, str(tmp_path / "one.safetensors")), arrays)
    places = {name: f"part-{number % 2}.safetensors" for number, name in enumerate(arrays)}
    for file in set(places.values()):
        save_file({n: a for n, a in arrays.items() if places[n] == file}, tmp_path / file)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    assert same(gx.load_weights(NET, index), arrays)


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
def test_dtypes_are_converted(tmp_path, stored, dtype):
    arrays = {name: torch.from_numpy(array).to(stored) for name, array in given().items()}
    save_torch_file(arrays, tmp_path / "w.safetensors")
    graph = gx.parse(TEXT.format(dtype))
    long = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}[dtype]
    wanted = {name: array.to(long).float().numpy() for name, array in arrays.items()}
    assert same(gx.load_weights(graph, tmp_path / "w.safetensors"), wanted)
    assert same(gx.load_weights(graph, arrays), wanted)


def test_a_number_beyond_the_range_of_a_dtype_is_refused():
    arrays = given() | {"conv.bias": np.array([1, 2, 70000, 4], np.float32)}
    with pytest.raises(NonFiniteWeights, match=r"conv.bias"):
        gx.load_weights(gx.parse(TEXT.format("f16")), arrays)
    with pytest.raises(NonFiniteWeights, match=r"conv.bias"):
        gx.load_weights(NET, given() | {"conv.bias": np.array([1, np.nan, 3, 4], np.float32)})


def test_one_error_tells_all_that_does_not_fit():
    arrays = given()
    arrays["convolution.weight"] = arrays.pop("conv.weight")
    arrays["norm.gamma"] = arrays["norm.weight"].copy()
    arrays["norm.bias"] = arrays["norm.bias"][:3]
    arrays["conv.bias"] = arrays["conv.bias"][None]
    with pytest.raises(WeightsMismatch) as caught:
        gx.load_weights(NET, arrays)
    error = caught.value
    assert error.missing == ("conv.weight",)
    assert error.unexpected == ("convolution.weight", "norm.gamma")
    assert error.shapes == {"conv.bias": ((1, 4), (4,)), "norm.bias": ((3,), (4,))}
    assert "1 missing: conv.weight (given: convolution.weight)" in error.got
    assert "2 unexpected: convolution.weight, norm.gamma" in error.got
    assert "norm.bias is [3], not [4]" in error.got
    assert error.remedy
    assert pickle.loads(pickle.dumps(error)).missing == error.missing


def test_a_prefix_is_found():
    wrapped = {f"module.{name}": array for name, array in given().items()}
    with pytest.raises(WeightsMismatch, match=r"removeprefix\('module.'\)"):
        gx.load_weights(NET, wrapped)
    inner = gx.parse("graph g {\n input x: f32[2]\n param a.b: f32[2]\n y: f32[2] = add(x, a.b)\n"
                     " return y\n}")  # fmt: skip
    with pytest.raises(WeightsMismatch, match=r"'a.' \+ name"):
        gx.load_weights(inner, {"b": np.ones(2)})


def test_not_strict_keeps_and_ignores_with_a_warning():
    first = gx.load_weights(NET, given(1))
    arrays = given(2)
    kept = arrays.pop("conv.bias")
    with pytest.warns(UserWarning, match=r"1 missing: conv.bias.*; 1 unexpected: head") as told:
        second = gx.load_weights(first, {**arrays, "head": kept}, strict=False)
    assert told[0].filename == __file__
    assert same(second, {**arrays, "conv.bias": given(1)["conv.bias"]})
    with pytest.warns(UserWarning, match="missing"):
        assert data(gx.load_weights(NET, arrays, strict=False))["conv.bias"] is None
    with pytest.raises(WeightsMismatch, match="of another shape"):
        gx.load_weights(first, {**arrays, "norm.bias": np.ones(5)}, strict=False)


def test_another_name_of_a_tied_tensor_is_no_surprise():
    tensors = {name: torch.from_numpy(array) for name, array in given().items()}
    tensors["decoder.weight"] = tensors["conv.weight"].detach()
    tensors["norm.num_batches_tracked"] = torch.tensor(3)
    assert same(gx.load_weights(NET, tensors), given())
    tensors["decoder.weight"] = tensors["conv.weight"].clone()
    with pytest.raises(WeightsMismatch, match=r"unexpected: decoder.weight"):
        gx.load_weights(NET, tensors)


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        (module, "pass module.state_dict()"),
        (lambda: {"state_dict": module().state_dict(), "epoch": 3}, "weights['state_dict']"),
        (lambda: {**given(), "conv.bias": np.arange(4)}, "multiplied by their scale"),
        (
            lambda: {
                **given(),
                "conv.bias": torch.quantize_per_tensor(torch.ones(4), 0.1, 0, torch.qint8),
            },
            "dequantize()",
        ),
        (lambda: {**given(), 3: np.ones(2)}, "conv1.weight"),
        (lambda: [1.0], "conv1.weight"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*quantize")
def test_what_are_no_weights(weights, says):
    with pytest.raises(InputKindError) as caught:
        gx.load_weights(NET, weights())
    assert says in caught.value.remedy


def test_a_file_of_whole_numbers_is_refused(tmp_path):
    file = tmp_path / "w.safetensors"
    save_file({**given(), "conv.bias": np.arange(4, dtype=np.int8)}, file)
    with pytest.raises(InputKindError, match="scale"):
        gx.load_weights(NET, file)
    save_torch_file({"conv.bias": torch.ones(4).to(torch.float8_e4m3fn)}, file)
    with pytest.raises(InputKindError, match="F8_E4M3"):
        gx.load_weights(NET, file)


ROWS = gx.parse("""graph g {
  input table: f32[3,2]
  param index: i32[2]
  y: f32[2,2] = embedding(index, table)
  return y
}""")


@pytest.mark.parametrize("make", [np.asarray, torch.tensor])
def test_a_param_of_whole_numbers_takes_whole_numbers(make):
    loaded = gx.load_weights(ROWS, {"index": make([2, 0])})
    assert data(loaded)["index"].dtype == np.int32
    table = np.arange(6.0).reshape(3, 2)
    np.testing.assert_array_equal(evaluate(loaded, {"table": table})["y"], table[[2, 0]])
    assert not list(gx.to_torch(loaded).parameters())
    for wrong in ([2.0, 0.0], [2**40, 0], [True, False]):
        with pytest.raises(InputKindError, match="whole numbers"):
            gx.load_weights(ROWS, {"index": make(wrong)})


@pytest.mark.parametrize("name", ["w.pt", "w.pth", "w.bin", "w.ckpt"])
def test_a_pickle_is_not_read(tmp_path, name):
    class Bomb:
        def __reduce__(self):
            return pytest.fail, ("the pickle was run",)

    (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(FileProblem, match="may run any code") as caught:
        gx.load_weights(NET, tmp_path / name)
    assert "weights_only=True" in caught.value.remedy


@pytest.mark.parametrize(
    ("index", "says"),
    [
        ("[", "weight_map"),
        ("[]", "weight_map"),
        ('{"weight_map": {"conv.bias": "../w.safetensors"}}', "beside it"),
        ('{"weight_map": {"conv.bias": "other.safetensors"}}', "No such file"),
        ('{"weight_map": {"conv.bias": "w.safetensors"}}', "no tensor conv.bias"),
    ],
)
def test_a_bad_index(tmp_path, index, says):
    save_file({"conv.weight": np.ones(2)}, tmp_path / "w.safetensors")
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(index)
    with pytest.raises(FileProblem, match=says):
        gx.load_weights(NET, path)


def test_bad_files(tmp_path):
    damaged = tmp_path / "w.safetensors"
    damaged.write_bytes(b"\x08\0\0\0\0\0\0\0{        ")
    (tmp_path / "folder.safetensors").mkdir()
    for path, says in (
        (damaged, "weights cannot be read"),
        (tmp_path / "lost.safetensors", "No such file"),
        (tmp_path / "folder.safetensors", "a directory"),
        (tmp_path / "net.onnx", r"\*.onnx"),
    ):
        with pytest.raises(FileProblem, match=says):
            gx.load_weights(NET, path)
