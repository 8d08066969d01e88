"""Layers by Winograd's kernels: against the definition, in every layout, with awkward sizes."""

import os
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from children import script
from native import IDS as ISAS
from numpy.lib.stride_tricks import sliding_window_view
from winograd_run import LAYERS, Run, geometry, lying, truth

from upconv.activations import activate
from upconv.geometry import Axis, Geometry
from upconv.kernels import winograd_gather, winograd_product, winograd_spread, winograd_weight
from upconv.problem import Activation
from upconv.runtime.kernel import isa
from upconv.schedule import winograd
from upconv.schedule.winograd_layer import Setting

# |y - y64| <= C * eps * bound, where bound is the largest |x| conv |w| of the outputs of a tile and their neighbours:
# all of a tile are made of the same products, so the error of each is measured by the largest.
C = {"k3s1": 60}
NEAR = 6


def operands(g, forward, dtype=np.float32, pixels=True):
    """(x, weight, bias, y): y is NaN."""
    rng = np.random.default_rng(3)
    src, dst = (g.input_shape, g.output_shape) if forward else (g.output_shape, g.input_shape)
    x = lying(src, dtype, pixels)
    x[...] = rng.standard_normal(src)
    w, bias = rng.standard_normal(g.weight_shape).astype(dtype), rng.standard_normal(dst[1]).astype(dtype)
    return x, w, bias, lying(dst, dtype, pixels)


def assert_close(name, y, answer, bound):
    assert not np.isnan(y).any(), "not everything was written"
    error = np.abs(y - answer) / (largest_nearby(bound) * np.finfo(y.dtype).eps)
    assert error.max() <= C.get(name, 16), error.max()


def largest_nearby(bound):
    for axis in (2, 3):
        ends = [(0, 0)] * 4
        ends[axis] = NEAR, NEAR
        padded = np.pad(bound, ends)
        bound = sliding_window_view(padded, 2 * NEAR + 1, axis).max(-1)
    return bound


def check(name, forward, pixels, dtype=np.float32):
    """One layer against the definition."""
    g, setting = geometry(name), LAYERS[name][-1]
    x, w, bias, y = operands(g, forward, dtype, pixels)
    run = Run(g, setting, x, w, bias, y, forward)
    run.compute()
    answer, bound = truth(g, forward, x, w, bias)
    assert_close(name, y, answer, bound)
    assert run.weight_flag == 0
    assert not run.flags.any()
    return run


CASES = list(product(LAYERS, (True, False), (True, False)))


@pytest.mark.parametrize(("name", "forward", "pixels"), CASES)
def test_a_layer(name, forward, pixels):
    check(name, forward, pixels)


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_in_float64(name):
    check(name, True, True, np.float64)


@pytest.mark.parametrize("name", ["k4s2", "k5s2", "k3s1"])
@pytest.mark.parametrize("pixels", [True, False])
def test_the_size_of_blocks_does_not_change_a_bit(name, pixels):
    """Blocks of tiles are only where things are done; sums are made in the same order."""
    g, setting = geometry(name), LAYERS[name][-1]
    results = []
    for tiles in ((1, 1, 1), (9, 9, 9), (1, 2, 2)):
        x, w, bias, y = operands(g, True, pixels=pixels)
        Run(g, replace(setting, tiles=tiles), x, w, bias, y).compute()
        results.append(y)
    assert all((result == results[0]).all() for result in results)


def test_operands_are_read_where_they_lie():
    """A crop of larger maps, and weights with the taps outermost."""
    g = geometry("k4s2")
    x, w, bias, y = operands(g, True)
    wide_x, wide_y = (lying((n, c, h + 2, w_ + 3), np.float32, True) for n, c, h, w_ in (x.shape, y.shape))
    inner_x, inner_y = wide_x[:, :, 1:-1, 2:-1], wide_y[:, :, 1:-1, 2:-1]
    inner_x[...] = x
    turned = np.ascontiguousarray(w.transpose(2, 3, 0, 1)).transpose(2, 3, 0, 1)
    Run(g, LAYERS["k4s2"][-1], inner_x, turned, bias, inner_y).compute()
    Run(g, LAYERS["k4s2"][-1], x, w, bias, y).compute()
    assert (inner_y == y).all()
    outside = wide_y.copy()
    outside[:, :, 1:-1, 2:-1] = np.nan
    assert np.isnan(outside).all(), "the frame was written to"


@pytest.mark.parametrize("isa", ISAS)
def test_lower_instruction_sets(isa):
    program = """
import sys
sys.path.insert(0, {!r})
from test_winograd_layers import CASES, check
for case in CASES:
    check(*case)
print(len(CASES))
"""
    assert int(script(program.format(str(Path(__file__).parent)), UPCONV_ISA=isa)) == len(CASES)


# What is not finite --------------------------------------------------------------------------------------------------

