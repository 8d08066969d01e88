"""As `col2im_channels`, with pixels along the vector: for maps that lie channels-first, and few channels or k <= s.

Nothing is transposed. A strip of pixels of all channels is copied into the first-level cache, so that it comes from
memory once for all taps. The products of a band stay in the second-level cache until they are added up. The phases of a
row are interleaved in registers.
"""

from math import prod

from ..geometry import ceil_div
from ..kernels import col2im_rows as fold
from ..kernels import strip_product
from ..layouts import CHANNELS_FIRST, Operand
from ..problem import Problem
from ..runtime.kernel import entry, isa
from ..runtime.program import BIAS, LINE, PANELS, TOTALS, M, Nest, Program, Stage, V
from ..schedule import bands, by_group, pixel_products, segments
from ..schedule.amounts import FIRST_BYTES, NEAR_BYTES, exchanged, far, moved
from ..schedule.moves import PlacedOperand
from ..schedule.panels import Block, Panels
from ..schedule.placed_problem import PlacedProblem
from ..schedule.rows import HOLE_RUNS, as_rows, everything, masked_part, row_list, rows_of

OPERATIONS = ("forward",)
# Rows of the weight and vectors of pixels in a tile, by the number of vector registers.
TILES = {32: {6: 4, 7: 3, 8: 3, 9: 2, 10: 2, 11: 2, 12: 2}, 16: {4: 3, 5: 2, 6: 2}}
# Calls that it takes as long as from Python: the bias is spread over the taps there.
CALLS = 1.2
# Blocks of them are listed where the weight is packed.
MOST_ROWS = 2048
# More taps of a row are loops.
WRITTEN_TAPS = 16
# Vectors that could be added while one of more than so many phases is brought together with the others.
INTERLEAVING, INTERLEAVED_WELL = 2, 4
MOST_INTERLEAVED = max(fold.PHASES)
INTERLEAVED = f"{', '.join(map(str, fold.PHASES[:-1]))} or {MOST_INTERLEAVED}"
ROWS = ("x", "y", "w", "n_h", "x_h", "w_h", "rows", "x_row", "y_row")
# Whether maps of halves are converted band by band.
CONVERTS_MAPS = True


def why_never(problem: Problem, *, by_columns=False) -> list[str]:
    refusals = by_group.refusals(problem)
    if _rows(problem) > MOST_ROWS:
        refusals.append(f"makes at most {MOST_ROWS:,} rows of all taps and channels; here there are {_rows(problem):,}")
    stride = as_rows(problem, by_columns).geometry.w.s
    if stride not in fold.PHASES:
        refusals.append(f"interleaves {INTERLEAVED} phases of a row; the stride is {stride}")
    return refusals


def tile_of(rows) -> tuple[int, int]:
    """(rows, vectors of pixels) of the tile that computes so many rows with the least beside them; the largest of some.

    >>> mr, nv = tile_of(48)
    >>> 48 % mr
    0
    """
    tiles = TILES[isa().registers]
    return min(tiles.items(), key=lambda tile: (ceil_div(rows, tile[0]) * tile[0], -tile[0] * tile[1]))


def weight_form(problem: Problem, *, by_columns=False) -> Panels:
    """One panel a group for all taps: they are phases of a kernel of one row."""
    g, size, rows = problem.geometry, problem.itemsize, _rows(problem)
    mr, _ = tile_of(rows)
    blocks = tuple(Block(first, min(mr, rows - first), mr) for first in range(0, rows, mr))
    return Panels(problem.row.element, size, g.groups, *problem.channels, 1, 1, g.h.k * g.w.k, blocks)


