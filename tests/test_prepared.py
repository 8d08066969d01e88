"""Prepared weights: the bits of the weight as given, for every dtype, way, layout and size; immutable."""

import copy
import itertools
import pickle
import threading
import weakref
from collections import Counter
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from amount import some
from cases import AVAILABLE, LAYOUTS, Case
from compare import assert_same_bits, operands, poison
from strided import ACTIVATIONS
from ways import AUTO, KERNELS, check

import upconv
from upconv import SettingError, planning
from upconv import prepared as module
from upconv.algorithms import ALGORITHMS
from upconv.arrays import empty
from upconv.prepared import PreparedWeight
from upconv.problem import Problem
from upconv.runtime.kernel import usable

pytestmark = pytest.mark.skipif(bool(usable()), reason="no kernels can be made here")
CASES = (
    Case("dense", 2, 5, 4, 6, 19, (3, 3), (2, 2), (1, 1)),
    Case("fused", 1, 9, 5, 7, 2, (4, 4), (2, 2), (1, 1)),
    Case("rows", 1, 4, 3, 11, 3, (3, 3), (1, 1), (1, 1)),
    Case("dilated", 1, 4, 3, 5, 5, (3, 2), (2, 1), (1, 1), d=(2, 3)),
    Case("one-tap", 2, 7, 3, 5, 18, (1, 1)),
    Case("grouped", 1, 8, 3, 9, 10, (3, 4), (2, 2), (1, 1), groups=2),
    Case("depthwise", 2, 6, 5, 9, 6, (4, 4), (2, 2), (1, 1), groups=6),
    Case("weight-streaming", 2, 31, 2, 3, 37, (3, 3), (2, 2), (1, 0)),
)


def prepared(case, w):
    return upconv.prepare(w, case.s, groups=case.groups, dilation=case.d)


def ways(problem):
    asked = planning.choose(problem).candidates
    return [candidate.name for candidate in asked if candidate.seconds is not None]


def same_form(problem, way):
    """Whether the form of a weight is the same as given and prepared."""
    both = [planning.choose(replace(problem, prepared=each), way).inner for each in (False, True)]
    return len({ALGORITHMS[way].weight_form(each) for each in both}) == 1


def solved(problem, way, a, w, bias=None):
    with poison():
        out = empty(problem.result_shape, a.dtype, problem.layout)
        planning.solve(problem, way, a, w, bias, out)
    return out


@pytest.mark.isa_in_turn
@pytest.mark.parametrize("dtype", AVAILABLE)
@pytest.mark.parametrize("operation", ["forward", "grad_input"])
def test_the_bits_are_those_of_the_weight_as_given(operation, dtype, isa):
    """For every way by its name, those of NumPy too, and for maps of other sizes with the same prepared weight."""
    ran = Counter()
    for case in CASES:
        made = None
        for more, layout in ((0, "nchw"), (3, "nhwc"), (1, "nchw"), (0, "nhwc")):
            larger = replace(case, h=case.h + more, w=case.w + 2 * more)
            (a, _), w = operands(operation, larger.arrays(dtype, layout)), case.arrays(dtype).w
            made = prepared(case, w) if made is None else made
            problem = Problem(operation, larger.geometry(), dtype, layout)
            both = set(ways(problem)) & set(ways(replace(problem, prepared=True)))
            # The loops take their time, and are by default tried on one of the sizes.
            slow = {"loops"} if more != some(3, more) else set()
            for way in both - slow:
                # Winograd's tiles may be others where the weight has to become a form in the call.
                if way != "winograd" or same_form(problem, way):
                    assert_same_bits(solved(problem, way, a, made), solved(problem, way, a, w))
                    ran[way] += 1
    none = {way for way in KERNELS if "weight_gradient" in way}
    alone = {
        "gemm_fused_phases",
        "gemm_phase_blocks",
        "col2im_channels",
        "col2im_rows",
        "col2im_columns",
        "tap_streaming",
        "weight_streaming",
        "direct_phases",
    }
    none |= alone if operation == "grad_input" else {"gemm_planes", "gemm_tap_rows", "input_gradient_columns"}
    apart = {"depthwise_rows", "depthwise_columns", "depthwise_channels", "gemm_planes"}
    none |= apart if dtype.startswith("complex") else set()
    none |= {"input_gradient_columns"} if dtype == "int64" else set()
    none |= {"depthwise_rows", "depthwise_columns"} if operation == "grad_input" else set()
    assert set(KERNELS) - set(ran) <= none, ran
    assert {"matmul", "loops"} <= set(ran)


