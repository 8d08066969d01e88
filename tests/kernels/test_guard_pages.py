"""No kernel reads or writes beyond its arrays, seen by the processor itself. Crashes are in processes of their own."""

import json
import os
from pathlib import Path

import pytest
from amount import some
from cases import CASES
from children import script
from isas import tried
from ways import KERNELS

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs mprotect")
HERE = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
# For scripts that change no kernel.
SHARED = f"{HERE}import fresh; fresh.share()\n"
DTYPES, LAYOUTS = 3, 2
# Of every case; in turn. By default an instruction set has every other case, and the next one those between.
SOME_DTYPES, ENDS, STEP = some(1, DTYPES), some(1, 2), some(2, 1)


@pytest.mark.parametrize("isa", tried())
def test_nothing_beyond_an_operand_a_result_or_scratch_is_touched(isa):
    place = tried().index(isa)
    some_cases = f"guarded.CASES[{place % STEP} :: {STEP}]"
    text = f"{SHARED}import guarded; guarded.main({some_cases}, {SOME_DTYPES}, {ENDS})"
    printed = script(text, timeout=900, UPCONV_ISA=isa).splitlines()
    cases = sum(case.n > 0 for case in CASES[place % STEP :: STEP])
    assert_all_ran(json.loads(printed[-1]), cases, SOME_DTYPES, may_lack={"weight_streaming"})


def assert_all_ran(counts, cases, dtypes, may_lack=frozenset()):
    """Two ways take every case of some operations; every other way had some, but for one that wants many channels."""
    every = cases * dtypes * LAYOUTS * ENDS
    assert (counts["gemm"], counts["weight_gradient"]) == (2 * every, every)
    assert counts["direct_rows"] >= every
    assert set(KERNELS) - set(counts) <= may_lack


@pytest.mark.parametrize("isa", tried())
def test_nor_where_layers_are_large(isa):
    first, *_, last = script(
        f"{SHARED}import guarded; guarded.large({SOME_DTYPES}, {ENDS})", timeout=900, UPCONV_ISA=isa
    ).splitlines()
    assert_all_ran(json.loads(last), int(first), SOME_DTYPES)


@pytest.mark.parametrize("isa", tried())
def test_nor_by_what_converts_halves(isa):
    *_, last = script(f"{SHARED}import guarded; guarded.halves({ENDS})", timeout=900, UPCONV_ISA=isa).splitlines()
    missing = set(KERNELS) - set(json.loads(last)) - {"weight_streaming"}
    assert {way for way in missing if "weight_gradient" not in way} == set()


@pytest.mark.parametrize("end", [-1, "nbytes"])
def test_one_byte_beyond_is_a_crash_that_names_the_case(end):
    with pytest.raises(AssertionError, match=r"status -\d+, after printing\n(?s:.*)this case"):
        script(f"""{HERE}
import ctypes
from guarded import Room
print("this case", flush=True)
array = Room(100).put((3, 5), "float32", (0, 1), at_end={end != -1})
ctypes.string_at(array.ctypes.data + {-1 if end == -1 else "array.nbytes"}, 1)
""")


def test_a_mask_that_is_a_lane_too_long_is_a_crash(tmp_path):
    with pytest.raises(AssertionError, match=r"status -\d+, (?s:.*)forbidden page"):
        script(
            f"""{HERE}
import guarded
from upconv.codegen.lang import Builder
lane_mask = Builder.lane_mask
Builder.lane_mask = lambda self, count, vector: lane_mask(self, count + 1, vector)
guarded.main()
""",
            UPCONV_CACHE_DIR=str(tmp_path),
        )


def test_what_is_guarded_is_what_the_kernels_see():
    """Every base of every table lies in a guarded room."""
    printed = script(f"""{HERE}
import guarded
from cases import BY_NAME
guard = guarded.Guard()
rooms = [(room.bytes.ctypes.data, room.size) for room in guard.rooms.values()]
function = guarded.program.function
def seen(kernel, keeps_gil):
    def run(job):
        bases = job[guarded.program.WORDS : guarded.program.WORDS + guarded.program.BASES]
        assert all(any(start <= at <= start + size for start, size in rooms) for at in bases[1:] if at)
        assert all(bases[guarded.program.X : guarded.program.W + 1])
        print("seen")
        function(kernel, keeps_gil)(job)
    return run
guarded.program.function = seen
for name in ("primes", "depthwise", "1x1-kernel", "one-channel-out"):
    for operation in guarded.OPERATIONS:
        case = BY_NAME[name]
        bias = guarded.bias_of(case, operation, "float32")
        pair = guarded.operands(operation, case.arrays("float32"))
        want = guarded.expected(case.geometry(), operation, *pair, bias)
        for way in guarded.willing(guarded.Problem(operation, case.geometry(), "float32")):
            guard.check(way, case, operation, "float32", "nchw", bias, want)
""")
    assert printed.split().count("seen") >= 12
