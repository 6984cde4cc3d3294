"""Every operator against PyTorch, its own shape rule, its text form and its error bound."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import graphcnn as gx
from graphcnn import ops
from graphcnn.errors import DTypeMismatch, GraphCNNError, InvalidGraph
from graphcnn.ir import Cost, DType, Op, OpKind, TensorType, gamma, parse, verify
from graphcnn.ir.evaluate import bound_by
from graphcnn.ops import activation, elementary, linear_units, steps
from graphcnn.ops.checks import FLOAT, INTEGER, check_operands
from tests.opinfo import BAD, FLOATS, INFO, SAMPLES, Sample
from tests.tolerance import F64

F32 = 2.0**-24


def of_class(cls):
    return [sample for sample in SAMPLES if isinstance(sample.op, cls)]


WEIGHTED = of_class(ops.Anchor | ops.BatchNorm)


def in_torch(sample, operands, dtype):
    tensors = [
        torch.tensor(array, dtype=torch.int64 if place in sample.choices else dtype)
        for place, array in enumerate(operands)
    ]
    return INFO[sample.op.name].torch(sample.op, *tensors).numpy().astype(np.float64)


def bound(sample, operands, errors=None, unit=F32):
    exact = sample.op.reference(*operands)
    slack = errors or [np.zeros(array.shape) for array in operands]
    return exact, sample.op.error(tuple(operands), tuple(slack), exact, unit)


def test_the_table_covers_every_op():
    ours = {name for name, op in Op.registry.items() if op.__module__.startswith("graphcnn.ops.")}
    assert set(INFO) == ours
    assert all(callable(getattr(gx, name)) for name in ours)


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_reference_equals_torch(sample):
    operands = sample.operands()
    got = sample.op.reference(*operands)
    wanted = in_torch(sample, operands, torch.float64)
    assert got.dtype == np.float64
    assert got.shape == wanted.shape == sample.output().shape
    assert got.size == 1 or np.ptp(got[np.isfinite(got)]) > 0
    finite = np.isfinite(wanted)
    np.testing.assert_array_equal(got[~finite], wanted[~finite])
    _, allowed = bound(sample, operands, unit=F64)
    allowed = np.broadcast_to(allowed, got.shape)[finite]
    # Each side may be off by the bound.
    assert (np.abs(got[finite] - wanted[finite]) <= 2 * allowed).all()


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_reference_leaves_its_operands_alone(sample):
    operands = sample.operands()
    for array in operands:
        array.setflags(write=False)
    result = sample.op.reference(*operands)
    bound(sample, operands, [np.full(array.shape, 0.1) for array in operands])
    np.testing.assert_array_equal(result, sample.op.reference(*sample.operands()))


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_infer_keeps_the_dtype(sample):
    own = {"argmax": DType.I64, "one_hot": DType(getattr(sample.op, "dtype", "f32"))}
    for dtype in FLOATS:
        wanted = own.get(sample.op.name, dtype)
        assert sample.output(dtype) == TensorType(sample.output().shape, wanted)


@pytest.mark.parametrize(("name", "bad"), BAD, ids=lambda value: getattr(value, "says", value))
def test_errors_name_the_mistake(name, bad):
    with pytest.raises(bad.error) as caught:
        bad.raise_error()
    assert type(caught.value) is bad.error
    assert bad.says in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_text_round_trip(sample):
    graph = sample.graph(DType.BF16)
    verify(graph)
    again = parse(str(graph))
    assert again == graph
    assert again.nodes[0].op == sample.op


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_cost(sample):
    cost = sample.op.cost(sample.types(), sample.output())
    assert isinstance(cost, Cost)
    assert cost.macs == sample.macs
    assert cost.flops >= 2 * cost.macs
    assert cost.writes == sample.output().size
    drawn = isinstance(sample.op, ops.Random)
    assert cost.reads == (0 if drawn else sum(type.size for type in sample.types()))


def test_cost_of_moving_is_no_arithmetic():
    for name in ("flatten", "reshape", "concat", "pad", "dropout"):
        sample = INFO[name].samples[0]
        assert sample.op.cost(sample.types(), sample.output()).flops == 0
    relu = INFO["relu"].samples[0]
    assert relu.op.cost(relu.types(), relu.output()).flops == 2 * 3 * 5 * 4


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_bound_holds_in_float32(sample):
    for seed in range(3):
        operands = sample.operands(seed, DType.F32)
        exact, allowed = bound(sample, operands)
        finite = np.isfinite(exact)
        off = np.abs(in_torch(sample, operands, torch.float32)[finite] - exact[finite])
        assert allowed.shape == exact.shape
        assert (off <= allowed[finite]).all()
        # Not absurdly loose: within the scale of the terms that are summed.
        largest = max(np.abs(array).max(initial=0) for array in operands) ** 2
        terms = sum(array[0].size if array.ndim else 1 for array in operands)
        largest = 6 if isinstance(sample.op, ops.Random) else largest
        assert allowed.max() <= 40 * F32 * terms * max(1.0, largest)


@pytest.mark.parametrize("sample", WEIGHTED, ids=str)
def test_one_wrong_weight_breaks_the_bound(sample):
    """One weight that is off by 1 % shows in some output, in float32."""
    operands = sample.operands(0, DType.F32)
    exact, allowed = bound(sample, operands)
    which = 3 if sample.op.name == "batch_norm" else 1
    wrong = [array.copy() for array in operands]
    wrong[which].flat[np.abs(wrong[which]).argmax()] *= 1.01
    off = np.abs(in_torch(sample, wrong, torch.float32) - exact)
    assert (off > allowed).any()


def test_bound_holds_for_sequential_sums():
    """The worst order of summation, term after term, in float32 and over 4,000 terms."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 4000)).astype(np.float32)
    weight = rng.standard_normal((8, 4000)).astype(np.float32)
    operands = (x.astype(np.float64), weight.astype(np.float64))
    errors = tuple(np.zeros(array.shape) for array in operands)
    exact = ops.Linear().reference(*operands)
    allowed = ops.Linear().error(operands, errors, exact, F32)
    computed = np.cumsum(x * weight, axis=1, dtype=np.float32)[:, -1]
    assert (np.abs(computed - exact[0]) <= allowed[0]).all()
    assert (np.abs(computed - exact[0]) > gamma(1, F32) * np.abs(exact[0])).any()


