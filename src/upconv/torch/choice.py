"""Ours or torch's, and why: one answer for a problem, which every door, the compiler and the report ask for.

An answer is made from the plan alone, so from geometry, dtype and machine, and it is the same in every call; only a
layer on which both have been timed (`accelerate(model, example_inputs=...)`) keeps what was measured instead.

    cannot   sentences: why upconv may not be asked at all; no measurement overrules them, nor that torch `is_mistaken`
    slower   sentences: why torch's operator is expected to be the faster one; a measurement overrules them
"""

import os
from dataclasses import dataclass

import torch

from ..algorithms import ALGORITHMS, is_programmed
from ..codegen.llvm import host_cpu
from ..layouts import CHANNELS_LAST
from ..phases import input_segments, live_segments
from ..planning import choose
from ..plans import Plan
from ..problem import Problem
from ..volume import Volume

# Below so many multiply-adds torch's operator is done before a call of ours could begin.
FEW_MACS = 50_000
# Output channels whose tiles do not keep the multipliers of the gradient in the weight busy; and channels of a group,
# where its maps lie channels-last and have so many pixels.
FEW_CHANNELS, FEW_OF_A_GROUP, MANY_PIXELS = 3, 7, 256
# Taps up to which packing a weight is not made up for on channels-last maps of fewer pixels than these.
FEW_TAPS, FEW_PIXELS = {"forward": 15, "grad_input": 16}, {"forward": 40, "grad_input": 500}
FEW_VOLUME_MACS, FEW_VOXELS = 500_000, 500
# Columns of a map up to which gradients in bfloat16 may be wrong in torch.
MISTAKEN_COLUMNS = 2
# Channels of a group of the output below which the gradient in the input may be, where a row of taps has so many of
# their numbers.
MISTAKEN_CHANNELS, MISTAKEN_RUN = 32, 64
# Dtypes of which oneDNN computes the gradients of volumes.
ONEDNNS = ("float32", "float16", "bfloat16")
# Who says whether oneDNN computes in halves, and whether the processor has matrix tiles (AMX) of them; and one of the
# words that are in the name of an instruction set with such tiles.
HALVES = {
    "float16": ("_is_mkldnn_fp16_supported", "_is_amx_fp16_supported", ("amx_fp16", "amx_2")),
    "bfloat16": ("_is_mkldnn_bf16_supported", "_is_amx_tile_supported", ("amx",)),
}
# Who says whether the processor multiplies pairs of bfloat16 without tiles, how LLVM's names of those begin on which
# that takes half as long as in float32 (elsewhere as long), and words in the names of instruction sets with it.
PAIRS, SWIFT, PAIR_MARKS = "_is_avx512_bf16_supported", "znver", ("bf16", "fp16", "amx", "avx10")
# Where oneDNN looks for the best instruction set that it may use, and how the names begin that it knows; any other is
# no limit.
LIMITS, KNOWN = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"), ("sse", "avx")


def has_instructions(dtype):
    """Whether oneDNN multiplies this half precision faster than ours do, of which most convert to float32 and back.

    By matrix tiles it does, and by pairs of bfloat16 on AMD's processors, where they are twice as fast as numbers of
    float32; by the other instructions of AVX-512 it takes longer.
    """
    computes, tells, marks = HALVES[dtype]
    asked = getattr(torch.ops.mkldnn, computes, None)
    if asked is None or not torch.backends.mkldnn.is_available() or not asked():
        return False
    has_tiles = getattr(torch.cpu, tells, None)
    # A torch that cannot tell may have them.
    if _may_use(marks) and (has_tiles is None or has_tiles()):
        return True
    has_pairs = getattr(torch.cpu, PAIRS, bool)
    return dtype == "bfloat16" and _may_use(PAIR_MARKS) and host_cpu().startswith(SWIFT) and has_pairs()


def _may_use(marks):
    """Whether oneDNN may use what instruction sets have whose names have one of these in them.

    Torch asks the processor, and not what oneDNN may use of it.
    """
    limit = next(filter(None, map(os.environ.get, LIMITS)), "").lower()
    return not limit.startswith(KNOWN) or any(mark in limit for mark in marks)


WITH_INSTRUCTIONS = frozenset(filter(has_instructions, HALVES))


