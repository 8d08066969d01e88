"""What runs a program's waves without Python between them, as LLVM IR, from a record that `Program.record` makes.

It is for functions of Python's own (`builtin`), for handlers that a framework calls, and for `program.run`. All words
have 64 bits:

    record  0 execute   1 the pool's call   2 kinds: which base is added to each word of a job   3 waves   4 the jobs'
            place in the scratch   5 first byte to be cleared there   6 how many   7 first flag there   8 how many
            9 the pool's clock, 0 where no wave has helpers   10 whether helpers that sleep are always woken
            from 11 on, for each wave: jobs, their template, helpers
    bases   0 nothing   1 x   2 y   3 w   4 bias   5 scratch   6 packed weight

A module that has TEXT in it calls `run_program(record, bases)`, and then `flagged(record, scratch)`. The scratch begins
at a cache line. Like the rest of a module's code it needs no symbol of the process.

To wake a helper takes as long as a short call. So for those a helper is woken only when the call before ended so lately
that it would be awake still: calls that follow one another as closely keep it awake.
"""

from string import Template

import numpy as np

from ..kernels.execute import BASES, COUNTER, INDICES, PANELS, WORDS
from . import kernel
from .once import once
from .parts import DESCRIPTOR_WORDS, FN, OUTCOME, PARTS, ROWS, SLICE, STEP, WAKE, WANTED
from .pool_protocol import SPIN_NS

SCRATCH_BASE, PANELS_BASE = 5, 6
RECORD_WORDS = 11
JOB_WORDS = WORDS + BASES + 1
# No look at signals.
FOREVER_NS = 1 << 62