@pytest.mark.parametrize("count", [30, 500, 4000])
@pytest.mark.parametrize("order", ["random", "sorted", "none negative"])
def test_what_rounding_does_in_practice_to_sequential_sums(order, count):
    """Sums in float32, term after term, stay within it; weights of 11 bits do not."""
    rng = np.random.default_rng(2)
    weight = rng.standard_normal((400, count)).astype(np.float32)
    x = rng.standard_normal((1, count)).astype(np.float32)
    if order != "random":
        x, weight = np.sort(x), np.abs(weight)
    if order == "none negative":
        x = np.abs(x)
    operands = (x.astype(np.float64), weight.astype(np.float64))
    errors = tuple(np.zeros(array.shape) for array in operands)
    exact = ops.Linear().reference(*operands)
    allowed = ops.Linear().noise(operands, errors, exact, F32)
    computed = np.cumsum(x * weight, axis=1, dtype=np.float32)[:, -1]
    used = np.abs(computed - exact[0]) / allowed[0]
    assert 0.02 < used.max() < 1
    steps = np.ldexp(1.0, np.frexp(weight)[1] - 11)
    rounded = np.round(weight / steps) * steps
    off = np.abs(ops.Linear().reference(operands[0], rounded) - exact)
    # Where no term is negative, long sums are large beside what rounding the weights changes.
    assert (off > allowed).any() or (order, count) == ("none negative", 4000)


@pytest.mark.parametrize("op", [ops.Sum((1,)), ops.Mean((1,))], ids=str)
@pytest.mark.parametrize("order", ["random", "sorted", "none negative"])
def test_bound_and_noise_of_reductions_in_one_chain(op, order):
    """Term after term in float32: within both; without one of the terms: beyond them."""
    x = np.random.default_rng(3).standard_normal((50, 3000)).astype(np.float32)
    x = {"random": x, "sorted": np.sort(x), "none negative": np.abs(x)}[order]
    count = 1 if op.name == "sum" else 3000
    exact, allowed = bound(Sample(op, (x.shape,)), [x.astype(np.float64)])
    noise = op.noise((x.astype(np.float64),), (np.zeros(x.shape),), exact, F32)
    chain = np.cumsum(x, axis=1, dtype=np.float32)[:, -1] / np.float32(count)
    assert (np.abs(chain - exact) <= np.minimum(noise, allowed)).all()
    short = (x.astype(np.float64).sum(axis=1) - x[:, 0]) / count
    assert (np.abs(short - exact) > noise).any()


