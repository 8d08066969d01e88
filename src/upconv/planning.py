"""Choosing an algorithm: ask each why not and at what cost, keep the answers, and freeze the choice as a `Plan`."""

from dataclasses import dataclass
from functools import lru_cache

from . import arguments
from .algorithms import ALGORITHMS, BY_NAME_ONLY, LAST_RESORT
from .arguments import Settings
from .dtypes import lookup, parse, quiet
from .errors import SettingError
from .phases import phases
from .problem import Details, Problem

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One algorithm's answer: its predicted seconds, or the sentences with which it refuses."""

    name: str
    seconds: float | None
    refusals: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """How one problem will be computed. Print it; call it with arrays of the planned shapes and dtype.

    Attributes:
        problem: the operation, its geometry, dtype and memory layout.
        algorithm: name of the algorithm chosen.
        candidates: every algorithm's answer, in the order of preference; see below for the other properties.

    Printed, it says what will be executed, by which kernels, and what every candidate answered.

    >>> import numpy as np
    >>> made = plan((1, 1, 2, 2), (1, 1, 2, 2), dtype="float64")
    >>> made(np.ones((1, 1, 2, 2)), np.ones((1, 1, 2, 2)))
    array([[[[1., 2., 1.],
             [2., 4., 2.],
             [1., 2., 1.]]]])
    """

    problem: Problem
    algorithm: str

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Every algorithm's answer; asked for only when it is wanted, since most plans are never looked at."""
        return tuple(_ask(name, self.problem) for name in ALGORITHMS)

    @property
    def macs(self):
        """Useful multiply-adds (those that reach a kept output); twice this is the number of FLOPs."""
        return self.problem.macs

    @property
    def bytes(self):
        """Least bytes that must move: operands (live weights only) and result, once each."""
        return self.problem.bytes

    @property
    def workspace_bytes(self):
        """Upper bound of the scratch memory beside the result."""
        return ALGORITHMS[self.algorithm].workspace_bytes(self.problem)

    @property
    def details(self) -> Details:
        """What the algorithm will execute; asked for only when it is wanted, since that may generate kernels."""
        known = getattr(ALGORITHMS[self.algorithm], "details", None)
        return Details(self.macs) if known is None else known(self.problem)

    @property
    def executed_macs(self):
        """Multiply-adds executed, those included that no kept output needs."""
        return self.details.executed_macs

    @property
    def kernels(self):
        """Names of what runs, in the order of their first use."""
        return self.details.kernels

    @property
    def isa(self):
        """The instruction set that the kernels are made for."""
        return self.details.isa

    @property
    def threads(self):
        """How many threads the kernels may use now; 0 where that is not upconv's to say."""
        return self.details.threads

    @property
    def packed_bytes(self):
        """Size of the weight in the order in which it is read."""
        return self.details.packed_bytes

    def __call__(self, x, w, b=None, out=None):
        """Run the plan on operands of the planned shapes and dtype; strides are free.

        Args:
            x, w: the two operands; for a forward plan input and weight, in the shapes that the plan shows.
            b: one value per channel of the result, or None.
            out: array to write into, or None for a new one.

        Returns:
            The result, or `out` if it was given.

        Raises:
            SettingError: for operands that the plan was not made for, or an `out` that overlaps one of them.
        """
        problem = self.problem
        operands = _operands(problem, x, w)
        x, w = operands.values()
        b = arguments.parse_bias(b, problem.result_shape[1])
        arguments.agree(**operands, bias=b)
        if out is None:
            out = arguments.empty(problem.result_shape, arguments.native_dtype(x), problem.layout)
        else:
            arguments.check_out(out, problem.result_shape, problem.dtype, (x, w, b))
        self.run(x, w, b, out)
        return out

    def run(self, a, b, bias, out):
        """Compute without any check: for callers that have checked everything.

        Args:
            a, b: the operands, 4-D, of the problem's shapes and dtype, in any byte order and strides.
            bias: one value per channel of the result, or None.
            out: array of the result's shape and dtype, which is filled.

        Returns:
            None.
        """
        if out.size:
            native = arguments.native
            target, bias = native(out), None if bias is None else native(bias)
            with quiet():
                ALGORITHMS[self.algorithm].run(self.problem, native(a), native(b), bias, target)
            if target is not out:
                out[...] = target

    def __repr__(self):
        lines = [*describe(self), "  candidate       predicted on one thread"]
        return "\n".join(lines + [_line(candidate, self.algorithm) for candidate in self.candidates])


def describe(made):
    """What a plan says of itself above its table of candidates, as lines."""
    g, details = made.problem.geometry, made.details
    useful = f"{made.macs / details.executed_macs:.1%}" if details.executed_macs else "none"
    threads = details.threads or "as NumPy has them"
    return [
        f"Plan: {made.problem.operation} by {made.algorithm} ({made.problem.dtype}, {made.problem.layout})",
        f"  input {g.input_shape}  weight {g.weight_shape}  output {g.output_shape}  groups {g.groups}",
        f"  phases {len(phases(g.h))} x {len(phases(g.w))}  multiply-adds {made.macs:,} useful, "
        f"{details.executed_macs:,} executed ({useful} useful)",
        f"  bytes: least to move {made.bytes:,}  packed weight {details.packed_bytes:,}  "
        f"workspace at most {made.workspace_bytes:,}",
        f"  kernels {', '.join(details.kernels) or 'none'}",
        f"  instruction set {details.isa}  threads {threads}",
    ]


