"""The gradients of real layers, upconv beside PyTorch's own operator in the same layout, one after the other in turns.

    python benchmarks/gradients.py [--only PATTERNS] [--layouts nchw,nhwc] [--gradients input,weight,all] [--threads 1]
    python benchmarks/gradients.py --json run.json --charts pictures
    python benchmarks/gradients.py --from run.json others.json --charts docs/images --readme README.md README.ko.md

In each turn an engine begins when all threads of the other one are asleep, with calls that are not timed, and each has
the calling thread on a CPU of its own (see `upconv.bench.turns`; on several threads what ran before would slow down
either). A ratio is the median, over the rounds, of how many times as fast upconv is; `all` is input, weight and bias
in one call of either. Beside the gradient in the weight the forward pass and the machine take their turns, from which
its yardsticks come. Results are compared first: what differs by more than `MOST_APART` of its root mean square is an
error. The file of --json holds the rows that are finished, however the run ends; several are reported as one.

UPCONV_ISA=avx2 with ONEDNN_MAX_CPU_ISA=AVX2, ATEN_CPU_CAPABILITY=avx2 and MKL_ENABLE_INSTRUCTIONS=AVX2 holds both to
AVX2: without the last, torch computes a kernel of one tap by AVX-512.
"""

import argparse
import sys
from pathlib import Path

import gradient_report
import numpy as np
import pictures
import torch

import upconv
from upconv.bench import record
from upconv.bench.layers import matching
from upconv.bench.measure import progress_bar
from upconv.bench.probe import Probe
from upconv.bench.turns import in_rounds, turn
from upconv.files import check_output, check_writable
from upconv.planning import choose
from upconv.problem import Problem

INTERRUPTED = 130
MASKS = {"input": (True, False, False), "weight": (False, True, False), "all": (True, True, True)}
FORMATS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}
# Beyond what two engines make of long sums in float32.
MOST_APART = 1e-4


def main(argv=None):
    options = parse(argv)
    try:
        if options.source:
            tell([gradient_report.read(path) for path in options.source], options)
            return 0
        layers = matching(options.only)[:: options.every]
        if options.json:
            check_output(options.json)
        if options.charts:
            check_writable(options.charts)
        made, status = measure(layers, options)
        if made["rows"]:
            tell([made], options)
    except (ValueError, OSError) as error:
        print(f"benchmarks/gradients.py: {error}", file=sys.stderr)
        return 2
    return status


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--only", metavar="PATTERNS", help="layers by parts of their names, with commas")
    add("--every", type=int, default=1, help="only every so many-th of them")
    add("--layouts", default="nchw,nhwc")
    add("--gradients", default="input,weight,all")
    add("--threads", type=int, default=1)
    add("--rounds", type=int, default=5)
    add("--seconds", type=float, default=0.02, help="of each engine in each round, about")
    add("--json", type=Path, metavar="FILE", help="write everything measured to FILE, row by row")
    add("--from", nargs="+", metavar="FILE", dest="source", help="report on --json files instead of measuring")
    add("--charts", type=Path, metavar="DIR", help="draw the ratios, of the fewest threads, into DIR")
    add("--readme", nargs="+", default=[], metavar="FILE", help="write the tables into these pages")
    options = parser.parse_args(argv)
    options.layouts, options.gradients = options.layouts.split(","), options.gradients.split(",")
    for name, known in (("layouts", FORMATS), ("gradients", MASKS)):
        if unknown := set(getattr(options, name)) - set(known):
            parser.error(f"--{name} {', '.join(sorted(unknown))}: there are {', '.join(known)}")
    return options


def measure(layers, options):
    """(the record of all layers, or of those that were finished when it was interrupted; the status)."""
    torch.set_num_threads(options.threads)
    upconv.set_num_threads(options.threads)
    settings = {key: getattr(options, key) for key in ("layouts", "gradients", "threads", "rounds", "seconds")}
    made = record.make([], settings, complete=False) | {"kind": gradient_report.KIND}
    probe, places = Probe(options.threads), [(layer, layout) for layer in layers for layout in options.layouts]
    try:
        with progress_bar(len(places), sys.stderr) as progress:
            for layer, layout in places:
                progress(f"{layer.name} {layout}")
                made["rows"].append(row_of(layer, layout, probe, options))
                made["complete"] = len(made["rows"]) == len(places)
                if options.json:
                    record.write(options.json, made)
    except KeyboardInterrupt:
        return made, INTERRUPTED
    return made, 0