def test_bound_of_a_large_map_is_that_of_blocks():
    """torch's cascade stays within it; one chain does not."""
    x = np.full((1, 1, 1000, 1000), np.float32(0.1)).astype(np.float64)
    exact = ops.GlobalAvgPool2d().reference(x)
    allowed = ops.GlobalAvgPool2d().error((x,), (np.zeros(x.shape),), exact, F32)
    in_torch = torch.tensor(x, dtype=torch.float32).mean((2, 3), keepdim=True).numpy()
    chain = np.cumsum(x.astype(np.float32).ravel(), dtype=np.float32)[-1] / np.float32(x.size)
    assert np.abs(in_torch - exact) <= allowed
    assert np.abs(chain - exact) > allowed


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
@pytest.mark.parametrize("size", [1e-6, 0.05])
def test_bound_holds_for_wrong_operands(sample, size):
    """Operands off by up to their stated errors: the result stays within the bound."""
    operands = sample.operands()
    for seed in range(4):
        rng = np.random.default_rng(seed)
        errors = [size * rng.random(array.shape) for array in operands]
        exact, allowed = bound(sample, operands, errors, unit=2.0**-53)
        finite = np.isfinite(exact)
        for power in (0, 1):
            # Power 0 takes every operand to a corner of its interval.
            shares = [
                rng.choice([-1.0, 1.0], e.shape) * rng.random(e.shape) ** power for e in errors
            ]
            moved = [a + e * s for a, e, s in zip(operands, errors, shares, strict=True)]
            off = np.abs(sample.op.reference(*moved)[finite] - exact[finite])
            assert (off <= allowed[finite] * (1 + 1e-9) + 1e-14).all()


EDGES = [
    (elementary.Exp(), [-np.inf, np.inf, 800.0], [0.0, np.inf, np.inf]),
    (elementary.Log(), [-1.0, -0.0, 0.0, np.inf], [np.nan, -np.inf, -np.inf, np.inf]),
    (elementary.Sqrt(), [-1.0, -0.0, 0.0, np.inf], [np.nan, -0.0, 0.0, np.inf]),
    (elementary.Rsqrt(), [-1.0, -0.0, 0.0, np.inf], [np.nan, -np.inf, np.inf, 0.0]),
    (elementary.Sin(), [-0.0, np.inf, -np.inf], [-0.0, np.nan, np.nan]),
    (elementary.Cos(), [0.0, np.inf, -np.inf], [1.0, np.nan, np.nan]),
    (elementary.Neg(), [0.0, -0.0, np.inf], [-0.0, 0.0, -np.inf]),
    (elementary.Pow(-1), [0.0, -0.0, np.inf], [np.inf, -np.inf, 0.0]),
    (elementary.Pow(0.5), [-1.0, -0.0, -np.inf], [np.nan, -0.0, np.nan]),
    (elementary.Pow(-0.5), [-0.0, -np.inf, np.inf], [-np.inf, np.nan, 0.0]),
    (elementary.Pow(0.3), [-1.0, -np.inf, np.inf], [np.nan, np.inf, np.inf]),
    (elementary.Pow(0), [np.nan, np.inf, 0.0], [1.0, 1.0, 1.0]),
    (linear_units.Clamp(1.0, -1.0), [-5.0, 5.0, np.nan], [-1.0, -1.0, np.nan]),
]


@pytest.mark.parametrize(("op", "x", "wanted"), EDGES, ids=str)
def test_edges_of_domains(op, x, wanted):
    """As in torch, and known: the bound is 0 where nothing is uncertain."""
    x, wanted = np.array(x), np.array(wanted)
    with np.errstate(all="ignore"):
        got = op.reference(x)
    np.testing.assert_array_equal(got, wanted)
    known = ~np.isnan(wanted)
    np.testing.assert_array_equal(np.signbit(got)[known], np.signbit(wanted)[known])
    in_torch = INFO[op.name].torch(op, torch.tensor(x)).numpy()
    np.testing.assert_array_equal(in_torch, wanted)
    special = ~np.isfinite(wanted)
    allowed = bound_by(op.error, op, (x,), (np.zeros(x.shape),), got, F32)
    assert (allowed[special] == 0).all()
    assert np.isfinite(allowed).all()


