"""Winograd's F(m, r) on the phases: m outputs of r taps by m + r - 1 products, all phases from the same tiles.

The tiles of the source are spread (a transform on each axis), multiplied with the transformed weight position by
position, and gathered into outputs of all phases. See docs/algorithms/winograd.md for the forms and their errors.

What is not finite would reach the other outputs of its tile too, so the gather marks each block of tiles in which an
output is not finite; then the whole is computed again by `gemm`. The errors of a tile's outputs are those of its
largest one, so in float64, where people want the last digits, it runs when it is asked for by name.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import prod
from typing import ClassVar

from ..geometry import ceil_div
from ..kernels import winograd_gather, winograd_spread
from ..layouts import Operand
from ..phases import has_holes, input_segments
from ..problem import Problem
from ..runtime.kernel import isa
from ..runtime.once import Kept
from ..runtime.program import (
    BIAS,
    COL_X,
    COL_Y,
    FLAGS,
    LINE,
    PANELS,
    ROW_X,
    ROW_Y,
    SHARED,
    SINK,
    SUMS,
    X_BAND,
    Y_BAND,
    Grid,
    M,
    Nest,
    Program,
    Stage,
    V,
    W,
    X,
    Y,
)
from ..schedule import alike
from ..schedule.amounts import far, moved
from ..schedule.placed_problem import PlacedProblem
from ..schedule.winograd import distinct
from ..schedule.winograd_bands import Map
from ..schedule.winograd_blocks import Run
from ..schedule.winograd_layer import Bases, Layer
from ..schedule.winograd_setting import BLOCK_BYTES, of_group, setting, sizes, tiles_of_usual
from ..winograd_parts import ways_alone

OPERATIONS = ("forward", "grad_input")
FALLBACK = "gemm"
# Whether maps of halves are converted band by band.
CONVERTS_MAPS = True
BASES = Bases(x=X, y=Y, w=W, bias=BIAS, u=PANELS, aux=FLAGS, v=V, m=M, taps=SINK, x_band=X_BAND, y_band=Y_BAND)
# What all threads share where each has a piece of the transformed weight: all tiles, spread.
SHARED_MAKING = FLAGS, SUMS, V
# Sums of fewer channels are short beside the transforms, in time and, forward, in error: there plain sums are exact.
LEAST_CHANNELS = {"forward": 32, "grad_input": 16}
# Phases of the gradient in the input, of each of which a program has a row in its tables.
MOST_PHASES = 64
LEAST_TILES = 9
# Rows, and columns, of which those at the border, which have fewer products, are not most.
LEAST_LOW = 4
# The same of every remainder of a dilation: there plain sums are the more exact.
LEAST_DILATED = 12
# Numbers of a source of fewer channels than these, up to which plain sums under kernel 3, stride 1 are shorter.
SMALL_SOURCE, SMALL_CHANNELS = 20480, 128


def why_never(problem: Problem) -> list[str]:
    g, refusals = problem.geometry, []
    if problem.row.kind == "i":
        refusals.append("its transforms have fractions, which integers have not")
    forward = problem.operation == "forward"
    for name, axis in zip(("height", "width"), (g.h, g.w), strict=True):
        if not ways_alone(axis, forward):
            refusals.append(f"has no form for kernel {axis.k}, stride {axis.s}, dilation {axis.d} along the {name}")
    if not refusals and all(axis.k <= axis.s or axis.k == 1 for axis in (g.h, g.w)):
        refusals.append("with one tap there is nothing to save")
    least = LEAST_CHANNELS[problem.operation]
    if problem.channels[0] < least:
        refusals.append(f"sums of {problem.channels[0]} channels are too short; {least} are needed")
    if not forward and g.h.s * g.w.s > MOST_PHASES:
        refusals.append(f"the gradient's {g.h.s * g.w.s:,} phases would be too many to list; at most {MOST_PHASES} are")
    return refusals


def why_not(problem: Problem) -> list[str]:
    g, refusals = problem.geometry, []
    for name, axis in (("height", g.h), ("width", g.w)):
        if _has_bare(axis, problem.operation):
            refusals.append(f"would leave rounding errors where no tap reaches along the {name}")
    tiles = 0 if refusals else tiles_of_usual(problem)
    if not refusals and tiles < LEAST_TILES:
        refusals.append(f"a map of {tiles} tiles is too small; {LEAST_TILES} are needed")
    return refusals


def _has_bare(axis, operation):
    """Whether some results have no taps: they are the bias exactly, and a tile's results share their errors."""
    if operation == "forward":
        return has_holes(axis)
    if axis.d > 1:
        return not all(segment.taps for segment in input_segments(axis))
    return max(axis.crop_lo, axis.crop_hi) >= axis.k


