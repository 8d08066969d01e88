"""The handler that XLA calls, as LLVM IR: finds what was prepared for a call, and runs its programs. See `handler`.

The module exports one symbol, a table of three addresses: the handler, and what Python writes, the table of states and
the record of the scratch that is lent (`scratch`). So the object needs no symbol of the process and can be kept on disk
like any other kernel. All words have 64 bits:

    states    mask, then (key, state) pairs, open addressing from the place that the key says; key 0 is free
    state     0 whether the result is the weight   1 bytes of scratch to be lent, 0 for none, then a program twice: the
              one to be run, and the one after flags
    program   1 record   2 bias where none is given   3 that of the bias given, as an offset

Records, and the bases that a program is run on, are those of `runtime.waves`.

Offsets into XLA's structures are those of its FFI's C interface. They have been the same since its version 0.1, which
is the one declared: a newer one would be refused by older frameworks, and none refuses it.
"""

from ..runtime import waves

NAME = "upconv_jax"
# Words of the exported table.
HANDLER, STATES, MEMORY = 0, 1, 2
STATE_WORDS, PROGRAM_WORDS = 2, 3
ALIGNMENT = 64
# XLA's code for an internal error.
INTERNAL = 13
VERSION = 0, 1
UNKNOWN = "upconv: nothing was prepared for this call in this process"


def text():
    """The module."""
    body = BODY
    for name, value in {
        "major": VERSION[0],
        "minor": VERSION[1],
        "after": STATE_WORDS + PROGRAM_WORDS,
        "program": STATE_WORDS,
        "align": ALIGNMENT - 1,
        "internal": INTERNAL,
        "length": len(UNKNOWN) + 1,
        "message": UNKNOWN,
    }.items():
        body = body.replace(f"${name}", str(value))
    return waves.TEXT + body