def work(problem: Problem, *, by_columns=False) -> dict[str, float]:
    asked, lanes, groups = as_rows(problem, by_columns), isa().lanes(problem.itemsize), problem.geometry.groups
    one = by_group.of_one(asked)
    amounts = {name: groups * amount for name, amount in _work_of_one(one, by_columns).items()}
    moved_bytes = exchanged(asked, lanes, _most(one), groups) if by_columns else 0
    amounts |= moved(problem, channels_last=False, packs=True, exchanged=moved_bytes)
    if groups > 1 and not by_columns:
        amounts["transposed"] = by_group.transposed(problem, False)
    result = prod(problem.result_shape) * problem.itemsize
    # Of a large result each channel's rows of a band are a piece.
    in_pieces = result if result > NEAR_BYTES and not problem.layout.startswith("nhwc") else 0
    return amounts | {"calls": CALLS, "pieces": in_pieces}


def _work_of_one(asked, by_columns):
    """What the products of one group take, and their sums."""
    lanes, rows = isa().lanes(asked.itemsize), _rows(asked)
    g, (mr, nv) = asked.geometry, tile_of(rows)
    some_n, some_rows, some_cols = bands.largest(g, True, asked.itemsize, most=_most(asked))
    down, across = bands.overlapping(g.h, some_rows), bands.overlapping(g.w, some_cols)
    count = ceil_div(g.n, some_n) * down.number * across.number
    # Rows follow one another in scratch, and where they lie; but not pixels whose channels are consecutive.
    joins = across.number == 1 and (by_columns or across.places > 1 or asked.a_layout == CHANNELS_FIRST)
    if joins:
        strips = g.n * _strips(down, across.places, nv * lanes)
    else:
        strips = g.n * down.places * _strips(across, 1, nv * lanes)
    (row,) = rows_of(g.w, True, MOST_INTERLEAVED)
    taps = sum(len(each.taps) for each in row.whole)
    vectors = g.n * g.c_out * ceil_div(ceil_div(row.columns, g.w.s), lanes)
    tall = segments.tally(g.h, True)
    added = vectors * taps * sum(number * places * each for places, each, number in tall)
    tiles = strips * ceil_div(rows, mr)
    panel = rows * g.c_in * asked.itemsize
    sums = g.w.s * (1 + INTERLEAVING * (g.w.s > INTERLEAVED_WELL))
    holes = sum(each.count for each in segments.hole_rows(g.h, HOLE_RUNS))
    return {
        "strips": tiles * mr * nv * g.c_in,
        "strip_tiles": tiles,
        "strip_panels": 0 if panel <= FIRST_BYTES else (1 + far(panel)) * max(0, strips - 1) * panel,
        "copied_strips": strips * nv * lanes * g.c_in * asked.itemsize,
        "folded": vectors * sum(number * places * (each * taps + sums) for places, each, number in tall)
        + g.n * g.c_out * holes * ceil_div(g.w.out, lanes),
        "depthwise_rows_rows": g.n * g.c_out * (holes + sum(number * places for places, _, number in tall)),
        "folded_masked": masked_part(g.w, True, ceil_div(row.columns, g.w.s), lanes) * added,
        "tasks": count * (1 + sum(number for _, _, number in tall)),
    }


def _strips(read, line, pixels):
    """Strips of so many pixels in all bands of an axis, of which each place is a line of some."""
    rest = read.places - (read.number - 1) * read.each
    return (read.number - 1) * ceil_div(read.each * line, pixels) + ceil_div(max(0, rest) * line, pixels)


def program(placed: PlacedProblem, *, by_columns=False) -> Program:
    """The packing of the weight, unless it comes prepared, and the bands."""
    problem, panels, scratch, compute = placed.problem, weight_form(placed.problem), bands.Scratch(), []
    packing = [scratch.packing(panels, placed)] if placed.packs else []
    # Taps of a row, and rows of taps, as their products lie.
    steps = problem.geometry.w.k, 1
    if by_columns:
        placed, steps = placed.axes_exchanged(), (1, problem.geometry.w.k)
    for group, part, source, result in by_group.parts(placed):

        def make(band, group=group, part=part):
            return _nests(part, band, panels, group, steps, scratch)

        most = _most(part.problem)
        nests = bands.in_layout(part, scratch, False, make)
        compute += bands.grids(part, nests, source, result, most, bands.share_of_sources(part, most))
    mr, nv = tile_of(_rows(problem))
    needs = strip_product.scratch(placed.lanes * placed.size, mr, nv, placed.c_src)
    sizes = {**scratch.sizes, V: needs["strip"], TOTALS: needs["totals"]}
    return Program([*packing, Stage(compute)], sizes, placed.seconds)


