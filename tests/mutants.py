"""Plausible mistakes of kernels and tables, each a list of (module, name, what stands there instead).

Each stays inside its memory, so that only its values can give it away.
"""

from dataclasses import replace
from functools import partial

import numpy as np
from mutations import (
    altered_list,
    from_to,
    grids,
    in_list,
    is_of,
    keep_left,
    last_row_lost,
    masks,
    minus_one_to,
    nests,
    one_less,
    short_between,
    short_mask,
    table,
    zero,
)

from upconv import generated, prepared, rewrites
from upconv.algorithms import depthwise_rows as depthwise_tasks
from upconv.algorithms import direct_rows as row_tasks
from upconv.algorithms import weight_streaming as streaming_tasks
from upconv.kernels import (
    col2im_channels,
    col2im_rows,
    column_products,
    convert,
    copy,
    depthwise_channels,
    depthwise_rows,
    direct_phases,
    direct_rows,
    gemm,
    not_finite,
    pack_pixels,
    pack_strips,
    phase_blocks,
    pixel_columns,
    strip_product,
    strip_rows,
    sum_lanes,
    sum_parts,
    tap_streaming,
    transpose,
    weight_gradient,
    weight_gradient_blocks,
    weight_gradient_depthwise,
    weight_gradient_planes,
    weight_streaming,
)
from upconv.runtime import program
from upconv.runtime.program import BIAS, PANELS, X_BAND, Grid, Stage, W, X, Y
from upconv.schedule import bands, panels, streams, tap_rows
from upconv.schedule.moves import copying
from upconv.schedule.placed_problem import PlacedProblem


def clears(nest):
    """Whether a nest writes zeros alone."""
    return nest.common["count"] == 0


def has_runs(nest):
    """Whether a nest of gemm has rows of taps as one run."""
    return any("c" in rows.fields for rows in nest.lists)


def runs_at_the_first_tap(nest):
    if not is_of(nest, gemm) or not has_runs(nest):
        return nest
    return nest._replace(lists=tuple(altered_list(rows, zero("w")) for rows in nest.lists))


def last_unit_forgotten(dimension):
    right = program.Program.__init__

    def change(grid):
        sizes = list(grid.sizes)
        sizes[dimension] -= sizes[dimension] > 1
        return grid._replace(sizes=tuple(sizes))

    def wrong(self, stages, *rest, **options):
        fewer = [stage._replace(grids=[change(grid) for grid in stage.grids], kept=None) for stage in stages]
        right(self, fewer, *rest, **options)

    return [(program.Program, "__init__", wrong)]


def every_unit_at_the_first(base):
    """Units do not move an address."""
    return grids(
        lambda grid: Grid(grid.nests, grid.sizes, {each: at for each, at in grid.steps.items() if each != base})
    )


def last_grid_forgotten():
    right = bands.grids
    wrong = lambda *args: right(*args)[:-1] or right(*args)  # noqa: E731
    return [(bands, "grids", wrong)]


def last_run_forgotten():
    right = bands.runs
    return [(bands, "runs", lambda *args: right(*args)[:-1] or right(*args))]


def band_off_by_a_row():
    right = bands.runs

    def wrong(axis, forward, step):
        found = right(axis, forward, step)
        # Another run than the first begins below the first row, so what is above it exists.
        return (*found[:1], *(run._replace(source=max(0, run.source - 1)) for run in found[1:]))

    return [(bands, "runs", wrong)]


def first_column_too_late(said):
    if said.get("first_column"):
        said["first_column"] += 1


def last_column_lost(said):
    if said.get("first_column"):
        said["columns"] -= 1


def to_scratch(nest):
    return nest.common["dst"][0] == X_BAND and nest.common["src"][0] != W


def totals_lost(k, totals, vector, sums, cut):
    """The sums so far are forgotten when a sum is cut."""
    for variable in sums:
        variable.set(k.zero(vector))