@pytest.mark.parametrize("after", ACTIVATIONS)
def test_and_they_are_right(after, isa):
    ran = Counter()
    for case in CASES:
        for layout in LAYOUTS:
            ran += check(case, "forward", "float32", layout, prepared=True, after=after)
    assert set(ran) == {*(way for way in KERNELS if "_gradient" not in way), AUTO} - {
        "gemm_planes",
        "gemm_tap_rows",
    }


def test_doors_take_it():
    case = CASES[0]
    x, w, b, _ = case.arrays("float32")
    made = prepared(case, w)
    settings = {"stride": case.s, "padding": case.p}
    want = upconv.conv_transpose2d(x, w, b, **settings)
    assert_same_bits(upconv.conv_transpose2d(x, made, b, **settings), want)
    # One image may be computed in another way than two.
    one = upconv.conv_transpose2d(x[0], w, b, **settings)
    assert_same_bits(upconv.conv_transpose2d(x[0], made, b, **settings), one)
    out = np.empty_like(want)
    assert upconv.conv_transpose2d(x, made, b, out=out, **settings) is out
    assert_same_bits(out, want)
    folded = {**settings, "padding_mode": "circular"}
    assert_same_bits(upconv.conv_transpose2d(x, made, b, **folded), upconv.conv_transpose2d(x, w, b, **folded))
    plan = upconv.plan(x, made, **settings)
    assert plan.problem.prepared
    assert "weight prepared" in str(plan)
    assert_same_bits(plan(x, made, b), want)


def test_a_plan_for_arrays_takes_either_form_and_one_for_a_prepared_weight_says_so():
    case = CASES[0]
    x, w, *_ = case.arrays("float32")
    made, settings = prepared(case, w), {"stride": case.s, "padding": case.p}
    want = upconv.conv_transpose2d(x, w, **settings)
    given, ready = (upconv.plan(x, weight, **settings) for weight in (w, made))
    assert_same_bits(given(x, w), want)
    assert_same_bits(given(x, made), want)
    assert_same_bits(ready(x, made), want)
    with pytest.raises(SettingError, match="made for a prepared weight"):
        ready(x, w)
    with pytest.raises(SettingError, match="made for a prepared weight"):
        upconv.conv_transpose2d(x, w, algorithm=ready, **settings)


def test_it_is_a_private_copy_that_nobody_can_write():
    case = CASES[0]
    x, w, *_ = case.arrays("float32")
    made, want = prepared(case, w), upconv.conv_transpose2d(x, w, stride=case.s)
    w[...] = 0
    assert_same_bits(upconv.conv_transpose2d(x, made, stride=case.s), want)
    assert not made.array.flags.writeable
    assert all(not form.array.flags.writeable for form in made._forms.values())
    assert made._forms
    with pytest.raises(ValueError, match="read-only"):
        made.array[0] = 1
    for name, value in (("shape", (1,)), ("array", w), ("nbytes", 0), ("other", 1)):
        with pytest.raises(AttributeError):
            setattr(made, name, value)


