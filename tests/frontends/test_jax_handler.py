"""The native handler: the bits of the NumPy door, no copies, no Python at a call, errors, tables, caches, threads."""

import ctypes
import json
import subprocess
import sys
import threading

import numpy as np
import pytest
from amount import some
from cases import AWKWARD, SMALL, Case
from jax_layers import arrays, by_lax, x64
from require import require

import upconv
from upconv.runtime import pool

jax, export = require("jax"), require("jax.export")
contraction, handler = require("upconv.jax.contraction"), require("upconv.jax.handler")
handler_code, scratch = require("upconv.jax.handler_code"), require("upconv.jax.scratch")
conv_transpose2d = require("upconv.jax").conv_transpose2d


LAYER = Case("layer", 2, 19, 9, 7, 24, (4, 4), (2, 2), (1, 1))
CASES = (
    LAYER,
    Case("grouped", 1, 6, 5, 4, 9, (3, 2), (2, 3), (1, 0), (1, 0), 3, (1, 2)),
    Case("depthwise", 2, 20, 9, 8, 20, (4, 4), (2, 2), (1, 1), groups=20),
    Case("few-pixels", 1, 64, 1, 1, 48, (4, 4)),
    Case("1-d", 1, 9, 1, 200, 5, (1, 16), (1, 8), (0, 4)),
    Case("winograd", 1, 64, 24, 24, 64, (3, 3), (1, 1), (1, 1)),
    Case("long", 1, 64, 40, 40, 64, (4, 4), (2, 2), (1, 1)),
    Case("one-pixel-of-many", 3, 7, 1, 1, 5, (1, 1)),
)


@pytest.fixture
def threads():
    """Sets the number of threads, and what it was at the end."""
    before = pool.get_num_threads()
    yield upconv.set_num_threads
    upconv.set_num_threads(before)


def compiled(case, layout="NCHW"):
    """Compiled anew, for the threads of now."""
    return jax.jit(lambda x, w, b: conv_transpose2d(x, w, b, **case.settings, layout=layout))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_way_that_is_named_computes_with_the_bits_of_the_numpy_door(layout, dtype):
    case, found = Case("three ways", 2, 20, 9, 7, 24, (4, 4), (2, 2), (1, 1)), []
    x, w, b = (array.astype(dtype) for array in arrays(case)[:3])
    if layout == "NHWC":
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    for name in ("gemm", "direct_rows", "col2im_rows", "weight_streaming"):
        got = conv_transpose2d(x, w, b, **case.settings, layout=layout, algorithm=name)
        want = upconv.conv_transpose2d(first(x, layout), w, b, **case.settings, algorithm=name)
        np.testing.assert_array_equal(first(got, layout), want)
        found.append(want.tobytes())
    assert dtype == "float16" or len(set(found)) >= 3


@pytest.mark.parametrize("words", ["only column", "roles exchanged"])
def test_a_rewritten_problem_goes_by_the_name_too(words):
    column = Case("column", 1, 9, 200, 1, 5, (16, 1), (8, 1), (4, 0))
    case = column if words == "only column" else Case("large kernel", 2, 3, 3, 3, 4, (128, 128), (1, 1), (1, 1))
    (step,) = handler.planned("forward", case.geometry(), "float32", False, "gemm").steps
    assert words in step.description
    x, w, b = (array.astype("float32") for array in arrays(case)[:3])
    for name in ("gemm", "direct_rows"):
        got = conv_transpose2d(x, w, b, **case.settings, algorithm=name)
        want = upconv.conv_transpose2d(x, w, None if case is not column else b, **case.settings, algorithm=name)
        np.testing.assert_array_equal(got, want if case is column else want + np.asarray(b)[:, None, None])


def test_derivatives_of_a_named_way_are_left_to_the_choice():
    x, w, b = (array.astype("float32") for array in arrays(LAYER)[:3])

    def gradients_by(algorithm):
        squares = lambda *operands: (conv_transpose2d(*operands, **LAYER.settings, algorithm=algorithm) ** 2).sum()  # noqa: E731
        return jax.grad(squares, (0, 1, 2))(x, w, b)

    for got, want in zip(gradients_by("direct_rows"), gradients_by("auto"), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-3)
    many = jax.vmap(lambda x: conv_transpose2d(x, w, b, **LAYER.settings, algorithm="direct_rows"))(x[None])
    np.testing.assert_array_equal(many[0], conv_transpose2d(x, w, b, **LAYER.settings, algorithm="direct_rows"))


