"""The algorithms whose work is a program of generated kernels: what they have in common.

A way of computing is a module in `algorithms/` with

    OPERATIONS             those of `problem.OPERATIONS` that it computes; all, if left out
    why_never(problem)     sentences of refusal that hold whatever the sizes of the maps: asked for once a layer
    why_not(problem)       those that depend on the sizes; either may be left out, and empty means yes
    work(problem)          amounts by the names of `machine.AMOUNTS`
    program(placed)        the `runtime.program.Program`; with packing where `placed.packs`
    weight_form(problem)   optional: the form in which it reads a weight (see `schedule.panels`); None, or left out, for
                           the weight as it lies
    why_not_automatic      optional: sentences, why it runs only when it is asked for by name
    FALLBACK               optional: the algorithm that computes again what its kernels have flagged
    order_of_sums(problem) optional: what else than the length of sums says in which order they are added up: a part of
                           a problem whose order is another has other last bits, one that begins and ends at multiples
                           of the stride from the first output and has the same has those of the whole
    adds_by_parts(problem) optional: whether the last bits depend on the weight being packed in the call, not prepared
    READS_HALVES           optional: whether its kernels take a weight that lies in halves, or pack it; for the others
                           the form, or the weight as it lies, is widened before
    CONVERTS_MAPS          optional: whether its programs make maps of halves float32 and back, band by band; for the
                           others whole maps are converted before and after
    MULTIPLIES_PAIRS       optional: whether its kernels multiply pairs of bfloat16, where the machine does
    TAKES_PLANES           optional: whether its programs put the rows of a map in order that lie in planes of a volume
                           (see `layouts.Fold`)
    FOR_FEW_CHANNELS       optional: whether few channels do not slow down its gradient in the weight, which is then not
                           left to torch's operator for their sake

and `Generated` makes an algorithm of it: asked, priced, run, accounted for. Its kernels apply a problem's activation:
`rewrites` leave none that they do not have.
"""

import math
from dataclasses import replace
from functools import lru_cache
from types import ModuleType

import numpy as np

from .arrays import empty
from .dtypes import quiet
from .halves import BOTH, narrow, widen
from .layouts import weight_strides
from .machine import Machine, row
from .problem import OPERATIONS, Details, Problem
from .runtime import memory, pool, program
from .runtime.builtin import builtin
from .runtime.kernel import isa, usable
from .runtime.program import W, Y
from .runtime.program_cache import ProgramCache
from .schedule.account import account, kernels
from .schedule.placed_problem import PlacedProblem
from .size_classes import size_class

# What a refusal calls an operation.
SAID = {
    "forward": "the forward pass",
    "grad_input": "the gradient in the input",
    "grad_weight": "the gradient in the weight",
}
# What all programs together may keep.
PROGRAM_BYTES = 4 << 20
PROGRAMS = ProgramCache(PROGRAM_BYTES)
PROGRAMS.wait_in_forks()


class Runnable:
    """A program, and the bias that it reads where there is none: whole vectors of one are read, so it is longer.

    `nbytes` are those that it keeps alone; `shared` has the tables that other programs keep as well.
    """

    __slots__ = ("columns", "nbytes", "no_bias", "no_bias_at", "program", "repeats", "shared")

    def __init__(self, made, columns, repeats, dtype, lanes):
        self.program, self.columns, self.repeats = made, columns, repeats
        self.no_bias, self.no_bias_at = _zeros(columns * repeats + 4 * lanes, dtype)
        self.shared, self.nbytes = [], self.no_bias.nbytes
        for table in made.tables:
            if table.is_shared:
                self.shared.append(table)
            else:
                self.nbytes += table.nbytes

    def bias(self, given):
        """The bias as the kernels read it."""
        if given is None:
            return self.no_bias
        padded = np.zeros(len(self.no_bias), self.no_bias.dtype)
        padded[: self.columns * self.repeats] = given if self.repeats == 1 else np.tile(given, self.repeats)
        return padded