def test_a_form_is_made_once_and_only_when_it_is_asked_for(monkeypatch):
    case = CASES[0]
    x, w, *_ = case.arrays("float32")
    made, packed = prepared(case, w), []
    pack = type(ALGORITHMS["gemm"]).pack
    monkeypatch.setattr(
        type(ALGORITHMS["gemm"]), "pack", lambda self, *rest: (packed.append(self.name), pack(self, *rest))[1]
    )
    assert (made.nbytes, repr(made).endswith("forms: none yet)")) == (w.nbytes, True)
    threads = [
        threading.Thread(target=lambda: upconv.conv_transpose2d(x, made, stride=case.s, algorithm="gemm"))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for height in (1, 5, 9):
        upconv.conv_transpose2d(x[:, :, :1].repeat(height, 2), made, stride=case.s, algorithm="gemm")
    assert packed == ["gemm"]
    assert made.nbytes == w.nbytes + sum(form.nbytes for form in made._forms.values()) > w.nbytes
    assert "panels of" in repr(made)
    assert f"{made.nbytes:,} bytes" in repr(made)
    upconv.conv_transpose2d(x, made, stride=case.s, algorithm="direct_rows")
    assert packed == ["gemm", "direct_rows"]


@pytest.fixture
def of_many_kinds(monkeypatch):
    """(a prepared weight, maps of sizes that ask for forms of several kinds); 20 times the weight are no few bytes."""
    monkeypatch.setattr(module, "FORMS_BYTES", 0)
    rng = np.random.default_rng(0)
    w = rng.standard_normal((64, 64, 4, 4), np.float32)
    return upconv.prepare(w, stride=2), [rng.standard_normal((1, 64, n, n), np.float32) for n in (9, 7, 11, 16, 21, 48)]


def test_forms_are_bounded_and_those_used_last_stay(of_many_kinds, monkeypatch):
    made, maps = of_many_kinds
    call = partial(upconv.conv_transpose2d, stride=2, algorithm="winograd")
    wants, most = [call(x, upconv.prepare(made.array, stride=2)) for x in maps], 0
    kinds = len({ALGORITHMS["winograd"].weight_form(upconv.plan(x, made, stride=2).problem) for x in maps})
    assert kinds > 2
    monkeypatch.setattr(module, "FORMS_TIMES", 8)
    for x, want in itertools.chain(zip(maps, wants, strict=True), zip(maps[::-1], wants[::-1], strict=True)):
        assert_same_bits(call(x, made), want)
        forms = sum(form.nbytes for form in made._forms.values())
        assert forms <= 8 * made.array.nbytes
        assert made.nbytes == made.array.nbytes + forms
        most = max(most, len(made._forms))
        # The one used last is there still.
        assert made.form(ALGORITHMS["winograd"], upconv.plan(x, made, stride=2).problem)[0] is not None
    assert 1 < most < kinds
    monkeypatch.setattr(module, "FORMS_TIMES", 0)
    call(maps[0], made)
    call(maps[-1], made)
    assert len(made._forms) == 1, "the last one stays, however large"


def test_a_form_that_is_let_go_is_not_read_any_more(monkeypatch):
    """Not by calls that are remembered, which know addresses."""
    monkeypatch.setattr(module, "FORMS_BYTES", 0)
    monkeypatch.setattr(module, "FORMS_TIMES", 0)
    x, w = np.ones((1, 8, 6, 6), np.float32), np.ones((8, 8, 4, 4), np.float32)
    made = upconv.prepare(w, stride=2)
    want = upconv.conv_transpose2d(x, made, stride=2)
    upconv.conv_transpose2d(x, made, stride=2)
    assert made.calls
    (kept,) = made._forms.values()
    gone = weakref.ref(kept.array)
    del kept
    # One that asks for a form of its own.
    other = "col2im_channels"
    assert not set(made._forms) & {ALGORITHMS[other].weight_form(upconv.plan(x, made, stride=2).problem)}
    upconv.conv_transpose2d(x, made, stride=2, algorithm=other)
    assert gone() is None
    assert not made.calls
    assert_same_bits(upconv.conv_transpose2d(x, made, stride=2), want)


def test_a_form_that_remembered_calls_read_counts_as_used(of_many_kinds, monkeypatch):
    made, maps = of_many_kinds
    monkeypatch.setattr(module, "FORMS_TIMES", 8)
    small = np.ones((1, made.shape[0], 2, 3), np.float32)
    for _ in range(3):
        upconv.conv_transpose2d(small, made, stride=2)
    (often,) = made._forms.values()
    for x in maps:
        upconv.conv_transpose2d(x, made, stride=2, algorithm="winograd")
        for _ in range(3):
            upconv.conv_transpose2d(small, made, stride=2)
        assert often in made._forms.values()


def test_threads_that_make_each_other_let_go_of_forms_are_right(of_many_kinds, monkeypatch):
    made, maps = of_many_kinds
    monkeypatch.setattr(module, "FORMS_TIMES", 0)
    call, wrong = partial(upconv.conv_transpose2d, stride=2, algorithm="winograd"), []
    wants = [call(x, upconv.prepare(made.array, stride=2)) for x in maps[:3]]

    def work(x, want):
        for _ in range(20):
            if (call(x, made) != want).any():
                wrong.append(x.shape)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(maps, wants, strict=False)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # What is noted of forms is of those that are kept.
    assert {kept for kept, _ in made._found.values()} <= set(made._forms.values())
    assert not wrong


def test_what_is_noted_of_forms_is_of_those_that_are_kept(monkeypatch):
    """Also where a form is let go just then, as by another thread or a signal's handler."""
    monkeypatch.setattr(module, "FORMS_BYTES", 0)
    monkeypatch.setattr(module, "FORMS_TIMES", 0)
    x, made, asked = np.ones((1, 8, 6, 6), np.float32), upconv.prepare(np.ones((8, 8, 4, 4), np.float32)), []

    class Found(dict):
        def __setitem__(self, key, value):
            if not asked:
                asked.append(key)
                upconv.conv_transpose2d(x[:, :, :2], made, algorithm="col2im_channels")
            super().__setitem__(key, value)

    made._found = Found()
    for _ in range(3):
        upconv.conv_transpose2d(x, made, algorithm="gemm")
    assert asked
    assert {kept for kept, _ in made._found.values()} <= set(made._forms.values())


@pytest.mark.parametrize("dtype", ["float32", "complex64", "float16"])
def test_pickling_and_copying_leave_the_forms_behind(dtype):
    case = CASES[0]
    x, w, *_ = case.arrays(dtype)
    made = prepared(case, w)
    want = upconv.conv_transpose2d(x, made, stride=case.s)
    assert copy.copy(made) is made
    assert copy.deepcopy([made])[0] is made
    again = pickle.loads(pickle.dumps(made))
    assert len(pickle.dumps(made)) < w.nbytes + 2000
    assert (again.shape, again.dtype, again.nbytes, again.settings) == (made.shape, made.dtype, w.nbytes, made.settings)
    assert not again.array.flags.writeable
    assert_same_bits(upconv.conv_transpose2d(x, again, stride=case.s), want)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("stride", {"stride": (2, 1)}),
        ("dilation", {"stride": 2, "dilation": (1, 3)}),
        ("groups", {"stride": 2, "groups": 2}),
    ],
)
def test_other_settings_than_it_was_prepared_for_are_refused(name, settings):
    x, w, *_ = CASES[0].arrays("float32")
    made = upconv.prepare(w, 2)
    with pytest.raises(SettingError, match=f"{name} is .*prepared for {name}="):
        upconv.conv_transpose2d(x, made, **settings)


