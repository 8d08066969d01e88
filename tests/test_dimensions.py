"""One and three dimensions for NumPy: the functions, their gradients and their layers, against the definition."""

import copy
import pickle
import random

import numpy as np
import pytest
from amount import some
from require import require

import upconv
from upconv import SettingError, depth, depth_ways, grad, planning, reference
from upconv.borders import Border
from upconv.channel_sums import channel_sums
from upconv.planes import STACK_BYTES
from upconv.runtime import memory
from upconv.runtime.kernel import usable
from upconv.settings import Settings
from upconv.volume import Volume

DIMENSIONS = (1, 3)
FUNCTIONS = {1: upconv.conv_transpose1d, 2: upconv.conv_transpose2d, 3: upconv.conv_transpose3d}
LAYERS = {1: upconv.ConvTranspose1d, 2: upconv.ConvTranspose2d, 3: upconv.ConvTranspose3d}
NAMES = ("stride", "padding", "output_padding", "groups", "dilation")
TOLERANCE = {"float16": 4e-3, "bfloat16": 4e-2, "float32": 3e-6, "complex64": 3e-6, "int64": 0}
SEEDS = some(range(40), range(600))
DTYPES = ("float64", "float32", "float16", "bfloat16", "complex64", "complex128", "int64")


def gradients(dimensions):
    return [getattr(grad, f"conv_transpose{dimensions}d_{name}") for name in ("input", "weight", "backward")]


class Case:
    """A random layer of so many dimensions, with its operands."""

    def __init__(self, dimensions, seed, dtype="float64"):
        draw = random.Random(1000 * dimensions + seed)
        each = lambda least, most: tuple(draw.randint(least, most) for _ in range(dimensions))  # noqa: E731
        groups = draw.choice((1, 1, 2, 3))
        while True:
            s, d, k, p, size = each(1, 4), each(1, 3), each(1, 4), each(0, 3), each(1, 5)
            op = tuple(draw.randrange(max(pair)) for pair in zip(s, d, strict=True))
            out = [
                (a - 1) * b - 2 * c + e * (f - 1) + g + 1 for a, b, c, e, f, g in zip(size, s, p, d, k, op, strict=True)
            ]
            if min(out) > 0:
                break
        self.dimensions = dimensions
        self.settings = dict(zip(NAMES, (s, p, op, groups, d), strict=True))
        n, c_in, c_out = draw.choice((1, 1, 2, 3)), draw.randint(1, 3), draw.randint(1, 3)
        shapes = (n, groups * c_in, *size), (groups * c_in, c_out, *k), (groups * c_out,)
        shapes = *shapes, (n, groups * c_out, *out)
        self.x, self.w, self.b, self.grad_y = (values(shape, dtype, seed + i) for i, shape in enumerate(shapes))
        parsed = Settings.of(*self.settings.values(), dimensions=dimensions)
        self.geometry = parsed.geometry(self.x.shape, self.w.shape)

    def lifted(self, array):
        """An array as the reference has it: of one dimension as a map of height 1."""
        return array[:, :, None] if self.dimensions == 1 and array.ndim == 3 else array

    def run(self, x=None, w=None, **more):
        settings = self.settings | more
        return FUNCTIONS[self.dimensions](self.x if x is None else x, self.w if w is None else w, self.b, **settings)

    def want(self):
        made = reference.scatter(self.geometry, self.lifted(self.x), self.lifted(self.w), self.b)
        return made[:, :, 0] if self.dimensions == 1 else made


