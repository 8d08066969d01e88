"""Against PyTorch itself: random settings, their gradients, refusals, layouts, accuracy and what is not finite.

UPCONV_RANDOM sets the number of random settings (1,000 unless told). The oracle is PyTorch in float64.
"""

import os
import random
import time
import warnings
from collections import Counter

import numpy as np
import pytest
from cases import ACCURACY, CASES, DTYPES, VIEWS, Case, channels_last
from compare import assert_close, assert_same_nonfinite
from require import require

import upconv
from upconv.arrays import lies_channels_last
from upconv.geometry import output_length

torch = require("torch")
F = torch.nn.functional
COUNT = int(os.environ.get("UPCONV_RANDOM", "1000"))


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tensor(array):
    """A torch tensor of the same values; dense, since torch has no negative or unaligned strides."""
    dense = np.array(array, array.dtype.newbyteorder("="), order="C", subok=False)
    if dense.dtype.name == "bfloat16":
        return torch.from_numpy(dense.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(dense)


def numpy(tensor):
    return tensor.detach().resolve_conj().numpy()


def wide(tensor):
    if tensor.dtype == torch.int64:
        return tensor
    return tensor.to(torch.complex128 if tensor.is_complex() else torch.float64)


def drawn(draw, number):
    """A valid setting of torch's."""

    def axis(largest_kernel):
        while True:
            n, k, s = draw.randint(1, 7), draw.randint(1, largest_kernel), draw.randint(1, 4)
            d = draw.choice((1, 1, 2, 3, 4))
            p, op = draw.randint(0, 4), draw.randint(0, max(s, d) - 1)
            if output_length(n, k, s, d, p, p - op) > 0:
                return n, k, s, d, p, op

    (h, *height), (w, *width) = axis(5), axis(7)
    groups = draw.choice((1, 1, 1, 2, 3))
    wide_in, wide_out = draw.randint(1, 4), draw.randint(1, 4)
    k, s, d, p, op = zip(height, width, strict=True)
    n = draw.choice((0, 1, 1, 2, 3))
    return Case(f"random-{number}", n, groups * wide_in, h, w, groups * wide_out, k, s, p, op, groups, d)


def oracle(case, x, w, b, grad_y=None):
    """torch's answer in the widest type, and with `grad_y` its gradients."""
    leaves = [None if leaf is None else wide(leaf).requires_grad_(grad_y is not None) for leaf in (x, w, b)]
    y = F.conv_transpose2d(*leaves, case.s, case.p, case.op, case.groups, case.d)
    if grad_y is None:
        return (numpy(y),)
    wanted = [leaf for leaf in leaves if leaf is not None]
    return tuple(map(numpy, (y, *torch.autograd.grad(y, wanted, wide(grad_y)))))


def operands_of(case, draw, dtype):
    """NumPy operands in memory of random kinds."""
    arrays = case.arrays(dtype, kind=draw.choice(("rough", "range")) if dtype not in ("float16", "int64") else "rough")
    seen = []
    for array in arrays:
        names = [name for name in VIEWS if not (name == "byte_swapped" and dtype == "bfloat16")]
        if array.size and draw.random() < 0.5:
            array = VIEWS[draw.choice(names)](array)
        elif array.ndim == 4 and draw.random() < 0.5:
            array = channels_last(array)
        seen.append(array)
    if case.n == 1 and draw.random() < 0.5:
        seen[0], seen[3] = seen[0][0], seen[3][0]
    if draw.random() < 0.3:
        seen[2] = None
    return seen


def compare_once(case, draw, dtype):
    """One random setting in every respect; raises AssertionError."""
    x, w, b, grad_y = operands_of(case, draw, dtype)
    y = upconv.conv_transpose2d(x, w, b, **case.settings)
    tensors = [None if array is None else tensor(array) for array in (x, w, b, grad_y)]
    assert y.dtype == w.dtype.newbyteorder("=")
    if dtype == "int64":
        np.testing.assert_array_equal(y, *oracle(case, *tensors[:3]))
        return 1
    want = oracle(case, *tensors)
    bound = oracle(case, *(None if t is None else wide(t).abs() for t in tensors))
    wanted = (True, True, b is not None)
    gradients = upconv.grad.conv_transpose2d_backward(grad_y, x, w, **case.settings, output_mask=wanted)
    results = [result for result in (y, *gradients) if result is not None]
    for one, other, most in zip(results, want, bound, strict=True):
        assert_close(one, other, most, dtype)
    return len(results)


def test_random_settings_and_their_gradients_agree_with_torch(capsys):
    draw, wrong, seen, started = random.Random(2013), [], Counter(), time.perf_counter()
    for number in range(COUNT):
        case, dtype = drawn(draw, number), DTYPES[number % len(DTYPES)]
        state = draw.getstate()
        try:
            seen["arrays compared"] += compare_once(case, draw, dtype)
        except Exception as error:
            draw.setstate(state)
            wrong.append(f"{case!r} in {dtype}: {type(error).__name__}: {error}")
        seen["settings"] += 1
        seen["with dilation and stride sharing a factor"] += any(np.gcd(case.s, case.d) > 1)
        seen["grouped"] += case.groups > 1
        seen["empty batches"] += case.n == 0
    with capsys.disabled():
        figures = ", ".join(f"{count:,} {what}" for what, count in seen.items())
        print(f"\nrandom settings: {figures}; {len(wrong)} wrong; {time.perf_counter() - started:.0f} s")
    assert not wrong, "\n".join(wrong[:5])


def test_random_layers_and_output_sizes_agree_with_torch():
    """Every size from two below to two above the documented range: the same answer, or a refusal by both."""
    draw = random.Random(7)
    accepted = refused = 0
    for number in range(COUNT // 10):
        case = drawn(draw, number)
        named = {"bias": draw.random() < 0.7, "dilation": case.d, "groups": case.groups}
        theirs = torch.nn.ConvTranspose2d(case.c_in, case.c_out, case.k, case.s, case.p, **named).double()
        ours = upconv.ConvTranspose2d(case.c_in, case.c_out, case.k, case.s, case.p, **named, dtype="float64")
        ours.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()})
        assert repr(ours) == repr(theirs)
        x = case.arrays("float64").x
        sizes = zip((case.h, case.w), case.k, case.s, case.d, case.p, strict=True)
        least = [output_length(n, k, s, d, p, p) for n, k, s, d, p in sizes]
        extra = [draw.choice((draw.randrange(s), draw.randrange(s), draw.randint(-2, s + 1))) for s in case.s]
        size = [low + more for low, more in zip(least, extra, strict=True)]
        size = draw.choice((size, [case.n, case.c_out, *size]))
        if min(size[-2:]) < 1 and not case.n:
            continue  # torch makes empty batches of impossible sizes: a deliberate difference
        try:
            want = numpy(theirs(tensor(x), size))
        except (RuntimeError, ValueError) as error:
            with pytest.raises(type(error)):
                ours(x, size)
            refused += 1
        else:
            np.testing.assert_allclose(ours(x, size), want, rtol=1e-12, atol=1e-12)
            accepted += 1
    assert min(accepted, refused) >= COUNT // 100


