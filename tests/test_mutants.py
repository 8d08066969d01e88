"""Wrong on purpose: the small suite must catch every one of these, and the helpers must raise.

A suite that cannot fail proves nothing. Each mutant is one plausible mistake, patched into the running algorithm.
"""

from dataclasses import replace

import compare
import numpy as np
import pytest
from cases import as_dtype
from compare import C, assert_close, assert_dtype, assert_layout, assert_same_bits, assert_same_nonfinite, poison, suite

import upconv.phases
from upconv.algorithms import matmul

real = {
    name: getattr(matmul, name)
    for name in (
        "live_segments",
        "input_segments",
        "run",
        "bands",
        "split",
        "cut_matmul",
        "Gather",
        "_meeting",
        "_correlate",
    )
}


def segment_mutant(change):
    """Every segment passes through `change`, forward and backward."""

    return {
        "live_segments": lambda axis: tuple(map(change, real["live_segments"](axis))),
        "input_segments": lambda axis: tuple(map(change, real["input_segments"](axis))),
    }


def last_tap_dropped(segment):
    return segment._replace(taps=segment.taps[:-1]) if len(segment.taps) > 1 else segment


def first_tap_dropped(segment):
    if len(segment.taps) < 2:
        return segment
    return segment._replace(taps=segment.taps[1:], source=segment.source + segment.tap_step)


def taps_reversed(segment):
    if len(segment.taps) < 2:
        return segment
    last = segment.source + (len(segment.taps) - 1) * segment.tap_step
    return segment._replace(source=last, tap_step=-segment.tap_step)


def shifted(axis):
    return replace(axis, crop_lo=axis.crop_lo + 1, crop_hi=axis.crop_hi - 1)


def crop_off_by_one():
    return {
        "live_segments": lambda axis: real["live_segments"](shifted(axis)),
        "input_segments": lambda axis: real["input_segments"](shifted(axis)),
    }


def crop_of_the_weight_gradient_off_by_one():
    return {"_meeting": lambda axis, t: real["_meeting"](shifted(axis), t)}


def axes_of_the_kernel_swapped():
    def run(problem, a, b, bias, out):
        if problem.operation != "grad_weight" and problem.geometry.h.k == problem.geometry.w.k:
            b = b.swapaxes(2, 3)
        real["run"](problem, a, b, bias, out)

    return {"run": run}


def last_place_of_a_band_not_written():
    def bands(n, rows, cols, pixels):
        every = list(real["bands"](n, rows, cols, pixels))
        for number, (i, j, q) in enumerate(every):
            last = number == len(every) - 1 and cols > 1
            yield i, j, slice(q.start, min(q.stop, cols) - 1) if last else q

    return {"bands": bands}


def stale_scratch():
    """The sum starts from what the last product of the same shape left behind."""
    scratch = {}

    def cut_matmul(a, b):
        product = real["cut_matmul"](a, b)
        total = product + scratch.get(product.shape, 0)
        scratch[product.shape] = product
        return total

    return {"cut_matmul": cut_matmul}


def groups_in_the_wrong_order():
    def split(array, axis, groups):
        view = real["split"](array, axis, groups)
        return view[:, ::-1] if axis == 1 else view

    return {"split": split}


def weight_of_the_neighbouring_group():
    class Gather(real["Gather"]):
        __slots__ = ()

        def _matrix(self, taps_h, taps_w):
            return np.roll(super()._matrix(taps_h, taps_w), 1, axis=0)

    return {"Gather": Gather}


def bias_lost_on_holes():
    class Gather(real["Gather"]):
        __slots__ = ()

        def segment(self, rows, cols):
            super().segment(rows, cols)
            if not len(rows.taps) * len(cols.taps):
                self.dst[..., rows.places, cols.places] = 0

    return {"Gather": Gather}


