"""The kernels that measure the machine do what they say; how fast is for `upconv bench` to tell."""

import numpy as np
import pytest

from upconv.bench import probe
from upconv.codegen.interpreter import interpret
from upconv.codegen.isa import ROWS

ISAS = [row for row in ROWS.values() if row.vector_bytes]


@pytest.mark.parametrize("isa", ISAS, ids=lambda isa: isa.name)
def test_chains_are_independent_and_fill_the_registers(isa):
    chains, lanes = probe.chain_count(isa), isa.lanes(4)
    assert chains + 2 < isa.registers
    operands = np.array([2, 1], np.float32)
    values = np.arange(chains * lanes, dtype=np.float32)
    expected = (values * 2 + 1) * 2 + 1
    interpret(probe.fma_chains(isa), probe._job(2, operands, values), operands, values)
    np.testing.assert_array_equal(values, expected)
    assert probe.fma_flops(isa) == 2 * chains * lanes


def test_the_chain_of_adds_depends_on_itself():
    result = np.array([5], np.int64)
    interpret(probe.dependent_adds(ISAS[0]), probe._job(2, 3, 255, result), result)
    value = 5
    for _ in range(2 * probe.CHAIN):
        value = (value + 3) & 255
    assert result[0] == value


def test_copies_copy_the_last_source():
    isa = ISAS[0]
    size = 2 * probe.COPY_VECTORS * isa.vector_bytes
    sources = [np.full(size // 4, number, np.float32) for number in (1, 2, 3)]
    destination = np.zeros(size // 4, np.float32)
    interpret(probe.copies(isa), probe._job(1, size, destination, *sources), destination, *sources)
    np.testing.assert_array_equal(destination, sources[-1])


@pytest.mark.parametrize("threads", [1, 2])
def test_a_round_measures_three_things(threads):
    pytest.importorskip("llvmlite")
    machine = probe.Probe(threads)
    machine.prepare(10_000)
    sample = machine.round(0.001)
    assert set(sample) == {"peak", "clock", "copy"}
    assert min(sample.values()) > 0
    share, _, (destination, *sources) = machine.buffers
    assert share * threads * 2 >= 10_000
    np.testing.assert_array_equal(destination, sources[-1])
