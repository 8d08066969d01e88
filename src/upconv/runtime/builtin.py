"""A program as a function of Python's own: its arguments are arrays, and no Python runs between them and it.

    run = builtin(template, bias)
    run(a, b, bias, result) the result, computed; FLAGGED where the program has set a flag; NotImplemented where an
                            array does not begin at a multiple of its elements, say

What a call through ctypes costs is more than what a tiny layer computes. The function is generated like a kernel, with
the calling convention that CPython has for its builtins (METH_FASTCALL), and bound to a *template*: the program's
record (`waves`), in which only the addresses of the arrays are missing. Of an array it reads one word, where its memory
begins; whether that word is where it is looked for is tested on known arrays before the first use (`why_not`).

A brief one keeps the GIL from beginning to end, so all such functions share one scratch. One that `lets_go` of the GIL
while it computes, on one thread or on the pool, has its scratch in common with the others of its kind: where one of
them is under way in another thread, it answers NotImplemented. The caller has compared shapes, strides and dtypes with
those that the template was made for.
"""

import ctypes
import os
import sys
from array import array
from functools import lru_cache
from string import Template

import numpy as np

from .. import config
from ..kernels.execute import BIAS, W, X, Y
from . import kernel, memory, waves
from .once import once
from .program import Program, address, team

