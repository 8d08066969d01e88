"""Linear combinations written by the generator: right, and with as few instructions as their sharing allows."""

from fractions import Fraction

import numpy as np
import pytest
from native import IDS, ISAS, interpreted, link, native

from upconv.codegen.combinations import combine, share
from upconv.codegen.lang import PTR, Builder, Type

HALF = Fraction(1, 2)
MATRICES = {
    "sums and differences": ((1, 1, 1, 0), (0, 1, -1, 0), (0, 1, 1, 1)),
    "no 1 first": ((-1, -2, 0, HALF), (2, 0, 0, 4), (0, 0, -1, -1)),
    "a single term": ((0, 1, 0, 0), (0, 0, -3, 0)),
    "pairs up to a factor": ((1, 2, 0, 1), (3, 6, 1, 0), (-1, -2, 5, 5)),
}


def kernel(rows, isa):
    """Reads a vector for each column, writes one for each row."""
    k = Builder(f"combine_{isa.name}")
    x, y = k.arguments(PTR, PTR)
    vector = Type("f32", isa.lanes(4))
    values = [k.load(x + place * vector.size, vector) for place in range(len(rows[0]))]
    for place, value in enumerate(combine(k, rows, values)):
        k.store(value, y + place * vector.size)
    return k


@pytest.mark.parametrize("isa", ISAS, ids=IDS)
@pytest.mark.parametrize("name", MATRICES)
def test_combinations_have_their_values(name, isa):
    rows, lanes = MATRICES[name], isa.lanes(4)
    rng = np.random.default_rng(0)
    x = rng.integers(-50, 50, (len(rows[0]), lanes)).astype(np.float32)
    expected = np.array([[float(v) for v in row] for row in rows]) @ x
    k = kernel(rows, isa)
    for made in (
        interpreted(k, [x, np.zeros_like(expected, np.float32)]),
        native(link(k, isa), [x, 0 * expected.astype("f4")]),
    ):
        np.testing.assert_array_equal(made[1], expected)  # exact: small whole numbers and halves


def instructions(rows):
    k = kernel(rows, ISAS[0])
    return [step.name for step in k.body if step.name in ("add", "sub", "mul", "muladd")]


def test_what_is_shared_is_made_once():
    assert instructions(MATRICES["sums and differences"]) == ["add", "add", "sub", "add"]
    assert instructions(((1, 2, 1), (1, 2, -1))) == ["muladd", "add", "sub"]
    assert instructions(((0, 1), (1, 0))) == []


def test_a_row_of_zeros_is_nothing():
    k = Builder("nothing")
    value = k.load(k.argument, Type("f32", 4))
    assert combine(k, ((0,), (1,)), [value]) == [None, value]


def test_pairs_are_those_that_most_rows_have():
    pairs, sums = share(((1, 1, 2), (2, 2, 1), (1, 0, 2)))
    assert pairs == ((0, 1, 1),)
    assert sums == (((2, 2), (3, 1)), ((2, 1), (3, 2)), ((0, 1), (2, 2)))
