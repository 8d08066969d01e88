"""Weights that are large beside the map, tap by tap: each live tap is read once, in one stream, for all pixels.

A tap sends every input to one output at most, so it is a product of pixels by channels that is added to a rectangle of
the result, and no other tap needs that part of the weight. The sums of a block of channels stay in the cache while its
taps pass by; each block is a unit of its own for the threads, with a stream of its own. Taps that send nothing into the
result are not read. A weight as it lies is packed in the call, some channels of the source at a time, each part just
before it is used, so that it is still near.
"""

import math
from dataclasses import replace

from ..geometry import ceil_div
from ..kernels import depthwise_channels
from ..kernels import tap_streaming as kernel
from ..layouts import Operand
from ..problem import Problem
from ..runtime.kernel import entry, isa
from ..runtime.program import BIAS, PANELS, PLACES, TOTALS, X_BAND, Y_BAND, Grid, M, Nest, Program, Rows, Stage, W, Y
from ..schedule import pixel_products
from ..schedule.amounts import NEAR_BYTES, in_pieces, moved
from ..schedule.moves import PlacedOperand, copied, copying, transpose_layout
from ..schedule.panels import Panels, even_blocks, runs_of
from ..schedule.placed_problem import PlacedProblem
from ..schedule.segments import tap_places
from ..schedule.streams import Streams

OPERATIONS = ("forward",)
# Whether its kernels take the weight in halves.
READS_HALVES = True
# Pixels and vectors of the tile, by the number of vector registers.
TILES = {32: (6, 4), 16: (4, 3)}
# The sums of a block must stay in the cache while its weight passes by.
MOST_SUMS_BYTES, MOST_PIXELS = 1 << 20, 1 << 12
# Sums of a result that are added one after another.
MOST_SUMS = 1024
# A part of a weight that is packed in the call is to stay in the second-level cache beside what is read; whole chunks
# of the kernel.
PART_BYTES = NEAR_BYTES // 4
# What it takes to fill a vector of sums with the bias, of what it takes to copy it to the result as well; where they
# are transposed on the way there, that is counted by itself.
FILLED = 0.5
# The table has a row for each tap of an axis.
MOST_TAPS = 1 << 10


def why_never(problem: Problem) -> list[str]:
    g = problem.geometry
    if max(g.h.k, g.w.k) > MOST_TAPS:
        return [f"a kernel of {g.h.k}x{g.w.k} has too many taps to list; at most {MOST_TAPS} an axis are"]
    return []


def why_not(problem: Problem) -> list[str]:
    g, refusals = problem.geometry, []
    sums, pixels = _sums_bytes(problem), g.n * g.h.n * g.w.n
    if sums > MOST_SUMS_BYTES:
        refusals.append(f"the sums of a block of channels are {sums >> 20} MiB; at most 1 MiB stays near")
    if pixels > MOST_PIXELS:
        refusals.append(f"{pixels} pixels are too many to list for each tap; at most {MOST_PIXELS} are listed")
    return refusals


def why_not_automatic(problem: Problem) -> list[str]:
    g, c = problem.geometry, problem.channels[0]
    sums = math.prod(ceil_div(axis.k * axis.g, axis.s) for axis in (g.h, g.w)) * ceil_div(c, kernel.chunk_of(c))
    if sums > MOST_SUMS:
        return [f"adds {sums} sums in one chain, which rounds too often; at most {MOST_SUMS} are added"]
    return []


def adds_by_parts(problem: Problem) -> bool:
    """Whether sums have all taps of some channels first, as parts are packed, and not all channels of a tap."""
    if problem.prepared:
        return False
    form = weight_form(problem)
    streams = (form.stream(number) for number in range(len(form.blocks)))
    return any(part(stream).c_src < stream.c_src for stream in streams)


def weight_form(problem: Problem) -> Streams:
    g, (c_src, c_dst), size = problem.geometry, problem.channels, problem.itemsize
    blocks = even_blocks(c_dst, isa().lanes(size), TILES[isa().registers][1])
    return Streams(problem.row.element, size, g.groups, c_src, c_dst, g.h.k, g.w.k, blocks)