def test_padding_may_be_any():
    x, w, *_ = CASES[0].arrays("float32")
    made = upconv.prepare(w, 2, padding=1)
    for padding, output_padding in ((0, 1), (1, 0), (((1, 0), (2, -1)), 0), ("same", 0)):
        # By one way, since that of a prepared weight may be another.
        settings = {"stride": 2, "padding": padding, "output_padding": output_padding, "algorithm": "gemm"}
        assert_same_bits(upconv.conv_transpose2d(x, made, **settings), upconv.conv_transpose2d(x, w, **settings))


def doors_for_arrays():
    """Calls of a prepared weight that take no prepared weight."""
    line, volume = np.ones((1, 2, 5), np.float32), np.ones((1, 2, 5, 5, 5), np.float32)
    kept1, kept3 = (upconv.prepare(np.ones((2, 3, *(2,) * axes), np.float32)) for axes in (1, 3))
    g1, g3 = np.ones((1, 3, 6), np.float32), np.ones((1, 3, 6, 6, 6), np.float32)
    layer1, layer3 = upconv.ConvTranspose1d(2, 3, 2), upconv.ConvTranspose3d(2, 3, 2)
    grad = upconv.grad
    return {
        "the gradient in a line": lambda: grad.conv_transpose1d_input(line.shape, kept1, g1),
        "the gradients of a line": lambda: grad.conv_transpose1d_backward(g1, line, kept1),
        "the gradient in a volume": lambda: grad.conv_transpose3d_input(volume.shape, kept3, g3),
        "the gradients of a volume": lambda: grad.conv_transpose3d_backward(g3, volume, kept3),
        "prepare": lambda: upconv.prepare(kept1),
        "prepare, of a volume": lambda: upconv.prepare(kept3),
        "a layer's weight": lambda: setattr(layer1, "weight", kept1),
        "a layer's weight, of a volume": lambda: setattr(layer3, "weight", kept3),
        "load_state_dict": lambda: layer3.load_state_dict({"weight": kept3}, strict=False),
    }


