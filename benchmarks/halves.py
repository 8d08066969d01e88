"""Real layers in float16 and bfloat16: upconv beside PyTorch in the same dtype and layout, and beside float32.

    python benchmarks/halves.py [--only PATTERNS] [--dtypes float16,bfloat16] [--layouts nchw,nhwc] [--threads 1]

A cell is how many times as fast as torch's the call with a prepared weight is, the weight as given, and how many times
as long as in float32 the former takes: medians over the rounds, in which all have their turns (`upconv.bench.turns`).
Results are compared first, with float32's on the same numbers: `MOST_APART` times what rounding a sum once may change.
torch may multiply bfloat16 by instructions of its own (AVX512_BF16), with other sums than float32's.
"""

import argparse
from pathlib import Path
from statistics import geometric_mean, median

import numpy as np
import torch

import upconv
from upconv.bench.layers import matching
from upconv.bench.turns import in_rounds
from upconv.dtypes import parse
from upconv.files import write_atomically

FORMATS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}
EPSILON = {"float16": 2.0**-10, "bfloat16": 2.0**-7}
# torch may round sums between, over the taps.
MOST_APART = 8
# Milliseconds in float32 of the rows that the last column counts.
LEAST = 1.0


def calls(layer, layout, dtype):
    """{engine: call} on the same numbers."""
    x, (weight, bias) = layer.inputs()[0], layer.parameters()
    half = [torch.from_numpy(array).to(getattr(torch, dtype)) for array in (x, weight, bias)]
    half = [each.contiguous(memory_format=FORMATS[layout]) if each.ndim == 4 else each for each in half]
    arrays = [_array(each, dtype) for each in half]
    wide = [each.float().numpy() for each in half]
    prepared, wide_prepared = (upconv.prepare(each[1], **layer.settings) for each in (arrays, wide))
    ends = layer.s, layer.p, layer.op, layer.groups, layer.d
    return {
        "torch": lambda: torch.nn.functional.conv_transpose2d(*half, *ends),
        "prepared": lambda: upconv.conv_transpose2d(arrays[0], prepared, arrays[2], **layer.settings),
        "given": lambda: upconv.conv_transpose2d(*arrays, **layer.settings),
        "float32": lambda: upconv.conv_transpose2d(wide[0], wide_prepared, wide[2], **layer.settings),
    }


def _array(tensor, dtype):
    """A tensor of halves as NumPy's array on the same memory."""
    return tensor.view(torch.int16).numpy().view(parse(dtype))


def compare(name, engines, dtype):
    """All once, to make their kernels; an error if one differs from float32."""
    truth = engines["float32"]()
    scale = EPSILON[dtype] * np.abs(truth).max()
    for engine in ("torch", "prepared", "given"):
        result = engines[engine]()
        result = result.float().numpy() if engine == "torch" else np.asarray(result, np.float32)
        apart = np.abs(result - truth).max() / scale
        if not apart < MOST_APART:
            raise SystemExit(f"{name}: {engine} differs from float32 by {apart:.2g} roundings of the largest value")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="PATTERNS", help="layers by parts of their names, with commas")
    parser.add_argument("--every", type=int, default=1, help="only every so many-th of them")
    parser.add_argument("--dtypes", default="float16,bfloat16")
    parser.add_argument("--layouts", default="nchw,nhwc")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.01, help="of each engine in each round, about")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    upconv.set_num_threads(options.threads)
    lines = ["| layer | dtype | layout | torch, ms | prepared | given | over float32 |", "|---" * 7 + "|"]
    print(*lines, sep="\n")
    found = {}
    with torch.no_grad():
        for layer in matching(options.only)[:: options.every]:
            for dtype in options.dtypes.split(","):
                for layout in options.layouts.split(","):
                    engines = calls(layer, layout, dtype)
                    compare(f"{layer.name} {dtype} {layout}", engines, dtype)
                    times = in_rounds(engines, options.rounds, options.seconds)
                    row = [ratio(times["torch"], times[form]) for form in ("prepared", "given")]
                    row.append(ratio(times["prepared"], times["float32"]))
                    found.setdefault((dtype, layout), []).append((median(times["float32"]), layer.name, *row))
                    cells = " | ".join(f"{each:.2f}" for each in row)
                    lines.append(
                        f"| {layer.name} | {dtype} | {layout} | {1e3 * median(times['torch']):.3g} | {cells} |"
                    )
                    print(lines[-1], flush=True)
    for (dtype, layout), rows in found.items():
        lines.append(f"\n{dtype}, {layout}, {len(rows)} layers: {summary(rows)}")
        print(lines[-1])
    if options.markdown:
        write_atomically(options.markdown, "\n".join([*lines, ""]).encode())


def ratio(ones, others):
    return median(one / other for one, other in zip(ones, others, strict=True))


def summary(rows):
    """The means of rows (seconds in float32, name, prepared over torch, given over torch, over float32)."""
    parts = []
    for form, ratios in zip(("prepared", "given"), list(zip(*rows, strict=True))[2:4], strict=True):
        behind = sum(each < 1 for each in ratios)
        parts.append(
            f"{form} {geometric_mean(ratios):.2f} times as fast as torch, least {min(ratios):.2f}, behind {behind}"
        )
    longer = [(over, name) for seconds, name, *_, over in rows if seconds > LEAST / 1e3]
    if longer:
        mean, (most, name) = geometric_mean(over for over, _ in longer), max(longer)
        parts.append(f"{mean:.2f} times float32's time where that is above {LEAST:g} ms, most {most:.2f} ({name})")
    return "; ".join(parts)


if __name__ == "__main__":
    main()
