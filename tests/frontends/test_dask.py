"""`upconv.dask`: blocks joined are the bits of a single call, on threads and on a cluster; lazily, within memory."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import amount
import numpy as np
import pytest
from require import require

import upconv
from upconv import SettingError, conv_transpose2d, plan
from upconv.runtime.kernel import usable

da = require("dask.array")
require("distributed")
import upconv.dask as ud  # noqa: E402


def numbers(rng, *shape):
    return np.random.default_rng(rng.getrandbits(32)).standard_normal(shape).astype(np.float32)


def random_chunks(rng, size):
    chunks = []
    while sum(chunks) < size:
        chunks.append(rng.randint(1, min(12, size - sum(chunks))))
    return tuple(chunks)


def random_case(rng):
    """(input in chunks, the operands and settings of the single call)."""
    groups, k = rng.choice([1, 1, 2, 3]), (rng.randint(1, 5), rng.randint(1, 5))
    c_in, c_out = groups * rng.randint(1, 3), rng.randint(1, 3)
    s, d = (tuple(rng.randint(1, top) for _ in "hw") for top in (3, 2))
    crops = tuple((rng.randint(-2, 3), rng.randint(-2, 3)) for _ in "hw")
    x, weight = numbers(rng, 2, c_in, rng.randint(1, 30), rng.randint(1, 30)), numbers(rng, c_in, c_out, *k)
    chunks = ((1, 1), random_chunks(rng, c_in), *(random_chunks(rng, size) for size in x.shape[2:]))
    return da.from_array(x, chunks=chunks), (x, weight, numbers(rng, c_out * groups), s, crops, 0, groups, d)


def test_blocks_are_the_bits_of_a_single_call():
    rng, tried = random.Random(0), 0
    while tried < amount.some(60, 200):
        x, (whole, *settings) = random_case(rng)
        try:
            y = conv_transpose2d(whole, *settings)
        except SettingError:
            continue
        made = ud.conv_transpose2d(x, *settings)
        assert made.shape == y.shape
        got = made.compute(scheduler="threads")
        if (got != y).any() and plan(whole, *settings).algorithm != "gemm":
            # The only column of some blocks would have been computed as a row.
            y = conv_transpose2d(whole, *settings, algorithm="gemm")
        np.testing.assert_array_equal(got, y, err_msg=f"{x.chunks} {settings[2:]}")
        tried += 1


@pytest.mark.parametrize("padding", ["same", "same_lower", "valid", 1])
def test_words_activation_and_operands_of_dask(padding):
    rng = random.Random(1)
    x, weight, bias = numbers(rng, 2, 4, 20, 18), numbers(rng, 4, 3, 3, 3), numbers(rng, 3)
    y = conv_transpose2d(x, weight, bias, 2, padding, activation="relu")
    lazy = [da.from_array(array, chunks=7) for array in (x, weight, bias)]
    made = ud.conv_transpose2d(*lazy, 2, padding, activation="relu")
    np.testing.assert_array_equal(made.compute(), y)


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_dtype_of_the_result_is_that_of_its_blocks(order):
    x = da.ones((1, 2, 4, 4), chunks=(1, 2, 2, 4), dtype=f"{order}f4")
    y = ud.conv_transpose2d(x, np.ones((2, 1, 2, 2), np.float32))
    assert y.dtype == y.compute().dtype
    assert y.dtype.isnative


def test_a_block_reads_its_halo_and_nothing_else():
    read = []

    def source(block_info=None):
        read.append(tuple(block_info[None]["chunk-location"][2:]))
        return np.ones((1, 1, 10, 10), np.float32)

    x = da.map_blocks(source, chunks=((1,), (1,), (10,) * 5, (10,) * 5), dtype=np.float32, meta=np.empty((0,) * 4))
    y = ud.conv_transpose2d(x, np.ones((1, 1, 4, 4), np.float32), None, 2, 1)
    assert read == []
    assert y.chunks[2] == (20,) * 5
    y[:, :, 45:55, 45:55].compute(scheduler="sync")
    assert set(read) == {(i, j) for i in (1, 2, 3) for j in (1, 2, 3)}
    read.clear()
    ud.conv_transpose2d(x, np.ones((1, 1, 2, 2), np.float32), None, 2)[:, :, 45:55, 45:55].compute(scheduler="sync")
    assert set(read) == {(2, 2)}


def test_blocks_take_the_plan_of_the_whole():
    rng = random.Random(2)
    x, weight = numbers(rng, 1, 6, 24, 24), numbers(rng, 6, 16, 4, 4)
    for name in ("gemm", "direct_rows"):
        y = conv_transpose2d(x, weight, None, 2, 1, algorithm=name)
        made = ud.conv_transpose2d(da.from_array(x, chunks=(1, 8, 8, 8)), weight, None, 2, 1, algorithm=name)
        np.testing.assert_array_equal(made.compute(), y)


@pytest.mark.parametrize(("c_in", "k"), [(60, 3), (130, 3), (60, 4), (16, 5), (40, 5)])
def test_phases_are_cut_by_their_own_taps_alone(c_in, k):
    """Where some phases have fewer taps than others, and a block begins with another phase than the whole does."""
    rng = random.Random(7)
    x, weight = numbers(rng, 1, c_in, 24, 24), numbers(rng, c_in, 16, k, k)
    call = {"stride": 2, "padding": 1, "algorithm": "gemm_phase_blocks"}
    y = conv_transpose2d(x, weight, None, **call)
    blocks = da.from_array(x, chunks=(1, c_in, 5, 5))
    np.testing.assert_array_equal(ud.conv_transpose2d(blocks, weight, None, **call).compute(), y)


# (channels in and out, kernel, stride, padding): for the ways that gather columns, stream weights or fuse phases.
WAYS = ((64, 3, 4, 2, 1), (64, 8, 4, 2, 1), (128, 5, 5, 2, 2), (64, 3, 9, 1, 4), (64, 1, 8, 4, 2), (128, 16, 4, 2, 1))


@pytest.mark.parametrize("layer", WAYS, ids=str)
@pytest.mark.parametrize("algorithm", ["auto", "col2im_rows", "col2im_channels", "gemm_fused_phases"])
def test_ways_with_tiles_of_their_own_give_the_bits_of_a_single_call(layer, algorithm):
    c_in, c_out, k, s, p = layer
    rng = random.Random(6)
    weight, bias = numbers(rng, c_in, c_out, k, k), numbers(rng, c_out)
    for last in (False, True):
        x = numbers(rng, 1, c_in, rng.randint(14, 33), rng.randint(14, 33))
        if last:
            x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        # The plan of blocks is that of a channels-first map.
        planned = np.ascontiguousarray(x)
        try:
            chosen = plan(planned, weight, None, s, p, algorithm=algorithm)
        except SettingError:
            assert algorithm != "auto"
            continue
        named = "gemm" if chosen.rounds_by_place else algorithm
        y = conv_transpose2d(planned, weight, bias, s, p, algorithm=named)
        for _ in range(amount.some(2, 10)):
            chunks = (1, c_in, *(random_chunks(rng, size) for size in x.shape[2:]))
            made = ud.conv_transpose2d(da.from_array(x, chunks=chunks), weight, bias, s, p, algorithm=named)
            np.testing.assert_array_equal(made.compute(scheduler="sync"), y, err_msg=f"{chosen.algorithm} {chunks}")


@pytest.mark.parametrize("shape", ["rows", "columns"])
@pytest.mark.parametrize("way", ["direct", "depthwise", "col2im"])
def test_blocks_that_are_narrow_add_up_in_the_order_of_the_whole(way, shape):
    """Rows and columns are ways of their own, so a name says the order."""
    rng, algorithm = random.Random(7), f"{way}_{shape}"
    groups = 3 if way == "depthwise" else 1
    x, weight = numbers(rng, 1, 3, 40, 40), numbers(rng, 3, 3 // groups, 3, 3)
    settings = {"stride": 2, "groups": groups, "algorithm": algorithm}
    y = conv_transpose2d(x, weight, **settings)
    for columns in (20, 2):
        blocks = da.from_array(x, chunks=(1, 3, 40, columns))
        made = ud.conv_transpose2d(blocks, weight, **settings)
        np.testing.assert_array_equal(made.compute(scheduler="sync"), y)


@pytest.mark.parametrize("kept", ["array", "prepared", "bfloat16"])
def test_a_weight_is_planned_as_in_a_single_call_with_it(kept):
    """As given, prepared and in halves it may be computed in three ways; blocks always prepare theirs."""
    rng, ways = random.Random(8), set()
    for c_in, size, c_out, k, s in (
        (129, (30, 7), 16, (3, 4), (1, 2)),
        (200, (3, 7), 21, (3, 4), (3, 3)),
        (200, (3, 30), 40, (3, 3), (2, 2)),
        (33, (1, 2), 16, (2, 2), (1, 1)),
    ):
        x, weight = numbers(rng, 1, c_in, *size), numbers(rng, c_in, c_out, *k)
        if kept != "array":
            weight = upconv.prepare(weight, s, storage=None if kept == "prepared" else kept)
        chosen = plan(x, weight, stride=s)
        ways.add(chosen.algorithm)
        named = chosen.fallback or "gemm" if chosen.rounds_by_place else chosen.algorithm
        y = conv_transpose2d(x, weight, stride=s, algorithm=named)
        made = ud.conv_transpose2d(da.from_array(x, chunks=(1, c_in, 3, 4)), weight, stride=s)
        np.testing.assert_array_equal(made.compute(scheduler="sync"), y, err_msg=f"{chosen.algorithm} {named}")
    assert len(ways) > 1


def test_sums_of_a_weight_that_is_packed_part_by_part_are_not_for_blocks():
    """Which prepare theirs, and add up all channels of a tap one after another."""
    rng = random.Random(9)
    x, weight = numbers(rng, 1, 600, 40, 2), numbers(rng, 600, 16, 5, 5)
    blocks, call = da.from_array(x, chunks=(1, 600, 9, 2)), {"stride": (1, 3), "algorithm": "tap_streaming"}
    with pytest.raises(SettingError, match="'tap_streaming', which is for whole problems; by blocks 'gemm'"):
        np.testing.assert_array_equal(
            ud.conv_transpose2d(blocks, weight, **call).compute(), conv_transpose2d(x, weight, **call)
        )
    prepared = upconv.prepare(weight, (1, 3))
    made = ud.conv_transpose2d(blocks, prepared, **call).compute()
    np.testing.assert_array_equal(made, conv_transpose2d(x, prepared, **call))


@pytest.mark.parametrize(
    ("c", "k", "s", "p", "columns", "is_refused"),
    [
        # The last block has one column: the taps of some phases are not counted there, and sums would be cut elsewhere.
        (70, 5, 3, 2, (2, 1, 1), True),
        # Of short sums, those that phases share would not come first.
        (1, 7, 4, 6, (1, 1, 1, 1, 1), True),
        # As many columns as phases, and long sums.
        (70, 5, 3, 2, (2, 2), False),
        (70, 5, 3, 1, (1, 1, 2), False),
        (300, 3, 1, 1, (1, 3), False),
        (70, 10, 5, 2, (2, 1, 1), False),
    ],
)
def test_blocks_of_rows_have_all_their_phases(c, k, s, p, columns, is_refused):
    rng = random.Random(5)
    x, weight = numbers(rng, 1, c, 5, sum(columns)), numbers(rng, c, 2, 2, k)
    settings = {"stride": (1, s), "padding": (1, p)}
    blocks, named = da.from_array(x, chunks=(1, c, 3, columns)), settings | {"algorithm": "direct_rows"}
    if is_refused:
        with pytest.raises(SettingError, match="'direct_rows', which is for whole problems; by blocks 'gemm' does it"):
            ud.conv_transpose2d(blocks, weight, **named)
        return
    y = ud.conv_transpose2d(blocks, weight, **named).compute(scheduler="sync")
    np.testing.assert_array_equal(y, conv_transpose2d(x, weight, **named))


def test_blocks_that_lack_phases_of_a_row_are_computed_otherwise():
    rng = random.Random(5)
    x, weight = numbers(rng, 1, 70, 5, 4), numbers(rng, 70, 2, 2, 5)
    settings = {"stride": (1, 3), "padding": (2, 2)}
    assert plan(x, weight, **settings).algorithm == "direct_rows"
    for columns, named in (((2, 1, 1), "gemm"), ((2, 2), "direct_rows")):
        blocks = da.from_array(x, chunks=(1, 70, 5, columns))
        want = conv_transpose2d(x, weight, algorithm=named, **settings)
        np.testing.assert_array_equal(ud.conv_transpose2d(blocks, weight, **settings).compute(scheduler="sync"), want)


@pytest.mark.parametrize("dtype", ["float32", "float16", "complex64"])
@pytest.mark.parametrize(("size", "kernel"), [((8, 8), (80, 80)), ((10, 1), (5000, 1))], ids=str)
def test_blocks_under_a_huge_kernel_are_those_of_a_prepared_weight(dtype, size, kernel):
    """An array of a weight would change its role with the input, which no block does."""
    rng = random.Random(10)
    x, weight = (numbers(rng, *shape).astype(dtype) for shape in ((1, 2, *size), (2, 2, *kernel)))
    blocks, prepared = da.from_array(x, chunks=(1, 2, size[0] // 2, size[1])), upconv.prepare(weight)
    assert any("exchanged" in step.description for step in plan(x, weight).steps)
    for name in ("auto", "gemm", "direct_rows"):
        chosen = plan(x, prepared, algorithm=name)
        named = "gemm" if chosen.rounds_by_place else chosen.algorithm
        want = conv_transpose2d(x, prepared, algorithm=named)
        got = ud.conv_transpose2d(blocks, weight, algorithm=name).compute(scheduler="sync")
        np.testing.assert_array_equal(got, want)


@pytest.mark.skipif(bool(usable()), reason="no kernels can be made here")
@pytest.mark.parametrize("algorithm", ["matmul", "loops"])
def test_sums_of_numpy_are_not_for_blocks_where_kernels_are(algorithm):
    """Which adds up in an order that depends on the sizes of matrices; whole numbers have one sum."""
    rng = random.Random(11)
    x, weight = numbers(rng, 2, 40, 9, 9), numbers(rng, 40, 16, 3, 3)
    call = {"stride": 2, "algorithm": algorithm}

    def both(dtype):
        maps = x.astype(dtype)
        blocks = da.from_array(maps, chunks=(1, 40, 4, 3))
        return (
            f(a, weight.astype(dtype), **call) for f, a in ((ud.conv_transpose2d, blocks), (conv_transpose2d, maps))
        )

    with pytest.raises(SettingError, match=f"'{algorithm}', which is for whole problems; by blocks 'gemm' does it"):
        np.testing.assert_array_equal(*both("float64"))
    np.testing.assert_array_equal(*both("int64"))


def test_where_no_kernels_can_be_made_the_values_agree():
    code = """