def gradients(case, layout="NCHW"):
    def computed(x, w, b, along):
        return jax.vjp(lambda *operands: conv_transpose2d(*operands, **case.settings, layout=layout), x, w, b)[1](along)

    return jax.jit(computed)


def first(array, layout):
    return np.asarray(array).transpose(0, 3, 1, 2) if layout == "NHWC" else np.asarray(array)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("case", [*CASES, *some(AWKWARD[::9], (*AWKWARD, *SMALL))], ids=str)
def test_the_bits_are_those_of_the_numpy_door(case, layout):
    x, w, b, along = arrays(case, "float32", layout)
    plain = [first(x, layout), np.asarray(w), np.asarray(b), first(along, layout)]
    y = compiled(case, layout)(x, w, b)
    np.testing.assert_array_equal(first(y, layout), upconv.conv_transpose2d(*plain[:3], **case.settings))
    grad_x, grad_w, _ = gradients(case, layout)(x, w, b, along)
    want = upconv.grad.conv_transpose2d_backward(plain[3], *plain[:2], **case.settings)
    np.testing.assert_array_equal(first(grad_x, layout), want[0])
    np.testing.assert_array_equal(grad_w, want[1])


@pytest.mark.parametrize("case", [CASES[5], CASES[6]], ids=str)
def test_any_number_of_threads_gives_the_same_bits(case, threads):
    x, w, b, along = arrays(case, "float32")
    found = []
    for number in (1, 2, 3, 7):
        threads(number)
        found.append([np.asarray(array) for array in (compiled(case)(x, w, b), *gradients(case)(x, w, b, along))])
    for other in found[1:]:
        for got, want in zip(other[:3], found[0][:3], strict=True):
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_winograd_flags_is_computed_again(value):
    case = CASES[5]
    x, w, b, _ = arrays(case, "float32")
    plan = handler.planned("forward", case.geometry(), "float32", False)
    assert plan.fallback, "another layer must be found for this test"
    x = x.at[0, 3, 5, 5].set(value)
    got = np.asarray(compiled(case)(x, w, b))
    assert np.isfinite(got).any()
    np.testing.assert_array_equal(got, upconv.conv_transpose2d(*map(np.asarray, (x, w, b)), **case.settings))
    np.testing.assert_array_equal(np.isfinite(got), np.isfinite(by_lax(case)(x, w, b)))


@pytest.mark.parametrize(
    "case",
    [
        Case("exchanged", 1, 3, 2, 3, 2, (90, 90), (2, 2), d=(3, 3)),
        Case("column", 2, 6, 17, 1, 4, (4, 1), (2, 1), (1, 0), groups=2),
    ],
    ids=str,
)
def test_a_huge_kernel_is_computed_with_the_roles_exchanged_and_a_column_as_a_row(case):
    assert handler.planned("forward", case.geometry(), "float64", False).steps
    with x64():
        x, w, b, along = arrays(case)
        want = jax.vjp(by_lax(case), x, w, b)
        np.testing.assert_allclose(compiled(case)(x, w, b), want[0], atol=1e-10)
        for got, right in zip(gradients(case)(x, w, b, along), want[1](along), strict=True):
            np.testing.assert_allclose(got, right, atol=1e-9)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_no_array_is_copied(layout):
    x, w, b, along = arrays(LAYER, "float32", layout)
    for function, operands, calls in ((compiled, (x, w, b), 1), (gradients, (x, w, b, along), 2)):
        text = function(LAYER, layout).lower(*operands).compile().as_text()
        assert text.count("custom_call_target") == text.count(f'custom_call_target="{handler.NAME}"') == calls
        assert " transpose(" not in text
        assert " copy(" not in text