def work(problem: Problem) -> dict[str, float]:
    g, (c_src, c_dst), lanes = problem.geometry, problem.channels, isa().lanes(problem.itemsize)
    rows, cols = tap_places(g.h), tap_places(g.w)
    pixels = g.n * sum(place.count for place in rows) * sum(place.count for place in cols)
    blocks = ceil_div(ceil_div(c_dst, lanes), TILES[isa().registers][1]) * g.groups
    vectors, source = ceil_div(c_dst, lanes) * g.groups, math.prod(g.input_shape) * problem.itemsize
    amounts = moved(problem, channels_last=True, packs=True, whole=False)
    channels_last = problem.layout.startswith("nhwc")
    return {
        "tap_streaming": pixels * vectors * c_src,
        "tap_streaming_loads": pixels * blocks * c_src,
        "tap_streaming_sums": pixels * ceil_div(c_src, kernel.chunk_of(c_src)) * vectors,
        "tap_streaming_places": pixels * blocks,
        "tap_streaming_written": g.n * g.h.out * g.w.out * vectors * (1 if channels_last else FILLED),
        "widened": g.live_weights if problem.storage and problem.prepared else 0,
        # A source that does not stay in the cache comes again with every tap of every block.
        "streamed": pixels * blocks * c_src * problem.itemsize if source > NEAR_BYTES else 0,
        "tasks": len(rows) * len(cols) * blocks,
        "pieces": in_pieces(problem, blocks),
        **amounts,
        "packed": 0,
        "packed_parts": amounts["packed"],
    }


def program(placed: PlacedProblem) -> Program:
    """The input channels-last, then a unit for each group and block of channels."""
    form, before, x = weight_form(placed.problem), [], placed.source
    scratch = {}
    if not x.at.channels_last:
        x = PlacedOperand(X_BAND, 0, Operand.dense(placed.g.input_shape, placed.size, channels_last=True))
        before = [Stage([Grid((transpose_layout(placed.elem, placed.source, x, placed.g.input_shape),))])]
        scratch[X_BAND] = placed.g.n * placed.g.h.n * placed.g.w.n * placed.g.c_in * placed.size
    units = []
    for group in range(placed.g.groups):
        for number, many in runs_of(form.blocks):
            block = _Block(placed, form, group, number, x.move(channel=group * placed.c_src))
            steps = {Y: (0, 0, block.columns * placed.y.c), BIAS: (0, 0, block.columns * placed.size)}
            steps |= (
                {W: (0, 0, block.columns * placed.w_dst)}
                if placed.packs
                else {PANELS: (0, 0, placed.stored(block.stream.nbytes))}
            )
            products = (
                block.packed_parts() if placed.packs else [block.products(block.stream, placed.stored(block.panel))]
            )
            nests = (block.begin(), *products, *block.finish())
            units.append(Grid(nests, (1, 1, many), steps))
    pixels, outputs = placed.g.n * placed.g.h.n * placed.g.w.n, placed.g.n * placed.g.h.out * placed.g.w.out
    width = max(block.width for block in form.blocks)
    scratch |= {PLACES: 16 * (pixels + 1), M: outputs * width * placed.size}
    if placed.problem.activation.name != "none":
        scratch[Y_BAND] = outputs * width * placed.size
    if placed.storage and not placed.packs:
        scratch[TOTALS] = kernel.CHUNK * width * placed.size
    if placed.packs:
        scratch[PANELS] = max(part(form.stream(number)).nbytes for number, _ in runs_of(form.blocks))
    return Program([*before, Stage(units)], scratch, placed.seconds, shared=(X_BAND,))


def _sums_bytes(problem):
    g, lanes = problem.geometry, isa().lanes(problem.itemsize)
    wide = min(TILES[isa().registers][1], ceil_div(problem.channels[1], lanes))
    return g.n * g.h.out * g.w.out * wide * isa().vector_bytes


def part(stream: Panels) -> Panels:
    """The channels of the source that are packed at a time, of a stream as it lies in a weight."""
    channels = PART_BYTES // (stream.nbytes // stream.c_src) // kernel.CHUNK * kernel.CHUNK
    return replace(stream, c_src=min(stream.c_src, max(kernel.CHUNK, channels)))