NEAR_EDGES = [
    (elementary.Log(), 0.01),
    (elementary.Log(), -0.01),
    (elementary.Sqrt(), 0.01),
    (elementary.Sqrt(), -0.01),
    (elementary.Rsqrt(), 0.01),
    (elementary.Pow(-1), 0.01),
    (elementary.Pow(-2), -0.01),
    (elementary.Pow(0.5), 0.01),
]


@pytest.mark.parametrize(("op", "x"), NEAR_EDGES, ids=str)
def test_nothing_is_known_where_an_operand_may_leave_the_domain(op, x):
    x, errors = np.array([x]), np.array([0.02])
    assert bound_by(op.error, op, (x,), (errors,), op.reference(x), F32) == np.inf
    assert bound_by(op.error, op, (x + 1,), (errors,), op.reference(x + 1), F32) < 0.1


@pytest.mark.parametrize("op", [elementary.Log(), elementary.Sqrt(), elementary.Rsqrt()], ids=str)
def test_an_operand_that_is_surely_outside_the_domain_makes_nan(op):
    x, errors = np.array([-1.0, -0.01]), np.full(2, 0.02)
    allowed = bound_by(op.error, op, (x,), (errors,), op.reference(x), F32)
    np.testing.assert_array_equal(allowed, [0.0, np.inf])


def test_bound_of_an_operand_whose_error_is_less_than_its_last_place():
    x, errors = np.array([700.0]), np.array([5e-14])
    assert x + errors == x
    exact = elementary.Exp().reference(x)
    assert elementary.Exp().error((x,), (errors,), exact, F64) >= exact * 5e-14


@pytest.mark.parametrize("op", [activation.Softplus(2.0, 3.0), activation.Softplus(0.5, -1.0)])
def test_bound_of_softplus_at_its_threshold(op):
    """It steps down there, so that an operand within its error may give either value."""
    (x,) = np.array([[op.threshold / op.beta]])
    for power in range(2, 30, 3):
        errors = np.full(1, 2.0**-power)
        for at in (x - errors / 2, x + errors / 2):
            exact = op.reference(at)
            allowed = op.error((at,), (errors,), exact, F32)
            off = [np.abs(op.reference(at + move) - exact) for move in (-errors, errors)]
            assert (np.max(off, axis=0) <= allowed).all()
    far = op.error((x + 1,), (errors,), op.reference(x + 1), F32)
    assert (far < 1e-5).all()
    assert not op.monotone


def test_bound_of_a_rounded_exponent():
    """A large power of an exponent that float32 does not hold."""
    op = elementary.Pow(30.1)
    x = np.linspace(0.5, 10, 2001, dtype=np.float32)
    exact = op.reference(x.astype(np.float64))
    allowed = op.error((x.astype(np.float64),), (np.zeros(x.shape),), exact, F32)
    rounded = elementary.Pow(float(np.float32(30.1))).reference(x.astype(np.float64))
    assert (np.abs(rounded - exact) <= allowed).all()
    assert (np.abs(rounded - exact) > 10 * F32 * np.abs(exact)).any()
    assert (allowed <= 120 * F32 * np.abs(exact) + 1e-30).all()


def test_a_power_may_take_the_smallest_numbers_as_zero():
    """As libdevice does on a GPU."""
    op, x = elementary.Pow(0.25), np.array([1e-40, 2e-38])
    allowed = op.error((x,), (np.zeros(2),), op.reference(x), F32)
    assert allowed[0] >= op.reference(x)[0] > 1e-11
    assert allowed[1] < 1e-6 * op.reference(x)[1]


FAR = [
    activation.Sigmoid(),
    activation.Tanh(),
    activation.Silu(),
    activation.Hardswish(),
    activation.Gelu(),
    activation.Gelu("tanh"),
    activation.Logsigmoid(),
    activation.Mish(),
    activation.Softplus(),
    activation.Softplus(0.6, 30.0),
    activation.Softsign(),
    linear_units.Celu(0.3),
    linear_units.Elu(-2.0),
    linear_units.Selu(),
    elementary.Cos(),
    elementary.Erf(),
    elementary.Sin(),
]