BAD = (np.nan, np.inf, -np.inf)


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("name", ["k4s2", "k3s1", "k5s2"])
def test_every_block_with_an_output_that_is_not_finite_is_flagged(name, value):
    """A value that is not finite makes every output that reads it not finite, whatever the transforms do with it."""
    g, setting = geometry(name), LAYERS[name][-1]
    for where in [(0, 0, 0, 0), (0, 3, 2, 4), (-1, -1, -1, -1), (0, 1, -1, 0)]:
        x, w, bias, y = operands(g, True)
        x[where] = value
        run = Run(g, setting, x, w, bias, y)
        run.compute()
        answer, _ = truth(g, True, x, w, bias)
        bad = ~np.isfinite(answer)
        assert bad.any()
        assert not np.isfinite(y[bad]).any(), "an output that reads it looks finite"
        assert run.flags.any()
        assert_flags_cover(run, ~np.isfinite(y))


def assert_flags_cover(run, bad):
    """Every result of the blocks that are not flagged is finite."""
    bands, layer = run.layer.bands, run.layer
    counts = [len(blocks) for blocks in layer.blocks]
    for number, place in enumerate(product(*map(range, counts))):
        (n, top, left), (images, rows, cols) = bands.written(place)
        inside = bad[n : n + images, :, top : top + rows, left : left + cols]
        assert bool(run.flags[number]) or not inside.any(), place


def test_far_blocks_are_not_flagged():
    g, setting = geometry("k4s2"), LAYERS["k4s2"][-1]
    x, w, bias, y = operands(g, True)
    x[0, 0, 0, 0] = np.inf
    run = Run(g, setting, x, w, bias, y)
    run.compute()
    assert run.flags[0] == 1
    assert run.flags[-1] == 0


def test_an_overflow_in_the_transform_is_flagged():
    """Finite operands and finite results, but a sum of the source's transform that is not."""
    g, setting = geometry("k4s2"), LAYERS["k4s2"][-1]
    x, w, bias, y = operands(g, True)
    x[...] = np.float32(3e38)
    w[...] = 1e-3 * (-1) ** np.arange(g.c_in)[:, None, None, None]
    run = Run(g, setting, x, w, bias, y)
    run.compute()
    answer, _ = truth(g, True, x, w, bias)
    assert np.isfinite(answer.astype(np.float32)).all()
    assert run.flags.any()


@pytest.mark.parametrize(("name", "value"), [*product(("k4s2", "k3s1"), BAD), ("k3s1", 3e38)])
def test_a_weight_that_is_not_finite_any_more_is_flagged(name, value):
    """Also one that is finite itself, but not its transform."""
    g, setting = geometry(name), LAYERS[name][-1]
    x, w, bias, y = operands(g, True)
    w[3, 2] = value
    run = Run(g, setting, x, w, bias, y)
    run.compute()
    assert run.weight_flag == 1


@pytest.mark.parametrize("value", BAD)
def test_a_bias_that_is_not_finite_is_flagged(value):
    g, setting = geometry("k4s2"), LAYERS["k4s2"][-1]
    x, w, bias, y = operands(g, True)
    bias[-1] = value
    run = Run(g, setting, x, w, bias, y)
    run.compute()
    assert run.flags.all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", [Activation("relu"), Activation("leaky_relu", 0.2)], ids=str)
def test_an_activation_is_applied_to_what_would_be_written(activation, dtype):
    """Bit for bit; what is not finite is flagged whatever the activation makes of it."""
    for name, forward in (("k4s2", True), ("k4s2-uneven", True), ("row", True), ("k5s2", True), ("k5s2", False)):
        g, setting = geometry(name), LAYERS[name][-1]
        results = []
        for each in (Activation("none"), activation):
            x, w, bias, y = operands(g, forward, dtype)
            Run(g, setting, x, w, bias, y, forward, activation=each).compute()
            results.append(y)
        plain, activated = results
        activate(activation, plain)
        np.testing.assert_array_equal(activated, plain)
        assert (activated <= 0).any()
        x, w, bias, y = operands(g, forward, dtype)
        x[..., -1, -1] = -np.inf
        run = Run(g, setting, x, w, bias, y, forward, activation=activation)
        run.compute()
        assert run.flags.any()


# Accuracy ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outputs", "k", "s", "most"),
    [(({2: 3},) * 2, 4, 2, 1.2), (({3: 2},) * 2, 3, 1, 1.0), (({3: 2}, {3: 4}), 3, 1, 2.5), (({2: 2},) * 2, 4, 2, 1.0)],
)
def test_errors_are_like_those_of_plain_sums(outputs, k, s, most):
    """rms of the error over that of one float32 product of matrices whose sums have the same length, 128 channels."""
    axis = Axis(9, k, s, crop_lo=1, crop_hi=1)
    g = Geometry(1, 128, 16, 1, axis, axis)
    x, w, bias, y = operands(g, True)
    bias[...] = 0
    Run(g, Setting(outputs, (1, 9, 9), 16), x, w, bias, y).compute()
    answer, _ = truth(g, True, x, w, bias)
    taps = (k // s) ** 2
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2000, 128 * taps)).astype("f4"), rng.standard_normal(128 * taps).astype("f4")
    plain = np.zeros(2000, np.float32)
    for step in range(a.shape[1]):
        plain += a[:, step] * b[step]
    usual = np.sqrt(np.mean((plain - a.astype("f8") @ b) ** 2))
    inner = y[:, :, 2:-2, 2:-2] - answer[:, :, 2:-2, 2:-2]
    assert np.sqrt(np.mean(inner**2)) <= most * usual


