"""Comparisons that raise, and the check that every algorithm must pass. tests/test_mutants.py shows that they can fail.

The elementwise law is |y - y64| <= c * eps * (|x| conv |w| + |bias|) with the c below: half an eps is the rounding of
the result, the rest is for the sum. The sums of half precision are made in float32 and cost nothing visible. Those
of float32 and float64 are cut into parts of at most 128 products: when one early product dwarfs the others, each of
the following additions is wrong by up to half an eps of it, which wanders to about sqrt(512)/4 eps. A complex product
is four real ones.
"""

import hashlib
from contextlib import contextmanager

import numpy as np
import shared
from cases import BY_NAME, Case

from upconv import reference
from upconv.arrays import empty
from upconv.dtypes import DTYPES as ROWS
from upconv.planning import choose
from upconv.problem import OPERATIONS, Problem
from upconv.runtime import memory

C = {"float16": 0.6, "bfloat16": 0.6, "float32": 8, "float64": 8, "complex64": 10, "complex128": 10, "int64": 0}
# Twice the smallest subnormal number: below the normal range, rounding errors no longer shrink with the value.
FLOOR = {"float16": 2.0**-23, "bfloat16": 2.0**-132, "float32": 2.0**-148, "complex64": 2.0**-148}
INTEGER_POISON = -0x5A5A5A5A5A5A5A5A
REMEMBERED_BYTES = 64 << 20
_answers = {}


@contextmanager
def poison():
    """Within it, fresh memory holds NaN (a telling number for integers) instead of whatever lay there."""
    empty, empty_like = np.empty, np.empty_like

    def filled(array):
        if array.dtype.kind == "i" and array.dtype.itemsize == 8:
            array.fill(INTEGER_POISON)
        elif array.dtype.kind not in "iubOSUM":
            array.fill(np.nan)
        return array

    np.empty = lambda *args, **kwargs: filled(empty(*args, **kwargs))
    np.empty_like = lambda *args, **kwargs: filled(empty_like(*args, **kwargs))
    try:
        with memory.poisoned():
            yield
    finally:
        np.empty, np.empty_like = empty, empty_like


def assert_close(got, want, bound, dtype):
    """The elementwise law; integers must be equal. Places that are not finite in `want` are left to the next check.

    Args:
        got: array of any dtype.
        want: the answer in float64, complex128 or int64.
        bound: |x| conv |w| + |bias|, or anything larger.
        dtype: name of the dtype whose law holds.
    """
    if got.shape != want.shape:
        raise AssertionError(f"shape is {got.shape}, not {want.shape}")
    if want.dtype.kind == "i":
        # Narrower integers wrap around.
        wrong = got != want.astype(got.dtype)
    else:
        wide = got.astype(want.dtype)
        finite = np.isfinite(want)
        error = np.abs(np.where(finite, wide, 0) - np.where(finite, want, 0))
        # A NaN compares false, so ask for the places that are right.
        wrong = ~(error <= C[dtype] * ROWS[dtype].eps * np.where(finite, bound, 0) + FLOOR.get(dtype, 0))
    if wrong.any():
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise AssertionError(
            f"{int(wrong.sum())} of {wrong.size} {dtype} values are wrong; first at {place}: {got[place]!r}, not "
            f"{want[place]!r}"
        )


def assert_same_nonfinite(got, want):
    """NaN and the two infinities in the same places; for complex numbers, the same places that are not finite."""
    if want.dtype.kind == "i":
        return
    got = got.astype(want.dtype)
    tests = (np.isfinite,) if want.dtype.kind == "c" else (np.isnan, np.isposinf, np.isneginf)
    for test in tests:
        differ = test(got) != test(want)
        if differ.any():
            place = tuple(int(i) for i in np.argwhere(differ)[0])
            raise AssertionError(
                f"{test.__name__} differs in {int(differ.sum())} places, first {place}: {got[place]!r}, not "
                f"{want[place]!r}"
            )


def assert_layout(got, layout):
    """Dense memory in the order that the layout says."""
    stored = got.transpose(0, 2, 3, 1) if layout == "nhwc" else got
    if not stored.flags.c_contiguous:
        raise AssertionError(f"strides {got.strides} of shape {got.shape} are not dense {layout}")