@pytest.mark.parametrize("op", FAR, ids=str)
def test_bound_of_exponentials_far_out(op):
    """Large arguments, where float32 exponentials overflow and results underflow."""
    x = np.linspace(-110, 110, 4001, dtype=np.float32)
    exact = op.reference(x.astype(np.float64))
    allowed = op.error((x.astype(np.float64),), (np.zeros(x.shape),), exact, F32)
    computed = INFO[op.name].torch(op, torch.tensor(x)).numpy().astype(np.float64)
    assert (np.abs(computed - exact) <= allowed).all()
    cancelling = 9 * F32 * np.abs(x) * isinstance(op, activation.Gelu)
    scaled = 3 * F32 * np.abs(x) * np.minimum(exact, 1) * (op == activation.Softplus(0.6, 30.0))
    relative = max(9, op.roundings + 1) * F32 * np.abs(exact)
    assert (allowed <= relative + cancelling + scaled + 112 * 2.0**-126).all()


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_bound_of_gelu_where_it_cancels(approximate):
    """1 + erf(x) in float32 keeps within it; a tanh that is wrong in its 12th bit does not."""
    op = activation.Gelu(approximate)
    x = np.linspace(-8, 1, 20001, dtype=np.float32)
    exact = op.reference(x.astype(np.float64))
    allowed = op.error((x.astype(np.float64),), (np.zeros(x.shape),), exact, F32)
    half, one = np.float32(0.5), np.float32(1)
    if approximate == "none":
        odd = torch.erf(torch.tensor(x * np.float32(0.5**0.5))).numpy()
    else:
        inner = x + np.float32(0.044715) * x * x * x
        odd = np.tanh(np.float32((2 / np.pi) ** 0.5) * inner)
    assert odd.dtype == np.float32
    assert (np.abs(half * x * (one + odd) - exact) <= allowed).all()
    wrong = odd * np.float32(1 - 2.0**-12)
    assert (np.abs(half * x * (one + wrong) - exact) > allowed).any()


UNARY = [*dict.fromkeys(sample.op for sample in of_class(ops.Unary))]


@pytest.mark.parametrize("op", UNARY, ids=str)
def test_traits_of_unary_ops(op):
    """The slope is the steepest, and `monotone` is true of those that never fall or make NaN."""
    x = np.linspace(-12, 12, 240001)
    steps = np.diff(op.reference(x))
    steepest = np.abs(steps).max() / (x[1] - x[0])
    if op.slope < np.inf:
        assert op.slope / 1.001 <= steepest <= op.slope * (1 + 1e-9)
    else:
        # None is the largest: it grows without end outwards, or towards 0.
        assert isinstance(op, elementary.Steep)
    with np.errstate(invalid="ignore"):
        y = op.reference(np.array([-np.inf, *x, np.inf]))
    assert op.monotone == bool((y[1:] >= y[:-1]).all())
    told = dataclasses.asdict(op).values()
    assert op.params == tuple(
        value == "tanh" if isinstance(value, str) else value for value in told
    )