# Programs that need more scratch are called in the other way.
SCRATCH_BYTES, LONGER_SCRATCH_BYTES = 1 << 20, 16 << 20
METH_FASTCALL = 0x80
HEAD = (
    *("mask", "bias_words", "bias_times", "bias_at", "panels", "scratch", "refusal", "second", "result"),
    *("increment", "busy", "save", "restore", "flagged"),
)
NAME = "upconv_call"
# Where an array of Python's own has the address of its words: behind what every object of a varying size begins with.
WORDS_AT = tuple.__basicsize__
# What a function answers where the program has set a flag: y is not what was asked for.
FLAGGED = Ellipsis
TEXT = """
define internal void @copy(ptr %to, ptr %from, i64 %words) nounwind {
  %some = icmp sgt i64 %words, 0
  br i1 %some, label %again, label %done
again:
  %i = phi i64 [0, %0], [%next, %again]
  %source = getelementptr i32, ptr %from, i64 %i
  %word = load volatile i32, ptr %source
  %place = getelementptr i32, ptr %to, i64 %i
  store volatile i32 %word, ptr %place
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %words
  br i1 %more, label %again, label %done
done:
  ret void
}

define internal ptr @begins(ptr %arguments, i64 %number) nounwind {
  %at = getelementptr ptr, ptr %arguments, i64 %number
  %array = load ptr, ptr %at
  %data.at = getelementptr i8, ptr %array, i64 $DATA
  %data = load ptr, ptr %data.at
  ret ptr %data
}

define internal void @base(ptr %bases, i64 %number, ptr %address) nounwind {
  %at = getelementptr ptr, ptr %bases, i64 %number
  store ptr %address, ptr %at
  ret void
}

define ptr @$NAME(ptr %self, ptr %arguments, i64 %count) nounwind {
  %bases = alloca [$BASES x i64], align 64
  %template.at = getelementptr i8, ptr %self, i64 $WORDS
  %template = load ptr, ptr %template.at
  %increment = call ptr @pointer(ptr %template, i64 $INCREMENT)
  %x = call ptr @begins(ptr %arguments, i64 0)
  %w = call ptr @begins(ptr %arguments, i64 1)
  %y = call ptr @begins(ptr %arguments, i64 3)
  %x.int = ptrtoint ptr %x to i64
  %w.int = ptrtoint ptr %w to i64
  %y.int = ptrtoint ptr %y to i64
  %xw = or i64 %x.int, %w.int
  %xwy = or i64 %xw, %y.int
  %mask = load i64, ptr %template
  %odd = and i64 %xwy, %mask
  %even = icmp eq i64 %odd, 0
  br i1 %even, label %start, label %refuse
start:
  %bias.words.ptr = call ptr @pointer(ptr %template, i64 $BIAS_WORDS)
  %bias.words = ptrtoint ptr %bias.words.ptr to i64
  %has.bias = icmp sgt i64 %bias.words, 0
  br i1 %has.bias, label %bias, label %claim
bias:
  %b.given = call ptr @begins(ptr %arguments, i64 2)
  %b.int = ptrtoint ptr %b.given to i64
  %b.odd = and i64 %b.int, %mask
  %b.even = icmp eq i64 %b.odd, 0
  br i1 %b.even, label %claim, label %refuse
claim:
  %busy = call ptr @pointer(ptr %template, i64 $BUSY)
  %lets.go = icmp ne ptr %busy, null
  br i1 %lets.go, label %ask, label %fill
ask:
  %taken = load volatile i64, ptr %busy
  %is.free = icmp eq i64 %taken, 0
  br i1 %is.free, label %take, label %refuse
take:
  store volatile i64 1, ptr %busy
  br label %fill
fill:
  br i1 %has.bias, label %repeat, label %go
repeat:
  %b = call ptr @begins(ptr %arguments, i64 2)
  %times.ptr = call ptr @pointer(ptr %template, i64 $BIAS_TIMES)
  %times = ptrtoint ptr %times.ptr to i64
  %bias.at = call ptr @pointer(ptr %template, i64 $BIAS_AT)
  br label %again
again:
  %time = phi i64 [0, %repeat], [%next, %again]
  %offset = mul i64 %time, %bias.words
  %there = getelementptr i32, ptr %bias.at, i64 %offset
  call void @copy(ptr %there, ptr %b, i64 %bias.words)
  %next = add i64 %time, 1
  %more = icmp slt i64 %next, %times
  br i1 %more, label %again, label %go
go:
  %bias.own = call ptr @pointer(ptr %template, i64 $BIAS_AT)
  %scratch = call ptr @pointer(ptr %template, i64 $SCRATCH)
  %scratch.word = ptrtoint ptr %scratch to i64
  %panels = call ptr @pointer(ptr %template, i64 $PANELS)
  %record = getelementptr i64, ptr %template, i64 $RECORD
  %second.at = getelementptr i64, ptr %template, i64 $SECOND
  %result.at = getelementptr i64, ptr %template, i64 $RESULT
  store i64 0, ptr %bases
  call void @base(ptr %bases, i64 $X_BASE, ptr %x)
  %second = load i64, ptr %second.at
  %result.base = load i64, ptr %result.at
  call void @base(ptr %bases, i64 %second, ptr %w)
  call void @base(ptr %bases, i64 %result.base, ptr %y)
  call void @base(ptr %bases, i64 $BIAS_BASE, ptr %bias.own)
  call void @base(ptr %bases, i64 $SCRATCH_BASE, ptr %scratch)
  call void @base(ptr %bases, i64 $PANELS_BASE, ptr %panels)
  br i1 %lets.go, label %without, label %within
without:
  %save = call ptr @pointer(ptr %template, i64 $SAVE)
  %restore = call ptr @pointer(ptr %template, i64 $RESTORE)
  %state = call ptr %save()
  call void @run_program(ptr %record, ptr %bases)
  %flagged.without = call i1 @flagged(ptr %record, i64 %scratch.word)
  call void %restore(ptr %state)
  store volatile i64 0, ptr %busy
  br label %computed
within:
  call void @run_program(ptr %record, ptr %bases)
  %flagged.within = call i1 @flagged(ptr %record, i64 %scratch.word)
  br label %computed
computed:
  %flagged = phi i1 [%flagged.without, %without], [%flagged.within, %within]
  br i1 %flagged, label %say, label %end
end:
  %y.at = getelementptr ptr, ptr %arguments, i64 3
  %result = load ptr, ptr %y.at
  call void %increment(ptr %result)
  ret ptr %result
say:
  %flagged.object = call ptr @pointer(ptr %template, i64 $FLAGGED)
  call void %increment(ptr %flagged.object)
  ret ptr %flagged.object
refuse:
  %refusal = call ptr @pointer(ptr %template, i64 $REFUSAL)
  call void %increment(ptr %refusal)
  ret ptr %refusal
}
"""


class _MethodDef(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("meth", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p))


@lru_cache(maxsize=1)
def why_not() -> list[str]:
    """Why no such function can be made here, as sentences without their subject; empty means it can."""
    if not config.direct_calls():
        return ["is switched off by UPCONV_DIRECT_CALLS"]
    if sys.implementation.name != "cpython":
        return [f"is for CPython, not for {sys.implementation.name}"]
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return ["needs the GIL"]
    if not _found_where_they_begin():
        return ["does not know where this NumPy, or Python, keeps the address of an array"]
    if refusals := kernel.usable():
        return refusals
    try:
        _definition()
    except (kernel.CodeRefused, kernel.CompilationForbidden) as error:
        return [f"cannot be made ({error})"]
    return []


