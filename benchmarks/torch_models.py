"""Whole models by torch and accelerated: equal outputs and gradients first, then times, a table and a chart.

    python benchmarks/torch_models.py                    all models, published sizes, one thread
    python benchmarks/torch_models.py --quick --only unet,fsrcnn
    python benchmarks/torch_models.py --threads 4 --compile --json models.json --charts docs/images
    python benchmarks/torch_models.py --monai            networks on volumes instead, where monai is installed

Every model is timed by turns with its twins, from the same weights: the transposed layers alone, the whole forward pass
in evaluation mode (a second twin is frozen and fused), and a training step (forward, backward) in training mode.
`--compile` adds torch.compile with freezing, of torch's own model and of the frozen twin. A model whose outputs or
gradients differ by more than 1e-5 of their root mean square is an error, and no time is printed for it. An interrupted
run writes the models that were finished.
"""

import argparse
import copy
import importlib.util
import json
import sys
import time
from pathlib import Path
from statistics import median

import monai_models
import pictures
import torch
from models import MODELS, build

import upconv
from upconv.bench import record
from upconv.bench.measure import progress_bar
from upconv.files import check_writable, write_atomically
from upconv.torch.examine import in_turns

TOLERANCE = 1e-5
INTERRUPTED = 130
ROUNDS, SECONDS = 25, 12.0
QUICK_ROUNDS, QUICK_SECONDS = 7, 1.5


class Differs(Exception):
    """The twins do not agree."""


def main(argv=None):
    options = parse(argv)
    torch.set_num_threads(options.threads)
    rounds, seconds = (QUICK_ROUNDS, QUICK_SECONDS) if options.quick else (ROUNDS, SECONDS)
    for folder in {path.parent for path in (options.json,) if path} | {path for path in (options.charts,) if path}:
        check_writable(folder)
    names, rows, status = chosen(options), [], 0
    try:
        with progress_bar(len(names), sys.stderr) as progress:
            for name in names:
                progress(name)
                rows.append(row_of(name, options, rounds, seconds))
                progress(name, 1)
    except KeyboardInterrupt:
        status = INTERRUPTED
    except Differs as error:
        print(error, file=sys.stderr)
        return 1
    if rows:
        tell(rows, options, complete=not status)
    return status


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="a few short rounds: to look, not to report")
    parser.add_argument("--scale", type=float, default=1.0, help="narrower models on smaller inputs, to try things out")
    parser.add_argument("--monai", action="store_true", help="MONAI's and nnU-Net's networks on volumes instead")
    parser.add_argument("--only", help="models by part of their names, separated by commas")
    parser.add_argument("--compile", action="store_true", help="torch.compile with freezing, of both, beside them")
    parser.add_argument("--json", type=Path, help="write everything measured")
    parser.add_argument(
        "--charts", type=Path, help="folder for models.svg, and models.png where matplotlib is installed"
    )
    options = parser.parse_args(argv)
    if options.threads < 1 or options.scale <= 0:
        parser.error("--threads must be at least 1 and --scale above 0")
    if options.monai and importlib.util.find_spec("monai") is None:
        parser.error(monai_models.ABSENT)
    if not chosen(options):
        parser.error(f"--only {options.only} fits none of {', '.join(table_of(options))}")
    return options


def table_of(options):
    """The models that there are to choose from: builders by name."""
    return monai_models.MODELS if options.monai else MODELS


def chosen(options):
    builders = table_of(options)
    if options.only is None:
        return list(builders)
    wanted = [part.strip().lower() for part in options.only.split(",") if part.strip()]
    return [name for name in builders if any(part in f"{name} {builders[name].__name__}".lower() for part in wanted)]


