"""Every way of computing that has kernels, by its name, on the cases: who is willing, and whether it is right."""

import sys
from collections import Counter
from functools import cache

import numpy as np
from cases import BY_NAME, LAYOUTS
from compare import SPECIAL, SUITE, assert_result, check_nonfinite, expected, operands, poison
from strided import SLOPE, activated

import upconv
from upconv.algorithms import ALGORITHMS
from upconv.arrays import empty
from upconv.generated import Generated
from upconv.planning import AUTO, choose
from upconv.problem import NO_ACTIVATION, OPERATIONS, Activation, Problem

# All results of a tile share the errors of Winograd's ways, which are for larger layers than these: they have tests of
# their own, test_winograd.py and test_weight_gradient_winograd.py.
KERNELS = tuple(
    name for name, algorithm in ALGORITHMS.items() if isinstance(algorithm, Generated) and "winograd" not in name
)
#: Beginnings of the names of kernels that have tests of their own.
OWN_TESTS = ("winograd", "convert")
#: In the message of every difference that is found here.
ANY = "|".join((*KERNELS, AUTO))


def families():
    """{name: module} of the kernels that the ways make tasks for: all that their files and the schedule import.

    Winograd's have tests of their own, and so has the one that converts.
    """
    found = {}
    for name, module in list(sys.modules.items()):
        if name.startswith(("upconv.algorithms.", "upconv.schedule.")):
            for thing in vars(module).values():
                # The module itself, or something of it.
                home = getattr(thing, "__module__", None) or getattr(thing, "__name__", "")
                if home.startswith("upconv.kernels."):
                    found[home.rsplit(".", 1)[1]] = sys.modules[home]
    return {name: home for name, home in found.items() if hasattr(home, "FIELDS") and not name.startswith(OWN_TESTS)}


def willing(problem):
    """Names of the ways of KERNELS that take a problem, as it is after all rewrites."""
    asked = choose(problem).candidates
    return [candidate.name for candidate in asked if candidate.name in KERNELS and candidate.seconds is not None]


def activation(name):
    return NO_ACTIVATION if name == "none" else Activation(name, SLOPE)


def bias_of(case, operation, dtype, layout="nchw", kind="rough"):
    """A bias of the right length for the result, None for the gradient in the weight."""
    if operation == "grad_weight":
        return None
    bias = case.arrays(dtype, layout, 0, kind).b
    return bias if operation == "forward" else np.resize(bias, case.geometry().c_in)


def result(problem, way, a, b, bias):
    """What a way writes into poisoned memory."""
    with poison():
        out = empty(problem.result_shape, np.dtype(problem.dtype), problem.layout)
        choose(problem, way).run(a, b, bias, out)
    return out


@cache
def truth(case, operation, dtype, layout, kind):
    """(a, b, bias, answer, bound) of a case by the reference."""
    a, b = operands(operation, case.arrays(dtype, layout, 0, kind))
    bias = bias_of(case, operation, dtype, layout, kind)
    with np.errstate(all="ignore"):
        want, bound = expected(case.geometry(), operation, a, b, bias)
    for array in (a, b, bias):
        if array is not None:
            # It is remembered for all.
            array.flags.writeable = False
    return a, b, bias, want, bound


def check(case, operation, dtype="float64", layout="nchw", *, kind="rough", after="none", prepared=False):
    """Every willing way on one case, and the one that is chosen.

    Returns:
        Counter: how often each ran, by name; AUTO is one.

    Raises:
        AssertionError: for any difference that is not promised.
    """
    a, b, bias, want, bound = truth(case, operation, dtype, layout, kind)
    weight, g = b, case.geometry()
    if prepared:
        weight = upconv.prepare(b, (g.h.s, g.w.s), dilation=(g.h.d, g.w.d), groups=g.groups)
    problem = Problem(operation, g, dtype, layout, prepared=prepared, activation=activation(after))
    ran = Counter()
    for way in (*willing(problem), AUTO):
        got = result(problem, way, a, weight, bias)
        try:
            assert_result(got, activated(after, want), bound, dtype, layout)
        except AssertionError as error:
            what = f"{'prepared ' * prepared}{after}"
            raise AssertionError(f"{way} {operation} {dtype} {layout} {kind} {what} on {case}: {error}") from None
        ran[way] += 1
    return ran


def suite():
    """The small suite of `compare` for every willing way; returns how often each ran."""
    ran = Counter()
    for case in SUITE:
        for operation in OPERATIONS:
            for layout, dtype in (("nchw", "float64"), ("nhwc", "float32"), ("nchw", "float16"), ("nhwc", "complex64")):
                ran += check(case, operation, dtype, layout)
    for operation in OPERATIONS:
        for layout in LAYOUTS:
            ran += nonfinite(BY_NAME["gcd1-k5s3d2"], operation, np.nan, layout)
            for value in (np.nan, np.inf):
                ran += nonfinite(SPECIAL["weight_gradient_columns"][0], operation, value, layout)
    return ran


def nonfinite(case, operation, value, layout):
    """`compare.check_nonfinite` for every willing way."""
    ways = willing(Problem(operation, case.geometry(), "float64", layout))
    for way in ways:
        check_nonfinite(way, case, operation, value, layout)
    return Counter(ways)
