"""What a call costs beside the arithmetic: imports, first calls, new sizes, tiny layers.

    python benchmarks/overhead.py

Every figure is the median of a few runs; those that concern a whole process are taken in fresh ones.
"""

import argparse
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
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print(f"import upconv, after numpy    {1e3 * processes(IMPORT):8.1f} ms")
    with tempfile.TemporaryDirectory() as cold:
        first = [process(FIRST, os.path.join(cold, str(number))) for number in range(3)]
        print(f"first call, nothing built     {1e3 * statistics.median(first):8.1f} ms")
        print(f"first call, from the disk     {1e3 * processes(FIRST, os.path.join(cold, '0')):8.1f} ms")
    print(f"a new width, beyond a repeat  {1e6 * new_width():8.1f} us")
    for sizes in ((1, 1, 1, 1), (8, 8, 4, 2)):
        print("a repeated call on {0} to {1} channels, {2}x{2}, kernel {3}".format(*sizes))
        for name, seconds in tiny(*sizes).items():
            print(f"  {name:<28}{1e6 * seconds:8.1f} us")


def process(code, cache=None):
    """Seconds that a fresh process prints."""
    environment = dict(os.environ) | ({"UPCONV_CACHE_DIR": cache} if cache else {})
    run = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    return float(run.stdout)


def processes(code, cache=None):
    return statistics.median(process(code, cache) for _ in range(5))


def tiny(c_in, c_out, size, kernel, calls=1000, rounds=15):
    """Seconds by what is called, which take turns; torch's on one thread and without gradients."""
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(shape, np.float32) for shape in ((1, c_in, size, size), (c_in, c_out, kernel, kernel)))
    layer = upconv.ConvTranspose2d(c_in, c_out, kernel, stride=kernel, rng=0)
    ways = {
        "upconv's function": lambda: upconv.conv_transpose2d(x, w, stride=kernel),
        "upconv's layer": lambda: layer(x),
    }
    if find_spec("torch") is None:
        return taking_turns(ways, calls, rounds)
    import torch

    torch.set_num_threads(1)
    t, u = torch.from_numpy(x), torch.from_numpy(w)
    theirs, ours = (
        module.ConvTranspose2d(c_in, c_out, kernel, stride=kernel).eval() for module in (torch.nn, upconv.torch)
    )
    ways |= {
        "torch's function": lambda: torch.nn.functional.conv_transpose2d(t, u, stride=kernel),
        "torch's layer": lambda: theirs(t),
        "upconv.torch's function": lambda: upconv.torch.conv_transpose2d(t, u, stride=kernel),
        "upconv.torch's layer": lambda: ours(t),
    }
    with torch.no_grad():
        return taking_turns(ways, calls, rounds)


def taking_turns(ways, calls, rounds):
    """Median seconds of a call of each."""
    times = {name: [] for name in ways}
    for _ in range(rounds):
        for name, call in ways.items():
            start = time.perf_counter()
            for _ in range(calls):
                call()
            times[name].append((time.perf_counter() - start) / calls)
    return {name: statistics.median(each) for name, each in times.items()}


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