# The kernels' mistakes -----------------------------------------------------------------------------------------------

KERNELS = (winograd_spread, winograd_product, winograd_gather, winograd_weight)
DROPPED = {
    winograd_spread: "c n tiles_h tiles_w x_n x_row x_col x_h x_w row row_m height col col_m width v_pos v_tile",
    winograd_product: "c n tiles_h tiles_w positions v_pos u_pos m_pos v_tile m_tile panels adds",
    winograd_gather: (
        "c n tiles_h tiles_w y_n y_row y_col y_h y_w phases_h phases_w y_ph y_pw row row_tile row_step height col "
        "col_tile col_step width m_pos m_tile m_phase bias"
    ),
    winograd_weight: "c columns vectors w_c w_h w_w phases_h phases_w w_ph w_pw u_pos u_panel",
}
MUTANTS = [(kernel, word) for kernel, words in DROPPED.items() for word in words.split()]


def test_every_word_of_a_kernel_has_a_mutant():
    # The slope has a test of its own, and so has what is prefetched (test_winograd_kernels), which changes no result.
    addresses = {"entry", "x", "v", "u", "m", "sums", "y", "w", "zeros", "sink", "flag", "slope"}
    prefetched = {word for word in winograd_product.FIELDS if word.startswith(("next", "then"))}
    for kernel in KERNELS:
        assert set(kernel.FIELDS) - addresses - prefetched == set(DROPPED[kernel].split())


@pytest.mark.parametrize(("kernel", "word"), MUTANTS, ids=[f"{k.__name__[8:]}-{w}" for k, w in MUTANTS])
def test_a_word_that_is_wrong_is_found(kernel, word, monkeypatch):
    """Jobs that are wrong in one word by as little as it can be, without leaving their memory."""
    right = winograd.total

    def wrong(*entries):
        task = right(*entries)
        if task.get("fields") is kernel.FIELDS:
            change(task, word)
        return task

    monkeypatch.setattr("upconv.schedule.winograd_layer.total", wrong)
    found = False
    for name in ("k4s2", "k4s2-uneven", "k4s2-own-tiles"):
        try:
            check_in_room(name)
        except AssertionError:
            found = True
    assert found


def change(task, word):
    value = task[word]
    if isinstance(value, tuple):
        task[word] = value[0], value[1] + 4
    elif word == "vectors":
        # One fewer would be written all the same where several go together.
        task[word] = max(0, value - max(winograd_product.tiles_of(isa())))
    elif word.startswith(("row", "col")) and word != "columns":
        task[word] = value + 1
    elif abs(value) >= 8:
        task[word] = value - 4 if value > 0 else value + 4
    else:
        task[word] = max(0, value - 1) if value else 1


def check_in_room(name):
    """`check` with much room around everything, so that a wrong task cannot reach foreign memory."""
    g, setting = geometry(name), LAYERS[name][-1]
    x, w, bias, y = operands(g, True)
    x, w, bias, y = map(roomy, (x, w, bias, y))
    run = Run(g, setting, x, w, bias, y, allocate=lambda n: roomy(np.zeros(n, np.uint8)))
    run.compute()
    answer, bound = truth(g, True, x, w, bias)
    assert_close(name, y, answer, bound)


ROOM = 1 << 20


def roomy(array):
    """A copy that lies alike, in the middle of memory that is NaN."""
    memory = np.full(array.nbytes + 2 * ROOM, 0xFF, np.uint8)
    twin = np.ndarray(array.shape, array.dtype, memory[ROOM:], strides=array.strides)
    twin[...] = array
    return twin


# Memory --------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="needs mprotect")
@pytest.mark.parametrize("isa", ISAS)
def test_nothing_beyond_memory_is_touched(isa):
    program = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import numpy as np
from rooms import Room
import test_winograd_layers as t
from winograd_run import Run
count = 0
for name, forward, pixels in t.CASES:
    for at_end in (True, False):
        print(name, forward, pixels, at_end, flush=True)
        rooms = iter([Room(4 << 20) for _ in range(12)])
        def allocate(nbytes):
            # Vectors may be read up to their end.
            return next(rooms).put((-(-nbytes // 64) * 64,), np.uint8, (0,), at_end)
        g = t.geometry(name)
        x, w, bias, y = (next(rooms).copy(a, at_end) for a in t.operands(g, forward, np.float32, pixels))
        run = Run(g, t.LAYERS[name][-1], x, w, bias, y, forward, allocate)
        run.compute()
        answer, bound = t.truth(g, forward, x, w, bias)
        t.assert_close(name, y, answer, bound)
        count += 1
print(count)
"""
    assert int(script(program, UPCONV_ISA=isa).splitlines()[-1]) == 2 * len(CASES)