import sys
sys.modules["llvmlite"] = None
import dask.array as da, numpy as np, upconv, upconv.dask as ud
rng = np.random.default_rng(0)
x, weight = rng.standard_normal((1, 40, 9, 9)), rng.standard_normal((40, 16, 3, 3))
assert upconv.plan(x, weight, stride=2).algorithm == "matmul"
for name in ("auto", "matmul"):
    made = ud.conv_transpose2d(da.from_array(x, chunks=(1, 40, 4, 3)), weight, stride=2, algorithm=name).compute()
    np.testing.assert_allclose(made, upconv.conv_transpose2d(x, weight, stride=2), rtol=0, atol=1e-12)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_winograd_is_not_for_blocks():
    rng = random.Random(4)
    x, weight = numbers(rng, 1, 128, 24, 24), numbers(rng, 128, 128, 4, 4)
    x[0, 5, 3, 3] = np.inf
    made = ud.conv_transpose2d(da.from_array(x, chunks=(1, 128, 11, 13)), weight, None, 2, 1)
    np.testing.assert_array_equal(made.compute(), conv_transpose2d(x, weight, None, 2, 1, algorithm="gemm"))
    if not plan(x, weight, None, 2, 1).fallback:
        pytest.skip("nothing here is computed by Winograd")
    with pytest.raises(SettingError, match="which is for whole problems; by blocks 'gemm' does it"):
        ud.conv_transpose2d(da.from_array(x), weight, None, 2, 1, algorithm="winograd")


