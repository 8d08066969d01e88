"""Models of other libraries, with random weights, by torch and accelerated: equal outputs, then times in turns.

    python benchmarks/zoo.py                              all that are installed (pip install monai transformers)
    python benchmarks/zoo.py --only hifigan --threads 2 --seconds 20
    python benchmarks/zoo.py --scale 0.25                 smaller inputs, to try things out

Prints a table in Markdown: the greatest difference of the outputs relative to their root mean square, how many layers
upconv computes, the whole model by torch and accelerated on its example (frozen and fused), each with its spread, and
how many times as fast that is, as the median of the ratios of neighbouring runs. Ends with 1 if a model's outputs
differ, or if one is slower than torch by more than its own spread and three in a hundred.
"""

import argparse
import copy
import sys
from importlib.util import find_spec
from statistics import quantiles

import torch

import upconv
from upconv.torch.examine import Clock, in_turns
from upconv.torch.report import Times

TOLERANCE, MARGIN = 1e-4, 0.03


def monai_unet(scale):
    from monai.networks.nets import UNet

    size = max(1, round(8 * scale)) * 32
    model = UNet(2, 1, 2, channels=(16, 32, 64, 128, 256), strides=(2, 2, 2, 2), num_res_units=2, norm="batch")
    return model, torch.randn(1, 1, size, size)


def monai_basic_unet(scale):
    from monai.networks.nets import BasicUNet

    size = max(1, round(8 * scale)) * 32
    return BasicUNet(2, 1, 2), torch.randn(1, 1, size, size)


def hifigan(scale):
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

    return SpeechT5HifiGan(SpeechT5HifiGanConfig()), torch.randn(1, max(4, round(80 * scale)), 80)


class DptHead(torch.nn.Module):
    """The part of a DPT behind its transformer: from hidden states to a map of depths."""

    def __init__(self, model, side):
        super().__init__()
        self.neck, self.head, self.side = model.neck, model.head, side

    def forward(self, *states):
        return self.head(self.neck(list(states), self.side, self.side))


def dpt_head(scale):
    from transformers import DPTConfig, DPTForDepthEstimation

    side = max(4, round(24 * scale))
    config = DPTConfig(num_hidden_layers=1, backbone_out_indices=[0, 0, 0, 0], image_size=16 * side)
    head = DptHead(DPTForDepthEstimation(config), side)
    return head, tuple(torch.randn(1, side * side + 1, config.hidden_size) for _ in range(4))


MODELS = {
    "MONAI UNet": ("monai", monai_unet),
    "MONAI BasicUNet": ("monai", monai_basic_unet),
    "SpeechT5 HiFi-GAN": ("transformers", hifigan),
    "DPT head": ("transformers", dpt_head),
}


def main(argv=None):
    options = parse(argv)
    torch.set_num_threads(options.threads)
    chosen = [name for name in MODELS if options.only is None or squeezed(options.only) in squeezed(name)]
    missing = {MODELS[name][0] for name in chosen if find_spec(MODELS[name][0]) is None}
    for library in sorted(missing):
        print(f"{library} is not installed; its models are left out", file=sys.stderr)
    rows = [row_of(name, options) for name in chosen if MODELS[name][0] not in missing]
    print(table(rows))
    return int(not rows or any(row["error"] > TOLERANCE or is_slower(row) for row in rows))


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", help="models by part of their name")
    parser.add_argument("--scale", type=float, default=1.0, help="smaller inputs")
    parser.add_argument("--seconds", type=float, default=10.0, help="of measuring for each model")
    options = parser.parse_args(argv)
    if options.threads < 1 or options.scale <= 0 or options.seconds <= 0:
        parser.error("--threads must be at least 1, --scale and --seconds above 0")
    if options.only and not any(squeezed(options.only) in squeezed(name) for name in MODELS):
        parser.error(f"--only {options.only} fits none of {', '.join(MODELS)}")
    return options


def squeezed(name):
    return "".join(filter(str.isalnum, name.lower()))


def row_of(name, options):
    """Everything about one model."""
    torch.manual_seed(0)
    model, example = MODELS[name][1](options.scale)
    model = model.eval()
    ours = copy.deepcopy(model)
    report = upconv.torch.accelerate(ours, frozen=True, fuse=True, example_inputs=example)
    args = example if isinstance(example, tuple) else (example,)
    with torch.inference_mode():
        wanted, got = tensor(model(*args)), tensor(ours(*args))
        clock = Clock()
        taken = in_turns([lambda m=m: clock.seconds(m, args, {}) for m in (model, ours)], options.seconds, 100)
    ratios = [before / after for before, after in zip(*taken, strict=True)]
    return {
        "name": name,
        "error": float((got - wanted).square().mean().sqrt() / wanted.square().mean().sqrt()),
        "layers": f"{sum(layer.is_ours for layer in report.layers)} of {len(report.layers)}",
        "fused": len(report.fused),
        "torch": Times.of(taken[0]),
        "now": Times.of(taken[1]),
        "gain": quantiles(ratios, n=4, method="inclusive"),
        "stolen": clock.stolen,
    }


def tensor(output):
    return output if isinstance(output, torch.Tensor) else output[0]


def is_slower(row):
    """Whether three quarters of the runs say so, beyond the margin."""
    return row["gain"][2] < 1 - MARGIN


def table(rows):
    lines = [
        "| model | upconv's layers | fused | error | torch | accelerated | times as fast (quartiles) | others |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        low, middle, high = row["gain"]
        lines.append(
            f"| {row['name']} | {row['layers']} | {row['fused']} | {row['error']:.1e} | {row['torch']} | {row['now']} "
            f"| {middle:.2f} ({low:.2f} to {high:.2f}) | {100 * row['stolen']:.0f}% |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