def shared_taps_are_own():
    """What is left to each phase is read where the phases' shared taps begin."""
    right = row_tasks.row_list

    def wrong(rows, *args, **options):
        moved = [replace(row, own=tuple(replace(each, a=0) for each in row.own)) for row in rows]
        return right(moved, *args, **options)

    return [(row_tasks, "row_list", wrong)]


def phases_exchanged(module):
    """The phases, or the channels of a pixel, are interleaved in the wrong order."""
    return [(module, "interleaved", lambda k, lines: right_interleaved(k, lines[::-1]))]


right_interleaved = depthwise_rows.interleaved


def columns_as_neighbours(module):
    """Columns that lie apart are read as if they followed one another."""
    return [(module, "load_apart", lambda k, x, vector, step, read=None: k.load(x, vector, read and read[0]))]


def first_tap_for_all_from_afar():
    """A panel that comes from far away is read at its first column of taps alone."""
    right = gemm._tiles_together
    return [(gemm, "_tiles_together", lambda k, task, *rest: right(k, task | {"w_w": 0}, *rest))]


def written_taps(change):
    """Kernels with other taps written out than the layer has."""
    right = depthwise_tasks._written

    def wrong(n_h, taps):
        made_for = right(n_h, taps)
        return change(*made_for) if made_for != (None, None) else made_for

    return [(depthwise_tasks, "_written", wrong)]


def columns_by_the_taps_of_rows():
    """The columns of a map as rows, under a kernel whose axes are not exchanged."""
    right = PlacedProblem.axes_exchanged
    return [(PlacedProblem, "axes_exchanged", lambda placed: replace(right(placed), w=placed.w))]


def crowded_channels_not_copied():
    """All but the first of the channels that are spread keep what lay there."""
    return [(row_tasks, "copying", lambda *args, n, **rest: copying(*args, n=(1, *n[1:]), **rest))]


def chunk_forgotten():
    return [(streaming_tasks, "Stage", lambda units: Stage(units[:-1] or units))]


def bias_of_the_first_chunk():
    right = streaming_tasks._sum
    return [(streaming_tasks, "_sum", lambda *args: right(*args[:-2], 0, args[-1]))]


def fused_taps_reversed():
    right = panels.Panels._fused

    def wrong(self, placed):
        for grid in right(self, placed):
            row, tap = grid.steps[PANELS][1:]
            last = (self.k_w - 1) * tap
            moved = [nest if nest.common["dst"][0] != PANELS else further(nest, last) for nest in grid.nests]
            yield grid._replace(nests=moved, steps={**grid.steps, PANELS: (0, row, -tap)})

    return [(panels.Panels, "_fused", wrong)]


def further(nest, nbytes):
    base, offset = nest.common["dst"]
    return nest._replace(common={**nest.common, "dst": (base, offset + nbytes)})


def panels_of_the_first_block():
    """Every block is packed, and read, where the first one is."""
    right = panels.Panels.block

    def wrong(self, number):
        return right(self, number) if number == len(self.blocks) else 0

    return [(panels.Panels, "block", wrong)]


def streams_of_the_first_block():
    """Every block is packed, and read, where the first one is."""
    right = streams.Streams.block

    def wrong(self, number):
        return right(self, number) if number == len(self.blocks) else 0

    return [(streams.Streams, "block", wrong)]


def bias_off_by_a_lane():
    right = program.run

    def run(made, x, y, w, bias, panels=None):
        return right(made, x, y, w, None if bias is None else np.roll(bias, 1), panels)

    return [(program, "run", run)]


def imaginary_sign_lost():
    right = rewrites._matrices
    return [(rewrites, "_matrices", lambda weight, *rest: right(weight.conj(), *rest))]


def activation_lost(module):
    """One kernel writes its sums as they are."""
    right = module.Epilogue
    return [(module, "Epilogue", lambda k, vector, activation, *rest: right(k, vector, "none", *rest))]


