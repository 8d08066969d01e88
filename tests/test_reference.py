"""The definition against itself: two forms of one sum, gradients by adjoints and differences, torch's documentation."""

import numpy as np
import pytest
from cases import AWKWARD, BY_NAME, CASES, Case, values

import upconv
from upconv import reference
from upconv.geometry import output_length

SHORT = [case for case in CASES if max(case.k) <= 16]


def dot(a, b):
    return np.vdot(np.asarray(a), np.asarray(b))


@pytest.mark.parametrize("dtype", ["float64", "complex128", "int64"])
def test_scatter_and_gather_are_the_same_sums(dtype):
    for case in AWKWARD:
        geometry, arrays = case.geometry(), case.arrays(dtype, kind="exact")
        scattered = reference.scatter(geometry, *arrays[:3])
        np.testing.assert_array_equal(scattered, reference.gather(geometry, *arrays[:3]))
        assert scattered.dtype == dtype


def test_the_definition_written_once_more_on_one_axis():
    """A stamped canvas in plain Python, cropped or extended at both ends."""
    for case in AWKWARD:
        axis = case.geometry().w
        x, w = values((axis.n,), (1,), kind="exact"), values((axis.k,), (2,), kind="exact")
        canvas = [0.0] * axis.full
        for i in range(axis.n):
            for t in range(axis.k):
                canvas[i * axis.s + t * axis.d] += x[i] * w[t]
        canvas = [0.0] * max(0, -axis.crop_lo) + canvas + [0.0] * max(0, -axis.crop_hi)
        want = canvas[max(0, axis.crop_lo) : len(canvas) - max(0, axis.crop_hi)]
        line = Case(
            "line", 1, 1, 1, axis.n, 1, (1, axis.k), (1, axis.s), (0, case.p[1]), (0, case.op[1]), 1, (1, axis.d)
        )
        got = reference.scatter(line.geometry(), x[None, None, None], w[None, None, None])
        np.testing.assert_array_equal(got[0, 0, 0], want)


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_the_gradients_are_adjoint_to_the_forward_map(dtype):
    """<grad_y, T(x, w)> == <grad_input, x> == <grad_weight, w> for whole numbers, exactly; conjugation included."""
    for case in SHORT:
        g, (x, w, _, grad_y) = case.geometry(), case.arrays(dtype, kind="exact")
        want = dot(grad_y, reference.scatter(g, x, w))
        assert dot(reference.grad_input(g, grad_y, w), x) == want, case
        assert dot(reference.grad_weight(g, x, grad_y), w) == want, case


@pytest.mark.parametrize("name", ["gcd2-k3s2d2-holes", "groups-2-several-outputs", "crops-unequal", "crop-kills-taps"])
def test_the_gradients_are_finite_differences(name):
    """T is bilinear, so a central difference of whole numbers is exact."""
    case = BY_NAME[name]
    g, (x, w, _, grad_y) = case.geometry(), case.arrays(kind="exact")

    def difference(operand, loss):
        gradient = np.zeros_like(operand)
        for place in np.ndindex(operand.shape):
            there, back = operand.copy(), operand.copy()
            there[place] += 1
            back[place] -= 1
            gradient[place] = (loss(there) - loss(back)) / 2
        return gradient

    by_input = difference(x, lambda moved: dot(grad_y, reference.scatter(g, moved, w)))
    by_weight = difference(w, lambda moved: dot(grad_y, reference.scatter(g, x, moved)))
    np.testing.assert_array_equal(reference.grad_input(g, grad_y, w), by_input)
    np.testing.assert_array_equal(reference.grad_weight(g, x, grad_y), by_weight)


def test_gradients_of_a_real_loss_of_complex_operands_enter_conjugated():
    """By moving the real and the imaginary part of one value, the definition that torch uses."""
    case = BY_NAME["1x1-kernel-with-stride-and-room"]
    g, (x, w, _, grad_y) = case.geometry(), case.arrays("complex128", kind="exact")
    place = (0, 1, 2, 3)
    parts = []
    for step in (1, 1j):
        moved = np.zeros_like(x)
        moved[place] = step
        parts.append(dot(grad_y, reference.scatter(g, moved, w)).real)
    assert reference.grad_input(g, grad_y, w)[place] == parts[0] + 1j * parts[1]


