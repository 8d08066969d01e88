"""Calls remembered: the same bits as the door's, nothing that the door refuses, nothing left behind."""

import gc
import sys
import threading
import time
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest
from amount import some
from cases import AWKWARD, LAYOUTS, SMALL
from children import script
from compare import assert_same_bits
from fresh import forget, fresh

import upconv
from upconv import calls
from upconv.generated import Generated
from upconv.plans import Plan
from upconv.runtime import builtin, memory, pool, program
from upconv.runtime.kernel import usable

pytestmark = pytest.mark.skipif(bool(usable()), reason="no kernels can be made here")
CASES = [case for case in (*SMALL, *AWKWARD) if not case.geometry().output_shape.count(0)]


@pytest.fixture(autouse=True)
def nothing_remembered():
    with fresh():
        yield


@contextmanager
def threads(count):
    before = upconv.get_num_threads()
    upconv.set_num_threads(count)
    try:
        yield
    finally:
        upconv.set_num_threads(before)


@pytest.fixture
def through(monkeypatch):
    """How often a call went straight into generated code."""
    counted, again = [], calls.again

    def counting(*args):
        result = again(*args)
        if result is not None:
            counted.append(args)
        return result

    monkeypatch.setattr(calls, "again", counting)
    return counted


def layer(dtype="float32", bias=True):
    """(x, w, b, keyword arguments) of a small layer."""
    rng = np.random.default_rng(0)
    shapes = (2, 8, 5, 4), (8, 6, 4, 4), (6,)
    x, w, b = (rng.standard_normal(shape).astype(dtype) for shape in shapes)
    return x, w, b if bias else None, {"stride": 2, "padding": 1}


