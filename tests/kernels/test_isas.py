"""What the other tests show of the best instruction set here holds for the lower ones: they run there again."""

import pytest
from amount import some
from children import ISAS, script
from isas import RUNNABLE, tried

LOWER = [name for name in tried() if name != RUNNABLE[0]]
CORE = """
import itertools, warnings
from collections import Counter
import fresh
import numpy as np
from cases import BY_NAME, LAYOUTS, Case
from ways import AUTO, KERNELS, check, nonfinite, suite
from upconv.problem import OPERATIONS
from upconv.runtime import kernel
warnings.simplefilter("ignore", RuntimeWarning)
fresh.share()
assert kernel.isa().name == {isa!r}, kernel.isa()
names = "depthwise primes gcd2-k5s4d6-holes groups-2-several-outputs depthwise-multiplier-3 crops-of-both-signs"
cases = [BY_NAME[name] for name in (*names.split(), "long-sums")]
cases.append(Case("weight-streaming", 2, 31, 2, 3, 37, (3, 3), (2, 2), (1, 0)))
cases.append(Case("one-tap", 2, 7, 3, 5, 18, (1, 1)))
cases.append(Case("runs-of-taps", 2, 7, 3, 4, 3, (3, 16), (2, 9)))
ran = Counter()
settings = list(itertools.product(cases, OPERATIONS, LAYOUTS))

def turns(values, each):
    # Settings with so many of the values each, which take turns.
    for number, setting in enumerate(settings):
        for turn in range(min(each, len(values))):
            yield *setting, values[(number + number // len(values) + turn) % len(values)]
"""


@pytest.mark.parametrize("isa", LOWER)
def test_the_small_suite_passes(isa):
    script(CORE.format(isa=isa) + "assert suite()[AUTO] > 80", UPCONV_ISA=isa)


@pytest.mark.parametrize("isa", LOWER)
def test_what_is_not_finite_reaches_exactly_what_it_should(isa):
    script(
        CORE.format(isa=isa)
        + """
for case, operation, layout, value in turns((np.nan, np.inf, -np.inf), {EACH}):
    ran += nonfinite(case, operation, value, layout)
assert set(ran) == set(KERNELS), ran
""".replace("{EACH}", str(some(1, 3))),
        UPCONV_ISA=isa,
    )


@pytest.mark.parametrize("isa", LOWER)
def test_a_dynamic_range_of_a_million_keeps_the_bound(isa):
    script(
        CORE.format(isa=isa)
        + """
from cases import AVAILABLE
dtypes = sorted({"float32", "float64", "complex64", "bfloat16"}.intersection(AVAILABLE))
for case, operation, layout, dtype in turns(dtypes, {EACH}):
    ran += check(case, operation, dtype, layout, kind="range")
assert set(ran) == {*KERNELS, AUTO}, ran
""".replace("{EACH}", str(some(2, 4))),
        UPCONV_ISA=isa,
    )


@pytest.mark.parametrize("isa", LOWER)
def test_a_failure_there_is_seen_here(isa):
    with pytest.raises(AssertionError, match="values are wrong"):
        script(
            CORE.format(isa=isa)
            + """
from upconv.runtime import program
run = program.run
program.run = lambda made, x, y, w, bias, panels=None: run(made, x * 2 if bias is None else x, y, w, bias, panels)
suite()
""",
            UPCONV_ISA=isa,
        )


def test_every_row_that_this_machine_runs_is_known_to_the_tests():
    assert set(RUNNABLE) <= {*ISAS, "neon"}
