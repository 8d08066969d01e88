"""The handler that XLA calls, as LLVM IR: finds what was prepared for a call, and runs its programs. See `handler`.

The module exports one symbol, a table of two addresses: the handler, and the table of states, which Python writes. So
the object needs no symbol of the process and can be kept on disk like any other kernel. All words have 64 bits:

    states    mask, then (key, state) pairs, open addressing from the place that the key says; key 0 is free
    state     0 execute   1 the pool's call   2 whether the result is the weight   3 program   4 program after flags
              5 kinds: which base is added to each word of a job
    program   0 waves   1 bias where none is given   2 that of the bias given, as an offset   3 the jobs' place in the
              scratch   4 first byte to be cleared there   5 how many   6 first flag there   7 how many
              from 8 on, for each wave: jobs, their template, helpers
    bases     0 nothing   1 x   2 y   3 w   4 bias   5 scratch

Offsets into XLA's structures are those of its FFI's C interface. They have been the same since its version 0.1, which
is the one declared: a newer one would be refused by older frameworks, and none refuses it.
"""

from ..kernels.execute import BASES, WORDS
from ..runtime.parts import DESCRIPTOR_WORDS
from ..runtime.program import COUNTER

NAME = "upconv_jax"
# Words of the exported table.
HANDLER, STATES = 0, 1
JOB_WORDS = WORDS + BASES + 1
PROGRAM_WORDS = 8
SCRATCH_BASE = 5
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
        "words": JOB_WORDS,
        "counter": COUNTER,
        "descriptor": DESCRIPTOR_WORDS,
        "cleared": 8 * DESCRIPTOR_WORDS,
        "program": PROGRAM_WORDS,
        "align": ALIGNMENT - 1,
        "internal": INTERNAL,
        "length": len(UNKNOWN) + 1,
        "message": UNKNOWN,
    }.items():
        body = body.replace(f"${name}", str(value))
    return body