@pytest.mark.parametrize("sample", of_class(ops.Anchor), ids=str)
def test_axes_of_anchors(sample):
    """Scaling a filter scales its channel of the output."""
    x, weight = sample.operands()[:2]
    op = sample.op
    exact = op.reference(x, weight)
    scale = np.arange(1.0, 1 + weight.shape[op.filter_axis])
    along = [(-1 if axis == op.filter_axis else 1) for axis in range(weight.ndim)]
    scaled = np.moveaxis(op.reference(x, weight * scale.reshape(along)), op.channel_axis, -1)
    exact = np.moveaxis(exact, op.channel_axis, -1)
    # The filters of all groups may lie on one axis, or those of each on the same.
    scale = np.tile(scale, exact.shape[-1] // len(scale))
    np.testing.assert_allclose(scaled, exact * scale, 1e-12)


@pytest.mark.parametrize("sample", of_class(ops.Arithmetic), ids=str)
def test_traits_of_arithmetic(sample):
    a, b = sample.operands()
    if sample.op.neutral is not None:
        np.testing.assert_array_equal(sample.op.reference(a, sample.op.neutral), a)
    assert sample.op.commutative == bool(
        (sample.op.reference(a, b) == sample.op.reference(b, a)).all()
    )
    rising = np.linspace(-9, 9, 100)[:, None]
    steps = np.diff(sample.op.reference(rising, np.array([-3.0, -0.5, 0.5, 3.0])), axis=0)
    keeps_nan = np.isnan(sample.op.reference(np.array(np.nan), np.array(0.5)))
    assert sample.op.monotone == bool((steps >= 0).all() and keeps_nan)


def test_bound_of_a_quotient_whose_divisor_may_be_zero():
    """Nothing is known, not even where the divisor is zero exactly: its sign is not."""
    a, b, error = np.ones(5), np.array([0.0, 0.1, -0.1, 0.2, np.inf]), np.full(5, 0.1)
    op, none = ops.Div(), np.zeros(5)
    exact = op.reference(a, b)
    np.testing.assert_array_equal(exact, [np.inf, 10, -10, 5, 0])
    allowed = op.error((a, b), (none, error), exact, F32)
    assert np.isinf(allowed[:3]).all()
    np.testing.assert_allclose(allowed[3:], [5, 0], atol=1e-5)
    assert np.isinf(bound_by(op.error, op, (a, b), (none, none), exact, F32)[0])
    known = bound_by(op.error, op, (a, b), (none, none), exact, F32)[1:]
    assert (known <= 4 * (10 * F32) + 2.0**-120).all()


def test_powers_are_those_of_torch_everywhere():
    numbers = np.array([-np.inf, -2.5, -1, -0.0, 0.0, 0.5, 1, 3, np.inf, np.nan])
    a, b = (grid.ravel() for grid in np.meshgrid(numbers, np.append(numbers, [2.0, -3.0])))
    exact = ops.Power().reference(a, b)
    assert len(set(exact[np.isfinite(exact)])) > 10
    np.testing.assert_allclose(exact, torch.pow(torch.tensor(a), torch.tensor(b)), rtol=1e-15)


def test_bound_of_a_power():
    """The farthest end where it is known: not where a base may change its sign, or the exponent is
    not exact, nor around a pole."""
    a = np.array([2.0, 2.0, -2.0, -2.0, 0.01, 0.0, -2.0, 3.0])
    b = np.array([3.0, -1.5, 3.0, 3.0, -1.0, 2.0, 0.5, 0.0])
    off_a = np.array([0.1, 0.0, 0.1, 0.0, 0.1, 0.1, 0.1, 0.0])
    off_b = np.array([0.0, 0.2, 0.0, 0.1, 0.0, 0.0, 0.0, 0.2])
    op = ops.Power()
    exact = op.reference(a, b)
    allowed = op.error((a, b), (off_a, off_b), exact, F32)
    wanted = [2.1**3 - 8, 2**-1.3 - 2**-1.5, 2.1**3 - 8, np.inf, np.inf, 0.01, 0, 3**0.2 - 1]
    np.testing.assert_allclose(allowed, wanted, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("op", [steps.Floor(), steps.Ceil(), steps.Trunc(), steps.Round()])
def test_bound_of_a_step(op):
    """0, but 1 where the operand's error may take it over a step."""
    x = np.array([0.2, 0.45, 0.98, 1.02, -0.98, -1.02, -0.45, 2.0])
    moved = [np.abs(op.reference(x + s) - op.reference(x)) for s in (-0.06, 0.06)]
    allowed = op.error((x,), (np.full(8, 0.06),), op.reference(x), F32)
    np.testing.assert_array_equal(allowed, np.maximum(*moved))
    assert {0, 1} == set(allowed)
    assert not op.error((x,), (np.zeros(8),), op.reference(x), F32).any()


@pytest.mark.parametrize("op", [ops.Minimum(), ops.Maximum()])
def test_an_extremum_with_nan_is_nan(op):
    a, b = np.array([np.nan, 1.0, np.nan, -np.inf]), np.array([1.0, np.nan, np.nan, np.inf])
    wanted = INFO[op.name].torch(op, torch.tensor(a), torch.tensor(b))
    np.testing.assert_array_equal(op.reference(a, b), wanted)


def test_views_keep_elements_in_order():
    views = [sample for sample in SAMPLES if sample.op.kind is OpKind.VIEW]
    assert {sample.op.name for sample in views} == {"dropout", "flatten", "reshape"}
    for sample in views:
        (x,) = sample.operands()
        np.testing.assert_array_equal(sample.op.reference(x).ravel(), x.ravel())


def test_operands_hold_floats_or_whole_numbers():
    image, indices = TensorType((2,), DType.F32), TensorType((2,), DType.I64)
    half = TensorType((2,), DType.F16)
    roles = {"input": FLOAT, "indices": INTEGER, "weight": FLOAT}
    check_operands(activation.Relu(), (image, indices, image), **roles)
    check_operands(activation.Relu(), (image, indices), 2, **roles)
    for operands, says in (
        ((image, image, image), "reads its indices in whole numbers"),
        ((indices, indices, image), "reads its input in floating point"),
        ((image, indices, half), "different dtypes"),
    ):
        with pytest.raises(DTypeMismatch, match=says):
            check_operands(activation.Relu(), operands, **roles)
    with pytest.raises(InvalidGraph, match=r"input, indices\[, weight\]"):
        check_operands(activation.Relu(), (image,), 2, **roles)


@pytest.mark.parametrize("name", ["conv1d", "max_pool1d", "avg_pool1d"])
def test_a_lifted_window_slides_alike(name):
    """Over maps of height 1."""
    for sample in INFO[name].samples:
        op, shapes = sample.op, sample.shapes
        window = op.window(shapes[1]) if name == "conv1d" else op.window
        length = shapes[0][2]
        assert window.lifted(2).outputs(op, (1, length)) == (1, *window.outputs(op, (length,)))
        x = np.arange(1.0, 1 + length).reshape(1, 1, length)
        outputs = window.outputs(op, (length,))
        flat = window.view(x, outputs, 0.0)
        tall = window.lifted(2).view(x[:, :, None], (1, *outputs), 0.0)
        np.testing.assert_array_equal(tall[:, :, 0, :, 0], flat)


def test_bound_of_small_results_is_relative():
    """A tanh that cancels near 0, and one that is 0 there, exceed the bound."""
    x = np.logspace(-30, -1, 30, dtype=np.float32)
    x = np.concatenate([x, -x])
    exact = np.tanh(x.astype(np.float64))
    allowed = activation.Tanh().error((x.astype(np.float64),), (np.zeros(x.shape),), exact, F32)
    assert (np.abs(np.tanh(x) - exact) <= allowed).all()
    decay = np.exp(-2 * np.abs(x))
    cancelling = np.sign(x) * (1 - decay) / (1 + decay)
    small = np.abs(x) < 1e-2
    assert (np.abs(cancelling - exact) > allowed)[small].all()


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_bound_of_softmax_far_apart(name):
    op = Op.registry[name]()
    rng = np.random.default_rng(0)
    x = (60 * rng.standard_normal((8, 100))).astype(np.float32)
    exact = op.reference(x.astype(np.float64))
    allowed = op.error((x.astype(np.float64),), (np.zeros(x.shape),), exact, F32)
    computed = INFO[name].torch(op, torch.tensor(x)).numpy().astype(np.float64)
    assert np.isfinite(allowed).all()
    assert (np.abs(computed - exact) <= allowed).all()


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_bound_beside_masked_elements(name):
    """An element of -inf has probability 0 exactly, and takes nothing from the others' bounds."""
    op = Op.registry[name](dim=1)
    x = np.array([[0.5, -np.inf, 2.0]])
    exact = op.reference(x)
    allowed = op.error((x,), (np.zeros(x.shape),), exact, F32)
    assert (allowed[:, [0, 2]] < 1e-5).all()
    if name == "softmax":
        assert exact[0, 1] == 0
        assert allowed[0, 1] < 1e-30


def test_local_response_norm_of_the_paper():
    """Its alpha multiplies the sum itself: alpha / size here."""
    x = 30 * np.random.default_rng(0).standard_normal((1, 8, 2, 2))
    wanted = np.empty_like(x)
    for i in range(8):
        near = x[:, max(0, i - 2) : i + 3] ** 2
        wanted[:, i] = x[:, i] / (2 + 1e-4 * near.sum(axis=1)) ** 0.75
    got = ops.LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=2.0).reference(x)
    np.testing.assert_allclose(got, wanted, 1e-13)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4, 1e12, 1e18, 1e19])