def assert_dtype(got, dtype):
    """The dtype by name, in native byte order, in a plain array."""
    if got.dtype.name != dtype or not got.dtype.isnative or type(got) is not np.ndarray:
        raise AssertionError(f"result is {type(got).__name__} of {got.dtype!r}, not a native array of {dtype}")


def assert_same_bits(got, want):
    if got.dtype != want.dtype or got.shape != want.shape or got.tobytes() != want.tobytes():
        raise AssertionError(f"{got.dtype} {got.shape} differs in bits from {want.dtype} {want.shape}")


def assert_result(got, want, bound, dtype, layout):
    """Everything that is promised about a result at once."""
    assert_dtype(got, dtype)
    assert_close(got, want, bound, dtype)
    assert_same_nonfinite(got, want)
    if got.size:
        assert_layout(got, layout)


def operands(operation, arrays):
    """The two operands that an operation multiplies."""
    x, w, _, grad_y = arrays
    return {"forward": (x, w), "grad_input": (grad_y, w), "grad_weight": (x, grad_y)}[operation]


def expected(geometry, operation, a, b, bias=None):
    """(answer, bound) from the reference, in the widest type. Bilinear: nothing is conjugated.

    The reference takes longer than what is compared with it, so answers to the same values are remembered,
    by all the processes of a run (see `shared`).
    """
    key = geometry, operation, *(None if array is None else _digest(array) for array in (a, b, bias))
    if key not in _answers:
        # All that this process has asked for is small: tests in one file ask for the same answers again and again.
        if sum(answer.nbytes for answer, _ in _answers.values()) > REMEMBERED_BYTES:
            _answers.clear()
        _answers[key] = shared.once(key, lambda: _answer(geometry, operation, a, b, bias))
        for array in _answers[key]:
            if array is not None:
                array.flags.writeable = False
    return _answers[key]


def _digest(array):
    return array.dtype.str, array.dtype.name, array.shape, hashlib.sha256(array.tobytes()).digest()


def _answer(geometry, operation, a, b, bias):
    walk = {"forward": reference.scatter, "grad_input": _grad_input, "grad_weight": _grad_weight}[operation]
    want, bound = walk(geometry, a, b), None
    if a.dtype.kind != "i":
        bound = walk(geometry, _magnitude(a), _magnitude(b))
    if bias is not None:
        want = want + bias.astype(want.dtype)[:, None, None]
        bound = None if bound is None else bound + _magnitude(bias)[:, None, None]
    return want, bound


def _grad_input(geometry, grad_y, w):
    return reference.grad_input(geometry, grad_y, w.conj() if w.dtype.kind == "c" else w)


def _grad_weight(geometry, x, grad_y):
    return reference.grad_weight(geometry, x.conj() if x.dtype.kind == "c" else x, grad_y)


def _magnitude(array):
    wide = array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)
    return np.abs(np.where(np.isfinite(wide), wide, 1))


def is_willing(algorithm, geometry, operation, dtype, layout):
    """Whether an algorithm takes a problem on dense operands; "auto" takes every one."""
    candidates = choose(Problem(operation, geometry, dtype, layout)).candidates
    return algorithm == "auto" or any(c.name == algorithm and c.seconds is not None for c in candidates)


def computed(algorithm, geometry, operation, dtype, layout, a, b, bias=None):
    """What an algorithm writes into poisoned memory."""
    problem = Problem(operation, geometry, dtype, layout)
    with poison():
        out = empty(problem.result_shape, np.dtype(dtype), layout)
        choose(problem, algorithm).run(a, b, bias, out)
    return out


def check(algorithm, case, operation, dtype="float64", layout="nchw", kind="rough", seed=0):
    """One algorithm on one case against the reference.

    Returns:
        Whether it was run: False if it refuses.

    Raises:
        AssertionError: for any difference that is not promised.
    """
    geometry = case.geometry()
    if not is_willing(algorithm, geometry, operation, dtype, layout):
        return False
    arrays = case.arrays(dtype, layout, seed, kind)
    a, b = operands(operation, arrays)
    # The gradient in the input with a bias is `conv2d`; every other seed has none.
    bias = None if operation == "grad_weight" or seed % 2 else arrays.b
    if operation == "grad_input" and bias is not None:
        bias = np.resize(bias, geometry.c_in)
    got = computed(algorithm, geometry, operation, dtype, layout, a, b, bias)
    want, bound = expected(geometry, operation, a, b, bias)
    try:
        assert_result(got, want, bound, dtype, layout)
    except AssertionError as error:
        raise AssertionError(f"{algorithm} {operation} {dtype} {layout} {kind} on {case}: {error}") from None
    return True