def tell(records, options):
    """Print the report; write the pictures and the pages that were asked for."""
    records = gradient_report.merged(records)
    print(gradient_report.report(records))
    scene = gradient_report.chart(records[0])
    if options.charts and scene:
        for path in pictures.write(scene, options.charts, "gradients"):
            print(f"wrote {path}")
    for page in options.readme:
        gradient_report.put(page, records)
        print(f"wrote {page}")


def row_of(layer, layout, probe, options):
    """Everything about one layer in one layout: a row like those of `upconv bench`."""
    engines = calls(layer, layout, options.gradients)
    for gradient in options.gradients:
        compare(f"{layer.name} {layout} {gradient}", engines[f"torch {gradient}"], engines[f"upconv {gradient}"])
    times, samples = rounds(engines, probe, layer.bytes, options)
    return {
        "name": layer.name,
        "layout": layout,
        "layer": layer.as_dict(),
        "macs": layer.macs,
        "bytes": layer.bytes,
        "engines": {name: {"rounds": each} for name, each in times.items()},
        "probe": {"rounds": samples},
        "by": ways(layer, layout),
    }


def calls(layer, layout, gradients):
    """{engine: call} on the same numbers; those of a gradient give what its mask asks for, as arrays."""
    x = layer.inputs()[0]
    weight, _ = layer.parameters()
    shape = layer.geometry().output_shape
    grad = np.random.Generator(np.random.PCG64(0)).random(shape, np.float32) - np.float32(0.5)
    tensors = [torch.from_numpy(array).contiguous(memory_format=FORMATS[layout]) for array in (grad, x, weight)]
    arrays = [*(tensor.numpy() for tensor in tensors[:2]), weight]
    found = {}
    for gradient in gradients:
        mask = MASKS[gradient]
        found[f"torch {gradient}"] = lambda mask=mask: by_torch(layer, tensors, mask)
        found[f"upconv {gradient}"] = lambda mask=mask: upconv.grad.conv_transpose2d_backward(
            *arrays, **layer.settings, output_mask=mask
        )
    if "weight" in gradients:
        found[gradient_report.FORWARD] = lambda: upconv.conv_transpose2d(*arrays[1:], **layer.settings)
    return found


def by_torch(layer, tensors, mask):
    bias = [layer.c_out] if mask[2] else None
    settings = layer.s, layer.p, layer.d, True, layer.op, layer.groups, list(mask)
    return torch.ops.aten.convolution_backward(*tensors, bias, *settings)


def compare(name, theirs, ours):
    """Both once, to make their kernels; an error if they differ."""
    for one, other in zip(theirs(), ours(), strict=True):
        if other is not None:
            apart = np.abs(one.numpy() - other).max() / max(1e-30, np.sqrt(np.square(other, dtype=np.float64).mean()))
            if not apart < MOST_APART:
                raise SystemExit(f"{name}: torch and upconv differ by {apart:.2g} of the root mean square")


def rounds(engines, probe, size, options):
    """({engine: seconds of a call in each round}, what the probe measured in each round)."""
    times, samples = {engine: [] for engine in engines}, []
    probe.prepare(size)
    for _ in range(options.rounds):
        for engine, taken in in_rounds(engines, 1, options.seconds).items():
            times[engine] += taken
        with turn(probe.peak):
            samples.append(probe.round(options.seconds))
    return times, samples


def ways(layer, layout):
    """By which algorithms the two large gradients are computed."""
    g = layer.geometry()
    return [choose(Problem(operation, g, "float32", layout)).algorithm for operation in ("grad_input", "grad_weight")]


if __name__ == "__main__":
    sys.exit(main())