@pytest.mark.parametrize("beta", [0.75, 3.0])
def test_bound_of_local_response_norm_at_all_scales(scale, beta):
    """Also where the power is taken as 2^(beta log2 b); a window that is one short exceeds it."""
    op = ops.LocalResponseNorm(4, 0.5, beta, 0.7)
    x = (scale * np.random.default_rng(0).standard_normal((2, 9, 50))).astype(np.float32)
    exact, allowed = bound(Sample(op, (x.shape,)), [x.astype(np.float64)])
    with np.errstate(over="ignore"):
        computed = in_torch(Sample(op, (x.shape,)), [x], torch.float32)
        base = op._base(op._sum(x * x)).astype(np.float32)
        by_exponent = x * np.exp2(np.float32(-beta) * np.log2(base))
    assert (np.abs(computed - exact) <= allowed).all()
    assert (np.abs(by_exponent - exact) <= allowed).all()
    assert np.isfinite(allowed).all() == (scale < (1e19 if beta == 0.75 else 1e12))
    short = ops.LocalResponseNorm(3, 0.5 * 3 / 4, beta, 0.7).reference(x.astype(np.float64))
    if scale > 1e-3 and np.isfinite(allowed).all():
        assert (np.abs(short - exact) > allowed).any()


def test_softmax_bound_is_never_more_than_one():
    op = ops.Softmax()
    x = np.array([[0.0, -2000.0]])
    allowed = op.error((x,), (np.full(x.shape, 1e6),), op.reference(x), F32)
    assert (allowed <= 1.0001).all()


