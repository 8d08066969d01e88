"""When Winograd's way is chosen by itself, and how long its sums and how large its tiles are: what its errors allow."""

from dataclasses import replace

import pytest

from upconv.algorithms import winograd
from upconv.geometry import Axis, Geometry
from upconv.planning import ALGORITHMS
from upconv.problem import Problem
from upconv.runtime.kernel import isa


def test_where_plain_sums_are_much_more_exact_it_is_not_chosen_on_its_own():
    def asked(k, h, w):
        problem = Problem("forward", Geometry(2, 128, 64, 1, Axis(h, k, 1), Axis(w, k, 1)), "float32", "nhwc")
        algorithm = ALGORITHMS["winograd"]
        return [sentence for ask in (algorithm.why_not, algorithm.why_not_automatic) for sentence in ask(problem)]

    assert not asked(3, 16, 16)
    assert "kernel 2" in " ".join(asked(2, 16, 16))
    assert "fewer than 4 rows" in " ".join(asked(3, 3, 60))
    assert not asked(3, 4, 60)


def test_dilated_layers_of_few_rows_are_not_chosen_by_themselves():
    """There other engines' sums are the more exact: up to 1.9 times, measured on random layers."""
    for channels, size, d, is_chosen in (
        (128, 48, 2, True),
        (64, 48, 2, True),
        (128, 22, 2, False),
        (128, 48, 6, False),
    ):
        axis = Axis(size, 3, 1, d, d, d)
        problem = Problem("forward", Geometry(1, channels, 128, 1, axis, axis), "float32")
        assert not ALGORITHMS["winograd"].why_not(problem)
        assert bool(ALGORITHMS["winograd"].why_not_automatic(problem)) != is_chosen, (channels, size, d)


@pytest.mark.parametrize(
    ("operation", "channels", "size", "is_chosen"),
    [
        ("forward", 32, 25, False),
        ("forward", 32, 26, True),
        ("forward", 127, 12, False),
        ("forward", 128, 12, True),
        ("grad_input", 16, 8, True),
    ],
)
@pytest.mark.parametrize("kernel", [((3, 1), (3, 1)), ((3, 1), (4, 2)), ((5, 2), (3, 1))])
def test_of_few_channels_three_taps_under_stride_one_need_a_source_that_is_not_small(
    kernel, operation, channels, size, is_chosen
):
    """PyTorch's own sums of one such source are as short as its channels: errors were up to twice as large."""
    h, w = (Axis(size, k, s, 1, 1, 1) for k, s in kernel)
    problem = Problem(operation, Geometry(1, channels, channels, 1, h, w), "float32")
    assert not ALGORITHMS["winograd"].why_not(problem)
    assert bool(ALGORITHMS["winograd"].why_not_automatic(problem)) != is_chosen


@pytest.mark.parametrize(("stride", "is_refused"), [(8, False), (9, True)])
def test_a_gradient_of_very_many_phases_is_refused(stride, is_refused):
    """A program has a row for each of them: 330 KB at stride 32. Forward they lie in the columns of the product."""
    axis = Axis(16, 2 * stride, stride)
    for operation, refused in (("grad_input", is_refused), ("forward", False)):
        problem = Problem(operation, Geometry(1, 64, 64, 1, axis, axis), "float32")
        assert any("phases" in sentence for sentence in ALGORITHMS["winograd"].why_not(problem)) == refused


def test_sums_and_tiles_are_smaller_where_channels_are_few():
    """There plain sums are short, and exact: what tiles of three taps add would be seen beside them."""

    def setting(operation, channels, k, s):
        axis = Axis(40, k, s, 1, 1, 1)
        geometry = Geometry(1, *((channels, 64) if operation == "forward" else (64, channels)), 1, axis, axis)
        # In planes engines with AVX2 are more exact still.
        found = winograd.setting(Problem(operation, geometry, "float32", "nhwc", prepared=True))
        return found.outputs, found.longest

    assert setting("forward", 63, 3, 1) == (({3: 2}, {3: 2}), 16)
    assert setting("forward", 64, 3, 1)[0] != ({3: 2}, {3: 2})
    assert setting("forward", 32, 6, 2) == (({3: 2}, {3: 2}), 16)
    assert setting("forward", 32, 5, 2)[0] == ({3: 2, 2: 2}, {3: 2, 2: 2})
    assert setting("forward", 32, 4, 2)[1] == 16 < setting("forward", 64, 4, 2)[1]
    # Under several phases where plain sums are exact again, until they are long.
    assert [setting("forward", many, 6, 2)[0] == ({3: 3}, {3: 3}) for many in (64, 95, 96, 255, 256)] == [
        *(True, True, False, False, True)
    ]
    assert setting("grad_input", 32, 3, 1)[1] == 12 < setting("grad_input", 64, 3, 1)[1]


