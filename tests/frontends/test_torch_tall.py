"""Layers with thousands of taps (long impulse responses), through torch's doors: torch's values, and soon."""

import time

import pytest
from require import require

torch = require("torch")
ut = require("upconv.torch")
nn = torch.nn

# Seconds, on a busy machine too; before phases were counted without being listed, 16,000 taps took fifteen.
SOON = 5


@pytest.mark.parametrize("options", [{}, {"frozen": True}], ids=["", "frozen"])
@pytest.mark.parametrize(
    ("dimensions", "kernel", "settings"),
    [
        (1, 16000, {"stride": 2}),
        (1, 4000, {"stride": 1, "dilation": 3}),
        (2, (1, 16000), {"stride": (1, 2)}),
        (2, (4000, 1), {"stride": (7, 1), "groups": 2}),
    ],
    ids=str,
)
def test_a_tall_kernel_has_torchs_values_soon(dimensions, kernel, settings, options, ours):
    torch.manual_seed(0)
    layer = getattr(nn, f"ConvTranspose{dimensions}d")(4, 4, kernel, **settings).double()
    x = torch.randn(1, 4, *((50,) if dimensions == 1 else (5, 6)), dtype=torch.float64)
    with torch.no_grad():
        want = layer(x)
        began = time.perf_counter()
        ut.accelerate(layer, **options)
        got = layer(x)
    assert time.perf_counter() - began < SOON
    torch.testing.assert_close(got, want)
    assert ours
