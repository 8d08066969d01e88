"""Where upconv and torch 2.13 answer the same call differently: one table for the tests and for docs/differences.md.

Every line is run: tests/test_differences.py runs it with upconv, tests/frontends/test_differences.py with torch.
`python tests/differences.py` writes the page anew.
"""

import contextlib
from pathlib import Path

import numpy as np

import upconv

PAGE = Path(__file__).parents[1] / "docs" / "differences.md"
HEAD = """\
# Differences from PyTorch

Made by tests, which run every call below with upconv and with torch 2.13 on the CPU: `python tests/differences.py`
writes this page anew. An answer is the shape of a result, a number, "a layer", or the exception raised; torch's are
two where it depends on the machine. `ones` makes float32 arrays (or tensors) unless it is told otherwise, `last` lays
one channels-last in memory, and `is_last` asks for that; `corner` puts a number in the first place, and `nans` counts
those that are none.

Everything else is meant to be the same; what is not is a bug.
"""

# section: [(what, the call, torch's answer, upconv's answer)]
DIFFERENCES = {
    "Exceptions": [
        (
            "`SettingError` is both a `RuntimeError`, which torch raises for most settings, and a `ValueError`",
            "conv_transpose2d(ones(1, 2, 4, 4), ones(2, 3, 3, 3), stride=0)",
            "RuntimeError", "SettingError",
        ),
        (
            "So it is caught where torch raises a `ValueError`, too",
            "ConvTranspose2d(2, 3, 3, stride=2)(ones(1, 2, 4, 4), output_size=(20, 20))",
            "ValueError", "SettingError",
        ),
        (
            "A layer of integers",
            "ConvTranspose2d(2, 3, 3, dtype=int64)",
            "RuntimeError", "SettingError",
        ),
    ],
    "What torch answers on some paths and upconv refuses on all": [
        (
            "An empty batch with an output_padding that no other batch may have",
            "conv_transpose2d(ones(0, 2, 4, 4), ones(2, 3, 3, 3), stride=2, output_padding=5)",
            "(0, 3, 14, 14)", "SettingError",
        ),
        (
            "An empty batch of inputs without rows; any other batch without rows is refused by both",
            "conv_transpose2d(ones(0, 2, 0, 4), ones(2, 3, 3, 3))",
            "(0, 3, 2, 6)", "SettingError",
        ),
        (
            "An output without rows: torch answers for an empty batch",
            "conv_transpose2d(ones(0, 2, 1, 4), ones(2, 3, 2, 3), padding=(1, 0))",
            "(0, 3, 0, 6)", "SettingError",
        ),
        (
            "and on some paths whatever the batch: here in bfloat16",
            "conv_transpose2d(ones(1, 2, 1, 4, dtype=bfloat16), ones(2, 3, 2, 3, dtype=bfloat16), padding=(1, 0))",
            "(1, 3, 0, 6)", "SettingError",
        ),
        (
            "here in float32 with groups, an output without columns",
            "conv_transpose2d(ones(1, 4, 2, 5), ones(4, 3, 5, 6), stride=(2, 1), padding=(0, 5), "
            "output_padding=(1, 0), groups=2)",
            "(1, 6, 8, 0)", "SettingError",
        ),
        (
            "but here not",
            "conv_transpose2d(ones(1, 2, 1, 4), ones(2, 3, 2, 3), padding=(1, 0))",
            "RuntimeError", "SettingError",
        ),
        (
            "An empty batch of another dtype than the weight",
            "conv_transpose2d(ones(0, 2, 4, 4, dtype=float64), ones(2, 3, 3, 3))",
            "(0, 3, 6, 6)", "SettingError",
        ),
        (
            "A bias of another dtype: float64 beside float32",
            "conv_transpose2d(ones(1, 2, 4, 4), ones(2, 3, 3, 3), ones(3, dtype=float64))",
            "(1, 3, 6, 6)", "SettingError",
        ),
        (
            "float16 beside float32",
            "conv_transpose2d(ones(1, 2, 4, 4), ones(2, 3, 3, 3), ones(3, dtype=float16))",
            "(1, 3, 6, 6)", "SettingError",
        ),
        (
            "int64 beside float32",
            "conv_transpose2d(ones(1, 2, 4, 4), ones(2, 3, 3, 3), ones(3, dtype=int64))",
            "(1, 3, 6, 6)", "SettingError",
        ),
        (
            "float32 beside float64",
            "conv_transpose2d(ones(1, 2, 4, 4, dtype=float64), ones(2, 3, 3, 3, dtype=float64), ones(3))",
            "(1, 3, 6, 6)", "SettingError",
        ),
        (
            "float32 beside float16; torch refuses it, too, where the processor multiplies float16",
            "conv_transpose2d(ones(1, 2, 4, 4, dtype=float16), ones(2, 3, 3, 3, dtype=float16), ones(3))",
            "(1, 3, 6, 6) or RuntimeError", "SettingError",
        ),
        (
            "but float32 beside complex64 is refused by both",
            "conv_transpose2d(ones(1, 2, 4, 4, dtype=complex64), ones(2, 3, 3, 3, dtype=complex64), ones(3))",
            "RuntimeError", "SettingError",
        ),
        (
            "A `conv2d` without input channels",
            "conv2d(ones(1, 0, 4, 4), ones(3, 0, 3, 3))",
            "(1, 0, 2, 2)", "SettingError",
        ),
        (
            "Complex parameters loaded into a real layer, where torch drops the imaginary part",
            "ConvTranspose2d(2, 3, 1).load_state_dict({'weight': ones(2, 3, 1, 1, dtype=complex64), 'bias': ones(3)})",
            "loaded", "SettingError",
        ),
    ],
    "What torch refuses at the call and upconv at construction": [
        ("A stride of 0", "ConvTranspose2d(2, 3, 3, stride=0)", "a layer", "SettingError"),
        ("A stride that is not an integer", "ConvTranspose2d(2, 3, 3, stride=1.5)", "a layer", "TypeError"),
        ("A boolean stride", "ConvTranspose2d(2, 3, 3, stride=True)", "a layer", "TypeError"),
        ("A dilation of 0", "ConvTranspose2d(2, 3, 3, dilation=0)", "a layer", "SettingError"),
        ("Negative padding", "ConvTranspose2d(2, 3, 3, padding=-1)", "a layer", "SettingError"),
        ("Negative output_padding", "ConvTranspose2d(2, 3, 3, output_padding=-1)", "a layer", "SettingError"),
        ("An empty kernel", "ConvTranspose2d(2, 3, 0)", "a layer", "SettingError"),
        ("A kernel of three axes", "ConvTranspose2d(2, 3, (3, 3, 3))", "a layer", "SettingError"),
        ("No input channels", "ConvTranspose2d(0, 3, 3)", "a layer", "SettingError"),
        ("No output channels", "ConvTranspose2d(2, 0, 3)", "a layer", "SettingError"),
        ("A padding that nobody knows", "ConvTranspose2d(2, 3, 3, padding='nearly')", "a layer", "TypeError"),
        (
            "An output_padding too large is a layer for both, since an output_size may replace it",
            "ConvTranspose2d(2, 3, 3, output_padding=9)",
            "a layer", "a layer",
        ),
    ],
    "Padding that is never multiplied": [
        (
            "A NaN in the weight of a `conv2d` reaches the outputs that read an input through it, in most of torch's "
            "kernels also those that read padding, since zero times NaN is NaN; so in the gradient of "
            "`conv_transpose2d` in its input",
            "nans(conv2d(ones(1, 1, 4, 4), corner(ones(1, 1, 3, 3), float('nan')), padding=1))",
            "16", "9",
        ),
        (
            "An infinity likewise",
            "nans(conv2d(ones(1, 1, 4, 4), corner(ones(1, 1, 3, 3), float('inf')), padding=1))",
            "7", "0",
        ),
    ],
    "Steps that are never taken": [
        (
            "A stride beyond 32 bits with one input",
            "conv_transpose2d(ones(1, 2, 1, 1), ones(2, 3, 1, 1), stride=2**62)",
            "RuntimeError", "(1, 3, 1, 1)",
        ),
        (
            "A dilation beyond 32 bits with one tap",
            "conv_transpose2d(ones(1, 2, 1, 1), ones(2, 3, 1, 1), dilation=2**62)",
            "RuntimeError", "(1, 3, 1, 1)",
        ),
    ],
    "Memory layout where both layouts are the same memory": [
        (
            "An input of one channel whose strides say channels-last",
            "is_last(conv_transpose2d(last(ones(1, 1, 4, 4)), ones(1, 3, 3, 3)))",
            "True", "False",
        ),
        (
            "An input of 1x1 whose strides say channels-last",
            "is_last(conv_transpose2d(last(ones(1, 2, 1, 1)), ones(2, 3, 3, 3)))",
            "True", "False",
        ),
        (
            "Every other input decides for both in the same way",
            "is_last(conv_transpose2d(last(ones(1, 2, 4, 4)), ones(2, 3, 3, 3)))",
            "True", "True",
        ),
    ],
    "What only upconv answers, always asked for by name": [
        (
            "Padding \"same\": stride times the input, the odd crop at the end",
            "conv_transpose2d(ones(1, 2, 4, 4), ones(2, 3, 3, 3), stride=2, padding='same')",
            "TypeError", "(1, 3, 8, 8)",
        ),
        (
            "\"same_lower\": the odd crop at the beginning",
            "conv_transpose2d(ones(1, 2, 4, 4), ones(2, 3, 3, 3), stride=2, padding='same_lower')",
            "TypeError", "(1, 3, 8, 8)",
        ),
        (
            "\"valid\": nothing is cut",
            "conv_transpose2d(ones(1, 2, 4, 4), ones(2, 3, 3, 3), stride=2, padding='valid')",
            "TypeError", "(1, 3, 9, 9)",
        ),
        (
            "Another crop on each side",
            "conv_transpose2d(ones(1, 2, 4, 4), ones(2, 3, 3, 3), padding=((1, 0), (0, 2)))",
            "TypeError", "(1, 3, 5, 4)",
        ),
        (
            "Negative crops, which extend the output",
            "conv_transpose2d(ones(1, 2, 4, 4), ones(2, 3, 3, 3), padding=((-1, -1), (0, -3)))",
            "TypeError", "(1, 3, 8, 9)",
        ),
        (
            "Beside them any output_padding",
            "conv_transpose2d(ones(1, 2, 4, 4), ones(2, 3, 3, 3), padding=((0, 0), (0, 0)), output_padding=7)",
            "TypeError", "(1, 3, 13, 13)",
        ),
        (
            "padding_mode \"circular\": the adjoint of a `Conv2d` with that mode",
            "ConvTranspose2d(2, 3, 3, padding=1, padding_mode='circular')(ones(1, 2, 4, 4))",
            "ValueError", "(1, 3, 4, 4)",
        ),
        (
            "\"reflect\"",
            "ConvTranspose2d(2, 3, 3, padding=1, padding_mode='reflect')(ones(1, 2, 4, 4))",
            "ValueError", "(1, 3, 4, 4)",
        ),
        (
            "\"replicate\"",
            "ConvTranspose2d(2, 3, 3, padding=1, padding_mode='replicate')(ones(1, 2, 4, 4))",
            "ValueError", "(1, 3, 4, 4)",
        ),
        (
            "One element that stands for both axes, in the layer as in the function",
            "ConvTranspose2d(2, 3, (3,), padding=1)(ones(1, 2, 4, 4))",
            "RuntimeError", "(1, 3, 4, 4)",
        ),
    ],
}  # fmt: skip