@pytest.mark.parametrize(
    ("channels", "size", "kernel", "stride", "longest"),
    [
        (128, 64, 3, 2, 16),
        (256, 64, 3, 2, 32),
        (128, 24, 5, 2, 16),
        (512, 23, 5, 2, 16),
        (128, 33, 6, 2, 16),
        (192, 12, 9, 3, 16),
        (256, 33, 6, 2, 32),
        (512, 56, 3, 1, 16),
        (128, 64, 4, 2, 64),
        (512, 32, 4, 2, 64),
    ],
)
def test_sums_are_shorter_beside_engines_that_are_more_exact(channels, size, kernel, stride, longest):
    """Their rms errors were up to twice torch's: 128 to 64 channels of 256 x 256 under k3 s2, 12 x 12 under k9 s3."""
    for prepared in (False, True):
        problem = square(channels, size, kernel, stride, prepared)
        assert winograd.setting(problem).longest == longest


@pytest.mark.parametrize(("channels", "size", "longest"), [(256, 64, (32, 16)), (512, 4, (64, 32))])
def test_sums_of_the_largest_forms_are_shorter_beside_engines_with_avx512(channels, size, longest):
    found = winograd.setting(square(channels, size, 4, 2, True))
    largest = found.outputs == ({2: 4}, {2: 4})
    # Shorter sums take longer, so that another form may be the better one.
    assert largest or (channels, isa().name) == (256, "avx512")
    assert not largest or found.longest == longest[isa().name == "avx512"]


@pytest.mark.parametrize("channels", [64, 128, 255, 256])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_forms_are_the_smallest_beside_planes_of_engines_with_avx2(channels, layout):
    """Under kernel 3, stride 1 F(2, 3) by F(3, 3) had up to 1.7 times torch's errors on them."""
    found = winograd.setting(replace(square(channels, 56, 3, 1, True), layout=layout))
    are_smallest = isa().name == "avx2" and layout == "nchw" and channels < 256
    assert (found.outputs == ({3: 2}, {3: 2})) == are_smallest
    assert found.longest == (32 if are_smallest else 16)


@pytest.mark.parametrize(
    ("channels", "are_exact"),
    [((20, 48), True), ((56, 32), True), ((68, 32), True), ((32, 40), True), ((48, 32), False), ((22, 48), False)],
)
@pytest.mark.parametrize("operation", ["forward", "grad_input"])
@pytest.mark.parametrize(("groups", "layout"), [(2, "nchw"), (1, "nchw"), (2, "nhwc")])
def test_forms_are_the_smallest_beside_groups_of_engines_with_avx512(groups, layout, operation, channels, are_exact):
    """Under kernel 3, stride 1 F(2, 3) by F(3, 3) had up to 1.9 times torch's errors on planes of 20 channels."""
    count, axis = channels[0], Axis(40, 3, 1, 1, 1, 1)
    made = channels if operation == "forward" else channels[::-1]
    geometry = Geometry(1, *(many * groups for many in made), groups, axis, axis)
    found = winograd.setting(Problem(operation, geometry, "float32", layout, prepared=True))
    if isa().name == "avx512" and groups > 1 and layout == "nchw" and are_exact:
        assert found.outputs == ({3: 2}, {3: 2})
        assert found.longest == (12 if count < 64 else 16)
    elif operation == "grad_input":
        assert found.outputs != ({3: 2}, {3: 2})


def square(channels, size, kernel, stride, prepared):
    """The problem of a square layer that makes 64 channels of 64 maps of one tile, or of one map."""
    crop = (kernel - stride + 1) // 2
    axis = Axis(size, kernel, stride, 1, crop, crop)
    g = Geometry(64 if size == 4 else 1, channels, 64, 1, axis, axis)
    return Problem("forward", g, "float32", prepared=prepared)