def test_two_workers_of_a_cluster_agree_with_the_single_call():
    from distributed import Client, LocalCluster

    rng = random.Random(3)
    x, weight = numbers(rng, 2, 4, 40, 40), numbers(rng, 4, 3, 4, 4)
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1")
    with cluster, Client(cluster):
        made = ud.conv_transpose2d(da.from_array(x, chunks=(1, 4, 15, 15)), weight, None, 2, 1).compute()
    np.testing.assert_array_equal(made, conv_transpose2d(x, weight, None, 2, 1))


def test_a_killed_worker_loses_nothing():
    from distributed import Client, LocalCluster, wait

    rng = random.Random(7)
    x, weight = numbers(rng, 1, 4, 40, 40), numbers(rng, 4, 3, 4, 4)

    def slowly(block):
        time.sleep(0.1)
        return block

    lazy = da.from_array(x, chunks=(1, 4, 10, 10)).map_blocks(slowly, dtype=x.dtype, meta=x[:0])
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1")
    with cluster, Client(cluster) as client:
        numbers_of_processes = client.run(os.getpid)
        future = client.compute(ud.conv_transpose2d(lazy, weight, None, 2, 1))
        victim, end = None, time.monotonic() + 60
        # Until one has results that nobody else has.
        while victim is None and time.monotonic() < end:
            holds = client.has_what()
            victim = next((name for name, keys in holds.items() if len(keys) > 2), None)
        assert victim is not None
        assert not future.done()
        os.kill(numbers_of_processes[victim], signal.SIGKILL)
        wait(future, timeout=120)
        made = future.result()
        assert numbers_of_processes[victim] not in client.run(os.getpid).values()
    np.testing.assert_array_equal(made, conv_transpose2d(x, weight, None, 2, 1))