@dataclass(frozen=True, slots=True)
class VolumeProblem:
    """One of the three operations on a `upconv.volume.Volume`; `layout` is that of the first operand."""

    operation: str
    volume: Volume
    dtype: str
    layout: str

    @property
    def macs(self):
        """Useful multiply-adds."""
        return self.volume.macs

    @property
    def geometry(self):
        """The volume."""
        return self.volume

    @property
    def planes(self):
        """The 2-D problem of the longest run of planes, which stands for all of them."""
        axis = self.volume.computable().d
        runs = input_segments(axis) if self.operation == "grad_input" else live_segments(axis)
        longest = max(runs, key=lambda run: run.count * len(run.taps), default=None)
        taps, count = (1, 1) if longest is None else (max(1, len(longest.taps)), longest.count)
        stacked = {"forward": (taps, 1), "grad_input": (1, taps), "grad_weight": (1, 1)}[self.operation]
        return Problem(self.operation, self.volume.plane(self.volume.n * count, *stacked), self.dtype, self.layout)


@dataclass(frozen=True, slots=True)
class Decision:
    """Who computes a problem.

    Attributes:
        plan: how upconv computes it, or would.
        is_ours: whether upconv does.
        why: sentences; why torch does, or that a measurement decided.
    """

    plan: Plan
    is_ours: bool
    why: tuple[str, ...] = ()


def decide(problem, measured=None):
    """Whether upconv or torch's operator computes a problem, and why.

    Args:
        problem: a `upconv.problem.Problem` of any of the three operations.
        measured: the `Measurements` of the layer that asks, or None.

    Returns:
        Decision.
    """
    if measured is not None:
        found = measured.get((problem, torch.get_num_threads()))
        if found is not None and not is_mistaken(problem):
            return Decision(by_rule(problem).plan, found.is_ours, (found.why,))
    return by_rule(problem)


def by_rule(problem):
    """The Decision that holds as long as nobody has measured."""
    if isinstance(problem, VolumeProblem):
        return by_rule_of_volumes(problem)
    plan = choose(problem)
    why = cannot(plan) if is_mistaken(problem) else (*cannot(plan), *slower(plan))
    return Decision(plan, not why, why)


def by_name(problem, algorithm):
    """The Decision of who asks for an algorithm: upconv computes it, or it refuses."""
    return Decision(choose(problem.planes if isinstance(problem, VolumeProblem) else problem, algorithm), True)


def by_rule_of_volumes(problem):
    """The same in three dimensions, where the planes' plan stands for all of them."""
    plan = choose(problem.planes)
    why = cannot(plan) if is_mistaken(problem) else (*cannot(plan), *slower_volume(problem))
    return Decision(plan, not why, why)


