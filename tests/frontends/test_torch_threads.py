"""Threads are torch's own team, and several processes are as good as one."""

import ctypes
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from children import script
from require import require

from upconv.runtime import pool

torch = require("torch")
ut = require("upconv.torch")
LARGE = (4, 32, 24, 24), (32, 32, 4, 4)


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def sent(monkeypatch):
    """How many parts each call sent to torch's team."""
    found = ut.team.openmp()
    if found is None:
        pytest.skip("this torch has no OpenMP runtime that can be called")
    numbers = []

    @ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
    def counted(fn, data, wide, flags):
        numbers.append(wide)
        found(fn, data, wide, flags)

    monkeypatch.setattr(ut.team, "openmp", lambda: counted)
    ut.team._team.cache_clear()
    yield numbers
    ut.team._team.cache_clear()


def operands():
    torch.manual_seed(0)
    return [torch.randn(shape) for shape in LARGE]


def test_the_wheels_openmp_is_found():
    if not (sys.platform == "linux" and torch.backends.openmp.is_available()):
        pytest.skip("only where torch is built with an OpenMP runtime of this kind")
    assert ut.team.openmp() is not None


def test_work_is_spread_over_torchs_threads_and_the_bits_are_the_same(threads, sent):
    threads(1)
    want = ut.conv_transpose2d(*operands(), None, 2)
    assert sent == []
    workers = pool._state.workers
    for number in (2, 3, 8):
        threads(number)
        assert torch.equal(ut.conv_transpose2d(*operands(), None, 2), want)
        assert max(sent) == number
    assert pool._state.workers == workers, "the pool of upconv has hired for torch's call"


FLUSHING = """
import torch, upconv.torch
torch.manual_seed(0)
x, w = (torch.randn(shape) * 1e-20 for shape in ((4, 32, 24, 24), (32, 32, 4, 4)))
torch.set_num_threads(1)
want = upconv.torch.conv_transpose2d(x, w, None, 2)
assert 0 < want.abs().max() < torch.finfo(torch.float32).tiny
# The threads of the team inherit what the one that makes them is set to.
torch.set_flush_denormal(True)
torch.set_num_threads(3)
for flush in (True, False, True):
    torch.set_flush_denormal(flush)
    for _ in range(10):
        # As integers: a comparison of numbers would take subnormal ones for zeros.
        y = upconv.torch.conv_transpose2d(x, w, None, 2)
        assert torch.equal(y.view(torch.int32), want.view(torch.int32))
    assert (torch.tensor([1e-42]) * 1 == 0).item() is flush, "what torch was told has changed"
"""


def test_subnormal_numbers_are_kept_whatever_torchs_threads_do():
    script(FLUSHING)


def test_gradients_too(threads, sent):
    results = []
    for number in (1, 2):
        threads(number)
        leaves = [t.requires_grad_() for t in operands()]
        y = ut.conv_transpose2d(*leaves, None, 2)
        sent.clear()
        results.append(torch.autograd.grad(y.square().sum(), leaves))
    assert sent
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


def test_without_openmp_the_pool_takes_as_many_threads(threads, monkeypatch):
    monkeypatch.setattr(ut.team, "openmp", lambda: None)
    ut.team._team.cache_clear()
    threads(1)
    want = ut.conv_transpose2d(*operands(), None, 2)
    threads(2)
    assert ut.team.team().run is None
    assert torch.equal(ut.conv_transpose2d(*operands(), None, 2), want)
    assert pool._state.workers >= 1
    ut.team._team.cache_clear()


def test_the_numpy_door_keeps_its_own_number_of_threads(threads):
    before = pool.get_num_threads()
    threads(before + 1)
    ut.conv_transpose2d(*operands(), None, 2)
    assert pool.get_num_threads() == before
    assert pool.run_on(ut.team.team(), pool.get_num_threads) == before + 1


