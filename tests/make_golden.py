"""Write PyTorch's answers to tests/data/golden.npz and golden.json, so that the core is tested without PyTorch.

    python tests/make_golden.py            needs torch 2.13 beside the packages of the extra "test"

Operands are whole numbers from -8 to 8 (see `cases.values`), so torch's float64 answers are exact and compress well:
an implementation must reproduce them bit for bit in every dtype. Checksums of the operands are stored with them.
"""

import json
import zlib
from pathlib import Path

import numpy as np
import torch
from cases import ACCURACY, BY_NAME, CASES
from torch.nn.functional import conv_transpose2d, pad

DATA = Path(__file__).parent / "data"
COMPLEX = tuple(case.name for case in CASES[::5])
ROUNDED = ("float32", "float16", "bfloat16", "complex64")
# Of each call: shapes of input, weight and bias, and the settings. Everything is valid but for one thing.
X, W = (1, 4, 5, 6), (4, 3, 3, 3)
INVALID = [
    {"stride": 0},
    {"stride": -1},
    {"stride": (2, 0)},
    {"stride": (1, 2, 3)},
    {"stride": []},
    {"stride": 1.5},
    {"stride": (1, 1.5)},
    {"stride": "2"},
    {"stride": None},
    {"padding": -1},
    {"padding": (0, -2)},
    {"padding": (1, 1, 1)},
    {"padding": 0.5},
    {"padding": "somehow"},
    {"padding": 9},
    {"padding": (0, 9)},
    {"padding": (9, 0), "stride": 2},
    {"output_padding": 1},
    {"output_padding": -1},
    {"output_padding": (0, 1)},
    {"stride": 2, "output_padding": 2},
    {"stride": (2, 3), "output_padding": 2},
    {"stride": 2, "dilation": 3, "output_padding": 3},
    {"stride": 2, "output_padding": (1, 1, 1)},
    {"stride": 2, "output_padding": 1.0},
    {"dilation": 0},
    {"dilation": (1, -1)},
    {"dilation": (1, 1, 1)},
    {"dilation": 2.0},
    {"groups": 0},
    {"groups": -1},
    {"groups": 3},
    {"groups": 8},
    {"groups": 1.0},
    {"groups": "2"},
    {"x": (4, 5)},
    {"x": (5,)},
    {"x": ()},
    {"x": (1, 1, 4, 5, 6)},
    {"x": (1, 5, 5, 6)},
    {"x": (5, 5, 6)},
    {"x": (1, 0, 5, 6), "w": (0, 3, 3, 3)},
    {"w": (4, 3, 3)},
    {"w": (4, 3, 3, 3, 3)},
    {"w": (3, 4, 3, 3)},
    {"w": (4, 0, 3, 3)},
    {"w": (4, 3, 0, 3)},
    {"w": (4, 3, 3, 0)},
    {"b": (4,)},
    {"b": (1,)},
    {"b": (1, 3)},
    {"b": ()},
    {"b": (3, 1, 1)},
    {"groups": 2, "b": (3,)},
    {"x_dtype": "float64"},
    {"w_dtype": "float64"},
    {"x_dtype": "int64"},
    {"x_dtype": "complex64"},
    {"x_dtype": "float16", "w_dtype": "bfloat16"},
]
# Positional and keyword arguments of the constructor.
INVALID_LAYERS = [
    ((4, 3, 3), {"padding_mode": "somehow"}),
    ((4, 3, 3), {"padding_mode": "zero"}),
    ((4, 3, 3), {"groups": 0}),
    ((4, 3, 3), {"groups": -2}),
    ((4, 3, 3), {"groups": 2}),
    ((3, 4, 3), {"groups": 2}),
    ((4, 3, 3), {"dtype": "int64"}),
    ((4, 3), {}),
]
LAYERS = [
    ((16, 33, 3), {}),
    ((16, 33, 3), {"stride": 2}),
    ((16, 33, (3, 5)), {"stride": (2, 1), "padding": (4, 2)}),
    ((16, 16, 3), {"stride": 2, "padding": 1}),
    ((1, 1, 1), {}),
    ((2, 4, 4), {"stride": 2, "padding": 1, "output_padding": 1}),
    ((4, 4, 4), {"stride": 2, "padding": 1, "groups": 4}),
    ((4, 8, (2, 3)), {"stride": (3, 2), "groups": 2, "bias": False}),
    ((2, 2, 3), {"dilation": 2}),
    ((2, 2, 3), {"dilation": (1, 2), "padding": (0, 2)}),
    ((2, 2, 3), {"stride": 3, "output_padding": (2, 0)}),
    ((2, 2, 3), {"bias": False}),
    ((2, 2, 3), {"padding": 1, "dilation": 2, "output_padding": 1, "groups": 2, "bias": False}),
    ((2, 2, 5), {"stride": (1, 4), "padding": 2, "output_padding": (0, 3)}),
    ((6, 4, 2), {"stride": 5, "groups": 2}),
    ((2, 2, (1, 16)), {"stride": (1, 8), "padding": (0, 4)}),
    ((2, 2, [3, 3]), {"stride": [2, 2]}),
    ((2, 2, 3), {"padding_mode": "zeros"}),
    ((2, 2, 3), {"output_padding": 7}),
    ((3, 5, 4, 2, 1), {}),
    ((3, 6, 4, 2, 1, 1, 3), {}),
    ((3, 6, 4, 2, 1, 1, 3, False), {}),
    ((3, 6, 4, 2, 1, 1, 3, False, 2), {}),
    ((3, 6, 4, 2, 1, 1, 3, True, (2, 1), "zeros"), {}),
    ((2, 2, 3), {"stride": 2, "dilation": 3}),
    ((2, 2, 7), {"stride": 4, "padding": 3, "dtype": "float64"}),
    ((2, 2, 2), {"stride": 2, "dtype": "float16"}),
    ((2, 2, 2), {"stride": 2, "dtype": "complex64"}),
    ((100, 512, 4), {"bias": False}),
]