def test_groups_do_not_mix():
    """A grouped layer is its groups side by side."""
    case = BY_NAME["groups-3-widening"]
    x, w, b, _ = case.arrays(kind="exact")
    parts = [
        upconv.conv_transpose2d(x[:, i : i + 1], w[i : i + 1], b[4 * i : 4 * i + 4], stride=case.s) for i in range(3)
    ]
    whole = reference.scatter(case.geometry(), x, w, b)
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


def test_documentation_shape_formula():
    """H_out = (H_in - 1)*stride - 2*padding + dilation*(kernel - 1) + output_padding + 1."""
    for case in CASES:
        if case.in_torch:
            shape = upconv.conv_transpose2d(*case.arrays()[:3], **case.settings).shape
            for axis, n in enumerate((case.h, case.w)):
                k, s, p, op, d = (pair[axis] for pair in (case.k, case.s, case.p, case.op, case.d))
                size = (n - 1) * s - 2 * p + d * (k - 1) + op + 1
                assert shape[2 + axis] == size == output_length(n, k, s, d, p, p - op), case


def _sampled_against_gather(layer, x, y, count=40):
    """Some outputs of a large layer, summed from the definition."""
    settings = {"stride": layer.stride, "padding": layer.padding, "output_padding": layer.output_padding}
    g = upconv.plan(x, layer.weight, **settings).problem.geometry
    rng = np.random.default_rng(5)
    for n, c, o_h, o_w in zip(*(rng.integers(0, size, count) for size in g.output_shape), strict=True):
        total = float(layer.bias[c])
        for i_h, t_h in reference._contributors(g.h, o_h):
            for i_w, t_w in reference._contributors(g.w, o_w):
                total += x[n, :, i_h, i_w].astype(float) @ layer.weight[:, c, t_h, t_w].astype(float)
        assert y[n, c, o_h, o_w] == pytest.approx(total, abs=1e-5)


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        ({"kernel_size": 3, "stride": 2}, (20, 33, 101, 201)),
        ({"kernel_size": (3, 5), "stride": (2, 1), "padding": (4, 2)}, (20, 33, 93, 100)),
    ],
)
def test_documentation_example_non_square_kernel_and_padding(arguments, shape):
    layer = upconv.ConvTranspose2d(16, 33, **arguments, rng=1)
    x = np.random.default_rng(0).standard_normal((20, 16, 50, 100)).astype(np.float32)
    y = layer(x)
    assert y.shape == shape
    _sampled_against_gather(layer, x, y)


def test_documentation_example_exact_output_size():
    """Downsample 12x12 by stride 2, then upsample with output_size=input.size()."""
    x = np.random.default_rng(0).standard_normal((1, 16, 12, 12)).astype(np.float32)
    w = np.random.default_rng(1).standard_normal((16, 16, 3, 3)).astype(np.float32)
    h = upconv.conv2d(x, w, stride=2, padding=1)
    assert h.shape == (1, 16, 6, 6)
    upsample = upconv.ConvTranspose2d(16, 16, 3, stride=2, padding=1, rng=1)
    assert upsample(h).shape == (1, 16, 11, 11)
    y = upsample(h, output_size=x.shape)
    assert y.shape == (1, 16, 12, 12)
    _sampled_against_gather(upconv.ConvTranspose2d(16, 16, 3, 2, 1, 1, rng=1), h, y)


def test_documentation_adjoint_claim():
    """It is the gradient of conv2d with respect to its input: <conv2d(y), x> == <y, conv_transpose2d(x)>."""
    compared = 0
    for case in CASES:
        if not case.in_torch or not case.n:
            continue
        x, w, _, y = case.arrays(kind="exact")
        settings = {key: value for key, value in case.settings.items() if key != "output_padding"}
        try:
            down = upconv.conv2d(y, w, **settings)
        except upconv.SettingError:
            continue
        # A size that the convolution rounds down is reached through output_padding; some need more than the case has.
        if down.shape == x.shape:
            assert dot(down, x) == dot(y, upconv.conv_transpose2d(x, w, **case.settings)), case
            compared += 1
    assert compared > 100