def rows():
    return [row for section in DIFFERENCES.values() for row in section]


def outcome(code, names):
    """What a call answers: a shape, True or False, a number, "a layer", "loaded", or the name of the exception."""
    try:
        result = eval(code, dict(names))
    except Exception as error:
        return type(error).__name__
    if isinstance(result, bool | int):
        return str(result)
    if type(result).__name__ == "ConvTranspose2d":
        return "a layer"
    return str(tuple(result.shape)) if hasattr(result, "shape") else "loaded"


def corner(array, number):
    """The array, or tensor, with a number in its first place."""
    array[(0,) * array.ndim] = number
    return array


def upconv_names():
    dtypes = {name: np.dtype(name) for name in ("float16", "float64", "int64", "complex64")}
    with contextlib.suppress(ImportError):
        import ml_dtypes

        dtypes["bfloat16"] = ml_dtypes.bfloat16
    return dtypes | {
        "conv_transpose2d": upconv.conv_transpose2d,
        "conv2d": upconv.conv2d,
        "ConvTranspose2d": upconv.ConvTranspose2d,
        "ones": lambda *shape, dtype=np.float32: np.ones(shape, dtype),
        "last": lambda array: np.array(array.transpose(0, 2, 3, 1), order="C").transpose(0, 3, 1, 2),
        "is_last": lambda array: array.transpose(0, 2, 3, 1).flags.c_contiguous,
        "corner": corner,
        "nans": lambda array: int(np.isnan(array).sum()),
    }


def page():
    """The page that the table makes."""
    parts = [HEAD]
    for section, table in DIFFERENCES.items():
        parts.append(f"\n## {section}\n\n| What | Call | torch 2.13 | upconv |\n|---|---|---|---|\n")
        parts.extend(f"| {what} | `{code}` | {theirs} | {ours} |\n" for what, code, theirs, ours in table)
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