def is_mistaken(problem):
    """Whether torch's operator gives wrong numbers, or NaN, or ends the process, where oneDNN computes in halves.

    In bfloat16 those are wrong that are gradients of maps of one column, and some of two, under a stride along the row
    (https://github.com/pytorch/pytorch/issues/169688), and those in the input for few channels under a wide kernel. In
    both halves it may touch memory that is not its own, forwards too, where padding cuts every product off. In three
    dimensions, in float32 too, gradients channels-last may be as they lay in memory, or it may end the process, where
    an axis of the result is no longer than its padding.
    """
    is_forward = problem.operation == "forward"
    if isinstance(problem, VolumeProblem) and not is_forward and problem.dtype in ONEDNNS and _is_short(problem.volume):
        return True
    if problem.dtype not in HALVES:
        return False
    if not problem.macs:
        return True
    if is_forward or problem.dtype != "bfloat16":
        return False
    g = problem.geometry
    is_narrow = g.w.s > 1 and g.w.n <= MISTAKEN_COLUMNS
    return is_narrow or (problem.operation == "grad_input" and _is_wide(g.c_out // g.groups, g.w.k))


def _is_short(volume):
    """Whether an axis of the result is no longer than its padding."""
    return any(max(axis.crop_lo, axis.crop_hi) >= axis.out for axis in volume.axes)


def is_suspect(columns, channels, taps, is_gap):
    """Whether some layer of so many columns, channels of a group of the output and taps of a row `is_mistaken`.

    `is_gap` says whether an axis of its result is shorter than what may lie between two products: its stride, dilation.
    """
    return columns <= MISTAKEN_COLUMNS or _is_wide(channels, taps) or is_gap


def _is_wide(channels, taps):
    """Whether a row of taps is long beside its channels: where oneDNN was found to go wrong, and somewhat more."""
    return channels < MISTAKEN_CHANNELS and channels * taps >= MISTAKEN_RUN


def slower_volume(problem):
    """Why torch's operator is expected to be faster on a volume, as sentences; a rule made from measurements."""
    volume, why = problem.volume, []
    voxels = volume.n * volume.d.n * volume.h.n * volume.w.n
    depthwise = volume.c_in == volume.c_out == volume.groups
    if problem.macs < FEW_VOLUME_MACS:
        why.append(f"{problem.macs} multiply-adds take less time than the calls that a volume takes upconv")
    if _is_torchs_slowest(problem):
        return tuple(why)
    if problem.operation != "forward" and voxels < FEW_VOXELS and not depthwise:
        why.append(f"putting the weight together takes longer than {voxels} voxels can make up for in a gradient")
    grouped = volume.groups > 1 or volume.c_out < FEW_CHANNELS
    if problem.operation == "grad_weight" and grouped and not depthwise:
        why.append("upconv's kernel for the gradient in the weight is not made for so few channels in a group")
    if problem.dtype in WITH_INSTRUCTIONS:
        why.append(f"oneDNN has instructions for {problem.dtype} here")
    return tuple(why)


def _is_torchs_slowest(problem):
    """Whether it is the gradient in the weight of float16, which oneDNN computes with matrix tiles or not at all."""
    return problem.operation == "grad_weight" and problem.dtype == "float16" and problem.dtype not in WITH_INSTRUCTIONS


def is_for_few_channels(algorithm):
    """Whether few channels do not slow down the gradient in the weight by an algorithm of that name."""
    return getattr(ALGORITHMS[algorithm], "is_for_few_channels", False)


def cannot(plan):
    """Why upconv may not compute what is planned, as sentences."""
    return () if is_programmed(plan.algorithm) else ("upconv has no kernels here",)


def small_map(problem):
    """Why torch's operator is faster on a small map that lies channels-last, as a sentence; empty where it is not.

    Made from some 500 layers of 32 to 512 channels on AVX-512 and AVX2 (`python benchmarks/torch_rule.py --of
    small,gradients`): upconv packs the weight in every call, which takes longer than it saves where few pixels meet few
    taps.
    """
    g, operation = problem.geometry, problem.operation
    if problem.prepared or g.groups > 1 or operation not in FEW_PIXELS or problem.a_layout != CHANNELS_LAST:
        return ""
    pixels, taps = g.n * g.h.n * g.w.n, g.h.k * g.w.k
    if taps > FEW_TAPS[operation] or pixels >= FEW_PIXELS[operation]:
        return ""
    return f"packing a weight of {taps} taps takes longer than {pixels} pixels can make up for"


def slower(plan):
    """Why torch's operator is expected to be faster, as sentences; a rule made from measurements."""
    problem, g, why = plan.problem, plan.problem.geometry, []
    if problem.macs < FEW_MACS:
        why.append(f"{problem.macs} multiply-adds take less time than a call of upconv's")
    if _is_torchs_slowest(problem):
        return tuple(why)
    if sentence := small_map(problem):
        why.append(sentence)
    last = problem.a_layout == CHANNELS_LAST
    if problem.operation == "grad_weight" and not is_for_few_channels(plan.algorithm):
        is_large = last and g.n * g.h.n * g.w.n >= MANY_PIXELS
        if g.groups > 1 and min(problem.channels) < FEW_OF_A_GROUP and is_large:
            why.append("upconv's kernels for the gradient in the weight are not made for groups of so few channels")
        if g.c_out < FEW_CHANNELS:
            why.append("upconv's kernels for the gradient in the weight are not made for so few output channels")
        if g.h.k == g.w.k == 1 and g.h.s == g.w.s == 1:
            why.append("with one tap the gradient in the weight is one plain product, which torch has, too")
    is_depthwise = g.groups == g.c_in > 1
    is_half = problem.dtype == "bfloat16" or problem.dtype in WITH_INSTRUCTIONS
    if problem.operation == "grad_input" and is_depthwise and last and is_half:
        why.append(f"channels-last, torch's depthwise convolution is as fast in {problem.dtype} and begins sooner")
    if problem.dtype in WITH_INSTRUCTIONS and not (is_depthwise and _is_no_convolution(problem, last)):
        why.append(f"oneDNN has instructions for {problem.dtype} here")
    return tuple(why)


def _is_no_convolution(problem, last):
    """Whether a depthwise layer is none of the ordinary depthwise convolutions that oneDNN has fast in halves."""
    g = problem.geometry
    return max(g.h.s, g.w.s) > 1 or (problem.operation != "grad_weight" and not last)