def _found_where_they_begin():
    """Read the word where the address of an array's memory should be, from arrays of several kinds, and a template."""
    whole = np.arange(60.0).reshape(3, 4, 5)
    arrays = whole, whole[1:, ::-1, 2:], np.zeros(7, np.int8)[3:], np.zeros((0, 3), np.complex128), np.zeros(())
    template = array("q", range(5))
    places = [(each, object.__basicsize__, address(each)) for each in arrays]
    places.append((template, WORDS_AT, template.buffer_info()[0]))
    return all(ctypes.c_size_t.from_address(id(each) + place).value == begins for each, place, begins in places)


def builtin(
    program: Program,
    mask: int,
    weight_form: int | None,
    bias: int,
    repeats: tuple[int, int],
    threads=1,
    lets_go=False,
    bases: tuple[int, int] = (W, Y),
):
    """The function of a program for arrays that lie as it was made for; None if it cannot be one.

    Args:
        program: runs in one go; must live as long as the function.
        mask: addresses of the arrays have none of these bits.
        weight_form: address of the packed weight, where it was prepared and the program reads a form of it.
        bias: address of what the program reads as a bias; if one is passed it is written to, so it must be the
            function's own, and live as long.
        repeats: (bytes of the bias that will be passed, how often they are repeated); (0, 0) if none is.
        threads: of the pool, how many there may be.
        lets_go: of the GIL, while it computes.
        bases: what the program knows the second operand and the result as; the first one is its x.
    """
    if why_not():
        return None
    record, size = program.words(team(program.seconds, threads))
    if size > (LONGER_SCRATCH_BYTES if lets_go else SCRATCH_BYTES):
        return None
    start = (_longer_scratch() if lets_go else _scratch()).address
    panels, busy = start if weight_form is None else weight_form, BUSY_AT if lets_go else 0
    # In the order of HEAD.
    head = mask, repeats[0] // 4, repeats[1], bias, panels, start, id(NotImplemented), *bases
    increment, save, restore = _pythons()
    return _bound(array("q", (*head, increment, busy, save, restore, id(FLAGGED), *record)))


@lru_cache(maxsize=1)
def _pythons():
    """The addresses of three functions of CPython's."""
    names = "Py_IncRef", "PyEval_SaveThread", "PyEval_RestoreThread"
    return tuple(ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value for name in names)


@once
def _scratch():
    """What all brief ones use, one after another, since each keeps the GIL."""
    return memory.scratch(SCRATCH_BYTES, is_kept=True)


@once
def _longer_scratch():
    """What all the others use, while `_busy` holds a one."""
    return memory.scratch(LONGER_SCRATCH_BYTES, is_kept=True)


_busy = np.zeros(1, np.int64)
BUSY_AT = address(_busy)


def _forget():
    """In a fork's child no other thread is under way."""
    _busy[0] = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _bound(template):
    make, definition = _maker()
    return make(definition, template, None)


@lru_cache(maxsize=1)
def _maker():
    """(CPython's function that makes functions, the address of our definition)."""
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.restype, make.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)
    return make, ctypes.addressof(_definition())


# CPython keeps only the address of a definition, so it must outlive every function that is made of it.
_definitions = []


@lru_cache(maxsize=1)
def _definition():
    places = {name.upper(): number for number, name in enumerate(HEAD)}
    bases = {"X_BASE": X, "BIAS_BASE": BIAS}
    bases |= {"SCRATCH_BASE": waves.SCRATCH_BASE, "PANELS_BASE": waves.PANELS_BASE, "BASES": waves.PANELS_BASE + 1}
    sizes = {"RECORD": len(HEAD), "DATA": object.__basicsize__, "WORDS": WORDS_AT, "NAME": NAME}
    code = kernel.link(NAME, waves.TEXT + Template(TEXT).substitute(places | bases | sizes))
    doc = b"A program, generated by upconv."
    _definitions.append((_MethodDef(NAME.encode(), code.address, METH_FASTCALL, doc), code))
    return _definitions[-1][0]
