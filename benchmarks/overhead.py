"""What a call costs beside the arithmetic: imports, first calls, new sizes, tiny layers.

    python benchmarks/overhead.py

Every figure is the median of a few runs; those that concern a whole process are taken in fresh ones.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec

import numpy as np

import upconv

IMPORT = "import time; import numpy; a = time.perf_counter(); import upconv; print(time.perf_counter() - a)"
FIRST = """
import time, numpy as np, upconv
x, w = np.ones((1, 64, 16, 16), np.float32), np.ones((64, 32, 4, 4), np.float32)
a = time.perf_counter()
upconv.conv_transpose2d(x, w, stride=2, padding=1)
print(time.perf_counter() - a)
"""


def main():
    print(f"import upconv, after numpy    {1e3 * processes(IMPORT):8.1f} ms")
    with tempfile.TemporaryDirectory() as cold:
        first = [process(FIRST, os.path.join(cold, str(number))) for number in range(3)]
        print(f"first call, nothing built     {1e3 * statistics.median(first):8.1f} ms")
        print(f"first call, from the disk     {1e3 * processes(FIRST, os.path.join(cold, '0')):8.1f} ms")
    print(f"a call on 1x1x1x1             {1e6 * tiny():8.1f} us")
    print(f"a new width, beyond a repeat  {1e6 * new_width():8.1f} us")
    if find_spec("torch") is not None:
        theirs, ours = torch_layers()
        print(f"torch's layer on 1x1x1x1      {1e6 * theirs:8.1f} us; upconv.torch's {1e6 * ours:.1f} us")


def process(code, cache=None):
    """Seconds that a fresh process prints."""
    environment = dict(os.environ) | ({"UPCONV_CACHE_DIR": cache} if cache else {})
    run = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    return float(run.stdout)


def processes(code, cache=None):
    return statistics.median(process(code, cache) for _ in range(5))


def tiny(calls=2000, rounds=7):
    x, w = np.ones((1, 1, 1, 1), np.float32), np.ones((1, 1, 1, 1), np.float32)

    def once():
        start = time.perf_counter()
        for _ in range(calls):
            upconv.conv_transpose2d(x, w)
        return (time.perf_counter() - start) / calls

    return statistics.median(once() for _ in range(rounds))


def torch_layers(calls=2000, rounds=7):
    """Torch's layer and upconv's, without gradients, in turns."""
    import torch

    torch.set_num_threads(1)
    x, times = torch.ones(1, 1, 1, 1), []
    layers = torch.nn.ConvTranspose2d(1, 1, 1), upconv.torch.ConvTranspose2d(1, 1, 1)
    with torch.no_grad():
        for _ in range(rounds):
            for layer in layers:
                start = time.perf_counter()
                for _ in range(calls):
                    layer(x)
                times.append((time.perf_counter() - start) / calls)
    return statistics.median(times[::2]), statistics.median(times[1::2])


def new_width(widths=24):
    """A vocoder's layer, whose width differs from call to call."""
    w = np.ones((128, 64, 1, 4), np.float32)
    upconv.conv_transpose2d(np.ones((1, 128, 1, 600), np.float32), w, stride=(1, 2))
    extra = []
    for width in range(601, 601 + widths):
        x = np.ones((1, 128, 1, width), np.float32)
        times = []
        for _ in range(4):
            start = time.perf_counter()
            upconv.conv_transpose2d(x, w, stride=(1, 2))
            times.append(time.perf_counter() - start)
        extra.append(times[0] - statistics.median(times[1:]))
    return statistics.median(extra)


if __name__ == "__main__":
    main()
