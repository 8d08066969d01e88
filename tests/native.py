"""Kernels of the staged language run both ways, and objects and assembly looked at."""

import re
import struct

import numpy as np
from amount import some

from upconv.codegen import llvm
from upconv.codegen.interpreter import interpret
from upconv.codegen.isa import runnable
from upconv.codegen.lowering import lower

RUNNABLE = runnable(*llvm.host())
# As `isas.tried`.
ISAS = some([isa for isa in RUNNABLE if isa in (RUNNABLE[0], RUNNABLE[-1])], RUNNABLE)
IDS = [isa.name for isa in ISAS]


def link(kernel, isa):
    """A kernel as a callable of one address."""
    return llvm.Linked(kernel.name, llvm.compile_object(lower(kernel, isa), isa)).function()


def words_of(arrays, numbers=()):
    """The words of an argument: the addresses of the arrays, then the numbers."""
    return np.array([*(array.ctypes.data for array in arrays), *numbers], np.int64)


def interpreted(kernel, arrays, numbers=()):
    """Copies of the arrays after the kernel has been interpreted on them."""
    arrays = [array.copy() for array in arrays]
    words = words_of(arrays, numbers)
    interpret(kernel, words, *arrays)
    # The next task is made out of what the last one left.
    assert np.array_equal(words, words_of(arrays, numbers))
    return arrays


def native(code, arrays, numbers=()):
    """Copies of the arrays after a linked kernel has run on them."""
    arrays = [array.copy() for array in arrays]
    words = words_of(arrays, numbers)
    code(words.ctypes.data)
    assert np.array_equal(words, words_of(arrays, numbers))
    return arrays


def undefined_symbols(image):
    """The names that an ELF object expects others to define."""
    (table,) = struct.unpack_from("<Q", image, 0x28)
    size, count = struct.unpack_from("<HH", image, 0x3A)
    sections = [struct.unpack_from("<IIQQQQIIQQ", image, table + place * size) for place in range(count)]
    names = []
    for _, kind, _, _, start, length, link_to, *_ in sections:
        if kind == 2:  # SHT_SYMTAB; its link is the section of the names.
            text = sections[link_to][4]
            for place in range(start + 24, start + length, 24):
                name, _, _, section = struct.unpack_from("<IBBH", image, place)
                if section == 0:
                    names.append(image[text + name : image.index(b"\0", text + name)].decode())
    return names


def blocks(assembly):
    """(label, instructions) of every basic block."""
    made = []
    for line in assembly.splitlines():
        label = re.match(r"(\.?\w+):", line)
        if label:
            made.append((label[1], []))
        elif made and line.startswith("\t") and not line.lstrip().startswith((".", "#")):
            made[-1][1].append(line.strip())
    return made


def hot_loop(assembly, instruction):
    """The instructions of the loop of one block that has most of an instruction."""
    loops = [lines for label, lines in blocks(assembly) if lines and lines[-1].endswith(label)]
    return max(loops, key=lambda lines: sum(line.startswith(instruction) for line in lines))


def busiest(assembly, instruction):
    """The instructions of the block, be it a loop of its own or a part of one, that has most of an instruction."""
    return max(
        (lines for _, lines in blocks(assembly)), key=lambda lines: sum(i.startswith(instruction) for i in lines)
    )


def spills(lines):
    """Instructions that move a vector register to the stack or back; %rbp holds anything, as there are no frames."""
    return [line for line in lines if re.search(r"%[xyz]mm\d", line) and re.search(r"\(%rsp", line)]


def updates(lines):
    """Instructions that add to a number on the stack: LLVM's pointers go on there, where registers are too few."""
    return [line for line in lines if re.match(r"((add|sub)q\t\S+, |(inc|dec)q\t)-?\d*\(%rsp\)", line)]
