"""What `accelerate` did to a model and, if it was given an example, what that gains: values, and a table to print."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import quantiles

from ..plans import Plan
from ..table import aligned
from .choice import Decision

HEAD = ("layer", "input", "computed by", "predicted", "torch", "now", "gain")
# Above these a machine was too busy for its times to be believed.
MUCH_STOLEN, MUCH_SPREAD = 0.1, 0.15


@dataclass(frozen=True, slots=True)
class Times:
    """Several measurements of one thing: the median in seconds, and their spread.

    Attributes:
        median: seconds.
        spread: half of the distance between the quartiles, relative to the median.
    """

    median: float
    spread: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Times":
        """From a list of at least two measurements."""
        low, middle, high = quantiles(seconds, n=4, method="inclusive")
        return cls(middle, (high - low) / 2 / middle)

    def __repr__(self) -> str:
        return f"{milliseconds(self.median)} ±{100 * self.spread:.0f}%"


@dataclass(frozen=True, slots=True)
class Timing:
    """One layer on one shape of the example, in calls in turns.

    Attributes:
        input_shape, weight_shape, output_shape: of the call.
        calls: how often the example came by with this shape.
        decision: the `choice.Decision` that holds for this layer and shape from now on.
        torch, now: `Times` of torch's layer, and of the layer as it is now.
    """

    input_shape: tuple[int, ...]
    weight_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    calls: int
    decision: Decision
    torch: Times
    now: Times

    @property
    def plan(self) -> Plan | None:
        """The `upconv.Plan`, or None where upconv may not compute at all."""
        return self.decision.plan

    @property
    def is_ours(self) -> bool:
        """Whether upconv computes it."""
        return self.decision.is_ours

    @property
    def why(self) -> tuple[str, ...]:
        """Sentences: why torch computes, or what was measured."""
        return self.decision.why

    @property
    def predicted(self) -> float | None:
        """Seconds that the plan predicts on one thread, or None."""
        if self.plan is None:
            return None
        return next(c.seconds for c in self.plan.candidates if c.name == self.plan.algorithm)

    @property
    def before(self) -> float:
        """Seconds of torch's layer."""
        return self.torch.median

    @property
    def after(self) -> float:
        """Seconds of the layer as it is now."""
        return self.now.median


@dataclass(frozen=True, slots=True)
class Layer:
    """One transposed convolution of the model.

    Attributes:
        names: where it is in the model; several for a shared layer.
        left: why it was left to torch, as a sentence; empty if upconv's forward is on it.
        expected: whether upconv will compute any size of input, as far as can be said before a call.
        outlook: which sizes torch will compute and why, as a sentence; empty if none.
        frozen: whether it is frozen; `thawed` says why not although that was asked for.
        timings: a Timing for every shape that the example brought.
    """

    names: tuple[str, ...]
    left: str = ""
    expected: bool = True
    outlook: str = ""
    frozen: bool = False
    thawed: str = ""
    timings: tuple[Timing, ...] = ()

    @property
    def name(self) -> str:
        return ", ".join(name or "(the model)" for name in self.names)

    @property
    def is_ours(self) -> bool:
        """Whether upconv computes it: on the example if that came by, else as far as can be said before a call."""
        if self.left:
            return False
        return any(timing.is_ours for timing in self.timings) if self.timings else self.expected