def tensor(array):
    """A torch tensor with the array's values and strides."""
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def numpy(tensor):
    """Values in float64, complex128 or int64."""
    tensor = tensor.detach().resolve_conj()
    if tensor.dtype == torch.int64:
        return tensor.numpy()
    return tensor.to(torch.complex128 if tensor.is_complex() else torch.float64).numpy()


def forward(case, x, w, b):
    """torch's answer; signed crops by cutting or extending its whole canvas."""
    s, op, groups, d = case.s, case.op, case.groups, case.d
    if case.in_torch:
        return conv_transpose2d(x, w, b, s, case.p, op, groups, d)
    canvas = conv_transpose2d(x, w, None, s, 0, 0, groups, d)
    (top, bottom), (left, right) = case.p
    sides = (-left, op[1] - right, -top, op[0] - bottom)
    # Extend before cutting: a crop may reach beyond the canvas into what is added at the other end.
    extended = pad(canvas, [max(side, 0) for side in sides])
    return pad(extended, [min(side, 0) for side in sides]) + b[:, None, None]


def answers(case, dtype, kind="exact"):
    """(y, grad_input, grad_weight, grad_bias) of torch in one dtype."""
    arrays = case.arrays(dtype, kind=kind)
    x, w, b, grad_y = map(tensor, arrays)
    if dtype == "int64":
        return (numpy(forward(case, x, w, b)),)
    for leaf in (x, w, b):
        leaf.requires_grad_()
    y = forward(case, x, w, b)
    return tuple(map(numpy, (y, *torch.autograd.grad(y, (x, w, b), grad_y))))


def whole(array):
    """Whole numbers in the smallest type that holds them; complex ones as (real, imaginary)."""
    if array.dtype.kind == "c":
        array = np.stack([array.real, array.imag], axis=-1)
    if not np.array_equal(array, np.rint(array)):
        raise AssertionError("torch's float64 answer is not a whole number")
    largest = int(np.abs(array).max(initial=0))
    return array.astype(next(t for t in (np.int8, np.int16, np.int32, np.int64) if largest <= np.iinfo(t).max))


def exact_answers():
    """Arrays by name; torch's other wide dtypes are made sure to agree."""
    stored = {}
    for case in CASES:
        wide = answers(case, "float64")
        for name, array in zip(("y", "grad_x", "grad_w", "grad_b"), wide, strict=True):
            stored[f"{case.name}/{name}"] = whole(array)
        for dtype in ("float32", "int64"):
            for one, other in zip(answers(case, dtype), wide, strict=False):
                np.testing.assert_array_equal(one, other)
        if case.name in COMPLEX:
            for name, array in zip(("y", "grad_x", "grad_w", "grad_b"), answers(case, "complex128"), strict=True):
                stored[f"{case.name}/complex/{name}"] = whole(array)
    return stored


def accuracy():
    """rms errors of torch against float64, relative to the rms of the answer, per case, dtype and kind of data."""
    table = {}
    for case in ACCURACY:
        for dtype in ROUNDED:
            for kind in ("rough", "range"):
                if (dtype, kind) == ("float16", "range"):
                    continue
                x, w, b, _ = map(tensor, case.arrays(dtype, kind=kind))
                wide = torch.complex128 if x.is_complex() else torch.float64
                own, true = numpy(forward(case, x, w, b)), numpy(forward(case, *(t.to(wide) for t in (x, w, b))))
                table[f"{case.name}/{dtype}/{kind}"] = rms(own - true) / rms(true)
    return table


