"""Memory: one test for each promise of `upconv.runtime.memory`."""

import ctypes
import gc
import os
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest

from upconv.runtime import memory

MIB = 1 << 20
posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX processes and private maps")


@pytest.fixture(autouse=True)
def _nothing_idle():
    gc.collect()
    memory.release()
    yield
    memory.release()


def idle():
    return memory._results.idle()[0]


def big(fill=None, nbytes=4 * MIB):
    array = memory.empty(nbytes // 4, np.float32)
    if fill is not None:
        array.fill(fill)
    return array


def script(text):
    """Run a script in a process of its own."""
    text = f"import os, threading, time\nimport numpy as np\nfrom upconv.runtime import memory\n{text}"
    variables = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", text]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert not done.stderr


# -- arrays ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), 3, (2, 0, 3), (5, 7), (1, 64, 96, 96), [512, 1024]])
@pytest.mark.parametrize("dtype", ["float32", np.complex128, ">i8", np.float16])
def test_empty_is_an_array_like_any_other(shape, dtype):
    array, like = memory.empty(shape, dtype), np.empty(shape, dtype)
    assert (array.shape, array.dtype, array.strides) == (like.shape, like.dtype, like.strides)
    assert array.flags.writeable
    assert array.flags.c_contiguous
    array[...] = 1
    assert array.size == 0 or (array == 1).all()


@posix
@pytest.mark.parametrize("nbytes", [MIB, 3 * MIB, 40 * MIB])
def test_big_arrays_are_aligned(nbytes):
    assert big(nbytes=nbytes).ctypes.data % 64 == 0


def test_small_arrays_are_numpys_own():
    assert memory.empty(MIB - 1, np.uint8).base is None


def test_negative_shapes_are_refused():
    for shape in [(-1, 4), (-4096, -4096)]:
        with pytest.raises(ValueError, match="negative"):
            memory.empty(shape, np.float32)


def test_too_much_memory_is_a_memory_error():
    with pytest.raises(MemoryError):
        memory.empty(1 << 52, np.float32)


def test_pickles_and_copies_stand_on_their_own():
    array = big(2)
    pickled, copied = pickle.loads(pickle.dumps(array)), array.copy()
    array.fill(3)
    assert (pickled == 2).all()
    assert (copied == 2).all()


# -- leases ------------------------------------------------------------------------------------------------------------


@posix
def test_the_block_returns_when_the_last_view_dies():
    array = big(1).reshape(1, 4, -1)
    view = array[:, 1:].transpose(2, 0, 1)[::2]
    other = memoryview(view)
    del array
    assert idle() == 0
    del view
    assert idle() == 0
    del other
    assert idle() == 1


@posix
def test_a_block_is_used_again():
    address = big().ctypes.data
    assert big().ctypes.data == address
    assert idle() == 1


@posix
def test_live_arrays_share_nothing():
    arrays = [big(number) for number in range(5)]
    del arrays[2], arrays[0]
    arrays += [big(number) for number in (5, 6, 7)]
    assert [set(array.tolist()) for array in arrays] == [{1}, {3}, {4}, {5}, {6}, {7}]
    for one in range(6):
        for other in range(one):
            assert not np.shares_memory(arrays[one], arrays[other])


@posix
def test_a_far_larger_block_is_left_for_those_who_need_it():
    large = big(nbytes=32 * MIB).ctypes.data
    assert big(nbytes=4 * MIB).ctypes.data != large
    assert big(nbytes=31 * MIB).ctypes.data == large


@posix
def test_a_block_grows_into_its_room():
    """Results of ever larger sizes, up to the next power of two: each touches memory for what is new alone."""
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    addresses = set()
    for nbytes in range(34 * MIB, 64 * MIB, MIB):
        array = big(1, nbytes)
        addresses.add(array.ctypes.data)
        del array
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    assert len(addresses) == 1
    assert faults <= 64 * MIB // os.sysconf("SC_PAGE_SIZE") + 100
    assert memory._results.idle() == (1, 64 * MIB)


@posix
def test_the_largest_block_with_room_grows():
    small, large = big(nbytes=20 * MIB), big(nbytes=26 * MIB)
    address = large.ctypes.data
    del large, small
    assert big(nbytes=30 * MIB).ctypes.data == address


@posix
def test_without_addresses_for_its_room_a_block_has_none(monkeypatch):
    """Where addresses are counted like memory: what fits is still a block that is used again."""
    tried, block = [], memory.Block

    def made(size, room):
        tried.append(room)
        if room > size:
            raise OSError("no addresses left")
        return block(size, room)

    monkeypatch.setattr(memory, "Block", made)
    address = big(nbytes=34 * MIB).ctypes.data
    assert tried == [64 * MIB, memory.rounded(34 * MIB)]
    assert big(nbytes=34 * MIB).ctypes.data == address


@posix
def test_idle_blocks_are_bounded_in_number():
    arrays = [big() for _ in range(20)]
    arrays.clear()
    assert idle() == memory.RESULT_BLOCKS


@posix
def test_idle_blocks_are_bounded_in_bytes():
    arrays = [big(nbytes=100 * MIB) for _ in range(6)]
    arrays.clear()
    number, nbytes = memory._results.idle()
    assert number >= 1
    assert nbytes <= memory._results.most_bytes <= memory.RESULT_BYTES
    del arrays
    huge = big(nbytes=memory.RESULT_BYTES + MIB)
    del huge
    assert memory._results.idle()[1] <= memory._results.most_bytes


@posix
def test_release_gives_idle_memory_back():
    array = big()
    del array
    lease = memory.scratch(100)
    del lease
    memory.release()
    assert idle() == 0
    assert memory._scratch.store.idle() == (0, 0)


@posix
def test_no_page_fault_storm():
    """A 32 MiB result: the pages of the first call serve all the others."""
    resource = pytest.importorskip("resource")

    def faults(calls):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(calls):
            big(1, 32 * MIB)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    faults(1)
    assert faults(10) < 100


@posix
def test_threads_share_nothing():
    wrong = []

    def use(number):
        for turn in range(100):
            array, lease = big(number, MIB + 4096 * turn), memory.scratch(4096)
            bytes_ = np.asarray(lease)
            bytes_.fill(number)
            if not ((array == number).all() and (bytes_ == number).all()):
                wrong.append(number)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
    assert idle() <= memory.RESULT_BLOCKS


# -- scratch -----------------------------------------------------------------------------------------------------------


def test_scratch_is_aligned_and_big_enough():
    for nbytes in (0, 1, 1000, MIB, 50 * MIB):
        lease = memory.scratch(nbytes)
        assert lease.address % 64 == 0
        assert np.asarray(lease).nbytes == lease.nbytes == nbytes
        ctypes.memset(lease.address, 1, nbytes)


@posix
def test_scratch_is_recycled_in_its_thread():
    first = memory.scratch(100_000)
    address = first.address
    second = memory.scratch(100_000)
    assert second.address != address
    del first
    assert memory.scratch(90_000).address == address


@posix
def test_scratch_of_two_sizes_in_turns_is_one_block():
    """Together they are more than is kept, so blocks of their own would be fresh memory in every call."""
    sizes = memory.SCRATCH_BYTES, 4 * MIB
    addresses = {memory.scratch(nbytes).address for nbytes in (*sizes, *sizes)}
    assert len(addresses) == 1
    assert memory._scratch.store.idle() == (1, memory.SCRATCH_BYTES)


@posix
def test_scratch_that_is_kept_leaves_a_far_larger_block():
    address = memory.scratch(memory.SCRATCH_BYTES).address
    kept = memory.brief(MIB), memory.scratch(MIB, is_kept=True)
    assert address not in [lease.address for lease in kept]
    assert memory.scratch(memory.SCRATCH_BYTES).address == address


@posix
def test_scratch_is_bounded():
    leases = [memory.scratch(10 * MIB) for _ in range(10)]
    leases.clear()
    number, nbytes = memory._scratch.store.idle()
    assert 1 <= number <= memory.SCRATCH_BLOCKS
    assert nbytes <= memory.SCRATCH_BYTES


def test_scratch_works_without_maps(monkeypatch):
    monkeypatch.setattr(memory, "_has_maps", False)
    with memory.poisoned():
        lease, array = memory.scratch(1000), memory.empty((2, MIB), np.float32)
    assert lease.address % 64 == 0
    assert (np.asarray(lease) == 0xFF).all()
    assert np.isnan(array).all()


# -- scratch for brief calls -------------------------------------------------------------------------------------------


def test_brief_scratch_is_the_same_until_it_must_grow():
    small = memory.brief(1000)
    assert small.address % 64 == 0
    assert memory.brief(MIB) is small
    large = memory.brief(3 * MIB)
    assert large is not small
    assert large.nbytes >= 3 * MIB
    assert memory.brief(10) is large


@posix
def test_brief_scratch_that_is_held_survives_growth():
    held = memory.brief(MIB)
    np.asarray(held).fill(7)
    grown = [memory.brief(size * MIB) for size in (2, 4, 8)]
    for lease in (*grown, memory.scratch(MIB)):
        ctypes.memset(lease.address, 1, lease.nbytes)
    assert (np.asarray(held) == 7).all()


@posix
def test_brief_scratch_that_is_not_held_returns():
    memory.brief(MIB)
    assert memory._scratch.store.idle()[0] == 0
    memory.brief(4 * MIB)
    assert memory._scratch.store.idle()[0] == 1
    memory.release()
    assert memory._scratch.store.idle()[0] == 0
    assert memory._scratch.brief is None


@posix
def test_every_thread_has_brief_scratch_of_its_own():
    mine, theirs = memory.brief(1000), []
    thread = threading.Thread(target=lambda: theirs.append(memory.brief(1000)))
    thread.start()
    thread.join()
    assert theirs[0].address != mine.address


@pytest.mark.parametrize("has_maps", [True, False])
def test_brief_scratch_is_poisoned_in_every_call(has_maps, monkeypatch):
    monkeypatch.setattr(memory, "_has_maps", has_maps and memory._has_maps)
    memory.release()
    with memory.poisoned():
        for nbytes in (1000, 2 * MIB, 1000):
            lease = memory.brief(nbytes)
            assert (np.asarray(lease) == 0xFF).all()
            np.asarray(lease).fill(1)
    assert (np.asarray(memory.brief(1000)) == 1).all()


# -- poison ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 10, MIB])
def test_poison_shows_stale_reads(size):
    array = memory.empty((size,), np.float32)
    array.fill(1)
    del array
    with memory.poisoned():
        assert np.isnan(memory.empty((size,), np.float32)).all()
        assert (np.asarray(memory.scratch(size)) == 0xFF).all()
        memory.empty((size,), np.float32).fill(1)
    assert not memory._poison


# -- processes ---------------------------------------------------------------------------------------------------------


@posix
def test_a_forked_child_shares_no_array_with_its_parent():
    script("""
mine = memory.empty((4 << 20,), np.uint8); mine.fill(1)
left = memory.empty((4 << 20,), np.uint8); del left
child = os.fork()
if child == 0:
    fine = (mine == 1).all()
    theirs = [memory.empty((4 << 20,), np.uint8) for _ in range(3)]
    for array in (mine, *theirs):
        array.fill(2)
    del mine
    os._exit(0 if fine and all((array == 2).all() for array in theirs) else 1)
new = memory.empty((4 << 20,), np.uint8); new.fill(3)
assert os.waitpid(child, 0)[1] == 0
assert (mine == 1).all() and (new == 3).all()
""")


@posix
def test_a_forked_child_copies_no_idle_memory():
    script("""
left = memory.empty((4 << 20,), np.uint8); del left
assert memory._results.idle()[0] == 1
child = os.fork()
if child == 0:
    os._exit(memory._results.idle()[0])
assert os.waitpid(child, 0)[1] == 0
assert memory._results.idle()[0] == 1
""")


def test_the_interpreter_may_end_while_arrays_live():
    script("""
kept = memory.empty((4 << 20,), np.uint8)
loop = [kept[::2], memory.scratch(5 << 20)]; loop.append(loop)
left = memory.empty((4 << 20,), np.uint8); del left
def use():
    while True:
        memory.empty((2 << 20,), np.uint8).fill(1)
threading.Thread(target=use, daemon=True).start()
time.sleep(0.1)
""")
