"""The thread pool as LLVM IR, to be read from `attend` on. See `pool` for who calls it and docs/runtime.md for why.

The module exports one symbol, a table of addresses: first ENTRIES, which Python calls, then IMPORTS, which Python fills
in before the first call. So the object needs no symbol of the process and can be kept on disk like any other kernel.

A call lives in a descriptor of its caller's, an array of 64-bit words:

    0 fn   1 rows   2 bytes from row to row   3 parts   4 helpers wanted   5 state   6 wake   16 next part

    state   0 new, 1 its caller works alone, 2 the pool is its caller's, 3 was 2 and is over
    wake    0 only workers that spin may help, 1 those asleep are woken
    next    far from the rest, so that counting it up takes no cache line away from those who read the rest

The gate admits workers to the call of the moment: helpers still wanted in the upper half, workers inside in the lower.
A worker enters by one compare-and-swap that takes a unit from the upper half to the lower. The caller shuts the upper
half when no part is left and waits until the lower one is 0; a worker too late for the gate never learns of the call.
"""

import signal
import time

ENTRIES = ("attend", "call", "abandon", "prepare", "grow")
# What each gives, and what it takes.
IMPORTS = {
    "pthread_create": ("i32", "ptr", "ptr", "ptr", "ptr"),
    "pthread_detach": ("i32", "i64"),
    "pthread_mutex_init": ("i32", "ptr", "ptr"),
    "pthread_mutex_lock": ("i32", "ptr"),
    "pthread_mutex_unlock": ("i32", "ptr"),
    "pthread_cond_init": ("i32", "ptr", "ptr"),
    "pthread_cond_signal": ("i32", "ptr"),
    "pthread_cond_wait": ("i32", "ptr", "ptr"),
    "pthread_cond_timedwait": ("i32", "ptr", "ptr", "ptr"),
    "sigfillset": ("i32", "ptr"),
    "sigdelset": ("i32", "ptr", "i32"),
    "pthread_sigmask": ("i32", "i32", "ptr", "ptr"),
    "clock_gettime": ("i32", "i32", "ptr"),
    "PyEval_SaveThread": ("ptr",),
    "PyEval_RestoreThread": ("void", "ptr"),
    "PyErr_CheckSignals": ("i32",),
}
DESCRIPTOR_WORDS = 24
SPIN_NS = 20_000
WAIT_NS = 100_000_000

# A crash inside a kernel should reach the handler that prints Python's traceback; the rest is for Python's own threads.
CRASHES = ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT")

# The hint that a thread spins, by architecture.
PAUSES = {"x86_64": "@llvm.x86.sse2.pause()", "aarch64": "@llvm.aarch64.hint(i32 1)"}


def text(arch):
    """The module for an architecture."""
    pause = PAUSES.get(arch, "@llvm.donothing()")
    declared = f"declare void {pause.replace('i32 1', 'i32')}"
    crashes = (f"  call i32 @sigdelset(ptr %all, i32 {int(getattr(signal, name))})" for name in CRASHES)
    body = BODY.replace("  ; unblock crashes", "\n".join(crashes))
    for name, value in {
        "pause": f"call void {pause}",
        "spin": SPIN_NS,
        "wait": WAIT_NS,
        "monotonic": time.CLOCK_MONOTONIC,
        "realtime": time.CLOCK_REALTIME,
        "setmask": int(signal.SIG_SETMASK),
    }.items():
        body = body.replace(f"${name}", str(value))
    return "\n".join([declared, _table(), *map(_import, IMPORTS), body])


def _table():
    entries = [f"ptr @{name}" for name in ENTRIES] + ["ptr null"] * len(IMPORTS)
    return f"@upconv_pool = global [{len(entries)} x ptr] [{', '.join(entries)}], align 64"


def _import(name):
    """A function of the process under its own name, through its place in the table."""
    result, *types = IMPORTS[name]
    given = "" if result == "void" else "%r = "
    place = len(ENTRIES) + list(IMPORTS).index(name)
    parameters = ", ".join(f"{type} %{number}" for number, type in enumerate(types))
    return (
        f"define internal {result} @{name}({parameters}) nounwind {{\n"
        f"  %f = load ptr, ptr getelementptr (ptr, ptr @upconv_pool, i64 {place})\n"
        f"  {given}call {result} %f({parameters})\n"
        f"  ret {result}{' %r' * bool(given)}\n}}"
    )