def test_a_call_needs_no_python():
    """It is done while this thread holds the GIL."""
    x, w, b, _ = arrays(CASES[6], "float32")
    f = compiled(CASES[6])
    want = np.asarray(f(x, w, b))
    hold = ctypes.PyDLL(None).usleep
    y = f(x, w, b)
    hold(300_000)
    assert y.is_ready()
    np.testing.assert_array_equal(y, want)


def test_calls_side_by_side():
    """In one computation, whose parts XLA runs at once, and in several threads."""
    x, w, b, _ = arrays(CASES[6], "float32")

    @jax.jit
    def many(x):
        return [conv_transpose2d(x + i, w, b, **CASES[6].settings) for i in range(6)]

    want = [
        upconv.conv_transpose2d(np.asarray(x + i), np.asarray(w), np.asarray(b), **CASES[6].settings) for i in range(6)
    ]
    wrong = []

    def work():
        for _ in range(5):
            wrong.extend(i for i, y in enumerate(many(x)) if not np.array_equal(y, want[i]))

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def called(spec, key, text):
    """The handler's call as `contraction` makes it, with a key and a text of one's own."""
    size = handler.states().prepare(spec).scratch_bytes
    results = jax.ShapeDtypeStruct(spec.geometry.output_shape, "float32"), jax.ShapeDtypeStruct((size,), "uint8")
    return jax.jit(lambda *operands: jax.ffi.ffi_call(handler.NAME, results)(*operands, key=np.int64(key), spec=text))


def test_what_was_not_prepared_is_an_error_of_xlas():
    spec = handler.Spec.here("forward", LAYER.geometry(), "float32", False)
    x, w, _, _ = arrays(LAYER, "float32")
    with pytest.raises(Exception, match=handler_code.UNKNOWN):
        jax.block_until_ready(called(spec, spec.key ^ 1, spec.text)(x, w))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda words: [*words[:5], "abacus"], "compiled for abacus"),
        (lambda words: words[:2], "upconv: TypeError"),
        (lambda words: ["sideways", *words[1:]], "upconv: KeyError"),
    ],
)
def test_what_cannot_be_prepared_is_an_error_when_it_is_compiled(change, message):
    spec = handler.Spec.here("forward", LAYER.geometry(), "float32", False)
    x, w, _, _ = arrays(LAYER, "float32")
    with pytest.raises(Exception, match=message):
        jax.block_until_ready(called(spec, spec.key, json.dumps(change(json.loads(spec.text))))(x, w))


def test_a_text_says_all_of_a_spec():
    for operation in ("forward", "grad_input", "grad_weight"):
        spec = handler.Spec.here(operation, CASES[1].geometry(), "float64", True)
        assert handler.Spec.of(spec.text) == spec
        assert handler.Spec.of(spec.text).key == spec.key


def test_the_table_of_states_grows():
    x, w, b, _ = arrays(LAYER, "float32")
    f = compiled(LAYER)
    want = np.asarray(f(x, w, b))
    states = handler.states()
    before = len(states._tables[-1])
    for n in range(1, before):
        case = Case("small", n, 1, 2, 2, 1, (2, 2))
        states.prepare(handler.Spec.here("forward", case.geometry(), "float32", False))
    assert len(states._tables[-1]) > before
    np.testing.assert_array_equal(f(x, w, b), want)


def test_the_version_that_is_declared_is_the_oldest_that_xla_takes():
    assert handler_code.VERSION == (0, 1)


KEPT = """
import sys
sys.path[:0] = {path!r}
import jax, numpy as np
jax.config.update("jax_compilation_cache_dir", {folder!r})
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
from jax._src import monitoring
hits = []
monitoring.register_event_listener(lambda event, **_: hits.append(event) if event.endswith("cache_hits") else None)
from upconv.jax import conv_transpose2d
x, w = np.arange(2 * 3 * 5 * 5, dtype="float32").reshape(2, 3, 5, 5), np.ones((3, 4, 4, 4), "float32")
f = jax.jit(lambda x, w: conv_transpose2d(x, w, stride=2, padding=1))
y = f(x, w)
print(len(hits), float(y.sum()))
"""


