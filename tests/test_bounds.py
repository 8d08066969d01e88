"""Questions that have no end are answered or refused at once, with a reason, through every door."""

import re
import time

import numpy as np
import pytest
from children import script

import upconv
from upconv import cli

# In seconds, on a busy machine too; each took from ten seconds to for ever.
SOON = 5
LINES = {
    "plan 4x4 -k 1000000": "",
    "plan 4x4 -k 1x1000000": "",
    "plan 4x4 -k 1x1000000 -s 1x7 -g 4": "too many to list; cut the weight into kernels of fewer taps",
    "plan 4x4 -k 16000 -s 2": "",
    "plan 4x4 -k 3 --threads 1000000": "at most [0-9]+ threads",
    "plan 60000x60000 -k 3 -s 2 --in-channels 64 --out-channels 64": "",
    "explain 4x4 -k 1000000 -s 999983 -d 7": "",
    "explain 999999999x1 -k 3 -s 2": "",
    "solve --in-size 1000000 --out-size 1000000": "",
    "solve --in-size 999999999 --out-size 1 --all": "",
    "solve --in-size 17 --out-size 32 --max-kernel 1000 --all": (
        r"more than 10,000 settings turn 17 into 32, the best of them \(kernel_size=2, stride=2, padding=1\); .*: give"
    ),
    "solve --in-size 7 --out-size 224": r"turn 7 into 224, the best of them \(kernel_size=32, stride=32\): give",
    "solve --in-size 17 --out-size 32 --max-kernel 30000": "too many to search",
    "translate --from torch -k 1000 -s 2 -p 1 --to jax --in-size 999999999": "",
}


def soon(began):
    return time.perf_counter() - began < SOON


@pytest.mark.parametrize("line", LINES)
def test_a_command_answers_or_refuses_soon(capsys, line):
    began, words = time.perf_counter(), LINES[line]
    status = cli.main(line.split())
    assert soon(began)
    out, err = capsys.readouterr()
    assert (status, bool(out), bool(err)) == ((2, False, True) if words else (0, True, False)), err
    if words:
        assert re.search(words, err)


@pytest.mark.parametrize("padding", [((-(2**33), 0), (0, 0)), ((0, 0), (0, -(2**33)))], ids=str)
def test_an_output_far_larger_than_memory(padding):
    began = time.perf_counter()
    with pytest.raises(upconv.SettingError, match="compute it in parts"):
        repr(upconv.plan((1, 1, 4, 4), (1, 1, 3, 3), padding=padding))
    assert soon(began)


def test_a_map_whose_elements_share_memory_is_no_burden():
    """A gradient of 2**33 columns that is one number."""
    began = time.perf_counter()
    grad_y = np.broadcast_to(1.0, (1, 1, 6, 6 + 2**33))
    got = upconv.grad.conv_transpose2d_input(
        (1, 1, 4, 4), np.ones((1, 1, 3, 3)), grad_y, padding=((0, 0), (0, -(2**33)))
    )
    assert (got == 9).all()
    assert soon(began)


@pytest.mark.parametrize(("taps", "stride"), [((1, 16000), (1, 2)), ((4000, 3), (3, 1))], ids=str)
def test_a_tall_kernel_is_right_and_soon_done(taps, stride):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 4, 3, 5)), rng.standard_normal((4, 4, *taps))
    began = time.perf_counter()
    got = upconv.conv_transpose2d(x, w, None, stride)
    assert soon(began)
    want = upconv.reference.scatter(upconv.plan(x, w, None, stride).problem.geometry, x, w)
    assert np.allclose(got, want)


def test_as_many_threads_as_are_allowed_take_little_memory():
    """A million took 52 GiB, before they were refused."""
    peak = script("""
import numpy as np, upconv
from children import most_memory
upconv.set_num_threads(1024)
upconv.conv_transpose2d(np.ones((1, 64, 64, 64), np.float32), np.ones((64, 64, 4, 4), np.float32), stride=2)
print(most_memory())
""")
    # Scratch of little more than 1 MiB for each thread.
    assert int(peak) < 2 << 20