def _rows(problem):
    """Rows of the product: taps by channels of the result."""
    g = problem.geometry
    return g.h.k * g.w.k * problem.channels[1]


def _most(problem):
    """How many bytes of source and result a band has."""
    return bands.beside_products(problem.geometry, problem.itemsize, _rows(problem) * problem.itemsize)


def _nests(placed, band, panels, group, steps, scratch):
    """The products of a band, rows without taps, and the sums of all others."""
    products = None
    if band.h.n and band.w.n:
        products = _products(placed, band, scratch)
        yield _product(placed, band, panels, group, products)
    holes = segments.hole_rows(band.h, HOLE_RUNS) if products else (segments.everywhere(band.h.out),)
    if holes:
        yield _added(placed, band, group, products or band.x, steps, holes, everything(band.w.out))
    if products is not None:
        (row,) = rows_of(band.w, True, MOST_INTERLEAVED)
        yield _added(placed, band, group, products, steps, segments.segments(band.h, True), row)


def _products(placed, band, scratch):
    """Where the products of a band lie: a map for each row, an odd number of cache lines apart."""
    size, (mr, nv) = placed.size, tile_of(_rows(placed.problem))
    rows = ceil_div(_rows(placed.problem), mr) * mr
    # The last strip of a line is whole.
    pixels = band.h.n * band.w.n + nv * placed.lanes
    step = (ceil_div(pixels * size, LINE) | 1) * LINE
    scratch.take(M, band.n * rows * step)
    return PlacedOperand(
        M, 0, Operand(rows * step, step, band.w.n * size, size, channels_last=False, channels_first=True)
    )


def _product(placed, band, panels, group, products):
    """Rows of all taps for every pixel of the source."""
    mr, nv = tile_of(_rows(placed.problem))
    x, y, (h, w) = band.x.at, products.at, (band.h.n, band.w.n)
    # Rows without a gap between them are one line.
    lines, cols = (1, h * w) if x.h == w * placed.size else (h, w)
    fields = {
        "entry": entry(strip_product.strip_product, placed.elem, mr, nv),
        "x": (band.x.base, band.x.offset),
        "y": (products.base, products.offset),
        "w": (PANELS, group * panels.group),
        "strip": (V, 0),
        "totals": (TOTALS, 0),
        "n": band.n,
        "lines": lines,
        "cols": cols,
        "c": placed.c_src,
        "x_n": x.n,
        "x_line": x.h,
        "x_c": x.c,
        "y_n": y.n,
        "y_line": y.h,
        "y_r": y.c,
        "blocks": len(panels.blocks),
        "w_b": placed.c_src * mr * placed.size,
    }
    return Nest(strip_product.FIELDS, fields)


def _added(placed, band, group, products, steps, h, row):
    """The sums of some segments of rows."""
    g, s, activation = placed.g, len(row.whole), placed.problem.activation.name
    counts = tuple(len(each.taps) for each in row.whole)
    address = entry(fold.col2im_rows, placed.elem, s, counts if sum(counts) <= WRITTEN_TAPS else None, activation)
    tap_h, tap_w = (step * g.c_out * products.at.c for step in steps)
    lists = (
        segments.listed(ROWS, h, products.at.h, band.y.at.h, tap_h),
        row_list([row], band.y.at.w, tap_w, shares=False),
    )
    band = bands.Band(band.n, band.h, band.w, products, band.y)
    more = {"entry": address, "w": 0, "bias": (BIAS, group * g.c_out * placed.size)}
    more |= {"groups": g.c_out, "x_g": products.at.c, "y_g": band.y.at.c, "bias_g": placed.size}
    return Nest(fold.NAMES[s], pixel_products.of_band(placed, band, more), lists)