def test_convolution_in_chunks(monkeypatch):
    sample = INFO["conv2d"].samples[0]
    whole, allowed = bound(sample, sample.operands(), unit=F64)
    monkeypatch.setattr("graphcnn.ops.conv._CHUNK", 500)
    assert (np.abs(sample.op.reference(*sample.operands()) - whole) <= 2 * allowed).all()


ODD = st.one_of(
    st.integers(-3, 5),
    st.sampled_from([2**31, 2**63, 10**30, True, None, "same", 1.5, float("nan"), float("-inf")]),
    st.lists(st.integers(-2, 4), max_size=5).map(tuple),
)
SHAPES = st.lists(st.sampled_from([1, 2, 3, 4, 7, 2**31 - 1]), max_size=5).map(tuple)
TYPES = st.builds(
    TensorType,
    SHAPES.filter(lambda shape: shape.count(2**31 - 1) < 2),
    st.sampled_from([*DType] + [DType.F32] * 5),
)


@pytest.mark.parametrize("op", [ops.Add(), ops.Sub(), ops.Mul(), ops.Div(), ops.Maximum()])
@pytest.mark.parametrize("dtype", [DType.F16, DType.BF16])
def test_a_number_does_not_promote(op, dtype):
    number = TensorType((), DType.F32)
    for shape in ((2, 3), ()):
        half = TensorType(shape, dtype)
        assert op.infer(half, number) == op.infer(number, half) == half
    assert op.infer(number, number) == number


@pytest.mark.parametrize("dtype", FLOATS)
def test_attributes_at_the_edge_of_the_range(dtype):
    largest = float(torch.finfo(getattr(torch, dtype.long_name)).max)
    for value in (largest, -largest, float("inf"), float("-inf")):
        assert ops.Pad((0, 0, 0, 0), value).infer(TensorType((1, 1, 2, 2), dtype))
    # The slope multiplies in the arithmetic's type, which may be wider.
    assert activation.LeakyRelu(1e38).infer(TensorType((2,), dtype))


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_odd_arguments_raise_only_our_errors(data):
    name = data.draw(st.sampled_from(sorted(INFO)))
    cls = Op.registry[name]
    attributes = {
        field.name: data.draw(ODD)
        for field in dataclasses.fields(cls)
        if field.default is dataclasses.MISSING or data.draw(st.booleans())
    }
    try:
        result = cls(**attributes).infer(*data.draw(st.lists(TYPES, max_size=6)))
    except GraphCNNError as refused:
        result = str(refused)
    assert isinstance(result, TensorType) or "remedy" in result


@pytest.mark.parametrize("offset", [0.0, 10.0, 1000.0])
@pytest.mark.parametrize("correction", [0, 1])
def test_bound_of_a_variance_by_other_algorithms(offset, correction):
    """In one pass (B. P. Welford) and in two, in float32, near to and far from zero."""
    x = (offset + np.random.default_rng(0).standard_normal((40, 500))).astype(np.float32)
    op, wide = ops.Var((1,), correction=correction), x.astype(np.float64)
    exact, allowed = bound(Sample(op, (x.shape,)), [wide])
    mean, total = np.zeros(40, np.float32), np.zeros(40, np.float32)
    for count, column in enumerate(x.T, 1):
        off = column - mean
        mean = mean + off / np.float32(count)
        total = total + off * (column - mean)
    centred = x - np.cumsum(x, axis=1)[:, -1:] / np.float32(500)
    for squares in (total, np.cumsum(centred * centred, axis=1)[:, -1]):
        assert squares.dtype == np.float32
        off = np.abs(squares / np.float32(500 - correction) - exact)
        assert (off <= allowed).all()
    # Without one of the elements it is another variance, which shows where it is well conditioned.
    short = np.var(wide[:, 1:], axis=1, ddof=correction)
    assert (np.abs(short - exact) > allowed).any() or offset == 1000
