"""The mistakes that people make, and what they are told.

An answer is good when it names what was received and something that works. `python tests/test_mistakes.py` writes
docs/mistakes.md anew; the test fails while that page differs from the table here.
"""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import upconv
from upconv import SettingError

PAGE = Path(__file__).parents[1] / "docs" / "mistakes.md"
HEAD = """\
# {count} mistakes, and the answers

Made by a test, which runs every line: `python tests/test_mistakes.py` writes this page anew. `SettingError` is a
`RuntimeError` and a `ValueError`. A call that is refused has changed nothing.

In all lines `x` is a float32 input of shape (1, 2, 4, 4), `w` a float32 weight of shape (2, 3, 3, 3), `f32` the dtype
float32, and `layer` a `ConvTranspose2d(2, 3, 3, stride=2, padding=1)`.

| Meant | Written | Answer |
|---|---|---|
"""
TENSOR = type("Tensor", (), {"__module__": "torch", "requires_grad": True, "__dlpack__": None})
TENSOR.__dlpack_device__ = lambda self: (1, 0)

# (what was meant, what was written, the exception, what the answer says was received, what it offers)
MISTAKES = [
    (
        "twice the size from a kernel of 3",
        "conv_transpose2d(x, w, stride=2, padding=1, output_padding=2)",
        SettingError, "output_padding is 2", "at most 1",
    ),
    (
        "one more output, without a stride",
        "conv_transpose2d(x, w, output_padding=1)",
        SettingError, "output_padding is 1", "at most 0",
    ),
    (
        "no output_padding, by a sign",
        "ConvTranspose2d(2, 3, 3, stride=2, output_padding=-1)",
        SettingError, "output_padding is (-1, -1)", "at least 0",
    ),
    (
        "an input as NumPy makes it, float64",
        "conv_transpose2d(np.ones((1, 2, 4, 4)), w)",
        SettingError, "input has dtype float64", "input.astype('float32')",
    ),
    (
        "a bias as NumPy makes it, float64",
        "conv_transpose2d(x, w, np.zeros(3))",
        SettingError, "bias float64", "bias.astype('float32')",
    ),
    (
        "the weight of a Conv2d, (out, in, k_h, k_w)",
        "conv_transpose2d(np.ones((1, 16, 8, 8), f32), np.ones((8, 16, 3, 3), f32))",
        SettingError, "weight takes 8", "weight.swapaxes(0, 1)",
    ),
    (
        "the weight of Keras, (k_h, k_w, out, in)",
        "conv_transpose2d(np.ones((1, 16, 8, 8), f32), np.ones((3, 3, 8, 16), f32))",
        SettingError, "(3, 3, 8, 16)", "weight.transpose(3, 2, 0, 1)",
    ),
    (
        "the weight of a grouped Conv2d, (out, in / groups, k_h, k_w)",
        "conv_transpose2d(np.ones((1, 4, 8, 8), f32), np.ones((8, 2, 3, 3), f32), groups=2)",
        SettingError, "weight takes 8", "exchange its channels in each group",
    ),
    (
        "one grey image",
        "conv_transpose2d(np.ones((28, 28), f32), np.ones((1, 8, 3, 3), f32))",
        SettingError, "(28, 28)", "(c, h, w)",
    ),
    (
        "one image, channels last",
        "conv_transpose2d(np.ones((28, 28, 2), f32), w)",
        SettingError, "28 channels", "np.moveaxis(input, -1, -3)",
    ),
    (
        "a batch of images, channels last",
        "conv_transpose2d(np.ones((16, 28, 28, 2), f32), w)",
        SettingError, "(16, 28, 28, 2)", "np.moveaxis(input, -1, -3)",
    ),
    (
        "a video",
        "conv_transpose2d(np.ones((1, 2, 5, 4, 4), f32), w)",
        SettingError, "(1, 2, 5, 4, 4)", "(n, c, h, w)",
    ),
    (
        "a weight without its first axis",
        "conv_transpose2d(x, w[0])",
        SettingError, "(3, 3, 3)", "(c_in, c_out / groups, k_h, k_w)",
    ),
    (
        "the stride in third place, as in the layer",
        "conv_transpose2d(x, w, 2)",
        SettingError, "bias has shape ()", "stride=",
    ),
    (
        "a bias for the input's channels",
        "conv_transpose2d(x, w, np.zeros(2, f32))",
        SettingError, "bias has shape (2,)", "(3,)",
    ),
    (
        "a bias that broadcasts",
        "conv_transpose2d(x, w, np.zeros((1, 3, 1, 1), f32))",
        SettingError, "bias has shape (1, 3, 1, 1)", "(3,)",
    ),
    (
        "a stride from a division",
        "conv_transpose2d(x, w, stride=4 / 2)",
        TypeError, "stride is 2.0", "stride=2 would do",
    ),
    (
        "a stride between two sizes",
        "conv_transpose2d(x, w, stride=1.5)",
        TypeError, "stride is 1.5", "integer",
    ),
    (
        "a stride from a file of settings",
        "ConvTranspose2d(2, 3, 3, stride='2')",
        TypeError, "stride is '2'", "a pair of integers",
    ),
    (
        "a switch in place of a number",
        "conv_transpose2d(x, w, stride=True)",
        TypeError, "stride is True", "an integer",
    ),
    (
        "no stride",
        "ConvTranspose2d(2, 3, 3, stride=0)",
        SettingError, "stride is (0, 0)", "at least 1",
    ),
    (
        "no dilation",
        "conv_transpose2d(x, w, dilation=0)",
        SettingError, "dilation is (0, 0)", "at least 1",
    ),
    (
        "TensorFlow's four strides",
        "conv_transpose2d(x, w, stride=(1, 2, 2, 1))",
        SettingError, "(1, 2, 2, 1) with 4 elements", "two (height, width)",
    ),
    (
        "the padding of TensorFlow",
        "conv_transpose2d(x, w, stride=2, padding='SAME')",
        TypeError, "padding is 'SAME'", "the nearest is 'same'",
    ),
    (
        "the padding of ONNX, four numbers",
        "conv_transpose2d(x, w, padding=[1, 1, 1, 1])",
        SettingError, "[1, 1, 1, 1] with 4 elements", "two (height, width)",
    ),
    (
        "the padding of np.pad, a pair for every axis",
        "conv_transpose2d(x, w, padding=((0, 0), (0, 0), (1, 1), (1, 1)))",
        SettingError, "4 elements", "two (height, width)",
    ),
    (
        "a larger output, by negative padding",
        "conv_transpose2d(x, w, padding=-1)",
        SettingError, "padding is (-1, -1)", "((-1, -1), (-1, -1))",
    ),
    (
        "padding larger than what there is to cut",
        "conv_transpose2d(x, w, padding=3)",
        SettingError, "cuts (3, 3)", "at most 5",
    ),
    (
        "'same' with the output_padding it would need in torch",
        "conv_transpose2d(x, w, stride=2, padding='same', output_padding=1)",
        SettingError, "output_padding is 1", "leave output_padding at 0",
    ),
    (
        "the border mode of SciPy",
        "ConvTranspose2d(2, 3, 3, padding=1, padding_mode='mirror')",
        SettingError, "padding_mode is 'mirror'", "reflect",
    ),
    (
        "a reflection of more than there is",
        "conv_transpose2d(x, w, padding=((4, 0), (0, 0)), padding_mode='reflect')",
        SettingError, "padding is 4", "at most 1",
    ),
    (
        "an output_size that the stride cannot reach",
        "layer(x, output_size=(9, 9))",
        SettingError, "a height of 9", "the nearest is 8",
    ),
    (
        "a set of two strides, which has no order",
        "conv_transpose2d(x, w, stride={2, 1})",
        TypeError, "stride is {1, 2}", "a pair of integers",
    ),
    (
        "algorithms to choose from",
        "conv_transpose2d(x, w, algorithm=['gemm', 'loops'])",
        TypeError, "algorithm is ['gemm', 'loops']", "'auto'",
    ),
    (
        "a file of parameters that was not there",
        "layer.load_state_dict(None)",
        TypeError, "state_dict is None", "a dictionary of arrays",
    ),
    (
        "an output_size with the channels but no batch",
        "layer(x, output_size=(3, 8, 8))",
        SettingError, "(3, 8, 8), 3 elements", "2 or 4",
    ),
    (
        "one output_size for both axes",
        "layer(x, output_size=8)",
        TypeError, "output_size is 8", "a sequence of integers",
    ),
    (
        "groups as in another layer",
        "ConvTranspose2d(8, 12, 3, groups=6)",
        SettingError, "in_channels is 8", "groups=4 would",
    ),
    (
        "no groups",
        "ConvTranspose2d(2, 3, 3, groups=0)",
        SettingError, "groups is 0", "at least 1",
    ),
    (
        "a kernel for three dimensions",
        "ConvTranspose2d(2, 3, (3, 3, 3))",
        SettingError, "(3, 3, 3) with 3 elements", "two (height, width)",
    ),
    (
        "an empty kernel",
        "ConvTranspose2d(2, 3, 0)",
        SettingError, "kernel_size is (0, 0)", "at least 1",
    ),
    (
        "channels yet to be found out",
        "ConvTranspose2d(0, 3, 3)",
        SettingError, "in_channels is 0", "at least 1",
    ),
    (
        "a crop that left no rows",
        "conv_transpose2d(x[:, :, 4:], w)",
        SettingError, "height: input size is 0", "at least 1",
    ),
    (
        "the result of a function without a return",
        "conv_transpose2d(None, w)",
        TypeError, "input is None", "an array",
    ),
    (
        "an image as it comes from a file, uint8",
        "conv_transpose2d(np.ones((1, 2, 4, 4), np.uint8), w)",
        NotImplementedError, "uint8", ".astype('float32')",
    ),
    (
        "small integers",
        "conv_transpose2d(np.ones((1, 2, 4, 4), np.int32), np.ones((2, 3, 3, 3), np.int32))",
        NotImplementedError, "int32", ".astype('int64')",
    ),
    (
        "an input with missing values",
        "conv_transpose2d(np.ma.masked_less(x, 0), w)",
        TypeError, "masked array", "input.filled(0)",
    ),
    (
        "a tensor of torch that wants gradients",
        "conv_transpose2d(torch.ones(1, 2, 4, 4, requires_grad=True), w)",
        SettingError, "wants gradients", "input.detach()",
    ),
    (
        "the result in place of the input",
        "conv_transpose2d(x, np.ones((2, 2, 1, 1), f32), out=x)",
        SettingError, "out overlaps an operand", "a copy",
    ),
    (
        "an out of float64",
        "conv_transpose2d(x, w, out=np.empty((1, 3, 6, 6)))",
        SettingError, "out is float64", "float32",
    ),
    (
        "an out of the input's size",
        "conv_transpose2d(x, w, out=np.empty((1, 3, 4, 4), f32))",
        SettingError, "(1, 3, 4, 4)", "(1, 3, 6, 6)",
    ),
    (
        "a constant in place of an out",
        "conv_transpose2d(x, w, out=np.broadcast_to(f32(0), (1, 3, 6, 6)))",
        SettingError, "out is read-only", "writeable",
    ),
    (
        "the state of the model in place of the layer's",
        "layer.load_state_dict({'up.weight': w, 'up.bias': np.zeros(3, f32)})",
        SettingError, "up.weight", "'bias', 'weight'",
    ),
    (
        "the state of a Conv2d",
        "layer.load_state_dict({'weight': w.swapaxes(0, 1), 'bias': np.zeros(3, f32)})",
        SettingError, "(3, 2, 3, 3)", "(2, 3, 3, 3)",
    ),
    (
        "a layer on a GPU",
        "ConvTranspose2d(2, 3, 3, device='cuda')",
        SettingError, "device is 'cuda'", "'cpu'",
    ),
    (
        "a dtype of another library",
        "ConvTranspose2d(2, 3, 3, dtype='half-float')",
        TypeError, "dtype is 'half-float'", "float32",
    ),
    (
        "an algorithm of another library",
        "conv_transpose2d(x, w, algorithm='cudnn')",
        TypeError, "algorithm is 'cudnn'", "'auto'",
    ),
    (
        "a slope of what has none",
        "conv_transpose2d(x, w, activation=('relu', 0.2))",
        TypeError, "activation is ('relu', 0.2)", "('leaky_relu', a number)",
    ),
    (
        "a slope that is no number",
        "conv_transpose2d(x, w, activation=('leaky_relu', '0.2'))",
        TypeError, "activation is ('leaky_relu', '0.2')", "('leaky_relu', a number)",
    ),
    (
        "a function as the activation",
        "conv_transpose2d(x, w, activation=np.tanh)",
        TypeError, "activation is <ufunc 'tanh'>", "tanh",
    ),
    (
        "an activation of another library",
        "conv_transpose2d(x, w, activation=('gelu', 1))",
        SettingError, "activation is 'gelu'", "tanh",
    ),
    (
        "'same' in a strided convolution",
        "conv2d(x, np.ones((3, 2, 3, 3), f32), stride=2, padding='same')",
        SettingError, "stride is 2", "stride 1",
    ),
    (
        "the gradient of another output",
        "grad.conv_transpose2d_backward(np.ones((1, 3, 8, 8), f32), x, w)",
        SettingError, "(1, 3, 8, 8)", "(1, 3, 6, 6)",
    ),
]  # fmt: skip