BODY = """
@upconv_jax = global [2 x ptr] [ptr @handle, ptr null], align 64
@unknown = internal constant [$length x i8] c"$message\\00"

declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)

define internal i64 @word(ptr %at, i64 %i) alwaysinline nounwind {
  %p = getelementptr i64, ptr %at, i64 %i
  %v = load i64, ptr %p
  ret i64 %v
}

define internal ptr @pointer(ptr %at, i64 %i) alwaysinline nounwind {
  %p = getelementptr ptr, ptr %at, i64 %i
  %v = load ptr, ptr %p
  ret ptr %v
}

define internal void @put(i64 %v, ptr %at, i64 %i) alwaysinline nounwind {
  %p = getelementptr i64, ptr %at, i64 %i
  store i64 %v, ptr %p
  ret void
}

; The data of one of XLA's buffers, from a list of them.
define internal i64 @data(ptr %list, i64 %i) alwaysinline nounwind {
  %buffer = call ptr @pointer(ptr %list, i64 %i)
  %v = call i64 @word(ptr %buffer, i64 3)
  ret i64 %v
}

; XLA's call frame: 1 extension, 2 interface, 7 how many operands, 9 operands, 14 results, 20 attributes, which
; are sorted by name, so that the key is the first.
define ptr @handle(ptr %frame) nounwind {
  %bases = alloca [6 x i64], align 64
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
  %memory = call i64 @data(ptr %results, i64 1)
  %up = add i64 %memory, $align
  %scratch = and i64 %up, -64
  %is.weight = call i64 @word(ptr %state, i64 2)
  %makes.weight = icmp ne i64 %is.weight, 0
  %y = select i1 %makes.weight, i64 %second, i64 %result
  %w = select i1 %makes.weight, i64 %result, i64 %second
  call void @put(i64 0, ptr %bases, i64 0)
  call void @put(i64 %first, ptr %bases, i64 1)
  call void @put(i64 %y, ptr %bases, i64 2)
  call void @put(i64 %w, ptr %bases, i64 3)
  call void @put(i64 %scratch, ptr %bases, i64 5)
  %biased = icmp sgt i64 %count, 2
  br i1 %biased, label %with, label %without
with:
  %bias.given = call i64 @data(ptr %operands, i64 2)
  br label %run
without:
  br label %run
run:
  %bias = phi i64 [%bias.given, %with], [0, %without]
  %program = call ptr @pointer(ptr %state, i64 3)
  call void @program(ptr %state, ptr %program, ptr %bases, i64 %bias)
  %flagged = call i1 @flagged(ptr %program, i64 %scratch)
  br i1 %flagged, label %again, label %end
again:
  %other = call ptr @pointer(ptr %state, i64 4)
  call void @program(ptr %state, ptr %other, ptr %bases, i64 %bias)
  br label %end
end:
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

; Whether a program has set one of its flags.
define internal i1 @flagged(ptr %program, i64 %scratch) nounwind {
  %offset = call i64 @word(ptr %program, i64 6)
  %count = call i64 @word(ptr %program, i64 7)
  %sum = add i64 %scratch, %offset
  %flags = inttoptr i64 %sum to ptr
  br label %look
look:
  %i = phi i64 [0, %0], [%j, %next]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %next, label %none
next:
  %at = getelementptr i8, ptr %flags, i64 %i
  %flag = load i8, ptr %at
  %j = add i64 %i, 1
  %clear = icmp eq i8 %flag, 0
  br i1 %clear, label %look, label %set
none:
  ret i1 0
set:
  ret i1 1
}

; Run the waves of a program one after another: the jobs are made from their template behind the program's scratch.
define internal void @program(ptr %state, ptr %program, ptr %bases, i64 %given) nounwind {
  %waves = call i64 @word(ptr %program, i64 0)
  %own = call i64 @word(ptr %program, i64 1)
  %offset = call i64 @word(ptr %program, i64 2)
  %there = add i64 %given, %offset
  %none = icmp eq i64 %given, 0
  %bias = select i1 %none, i64 %own, i64 %there
  call void @put(i64 %bias, ptr %bases, i64 4)
  %scratch = call i64 @word(ptr %bases, i64 5)
  %jobs.offset = call i64 @word(ptr %program, i64 3)
  %jobs.there = add i64 %scratch, %jobs.offset
  %jobs = inttoptr i64 %jobs.there to ptr
  %clear.offset = call i64 @word(ptr %program, i64 4)
  %clear.there = add i64 %scratch, %clear.offset
  %clear = inttoptr i64 %clear.there to ptr
  %clear.size = call i64 @word(ptr %program, i64 5)
  call void @llvm.memset.p0.i64(ptr %clear, i8 0, i64 %clear.size, i1 false)
  %list = getelementptr i64, ptr %program, i64 $program
  br label %look
look:
  %i = phi i64 [0, %0], [%j, %next]
  %more = icmp slt i64 %i, %waves
  br i1 %more, label %next, label %end
next:
  %three = mul i64 %i, 3
  %wave = getelementptr i64, ptr %list, i64 %three
  call void @wave(ptr %state, ptr %wave, ptr %bases, ptr %jobs)
  %j = add i64 %i, 1
  br label %look
end:
  ret void
}

; Make the jobs of a wave, and run them; their counter is the last word of the last one.
define internal void @wave(ptr %state, ptr %wave, ptr %bases, ptr %jobs) nounwind {
  %c = alloca [$descriptor x i64], align 128
  %parts = call i64 @word(ptr %wave, i64 0)
  %template = call ptr @pointer(ptr %wave, i64 1)
  %helpers = call i64 @word(ptr %wave, i64 2)
  %kinds = call ptr @pointer(ptr %state, i64 5)
  %all = mul i64 %parts, $words
  %last = sub i64 %all, 1
  %counter.at = getelementptr i64, ptr %jobs, i64 %last
  %counter = ptrtoint ptr %counter.at to i64
  br label %job
job:
  %first = phi i64 [0, %0], [%after, %counted]
  %there = icmp slt i64 %first, %all
  br i1 %there, label %fill, label %run
fill:
  %i = phi i64 [0, %job], [%j, %fill]
  %at = add i64 %first, %i
  %value = call i64 @word(ptr %template, i64 %at)
  %kind = call i64 @word(ptr %kinds, i64 %i)
  %base = call i64 @word(ptr %bases, i64 %kind)
  %sum = add i64 %value, %base
  call void @put(i64 %sum, ptr %jobs, i64 %at)
  %j = add i64 %i, 1
  %more = icmp slt i64 %j, $words
  br i1 %more, label %fill, label %counted
counted:
  %counter.word = add i64 %first, $counter
  call void @put(i64 %counter, ptr %jobs, i64 %counter.word)
  %after = add i64 %first, $words
  br label %job
run:
  %execute = call ptr @pointer(ptr %state, i64 0)
  %alone = icmp slt i64 %helpers, 1
  br i1 %alone, label %one, label %team
one:
  call void %execute(ptr %jobs)
  ret void
team:
  call void @llvm.memset.p0.i64(ptr align 128 %c, i8 0, i64 $cleared, i1 false)
  %execute.word = ptrtoint ptr %execute to i64
  %jobs.word = ptrtoint ptr %jobs to i64
  %size = mul i64 $words, 8
  call void @put(i64 %execute.word, ptr %c, i64 0)
  call void @put(i64 %jobs.word, ptr %c, i64 1)
  call void @put(i64 %size, ptr %c, i64 2)
  call void @put(i64 %parts, ptr %c, i64 3)
  call void @put(i64 %helpers, ptr %c, i64 4)
  call void @put(i64 1, ptr %c, i64 6)
  call void @put(i64 4611686018427387904, ptr %c, i64 7)
  %pool = call ptr @pointer(ptr %state, i64 1)
  br label %enter
enter:
  call void %pool(ptr %c)
  %unfinished = call i64 @word(ptr %c, i64 8)
  %cut = icmp ne i64 %unfinished, 0
  br i1 %cut, label %enter, label %end
end:
  ret void
}
"""
