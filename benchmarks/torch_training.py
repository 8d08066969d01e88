"""The DCGAN of examples/dcgan.py trained by torch and by upconv from one seed: the same losses, within float32 drift.

    python benchmarks/torch_training.py --json training.json --charts docs/images

Another engine rounds float32 in another order, and training a GAN amplifies that. How much is measured as well: a third
run is torch's own, from weights of which each is off by its last bit or less. The engines may differ by no more than
`ALLOWED` times what that makes; if they do, the exit status is 1.

At the example's own learning rates the amplification is fourfold a step: after 20 steps torch and nudged torch have
nothing in common but their kind. So the learning rates here are `RATE` times those and Adam's epsilon is larger, unless
`--own-rates` asks for the example's. It needs scikit-learn and pillow.
"""

import argparse
import importlib.util
import json
import sys
import time
from pathlib import Path

import pictures
import torch

from upconv.bench import record
from upconv.bench.measure import progress_bar
from upconv.files import check_writable, write_atomically

EXAMPLE = Path(__file__).parents[1] / "examples" / "dcgan.py"
INTERRUPTED = 130
ALLOWED = 10
RATE, EPSILON = 0.02, 1e-3
NUDGED = "torch, nudged"
RUNS = ("torch", "upconv", NUDGED)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--own-rates", action="store_true", help="train as the example does, which float32 cannot repeat"
    )
    parser.add_argument("--json", type=Path, help="write both losses of every step")
    parser.add_argument("--charts", type=Path, help="folder for training.svg, and training.png with matplotlib")
    options = parser.parse_args(argv)
    if options.steps < 1 or options.threads < 1:
        parser.error("--steps and --threads must be at least 1")
    for folder in {path.parent for path in (options.json,) if path} | {path for path in (options.charts,) if path}:
        check_writable(folder)
    torch.set_num_threads(options.threads)
    try:
        with progress_bar(len(RUNS) * options.steps, sys.stderr) as progress:
            runs = {name: train(name, options.seed, options.steps, options.own_rates, progress) for name in RUNS}
    except KeyboardInterrupt:
        return INTERRUPTED
    return tell(runs, options)


def example():
    """examples/dcgan.py as a module."""
    spec = importlib.util.spec_from_file_location("dcgan", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def train(name, seed, steps, own_rates=False, progress=lambda label, steps=1: None):
    """The losses of discriminator and generator at every step, and the seconds of all.

    Args:
        name: of `RUNS`.
        seed: of weights, noise and batches.
        steps: how many.
        own_rates: whether to keep the example's learning rates.
        progress: called with a label after every step.
    """
    dcgan = example()
    torch.manual_seed(seed)
    images, trainer = dcgan.load_images(), dcgan.Trainer("upconv" if name == "upconv" else "torch")
    if not own_rates:
        for group in [*trainer.g_optimizer.param_groups, *trainer.d_optimizer.param_groups]:
            group.update(lr=group["lr"] * RATE, eps=EPSILON)
    if name == NUDGED:
        nudge(trainer.generator)
    losses, start = [], time.perf_counter()
    while len(losses) < steps:
        for batch in torch.randperm(len(images)).split(dcgan.BATCH)[: steps - len(losses)]:
            losses.append(trainer.step(images[batch]))
            progress(f"{name}: D {losses[-1][0]:.3f}, G {losses[-1][1]:+.3f}")
    return {"d": [d for d, _ in losses], "g": [g for _, g in losses], "seconds": time.perf_counter() - start}


def nudge(model):
    """Move every weight by at most one last bit, at random, without touching the random numbers of the training."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            to = torch.randint(-1, 2, p.shape, generator=generator).to(p) * torch.inf
            p.copy_(torch.where(to.isnan(), p, torch.nextafter(p, to)))


def differences(runs):
    """{run: the greatest difference from torch's losses over all steps}, of either network."""
    return {
        name: max(abs(a - b) for key in "dg" for a, b in zip(run[key], runs["torch"][key], strict=True))
        for name, run in runs.items()
        if name != "torch"
    }


def tell(runs, options):
    found = differences(runs)
    drift, difference = found[NUDGED], found["upconv"]
    late = {key: abs(runs["upconv"][key][-1] - runs["torch"][key][-1]) for key in "dg"}
    is_equal = difference <= ALLOWED * drift
    rates = "the example's own" if options.own_rates else "gentle"
    print(f"{options.steps} steps, seed {options.seed}, {options.threads} thread(s), {rates} learning rates")
    print(f"seconds                 torch {runs['torch']['seconds']:.1f}, upconv {runs['upconv']['seconds']:.1f}")
    print(f"greatest difference     {difference:.2e} in a loss; at the last step D {late['d']:.2e}, G {late['g']:.2e}")
    print(f"float32 drift           {drift:.2e}: torch against itself with every weight off by a last bit or less")
    print("equal within float32 drift" if is_equal else f"more than {ALLOWED} times the drift: not equal")
    settings = {key: getattr(options, key) for key in ("steps", "seed", "threads", "own_rates")}
    made = record.make([], settings, complete=True) | {"kind": "benchmarks/torch_training.py", "runs": runs}
    made["differences"] = found
    if options.json:
        write_atomically(options.json, (json.dumps(made, indent=1) + "\n").encode())
    if options.charts:
        for path in pictures.write(drawing(runs, options), options.charts, "training"):
            print(path)
    return 0 if is_equal else 1


def drawing(runs, options):
    """The curves, torch's broad ones beneath upconv's narrow ones."""
    curves = []
    for key, network, colours in (("d", "discriminator", 0), ("g", "generator", 1)):
        broad, narrow = pictures.PAIRS[colours]
        curves.append((f"torch, {network}", broad, 5.0, runs["torch"][key]))
        curves.append((f"upconv, {network}", narrow, 1.4, runs["upconv"][key]))
    difference = differences(runs)["upconv"]
    line = f"DCGAN on handwritten digits, {options.steps} steps; greatest difference of a loss {difference:.1e}"
    return pictures.losses(curves, line)


if __name__ == "__main__":
    sys.exit(main())
