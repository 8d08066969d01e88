"""What the other tests show of the best instruction set here holds for the lower ones: they run there again."""

import pytest
from children import ISAS, script
from isas import RUNNABLE

LOWER = RUNNABLE[1:]
CORE = """
import itertools, warnings
import numpy as np
from cases import BY_NAME, LAYOUTS
from compare import check, check_nonfinite, suite
from upconv.problem import OPERATIONS
from upconv.runtime import kernel
warnings.simplefilter("ignore", RuntimeWarning)
assert kernel.isa().name == {isa!r}, kernel.isa()
names = "primes gcd2-k5s4d6-holes groups-2-several-outputs depthwise-multiplier-3 crops-of-both-signs long-sums"
cases = [BY_NAME[name] for name in names.split()]
ways = list(itertools.product(cases, OPERATIONS, LAYOUTS))
"""


@pytest.mark.parametrize("isa", LOWER)
def test_the_small_suite_passes(isa):
    script(CORE.format(isa=isa) + "suite('phase_gemm')", UPCONV_ISA=isa)


@pytest.mark.parametrize("isa", LOWER)
def test_what_is_not_finite_reaches_exactly_what_it_should(isa):
    script(
        CORE.format(isa=isa)
        + """
for (case, operation, layout), value in itertools.product(ways, (np.nan, np.inf, -np.inf)):
    check_nonfinite("phase_gemm", case, operation, value, layout)
""",
        UPCONV_ISA=isa,
    )


@pytest.mark.parametrize("isa", LOWER)
def test_a_dynamic_range_of_a_million_keeps_the_bound(isa):
    script(
        CORE.format(isa=isa)
        + """
from cases import AVAILABLE
dtypes = {"float32", "float64", "complex64", "bfloat16"}.intersection(AVAILABLE)
for (case, operation, layout), dtype in itertools.product(ways, sorted(dtypes)):
    check("phase_gemm", case, operation, dtype, layout, kind="range")
""",
        UPCONV_ISA=isa,
    )


@pytest.mark.parametrize("isa", LOWER)
def test_a_failure_there_is_seen_here(isa):
    with pytest.raises(AssertionError, match="values are wrong"):
        script(
            CORE.format(isa=isa)
            + """
from upconv.algorithms import phase_gemm
run = phase_gemm.jobs.run
phase_gemm.jobs.run = lambda program, x, y, w, bias: run(program, x * 2 if bias is None else x, y, w, bias)
suite("phase_gemm")
""",
            UPCONV_ISA=isa,
        )


def test_every_row_that_this_machine_runs_is_known_to_the_tests():
    assert set(RUNNABLE) <= {*ISAS, "neon"}
