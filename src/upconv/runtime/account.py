"""What a table of jobs will execute, read back from the table: kernels by name, and multiply-adds, padding included."""

from ..geometry import ceil_div
from ..kernels import correlate, depthwise, gemm, rows
from .kernel import isa, made


def gemm_macs(job, lanes, elem, mr, nv):
    pixels = ceil_div(job["n"] * job["rows"] * job["cols"], mr) * mr
    return job["groups"] * pixels * nv * lanes * job["n_h"] * job["n_w"] * job["c"]


def rows_macs(job, lanes, elem, mr, nv, short):
    vectors = ceil_div(job["n"] * job["rows"] * ceil_div(job["cols"], lanes), nv) * nv
    return job["groups"] * vectors * lanes * mr * job["n_h"] * job["n_w"] * job["c"]


def depthwise_macs(job, lanes, elem, mr):
    pixels = ceil_div(job["n"] * job["rows"] * job["cols"], mr) * mr
    return pixels * ceil_div(job["columns"], lanes) * lanes * job["n_h"] * job["n_w"]


def correlate_macs(job, lanes, elem, mr, nv):
    tile = ceil_div(job["a_count"], mr) * mr * ceil_div(job["b_count"], nv * lanes) * nv * lanes
    return job["groups"] * job["n"] * job["rows"] * job["cols"] * tile


# Kernels that multiply; all others only move.
COUNTED = {
    gemm.gemm: (gemm.WORDS, gemm_macs),
    rows.rows: (rows.WORDS, rows_macs),
    depthwise.depthwise: (depthwise.WORDS, depthwise_macs),
    correlate.correlate: (correlate.WORDS, correlate_macs),
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
    for words in program.serial.words.tolist():
        kernel = made(words[0])
        names[kernel.name] = True
        if kernel.make in COUNTED:
            columns, count = COUNTED[kernel.make]
            macs += count(dict(zip(columns, words, strict=False)), lanes, *kernel.arguments)
    return macs, tuple(names)
