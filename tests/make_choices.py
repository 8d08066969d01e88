"""Writes `data/choices.tsv`, what is chosen for every layer of the table: run it after a change that is meant, and read
the difference.

PYTHONPATH=src python tests/make_choices.py

A line is a layer on an instruction set, a column an operation in a layout; the gradients take their weight as an array.
A choice is made of integers and of the rates that are shipped: it is the same on every machine, so that those of an
instruction set which this one cannot run can be asked for as well.
"""

import csv
from contextlib import contextmanager
from pathlib import Path

import pytest
from children import ISAS
from fresh import fresh

from upconv.bench.layers import table
from upconv.codegen import llvm
from upconv.codegen.isa import ROWS
from upconv.planning import choose
from upconv.problem import OPERATIONS, Problem
from upconv.runtime import kernel

FILE = Path(__file__).parent / "data" / "choices.tsv"
KINDS = [
    (operation, layout, prepared)
    for operation in OPERATIONS
    for prepared in ((False, True) if operation == "forward" else (False,))
    for layout in ("nchw", "nhwc")
]
COLUMNS = [f"{operation} {layout}{' prepared' * prepared}" for operation, layout, prepared in KINDS]


@contextmanager
def planning_for(isa):
    """Plans are made for an instruction set, whether or not this machine can run it; no kernel can be made."""

    def no_kernel(*_):
        raise AssertionError("a choice is made without making a kernel")

    # In this order: what `fresh` remembers must not be what is patched.
    with fresh(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("UPCONV_ISA", isa)
        patch.setattr(llvm, "host", lambda: (ROWS[isa].arch, frozenset(ROWS[isa].needs)))
        patch.setattr(kernel, "_refusals", tuple)
        patch.setattr(kernel, "linked", no_kernel)
        yield


def choices(isa, layers=None):
    """{layer: {column: name of the algorithm chosen}}, of all layers of the table or of some."""
    with planning_for(isa):
        return {
            layer.name: {
                column: choose(Problem(operation, layer.geometry(), "float32", layout, prepared=prepared)).algorithm
                for column, (operation, layout, prepared) in zip(COLUMNS, KINDS, strict=True)
            }
            for layer in layers or table()
        }


def frozen():
    """{isa: {layer: {column: name}}} as the file has it."""
    found = {}
    with FILE.open(newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            found.setdefault(row.pop("isa"), {})[row.pop("layer")] = row
    return found


def write():
    """Write the file anew."""
    lines = [["isa", "layer", *COLUMNS]]
    for isa in ISAS:
        lines += [[isa, layer, *chosen.values()] for layer, chosen in choices(isa).items()]
    FILE.write_text("".join("\t".join(line) + "\n" for line in lines))


if __name__ == "__main__":
    write()
    print(f"wrote {FILE}")