def test_output_size_may_ask_for_more_than_a_plain_size_that_would_be_impossible():
    """Without output_padding nothing would be left here; the documented range still reaches above zero."""
    theirs = torch.nn.ConvTranspose2d(1, 1, 1, stride=4, padding=1).double()
    ours = upconv.ConvTranspose2d(1, 1, 1, stride=4, padding=1, dtype="float64")
    ours.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()})
    x = np.ones((1, 1, 1, 1))
    for size in ([1, 1], [2, 1], [2, 2]):
        np.testing.assert_array_equal(ours(x, size), numpy(theirs(tensor(x), size)))


FORMS = ([], [1], [1, 1, 1], 1.0, "1", None, [1, 0.5], [1, None], 2, 0, -1, True, [True, 1])


def spoil(case, draw, faults):
    """The call of a valid case with so many things drawn anew from a range that holds invalid values."""
    call = {
        "x": [case.n, case.c_in, case.h, case.w],
        "w": [case.c_in, case.c_out // case.groups, *case.k],
        "b": [case.c_out] if draw.random() < 0.5 else None,
        **{key: list(value) if isinstance(value, tuple) else value for key, value in case.settings.items()},
    }
    for _ in range(faults):
        what = draw.choice(("x", "w", "b", "stride", "padding", "output_padding", "dilation", "groups", "form", "dims"))
        place, side = draw.randrange(4), draw.randrange(2)
        if what in ("x", "w"):
            call[what] = [draw.randint(0, 4) if i == place else size for i, size in enumerate(call[what])]
        elif what == "b":
            call["b"] = [draw.randint(0, 5)] * draw.choice((1, 1, 2))
        elif what == "groups":
            call["groups"] = draw.choice((-1, 0, 1, 2, 3, 5, 1.0, "1", None, True))
        elif what == "form":
            key = draw.choice(("stride", "padding", "output_padding", "dilation"))
            call[key] = draw.choice(FORMS)
        elif what == "dims":
            key = draw.choice(("x", "w"))
            call[key] = draw.choice((call[key][1:], [1, *call[key]], call[key][:2], []))
        elif isinstance(call[what], list) and len(call[what]) > side:
            call[what][side] = draw.randint(-2, 9 if what == "padding" else 5)
    return call


def attempt(call, make, function):
    """(answer, None) or (None, exception)."""
    settings = {key: value for key, value in call.items() if key not in ("x", "w", "b")}
    x, w, b = (None if call[key] is None else make(call[key]) for key in ("x", "w", "b"))
    try:
        return function(x, w, b, **settings), None
    except Exception as error:
        return None, error


def is_documented(call, answer):
    """The deliberate differences: on some paths torch answers for an empty input or result, and for a dilation of 0."""
    empty_batch = len(call["x"]) == 4 and call["x"][0] == 0
    return empty_batch or 0 in call["x"][-2:] or 0 in answer.shape[-2:] or 0 in np.ravel(call["dilation"])


def test_what_torch_refuses_is_refused_and_what_it_answers_is_answered(capsys):
    """Spoilt settings: the same verdict, and an exception that torch's users already catch."""
    draw, seen, wrong = random.Random(99), Counter(), []
    for number in range(COUNT):
        faults = draw.choice((1, 1, 2))
        call = spoil(drawn(draw, number), draw, faults)
        want, theirs = attempt(call, torch.ones, F.conv_transpose2d)
        got, ours = attempt(call, lambda shape: np.ones(shape, np.float32), upconv.conv_transpose2d)
        if theirs is None and ours is None:
            seen["answered by both"] += 1
            if got.shape != tuple(want.shape):
                wrong.append(f"{call}: shape {got.shape}, torch {tuple(want.shape)}")
        elif theirs is None:
            seen["deliberately refused"] += 1
            if not is_documented(call, want):
                wrong.append(f"{call}: torch answers {tuple(want.shape)}, we refuse: {ours}")
        elif ours is None:
            wrong.append(f"{call}: we answer {got.shape}, torch refuses: {theirs}")
        else:
            seen["refused by both"] += 1
            # Of two faults either may be named; an IndexError is an accident inside torch.
            expected = (type(theirs),) if faults == 1 else (RuntimeError, TypeError)
            if not isinstance(ours, RuntimeError if isinstance(theirs, IndexError) else expected):
                wrong.append(f"{call}: we raise {ours!r}, torch {theirs!r}")
    with capsys.disabled():
        figures = ", ".join(f"{count:,} {what}" for what, count in seen.items())
        print(f"\nspoilt settings: {figures}; {len(wrong)} wrong")
    assert seen["refused by both"] > COUNT // 4
    assert not wrong, f"{len(wrong)} differ:\n" + "\n".join(wrong[:10])


def test_the_deliberate_differences_are_what_they_were():
    """What torch answers on some path and we never do; where torch changes its mind, the documents must follow."""
    x, w, one, many = (1, 2, 2, 3), (2, 1, 3, 3), torch.ones(1, dtype=torch.float64), (0, 2, 3, 3)
    calls = [
        ((many, w, None), {"output_padding": 9}),
        ((x, w, one), {}),
        (((3, 1, 6, 1), (1, 3, 1, 6), None), {"dilation": (0, 1), "padding": (0, 2), "stride": (4, 1)}),
    ]
    for (x_shape, w_shape, b), settings in calls:
        a, v = torch.ones(x_shape), torch.ones(w_shape)
        assert F.conv_transpose2d(a, v, b, **settings).dtype == torch.float32
        with pytest.raises(upconv.SettingError):
            upconv.conv_transpose2d(a.numpy(), v.numpy(), None if b is None else b.numpy(), **settings)


def stride_pattern(draw, shape):
    """An array of the shape: axes stored in a random order, some of them parts of longer ones."""
    order = draw.sample(range(4), 4) if draw.random() < 0.5 else draw.choice(([0, 2, 3, 1], [0, 1, 2, 3]))
    steps = [draw.choice((1, 1, 1, 2)) for _ in range(4)]
    stored = np.zeros([shape[axis] * steps[axis] for axis in order], np.float32)
    array = stored.transpose(np.argsort(order))
    array = array[tuple(slice(0, size * step, step) for size, step in zip(shape, steps, strict=True))]
    return np.broadcast_to(array[:, :1], shape) if draw.random() < 0.05 else array


def test_the_layout_is_torchs_on_random_strides():
    """The verdict of torch on the strides of both operands, wherever no axis has size 1.

    torch reads the strides of axes of size 1, too. NumPy leaves them arbitrary, so there ours are read as if dense,
    and one channel or 1x1 maps are NCHW.
    """
    draw, found = random.Random(5), Counter()
    for _ in range(COUNT):
        x = stride_pattern(draw, [draw.choice((1, 2, 2, 3, 4)) for _ in range(4)])
        w = stride_pattern(draw, (x.shape[1], draw.randint(2, 3), draw.randint(2, 3), draw.randint(2, 3)))
        if x.shape[1] == 1 or x.shape[2:] == (1, 1):
            assert not lies_channels_last(x)
        if 1 in x.shape:
            found["undecided"] += 1
            continue
        with warnings.catch_warnings():
            # torch warns that a broadcast array is read-only.
            warnings.simplefilter("ignore", UserWarning)
            theirs = F.conv_transpose2d(torch.from_numpy(x), torch.from_numpy(w))
        ours = upconv.conv_transpose2d(x, w)
        # The result has at least two channels, rows and columns, so only one of these is true.
        assert theirs.is_contiguous() == ours.flags.c_contiguous, (x.shape, x.strides, w.shape, w.strides)
        last = theirs.is_contiguous(memory_format=torch.channels_last)
        assert last == ours.transpose(0, 2, 3, 1).flags.c_contiguous, (x.shape, x.strides, w.shape, w.strides)
        found["nhwc" if last else "nchw"] += 1
    assert min(found["nhwc"], found["nchw"]) > COUNT // 20


def test_the_layouts_of_the_gradients_are_torchs():
    """For a gradient in the output that lies as the output does; ours then follow the operands they are made of."""
    case = Case("layout", 2, 4, 5, 6, 3, (3, 3), (2, 2), (1, 1), (1, 1))
    arrays = case.arrays("float32")
    for x_last, w_last in np.ndindex(2, 2):
        x, w = channels_last(arrays.x) if x_last else arrays.x, channels_last(arrays.w) if w_last else arrays.w
        grad_y = channels_last(arrays.grad_y) if x_last or w_last else arrays.grad_y
        ours = upconv.grad.conv_transpose2d_backward(grad_y, x, w, **case.settings)
        a, b = torch.from_numpy(x).requires_grad_(), torch.from_numpy(w).requires_grad_()
        y = F.conv_transpose2d(a, b, None, case.s, case.p, case.op)
        theirs = torch.autograd.grad(y, (a, b), torch.from_numpy(grad_y))
        for name, one, other in zip(("input", "weight"), ours, theirs, strict=False):
            assert one.flags.c_contiguous == other.is_contiguous(), (name, x_last, w_last)


def rms(array):
    return float(np.sqrt(np.mean(np.abs(array) ** 2)))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "complex64"])