def holes_left_unwritten():
    class Gather(real["Gather"]):
        __slots__ = ()

        def segment(self, rows, cols):
            if len(rows.taps) * len(cols.taps):
                super().segment(rows, cols)

    return {"Gather": Gather}


def dead_taps_of_the_gradient_left_unwritten():
    def correlate(g, x, grad_y, compute, grad_w):
        fresh = np.zeros_like(grad_w)
        real["_correlate"](g, x, grad_y, compute, fresh)
        live = np.outer(g.h.tap_counts, g.w.tap_counts) > 0
        grad_w[..., live] = fresh[..., live]

    return {"_correlate": correlate}


def sums_in_half_precision():
    def cut_matmul(a, b):
        kept = a.dtype if a.dtype.kind == "c" else np.float16
        return (a @ b).astype(kept).astype(a.dtype)

    return {"cut_matmul": cut_matmul}


def not_a_number_swallowed():
    return {"cut_matmul": lambda a, b: np.nan_to_num(real["cut_matmul"](a, b))}


def weight_packed_in_another_order():
    """Channels before taps, while the window has taps before channels."""

    class Gather(real["Gather"]):
        __slots__ = ()

        def _matrix(self, taps_h, taps_w):
            weight = self.weight[:, matmul.as_slice(taps_h), matmul.as_slice(taps_w)]
            return weight.transpose(0, 3, 1, 2, 4).reshape(weight.shape[0], -1, weight.shape[-1])

    return {"Gather": Gather}


