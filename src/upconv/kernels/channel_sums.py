"""Sums over lines and over planes, each number widened to float64 first: the gradient in the bias.

    dst[v]  =  sum over rows of  src[row, v]       line_sums: the numbers of a row side by side, rows `src_row` apart
    dst[p]  =  sum over i of     src[p, i]         plane_sums: the numbers of a plane side by side, `src_plane` apart

dst is float64, its numbers side by side. What lies beyond the last column or number is not read.
"""

from ..codegen.isa import LINE, Isa
from ..codegen.lang import SIZES, Builder, Type

LINE_FIELDS = tuple("entry src dst rows src_row columns".split())
PLANE_FIELDS = tuple("entry src dst planes src_plane count".split())
POINTERS = {"src", "dst"}
# Vectors of sums in flight, by the number of registers.
FLIGHT = {32: 16, 16: 8}
# Numbers of a plane that is short.
SHORT = 128
# Bytes before what is added up: half a small page. A whole one would look up the address of every line in a page that
# nobody has read yet, a fifth slower there; on huge pages either is as fast.
AHEAD = 2048


def line_sums(isa: Isa, elem):
    """The kernel for rows of elements of one type."""
    k = Builder(f"line_sums_{elem}_{isa.name}")
    task = k.fields(LINE_FIELDS, POINTERS)
    wide = Type("f64", isa.lanes(8))
    across = FLIGHT[isa.registers] * wide.lanes
    whole = task["columns"] - k.iand(task["columns"], across - 1)
    with k.loop(0, whole, across) as column:
        _lines(k, task, elem, wide, column, FLIGHT[isa.registers])
    with k.loop(whole, task["columns"], wide.lanes) as column:
        _lines(k, task, elem, wide, column, 1, k.lane_mask(task["columns"] - column, wide))
    return k


def _lines(k, task, elem, wide, column, vectors, mask=None):
    """All rows of some vectors of columns, the last of which may be cut by a mask."""
    size = SIZES[elem]
    sums = [k.variable(k.zero(wide)) for _ in range(vectors)]
    with k.loop(0, task["rows"]) as row:
        here = task["src"] + (row * task["src_row"] + column * size)
        _ask(k, here, vectors * wide.lanes * size)
        for v, total in enumerate(sums):
            total.set(k.add(total.get(), _doubles(k, elem, wide, here + v * wide.lanes * size, mask)))
    for v, total in enumerate(sums):
        k.store(total.get(), task["dst"] + (column * 8 + v * wide.size), mask)


def plane_sums(isa: Isa, elem, is_short=False):
    """The kernel for planes of elements of one type; for short ones, of which to add up many sums would be most."""
    k = Builder(f"plane_sums_{elem}{'_short' * is_short}_{isa.name}")
    task = k.fields(PLANE_FIELDS, POINTERS)
    wide, size = Type("f64", isa.lanes(8)), SIZES[elem]
    vectors = 2 if is_short else FLIGHT[isa.registers]
    across = vectors * wide.lanes
    whole = task["count"] - k.iand(task["count"], across - 1)
    with k.loop(0, task["planes"]) as plane:
        src = task["src"] + plane * task["src_plane"]
        sums = [k.variable(k.zero(wide)) for _ in range(vectors)]
        with k.loop(0, whole, across) as at:
            here = src + at * size
            _ask(k, here, across * size)
            for v, total in enumerate(sums):
                total.set(k.add(total.get(), _doubles(k, elem, wide, here + v * wide.lanes * size)))
        with k.loop(whole, task["count"], wide.lanes) as at:
            mask = k.lane_mask(task["count"] - at, wide)
            sums[0].set(k.add(sums[0].get(), _doubles(k, elem, wide, src + at * size, mask)))
        k.store(_folded(k, [total.get() for total in sums]), task["dst"] + plane * 8)
    return k


def _ask(k, here, nbytes):
    """Ask for what is added up soon: the machine foresees no page before it is read."""
    for line in range(0, nbytes, LINE):
        k.prefetch(here + (AHEAD + line))


def _doubles(k, elem, wide, place, mask=None):
    loaded = k.load(place, Type(elem, wide.lanes), mask)
    return loaded if elem == wide.elem else k.extend(loaded, wide)


def _folded(k, vectors):
    """The sum of all lanes of some vectors, in a fixed order."""
    while len(vectors) > 1:
        vectors = [k.add(*pair) for pair in zip(vectors[::2], vectors[1::2], strict=True)]
    (total,) = vectors
    while (lanes := total.type.lanes) > 1:
        halves = [k.shuffle(total, total, range(start, start + lanes // 2)) for start in (0, lanes // 2)]
        total = k.add(*halves)
    return total