def why_not_automatic(problem: Problem) -> list[str]:
    if problem.dtype != "float32":
        return ["an output's error is that of the largest of its tile, so float64 runs when it is asked for by name"]
    # One phase alone is where plain sums are the most exact, and the errors of two axes multiply.
    h, w = problem.geometry.h, problem.geometry.w
    kinds = (h.k, h.s), (w.k, w.s)
    if {(1, 1), (2, 1)}.issuperset(kinds):
        return ["plain sums of kernel 2, stride 1 are up to twice as exact"]
    if kinds == ((3, 1), (3, 1)):
        is_dilated = max(h.d, w.d) > 1
        least = LEAST_DILATED if is_dilated else LEAST_LOW
        if min(h.n // h.d, w.n // w.d) < least:
            each = " of each remainder of the dilation" if is_dilated else ""
            return [f"plain sums of kernel 3, stride 1 are up to twice as exact on fewer than {least} rows{each}"]
    numbers, is_square = prod(problem.geometry.input_shape), min(h.k, w.k) > 1
    is_small = problem.channels[0] < SMALL_CHANNELS and numbers <= SMALL_SOURCE
    if problem.operation == "forward" and (3, 1) in kinds and is_square and is_small:
        return [f"plain sums of kernel 3, stride 1 are up to twice as exact from a source of {numbers:,} numbers"]
    return []


def _through(each):
    """Values that go through the transforms."""
    tiles = each.n * each.h.tiles * each.w.tiles
    return tiles * each.positions * (each.source_channels + each.phases * each.c_dst)


def _blocks(each):
    """Blocks of tiles."""
    return prod(map(ceil_div, (each.n, each.h.tiles, each.w.tiles), each.tiles))


@dataclass(frozen=True, slots=True)
class Transformed:
    """The form of a transformed weight: all that its bytes depend on, beside the weight; `group` are those of one."""

    elem: str
    is_forward: bool
    groups: int
    channels: tuple[int, int]
    kernel: tuple[int, int]
    chunk: int
    block: int
    axes: tuple
    group: int
    # Its numbers are not those of the weight.
    is_computed: ClassVar[bool] = True

    @property
    def nbytes(self) -> int:
        """Bytes of all groups."""
        return self.groups * self.group

    def __str__(self):
        return "transformed for Winograd's tiles"

    def packing(self, placed: PlacedProblem) -> Stage:
        """The stage that transforms the weight, a unit for some channels of the source and a block of the result."""
        return _packing(placed, self, _layer(placed))

    def scratch(self, placed: PlacedProblem) -> dict[int, int]:
        """Bytes by base that packing needs: some taps turned, and the flag of a weight that is not finite."""
        return {SINK: _layer(placed).bytes["taps"] + LINE, FLAGS: 64}


# Stages that transform a weight depend on no size of a map.
_stages = Kept(64)


def _packing(placed, form, layer):
    of = form, placed.w, layer.sizes[0].turned
    return _stages.get_or_make(of, lambda: _packing_of(placed, form, layer))


def _packing_of(placed, form, layer):
    # One dimension is that of the groups, where there are several.
    made, is_one = [], form.groups == 1
    group = {} if is_one else {W: placed.w_group, PANELS: form.group}
    for nests, counts, steps in alike.runs([[*map(nest, tasks)] for tasks in layer.weight_tasks()], 2 + is_one):
        if not is_one:
            counts = form.groups, *counts
            steps = {base: (group.get(base, 0), *steps.get(base, (0, 0))) for base in group | steps}
        made.append(Grid(nests, counts, steps))
    return Stage(made, kept={})


# Of layers.
_forms = Kept(256)


@lru_cache(maxsize=512)
def weight_form(problem: Problem) -> Transformed:
    # Who keeps a form asks for that of a problem with `prepared` set: as given, a block may have other channels.
    chosen, (h, w) = setting(problem), sizes(problem)[0].cuts
    of = problem.layer, h.weights, w.weights, chosen.channels, chosen.chunk
    return _forms.get_or_make(of, lambda: _weight_form(problem))


def _weight_form(problem):
    g, chosen, made = problem.geometry, setting(problem), distinct(sizes(problem))
    axes = tuple(
        (part.form.m, part.form.size, part.phases, part.tap, part.tap_step, len(part.sources))
        for each in made
        for part in (each.h, each.w)
    )
    forward, group = problem.operation == "forward", sum(each.u_bytes for each in made)
    sizes_ = problem.channels, (g.h.k, g.w.k), chosen.chunk, chosen.channels
    return Transformed(made[0].elem, forward, g.groups, *sizes_, axes, group)


def work(problem: Problem) -> dict[str, float]:
    made, lanes, groups = sizes(problem), isa().lanes(problem.itemsize), problem.geometry.groups
    # All parts but the first that have the same results read them to add to them.
    added = (len(made) // len({(each.h.start, each.w.start) for each in made}) - 1) * prod(problem.result_shape)
    amounts, u_bytes = moved(problem, channels_last=True, packs=False), weight_form(problem).nbytes
    made_near = not problem.prepared and _makes(problem)
    # Every block of tiles reads all of it; what is made piece by piece is near when it is read.
    amounts["panels"] = 0 if made_near else far(u_bytes) * groups * sum(each.u_bytes * _blocks(each) for each in made)
    return amounts | {
        "winograd": groups * sum(each.multiplications for each in made) / lanes,
        "winograd_moved": (groups * sum(map(_through, made)) + added) * problem.itemsize,
        "winograd_weight": 0 if problem.prepared or made_near else u_bytes,
        "winograd_weight_near": u_bytes if made_near else 0,
        "tasks": groups * sum(_blocks(each) * (2 * len(each.blocks) + len(each.sources)) for each in made),
    }


def program(placed: PlacedProblem) -> Program:
    """The transform of the weight, unless it comes prepared, and the blocks of tiles."""
    form, makes = weight_form(placed.problem), placed.packs and _makes(placed.problem)
    layer = _layer(placed, makes)
    if makes:
        stages = _making(placed, form, layer)
    else:
        stages = [Stage([grid for group in range(placed.g.groups) for grid in _grids(placed, layer, form, group)])]
        if placed.packs:
            stages = [_packing(placed, form, layer), *stages]
    need = layer.bytes
    zeros = placed.c_src * placed.size + LINE
    scratch = {
        SUMS: zeros,
        V: need["v"],
        M: need["m"],
        FLAGS: need["aux"] + 64,
        X_BAND: need["x_band"],
        Y_BAND: need["y_band"] + 64,
    }
    if placed.packs:
        scratch |= {PANELS: need["u"] if makes else form.nbytes, SINK: need["taps"] + LINE}
    return Program(stages, scratch, placed.seconds, SHARED_MAKING if makes else SHARED)


def _makes(problem):
    """Whether the weight is transformed block by block, each just before all tiles meet it: of a large one for one
    block of tiles, since it would be written far away and read from there once.
    """
    found, form = sizes(problem), weight_form(problem)
    is_once = len(form.axes) == 2 * len(found)
    if not is_once or form.group <= BLOCK_BYTES or form.groups > 1 or max(map(_blocks, found)) > 1:
        return False
    # The tiles of all parts are there at once, and are not to be more than the weight would be.
    return sum(each.v_bytes + each.m_bytes for each in found) <= form.group


def _layer(placed, makes=False):
    x, y = _map(placed.x, placed), _map(placed.y, placed)
    problem, forward = placed.problem, placed.forward
    of = problem.activation, placed.halves, sizes(problem)
    threads = placed.threads if placed.share > 1 else 1
    return Layer(of_group(placed.g), setting(problem), placed.elem, x, y, placed.w, BASES, forward, *of, makes, threads)


def _map(operand: Operand, placed):
    return Map(*operand.strides, pixels=operand.channels_last and not placed.halves)


def _image_runs(layer):
    """Runs of blocks of images: all but the last have as many."""
    blocks = layer.blocks[0]
    whole = len(blocks) - (blocks[-1][1] < blocks[0][1])
    return [Run(0, whole), *([Run(whole, 1)] if whole < len(blocks) else [])]


def _grids(placed, layer, form, group) -> Iterator[Grid]:
    """The blocks of tiles of a group."""
    first = {
        X: placed.c_src * placed.x.c,
        Y: placed.c_dst * placed.y.c,
        BIAS: placed.c_dst * placed.size,
        PANELS: form.group,
    }
    starts = {base: group * step for base, step in first.items()} if group else {}
    part = layer.sizes[0]
    source, m = (part.h.sources[0].step, part.w.sources[0].step), (part.h.form.m, part.w.form.m)
    result = part.h.step * m[0], part.w.step * m[1]
    counts, images = [*map(len, layer.blocks)], layer.blocks[0][0][1]
    made = {}
    shares = layer.shares(placed.threads if placed.share > 1 else 1, prod(counts) * placed.g.groups)
    is_in_place = layer.x.pixels and layer.y.pixels
    runs = [cut.in_place if is_in_place else cut.runs for cut in layer.cuts]
    for n, h, w in product(_image_runs(layer), *runs):
        # A unit that is alone goes nowhere.
        steps, down, across = {}, h.tiles * m[0], w.tiles * m[1]
        if max(n.count, h.count, w.count) > 1:
            steps = {
                X: (images * placed.x.n, down * source[0] * placed.x.h, across * source[1] * placed.x.w),
                Y: (images * placed.y.n, h.tiles * result[0] * placed.y.h, w.tiles * result[1] * placed.y.w),
                FLAGS: (8 * counts[1] * counts[2], 8 * counts[2], 8),
                ROW_X: (0, down, 0),
                COL_X: (0, 0, across),
                ROW_Y: (0, h.tiles * result[0], 0),
                COL_Y: (0, 0, w.tiles * result[1]),
            }
        for share in shares:
            nests = _nests(layer.unit((n.first, h.first, w.first), share), made, starts)
            yield Grid(nests, (n.count, h.count, w.count), steps)


# What makes a weight in the call, some hundred kilobytes of a large one.
_steps = Kept(16)


def _making(placed, form, layer):
    """All tiles are spread; then some channels of the weight after others are made, and used for all of them."""
    made = {}

    def keep(of, make):
        return _steps.get_or_make((form, placed.w, *of), lambda: _as_nests(make()))

    spread = [Grid(_nests(unit, made)) for unit in layer.spread_units()]
    threads, grids = placed.threads if placed.share > 1 else 1, []
    for count, unit, steps in layer.made_units(threads, keep):
        grids.append(Grid(_nests(unit, made), (count, 1, 1), {base: (step, 0, 0) for base, step in steps.items()}))
    return [Stage(spread), Stage(grids)]


def _as_nests(steps):
    """The steps in which a weight is made, with nests as tasks."""
    made = {}
    return [
        (_nests(turning, made), [[(_nests(tasks, made), part) for tasks, part in chunks] for chunks in making])
        for turning, making in steps
    ]


def _nests(tasks, made, starts=None):
    """The nests of a `Layer.unit`; `made` has what others of the program have in common, by identity, and holds it."""
    found = []
    for task in tasks:
        if type(task) is Nest:
            found.append(task)
            continue
        common, *added = task
        known = made.get(id(common))
        if known is None:
            shared = common["fields"], _indexed(common, starts), common.get("lists", ())
            known = made[id(common)] = *shared, common
        fields, indexed, lists, _ = known
        found.append(Nest(fields, indexed, lists, added))
    return found


def nest(task) -> Nest:
    """A task of `schedule.winograd` as a nest of that alone."""
    return Nest(task["fields"], task, task.get("lists", ()))


def _indexed(common, starts):
    """What tasks share, with indices of rows and columns that move with the unit, from where each base starts."""
    fields = common["fields"]
    if fields is winograd_spread.FIELDS:
        # The flags move with the unit, and zeros must not.
        common = common | {"row": (ROW_X, 0), "col": (COL_X, 0), "zeros": (SUMS, 0)}
    elif fields is winograd_gather.FIELDS:
        common = common | {"row": (ROW_Y, common["row"]), "col": (COL_Y, common["col"])}
    if not starts:
        return common
    # Fields and lists are tuples as well, but not of a base and an offset.
    moved = {
        name: (value[0], value[1] + starts[value[0]])
        for name, value in common.items()
        if type(value) is tuple and name not in ("fields", "lists") and value[0] in starts
    }
    return common | moved
