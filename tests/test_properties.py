"""Laws that hold for every valid setting, on settings drawn by Hypothesis."""

import numpy as np
from cases import LAYOUTS, Case
from compare import check, computed, expected, operands
from hypothesis import assume, given
from hypothesis import strategies as st

import upconv
from upconv.errors import SettingError
from upconv.geometry import output_length
from upconv.phases import input_segments, phases
from upconv.problem import OPERATIONS

FLOATS = ("float64", "float32", "float16", "bfloat16", "complex64")


@st.composite
def axes(draw, signed=True):
    """(n, k, s, d, padding, output_padding) of one axis with at least one output."""
    n, k, s, d = (draw(st.integers(1, most)) for most in (6, 6, 5, 5))
    full = output_length(n, k, s, d)
    if signed and draw(st.booleans()):
        lo = draw(st.integers(-6, full + 2))
        hi = draw(st.integers(-6, max(full - 1 - lo, -6)))
        assume(full - lo - hi > 0)
        return n, k, s, d, (lo, hi), 0
    op = draw(st.integers(0, max(s, d) - 1))
    return n, k, s, d, draw(st.integers(0, (full + op - 1) // 2)), op


@st.composite
def cases(draw, signed=True, most_images=2):
    """A valid case; both axes have signed crops or neither."""
    crops = signed and draw(st.booleans())
    (h, kh, sh, dh, ph, oph), (w, kw, sw, dw, pw, opw) = draw(axes(crops)), draw(axes(crops))
    if isinstance(ph, tuple) != isinstance(pw, tuple):
        # The two forms of padding do not mix in one call: write the plain one as crops.
        ph, pw = (p if isinstance(p, tuple) else (p, p) for p in (ph, pw))
    groups = draw(st.integers(1, 3))
    c_in, c_out = (groups * draw(st.integers(1, 3)) for _ in "io")
    n = draw(st.integers(1, most_images))
    name = f"drawn-{draw(st.integers(0, 2**16))}"
    return Case(name, n, c_in, h, w, c_out, (kh, kw), (sh, sw), (ph, pw), (oph, opw), groups, (dh, dw))


@given(
    case=cases(), operation=st.sampled_from(OPERATIONS), layout=st.sampled_from(LAYOUTS), dtype=st.sampled_from(FLOATS)
)
def test_the_chosen_algorithm_is_the_reference(case, operation, layout, dtype):
    check("auto", case, operation, dtype, layout)


@given(case=cases())
def test_the_shape_is_the_formula_and_the_plan_says_so(case):
    x, w, b, grad_y = case.arrays("float32")
    y = upconv.conv_transpose2d(x, w, b, **case.settings)
    plan = upconv.plan(x, w, **case.settings)
    assert y.shape == plan.problem.result_shape == case.geometry().output_shape == grad_y.shape
    assert plan.macs == case.geometry().macs


@given(case=cases())
def test_forward_and_both_gradients_are_one_trilinear_form(case):
    """<grad_y, T(x, w)> three ways; whole numbers, so exactly."""
    x, w, _, grad_y = case.arrays("float64", kind="exact")
    y = upconv.conv_transpose2d(x, w, **case.settings)
    grad_x, grad_w, grad_b = upconv.grad.conv_transpose2d_backward(grad_y, x, w, **case.settings)
    assert np.vdot(grad_y, y) == np.vdot(grad_x, x) == np.vdot(grad_w, w)
    np.testing.assert_array_equal(grad_b, grad_y.sum(axis=(0, 2, 3)))


@given(case=cases(), factor=st.sampled_from([-2.0, 0.5, 4.0]))
def test_the_operation_is_linear_in_each_operand(case, factor):
    (x, w, b, _), (x2, w2, _, _) = case.arrays(kind="exact"), case.arrays(kind="exact", seed=9)

    def run(x, w, b=None):
        return upconv.conv_transpose2d(x, w, b, **case.settings)

    np.testing.assert_array_equal(run(x + factor * x2, w), run(x, w) + factor * run(x2, w))
    np.testing.assert_array_equal(run(x, w + factor * w2), run(x, w) + factor * run(x, w2))
    np.testing.assert_array_equal(run(x, w, b), run(x, w) + b[:, None, None])


@given(case=cases())
def test_mirrored_operands_and_crops_give_the_mirrored_result(case):
    g, (x, w, _, _) = case.geometry(), case.arrays(kind="exact")
    sides = [(axis.crop_hi, axis.crop_lo) for axis in (g.h, g.w)]
    settings = {**case.settings, "padding": sides, "output_padding": 0}
    mirrored = upconv.conv_transpose2d(x[..., ::-1, ::-1], w[..., ::-1, ::-1], **settings)
    y = upconv.conv_transpose2d(x, w, **case.settings)
    np.testing.assert_array_equal(mirrored[..., ::-1, ::-1], y)


@given(case=cases())
def test_swapping_the_axes_of_everything_swaps_the_axes_of_the_result(case):
    x, w, b, _ = case.arrays(kind="exact")
    turned = {key: value if key == "groups" else value[::-1] for key, value in case.settings.items()}
    y = upconv.conv_transpose2d(x, w, b, **case.settings)
    np.testing.assert_array_equal(
        upconv.conv_transpose2d(x.swapaxes(2, 3), w.swapaxes(2, 3), b, **turned), y.swapaxes(2, 3)
    )


@given(case=cases(most_images=3))
def test_an_image_alone_and_unbatched_gives_what_it_gives_in_a_batch(case):
    x, w, b, _ = case.arrays("float64", kind="exact")
    whole = upconv.conv_transpose2d(x, w, b, **case.settings)
    for image, want in zip(x, whole, strict=True):
        np.testing.assert_array_equal(upconv.conv_transpose2d(image, w, b, **case.settings), want)


@given(case=cases(), seed=st.integers(0, 7), value=st.sampled_from([np.nan, np.inf, -np.inf]))
def test_a_value_that_is_not_finite_reaches_exactly_what_it_should(case, seed, value):
    for operation in OPERATIONS:
        pair = [operand.copy() for operand in operands(operation, case.arrays(seed=seed))]
        side = pair[seed % 2]
        side.ravel()[seed * 7919 % side.size] = value
        with np.errstate(invalid="ignore"):
            got = computed("auto", case.geometry(), operation, "float64", "nchw", *pair)
            want, _ = expected(case.geometry(), operation, *pair)
        np.testing.assert_array_equal(np.isfinite(got), np.isfinite(want))
        np.testing.assert_array_equal(np.isnan(got), np.isnan(want))


@given(case=cases(signed=False))
def test_every_size_in_the_documented_range_is_reached_by_output_size_and_no_other(case):
    layer = upconv.ConvTranspose2d(
        case.c_in, case.c_out, case.k, case.s, case.p, 0, case.groups, dilation=case.d, padding_mode="zeros", rng=0
    )
    x = case.arrays("float32").x
    rows = zip((case.h, case.w), case.k, case.s, case.d, case.p, strict=True)
    plain = [output_length(n, k, s, d, p, p) for n, k, s, d, p in rows]
    assume(min(plain) > 0)
    for extra in range(-1, max(case.s) + 1):
        size = [least + extra for least in plain]
        inside = 0 <= extra < min(case.s)
        try:
            assert layer(x, size).shape[2:] == tuple(size)
            assert inside
        except SettingError:
            assert not inside


@given(axis_settings=axes())
def test_phases_partition_the_outputs_and_count_the_products(axis_settings):
    n, k, s, d, p, op = axis_settings
    case = Case(
        "axis", 1, 1, 1, n, 1, (1, k), (1, s), ((0, 0), p) if isinstance(p, tuple) else (0, p), (0, op), 1, (1, d)
    )
    axis = case.geometry().w
    segments = [segment for phase in phases(axis) for segment in phase.segments]
    assert sorted(i for s in segments for i in range(axis.out)[s.places]) == list(range(axis.out))
    products = sum(segment.count * len(segment.taps) for segment in segments)
    assert (
        products == sum(segment.count * len(segment.taps) for segment in input_segments(axis)) == sum(axis.tap_counts)
    )