class Generated:
    """An algorithm of a module; `name` is what it is called."""

    def __init__(self, name: str, module: ModuleType):
        self.name, self.module = name, module
        self.fallback: str | None = getattr(module, "FALLBACK", None)
        self.reads_halves: bool = getattr(module, "READS_HALVES", False)
        self.converts_maps: bool = getattr(module, "CONVERTS_MAPS", False)
        self.multiplies_pairs: bool = getattr(module, "MULTIPLIES_PAIRS", False)
        self.takes_planes: bool = getattr(module, "TAKES_PLANES", False)
        self.is_for_few_channels: bool = getattr(module, "FOR_FEW_CHANNELS", False)

    def why_not(self, problem: Problem) -> list[str]:
        """Sentences of refusal; empty means yes."""
        return usable() or self.why_never(problem) or self.why_not_now(problem)

    def why_never(self, problem: Problem) -> list[str]:
        """Those that hold for every problem of the same `layer`, where kernels can be made."""
        if not problem.row.element:
            return [f"has no kernels for {problem.dtype}"]
        if problem.pairs and not self.multiplies_pairs:
            return ["multiplies no pairs of bfloat16"]
        if problem.depth_taps > 1 and not self.takes_planes:
            return ["reads rows that follow one another; here they lie in several planes"]
        return _why_never(self.module, self._plain(problem) if problem.storage else problem)

    def why_not_now(self, problem: Problem) -> list[str]:
        """Those that depend on the sizes of the maps, for a problem of a layer that is not refused."""
        return _refusals(self.module, "why_not", self._plain(problem) if problem.storage else problem)

    def why_not_automatic(self, problem: Problem) -> list[str]:
        """Why it is not chosen on its own."""
        ask = getattr(self.module, "why_not_automatic", None)
        return [] if ask is None else ask(self._plain(problem) if problem.storage else problem)

    def has(self, name: str) -> bool:
        """Whether the module has a function of that name."""
        return hasattr(self.module, name)

    def rounds_by_place(self, problem: Problem) -> bool:
        """Whether the last bits of an output depend on what else is computed, as by tiles: then a part has others.

        So it has where those of a weight that is packed in the call are others than of a prepared one.
        """
        rule = getattr(self.module, "adds_by_parts", None)
        return self.fallback is not None or (rule is not None and rule(self._plain(problem)))

    def adds_alike(self, problem: Problem, part: Problem) -> bool:
        """Whether the last bits of a part of a problem are those of the whole, if it does not round by place."""
        ask = getattr(self.module, "order_of_sums", None)
        return ask is None or ask(self._plain(problem)) == ask(self._plain(part))

    def fuses(self, problem: Problem) -> bool:
        """Its kernels apply every activation that `rewrites` leave in a problem."""
        return True

    def work(self, problem: Problem) -> dict[str, float]:
        if not self._widens(problem):
            return self.module.work(problem)
        plain = self._plain(problem)
        return self.module.work(plain) | {"converted": BOTH * self._widened_bytes(plain) // plain.itemsize}

    def cost(self, problem: Problem) -> float:
        """The work counted, over the rates of this machine's row, on one thread."""
        return _cost(self, problem)

    def weight_form(self, problem: Problem):
        """The form of a weight; None for the weight as it lies.

        A form whose numbers are not those of the weight is not kept in halves: it would not be that of the weight.
        """
        form = _form(self.module, problem)
        return None if problem.storage and getattr(form, "is_computed", False) else form

    def workspace_bytes(self, problem: Problem) -> int:
        """The program's own scratch, its table, and the bias filled up."""
        plain = self._plain(problem)
        if not math.prod(plain.result_shape):
            return 0
        ready = self._dense(plain, 1)
        wide = self._widened_bytes(plain) + program.LINE if self._widens(problem) else 0
        tables = ready.program.nbytes + ready.no_bias.nbytes
        return ready.program.scratch_bytes() + 2 * tables + 16384 + wide

    def details(self, problem: Problem) -> Details:
        """What the program for dense operands executes; makes it, and its kernels, if there is anything to compute."""
        macs, names, plain = 0, (), self._plain(problem)
        if math.prod(plain.result_shape):
            ready = self._dense(plain, pool.get_num_threads())
            macs, names = account(ready.program, problem.itemsize)
        form = self.weight_form(problem)
        packed = 0 if form is None else form.nbytes * problem.weight_itemsize // problem.itemsize
        return Details(macs, names, isa().name, pool.get_num_threads(), packed)

    def kernels(self, problem: Problem, *strides) -> tuple[str, ...]:
        """Names of the kernels that run on operands with these strides (x, weight, result), on dense ones without."""
        problem = self._plain(problem)
        ready = self._made(problem, *strides, 1) if strides else self._dense(problem, 1)
        return kernels(ready.program)

    def run(self, problem: Problem, a, b, bias, out):
        """Compute into `out`; (a, b) are the operands of the problem's operation, b may be a prepared weight.

        Returns:
            The flags that the kernels have set, None if they have none.
        """
        threads = pool.get_num_threads()
        if problem.operation == "grad_weight":
            ready = self.runnable(problem, a.strides, b.strides, out.strides, threads)
            return program.run(ready.program, a, b, out, None)
        panels = None
        if problem.prepared:
            # Held until the program is over: the weight may let go of a form meanwhile.
            panels, b = b.form(self, problem)
            if self._widens(problem):
                return self._run_widened(problem, a, panels, b, bias, out)
        ready = self.runnable(problem, a.strides, b.strides, out.strides, threads)
        start = None if panels is None else program.address(panels)
        return program.run(ready.program, a, out, b, ready.bias(bias), start)

    def direct(self, problem: Problem, a, b, bias, out):
        """A function of Python's own that computes (a, b, bias, out) in one go, for operands that lie like these.

        Returns:
            (the function, what must live as long, whose help it is for, 0 for anybody's; see `pool.helped_by`);
            (None, None, 0) where there is none: the program takes long, or a front-end's threads are asked from Python.
        """
        seconds, helpers, threads = self._seconds(problem), pool.helped_by(), pool.get_num_threads()
        is_longer = seconds >= program.BRIEF
        if self._widens(problem) or (is_longer and not helpers) or seconds >= program.SECONDS_PER_PIECE:
            return None, None, 0
        panels, array = b.form(self, problem) if problem.prepared else (None, b)
        ready = self.runnable(problem, a.strides, array.strides, out.strides, threads, seconds)
        own, own_at, passed = ready.no_bias, ready.no_bias_at, (0, 0)
        if bias is not None:
            # What is passed is written to it.
            own = ready.no_bias.copy()
            own_at, passed = program.address(own), (bias.nbytes, ready.repeats)
        start = None if panels is None else program.address(panels)
        bases = (Y, W) if problem.operation == "grad_weight" else (W, Y)
        run = builtin(ready.program, problem.itemsize - 1, start, own_at, passed, threads, is_longer, bases)
        return run, (ready, own, panels), helpers if is_longer else 0

    def runnable(self, problem: Problem, a, b, out, threads, seconds: float | None = None) -> Runnable:
        """The program for operands and a result with these strides in bytes, for so many threads.

        Args:
            seconds: about how long it takes, where that is known.
        """
        x, w, y = (a, out, b) if problem.operation == "grad_weight" else (a, b, out)
        return self._made(problem, x, w, y, threads, seconds)

    def pack(self, problem: Problem, weight) -> np.ndarray:
        """The weight in the form that this algorithm reads for a problem, as bytes that begin at a cache line.

        For a problem with a `storage` the weight is one of float32 that halves can say, and the form is one of halves.
        """
        # Of a form that is kept all taps are made, whatever the map.
        storage, problem = problem.storage, replace(problem, storage="", prepared=True)
        form = _form(self.module, problem)
        placed = PlacedProblem.dense(problem)
        packed = memory.aligned(form.nbytes + program.LINE)
        made = program.Program([form.packing(placed)], form.scratch(placed), self._seconds(problem))
        program.run(made, None, None, weight, None, program.address(packed))
        if storage:
            wide, packed = packed[: form.nbytes].view(np.float32), memory.aligned(form.nbytes // 2 + program.LINE)
            with quiet():
                narrow(wide, packed[: form.nbytes // 2].view(np.uint16), storage)
        packed.flags.writeable = False
        return packed

    def _widens(self, problem):
        """Whether the weight is kept in halves, which the kernels do not take."""
        return bool(problem.storage) and not self.reads_halves

    def _plain(self, problem):
        """The problem that the module computes: where it does not take halves, on a form, or a weight, of float32."""
        return _wide(problem, self.module) if self._widens(problem) else problem

    def _widened_bytes(self, plain):
        """Bytes of what is widened for a problem: the form, or the weight as it lies."""
        form = _form(self.module, plain) if plain.prepared else None
        return math.prod(plain.geometry.weight_shape) * plain.itemsize if form is None else form.nbytes

    def _run_widened(self, problem, a, panels, b, bias, out):
        """`run` on a form, or a weight, that is made float32 before."""
        plain = self._plain(problem)
        if panels is None:
            wide = empty(b.shape, np.float32, "nchw")
            widen(b, wide, problem.storage)
            return self.run(replace(plain, prepared=False), a, wide, bias, out)
        nbytes = _form(self.module, plain).nbytes
        # Not the scratch of this thread, which the program takes and gives back.
        wide = memory.aligned(nbytes + program.LINE)
        widen(panels[: nbytes // 2].view(np.uint16), wide[:nbytes].view(np.float32), problem.storage)
        w = weight_strides(plain.geometry.weight_shape, plain.b_layout, plain.itemsize)
        ready = self.runnable(plain, a.strides, w, out.strides, pool.get_num_threads())
        return program.run(ready.program, a, out, None, ready.bias(bias), program.address(wide))

    def _made(self, problem, x, w, y, threads, seconds=None):
        seconds = self._seconds(problem) if seconds is None else seconds
        threads = program.team(seconds, threads)
        key = self.name, problem, x, w, y, threads
        return PROGRAMS.get(key, lambda: self._make(PlacedProblem.of(problem, x, y, w, threads, seconds)))

    def _dense(self, problem, threads):
        seconds = self._seconds(problem)
        threads = program.team(seconds, threads)
        key = self.name, problem, "dense", threads
        return PROGRAMS.get(key, lambda: self._make(PlacedProblem.dense(problem, threads, seconds)))

    def _seconds(self, problem):
        """About how long the program takes, by which it is cut into parts: for each pixel as in all of its class."""
        alike = size_class(problem)
        each = alike.get_or_make(self.name, lambda: self._seconds_per_pixel(alike.typical))
        return each * problem.geometry.pixels if each >= 0 else self._without_call(problem)

    def _seconds_per_pixel(self, typical):
        """Predicted for each pixel; -1 where that is not known, since this is no way to compute it."""
        return -1.0 if self.why_not(typical) else self._without_call(typical) / max(1, typical.geometry.pixels)

    def _without_call(self, problem):
        return max(0.0, self.cost(problem) - 1 / machine().rates["calls"])

    def _make(self, placed):
        problem = placed.problem
        made = self.module.program(placed)
        if problem.operation == "grad_weight":
            return Runnable(made, 0, 1, problem.dtype, 0)
        form = _form(self.module, problem)
        return Runnable(made, problem.result_shape[1], getattr(form, "fused", 1), problem.dtype, placed.lanes)


# All programs of a layer read the same: zeros, and where they are.
@lru_cache(maxsize=64)
def _zeros(count, dtype):
    made = np.zeros(count, dtype)
    made.flags.writeable = False
    return made, program.address(made)


def _form(module, problem):
    rule = getattr(module, "weight_form", None)
    return None if rule is None else rule(problem)


def _why_never(module, problem):
    operations = getattr(module, "OPERATIONS", OPERATIONS)
    if problem.operation in operations:
        return _refusals(module, "why_never", problem)
    if len(operations) == 1:
        return [f"computes {SAID[operations[0]]} alone"]
    return [f"computes no {SAID[problem.operation].removeprefix('the ')}"]


def _refusals(module, name, problem):
    rule = getattr(module, name, None)
    return [] if rule is None else rule(problem)


@lru_cache(maxsize=512)
def _wide(problem, module):
    """A problem without its storage; one whose form is not kept in halves has its weight as given."""
    plain = replace(problem, storage="")
    refused = _why_never(module, plain) or _refusals(module, "why_not", plain)
    ours = problem.operation != "grad_weight" and not refused
    computed = ours and getattr(_form(module, plain), "is_computed", False)
    return replace(plain, prepared=False) if computed else plain


@lru_cache(maxsize=4096)
def _cost(algorithm, problem):
    return machine().seconds(algorithm.work(problem), problem.dtype, problem.pairs)


def machine() -> Machine:
    """The row of this instruction set."""
    return row(isa().name)
