"""`upconv demo`: a small DCGAN draws handwritten digits from noise, without a framework, and shows what its layers do.

The generator was trained by examples/dcgan.py with PyTorch; here its four transposed convolutions are ours.
"""

import json
import time
from dataclasses import replace
from importlib import resources, util
from pathlib import Path
from statistics import median

import numpy as np

from .errors import SettingError
from .explain.layer import layer_scene
from .explain.png import grey_png
from .explain.svg import svg
from .files import check_writable, write_atomically
from .functional import conv_transpose2d
from .module import ConvTranspose2d
from .planning import plan
from .runtime.kernel import isa, usable

ACTIVATIONS = {"relu": lambda x: np.maximum(x, 0), "tanh": np.tanh}
GRID = 8
ENLARGE = 3
ROUNDS = 5
DRAWN = 2
NEXT = (
    "upconv explain 4x4 -k 3 -s 2 -p 1 --op 1",
    "upconv solve --in-size 17 --out-size 32",
    "upconv translate --from keras -k 3 -s 2 --padding same --to torch",
)


def add_arguments(parser):
    parser.add_argument("--seed", type=int, default=0, help="of the noise the digits are drawn from (default 0)")
    parser.add_argument("--interpolate", action="store_true", help="each row walks from one digit to another")
    parser.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="where the two files go (default here)")


def engine():
    """What computes the layers here, in a sentence."""
    refusals = usable()
    if refusals:
        return f"NumPy's products compute them, since the generated kernels cannot: upconv {refusals[0]}."
    return f"Their kernels are generated on this machine, for {isa().name}, and kept for the next time."


def run(options):
    """Draw, write digits.png and explain.svg, and print a line for each layer."""
    if options.seed < 0:
        raise SettingError(f"--seed is {options.seed}; it must be at least 0")
    check_writable(options.out)
    layers, activations = load_generator()
    torch = load_torch()
    noise = (
        walk(options.seed, layers[0].in_channels) if options.interpolate else draw(options.seed, layers[0].in_channels)
    )
    print(
        f"A DCGAN generator draws {len(noise)} digits from noise; every layer is upconv's ConvTranspose2d."
        f"\n{engine()}\n"
    )
    x = noise
    for number, (layer, activation) in enumerate(zip(layers, activations, strict=True), start=1):
        geometry = report(number, layer, x, torch)
        if number == DRAWN:
            drawn = svg(layer_scene(replace(geometry, n=1)))
        x = ACTIVATIONS[activation](layer(x))
    picture, explanation = options.out / "digits.png", options.out / "explain.svg"
    write_atomically(picture, grey_png(sheet(x)))
    write_atomically(explanation, drawn.encode())
    print(f"\n{picture}: the digits    {explanation}: what the second layer does, drawn\n\nTry next:")
    print("\n".join(f"  {command}" for command in NEXT))
    return 0


def load_generator():
    """The trained generator as (layers, names of the activations), its batch norms folded into the layers."""
    with resources.files("upconv").joinpath("assets/digits.npz").open("rb") as file, np.load(file) as arrays:
        arrays = dict(arrays)
    meta = json.loads(str(arrays.pop("meta")))
    layers = []
    for number, (stride, padding) in enumerate(zip(meta["stride"], meta["padding"], strict=True)):
        weight, bias = (arrays[f"layer{number}.{name}"].astype(np.float32) for name in ("weight", "bias"))
        layer = ConvTranspose2d(weight.shape[0], weight.shape[1], weight.shape[2:], stride, padding, rng=0)
        layer.load_state_dict({"weight": weight, "bias": bias})
        layers.append(layer)
    return layers, meta["activation"]


def draw(seed, latent):
    """(64, latent, 1, 1) of standard normal noise."""
    return np.random.default_rng(seed).standard_normal((GRID * GRID, latent, 1, 1), np.float32)


def walk(seed, latent):
    """Noise in which every row of the sheet goes from one point to another along a great circle."""
    start, end = np.random.default_rng(seed).standard_normal((2, GRID, 1, latent), np.float32)
    # A straight line would pass near the origin, where a normal vector never lies.
    angle = np.linspace(0, np.pi / 2, GRID, dtype=np.float32)[:, None]
    return (np.cos(angle) * start + np.sin(angle) * end).reshape(GRID * GRID, latent, 1, 1)


def report(number, layer, x, torch):
    """Print one layer's settings, the sizes they give, the plan and the time; gives its geometry."""
    chosen = plan(x, layer.weight, None, layer.stride, layer.padding)
    g = chosen.problem.geometry
    ours = milliseconds(lambda: layer(x))
    line = f"{g.h.n:>2}x{g.w.n:<2} -> {g.h.out:>2}x{g.w.out:<2}  {chosen.macs / 1e6:5.1f} M multiply-adds"
    line += f"  {chosen.algorithm} {ours:.1f} ms"
    if torch is not None:
        operands = [torch.from_numpy(np.array(value)) for value in (x, layer.weight, layer.bias)]
        function = torch.nn.functional.conv_transpose2d
        line += f" (PyTorch {milliseconds(lambda: function(*operands, layer.stride, layer.padding)):.1f} ms)"
    print(f"{number}. {layer}\n   {line}", flush=True)
    return g


def milliseconds(function):
    """Median time of a few calls, after one to warm up."""
    times = []
    for _ in range(ROUNDS + 1):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return 1e3 * median(times[1:])


def sheet(images):
    """64 images in [-1, 1] as one grey picture, black on white, enlarged by a bilinear transposed convolution."""
    reach = 1 - np.abs(np.arange(1 - ENLARGE, ENLARGE)) / ENLARGE
    kernel = np.outer(reach, reach).astype(images.dtype)[None, None]
    # Extended by hand, since the bilinear kernel would fade to the background along the edges.
    large = conv_transpose2d(np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge"), kernel, stride=ENLARGE)
    margin = 2 * ENLARGE - 2
    size = images.shape[2] * ENLARGE
    large = large[:, 0, margin : margin + size, margin : margin + size]
    picture = large.reshape(GRID, GRID, size, size).swapaxes(1, 2).reshape(GRID * size, GRID * size)
    return np.round(127.5 - 127.5 * np.clip(picture, -1, 1)).astype(np.uint8)


def load_torch():
    """PyTorch if it is installed, to time it beside; the demo does not need it."""
    if util.find_spec("torch") is None:
        return None
    import torch

    return torch
