"""What strips of pixels ask for before they are read; what they compute is compared by everything else."""

import dataclasses

import numpy as np
import pytest

from upconv.codegen.interpreter import interpret
from upconv.codegen.isa import LINE, ROWS
from upconv.codegen.primitives import TABLE
from upconv.kernels.strip_product import AHEAD, FIELDS, scratch, strip_product
from upconv.runtime.program import address


@pytest.mark.parametrize("blocks", [1, 3, 4, 12])
@pytest.mark.parametrize("isa", [ROWS["avx512"], ROWS["avx2"]], ids=["avx512", "avx2"])
def test_every_strip_but_the_first_is_fetched_while_the_one_before_is_multiplied(isa, blocks, monkeypatch):
    asked = []
    recorded = dataclasses.replace(TABLE["prefetch"], meaning=lambda p, **_: asked.append(p.address))
    monkeypatch.setitem(TABLE, "prefetch", recorded)
    mr, nv, c, lanes = 4, 2, 9, isa.lanes(4)
    width = nv * isa.vector_bytes
    # Three strips, of which the last is not full.
    cols = 2 * nv * lanes + 3
    # Channels so far apart that those of other strips, and of `AHEAD`, are told from each other.
    x = np.ones((c, 1 << 12), np.float32)
    w, y = np.ones((blocks, c, mr), np.float32), np.empty((blocks * mr, 3 * nv * lanes), np.float32)
    strip, totals = (np.empty(size // 4, np.float32) for size in scratch(isa.vector_bytes, mr, nv, c).values())
    task = {
        **{"x": address(x), "y": address(y), "w": address(w), "strip": address(strip), "totals": address(totals)},
        **{"n": 1, "lines": 1, "cols": cols, "c": c, "x_c": x.strides[0], "y_r": y.strides[0]},
        **{"blocks": blocks, "w_b": w.strides[0]},
    }
    numbers = np.array([task.get(name, 0) for name in FIELDS], np.int64)
    interpret(strip_product(isa, "f32", mr, nv), numbers, x, w, y, strip, totals)
    np.testing.assert_array_equal(y[:, :cols], c)
    lines = [at for strip in range(3) for at in range(strip * width, (strip + 1) * width, LINE)]
    copied = [(channel + AHEAD, at) for channel in range(c) for at in lines]
    following = [(channel, at) for channel in range(c) for at in lines if at >= width]
    found = [divmod(place - address(x), x.strides[0]) for place in asked]
    assert sorted(found) == sorted(copied + following)