def rms(array):
    return float(np.sqrt(np.mean(np.abs(array) ** 2)))


def layouts():
    """Where torch puts the result for operands that lie one way or the other."""
    table = []
    shapes = [
        ((2, 4, 5, 6), (4, 3, 3, 3)),
        ((1, 4, 5, 6), (4, 3, 1, 1)),
        ((2, 1, 5, 6), (1, 3, 3, 3)),
        ((2, 4, 1, 1), (4, 3, 3, 3)),
        ((2, 4, 1, 1), (4, 3, 1, 1)),
        ((2, 4, 1, 6), (4, 3, 1, 3)),
        ((2, 4, 6, 1), (4, 3, 3, 1)),
        ((2, 4, 5, 6), (4, 1, 3, 3)),
        ((0, 4, 5, 6), (4, 3, 3, 3)),
        ((4, 5, 6), (4, 3, 3, 3)),
    ]
    for x_shape, w_shape in shapes:
        for x_last, w_last in ((False, False), (True, False), (False, True), (True, True)):
            x, w = torch.zeros(x_shape), torch.zeros(w_shape)
            if x_last:
                x = x[None].to(memory_format=torch.channels_last)[0] if x.dim() == 3 else channels_last(x)
            w = channels_last(w) if w_last else w
            y = conv_transpose2d(x, w)
            dense = y.dim() == 3 or y.is_contiguous()
            table.append([x_shape, w_shape, x_last, w_last, "nchw" if dense else "nhwc"])
    return table


def channels_last(tensor):
    return tensor.to(memory_format=torch.channels_last)


def refusals():
    """[call, name of torch's exception] of every invalid call."""
    table = []
    for call in INVALID:
        settings = {key: value for key, value in call.items() if key not in ("x", "w", "b", "x_dtype", "w_dtype")}
        x = torch.zeros(call.get("x", X), dtype=getattr(torch, call.get("x_dtype", "float32")))
        w = torch.zeros(call.get("w", W), dtype=getattr(torch, call.get("w_dtype", "float32")))
        b = torch.zeros(call["b"]) if "b" in call else None
        table.append([call, refusal(lambda x=x, w=w, b=b, s=settings: conv_transpose2d(x, w, b, **s))])
    return table


def layer(positional, named):
    named = dict(named)
    if "dtype" in named:
        named["dtype"] = getattr(torch, named["dtype"])
    return torch.nn.ConvTranspose2d(*positional, **named)


def refusal(call):
    try:
        call()
    except Exception as error:
        return type(error).__name__
    return None


def output_sizes():
    """For layers and heights: which sizes from 0 to 40 `output_size` may ask for, in both axes alike."""
    table = []
    for positional, named in LAYERS:
        made = layer(positional, {**named, "dtype": "float32"})
        x = torch.zeros(1, made.in_channels, 5, 5)
        accepted = [size for size in range(41) if refusal(lambda m=made, x=x, s=size: m(x, [s, s])) is None]
        table.append([positional, named, accepted])
    return table


def main():
    stored = exact_answers()
    np.savez_compressed(DATA / "golden.npz", **stored)
    checksums = {
        case.name: zlib.crc32(b"".join(a.tobytes() for a in case.arrays("int64", kind="exact"))) for case in CASES
    }
    facts = {
        "torch": torch.__version__.split("+")[0],
        "checksums": checksums,
        "accuracy": accuracy(),
        "layouts": layouts(),
        "refusals": refusals(),
        "layer_refusals": [[*call, refusal(lambda c=call: layer(*c))] for call in INVALID_LAYERS],
        "reprs": [[*call, repr(layer(*call))] for call in LAYERS],
        "output_sizes": output_sizes(),
    }
    lines = [f" {json.dumps(key)}: {_table(value)}" for key, value in facts.items()]
    (DATA / "golden.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    for path in (DATA / "golden.npz", DATA / "golden.json"):
        print(f"{path.name}: {path.stat().st_size:,} bytes")
    print(f"{len(stored)} arrays of {len(CASES)} cases; {len(BY_NAME)} names")


def _table(value):
    """One entry on a line, so that a change of torch's answers reads well as a difference of files."""
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, dict):
        return "{\n" + ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in value.items()) + "\n }"
    return "[\n" + ",\n".join(f"  {json.dumps(entry)}" for entry in value) + "\n ]"


if __name__ == "__main__":
    main()