def test_the_mean_error_is_at_most_twice_torchs_own(dtype, capsys):
    figures = []
    for case in ACCURACY:
        for kind in ("rough", "range") if dtype != "float16" else ("rough",):
            arrays = case.arrays(dtype, kind=kind)
            tensors = list(map(tensor, arrays))
            true = oracle(case, *tensors)
            leaves = [leaf.requires_grad_() for leaf in tensors[:3]]
            y = F.conv_transpose2d(*leaves, case.s, case.p, case.op, case.groups, case.d)
            theirs = [numpy(wide(t)) for t in (y, *torch.autograd.grad(y, leaves[:2], tensors[3]))]
            want = oracle(case, *(t.detach() for t in tensors))
            x, w, b, grad_y = arrays
            ours = [upconv.conv_transpose2d(x, w, b, **case.settings)]
            ours += upconv.grad.conv_transpose2d_backward(grad_y, x, w, **case.settings)[:2]
            np.testing.assert_array_equal(true[0], want[0])
            for name, one, other, exact in zip(("y", "grad_input", "grad_weight"), ours, theirs, want, strict=False):
                ratio = rms(one.astype(exact.dtype) - exact) / rms(other - exact)
                figures.append((ratio, f"{case} {name} {kind}"))
    figures.sort()
    with capsys.disabled():
        (worst, where), middle = figures[-1], figures[len(figures) // 2][0]
        print(f"\n{dtype}: our rms error over torch's: median {middle:.2f}, worst {worst:.2f} ({where})")
    worse = [figure for figure in figures if figure[0] > 2]
    assert not worse, worse


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_reaches_the_same_outputs_as_in_torch(value):
    """torch in float64 multiplies no padding, so it is the oracle for every dtype.

    In float32 and bfloat16 its oneDNN kernels multiply padding on some settings: a NaN in the weight then spreads to
    border outputs that its tap does not reach, and in grouped bfloat16 a NaN in the input to the neighbouring channel.
    """
    for case in CASES:
        if not case.in_torch or not case.n or max(case.k) > 16:
            continue
        for side in (0, 1):
            arrays = case.arrays()
            arrays[side].ravel()[arrays[side].size // 3] = value
            (want,) = oracle(case, *map(tensor, arrays[:3]))
            with np.errstate(invalid="ignore"):
                for dtype in ("float64", "float32"):
                    got = upconv.conv_transpose2d(*(a.astype(dtype) for a in arrays[:3]), **case.settings)
                    assert_same_nonfinite(got, want)


def test_gradients_of_complex_operands_follow_torchs_convention():
    """The gradient of a real loss with respect to the conjugate, as torch's own step by descent wants it."""
    case = Case("complex", 2, 4, 3, 4, 6, (3, 2), (2, 2), (1, 0), (1, 0), 2)
    x, w, b, _ = case.arrays("complex128")
    leaves = [torch.from_numpy(array).requires_grad_() for array in (x, w, b)]
    loss = (F.conv_transpose2d(*leaves, case.s, case.p, case.op, case.groups).abs() ** 2).sum()
    loss.backward()
    grad_y = 2 * upconv.conv_transpose2d(x, w, b, **case.settings)
    ours = upconv.grad.conv_transpose2d_backward(grad_y, x, w, **case.settings)
    for one, leaf in zip(ours, leaves, strict=True):
        np.testing.assert_allclose(one, leaf.grad.numpy(), rtol=1e-12, atol=1e-12)


def test_conv2d_agrees_with_torch():
    draw = random.Random(31)
    for number in range(COUNT // 5):
        case = drawn(draw, number)
        _, w, b, y = case.arrays("float64")
        b = np.resize(b, case.c_in)
        named = {"stride": case.s, "padding": case.p, "dilation": case.d, "groups": case.groups}
        try:
            want = F.conv2d(tensor(y), tensor(w), tensor(b), **named)
        except RuntimeError:
            with pytest.raises(RuntimeError):
                upconv.conv2d(y, w, b, **named)
            continue
        np.testing.assert_allclose(upconv.conv2d(y, w, b, **named), numpy(want), rtol=1e-12, atol=1e-12)
