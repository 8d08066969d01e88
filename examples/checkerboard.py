"""Train an upsampling layer until it shows a checkerboard, and in other ways until it shows none.

The layer doubles 16x16 feature maps (eight fixed random filters of a smooth picture) to a 32x32 picture, trained with
`upconv.grad` and NumPy alone. The loss decides what becomes of the checkerboard that random weights begin with:

    blind     compares pictures that are pooled 2x2 first, as a strided discriminator or a perceptual loss does; what
              the pooling cannot see stays as it was
    full      compares every output, and so trains the checkerboard away
    bilinear  the blind loss again, from `upconv.init.bilinear`, which begins without one
    icnr      the blind loss again, from `upconv.init.icnr` and with a kernel of 2, whose phases get one gradient
    icnr, 4   the same with a kernel of 4: its taps reach over the pooled blocks, and the blind loss drives its phases
              apart; a good beginning is no cure for a loss that does not look
    corrected the weight of `blind` after `upconv.explain.artifacts(...).corrected()`, without further training

For each the table has the score and the deviation that `upconv.explain.artifacts` reads out of the weight, and the
deviation measured in pictures that the layer has never seen. It takes some seconds: `python examples/checkerboard.py`.
`--svg FOLDER` draws each weight.
"""

import argparse
from pathlib import Path

import numpy as np

import upconv

CHANNELS, SIZE, BATCH = 8, 16, 8
STEPS, RATE = 400, 0.01


def pictures(number, rng):
    """(number, 1, 32, 32): smooth pictures around 0.5, a few long waves each."""
    y, x = np.mgrid[: 2 * SIZE, : 2 * SIZE] / (2 * SIZE)
    made = np.full((number, 1, 2 * SIZE, 2 * SIZE), 0.5)
    for _ in range(4):
        f, g = rng.uniform(-2, 2, (2, number, 1, 1, 1))
        made += 0.1 * np.cos(2 * np.pi * (f * x + g * y + rng.uniform(0, 1, (number, 1, 1, 1))))
    return made


def pooled(images):
    """The means of 2x2 blocks."""
    n, c, h, w = images.shape
    return images.reshape(n, c, h // 2, 2, w // 2, 2).mean(axis=(3, 5))


def features(images, filters):
    """What a network would hand to its last layer: filtered small pictures, nothing below zero."""
    small = np.pad(pooled(images), ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    return np.maximum(upconv.conv2d(small, filters), 0)


def settings(weight):
    """The layer that doubles with a kernel of 4 or 2."""
    return {"stride": 2, "padding": weight.shape[-1] // 2 - 1}


def train(weight, filters, rng, is_blind, steps=STEPS):
    """The weight after `steps` steps of Adam on fresh pictures."""
    first, second = np.zeros_like(weight), np.zeros_like(weight)
    for step in range(1, steps + 1):
        target = pictures(BATCH, rng)
        x = features(target, filters)
        error = upconv.conv_transpose2d(x, weight, **settings(weight)) - target
        if is_blind:
            error = pooled(error).repeat(2, axis=2).repeat(2, axis=3) / 4
        gradient = upconv.grad.conv_transpose2d_weight(x, weight.shape, error / error.size, **settings(weight))
        first = 0.9 * first + 0.1 * gradient
        second = 0.99 * second + 0.01 * gradient**2
        scale = np.sqrt(second / (1 - 0.99**step)) + 1e-12
        weight = weight - RATE * first / (1 - 0.9**step) / scale
    return weight


def measured(weight, filters, rng):
    """(loss after pooling, how far the phases' means in unseen pictures deviate, the mean of each feature)."""
    target = pictures(64, rng)
    x = features(target, filters)
    y = upconv.conv_transpose2d(x, weight, **settings(weight))
    inner = y[..., 4:-4, 4:-4]
    means = np.array([inner[..., a::2, b::2].mean() for a in (0, 1) for b in (0, 1)])
    loss = np.mean(pooled(y - target) ** 2)
    return loss, means.std() / abs(means.mean()), x[..., 2:-2, 2:-2].mean(axis=(0, 2, 3))


def experiment(seed=0, steps=STEPS):
    """For each way of training: (name, weight, report, loss, deviation measured in pictures)."""
    rng = np.random.default_rng(seed)
    filters = rng.normal(0, 0.4, (CHANNELS, 1, 3, 3))
    plain = upconv.ConvTranspose2d(CHANNELS, 1, 4, stride=2, dtype=np.float64, rng=seed).weight
    smooth = upconv.init.bilinear(np.empty(plain.shape), 2)
    narrow, wide = (upconv.init.icnr(np.empty((CHANNELS, 1, k, k)), 2, rng=seed) for k in (2, 4))
    blind = train(plain, filters, rng, True, steps)
    weights = {
        "random, untrained": plain,
        "blind": blind,
        "full": train(plain, filters, rng, False, steps),
        "bilinear": train(smooth, filters, rng, True, steps),
        "icnr": train(narrow, filters, rng, True, steps),
        "icnr, 4": train(wide, filters, rng, True, steps),
        "corrected": upconv.explain.artifacts(blind, 2).corrected(),
    }
    rows = []
    for name, weight in weights.items():
        loss, deviation, mean = measured(weight, filters, np.random.default_rng(seed + 1))
        rows.append((name, weight, upconv.explain.artifacts(weight, 2, mean=mean, name=name), loss, deviation))
    return rows


def main(argv=None):
    """Train, print the table, draw the weights if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--svg", type=Path, metavar="FOLDER")
    options = parser.parse_args(argv)
    print(f"{'':<18} {'score':>7} {'deviation':>10} {'in pictures':>12} {'pooled loss':>12}")
    for name, _, report, loss, deviation in experiment(options.seed, options.steps):
        print(f"{name:<18} {report.score:7.4f} {report.deviation:10.1%} {deviation:12.1%} {loss:12.6f}")
        if options.svg:
            options.svg.mkdir(parents=True, exist_ok=True)
            (options.svg / f"{name.replace(', ', '-')}.svg").write_text(report._repr_svg_(), encoding="utf-8")


if __name__ == "__main__":
    main()