def namespace():
    public = {name: getattr(upconv, name) for name in upconv.__all__}
    return public | {
        "np": np,
        "f32": np.float32,
        "x": np.ones((1, 2, 4, 4), np.float32),
        "w": np.ones((2, 3, 3, 3), np.float32),
        "layer": upconv.ConvTranspose2d(2, 3, 3, stride=2, padding=1, rng=0),
        # A stand-in with the module of the real thing, so that torch is not needed.
        "torch": SimpleNamespace(ones=lambda *shape, requires_grad: TENSOR()),
    }


def answer(code):
    """The exception that the code raises; None if it raises none."""
    try:
        eval(code, namespace())
    except Exception as error:
        return error
    return None


def page():
    """The page that the table makes."""
    rows = []
    for meant, code, *_ in MISTAKES:
        error = answer(code)
        message = str(error).replace("|", "\\|").replace("\n", " ")
        rows.append(f"| {meant} | `{code}` | **{type(error).__name__}**: {message} |\n")
    return HEAD.format(count=len(MISTAKES)) + "".join(rows)


@pytest.mark.parametrize(("meant", "code", "error", "received", "offered"), MISTAKES, ids=[row[0] for row in MISTAKES])
def test_the_answer_names_what_was_received_and_something_that_works(meant, code, error, received, offered):
    raised = answer(code)
    assert type(raised) is error, f"{code} raised {raised!r}"
    assert received in str(raised)
    assert offered in str(raised)


@pytest.mark.parametrize("code", [row[1] for row in MISTAKES])
def test_an_answer_is_one_or_two_lines_of_plain_text(code):
    message = str(answer(code))
    assert len(message) < 560
    assert "\n" not in message


def test_no_mistake_is_listed_twice_and_there_are_at_least_forty():
    assert len({row[1] for row in MISTAKES}) == len({row[0] for row in MISTAKES}) == len(MISTAKES) >= 40


def test_the_page_is_the_table():
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python tests/test_mistakes.py"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
