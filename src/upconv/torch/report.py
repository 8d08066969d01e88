"""What `accelerate` did to a model and, if it was given an example, what that gains: values, and a table to print."""

from dataclasses import dataclass, field

HEAD = ("layer", "input", "computed by", "predicted", "torch", "now", "gain")


@dataclass(frozen=True, slots=True)
class Timing:
    """One layer on one shape of the example; seconds are medians of calls in turns.

    Attributes:
        input_shape, weight_shape, output_shape: of the call.
        calls: how often the example came by with this shape.
        plan: the `upconv.Plan`, or None where upconv may not compute at all.
        is_ours: whether upconv computes it.
        why: if not, the reasons as sentences.
        predicted: seconds that the plan predicts on one thread, or None.
        before, after: seconds of torch's layer, and of the layer as it is now.
    """

    input_shape: tuple[int, ...]
    weight_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    calls: int
    plan: object
    is_ours: bool
    why: tuple[str, ...]
    predicted: float | None
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Layer:
    """One transposed convolution of the model.

    Attributes:
        names: where it is in the model; several for a shared layer.
        left: why it was left to torch, as a sentence; empty if it is upconv's now.
        frozen: whether it is frozen; `thawed` says why not although that was asked for.
        timings: a Timing for every shape that the example brought.
    """

    names: tuple[str, ...]
    left: str = ""
    frozen: bool = False
    thawed: str = ""
    timings: tuple[Timing, ...] = ()

    @property
    def name(self) -> str:
        return ", ".join(name or "(the model)" for name in self.names)


@dataclass(frozen=True, slots=True)
class Report:
    """What `upconv.torch.accelerate` did; print it.

    Attributes:
        layers: a Layer for every transposed convolution in the model.
        fused: names of the modules of each run that is computed as one layer in evaluation mode.
        before, after: seconds of the whole model on the example, by torch and as it is now; None without an example.
        threads: of torch, while that was measured.
        notes: sentences on the model as a whole.

    >>> import torch
    >>> Report((Layer(("up",)), Layer(("odd",), left="it has three dimensions")))
    upconv.torch.accelerate: 1 of 2 transposed convolutions is upconv's
      odd: left to torch, since it has three dimensions
    """

    layers: tuple[Layer, ...] = ()
    fused: tuple[tuple[str, ...], ...] = ()
    before: float | None = None
    after: float | None = None
    threads: int | None = None
    notes: tuple[str, ...] = field(default=())

    def __repr__(self) -> str:
        return "\n".join([self._first(), *self._table(), *self._layers(), *map("  {}".format, self._ends())])

    def _first(self):
        if not self.layers:
            return "upconv.torch.accelerate: no transposed convolution in this model; nothing was changed"
        taken = sum(not layer.left for layer in self.layers)
        noun = "convolution" if len(self.layers) == 1 else "convolutions"
        verb = "is" if 1 in (taken, len(self.layers)) else "are"
        return f"upconv.torch.accelerate: {taken} of {len(self.layers)} transposed {noun} {verb} upconv's"

    def _table(self):
        rows = [(layer, timing) for layer in self.layers for timing in layer.timings]
        if not rows:
            return []
        cells = [HEAD, *(_row(layer, timing) for layer, timing in rows)]
        widths = [max(len(row[place]) for row in cells) for place in range(len(HEAD))]
        lines = ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
        return [line.rstrip() for line in lines]

    def _layers(self):
        for layer in self.layers:
            if layer.left:
                yield f"  {layer.name}: left to torch, since {layer.left}"
            elif layer.thawed:
                yield f"  {layer.name}: not frozen, since {layer.thawed}"
            for why in dict.fromkeys("; ".join(timing.why) for timing in layer.timings if timing.why):
                yield f"  {layer.name}: computed by torch, since {why}"
            if self.before is not None and not layer.timings and not layer.left:
                yield f"  {layer.name}: the example does not come by"

    def _ends(self):
        yield from self.notes
        frozen = sum(layer.frozen for layer in self.layers)
        if frozen:
            yield f"frozen: {frozen}; to change a parameter, call upconv.torch.restore(model) first"
        if self.fused:
            yield f"in evaluation mode one layer each: {'; '.join(' + '.join(names) for names in self.fused)}"
        if self.before is not None:
            threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
            yield (
                f"the whole model: torch {milliseconds(self.before)}, now {milliseconds(self.after)}, "
                f"{self.before / self.after:.2f} times as fast, on {threads}"
            )


def _row(layer, timing):
    kernels = timing.plan.kernels if timing.is_ours else ()
    by = " ".join(["upconv", timing.plan.algorithm, *kernels[-1:]]) if timing.is_ours else "torch"
    predicted = "" if timing.predicted is None or not timing.is_ours else milliseconds(timing.predicted)
    times = f" ×{timing.calls}" if timing.calls > 1 else ""
    size = "×".join(map(str, timing.input_shape)) + times
    gain = f"{timing.before / timing.after:.2f}×"
    return layer.name, size, by, predicted, milliseconds(timing.before), milliseconds(timing.after), gain


def milliseconds(seconds):
    """Seconds in words.

    >>> milliseconds(0.0123)
    '12.3 ms'
    """
    return f"{1e3 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