def plan(
    input,
    weight,
    bias=None,
    stride=1,
    padding=0,
    output_padding=0,
    groups=1,
    dilation=1,
    *,
    dtype=None,
    channels_last=False,
    algorithm=AUTO,
):
    """Plan a `conv_transpose2d` without running it.

    Args:
        input, weight: arrays, or just their 4-D shapes; then `dtype` (float32) and `channels_last` say the rest.
        bias: ignored, so that the arguments of a call can be passed as they are.
        stride, padding, output_padding, groups, dilation, algorithm: as in `upconv.conv_transpose2d`.

    Returns:
        Plan: printable, callable as ``plan(x, w, b, out=None)``.

    Raises:
        SettingError, TypeError, NotImplementedError: as the call itself would.

    >>> plan((1, 64, 32, 32), (64, 32, 4, 4), stride=2, padding=1).macs
    32514048
    """
    settings = Settings.of(stride, padding, output_padding, groups, dilation)
    check_algorithm(algorithm)
    (x, x_shape), (w, w_shape) = _array_or_shape(input, "input"), _array_or_shape(weight, "weight")
    geometry = settings.geometry(x_shape, w_shape)
    arrays = [array for array in (x, w) if array is not None]
    if len(arrays) == 2:
        arguments.agree(input=x, weight=w)
    name = lookup(parse(dtype), "the plan").name if not arrays else arrays[0].dtype.name
    layout = arguments.layout(*arrays, is_batched=True)
    return choose(Problem("forward", geometry, name, "nhwc" if channels_last else layout), algorithm)


def _array_or_shape(value, name):
    if hasattr(value, "dtype"):
        array = arguments.as_array(value, name)
        shape = array.shape
    else:
        array, shape = None, arguments.sizes(value, name)
    if len(shape) != 4:
        raise SettingError(f"{name} has shape {shape}; a plan needs all 4 sizes")
    return array, shape


def _operands(problem, x, w):
    g = problem.geometry
    shapes = {
        "forward": (("input", g.input_shape), ("weight", g.weight_shape)),
        "grad_input": (("grad_output", g.output_shape), ("weight", g.weight_shape)),
        "grad_weight": (("input", g.input_shape), ("grad_output", g.output_shape)),
    }[problem.operation]
    arrays = {}
    for value, (name, shape) in zip((x, w), shapes, strict=True):
        array = arguments.as_array(value, name)
        arguments.check_shape(array, shape, name)
        if array.dtype.name != problem.dtype:
            raise SettingError(f"{name} has dtype {array.dtype.name}; the plan is for {problem.dtype}")
        arrays[name] = array
    return arrays


def _line(candidate, chosen):
    mark = "*" if candidate.name == chosen else " "
    answer = "refuses" if candidate.seconds is None else f"{candidate.seconds * 1e3:.3g} ms"
    return f"{mark} {candidate.name:<15} {answer:<12} {'; '.join(candidate.refusals)}".rstrip()


# Vocoders send a new width with every call, so the cache must forget.
@lru_cache(maxsize=512)
def choose(problem: Problem, algorithm=AUTO) -> Plan:
    """The plan of a problem: the cheapest algorithm that does not refuse (last of all NumPy), or the one named.

    Raises:
        TypeError: for an unknown name.
        SettingError: when the algorithm named refuses, or a ready plan was made for another problem.
    """
    if isinstance(algorithm, Plan):
        if algorithm.problem != problem:
            raise SettingError(f"the plan given was made for another problem:\n{algorithm}\nplan this one anew")
        return algorithm
    if algorithm == AUTO:
        return Plan(problem, _cheapest(problem))
    if algorithm not in ALGORITHMS:
        _refuse_algorithm(algorithm)
    refusals = ALGORITHMS[algorithm].why_not(problem)
    if refusals:
        raise SettingError(f"{algorithm} refuses: {'; '.join(refusals)}; use algorithm='auto'")
    return Plan(problem, algorithm)


def _cheapest(problem):
    """The willing algorithm with the least predicted cost, which is asked for only where there is a choice."""
    automatic = [name for name in ALGORITHMS if name not in BY_NAME_ONLY]
    willing = [name for name in automatic if name not in LAST_RESORT and not ALGORITHMS[name].why_not(problem)]
    willing = willing or [name for name in automatic if not ALGORITHMS[name].why_not(problem)]
    return willing[0] if len(willing) == 1 else min(willing, key=lambda name: ALGORITHMS[name].cost(problem))


def check_algorithm(algorithm):
    """Refuse what is neither a word nor a plan; `choose`, which is remembered, could only say that it has no hash."""
    if not isinstance(algorithm, str | Plan):
        _refuse_algorithm(algorithm)


def _refuse_algorithm(algorithm):
    raise TypeError(f"algorithm is {algorithm!r}; it must be 'auto', a Plan, or one of {', '.join(ALGORITHMS)}")


def _ask(name, problem):
    refusals = tuple(ALGORITHMS[name].why_not(problem))
    if name in BY_NAME_ONLY:
        refusals += ("runs only when it is asked for by name",)
    return Candidate(name, None if refusals else ALGORITHMS[name].cost(problem), refusals)