_TEXT = """
; When the last call ended that had helpers.
@ended = internal global i64 0, align 64

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

; Zeros to the end of the last line. The stores are volatile, lest LLVM makes a call of the C library of them.
define internal void @clear(ptr %to, i64 %bytes) nounwind {
  %some = icmp sgt i64 %bytes, 0
  br i1 %some, label %again, label %done
again:
  %i = phi i64 [0, %0], [%next, %again]
  %place = getelementptr i8, ptr %to, i64 %i
  store volatile <8 x i64> zeroinitializer, ptr %place, align 64
  %next = add i64 %i, 64
  %more = icmp slt i64 %next, %bytes
  br i1 %more, label %again, label %done
done:
  ret void
}

; Whether a program has set one of its flags.
define internal i1 @flagged(ptr %record, i64 %scratch) nounwind {
  %offset = call i64 @word(ptr %record, i64 7)
  %count = call i64 @word(ptr %record, i64 8)
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

; Whether helpers that sleep are to be woken.
define internal i64 @wakes(ptr %record) nounwind {
  %always = call i64 @word(ptr %record, i64 10)
  %clock = call ptr @pointer(ptr %record, i64 9)
  %none = icmp eq ptr %clock, null
  %sure = icmp ne i64 %always, 0
  %told = or i1 %none, %sure
  br i1 %told, label %end, label %look
look:
  %time = call i64 %clock()
  %before = load atomic i64, ptr @ended monotonic, align 8
  %gap = sub i64 %time, %before
  %close = icmp slt i64 %gap, $SPIN
  %follows = zext i1 %close to i64
  br label %end
end:
  %wakes = phi i64 [%always, %0], [%follows, %look]
  ret i64 %wakes
}

define internal void @end(ptr %record) nounwind {
  %clock = call ptr @pointer(ptr %record, i64 9)
  %none = icmp eq ptr %clock, null
  br i1 %none, label %done, label %note
note:
  %time = call i64 %clock()
  store atomic i64 %time, ptr @ended monotonic, align 8
  br label %done
done:
  ret void
}

; Run the waves of a program one after another: the jobs are made from their template behind the program's scratch.
define internal void @run_program(ptr %record, ptr %bases) nounwind {
  %waves = call i64 @word(ptr %record, i64 3)
  %scratch = call i64 @word(ptr %bases, i64 $SCRATCH_BASE)
  %jobs.offset = call i64 @word(ptr %record, i64 4)
  %jobs.there = add i64 %scratch, %jobs.offset
  %jobs = inttoptr i64 %jobs.there to ptr
  %clear.offset = call i64 @word(ptr %record, i64 5)
  %clear.there = add i64 %scratch, %clear.offset
  %clear = inttoptr i64 %clear.there to ptr
  %clear.size = call i64 @word(ptr %record, i64 6)
  call void @clear(ptr %clear, i64 %clear.size)
  %wakes = call i64 @wakes(ptr %record)
  %list = getelementptr i64, ptr %record, i64 $RECORD_WORDS
  br label %look
look:
  %i = phi i64 [0, %0], [%j, %next]
  %more = icmp slt i64 %i, %waves
  br i1 %more, label %next, label %end
next:
  %three = mul i64 %i, 3
  %wave = getelementptr i64, ptr %list, i64 %three
  call void @wave(ptr %record, ptr %wave, ptr %bases, ptr %jobs, i64 %wakes)
  %j = add i64 %i, 1
  br label %look
end:
  call void @end(ptr %record)
  ret void
}

; Make the jobs of a wave, and run them; their counter is the last word of the last one.
define internal void @wave(ptr %record, ptr %wave, ptr %bases, ptr %jobs, i64 %wakes) nounwind {
  %c = alloca [$DESCRIPTOR x i64], align 128
  %parts = call i64 @word(ptr %wave, i64 0)
  %template = call ptr @pointer(ptr %wave, i64 1)
  %helpers = call i64 @word(ptr %wave, i64 2)
  %kinds = call ptr @pointer(ptr %record, i64 2)
  %all = mul i64 %parts, $JOB_WORDS
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
  %more = icmp slt i64 %j, $JOB_WORDS
  br i1 %more, label %fill, label %counted
counted:
  %counter.word = add i64 %first, $COUNTER
  call void @put(i64 %counter, ptr %jobs, i64 %counter.word)
  %after = add i64 %first, $JOB_WORDS
  br label %job
run:
  %execute = call ptr @pointer(ptr %record, i64 0)
  %alone = icmp slt i64 %helpers, 1
  br i1 %alone, label %one, label %team
one:
  call void %execute(ptr %jobs)
  ret void
team:
  call void @clear(ptr %c, i64 $DESCRIPTOR_BYTES)
  %execute.word = ptrtoint ptr %execute to i64
  %jobs.word = ptrtoint ptr %jobs to i64
  call void @put(i64 %execute.word, ptr %c, i64 $FN)
  call void @put(i64 %jobs.word, ptr %c, i64 $ROWS)
  call void @put(i64 $JOB_BYTES, ptr %c, i64 $STEP)
  call void @put(i64 %parts, ptr %c, i64 $PARTS)
  call void @put(i64 %helpers, ptr %c, i64 $WANTED)
  call void @put(i64 %wakes, ptr %c, i64 $WAKE)
  call void @put(i64 $FOREVER, ptr %c, i64 $SLICE)
  %pool = call ptr @pointer(ptr %record, i64 1)
  br label %enter
enter:
  call void %pool(ptr %c)
  %outcome = call i64 @word(ptr %c, i64 $OUTCOME)
  %cut = icmp ne i64 %outcome, 0
  br i1 %cut, label %enter, label %end
end:
  ret void
}
"""
NAME = "upconv_waves"
ENTRY = f"""
define void @{NAME}(ptr %job) nounwind {{
  %record = load ptr, ptr %job
  %bases = getelementptr i64, ptr %job, i64 1
  call void @run_program(ptr %record, ptr %bases)
  ret void
}}
"""
TEXT = Template(_TEXT).substitute(
    SCRATCH_BASE=SCRATCH_BASE,
    RECORD_WORDS=RECORD_WORDS,
    JOB_WORDS=JOB_WORDS,
    JOB_BYTES=8 * JOB_WORDS,
    COUNTER=COUNTER,
    DESCRIPTOR=DESCRIPTOR_WORDS,
    DESCRIPTOR_BYTES=8 * DESCRIPTOR_WORDS,
    FN=FN,
    ROWS=ROWS,
    STEP=STEP,
    PARTS=PARTS,
    WANTED=WANTED,
    WAKE=WAKE,
    SLICE=SLICE,
    OUTCOME=OUTCOME,
    FOREVER=FOREVER_NS,
    SPIN=SPIN_NS,
)


@once
def kinds():
    """(which base is added to each word of a job, where that lies): operands have their own, the rest the scratch's."""
    own = [0 if base in INDICES else SCRATCH_BASE for base in range(PANELS + 1, BASES)]
    bases = [*range(PANELS), PANELS_BASE, *own]
    made = np.array([0] * (WORDS - 2) + [SCRATCH_BASE, 0, *bases, 0], np.int64)
    return made, made.ctypes.data


@once
def run():
    """``run(job)`` lets go of the GIL; a job is the address of a record, and the bases."""
    return kernel.link(NAME, TEXT + ENTRY).function()