@dataclass(frozen=True, slots=True)
class Report:
    """What `upconv.torch.accelerate` did; print it.

    Attributes:
        layers: a Layer for every transposed convolution in the model.
        fused: names of the modules of each run that is computed as one layer in evaluation mode.
        unfused: (names, why) of what was to be fused and is not.
        torch, now: `Times` of the whole model on the example, by torch and as it is now; None without an example.
        stolen: share of the time of measuring that other programs had, from 0 to 1.
        threads: of torch, while that was measured.
        notes: sentences on the model as a whole.

    >>> Report((Layer(("up",)), Layer(("odd",), left="its forward has been replaced on the layer itself")))
    upconv.torch.accelerate: 1 of 2 transposed convolutions is upconv's
      odd: left to torch, since its forward has been replaced on the layer itself
    """

    layers: tuple[Layer, ...] = ()
    fused: tuple[tuple[str, ...], ...] = ()
    unfused: tuple[tuple[tuple[str, ...], str], ...] = ()
    torch: Times | None = None
    now: Times | None = None
    stolen: float = 0.0
    threads: int | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def before(self) -> float | None:
        """Seconds of the whole model by torch, or None without an example."""
        return None if self.torch is None else self.torch.median

    @property
    def after(self) -> float | None:
        """Seconds of the whole model as it is now, or None without an example."""
        return None if self.now is None else self.now.median

    @property
    def busy(self) -> str:
        """Why the times are not to be believed, as a sentence; empty where they are."""
        if self.torch is None:
            return ""
        spread = max(self.torch.spread, self.now.spread)
        if self.stolen <= MUCH_STOLEN and spread <= MUCH_SPREAD:
            return ""
        return (
            f"the machine was busy while this was measured (other work had {100 * self.stolen:.0f}% of the time, times "
            f"vary by ±{100 * spread:.0f}%): call accelerate again when it is idle, since what was measured decides"
        )

    def __repr__(self) -> str:
        return "\n".join([self._first(), *self._table(), *self._layers(), *map("  {}".format, self._ends())])

    def _first(self):
        if not self.layers:
            return "upconv.torch.accelerate: no transposed convolution in this model; nothing was changed"
        taken = sum(layer.is_ours for layer in self.layers)
        noun = "convolution" if len(self.layers) == 1 else "convolutions"
        verb = "is" if 1 in (taken, len(self.layers)) else "are"
        return f"upconv.torch.accelerate: {taken} of {len(self.layers)} transposed {noun} {verb} upconv's"

    def _table(self):
        rows = [(layer, timing) for layer in self.layers for timing in layer.timings]
        if not rows:
            return []
        return aligned([HEAD, *(_row(layer, timing) for layer, timing in rows)])

    def _layers(self):
        for layer in self.layers:
            if layer.left:
                yield f"  {layer.name}: left to torch, since {layer.left}"
            elif layer.thawed:
                yield f"  {layer.name}: not frozen, since {layer.thawed}"
            if layer.outlook and not layer.left and not layer.timings:
                yield f"  {layer.name}: {layer.outlook}"
            for timing in layer.timings:
                if timing.why:
                    by = "upconv" if timing.is_ours else "torch"
                    size = "×".join(map(str, timing.input_shape))
                    yield f"  {layer.name}: {size} computed by {by}, since {'; '.join(timing.why)}"
            if self.torch is not None and not layer.timings and not layer.left:
                yield f"  {layer.name}: the example does not come by"

    def _ends(self):
        yield from self.notes
        frozen = sum(layer.frozen for layer in self.layers)
        if frozen:
            yield f"frozen: {frozen}; to change a parameter, call upconv.torch.restore(model) first"
        if self.fused:
            yield f"in evaluation mode one layer each: {'; '.join(' + '.join(names) for names in self.fused)}"
        reasons = {}
        for names, why in self.unfused:
            reasons.setdefault(why, []).append(" + ".join(name or "(the model)" for name in names))
        yield from (f"not fused: {'; '.join(names)}, since {why}" for why, names in reasons.items())
        if self.torch is not None:
            threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
            yield (
                f"the whole model: torch {self.torch}, now {self.now}, "
                f"{self.before / self.after:.2f} times as fast, on {threads}"
            )
        if self.busy:
            yield self.busy


def _row(layer, timing):
    kernels = timing.plan.kernels if timing.is_ours else ()
    by = " ".join(["upconv", timing.plan.algorithm, *kernels[-1:]]) if timing.is_ours else "torch"
    predicted = "" if timing.predicted is None or not timing.is_ours else milliseconds(timing.predicted)
    times = f" ×{timing.calls}" if timing.calls > 1 else ""
    size = "×".join(map(str, timing.input_shape)) + times
    gain = f"{timing.before / timing.after:.2f}×"
    return layer.name, size, by, predicted, repr(timing.torch), repr(timing.now), gain


def milliseconds(seconds):
    """Seconds in words.

    >>> milliseconds(0.0123)
    '12.3 ms'
    """
    return f"{1e3 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