class _Block:
    """The nests of one block of channels of a group; what is moved for blocks that are alike is not said here."""

    def __init__(self, placed, form, group, number, x):
        block = form.blocks[number]
        self.placed, self.x = placed, x
        self.stream, self.columns, self.width = form.stream(number), block.columns, block.width
        self.first = group * placed.c_dst + block.first
        self.weight = group * placed.w_group + block.first * placed.w_dst
        self.panel = group * form.group + form.block(number)
        g = placed.g
        self.shape = g.n, self.width, g.h.out, g.w.out
        self.sums = PlacedOperand(M, 0, Operand.dense(self.shape, placed.size, channels_last=True))

    def begin(self):
        """Every sum begins with its bias."""
        pixels, size = self.shape[0] * self.shape[2] * self.shape[3], self.placed.size
        bias, n = (BIAS, self.first * size), (pixels, 0, self.width * size)
        return copying(self.placed.elem, bias, (M, 0), self.columns, n=n, pad=self.width)

    def packed_parts(self):
        """The weight of the block as it lies: some channels of the source are packed, and used at once."""
        placed, most = self.placed, part(self.stream).c_src
        for first in range(0, placed.c_src, most):
            stream = replace(self.stream, c_src=min(most, placed.c_src - first))
            yield stream.fill(placed, 0, self.weight + first * placed.w_src, 0)
            yield self.products(stream, 0, first, near=True)

    def products(self, stream, panel, first=0, *, near=False):
        """A task for each live tap of a stream, which has the channels of the source from `first` on."""
        placed, g, x, sums = self.placed, self.placed.g, self.x.move(channel=first), self.sums
        tile = TILES[isa().registers][0], self.width // placed.lanes
        # Halves that are packed in the call become float32 there.
        storage = () if placed.packs_halves else placed.storage
        kind = ("", near) if near else storage
        fields = {
            "entry": entry(kernel.tap_streaming, placed.elem, *tile, *kind),
            "x": (x.base, x.offset),
            "y": (sums.base, 0),
            "w": (PANELS, panel),
            "c": stream.c_src,
            "chunk": kernel.chunk_of(placed.c_src),
            "n": g.n,
            "x_n": x.at.n,
            "x_row": x.at.h,
            "x_col": x.at.w,
            "y_n": sums.at.n,
            "y_row": g.h.s * sums.at.h,
            "y_col": g.w.s * sums.at.w,
            "places": (PLACES, 0),
            "wide": (TOTALS, 0),
            "next": (PANELS, panel),
        }
        rows, cols = tap_places(g.h), tap_places(g.w)
        # Behind the last tap of a row comes the first of the next.
        row, tap = placed.stored(stream.row), placed.stored(stream.tap)
        at = [place.tap * tap for place in cols]
        lists = (
            _taps("rows", rows, x.at.h, sums.at.h, row, [place.tap * row for place in rows]),
            _taps("cols", cols, x.at.w, sums.at.w, tap, [*at[1:], *(row + first for first in at[:1])]),
        )
        return Nest(kernel.FIELDS, fields, lists)

    def finish(self):
        """The activation, and what the layout wants."""
        placed, y, sums = self.placed, PlacedOperand(Y, self.first * self.placed.y.c, self.placed.y), self.sums
        shape = self.shape[0], self.columns, *self.shape[2:]
        if placed.problem.activation.name != "none":
            if y.at.channels_last:
                yield self._activated(y)
                return
            sums = PlacedOperand(Y_BAND, 0, sums.at)
            yield self._activated(sums)
        move = copied if y.at.channels_last else transpose_layout
        yield move(placed.elem, sums, y, shape)

    def _activated(self, y):
        """Every sum as the one tap, with a weight of one and no bias, of a depthwise layer."""
        placed, sums, g = self.placed, self.sums, self.placed.g
        height, name = depthwise_channels.HEIGHT[isa().registers], placed.problem.activation.name
        fields = pixel_products.common(placed) | {
            "entry": entry(depthwise_channels.depthwise_channels, placed.elem, height, name),
            "x": (sums.base, 0),
            "y": (y.base, y.offset),
            "w": pixel_products.ones(placed.problem.dtype),
            "bias": pixel_products.zeros(placed.problem.dtype),
            "n_h": 1,
            "n_w": 1,
            "n": g.n,
            "rows": g.h.out,
            "cols": g.w.out,
            "x_n": sums.at.n,
            "x_row": sums.at.h,
            "x_col": sums.at.w,
            "y_n": y.at.n,
            "y_row": y.at.h,
            "y_col": y.at.w,
            "columns": self.columns,
        }
        return Nest(depthwise_channels.FIELDS, fields)


def _taps(count, found, x_step, y_step, w_step, following):
    """The list of an axis: what each tap adds to the pointers, how many inputs it takes, and what is read after it."""
    values = [
        (place.source * x_step, place.start * y_step, place.tap * w_step, place.count, then)
        for place, then in zip(found, following, strict=True)
    ]
    return Rows(("x", "y", "w", count, "next"), values)