def test_a_team_runs_every_part_once(threads):
    """Straight into the team: a copy kernel over many parts, more than there are threads."""
    from upconv.runtime.kernel import link

    text = """
    define void @mark(ptr %row) nounwind {
      %at = load ptr, ptr %row
      %old = atomicrmw add ptr %at, i64 1 monotonic
      ret void
    }
    """
    code = link("mark", text)
    seen = np.zeros(1000, np.int64)
    rows = (seen.ctypes.data + 8 * np.arange(1000, dtype=np.int64))[:, None].copy()
    threads(3)
    team = ut.team.team()
    if team.run is None:
        pytest.skip("no OpenMP runtime that can be called")
    for _ in range(20):
        team.run(code.address, rows)
    assert (seen == 20).all()


def run(code, *arguments):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_the_child_of_a_fork_computes():
    """OpenMP's threads stay behind in the parent; torch's own operators would wait for them."""
    code = """
        import os, torch, upconv.torch as ut
        torch.set_num_threads(2)
        x, w = torch.ones(4, 32, 24, 24), torch.ones(32, 32, 4, 4)
        want = ut.conv_transpose2d(x, w, None, 2)
        child = os.fork()
        if child == 0:
            assert ut.team.team().run is None
            got = ut.conv_transpose2d(x, w, None, 2)
            os._exit(0 if (got.numpy() == want.numpy()).all() else 3)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    assert run(code).strip() == "0"


def test_many_python_threads_at_once():
    code = """
        import threading, torch, upconv.torch as ut
        torch.set_num_threads(2)
        x, w = torch.randn(2, 32, 24, 24), torch.randn(32, 32, 4, 4)
        want, wrong = ut.conv_transpose2d(x, w, None, 2), []
        def work():
            for _ in range(20):
                if not ut.conv_transpose2d(x, w, None, 2).equal(want):
                    wrong.append(1)
                torch.conv2d(x, w)
        threads = [threading.Thread(target=work) for _ in range(4)]
        [t.start() for t in threads]; [t.join() for t in threads]
        print(len(wrong))
    """
    assert run(code).strip() == "0"


DDP = """
    import os, sys, torch, torch.distributed as dist, torch.multiprocessing as mp
    import upconv.torch as ut
    from upconv.torch import choice
    choice.FEW_MACS = 0

    def model():
        torch.manual_seed(0)
        return torch.nn.Sequential(ut.ConvTranspose2d(4, 6, 3, 2), torch.nn.Tanh(), ut.ConvTranspose2d(6, 3, 4, 2, 1))

    def train(model, x):
        optimizer = torch.optim.SGD(model.parameters(), 0.5)
        for _ in range(3):
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()

    def work(rank, file, batch):
        dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
        torch.set_num_threads(1)
        made = torch.nn.parallel.DistributedDataParallel(model())
        train(made, batch.chunk(2)[rank])
        if rank == 0:
            torch.save(made.module.state_dict(), file + ".pt")
        dist.barrier()
        # The end of torch's process group can wait for a thread that waits for the GIL, on a busy machine for ever.
        os._exit(0)
"""


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch is not built for several processes")
def test_two_processes_train_as_one_with_the_whole_batch(tmp_path):
    script = tmp_path / "train.py"
    main = """
    if __name__ == "__main__":
        torch.manual_seed(1)
        batch = torch.randn(4, 4, 5, 5)
        mp.start_processes(work, (sys.argv[1], batch), 2, start_method="spawn")
        alone = model()
        before = {key: value.clone() for key, value in alone.state_dict().items()}
        train(alone, batch)
        together = torch.load(sys.argv[1] + ".pt")
        for key, value in alone.state_dict().items():
            torch.testing.assert_close(together[key], value, rtol=1e-5, atol=1e-6)
            assert not torch.allclose(value, before[key]), key
        print("equal")
    """
    script.write_text(textwrap.dedent(DDP) + textwrap.dedent(main))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), str(tmp_path / "meet")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("equal")