def test_a_computation_from_the_cache_of_another_process(tmp_path):
    code = KEPT.format(path=sys.path, folder=str(tmp_path / "cache"))
    printed = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
        for _ in range(2)
    ]
    assert int(printed[0][0]) == 0 < int(printed[1][0])
    assert printed[0][1] == printed[1][1]


def test_other_platforms_get_xlas_convolution():
    x, w, b, _ = arrays(LAYER, "float32")
    for platform in ("tpu", "cuda"):
        exported = export.export(compiled(LAYER), platforms=[platform])(x, w, b)
        text = exported.mlir_module()
        assert "stablehlo.convolution" in text
        assert "custom_call" not in text


def test_a_primitive_outside_of_jit_is_compiled_for_itself():
    x, w, _, _ = arrays(LAYER, "float32")
    call = contraction.Call(LAYER.geometry(), False)
    y = contraction.contraction.bind(x, w, operation="forward", call=call)
    np.testing.assert_array_equal(y, upconv.conv_transpose2d(np.asarray(x), np.asarray(w), **LAYER.settings))


LARGE = Case("large", 1, 64, 48, 48, 64, (4, 4), (2, 2), (1, 1))


def the_block():
    """(record, block) that is lent now."""
    return handler.states()._scratch._blocks[-1]


def test_large_scratch_is_lent_to_one_call_at_a_time_and_the_others_have_xlas():
    x, w, b, _ = arrays(LARGE, "float32")
    call = compiled(LARGE).lower(x, w, b).compile()
    want = upconv.conv_transpose2d(*map(np.asarray, (x, w, b)), **LARGE.settings)
    record, block = the_block()
    assert record[scratch.SIZE] >= scratch.LEAST
    for taken in (0, 1, 0):
        block[:] = 0
        record[scratch.TAKEN] = taken
        np.testing.assert_array_equal(call(x, w, b), want)
        assert record[scratch.TAKEN] == taken
        assert bool(block.any()) != bool(taken)
    record[scratch.TAKEN] = 0
    # One that is too small is given back.
    size, record[scratch.SIZE] = record[scratch.SIZE], 64
    block[:] = 0
    np.testing.assert_array_equal(call(x, w, b), want)
    assert not block.any()
    assert not record[scratch.TAKEN]
    record[scratch.SIZE] = size


def test_calls_at_once_have_scratch_of_their_own():
    x, w, b, _ = arrays(LARGE, "float32")
    inputs = [x, -x, 2 * x, x + 1]
    call = compiled(LARGE).lower(x, w, b).compile()
    wanted = [np.asarray(call(each, w, b)) for each in inputs]
    wrong = []

    def work(number):
        for _ in range(10):
            if not np.array_equal(call(inputs[number], w, b), wanted[number]):
                wrong.append(number)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong
    assert not the_block()[0][scratch.TAKEN]


def test_the_block_grows_and_leaves_those_that_are_too_small(monkeypatch):
    shown = []
    held = scratch.Scratch(shown.append)
    assert held.hold(scratch.LEAST - 1) == held.hold(scratch.MOST + 1) == 0
    assert not shown
    assert held.hold(scratch.LEAST) == scratch.LEAST
    assert held.hold(scratch.LEAST) == scratch.LEAST
    (first, _), count = held._blocks[0], len(shown)
    assert count == 1
    first[scratch.TAKEN] = 1
    assert held.hold(2 * scratch.LEAST) == 2 * scratch.LEAST
    # A call is at it still, and whoever comes late finds it too small.
    assert [record[scratch.SIZE] for record, _ in held._blocks] == [0, 2 * scratch.LEAST]
    first[scratch.TAKEN] = 0
    assert held.hold(3 * scratch.LEAST) == 3 * scratch.LEAST
    assert [record[scratch.SIZE] for record, _ in held._blocks] == [0, 3 * scratch.LEAST]
    assert len(held._records) == len(shown) == 3

    def none(*_):
        raise MemoryError

    monkeypatch.setattr(scratch.memory, "empty", none)
    assert held.hold(4 * scratch.LEAST) == 0
    assert held.hold(scratch.LEAST) == scratch.LEAST