@pytest.mark.parametrize("prepared", [False, True], ids=["array", "prepared"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_a_repeated_call_has_the_bits_of_the_first(dtype, layout, prepared, through):
    # By default every third case, and every case by some dtypes and layouts.
    turn = len(dtype) + 2 * (layout == "nhwc") + prepared
    remembered, cases = 0, some(CASES[turn % 3 :: 3], CASES)
    for case in cases:
        made = case.arrays(dtype, layout)
        w = upconv.prepare(made.w, **case.settings) if prepared else made.w
        for bias, activation in ((made.b, None), (None, "relu"), (made.b, "relu")):
            if dtype == "int64" and activation:
                continue
            first, second = (
                upconv.conv_transpose2d(made.x, w, bias, **case.settings, activation=activation) for _ in range(2)
            )
            before = len(through)
            # Other values under the same signature, and the door's own answer for them.
            x = np.negative(made.x)
            y = upconv.conv_transpose2d(x, w, bias, **case.settings, activation=activation)
            remembered += len(through) - before
            want = np.empty_like(y)
            upconv.conv_transpose2d(x, w, bias, **case.settings, activation=activation, out=want)
            assert_same_bits(second, first)
            assert_same_bits(y, want)
            assert (second.strides, second.dtype) == (first.strides, first.dtype)
    # Nearly all of these layers are brief; if none went through, this would test nothing.
    assert remembered > len(cases) // 2


@pytest.mark.parametrize("prepared", [False, True], ids=["array", "prepared"])
def test_a_repeated_convolution_has_the_bits_of_the_first(prepared, through):
    """Beside a transposed one of the same operands and settings, which is another call."""
    rng = np.random.default_rng(1)
    y, array, b = (rng.standard_normal(shape).astype("f") for shape in ((2, 6, 9, 8), (6, 6, 3, 3), (6,)))
    w, settings = upconv.prepare(array, 2) if prepared else array, {"stride": 2, "padding": 1}
    for turn in range(3):
        both = [function(turn + y, w, b, **settings) for function in (upconv.conv2d, upconv.conv_transpose2d)]
        assert len(through) == 2 * turn
        want = upconv.conv2d(turn + y, array, b.astype(">f4"), **settings)
        assert_same_bits(both[0], want)
        assert both[1].shape == (2, 6, 17, 15)


def test_the_layer_goes_the_same_way_and_new_parameters_count(through):
    made = upconv.ConvTranspose2d(8, 6, 4, stride=2, padding=1, rng=0)
    x = layer()[0]
    first, second = made(x), made(x)
    assert len(through) == 1
    assert_same_bits(first, second)
    made.bias = np.full(6, 100, np.float32)
    assert made(x).mean() > 90
    made.weight = made.weight * 0
    assert (made(x) == 100).all()
    assert (made(x) == 100).all()
    made.bias = None
    assert not made(x).any()


def test_a_channels_last_result_lies_as_the_first_did(through):
    x, w, b, settings = layer()
    x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    first, second = (upconv.conv_transpose2d(x, w, b, **settings) for _ in range(2))
    assert len(through) == 1
    assert first.strides == second.strides != np.ascontiguousarray(first).strides


@pytest.mark.parametrize("change", [
    {"stride": 2.0}, {"stride": True}, {"padding": 1.0}, {"groups": 1.0}, {"dilation": "1"}, {"activation": "gelu"},
    {"activation": 1}, {"padding_mode": "ones"}, {"algorithm": "none"}, {"groups": 3}, {"output_padding": 2},
])  # fmt: skip
def test_what_the_door_refuses_is_refused_after_a_call_that_equals_it(change, through):
    x, w, b, settings = layer()
    for _ in range(2):
        upconv.conv_transpose2d(x, w, b, **settings)
    with pytest.raises((TypeError, ValueError, upconv.SettingError)) as after:
        upconv.conv_transpose2d(x, w, b, **settings | change)
    forget()
    with pytest.raises(type(after.value)) as before:
        upconv.conv_transpose2d(x, w, b, **settings | change)
    assert str(before.value) == str(after.value)
    assert len(through) == 1


def test_operands_that_the_door_refuses_are_refused(through):
    x, w, b, settings = layer()
    for _ in range(2):
        upconv.conv_transpose2d(x, w, b, **settings)
    for operands in (
        (x.astype("f8"), w, b), (x, w.astype("f8"), b), (x, w, b.astype("f8")), (x, w, b[:5]), (x[:, :7], w, b),
        (np.ma.masked_array(x), w, b), (x, None, b), (None, w, b), (x, w[0], b),
    ):  # fmt: skip
        with pytest.raises((TypeError, upconv.SettingError)):
            upconv.conv_transpose2d(*operands, **settings)
    assert len(through) == 1


def test_a_subclass_a_list_and_the_other_byte_order_take_the_door(through):
    x, w, b, settings = layer()
    want = upconv.conv_transpose2d(x, w, b, **settings)

    class Named(np.ndarray):
        pass

    swapped = x.astype(x.dtype.newbyteorder())
    for operands in ((x.view(Named), w, b), (x.tolist(), w.tolist(), b.tolist()), (swapped, w, b), (x, w, b[None][0])):
        for _ in range(2):
            dtypes = np.float32 if type(operands[0]) is list else None
            if dtypes:
                operands = tuple(np.array(array, dtypes).view(Named) for array in operands)
            assert_same_bits(np.asarray(upconv.conv_transpose2d(*operands, **settings)), want)
    # Only the last is like one before.
    assert len(through) == 2


def test_an_array_that_begins_at_an_odd_address_takes_the_door():
    x, w, b, settings = layer()
    want = upconv.conv_transpose2d(x, w, b, **settings)
    for number in range(3):
        operands = [x, w, b]
        odd = np.empty(operands[number].nbytes + 1, np.uint8)[1:].view(np.float32).reshape(operands[number].shape)
        odd[...] = operands[number]
        operands[number] = odd
        assert not odd.flags.aligned
        assert_same_bits(upconv.conv_transpose2d(*operands, **settings), want)


def test_nothing_is_left_behind_and_no_reference_lost():
    x, w, b, settings = layer()
    odd = np.empty(x.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(x.shape)
    odd[...] = x
    held = x, w, b, NotImplemented, None
    for _ in range(3):
        y = upconv.conv_transpose2d(x, w, b, **settings)
    usual = np.empty(3)
    assert sys.getrefcount(y) == sys.getrefcount(usual)
    before = [sys.getrefcount(each) for each in held]
    for _ in range(1000):
        upconv.conv_transpose2d(x, w, b, **settings)
        calls.again(upconv.settings.parsed(2, 1, 0, 1, 1, "zeros"), odd, w, b, None)
    after = [sys.getrefcount(each) for each in held]
    assert max(abs(a - b) for a, b in zip(after, before, strict=True)) < 20


def test_a_prepared_weight_is_let_go_with_its_calls():
    x, w, b, settings = layer()
    made = upconv.prepare(w, **settings)
    for _ in range(2):
        upconv.conv_transpose2d(x, made, b, **settings)
    assert made.calls
    usual = object()
    assert sys.getrefcount(made) == sys.getrefcount(usual)
    del made
    gc.collect()
    assert not any(isinstance(each, upconv.PreparedWeight) and each.calls for each in gc.get_objects())


def test_what_is_forgotten_is_forgotten_with_a_layers_weight_too(through):
    """A layer keeps its settings, so they alone do not tell what was remembered before."""
    made, x = upconv.ConvTranspose2d(8, 6, 4, stride=2, padding=1, rng=0), layer()[0]
    for expected in (0, 1):
        made(x)
        assert len(through) == expected
    forget()
    made(x)
    assert len(through) == 1


def test_one_dimension_and_an_output_size_are_found_again(through):
    x, w = np.ones((1, 4, 9), np.float32), np.ones((4, 3, 4), np.float32)
    one, two = upconv.ConvTranspose1d(4, 3, 4, stride=2), upconv.ConvTranspose2d(4, 3, 4, stride=2)
    for call in (
        lambda: upconv.conv_transpose1d(x, w, stride=2),
        lambda: one(x),
        lambda: two(x[..., None].repeat(9, -1), output_size=(21, 21)),
    ):
        first, before = call(), len(through)
        for _ in range(3):
            np.testing.assert_array_equal(call(), first)
        assert len(through) == before + 3


def test_poisoned_memory_is_poisoned(through):
    x, w, b, settings = layer()
    with memory.poisoned():
        for _ in range(2):
            upconv.conv_transpose2d(x, w, b, **settings)
    assert not through


def test_threads_that_call_at_once_get_their_own_answers():
    x, w, b, settings = layer()
    inputs = [x * scale for scale in (1, 2, 4, 8)]
    wants = [upconv.conv_transpose2d(each, w, b, **settings) for each in inputs]
    wrong = []

    def work(each, want):
        for _ in range(300):
            if (upconv.conv_transpose2d(each, w, b, **settings) != want).any():
                wrong.append(each)

    running = [threading.Thread(target=work, args=pair) for pair in zip(inputs, wants, strict=True)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("name", ["float16", "complex64"])
def test_what_is_rewritten_first_takes_the_door(name, through):
    x, w, b, settings = layer(name)
    for _ in range(2):
        upconv.conv_transpose2d(x, w, b, **settings)
    assert not through


@pytest.fixture
def longer(monkeypatch):
    """Every call counts as one that takes longer than a brief one."""
    for name in ("BRIEF", "WORTH_WAKING"):
        monkeypatch.setattr(program, name, 0)


def test_long_calls_take_the_door(through, longer, monkeypatch):
    x, w, b, settings = layer()
    with threads(1), monkeypatch.context() as patch:
        patch.setattr(program, "SECONDS_PER_PIECE", 1e-7)
        for _ in range(2):
            upconv.conv_transpose2d(x, w, b, **settings)
    assert not through


@pytest.mark.parametrize("prepared", [False, True], ids=["array", "prepared"])
def test_longer_calls_go_straight_on_any_number_of_threads(through, longer, prepared):
    """Each number has its own program; the one before is forgotten."""
    x, w, b, settings = layer()
    weight = upconv.prepare(w, **settings) if prepared else w
    results = []
    for count, expected in ((2, 1), (1, 2), (2, 3), (3, 4)):
        with threads(count):
            results += [upconv.conv_transpose2d(x, weight, b, **settings) for _ in range(2)]
        assert len(through) == expected
    for result in results:
        assert_same_bits(result, results[0])


def test_a_large_result_goes_straight_into_recycled_memory(through, longer):
    x, w = np.ones((1, 4, 200, 200), np.float32), np.ones((4, 4, 2, 2), np.float32)
    with threads(1):
        first, second = (upconv.conv_transpose2d(x, w, stride=2) for _ in range(2))
    assert len(through) == 1
    assert first.nbytes >= memory.BIG
    assert not second.base.flags.owndata
    assert_same_bits(first, second)


def test_longer_calls_let_go_of_the_gil(through, longer):
    x, w = np.ones((1, 256, 24, 24), np.float32), np.ones((256, 64, 2, 2), np.float32)
    counted, stop = [0], threading.Event()

    def count():
        while not stop.is_set():
            counted[0] += 1
            time.sleep(1e-4)

    with threads(1):
        call = partial(upconv.conv_transpose2d, x, w, stride=2)
        call()
        before = sys.getswitchinterval()
        # Python by itself would not hand the GIL over.
        sys.setswitchinterval(60)
        thread = threading.Thread(target=count)
        try:
            thread.start()
            start = counted[0]
            for _ in range(300):
                call()
                if counted[0] > start:
                    break
            during = counted[0] - start
        finally:
            stop.set()
            sys.setswitchinterval(before)
            thread.join()
    assert through
    assert during > 0


def test_longer_calls_of_two_threads_get_their_own_answers(through, longer):
    x, w, b, settings = layer()
    x = np.ones((1, 8, 64, 64), np.float32)
    inputs = [x * scale for scale in (1, 2, 4)]
    wrong = []
    with threads(1):
        wants = [upconv.conv_transpose2d(each, w, b * scale, **settings) for scale, each in enumerate(inputs)]

        def work(each, scale, want):
            for _ in range(200):
                if (upconv.conv_transpose2d(each, w, b * scale, **settings) != want).any():
                    wrong.append(each)

        running = [
            threading.Thread(target=work, args=(each, scale, want))
            for scale, (each, want) in enumerate(zip(inputs, wants, strict=True))
        ]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
    assert not wrong
    assert through


def test_one_that_is_under_way_elsewhere_sends_the_others_to_the_door(through, longer):
    x, w, b, settings = layer()
    with threads(1):
        want, _ = (upconv.conv_transpose2d(x, w, b, **settings) for _ in range(2))
        builtin._busy[0] = 1
        try:
            assert_same_bits(upconv.conv_transpose2d(x, w, b, **settings), want)
            assert len(through) == 1
            # A child of a fork has no other threads.
            builtin._forget()
            upconv.conv_transpose2d(x, w, b, **settings)
            assert len(through) == 2
            assert not builtin._busy[0]
        finally:
            builtin._forget()


def test_what_is_not_done_in_one_go_is_asked_about_once_for_each_number_of_threads(monkeypatch, through, longer):
    """Much scratch, say: to ask again takes as long as a small layer."""
    asked, direct = [], Plan.direct
    monkeypatch.setattr(Plan, "direct", lambda *operands: asked.append(1) or direct(*operands))
    monkeypatch.setattr(builtin, "LONGER_SCRATCH_BYTES", 0)
    x, w, b, settings = layer()
    for count, expected in ((1, 1), (1, 1), (2, 2), (2, 2), (1, 3)):
        with threads(count):
            upconv.conv_transpose2d(x, w, b, **settings)
        assert len(asked) == expected
    assert not through


@pytest.mark.parametrize("count", [1, 2])
def test_what_sets_flags_goes_straight_until_it_sets_one(count, monkeypatch, through, longer):
    """By tiles a number that is not finite would reach others than it does by definition."""
    rng = np.random.default_rng(2)
    x, w = (rng.standard_normal(shape).astype("f") for shape in ((1, 64, 12, 12), (64, 16, 4, 4)))
    flagged = upconv.plan(x, w, stride=2, algorithm="winograd")
    monkeypatch.setattr("upconv.planning._chosen", lambda problem, algorithm: flagged)
    ran, run = [], Generated.run
    monkeypatch.setattr(Generated, "run", lambda self, *operands: ran.append(self.name) or run(self, *operands))
    with threads(count):
        first, second = (upconv.conv_transpose2d(x, w, stride=2) for _ in range(2))
        assert len(through) == 1
        x[0, 5, 3, 4] = np.inf
        infinite = upconv.conv_transpose2d(x, w, stride=2)
        # Not by tiles once more; nor where it is the first of its kind.
        assert (len(through), ran) == (2, ["gemm"])
        calls._of_arrays.cache_clear()
        assert_same_bits(upconv.conv_transpose2d(x, w, stride=2), infinite)
        assert (len(through), ran) == (2, ["gemm"] * 2)
        want = np.empty_like(infinite)
        upconv.conv_transpose2d(x, w, stride=2, out=want)
        x[0, 5, 3, 4] = 0
        upconv.conv_transpose2d(x, w, stride=2)
    assert len(through) == 3
    assert_same_bits(second, first)
    assert_same_bits(infinite, want)
    assert np.isfinite(infinite).sum() == infinite.size - 16 * 16


class Lent:
    """Threads of a front-end."""

    threads = 2

    def __init__(self):
        self.calls = 0

    def run(self, fn, rows):
        self.calls += 1
        pool._one_by_one(fn, rows)


def test_longer_calls_are_done_by_a_front_ends_threads_where_it_lends_them(through, longer):
    x, w, b, settings = layer()
    # Enough for two threads by every instruction set.
    x = np.tile(x, (1, 1, 3, 3))
    lent, call = Lent(), partial(upconv.conv_transpose2d, x, w, b, **settings)
    with threads(2):
        want, _ = call(), call()
        assert len(through) == 1
        for _ in range(2):
            assert_same_bits(pool.run_on(lent, call), want)
        assert len(through) == 1
    assert lent.calls


def test_the_first_call_is_done_as_the_others_are(longer, monkeypatch):
    """What is kept is made first, and computes: the scratch of the others is in the cache already."""
    x, w, b, settings = layer()
    ran, run = [], program.run
    monkeypatch.setattr(program, "run", lambda *operands: ran.append(1) or run(*operands))
    with threads(1):
        want = upconv.conv_transpose2d(x, w, b, **settings)
        assert not ran
        forget()
        builtin._busy[0] = 1
        try:
            # Where its scratch is in use elsewhere, the call goes through the door.
            assert_same_bits(upconv.conv_transpose2d(x, w, b, **settings), want)
        finally:
            builtin._forget()
    assert ran


def test_why_there_is_none(monkeypatch):
    assert builtin.why_not() == []
    for module, name, value, sentence in (
        (builtin.config, "direct_calls", lambda: False, "switched off"),
        (builtin, "_found_where_they_begin", lambda: False, "does not know where"),
        (builtin.sys, "_is_gil_enabled", lambda: False, "GIL"),
    ):
        builtin.why_not.cache_clear()
        with monkeypatch.context() as patch:
            patch.setattr(module, name, value, raising=False)
            assert sentence in builtin.why_not()[0]
    builtin.why_not.cache_clear()


def test_the_word_is_looked_for_and_a_wrong_place_is_seen(monkeypatch):
    assert builtin._found_where_they_begin()
    monkeypatch.setattr(builtin, "address", lambda array: 1)
    assert not builtin._found_where_they_begin()


def test_the_switch():
    text = """
import numpy as np, upconv
from upconv import calls
x, w = np.ones((1, 2, 3, 3), np.float32), np.ones((2, 2, 2, 2), np.float32)
for _ in range(2):
    y = upconv.conv_transpose2d(x, w)
print(sum(call.run is not None for call in calls._of_arrays.values()), y.sum())
"""
    assert script(text, UPCONV_DIRECT_CALLS="0").split() == ["0", "144.0"]
    assert script(text, UPCONV_DIRECT_CALLS="").split() == ["1", "144.0"]
