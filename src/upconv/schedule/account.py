"""What a table of jobs will execute, read back from the table: kernels by name, and multiply-adds, padding included."""

import numpy as np

from ..geometry import ceil_div
from ..kernels import columns, correlate, depthwise, gemm, planes, strips
from ..runtime.kernel import isa, made


def gemm_macs(job, lanes, elem, mr, nv):
    pixels = ceil_div(job["n"] * job["rows"] * job["cols"], mr) * mr
    return job["groups"] * pixels * nv * lanes * job["n_h"] * job["n_w"] * job["c"]


def planes_macs(job, lanes, elem, mr, s, nv, pixels):
    vectors = ceil_div(job["n"] * job["rows"] * ceil_div(ceil_div(job["out_cols"], s), lanes), nv) * nv
    taps = s * job["shared_count"] + (sum(job[f"n_{p}"] for p in range(s)) if s > 1 else 0)
    return job["groups"] * job["blocks"] * vectors * lanes * mr * job["n_h"] * taps * job["c"]


def strips_macs(job, lanes, elem, s, *taps):
    vectors = job["n"] * job["rows"] * ceil_div(ceil_div(job["out_cols"], s), lanes)
    return job["groups"] * vectors * lanes * job["n_h"] * sum(job[f"n_{p}"] for p in range(s))


def depthwise_macs(job, lanes, elem, mr):
    cols = ceil_div(job["cols"], mr) * mr if job["cols"] >= mr else job["cols"]
    return job["n"] * job["rows"] * cols * ceil_div(job["columns"], lanes) * lanes * job["n_h"] * job["n_w"]


def columns_macs(job, lanes, elem, mr, nc):
    return job["pixels"] * job["pieces"] * ceil_div(job["count"], lanes) * lanes * job["c"]


def correlate_macs(job, lanes, elem, mr, nv):
    tile = ceil_div(job["a_count"], mr) * mr * ceil_div(job["b_count"], nv * lanes) * nv * lanes
    return job["groups"] * job["n"] * job["rows"] * job["cols"] * tile


# Kernels that multiply; all others only move.
COUNTED = {
    gemm.gemm: (lambda *_: gemm.WORDS, gemm_macs),
    planes.planes: (lambda elem, mr, s, nv, pixels: planes.NAMES[s], planes_macs),
    strips.strips: (lambda elem, s, *taps: strips.words(s), strips_macs),
    depthwise.depthwise: (lambda *_: depthwise.WORDS, depthwise_macs),
    columns.columns: (lambda *_: columns.WORDS, columns_macs),
    correlate.correlate: (lambda *_: correlate.WORDS, correlate_macs),
}


def account(program, itemsize):
    """What a program executes.

    Args:
        program: a `jobs.Program`.
        itemsize: bytes of one value of the dtype that its kernels compute in.

    Returns:
        (multiply-adds, names of the kernels in the order of their first job).
    """
    macs, names, lanes = 0, {}, isa().lanes(itemsize)
    times = np.zeros(len(program.words) + 1, np.int64)
    np.add.at(times, program.units[:, 0], 1)
    np.add.at(times, program.units[:, 1], -1)
    for words, often in zip(program.words.tolist(), np.cumsum(times).tolist(), strict=False):
        kernel = made(words[0])
        names[kernel.name] = True
        if kernel.make in COUNTED:
            columns, count = COUNTED[kernel.make]
            macs += often * count(dict(zip(columns(*kernel.arguments), words, strict=False)), lanes, *kernel.arguments)
    return macs, tuple(names)