BODY = """
%timespec = type { i64, i64 }

; Twice what the C libraries of 64-bit systems need at most (64 bytes); each thing that is written on a line of its own.
@mutex    = internal global [128 x i8] zeroinitializer, align 128
@work     = internal global [128 x i8] zeroinitializer, align 128
@done     = internal global [128 x i8] zeroinitializer, align 128
@gate     = internal global i64 0, align 128
@busy     = internal global i64 0, align 128
@sleepers = internal global i64 0, align 128
@waiting  = internal global i64 0, align 128
@current  = internal global ptr null, align 128
@begun    = internal global i64 0, align 128

; Python's door: run a call to its end without the GIL, looking at Python's signals every `slice` nanoseconds. Returns
; 0; 1 if this is the child of a fork, whose workers stayed behind, so that the call has to begin again; -1 with an
; exception of Python's set, when nobody knows of the call any more. Python code that cleaned up might be interrupted in
; turn, under a debugger on any line, and leave the call in the hands of workers while its memory goes.
define i64 @attend(ptr %c, i64 %slice) nounwind {
  %pool = load i64, ptr @begun
  %wanted.at = getelementptr i64, ptr %c, i64 4
  %wanted = load i64, ptr %wanted.at
  %helped = icmp sgt i64 %wanted, 0
  br label %run
run:
  %thread = call ptr @PyEval_SaveThread()
  %cut = call i64 @call(ptr %c, i64 %slice)
  call void @PyEval_RestoreThread(ptr %thread)
  %over = icmp eq i64 %cut, 0
  br i1 %over, label %end, label %look
look:
  %raised = call i32 @PyErr_CheckSignals()
  %fine = icmp eq i32 %raised, 0
  br i1 %fine, label %still, label %error
still:
  %now = load i64, ptr @begun
  %other = icmp ne i64 %now, %pool
  %alone = and i1 %other, %helped
  br i1 %alone, label %again, label %run
error:
  %left = call ptr @PyEval_SaveThread()
  call void @abandon(ptr %c)
  call void @PyEval_RestoreThread(ptr %left)
  ret i64 -1
again:
  ret i64 1
end:
  ret i64 0
}

; Run a call, or go on with it. Returns 1 if it was cut after `slice` nanoseconds and must be entered again, else 0.
define i64 @call(ptr %c, i64 %slice) nounwind {
  %began = call i64 @now()
  %until = add i64 %began, %slice
  %state.at = getelementptr i64, ptr %c, i64 5
  %state = load i64, ptr %state.at
  %new = icmp eq i64 %state, 0
  br i1 %new, label %start, label %go
start:
  store i64 1, ptr %state.at
  %wanted.at = getelementptr i64, ptr %c, i64 4
  %wanted = load i64, ptr %wanted.at
  %some = icmp sgt i64 %wanted, 0
  br i1 %some, label %ask, label %go
ask:
  %asked = cmpxchg ptr @busy, i64 0, i64 1 acquire monotonic
  %mine = extractvalue { i64, i1 } %asked, 1
  br i1 %mine, label %invite, label %go
invite:
  store i64 2, ptr %state.at
  call void @invite(ptr %c, i64 %wanted)
  br label %go
go:
  %cut = call i1 @parts(ptr %c, i64 %until)
  br i1 %cut, label %unfinished, label %last
last:
  %now = load i64, ptr %state.at
  %team = icmp eq i64 %now, 2
  br i1 %team, label %leave, label %finished
leave:
  %inside = call i1 @finish(ptr %c)
  br i1 %inside, label %unfinished, label %finished
unfinished:
  ret i64 1
finished:
  ret i64 0
}

; Hand out no more parts and wait for those that run: afterwards nobody knows of the call.
define void @abandon(ptr %c) nounwind {
  %parts.at = getelementptr i64, ptr %c, i64 3
  %parts = load i64, ptr %parts.at
  %next = getelementptr i64, ptr %c, i64 16
  store atomic i64 %parts, ptr %next seq_cst, align 8
  %state.at = getelementptr i64, ptr %c, i64 5
  %state = load i64, ptr %state.at
  %team = icmp eq i64 %state, 2
  br i1 %team, label %wait, label %over
wait:
  %inside = call i1 @finish(ptr %c)
  br i1 %inside, label %wait, label %over
over:
  ret void
}

; Take parts until none is left (0) or the time is over (1).
define internal i1 @parts(ptr %c, i64 %until) nounwind {
  %fn = load ptr, ptr %c
  %rows.at = getelementptr i64, ptr %c, i64 1
  %rows = load ptr, ptr %rows.at
  %stride.at = getelementptr i64, ptr %c, i64 2
  %stride = load i64, ptr %stride.at
  %parts.at = getelementptr i64, ptr %c, i64 3
  %parts = load i64, ptr %parts.at
  %next = getelementptr i64, ptr %c, i64 16
  br label %take
take:
  %part = atomicrmw add ptr %next, i64 1 monotonic
  %there = icmp slt i64 %part, %parts
  br i1 %there, label %run, label %none
run:
  %offset = mul i64 %part, %stride
  %row = getelementptr i8, ptr %rows, i64 %offset
  call void %fn(ptr %row)
  %now = call i64 @now()
  %early = icmp slt i64 %now, %until
  br i1 %early, label %take, label %cut
none:
  ret i1 0
cut:
  ret i1 1
}

; Open the gate.
define internal void @invite(ptr %c, i64 %wanted) nounwind {
  store ptr %c, ptr @current
  %open = shl i64 %wanted, 32
  store atomic i64 %open, ptr @gate seq_cst, align 8
  %wake.at = getelementptr i64, ptr %c, i64 6
  %wake = load i64, ptr %wake.at
  %any = icmp ne i64 %wake, 0
  br i1 %any, label %wakes, label %end
wakes:
  call void @rouse(i64 %wanted)
  br label %end
end:
  ret void
}

; Wake two workers, or one, if so many are wanted and asleep; each wakes two more when it enters, so that no one's time
; goes by with waking all. The gate is written before the sleepers are counted, and a worker counts itself before it
; looks at the gate for the last time, so one of the two sees the other. Whoever is counted while the mutex was ours has
; reached its wait; signalling after the unlock spares the woken a wait for the mutex.
define internal void @rouse(i64 %wanted) nounwind {
  %sleepers = load atomic i64, ptr @sleepers seq_cst, align 8
  %few = icmp slt i64 %sleepers, %wanted
  %wake = select i1 %few, i64 %sleepers, i64 %wanted
  %any = icmp sgt i64 %wake, 0
  br i1 %any, label %one, label %end
one:
  call i32 @pthread_mutex_lock(ptr @mutex)
  call i32 @pthread_mutex_unlock(ptr @mutex)
  call i32 @pthread_cond_signal(ptr @work)
  %more = icmp sgt i64 %wake, 1
  br i1 %more, label %two, label %end
two:
  call i32 @pthread_cond_signal(ptr @work)
  br label %end
end:
  ret void
}

; Shut the gate and wait for the workers inside, spinning first. Returns 1 if some still work after the wait.
define internal i1 @finish(ptr %c) nounwind {
  %time = alloca %timespec
  %shut = atomicrmw and ptr @gate, i64 4294967295 seq_cst
  %began = call i64 @now()
  %until = add i64 %began, $spin
  br label %spin
spin:
  %inside = load atomic i64, ptr @gate acquire, align 8
  %empty = icmp eq i64 %inside, 0
  br i1 %empty, label %release, label %pause
pause:
  $pause
  %now = call i64 @now()
  %early = icmp slt i64 %now, %until
  br i1 %early, label %spin, label %sleep
sleep:
  call void @later(ptr %time)
  call i32 @pthread_mutex_lock(ptr @mutex)
  store atomic i64 1, ptr @waiting seq_cst, align 8
  br label %look
look:
  %still = load atomic i64, ptr @gate seq_cst, align 8
  %left = icmp eq i64 %still, 0
  br i1 %left, label %awake, label %wait
wait:
  %expired = call i32 @pthread_cond_timedwait(ptr @done, ptr @mutex, ptr %time)
  %again = icmp eq i32 %expired, 0
  br i1 %again, label %look, label %awake
awake:
  store atomic i64 0, ptr @waiting seq_cst, align 8
  call i32 @pthread_mutex_unlock(ptr @mutex)
  %final = load atomic i64, ptr @gate acquire, align 8
  %gone = icmp eq i64 %final, 0
  br i1 %gone, label %release, label %unfinished
release:
  %state.at = getelementptr i64, ptr %c, i64 5
  store i64 3, ptr %state.at
  store atomic i64 0, ptr @busy release, align 8
  ret i1 0
unfinished:
  ret i1 1
}

; A worker's life: look at the gate for a while, sleep, enter, take parts, leave.
define internal ptr @worker(ptr %unused) nounwind {
  br label %rest
rest:
  %began = call i64 @now()
  %until = add i64 %began, $spin
  br label %spin
spin:
  %seen = load atomic i64, ptr @gate acquire, align 8
  %open = icmp ugt i64 %seen, 4294967295
  br i1 %open, label %enter, label %pause
pause:
  $pause
  %now = call i64 @now()
  %early = icmp slt i64 %now, %until
  br i1 %early, label %spin, label %sleep
sleep:
  call i32 @pthread_mutex_lock(ptr @mutex)
  %counted = atomicrmw add ptr @sleepers, i64 1 seq_cst
  br label %look
look:
  %still = load atomic i64, ptr @gate seq_cst, align 8
  %opened = icmp ugt i64 %still, 4294967295
  br i1 %opened, label %awake, label %wait
wait:
  call i32 @pthread_cond_wait(ptr @work, ptr @mutex)
  br label %look
awake:
  %uncounted = atomicrmw sub ptr @sleepers, i64 1 seq_cst
  call i32 @pthread_mutex_unlock(ptr @mutex)
  br label %enter
enter:
  %before = load atomic i64, ptr @gate acquire, align 8
  %admits = icmp ugt i64 %before, 4294967295
  br i1 %admits, label %try, label %rest
try:
  %after = sub i64 %before, 4294967295
  %tried = cmpxchg ptr @gate, i64 %before, i64 %after acq_rel monotonic
  %inside = extractvalue { i64, i1 } %tried, 1
  br i1 %inside, label %work, label %enter
work:
  %c = load ptr, ptr @current
  %wake.at = getelementptr i64, ptr %c, i64 6
  %wake = load i64, ptr %wake.at
  %wanted = lshr i64 %after, 32
  %others = mul i64 %wanted, %wake
  call void @rouse(i64 %others)
  %cut = call i1 @parts(ptr %c, i64 9223372036854775807)
  %was = atomicrmw sub ptr @gate, i64 1 seq_cst
  %lower = and i64 %was, 4294967295
  %last = icmp eq i64 %lower, 1
  br i1 %last, label %tell, label %rest
tell:
  %waits = load atomic i64, ptr @waiting seq_cst, align 8
  %waited = icmp ne i64 %waits, 0
  br i1 %waited, label %ring, label %rest
ring:
  call i32 @pthread_mutex_lock(ptr @mutex)
  call i32 @pthread_cond_signal(ptr @done)
  call i32 @pthread_mutex_unlock(ptr @mutex)
  br label %rest
}

; Start with no workers: at first, and in the child of a fork, which has a copy of all this but no thread to go with it.
define void @prepare() nounwind {
  call i32 @pthread_mutex_init(ptr @mutex, ptr null)
  call i32 @pthread_cond_init(ptr @work, ptr null)
  call i32 @pthread_cond_init(ptr @done, ptr null)
  store i64 0, ptr @gate
  store i64 0, ptr @sleepers
  store i64 0, ptr @waiting
  store i64 0, ptr @busy
  %before = load i64, ptr @begun
  %after = add i64 %before, 1
  store i64 %after, ptr @begun
  ret void
}

; One worker more; returns 0, or the system's error number. A thread inherits the signals that are blocked.
define i64 @grow() nounwind {
  %thread = alloca i64
  %all = alloca [128 x i8], align 16
  %before = alloca [128 x i8], align 16
  call i32 @sigfillset(ptr %all)
  ; unblock crashes
  call i32 @pthread_sigmask(i32 $setmask, ptr %all, ptr %before)
  %error = call i32 @pthread_create(ptr %thread, ptr null, ptr @worker, ptr null)
  call i32 @pthread_sigmask(i32 $setmask, ptr %before, ptr null)
  %fine = icmp eq i32 %error, 0
  br i1 %fine, label %detach, label %end
detach:
  %name = load i64, ptr %thread
  call i32 @pthread_detach(i64 %name)
  br label %end
end:
  %code = zext i32 %error to i64
  ret i64 %code
}

; Nanoseconds of a clock that never jumps.
define internal i64 @now() nounwind {
  %time = alloca %timespec
  call i32 @clock_gettime(i32 $monotonic, ptr %time)
  %s = load i64, ptr %time
  %ns.at = getelementptr i64, ptr %time, i64 1
  %ns = load i64, ptr %ns.at
  %scaled = mul i64 %s, 1000000000
  %sum = add i64 %scaled, %ns
  ret i64 %sum
}

; The end of a wait, by the clock that pthread_cond_timedwait goes by; if it jumps, a signal is noticed later, no more.
define internal void @later(ptr %time) nounwind {
  call i32 @clock_gettime(i32 $realtime, ptr %time)
  %ns.at = getelementptr i64, ptr %time, i64 1
  %ns = load i64, ptr %ns.at
  %s = load i64, ptr %time
  %end = add i64 %ns, $wait
  %over = icmp sge i64 %end, 1000000000
  %wrapped = sub i64 %end, 1000000000
  %fixed = select i1 %over, i64 %wrapped, i64 %end
  %carry = zext i1 %over to i64
  %seconds = add i64 %s, %carry
  store i64 %fixed, ptr %ns.at
  store i64 %seconds, ptr %time
  ret void
}
"""
