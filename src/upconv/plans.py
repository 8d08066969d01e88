"""Plans: how one problem will be computed, as a value that can be printed, asked, and run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, overload

from . import rewrites
from .activations import activate
from .algorithms import ALGORITHMS
from .arrays import agree, check_out, empty, native, native_dtype, parse_bias
from .candidates import Candidate, ask, cheapest
from .dtypes import quiet
from .errors import SettingError
from .fitting import array_of, checked, lying, result_layout
from .interchange import like
from .layouts import STRIDED, suits
from .prepared import PreparedWeight
from .problem import Details, Problem
from .runtime.kernel import CodeRefused
from .table import aligned, marked

if TYPE_CHECKING:
    from collections.abc import Callable
    from functools import _lru_cache_wrapper
    from typing import Any

    from numpy.typing import ArrayLike, NDArray

    from .typing import Value

    Array = NDArray[Any]

# Vocoders send a new width with every call, so what is remembered must be forgotten.
MOST_PLANS = 512
_remembering: list[_lru_cache_wrapper[Plan]] = []


def remembered(make: Callable[..., Plan]) -> _lru_cache_wrapper[Plan]:
    """A function that makes plans, which remembers those of the last arguments until `forget`."""
    _remembering.append(lru_cache(maxsize=MOST_PLANS)(make))
    return _remembering[-1]


def forget() -> None:
    """Forget all plans: what they were chosen for holds no more."""
    for each in _remembering:
        each.cache_clear()


@dataclass(frozen=True, slots=True)
class Plan:
    """How one problem will be computed. Print it; call it with arrays of the planned shapes and dtype.

    Attributes:
        problem: what is asked for: operation, geometry, dtype, layouts, form of the weight, activation.
        algorithm: name of the algorithm chosen.
        steps: the rewrites that come before it (see `rewrites`); `inner` is the problem that they lead to.

    Printed, it says what will be executed, by which kernels, and what every candidate answered.

    >>> import numpy as np
    >>> from upconv import plan
    >>> made = plan((1, 1, 2, 2), (1, 1, 2, 2), dtype="float64")
    >>> made(np.ones((1, 1, 2, 2)), np.ones((1, 1, 2, 2)))
    array([[[[1., 2., 1.],
             [2., 4., 2.],
             [1., 2., 1.]]]])
    """

    problem: Problem
    algorithm: str
    steps: tuple[rewrites.Rewrite, ...] = field(default=(), compare=False, repr=False)

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Every algorithm's answer, in the order of the list; those that do not matter to the choice are asked now."""
        return tuple(ask(name, self.problem) for name in ALGORITHMS)

    @property
    def inner(self) -> Problem:
        """The problem that the algorithm computes, after all rewrites."""
        return self.steps[-1].after if self.steps else self.problem

    @property
    def copies_result(self) -> bool:
        """Whether the first thing that is done to the problem is to copy its result, to wherever it is to be."""
        return bool(self.steps) and self.steps[0].before.layout != self.steps[0].after.layout

    @property
    def copies(self) -> tuple[str, ...]:
        """What is done to operands or result beside the algorithm, in words: each is a pass over memory."""
        after = []
        if self.inner.activation.name != "none" and not ALGORITHMS[self.algorithm].fuses(self.inner):
            after = [f"{self.inner.activation} in a pass of its own"]
        return (*(step.description for step in self.steps), *after)

    @property
    def macs(self) -> int:
        """Useful multiply-adds (those that reach a kept output); twice this is the number of FLOPs."""
        return self.problem.macs

    @property
    def bytes(self) -> int:
        """Least bytes that must move: operands (live weights only) and result, once each."""
        return self.problem.bytes

    @property
    def workspace_bytes(self) -> int:
        """Upper bound of the scratch memory beside the result."""
        most = max(ALGORITHMS[name].workspace_bytes(self.inner) for name in (self.algorithm, self.fallback) if name)
        return most + sum(step.nbytes for step in self.steps)

    @property
    def fallback(self) -> str | None:
        """Name of the algorithm that computes again what the kernels have flagged; None where they flag nothing."""
        return getattr(ALGORITHMS[self.algorithm], "fallback", None)

    @property
    def rounds_by_place(self) -> bool:
        """Whether the last bits of an output depend on what else is computed, so that a part of a map has others."""
        rule = getattr(ALGORITHMS[self.algorithm], "rounds_by_place", None)
        return rule is not None and rule(self.inner)

    def adds_alike(self, part: Plan) -> bool:
        """Whether a part of the problem has the bits of the whole, unless the algorithm rounds by place.

        Args:
            part: a plan of the part by the same algorithm.

        Returns:
            Whether it adds up products in the same order.
        """
        rule = getattr(ALGORITHMS[self.algorithm], "adds_alike", None)
        if rewrites.kinds(part.steps) != rewrites.kinds(self.steps):
            return False
        return rule is None or rule(self.inner, part.inner)

    @property
    def details(self) -> Details:
        """What the algorithm will execute; asked for only when it is wanted, since that may generate kernels."""
        known = getattr(ALGORITHMS[self.algorithm], "details", None)
        if known is None:
            return Details(self.macs)
        details = known(self.inner)
        # A complex product is four real ones.
        fourth = self.problem.dtype.startswith("complex") and not self.inner.dtype.startswith("complex")
        return replace(details, executed_macs=details.executed_macs // 4) if fourth else details

    @property
    def executed_macs(self) -> int:
        """Multiply-adds executed, those included that no kept output needs; fewer than the useful by `winograd`."""
        return self.details.executed_macs

    @property
    def kernels(self) -> tuple[str, ...]:
        """Names of what runs, in the order of their first use."""
        return self.details.kernels

    @property
    def isa(self) -> str:
        """The instruction set that the kernels are made for."""
        return self.details.isa

    @property
    def threads(self) -> int:
        """How many threads the kernels may use now; 0 where that is not upconv's to say."""
        return self.details.threads

    @property
    def packed_bytes(self) -> int:
        """Size of the weight in the order in which it is read."""
        return self.details.packed_bytes

    @overload
    def __call__(
        self,
        x: NDArray[Value],
        w: NDArray[Value] | PreparedWeight,
        b: NDArray[Value] | None = None,
        out: NDArray[Any] | None = None,
    ) -> NDArray[Value]: ...
    @overload
    def __call__(
        self,
        x: ArrayLike,
        w: ArrayLike | PreparedWeight,
        b: ArrayLike | None = None,
        out: NDArray[Any] | None = None,
    ) -> NDArray[Any]: ...
    def __call__(
        self,
        x: ArrayLike,
        w: ArrayLike | PreparedWeight,
        b: ArrayLike | None = None,
        out: NDArray[Any] | None = None,
    ) -> NDArray[Any]:
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
        given, operands = x, checked(problem, x, w)
        x, w = operands.values()
        b = parse_bias(b, problem.result_shape[1])
        agree(**operands, bias=b)
        if out is None:
            made = empty(problem.result_shape, native_dtype(x), problem.layout)
            self.run(x, w, b, made)
            return like(given, made)
        self.run(x, w, b, check_out(out, problem.result_shape, problem.dtype, (x, array_of(w), b)))
        return out

    def run(self, a: Array, b: Array | PreparedWeight, bias: Array | None, out: Array) -> None:
        """Compute without any check: for callers that have checked everything.

        Operands that lie otherwise than the plan says are copied first, since a plan is what runs.

        Args:
            a, b: the operands, 4-D, of the problem's shapes and dtype, in any byte order and strides.
            bias: one value per channel of the result, or None.
            out: array of the result's shape and dtype, which is filled.

        Returns:
            None.
        """
        if not out.size:
            return
        problem = self.problem
        a, bias = lying(native(a), problem.a_layout), None if bias is None else native(bias)
        if not isinstance(b, PreparedWeight):
            if problem.prepared:
                raise SettingError(
                    "the plan was made for a prepared weight, and this one is an array; pass prepare(weight, ...), or "
                    "plan with the array"
                )
            b = lying(native(b), problem.b_layout, is_weight=problem.operation != "grad_weight")
        elif not problem.prepared:
            b = rewrites.dense(b.array, problem.b_layout)
        elif b.storage != problem.storage:
            raise SettingError(
                f"the plan was made for a weight that is kept in {problem.storage or problem.dtype}, and this one is "
                f"kept in {b.storage or b.dtype.name}; plan with it"
            )
        target = native(out)
        # Where the result is copied in the end, it may lie anyhow.
        wanted = STRIDED if self.copies_result else problem.layout
        if not suits(result_layout(problem, target), wanted):
            target = rewrites.fresh(out.shape, target.dtype, problem.layout)
        self.execute(a, b, bias, target)
        if target is not out:
            out[...] = target

    def execute(self, a: Array, b: Array | PreparedWeight, bias: Array | None, out: Array) -> None:
        """Compute on native operands that lie as the problem says, which is not checked at all.

        Args:
            a, b, bias, out: as in `run`.

        Returns:
            None.
        """
        try:
            with quiet():
                if self.steps:
                    rewrites.solve(self.steps, self._innermost, a, b, bias, out)
                else:
                    self._innermost(a, b, bias, out)
        except CodeRefused:
            # Since the plan was made, the system has ceased to let code be made: so much for all such plans.
            forget()
            Plan(self.problem, *cheapest(self.problem)).execute(a, b, bias, out)

    def direct(self, a: Array, b: Array | PreparedWeight, bias: Array | None, out: Array) -> tuple[Any, Any, Any]:
        """A function of Python's own for a small problem: no Python runs between it and the program.

        Args:
            a, b, bias, out: native operands that lie as the problem says.

        Returns:
            (the function, of operands that lie like these; what must live as long as it; whose help it is for, 0 for
            anybody's; see `pool.helped_by`), (None, None, 0) where the plan is not done in one go.
        """
        algorithm = ALGORITHMS[self.algorithm]
        fuses = self.problem.activation.name == "none" or algorithm.fuses(self.problem)
        if not fuses or not hasattr(algorithm, "direct"):
            return None, None, 0
        if self.steps:
            if not all(step.exchanges_axes for step in self.steps):
                return None, None, 0
            a, b, out = rewrites.as_row(a, b, out)
        try:
            return algorithm.direct(self.inner, a, b, bias, out)
        except CodeRefused:
            # Since the plan was made; what was computed was computed by another.
            return None, None, 0

    def fall_back(self, a: Array, b: Array | PreparedWeight, bias: Array | None, out: Array) -> None:
        """Compute by the other algorithm what a function of `direct` has flagged, for the same arrays.

        Args:
            a, b, bias, out: as in `direct`.

        Returns:
            None.
        """
        try:
            with quiet():
                rewrites.solve(self.steps, self._innermost_again, a, b, bias, out)
        except CodeRefused:
            self.execute(a, b, bias, out)

    def _innermost(self, a, b, bias, out):
        flags = _run(ALGORITHMS[self.algorithm], self.inner, a, b, bias, out)
        if flags is not None and flags.any():
            self._innermost_again(a, b, bias, out)
        else:
            self._activated(ALGORITHMS[self.algorithm], out)

    def _innermost_again(self, a, b, bias, out):
        algorithm = ALGORITHMS[self.fallback]
        _run(algorithm, self.inner, a, b, bias, out)
        self._activated(algorithm, out)

    def _activated(self, algorithm, out):
        inner = self.inner
        if inner.activation.name != "none" and not algorithm.fuses(inner):
            activate(inner.activation, out)

    def _repr_svg_(self):
        return self.problem.geometry._repr_svg_()

    def _repr_html_(self):
        return self.problem.geometry._repr_html_(repr(self))

    def __repr__(self):
        head = marked("candidate"), "predicted, 1 thread", ""
        rows = [_cells(candidate, self.algorithm) for candidate in self.candidates]
        return "\n".join([*describe(self), *aligned([head, *rows], indent="")])


def describe(made):
    """What a plan says of itself above its table of candidates, as lines."""
    g, details = made.problem.geometry, made.details
    # An algebra with fewer products than the definition executes less than what is useful.
    ratio = made.macs / details.executed_macs if details.executed_macs else 0
    useful = f"each for {ratio:.2f} useful" if ratio > 1 else f"{ratio:.1%} useful"
    threads = details.threads or "as NumPy has them"
    problem = made.problem
    weight = "prepared" if problem.prepared else "as given"
    if problem.storage:
        weight += f", kept in {problem.storage}"
    return [
        f"Plan: {problem.operation} by {made.algorithm} ({problem.dtype}, {problem.layout})",
        f"  input {g.input_shape}  weight {g.weight_shape}  output {g.output_shape}  groups {g.groups}",
        f"  layouts {problem.a_layout}, {problem.b_layout} to {problem.layout}  weight {weight}  "
        f"activation {problem.activation}",
        *(f"  also: {words}" for words in made.copies),
        *([f"  what its kernels flag is computed again by {made.fallback}"] if made.fallback else []),
        f"  phases {_phases(g.h)} x {_phases(g.w)}  multiply-adds {made.macs:,} useful, "
        f"{details.executed_macs:,} executed ({useful})",
        f"  bytes: least to move {made.bytes:,}  packed weight {details.packed_bytes:,}  "
        f"workspace at most {made.workspace_bytes:,}",
        f"  kernels {', '.join(details.kernels) or 'none'}",
        f"  instruction set {details.isa}  threads {threads}",
    ]


def _phases(axis):
    return min(axis.s, axis.out)


def _cells(candidate, chosen):
    answer = "refuses" if candidate.seconds is None else f"{candidate.seconds * 1e3:.3g} ms"
    return marked(candidate.name, chosen), answer, "; ".join(candidate.refusals or candidate.by_name)


def _run(algorithm, problem, a, b, bias, out):
    """Run an algorithm; one that reads no form of ours gets the weight itself."""
    if isinstance(b, PreparedWeight) and not hasattr(algorithm, "weight_form"):
        b = b.innermost(problem)
    return algorithm.run(problem, a, b, bias, out)