BODY = """
@upconv_jax = global [3 x ptr] [ptr @handle, ptr null, ptr null], align 64
@unknown = internal constant [$length x i8] c"$message\\00"

; The data of one of XLA's buffers, from a list of them.
define internal i64 @data(ptr %list, i64 %i) alwaysinline nounwind {
  %buffer = call ptr @pointer(ptr %list, i64 %i)
  %v = call i64 @word(ptr %buffer, i64 3)
  ret i64 %v
}

; XLA's call frame: 1 extension, 2 interface, 7 how many operands, 9 operands, 14 results, 20 attributes, which
; are sorted by name, so that the key is the first.
define ptr @handle(ptr %frame) nounwind {
  %bases = alloca [7 x i64], align 64
  %extension = call ptr @pointer(ptr %frame, i64 1)
  %plain = icmp eq ptr %extension, null
  br i1 %plain, label %work, label %extended
extended:
  %kind.at = getelementptr i8, ptr %extension, i64 8
  %kind = load i32, ptr %kind.at
  %asks = icmp eq i32 %kind, 1
  br i1 %asks, label %metadata, label %work
metadata:
  %m = call ptr @pointer(ptr %extension, i64 3)
  %major.at = getelementptr i8, ptr %m, i64 24
  store i32 $major, ptr %major.at
  %minor.at = getelementptr i8, ptr %m, i64 28
  store i32 $minor, ptr %minor.at
  %traits.at = getelementptr i8, ptr %m, i64 32
  store i32 0, ptr %traits.at
  ret ptr null
work:
  %attributes = call ptr @pointer(ptr %frame, i64 20)
  %scalar = call ptr @pointer(ptr %attributes, i64 0)
  %value = call ptr @pointer(ptr %scalar, i64 1)
  %key = load i64, ptr %value
  %state = call ptr @state(i64 %key)
  %known = icmp ne ptr %state, null
  br i1 %known, label %go, label %fail
fail:
  %failed = call ptr @error(ptr %frame)
  ret ptr %failed
go:
  %operands = call ptr @pointer(ptr %frame, i64 9)
  %count = call i64 @word(ptr %frame, i64 7)
  %results = call ptr @pointer(ptr %frame, i64 14)
  %first = call i64 @data(ptr %operands, i64 0)
  %second = call i64 @data(ptr %operands, i64 1)
  %result = call i64 @data(ptr %results, i64 0)
  %needs = call i64 @word(ptr %state, i64 1)
  %lent = call ptr @lend(i64 %needs)
  %is.lent = icmp ne ptr %lent, null
  br i1 %is.lent, label %own, label %given
own:
  %own.memory = call i64 @word(ptr %lent, i64 1)
  br label %begin
given:
  %given.memory = call i64 @data(ptr %results, i64 1)
  br label %begin
begin:
  %memory = phi i64 [%own.memory, %own], [%given.memory, %given]
  %up = add i64 %memory, $align
  %scratch = and i64 %up, -64
  %is.weight = call i64 @word(ptr %state, i64 0)
  %makes.weight = icmp ne i64 %is.weight, 0
  %y = select i1 %makes.weight, i64 %second, i64 %result
  %w = select i1 %makes.weight, i64 %result, i64 %second
  call void @put(i64 0, ptr %bases, i64 0)
  call void @put(i64 %first, ptr %bases, i64 1)
  call void @put(i64 %y, ptr %bases, i64 2)
  call void @put(i64 %w, ptr %bases, i64 3)
  call void @put(i64 %scratch, ptr %bases, i64 5)
  call void @put(i64 %scratch, ptr %bases, i64 6)
  %biased = icmp sgt i64 %count, 2
  br i1 %biased, label %with, label %without
with:
  %bias.given = call i64 @data(ptr %operands, i64 2)
  br label %run
without:
  br label %run
run:
  %bias = phi i64 [%bias.given, %with], [0, %without]
  %program = getelementptr ptr, ptr %state, i64 $program
  call void @run(ptr %program, ptr %bases, i64 %bias)
  %record = call ptr @pointer(ptr %program, i64 0)
  %flagged = call i1 @flagged(ptr %record, i64 %scratch)
  br i1 %flagged, label %again, label %end
again:
  %other = getelementptr ptr, ptr %state, i64 $after
  call void @run(ptr %other, ptr %bases, i64 %bias)
  br label %end
end:
  br i1 %is.lent, label %back, label %done
back:
  store atomic i64 0, ptr %lent release, align 8
  br label %done
done:
  ret ptr null
}

; The record of the scratch that is lent, taken until a zero is written to it; null if it is taken or too small.
define internal ptr @lend(i64 %needs) nounwind {
  %wanted = icmp sgt i64 %needs, 0
  br i1 %wanted, label %look, label %none
look:
  %at = getelementptr ptr, ptr @upconv_jax, i64 2
  %record = load atomic ptr, ptr %at acquire, align 8
  %before = atomicrmw xchg ptr %record, i64 1 acquire
  %free = icmp eq i64 %before, 0
  br i1 %free, label %test, label %none
test:
  %size = call i64 @word(ptr %record, i64 2)
  %fits = icmp sle i64 %needs, %size
  br i1 %fits, label %taken, label %back
back:
  store atomic i64 0, ptr %record release, align 8
  br label %none
taken:
  ret ptr %record
none:
  ret ptr null
}

; An error of XLA's, made by its interface.
define internal ptr @error(ptr %frame) nounwind {
  %e = alloca [4 x i64]
  call void @put(i64 28, ptr %e, i64 0)
  call void @put(i64 0, ptr %e, i64 1)
  %message = ptrtoint ptr @unknown to i64
  call void @put(i64 %message, ptr %e, i64 2)
  call void @put(i64 $internal, ptr %e, i64 3)
  %interface = call ptr @pointer(ptr %frame, i64 2)
  %create = call ptr @pointer(ptr %interface, i64 6)
  %made = call ptr %create(ptr %e)
  ret ptr %made
}

; The state of a key, or null.
define internal ptr @state(i64 %key) nounwind {
  %states.at = getelementptr ptr, ptr @upconv_jax, i64 1
  %states = load atomic ptr, ptr %states.at acquire, align 8
  %mask = call i64 @word(ptr %states, i64 0)
  %pairs = getelementptr i64, ptr %states, i64 1
  %first = and i64 %key, %mask
  br label %look
look:
  %i = phi i64 [%first, %0], [%next, %other]
  %two = shl i64 %i, 1
  %at = getelementptr i64, ptr %pairs, i64 %two
  %k = load atomic i64, ptr %at acquire, align 8
  %same = icmp eq i64 %k, %key
  br i1 %same, label %found, label %test
test:
  %free = icmp eq i64 %k, 0
  br i1 %free, label %missing, label %other
other:
  %plus = add i64 %i, 1
  %next = and i64 %plus, %mask
  br label %look
found:
  %v = call ptr @pointer(ptr %at, i64 1)
  ret ptr %v
missing:
  ret ptr null
}

; Run one of a state's programs on a bias, or on the one that stands for none.
define internal void @run(ptr %program, ptr %bases, i64 %given) nounwind {
  %record = call ptr @pointer(ptr %program, i64 0)
  %own = call i64 @word(ptr %program, i64 1)
  %offset = call i64 @word(ptr %program, i64 2)
  %there = add i64 %given, %offset
  %none = icmp eq i64 %given, 0
  %bias = select i1 %none, i64 %own, i64 %there
  call void @put(i64 %bias, ptr %bases, i64 4)
  call void @run_program(ptr %record, ptr %bases)
  ret void
}
"""