MUTANTS = {
    "last tap dropped": lambda: segment_mutant(last_tap_dropped),
    "first tap dropped": lambda: segment_mutant(first_tap_dropped),
    "taps reversed": lambda: segment_mutant(taps_reversed),
    "crop off by one": crop_off_by_one,
    "crop of the weight gradient off by one": crop_of_the_weight_gradient_off_by_one,
    "axes of the kernel swapped": axes_of_the_kernel_swapped,
    "last place of a band not written": last_place_of_a_band_not_written,
    "stale scratch": stale_scratch,
    "groups in the wrong order": groups_in_the_wrong_order,
    "weight of the neighbouring group": weight_of_the_neighbouring_group,
    "bias lost on holes": bias_lost_on_holes,
    "holes left unwritten": holes_left_unwritten,
    "holes of the output not filled": lambda: {"has_holes": lambda axis: False},
    "dead taps of the gradient left unwritten": dead_taps_of_the_gradient_left_unwritten,
    "sums in half precision": sums_in_half_precision,
    "not a number swallowed": not_a_number_swallowed,
    "weight packed in another order": weight_packed_in_another_order,
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_suite_catches(mutant, monkeypatch):
    for name, wrong in MUTANTS[mutant]().items():
        monkeypatch.setattr(matmul, name, wrong)
    with pytest.raises(AssertionError, match="matmul"), np.errstate(all="ignore"):
        suite("matmul")


def residue_without_the_inverse(axis, residue):
    """Right for dilation 1 and for gcd(stride, dilation) == dilation, wrong where d/g must be inverted."""
    return range(0) if residue % axis.g else range(residue // axis.g % (axis.s // axis.g), axis.k, axis.s // axis.g)


def residue_of_a_hole_given_taps(axis, residue):
    return range(min(residue // axis.g, axis.k), axis.k, axis.s // axis.g)


def residue_with_the_step_of_the_stride(axis, residue):
    return range(0) if residue % axis.g else range(min(residue // axis.g, axis.k), axis.k, axis.s)


@pytest.mark.parametrize(
    "taps", [residue_without_the_inverse, residue_of_a_hole_given_taps, residue_with_the_step_of_the_stride]
)
def test_the_suite_catches_a_wrong(taps, monkeypatch):
    def clipped(axis):
        """The mutant's segments that lie inside the array, so that being wrong cannot read foreign memory."""
        found = [s for phase in upconv.phases.phases.__wrapped__(axis) for s in phase.segments if s.taps]
        return tuple(s for s in found if stays_inside(axis, s))

    monkeypatch.setattr(upconv.phases, "_taps", taps)
    monkeypatch.setattr(matmul, "live_segments", clipped)
    with pytest.raises(AssertionError, match="matmul"), np.errstate(all="ignore"):
        suite("matmul")


def stays_inside(axis, segment):
    reach = [
        segment.source + j * segment.source_step + a * segment.tap_step
        for j in (0, segment.count - 1)
        for a in range(len(segment.taps))
    ]
    return all(0 <= index < axis.n for index in reach)


def test_the_suite_passes_without_a_mutant():
    suite("matmul")


def test_every_mutant_reaches_what_it_means_to_change():
    """A mutant under a name that no longer exists would pass for the wrong reason."""
    for make in MUTANTS.values():
        for name in make():
            assert hasattr(matmul, name)


ONE, BOUND = np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0])
EPS = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}


@pytest.mark.parametrize("dtype", EPS)
def test_the_elementwise_law_is_tight(dtype):
    """It accepts half of what it allows and refuses twice that, in one element of many."""
    for factor, accepted in ((0.5, True), (2, False)):
        got = ONE.copy()
        got[1] += factor * C[dtype] * EPS[dtype] * BOUND[1]
        if accepted:
            assert_close(got, ONE, BOUND, dtype)
        else:
            with pytest.raises(AssertionError, match=r"first at \(1,\)"):
                assert_close(got, ONE, BOUND, dtype)


def test_no_comparison_lets_a_difference_pass():
    wrong = [
        lambda: assert_close(np.array([1, 2**53]), np.array([1, 2**53 + 1]), None, "int64"),
        lambda: assert_close(np.array([1.0, np.nan]), np.ones(2), np.ones(2), "float64"),
        lambda: assert_close(np.ones((2, 1)), np.ones(2), np.ones(2), "float64"),
        lambda: assert_close(np.array([1j, 0]), np.array([-1j, 0]), np.ones(2), "complex128"),
        lambda: assert_same_nonfinite(np.array([np.nan]), np.array([np.inf])),
        lambda: assert_same_nonfinite(np.array([np.inf]), np.array([-np.inf])),
        lambda: assert_same_nonfinite(np.array([1.0]), np.array([np.nan])),
        lambda: assert_same_nonfinite(np.array([np.inf + 0j]), np.array([1.0 + 0j])),
        lambda: assert_layout(np.ones((2, 3, 4, 5)), "nhwc"),
        lambda: assert_layout(np.ones((2, 4, 5, 3)).transpose(0, 3, 1, 2), "nchw"),
        lambda: assert_layout(np.ones((2, 3, 4, 10))[..., ::2], "nchw"),
        lambda: assert_dtype(np.ones(1, np.float32), "float64"),
        lambda: assert_dtype(np.ones(1, np.dtype(np.float64).newbyteorder()), "float64"),
        lambda: assert_dtype(np.ones(1).view(np.recarray), "float64"),
        lambda: assert_same_bits(np.array([0.0]), np.array([-0.0])),
        lambda: assert_same_bits(np.array([1.0]), np.array([1])),
    ]
    for comparison in wrong:
        with pytest.raises(AssertionError):
            comparison()


def test_poison_fills_fresh_memory_and_goes_away():
    before = np.empty, np.empty_like
    with poison():
        assert np.isnan(np.empty((3, 4), np.float16)).all()
        assert np.isnan(np.empty(3, as_dtype("bfloat16")).astype(float)).all()
        assert np.isnan(np.empty(3, np.complex64)).all()
        assert np.isnan(np.empty_like(ONE)).all()
        assert (np.empty(5, np.int64) == compare.INTEGER_POISON).all()
    assert (np.empty, np.empty_like) == before
    with pytest.raises(ZeroDivisionError), poison():
        raise ZeroDivisionError
    assert (np.empty, np.empty_like) == before