def test_memory_is_that_of_some_blocks():
    code = f"""
import sys
sys.path[:0] = {sys.path!r}
import dask, dask.array as da, numpy as np, upconv.dask
from children import most_memory
def run(size):
    x = da.ones((1, 3, size, size), chunks=(1, 3, 500, 500), dtype="float32")
    y = upconv.dask.conv_transpose2d(x, np.ones((3, 3, 4, 4), np.float32), None, 2, 1)
    with dask.config.set(scheduler="threads", num_workers=2):
        return float(y.max().compute())
run(1000)
before = most_memory()
assert run(5000) == 12.0
print((most_memory() - before) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # The input has 300 MB, the result 1200; a block of the result 12.
    assert int(done.stdout) < 250


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"input": np.ones((1, 1, 4, 4), np.float32)}, TypeError, "input is ndarray; it must be a dask array"),
        ({"input": da.ones((1, 4, 4), dtype="float32")}, SettingError, "with a batch"),
        (
            {"weight": np.ones((1, 1, 3, 3))},
            SettingError,
            "input has dtype float32 and weight float64; they must agree",
        ),
        ({"weight": np.ones((2, 1, 3, 3), np.float32)}, SettingError, "input has 1 channels and weight takes 2"),
        ({"weight": None}, TypeError, "weight is None"),
        ({"weight": upconv.prepare(np.ones((1, 1, 3, 3), np.float32), 2)}, SettingError, "prepared for stride="),
        ({"weight": upconv.prepare(np.ones((1, 1, 2, 2, 2), np.float32))}, SettingError, "conv_transpose3d"),
        ({"bias": np.ones(3, np.float32)}, SettingError, "bias has shape"),
        ({"algorithm": "fft"}, TypeError, "algorithm is 'fft'"),
        ({"padding": 9}, SettingError, "padding"),
    ],
)
def test_what_is_wrong_is_said_at_once(change, error, says):
    given = {"input": da.ones((1, 1, 4, 4), dtype="float32"), "weight": np.ones((1, 1, 3, 3), np.float32)}
    with pytest.raises(error, match=says.replace("'", ".")):
        ud.conv_transpose2d(**{**given, **change})


def test_chunks_of_unknown_sizes_are_refused():
    x = da.ones((4, 1, 4, 4), chunks=1, dtype="float32")
    x = x[x[:, 0, 0, 0] > 0]
    with pytest.raises(SettingError, match="compute_chunk_sizes"):
        ud.conv_transpose2d(x, np.ones((1, 1, 3, 3), np.float32))


def test_the_example_keeps_to_its_limit_and_says_when_it_does_not():
    example = Path(__file__).parents[2] / "examples" / "larger_than_memory.py"
    for limit, status in (("2", 0), ("0.01", 1)):
        command = [sys.executable, str(example), "--size", "300", "--rows", "32", "--limit", limit]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stderr
        assert "4 windows compared, 0 differ" in done.stdout