def check_nonfinite(algorithm, case, operation, value, layout="nchw"):
    """A value that is not finite at one place of one operand reaches exactly the results that it should.

    Returns:
        Whether the algorithm was run: False if it refuses.
    """
    geometry = case.geometry()
    if not is_willing(algorithm, geometry, operation, "float64", layout):
        return False
    arrays = case.arrays("float64", layout)
    for side in (0, 1):
        pair = [operand.copy() for operand in operands(operation, arrays)]
        for place in ((0, 0, 0, 0), (-1, -1, -1, -1), tuple(size // 2 for size in pair[side].shape)):
            pair[side][...] = operands(operation, arrays)[side]
            pair[side][place] = value
            got = computed(algorithm, geometry, operation, "float64", layout, *pair)
            # On non-finite data the reference multiplies infinities, which is what is being compared.
            with np.errstate(invalid="ignore"):
                want, bound = expected(geometry, operation, *pair)
            try:
                assert_close(got, want, bound, "float64")
                assert_same_nonfinite(got, want)
            except AssertionError as error:
                where = f"{value} at {place} of operand {side}"
                raise AssertionError(f"{algorithm} {operation} {layout} on {case} with {where}: {error}") from None
    return True


#: The cases of the small suite: one for every way of going wrong that test_mutants.py knows.
SUITE = tuple(
    BY_NAME[name]
    for name in (
        "primes",
        "gcd1-k5s3d2",
        "gcd2-k5s4d6-holes",
        "groups-2-several-outputs",
        "crops-of-both-signs",
        "crop-kills-taps",
        "unlike-axes",
    )
)


#: Cases for ways of computing that are for few layers.
DEPTHWISE = (
    Case("depthwise-k4s2", 2, 19, 9, 7, 19, (4, 4), (2, 2), (1, 1), groups=19),
    BY_NAME["depthwise-stride-1"],
)
SPECIAL = {
    "gemm_planes": (
        Case("plane-products", 2, 19, 5, 7, 18, (1, 1)),
        Case("plane-products-of-groups", 1, 8, 9, 31, 12, (1, 1), groups=2),
        Case("plane-products-long-sums", 1, 9, 3, 5, 300, (1, 1)),
    ),
    "gemm_tap_rows": (
        Case("runs-k4s2", 2, 70, 4, 5, 3, (4, 4), (2, 2), (1, 1)),
        Case("runs-k5s1", 1, 40, 3, 6, 7, (5, 5), (1, 1), (2, 1)),
    ),
    "gemm_fused_phases": (BY_NAME["1-d-k16s8"], Case("fused-k4s2", 2, 9, 6, 7, 20, (4, 4), (2, 2), (1, 1))),
    "gemm_phase_blocks": (
        Case("blocks-k3s2", 2, 9, 6, 7, 20, (3, 3), (2, 2), (1, 1), (1, 1)),
        Case("blocks-k2s3", 1, 9, 4, 5, 17, (2, 2), (3, 3), (0, 1)),
        Case("blocks-k8x1s4", 1, 7, 5, 9, 16, (8, 1), (4, 1)),
    ),
    "direct_phases": (
        Case("phases-k64s32", 2, 5, 3, 4, 3, (5, 64), (4, 32), (1, 9)),
        Case("phases-k40s20", 1, 2, 3, 4, 3, (40, 40), (20, 17), (7, 9)),
        Case("phases-k40s17", 1, 9, 2, 17, 2, (2, 40), (3, 17), ((0, 1), (30, 3))),
    ),
    "depthwise_rows": DEPTHWISE,
    "depthwise_columns": DEPTHWISE,
    "depthwise_channels": (*DEPTHWISE, Case("depthwise-many", 1, 531, 2, 7, 531, (3, 2), (2, 1), (1, 1), groups=531)),
    "weight_streaming": (
        Case("few-pixels", 2, 31, 2, 3, 69, (3, 3), (2, 2), (1, 0)),
        Case("few-pixels-groups", 2, 51, 1, 3, 6, (3, 7), (1, 4), (1, 0), groups=3),
        Case("few-pixels-wide-groups", 1, 34, 3, 1, 138, (3, 2), (2, 1), groups=2),
        Case("few-pixels-many", 1, 247, 1, 2, 17, (2, 2), (2, 2)),
    ),
    "input_gradient_columns": (
        Case("columns-of-grad-k4s2", 2, 19, 3, 4, 16, (4, 4), (2, 2), (1, 1)),
        Case("columns-of-grad-k5s3", 1, 13, 4, 3, 5, (3, 5), (2, 3), ((0, 2), (1, 0))),
    ),
    "weight_gradient": (BY_NAME["gcd1-k5s3d2"],),
    "weight_gradient_blocks": (
        BY_NAME["gcd1-k5s3d2"],
        Case("blocks-few-pixels", 9, 70, 2, 3, 68, (4, 4), (2, 2), (1, 1)),
        Case("blocks-one-pixel", 7, 67, 1, 1, 69, (4, 3)),
    ),
    "weight_gradient_columns": (
        Case("columns-k4s2", 2, 9, 3, 4, 16, (4, 4), (2, 2), (1, 1)),
        Case("columns-k5s3", 1, 13, 4, 3, 64, (3, 5), (2, 3), ((0, 2), (1, 0))),
    ),
    "weight_gradient_depthwise": DEPTHWISE,
    "weight_gradient_runs": (
        Case("runs-of-taps-k16s9", 2, 14, 3, 4, 3, (5, 16), (2, 9)),
        Case("runs-of-taps-k16s8d2", 3, 9, 5, 3, 2, (3, 16), (4, 8), ((1, 2), (0, 0)), d=(2, 1)),
    ),
    "weight_gradient_tap_rows": (
        Case("tap-rows-k4s2", 2, 20, 6, 7, 3, (4, 4), (2, 2), (1, 1)),
        Case("tap-rows-k5s3", 1, 9, 4, 5, 1, (3, 5), (2, 3), ((0, 2), (1, 0))),
    ),
    "weight_gradient_winograd": (
        Case("weight-winograd-k4s2", 4, 9, 9, 8, 20, (4, 4), (2, 2), (1, 1)),
        Case("weight-winograd-k3s1", 4, 7, 8, 9, 19, (3, 3), (1, 1), (1, 1)),
        Case("weight-winograd-k4s2-small", 9, 20, 4, 4, 9, (4, 4), (2, 2), (1, 1)),
        Case("weight-winograd-k5s2", 2, 13, 9, 10, 5, (5, 5), (2, 2), ((2, 1), (2, 1))),
        Case("weight-winograd-k3s2", 4, 5, 7, 9, 16, (3, 3), (2, 2), (1, 1), (1, 1)),
        Case("weight-winograd-k4s2-by-1", 3, 8, 16, 9, 17, (4, 1), (2, 1), ((1, 0), (0, 0))),
    ),
    "winograd": (
        Case("winograd-k4s2", 1, 64, 9, 8, 20, (4, 4), (2, 2), (1, 1)),
        Case("winograd-k3s1", 2, 64, 7, 9, 19, (3, 3), (1, 1), (1, 1)),
        Case("winograd-k4s2-small", 5, 64, 4, 4, 9, (4, 4), (2, 2), (1, 1)),
        Case("winograd-k5s2", 1, 64, 7, 6, 19, (5, 5), (2, 2), ((2, 1), (2, 1))),
    ),
}
FEWEST = 6


def suite(algorithm, cases=SUITE):
    """The small suite for one algorithm.

    Raises:
        AssertionError: at the first difference.
    """
    ran = 0
    for case in (*cases, *SPECIAL.get(algorithm, ())):
        for operation in OPERATIONS:
            for layout, dtype in (("nchw", "float64"), ("nhwc", "float32"), ("nchw", "float16"), ("nhwc", "complex64")):
                ran += check(algorithm, case, operation, dtype, layout)
    for operation in OPERATIONS:
        for layout in ("nchw", "nhwc"):
            for case in SPECIAL.get(algorithm, (BY_NAME["gcd1-k5s3d2"],)):
                ran += check_nonfinite(algorithm, case, operation, np.nan, layout)
    # What was never run cannot have passed.
    if ran < FEWEST:
        raise AssertionError(f"{algorithm} took {ran} problems of the suite; it should take {FEWEST} at least")