def row_of(name, options, rounds, seconds):
    """Everything about one model, in seconds."""
    model, inputs = build(name, options.scale, builders=table_of(options))
    ours, frozen = copy.deepcopy(model), copy.deepcopy(model).eval()
    upconv.torch.accelerate(ours)
    upconv.torch.accelerate(frozen, frozen=True, fuse=True)
    row = {
        "name": name,
        "output": check_outputs(name, model, ours, inputs),
        "frozen": check_outputs(name, model, frozen, inputs),
        "gradients": check(name, model, ours, inputs),
    }
    report = upconv.torch.accelerate(ours.eval(), example_inputs=inputs)
    timings = [timing for layer in report.layers for timing in layer.timings]
    row["layers"] = [sum(t.before * t.calls for t in timings), sum(t.after * t.calls for t in timings)]
    row["ours"], row["count"] = sum(t.is_ours for t in timings), len(timings)
    wholes = [model.eval(), ours, frozen]
    if options.compile:
        wholes += [compiled(name, twin, model, inputs) for twin in (model, frozen)]
    measures = [lambda m=m: timed(lambda: m(*inputs)) for m in wholes]
    with torch.no_grad():
        row["whole"] = list(map(median, in_turns(measures, seconds, rounds)))
    steps = [lambda m=m: timed(lambda: step(m, inputs)) for m in (model.train(), ours.train())]
    row["step"] = list(map(median, in_turns(steps, seconds, rounds)))
    return row


def check_outputs(name, model, ours, inputs):
    """The greatest error of the outputs, relative to their root mean square; gradients have a check of their own."""
    with torch.no_grad():
        return close(name, "outputs", [ours.eval()(*inputs)], [model.eval()(*inputs)])


def check(name, model, ours, inputs):
    """The same of the gradients in every parameter and input, in training mode, with smooth activations.

    At a kink the last bit of a value decides between two slopes, and one such value in a million is a thousandth of the
    root mean square of a gradient.
    """
    return close(name, "gradients", *(gradients(smooth(m).train(), inputs) for m in (ours, model)))


def smooth(model):
    """A copy of a model without the kinks of its activations."""
    model = copy.deepcopy(model)
    for module in model.modules():
        for key, child in module.named_children():
            if isinstance(child, torch.nn.ReLU | torch.nn.LeakyReLU | torch.nn.PReLU):
                setattr(module, key, torch.nn.SiLU())
    return model


def gradients(model, inputs):
    """Gradients of the mean square of a model's output, in its parameters and inputs."""
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    wanted = [*leaves, *model.parameters()]
    return torch.autograd.grad(model(*leaves).square().mean(), wanted)


def close(name, what, got, want):
    """Root mean square of the error over that of what is wanted, over all tensors together.

    Raises:
        Differs: if it is above the tolerance.
    """
    error, size = (sum(float(t.double().square().sum()) for t in ts) for ts in (map(torch.sub, got, want), want))
    ratio = (error / size) ** 0.5 if size else float(error > 0)
    if not ratio <= TOLERANCE:
        raise Differs(f"{name}: {what} differ by {ratio:.1e} of their root mean square, more than {TOLERANCE:.0e}")
    return ratio


def compiled(name, twin, model, inputs):
    """A twin of the model by torch.compile, its parameters constants; its outputs are the model's."""
    import torch._inductor.config as config

    config.freezing = True
    made = torch.compile(copy.deepcopy(twin).eval())
    check_outputs(name, model, made, inputs)
    return made


def step(model, inputs):
    """Forward and backward; the optimiser would be the same."""
    model.zero_grad()
    model(*inputs).square().mean().backward()


def timed(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def tell(rows, options, complete):
    print(table(rows))
    settings = {key: getattr(options, key) for key in ("threads", "quick", "scale", "compile", "monai")}
    made = record.make(rows, settings, complete) | {"kind": "benchmarks/torch_models.py"}
    if options.json:
        write_atomically(options.json, (json.dumps(made, indent=1) + "\n").encode())
    if options.charts:
        for path in pictures.write(pictures.gains(made), options.charts, "models"):
            print(path)


def table(rows):
    """The rows as a table in Markdown."""
    with_compile = any(len(row["whole"]) > 3 for row in rows)
    head = ["model", "layers: torch", "upconv", "gain", "whole: torch", "upconv", "gain", "frozen"]
    head += ["compiled: torch", "upconv frozen"] * with_compile + ["step: torch", "upconv", "gain"]
    lines = [head, ["---"] + ["---:"] * (len(head) - 1)]
    for row in rows:
        others = [ms(seconds) for seconds in row["whole"][2:]]
        lines.append([row["name"], *trio(row["layers"]), *trio(row["whole"]), *others, *trio(row["step"])])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def trio(pair):
    before, after = pair[:2]
    return ms(before), ms(after), f"{before / after:.2f}×"


def ms(seconds):
    return f"{1e3 * seconds:.3g} ms"


if __name__ == "__main__":
    sys.exit(main())