def prepared_from_another_weight():
    right = generated.Generated.pack
    return [(generated.Generated, "pack", lambda self, problem, weight: right(self, problem, np.roll(weight, 1, 1)))]


def prepared_form_of_another_way():
    """The form that was made first is taken for all that are not larger."""
    right = prepared.PreparedWeight.form

    def wrong(self, algorithm, problem):
        form, made = algorithm.weight_form(problem), next(iter(self._forms.values()), None)
        if form is None or made is None or made.nbytes < form.nbytes:
            return right(self, algorithm, problem)
        return made.array, self.innermost(problem)

    return [(prepared.PreparedWeight, "form", wrong)]


ROW_KERNELS = {"direct_rows": direct_rows, "depthwise_rows": depthwise_rows, "col2im_rows": col2im_rows}
COL2IM = {"col2im_channels": col2im_channels, "col2im_rows": col2im_rows}
EPILOGUES = (
    ROW_KERNELS
    | COL2IM
    | {"gemm": gemm, "phase_blocks": phase_blocks, "depthwise_channels": depthwise_channels}
    | {"direct_phases": direct_phases, "strip_rows": strip_rows}
)
LISTS = {"rows of segments": 0, "columns of segments": 1, "blocks": 2}
BASES = {"x": X, "y": Y, "weight": W, "bias": BIAS, "panels": PANELS}
MUTANTS = {
    **{
        f"{name}, {what} a lane short": partial(masks, module, method, wrong)
        for name, module in ROW_KERNELS.items()
        for what, method, wrong in (("mask", "lane_mask", short_mask), ("border", "lane_mask_between", short_between))
    },
    **{
        f"{name}, mask a lane short": partial(masks, module, "lane_mask", short_mask)
        for name, module in {
            "depthwise_channels": depthwise_channels,
            "weight_gradient": weight_gradient,
            "strip_product": strip_product,
            "pack_pixels": pack_pixels,
            "weight_gradient_depthwise": weight_gradient_depthwise,
            "sum_lanes": sum_lanes,
            "weight_streaming": weight_streaming,
            "transpose": transpose,
            "copy": copy,
        }.items()
    },
    "weight_gradient_planes, mask a lane short": lambda: masks(weight_gradient_planes, "lane_mask", short_mask),
    "weight_gradient_planes, border a lane short": lambda: masks(
        weight_gradient_planes, "lane_mask_between", short_between
    ),
    "weight_gradient_planes, sums of other rows lost": lambda: masks(weight_gradient_planes, "add", keep_left),
    "weight_gradient_planes, sums of earlier blocks lost": lambda: table(weight_gradient_planes, zero("add")),
    "weight_gradient_planes, last row of y left": lambda: table(weight_gradient_planes, one_less("out_rows")),
    "weight_gradient_planes, rows of the border as others": lambda: table(weight_gradient_planes, zero("full_first")),
    "convert, last number of a line left": lambda: table(convert, one_less("count")),
    "col2im_channels, mask a lane short": lambda: masks(col2im_channels, "lane_mask_between", short_between),
    "gemm, mask a lane short": lambda: masks(gemm, "lane_mask_between", short_between),
    "weight_gradient, totals lost": lambda: masks(weight_gradient, "add", keep_left),
    "gemm, totals lost when a sum is cut": lambda: [(gemm, "spill_partial_sums", totals_lost)],
    "direct_rows, totals lost when a sum is cut": lambda: [(direct_rows, "spill_partial_sums", totals_lost)],
    "strip_product, totals lost when a sum is cut": lambda: [(strip_product, "spill_partial_sums", totals_lost)],
    **{f"{name}, activation lost": partial(activation_lost, module) for name, module in EPILOGUES.items()},
    **{f"{name}, slope lost": partial(table, module, zero("slope")) for name, module in EPILOGUES.items()},
    "gemm, last tap dropped": lambda: table(gemm, one_less("n_w")),
    "gemm, first row of taps for all": lambda: table(gemm, zero("w_h")),
    "gemm, first tap of a row for all": lambda: table(gemm, zero("w_w")),
    "gemm, source of the first row of taps for all": lambda: table(gemm, zero("x_h")),
    "gemm, source of the first tap of a row for all": lambda: table(gemm, zero("x_w")),
    "direct_phases, mask of the weight a lane short": lambda: masks(direct_phases, "lane_mask", short_mask),
    "direct_phases, border a lane short": lambda: masks(direct_phases, "lane_mask_between", short_between),
    "direct_phases, sums of earlier parts lost": lambda: masks(direct_phases, "add", keep_left),
    "direct_phases, last row of taps dropped": lambda: table(direct_phases, one_less("n_h")),
    "direct_phases, last tap of a row dropped": lambda: table(direct_phases, one_less("taps")),
    "direct_phases, last channel dropped": lambda: table(direct_phases, one_less("c")),
    "direct_phases, last row not written": lambda: table(direct_phases, one_less("rows")),
    "direct_phases, last image not written": lambda: table(direct_phases, one_less("n")),
    "direct_phases, last place not written": lambda: table(direct_phases, one_less("end")),
    "direct_phases, last column of x not read": lambda: table(direct_phases, one_less("in_cols")),
    "direct_phases, last column not written": lambda: table(direct_phases, one_less("out_cols")),
    "direct_phases, last block not written": lambda: table(direct_phases, one_less("blocks")),
    "direct_phases, taps of a row all the first": lambda: table(direct_phases, zero("w_t")),
    "direct_phases, weight of the first channel at once for all": lambda: table(direct_phases, zero("w_v")),
    "direct_phases, bias of the first channel at once for all": lambda: table(direct_phases, zero("bias_v")),
    "direct_phases, weight of the first channel for all": lambda: in_list(0, "w", 0, direct_phases),
    "direct_phases, source of the first group for all": lambda: in_list(0, "x", 0, direct_phases),
    "direct_phases, last channels lost": lambda: last_row_lost(0, direct_phases),
    "direct_phases, last segment or phase of rows lost": lambda: last_row_lost(1, direct_phases),
    "direct_phases, last run of the phases lost": lambda: last_row_lost(2, direct_phases),
    "direct_phases, taps of the first phase for all": lambda: in_list(1, "w", 0, direct_phases),
    "direct_rows, last row of taps dropped": lambda: table(direct_rows, one_less("n_h")),
    "direct_rows, last tap of a phase dropped": lambda: table(direct_rows, one_less("n_0")),
    "direct_rows, last shared tap dropped": lambda: table(direct_rows, one_less("shared_count")),
    "direct_rows, taps read elsewhere": shared_taps_are_own,
    "depthwise_rows, last phase reads elsewhere": lambda: table(depthwise_rows, zero("a_1")),
    "depthwise_channels, last tap dropped": lambda: table(depthwise_channels, one_less("n_w")),
    **{
        f"phase_blocks, {what}": partial(table, phase_blocks, change)
        for what, change in {
            "last channel dropped": one_less("c"),
            "last row of taps dropped": one_less("n_h"),
            "last tap dropped": one_less("n_w"),
            "last block of a row not written": one_less("cols"),
            "last row of blocks not written": one_less("rows"),
            "last image not written": one_less("n"),
            "weight of the first row of phases for all": zero("tap_h"),
            "weight of the first phase of a row for all": zero("tap_w"),
            "the first row of taps for some phases alone": minus_one_to("part_h", 0),
            "the first tap for some phases alone": minus_one_to("part_w", 0),
            "last row of phases not written": one_less("end_h"),
            "last phase of a row not written": one_less("end_w"),
            "weight of the first group for all": zero("w_g"),
            "bias of the first group for all": zero("bias_g"),
        }.items()
    },
    "phase_blocks, sums not added up": lambda: masks(phase_blocks, "add", keep_left),
    **{
        f"phase_blocks, last row of {name} lost": partial(last_row_lost, number, phase_blocks)
        for name, number in LISTS.items()
    },
    "gemm, last channel dropped": lambda: table(gemm, one_less("c")),
    "gemm, last pixel not written": lambda: table(gemm, one_less("cols")),
    "direct_rows, last row not written": lambda: table(direct_rows, one_less("rows")),
    "direct_rows, last column not written": lambda: table(direct_rows, one_less("out_cols")),
    "depthwise_rows, last column not written": lambda: table(depthwise_rows, one_less("out_cols")),
    "depthwise_channels, last pixel not written": lambda: table(depthwise_channels, one_less("cols")),
    "weight_gradient, last pixel not summed": lambda: table(weight_gradient, one_less("cols")),
    "weight_gradient, groups all summed in the first": lambda: table(weight_gradient, zero("total_g")),
    "gemm, last image not written": lambda: table(gemm, one_less("n")),
    "gemm, weight of the first group for all": lambda: table(gemm, zero("w_g")),
    "gemm, source of the first group for all": lambda: table(gemm, zero("x_g")),
    "gemm, all groups to the first": lambda: table(gemm, zero("y_g")),
    "gemm, bias of the first group for all": lambda: table(gemm, zero("bias_g")),
    "direct_rows, weight of the first group for all": lambda: table(direct_rows, zero("w_g")),
    "depthwise_rows, weight of the first channel for all": lambda: table(depthwise_rows, zero("w_g")),
    "direct_rows, bias of the first group for all": lambda: table(direct_rows, zero("bias_g")),
    "depthwise_rows, bias of the first channel for all": lambda: table(depthwise_rows, zero("bias_g")),
    "direct_rows, weight of the first channel for all": lambda: table(direct_rows, zero("w_c")),
    "direct_rows, weight of the first block for all": lambda: table(direct_rows, zero("w_b")),
    "direct_rows, last block not written": lambda: table(direct_rows, one_less("blocks")),
    "direct_rows, phases exchanged": lambda: phases_exchanged(direct_rows),
    "direct_rows, every column at the first": lambda: table(direct_rows, zero("y_col")),
    "direct_rows, channels that are spread not copied": crowded_channels_not_copied,
    "columns as rows, by the taps of rows": columns_by_the_taps_of_rows,
    "depthwise_rows, phases exchanged": lambda: phases_exchanged(depthwise_rows),
    "direct_rows, columns apart as neighbours": lambda: columns_as_neighbours(direct_rows),
    "depthwise_rows, columns apart as neighbours": lambda: columns_as_neighbours(depthwise_rows),
    "gemm, first tap for all from afar": first_tap_for_all_from_afar,
    "depthwise_rows, last row of taps dropped": lambda: written_taps(lambda n_h, counts: (n_h and n_h - 1, counts)),
    "depthwise_rows, last tap dropped": lambda: written_taps(
        lambda n_h, counts: (n_h, (*counts[:-1], max(0, counts[-1] - 1)))
    ),
    "strip_product, last channel dropped": lambda: table(strip_product, one_less("c")),
    "strip_product, last block of rows dropped": lambda: table(strip_product, one_less("blocks")),
    "strip_product, weight of the first block for all": lambda: table(strip_product, zero("w_b")),
    "strip_product, last pixel dropped": lambda: table(strip_product, one_less("cols")),
    "strip_product, last image dropped": lambda: table(strip_product, one_less("n")),
    **{
        f"{name}, last {wrong} dropped": partial(table, module, one_less(field))
        for name, module, lost in (
            ("pack_strips", pack_strips, {"last channel": "c", "last row": "rows", "last image": "n"}),
            (
                "strip_rows",
                strip_rows,
                {"last channel": "c", "last row": "rows", "last image": "n", "last block": "blocks"},
            ),
        )
        for wrong, field in lost.items()
    },
    "strip_rows, weight of the first block for all": lambda: table(strip_rows, zero("w_b")),
    "strip_rows, weight of the first phase for all": lambda: table(strip_rows, zero("w_p")),
    "strip_rows, phases exchanged": lambda: phases_exchanged(strip_rows),
    "strip_rows, totals lost when a sum is cut": lambda: [(strip_rows, "spill_partial_sums", totals_lost)],
    **{f"{name}, sums not added up": partial(masks, module, "add", keep_left) for name, module in COL2IM.items()},
    **{
        f"{name}, {what}": partial(table, module, change)
        for name, module in COL2IM.items()
        for what, change in {
            "last row of taps dropped": one_less("n_h"),
            "products of the first row of taps for all": zero("w_h"),
            "source of the first row of taps for all": zero("x_h"),
            "last row not written": one_less("rows"),
            "last image not written": one_less("n"),
        }.items()
    },
    **{
        f"{name}, last row of {what} lost": partial(last_row_lost, number, module)
        for name, module in COL2IM.items()
        for number, what in enumerate(("rows of segments", "columns of segments"))
        if (name, number) != ("col2im_rows", 1)
    },
    "col2im_channels, last tap dropped": lambda: table(col2im_channels, one_less("n_w")),
    "col2im_channels, products of the first tap for all": lambda: table(col2im_channels, zero("w_w")),
    "col2im_channels, source of the first tap for all": lambda: table(col2im_channels, zero("x_w")),
    "col2im_channels, last pixel not written": lambda: table(col2im_channels, one_less("cols")),
    "col2im_channels, first column ignored": lambda: table(col2im_channels, zero("first_column")),
    "col2im_channels, last piece of columns lost": lambda: last_row_lost(2, col2im_channels),
    "col2im_rows, phases exchanged": lambda: phases_exchanged(col2im_rows),
    "col2im_rows, last phase reads elsewhere": lambda: table(col2im_rows, zero("a_1")),
    "col2im_rows, products of the first tap for all": lambda: table(col2im_rows, zero("w_w")),
    "col2im_rows, last column not written": lambda: table(col2im_rows, one_less("out_cols")),
    "col2im_rows, last channel not written": lambda: table(col2im_rows, one_less("groups")),
    "col2im_rows, bias of the first channel for all": lambda: table(col2im_rows, zero("bias_g")),
    "weight_streaming, sums not added up": lambda: masks(weight_streaming, "add", keep_left),
    "weight_streaming, last channel dropped": lambda: table(weight_streaming, one_less("c")),
    "weight_streaming, last pixel dropped": lambda: table(weight_streaming, one_less("pixels")),
    "weight_streaming, last column dropped": lambda: table(weight_streaming, one_less("count")),
    "weight_streaming, last tap dropped": lambda: table(weight_streaming, one_less("pieces")),
    "weight_streaming, weight of the first tap for all": lambda: table(weight_streaming, zero("w_piece")),
    "weight_streaming, last chunk forgotten": chunk_forgotten,
    "weight_streaming, bias of the first chunk for all": bias_of_the_first_chunk,
    "tap_streaming, sums not added up": lambda: masks(tap_streaming, "add", keep_left),
    "tap_streaming, last channel dropped": lambda: table(tap_streaming, one_less("c")),
    "tap_streaming, last image dropped": lambda: table(tap_streaming, one_less("n")),
    "tap_streaming, last row of pixels dropped": lambda: table(tap_streaming, one_less("rows")),
    "tap_streaming, last column of pixels dropped": lambda: table(tap_streaming, one_less("cols")),
    "tap_streaming, last row of taps lost": lambda: last_row_lost(0, tap_streaming),
    "tap_streaming, last tap of a row lost": lambda: last_row_lost(1, tap_streaming),
    **{
        f"tap_streaming, {name} of the first {what} for all": partial(in_list, number, name, 0, tap_streaming)
        for number, what in enumerate(("row of taps", "tap of a row"))
        for name in "xyw"
    },
    "tap_streaming, streams of the first block for all": streams_of_the_first_block,
    "fused phases, last channel not turned": lambda: table(transpose, one_less("n"), from_to(W, X_BAND)),
    "fused phases, last channel of turned ones not copied": lambda: table(copy, one_less("m"), from_to(X_BAND, PANELS)),
    "fused phases with their taps reversed": fused_taps_reversed,
    "panels, last channel or tap not copied": lambda: table(copy, one_less("m"), from_to(W, PANELS)),
    "panels, last channel not turned": lambda: table(transpose, one_less("n"), from_to(W, PANELS)),
    "transpose, mask of a few rows a lane short": lambda: masks(transpose, "lane_mask", short_mask),
    "panels, every block where the first one is": panels_of_the_first_block,
    "prepared from another weight": prepared_from_another_weight,
    "prepared form of another way": prepared_form_of_another_way,
    "gemm, first column too late": lambda: table(gemm, first_column_too_late),
    "gemm, first column ignored": lambda: table(gemm, zero("first_column")),
    "gemm, last column of a cut block lost": lambda: table(gemm, last_column_lost),
    "a line of a band is the last band's": lambda: table(transpose, one_less("m"), to_scratch),
    **{f"gemm, last row of {name} lost": partial(last_row_lost, number, gemm) for name, number in LISTS.items()},
    **{
        f"direct_rows, last row of {name} lost": partial(last_row_lost, number, direct_rows)
        for name, number in {"rows of segments": 0, "rows": 1, "blocks": 2}.items()
    },
    "weight_gradient_blocks, sums of a block lost": lambda: masks(weight_gradient_blocks, "add", keep_left),
    "weight_gradient_blocks, last pixel not summed": lambda: table(weight_gradient_blocks, one_less("cols")),
    "weight_gradient_blocks, last image not summed": lambda: table(weight_gradient_blocks, one_less("n")),
    "weight_gradient_blocks, last tile of a lost": lambda: table(weight_gradient_blocks, one_less("a_tiles")),
    "weight_gradient_blocks, every plane the first one": lambda: table(weight_gradient_blocks, zero("a_channel")),
    "weight_gradient_blocks, every block begins anew": lambda: table(weight_gradient_blocks, zero("add")),
    "weight_gradient_blocks, last row of taps lost": lambda: last_row_lost(0, weight_gradient_blocks),
    "weight_gradient_blocks, last tap of a row lost": lambda: last_row_lost(1, weight_gradient_blocks),
    "weight_gradient_tap_rows, all columns read at the first": lambda: in_list(1, "a", 0, weight_gradient_blocks),
    "weight_gradient_tap_rows, sums of all columns at the first tap": lambda: in_list(
        1, "total", 0, weight_gradient_blocks
    ),
    "weight_gradient_tap_rows, input of all columns read at the first": lambda: in_list(
        1, "b", 0, weight_gradient_blocks
    ),
    "weight_gradient_runs, every run read where the first one is": lambda: in_list(0, "b", 0, weight_gradient_blocks),
    "weight_gradient_runs, every row of taps read where the first one is": lambda: in_list(
        1, "b", 0, weight_gradient_blocks
    ),
    "weight_gradient_runs, sums of all tiles at the first": lambda: in_list(2, "total", 0, weight_gradient_blocks),
    "weight_gradient_blocks, mask of the last vector a lane short": lambda: masks(
        weight_gradient_blocks, "lane_mask", short_mask
    ),
    "weight_gradient_tap_rows, sums not cleared": lambda: table(copy, zero("pad"), clears),
    "gemm_tap_rows, last number of a run lost": lambda: table(gemm, one_less("c"), has_runs),
    "gemm_tap_rows, rows of taps packed one upon another": lambda: [(tap_rows.TapRows, "row", tap_rows.TapRows.tap)],
    "gemm_tap_rows, every run begins at the first tap": lambda: nests(runs_at_the_first_tap),
    "weight_gradient_depthwise, sums lost": lambda: masks(weight_gradient_depthwise, "add", keep_left),
    "weight_gradient_depthwise, last pixel not summed": lambda: table(weight_gradient_depthwise, one_less("cols")),
    "weight_gradient_depthwise, last tap of a row lost": lambda: last_row_lost(1, weight_gradient_depthwise),
    "weight_gradient_depthwise, last rows not summed": lambda: table(weight_gradient_depthwise, one_less("rows")),
    "weight_gradient_depthwise, rows of taps summed as one": lambda: table(
        weight_gradient_depthwise, zero("total_row")
    ),
    "pixel_columns, border a lane short": lambda: masks(pixel_columns, "lane_mask_between", short_between),
    "pixel_columns, last row of taps lost": lambda: table(pixel_columns, one_less("hi_h")),
    "pixel_columns, last channel lost": lambda: table(pixel_columns, one_less("count")),
    "pixel_columns, last pixel of a row lost": lambda: last_row_lost(2, pixel_columns),
    "column_products, rest of a sum a lane short": lambda: masks(column_products, "lane_mask", short_mask),
    "column_products, sums of earlier channels lost": lambda: masks(column_products, "add", keep_left),
    "column_products, last row of the weight lost": lambda: table(column_products, one_less("rows")),
    "column_products, last pixel lost": lambda: table(column_products, one_less("pixels")),
    "column_products, last chunk lost": lambda: last_row_lost(0, column_products),
    "column_products, weight of the first chunk for all": lambda: in_list(0, "w", 0, column_products),
    "not_finite, nothing found": lambda: table(not_finite, zero("count")),
    "pack_pixels, last tile not packed": lambda: table(pack_pixels, one_less("tiles")),
    "pack_pixels, groups all from the first": lambda: table(pack_pixels, zero("src_g")),
    "sum_parts, a part forgotten": lambda: masks(sum_parts, "add", keep_left),
    "weight_gradient, last row of taps lost": lambda: last_row_lost(0, weight_gradient),
    "weight_gradient, last tap of a row lost": lambda: last_row_lost(1, weight_gradient),
    "gemm, rows all read where the first one does": lambda: in_list(0, "x", 0),
    "gemm, columns all read where the first one does": lambda: in_list(1, "x", 0),
    "gemm, rows all written where the first one is": lambda: in_list(0, "y", 0),
    "gemm, columns all written where the first one is": lambda: in_list(1, "y", 0),
    "gemm, blocks all written where the first one is": lambda: in_list(2, "y", 0),
    "gemm, weight of the first row of segments for all": lambda: in_list(0, "w", 0),
    "gemm, weight of the first column of segments for all": lambda: in_list(1, "w", 0),
    "gemm, weight of a column added twice": lambda: in_list(1, "w", 2),
    "gemm, panels of the first block for all": lambda: in_list(2, "w", 0),
    "gemm, bias of the first block for all": lambda: in_list(2, "bias", 0),
    "gemm, bias of a block added twice": lambda: in_list(2, "bias", 2),
    **{
        f"last unit of {name} forgotten": partial(last_unit_forgotten, number)
        for number, name in enumerate(("images", "rows", "columns"))
    },
    **{f"every unit with the {name} of the first": partial(every_unit_at_the_first, at) for name, at in BASES.items()},
    "last grid forgotten": last_grid_forgotten,
    "last run of bands forgotten": last_run_forgotten,
    "band off by a row": band_off_by_a_row,
    "bias off by a lane": bias_off_by_a_lane,
    "imaginary sign lost": imaginary_sign_lost,
}