def values(shape, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    if dtype == "int64":
        return rng.integers(-1000, 1000, shape)
    made = rng.standard_normal(shape)
    if dtype.startswith("complex"):
        made = made + 1j * rng.standard_normal(shape)
    return made.astype(require("ml_dtypes").bfloat16 if dtype == "bfloat16" else dtype)


def wide(array):
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def assert_near(got, want, dtype="float64"):
    assert got.shape == want.shape
    tolerance = TOLERANCE.get(dtype, 1e-12)
    np.testing.assert_allclose(wide(got), wide(want), rtol=tolerance, atol=tolerance * max(1, np.abs(want).max()))


def channels_last(array):
    return np.moveaxis(np.moveaxis(array, 1, -1).copy(), -1, 1)


@pytest.mark.parametrize("dimensions", DIMENSIONS)
@pytest.mark.parametrize("seed", SEEDS)
def test_values_and_gradients_are_those_of_the_definition(dimensions, seed):
    case = Case(dimensions, seed)
    assert_near(case.run(), case.want())
    grad_x, grad_w, grad_b = gradients(dimensions)[2](case.grad_y, case.x, case.w, **case.settings)
    x, w, grad_y = (case.lifted(array) for array in (case.x, case.w, case.grad_y))
    assert_near(case.lifted(grad_x), reference.grad_input(case.geometry, grad_y, w))
    assert_near(case.lifted(grad_w), reference.grad_weight(case.geometry, x, grad_y))
    assert_near(grad_b, case.grad_y.sum((0, *range(2, case.grad_y.ndim))))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_every_dtype(dimensions, dtype):
    for seed in range(6):
        case = Case(dimensions, seed, dtype)
        got = case.run()
        assert got.dtype == case.x.dtype
        assert_near(got, case.want(), dtype)
        if dtype == "int64":
            with pytest.raises(NotImplementedError, match="no gradients"):
                gradients(dimensions)[2](case.grad_y, case.x, case.w, **case.settings)
            continue
        operands = [case.lifted(array) for array in (case.grad_y, case.x, case.w)]
        grad_x, grad_w, _ = gradients(dimensions)[2](case.grad_y, case.x, case.w, **case.settings)
        assert grad_x.dtype == grad_w.dtype == case.x.dtype
        assert_near(case.lifted(grad_x), reference.grad_input(case.geometry, operands[0], operands[2]), dtype)
        assert_near(case.lifted(grad_w), reference.grad_weight(case.geometry, operands[1], operands[0]), dtype)


@pytest.mark.parametrize("dimensions", DIMENSIONS)
@pytest.mark.parametrize("seed", range(12))
def test_each_gradient_alone_and_without_a_batch(dimensions, seed):
    case = Case(dimensions, seed)
    for_input, for_weight, backward = gradients(dimensions)
    both = backward(case.grad_y, case.x, case.w, **case.settings)
    assert np.array_equal(for_input(case.x.shape, case.w, case.grad_y, **case.settings), both[0])
    assert np.array_equal(for_weight(case.x, case.w.shape, case.grad_y, **case.settings), both[1])
    only = backward(case.grad_y, case.x, case.w, **case.settings, output_mask=(False, True, False))
    assert only[0] is only[2] is None
    assert_near(case.run(case.x[0]), case.want()[0])
    alone = backward(case.grad_y[0], case.x[0], case.w, **case.settings)
    assert_near(alone[0], both[0][0])
    assert alone[1].shape == case.w.shape


@pytest.mark.parametrize("seed", range(12))
def test_channels_last_volumes_give_channels_last_volumes(seed):
    case = Case(3, seed)
    got = case.run(channels_last(case.x))
    assert_near(got, case.want())
    if case.x.shape[1] > 1 and max(case.x.shape[2:]) > 1 and got.shape[1] > 1:
        assert got.strides[1] == got.itemsize
    operands = channels_last(case.grad_y), channels_last(case.x), case.w
    found = grad.conv_transpose3d_backward(*operands, **case.settings)
    for one, other in zip(found, grad.conv_transpose3d_backward(case.grad_y, *operands[1:], **case.settings)):  # noqa: B905
        assert_near(one, other)


@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_any_strides_and_byte_orders(dimensions):
    for seed in range(8):
        case = Case(dimensions, seed)
        spread = np.repeat(case.x, 2, axis=-1)[..., ::2]
        backwards = case.w[..., ::-1].copy()[..., ::-1]
        swapped = case.x.astype(case.x.dtype.newbyteorder())
        for x, w in ((spread, case.w), (case.x, backwards), (swapped, case.w)):
            assert_near(wide(case.run(x, w)), case.want())
        out = np.full((*case.want().shape, 2), 7.0)[..., 0]
        assert case.run(out=out) is out
        assert_near(out, case.want())


@pytest.mark.parametrize("dimensions", DIMENSIONS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("place", ["x", "w", "b"])
def test_what_is_not_finite_reaches_what_it_reaches_by_the_definition(dimensions, value, place):
    for seed in range(10):
        case = Case(dimensions, seed)
        getattr(case, place).flat[seed % getattr(case, place).size] = value
        with np.errstate(invalid="ignore"):
            want, got = case.want(), case.run()
        assert np.array_equal(np.isnan(got), np.isnan(want))
        assert np.array_equal(np.isinf(got), np.isinf(want))


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_the_bits_do_not_depend_on_threads(dtype):
    x, w, gy = (values(shape, dtype) for shape in ((2, 8, 6, 9, 9), (8, 6, 3, 3, 3), (2, 6, 12, 18, 18)))
    settings = {"stride": 2, "padding": 1, "output_padding": 1}
    before, seen = upconv.get_num_threads(), set()
    try:
        for threads in (1, 2, 3, 7):
            upconv.set_num_threads(threads)
            results = upconv.conv_transpose3d(x, w, **settings), *grad.conv_transpose3d_backward(gy, x, w, **settings)
            seen.add(b"".join(result.tobytes() for result in results))
    finally:
        upconv.set_num_threads(before)
    assert len(seen) == 1


@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_a_layer_and_a_prepared_weight_compute_the_same(dimensions):
    for seed in range(8):
        case = Case(dimensions, seed, "float32")
        settings = {name: case.settings[name] for name in ("stride", "groups", "dilation")}
        made = upconv.prepare(case.w, **settings)
        for _ in range(2):
            assert_near(case.run(w=made), case.want(), "float32")
        with pytest.raises(SettingError, match="prepared for stride"):
            case.run(w=made, stride=9)
        kernel = case.w.shape[2:]
        layer = LAYERS[dimensions](case.x.shape[1], len(case.b), kernel, **case.settings)
        layer.load_state_dict({"weight": case.w, "bias": case.b})
        want = case.run(w=made)
        for one in (layer, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            assert np.array_equal(one(case.x), want)
    assert upconv.prepare(values((4, 3, 2, 2, 2), "float32")).nbytes == 4 * 4 * 3 * 8
    assert "depth taps" in repr(layer.prepared) or dimensions == 1


@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_a_weight_of_other_dimensions_is_refused_in_words(dimensions):
    for other in {1, 2, 3} - {dimensions}:
        w = values((2, 2, *(3,) * other))
        x = values((1, 2, *(4,) * dimensions))
        for weight in (w, upconv.prepare(w)):
            if isinstance(weight, upconv.PreparedWeight) and {dimensions, other} == {1, 2}:
                continue
            with pytest.raises(SettingError, match="weight has shape"):
                FUNCTIONS[dimensions](x, weight)
            with pytest.raises(SettingError, match="weight has shape"):
                FUNCTIONS[2](values((1, 2, 4, 4)), values((2, 2, *(3,) * dimensions)))


@pytest.mark.parametrize("dimensions", DIMENSIONS)
@pytest.mark.parametrize("padding", ["same", "same_lower", "valid", "crops"])
def test_padding_beyond_torch(dimensions, padding):
    crops = {"crops": ((-1, 2),) * dimensions}.get(padding, padding)
    x, w = values((2, 3, *(4,) * dimensions)), values((3, 2, *(3,) * dimensions))
    settings = Settings.of(2, crops, 0, 1, 1, dimensions=dimensions)
    geometry = settings.geometry(x.shape, w.shape)
    lift = (lambda a: a[:, :, None]) if dimensions == 1 else (lambda a: a)
    got = FUNCTIONS[dimensions](x, w, stride=2, padding=crops)
    assert_near(lift(got), reference.scatter(geometry, lift(x), lift(w)))
    if padding.startswith("same"):
        assert got.shape[2:] == (8,) * dimensions


@pytest.mark.parametrize("dimensions", DIMENSIONS)
@pytest.mark.parametrize("mode", ["circular", "reflect", "replicate"])
def test_padding_modes_fold_the_border_back(dimensions, mode):
    x, w, b = values((2, 3, *(5,) * dimensions)), values((3, 2, *(3,) * dimensions)), values((2,))
    got = FUNCTIONS[dimensions](x, w, b, stride=2, padding=1, padding_mode=mode)
    canvas = FUNCTIONS[dimensions](x, w, stride=2)
    want = Border(mode, *((1, 1),) * dimensions).fold(canvas) + b.reshape(-1, *(1,) * dimensions)
    assert_near(got, want)
    gy = values(got.shape, seed=5)
    grad_x, grad_w, _ = gradients(dimensions)[2](gy, x, w, stride=2, padding=1, padding_mode=mode)
    without = FUNCTIONS[dimensions](x, w, stride=2, padding=1, padding_mode=mode)
    np.testing.assert_allclose([np.vdot(grad_x, x), np.vdot(grad_w, w)], [np.vdot(gy, without)] * 2, rtol=1e-10)


def test_planes_that_no_tap_reaches_hold_the_bias_alone():
    x, w, b = values((2, 2, 3, 3, 3)), values((2, 2, 1, 2, 2)), values((2,))
    got = upconv.conv_transpose3d(x, w, b, stride=(3, 2, 2), output_padding=(2, 0, 0), activation="relu")
    volume = Settings.of((3, 2, 2), 0, (2, 0, 0), dimensions=3).geometry(x.shape, w.shape)
    assert_near(got, np.maximum(reference.scatter(volume, x, w, b), 0))
    assert (got[:, :, 1] == np.maximum(b, 0)[:, None, None]).all()


def test_stacks_of_planes_are_made_piece_by_piece(monkeypatch):
    case = Case(3, 0)
    x, w = values((2, 4, 9, 6, 6)), values((4, 2, 3, 3, 3))
    settings = {"stride": 1, "dilation": 2, "groups": 2}
    whole = upconv.conv_transpose3d(x, w, **settings)
    monkeypatch.setattr("upconv.planes.STACK_BYTES", 3 * 2 * 4 * 6 * 6 * 8)
    assert_near(upconv.conv_transpose3d(x, w, **settings), whole)
    assert STACK_BYTES > 1 << 20
    assert_near(case.run(), case.want())


def test_an_algorithm_by_name_computes_all_planes_or_refuses_before_any_work():
    case = Case(3, 3)
    for name in ("loops", "matmul"):
        assert_near(case.run(algorithm=name), case.want())
    out = np.full(case.want().shape, 5.0)
    with pytest.raises(SettingError, match="refuses"):
        upconv.conv_transpose3d(values((1, 2, 3, 3, 3)), values((2, 2, 2, 2, 2)), algorithm="depthwise_rows")
    with pytest.raises(TypeError, match="must be"):
        case.run(algorithm=3, out=out)
    with pytest.raises(TypeError, match="Plan"):
        case.run(algorithm=upconv.plan((1, 1, 2, 2), (1, 1, 2, 2)))
    assert (out == 5).all()


def test_a_plan_of_a_map_of_height_1_computes_a_line():
    x, w = values((1, 3, 9)), values((3, 2, 4))
    made = upconv.plan((1, 3, 1, 9), (3, 2, 1, 4), stride=(1, 2), dtype="float64")
    got = upconv.conv_transpose1d(x, w, stride=2, algorithm=made)
    assert np.array_equal(got, upconv.conv_transpose1d(x, w, stride=2))


REFUSED = [
    ({"stride": 0}, "at least 1"),
    ({"stride": (2,) * 4}, "4 elements"),
    ({"padding": -1}, "at least 0"),
    ({"output_padding": 2}, "must be below"),
    ({"groups": 2}, "does not divide"),
    ({"dilation": 0}, "at least 1"),
    ({"padding": 9}, "output size"),
    ({"padding_mode": "mirror"}, "padding_mode"),
    ({"bias": np.ones(7)}, "bias has shape"),
    ({"out": np.ones(3)}, "out is"),
    ({"input": np.ones((2, 2))}, "input has shape|weight takes|channels"),
]


@pytest.mark.parametrize("dimensions", DIMENSIONS)
@pytest.mark.parametrize(("changed", "words"), REFUSED, ids=[row[1] for row in REFUSED])
def test_impossible_settings_are_refused_in_words(dimensions, changed, words):
    operands = {"input": values((1, 3, *(3,) * dimensions)), "weight": values((3, 2, *(3,) * dimensions))}
    with pytest.raises(SettingError, match=words):
        FUNCTIONS[dimensions](**(operands | changed))


@pytest.mark.parametrize(("dimensions", "name"), [(1, "length"), (3, "depth"), (3, "width")])
def test_messages_name_the_axis(dimensions, name):
    settings = [0] * dimensions
    settings[-1 if name == "width" else 0] = 5
    x, w = values((1, 2, *(3,) * dimensions)), values((2, 2, *(3,) * dimensions))
    with pytest.raises(SettingError, match=f"{name}: output_padding is 5"):
        FUNCTIONS[dimensions](x, w, output_padding=settings)
    sizes = [5] * dimensions
    sizes[-1 if name == "width" else 0] = 40
    with pytest.raises(SettingError, match=f"output_size asks for a {name} of 40"):
        LAYERS[dimensions](2, 2, 3)(x, output_size=sizes)


@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_an_output_size_replaces_output_padding(dimensions):
    layer = LAYERS[dimensions](2, 3, 3, stride=2, padding=1, rng=0)
    x = values((1, 2, *(4,) * dimensions), "float32")
    for size in ([8] * dimensions, [1, 2, *[8] * dimensions]):
        want = FUNCTIONS[dimensions](x, layer.weight, layer.bias, stride=2, padding=1, output_padding=1)
        assert_near(layer(x, output_size=size), want, "float32")
    with pytest.raises(SettingError, match="elements; for"):
        layer(x, output_size=[8] * (dimensions + 1))


@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_an_empty_batch(dimensions):
    x, w = values((0, 3, *(3,) * dimensions)), values((3, 2, *(2,) * dimensions))
    y = FUNCTIONS[dimensions](x, w, stride=2)
    assert y.shape == (0, 2, *(6,) * dimensions)
    grad_x, grad_w, grad_b = gradients(dimensions)[2](y, x, w, stride=2)
    assert grad_x.shape == x.shape
    assert not grad_w.any()
    assert not grad_b.any()


def test_a_volume_that_no_memory_holds_is_refused():
    x, w = np.ones((1, 1, 2, 2, 2)), np.ones((1, 1, 1, 1, 1))
    with pytest.raises(SettingError, match="more than can be addressed"):
        upconv.conv_transpose3d(x, w, stride=2**39)
    with pytest.raises(SettingError, match=r"depth: stride is"):
        upconv.conv_transpose3d(x, w, stride=(2**41, 1, 1))
    assert upconv.conv_transpose3d(x[:, :, :1], w, stride=(2**50, 1, 1)).shape == (1, 1, 1, 2, 2)


def test_a_volume_counts_its_work():
    volume = Volume(2, 4, 6, 2, *(Settings.of(2, 1, 1, dimensions=3).axis(i, 4, 3) for i in range(3)))
    assert volume.macs == 2 * 6 * 2 * volume.d.pairs**3
    assert volume.elements() == 2 * 4 * 64 + 4 * 3 * 27 + 2 * 6 * 512


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("language", ["en", "ko"])
def test_explain_says_the_sizes_of_every_dimension(dimensions, language):
    layer = LAYERS[dimensions](2, 4, 3, 2, rng=0)
    explained = upconv.explain.explain(layer, 7, language=language)
    assert str((1, 4, *(15,) * dimensions)) in explained.text
    assert f"Conv{dimensions}d(" in explained.text
    assert f"{explained.geometry.macs:,}" in explained.text
    settings = {"kernel_size": 3, "stride": 2, "in_channels": 2, "out_channels": 4, "dimensions": dimensions}
    assert upconv.explain.explain(**settings, input_size=7, language=language) == explained
    assert (explained._repr_svg_() is None) == (dimensions == 3)


def test_explain_tells_axes_apart():
    text = upconv.explain.explain(kernel_size=(1, 2, 2), stride=(1, 2, 2), dimensions=3).text
    assert "Phases (depth)" in text
    assert "Phases (height and width alike)" in text
    with pytest.raises(SettingError, match="dimensions is 4"):
        upconv.explain.explain(kernel_size=3, dimensions=4)


@pytest.mark.parametrize("way", [depth_ways.ADDED, depth_ways.STACKED])
@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("weight", [None, np.nan, np.inf])
@pytest.mark.parametrize(("k", "s", "p", "d"), [(4, 2, 1, 1), (2, 2, 0, 1), (3, 1, 2, 2), (1, 3, 0, 1), (3, 4, 2, 1)])
def test_both_ways_to_add_depth_taps_up(k, s, p, d, weight, layout, way, monkeypatch):
    volume = Settings.of(s, p, 0, 2, d, dimensions=3).geometry((2, 6, 5, 4, 3), (6, 4, k, 4, 4))
    grad_y, w = values(volume.output_shape, "float32", 2), values(volume.weight_shape, "float32", 1)
    if weight is not None:
        w[3, 2, 0, 1, 2] = weight
    monkeypatch.setattr(depth, "way_of_input", lambda *_: way)
    out = np.full(volume.input_shape, np.nan, np.float32)
    depth.grad_input(volume, channels_last(grad_y) if layout == "last" else grad_y, w, out)
    want = reference.grad_input(volume, grad_y, w)
    np.testing.assert_array_equal(np.isnan(out), np.isnan(want))
    finite = np.isfinite(want)
    np.testing.assert_allclose(out[finite], want[finite], rtol=1e-4, atol=1e-4)


def test_depth_taps_come_together_in_the_way_that_is_predicted_to_be_the_soonest():
    def way(c_in, c_out, size, k=3, dtype="float32", groups=1, layout="nchw"):
        geometry = Settings.of(2, 0, 0, groups, 1, dimensions=3).geometry
        volume = geometry((1, c_in, *[size] * 3), (c_in, c_out // groups, k, k, k))
        return depth_ways.way_of_input(volume, dtype, layout)

    assert way(64, 64, 32, layout="nhwc") == "added"
    # One pass over many channels, of few that are stacked.
    assert way(512, 4, 8, layout="nhwc") == "stacked"
    # Rounded to half precision once.
    assert way(64, 64, 32, dtype="float16") == "stacked"
    assert way(8, 8, 4, groups=8) == "added"
    assert usable() or way(64, 32, 24, k=2) == "folded"
    assert way(64, 32, 24, k=2, layout="nhwc") != "folded"
    assert way(64, 32, 24, k=2, dtype="float16") == "stacked"


# (volumes, channels in and out, groups, size, kernel, output padding along the row)
FOLDS = [
    (1, 6, 4, 1, (3, 4, 5), (2, 2, 2), 0),
    (2, 40, 36, 2, (3, 5, 7), (2, 3, 3), 1),
    (1, 64, 32, 1, (3, 16, 40), (2, 2, 2), 0),
    (3, 20, 17, 1, (2, 3, 3), (4, 2, 4), 1),
    (5, 20, 17, 1, (1, 3, 3), (2, 2, 2), 0),
    (2, 70, 33, 1, (5, 9, 11), (2, 1, 2), 0),
    (1, 8, 5, 1, (2, 1, 6), (2, 2, 2), 0),
    (1, 32, 48, 1, (3, 2, 300), (2, 2, 2), 0),
]


def fold(case, monkeypatch):
    """(the volume, its operands), whose gradients go by folded planes."""
    n, c_in, c_out, groups, size, k, extra = case
    settings = Settings.of((*k[:2], k[2] + (extra > 0)), 0, (0, 0, extra), groups, 1, dimensions=3)
    volume = settings.geometry((n, c_in, *size), (c_in, c_out // groups, *k))
    assert depth_ways.can_fold(volume, "float32", "nchw")
    monkeypatch.setattr(depth, "way_of_input", lambda *_: depth_ways.FOLDED)
    monkeypatch.setattr(depth, "folds_weight", lambda *_: True)
    shapes = volume.input_shape, volume.weight_shape, volume.output_shape
    return volume, [values(shape, "float32", i) for i, shape in enumerate(shapes)]


def folded_gradients(volume, x, w, grad_y):
    grad_x, grad_w = (np.full(shape, 7, np.float32) for shape in (volume.input_shape, volume.weight_shape))
    with memory.poisoned():
        depth.grad_input(volume, grad_y, w, grad_x)
        depth.grad_weight(volume, x, grad_y, grad_w)
    return grad_x, grad_w


@pytest.mark.skipif(bool(usable()), reason="no kernels can be made here")
@pytest.mark.parametrize("case", FOLDS)
def test_depth_taps_as_rows_are_the_definition(case, monkeypatch):
    volume, (x, w, grad_y) = fold(case, monkeypatch)
    for place in (None, "w", "x", "y"):
        if place:
            # Numbers that are not finite reach what they reach by the definition.
            {"w": w, "x": x, "y": grad_y}[place].flat[-3] = np.inf
        found, made = folded_gradients(volume, x, w, grad_y), (wide(a) for a in (x, w, grad_y))
        a, b, c = made
        with np.errstate(invalid="ignore"):
            wanted = reference.grad_input(volume, c, b), reference.grad_weight(volume, a, c)
        for got, want in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(np.isfinite(got), np.isfinite(want))
            finite = np.isfinite(want)
            np.testing.assert_allclose(got[finite], want[finite], rtol=2e-5, atol=2e-5 * np.abs(want[finite]).max())


@pytest.mark.skipif(bool(usable()), reason="no kernels can be made here")
@pytest.mark.parametrize("case", FOLDS)
def test_depth_taps_as_rows_of_any_strides_give_results_in_any_layout(case, monkeypatch):
    """What has no order of its own is copied channels-first, wherever the result lies."""
    volume, (_, w, grad_y) = fold(case, monkeypatch)
    alike = np.broadcast_to(grad_y[..., :1], grad_y.shape)
    for given in (grad_y, grad_y[..., ::-1].copy()[..., ::-1], grad_y[:, :, :, ::-1].copy()[:, :, :, ::-1], alike):
        want = reference.grad_input(volume, wide(given), wide(w))
        for last in (False, True):
            grad_x = np.full(volume.input_shape, np.nan, np.float32)
            if last:
                grad_x = np.moveaxis(np.ascontiguousarray(np.moveaxis(grad_x, 1, -1)), -1, 1)
            with memory.poisoned():
                depth.grad_input(volume, given, w, grad_x)
            np.testing.assert_allclose(grad_x, want, rtol=2e-5, atol=2e-5 * np.abs(want).max())


@pytest.mark.skipif(bool(usable()), reason="no kernels can be made here")
@pytest.mark.parametrize("case", FOLDS)
def test_depth_taps_as_rows_have_the_same_bits_on_any_strides_and_threads(case, monkeypatch):
    volume, (x, w, grad_y) = fold(case, monkeypatch)
    want = folded_gradients(volume, x, w, grad_y)
    framed = np.full((*grad_y.shape[:2], *(size + 3 for size in grad_y.shape[2:])), np.nan, np.float32)
    framed[:, :, 1:-2, 2:-1, 1:-2] = grad_y
    within = framed[:, :, 1:-2, 2:-1, 1:-2]
    planes = np.repeat(grad_y, 2, axis=2)[:, :, ::2]
    rows = np.pad(grad_y, ((0, 0), (0, 0), (0, 0), (0, 0), (0, 4)), constant_values=np.nan)[..., :-4]
    backwards = grad_y[..., ::-1].copy()[..., ::-1]
    before = upconv.get_num_threads()
    for given in (grad_y, within, planes, rows, backwards):
        for one, other in zip(folded_gradients(volume, x, w[..., ::-1].copy()[..., ::-1], given), want, strict=True):
            np.testing.assert_array_equal(one, other)
    try:
        for threads in (2, 3, 7):
            upconv.set_num_threads(threads)
            for one, other in zip(folded_gradients(volume, x, w, grad_y), want, strict=True):
                np.testing.assert_array_equal(one, other)
    finally:
        upconv.set_num_threads(before)
    whole = np.full((*w.shape[:-1], 2 * w.shape[-1]), np.nan, np.float32)
    depth.grad_weight(volume, x, grad_y, whole[..., ::2])
    np.testing.assert_array_equal(whole[..., ::2], want[1])
    assert np.isnan(whole[..., 1::2]).all()


@pytest.mark.parametrize("operation", ["grad_input", "grad_weight"])
def test_a_problem_of_depth_taps_as_rows_by_every_way(operation):
    volume = Settings.of(2, 0, 0, 1, 1, dimensions=3).geometry((1, 6, 2, 3, 5), (6, 4, 2, 2, 2))
    x, w, grad_y = (values(shape) for shape in (volume.input_shape, volume.weight_shape, volume.output_shape))
    problem = depth_ways.folded(operation, volume, "float64", 2)
    maps, planes = depth_ways.folded_maps(volume, grad_y)[0], x[0].swapaxes(0, 1)
    a, b = (maps, depth_ways.folded_kernel(w)) if operation == "grad_input" else (planes, maps)
    want = reference.grad_input(volume, grad_y, w)[0].swapaxes(0, 1)
    if operation == "grad_weight":
        want = depth_ways.folded_kernel(reference.grad_weight(volume, x, grad_y))
    computed = []
    for candidate in planning.choose(problem).candidates:
        if candidate.seconds is not None:
            out = np.full(problem.result_shape, np.nan)
            planning.solve(problem, candidate.name, a, b, None, out)
            np.testing.assert_allclose(out, want, rtol=1e-12, atol=1e-12)
            computed.append(candidate.name)
    assert {"matmul", "loops"} <= set(computed)
    assert usable() or set(computed) & {"gemm", "weight_gradient_blocks"}


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "complex64"])
@pytest.mark.parametrize(("k", "s"), [(2, 2), (3, 2), (4, 2), (3, 1)])
def test_depthwise_gradients(dtype, k, s):
    volume = Settings.of(s, 0, 0, 5, 1, dimensions=3).geometry((2, 5, 4, 3, 6), (5, 1, k, k, k))
    x, w, grad_y = (
        values(v, dtype, i) for i, v in enumerate((volume.input_shape, volume.weight_shape, volume.output_shape))
    )
    grad_x, grad_w, _ = grad.conv_transpose3d_backward(grad_y, x, w, s, groups=5)
    assert_near(grad_x, reference.grad_input(volume, grad_y, w), dtype)
    assert_near(grad_w, reference.grad_weight(volume, x, grad_y), dtype)


@pytest.mark.parametrize("places", [(4, 300, 29), (31000,), (2, 256 * 16)])
def test_sums_of_channels_are_those_of_the_widest_type(places):
    array = values((2, 3, *places), "float32") + 1
    exact = array.sum((0, *range(2, array.ndim)), dtype=np.float64)
    np.testing.assert_allclose(channel_sums(array), exact, rtol=2e-7)
    np.testing.assert_allclose(channel_sums(channels_last(array)), exact, rtol=1e-15)
    array[0, 1] = 3e38
    array[1, 1] = -3e38
    with np.errstate(invalid="ignore", over="ignore"):
        assert np.isfinite(channel_sums(array)).all()
        array[0, 2].flat[-1] = np.nan
        np.testing.assert_array_equal(np.isnan(channel_sums(array)), [False, False, True])