@pytest.mark.parametrize("name", doors_for_arrays())
def test_a_door_for_arrays_names_the_array_of_a_prepared_weight(name):
    with pytest.raises(TypeError, match=r"weight is a Prepared(Weight|Volume), .*; here pass weight\.array"):
        doors_for_arrays()[name]()


def test_no_map_has_a_plan_for_the_weight_of_a_volume():
    with pytest.raises(SettingError, match=r"weight has shape \(2, 3, 2, 2, 2\); a plan needs all 4 sizes"):
        upconv.plan((1, 2, 4, 4), upconv.prepare(np.ones((2, 3, 2, 2, 2), np.float32)))


@pytest.mark.parametrize(
    ("shape", "groups", "said"),
    [
        ((4, 3, 3, 3), 3, "in_channels is 4, which groups=3 does not divide; groups=2 would"),
        ((4, 3, 0, 3), 1, "height: kernel is 0; it must be at least 1"),
        ((4, 0, 3), 1, "out_channels is 0; it must be at least 1"),
        ((0, 3, 3, 3, 3), 1, "in_channels is 0; it must be at least 1"),
    ],
)
def test_a_weight_that_no_call_could_use_is_refused_at_once(shape, groups, said):
    with pytest.raises(SettingError, match=f"^{said}$"):
        upconv.prepare(np.ones(shape, np.float32), stride=2, padding=9, groups=groups)


def test_what_is_no_weight_is_refused():
    with pytest.raises(SettingError):
        upconv.prepare(np.ones((3, 3), np.float32))
    with pytest.raises(NotImplementedError):
        upconv.prepare(np.ones((2, 3, 3, 3), bool))
    with pytest.raises(SettingError):
        upconv.prepare(np.ones((2, 3, 3, 3), np.float32), stride=0)


def test_of_another_dtype_than_the_input_is_refused():
    x, w, *_ = CASES[0].arrays("float32")
    with pytest.raises((SettingError, TypeError), match="float64"):
        upconv.conv_transpose2d(x, upconv.prepare(w.astype(np.float64), 2), stride=2)


def test_however_the_array_lies_it_is_the_same():
    case = CASES[0]
    x, w, *_ = case.arrays("float32")
    want = upconv.conv_transpose2d(x, w, stride=case.s)
    swapped = w.astype(w.dtype.newbyteorder())
    for given in (w, np.asfortranarray(w), np.repeat(w, 2, axis=3)[..., ::2], swapped, w.tolist()):
        made = prepared(case, np.asarray(given, np.float32) if isinstance(given, list) else given)
        assert isinstance(made, PreparedWeight)
        assert made.dtype.isnative
        assert_same_bits(upconv.conv_transpose2d(x, made, stride=case.s), want)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))), ids=str)
def test_a_call_that_is_made_again_reads_the_weight_in_any_order(order):
    """From the second call on nothing is looked at: what was kept of the first must fit."""
    rng = np.random.default_rng(0)
    shape = 4, 2, 3, 3
    w = rng.standard_normal([shape[axis] for axis in order], np.float32).transpose(np.argsort(order))
    x = rng.standard_normal((1, 4, 5, 6), np.float32)
    layer, halves = upconv.ConvTranspose2d(4, 2, 3, 2, bias=False), upconv.prepare(w, 2, storage="bfloat16")
    layer.weight = w
    want = upconv.conv_transpose2d(x, np.ascontiguousarray(w), stride=2)
    low = upconv.conv_transpose2d(x, np.ascontiguousarray(halves.array), stride=2)
    made, again = upconv.prepare(w, 2), pickle.loads(pickle.dumps(upconv.prepare(w, 2)))
    for _ in range(3):
        np.testing.assert_allclose(layer(x), want, rtol=1e-5, atol=1e-5)
        for each in (made, again):
            np.testing.assert_allclose(upconv.conv_transpose2d(x, each, stride=2), want, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(upconv.conv_transpose2d(x, halves, stride=2), low, rtol=1e-5, atol=1e-5)
